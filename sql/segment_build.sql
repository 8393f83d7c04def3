-- Segments built in the background: what is in force answers until the new is
-- complete, whatever happens to people meanwhile, and then the new, exactly.
\set VERBOSITY terse
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_segment_build;
CREATE DATABASE regress_segment_build TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_segment_build
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION cdp;
SELECT count(*) > 0 AS init FROM cdp.init();
SET cdp.clock = '2026-03-01';
SELECT cdp.define_trait('city'), cdp.define_trait('v', 'bigint'), cdp.define_trait('seen_at', 'timestamptz');
CREATE FUNCTION people(first int, last int) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM cdp.ingest((SELECT jsonb_build_object('batch', jsonb_agg(jsonb_build_object('type', 'identify', 'messageId', 'm' || i, 'userId', 'u' || i,
		'timestamp', '2026-02-01T00:00:00Z', 'traits', jsonb_build_object('city', (ARRAY['Kyoto', 'Nara', 'Osaka'])[1 + i % 3], 'v', i % 100,
			'seen_at', '2026-02-20'::timestamptz + i % 20 * interval '1 day')))) FROM generate_series(first, last) i))
$$;
SELECT people(1, 2300);
CALL cdp.maintain();
-- segments by what they should be: rules over a person's columns, in plain SQL
CREATE TABLE rule (name text PRIMARY KEY, says text NOT NULL);
CREATE FUNCTION wrong() RETURNS TABLE (segment text, profile_id bigint, is_in boolean) LANGUAGE plpgsql AS $$
DECLARE
	r record;
BEGIN
	FOR r IN SELECT * FROM rule LOOP
		RETURN QUERY EXECUTE format('SELECT %1$L, x.profile_id, x.listed FROM (SELECT p.profile_id, (%2$s) IS TRUE AS truth, %1$L = ANY (p.segments) AS listed,
				p.profile_id IN (SELECT m.profile_id FROM cdp.segment_members m WHERE m.segment = %1$L) AS member,
				p.profile_id IN (SELECT m.profile_id FROM cdp.members(quote_ident(%1$L)) m) AS found FROM cdp.profiles p) x
			WHERE x.truth <> x.listed OR x.truth <> x.member OR x.truth <> x.found', r.name, r.says);
	END LOOP;
