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
'Is the current role, or one whose rights it has, provisioned as this kind (ingest, app, analyst, marketer, service, privacy, auditor)?';

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
		kind		text COLLATE "C" NOT NULL CHECK (kind IN ('ingest', 'app', 'analyst', 'marketer', 'service', 'privacy', 'auditor')),
		PRIMARY KEY (role_name, kind)
	);

	-- Append only; one row per identifier that a message named.
	CREATE TABLE cdp_data.consent_log (
		consent_id	bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
		node_id		bigint NOT NULL,
		purpose_id	int NOT NULL,
		state		text COLLATE "C" NOT NULL CHECK (state IN ('granted', 'denied', 'withdrawn', 'objected', 'restricted') OR state = 'stated' AND purpose_id = 0),
		ts			timestamptz NOT NULL,
		message_key	uuid NOT NULL,
		valid_until	timestamptz NOT NULL,
		source		text NOT NULL,
		message_id	text NOT NULL,
		recorded_at	timestamptz NOT NULL,
		recorded_by	name NOT NULL,
		-- A channel, or all of them: see consent_current.
		channel		text COLLATE "C" NOT NULL DEFAULT 'all',
		basis		text COLLATE "C",
		notice_id	int,
		collection_point text,
		valid_from	timestamptz,
		jurisdiction text COLLATE "C",
		-- As it came, its kind before it.
		signal		text
	);
	CREATE INDEX consent_log_node ON cdp_data.consent_log (node_id);

	-- The latest record of each identifier, by (ts, message_key), for the
	-- purpose on all channels and on each that somebody spoke of.
	CREATE TABLE cdp_data.consent_current (
		node_id		bigint NOT NULL,
		purpose_id	int NOT NULL,
		state		text COLLATE "C" NOT NULL,
		ts			timestamptz NOT NULL,
		message_key	uuid NOT NULL,
		valid_until	timestamptz NOT NULL,
		source		text NOT NULL,
		channel		text COLLATE "C" NOT NULL DEFAULT 'all',
		basis		text COLLATE "C",
		notice_id	int,
		collection_point text,
		valid_from	timestamptz,
		jurisdiction text COLLATE "C",
		PRIMARY KEY (node_id, purpose_id, channel)
	);

	-- What people were told when they were asked, in the order of its becoming
	-- required: a grant under an earlier one does not count from then on.
	CREATE TABLE cdp_data.notice (
		notice_id	int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
		purpose_id	int NOT NULL,
		version		text COLLATE "C" NOT NULL,
		required_from timestamptz NOT NULL,
		created_at	timestamptz NOT NULL DEFAULT statement_timestamp(),
		UNIQUE (purpose_id, version)
	);

	-- What holds where nobody was asked: allowed only where every jurisdiction
	-- that was stated of a person allows it (a record of purpose 0 states one).
	CREATE TABLE cdp_data.consent_default (
		purpose_id	int NOT NULL,
		jurisdiction text COLLATE "C" NOT NULL,
		allows		boolean NOT NULL,
		PRIMARY KEY (purpose_id, jurisdiction)
	);

	-- What the policies test: a row per person (by ord) and per node that
	-- allows the purpose, from valid_from until valid_to, as long as no notice
	-- after notice_id is required.  Derived; kept by every merge and every
	-- consent in its own transaction.  Null, and without cost: of old, and none.
	CREATE TABLE cdp_data.consent_ord (
		purpose_id	int NOT NULL,
		ord			int NOT NULL,
		valid_to	timestamptz NOT NULL,
		valid_from	timestamptz,
		notice_id	int,
		PRIMARY KEY (ord, purpose_id)
	);
	CREATE TABLE cdp_data.consent_node (
		purpose_id	int NOT NULL,
		node_id		bigint NOT NULL,
		valid_to	timestamptz NOT NULL,
		valid_from	timestamptz,
		notice_id	int,
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

CREATE FUNCTION cdp.define_notice(purpose text, version text, required_from timestamptz DEFAULT NULL) RETURNS int
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	purpose_no int;
	id int;
	since timestamptz := coalesce(required_from, 'infinity');
BEGIN
	PERFORM cdp.require_admin();
	PERFORM cdp.check_name('a version of a notice', version);
	purpose_no := cdp.purpose_id(purpose);
	-- nobody may be found on a list by what was required before, after this
	PERFORM cdp.lock_storage();
	INSERT INTO cdp_data.notice AS n (purpose_id, version, required_from) VALUES (purpose_no, define_notice.version, since)
	ON CONFLICT ON CONSTRAINT notice_purpose_id_version_key DO UPDATE SET required_from = excluded.required_from
	RETURNING n.notice_id INTO id;
	-- later versions are required later: then a grant has one limit, the next of them
	IF since <> 'infinity' AND EXISTS (SELECT FROM cdp_data.notice n WHERE n.purpose_id = purpose_no AND n.required_from <> 'infinity'
			AND (n.notice_id < id AND n.required_from >= since OR n.notice_id > id AND n.required_from <= since)) THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'versions of a notice are required in the order of their declaration',
			HINT = 'See cdp.notices.';
	END IF;
	PERFORM cdp.build_lists_of(purpose_no);
	RETURN id;
END $$;
COMMENT ON FUNCTION cdp.define_notice(text, text, timestamptz) IS
'Declares a version of what people are told of a purpose; from required_from on, grants under an earlier version or none do not count. Null: it is not required (yet). Returns its number. It waits for writers.';

CREATE FUNCTION cdp.derive_consents(jurisdiction text) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE STRICT AS 'MODULE_PATHNAME', 'cdp_derive_consents';
COMMENT ON FUNCTION cdp.derive_consents(text) IS
'Derives anew what the people of a jurisdiction allow; the caller holds cdp.lock_storage(). Part of cdp.define_default(). Returns how many they are.';

CREATE FUNCTION cdp.define_default(purpose text, jurisdiction text, allows boolean) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	purpose_no int;
	people bigint;
BEGIN
	PERFORM cdp.require_admin();
	PERFORM cdp.check_name('a jurisdiction', jurisdiction);
	purpose_no := cdp.purpose_id(purpose);
	IF allows IS NULL THEN
		RAISE null_value_not_allowed USING MESSAGE = 'allows must not be null';
	END IF;
	-- nobody's consent may be derived by the old default after this
	PERFORM cdp.lock_storage();
	INSERT INTO cdp_data.consent_default AS d (purpose_id, jurisdiction, allows) VALUES (purpose_no, define_default.jurisdiction, define_default.allows)
	ON CONFLICT ON CONSTRAINT consent_default_pkey DO UPDATE SET allows = excluded.allows;
	people := cdp.derive_consents(jurisdiction);
	PERFORM cdp.build_lists_of(purpose_no);
	RETURN people;
END $$;
COMMENT ON FUNCTION cdp.define_default(text, text, boolean) IS
'Says whether a purpose is allowed to people of a jurisdiction who were never asked (opt-out) or not (opt-in, and wherever nothing is defined); returns how many people are known to be of it. It waits for writers.';

CREATE FUNCTION cdp.define_channel(name text, namespace text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM cdp.require_admin();
	PERFORM cdp.check_name('a channel', name);
	IF name = 'all' COLLATE "C" THEN
		RAISE invalid_name USING MESSAGE = 'a channel cannot be called all', DETAIL = 'It is what a consent for every channel says.';
	END IF;
	INSERT INTO cdp_data.channel AS c (name, namespace) VALUES (define_channel.name, define_channel.namespace)
	ON CONFLICT ON CONSTRAINT channel_pkey DO UPDATE SET namespace = excluded.namespace;
END $$;
COMMENT ON FUNCTION cdp.define_channel(text, text) IS
'Declares a channel and the namespace of identifiers that are addresses on it; null: cdp.claim() gives none.';

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
	-- a role that reads as something else keeps to that
	IF NOT EXISTS (SELECT FROM cdp_data.role_kind k JOIN pg_roles r ON r.rolname = k.role_name
			WHERE r.oid = role AND k.kind IN ('app', 'analyst', 'marketer', 'service', 'privacy')) THEN
		PERFORM cdp.provision(role, 'analyst');
	END IF;
END $$;
COMMENT ON FUNCTION cdp.permit(regrole, text) IS
'Lets a role read, for this purpose, the people who allow it; a role with several purposes sees who allows all of them. One without a kind that reads becomes an analyst.';

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
