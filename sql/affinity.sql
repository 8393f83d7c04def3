-- Type cdp.affinity: input, output, aggregates, operators, limits; and that
-- what it says is true, against the sums written out.
\set VERBOSITY default
\set SHOW_CONTEXT never
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_affinity;
CREATE DATABASE regress_affinity TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_affinity
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION cdp;
SET search_path = public, cdp;
-- half-lives of 30 days since 2000 begin on 2024-11-20, 2024-12-20, 2025-01-19, 2025-02-18, so that powers of two are exact below
SET extra_float_digits = 0;

--
-- One person
--
CREATE TABLE seen (who int, value text, weight float8, at timestamptz);
INSERT INTO seen VALUES
	(1, 'shoes', 1, '2024-12-20'), (1, 'hats', 5, '2024-12-20'), (1, 'shoes', 3, '2025-01-19'), (1, 'socks', 2, '2024-11-20'),
	(2, 'hats', 5, '2025-02-18'), (2, 'gloves', -2, '2025-02-18'), (2, NULL, 1, '2025-02-18'), (2, 'x', NULL, '2025-02-18'),
	(2, 'x', 1, NULL), (2, 'x', 0, '2025-03-01'), (3, NULL, NULL, NULL);
SELECT who, cdp.affinity_agg(value, weight, at) FROM seen GROUP BY who ORDER BY who;
SELECT cdp.affinity_agg(value, weight, at) FROM seen WHERE false;
SELECT cdp.affinity_agg(value, 0, at) FROM seen WHERE who = 1;
-- half of what was a month ago, a quarter of what was two
SELECT t.* FROM (SELECT cdp.affinity_agg(value, weight, at) AS a FROM seen WHERE who = 1) s,
	cdp.affinity_top(a, 2, '2025-01-19') t;
SELECT v, round(cdp.affinity_at(a, v, '2025-01-19')::numeric, 9) AS score
FROM (SELECT cdp.affinity_agg(value, weight, at) AS a FROM seen WHERE who = 1) s, unnest('{shoes,hats,socks,none}'::text[]) v;
-- now is the clock's
SET cdp.clock = '2025-02-18';
SELECT cdp.clock(), a -> 'shoes' AS shoes, a -> 'none' AS none, (SELECT score FROM cdp.affinity_top(a, 1)) AS first
FROM (SELECT cdp.affinity_agg(value, weight, at) AS a FROM seen WHERE who = 1) s;
SET cdp.clock = '2025-03-20';
SELECT a -> 'shoes' AS shoes FROM (SELECT cdp.affinity_agg(value, weight, at) AS a FROM seen WHERE who = 1) s;
RESET cdp.clock;
SELECT cdp.clock() = statement_timestamp() AS now;
-- one event; adding
SELECT cdp.affinity('shoes', 2, '2000-01-31', '1 month', 3), cdp.affinity('', 2, '2000-01-01', '1 year');
SELECT cdp.affinity('shoes', 2, '2000-01-01', slots => 3) + cdp.affinity('hats', 1, '2000-01-31', slots => 4) AS sum;
SELECT cdp.affinity('shoes', 2, '2000-01-01') + NULL AS sum, cdp.affinity(NULL, 2, '2000-01-01') AS one;
-- ties by value; negative scores last; fewer than asked for; none asked for
SELECT t.value, t.score FROM (SELECT cdp.affinity_agg(v, w, '2000-01-01') AS a
	FROM (VALUES ('b', 1), ('a', 1), ('c', -1), ('d', 2)) x (v, w)) s, cdp.affinity_top(a, 9, '2000-01-01') t;
SELECT count(*) FROM cdp.affinity_top(cdp.affinity('a', 1, '2000-01-01'), 0);
SELECT count(*) FROM cdp.affinity_top(cdp.affinity('a', 1, '2000-01-01'), NULL);
-- distance
SELECT a <=> a AS same, round((a <=> b)::numeric, 6) AS other, a <=> c AS nothing_shared, a <=> d AS opposite, a <=> e AS empty
FROM (SELECT '{"half_life":60,"slots":2,"at":0,"plus":7,"values":{"x":3,"y":4}}'::cdp.affinity AS a,
	'{"half_life":3600,"slots":9,"at":0,"plus":1,"values":{"x":0.1,"z":0.1}}'::cdp.affinity AS b, cdp.affinity('z', 1, '2000-01-01') AS c,
	'{"half_life":60,"slots":2,"at":0,"minus":70,"values":{"x":-30,"y":-40}}'::cdp.affinity AS d,
	'{"half_life":60,"slots":2}'::cdp.affinity AS e) x;

