-- Consent: purposes, roles, records; whom a role sees, on every path.
-- In a database of its own.
\set SHOW_CONTEXT never
\set main :DBNAME
CREATE DATABASE regress_cdp_consent TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_cdp_consent
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET client_min_messages = warning;
SET jit = off;
CREATE EXTENSION cdp;
CREATE ROLE regress_cdp_ana;
SELECT cdp.define_purpose('analytics');
SELECT cdp.permit('regress_cdp_ana', 'analytics');
SELECT cdp.set_consent('email:a@b.c', 'analytics', 'granted');
SELECT cdp.allowed(1), cdp.allowed_node(1), cdp.has_kind('analyst');
SELECT count(*) > 0 AS initialised FROM cdp.init();
-- people of any number of identifiers; rules are the matter of sql/rules.sql
SELECT cdp.define_namespace('*', max_per_profile => 0), cdp.define_namespace('user_id', max_per_profile => 0);
-- the present, until it is moved
SET cdp.clock = '2025-06-01 00:00Z';

--
-- Purposes and roles
--
SELECT count(cdp.define_purpose(p)) FROM unnest('{analytics,marketing,Empty}'::text[]) p;
SELECT cdp.define_purpose('analytics', 'Reports.') = cdp.define_purpose('analytics') AS same;
SELECT name, description FROM cdp.purposes ORDER BY name COLLATE "C";
SELECT cdp.define_purpose('a,b');
SELECT cdp.define_purpose('a b');
SELECT cdp.define_purpose('');
SELECT cdp.define_purpose(NULL);
SELECT cdp.permit('regress_cdp_ana', 'ANALYTICS');
SELECT cdp.permit('regress_cdp_ana', NULL);
SELECT cdp.permit(NULL, 'analytics');
SELECT cdp.permit('regress_cdp_nobody', 'analytics');
SELECT cdp.forbid('regress_cdp_ana', 'unknown');
SELECT cdp.provision('regress_cdp_ana', 'boss');

CREATE ROLE regress_cdp_mkt;
CREATE ROLE regress_cdp_both;
CREATE ROLE regress_cdp_none;
CREATE ROLE regress_cdp_bob;
CREATE ROLE regress_cdp_carl NOINHERIT;
CREATE ROLE regress_cdp_app;
CREATE ROLE regress_cdp_privacy;
CREATE ROLE regress_cdp_ingest;
SELECT cdp.permit('regress_cdp_ana', 'analytics'), cdp.permit('regress_cdp_mkt', 'marketing'), cdp.permit('regress_cdp_both', 'analytics'), cdp.permit('regress_cdp_both', 'marketing');
SELECT cdp.provision('regress_cdp_none', 'analyst'), cdp.provision('regress_cdp_app', 'app'), cdp.provision('regress_cdp_privacy', 'privacy'), cdp.provision('regress_cdp_ingest', 'ingest');
SELECT cdp.permit('regress_cdp_app', 'analytics');
GRANT regress_cdp_ana TO regress_cdp_bob;
GRANT regress_cdp_ana TO regress_cdp_carl;

SELECT count(cdp.define_trait(t)) FROM unnest('{nick,city}'::text[]) t;
SELECT count(cdp.identify('{email:' || n || '@x.y,cookie:' || n || '}', jsonb_build_object('nick', n), '2025-01-01')) FROM unnest('{ada,bea,cleo,dora,eva}'::text[]) n;
SELECT count(cdp.set_consent('email:' || n || '@x.y', p, s, '2025-01-02')) FROM (VALUES ('ada', 'analytics', 'granted'), ('ada', 'marketing', 'granted'),
	('bea', 'analytics', 'granted'), ('cleo', 'marketing', 'granted'), ('dora', 'analytics', 'denied')) v (n, p, s);

-- who sees whom; the query runs as the role
CREATE FUNCTION sees(role text, query text DEFAULT 'SELECT nick FROM cdp.profiles') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	PERFORM set_config('role', role, true);
	EXECUTE format('SELECT coalesce(string_agg(q::text, '' '' ORDER BY q::text COLLATE "C"), ''nobody'') FROM (%s) q', query) INTO result;
	PERFORM set_config('role', 'none', true);
	RETURN result;
END $$;
CREATE TABLE roles (role text);
INSERT INTO roles VALUES ('regress_cdp_ana'), ('regress_cdp_mkt'), ('regress_cdp_both'), ('regress_cdp_none'), ('regress_cdp_bob'), ('regress_cdp_app'), ('regress_cdp_privacy');
SELECT role, sees(role) FROM roles ORDER BY role COLLATE "C";
SELECT sees('regress_cdp_carl');
SELECT sees('regress_cdp_ingest');
-- a superuser is not held back
SELECT sees(current_user::text);

-- the setting narrows, and never widens
SET cdp.purpose = 'analytics';
SELECT sees('regress_cdp_both'), sees('regress_cdp_ana'), sees('regress_cdp_mkt');
SET cdp.purpose = 'marketing';
SELECT sees('regress_cdp_both'), sees('regress_cdp_ana'), sees('regress_cdp_mkt');
SELECT setting, sees('regress_cdp_both') AS both, sees('regress_cdp_ana') AS ana
FROM unnest(ARRAY['', ' ', ',', 'analytics,marketing', ' marketing , analytics ', 'analytics, unknown', 'unknown', 'Empty', 'ANALYTICS', '"analytics"', 'analytics marketing', E'\tanalytics', '*', '%']) setting,
	LATERAL (SELECT set_config('cdp.purpose', setting, true)) s;
SELECT set_config('cdp.purpose', '', false) = '' AS reset;
BEGIN;
SET LOCAL cdp.purpose = 'marketing';
SAVEPOINT s;
SET LOCAL cdp.purpose = 'analytics';
SELECT sees('regress_cdp_both');
ROLLBACK TO s;
SELECT sees('regress_cdp_both');
COMMIT;
SELECT sees('regress_cdp_both');
-- nothing else is a user's to set
SET ROLE regress_cdp_ana;
SET cdp.clock = '1999-01-01';
RESET cdp.clock;
SET cdp.superuser = on;
RESET ROLE;

