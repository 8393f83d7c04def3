-- cdp.ingest(), track(), identify(): what is taken, what is refused and why,
-- when an event happened, what a second delivery does.
SET client_min_messages = warning;
\set SHOW_CONTEXT never
DROP DATABASE IF EXISTS regress_ingest;
CREATE DATABASE regress_ingest TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_ingest
SET client_min_messages = warning;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, YMD';
CREATE EXTENSION cdp;
SELECT count(*) > 0 AS init FROM cdp.init();
-- people of any number of identifiers; rules are the matter of sql/rules.sql
SELECT cdp.define_namespace('*', max_per_profile => 0), cdp.define_namespace('user_id', max_per_profile => 0);
SET cdp.clock = '2026-06-01 12:00:00+00';

-- what a payload becomes, message by message, with the reason of a refusal
CREATE FUNCTION try(payload jsonb, source text DEFAULT 'try')
RETURNS TABLE (n bigint, message_id text, status text, known boolean, reason text, detail text) LANGUAGE plpgsql AS $$
DECLARE
	seen bigint := (SELECT coalesce(max(rejected_id), 0) FROM cdp_data.rejected);
	list jsonb := CASE WHEN jsonb_typeof(payload) = 'array' THEN payload
		WHEN jsonb_typeof(payload->'batch') = 'array' THEN payload->'batch' ELSE jsonb_build_array(payload) END;
BEGIN
	CREATE TEMP TABLE IF NOT EXISTS answer (n bigint, message_id text, status text, profile_id bigint);
	TRUNCATE answer;
	INSERT INTO answer SELECT i.ordinality, i.message_id, i.status, i.profile_id FROM cdp.ingest(payload, source) WITH ORDINALITY i;
	-- made-up ids are not shown
	RETURN QUERY SELECT a.n, CASE WHEN strpos(list::text, a.message_id) > 0 THEN a.message_id END,
		a.status, a.profile_id IS NOT NULL, r.reason, r.detail
	FROM answer a LEFT JOIN LATERAL (SELECT x.reason::text, x.detail FROM cdp_data.rejected x
		WHERE x.rejected_id > seen AND x.payload = list->(a.n::int - 1) ORDER BY x.rejected_id LIMIT 1) r ON a.status <> 'accepted'
	ORDER BY a.n;
END $$;

--
-- The messages of the specification, each as if it were the only one
--
\getenv abs_srcdir PG_ABS_SRCDIR
\set file :abs_srcdir '/test/data/segment-spec.json'
\set content `cat :'file'`
CREATE TABLE spec AS
SELECT o AS o, m->>'file' AS file, (m->>'n')::int AS n, m->'message' AS message
FROM jsonb_array_elements(:'content'::jsonb) WITH ORDINALITY j (m, o);
SELECT count(*) FROM spec;
SELECT s.file, s.n, t.status, t.reason
FROM spec s CROSS JOIN LATERAL try(s.message, format('spec %s %s', replace(s.file, '/', ' '), s.n)) t ORDER BY s.o;
-- nothing of an accepted message is lost: identifiers are in cdp.identifiers, what has no column is in extra
SELECT s.file, s.n FROM spec s
LEFT JOIN cdp.events e ON e.source = format('spec %s %s', replace(s.file, '/', ' '), s.n)
WHERE (s.message ?| '{userId,user_id,anonymousId}') IS DISTINCT FROM (e.source IS NOT NULL)
	OR e.source IS NOT NULL AND (e.properties IS DISTINCT FROM nullif(s.message->'properties', '{}') AND s.message->'properties' <> '{}'
		OR e.traits IS DISTINCT FROM s.message->'traits' OR e.context IS DISTINCT FROM s.message->'context'
		OR e.type <> coalesce(s.message->>'type', s.message->>'action') OR e.name IS DISTINCT FROM s.message->>'event'
		OR coalesce(e.extra, '{}') <> s.message - '{type,action,event,messageId,timestamp,originalTimestamp,sentAt,receivedAt,properties,traits,context,userId,user_id,anonymousId,previousId}'::text[]);
-- all of them as one batch: some share a message id there
SELECT t.status, t.reason, count(*) FROM try((SELECT jsonb_agg(message ORDER BY o) FROM spec), 'spec') t GROUP BY 1, 2 ORDER BY 1, 2;
SELECT message_id, reason, times FROM cdp.rejected WHERE source = 'spec' AND reason = 'conflicting_duplicate' ORDER BY 1;
-- … and again: those with an id are duplicates now
SELECT t.status, t.reason, count(*) FROM try((SELECT jsonb_agg(message ORDER BY o) FROM spec WHERE message ? 'messageId'), 'spec') t GROUP BY 1, 2 ORDER BY 1, 2;
-- times of the specification's own examples: timestamp is final there
SELECT source, ts, received_at FROM cdp.events WHERE source IN ('spec alias.md 3', 'spec common.md 0', 'spec track.md 2') ORDER BY 1;

--
-- What two client libraries really send
--
SET cdp.clock = '2026-11-21 19:33:00+00';
\set file :abs_srcdir '/test/data/segment-analytics-node.json'
\set content `cat :'file'`
SELECT r AS request, t.n, t.message_id, t.status, t.known, t.reason
FROM jsonb_array_elements(:'content'::jsonb->'requests') WITH ORDINALITY q (body, r) CROSS JOIN LATERAL try(body, 'analytics-node') t;
-- the clock of the client is corrected by the batch's sentAt: 19.198 s and 19.139 s later
SELECT type, name, ts, received_at FROM cdp.events WHERE source = 'analytics-node' ORDER BY ts, message_id COLLATE "C";
SELECT e.type, e.extra FROM cdp.events e WHERE source = 'analytics-node' ORDER BY ts, message_id COLLATE "C";
SELECT count(DISTINCT profile_id) AS people FROM cdp.events WHERE source = 'analytics-node';
SELECT namespace, value FROM cdp.identifiers i WHERE profile_id = cdp.resolve('user_id:u-42') ORDER BY 1, 2;
SELECT traits - 'createdAt' AS traits, events FROM cdp.profiles WHERE profile_id = cdp.resolve('user_id:u-42');
-- a retry of the whole traffic, later, with another sentAt, changes nothing
CREATE TABLE before_retry AS SELECT * FROM cdp.profiles;
SET cdp.clock = '2026-11-21 20:33:00+00';
SELECT t.status, t.known, count(*)
FROM jsonb_array_elements(:'content'::jsonb->'requests') q (body)
	CROSS JOIN LATERAL try(jsonb_set(body, '{sentAt}', '"2026-11-21T20:32:59Z"'), 'analytics-node') t GROUP BY 1, 2;
