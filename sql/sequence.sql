-- Sequences: who did one thing and then not another; true on time without an
-- event, under late events and duplicates, merges and unmerges; definition on
-- existing data; then random histories against plain SQL over the events.
\set VERBOSITY terse
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_sequence;
CREATE DATABASE regress_sequence TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_sequence
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION cdp;
SELECT count(*) > 0 AS init FROM cdp.init();
SET cdp.clock = '2026-03-01';

SELECT cdp.define_sequence('asked', 'Asked', 'Bought', 'product', '7 days') > 0 AS defined, cdp.define_sequence('asked_of', 'Asked', 'Bought', 'product', '7 days', result => 'list') > 0 AS defined,
	cdp.define_sequence('asked_n', 'Asked', 'Bought', 'product', '7 days', holds => '1 day', result => 'count') > 0 AS defined,
	cdp.define_sequence('left_cart', 'Carted', 'Bought', period => '1 hour', did_filter => '{"total": {"$gte": 100}}', then_filter => '{"paid": true}') > 0 AS defined,
	cdp.define_sequence('away', 'page', 'page', period => '1 month') > 0 AS defined;
SELECT name, did, then_not, same, period, holds, result, type, state FROM cdp.sequences ORDER BY name;
SELECT col_description('cdp.profiles'::regclass, attnum) FROM pg_attribute WHERE attrelid = 'cdp.profiles'::regclass AND attname IN ('asked_n', 'left_cart') ORDER BY 1;

--
-- On time, and nothing is swept
--
SELECT cdp.track('email:ada@x.y', 'Asked', '{"product": "a"}', '2026-03-01') AS ada \gset
SELECT cdp.track('email:ada@x.y', 'Asked', '{"product": "b"}', '2026-03-01 10:00') > 0 AS taken;
SELECT cdp.track('email:ada@x.y', 'Bought', '{"product": "b"}', '2026-03-02') > 0 AS taken;
-- of nothing
SELECT cdp.track('email:ada@x.y', 'Asked', '{"product": null}', '2026-03-01 10:00') > 0 AS taken;
SET cdp.clock = '2026-03-07 23:59:59.999999';
SELECT asked, asked_of, asked_n FROM cdp.profiles WHERE profile_id = :ada;
SET cdp.clock = '2026-03-08';
SELECT asked, asked_of, asked_n FROM cdp.profiles WHERE profile_id = :ada;
SET cdp.clock = '2026-03-08 23:59:59.999999';
SELECT asked, asked_of, asked_n FROM cdp.profiles WHERE profile_id = :ada;
-- it held for a day
SET cdp.clock = '2026-03-09';
SELECT asked, asked_of, asked_n FROM cdp.profiles WHERE profile_id = :ada;
-- a late purchase within the period; the one before the question is none
SELECT cdp.track('email:ada@x.y', 'Bought', '{"product": "a"}', '2026-02-28') > 0 AS taken;
SELECT asked, asked_of, asked_n FROM cdp.profiles WHERE profile_id = :ada;
SELECT cdp.track('email:ada@x.y', 'Bought', '{"product": "a"}', '2026-03-05') > 0 AS taken;
SELECT asked, asked_of, asked_n FROM cdp.profiles WHERE profile_id = :ada;
-- asked again, and bought after the period: over when she buys
SELECT cdp.track('email:ada@x.y', 'Asked', '{"product": "a"}', '2026-03-06') > 0 AS taken;
SET cdp.clock = '2026-03-14';
SELECT asked, asked_of FROM cdp.profiles WHERE profile_id = :ada;
SELECT cdp.track('email:ada@x.y', 'Bought', '{"product": "a"}', '2026-03-13 12:00') > 0 AS taken;
SELECT asked, asked_of FROM cdp.profiles WHERE profile_id = :ada;
-- filters of both, without a property
SELECT cdp.track('email:bob@x.y', 'Carted', '{"total": 99}', '2026-03-13') AS bob, cdp.track('email:bob@x.y', 'Carted', '{"total": 100}', '2026-03-13') IS NOT NULL AS taken \gset
SELECT left_cart, asked, asked_of, asked_n FROM cdp.profiles WHERE profile_id = :bob;
SELECT cdp.track('email:bob@x.y', 'Bought', '{"paid": false}', '2026-03-13 00:30') > 0 AS taken;
SELECT left_cart FROM cdp.profiles WHERE profile_id = :bob;
SELECT cdp.track('email:bob@x.y', 'Bought', '{"paid": true}', '2026-03-13 00:30') > 0 AS taken;
SELECT left_cart FROM cdp.profiles WHERE profile_id = :bob;
-- one event may be both: nobody there for a month of the calendar
SELECT status FROM cdp.ingest('[{"type": "page", "userId": "u1", "messageId": "p1", "timestamp": "2026-01-31T12:00:00Z"}, {"type": "page", "userId": "u1", "messageId": "p2", "timestamp": "2026-02-13T12:00:00Z"}]');
SET cdp.clock = '2026-03-13 11:59:59.999999';
SELECT away FROM cdp.profiles WHERE profile_id = cdp.resolve('user_id:u1');
SET cdp.clock = '2026-03-13 12:00';
SELECT away FROM cdp.profiles WHERE profile_id = cdp.resolve('user_id:u1');
SET timezone = 'Pacific/Apia';
SET cdp.clock = '2026-03-13 11:59:59.999999+00';
SELECT away FROM cdp.profiles WHERE profile_id = cdp.resolve('user_id:u1');
SET timezone = 'UTC';

