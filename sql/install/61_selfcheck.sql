-- 61_selfcheck.sql: is everything as cdp.init() and cdp.provision() left it?  One row per hole.

CREATE FUNCTION cdp.selfcheck(OUT severity text, OUT object text, OUT what text, OUT remedy text) RETURNS SETOF record
LANGUAGE c VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'cdp_selfcheck';
COMMENT ON FUNCTION cdp.selfcheck() IS
'Every hole in the protection of people, worst first, with its remedy; no row: none was found. critical: people are open to who may not see them, or anybody can make it so; high: a way around consent; warning: something is not as it should be.';

CREATE FUNCTION cdp.policy_is(tbl regclass, policy name, condition text) RETURNS boolean
LANGUAGE c STABLE PARALLEL UNSAFE STRICT AS 'MODULE_PATHNAME', 'cdp_policy_is';
COMMENT ON FUNCTION cdp.policy_is(regclass, name, text) IS 'Is this the condition of the policy?  Part of cdp.selfcheck().';

CREATE FUNCTION cdp.install_script() RETURNS text
LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_install_script';
COMMENT ON FUNCTION cdp.install_script() IS 'The script that CREATE EXTENSION ran; null if the file is not there. Part of cdp.selfcheck().';

-- Functions that a script creates; source is the body, or the symbol of one in C.
CREATE FUNCTION cdp.script_functions(script text) RETURNS TABLE (name text, language text, source text, leakproof boolean)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	-- in pieces: CREATE EXTENSION replaces the word wherever it stands
	library text := '''MODULE' || '_PATHNAME''';
