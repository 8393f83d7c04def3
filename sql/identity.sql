-- Who is this: identifiers to persons, merges and their evidence, old ids,
-- collisions of keys.
SET client_min_messages = warning;
\set SHOW_CONTEXT never
DROP DATABASE IF EXISTS regress_identity;
CREATE DATABASE regress_identity TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_identity
SET client_min_messages = warning;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, YMD';
CREATE EXTENSION cdp;
SELECT count(*) > 0 AS init FROM cdp.init();
-- people of any number of identifiers; rules are the matter of sql/rules.sql
SELECT cdp.define_namespace('*', max_per_profile => 0), cdp.define_namespace('user_id', max_per_profile => 0);
SET cdp.clock = '2026-06-01 12:00:00+00';
-- ids of persons and nodes are given in order from 1: the first database of its kind can show them

--
-- resolve, in all overloads
--
SELECT cdp.identify('{user_id:ada,email:Ada@Example.com}');
SELECT cdp.identify('user_id:bob');
SELECT cdp.resolve('user_id:ada') AS text, cdp.resolve('EMAIL:ada@EXAMPLE.com') AS normalised, cdp.resolve('{email:ada@example.com,user_id:ada}') AS set_text,
	cdp.resolve(ARRAY['user_id:ada']) AS array, cdp.resolve('{user_id:ada}'::cdp.identity_set) AS set, cdp.resolve(1) AS int, cdp.resolve(2::bigint) AS bigint;
-- part of it is enough; two persons are none
SELECT cdp.resolve('{user_id:ada,cookie:new}') AS part, cdp.resolve('{user_id:ada,user_id:bob}') AS two_persons, cdp.resolve('{cookie:new,cookie:newer}') AS nobody;
SELECT cdp.resolve('user_id:Ada') AS case_matters, cdp.resolve('cookie:ada') AS other_namespace, cdp.resolve(3) AS no_such_id, cdp.resolve(9223372036854775807) AS largest;
-- asking creates nobody
SELECT count(*) FROM cdp.identifiers;
-- known in the same transaction, unknown after its rollback
BEGIN;
SELECT cdp.identify('cookie:gone') > 0 AS created;
SELECT cdp.resolve('cookie:gone') IS NOT NULL AS known;
ROLLBACK;
SELECT cdp.resolve('cookie:gone');

--
-- The older id survives, whatever comes first in the message
--
CREATE FUNCTION people(VARIADIC who text[]) RETURNS TABLE (who text, person text) LANGUAGE sql AS $$
	SELECT w, 'the one of ' || min(w COLLATE "C") OVER (PARTITION BY cdp.resolve(w)) FROM unnest(people.who) w ORDER BY w COLLATE "C"
$$;
SELECT status, profile_id = 1 AS ada FROM cdp.ingest('{"messageId": "m1", "type": "track", "event": "E", "timestamp": "2026-05-01", "context": {"externalIds": [{"type": "user_id", "id": "bob"}, {"type": "email", "id": "ada@example.com"}]}}', 'merge');
SELECT cdp.resolve('user_id:bob') AS bob, cdp.resolve(2) AS old_id, cdp.resolve(1) AS kept;
SELECT * FROM cdp.merged_profiles;
SELECT profile_id, events, identifiers FROM cdp.profiles;
SELECT DISTINCT profile_id FROM cdp.events;
-- nothing left of her own
SELECT count(*) AS rows FROM cdp_data.profile p FULL JOIN cdp_data.profile_state s USING (profile_id) WHERE profile_id = 2;