--
-- Merge and unmerge: who asked and who bought are one person, and are not
--
SET cdp.clock = '2026-04-01';
SELECT cdp.track('email:cat@x.y', 'Asked', '{"product": 7}', '2026-03-20') AS cat, cdp.track('email:cath@x.y', 'Bought', '{"product": "7"}', '2026-03-21') AS cath \gset
SELECT asked_of FROM cdp.profiles WHERE profile_id IN (:cat, :cath) ORDER BY profile_id;
SELECT cdp.merge('{email:cat@x.y,email:cath@x.y}', 'one person') AS merge \gset
SELECT asked, asked_of FROM cdp.profiles WHERE profile_id = :cat;
SELECT cdp.unmerge(:merge) > 0 AS parted;
SELECT asked_of FROM cdp.profiles WHERE profile_id IN (:cat, :cath) ORDER BY profile_id;

--
-- What cannot be defined
--
SELECT cdp.define_sequence('s', '', 'Bought');
SELECT cdp.define_sequence('s', 'Asked', NULL);
SELECT cdp.define_sequence('s', 'session_ended', 'Bought');
SELECT cdp.define_sequence('s', 'Asked', 'Bought', result => 'sum');
SELECT cdp.define_sequence('s', 'Asked', 'Bought', result => 'list');
SELECT cdp.define_sequence('s', 'Asked', 'Bought', 'a..b');
SELECT cdp.define_sequence('s', 'Asked', 'Bought', period => NULL);
SELECT cdp.define_sequence('s', 'Asked', 'Bought', period => '0');
SELECT cdp.define_sequence('s', 'Asked', 'Bought', holds => '-1 day');
SELECT cdp.define_sequence('s', 'Asked', 'Bought', did_filter => '{"a": {"$foo": 1}}');
SELECT cdp.define_sequence('s', 'Asked', 'Bought', did_filter => '{"a": 1}', then_filter => '{"a": {"$elemMatch": {"b": {"$regex": "[b"}}}}');
SELECT cdp.define_sequence('asked', 'Asked', 'Bought');
SELECT cdp.define_sequence('events', 'Asked', 'Bought');
SELECT cdp.define_metric('asked', 'Asked');
SELECT cdp.define_trait('asked');
SELECT cdp.define_metric('m', 'Asked') > 0 AS defined;
SELECT cdp.define_sequence('m', 'Asked', 'Bought');
SELECT cdp.drop_sequence('nothing');
SELECT cdp.sequence_boolean(:ada, (SELECT sequence_id FROM cdp_data.sequence WHERE name = 'asked_of'));
-- a dropped one leaves its column to the views that use it
CREATE VIEW uses AS SELECT asked, asked_n FROM cdp.profiles;
SELECT cdp.drop_sequence('asked');
SELECT count(*) > 0 AS people, count(asked) AS asked FROM uses;
SELECT cdp.define_metric('asked', 'Asked');
SELECT cdp.define_sequence('asked', 'Asked', 'Bought', period => '1 day') > 0 AS defined;
SELECT asked, state FROM cdp.profiles, cdp.sequences WHERE name = 'asked' AND profile_id = :ada;
SELECT target, state FROM cdp.tasks WHERE kind = 'sequence' AND state <> 'done';
CALL cdp.maintain();
SELECT asked, state FROM cdp.profiles, cdp.sequences WHERE name = 'asked' AND profile_id = :cat;