SELECT count(*) AS events FROM cdp.events WHERE source = 'analytics-node';
SELECT count(*) AS refused FROM cdp.rejected WHERE source = 'analytics-node';
SELECT count(*) AS changed FROM ((TABLE before_retry) EXCEPT (SELECT * FROM cdp.profiles)) x;
DROP TABLE before_retry;
SET cdp.clock = '2026-11-21 19:33:00+00';
\set file :abs_srcdir '/test/data/rudder-sdk-node.json'
\set content `cat :'file'`
SELECT r AS request, t.n, t.message_id, t.status, t.known, t.reason
FROM jsonb_array_elements(:'content'::jsonb->'requests') WITH ORDINALITY q (body, r) CROSS JOIN LATERAL try(body, 'rudder') t;
-- timestamp beside originalTimestamp is final; the last message has the latter only: corrected
SELECT type, name, ts, received_at FROM cdp.events WHERE source = 'rudder' ORDER BY ts, message_id COLLATE "C";
SELECT DISTINCT e.extra - 'groupId' - 'category' AS extra FROM cdp.events e WHERE source = 'rudder';
SELECT count(DISTINCT profile_id) AS people FROM cdp.events WHERE source = 'rudder';
SELECT cdp.resolve('anonymous_id:anon-1') = cdp.resolve('email:taro@example.jp') AS one, cdp.resolve('anonymous_id:legacy-9') = cdp.resolve('user_id:u-42') AS aliased,
	cdp.resolve('user_id:u-1') <> cdp.resolve('user_id:u-42') AS another;
SET cdp.clock = '2026-06-01 12:00:00+00';

--
-- Forms of a payload
--
SELECT * FROM try('{"type": "track", "event": "One", "userId": "form-1", "messageId": "f1"}');
SELECT * FROM try('[{"type": "track", "event": "One", "userId": "form-1", "messageId": "f2"}, {"type": "track", "event": "Two", "userId": "form-1", "messageId": "f3"}]');
SELECT * FROM try('{"batch": [{"type": "track", "event": "One", "userId": "form-1", "messageId": "f4"}], "writeKey": "k"}');
SELECT * FROM try('[]');
SELECT * FROM try('{"batch": []}');
SELECT * FROM try('{}');
SELECT * FROM try('{"batch": {}}');
SELECT * FROM try('{"batch": null, "type": "track", "event": "One", "userId": "form-1"}');
SELECT * FROM try('null');
SELECT * FROM try('1');
SELECT * FROM try('"track"');
SELECT * FROM try('true');
SELECT * FROM try('[null, 1, "x", true, [], [{"type": "track"}], {}, {"batch": []}]');
SELECT * FROM cdp.ingest(NULL);
SELECT * FROM cdp.ingest('[]', NULL);
SELECT * FROM cdp.ingest('[]', '');
SELECT * FROM cdp.ingest('[]', repeat('s', 128));
SELECT count(*) FROM cdp.ingest('[]', repeat('s', 127));
SELECT status FROM cdp.ingest('{"type": "track", "event": "One", "userId": "form-1"}');
SELECT source FROM cdp.events WHERE name = 'One' AND source NOT IN ('try');

--
-- Every reason of refusal; good messages of the same batch are taken
--
SELECT * FROM try(jsonb_build_array(
	'{"userId": "r", "event": "E"}'::jsonb,
	'{"type": null, "userId": "r", "event": "E"}'::jsonb,
	'{"type": "delete", "userId": "r"}'::jsonb,
	'{"type": "unknown", "userId": "r"}'::jsonb,
	'{"type": 7, "userId": "r"}'::jsonb,
	'{"type": ["track"], "userId": "r"}'::jsonb,
	'{"type": "", "userId": "r"}'::jsonb,
	'{"type": "track", "userId": "r"}'::jsonb,
	'{"type": "track", "userId": "r", "event": ""}'::jsonb,
	'{"type": "track", "userId": "r", "event": null}'::jsonb,
	'{"type": "track", "userId": "r", "event": {"a": 1}}'::jsonb,
	'{"type": "track", "userId": "r", "event": true}'::jsonb,
	jsonb_build_object('type', 'track', 'userId', 'r', 'event', repeat('e', 513)),
	jsonb_build_object('type', 'track', 'userId', 'r', 'messageId', 'r-512', 'event', repeat('e', 512)),
	jsonb_build_object('type', 'page', 'userId', 'r', 'name', repeat('e', 513)),
	'{"type": "page", "userId": "r", "name": {}}'::jsonb,
	'{"type": "track", "userId": "r", "event": "E", "properties": "p"}'::jsonb,
	'{"type": "track", "userId": "r", "event": "E", "properties": []}'::jsonb,
	'{"type": "identify", "userId": "r", "traits": 1}'::jsonb,
	'{"type": "track", "userId": "r", "event": "E", "context": "c"}'::jsonb,
	'{"type": "alias", "userId": "r"}'::jsonb,
	'{"type": "group", "userId": "r"}'::jsonb,
	'{"type": "group", "groupId": "g"}'::jsonb,
	'{"type": "track", "event": "E"}'::jsonb,
	'{"type": "track", "event": "E", "userId": "", "anonymousId": "  \t\n "}'::jsonb,
	'{"type": "track", "event": "E", "userId": null}'::jsonb,
	'{"type": "track", "event": "E", "userId": true}'::jsonb,
	'{"type": "track", "event": "E", "userId": {"id": 1}}'::jsonb,
	'{"type": "track", "event": "E", "userId": ["r"]}'::jsonb,
	jsonb_build_object('type', 'track', 'event', 'E', 'userId', repeat('r', 513))), 'reasons');