BEGIN
	RETURN QUERY
	SELECT split_part(c.chunk, '(', 1), CASE WHEN strpos(c.head, library) > 0 THEN 'c' ELSE lower(substring(c.head FROM 'LANGUAGE (\w+)')) END,
		CASE WHEN strpos(c.head, library) > 0 THEN substring(c.head FROM library || ', ''(\w+)''')
			WHEN strpos(c.head, '$' || '$') > 0 THEN split_part(c.chunk, '$' || '$', 2)
			ELSE replace(substring(c.chunk FROM 'AS\s+''((?:[^'']|'''')*)'''), '''''', '''') END,
		split_part(c.head, '$' || '$', 1) ~ '\mLEAKPROOF\M'
	FROM (SELECT u.chunk, split_part(u.chunk, ';', 1) AS head
		FROM regexp_split_to_table(E'\n' || script, '\nCREATE (?:FUNCTION|PROCEDURE) cdp\.') WITH ORDINALITY u (chunk, n) WHERE u.n > 1) c;
END $$;
COMMENT ON FUNCTION cdp.script_functions(text) IS 'Functions and procedures that an install script creates. Part of cdp.selfcheck().';

CREATE FUNCTION cdp.holes_of_roles() RETURNS TABLE (severity text, object text, what text, remedy text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	owner oid := (SELECT n.nspowner FROM pg_namespace n WHERE n.nspname = 'cdp_data');
BEGIN
	RETURN QUERY SELECT 'critical', format('role %I', r.rolname), 'owner of the storage may log in, is a superuser, bypasses row security, or creates roles, databases or replicas',
		format('ALTER ROLE %I NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB NOREPLICATION;', r.rolname)
	FROM pg_roles r WHERE r.oid = owner AND (r.rolcanlogin OR r.rolsuper OR r.rolbypassrls OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication);

	RETURN QUERY SELECT 'critical', format('role %I', r.rolname), format('is a member of %I, whose functions and triggers run in everybody''s statements', o.rolname), format('REVOKE %I FROM %I;', o.rolname, r.rolname)
	FROM pg_roles r CROSS JOIN pg_roles o WHERE o.oid = owner AND r.oid <> owner AND NOT r.rolsuper AND pg_has_role(r.oid, owner, 'MEMBER');

	RETURN QUERY SELECT 'high', format('role %I', o.rolname), format('the owner of the storage is a member of %I, so what it runs for everybody has those rights', g.rolname), format('REVOKE %I FROM %I;', g.rolname, o.rolname)
	FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles o ON o.oid = m.member WHERE m.member = owner;

	RETURN QUERY WITH provisioned AS (
		SELECT k.role_name AS name FROM cdp_data.role_kind k UNION SELECT p.role_name FROM cdp_data.role_purpose p)
	SELECT 'critical', format('role %I', r.rolname), 'is provisioned, and a superuser or exempt from row security: it sees everybody', format('ALTER ROLE %I NOSUPERUSER NOBYPASSRLS; -- or SELECT cdp.deprovision(%L);', r.rolname, quote_ident(r.rolname))
	FROM provisioned p JOIN pg_roles r ON r.rolname = p.name WHERE r.rolsuper OR r.rolbypassrls
	UNION ALL
	SELECT 'critical', format('role %I', r.rolname), format('is provisioned, and may become %I, whom row security does not stop', x.rolname), format('REVOKE %I FROM %I;', x.rolname, r.rolname)
	FROM provisioned p JOIN pg_roles r ON r.rolname = p.name JOIN pg_roles x ON (x.rolsuper OR x.rolbypassrls) AND x.oid <> r.oid
	WHERE NOT r.rolsuper AND pg_has_role(r.oid, x.oid, 'MEMBER')
	UNION ALL
	SELECT 'critical', format('role %I', r.rolname), format('is provisioned, and has the rights of %I, which read or write all there is', x.rolname), format('REVOKE %I FROM %I;', x.rolname, r.rolname)
	FROM provisioned p JOIN pg_roles r ON r.rolname = p.name
	JOIN pg_roles x ON x.rolname IN ('pg_read_all_data', 'pg_write_all_data', 'pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program')
	WHERE NOT r.rolsuper AND pg_has_role(r.oid, x.oid, 'MEMBER')
	UNION ALL
	SELECT 'critical', format('role %I', r.rolname), 'is provisioned, and may replicate: it can copy the whole server', format('ALTER ROLE %I NOREPLICATION;', r.rolname)
	FROM provisioned p JOIN pg_roles r ON r.rolname = p.name WHERE r.rolreplication AND NOT r.rolsuper
	UNION ALL
	-- who takes the name takes the rights
	SELECT 'warning', format('role %I', p.name), 'has kinds or purposes, and does not exist: whoever is created under this name has them', format('DELETE FROM cdp_data.role_kind WHERE role_name = %L; DELETE FROM cdp_data.role_purpose WHERE role_name = %L;', p.name, p.name)
	FROM provisioned p WHERE NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = p.name);

	RETURN QUERY SELECT 'high', format('role %I', r.rolname), 'creates roles, and before PostgreSQL 16 that lets it join any of them but superusers', format('ALTER ROLE %I NOCREATEROLE;', r.rolname)
	FROM pg_roles r WHERE r.rolcreaterole AND NOT r.rolsuper AND r.oid <> owner AND current_setting('server_version_num')::int < 160000;

	RETURN QUERY SELECT 'critical', 'schema cdp_data', format('belongs to %I', pg_get_userbyid(n.nspowner)), 'ALTER SCHEMA cdp_data OWNER TO cdp_owner;'
	FROM pg_namespace n WHERE n.nspname = 'cdp_data' AND pg_get_userbyid(n.nspowner) <> 'cdp_owner';
	RETURN QUERY SELECT 'critical', 'schema cdp', format('belongs to %I, who is no superuser', r.rolname), format('ALTER SCHEMA cdp OWNER TO %I;', (SELECT pg_get_userbyid(e.extowner) FROM pg_extension e WHERE e.extname = 'cdp'))
	FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner WHERE n.nspname = 'cdp' AND NOT r.rolsuper;

	-- by a grant, as a member, or as one who reads all data
	RETURN QUERY SELECT 'high', 'schema cdp_data', format('%s has USAGE: it can name tables, and so read columns that no view shows', coalesce(quote_ident(x.name), 'PUBLIC')), format('REVOKE ALL ON SCHEMA cdp_data FROM %s; -- or what gives it, such as pg_read_all_data', coalesce(quote_ident(x.name), 'PUBLIC'))
	FROM (SELECT r.rolname AS name FROM pg_roles r WHERE NOT r.rolsuper AND r.rolname !~ '^pg_' AND NOT pg_has_role(r.oid, owner, 'MEMBER') AND has_schema_privilege(r.oid, 'cdp_data', 'USAGE, CREATE')
			AND NOT EXISTS (SELECT FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) a WHERE n.nspname = 'cdp_data' AND a.grantee = 0)
		UNION ALL SELECT NULL FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) a WHERE n.nspname = 'cdp_data' AND a.grantee = 0) x;
	RETURN QUERY SELECT DISTINCT 'critical', 'schema cdp', format('%s may create objects in it', CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END), format('REVOKE CREATE ON SCHEMA cdp FROM %s;', CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END)
	FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) a WHERE n.nspname = 'cdp' AND a.privilege_type = 'CREATE' AND a.grantee NOT IN (n.nspowner, owner);
	RETURN QUERY SELECT 'warning', format('schema %I', n.nspname), 'anybody may create objects in it, and who has it in search_path may meet them', format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC;', n.nspname)
	FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) a WHERE n.nspname NOT IN ('cdp', 'cdp_data') AND a.privilege_type = 'CREATE' AND a.grantee = 0;
END $$;
COMMENT ON FUNCTION cdp.holes_of_roles() IS 'Part of cdp.selfcheck(): roles, memberships and schemas.';

CREATE FUNCTION cdp.holes_of_grants() RETURNS TABLE (severity text, object text, what text, remedy text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	owner oid := (SELECT n.nspowner FROM pg_namespace n WHERE n.nspname = 'cdp_data');
BEGIN
	-- what PUBLIC got with the extension is recorded by the server
	RETURN QUERY SELECT 'high', format('function %s', p.oid::regprocedure), 'PUBLIC may execute it', format('REVOKE ALL ON ROUTINE %s FROM PUBLIC;', p.oid::regprocedure)
	FROM pg_proc p WHERE p.pronamespace = 'cdp'::regnamespace AND EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee = 0)
		AND NOT EXISTS (SELECT FROM pg_init_privs i CROSS JOIN LATERAL aclexplode(i.initprivs) a WHERE i.classoid = 'pg_proc'::regclass AND i.objoid = p.oid AND i.objsubid = 0 AND a.grantee = 0);
	RETURN QUERY SELECT DISTINCT 'critical', format('relation %s', c.oid::regclass), format('PUBLIC has %s on it', a.privilege_type), format('REVOKE ALL ON %s FROM PUBLIC;', c.oid::regclass)
	FROM pg_class c CROSS JOIN LATERAL (SELECT e.grantee, e.privilege_type FROM aclexplode(c.relacl) e
		UNION ALL SELECT e.grantee, e.privilege_type FROM pg_attribute t CROSS JOIN LATERAL aclexplode(t.attacl) e WHERE t.attrelid = c.oid) a
	WHERE c.relnamespace IN ('cdp'::regnamespace, 'cdp_data'::regnamespace) AND a.grantee = 0;

	RETURN QUERY WITH held AS MATERIALIZED (
		SELECT 'function' AS object, p.proname AS name, NULL::name AS col, p.oid::regprocedure::text AS shown, a.grantee, a.privilege_type AS privilege
		FROM pg_proc p CROSS JOIN LATERAL aclexplode(p.proacl) a WHERE p.pronamespace = 'cdp'::regnamespace AND a.grantee <> p.proowner
		UNION ALL
		SELECT CASE WHEN c.relnamespace = 'cdp'::regnamespace THEN 'view' ELSE 'table' END, c.relname, t.attname, c.oid::regclass::text, a.grantee, a.privilege_type
		FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid AND t.attacl IS NOT NULL AND t.attnum > 0
		CROSS JOIN LATERAL aclexplode(t.attacl) a WHERE c.relnamespace IN ('cdp'::regnamespace, 'cdp_data'::regnamespace)
		UNION ALL
		SELECT CASE WHEN c.relnamespace = 'cdp'::regnamespace THEN 'view' ELSE 'table' END, c.relname, NULL, c.oid::regclass::text, a.grantee, a.privilege_type
		FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a WHERE c.relnamespace IN ('cdp'::regnamespace, 'cdp_data'::regnamespace) AND a.grantee <> c.relowner
	), due AS MATERIALIZED (
		SELECT r.oid AS grantee, k.kind, CASE WHEN x.object IN ('insert', 'update') THEN 'view' ELSE x.object END AS object, x.name, u.col, x.privilege
		FROM cdp_data.role_kind k JOIN pg_roles r ON r.rolname = k.role_name JOIN cdp.kind_rights() x ON x.kind = k.kind
		CROSS JOIN LATERAL unnest(coalesce(x.columns, '{NULL}')) u (col) WHERE NOT r.rolsuper
		UNION ALL
		SELECT r.oid, k.kind, 'table', 'profile', t.name, 'SELECT' FROM cdp_data.role_kind k JOIN pg_roles r ON r.rolname = k.role_name CROSS JOIN cdp_data.trait t
		WHERE EXISTS (SELECT FROM cdp.kind_rights() x WHERE x.kind = k.kind AND x.object = 'table' AND x.name = 'profile')
	)
	SELECT CASE h.object WHEN 'function' THEN 'warning' ELSE 'high' END, format('role %I', r.rolname), format('has %s on %s, which no kind of its own gives', h.privilege, h.shown)
			|| coalesce(' (' || string_agg(h.col, ', ' ORDER BY h.col) || ')', ''),
		format('REVOKE %s ON %s%s FROM %I CASCADE;', h.privilege || coalesce(' (' || string_agg(quote_ident(h.col), ', ' ORDER BY h.col) || ')', ''), CASE h.object WHEN 'function' THEN 'ROUTINE ' ELSE '' END, h.shown, r.rolname)
	FROM held h JOIN pg_roles r ON r.oid = h.grantee
	WHERE NOT r.rolsuper AND h.grantee <> owner AND NOT EXISTS (SELECT FROM due d WHERE d.grantee = h.grantee AND d.object = h.object AND d.name = h.name AND d.privilege = h.privilege AND (d.col IS NULL OR d.col = h.col))
	GROUP BY h.object, r.rolname, h.privilege, h.shown, h.col IS NULL
	UNION ALL
	SELECT 'warning', format('role %I', r.rolname), format('lacks rights of kind %s (%s of them)', d.kind, count(*)), format('SELECT cdp.provision(%L, %L);', quote_ident(r.rolname), d.kind)
	FROM due d JOIN pg_roles r ON r.oid = d.grantee
	WHERE NOT EXISTS (SELECT FROM held h WHERE h.grantee = d.grantee AND h.object = d.object AND h.name = d.name AND h.privilege = d.privilege AND (h.col IS NULL OR h.col = d.col))
		AND (d.object <> 'function' OR EXISTS (SELECT FROM pg_proc p WHERE p.pronamespace = 'cdp'::regnamespace AND p.proname = d.name AND p.provolatile <> 'i'))
	GROUP BY r.rolname, d.kind;

	RETURN QUERY SELECT 'high', format('default privileges of %I', pg_get_userbyid(d.defaclrole)), format('new objects%s would be granted to others', coalesce(' in schema ' || quote_ident(n.nspname), '')),
		(SELECT string_agg(format('ALTER DEFAULT PRIVILEGES FOR ROLE %I%s REVOKE ALL ON %s FROM %s;', pg_get_userbyid(d.defaclrole), coalesce(' IN SCHEMA ' || quote_ident(n.nspname), ''),
			CASE d.defaclobjtype WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS' WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS' ELSE 'TABLES' END, g.name), ' ' ORDER BY g.name)
			FROM (SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS name FROM aclexplode(d.defaclacl) a WHERE a.grantee <> d.defaclrole) g)
	FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace
	WHERE (d.defaclrole = owner OR n.nspname IN ('cdp', 'cdp_data')) AND EXISTS (SELECT FROM aclexplode(d.defaclacl) a WHERE a.grantee <> d.defaclrole);
END $$;
COMMENT ON FUNCTION cdp.holes_of_grants() IS 'Part of cdp.selfcheck(): rights on objects of cdp, compared with those of the kinds.';

CREATE FUNCTION cdp.holes_of_tables() RETURNS TABLE (severity text, object text, what text, remedy text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	owner oid := (SELECT n.nspowner FROM pg_namespace n WHERE n.nspname = 'cdp_data');
BEGIN
	RETURN QUERY SELECT 'critical', format('table cdp_data.%I', p.tbl), 'is not there', '-- Restore it from a backup.'
	FROM cdp_data.protection p WHERE to_regclass(format('cdp_data.%I', p.tbl)) IS NULL;

	RETURN QUERY WITH RECURSIVE guarded AS MATERIALIZED (
		SELECT to_regclass(format('cdp_data.%I', p.tbl))::oid AS rel, p.condition FROM cdp_data.protection p
		WHERE p.kind = 'guard' AND to_regclass(format('cdp_data.%I', p.tbl)) IS NOT NULL
		UNION SELECT i.inhrelid, g.condition FROM guarded g JOIN pg_inherits i ON i.inhparent = g.rel
	), t AS MATERIALIZED (
		SELECT c.oid, c.oid::regclass AS rel, format('table %s', c.oid::regclass) AS object, g.condition, c.relrowsecurity, c.relforcerowsecurity FROM guarded g JOIN pg_class c ON c.oid = g.rel)
	SELECT 'critical', t.object, 'row security is not enabled', format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY;', t.rel) FROM t WHERE NOT t.relrowsecurity
	UNION ALL
	SELECT 'high', t.object, 'row security is not forced: it does not hold for its owner', format('ALTER TABLE %s FORCE ROW LEVEL SECURITY;', t.rel) FROM t WHERE NOT t.relforcerowsecurity
	UNION ALL
	SELECT 'critical', t.object, 'its policy consent is missing or is not what cdp.init() made', format('DROP POLICY IF EXISTS consent ON %s; SELECT cdp.init();', t.rel)
	FROM t WHERE NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = t.oid AND p.polname = 'consent' AND p.polcmd = 'r' AND p.polpermissive
		AND p.polroles = '{0}' AND p.polwithcheck IS NULL AND cdp.policy_is(t.rel, 'consent', t.condition))
	UNION ALL
	SELECT 'high', t.object, 'its policy owner_all is missing or is not what cdp.init() made', format('DROP POLICY IF EXISTS owner_all ON %s; SELECT cdp.init();', t.rel)
	FROM t WHERE NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = t.oid AND p.polname = 'owner_all' AND p.polcmd = '*' AND p.polpermissive
		AND p.polroles = ARRAY[owner] AND pg_get_expr(p.polqual, p.polrelid) = 'true' AND pg_get_expr(p.polwithcheck, p.polrelid) = 'true')
	UNION ALL
	SELECT CASE WHEN p.polpermissive THEN 'critical' ELSE 'warning' END, t.object, format('has a policy %I that is not ours%s', p.polname, CASE WHEN p.polpermissive THEN ': it shows what consent hides' ELSE '' END), format('DROP POLICY %I ON %s;', p.polname, t.rel)
	FROM t JOIN pg_policy p ON p.polrelid = t.oid WHERE p.polname NOT IN ('consent', 'owner_all')
	UNION ALL
	SELECT 'high', t.object, format('statistics object %I.%I keeps combinations of people''s values', n.nspname, x.stxname), format('DROP STATISTICS %I.%I;', n.nspname, x.stxname)
	FROM t JOIN pg_statistic_ext x ON x.stxrelid = t.oid JOIN pg_namespace n ON n.oid = x.stxnamespace;

	RETURN QUERY SELECT 'critical', format('table %s', c.oid::regclass), 'seems to hold persons, and nothing guards it', '-- Put it under cdp.guard() in cdp.install_protection(), or drop it.'
	FROM pg_class c WHERE c.relnamespace = 'cdp_data'::regnamespace AND c.relkind IN ('r', 'p', 'f', 'm') AND NOT c.relispartition
		AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND NOT a.attisdropped AND a.attname IN ('profile_id', 'node_id', 'ord', 'winner', 'old_id', 'payload'))
		AND NOT EXISTS (SELECT FROM cdp_data.protection p WHERE p.kind = 'guard' AND p.tbl = c.relname);
	RETURN QUERY SELECT 'high', format('relation %s', c.oid::regclass), format('belongs to %I', pg_get_userbyid(c.relowner)), format('ALTER TABLE %s OWNER TO %I;', c.oid::regclass, pg_get_userbyid(owner))
	FROM pg_class c WHERE (c.relnamespace = 'cdp_data'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') OR c.relnamespace = 'cdp'::regnamespace AND c.relkind = 'v') AND c.relowner <> owner;

	RETURN QUERY SELECT 'high', format('table cdp_data.%I', p.tbl), 'its trigger config_changed is missing or off: sessions go on with the rights and purposes they know', format('DROP TRIGGER IF EXISTS config_changed ON cdp_data.%I; SELECT cdp.init();', p.tbl)
	FROM cdp_data.protection p WHERE p.kind = 'watch' AND to_regclass(format('cdp_data.%I', p.tbl)) IS NOT NULL
		AND NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = to_regclass(format('cdp_data.%I', p.tbl)) AND g.tgname = 'config_changed' AND g.tgenabled = 'A' AND g.tgfoid = 'cdp.config_changed'::regproc);
	RETURN QUERY SELECT 'high', format('relation %s', c.oid::regclass), format('trigger %I runs %s in everybody''s statements', g.tgname, g.tgfoid::regprocedure), format('DROP TRIGGER %I ON %s;', g.tgname, c.oid::regclass)
	FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid JOIN pg_proc f ON f.oid = g.tgfoid
	WHERE c.relnamespace IN ('cdp'::regnamespace, 'cdp_data'::regnamespace) AND NOT g.tgisinternal AND g.tgparentid = 0 AND f.pronamespace <> 'cdp'::regnamespace;
	RETURN QUERY SELECT 'high', format('relation %s', c.oid::regclass), format('rule %I changes what statements do', r.rulename), format('DROP RULE %I ON %s;', r.rulename, c.oid::regclass)
	FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class WHERE c.relnamespace IN ('cdp'::regnamespace, 'cdp_data'::regnamespace) AND r.rulename <> '_RETURN';
	RETURN QUERY SELECT 'high', format('table %s', k.conrelid::regclass), format('foreign key %I to %s: inserting tells who is there, past row security', k.conname, k.confrelid::regclass), format('ALTER TABLE %s DROP CONSTRAINT %I;', k.conrelid::regclass, k.conname)
	FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_class f ON f.oid = k.confrelid
	WHERE k.contype = 'f' AND k.conparentid = 0 AND (c.relnamespace = 'cdp_data'::regnamespace) <> (f.relnamespace = 'cdp_data'::regnamespace);
	RETURN QUERY SELECT 'critical', format('table %s', i.inhrelid::regclass), format('inherits across the border of cdp_data, with %s', i.inhparent::regclass), format('ALTER TABLE %s NO INHERIT %s; -- or DETACH PARTITION', i.inhrelid::regclass, i.inhparent::regclass)
	FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent
	WHERE c.relkind IN ('r', 'p', 'f') AND (c.relnamespace = 'cdp_data'::regnamespace) <> (p.relnamespace = 'cdp_data'::regnamespace);

	-- indexes, defaults, checks and generated columns run as the owner, in everybody's statements
	RETURN QUERY SELECT DISTINCT 'high', format('relation %s', x.rel::regclass), format('%s runs %s as the owner of the storage', x.what, f.oid::regprocedure), x.remedy
	FROM (SELECT i.indrelid AS rel, format('index %s', i.indexrelid::regclass) AS what, format('DROP INDEX %s;', i.indexrelid::regclass) AS remedy, 'pg_class'::regclass AS class, i.indexrelid AS oid FROM pg_index i
		UNION ALL SELECT d.adrelid, 'a default or generated column', format('ALTER TABLE %s ALTER COLUMN %I DROP %s;', d.adrelid::regclass, t.attname, CASE t.attgenerated WHEN '' THEN 'DEFAULT' ELSE 'EXPRESSION' END), 'pg_attrdef'::regclass, d.oid
			FROM pg_attrdef d JOIN pg_attribute t ON t.attrelid = d.adrelid AND t.attnum = d.adnum
		UNION ALL SELECT k.conrelid, format('constraint %I', k.conname), format('ALTER TABLE %s DROP CONSTRAINT %I;', k.conrelid::regclass, k.conname), 'pg_constraint'::regclass, k.oid FROM pg_constraint k) x
	JOIN pg_class c ON c.oid = x.rel AND c.relnamespace = 'cdp_data'::regnamespace
	JOIN pg_depend d ON d.classid = x.class AND d.objid = x.oid AND d.refclassid = 'pg_proc'::regclass
	JOIN pg_proc f ON f.oid = d.refobjid WHERE f.pronamespace NOT IN ('cdp'::regnamespace, 'pg_catalog'::regnamespace);

	RETURN QUERY SELECT 'high', format('publication %I', p.pubname), format('publishes %s whatever people allow', x.what), format(x.remedy, p.pubname) || ' -- or accept it for a copy of your own'
	FROM pg_publication p JOIN (
		SELECT r.prpubid AS pub, r.prrelid::regclass::text AS what, format('ALTER PUBLICATION %%I DROP TABLE %s;', r.prrelid::regclass) AS remedy FROM pg_publication_rel r JOIN pg_class c ON c.oid = r.prrelid WHERE c.relnamespace = 'cdp_data'::regnamespace
		UNION ALL SELECT n.pnpubid, 'schema cdp_data', 'ALTER PUBLICATION %I DROP TABLES IN SCHEMA cdp_data;' FROM pg_publication_namespace n WHERE n.pnnspid = 'cdp_data'::regnamespace
		UNION ALL SELECT a.oid, 'all tables', 'DROP PUBLICATION %I;' FROM pg_publication a WHERE a.puballtables) x ON x.pub = p.oid;
	RETURN QUERY SELECT 'high', format('table %s', s.srrelid::regclass), 'a subscription writes into it past the library', '-- Drop the subscription.'
	FROM pg_subscription_rel s JOIN pg_class c ON c.oid = s.srrelid WHERE c.relnamespace = 'cdp_data'::regnamespace;

	RETURN QUERY SELECT 'high', format('relation %s', c.oid::regclass), 'PUBLIC may read it, and with it values of columns it may not', format('REVOKE ALL ON %s FROM PUBLIC;', c.oid::regclass)
	FROM pg_class c WHERE c.oid IN ('pg_statistic'::regclass, 'pg_statistic_ext_data'::regclass, 'pg_authid'::regclass, 'pg_user_mapping'::regclass)
		AND (EXISTS (SELECT FROM aclexplode(c.relacl) a WHERE a.grantee = 0) OR c.oid = 'pg_statistic'::regclass AND EXISTS (SELECT FROM pg_attribute t CROSS JOIN LATERAL aclexplode(t.attacl) a WHERE t.attrelid = c.oid AND a.grantee = 0));
	RETURN QUERY SELECT 'high', format('relation %s', c.oid::regclass), format('role %I may read it, and with it values of people it may not see', r.rolname), format('REVOKE ALL ON %s FROM %I;', c.oid::regclass, r.rolname)
	FROM pg_class c JOIN pg_roles r ON NOT r.rolsuper AND r.rolname !~ '^pg_' AND has_any_column_privilege(r.oid, c.oid, 'SELECT')
	WHERE c.oid IN ('pg_statistic'::regclass, 'pg_statistic_ext_data'::regclass) AND NOT EXISTS (SELECT FROM aclexplode(c.relacl) a WHERE a.grantee = 0);
END $$;
COMMENT ON FUNCTION cdp.holes_of_tables() IS 'Part of cdp.selfcheck(): tables that hold persons, their policies, and what others attached to them.';

CREATE FUNCTION cdp.holes_of_code() RETURNS TABLE (severity text, object text, what text, remedy text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	owner oid := (SELECT n.nspowner FROM pg_namespace n WHERE n.nspname = 'cdp_data');
	extension oid := (SELECT e.oid FROM pg_extension e WHERE e.extname = 'cdp');
	script text := cdp.install_script();
BEGIN
	RETURN QUERY SELECT 'critical', 'extension cdp', format('belongs to %I, who is no superuser', r.rolname), format('ALTER ROLE %I SUPERUSER; -- or dump the database, drop it and restore it as a superuser', r.rolname)
	FROM pg_extension e JOIN pg_roles r ON r.oid = e.extowner WHERE e.extname = 'cdp' AND NOT r.rolsuper;
	RETURN QUERY SELECT 'warning', 'extension cdp', format('is of version %s in the database and %s in the library', e.extversion, v.library), 'ALTER EXTENSION cdp UPDATE; SELECT cdp.migrate(); -- or install the files of one version'
	FROM pg_extension e CROSS JOIN cdp.version() v WHERE e.extname = 'cdp' AND e.extversion <> v.library;
	IF script IS NULL THEN
		RETURN QUERY VALUES ('warning', 'extension cdp', 'its script is not among the server''s files: functions were not compared with it', '-- Install the files of one version again.');
	END IF;

	RETURN QUERY SELECT 'high', format('function %s', p.oid::regprocedure), 'is in schema cdp and not of the extension', format('DROP ROUTINE %s;', p.oid::regprocedure)
	FROM pg_proc p WHERE p.pronamespace = 'cdp'::regnamespace
		AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_extension'::regclass AND d.refobjid = extension AND d.deptype = 'e');
	RETURN QUERY SELECT 'high', format('relation %s', c.oid::regclass), 'is in schema cdp, and not a view that cdp.init() made', format('ALTER TABLE %s SET SCHEMA public; -- or drop it', c.oid::regclass)
	FROM pg_class c WHERE c.relnamespace = 'cdp'::regnamespace AND c.relkind IN ('r', 'p', 'm', 'f', 'S');
	RETURN QUERY SELECT 'critical', format('function %s', p.oid::regprocedure), format('belongs to %I, who is no superuser', r.rolname), format('ALTER ROUTINE %s OWNER TO %I;', p.oid::regprocedure, (SELECT pg_get_userbyid(e.extowner) FROM pg_extension e WHERE e.extname = 'cdp'))
	FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner WHERE p.pronamespace = 'cdp'::regnamespace AND NOT r.rolsuper;
	RETURN QUERY SELECT 'high', format('function %s', p.oid::regprocedure), 'runs with its owner''s rights (SECURITY DEFINER)', format('ALTER ROUTINE %s SECURITY INVOKER;', p.oid::regprocedure)
	FROM pg_proc p WHERE p.pronamespace = 'cdp'::regnamespace AND p.prosecdef;
	RETURN QUERY SELECT 'high', format('function %s', p.oid::regprocedure), 'has no fixed search_path, so names in it may mean what its caller wants', format('ALTER ROUTINE %s SET search_path = pg_catalog, pg_temp;', p.oid::regprocedure)
	FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang WHERE p.pronamespace = 'cdp'::regnamespace AND l.lanname IN ('sql', 'plpgsql') AND p.prosqlbody IS NULL
		AND NOT coalesce(p.proconfig @> '{"search_path=pg_catalog, pg_temp"}', false);
	RETURN QUERY WITH f AS MATERIALIZED (SELECT * FROM cdp.script_functions(script))
	SELECT 'critical', format('function %s', p.oid::regprocedure), 'is not what the extension''s script makes of it', 'DROP EXTENSION cdp CASCADE; CREATE EXTENSION cdp; SELECT cdp.init(); -- keeps the data, not what others built on the views'
	FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
	WHERE p.pronamespace = 'cdp'::regnamespace AND p.prokind IN ('f', 'p', 'w') AND script IS NOT NULL
		AND (l.lanname = 'c' AND p.probin IS DISTINCT FROM '$libdir/cdp'
			OR NOT (l.lanname = 'sql' AND p.prosqlbody IS NOT NULL)
				AND NOT EXISTS (SELECT FROM f WHERE f.name = p.proname AND f.language = l.lanname AND f.source = p.prosrc AND f.leakproof = p.proleakproof))
		AND EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_extension'::regclass AND d.refobjid = extension AND d.deptype = 'e');

	-- below policies run what is leakproof, before all names what is in pg_catalog
	RETURN QUERY SELECT 'critical', format('function %s', p.oid::regprocedure), 'is marked LEAKPROOF, so it is shown the rows that policies hide', format('ALTER FUNCTION %s NOT LEAKPROOF;', p.oid::regprocedure)
	FROM pg_proc p WHERE p.proleakproof AND p.oid >= 16384 AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e');
	RETURN QUERY SELECT 'critical', x.object, 'was put into pg_catalog, where the functions of cdp find what they name', '-- Drop it.'
	FROM (SELECT format('function %s', p.oid::regprocedure) AS object, 'pg_proc'::regclass AS class, p.oid FROM pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace
		UNION ALL SELECT format('operator %s', o.oid::regoperator), 'pg_operator'::regclass, o.oid FROM pg_operator o WHERE o.oprnamespace = 'pg_catalog'::regnamespace
		UNION ALL SELECT format('relation %s', c.oid::regclass), 'pg_class'::regclass, c.oid FROM pg_class c WHERE c.relnamespace = 'pg_catalog'::regnamespace) x
	WHERE x.oid >= 16384 AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = x.class AND d.objid = x.oid AND d.deptype = 'e');
	RETURN QUERY SELECT 'high', format('function %s', p.oid::regprocedure), format('reads cdp with the rights of %I, for whoever calls it%s', r.rolname, CASE WHEN NOT coalesce(array_to_string(p.proconfig, ' ') ~ '(^| )search_path=', false) THEN ', and has no fixed search_path' ELSE '' END),
		format('ALTER ROUTINE %s SECURITY INVOKER; -- or DROP it', p.oid::regprocedure)
	FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner WHERE p.prosecdef AND p.pronamespace NOT IN ('cdp'::regnamespace, 'pg_catalog'::regnamespace)
		AND p.prosrc ~* '\m"?cdp(_data)?"?\s*\.' AND (r.rolsuper OR r.rolbypassrls OR pg_has_role(r.oid, owner, 'MEMBER'));
	RETURN QUERY SELECT 'high', format('event trigger %I', e.evtname), format('runs %s when cdp makes a partition, as the owner of the storage', e.evtfoid::regprocedure), format('DROP EVENT TRIGGER %I; -- or ALTER EVENT TRIGGER %I DISABLE;', e.evtname, e.evtname)
	FROM pg_event_trigger e WHERE e.evtenabled <> 'D' AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_event_trigger'::regclass AND d.objid = e.oid AND d.deptype = 'e');
END $$;
COMMENT ON FUNCTION cdp.holes_of_code() IS 'Part of cdp.selfcheck(): functions, those of the extension and those of others that reach it.';

CREATE FUNCTION cdp.holes_of_views() RETURNS TABLE (severity text, object text, what text, remedy text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	owner oid := (SELECT n.nspowner FROM pg_namespace n WHERE n.nspname = 'cdp_data');
BEGIN
	RETURN QUERY SELECT 'critical', format('view %s', c.oid::regclass), 'does not ask with its reader''s rights (security_invoker), so it shows everybody', format('ALTER VIEW %s SET (security_invoker = true);', c.oid::regclass)
	FROM pg_class c WHERE c.relnamespace = 'cdp'::regnamespace AND c.relkind = 'v' AND NOT coalesce((SELECT bool_or(o.option_value::boolean) FROM pg_options_to_table(c.reloptions) o WHERE o.option_name = 'security_invoker'), false);
	RETURN QUERY SELECT DISTINCT 'critical', format('view %s', c.oid::regclass), format('runs %s in everybody''s statements', f.oid::regprocedure), 'DROP EXTENSION cdp CASCADE; CREATE EXTENSION cdp; SELECT cdp.init(); -- keeps the data, not what others built on the views'
	FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class AND c.relnamespace = 'cdp'::regnamespace
	JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_proc'::regclass
	JOIN pg_proc f ON f.oid = d.refobjid WHERE f.pronamespace NOT IN ('cdp'::regnamespace, 'pg_catalog'::regnamespace);
	RETURN QUERY SELECT 'high', format('view %s', c.oid::regclass), 'is no barrier any more: conditions of others may run before its own', format('ALTER VIEW %s SET (security_barrier = true);', c.oid::regclass)
	FROM pg_class c WHERE c.oid IN ('pg_stats'::regclass, 'pg_stats_ext'::regclass, 'pg_stats_ext_exprs'::regclass, 'cdp.identity_history'::regclass)
		AND NOT coalesce((SELECT bool_or(o.option_value::boolean) FROM pg_options_to_table(c.reloptions) o WHERE o.option_name = 'security_barrier'), false);

	-- views of others, and views on those
	RETURN QUERY WITH RECURSIVE above AS (
		SELECT c.oid FROM pg_class c WHERE c.relnamespace IN ('cdp'::regnamespace, 'cdp_data'::regnamespace) AND c.relkind IN ('r', 'p', 'v')
		UNION SELECT r.ev_class FROM above a JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = a.oid AND d.classid = 'pg_rewrite'::regclass JOIN pg_rewrite r ON r.oid = d.objid)
	SELECT CASE WHEN c.relkind = 'm' AND cardinality(x.readers) = 0 THEN 'warning' ELSE 'critical' END, format('%s %s', CASE c.relkind WHEN 'm' THEN 'materialized view' ELSE 'view' END, c.oid::regclass),
		CASE WHEN c.relkind = 'm' THEN format('is a copy that no withdrawal reaches%s', CASE WHEN cardinality(x.readers) > 0 THEN ', and ' || array_to_string(x.readers, ', ') || ' may read it' ELSE '' END)
			ELSE format('shows everybody: it asks with the rights of %I', pg_get_userbyid(c.relowner)) END,
		CASE WHEN c.relkind = 'm' THEN format('DROP MATERIALIZED VIEW %s;', c.oid::regclass) ELSE format('ALTER VIEW %s SET (security_invoker = true);', c.oid::regclass) END
	FROM above a JOIN pg_class c ON c.oid = a.oid JOIN pg_roles o ON o.oid = c.relowner
	CROSS JOIN LATERAL (SELECT ARRAY(SELECT DISTINCT CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END
		FROM (SELECT e.grantee, e.privilege_type FROM aclexplode(c.relacl) e
			UNION ALL SELECT e.grantee, e.privilege_type FROM pg_attribute t CROSS JOIN LATERAL aclexplode(t.attacl) e WHERE t.attrelid = c.oid) g
		WHERE g.privilege_type = 'SELECT' AND g.grantee <> c.relowner ORDER BY 1) AS readers) x
	WHERE c.relnamespace NOT IN ('cdp'::regnamespace, 'cdp_data'::regnamespace) AND (c.relkind = 'm' OR c.relkind = 'v' AND (o.rolsuper OR o.rolbypassrls OR pg_has_role(o.oid, owner, 'MEMBER'))
		AND NOT coalesce((SELECT bool_or(v.option_value::boolean) FROM pg_options_to_table(c.reloptions) v WHERE v.option_name = 'security_invoker'), false));
END $$;
COMMENT ON FUNCTION cdp.holes_of_views() IS 'Part of cdp.selfcheck(): the public views, and what others made of them.';

CREATE FUNCTION cdp.holes_around() RETURNS TABLE (severity text, object text, what text, remedy text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
	RETURN QUERY SELECT 'high', 'setting cdp.clock', 'is in force: consent that has expired holds, or that which begins later', 'RESET cdp.clock;' WHERE current_setting('cdp.clock') <> '';
	RETURN QUERY SELECT 'high', 'setting allow_system_table_mods', 'is on: catalogues can be changed past all checks', 'ALTER SYSTEM RESET allow_system_table_mods; -- and reload' WHERE current_setting('allow_system_table_mods')::boolean;
	RETURN QUERY SELECT 'high', format('setting %s', split_part(v, '=', 1)), format('is set for %s', concat_ws(' in ', 'role ' || quote_ident(r.rolname), 'database ' || quote_ident(d.datname))),
		format('ALTER %s RESET %s;', coalesce('ROLE ' || quote_ident(r.rolname) || coalesce(' IN DATABASE ' || quote_ident(d.datname), ''), 'DATABASE ' || quote_ident(d.datname)), split_part(v, '=', 1))
	FROM pg_db_role_setting s CROSS JOIN LATERAL unnest(s.setconfig) v LEFT JOIN pg_roles r ON r.oid = s.setrole LEFT JOIN pg_database d ON d.oid = s.setdatabase
	WHERE (s.setdatabase = 0 OR d.datname = current_database()) AND split_part(v, '=', 1) IN ('cdp.clock', 'session_replication_role', 'allow_system_table_mods');
	RETURN QUERY SELECT 'high', format('setting %s', p.parname), format('%s may set it', CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END), format('REVOKE ALL ON PARAMETER %s FROM %s;', p.parname, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END)
	FROM pg_parameter_acl p CROSS JOIN LATERAL aclexplode(p.paracl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
	WHERE (p.parname ~ '^cdp\.' OR p.parname IN ('session_replication_role', 'allow_system_table_mods', 'session_preload_libraries', 'dynamic_library_path')) AND NOT coalesce(r.rolsuper, false);

	-- only who may read the jobs is told of them
	IF to_regclass('cron.job') IS NOT NULL AND EXISTS (SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'pg_cron'
			WHERE d.classid = 'pg_class'::regclass AND d.objid = to_regclass('cron.job') AND d.deptype = 'e')
			AND (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user) THEN
		RETURN QUERY EXECUTE format('SELECT %L, format(%L, j.jobid), format(%L, j.username), format(%L, j.jobid)
			FROM cron.job j LEFT JOIN pg_roles r ON r.rolname = j.username
			WHERE j.command ~* %L AND j.database = current_database() AND NOT coalesce(r.rolsuper, false)',
			'high', 'pg_cron job %s', 'runs cdp as %I', 'SELECT cron.unschedule(%s);', '\mcdp(_data)?\s*\.');
	END IF;
END $$;
COMMENT ON FUNCTION cdp.holes_around() IS 'Part of cdp.selfcheck(): settings and scheduled jobs.';

CREATE FUNCTION cdp.find_holes() RETURNS TABLE (severity text, object text, what text, remedy text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN QUERY SELECT * FROM cdp.holes_of_roles() UNION ALL SELECT * FROM cdp.holes_of_grants() UNION ALL SELECT * FROM cdp.holes_of_tables()
	UNION ALL SELECT * FROM cdp.holes_of_code() UNION ALL SELECT * FROM cdp.holes_of_views() UNION ALL SELECT * FROM cdp.holes_around();
END $$;
COMMENT ON FUNCTION cdp.find_holes() IS 'What cdp.selfcheck() shows.';
