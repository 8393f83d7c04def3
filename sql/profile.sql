-- Profiles: declared and undeclared traits, survivorship, the view cdp.profiles
-- and how it is read.  In a database of its own.
\set SHOW_CONTEXT never
\set main :DBNAME
CREATE DATABASE regress_cdp_profile TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_cdp_profile
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET extra_float_digits = 1;
SET client_min_messages = warning;
CREATE EXTENSION cdp;
SELECT cdp.define_trait('age', 'int');
SELECT count(*) > 0 AS initialised FROM cdp.init();

--
-- Declaring
--
SELECT cdp.define_trait('email', index => true, description => 'Where mail goes.');
SELECT cdp.define_trait('nick');
SELECT cdp.define_trait('age', 'int');
SELECT cdp.define_trait('points', 'bigint');
SELECT cdp.define_trait('score', 'float8');
SELECT cdp.define_trait('vip', 'bool');
SELECT cdp.define_trait('born', 'date');
SELECT cdp.define_trait('joined', 'timestamptz');
SELECT cdp.define_trait('loyalty card', 'uuid');
SELECT cdp.define_trait('first_shop', survivorship => 'oldest');
SELECT cdp.define_trait('Städte', 'string');
-- the same again is welcome, and can add an index and a description
SELECT cdp.define_trait('age', 'integer', 'latest', true, 'Years.');
SELECT cdp.define_trait('age', ' INT4 ');
SELECT * FROM cdp.traits ORDER BY name COLLATE "C";

-- refused
SELECT cdp.define_trait('age', 'bigint');
SELECT cdp.define_trait('age', 'int', 'oldest');
SELECT cdp.define_trait('tags', 'jsonb');
SELECT cdp.define_trait('tags', 'numeric');
SELECT cdp.define_trait('tags', 'text[]');
SELECT cdp.define_trait('tags', 'int; DROP TABLE cdp_data.profile');
SELECT cdp.define_trait('tags', NULL);
SELECT cdp.define_trait('tags', survivorship => 'newest');
SELECT cdp.define_trait('tags', survivorship => NULL);
SELECT cdp.define_trait(NULL);
SELECT cdp.define_trait('');
SELECT cdp.define_trait(' tags');
SELECT cdp.define_trait(E'ta\ngs');
SELECT cdp.define_trait(repeat('t', 64));
SELECT name, cdp.define_trait(name) FROM (VALUES ('profile_id')) v (name);
DO $$
DECLARE
	word text;
BEGIN
	-- every column of the view and of the table under it that is not a trait
	FOR word IN SELECT attname FROM pg_attribute WHERE attrelid IN ('cdp.profiles'::regclass, 'cdp_data.profile'::regclass,
			'cdp_data.profile_state'::regclass, 'cdp_data.profile_rule'::regclass)
			AND attname NOT IN (SELECT name FROM cdp_data.trait) LOOP
		BEGIN
			PERFORM cdp.define_trait(word);
			RAISE WARNING 'taken: %', word;
		EXCEPTION WHEN reserved_name THEN
			NULL;
		END;
	END LOOP;
END $$;
-- names that need quotes do no harm
SELECT cdp.define_trait('select'), cdp.define_trait('x"; DROP TABLE cdp_data.profile; --'), cdp.define_trait('o''hara');
SELECT attname FROM pg_attribute WHERE attrelid = 'cdp.profiles'::regclass AND attnum > 0 ORDER BY attnum;
SELECT attname, format_type(atttypid, atttypmod) AS type, col_description(attrelid, attnum) AS comment
FROM pg_attribute WHERE attrelid = 'cdp.profiles'::regclass AND attnum > 0 ORDER BY attname COLLATE "C";
SELECT obj_description('cdp.profiles'::regclass);

--
-- Values that fit, and the forms they come in
--
CREATE VIEW typed AS SELECT identifiers #>> '{user_id,0}' AS who, age, points, score, vip, born, joined, "loyalty card" AS card FROM cdp.profiles;
CREATE PROCEDURE identify(who text, traits jsonb, at timestamptz DEFAULT '2025-01-01 12:00Z', id text DEFAULT NULL)
LANGUAGE sql AS $$ SELECT cdp.identify('user_id:' || who, traits, at, id, 'test') $$;

CALL identify('json', '{"age": 33, "points": 9007199254740993, "score": 1.5, "vip": true, "born": "1990-02-28",
	"joined": "2024-02-29T23:59:59.123456Z", "loyalty card": "00112233-4455-6677-8899-aabbccddeeff"}');
