-- The condition language: the published cases, and traps.
\set VERBOSITY default
\set SHOW_CONTEXT never
SET client_min_messages = warning;
\set main :DBNAME
DROP DATABASE IF EXISTS regress_condition;
CREATE DATABASE regress_condition TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_condition
CREATE EXTENSION cdp;

--
-- The published cases: none may differ
--
\getenv abs_srcdir PG_ABS_SRCDIR
\set file :abs_srcdir '/test/data/growthbook-conditions.json'
\set content `cat :'file'`
CREATE TABLE published AS SELECT n, c FROM jsonb_array_elements(:'content'::jsonb) WITH ORDINALITY j (c, n);
SELECT count(*) AS cases, count(*) FILTER (WHERE cdp.matches(c->2, c->1, coalesce(c->4, '{}')) = (c->3)::boolean) AS met FROM published;
SELECT c->>0 AS wrong FROM published WHERE cdp.matches(c->2, c->1, coalesce(c->4, '{}')) IS DISTINCT FROM (c->3)::boolean;

-- A table of rules: does each document meet it?
CREATE TABLE cases (n serial, rule jsonb, document jsonb, expected boolean, groups jsonb DEFAULT '{}');
CREATE FUNCTION wrong() RETURNS TABLE (rule jsonb, document jsonb, expected boolean) LANGUAGE sql AS $$
	SELECT c.rule, c.document, c.expected FROM cases c
	WHERE cdp.matches(c.document, c.rule, c.groups) IS DISTINCT FROM c.expected ORDER BY n
$$;

--
-- Missing, null, empty
--
INSERT INTO cases (rule, document, expected) VALUES
	('{}', '{}', true), ('{}', 'null', true), ('{}', '[]', true), ('{}', '5', true),
	('{"a": null}', '{}', true), ('{"a": null}', '{"a": null}', true), ('{"a": null}', '{"a": 0}', false),
	('{"a": {"$eq": null}}', '{}', true), ('{"a": {"$ne": null}}', '{}', false), ('{"a": {"$in": [null]}}', '{}', true),
	('{"a": {"$exists": true}}', '{"a": null}', false), ('{"a": {"$exists": false}}', '{"a": null}', true),
	('{"a": {"$exists": true}}', '{"a": false}', true), ('{"a": {"$exists": 0}}', '{"a": false}', false),
	('{"a": true}', '{}', false), ('{"a": false}', '{"a": null}', false), ('{"a": false}', '{"a": ""}', true),
	('{"a": true}', '{"a": []}', true), ('{"a": true}', '{"a": "0"}', true), ('{"a": false}', '{"a": 0.0}', true),
	-- what is missing counts as 0 in comparisons, not for equality of kinds
	('{"a": {"$gt": -1, "$lt": 1}}', '{}', true), ('{"a": {"$eq": 0}}', '{}', false), ('{"a": 0}', '{}', true),
	('{"a": "null"}', '{}', true), ('{"a": {"$eq": "null"}}', '{}', false),
	('{"a": {}}', '{"a": {}}', true), ('{"a": {}}', '{}', false), ('{"a": []}', '{"a": []}', true), ('{"a": []}', '{"a": {}}', false),
	('{"a": {"$not": null}}', '{"a": 1}', true), ('{"$not": {}}', '{}', false),
	('{"$and": []}', '{}', true), ('{"$or": []}', '{}', true), ('{"$nor": []}', '{}', false),
	('{"": 1}', '{"": 1}', true), ('{"a.": 1}', '{"a": {"": 1}}', true), ('{"a.b": 1}', '{"a.b": 1}', false);
SELECT * FROM wrong();

