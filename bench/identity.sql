-- Undo, a hub under fire, and transactions of several calls. bench/identity.sh runs it.
SET client_min_messages = warning;
CREATE EXTENSION cdp;
SELECT count(*) FROM cdp.init();
SELECT cdp.create_partitions('2025-12-01', '2026-12-01');
CREATE SCHEMA bench;
CREATE TABLE bench.took (scenario text, n int, us float8);

-- Two people of n identifiers, e events each, merged by a message; no limits.
CREATE PROCEDURE bench.people(tag text, n int, e int) LANGUAGE plpgsql AS $$
DECLARE docs jsonb;
BEGIN
	FOR side IN 0..1 LOOP
		SELECT jsonb_agg(jsonb_build_object('type', CASE WHEN i % 4 = 0 THEN 'identify' ELSE 'track' END, 'event', 'E', 'messageId', format('%s-%s-%s-%s', tag, side, i, k),
			'timestamp', timestamptz '2026-10-01' + i * interval '1 minute' + k * interval '1 day', 'userId', format('%s-%s', tag, side),
			'anonymousId', format('%s-%s-%s', tag, side, i), 'traits', jsonb_build_object('city', 'c' || i, 'n', i)))
		INTO docs FROM generate_series(1, CASE side WHEN 0 THEN 3 ELSE n - 1 END) i, generate_series(1, e) k;
		PERFORM count(*) FROM cdp.ingest(docs, 'bench');
		COMMIT;
	END LOOP;
	PERFORM cdp.track(ARRAY[format('user_id:%s-0', tag), format('user_id:%s-1', tag)], 'E', at => '2026-11-20', message_id => 'merge ' || tag);
	COMMIT;
END $$;

-- Times of cdp.unmerge(), a transaction each; the call alone.
CREATE PROCEDURE bench.unmerge(n int) LANGUAGE plpgsql AS $$
DECLARE m record; t timestamptz;
BEGIN
	FOR m IN SELECT merge_id FROM cdp_data.identity_merge WHERE cardinality(moved_nodes) = n AND undone_at IS NULL ORDER BY 1 LOOP
		t := clock_timestamp();
		PERFORM cdp.unmerge(m.merge_id);
		INSERT INTO bench.took VALUES ('unmerge', n, extract(epoch FROM clock_timestamp() - t) * 1e6);
		COMMIT;
	END LOOP;
END $$;

-- One of several sessions that tie n cookies to one e-mail address, a transaction each.
CREATE PROCEDURE bench.storm(scenario text, session int, sessions int, n int, shuffled boolean) LANGUAGE plpgsql AS $$
DECLARE t timestamptz; at timestamptz; who text[];
BEGIN
	FOR i IN session .. n - 1 BY sessions LOOP
		at := timestamptz '2026-01-01 00:00Z' + CASE WHEN shuffled THEN (i::bigint * 7919) % n ELSE i END * interval '1 minute';
		who := CASE WHEN scenario LIKE 'newest%' THEN ARRAY['user_id:u' || i, 'device_id:shared'] ELSE ARRAY['email:hub@example.com', 'cookie:c' || i] END;
		t := clock_timestamp();
		PERFORM cdp.track(who, 'Seen', at => at, message_id => scenario || i);
		INSERT INTO bench.took VALUES (scenario, i, extract(epoch FROM clock_timestamp() - t) * 1e6);
		COMMIT;
	END LOOP;
END $$;
