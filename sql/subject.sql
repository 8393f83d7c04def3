-- subject.sql: the rights of a person.  The catalogue of what is kept, exports,
-- erasures and that nobody comes back, requests; then random histories in which
-- people are erased: nothing of them is found, and the others are as they were.
\set main :DBNAME
\set VERBOSITY terse
CREATE DATABASE regress_subject TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_subject
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION cdp;
SELECT count(*) > 0 AS initialised FROM cdp.init();
SET cdp.clock = '2026-06-15 12:00:00+00';

--
-- The catalogue: every column of every table is in it
--
SELECT * FROM cdp.uncatalogued();
SELECT tbl, count(*) FROM (SELECT tbl FROM cdp.personal_data() UNION ALL SELECT tbl FROM cdp.impersonal_data()) x GROUP BY 1 HAVING count(*) > 1;
-- nothing is named that is not there, or twice
SELECT p.tbl, c AS gone FROM cdp.personal_data() p CROSS JOIN LATERAL unnest(p.exported || p.held_back) c
WHERE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = to_regclass('cdp_data.' || p.tbl) AND a.attname = c AND NOT a.attisdropped);
SELECT tbl AS gone FROM cdp.impersonal_data() WHERE to_regclass('cdp_data.' || tbl) IS NULL;
SELECT tbl, col FROM (SELECT p.tbl, c AS col FROM cdp.personal_data() p CROSS JOIN LATERAL unnest(p.exported || p.held_back) c) x GROUP BY 1, 2 HAVING count(*) > 1;
-- what is not in it is found
BEGIN;
CREATE TABLE cdp_data.diary (profile_id bigint, entry text);
ALTER TABLE cdp_data.outbox ADD COLUMN address text;
ALTER TABLE cdp_data.profile ADD COLUMN nickname text;
SELECT * FROM cdp.uncatalogued();
ROLLBACK;
-- a trait is in it
SELECT cdp.define_trait('city');
SELECT * FROM cdp.uncatalogued();
-- what row policies guard is in it
SELECT c.relname AS guarded_but_not_personal FROM pg_class c WHERE c.relnamespace = 'cdp_data'::regnamespace AND c.relrowsecurity AND NOT c.relispartition
	AND NOT EXISTS (SELECT FROM cdp.personal_data() p WHERE p.tbl = c.relname) ORDER BY c.relname COLLATE "C";
SELECT p.tbl AS personal_but_not_guarded FROM cdp.personal_data() p JOIN pg_class c ON c.oid = to_regclass('cdp_data.' || p.tbl) WHERE NOT c.relrowsecurity ORDER BY p.tbl COLLATE "C";

--
-- Somebody, and somebody who was once named with her
--
SELECT cdp.define_purpose('marketing') AS purpose, cdp.define_metric('orders', 'Order') AS metric, cdp.define_segment('kyoto', predicate => 'city = ''Kyoto''') AS segment, cdp.define_activation('kyoto', 'email', 'marketing') AS activation;
CREATE ROLE regress_officer;
CREATE ROLE regress_reader;
SELECT cdp.provision('regress_officer', 'privacy'), cdp.provision('regress_reader', 'analyst');
SELECT cdp.identify('{email:ada@example.com,user_id:u7}', '{"city": "Kyoto", "nick": "Countess"}', '2026-06-01', 'a1') AS ada,
	cdp.track('email:ada@example.com', 'Order', '{"note": "for Byron"}', '2026-06-02', 'a2') AS ada, cdp.set_consent('email:ada@example.com', 'marketing', 'granted', '2026-06-03', source => 'form', message_id => 'a3') AS ada,
	cdp.identify('{email:bob@example.com,user_id:u8}', '{"city": "Osaka"}', '2026-06-01', 'b1') AS bob;
