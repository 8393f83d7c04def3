-- retention.sql: events go, what they added up to stays.  First by hand, then
-- random histories with and without retention, which must not differ.
\set main :DBNAME
\set VERBOSITY terse
CREATE DATABASE regress_retention TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_retention
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION cdp;
SELECT count(*) > 0 AS initialised FROM cdp.init();
SET cdp.clock = '2026-06-15';

--
-- Half a year of events of ten people; a month is kept
--
SELECT cdp.define_trait('city'), cdp.define_trait('first_city', survivorship => 'oldest'), cdp.define_trait('tags', survivorship => 'union'),
	cdp.define_trait('store', survivorship => 'most_frequent');
SELECT count(cdp.define_metric(m, 'Order', a, p, period => w::interval)) AS metrics FROM (VALUES ('orders', 'count', NULL, NULL), ('spent', 'sum', 'total', NULL), ('brands', 'list', 'brand', NULL),
	('skus', 'unique_count', 'sku', NULL), ('first_order', 'first', NULL, NULL), ('all_skus', 'list', 'sku', NULL), ('top_sku', 'most_frequent', 'sku', NULL), ('last_brand', 'last', 'brand', NULL), ('recent', 'count', NULL, '20 days')) v (m, a, p, w);
SELECT count(cdp.track('user_id:u' || i % 10, 'Order', jsonb_build_object('brand', 'b' || i % 3, 'sku', 'an article with a rather long name, of which there are many: ' || i % 1300, 'total', i), timestamptz '2026-06-14' - i * interval '3 hours', 'm' || i)) AS orders
FROM generate_series(1, 1500) i;
SELECT count(cdp.identify('user_id:u' || i % 10, jsonb_build_object('city', 'c' || i % 7, 'first_city', 'f' || i % 5, 'odd', i % 3, 'tags', jsonb_build_array('t' || i % 11, 't' || i % 4),
	'store', 's' || i % 6 % 4), timestamptz '2026-06-14' - i * interval '9 hours', 'i' || i)) AS facts FROM generate_series(1, 500) i;
CALL cdp.maintain();
CREATE TABLE before AS SELECT * FROM cdp.profiles;
CREATE FUNCTION changed() RETURNS TABLE (what text, who bigint) LANGUAGE sql AS $$
	(SELECT 'was', profile_id FROM (TABLE before EXCEPT TABLE cdp.profiles) x) UNION ALL (SELECT 'is', profile_id FROM (TABLE cdp.profiles EXCEPT TABLE before) x)
	UNION ALL SELECT what, profile_id FROM cdp.verify() LIMIT 20
$$;
SELECT * FROM changed();
SELECT count(*) AS partitions FROM cdp_data.event_partition WHERE to_ts <= '2026-05-01';
SELECT cdp.set_retention('1 month');
SELECT what, event, keep, horizon, gone FROM cdp.retention;
CALL cdp.maintain();
SELECT what, event, keep, horizon, gone, last_gone_at FROM cdp.retention;
SELECT count(*) AS partitions FROM cdp_data.event_partition WHERE to_ts <= '2026-05-01';
SELECT count(*) AS events, min(ts) >= '2026-05-15' AS recent FROM cdp.events;
SELECT kind, state, done_rows FROM cdp.tasks WHERE kind = 'retention';
SELECT * FROM changed();
-- again, nothing more is over
SELECT cdp.set_retention('1 month');
CALL cdp.maintain();
SELECT gone FROM cdp.retention;
-- folded anew from what is left
SELECT count(*) FILTER (WHERE cdp.rebuild(profile_id)) AS rebuilt FROM cdp.profiles;
UPDATE cdp_data.metric_state SET states = '\x01';
UPDATE cdp_data.profile SET city = NULL, first_city = 'x', tags = NULL, store = NULL, trait_meta = '{}', traits = '{}';
UPDATE cdp_data.profile_state SET events = 0, first_seen = NULL;
CALL cdp.rebuild_all();
SELECT * FROM changed();
-- what is known of values whose events are gone
SELECT value, source, at, message_id, won, why FROM cdp.explain_trait('user_id:u1', 'first_city') ORDER BY at LIMIT 2;
SELECT value, at, message_id, won, why FROM cdp.explain_trait('user_id:u1', 'store') ORDER BY at DESC LIMIT 3;
SELECT cdp.drop_retention(NULL);

