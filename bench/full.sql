-- The full event: two identifiers, three traits, five metrics of which two windowed, one affinity, twenty segments.
-- bench/full.sh runs it.
SET client_min_messages = warning;
CREATE EXTENSION cdp;
SELECT count(*) FROM cdp.init();
SELECT cdp.create_partitions('2026-01-01', '2026-12-31');
CREATE SCHEMA bench;

SELECT cdp.define_trait('email', index => true), cdp.define_trait('city'), cdp.define_trait('tier'), cdp.define_trait('points', 'bigint');
SELECT cdp.define_metric('views', 'identify'), cdp.define_metric('spent', 'identify', 'sum', 'price'),
	cdp.define_metric('last_product', 'identify', 'last', 'product_id'),
	cdp.define_metric('views_30d', 'identify', period => '30 days'), cdp.define_metric('spent_7d', 'identify', 'sum', 'price', period => '7 days');
SELECT count(cdp.define_segment('s' || i, predicate => CASE i % 4
	WHEN 0 THEN format('points >= %s', i * 500) WHEN 1 THEN format('city = %L', 'city ' || i) WHEN 2 THEN format('events > %s', i) ELSE format('tier = %L AND points < %s', 't' || i % 3, i * 300) END))
FROM generate_series(1, 20) i;
SELECT cdp.define_dimension('category'), cdp.define_action('identify', 1);
CALL cdp.maintain();

-- Peer: a table of events with a key and an index for a person's history.
CREATE TABLE bench.ev (
	event_id	bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	profile_id	int NOT NULL,
	etype		smallint,
	ts			timestamptz DEFAULT now(),
	props		jsonb
);
CREATE INDEX ON bench.ev (profile_id, ts);
-- Peer of a read: a row by its key.
CREATE TABLE bench.person (person_id bigint PRIMARY KEY, email text, city text, tier text, points bigint, views bigint, spent float8);

-- A message with everything in it, of somebody at some time.
CREATE FUNCTION bench.message(person int, id text, ts timestamptz) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
	SELECT jsonb_build_object('type', 'identify', 'messageId', id, 'userId', 'u' || person, 'anonymousId', 'a' || person, 'timestamp', ts,
		'properties', jsonb_build_object('product_id', 'p' || abs(hashtext(id)) % 977, 'price', 1999, 'category', 'c' || person % 31),
		'traits', jsonb_build_object('city', 'city ' || person % 50, 'tier', 't' || person % 3, 'points', person * 7919::bigint % 9000 + abs(hashtext(id)) % 100))
$$;

-- Payloads of 1,000 messages of :people people. spread: whoever comes next; visits: five of one person, one after the other.
CREATE TABLE bench.payload (kind text, round int, batch int, payload jsonb, PRIMARY KEY (kind, round, batch));
INSERT INTO bench.payload
SELECT kind, r, i / 1000, jsonb_agg(bench.message(CASE kind WHEN 'spread' THEN 1 + abs(hashint8(i + r * 1000000)) % :people ELSE 1 + abs(hashint8(i / 5 + r * 1000000)) % :people END,
	kind || r || '-' || i, timestamptz '2026-06-01 00:00Z' + r * interval '5 days' + i * interval '4 seconds') ORDER BY i)
FROM unnest(ARRAY['spread', 'visits']) kind, generate_series(0, :rounds) r, generate_series(0, 49999) i GROUP BY 1, 2, 3;

CREATE PROCEDURE bench.ingest(kind text, round int) LANGUAGE plpgsql AS $$
DECLARE
	r record;
BEGIN
	FOR r IN SELECT p.payload FROM bench.payload p WHERE p.kind = ingest.kind AND p.round = ingest.round ORDER BY p.batch LOOP
		PERFORM count(*) FROM cdp.ingest(r.payload, ingest.kind);
		COMMIT;
	END LOOP;
END $$;

