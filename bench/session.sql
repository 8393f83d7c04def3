-- Sessions and sequences on events that come. bench/session.sh runs it.
SET client_min_messages = warning;
CREATE EXTENSION cdp;
SELECT count(*) FROM cdp.init();
CREATE SCHEMA bench;

-- nothing; sessions; sessions and three sequences, for one of which the event counts
CREATE FUNCTION bench.setting(n int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM cdp.drop_sequence(name) FROM cdp.sequences;
	PERFORM cdp.drop_session();
	IF n > 0 THEN
		PERFORM cdp.set_session();
	END IF;
	PERFORM cdp.define_sequence(format('s%s', i), (ARRAY['Product Viewed', 'Asked', 'Carted'])[i], 'Order Completed', 'product_id', '7 days', holds => '30 days') FROM generate_series(1, 3) i WHERE n > 1;
END $$;

CREATE PROCEDURE bench.track(n int) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1..n LOOP
		PERFORM cdp.track('user_id:u' || 1 + i * 7 % 1000, 'Product Viewed', '{"product_id": "p42", "price": 1999}');
		COMMIT;
	END LOOP;
END $$;

-- 1,000 people with 20 visits of 5 events each in the last weeks
SELECT count(*) FROM generate_series(0, 19) b, cdp.ingest((SELECT jsonb_agg(jsonb_build_object('type', CASE k WHEN 1 THEN 'page' ELSE 'track' END, 'event', 'Product Viewed', 'userId', 'u' || i,
	'messageId', format('pre %s %s %s', b, i, k), 'timestamp', now() - (21 - b) * interval '1 day' + k * interval '3 minutes' + i % 50 * interval '10 minutes',
	'properties', jsonb_build_object('product_id', 'p' || i % 50, 'price', 1999, 'path', '/p' || i % 50)))
	FROM generate_series(1, 1000) i, generate_series(1, 5) k WHERE b >= 0)) x;
-- one with 2,000 visits of 5 events
SELECT count(*) FROM generate_series(0, 9) b, cdp.ingest((SELECT jsonb_agg(jsonb_build_object('type', 'track', 'event', 'Product Viewed', 'userId', 'much',
	'messageId', format('much %s %s %s', b, i, k), 'timestamp', now() - (b * 200 + i) * interval '4 hours' + k * interval '3 minutes', 'properties', jsonb_build_object('product_id', 'p' || i % 50)))
	FROM generate_series(1, 200) i, generate_series(1, 5) k WHERE b >= 0)) x;

-- a tenth of a visit's events come late, days after
CREATE TABLE bench.payload AS
SELECT b, (SELECT jsonb_agg(jsonb_build_object('type', 'track', 'event', 'Product Viewed', 'userId', 'u' || 1 + hashint4(b * 1000 + i) % 500 + 500, 'messageId', format('%s %s', b, i),
	'timestamp', now() - interval '4 hours' + (b * 1000 + i) * interval '1 second' - CASE i % 10 WHEN 0 THEN interval '5 days' ELSE '0' END, 'properties', jsonb_build_object('product_id', 'p' || i % 50, 'price', 1999))) FROM generate_series(1, 1000) i) AS p
FROM generate_series(1, 10) b;

-- the same without anything kept: windows over a person's events
CREATE FUNCTION bench.from_events(p bigint) RETURNS bigint LANGUAGE sql STABLE AS $$
	SELECT count(*) FROM (SELECT min(ts), max(ts), count(*) FROM (SELECT ts, count(*) FILTER (WHERE start) OVER (ORDER BY ts, message_key) AS nr
		FROM (SELECT e.ts, e.message_key, e.ts - lag(e.ts) OVER (ORDER BY e.ts, e.message_key) < interval '30 minutes' IS NOT TRUE AS start
			FROM cdp_data.node n JOIN cdp_data.event e USING (node_id) WHERE n.profile_id = p AND e.type IN ('page', 'screen', 'track')) x) y GROUP BY nr) z
$$;
ANALYZE;