SELECT cdp.track('{user_id:u8,email:ada@example.com}', 'Lent', '{}', '2026-06-04', 'b2') AS bob;
-- all that makes one of two values of Dan's is a message that had her phone, too
SELECT cdp.identify('{user_id:u7,phone:+819011112222}', '{}', '2026-06-03', 'a5') AS ada, cdp.identify('{user_id:u5,email:dan@example.com,phone:+819011112222}', '{}', '2026-06-05', 'd1') AS dan;
SELECT status FROM cdp.ingest('[{"type": "track", "messageId": "bad", "userId": "u7"}, {"type": "trick", "messageId": "worse", "traits": {"email": "Ada@Example.com"}}, {"type": "trick", "messageId": "other", "userId": "u77"}]');
SELECT count(*) AS delivered FROM cdp.claim('email');
SELECT cdp.ack(array_agg(delivery_id)) FROM cdp.outbox;
SET ROLE regress_reader;
SELECT cdp.export_subject('user_id:u7');
SELECT cdp.erase_subject('user_id:u7');
SELECT cdp.as_steward('erasure_list', '{}');
RESET ROLE;
SET ROLE regress_officer;
SELECT key, value - '{created_at,recorded_at,settled_at,received_at,rejected_at,last_at,since}'::text[] AS value FROM
	(SELECT d.key, jsonb_array_elements(CASE jsonb_typeof(d.value) WHEN 'array' THEN d.value ELSE jsonb_build_array(d.value) END) AS value
	FROM jsonb_each(cdp.export_subject('user_id:u7', 'Ada''s solicitor', 'request 17')->'data') d WHERE d.key NOT IN ('nodes', 'events', 'evidence')) x ORDER BY key COLLATE "C", value;
SELECT jsonb_path_query_array(cdp.export_subject(1)->'data', '$.events[*].message_id') AS messages;
SELECT at, kind, recipient, cardinality(fields) > 0 AS fields, basis FROM cdp.disclosures('user_id:u7');
SELECT cdp.export_subject('user_id:nobody');
SELECT cdp.export_subject('{user_id:u7,user_id:u8}');
SELECT cdp.export_subject('user_id:u7', NULL);

--
-- Erased, first for trial
--
SELECT cdp.erase_subject('user_id:u7')->'deleted' AS would_go;
SELECT cdp.resolve('user_id:u7') IS NULL AS not_seen, count(*) AS identifiers FROM cdp.identifiers;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT cdp.erase_subject('user_id:u7', false);
ROLLBACK;
SELECT cdp.erase_subject('user_id:u7', false) - 'erased_at' - 'remains' AS receipt;
SELECT erased_at, erased_by, receipt->'deleted'->'event' AS events FROM cdp.erasures;
RESET ROLE;
SELECT profile_id, identifiers, events, city FROM cdp.profiles;
SELECT cdp.resolve('user_id:u7') AS ada, cdp.resolve('email:ada@example.com') AS ada;
SELECT message_id, reason FROM cdp.rejected;
SELECT * FROM cdp.verify();
CREATE FUNCTION found(pattern text) RETURNS TABLE (tbl text) LANGUAGE plpgsql AS $$
DECLARE
	t record;
	n bigint;
BEGIN
	FOR t IN SELECT c.relname::text AS name FROM pg_class c WHERE c.relnamespace = 'cdp_data'::regnamespace AND c.relkind = 'r' ORDER BY c.relname COLLATE "C" LOOP
		EXECUTE format('SELECT count(*) FROM cdp_data.%I t WHERE t::text ~* $1', t.name) INTO n USING pattern;
		IF n > 0 THEN
			tbl := t.name;
			RETURN NEXT;
		END IF;
	END LOOP;
END $$;
SELECT * FROM found('bob@example');
SELECT * FROM found('ada@example|countess|byron|\mu7\M|9011112222');

--
-- She does not come back by other people's messages
--
SELECT message_id, status FROM cdp.ingest('[{"type": "track", "event": "Order", "messageId": "a2", "userId": "u7"}, {"type": "track", "event": "Order", "messageId": "n1", "userId": "u8"},
	{"type": "identify", "messageId": "n2", "userId": "u8", "traits": {"email": " ADA@example.com"}}, {"type": "trick", "messageId": "n3", "context": {"deep": [{"x": "Ada@example.com"}]}}, {"type": "trick", "messageId": "n4", "userId": "u9"}]');
