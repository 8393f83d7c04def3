-- Rights: who may call and read what, enumerated from the catalogue, so that
-- whatever is new shows up here; and the tricks that must not work.
-- In databases of its own.
\set SHOW_CONTEXT never
\set main :DBNAME
CREATE DATABASE regress_cdp_privileges TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_cdp_privileges
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET client_min_messages = warning;

--
-- Names that somebody else took first
--
CREATE ROLE regress_cdp_attacker;
CREATE SCHEMA cdp AUTHORIZATION regress_cdp_attacker;
CREATE EXTENSION cdp;
DROP SCHEMA cdp;
CREATE EXTENSION cdp;
ALTER EXTENSION cdp SET SCHEMA public;
SELECT extrelocatable FROM pg_extension WHERE extname = 'cdp';
SELECT superuser, trusted FROM pg_available_extension_versions WHERE name = 'cdp';
CREATE SCHEMA cdp_data AUTHORIZATION regress_cdp_attacker;
SELECT cdp.init();
SELECT cdp.track('user_id:1', 'Seen');
DROP SCHEMA cdp_data;
SELECT cdp.init('hour');
SELECT cdp.init(NULL);
SET ROLE regress_cdp_attacker;
SELECT cdp.init();
RESET ROLE;
GRANT EXECUTE ON FUNCTION cdp.init(text) TO regress_cdp_attacker;
SET ROLE regress_cdp_attacker;
SELECT cdp.init();
RESET ROLE;
REVOKE EXECUTE ON FUNCTION cdp.init(text) FROM regress_cdp_attacker;
SELECT count(*) > 0 AS initialised FROM cdp.init();
SELECT DISTINCT detail FROM cdp.init() WHERE step <> 'partitions';
SELECT rolcanlogin, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication FROM pg_roles WHERE rolname = 'cdp_owner';
BEGIN;
ALTER ROLE cdp_owner BYPASSRLS;
SELECT cdp.init();
ROLLBACK;

--
-- The matrix
--
CREATE ROLE regress_cdp_r_nobody;
CREATE ROLE regress_cdp_r_ingest;
CREATE ROLE regress_cdp_r_app;
CREATE ROLE regress_cdp_r_analyst;
CREATE ROLE regress_cdp_r_service;
CREATE ROLE regress_cdp_r_privacy;
CREATE ROLE regress_cdp_r_marketer;
CREATE ROLE regress_cdp_r_auditor;
SELECT count(cdp.define_trait(t)) FROM unnest('{nick,city}'::text[]) t;
SELECT count(cdp.provision(('regress_cdp_r_' || k)::regrole, k)) FROM unnest('{ingest,app,analyst,service,privacy,marketer,auditor}'::text[]) k;
-- a trait that is declared afterwards
SELECT cdp.define_trait('later', 'int');
CREATE TABLE kinds (kind text, rank int, role name);
INSERT INTO kinds SELECT k, o, CASE k WHEN 'owner' THEN 'cdp_owner' ELSE 'regress_cdp_r_' || k END FROM unnest('{nobody,ingest,app,analyst,service,privacy,marketer,auditor,owner}'::text[]) WITH ORDINALITY u (k, o);

-- functions; of those that are immutable see below
SELECT p.oid::regprocedure AS routine,
	string_agg(CASE WHEN has_function_privilege(k.role, p.oid, 'EXECUTE') THEN k.kind ELSE '-' END, ' ' ORDER BY k.rank) AS may_execute
FROM pg_proc p CROSS JOIN kinds k WHERE p.pronamespace = 'cdp'::regnamespace AND p.provolatile <> 'i'
GROUP BY p.oid ORDER BY p.oid::regprocedure::text COLLATE "C";
-- immutable ones are everybody's: they compute from their arguments alone, in C or with a fixed path
SELECT count(*) > 50 AS many, bool_and(has_function_privilege('regress_cdp_r_nobody', p.oid, 'EXECUTE')) AS everybody_s,
	bool_and(p.prolang = (SELECT oid FROM pg_language WHERE lanname = 'c') OR p.prokind = 'a' OR p.proconfig @> '{"search_path=pg_catalog, pg_temp"}') AS fixed
