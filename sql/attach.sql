-- cdp.attach(): rows of application tables become events and traits, in the
-- application's transaction, with the application's rights.
SET client_min_messages = warning;
\set SHOW_CONTEXT never
DROP DATABASE IF EXISTS regress_attach;
CREATE DATABASE regress_attach TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_attach
SET client_min_messages = warning;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, YMD';
SET IntervalStyle = 'postgres';
CREATE EXTENSION cdp;
SELECT count(*) > 0 AS init FROM cdp.init();
CREATE SCHEMA shop;
CREATE VIEW seen AS
SELECT e.source, e.type, e.name, e.ts, e.message_id, e.properties, e.traits,
	(SELECT string_agg(i.namespace || ':' || i.value, ' ' ORDER BY i.namespace, i.value) FROM cdp.identifiers i WHERE i.profile_id = e.profile_id) AS who
FROM cdp.events e;

--
-- Insert route
--
CREATE TABLE shop.orders (
	order_id int PRIMARY KEY, customer text, email text, total numeric(10,2), store text, note text, created_at timestamptz);
SELECT cdp.attach('shop.orders', '{"event": "Order Completed", "identifiers": {"user_id": "customer", "email": "email"},
	"time": "created_at", "properties": ["total", "store"]}') > 0 AS attached;
INSERT INTO shop.orders VALUES (1, 'ada', 'Ada@Example.com', 12.50, 'Paris', 'n', '2026-01-01 10:00:00+01'),
	(2, 'bob', NULL, NULL, '', NULL, '2026-01-02 10:00:00+00');
SELECT source, type, name, ts, message_id, properties, traits, who FROM seen WHERE source = 'shop.orders' ORDER BY ts;
-- any way of inserting
INSERT INTO shop.orders SELECT i, 'many' || i % 3, NULL, i, 's', NULL, '2026-01-03' FROM generate_series(10, 19) i;
COPY shop.orders FROM STDIN (FORMAT csv);
20,copy,,1,s,,2026-01-04
21,copy,,2,s,,2026-01-04
\.
WITH new AS (INSERT INTO shop.orders VALUES (30, 'cte', NULL, 1, 's', NULL, '2026-01-05') RETURNING order_id) SELECT * FROM new;
INSERT INTO shop.orders VALUES (30, 'upsert', NULL, 1, 's', NULL, '2026-01-05') ON CONFLICT DO NOTHING;
INSERT INTO shop.orders VALUES (30, 'upsert', NULL, 1, 's', NULL, '2026-01-05'), (31, 'upsert', NULL, 1, 's', NULL, '2026-01-05')
ON CONFLICT (order_id) DO UPDATE SET note = 'again';
MERGE INTO shop.orders o USING (VALUES (32)) v (id) ON o.order_id = v.id
WHEN NOT MATCHED THEN INSERT VALUES (v.id, 'merge', NULL, 1, 's', NULL, '2026-01-05');
INSERT INTO shop.orders SELECT 40, 'none', NULL, 1, 's', NULL, now() WHERE false;
SELECT who, count(*) FROM seen WHERE source = 'shop.orders' AND ts > '2026-01-02 12:00:00+00' GROUP BY 1 ORDER BY 1;
-- updates and deletes are not captured unless asked for
UPDATE shop.orders SET total = 99 WHERE order_id = 1;
DELETE FROM shop.orders WHERE order_id = 2;
SELECT count(*) FROM seen WHERE source = 'shop.orders' AND ts < '2026-01-03';

--
-- The application's transaction decides
--
BEGIN;
INSERT INTO shop.orders VALUES (50, 'roll', NULL, 1, 's', NULL, '2026-01-06');
SELECT count(*) AS inside FROM seen WHERE who = 'user_id:roll';
ROLLBACK;
SELECT count(*) AS after_rollback, cdp.resolve('user_id:roll') AS person FROM seen WHERE who = 'user_id:roll';
BEGIN;
INSERT INTO shop.orders VALUES (51, 'kept', NULL, 1, 's', NULL, '2026-01-06');
SAVEPOINT s;
INSERT INTO shop.orders VALUES (52, 'kept', NULL, 1, 's', NULL, '2026-01-06'), (53, 'undone', NULL, 1, 's', NULL, '2026-01-06');
ROLLBACK TO s;
INSERT INTO shop.orders VALUES (54, 'kept', NULL, 1, 's', NULL, '2026-01-06');
COMMIT;
SELECT message_id FROM seen WHERE who IN ('user_id:kept', 'user_id:undone') ORDER BY 1;
SELECT events, cdp.resolve('user_id:undone') AS undone FROM cdp.profiles WHERE profile_id = cdp.resolve('user_id:kept');
INSERT INTO shop.orders VALUES (52, 'kept', NULL, 1, 's', NULL, '2026-01-06');
SELECT message_id FROM seen WHERE who = 'user_id:kept' ORDER BY 1;
-- a constraint that fails takes all of the statement
INSERT INTO shop.orders VALUES (55, 'fails', NULL, 1, 's', NULL, '2026-01-06'), (1, 'fails', NULL, 1, 's', NULL, '2026-01-06');
SELECT cdp.resolve('user_id:fails');
-- rows that cannot be taken: the write goes on, the row is in cdp.rejected
INSERT INTO shop.orders VALUES (60, NULL, NULL, 1, 's', NULL, '2026-01-07'), (61, 'good', NULL, 1, 's', NULL, '2026-01-07'),
	(62, 'old', NULL, 1, 's', NULL, '1815-12-10'), (63, repeat('x', 600), NULL, 1, 's', NULL, '2026-01-07'), (64, 'never', NULL, 1, 's', NULL, 'infinity');
SELECT count(*) AS written FROM shop.orders WHERE order_id BETWEEN 60 AND 64;
SELECT message_id, reason, detail, payload->'properties' AS properties FROM cdp.rejected WHERE source = 'shop.orders' ORDER BY 1;
SELECT who FROM seen WHERE ts = '2026-01-07' ORDER BY 1;
-- no time is now
INSERT INTO shop.orders VALUES (65, 'now', NULL, 1, 's', NULL, NULL);
SELECT count(*) FROM seen WHERE who = 'user_id:now' AND ts > now() - interval '1 hour' AND ts <= clock_timestamp();

--
-- Update route: only rows whose message changed, each change a message
--
CREATE TABLE shop.customer (id int PRIMARY KEY, email text, town text, secret text, changed timestamptz);
SELECT cdp.attach('shop.customer', '{"type": "identify", "identifiers": {"customer_id": "id", "email": "email"}, "traits": {"city": "town"}, "time": "changed"}',
	source => 'crm', on_update => true) > 0 AS attached;