END $$;
-- what happens to people: values change, some merge, some part, time passes, others come
CREATE FUNCTION life(seed float8, n int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	a int;
	m bigint;
BEGIN
	PERFORM setseed(seed);
	FOR i IN 1..n LOOP
		a := 1 + floor(random() * 2600);
		CASE floor(random() * 6)
		WHEN 0 THEN PERFORM cdp.identify('user_id:u' || a, jsonb_build_object('v', floor(random() * 100)));
		WHEN 1 THEN PERFORM cdp.identify('user_id:u' || a, jsonb_build_object('city', (ARRAY['Kyoto', 'Nara', 'Osaka'])[1 + floor(random() * 3)::int]));
		WHEN 2 THEN PERFORM cdp.identify('user_id:u' || a, jsonb_build_object('seen_at', cdp.clock() - random() * interval '10 days'));
		WHEN 3 THEN PERFORM cdp.identify(ARRAY['user_id:u' || a, 'user_id:u' || 1 + floor(random() * 2600)::int], jsonb_build_object('v', floor(random() * 100)));
		WHEN 4 THEN
			SELECT x.merge_id INTO m FROM cdp.merges x WHERE x.undone_at IS NULL ORDER BY x.merge_id LIMIT 1;
			IF FOUND THEN PERFORM cdp.unmerge(m); END IF;
		ELSE PERFORM set_config('cdp.clock', (cdp.clock() + random() * interval '20 minutes')::text, false);
		END CASE;
	END LOOP;
END $$;
CREATE PROCEDURE build(seed float8, steps int) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1..steps LOOP
		PERFORM life(seed + i / 100.0, 25);
		IF NOT cdp.maintain_step() AND i > 1 THEN RETURN; END IF;
		IF EXISTS (SELECT FROM wrong()) THEN RAISE 'wrong after % steps', i; END IF;
		EXIT WHEN NOT EXISTS (SELECT FROM cdp.segments WHERE building);
	END LOOP;
END $$;

--
-- Defined: nobody is in it before all are found
--
SELECT cdp.define_segment('high', predicate => 'v >= 60', background => true) AS id;
SELECT name, members, state, building, version FROM cdp.segments;
SELECT cdp.define_purpose('mailing') > 0 AS purpose;
SELECT cdp.define_activation('high', 'email', 'mailing') > 0 AS activation;
SELECT cdp.segment_count('high');
SELECT count(*) FROM cdp.members('high');
SELECT count(*) FROM cdp.overlap('high');
SELECT segments, count(*) FROM cdp.profiles GROUP BY 1;
SELECT kind, target, state, done_rows FROM cdp.tasks ORDER BY task_id;
CALL cdp.maintain(0);
SELECT name, members, state, building FROM cdp.segments;
SELECT kind, target, state, done_rows FROM cdp.tasks ORDER BY task_id;
SELECT work, done FROM cdp.progress WHERE pid IS NULL;
SELECT count(*) AS in_the_index FROM cdp_data.segment_member;
SELECT count(*) AS wrong FROM cdp.verify();
CALL build(0.1, 1000);
INSERT INTO rule VALUES ('high', 'v >= 60');
SELECT name, state, building, version, members = (SELECT count(*) FROM cdp.profiles WHERE v >= 60) AS all_of_them FROM cdp.segments;
SELECT count(*) AS wrong FROM wrong();
-- all since the moment at which it came into force, and nobody entered: there are no deliveries
SELECT count(*) FILTER (WHERE m.since = g.live_from) = count(*) AS since_then, count(DISTINCT h.cause) FROM cdp.segment_members m
JOIN cdp_data.segment g ON g.name = m.segment JOIN cdp.segment_history h USING (segment, profile_id) WHERE h.left_at IS NULL;
SELECT count(*) AS deliveries FROM cdp.outbox;
SELECT count(*) AS wrong FROM cdp.verify();

--
-- Redefined: the old rule answers until the new one does; so it is with what needs it
--
SELECT cdp.define_segment('nara high', predicate => 'city = ''Nara'' AND cdp.in_segment(''high'')') > 0 AS id;
SELECT cdp.define_segment('lately', rule => '{"seen_at": {"$within": "5 days"}}') > 0 AS id;
SELECT cdp.define_segment('both', rule => '{"$and": [{"profile_id": {"$inGroup": "lately"}}, {"profile_id": {"$inGroup": "high"}}]}') > 0 AS id;
INSERT INTO rule VALUES ('nara high', 'city = ''Nara'' AND v >= 60'), ('lately', 'cdp.within(seen_at, ''5 days'')'), ('both', 'v >= 60 AND cdp.within(seen_at, ''5 days'')');
SELECT count(*) AS wrong FROM wrong();
SELECT cdp.define_segment('high', predicate => 'v BETWEEN 40 AND 80', description => 'Not too high', background => true) AS id;
SELECT segment_id, fresh, definition FROM cdp_data.segment_build ORDER BY 1;
SELECT name, predicate, state, building, version FROM cdp.segments ORDER BY 1;
CALL cdp.maintain(0);
CALL build(0.2, 1);
SELECT count(*) AS wrong FROM wrong();
-- while it is being built: another rule, another segment that needs it, and one at once that may not
SELECT cdp.define_segment('high', predicate => 'v BETWEEN 30 AND 90', background => true) AS id;
SELECT cdp.define_segment('far', predicate => 'cdp.in_segment(''high'') AND city <> ''Nara''') AS id;
SELECT cdp.define_segment('far', predicate => 'cdp.in_segment(''high'')', background => false);
SELECT cdp.define_segment('high', predicate => 'cdp.in_segment(''far'')');
SELECT cdp.refresh_segment('both', background => false);
SELECT cdp.define_segment('alone', predicate => 'city = ''Osaka''', background => false) > 0 AS id;
INSERT INTO rule VALUES ('alone', 'city = ''Osaka''');
SELECT name, state, building FROM cdp.segments ORDER BY 1;
SELECT kind, target, state, done_rows FROM cdp.tasks WHERE state IN ('waiting', 'running') ORDER BY task_id;
CALL build(0.3, 1);
SELECT count(*) AS wrong FROM wrong();
SELECT people(2301, 2400);
DO $$ BEGIN
	FOR i IN 1..1000 LOOP
		PERFORM life(0.4 + i / 1000.0, 10);
		-- the last step: who is in at its beginning is known
		DROP TABLE IF EXISTS at_the_end;
		CREATE TEMP TABLE at_the_end AS SELECT segment, profile_id, since FROM cdp.segment_members;
		PERFORM cdp.maintain_step();
		EXIT WHEN NOT EXISTS (SELECT FROM cdp.segments WHERE building);
	END LOOP;
END $$;
UPDATE rule SET says = replace(says, 'v >= 60', 'v BETWEEN 30 AND 90');
INSERT INTO rule VALUES ('far', 'v BETWEEN 30 AND 90 AND city <> ''Nara''');
SELECT count(*) AS wrong FROM wrong();
SELECT count(*) AS wrong FROM cdp.verify();
SELECT name, predicate, state, building, version, description FROM cdp.segments ORDER BY 1;
SELECT segment, version, predicate, valid_to IS NULL AS present FROM cdp.segment_versions ORDER BY 1, 2;
-- who was in and is, is in since then; who is not left by the definition, who was not came by it
SELECT count(*) > 100 AS some, count(*) FILTER (WHERE m.since = e.since) = count(*) AS as_before FROM at_the_end e JOIN cdp.segment_members m USING (segment, profile_id);
SELECT count(*) > 10 AS some, count(*) FILTER (WHERE h.left_at = g.live_from AND h.cause = 'definition' AND h.entered_at = e.since) = count(*) AS left_then
FROM at_the_end e JOIN cdp_data.segment g ON g.name = e.segment LEFT JOIN cdp.segment_history h ON h.segment = e.segment AND h.profile_id = e.profile_id AND h.left_at = g.live_from
WHERE NOT EXISTS (SELECT FROM cdp.segment_members m WHERE m.segment = e.segment AND m.profile_id = e.profile_id);
SELECT count(*) > 10 AS some, count(*) FILTER (WHERE m.since = g.live_from) = count(*) AS came_then FROM cdp.segment_members m JOIN cdp_data.segment g ON g.name = m.segment
WHERE NOT EXISTS (SELECT FROM at_the_end e WHERE m.segment = e.segment AND m.profile_id = e.profile_id);
SELECT (SELECT count(*) FROM cdp.members('far', cdp.clock() - interval '1 microsecond')) AS far_before, (SELECT count(*) > 0 FROM cdp.members('far', cdp.clock())) AS far_now;
SELECT count(*) AS longer_than_they_lasted FROM cdp.segment_history WHERE left_at < entered_at;
--
-- The set that was in force goes in steps, while life goes on
--
SELECT count(DISTINCT segment_id) AS sets FROM cdp_data.segment_member;
CALL build(0.5, 1);
SELECT count(*) AS wrong FROM cdp.verify();
DO $$ BEGIN
	FOR i IN 1..1000 LOOP
		PERFORM life(0.6 + i / 1000.0, 10);
		EXIT WHEN NOT cdp.maintain_step();
		IF EXISTS (SELECT FROM wrong()) THEN RAISE 'wrong'; END IF;
	END LOOP;
END $$;
SELECT kind, target, state FROM cdp.tasks ORDER BY task_id;
SELECT m.segment_id FROM cdp_data.segment_member m LEFT JOIN cdp_data.segment g ON g.set_id = m.segment_id WHERE g.set_id IS NULL
UNION SELECT c.segment_id FROM cdp_data.segment_chunk c LEFT JOIN cdp_data.segment g ON g.set_id = c.segment_id WHERE g.set_id IS NULL AND c.segment_id <> 0
UNION SELECT d.segment_id FROM cdp_data.segment_delta d LEFT JOIN cdp_data.segment g ON g.set_id = d.segment_id WHERE g.set_id IS NULL AND d.segment_id <> 0
UNION SELECT u FROM cdp_data.profile_state s, unnest(s.segments) u LEFT JOIN cdp_data.segment g ON g.set_id = u WHERE g.set_id IS NULL;
CALL cdp.rebuild_all();
SELECT count(*) AS wrong FROM wrong();
SELECT count(*) AS wrong FROM cdp.verify();

--
-- Given up: dropped, disabled; enabled, refreshed
--
SELECT cdp.define_segment('brief', predicate => 'v < 50', background => true) > 0 AS id;
CALL cdp.maintain(0);
SELECT cdp.drop_segment('brief');
SELECT cdp.define_segment('far', predicate => 'v < 50', background => true) > 0 AS id;
CALL cdp.maintain(0);
SELECT cdp.disable_segment('far');
SELECT name, state, building, predicate, members FROM cdp.segments WHERE name IN ('brief', 'far');
SELECT count(*) AS built FROM cdp_data.segment_build;
SELECT cdp.enable_segment('far', background => true);
SELECT name, state, building, predicate, members FROM cdp.segments WHERE name = 'far';
DELETE FROM rule WHERE name = 'far';
CALL build(0.7, 1000);
INSERT INTO rule VALUES ('far', 'v BETWEEN 30 AND 90 AND city <> ''Nara''');
SELECT count(*) AS wrong FROM wrong();
SELECT cdp.refresh_segment('lately', background => true);
CALL build(0.8, 1000);
CALL cdp.maintain();
SELECT name, state, building, version FROM cdp.segments ORDER BY 1;
SELECT count(*) AS wrong FROM wrong();
SELECT count(*) AS wrong FROM cdp.verify();

--
-- What is built may need what changes meanwhile: a trait that is declared
--
SELECT cdp.identify('user_id:u' || i, '{"pet": "cat"}') > 0 AS taken FROM generate_series(1, 3) i;
SELECT cdp.define_segment('cats', predicate => 'traits->>''pet'' = ''cat''', background => true) > 0 AS id;
CALL cdp.maintain(0);
SELECT position FROM cdp_data.task WHERE kind = 'segment' AND state = 'running';
SELECT cdp.define_trait('pet');
SELECT position FROM cdp_data.task WHERE kind = 'segment' AND state = 'running';
CALL cdp.maintain();
SELECT cdp.segment_count('cats') AS cats;
SELECT count(*) AS wrong FROM cdp.verify();

--
-- A rule that raises; nothing of it is lost
--
SELECT cdp.define_segment('broken', predicate => '1 / (v - 7) >= 0', background => true) > 0 AS id;
CALL cdp.maintain();
SELECT name, state, last_error FROM cdp.segments WHERE name = 'broken';

--
-- A segment that is disabled stays so, however it is redefined; one that is being enabled does not
--
SELECT cdp.define_segment('off', predicate => 'v >= 10', background => false) > 0 AS id;
SELECT cdp.disable_segment('off');
SELECT cdp.define_segment('off', predicate => 'v >= 20', background => true) > 0 AS id;
CALL cdp.maintain();
SELECT name, state, building, predicate, members, version FROM cdp.segments WHERE name = 'off';
SELECT cdp.enable_segment('off', background => true);
SELECT cdp.define_segment('off', predicate => 'v >= 30', background => true) > 0 AS id;
CALL cdp.maintain();
SELECT name, state, building, predicate, members > 0 AS members FROM cdp.segments WHERE name = 'off';
CREATE TABLE partner AS SELECT 'user_id:u' || i AS u FROM generate_series(1, 9) i;
SELECT cdp.import_audience('lent', 'SELECT u FROM partner', 'a partner') ->> 'matched' AS matched;
SELECT cdp.disable_segment('lent');
SELECT cdp.import_audience('lent', 'SELECT u FROM partner LIMIT 3', 'a partner', background => true) ->> 'building' AS building;
CALL cdp.maintain();
SELECT name, state, building, members FROM cdp.segments WHERE name = 'lent';
SELECT cdp.enable_segment('lent');
SELECT name, state, building, members FROM cdp.segments WHERE name = 'lent';

--
-- What time changes while cdp.maintain() runs happened before the new definition came into force
--
RESET cdp.clock;
SELECT cdp.track('user_id:late', 'look') > 0 AS came;
SELECT cdp.define_segment('just now', predicate => 'cdp.within(last_seen, ''2 seconds'')', background => false) > 0 AS id;
SELECT cdp.define_segment('just now', predicate => 'v < 0', background => true) > 0 AS id;
DO $$ BEGIN
	PERFORM cdp.track('user_id:late', 'look again');
	WHILE EXISTS (SELECT FROM cdp.segments WHERE name = 'just now' AND building) LOOP
		PERFORM pg_sleep(2.1) WHERE EXISTS (SELECT FROM cdp_data.task WHERE kind = 'segment' AND position = '"through"');
		PERFORM cdp.maintain_step();
	END LOOP;
END $$;
SELECT h.cause, h.left_at < s.changed_at AS before FROM cdp.segment_history h JOIN cdp.segments s ON s.name = h.segment WHERE h.segment = 'just now' ORDER BY h.left_at DESC LIMIT 1;

\c postgres
SET client_min_messages = warning;
DROP DATABASE regress_segment_build;
