-- Segments in ordinary SQL: columns of cdp.profiles, the type segment_set, what
-- the planner makes of them, counts without rows.  In a database of its own.
\set SHOW_CONTEXT never
\set main :DBNAME
CREATE DATABASE regress_cdp_segment_sql TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_cdp_segment_sql
SET timezone = 'UTC';
SET client_min_messages = warning;
CREATE EXTENSION cdp;
SELECT count(*) > 0 AS initialised FROM cdp.init();
SELECT cdp.define_namespace('*', max_per_profile => 0), cdp.define_namespace('user_id', max_per_profile => 0);
SELECT count(cdp.define_trait(name, type)) FROM (VALUES ('plan', 'text'), ('n', 'int'), ('is_taken', 'bool')) t (name, type);
SELECT cdp.define_segment('vip', 'plan = ''gold''') > 0 AS defined, cdp.define_segment('few', 'n % 300 = 0') > 0 AS defined, cdp.define_segment('grand lyon', 'n > 1000') > 0 AS defined,
	cdp.define_segment('not', 'n < 5') > 0 AS defined, cdp.define_segment('taken', 'n < 5') > 0 AS defined, cdp.define_segment('lately', 'cdp.within(last_seen, ''7 days'')') > 0 AS defined,
	cdp.define_segment('会員', 'n < 7') > 0 AS defined, cdp.define_segment('orders', 'n < 3') > 0 AS defined;
SET cdp.clock = '2031-01-01';
SELECT count(cdp.identify('user_id:u' || i, jsonb_build_object('n', i, 'plan', (ARRAY['gold','silver','free'])[1 + i % 3]))) FROM generate_series(1, 1200) i;
ANALYZE;

--
-- Boolean columns
--
SELECT cdp.show_segment('vip'), cdp.show_segment('few'), cdp.show_segment('not'), cdp.show_segment('lately'), cdp.show_segment('会員');
SELECT a.attname, format_type(a.atttypid, NULL) AS type, col_description(a.attrelid, a.attnum) FROM pg_attribute a WHERE a.attrelid = 'cdp.profiles'::regclass AND a.attnum > 7 ORDER BY a.attnum;
SELECT profile_id, is_vip, is_few, is_not, is_lately, is_会員, segment_set, segments FROM cdp.profiles WHERE profile_id IN (3, 5, 300, 1200) ORDER BY 1;
SELECT cdp.show_segment('grand lyon');
SELECT cdp.show_segment('taken');
SELECT cdp.show_segment('nobody');
SELECT cdp.show_segment(NULL);
SELECT cdp.show_segment('vip', NULL);
SELECT cdp.define_segment('VIP', 'n = 1') > 0 AS defined;
SELECT cdp.show_segment('VIP');
SELECT cdp.define_segment(repeat('x', 61), 'n = 1') > 0 AS defined;
SELECT cdp.show_segment(repeat('x', 61));
-- nothing else can have its column's name
SELECT cdp.define_trait('is_vip', 'bool');
SELECT cdp.define_trait('is_vip', 'text');
SELECT cdp.define_trait('segment_set', 'text');
SELECT cdp.define_metric('is_vip', 'Order', 'count');
SELECT cdp.define_metric('segment_set', 'Order', 'count');
-- shown again, hidden, shown again: the column stays in its place
SELECT cdp.show_segment('vip'), cdp.show_segment('vip', false);
SELECT count(*), count(is_vip) FROM cdp.profiles;
SELECT cdp.show_segment('vip');
SELECT count(*) FILTER (WHERE is_vip), count(is_vip) FROM cdp.profiles;
-- dropped with the segment; the views upon it live on
SELECT cdp.show_segment('orders');
CREATE VIEW upon AS SELECT profile_id, is_orders FROM cdp.profiles;
SELECT count(*) FROM upon WHERE is_orders;
SELECT cdp.drop_segment('orders');
SELECT count(*), count(is_orders) FROM upon;
SELECT cdp.define_segment('orders', 'n < 4') > 0 AS defined, cdp.show_segment('orders');
SELECT count(*) FROM upon WHERE is_orders;
-- disabled: nobody
SELECT cdp.disable_segment('orders');
SELECT count(*) FROM upon WHERE is_orders;
SELECT cdp.enable_segment('orders');
SELECT count(*) FROM upon WHERE is_orders;
-- not for others to decide
CREATE ROLE regress_cdp_sql_reader;
CREATE ROLE regress_cdp_sql_nobody;
SELECT cdp.define_purpose('news') > 0 AS defined, cdp.permit('regress_cdp_sql_reader', 'news');
SET ROLE regress_cdp_sql_reader;
SELECT cdp.show_segment('vip');
RESET ROLE;
-- neither column is to be written
UPDATE cdp.profiles SET is_vip = true WHERE profile_id = 1;
UPDATE cdp.profiles SET segment_set = '{vip}' WHERE profile_id = 1;