SELECT * FROM try(jsonb_build_array(
	'{"type": "track", "userId": "r", "event": "E", "context": {"externalIds": ["x"]}}'::jsonb,
	'{"type": "track", "userId": "r", "event": "E", "context": {"externalIds": [{"id": "x"}]}}'::jsonb,
	'{"type": "track", "userId": "r", "event": "E", "context": {"externalIds": [{"id": "x", "type": 1}]}}'::jsonb,
	'{"type": "track", "userId": "r", "event": "E", "context": {"externalIds": [{"id": [], "type": "x"}]}}'::jsonb,
	'{"type": "track", "userId": "r", "event": "E", "context": {"externalIds": [{"id": "x", "type": "no such name"}]}}'::jsonb,
	jsonb_build_object('type', 'track', 'event', 'E', 'userId', 'r', 'context', jsonb_build_object('externalIds',
		(SELECT jsonb_agg(jsonb_build_object('type', 'x', 'id', i::text)) FROM generate_series(1, 100) i))),
	jsonb_build_object('type', 'track', 'event', 'E', 'messageId', 'r-100', 'context', jsonb_build_object('externalIds',
		(SELECT jsonb_agg(jsonb_build_object('type', 'hundred', 'id', i::text)) FROM generate_series(1, 100) i))),
	'{"type": "track", "userId": "r", "event": "E", "messageId": ""}'::jsonb,
	'{"type": "track", "userId": "r", "event": "E", "messageId": {}}'::jsonb,
	'{"type": "track", "userId": "r", "event": "E", "messageId": false}'::jsonb,
	jsonb_build_object('type', 'track', 'event', 'E', 'userId', 'r', 'messageId', repeat('m', 513)),
	'{"type": "track", "userId": "r", "event": "E", "messageId": 4711}'::jsonb), 'reasons');
SELECT length(message_id) AS length, status FROM cdp.ingest(jsonb_build_object('type', 'track', 'event', 'E', 'userId', 'r', 'messageId', repeat('m', 512)), 'reasons');
-- none of the refused left a trace, except in cdp.rejected
SELECT count(*) AS events, count(DISTINCT profile_id) AS people FROM cdp.events WHERE source = 'reasons';
SELECT cdp.resolve('x:1'), cdp.resolve('x:100'), cdp.resolve('hundred:100') IS NOT NULL AS hundred;
SELECT reason, count(*), sum(times) AS times, count(payload) AS payloads, count(message_id) AS ids FROM cdp.rejected WHERE source = 'reasons' GROUP BY 1 ORDER BY 1;
SELECT payload FROM cdp.rejected WHERE source = 'reasons' AND reason = 'missing_type' ORDER BY 1;
SELECT DISTINCT rejected_at, last_at FROM cdp.rejected WHERE source = 'reasons';
-- the same refusal under the same id is counted, and the id stays free for the corrected message
SELECT * FROM try('{"type": "track", "userId": "again", "messageId": "again-1"}', 'again');
SET cdp.clock = '2026-06-01 13:00:00+00';
SELECT status FROM cdp.ingest('{"type": "track", "userId": "again", "messageId": "again-1"}', 'again');
SELECT rejected_at, last_at, times, message_id, reason FROM cdp.rejected WHERE source = 'again';
SELECT * FROM try('{"type": "track", "event": "E", "userId": "again", "messageId": "again-1"}', 'again');
SET cdp.clock = '2026-06-01 12:00:00+00';

--
-- Spellings
--
SELECT * FROM try('[{"action": "track", "event": "E", "userId": "sp-1", "messageId": "sp-1"},
	{"type": "Track", "event": "E", "user_id": "sp-1", "messageId": "sp-2"},
	{"type": "IDENTIFY", "anonymous_id": "sp-a", "message_id": "sp-3"},
	{"type": "alias", "userId": "sp-1", "previous_id": "sp-0", "messageId": "sp-4"},
	{"type": "track", "event": 42, "userId": "sp-1", "messageId": "sp-5"}]', 'spelling');
SELECT message_id, type, name, extra FROM cdp.events WHERE source = 'spelling' ORDER BY 1;
-- a number is an identifier; 42, 42 and 4.2e1 are one person, 042 is another
SELECT count(DISTINCT profile_id), count(*) FROM cdp.ingest('[{"type": "track", "event": "E", "userId": 42},
	{"type": "track", "event": "E", "userId": "42"}, {"type": "track", "event": "E", "userId": 4.2e1},
	{"type": "track", "event": "E", "userId": 900719925474099311}, {"type": "track", "event": "E", "userId": "042"}]', 'numbers');
SELECT DISTINCT i.value FROM cdp.identifiers i JOIN cdp.events e USING (profile_id) WHERE e.source = 'numbers' ORDER BY 1;
-- names and values in any script; what must not be changed is not
SELECT status FROM cdp.ingest('{"type": "track", "event": "購入 🛒 \"x\" \\ {,}", "userId": "ユーザー,{\"1\"}", "properties": {"名前": "太郎 \u0001"}}', 'unicode');
SELECT name, properties FROM cdp.events WHERE source = 'unicode';
SELECT namespace, value FROM cdp.identifiers WHERE profile_id = (SELECT profile_id FROM cdp.events WHERE source = 'unicode');

