-- 52_plan.sql: the tracking plan, what events should look like.

CREATE FUNCTION cdp.install_plan() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	CREATE TABLE cdp_data.event_definition (
		name		text COLLATE "C" PRIMARY KEY,
		schema		jsonb NOT NULL,
		mode		text COLLATE "C" NOT NULL CHECK (mode IN ('off', 'flag', 'coerce', 'strict')),
		changed_at	timestamptz NOT NULL DEFAULT statement_timestamp()
	);

	-- What is to be added up: each batch appends, cdp.maintain() folds.  A key
	-- would be contended for by all sessions.
	CREATE TABLE cdp_data.tracking_violation (
		event		text COLLATE "C" NOT NULL,
		path		text COLLATE "C" NOT NULL,
		rule		text COLLATE "C" NOT NULL,
		mode		text COLLATE "C" NOT NULL,
		times		bigint NOT NULL,
		first_at	timestamptz NOT NULL,
		last_at		timestamptz NOT NULL,
		message_id	text NOT NULL
	);
END $$;
COMMENT ON FUNCTION cdp.install_plan() IS 'Step of cdp.init(): tables of the tracking plan.';

CREATE FUNCTION cdp.install_plan_views() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	CREATE VIEW cdp.event_definitions WITH (security_invoker = true) AS
	SELECT d.name::text AS name, d.mode::text AS mode, d.schema, d.changed_at FROM cdp_data.event_definition d;
	COMMENT ON VIEW cdp.event_definitions IS 'The tracking plan: what each event should look like, and what happens to messages that do not.';
	COMMENT ON COLUMN cdp.event_definitions.mode IS 'off; flag counts what is wrong; coerce converts what it can and counts the rest; strict refuses the message.';

	CREATE VIEW cdp.tracking_violations WITH (security_invoker = true) AS
	SELECT v.event::text AS event, v.path::text AS path, v.rule::text AS rule, v.mode::text AS mode, sum(v.times)::bigint AS times,
		min(v.first_at) AS first_at, max(v.last_at) AS last_at,
		(array_agg(v.message_id ORDER BY v.last_at DESC, v.message_id COLLATE "C"))[1] AS message_id
	FROM cdp_data.tracking_violation v GROUP BY v.event, v.path, v.rule, v.mode;
	COMMENT ON VIEW cdp.tracking_violations IS 'Messages that break the tracking plan, counted by event, place in the properties and rule; kinds ingest and privacy only.';
	COMMENT ON COLUMN cdp.tracking_violations.path IS 'As in the schema, never as in the message: $ is all, [] an element, * a property that the schema does not name.';
	COMMENT ON COLUMN cdp.tracking_violations.times IS 'Messages, each once, however often it came.';
	COMMENT ON COLUMN cdp.tracking_violations.message_id IS 'One of them, of the latest.';
END $$;
COMMENT ON FUNCTION cdp.install_plan_views() IS 'Part of the views of cdp.init(): the tracking plan and what broke it.';

CREATE FUNCTION cdp.check_event_schema(schema jsonb) RETURNS void
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'cdp_check_event_schema';
COMMENT ON FUNCTION cdp.check_event_schema(jsonb) IS 'Raises unless the schema keeps to the subset of JSON Schema that cdp.define_event() takes.';

CREATE FUNCTION cdp.define_event(name text, schema jsonb, mode text DEFAULT 'flag') RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM cdp.require_admin();
	IF name IS NULL OR name = '' OR octet_length(name) > 512 THEN
		RAISE invalid_name USING MESSAGE = 'the name of an event must be text of 1 to 512 bytes';
	END IF;
	IF mode IS NULL OR mode NOT IN ('off', 'flag', 'coerce', 'strict') THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('mode %s is unknown', coalesce(quote_literal(mode), 'NULL')),
			HINT = 'Use off, flag, coerce or strict.';
	END IF;
	IF schema IS NULL THEN
		RAISE null_value_not_allowed USING MESSAGE = 'schema must not be null', HINT = 'The schema {} takes everything.';
	END IF;
	PERFORM cdp.check_event_schema(schema);
	INSERT INTO cdp_data.event_definition AS d (name, schema, mode) VALUES (define_event.name, define_event.schema, define_event.mode)
	ON CONFLICT ON CONSTRAINT event_definition_pkey DO UPDATE
	SET schema = excluded.schema, mode = excluded.mode, changed_at = excluded.changed_at;
END $$;
COMMENT ON FUNCTION cdp.define_event(text, jsonb, text) IS
'Says by a JSON Schema what the properties of an event should be, and what happens to messages that differ: off, flag, coerce or strict. ''*'' is for events without a definition; $identify, $group, $page and $screen are for such messages. It holds for messages from now on.';

CREATE FUNCTION cdp.drop_event(name text) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM cdp.require_admin();
	DELETE FROM cdp_data.event_definition d WHERE d.name = drop_event.name;
	RETURN FOUND;
END $$;
COMMENT ON FUNCTION cdp.drop_event(text) IS
'Takes an event out of the tracking plan; false if it was not in it. Its messages and what was counted stay.';
