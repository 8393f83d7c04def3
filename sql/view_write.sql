-- UPDATE cdp.profiles and cdp.upsert_profile(): what ORMs write becomes
-- messages, and reads back as it was written.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_view_write;
CREATE DATABASE regress_view_write TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_view_write
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION cdp;
SELECT count(*) > 0 AS init FROM cdp.init();
SELECT cdp.define_trait('city', index => true), cdp.define_trait('age', 'int'), cdp.define_trait('big', 'bigint'), cdp.define_trait('score', 'float8'),
	cdp.define_trait('vip', 'bool'), cdp.define_trait('born', 'date'), cdp.define_trait('joined', 'timestamptz'), cdp.define_trait('ref', 'uuid'),
	cdp.define_trait('first_city', survivorship => 'oldest');
SELECT cdp.define_segment('adults', predicate => 'age >= 18') > 0 AS segment;
SELECT cdp.identify('user_id:ada', '{"city":"London","age":36,"nick":"A","pet":{"cat":1},"first_city":"Paris"}', at => '2024-01-01') AS ada \gset
SELECT cdp.identify('user_id:bob', '{"city":"Oslo","age":5}', at => '2024-01-01') AS bob \gset
SELECT count(*) AS messages FROM cdp_data.event \gset

--
-- A column, several, all types, null; one message each
--
UPDATE cdp.profiles SET city = 'Tokyo' WHERE profile_id = :ada;
SELECT city, age FROM cdp.profiles WHERE profile_id = :ada;
SELECT type, source, traits FROM cdp.events WHERE source = 'view';
UPDATE cdp.profiles SET city = 'O''Hara "x" \', age = -7, big = 9223372036854775807, score = 0.1, vip = true, born = '2000-02-29',
	joined = '2026-01-02 03:04:05.678901+09', ref = 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11' WHERE profile_id = :ada
RETURNING city, age, big, score, vip, born, joined, ref;
SELECT city, age, big, score, vip, born, joined, ref FROM cdp.profiles WHERE profile_id = :ada;
SELECT traits FROM cdp.events WHERE source = 'view' ORDER BY ts DESC LIMIT 1;
UPDATE cdp.profiles SET score = '0.30000000000000004', big = -9223372036854775808, joined = '1999-12-31 23:59:59.999999+00' WHERE profile_id = :ada RETURNING score, big, joined;
SET extra_float_digits = 0;
SET datestyle = 'SQL, DMY';
SET timezone = 'Asia/Tokyo';
UPDATE cdp.profiles SET score = 1.0 / 3, joined = '2026-02-03 04:05:06+00', born = '2001-02-03' WHERE profile_id = :ada;
RESET extra_float_digits;
SET datestyle = 'ISO, YMD';
SET timezone = 'UTC';
SELECT score = 1.0 / 3 AS exact, joined, born FROM cdp.profiles WHERE profile_id = :ada;
UPDATE cdp.profiles SET score = 1e300 WHERE profile_id = :ada RETURNING score;
UPDATE cdp.profiles SET city = NULL, vip = NULL, score = NULL WHERE profile_id = :ada RETURNING city, vip, score, age;
SELECT count(*) - :messages AS messages FROM cdp_data.event;
-- what does not change sends nothing; an ORM that writes all columns back
UPDATE cdp.profiles SET age = age, city = NULL, profile_id = profile_id, events = events, segments = segments, identifiers = identifiers, traits = traits, last_seen = last_seen WHERE profile_id = :ada RETURNING profile_id = :ada AS same;
SELECT count(*) - :messages AS messages FROM cdp_data.event;

--
-- Traits whose values are tallied
--
SELECT cdp.define_trait('tags', survivorship => 'union'), cdp.define_trait('counts', 'int', 'union'), cdp.define_trait('usual', survivorship => 'most_frequent');
UPDATE cdp.profiles SET tags = '{b,"x \"y\"",NULL}', counts = '{3,1}', usual = 'tea' WHERE profile_id = :ada RETURNING tags, counts, usual;
SELECT traits FROM cdp.events WHERE source = 'view' ORDER BY ts DESC LIMIT 1;
UPDATE cdp.profiles SET tags = '{a}', usual = 'cocoa' WHERE profile_id = :ada RETURNING tags, usual;
SELECT cdp.upsert_profile('user_id:ada', '{"tags":["c"],"usual":"cocoa"}') = :ada AS same;
UPDATE cdp.profiles SET tags = NULL, counts = NULL WHERE profile_id = :ada RETURNING tags, counts, usual;
-- more values than are kept
SELECT count(cdp.identify('user_id:ada', jsonb_build_object('usual', 'v' || i), at => '2024-01-02')) AS sent FROM generate_series(1, 300) i;
UPDATE cdp.profiles SET usual = 'v7' WHERE profile_id = :ada RETURNING usual;
SELECT count(*) AS differences FROM cdp.verify();
SELECT count(*) AS messages FROM cdp_data.event \gset