INSERT INTO shop.customer VALUES (1, 'c1@example.com', 'Oslo', 'x', '2026-02-01'), (2, 'c2@example.com', 'Oslo', 'x', '2026-02-01'), (3, NULL, NULL, 'x', '2026-02-01');
UPDATE shop.customer SET secret = 'y';
SELECT count(*) AS events FROM seen WHERE source = 'crm';
UPDATE shop.customer SET town = CASE id WHEN 1 THEN 'Rome' ELSE town END, changed = CASE id WHEN 1 THEN timestamptz '2026-02-02' ELSE changed END;
SELECT ts, traits, who FROM seen WHERE source = 'crm' ORDER BY ts, who;
UPDATE shop.customer SET town = 'Oslo', changed = '2026-02-03' WHERE id = 1;
UPDATE shop.customer SET town = 'Rome', changed = '2026-02-04' WHERE id = 1;
SELECT count(*) AS events, count(DISTINCT message_id) AS ids FROM seen WHERE source = 'crm' AND who ~ 'customer_id:1';
SELECT traits FROM cdp.profiles WHERE profile_id = cdp.resolve('customer_id:1');
-- a new address is another identifier of the same person
UPDATE shop.customer SET email = 'c3@example.com', changed = '2026-02-05' WHERE id = 3;
SELECT identifiers FROM cdp.profiles WHERE profile_id = cdp.resolve('customer_id:3');
-- upsert is an insert and an update
INSERT INTO shop.customer VALUES (3, 'c3@example.com', 'Kyiv', 'x', '2026-02-06'), (4, NULL, 'Lima', 'x', '2026-02-06')
ON CONFLICT (id) DO UPDATE SET town = excluded.town, changed = excluded.changed;
SELECT p.traits FROM cdp.profiles p WHERE p.profile_id IN (cdp.resolve('customer_id:3'), cdp.resolve('customer_id:4')) ORDER BY 1;
BEGIN;
UPDATE shop.customer SET town = 'Nowhere', changed = '2026-02-07';
ROLLBACK;
SELECT count(*) FROM seen WHERE source = 'crm' AND traits->>'city' = 'Nowhere';
SELECT count(*) FROM cdp.rejected WHERE source = 'crm';

--
-- What a mapping may say
--
CREATE TABLE shop.visit ("Id" bigint, kind text, who text, at timestamp, dur interval, tags text[], doc jsonb, amount float8, day date,
	ok boolean, twice int GENERATED ALWAYS AS (3 * 7) STORED, raw bytea, "we""ird ""'col" text);
SELECT cdp.attach('shop.visit', '{"event": {"column": "kind"}, "identifiers": {"cookie": {"column": "who"}, "site": {"value": "s1"}}, "message_id": "Id", "time": "at",
	"properties": {"n": {"value": 42}, "o": {"value": {"a": [1, null]}}, "z": {"value": null}, "q''uote\"": "we\"ird \"''col", "dur": "dur", "tags": "tags", "doc": "doc", "amount": "amount",
		"day": "day", "ok": "ok", "twice": "twice", "raw": "raw"}, "context": {"page": "doc"}}') > 0 AS attached;
