-- survivorship.sql: which value of a trait wins, whatever the order, the
-- batches, the duplicates and the people's coming together and apart.
\set main :DBNAME
CREATE DATABASE regress_survivorship TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_survivorship
SET client_min_messages = warning;
CREATE EXTENSION cdp;
SELECT count(*) > 0 AS initialised FROM cdp.init();
SELECT cdp.define_namespace('*', max_per_profile => 0), cdp.define_namespace('user_id', max_per_profile => 0);
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';

--
-- Declaring
--
\set VERBOSITY terse
SELECT cdp.define_trait('x', survivorship => 'loudest');
SELECT cdp.define_trait('x', survivorship => 'source_priority');
SELECT cdp.define_trait('x', sources => '{crm}');
SELECT cdp.define_trait('x', survivorship => 'source_priority', sources => '{}');
SELECT cdp.define_trait('x', survivorship => 'source_priority', sources => '{crm,crm}');
SELECT cdp.define_trait('x', survivorship => 'source_priority', sources => '{crm,NULL}');
SELECT cdp.define_trait('x', survivorship => 'union', index => true);
SELECT cdp.define_trait('x', ignore_empty => NULL);
SELECT cdp.redefine_trait('x', 'max');
SELECT count(cdp.define_trait(name, type, survivorship, false, NULL, sources, ignore_empty)::text) AS traits FROM (VALUES
	('latest_e', 'text', 'latest', NULL, true), ('oldest_e', 'text', 'oldest', NULL, true),
	('trusted', 'text', 'source_priority', '{crm,shop}'::text[], false), ('trusted_e', 'text', 'source_priority', '{crm,shop}', true),
	('often', 'text', 'most_frequent', NULL, false), ('often_e', 'int', 'most_frequent', NULL, true),
	('high', 'int', 'max', NULL, false), ('low', 'float8', 'min', NULL, false), ('last_day', 'date', 'max', NULL, false),
	('first_time', 'timestamptz', 'min', NULL, false), ('word', 'text', 'min', NULL, true), ('any_yes', 'bool', 'max', NULL, false),
	('all_of', 'text', 'union', NULL, true), ('sizes', 'int', 'union', NULL, false), ('cards', 'uuid', 'union', NULL, false))
	v (name, type, survivorship, sources, ignore_empty);
SELECT * FROM cdp.traits WHERE name IN ('trusted_e', 'all_of');
SELECT cdp.define_trait('all_of', survivorship => 'union', ignore_empty => true);
SELECT cdp.define_trait('high', 'int');

--
-- One of each
--
SELECT cdp.identify('user_id:u', '{"latest_e": "a", "oldest_e": "", "trusted": "of shop", "often": "x", "high": 3, "low": 3, "all_of": ["b", "a"], "sizes": 7}', '2024-01-01', 'm1', 'shop');
SELECT cdp.identify('user_id:u', '{"latest_e": "", "oldest_e": "b", "trusted": "of crm", "often": "y", "high": "10", "low": "1e-3", "all_of": "c", "sizes": [10, "9", 7]}', '2024-01-02', 'm2', 'crm');
SELECT cdp.identify('user_id:u', '{"latest_e": null, "oldest_e": "c", "trusted": "of nobody", "often": "x", "high": null, "low": 2, "all_of": ["a", ""], "sizes": []}', '2024-01-03', 'm3', 'web');
SELECT latest_e, oldest_e, trusted, often, high, low, all_of, sizes FROM cdp.profiles;
SELECT t, e.* FROM unnest('{latest_e,oldest_e,trusted,often,high,low,all_of,sizes}'::text[]) WITH ORDINALITY x (t, o), cdp.explain_trait('user_id:u', t) e ORDER BY o, won DESC, at DESC;
-- what does not fit
SELECT cdp.identify('user_id:u', '{"sizes": [1, "big"], "high": "tall", "all_of": {"a": 1}}', '2024-01-04', 'm4', 'web');
SELECT message_id, reason, detail FROM cdp.rejected ORDER BY 1;
SELECT value, won, why FROM cdp.explain_trait('user_id:u', 'sizes') WHERE value LIKE '%big%';
SELECT sizes, high, all_of FROM cdp.profiles;
SELECT value, won, why FROM cdp.explain_trait('user_id:u', 'unheard of');
SELECT cdp.identify('user_id:u', '{"pet": "cat"}', '2024-01-04', 'm5', 'web'), cdp.identify('user_id:u', '{"pet": "dog"}', '2024-01-03', 'm6', 'web');
SELECT * FROM cdp.explain_trait('user_id:u', 'pet');

