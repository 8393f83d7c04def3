-- 56_retention.sql: how long events are kept, and what they leave behind.

CREATE FUNCTION cdp.install_retention() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	-- A rule is never removed: its horizon says what may be gone already.
	CREATE TABLE cdp_data.retention (
		retention_id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
		-- null: all events without a rule of their own
		event		text,
		-- null: for ever
		keep		interval,
		-- false: it was dropped, and the rule without an event holds
		own			boolean NOT NULL DEFAULT true,
		-- older ones may be gone
		horizon		timestamptz NOT NULL DEFAULT '-infinity',
		set_at		timestamptz NOT NULL DEFAULT statement_timestamp(),
		UNIQUE NULLS NOT DISTINCT (event)
	);
	-- Apart from the rules: who changes these makes every session read them anew.
	-- Row 0 is of ids of messages.
	CREATE TABLE cdp_data.retention_done (
		retention_id int PRIMARY KEY,
		events		bigint NOT NULL,
		last_at		timestamptz NOT NULL
	);

	-- How long ids of messages are kept; the one row is there once it was said.
	CREATE TABLE cdp_data.message_horizon (
		single		boolean PRIMARY KEY DEFAULT true CHECK (single),
		keep		interval,
		-- messages of an earlier time are not taken: they may have been seen
		seen_since	timestamptz NOT NULL DEFAULT '-infinity'
	);

	-- What the events of a node that are gone added up to.  A person is her
	-- nodes' bases and events: merges and their undoing touch neither.
	CREATE TABLE cdp_data.node_base (
		node_id		bigint PRIMARY KEY,
		events		bigint NOT NULL,
		first_seen	timestamptz NOT NULL,
		last_seen	timestamptz NOT NULL,
		-- states of metrics without a period, as in metric_state, all values kept
		metrics		bytea
	) WITH (fillfactor = 70);

	-- Values that they gave to traits: each value of a source once, with the
	-- first and the last message that gave it, so that every rule of
	-- survivorship can choose among them as among events.
	CREATE TABLE cdp_data.node_base_trait (
		node_id		bigint NOT NULL,
		-- of name, source and value
		hash		bytea NOT NULL,
		name		text COLLATE "C" NOT NULL,
		source		text COLLATE "C" NOT NULL,
		value		jsonb NOT NULL,
		times		bigint NOT NULL,
		first_ts	timestamptz NOT NULL,
		first_key	uuid NOT NULL,
		last_ts		timestamptz NOT NULL,
		last_key	uuid NOT NULL,
		PRIMARY KEY (node_id, hash)
	) WITH (fillfactor = 85);
	-- Sessions and marks of sequences, as in session_part and sequence_mark.
	CREATE TABLE cdp_data.node_base_session (
		node_id		bigint NOT NULL,
		started_at	timestamptz NOT NULL,
		first_key	uuid NOT NULL,
		ended_at	timestamptz NOT NULL,
		events		bigint NOT NULL,
		source		text NOT NULL,
		first_page	text,
		first_page_at bytea,
		last_page	text,
		last_page_at bytea,
		campaign	text[],
		campaign_at	bytea,
		PRIMARY KEY (node_id, started_at)
	);
	CREATE TABLE cdp_data.node_base_mark (
		node_id		bigint NOT NULL,
		sequence_id	int NOT NULL,
		ts			timestamptz NOT NULL,
		message_key	uuid NOT NULL,
		kind		smallint NOT NULL,
		value		text,
		PRIMARY KEY (node_id, sequence_id, ts, message_key)
	);

	-- Traits of which a base does not have all values any more.
	CREATE TABLE cdp_data.trait_pruned (
		name		text COLLATE "C" PRIMARY KEY,
		horizon		timestamptz NOT NULL
	);

	-- What is known of partitions that are older than a horizon.
	CREATE TABLE cdp_data.partition_over (
		name		name PRIMARY KEY,
		-- horizons it was looked at with, and when
		horizons	text,
		looked_at	timestamptz,
		-- rows that had ever been inserted then, as statistics say
		inserted	bigint,
		-- transaction after which it was empty; null: it is not
		empty_since	xid8
	);
END $$;
COMMENT ON FUNCTION cdp.install_retention() IS 'Step of cdp.init(): tables of retention, and of what events leave behind that are gone.';

