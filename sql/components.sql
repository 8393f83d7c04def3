-- Connected components: shapes, types, what a query may be, rights, limits,
-- disk, and random graphs against an oracle in plain SQL.
SET client_min_messages = warning;
\set SHOW_CONTEXT never
SET search_path = public;

-- shapes
CREATE FUNCTION parts(query text) RETURNS TABLE (component bigint, nodes bigint[]) LANGUAGE sql AS $$
	SELECT c.component, array_agg(c.node ORDER BY c.node) FROM cdp.connected_components(query) c GROUP BY c.component ORDER BY 1 $$;
SELECT 'chain', * FROM parts('VALUES (1,2),(2,3),(3,4),(5,4)')
UNION ALL SELECT 'chain backwards', * FROM parts('VALUES (4,3),(3,2),(2,1)')
UNION ALL SELECT 'star', * FROM parts('VALUES (9,1),(9,2),(9,3),(9,4)')
UNION ALL SELECT 'cycle', * FROM parts('VALUES (1,2),(2,3),(3,1)')
UNION ALL SELECT 'two', * FROM parts('VALUES (1,2),(3,4)')
UNION ALL SELECT 'two that meet at last', * FROM parts('VALUES (1,2),(3,4),(5,6),(6,4),(4,2)')
UNION ALL SELECT 'node alone', * FROM parts('VALUES (7,7)')
UNION ALL SELECT 'nulls', * FROM parts('VALUES (1,NULL),(NULL,2),(NULL,NULL),(2,3),(4,NULL),(4,4)')
UNION ALL SELECT 'twice', * FROM parts('VALUES (1,2),(1,2),(2,1),(1,1)')
UNION ALL SELECT 'negative', * FROM parts('VALUES (-1,1),(0,-5),(-9223372036854775808,-5)')
UNION ALL SELECT 'extremes', * FROM parts('VALUES (9223372036854775807,-9223372036854775808),(0,9223372036854775807),(1,NULL)')
UNION ALL SELECT 'small integers', * FROM parts('VALUES (1::int2,2::int8),(2::int2,40000000000)');
SELECT * FROM cdp.connected_components('SELECT 1, 2 WHERE false');
SELECT * FROM cdp.connected_components('VALUES (NULL::int, NULL::int)');
SELECT * FROM cdp.connected_components('VALUES (3,2),(10,1),(2,7)', ordered => true);
SELECT * FROM cdp.connected_components('VALUES (3,2),(10,1),(2,7)', true) LIMIT 1;
SELECT * FROM cdp.connected_components('SELECT 1, 2 WHERE false', true);

-- wherever a set may stand; a query in a query; a statement run again
SELECT cdp.connected_components('VALUES (1,2)');
SELECT q, c.* FROM unnest('{"VALUES (1,2)","VALUES (3,2)"}'::text[]) q, cdp.connected_components(q) c ORDER BY 1, 2;
SELECT * FROM cdp.connected_components('SELECT node, component - 100 FROM cdp.connected_components(''VALUES (1,2),(3,4)'')') ORDER BY 1;
PREPARE again(text) AS SELECT count(*), min(component) FROM cdp.connected_components($1);
EXECUTE again('VALUES (1,2)');
EXECUTE again('VALUES (3,4),(5,6)');
DEALLOCATE again;
BEGIN;
CREATE TEMP TABLE mine (a int, b int) ON COMMIT DROP;
INSERT INTO mine VALUES (1, 2);
SELECT count(*) AS own_writes_are_seen FROM cdp.connected_components('SELECT a, b FROM mine');
COMMIT;
DO $$
DECLARE
	n int := 0;
	r record;
BEGIN
	FOR i IN 1..3 LOOP
		FOR r IN SELECT * FROM cdp.connected_components(format('SELECT g, g + %s FROM generate_series(1, 10) g', i)) LOOP
			n := n + 1;
		END LOOP;
	END LOOP;
	RAISE WARNING 'rows: %', n;
END $$;

