-- What people like: actions, items, hierarchies, horizons, preferences, the
-- catalogue's history, retention, consent; then random histories against plain
-- SQL over the events.
\set VERBOSITY terse
SET client_min_messages = warning;
\set main :DBNAME
DROP DATABASE IF EXISTS regress_dimension;
CREATE DATABASE regress_dimension TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_dimension
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION cdp;
SELECT count(*) > 0 AS init FROM cdp.init();
SET cdp.clock = '2026-03-01';

--
-- One person
--
SELECT cdp.define_dimension('category', hierarchy_factor => 0.5) > 0 AS category, cdp.define_dimension('brand') > 0 AS brand,
	cdp.define_dimension('colour', 'look.colour') > 0 AS colour, cdp.define_dimension('thing', '$item') > 0 AS thing, cdp.define_dimension('kind', '$type') > 0 AS kind;
CREATE TABLE public.product (item_id text, type text, name text, price int, category text, brand text, look jsonb);
INSERT INTO public.product VALUES ('p1', 'shoe', 'Runner', 90, 'Women > Shoes / Sport', 'Nike', '{"colour": ["red", "white"]}'), ('p2', 'hat', 'Cap', 20, 'Women/Hats', 'Asics', '{"colour": "red"}');
SELECT cdp.import_items('SELECT * FROM product') AS items;
SELECT cdp.import_items('SELECT * FROM product') AS again;
SELECT * FROM cdp.item ORDER BY 1;
SELECT cdp.track('user:ada', 'Product Viewed', '{"product_id": "p1"}', '2026-01-30', 'a1') > 0 AS viewed;
SELECT cdp.track('user:ada', 'Order Completed', '{"products": [{"product_id": "p2"}, {"product_id": "p9", "category": "Kids/Toys", "brand": "Lego"}, {"product_id": "p2"}]}', '2026-03-01', 'a2') > 0 AS bought;
SELECT cdp.track('user:ada', 'Order Refunded', '{"products": [{"product_id": "p2"}]}', '2026-03-01', 'a3') > 0 AS sent_back;
SELECT cdp.track('user:ada', 'Product Reviewed', '{"product_id": "p1", "rating": 1}', '2026-03-01', 'a4') > 0 AS reviewed;
-- no item, no weight, nothing to say
SELECT cdp.track('user:ada', 'Product Viewed', '{"category": "Men", "brand": 7}', '2026-03-01', 'a5') > 0 AS of_properties, cdp.track('user:ada', 'Song Played', '{"product_id": "p1"}', '2026-03-01', 'a6') > 0 AS other,
	cdp.track('user:ada', 'Product Viewed', '{"products": "p1", "product_id": {"a": 1}, "category": null}', '2026-03-01', 'a7') > 0 AS odd, cdp.track('user:ada', 'Product Viewed', NULL, '2026-03-01', 'a8') > 0 AS empty,
	cdp.track('user:ada', 'Product Reviewed', '{"product_id": "p1"}', '2026-03-01', 'a9') > 0 AS without_rating;
SELECT cdp.state_preference('user:ada', 'brand', 'Lego', 2, message_id => 'e1') > 0 AS likes, cdp.state_preference('user:ada', 'brand', 'Nike', -1, message_id => 'e2') > 0 AS dislikes, cdp.state_preference('user:ada', 'shape', 'round', message_id => 'e3') > 0 AS unknown;
SELECT dimension, horizon, value, round(score::numeric, 6) AS score, round(share::numeric, 4) AS share, rank, round(trend::numeric, 4) AS trend FROM cdp.affinities ORDER BY 1, 2, rank;
SELECT at, event, item_id, value, weight, round(weight_now::numeric, 4) AS weight_now, declared, source, message_id IS NOT NULL AS known FROM cdp.explain_affinity(cdp.resolve('user:ada'), 'brand') ORDER BY abs(weight_now) DESC, at DESC, value, weight;
SELECT cdp.affinity_score(cdp.affinity_of(cdp.resolve('user:ada'), 'brand'), 'Lego') AS lego, cdp.affinity_score(cdp.affinity_of(cdp.resolve('user:ada'), 'brand', 'declared'), 'Nike') AS nike,
	cdp.affinity_distance(cdp.affinity_of(cdp.resolve('user:ada'), 'brand'), cdp.affinity_of(cdp.resolve('user:ada'), 'brand', 'short')) < 0.1 AS alike;
