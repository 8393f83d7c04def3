-- Audiences from elsewhere: lists of identifiers as segments.
\set VERBOSITY terse
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_import;
CREATE DATABASE regress_import TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_import
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION cdp;
SELECT count(*) > 0 AS init FROM cdp.init();
SET cdp.clock = '2026-03-01';
SELECT cdp.define_trait('city');
SELECT cdp.define_purpose('partner') AS partner, cdp.define_purpose('news') AS news;
SELECT cdp.define_namespace('device', priority => 200, on_conflict => 'isolate');
SELECT cdp.define_namespace('mail', priority => 5, unique_per_profile => true, ttl => '10 days');
SELECT cdp.identify('email:a' || i || '@x.jp', '{"city": "Nara"}') FROM generate_series(1, 5) i;

--
-- A list: who is on it is a member, and who comes later
--
CREATE TABLE delivered (line text);
INSERT INTO delivered SELECT 'email: A' || i || '@X.jp' FROM generate_series(1, 8) i;
INSERT INTO delivered VALUES ('email:a1@x.jp'), ('nope'), ('email:null'), (NULL), ('email:'), (''), ('a b:c');
SELECT cdp.import_audience('partners', 'SELECT line FROM delivered', 'acme');
SELECT reason, count(*) FROM cdp.rejected GROUP BY 1 ORDER BY 1;
SELECT name, members, state, predicate, rule, timed, columns FROM cdp.segments;
SELECT identifier, profile_id, matched, source, valid_until FROM cdp.imported_identifiers ORDER BY 1;
SELECT segment, source, mode, purpose, rows, rejected, expired, identifiers, matched, unmatched FROM cdp.imports;
SELECT cdp.define_activation('partners', 'email', 'news') > 0 AS activation;
SELECT cdp.identify('email:a7@x.jp') AS id;
SELECT cdp.identify('{user_id:u1,email:a8@x.jp}') AS id;
SELECT * FROM cdp.members('partners') ORDER BY 1;
SELECT profile_id, segments FROM cdp.profiles ORDER BY 1;
SELECT profile_id, segment, cause FROM cdp.segment_history ORDER BY 1;
-- who came by the list got nothing, who came later did
SELECT profile_id, segment, state FROM cdp.outbox ORDER BY 1;
SELECT cdp.why('user_id:u1', 'partners') - 'since';
SELECT cdp.define_segment('partners in nara', predicate => 'cdp.in_segment(''partners'') AND city = ''Nara''') > 0 AS id;
SELECT cdp.segment_count('partners'), cdp.segment_count('"partners in nara"'), cdp.segment_count('partners & !"partners in nara"');
SELECT count(*) AS wrong FROM cdp.verify();
-- merged, parted
SELECT cdp.identify('{user_id:u2,email:a1@x.jp}') AS id;
SELECT cdp.identify('cookie:c1') AS id;
SELECT cdp.merge(ARRAY['cookie:c1', 'email:a1@x.jp'], 'one') IS NOT NULL AS merged;
SELECT * FROM cdp.members('partners') ORDER BY 1;
SELECT cdp.unmerge((SELECT max(merge_id) FROM cdp.merges)) IS NOT NULL AS parted;
SELECT * FROM cdp.members('partners') ORDER BY 1;
SELECT cdp.remove_identifier('email:a2@x.jp') IS NOT NULL AS removed;
SELECT * FROM cdp.members('partners') ORDER BY 1;
SELECT count(*) AS wrong FROM cdp.verify();