FROM pg_proc p WHERE p.pronamespace = 'cdp'::regnamespace AND p.provolatile = 'i';
SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = 'cdp'::regnamespace AND p.provolatile = 'i' AND p.prolang <> (SELECT oid FROM pg_language WHERE lanname = 'c') AND p.prokind <> 'a';
-- no definer's rights; a fixed path wherever it is not C; leakproof is what says so
SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = 'cdp'::regnamespace
	AND (p.prosecdef OR NOT (p.prolang = (SELECT oid FROM pg_language WHERE lanname = 'c') OR p.prokind = 'a' OR coalesce(p.proconfig @> '{"search_path=pg_catalog, pg_temp"}', false)));
SELECT p.proname FROM pg_proc p WHERE p.pronamespace = 'cdp'::regnamespace AND p.proleakproof AND p.provolatile <> 'i' ORDER BY 1;
SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = 'cdp'::regnamespace AND p.proacl::text LIKE '%*%';

-- schemas
SELECT s, string_agg(CASE WHEN has_schema_privilege(k.role, s, 'USAGE') THEN k.kind ELSE '-' END, ' ' ORDER BY k.rank) AS usage,
	string_agg(CASE WHEN has_schema_privilege(k.role, s, 'CREATE') THEN k.kind ELSE '-' END, ' ' ORDER BY k.rank) AS "create"
FROM unnest('{cdp,cdp_data}'::text[]) s CROSS JOIN kinds k GROUP BY s ORDER BY s;

-- relations: SELECT on all of it, or on so many columns
SELECT c.oid::regclass AS relation, k.kind, k.rank, CASE WHEN c.relkind = 'S' THEN CASE WHEN has_sequence_privilege(k.role, c.oid, 'USAGE,SELECT,UPDATE') THEN 'use' ELSE '-' END WHEN has_table_privilege(k.role, c.oid, 'SELECT') THEN 'all'
	WHEN has_any_column_privilege(k.role, c.oid, 'SELECT') THEN (SELECT count(*) FILTER (WHERE has_column_privilege(k.role, c.oid, a.attnum, 'SELECT')) || ' of ' || count(*) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) ELSE '-' END AS reads
FROM pg_class c CROSS JOIN kinds k WHERE c.relnamespace IN ('cdp'::regnamespace, 'cdp_data'::regnamespace) AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND NOT c.relispartition AND k.kind <> 'owner'
ORDER BY c.oid::regclass::text COLLATE "C", k.rank \crosstabview relation kind reads rank
-- the columns that nobody but the owner reads, of tables that somebody reads
SELECT c.relname, string_agg(a.attname, ' ' ORDER BY a.attnum) AS hidden
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace = 'cdp_data'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
	AND EXISTS (SELECT FROM kinds k WHERE k.kind <> 'owner' AND has_any_column_privilege(k.role, c.oid, 'SELECT'))
	AND NOT EXISTS (SELECT FROM kinds k WHERE k.kind <> 'owner' AND has_column_privilege(k.role, c.oid, a.attnum, 'SELECT'))