-- another rule chooses among all values there were, and a declaration finds them
SELECT array_agg(value ORDER BY profile_id) AS odd FROM (SELECT p.profile_id, (SELECT t.value FROM cdp.explain_trait(p.profile_id, 'odd') t ORDER BY t.at LIMIT 1) AS value FROM cdp.profiles p) x \gset
SELECT cdp.define_trait('odd', 'int', survivorship => 'oldest');
SELECT array_agg(odd ORDER BY profile_id)::text = :'odd' AS oldest FROM cdp.profiles;
SELECT cdp.redefine_trait('city', 'oldest') > 0 AS redefined;
CALL cdp.maintain();
SELECT array_agg(DISTINCT city) AS oldest FROM cdp.profiles;
SELECT count(*) AS differences FROM cdp.verify();

-- a metric defined now does not know what is gone
SELECT cdp.define_metric('late', 'Order') > 0 AS defined;
CALL cdp.maintain();
SELECT name, complete_since FROM cdp.metrics WHERE complete_since IS NOT NULL;
SELECT sum(late) < sum(orders) AS fewer FROM cdp.profiles;
SELECT cdp.define_metric('late_week', 'Order', period => '7 days') > 0 AS complete, cdp.define_metric('longer', 'Order', period => '40 days') > 0 AS refused;
SELECT cdp.set_retention('10 days');
SELECT cdp.set_retention('10 days', 'page');
SELECT cdp.define_metric('all_month', period => '15 days') > 0 AS refused;
SELECT cdp.set_retention('0 days'), cdp.set_retention('-1 year');
SELECT cdp.set_retention('1 year', '');
-- kept longer from now on: a window may be longer, and fills
SELECT cdp.set_retention('1 year', 'Order');
SELECT cdp.define_metric('quarter', 'Order', period => '90 days') > 0 AS defined;
SELECT name, complete_since FROM cdp.metrics WHERE complete_since IS NOT NULL ORDER BY 1;
-- so does a sequence: whichever of its events went, unless what went is over
SELECT cdp.define_sequence('waits', 'Order', 'Order', period => '7 days', holds => '10 days') > 0 AS complete,
	cdp.define_sequence('waits_long', 'Order', 'Order', period => '7 days', holds => '1 month') > 0 AS known_of_part,
	cdp.define_sequence('waits_ever', 'Order', 'Nothing kept for itself', period => '7 days') > 0 AS known_of_part,
	cdp.define_sequence('waits_other', 'Nothing kept for itself', 'Order', period => '7 days') > 0 AS known_of_part;
SELECT name, complete_since FROM cdp.sequences ORDER BY 1;
SELECT q.name, q.complete_since = (SELECT max(r.horizon) FROM cdp.retention r WHERE r.event = 'Order' OR r.event IS NULL) AS latest FROM cdp.sequences q WHERE q.name IN ('waits_ever', 'waits_other') ORDER BY 1;
SELECT cdp.drop_sequence(name) FROM cdp.sequences WHERE name LIKE 'waits%';
-- what was over is not, once it is kept longer
SELECT cdp.track('user_id:u2', 'Order', '{"total": 0}', '2025-12-24', 'christmas') > 0 AS taken;
CALL cdp.maintain();
SELECT cdp.set_retention('2 months', 'Order');
SELECT cdp.set_retention('100 days', 'Order');
CALL cdp.maintain();
SELECT count(*) AS gone FROM cdp.events WHERE message_id = 'christmas';
SELECT cdp.set_retention('1 year', 'Order');
SELECT cdp.track('user_id:u2', 'Order', '{"total": 0}', '2025-12-25', 'christmas2') > 0 AS taken;
CALL cdp.maintain();
SELECT count(*) AS there FROM cdp.events WHERE message_id = 'christmas2';
SELECT cdp.drop_metric('quarter');
-- for ever
SELECT cdp.set_retention(NULL, 'Order'), cdp.set_retention(NULL);
CALL cdp.maintain();
SELECT cdp.drop_retention('Oder');
SELECT cdp.drop_retention('Order');
SELECT event, keep, horizon FROM cdp.retention ORDER BY event NULLS FIRST;