--
-- The type
--
SET search_path = public, cdp;
SELECT '{b,a,b}'::segment_set, '{}'::segment_set, '{"grand lyon",vip}'::segment_set, '{a,b}'::segment_set = '{b,a}', '{a}'::segment_set <> '{b}', ARRAY['x', 'b']::segment_set, '{b,a}'::segment_set::text[];
SELECT '{a,NULL}'::segment_set;
SELECT '{{a},{b}}'::segment_set;
SELECT '{a'::segment_set;
SELECT ARRAY['a', NULL]::segment_set;
SELECT s, s @> 'a' AS a, s @> '' AS none, s @@ 'a & !b' AS only_a, s @@ '"grand lyon" | b' AS either FROM (VALUES ('{}'::segment_set), ('{a}'), ('{a,b}'), ('{"grand lyon"}')) v (s);
SELECT '{a}'::segment_set @@ 'a &';
SELECT segment_set, count(*) FROM cdp.profiles WHERE profile_id < 20 GROUP BY 1 ORDER BY segment_set::text;
SELECT count(*) FROM (SELECT segment_set FROM cdp.profiles EXCEPT SELECT segments::segment_set FROM cdp.profiles) x;

--
-- Plans
--
\c
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET client_min_messages = warning;
SET search_path = public, cdp;
SET cdp.clock = '2031-01-02';
CREATE FUNCTION plan(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$ BEGIN RETURN QUERY EXECUTE 'EXPLAIN (COSTS OFF) ' || query; END $$;
-- how many rows the planner expects, and how many there are
CREATE FUNCTION estimate(query text) RETURNS TABLE (expected bigint, actual bigint) LANGUAGE plpgsql AS $$
DECLARE
	p jsonb;
BEGIN
	EXECUTE 'EXPLAIN (ANALYZE, FORMAT JSON) ' || query INTO p;
	expected := p #>> '{0,Plan,Plan Rows}';
	actual := (p #>> '{0,Plan,Actual Rows}')::numeric;
	RETURN NEXT;
END $$;
SELECT q AS condition, e.* FROM (VALUES ('is_vip'), ('NOT is_vip'), ('is_few'), ('is_not'), ('is_vip AND NOT is_few'), ('segment_set @> ''grand lyon'''), ('segment_set @@ ''vip & !few'''),
	('segment_set @@ ''vip | "grand lyon"'''), ('segment_set @@ ''vip & !vip''')) v (q), estimate('SELECT profile_id FROM cdp.profiles WHERE ' || q) e;
SELECT e.* FROM estimate('SELECT * FROM cdp.members(''vip & !few'')') e;
-- what does not see everybody is told the magnitude
SET ROLE regress_cdp_sql_reader;
SELECT plan('SELECT profile_id FROM cdp.profiles WHERE is_few');
RESET ROLE;
-- and neither how many people there are, nor whether there is anybody
CREATE FUNCTION told(query text) RETURNS TABLE (plan_rows numeric, cost numeric) LANGUAGE plpgsql AS $$
DECLARE
	p jsonb;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT JSON) ' || query INTO p;
	plan_rows := p #>> '{0,Plan,Plan Rows}';
	cost := p #>> '{0,Plan,Total Cost}';
	RETURN NEXT;
END $$;
SET ROLE regress_cdp_sql_reader;
SELECT e AS condition, told.plan_rows FROM unnest(ARRAY['vip | !vip', 'few', 'few & !few']) e, told(format('SELECT * FROM cdp.members(%L)', e));
SELECT count(DISTINCT told) FROM unnest(ARRAY['few & !orders', 'few & !vip']) e, told(format('SELECT profile_id FROM cdp.profiles WHERE segment_set @@ %L', e));
SELECT count(DISTINCT told) FROM unnest(ARRAY['few & !orders', 'few & !vip']) e, told(format('SELECT count(*) FROM cdp.profiles WHERE segment_set @@ %L', e));
RESET ROLE;
SELECT e AS condition, told.plan_rows FROM unnest(ARRAY['vip | !vip', 'few', 'few & !few']) e, told(format('SELECT * FROM cdp.members(%L)', e));
SELECT plan('SELECT profile_id FROM cdp.profiles WHERE is_vip');
SELECT plan('SELECT profile_id FROM cdp.profiles WHERE is_few');
SELECT plan('SELECT profile_id FROM cdp.profiles WHERE segment_set @> ''grand lyon''');
SELECT plan('SELECT profile_id FROM cdp.profiles WHERE segment_set @> ''not''');
SELECT plan('SELECT profile_id FROM cdp.profiles WHERE segment_set @@ ''few & !vip''');
-- of no known members no index is used
SET plan_cache_mode = force_generic_plan;
PREPARE by_expr(text) AS SELECT count(*) FROM cdp.profiles WHERE segment_set @@ $1;
PREPARE by_name(text) AS SELECT count(*) FROM cdp.profiles WHERE segment_set @> $1;
EXPLAIN (COSTS OFF) EXECUTE by_expr('few');
EXECUTE by_expr('few');
EXECUTE by_expr('vip & !few');
EXECUTE by_expr(NULL);
EXECUTE by_expr('vip &');
EXECUTE by_expr('nobody');
EXECUTE by_name('vip');
EXECUTE by_name('nobody');
SET plan_cache_mode = auto;
-- what can never be answered is an error, where the query names it
SELECT profile_id FROM cdp.profiles WHERE segment_set @> 'nobody';
SELECT profile_id FROM cdp.profiles WHERE segment_set @@ 'vip & nobody';
SELECT profile_id FROM cdp.profiles WHERE segment_set @@ 'vip & (few';
-- where it comes from a row it is data
SELECT v.e, count(p.profile_id) FROM (VALUES ('vip'), ('nobody')) v (e) LEFT JOIN cdp.profiles p ON p.segment_set @> v.e GROUP BY 1 ORDER BY 1;
SELECT cdp.in_segments(2, e) FROM (VALUES ('vip'), ('!vip'), ('nobody'), ('vip &'), (NULL)) v (e);
SELECT cdp.in_segments(o, 'vip') FROM (VALUES (2), (-1), (1000000), (2147483647), (-2147483648), (NULL)) v (o);

--
-- Counts
--
\c
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET client_min_messages = warning;
SET search_path = public, cdp;
SET cdp.clock = '2031-01-02';
SELECT plan('SELECT count(*) FROM cdp.profiles WHERE is_vip AND NOT is_few');
SELECT plan('SELECT count(*) + 1, count(1), ''x'' FROM cdp.profiles WHERE (is_vip OR is_few) AND is_not IS NOT TRUE AND segment_set @@ ''lately | "grand lyon" & !few''');
SELECT plan('SELECT count(*) FROM cdp.profiles');
SELECT plan('SELECT count(*) FROM cdp.segment_members WHERE segment = ''vip''');
SELECT plan('SELECT count(*) FROM cdp.segment_members WHERE ''grand lyon'' = segment');
EXPLAIN (VERBOSE, COSTS OFF) SELECT count(*) * 2 AS twice FROM cdp.profiles WHERE is_vip ORDER BY 1 LIMIT 1;
-- each query both ways; the same in both, and pushed or not
CREATE TABLE query (n int GENERATED ALWAYS AS IDENTITY, pushed boolean, query text);
INSERT INTO query (pushed, query) VALUES
	(true, 'SELECT count(*) FROM cdp.profiles'), (true, 'SELECT count(1) FROM cdp.profiles WHERE is_vip'), (true, 'SELECT count(*) FROM cdp.profiles p WHERE p.is_vip = true'),
	(true, 'SELECT count(*) FROM cdp.profiles WHERE is_vip = false'), (true, 'SELECT count(*) FROM cdp.profiles WHERE is_vip IS FALSE OR is_few'), (true, 'SELECT count(*)::text || ''x'' FROM cdp.profiles WHERE NOT (is_vip AND is_few)'),
	(true, 'SELECT count(*) FROM (SELECT * FROM cdp.profiles) x WHERE is_vip'), (false, 'SELECT count(*) FROM (SELECT * FROM cdp.profiles WHERE is_vip OFFSET 0 LIMIT NULL) x'), (true, 'SELECT count(*) FROM upon WHERE is_orders'),
	(true, 'WITH x AS (SELECT * FROM cdp.profiles) SELECT count(*) FROM x WHERE is_vip'), (true, 'SELECT count(*) FROM cdp.profiles WHERE is_vip LIMIT 1'), (true, 'SELECT count(*) FROM cdp.profiles WHERE is_vip LIMIT 0'),
	(true, 'SELECT count(*) FROM cdp.profiles WHERE is_vip UNION ALL SELECT count(*) FROM cdp.profiles WHERE is_few ORDER BY 1'), (true, 'SELECT k, c FROM (VALUES (1), (2)) v (k), LATERAL (SELECT count(*) AS c FROM cdp.profiles WHERE is_vip) x ORDER BY 1'),
	(true, 'SELECT k, (SELECT count(*) FROM cdp.profiles WHERE is_vip) + k FROM generate_series(1, 3) k'), (true, 'SELECT count(*) FROM cdp.segment_members WHERE segment = ''lately'''),
	(true, 'SELECT count(*) FROM cdp_data.profile WHERE cdp.in_segments(ord, ''vip'')'), (true, 'SELECT count(*) FROM cdp.profiles WHERE 1 = 1 AND is_vip'),
	(false, 'SELECT count(*) FROM cdp.profiles WHERE is_vip AND n > 10'), (false, 'SELECT count(*) FROM cdp.profiles WHERE is_vip OR plan = ''silver'''), (false, 'SELECT count(n) FROM cdp.profiles WHERE is_vip'),
	(false, 'SELECT count(*) FILTER (WHERE is_vip) FROM cdp.profiles'), (false, 'SELECT count(*), count(*) FILTER (WHERE is_few) FROM cdp.profiles WHERE is_vip'), (false, 'SELECT count(DISTINCT plan) FROM cdp.profiles WHERE is_vip'),
	(false, 'SELECT count(*), sum(n) FROM cdp.profiles WHERE is_vip'), (false, 'SELECT plan, count(*) FROM cdp.profiles WHERE is_vip GROUP BY 1'), (false, 'SELECT is_few, count(*) FROM cdp.profiles WHERE is_vip GROUP BY 1 ORDER BY 1'),
	(false, 'SELECT count(*) FROM cdp.profiles WHERE is_vip GROUP BY ()'), (false, 'SELECT count(*) FROM cdp.profiles WHERE is_vip GROUP BY GROUPING SETS ((), ())'), (false, 'SELECT count(*) FROM cdp.profiles WHERE is_vip HAVING count(*) > 3'),
	(false, 'SELECT count(*) OVER () FROM cdp.profiles WHERE is_few'), (false, 'SELECT count(*), generate_series(1, 2) FROM cdp.profiles WHERE is_vip'), (false, 'SELECT DISTINCT count(*) FROM cdp.profiles WHERE is_vip'),
	(false, 'SELECT count(*) FROM (SELECT * FROM cdp.profiles WHERE is_vip LIMIT 7) x'), (false, 'SELECT count(*) FROM (SELECT DISTINCT plan FROM cdp.profiles WHERE is_vip) x'), (false, 'SELECT count(*) FROM (SELECT profile_id FROM cdp_data.profile WHERE cdp.in_segments(ord, ''vip'') FOR UPDATE) x'),
	(false, 'SELECT count(*) FROM cdp_data.profile TABLESAMPLE BERNOULLI (100) WHERE cdp.in_segments(ord, ''vip'')'), (false, 'SELECT count(*) FROM cdp.profiles a JOIN cdp.profiles b USING (n) WHERE a.is_vip AND NOT b.is_few'),
	(false, 'SELECT count(*) FROM cdp.profiles a LEFT JOIN cdp.profiles b ON a.profile_id = b.profile_id + 1 AND b.is_vip WHERE b.is_vip IS NULL'), (false, 'SELECT count(*) FROM cdp.profiles a, generate_series(1, 2) WHERE is_vip'),
	(false, 'SELECT count(*) FROM cdp.profiles WHERE is_vip AND EXISTS (SELECT FROM cdp.identifiers i WHERE i.profile_id = profiles.profile_id)'), (false, 'SELECT count(*) FROM cdp.profiles WHERE is_vip AND profile_id IN (SELECT profile_id FROM cdp.members(''few''))'),
	(false, 'SELECT n, (SELECT count(*) FROM cdp.profiles p WHERE is_vip AND p.n < v.n) FROM (VALUES (5), (9)) v (n)'), (false, 'SELECT e, (SELECT count(*) FROM cdp.profiles p WHERE segment_set @> e) FROM (VALUES (''vip''), (''few'')) v (e)'),
	(false, 'SELECT count(*) FROM cdp.profiles WHERE is_vip IS NULL'), (false, 'SELECT count(*) FROM cdp.profiles WHERE is_vip IS NOT NULL'), (false, 'SELECT count(*) FROM cdp.profiles WHERE is_vip IS UNKNOWN'), (false, 'SELECT count(*) FROM cdp.profiles WHERE is_vip = is_few'),
	(false, 'SELECT count(*) FROM cdp.profiles WHERE is_vip::int = 1'), (false, 'SELECT count(*) FROM cdp.profiles WHERE CASE WHEN is_vip THEN true ELSE is_few END'), (false, 'SELECT count(*) FROM cdp.profiles WHERE coalesce(is_vip, false)'),
	(false, 'SELECT count(*) FROM cdp.profiles WHERE is_vip AND false'), (false, 'SELECT count(*) FROM cdp.profiles WHERE is_vip AND NULL'), (false, 'SELECT count(*) FROM cdp.profiles WHERE segment_set @> NULL'),
	(false, 'SELECT count(*) FROM cdp.profiles WHERE is_vip AND current_setting(''x.y'', true) IS NULL'), (false, 'SELECT count(*) FROM cdp.profiles WHERE is_vip AND random() >= 0'), (false, 'SELECT count(*) FROM cdp.profiles WHERE ''vip'' = ANY (segments)'),
	(false, 'SELECT count(*) FROM cdp.profiles WHERE is_vip AND profile_id = 3'), (false, 'SELECT count(*) FROM cdp.profiles WHERE is_vip AND segment_set = ''{vip}'''), (false, 'SELECT count(profiles) FROM cdp.profiles WHERE is_vip'),
	(false, 'SELECT count(*) FROM cdp_data.profile WHERE cdp.in_segments(ord + 0, ''vip'')'), (false, 'SELECT count(*) FROM cdp_data.profile WHERE cdp.in_segments(length(plan), ''vip'')'), (false, 'SELECT count(*) FROM cdp_data.profile_state WHERE cdp.in_segments(ord, ''vip'')'),
	(false, 'SELECT count(*) FROM cdp_data.profile WHERE cdp.in_segments(ord, plan)'), (false, 'SELECT count(*) FROM cdp.segment_members'), (false, 'SELECT count(*) FROM cdp.segment_members WHERE segment IN (''vip'', ''few'')'),
	(false, 'SELECT count(*) FROM cdp.segment_members WHERE segment = ''nobody'''), (false, 'SELECT count(*) FROM cdp.segment_members WHERE segment = ''vip'' AND profile_id > 5'), (false, 'SELECT count(*) FROM cdp.segment_members WHERE segment <> ''vip'''),
	(false, 'SELECT count(*) FROM cdp.segment_members WHERE upper(segment) = ''VIP'''), (false, 'SELECT count(*) FROM (SELECT * FROM cdp.segment_members UNION ALL SELECT * FROM cdp.segment_members) x WHERE segment = ''vip'''),
	(false, 'SELECT count(*) FROM (SELECT * FROM cdp.segment_members UNION SELECT * FROM cdp.segment_members) x WHERE segment = ''vip'''), (false, 'SELECT segment, count(*) FROM cdp.segment_members GROUP BY 1 ORDER BY 1'), (false, 'SELECT count(*) FROM cdp.events');
CREATE FUNCTION answer(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE format('SELECT string_agg(x::text, '' '') FROM (%s) x', query) INTO result;
	RETURN result;
END $$;
CREATE FUNCTION is_pushed(query text) RETURNS boolean LANGUAGE sql AS $$ SELECT bool_or(l LIKE '%CdpSegmentCount%') FROM plan(query) l $$;
CREATE TABLE answered AS SELECT n, is_pushed(query) AS pushed, answer(query) FROM query ORDER BY n;
SET cdp.enable_count_pushdown = off;
SELECT query FROM query WHERE is_pushed(query);
SELECT q.query, a.answer, answer(q.query) AS other FROM query q JOIN answered a USING (n) WHERE a.answer IS DISTINCT FROM answer(q.query);
RESET cdp.enable_count_pushdown;
SELECT q.pushed AS expected, q.query FROM query q JOIN answered a USING (n) WHERE a.pushed <> q.pushed;
SELECT pushed, count(*) FROM answered GROUP BY 1 ORDER BY 1;

--
-- Who sees whom
--
SELECT count(cdp.set_consent('user_id:u' || i, 'news', 'granted')) FROM generate_series(1, 1200, 4) i;
ANALYZE;
CREATE VIEW everybody AS SELECT * FROM cdp.profiles;
CREATE VIEW barrier WITH (security_barrier = true) AS SELECT * FROM cdp.profiles WHERE is_vip;
GRANT SELECT ON everybody, barrier, query TO regress_cdp_sql_reader;
SET ROLE regress_cdp_sql_reader;
SELECT plan('SELECT count(*) FROM cdp.profiles WHERE is_vip OR is_few');
SELECT plan('SELECT count(*) FROM cdp.profiles');
SELECT plan('SELECT count(*) FROM cdp.segment_members WHERE segment = ''vip''');
SELECT plan('SELECT count(*) FROM barrier WHERE is_few');
CREATE TEMP VIEW seen AS SELECT (SELECT count(*) FROM cdp.profiles) AS people, (SELECT count(*) FROM cdp.profiles WHERE is_vip) AS vip, (SELECT count(*) FROM cdp.profiles WHERE NOT is_vip) AS others,
	(SELECT count(*) FROM cdp.segment_members WHERE segment = 'vip') AS members, (SELECT count(*) FROM barrier WHERE NOT is_few) AS barrier;
-- a view of somebody who sees everybody shows no more
CREATE TEMP VIEW by_owner AS SELECT (SELECT count(*) FROM everybody) AS people, (SELECT count(*) FROM everybody WHERE NOT is_vip) AS others;
SELECT seen.*, cdp.segment_count('vip') FROM seen;
TABLE by_owner;
SET cdp.enable_count_pushdown = off;
TABLE seen;
TABLE by_owner;
RESET cdp.enable_count_pushdown;
SET cdp.purpose = 'other';
TABLE seen;
RESET cdp.purpose;
SELECT cdp.in_segments(0, 'vip'), cdp.in_segments(2, 'vip'), cdp.in_segments(2, '!vip'), cdp.in_segments(8, 'vip'), cardinality(cdp.member_ords('vip | !vip')), cdp.segments_of(2, 3, '{1}'), cdp.segments_of(2, 3, '{-1,999,2147483647,NULL}');
RESET ROLE;
SELECT cdp.in_segments(0, 'vip'), cdp.in_segments(2, 'vip'), cdp.in_segments(2, '!vip'), cdp.in_segments(8, 'vip'), cardinality(cdp.member_ords('vip | !vip')), cardinality(cdp.member_ords('!vip & vip'));
-- one plan, many roles and settings
SET plan_cache_mode = force_generic_plan;
PREPARE vips AS SELECT count(*) FROM cdp.profiles WHERE is_vip;
EXECUTE vips;
SET ROLE regress_cdp_sql_reader;
EXECUTE vips;
SET cdp.purpose = 'other';
EXECUTE vips;
RESET cdp.purpose;
RESET ROLE;
EXECUTE vips;
SET ROLE regress_cdp_sql_nobody;
EXECUTE vips;
RESET ROLE;
SELECT cdp.forbid('regress_cdp_sql_reader', 'news');
SET ROLE regress_cdp_sql_reader;
EXECUTE vips;
RESET ROLE;
SELECT cdp.permit('regress_cdp_sql_reader', 'news');
SET ROLE regress_cdp_sql_reader;
EXECUTE vips;
RESET ROLE;
-- a cursor asks for the role that fetches
BEGIN;
DECLARE c CURSOR FOR SELECT count(*) FROM cdp.profiles WHERE NOT is_vip;
DECLARE s SCROLL CURSOR FOR SELECT count(*) FROM cdp.profiles WHERE is_vip;
SET ROLE regress_cdp_sql_reader;
FETCH c;
FETCH s;
FETCH BACKWARD s;
FETCH FIRST s;
RESET ROLE;
SET LOCAL cdp.enable_count_pushdown = off;
DECLARE d CURSOR FOR SELECT count(*) FROM cdp.profiles WHERE NOT is_vip;
SET ROLE regress_cdp_sql_reader;
FETCH d;
RESET ROLE;
COMMIT;
-- the right to ask is asked for
REVOKE EXECUTE ON FUNCTION cdp.in_segments(int, text) FROM PUBLIC;
SET ROLE regress_cdp_sql_reader;
EXECUTE vips;
SELECT count(*) FROM cdp.profiles WHERE is_vip;
SELECT count(*) FROM cdp.profiles;
RESET ROLE;
GRANT EXECUTE ON FUNCTION cdp.in_segments(int, text) TO PUBLIC;
-- somebody's own policy is no segment test
CREATE POLICY own ON cdp_data.profile AS RESTRICTIVE FOR SELECT TO regress_cdp_sql_reader USING (n % 2 = 0);
SET ROLE regress_cdp_sql_reader;
EXECUTE vips;
SELECT plan('SELECT count(*) FROM cdp.profiles WHERE is_vip');
RESET ROLE;
DROP POLICY own ON cdp_data.profile;
CREATE POLICY own ON cdp_data.segment_member FOR SELECT TO regress_cdp_sql_reader USING (ord < 100);
SET ROLE regress_cdp_sql_reader;
SELECT count(*) FROM cdp.segment_members WHERE segment = 'vip';
RESET ROLE;
DROP POLICY own ON cdp_data.segment_member;
-- a table that inherits has rows that no segment knows
BEGIN;
CREATE TABLE cdp_data.heir () INHERITS (cdp_data.profile);
SELECT is_pushed('SELECT count(*) FROM cdp.profiles WHERE is_vip') AS view, is_pushed('SELECT count(*) FROM ONLY cdp_data.profile WHERE cdp.in_segments(ord, ''vip'')') AS only_it;
ROLLBACK;

--
-- Snapshots and time
--
EXECUTE vips;
BEGIN;
SELECT cdp.identify('user_id:u1', '{"plan": "gold"}') > 0 AS known;
EXECUTE vips;
SELECT count(*) FROM cdp.profiles WHERE is_vip AND profile_id = 1;
SAVEPOINT s;
SELECT cdp.identify('user_id:u2', '{"plan": "gold"}') > 0 AS known;
EXECUTE vips;
ROLLBACK TO s;
EXECUTE vips;
ROLLBACK;
EXECUTE vips;
-- PL/pgSQL keeps the state of an expression
DO $$
DECLARE
	was boolean[];
BEGIN
	FOR i IN 1..3 LOOP
		was := was || cdp.in_segments(0, 'vip');
		PERFORM cdp.identify('user_id:u1', CASE i WHEN 1 THEN '{"plan": "gold"}' ELSE '{"plan": "free"}' END::jsonb, at => '2031-01-02'::timestamptz + i * interval '1 s');
	END LOOP;
	RAISE WARNING '%', was;
END $$;
-- where a variable names the segment, too
DO $$
DECLARE
	name text;
	was text[];
BEGIN
	FOREACH name IN ARRAY ARRAY['vip', 'few', 'vip & !few', 'few | vip', 'few'] LOOP
		was := was || format('%s: %s', name, cdp.in_segments(2, name));
	END LOOP;
	RAISE WARNING '%', was;
END $$;
DO $$
DECLARE
	name text;
	was boolean;
BEGIN
	FOREACH name IN ARRAY ARRAY['vip', 'nobody'] LOOP
		was := cdp.in_segments(2, name);
	END LOOP;
END $$;
-- readers of a snapshot of before
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM cdp.profiles WHERE segment_set @@ 'vip';
COMMIT;
-- whose timers are due is in as of now, by whatever way
CREATE FUNCTION late(at text) RETURNS TABLE (pushed bigint, members bigint, plain bigint, by_index bigint, stored bigint) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('cdp.clock', at, false);
	EXECUTE 'SELECT count(*) FROM cdp.profiles WHERE is_lately' INTO pushed;
	EXECUTE 'SELECT count(*) FROM cdp.segment_members WHERE segment = ''lately''' INTO members;
	PERFORM set_config('cdp.enable_count_pushdown', 'off', true), set_config('enable_indexscan', 'off', true), set_config('enable_bitmapscan', 'off', true);
	EXECUTE 'SELECT count(*) FROM cdp.profiles WHERE is_lately' INTO plain;
	PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_indexscan', 'on', true);
	EXECUTE 'SELECT count(*) FROM cdp.profiles WHERE is_lately' INTO by_index;
	PERFORM set_config('cdp.enable_count_pushdown', 'on', true), set_config('enable_seqscan', 'on', true), set_config('enable_bitmapscan', 'on', true);
	stored := (SELECT count(*) FROM cdp_data.segment_member m JOIN cdp_data.segment s USING (segment_id) WHERE s.name = 'lately');
	RETURN NEXT;
END $$;
SET cdp.clock = '2031-01-04';
SELECT cdp.track('user_id:u5', 'View') > 0 AS tracked;
SELECT * FROM late('2031-01-04');
SELECT * FROM late('2031-01-07 23:59:59.999999');
SELECT * FROM late('2031-01-08');
SELECT * FROM late('2031-01-09 12:00');
SELECT segment_set, is_lately FROM cdp.profiles WHERE profile_id IN (5, 6) ORDER BY profile_id;
CALL cdp.maintain();
SELECT * FROM late('2031-01-09 12:00');
-- many people of a role that sees some: looked up one by one, and as a whole
SET ROLE regress_cdp_sql_reader;
SELECT count(*), cdp.segment_count('few'), cdp.segment_count('!few') FROM cdp.profiles WHERE NOT is_few;
SELECT segment, n, round(share::numeric, 3) AS share, round(lift::numeric, 3) AS lift FROM cdp.overlap('vip') WHERE n > 0 ORDER BY 1;
RESET ROLE;
-- what was planned is planned anew when a segment goes
SELECT cdp.drop_segment('vip');
EXECUTE vips;
SELECT count(*) FROM cdp.profiles WHERE is_vip;

-- where there is no storage, and where there is no extension
CREATE DATABASE regress_cdp_segment_sql_2 TEMPLATE template0;
LOAD 'cdp';
\c regress_cdp_segment_sql_2
LOAD 'cdp';
SELECT count(*) FROM pg_class WHERE false;
CREATE EXTENSION cdp;
SELECT count(*) FROM pg_class WHERE false;
SELECT cdp.in_segments(1, 'x'), cdp.member_ords('x'), cdp.segments_of(1, 1, '{1}');
SELECT '{b,a}'::cdp.segment_set;
\c :main
DROP DATABASE regress_cdp_segment_sql_2;
DROP DATABASE regress_cdp_segment_sql;
DROP ROLE regress_cdp_sql_reader, regress_cdp_sql_nobody;