INSERT INTO shop.visit VALUES (1, 'Viewed', 'k1', '2026-03-01 10:00', '1 day 02:03', '{a,"b c"}', '{"x": 1}', 0.1, '2026-03-01', true, DEFAULT, '\x00ff', 'w');
SELECT name, ts, message_id, properties FROM seen WHERE source = 'shop.visit';
SELECT context FROM cdp.events WHERE source = 'shop.visit';
-- an event name that is null, an id that was there before
INSERT INTO shop.visit ("Id", who) VALUES (2, 'k1');
INSERT INTO shop.visit ("Id", kind, who, at) VALUES (1, 'Viewed', 'k1', '2026-03-01 10:00');
INSERT INTO shop.visit ("Id", kind, who, at) VALUES (NULL, 'Without id', 'k1', '2026-03-01 10:00');
SELECT message_id, reason, detail FROM cdp.rejected WHERE source = 'shop.visit' ORDER BY 1;
SELECT name FROM seen WHERE source = 'shop.visit' ORDER BY 1;
-- a wide key, a partitioned table, a name that needs quotes, no key at all
CREATE TABLE shop."Ord""er lines; ü" (a int, "B" text, who text, PRIMARY KEY ("B", a));
SELECT cdp.attach('shop."Ord""er lines; ü"', '{"event": "Line", "identifiers": {"user_id": "who"}, "properties": ["a", "B"]}') > 0 AS attached;
INSERT INTO shop."Ord""er lines; ü" VALUES (1, 'x', 'q'), (1, 'y"', 'q');
SELECT source, message_id, properties FROM seen WHERE name = 'Line' ORDER BY 2;
CREATE TABLE shop.part (id int, day date, who text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE shop.part_1 PARTITION OF shop.part FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE shop.part_2 PARTITION OF shop.part FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
SELECT cdp.attach('shop.part', '{"event": "Part", "identifiers": {"user_id": "who"}, "time": "day"}', on_update => true) > 0 AS attached;
INSERT INTO shop.part VALUES (1, '2026-01-15', 'part'), (2, '2026-02-15', 'part');
UPDATE shop.part SET day = '2026-02-20' WHERE id = 1;
SELECT ts, split_part(message_id, ':', 1) AS message_id FROM seen WHERE name = 'Part' ORDER BY ts;
CREATE TABLE shop.nokey (who text, n int);
SELECT cdp.attach('shop.nokey', '{"event": "No key", "identifiers": {"user_id": "who"}, "properties": ["n"]}', on_update => true) > 0 AS attached;
INSERT INTO shop.nokey VALUES ('nokey', 1), ('nokey', 1);
UPDATE shop.nokey SET n = 2;
SELECT properties, count(*) FROM seen WHERE name = 'No key' GROUP BY 1 ORDER BY 1;

--
-- Mappings and tables that are refused, when they are attached
--
CREATE VIEW shop.a_view AS SELECT * FROM shop.orders;
CREATE MATERIALIZED VIEW shop.a_matview AS SELECT 1 AS who;
CREATE FUNCTION refused(tbl regclass, mapping jsonb, backfill boolean DEFAULT false) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
BEGIN
	PERFORM cdp.attach(tbl, mapping, backfill => backfill);
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN concat_ws(' ', SQLSTATE, SQLERRM, '/', nullif(detail, ''));
END $$;
SELECT m AS mapping, refused('shop.nokey', m::jsonb) FROM unnest(ARRAY[
	'{}', '[]', '"x"', 'null',
	'{"event": "E"}',
	'{"event": "E", "identifiers": {}}',
	'{"event": "E", "identifiers": []}',
	'{"event": "E", "identifiers": {"user_id": "nobody"}}',
	'{"event": "E", "identifiers": {"user_id": 1}}',
	'{"event": "E", "identifiers": {"user_id": null}}',
	'{"event": "E", "identifiers": {"user_id": {"col": "who"}}}',
	'{"event": "E", "identifiers": {"user_id": ["who"]}}',
	'{"identifiers": {"user_id": "who"}}',
	'{"type": "track", "identifiers": {"user_id": "who"}}',
	'{"type": "alias", "identifiers": {"user_id": "who"}}',
	'{"event": {"column": "kind"}, "identifiers": {"user_id": "who"}}',
	'{"event": "E", "identifiers": {"user_id": "who"}, "properties": ["n", "nope"]}',
	'{"event": "E", "identifiers": {"user_id": "who"}, "properties": "n"}',
	'{"event": "E", "identifiers": {"user_id": "who"}, "properties": {"a": "nope"}}',
	'{"event": "E", "identifiers": {"user_id": "who"}, "traits": {"a": {}}}',
	'{"event": "E", "identifiers": {"user_id": "who"}, "time": "nope"}',
	'{"event": "E", "identifiers": {"user_id": "who"}, "message_id": "nope"}',
	'{"event": "E", "identifiers": {"user_id": "who"}, "tiem": "n"}',
	'{"event": "E", "identifiers": {"user_id": "ctid"}}',
	'{"event": "E", "identifiers": {"user_id": "who); DROP TABLE shop.orders; --"}}']) WITH ORDINALITY x (m, o) ORDER BY o;
SELECT refused('shop.nokey', NULL) AS no_mapping, refused(NULL, '{}') AS no_table;
SELECT refused('shop.a_view', '{"event": "E", "identifiers": {"user_id": "customer"}}') AS view, refused('shop.a_matview', '{"event": "E", "identifiers": {"user_id": "who"}}') AS matview;
SELECT refused('shop.nokey', '{"event": "E", "identifiers": {"user_id": "who"}}', true) AS backfill_without_key;
SELECT cdp.attach('shop.nothing', '{}');
-- a refused attach leaves the one before as it was
INSERT INTO shop.nokey VALUES ('nokey', 3);
SELECT properties, count(*) FROM seen WHERE name = 'No key' GROUP BY 1 ORDER BY 1;

--
-- Strict: the application hears of it
--
CREATE TABLE shop.strict (id int PRIMARY KEY, who text, at timestamptz);
SELECT cdp.attach('shop.strict', '{"event": "Strict", "identifiers": {"user_id": "who"}, "time": "at"}', strict => true) > 0 AS attached;
INSERT INTO shop.strict VALUES (1, 'strict', '2026-01-01');
INSERT INTO shop.strict VALUES (2, 'strict', '2026-01-01'), (3, NULL, '2026-01-01');
INSERT INTO shop.strict VALUES (4, 'strict', '1900-01-01');
SELECT id FROM shop.strict;
SELECT count(*) AS events FROM seen WHERE source = 'shop.strict';
SELECT count(*) AS refused FROM cdp.rejected WHERE source = 'shop.strict';
-- the table changed under the attachment
ALTER TABLE shop.strict DROP COLUMN at;
DO $$ BEGIN
	INSERT INTO shop.strict VALUES (5, 'strict');
EXCEPTION WHEN OTHERS THEN
	RAISE WARNING '% %', SQLSTATE, SQLERRM;
END $$;
SELECT id FROM shop.strict;

--
-- Not strict: a table that changed under the attachment keeps working
--
CREATE TABLE shop.changing (id int PRIMARY KEY, who text, extra text);
SELECT cdp.attach('shop.changing', '{"event": "Changing", "identifiers": {"user_id": "who"}, "properties": ["extra"]}', on_update => true) > 0 AS attached;
INSERT INTO shop.changing VALUES (1, 'changing', 'x');
ALTER TABLE shop.changing DROP COLUMN extra;
INSERT INTO shop.changing VALUES (2, 'changing'), (3, 'changing');
UPDATE shop.changing SET who = 'changed' WHERE id = 2;
SELECT * FROM shop.changing ORDER BY 1;
SELECT reason, detail, payload, times FROM cdp.rejected WHERE source = 'shop.changing' ORDER BY payload::text;
SELECT count(*) FROM seen WHERE source = 'shop.changing';
-- the rest of the transaction is not touched
BEGIN;
INSERT INTO shop.changing VALUES (4, 'changing');
INSERT INTO shop.orders VALUES (70, 'after', NULL, 1, 's', NULL, '2026-01-08');
COMMIT;
SELECT count(*) FROM seen WHERE who = 'user_id:after';
ALTER TABLE shop.changing ADD COLUMN extra text DEFAULT 'back';
INSERT INTO shop.changing VALUES (5, 'changing');
SELECT message_id, properties FROM seen WHERE source = 'shop.changing' ORDER BY 1;
ALTER TABLE shop.changing RENAME TO "Renamed";
INSERT INTO shop."Renamed" VALUES (6, 'changing');
SELECT message_id, source FROM seen WHERE source = 'shop.changing' ORDER BY 1;

--
-- The application's role needs its table only
--
CREATE ROLE regress_cdp_attach_app;
GRANT USAGE ON SCHEMA shop TO regress_cdp_attach_app;
GRANT INSERT ON shop.orders TO regress_cdp_attach_app;
GRANT INSERT, UPDATE (town), SELECT (id) ON shop.customer TO regress_cdp_attach_app;
SET ROLE regress_cdp_attach_app;
INSERT INTO shop.orders VALUES (80, 'app', 'app@example.com', 1, 's', NULL, '2026-01-09');
INSERT INTO shop.orders VALUES (81, NULL, NULL, 1, 's', NULL, '2026-01-09');
INSERT INTO shop.customer VALUES (80, 'app@example.com', 'Bern', 'x', '2026-01-09');
UPDATE shop.customer SET town = 'Basel' WHERE id = 80;
SET row_security = off;
INSERT INTO shop.orders VALUES (82, 'app', 'app@example.com', 1, 's', NULL, '2026-01-09');
RESET row_security;
SELECT * FROM cdp.events;
SELECT cdp.resolve('user_id:app');
SELECT cdp.attach('shop.orders', '{}');
SELECT cdp.detach('shop.orders');
CALL cdp.maintain();
RESET ROLE;
SELECT type, traits, who FROM seen WHERE who ~ 'app@' ORDER BY type DESC, traits->>'city';
SELECT message_id, reason FROM cdp.rejected WHERE message_id ~ '81';
-- the trigger's function is good for nothing else
CREATE TABLE shop.other (id int);
CREATE TRIGGER t BEFORE INSERT ON shop.other FOR EACH ROW EXECUTE FUNCTION cdp.capture('1');
INSERT INTO shop.other VALUES (1);
DROP TRIGGER t ON shop.other;
CREATE TRIGGER t AFTER INSERT ON shop.other FOR EACH STATEMENT EXECUTE FUNCTION cdp.capture();
INSERT INTO shop.other VALUES (1);
DROP TABLE shop.other;

--
-- Detach, and attach again
--
SELECT cdp.detach('shop.orders');
INSERT INTO shop.orders VALUES (90, 'detached', NULL, 1, 's', NULL, '2026-01-10');
SELECT cdp.resolve('user_id:detached'), cdp.detach('shop.orders') AS nothing_more;
SELECT count(*) > 0 AS events_stay FROM seen WHERE source = 'shop.orders';
SELECT cdp.attach('shop.orders', '{"event": "Order", "identifiers": {"user_id": "customer"}, "time": "created_at"}') < cdp.attach('shop.orders', '{"event": "Order 2", "identifiers": {"user_id": "customer"}, "time": "created_at"}') AS replaced;
INSERT INTO shop.orders VALUES (91, 'again', NULL, 1, 's', NULL, '2026-01-10');
SELECT name FROM seen WHERE who = 'user_id:again';
SELECT tgname FROM pg_trigger WHERE tgrelid = 'shop.orders'::regclass ORDER BY 1;
DROP TABLE shop.nokey;
SELECT count(*) AS tasks FROM cdp.tasks;

--
-- Backfill: the rows already there, once, in steps
--
CREATE TABLE shop.history (id int PRIMARY KEY, who text, n int, at timestamptz);
INSERT INTO shop.history SELECT i, 'h' || i % 50, i, timestamptz '2025-06-01' + i * interval '1 hour' FROM generate_series(1, 2500) i;
ANALYZE shop.history;
SELECT cdp.attach('shop.history', '{"event": "History", "identifiers": {"user_id": "who"}, "properties": ["n"], "time": "at"}', backfill => true) > 0 AS attached;
SELECT kind, target, state, done_rows, total_rows FROM cdp.tasks;
SELECT count(*) AS none_yet FROM seen WHERE name = 'History';
-- between attach and maintain: a new row is captured at once, a changed one is found changed, a deleted one is not found
INSERT INTO shop.history VALUES (3000, 'h-new', 3000, '2025-06-01'), (0, 'h-new', 0, '2025-06-01');
UPDATE shop.history SET n = -7 WHERE id = 7;
DELETE FROM shop.history WHERE id = 8;
SELECT count(*) AS captured FROM seen WHERE name = 'History';
SELECT cdp.maintain_step() AS more;
SELECT state, done_rows FROM cdp.tasks;
CALL cdp.maintain(0);
SELECT state, done_rows FROM cdp.tasks;
SELECT count(*) FROM seen WHERE name = 'History';
-- more may change while it goes on
UPDATE shop.history SET n = -2400 WHERE id = 2400;
INSERT INTO shop.history VALUES (3001, 'h-new', 3001, '2025-06-01');
CALL cdp.maintain();
SELECT kind, state, done_rows, error FROM cdp.tasks;
SELECT count(*) AS events, count(DISTINCT message_id) AS ids, count(DISTINCT who) AS persons, count(*) FILTER (WHERE (properties->>'n')::int < 0) AS changed FROM seen WHERE name = 'History';
SELECT h.id FROM shop.history h FULL JOIN seen e ON e.name = 'History' AND e.message_id = 'shop.history[' || h.id || ']' AND e.properties->>'n' = h.n::text AND e.ts = h.at
WHERE h.id IS NULL AND e.name = 'History' OR e.message_id IS NULL;
SELECT count(*) AS refused FROM cdp.rejected WHERE source = 'shop.history';
-- again: nothing more, also when attached anew with a backfill
CALL cdp.maintain();
SELECT cdp.attach('shop.history', '{"event": "History", "identifiers": {"user_id": "who"}, "properties": ["n"], "time": "at"}', backfill => true) > 0 AS attached;
CALL cdp.maintain();
SELECT count(*) FROM seen WHERE name = 'History';
SELECT count(*) AS refused FROM cdp.rejected WHERE source = 'shop.history';
SELECT sum(events) FROM cdp.profiles p WHERE EXISTS (SELECT FROM cdp.identifiers i WHERE i.profile_id = p.profile_id AND i.value ~ '^h[0-9-]');
-- a row that is captured and changes before the backfill comes to it counts once, and is no refusal
CREATE TABLE shop.history1 (id int PRIMARY KEY, who text, n int);
SELECT cdp.attach('shop.history1', '{"event": "History 1", "identifiers": {"user_id": "who"}, "properties": ["n"]}', backfill => true) > 0 AS attached;
INSERT INTO shop.history1 VALUES (1, 'one', 1);
UPDATE shop.history1 SET n = 2;
CALL cdp.maintain();
SELECT properties FROM seen WHERE name = 'History 1';
SELECT count(*) AS refused FROM cdp.rejected WHERE source = 'shop.history1';
-- inside a transaction: all at once, and gone with a rollback
CREATE TABLE shop.history2 (b text, a int, who text, PRIMARY KEY (b, a));
INSERT INTO shop.history2 SELECT chr(97 + i % 3) || '''"', i, 'h2' FROM generate_series(1, 1200) i;
SELECT cdp.attach('shop.history2', '{"event": "History 2", "identifiers": {"user_id": "who"}}', backfill => true) > 0 AS attached;
BEGIN;
CALL cdp.maintain();
SELECT count(*) FROM seen WHERE name = 'History 2';
ROLLBACK;
SELECT count(*) FROM seen WHERE name = 'History 2';
SELECT state, done_rows FROM cdp.tasks WHERE target = 'shop.history2';
DO $$ BEGIN CALL cdp.maintain(); END $$;
SELECT count(*) FROM seen WHERE name = 'History 2';
SELECT state, done_rows FROM cdp.tasks WHERE target = 'shop.history2';
CALL cdp.maintain(-1);
-- rows that cannot be taken do not stop it
CREATE TABLE shop.history3 (id int PRIMARY KEY, who text);
INSERT INTO shop.history3 SELECT i, CASE WHEN i % 2 = 0 THEN 'h3' END FROM generate_series(1, 10) i;
SELECT cdp.attach('shop.history3', '{"event": "History 3", "identifiers": {"user_id": "who"}}', backfill => true) > 0 AS attached;
CALL cdp.maintain();
SELECT state, done_rows FROM cdp.tasks WHERE target = 'shop.history3';
SELECT reason, count(*) FROM cdp.rejected WHERE source = 'shop.history3' GROUP BY 1;
SELECT count(*) FROM seen WHERE name = 'History 3';
-- a partitioned table, an empty one, keys of many types and with a descending order
CREATE TABLE shop.history4 (day date, t text COLLATE "C", d numeric, u uuid, who text, PRIMARY KEY (day, t, d, u)) PARTITION BY HASH (day);
CREATE TABLE shop.history4_0 PARTITION OF shop.history4 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE shop.history4_1 PARTITION OF shop.history4 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO shop.history4 SELECT date '2025-01-01' + i % 5, CASE i % 3 WHEN 0 THEN 'é' WHEN 1 THEN 'E' ELSE '' END, i / 100.0, md5(i::text)::uuid, 'h4' FROM generate_series(1, 2100) i;
CREATE TABLE shop.history5 (id int PRIMARY KEY, who text);
SELECT cdp.attach('shop.history4', '{"event": "History 4", "identifiers": {"user_id": "who"}}', backfill => true) < cdp.attach('shop.history5', '{"event": "History 5", "identifiers": {"user_id": "who"}}', backfill => true) AS attached;
CALL cdp.maintain();
SELECT target, state, done_rows FROM cdp.tasks WHERE target IN ('shop.history4', 'shop.history5') ORDER BY 1;
SELECT count(*), count(DISTINCT message_id) FROM seen WHERE name = 'History 4';
-- detached before it began: not done
CREATE TABLE shop.history6 (id int PRIMARY KEY, who text);
INSERT INTO shop.history6 VALUES (1, 'six');
SELECT cdp.attach('shop.history6', '{"event": "History 6", "identifiers": {"user_id": "who"}}', backfill => true) > 0 AS attached;
SELECT cdp.detach('shop.history6');
CALL cdp.maintain();
SELECT cdp.resolve('user_id:six');
-- a mapping that fails on the rows, and a table that went: the task says so, the others go on
CREATE TABLE shop.history7 (id int PRIMARY KEY, who text, extra text);
INSERT INTO shop.history7 VALUES (1, 'h7', 'x');
CREATE TABLE shop.history8 (id int PRIMARY KEY, who text);
INSERT INTO shop.history8 VALUES (1, 'h8');
SELECT cdp.attach('shop.history7', '{"event": "History 7", "identifiers": {"user_id": "who"}, "properties": ["extra"]}', backfill => true) > 0 AS attached;
SELECT cdp.attach('shop.history8', '{"event": "History 8", "identifiers": {"user_id": "who"}}', backfill => true) > 0 AS attached;
ALTER TABLE shop.history7 DROP COLUMN extra;
CALL cdp.maintain();
SELECT target, state, done_rows, error FROM cdp.tasks WHERE target IN ('shop.history7', 'shop.history8') ORDER BY 1;
CREATE TABLE shop.history9 (id int PRIMARY KEY, who text);
SELECT cdp.attach('shop.history9', '{"event": "History 9", "identifiers": {"user_id": "who"}}', backfill => true) > 0 AS attached;
DROP TABLE shop.history9;
CALL cdp.maintain();
SELECT state, error FROM cdp.tasks ORDER BY task_id DESC LIMIT 1;

-- a row is one message, whatever the session's settings
CREATE TABLE shop.tz (at timestamptz PRIMARY KEY, who text);
SELECT cdp.attach('shop.tz', '{"event": "Tz", "identifiers": {"user_id": "who"}}', backfill => true) > 0 AS attached;
SET TimeZone = 'Asia/Tokyo';
INSERT INTO shop.tz VALUES ('2026-01-01 00:00+00', 'tz');
SET TimeZone = 'UTC';
CREATE TABLE shop.bytes (id bytea PRIMARY KEY, who text);
SELECT cdp.attach('shop.bytes', '{"event": "Bytes", "identifiers": {"user_id": "who"}}', backfill => true) > 0 AS attached;
SET bytea_output = 'escape';
INSERT INTO shop.bytes VALUES ('\x00ff', 'tz');
RESET bytea_output;
CALL cdp.maintain();
SELECT name, count(*) FROM cdp.events WHERE name IN ('Tz', 'Bytes') GROUP BY 1 ORDER BY 1;

-- a backfill follows the order of the key's own type, and of several columns
CREATE EXTENSION citext;
CREATE TABLE shop.ci (id citext PRIMARY KEY, who text);
INSERT INTO shop.ci SELECT CASE WHEN i % 2 = 0 THEN 'a' ELSE 'B' END || lpad(i::text, 5, '0'), 't9' FROM generate_series(1, 2500) i;
SELECT cdp.attach('shop.ci', '{"event": "Ci", "identifiers": {"user_id": "who"}}', backfill => true) > 0 AS attached;
CREATE TABLE shop.pair (a int, b citext, c date, who text, PRIMARY KEY (b, a, c));
INSERT INTO shop.pair SELECT i % 7, chr(65 + i % 5 + 32 * (i % 2)) || i % 3, '2020-01-01'::date + i, 'pair' FROM generate_series(1, 2500) i;
SELECT cdp.attach('shop.pair', '{"event": "Pair", "identifiers": {"user_id": "who"}}', backfill => true) > 0 AS attached;
CALL cdp.maintain();
SELECT name, count(*) FROM cdp.events WHERE name IN ('Ci', 'Pair') GROUP BY 1 ORDER BY 1;

-- a column whose cast to JSON raises: the write survives, the row is kept
CREATE TYPE shop.odd AS ENUM ('a');
CREATE FUNCTION shop.odd_json(shop.odd) RETURNS json LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE invalid_text_representation USING MESSAGE = 'odd'; END $$;
CREATE CAST (shop.odd AS json) WITH FUNCTION shop.odd_json(shop.odd);
CREATE TABLE shop.oddity (id int PRIMARY KEY, who text, o shop.odd);
SELECT cdp.attach('shop.oddity', '{"event": "Odd", "identifiers": {"user_id": "who"}, "properties": ["o"]}') > 0 AS attached;
INSERT INTO shop.oddity VALUES (1, 'x', 'a');
SELECT count(*) FROM shop.oddity;
SELECT reason, detail, payload FROM cdp.rejected WHERE source = 'shop.oddity';

-- an update says what it changed, and no more; its own message id is no duplicate
CREATE TABLE shop.card (card text PRIMARY KEY, email text, weeks int, at timestamptz);
SELECT cdp.attach('shop.card', '{"type": "identify", "identifiers": {"user_id": "card", "email": "email"}, "traits": ["email", "weeks"], "time": "at", "message_id": "card"}', on_update => true) > 0 AS attached;
INSERT INTO shop.card VALUES ('k1', NULL, 1, '2020-01-01');
SELECT cdp.identify('{user_id:k1,email:k1@web.example}', '{"email": "k1@web.example"}', '2020-02-01') > 0 AS ok;
UPDATE shop.card SET weeks = 2, at = '2020-03-01' WHERE card = 'k1';
SELECT traits FROM cdp.profiles WHERE profile_id = cdp.resolve('user_id:k1');
UPDATE shop.card SET weeks = NULL, at = '2020-03-02' WHERE card = 'k1';
SELECT traits FROM cdp.profiles WHERE profile_id = cdp.resolve('user_id:k1');
SELECT traits FROM cdp.events WHERE source = 'shop.card' ORDER BY ts;
SELECT count(*) FROM cdp.rejected WHERE source = 'shop.card';

-- cdp's own tables cannot be attached
SELECT cdp.attach('cdp_data.event', '{"event": "E", "identifiers": {"user_id": "source"}}');
SELECT cdp.attach('pg_catalog.pg_class', '{"event": "E", "identifiers": {"user_id": "relname"}}');

-- a key of fixed length is read with its length
CREATE TABLE shop.fixed (id char(6) PRIMARY KEY, who text);
INSERT INTO shop.fixed SELECT lpad(i::text, 6, '0'), 'fixed' FROM generate_series(1, 2500) i;
SELECT cdp.attach('shop.fixed', '{"event": "Fixed", "identifiers": {"user_id": "who"}}', backfill => true) > 0 AS attached;
CALL cdp.maintain();
SELECT count(*) FROM cdp.events WHERE name = 'Fixed';
SELECT state, done_rows, error FROM cdp.tasks WHERE target = 'shop.fixed';

-- nobody who sends messages can use up the ids of a table's rows
CREATE TABLE shop.squat (id int PRIMARY KEY, who text);
SELECT cdp.attach('shop.squat', '{"event": "Squat", "identifiers": {"user_id": "who"}}') > 0 AS attached;
SELECT status FROM cdp.ingest('{"type": "track", "event": "Mine", "userId": "squatter", "messageId": "shop.squat[1]"}', 'shop.squat');
INSERT INTO shop.squat VALUES (1, 'w');
SELECT name FROM cdp.events WHERE source = 'shop.squat' ORDER BY 1;

-- a renamed trigger is still the attachment's
ALTER TRIGGER cdp_capture_insert ON shop.squat RENAME TO other;
SELECT cdp.detach('shop.squat');
INSERT INTO shop.squat VALUES (2, 'w');
SELECT count(*) FROM cdp.events WHERE source = 'shop.squat';

--
-- Deferred: the application writes, cdp.maintain() takes
--
CREATE TABLE shop.tour (id int PRIMARY KEY, who text, mail text, page text, at timestamptz);
SELECT cdp.attach('shop.tour', '{"event": "Visit", "identifiers": {"user_id": "who", "email": "mail"}, "properties": ["page"], "time": "at"}',
	on_update => true, strict => true, deferred => true);
SELECT cdp.attach('shop.tour', '{"event": "Visit", "identifiers": {"user_id": "who", "email": "mail"}, "properties": ["page"], "time": "at"}',
	on_update => true, deferred => true) > 0 AS attached;
CREATE TABLE shop.tour_live (LIKE shop.tour INCLUDING ALL);
SELECT cdp.attach('shop.tour_live', '{"event": "Visit", "identifiers": {"user_id": "who", "email": "mail"}, "properties": ["page"], "time": "at"}',
	on_update => true) > 0 AS attached;
-- one table with both, so that each statement is one
CREATE FUNCTION shop.both(VARIADIC statements text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	t text;
	s text;
BEGIN
	FOREACH s IN ARRAY statements LOOP
		FOREACH t IN ARRAY ARRAY['shop.tour', 'shop.tour_live'] LOOP
			EXECUTE replace(replace(s, 'TABLE', t), 'WHO', CASE t WHEN 'shop.tour' THEN 'd' ELSE 'l' END);
		END LOOP;
	END LOOP;
END $$;
SELECT shop.both(
	$$INSERT INTO TABLE VALUES (1, 'WHO1', 'WHO1@x.example', '/a', '2026-02-01 10:00+00')$$,
	$$INSERT INTO TABLE SELECT i, 'WHO' || i % 40, CASE WHEN i % 3 = 0 THEN 'WHO' || i % 30 || '@x.example' END, '/' || i, timestamptz '2026-02-02 00:00+00' + i * interval '1 minute' FROM generate_series(2, 2500) i$$,
	$$INSERT INTO TABLE VALUES (3001, NULL, NULL, '/nobody', '2026-02-01')$$,
	$$UPDATE TABLE SET page = '/changed' WHERE id % 500 = 1$$);
BEGIN;
INSERT INTO shop.tour VALUES (4000, 'd1', NULL, '/undone', '2026-02-01');
ROLLBACK;
SELECT count(*) AS before FROM cdp.events WHERE source = 'shop.tour';
SELECT source, pending FROM cdp.stats WHERE source = 'shop.tour';
SELECT has_table_privilege('regress_cdp_attach_app', 'cdp_data.captured', 'SELECT') AS readable;
CALL cdp.maintain();
SELECT source, pending, rejected FROM cdp.stats WHERE source LIKE 'shop.tour%' ORDER BY 1;
-- the same events, the same people
SELECT count(*), count(DISTINCT profile_id) FROM cdp.events WHERE source = 'shop.tour';
WITH seen AS (
	SELECT e.source, e.ts, e.name, e.properties,
		(SELECT string_agg(replace(i.namespace || ':' || substr(i.value, 2), '@', ' at '), ' ' ORDER BY i.namespace, substr(i.value, 2)) FROM cdp.identifiers i WHERE i.profile_id = e.profile_id) AS who
	FROM cdp.events e WHERE e.source LIKE 'shop.tour%')
SELECT count(*) AS differences FROM (
	(SELECT ts, name, properties, who FROM seen WHERE source = 'shop.tour' EXCEPT ALL SELECT ts, name, properties, who FROM seen WHERE source = 'shop.tour_live')
	UNION ALL
	(SELECT ts, name, properties, who FROM seen WHERE source = 'shop.tour_live' EXCEPT ALL SELECT ts, name, properties, who FROM seen WHERE source = 'shop.tour')) d;
SELECT source, reason FROM cdp.rejected WHERE source LIKE 'shop.tour%' ORDER BY 1;
-- without a time it is that of the write; its writer may be gone, the attachment too
CREATE ROLE regress_cdp_attach_gone;
CREATE TABLE shop.late (id int PRIMARY KEY, who text);
GRANT USAGE ON SCHEMA shop TO regress_cdp_attach_gone;
GRANT INSERT ON shop.late TO regress_cdp_attach_gone;
SELECT cdp.attach('shop.late', '{"event": "Late", "identifiers": {"user_id": "who"}}', deferred => true) > 0 AS attached;
SET cdp.clock = '2026-03-01 12:00+00';
SET ROLE regress_cdp_attach_gone;
INSERT INTO shop.late VALUES (1, 'late1'), (2, NULL);
RESET ROLE;
SET cdp.clock = '2026-03-05 12:00+00';
SELECT cdp.detach('shop.late');
DROP TABLE shop.late;
DROP OWNED BY regress_cdp_attach_gone;
DROP ROLE regress_cdp_attach_gone;
CALL cdp.maintain();
SELECT ts, received_at, name FROM cdp.events WHERE source = 'shop.late';
SELECT reason, rejected_at FROM cdp.rejected WHERE source = 'shop.late';
-- so is what is refused, and taken after all
INSERT INTO cdp_data.identifier_path (path, namespace) VALUES ('messageId', 'row');
SELECT * FROM cdp.retry_rejected(source => 'shop.late') WHERE messages > 0;
SELECT ts, received_at, name FROM cdp.events WHERE source = 'shop.late' AND message_id = 'shop.late[2]';
DELETE FROM cdp_data.identifier_path WHERE path = 'messageId';
-- one that cannot be taken stops nothing: no other message, no maintenance
CREATE TABLE shop.hard (id int PRIMARY KEY, who text, size int);
SELECT cdp.attach('shop.hard', '{"event": "Hard", "identifiers": {"user_id": "who"}, "properties": ["size"]}', deferred => true) > 0 AS attached;
ALTER TABLE cdp_data.event ADD CONSTRAINT hard CHECK (name <> 'Hard' OR (properties->>'size')::int < 10);
INSERT INTO shop.hard VALUES (1, 'late1', 1), (2, 'late1', 10), (3, 'late1', 3);
SET cdp.clock = '2026-03-06 12:00+00';
CALL cdp.maintain();
SELECT message_id FROM cdp.events WHERE source = 'shop.hard' ORDER BY 1;
SELECT reason, detail, rejected_at, payload->'messageId' AS id FROM cdp.rejected WHERE source = 'shop.hard';
SELECT count(*) AS waiting FROM cdp_data.captured;
ALTER TABLE cdp_data.event DROP CONSTRAINT hard;
SELECT * FROM cdp.retry_rejected(source => 'shop.hard') WHERE messages > 0;
SELECT ts, message_id FROM cdp.events WHERE source = 'shop.hard' ORDER BY message_id;
RESET cdp.clock;
-- two sources, many rows: what was taken is not passed over again and again, though it is still in the index
CREATE TABLE shop.bulk_a (id int PRIMARY KEY, who text);
CREATE TABLE shop.bulk_b (LIKE shop.bulk_a INCLUDING ALL);
SELECT count(cdp.attach(t::regclass, '{"event": "Bulk", "identifiers": {"user_id": "who"}}', deferred => true)) FROM unnest(ARRAY['shop.bulk_a', 'shop.bulk_b']) t;
INSERT INTO shop.bulk_a SELECT i, 'late1' FROM generate_series(1, 15000) i;
INSERT INTO shop.bulk_b SELECT i, 'late1' FROM generate_series(1, 10000) i;
INSERT INTO shop.bulk_a SELECT i, 'late1' FROM generate_series(15001, 30000) i;
SELECT coalesce(sum(idx_tup_read), 0) AS before FROM pg_stat_all_indexes WHERE indexrelname = 'captured_pkey' \gset
BEGIN;
CALL cdp.maintain();
COMMIT;
SELECT pg_stat_force_next_flush();
SELECT sum(idx_tup_read) - :before < 900000 AS bounded FROM pg_stat_all_indexes WHERE indexrelname = 'captured_pkey';
SELECT source, count(*) FROM cdp.events WHERE name = 'Bulk' GROUP BY 1 ORDER BY 1;
SELECT count(*) AS waiting FROM cdp_data.captured;
SELECT count(cdp.detach(t::regclass)) FROM unnest(ARRAY['shop.bulk_a', 'shop.bulk_b']) t;
-- a mapping that fails is known at once; a column that is changed under a kept plan
INSERT INTO shop.tour VALUES (5000, 'd1', NULL, '/before', '2026-02-03');
ALTER TABLE shop.tour ALTER page TYPE int USING 7;
INSERT INTO shop.tour VALUES (5001, 'd1', NULL, 8, '2026-02-03 01:00+00');
ALTER TABLE shop.tour DROP page;
INSERT INTO shop.tour VALUES (5002, 'd1', NULL, '2026-02-03');
SELECT count(*) FROM shop.tour WHERE id >= 5000;
CALL cdp.maintain();
SELECT properties FROM cdp.events WHERE source = 'shop.tour' AND ts >= '2026-02-03' AND properties->>'page' IN ('/before', '8') ORDER BY ts;
SELECT reason, detail, payload FROM cdp.rejected WHERE source = 'shop.tour' AND reason = 'mapping_error';

--
-- Rows whose mapping failed, taken once it is mended, as if it had not: beside
-- each table one whose mapping never failed
--
CREATE FUNCTION shop.histories() RETURNS TABLE (what text, source text, item text) LANGUAGE sql AS $$
	SELECT 'event', e.source, concat_ws(' ', e.type, e.name, e.ts, regexp_replace(replace(e.message_id, e.source, ''), ':.*', ''), e.properties, e.traits) FROM cdp.events e WHERE e.source LIKE 'shop.mend_%'
	UNION ALL SELECT 'person', 'shop.mend_' || substr(i.value, 1, 1), substr(i.value, 2) || ' ' || p.events || ' ' || p.traits::text FROM cdp.profiles p JOIN cdp.identifiers i USING (profile_id) WHERE i.namespace = 'mended'
$$;
SELECT setseed(0.4);
CREATE TABLE shop.mend_a (id int PRIMARY KEY, who text, city text, size int, at timestamptz NOT NULL);
CREATE TABLE shop.mend_b (LIKE shop.mend_a INCLUDING ALL);
SELECT cdp.attach(t::regclass, '{"type": "identify", "identifiers": {"mended": "who"}, "traits": ["city", "size"], "time": "at"}', on_update => true, deferred => t = 'shop.mend_b') > 0 AS attached
FROM unnest(ARRAY['shop.mend_a', 'shop.mend_b']) t;
DO $$
DECLARE
	s text;
	t text;
	n int;
BEGIN
	FOR i IN 1 .. 120 LOOP
		-- now and then the mapping fails, with all that is written meanwhile
		IF i % 20 = 10 THEN
			ALTER TABLE shop.mend_a RENAME size TO height;
		ELSIF i % 20 = 0 THEN
			ALTER TABLE shop.mend_a RENAME height TO size;
		END IF;
		n := floor(random() * 12);
		s := CASE floor(random() * 5)
			WHEN 0 THEN format('INSERT INTO TABLE SELECT g, %L || g %% 5, %L, %s, %L FROM generate_series(%s, %s) g', 'WHO', 'c' || i, 'NULL',
				timestamptz '2026-04-01' + i * interval '1 hour', i * 20, i * 20 + n % 4)
			WHEN 4 THEN format('INSERT INTO TABLE SELECT * FROM TABLE WHERE id %% 4 = %s ON CONFLICT (id) DO UPDATE SET city = %L, at = %L', n % 4, 'o' || i, timestamptz '2026-04-01' + i * interval '1 hour')
			WHEN 1 THEN format('UPDATE TABLE SET city = %L, at = %L WHERE id %% 3 = %s', CASE WHEN i % 3 > 0 THEN 'u' || i END, timestamptz '2026-04-01' + i * interval '1 hour', n % 3)
			WHEN 2 THEN format('UPDATE TABLE SET at = at WHERE id %% 7 = %s', n % 7)
			ELSE format('UPDATE TABLE SET id = id + %s, at = %L WHERE id %% 13 = %s', i * 10000, timestamptz '2026-04-01' + i * interval '1 hour', n) END;
		FOREACH t IN ARRAY ARRAY['a', 'b'] LOOP
			EXECUTE replace(replace(s, 'TABLE', 'shop.mend_' || t), 'WHO', t);
		END LOOP;
	END LOOP;
END $$;
CALL cdp.maintain();
SELECT count(*) > 30 AS many, count(*) FILTER (WHERE before IS NULL) > 3 AS inserted, count(*) FILTER (WHERE before = 'null') > 0 AS other_key, count(*) FILTER (WHERE before <> 'null') > 10 AS updated
FROM cdp_data.rejected WHERE source = 'shop.mend_a' AND reason = 'mapping_error';
SELECT count(DISTINCT source) AS sources, count(*) > 0 AS differ FROM (SELECT what, source, item FROM shop.histories()) h;
SELECT status, messages > 0 AS some FROM cdp.retry_rejected(source => 'shop.mend_a', max => 7);
SELECT status, messages > 10 AS many FROM cdp.retry_rejected(reason => 'mapping_error', source => 'shop.mend_a');
SELECT count(*) AS left FROM cdp.rejected WHERE source = 'shop.mend_a';
SELECT * FROM (SELECT what, item, count(*) FILTER (WHERE source = 'shop.mend_a') AS mended, count(*) FILTER (WHERE source = 'shop.mend_b') AS whole FROM shop.histories() GROUP BY 1, 2) h WHERE mended <> whole ORDER BY 1, 2;
SELECT what, count(*) > 20 AS many FROM shop.histories() WHERE what = 'event' GROUP BY 1;
SELECT count(*) AS differences FROM cdp.verify();
-- kept as text; refused for another reason once it is mapped; without a key only what was inserted; not attached any more
CREATE TYPE shop.misfit AS ENUM ('1', '2', '3');
CREATE FUNCTION shop.misfit_json(shop.misfit) RETURNS json LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
CREATE CAST (shop.misfit AS json) WITH FUNCTION shop.misfit_json(shop.misfit);
CREATE TABLE shop.mend_c (who text, odd shop.misfit);
SELECT cdp.attach('shop.mend_c', '{"event": "Odd", "identifiers": {"user_id": "who"}, "properties": ["odd"]}', on_update => true) > 0 AS attached;
INSERT INTO shop.mend_c VALUES ('odd', '1'), (NULL, '2');
UPDATE shop.mend_c SET odd = '3' WHERE who = 'odd';
SELECT payload, tbl, before FROM cdp_data.rejected WHERE source = 'shop.mend_c' ORDER BY payload;
SELECT * FROM cdp.retry_rejected(source => 'shop.mend_c');
SELECT cdp.detach('shop.mend_c');
DROP CAST (shop.misfit AS json);
SELECT * FROM cdp.retry_rejected(source => 'shop.mend_c');
SELECT cdp.attach('shop.mend_c', '{"event": "Odd", "identifiers": {"user_id": "who"}, "properties": ["odd"]}', source => 'odd', on_update => true) > 0 AS attached;
SELECT * FROM cdp.retry_rejected(source => 'shop.mend_c');
SELECT source, reason, payload ->> 'type' AS type, tbl, space, times FROM cdp_data.rejected WHERE source IN ('odd', 'shop.mend_c') ORDER BY 1;
SELECT source, properties FROM cdp.events WHERE name = 'Odd';
DROP TABLE shop.mend_c;
SELECT * FROM cdp.retry_rejected(source => 'shop.mend_c');
DROP TYPE shop.misfit CASCADE;

--
-- Values become what to_jsonb() makes of them; the table's owner is anybody
--
CREATE ROLE regress_cdp_attach_owner;
GRANT CREATE, USAGE ON SCHEMA shop TO regress_cdp_attach_owner;
SET ROLE regress_cdp_attach_owner;
CREATE DOMAIN shop.posint AS int CHECK (VALUE > 0);
CREATE TABLE shop.kinds (id int, part text, b boolean, i2 smallint, i8 bigint, f4 real, f8 double precision, n numeric(12,4), t text, v varchar(20), c char(5), nm name, d date, ts timestamp,
	tz timestamptz, iv interval, u uuid, j json, jb jsonb, a int[], dom shop.posint, by bytea, ip inet, r int4range, who text, PRIMARY KEY (part, id));
RESET ROLE;
SELECT cdp.attach('shop.kinds', jsonb_build_object('event', 'Kinds', 'identifiers', '{"user_id": "who"}'::jsonb, 'properties', (SELECT jsonb_agg(attname ORDER BY attnum) FROM pg_attribute
	WHERE attrelid = 'shop.kinds'::regclass AND attnum > 0), 'context', '{"": {"value": {"a": [1, {"": []}]}}, "n": {"value": 1}, "s": "t"}'::jsonb)) > 0 AS attached;
SET ROLE regress_cdp_attach_owner;
INSERT INTO shop.kinds VALUES (1, 'x"', true, -32768, 9223372036854775807, 1.5, 'NaN', 12.3400, E'\u00fc"\\\n', 'v', 'c', 'nm', '2020-02-29', '2020-02-29 12:00', '2020-02-29 12:00+09', '1 mon 2 days',
		'00000000-0000-0000-0000-000000000001', '{"b": 1, "a": [null]}', '[1, {"x": null}]', '{1,NULL,3}', 7, '\x00ff', '10.0.0.1/8', '[1,5)', 'kinds'),
	(2, 'y', NULL, NULL, NULL, 'Infinity', '-0', 'NaN', '', '', '', '', '-infinity', '0044-03-15 BC', 'infinity', '-1 us', NULL, '"s"', 'null', '{}', NULL, '', '::1', 'empty', 'kinds');
RESET ROLE;
SELECT e.message_id, e.context FROM cdp.events e WHERE e.source = 'shop.kinds' ORDER BY 1;
SET TimeZone = 'UTC'; SET IntervalStyle = 'iso_8601';
SELECT x.id, count(*) FILTER (WHERE e.properties->x.key IS DISTINCT FROM x.value) AS different, count(*) AS values
FROM (SELECT k.id, k.part, j.key, j.value FROM shop.kinds k, jsonb_each(to_jsonb(k)) j) x
JOIN cdp.events e ON e.source = 'shop.kinds' AND e.message_id = 'shop.kinds' || jsonb_build_array(x.part, x.id)::text GROUP BY 1 ORDER BY 1;
RESET IntervalStyle;
SELECT count(*) FROM cdp.rejected WHERE source = 'shop.kinds';
SELECT cdp.row_message('{"a": 1, "b": {"": ["x", 1]}, "c": [1, "d"]}', 1);
SELECT cdp.row_message('{"a": 2}', 1);
SELECT cdp.row_message('[]', 1);
SELECT cdp.row_message('{"a": true}', 1);
SELECT cdp.row_message('{"": [1]}', 1);
SELECT cdp.row_message('{"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": {}}}}}}}}}}', 1);
SELECT cdp.row_message(NULL, 1);
SELECT cdp.row_message('{"a": 1}', VARIADIC ARRAY[1]);
SELECT cdp.detach('shop.kinds');
DROP TABLE shop.kinds;
DROP DOMAIN shop.posint;
DROP OWNED BY regress_cdp_attach_owner;
DROP ROLE regress_cdp_attach_owner;

-- code of the table's owner that runs while rows are read leaves no setting behind; a column named as the row is
CREATE TYPE shop.sly AS ENUM ('a');
CREATE FUNCTION shop.sly_json(shop.sly) RETURNS json LANGUAGE plpgsql AS $$ BEGIN
	PERFORM set_config('search_path', 'shop, pg_catalog', false);
	RETURN '"sly"';
END $$;
CREATE CAST (shop.sly AS json) WITH FUNCTION shop.sly_json(shop.sly);
CREATE TABLE shop.trap (id int PRIMARY KEY, who text, kind shop.sly, n int, at text);
INSERT INTO shop.trap VALUES (1, 'd1', 'a', 1, '2026-02-04');
SELECT cdp.attach('shop.trap', '{"event":"Trapped","identifiers":{"device_id":"who"},"properties":["kind"],"time":"at"}', backfill => true) > 0 AS attached;
SHOW search_path;
INSERT INTO shop.trap VALUES (2, 'd1', 'a', 2, '2026-02-05');
SHOW search_path;
CALL cdp.maintain();
SHOW search_path;
SELECT properties FROM cdp.events WHERE source = 'shop.trap' ORDER BY ts;

\c postgres
SET client_min_messages = warning;
DROP DATABASE regress_attach;
DROP ROLE regress_cdp_attach_app;