-- As cdp.init() calls it: rules, horizons, and what was done.
CREATE FUNCTION cdp.install_retention_views() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	CREATE VIEW cdp.retention WITH (security_invoker = true) AS
	SELECT 'events' AS what, r.event, r.keep, nullif(r.horizon, '-infinity') AS horizon, coalesce(d.events, 0) AS gone, d.last_at AS last_gone_at, r.set_at
	FROM cdp_data.retention r LEFT JOIN cdp_data.retention_done d ON d.retention_id = r.retention_id WHERE r.own
	UNION ALL
	SELECT 'message ids', NULL, m.keep, nullif(m.seen_since, '-infinity'), coalesce(d.events, 0), d.last_at, NULL
	FROM cdp_data.message_horizon m LEFT JOIN cdp_data.retention_done d ON d.retention_id = 0;
	COMMENT ON VIEW cdp.retention IS 'How long events and ids of messages are kept: rules, and how far they were carried out.';
	COMMENT ON COLUMN cdp.retention.event IS 'Name of a tracked event, or a type such as page; null for all that have no rule of their own.';
	COMMENT ON COLUMN cdp.retention.keep IS 'How long they are kept; null for ever.';
	COMMENT ON COLUMN cdp.retention.horizon IS 'Events older than this may be gone, and live on in what they added up to. Message ids: messages of an earlier time are rejected as too_old.';
	COMMENT ON COLUMN cdp.retention.gone IS 'How many are gone.';
END $$;
COMMENT ON FUNCTION cdp.install_retention_views() IS 'Part of cdp.init(): the view of retention.';

-- Months and days have no fixed length: a is as long as b if it is on each day of eight years.
CREATE FUNCTION cdp.reaches(a interval, b interval) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT SET search_path = pg_catalog, pg_temp AS
'SELECT bool_and(d - a <= d - b) FROM generate_series(timestamp ''2024-01-01'', ''2032-01-01'', ''1 day'') d';
COMMENT ON FUNCTION cdp.reaches(interval, interval) IS 'Is a period at least as long as another, whenever it ends?';

-- Events of this name, or type, may be gone up to here: all (null) up to the latest horizon.
CREATE FUNCTION cdp.retention_horizon(event text) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT CASE WHEN event IS NULL THEN (SELECT max(r.horizon) FROM cdp_data.retention r)
		ELSE (SELECT max(r.horizon) FROM cdp_data.retention r WHERE r.event = retention_horizon.event
			OR (r.event IS NULL AND NOT EXISTS (SELECT FROM cdp_data.retention x WHERE x.event = retention_horizon.event AND x.own))) END
$$;
COMMENT ON FUNCTION cdp.retention_horizon(text) IS 'Up to when events of this name may be gone; part of cdp.define_metric().';

