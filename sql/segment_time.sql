-- Segments and time: who enters or leaves without an event does it on time, for
-- readers at once and in the storage when the sweep comes.  In a database of
-- its own.
\set SHOW_CONTEXT never
\set main :DBNAME
CREATE DATABASE regress_cdp_segment_time TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_cdp_segment_time
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET intervalstyle = 'postgres';
SET client_min_messages = warning;
CREATE EXTENSION cdp;
SELECT count(*) > 0 AS initialised FROM cdp.init();
SELECT cdp.define_namespace('*', max_per_profile => 0), cdp.define_namespace('user_id', max_per_profile => 0);
SET cdp.clock = '2030-12-01';
SELECT count(cdp.define_trait(name, type)) FROM (VALUES ('plan', 'text'), ('expires', 'timestamptz'), ('n', 'int')) t (name, type);
SELECT count(cdp.define_metric(name, event, aggregate, property, period => period)) FROM (VALUES ('m_views', 'View', 'count', NULL, '3 days'::interval),
	('m_spent', 'Order', 'sum', 'total', '1 month'), ('m_orders', 'Order', 'count', NULL, NULL), ('m_brand', 'View', 'last', 'brand', '2 days 12 hours')) m (name, event, aggregate, property, period);

--
-- The window
--
SET cdp.clock = '2031-03-10 12:00';
SELECT ts, period, cdp.within(ts, period) FROM (VALUES ('2031-03-03 12:00'::timestamptz, '7 days'::interval), ('2031-03-03 12:00:00.000001', '7 days'), ('2031-03-10 12:00', '7 days'),
	('2031-03-10 12:00:00.000001', '7 days'), ('infinity', '7 days'), ('-infinity', '7 days'), (NULL, '7 days'), ('2031-02-10 12:00', '1 month'), ('2031-02-10 12:00:00.000001', '1 month')) v (ts, period);
