-- The tracking plan: JSON Schema, modes, counting.
\set VERBOSITY default
\set SHOW_CONTEXT never
\set main :DBNAME
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_plan;
CREATE DATABASE regress_plan TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_plan
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION cdp;
SELECT count(*) > 0 AS init FROM cdp.init();
SET cdp.clock = '2026-06-01 12:00:00+00';

--
-- The subset of JSON Schema, rule by rule: which documents break it, and how
--
CREATE TABLE t (n serial, schema jsonb, document jsonb, faults text);
INSERT INTO t (schema, document, faults) VALUES
	('{}', '{"a": 1}', NULL), ('true', '{"a": 1}', NULL), ('false', '{}', '$ false'),
	('{"properties": {"a": {"type": "string"}}}', '{"a": 1}', 'a type'), ('{"properties": {"a": {"type": "string"}}}', '{}', NULL),
	('{"properties": {"a": {"type": "string"}}}', '{"a": null}', 'a type'), ('{"properties": {"a": {"type": ["string", "null"]}}}', '{"a": null}', NULL),
	('{"properties": {"a": {"type": "integer"}}}', '{"a": 1.0}', NULL), ('{"properties": {"a": {"type": "integer"}}}', '{"a": 1.5}', 'a type'),
	('{"properties": {"a": {"type": "number"}}}', '{"a": 1.5}', NULL), ('{"properties": {"a": {"type": "number"}}}', '{"a": "1.5"}', 'a type'),
	('{"properties": {"a": {"type": "boolean"}}}', '{"a": 0}', 'a type'), ('{"properties": {"a": {"type": "object"}}}', '{"a": []}', 'a type'),
	('{"properties": {"a": {"type": "array"}}}', '{"a": {}}', 'a type'), ('{"type": "array"}', '{}', '$ type'),
	('{"required": ["a", "b"]}', '{"b": null}', 'a required'), ('{"properties": {"o": {"required": ["x"]}}}', '{"o": {}}', 'o.x required'),
	('{"properties": {"o": {"required": ["x"]}}}', '{"o": 5}', NULL), ('{"properties": {"o": {"required": ["x"]}}}', '{}', NULL),
	('{"properties": {"a": {"enum": ["S", 1, null, [1], {"k": 2}]}}}', '{"a": {"k": 2.0}}', NULL), ('{"properties": {"a": {"enum": ["S", 1, null, [1]]}}}', '{"a": [1.0]}', NULL),
	('{"properties": {"a": {"enum": ["S", 1]}}}', '{"a": "s"}', 'a enum'), ('{"properties": {"a": {"enum": ["1"]}}}', '{"a": 1}', 'a enum'), ('{"properties": {"a": {"enum": []}}}', '{"a": 1}', 'a enum'),
	('{"properties": {"a": {"const": 5}}}', '{"a": 5.0}', NULL), ('{"properties": {"a": {"const": null}}}', '{"a": false}', 'a const'), ('{"const": {"a": [1]}}', '{"a": [1]}', NULL), ('{"const": {"a": [1]}}', '{"a": [2]}', '$ const'),
	('{"properties": {"a": {"minimum": 1, "maximum": 3}}}', '{"a": 1}', NULL), ('{"properties": {"a": {"minimum": 1, "maximum": 3}}}', '{"a": 3.0001}', 'a maximum'),
	('{"properties": {"a": {"minimum": 1}}}', '{"a": 0}', 'a minimum'), ('{"properties": {"a": {"minimum": 1}}}', '{"a": "0"}', NULL),
	('{"properties": {"a": {"exclusiveMinimum": 1, "exclusiveMaximum": 3}}}', '{"a": 1}', 'a exclusiveMinimum'), ('{"properties": {"a": {"exclusiveMinimum": 1, "exclusiveMaximum": 3}}}', '{"a": 3}', 'a exclusiveMaximum'),
	('{"properties": {"a": {"exclusiveMinimum": 1, "exclusiveMaximum": 3}}}', '{"a": 2}', NULL), ('{"properties": {"a": {"maximum": 9007199254740992}}}', '{"a": 9007199254740993}', 'a maximum'),
	('{"properties": {"a": {"minLength": 2, "maxLength": 3}}}', '{"a": "東京"}', NULL), ('{"properties": {"a": {"minLength": 3}}}', '{"a": "東京"}', 'a minLength'), ('{"properties": {"a": {"maxLength": 1}}}', '{"a": "東京"}', 'a maxLength'),
	('{"properties": {"a": {"minLength": 0, "maxLength": 0}}}', '{"a": ""}', NULL),
	('{"properties": {"a": {"pattern": "^\\d{3}$"}}}', '{"a": "123"}', NULL), ('{"properties": {"a": {"pattern": "^\\d{3}$"}}}', '{"a": "1234"}', 'a pattern'), ('{"properties": {"a": {"pattern": "b"}}}', '{"a": "abc"}', NULL),
	('{"additionalProperties": false, "properties": {"a": {}}}', '{"a": 1}', NULL), ('{"additionalProperties": false, "properties": {"a": {}}}', '{"a": 1, "ada@example.com": 2, "c": 3}', '* additionalProperties'),
	('{"additionalProperties": false, "required": ["a"]}', '{"a": 1}', '* additionalProperties'), ('{"additionalProperties": {"type": "string"}, "properties": {"a": {}}}', '{"a": 1, "b": "x", "c": 2}', '* type'),
	('{"properties": {"a": {"additionalProperties": false}}}', '{"a": {"b": 1}}', 'a.* additionalProperties'), ('{"additionalProperties": true}', '{"x": 1}', NULL),
	('{"properties": {"p": {"items": {"type": "object", "required": ["sku"], "properties": {"price": {"minimum": 0}}}}}}', '{"p": [{"sku": 1, "price": 1}, {"price": -1}, 5, {"price": -2}]}', 'p[] type, p[].price minimum, p[].sku required'),
	('{"properties": {"p": {"items": {"items": {"type": "string"}}}}}', '{"p": [["a"], [1]]}', 'p[][] type'), ('{"properties": {"p": {"items": false}}}', '{"p": []}', NULL), ('{"properties": {"p": {"items": false}}}', '{"p": [1]}', 'p[] false'),
	('{"title": "t", "description": "d", "$schema": "x", "$id": "x", "$comment": "x", "default": {}, "examples": [], "deprecated": true}', '{}', NULL);
