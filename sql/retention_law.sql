-- retention_law.sql: the same messages to a database that forgets at random
-- moments and to one that does not.  People, traits, counts, metrics and
-- segments are the same, after merges and their undoing, too.
\set main :DBNAME
\set VERBOSITY terse

-- What happens; the same in both.
SELECT $sql$
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION cdp;
SELECT count(*) > 0 AS initialised FROM cdp.init();
SET cdp.clock = '2026-01-01';
SELECT cdp.define_trait('city'), cdp.define_trait('age', 'int', ignore_empty => true), cdp.define_trait('first_store', survivorship => 'oldest'),
	cdp.define_trait('score', 'float8', survivorship => 'max'), cdp.define_trait('low', 'bigint', survivorship => 'min'), cdp.define_trait('store', survivorship => 'most_frequent'),
	cdp.define_trait('langs', survivorship => 'union'), cdp.define_trait('street', survivorship => 'source_priority', sources => '{crm,shop}');
SELECT cdp.define_namespace('email', on_conflict => 'newest_wins', max_per_profile => 2), cdp.define_namespace('phone', on_conflict => 'reject', max_per_profile => 1);
SELECT count(cdp.define_metric(concat_ws('_', a, p, w), e, a, p, period => w::interval)) AS metrics FROM (VALUES ('Order', 'count', NULL), ('Order', 'sum', 'total'), ('Order', 'avg', 'total'),
	('Order', 'min', 'total'), ('Order', 'max', 'total'), ('Order', 'first', 'brand'), ('Order', 'last', 'brand'), ('Order', 'unique_count', 'sku'), ('Order', 'most_frequent', 'sku'),
	('Order', 'list', 'sku')) v (e, a, p), (VALUES (NULL), ('20 days'), ('5 hours')) t (w);
SELECT cdp.define_metric('views', 'page') > 0 AS views, cdp.define_metric('everything') > 0 AS everything, cdp.define_metric('views_week', 'page', period => '7 days') > 0 AS week;
SELECT cdp.set_session('4 hours'), cdp.define_metric('visits', 'session_ended') > 0 AS visits, cdp.define_metric('visits_2_months', 'session_ended', period => '60 days') > 0 AS visits;
SELECT cdp.define_sequence('cold', 'Order', 'Other', same => 'brand', period => '5 days', result => 'list') > 0 AS cold, cdp.define_sequence('gone', 'Order', 'page', period => '3 days') > 0 AS gone,
	cdp.define_sequence('lately', 'page', 'Order', period => '1 day', holds => '10 days') > 0 AS lately;
SELECT count(cdp.define_segment(s, predicate => p)) AS segments FROM (VALUES ('young', 'age < 30'), ('kyoto', 'city = ''Kyoto'''), ('busy', 'events > 30'), ('cat', 'traits->>''pet'' = ''cat'''),
	('returning', 'first_seen < ''2026-01-15''')) v (s, p);
CREATE SCHEMA law;
CREATE FUNCTION law.pick(VARIADIC a text[]) RETURNS text LANGUAGE sql AS 'SELECT a[1 + floor(random() * cardinality(a))::int]';
CREATE FUNCTION law.ident(p int) RETURNS text LANGUAGE sql AS $$
	SELECT law.pick(format('user_id:u%s', p), format('email:e%s@example.com', p), format('phone:+8190%s', 10000000 + p), format('anonymous_id:a%s.%s', p, floor(random() * 3)))
$$;
CREATE FUNCTION law.traits() RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_object_agg(t, v) FROM (SELECT t, CASE t
		WHEN 'city' THEN law.pick('"Kyoto"', '"Osaka"', '"Nara"', 'null') WHEN 'age' THEN law.pick('21', '30', '"47"', '"old"', 'null', '""')
		WHEN 'score' THEN law.pick('0.5', '12.25', '1e3', '7.50', '7.5') WHEN 'low' THEN (random() * 1000)::int::text
		WHEN 'langs' THEN law.pick('["ja", "en"]', '"fr"', '["de"]', '[]', '7') WHEN 'pet' THEN law.pick('"cat"', '"dog"', 'null')
		WHEN 'bag' THEN law.pick('{"a": 1.50}', '{"a": 1.5}', '[1, 2]', '"x"') ELSE law.pick('"Gion"', '"Umeda"', '"Naka"', '"Minato"') END::jsonb AS v
		FROM unnest('{city,age,first_store,score,low,store,langs,street,pet,bag}'::text[]) t WHERE random() < 0.4) x
