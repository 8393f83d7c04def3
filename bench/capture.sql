-- A table, the same attached, and attached deferred. bench/capture.sh runs it.
SET client_min_messages = warning;
CREATE EXTENSION cdp;
SELECT count(*) FROM cdp.init();
CREATE SCHEMA bench;
CREATE TABLE bench.plain (id bigint PRIMARY KEY, customer text, email text, total int, city text, created_at timestamptz DEFAULT now());
CREATE TABLE bench.attached (LIKE bench.plain INCLUDING ALL);
CREATE TABLE bench.deferred (LIKE bench.plain INCLUDING ALL);
SELECT cdp.attach('bench.' || t, '{"event": "Order Completed", "identifiers": {"user_id": "customer", "email": "email"}, "time": "created_at", "properties": {"revenue": "total", "city": "city"}}', deferred => t = 'deferred')
FROM unnest(ARRAY['attached', 'deferred']) t;

-- n statements of a row each, every one in a transaction of its own; of 500 people
CREATE PROCEDURE bench.single(t text, n int, first bigint) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN first..first + n - 1 LOOP
		EXECUTE format('INSERT INTO bench.%s VALUES ($1, $2, $3, 100, ''Kyoto'')', t) USING i, 'c' || i % 500, 'm' || i % 500 || '@x.example';
		COMMIT;
	END LOOP;
END $$;

-- n rows in one statement, of 2,000 people
CREATE PROCEDURE bench.bulk(t text, n int, first bigint) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('INSERT INTO bench.%s SELECT i, ''c'' || i %% 2000, ''m'' || i %% 2000 || ''@x.example'', 100, ''Kyoto'' FROM generate_series($1, $2) i', t) USING first, first + n - 1;
	COMMIT;
END $$;

CALL bench.bulk('attached', 2000, 0);
CALL bench.single('attached', 1000, 10000);
CALL bench.single('deferred', 1000, 10000);
CALL bench.single('plain', 1000, 10000);