INSERT INTO t (schema, document, faults)
SELECT jsonb_build_object('properties', jsonb_build_object('a', jsonb_build_object('format', f))), jsonb_build_object('a', v), CASE WHEN NOT ok THEN 'a format' END FROM (VALUES
	('date-time', '2026-02-28T23:59:60Z', true), ('date-time', '2026-02-28t01:02:03.004+09:30', true), ('date-time', '2026-02-29T00:00:00Z', false), ('date-time', '2026-02-28 00:00:00Z', false),
	('date-time', '2026-02-28T00:00:00', false), ('date-time', '2026-02-28T24:00:00Z', false), ('date-time', '2026-02-28T00:00:00.Z', false), ('date-time', '2026-02-28T00:00:00+0900', false), ('date-time', '2026-02-28T00:00:00Zx', false), ('date-time', '', false),
	('date', '2024-02-29', true), ('date', '2026-02-29', false), ('date', '2026-2-1', false), ('date', '2026-13-01', false), ('date', '2026-01-01T', false),
	('email', 'ada@example.com', true), ('email', 'ada@example', false), ('email', 'ada example@example.com', false), ('email', '@example.com', false), ('email', 'a@b@example.com', false), ('email', 'ada@.com', false), ('email', 'あ@例え.jp', true),
	('uri', 'https://example.com/a?b=c#d', true), ('uri', 'urn:isbn:1', true), ('uri', '/path', false), ('uri', 'http://exa mple.com', false), ('uri', 'http://例え.jp/', false), ('uri', '1http://x', false), ('uri', 'http:', false),
	('uuid', '123E4567-e89b-12d3-a456-426614174000', true), ('uuid', '123e4567e89b12d3a456426614174000', false), ('uuid', '123e4567-e89b-12d3-a456-42661417400g', false)) x (f, v, ok);
-- each document as an event of its own
CREATE FUNCTION judge() RETURNS TABLE (n int, schema jsonb, document jsonb, expected text, got text) LANGUAGE plpgsql AS $$
DECLARE
	c t;