--
-- Who may see it
--
CREATE ROLE regress_survivorship_analyst;
SELECT cdp.define_purpose('news');
SELECT cdp.permit('regress_survivorship_analyst', 'news');
SET ROLE regress_survivorship_analyst;
SELECT count(*) AS nothing FROM cdp.explain_trait('user_id:u', 'trusted');
RESET ROLE;
SELECT cdp.resolve('user_id:u') AS u \gset
SET ROLE regress_survivorship_analyst;
SELECT count(*) AS nothing FROM cdp.explain_trait(:u, 'trusted');
RESET ROLE;
SELECT cdp.set_consent('user_id:u', 'news', 'granted') = :u AS granted;
SET ROLE regress_survivorship_analyst;
SELECT value, won FROM cdp.explain_trait(:u, 'trusted');
RESET ROLE;

--
-- Random histories against plain SQL
--
CREATE SCHEMA law;
CREATE TABLE law.message (i int PRIMARY KEY, id text, who text[], traits jsonb, ts timestamptz, source text);
CREATE FUNCTION law.pick(VARIADIC a text[]) RETURNS text LANGUAGE sql AS $$ SELECT a[1 + floor(random() * cardinality(a))::int] $$;
CREATE FUNCTION law.scalar(t text) RETURNS jsonb LANGUAGE sql AS $$
	SELECT CASE
		WHEN random() < 0.12 THEN law.pick('null', '""')::jsonb
		WHEN t = 'cards' THEN law.pick('"0123abcd-0000-4000-8000-00000000beef"', '"0123ABCD-0000-4000-8000-00000000BEEF"', '"ffffffff-0000-4000-8000-000000000001"')::jsonb
		WHEN t = 'last_day' THEN to_jsonb('2024-0' || 1 + floor(random() * 9)::int || '-01')
		WHEN t = 'first_time' THEN to_jsonb('2024-0' || 1 + floor(random() * 9)::int || '-01T00:00:00.5+09:00')
		WHEN t = 'any_yes' THEN law.pick('true', 'false', '"yes"')::jsonb
		WHEN t IN ('often_e', 'high', 'low', 'sizes') THEN law.pick('2', '10', '"10"', '-3', '7.0')::jsonb
		ELSE to_jsonb(law.pick('a', 'b', 'B', 'c', 'dd')) END