-- a clerk sees her, and says what she said
SELECT cdp.give_feedback('user:ada', 'p2', 'like', 'tried it on', message_id => 'f1') > 0 AS likes, cdp.give_feedback('user:ada', 'p1', 'dislike', message_id => 'f2') > 0 AS dislikes, cdp.give_feedback('user:ada', 'p1', 'neutral', message_id => 'f3') > 0 AS neither;
SELECT cdp.give_feedback('user:ada', 'p2', 'loves');
SELECT cdp.give_feedback('user:ada', '', 'like');
SELECT jsonb_pretty(cdp.card('user:ada') - 'profile_id' - 'events_lately');
SELECT e ->> 'event' AS event, e -> 'properties' AS properties FROM jsonb_array_elements(cdp.card('user:ada') -> 'events_lately') e ORDER BY 1, 2;
SELECT cdp.card('user:nobody') IS NULL AS nobody;
-- scores fade with the clock, their order stays
SET cdp.clock = '2026-03-31';
SELECT value, round(score::numeric, 6) AS score, rank FROM cdp.affinities WHERE dimension = 'brand' AND horizon = 'long' ORDER BY rank;
SELECT * FROM cdp.verify();
-- what an item is called and costs says nothing of whom likes it; what it is does, from now on
SELECT cdp.set_item('p1', '{"category": "Women/Shoes", "brand": "Puma"}', type => 'shoe') AS changed, cdp.set_item('p2', '{"category": "Women/Hats", "brand": "Asics", "look": {"colour": "red"}}', type => 'hat', name => 'Hat', price => 25) AS renamed;
SELECT item_id, until, attributes ->> 'brand' AS brand FROM cdp_data.item_past;
SET cdp.clock = '2026-04-01';
SELECT cdp.track('user:ada', 'Product Viewed', '{"product_id": "p1"}', '2026-01-30', 'b1') > 0 AS late;
SELECT value, round(cdp.affinity_at(cdp.affinity_of(cdp.resolve('user:ada'), 'brand'), value, '2026-03-31')::numeric, 4) AS score FROM unnest(ARRAY['Nike', 'Puma']) value;
SELECT * FROM cdp.verify();
-- what nobody knew counts as it is described first
SELECT item_id FROM cdp_data.item_wanted;
SELECT cdp.set_item('p9', '{"category": "Kids/Bricks", "brand": "LEGO"}') AS known;
SELECT name, state FROM cdp.dimensions ORDER BY name;
SELECT kind, target, state FROM cdp.tasks ORDER BY target;
SELECT * FROM cdp.verify();
CALL cdp.maintain();
SELECT DISTINCT state FROM cdp.dimensions;
SELECT value, round(cdp.affinity_at(cdp.affinity_of(cdp.resolve('user:ada'), 'brand'), value, '2026-03-01')::numeric, 4) AS score FROM unnest(ARRAY['Lego', 'LEGO']) value;
SELECT count(*) AS wanted FROM cdp_data.item_wanted;
-- another weight, another place of items
SELECT cdp.define_action('Song Played', 4), cdp.define_action('Product Viewed', 2), cdp.drop_action('Order Refunded');
CALL cdp.maintain();
SELECT value, round(cdp.affinity_at(cdp.affinity_of(cdp.resolve('user:ada'), 'thing'), value, '2026-03-01')::numeric, 4) AS score FROM unnest(ARRAY['p1', 'p2', 'p9']) value;
SELECT cdp.set_item_paths('{lines[].sku,product_id}');
CALL cdp.maintain();
SELECT value, round(cdp.affinity_at(cdp.affinity_of(cdp.resolve('user:ada'), 'thing'), value, '2026-03-01')::numeric, 4) AS score FROM unnest(ARRAY['p1', 'p2', 'p9']) value;
SELECT * FROM cdp.verify();
SELECT cdp.drop_dimension('kind');
SELECT DISTINCT dimension FROM cdp.affinities ORDER BY 1;
-- deep, many, long
SELECT cdp.track('user:deep', 'Product Viewed', jsonb_build_object('category', (SELECT string_agg('l' || i, ' > ' ORDER BY i) FROM generate_series(1, 14) i), 'brand', repeat('é', 200)), message_id => 'd1') > 0 AS deep;
SELECT value, round(score::numeric, 4) AS score FROM cdp.affinities WHERE profile_id = cdp.resolve('user:deep') AND dimension = 'category' AND horizon = 'short' ORDER BY rank;
SELECT octet_length(value) AS bytes FROM cdp.affinities WHERE profile_id = cdp.resolve('user:deep') AND dimension = 'brand' AND horizon = 'short';
SELECT count(cdp.track('user:many', 'Product Viewed', jsonb_build_object('brand', 'b' || i), message_id => 'm' || i)) FROM generate_series(1, 200) i;
SELECT count(*) AS kept, bool_and(lower <= upper) AS bounds FROM cdp.affinities WHERE profile_id = cdp.resolve('user:many') AND dimension = 'brand' AND horizon = 'long';
SELECT * FROM cdp.verify();
-- an item that nobody knows, in events that were worth nothing when they came
SELECT cdp.track('user:late', 'Page Read', '{"product_id": "u1"}', message_id => 'u1') > 0 AS worth_nothing;
SELECT cdp.define_action('Page Read', 1);
CALL cdp.maintain();
SELECT cdp.set_item('u1', '{"brand": "Muji"}') AS described;
CALL cdp.maintain();
SELECT value, score FROM cdp.affinities WHERE profile_id = cdp.resolve('user:late') AND dimension = 'brand' AND horizon = 'long';
SELECT * FROM cdp.verify();
SELECT cdp.drop_action('Page Read');
CALL cdp.maintain();
-- a clock that stands still: what came before the description, and after it
SELECT cdp.track('user:still', 'Product Viewed', '{"product_id": "u1"}', message_id => 'still1') > 0 AS viewed, cdp.set_item('u1', '{"brand": "Other"}') AS described, cdp.track('user:still', 'Product Viewed', '{"product_id": "u1"}', message_id => 'still2') > 0 AS viewed;
SELECT cdp.set_item('u1', '{"brand": "Muji"}') AS described;
SELECT * FROM cdp.verify();
-- a state that is not what the events say is found, and made anew
UPDATE cdp_data.metric_state s SET states = (SELECT o.states FROM cdp_data.metric_state o JOIN cdp_data.identifier i USING (node_id) WHERE i.value = 'deep')
FROM cdp_data.identifier i WHERE i.node_id = s.node_id AND i.value = 'ada';
SELECT what FROM cdp.verify() ORDER BY 1;
SELECT cdp.rebuild(cdp.resolve('user:ada')) IS NOT NULL AS rebuilt;
SELECT * FROM cdp.verify();