--
-- Imported again: other, more, fewer
--
SELECT cdp.import_audience('partners', $$SELECT 'a' || i || '@x.jp', CASE WHEN i > 3 THEN timestamptz '2026-03-05' END FROM generate_series(2, 4) i$$, 'acme', namespace => 'email');
SELECT * FROM cdp.members('partners') ORDER BY 1;
SELECT cdp.import_audience('partners', $$SELECT 'user_id:u1' UNION ALL SELECT 'email:a4@x.jp'$$, 'bell', mode => 'add', valid_until => '2026-03-10');
SELECT cdp.import_audience('partners', $$SELECT 'email:a3@x.jp' UNION ALL SELECT 'email:a77@x.jp'$$, 'bell', mode => 'remove');
SELECT identifier, profile_id, source, valid_until FROM cdp.imported_identifiers ORDER BY 1;
SELECT segment, source, mode, rows, identifiers, matched FROM cdp.imports ORDER BY import_id;
SELECT segment, version, predicate, rule, valid_to IS NULL AS present FROM cdp.segment_versions WHERE segment = 'partners' ORDER BY 2;
SELECT * FROM cdp.members('partners') ORDER BY 1;
SELECT cdp.disable_segment('partners');
SELECT cdp.drop_segment('partners in nara');
SELECT cdp.disable_segment('partners');
SELECT cdp.segment_count('partners');
SELECT cdp.enable_segment('partners');
SELECT cdp.segment_count('partners');
-- on time
SET cdp.clock = '2026-03-10';
SELECT cdp.segment_count('partners'), (SELECT count(*) FROM cdp.segment_members WHERE segment = 'partners') AS rows;
SELECT count(*) AS wrong FROM cdp.verify();
CALL cdp.maintain();
SELECT identifier, valid_until FROM cdp.imported_identifiers ORDER BY 1;
SELECT count(DISTINCT list_id) AS lists, count(*) AS lines, (SELECT count(*) FROM cdp_data.list) AS present FROM cdp_data.list_identifier;
SELECT profile_id, left_at, cause FROM cdp.segment_history WHERE segment = 'partners' AND cause = 'time' ORDER BY 1;
SELECT cdp.import_audience('partners', $$SELECT 'email:a5@x.jp', timestamptz '2026-03-09'$$, 'acme');
SELECT cdp.import_audience('partners', $$SELECT 'email:a5@x.jp'$$, 'acme', valid_until => '2026-03-09');

--
-- With a purpose: who allows it
--
SELECT cdp.import_audience('consenting', $$SELECT 'email:a' || i || '@x.jp' FROM generate_series(1, 9) i$$, 'acme', purpose => 'partner');
SELECT cdp.segment_count('consenting');
SELECT cdp.set_consent('email:a3@x.jp', 'partner', 'granted'), cdp.set_consent('email:a4@x.jp', 'partner', 'granted', valid_until => '2026-03-12'),
	cdp.set_consent('email:a5@x.jp', 'news', 'granted'), cdp.set_consent('email:a6@x.jp', 'partner', 'granted');
SELECT * FROM cdp.members('consenting') ORDER BY 1;
SET cdp.clock = '2026-03-10 01:00';
SELECT cdp.set_consent('email:a3@x.jp', 'partner', 'denied');
SELECT * FROM cdp.members('consenting') ORDER BY 1;
SET cdp.clock = '2026-03-12';
SELECT * FROM cdp.members('consenting') ORDER BY 1;
SELECT count(*) AS wrong FROM cdp.verify();
SELECT cdp.import_audience('consenting', $$SELECT 'email:a7@x.jp'$$, 'acme', purpose => 'news', mode => 'add');
SELECT cdp.import_audience('consenting', $$SELECT 'email:a7@x.jp'$$, 'acme', mode => 'add') - 'segment';
SELECT DISTINCT purpose FROM cdp.imports WHERE segment = 'consenting';

--
-- Who may, and what is no list
--
SELECT cdp.import_audience('partners', 'SELECT 1, 2', 'acme');
SELECT cdp.import_audience('partners', 'SELECT 1, now(), 3', 'acme');
SELECT cdp.import_audience('partners', 'DELETE FROM delivered', 'acme');
SELECT cdp.import_audience('partners', 'COPY FROM STDIN', 'acme');
SELECT cdp.import_audience('partners', 'SELECT 1 / 0', 'acme');
SELECT cdp.import_audience('partners', 'TABLE delivered', 'acme', mode => 'merge');
SELECT cdp.import_audience('partners', 'TABLE delivered', 'acme', purpose => 'none');
SELECT cdp.import_audience('partners', 'TABLE delivered', NULL);
SELECT cdp.import_audience(NULL, 'TABLE delivered', 'acme');
SELECT cdp.define_segment('rule', predicate => 'city = ''Nara''') > 0 AS id;
SELECT cdp.import_audience('rule', 'TABLE delivered', 'acme');
SELECT cdp.define_segment('partners', predicate => 'city = ''Nara''');
SELECT count(*) AS lists FROM cdp_data.list WHERE list_id NOT IN (SELECT list_id FROM cdp_data.segment WHERE list_id IS NOT NULL);
CREATE ROLE regress_import_privacy;
CREATE ROLE regress_import_analyst;
SELECT cdp.provision('regress_import_privacy', 'privacy'), cdp.provision('regress_import_analyst', 'analyst');
SELECT cdp.permit('regress_import_analyst', 'partner');
SET ROLE regress_import_privacy;
SELECT count(*) > 5 AS lines FROM cdp.imported_identifiers;
SELECT count(*) > 5 AS imports FROM cdp.imports;
SELECT cdp.import_audience('mine', 'SELECT 1', 'acme');
SET ROLE regress_import_analyst;
SELECT count(*) FROM cdp.imported_identifiers;
SELECT count(*) FROM cdp.imports;
SELECT cdp.segment_count('consenting');
SELECT name, members FROM cdp.segments ORDER BY 1;
RESET ROLE;