$$;
CREATE FUNCTION law.value(t text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	list jsonb := '[]';
BEGIN
	IF t NOT IN ('all_of', 'sizes', 'cards') OR random() < 0.5 THEN
		RETURN law.scalar(t);
	END IF;
	FOR i IN 1..floor(random() * 3)::int LOOP
		list := list || law.scalar(t);
	END LOOP;
	RETURN list;
END $$;
CREATE FUNCTION law.invent(seed int, size int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM setseed(seed / 1000.0);
	TRUNCATE law.message;
	INSERT INTO law.message SELECT i, format('s%s-%s', seed, i),
		ARRAY(SELECT DISTINCT law.pick('user_id:u', 'email:e', 'cookie:c') || CASE WHEN random() < 0.02 THEN floor(random() * 12)::int ELSE p END FROM generate_series(1, 2)),
		(SELECT coalesce(jsonb_object_agg(t.name, law.value(t.name)) FILTER (WHERE i > 0), '{}') FROM cdp.traits t WHERE random() < 0.5),
		timestamptz '2024-01-01 00:00+00' + floor(random() * 100) * interval '1 hour', law.pick('crm', 'shop', 'web', 'app')
	FROM (SELECT i, floor(random() * 12)::int AS p FROM generate_series(1, size) i OFFSET 0) x;
	UPDATE law.message m SET traits = '{}' WHERE traits IS NULL;
END $$;

-- Every value that counts, by person, as its type's text; e: empty ones are ignored.
CREATE VIEW law.given AS
SELECT n.profile_id, t.name, t.survivorship, t.type, t.sources, e.ts, e.message_key, e.source, v.canonical
FROM cdp_data.event e JOIN cdp_data.node n USING (node_id), jsonb_each(e.traits) x (name, value)
JOIN cdp.traits t USING (name), LATERAL (SELECT CASE WHEN jsonb_typeof(x.value) = 'array' THEN x.value ELSE jsonb_build_array(x.value) END AS list) l,
	jsonb_array_elements_text(l.list) y (raw),
	LATERAL (SELECT CASE t.type WHEN 'boolean' THEN CASE y.raw WHEN 'yes' THEN 'true' ELSE y.raw END WHEN 'text' THEN y.raw WHEN 'text[]' THEN y.raw
		ELSE CASE t.type WHEN 'integer' THEN y.raw::numeric::int::text WHEN 'integer[]' THEN y.raw::numeric::int::text WHEN 'double precision' THEN y.raw::float8::text
			WHEN 'date' THEN y.raw::date::text WHEN 'timestamp with time zone' THEN (y.raw::timestamptz)::text ELSE y.raw::uuid::text END END AS canonical
		WHERE NOT (coalesce(y.raw, 'x') = '' AND t.type NOT IN ('text', 'text[]'))
			AND NOT (jsonb_typeof(x.value) = 'array' AND t.type IN ('integer[]', 'uuid[]') AND l.list @> '[""]')) v
WHERE e.type = 'identify' AND NOT (t.ignore_empty AND coalesce(v.canonical, '') = '')
	AND NOT (v.canonical IS NULL AND t.survivorship IN ('most_frequent', 'max', 'min', 'union'));

-- Orders values as their types do.
CREATE FUNCTION law.rank(type text, canonical text) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE type WHEN 'integer' THEN canonical::numeric WHEN 'double precision' THEN canonical::float8::numeric WHEN 'date' THEN canonical::date - '2000-01-01'::date
		WHEN 'timestamp with time zone' THEN extract(epoch FROM canonical::timestamptz) WHEN 'boolean' THEN canonical::boolean::int
		ELSE ascii(canonical) * 1000 + length(canonical) END
$$;

CREATE FUNCTION law.naive() RETURNS TABLE (profile_id bigint, name text, value text) LANGUAGE sql AS $$
	SELECT DISTINCT ON (g.profile_id, g.name) g.profile_id, g.name, g.canonical FROM law.given g WHERE g.survivorship <> 'union' AND g.survivorship <> 'most_frequent'
	ORDER BY g.profile_id, g.name, CASE g.survivorship
			WHEN 'source_priority' THEN coalesce(array_position(g.sources, g.source), 1000)
			WHEN 'max' THEN - law.rank(g.type, g.canonical) WHEN 'min' THEN law.rank(g.type, g.canonical)
			WHEN 'oldest' THEN extract(epoch FROM g.ts) ELSE - extract(epoch FROM g.ts) END,
		CASE WHEN g.survivorship = 'oldest' THEN 0 ELSE - extract(epoch FROM g.ts) END,
		CASE WHEN g.survivorship = 'oldest' THEN g.message_key END,
		CASE WHEN g.survivorship <> 'oldest' THEN g.message_key END DESC
$$;
CREATE FUNCTION law.naive_tallies() RETURNS TABLE (profile_id bigint, name text, value text) LANGUAGE sql AS $$
	SELECT DISTINCT ON (c.profile_id, c.name) c.profile_id, c.name, c.canonical FROM (
		SELECT g.profile_id, g.name, g.canonical, count(*) AS n, max(g.ts) AS ts, (array_agg(g.message_key ORDER BY g.ts DESC, g.message_key DESC))[1] AS key
		FROM law.given g WHERE g.survivorship = 'most_frequent' GROUP BY 1, 2, 3) c ORDER BY c.profile_id, c.name, c.n DESC, c.ts DESC, c.key DESC
$$;
CREATE FUNCTION law.naive_unions() RETURNS TABLE (profile_id bigint, name text, value text) LANGUAGE sql AS $$
	SELECT c.profile_id, c.name, '{' || string_agg(CASE c.canonical WHEN '' THEN '""' ELSE c.canonical END, ',' ORDER BY CASE c.type WHEN 'integer[]' THEN c.canonical::int END, c.canonical COLLATE "C") || '}'
	FROM (SELECT DISTINCT g.profile_id, g.name, g.type, g.canonical FROM law.given g WHERE g.survivorship = 'union') c GROUP BY 1, 2
$$;
CREATE FUNCTION law.expected() RETURNS TABLE (profile_id bigint, name text, value text) LANGUAGE sql AS $$
	SELECT * FROM (SELECT * FROM law.naive() UNION ALL SELECT * FROM law.naive_tallies() UNION ALL SELECT * FROM law.naive_unions()) x (profile_id, name, value) WHERE x.value IS NOT NULL
$$;
CREATE FUNCTION law.live() RETURNS TABLE (profile_id bigint, name text, value text) LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE (SELECT 'SELECT p.profile_id, v.* FROM cdp.profiles p, LATERAL (VALUES ' || string_agg(format('(%L, p.%I::text)', t.name, t.name), ', ')
		|| ') v (name, value) WHERE v.value IS NOT NULL' FROM cdp.traits t);
END $$;
CREATE TABLE law.difference (seed int, step text, side text, name text, live text);
CREATE FUNCTION law.compare(seed int, step text) RETURNS void LANGUAGE sql AS $$
	INSERT INTO law.difference
	SELECT seed, step, 'live', d.name, d.value FROM (SELECT * FROM law.live() EXCEPT SELECT * FROM law.expected()) d
	UNION ALL SELECT seed, step, 'expected', d.name, d.value FROM (SELECT * FROM law.expected() EXCEPT SELECT * FROM law.live()) d
	UNION ALL SELECT seed, step, 'verify', v.what, v.live FROM cdp.verify() v
$$;
CREATE FUNCTION law.reset() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	TRUNCATE cdp_data.identifier, cdp_data.node, cdp_data.identity_edge, cdp_data.identity_merge, cdp_data.profile_merged,
		cdp_data.profile, cdp_data.profile_state, cdp_data.event, cdp_data.message_seen, cdp_data.rejected,
		cdp_data.segment_member, cdp_data.segment_chunk, cdp_data.segment_delta, cdp_data.segment_before, cdp_data.segment_history, cdp_data.segment_error,
		cdp_data.node_history, cdp_data.identifier_retired, cdp_data.identity_separation, cdp_data.separation_node, cdp_data.outbox,
		cdp_data.consent_log, cdp_data.consent_current, cdp_data.consent_ord, cdp_data.consent_node;
END $$;

CREATE TABLE law.known (seed int, arrangement text, item text);
CREATE PROCEDURE law.play(seed int, arrangement text) LANGUAGE plpgsql AS $$
DECLARE
	m law.message;
	n int := 0;
	x record;
BEGIN
	PERFORM law.reset();
	PERFORM law.invent(seed, 150);
	IF arrangement IN ('batch', 'at once') THEN
		FOR x IN SELECT source, CASE arrangement WHEN 'batch' THEN i % 5 END AS part,
				jsonb_agg(jsonb_build_object('type', 'identify', 'messageId', id, 'timestamp', ts, 'traits', traits, 'context', jsonb_build_object('externalIds',
					(SELECT jsonb_agg(jsonb_build_object('type', split_part(w, ':', 1), 'id', split_part(w, ':', 2))) FROM unnest(who) w))) ORDER BY random()) AS docs
				FROM law.message GROUP BY 1, 2 ORDER BY 2, 1 LOOP
			PERFORM cdp.ingest(x.docs, x.source);
		END LOOP;
	ELSE
		FOR m IN SELECT * FROM law.message ORDER BY CASE arrangement WHEN 'reversed' THEN - i ELSE i END LOOP
			PERFORM cdp.identify(m.who, m.traits, m.ts, m.id, m.source);
			IF arrangement = 'parted' THEN
				n := n + 1;
				PERFORM cdp.identify(m.who, m.traits, m.ts, m.id, m.source);
				IF n % 9 = 0 THEN
					PERFORM cdp.unmerge(q.merge_id, 'wrong') FROM (SELECT merge_id FROM cdp.merges WHERE undone_at IS NULL ORDER BY merge_id DESC LIMIT 1) q;
				END IF;
				IF n % 30 = 0 THEN
					PERFORM law.compare(seed, arrangement || n);
				END IF;
			END IF;
		END LOOP;
	END IF;
	PERFORM law.compare(seed, arrangement);
	IF arrangement <> 'parted' THEN
		INSERT INTO law.known SELECT seed, arrangement, (to_jsonb(p) - '{profile_id,segments}'::text[])::text FROM cdp.profiles p;
	END IF;
END $$;
DO $$
BEGIN
	FOR seed IN 1..4 LOOP
		CALL law.play(seed, 'order');
		CALL law.play(seed, 'reversed');
		CALL law.play(seed, 'batch');
		CALL law.play(seed, 'at once');
		CALL law.play(seed, 'parted');
	END LOOP;
END $$;
SELECT * FROM law.difference ORDER BY 1, 2, 3, 4, 5 LIMIT 20;
SELECT k.arrangement, count(*) > 4 AS people, (SELECT count(*) FROM (SELECT seed, item FROM law.known o WHERE o.arrangement = 'order'
	EXCEPT ALL SELECT seed, item FROM law.known x WHERE x.arrangement = k.arrangement) d) AS differences FROM law.known k GROUP BY 1 ORDER BY 1;
SELECT count(DISTINCT name) AS traits_compared FROM law.live();
SELECT count(*) > 3 AS merges_undone FROM cdp.merges WHERE undone_at IS NOT NULL;

--
-- More different values than are kept
--
SELECT law.reset();
SELECT count(cdp.identify('user_id:m', jsonb_build_object('often', 'v' || i % 300, 'all_of', 'v' || i), timestamptz '2024-01-01 00:00+00' + i * interval '1 minute', 'many' || i)) AS given
FROM generate_series(1, 650) i;
SELECT p.often, cardinality(p.all_of) AS kept, p.all_of[1] AS first, d.trait_meta->'often' AS often_state, d.trait_meta->'all_of'->'values'->'v400' AS one
FROM cdp.profiles p JOIN cdp_data.profile d USING (profile_id);
SELECT count(cdp.identify('user_id:m', '{"often": "v7"}', timestamptz '2023-01-01 00:00+00' + i * interval '1 minute', 'more' || i)) AS given FROM generate_series(1, 2) i;
SELECT often FROM cdp.profiles;
SELECT why FROM cdp.explain_trait('user_id:m', 'all_of') WHERE value = 'v100';
SELECT value, why FROM cdp.explain_trait('user_id:m', 'often') LIMIT 1;
-- merged with somebody, and parted
SELECT count(cdp.identify('user_id:o', '{"often": "of o", "all_of": "of o"}', timestamptz '2025-01-01 00:00+00' + i * interval '1 minute', 'o' || i)) AS given FROM generate_series(1, 6) i;
SELECT cdp.merge('{user_id:m,user_id:o}', 'same') AS merge \gset
SELECT often, cardinality(all_of) AS kept, all_of @> '{of o}' AS of_o FROM cdp.profiles;
SELECT count(*) AS differences FROM cdp.verify();
SELECT cdp.unmerge(:merge, 'not the same') > 0 AS parted;
SELECT often, cardinality(all_of) AS kept FROM cdp.profiles ORDER BY 1;
SELECT count(*) AS differences FROM cdp.verify();

-- however many values: exact, and a message costs the same whatever she said before
CREATE FUNCTION law.usual() RETURNS TABLE (profile_id bigint, live text, naive text) LANGUAGE sql AS $$
	SELECT p.profile_id, p.often, (SELECT e.traits->>'often' FROM cdp_data.node n JOIN cdp_data.event e USING (node_id) WHERE n.profile_id = p.profile_id AND e.type = 'identify' AND e.traits->>'often' IS NOT NULL
		GROUP BY 1 ORDER BY count(*) DESC, max(e.ts) DESC, (array_agg(e.message_key ORDER BY e.ts DESC, e.message_key DESC))[1] DESC LIMIT 1)
	FROM cdp.profiles p
$$;
CREATE TABLE law.wrong_usual (step int, live text, naive text);
CREATE TABLE law.tallied (step int, people int);
SELECT setseed(0.3);
DO $$
DECLARE
	batch jsonb;
	merged bigint;
BEGIN
	FOR i IN 1 .. 60 LOOP
		SELECT jsonb_agg(jsonb_build_object('type', 'identify', 'anonymousId', 'many' || floor(random() ^ 3 * 9), 'messageId', 'often' || i || '-' || k - (random() < 0.1)::int,
			'timestamp', timestamptz '2024-02-01' + floor(random() * 3000) * interval '1 minute', 'traits', jsonb_build_object('often', 'w' || floor(random() ^ 2 * 700))))
		INTO batch FROM generate_series(1, CASE WHEN i % 10 = 0 THEN 1 ELSE 60 END) k;
		PERFORM cdp.ingest(batch);
		IF i % 8 = 5 THEN
			merged := cdp.merge(format('{anonymous_id:many%s,anonymous_id:many%s}', i / 8, i / 8 + 1), 'same');
		ELSIF i % 8 = 1 AND merged IS NOT NULL THEN
			PERFORM cdp.unmerge(merged, 'not the same');
			merged := NULL;
		END IF;
		INSERT INTO law.wrong_usual SELECT i, u.live, u.naive FROM law.usual() u WHERE u.live IS DISTINCT FROM u.naive;
		INSERT INTO law.tallied SELECT i, count(DISTINCT t.profile_id) FROM cdp_data.trait_tally t;
	END LOOP;
END $$;
SELECT * FROM law.wrong_usual;
SELECT max(people) AS people_with_many, count(DISTINCT people) > 2 AS more_and_less FROM law.tallied;
SELECT count(*) AS differences FROM cdp.verify();
SELECT count(*) > 300 AS many FROM cdp_data.event e WHERE e.node_id = (SELECT i.node_id FROM cdp_data.identifier i WHERE i.value = 'many0');
BEGIN;
SELECT coalesce(sum(coalesce(x.idx_tup_fetch, 0) + coalesce(x.seq_tup_read, 0)), 0) AS before FROM pg_stat_xact_all_tables x WHERE x.schemaname = 'cdp_data' AND x.relname ~ '^event_' \gset
SELECT count(cdp.identify('anonymous_id:many0', jsonb_build_object('often', 'w' || i), '2024-03-01')) FROM generate_series(1, 20) i;
SELECT sum(coalesce(x.idx_tup_fetch, 0) + coalesce(x.seq_tup_read, 0)) - :before < 300 AS bounded FROM pg_stat_xact_all_tables x WHERE x.schemaname = 'cdp_data' AND x.relname ~ '^event_';
ROLLBACK;
-- a tally that somebody changed is found, and made good; so is one that is gone
UPDATE cdp_data.trait_tally SET times = times + 1 WHERE value = 'w3';
SELECT DISTINCT what FROM cdp.verify();
SELECT count(cdp.rebuild(profile_id)) > 0 AS rebuilt FROM cdp.profiles WHERE profile_id IN (SELECT t.profile_id FROM cdp_data.trait_tally t);
DELETE FROM cdp_data.trait_tally;
SELECT DISTINCT what FROM cdp.verify();
SELECT count(cdp.identify('anonymous_id:many' || i, '{"often": "w1"}', '2024-03-01')) FROM generate_series(0, 3) i;
SELECT * FROM law.usual() WHERE live IS DISTINCT FROM naive;
SELECT count(cdp.rebuild(profile_id)) > 0 AS rebuilt FROM cdp.profiles;
SELECT count(*) AS differences FROM cdp.verify();
SELECT count(*) > 600 AS many FROM cdp_data.trait_tally;

--
-- Another rule: in the background, and exact meanwhile for whom a message comes
--
SELECT law.reset();
SELECT law.invent(9, 400);
SELECT count(cdp.identify(who, traits, ts, id, source)) AS given FROM law.message WHERE i <= 300;
SELECT law.compare(9, 'before');
SELECT cdp.define_segment('much', predicate => 'high >= 7 AND word = ''a''') > 0 AS segment;
SELECT cdp.redefine_trait('all_of', 'latest');
SELECT bool_and(cdp.redefine_trait(name, s, src, e) > 0) AS tasks FROM (VALUES ('latest_e', 'most_frequent', NULL, false), ('often', 'max', NULL, false), ('high', 'oldest', NULL, false),
	('trusted', 'source_priority', '{web,app}'::text[], true), ('low', 'latest', NULL, false), ('word', 'most_frequent', NULL, true), ('all_of', 'union', NULL, false), ('often_e', 'min', NULL, false)) v (name, s, src, e);
SELECT count(*) AS differences FROM cdp.verify();
SELECT count(*) > 2 AS readable FROM cdp.profiles;
SELECT count(cdp.identify(who, traits, ts, id, source)) AS given FROM law.message WHERE i > 300;
SELECT kind, target, state FROM cdp.tasks ORDER BY task_id;
CALL cdp.maintain();
SELECT law.compare(9, 'after');
SELECT kind, target, state, error FROM cdp.tasks ORDER BY task_id;
SELECT * FROM law.difference ORDER BY 1, 2, 3, 4, 5 LIMIT 20;
SELECT survivorship, sources, ignore_empty FROM cdp.traits WHERE name = 'trusted';
-- a message with more values than a union keeps: which ones stay does not depend on the order
SELECT cdp.define_trait('wide', survivorship => 'union');
SELECT count(cdp.identify('user_id:' || who, jsonb_build_object('wide', (SELECT jsonb_agg(kind || i * 7919 % 1000) FROM generate_series(1, n) i)), at, who || kind)) AS given
FROM (VALUES ('w1', 'a', 300, '2024-01-02'::timestamptz), ('w1', 'c', 100, '2024-01-03'), ('w2', 'c', 100, '2024-01-03'), ('w2', 'a', 300, '2024-01-02')) v (who, kind, n, at);
SELECT count(*) AS people, count(DISTINCT wide) AS different, min(cardinality(wide)) AS kept FROM cdp.profiles WHERE wide IS NOT NULL;
-- declared on what is known
SELECT law.reset();
SELECT count(cdp.identify('user_id:' || i, jsonb_build_object('colour', CASE i WHEN 3 THEN '{"a": 1}'::jsonb WHEN 2 THEN '["red", "blue"]' ELSE '"red"' END), '2024-01-01', 'c' || i)) AS given FROM generate_series(1, 3) i;
SELECT cdp.identify('user_id:1', '{"colour": "blue"}', '2023-01-01', 'c4') > 0 AS given;
SELECT cdp.define_trait('colour', survivorship => 'union');
SELECT identifiers->'user_id'->>0 AS who, colour, traits FROM cdp.profiles ORDER BY 1;
SELECT reason, payload->'traits' AS traits FROM cdp.rejected;
SELECT count(*) AS differences FROM cdp.verify();

-- what holds always holds: no rows
\getenv abs_srcdir PG_ABS_SRCDIR
\set invariants :abs_srcdir '/docs/invariants.sql'
\pset tuples_only on
\pset format unaligned
\set ECHO none
\i :invariants
\c :main
DROP DATABASE regress_survivorship;
DROP ROLE regress_survivorship_analyst;