-- Everybody is known before anything is measured.
INSERT INTO bench.person SELECT i, 'm' || i || '@x.example', 'city ' || i % 50, 't' || i % 3, i % 10000, i % 7, i FROM generate_series(1, :people) i;
SELECT count(*) FROM generate_series(0, (:people - 1) / 1000) b, cdp.ingest((SELECT jsonb_agg(jsonb_build_object('type', 'identify', 'messageId', 'p' || i, 'userId', 'u' || i, 'anonymousId', 'a' || i,
	'timestamp', timestamptz '2026-05-01 00:00Z' + i * interval '1 second', 'traits', jsonb_build_object('email', 'm' || i || '@x.example', 'city', 'city ' || i % 50)))
	FROM generate_series(b * 1000 + 1, b * 1000 + 1000) i), 'preload');
CALL bench.ingest('spread', 0);
CALL bench.ingest('visits', 0);
-- Where the rows of a person are, for bench/rows_full.pgbench: what is written, and nothing decided.
CREATE TABLE bench.known AS SELECT substr(u.value, 2)::bigint AS person, n.profile_id, a.node_id AS a, u.node_id AS b
FROM cdp_data.identifier u JOIN cdp_data.node n USING (node_id) JOIN cdp_data.identifier a ON a.namespace = 'anonymous_id' AND a.value = 'a' || substr(u.value, 2)
WHERE u.namespace = 'user_id';
CREATE UNIQUE INDEX ON bench.known (person);
-- The rows of batches, with what is in them known before: nothing is parsed, looked up, decided or folded.
CREATE TABLE bench.prepared AS
SELECT p.batch, k.profile_id, k.a, k.b, gen_random_uuid() AS key, (m->>'timestamp')::timestamptz AS ts, m->>'messageId' AS id, m->'properties' AS properties, m->'traits' AS traits,
	(m->'traits'->>'points')::bigint AS points
FROM bench.payload p, jsonb_array_elements(p.payload) m JOIN bench.known k ON k.person = substr(m->>'userId', 2)::bigint WHERE p.kind = 'spread' AND p.round = 1;
CREATE INDEX ON bench.prepared (batch);
CREATE PROCEDURE bench.rows() LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 0 .. 49 LOOP
		WITH k AS MATERIALIZED (SELECT * FROM bench.prepared r WHERE r.batch = i),
		person AS MATERIALIZED (SELECT profile_id, a, b, count(*) AS n, max(ts) AS last, (array_agg(points ORDER BY ts DESC))[1] AS points FROM k GROUP BY 1, 2, 3),
		seen AS (INSERT INTO cdp_data.message_seen SELECT 'rows', key, 1, now() FROM k),
		state AS (UPDATE cdp_data.profile_state s SET rev = rev + 1, events = events + n, last_seen = last FROM person k WHERE s.profile_id = k.profile_id),
		ident_a AS (UPDATE cdp_data.identifier i SET last_seen = last FROM person k WHERE i.node_id = k.a),
		ident_b AS (UPDATE cdp_data.identifier i SET last_seen = last FROM person k WHERE i.node_id = k.b),
		profile AS (UPDATE cdp_data.profile p SET points = k.points, trait_meta = p.trait_meta || '{}' FROM person k WHERE p.profile_id = k.profile_id),
		metric AS (UPDATE cdp_data.metric_state m SET states = m.states || '' FROM person k WHERE m.node_id = k.b)
		INSERT INTO cdp_data.event SELECT ts, b, key, now(), 'identify', NULL, 'rows', id, properties, traits, NULL, NULL, ARRAY[a] FROM k;
		COMMIT;
	END LOOP;
END $$;
CREATE ROLE bench_analyst LOGIN;
SELECT cdp.define_purpose('analytics');
SELECT cdp.permit('bench_analyst', 'analytics');
SELECT count(cdp.set_consent('user_id:u' || i, 'analytics', 'granted')) FROM generate_series(1, :people) i;
GRANT USAGE ON SCHEMA bench TO bench_analyst;
GRANT SELECT ON bench.person TO bench_analyst;
VACUUM ANALYZE;
CHECKPOINT;