--
-- Many: built beside, while the old list answers; and in steps
--
SELECT cdp.import_audience('partners', $$SELECT 'email:a' || i || '@x.jp' FROM generate_series(1, 9) i$$, 'acme', background => true);
SELECT cdp.segment_count('partners'), state, building, version FROM cdp.segments WHERE name = 'partners';
SELECT cdp.import_audience('partners', $$SELECT 'email:a1@x.jp'$$, 'acme', mode => 'remove');
SELECT cdp.identify('email:a9@x.jp') AS id;
SELECT cdp.import_audience('partners', $$SELECT 'user_id:u1'$$, 'acme', mode => 'add');
CALL cdp.maintain();
SELECT identifier, profile_id FROM cdp.imported_identifiers WHERE segment = 'partners' ORDER BY 1;
SELECT * FROM cdp.members('partners') ORDER BY 1;
SELECT segment, version, predicate FROM cdp.segment_versions WHERE segment = 'partners' ORDER BY 2 DESC LIMIT 1;
SELECT count(*) AS lists, count(*) FILTER (WHERE list_id IN (SELECT list_id FROM cdp_data.segment)) AS segments FROM cdp_data.list;
SELECT cdp.refresh_segment('partners', background => true);
CALL cdp.maintain();
SELECT cdp.segment_count('partners');
SELECT cdp.drop_activation('partners', 'email', 'news');
SELECT cdp.drop_segment('partners');
CALL cdp.maintain();
SELECT count(*) AS imports FROM cdp.imports WHERE segment = 'partners';
SELECT count(*) AS lists, count(*) FILTER (WHERE list_id IN (SELECT list_id FROM cdp_data.segment)) AS segments FROM cdp_data.list;
SELECT count(*) AS wrong FROM cdp.verify();

--
-- Random histories: membership is what list, identifiers, consent and time say
--
CREATE VIEW truth AS
SELECT DISTINCT g.name, n.profile_id FROM cdp_data.segment g JOIN cdp_data.list l USING (list_id) JOIN cdp_data.list_identifier r USING (list_id)
JOIN cdp_data.identifier i ON i.namespace = r.namespace AND i.value = r.value AND i.ended IS NULL JOIN cdp_data.node n USING (node_id)
WHERE g.state = 'active' AND r.valid_until > cdp.clock() AND (l.purpose_id IS NULL OR (SELECT bool_and(c.state = 'granted') AND min(c.valid_until) > cdp.clock()
	FROM cdp_data.node m JOIN cdp_data.consent_current c ON c.node_id = m.node_id WHERE m.profile_id = n.profile_id AND c.purpose_id = l.purpose_id));
CREATE VIEW wrong AS
(SELECT 'not in it' AS what, t.* FROM truth t EXCEPT SELECT 'not in it', m.segment, m.profile_id FROM cdp.segment_members m)
UNION ALL (SELECT 'in it', m.segment, m.profile_id FROM cdp.segment_members m JOIN cdp_data.segment g ON g.name = m.segment AND g.list_id IS NOT NULL EXCEPT SELECT 'in it', t.* FROM truth t)
UNION ALL (SELECT 'not listed', t.* FROM truth t EXCEPT SELECT 'not listed', u, p.profile_id FROM cdp.profiles p, unnest(p.segments) u)
UNION ALL SELECT 'counted otherwise', g.name, cdp.segment_count(quote_ident(g.name)) FROM cdp_data.segment g
	WHERE g.list_id IS NOT NULL AND g.state = 'active' AND cdp.segment_count(quote_ident(g.name)) <> (SELECT count(*) FROM truth t WHERE t.name = g.name);