CALL identify('text', '{"age": "33", "points": "-5", "score": "-1e-3", "vip": "false", "born": "1990-02-28",
	"joined": "2024-03-01T01:00:00+02:00", "loyalty card": "00112233-4455-6677-8899-AABBCCDDEEFF"}');
CALL identify('whole', '{"age": 33.0, "points": 7.000, "score": 2, "vip": 1}');
CALL identify('least', '{"age": -2147483648, "points": -9223372036854775808, "score": 5e-324}');
CALL identify('most', '{"age": 2147483647, "points": 9223372036854775807, "score": 1.7976931348623157e308}');
CALL identify('epoch', '{"joined": 1700000000, "born": 0}');
SELECT * FROM typed WHERE who IN ('json', 'text', 'whole', 'least', 'most', 'epoch') ORDER BY who;
SELECT * FROM cdp.rejected;

-- text takes any scalar
CALL identify('scalar', '{"nick": 42}');
CALL identify('scalar2', '{"nick": true}');
SELECT identifiers #>> '{user_id,0}' AS who, nick FROM cdp.profiles WHERE nick IS NOT NULL ORDER BY who;

-- values that do not fit: recorded, the rest is taken
SELECT who, cdp.identify('user_id:' || who, jsonb_build_object('city', 'Kyoto', 'points', 1) || traits, '2025-01-01', who, 'misfit') IS NOT NULL AS accepted
FROM (VALUES
	('age float', '{"age": 33.5}'::jsonb), ('age overflow', '{"age": 2147483648}'), ('age underflow', '{"age": "-2147483649"}'),
	('age word', '{"age": "secret"}'), ('age empty', '{"age": ""}'), ('age bool', '{"age": true}'), ('age list', '{"age": [33]}'), ('age object', '{"age": {"n": 33}}'),
	('age huge', '{"age": 1e400}'), ('age tiny', '{"age": 1e-400}'), ('points overflow', '{"points": 9223372036854775808}'), ('points huge', '{"points": 1e19}'),
	('score word', '{"score": "1.5 kg"}'), ('score huge', '{"score": 1e400}'),
	('vip word', '{"vip": "perhaps"}'), ('vip number', '{"vip": 2}'),
	('born impossible', '{"born": "2023-02-29"}'), ('born word', '{"born": "yesterday"}'), ('born list', '{"born": []}'),
	('joined word', '{"joined": "now"}'), ('joined infinite', '{"joined": "infinity"}'), ('joined huge', '{"joined": 1e300}'),
	('card short', '{"loyalty card": "00112233"}'), ('card number', '{"loyalty card": 5}'), ('nick list', '{"nick": ["a", "b"]}')) v (who, traits)
ORDER BY who;
SELECT t.*, p.nick, p.traits FROM typed t JOIN cdp.profiles p ON p.identifiers #>> '{user_id,0}' = t.who
WHERE who LIKE '% %' ORDER BY who;
SELECT message_id, reason, detail, left((payload -> 'traits')::text, 60) AS kept FROM cdp.rejected WHERE source = 'misfit' ORDER BY message_id COLLATE "C";
-- each of them is an accepted message
SELECT count(*) = count(e.message_id) AS all_are_events, count(*)
FROM cdp.rejected r LEFT JOIN cdp.events e ON e.message_id = split_part(r.message_id, ' trait ', 1) AND e.source = r.source
WHERE r.source = 'misfit';
-- two misfits and a fit in one message
CALL identify('double', '{"age": "x", "vip": "y", "score": 3}', id => 'double');
SELECT message_id, detail FROM cdp.rejected WHERE source = 'test' ORDER BY message_id COLLATE "C";
SELECT score FROM typed WHERE who = 'double';
-- a misfit does not displace a value
CALL identify('keeps', '{"age": 20}', '2025-01-01');
CALL identify('keeps', '{"age": "twenty-one"}', '2025-01-02');
SELECT age FROM typed WHERE who = 'keeps';