SELECT cdp.within('2031-03-10', '0');
SELECT cdp.within('2031-03-10', '-1 day');
SELECT cdp.within('2031-03-10', '1001 years');
-- a month too short for the day of now: what left does not come back
CREATE FUNCTION in_month(now text, ts text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('cdp.clock', now, true);
	RETURN cdp.within(ts::timestamptz, '1 month');
END $$;
SELECT now, ts, in_month(now, ts) FROM (VALUES ('2031-03-28 09:59:59.999999', '2031-02-28 10:00'), ('2031-03-28 10:00', '2031-02-28 10:00'), ('2031-03-29 01:00', '2031-02-28 10:00'),
	('2031-03-31 23:59', '2031-02-28 10:00'), ('2031-02-28 23:59:59.999999', '2031-01-31 10:00'), ('2031-03-01 00:00', '2031-01-31 10:00')) v (now, ts);

--
-- One person, to the microsecond
--
SET cdp.clock = '2031-01-01';
SELECT cdp.define_segment('recent', 'cdp.within(last_seen, ''7 days'')') > 0 AS defined, cdp.define_segment('expired', 'cdp.within(expires, ''1 day'')') > 0 AS defined,
	cdp.define_segment('looked', 'm_views >= 2') > 0 AS defined, cdp.define_segment('quiet', 'NOT cdp.in_segment(''recent'')') > 0 AS defined,
	cdp.define_segment('new', rule => '{"first_seen": {"$within": "2 days"}, "profile_id": {"$notInGroup": "looked"}}') > 0 AS defined;
CREATE FUNCTION at(clock text) RETURNS TABLE (at text, segments text[], member text, counted bigint, listed bigint) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('cdp.clock', clock, false);
	RETURN QUERY SELECT to_char(clock::timestamptz, 'DD HH24:MI:SS.US'), p.segments,
		(SELECT string_agg(format('%s %s', m.segment, to_char(m.since, 'DD HH24:MI:SS.US')), ', ' ORDER BY m.segment) FROM cdp.segment_members m WHERE m.profile_id = p.profile_id),
		cdp.segment_count('recent'), (SELECT count(*) FROM cdp.members('quiet')) FROM cdp.profiles p;
END $$;
SELECT cdp.identify('user_id:ada', '{"expires": "2031-01-05T06:00:00Z"}') > 0 AS known;
SELECT cdp.track('user_id:ada', 'View', at => '2030-12-31 18:00') > 0 AS tracked;
SELECT cdp.track('user_id:ada', 'View', at => '2030-12-31 12:00') > 0 AS tracked;
SELECT due FROM cdp_data.timer;
CREATE TABLE instants AS SELECT unnest('{2031-01-01,"2031-01-02 11:59:59.999999","2031-01-02 12:00","2031-01-03 11:59:59.999999","2031-01-03 12:00","2031-01-05 05:59:59.999999","2031-01-05 06:00","2031-01-06 05:59:59.999999","2031-01-06 06:00","2031-01-07 23:59:59.999999","2031-01-08"}'::text[]) AS clock;
SELECT a.* FROM instants, at(clock) a;
SELECT name, members, pending FROM cdp.segments ORDER BY name;
-- nothing was written; the sweep writes what was seen, as it was seen
SELECT profile_id, segments, rev FROM cdp_data.profile_state;
CREATE TABLE seen AS SELECT * FROM cdp.segment_history;
CALL cdp.maintain();
SELECT count(*) AS differences FROM (TABLE seen EXCEPT ALL TABLE cdp.segment_history) x;
SELECT segment, entered_at, left_at, cause FROM cdp.segment_history ORDER BY entered_at, segment, left_at;
SELECT name, members, pending FROM cdp.segments ORDER BY name;
SELECT due FROM cdp_data.timer;
SELECT * FROM cdp.verify(1);
-- an event finds everything that happened before it done, at its time
SET cdp.clock = '2031-02-01';
SELECT cdp.track('user_id:ada', 'View') > 0 AS tracked;
SET cdp.clock = '2031-02-20';
SELECT cdp.track('user_id:ada', 'Other') > 0 AS tracked;
SELECT segment, entered_at, left_at, cause FROM cdp.segment_history WHERE entered_at > '2031-01-09' OR left_at > '2031-01-09' ORDER BY entered_at, segment, left_at;
-- what entered by time is delivered by the sweep
SELECT cdp.define_purpose('news') > 0 AS defined, cdp.define_activation('expired', 'email', 'news') > 0 AS defined;
SELECT cdp.identify('user_id:ada', '{"expires": "2031-02-21"}') > 0 AS known;
SET cdp.clock = '2031-02-21';
SELECT segment, state FROM cdp.outbox;
SELECT m.segment, m.since, (cdp.why('user_id:ada', m.segment)->>'since')::timestamptz = m.since AS so_says_why FROM cdp.segment_members m WHERE m.profile_id = 1 ORDER BY 1;
CALL cdp.maintain();
SELECT segment, state FROM cdp.outbox;
-- timers that are wrong are found
UPDATE cdp_data.timer SET due = 'infinity';
SELECT what FROM cdp.verify(1);
DELETE FROM cdp_data.timer;
SELECT what FROM cdp.verify(1);
INSERT INTO cdp_data.timer VALUES (77, 7, '2031-01-01');
SELECT profile_id, what FROM cdp.verify(1) ORDER BY 1;
CALL cdp.maintain();
SELECT profile_id, what FROM cdp.verify(1) ORDER BY 1;
-- who is not to be seen is not counted: readers with a purpose
CREATE ROLE regress_cdp_time;
SELECT cdp.provision('regress_cdp_time', 'analyst'), cdp.permit('regress_cdp_time', 'news');
SELECT cdp.refresh_segment('recent');
SET cdp.clock = '2031-02-24';
SELECT cdp.identify('user_id:bob', '{"expires": "2031-02-24 12:00Z"}') > 0 AS known, cdp.set_consent('user_id:bob', 'news', 'granted') IS NOT NULL AS granted;
SET cdp.clock = '2031-02-25';
SET ROLE regress_cdp_time;
SELECT p.segments FROM cdp.profiles p;
SELECT segment, since FROM cdp.segment_members ORDER BY 1;
SELECT name, members, pending FROM cdp.segments ORDER BY name;
SELECT cdp.is_due(1) AS ada, cdp.is_due(2) AS bob, cdp.present_segments(1, '{}') AS ada, cardinality(cdp.present_segments(2, '{}')) AS bob;
RESET ROLE;
-- a cursor sees people as of when it was opened, however late it is read
RESET cdp.clock;
SELECT cdp.define_segment('now', 'cdp.within(last_seen, ''3 seconds'')') > 0 AS defined;
SELECT count(cdp.track('user_id:n' || i, 'View')) FROM generate_series(1, 4) i;
BEGIN;
DECLARE members CURSOR FOR SELECT m.segment FROM cdp.segment_members m WHERE m.segment = 'now';
DECLARE stays CURSOR FOR SELECT h.segment, h.left_at FROM cdp.segment_history h WHERE h.segment = 'now';
FETCH 2 FROM members;
FETCH 2 FROM stays;
SELECT pg_sleep(3.1);
FETCH ALL FROM members;
FETCH ALL FROM stays;
SELECT count(*) AS members FROM cdp.segment_members m WHERE m.segment = 'now';
COMMIT;
SELECT cdp.drop_segment('now');

--
-- Property: at every moment membership is what the rules say, with and without the sweep
--
SELECT count(cdp.drop_activation('expired', 'email', 'news'));
SELECT cdp.drop_segment('new'), cdp.drop_segment('quiet'), cdp.drop_segment('recent'), cdp.drop_segment('looked'), cdp.drop_segment('expired');
CREATE FUNCTION anew() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	TRUNCATE cdp_data.identifier, cdp_data.node, cdp_data.identity_edge, cdp_data.identity_merge, cdp_data.profile_merged,
		cdp_data.profile, cdp_data.profile_state, cdp_data.event, cdp_data.message_seen, cdp_data.segment_member, cdp_data.segment_chunk, cdp_data.segment_delta, cdp_data.segment_before,
		cdp_data.segment_history, cdp_data.timer, cdp_data.metric_state, cdp_data.rejected,
		cdp_data.consent_log, cdp_data.consent_current, cdp_data.consent_ord, cdp_data.consent_node,
		cdp_data.node_history, cdp_data.identifier_retired, cdp_data.identity_separation, cdp_data.separation_node, cdp_data.outbox RESTART IDENTITY;
	ALTER SEQUENCE cdp_data.node_id_seq RESTART;
	ALTER SEQUENCE cdp_data.profile_id_seq RESTART;
	ALTER SEQUENCE cdp_data.merge_id_seq RESTART;
	ALTER SEQUENCE cdp_data.ord_seq RESTART;
END $$;
SELECT anew();
SELECT count(cdp.define_segment(name, predicate, rule)) FROM (VALUES
	(1, 't_recent', 'cdp.within(last_seen, ''2 days'')', NULL::jsonb),
	(2, 't_once', 'cdp.within(first_seen, ''10 days'') AND NOT cdp.within(last_seen, ''1 day'')', NULL),
	(3, 't_views', 'm_views >= 3', NULL),
	(4, 't_spent', 'm_spent > 100 OR plan = ''gold'' AND cdp.within(expires, ''1 month'')', NULL),
	(5, 't_brand', 'm_brand IN (''b1'', ''b2'')', NULL),
	(6, 't_away', 'NOT cdp.within(last_seen, ''3 days'')', NULL),
	(7, 't_nested', 'cdp.in_segment(''t_views'') AND NOT cdp.in_segment(''t_recent'')', NULL),
	(8, 't_deep', NULL, '{"$or": [{"profile_id": {"$inGroup": "t_nested"}}, {"expires": {"$not": {"$within": "36 hours"}, "$exists": true}, "m_orders": {"$gte": 2}}]}'),
	(9, 't_json', NULL, '{"plan": {"$in": ["gold", "silver"]}, "last_seen": {"$within": "2 days"}, "nick": {"$ne": "x"}}'),
	(10, 't_since', NULL, '{"first_seen": {"$gte": "2031-02-01", "$lt": "2031-02-10T12:00:00+09:00"}}'),
	(11, 't_raises', 'CASE WHEN cdp.within(expires, ''1 day'') THEN 10 / (n - 3) > 0 ELSE plan = ''gold'' END', NULL)) r (i, name, predicate, rule);

-- The same by plain SQL over the events, without any of the functions on trial.
CREATE FUNCTION start_of(at timestamptz, months int) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE WHEN extract(day FROM at AT TIME ZONE 'UTC') > extract(day FROM date_trunc('month', at AT TIME ZONE 'UTC') - interval '1 day')
		THEN (date_trunc('month', at AT TIME ZONE 'UTC') - interval '1 microsecond') AT TIME ZONE 'UTC' ELSE (at AT TIME ZONE 'UTC' - interval '1 month') AT TIME ZONE 'UTC' END
$$;
CREATE FUNCTION naive(at timestamptz) RETURNS TABLE (profile_id bigint, segment text) LANGUAGE sql AS $$
	WITH e AS (SELECT n.profile_id, e.* FROM cdp_data.event e JOIN cdp_data.node n USING (node_id)),
	a AS (SELECT p.profile_id, p.plan, p.expires, p.n, p.traits ->> 'nick' AS nick, min(e.ts) AS first_seen, max(e.ts) AS last_seen,
			count(*) FILTER (WHERE e.name = 'View' AND e.ts > at - interval '3 days') AS views,
			sum((e.properties ->> 'total')::float8) FILTER (WHERE e.name = 'Order' AND e.ts > start_of(at, 1)) AS spent,
			count(*) FILTER (WHERE e.name = 'Order') AS orders,
			(array_agg(e.properties ->> 'brand' ORDER BY e.ts DESC, e.message_key DESC) FILTER (WHERE e.name = 'View' AND e.properties ? 'brand' AND e.ts > at - interval '60 hours'))[1] AS brand
		FROM cdp.profiles p LEFT JOIN e USING (profile_id) GROUP BY 1, 2, 3, 4, 5),
	b AS (SELECT *, last_seen > at - interval '2 days' AND last_seen <= at AS recent, views >= 3 AS many FROM a)
	SELECT b.profile_id, s.segment FROM b, LATERAL (VALUES
		('t_recent', recent),
		('t_once', first_seen > at - interval '10 days' AND first_seen <= at AND NOT (last_seen > at - interval '1 day' AND last_seen <= at)),
		('t_views', many),
		('t_spent', spent > 100 OR plan = 'gold' AND expires > start_of(at, 1) AND expires <= at),
		('t_brand', brand IN ('b1', 'b2')),
		('t_away', NOT (last_seen > at - interval '3 days' AND last_seen <= at)),
		('t_nested', many AND recent IS NOT TRUE),
		('t_deep', many AND recent IS NOT TRUE OR expires IS NOT NULL AND NOT (expires > at - interval '36 hours' AND expires <= at) AND orders >= 2),
		('t_json', plan IN ('gold', 'silver') AND recent AND nick IS DISTINCT FROM 'x'),
		('t_since', first_seen >= '2031-02-01Z' AND first_seen < '2031-02-10 03:00Z'),
		('t_raises', CASE WHEN expires > at - interval '1 day' AND expires <= at THEN n <> 3 AND 10 / nullif(n - 3, 0) > 0 ELSE plan = 'gold' END)) s (segment, member)
	WHERE s.member
$$;
CREATE FUNCTION differences() RETURNS TABLE (what text, n bigint) LANGUAGE sql AS $$
	WITH scratch AS MATERIALIZED (SELECT * FROM naive(cdp.clock())), kept AS MATERIALIZED (SELECT profile_id, segment FROM cdp.segment_members)
	SELECT 'missing', count(*) FROM (SELECT * FROM scratch EXCEPT ALL SELECT * FROM kept) x UNION ALL
	SELECT 'wrong', count(*) FROM (SELECT * FROM kept EXCEPT ALL SELECT * FROM scratch) x UNION ALL
	SELECT 'in cdp.profiles', count(*) FROM cdp.profiles p
		WHERE p.segments IS DISTINCT FROM ARRAY(SELECT k.segment FROM kept k WHERE k.profile_id = p.profile_id ORDER BY k.segment COLLATE "C") UNION ALL
	SELECT 'counts', count(*) FROM cdp.segments g WHERE g.members <> (SELECT count(*) FROM scratch s WHERE s.segment = g.name)
$$;
-- One step of a history: messages of any kind, late, twice, merging; merges taken back.
CREATE FUNCTION step(seed text, i int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	r int[] := ARRAY(SELECT abs(hashtext(format('%s %s %s', seed, i, k))) FROM generate_series(1, 12) k);
	now timestamptz := cdp.clock();
	-- some are never merged with anybody
	who jsonb := CASE WHEN r[1] % 8 > 3 THEN jsonb_build_object('userId', 's' || r[2] % 12) ELSE jsonb_strip_nulls(jsonb_build_object('userId', CASE WHEN r[1] % 4 > 0 THEN 'u' || r[2] % 9 END, 'anonymousId', CASE WHEN r[1] % 4 < 2 THEN 'a' || r[3] % 14 END)) END;
	late interval := CASE r[4] % 5 WHEN 0 THEN make_interval(hours => r[5] % 900) WHEN 1 THEN make_interval(mins => r[5] % 5000) WHEN 2 THEN make_interval(hours => -(r[5] % 20)) ELSE '0' END;
	doc jsonb := who || jsonb_build_object('messageId', format('m%s', CASE WHEN r[6] % 10 = 0 THEN greatest(i - 3, 0) ELSE i END), 'timestamp', now - late);
	m bigint;
BEGIN
	IF r[7] % 12 = 0 THEN
		SELECT x.merge_id INTO m FROM cdp.merges x WHERE x.undone_at IS NULL ORDER BY x.merge_id DESC OFFSET r[8] % 3 LIMIT 1;
		IF m IS NOT NULL THEN
			PERFORM cdp.unmerge(m, 'a mistake');
			RETURN 'unmerge';
		END IF;
	END IF;
	IF r[7] % 3 = 0 THEN
		PERFORM cdp.ingest(doc || jsonb_build_object('type', 'identify', 'traits', jsonb_strip_nulls(jsonb_build_object('plan', CASE WHEN r[9] % 2 = 0 THEN (ARRAY['gold', 'silver', 'free'])[1 + r[9] / 2 % 3] END,
			'expires', CASE WHEN r[10] % 3 > 0 THEN now + make_interval(hours => r[10] % 900 - 400) END, 'n', r[11] % 6, 'nick', CASE WHEN r[12] % 3 = 0 THEN (ARRAY['x', 'y'])[1 + r[12] / 3 % 2] END))));
		RETURN 'identify';
	END IF;
	PERFORM cdp.ingest(doc || jsonb_build_object('type', 'track', 'event', (ARRAY['View', 'View', 'Order', 'Other'])[1 + r[9] % 4],
		'properties', jsonb_build_object('total', r[10] % 90, 'brand', 'b' || r[11] % 4)));
	RETURN 'track';
END $$;
CREATE TABLE found (sweep boolean, seed text, i int, what text, n bigint);
CREATE TABLE did (sweep boolean, seed text, what text);
CREATE TABLE kept_history (sweep boolean, seed text, profile_id bigint, segment text, entered_at timestamptz, left_at timestamptz, cause text);
CREATE FUNCTION run(seed text, steps int, sweep boolean) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	now timestamptz := '2031-01-28 00:00Z';
BEGIN
	PERFORM anew();
	FOR i IN 1..steps LOOP
		now := now + CASE abs(hashtext(seed || ' clock ' || i)) % 6 WHEN 0 THEN make_interval(hours => abs(hashtext(seed || i)) % 40) WHEN 1 THEN make_interval(secs => abs(hashtext(seed || i)) % 40000 / 7.0)
			WHEN 2 THEN '0' ELSE make_interval(mins => abs(hashtext(seed || i)) % 300) END;
		PERFORM set_config('cdp.clock', now::text, false);
		INSERT INTO did SELECT sweep, seed, step(seed, i);
		IF sweep AND i % 5 = 0 THEN
			WHILE cdp.maintain_step() LOOP END LOOP;
		END IF;
		IF i % 4 = 0 THEN
			-- also between the messages, with nothing but time going on
			now := now + make_interval(hours => abs(hashtext(seed || ' idle ' || i)) % 30);
			PERFORM set_config('cdp.clock', now::text, false);
			INSERT INTO found SELECT sweep, seed, i, d.* FROM differences() d WHERE d.n > 0;
		END IF;
	END LOOP;
	now := now + interval '40 days';
	PERFORM set_config('cdp.clock', now::text, false);
	INSERT INTO found SELECT sweep, seed, -1, d.* FROM differences() d WHERE d.n > 0;
	INSERT INTO found SELECT sweep, seed, -2, v.what, count(*) FROM cdp.verify(1) v GROUP BY 4;
	INSERT INTO kept_history SELECT sweep, seed, h.profile_id, h.segment, h.entered_at, h.left_at, h.cause FROM cdp.segment_history h
		WHERE h.profile_id NOT IN (SELECT m.winner FROM cdp.merges m UNION SELECT m.loser FROM cdp.merges m);
	WHILE cdp.maintain_step() LOOP END LOOP;
	INSERT INTO found SELECT sweep, seed, -3, d.* FROM differences() d WHERE d.n > 0;
	INSERT INTO found SELECT sweep, seed, -4, 'pending', g.pending FROM cdp.segments g WHERE g.pending > 0;
END $$;
SELECT run(s::text, 200, sweep) FROM generate_series(1, 3) s, (VALUES (false), (true)) w (sweep);
SET cdp.direct_storage = off;
SELECT run('4', 60, sweep) FROM (VALUES (false), (true)) w (sweep);
RESET cdp.direct_storage;
TABLE found;
SELECT what, count(*) > 20 AS some FROM did GROUP BY 1 ORDER BY 1;
-- with or without the sweep, what is known of the past is the same
SELECT count(*) AS differences FROM (
	(SELECT seed, profile_id, segment, entered_at, left_at, cause FROM kept_history WHERE sweep EXCEPT ALL SELECT seed, profile_id, segment, entered_at, left_at, cause FROM kept_history WHERE NOT sweep)
	UNION ALL (SELECT seed, profile_id, segment, entered_at, left_at, cause FROM kept_history WHERE NOT sweep EXCEPT ALL SELECT seed, profile_id, segment, entered_at, left_at, cause FROM kept_history WHERE sweep)) x;
SELECT count(*) > 100 AS many, count(*) FILTER (WHERE cause = 'time') > 50 AS by_time, count(DISTINCT segment) AS segments FROM kept_history;

\c :main
DROP DATABASE regress_cdp_segment_time;
DROP ROLE regress_cdp_time;
