-- Rights of roles: given, shown, taken back.  In a database of its own.
\set VERBOSITY terse
\set SHOW_CONTEXT never
\set main :DBNAME
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_provision;
CREATE DATABASE regress_provision TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_provision
SET client_min_messages = warning;
SET timezone = 'UTC';
CREATE EXTENSION cdp;
SELECT count(*) > 0 AS init FROM cdp.init();
SELECT cdp.define_trait('city'), cdp.define_purpose('ads'), cdp.define_purpose('news'), cdp.define_segment('all', 'true') > 0 AS segment;
SELECT cdp.identify('email:ada@x.y', '{"city": "Oslo"}') > 0 AS ada, cdp.identify('email:bob@x.y', '{"city": "Bonn"}') > 0 AS bob;
SELECT cdp.set_consent('email:ada@x.y', 'ads', 'granted') > 0 AS ads, cdp.set_consent('email:ada@x.y', 'news', 'granted') > 0 AS news, cdp.set_consent('email:bob@x.y', 'ads', 'granted') > 0 AS bob;

CREATE ROLE regress_p_ingest;
CREATE ROLE regress_p_app;
CREATE ROLE regress_p_analyst;
CREATE ROLE regress_p_marketer;
CREATE ROLE regress_p_service;
CREATE ROLE regress_p_privacy;
CREATE ROLE regress_p_auditor;
CREATE ROLE regress_p_none;
CREATE ROLE regress_p_member IN ROLE regress_p_marketer;

-- every right that a role has on objects of cdp, its own and not those of PUBLIC
CREATE VIEW acl AS
SELECT r.rolname::text AS role, x.object, x.privilege FROM (
	SELECT p.oid::regprocedure::text AS object, a.privilege_type AS privilege, a.grantee FROM pg_proc p CROSS JOIN LATERAL aclexplode(p.proacl) a WHERE p.pronamespace = 'cdp'::regnamespace
	UNION ALL SELECT c.oid::regclass::text, a.privilege_type, a.grantee FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a WHERE c.relnamespace IN ('cdp'::regnamespace, 'cdp_data'::regnamespace)
	UNION ALL SELECT c.oid::regclass || '.' || t.attname, a.privilege_type, a.grantee FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid CROSS JOIN LATERAL aclexplode(t.attacl) a WHERE c.relnamespace IN ('cdp'::regnamespace, 'cdp_data'::regnamespace)
	UNION ALL SELECT 'schema ' || n.nspname, a.privilege_type, a.grantee FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) a WHERE n.nspname IN ('cdp', 'cdp_data')) x
JOIN pg_roles r ON r.oid = x.grantee WHERE r.rolname LIKE 'regress_p_%';

--
-- Given: what kind_rights() says and nothing else; again is no change
--
SELECT count(*) AS rights_before FROM acl;
SELECT cdp.provision(('regress_p_' || k)::regrole, k) FROM unnest('{ingest,app,analyst,marketer,service,privacy,auditor}'::text[]) k;
CREATE TABLE first AS SELECT * FROM acl;
SELECT role, count(*) > 0 AS has_rights FROM first GROUP BY role ORDER BY role COLLATE "C";
SELECT cdp.provision(('regress_p_' || k)::regrole, k) FROM unnest('{ingest,app,analyst,marketer,service,privacy,auditor}'::text[]) k;
SELECT count(*) AS changed FROM ((TABLE first EXCEPT SELECT * FROM acl) UNION ALL (SELECT * FROM acl EXCEPT TABLE first)) x;
CREATE VIEW due AS
SELECT 'regress_p_' || k.kind AS role, CASE k.object WHEN 'function' THEN p.oid::regprocedure::text WHEN 'table' THEN 'cdp_data.' || k.name ELSE 'cdp.' || k.name END || coalesce('.' || c, '') AS object, k.privilege
FROM cdp.kind_rights() k LEFT JOIN pg_proc p ON k.object = 'function' AND p.pronamespace = 'cdp'::regnamespace AND p.proname = k.name CROSS JOIN LATERAL unnest(coalesce(k.columns, '{NULL}')) c
WHERE k.object <> 'function' OR p.oid IS NOT NULL
UNION SELECT DISTINCT 'regress_p_' || k.kind, 'cdp_data.profile.city', 'SELECT' FROM cdp.kind_rights() k WHERE k.name = 'profile';
SELECT count(*) AS beyond_or_missing FROM ((TABLE due EXCEPT SELECT * FROM acl) UNION ALL (SELECT * FROM acl EXCEPT TABLE due)) x;
-- no line of it names what is not there
SELECT DISTINCT k.object, k.name FROM cdp.kind_rights() k WHERE k.object = 'function' AND NOT EXISTS (SELECT FROM pg_proc p WHERE p.pronamespace = 'cdp'::regnamespace AND p.proname = k.name) ORDER BY 2;
-- a view that nobody of any kind reads is for superusers
SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'cdp'::regnamespace AND c.relkind = 'v' AND NOT EXISTS (SELECT FROM cdp.kind_rights() k WHERE k.object IN ('view', 'insert') AND k.name = c.relname) ORDER BY 1;
-- a trait that comes later is seen by who reads people
SELECT cdp.define_trait('age', 'int');
SELECT role FROM acl WHERE object = 'cdp_data.profile.age' ORDER BY 1;
SELECT * FROM cdp.selfcheck();

