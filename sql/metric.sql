-- Metrics: every aggregate, windows that end on time, late events and
-- duplicates, merge and unmerge, definition on existing data; then random
-- histories against plain SQL over the events.
\set VERBOSITY terse
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_metric;
CREATE DATABASE regress_metric TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_metric
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION cdp;
SELECT count(*) > 0 AS init FROM cdp.init();
SET cdp.clock = '2026-03-01';

--
-- Every aggregate
--
SELECT cdp.define_metric('orders', 'Order') > 0 AS defined;
SELECT count(*) FROM (SELECT cdp.define_metric(a || coalesce('_' || p, ''), 'Order', a, p) FROM (VALUES ('count', 'total'), ('sum', 'total'), ('avg', 'total'), ('min', 'total'),
	('max', 'total'), ('first', NULL), ('last', NULL), ('first', 'brand'), ('last', 'brand'), ('unique_count', 'brand'), ('most_frequent', 'brand'), ('list', 'brand'),
	('sum', 'cart.fee')) v (a, p)) x;
SELECT cdp.define_metric('views', 'page') > 0 AS page, cdp.define_metric('everything') > 0 AS everything,
	cdp.define_metric('gifts', 'Order', filter => '{"gift": true}') > 0 AS filtered, cdp.define_metric('week', 'Order', 'sum', 'total', period => '7 days') > 0 AS windowed;
SELECT name, type, state FROM cdp.metrics ORDER BY name;
SELECT cdp.track('email:ada@x.y', 'Order', '{"total": 12.5, "brand": "acme", "gift": true, "cart": {"fee": 2}}', '2026-02-01', 'o1') > 0 AS taken;
SELECT cdp.track('email:ada@x.y', 'Order', '{"total": 7.5, "brand": "zeta"}', '2026-02-26', 'o2') > 0 AS taken;
-- no number, no brand: the order counts, its values do not
SELECT cdp.track('email:ada@x.y', 'Order', '{"total": "many", "brand": {"name": "x"}}', '2026-02-27', 'o3') > 0 AS taken;
-- late
SELECT cdp.track('email:ada@x.y', 'Order', '{"total": 1, "brand": "acme", "cart": {"fee": 0.5}}', '2026-01-01', 'o4') > 0 AS taken;
-- twice
SELECT cdp.track('email:ada@x.y', 'Order', '{"total": 7.5, "brand": "zeta"}', '2026-02-26', 'o2') > 0 AS taken;
SELECT status FROM cdp.ingest('[{"type": "page", "name": "Home", "userId": "u1", "messageId": "p1", "timestamp": "2026-02-02T00:00:00Z"},
	{"type": "page", "userId": "u1", "messageId": "p2", "timestamp": "2026-02-02T00:00:00Z"},
	{"type": "page", "userId": "u1", "messageId": "p1", "timestamp": "2026-02-02T00:00:00Z"}]');
\x on
SELECT orders, count_total, sum_total, avg_total, min_total, max_total, first, last, first_brand, last_brand, unique_count_brand, most_frequent_brand, list_brand,
	"sum_cart.fee", views, everything, gifts, week FROM cdp.profiles ORDER BY profile_id;
\x off
SELECT name, cdp.metric_value(cdp.resolve('email:ada@x.y'), name) AS value FROM cdp.metrics ORDER BY name;

--
-- Time goes by: nobody does anything, nothing is swept
--
SELECT cdp.define_metric('hour', 'Ping', period => '1 hour') > 0 AS hour, cdp.define_metric('month', 'Ping', period => '1 month') > 0 AS month,
	cdp.define_metric('last_in_hour', 'Ping', 'last', 'n', period => '1 hour') > 0 AS last;
CALL cdp.maintain();
SELECT cdp.track('email:bob@x.y', 'Ping', '{"n": 1}', '2026-03-01 09:00:00'), cdp.track('email:bob@x.y', 'Ping', '{"n": 2}', '2026-03-01 09:30:00') IS NOT NULL AS taken \gset
SET cdp.clock = '2026-03-01 09:59:59.999999';
SELECT hour, last_in_hour, month FROM cdp.profiles WHERE profile_id = cdp.resolve('email:bob@x.y');
SET cdp.clock = '2026-03-01 10:00:00';
SELECT hour, last_in_hour, month FROM cdp.profiles WHERE profile_id = cdp.resolve('email:bob@x.y');
SET cdp.clock = '2026-03-01 10:30:00';
SELECT hour, last_in_hour, month FROM cdp.profiles WHERE profile_id = cdp.resolve('email:bob@x.y');
-- a month of the calendar
SET cdp.clock = '2026-04-01 08:59:59';
SELECT month FROM cdp.profiles WHERE profile_id = cdp.resolve('email:bob@x.y');
SET cdp.clock = '2026-04-01 09:15:00';
SELECT month FROM cdp.profiles WHERE profile_id = cdp.resolve('email:bob@x.y');
-- whatever the session's time zone
SET cdp.clock = '2026-04-01 09:15:00+00';
SET timezone = 'Pacific/Apia';
SELECT month FROM cdp.profiles WHERE profile_id = cdp.resolve('email:bob@x.y');
SET timezone = 'UTC';

