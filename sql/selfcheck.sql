-- cdp.selfcheck(): silent on a clean installation, and finds what is planted.
-- In a database of its own.
\set VERBOSITY terse
\set SHOW_CONTEXT never
\set main :DBNAME
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_selfcheck;
CREATE DATABASE regress_selfcheck TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_selfcheck
SET client_min_messages = warning;
CREATE EXTENSION cdp;
SELECT count(*) > 0 AS init FROM cdp.init();
SELECT * FROM cdp.selfcheck();

-- nor in one that is used
CREATE ROLE regress_s_app;
CREATE ROLE regress_s_analyst;
CREATE ROLE regress_s_privacy;
CREATE ROLE regress_s_auditor;
CREATE ROLE regress_s_other;
SELECT cdp.provision('regress_s_app', 'app'), cdp.provision('regress_s_privacy', 'privacy'), cdp.provision('regress_s_auditor', 'auditor');
SELECT cdp.define_purpose('ads'), cdp.permit('regress_s_analyst', 'ads'), cdp.define_trait('city', index => true), cdp.define_segment('all', 'true') > 0 AS segment;
SELECT cdp.track('email:ada@x.y', 'Seen', at => '2001-02-03') > 0 AS tracked;
SELECT cdp.create_partitions('2001-05-05', '2001-06-06') IS NOT NULL AS partitions;
CREATE TABLE public.orders (id int PRIMARY KEY, mail text);
SELECT cdp.attach('public.orders', '{"event": "Ordered", "identifiers": {"email": "mail"}}') > 0 AS attached;
CREATE VIEW public.mine WITH (security_invoker = true) AS SELECT * FROM cdp.profiles;
CALL cdp.maintain(5);
SELECT cdp.init() IS NOT NULL AS again LIMIT 1;
SELECT * FROM cdp.selfcheck();

-- who may ask: the same answer for each
SET ROLE regress_s_privacy;
SELECT count(*) FROM cdp.selfcheck();
SET ROLE regress_s_auditor;
SELECT count(*) FROM cdp.selfcheck();
SET ROLE regress_s_analyst;
SELECT count(*) FROM cdp.selfcheck();
RESET ROLE;
GRANT EXECUTE ON FUNCTION cdp.selfcheck(), cdp.find_holes(), cdp.holes_of_roles() TO regress_s_analyst;
SET ROLE regress_s_analyst;
SELECT count(*) FROM cdp.selfcheck();
SELECT count(*) FROM cdp.find_holes();
RESET ROLE;
REVOKE EXECUTE ON FUNCTION cdp.selfcheck(), cdp.find_holes(), cdp.holes_of_roles() FROM regress_s_analyst;