--
-- Where identifiers are found
--
SELECT * FROM try('[
	{"messageId": "w1", "type": "identify", "userId": "w-1", "traits": {"email": "W1@Example.com", "phone": "+33 1 23 45 67 89"}},
	{"messageId": "w2", "type": "track", "event": "E", "userId": "w-2", "properties": {"email": "nobody@example.com"}, "traits": {"email": "nobody@example.com"}},
	{"messageId": "w3", "type": "page", "anonymousId": "w-3", "context": {"traits": {"email": "w3@example.com", "phone": "003312"}}},
	{"messageId": "w4", "type": "screen", "context": {"device": {"id": "w-4", "advertisingId": "ad"}}},
	{"messageId": "w5", "type": "track", "event": "E", "context": {"externalIds": [{"id": "w-5", "type": "loyalty", "collection": "users", "encoding": "none"}, {"id": 5, "type": "POS_Id"}, {"id": null, "type": "x"}, {"type": "x"}, {"id": " ", "type": "x"}]}},
	{"messageId": "w6", "type": "alias", "userId": "w-6", "previousId": "w-6-old"},
	{"messageId": "w7", "type": "track", "event": "E", "userId": "w-7", "previousId": "w-7-old"},
	{"messageId": "w8", "type": "group", "userId": "w-8", "groupId": "w-g", "traits": {"email": "company@example.com"}},
	{"messageId": "w9", "type": "track", "event": "E", "userId": "w-9", "context": {"device": "x", "traits": [], "externalIds": {"id": "x"}}}]', 'where');
SELECT e.message_id, string_agg(i.namespace || ':' || i.value, ' ' ORDER BY i.namespace, i.value) AS identifiers
FROM cdp.events e JOIN cdp.identifiers i USING (profile_id) WHERE e.source = 'where' GROUP BY 1 ORDER BY 1;
SELECT cdp.resolve('email:nobody@example.com'), cdp.resolve('email:company@example.com'), cdp.resolve('user_id:w-7-old');
-- the mapping is a table
SET ROLE cdp_owner;
INSERT INTO cdp_data.identifier_path VALUES ('properties.card.number', 'card', '{track}');
RESET ROLE;
SELECT * FROM try('[{"messageId": "w10", "type": "track", "event": "E", "properties": {"card": {"number": 99}}},
	{"messageId": "w11", "type": "page", "properties": {"card": {"number": 99}}}]', 'where');
SELECT cdp.resolve('card:99') IS NOT NULL AS found;

--
-- What each type becomes
--
SELECT status, profile_id = cdp.resolve('user_id:k') AS k FROM cdp.ingest('[
	{"messageId": "k1", "type": "identify", "userId": "k", "traits": {"plan": "gold", "address": {"city": "Kyoto"}}, "timestamp": "2026-05-01T00:00:01Z"},
	{"messageId": "k2", "type": "track", "userId": "k", "event": "Order Completed", "properties": {"revenue": 12.5}, "traits": {"plan": "none"}, "timestamp": "2026-05-01T00:00:02Z"},
	{"messageId": "k3", "type": "page", "userId": "k", "name": "Home", "category": "Docs", "properties": {"url": "u"}, "timestamp": "2026-05-01T00:00:03Z"},
	{"messageId": "k4", "type": "page", "userId": "k", "timestamp": "2026-05-01T00:00:04Z"},
	{"messageId": "k5", "type": "screen", "userId": "k", "name": "Main", "timestamp": "2026-05-01T00:00:05Z"},
	{"messageId": "k6", "type": "group", "userId": "k", "groupId": "g", "traits": {"employees": 9}, "timestamp": "2026-05-01T00:00:06Z"},
	{"messageId": "k7", "type": "alias", "userId": "k", "previousId": "k-old", "timestamp": "2026-05-01T00:00:07Z"},
	{"messageId": "k8", "type": "track", "userId": "k", "event": "E", "properties": null, "context": {"ip": "192.0.2.1"}, "integrations": {"All": true}, "version": 2, "channel": null, "_metadata": {"a": 1}, "timestamp": "2026-05-01T00:00:08Z"}]', 'kinds');
SELECT message_id, ts, type, name, source, properties, traits, context, extra FROM cdp.events WHERE source = 'kinds' ORDER BY ts;
-- traits are of identify alone; counts and times are of all
SELECT traits, events, first_seen, last_seen, identifiers FROM cdp.profiles WHERE profile_id = cdp.resolve('user_id:k');

--
-- Time
--
CREATE FUNCTION timed(message jsonb, batch_sent_at jsonb DEFAULT NULL) RETURNS TABLE (status text, ts timestamptz, received_at timestamptz, reason text, detail text) LANGUAGE plpgsql AS $$
DECLARE
	m jsonb := '{"type": "track", "event": "T", "userId": "time"}'::jsonb || message;
	answer record;
BEGIN
	IF batch_sent_at IS NOT NULL THEN
		m := jsonb_build_object('batch', jsonb_build_array(m), 'sentAt', batch_sent_at);
	END IF;
	SELECT * INTO answer FROM cdp.ingest(m, 'time');
	IF answer.status = 'rejected' THEN
		RETURN QUERY SELECT answer.status, NULL::timestamptz, NULL::timestamptz, r.reason, r.detail FROM cdp_data.rejected r ORDER BY r.rejected_id DESC LIMIT 1;
	ELSE
		RETURN QUERY SELECT answer.status, e.ts, e.received_at, NULL, e.extra->>'claimedTimestamp' FROM cdp.events e WHERE e.source = 'time' AND e.message_id = answer.message_id;
	END IF;
