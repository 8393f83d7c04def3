-- 42_metric.sql: what people did, added up.  Metrics and their states.

CREATE FUNCTION cdp.install_metric() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	CREATE TABLE cdp_data.metric (
		metric_id	int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
		name		text COLLATE "C" NOT NULL UNIQUE,
		event		text,
		aggregate	text COLLATE "C" NOT NULL,
		property	text,
		filter		jsonb,
		period		interval,
		type		text COLLATE "C" NOT NULL,
		state		text COLLATE "C" NOT NULL CHECK (state IN ('building', 'ready')),
		created_at	timestamptz NOT NULL DEFAULT statement_timestamp(),
		-- earlier events were gone when it was defined; null: none were
		complete_since timestamptz
	);

	-- One row per node with what its events add up to, of all metrics: an event
	-- writes one row, and a merge or its undoing none.
	CREATE TABLE cdp_data.metric_state (
		node_id		bigint PRIMARY KEY,
		states		bytea NOT NULL
	) WITH (fillfactor = 70);
END $$;
COMMENT ON FUNCTION cdp.install_metric() IS 'Step of cdp.init(): tables of metrics.';

CREATE FUNCTION cdp.metric_bigint(profile_id bigint, metric_id int) RETURNS bigint
LANGUAGE c STABLE PARALLEL RESTRICTED STRICT COST 1000 AS 'MODULE_PATHNAME', 'cdp_metric_typed';
COMMENT ON FUNCTION cdp.metric_bigint(bigint, int) IS
'What a metric of type bigint says of a person now; column of cdp.profiles. NULL for whom the caller may not see.';
CREATE FUNCTION cdp.metric_float8(profile_id bigint, metric_id int) RETURNS double precision
LANGUAGE c STABLE PARALLEL RESTRICTED STRICT COST 1000 AS 'MODULE_PATHNAME', 'cdp_metric_typed';
COMMENT ON FUNCTION cdp.metric_float8(bigint, int) IS
'What a metric of type double precision says of a person now; column of cdp.profiles. NULL for whom the caller may not see.';
CREATE FUNCTION cdp.metric_text(profile_id bigint, metric_id int) RETURNS text
LANGUAGE c STABLE PARALLEL RESTRICTED STRICT COST 1000 AS 'MODULE_PATHNAME', 'cdp_metric_typed';
COMMENT ON FUNCTION cdp.metric_text(bigint, int) IS
'What a metric of type text says of a person now; column of cdp.profiles. NULL for whom the caller may not see.';
CREATE FUNCTION cdp.metric_timestamptz(profile_id bigint, metric_id int) RETURNS timestamptz
LANGUAGE c STABLE PARALLEL RESTRICTED STRICT COST 1000 AS 'MODULE_PATHNAME', 'cdp_metric_typed';
COMMENT ON FUNCTION cdp.metric_timestamptz(bigint, int) IS
'What a metric of type timestamptz says of a person now; column of cdp.profiles. NULL for whom the caller may not see.';
CREATE FUNCTION cdp.metric_text_array(profile_id bigint, metric_id int) RETURNS text[]
LANGUAGE c STABLE PARALLEL RESTRICTED STRICT COST 1000 AS 'MODULE_PATHNAME', 'cdp_metric_typed';
COMMENT ON FUNCTION cdp.metric_text_array(bigint, int) IS
'What a metric of type text[] says of a person now; column of cdp.profiles. NULL for whom the caller may not see.';

CREATE FUNCTION cdp.metric_value(profile_id bigint, metric text) RETURNS jsonb
LANGUAGE c STABLE PARALLEL RESTRICTED STRICT COST 1000 AS 'MODULE_PATHNAME', 'cdp_metric_value';
COMMENT ON FUNCTION cdp.metric_value(bigint, text) IS
'What a metric says of a person now, as JSON; NULL without events that count, while the metric is being built, and for whom the caller may not see.';