CREATE FUNCTION somebody() RETURNS text LANGUAGE sql AS $$
	SELECT CASE floor(random() * 4) WHEN 0 THEN 'email:e' || floor(random() * 30) || '@x.jp' WHEN 1 THEN 'mail:m' || floor(random() * 20) || '@x.jp'
		WHEN 2 THEN 'device:d' || floor(random() * 15) ELSE 'user_id:u' || floor(random() * 30) END
$$;
CREATE PROCEDURE history(seed float8, n int) LANGUAGE plpgsql AS $$
DECLARE
	m bigint;
	found bigint;
	act int;
BEGIN
	PERFORM setseed(seed);
	FOR i IN 1..n LOOP
		act := floor(random() * 20);
		BEGIN
			CASE act
			WHEN 0, 1, 10, 11, 12 THEN PERFORM cdp.identify(somebody());
			WHEN 2, 13, 14, 15 THEN PERFORM cdp.identify(ARRAY[somebody(), somebody()]);
			WHEN 3 THEN PERFORM cdp.track(ARRAY[somebody(), somebody()], 'Visit', at => cdp.clock() - random() * interval '20 days');
			WHEN 4 THEN PERFORM cdp.unmerge(x.merge_id) FROM (SELECT merge_id FROM cdp.merges WHERE undone_at IS NULL ORDER BY random() LIMIT 1) x;
			WHEN 5, 16 THEN PERFORM cdp.remove_identifier(somebody());
			WHEN 6, 17 THEN PERFORM cdp.set_consent(somebody(), 'partner', (ARRAY['granted', 'granted', 'denied'])[1 + floor(random() * 3)::int],
				at => cdp.clock() - random() * interval '5 days', valid_until => CASE WHEN random() < 0.3 THEN cdp.clock() + random() * interval '10 days' END);
			WHEN 7, 18 THEN PERFORM set_config('cdp.clock', (cdp.clock() + random() * interval '3 days')::text, false);
			WHEN 8 THEN PERFORM cdp.ingest((SELECT jsonb_agg(jsonb_build_object('type', 'track', 'event', 'Visit', 'messageId', 'h' || seed || i || '/' || k,
				'identifiers', jsonb_build_array(somebody(), somebody()))) FROM generate_series(1, 3) k));
			WHEN 9 THEN PERFORM cdp.maintain_step();
			ELSE PERFORM cdp.import_audience((ARRAY['one', 'two', 'three'])[1 + floor(random() * 3)::int],
				$q$SELECT public.somebody(), CASE WHEN random() < 0.4 THEN cdp.clock() + random() * interval '9 days' END FROM generate_series(1, 12)$q$, 'acme',
				mode => (ARRAY['replace', 'add', 'remove'])[1 + floor(random() * 3)::int], purpose => CASE WHEN random() < 0.3 THEN 'partner' END,
				background => CASE WHEN random() < 0.3 THEN true END);
			END CASE;
		EXCEPTION WHEN invalid_parameter_value OR object_not_in_prerequisite_state OR undefined_object OR no_data_found THEN NULL;
		END;
		SELECT count(*) INTO found FROM wrong;
		IF found > 0 THEN RAISE 'step %, act %: % wrong', i, act, found; END IF;
	END LOOP;
	IF EXISTS (SELECT FROM cdp.verify()) THEN RAISE 'verify finds something'; END IF;
END $$;
CALL history(0.11, 300);
CALL history(0.12, 300);
CALL history(0.13, 300);
CALL cdp.maintain();
SELECT count(*) AS wrong FROM wrong;
SELECT count(*) AS wrong FROM cdp.verify();
-- it was worth it
SELECT count(*) > 100 AS stays, count(*) FILTER (WHERE cause = 'time') > 5 AS by_time, count(*) FILTER (WHERE cause = 'definition') > 10 AS by_import, count(*) FILTER (WHERE cause = 'event') > 20 AS by_event
FROM cdp.segment_history WHERE segment IN ('one', 'two', 'three');
SELECT count(*) > 20 AS identifiers, count(*) FILTER (WHERE NOT matched) > 5 AS unmatched FROM cdp.imported_identifiers;
SELECT count(*) > 3 AS retired FROM cdp_data.identifier_retired;
SELECT mode, count(*) > 5 AS some FROM cdp.imports GROUP BY 1 ORDER BY 1;

\c postgres
SET client_min_messages = warning;
DROP DATABASE regress_import;
DROP ROLE regress_import_privacy, regress_import_analyst;