--
-- Each hole is made, looked for, and rolled back
--
CREATE TABLE plant (n int GENERATED ALWAYS AS IDENTITY, hole text, make text);
CREATE FUNCTION public.evil(int) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE ''%'', $1; RETURN true; END';
CREATE FUNCTION public.evil_trigger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE FUNCTION public.evil_event() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE FUNCTION public.evil_immutable(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1';
INSERT INTO plant (hole, make) VALUES
	('row security not forced', 'ALTER TABLE cdp_data.profile NO FORCE ROW LEVEL SECURITY'),
	('row security disabled', 'ALTER TABLE cdp_data.identifier DISABLE ROW LEVEL SECURITY'),
	('the same of a partition', 'ALTER TABLE cdp_data.event_history DISABLE ROW LEVEL SECURITY'),
	('policy missing', 'DROP POLICY consent ON cdp_data.profile_state'),
	('policy of a partition missing', 'DROP POLICY consent ON cdp_data.event_history'),
	('policy says yes', 'ALTER POLICY consent ON cdp_data.event USING (true)'),
	('policy says a little more', 'ALTER POLICY consent ON cdp_data.node USING (cdp.allowed_node(node_id) OR cdp.has_kind(''privacy'') OR node_id = 1)'),
	('policy in other words is none', 'ALTER POLICY consent ON cdp_data.rejected USING (cdp.has_kind(''ingest'') AND (recorded_by = current_user OR cdp.has_kind(''privacy'')))'),
	('policy of the owner for everybody', 'ALTER POLICY owner_all ON cdp_data.profile TO PUBLIC'),
	('another policy', 'CREATE POLICY more ON cdp_data.consent_log FOR SELECT TO regress_s_analyst USING (true)'),
	('table of people without guard', 'CREATE TABLE cdp_data.extra (profile_id bigint); ALTER TABLE cdp_data.extra OWNER TO cdp_owner'),
	('table of another owner', 'ALTER TABLE cdp_data.profile OWNER TO regress_s_other'),
	('partition from outside', 'CREATE TABLE public.kid () INHERITS (cdp_data.profile)'),
	('foreign key', 'CREATE TABLE public.probe (ord int REFERENCES cdp_data.profile (profile_id))'),
	('trigger', 'CREATE TRIGGER spy BEFORE INSERT ON cdp_data.event FOR EACH ROW EXECUTE FUNCTION public.evil_trigger()'),
	('trigger on a view', 'CREATE TRIGGER spy INSTEAD OF INSERT ON cdp.events FOR EACH ROW EXECUTE FUNCTION public.evil_trigger()'),
	('rule', 'CREATE RULE spy AS ON INSERT TO cdp_data.profile DO ALSO NOTHING'),
	('index with code', 'CREATE INDEX spy ON cdp_data.identifier (public.evil_immutable(value))'),
	('default with code', 'ALTER TABLE cdp_data.profile ADD COLUMN note text DEFAULT public.evil_immutable(''x'')'),
	('check with code', 'ALTER TABLE cdp_data.profile ADD CHECK (public.evil(ord)) NOT VALID'),
	('cache trigger off', 'ALTER TABLE cdp_data.role_purpose DISABLE TRIGGER config_changed'),
	('cache trigger gone', 'DROP TRIGGER config_changed ON cdp_data.role_kind'),
	('statistics object', 'CREATE STATISTICS public.both ON profile_id, ord FROM cdp_data.profile'),
	('publication of a table', 'CREATE PUBLICATION leak FOR TABLE cdp_data.identifier'),
	('publication of the schema', 'CREATE PUBLICATION leak FOR TABLES IN SCHEMA cdp_data'),
	('publication of everything', 'CREATE PUBLICATION leak FOR ALL TABLES'),
	('statistics readable', 'GRANT SELECT ON pg_catalog.pg_statistic TO PUBLIC'),
	('statistics readable by one', 'GRANT SELECT (stavalues1) ON pg_catalog.pg_statistic TO regress_s_analyst'),
	('usage for all', 'GRANT USAGE ON SCHEMA cdp_data TO PUBLIC'),
	('usage for one', 'GRANT USAGE ON SCHEMA cdp_data TO regress_s_other'),
	('reads all data', 'GRANT pg_read_all_data TO regress_s_analyst'),
	('create in cdp', 'GRANT CREATE ON SCHEMA cdp TO PUBLIC'),
	('create elsewhere', 'GRANT CREATE ON SCHEMA public TO PUBLIC'),
	('grant on a table', 'GRANT SELECT ON cdp_data.consent_ord TO regress_s_app'),
	('grant on a column', 'GRANT SELECT (seed) ON cdp_data.installation TO regress_s_analyst'),
	('grant to write', 'GRANT INSERT ON cdp_data.role_purpose TO regress_s_privacy'),
	('public may read', 'GRANT SELECT ON cdp.profiles TO PUBLIC'),
	('public may execute', 'GRANT EXECUTE ON FUNCTION cdp.merge(text[], text, boolean) TO PUBLIC'),
	('a function too many', 'GRANT EXECUTE ON FUNCTION cdp.unmerge(bigint, text) TO regress_s_app'),
	('a right too few', 'REVOKE SELECT ON cdp.events FROM regress_s_analyst'),
	('default privileges', 'ALTER DEFAULT PRIVILEGES FOR ROLE cdp_owner GRANT SELECT ON TABLES TO PUBLIC'),
	('default privileges in the schema', 'ALTER DEFAULT PRIVILEGES IN SCHEMA cdp_data GRANT SELECT ON TABLES TO regress_s_other'),
	('member of the owner', 'GRANT cdp_owner TO regress_s_app'),
	('owner is a member', 'GRANT regress_s_other TO cdp_owner'),
	('owner may log in', 'ALTER ROLE cdp_owner LOGIN'),
	('owner bypasses', 'ALTER ROLE cdp_owner BYPASSRLS'),
	('provisioned superuser', 'ALTER ROLE regress_s_analyst SUPERUSER'),
	('provisioned and exempt', 'ALTER ROLE regress_s_privacy BYPASSRLS'),
	('may become exempt', 'ALTER ROLE regress_s_other BYPASSRLS; GRANT regress_s_other TO regress_s_analyst'),
	('may replicate', 'ALTER ROLE regress_s_app REPLICATION'),
	('may read files', 'GRANT pg_read_server_files TO regress_s_app'),
	('role is gone', 'INSERT INTO cdp_data.role_kind VALUES (''regress_s_gone'', ''privacy'')'),
	('schema of another', 'ALTER SCHEMA cdp OWNER TO regress_s_other'),
	('definer', 'ALTER FUNCTION cdp.resolve(text) SECURITY DEFINER'),
	('no path', 'ALTER FUNCTION cdp.permit(regrole, text) RESET search_path'),
	('function replaced', 'CREATE OR REPLACE FUNCTION cdp.require_admin() RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS ''BEGIN END'''),
	('test of policies replaced', 'CREATE OR REPLACE FUNCTION cdp.allowed(ord int) RETURNS boolean LANGUAGE sql STABLE LEAKPROOF SET search_path = pg_catalog, pg_temp AS ''SELECT true'''),
	('another symbol', 'CREATE OR REPLACE FUNCTION cdp.allowed(ord int) RETURNS boolean LANGUAGE c STABLE LEAKPROOF STRICT AS ''$libdir/cdp'', ''cdp_has_kind'''),
	('another library', 'UPDATE pg_catalog.pg_proc SET probin = ''/tmp/cdp.so'' WHERE oid = ''cdp.allowed_node(bigint)''::regprocedure'),
	('function of another owner', 'ALTER FUNCTION cdp.has_kind(text) OWNER TO regress_s_other'),
	('stranger in the schema', 'CREATE FUNCTION cdp.lower(text) RETURNS text LANGUAGE sql SET search_path = pg_catalog, pg_temp AS ''SELECT $1'''),
	('table in the schema', 'CREATE TABLE cdp.notes (n int)'),
	('leakproof stranger', 'ALTER FUNCTION public.evil(int) LEAKPROOF'),
	('leakproof of ours', 'ALTER FUNCTION cdp.segments_of(int, bigint, int[]) LEAKPROOF'),
	('definer that reads cdp', 'CREATE FUNCTION public.everybody() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS ''SELECT count(*) FROM cdp.profiles'''),
	('view not of its reader', 'ALTER VIEW cdp.profiles RESET (security_invoker)'),
	('view with code', 'CREATE OR REPLACE VIEW cdp.purposes WITH (security_invoker = true) AS SELECT p.name::text AS name, p.description, p.created_at FROM cdp_data.purpose p WHERE public.evil(p.purpose_id)'),
	('view without barrier', 'ALTER VIEW cdp.identity_history RESET (security_barrier)'),
	('view of a superuser', 'CREATE VIEW public.all_of_them AS SELECT * FROM cdp.profiles'),
	('view on a view', 'CREATE VIEW public.more AS SELECT count(*) FROM public.mine'),
	('materialized view', 'CREATE MATERIALIZED VIEW public.copy AS SELECT * FROM cdp.profiles'),
	('materialized view, readable', 'CREATE MATERIALIZED VIEW public.copy AS SELECT * FROM cdp.profiles; GRANT SELECT (profile_id) ON public.copy TO regress_s_other'),
	('event trigger', 'CREATE EVENT TRIGGER spy ON ddl_command_end EXECUTE FUNCTION public.evil_event()'),
	('clock', 'SET LOCAL cdp.clock = ''2020-01-01'''),
	('clock for a role', 'ALTER ROLE regress_s_app SET cdp.clock = ''2020-01-01'''),
	('clock for the database', 'ALTER DATABASE regress_selfcheck SET cdp.clock = ''2020-01-01'''),
	('clock for the asking', 'GRANT SET ON PARAMETER cdp.clock TO regress_s_app'),
	('triggers off for the asking', 'GRANT SET ON PARAMETER session_replication_role TO PUBLIC'),
	('table gone', 'DROP TABLE cdp_data.trait_tally CASCADE'),
	('version', 'UPDATE pg_catalog.pg_extension SET extversion = ''0.0.1'' WHERE extname = ''cdp''');
CREATE FUNCTION find(make text) RETURNS TABLE (severity text, object text, what text, remedy text) LANGUAGE plpgsql AS $$
DECLARE
	found text[];
BEGIN
	BEGIN
		EXECUTE make;
		found := ARRAY(SELECT to_jsonb(h)::text FROM cdp.selfcheck() h);
		RAISE EXCEPTION USING ERRCODE = 'ZZ001';
	EXCEPTION WHEN SQLSTATE 'ZZ001' THEN NULL;
	END;
	RETURN QUERY SELECT f.e::jsonb ->> 'severity', f.e::jsonb ->> 'object', f.e::jsonb ->> 'what', f.e::jsonb ->> 'remedy' FROM unnest(found) WITH ORDINALITY f (e, n) ORDER BY f.n;
END $$;
SET client_min_messages = error;
CREATE TABLE found AS SELECT p.n, p.hole, f.* FROM plant p CROSS JOIN LATERAL find(p.make) f ORDER BY p.n;
SET client_min_messages = warning;
SELECT hole, severity, replace(object, session_user, 'myself') AS object, replace(what, session_user, 'myself') AS what FROM found ORDER BY n, severity, object COLLATE "C", what COLLATE "C";
SELECT count(*) AS planted, count(*) FILTER (WHERE NOT EXISTS (SELECT FROM found f WHERE f.n = p.n)) AS missed FROM plant p;
SELECT count(*) FILTER (WHERE coalesce(remedy, '') = '') AS without_remedy FROM found;
-- before 16 who creates roles joins any
SELECT (SELECT count(*) FROM find('ALTER ROLE regress_s_other CREATEROLE') f WHERE f.object = 'role regress_s_other') = CASE WHEN current_setting('server_version_num')::int < 160000 THEN 1 ELSE 0 END AS createrole;
-- each hole by a name of its own
SELECT count(DISTINCT p.make) AS planted, (SELECT count(DISTINCT regexp_replace(f.what, '''.*|regress_\w+|cdp\w*\.\w+', '')) FROM found f) > 30 AS kinds_of_findings FROM plant p;
-- as the auditor sees it
BEGIN;
ALTER TABLE cdp_data.profile NO FORCE ROW LEVEL SECURITY;
SET LOCAL ROLE regress_s_auditor;
SELECT severity, object, what, remedy FROM cdp.selfcheck();
ROLLBACK;
-- nothing was left behind
SELECT * FROM cdp.selfcheck();

-- remedies work as they stand, but for those that are advice
CREATE FUNCTION heal(make text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	f record;
	left_over text;
BEGIN
	BEGIN
		EXECUTE make;
		FOR round IN 1 .. 2 LOOP
			FOR f IN SELECT h.remedy FROM cdp.selfcheck() h LOOP
				BEGIN
					EXECUTE f.remedy;
				EXCEPTION WHEN OTHERS THEN NULL;
				END;
			END LOOP;
		END LOOP;
		left_over := (SELECT string_agg(h.object, ', ' ORDER BY h.object COLLATE "C") FROM cdp.selfcheck() h);
		RAISE EXCEPTION USING ERRCODE = 'ZZ001';
	EXCEPTION WHEN SQLSTATE 'ZZ001' THEN NULL;
	END;
	RETURN left_over;
END $$;
SET client_min_messages = error;
SELECT p.hole, h.left_over FROM plant p CROSS JOIN LATERAL heal(p.make) h (left_over) WHERE h.left_over IS NOT NULL ORDER BY p.n;
SET client_min_messages = warning;
SELECT * FROM cdp.selfcheck();
SELECT count(*) FROM cdp.profiles;

DROP TABLE public.orders, plant, found;
SELECT cdp.deprovision(r::regrole) FROM unnest('{regress_s_app,regress_s_analyst,regress_s_privacy,regress_s_auditor}'::text[]) r;
DROP ROLE regress_s_app, regress_s_analyst, regress_s_privacy, regress_s_auditor, regress_s_other;
\c :main
DROP DATABASE regress_selfcheck;