--
-- Text and binary form, equality
--
SELECT '{"values": {"b": 1, "a\"\\\u0007é": -2}, "slots": 3, "half_life": 1.5, "minus": 2, "plus": 1, "at": 3}'::cdp.affinity AS a;
SELECT a, a::text::jsonb -> 'values' ->> 'é' AS member FROM (SELECT cdp.affinity('é', 1, '2000-01-01') AS a) s;
SELECT '{"half_life": 60, "slots": 1, "at": 0, "plus": 3, "absent": [0, 1], "values": {"a": [2, 0, 0.5]}}'::cdp.affinity;
SELECT t::cdp.affinity FROM unnest('{not json}'::text[]) t;
SELECT '{"half_life": 60, "slots": 97}'::cdp.affinity;
SELECT '{"half_life": 60, "slots": 1, "at": 0, "plus": 1, "values": {"secret": 2}}'::cdp.affinity;
SELECT '{"half_life": 60, "slots": 1, "at": 1, "plus": 2, "values": {"secret": 2}}'::cdp.affinity;
SELECT a = b AS eq, a <> b AS ne, a = c AS other_eq, a <> c AS other_ne, cdp.affinity_hash(a) = cdp.affinity_hash(b) AS hash,
	cdp.affinity_hash_extended(a, 1) = cdp.affinity_hash_extended(b, 1) AS extended,
	cdp.affinity_hash(a)::bigint & 4294967295 = cdp.affinity_hash_extended(a, 0) & 4294967295 AS agree
FROM (SELECT cdp.affinity('x', 1, '2000-01-01') + cdp.affinity('y', 2, '2000-01-03') AS a,
	cdp.affinity('y', 2, '2000-01-03') + cdp.affinity('x', 1, '2000-01-01') AS b, cdp.affinity('y', 2, '2000-01-03') AS c) s;

CREATE TABLE kept (id int, a cdp.affinity);
INSERT INTO kept SELECT i, (SELECT cdp.affinity_agg('value ' || hashint4(i + j) % 60, j % 5 - (i % 2), '2024-01-01'::timestamptz + j * interval '1 hour' * i, '3 days', 8 + i)
	FROM generate_series(0, 10 * i) j) FROM generate_series(1, 40) i;
INSERT INTO kept VALUES (0, '{"half_life": 60, "slots": 2}'), (41, NULL);
SELECT count(*) FILTER (WHERE a = a::text::cdp.affinity) AS text, count(*) FILTER (WHERE a = a::text::jsonb::text::cdp.affinity) AS jsonb,
	count(*) FILTER (WHERE a::text LIKE '%absent%') AS forgot FROM kept;
SELECT count(*) AS different FROM (SELECT DISTINCT a FROM kept UNION SELECT a FROM kept) s;
CREATE TABLE copied (LIKE kept);
\set file :abs_builddir '/results/affinity.copy'
COPY kept TO :'file' WITH (FORMAT binary);
COPY copied FROM :'file' WITH (FORMAT binary);
SELECT count(*) AS copied FROM copied JOIN kept USING (id) WHERE copied.a = kept.a;
SET enable_nestloop = off;
SELECT count(*) AS joined FROM copied JOIN kept USING (a);
RESET enable_nestloop;

