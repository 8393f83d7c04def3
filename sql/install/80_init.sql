-- 80_init.sql: the user's data.  cdp.init() makes what the code works on.

CREATE FUNCTION cdp.version() RETURNS TABLE (library text, data_schema text)
LANGUAGE c STABLE PARALLEL SAFE ROWS 1 AS 'MODULE_PATHNAME', 'cdp_version';
COMMENT ON FUNCTION cdp.version() IS
'Version of the library in use and of the tables that cdp.init() made; data_schema is NULL before cdp.init().';

CREATE FUNCTION cdp.install_base(partition_interval text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	-- Its relation cache entry is the signal; it never holds a row.
	CREATE TABLE cdp_data.config_signal (nothing boolean);
	-- What install_protection() put under policies and triggers.
	CREATE TABLE cdp_data.protection (
		tbl			name NOT NULL,
		kind		text COLLATE "C" NOT NULL CHECK (kind IN ('guard', 'watch')),
		condition	text,
		PRIMARY KEY (tbl, kind)
	);
	CREATE TABLE cdp_data.schema_step (
		step		text COLLATE "C" PRIMARY KEY,
		version		int NOT NULL,
		applied_at	timestamptz NOT NULL DEFAULT statement_timestamp()
	);
	CREATE TABLE cdp_data.installation (
		single		boolean PRIMARY KEY DEFAULT true CHECK (single),
		data_version int NOT NULL,
		seed		bigint NOT NULL,
		partition_interval text NOT NULL,
		-- Older events share one partition.
		history_before timestamptz NOT NULL,
		installed_at timestamptz NOT NULL DEFAULT statement_timestamp()
	);
	INSERT INTO cdp_data.installation (data_version, seed, partition_interval, history_before)
	VALUES (1, ('x' || substr(replace(gen_random_uuid()::text, '-', ''), 17))::bit(64)::bigint, partition_interval,
		date_trunc(partition_interval, (now() - CASE partition_interval WHEN 'day' THEN interval '90 days' WHEN 'week' THEN interval '1 year'
			WHEN 'month' THEN interval '3 years' ELSE interval '50 years' END) AT TIME ZONE 'UTC') AT TIME ZONE 'UTC');
END $$;
COMMENT ON FUNCTION cdp.install_base(text) IS 'Step of cdp.init(): version, seed and settings of this database.';

-- Every policy and every configuration table, one page.  Run by each
-- cdp.init(): what DROP EXTENSION ... CASCADE took away comes back.
CREATE FUNCTION cdp.install_protection() RETURNS int
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	t record;
	before int := (SELECT count(*) FROM pg_policy) + (SELECT count(*) FROM pg_trigger);
BEGIN
	PERFORM cdp.guard('identifier', 'cdp.allowed_node(node_id) OR cdp.has_kind(''privacy'')');
	PERFORM cdp.guard('node', 'cdp.allowed_node(node_id) OR cdp.has_kind(''privacy'')');
	PERFORM cdp.guard('identity_edge', 'cdp.allowed_node(a) AND cdp.allowed_node(b)');
	PERFORM cdp.guard('identity_merge', 'cdp.has_kind(''privacy'')');
	PERFORM cdp.guard('identifier_retired', 'cdp.allowed_node(node_id) OR cdp.has_kind(''privacy'')');
	PERFORM cdp.guard('node_history', 'EXISTS (SELECT FROM unnest(nodes) u WHERE cdp.allowed_node(u))');
	PERFORM cdp.guard('identity_separation', 'cdp.has_kind(''privacy'')');
	PERFORM cdp.guard('separation_node', 'cdp.has_kind(''privacy'')');
	PERFORM cdp.guard('profile_merged', 'cdp.allowed(ord)');
	PERFORM cdp.guard('segment_member', 'cdp.allowed(ord)');
	PERFORM cdp.guard('segment_before', 'false');
	PERFORM cdp.guard('segment_chunk', 'false');
	PERFORM cdp.guard('segment_delta', 'false');
	-- of people merged since, those who they are now decide
	PERFORM cdp.guard('segment_history',
		'cdp.allowed(coalesce((SELECT m.ord FROM cdp_data.profile_merged m WHERE m.old_id = segment_history.profile_id), ord))');
	PERFORM cdp.guard('timer', 'false');
	PERFORM cdp.guard('consent_log', 'cdp.allowed_node(node_id) OR cdp.has_kind(''privacy'')');
	PERFORM cdp.guard('consent_current', 'cdp.allowed_node(node_id) OR cdp.has_kind(''privacy'')');
	PERFORM cdp.guard('consent_ord', 'cdp.has_kind(''privacy'')');
	PERFORM cdp.guard('consent_node', 'false');
	PERFORM cdp.guard('profile', 'cdp.allowed(ord)');
	PERFORM cdp.guard('profile_state', 'cdp.allowed(ord)');
	PERFORM cdp.guard('trait_tally', 'false');
	PERFORM cdp.guard('metric_state', 'cdp.allowed_node(node_id)');
	PERFORM cdp.guard('session_part', 'cdp.allowed_node(node_id)');
	PERFORM cdp.guard('sequence_mark', 'cdp.allowed_node(node_id)');
	PERFORM cdp.guard('outbox', 'cdp.allowed(ord) OR cdp.has_kind(''privacy'')');
	PERFORM cdp.guard('event', 'cdp.allowed_node(node_id)');
	PERFORM cdp.guard('node_base', 'cdp.allowed_node(node_id)');
	PERFORM cdp.guard('node_base_trait', 'cdp.allowed_node(node_id)');
	PERFORM cdp.guard('node_base_session', 'cdp.allowed_node(node_id)');
	PERFORM cdp.guard('node_base_mark', 'cdp.allowed_node(node_id)');
	PERFORM cdp.guard('captured', 'false');
	PERFORM cdp.guard('list_identifier', 'cdp.has_kind(''privacy'')');
	PERFORM cdp.guard('audit', 'cdp.has_kind(''privacy'') OR cdp.has_kind(''auditor'')');
	PERFORM cdp.guard('audit_seal', 'cdp.has_kind(''privacy'') OR cdp.has_kind(''auditor'')');
	PERFORM cdp.guard('audit_open', 'false');
	PERFORM cdp.guard('audit_head', 'false');
	PERFORM cdp.guard('audit_key', 'false');
	-- a value may be one person's; cdp.affinity_scores() says how common those are that the caller sees
	PERFORM cdp.guard('dimension_base', 'false');
	-- what few people have is theirs
	PERFORM cdp.guard('data_map', 'nodes >= 10 OR cdp.has_kind(''privacy'')');
	PERFORM cdp.guard('rejected', '(cdp.has_kind(''ingest'') AND recorded_by = current_user) OR cdp.has_kind(''privacy'')');
	PERFORM cdp.guard('erasure', 'cdp.has_kind(''privacy'')');
	PERFORM cdp.guard('erased_profile', 'false');
	PERFORM cdp.guard('suppression', 'false');
	PERFORM cdp.guard('suppression_key', 'false');
	PERFORM cdp.guard('consent_proof', 'false');
	PERFORM cdp.guard('disclosure', 'false');
	PERFORM cdp.guard('subject_request', 'cdp.has_kind(''privacy'')');
	PERFORM cdp.guard('refused_return', 'cdp.has_kind(''privacy'')');
	PERFORM cdp.guard('tracking_violation', 'cdp.has_kind(''ingest'') OR cdp.has_kind(''privacy'')');
	FOR t IN SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'cdp_data.event'::regclass LOOP
		PERFORM cdp.guard(t.relname, 'cdp.allowed_node(node_id)', false);
	END LOOP;

	PERFORM cdp.watch('installation');
	PERFORM cdp.watch('segment');
	PERFORM cdp.watch('segment_build');
	PERFORM cdp.watch('purpose');
	PERFORM cdp.watch('notice');
	PERFORM cdp.watch('consent_default');
	PERFORM cdp.watch('role_purpose');
	PERFORM cdp.watch('role_kind');
	PERFORM cdp.watch('trait');
	PERFORM cdp.watch('metric');
	PERFORM cdp.watch('dimension');
	PERFORM cdp.watch('action');
	PERFORM cdp.watch('item_path');
	PERFORM cdp.watch('session_rule');
	PERFORM cdp.watch('sequence');
	PERFORM cdp.watch('channel');
	PERFORM cdp.watch('activation');
	PERFORM cdp.watch('event_partition');
	PERFORM cdp.watch('identifier_path');
	PERFORM cdp.watch('namespace');
	PERFORM cdp.watch('identity_setting');
	PERFORM cdp.watch('attachment');
	PERFORM cdp.watch('event_definition');
	PERFORM cdp.watch('retention');
	PERFORM cdp.watch('message_horizon');
	PERFORM cdp.watch('suppression_key');
	PERFORM cdp.install_audit_triggers();
	RETURN (SELECT count(*) FROM pg_policy) + (SELECT count(*) FROM pg_trigger) - before;
END $$;
COMMENT ON FUNCTION cdp.install_protection() IS
'Step of cdp.init(): row-level policies of every table that holds persons, and the triggers of configuration tables; returns how many were missing.';

CREATE FUNCTION cdp.install_views() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM cdp.refresh_views();
	PERFORM cdp.install_data_map();
	PERFORM cdp.install_plan_views();

	CREATE VIEW cdp.identifiers WITH (security_invoker = true) AS
	SELECT n.profile_id, i.namespace::text AS namespace, i.value::text AS value, i.first_seen, i.last_seen
	FROM cdp_data.identifier i LEFT JOIN cdp_data.node n ON n.node_id = i.node_id WHERE i.ended IS NULL;
	COMMENT ON VIEW cdp.identifiers IS 'What people are known by; cdp.resolve() finds a person by identifier fastest.';

	CREATE VIEW cdp.events WITH (security_invoker = true) AS
	SELECT n.profile_id, e.message_id, e.ts, e.received_at, e.type::text AS type, e.name, e.source,
		e.properties, e.traits, e.context, e.extra, e.node_id
	FROM cdp_data.event e LEFT JOIN cdp_data.node n ON n.node_id = e.node_id;
	COMMENT ON VIEW cdp.events IS 'What people did, with the person each event belongs to now.';
	COMMENT ON COLUMN cdp.events.ts IS 'When it happened, the client''s clock corrected.';
	COMMENT ON COLUMN cdp.events.extra IS 'Parts of the message that have no column of their own.';

	PERFORM cdp.install_segment_views();

	PERFORM cdp.install_consent_views();

	CREATE VIEW cdp.rejected WITH (security_invoker = true) AS
	SELECT r.rejected_at, r.last_at, r.times, r.source, r.message_id, r.reason::text AS reason, r.detail, r.payload
	FROM cdp_data.rejected r;
	COMMENT ON VIEW cdp.rejected IS 'Messages and values that were refused, with the reason; the same one again is counted in times.';

	CREATE VIEW cdp.outbox WITH (security_invoker = true) AS
	SELECT o.delivery_id, o.profile_id, g.name::text AS segment, o.channel::text AS channel, p.name::text AS purpose, o.state::text AS state,
		o.reason, o.created_at, o.leased_until, o.attempts, o.settled_at
	FROM cdp_data.outbox o
	LEFT JOIN cdp_data.segment g ON g.segment_id = o.segment_id
	LEFT JOIN cdp_data.purpose p ON p.purpose_id = o.purpose_id;
	COMMENT ON VIEW cdp.outbox IS 'Deliveries waiting for a channel, handed out, or settled with a reason.';

	CREATE VIEW cdp.merged_profiles WITH (security_invoker = true) AS
	SELECT m.old_id, m.profile_id FROM cdp_data.profile_merged m;
	COMMENT ON VIEW cdp.merged_profiles IS 'Profile ids that were merged away, and the person they are now.';

	CREATE VIEW cdp.merges WITH (security_invoker = true) AS
	SELECT m.merge_id, m.winner, m.loser, m.at, m.kind::text AS kind, m.source, nullif(m.message_id, '') AS message_id, m.reason, m.actor,
		cardinality(m.moved_nodes) AS identifiers, m.undone_at, m.undone_by
	FROM cdp_data.identity_merge m;
	COMMENT ON VIEW cdp.merges IS 'Every merge, with its cause; kind privacy only. cdp.unmerge() takes merge_id.';
	COMMENT ON COLUMN cdp.merges.kind IS 'message, merge (deliberate), override (against the rules), bulk, or rules (resolved again).';
	COMMENT ON COLUMN cdp.merges.identifiers IS 'How many identifiers went from the loser to the winner.';

	CREATE VIEW cdp.separations WITH (security_invoker = true) AS
	SELECT s.separation_id, s.kind::text AS kind, s.merge_id, s.reason, s.at, s.actor, s.revoked_at, s.revoked_by
	FROM cdp_data.identity_separation s;
	COMMENT ON VIEW cdp.separations IS 'What was unlinked or unmerged, and by whom; kind privacy only.';

	CREATE VIEW cdp.identity_edges WITH (security_invoker = true) AS
	SELECT n.profile_id, coalesce(i.namespace || ':' || i.value, f.namespace || ':' || f.value) AS identifier,
		o.profile_id AS other_profile_id, coalesce(j.namespace || ':' || j.value, g.namespace || ':' || g.value) AS other,
		e.rule::text AS rule, e.ts, coalesce(e.last_ts, e.ts) AS last_ts, e.source, e.message_id, e.refused::text AS refused, e.refused_at
	FROM cdp_data.identity_edge e
	LEFT JOIN cdp_data.node n ON n.node_id = e.a LEFT JOIN cdp_data.identifier i ON i.node_id = e.a
	LEFT JOIN cdp_data.identifier_retired f ON f.node_id = e.a
	LEFT JOIN cdp_data.node o ON o.node_id = e.b LEFT JOIN cdp_data.identifier j ON j.node_id = e.b
	LEFT JOIN cdp_data.identifier_retired g ON g.node_id = e.b;
	COMMENT ON VIEW cdp.identity_edges IS 'Evidence that identifiers are one person, kept or refused; cdp.explain_identity() says it in words.';
	COMMENT ON COLUMN cdp.identity_edges.refused IS 'Why they are not joined by it: limit:<namespace>, too_many_identifiers, separated, newer_link:<namespace>, blocked, isolated; null if they are.';

	-- a row of the table is shown for one node's sake, and its other nodes are not
	CREATE VIEW cdp.identity_history WITH (security_invoker = true, security_barrier = true) AS
	SELECT coalesce(p.profile_id, m.old_id) AS profile_id, coalesce(i.namespace || ':' || i.value, f.namespace || ':' || f.value) AS identifier, h.since, h.until, h.until_change
	FROM cdp_data.node_history h CROSS JOIN LATERAL unnest(h.nodes) u (node_id) LEFT JOIN cdp_data.identifier i ON i.node_id = u.node_id
	LEFT JOIN cdp_data.identifier_retired f ON f.node_id = u.node_id
	LEFT JOIN cdp_data.profile p ON p.profile_id = h.profile_id LEFT JOIN cdp_data.profile_merged m ON m.old_id = h.profile_id
	WHERE cdp.allowed_node(u.node_id)
	UNION ALL
	SELECT n.profile_id, coalesce(i.namespace || ':' || i.value, f.namespace || ':' || f.value), n.since, NULL, NULL
	FROM cdp_data.node n LEFT JOIN cdp_data.identifier i ON i.node_id = n.node_id
	LEFT JOIN cdp_data.identifier_retired f ON f.node_id = n.node_id;
	COMMENT ON VIEW cdp.identity_history IS 'Whom each identifier belonged to, from since until before until; profile_id is null for a person the current role may not see.';

	CREATE VIEW cdp.identity_conflicts WITH (security_invoker = true) AS
	SELECT i.namespace::text AS namespace, i.value::text AS value, n.profile_id, x.refused_links, x.people, x.last_refused_at, x.reasons,
		CASE WHEN x.people >= 20 THEN 'a value of so many people is hardly anybody''s: block it with cdp.define_namespace()'
			 WHEN x.people >= 5 THEN 'shared: a household, a kiosk, a mailbox of a company?'
			 ELSE 'two people, or one with two accounts: see cdp.explain_identity()' END AS suggestion
	FROM (SELECT r.node_id, count(*) AS refused_links, count(DISTINCT m.profile_id) AS people, max(r.refused_at) AS last_refused_at,
			array_agg(DISTINCT r.refused::text ORDER BY r.refused::text) AS reasons
		FROM (SELECT e.a AS node_id, e.b AS other, e.refused, e.refused_at FROM cdp_data.identity_edge e WHERE e.refused IS NOT NULL
			UNION ALL SELECT e.b, e.a, e.refused, e.refused_at FROM cdp_data.identity_edge e WHERE e.refused IS NOT NULL) r
		LEFT JOIN cdp_data.node m ON m.node_id = r.other GROUP BY r.node_id) x
	LEFT JOIN cdp_data.identifier i ON i.node_id = x.node_id LEFT JOIN cdp_data.node n ON n.node_id = x.node_id;
	COMMENT ON VIEW cdp.identity_conflicts IS 'Identifiers whose links were refused, and how many people are at the other ends: hubs, and candidates for blocking. ORDER BY people DESC.';

	CREATE VIEW cdp.namespaces WITH (security_invoker = true) AS
	SELECT n.name::text AS name, coalesce(n.rank, d.rank) AS priority, nullif(coalesce(n.max_per_profile, d.max_per_profile), 0) AS max_per_profile,
		nullif(coalesce(n.period, d.period), '0') AS period, coalesce(n.on_conflict, d.on_conflict)::text AS on_conflict,
		nullif(coalesce(n.ttl, d.ttl), '0') AS ttl, coalesce(n.normaliser, d.normaliser)::text AS normaliser,
		CASE WHEN n.name = '*' THEN n.blocked ELSE d.blocked || n.blocked END AS blocked
	FROM cdp_data.namespace n LEFT JOIN cdp_data.namespace d ON d.name = '*';
	COMMENT ON VIEW cdp.namespaces IS 'Rules of identifiers in force; * is for namespaces that are not listed.';

	CREATE VIEW cdp.tasks WITH (security_invoker = true) AS
	SELECT k.task_id, k.kind::text AS kind, coalesce(a.tbl::text, m.name, d.name, q.name, t.name::text, g.name::text, CASE WHEN k.kind = 'session' THEN 'cdp.sessions' END) AS target, k.state::text AS state, k.done_rows, k.total_rows, k.error, k.created_at, k.updated_at
	FROM cdp_data.task k LEFT JOIN cdp_data.attachment a ON k.kind = 'backfill' AND a.attachment_id = k.target
	LEFT JOIN cdp_data.metric m ON k.kind = 'metric' AND m.metric_id = k.target
	LEFT JOIN cdp_data.dimension d ON k.kind = 'dimension' AND d.dimension_id = k.target
	LEFT JOIN cdp_data.sequence q ON k.kind = 'sequence' AND q.sequence_id = k.target
	LEFT JOIN cdp_data.segment g ON k.kind = 'segment' AND g.segment_id = k.target
	LEFT JOIN cdp_data.trait t ON k.kind = 'trait' AND t.trait_id = k.target;
	COMMENT ON VIEW cdp.tasks IS 'Work for cdp.maintain(): what waits, how far it is, what failed.';

	CREATE VIEW cdp.purposes WITH (security_invoker = true) AS
	SELECT p.name::text AS name, p.description, p.created_at FROM cdp_data.purpose p;
	COMMENT ON VIEW cdp.purposes IS 'What data may be used for.';

	CREATE VIEW cdp.traits WITH (security_invoker = true) AS
	SELECT t.name::text AS name, t.type::text AS type, t.survivorship::text AS survivorship, t.indexed, t.description,
		t.sources, t.ignore_empty FROM cdp_data.trait t;
	COMMENT ON VIEW cdp.traits IS 'Declared traits: the typed columns of cdp.profiles.';

	CREATE VIEW cdp.metrics WITH (security_invoker = true) AS
	SELECT m.name::text AS name, m.event, m.aggregate::text AS aggregate, m.property, m.filter, m.period, m.type::text AS type,
		m.state::text AS state, m.created_at, m.complete_since
	FROM cdp_data.metric m;
	COMMENT ON VIEW cdp.metrics IS 'Metrics: columns of cdp.profiles that add up what people did. One that is building shows NULL until cdp.maintain() is through; cdp.tasks says how far it is.';
	COMMENT ON COLUMN cdp.metrics.complete_since IS 'Events before this were gone when the metric was defined; null if none were.';
	PERFORM cdp.install_session_views();
	PERFORM cdp.install_dimension_views();
	PERFORM cdp.install_sequence_views();
	PERFORM cdp.install_inbox();
	PERFORM cdp.install_stats();
	PERFORM cdp.install_retention_views();
	PERFORM cdp.install_import_views();
	PERFORM cdp.install_subject_views();
	PERFORM cdp.install_rights();
	PERFORM cdp.install_audit_views();
END $$;
COMMENT ON FUNCTION cdp.install_views() IS 'Step of cdp.init(): the public views.';

CREATE FUNCTION cdp.init(partition_interval text DEFAULT 'month') RETURNS TABLE (step text, detail text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS $$
#variable_conflict use_column
DECLARE
	saved text := current_setting('role');
	v_step text;
	v_done boolean;
	v_restored boolean := false;
	v_row record;
	v_call text;
BEGIN
	IF NOT (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user) THEN
		RAISE insufficient_privilege USING
			MESSAGE = 'cdp.init() must be run by a superuser',
			HINT = 'It creates a role, a schema and views, and configuration is for superusers.';
	END IF;
	IF partition_interval IS NULL OR partition_interval NOT IN ('day', 'week', 'month', 'year') THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('partition interval %s is unknown', coalesce(quote_literal(partition_interval), 'NULL')),
			HINT = 'Use day, week, month or year.';
	END IF;
	-- One init at a time; the key is the extension's own.
	PERFORM pg_advisory_xact_lock('cdp.version'::regproc::oid::bigint);

	IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = 'cdp_owner') THEN
		CREATE ROLE cdp_owner NOLOGIN NOINHERIT;
		step := 'role'; detail := 'created cdp_owner'; RETURN NEXT;
	ELSIF EXISTS (SELECT FROM pg_roles r WHERE r.rolname = 'cdp_owner' AND (r.rolcanlogin OR r.rolsuper OR r.rolbypassrls)) THEN
		RAISE invalid_role_specification USING
			MESSAGE = 'role cdp_owner may log in, is a superuser or bypasses row security',
			HINT = 'ALTER ROLE cdp_owner NOLOGIN NOSUPERUSER NOBYPASSRLS; or rename the role.';
	END IF;
	IF EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member
			WHERE m.roleid = 'cdp_owner'::regrole AND NOT r.rolsuper) THEN
		RAISE invalid_role_specification USING
			MESSAGE = 'role cdp_owner has members that are no superusers',
			DETAIL = 'What cdp_owner owns runs in everybody''s statements, so a member of it is as strong as a superuser.',
			HINT = 'REVOKE cdp_owner FROM them.';
	END IF;
	GRANT USAGE, CREATE ON SCHEMA cdp TO cdp_owner;
	GRANT EXECUTE ON ALL ROUTINES IN SCHEMA cdp TO cdp_owner;

	IF NOT EXISTS (SELECT FROM pg_namespace n WHERE n.nspname = 'cdp_data') THEN
		CREATE SCHEMA cdp_data AUTHORIZATION cdp_owner;
		COMMENT ON SCHEMA cdp_data IS 'Storage of cdp, made by cdp.init(). Read it through the views in schema cdp.';
	ELSIF (SELECT pg_get_userbyid(n.nspowner) FROM pg_namespace n WHERE n.nspname = 'cdp_data') <> 'cdp_owner' THEN
		RAISE invalid_schema_definition USING
			MESSAGE = 'schema cdp_data exists and does not belong to cdp_owner',
			HINT = 'Rename it, or ALTER SCHEMA cdp_data OWNER TO cdp_owner if it holds cdp''s tables.';
	END IF;

	PERFORM set_config('role', 'cdp_owner', true);
	FOR v_step, v_call IN VALUES
		('base', format('cdp.install_base(%L)', partition_interval)),
		('identity', 'cdp.install_identity()'),
		('segment', 'cdp.install_segment()'),
		('consent', 'cdp.install_consent()'),
		('signal_map', 'cdp.install_signal_map()'),
		('profile', 'cdp.install_profile()'),
		('activation', 'cdp.install_activation()'),
		('discover', 'cdp.install_discover()'),
		('plan', 'cdp.install_plan()'),
		('metric', 'cdp.install_metric()'),
		('dimension', 'cdp.install_dimension()'),
		('retention', 'cdp.install_retention()'),
		('session', 'cdp.install_session()'),
		('sequence', 'cdp.install_sequence()'),
		('import', 'cdp.install_import()'),
		('audit', 'cdp.install_audit()'),
		('ingest', 'cdp.install_ingest()'),
		('subject', 'cdp.install_subject()'),
		('views', 'cdp.install_views()')
	LOOP
		step := v_step;
		v_done := false;
		IF to_regclass('cdp_data.schema_step') IS NOT NULL THEN
			v_done := EXISTS (SELECT FROM cdp_data.schema_step s WHERE s.step = v_step)
				AND (v_step <> 'views' OR to_regclass('cdp.segments') IS NOT NULL);
		END IF;
		IF v_done THEN
			detail := 'already there';
			IF v_step = 'base' AND partition_interval <> (SELECT i.partition_interval FROM cdp_data.installation i) THEN
				detail := format('already there; events stay partitioned by %s', (SELECT i.partition_interval FROM cdp_data.installation i));
			END IF;
		ELSE
			EXECUTE 'SELECT ' || v_call;
			INSERT INTO cdp_data.schema_step (step, version) VALUES (v_step, 1) ON CONFLICT DO NOTHING;
			detail := 'created';
			v_restored := v_restored OR v_step = 'views';
		END IF;
		RETURN NEXT;
		IF v_step = 'subject' THEN
			step := 'protection';
			detail := format('%s policies and triggers created', cdp.install_protection());
			RETURN NEXT;
		END IF;
	END LOOP;
	PERFORM set_config('role', saved, true);

	-- After DROP EXTENSION ... CASCADE and a new CREATE EXTENSION the data is
	-- there and all that referred to the extension is not.
	IF v_restored THEN
		FOR v_row IN SELECT k.role_name, k.kind FROM cdp_data.role_kind k JOIN pg_roles r ON r.rolname = k.role_name LOOP
			PERFORM cdp.provision(quote_ident(v_row.role_name)::regrole, v_row.kind);
		END LOOP;
		FOR v_row IN SELECT a.attachment_id FROM cdp_data.attachment a JOIN pg_class c ON c.oid = a.tbl
				WHERE NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = a.tbl AND g.tgfoid = 'cdp.capture'::regproc) LOOP
			PERFORM cdp.create_capture(v_row.attachment_id);
		END LOOP;
	END IF;

	step := 'partitions';
	detail := format('%s created', cdp.create_partitions(now() - interval '1 month', now() + interval '2 months'));
	RETURN NEXT;