--
-- Errors
--
SELECT cdp.define_dimension('category');
SELECT cdp.define_dimension('x', 'a..b');
SELECT cdp.define_dimension('x', half_life => '0');
SELECT cdp.define_dimension('x', short_half_life => '200 years');
SELECT cdp.define_dimension('x', hierarchy_factor => 2);
SELECT cdp.define_dimension('x', slots => 97);
SELECT cdp.drop_dimension('x');
SELECT cdp.define_action('x', 'NaN');
SELECT cdp.define_action('x', 1, 'a.');
SELECT cdp.drop_action('x');
SELECT cdp.set_item_paths('{a[].b[].c}');
SELECT cdp.set_item_paths('{NULL}');
SELECT cdp.set_item('', '{}');
SELECT cdp.set_item('p', '[]');
SELECT cdp.import_items('SELECT 1 AS id');
SELECT cdp.import_items('SELECT NULL AS item_id');
SELECT cdp.import_items('DELETE FROM product');
SELECT cdp.state_preference('user:ada', 'brand', 'Puma', '-Infinity');
SELECT cdp.affinity_of(1, 'x');
SELECT cdp.affinity_of(1, 'brand', 'wide');
SELECT count(*) AS nobody FROM cdp.explain_affinity(987654, 'brand');

--
-- A column of cdp.profiles, and rules that look at it
--
SELECT cdp.define_dimension('favourite', 'brand', profile_column => 'favourite_brand') > 0 AS one, cdp.define_dimension('favourites', 'brand', profile_column => 'top_brands', top => 3) > 0 AS three;
SELECT cdp.define_segment('puma_lover', predicate => $$favourite_brand = 'Puma'$$) > 0 AS predicate, cdp.define_segment('nike_fan', rule => '{"top_brands": {"$all": ["Nike"]}}') > 0 AS rule;
SELECT favourite_brand, top_brands FROM cdp.profiles WHERE profile_id = cdp.resolve('user:ada');
CALL cdp.maintain();
SELECT favourite_brand, top_brands, segments FROM cdp.profiles WHERE profile_id = cdp.resolve('user:ada');
SELECT cdp.track('user:ada', 'Product Viewed', '{"brand": "Puma"}', message_id => 'c' || i) > 0 AS puma FROM generate_series(1, 4) i;
SELECT favourite_brand, top_brands, segments FROM cdp.profiles WHERE profile_id = cdp.resolve('user:ada');
-- ties, and what cancels out, are so in any order
CREATE TABLE public.said AS SELECT u, b, i, '2026-02-01'::timestamptz + (u * 7919 + i * i * 104729) % 2000000 * interval '1 second' AS at
FROM generate_series(1, 30) u, unnest('{A,B}'::text[]) b, generate_series(1, 5) i;
SELECT count(cdp.track('tied:' || u, 'Product Viewed', jsonb_build_object('brand', b), at, 't' || u || b || i)) FROM (SELECT * FROM said ORDER BY u, b, CASE b WHEN 'A' THEN at END, at DESC) s;
SELECT count(cdp.track('mixed:' || u, 'Product Viewed', jsonb_build_object('brand', b), at, 'm' || u || b || i)) FROM (SELECT * FROM said ORDER BY random()) s;
SELECT count(cdp.track('even:' || u, e, '{"brand": "C"}', '2026-02-01'::timestamptz + u * interval '777 seconds', 'e' || u || i))
FROM generate_series(1, 30) u, unnest('{Product Added,Product Removed,Product Removed,Product Removed}'::text[]) WITH ORDINALITY x (e, i);
SELECT i.namespace, p.favourite_brand, p.top_brands, count(*) FROM cdp.profiles p JOIN cdp.identifiers i USING (profile_id) WHERE i.namespace IN ('tied', 'mixed', 'even') GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
SELECT count(*) FROM cdp.affinities a JOIN cdp.identifiers i USING (profile_id) WHERE i.namespace IN ('tied', 'mixed') AND a.dimension = 'favourite' AND a.horizon = 'long' AND (a.value = 'A') <> (a.rank = 1);
-- what is worth another weight changes who is in them, once all is made anew
SELECT cdp.drop_action('Product Viewed');
CALL cdp.maintain();
SELECT favourite_brand, top_brands, segments FROM cdp.profiles WHERE profile_id = cdp.resolve('user:ada');
SELECT * FROM cdp.verify();
SELECT cdp.define_action('Product Viewed', 2);
CALL cdp.maintain();
SELECT favourite_brand, segments FROM cdp.profiles WHERE profile_id = cdp.resolve('user:ada');
SELECT * FROM cdp.verify();
SELECT cdp.drop_dimension('favourite');
SELECT cdp.define_dimension('x', profile_column => 'favourite_brand');
SELECT cdp.define_dimension('x', profile_column => 'segments');
SELECT cdp.define_dimension('x', slots => 2, top => 3);
SELECT cdp.define_trait('top_brands');
SELECT cdp.define_metric('top_brands');
SELECT cdp.drop_segment('puma_lover'), cdp.drop_segment('nike_fan'), cdp.drop_dimension('favourite'), cdp.drop_dimension('favourites');