$$;
-- One thing that happens, a little or long ago; ids come again.
CREATE FUNCTION law.act(h int, i int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	people constant int := 8;
	p int := floor(random() * people);
	r float8 := random();
	at timestamptz := current_setting('cdp.clock')::timestamptz - CASE WHEN random() < 0.2 THEN random() * interval '200 days' ELSE random() ^ 4 * interval '30 days' END;
	id text := format('h%s-%s', h, floor(random() * i * 1.2));
	who text[] := '{}';
	names text[];
	a bigint;
BEGIN
	FOR k IN 1..1 + floor(random() * 2.2)::int LOOP
		who := who || law.ident(CASE WHEN random() < 0.04 THEN floor(random() * people)::int ELSE p END);
	END LOOP;
	who := ARRAY(SELECT DISTINCT w FROM unnest(who) w ORDER BY 1);
	IF r < 0.40 THEN
		PERFORM cdp.identify(who, coalesce(law.traits(), '{}'), at, id, law.pick('crm', 'shop', 'web', 'web'));
		RETURN 'identify';
	ELSIF r < 0.60 THEN
		PERFORM cdp.track(who, law.pick('Order', 'Order', 'Other'), jsonb_build_object('total', round((random() * 100)::numeric, 2), 'brand', 'b' || floor(random() * 5), 'sku', 'an article with a rather long name, number ' || floor(random() * 900)), at, id);
		RETURN 'track';
	ELSIF r < 0.80 THEN
		PERFORM cdp.ingest(jsonb_build_object('batch', (SELECT jsonb_agg(jsonb_build_object('type', CASE WHEN random() < 0.3 THEN 'page' ELSE 'track' END, 'event', 'Order', 'messageId', id || '.' || g,
			'userId', 'u' || p, 'timestamp', at - random() * interval '3 days',
			'context', jsonb_build_object('page', jsonb_build_object('path', '/' || g), 'campaign', jsonb_build_object('name', 'c' || g)),
			'properties', jsonb_build_object('total', g, 'brand', 'b' || g % 3, 'sku', 'an article with a rather long name, number ' || floor(random() * 900)))) FROM generate_series(1, 1 + floor(random() * 40)::int) g)));
		RETURN 'batch';
	ELSIF r < 0.87 THEN
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
		ELSIF r < 0.93 THEN
			PERFORM cdp.merge(names, 'said so', override => random() < 0.5);
			RETURN 'merge';
		ELSIF r < 0.98 THEN
			PERFORM cdp.unlink(names[1], names[2]);
			RETURN 'unlink';
		END IF;
		PERFORM cdp.remove_identifier(names[1]);
		RETURN 'remove';
	END IF;
EXCEPTION WHEN check_violation OR invalid_parameter_value OR no_data_found OR object_not_in_prerequisite_state OR unique_violation THEN
	RETURN 'refused';
END $$;
CREATE TABLE law.difference (step int, profile_id bigint, what text, live text, recomputed text);
CREATE TABLE law.outcome (act text, gone bigint);
CREATE PROCEDURE law.play(h int, size int, forget boolean) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM setseed(h / 1000.0);
	FOR i IN 1..size LOOP
		PERFORM set_config('cdp.clock', (timestamptz '2026-01-01 00:00+00' + i * interval '9 hours')::text, false);
		INSERT INTO law.outcome SELECT law.act(h, i), sum(gone) FROM cdp.retention;
		COMMIT;
		IF i = size / 2 THEN
			PERFORM cdp.redefine_trait('street', 'source_priority', '{web,shop}'), cdp.redefine_trait('low', 'oldest'), cdp.redefine_trait('city', 'max');
			COMMIT;
			CALL cdp.maintain();
		END IF;
		IF forget AND i % 13 = 0 THEN
			PERFORM cdp.set_retention(CASE WHEN i < 100 THEN interval '60 days' ELSE interval '21 days' END), cdp.set_retention('1 month', 'page');
			COMMIT;
			-- a few steps, so that some of it is under way when things happen
			FOR k IN 1..i % 9 LOOP
				PERFORM cdp.maintain_step();
				COMMIT;
			END LOOP;
		END IF;
		IF forget AND i % 31 = 0 THEN
			CALL cdp.maintain();
		END IF;
		IF i % 50 = 0 THEN
			INSERT INTO law.difference SELECT i, v.* FROM cdp.verify() v;
			COMMIT;
		END IF;
	END LOOP;
END $$;
-- Undoes whatever merge there is.
CREATE PROCEDURE law.part() LANGUAGE plpgsql AS $$
DECLARE
	a bigint;
BEGIN
	FOR a IN SELECT merge_id FROM cdp.merges WHERE undone_at IS NULL ORDER BY merge_id LOOP
		BEGIN
			PERFORM cdp.unmerge(a, 'all of it');
		EXCEPTION WHEN object_not_in_prerequisite_state THEN
			NULL;
		END;
		COMMIT;
	END LOOP;
END $$;
-- People by what they are called, with all that is known of them.
CREATE FUNCTION law.people() RETURNS TABLE (who text, what text) LANGUAGE sql AS $$
	SELECT p.identifiers::text, x.key || ': ' || CASE WHEN x.key ~ '^(sum|avg)_' THEN to_jsonb(round((x.value #>> '{}')::numeric, 6)) ELSE x.value END
	FROM cdp.profiles p CROSS JOIN LATERAL jsonb_each(to_jsonb(p)) x WHERE x.key NOT IN ('profile_id', 'identifiers')
	UNION ALL SELECT p.identifiers::text, 'visit: ' || concat_ws(' ', s.started_at, s.ended_at, s.open, s.events, s.first_page, s.last_page, s.campaign, s.source)
	FROM cdp.profiles p JOIN cdp.sessions s USING (profile_id)
$$;
$sql$ AS setup \gset

CREATE DATABASE regress_retention_all TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_retention_all
\o /dev/null
:setup
\o
CALL law.play(1, 400, false);
SELECT count(*) FROM law.difference;
SELECT json_agg(l) AS parted FROM (SELECT who, what FROM law.people()) l \gset
CALL cdp.maintain();
-- everybody comes apart
\o /dev/null
CALL law.part();
\o
SELECT json_agg(l) AS apart FROM (SELECT who, what FROM law.people()) l \gset

CREATE DATABASE regress_retention_some TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_retention_some
\o /dev/null
:setup
\o
CALL law.play(1, 400, true);
SELECT * FROM law.difference ORDER BY 1, 2, 3 LIMIT 20;
SELECT count(DISTINCT act) AS kinds, max(gone) > 1000 AS gone FROM law.outcome;
SELECT count(*) > 1500 AS events, (SELECT count(*) FROM cdp.events) * 2 < count(*) AS left, count(*) FILTER (WHERE n.profile_id IS NULL) AS nobodys FROM
	(SELECT node_id FROM cdp_data.event UNION ALL SELECT b.node_id FROM cdp_data.node_base b, generate_series(1, b.events)) e LEFT JOIN cdp_data.node n USING (node_id);
-- Windows that are shorter than what was kept, and all the rest, is the same
CREATE FUNCTION law.compare(other json) RETURNS TABLE (side text, who text, what text) LANGUAGE sql AS $$
	WITH o AS (SELECT * FROM json_to_recordset(other) x (who text, what text)), p AS (SELECT * FROM law.people())
	(SELECT 'without', * FROM (TABLE o EXCEPT ALL TABLE p) x) UNION ALL (SELECT 'with', * FROM (TABLE p EXCEPT ALL TABLE o) x) ORDER BY 2, 3, 1
$$;
SELECT json_array_length(:'parted') > 300 AS facts;
SELECT * FROM law.compare(:'parted') LIMIT 20;
CALL cdp.maintain();
\o /dev/null
CALL law.part();
\o
SELECT * FROM law.compare(:'apart') LIMIT 20;
SELECT count(*) FILTER (WHERE cdp.rebuild(profile_id)) AS rebuilt FROM cdp.profiles;
SELECT * FROM law.compare(:'apart') LIMIT 20;
SELECT * FROM cdp.verify() LIMIT 20;
-- nothing is left but events, and what those did that are gone
UPDATE cdp_data.metric_state SET states = '\x01';
UPDATE cdp_data.session_part SET events = 77;
DELETE FROM cdp_data.sequence_mark;
UPDATE cdp_data.profile SET traits = '{}', trait_meta = '{}', city = NULL, age = NULL, first_store = NULL, score = NULL, low = NULL, store = NULL, langs = NULL, street = NULL;
UPDATE cdp_data.profile_state SET events = 0, first_seen = NULL, last_seen = NULL;
CALL cdp.rebuild_all();
SELECT * FROM law.compare(:'apart') LIMIT 20;
SELECT * FROM cdp.verify() LIMIT 20;

-- what holds always holds: no rows
\getenv abs_srcdir PG_ABS_SRCDIR
\set invariants :abs_srcdir '/docs/invariants.sql'
\pset tuples_only on
\pset format unaligned
\set ECHO none
\i :invariants
\c :main
DROP DATABASE regress_retention_all;
DROP DATABASE regress_retention_some;
