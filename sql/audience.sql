-- Audiences: sets of profile ids as values.  In a database of its own.
\set SHOW_CONTEXT never
\set main :DBNAME
CREATE DATABASE regress_cdp_audience TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_cdp_audience
SET client_min_messages = warning;
CREATE EXTENSION cdp;
SET search_path = cdp, public;

--
-- Text: any order in, one form out
--
SELECT a AS text, a::cdp.audience AS audience, cdp.cardinality(a::cdp.audience) FROM (VALUES
	('{}'), (' { } '), ('{1}'), ('{0}'), ('{3,1,2}'), ('{1,2}'), ('{1-3}'), ('{ 5 - 9 , 1,7, 2-6 }'), ('{1,1,1}'), ('{15870-15875}'), ('{0-31743}'),
	('{9223372036854775807}'), ('{9223372036854775800-9223372036854775807,1}'), ('{4,2,9223372036854775807,9223372036854775806-9223372036854775807,3}'),
	(E'{\t1\n,2}'), ('{007}')) t (a);
CREATE FUNCTION try(a text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text;
	detail text;
	state text;
BEGIN
	RETURN 'TAKEN ' || a::cdp.audience;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, state = RETURNED_SQLSTATE;
	RETURN state || ' ' || message || ' - ' || detail;
END $$;
SELECT a, try(a) FROM (VALUES (''), ('1'), ('{'), ('{1'), ('{1,}'), ('{,1}'), ('{1 2}'), ('{1,,2}'), ('{1}x'), ('{-1}'), ('{1--2}'), ('{1-}'), ('{5-1}'), ('{a}'), ('{1.5}'),
	('{9223372036854775808}'), ('{1-99999999999999999999}'), ('{0-9223372036854775807}'), ('{null}')) t (a);

-- Arrays.
SELECT ARRAY[3, 1, 2, 1]::bigint[]::cdp.audience AS audience, '{}'::bigint[]::cdp.audience AS empty, '{5-8,1}'::cdp.audience::bigint[] AS ids, '{}'::cdp.audience::bigint[] AS none;
SELECT ARRAY[1, NULL]::bigint[]::cdp.audience;
SELECT ARRAY[1, -1]::bigint[]::cdp.audience;
SELECT cdp.audience_agg(x) FROM generate_series(-1, 1) x;
SELECT '{0-999999999}'::cdp.audience::bigint[];

--
-- Operators
--
SELECT a & b AS "&", a | b AS "|", a - b AS "-", a # b AS "#", a && b AS "&&", a @> b AS "@>", a <@ b AS "<@", a = b AS "=", a <> b AS "<>"
FROM (VALUES ('{1-5}'::cdp.audience, '{4-8}'::cdp.audience), ('{1-5}', '{2,3}'), ('{}', '{1}'), ('{1}', '{1}'), ('{1}', '{100000}'), ('{}', '{}'), ('{1,100000}', '{100000}')) t (a, b);
SELECT '{1-5}'::cdp.audience @> 3 AS has, '{1-5}'::cdp.audience @> 6 AS has_not, 3 <@ '{1-5}'::cdp.audience AS is_in, '{1}'::cdp.audience @> -1 AS negative, '{}'::cdp.audience @> 0 AS empty;
SELECT x FROM cdp.unnest('{1,15870-15873,100000}'::cdp.audience) x;
SELECT count(*) FROM cdp.unnest('{}'::cdp.audience) x;
SELECT a, count(*) FROM (VALUES ('{1}'::cdp.audience), ('{2}'), ('{1}'), ('{}')) t (a) GROUP BY a ORDER BY 2 DESC, a::text;
SELECT count(*) AS pairs FROM (VALUES ('{1}'::cdp.audience), ('{2}')) a (a) JOIN (VALUES ('{2}'::cdp.audience), ('{3}')) b (b) ON a = b;

-- NULL: ignored by the aggregate, else strict.
SELECT cdp.audience_agg(x) AS none FROM (VALUES (NULL::bigint)) t (x);
SELECT cdp.audience_agg(x) AS two FROM (VALUES (NULL::bigint), (7), (NULL), (3)) t (x);
SELECT cdp.audience_agg(x) AS united FROM (VALUES ('{1,2}'::cdp.audience), (NULL), ('{2-4}')) t (x);
SELECT cdp.audience_agg_id(NULL, 1);

--
-- Binary: what is sent comes back, and nothing else is taken
--
CREATE TABLE sent (a cdp.audience);
INSERT INTO sent SELECT cdp.audience_agg(x) FROM generate_series(1, 100000) x WHERE x % 3 = 0 OR x BETWEEN 20000 AND 70000;
INSERT INTO sent VALUES ('{}'), ('{1,2,3}'), ('{9223372036854775807}');
SELECT encode(cdp.audience_send('{1,5,900}'), 'hex') AS "array", encode(cdp.audience_send('{100-5000}'), 'hex') AS runs;
CREATE TEMP TABLE came (LIKE sent);
CREATE FUNCTION pass_on() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	file text := current_setting('data_directory') || '/audience.copy';
BEGIN
	EXECUTE format('COPY sent TO %L (FORMAT binary)', file);
	EXECUTE format('COPY came FROM %L (FORMAT binary)', file);
	RETURN (SELECT count(*) FROM came);
END $$;
SELECT pass_on();
SELECT count(*) AS differ FROM (TABLE sent EXCEPT TABLE came) x;
-- one byte changed, anywhere: another set in its one form, or refused
CREATE FUNCTION receive(b bytea) RETURNS cdp.audience LANGUAGE plpgsql AS $$
DECLARE
	file text := current_setting('data_directory') || '/audience.copy';
	a cdp.audience;
	frame bytea := '\x5047434f50590aff0d0a000000000000000000'::bytea || '\x0001' || int4send(length(b)) || b || '\xffff';
	lo oid := lo_from_bytea(0, frame);
BEGIN
	PERFORM lo_export(lo, file);
	PERFORM lo_unlink(lo);
	DELETE FROM came;
	EXECUTE format('COPY came FROM %L (FORMAT binary)', file);
	SELECT c.a INTO a FROM came c;
	RETURN a;
EXCEPTION WHEN invalid_binary_representation THEN
	RETURN NULL;
END $$;
SELECT count(*) FILTER (WHERE r IS NULL) > 0 AS some_refused, count(r) > 0 AS some_taken, bool_and(r IS NULL OR cdp.audience_send(r) = b) AS others_in_their_one_form,
	bool_or(r = '{1,5,900,20000-30000}') AS unnoticed
FROM generate_series(0, length(cdp.audience_send('{1,5,900,20000-30000}')) - 1) i CROSS JOIN (VALUES (1), (128), (255)) d (d)
CROSS JOIN LATERAL (SELECT set_byte(cdp.audience_send('{1,5,900,20000-30000}'), i, get_byte(cdp.audience_send('{1,5,900,20000-30000}'), i) # d)) x (b)
CROSS JOIN LATERAL (SELECT receive(b)) y (r);
SELECT count(receive(substr(cdp.audience_send('{1,5,900,20000-30000}'), 1, n))) AS cut_taken FROM generate_series(1, length(cdp.audience_send('{1,5,900,20000-30000}')) - 1) n;
SELECT try FROM (SELECT CASE WHEN receive('\x0200000000000000') IS NULL THEN 'refused' END) t (try);

--
-- Random sets against arrays: ids in few and in many bitmaps, dense, sparse
-- and in runs; everything is computed twice
--
SELECT setseed(0.25);
CREATE FUNCTION invent() RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
	width bigint := (ARRAY[20, 1000, 16000, 40000, 1000000, 1000000000000])[1 + floor(random() * 6)];
	n int := (ARRAY[0, 1, 5, 100, 2000, 4000])[1 + floor(random() * 6)];
	run int := (ARRAY[1, 1, 1, 50])[1 + floor(random() * 4)];
BEGIN
	RETURN ARRAY(SELECT x + r FROM (SELECT floor(random() * width)::bigint FROM generate_series(1, n)) a (x), generate_series(0, run - 1) r);
END $$;
CREATE TABLE cases AS SELECT i, invent() AS a, CASE WHEN i % 5 = 0 THEN NULL ELSE invent() END AS b FROM generate_series(1, 150) i;
-- a fifth of the pairs are subsets
UPDATE cases SET b = ARRAY(SELECT x FROM unnest(a) x WHERE x % 3 <> 0) WHERE b IS NULL;
CREATE FUNCTION canon(bigint[]) RETURNS bigint[] LANGUAGE sql IMMUTABLE AS 'SELECT ARRAY(SELECT DISTINCT x FROM unnest($1) x ORDER BY x)';
CREATE TABLE pairs AS SELECT i, canon(a) AS a, canon(b) AS b, a::cdp.audience AS x, b::cdp.audience AS y FROM cases;
SELECT count(*) AS cases, count(DISTINCT pg_column_size(x)) > 20 AS of_many_sizes,
	bool_and(x::bigint[] = a) AS arrays, bool_and(cdp.cardinality(x) = cardinality(a)) AS cardinality,
	bool_and((x & y)::bigint[] = ARRAY(SELECT unnest(a) INTERSECT SELECT unnest(b) ORDER BY 1)) AS "and",
	bool_and((x | y)::bigint[] = ARRAY(SELECT unnest(a) UNION SELECT unnest(b) ORDER BY 1)) AS "or",
	bool_and((x - y)::bigint[] = ARRAY(SELECT unnest(a) EXCEPT SELECT unnest(b) ORDER BY 1)) AS minus,
	bool_and((x # y)::bigint[] = ARRAY((SELECT unnest(a) EXCEPT SELECT unnest(b)) UNION (SELECT unnest(b) EXCEPT SELECT unnest(a)) ORDER BY 1)) AS "xor"
FROM pairs;
SELECT bool_and((x && y) = EXISTS (SELECT unnest(a) INTERSECT SELECT unnest(b))) AS overlaps, bool_and((x @> y) = (NOT EXISTS (SELECT unnest(b) EXCEPT SELECT unnest(a)))) AS contains,
	bool_and((y <@ x) = (x @> y)) AS commutes, bool_and((x = y) = (a = b)) AS equal, bool_and((x <> y) = (a <> b)) AS differ,
	count(*) FILTER (WHERE x @> y) > 20 AND count(*) FILTER (WHERE NOT x @> y) > 20 AND count(*) FILTER (WHERE x && y) > 20 AND count(*) FILTER (WHERE NOT x && y) > 20 AS both_answers
FROM pairs;
SELECT bool_and(x = x::text::cdp.audience) AS text, bool_and(ARRAY(SELECT u FROM cdp.unnest(x) u) = a) AS unnest,
	bool_and((SELECT coalesce(cdp.audience_agg(u ORDER BY random()), '{}') FROM unnest(a || a) u) = x) AS agg,
	bool_and(cdp.audience_hash(x) = cdp.audience_hash((x | y) - (y - x))) AS hash,
	bool_and((SELECT coalesce(bool_and((x @> p) = (p = ANY (a)) AND (p <@ x) = (p = ANY (a))), true) FROM (SELECT unnest(a[1:20]) UNION SELECT unnest(b[1:20])) t (p))) AS has
FROM pairs;
-- the laws of sets, over three at a time
SELECT bool_and(x & (y | z) = (x & y) | (x & z)) AS distributive, bool_and(x - y = x & (x # y)) AS minus, bool_and((x # y) # y = x) AS involution, bool_and((x | y) - (x & y) = x # y) AS difference
FROM (SELECT p.x, p.y, q.x AS z FROM pairs p JOIN pairs q ON q.i = (p.i * 7) % 150 + 1) t;

-- Many ids, in parallel and in any order; more than the list of the state holds.
CREATE TABLE many AS SELECT (i::bigint * 7919) % 1000003 AS id, i % 4 AS part FROM generate_series(1, 300000) i;
INSERT INTO many SELECT (i::bigint * 1000003) % 999999999989, 4 FROM generate_series(1, 100000) i;
ALTER TABLE many SET (parallel_workers = 2);
ANALYZE many;
SELECT part, cdp.cardinality(cdp.audience_agg(id)) = count(DISTINCT id) AS same, cdp.audience_agg(id)::bigint[] = array_agg(DISTINCT id ORDER BY id) AS members FROM many GROUP BY part ORDER BY part;
SET max_parallel_workers_per_gather = 0;
CREATE TABLE serial AS SELECT cdp.audience_agg(id) AS a FROM many;
SET max_parallel_workers_per_gather = 2;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS off) SELECT cdp.audience_agg(id) FROM many;
SELECT (SELECT cdp.audience_agg(id) FROM many) = a AS same, cdp.cardinality(a) FROM serial;
SELECT array_agg(cdp.cardinality(c)) AS growing FROM (SELECT cdp.audience_agg(id) OVER (ORDER BY id) AS c FROM (SELECT generate_series(1, 5)::bigint) t (id)) w;

-- Stored out of line, and compressed, it is the same.
CREATE TABLE kept (a cdp.audience);
INSERT INTO kept SELECT a FROM serial;
SELECT pg_column_size(k.a) > 10000 AS large, k.a = s.a AS same, k.a @> 7919 AS has FROM kept k, serial s;

--
-- ~: everybody the caller may see who is not in it
--
SELECT ~ '{}'::cdp.audience;
SELECT count(*) > 0 AS initialised FROM cdp.init();
SELECT cdp.define_purpose('ads') > 0 AS purpose;
SELECT count(cdp.identify('user_id:u' || i, '{}')) FROM generate_series(1, 6) i;
SELECT count(cdp.set_consent('user_id:u' || i, 'ads', 'granted')) FROM generate_series(1, 3) i;
SELECT cdp.cardinality(~ '{}'::cdp.audience) AS everybody, cdp.cardinality(~ (SELECT cdp.audience_agg(cdp.resolve('user_id:u' || i)) FROM generate_series(1, 2) i)) AS without_two;
CREATE ROLE regress_audience_analyst;
SELECT cdp.permit('regress_audience_analyst', 'ads');
SET ROLE regress_audience_analyst;
SELECT cdp.cardinality(~ '{}'::cdp.audience) AS whom_i_may_see;
-- a value is a value: nobody needs rights for its operators
SELECT '{1,2}'::cdp.audience & '{2,3}' AS both;
RESET ROLE;
DROP OWNED BY regress_audience_analyst;
DROP ROLE regress_audience_analyst;

-- many groups at once, hashed, in memory and spilling: as sorted
SET work_mem = '64kB';
SELECT count(*) AS groups, count(*) FILTER (WHERE a <> b OR cardinality(c) <> cdp.cardinality(a)) AS different
FROM (SELECT i % 3000 AS g, cdp.audience_agg(i::bigint) AS a FROM generate_series(1, 12000) i GROUP BY 1) x
JOIN (SELECT g, cdp.audience_agg(i) AS b, array_agg(DISTINCT i) AS c FROM (SELECT i % 3000 AS g, i::bigint AS i FROM generate_series(1, 12000) i ORDER BY 1) s GROUP BY 1) y USING (g);
SET enable_sort = off;
SET work_mem = '64MB';
SELECT count(*) AS groups, sum(cdp.cardinality(a)) AS ids, sum(cdp.cardinality(m)) AS identifiers
FROM (SELECT i % 20000 AS g, cdp.audience_agg(i::bigint) AS a, cdp.identity_merge(('n:' || i)::cdp.identifier) AS m FROM generate_series(1, 60000) i GROUP BY 1) x;
RESET enable_sort;
RESET work_mem;

-- Functions are what they say: none that opens bitmaps is leakproof.
SELECT string_agg(proname, ' ' ORDER BY proname) AS leakproof FROM pg_proc WHERE pronamespace = 'cdp'::regnamespace AND proleakproof AND (proname LIKE 'audience%' OR (proname = 'cardinality' AND proargtypes[0] = 'cdp.audience'::regtype));
\c :main
SET client_min_messages = warning;
DROP DATABASE regress_cdp_audience;