--
-- Consent
--
CREATE ROLE regress_dimension_analyst;
SELECT cdp.provision('regress_dimension_analyst', 'analyst');
SELECT cdp.define_purpose('analytics') IS NOT NULL AS purpose;
SELECT cdp.permit('regress_dimension_analyst', 'analytics');
SELECT cdp.set_consent('user:deep', 'analytics', 'granted') > 0 AS granted, cdp.resolve('user:ada') AS ada, cdp.resolve('user:deep') AS deep \gset
SET ROLE regress_dimension_analyst;
SELECT array_agg(DISTINCT profile_id) = ARRAY[:deep::bigint] AS hers_only FROM cdp.affinities;
SELECT cdp.affinity_of(:ada, 'brand') IS NULL AS hidden, cdp.affinity_of(:deep, 'brand') IS NOT NULL AS seen;
SELECT (SELECT count(*) FROM cdp.explain_affinity(:ada, 'brand')) AS hidden, (SELECT count(*) FROM cdp.explain_affinity(:deep, 'brand')) AS seen, (SELECT count(*) FROM cdp.affinity_scores(:ada, 2)) AS scores;
SELECT cdp.card('user:ada') IS NULL AS hidden, cdp.card('user:deep') -> 'allows' AS allows;
SELECT count(*) > 0 AS dimensions FROM cdp.dimensions;
SELECT * FROM cdp_data.dimension_base;
SELECT cdp.define_dimension('mine');
SELECT cdp.set_item('p1', '{}');
RESET ROLE;
DROP OWNED BY regress_dimension_analyst;
DROP ROLE regress_dimension_analyst;