--
-- What is refused
--
SELECT cdp.affinity(repeat('x', 255), 1, '2000-01-01') IS NOT NULL AS longest;
SELECT cdp.affinity(repeat('x', 256), 1, '2000-01-01');
SELECT cdp.affinity('x', 'NaN', '2000-01-01');
SELECT cdp.affinity('x', 'Infinity', '2000-01-01');
SELECT cdp.affinity('x', 1, 'infinity');
SELECT cdp.affinity('x', 1, '0044-03-15 BC');
SELECT cdp.affinity('x', 1, '2000-01-01', '999 ms');
SELECT cdp.affinity('x', 1, '2000-01-01', '101 years');
SELECT cdp.affinity('x', 1, '2000-01-01', '178000000 years');
SELECT cdp.affinity('x', 1, '2000-01-01', '-1 day');
SELECT cdp.affinity('x', 1, '2000-01-01', '1 day', 0);
SELECT cdp.affinity('x', 1, '2000-01-01', '1 day', 97);
SELECT cdp.affinity('x', 1, '2000-01-01') + cdp.affinity('x', 1, '2000-01-01', '1 day');
SELECT cdp.affinity_at(cdp.affinity('x', 1, '2000-01-01'), 'x', 'infinity');
SELECT * FROM cdp.affinity_top(cdp.affinity('x', 1, '2000-01-01'), -1);
SELECT cdp.affinity_agg(value, weight, at, make_interval(days => who)) FROM seen;
SELECT cdp.affinity_agg(value, weight, at, '1 day', who) FROM seen;
SELECT cdp.affinity_agg(value, weight, at, NULL) FROM seen;
SELECT cdp.affinity_agg_trans(NULL::cdp.affinity, 'x', 1, now());
SELECT cdp.affinity_union_trans(NULL, NULL);
-- the same half-life in other words is the same
SELECT cdp.affinity_agg(value, weight, at, CASE weight WHEN 1 THEN interval '24 hours' ELSE '1 day' END) IS NOT NULL AS same FROM seen;
-- before all events a score grows, to the largest number and no further
SELECT cdp.affinity_at(cdp.affinity('x', -1, '2100-01-01', '1 minute'), 'x', '1970-01-01') AS least;

--
-- Whatever the order and the way they are added: half-lives from a minute to
-- ten years, events from 1970 to 2100, returns
--
CREATE TABLE kind (kind int, half_life interval, slots int, signed bool, vals int, span interval);
INSERT INTO kind VALUES
	(1, '1 minute', 32, false, 32, '1 hour'), (2, '1 hour', 32, true, 20, '10 days'), (3, '30 days', 96, true, 96, '2 years'),
	(4, '10 years', 32, true, 30, '130 years'), (5, '30 days', 32, false, 25, '130 years'), (6, '7 days', 8, false, 40, '60 days'),
	(7, '30 days', 32, true, 200, '200 days'), (8, '10 years', 16, true, 50, '130 years'), (9, '1 minute', 4, true, 30, '20 minutes');
CREATE TABLE fact AS
SELECT kind, person, i, 'value ' || floor(vals * u1 * u1) AS value,
	CASE WHEN signed AND u2 < 0.2 THEN -1 ELSE 1 END * CASE i % 3 WHEN 0 THEN 1 ELSE exp(10 * u2 - 5) END AS weight,
	'1970-01-01'::timestamptz + ('130 years' - span) * u3 + span * u4 AS at
FROM kind, generate_series(1, 12) person, generate_series(1, 300) i, LATERAL (SELECT
	(hashint8extended(i, kind * 100 + person) >> 33 & 1073741823) / 1073741824.0::float8 AS u1,
	(hashint8extended(i, kind * 100 + person + 10000) >> 33 & 1073741823) / 1073741824.0::float8 AS u2,
	(hashint8extended(0, kind * 100 + person + 20000) >> 33 & 1073741823) / 1073741824.0::float8 AS u3,
	(hashint8extended(i, kind * 100 + person + 30000) >> 33 & 1073741823) / 1073741824.0::float8 AS u4) u;
-- exact sums as of the newest event; power() refuses exponents that underflow
CREATE TABLE truth AS
SELECT kind, person, value, last, half_life, slots, sum(weight * power(2, age)) AS exact, sum(abs(weight) * power(2, age)) AS mass
FROM (SELECT f.*, last, half_life, slots,
	greatest(-1000, extract(epoch FROM at - last)::float8 / extract(epoch FROM half_life)::float8) AS age
	FROM fact f JOIN kind USING (kind) JOIN (SELECT kind, person, max(at) AS last FROM fact GROUP BY 1, 2) l USING (kind, person)) x
GROUP BY kind, person, value, last, half_life, slots;
CREATE TABLE way (way text, kind int, person int, a cdp.affinity);
INSERT INTO way SELECT 'as they come', kind, person, cdp.affinity_agg(value, weight, at, half_life, slots ORDER BY at)
	FROM fact JOIN kind USING (kind) GROUP BY 2, 3;
INSERT INTO way SELECT 'late', kind, person, cdp.affinity_agg(value, weight, at, half_life, slots ORDER BY at DESC)
	FROM fact JOIN kind USING (kind) GROUP BY 2, 3;