END $$;
CREATE TABLE clock_case (n int GENERATED ALWAYS AS IDENTITY, what text, message jsonb, sent_at jsonb);
INSERT INTO clock_case (what, message, sent_at) VALUES
	('none: arrival', '{}', NULL),
	('timestamp alone: taken', '{"timestamp": "2026-05-31T10:00:00Z"}', NULL),
	('originalTimestamp alone: taken', '{"originalTimestamp": "2026-05-31T10:00:00Z"}', NULL),
	('original and sentAt: an hour slow, corrected', '{"originalTimestamp": "2026-06-01T10:59:50Z", "sentAt": "2026-06-01T11:00:00Z"}', NULL),
	('timestamp and sentAt: an hour slow, corrected', '{"timestamp": "2026-06-01T10:59:50Z", "sentAt": "2026-06-01T11:00:00Z"}', NULL),
	('a year fast, corrected', '{"originalTimestamp": "2027-06-01T11:59:50Z", "sentAt": "2027-06-01T12:00:00Z"}', NULL),
	('timestamp and originalTimestamp: final', '{"timestamp": "2026-05-31T10:00:00Z", "originalTimestamp": "2026-05-31T09:00:00Z", "sentAt": "2026-05-31T09:00:10Z"}', NULL),
	('timestamp and receivedAt: final', '{"timestamp": "2026-05-31T10:00:00Z", "sentAt": "2026-05-31T09:00:10Z", "receivedAt": "2026-05-31T10:00:10Z"}', NULL),
	('original, sentAt, receivedAt: corrected by the collector', '{"originalTimestamp": "2026-05-30T09:00:00Z", "sentAt": "2026-05-30T09:00:10Z", "receivedAt": "2026-05-31T10:00:10Z"}', NULL),
	('receivedAt alone', '{"receivedAt": "2026-05-31T10:00:10Z"}', NULL),
	('receivedAt yet to come: not believed', '{"receivedAt": "2026-06-02T10:00:10Z"}', NULL),
	('sentAt of the batch', '{"timestamp": "2026-06-01T10:59:50Z"}', '"2026-06-01T11:00:00Z"'),
	('sentAt of the message before that of the batch', '{"timestamp": "2026-06-01T10:59:50Z", "sentAt": "2026-06-01T11:00:00Z"}', '"2026-06-01T11:30:00Z"'),
	('sentAt of the batch is no time: refused', '{"timestamp": "2026-05-31T10:00:00Z"}', '"yesterday"'),
	('sentAt before the event: the event was later still', '{"originalTimestamp": "2026-06-01T11:00:10Z", "sentAt": "2026-06-01T11:00:00Z"}', NULL),
	('future within a day', '{"timestamp": "2026-06-02T12:00:00Z"}', NULL),
	('future beyond a day: arrival, claim kept', '{"timestamp": "2026-06-02T12:00:00.000001Z"}', NULL),
	('far future', '{"originalTimestamp": "9999-12-31T23:59:59Z"}', NULL),
	('far future, numeric', '{"timestamp": 4102444800}', NULL),
	('future in relation to the collector', '{"timestamp": "2026-01-01T00:00:00Z", "receivedAt": "2025-01-01T00:00:00Z"}', NULL),
	('zone', '{"timestamp": "2026-05-31T10:00:00+09:00"}', NULL),
	('without a zone', '{"timestamp": "2026-05-31 10:00:00"}', NULL),
	('a date', '{"timestamp": "2026-05-31"}', NULL),
	('microseconds', '{"timestamp": "2026-05-31T10:00:00.123456Z"}', NULL),
	('leap day', '{"timestamp": "2024-02-29T23:59:59Z"}', NULL),
	('seconds', '{"timestamp": 1780221600}', NULL),
	('milliseconds', '{"timestamp": 1780221600123}', NULL),
	('1970', '{"timestamp": "1970-01-01T00:00:00Z"}', NULL),
	('1999', '{"timestamp": "1999-12-31T23:59:59.999999Z"}', NULL),
	('before 1970', '{"timestamp": "1969-12-31T23:59:59.999999Z"}', NULL),
	('before 1970 by correction', '{"timestamp": "1970-01-01T00:00:00Z", "sentAt": "2027-01-01T00:00:00Z"}', NULL),
	('year 1', '{"timestamp": "0001-01-01T00:00:00Z"}', NULL),
	('no such day', '{"timestamp": "2026-02-30T00:00:00Z"}', NULL),
	('words', '{"timestamp": "yesterday at noon"}', NULL),
	('empty', '{"timestamp": ""}', NULL),
	('infinity', '{"timestamp": "infinity"}', NULL),
	('bool', '{"timestamp": true}', NULL),
	('object', '{"timestamp": {}}', NULL),
	('huge number', '{"timestamp": 1e300}', NULL),
	('negative number', '{"timestamp": -1}', NULL),
	('null is none', '{"timestamp": null, "originalTimestamp": null, "sentAt": null, "receivedAt": null}', NULL),
	('bad originalTimestamp', '{"originalTimestamp": "x"}', NULL),
	('bad sentAt', '{"timestamp": "2026-05-31T10:00:00Z", "sentAt": "x"}', NULL),
	('bad receivedAt', '{"receivedAt": "2026-13-01"}', NULL);
SELECT c.what, t.* FROM clock_case c CROSS JOIN LATERAL timed(c.message, c.sent_at) t ORDER BY c.n;
SELECT e.ts >= p.from_ts AND e.ts < p.to_ts AS in_its_partition, count(*) FROM cdp_data.event e JOIN cdp_data.event_partition p ON to_regclass(format('cdp_data.%I', p.name)) = e.tableoid WHERE e.source = 'time' GROUP BY 1;
-- the session's time zone does not change what a message means
SET TimeZone = 'Asia/Tokyo';
SET DateStyle = 'German';
SELECT status, ts AT TIME ZONE 'UTC' = '2026-05-31 10:00:00'::timestamp AS same FROM timed('{"timestamp": "2026-05-31 10:00:00"}');
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, YMD';
-- late events: the later fact wins, whichever comes first; first_seen goes back
SELECT status FROM cdp.ingest('[{"type": "identify", "userId": "late", "traits": {"city": "Oslo"}, "timestamp": "2026-05-05"}]', 'late');
SELECT status FROM cdp.ingest('[{"type": "identify", "userId": "late", "traits": {"city": "Rome", "pet": "cat"}, "timestamp": "1998-05-05"}]', 'late');
SELECT traits, events, first_seen, last_seen FROM cdp.profiles WHERE profile_id = cdp.resolve('user_id:late');
SELECT first_seen, last_seen FROM cdp.identifiers WHERE namespace = 'user_id' AND value = 'late';

