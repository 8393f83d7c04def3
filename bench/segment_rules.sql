-- Objects of segment_rules.sh.
CREATE EXTENSION cdp;
SELECT count(*) FROM cdp.init();
SELECT count(cdp.define_trait('t' || i, 'int')) FROM generate_series(1, 20) i;
SELECT cdp.define_metric('seen', 'Seen'), cdp.define_metric('seen_lately', 'Seen', period => '30 days');
CREATE SCHEMA bench;

-- So many segments of a kind, and no others.  No event makes anybody enter or leave.
CREATE PROCEDURE bench.segments(kind text, n int) LANGUAGE plpgsql AS $$
DECLARE
	s text;
BEGIN
	FOR s IN SELECT name FROM cdp.segments LOOP
		PERFORM cdp.drop_segment(s);
		COMMIT;
	END LOOP;
	FOR i IN 1..n LOOP
		PERFORM cdp.define_segment('s' || i, CASE kind WHEN 'few' THEN format('t%s > %s', 1 + i % 20, i)
			WHEN 'events' THEN format('events > %s AND t%s IS NULL', 1000000 + i, 1 + i % 20)
			WHEN 'metric' THEN format('seen > %s', 1000000 + i)
			WHEN 'lately' THEN format('seen_lately > %s', 1000000 + i)
			WHEN 'within' THEN format('cdp.within(last_seen, make_interval(days => %s))', 40 + i % 50) END,
			CASE kind WHEN 'json' THEN jsonb_build_object('events', jsonb_build_object('$gt', 1000000 + i)) END);
		COMMIT;
	END LOOP;
END $$;
CREATE PROCEDURE bench.track(n int) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1..n LOOP
		PERFORM cdp.track('user_id:u' || i % 100, 'Seen', '{"a": 1}');
		COMMIT;
	END LOOP;
END $$;