INSERT INTO way SELECT 'in any order', kind, person, cdp.affinity_agg(value, weight, at, half_life, slots ORDER BY md5(i::text))
	FROM fact JOIN kind USING (kind) GROUP BY 2, 3;
INSERT INTO way SELECT 'in parts', kind, person, cdp.affinity_union(a) FROM (SELECT kind, person,
	cdp.affinity_agg(value, weight, at, half_life, slots) AS a FROM fact JOIN kind USING (kind) GROUP BY kind, person, i % 7) x GROUP BY 2, 3;
INSERT INTO way SELECT 'two by two', kind, person, p[1] + p[2] + (p[3] + p[4]) FROM (SELECT kind, person, array_agg(a ORDER BY part) AS p
	FROM (SELECT kind, person, i % 4 AS part, cdp.affinity_agg(value, weight, at, half_life, slots) AS a
		FROM fact JOIN kind USING (kind) GROUP BY kind, person, i % 4) x GROUP BY 1, 2) y;
CREATE FUNCTION one_by_one(k int, p int) RETURNS cdp.affinity LANGUAGE plpgsql AS $$
DECLARE
	a cdp.affinity;
	f record;
BEGIN
	FOR f IN SELECT * FROM fact JOIN kind USING (kind) WHERE kind = k AND person = p LOOP
		a := coalesce(a + cdp.affinity(f.value, f.weight, f.at, f.half_life, f.slots), cdp.affinity(f.value, f.weight, f.at, f.half_life, f.slots));
	END LOOP;
	RETURN a;
END $$;
INSERT INTO way SELECT 'one by one', kind, person, one_by_one(kind, person) FROM kind, generate_series(1, 12) person;
SET max_parallel_workers_per_gather = 2;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET parallel_leader_participation = off;
ALTER TABLE fact SET (parallel_workers = 2);
EXPLAIN (COSTS OFF) SELECT kind, person, cdp.affinity_agg(value, weight, at, '1 day') FROM fact GROUP BY 1, 2;
INSERT INTO way SELECT 'in parallel', (g).* FROM (SELECT x AS g FROM (
	SELECT kind, person, cdp.affinity_agg(value, weight, at, half_life, slots) FROM fact JOIN kind USING (kind) GROUP BY 1, 2) x) y;
RESET max_parallel_workers_per_gather;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
RESET parallel_leader_participation;

CREATE VIEW said AS
SELECT w.way, w.kind, w.person, t.value, t.exact, m.mass, m.mass * 1e-9 AS slack, n <= t.slots AS all_kept, s.score, s.lower, s.upper, t.slots
FROM way w JOIN truth t USING (kind, person)
	JOIN (SELECT kind, person, sum(mass) AS mass, count(*) AS n FROM truth GROUP BY 1, 2) m USING (kind, person)
	LEFT JOIN LATERAL cdp.affinity_top(w.a, 96, t.last) s ON s.value = t.value;
-- all kept: exact, relative to what was added up; absent ones are 0
SELECT way, count(*) AS sums, count(*) FILTER (WHERE abs(coalesce(score, 0) - exact) > mass * 1e-9) AS wrong,
	count(*) FILTER (WHERE abs(score - exact) > abs(exact) * 1e-6 AND kind IN (1, 5)) AS wrong_unsigned
FROM said WHERE all_kept GROUP BY way ORDER BY way;
-- more values than slots: within bounds, and these within the mass by slot
SELECT way, count(score) AS sums, count(*) FILTER (WHERE exact < lower - slack OR exact > upper + slack) AS wrong,
	count(*) FILTER (WHERE score < lower OR score > upper) AS score_outside,
	count(*) FILTER (WHERE greatest(upper - score, score - lower) > mass / slots + slack) AS too_wide,
	count(*) FILTER (WHERE score IS NULL AND abs(exact) > mass / slots + slack) AS lost
FROM said WHERE NOT all_kept GROUP BY way ORDER BY way;
-- all ways rank alike, when all are kept
SELECT count(*) AS differ FROM way w JOIN way v USING (kind, person) JOIN kind k USING (kind), LATERAL (SELECT
	(SELECT array_agg(value) FROM cdp.affinity_top(w.a, 5, '2030-01-01')) IS DISTINCT FROM
	(SELECT array_agg(value) FROM cdp.affinity_top(v.a, 5, '1990-01-01')) AS differ) d WHERE w.kind < 6 AND differ;