--
-- It is enough: each kind reads all of its views
--
CREATE FUNCTION reads(role name) RETURNS TABLE (view name, answer text) LANGUAGE plpgsql AS $$
BEGIN
	FOR view IN SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'cdp'::regnamespace AND c.relkind = 'v' AND has_table_privilege(role, c.oid, 'SELECT') ORDER BY 1 LOOP
		BEGIN
			PERFORM set_config('role', role, true);
			EXECUTE format('SELECT count(*) FROM (SELECT * FROM cdp.%I) x', view);
			EXECUTE format('SELECT * FROM cdp.%I LIMIT 1', view);
			PERFORM set_config('role', 'none', true);
			answer := 'read';
		EXCEPTION WHEN OTHERS THEN
			answer := SQLERRM;
		END;
		RETURN NEXT;
	END LOOP;
END $$;
SELECT k AS kind, r.answer, count(*) > 0 AS views FROM unnest('{ingest,app,analyst,marketer,service,privacy,auditor}'::text[]) k CROSS JOIN LATERAL reads(('regress_p_' || k)::name) r GROUP BY 1, 2 ORDER BY 1, 2;

--
-- Kinds are no purposes; permit() leaves the kind as it is
--
SELECT cdp.permit('regress_p_marketer', 'ads');
SELECT kinds, purposes, sees FROM cdp.rights WHERE role = 'regress_p_marketer';
SET ROLE regress_p_marketer;
SELECT count(*), count(city) AS with_city FROM cdp.profiles;
SELECT cdp.segment_count('all'), jsonb_typeof(cdp.preview_rule('{"city": "Oslo"}')) AS preview, cdp.resolve('email:bob@x.y') IS NOT NULL AS bob;
SELECT count(*) FROM cdp.events;
SELECT count(*) FROM cdp.identifiers;
SELECT cdp.identify('email:ada@x.y', '{"city": "Rome"}');
SELECT cdp.claim('email');
SELECT * FROM cdp.rights;
SELECT * FROM cdp.selfcheck();
RESET ROLE;
SELECT cdp.permit('regress_p_none', 'ads');
SELECT kinds FROM cdp.rights WHERE role = 'regress_p_none';