-- the role is the one that runs
SET ROLE regress_cdp_ana;
PREPARE who AS SELECT nick FROM cdp.profiles ORDER BY nick COLLATE "C";
EXECUTE who;
SET ROLE regress_cdp_none;
EXECUTE who;
RESET ROLE;
SET ROLE regress_cdp_mkt;
EXECUTE who;
SET cdp.purpose = 'none of mine';
EXECUTE who;
RESET cdp.purpose;
SET plan_cache_mode = force_generic_plan;
EXECUTE who;
SET ROLE regress_cdp_none;
EXECUTE who;
RESET ROLE;
EXECUTE who;
SET ROLE regress_cdp_both;
EXECUTE who;
RESET ROLE;
RESET plan_cache_mode;
DEALLOCATE who;
SET SESSION AUTHORIZATION regress_cdp_ana;
SELECT nick FROM cdp.profiles ORDER BY nick COLLATE "C";
RESET SESSION AUTHORIZATION;
-- no inheritance: rights come with SET ROLE only
SET SESSION AUTHORIZATION regress_cdp_carl;
SELECT count(*) FROM cdp.profiles;
SET ROLE regress_cdp_ana;
SELECT count(*) FROM cdp.profiles;
RESET ROLE;
SELECT count(*) FROM cdp.profiles;
RESET SESSION AUTHORIZATION;
-- a cursor asks again for whoever fetches
BEGIN;
SET LOCAL ROLE regress_cdp_ana;
DECLARE c CURSOR FOR SELECT nick IS NOT NULL AS row FROM cdp.profiles;
FETCH 1 FROM c;
SET LOCAL ROLE regress_cdp_none;
FETCH ALL FROM c;
ROLLBACK;
BEGIN;
SET LOCAL ROLE regress_cdp_none;
DECLARE c CURSOR FOR SELECT nick FROM cdp.profiles ORDER BY nick COLLATE "C";
SET LOCAL ROLE regress_cdp_mkt;
FETCH ALL FROM c;
ROLLBACK;
-- SQL and PL/pgSQL functions that were planned for another role
CREATE FUNCTION how_many_sql() RETURNS bigint STABLE LANGUAGE sql AS 'SELECT count(*) FROM cdp.profiles';
CREATE FUNCTION how_many_plpgsql() RETURNS bigint STABLE LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM cdp.profiles); END';
SELECT how_many_sql(), how_many_plpgsql();
SET ROLE regress_cdp_both;
SELECT how_many_sql(), how_many_plpgsql();
SET ROLE regress_cdp_none;
SELECT how_many_sql(), how_many_plpgsql();
RESET ROLE;
-- a definer's function sees what the definer sees
CREATE FUNCTION how_many_definer() RETURNS bigint STABLE SECURITY DEFINER LANGUAGE sql SET search_path = pg_catalog, pg_temp AS 'SELECT count(*) FROM cdp.profiles';
ALTER FUNCTION how_many_definer() OWNER TO regress_cdp_both;
SET ROLE regress_cdp_ana;
SELECT how_many_definer();
RESET ROLE;
-- granted, revoked and permitted anew: the next statement knows
REVOKE regress_cdp_ana FROM regress_cdp_bob;
SELECT sees('regress_cdp_bob');
GRANT regress_cdp_ana TO regress_cdp_bob;
SELECT sees('regress_cdp_bob');
SELECT cdp.permit('regress_cdp_ana', 'marketing');
SELECT sees('regress_cdp_ana'), sees('regress_cdp_bob');
SELECT cdp.forbid('regress_cdp_ana', 'marketing');
SELECT sees('regress_cdp_ana'), sees('regress_cdp_bob');
SELECT cdp.permit('regress_cdp_ana', 'Empty');
SELECT sees('regress_cdp_ana');
SELECT cdp.forbid('regress_cdp_ana', 'Empty'), cdp.forbid('regress_cdp_ana', 'Empty');
-- more purposes than can be checked: nobody
BEGIN;
SELECT count(cdp.define_purpose('p' || n)), count(cdp.permit('regress_cdp_none', 'p' || n)) FROM generate_series(1, 32) n;
SELECT count(cdp.set_consent('email:ada@x.y', 'p' || n, 'granted')) FROM generate_series(1, 32) n;
SELECT sees('regress_cdp_none');
SELECT cdp.permit('regress_cdp_none', 'analytics');
SELECT sees('regress_cdp_none');
ROLLBACK;

--
-- Records
--
SELECT cdp.set_consent('email:ada@x.y', 'sales', 'granted');
SELECT cdp.set_consent('email:ada@x.y', 'analytics', 'yes');
SELECT cdp.set_consent('email:ada@x.y', 'analytics', 'GRANTED');
SELECT cdp.set_consent('email:ada@x.y', 'analytics', NULL);
SELECT cdp.set_consent('email:ada@x.y', NULL, 'granted');
SELECT cdp.set_consent(NULL::text, 'analytics', 'granted');
SELECT cdp.set_consent('nonsense', 'analytics', 'granted');
SELECT cdp.set_consent(9223372036854775807, 'analytics', 'granted');
-- every form of who; a repeated message counts once
SELECT cdp.set_consent('email:eva@x.y', 'analytics', 'granted', '2025-01-02', message_id => 'm1') = cdp.set_consent('email:eva@x.y', 'analytics', 'granted', '2025-01-02', message_id => 'm1') AS same;
SELECT cdp.set_consent('{email:eva@x.y,cookie:eva}'::cdp.identity_set, 'marketing', 'denied', '2025-01-03') = cdp.set_consent('{email:eva@x.y}'::text[], 'marketing', 'granted', '2025-01-04') AS same;
SELECT namespace, value, purpose, state, at FROM cdp.consent_log WHERE value LIKE 'eva%' ORDER BY at, namespace;
SELECT namespace, value, purpose, state, at, valid_until, source FROM cdp.consents WHERE value LIKE 'eva%' ORDER BY purpose, namespace;
-- a person who was never seen before can consent
SELECT cdp.set_consent('email:new@x.y', 'analytics', 'granted', '2025-01-02') IS NOT NULL AS known;
SELECT sees('regress_cdp_ana', 'SELECT value FROM cdp.identifiers WHERE value = ''new@x.y''');