-- order does not change as time passes
SELECT count(*) AS differ FROM way w, LATERAL (SELECT
	(SELECT array_agg(value) FROM cdp.affinity_top(w.a, 96, '1900-01-01')) IS DISTINCT FROM
	(SELECT array_agg(value) FROM cdp.affinity_top(w.a, 96, '2500-01-01')) AS differ) d WHERE differ;

--
-- Aggregates in all the executor's ways
--
CREATE TABLE expected AS SELECT person, cdp.affinity_agg(value, weight, at, '7 days', 8 ORDER BY i) AS a FROM fact WHERE kind = 6 GROUP BY person;
SET enable_hashagg = off;
SELECT count(*) AS sorted FROM (SELECT person, cdp.affinity_agg(value, weight, at, '7 days', 8) AS a
	FROM (SELECT * FROM fact WHERE kind = 6 ORDER BY person, i) f GROUP BY person) x JOIN expected USING (person, a);
RESET enable_hashagg;
SET enable_sort = off;
SELECT count(*) AS hashed FROM (SELECT person, cdp.affinity_agg(value, weight, at, '7 days', 8) AS a
	FROM (SELECT * FROM fact WHERE kind = 6 ORDER BY i) f GROUP BY person) x JOIN expected USING (person, a);
-- many groups and little memory: groups go to disk and come back
SET work_mem = '64kB';
SELECT count(*) AS groups, count(*) FILTER (WHERE affinity_at(a, 'v', '2000-01-01') = 3) AS right
FROM (SELECT i % 5000 AS g, cdp.affinity_agg('v', 1, '2000-01-01') AS a FROM generate_series(1, 15000) i GROUP BY 1) x;
RESET work_mem;
RESET enable_sort;
SELECT count(*) AS grouping_sets FROM (SELECT person, value, cdp.affinity_agg(value, weight, at, '7 days', 8) AS a
	FROM (SELECT * FROM fact WHERE kind = 6 ORDER BY i) f GROUP BY GROUPING SETS ((person), (person, value), ())) x
	JOIN expected USING (person, a) WHERE value IS NULL;
SELECT i, cdp.affinity_agg('v' || i % 2, 1, '2000-01-01') OVER (ORDER BY i) -> 'v1' > 0 AS running,
	affinity_at(cdp.affinity_agg('v' || i % 2, 1, '2000-01-01') OVER (ORDER BY i ROWS 1 PRECEDING), 'v1', '2000-01-01') AS moving
FROM generate_series(1, 4) i ORDER BY i;
SELECT affinity_at(cdp.affinity_agg(DISTINCT 'v' || i % 2, 1, '2000-01-01'), 'v1', '2000-01-01') AS once,
	affinity_at(cdp.affinity_agg('v', 1, '2000-01-01') FILTER (WHERE i > 7), 'v', '2000-01-01') AS filtered FROM generate_series(1, 10) i;
SELECT cdp.affinity_union(a) IS NULL AS nothing FROM kept WHERE id = 41;
SELECT cdp.affinity_union(a) = (SELECT a FROM kept WHERE id = 7) AS itself FROM kept WHERE id IN (7, 41);

--
-- Size, and everybody's rights
--
SELECT pg_column_size(cdp.affinity_agg('a brand with a long name, nr ' || i, i, '2000-01-01')) < 2000 AS below_toast,
	pg_column_size(cdp.affinity_agg('a brand with a long name, nr ' || i % 60, i, '2000-01-01')) < 2000 AS below_toast_after_forgetting
FROM generate_series(1001, 1032) i;
CREATE ROLE regress_affinity_anyone;
GRANT SELECT ON seen TO regress_affinity_anyone;
SET ROLE regress_affinity_anyone;
SELECT count(*), count(t.score) FROM (SELECT cdp.affinity_agg(value, weight, at) AS a FROM seen) s, cdp.affinity_top(a, 3) t WHERE a -> 'hats' > 0;
SELECT cdp.affinity_union(a) <=> cdp.affinity('x', 1, '2000-01-01') AS distance FROM (SELECT cdp.affinity('x', 1, '2000-01-01') AS a) s;
RESET ROLE;
REVOKE ALL ON seen FROM regress_affinity_anyone;
DROP ROLE regress_affinity_anyone;
\c postgres
DROP DATABASE regress_affinity;
