-- 44_sequence.sql: who did one thing and then not another.

CREATE FUNCTION cdp.install_sequence() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	CREATE TABLE cdp_data.sequence (
		sequence_id	int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
		name		text COLLATE "C" NOT NULL UNIQUE,
		did			text NOT NULL,
		then_not	text NOT NULL,
		same		text,
		period		interval NOT NULL,
		did_filter	jsonb,
		then_filter	jsonb,
		holds		interval,
		result		text COLLATE "C" NOT NULL CHECK (result IN ('boolean', 'count', 'list')),
		type		text COLLATE "C" NOT NULL,
		state		text COLLATE "C" NOT NULL CHECK (state IN ('building', 'ready')),
		created_at	timestamptz NOT NULL DEFAULT statement_timestamp(),
		-- earlier events were gone when it was defined; null: none that matter were
		complete_since timestamptz
	);

	-- What an event is to a sequence: 1 what was done, 2 what was not to be
	-- done then, 3 both. As immutable as the event.
	CREATE TABLE cdp_data.sequence_mark (
		node_id		bigint NOT NULL,
		sequence_id	int NOT NULL,
		ts			timestamptz NOT NULL,
		message_key	uuid NOT NULL,
		kind		smallint NOT NULL,
		value		text,
		PRIMARY KEY (node_id, sequence_id, ts, message_key)
	);
END $$;
COMMENT ON FUNCTION cdp.install_sequence() IS 'Step of cdp.init(): tables of sequences.';

CREATE FUNCTION cdp.install_sequence_views() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	CREATE VIEW cdp.sequences WITH (security_invoker = true) AS
	SELECT s.name::text AS name, s.did, s.then_not, s.same, s.period, s.did_filter, s.then_filter, s.holds, s.result::text AS result,
		s.type::text AS type, s.state::text AS state, s.created_at, s.complete_since
	FROM cdp_data.sequence s;
	COMMENT ON VIEW cdp.sequences IS 'Sequences: columns of cdp.profiles that say who did one thing and then not another. One that is building shows NULL until cdp.maintain() is through; cdp.tasks says how far it is.';
	COMMENT ON COLUMN cdp.sequences.complete_since IS 'Events before this, of which it may depend, were gone when the sequence was defined; null if none were.';
END $$;
COMMENT ON FUNCTION cdp.install_sequence_views() IS 'Part of a step of cdp.init(): the view of sequences.';

CREATE FUNCTION cdp.sequence_boolean(profile_id bigint, sequence_id int) RETURNS boolean
LANGUAGE c STABLE PARALLEL RESTRICTED STRICT COST 1000 AS 'MODULE_PATHNAME', 'cdp_sequence_boolean';
COMMENT ON FUNCTION cdp.sequence_boolean(bigint, int) IS
'Is a sequence true of a person now; column of cdp.profiles. NULL for whom the caller may not see.';
CREATE FUNCTION cdp.sequence_bigint(profile_id bigint, sequence_id int) RETURNS bigint
LANGUAGE c STABLE PARALLEL RESTRICTED STRICT COST 1000 AS 'MODULE_PATHNAME', 'cdp_sequence_bigint';
COMMENT ON FUNCTION cdp.sequence_bigint(bigint, int) IS
'Of how many values a sequence is true of a person now; column of cdp.profiles. NULL for whom the caller may not see.';
CREATE FUNCTION cdp.sequence_text_array(profile_id bigint, sequence_id int) RETURNS text[]
LANGUAGE c STABLE PARALLEL RESTRICTED STRICT COST 1000 AS 'MODULE_PATHNAME', 'cdp_sequence_text_array';
COMMENT ON FUNCTION cdp.sequence_text_array(bigint, int) IS
'Of which values a sequence is true of a person now; column of cdp.profiles. NULL of none, and for whom the caller may not see.';

CREATE FUNCTION cdp.sequence_due(profile_id bigint, sequence_id int) RETURNS timestamptz
LANGUAGE c STABLE PARALLEL RESTRICTED STRICT COST 1000 AS 'MODULE_PATHNAME', 'cdp_sequence_due';
COMMENT ON FUNCTION cdp.sequence_due(bigint, int) IS
'When a sequence may say something else of a person, if she does nothing; NULL if never, and for whom the caller may not see.';

CREATE FUNCTION cdp.define_sequence(name text, did text, then_not text, same text DEFAULT NULL, period interval DEFAULT '7 days',
	did_filter jsonb DEFAULT NULL, then_filter jsonb DEFAULT NULL, holds interval DEFAULT NULL, result text DEFAULT 'boolean') RETURNS int
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	kind text := lower(btrim(result));
	value_type text := CASE kind WHEN 'boolean' THEN 'boolean' WHEN 'count' THEN 'bigint' WHEN 'list' THEN 'text[]' END;
	start timestamp := '2026-01-01';
	event text;
	length interval;
	id int;