-- other types: the type of the sample counts, its value does not
SELECT * FROM cdp.connected_components($$ VALUES ('email:a@b.c'::cdp.identifier, 'cookie:2'::cdp.identifier), ('cookie:2', 'cookie:1'), ('crm:9', NULL) $$, NULL::cdp.identifier, true);
SELECT * FROM cdp.connected_components($$ VALUES ('00000000-0000-0000-0000-00000000000b'::uuid, '00000000-0000-0000-0000-00000000000a'::uuid), ('00000000-0000-0000-0000-00000000000c', '00000000-0000-0000-0000-00000000000b') $$, '00000000-0000-0000-0000-000000000000'::uuid, true);
SELECT * FROM cdp.connected_components('VALUES (1,2),(3,2)', NULL::bigint, true);
SELECT pg_typeof(node), pg_typeof(component), * FROM cdp.connected_components('VALUES (2::int2,1::int2)', 5::int2, ordered => true);
SELECT pg_typeof(node), pg_typeof(component), * FROM cdp.connected_components('VALUES (2::int2,-1),(2,7)', NULL::int, true);
SELECT node, component FROM cdp.connected_components('VALUES (1.0,2.0),(1e3,2000.0),(2.00,-5.50)', NULL::numeric, true);
SELECT * FROM cdp.connected_components($$ VALUES ('NaN'::float8,'-0'::float8),('0','1'),('2','NaN') $$, NULL::float8, true);
SELECT * FROM cdp.connected_components($$ VALUES ('2025-01-02'::date,'2025-01-01'::date),('infinity',NULL) $$, NULL::date, true);
SELECT * FROM cdp.connected_components($$ VALUES ('{1,2}'::int[],'{1}'::int[]),('{1}','{}') $$, NULL::int[], true);
SELECT * FROM cdp.connected_components($$ VALUES (true,false) $$, NULL::boolean, true);
SELECT * FROM cdp.connected_components($$ VALUES ('b'::"char",'a'::"char") $$, NULL::"char", true);
SELECT * FROM cdp.connected_components($$ VALUES ('x'::name,'y'::name) $$, NULL::name, true);
SELECT * FROM cdp.connected_components($$ VALUES ('one'::varchar,'two'::text) $$, NULL::text, true);
SELECT length(node), length(component) FROM cdp.connected_components($$ VALUES (repeat('x', 100000), repeat('y', 100)), (repeat('x', 100000), 'z'), (repeat('y', 100), repeat('ab', 5000)) $$, NULL::text, true);
SELECT count(*), count(DISTINCT component) FROM cdp.connected_components($$ SELECT ''::text, NULL::text UNION ALL SELECT NULL, NULL $$, NULL::text);
-- long values in a table, compressed and out of line; the same ones made in the query
CREATE TABLE long_values (a text, b text);
ALTER TABLE long_values ALTER a SET STORAGE EXTERNAL;
INSERT INTO long_values SELECT repeat('a', 5000), repeat('b' || i, 5000) FROM generate_series(1, 3) i;
SELECT count(*), count(DISTINCT component) FROM cdp.connected_components($$ TABLE long_values UNION ALL SELECT repeat('b2', 5000), 'short' $$, NULL::text);