--
-- Undeclared traits
--
UPDATE cdp.profiles SET traits = traits || '{"nick":"B","new":[1,2]}' WHERE profile_id = :ada RETURNING traits;
SELECT traits FROM cdp.events WHERE source = 'view' ORDER BY ts DESC LIMIT 1;
UPDATE cdp.profiles SET traits = traits - 'pet' WHERE profile_id = :ada RETURNING traits;
SELECT traits FROM cdp.events WHERE source = 'view' ORDER BY ts DESC LIMIT 1;
UPDATE cdp.profiles SET traits = '{"city":"by object","nick":"C"}', age = 40 WHERE profile_id = :ada RETURNING traits, city, age;
UPDATE cdp.profiles SET traits = '{"city":"by object"}', city = 'by column' WHERE profile_id = :ada RETURNING traits, city;
UPDATE cdp.profiles SET traits = NULL WHERE profile_id = :ada RETURNING traits;
UPDATE cdp.profiles SET traits = '[1]' WHERE profile_id = :ada;
UPDATE cdp.profiles SET traits = '"x"' WHERE profile_id = :ada;

--
-- What follows from other things; what does not fit; what is not there
--
UPDATE cdp.profiles SET events = 5 WHERE profile_id = :ada;
UPDATE cdp.profiles SET segments = '{vip}' WHERE profile_id = :ada;
UPDATE cdp.profiles SET profile_id = 7 WHERE profile_id = :ada;
UPDATE cdp.profiles SET identifiers = '{}', city = 'x' WHERE profile_id = :ada;
UPDATE cdp.profiles SET nobody = 'x' WHERE profile_id = :ada;
UPDATE cdp.profiles SET city = repeat('x', 2001) WHERE profile_id = :ada;
UPDATE cdp.profiles SET joined = 'infinity' WHERE profile_id = :ada;
SELECT count(*) AS rejected FROM cdp.rejected;
DELETE FROM cdp.profiles;
INSERT INTO cdp.profiles (city) VALUES ('x');
UPDATE cdp.profiles SET city = 'x' WHERE profile_id = 0;
CREATE TABLE other (a int);
CREATE TRIGGER t BEFORE UPDATE ON other FOR EACH ROW EXECUTE FUNCTION cdp.update_profile();
INSERT INTO other VALUES (1);
UPDATE other SET a = 2;

--
-- What is written is read: in one statement's function, against clocks that are ahead
--
DO $$ BEGIN
	FOR i IN 1..20 LOOP
		UPDATE cdp.profiles SET city = 'round ' || i WHERE age = 5;
		IF (SELECT city FROM cdp.profiles WHERE age = 5) <> 'round ' || i THEN
			RAISE EXCEPTION 'lost at %', i;
		END IF;
	END LOOP;
END $$;
SET cdp.clock = '2026-03-01 12:00';
SELECT cdp.identify('user_id:dan', '{"city":"Tomorrow","nick":"t"}', at => '2026-03-02 11:59') AS dan \gset
UPDATE cdp.profiles SET city = 'Today', traits = '{"nick":"u"}' WHERE profile_id = :dan RETURNING city, traits;
UPDATE cdp.profiles SET city = 'Later' WHERE profile_id = :dan RETURNING city;
SELECT cdp.upsert_profile('user_id:dan', '{"city":"Last"}') = :dan AS same;
SELECT city, last_seen FROM cdp.profiles WHERE profile_id = :dan;
SELECT cdp.identify('user_id:dan', '{"city":"Next"}', at => '2026-03-02 11:59:01') = :dan AS later_from_elsewhere;
SELECT city FROM cdp.profiles WHERE profile_id = :dan;
RESET cdp.clock;
-- the oldest value stays, and RETURNING says so
UPDATE cdp.profiles SET first_city = 'Rome' WHERE profile_id = :ada RETURNING first_city;
-- segments follow in the same statement; many people at once
UPDATE cdp.profiles SET age = age + 30, city = 'all' WHERE age IS NOT NULL RETURNING profile_id = :ada AS ada, age, segments, city;
WITH u AS (UPDATE cdp.profiles SET age = 1 WHERE city = 'all' RETURNING age) SELECT count(*), sum(age) FROM u;
SELECT count(*) FROM cdp.segment_members;
PREPARE orm (text, bigint) AS UPDATE cdp.profiles SET city = $1 WHERE profile_id = $2 RETURNING city;
EXECUTE orm ('prepared', :ada);
-- a trait that came later is a column like others, in the same session too
SELECT cdp.define_trait('nick');
UPDATE cdp.profiles SET nick = 'Countess' WHERE profile_id = :ada RETURNING nick, traits;
EXECUTE orm ('again', :ada);
-- rolled back it never was
BEGIN;
UPDATE cdp.profiles SET city = 'never' WHERE profile_id = :ada;
ROLLBACK;
SELECT city, nick FROM cdp.profiles WHERE profile_id = :ada;