--
-- The effective state: the most restrictive of the identifiers that have a record.
-- Two identifiers, each of six states, in every order of arrival, with older
-- records that come late.
--
CREATE TABLE states (s text, rank int);
INSERT INTO states SELECT s, o FROM unnest('{none,granted,denied,withdrawn,objected,restricted}'::text[]) WITH ORDINALITY u (s, o);
CREATE TABLE table_case AS
SELECT row_number() OVER (ORDER BY a.rank, b.rank, v, noise)::int AS n, a.s AS a, b.s AS b, v AS variant, noise
FROM states a, states b, unnest('{merge first,merge between,merge last,merge last swapped}'::text[]) v, unnest('{false,true}'::bool[]) noise;
CREATE PROCEDURE play(c table_case) LANGUAGE plpgsql AS $$
DECLARE
	x text := 'a:' || c.n;
	y text := 'b:' || c.n;
	step text;
BEGIN
	PERFORM cdp.track(x, 'Seen', at => '2025-01-01'), cdp.track(y, 'Seen', at => '2025-01-01');
	FOREACH step IN ARRAY CASE c.variant WHEN 'merge first' THEN '{m,x,y}' WHEN 'merge between' THEN '{x,m,y}' WHEN 'merge last' THEN '{x,y,m}' ELSE '{y,x,m}' END::text[] LOOP
		CASE step
			WHEN 'm' THEN
				PERFORM cdp.track(ARRAY[x, y], 'Signed In', at => '2025-01-02');
			WHEN 'x' THEN
				IF c.a <> 'none' THEN
					PERFORM cdp.set_consent(x, 'analytics', c.a, '2025-02-01');
				END IF;
			ELSE
				IF c.b <> 'none' THEN
					PERFORM cdp.set_consent(y, 'analytics', c.b, '2025-02-02');
				END IF;
		END CASE;
		IF c.noise THEN
			-- the opposite, but older
			IF c.a <> 'none' AND step <> 'y' THEN
				PERFORM cdp.set_consent(x, 'analytics', CASE c.a WHEN 'granted' THEN 'objected' ELSE 'granted' END, '2025-01-15');
			END IF;
			IF c.b <> 'none' AND step <> 'x' THEN
				PERFORM cdp.set_consent(y, 'analytics', CASE c.b WHEN 'granted' THEN 'denied' ELSE 'granted' END, '2025-01-16');
			END IF;
		END IF;
	END LOOP;
END $$;
DO $$
DECLARE
	c table_case;
BEGIN
	FOR c IN SELECT * FROM table_case ORDER BY n LOOP
		CALL play(c);
	END LOOP;
END $$;
SET ROLE regress_cdp_ana;
CREATE TEMP TABLE visible AS SELECT value FROM cdp.identifiers WHERE namespace = 'a';
CREATE TEMP TABLE visible_b AS SELECT value FROM cdp.identifiers WHERE namespace = 'b';
RESET ROLE;
SELECT a.rank || ' ' || a.s AS first, b.rank || ' ' || b.s AS second, CASE WHEN bool_and(v.value IS NOT NULL) THEN 'yes' WHEN bool_or(v.value IS NOT NULL) THEN 'MIXED' ELSE '-' END AS seen
FROM table_case c JOIN states a ON a.s = c.a JOIN states b ON b.s = c.b LEFT JOIN visible v ON v.value = c.n::text
GROUP BY a.rank, a.s, b.rank, b.s ORDER BY a.rank, b.rank \crosstabview first second seen
SELECT count(*) AS half_seen FROM (SELECT value FROM visible EXCEPT SELECT value FROM visible_b) x, (SELECT value FROM visible_b EXCEPT SELECT value FROM visible) y;
-- one identifier, again and again: the latest by event time holds
SELECT cdp.set_consent('one:1', 'analytics', 'withdrawn', '2025-03-03') IS NOT NULL AS recorded;
SELECT cdp.set_consent('one:1', 'analytics', 'granted', '2025-03-02') IS NOT NULL AS recorded;
SELECT sees('regress_cdp_ana', 'SELECT value FROM cdp.identifiers WHERE namespace = ''one''');
SELECT cdp.set_consent('one:1', 'analytics', 'granted', '2025-03-04') IS NOT NULL AS recorded;
SELECT sees('regress_cdp_ana', 'SELECT value FROM cdp.identifiers WHERE namespace = ''one''');
SELECT cdp.set_consent('one:1', 'analytics', 'objected', '2025-03-01') IS NOT NULL AS recorded;
SELECT sees('regress_cdp_ana', 'SELECT value FROM cdp.identifiers WHERE namespace = ''one''');
-- an identifier that comes later without a record neither grants nor blocks
SELECT cdp.track('{one:1,cookie:visitor}', 'Seen', at => '2025-03-05') IS NOT NULL AS tracked;
SELECT sees('regress_cdp_ana', 'SELECT namespace, value FROM cdp.identifiers WHERE namespace = ''one'' OR value = ''visitor''');
-- one with a refusal takes the rest with it, her events too
SELECT cdp.set_consent('cookie:refuser', 'analytics', 'denied', '2025-01-01') IS NOT NULL AS recorded;
SELECT cdp.track('{one:1,cookie:refuser}', 'Seen', at => '2025-03-05') IS NOT NULL AS tracked;
SELECT sees('regress_cdp_ana', 'SELECT namespace, value FROM cdp.identifiers WHERE namespace = ''one'' OR value IN (''visitor'', ''refuser'')');

