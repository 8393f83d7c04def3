-- Metrics on one event. bench/metric.sh runs it.
SET client_min_messages = warning;
CREATE EXTENSION cdp;
SELECT count(*) FROM cdp.init();
CREATE SCHEMA bench;

CREATE FUNCTION bench.metrics(n int) RETURNS void LANGUAGE sql AS $$
	SELECT cdp.drop_metric(name) FROM cdp.metrics;
	SELECT cdp.define_metric(format('m%s_%s', n, i), 'Product Viewed', (ARRAY['count', 'sum', 'max', 'last', 'unique_count'])[1 + i % 5],
		(ARRAY[NULL, 'price', 'price', 'product_id', 'product_id'])[1 + i % 5], period => CASE WHEN i % 5 < 2 THEN interval '30 days' END)
	FROM generate_series(0, n - 1) i
$$;

CREATE PROCEDURE bench.track(n int) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1..n LOOP
		PERFORM cdp.track('user_id:u' || 1 + i * 7 % 1000, 'Product Viewed', '{"product_id": "p42", "price": 1999}');
		COMMIT;
	END LOOP;
END $$;

-- 1,000 people with 20 events each in the last six weeks
SELECT count(*) FROM generate_series(0, 19) b, cdp.ingest((SELECT jsonb_agg(jsonb_build_object('type', 'track', 'event', 'Product Viewed', 'userId', 'u' || i,
	'messageId', format('pre %s %s', b, i), 'timestamp', now() - (b * 50 + i % 50) * interval '1 hour', 'properties', jsonb_build_object('product_id', 'p' || i % 50, 'price', 1999)))
	FROM generate_series(1, 1000) i WHERE b >= 0)) x;

CREATE TABLE bench.payload AS
SELECT b, (SELECT jsonb_agg(jsonb_build_object('type', 'track', 'event', 'Product Viewed', 'userId', 'u' || 1 + hashint4(b * 1000 + i) % 500 + 500, 'messageId', format('%s %s', b, i),
	'timestamp', now() - (b * 1000 + i) * interval '1 minute', 'properties', jsonb_build_object('product_id', 'p' || i % 50, 'price', 1999))) FROM generate_series(1, 1000) i) AS p
FROM generate_series(1, 10) b;
