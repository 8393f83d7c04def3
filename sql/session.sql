-- Sessions: they end by silence and close by time, under late events and
-- duplicates, merges and unmerges; session_ended counted by metrics; definition
-- on existing data; then random histories against plain SQL over the events.
\set VERBOSITY terse
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_session;
CREATE DATABASE regress_session TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_session
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION cdp;
SELECT count(*) > 0 AS init FROM cdp.init();
SET cdp.clock = '2026-03-01 12:00';

-- none are kept unless asked for
SELECT cdp.track('email:ada@x.y', 'Seen', '{}', '2026-02-01') > 0 AS taken;
SELECT count(*) FROM cdp.sessions;
SELECT count(*) FROM cdp.session_rule;
SELECT count(*) FROM cdp_data.session_part;
SELECT cdp.define_metric('visits', 'session_ended');
SELECT cdp.set_session();
SELECT silence, events, state FROM cdp.session_rule;
SELECT target, state FROM cdp.tasks WHERE kind = 'session';
SELECT count(*) FROM cdp.sessions;
CALL cdp.maintain();
SELECT state FROM cdp.session_rule;
SELECT started_at, ended_at, open, dwell, events, first_page, source FROM cdp.sessions;

--
-- One visit: silence ends it, time closes it
--
SELECT cdp.define_metric('visits', 'session_ended') > 0 AS defined, cdp.define_metric('dwell', 'session_ended', 'sum', 'dwell') > 0 AS defined,
	cdp.define_metric('landing', 'session_ended', 'last', 'first_page') > 0 AS defined, cdp.define_metric('last_visit', 'session_ended', 'last') > 0 AS defined,
	cdp.define_metric('spring', 'session_ended', filter => '{"campaign": "Spring & Co", "events": {"$gte": 2}}') > 0 AS defined,
	cdp.define_metric('visits_day', 'session_ended', period => '1 day') > 0 AS defined;
SELECT status FROM cdp.ingest('[
	{"type": "page", "userId": "u1", "messageId": "p1", "timestamp": "2026-03-01T10:00:00Z", "properties": {"url": "https://x.y/home?a=1&utm_campaign=Spring+%26+Co&utm_source=mail#top", "path": "/home"}},
	{"type": "track", "event": "Viewed", "userId": "u1", "messageId": "p2", "timestamp": "2026-03-01T10:29:59.999999Z", "context": {"page": {"path": "/shoes"}}},
	{"type": "identify", "userId": "u1", "messageId": "p3", "timestamp": "2026-03-01T10:40:00Z", "traits": {"a": 1}},
	{"type": "page", "userId": "u1", "messageId": "p4", "timestamp": "2026-03-01T10:59:59.999999Z", "name": "Cart", "context": {"campaign": {"name": "Other", "medium": "cpc"}}},
	{"type": "screen", "userId": "u1", "messageId": "p5", "timestamp": "2026-03-01T11:05:00Z", "name": "Done"}]');
