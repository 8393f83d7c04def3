-- 43_session.sql: visits.  What a session is, and the parts of sessions that nodes have.

CREATE FUNCTION cdp.install_session() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	-- At most one row; none: sessions are not kept.
	CREATE TABLE cdp_data.session_rule (
		single		boolean PRIMARY KEY DEFAULT true CHECK (single),
		silence		interval NOT NULL,
		events		text[] NOT NULL,
		state		text COLLATE "C" NOT NULL CHECK (state IN ('building', 'ready')),
		changed_at	timestamptz NOT NULL DEFAULT statement_timestamp()
	);

	-- The events of one node that have less than the silence between them.
	-- since is infinity for the latest of the node, else started_at.
	CREATE TABLE cdp_data.session_part (
		node_id		bigint NOT NULL,
		since		timestamptz NOT NULL,
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
		PRIMARY KEY (node_id, since)
	) WITH (fillfactor = 70);
END $$;
COMMENT ON FUNCTION cdp.install_session() IS 'Step of cdp.init(): tables of sessions.';

CREATE FUNCTION cdp.person_sessions(profile_id bigint) RETURNS TABLE (session_id uuid, started_at timestamptz, ended_at timestamptz,
	open boolean, dwell interval, events bigint, first_page text, last_page text, campaign text, campaign_source text, campaign_medium text, source text)
LANGUAGE c STABLE PARALLEL RESTRICTED STRICT COST 1000 ROWS 10 AS 'MODULE_PATHNAME', 'cdp_person_sessions';
COMMENT ON FUNCTION cdp.person_sessions(bigint) IS
'The visits of a person as of now; cdp.sessions has everybody''s. Nothing for whom the caller may not see.';

CREATE FUNCTION cdp.session_due(profile_id bigint, period interval DEFAULT NULL) RETURNS timestamptz
LANGUAGE c STABLE PARALLEL RESTRICTED COST 1000 AS 'MODULE_PATHNAME', 'cdp_person_session_due';
COMMENT ON FUNCTION cdp.session_due(bigint, interval) IS
'When a session of a person ends, or the end of one leaves the period, if she does nothing; NULL if never, and for whom the caller may not see.';

CREATE FUNCTION cdp.install_session_views() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	CREATE VIEW cdp.sessions WITH (security_invoker = true) AS
	SELECT p.profile_id, s.session_id, s.started_at, s.ended_at, s.open, s.dwell, s.events, s.first_page, s.last_page,
		s.campaign, s.campaign_source, s.campaign_medium, s.source
	FROM cdp_data.profile p CROSS JOIN LATERAL cdp.person_sessions(p.profile_id) s;
	COMMENT ON VIEW cdp.sessions IS 'Visits: what a person did without longer silence than cdp.set_session() says. Ask by profile_id, or for all.';
	COMMENT ON COLUMN cdp.sessions.session_id IS 'Key of the session''s first event.';
	COMMENT ON COLUMN cdp.sessions.ended_at IS 'Time of its last event so far.';
	COMMENT ON COLUMN cdp.sessions.open IS 'The silence that ends it is not over yet.';
	COMMENT ON COLUMN cdp.sessions.dwell IS 'From its first event to its last.';
	COMMENT ON COLUMN cdp.sessions.first_page IS 'Path, address or name of the first page or screen.';
	COMMENT ON COLUMN cdp.sessions.campaign IS 'Name of the campaign that the first event with one was of.';
	COMMENT ON COLUMN cdp.sessions.source IS 'Source of its first event.';

	CREATE VIEW cdp.session_rule WITH (security_invoker = true) AS
	SELECT r.silence, r.events, r.state::text AS state, r.changed_at FROM cdp_data.session_rule r;
	COMMENT ON VIEW cdp.session_rule IS 'What ends a session, and which events count; no row while sessions are not kept. While it is building there are no sessions; cdp.tasks says how far it is.';
END $$;
COMMENT ON FUNCTION cdp.install_session_views() IS 'Part of a step of cdp.init(): the views of sessions.';

CREATE FUNCTION cdp.set_session(silence interval DEFAULT '30 minutes', events text[] DEFAULT '{track,page,screen}') RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	known boolean;
BEGIN
	PERFORM cdp.require_admin();
	IF silence IS NULL OR extract(year FROM silence) <> 0 OR extract(month FROM silence) <> 0
		OR silence < interval '1 second' OR silence > interval '7 days' THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('a session cannot end by a silence of %s', coalesce(silence::text, 'NULL')),
			HINT = 'A silence is from a second to seven days; cdp.drop_session() ends the keeping of sessions.';
	END IF;
	IF events IS NULL OR cardinality(events) NOT BETWEEN 1 AND 100 OR array_ndims(events) > 1
		OR array_position(events, NULL) IS NOT NULL OR '' = ANY (events) THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'the events of sessions are no list of 1 to 100 names',
			HINT = 'List types, such as page, and names of tracked events; track stands for all of those.';
	END IF;
	PERFORM cdp.lock_storage();
	IF EXISTS (SELECT FROM cdp_data.session_rule r WHERE r.silence = set_session.silence AND r.events = set_session.events) THEN
		RETURN;
	END IF;
	known := EXISTS (SELECT FROM cdp_data.node);
	INSERT INTO cdp_data.session_rule (silence, events, state)
	VALUES (set_session.silence, set_session.events, CASE WHEN known THEN 'building' ELSE 'ready' END)
	ON CONFLICT (single) DO UPDATE SET silence = excluded.silence, events = excluded.events, state = excluded.state,
		changed_at = excluded.changed_at;
	DELETE FROM cdp_data.task k WHERE k.kind = 'session' AND k.state IN ('waiting', 'running');
	IF known THEN
		-- until it is through, metrics of sessions are null
		PERFORM cdp.build_segments_of((SELECT array_agg(m.name) FROM cdp_data.metric m WHERE m.event = 'session_ended'));
		INSERT INTO cdp_data.task (kind, target, total_rows)
		SELECT 'session', 0, greatest(c.reltuples, 0)::bigint FROM pg_class c WHERE c.oid = 'cdp_data.node'::regclass;
	END IF;
END $$;
COMMENT ON FUNCTION cdp.set_session(interval, text[]) IS
'Keeps sessions: visits of a person, which end by a silence. events are the types, and the names of tracked events, that count. What happened before is added in cdp.maintain(); so it is after a change.';

CREATE FUNCTION cdp.drop_session() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	used text;
BEGIN
	PERFORM cdp.require_admin();
	PERFORM cdp.lock_storage();
	SELECT m.name INTO used FROM cdp_data.metric m WHERE m.event = 'session_ended' ORDER BY m.metric_id LIMIT 1;
	IF used IS NOT NULL THEN
		RAISE dependent_objects_still_exist USING
			MESSAGE = format('sessions cannot be dropped: metric %s counts them', quote_ident(used)),
			HINT = 'Drop the metric first with cdp.drop_metric().';
	END IF;
	DELETE FROM cdp_data.task k WHERE k.kind = 'session' AND k.state IN ('waiting', 'running');
	DELETE FROM cdp_data.session_rule;
	TRUNCATE cdp_data.session_part, cdp_data.node_base_session;
END $$;
COMMENT ON FUNCTION cdp.drop_session() IS 'Ends the keeping of sessions and forgets them; events stay.';