--
-- Time
--
SELECT cdp.set_consent('t:1', 'analytics', 'granted', '2025-01-01', '2025-07-01') IS NOT NULL AS recorded;
SELECT cdp.set_consent('{t:2,u:2}', 'analytics', 'granted', '2025-01-01', '2025-08-01') IS NOT NULL AS recorded;
SELECT cdp.set_consent('u:2', 'analytics', 'granted', '2025-01-02', '2025-07-15') IS NOT NULL AS recorded;
SELECT cdp.set_consent('t:3', 'analytics', 'granted', '2025-01-01', '2025-05-31') IS NOT NULL AS recorded;
SELECT cdp.set_consent('t:4', 'analytics', 'denied', '2025-01-01', '2025-07-01') IS NOT NULL AS recorded;
\set timed 'SELECT value FROM cdp.identifiers WHERE namespace = ''t'''
SELECT sees('regress_cdp_ana', :'timed');
SET cdp.clock = '2025-06-30 23:59:59.999999Z';
SELECT sees('regress_cdp_ana', :'timed');
SET cdp.clock = '2025-07-01 00:00Z';
SELECT sees('regress_cdp_ana', :'timed');
SET cdp.clock = '2025-07-15 00:00Z';
SELECT sees('regress_cdp_ana', :'timed');
-- renewed
SELECT cdp.set_consent('t:1', 'analytics', 'granted', '2025-07-10', '2025-09-01') IS NOT NULL AS recorded;
SELECT sees('regress_cdp_ana', :'timed');
SELECT cdp.set_consent('t:1', 'analytics', 'granted', '2025-07-11') IS NOT NULL AS recorded;
SET cdp.clock = '2100-01-01';
SELECT sees('regress_cdp_ana', :'timed');
SET cdp.clock = 'nonsense';
SELECT sees('regress_cdp_ana', :'timed');
SET cdp.clock = '2025-06-01 00:00Z';

--
-- A withdrawal holds for the next statement, in PL/pgSQL too
--
SELECT p.ord, e.node_id AS node FROM cdp_data.profile p JOIN cdp.events e USING (profile_id) WHERE p.nick = 'bea' \gset
SELECT set_config('test.ord', :'ord', false) = :'ord' AS ord, set_config('test.node', :'node', false) = :'node' AS node;
SET ROLE regress_cdp_app;
DO $$
DECLARE
	ord int := current_setting('test.ord');
	node bigint := current_setting('test.node');
	answers text := '';
	r record;
BEGIN
	FOR i IN 1..6 LOOP
		PERFORM cdp.set_consent('email:bea@x.y', 'analytics', CASE i % 2 WHEN 0 THEN 'granted' ELSE 'withdrawn' END, '2025-05-01'::timestamptz + i * interval '1 hour');
		IF cdp.allowed(ord) THEN answers := answers || 'allowed '; ELSE answers := answers || 'not '; END IF;
		IF cdp.allowed_node(node) THEN answers := answers || 'allowed '; ELSE answers := answers || 'not '; END IF;
		answers := answers || (SELECT count(*) FROM cdp.profiles WHERE nick = 'bea') || ' ' || (SELECT count(*) FROM cdp.events WHERE node_id = node) || ' ' || coalesce(cdp.resolve('email:bea@x.y') > 0, false) || '; ';
	END LOOP;
	RAISE WARNING '%', answers;
	-- asked so often that the answers come from memory
	PERFORM cdp.set_consent('email:bea@x.y', 'analytics', 'granted', '2025-05-01 12:00Z');
	answers := '';
	FOR i IN 1..400 LOOP
		IF i IN (200, 300) THEN
			PERFORM cdp.set_consent('email:bea@x.y', 'analytics', CASE i WHEN 200 THEN 'withdrawn' ELSE 'granted' END, '2025-05-01 12:00Z'::timestamptz + i * interval '1 minute');
		END IF;
		IF cdp.allowed(ord) AND cdp.allowed_node(node) THEN
			answers := answers || '+';
		ELSE
			answers := answers || '-';
		END IF;
	END LOOP;
	RAISE WARNING 'as one expects: %', answers = repeat('+', 199) || repeat('-', 100) || repeat('+', 101);
	-- a loop over a query keeps the query's snapshot; a test within it does not
	answers := '';
	FOR r IN SELECT nick FROM cdp.profiles WHERE nick IN ('ada', 'bea') ORDER BY nick LOOP
		PERFORM cdp.set_consent('email:bea@x.y', 'analytics', 'withdrawn', '2025-05-02');
		answers := answers || r.nick || ' ' || cdp.allowed(ord) || ' ';
	END LOOP;
	RAISE WARNING '%', answers;
END $$;
SELECT string_agg(nick, ' ' ORDER BY nick) AS people FROM cdp.profiles;
BEGIN;
SELECT cdp.set_consent('email:bea@x.y', 'analytics', 'granted', '2025-05-03') IS NOT NULL AS recorded;
SELECT string_agg(nick, ' ' ORDER BY nick) AS people FROM cdp.profiles;
ROLLBACK;
SELECT string_agg(nick, ' ' ORDER BY nick) AS people FROM cdp.profiles;
SELECT cdp.allowed(-1), cdp.allowed(2147483647), cdp.allowed(NULL), cdp.allowed_node(-1), cdp.allowed_node(9223372036854775807), cdp.allowed_node(NULL);
SELECT cdp.has_kind('app'), cdp.has_kind('analyst'), cdp.has_kind('privacy'), cdp.has_kind('nonsense'), cdp.has_kind(NULL);
RESET ROLE;

--
-- Three thousand people: what each role sees in each view is what a
-- recomputation from the log of consents says.
--
SELECT cdp.define_segment('even', 'city = ''Even''') > 0 AS defined, cdp.define_segment('active', 'events > 1') > 0 AS defined;
SELECT cdp.define_activation('even', 'email', 'marketing') > 0 AS activated;
SELECT count(*) FROM generate_series(1, 3000, 500) b, cdp.ingest((SELECT jsonb_agg(jsonb_build_object('type', 'identify', 'userId', n, 'anonymousId', 'v' || n, 'messageId', 'i' || n, 'timestamp', '2025-01-01T00:00:00Z',
	'traits', jsonb_build_object('nick', 'n' || n, 'city', CASE WHEN n % 2 = 0 THEN 'Even' ELSE 'Odd' END))) FROM generate_series(b, b + 499) n), 'bulk') WHERE status = 'accepted';