--
-- Random histories against plain SQL over the events
--
SELECT cdp.drop_dimension(name) FROM cdp.dimensions;
SELECT cdp.set_item_paths('{products[].product_id,product_id}');
SELECT cdp.define_dimension('category', hierarchy_factor => 0.5, half_life => '10 days', short_half_life => '1 day', slots => 96) > 0 AS category, cdp.define_dimension('brand', short_half_life => '1 day', slots => 96) > 0 AS brand,
	cdp.define_dimension('thing', '$item', short_half_life => '1 day', slots => 96) > 0 AS thing;
CALL cdp.maintain();
-- every description that an item ever had
CREATE TABLE public.described (item_id text, at timestamptz, attributes jsonb);
INSERT INTO described SELECT item_id, '-infinity', attributes FROM cdp_data.item;
INSERT INTO described SELECT p.item_id, i.since, i.attributes FROM cdp_data.item_past p JOIN cdp_data.item i USING (item_id);
UPDATE described d SET attributes = p.attributes FROM cdp_data.item_past p WHERE p.item_id = d.item_id AND d.at = '-infinity';
CREATE FUNCTION describe(item text, attributes jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('cdp.clock', (current_setting('cdp.clock')::timestamptz + interval '1 minute')::text, false);
	IF cdp.set_item(item, attributes) THEN
		INSERT INTO described VALUES (item, CASE WHEN EXISTS (SELECT FROM described d WHERE d.item_id = item) THEN current_setting('cdp.clock')::timestamptz ELSE '-infinity' END, attributes);
	END IF;
	PERFORM set_config('cdp.clock', (current_setting('cdp.clock')::timestamptz + interval '1 minute')::text, false);
END $$;
CREATE FUNCTION naive(p bigint) RETURNS TABLE (dimension text, horizon text, value text, score numeric) LANGUAGE sql STABLE AS $$
	WITH named AS (
		SELECT e.ts, e.received_at, a.weight * CASE WHEN a.property IS NULL THEN 1 ELSE greatest(least((e.properties ->> a.property)::float8 - a.middle, a.most), -a.most) END AS weight, x.object, x.object ->> 'product_id' AS item
		FROM cdp_data.event e JOIN cdp_data.node n USING (node_id) JOIN cdp_data.action a ON a.event = e.name
		CROSS JOIN LATERAL (SELECT o AS object FROM jsonb_array_elements(CASE jsonb_typeof(e.properties -> 'products') WHEN 'array' THEN e.properties -> 'products' ELSE '[]' END) o WHERE o ? 'product_id'
			UNION ALL SELECT e.properties WHERE jsonb_typeof(e.properties -> 'products') IS DISTINCT FROM 'array') x
		WHERE n.profile_id = p AND e.type = 'track'),
	credited AS (
		SELECT d.name, v.value, n.weight * v.factor AS weight, n.ts, d.half_life, d.short_half_life
		FROM named n CROSS JOIN cdp_data.dimension d
		LEFT JOIN LATERAL (SELECT attributes FROM described k WHERE k.item_id = n.item AND k.at <= n.received_at ORDER BY k.at DESC LIMIT 1) k ON true
		CROSS JOIN LATERAL (SELECT CASE WHEN d.path = '$item' THEN to_jsonb(n.item) ELSE coalesce(k.attributes -> d.path, n.object -> d.path) END AS j) j
		CROSS JOIN LATERAL (SELECT t FROM jsonb_array_elements_text(CASE jsonb_typeof(j) WHEN 'array' THEN j WHEN 'null' THEN '[]' WHEN 'object' THEN '[]' ELSE jsonb_build_array(j) END) t WHERE j IS NOT NULL) t
		CROSS JOIN LATERAL (SELECT t AS value, 1::float8 AS factor WHERE d.hierarchy_factor IS NULL
			UNION ALL SELECT array_to_string(s[:i], '/'), d.hierarchy_factor ^ (cardinality(s) - i) FROM string_to_array(t, '/') s, generate_series(1, cardinality(s)) i WHERE d.hierarchy_factor IS NOT NULL) v)
	SELECT name, h, value, sum(weight * 2 ^ (extract(epoch FROM ts - current_setting('cdp.clock')::timestamptz) / extract(epoch FROM CASE h WHEN 'long' THEN half_life ELSE short_half_life END))::float8)::numeric
	FROM credited, unnest(ARRAY['long', 'short']) h WHERE weight <> 0 GROUP BY 1, 2, 3
$$;
CREATE FUNCTION compare(OUT enough boolean, OUT differ bigint) LANGUAGE sql STABLE AS $$
	WITH p AS (SELECT DISTINCT profile_id FROM cdp.identifiers WHERE value LIKE 'q%'), live AS MATERIALIZED (SELECT a.* FROM cdp.affinities a JOIN p USING (profile_id)),
	must AS MATERIALIZED (SELECT p.profile_id, m.* FROM p CROSS JOIN LATERAL naive(p.profile_id) m)
	SELECT count(m.value) > 200, count(*) FILTER (WHERE abs(a.score - m.score) <= 1e-6 IS NOT TRUE) FROM must m FULL JOIN live a USING (profile_id, dimension, horizon, value)
$$;
CREATE FUNCTION product() RETURNS jsonb LANGUAGE sql VOLATILE AS $$
	SELECT jsonb_build_object('product_id', 'i' || floor(random() * 30)) || CASE WHEN random() < 0.4 THEN jsonb_build_object('brand', 'own' || floor(random() * 3), 'category', (ARRAY['A/B', 'A/C/D', 'E'])[1 + floor(random() * 3)::int]) ELSE '{}' END
$$;
CREATE FUNCTION message(i int, days float) RETURNS jsonb LANGUAGE sql VOLATILE AS $$
	SELECT jsonb_build_object('type', 'track', 'event', (ARRAY['Product Viewed', 'Product Added', 'Order Completed', 'Product Removed', 'Product Reviewed', 'Other'])[1 + floor(random() * 6)::int],
		'messageId', 'r' || floor(random() * i * 1.1)::int, 'timestamp', date_trunc(CASE WHEN random() < 0.3 THEN 'day' ELSE 'second' END, current_setting('cdp.clock')::timestamptz - days * random() * interval '1 day'),
		'context', jsonb_build_object('externalIds', (SELECT jsonb_agg(jsonb_build_object('type', 'user', 'id', 'q' || (floor(random() * 12)::int)::text)) FROM generate_series(0, (random() < 0.04)::int))),
		'properties', CASE WHEN random() < 0.4 THEN jsonb_build_object('products', (SELECT jsonb_agg(product()) FROM generate_series(0, floor(random() * 4)::int))) ELSE product() END || jsonb_build_object('rating', floor(random() * 5) + 1))
$$;
SELECT setseed(0.3) IS NOT NULL AS seeded;
DO $$
DECLARE
	m bigint;
BEGIN
	FOR i IN 1..400 LOOP
		PERFORM cdp.ingest(message(i, 50));
		IF i % 10 = 0 THEN
			PERFORM describe('i' || floor(random() * 30), jsonb_strip_nulls(jsonb_build_object('category', (ARRAY['A', 'A/B', 'C/D', NULL])[1 + floor(random() * 4)::int], 'brand', CASE WHEN random() < 0.8 THEN to_jsonb(ARRAY['x' || floor(random() * 4), 'y' || floor(random() * 4)]) END)));
		END IF;
		IF i % 20 = 0 THEN
			SELECT x.merge_id INTO m FROM cdp.merges x WHERE x.undone_at IS NULL ORDER BY random() LIMIT 1;
			PERFORM cdp.unmerge(m) WHERE m IS NOT NULL;
		END IF;
	END LOOP;
END $$;
CALL cdp.maintain();
SELECT * FROM compare();
SELECT count(*) > 3 AS merged, count(undone_at) > 2 AS undone FROM cdp.merges;
SELECT count(*) > 5 AS versions FROM cdp_data.item_past;
SELECT * FROM cdp.verify();
-- batches, some again
DO $$
DECLARE
	m bigint;
BEGIN
	FOR i IN 1..10 LOOP
		PERFORM cdp.ingest((SELECT jsonb_agg(message(400 + i * 100, 40)) FROM generate_series(1, 100)));
		PERFORM describe('i' || floor(random() * 30), jsonb_build_object('category', 'F/G', 'brand', 'z' || i));
		SELECT x.merge_id INTO m FROM cdp.merges x WHERE x.undone_at IS NULL ORDER BY random() LIMIT 1;
		PERFORM cdp.unmerge(m) WHERE m IS NOT NULL;
	END LOOP;
END $$;
CALL cdp.maintain();
SELECT * FROM compare();
SELECT * FROM cdp.verify();
-- held against what everybody likes, looked at once a day
SET cdp.clock = '2026-05-01';
CALL cdp.maintain();
WITH live AS MATERIALIZED (SELECT dimension, value, sum(score) AS score FROM cdp.affinities WHERE horizon = 'long' GROUP BY 1, 2)
SELECT bool_and(abs(b.score - l.score) < 1e-6) AS same, count(*) > 20 AS enough FROM cdp_data.dimension_base b JOIN cdp_data.dimension d USING (dimension_id) FULL JOIN live l ON l.dimension = d.name AND l.value = b.value COLLATE "C";
SELECT bool_and(abs(a.lift - (greatest(a.score, 0) + 10 * b.score / t.score) / ((a.score / a.share + 10) * b.score / t.score)) < 1e-6) AS as_stated, count(*) > 50 AS enough FROM cdp.affinities a JOIN cdp.dimensions x ON x.name = a.dimension
JOIN cdp_data.dimension d ON d.name = x.name JOIN cdp_data.dimension_base b ON b.dimension_id = d.dimension_id AND b.value = a.value COLLATE "C" JOIN cdp_data.dimension_total t ON t.dimension_id = d.dimension_id WHERE a.horizon = 'long' AND a.score <> 0 AND b.score > 0;
SELECT bool_and(lift > 0 AND (lift > 1) = (log_odds > 0)) AS lift, count(lift) > 50 AS enough, corr(lift, share) > 0 AS grows FROM cdp.affinities WHERE horizon = 'long' AND share > 0 AND dimension = 'thing';
-- defined on what is there; made anew, the same; written by statements, the same
SELECT cdp.define_dimension('label', 'brand', '10 days', short_half_life => '1 day', slots => 96) > 0 AS label, cdp.define_action('Other', 1);
SELECT * FROM cdp.verify();
CALL cdp.maintain();
SELECT * FROM compare();
SET cdp.direct_storage = off;
SELECT count(*) AS taken FROM (SELECT jsonb_agg(message(5000 + i * 10, 10)) AS batch FROM generate_series(1, 10) i, generate_series(1, 10) GROUP BY i) b, cdp.ingest(b.batch);
RESET cdp.direct_storage;
CALL cdp.maintain();
SELECT * FROM compare();
CALL cdp.rebuild_all();
SELECT * FROM compare();
SELECT * FROM cdp.verify();
-- events go that nobody values
SELECT cdp.set_retention('30 days', 'Page Read') IS NOT NULL AS retention;
CALL cdp.maintain();
SELECT cdp.define_dimension('complete', 'brand', '10 days', slots => 96) > 0 AS defined;
CALL cdp.maintain();
SELECT (SELECT horizon IS NOT NULL FROM cdp.retention WHERE event = 'Page Read') AS gone, complete_since FROM cdp.dimensions WHERE name = 'complete';
-- events go, what they said stays
SELECT p.profile_id, a.dimension, a.horizon, a.value, a.score INTO TEMP before FROM cdp.affinities a JOIN cdp_data.profile p USING (profile_id);
SELECT cdp.set_retention('30 days') IS NOT NULL AS retention;
CALL cdp.maintain();
SELECT count(*) > 100 AS gone FROM cdp_data.node_base_trait RIGHT JOIN cdp_data.node_base b USING (node_id), generate_series(1, b.events) WHERE b.metrics IS NOT NULL;
SELECT count(*) AS differ FROM before b LEFT JOIN cdp.affinities a USING (profile_id, dimension, horizon, value) WHERE abs(a.score - b.score) > 1e-6 IS NOT FALSE;
SELECT * FROM cdp.verify();
CALL cdp.rebuild_all();
SELECT count(*) AS differ FROM before b LEFT JOIN cdp.affinities a USING (profile_id, dimension, horizon, value) WHERE abs(a.score - b.score) > 1e-6 IS NOT FALSE;
-- one that is defined now does not know it
SELECT cdp.define_dimension('late', 'brand', '10 days', slots => 96) > 0 AS defined;
CALL cdp.maintain();
SELECT d.name, d.complete_since, sum(a.score) < 0.99 * max(b.all) AS less FROM cdp.dimensions d JOIN cdp.affinities a ON a.dimension = d.name AND a.horizon = 'long',
(SELECT sum(score) AS all FROM cdp.affinities WHERE dimension = 'label' AND horizon = 'long') b WHERE d.name IN ('complete', 'label', 'late') GROUP BY 1, 2 ORDER BY 1;
\c :main
DROP DATABASE regress_dimension;
