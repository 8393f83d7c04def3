-- isolate: what is anonymous joins who logs in and stays with her; who comes
-- after her on the same device is somebody new.
SET client_min_messages = warning;
\set SHOW_CONTEXT never
\set main :DBNAME
DROP DATABASE IF EXISTS regress_rules_isolate;
CREATE DATABASE regress_rules_isolate TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_rules_isolate
SET client_min_messages = warning;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, YMD';
CREATE EXTENSION cdp;
SELECT count(*) > 0 AS init FROM cdp.init();

--
-- The scenarios of others: calls in a row, and the profile each must end in.
-- Namespaces that a login does not need are anonymous.
--
CREATE FUNCTION run(c jsonb) RETURNS TABLE (step bigint, call text, ids jsonb, expected text, got text) LANGUAGE plpgsql AS $$
DECLARE
	n record;
	s record;
	known jsonb := '{}';
	id bigint;
BEGIN
	FOR n IN SELECT x.name, x.o, NOT c->'login_ids' ? x.name AS anonymous FROM jsonb_array_elements_text(c->'priority') WITH ORDINALITY x (name, o) LOOP
		PERFORM cdp.define_namespace(n.name, priority => n.o::int, max_per_profile => 0, on_conflict => CASE WHEN n.anonymous THEN 'isolate' ELSE 'demote' END);
	END LOOP;
	FOR s IN SELECT x.s, x.o FROM jsonb_array_elements(c->'steps') WITH ORDINALITY x (s, o) ORDER BY x.o LOOP
		SELECT i.profile_id INTO id FROM cdp.ingest(jsonb_build_object('type', 'track', 'event', s.s->>'call', 'timestamp', timestamptz '2026-01-01' + s.o * interval '1 hour',
			'context', jsonb_build_object('externalIds', (SELECT jsonb_agg(jsonb_build_object('type', k, 'id', v)) FROM jsonb_each_text(s.s->'ids') i (k, v))))) i;
		-- a profile is named by the first expectation that met it
		IF NOT known ? id::text THEN
			known := known || jsonb_build_object(id::text, CASE WHEN EXISTS (SELECT FROM jsonb_each_text(known) k WHERE k.value = s.s->>'expected_profile')
				THEN 'another than ' || (s.s->>'expected_profile') ELSE s.s->>'expected_profile' END);
		END IF;
		step := s.o;
		call := s.s->>'call';
		ids := s.s->'ids';
		expected := s.s->>'expected_profile';
		got := known->>id::text;
		RETURN NEXT;
	END LOOP;
END $$;
\getenv abs_srcdir PG_ABS_SRCDIR
\set file :abs_srcdir '/test/data/identity-mparticle.json'
\set content `cat :'file'`
SELECT c->>'id' AS case_id, r.step, r.call, r.ids, r.expected, r.expected = r.got AS right FROM jsonb_array_elements(:'content'::jsonb->'cases') c, run(c) r;

-- a consent names what stays apart, too: also where its namespace is the more important
SELECT cdp.define_namespace('device', priority => 1, max_per_profile => 0, on_conflict => 'isolate'), cdp.define_namespace('mail', priority => 2, max_per_profile => 0), cdp.define_purpose('p') > 0 AS p;
SELECT cdp.track('{mail:known,other:known}', 'Visit', at => '2026-02-01') = cdp.set_consent('{device:shared,mail:known}', 'p', 'granted', '2026-02-02') AS hers;
SELECT cdp.resolve('mail:known') <> cdp.resolve('device:shared') AS apart;
SELECT purpose, namespace, state FROM cdp.consents ORDER BY namespace;
SELECT * FROM cdp.verify();

\c :main
DROP DATABASE regress_rules_isolate;
