-- Finding one's data: mappings proposed for tables, and the map of events, properties and traits.
-- In a database of its own.
\set SHOW_CONTEXT never
\set main :DBNAME
CREATE DATABASE regress_cdp_discover TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_cdp_discover
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET client_min_messages = warning;
SET jit = off;
CREATE EXTENSION cdp;
SELECT count(*) > 0 AS initialised FROM cdp.init();
SET cdp.clock = '2025-06-01 00:00Z';

CREATE FUNCTION proposal(tbl regclass) RETURNS TABLE (entry text) LANGUAGE sql AS $$
	WITH s AS (SELECT cdp.suggest_mapping(tbl) AS m)
	SELECT (m - 'about')::text FROM s
	UNION ALL SELECT format('%s %s', m #>> '{about,confidence}', m #>> '{about,reason}') FROM s
	UNION ALL (SELECT format('  %s -> %s (%s%s): %s', c.key, coalesce(c.value ->> 'use', 'left out'), c.value ->> 'confidence', ', personal: ' || (c.value ->> 'personal'), c.value ->> 'reason')
		FROM s, jsonb_each(m #> '{about,columns}') c ORDER BY c.key COLLATE "C") $$;

--
-- Proposals
--
CREATE SCHEMA shop;
CREATE TABLE shop.customers (id int PRIMARY KEY, email text UNIQUE, full_name text, phone text, city text, password_hash text, referred_by int REFERENCES shop.customers,
	created_at timestamptz NOT NULL, updated_at timestamptz, avatar bytea);
INSERT INTO shop.customers SELECT i, 'c' || i || '@example.com', 'Name ' || i, '+8190' || 10000000 + i, (ARRAY['Kyoto', 'Nara'])[1 + i % 2], md5(i::text), NULLIF(i / 2, 0), '2025-01-01', '2025-02-01'
FROM generate_series(1, 60) i;
SELECT * FROM proposal('shop.customers');
CREATE TABLE shop.orders (id bigint PRIMARY KEY, customer_id int NOT NULL REFERENCES shop.customers, sales_agent_id int REFERENCES shop.customers, email text, total numeric(10, 2), currency char(3),
	ship_zip text, items jsonb, placed_at timestamp, created_at timestamptz, shipped_at timestamptz, deleted_at timestamptz);
INSERT INTO shop.orders SELECT i, 1 + i % 60, 1, 'c' || 1 + i % 60 || '@example.com', i * 10, 'JPY', '600-0000', '[{"sku": "tea"}]', '2025-03-01', '2025-03-01' FROM generate_series(1, 200) i;
SELECT * FROM proposal('shop.orders');
-- what attach makes of it, as it is
SELECT cdp.attach('shop.customers', cdp.suggest_mapping('shop.customers'), backfill => true) > 0 AS attached;
SELECT cdp.attach('shop.orders', cdp.suggest_mapping('shop.orders'), backfill => true) > 0 AS attached;
SELECT mapping ? 'about' AS talks FROM cdp_data.attachment;
CALL cdp.maintain();
SELECT source, type, name, count(*), count(DISTINCT profile_id) AS people, min(ts), max(ts) FROM cdp.events GROUP BY 1, 2, 3 ORDER BY 1;
SELECT reason, count(*) FROM cdp.rejected GROUP BY 1;

-- events of several names, in partitions, without a primary key
CREATE TABLE shop.activity_log (event_name text NOT NULL, "userId" uuid, "anonymousId" text, event_id uuid, at timestamptz NOT NULL, url text, ip inet) PARTITION BY RANGE (at);
CREATE TABLE shop.activity_log_1 PARTITION OF shop.activity_log FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
INSERT INTO shop.activity_log SELECT (ARRAY['Viewed', 'Clicked'])[1 + i % 2], md5((i % 7)::text)::uuid, 'a' || i % 9, md5('e' || i)::uuid, '2025-05-01', 'https://x.y/', '10.0.0.1' FROM generate_series(1, 40) i;
SELECT * FROM proposal('shop.activity_log');
SELECT cdp.attach('shop.activity_log', cdp.suggest_mapping('shop.activity_log')) > 0 AS attached;
INSERT INTO shop.activity_log VALUES ('Bought', md5('1')::uuid, NULL, md5('new')::uuid, '2025-05-02', NULL, '10.0.0.2');
SELECT source, name, ts, properties FROM cdp.events WHERE source = 'shop.activity_log';

-- the tables of a retail data set: no keys, as loaded from files
CREATE TABLE shop.transactions (household_id int, store_id int, basket_id bigint, product_id int, quantity int, sales_value numeric, retail_disc numeric, week int, transaction_timestamp timestamp);
INSERT INTO shop.transactions SELECT 900 + i % 30, 300 + i % 4, 31198705046 + i / 3, 1075313 + i, 1, 1.5, 0.29, 1, timestamp '2025-01-01 07:30:27' + i * interval '1 minute' FROM generate_series(1, 90) i;
CREATE TABLE shop.demographics (household_id int, age text, income text, home_ownership text, kids_count text);
INSERT INTO shop.demographics SELECT 900 + i, '45-54', '50-74K', 'Homeowner', '0' FROM generate_series(1, 30) i;
CREATE TABLE shop.coupon_redemptions (household_id int, coupon_upc bigint, campaign_id int, redemption_date date);
INSERT INTO shop.coupon_redemptions SELECT 900 + i % 20, 51380041013, 26, '2025-01-01' FROM generate_series(1, 60) i;
CREATE TABLE shop.campaigns (campaign_id int, household_id int);
CREATE TABLE shop.products (product_id int, manufacturer_id int, department text, brand text);
INSERT INTO shop.products VALUES (28897, 69, 'GROCERY', 'Private');
SELECT * FROM proposal('shop.transactions');
SELECT * FROM proposal('shop.demographics');
SELECT t, cdp.suggest_mapping(t) - 'about' AS mapping FROM unnest('{shop.coupon_redemptions,shop.campaigns,shop.products}'::regclass[]) t;
SELECT count(cdp.attach(t, cdp.suggest_mapping(t))) AS attached FROM unnest('{shop.transactions,shop.demographics,shop.coupon_redemptions,shop.campaigns}'::regclass[]) t;
INSERT INTO shop.transactions VALUES (901, 319, 31198705046, 1075313, 1, 1.5, 0.29, 1, '2025-01-01 07:30:27');
INSERT INTO shop.demographics VALUES (901, '65+', '35-49K', 'Homeowner', '0');
INSERT INTO shop.coupon_redemptions VALUES (901, 51380041013, 26, '2025-01-01');
INSERT INTO shop.campaigns VALUES (1, 901);
SELECT source, type, name, ts FROM cdp.events WHERE source ~ 'trans|demo|coupon|camp' ORDER BY 1;
SELECT identifiers, events, traits FROM cdp.profiles WHERE profile_id = cdp.resolve('household_id:901');

-- names deceive: an e-mail column without addresses, an id that is always the same, odd names, empty tables, hashes, text times
CREATE TABLE shop.mixed ("Contact Mail" text, email_verified text, email text, customer_id int, "user" text, when_it_was text, at_epoch bigint, "quo""te" text);
INSERT INTO shop.mixed SELECT 'p' || i || '@x.yz', 'yes', 'none', 1, 'u', '2025-01-01T00:00:00Z', 1735689600, 'x' FROM generate_series(1, 60) i;
SELECT * FROM proposal('shop.mixed');
SELECT cdp.attach('shop.mixed', cdp.suggest_mapping('shop.mixed')) > 0 AS attached;
CREATE TABLE shop."Page Views" ("VisitorID" text, "viewedAt" date);
SELECT * FROM proposal('shop."Page Views"');
CREATE TABLE shop.newsletter (email text, subscribed_on date);
INSERT INTO shop.newsletter SELECT md5(i::text), '2025-01-01' FROM generate_series(1, 5) i;
SELECT cdp.suggest_mapping('shop.newsletter') - 'about';
-- the caller reads
CREATE ROLE regress_cdp_discover_clerk;
GRANT USAGE ON SCHEMA shop, cdp TO regress_cdp_discover_clerk;
GRANT EXECUTE ON FUNCTION cdp.suggest_mapping(regclass), cdp.describe_columns(regclass), cdp.read_table(regclass, text), cdp.person_namespace(text), cdp.personal_reason(text, boolean) TO regress_cdp_discover_clerk;
GRANT SELECT (id, customer_id, placed_at) ON shop.orders TO regress_cdp_discover_clerk;
SET ROLE regress_cdp_discover_clerk;
SELECT * FROM proposal('shop.orders');
SELECT cdp.suggest_mapping('shop.customers');
RESET ROLE;
CREATE VIEW shop.v AS SELECT 1 AS user_id;
SELECT cdp.suggest_mapping('shop.v');
SELECT cdp.suggest_mapping(NULL);

--
-- The map
--
SELECT cdp.detach(t) AS detached FROM unnest('{shop.orders}'::regclass[]) t;
SELECT partition, new_pages = read_pages AS whole FROM cdp.refresh_data_map();
SELECT kind, type, event, path, source, types, events, fill_rate, personal, why FROM cdp.data_map ORDER BY kind, source, event, path;
SELECT path, first_seen, last_seen FROM cdp.data_map WHERE source = 'shop.customers' ORDER BY kind, path LIMIT 4;
-- the first time it is as if all events were counted
CREATE VIEW naive AS
	SELECT 'property' AS kind, e.type, e.name AS event, p.key AS name, e.source, count(*) AS events, min(e.ts) AS first_seen, max(e.ts) AS last_seen,
		round(count(*)::numeric / (SELECT count(*) FROM cdp.events o WHERE (o.type, o.source) = (e.type, e.source) AND o.name IS NOT DISTINCT FROM e.name), 4)::float8 AS fill_rate
	FROM cdp.events e, jsonb_each(e.properties) p WHERE p.value <> 'null' GROUP BY 2, 3, 4, 5
	UNION ALL SELECT 'event', e.type, CASE WHEN e.type = 'track' THEN e.name END, NULL, e.source, count(*), min(e.ts), max(e.ts), NULL FROM cdp.events e GROUP BY 2, 3, 5;
SELECT count(*) AS missing FROM (TABLE naive EXCEPT SELECT kind, type, event, name, source, events, first_seen, last_seen, fill_rate FROM cdp.data_map) x;
SELECT count(*) AS invented FROM (SELECT kind, type, event, name, source, events, first_seen, last_seen, fill_rate FROM cdp.data_map
	WHERE kind IN ('event', 'property') AND name IS DISTINCT FROM 'address.zipCode' AND events > 0 EXCEPT TABLE naive) x;
-- read again: nothing is counted twice
CREATE TABLE before AS SELECT * FROM cdp.data_map;
SELECT * FROM cdp.refresh_data_map();
SELECT count(*) FROM (TABLE before EXCEPT TABLE cdp.data_map) x;
-- what comes is added; compared with all events
SELECT count(*) FROM cdp.ingest((SELECT jsonb_agg(jsonb_build_object('type', 'track', 'event', 'Quiz ' || i % 3, 'userId', 'q' || i, 'messageId', 'q' || i, 'timestamp', to_char(timestamptz '2025-03-01' + i * interval '1 hour', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
	'context', jsonb_build_object('ip', '10.0.0.1', 'page', jsonb_build_object('title', 'x')),
	'properties', jsonb_strip_nulls(jsonb_build_object('score', CASE WHEN i % 2 = 0 THEN to_jsonb(i) ELSE to_jsonb(i + 0.5) END, 'note', CASE WHEN i % 4 = 0 THEN 'text' END, 'mail', 'q' || i || '@x.yz',
		'tags', '["a"]'::jsonb, 'address', jsonb_build_object('zipCode', '600'))))) FROM generate_series(1, 300) i), 'quiz');
SELECT count(*) > 0 AS read FROM cdp.refresh_data_map();
SELECT count(*) AS names, count(*) FILTER (WHERE abs(m.events - n.events) <= 0.1 * n.events) AS near,
	count(*) FILTER (WHERE n.fill_rate IS NOT NULL AND abs(m.fill_rate - n.fill_rate) > 0.05) AS filled_otherwise, count(*) FILTER (WHERE m.name IS NULL AND m.kind = 'property' OR m.first_seen < n.first_seen OR m.last_seen > n.last_seen) AS wrong
FROM naive n LEFT JOIN cdp.data_map m ON (m.kind, m.type, m.source) = (n.kind, n.type, n.source) AND m.event IS NOT DISTINCT FROM n.event AND m.name IS NOT DISTINCT FROM n.name;
SELECT path, types, round(fill_rate::numeric, 1) AS fill_rate, personal, why FROM cdp.data_map WHERE source = 'quiz' AND (event = 'Quiz 1' OR kind = 'context') ORDER BY 1;
-- marks
SELECT cdp.mark_personal('properties.score', true), cdp.mark_personal('context.ip', false);
SELECT DISTINCT path, personal, why, reason FROM cdp.data_map WHERE path IN ('properties.score', 'context.ip') ORDER BY 1;
SELECT cdp.mark_personal('properties.score', NULL);
SELECT DISTINCT path, personal, why FROM cdp.data_map WHERE path = 'properties.score';
SELECT cdp.mark_personal('score', true);
-- what few people have is for the kind privacy
CREATE ROLE regress_cdp_discover_analyst; CREATE ROLE regress_cdp_discover_officer;
SELECT cdp.provision('regress_cdp_discover_analyst', 'analyst'), cdp.provision('regress_cdp_discover_officer', 'privacy');
SELECT cdp.track('user_id:rare', 'Rare', at => '2025-03-01') > 0 AS taken;
SELECT count(*) > 0 AS read FROM cdp.refresh_data_map();
SET ROLE regress_cdp_discover_analyst;
SELECT count(*) FILTER (WHERE event = 'Rare') AS rare, count(*) FILTER (WHERE event = 'Quiz 1') > 0 AS frequent FROM cdp.data_map;
SELECT * FROM cdp.refresh_data_map();
SET ROLE regress_cdp_discover_officer;
SELECT count(*) FILTER (WHERE event = 'Rare') AS rare, count(*) FILTER (WHERE event = 'Quiz 1') > 0 AS frequent FROM cdp.data_map;
RESET ROLE;
-- a sample of many: right within a tenth; a table that is written anew is not read again
SELECT cdp.create_partitions('2025-04-01', '2025-04-02');
INSERT INTO cdp_data.event (ts, node_id, message_key, received_at, type, name, source, message_id, properties)
SELECT '2025-04-01', i % 50, md5(i::text)::uuid, now(), 'track', 'Bulk', 'bulk', i, CASE WHEN i % 4 = 0 THEN '{"a": 1, "b": "x"}' ELSE '{"a": 1}' END::jsonb FROM generate_series(1, 40000) i;
SELECT partition, read_pages < new_pages AS sampled, read_pages <= 64 AS bounded FROM cdp.refresh_data_map(64) WHERE partition = 'event_202504';
SELECT path, abs(events - 40000 * CASE name WHEN 'b' THEN 0.25 ELSE 1 END) < 4000 AS near, abs(fill_rate - CASE name WHEN 'b' THEN 0.25 ELSE 1 END) < 0.1 AS filled FROM cdp.data_map WHERE event = 'Bulk' AND kind = 'property' ORDER BY 1;
VACUUM FULL cdp_data.event_202504;
SELECT * FROM cdp.refresh_data_map() WHERE partition = 'event_202504' AND read_pages > 0;
SELECT cdp.track('user_id:rare', 'Later', at => '2025-04-02') > 0 AS taken;
SELECT count(*) >= 0 AS read FROM cdp.refresh_data_map();
SELECT event, events FROM cdp.data_map WHERE event = 'Later';
SELECT * FROM cdp.refresh_data_map(1);

-- a trait and a column that are named as the rows are in the queries
SELECT cdp.define_trait('p');
SELECT cdp.identify('user_id:p', '{"p":"q"}') > 0 AS taken;
SELECT count(*) >= 0 AS read FROM cdp.refresh_data_map();
SELECT name, types FROM cdp.data_map WHERE path = 'traits.p';
CREATE TABLE axes AS SELECT i AS customer_id, i AS x, 'j' || i AS j FROM generate_series(1, 5) i;
SELECT cdp.suggest_mapping('axes') #> '{about,columns,x,reason}' AS x;
CREATE TABLE axes_json AS SELECT i AS customer_id, '{"a":"\u0000"}'::json AS said FROM generate_series(1, 5) i;
SELECT cdp.suggest_mapping('axes_json') #> '{about,columns,said,reason}' AS said;
-- what a table's owner brought along runs as him, and changes no setting
GRANT CREATE ON SCHEMA public TO regress_cdp_discover_clerk;
SET ROLE regress_cdp_discover_clerk;
CREATE TYPE public.mood AS ENUM ('calm');
CREATE TABLE public.ran (as_role name, what text);
CREATE FUNCTION public.mood_json(public.mood) RETURNS json LANGUAGE plpgsql AS $$ BEGIN
	INSERT INTO public.ran VALUES (current_user, 'cast');
	PERFORM set_config('search_path', 'public, pg_catalog', false);
	RETURN '"calm"';
END $$;
CREATE CAST (public.mood AS json) WITH FUNCTION public.mood_json(public.mood);
CREATE FUNCTION public.plans(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'planned as %', current_user; RETURN 1; END $$;
CREATE TABLE public.moods (customer_id int, mood public.mood);
INSERT INTO public.moods VALUES (1, 'calm');
SET client_min_messages = error;
CREATE INDEX ON public.moods (customer_id) WHERE public.plans(1) = 1;
SET client_min_messages = warning;
RESET ROLE;
SELECT cdp.suggest_mapping('public.moods') ->> 'event' AS event;
SELECT DISTINCT * FROM public.ran;
SHOW search_path;
DROP OWNED BY regress_cdp_discover_clerk CASCADE;

\c :main
DROP DATABASE regress_cdp_discover;
DROP ROLE regress_cdp_discover_clerk, regress_cdp_discover_analyst, regress_cdp_discover_officer;