-- the collation of the columns says which is smallest, and what is equal
SELECT * FROM cdp.connected_components($$ SELECT a COLLATE "C", b COLLATE "C" FROM (VALUES ('a','B'),('B','c')) v (a, b) $$, NULL::text, true);
SELECT * FROM cdp.connected_components($$ SELECT 'a' COLLATE "C", 'B' COLLATE "POSIX" $$, NULL::text);
SELECT count(*) > 0 AS icu FROM pg_collation WHERE collprovider = 'i' \gset
\if :icu
CREATE COLLATION caseless (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
\else
CREATE COLLATION caseless FROM "C";
\endif
SELECT CASE WHEN :'icu' THEN component || ' ' || nodes ELSE 'a 2' END AS smallest_and_nodes
FROM (SELECT lower(component COLLATE "C") AS component, count(*) AS nodes FROM cdp.connected_components($$ SELECT a COLLATE caseless, b COLLATE caseless FROM (VALUES ('a','B'),('A','b'),('b','A')) v (a, b) $$, NULL::text) GROUP BY 1) s;

-- domains: the constraint of the result's type is not checked here, so the columns must have it
CREATE DOMAIN positive AS bigint CHECK (VALUE > 0);
SELECT * FROM cdp.connected_components('VALUES (1::positive,2::positive)', NULL::positive, true);
SELECT * FROM cdp.connected_components('VALUES (-1,2)', NULL::positive);
SELECT * FROM cdp.connected_components('VALUES (1::positive,2::positive)') ORDER BY 1;

-- refused: columns and types
SELECT * FROM cdp.connected_components('SELECT 1');
SELECT * FROM cdp.connected_components('SELECT 1, 2, 3');
SELECT * FROM cdp.connected_components('SELECT');
SELECT * FROM cdp.connected_components('SELECT 1, ''a''::text');
SELECT * FROM cdp.connected_components('SELECT 1.5, 2');
SELECT * FROM cdp.connected_components('SELECT 1, 2', NULL::uuid);
SELECT * FROM cdp.connected_components('SELECT 1, 2::bigint', NULL::int);
SELECT * FROM cdp.connected_components('SELECT point(1,2), point(2,3)', NULL::point);
SELECT * FROM cdp.connected_components('SELECT ''{}''::json, ''{}''::json', NULL::json);
SELECT * FROM cdp.connected_components('SELECT ''1''::xid, ''2''::xid', NULL::xid);
SELECT * FROM cdp.connected_components(NULL);
SELECT * FROM cdp.connected_components(NULL, NULL::uuid);
SELECT * FROM cdp.connected_components('VALUES (2,1)', NULL::int, NULL::boolean) ORDER BY 1;
-- refused: what does more than read
CREATE TABLE written (a int, b int);
INSERT INTO written VALUES (1, 2);
SELECT * FROM cdp.connected_components('');
SELECT * FROM cdp.connected_components('nonsense');
SELECT * FROM cdp.connected_components('SELECT 1, $1');
SELECT * FROM cdp.connected_components('SELECT 1, 2; SELECT 3, 4');
SELECT * FROM cdp.connected_components('INSERT INTO written VALUES (3, 4)');
SELECT * FROM cdp.connected_components('INSERT INTO written VALUES (3, 4) RETURNING a, b');
SELECT * FROM cdp.connected_components('WITH w AS (DELETE FROM written RETURNING *) SELECT a, b FROM w');
SELECT * FROM cdp.connected_components('SELECT a, b FROM written FOR UPDATE');
SELECT * FROM cdp.connected_components('SELECT a, b FROM (SELECT * FROM written FOR SHARE) s');
SELECT * FROM cdp.connected_components('SELECT a, b INTO copied FROM written');
SELECT * FROM cdp.connected_components('CREATE TABLE copied AS SELECT 1');
SELECT * FROM cdp.connected_components('EXPLAIN SELECT 1, 2');
SELECT * FROM cdp.connected_components('COPY written TO STDOUT');
SELECT * FROM cdp.connected_components('COMMIT');
SELECT * FROM cdp.connected_components('FETCH ALL FROM c');
SELECT * FROM written;
-- errors of the query are its own
SELECT * FROM cdp.connected_components('SELECT 1, 1/0');
SELECT * FROM cdp.connected_components('SELECT i, 100 / (3000 - i) FROM generate_series(1, 5000) i');
SELECT * FROM cdp.connected_components('SELECT a, b FROM nowhere');
-- a function may do what it does
CREATE FUNCTION noted(i int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN INSERT INTO written VALUES (i, i); RETURN i; END $$;
SELECT count(*) FROM cdp.connected_components('SELECT noted(i), 1 FROM generate_series(5, 7) i');
SELECT count(*) FROM written;

-- with the caller's rights, and policies
CREATE ROLE regress_cdp_components;
CREATE TABLE secret (a int, b int, owner name);
INSERT INTO secret VALUES (1, 2, 'regress_cdp_components'), (3, 4, 'other');
SET ROLE regress_cdp_components;
SELECT count(*) FROM cdp.connected_components('VALUES (1,2)');
SELECT * FROM cdp.connected_components('SELECT a, b FROM secret');
SELECT * FROM cdp.connected_components('SELECT a, b FROM cdp_data.identity_edge');
SELECT count(*) FROM cdp.connected_components('SELECT profile_id, profile_id FROM cdp.identifiers');
RESET ROLE;
GRANT SELECT ON secret TO regress_cdp_components;
ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON secret USING (owner = current_user);
SET ROLE regress_cdp_components;
SELECT * FROM cdp.connected_components('SELECT a, b FROM secret') ORDER BY 1;
RESET ROLE;
SELECT count(*) FROM cdp.connected_components('SELECT a, b FROM secret');
DROP TABLE secret;
DROP ROLE regress_cdp_components;

-- an oracle: each pass gives a node the smallest label around it, until nothing changes
CREATE FUNCTION oracle(query text) RETURNS TABLE (node bigint, component bigint) LANGUAGE plpgsql AS $$
DECLARE
	changed bigint;
BEGIN
	CREATE TEMP TABLE edge (v bigint, w bigint);
	EXECUTE 'INSERT INTO edge ' || query;
	CREATE TEMP TABLE label AS SELECT DISTINCT x AS v, x AS l FROM edge, unnest(ARRAY[edge.v, edge.w]) x WHERE x IS NOT NULL;
	LOOP
		UPDATE label SET l = s.l
		FROM (SELECT e.v, min(b.l) AS l FROM (SELECT v, w FROM edge UNION ALL SELECT w, v FROM edge) e JOIN label b ON b.v = e.w GROUP BY e.v) s
		WHERE s.v = label.v AND s.l < label.l;
		GET DIAGNOSTICS changed = ROW_COUNT;
		EXIT WHEN changed = 0;
	END LOOP;
	RETURN QUERY SELECT * FROM label;
	DROP TABLE edge, label;
END $$;
-- seed, edges, ids, how far apart: arrays and tables, sparse and tight, with nulls
CREATE TABLE graph (seed int, edges int, ids int, gap bigint);
INSERT INTO graph VALUES (1, 300, 1000, 1), (2, 1000, 1000, 1), (3, 3000, 10000, 1), (4, 3000, 3000, 1000003),
	(5, 2000, 3000, 40000000000000), (6, 500, 3000, 7), (7, 5000, 6000, 50), (8, 20, 30, 1);
CREATE FUNCTION edges_of(g graph) RETURNS text LANGUAGE sql AS $$
	SELECT format('SELECT nullif(abs(hashint8extended(i, %1$s)) %% %3$s, 17) * %4$s - 500, abs(hashint8extended(i, -%1$s)) %% (1 + i %% %3$s) * %4$s - 500 FROM generate_series(1::bigint, %2$s) i', g.seed, g.edges, g.ids, g.gap) $$;
CREATE FUNCTION differences(query text) RETURNS TABLE (side text, node bigint, component bigint) LANGUAGE plpgsql AS $$
BEGIN
	CREATE TEMP TABLE a AS SELECT * FROM cdp.connected_components(query);
	CREATE TEMP TABLE b AS SELECT * FROM oracle(query);
	RETURN QUERY (SELECT 'too much', * FROM a EXCEPT ALL SELECT 'too much', * FROM b)
		UNION ALL (SELECT 'missing', * FROM b EXCEPT ALL SELECT 'missing', * FROM a);
	DROP TABLE a, b;
END $$;
SELECT seed, d.* FROM graph g, differences(edges_of(g)) d;
SELECT seed, count(*) AS nodes, count(DISTINCT component) > 1 AS several FROM graph g, cdp.connected_components(edges_of(g)) GROUP BY seed ORDER BY seed;
-- the same partition as text: every type takes the same way through the dictionary
SELECT seed, count(*) FROM (
	(SELECT seed, x.node::bigint, min(x.node::bigint) OVER (PARTITION BY seed, x.component)
	FROM graph g, cdp.connected_components(format('SELECT a::text, b::text FROM (%s) s (a, b)', edges_of(g)), NULL::text) x)
	EXCEPT ALL
	SELECT seed, y.* FROM graph g, cdp.connected_components(edges_of(g)) y) s GROUP BY seed;
SELECT seed, count(*) AS not_the_smallest FROM graph g, cdp.connected_components(format('SELECT a::text, b::text FROM (%s) s (a, b)', edges_of(g)), NULL::text) x
GROUP BY seed, component HAVING min(node) <> component;

-- more than memory holds: the same result, with temporary files
-- thousands of small components whose nodes are in no order: 200003 is prime, so the products are a permutation
CREATE TABLE big AS
SELECT (i % 9000 * 20 + abs(hashint8extended(i, 1)) % 10) * 7919 % 200003 * 1000003 AS a,
	CASE WHEN i % 5 <> 0 THEN (i % 9000 * 20 + abs(hashint8extended(i, 2)) % 20) * 7919 % 200003 * 1000003 END AS b FROM generate_series(1::bigint, 120000) i;
SET maintenance_work_mem = '64MB';
CREATE TABLE in_memory AS SELECT * FROM cdp.connected_components('TABLE big');
CREATE TABLE in_memory_text AS SELECT * FROM cdp.connected_components('SELECT a::text, b::text FROM big', NULL::text);
CREATE TABLE in_memory_float AS SELECT * FROM cdp.connected_components('SELECT a::float8, b::float8 FROM big', NULL::float8);
SELECT count(*), count(DISTINCT component) FROM in_memory;
SELECT count(*), count(DISTINCT component) FROM in_memory_text;
SELECT * FROM differences('SELECT a, b FROM big WHERE a % 10 = 3');
SET maintenance_work_mem = '1MB';
(TABLE in_memory EXCEPT ALL SELECT * FROM cdp.connected_components('TABLE big')) LIMIT 3;
(TABLE in_memory_text EXCEPT ALL SELECT * FROM cdp.connected_components('SELECT a::text, b::text FROM big', NULL::text)) LIMIT 3;
(TABLE in_memory_float EXCEPT ALL SELECT * FROM cdp.connected_components('SELECT a::float8, b::float8 FROM big', NULL::float8)) LIMIT 3;
SELECT count(*), count(DISTINCT component) FROM cdp.connected_components('TABLE big');
SELECT count(*) AS not_in_order FROM (SELECT (component, node) < lag((component, node)) OVER (ROWS UNBOUNDED PRECEDING) AS wrong FROM cdp.connected_components('TABLE big', true)) s WHERE wrong;
SELECT count(*) AS not_in_order FROM (SELECT (component, node) < lag((component, node)) OVER (ROWS UNBOUNDED PRECEDING) AS wrong FROM cdp.connected_components('SELECT a::text, b::text FROM big', NULL::text, true)) s WHERE wrong;
-- files were there, and with memory there are none
SET work_mem = '64MB';
SET temp_file_limit = '100kB';
\set VERBOSITY sqlstate
SELECT count(*) FROM cdp.connected_components('TABLE big');
SELECT count(*) FROM cdp.connected_components('SELECT a::text, b::text FROM big', NULL::text);
\set VERBOSITY default
SET maintenance_work_mem = '64MB';
SELECT count(*) FROM cdp.connected_components('TABLE big');
SELECT count(*) FROM cdp.connected_components('SELECT a::text, b::text FROM big', NULL::text);
RESET temp_file_limit;
-- ids in a tight range need 4 bytes each: no files with a megabyte either
SET maintenance_work_mem = '1MB';
SET temp_file_limit = '100kB';
SELECT count(*), count(DISTINCT component) FROM cdp.connected_components('SELECT i, i - i % 2 FROM generate_series(1, 200000) i');
RESET temp_file_limit;
-- and if even the numbers of the nodes do not fit, the hint is enough
SELECT count(*) FROM cdp.connected_components('SELECT i * 1000003, i * 1000003 FROM generate_series(1::bigint, 300000) i');
SET maintenance_work_mem = '2MB';
SELECT count(*) FROM cdp.connected_components('SELECT i * 1000003, i * 1000003 FROM generate_series(1::bigint, 300000) i');
SET maintenance_work_mem = '1MB';
SELECT count(*) FROM cdp.connected_components('SELECT repeat(i::text, 1000), NULL FROM generate_series(1, 6000) i', NULL::text);
SET maintenance_work_mem = '5MB';
SELECT count(*) FROM cdp.connected_components('SELECT repeat(i::text, 1000), NULL FROM generate_series(1, 6000) i', NULL::text);
RESET maintenance_work_mem;
RESET work_mem;

-- can be stopped
SET statement_timeout = '200ms';
SELECT count(*) FROM cdp.connected_components('SELECT a.i * 7919 + b.i, a.i FROM (SELECT generate_series(1, 100000) i) a, (SELECT generate_series(1, 100000) i OFFSET 0) b');
RESET statement_timeout;
-- the setting (t/007_components.pl sees the notices)
\set VERBOSITY sqlstate
SET cdp.progress_interval = -1;
\set VERBOSITY default
SHOW cdp.progress_interval;

-- one person known by 34 ids on four sites: identifiers in each row of a log (see test/data/README.md)
CREATE TABLE visits (td_client_id text, td_global_id text);
INSERT INTO visits VALUES
	('aaa_001', '3rd_001'), ('aaa_001', '3rd_002'), ('aaa_001', '3rd_003'), ('aaa_001', '3rd_004'), (NULL, NULL),
	('aaa_002', '3rd_009'), ('aaa_002', '3rd_010'), ('aaa_003', '3rd_013'), ('aaa_003', '3rd_014'), ('aaa_003', '3rd_015'),
	('aaa_003', '3rd_016'), ('xxx_001', '3rd_004'), ('xxx_001', '3rd_005'), ('xxx_002', '3rd_008'), ('xxx_002', '3rd_009'),
	('xxx_003', '3rd_012'), ('xxx_003', '3rd_013'), ('xxx_004', '3rd_016'), ('xxx_004', '3rd_017'), ('yyy_001', '3rd_001'),
	('yyy_002', '3rd_005'), ('yyy_002', '3rd_006'), ('yyy_003', '3rd_010'), ('yyy_003', '3rd_011'), ('yyy_004', '3rd_015'),
	('yyy_005', '3rd_018'), ('zzz_001', '3rd_002'), ('zzz_003', '3rd_006'), ('zzz_003', '3rd_007'), ('zzz_003', '3rd_008'),
	('zzz_004', '3rd_011'), ('zzz_004', '3rd_012'), ('zzz_005', '3rd_015'), ('zzz_005', '3rd_017'), ('zzz_005', '3rd_018');
SELECT component, count(*), min(node::text), max(node::text) FROM cdp.connected_components(
	'SELECT cdp.identifier(''td_client_id'', td_client_id), cdp.identifier(''td_global_id'', td_global_id) FROM visits', NULL::cdp.identifier) GROUP BY component;
-- without the one visit that the chain hangs on
SELECT component, count(*) FROM cdp.connected_components(
	'SELECT cdp.identifier(''td_client_id'', td_client_id), cdp.identifier(''td_global_id'', td_global_id) FROM visits WHERE (td_client_id, td_global_id) <> (''xxx_002'', ''3rd_008'')', NULL::cdp.identifier) GROUP BY component ORDER BY component;

-- the aggregate: per group, sorted, whatever the order of the rows
SELECT g, cdp.connected_components_agg(a, b) FROM (VALUES (1, 3, 2), (1, 2, 1), (1, 9, NULL), (2, NULL, 5), (3, NULL, NULL), (4, -9223372036854775808, 9223372036854775807)) v (g, a, b) GROUP BY g ORDER BY g;
SELECT cdp.connected_components_agg(a, b) FROM (VALUES (1, 2)) v (a, b) WHERE false;
SELECT g, c.* FROM (SELECT g, cdp.connected_components_agg(a, b) AS parts FROM (VALUES ('x', 3, 2), ('y', 2, 1), ('x', 2, 7)) v (g, a, b) GROUP BY g) s, unnest(parts) c ORDER BY g, node;
SELECT i, cdp.connected_components_agg(i, i / 2) OVER (ORDER BY i) FROM generate_series(1, 3) i;
SELECT cdp.connected_components_agg(a, b ORDER BY a DESC) = cdp.connected_components_agg(a, b ORDER BY b) AS any_order FROM big WHERE a < 5000000000 OR b < 5000000000;
SELECT seed, count(*) FROM (
	SELECT seed, c.* FROM graph g, LATERAL (SELECT cdp.connected_components_agg(a, b) AS parts FROM big WHERE a % (seed * 3) = 1) s, unnest(parts) c
	EXCEPT ALL
	SELECT seed, c.* FROM graph g, cdp.connected_components(format('SELECT a, b FROM big WHERE a %% (%s * 3) = 1', seed)) c) s GROUP BY seed;
-- the same by parallel workers
CREATE TABLE serial AS SELECT a % 7 AS g, cdp.connected_components_agg(a, b) AS parts FROM big GROUP BY 1;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
EXPLAIN (COSTS OFF) SELECT cdp.connected_components_agg(a, b) FROM big;
SELECT count(*) AS different FROM serial FULL JOIN (SELECT a % 7 AS g, cdp.connected_components_agg(a, b) AS parts FROM big GROUP BY 1) p USING (g) WHERE serial.parts IS DISTINCT FROM p.parts;
SELECT cdp.connected_components_agg(a, b) = (SELECT array_agg((node, component)::cdp.node_component ORDER BY component, node) FROM in_memory) AS same FROM big;
-- a query that runs in parallel inside of the function
SELECT count(*), count(DISTINCT component) FROM cdp.connected_components('SELECT a, b FROM big');
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
RESET max_parallel_workers_per_gather;
SET maintenance_work_mem = '1MB';
SELECT cdp.connected_components_agg(a, b) FROM big;
RESET maintenance_work_mem;

DROP TABLE serial, big, in_memory, in_memory_text, in_memory_float, visits, graph, written, long_values CASCADE;
DROP FUNCTION parts(text), oracle(text), differences(text), noted(int);
DROP COLLATION caseless;
DROP DOMAIN positive;