-- A metric whose window is longer than its events are kept; null: there is none.
CREATE FUNCTION cdp.retention_conflict(INOUT metric text, OUT period interval, OUT keep interval, OUT rule text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT m.name, m.period, r.keep, r.event FROM cdp_data.metric m JOIN cdp_data.retention r
		ON m.event IS NULL OR r.event = m.event
			OR (r.event IS NULL AND NOT EXISTS (SELECT FROM cdp_data.retention x WHERE x.event = m.event AND x.own))
	-- the ends of sessions are not read from events
	WHERE r.own AND m.event IS DISTINCT FROM 'session_ended' AND m.period IS NOT NULL AND r.keep IS NOT NULL AND NOT cdp.reaches(r.keep, m.period) AND m.name = coalesce(metric, m.name)
	ORDER BY m.name, r.event NULLS FIRST LIMIT 1
$$;
COMMENT ON FUNCTION cdp.retention_conflict(text) IS 'A metric, or this one, that looks further back than its events are kept; part of cdp.set_retention() and cdp.define_metric().';

CREATE FUNCTION cdp.metric_retention(metric text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c record;
	m record;
	since timestamptz;
BEGIN
	SELECT * INTO c FROM cdp.retention_conflict(metric);
	IF c.metric IS NOT NULL THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('metric %s cannot look back %s', quote_ident(metric), c.period),
			DETAIL = format('Events%s are kept for %s.', coalesce(' ' || quote_literal(c.rule), ''), c.keep),
			HINT = 'Give it a shorter period or none, or keep them longer with cdp.set_retention().';
	END IF;
	SELECT * INTO STRICT m FROM cdp_data.metric x WHERE x.name = metric;
	IF m.event = 'session_ended' THEN
		RETURN;
	END IF;
	since := cdp.retention_horizon(m.event);
	IF since > '-infinity' AND (m.period IS NULL OR since > coalesce(nullif(current_setting('cdp.clock', true), '')::timestamptz, statement_timestamp()) - m.period) THEN
		UPDATE cdp_data.metric x SET complete_since = since WHERE x.metric_id = m.metric_id;
		RAISE WARNING USING
			MESSAGE = format('metric %s knows no events before %s', quote_ident(metric), since),
			DETAIL = 'They are gone; what they added up to is known of metrics that were defined before.',
			HINT = 'cdp.metrics.complete_since says so, too.';
	END IF;
END $$;
COMMENT ON FUNCTION cdp.metric_retention(text) IS 'Refuses a new metric that looks further back than events are kept, and says from when on it is complete; part of cdp.define_metric().';

-- A second event that is gone would have answered a first one, whichever is kept longer.
CREATE FUNCTION cdp.sequence_retention(id int) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	s record;
	since timestamptz;
BEGIN
	SELECT * INTO STRICT s FROM cdp_data.sequence x WHERE x.sequence_id = id;
	since := greatest(cdp.retention_horizon(s.did), cdp.retention_horizon(s.then_not));
	-- what is over says nothing any more
	IF since > '-infinity' AND (s.holds IS NULL
		OR since > coalesce(nullif(current_setting('cdp.clock', true), '')::timestamptz, statement_timestamp()) - s.period - s.holds) THEN
		UPDATE cdp_data.sequence x SET complete_since = since WHERE x.sequence_id = id;
		RAISE WARNING USING
			MESSAGE = format('sequence %s knows no events before %s', quote_ident(s.name), since),
			DETAIL = 'They are gone; what they were to sequences that were defined before is known.',
			HINT = 'cdp.sequences.complete_since says so, too.';
	END IF;
END $$;
COMMENT ON FUNCTION cdp.sequence_retention(int) IS 'Says from when on a new sequence is complete; part of cdp.define_sequence().';

CREATE FUNCTION cdp.dimension_retention(id int) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	since timestamptz := (SELECT max(cdp.retention_horizon(e.event)) FROM (SELECT a.event FROM cdp_data.action a UNION ALL SELECT 'Preference Stated') e);
BEGIN
	IF since > '-infinity' THEN
		UPDATE cdp_data.dimension x SET complete_since = since WHERE x.dimension_id = id;
		RAISE WARNING USING
			MESSAGE = format('dimension %s knows no events before %s', (SELECT quote_ident(x.name) FROM cdp_data.dimension x WHERE x.dimension_id = id), since),
			DETAIL = 'They are gone; what they said is known of dimensions that were defined before.',
			HINT = 'cdp.dimensions.complete_since says so, too.';
	END IF;
END $$;
COMMENT ON FUNCTION cdp.dimension_retention(int) IS 'Says from when on a new dimension is complete; part of cdp.define_dimension().';

CREATE FUNCTION cdp.trait_retention(trait text, survivorship text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	since timestamptz := (SELECT p.horizon FROM cdp_data.trait_pruned p WHERE p.name = trait);
BEGIN
	IF since IS NOT NULL THEN
		RAISE WARNING USING
			MESSAGE = format('trait %s may survive as %s among fewer values than were given before %s', quote_ident(trait), quote_literal(survivorship), since),
			DETAIL = 'Events are gone, and of people who gave it more than 256 values only the latest, the first, and those of other sources were kept.';
	END IF;
END $$;
COMMENT ON FUNCTION cdp.trait_retention(text, text) IS 'Says if values of a trait are gone that another rule could choose; part of cdp.define_trait() and cdp.redefine_trait().';

CREATE FUNCTION cdp.check_keep(keep interval) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	-- an event may be dated a day ahead
	IF keep IS NOT NULL AND (NOT cdp.reaches(keep, interval '1 day') OR NOT cdp.reaches(interval '1000 years', keep)) THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('cannot keep for %s', keep),
			HINT = 'Keep for a day at least, a thousand years at most, or for ever (NULL).';
	END IF;
END $$;
COMMENT ON FUNCTION cdp.check_keep(interval) IS 'Raises unless something can be kept for so long; part of cdp.set_retention().';

-- One row of cdp_data.task stands for all rounds.  Whoever carries one out locks
-- it before he looks at the rules, and so does who changes them.
CREATE FUNCTION cdp.retention_due() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	-- one that is on its way begins again
	UPDATE cdp_data.task k SET updated_at = NULL, position = NULL WHERE k.kind = 'retention';
	IF NOT EXISTS (SELECT FROM cdp_data.task k WHERE k.kind = 'retention') THEN
		INSERT INTO cdp_data.task (kind) VALUES ('retention');
	END IF;
END $$;
COMMENT ON FUNCTION cdp.retention_due() IS 'Lets the next cdp.maintain() carry out what is to be kept no longer; part of cdp.set_retention().';

CREATE FUNCTION cdp.check_retention() RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	c record;
BEGIN
	SELECT * INTO c FROM cdp.retention_conflict(NULL);
	IF c.metric IS NOT NULL THEN
		RAISE object_in_use USING
			MESSAGE = format('cannot keep events%s for %s only', coalesce(' ' || quote_literal(c.rule), ''), c.keep),
			DETAIL = format('Metric %s looks back %s.', quote_ident(c.metric), c.period),
			HINT = 'Drop it with cdp.drop_metric(), or keep them longer.';
	END IF;
END $$;
COMMENT ON FUNCTION cdp.check_retention() IS 'Raises if a metric looks further back than its events are kept; part of cdp.set_retention().';

CREATE FUNCTION cdp.set_retention(keep interval, event text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM cdp.require_admin();
	PERFORM cdp.check_keep(keep);
	IF event = '' THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'an event has a name',
			HINT = 'Give the name of a tracked event, a type such as page, or NULL for all that have no rule of their own.';
	END IF;
	PERFORM cdp.retention_due();
	-- cdp.define_metric() looks at the rules after it wrote its row
	LOCK TABLE cdp_data.metric IN SHARE MODE;
	LOCK TABLE cdp_data.retention IN SHARE ROW EXCLUSIVE MODE;
	INSERT INTO cdp_data.retention AS r (event, keep, horizon)
	VALUES (set_retention.event, set_retention.keep, coalesce((SELECT x.horizon FROM cdp_data.retention x WHERE x.event IS NULL), '-infinity'))
	ON CONFLICT ON CONSTRAINT retention_event_key DO UPDATE SET keep = excluded.keep, own = true, set_at = statement_timestamp(),
		horizon = greatest(r.horizon, CASE WHEN NOT r.own THEN excluded.horizon END);
	PERFORM cdp.check_retention();
END $$;
COMMENT ON FUNCTION cdp.set_retention(interval, text) IS
'Keeps events for so long (NULL: for ever): those of this name, or type such as page, or (NULL) all that have no rule of their own. Older ones go in cdp.maintain(); traits, counts and metrics keep what they added up to.';

CREATE FUNCTION cdp.drop_retention(event text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM cdp.require_admin();
	PERFORM cdp.retention_due();
	LOCK TABLE cdp_data.metric IN SHARE MODE;
	LOCK TABLE cdp_data.retention IN SHARE ROW EXCLUSIVE MODE;
	UPDATE cdp_data.retention r SET own = false WHERE r.event = drop_retention.event AND r.own;
	IF NOT FOUND THEN
		RAISE undefined_object USING
			MESSAGE = format('events %s have no rule of their own', coalesce(quote_literal(event), 'NULL')),
			HINT = 'See cdp.retention. The rule for all others is lifted by cdp.set_retention(NULL).';
	END IF;
	PERFORM cdp.check_retention();
END $$;
COMMENT ON FUNCTION cdp.drop_retention(text) IS 'Lets the rule of all others hold for events of this name, too.';

CREATE FUNCTION cdp.set_message_retention(keep interval) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM cdp.require_admin();
	PERFORM cdp.check_keep(keep);
	PERFORM cdp.retention_due();
	INSERT INTO cdp_data.message_horizon AS m (keep) VALUES (set_message_retention.keep)
	ON CONFLICT (single) DO UPDATE SET keep = excluded.keep;
END $$;
COMMENT ON FUNCTION cdp.set_message_retention(interval) IS
'Remembers ids of messages for so long (NULL: for ever). Messages of an earlier time are rejected as too_old from then on, for nobody could tell whether they came before.';
