-- Types cdp.identifier and cdp.identity_set: input, normal form, operators,
-- indexes, aggregate.  Needs a database in UTF-8.
SET search_path = public, cdp;
SET client_min_messages = warning;

-- identifier: normal form
SELECT t, t::cdp.identifier AS identifier
FROM unnest(ARRAY[
	'email: Ada@Example.COM ', 'EMAIL:ada@example.com', 'email:No At Sign',
	'email:@Domain', 'email:Local@', 'email:"A@B"@C.d',
	'phone:+33 (0)1.23-45/67', 'phone:+33 1.23-45/67 89', 'phone:+1 234',
	'phone:+123456789012345', 'phone:+1234567890123456', 'phone:01 23 45',
	'Cookie: Mixed Case ', 'x:a:b', '_a.b-c9:1', 'x:{}",\']) AS t;
-- a domain outside ASCII: full-width letters, capitals, a decomposed letter
SELECT cdp.identifier('email', U&'Ada@\FF25\FF38\FF21\FF2D\FF30\FF2C\FF25.com');
SELECT cdp.identifier('email', U&'Ada@M\00DCLLER.de') = cdp.identifier('email', U&'ada@mu\0308ller.DE') AS latin,
	cdp.identifier('email', U&'a@\0391\0398\0397\039D\0391.gr') = cdp.identifier('email', U&'a@\03B1\03B8\03B7\03BD\03B1.gr') AS greek,
	cdp.identifier('email', U&'a@\041C\041E\0421.\0440\0444') = cdp.identifier('email', U&'a@\043C\043E\0441.\0440\0444') AS cyrillic,
	cdp.identifier('email', U&'\00C9@x.de') = cdp.identifier('email', U&'\00E9@x.de') AS local_part_is_kept;
-- the no-break space becomes a blank, which is trimmed
SELECT '[' || cdp.identifier('email', U&'a@b.c\00A0')::text || ']' AS trimmed;
-- the normal form of a normal form is itself
SELECT i FROM (SELECT cdp.identifier('email', U&'x@\FF2A\030C' || chr(n) || '.com') AS i
	FROM generate_series(160, 12000) AS n WHERE n NOT BETWEEN 55296 AND 57343) AS s
WHERE i::text::cdp.identifier <> i;
SELECT cdp.namespace_of(i), cdp.value_of(i) FROM (VALUES (cdp.identifier('X', ' a:b '))) AS v (i);
SELECT cdp.identifier(NULL, 'a'), cdp.namespace_of(NULL), NULL::text::cdp.identifier;

-- identifier: refused, and the value is never shown
SELECT 'secret'::cdp.identifier;
SELECT ''::cdp.identifier;
SELECT ':secret'::cdp.identifier;
SELECT '9x:secret'::cdp.identifier;
SELECT 'a b:secret'::cdp.identifier;
SELECT 'x:'::cdp.identifier;
SELECT E'x: \t\n '::cdp.identifier;
SELECT (repeat('n', 64) || ':v')::cdp.identifier;
SELECT length((repeat('N', 63) || ':' || repeat('v', 512))::cdp.identifier::text);
SELECT ('x:' || repeat('v', 513))::cdp.identifier;
SELECT ('x:' || repeat('v', 5000))::cdp.identifier;
SELECT cdp.identifier('email', 'a@' || repeat(U&'\FDFA', 40));
SELECT cdp.identifier('x:y', 'secret');
SELECT cdp.identifier('', 'secret');
SELECT length(cdp.identifier('email', 'a@' || repeat(U&'\FF21', 510))::text) AS shrinks_to_the_limit;

-- identifier: order, hash, indexes
SELECT i FROM unnest('{b:1,a:10,a:1,a:2,"a:1 "}'::cdp.identifier[]) AS i ORDER BY i;
SELECT a < b, a <= b, a = b, a <> b, a >= b, a > b, identifier_cmp(a, b)
FROM (VALUES ('a:1'::cdp.identifier, 'a:10'::cdp.identifier), ('a:1', 'A: 1')) AS v (a, b);
SELECT count(DISTINCT i), min(identifier_hash(i)) = max(identifier_hash(i)) AS same_hash,
	min(identifier_hash_extended(i, 7)) = max(identifier_hash_extended(i, 7)) AS same_hash_extended
FROM unnest('{email:a@B,EMAIL:A@b}'::cdp.identifier[]) AS i;
SELECT identifier_hash('a:1')::bigint & 4294967295 = identifier_hash_extended('a:1', 0) & 4294967295 AS hashes_agree;
SELECT encode(cdp.identifier_send('x:ab'), 'escape');

CREATE TABLE identifier_test (i cdp.identifier);
INSERT INTO identifier_test SELECT cdp.identifier(chr(97 + n % 3), md5(n::text)) FROM generate_series(1, 2000) AS n;
INSERT INTO identifier_test SELECT 'email:x' || n || '@y.z' FROM generate_series(1, 10) AS n;
CREATE UNIQUE INDEX identifier_test_btree ON identifier_test (i);
CREATE INDEX identifier_test_hash ON identifier_test USING hash (i);
ANALYZE identifier_test;
-- our order is that of text in the C collation
SELECT count(*) FROM (SELECT row_number() OVER (ORDER BY i) AS a,
	row_number() OVER (ORDER BY i::text COLLATE "C") AS b FROM identifier_test) AS s WHERE a <> b;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SELECT i FROM identifier_test WHERE i = 'Email:X3@y.z';
SELECT count(*) FROM identifier_test WHERE i >= 'email:a' AND i < 'email:y';
DROP INDEX identifier_test_btree;
SELECT i FROM identifier_test WHERE i = 'Email:X3@y.z';
RESET enable_seqscan;
RESET enable_bitmapscan;
INSERT INTO identifier_test VALUES ('secret');
DROP TABLE identifier_test;

-- identity_set: text form
SELECT t, t::cdp.identity_set AS identities, cardinality(t::cdp.identity_set) AS n
FROM unnest(ARRAY[
	'{}', ' { } ', '{x:1}', 'x:1', ' x:1 ', '{b:2,a:1,b:2, A:1 }', '{"x:a,b","x: c ",x:d\,e}',
	'{"x:q\"\\","x:{}",x:a b,x:\{}', '{x:null,"x:NULL"}']) AS t;
SELECT '{email:B@x.y,email: b@X.Y}'::cdp.identity_set;
SELECT NULL::cdp.identity_set, NULL::text[]::cdp.identity_set, cardinality(NULL::cdp.identity_set);
SELECT '{a:1'::cdp.identity_set;
SELECT '{'::cdp.identity_set;
SELECT ''::cdp.identity_set;
SELECT 'secret'::cdp.identity_set;
SELECT '{a:1}}'::cdp.identity_set;
SELECT '{a:1,}'::cdp.identity_set;
SELECT '{,a:1}'::cdp.identity_set;
SELECT '{a:1,null}'::cdp.identity_set;
SELECT '{a:1,"null"}'::cdp.identity_set;
SELECT '{a:1,{b:1}}'::cdp.identity_set;
SELECT '{a:b"c"}'::cdp.identity_set;
SELECT '{"a:b"c}'::cdp.identity_set;
SELECT '{"a:b'::cdp.identity_set;
SELECT '{"a:b\'::cdp.identity_set;
SELECT '{a:b\'::cdp.identity_set;
SELECT '{a:1,secret}'::cdp.identity_set;
SELECT '{a:1,9:secret}'::cdp.identity_set;
SELECT ('{a:1,b:' || repeat('s', 513) || '}')::cdp.identity_set;
SELECT encode(cdp.identity_set_send('{b:2,a:1}'), 'hex'), encode(cdp.identity_set_send('{}'), 'hex');

-- casts
SELECT ARRAY['b:2', 'A:1', 'b:2']::cdp.identity_set, '{}'::text[]::cdp.identity_set;
SELECT '{b:2,a:1}'::cdp.identity_set::text[], '{}'::cdp.identity_set::text[];
SELECT 'a:1'::cdp.identifier::cdp.identity_set;
SELECT ARRAY['a:1', NULL]::cdp.identity_set;
SELECT ARRAY['a:1', 'secret']::cdp.identity_set;
SELECT identifiers_of('{b:2,a:1,c:3}'), identifiers_of('{a:1}') LIMIT 2;
SELECT count(*) FROM identifiers_of('{}');
SELECT count(*) FROM identifiers_of(NULL);

-- operators
SELECT 'b:1'::cdp.identifier || 'a:1'::cdp.identifier AS both, 'a:1'::cdp.identifier || 'a:1'::cdp.identifier AS one,
	'{b:1}'::cdp.identity_set || 'a:1'::cdp.identifier AS added, 'a:1'::cdp.identifier || '{a:1,b:1}'::cdp.identity_set AS there,
	'{c:1,a:1}'::cdp.identity_set || '{b:1,a:1}' AS union, '{}'::cdp.identity_set || '{}' AS empty;
SELECT '{a:1,b:1,c:1}'::cdp.identity_set - '{b:1,d:1}'::cdp.identity_set AS minus,
	'{a:1,b:1}'::cdp.identity_set - 'a:1'::cdp.identifier AS removed, '{a:1}'::cdp.identity_set - 'b:1'::cdp.identifier AS same,
	'{}'::cdp.identity_set - '{}'::cdp.identity_set AS empty;
SELECT a, b, a && b AS overlaps, a @> b AS contains, a <@ b AS contained, a = b AS eq, a <> b AS ne,
	a < b AS lt, a <= b AS le, a > b AS gt, a >= b AS ge, identity_set_cmp(a, b) AS cmp
FROM (VALUES ('{}'::cdp.identity_set, '{}'::cdp.identity_set), ('{}', '{a:1}'), ('{a:1}', '{}'), ('{a:1}', '{a:1}'),
	('{a:1,b:1}', '{b:1}'), ('{a:1,b:1}', '{b:1,c:1}'), ('{a:1}', '{b:1}')) AS v (a, b);
SELECT '{a:1,b:1}'::cdp.identity_set @> 'b:1'::cdp.identifier AS has, 'c:1'::cdp.identifier <@ '{a:1,b:1}'::cdp.identity_set AS hasnt,
	NULL::cdp.identity_set && '{a:1}' AS unknown;

-- what is marked leakproof
SELECT p.proname, count(*) FROM pg_proc AS p JOIN pg_operator AS o ON o.oprcode = p.oid
WHERE o.oprnamespace = 'cdp'::regnamespace AND NOT p.proleakproof AND p.proname LIKE 'identi%' GROUP BY 1 ORDER BY 1;

-- properties over random sets; each of these returns no rows
CREATE TABLE identity_set_test AS
SELECT n AS id, coalesce(
	(SELECT array_agg(chr(97 + k % 3) || ':' || abs(hashint4(n * 31 + k)) % 40)
	 FROM generate_series(1, abs(hashint4(n)) % 9) AS k), '{}')::cdp.identity_set AS s
FROM generate_series(1, 3000) AS n;
INSERT INTO identity_set_test SELECT 4000 + n, NULL FROM generate_series(1, 3) AS n;
INSERT INTO identity_set_test SELECT 5000,
	(SELECT array_agg('a:' || k) FROM generate_series(1, 5000) AS k)::cdp.identity_set;
ANALYZE identity_set_test;
CREATE VIEW identity_set_pair AS
SELECT x.id, x.s AS a, y.s AS b FROM identity_set_test AS x JOIN identity_set_test AS y ON y.id = x.id % 3000 + 1
UNION ALL SELECT x.id, x.s, y.s FROM identity_set_test AS x JOIN identity_set_test AS y ON y.id = 5000 WHERE x.id % 50 = 0
UNION ALL SELECT x.id, y.s, x.s FROM identity_set_test AS x JOIN identity_set_test AS y ON y.id = 5000 WHERE x.id % 50 = 0;
SELECT count(*), count(*) FILTER (WHERE a && b), count(*) FILTER (WHERE a @> b) FROM identity_set_pair;

SELECT id FROM identity_set_pair WHERE NOT ((a || b) @> a AND (a || b) @> b AND b <@ (a || b));
SELECT id FROM identity_set_pair WHERE (a || b) <> (b || a) OR identity_set_hash(a || b) <> identity_set_hash(b || a)
	OR identity_set_hash_extended(a || b, 3) <> identity_set_hash_extended(b || a, 3);
SELECT id FROM identity_set_pair WHERE (a - b) && b OR ((a - b) || b) <> (a || b);
SELECT id FROM identity_set_pair WHERE (a && b) <> EXISTS (SELECT identifiers_of(a) INTERSECT SELECT identifiers_of(b));
SELECT id FROM identity_set_pair WHERE (a @> b) <> NOT EXISTS (SELECT identifiers_of(b) EXCEPT SELECT identifiers_of(a));
SELECT id FROM identity_set_pair WHERE (a @> b) <> ((a || b) = a) OR (a @> b AND b @> a) <> (a = b);
SELECT id FROM identity_set_pair WHERE (a || b)::text[] <> ARRAY(SELECT identifiers_of(a) UNION SELECT identifiers_of(b) ORDER BY 1)::text[];
SELECT id FROM identity_set_pair WHERE (a - b)::text[] <> ARRAY(SELECT identifiers_of(a) EXCEPT SELECT identifiers_of(b) ORDER BY 1)::text[];
SELECT id FROM identity_set_pair WHERE cardinality(a || b) <> cardinality(a) + cardinality(b - a);
SELECT id FROM identity_set_pair WHERE identity_set_cmp(a, b) <> -identity_set_cmp(b, a)
	OR identity_set_cmp(a, b) <> btarraycmp(a::text[] COLLATE "C", b::text[] COLLATE "C");
SELECT id FROM identity_set_pair, LATERAL identifiers_of(b) AS i
WHERE cardinality(b) < 100 AND ((a @> i) <> (a @> i::cdp.identity_set) OR (i <@ a) <> (a @> i) OR (a || i) <> (a || i::cdp.identity_set)
	OR (i || a) <> (a || i) OR (a - i) <> (a - i::cdp.identity_set));
SELECT id FROM identity_set_test WHERE s::text::cdp.identity_set <> s OR s::text[]::cdp.identity_set <> s;

-- equality by sorting and by hashing
SELECT (SELECT count(DISTINCT s) FROM identity_set_test) = (SELECT count(*) FROM (SELECT s FROM identity_set_test WHERE s IS NOT NULL GROUP BY s) AS g) AS same_groups;

-- GIN gives what a full scan gives
CREATE TABLE identity_set_query AS
SELECT id, s, (SELECT i FROM identifiers_of(s) AS i LIMIT 1) AS i FROM identity_set_test WHERE id % 20 = 0
UNION ALL SELECT 0, '{}', NULL;
CREATE FUNCTION identity_set_answers() RETURNS TABLE (op text, query int, id int)
LANGUAGE plpgsql SET search_path = pg_catalog, cdp, public AS $$
DECLARE
	q record;
BEGIN
	FOR q IN SELECT * FROM identity_set_query LOOP
		RETURN QUERY SELECT '&&', q.id, t.id FROM identity_set_test AS t WHERE t.s && q.s;
		RETURN QUERY SELECT '@>', q.id, t.id FROM identity_set_test AS t WHERE t.s @> q.s;
		RETURN QUERY SELECT '<@', q.id, t.id FROM identity_set_test AS t WHERE t.s <@ q.s;
		RETURN QUERY SELECT '=', q.id, t.id FROM identity_set_test AS t WHERE t.s = q.s;
		RETURN QUERY SELECT '@> one', q.id, t.id FROM identity_set_test AS t WHERE t.s @> q.i;
		RETURN QUERY SELECT '<@ one', q.id, t.id FROM identity_set_test AS t WHERE q.i <@ t.s;
		RETURN QUERY SELECT 'and', q.id, t.id FROM identity_set_test AS t WHERE t.s && q.s AND t.s @> q.i AND t.s <@ (q.s || '{a:1,b:2,c:3}'::cdp.identity_set);
	END LOOP;
END $$;
CREATE TABLE scan_answer AS SELECT * FROM identity_set_answers();
CREATE INDEX identity_set_test_gin ON identity_set_test USING gin (s);
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM identity_set_test WHERE s && '{a:1}';
EXPLAIN (COSTS OFF) SELECT id FROM identity_set_test WHERE 'a:1'::cdp.identifier <@ s;
CREATE TABLE index_answer AS SELECT * FROM identity_set_answers();
RESET enable_seqscan;
SELECT op, count(*) > 0 AS some, count(*) FILTER (WHERE query = 0) > 0 AS some_for_empty FROM scan_answer GROUP BY op ORDER BY op COLLATE "C";
(SELECT * FROM scan_answer EXCEPT ALL SELECT * FROM index_answer)
UNION ALL (SELECT * FROM index_answer EXCEPT ALL SELECT * FROM scan_answer);
-- also after changes, through the pending list and after a vacuum
INSERT INTO identity_set_test SELECT id + 10000, s || 'z:1'::cdp.identifier FROM identity_set_test WHERE id % 3 = 0;
DELETE FROM identity_set_test WHERE id % 7 = 0;
TRUNCATE scan_answer, index_answer;
SET enable_bitmapscan = off;
INSERT INTO scan_answer SELECT * FROM identity_set_answers();
RESET enable_bitmapscan;
SET enable_seqscan = off;
INSERT INTO index_answer SELECT * FROM identity_set_answers();
(SELECT * FROM scan_answer EXCEPT ALL SELECT * FROM index_answer)
UNION ALL (SELECT * FROM index_answer EXCEPT ALL SELECT * FROM scan_answer);
VACUUM identity_set_test;
TRUNCATE index_answer;
INSERT INTO index_answer SELECT * FROM identity_set_answers();
(SELECT * FROM scan_answer EXCEPT ALL SELECT * FROM index_answer)
UNION ALL (SELECT * FROM index_answer EXCEPT ALL SELECT * FROM scan_answer);
RESET enable_seqscan;

-- aggregate
SELECT identity_merge(i) FROM unnest('{b:1,a:1,b:1,NULL}'::cdp.identifier[]) AS i;
SELECT identity_merge(s) FROM unnest('{"{b:1}","{}",NULL,"{a:1,b:1}"}'::cdp.identity_set[]) AS s;
SELECT identity_merge(i) FROM unnest('{}'::cdp.identifier[]) AS i;
SELECT identity_merge(s) FROM unnest('{NULL}'::cdp.identity_set[]) AS s;
SELECT identity_merge(s) FROM unnest('{"{}"}'::cdp.identity_set[]) AS s;
SELECT identity_merge_set('{a:1}', '{b:1}');
-- as a window function the state goes on after each result
SELECT n, identity_merge(cdp.identifier('x', (n % 3)::text)) OVER (ORDER BY n) FROM generate_series(1, 4) AS n;
-- equals the union, whatever the order of the rows and the number of groups
WITH RECURSIVE u (id, s) AS (
	SELECT 0, '{}'::cdp.identity_set
	UNION ALL SELECT u.id + 1, u.s || coalesce(t.s, '{}') FROM u LEFT JOIN identity_set_test AS t ON t.id = u.id + 1 WHERE u.id < 3000)
SELECT 1 FROM u WHERE id = 3000 AND s <> (SELECT identity_merge(s) FROM identity_set_test WHERE id <= 3000);
SELECT 1 FROM (SELECT identity_merge(s ORDER BY id) AS a, identity_merge(s ORDER BY hashint4(id)) AS b,
	(SELECT identity_merge(i) FROM identity_set_test, LATERAL identifiers_of(s) AS i) AS c FROM identity_set_test) AS x
WHERE a <> b OR a <> c;
SELECT 1 FROM (SELECT identity_merge(g) AS a FROM (SELECT identity_merge(s) AS g FROM identity_set_test GROUP BY id % 97) AS s) AS x
WHERE a <> (SELECT identity_merge(s) FROM identity_set_test);
-- parallel equals serial
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET enable_indexscan = off;
CREATE TABLE parallel_answer AS SELECT id % 11 AS g, identity_merge(s) AS s FROM identity_set_test GROUP BY 1;
SET max_parallel_workers_per_gather = 0;
SELECT id % 11, identity_merge(s) FROM identity_set_test GROUP BY 1 EXCEPT ALL SELECT g, s FROM parallel_answer;
RESET max_parallel_workers_per_gather;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
RESET enable_indexscan;

-- limits
SELECT cardinality(identity_merge(cdp.identifier('x', n::text))) FROM generate_series(1, 1000000) AS n;
SELECT identity_merge(cdp.identifier('x', n::text)) FROM generate_series(1, 1000001) AS n;
SELECT array_agg('x:' || n)::cdp.identity_set FROM generate_series(1, 1000001) AS n;
SELECT ('{' || string_agg('x:' || n, ',') || '}')::cdp.identity_set FROM generate_series(1, 1000001) AS n;
SELECT s || 'y:1'::cdp.identifier FROM (SELECT identity_merge(cdp.identifier('x', n::text)) AS s FROM generate_series(1, 1000000) AS n) AS x;
SELECT identity_merge(cdp.identifier('x', n || repeat('v', 500))) FROM generate_series(1, 600000) AS n;

DROP VIEW identity_set_pair;
DROP FUNCTION identity_set_answers();
DROP TABLE identity_set_test, identity_set_query, scan_answer, index_answer, parallel_answer;