SELECT cdp.track('email:ada@example.com', 'Order');
SELECT cdp.set_consent('email:ada@example.com', 'marketing', 'granted');
SELECT cdp.merge('{user_id:u7,user_id:u8}', 'the same');
SELECT cdp.track(1, 'Order');
SELECT message_id, reason FROM cdp.rejected ORDER BY message_id COLLATE "C";
SELECT * FROM cdp.refused_returns;
SELECT * FROM found('ada@example|\mu7\M');
SELECT count(*) AS refused FROM cdp_data.suppression;
SET ROLE regress_officer;
-- proof for her who shows her address
SELECT purpose, state, at, source FROM cdp.consent_proof('email:Ada@example.com');
-- she comes back by herself
SELECT cdp.unsuppress('email:Ada@Example.com') AS was_refused, cdp.unsuppress('email:zoe@example.com') AS was_refused;
RESET ROLE;
SET cdp.clock = '2026-06-16 12:00:00+00';
SELECT message_id, status FROM cdp.ingest('[{"type": "track", "event": "Order", "messageId": "a2", "timestamp": "2026-06-02T00:00:00Z", "context": {"traits": {"email": "ada@example.com"}}},
	{"type": "track", "event": "Order", "messageId": "a4", "context": {"traits": {"email": "ada@example.com"}}}]');
SELECT identifiers, events FROM cdp.profiles ORDER BY profile_id;

--
-- An older backup: she is there again, the list knows
--
SET ROLE regress_officer;
SELECT cdp.erase_subject('email:ada@example.com', false)->'deleted'->'event' AS events;
SELECT cdp.erasure_list() AS list \gset
RESET ROLE;
DELETE FROM cdp_data.suppression;
SELECT cdp.identify('{email:ada@example.com,user_id:u7}', '{}', '2026-06-01', 'r1') > 0 AS ada, cdp.track('user_id:u7', 'Order', '{}', '2026-06-02', 'r2') > 0 AS ada,
	cdp.identify('{email:cyd@example.com,anonymous_id:c1}', '{}', '2026-06-01', 'r3') > 0 AS cyd;
SET ROLE regress_officer;
SELECT identifiers, matched, outcome FROM cdp.reapply_erasures(:'list');
SELECT identifiers, matched, outcome FROM cdp.reapply_erasures(:'list');
SELECT * FROM cdp.reapply_erasures('{}');
RESET ROLE;
SELECT identifiers FROM cdp.profiles ORDER BY profile_id;
SELECT status FROM cdp.ingest('{"type": "track", "event": "Order", "messageId": "r9", "userId": "u7"}');
SELECT * FROM cdp.verify();
SELECT count(*) AS erasures, count(*) FILTER (WHERE reapplied) AS reapplied FROM cdp.erasures;
-- of whom not all is on the list she is only named
DELETE FROM cdp_data.suppression;
SELECT cdp.identify('{email:ada@example.com,anonymous_id:c9}', '{}', '2026-06-01', 'r5') > 0 AS somebody;
SET ROLE regress_officer;
SELECT identifiers, matched, outcome FROM cdp.reapply_erasures(:'list');
RESET ROLE;

--
-- Restriction, requests and their clocks
--
SELECT cdp.permit('regress_reader', 'marketing');
SELECT cdp.set_consent('email:bob@example.com', 'marketing', 'granted') > 0 AS bob;
SET ROLE regress_reader;
SELECT count(*) AS seen FROM cdp.profiles;
RESET ROLE;
SET ROLE regress_officer;
SELECT cdp.restrict_subject('email:bob@example.com') > 0 AS bob;
SELECT count(*) > 0 AS seen_by_officer FROM cdp.identifiers WHERE value = 'bob@example.com';
RESET ROLE;
SET ROLE regress_reader;
SELECT count(*) AS seen FROM cdp.profiles;
SELECT count(*) FROM cdp.subject_requests;
RESET ROLE;
SELECT law, kind, cdp.legal_term(law, kind, '2026-01-31 10:00+00') AS term, cdp.legal_term(law, kind, '2026-01-31 10:00+00', true) AS extended
FROM (VALUES (1, 'gdpr', 'access'), (2, 'ccpa', 'access'), (3, 'ccpa', 'opt_out'), (4, 'appi', 'access')) v (o, law, kind) ORDER BY o;
SET ROLE regress_officer;
SELECT cdp.open_request('erasure', 'gdpr', 'email:ada@example.com', '2026-05-14 12:00+00') AS late, cdp.open_request('access', 'gdpr', received_at => '2026-05-18 12:00+00') AS due,
	cdp.open_request('access', 'ccpa', note => 'by letter') AS open, cdp.open_request('access', 'ccpa', received_at => '2026-06-01 12:00+00') AS done;