--
-- Rules of their own
--
SELECT cdp.set_retention('3 days', 'page'), cdp.set_retention('1 day', 'Ping'), cdp.set_retention('1 year', 'identify'), cdp.set_retention('1 month');
SELECT count(*) AS taken FROM cdp.ingest((SELECT jsonb_agg(jsonb_build_object('type', t, 'event', e, 'name', 'Ping', 'userId', 'u3', 'messageId', concat('r', t, e, d),
	'timestamp', timestamptz '2026-06-14 12:00Z' - d * interval '1 day')) FROM (VALUES ('page', NULL), ('track', 'Ping'), ('track', 'page'), ('identify', NULL), ('screen', NULL)) v (t, e), generate_series(1, 50, 7) d));
CALL cdp.maintain();
SELECT type, coalesce(name, '') AS name, count(*), min(ts) FROM cdp.events WHERE message_id LIKE 'r%' GROUP BY 1, 2 ORDER BY 1, 2;
SELECT event, keep, gone FROM cdp.retention ORDER BY event NULLS FIRST;
SELECT cdp.drop_retention(e) FROM unnest('{page,Ping,identify}'::text[]) e;
CALL cdp.maintain();
SELECT type, coalesce(name, '') AS name, count(*) FROM cdp.events WHERE message_id LIKE 'r%' GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(*) AS differences FROM cdp.verify();

--
-- Late events: taken, and gone with the next round
--
SELECT cdp.set_retention('1 month');
CALL cdp.maintain();
SELECT orders, spent, first_order FROM cdp.profiles WHERE profile_id = cdp.resolve('user_id:u1');
SELECT cdp.track('user_id:u1', 'Order', '{"total": 0.5}', '2025-09-01', 'late1') > 0 AS taken;
SELECT cdp.track('user_id:u1', 'Order', '{"total": 0.5}', '2025-09-01', 'late1') > 0 AS again;
SELECT orders, spent, first_order FROM cdp.profiles WHERE profile_id = cdp.resolve('user_id:u1');
SELECT name, from_ts, to_ts FROM cdp_data.event_partition WHERE from_ts < '2026-05-01';
SELECT count(*) AS differences FROM cdp.verify();
SET cdp.clock = '2026-06-23';
CALL cdp.maintain();
SELECT name FROM cdp_data.event_partition WHERE from_ts < '2026-05-01';
SELECT orders, spent, first_order FROM cdp.profiles WHERE profile_id = cdp.resolve('user_id:u1');
SELECT count(*) AS differences FROM cdp.verify();


--
-- Ids of messages
--
SELECT cdp.define_purpose('analytics') AS analytics;
SELECT cdp.set_consent('user_id:u1', 'analytics', 'granted', '2025-01-01', message_id => 'c1') > 0 AS recorded;
SELECT cdp.set_message_retention('1 year');
SET cdp.clock = '2027-09-01';
CALL cdp.maintain();
SELECT what, keep, horizon, gone > 2000 AS gone FROM cdp.retention WHERE what = 'message ids';
SELECT count(*) AS remembered FROM cdp_data.message_seen;
SELECT cdp.track('user_id:u1', 'Order', '{"total": 0.5}', '2025-09-01', 'late1') AS too_old;
SELECT status FROM cdp.ingest('[{"type": "track", "event": "Order", "userId": "u1", "messageId": "late1", "timestamp": "2025-09-01T00:00:00Z"},
	{"type": "track", "event": "Order", "userId": "u1", "messageId": "new1", "timestamp": "2027-08-01T00:00:00Z"}]');
SELECT reason, message_id, times, detail FROM cdp.rejected ORDER BY message_id;
-- a late withdrawal counts whenever it comes, and once
SELECT cdp.set_consent('user_id:u1', 'analytics', 'granted', '2025-01-01', message_id => 'c1') > 0 AS again,
	cdp.set_consent('user_id:u1', 'analytics', 'withdrawn', '2025-02-01', message_id => 'c2') > 0 AS late;
SELECT state, at FROM cdp.consents;
SELECT count(*) AS records FROM cdp.consent_log;
SELECT * FROM cdp.verify();
SELECT cdp.set_message_retention('1 hour');

--
-- A trait that gets another value each time: few are kept, and the right ones
--
SELECT cdp.define_trait('seen', 'int'), cdp.define_trait('best', 'int', survivorship => 'max'), cdp.define_trait('trusted', survivorship => 'source_priority', sources => '{crm,shop}'),
	cdp.define_trait('often', survivorship => 'most_frequent');