BEGIN
	FOR c IN SELECT * FROM t ORDER BY t.n LOOP
		DELETE FROM cdp_data.tracking_violation;
		PERFORM cdp.define_event('e', c.schema);
		PERFORM cdp.track('cookie:c', 'e', c.document);
		n := c.n; schema := c.schema; document := c.document; expected := c.faults;
		got := (SELECT string_agg(v.path || ' ' || v.rule, ', ' ORDER BY v.path, v.rule) FROM cdp.tracking_violations v WHERE v.times = 1);
		IF got IS DISTINCT FROM expected THEN
			RETURN NEXT;
		END IF;
	END LOOP;
END $$;
SELECT count(*) AS cases FROM t;
SELECT * FROM judge();
DELETE FROM cdp_data.tracking_violation;

-- what is beyond the subset is refused when it is defined
SELECT cdp.define_event('e', '5');
SELECT cdp.define_event('e', '{"properties": {"a": {"typ": "string"}}}');
SELECT cdp.define_event('e', '{"properties": {"a": {"items": {"type": ["string", "text"]}}}}');
SELECT cdp.define_event('e', '{"type": []}');
SELECT cdp.define_event('e', '{"properties": []}');
SELECT cdp.define_event('e', '{"required": "a"}');
SELECT cdp.define_event('e', '{"required": [1]}');
SELECT cdp.define_event('e', '{"properties": {"a": {"minLength": -1}}}');
SELECT cdp.define_event('e', '{"properties": {"a": {"minimum": "1"}}}');
SELECT cdp.define_event('e', '{"properties": {"a": {"pattern": "("}}}');
SELECT cdp.define_event('e', '{"properties": {"a": {"pattern": "(a)\\1"}}}');
SELECT cdp.define_event('e', '{"properties": {"a": {"format": "ipv4"}}}');
SELECT cdp.define_event('e', '{"enum": 5}');
SELECT cdp.define_event('e', (repeat('{"items": ', 21) || '{}' || repeat('}', 21))::jsonb);
SELECT cdp.define_event('e', NULL);
SELECT cdp.define_event('e', '{}', 'loud');
SELECT cdp.define_event('', '{}');
SELECT cdp.drop_event('e'), cdp.drop_event('e');

--
-- Modes
--
SELECT cdp.define_event('Order', '{"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}, "total": {"type": "number", "minimum": 0},
	"count": {"type": "integer"}, "gift": {"type": "boolean"}, "lines": {"items": {"properties": {"price": {"type": "number"}, "sku": {"type": "string"}}}}, "by": {"format": "email"}}}');
SELECT name, mode, schema->'required' AS required, changed_at > '2000-01-01' AS dated FROM cdp.event_definitions;
\set sample '{"id": 7, "total": "12.50", "count": "3", "gift": "TRUE", "lines": [{"price": "1e2", "sku": 5}, {"price": "cheap", "note": "1"}], "other": "9", "by": "nobody"}'
SELECT message_id, status FROM cdp.ingest(jsonb_build_array(
	jsonb_build_object('type', 'track', 'messageId', 'f1', 'anonymousId', 'a', 'event', 'Order', 'properties', :'sample'::jsonb),
	jsonb_build_object('type', 'track', 'messageId', 'f2', 'anonymousId', 'a', 'event', 'Order'),
	jsonb_build_object('type', 'track', 'messageId', 'f3', 'anonymousId', 'a', 'event', 'Else', 'properties', :'sample'::jsonb)));
SELECT event, path, rule, mode, times, first_at, message_id FROM cdp.tracking_violations ORDER BY path COLLATE "C", rule;
SELECT message_id, properties = :'sample' AS as_sent FROM cdp.events WHERE message_id LIKE 'f_' ORDER BY message_id;
DELETE FROM cdp_data.tracking_violation;