CREATE FUNCTION cdp.check_metric_filter(filter jsonb) RETURNS void
LANGUAGE c IMMUTABLE PARALLEL SAFE STRICT AS 'MODULE_PATHNAME', 'cdp_check_metric_filter';
COMMENT ON FUNCTION cdp.check_metric_filter(jsonb) IS
'Raises if this cannot be a metric''s filter; part of cdp.define_metric().';

CREATE FUNCTION cdp.check_profile_column(kind text, name text, type text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	present text;
BEGIN
	IF kind = 'metric' AND EXISTS (SELECT FROM cdp_data.metric m WHERE m.name = check_profile_column.name COLLATE "C")
		OR kind = 'sequence' AND EXISTS (SELECT FROM cdp_data.sequence s WHERE s.name = check_profile_column.name COLLATE "C") THEN
		RAISE duplicate_object USING
			MESSAGE = format('%s %s is already defined', kind, quote_ident(name)),
			HINT = format('Drop it first with cdp.drop_%s().', kind);
	END IF;
	IF EXISTS (SELECT FROM cdp_data.trait t WHERE t.name = check_profile_column.name COLLATE "C")
		OR EXISTS (SELECT FROM cdp_data.metric m WHERE m.name = check_profile_column.name COLLATE "C")
		OR EXISTS (SELECT FROM cdp_data.sequence s WHERE s.name = check_profile_column.name COLLATE "C")
		OR EXISTS (SELECT FROM cdp_data.dimension d WHERE d.profile_column = check_profile_column.name COLLATE "C")
		OR EXISTS (SELECT FROM cdp_data.segment s WHERE s.shown AND 'is_' || s.name = check_profile_column.name COLLATE "C")
		OR name IN ('profile_id', 'first_seen', 'last_seen', 'events', 'segments', 'segment_set', 'identifiers', 'traits',
			'tableoid', 'xmin', 'xmax', 'cmin', 'cmax', 'ctid') THEN
		RAISE reserved_name USING
			MESSAGE = format('%s %s cannot be defined: cdp.profiles has such a column', kind, quote_ident(name)),
			HINT = 'Give it another name.';
	END IF;
	SELECT format_type(a.atttypid, NULL) INTO present FROM pg_attribute a
	WHERE a.attrelid = to_regclass('cdp.profiles') AND a.attname = check_profile_column.name AND a.attnum > 0;
	IF present <> type THEN
		RAISE duplicate_object USING
			MESSAGE = format('%s %s would be of type %s', kind, quote_ident(name), type),
			DETAIL = format('One of that name that was dropped was of type %s, and its column stays for the views that use it.', present),
			HINT = 'Give it another name.';
	END IF;
END $$;
COMMENT ON FUNCTION cdp.check_profile_column(text, text, text) IS
'Raises if cdp.profiles cannot have another column of this name and type, of a metric, a sequence or a dimension; part of what defines them.';

CREATE FUNCTION cdp.define_metric(name text, event text DEFAULT NULL, aggregate text DEFAULT 'count', property text DEFAULT NULL,
	filter jsonb DEFAULT NULL, period interval DEFAULT NULL) RETURNS int
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	kind text := lower(btrim(aggregate));
	value_type text;
	id int;
	start timestamp := '2026-01-01';
BEGIN
	PERFORM cdp.require_admin();
	PERFORM cdp.check_name('a metric', name);
	value_type := CASE
		WHEN kind IN ('count', 'unique_count') THEN 'bigint'
		WHEN kind IN ('sum', 'avg', 'min', 'max') THEN 'double precision'
		WHEN kind IN ('first', 'last') THEN CASE WHEN property IS NULL THEN 'timestamp with time zone' ELSE 'text' END
		WHEN kind = 'most_frequent' THEN 'text'
		WHEN kind = 'list' THEN 'text[]' END;
	IF value_type IS NULL THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('metric %s cannot have aggregate %s', quote_ident(name), coalesce(quote_literal(aggregate), 'NULL')),
			HINT = 'Aggregates are count, sum, avg, min, max, first, last, unique_count, most_frequent and list.';
	END IF;
	IF property IS NULL AND kind NOT IN ('count', 'first', 'last') THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('metric %s needs a property', quote_ident(name)),
			HINT = format('Say of what: cdp.define_metric(..., aggregate => %L, property => ''total'').', kind);
	END IF;
	IF property IS NOT NULL AND (property = '' OR property ~ '(^\.|\.\.|\.$)') THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('property %s of metric %s is not a path', quote_literal(property), quote_ident(name)),
			HINT = 'A path is the names of properties from the outside in, with dots: cart.total.';
	END IF;
	IF event = '' THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('metric %s cannot be of an event without a name', quote_ident(name)),
			HINT = 'Give the name of a tracked event, a type such as page, or NULL for every event.';
	END IF;
	-- of mixed signs it would not always be before now
	IF period IS NOT NULL AND (least(extract(year FROM period), extract(month FROM period), extract(day FROM period),
			extract(hour FROM period), extract(minute FROM period), extract(second FROM period)) < 0 OR start + period <= start OR start + period > start + interval '1000 years') THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('metric %s cannot have period %s', quote_ident(name), period),
			HINT = 'A period is longer than nothing and at most 1000 years.';
	END IF;
	IF event = 'session_ended' AND NOT EXISTS (SELECT FROM cdp_data.session_rule) THEN
		RAISE object_not_in_prerequisite_state USING
			MESSAGE = format('metric %s would be of sessions, and none are kept', quote_ident(name)),
			HINT = 'Call cdp.set_session() first.';
	END IF;
	PERFORM cdp.check_metric_filter(filter);
	PERFORM cdp.check_profile_column('metric', name, value_type);

	PERFORM cdp.lock_storage(true);
	INSERT INTO cdp_data.metric (name, event, aggregate, property, filter, period, type, state)
	VALUES (define_metric.name, define_metric.event, kind, define_metric.property, define_metric.filter, define_metric.period, value_type,
		CASE WHEN event <> 'session_ended' IS NOT FALSE AND EXISTS (SELECT FROM cdp_data.node) THEN 'building' ELSE 'ready' END)
	RETURNING metric_id INTO id;
	PERFORM cdp.metric_retention(name);
	INSERT INTO cdp_data.task (kind, target, total_rows)
	SELECT 'metric', id, (SELECT greatest(c.reltuples, 0)::bigint FROM pg_class c WHERE c.oid = 'cdp_data.node'::regclass)
	FROM cdp_data.metric m WHERE m.metric_id = id AND m.state = 'building';
	IF NOT EXISTS (SELECT FROM cdp_data.task k WHERE k.kind = 'metric_tidy') THEN
		INSERT INTO cdp_data.task (kind) VALUES ('metric_tidy');
	END IF;
	PERFORM cdp.refresh_views();
	RETURN id;
END $$;
COMMENT ON FUNCTION cdp.define_metric(text, text, text, text, jsonb, interval) IS
'Adds up what people did: a column of cdp.profiles. aggregate over a property (a.b) of an event (NULL: of all), of those that the filter lets through, within the last period (NULL: ever). What happened before is added in cdp.maintain().';

CREATE FUNCTION cdp.drop_metric(name text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	id int;
BEGIN
	PERFORM cdp.require_admin();
	SELECT m.metric_id INTO id FROM cdp_data.metric m WHERE m.name = drop_metric.name COLLATE "C";
	IF id IS NULL THEN
		RAISE undefined_object USING MESSAGE = format('metric %s does not exist', coalesce(quote_ident(name), 'NULL'));
	END IF;
	PERFORM cdp.lock_storage(true);
	PERFORM cdp.check_unused('metric', name);
	DELETE FROM cdp_data.task k WHERE k.kind = 'metric' AND k.target = id AND k.state IN ('waiting', 'running');
	DELETE FROM cdp_data.metric m WHERE m.metric_id = id;
	PERFORM cdp.refresh_views();
END $$;
COMMENT ON FUNCTION cdp.drop_metric(text) IS 'Drops a metric; its column in cdp.profiles stays, with NULLs, for the views that use it.';