SELECT count(cdp.identify('user_id:many', jsonb_build_object('seen', CASE WHEN i < 300 THEN to_jsonb('junk ' || i) ELSE to_jsonb(i) END, 'best', i * 7919 % 1009, 'trusted', 'v' || i, 'often', i % 700,
	'loose', i), timestamptz '2027-01-01' - i * interval '1 minute', 'many' || i, CASE WHEN i = 800 THEN 'crm' WHEN i % 2 = 0 THEN 'shop' ELSE 'web' END)) AS given FROM generate_series(1, 1000) i;
SET cdp.clock = '2027-09-02';
SELECT seen, best, trusted, often, traits FROM cdp.profiles WHERE profile_id = cdp.resolve('user_id:many');
CALL cdp.maintain();
SELECT seen, best, trusted, often, traits FROM cdp.profiles WHERE profile_id = cdp.resolve('user_id:many');
SELECT name, count(*) < 700 AS few, sum(times) FROM cdp_data.node_base_trait WHERE node_id = (SELECT node_id FROM cdp_data.identifier WHERE value = 'many') GROUP BY name ORDER BY name;
SELECT * FROM cdp.verify();
SELECT cdp.redefine_trait('seen', 'oldest') > 0 AS warned;
CALL cdp.maintain();
SELECT * FROM cdp.verify();

--
-- What sessions and sequences left is forgotten with them
--
SELECT cdp.set_retention('1 month'), cdp.set_session('4 hours'), cdp.define_sequence('gone', 'Order', 'page', period => '1 day') > 0 AS gone,
	cdp.define_sequence('lately', 'Order', 'page', period => '1 day', holds => '2 months') > 0 AS lately;
CALL cdp.maintain();
SELECT count(cdp.track('user_id:s' || i % 3, 'Order', at => timestamptz '2027-08-20' + i * interval '1 hour', message_id => 's' || i)) AS orders FROM generate_series(1, 60) i;
SET cdp.clock = '2027-10-01';
CALL cdp.maintain();
SELECT count(*) AS sessions FROM cdp.sessions WHERE ended_at < '2027-08-31';
SELECT sequence_id - min(sequence_id) OVER () AS sequence, count(*) AS marks FROM cdp_data.node_base_mark GROUP BY sequence_id ORDER BY 1;
SELECT cdp.drop_sequence('gone');
SET cdp.clock = '2027-12-15';
CALL cdp.maintain();
SELECT (SELECT count(*) FROM cdp_data.sequence_mark) AS marks, (SELECT count(*) FROM cdp_data.node_base_mark) AS gone;
SELECT cdp.drop_session();
SELECT cdp.set_session('5 hours');
CALL cdp.maintain();
SELECT count(*) AS sessions FROM cdp.sessions;
SELECT * FROM cdp.verify();

--
-- A rule that is set while others are carried out does not wait for hours
--
SELECT count(cdp.track('user_id:s' || i, 'Note', at => '2027-12-10', message_id => 'note' || i)) AS notes FROM generate_series(1, 3) i;
SELECT cdp.retention_due();
DO $$ BEGIN
	WHILE (SELECT position ->> 'phase' FROM cdp_data.task WHERE kind = 'retention') IS DISTINCT FROM 'drop' LOOP
		PERFORM cdp.maintain_step();
	END LOOP;
END $$;
SELECT cdp.set_retention('1 day', 'Note');
CALL cdp.maintain();
SELECT count(*) AS notes FROM cdp.events WHERE name = 'Note';
SELECT * FROM cdp.verify();

--
-- Whatever the transactions of a database are by default, maintenance goes on
--
SET default_transaction_isolation = 'repeatable read';
BEGIN ISOLATION LEVEL READ COMMITTED;
SELECT cdp.set_session('6 hours'), cdp.set_message_retention('1 year');
COMMIT;
CALL cdp.maintain();
SELECT r.state, (SELECT count(*) FROM cdp.tasks k WHERE k.state <> 'done') AS waiting FROM cdp.session_rule r;
SHOW transaction_isolation;
SET default_transaction_isolation = 'serializable';
SELECT cdp.retention_due();
CALL cdp.maintain();
SELECT count(*) AS waiting FROM cdp.tasks k WHERE k.state <> 'done';
RESET default_transaction_isolation;
SELECT * FROM cdp.verify();

\c :main
DROP DATABASE regress_retention;