SELECT cdp.open_request('access', 'hgb');
SELECT cdp.open_request('dance', 'gdpr');
SELECT cdp.open_request('access', 'gdpr', received_at => '2026-07-01');
SELECT cdp.extend_request(1, 'many');
SELECT cdp.extend_request(2, 'many');
SELECT cdp.extend_request(2, 'still many');
SELECT cdp.close_request(4, 'denied');
SELECT cdp.close_request(4, 'denied', 'identity not shown'), cdp.close_request(1, 'complied');
SELECT cdp.close_request(4, 'complied');
SELECT request_id, kind, law, due_at, extended, outcome, state FROM cdp.subject_requests ORDER BY 1;
SELECT * FROM cdp.request_figures ORDER BY 1, 2, 3;
RESET ROLE;

--
-- Random histories
--
-- What happens, and what is looked at; the same in both databases below.
SELECT $law$
CREATE SCHEMA law;
CREATE FUNCTION law.pick(VARIADIC a text[]) RETURNS text LANGUAGE sql AS 'SELECT a[1 + floor(random() * cardinality(a))::int]';
-- Whoever they are, their values begin with the number of their person and end with z.
CREATE FUNCTION law.ident(p int) RETURNS text LANGUAGE sql AS $$
	SELECT law.pick(format('user_id:user%sz', p), format('email:mail%sz%s@example.com', p, floor(random() * 3)), format('phone:+8190%s', 10000000 + p), format('anonymous_id:anon%sz%s', p, floor(random() * 3)), format('device_id:device%sz', p / 2))