--
-- Duplicates
--
-- twice in one batch, with one id: the first is taken
SELECT n, message_id, status, known FROM try('[{"type": "track", "event": "First", "userId": "d", "messageId": "d1"}, {"type": "track", "event": "First", "userId": "d", "messageId": "d1"}, {"type": "track", "event": "First", "userId": "d", "messageId": "d2"}]', 'dup');
-- in another call, and with other clocks
SELECT n, message_id, status, known FROM try('[{"type": "track", "event": "First", "userId": "d", "messageId": "d1", "sentAt": "2026-06-01T11:00:00Z", "timestamp": "2026-06-01T10:00:00Z"}]', 'dup');
SELECT count(*) AS refused FROM cdp.rejected WHERE source = 'dup';
-- with other content: noted, and nothing else changes
SELECT n, message_id, status, known FROM try('[{"type": "identify", "userId": "d", "messageId": "d1", "traits": {"email": "hijack@example.com", "a": 1}, "anonymousId": "d-anon"}]', 'dup');
SELECT message_id, reason, detail, times, payload->>'type' AS type FROM cdp.rejected WHERE source = 'dup';
SELECT cdp.resolve('email:hijack@example.com'), cdp.resolve('anonymous_id:d-anon');
SELECT events, traits FROM cdp.profiles WHERE profile_id = cdp.resolve('user_id:d');
SELECT status, profile_id = cdp.resolve('user_id:d') AS same FROM cdp.ingest('{"type": "track", "event": "First", "userId": "d", "messageId": "d1"}', 'dup');
-- a duplicate of a person nobody knows tells nobody
SELECT n, message_id, status, known FROM try('{"type": "track", "event": "First", "userId": "d-unknown", "messageId": "d1"}', 'dup');
SELECT cdp.resolve('user_id:d-unknown');
-- with other content, within one batch
SELECT n, message_id, status, known FROM try('[{"type": "track", "event": "A", "userId": "d", "messageId": "d3"}, {"type": "track", "event": "B", "userId": "d", "messageId": "d3"}]', 'dup');
SELECT name FROM cdp.events WHERE source = 'dup' AND message_id = 'd3';
SELECT message_id, reason FROM cdp.rejected WHERE source = 'dup' ORDER BY 1;
-- another source is another message
SELECT n, message_id, status, known FROM try('[{"type": "track", "event": "First", "userId": "d", "messageId": "d1"}]', 'dup2');
-- without an id every delivery counts
SELECT status, message_id IS NOT NULL AS has_id FROM cdp.ingest('[{"type": "track", "event": "Anonymous", "userId": "d"}, {"type": "track", "event": "Anonymous", "userId": "d"}]', 'dup');
SELECT count(*), count(DISTINCT message_id) AS ids FROM cdp.events WHERE source = 'dup' AND name = 'Anonymous';
-- rolled back, the id is free again
BEGIN;
SELECT status FROM cdp.ingest('{"type": "track", "event": "E", "userId": "d-roll", "messageId": "d9"}', 'dup');
ROLLBACK;
SELECT cdp.resolve('user_id:d-roll');
SELECT status FROM cdp.ingest('{"type": "track", "event": "E", "userId": "d-roll", "messageId": "d9"}', 'dup');
SELECT events FROM cdp.profiles WHERE profile_id = cdp.resolve('user_id:d-roll');

--
-- Size and depth
--
SET cdp.max_message_size = '2kB';
SELECT * FROM try(jsonb_build_array(
	jsonb_build_object('type', 'track', 'event', 'E', 'userId', 'size', 'messageId', 'size-1', 'properties', jsonb_build_object('a', repeat('x', 1500))),
	jsonb_build_object('type', 'track', 'event', 'E', 'userId', 'size', 'messageId', 'size-2', 'properties', jsonb_build_object('a', repeat('x', 2100)))), 'size');
RESET cdp.max_message_size;
SELECT * FROM try(jsonb_build_object('type', 'track', 'event', 'E', 'userId', 'size', 'messageId', 'size-2', 'properties', jsonb_build_object('a', repeat('x', 2100))), 'size');
SELECT message_id, length(properties->>'a') AS length FROM cdp.events WHERE source = 'size' ORDER BY 1;
SELECT status FROM cdp.ingest(jsonb_build_object('type', 'track', 'event', 'E', 'userId', 'size', 'properties', (repeat('{"a":', 1000) || '1' || repeat('}', 1000))::jsonb), 'size');
SELECT status FROM cdp.ingest((repeat('[', 500) || repeat(']', 500))::jsonb, 'size');
SELECT status, count(*) FROM cdp.ingest((SELECT jsonb_agg(jsonb_build_object('type', 'track', 'event', 'E' || i % 7, 'userId', 'many-' || i % 100, 'messageId', 'many-' || i % 2500)) FROM generate_series(1, 3000) i), 'many') GROUP BY 1 ORDER BY 1;
SELECT count(*), count(DISTINCT profile_id) FROM cdp.events WHERE source = 'many';
SELECT sum(events) FROM cdp.profiles WHERE profile_id IN (SELECT profile_id FROM cdp.events WHERE source = 'many');

--
-- track() and identify()
--
SELECT cdp.track('user_id:t', 'One') = cdp.track('{user_id:t,email:t@example.com}', 'Two') AS text_and_set_text,
	cdp.track(ARRAY['user_id:t', 'cookie:t'], 'Three') = cdp.track('{cookie:t}'::cdp.identity_set, 'Four') AS array_and_set;