SELECT cdp.define_event('Order', (SELECT schema FROM cdp.event_definitions), 'coerce');
SELECT message_id, status FROM cdp.ingest(jsonb_build_array(
	jsonb_build_object('type', 'track', 'messageId', 'c1', 'anonymousId', 'a', 'event', 'Order', 'properties', :'sample'::jsonb),
	jsonb_build_object('type', 'track', 'messageId', 'c2', 'anonymousId', 'a', 'event', 'Order', 'properties', '{"id": true, "total": "-1", "count": "1.5", "gift": "yes"}'::jsonb),
	jsonb_build_object('type', 'track', 'messageId', 'c3', 'anonymousId', 'a', 'event', 'Order', 'properties', '{"id": null, "total": " 1", "count": "1e0", "gift": 1}'::jsonb),
	jsonb_build_object('type', 'track', 'messageId', 'c4', 'anonymousId', 'a', 'event', 'Order', 'properties', '{"id": 1.50, "total": "1e999999", "count": "007"}'::jsonb)));
SELECT message_id, properties FROM cdp.events WHERE message_id LIKE 'c_' ORDER BY message_id;
SELECT path, rule, mode, times, message_id FROM cdp.tracking_violations ORDER BY path COLLATE "C", rule;
-- the same message again is a duplicate, not a conflict
SELECT message_id, status FROM cdp.ingest(jsonb_build_object('type', 'track', 'messageId', 'c1', 'anonymousId', 'a', 'event', 'Order', 'properties', :'sample'::jsonb));
SELECT sum(times) AS same FROM cdp.tracking_violations;
SELECT count(*) AS refusals FROM cdp.rejected;
DELETE FROM cdp_data.tracking_violation;

SELECT cdp.define_event('Order', (SELECT schema FROM cdp.event_definitions), 'strict');
SELECT message_id, status FROM cdp.ingest(jsonb_build_array(
	jsonb_build_object('type', 'track', 'messageId', 's1', 'anonymousId', 'a', 'event', 'Order', 'properties', :'sample'::jsonb),
	jsonb_build_object('type', 'track', 'messageId', 's2', 'anonymousId', 'a', 'event', 'Order', 'properties', '{"id": "7"}'::jsonb),
	jsonb_build_object('type', 'track', 'messageId', 's1', 'anonymousId', 'a', 'event', 'Order', 'properties', '{"id": 5}'::jsonb),
	jsonb_build_object('type', 'track', 'anonymousId', 'a', 'event', 'Order')));
SELECT message_id, reason, detail, times FROM cdp.rejected ORDER BY message_id;
-- what was taken under the old mode is a duplicate under this one
SELECT message_id, status FROM cdp.ingest(jsonb_build_array(
	jsonb_build_object('type', 'track', 'messageId', 'c1', 'anonymousId', 'a', 'event', 'Order', 'properties', :'sample'::jsonb),
	jsonb_build_object('type', 'track', 'messageId', 's2', 'anonymousId', 'a', 'event', 'Order', 'properties', '{"id": "7"}'::jsonb)));
-- of several with one id, the first that is right is taken; what follows is its duplicate
SELECT message_id, status FROM cdp.ingest(jsonb_build_array(
	jsonb_build_object('type', 'track', 'messageId', 's4', 'anonymousId', 'a', 'event', 'Order', 'properties', '{"id": 1}'::jsonb),
	jsonb_build_object('type', 'track', 'messageId', 's4', 'anonymousId', 'a', 'event', 'Order', 'properties', '{"id": 2}'::jsonb),
	jsonb_build_object('type', 'track', 'messageId', 's4', 'anonymousId', 'a', 'event', 'Order', 'properties', '{"id": "3"}'::jsonb),
	jsonb_build_object('type', 'track', 'messageId', 's4', 'anonymousId', 'a', 'event', 'Order', 'properties', '{"id": 4}'::jsonb),
	jsonb_build_object('type', 'track', 'messageId', 's4', 'anonymousId', 'a', 'event', 'Order', 'properties', '{"id": "3"}'::jsonb)));