$$;
CREATE FUNCTION law.act(i int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	people constant int := 8;
	p int := floor(random() * people);
	r float8 := random();
	at timestamptz := current_setting('cdp.clock')::timestamptz - CASE WHEN random() < 0.2 THEN random() * interval '100 days' ELSE random() ^ 4 * interval '30 days' END;
	id text := format('id-%s', floor(random() * i * 1.2));
	who text[] := '{}';
	names text[];
	a bigint;
BEGIN
	FOR k IN 1..1 + floor(random() * 2.6)::int LOOP
		who := who || law.ident(CASE WHEN random() < 0.10 THEN floor(random() * people)::int ELSE p END);
	END LOOP;
	who := ARRAY(SELECT DISTINCT w FROM unnest(who) w ORDER BY 1);
	IF r < 0.30 THEN
		PERFORM cdp.identify(who, jsonb_build_object('city', law.pick('Kyoto', 'Osaka'), 'store', law.pick('Gion', 'Umeda'), 'langs', law.pick('ja', 'en', 'fr'), 'pet', law.pick('cat', 'dog')), at, id, law.pick('crm', 'shop'));
		RETURN 'identify';
	ELSIF r < 0.55 THEN
		PERFORM cdp.track(who, law.pick('Order', 'Order', 'Other'), jsonb_build_object('total', round((random() * 100)::numeric, 2), 'brand', 'b' || floor(random() * 5)), at, id);
		RETURN 'track';
	ELSIF r < 0.65 THEN
		PERFORM cdp.set_consent(who, law.pick('analytics', 'marketing'), law.pick('granted', 'granted', 'withdrawn', 'restricted'), at, message_id => id);
		RETURN 'consent';
	ELSIF r < 0.70 THEN
		PERFORM cdp.ingest(jsonb_build_object('type', law.pick('track', 'track', 'trick'), 'messageId', id, 'userId', format('user%sz', p), 'timestamp', at));
		RETURN 'refused';
	ELSIF r < 0.78 THEN
		SELECT m.merge_id INTO a FROM cdp.merges m WHERE m.undone_at IS NULL ORDER BY m.merge_id OFFSET floor(random() * (SELECT count(*) FROM cdp.merges x WHERE x.undone_at IS NULL)) LIMIT 1;
		IF a IS NOT NULL THEN
			PERFORM cdp.unmerge(a, 'wrong');
		END IF;
		RETURN 'unmerge';
	ELSE
		names := ARRAY(SELECT (namespace || ':' || value) COLLATE "C" FROM cdp.identifiers ORDER BY 1);
		names := ARRAY[names[1 + floor(random() * cardinality(names))::int], names[1 + floor(random() * cardinality(names))::int]];
		IF names[1] IS NULL OR names[1] = names[2] THEN
			RETURN 'nothing';
		ELSIF r < 0.88 THEN
			PERFORM cdp.merge(names, 'said so', override => random() < 0.5);
			RETURN 'merge';
		ELSIF r < 0.95 THEN
			PERFORM cdp.unlink(names[1], names[2]);
			RETURN 'unlink';
		END IF;
		PERFORM cdp.remove_identifier(names[1]);
		RETURN 'remove';
	END IF;
EXCEPTION WHEN check_violation OR invalid_parameter_value OR no_data_found OR object_not_in_prerequisite_state OR unique_violation THEN
	RETURN 'refused ' || SQLSTATE;
END $$;
-- All that is known of the others, without when it is looked at.
CREATE FUNCTION law.others(except_for bigint) RETURNS TABLE (who bigint, what text) LANGUAGE sql AS $$
	SELECT p.profile_id, x.key || ': ' || x.value::text FROM cdp.profiles p CROSS JOIN LATERAL jsonb_each(to_jsonb(p)) x WHERE p.profile_id <> except_for
	UNION ALL SELECT e.profile_id, 'event: ' || (to_jsonb(e) - 'node_id')::text FROM cdp.events e WHERE e.profile_id <> except_for
	UNION ALL SELECT s.profile_id, 'visit: ' || to_jsonb(s)::text FROM cdp.sessions s WHERE s.profile_id <> except_for
	UNION ALL SELECT s.profile_id, 'affinity: ' || (to_jsonb(s) - 'lift' - 'log_odds')::text FROM cdp.affinities s WHERE s.profile_id <> except_for
	UNION ALL SELECT s.profile_id, 'consent: ' || (to_jsonb(s) - 'namespace' - 'value')::text FROM cdp.consent_log s WHERE s.profile_id <> except_for
	UNION ALL SELECT s.profile_id, 'now: ' || (to_jsonb(s) - 'namespace' - 'value')::text FROM cdp.consents s WHERE s.profile_id <> except_for
	UNION ALL SELECT s.profile_id, 'delivery: ' || to_jsonb(s)::text FROM cdp.outbox s WHERE s.profile_id <> except_for
	UNION ALL SELECT s.profile_id, 'segment: ' || to_jsonb(s)::text FROM cdp.segment_history s WHERE s.profile_id <> except_for
	UNION ALL SELECT p.profile_id, 'allows: ' || c.purpose_id FROM cdp_data.consent_ord c JOIN cdp_data.profile p USING (ord) WHERE p.profile_id <> except_for
$$;
-- Rows of any table of cdp_data that a pattern is found in.
CREATE FUNCTION law.found(patterns text[]) RETURNS TABLE (tbl text, line text) LANGUAGE plpgsql AS $$
DECLARE
	t record;
BEGIN
	FOR t IN SELECT c.relname::text AS name FROM pg_class c WHERE c.relnamespace = 'cdp_data'::regnamespace AND c.relkind = 'r' ORDER BY 1 LOOP
		RETURN QUERY EXECUTE format('SELECT %L, t::text FROM cdp_data.%I t WHERE t::text ~* ANY ($1)', t.name, t.name) USING patterns;
	END LOOP;
END $$;
CREATE TABLE law.difference (step int, profile_id bigint, what text, live text, recomputed text);
CREATE TABLE law.outcome (act text, n bigint);
CREATE FUNCTION law.erase(i int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	person bigint;
	patterns text[];
	nodes bigint[];
	dry jsonb;
	deed jsonb;
BEGIN
	SELECT p.profile_id INTO person FROM cdp.profiles p ORDER BY random() LIMIT 1;
	IF person IS NULL THEN
		RETURN;
	END IF;
	nodes := ARRAY(SELECT n.node_id FROM cdp_data.node n WHERE n.profile_id = person);
	-- values that nobody else bears or bore
	patterns := ARRAY(SELECT x.value FROM (SELECT n.profile_id, i.value FROM cdp_data.identifier i JOIN cdp_data.node n USING (node_id)
		UNION ALL SELECT n.profile_id, i.value FROM cdp_data.identifier_retired i JOIN cdp_data.node n USING (node_id)) x
		GROUP BY x.value HAVING bool_and(x.profile_id = person));
	patterns := ARRAY(SELECT replace(u, '+', '\+') || '([^0-9]|$)' FROM unnest(patterns) u);
	CREATE TEMP TABLE before ON COMMIT DROP AS SELECT * FROM law.others(person);
	dry := cdp.erase_subject(person);
	INSERT INTO law.difference SELECT i, d.* FROM (SELECT coalesce(b.who, a.who), 'dry run', b.what, a.what FROM before b FULL JOIN law.others(person) a USING (who, what) WHERE b.who IS NULL OR a.who IS NULL) d;
	deed := cdp.erase_subject(person, false);
	INSERT INTO law.difference SELECT i, person, 'receipt', dry->>'deleted', deed->>'deleted' WHERE dry->'deleted' <> deed->'deleted';
	INSERT INTO law.difference SELECT i, d.* FROM (SELECT coalesce(b.who, a.who), 'others', b.what, a.what FROM before b FULL JOIN law.others(person) a USING (who, what) WHERE b.who IS NULL OR a.who IS NULL) d;
	INSERT INTO law.outcome SELECT 'others who are another', count(*) FROM before b WHERE b.what LIKE 'identifiers: %' AND NOT EXISTS (SELECT FROM cdp.profiles p WHERE p.profile_id = b.who AND 'identifiers: ' || coalesce(p.identifiers::text, 'null') = b.what);
	INSERT INTO law.difference SELECT i, v.* FROM cdp.verify() v;
	INSERT INTO law.difference SELECT i, person, 'found', f.tbl, f.line FROM law.found(patterns) f;
	INSERT INTO law.difference SELECT i, person, 'numbers', x.tbl, NULL FROM law.left_of(person, nodes) x;
	INSERT INTO law.outcome SELECT key, value::bigint FROM jsonb_each_text(deed->'deleted') UNION ALL SELECT 'erased', 1;
	DROP TABLE before;
END $$;
-- Her numbers, as a profile and as nodes; others were called by hers once.
CREATE FUNCTION law.left_of(person bigint, gone bigint[]) RETURNS TABLE (tbl text) LANGUAGE plpgsql AS $$
DECLARE
	t record;
	n bigint;
BEGIN
	FOR t IN SELECT c.table_name, c.column_name, c.data_type = 'ARRAY' AS list, c.column_name IN ('node_id', 'a', 'b') AS node FROM information_schema.columns c
			WHERE c.table_schema = 'cdp_data' AND c.table_name <> 'audit_seal' AND (c.column_name IN ('node_id', 'a', 'b') OR c.udt_name = '_int8'
				OR (c.column_name IN ('profile_id', 'winner', 'loser', 'old_id', 'first_profile') AND c.table_name NOT IN ('erased_profile', 'node_history', 'identity_merge'))) LOOP
		EXECUTE format('SELECT count(*) FROM cdp_data.%I WHERE CASE WHEN $3 THEN %2$I::text::bigint[] && $2 WHEN $4 THEN (%2$I::text)::bigint = ANY ($2) ELSE (%2$I::text)::bigint = $1 END', t.table_name, t.column_name)
		INTO n USING person, gone, t.list, t.node;
		IF n > 0 THEN
			tbl := t.table_name;
			RETURN NEXT;
		END IF;
	END LOOP;
END $$;
CREATE PROCEDURE law.play(h int, size int) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM setseed(h / 1000.0);
	FOR i IN 1..size LOOP
		PERFORM set_config('cdp.clock', (timestamptz '2026-01-01 00:00+00' + i * interval '9 hours')::text, false);
		INSERT INTO law.outcome SELECT law.act(i), 1;
		COMMIT;
		IF i % 40 = 0 THEN
			PERFORM cdp.set_retention('40 days');
			COMMIT;
			CALL cdp.maintain();
		END IF;
		IF i % 10 = 0 THEN
			PERFORM law.erase(i);
			COMMIT;
			-- or nobody would be left soon
			DELETE FROM cdp_data.suppression;
			COMMIT;
		END IF;
	END LOOP;
END $$;
$law$ AS law \gset
CREATE DATABASE regress_subject_plain TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_subject_plain
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION cdp;
SELECT count(*) > 0 AS initialised FROM cdp.init();
SET cdp.clock = '2026-01-01';
SELECT cdp.define_trait('city'), cdp.define_trait('store', survivorship => 'most_frequent'), cdp.define_trait('langs', survivorship => 'union');
SELECT cdp.define_metric('orders', 'Order') > 0 AS m, cdp.define_metric('brands', 'Order', 'list', 'brand') > 0 AS m, cdp.define_metric('visits', 'session_ended') > 0 AS m WHERE cdp.set_session('4 hours') IS NOT NULL;
SELECT cdp.define_dimension('brand') > 0 AS d WHERE cdp.define_action('Order', 1) IS NOT NULL;
SELECT cdp.define_sequence('cold', 'Order', 'Other', same => 'brand', period => '5 days', result => 'list') > 0 AS cold;
SELECT count(cdp.define_purpose(p)) AS purposes FROM unnest('{analytics,marketing}'::text[]) p;
SELECT count(cdp.define_segment(s, predicate => p)) AS segments FROM (VALUES ('kyoto', 'city = ''Kyoto'''), ('busy', 'events > 10'), ('cat', 'traits->>''pet'' = ''cat'''), ('lately', 'cdp.within(last_seen, ''3 days'')')) v (s, p);
SELECT cdp.define_activation('kyoto', 'email', 'marketing') > 0 AS a;
:law
CALL law.play(3, 100);
SELECT sum(n) FILTER (WHERE act = 'erased') AS erased, sum(n) FILTER (WHERE act = 'others who are another') AS others_changed,
	count(DISTINCT act) FILTER (WHERE act IN ('event', 'node_history', 'identity_edge', 'identity_separation', 'identity_merge', 'consent_log', 'segment_member', 'rejected')) AS tables_met FROM law.outcome;
SELECT step, what, count(*) FROM law.difference GROUP BY 1, 2 ORDER BY 1, 2;
CREATE DATABASE regress_subject_rules TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_subject_rules
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION cdp;
SELECT count(*) > 0 AS initialised FROM cdp.init();
SET cdp.clock = '2026-01-01';
SELECT cdp.define_trait('city'), cdp.define_trait('store', survivorship => 'most_frequent'), cdp.define_trait('langs', survivorship => 'union');
SELECT cdp.define_namespace('email', on_conflict => 'newest_wins', max_per_profile => 2), cdp.define_namespace('phone', on_conflict => 'reject', max_per_profile => 1),
	cdp.define_namespace('device_id', ttl => '20 days'), cdp.define_namespace('anonymous_id', on_conflict => 'isolate');
SELECT cdp.define_metric('orders', 'Order') > 0 AS m, cdp.define_metric('brands', 'Order', 'list', 'brand') > 0 AS m, cdp.define_metric('visits', 'session_ended') > 0 AS m WHERE cdp.set_session('4 hours') IS NOT NULL;
SELECT cdp.define_dimension('brand') > 0 AS d WHERE cdp.define_action('Order', 1) IS NOT NULL;
SELECT cdp.define_sequence('cold', 'Order', 'Other', same => 'brand', period => '5 days', result => 'list') > 0 AS cold;
SELECT count(cdp.define_purpose(p)) AS purposes FROM unnest('{analytics,marketing}'::text[]) p;
SELECT count(cdp.define_segment(s, predicate => p)) AS segments FROM (VALUES ('kyoto', 'city = ''Kyoto'''), ('busy', 'events > 10'), ('cat', 'traits->>''pet'' = ''cat'''), ('lately', 'cdp.within(last_seen, ''3 days'')')) v (s, p);
SELECT cdp.define_activation('kyoto', 'email', 'marketing') > 0 AS a;
:law
CALL law.play(7, 100);
SELECT sum(n) FILTER (WHERE act = 'erased') AS erased, sum(n) FILTER (WHERE act = 'others who are another') AS others_changed,
	count(DISTINCT act) FILTER (WHERE act IN ('event', 'node_history', 'identity_edge', 'identity_separation', 'identity_merge', 'consent_log', 'segment_member', 'rejected')) AS tables_met FROM law.outcome;
SELECT step, what, count(*) FROM law.difference GROUP BY 1, 2 ORDER BY 1, 2;

\c :main
DROP DATABASE regress_subject;
DROP DATABASE regress_subject_plain;
DROP DATABASE regress_subject_rules;
DROP ROLE regress_officer;
DROP ROLE regress_reader;