--
-- The auditor sees rules and rights, and nobody
--
SET ROLE regress_p_auditor;
SELECT count(*) FROM cdp.purposes;
SELECT count(*) FROM cdp.selfcheck();
SELECT count(*) FROM cdp.profiles;
SELECT count(*) FROM cdp.consents;
SELECT cdp.resolve('email:ada@x.y');
SELECT cdp.set_consent('email:ada@x.y', 'ads', 'denied');
-- who may see whom: of its own, by membership, and those whom no policy stops
SELECT role, can_login, kinds, purposes, through, sees, cardinality(functions) > 0 AS functions, cardinality(views) > 0 AS views FROM cdp.rights WHERE role ~ '^(regress_p_|cdp_owner)' ORDER BY role COLLATE "C";
SELECT role = session_user AS superuser, sees, functions IS NULL AS all_functions FROM cdp.rights WHERE sees = 'everybody' AND role <> 'cdp_owner' AND role = session_user;
SELECT functions @> '{selfcheck,verify_audit}' AS functions, views @> '{audit_log,rights,purposes}' AS views, views && '{profiles,events,identifiers,consents,consent_log,segment_members,outbox}' AS of_people FROM cdp.rights WHERE role = 'regress_p_auditor';
RESET ROLE;

--
-- Taken back
--
SELECT cdp.provision('regress_p_none', 'ingest');
GRANT EXECUTE ON FUNCTION cdp.unmerge(bigint, text) TO regress_p_none WITH GRANT OPTION;
GRANT SELECT ON cdp_data.segment, cdp.merges TO regress_p_none;
GRANT USAGE ON SCHEMA cdp_data TO regress_p_none;
SELECT severity, object, what FROM cdp.selfcheck();
-- one kind: what the others need stays, what none needs goes
SELECT cdp.deprovision('regress_p_none', 'analyst');
SELECT kinds, purposes FROM cdp.rights WHERE role = 'regress_p_none';
SELECT count(*) AS beyond_or_missing FROM (
	(SELECT object, privilege FROM acl WHERE role = 'regress_p_none' EXCEPT SELECT object, privilege FROM acl WHERE role = 'regress_p_ingest')
	UNION ALL (SELECT object, privilege FROM acl WHERE role = 'regress_p_ingest' EXCEPT SELECT object, privilege FROM acl WHERE role = 'regress_p_none')) x;
SELECT * FROM cdp.selfcheck();
-- all of them
SELECT cdp.deprovision('regress_p_none');
SELECT cdp.deprovision('regress_p_none');
SELECT count(*) AS left_over FROM acl WHERE role = 'regress_p_none';
SELECT count(*) FROM cdp.rights WHERE role = 'regress_p_none';
DROP ROLE regress_p_none;
-- takes effect in the next statement of a session that is at work
SET ROLE regress_p_member;
SELECT count(*) FROM cdp.profiles;
RESET ROLE;
SELECT cdp.deprovision('regress_p_marketer');
SET ROLE regress_p_member;
SELECT count(*) FROM cdp.profiles;
RESET ROLE;
SELECT count(*) FROM cdp.rights WHERE role IN ('regress_p_marketer', 'regress_p_member');

--
-- Refused
--
SELECT cdp.provision('regress_p_app', 'boss');
SELECT cdp.provision('regress_p_app', NULL);
SELECT cdp.provision(NULL, 'app');
SELECT cdp.provision('cdp_owner', 'app');
SELECT cdp.deprovision('regress_p_app', 'boss');
SELECT cdp.deprovision(NULL);
SELECT cdp.deprovision('cdp_owner');
SELECT cdp.deprovision(current_user::regrole);
SET ROLE regress_p_privacy;
SELECT cdp.provision('regress_p_privacy', 'app');
SELECT cdp.deprovision('regress_p_app');
RESET ROLE;
GRANT EXECUTE ON FUNCTION cdp.deprovision(regrole, text), cdp.provision(regrole, text) TO regress_p_privacy;
SET ROLE regress_p_privacy;
SELECT cdp.provision('regress_p_privacy', 'app');
SELECT cdp.deprovision('regress_p_app');
RESET ROLE;

SELECT cdp.deprovision(('regress_p_' || k)::regrole) FROM unnest('{ingest,app,analyst,service,privacy,auditor}'::text[]) k;
SELECT count(*) AS left_over FROM acl;
SELECT * FROM cdp.selfcheck();
DROP ROLE regress_p_ingest, regress_p_app, regress_p_analyst, regress_p_marketer, regress_p_service, regress_p_privacy, regress_p_auditor, regress_p_member;
\c :main
DROP DATABASE regress_provision;