--
-- Merge and unmerge
--
SELECT cdp.merge('{email:ada@x.y,email:bob@x.y}', 'one person') AS merge \gset
SELECT orders, sum_total, list_brand, month, everything FROM cdp.profiles WHERE profile_id = cdp.resolve('email:bob@x.y');
SELECT cdp.unmerge(:merge) > 0 AS parted;
SELECT orders, sum_total, list_brand, month, everything FROM cdp.profiles WHERE profile_id IN (cdp.resolve('email:ada@x.y'), cdp.resolve('email:bob@x.y')) ORDER BY 1;

--
-- More values than are kept: an estimate of how many there are; lists are read from the events
--
SELECT cdp.define_metric('skus', 'View', 'unique_count', 'sku') > 0 AS defined, cdp.define_metric('sku_list', 'View', 'list', 'sku') > 0 AS defined,
	cdp.define_metric('sku', 'View', 'most_frequent', 'sku') > 0 AS defined;
CALL cdp.maintain();
SELECT count(*) FROM cdp.ingest((SELECT jsonb_agg(jsonb_build_object('type', 'track', 'event', 'View', 'userId', 'cat', 'messageId', 'v' || i,
	'timestamp', '2026-03-20T00:00:00Z', 'properties', jsonb_build_object('sku', 's' || i % 1024))) FROM generate_series(0, 1500) i));
SELECT skus, cardinality(sku_list) AS listed, sku FROM cdp.profiles WHERE skus > 0;
SELECT count(*) FROM cdp.ingest((SELECT jsonb_agg(jsonb_build_object('type', 'track', 'event', 'View', 'userId', 'cat', 'messageId', 'w' || i,
	'timestamp', '2026-03-21T00:00:00Z', 'properties', jsonb_build_object('sku', 's' || i))) FROM generate_series(0, 19999) i));
SELECT abs(skus - 20000) < 4 * 0.031 * 20000 AS near, skus <> 20000 AS estimated, cardinality(sku_list) AS listed, sku FROM cdp.profiles WHERE skus > 0;

--
-- What cannot be defined
--
SELECT cdp.define_metric('m', 'Order', 'median', 'total');
SELECT cdp.define_metric('m', 'Order', 'sum');
SELECT cdp.define_metric('m', 'Order', 'sum', 'a..b');
SELECT cdp.define_metric('m', '', 'count');
SELECT cdp.define_metric('m', 'Order', period => '0 days');
SELECT cdp.define_metric('m', 'Order', period => '-1 day');
SELECT cdp.define_metric('m', 'Order', filter => '[1]');
\set VERBOSITY default
\set SHOW_CONTEXT never
SELECT cdp.define_metric('m', 'Order', filter => '{"total": {"$foo": 1}}');
SELECT cdp.define_metric('m', 'Order', filter => '{"$or": [{}, {"sku": {"$not": {"$regex": "tea("}}}]}');
SELECT cdp.define_metric('m', 'Order', filter => '{"sku": {"$regexi": 7}}');
SELECT cdp.define_metric('m', 'Order', filter => '{"sku": {"$inGroup": "teas"}}');
\set VERBOSITY terse
SELECT count(*) AS defined FROM cdp_data.metric WHERE name = 'm';
SELECT cdp.define_metric('orders', 'Order');
SELECT cdp.define_metric('events', 'Order');
SELECT cdp.define_metric('', 'Order');
SELECT cdp.define_trait('orders');
SELECT cdp.define_trait('country');
SELECT cdp.define_metric('country', 'Order');
SELECT cdp.metric_value(1, 'nothing');
SELECT cdp.metric_text(1, (SELECT metric_id FROM cdp_data.metric WHERE name = 'orders'));
-- a dropped one leaves its column to the views that use it
CREATE VIEW uses AS SELECT orders, country FROM cdp.profiles;
SELECT cdp.drop_metric('orders');
SELECT cdp.drop_metric('orders');
SELECT count(*) > 0 AS people, count(orders) AS orders FROM uses;
SELECT cdp.define_metric('orders', 'Order', 'sum', 'total');
SELECT cdp.define_metric('orders', 'Order') > 0 AS defined;
SELECT orders, state FROM cdp.profiles, cdp.metrics WHERE name = 'orders' AND profile_id = cdp.resolve('email:ada@x.y');
SELECT target, state FROM cdp.tasks WHERE kind = 'metric' AND state <> 'done';
CALL cdp.maintain();
SELECT orders, state FROM cdp.profiles, cdp.metrics WHERE name = 'orders' AND profile_id = cdp.resolve('email:ada@x.y');
SELECT string_agg(attname, ' ' ORDER BY attnum) AS columns FROM pg_attribute WHERE attrelid = 'cdp.profiles'::regclass AND attnum > 7;
SELECT col_description('cdp.profiles'::regclass, attnum) FROM pg_attribute WHERE attrelid = 'cdp.profiles'::regclass AND attname IN ('gifts', 'week');

