-- Payloads of the batch loads: 100,000 events of 10,000 people each. In "new" loads the people are first seen,
-- in "known" loads it is the same people again with other messages.
INSERT INTO bench.payload
SELECT s.sync || '-' || r || '-' || k.kind, i / 1000, jsonb_agg(jsonb_build_object(
	'type', 'track', 'event', 'Product Viewed', 'messageId', s.sync || '-' || r || '-' || k.kind || '-' || i,
	'userId', s.sync || '-' || r || '-' || i % 10000,
	'timestamp', timestamptz '2025-01-01 00:00:00Z' + (i % 10000) * interval '4 minutes' + i * interval '1 millisecond',
	'properties', jsonb_build_object('product_id', 'p' || i % 977, 'price', i % 5000, 'category', 'c' || i % 31)) ORDER BY i)
FROM (VALUES ('on'), ('off')) s (sync), generate_series(0, :rounds) r, (VALUES ('new'), ('known')) k (kind),
	generate_series(0, 99999) i
WHERE r > 0 OR s.sync = 'off'
GROUP BY s.sync, r, k.kind, i / 1000;
ANALYZE bench.payload;

-- Round 0 is not timed. Its events, written to a file, are what COPY loads: the same rows, with their node ids.
CALL bench.ingest('off-0-new');
CALL bench.ingest('off-0-known');
COPY (SELECT * FROM cdp_data.event WHERE source = 'off-0-known' ORDER BY message_id) TO :'file';
CHECKPOINT;