--
-- Chains, hubs, and both in one batch
--
SELECT cdp.identify('chain:' || i) > 0 AS created FROM generate_series(1, 6) i;
SELECT cdp.identify(ARRAY['chain:' || i, 'chain:' || i + 1]) = cdp.resolve('chain:1') AS to_the_first FROM generate_series(1, 5) i;
SELECT count(DISTINCT cdp.resolve('chain:' || i)) AS persons FROM generate_series(1, 6) i;
-- a chain from its end: each link has a new oldest
SELECT cdp.identify('back:' || i) > 0 AS created FROM generate_series(1, 6) i;
SELECT cdp.identify(ARRAY['back:' || i, 'back:' || i - 1]) = cdp.resolve('back:' || i - 1) AS to_the_older FROM generate_series(6, 2, -1) i;
SELECT count(DISTINCT cdp.resolve('back:' || i)) AS persons, bool_and(cdp.resolve('back:' || i) = cdp.resolve('back:1')) AS oldest FROM generate_series(1, 6) i;
-- old ids lead straight to the survivor, however often merged
SELECT count(*) AS merged, count(DISTINCT profile_id) AS survivors, bool_and(cdp.resolve(old_id) = profile_id) AS resolve FROM cdp.merged_profiles WHERE profile_id = cdp.resolve('back:1');
SELECT count(*) AS chains_of_old_ids FROM cdp.merged_profiles a JOIN cdp.merged_profiles b ON b.old_id = a.profile_id;
-- a hub of 60 with one event each
SELECT count(*) FROM (SELECT cdp.track('hub:' || i, 'E') FROM generate_series(1, 60) i) x;
SELECT cdp.identify(ARRAY(SELECT 'hub:' || i FROM generate_series(1, 60) i ORDER BY -i)) = cdp.resolve('hub:1') AS first_is_kept;
SELECT events, jsonb_array_length(identifiers->'hub') AS identifiers FROM cdp.profiles WHERE profile_id = cdp.resolve('hub:1');
-- a batch whose messages, in no good order, make one person of six and leave another alone
SELECT status, count(*) AS messages, count(DISTINCT profile_id) AS persons FROM cdp.ingest('[
	{"type": "track", "event": "E", "userId": "z3", "anonymousId": "z4"},
	{"type": "track", "event": "E", "userId": "z5"},
	{"type": "track", "event": "E", "userId": "z1", "anonymousId": "z2"},
	{"type": "track", "event": "E", "userId": "z5", "anonymousId": "z2"},
	{"type": "alias", "userId": "z3", "previousId": "z2"},
	{"type": "track", "event": "E", "userId": "z6"}]') GROUP BY 1;
SELECT * FROM people('user_id:z1', 'anonymous_id:z2', 'user_id:z3', 'anonymous_id:z4', 'user_id:z5', 'user_id:z6');
-- two groups meet in a later batch
SELECT cdp.resolve('user_id:z6') <> cdp.resolve('user_id:z1') AS two;
SELECT count(DISTINCT profile_id) FROM cdp.ingest('[{"type": "track", "event": "E", "userId": "z6", "anonymousId": "z4"}, {"type": "track", "event": "E", "userId": "z6"}]');
SELECT cdp.resolve('user_id:z6') = cdp.resolve('user_id:z1') AS one;
-- the same identifier twice, spelt in two ways, is one
SELECT cdp.identify(ARRAY['email:Twice@Example.com', 'EMAIL: Twice@example.COM', 'email:Twice@example.com']) > 0 AS ok;
SELECT count(*) FROM cdp.identifiers WHERE value ILIKE 'twice%';
-- traits of the merged follow their times, not the age of the profiles
SELECT cdp.identify('user_id:y1', '{"city": "Oslo", "pet": "cat"}', '2026-01-02') < cdp.identify('user_id:y2', '{"city": "Rome", "car": "none"}', '2026-01-03') AS two;
SELECT cdp.identify('{user_id:y1,user_id:y2}', at => '2026-01-04') = cdp.resolve('user_id:y1') AS one;
SELECT traits, events, first_seen, last_seen FROM cdp.profiles WHERE profile_id = cdp.resolve('user_id:y2');

-- the graph is what a naive walk over the evidence finds: components by repeated minimum
WITH RECURSIVE walk AS (
	SELECT node_id AS start, node_id FROM cdp_data.node
	UNION
	SELECT w.start, CASE WHEN e.a = w.node_id THEN e.b ELSE e.a END FROM walk w JOIN cdp_data.identity_edge e ON w.node_id IN (e.a, e.b)
), component AS (SELECT start AS node_id, min(node_id) AS c FROM walk GROUP BY 1)
SELECT count(*) AS nodes, count(DISTINCT profile_id) = count(DISTINCT c) AS as_many, count(DISTINCT (profile_id, c)) = count(DISTINCT c) AS the_same
FROM component JOIN cdp_data.node USING (node_id);
SELECT count(*) AS identifiers_without_node FROM cdp_data.identifier i FULL JOIN cdp_data.node n USING (node_id) WHERE i.node_id IS NULL OR n.node_id IS NULL;
SELECT count(*) AS nodes_of_nobody FROM cdp_data.node n LEFT JOIN cdp_data.profile_state s USING (profile_id) LEFT JOIN cdp_data.profile p USING (profile_id) WHERE s.profile_id IS NULL OR p.profile_id IS NULL;
SELECT count(*) AS persons_without_nodes FROM cdp_data.profile_state s WHERE NOT EXISTS (SELECT FROM cdp_data.node n WHERE n.profile_id = s.profile_id);