--
-- Only of whom one may see
--
CREATE ROLE regress_sequence_reader;
SELECT cdp.define_purpose('analytics') > 0 AS purpose;
SELECT cdp.provision('regress_sequence_reader', 'analyst');
SELECT cdp.permit('regress_sequence_reader', 'analytics');
SELECT cdp.set_consent('email:cat@x.y', 'analytics', 'granted', '2026-03-01') = :cat AS granted;
SELECT sequence_id AS id FROM cdp_data.sequence WHERE name = 'asked_of' \gset
SET ROLE regress_sequence_reader;
SELECT asked, asked_of FROM cdp.profiles;
SELECT cdp.sequence_text_array(:cat, :id) AS hers, cdp.sequence_text_array(:ada, :id) AS others;
SELECT count(*) > 0 AS sequences FROM cdp.sequences;
SELECT * FROM cdp_data.sequence_mark;
RESET ROLE;

--
-- Random histories against plain SQL over the events
--
\c regress_sequence
SET client_min_messages = warning;
SET timezone = 'UTC';
SET cdp.clock = '2026-04-02';
SELECT count(cdp.drop_sequence(name)) > 0 AS dropped FROM cdp.sequences;
-- what a sequence must say, from the events alone
CREATE FUNCTION naive(p bigint, s cdp_data.sequence) RETURNS jsonb LANGUAGE sql STABLE AS $$
	WITH e AS (
		SELECT e.ts, e.message_key, x.word, x.rule, e.properties, e.properties #>> string_to_array(s.same, '.') AS v, jsonb_typeof(e.properties #> string_to_array(s.same, '.')) AS t
		FROM cdp_data.event e JOIN cdp_data.node n USING (node_id)
		JOIN (VALUES ('did', s.did, s.did_filter), ('then', s.then_not, s.then_filter)) x (word, event, rule) ON CASE e.type WHEN 'track' THEN e.name ELSE e.type END = x.event
		WHERE n.profile_id = p AND (x.rule IS NULL OR cdp.matches(coalesce(e.properties, '{}'), x.rule)) AND (s.same IS NULL OR jsonb_typeof(e.properties #> string_to_array(s.same, '.')) IN ('string', 'number', 'boolean'))),
	u AS (
		SELECT d.v FROM e d WHERE d.word = 'did' AND NOT EXISTS (
			SELECT FROM e t WHERE t.word = 'then' AND t.v IS NOT DISTINCT FROM d.v AND (t.ts, t.message_key) > (d.ts, d.message_key))
		AND d.ts + s.period <= current_setting('cdp.clock')::timestamptz
		AND (s.holds IS NULL OR d.ts + s.period + s.holds > current_setting('cdp.clock')::timestamptz))
	SELECT CASE s.result WHEN 'boolean' THEN (SELECT to_jsonb(count(*) > 0) FROM u) WHEN 'count' THEN (SELECT to_jsonb(count(DISTINCT v)) FROM u)
		ELSE (SELECT jsonb_agg(v ORDER BY v COLLATE "C") FROM (SELECT DISTINCT v FROM u) d) END
$$;
SET check_function_bodies = off;
CREATE FUNCTION compare(OUT enough boolean, OUT differ bigint, OUT members_differ bigint) LANGUAGE sql STABLE AS $$
	SELECT count(*) FILTER (WHERE x.must NOT IN ('false', '0')) > 2 * count(DISTINCT p.profile_id) AND count(*) FILTER (WHERE x.must IN ('false', '0')) > 2 * count(DISTINCT p.profile_id),
		count(*) FILTER (WHERE nullif(to_jsonb(p) -> s.name, 'null') IS DISTINCT FROM x.must),
		(SELECT count(*) FROM (SELECT p.profile_id, g.name FROM cdp.profiles p CROSS JOIN LATERAL (VALUES ('asked', p.asked_boolean), ('short', p."again_boolean_4 days"),
				('many', p.asked_count >= 2 AND 'b' = ANY (p.asked_list)), ('new', (to_jsonb(p) ->> 'once_count')::int > 1)) g (name, member) WHERE g.member) must
			FULL JOIN cdp.segment_members m ON m.profile_id = must.profile_id AND m.segment = must.name WHERE m.segment IS NULL OR must.name IS NULL)
	FROM cdp.profiles p CROSS JOIN cdp_data.sequence s CROSS JOIN LATERAL (SELECT naive(p.profile_id, s) AS must OFFSET 0) x WHERE s.state = 'ready'
$$;
CREATE FUNCTION message(i int, days float) RETURNS jsonb LANGUAGE sql VOLATILE AS $$
	SELECT jsonb_build_object('type', CASE WHEN random() < 0.1 THEN 'page' ELSE 'track' END, 'event', (ARRAY['Asked', 'Asked', 'Bought', 'Other'])[1 + floor(random() * 4)::int],
		'messageId', 'r' || floor(random() * i * 1.1)::int, 'timestamp', date_trunc(CASE WHEN random() < 0.5 THEN 'day' ELSE 'minute' END, current_setting('cdp.clock')::timestamptz - days * random() * interval '1 day'),
		'context', jsonb_build_object('externalIds', (SELECT jsonb_agg(jsonb_build_object('type', 'user', 'id', (floor(random() * 12)::int)::text)) FROM generate_series(0, (random() < 0.04)::int))),
		'properties', jsonb_build_object('in', jsonb_build_object('p', (ARRAY['"a"', '"b"', '"c"', '"d"', '1', '"1"', 'true', 'null', '{}', '""', '"\u00e9"'])[1 + floor(random() * 11)::int]::jsonb), 'gift', random() < 0.5))
$$;
SELECT count(*) AS sequences FROM (SELECT cdp.define_sequence(concat_ws('_', n, r, h), d, t, s, w::interval, f, g, h::interval, r)
	FROM (VALUES ('asked', 'Asked', 'Bought', 'in.p', '5 days', NULL, NULL), ('gift', 'Asked', 'Bought', 'in.p', '12 hours', '{"gift": true}'::jsonb, '{"gift": false}'::jsonb),
		('again', 'Asked', 'Asked', 'in.p', '1 month', NULL, NULL), ('away', 'page', 'Other', NULL, '36 hours', NULL, NULL)) v (n, d, t, s, w, f, g)
	CROSS JOIN (VALUES ('boolean'), ('count'), ('list')) r (r) CROSS JOIN (VALUES (NULL), ('1 month'), ('4 days')) h (h) WHERE s IS NOT NULL OR r = 'boolean') x;
CALL cdp.maintain();
-- rules that look at them
SELECT cdp.define_segment('asked', predicate => 'asked_boolean') > 0 AS defined, cdp.define_segment('short', predicate => '"again_boolean_4 days"') > 0 AS defined,
	cdp.define_segment('many', predicate => 'asked_count >= 2 AND ''b'' = ANY (asked_list)') > 0 AS defined;
SELECT cdp.drop_sequence('asked_boolean');
SELECT setseed(0.5) IS NOT NULL AS seeded;
-- people come together and part, in single messages and batches, some late, some again
DO $$
DECLARE
	m bigint;
BEGIN
	FOR i IN 1..400 LOOP
		PERFORM cdp.ingest(message(i, 50));
		IF i % 20 = 0 THEN
			SELECT x.merge_id INTO m FROM cdp.merges x WHERE x.undone_at IS NULL ORDER BY random() LIMIT 1;
			PERFORM cdp.unmerge(m) WHERE m IS NOT NULL;
		END IF;
	END LOOP;
END $$;
SELECT * FROM compare();
SELECT count(*) > 3 AS merged, count(undone_at) > 2 AS undone FROM cdp.merges;
SET cdp.clock = '2026-04-02 11:01:02.5';
SELECT * FROM compare();
DO $$
DECLARE
	m bigint;
BEGIN
	FOR i IN 1..10 LOOP
		PERFORM cdp.ingest((SELECT jsonb_agg(message(400 + i * 50, 40)) FROM generate_series(1, 50)));
		SELECT x.merge_id INTO m FROM cdp.merges x WHERE x.undone_at IS NULL ORDER BY random() LIMIT 1;
		PERFORM cdp.unmerge(m) WHERE m IS NOT NULL;
		BEGIN
			PERFORM cdp.merge('{user:' || i % 12 || ',user:' || i % 5 || '}', 'test') WHERE i % 3 = 0;
		EXCEPTION WHEN OTHERS THEN	-- parted for good
		END;
	END LOOP;
END $$;
SELECT * FROM compare();
SELECT segment, count(*) > 0 AS members FROM cdp.segment_members GROUP BY 1 ORDER BY 1;
-- time goes by, in which spans begin and end at midnight; nothing is swept
CREATE FUNCTION compare_at(t timestamptz, OUT enough boolean, OUT differ bigint, OUT members_differ bigint) LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('cdp.clock', t::text, false); SELECT * INTO enough, differ, members_differ FROM compare(); END $$;
SELECT bool_and(enough) AS enough, sum(differ) AS differ, sum(members_differ) AS members_differ FROM generate_series(timestamptz '2026-04-03', '2026-04-06', '8 hours') t CROSS JOIN LATERAL compare_at(t);
-- nothing changes before it is due, though it may then stay
CREATE FUNCTION due_is_wrong(t timestamptz, OUT enough boolean, OUT wrong bigint) LANGUAGE plpgsql AS $$
DECLARE
	r record;
	was jsonb;
BEGIN
	wrong := 0;
	PERFORM set_config('cdp.clock', t::text, false);
	CREATE TEMP TABLE due ON COMMIT DROP AS SELECT p.profile_id, s.sequence_id, cdp.sequence_due(p.profile_id, s.sequence_id) AS due, naive(p.profile_id, s) AS must
		FROM cdp.profiles p CROSS JOIN cdp_data.sequence s;
	enough := (SELECT count(due) > 50 AND count(*) > count(due) FROM due);
	FOR r IN SELECT d.must, d.profile_id, d.due, s FROM due d JOIN cdp_data.sequence s USING (sequence_id) LOOP
		IF r.due <= t THEN
			wrong := wrong + 1;
		END IF;
		PERFORM set_config('cdp.clock', coalesce(r.due - interval '1 microsecond', t + interval '1 year')::text, false);
		IF naive(r.profile_id, r.s) IS DISTINCT FROM r.must THEN
			wrong := wrong + 1;
		END IF;
	END LOOP;
END $$;
SELECT * FROM due_is_wrong('2026-04-03 07:00');
SELECT * FROM due_is_wrong('2026-04-05');
SET cdp.clock = '2026-04-06';
SELECT what, live, recomputed FROM cdp.verify() WHERE what LIKE 'sequence%';
-- defined on what is there, with messages between its steps
SELECT count(cdp.drop_sequence(name)) AS dropped FROM cdp.sequences WHERE name LIKE 'gift%';
SELECT count(cdp.define_sequence('once_' || r, 'Asked', 'Bought', 'in.p', '2 days', result => r)) AS defined FROM (VALUES ('boolean'), ('count'), ('list')) r (r);
SELECT count(once_boolean) AS none FROM cdp.profiles;
SELECT cdp.define_segment('new', predicate => 'once_count > 1') > 0 AS defined;
SELECT count(*) FROM cdp.ingest((SELECT jsonb_agg(message(3000, 40)) FROM generate_series(1, 200)));
SELECT cdp.maintain_step() FROM generate_series(1, 3);
SELECT count(*) FROM cdp.ingest((SELECT jsonb_agg(message(4000, 40)) FROM generate_series(1, 200)));
CALL cdp.maintain();
SELECT count(*) FILTER (WHERE state <> 'ready') AS building FROM cdp.sequences;
SELECT * FROM compare();
-- marks of those that were dropped are gone
SELECT count(*) FROM cdp_data.sequence_mark m WHERE NOT EXISTS (SELECT FROM cdp_data.sequence s WHERE s.sequence_id = m.sequence_id);
-- what is taken from somebody stays hers; values that are nobody's
SELECT cdp.remove_identifier('user:3') > 0 AS removed;
SELECT count(*) FROM cdp.ingest((SELECT jsonb_agg(message(5000, 40)) FROM generate_series(1, 100)));
SELECT * FROM compare();
SELECT count(*) FROM cdp.ingest((SELECT jsonb_agg(jsonb_set(message(20000, 40), '{context,externalIds}', jsonb_build_array('{"type": "user", "id": "4"}'::jsonb, jsonb_build_object('type', 'user', 'id', (90 + i % 5)::text)))) FROM generate_series(1, 60) i));
SELECT cdp.define_namespace('user', max_per_profile => 2, blocked => '{4}');
SELECT cdp.apply_rules() > 0 AS task;
CALL cdp.maintain();
SELECT count(*) > 0 AS refiled FROM cdp_data.event WHERE blocked = '{user:4}';
SELECT * FROM compare();
-- damage is found, and made good
SELECT count(cdp.rebuild(profile_id)) >= 0 AS rebuilt FROM cdp.verify();
DELETE FROM cdp_data.sequence_mark m USING cdp_data.sequence s WHERE s.sequence_id = m.sequence_id AND s.name = 'once_list' AND m.ts = (SELECT max(x.ts) FROM cdp_data.sequence_mark x JOIN cdp_data.sequence y USING (sequence_id) WHERE y.name = 'once_list');
UPDATE cdp_data.sequence_mark m SET value = 'z' FROM cdp_data.sequence s WHERE s.sequence_id = m.sequence_id AND s.name = 'once_count' AND m.ts = (SELECT max(x.ts) FROM cdp_data.sequence_mark x JOIN cdp_data.sequence y USING (sequence_id) WHERE y.name = 'once_count');
SELECT DISTINCT what, live IS NULL AS gone FROM cdp.verify() ORDER BY 1;
SELECT bool_or(cdp.rebuild(profile_id)) AS rebuilt FROM cdp.verify();
SELECT count(*) FROM cdp.verify();
SELECT * FROM compare();
-- what is over is forgotten by maintain(), which nobody notices
SET cdp.clock = '2026-06-20';
SELECT differ, members_differ FROM compare();
SELECT count(*) AS before FROM cdp_data.sequence_mark \gset
SELECT done_rows AS done FROM cdp.tasks WHERE kind = 'sequence_tidy' \gset
CALL cdp.maintain();
SELECT count(*) < :before AS less FROM cdp_data.sequence_mark;
SELECT state, done_rows > :done AS done FROM cdp.tasks WHERE kind = 'sequence_tidy';
SELECT differ, members_differ FROM compare();
SELECT count(*) FROM cdp.ingest((SELECT jsonb_agg(message(6000, 90)) FROM generate_series(1, 200)));
SELECT differ, members_differ FROM compare();
SELECT what, live, recomputed FROM cdp.verify() WHERE what LIKE 'sequence%';
-- by statements, where the table is not as it was made
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER nothing BEFORE INSERT OR UPDATE ON cdp_data.sequence_mark FOR EACH ROW EXECUTE FUNCTION nothing();
SELECT count(*) FROM (SELECT cdp.ingest(message(9000, 40)) FROM generate_series(1, 30)) x;
SELECT bool_or(reason = 'a trigger') AS detour FROM cdp.storage_paths() WHERE table_name = 'sequence_mark';
SELECT differ, members_differ FROM compare();
-- a session whose first question is answered by a parallel plan
SELECT count(*) AS must FROM cdp.profiles WHERE asked_boolean \gset
\c regress_sequence
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET cdp.clock = '2026-06-20+00';
SELECT count(*) = :must AS same FROM cdp.profiles WHERE asked_boolean;
DROP OWNED BY regress_sequence_reader;
DROP ROLE regress_sequence_reader;