--
-- Numbers and text
--
TRUNCATE cases;
INSERT INTO cases (rule, document, expected) VALUES
	('{"a": 5}', '{"a": "5"}', true), ('{"a": "5"}', '{"a": 5}', true), ('{"a": {"$eq": 5}}', '{"a": "5"}', false),
	('{"a": 5}', '{"a": " 5.0 "}', true), ('{"a": 31}', '{"a": "0x1F"}', true), ('{"a": 0}', '{"a": "　"}', true),
	('{"a": 5}', '{"a": "5 apples"}', false), ('{"a": "1"}', '{"a": 1.00}', true), ('{"a": "1.50"}', '{"a": 1.50}', false),
	('{"a": 1}', '{"a": true}', true), ('{"a": 1}', '{"a": [1]}', true), ('{"a": 1}', '{"a": [1, 2]}', false),
	('{"a": "1,2,"}', '{"a": [1, [2, null]]}', true), ('{"a": ",[object Object],,1,"}', '{"a": [[], {"b": [1, {"c": [2]}]}, [[], [1]], null]}', true),
	('{"a": "x,y"}', '{"a": [["x"], ["y"]]}', true), ('{"a": "[object Object],1"}', '{"a": [{}, 1]}', true), ('{"a": "[object Object]"}', '{"a": {}}', true),
	('{"a": {"$eq": 1.0}}', '{"a": 1}', true), ('{"a": {"$in": [1.0]}}', '{"a": 1}', true),
	-- long ids are not rounded
	('{"a": 9007199254740993}', '{"a": 9007199254740992}', false), ('{"a": "9007199254740993"}', '{"a": 9007199254740993}', true),
	('{"a": "1e+21"}', '{"a": 1000000000000000000000}', true), ('{"a": "100000000000000000000"}', '{"a": 100000000000000000000}', true),
	('{"a": "1e-7"}', '{"a": 0.0000001}', true), ('{"a": "0.000001"}', '{"a": 0.000001}', true), ('{"a": "-1.5e+300"}', '{"a": -1.5e300}', true),
	('{"a": {"$lt": 1e400}}', '{"a": 5}', true), ('{"a": {"$lt": "1e400"}}', '{"a": 5}', true), ('{"a": {"$lt": "Infinity"}}', '{"a": 5}', true),
	('{"a": {"$gt": "9"}}', '{"a": "10"}', false), ('{"a": {"$gt": 9}}', '{"a": "10"}', true), ('{"a": {"$gte": "abc"}}', '{"a": 5}', false),
	('{"a": {"$lt": "abc"}}', '{"a": 5}', false), ('{"a": {"$gt": 1}}', '{"a": [2]}', true), ('{"a": {"$gt": 1}}', '{"a": {}}', false),
	('{"a": {"$lt": "b"}}', '{"a": "B"}', true), ('{"a": {"$lt": "é"}}', '{"a": "z"}', true), ('{"a": {"$gt": ""}}', '{"a": "a"}', true),
	('{"a": {"$gte": "2026-01-01", "$lt": "2026-02-01"}}', '{"a": "2026-01-31T23:59:59Z"}', true);
SELECT * FROM wrong();