--
-- View of identifiers
--
SELECT cdp.identify('{email:v@example.com,user_id:v}', at => '2026-02-02') > 0 AS ok;
SELECT cdp.track('user_id:v', 'E', at => '2026-03-03') = cdp.track('email:v@example.com', 'E', at => '2025-01-01') AS one;
SELECT namespace, value, first_seen, last_seen FROM cdp.identifiers WHERE profile_id = cdp.resolve('user_id:v') ORDER BY 1;

--
-- Evidence: one edge for each pair that a message linked, with the earliest message
--
CREATE VIEW evidence AS
SELECT least(x.namespace || ':' || x.value, y.namespace || ':' || y.value) AS a, greatest(x.namespace || ':' || x.value, y.namespace || ':' || y.value) AS b,
	e.ts, e.source, e.message_id
FROM cdp_data.identity_edge e JOIN cdp_data.identifier x ON x.node_id = e.a JOIN cdp_data.identifier y ON y.node_id = e.b;
SELECT status FROM cdp.ingest('[
	{"messageId": "e2", "type": "track", "event": "E", "timestamp": "2026-05-02", "userId": "ev", "anonymousId": "ev-a"},
	{"messageId": "e1", "type": "track", "event": "E", "timestamp": "2026-05-01", "userId": "ev", "anonymousId": "ev-a"},
	{"messageId": "e3", "type": "track", "event": "E", "timestamp": "2026-05-03", "userId": "ev", "anonymousId": "ev-a"},
	{"messageId": "e4", "type": "track", "event": "E", "timestamp": "2026-05-04", "userId": "ev"}]', 'evidence');
SELECT a, b, ts, message_id FROM evidence WHERE source = 'evidence';
-- an earlier message that arrives late takes its place, a later one does not
SELECT status FROM cdp.ingest('{"messageId": "e0", "type": "track", "event": "E", "timestamp": "2026-04-01", "userId": "ev", "anonymousId": "ev-a"}', 'evidence');
SELECT status FROM cdp.ingest('{"messageId": "e5", "type": "track", "event": "E", "timestamp": "2026-05-05", "userId": "ev", "anonymousId": "ev-a"}', 'evidence');
SELECT a, b, ts, message_id FROM evidence WHERE source = 'evidence';
-- nor does a duplicate that claims an earlier time
SELECT status FROM cdp.ingest('{"messageId": "e5", "type": "track", "event": "E", "timestamp": "2020-01-01", "userId": "ev", "anonymousId": "ev-a"}', 'evidence');
SELECT a, b, ts, message_id FROM evidence WHERE source = 'evidence';
-- of several in one message: each is tied to the one of the highest rank, that files the event
SELECT status FROM cdp.ingest('{"messageId": "e6", "type": "identify", "timestamp": "2026-05-06", "userId": "star", "anonymousId": "star-a", "traits": {"email": "star@example.com"}, "context": {"device": {"id": "star-d"}}}', 'star');
SELECT a, b, message_id FROM evidence WHERE source = 'star' ORDER BY b COLLATE "C", a COLLATE "C";
SELECT i.namespace, cardinality(e.other_nodes) AS others FROM cdp_data.event e JOIN cdp_data.identifier i USING (node_id) WHERE e.source = 'star';
-- merges name the message, what was moved and when
SELECT count(*) FROM cdp.ingest('[{"messageId": "g1", "type": "track", "event": "E", "userId": "g"}, {"messageId": "g2", "type": "track", "event": "E", "anonymousId": "g-a", "context": {"device": {"id": "g-d"}}}]', 'log');
SELECT status FROM cdp.ingest('{"messageId": "g3", "type": "alias", "userId": "g", "previousId": "g-a"}', 'log');
SELECT m.winner = cdp.resolve('user_id:g') AS winner, (SELECT profile_id FROM cdp.merged_profiles WHERE old_id = m.loser) = m.winner AS loser,
	(SELECT array_agg(i.namespace || ':' || i.value ORDER BY i.namespace) FROM cdp_data.identifier i WHERE i.node_id = ANY (m.moved_nodes)) AS moved, m.at, m.source, m.message_id