BEGIN
	PERFORM cdp.require_admin();
	PERFORM cdp.check_name('a sequence', name);
	FOREACH event IN ARRAY ARRAY[did, then_not] LOOP
		IF coalesce(event, '') IN ('', 'session_ended') THEN
			RAISE invalid_parameter_value USING
				MESSAGE = format('sequence %s cannot look at event %s', quote_ident(name), coalesce(quote_literal(event), 'NULL')),
				HINT = 'Give the name of a tracked event, or a type such as page.';
		END IF;
	END LOOP;
	IF value_type IS NULL THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('sequence %s cannot have result %s', quote_ident(name), coalesce(quote_literal(result), 'NULL')),
			HINT = 'Use boolean, count or list.';
	END IF;
	IF same IS NULL AND kind <> 'boolean' THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('sequence %s needs a property that is the same', quote_ident(name)),
			HINT = format('Say of what: cdp.define_sequence(..., same => ''product_id'', result => %L).', kind);
	END IF;
	IF same IS NOT NULL AND (same = '' OR same ~ '(^\.|\.\.|\.$)') THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('property %s of sequence %s is not a path', quote_literal(same), quote_ident(name)),
			HINT = 'A path is the names of properties from the outside in, with dots: product.id.';
	END IF;
	IF period IS NULL THEN
		RAISE null_value_not_allowed USING MESSAGE = format('sequence %s needs a period', quote_ident(name));
	END IF;
	FOREACH length IN ARRAY ARRAY[period, holds] LOOP
		IF start + length <= start OR start + length > start + interval '1000 years' THEN
			RAISE invalid_parameter_value USING
				MESSAGE = format('sequence %s cannot wait, or hold, for %s', quote_ident(name), length),
				HINT = 'Both are longer than nothing and at most 1000 years.';
		END IF;
	END LOOP;
	PERFORM cdp.check_metric_filter(did_filter);
	PERFORM cdp.check_metric_filter(then_filter);
	PERFORM cdp.check_profile_column('sequence', name, value_type);

	PERFORM cdp.lock_storage(true);
	INSERT INTO cdp_data.sequence (name, did, then_not, same, period, did_filter, then_filter, holds, result, type, state)
	VALUES (define_sequence.name, define_sequence.did, define_sequence.then_not, define_sequence.same, define_sequence.period,
		define_sequence.did_filter, define_sequence.then_filter, define_sequence.holds, kind, value_type,
		CASE WHEN EXISTS (SELECT FROM cdp_data.node) THEN 'building' ELSE 'ready' END)
	RETURNING sequence_id INTO id;
	INSERT INTO cdp_data.task (kind, target, total_rows)
	SELECT 'sequence', id, (SELECT greatest(c.reltuples, 0)::bigint FROM pg_class c WHERE c.oid = 'cdp_data.node'::regclass)
	FROM cdp_data.sequence s WHERE s.sequence_id = id AND s.state = 'building';
	IF NOT EXISTS (SELECT FROM cdp_data.task k WHERE k.kind = 'sequence_tidy') THEN
		INSERT INTO cdp_data.task (kind) VALUES ('sequence_tidy');
	END IF;
	PERFORM cdp.sequence_retention(id);
	PERFORM cdp.refresh_views();
	RETURN id;
END $$;
COMMENT ON FUNCTION cdp.define_sequence(text, text, text, text, interval, jsonb, jsonb, interval, text) IS
'Says who did one thing and not, within a period, another: a column of cdp.profiles, true from the end of the period on, until the second event comes or holds is over. same is a property that must be the same; result: boolean, or the count or list of its values. What happened before is added in cdp.maintain().';

CREATE FUNCTION cdp.drop_sequence(name text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	id int;
BEGIN
	PERFORM cdp.require_admin();
	SELECT s.sequence_id INTO id FROM cdp_data.sequence s WHERE s.name = drop_sequence.name COLLATE "C";
	IF id IS NULL THEN
		RAISE undefined_object USING MESSAGE = format('sequence %s does not exist', coalesce(quote_ident(name), 'NULL'));
	END IF;
	PERFORM cdp.lock_storage(true);
	PERFORM cdp.check_unused('sequence', name);
	DELETE FROM cdp_data.task k WHERE k.kind = 'sequence' AND k.target = id AND k.state IN ('waiting', 'running');
	DELETE FROM cdp_data.sequence s WHERE s.sequence_id = id;
	-- its marks go with the next round of tidying
	UPDATE cdp_data.task k SET updated_at = NULL WHERE k.kind = 'sequence_tidy';
	PERFORM cdp.refresh_views();
END $$;
COMMENT ON FUNCTION cdp.drop_sequence(text) IS 'Drops a sequence; its column in cdp.profiles stays, with NULLs, for the views that use it.';
