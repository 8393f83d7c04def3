-- 31_consent.sql: may we use it.  Purposes, roles, records and the policies' test.

CREATE FUNCTION cdp.allowed(ord int) RETURNS boolean
LANGUAGE c STABLE LEAKPROOF PARALLEL SAFE STRICT COST 10 AS 'MODULE_PATHNAME', 'cdp_allowed';
COMMENT ON FUNCTION cdp.allowed(int) IS
'May the current role see the person at this position?  True when she allows every purpose in force; false when none is in force.';

CREATE FUNCTION cdp.allowed_node(node_id bigint) RETURNS boolean
LANGUAGE c STABLE LEAKPROOF PARALLEL SAFE STRICT COST 10 AS 'MODULE_PATHNAME', 'cdp_allowed_node';
COMMENT ON FUNCTION cdp.allowed_node(bigint) IS
'May the current role see the person this node belongs to?  As cdp.allowed(), for rows keyed by node.';

CREATE FUNCTION cdp.has_kind(kind text) RETURNS boolean
LANGUAGE c STABLE LEAKPROOF PARALLEL SAFE STRICT COST 10 AS 'MODULE_PATHNAME', 'cdp_has_kind';
COMMENT ON FUNCTION cdp.has_kind(text) IS
'Is the current role, or one whose rights it has, provisioned as this kind (ingest, app, analyst, service, privacy)?';

CREATE FUNCTION cdp.install_consent() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	CREATE TABLE cdp_data.purpose (
		purpose_id	int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
		name		text COLLATE "C" NOT NULL UNIQUE,
		description	text,
		created_at	timestamptz NOT NULL DEFAULT statement_timestamp()
	);

	-- Roles by name: a dump restores where the roles exist or not.
	CREATE TABLE cdp_data.role_purpose (
		role_name	name NOT NULL,
		purpose_id	int NOT NULL,
		PRIMARY KEY (role_name, purpose_id)
	);
	CREATE TABLE cdp_data.role_kind (
		role_name	name NOT NULL,
		kind		text COLLATE "C" NOT NULL CHECK (kind IN ('ingest', 'app', 'analyst', 'service', 'privacy')),
		PRIMARY KEY (role_name, kind)
	);

	-- Append only; one row per identifier that a message named.
	CREATE TABLE cdp_data.consent_log (
		consent_id	bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
		node_id		bigint NOT NULL,
		purpose_id	int NOT NULL,
		state		text COLLATE "C" NOT NULL CHECK (state IN ('granted', 'denied', 'withdrawn', 'objected', 'restricted')),
		ts			timestamptz NOT NULL,
		message_key	uuid NOT NULL,
		valid_until	timestamptz NOT NULL,
		source		text NOT NULL,
		message_id	text NOT NULL,
		recorded_at	timestamptz NOT NULL,
		recorded_by	name NOT NULL
	);
	CREATE INDEX consent_log_node ON cdp_data.consent_log (node_id);

	-- The latest record of each identifier, by (ts, message_key).
	CREATE TABLE cdp_data.consent_current (
		node_id		bigint NOT NULL,
		purpose_id	int NOT NULL,
		state		text COLLATE "C" NOT NULL,
		ts			timestamptz NOT NULL,
		message_key	uuid NOT NULL,
		valid_until	timestamptz NOT NULL,
		source		text NOT NULL,
		PRIMARY KEY (node_id, purpose_id)
	);

	-- What the policies test: a row per person (by ord) and per node that
	-- allows the purpose, until valid_to.  Derived; kept by every merge and
	-- every consent in its own transaction.
	CREATE TABLE cdp_data.consent_ord (
		purpose_id	int NOT NULL,
		ord			int NOT NULL,
		valid_to	timestamptz NOT NULL,
		PRIMARY KEY (ord, purpose_id)
	);
	CREATE TABLE cdp_data.consent_node (
		purpose_id	int NOT NULL,
		node_id		bigint NOT NULL,
		valid_to	timestamptz NOT NULL,
		PRIMARY KEY (node_id, purpose_id)
	);
END $$;
COMMENT ON FUNCTION cdp.install_consent() IS 'Step of cdp.init(): tables of purposes, roles and consent.';

CREATE FUNCTION cdp.define_purpose(name text, description text DEFAULT NULL) RETURNS int
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	id int;
BEGIN
	PERFORM cdp.require_admin();
	PERFORM cdp.check_name('a purpose', name);
	IF name ~ '[,[:space:]]' THEN
		RAISE invalid_name USING
			MESSAGE = format('purpose name %s is not usable', quote_literal(name)),
			HINT = 'A purpose has no comma and no space in its name, so that cdp.purpose can list several.';
	END IF;
	INSERT INTO cdp_data.purpose AS p (name, description)
	VALUES (define_purpose.name, define_purpose.description)
	ON CONFLICT ON CONSTRAINT purpose_name_key DO UPDATE
		SET description = coalesce(excluded.description, p.description)
	RETURNING p.purpose_id INTO id;
	RETURN id;
END $$;
COMMENT ON FUNCTION cdp.define_purpose(text, text) IS
'Declares what data may be used for, such as analytics or marketing; returns its number. Nobody allows a new purpose.';

CREATE FUNCTION cdp.purpose_id(purpose text) RETURNS int
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	id int;
BEGIN
	PERFORM cdp.require_init();
	SELECT p.purpose_id INTO id FROM cdp_data.purpose p WHERE p.name = purpose_id.purpose COLLATE "C";
	IF id IS NULL THEN
		RAISE undefined_object USING
			MESSAGE = format('purpose %s does not exist', coalesce(quote_ident(purpose), 'NULL')),
			HINT = 'Declare it with SELECT cdp.define_purpose(...).';
	END IF;
	RETURN id;
END $$;
COMMENT ON FUNCTION cdp.purpose_id(text) IS 'Number of a purpose; raises if it does not exist.';

CREATE FUNCTION cdp.permit(role regrole, purpose text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	id int;
BEGIN
	PERFORM cdp.require_admin();
	IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = role) THEN
		RAISE undefined_object USING MESSAGE = 'role does not exist';
	END IF;
	id := cdp.purpose_id(purpose);
	INSERT INTO cdp_data.role_purpose (role_name, purpose_id)
	VALUES ((SELECT r.rolname FROM pg_roles r WHERE r.oid = role), id) ON CONFLICT DO NOTHING;
	PERFORM cdp.provision(role, 'analyst');
END $$;
COMMENT ON FUNCTION cdp.permit(regrole, text) IS
'Lets a role read, for this purpose, the people who allow it; a role with several purposes sees who allows all of them.';

CREATE FUNCTION cdp.forbid(role regrole, purpose text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	id int;
BEGIN
	PERFORM cdp.require_admin();
	IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = role) THEN
		RAISE undefined_object USING MESSAGE = 'role does not exist';
	END IF;
	id := cdp.purpose_id(purpose);
	DELETE FROM cdp_data.role_purpose rp
	WHERE rp.role_name = (SELECT r.rolname FROM pg_roles r WHERE r.oid = role) AND rp.purpose_id = id;
END $$;
COMMENT ON FUNCTION cdp.forbid(regrole, text) IS
'Takes a purpose from a role; holds for every statement that starts after the commit.';