--
-- Arrays, paths, groups
--
TRUNCATE cases;
INSERT INTO cases (rule, document, expected) VALUES
	('{"a.0": "x"}', '{"a": ["x"]}', true), ('{"a.00": "x"}', '{"a": ["x"]}', false), ('{"a.1": null}', '{"a": ["x"]}', true),
	('{"a.length": {"$gt": 1}}', '{"a": ["x", "y"]}', true), ('{"a.1.b": 2}', '{"a": [{"b": 1}, {"b": 2}]}', true),
	('{"a.b": 1}', '{"a": [{"b": 1}]}', false), ('{"a.0": "x"}', '{"a": "xyz"}', false), ('{"a.0": 1}', '{"a": {"0": 1}}', true),
	('{"a": {"$in": ["x"]}}', '{"a": ["y", ["x"]]}', false), ('{"a": {"$in": [["x"]]}}', '{"a": [["x"]]}', false),
	('{"a": {"$eq": ["x"]}}', '{"a": ["x"]}', false), ('{"a": {"$ne": ["x"]}}', '{"a": ["x"]}', true),
	('{"a": [1, {"b": 2.0}]}', '{"a": [1.0, {"b": 2}]}', true), ('{"a": [1, 2]}', '{"a": [2, 1]}', false),
	('{"a": {"b": 1, "c": 2}}', '{"a": {"c": 2, "b": 1}}', true), ('{"a": {"$b": 1, "c": 2}}', '{"a": {"$b": 1, "c": 2}}', true),
	('{"a": {"$nin": 5}}', '{"a": 1}', false), ('{"a": {"$in": []}}', '{"a": 1}', false), ('{"a": {"$nin": []}}', '{"a": 1}', true),
	('{"a": {"$all": []}}', '{"a": []}', true), ('{"a": {"$all": "x"}}', '{"a": ["x"]}', false),
	('{"a": {"$all": [{"$gt": 5}, {"$lt": 3}]}}', '{"a": [1, 6]}', true), ('{"a": {"$all": [{"$gt": 5}, {"$lt": 1}]}}', '{"a": [1, 6]}', false),
	('{"a": {"$all": ["2"]}}', '{"a": [1, 2]}', true), ('{"a": {"$alli": ["ÉTÉ"]}}', '{"a": ["été"]}', true),
	('{"a": {"$elemMatch": {"b": 1, "c": {"$gt": 1}}}}', '{"a": [{"b": 1, "c": 1}, {"b": 2, "c": 2}]}', false),
	('{"a": {"$elemMatch": {"b": 1, "c": {"$gt": 1}}}}', '{"a": [{"b": 1, "c": 2}]}', true),
	('{"a": {"$elemMatch": {}}}', '{"a": [1]}', true), ('{"a": {"$elemMatch": {"$eq": 0}}}', '{"a": [0]}', false), ('{"a": {"$elemMatch": {"$eq": "0"}}}', '{"a": [null, false, "", "0"]}', true),
	('{"a": {"$elemMatch": {"$elemMatch": {"$eq": 2}}}}', '{"a": [[1], [2]]}', true),
	('{"a": {"$elemMatch": {"$or": [{"b": 1}]}}}', '{"a": [{"b": 1}]}', false),
	('{"a": {"$size": 0}}', '{"a": []}', true), ('{"a": {"$size": "2"}}', '{"a": [1, 2]}', true), ('{"a": {"$size": {"$not": {"$gt": 1}}}}', '{"a": [1]}', true),
	('{"a": {"$type": "object"}}', '{"a": {}}', true), ('{"a": {"$type": "number"}}', '{"a": 1}', true), ('{"a": {"$type": "string"}}', '{"a": "x"}', true),
	('{"a": {"$type": "null"}}', '{}', true), ('{"a": {"$type": 5}}', '{"a": 5}', false),
	('{"a": {"$not": {"$gt": 5, "$lt": 10}}}', '{"a": 12}', true), ('{"a": {"$not": "x"}}', '{"a": "x"}', false),
	('{"a": {"$gtx": 5}}', '{"a": 6}', false), ('{"a": {"$not": {"$gtx": 5}}}', '{"a": 6}', true), ('{"$foo": 1}', '{"$foo": 1}', true),
	('{"a": {"$ini": ["ΑΘΉΝΑ", 5]}}', '{"a": "αθήνα"}', true), ('{"a": {"$nini": ["МОСКВА"]}}', '{"a": ["х", "Москва"]}', false),
	('{"a": {"$ini": [5]}}', '{"a": "5"}', false), ('{"a": {"$in": ["東京"]}}', '{"a": "東京"}', true);
INSERT INTO cases (rule, document, expected, groups) VALUES
	('{"a": {"$inGroup": "g"}}', '{"a": 1}', true, '{"g": [1]}'), ('{"a": {"$inGroup": "h"}}', '{"a": 1}', false, '{"g": [1]}'),
	('{"a": {"$notInGroup": "h"}}', '{"a": 1}', true, '{"g": [1]}'), ('{"a": {"$notInGroup": "g"}}', '{"a": 1}', false, '{"g": [1]}'),
	('{"a": {"$inGroup": "g"}}', '{"a": [3, 1]}', true, '{"g": [1]}'), ('{"a": {"$inGroup": "g"}}', '{"a": 1}', false, '{"g": 1}'),
	('{"a": {"$inGroup": 7}}', '{"a": 1}', true, '{"7": [1]}'), ('{"a": {"$inGroup": "g"}}', '{"a": 1}', false, '[]'),
	('{"$or": [{"a": {"$inGroup": "g"}}, {"b": 1}]}', '{"a": 1}', true, '{"g": [1]}');
SELECT * FROM wrong();