SELECT message_id, reason, times, payload->'properties' AS properties FROM cdp.rejected WHERE message_id = 's4' ORDER BY reason;
SELECT properties FROM cdp.events WHERE message_id = 's4';
-- corrected under its id it is taken
SELECT message_id, status FROM cdp.ingest(jsonb_build_object('type', 'track', 'messageId', 's1', 'anonymousId', 'a', 'event', 'Order', 'properties', '{"id": "5"}'::jsonb));
SELECT path, rule, mode, times FROM cdp.tracking_violations ORDER BY path COLLATE "C", rule;
SELECT cdp.track('cookie:c', 'Order', '{"id": 5}', message_id => 's3');
-- the old mode's counts stay; off is off
SELECT cdp.define_event('Order', (SELECT schema FROM cdp.event_definitions), 'off');
SELECT cdp.track('cookie:c', 'Order', '{"id": 5}', message_id => 's3') > 0 AS taken;
SELECT cdp.drop_event('Order');
SELECT sum(times) AS kept FROM cdp.tracking_violations;
DELETE FROM cdp_data.tracking_violation;

-- others, and messages that have no event's name
SELECT cdp.define_event('*', 'false'), cdp.define_event('Known', '{}'), cdp.define_event('$identify', '{"properties": {"age": {"type": "integer"}}}', 'coerce'),
	cdp.define_event('$page', '{"required": ["url"]}'), cdp.define_event('$group', '{"required": ["plan"]}', 'strict');