SET cdp.clock = '2026-03-01 11:10';
SELECT started_at, ended_at, open, dwell, events, first_page, last_page, campaign, campaign_source, campaign_medium FROM cdp.sessions WHERE profile_id = cdp.resolve('user_id:u1') ORDER BY started_at;
SELECT visits, dwell, landing, last_visit, spring, visits_day FROM cdp.profiles WHERE profile_id = cdp.resolve('user_id:u1');
SET cdp.clock = '2026-03-01 11:34:59.999999';
SELECT open FROM cdp.sessions WHERE profile_id = cdp.resolve('user_id:u1') ORDER BY started_at;
SET cdp.clock = '2026-03-01 11:35:00';
SELECT open FROM cdp.sessions WHERE profile_id = cdp.resolve('user_id:u1') ORDER BY started_at;
SELECT visits, dwell, landing, last_visit, spring, visits_day FROM cdp.profiles WHERE profile_id = cdp.resolve('user_id:u1');
SET cdp.clock = '2026-03-02 10:59:59.999998';
SELECT visits, visits_day FROM cdp.profiles WHERE profile_id = cdp.resolve('user_id:u1');
SET cdp.clock = '2026-03-02 10:59:59.999999';
SELECT visits, visits_day FROM cdp.profiles WHERE profile_id = cdp.resolve('user_id:u1');
SET cdp.clock = '2026-03-02 11:35';
SELECT visits, visits_day FROM cdp.profiles WHERE profile_id = cdp.resolve('user_id:u1');
-- late, between the two: one visit; and again
SELECT status FROM cdp.ingest('[{"type": "page", "userId": "u1", "messageId": "p6", "timestamp": "2026-03-01T10:45:00Z", "properties": {"path": "/late"}}]');
SELECT status FROM cdp.ingest('[{"type": "page", "userId": "u1", "messageId": "p6", "timestamp": "2026-03-01T10:45:00Z", "properties": {"path": "/late"}}]');
SELECT started_at, ended_at, open, dwell, events, first_page, last_page, campaign, campaign_source, campaign_medium FROM cdp.sessions WHERE profile_id = cdp.resolve('user_id:u1') ORDER BY started_at;
SELECT visits, dwell, landing, last_visit, spring FROM cdp.profiles WHERE profile_id = cdp.resolve('user_id:u1');
-- when that changes by itself
SELECT cdp.session_due(cdp.resolve('user_id:u1')) AS never, cdp.session_due(cdp.resolve('user_id:u1'), '2 days') AS leaves;
SET cdp.clock = '2026-03-01 11:10';
SELECT cdp.session_due(cdp.resolve('user_id:u1')) AS ends, cdp.session_due(cdp.resolve('user_id:u1'), '2 days') AS ends;
SET cdp.clock = '2026-03-02 11:35';
-- what somebody sends under that name is no session's end
SELECT cdp.track('user_id:u1', 'session_ended', '{"dwell": 1000}', '2026-02-20') > 0 AS taken;
SELECT visits, dwell FROM cdp.profiles WHERE profile_id = cdp.resolve('user_id:u1');

--
-- On two devices: one person's visit, when she is one person
--
SET cdp.clock = '2026-03-05';
SELECT status FROM cdp.ingest('[
	{"type": "page", "anonymousId": "d1", "messageId": "m1", "timestamp": "2026-03-04T10:00:00Z", "properties": {"path": "/a"}},
	{"type": "page", "anonymousId": "d2", "messageId": "m2", "timestamp": "2026-03-04T10:20:00Z", "properties": {"path": "/b"}},
	{"type": "page", "anonymousId": "d1", "messageId": "m3", "timestamp": "2026-03-04T10:40:00Z", "properties": {"path": "/c"}}]');
SELECT started_at, dwell, events, first_page, last_page FROM cdp.sessions WHERE started_at >= '2026-03-04' ORDER BY 1;
SELECT cdp.merge('{anonymous_id:d1,anonymous_id:d2}', 'one person') AS merge \gset
SELECT started_at, dwell, events, first_page, last_page FROM cdp.sessions WHERE started_at >= '2026-03-04' ORDER BY 1;
SELECT visits, dwell, landing FROM cdp.profiles WHERE profile_id = cdp.resolve('anonymous_id:d1');
SELECT cdp.unmerge(:merge) > 0 AS parted;
SELECT started_at, dwell, events, first_page, last_page FROM cdp.sessions WHERE started_at >= '2026-03-04' ORDER BY 1;

--
-- What cannot be
--
SELECT cdp.set_session('0');
SELECT cdp.set_session('1 month');
SELECT cdp.set_session('8 days');
SELECT cdp.set_session(NULL);
SELECT cdp.set_session('1 hour', '{}');
SELECT cdp.set_session('1 hour', '{page,NULL}');
SELECT cdp.drop_session();

--
-- Only of whom one may see
--
CREATE ROLE regress_session_reader;
SELECT cdp.define_purpose('analytics') > 0 AS purpose;
SELECT cdp.provision('regress_session_reader', 'analyst');
SELECT cdp.permit('regress_session_reader', 'analytics');
SELECT cdp.set_consent('user_id:u1', 'analytics', 'granted', '2026-03-01') AS u1 \gset
SELECT cdp.resolve('anonymous_id:d1') AS d1 \gset
SET ROLE regress_session_reader;
SELECT count(*) AS hers, count(*) FILTER (WHERE profile_id = :u1) AS all FROM cdp.sessions;
SELECT count(*) FROM cdp.person_sessions(:u1);
SELECT count(*) FROM cdp.person_sessions(:d1);
SELECT state FROM cdp.session_rule;
SELECT * FROM cdp_data.session_part;
RESET ROLE;