SELECT cdp.track(cdp.resolve('cookie:t'), 'Five', '{"a": 1}', '2026-05-05 05:05:05+00', 't-5', 'shop') = cdp.resolve('email:t@example.com') AS profile;
SELECT cdp.track(who => 'user_id:t', event => 'Six', message_id => 't-6') = cdp.track('{email:T@example.com}'::text[], 'Six', message_id => 't-6') AS duplicate;
SELECT name, type, ts, properties, message_id ~ '^t-' AS own_id, source FROM cdp.events WHERE profile_id = cdp.resolve('user_id:t') ORDER BY name;
SELECT message_id, reason FROM cdp.rejected WHERE source = 'default';
SELECT cdp.identify('user_id:i') = cdp.identify('user_id:i', '{"plan": "gold", "email": "I@Example.com"}') AS identify,
	cdp.identify('{user_id:i}'::text[], '{"plan": "lead"}', '2020-01-01') = cdp.identify('{cookie:i,user_id:i}'::cdp.identity_set) AS array_and_set;
SELECT cdp.identify(cdp.resolve('cookie:i'), '{"pet": "dog"}', NULL, 'i-5', 'shop') = cdp.resolve('email:i@example.com') AS profile;
SELECT cdp.identify('user_id:i', NULL, NULL, NULL) = cdp.track('user_id:i', 'E', NULL, NULL, NULL) AS nulls_are_defaults;
SELECT traits, identifiers, events FROM cdp.profiles WHERE profile_id = cdp.resolve('user_id:i');
-- a merged profile id is still good
SELECT cdp.identify('user_id:m1') < cdp.identify('user_id:m2') AS two;
CREATE TEMP TABLE old_id AS SELECT cdp.resolve('user_id:m2') AS id;
SELECT cdp.identify('{user_id:m1,user_id:m2}') = cdp.resolve('user_id:m1') AS merged;
SELECT cdp.track(id, 'By old id') = cdp.resolve('user_id:m1') AS same, cdp.resolve(id) = cdp.resolve('user_id:m1') AS resolves FROM old_id;

-- errors say what is wrong, with a code, and never a value
CREATE TABLE bad_call (n int GENERATED ALWAYS AS IDENTITY, call text);
INSERT INTO bad_call (call) VALUES
	('cdp.track(NULL::text, ''E'')'), ('cdp.track(NULL::text[], ''E'')'), ('cdp.track(NULL::cdp.identity_set, ''E'')'), ('cdp.track(NULL::bigint, ''E'')'),
	('cdp.track(''Geheim'', ''E'')'), ('cdp.track('''', ''E'')'), ('cdp.track('':Geheim'', ''E'')'), ('cdp.track(''email:'', ''E'')'), ('cdp.track(''Geheim Geheim:x'', ''E'')'),
	('cdp.track(''{}'', ''E'')'), ('cdp.track(''{email:Geheim'', ''E'')'), ('cdp.track(''{email:Geheim,,}'', ''E'')'), ('cdp.track(''{}''::text[], ''E'')'),
	('cdp.track(ARRAY[NULL, ''email:Geheim''], ''E'')'), ('cdp.track(ARRAY[''Geheim''], ''E'')'), ('cdp.track(''email:'' || repeat(''Geheim'', 100), ''E'')'),
	('cdp.track(ARRAY(SELECT ''x:Geheim'' || i FROM generate_series(1, 101) i), ''E'')'),
	('cdp.track(0::bigint, ''E'')'), ('cdp.track(-1::bigint, ''E'')'), ('cdp.track(999999999::bigint, ''E'')'),
	('cdp.track(''email:Geheim'', NULL)'), ('cdp.track(''email:Geheim'', '''')'), ('cdp.track(''email:Geheim'', repeat(''Geheim'', 100))'),
	('cdp.track(''email:Geheim'', ''E'', ''[]'')'), ('cdp.track(''email:Geheim'', ''E'', ''"Geheim"'')'), ('cdp.track(''email:Geheim'', ''E'', ''null'')'),
	('cdp.track(''email:Geheim'', ''E'', ''{}'', ''1969-12-31'')'), ('cdp.track(''email:Geheim'', ''E'', ''{}'', ''-infinity'')'), ('cdp.track(''email:Geheim'', ''E'', ''{}'', ''infinity'')'), ('cdp.track(''email:Geheim'', ''E'', ''{}'', ''2026-06-02 12:00:01+00'')'),
	('cdp.track(''email:Geheim'', ''E'', message_id => '''')'), ('cdp.track(''email:Geheim'', ''E'', message_id => repeat(''Geheim'', 100))'),
	('cdp.track(''email:Geheim'', ''E'', source => NULL)'), ('cdp.track(''email:Geheim'', ''E'', source => '''')'), ('cdp.track(''email:Geheim'', ''E'', source => repeat(''Geheim'', 22))'),
	('cdp.identify(NULL::text)'), ('cdp.identify(''Geheim'')'), ('cdp.identify(''email:Geheim'', ''[1]'')'), ('cdp.identify(''email:Geheim'', ''{"email": ["Geheim"]}'')'),
	('cdp.identify(''email:Geheim'', jsonb_build_object(''email'', repeat(''Geheim'', 100)))'), ('cdp.identify(999999999::bigint)'), ('cdp.identify(''email:Geheim'', ''{}'', ''1900-01-01'')'),
	('cdp.identify(''email:Geheim'', source => NULL)'),
	('cdp.resolve(''Geheim'')'), ('cdp.resolve(''{}'')'), ('cdp.resolve(0::bigint)'), ('cdp.resolve(ARRAY[''Geheim''])');
CREATE FUNCTION bad_outcome(call text, OUT code text, OUT message text, OUT detail text, OUT leaks boolean) LANGUAGE plpgsql AS $$
DECLARE
	hint text;