--
-- Survivorship, by the time of the event
--
CALL identify('late', '{"nick": "second", "first_shop": "second", "x": "second"}', '2025-02-02');
CALL identify('late', '{"nick": "third", "first_shop": "third", "x": "third"}', '2025-02-03');
CALL identify('late', '{"nick": "first", "first_shop": "first", "x": "first"}', '2025-02-01');
SELECT nick, first_shop, traits ->> 'x' AS x FROM cdp.profiles WHERE identifiers #>> '{user_id,0}' = 'late';
-- null unsets, and what is older does not come back
CALL identify('late', '{"nick": null, "first_shop": null, "x": null}', '2025-02-04');
SELECT nick, first_shop, traits ? 'x' AS x FROM cdp.profiles WHERE identifiers #>> '{user_id,0}' = 'late';
CALL identify('late', '{"nick": "older", "x": "older"}', '2025-02-03 12:00Z');
SELECT nick, first_shop, traits ? 'x' AS x FROM cdp.profiles WHERE identifiers #>> '{user_id,0}' = 'late';
CALL identify('late', '{"nick": "newer", "x": "newer"}', '2025-02-05');
SELECT nick, first_shop, traits ->> 'x' AS x FROM cdp.profiles WHERE identifiers #>> '{user_id,0}' = 'late';
-- null as the oldest survives as such
CALL identify('null first', '{"first_shop": "b"}', '2025-02-02');
CALL identify('null first', '{"first_shop": null}', '2025-02-01');
SELECT first_shop FROM cdp.profiles WHERE identifiers #>> '{user_id,0}' = 'null first';
-- unsetting what was never set is nothing
CALL identify('never', '{"age": null, "x": null}');
SELECT age, traits FROM cdp.profiles WHERE identifiers #>> '{user_id,0}' = 'never';

-- ties are decided by the message, not by who came first
CREATE TABLE tie (n int, v text, id text);
INSERT INTO tie SELECT n, v, format('%s-%s', n, v) FROM generate_series(1, 20) n, unnest('{a,b,c}'::text[]) v;
SELECT count(cdp.identify('user_id:tie' || n, jsonb_build_object('nick', v, 'first_shop', v, 'x', v), '2025-03-01', id, 'tie'))
FROM (SELECT * FROM tie ORDER BY n, md5(id)) t;
SELECT count(*) AS people, count(*) FILTER (WHERE p.nick = w.last AND p.traits ->> 'x' = w.last AND p.first_shop = w.first) AS right_winner
FROM (SELECT t.n, (array_agg(t.v ORDER BY e.message_key DESC))[1] AS last, (array_agg(t.v ORDER BY e.message_key))[1] AS first
	FROM tie t JOIN cdp_data.event e ON e.message_id = t.id AND e.source = 'tie' GROUP BY t.n) w
JOIN cdp.profiles p ON p.identifiers #>> '{user_id,0}' = 'tie' || w.n;

-- any order of arrival, in one call or several, gives the same traits
CREATE TABLE history AS
SELECT n, format('h%s', n) AS id, '2025-04-01'::timestamptz + make_interval(hours => n * 7 % 23) AS at,
	jsonb_build_object('nick', CASE WHEN n % 5 = 0 THEN NULL ELSE format('m%s', n) END, 'first_shop', format('s%s', n), 'x', CASE WHEN n % 2 = 1 THEN to_jsonb(n) ELSE 'null' END, 'age', CASE WHEN n % 4 = 0 THEN to_jsonb('no'::text) ELSE to_jsonb(n) END) AS traits
FROM generate_series(1, 30) n;
SELECT count(cdp.identify('user_id:order' || o, traits, at, id || '-' || o, 'history'))
FROM (SELECT * FROM history CROSS JOIN generate_series(1, 10) o ORDER BY o, md5(o || id)) h;
SELECT count(*) FROM cdp.ingest((SELECT jsonb_agg(jsonb_build_object('type', 'identify', 'userId', 'order11', 'timestamp', at, 'messageId', id || '-11', 'traits', traits) ORDER BY md5(id)) FROM history), 'history')
WHERE status = 'accepted';
SELECT count(*) AS people, array_agg(DISTINCT nick) AS nick, array_agg(DISTINCT first_shop) AS first_shop, array_agg(DISTINCT age) AS age, array_agg(DISTINCT traits) AS traits
FROM cdp.profiles WHERE identifiers #>> '{user_id,0}' LIKE 'order%';
-- which is what the history says
SELECT (SELECT traits ->> 'nick' FROM history ORDER BY at DESC LIMIT 1) AS nick,
	(SELECT traits ->> 'first_shop' FROM history ORDER BY at LIMIT 1) AS first_shop,
	(SELECT (traits ->> 'age')::int FROM history WHERE n % 4 <> 0 ORDER BY at DESC LIMIT 1) AS age,
	(SELECT traits -> 'x' FROM history ORDER BY at DESC LIMIT 1) AS x;

