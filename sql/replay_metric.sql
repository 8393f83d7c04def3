-- replay_metric.sql: verify() compares metrics with the events, whatever the
-- cells of their states became; planted damage is found and repaired.
\set main :DBNAME
CREATE DATABASE regress_replay_metric TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_replay_metric
SET client_min_messages = warning;
CREATE EXTENSION cdp;
SELECT count(*) > 0 AS initialised FROM cdp.init();
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET cdp.clock = '2026-03-01';
SELECT count(cdp.define_metric(concat_ws('_', a, p, w), 'Order', a, p, period => w::interval)) AS metrics FROM (VALUES ('count', NULL), ('sum', 'total'), ('avg', 'total'), ('min', 'total'),
	('max', 'total'), ('first', NULL), ('last', 'brand'), ('unique_count', 'sku'), ('most_frequent', 'sku'), ('list', 'brand')) v (a, p), (VALUES (NULL), ('3 days'), ('1 month')) t (w);
CREATE SCHEMA law;
CREATE TABLE law.difference (history int, step int, profile_id bigint, what text, live text, recomputed text);

-- One thing that happens: orders with late and repeated ones, links, and partings.
CREATE FUNCTION law.act(h int, i int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	p int := floor(random() * 6);
	who text[] := ARRAY[format('user_id:u%s', p), format('email:e%s@example.com', CASE WHEN random() < 0.1 THEN floor(random() * 6) ELSE p END)];
	now timestamptz := current_setting('cdp.clock');
	m bigint;
BEGIN
	IF random() < 0.8 THEN
		PERFORM cdp.ingest(jsonb_build_object('batch', (SELECT jsonb_agg(jsonb_build_object('type', 'track', 'event', 'Order', 'messageId', format('h%s-%s', h, floor(random() * i * 20)),
			'userId', 'u' || p, 'anonymousId', 'a' || floor(random() * 9), 'timestamp', now - random() ^ 3 * interval '40 days',
			'properties', jsonb_build_object('total', round((random() * 1000)::numeric, 2), 'brand', 'b' || floor(random() * 4), 'sku', 's' || floor(random() ^ 2 * 600))))
			FROM generate_series(1, 1 + floor(random() * 30)::int))));
	ELSIF random() < 0.5 THEN
		PERFORM cdp.track(who, 'Order', jsonb_build_object('total', i), now - random() * interval '2 days');
	ELSE
		SELECT x.merge_id INTO m FROM cdp.merges x WHERE x.undone_at IS NULL ORDER BY x.merge_id DESC LIMIT 1;
		IF m IS NOT NULL THEN
			PERFORM cdp.unmerge(m, 'wrong');
		END IF;
	END IF;
END $$;
CREATE PROCEDURE law.play(h int, size int) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM setseed(h / 1000.0);
	FOR i IN 1..size LOOP
		PERFORM set_config('cdp.clock', (timestamptz '2026-03-01 00:00+00' + i * interval '5 hours')::text, false);
		PERFORM law.act(h, i);
		COMMIT;
		IF i % 10 = 0 THEN
			INSERT INTO law.difference SELECT h, i, v.* FROM cdp.verify() v;
			COMMIT;
		END IF;
	END LOOP;
END $$;
CALL law.play(1, 150);
SELECT count(*) > 1000 AS events, count(DISTINCT profile_id) > 3 AS people FROM cdp.events;
SELECT * FROM law.difference ORDER BY 1, 2, 3, 4 LIMIT 20;
-- what is building is not compared
SELECT cdp.define_metric('late', 'Order') > 0 AS defined;
SELECT count(*) AS differences FROM cdp.verify();
CALL cdp.maintain();
SELECT count(*) AS differences FROM cdp.verify();
SELECT bool_or(late > 0) AS is_made FROM cdp.profiles;

--
-- Damage
--
SELECT profile_id AS her FROM cdp.profiles ORDER BY late DESC, 1 LIMIT 1 \gset
SELECT node_id AS node FROM cdp_data.metric_state JOIN cdp_data.node USING (node_id) WHERE profile_id = :her ORDER BY length(states) DESC, 1 LIMIT 1 \gset
SELECT node_id AS other FROM cdp_data.metric_state WHERE node_id <> :node ORDER BY length(states) DESC, 1 LIMIT 1 \gset
CREATE TABLE law.damage (n int GENERATED ALWAYS AS IDENTITY, kind text, statement text);
INSERT INTO law.damage (kind, statement) VALUES
	('lost', 'DELETE FROM cdp_data.metric_state WHERE node_id = $1'),
	('emptied', 'UPDATE cdp_data.metric_state SET states = ''\x01'' WHERE node_id = $1'),
	('of another', 'UPDATE cdp_data.metric_state SET states = (SELECT o.states FROM cdp_data.metric_state o WHERE o.node_id = $2) WHERE node_id = $1'),
	('cut off', 'UPDATE cdp_data.metric_state SET states = substr(states, 1, length(states) - 3) WHERE node_id = $1'),
	('unknown version', 'UPDATE cdp_data.metric_state SET states = set_byte(states, 0, 9) WHERE node_id = $1'),
	-- version, id, length, width, cells; then a count
	('another count', 'UPDATE cdp_data.metric_state SET states = set_byte(states, 5, get_byte(states, 5) # 1) WHERE node_id = $1'),
	('last byte', 'UPDATE cdp_data.metric_state SET states = set_byte(states, length(states) - 1, get_byte(states, length(states) - 1) # 1) WHERE node_id = $1'),
	('event lost', 'DELETE FROM cdp_data.event WHERE node_id = $1 AND ts = (SELECT max(ts) FROM cdp_data.event WHERE node_id = $1)');
CREATE FUNCTION law.plant(d law.damage, her bigint, a bigint, b bigint) RETURNS TABLE (kind text, rows int, metrics bigint, repaired boolean, again boolean, whole boolean) LANGUAGE plpgsql AS $$
BEGIN
	kind := d.kind;
	EXECUTE d.statement USING a, b;
	GET DIAGNOSTICS rows = ROW_COUNT;
	SELECT count(DISTINCT v.what) INTO metrics FROM cdp.verify() v WHERE v.what LIKE 'metric%' AND v.profile_id = her;
	repaired := cdp.rebuild(her);
	again := cdp.rebuild(her);
	whole := NOT EXISTS (SELECT FROM cdp.verify());
	RETURN NEXT;
END $$;
CREATE TABLE law.plot AS SELECT d.n, p.* FROM law.damage d, law.plant(d, :her, :node, :other) p;
SELECT kind, rows, metrics > 0 AS told, repaired, again, whole FROM law.plot ORDER BY n;
-- every byte matters, or means the same
CREATE FUNCTION law.flip(her bigint, a bigint) RETURNS TABLE (flipped int, unnoticed int) LANGUAGE plpgsql AS $$
DECLARE
	good bytea := (SELECT states FROM cdp_data.metric_state WHERE node_id = a);
BEGIN
	flipped := 0; unnoticed := 0;
	FOR i IN 0..length(good) - 1 BY 7 LOOP
		UPDATE cdp_data.metric_state SET states = set_byte(good, i, get_byte(good, i) # (1 << i % 8)) WHERE node_id = a;
		flipped := flipped + 1;
		IF NOT EXISTS (SELECT FROM cdp.verify(who => her)) THEN
			unnoticed := unnoticed + 1;
		END IF;
	END LOOP;
	PERFORM cdp.rebuild(her);
	UPDATE cdp_data.metric_state SET states = good WHERE node_id = a;
	RETURN NEXT;
END $$;
SELECT flipped > 200 AS many, unnoticed * 4 < flipped AS most_are_noticed FROM law.flip(:her, :node);
SELECT count(*) AS differences FROM cdp.verify();
-- metrics of nobody
BEGIN;
INSERT INTO cdp_data.metric_state VALUES (999999, '\x01');
SELECT * FROM cdp.verify();
ROLLBACK;
-- everybody
UPDATE cdp_data.metric_state SET states = '\x01';
SELECT count(*) > 5 AS differences FROM cdp.verify();
CALL cdp.rebuild_all();
SELECT count(*) AS differences FROM cdp.verify();

\c :main
DROP DATABASE regress_replay_metric;