--
-- An e-mail address is an identifier here as in any message: she may turn out to be somebody
--
SELECT cdp.define_trait('email');
SELECT cdp.identify('email:eve@example.com', '{"city":"Eden"}', at => '2024-01-01') AS eve \gset
SELECT cdp.identify('user_id:eva', '{"age":20}', at => '2024-01-02') AS eva \gset
UPDATE cdp.profiles SET email = 'Eve@example.com' WHERE profile_id = :eva RETURNING profile_id = :eve AS eve, city, age, email;

--
-- upsert_profile: by any name
--
SELECT cdp.upsert_profile('user_id:new', '{"city":"N","k":1}') AS new \gset
SELECT cdp.upsert_profile('{user_id:new,phone:+4915112345678}'::text[], '{"city":null}') = :new AS by_array,
	cdp.upsert_profile('{user_id:new,phone:+4915112345678}'::cdp.identity_set, '{"age":3}') = :new AS by_set,
	cdp.upsert_profile(:new::bigint, '{"k":2}') = :new AS by_id, cdp.upsert_profile('user_id:new') = :new AS empty;
SELECT city, age, traits, events FROM cdp.profiles WHERE profile_id = :new;
SELECT cdp.upsert_profile('user_id:new', '[]');
SELECT cdp.upsert_profile('user_id:new', '{"age":"old"}');
SELECT cdp.upsert_profile(99999::bigint, '{"age":1}');
SELECT cdp.upsert_profile('user_id:null', '{"age":1}');
SELECT cdp.upsert_profile(NULL::text, '{"age":1}');
SELECT cdp.upsert_profile('user_id:new', (SELECT jsonb_object_agg(i, i) FROM generate_series(1, 1001) i));
UPDATE cdp.profiles SET traits = (SELECT jsonb_object_agg(i, i) FROM generate_series(1, 1001) i) WHERE profile_id = :new;
SELECT cdp.upsert_profile((SELECT array_agg('device_id:d' || i) FROM generate_series(1, 101) i), '{"age":1}');

--
-- Whose rows: the role's; rights by columns
--
SELECT cdp.define_purpose('care') > 0 AS purpose;
CREATE ROLE regress_view_app;
CREATE ROLE regress_view_analyst;
CREATE ROLE regress_view_clerk;
SELECT cdp.provision('regress_view_app', 'app'), cdp.permit('regress_view_app', 'care'), cdp.provision('regress_view_analyst', 'analyst'), cdp.permit('regress_view_analyst', 'care'),
	cdp.provision('regress_view_clerk', 'service'), cdp.permit('regress_view_clerk', 'care');
SELECT cdp.set_consent('user_id:ada', 'care', 'granted') = :ada AS granted, cdp.set_consent('user_id:new', 'care', 'granted') = :new AS granted, cdp.set_consent('email:zoe@example.com', 'care', 'denied') = cdp.upsert_profile('email:zoe@example.com', '{"city":"secret","big":5}') AS denied;
SET ROLE regress_view_app;
UPDATE cdp.profiles SET city = 'app' RETURNING profile_id = :ada AS ada, profile_id = :new AS new, city;
\echo :ROW_COUNT
UPDATE cdp.profiles SET city = 'app' WHERE profile_id = :bob;
\echo :ROW_COUNT
-- who turns out to be somebody the role must not see: it is not told what she is
UPDATE cdp.profiles SET email = 'zoe@example.com' WHERE profile_id = :ada RETURNING profile_id = :ada AS ada, city, email, big;
SELECT city, email, big FROM cdp.profiles WHERE profile_id = :ada;
SET ROLE regress_view_analyst;
UPDATE cdp.profiles SET city = 'analyst';
SELECT cdp.upsert_profile('user_id:ada', '{"city":"x"}');
RESET ROLE;
GRANT UPDATE (city) ON cdp.profiles TO regress_view_clerk;
SET ROLE regress_view_clerk;
UPDATE cdp.profiles SET age = 3;
UPDATE cdp.profiles SET city = 'clerk';
RESET ROLE;
SELECT profile_id = :new AS new, profile_id = :eve AS eve, city, age FROM cdp.profiles WHERE city <> 'all' ORDER BY profile_id;