SELECT count(*) FROM cdp.ingest((SELECT jsonb_agg(jsonb_build_object('type', 'track', 'event', 'Seen', 'userId', n, 'anonymousId', CASE WHEN n % 10 = 0 THEN 'v' || n + 1 END, 'messageId', 't' || n, 'timestamp', '2025-01-02T00:00:00Z')) FROM generate_series(1, 2999, 3) n), 'bulk') WHERE status = 'accepted';
SELECT count(cdp.set_consent((CASE WHEN n % 7 = 0 THEN 'anonymous_id:v' ELSE 'user_id:' END) || n, CASE WHEN n % 5 < 3 THEN 'analytics' ELSE 'marketing' END, s.s, '2025-02-01'::timestamptz + n * interval '1 minute',
	CASE n % 11 WHEN 0 THEN '2025-05-01'::timestamptz WHEN 1 THEN '2025-07-01' END))
FROM generate_series(1, 3000) n JOIN states s ON s.rank = CASE WHEN n % 4 = 0 THEN 3 + n % 3 ELSE 2 END;
SELECT count(cdp.set_jurisdiction('user_id:' || n, 'eu', '2025-01-01')) FROM generate_series(1, 3000, 9) n;
SELECT count(cdp.set_consent('user_id:' || n, 'marketing', CASE n % 9 WHEN 0 THEN 'restricted' ELSE 'granted' END, '2025-03-01')) FROM generate_series(1, 3000, 2) n;

CREATE VIEW effective AS
SELECT profile_id, purpose FROM (
	SELECT DISTINCT ON (c.node_id, c.purpose_id) n.profile_id, p.name AS purpose, c.state, c.valid_until
	FROM cdp_data.consent_log c JOIN cdp_data.node n USING (node_id) JOIN cdp_data.purpose p USING (purpose_id)
	ORDER BY c.node_id, c.purpose_id, c.ts DESC, c.message_key DESC) x
GROUP BY profile_id, purpose HAVING bool_and(state = 'granted' AND valid_until > coalesce(nullif(current_setting('cdp.clock'), '')::timestamptz, statement_timestamp()));
CREATE TABLE grants (role text, purposes text[]);
INSERT INTO grants VALUES ('regress_cdp_ana', '{analytics}'), ('regress_cdp_mkt', '{marketing}'), ('regress_cdp_both', '{analytics,marketing}'), ('regress_cdp_none', '{Empty}'), ('regress_cdp_bob', '{analytics}');
CREATE FUNCTION may_see(role text) RETURNS SETOF bigint LANGUAGE sql STABLE AS $$
	SELECT e.profile_id FROM effective e JOIN grants g ON e.purpose = ANY (g.purposes) WHERE g.role = $1 GROUP BY e.profile_id, g.purposes HAVING count(*) = cardinality(g.purposes)
