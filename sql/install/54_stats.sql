-- 54_stats.sql: what is going on.  cdp.stats, cdp.progress.

CREATE FUNCTION cdp.source_stats(OUT source text, OUT events_1m bigint, OUT events_10m bigint, OUT events_per_second double precision,
	OUT avg_lag interval, OUT max_lag interval, OUT last_received_at timestamptz, OUT pending bigint,
	OUT rejected bigint, OUT rejected_1d bigint, OUT merges_1d bigint, OUT refused_merges_1d bigint) RETURNS SETOF record
LANGUAGE c STABLE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'cdp_source_stats';
COMMENT ON FUNCTION cdp.source_stats() IS 'Rows of cdp.stats: counted over everybody, naming nobody.';

-- Part of the step of views.
CREATE FUNCTION cdp.install_stats() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	-- the last day's, without a look at all the others
	CREATE INDEX IF NOT EXISTS identity_merge_at ON cdp_data.identity_merge USING brin (at) WITH (autosummarize = true);
	CREATE INDEX IF NOT EXISTS identity_edge_refused_at ON cdp_data.identity_edge (refused_at) WHERE refused IS NOT NULL;
	CREATE INDEX IF NOT EXISTS rejected_last ON cdp_data.rejected USING brin (last_at) WITH (autosummarize = true);

	CREATE VIEW cdp.stats WITH (security_invoker = true) AS
	SELECT s.source, s.events_1m, s.events_10m, s.events_per_second, s.avg_lag, s.max_lag, s.last_received_at, s.pending,
		s.rejected, s.rejected_1d, s.merges_1d, s.refused_merges_1d
	FROM cdp.source_stats() s;
	COMMENT ON VIEW cdp.stats IS 'What comes in, by source, and what becomes of it; the row without a source is all of them.';
	COMMENT ON COLUMN cdp.stats.events_1m IS 'Events received in the last minute.';
	COMMENT ON COLUMN cdp.stats.events_10m IS 'Events received in the last ten minutes.';
	COMMENT ON COLUMN cdp.stats.events_per_second IS 'The same a second, over ten minutes.';
	COMMENT ON COLUMN cdp.stats.avg_lag IS 'How long after they happened the events of the last ten minutes came, on the average.';
	COMMENT ON COLUMN cdp.stats.max_lag IS 'The same, at worst.';
	COMMENT ON COLUMN cdp.stats.last_received_at IS 'When the last event came; null if none came in ten minutes.';
	COMMENT ON COLUMN cdp.stats.pending IS 'Rows of attached tables that cdp.maintain() has yet to take: of deferred ones, and those of a backfill by the estimate of its start.';
	COMMENT ON COLUMN cdp.stats.rejected IS 'Refusals in cdp.rejected.';
	COMMENT ON COLUMN cdp.stats.rejected_1d IS 'Those of them seen in the last day.';
	COMMENT ON COLUMN cdp.stats.merges_1d IS 'Merges in the last day.';
	COMMENT ON COLUMN cdp.stats.refused_merges_1d IS 'Links refused by the rules in the last day.';

	-- Numbers are those of src/progress.h.
	CREATE VIEW cdp.progress WITH (security_invoker = true) AS
	SELECT p.pid, a.usename::text AS role,
		CASE WHEN p.relid = to_regclass('cdp.inbox') THEN 'inbox'
			ELSE (ARRAY['inbox', 'connected_components', 'ingest_edges', 'maintain', 'segment', 'trait', 'retry_rejected', 'import_audience'])[p.param11] END AS work,
		(ARRAY['reading', 'numbering', 'joining', 'labelling', 'sorting', 'returning'])[p.param12] AS phase,
		p.param3 AS done, nullif(p.param13, 0) AS total,
		(ARRAY['rows', 'edges', 'pairs', 'steps', 'profiles', 'values', 'messages', 'rows'])[CASE WHEN p.relid = to_regclass('cdp.inbox') THEN 1 ELSE p.param11 END] AS unit,
		nullif(p.param1, 0) AS bytes_done, nullif(p.param2, 0) AS bytes_total, a.query_start AS started_at
	FROM pg_stat_get_progress_info('COPY') p LEFT JOIN pg_stat_activity a ON a.pid = p.pid
	WHERE p.datid = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
		AND p.relid IN (to_regclass('cdp.progress'), to_regclass('cdp.inbox'))
	UNION ALL
	SELECT NULL, NULL, 'task ' || k.task_id || ' (' || k.kind || ')', NULL, k.done_rows, k.total_rows, 'rows', NULL, NULL, k.created_at
	FROM cdp_data.task k WHERE k.state = 'running';
	COMMENT ON VIEW cdp.progress IS 'Long work under way in all sessions of roles whose statistics the current role may read (pg_read_all_stats: everybody''s), and tasks that cdp.maintain() has begun.';
	COMMENT ON COLUMN cdp.progress.pid IS 'The session, as in pg_stat_activity; null for a task, which no session need be at just now.';
	COMMENT ON COLUMN cdp.progress.total IS 'How much there is to do, as far as it is known or estimated.';
END $$;
COMMENT ON FUNCTION cdp.install_stats() IS 'Part of cdp.init(): the views of what is going on, and the indexes that make them cheap.';