BEGIN
	EXECUTE 'SELECT ' || call;
	code := 'none';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	code := SQLSTATE;
	leaks := concat_ws(' ', message, detail, hint) ~* 'geheim';
END $$;
SELECT call, b.code, b.message FROM bad_call c CROSS JOIN LATERAL bad_outcome(c.call) b ORDER BY n;
SELECT count(*) AS leaks FROM bad_call c CROSS JOIN LATERAL bad_outcome(c.call) b WHERE b.leaks;
SELECT cdp.resolve(NULL::text), cdp.resolve(NULL::bigint), cdp.resolve(NULL::text[]), cdp.resolve(NULL::cdp.identity_set);
-- what raised left nothing
SELECT count(*) FROM cdp.identifiers WHERE value ~* 'geheim';
-- refusals of ingest tell the place, not the value
SELECT status, count(*) FROM cdp.ingest(jsonb_build_array(
	jsonb_build_object('type', 'track', 'event', 'E', 'userId', repeat('Geheim', 100)),
	jsonb_build_object('type', 'Geheim', 'userId', 'Geheim'), jsonb_build_object('type', 'identify', 'traits', jsonb_build_object('email', jsonb_build_array('Geheim'))),
	jsonb_build_object('type', 'track', 'event', 'E', 'userId', 'Geheim', 'timestamp', 'Geheim'), jsonb_build_object('type', 'track', 'event', 'E', 'userId', 'Geheim', 'sentAt', 'Geheim')), 'secret') GROUP BY 1;
SELECT reason, detail FROM cdp.rejected WHERE source = 'secret' ORDER BY 1, 2;

-- settings of the session do not matter
SET row_security = off;
SELECT cdp.track('user_id:settings', 'E') > 0 AS ok;
SELECT status FROM cdp.ingest('[{"type": "track", "event": "E", "userId": "settings"}, {"type": "track", "userId": "settings"}]', 'settings');
RESET row_security;
SELECT events FROM cdp.profiles WHERE profile_id = cdp.resolve('user_id:settings');

-- a reader of a kind without rights to write may not
CREATE ROLE regress_cdp_ingest_app;
CREATE ROLE regress_cdp_ingest_analyst;
SELECT cdp.provision('regress_cdp_ingest_app', 'ingest');
SELECT cdp.provision('regress_cdp_ingest_analyst', 'analyst');
SET ROLE regress_cdp_ingest_app;
SELECT status, profile_id IS NOT NULL AS told FROM cdp.ingest('{"type": "track", "event": "E", "userId": "role"}');
SELECT cdp.track('user_id:role', 'E') = cdp.resolve('user_id:role') AS told;
SELECT reason FROM cdp.rejected WHERE source = 'again';
SELECT * FROM cdp.events;
SELECT cdp.create_partitions('2020-01-01', '2020-01-02');
SET ROLE regress_cdp_ingest_analyst;
SELECT status FROM cdp.ingest('{"type": "track", "event": "E", "userId": "role"}');
SELECT cdp.track('user_id:role', 'E');
SELECT * FROM cdp.rejected;
SELECT cdp.resolve('user_id:role');
SET cdp.clock = '2030-01-01';
SET cdp.max_message_size = '100MB';
RESET ROLE;

-- keys that have no column in this kind of message are kept in extra
SELECT status FROM cdp.ingest('[{"type": "track", "event": "P", "name": "kept?", "userId": "keys"}, {"type": "page", "name": "P", "event": "kept?", "userId": "keys"},
	{"type": "track", "event": "P", "previousId": "kept?", "userId": "keys"}, {"type": "track", "action": "kept?", "event": "P", "userId": "keys"}]', 'keys');
SELECT extra FROM cdp.events WHERE source = 'keys' ORDER BY extra::text;

-- a number is a time on a batch as on a message
SET cdp.clock = '2026-06-01 12:00+00';
SELECT status FROM cdp.ingest('{"batch": [{"type": "track", "event": "E", "userId": "p11", "timestamp": 1780311590}], "sentAt": 1780311600}', 'number');
SELECT status FROM cdp.ingest('{"type": "track", "event": "E", "userId": "p11", "timestamp": 1780311590, "sentAt": 1780311600}', 'number');
SELECT ts FROM cdp.events WHERE source = 'number';
RESET cdp.clock;

-- the same refusal twice in one batch counts twice
SELECT status FROM cdp.ingest('[{"type": "track", "event": "A", "userId": "p12", "messageId": "p12"}, {"type": "track", "event": "B", "userId": "p12", "messageId": "p12"}, {"type": "track", "event": "C", "userId": "p12", "messageId": "p12"}]', 'twice');
SELECT reason, times FROM cdp.rejected WHERE source = 'twice';

-- times of a partition that was dropped, and of one that was detached
SELECT cdp.track('user_id:parts', 'E', at => '1980-01-01', source => 'parts') > 0 AS tracked;
DROP TABLE cdp_data.event_history;
SELECT cdp.track('user_id:parts', 'E', at => '1980-01-01', source => 'parts') > 0 AS tracked;
ALTER TABLE cdp_data.event DETACH PARTITION cdp_data.event_history;
SELECT message_id, status FROM cdp.ingest('[{"messageId": "old", "type": "track", "event": "E", "userId": "parts", "timestamp": "1980-01-01"}, {"messageId": "new", "type": "track", "event": "E", "userId": "parts"}]', 'parts');
SELECT reason, detail FROM cdp.rejected WHERE source = 'parts';
SELECT cdp.track('user_id:parts', 'E', at => '1980-01-01', source => 'parts');

-- a batch has a limit, and a payload over it is refused whole
SELECT * FROM cdp.ingest((SELECT jsonb_agg(1) FROM generate_series(1, 100001)));

\c postgres
SET client_min_messages = warning;
DROP DATABASE regress_ingest;
DROP ROLE regress_cdp_ingest_app, regress_cdp_ingest_analyst;