FROM cdp_data.identity_merge m WHERE source = 'log';

--
-- Collision of keys: a key that belongs to another value is never believed
--
SELECT cdp.identify('email:victim@example.com', '{"name": "Victim"}', '2026-05-01') > 0 AS victim, cdp.identify('user_id:attacker', at => '2026-05-01') > 0 AS attacker;
CREATE TABLE people_before AS SELECT profile_id, events, identifiers, traits FROM cdp.profiles;
-- as if "email:evil@example.com" had the victim's key
CREATE TABLE planted AS SELECT namespace, key FROM cdp_data.identifier WHERE value = 'victim@example.com';
UPDATE cdp_data.identifier i SET value = 'other@example.com' FROM planted p WHERE i.key = p.key AND i.namespace = p.namespace;
SELECT cdp.resolve('email:victim@example.com') AS not_believed, cdp.resolve('{email:victim@example.com,user_id:attacker}') = cdp.resolve('user_id:attacker') AS the_other_one;
SELECT message_id, status, profile_id FROM cdp.ingest('{"messageId": "c1", "type": "identify", "userId": "attacker", "traits": {"email": "victim@example.com", "name": "Attacker"}}', 'collision');
SELECT message_id, reason, detail, times FROM cdp.rejected WHERE source = 'collision';
-- in a batch: who collides is refused, all others are taken; new identifiers of the refused are not made
SELECT message_id, status, profile_id IS NOT NULL AS known FROM cdp.ingest('[
	{"messageId": "c2", "type": "track", "event": "E", "userId": "innocent"},
	{"messageId": "c3", "type": "identify", "userId": "c3", "anonymousId": "c3-a", "traits": {"email": "victim@example.com"}},
	{"messageId": "c4", "type": "track", "event": "E", "userId": "innocent", "anonymousId": "innocent-a"},
	{"messageId": "c5", "type": "track", "event": "E", "anonymousId": "c3-a"}]', 'collision');
SELECT cdp.resolve('user_id:c3') AS not_made, cdp.resolve('anonymous_id:c3-a') IS NOT NULL AS made_by_c5, cdp.resolve('user_id:innocent') = cdp.resolve('anonymous_id:innocent-a') AS innocent;
SELECT cdp.track('email:victim@example.com', 'E');
SELECT cdp.track('{email:victim@example.com,user_id:attacker}', 'E', message_id => 'c6', source => 'collision');
SELECT count(*) AS changed FROM ((TABLE people_before) EXCEPT (SELECT profile_id, events, replace(identifiers::text, 'other@', 'victim@')::jsonb, traits FROM cdp.profiles)) x;
-- when the key is what it was, the message comes again under its id and is taken, once
UPDATE cdp_data.identifier i SET value = 'victim@example.com' FROM planted p WHERE i.key = p.key AND i.namespace = p.namespace;
SELECT message_id, status FROM cdp.ingest('{"messageId": "c1", "type": "identify", "userId": "attacker", "traits": {"email": "victim@example.com", "name": "Attacker"}}', 'collision');
SELECT message_id, status FROM cdp.ingest('{"messageId": "c1", "type": "identify", "userId": "attacker", "traits": {"email": "victim@example.com", "name": "Attacker"}}', 'collision');
SELECT cdp.track('{email:victim@example.com,user_id:attacker}', 'E', message_id => 'c6', source => 'collision') = cdp.resolve('user_id:attacker') AS taken;
SELECT cdp.resolve('email:victim@example.com') = cdp.resolve('user_id:attacker') AS one;
SELECT events, traits FROM cdp.profiles WHERE profile_id = cdp.resolve('user_id:attacker');