GROUP BY c.relname ORDER BY c.relname COLLATE "C";
-- nobody writes, nobody reads a partition, everything is the owner's
SELECT c.oid::regclass, k.kind, p.privilege FROM pg_class c CROSS JOIN kinds k CROSS JOIN unnest('{INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) p (privilege)
WHERE c.relnamespace IN ('cdp'::regnamespace, 'cdp_data'::regnamespace) AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND k.kind <> 'owner'
	AND (has_table_privilege(k.role, c.oid, p.privilege) OR p.privilege IN ('INSERT', 'UPDATE', 'REFERENCES') AND has_any_column_privilege(k.role, c.oid, p.privilege))
ORDER BY c.oid::regclass::text COLLATE "C", k.rank, 3;
SELECT k.kind FROM pg_class c CROSS JOIN kinds k WHERE c.relispartition AND c.relkind = 'r' AND c.relnamespace = 'cdp_data'::regnamespace AND k.kind <> 'owner' AND has_any_column_privilege(k.role, c.oid, 'SELECT');
SELECT c.oid::regclass FROM pg_class c WHERE (c.relnamespace = 'cdp_data'::regnamespace OR c.relnamespace = 'cdp'::regnamespace AND c.relkind = 'v') AND c.relowner <> 'cdp_owner'::regrole;
SELECT c.relname FROM pg_class c WHERE c.relnamespace IN ('cdp'::regnamespace, 'cdp_data'::regnamespace) AND c.relkind = 'm';
SELECT c.relname, p.polname, p.polroles FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid WHERE NOT p.polpermissive OR p.polroles NOT IN ('{0}', ARRAY['cdp_owner'::regrole::oid]);
-- leaving a role takes its rights along
GRANT regress_cdp_r_app TO regress_cdp_r_nobody;
SELECT has_function_privilege('regress_cdp_r_nobody', 'cdp.claim(text, int, interval)', 'EXECUTE') AS with_membership;
REVOKE regress_cdp_r_app FROM regress_cdp_r_nobody;
SELECT has_function_privilege('regress_cdp_r_nobody', 'cdp.claim(text, int, interval)', 'EXECUTE') AS without_membership;

--
-- Every routine, called by every role: refused, or reached; and nothing changed
--
CREATE FUNCTION call(role name, routine oid) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	p pg_proc := (SELECT x FROM pg_proc x WHERE x.oid = routine);
	arguments text := coalesce((SELECT string_agg(format(CASE p.prokind WHEN 'p' THEN 'NULL::%s' ELSE '(SELECT NULL::%s)' END, format_type(t, NULL)), ', ' ORDER BY o) FROM unnest(p.proargtypes) WITH ORDINALITY u (t, o)), '');
BEGIN
	PERFORM set_config('role', role, true);
	EXECUTE format(CASE p.prokind WHEN 'p' THEN 'CALL cdp.%I(%s)' ELSE 'SELECT * FROM cdp.%I(%s)' END, p.proname, arguments);
	PERFORM set_config('role', 'none', true);
	RETURN 'reached';
EXCEPTION WHEN insufficient_privilege THEN
	RETURN 'refused';
WHEN OTHERS THEN
	RETURN CASE WHEN SQLSTATE LIKE 'XX%' THEN SQLSTATE || ' ' || SQLERRM ELSE 'reached' END;
END $$;
CREATE FUNCTION contents() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text := '';
	tbl regclass;
	one text;
BEGIN
	FOR tbl IN SELECT c.oid FROM pg_class c WHERE c.relnamespace = 'cdp_data'::regnamespace AND c.relkind IN ('r', 'p') ORDER BY 1 LOOP
		EXECUTE format('SELECT md5(string_agg(t::text, '','' ORDER BY t::text)) FROM %s t', tbl) INTO one;
		result := md5(result || coalesce(one, '') || tbl::text);
	END LOOP;
	RETURN result;
END $$;
SELECT contents() AS before \gset
CREATE TABLE calls AS
SELECT k.kind, k.rank, p.oid::regprocedure AS routine, call(k.role, p.oid) AS answer, has_function_privilege(k.role, p.oid, 'EXECUTE') AS may
FROM pg_proc p CROSS JOIN kinds k WHERE p.pronamespace = 'cdp'::regnamespace AND p.prokind IN ('f', 'p') AND p.prorettype NOT IN ('trigger'::regtype, 'internal'::regtype)
	AND NOT p.proargtypes::oid[] && ARRAY['internal'::regtype::oid, 'cstring'::regtype] AND k.kind <> 'owner';
SELECT * FROM calls WHERE answer <> CASE WHEN may THEN 'reached' ELSE 'refused' END ORDER BY rank, routine::text COLLATE "C";
SELECT kind, count(*) FILTER (WHERE answer = 'reached') > 20 AS reached_some, count(*) FILTER (WHERE answer = 'refused') > 20 AS refused_some FROM calls GROUP BY kind, rank ORDER BY rank;
SELECT contents() = :'before' AS unchanged;
-- what configures is refused by name too
SET ROLE regress_cdp_r_app;
SELECT cdp.permit('regress_cdp_r_app', 'marketing');
SELECT cdp.provision('regress_cdp_r_app', 'privacy');
SELECT cdp.define_segment('all', 'true');
SELECT cdp.init();
CALL cdp.maintain();
CREATE TEMP TABLE mine (id int PRIMARY KEY, email text);
CREATE TRIGGER t AFTER INSERT ON mine FOR EACH STATEMENT EXECUTE FUNCTION cdp.capture('1');
SELECT cdp.attach('mine', '{"event": "e", "identifiers": {"email": "email"}}');
DROP TABLE mine;
CREATE VIEW cdp.mine AS SELECT 1;
CREATE FUNCTION cdp.mine() RETURNS int LANGUAGE sql AS 'SELECT 1';
DROP VIEW cdp.profiles;
SET ROLE cdp_owner;
RESET ROLE;

-- the rights to configure: superusers, not even members of the owner
CREATE ROLE regress_cdp_admin;
CREATE ROLE regress_cdp_new;
GRANT cdp_owner TO regress_cdp_admin;
GRANT CREATE ON SCHEMA public TO regress_cdp_admin;
SELECT cdp.init();
SET ROLE regress_cdp_admin;
SELECT cdp.define_purpose('marketing');
SELECT cdp.permit('regress_cdp_new', 'marketing');
SELECT cdp.provision('regress_cdp_new', 'app');
SELECT cdp.define_trait('points', 'int');
SELECT cdp.define_segment('all', 'true');
SELECT cdp.define_activation('all', 'email', 'marketing');
CREATE TABLE orders (id int PRIMARY KEY, email text);
SELECT cdp.attach('orders', '{"event": "Ordered", "identifiers": {"email": "email"}}');
SELECT cdp.detach('orders');
SELECT cdp.schedule();
CALL cdp.maintain(1);
DROP TABLE orders;
RESET ROLE;
REVOKE cdp_owner FROM regress_cdp_admin;
SELECT cdp.define_purpose('marketing') > 0 AS purpose;
SELECT cdp.provision('regress_cdp_new', 'app'), cdp.permit('regress_cdp_new', 'marketing'), cdp.forbid('regress_cdp_new', 'marketing');
SELECT has_function_privilege('regress_cdp_new', 'cdp.claim(text, int, interval)', 'EXECUTE') AS claims, has_table_privilege('regress_cdp_new', 'cdp.profiles', 'SELECT') AS reads;

-- a table whose owner planted code in an index: attach() does not run it
CREATE SCHEMA trap AUTHORIZATION regress_cdp_admin;
SET ROLE regress_cdp_admin;
CREATE TABLE trap.log (who text);
GRANT INSERT ON trap.log TO PUBLIC;
CREATE FUNCTION trap.f(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
CREATE TABLE trap.orders (id int PRIMARY KEY, email text);
CREATE INDEX ON trap.orders (id) WHERE trap.f(1) = 1;
CREATE OR REPLACE FUNCTION trap.f(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE NOTICE 'run as %', current_user; RETURN 1; END $$;
RESET ROLE;
SET client_min_messages = notice;
SELECT cdp.attach('trap.orders', '{"event": "Ordered", "identifiers": {"email": "email"}}') > 0 AS attached;
SET client_min_messages = warning;
-- and what the types of its columns bring along runs with its owner's rights
SET ROLE regress_cdp_admin;
CREATE TYPE trap.mood AS ENUM ('ok');
CREATE FUNCTION trap.mood_json(trap.mood) RETURNS json LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN INSERT INTO trap.log VALUES (current_user); RETURN '"ok"'; END $$;
CREATE CAST (trap.mood AS json) WITH FUNCTION trap.mood_json(trap.mood);
CREATE TABLE trap.moods (id int PRIMARY KEY, email text, mood trap.mood);
ALTER FUNCTION trap.mood_json(trap.mood) VOLATILE;
RESET ROLE;
SELECT cdp.attach('trap.moods', '{"event": "Felt", "identifiers": {"email": "email"}, "properties": ["mood"]}') > 0 AS attached;
INSERT INTO trap.moods VALUES (1, 'mood@example.com', 'ok');
SELECT DISTINCT who FROM trap.log;
SELECT cdp.detach('trap.moods'), cdp.detach('trap.orders');
DROP SCHEMA trap CASCADE;

--
-- A hostile search path: everything of pg_catalog that a plpgsql function can
-- shadow is shadowed in public, operators and types too.  What runs of it
-- counts in a sequence, whatever becomes of its error.
--
GRANT CREATE ON SCHEMA public TO regress_cdp_attacker;
SET ROLE regress_cdp_attacker;
CREATE SEQUENCE public.ran;
CREATE TABLE public.names (what text);
GRANT ALL ON SEQUENCE public.ran TO PUBLIC;
DO $outer$
DECLARE
	f record;
	body text := $body$BEGIN PERFORM pg_catalog.nextval('public.ran'); RAISE WARNING 'the attacker''s {} ran'; RAISE 'attacked'; END$body$;
	made int[] := '{0,0,0}';
BEGIN
	FOR f IN SELECT p.proname, array_to_string(ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) t), ', ') AS types
			FROM pg_catalog.pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND p.provariadic = 0 AND p.oid < 16384 LOOP
		BEGIN
			EXECUTE format('CREATE FUNCTION public.%I(%s) RETURNS text COST 1 LANGUAGE plpgsql AS %L', f.proname, f.types, replace(body, '{}', f.proname));
			made[1] := made[1] + 1;
		EXCEPTION WHEN OTHERS THEN
			NULL;
		END;
	END LOOP;
	FOR f IN SELECT o.oprname, CASE WHEN o.oprleft <> 0 THEN format_type(o.oprleft, NULL) END AS l, format_type(o.oprright, NULL) AS r, row_number() OVER () AS n FROM pg_catalog.pg_operator o WHERE o.oprnamespace = 'pg_catalog'::regnamespace LOOP
		BEGIN
			EXECUTE format('CREATE FUNCTION public.evil_%s(%s) RETURNS boolean LANGUAGE plpgsql AS %L', f.n, concat_ws(', ', f.l, f.r), replace(replace(body, '{}', f.oprname), '%', '%%'));
			EXECUTE format('CREATE OPERATOR public.%s (FUNCTION = public.evil_%s, %s RIGHTARG = %s)', f.oprname, f.n, 'LEFTARG = ' || f.l || ',', f.r);
			made[2] := made[2] + 1;
		EXCEPTION WHEN OTHERS THEN
			NULL;
		END;
	END LOOP;
	EXECUTE format('CREATE FUNCTION public.evil_domain(text) RETURNS boolean LANGUAGE plpgsql AS %L', replace(body, '{}', 'domain'));
	FOR f IN SELECT t.typname FROM pg_catalog.pg_type t WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype = 'b' AND t.typcategory <> 'A' LOOP
		BEGIN
			EXECUTE format('CREATE DOMAIN public.%I AS pg_catalog.%I CHECK (public.evil_domain(VALUE::pg_catalog.text))', f.typname, f.typname);
			made[3] := made[3] + 1;
		EXCEPTION WHEN OTHERS THEN
			NULL;
		END;
	END LOOP;
	INSERT INTO public.names VALUES (CASE WHEN made[1] > 1500 AND made[2] > 500 AND made[3] > 50 THEN 'enough' ELSE 'too few: ' || made::text END);
END $outer$;
-- relations and functions with names that cdp uses, in public and in pg_temp
CREATE VIEW public.pg_class AS SELECT 1 AS hostile;
CREATE VIEW public.pg_proc AS SELECT 1 AS hostile;
CREATE VIEW public.pg_roles AS SELECT 1 AS hostile;
CREATE VIEW public.pg_namespace AS SELECT 1 AS hostile;
CREATE TABLE public.event (hostile int);
CREATE TABLE public.profile_state (hostile int);
TABLE public.names;
RESET ROLE;
CREATE TEMP TABLE profile (hostile int);
CREATE TEMP TABLE node (hostile int);
CREATE TEMP TABLE pg_attribute (hostile int);
SET search_path = public, pg_temp, pg_catalog;
-- the trap is armed
SELECT lower('X');
SELECT 1 = 1;
SELECT pg_catalog.setval('public.ran', 1, false) OPERATOR(pg_catalog.=) 1 AS reset;
-- and nobody steps into it: as the superuser
SELECT cdp.version() IS NOT NULL;
SELECT step FROM cdp.init() WHERE step IS NULL;
SELECT cdp.define_purpose('path') IS NOT NULL;
SELECT cdp.define_trait('trait_a', 'text', 'latest', true);
SELECT cdp.define_trait('trait_b', 'int');
SELECT cdp.provision('regress_cdp_r_app', 'app');
SELECT cdp.permit('regress_cdp_r_app', 'path');
SELECT cdp.identify('{user_id:path,email:path@x.y}', '{"trait_a": "x", "trait_b": "7", "other": [1]}') IS NOT NULL;
SELECT cdp.define_segment('path', 'lower(trait_a) || ''!'' = ''x!'' AND trait_b + 1 > 5 AND traits ? ''more''') IS NOT NULL;
SELECT cdp.define_activation('path', 'email', 'path') IS NOT NULL;
SELECT cdp.define_trait('other');
SELECT cdp.identify('cookie:path', '{"trait_a": "X", "trait_b": "8"}') IS NOT NULL;
SELECT cdp.track('{cookie:path,user_id:path}', 'Seen', '{"a": 1}') IS NOT NULL;
SELECT cdp.set_consent('email:path@x.y', 'path', 'granted') IS NOT NULL;
SELECT status FROM cdp.ingest('{"batch": [{"type": "track", "event": "e", "userId": "path", "messageId": "p1"}, {"type": "nonsense"}, {"type": "identify", "userId": "path2", "traits": {"trait_b": "no", "email": "p2@x.y"}}]}');
SELECT cdp.resolve('user_id:path') IS NOT NULL;
SELECT cdp.segment_count('path & !path | path') IS NOT NULL;
SELECT cdp.members('!path') IS NULL;
SELECT cdp.claim('email') IS NULL;
SELECT cdp.ack('{}') IS NULL;
CREATE TABLE public.app_orders (id pg_catalog.int4 PRIMARY KEY, mail pg_catalog.varchar, total pg_catalog.numeric, at pg_catalog.timestamptz);
INSERT INTO public.app_orders VALUES (1, 'path@x.y', 3.5, '2025-01-01');
SELECT cdp.attach('public.app_orders', '{"event": "Ordered", "identifiers": {"email": "mail"}, "time": "at", "properties": ["total"]}', NULL, true, true) IS NOT NULL;
INSERT INTO public.app_orders VALUES (2, 'path@x.y', 4, '2025-01-02');
UPDATE public.app_orders SET total = 5;
CALL cdp.maintain(1);
SELECT cdp.detach('public.app_orders') IS NOT NULL;
SELECT cdp.forbid('regress_cdp_r_app', 'path');
SELECT cdp.permit('regress_cdp_r_app', 'path');
-- and as an application
SET ROLE regress_cdp_r_app;
SELECT cdp.identify('email:path3@x.y', '{"trait_a": "X", "trait_b": 9, "more": 1}') IS NOT NULL;
SELECT cdp.track('email:path3@x.y', 'Seen') IS NOT NULL;
SELECT cdp.set_consent('email:path3@x.y', 'path', 'granted') IS NOT NULL;
SELECT status FROM cdp.ingest('[{"type": "page", "anonymousId": "path"}, 5]');
SELECT profile_id IS NULL, identifiers IS NULL, segments IS NULL FROM cdp.profiles LIMIT 1;
SELECT profile_id IS NULL FROM cdp.events LIMIT 1;
SELECT profile_id IS NULL FROM cdp.segment_members LIMIT 1;
SELECT profile_id IS NULL FROM cdp.consents LIMIT 1;
SELECT cdp.resolve('email:path3@x.y') IS NOT NULL;
SELECT cdp.segment_count('path') IS NOT NULL;
SELECT cdp.claim('email') IS NULL;
RESET ROLE;
SELECT cdp.drop_activation('path', 'email', 'path'), cdp.drop_segment('path');
SET search_path = pg_catalog;
SELECT is_called AS attacked FROM public.ran;
-- all of it was done
SELECT (SELECT count(*) FROM cdp.events WHERE name = 'Ordered' AND message_id LIKE '%app_orders%') AS ordered, (SELECT count(*) FROM cdp.outbox) AS deliveries, (SELECT count(*) FROM cdp.profiles WHERE trait_b IS NOT NULL) AS people;
SELECT source, reason FROM cdp.rejected ORDER BY reason COLLATE "C", source COLLATE "C";

--
-- Tricks on an application's own table: its columns' casts run as who writes
-- the row, never as cdp's owner or as who configured it
--
\c regress_cdp_privileges
SET client_min_messages = warning;
SET search_path = pg_catalog;
CREATE SCHEMA app AUTHORIZATION regress_cdp_attacker;
SET ROLE regress_cdp_attacker;
CREATE TYPE app.trick AS ENUM ('x', 'y');
CREATE TABLE app.log (ran_as name, reaches_storage boolean);
CREATE FUNCTION app.to_json(app.trick) RETURNS json LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO app.log VALUES (current_user, has_schema_privilege('cdp_data', 'USAGE'));
	RETURN '"json"';
END $$;
CREATE CAST (app.trick AS json) WITH FUNCTION app.to_json(app.trick);
CREATE TABLE app.t (id int PRIMARY KEY, email text, t app.trick);
INSERT INTO app.t VALUES (1, 'trick@x.y', 'x');
GRANT ALL ON SCHEMA app TO PUBLIC;
GRANT ALL ON app.t, app.log TO PUBLIC;
RESET ROLE;
SELECT cdp.attach('app.t', '{"event": "Trick", "identifiers": {"email": "email"}, "properties": {"t": "t"}}', backfill => true) > 0 AS attached;
SET ROLE regress_cdp_r_app;
INSERT INTO app.t VALUES (2, 'trick@x.y', 'y');
RESET ROLE;
SET ROLE regress_cdp_attacker;
INSERT INTO app.t VALUES (3, 'trick@x.y', 'y');
RESET ROLE;
SELECT DISTINCT * FROM app.log ORDER BY ran_as;
-- and in a backfill as the owner of the table
TRUNCATE app.log;
CALL cdp.maintain(1);
SELECT DISTINCT * FROM app.log ORDER BY ran_as;
SELECT message_id, properties FROM cdp.events WHERE name = 'Trick' ORDER BY message_id;

\c :main
DROP DATABASE regress_cdp_privileges;
DROP ROLE regress_cdp_attacker, regress_cdp_admin, regress_cdp_new, regress_cdp_r_nobody, regress_cdp_r_ingest, regress_cdp_r_app, regress_cdp_r_analyst, regress_cdp_r_service, regress_cdp_r_privacy, regress_cdp_r_marketer, regress_cdp_r_auditor;
