-- 00_head.sql: start of the install script.
\echo Use "CREATE EXTENSION cdp" to load this file. \quit

SET LOCAL search_path TO pg_catalog, pg_temp;

-- Plain CREATE: a schema that somebody else made is an error, never adopted.
CREATE SCHEMA cdp;
COMMENT ON SCHEMA cdp IS 'Customer data platform: types, functions and views. Storage is in cdp_data.';

CREATE FUNCTION cdp.config_changed() RETURNS trigger
LANGUAGE c AS 'MODULE_PATHNAME', 'cdp_config_changed';
COMMENT ON FUNCTION cdp.config_changed() IS
'Trigger of configuration tables: makes every session read its cached configuration anew.';

CREATE FUNCTION cdp.require_init() RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_require_init';
COMMENT ON FUNCTION cdp.require_init() IS
'Raises a clear error unless cdp.init() has run and the tables fit the library.';

CREATE FUNCTION cdp.storage_paths(OUT table_name text, OUT action text, OUT direct boolean, OUT reason text) RETURNS SETOF record
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE ROWS 20 AS 'MODULE_PATHNAME', 'cdp_storage_paths';
COMMENT ON FUNCTION cdp.storage_paths() IS
'What this session did with single rows of cdp''s tables: directly, or by statements and why (a trigger, a check, a policy ... that somebody added).';

CREATE FUNCTION cdp.require_admin() RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM cdp.require_init();
	-- Configuration decides what runs with the owner's rights and in whose
	-- statements: whoever may change it is as strong as a superuser.
	IF NOT (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user) THEN
		RAISE insufficient_privilege USING
			MESSAGE = format('role "%s" may not configure cdp', current_user),
			HINT = 'Configuration is for superusers.';
	END IF;
END $$;
COMMENT ON FUNCTION cdp.require_admin() IS
'Raises unless the caller may configure cdp: a superuser.';

CREATE FUNCTION cdp.check_name(kind text, name text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF name IS NULL OR btrim(name) = '' THEN
		RAISE null_value_not_allowed USING
			MESSAGE = format('%s must have a name', kind);
	END IF;
	IF octet_length(name) > 63 OR name ~ '[[:cntrl:]]' OR name <> btrim(name) THEN
		RAISE invalid_name USING
			MESSAGE = format('%s name %s is not usable', kind, quote_literal(name)),
			HINT = 'A name has at most 63 bytes, no control characters and no spaces at its ends.';
	END IF;
	RETURN name;
END $$;
COMMENT ON FUNCTION cdp.check_name(text, text) IS
'Returns the name if it can name an object of that kind, raises otherwise.';

-- Storage is created by the owner role, inside cdp.init(); a table that holds
-- persons is guarded before it holds a row.
CREATE FUNCTION cdp.guard(tbl text, condition text, noted boolean DEFAULT true) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	-- what cdp.selfcheck() compares with; partitions are as their parent
	IF noted THEN
		INSERT INTO cdp_data.protection AS p (tbl, kind, condition) VALUES (guard.tbl, 'guard', guard.condition)
		ON CONFLICT ON CONSTRAINT protection_pkey DO UPDATE SET condition = excluded.condition WHERE p.condition <> excluded.condition;
	END IF;
	EXECUTE format('ALTER TABLE cdp_data.%I ENABLE ROW LEVEL SECURITY', tbl);
	EXECUTE format('ALTER TABLE cdp_data.%I FORCE ROW LEVEL SECURITY', tbl);
	IF NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = format('cdp_data.%I', tbl)::regclass AND p.polname = 'owner_all') THEN
		EXECUTE format('CREATE POLICY owner_all ON cdp_data.%I TO %I USING (true) WITH CHECK (true)', tbl,
					   (SELECT pg_get_userbyid(n.nspowner) FROM pg_namespace n WHERE n.nspname = 'cdp_data'));
	END IF;
	IF NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = format('cdp_data.%I', tbl)::regclass AND p.polname = 'consent') THEN
		EXECUTE format('CREATE POLICY consent ON cdp_data.%I FOR SELECT TO PUBLIC USING (%s)', tbl, condition);
	END IF;
END $$;
COMMENT ON FUNCTION cdp.guard(text, text, boolean) IS
'Puts a table of cdp_data under row-level security: the owner sees all, others the rows for which the condition holds.';

CREATE FUNCTION cdp.watch(tbl text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	INSERT INTO cdp_data.protection (tbl, kind) VALUES (watch.tbl, 'watch') ON CONFLICT DO NOTHING;
	IF NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = format('cdp_data.%I', tbl)::regclass AND g.tgname = 'config_changed') THEN
		EXECUTE format('CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON cdp_data.%I '
					   'FOR EACH STATEMENT EXECUTE FUNCTION cdp.config_changed()', tbl);
		-- also where changes are applied by replication
		EXECUTE format('ALTER TABLE cdp_data.%I ENABLE ALWAYS TRIGGER config_changed', tbl);
	END IF;
END $$;
COMMENT ON FUNCTION cdp.watch(text) IS
'Makes a table of cdp_data a configuration table: its changes reach every session''s cache.';