-- hostile identifiers stay what they are
SELECT cdp.identify(ARRAY['x:{}', 'x:"', 'x:\', 'x:''; DROP TABLE x; --', 'x:a:b', 'x:,', 'x:%s', 'x:NULLs', E'x:tab\tnew\nline']) > 0 AS ok;
SELECT count(*), bool_and(cdp.resolve(ARRAY['x:' || value]) = cdp.resolve('x:{}')) AS resolve FROM cdp.identifiers WHERE namespace = 'x';

-- a message refused for a collision leaves no trace in what it names, and one
-- under its id later in the batch takes its place
SELECT cdp.identify('email:v10@x.y') > 0 AS ok;
UPDATE cdp_data.identifier SET value = 'other' WHERE value = 'v10@x.y';
SELECT status FROM cdp.ingest('[{"type": "identify", "userId": "p10", "traits": {"email": "v10@x.y"}, "timestamp": "2001-01-01"}, {"type": "track", "event": "E", "userId": "p10", "timestamp": "2020-01-01"}]', 'p10');
SELECT first_seen AT TIME ZONE 'UTC' AS first_seen FROM cdp.identifiers WHERE value = 'p10';
SELECT message_id, status FROM cdp.ingest('[{"type": "identify", "userId": "p15", "messageId": "p15", "traits": {"email": "v10@x.y"}}, {"type": "track", "event": "ok", "userId": "p15", "messageId": "p15"},
	{"type": "track", "event": "ok", "userId": "p15", "messageId": "p15"}]', 'p15');
SELECT message_id, status FROM cdp.ingest('{"type": "track", "event": "ok", "userId": "p15", "messageId": "p15"}', 'p15');
SELECT message_id, reason FROM cdp.rejected WHERE source = 'p15';

--
-- What ends a bearer, and what does not
--
-- with a namespace that is isolate, a link that is no message ends nobody
SELECT cdp.define_namespace('kiosk', on_conflict => 'isolate');
SELECT pairs, rejected FROM cdp.ingest_edges($$SELECT 'crm:i1', 'loyalty:i1'$$);
SELECT cdp.merge('{crm:i1,loyalty:i2}', 'asked for') IS NULL AS nobody_was_two;
SELECT namespace, value, ended FROM cdp_data.identifier WHERE namespace IN ('crm', 'loyalty') ORDER BY 1, 2;
SELECT cdp.resolve('crm:i1') = cdp.resolve('loyalty:i1') AND cdp.resolve('crm:i1') = cdp.resolve('loyalty:i2') AS one;
-- who she was at a time is not told to those who may not see that person now
CREATE ROLE regress_then;
SELECT cdp.provision('regress_then', 'analyst'), cdp.define_purpose('then'), cdp.permit('regress_then', 'then');
SELECT cdp.track('user_id:then', 'E') > 0 AS ok;
SELECT cdp.track('email:then@example.com', 'E') > 0 AS ok;
SET cdp.clock = '2026-06-01 13:00:00+00';
SELECT cdp.merge('{email:then@example.com,user_id:then}', 'by mistake') AS merge_id \gset
SELECT at::text AS merged_at, winner FROM cdp.merges WHERE merge_id = :merge_id \gset
SET cdp.clock = '2026-06-01 14:00:00+00';
SELECT cdp.unmerge(:merge_id) > 0 AS ok;
SELECT cdp.resolve('user_id:then') = :winner AS stayed, cdp.resolve('email:then@example.com') <> :winner AS came_back;
SELECT cdp.set_consent('email:then@example.com', 'then', 'granted') > 0 AND cdp.set_consent('user_id:then', 'then', 'granted') > 0 AS ok;
SET ROLE regress_then;
SELECT cdp.resolve('email:then@example.com', :'merged_at') = :winner AS told;
RESET ROLE;
SET cdp.clock = '2026-06-01 15:00:00+00';
SELECT cdp.set_consent('user_id:then', 'then', 'withdrawn') > 0 AS ok;
SET ROLE regress_then;
SELECT cdp.resolve('email:then@example.com') IS NOT NULL AS seen, cdp.resolve('email:then@example.com', :'merged_at') AS not_told, cdp.resolve('user_id:then') AS not_seen;
RESET ROLE;
DROP OWNED BY regress_then;
DROP ROLE regress_then;

\c postgres
SET client_min_messages = warning;
DROP DATABASE regress_identity;