--
-- Versions
--
TRUNCATE cases;
INSERT INTO cases (rule, document, expected) VALUES
	('{"v": {"$vgt": "1.9.0"}}', '{"v": "1.10.0"}', true), ('{"v": {"$vlt": "1.0.0"}}', '{"v": "1.0.0-rc.1"}', true),
	('{"v": {"$vgt": "1.0.0-rc.9"}}', '{"v": "1.0.0-rc.10"}', true), ('{"v": {"$veq": "v2.0.0+build.7"}}', '{"v": "2.0.0"}', true),
	('{"v": {"$vgte": "0"}}', '{}', true), ('{"v": {"$vgt": "1.2.99999"}}', '{"v": "1.2.20260115"}', true),
	('{"v": {"$vgt": 1.2}}', '{"v": 1.3}', true), ('{"v": {"$veq": "0"}}', '{"v": [1]}', true), ('{"v": {"$vne": "1.0"}}', '{"v": "1.0.0"}', true),
	('{"v": {"$vgt": "1.0.0--"}}', '{"v": "1.0.0"}', true), ('{"v": {"$vlt": "99999999999999999999999.0.0"}}', '{"v": "2.0.0"}', true);
SELECT * FROM wrong();

--
-- Regular expressions are those of ECMAScript
--
TRUNCATE cases;
INSERT INTO cases (rule, document, expected)
SELECT jsonb_build_object('a', jsonb_build_object(CASE WHEN fold THEN '$regexi' ELSE '$regex' END, re)), jsonb_build_object('a', t), e FROM (VALUES
	(false, '\bcat\b', 'a cat sat', true), (false, '\bcat\b', 'concatenate', false), (false, '\Bcat', 'concat', true), (false, '[\b]', E'\b', true),
	(false, '^a.c$', E'a\nc', false), (false, '^a[^b]c$', E'a\nc', true), (false, 'b$', E'b\n', false), (false, '^b', E'a\nb', false),
	(false, 'a/b', 'a/b', true), (false, 'a\/b', 'a/b', true), (false, '^\d{3}-\d{4}$', '123-4567', true), (false, '^\d+$', '１２', false),
	(false, '^\s$', '　', true), (false, '^[\S]$', '　', false), (false, '^[^\S]$', ' ', true), (false, '^[\s\S]$', E'\n', true), (false, '^\w+$', 'été', false),
	(false, '^[\w-]+$', 'a-b_c', true), (false, '^[a-\d]+$', 'a-5', true), (false, '^[\d-x]+$', '5-x', true), (false, '^[]$', ']', false), (false, '^[^]$', E'\n', true),
	(false, '^[[:alpha:]]$', 'a]', true), (false, '^[[.x]$', '[', true), (false, '^[\]\\^-]+$', ']\^-', true), (false, '^[.*+?]+$', '.*+?', true),
	(false, '^(?:a|b)+?$', 'abab', true), (false, '^(?<year>\d+)$', '2026', true), (false, '^(?=.*\d)(?=.*[a-z]).{4,}$', 'ab12', true), (false, '^(?!x)', 'x', false),
	(false, '(?<=\$)\d+', '$5', true), (false, '(?<!\$)\b\d+', '$5', false), (false, '^(?=a)*b', 'b', true), (false, '^(?=a)+b', 'b', false),
	(false, 'x{', 'x{', true), (false, 'x{,5}', 'x{,5}', true), (false, '^x{2,3}$', 'xxxx', false), (false, ']}', ']}', true), (false, '', '', true), (false, 'a|', 'zzz', true),
	(false, '\u0041\x42\103', 'ABC', true), (false, '\u3042', 'あ', true), (false, '^\uD83D\uDE00$', '😀', true), (false, '^.$', '😀', true), (false, '\cJ', E'\n', true),
	(false, '\A\z\y\m', 'Azym', true), (false, '\p{L}', 'p{L}', true), (false, '^\0$', '0', false), (false, '***=a', '***=a', false), (false, '(?i)a', 'A', false),
	(false, 'a**', 'aa', false), (false, 'a{2}{3}', 'aaaaaa', false), (false, '+a', '+a', false), (false, '(a', 'a', false), (false, 'a)', 'a', false),
	(false, '[b-a]', 'a', false), (false, '\', '\', false), (false, '[a', 'a', false), (false, '^*', '*', false), (false, '(?<n', 'a', false),
	(false, '^null$', NULL, true), (true, '^ÉTÉ$', 'été', true), (true, '^[A-F]+$', 'abC', true), (true, '^[^a-f]+$', 'ABC', false), (true, '^[À-Ý]$', 'é', true),
	(true, '^[_]$', 'a', false), (true, 'москва', 'МОСКВА', true), (true, '\W', 'É', true), (true, '^\u0041$', 'a', true), (false, '^[A-F]+$', 'abC', false)
	) x (fold, re, t, e);
INSERT INTO cases (rule, document, expected) VALUES
	('{"a": {"$regex": 5}}', '{"a": 5}', false), ('{"a": {"$regex": "^1,2$"}}', '{"a": [1, 2]}', true), ('{"a": {"$regex": "^t"}}', '{"a": true}', true);
SELECT * FROM wrong();

-- what would take long is refused, or does not match
\set VERBOSITY default
SELECT cdp.matches('{}', '{"$and": [{"a": 1}, {"a.b": {"$not": {"$regex": "(a)\\1"}}}]}');
SELECT cdp.matches('{}', '{"a": {"$regexi": "(?<x>a)\\k<x>"}}');
SELECT cdp.matches('{}', '{"a": {"$regex": "(?=a(?=b))"}}');
SELECT cdp.matches('{}', '{"a": {"$regex": "((a{100}){100}){100}"}}');
SELECT cdp.matches('{}', '{"a": {"$regex": "a{256}"}}');
SELECT cdp.matches('{}', jsonb_build_object('a', jsonb_build_object('$regex', repeat('a', 501))));
SELECT cdp.matches(jsonb_build_object('a', repeat('a', 32767) || 'b'), '{"a": {"$regex": "b$"}}') AS just, cdp.matches(jsonb_build_object('a', repeat('a', 32768) || 'b'), '{"a": {"$regex": "b$"}}') AS longer,
	cdp.matches(jsonb_build_object('a', repeat('a', 1023) || 'b'), '{"a": {"$regex": "(?=b)"}}') AS around, cdp.matches(jsonb_build_object('a', repeat('a', 1024) || 'b'), '{"a": {"$regex": "(?=b)"}}') AS longer_around;
SET statement_timeout = '20s';
SELECT cdp.matches(jsonb_build_object('a', repeat('a', 30000)), jsonb_build_object('a', jsonb_build_object('$regex', re))) AS found
FROM unnest(ARRAY['^(a+)+$', '^(a|a)*b', '^(a|aa)+$', '^(.*a){20}b', '(x+x+)+y', '^(a?){90}a{90}b', '(a?b?){40}c', '(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)(.*)[^a]']) re;
RESET statement_timeout;

--
-- What is no rule is an error, with its place
--
SELECT cdp.matches('{}', '5');
SELECT cdp.matches('{}', '[]');
SELECT cdp.matches('{}', '{"$or": {"a": 1}}');
SELECT cdp.matches('{}', '{"$and": [{"a": 1}, 5]}');
SELECT cdp.matches('{}', '{"$nor": [{"$not": null}]}');
SELECT cdp.matches('{}', '{"a": {"$not": {"$elemMatch": 5}}}');
SELECT cdp.matches('{}', ('{"a": ' || repeat('{"$not": ', 98) || '1' || repeat('}', 98) || '}')::jsonb) AS deep;
SELECT cdp.matches('{}', ('{"a": ' || repeat('{"$not": ', 99) || '1' || repeat('}', 99) || '}')::jsonb) AS deeper;
-- a deep document is no trouble: it is compared, or written as text, or an error of the server's own
SELECT cdp.matches(('{"a": ' || repeat('[', 5000) || repeat(']', 5000) || '}')::jsonb, '{"a": ""}') AS deep_text;
SELECT cdp.matches(NULL, '{}') IS NULL AS none;

-- the rule may change from row to row, and fail in between
SELECT n, cdp.matches('{"a": 3}', jsonb_build_object('a', jsonb_build_object('$in', jsonb_build_array(n / 2)))) AS met FROM generate_series(4, 8) n;
DO $$
DECLARE
	answers text := '';
BEGIN
	FOR n IN 1 .. 4 LOOP
		BEGIN
			answers := answers || ' ' || cdp.matches('{"a": 1}', CASE WHEN n = 2 THEN '[]' ELSE '{"a": {"$regex": "1"}}' END::jsonb);
		EXCEPTION WHEN invalid_parameter_value THEN
			answers := answers || ' error';
		END;
	END LOOP;
	RAISE WARNING '%', answers;
END $$;

-- the same answer in every locale and encoding
SELECT provolatile, proparallel, proisstrict FROM pg_proc WHERE proname = 'matches' AND pronamespace = 'cdp'::regnamespace;
\c :main
DROP DATABASE regress_condition;