--
-- Only of whom one may see
--
CREATE ROLE regress_metric_reader;
SELECT cdp.define_purpose('analytics') > 0 AS purpose;
SELECT cdp.permit('regress_metric_reader', 'analytics');
SELECT cdp.set_consent('email:ada@x.y', 'analytics', 'granted', '2026-03-30') AS ada \gset
SELECT cdp.resolve('email:bob@x.y') AS bob \gset
SET ROLE regress_metric_reader;
SELECT sum_total, month FROM cdp.profiles;
SELECT cdp.metric_value(:ada, 'sum_total') AS hers, cdp.metric_value(:bob, 'month') AS his;
SELECT count(*) > 0 AS metrics FROM cdp.metrics;
SELECT * FROM cdp_data.metric_state;
RESET ROLE;
SELECT cdp.set_consent('email:ada@x.y', 'analytics', 'withdrawn', '2026-03-31') > 0 AS withdrawn;
SET ROLE regress_metric_reader;
SELECT cdp.metric_value(:ada, 'sum_total') AS hers;
RESET ROLE;

--
-- Random histories against plain SQL over the events
--
\c regress_metric
SET client_min_messages = warning;
SET timezone = 'UTC';
SET cdp.clock = '2026-04-02';
SELECT count(*) FROM (SELECT cdp.drop_metric(name) FROM cdp.metrics) x;
-- what a metric must say, from the events alone
CREATE FUNCTION naive(p bigint, m cdp_data.metric) RETURNS jsonb LANGUAGE sql STABLE AS $$
	WITH e AS (
		SELECT e.ts, e.message_key, v, v #>> '{}' AS t FROM cdp_data.event e JOIN cdp_data.node n USING (node_id)
		CROSS JOIN LATERAL (SELECT e.properties #> string_to_array(m.property, '.') AS v) v
		WHERE n.profile_id = p
		AND (m.event IS NULL OR CASE e.type WHEN 'track' THEN e.name ELSE e.type END = m.event)
		AND (m.filter IS NULL OR e.properties @> m.filter)
		AND (m.period IS NULL OR e.ts > current_setting('cdp.clock')::timestamptz - m.period)
		AND CASE WHEN m.property IS NULL THEN true WHEN m.aggregate = 'count' THEN jsonb_typeof(v) <> 'null'
			WHEN m.aggregate IN ('sum', 'avg', 'min', 'max') THEN jsonb_typeof(v) = 'number' ELSE jsonb_typeof(v) IN ('string', 'number', 'boolean') END)
	SELECT CASE m.aggregate
		WHEN 'count' THEN (SELECT to_jsonb(count(*)) FROM e)
		WHEN 'unique_count' THEN (SELECT to_jsonb(count(DISTINCT t)) FROM e)
		WHEN 'sum' THEN (SELECT to_jsonb(sum(t::numeric)) FROM e)
		WHEN 'avg' THEN (SELECT to_jsonb(round(avg(t::numeric), 6)) FROM e)
		WHEN 'min' THEN (SELECT to_jsonb(min(t::numeric)) FROM e)
		WHEN 'max' THEN (SELECT to_jsonb(max(t::numeric)) FROM e)
		WHEN 'first' THEN (SELECT CASE WHEN m.property IS NULL THEN to_jsonb(ts) ELSE to_jsonb(t) END FROM e ORDER BY ts, message_key LIMIT 1)
		WHEN 'last' THEN (SELECT CASE WHEN m.property IS NULL THEN to_jsonb(ts) ELSE to_jsonb(t) END FROM e ORDER BY ts DESC, message_key DESC LIMIT 1)
		WHEN 'most_frequent' THEN (SELECT to_jsonb(t) FROM e GROUP BY t ORDER BY count(*) DESC, t COLLATE "C" LIMIT 1)
		WHEN 'list' THEN (SELECT jsonb_agg(t ORDER BY t COLLATE "C") FROM (SELECT DISTINCT t FROM e) d) END
$$;
-- what is compared, where it differs, and whether it was worth comparing
CREATE FUNCTION compare(OUT people bigint, OUT enough boolean, OUT differ bigint, OUT columns_differ bigint) LANGUAGE sql STABLE AS $$
	SELECT count(DISTINCT p.profile_id), count(x.has) > 20 * count(DISTINCT p.profile_id), count(*) FILTER (WHERE x.has IS DISTINCT FROM x.must),
		count(*) FILTER (WHERE CASE WHEN m.aggregate IN ('avg', 'sum') THEN round((to_jsonb(p) ->> m.name)::numeric, 6) IS DISTINCT FROM round((v #>> '{}')::numeric, 6)
			ELSE nullif(to_jsonb(p) -> m.name, 'null') IS DISTINCT FROM v END)
	FROM cdp.profiles p CROSS JOIN cdp_data.metric m
	CROSS JOIN LATERAL (SELECT cdp.metric_value(p.profile_id, m.name) AS v OFFSET 0) v
	CROSS JOIN LATERAL (SELECT CASE WHEN m.aggregate = 'avg' THEN to_jsonb(round(v::numeric, 6)) ELSE v END AS has, naive(p.profile_id, m) AS must OFFSET 0) x
	WHERE m.state = 'ready'
$$;
CREATE FUNCTION message(i int, days float) RETURNS jsonb LANGUAGE sql VOLATILE AS $$
	SELECT jsonb_build_object('type', CASE WHEN random() < 0.2 THEN 'page' ELSE 'track' END, 'event', (ARRAY['Order', 'View'])[1 + floor(random() * 2)::int],
		'messageId', 'r' || floor(random() * i * 1.1)::int, 'timestamp', date_trunc(CASE WHEN random() < 0.3 THEN 'day' ELSE 'second' END, current_setting('cdp.clock')::timestamptz - days * random() * interval '1 day'),
		'context', jsonb_build_object('externalIds', (SELECT jsonb_agg(jsonb_build_object('type', 'user', 'id', (floor(random() * 12)::int)::text)) FROM generate_series(0, (random() < 0.04)::int))),
		'properties', jsonb_build_object('n', CASE floor(random() * 6)::int WHEN 0 THEN 'null' WHEN 1 THEN '"text"' ELSE to_jsonb(floor(random() * 1000) / 8) END,
			'brand', (ARRAY['"a"', '"b"', '1', 'true', 'null', '{}', '"\u00e9"'])[1 + floor(random() * 7)::int]::jsonb, 'in', jsonb_build_object('sku', floor(random() * 400)), 'gift', random() < 0.5))
$$;
SELECT count(*) AS metrics FROM (SELECT cdp.define_metric(concat_ws('_', a, p, w, f), e, a, nullif(p, 'time'), f, w::interval)
	FROM (VALUES ('Order', 'count', 'time'), (NULL, 'count', 'n'), ('Order', 'sum', 'n'), ('View', 'avg', 'n'), ('Order', 'min', 'n'), ('View', 'max', 'n'), ('page', 'first', 'time'), ('Order', 'last', 'time'),
		('View', 'first', 'brand'), ('Order', 'last', 'brand'), ('View', 'unique_count', 'in.sku'), ('Order', 'most_frequent', 'brand'), (NULL, 'list', 'brand'), (NULL, 'list', 'in.sku'), (NULL, 'most_frequent', 'in.sku')) v (e, a, p)
	CROSS JOIN (VALUES (NULL, NULL), ('12 hours', NULL), ('10 days', NULL), ('1 month', '{"gift": true}'::jsonb)) w (w, f)) x;
CALL cdp.maintain();
SELECT setseed(0.5) IS NOT NULL AS seeded;
-- people come together and part, in single messages and batches, some late, some again
DO $$
DECLARE
	m bigint;
BEGIN
	FOR i IN 1..400 LOOP
		PERFORM cdp.ingest(message(i, 50));
		IF i % 20 = 0 THEN
			SELECT x.merge_id INTO m FROM cdp.merges x WHERE x.undone_at IS NULL ORDER BY random() LIMIT 1;
			PERFORM cdp.unmerge(m) WHERE m IS NOT NULL;
		END IF;
	END LOOP;
END $$;
SELECT enough, differ, columns_differ FROM compare();
SELECT count(*) > 3 AS merged, count(undone_at) > 2 AS undone FROM cdp.merges;
SET cdp.clock = '2026-04-09 17:01:02.5';
SELECT enough, differ, columns_differ FROM compare();
DO $$
DECLARE
	m bigint;
BEGIN
	FOR i IN 1..20 LOOP
		PERFORM cdp.ingest((SELECT jsonb_agg(message(400 + i * 200, 40)) FROM generate_series(1, 200)));
		SELECT x.merge_id INTO m FROM cdp.merges x WHERE x.undone_at IS NULL ORDER BY random() LIMIT 1;
		PERFORM cdp.unmerge(m) WHERE m IS NOT NULL;
		BEGIN
			PERFORM cdp.merge('{user:' || i % 12 || ',user:' || i % 5 || '}', 'test') WHERE i % 7 = 0;
		EXCEPTION WHEN OTHERS THEN	-- parted for good
		END;
	END LOOP;
END $$;
SELECT people > 1 AS people, enough, differ, columns_differ FROM compare();
-- cells were widened, and lists are read from the events
SELECT max(length(states)) BETWEEN 3000 AND 50000 AS bounded FROM cdp_data.metric_state;
SET cdp.clock = '2026-04-15 00:00:00';
SELECT enough, differ, columns_differ FROM compare();
SET cdp.clock = '2026-04-19 03:04:05.060708';
SELECT enough, differ, columns_differ FROM compare();
DO $$
BEGIN
	FOR i IN 1..200 LOOP
		PERFORM cdp.ingest(message(5000 + i, 3));
	END LOOP;
END $$;
SELECT enough, differ, columns_differ FROM compare();
-- defined on what is there, with messages between its steps
SELECT cdp.define_metric('again_' || name, event, aggregate, property, filter, period) > 0 AS defined FROM cdp.metrics WHERE name ~ '^(count|sum|first|list)' AND period IS DISTINCT FROM '12 hours' ORDER BY name LIMIT 4;
SELECT count(*) FROM cdp.profiles WHERE again_count_n IS NOT NULL;
SELECT count(*) FROM cdp.ingest((SELECT jsonb_agg(message(6000, 40)) FROM generate_series(1, 300)));
SELECT cdp.maintain_step() FROM generate_series(1, 3);
SELECT count(*) FROM cdp.ingest((SELECT jsonb_agg(message(7000, 40)) FROM generate_series(1, 300)));
CALL cdp.maintain();
SELECT count(*) FILTER (WHERE state <> 'ready') AS building FROM cdp.metrics;
SELECT enough, differ, columns_differ FROM compare();
-- what is taken from somebody stays hers; other rules; values that are nobody's
SELECT cdp.remove_identifier('user:3') > 0 AS removed;
SELECT count(*) FROM cdp.ingest((SELECT jsonb_agg(message(8000, 40)) FROM generate_series(1, 100)));
SELECT enough, differ, columns_differ FROM compare();
SELECT cdp.define_namespace('user', max_per_profile => 2, blocked => '{4}');
SELECT cdp.apply_rules() > 0 AS task;
CALL cdp.maintain();
SELECT count(*) > 0 AS refiled FROM cdp_data.event WHERE blocked = '{user:4}';
SELECT enough, differ, columns_differ FROM compare();
-- what is over is forgotten by maintain(), which nobody notices
SET cdp.clock = '2026-05-30';
SELECT enough, differ, columns_differ FROM compare();
SELECT sum(length(states)) AS before FROM cdp_data.metric_state \gset
SELECT done_rows AS done FROM cdp.tasks WHERE kind = 'metric_tidy' \gset
CALL cdp.maintain();
SELECT sum(length(states)) < 0.8 * :before AS less FROM cdp_data.metric_state;
SELECT enough, differ, columns_differ FROM compare();
SELECT state, done_rows > :done AS done, updated_at FROM cdp.tasks WHERE kind = 'metric_tidy';
-- once a day
SET cdp.clock = '2026-05-30 23:00';
CALL cdp.maintain();
SELECT updated_at FROM cdp.tasks WHERE kind = 'metric_tidy';
-- by statements, where the table is not as it was made
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER nothing BEFORE INSERT OR UPDATE ON cdp_data.metric_state FOR EACH ROW EXECUTE FUNCTION nothing();
SELECT count(*) FROM (SELECT cdp.ingest(message(9000, 40)) FROM generate_series(1, 30)) x;
SELECT bool_or(reason = 'a trigger') AS detour FROM cdp.storage_paths() WHERE table_name = 'metric_state';
SELECT enough, differ, columns_differ FROM compare();
-- a session whose first question is answered by a parallel plan
SELECT sum(count_n) AS must FROM cdp.profiles \gset
\c regress_metric
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET cdp.clock = '2026-05-30 23:00+00';
SELECT sum(count_n) = :must AS same FROM cdp.profiles;
RESET cdp.clock;
-- sums are exact, rounded once: neither order nor nodes show, even where numbers take each other away
SELECT count(cdp.define_metric(n, 'Sum', a, 'v')) AS defined FROM (VALUES ('exact', 'sum'), ('mean', 'avg'), ('top', 'max')) v (n, a);
CALL cdp.maintain();
CREATE TABLE addend AS SELECT i, trunc(((random() - 0.5) * 2 ^ 53)::numeric) * trunc(2::numeric ^ trunc(random() * 300)::int) AS v FROM generate_series(1, 300) i
UNION ALL SELECT 301, 2::numeric ^ 400 UNION ALL SELECT 302, -2::numeric ^ 400 UNION ALL SELECT 303, 1;
SELECT count(cdp.track('user:up', 'Sum', jsonb_build_object('v', v))) AS sent FROM (SELECT v FROM addend ORDER BY v) x;
SELECT count(cdp.track('user:down', 'Sum', jsonb_build_object('v', v))) AS sent FROM (SELECT v FROM addend ORDER BY v DESC) x;
SELECT count(cdp.track('user:some' || i % 3, 'Sum', jsonb_build_object('v', v))) AS sent FROM addend;
SELECT count(cdp.merge('{user:some0,user:some1,user:some2}', 'one', override => true)) AS merged;
SELECT count(*) AS people, count(DISTINCT exact) AS sums, count(DISTINCT mean) AS means, bool_and(exact = (SELECT sum(v)::float8 FROM addend)) AS right
FROM cdp.profiles WHERE profile_id IN (cdp.resolve('user:up'), cdp.resolve('user:down'), cdp.resolve('user:some1'));
SELECT count(DISTINCT states) AS states FROM cdp_data.metric_state s JOIN cdp_data.identifier i USING (node_id) WHERE i.value IN ('up', 'down');
-- up to 1e290, so that they stay numbers; what is less than nothing by nothing is 0
SELECT count(cdp.track('user:huge', 'Sum', jsonb_build_object('v', v))) AS sent FROM unnest('{1e308,1e308,-1e308,1e290,1e290}'::numeric[]) v;
SELECT count(cdp.track('user:zero', 'Sum', jsonb_build_object('v', v))) AS sent FROM unnest('{0,-1e-400}'::numeric[]) v;
SELECT exact, mean, top FROM cdp.profiles WHERE profile_id IN (cdp.resolve('user:huge'), cdp.resolve('user:zero')) ORDER BY exact;
-- months: what has left a window does not come back, although by the calendar a later moment may have an earlier edge
SELECT cdp.define_metric('month', 'Month', period => '1 month') > 0 AS defined;
CALL cdp.maintain();
SET cdp.clock = '2026-03-30 12:00+00';
SELECT cdp.track('user:m', 'Month', at => '2026-02-28 08:00+00') > 0 AS sent;
SELECT month FROM cdp.profiles WHERE profile_id = cdp.resolve('user:m');
SELECT cdp.track('user:m', 'Month', at => '2026-03-30 11:00+00') > 0 AS sent;
SET cdp.clock = '2026-03-31 06:00+00';
SELECT month FROM cdp.profiles WHERE profile_id = cdp.resolve('user:m');
RESET cdp.clock;
SELECT cdp.define_metric('mixed', period => '1 mon -29 days');
-- the column of one that was dropped stays, and keeps its type
SELECT cdp.drop_metric('month');
SELECT cdp.define_trait('month', 'text');
SELECT cdp.define_trait('month', 'bigint');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT cdp.define_metric('late');
ROLLBACK;
DROP OWNED BY regress_metric_reader;
DROP ROLE regress_metric_reader;