$$;
CREATE FUNCTION compare(role text, view text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hidden bigint;
	leaked bigint;
	n bigint;
BEGIN
	DROP TABLE IF EXISTS pg_temp.seen, pg_temp.should;
	PERFORM set_config('role', role, true);
	EXECUTE format('CREATE TEMP TABLE seen AS SELECT * FROM cdp.%I', view);
	PERFORM set_config('role', 'none', true);
	EXECUTE format('CREATE TEMP TABLE should AS SELECT * FROM cdp.%I WHERE profile_id IN (SELECT may_see(%L))', view, role);
	SELECT count(*) INTO hidden FROM (SELECT * FROM should EXCEPT ALL SELECT * FROM seen) x;
	SELECT count(*) INTO leaked FROM (SELECT * FROM seen EXCEPT ALL SELECT * FROM should) x;
	SELECT count(*) INTO n FROM seen;
	DROP TABLE seen, should;
	RETURN CASE WHEN hidden + leaked > 0 THEN format('%s HIDDEN, %s LEAKED', hidden, leaked) WHEN n = 0 THEN 'none' WHEN n > 64 THEN 'right, many' ELSE 'right, few' END;
END $$;
CREATE TABLE views (view text);
SELECT cdp.set_session(events => '{track,identify,page,screen}');
CALL cdp.maintain();
INSERT INTO views VALUES ('profiles'), ('events'), ('sessions'), ('identifiers'), ('segment_members'), ('consents'), ('consent_log'), ('withdrawals'), ('jurisdictions'), ('outbox'), ('merged_profiles'), ('identity_edges'), ('identity_conflicts'), ('segment_history');
SELECT v.view, g.role, compare(g.role, v.view) FROM views v, grants g ORDER BY v.view, g.role \crosstabview view role
-- every view of the interface that names people is in that list; imported_identifiers is for kind privacy, and
-- scores of affinities fade from one statement to the next: see dimension.sql; flags are those of consent_model.sql
SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = 'cdp'::regnamespace AND a.attname IN ('profile_id', 'node_id', 'ord', 'value') AND c.relname NOT IN (SELECT view FROM views UNION VALUES ('identity_history'), ('imported_identifiers'), ('affinities'), ('consent_flags')) ORDER BY 1;
-- the history has old ids: whose identifier it is now decides, and an id that is nobody's she may see is not shown
SET ROLE regress_cdp_both;
CREATE TEMP TABLE history AS SELECT * FROM cdp.identity_history;
RESET ROLE;
SELECT count(*) > 64 AS many, count(*) FILTER (WHERE i.profile_id NOT IN (SELECT may_see('regress_cdp_both'))) AS leaked
FROM history h LEFT JOIN cdp.identifiers i ON i.namespace || ':' || i.value = h.identifier;
SELECT count(*) AS hidden FROM cdp.identifiers i WHERE i.profile_id IN (SELECT may_see('regress_cdp_both')) AND i.namespace || ':' || i.value NOT IN (SELECT identifier FROM history WHERE until IS NULL);
DROP TABLE history;
-- with statistics, with an index only, in parallel, narrowed, at another time
ANALYZE cdp_data.consent_ord, cdp_data.consent_node, cdp_data.profile, cdp_data.node, cdp_data.identifier;
SELECT v.view, g.role, compare(g.role, v.view) FROM views v, grants g ORDER BY v.view, g.role \crosstabview view role
SET enable_seqscan = off;
SELECT v.view, g.role, compare(g.role, v.view) FROM views v, grants g WHERE g.role IN ('regress_cdp_ana', 'regress_cdp_both') ORDER BY v.view, g.role \crosstabview view role
RESET enable_seqscan;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SELECT v.view, g.role, compare(g.role, v.view) FROM views v, grants g WHERE g.role IN ('regress_cdp_ana', 'regress_cdp_both') ORDER BY v.view, g.role \crosstabview view role
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
SET cdp.clock = '2025-07-02 00:00Z';
SELECT v.view, g.role, compare(g.role, v.view) FROM views v, grants g WHERE g.role IN ('regress_cdp_ana', 'regress_cdp_both') ORDER BY v.view, g.role \crosstabview view role
SET cdp.clock = '2025-06-01 00:00Z';

-- functions obey as the views do
SELECT g.role, sees(g.role, 'SELECT cdp.segment_count(''even'')') = '(' || (SELECT count(*) FROM cdp.segment_members m WHERE m.segment = 'even' AND m.profile_id IN (SELECT may_see(g.role))) || ')' AS count,
	sees(g.role, 'SELECT cdp.segment_count(''!even'')') = '(' || (SELECT count(*) FROM cdp.profiles p WHERE NOT p.segments @> '{even}' AND p.profile_id IN (SELECT may_see(g.role))) || ')' AS count_not,
	sees(g.role, 'SELECT profile_id FROM cdp.members(''even & active'')') = (SELECT coalesce(string_agg('(' || profile_id || ')', ' ' ORDER BY '(' || profile_id || ')' COLLATE "C"), 'nobody') FROM cdp.profiles WHERE segments @> '{even,active}' AND profile_id IN (SELECT may_see(g.role))) AS members,
	sees(g.role, 'SELECT members FROM cdp.segments WHERE name = ''active''') = '(' || (SELECT count(*) FROM cdp.segment_members m WHERE m.segment = 'active' AND m.profile_id IN (SELECT may_see(g.role))) || ')' AS in_view
FROM grants g ORDER BY role COLLATE "C";
CREATE VIEW everybody AS SELECT value, profile_id FROM cdp.identifiers WHERE namespace = 'user_id' AND value ~ '^[0-9]+$';
SELECT string_agg(value, ',') AS numbers FROM everybody \gset
SELECT g.role, sees(g.role, format('SELECT count(cdp.resolve(''user_id:'' || v)) FROM unnest(''{%s}''::text[]) v', :'numbers')) = '(' || (SELECT count(*) FROM everybody WHERE profile_id IN (SELECT may_see(g.role))) || ')' AS resolve,
	sees(g.role, format('SELECT count(cdp.resolve(v)) FROM generate_series(1, %s) v', (SELECT max(profile_id) FROM cdp.profiles))) = '(' || (SELECT count(*) FROM may_see(g.role)) + (SELECT count(*) FROM cdp.merged_profiles WHERE profile_id IN (SELECT may_see(g.role))) || ')' AS resolve_id
FROM grants g WHERE role <> 'regress_cdp_none' ORDER BY role COLLATE "C";
SELECT sees('regress_cdp_none', 'SELECT cdp.resolve(''user_id:1'') IS NULL AND cdp.resolve(1) IS NULL AND cdp.resolve(''{user_id:1}''::text[]) IS NULL AND cdp.resolve(''user_id:1''::cdp.identity_set) IS NULL');

-- any query over the views answers as over copies of what may be seen
CREATE SCHEMA copy;
DO $$
DECLARE
	v text;
BEGIN
	FOR v IN SELECT view FROM views LOOP
		EXECUTE format('CREATE TABLE copy.%I AS SELECT * FROM cdp.%I WHERE profile_id IN (SELECT may_see(''regress_cdp_both''))', v, v);
	END LOOP;
END $$;
CREATE TABLE queries (n serial, query text);
INSERT INTO queries (query) VALUES
	('SELECT count(*) FROM @profiles'),
	('SELECT count(*), count(DISTINCT city), min(nick), max(nick) FROM @profiles'),
	('SELECT city, count(*), sum(events) FROM @profiles GROUP BY city'),
	('SELECT city, events, count(*) FROM @profiles GROUP BY CUBE (city, events)'),
	('SELECT city FROM @profiles GROUP BY city HAVING count(*) > 1000'),
	('SELECT DISTINCT city, segments FROM @profiles'),
	('SELECT nick FROM @profiles WHERE nick IN (''n1'', ''n2'', ''n3'', ''n4'', ''n5'', ''n6'', ''n7'', ''n8'', ''n9'')'),
	('SELECT nick FROM @profiles WHERE nick LIKE ''n1%'' ORDER BY profile_id LIMIT 20'),
	('SELECT count(*) FROM @events e JOIN @profiles p USING (profile_id)'),
	('SELECT p.city, e.name, count(*) FROM @profiles p LEFT JOIN @events e USING (profile_id) GROUP BY 1, 2'),
	('SELECT count(*), count(p.profile_id), count(e.profile_id) FROM @profiles p FULL JOIN (SELECT * FROM @events WHERE name = ''Seen'') e USING (profile_id)'),
	('SELECT count(*) FROM @profiles p WHERE EXISTS (SELECT FROM @events e WHERE e.profile_id = p.profile_id AND e.name = ''Seen'')'),
	('SELECT count(*) FROM @profiles p WHERE NOT EXISTS (SELECT FROM @events e WHERE e.profile_id = p.profile_id AND e.name = ''Seen'')'),
	('SELECT count(*) FROM @identifiers i WHERE profile_id NOT IN (SELECT profile_id FROM @events WHERE name = ''Seen'')'),
	('SELECT EXISTS (SELECT FROM @profiles WHERE nick = ''n4''), EXISTS (SELECT FROM @profiles WHERE nick = ''n1'')'),
	('SELECT (SELECT count(*) FROM @events e WHERE e.profile_id = p.profile_id), nick FROM @profiles p WHERE nick < ''n2'''),
	('SELECT nick, row_number() OVER (PARTITION BY city ORDER BY nick COLLATE "C"), count(*) OVER () FROM @profiles'),
	('SELECT profile_id, lag(ts) OVER (PARTITION BY profile_id ORDER BY ts, message_id) FROM @events'),
	('WITH e AS MATERIALIZED (SELECT profile_id, count(*) AS n FROM @events GROUP BY 1) SELECT n, count(*) FROM e GROUP BY n'),
	('WITH RECURSIVE r (id, n) AS (SELECT min(profile_id), 1 FROM @profiles UNION ALL SELECT (SELECT min(profile_id) FROM @profiles WHERE profile_id > r.id), n + 1 FROM r WHERE n < 50) SELECT * FROM r'),
	('SELECT profile_id FROM @profiles EXCEPT SELECT profile_id FROM @events WHERE name = ''Seen'''),
	('SELECT profile_id FROM @profiles INTERSECT SELECT profile_id FROM @segment_members WHERE segment = ''even'''),
	('SELECT profile_id, ''p'' FROM @profiles UNION ALL SELECT profile_id, ''c'' FROM @consents'),
	('SELECT p.nick, x.* FROM @profiles p, LATERAL (SELECT namespace, value FROM @identifiers i WHERE i.profile_id = p.profile_id ORDER BY 1, 2 LIMIT 1) x WHERE p.city = ''Odd'''),
	('SELECT a.value, b.value FROM @identifiers a JOIN @identifiers b USING (profile_id) WHERE a.namespace = ''user_id'' AND b.namespace = ''anonymous_id'''),
	('SELECT purpose, state, count(*) FROM @consents GROUP BY 1, 2'),
	('SELECT purpose, state, count(DISTINCT profile_id) FROM @consent_log GROUP BY 1, 2'),
	('SELECT channel, state, count(*) FROM @outbox GROUP BY 1, 2'),
	('SELECT count(*), min(old_id) FROM @merged_profiles'),
	('SELECT segment, count(*) FROM @segment_members GROUP BY 1'),
	('SELECT s, count(*) FROM @profiles, unnest(segments) s GROUP BY 1'),
	('SELECT count(*) FROM @profiles WHERE identifiers @> ''{"user_id": ["4"]}'''),
	('SELECT k, count(*) FROM @profiles, jsonb_object_keys(identifiers) k GROUP BY 1'),
	('SELECT jsonb_agg(nick ORDER BY nick) FROM @profiles WHERE events > 1'),
	('SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY events), mode() WITHIN GROUP (ORDER BY city) FROM @profiles'),
	('SELECT p.nick FROM @profiles p WHERE (SELECT max(e.ts) FROM @events e WHERE e.profile_id = p.profile_id) > ''2025-01-01 12:00Z'''),
	('SELECT message_id FROM @events WHERE ts BETWEEN ''2025-01-02 00:00Z'' AND ''2025-01-03 00:00Z'''),
	('SELECT message_id FROM @events WHERE received_at > ''2000-01-01'' AND type = ''track'' AND properties IS NOT NULL'),
	('SELECT nick FROM @profiles WHERE nick = ''n1'' AND 1 / (CASE WHEN nick = ''n4'' THEN 0 ELSE 1 END) = 1');
CREATE FUNCTION answer(role text, query text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN sees(role, query);
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
SELECT q.n, q.query, left(answer('regress_cdp_both', replace(q.query, '@', 'cdp.')), 40) AS by_policy, left(answer(current_user::text, replace(q.query, '@', 'copy.')), 40) AS by_copy
FROM queries q WHERE answer('regress_cdp_both', replace(q.query, '@', 'cdp.')) IS DISTINCT FROM answer(current_user::text, replace(q.query, '@', 'copy.')) ORDER BY n;
SELECT count(*), count(*) FILTER (WHERE answer('regress_cdp_both', replace(query, '@', 'cdp.')) IN ('nobody', '(0)')) AS empty FROM queries;

-- views upon views, of the role itself and of another; COPY
GRANT CREATE ON SCHEMA public TO regress_cdp_ana;
SET ROLE regress_cdp_ana;
CREATE VIEW mine AS SELECT nick FROM cdp.profiles WHERE nick IN ('ada', 'bea', 'cleo');
CREATE VIEW mine_again AS SELECT nick AS n FROM mine;
GRANT SELECT ON mine, mine_again TO regress_cdp_none;
SELECT * FROM mine_again ORDER BY 1;
COPY (SELECT * FROM mine ORDER BY 1) TO STDOUT;
COPY cdp.profiles TO STDOUT;
COPY (SELECT nick FROM cdp.profiles WHERE nick IN ('ada', 'cleo', 'dora')) TO STDOUT;
SET ROLE regress_cdp_none;
SELECT * FROM mine_again ORDER BY 1;
RESET ROLE;
DROP VIEW mine_again, mine;
-- row_security = off is an error, not a way in
SET ROLE regress_cdp_ana;
SET row_security = off;
SELECT count(*) FROM cdp.merged_profiles;
RESET row_security;
-- a condition that tells what it saw is asked about visible people only
CREATE FUNCTION pg_temp.tell(nick text) RETURNS boolean COST 0.0000001 LANGUAGE plpgsql AS 'BEGIN RAISE WARNING ''saw %'', nick; RETURN true; END';
SELECT nick FROM cdp.profiles WHERE pg_temp.tell(nick) AND nick IN ('ada', 'bea', 'cleo', 'dora') ORDER BY nick;
-- no writing through the views
INSERT INTO cdp.merged_profiles VALUES (1, 2);
UPDATE cdp.profiles SET nick = 'x';
DELETE FROM cdp.events;
-- storage is out of reach
SELECT * FROM cdp_data.profile;
SELECT * FROM cdp_data.consent_ord;
TABLE cdp_data.event;
DO $$
DECLARE
	tbl text;
	n int := 0;
	open text := '';
BEGIN
	FOR tbl IN SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace WHERE s.nspname = 'cdp_data' AND c.relkind IN ('r', 'p', 'v', 'S') LOOP
		BEGIN
			EXECUTE 'SELECT * FROM ' || tbl || ' LIMIT 1';
			open := open || tbl || ' ';
		EXCEPTION WHEN insufficient_privilege THEN
			n := n + 1;
		END;
	END LOOP;
	RAISE WARNING 'open: [%], partitions and others closed: %', open, n > 20;
END $$;
EXPLAIN (COSTS OFF) SELECT count(profile_id) FROM cdp.profiles;
RESET ROLE;
-- every table that names people is guarded, every partition as well
SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'cdp_data'::regnamespace AND c.relkind IN ('r', 'p') AND NOT (c.relrowsecurity AND c.relforcerowsecurity) ORDER BY relname COLLATE "C";
SELECT count(*) > 1 AS partitions, bool_and(c.relrowsecurity AND c.relforcerowsecurity AND (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid) = 2) AS guarded
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'cdp_data.event'::regclass;
SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'cdp'::regnamespace AND c.relkind = 'v' AND NOT coalesce('security_invoker=true' = ANY (c.reloptions), false);

--
-- Other kinds
--
SELECT cdp.identify('email:ada@x.y', '{"": 1}', '2025-01-01', 'fine') IS NOT NULL AS fine;
SELECT cdp.define_trait('size', 'int');
SELECT cdp.identify('email:ada@x.y', '{"size": "large"}', '2025-01-01', 'misfit') IS NOT NULL AS taken;
SELECT role, answer(role, 'SELECT count(*) FROM cdp.rejected') AS rejected, answer(role, 'SELECT count(*) > 0 FROM cdp.consents') AS consents
FROM (SELECT role FROM roles UNION SELECT 'regress_cdp_ingest') r ORDER BY role COLLATE "C";
-- privacy officers see every consent, and people only as these allow
SELECT sees('regress_cdp_privacy', 'SELECT count(*) FROM cdp.consents') = '(' || (SELECT count(*) FROM cdp.consents) || ')' AS every_consent,
	sees('regress_cdp_privacy', 'SELECT count(*) FROM cdp.consent_log') = '(' || (SELECT count(*) FROM cdp.consent_log) || ')' AS every_record,
	sees('regress_cdp_privacy') AS people, sees('regress_cdp_privacy', 'SELECT count(*) FROM cdp.events') AS events, sees('regress_cdp_privacy', 'SELECT count(*) = count(profile_id) AND count(*) = count(value) FROM cdp.consents') AS named;
SELECT cdp.permit('regress_cdp_privacy', 'marketing');
SELECT sees('regress_cdp_privacy', 'SELECT nick FROM cdp.profiles WHERE nick !~ ''^n''') AS people;

-- a withdrawal under a used id does not pass for one that counts; the ids of
-- messages are others
SELECT cdp.track('user_id:ids', 'E', message_id => 'id-1') > 0 AS tracked;
SELECT cdp.set_consent('user_id:ids', 'analytics', 'granted', '2025-01-01', message_id => 'id-1') > 0 AS granted;
SELECT cdp.set_consent('user_id:ids', 'analytics', 'granted', '2025-01-01', message_id => 'id-1') > 0 AS again;
SELECT cdp.set_consent('user_id:ids', 'analytics', 'withdrawn', '2025-02-01', message_id => 'id-1');
SELECT cdp.set_consent('user_id:ids', 'analytics', 'granted', '2025-01-01', '2025-03-01', message_id => 'id-1');
SELECT state FROM cdp.consents WHERE value = 'ids';
-- a clock that runs ahead does not make a grant outlast today's withdrawal
SET cdp.clock = '2025-06-01 00:00Z';
SELECT cdp.set_consent('user_id:ids', 'analytics', 'granted', '2025-06-01 23:00Z') > 0 AS granted;
SET cdp.clock = '2025-06-01 00:01Z';
SELECT cdp.set_consent('user_id:ids', 'analytics', 'withdrawn') > 0 AS withdrawn;
SELECT state, at FROM cdp.consents WHERE value = 'ids';

-- nodes that changed hands together are one row of the history; when they are different people's by now, each is
-- shown for her own sake
SELECT cdp.track('user_id:group', 'E', at => '2025-01-01') > 0 AS older;
SELECT cdp.track(ARRAY['cookie:g1', 'cookie:g2', 'cookie:g3'], 'E', at => '2025-01-02') > 0 AS younger;
SELECT cdp.merge(ARRAY['user_id:group', 'cookie:g1'], 'one person') > 0 AS moved;
SELECT cdp.unlink('cookie:g1', i) AS parted FROM unnest('{cookie:g2,cookie:g3}'::text[]) i;
SELECT cdp.set_consent('cookie:' || g, p, 'granted', '2025-01-03') > 0 AS granted FROM (VALUES ('g1', 'analytics'), ('g2', 'marketing')) v (g, p);
SELECT cardinality(h.nodes) AS together, count(DISTINCT n.profile_id) AS people
FROM cdp_data.node_history h CROSS JOIN unnest(h.nodes) u (node_id) JOIN cdp_data.node n USING (node_id) JOIN cdp_data.identifier i USING (node_id)
WHERE i.value IN ('g1', 'g2', 'g3') GROUP BY h.nodes HAVING cardinality(h.nodes) > 1;
SELECT role, sees(role, 'SELECT identifier, until IS NULL AS now FROM cdp.identity_history WHERE coalesce(identifier, ''somebody'') ~ ''^(somebody|cookie:g[123])$''') AS history
FROM unnest(ARRAY['regress_cdp_ana', 'regress_cdp_mkt', 'regress_cdp_none']) role;
SELECT count(DISTINCT identifier) AS all_of_them FROM cdp.identity_history WHERE identifier ~ '^cookie:g[123]$';

\c :main
DROP DATABASE regress_cdp_consent;
DROP ROLE regress_cdp_ana, regress_cdp_mkt, regress_cdp_both, regress_cdp_none, regress_cdp_bob, regress_cdp_carl, regress_cdp_app, regress_cdp_privacy, regress_cdp_ingest;