--
-- Two people become one: their traits are folded by the time of the events
--
SELECT cdp.identify('cookie:m', '{"nick": "old", "first_shop": "early", "x": "new", "only_cookie": 1, "age": 1}', '2025-05-01') IS NOT NULL AS a;
SELECT cdp.identify('user_id:m', '{"nick": "new", "first_shop": "late", "only_user": 2, "vip": true}', '2025-05-03') IS NOT NULL AS b;
SELECT cdp.identify('cookie:m', '{"x": null, "vip": false}', '2025-05-04') IS NOT NULL AS a;
SELECT cdp.identify('user_id:m', '{"x": "old"}', '2025-05-02') IS NOT NULL AS b;
SELECT cdp.track('{cookie:m,user_id:m}', 'Signed In', at => '2025-05-02') IS NOT NULL AS merged;
SELECT identifiers, events, first_seen, last_seen, nick, first_shop, age, vip, traits FROM cdp.profiles WHERE identifiers @> '{"cookie": ["m"]}';
-- a value that is older than both does not win afterwards
SELECT cdp.identify('cookie:m', '{"vip": true, "nick": "oldest", "first_shop": "oldest"}', '2025-04-30') IS NOT NULL AS late;
SELECT nick, first_shop, vip, first_seen FROM cdp.profiles WHERE identifiers @> '{"cookie": ["m"]}';
SELECT count(*) FROM cdp.merged_profiles;

--
-- Undeclared traits, and declaring them later
--
CALL identify('free', '{"list": [1, "two", {"three": null}], "object": {"a": {"b": []}}, "number": 1.50, "text": "Ünïcode", "flag": false, "": "no name"}');
SELECT traits FROM cdp.profiles WHERE identifiers #>> '{user_id,0}' = 'free';
CALL identify('later1', '{"size": 1}', '2025-01-01');
CALL identify('later1', '{"size": "3"}', '2025-01-03');
CALL identify('later1', '{"size": 2}', '2025-01-02');
CALL identify('later2', '{"size": "large"}', '2025-01-01');
CALL identify('later3', '{"size": [1]}', '2025-01-01');
CALL identify('later4', '{"size": 5, "other": 6}', '2025-01-01');
CALL identify('later4', '{"size": null}', '2025-01-02');
CALL identify('later5', '{"size": 7}', '2025-01-01');
CALL identify('later5', '{"size": "huge"}', '2025-01-02');
CREATE VIEW mine AS SELECT identifiers #>> '{user_id,0}' AS who, traits, nick FROM cdp.profiles;
SELECT * FROM mine WHERE who LIKE 'later%' ORDER BY who;
SELECT cdp.define_trait('size', 'int');
SELECT identifiers #>> '{user_id,0}' AS who, size, traits FROM cdp.profiles WHERE identifiers #>> '{user_id,0}' LIKE 'later%' ORDER BY who;
SELECT source, reason, detail, payload -> 'traits' AS kept FROM cdp.rejected WHERE source = 'cdp.define_trait' ORDER BY payload -> 'traits';
-- the declared trait goes on as if it always had been declared
CALL identify('later1', '{"size": 9}', '2025-01-02 12:00Z');
CALL identify('later4', '{"size": 9}', '2025-01-01 12:00Z');
CALL identify('later2', '{"size": 9}', '2025-01-02 12:00Z');
SELECT identifiers #>> '{user_id,0}' AS who, size FROM cdp.profiles WHERE identifiers #>> '{user_id,0}' LIKE 'later%' ORDER BY who;
-- oldest is found again from the events
SELECT cdp.define_trait('x', survivorship => 'oldest');
SELECT identifiers #>> '{user_id,0}' AS who, x FROM cdp.profiles WHERE identifiers #>> '{user_id,0}' IN ('late', 'order1', 'm') ORDER BY who;
SELECT traits ->> 'x' AS x FROM history ORDER BY at LIMIT 1;

-- a view upon cdp.profiles lives on; its columns stay where they are
SELECT array_agg(attname::text ORDER BY attnum) AS columns FROM pg_attribute WHERE attrelid = 'mine'::regclass AND attnum > 0;
SELECT count(*) > 0 AS readable FROM mine;
SELECT array_agg(attname::text ORDER BY attnum) FILTER (WHERE attnum <= 8) AS first, (array_agg(attname::text ORDER BY attnum DESC))[1:2] AS appended_last
FROM pg_attribute WHERE attrelid = 'cdp.profiles'::regclass AND attnum > 0;
-- what rolls back leaves no column
BEGIN;
SELECT cdp.define_trait('gone', 'int');
SELECT count(gone) FROM cdp.profiles;
ROLLBACK;
SELECT gone FROM cdp.profiles;
SELECT count(*) FROM cdp.traits WHERE name = 'gone';
CALL identify('gone', '{"gone": "text"}');
SELECT traits FROM mine WHERE who = 'gone';

