-- :people people with three identifiers and two traits each, through cdp.ingest().
INSERT INTO bench.payload
SELECT 'preload', i / 1000, jsonb_agg(jsonb_build_object(
	'type', 'identify', 'messageId', 'p' || i, 'timestamp', timestamptz '2025-01-01 00:00:00Z' + i * interval '1 second',
	'userId', 'u' || i, 'anonymousId', 'a' || i,
	'traits', jsonb_build_object('email', 'm' || i || '@mail.example', 'city', 'city ' || i % 500)) ORDER BY i)
FROM generate_series(1, :people) i GROUP BY i / 1000;
SET synchronous_commit = off;
SELECT clock_timestamp() AS t0 \gset
CALL bench.ingest('preload');
SELECT 'preload ' || round(:people / extract(epoch FROM clock_timestamp() - :'t0'::timestamptz), 1);
DELETE FROM bench.payload;
VACUUM ANALYZE;
CHECKPOINT;
