-- cdp.inbox: rows written to it become what cdp.ingest() of the same gives;
-- one that cannot be taken stops no other; nothing is stored or read there.
-- cdp.retry_rejected(), cdp.stats, cdp.progress.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_inbox;
CREATE DATABASE regress_inbox TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_inbox
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION cdp;
SELECT count(*) > 0 AS init FROM cdp.init();
SET client_min_messages = notice;
SET cdp.clock = '2026-03-01 12:00';

--
-- COPY: JSON with whatever JSON has; the incantation of docs/inbox.md
--
COPY cdp.inbox (payload) FROM STDIN WITH (FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02');
{"type":"track","event":"Plain","messageId":"j1","userId":"ada","timestamp":"2026-01-01T00:00:00Z"}
{"type":"track","event":"Hard","messageId":"j2","userId":"ada","timestamp":"2026-01-02T00:00:00Z","properties":{"path":"C:\\temp\\new","quote":"she said \"no\"","lines":"a\nb\r\nc","tab":"x\ty","uni":"\u00e9\u4f60 é 你 \ud83d\ude00 😀","slash":"\/","comma":"a,b;c|d","null":null,"dot":"\\.","single":"it's","dollar":"$1 $$"}}
{"type":"identify","messageId":"j3","userId":"bob","timestamp":"2026-01-03T00:00:00Z","traits":{"name":"B\\ob","city":"東京"}}
\.
\echo :ROW_COUNT
SELECT name, properties FROM cdp.events WHERE message_id = 'j2';
SELECT properties = '{"path":"C:\\temp\\new","quote":"she said \"no\"","lines":"a\nb\r\nc","tab":"x\ty","uni":"\u00e9\u4f60 é 你 \ud83d\ude00 😀","slash":"\/","comma":"a,b;c|d","null":null,"dot":"\\.","single":"it''s","dollar":"$1 $$"}'::jsonb AS exact FROM cdp.events WHERE message_id = 'j2';
SELECT properties->>'lines' = E'a\nb\r\nc' AS lines, properties->>'path' = 'C:\temp\new' AS path FROM cdp.events WHERE message_id = 'j2';
SELECT traits->>'name' = 'B\ob' AS name FROM cdp.events WHERE message_id = 'j3';
-- the defaults of COPY eat backslashes: what is lost is not JSON any more, and is kept
COPY cdp.inbox (payload) FROM STDIN;
{"type":"track","event":"Eaten","messageId":"j4","userId":"ada","properties":{"quote":"she said \"no\""}}
\.
SELECT reason, detail, payload, message_id FROM cdp.rejected;

--
-- Every way of inserting; payloads as cdp.ingest() takes them; sources
--
INSERT INTO cdp.inbox (payload) VALUES ('{"type":"track","event":"One","messageId":"i1","userId":"ada"}');
INSERT INTO cdp.inbox VALUES ('[{"type":"track","event":"Two","messageId":"i2","userId":"ada"},{"type":"track","event":"Two","messageId":"i3","userId":"cat"}]', 'web'),
	('{"sentAt":"2026-02-28T23:00:10Z","batch":[{"type":"track","event":"Three","messageId":"i4","userId":"ada","originalTimestamp":"2026-02-28T23:00:00Z"}]}', 'app'),
	('{"type":"track","event":"Four","messageId":"i5","userId":"ada"}', ''), ('{"type":"track","event":"Five","messageId":"i5","userId":"ada"}', 'web');
WITH moved AS (INSERT INTO cdp.inbox SELECT format('{"type":"track","event":"Cte","messageId":"c%s","userId":"ada"}', i), 'cte' FROM generate_series(1, 3) i RETURNING payload)
SELECT count(*) FROM moved;
PREPARE one (text) AS INSERT INTO cdp.inbox (payload, source) VALUES ($1, 'prepared');
EXECUTE one ('{"type":"track","event":"P","messageId":"p1","userId":"ada"}');
EXECUTE one ('{"type":"track","event":"P","messageId":"p1","userId":"ada"}');
EXPLAIN (COSTS OFF) INSERT INTO cdp.inbox SELECT '{}';
INSERT INTO cdp.inbox SELECT '{}' WHERE false;
SELECT source, count(*) FROM cdp.events GROUP BY source ORDER BY source;
SELECT ts FROM cdp.events WHERE message_id = 'i4';
-- the same again, by another way
INSERT INTO cdp.inbox (payload) VALUES ('{"type":"track","event":"One","messageId":"i1","userId":"ada"}');
SELECT count(*) FROM cdp.events WHERE message_id = 'i1';
-- nothing is there to be read, changed, upserted
SELECT * FROM cdp.inbox;
DELETE FROM cdp.inbox;
UPDATE cdp.inbox SET source = 'x';
INSERT INTO cdp.inbox VALUES ('{}') ON CONFLICT DO NOTHING;
SELECT count(*) AS relations FROM pg_class c WHERE c.relnamespace = 'cdp_data'::regnamespace AND c.relname ~ 'inbox';

--
-- Rows that cannot be taken
--
DELETE FROM cdp_data.rejected;
INSERT INTO cdp.inbox (payload, source) VALUES
	('{"type":"track","event":"Good","messageId":"g1","userId":"dan"}', 's'),
	('{"type":"track","event":', 's'), (NULL, 's'), ('  ', 's'), ('{"type":"track"} x', 's'),
	('{"type":"track","event":"nul \u0000","messageId":"n","userId":"dan"}', 's'),
	('{"type":"track","event":"surrogate \ud83d","messageId":"n","userId":"dan"}', 's'),
	(repeat('[', 100000), 's'), ('{"n": 1e1000000}', 's'), ('"text"', 's'), ('[]', 's'), ('{"batch": 5}', 's'),
	('{"type":"track","event":"Good","messageId":"g2","userId":"dan"}', repeat('ü', 100)),
	('[{"type":"track","messageId":"g3","userId":"dan"},{"type":"track","event":"Good","messageId":"g4","userId":"dan"}]', 's'),
	('{"type":"track","event":"Good","messageId":"g5"}', 's'),
	('{"type":"track","event":"Good","messageId":"g6","userId":"dan"}', 's');
SELECT name, message_id FROM cdp.events WHERE source = 's' ORDER BY message_id;
SELECT left(source, 10) AS source, reason, detail, message_id, left(payload::text, 60) AS payload, times FROM cdp.rejected ORDER BY reason, detail, payload::text;
-- what nobody foresaw: the row that raises is refused, others are taken
DELETE FROM cdp_data.rejected;
ALTER TABLE cdp_data.event ADD CONSTRAINT nobody_foresaw CHECK (name <> 'Cursed');
INSERT INTO cdp.inbox SELECT format('{"type":"track","event":"%s","messageId":"u%s","userId":"u%s","timestamp":"2026-02-01T00:00:00Z"}', CASE WHEN i % 700 = 0 THEN 'Cursed' ELSE 'Fine' END, i, i % 50), 'check'
FROM generate_series(1, 2500) i;
SELECT name, count(*) FROM cdp.events WHERE source = 'check' GROUP BY name;
SELECT reason, detail, payload->>'messageId' AS id FROM cdp.rejected ORDER BY 3;

--
-- Transactions, nesting, errors in the middle
--
BEGIN;
INSERT INTO cdp.inbox VALUES ('{"type":"track","event":"Gone","messageId":"t1","userId":"eve"}', 't');
SAVEPOINT s;
INSERT INTO cdp.inbox SELECT CASE WHEN i < 1500 THEN format('{"type":"track","event":"Gone","messageId":"t1%s","userId":"eve"}', i) ELSE (1 / (i - 1500))::text END, 't' FROM generate_series(1, 2000) i;
ROLLBACK TO s;
INSERT INTO cdp.inbox VALUES ('{"type":"track","event":"Stays","messageId":"t2","userId":"eve"}', 't');
COMMIT;
BEGIN;
INSERT INTO cdp.inbox VALUES ('{"type":"track","event":"Gone","messageId":"t3","userId":"eve"}', 't');
ROLLBACK;
DO $$ BEGIN
	INSERT INTO cdp.inbox SELECT CASE WHEN i < 3 THEN '{"type":"track","event":"Gone","messageId":"t4","userId":"eve"}' ELSE (1 / 0)::text END, 't' FROM generate_series(1, 3) i;
EXCEPTION WHEN division_by_zero THEN
	INSERT INTO cdp.inbox VALUES ('{"type":"track","event":"Stays","messageId":"t5","userId":"eve"}', 't');
END $$;
-- a row's value from a function that writes to the inbox itself
CREATE FUNCTION nested(i int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO cdp.inbox SELECT format('{"type":"track","event":"Inner","messageId":"n%s-%s","userId":"eve"}', i, k), 'nest' FROM generate_series(1, 2) k;
	INSERT INTO cdp.inbox SELECT '{}' WHERE false;
	IF i = 3 THEN
		BEGIN
			INSERT INTO cdp.inbox SELECT (1 / (k - 2))::text, 'nest' FROM generate_series(1, 2) k;
		EXCEPTION WHEN division_by_zero THEN NULL;
		END;
	END IF;
	RETURN format('{"type":"track","event":"Outer","messageId":"o%s","userId":"eve"}', i);
END $$;
INSERT INTO cdp.inbox SELECT nested(i), 'nest' FROM generate_series(1, 4) i;
SELECT name, count(*) FROM cdp.events WHERE source IN ('t', 'nest') GROUP BY name ORDER BY name;

--
-- L3: one by one = in batches by cdp.ingest() = by COPY = by INSERT, whatever the order
--
DELETE FROM cdp_data.rejected;
SELECT cdp.define_trait('city'), cdp.define_trait('age', 'int');
SELECT cdp.define_segment('adults', predicate => 'age >= 18') > 0 AS segment;
SELECT setseed(0.42);
CREATE TABLE history (i int, payload text, shuffled float8);
INSERT INTO history SELECT i, CASE
	WHEN r < 0.03 THEN '{"type":"track","broken":'
	WHEN r < 0.06 THEN format('{"type":"track","messageId":"m%s","userId":"w%s"}', i, (random() * 40)::int)
	WHEN r < 0.5 THEN format('{"type":"track","event":"E%s","messageId":"m%s","userId":"w%s","anonymousId":"a%s","timestamp":"%s"}', i % 5, i - (i % 11 = 0)::int * 10, (random() * 40)::int, (random() * 60)::int, (timestamp '2026-01-01' + i * interval '7 minutes')::text || 'Z')
	WHEN r < 0.8 THEN format('{"type":"identify","messageId":"m%s","userId":"w%s","timestamp":"%s","traits":{"city":"c%s","age":%s,"nick":"\u00e9%s"}}', i, (random() * 40)::int, (timestamp '2026-01-01' + (random() * 5000)::int * interval '7 minutes')::text || 'Z', (random() * 9)::int, CASE WHEN i % 9 = 0 THEN '"no"' ELSE (random() * 60)::int::text END, i)
	ELSE format('{"type":"track","event":"E%s","messageId":"m%s","anonymousId":"a%s","timestamp":"%s"}', i % 5, i, (random() * 60)::int, (timestamp '2026-01-01' + (random() * 5000)::int * interval '7 minutes')::text || 'Z') END, random()
FROM (SELECT i, random() AS r FROM generate_series(1, 3000) i) x;
-- a person is what she is known by, whatever her number
CREATE VIEW outcome AS
SELECT string_agg(e.message_id || ' ' || e.type || ' ' || coalesce(e.name, ''), ',' ORDER BY e.message_id COLLATE "C") AS events, p.identifiers::text AS identifiers, p.traits::text AS traits, p.city, p.age, p.segments, p.events AS n, p.first_seen, p.last_seen
FROM cdp.profiles p JOIN cdp.events e USING (profile_id) GROUP BY p.profile_id, p.identifiers, p.traits, p.city, p.age, p.segments, p.events, p.first_seen, p.last_seen;
CREATE FUNCTION remember(way text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TABLE %I AS SELECT * FROM outcome', way);
	EXECUTE format('CREATE TABLE %I AS SELECT reason, message_id, payload::text, sum(times) AS times FROM cdp.rejected WHERE source = ''law'' GROUP BY 1, 2, 3', way || '_rejected');
	TRUNCATE cdp_data.identifier, cdp_data.node, cdp_data.identity_edge, cdp_data.identity_merge, cdp_data.profile_merged,
		cdp_data.profile, cdp_data.profile_state, cdp_data.event, cdp_data.message_seen, cdp_data.segment_member, cdp_data.segment_chunk, cdp_data.segment_delta, cdp_data.segment_before,
		cdp_data.node_history, cdp_data.identifier_retired, cdp_data.identity_separation, cdp_data.separation_node, cdp_data.outbox, cdp_data.rejected;
END $$;
SET client_min_messages = warning;
SELECT remember('before');
DROP TABLE before, before_rejected;
DO $$ DECLARE h record; BEGIN
	FOR h IN SELECT payload FROM history ORDER BY i LOOP
		INSERT INTO cdp.inbox VALUES (h.payload, 'law');
	END LOOP;
END $$;
SELECT remember('by_one');
INSERT INTO cdp.inbox SELECT payload, 'law' FROM history ORDER BY i;
SELECT remember('by_insert');
INSERT INTO cdp.inbox SELECT payload, 'law' FROM history WHERE i % 11 NOT IN (0, 1) ORDER BY i;
SELECT remember('in_order');
INSERT INTO cdp.inbox SELECT payload, 'law' FROM history WHERE i % 11 NOT IN (0, 1) ORDER BY shuffled;
SELECT remember('shuffled');
SELECT count(*) AS messages, (SELECT count(*) FROM cdp.ingest((SELECT jsonb_agg(payload::jsonb ORDER BY i) FROM history WHERE payload NOT LIKE '%broken%'), 'law')) = count(*) AS answered FROM history WHERE payload NOT LIKE '%broken%';
SELECT remember('by_ingest');
SELECT count(*) > 10 AS people, sum(n) > 2000 AS events, count(DISTINCT city) > 3 AS cities FROM by_ingest;
TABLE by_one EXCEPT TABLE by_insert;
TABLE by_insert EXCEPT TABLE by_one;
TABLE by_ingest EXCEPT TABLE by_insert;
TABLE by_insert EXCEPT TABLE by_ingest;
-- without those whose id two contents have: which comes first is then the order's
SELECT count(*) > 10 AS people FROM in_order;
TABLE in_order EXCEPT TABLE shuffled;
TABLE shuffled EXCEPT TABLE in_order;
SELECT count(*) FROM (SELECT * FROM by_one_rejected EXCEPT SELECT * FROM by_insert_rejected) x;
SELECT count(*) FROM (SELECT * FROM by_insert_rejected EXCEPT SELECT * FROM by_one_rejected) x;
SELECT reason, count(*) > 3 AS some FROM by_insert_rejected GROUP BY reason ORDER BY reason;
SELECT reason FROM by_insert_rejected WHERE reason <> 'malformed_json' EXCEPT SELECT reason FROM by_ingest_rejected;

--
-- Again, after a fix
--
SET client_min_messages = notice;
SET cdp.clock = '2026-03-01 13:00';
INSERT INTO cdp.inbox VALUES ('{"type":"track","event":"Late","messageId":"r1","customer":"c1"}', 'shop'), ('{"type":"track","event":"Late","customer":"c2"}', 'shop'),
	('{"type":"track","event":"Late","messageId":"r3"}', 'shop'), ('{"type":"track","event":"Late","messageId":"r4","customer":"c1"}', 'other'), ('{"type":', 'shop'), ('{"type":', 'shop');
SET cdp.clock = '2026-03-02 13:00';
SELECT * FROM cdp.retry_rejected();
SELECT source, message_id, reason, times, rejected_at, last_at, payload FROM cdp.rejected ORDER BY source, message_id, reason, payload;
INSERT INTO cdp_data.identifier_path (path, namespace) VALUES ('customer', 'customer');
SELECT * FROM cdp.retry_rejected(max => 0);
SELECT * FROM cdp.retry_rejected(max => -1);
SELECT * FROM cdp.retry_rejected(reason => 'missing_type');
SELECT * FROM cdp.retry_rejected(since => '2026-03-02 13:01');
SELECT * FROM cdp.retry_rejected(source => 'other');
SELECT * FROM cdp.retry_rejected(reason => 'no_identifier', source => 'shop', since => '2026-03-02');
SELECT source, message_id, reason, times, rejected_at, last_at, payload FROM cdp.rejected ORDER BY source, message_id, reason, payload;
-- at the time it came, under its own id or a new one
SELECT source, CASE WHEN message_id LIKE 'r_' THEN message_id ELSE 'made up' END AS message_id, name, ts, received_at, extra FROM cdp.events WHERE name = 'Late' ORDER BY 1, 2;
-- refused for another reason now; that reason may have counted it already
UPDATE cdp_data.rejected SET payload = '{"type":"what","messageId":"r3"}' WHERE message_id = 'r3';
SELECT * FROM cdp.retry_rejected(source => 'shop', reason => 'no_identifier');
SELECT message_id, reason, detail, times, rejected_at FROM cdp.rejected WHERE message_id = 'r3';
INSERT INTO cdp.inbox VALUES ('{"type":"track","event":"Late","messageId":"r3"}', 'shop');
UPDATE cdp_data.rejected SET payload = '{"type":"what","messageId":"r3"}' WHERE message_id = 'r3';
SELECT * FROM cdp.retry_rejected(source => 'shop', reason => 'no_identifier');
SELECT message_id, reason, times, rejected_at FROM cdp.rejected WHERE message_id = 'r3';
-- what came corrected meanwhile under its id
INSERT INTO cdp.inbox VALUES ('{"type":"track","messageId":"r5","userId":"x"}', 'shop');
INSERT INTO cdp.inbox VALUES ('{"type":"track","event":"Corrected","messageId":"r5","userId":"x"}', 'shop');
SELECT * FROM cdp.retry_rejected(reason => 'missing_event');
SELECT reason, times FROM cdp.rejected WHERE message_id = 'r5';
UPDATE cdp_data.rejected SET reason = 'missing_event', payload = '{"type":"track","event":"Corrected","messageId":"r5","userId":"x"}' WHERE message_id = 'r5';
SELECT * FROM cdp.retry_rejected(reason => 'missing_event');
SELECT count(*) FROM cdp.rejected WHERE message_id = 'r5';
-- of these the message was taken: nothing to retry
SELECT * FROM cdp.retry_rejected(reason => 'conflicting_duplicate');
INSERT INTO cdp.inbox VALUES ('{"type":"identify","messageId":"r6","userId":"x","traits":{"age":"old"}}', 'shop');
SELECT * FROM cdp.retry_rejected(reason => 'invalid_trait');
-- what is refused of a message that is taken again is told, as it would have been the first time
SELECT cdp.define_event('$identify', '{"required": ["plan"]}', 'strict');
SELECT m.status FROM unnest('{"{\"age\":\"old\"}","{\"age\":5}"}'::jsonb[]) WITH ORDINALITY t (traits, i),
	LATERAL cdp.ingest(jsonb_build_object('type', 'identify', 'messageId', 'again-' || i, 'userId', 'a' || i, 'traits', traits), 'again') m;
SELECT cdp.drop_event('$identify');
SELECT status FROM cdp.ingest('{"type":"identify","messageId":"again-2","userId":"a2","traits":{"age":6}}', 'again');
SELECT * FROM cdp.retry_rejected(source => 'again');
SELECT message_id, reason, times, payload -> 'traits' AS traits FROM cdp.rejected WHERE source = 'again' ORDER BY 1;
SELECT reason, times FROM cdp.rejected WHERE reason = 'invalid_trait';
-- what a check refused, when the check is gone
INSERT INTO cdp.inbox VALUES ('{"type":"track","event":"Cursed","messageId":"k1","userId":"x"}', 'shop');
SELECT reason, times FROM cdp.rejected WHERE reason = 'error';
ALTER TABLE cdp_data.event DROP CONSTRAINT nobody_foresaw;
SELECT * FROM cdp.retry_rejected(reason => 'error');
SELECT count(*) FROM cdp.events WHERE message_id = 'k1';
-- text that was mended becomes messages
UPDATE cdp_data.rejected SET payload = to_jsonb('[{"type":"track","event":"Mended","messageId":"b1","userId":"x"},{"type":"track","event":"Mended","messageId":"b2","userId":"x"}]'::text)
WHERE rejected_id = (SELECT min(rejected_id) FROM cdp_data.rejected WHERE reason = 'malformed_json');
SELECT * FROM cdp.retry_rejected(reason => 'malformed_json');
SELECT name, message_id FROM cdp.events WHERE name = 'Mended' ORDER BY 2;
-- rows of an attached table keep the ids of rows
CREATE TABLE orders (id int PRIMARY KEY, customer text);
SELECT cdp.attach('orders', '{"event": "Order", "identifiers": {"user_id": "customer"}}', source => 'orders', backfill => true) > 0 AS attached;
INSERT INTO orders VALUES (1, NULL);
UPDATE cdp_data.rejected SET payload = jsonb_set(payload, '{userId}', '"x"') WHERE source = 'orders';
SELECT * FROM cdp.retry_rejected(source => 'orders');
SET client_min_messages = warning;
UPDATE orders SET customer = 'x';
CALL cdp.maintain();
SELECT count(*) AS once FROM cdp.events WHERE source = 'orders';

--
-- Roles
--
CREATE ROLE regress_inbox_ingest;
CREATE ROLE regress_inbox_ingest2;
CREATE ROLE regress_inbox_app;
CREATE ROLE regress_inbox_analyst;
CREATE ROLE regress_inbox_privacy;
SELECT count(cdp.provision(r::regrole, k)) FROM (VALUES ('regress_inbox_ingest', 'ingest'), ('regress_inbox_ingest2', 'ingest'), ('regress_inbox_app', 'app'), ('regress_inbox_analyst', 'analyst'), ('regress_inbox_privacy', 'privacy')) v (r, k);
SET client_min_messages = notice;
SET ROLE regress_inbox_ingest;
COPY cdp.inbox (payload, source) FROM STDIN WITH (FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02');
{"type":"track","event":"Role","messageId":"q1","userId":"x"}role
{"type":"track","event":"Role","messageId":"q2"}role
\.
SELECT * FROM cdp.inbox;
COPY cdp.inbox TO STDOUT;
INSERT INTO cdp.inbox VALUES ('{}') RETURNING payload;
DELETE FROM cdp.inbox;
SELECT message_id, reason FROM cdp.rejected WHERE source = 'role';
SELECT * FROM cdp.retry_rejected(source => 'role');
SELECT count(*) FROM cdp.stats;
SET ROLE regress_inbox_ingest2;
SELECT message_id, reason FROM cdp.rejected WHERE source = 'role';
SELECT * FROM cdp.retry_rejected(source => 'role');
SET ROLE regress_inbox_app;
INSERT INTO cdp.inbox VALUES ('{"type":"track","event":"Role","messageId":"q3","userId":"x"}', 'role');
SELECT * FROM cdp.inbox;
SELECT * FROM cdp.retry_rejected();
SET ROLE regress_inbox_analyst;
INSERT INTO cdp.inbox VALUES ('{"type":"track","event":"Role","messageId":"q4","userId":"x"}', 'role');
SELECT * FROM cdp.stats;
SET ROLE regress_inbox_privacy;
INSERT INTO cdp.inbox VALUES ('{}', 'role');
SELECT source, times FROM cdp.rejected WHERE source = 'role';
SELECT source, events_1m FROM cdp.stats WHERE source = 'role';
RESET ROLE;
SELECT message_id, name FROM cdp.events WHERE source = 'role' ORDER BY 1;
-- the trigger's function is no trigger for other tables
CREATE TABLE other (payload text, source text);
CREATE TRIGGER t AFTER INSERT ON other FOR EACH ROW EXECUTE FUNCTION cdp.take_inbox();
INSERT INTO other VALUES ('{}', 'x');
DROP TABLE other;

--
-- Stats: of the last minutes, days
--
SET client_min_messages = warning;
SELECT remember('unused');
SET cdp.clock = '2026-03-03 12:00';
INSERT INTO cdp.inbox VALUES ('{"type":"track","event":"A","messageId":"1","userId":"x","timestamp":"2026-03-03T11:59:00Z"}', 'a'), ('{"type":"track","messageId":"2"}', 'a'), ('{"type":"track","messageId":"2"}', 'b');
SET cdp.clock = '2026-03-03 12:05';
INSERT INTO cdp.inbox VALUES ('{"type":"track","event":"A","messageId":"3","userId":"x","timestamp":"2026-03-03T12:02:00Z"}', 'a'), ('{"type":"track","event":"A","messageId":"4","userId":"x","anonymousId":"z"}', 'b'),
	('{"type":"identify","messageId":"5","userId":"y","anonymousId":"z","timestamp":"2026-03-03T12:04:59Z"}', 'a');
INSERT INTO cdp.inbox VALUES ('{"type":"track","event":"A","messageId":"6","anonymousId":"k1"}', 'c'), ('{"type":"track","event":"A","messageId":"7","anonymousId":"k2"}', 'c');
INSERT INTO cdp.inbox VALUES ('{"type":"track","event":"A","messageId":"8","anonymousId":"k1","context":{"externalIds":[{"type":"anonymous_id","id":"k2"}]}}', 'c');
SELECT * FROM cdp.stats \gx
SET cdp.clock = '2026-03-03 12:12';
SELECT source, events_1m, events_10m, avg_lag, last_received_at, rejected, rejected_1d FROM cdp.stats;
SET cdp.clock = '2026-03-05';
SELECT source, events_1m, events_10m, avg_lag, last_received_at, rejected, rejected_1d, merges_1d FROM cdp.stats;

--
-- Progress: of this session while it works (seen by others: specs/progress.spec)
--
SELECT count(*) FROM cdp.progress;
CREATE TABLE progress_log AS SELECT work, phase, done, total, unit FROM cdp.progress LIMIT 0;
CREATE FUNCTION look(i bigint) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
	IF i = 2500 THEN
		PERFORM pg_stat_clear_snapshot();
		INSERT INTO progress_log SELECT p.work, p.phase, p.done, p.total, p.unit FROM cdp.progress p WHERE p.pid = pg_backend_pid();
	END IF;
	RETURN i;
END $$;
CREATE FUNCTION look_only(i bigint) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
	IF i = 2500 THEN
		RAISE WARNING '%', (SELECT row_to_json(p) FROM (SELECT work, phase, done > 0 AS done, total > 0 AS total, unit FROM cdp.progress WHERE pid = pg_backend_pid()) p);
	END IF;
	RETURN i;
END $$;
INSERT INTO cdp.inbox SELECT format('{"type":"track","event":"A","messageId":"%s","userId":"x"}%s', look(i), CASE WHEN i % 100 = 0 THEN '!' ELSE '' END), 'p' FROM generate_series(1, 3000) i;
SELECT pairs > 0 AS pairs FROM cdp.ingest_edges('SELECT ''a:'' || look_only(i), ''b:'' || i FROM generate_series(1, 2500) i');
SELECT count(*) FROM cdp.connected_components('SELECT look_only(i), i + 1 FROM generate_series(1, 3000::bigint) i');
TABLE progress_log;
SELECT count(*) FROM cdp.progress;
-- left behind by nobody
SELECT count(*) FROM cdp.connected_components('SELECT 1 / (i - 2500), i FROM generate_series(1, 3000) i');
SELECT count(*) FROM cdp.progress;

\c regression
SET client_min_messages = warning;
DROP DATABASE regress_inbox;
DROP ROLE regress_inbox_ingest, regress_inbox_ingest2, regress_inbox_app, regress_inbox_analyst, regress_inbox_privacy;
