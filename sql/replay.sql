-- replay.sql: L2.  verify() finds nothing in what random histories left, and
-- every kind of damage that is planted; rebuild() repairs it.
\set main :DBNAME
CREATE DATABASE regress_replay TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_replay
SET client_min_messages = warning;
CREATE EXTENSION cdp;
SELECT count(*) > 0 AS initialised FROM cdp.init();
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET extra_float_digits = 1;
SELECT cdp.define_trait('city'), cdp.define_trait('age', 'int'), cdp.define_trait('first_store', survivorship => 'oldest'),
	cdp.define_trait('score', 'float8'), cdp.define_trait('visited', 'timestamptz'), cdp.define_trait('card', 'uuid');
SELECT cdp.define_purpose('analytics') AS analytics, cdp.define_purpose('marketing') AS marketing;
SELECT count(cdp.define_segment(s, predicate => p)) AS segments FROM (VALUES
	('young', 'age < 30'), ('kyoto', 'city = ''Kyoto'''), ('busy', 'events > 5'), ('cat', 'traits->>''pet'' = ''cat'''),
	('raising', '100 / (age - 30) > 4')) v (s, p);
CREATE SCHEMA law;

CREATE FUNCTION law.pick(VARIADIC a text[]) RETURNS text LANGUAGE sql AS $$
	SELECT a[1 + floor(random() * cardinality(a))::int]
$$;
CREATE FUNCTION law.ident(p int) RETURNS text LANGUAGE sql AS $$
	SELECT law.pick(format('user_id:u%s', p), format('email:e%s@example.com', p), format('phone:+8190%s', 10000000 + p),
		format('line:l%s', p), format('anonymous_id:a%s.%s', p, floor(random() * 3)))
$$;
CREATE FUNCTION law.traits() RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_object_agg(t, v) FROM (SELECT t, CASE t
		WHEN 'city' THEN to_jsonb(law.pick('Kyoto', 'Osaka', 'Nara', '')) WHEN 'age' THEN law.pick('21', '30', '"47"', '"old"', 'null')::jsonb
		WHEN 'first_store' THEN to_jsonb(law.pick('Gion', 'Umeda')) WHEN 'score' THEN law.pick('0.1', '12345678.901234567', '"1e3"')::jsonb
		WHEN 'visited' THEN law.pick('"2024-01-02T03:04:05.678901+09:00"', '"never"')::jsonb
		WHEN 'card' THEN law.pick('"0123abcd-0000-4000-8000-00000000beef"', '"FFFFFFFF-0000-4000-8000-00000000BEEF"')::jsonb
		WHEN 'pet' THEN law.pick('"cat"', '"dog"', 'null')::jsonb ELSE law.pick('["ja"]', '{"a": 1.50}', '7')::jsonb END AS v
		FROM unnest('{city,age,first_store,score,visited,card,pet,langs}'::text[]) t WHERE random() < 0.4) x
$$;

-- Some identifiers, whatever order they are stored in.
CREATE FUNCTION law.some(n int) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	all_of_them text[] := ARRAY(SELECT (namespace || ':' || value) COLLATE "C" AS x FROM cdp.identifiers ORDER BY 1);
BEGIN
	FOR i IN 1..least(n, cardinality(all_of_them)) LOOP
		RETURN NEXT all_of_them[1 + floor(random() * cardinality(all_of_them))::int];
	END LOOP;
END $$;
CREATE TABLE law.outcome (history int, act text);
CREATE TABLE law.difference (history int, step int, profile_id bigint, what text, live text, recomputed text);