SELECT m->>'messageId' AS id, status FROM (SELECT m, (SELECT i.status FROM cdp.ingest(m) i) AS status FROM jsonb_array_elements('[
	{"type": "track", "messageId": "o1", "userId": "u", "event": "Known", "properties": {"x": 1}},
	{"type": "track", "messageId": "o2", "userId": "u", "event": "Unheard of"},
	{"type": "track", "messageId": "o3", "userId": "u", "event": "$page"},
	{"type": "track", "messageId": "o4", "userId": "u", "event": "*"},
	{"type": "identify", "messageId": "o5", "userId": "u", "traits": {"age": "41"}},
	{"type": "page", "messageId": "o6", "userId": "u", "name": "Home"},
	{"type": "screen", "messageId": "o7", "userId": "u", "name": "Home"},
	{"type": "group", "messageId": "o8", "userId": "u", "groupId": "g", "traits": {}},
	{"type": "alias", "messageId": "o9", "userId": "u", "previousId": "a"}]') m) x;
SELECT event, path, rule, mode, times, message_id FROM cdp.tracking_violations ORDER BY event, path COLLATE "C", rule;
SELECT traits FROM cdp.profiles WHERE profile_id = cdp.resolve('user_id:u');
SELECT cdp.drop_event(name) FROM cdp.event_definitions;
TRUNCATE cdp_data.tracking_violation, cdp_data.rejected;

--
-- Who may see it
--
CREATE ROLE regress_plan_ingest;
CREATE ROLE regress_plan_analyst;
SELECT cdp.provision('regress_plan_ingest', 'ingest'), cdp.provision('regress_plan_analyst', 'analyst');
SELECT cdp.define_event('Order', '{"required": ["id"]}');
SELECT cdp.track('cookie:c', 'Order') > 0 AS taken;
SET ROLE regress_plan_ingest;
SELECT event, path, rule, times FROM cdp.tracking_violations;
SELECT name, mode FROM cdp.event_definitions;
SELECT cdp.define_event('Order', '{}');
RESET ROLE;
SET ROLE regress_plan_analyst;
SELECT name, mode FROM cdp.event_definitions;
SELECT event, path, rule, times FROM cdp.tracking_violations;
RESET ROLE;
SELECT cdp.drop_event('Order');
DROP OWNED BY regress_plan_ingest, regress_plan_analyst;
DROP ROLE regress_plan_ingest, regress_plan_analyst;

--
-- Property: over random messages, in every arrangement, the counts are those of
-- a model in SQL, and folding changes nothing
--
SELECT cdp.define_event('flagged', '{"required": ["a"], "properties": {"a": {"type": "integer", "minimum": 0}, "b": {"enum": ["x", "y"]}, "l": {"items": {"maximum": 5}}}}', 'flag');
SELECT cdp.define_event('coerced', '{"required": ["a"], "properties": {"a": {"type": "integer", "minimum": 0}, "b": {"enum": ["x", "y"]}, "l": {"items": {"maximum": 5}}}}', 'coerce');
SELECT cdp.define_event('strict', '{"required": ["a"], "properties": {"a": {"type": "integer", "minimum": 0}, "b": {"enum": ["x", "y"]}, "l": {"items": {"maximum": 5}}}}', 'strict');
CREATE TABLE message (arrival int, m jsonb);
CREATE TABLE outcome (arrangement text, what text, key text, value text);
-- what the plan says of one message: mode, faults, and its properties as kept
CREATE FUNCTION faults_of(m jsonb) RETURNS TABLE (path text, rule text) LANGUAGE sql AS $$
	SELECT 'a', 'required' WHERE NOT coalesce(m->'properties', '{}') ? 'a'
	UNION ALL SELECT 'a', CASE WHEN NOT whole THEN 'type' ELSE 'minimum' END FROM (
		SELECT v, v::text ~ '^-?[0-9]+$' OR (m->>'event' = 'coerced' AND v #>> '{}' ~ '^-?[0-9]+$') AS whole FROM (SELECT m->'properties'->'a' AS v) x WHERE v IS NOT NULL) y
	WHERE NOT whole OR (v #>> '{}')::numeric < 0
	UNION ALL SELECT 'b', 'enum' WHERE m->'properties'->>'b' NOT IN ('x', 'y')
	UNION ALL SELECT DISTINCT 'l[]', 'maximum' FROM jsonb_array_elements(m->'properties'->'l') e WHERE e::text::int > 5
$$;
CREATE PROCEDURE arrange(arrangement text, size int, sorting text) LANGUAGE plpgsql AS $$
DECLARE
	batch jsonb;
BEGIN
	TRUNCATE cdp_data.identifier, cdp_data.node, cdp_data.identity_edge, cdp_data.identity_merge, cdp_data.profile_merged,
		cdp_data.profile, cdp_data.profile_state, cdp_data.event, cdp_data.message_seen, cdp_data.segment_chunk, cdp_data.segment_delta, cdp_data.tracking_violation, cdp_data.rejected;
	FOR batch IN EXECUTE format('SELECT jsonb_agg(m ORDER BY o) FROM (SELECT m, row_number() OVER (ORDER BY %s) - 1 AS o FROM message) x GROUP BY o / %s ORDER BY min(o)', sorting, size) LOOP
		PERFORM cdp.ingest(batch);
	END LOOP;
	INSERT INTO outcome SELECT arrangement, 'violation', concat_ws(' ', event, path, rule, mode), concat_ws(' ', times, first_at, last_at, message_id) FROM cdp.tracking_violations;
	INSERT INTO outcome SELECT arrangement, 'event', e.message_id, e.properties::text FROM cdp.events e;
	INSERT INTO outcome SELECT arrangement, 'rejected', message_id || ' ' || reason, times::text FROM cdp.rejected;
	CALL cdp.maintain();
	INSERT INTO outcome SELECT arrangement || ', folded', 'violation', concat_ws(' ', event, path, rule, mode), concat_ws(' ', times, first_at, last_at, message_id) FROM cdp.tracking_violations;
	INSERT INTO outcome SELECT arrangement || ', folded', 'event', e.message_id, e.properties::text FROM cdp.events e;
	INSERT INTO outcome SELECT arrangement || ', folded', 'unfolded', 'rows', (count(*) - count(DISTINCT (event, path, rule, mode)))::text FROM cdp_data.tracking_violation;
END $$;
SELECT setseed(0.4);
INSERT INTO message
SELECT n, jsonb_build_object('type', 'track', 'messageId', 'm' || n, 'anonymousId', 'a' || n % 7, 'event', (ARRAY['flagged', 'coerced', 'strict', 'free'])[1 + n % 4],
	'receivedAt', '2026-05-' || 10 + n % 11 || 'T00:00:00Z', 'properties', jsonb_strip_nulls(jsonb_build_object(
		'a', (ARRAY['1', '-1', '"2"', '"-3"', '"z"', '1.5', 'null', '{}'])[1 + floor(random() * 8)::int]::jsonb,
		'b', (ARRAY['"x"', '"q"', 'null'])[1 + floor(random() * 3)::int]::jsonb, 'l', (ARRAY['[1]', '[9, 9]', 'null', '[]'])[1 + floor(random() * 4)::int]::jsonb)))
FROM generate_series(1, 400) n;
-- each third comes twice
INSERT INTO message SELECT arrival + 1000, m FROM message WHERE arrival % 3 = 0;
CALL arrange('one by one', 1, 'arrival');
CALL arrange('by seven', 7, 'arrival');
CALL arrange('at once', 1000, 'arrival');
CALL arrange('backwards by ten', 10, 'arrival DESC');
CALL arrange('shuffled', 13, 'md5(arrival::text)');
-- the model
INSERT INTO outcome SELECT 'model', 'violation', concat_ws(' ', m->>'event', path, rule, CASE m->>'event' WHEN 'flagged' THEN 'flag' WHEN 'coerced' THEN 'coerce' ELSE 'strict' END),
	concat_ws(' ', count(*), min(received), max(received), (array_agg(m->>'messageId' ORDER BY received DESC, m->>'messageId' COLLATE "C"))[1])
FROM (SELECT DISTINCT m, (m->>'receivedAt')::timestamptz AS received FROM message WHERE m->>'event' <> 'free') x, faults_of(m) GROUP BY m->>'event', path, rule;
INSERT INTO outcome SELECT 'model', 'event', m->>'messageId', (CASE WHEN m->>'event' = 'coerced' AND m->'properties'->>'a' ~ '^-?[0-9]+$'
	THEN jsonb_set(m->'properties', '{a}', (m->'properties'->>'a')::jsonb) ELSE m->'properties' END)::text
FROM (SELECT DISTINCT m FROM message) x WHERE m->>'event' <> 'strict' OR NOT EXISTS (SELECT FROM faults_of(m));
SELECT count(*) AS kinds, sum(split_part(value, ' ', 1)::int) AS violations FROM outcome WHERE arrangement = 'model' AND what = 'violation';
SELECT arrangement, count(*) FILTER (WHERE what IN ('violation', 'event')) AS facts,
	(SELECT count(*) FROM ((SELECT what, key, value FROM outcome o WHERE o.arrangement = a.arrangement AND what IN ('violation', 'event') EXCEPT SELECT what, key, value FROM outcome WHERE arrangement = 'model')
		UNION ALL (SELECT what, key, value FROM outcome WHERE arrangement = 'model' EXCEPT SELECT what, key, value FROM outcome o WHERE o.arrangement = a.arrangement)) d) AS different,
	max(value) FILTER (WHERE what = 'unfolded') AS unfolded
FROM outcome a GROUP BY arrangement ORDER BY arrangement;

-- messages with other content under one id, right and wrong: the first that is
-- right is taken, in batches of any size
TRUNCATE message, outcome;
INSERT INTO message SELECT n, jsonb_build_object('type', 'track', 'messageId', 'm' || 1 + floor(random() * 40)::int, 'anonymousId', 'a' || n % 7, 'receivedAt', '2026-05-01T00:00:00Z',
	'event', (ARRAY['strict', 'strict', 'flagged'])[1 + floor(random() * 3)::int], 'properties', jsonb_build_object('a', floor(random() * 12)::int - 6))
FROM generate_series(1, 300) n;
CALL arrange('one by one', 1, 'arrival');
CALL arrange('by two', 2, 'arrival');
CALL arrange('by seven', 7, 'arrival');
CALL arrange('by a hundred', 100, 'arrival');
CALL arrange('at once', 1000, 'arrival');
SELECT arrangement, count(*) FILTER (WHERE what = 'event') AS events, count(*) FILTER (WHERE what = 'violation') AS violations,
	sum(value::int) FILTER (WHERE what = 'rejected' AND key LIKE '% tracking_plan') AS refused, sum(value::int) FILTER (WHERE what = 'rejected' AND key LIKE '% conflicting_duplicate') AS conflicts,
	(SELECT count(*) FROM ((SELECT what, key, value FROM outcome o WHERE o.arrangement = a.arrangement EXCEPT SELECT what, key, value FROM outcome WHERE arrangement = 'one by one')
		UNION ALL (SELECT what, key, value FROM outcome WHERE arrangement = 'one by one' EXCEPT SELECT what, key, value FROM outcome o WHERE o.arrangement = a.arrangement)) d) AS different
FROM outcome a WHERE arrangement NOT LIKE '%folded' GROUP BY arrangement ORDER BY arrangement;
\c :main
DROP DATABASE regress_plan;