--
-- Random histories against plain SQL over the events
--
\c regress_session
SET client_min_messages = warning;
SET timezone = 'UTC';
SET cdp.clock = '2026-04-02';
-- sessions as the events alone make them
CREATE FUNCTION utm(url text, word text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT nullif(replace(replace(replace(substring(url FROM '[?&]' || word || '=([^&#]*)'), '+', ' '), '%2F', '/'), '%26', '&'), '') $$;
CREATE VIEW naive AS
	WITH e AS (
		SELECT n.profile_id, e.ts, e.message_key, e.source,
			coalesce(nullif(CASE WHEN e.type = 'page' THEN coalesce(nullif(e.properties ->> 'path', ''), e.properties ->> 'url') END, ''),
				CASE WHEN e.type IN ('page', 'screen') THEN e.name END, e.context #>> '{page,path}', e.context #>> '{page,url}') AS page,
			CASE WHEN e.context #>> '{campaign,name}' IS NOT NULL OR e.context #>> '{campaign,medium}' IS NOT NULL THEN ARRAY[e.context #>> '{campaign,name}', NULL, e.context #>> '{campaign,medium}']
				WHEN e.type = 'page' AND num_nonnulls(utm(e.properties ->> 'url', 'utm_campaign'), utm(e.properties ->> 'url', 'utm_source')) > 0
				THEN ARRAY[utm(e.properties ->> 'url', 'utm_campaign'), utm(e.properties ->> 'url', 'utm_source'), NULL] END AS campaign,
			r.silence
		FROM cdp_data.event e JOIN cdp_data.node n USING (node_id) CROSS JOIN cdp_data.session_rule r
		WHERE e.type = ANY (r.events) OR e.type = 'track' AND e.name = ANY (r.events)),
	starts AS (SELECT *, ts - lag(ts) OVER w < silence IS NOT TRUE AS start FROM e WINDOW w AS (PARTITION BY profile_id ORDER BY ts, message_key)),
	numbered AS (SELECT *, count(*) FILTER (WHERE start) OVER (PARTITION BY profile_id ORDER BY ts, message_key) AS nr FROM starts)
	SELECT profile_id, (array_agg(message_key ORDER BY ts, message_key))[1] AS session_id, min(ts) AS started_at, max(ts) AS ended_at,
		current_setting('cdp.clock')::timestamptz < max(ts) + silence AS open, max(ts) - min(ts) AS dwell, count(*) AS events,
		(array_agg(page ORDER BY ts, message_key) FILTER (WHERE page IS NOT NULL))[1] AS first_page,
		(array_agg(page ORDER BY ts DESC, message_key DESC) FILTER (WHERE page IS NOT NULL))[1] AS last_page,
		(array_agg(campaign[1] ORDER BY ts, message_key) FILTER (WHERE campaign IS NOT NULL))[1] AS campaign,
		(array_agg(campaign[2] ORDER BY ts, message_key) FILTER (WHERE campaign IS NOT NULL))[1] AS campaign_source,
		(array_agg(campaign[3] ORDER BY ts, message_key) FILTER (WHERE campaign IS NOT NULL))[1] AS campaign_medium,
		(array_agg(source ORDER BY ts, message_key))[1] AS source
	FROM numbered GROUP BY profile_id, nr, silence;
SELECT cdp.define_segment('frequent', predicate => 'visits_day >= 2') > 0 AS defined, cdp.define_segment('seen', predicate => 'visits > 3 AND landing <> ''Home''') > 0 AS defined;
CREATE FUNCTION compare(OUT enough boolean, OUT differ bigint, OUT metrics_differ bigint, OUT members_differ bigint) LANGUAGE sql STABLE AS $$
	SELECT (SELECT count(*) > 50 AND count(*) FILTER (WHERE events > 1) > 10 FROM cdp.sessions),
		(SELECT count(*) FROM ((TABLE naive EXCEPT ALL TABLE cdp.sessions) UNION ALL (TABLE cdp.sessions EXCEPT ALL TABLE naive)) x),
		(SELECT count(*) FROM cdp.profiles p CROSS JOIN cdp_data.session_rule r CROSS JOIN LATERAL (
			SELECT count(*) AS visits, sum(extract(epoch FROM s.dwell))::float8 AS dwell, max(s.ended_at + r.silence) AS last_visit,
				(array_agg(s.first_page ORDER BY s.ended_at DESC, s.session_id DESC) FILTER (WHERE s.first_page IS NOT NULL))[1] AS landing,
				count(*) FILTER (WHERE s.ended_at + r.silence > current_setting('cdp.clock')::timestamptz - interval '1 day') AS visits_day
			FROM naive s WHERE s.profile_id = p.profile_id AND NOT s.open) n
		WHERE (p.visits, round(p.dwell::numeric, 6), p.last_visit, p.landing, p.visits_day)
			IS DISTINCT FROM (n.visits, round(n.dwell::numeric, 6), n.last_visit, n.landing, n.visits_day)),
		(SELECT count(*) FROM (SELECT p.profile_id, g.name FROM cdp.profiles p CROSS JOIN LATERAL (VALUES ('frequent', p.visits_day >= 2), ('seen', p.visits > 3 AND p.landing <> 'Home')) g (name, member) WHERE g.member) must
			FULL JOIN cdp.segment_members m ON m.profile_id = must.profile_id AND m.segment = must.name WHERE m.segment IS NULL OR must.name IS NULL)
$$;
CREATE FUNCTION message(i int, days float) RETURNS jsonb LANGUAGE sql VOLATILE AS $$
	SELECT jsonb_build_object('type', (ARRAY['page', 'page', 'track', 'screen', 'identify'])[1 + floor(random() * 5)::int], 'event', (ARRAY['Order', 'View'])[1 + floor(random() * 2)::int],
		'name', (ARRAY['Home', 'Cart', ''])[1 + floor(random() * 3)::int],
		'messageId', 'r' || floor(random() * i * 1.1)::int, 'timestamp', date_trunc(CASE WHEN random() < 0.3 THEN 'hour' ELSE 'minute' END, current_setting('cdp.clock')::timestamptz - days * random() * interval '1 day'),
		'context', jsonb_strip_nulls(jsonb_build_object('externalIds', (SELECT jsonb_agg(jsonb_build_object('type', 'user', 'id', (floor(random() * 12)::int)::text)) FROM generate_series(0, (random() < 0.04)::int)),
			'page', CASE WHEN random() < 0.3 THEN jsonb_build_object((ARRAY['path', 'url'])[1 + floor(random() * 2)::int], '/c' || floor(random() * 9)) END,
			'campaign', CASE WHEN random() < 0.1 THEN jsonb_build_object((ARRAY['name', 'medium'])[1 + floor(random() * 2)::int], 'c' || floor(random() * 9)) END)),
		'properties', CASE WHEN random() < 0.3 THEN '{}' WHEN random() < 0.5 THEN jsonb_build_object('path', (ARRAY['/p', '/q', ''])[1 + floor(random() * 3)::int])
			ELSE jsonb_build_object('url', 'https://x.y/z?' || (ARRAY['', 'utm_source=s', 'a=b&utm_campaign=a+b%2Fc&utm_source=t#x', 'utm_campaign=', 'xutm_source=q'])[1 + floor(random() * 5)::int]) END)
$$;
SELECT setseed(0.25) IS NOT NULL AS seeded;
DO $$
DECLARE
	m bigint;
BEGIN
	FOR i IN 1..400 LOOP
		PERFORM cdp.ingest(message(i, 3));
		IF i % 20 = 0 THEN
			SELECT x.merge_id INTO m FROM cdp.merges x WHERE x.undone_at IS NULL ORDER BY random() LIMIT 1;
			PERFORM cdp.unmerge(m) WHERE m IS NOT NULL;
		END IF;
	END LOOP;
END $$;
SELECT * FROM compare();
SELECT count(*) > 3 AS merged, count(undone_at) > 2 AS undone FROM cdp.merges;
SET cdp.clock = '2026-04-02 00:14:30';
SELECT * FROM compare();
SET cdp.clock = '2026-04-03 07:01:02.5';
SELECT * FROM compare();
DO $$
DECLARE
	m bigint;
BEGIN
	FOR i IN 1..20 LOOP
		PERFORM cdp.ingest((SELECT jsonb_agg(message(400 + i * 100, 9)) FROM generate_series(1, 100)));
		SELECT x.merge_id INTO m FROM cdp.merges x WHERE x.undone_at IS NULL ORDER BY random() LIMIT 1;
		PERFORM cdp.unmerge(m) WHERE m IS NOT NULL;
		BEGIN
			PERFORM cdp.merge('{user:' || i % 12 || ',user:' || i % 5 || '}', 'test') WHERE i % 7 = 0;
		EXCEPTION WHEN OTHERS THEN	-- parted for good
		END;
	END LOOP;
END $$;
SELECT * FROM compare();
SELECT segment, count(*) > 0 AS members FROM cdp.segment_members GROUP BY 1 ORDER BY 1;
SELECT count(*) > 10 AS joined FROM cdp.sessions s WHERE (SELECT count(*) FROM cdp_data.session_part p JOIN cdp_data.node n USING (node_id) WHERE n.profile_id = s.profile_id AND p.started_at BETWEEN s.started_at AND s.ended_at) > 1;
SELECT what, live, recomputed FROM cdp.verify();
-- another silence, other events: made anew, with messages between the steps
SELECT cdp.set_session('150 seconds', '{page,Order}');
SELECT count(*) AS none FROM cdp.sessions;
SELECT count(visits) AS none FROM cdp.profiles;
SELECT count(*) AS none FROM cdp.segment_members;
SELECT count(*) FROM cdp.ingest((SELECT jsonb_agg(message(6000, 9)) FROM generate_series(1, 200)));
SELECT cdp.maintain_step() FROM generate_series(1, 3);
SELECT count(*) FROM cdp.ingest((SELECT jsonb_agg(message(7000, 9)) FROM generate_series(1, 200)));
CALL cdp.maintain();
SELECT state FROM cdp.session_rule;
SELECT * FROM compare();
SELECT cdp.set_session('2 hours');
CALL cdp.maintain();
SELECT * FROM compare();
SELECT cdp.set_session();
CALL cdp.maintain();
-- what is taken from somebody stays hers; values that are nobody's
SELECT cdp.remove_identifier('user:3') > 0 AS removed;
SELECT count(*) FROM cdp.ingest((SELECT jsonb_agg(message(8000, 9)) FROM generate_series(1, 100)));
SELECT * FROM compare();
SELECT count(*) FROM cdp.ingest((SELECT jsonb_agg(jsonb_set(message(20000, 9), '{context,externalIds}', jsonb_build_array('{"type": "user", "id": "4"}'::jsonb, jsonb_build_object('type', 'user', 'id', (90 + i % 5)::text)))) FROM generate_series(1, 60) i));
SELECT cdp.define_namespace('user', max_per_profile => 2, blocked => '{4}');
SELECT cdp.apply_rules() > 0 AS task;
CALL cdp.maintain();
SELECT count(*) > 0 AS refiled FROM cdp_data.event WHERE blocked = '{user:4}';
SELECT * FROM compare();
-- damage is found, and made good
SELECT count(cdp.rebuild(profile_id)) >= 0 AS rebuilt FROM cdp.verify();
UPDATE cdp_data.session_part SET events = events + 1 WHERE ctid = (SELECT min(ctid) FROM cdp_data.session_part);
SELECT what FROM cdp.verify();
SELECT cdp.rebuild(profile_id) FROM cdp.verify();
SELECT count(*) FROM cdp.verify();
SELECT * FROM compare();
-- by statements, where the table is not as it was made
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER nothing BEFORE INSERT OR UPDATE ON cdp_data.session_part FOR EACH ROW EXECUTE FUNCTION nothing();
SELECT count(*) FROM (SELECT cdp.ingest(message(9000, 9)) FROM generate_series(1, 60)) x;
SELECT bool_or(reason = 'a trigger') AS detour FROM cdp.storage_paths() WHERE table_name = 'session_part';
SELECT * FROM compare();
-- a session whose first question is answered by a parallel plan
SELECT count(*) AS must FROM cdp.sessions \gset
\c regress_session
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET cdp.clock = '2026-04-03 07:01:02.5+00';
SELECT count(*) = :must AS same FROM cdp.sessions;
-- no more
SELECT count(cdp.drop_segment(name)) FROM cdp.segments;
SELECT count(cdp.drop_metric(name)) FROM cdp.metrics;
SELECT cdp.drop_session();
SELECT count(*) FROM cdp.sessions;
SELECT cdp.track('email:ada@x.y', 'Seen') > 0 AS taken;
SELECT count(*) FROM cdp_data.session_part;
DROP OWNED BY regress_session_reader;
DROP ROLE regress_session_reader;