-- One thing that happens, at a random time of its own.
CREATE FUNCTION law.act(h int, i int, people int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	who text[] := '{}';
	p int := floor(random() * people);
	r float8 := random();
	at timestamptz := timestamptz '2024-01-14 00:00+00' + floor(random() * 60) * interval '17 h';
	id text := format('h%s-%s', h, floor(random() * i * 1.1));
	a bigint;
BEGIN
	FOR k IN 1..1 + floor(random() * 3)::int LOOP
		who := who || law.ident(CASE WHEN random() < 0.15 THEN floor(random() * people)::int ELSE p END);
	END LOOP;
	who := ARRAY(SELECT DISTINCT w FROM unnest(who) w);
	IF r < 0.40 THEN
		PERFORM cdp.identify(who, coalesce(law.traits(), '{}'), at, id);
		RETURN 'identify';
	ELSIF r < 0.65 THEN
		PERFORM cdp.track(who, 'Viewed', '{"n": 1}', at, id);
		RETURN 'track';
	ELSIF r < 0.70 THEN
		PERFORM cdp.ingest(jsonb_build_object('batch', (SELECT jsonb_agg(jsonb_build_object('type', 'identify', 'messageId', id || '.' || g,
			'userId', 'u' || floor(random() * people), 'anonymousId', format('a%s.1', floor(random() * people)), 'traits', coalesce(law.traits(), '{}'),
			'timestamp', at + g * interval '1 day')) FROM generate_series(1, 8) g)));
		RETURN 'batch';
	ELSIF r < 0.82 THEN
		PERFORM cdp.set_consent(who, law.pick('analytics', 'marketing'), law.pick('granted', 'granted', 'granted', 'denied', 'withdrawn'), at,
			CASE WHEN random() < 0.3 THEN timestamptz '2100-01-01 00:00+00' END, message_id => id);
		RETURN 'consent';
	ELSIF r < 0.88 THEN
		SELECT m.merge_id INTO a FROM cdp.merges m WHERE m.undone_at IS NULL ORDER BY m.merge_id OFFSET floor(random() * (SELECT count(*) FROM cdp.merges x WHERE x.undone_at IS NULL)) LIMIT 1;
		IF a IS NOT NULL THEN
			PERFORM cdp.unmerge(a, 'wrong');
		END IF;
		RETURN 'unmerge';
	ELSIF r < 0.91 THEN
		PERFORM cdp.unlink(i1, i2) FROM (SELECT max(x COLLATE "C") AS i1, min(x COLLATE "C") AS i2 FROM law.some(2) x) z
		WHERE i1 <> i2;
		RETURN 'unlink';
	ELSIF r < 0.93 THEN
		PERFORM cdp.remove_identifier(x) FROM law.some(1) x;
		RETURN 'remove';
	ELSIF r < 0.97 THEN
		PERFORM cdp.merge(ARRAY(SELECT x FROM law.some(2) x), 'said so', override => random() < 0.5);
		RETURN 'merge';
	ELSE
		SELECT s.profile_id INTO a FROM cdp_data.profile_state s ORDER BY s.profile_id OFFSET floor(random() * (SELECT count(*) FROM cdp_data.profile_state)) LIMIT 1;
		PERFORM cdp.track(a, 'Called', '{}', at, id) WHERE a IS NOT NULL;
		RETURN 'by id';
	END IF;
EXCEPTION WHEN check_violation OR invalid_parameter_value OR no_data_found OR object_not_in_prerequisite_state OR unique_violation THEN
	RETURN 'refused';
END $$;

CREATE PROCEDURE law.play(h int, size int) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM setseed(h / 1000.0);
	FOR i IN 1..size LOOP
		-- deterministic: nothing is decided by the clock
		PERFORM set_config('cdp.clock', (timestamptz '2024-03-01 00:00+00' + i * interval '1 hour')::text, false);
		INSERT INTO law.outcome VALUES (h, law.act(h, i, 7 + h));
		COMMIT;
		IF i % 20 = 0 THEN
			INSERT INTO law.difference SELECT h, i, v.* FROM cdp.verify() v;
			COMMIT;
		END IF;
	END LOOP;
END $$;

CREATE FUNCTION law.reset() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	TRUNCATE cdp_data.identifier, cdp_data.node, cdp_data.identity_edge, cdp_data.identity_merge, cdp_data.profile_merged,
		cdp_data.profile, cdp_data.profile_state, cdp_data.event, cdp_data.message_seen, cdp_data.rejected,
		cdp_data.segment_member, cdp_data.segment_chunk, cdp_data.segment_delta, cdp_data.segment_before, cdp_data.segment_history, cdp_data.segment_error,
		cdp_data.node_history, cdp_data.identifier_retired, cdp_data.identity_separation, cdp_data.separation_node, cdp_data.outbox,
		cdp_data.consent_log, cdp_data.consent_current, cdp_data.consent_ord, cdp_data.consent_node;
END $$;

CALL law.play(1, 400);
-- other rules, which look at times
SELECT law.reset();
SELECT cdp.define_namespace('email', on_conflict => 'newest_wins', max_per_profile => 2), cdp.define_namespace('line', period => '20 days', max_per_profile => 1),
	cdp.define_namespace('phone', on_conflict => 'reject', max_per_profile => 1);
CALL law.play(2, 400);
SELECT law.reset();
SELECT cdp.define_namespace('line', ttl => '10 days'), cdp.define_namespace('email', on_conflict => 'demote', max_per_profile => 0);
CALL law.play(3, 400);
SELECT history, count(*) AS acts, count(DISTINCT act) AS kinds, count(*) FILTER (WHERE act IN ('unmerge', 'unlink', 'remove')) > 20 AS partings
FROM law.outcome GROUP BY 1 ORDER BY 1;
SELECT count(*) > 20 AS people_merged FROM cdp_data.identity_merge;
SELECT * FROM law.difference ORDER BY 1, 2, 3, 4 LIMIT 20;

--
-- It changes nothing, not even a lock
--
CREATE FUNCTION law.fingerprint() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	t regclass;
	result text := '';
	one text;
BEGIN
	FOR t IN SELECT c.oid FROM pg_class c WHERE c.relnamespace = 'cdp_data'::regnamespace AND c.relkind = 'r' ORDER BY 1 LOOP
		EXECUTE format('SELECT md5(coalesce(string_agg(concat_ws('' '', x.ctid, x.xmin, x.xmax), '','' ORDER BY x.ctid), '''')) FROM %s x', t) INTO one;
		result := md5(result || one);
	END LOOP;
	RETURN result;
END $$;
SELECT law.fingerprint() AS before \gset
SELECT count(*) AS differences FROM cdp.verify();
SELECT count(*) AS differences FROM cdp.verify(0.5);
SELECT count(cdp.rebuild(profile_id)) AS looked_at, count(*) FILTER (WHERE cdp.rebuild(profile_id)) AS changed
FROM (SELECT profile_id FROM cdp_data.profile_state ORDER BY 1 LIMIT 10) p;
SELECT law.fingerprint() = :'before' AS nothing_was_written;

--
-- Damage: each kind is found, by name, and repaired
--
SELECT law.reset();
CALL law.play(4, 150);
RESET cdp.clock;
SELECT cdp.identify('{email:zoe@example.com,user_id:zoe}', '{"city": "Kyoto", "age": 21, "pet": "cat", "score": 0.25}', '2024-02-01', 'z1') AS zoe,
	cdp.identify('{email:yan@example.com,user_id:yan}', '{"city": "Nara", "age": 47, "pet": "dog", "first_store": "Gion"}', '2024-02-02', 'y1') AS yan \gset
SELECT cdp.set_consent('email:zoe@example.com', 'analytics', 'granted', '2024-02-01', message_id => 'zc1') = :zoe AS recorded,
	cdp.set_consent('email:zoe@example.com', 'marketing', 'denied', '2024-02-01', message_id => 'zc2') = :zoe AS recorded;
SELECT cdp.track('{email:zoe@example.com,user_id:yan}', 'Refused', at => '2024-02-03', message_id => 'z2') AS refused_link,
	cdp.track('email:old@example.com', 'Viewed', at => '2024-02-03') AS old \gset
SELECT cdp.merge('{email:old@example.com,email:zoe@example.com}', 'old address') > 0 AS merged;
SELECT cdp.track('phone:+819099999999', 'Viewed', at => '2024-02-04') > 0 AS other;
SELECT cdp.unlink('email:zoe@example.com', 'phone:+819099999999') AS parted;
SELECT count(*) AS differences FROM cdp.verify();

CREATE TABLE law.damage (n int GENERATED ALWAYS AS IDENTITY, kind text, statement text);
INSERT INTO law.damage (kind, statement) VALUES
	('number of events', 'UPDATE cdp_data.profile_state SET events = events + 1 WHERE profile_id = $1'),
	('first event', 'UPDATE cdp_data.profile_state SET first_seen = first_seen - interval ''1 s'' WHERE profile_id = $1'),
	('last event', 'UPDATE cdp_data.profile_state SET last_seen = NULL WHERE profile_id = $1'),
	('undeclared trait', 'UPDATE cdp_data.profile SET traits = traits || ''{"pet": "cow"}'' WHERE profile_id = $1'),
	('undeclared trait lost', 'UPDATE cdp_data.profile SET traits = traits - ''pet'' WHERE profile_id = $1'),
	('undeclared trait invented', 'UPDATE cdp_data.profile SET traits = traits || ''{"car": 1}'' WHERE profile_id = $1'),
	('declared trait', 'UPDATE cdp_data.profile SET city = ''Kobe'' WHERE profile_id = $1'),
	('declared trait lost', 'UPDATE cdp_data.profile SET age = NULL WHERE profile_id = $1'),
	('float', 'UPDATE cdp_data.profile SET score = score + 1e-15 WHERE profile_id = $1'),
	('mark', 'UPDATE cdp_data.profile SET trait_meta = jsonb_set(trait_meta, ''{city}'', ''"0 00000000000000000000000000000000 x"'') WHERE profile_id = $1'),
	('damaged mark', 'UPDATE cdp_data.profile SET trait_meta = jsonb_set(trait_meta, ''{city}'', ''7'') WHERE profile_id = $1'),
	('all traits and marks', 'UPDATE cdp_data.profile SET trait_meta = ''{}'', city = NULL, traits = ''{}'' WHERE profile_id = $1'),
	('damaged traits and marks', 'UPDATE cdp_data.profile SET trait_meta = ''[1]'', traits = ''"x"'' WHERE profile_id = $1'),
	('segments of the state', 'UPDATE cdp_data.profile_state SET segments = ''{}'' WHERE profile_id = $1'),
	('member lost', 'DELETE FROM cdp_data.segment_member WHERE profile_id = $1'),
	('member invented', 'INSERT INTO cdp_data.segment_member SELECT g.segment_id, s.ord, s.profile_id, now() FROM cdp_data.segment g, cdp_data.profile_state s
		WHERE s.profile_id = $1 AND g.name = ''busy'''),
	('member at another position', 'UPDATE cdp_data.segment_member SET ord = 1000000 WHERE profile_id = $1'),
	('consent of the person lost', 'DELETE FROM cdp_data.consent_ord c USING cdp_data.profile_state s WHERE s.profile_id = $1 AND c.ord = s.ord'),
	('consent of the person invented', 'INSERT INTO cdp_data.consent_ord SELECT q.purpose_id, s.ord, ''infinity'' FROM cdp_data.purpose q, cdp_data.profile_state s
		WHERE s.profile_id = $1 AND q.name = ''marketing'''),
	('consent prolonged', 'UPDATE cdp_data.consent_node c SET valid_to = ''2200-01-01'' FROM cdp_data.node n WHERE n.profile_id = $1 AND c.node_id = n.node_id'),
	('consent of an identifier lost', 'DELETE FROM cdp_data.consent_node c USING cdp_data.node n WHERE n.profile_id = $1 AND c.node_id = n.node_id'),
	('record', 'UPDATE cdp_data.consent_current c SET state = ''granted'' FROM cdp_data.node n WHERE n.profile_id = $1 AND c.node_id = n.node_id'),
	('record lost', 'DELETE FROM cdp_data.consent_current c USING cdp_data.node n WHERE n.profile_id = $1 AND c.node_id = n.node_id'),
	('record invented', 'INSERT INTO cdp_data.consent_current SELECT node_id, 1, ''denied'', now(), gen_random_uuid(), ''infinity'', ''x'' FROM cdp_data.node n
		JOIN cdp_data.identifier i USING (node_id) WHERE n.profile_id = $1 AND i.namespace = ''user_id'''),
	('identifier taken away', 'UPDATE cdp_data.node n SET profile_id = $2 FROM cdp_data.identifier i WHERE n.profile_id = $1 AND i.node_id = n.node_id AND i.namespace = ''user_id'''),
	('identifier of another', 'UPDATE cdp_data.node n SET profile_id = $1 FROM cdp_data.identifier i WHERE n.profile_id = $2 AND i.node_id = n.node_id AND i.namespace = ''email'''),
	('link kept that is refused', 'UPDATE cdp_data.identity_edge e SET refused = NULL FROM cdp_data.node n WHERE n.profile_id = $1 AND n.node_id IN (e.a, e.b) AND e.refused IS NOT NULL'),
	('link refused that is kept', 'UPDATE cdp_data.identity_edge e SET refused = ''limit:user_id'' FROM cdp_data.node n WHERE n.profile_id = $1 AND n.node_id IN (e.a, e.b) AND e.rule = ''merge'''),
	('contested', 'UPDATE cdp_data.profile_state SET contested = NOT contested WHERE profile_id = $1'),
	('separated', 'UPDATE cdp_data.profile_state SET separated = NOT separated WHERE profile_id = $1'),
	('newest link', 'UPDATE cdp_data.profile_state SET linked_ts = linked_ts - interval ''1 year'' WHERE profile_id = $1'),
	('times of an identifier', 'UPDATE cdp_data.identifier i SET last_seen = first_seen - interval ''1 year'', first_seen = first_seen - interval ''2 years'' FROM cdp_data.node n
		WHERE n.profile_id = $1 AND i.node_id = n.node_id AND i.namespace = ''user_id'''),
	('position of the state', 'UPDATE cdp_data.profile_state SET ord = 1000000 WHERE profile_id = $1'),
	('position of a merged id', 'UPDATE cdp_data.profile_merged SET ord = 1000000 WHERE profile_id = $1');

CREATE FUNCTION law.plant(d law.damage, a bigint) RETURNS TABLE (kind text, rows int, told text, repaired boolean, again boolean, whole boolean) LANGUAGE plpgsql AS $$
BEGIN
	kind := d.kind;
	EXECUTE d.statement USING a, cdp.resolve('user_id:yan');
	GET DIAGNOSTICS rows = ROW_COUNT;
	SELECT string_agg(DISTINCT regexp_replace(v.what, 'profile [0-9]+$', 'profile'), '; ') INTO told FROM cdp.verify() v;
	repaired := cdp.rebuild(a);
	again := cdp.rebuild(a);
	whole := NOT EXISTS (SELECT FROM cdp.verify());
	RETURN NEXT;
END $$;
CREATE TABLE law.plot AS SELECT d.n, p.* FROM law.damage d, law.plant(d, :zoe) p;
SELECT kind, rows, left(told, 110) AS told, repaired, again, whole FROM law.plot ORDER BY n;
SELECT count(*) AS kinds, bool_and(rows > 0 AND told IS NOT NULL AND repaired AND NOT again AND whole) AS all_found_and_repaired FROM law.plot;

--
-- Everybody, in steps
--
CREATE FUNCTION law.plant_many() RETURNS bigint LANGUAGE sql AS $$
	WITH s AS (UPDATE cdp_data.profile_state SET events = events + 1 WHERE profile_id % 3 = 0 RETURNING 1) SELECT count(*) FROM s
$$;
SELECT law.plant_many() AS planted \gset
SELECT count(*) = :planted AS found FROM cdp.verify();
SET client_min_messages = notice;
\set VERBOSITY terse
SELECT count(*) AS people, (count(*) FILTER (WHERE profile_id % 3 = 0)) = :planted AS planted FROM cdp_data.profile_state;
CALL cdp.rebuild_all();
SELECT count(*) AS differences FROM cdp.verify();
CALL cdp.rebuild_all();
SELECT kind, state, done_rows = (SELECT count(*) FROM cdp_data.profile_state) AS all_rows, error FROM cdp.tasks ORDER BY task_id;
-- it was interrupted: who goes on begins where it was
SELECT law.plant_many() = :planted AS planted;
SELECT max(profile_id) AS middle FROM (SELECT profile_id FROM cdp_data.profile_state WHERE profile_id % 3 = 0 ORDER BY 1 LIMIT 3) p \gset
UPDATE cdp_data.task SET state = 'running', position = jsonb_build_object('after', :middle, 'changed', 3), done_rows = 0 WHERE task_id = 2;
CALL cdp.rebuild_all();
SELECT count(*) AS differences FROM cdp.verify();
CALL cdp.rebuild_all(restart => true);
SELECT count(*) AS differences FROM cdp.verify();
-- in one transaction
SELECT law.plant_many() = :planted AS planted;
BEGIN;
CALL cdp.rebuild_all();
SELECT count(*) AS differences FROM cdp.verify();
ROLLBACK;
SELECT count(*) = :planted AS found FROM cdp.verify();
CALL cdp.rebuild_all();

--
-- A snapshot of its own: what a transaction did itself is seen, what it cannot see is not missed
--
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT cdp.track('email:own@example.com', 'Viewed') > 0 AS tracked;
SELECT count(*) AS differences FROM cdp.verify();
COMMIT;

--
-- Rows of people that somebody deleted are put back, whoever is linked to whom
--
BEGIN;
CREATE TABLE law.people AS SELECT p.*, x.ord, x.trait_meta, s.segments AS ids FROM cdp.profiles p JOIN cdp_data.profile x USING (profile_id) JOIN cdp_data.profile_state s USING (profile_id);
CREATE TABLE law.consented AS SELECT * FROM cdp_data.consent_ord;
DELETE FROM cdp_data.profile WHERE profile_id % 3 = 0;
DELETE FROM cdp_data.profile_state WHERE profile_id % 2 = 0;
SELECT what, count(*) = (SELECT count(*) FROM law.people WHERE CASE what WHEN 'row of profile' THEN profile_id % 3 ELSE profile_id % 2 END = 0) AS all, count(*) > 5 AS many
FROM cdp.verify() WHERE what LIKE 'row of%' GROUP BY 1 ORDER BY 1;
SELECT count(*) > 0 AS found FROM cdp.verify(who => (SELECT min(profile_id) FROM law.people WHERE profile_id % 6 = 0)) WHERE what LIKE 'row of%';
SELECT cdp.rebuild(min(profile_id)) AS changed FROM law.people WHERE profile_id % 6 = 0;
SELECT count(*) AS differences FROM cdp.verify(who => (SELECT min(profile_id) FROM law.people WHERE profile_id % 6 = 0));
SET client_min_messages = warning;
CALL cdp.rebuild_all();
RESET client_min_messages;
-- what nothing names any more stays in the index: positions of people who were in no segment and whom nobody was merged into
SELECT what, live FROM cdp.verify() WHERE NOT (profile_id IS NULL AND what = 'index of segments' AND live = 'in the index only: 0') AND NOT (profile_id IS NULL AND what = 'consent of nobody');
SELECT count(*) AS lost FROM law.people b LEFT JOIN cdp.profiles p USING (profile_id) LEFT JOIN cdp_data.profile_state s USING (profile_id) LEFT JOIN cdp_data.profile x USING (profile_id)
WHERE (to_jsonb(b) - '{ord,trait_meta,ids}'::text[], b.trait_meta, b.ids) IS DISTINCT FROM (to_jsonb(p), x.trait_meta, s.segments);
SELECT count(*) AS moved FROM law.people b JOIN cdp_data.profile_state s USING (profile_id) WHERE b.ord <> s.ord AND (b.profile_id % 6 <> 0 OR b.ids <> '{}');
SELECT count(*) AS consents FROM (SELECT p.profile_id, c.purpose_id, c.valid_to FROM law.consented c JOIN law.people p USING (ord) EXCEPT
	SELECT p.profile_id, c.purpose_id, c.valid_to FROM cdp_data.consent_ord c JOIN cdp_data.profile p USING (ord)) d;
ROLLBACK;

--
-- What is nobody's
--
BEGIN;
INSERT INTO cdp_data.consent_ord VALUES (1, 999999, 'infinity');
INSERT INTO cdp_data.consent_node VALUES (1, 999999, 'infinity');
INSERT INTO cdp_data.segment_member VALUES (1, 999998, 999999, now());
INSERT INTO cdp_data.profile_merged VALUES (999999, 999999, 1, now(), NULL, 999998, 999998, 1);
SELECT * FROM cdp.verify() ORDER BY 2;
SELECT count(*) AS of_her FROM cdp.verify(who => :zoe);
ROLLBACK;

--
-- Who may
--
CREATE ROLE regress_replay_analyst;
CREATE ROLE regress_replay_officer;
SELECT cdp.provision('regress_replay_analyst', 'analyst'), cdp.provision('regress_replay_officer', 'privacy');
SET ROLE regress_replay_analyst;
SELECT count(*) FROM cdp.verify();
SELECT cdp.rebuild(1);
CALL cdp.rebuild_all();
RESET ROLE;
GRANT EXECUTE ON FUNCTION cdp.verify(double precision, bigint) TO regress_replay_analyst;
SET ROLE regress_replay_analyst;
SELECT count(*) FROM cdp.verify();
SET ROLE regress_replay_officer;
SELECT count(*) AS differences FROM cdp.verify();
SELECT cdp.rebuild(:zoe) AS changed;
RESET ROLE;
SELECT cdp.verify(1.5);
SELECT cdp.verify(NULL);
SELECT cdp.verify('NaN');
SELECT count(*) AS differences FROM cdp.verify(0);
SELECT cdp.verify(who => 123456789);
SELECT cdp.rebuild(123456789);
SELECT cdp.rebuild(NULL) IS NULL AS nothing;

-- what holds always holds: no rows
\getenv abs_srcdir PG_ABS_SRCDIR
\set invariants :abs_srcdir '/docs/invariants.sql'
\pset tuples_only on
\pset format unaligned
\set ECHO none
\i :invariants
\c :main
DROP DATABASE regress_replay;
DROP ROLE regress_replay_analyst, regress_replay_officer;