--
-- Plans, as an ordinary role under its policies
--
CREATE ROLE regress_cdp_profile_analyst;
SELECT cdp.define_purpose('analytics') > 0 AS defined;
SELECT cdp.permit('regress_cdp_profile_analyst', 'analytics');
SELECT count(*) FROM cdp.ingest((SELECT jsonb_agg(jsonb_build_object('type', 'identify', 'userId', 'plan' || n, 'timestamp', '2025-06-01T00:00:00Z', 'messageId', 'plan' || n,
	'traits', jsonb_build_object('email', format('p%s@example.com', n)))) FROM generate_series(1, 4000) n), 'plan') WHERE status = 'accepted';
SELECT count(cdp.set_consent('user_id:plan' || n, 'analytics', 'granted', '2025-06-01')) FROM generate_series(1, 4000, 400) n;
ANALYZE cdp_data.profile, cdp_data.profile_state, cdp_data.node, cdp_data.identifier;

CREATE FUNCTION plan(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE 'EXPLAIN (COSTS OFF) ' || query;
END $$;
-- the part of a plan that reads one table
CREATE FUNCTION node_of(query text, tbl text) RETURNS SETOF text LANGUAGE sql AS $$
	WITH p AS (SELECT line, o FROM plan(query) WITH ORDINALITY x (line, o))
	SELECT btrim(p.line, ' ->') FROM p
	WHERE p.line ~ (' on ' || tbl || ' ') OR p.line ~ 'Index Cond' AND (SELECT q.line FROM p q WHERE q.o = p.o - 1) ~ (' on ' || tbl || ' ')
	ORDER BY p.o
$$;
SET ROLE regress_cdp_profile_analyst;
SELECT node_of($$SELECT * FROM cdp.profiles WHERE email = 'p401@example.com'$$, 'profile');
SELECT node_of($$SELECT profile_id FROM cdp.profiles WHERE age = 5 AND vip$$, 'profile');
SELECT node_of($$SELECT * FROM cdp.profiles WHERE profile_id = 5$$, 'profile');
PREPARE by_email(text) AS SELECT email FROM cdp.profiles WHERE email = $1;
EXECUTE by_email('p401@example.com');
EXECUTE by_email('p402@example.com');
-- counting reads nothing but the profiles
SELECT DISTINCT substring(line FROM '(?: on | using )(.*)$') AS reads FROM plan('SELECT count(*) FROM cdp.profiles') line WHERE line ~ 'Scan|SubPlan|Join';
SELECT DISTINCT substring(line FROM ' on (\w+)') AS reads FROM plan('SELECT email, count(*) FROM cdp.profiles GROUP BY email') line WHERE line ~ 'Scan|SubPlan|Join';
SELECT count(*) FROM cdp.profiles;
RESET ROLE;

-- one id and time from two sources: the outcome does not depend on the order
SELECT cdp.identify('user_id:tie1', '{"t": "A"}', '2024-01-01', 'same', 's1') > 0 AS a, cdp.identify('user_id:tie1', '{"t": "B"}', '2024-01-01', 'same', 's2') > 0 AS b;
CREATE TABLE tie_of_sources AS SELECT traits ->> 't' AS t FROM cdp.profiles WHERE profile_id = cdp.resolve('user_id:tie1');
TRUNCATE cdp_data.message_seen;
SELECT cdp.identify('user_id:tie2', '{"t": "B"}', '2024-01-01', 'same', 's2') > 0 AS b, cdp.identify('user_id:tie2', '{"t": "A"}', '2024-01-01', 'same', 's1') > 0 AS a;
SELECT traits ->> 't' = t AS same FROM cdp.profiles, tie_of_sources WHERE profile_id = cdp.resolve('user_id:tie2');
DROP TABLE tie_of_sources;

-- an indexed trait has to fit its index; the message is taken all the same
SELECT cdp.define_trait('handle', 'text', index => true);
SELECT status FROM cdp.ingest(jsonb_build_object('type', 'identify', 'userId', 'long', 'traits', jsonb_build_object('handle', (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 300) i), 'other', 1)), 'long');
SELECT handle IS NULL AS no_handle, traits FROM cdp.profiles WHERE profile_id = cdp.resolve('user_id:long');
SELECT reason, detail FROM cdp.rejected WHERE source = 'long';

-- a snapshot that is older than the lock would miss people
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT cdp.define_trait('late');
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT cdp.define_segment('late', predicate => 'events > 1');
ROLLBACK;

\c :main
DROP DATABASE regress_cdp_profile;
DROP ROLE regress_cdp_profile_analyst;