END $$;
COMMENT ON FUNCTION cdp.init(text) IS
'Makes, in one transaction, the role, tables, policies and views that cdp works on, and says what it did; run again it only restores what is missing. Events are partitioned by day, week, month or year.';

CREATE FUNCTION cdp.migrate() RETURNS TABLE (step text, detail text)
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF to_regclass('cdp_data.installation') IS NULL THEN
		PERFORM cdp.require_init();
	END IF;
	-- The first version has no older one to come from: what is missing is made.
	RETURN QUERY SELECT i.step, i.detail FROM cdp.init((SELECT n.partition_interval FROM cdp_data.installation n)) i;
END $$;
COMMENT ON FUNCTION cdp.migrate() IS
'Brings the tables to the version of the library, after ALTER EXTENSION cdp UPDATE; run again it changes nothing.';

CREATE FUNCTION cdp.schedule(schedule text DEFAULT '* * * * *') RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	job bigint;
BEGIN
	PERFORM cdp.require_admin();
	IF to_regprocedure('cron.schedule(text,text,text)') IS NULL THEN
		RAISE object_not_in_prerequisite_state USING
			MESSAGE = 'pg_cron is not installed in this database',
			HINT = 'Run CREATE EXTENSION pg_cron; or call CALL cdp.maintain(); each minute by other means.';
	END IF;
	EXECUTE 'SELECT cron.schedule($1, $2, $3)' INTO job
	USING 'cdp_maintain', schedule, 'CALL cdp.maintain()';
	RETURN job;
END $$;
COMMENT ON FUNCTION cdp.schedule(text) IS
'Lets pg_cron call cdp.maintain(), by default each minute; returns the number of the job.';