--
-- L2: a history of updates by the view and by messages, folded from the events, is the live person
--
SELECT setseed(0.17);
SELECT cdp.define_trait('t1'), cdp.define_trait('t2', 'int');
SELECT count(cdp.identify('login:p' || i, '{}', at => '2024-01-01')) AS people FROM generate_series(1, 12) i;
DO $$
DECLARE
	w text;
	n text;
	v text;
	r float8;
	seen text;
BEGIN
	FOR i IN 1..400 LOOP
		w := 'login:p' || 1 + floor(random() * 12)::int;
		n := (ARRAY['t1', 't2', 'u1', 'u2'])[1 + floor(random() * 4)::int];
		v := CASE WHEN random() < 0.8 THEN floor(random() * 100)::int::text END;
		r := random();
		IF r < 0.3 THEN
			-- from elsewhere, older than what the view wrote
			PERFORM cdp.identify(w, jsonb_build_object(n, v), at => timestamptz '2024-01-02' + (random() * 400)::int * interval '1 minute', source => 'web');
			CONTINUE;
		ELSIF r < 0.4 THEN
			-- she turns out to be one with another, or somebody parts them
			PERFORM cdp.identify(ARRAY[w, 'cookie:k' || i % 9], '{}', source => 'web');
			CONTINUE;
		ELSIF r < 0.6 THEN
			PERFORM cdp.upsert_profile(w, jsonb_build_object(n, v));
		ELSIF n LIKE 't%' THEN
			EXECUTE format('UPDATE cdp.profiles SET %I = $1::%s WHERE profile_id = cdp.resolve($2)', n, CASE n WHEN 't1' THEN 'text' ELSE 'int' END) USING v, w;
		ELSE
			UPDATE cdp.profiles SET traits = CASE WHEN v IS NULL THEN traits - n ELSE traits || jsonb_build_object(n, v) END WHERE profile_id = cdp.resolve(w);
		END IF;
		SELECT coalesce(to_jsonb(p) ->> n, p.traits ->> n) INTO seen FROM cdp.profiles p WHERE p.profile_id = cdp.resolve(w);
		IF seen IS DISTINCT FROM v THEN
			RAISE WARNING 'round %: % of % is % instead of %', i, n, w, seen, v;
		END IF;
	END LOOP;
END $$;
SELECT source, count(*) > 50 AS many FROM cdp.events WHERE ts > '2024-01-02' AND source IN ('web', 'view') GROUP BY source ORDER BY source;
SELECT count(*) FROM (SELECT cdp.unmerge(merge_id) FROM cdp.merges WHERE undone_at IS NULL ORDER BY merge_id DESC LIMIT 3) x;
-- the naive fold: the latest value of each trait by (ts, message key)
WITH history AS (
	SELECT n.profile_id, t.key, t.value, row_number() OVER (PARTITION BY n.profile_id, t.key ORDER BY e.ts DESC, e.message_key DESC) AS k
	FROM cdp_data.event e JOIN cdp_data.node n USING (node_id) CROSS JOIN jsonb_each(e.traits) t WHERE e.type = 'identify'),
folded AS (SELECT profile_id, key, value #>> '{}' AS value FROM history WHERE k = 1 AND value <> 'null'),
live AS (SELECT p.profile_id, t.key, t.value FROM cdp.profiles p CROSS JOIN jsonb_each_text(p.traits || jsonb_strip_nulls(jsonb_build_object('t1', p.t1, 't2', p.t2))) t)
SELECT (SELECT count(*) > 8 FROM folded WHERE key ~ '^[tu][12]$') AS enough,
	(SELECT count(*) FROM (SELECT * FROM folded WHERE key ~ '^[tu][12]$' EXCEPT SELECT * FROM live) x) AS missing,
	(SELECT count(*) FROM (SELECT * FROM live WHERE key ~ '^[tu][12]$' EXCEPT SELECT * FROM folded) x) AS invented;

\c regression
SET client_min_messages = warning;
DROP DATABASE regress_view_write;
DROP ROLE regress_view_app, regress_view_analyst, regress_view_clerk;
