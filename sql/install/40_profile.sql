-- 40_profile.sql: one row per person.  Traits, state, the views.

CREATE FUNCTION cdp.install_profile() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	CREATE TABLE cdp_data.trait (
		trait_id	int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
		name		text COLLATE "C" NOT NULL UNIQUE,
		type		text COLLATE "C" NOT NULL,
		survivorship text COLLATE "C" NOT NULL CHECK (survivorship IN ('latest', 'oldest', 'source_priority', 'most_frequent', 'max', 'min', 'union')),
		sources		text[],
		ignore_empty boolean NOT NULL DEFAULT false,
		indexed		boolean NOT NULL,
		description	text,
		created_at	timestamptz NOT NULL DEFAULT statement_timestamp()
	);

	-- Changes when a trait changes.  Declared traits are columns of their
	-- own; trait_meta keeps time, message and source of every trait's value.
	CREATE TABLE cdp_data.profile (
		profile_id	bigint PRIMARY KEY,
		ord			int NOT NULL UNIQUE,
		traits		jsonb NOT NULL DEFAULT '{}',
		trait_meta	jsonb NOT NULL DEFAULT '{}',
		created_at	timestamptz NOT NULL DEFAULT statement_timestamp()
	) WITH (fillfactor = 85);

	-- One HOT update per event, and the lock point of a profile: who changes
	-- anything of a person holds this row.  No further index, ever.
	CREATE TABLE cdp_data.profile_state (
		profile_id	bigint PRIMARY KEY,
		ord			int NOT NULL,
		rev			bigint NOT NULL DEFAULT 0,
		events		bigint NOT NULL DEFAULT 0,
		first_seen	timestamptz,
		last_seen	timestamptz,
		segments	int[] NOT NULL DEFAULT '{}',
		-- Of identity: place of the newest link that made her, whether a link of
		-- hers was refused, whether she was separated from somebody.
		linked_ts	timestamptz,
		linked_key	uuid,
		contested	boolean NOT NULL DEFAULT false,
		separated	boolean NOT NULL DEFAULT false
	) WITH (fillfactor = 70);

	-- How often a person gave which value of a most_frequent trait, of whom
	-- trait_meta would get too large.
	CREATE TABLE cdp_data.trait_tally (
		profile_id	bigint NOT NULL,
		name		text COLLATE "C" NOT NULL,
		key			bytea NOT NULL, -- SHA-256 of the value
		value		text NOT NULL,
		times		bigint NOT NULL,
		ts			timestamptz NOT NULL,
		message_key	uuid NOT NULL,
		source		text NOT NULL,
		PRIMARY KEY (profile_id, name, key)
	) WITH (fillfactor = 85);
END $$;
COMMENT ON FUNCTION cdp.install_profile() IS 'Step of cdp.init(): tables of profiles and traits.';

-- New columns come last, and one whose metric was dropped stays: views upon
-- these views must survive.
CREATE FUNCTION cdp.profile_columns(of_view text, fixed int) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	result text;
	twice text;
BEGIN
	SELECT min(x.name) INTO twice FROM (SELECT t.name::text FROM cdp_data.trait t UNION ALL SELECT m.name FROM cdp_data.metric m
		UNION ALL SELECT q.name FROM cdp_data.sequence q UNION ALL SELECT 'is_' || s.name FROM cdp_data.segment s WHERE s.shown) x
		GROUP BY x.name HAVING count(*) > 1 LIMIT 1;
	IF twice IS NOT NULL THEN
		RAISE duplicate_column USING
			MESSAGE = format('cdp.profiles cannot have two columns %s', quote_ident(twice)),
			HINT = 'One is a segment''s: see cdp.show_segment().';
	END IF;
	SELECT string_agg(format(', %s AS %I', coalesce(c.expr, format('NULL::%s', format_type(a.atttypid, NULL))), coalesce(c.name, a.attname)), ''
		ORDER BY a.attnum, c.kind, c.id) INTO result
	FROM (SELECT 1 AS kind, t.trait_id AS id, t.name::text AS name, format('p.%I', t.name) AS expr FROM cdp_data.trait t
		UNION ALL SELECT 2, m.metric_id, m.name, format('cdp.metric_%s(p.profile_id, %s)', CASE m.type WHEN 'double precision' THEN 'float8'
			WHEN 'timestamp with time zone' THEN 'timestamptz' WHEN 'text[]' THEN 'text_array' ELSE m.type END, m.metric_id)
		FROM cdp_data.metric m
		UNION ALL SELECT 2, d.dimension_id, d.profile_column, format('cdp.metric_%s(p.profile_id, %s)', CASE d.top WHEN 1 THEN 'text' ELSE 'text_array' END, d.dimension_id)
		FROM cdp_data.dimension d WHERE d.profile_column IS NOT NULL
		UNION ALL SELECT 3, q.sequence_id, q.name, format('cdp.sequence_%s(p.profile_id, %s)', CASE q.type WHEN 'text[]' THEN 'text_array' ELSE q.type END, q.sequence_id)
		FROM cdp_data.sequence q
		UNION ALL SELECT 4, s.segment_id, 'is_' || s.name, format('cdp.in_segments(p.ord, %L)', CASE WHEN s.name IN ('and', 'or', 'not') THEN '"' || s.name || '"' ELSE s.name END)
		FROM cdp_data.segment s WHERE s.shown AND of_view = 'cdp.profiles') c
	FULL JOIN (SELECT * FROM pg_attribute x WHERE x.attrelid = to_regclass(of_view) AND x.attnum > fixed AND NOT x.attisdropped) a
		ON a.attname::text = c.name;
	RETURN coalesce(result, '');
END $$;
COMMENT ON FUNCTION cdp.profile_columns(text, int) IS
'Select list of declared traits, metrics and shown segments for a view of people, after its fixed columns; part of cdp.refresh_views().';

-- Columns are only ever appended, so that views upon these views survive.
CREATE FUNCTION cdp.refresh_views() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	t record;
	r record;
	saved text := current_setting('role');
BEGIN
	PERFORM set_config('role', (SELECT pg_get_userbyid(n.nspowner) FROM pg_namespace n WHERE n.nspname = 'cdp_data'), true);

	EXECUTE 'CREATE OR REPLACE VIEW cdp.profiles WITH (security_invoker = true) AS
	SELECT p.profile_id, s.first_seen, s.last_seen, s.events,
		(SELECT ARRAY(SELECT g.name::text FROM cdp_data.segment g WHERE g.set_id = ANY (x.ids) ORDER BY g.name)
			FROM (SELECT cdp.present_segments(p.profile_id, s.segments) AS ids OFFSET 0) x) AS segments,
		(SELECT jsonb_object_agg(x.namespace, x.found) FROM (
			SELECT i.namespace, jsonb_agg(i.value ORDER BY i.value) AS found
			FROM cdp_data.node n JOIN cdp_data.identifier i ON i.node_id = n.node_id
			WHERE n.profile_id = p.profile_id AND i.ended IS NULL GROUP BY i.namespace) x) AS identifiers,
		p.traits, cdp.segments_of(p.ord, p.profile_id, s.segments) AS segment_set' || cdp.profile_columns('cdp.profiles', 8) || '
	FROM cdp_data.profile p LEFT JOIN cdp_data.profile_state s ON s.profile_id = p.profile_id';

	-- What a segment's predicate may look at; for the owner alone.
	EXECUTE 'CREATE OR REPLACE VIEW cdp_data.profile_rule AS
	SELECT p.profile_id, s.first_seen, s.last_seen, s.events, p.traits' || cdp.profile_columns('cdp_data.profile_rule', 5) || '
	FROM cdp_data.profile p JOIN cdp_data.profile_state s ON s.profile_id = p.profile_id';

	COMMENT ON VIEW cdp.profiles IS 'One row per person, as far as the current role''s purposes allow.';
	COMMENT ON COLUMN cdp.profiles.profile_id IS 'The person. A merged person''s old ids are in cdp.merged_profiles.';
	COMMENT ON COLUMN cdp.profiles.first_seen IS 'Time of the earliest event.';
	COMMENT ON COLUMN cdp.profiles.last_seen IS 'Time of the latest event.';
	COMMENT ON COLUMN cdp.profiles.events IS 'Number of events.';
	COMMENT ON COLUMN cdp.profiles.segments IS 'Segments the person is in now.';
	COMMENT ON COLUMN cdp.profiles.identifiers IS 'Identifiers by namespace: {"email": ["ada@example.com"]}.';
	COMMENT ON COLUMN cdp.profiles.segment_set IS 'The same as a value to search: segment_set @> ''vip'', segment_set @@ ''vip & !churned''.';
	COMMENT ON COLUMN cdp.profiles.traits IS 'Traits that were not declared with cdp.define_trait().';
	FOR t IN SELECT d.name, d.type, d.description FROM cdp_data.trait d LOOP
		EXECUTE format('COMMENT ON COLUMN cdp.profiles.%I IS %L', t.name,
					   coalesce(t.description, 'Trait ' || t.name || ' (' || t.type || ').'));
		FOR r IN SELECT DISTINCT k.role_name FROM cdp_data.role_kind k
				 JOIN pg_roles a ON a.rolname = k.role_name WHERE k.kind IN ('app', 'analyst', 'marketer', 'service', 'privacy') LOOP
			EXECUTE format('GRANT SELECT (%I) ON cdp_data.profile TO %I', t.name, r.role_name);
		END LOOP;
	END LOOP;
	FOR t IN SELECT m.name, concat(m.aggregate, coalesce(' of ' || m.property, ''), ' of ', coalesce('event ' || m.event, 'every event'),
			', ' || nullif(m.filter, '{}')::text, coalesce(' within ' || m.period::text, '')) AS description FROM cdp_data.metric m LOOP
		EXECUTE format('COMMENT ON COLUMN cdp.profiles.%I IS %L', t.name, 'Metric: ' || t.description || '.');
	END LOOP;
	FOR t IN SELECT d.name, d.profile_column, d.top FROM cdp_data.dimension d WHERE d.profile_column IS NOT NULL LOOP
		EXECUTE format('COMMENT ON COLUMN cdp.profiles.%I IS %L', t.profile_column,
			CASE t.top WHEN 1 THEN format('Dimension: the %s liked best.', t.name) ELSE format('Dimension: the %s values of %s liked best, the first most.', t.top, t.name) END);
	END LOOP;
	FOR t IN SELECT q.name, concat('did ', q.did, ', ' || nullif(q.did_filter, '{}')::text, ', and not ', q.then_not, ', ' || nullif(q.then_filter, '{}')::text,
			' with the same ' || q.same, ', within ', q.period, ' (holds ' || q.holds::text || ')') AS description FROM cdp_data.sequence q LOOP
		EXECUTE format('COMMENT ON COLUMN cdp.profiles.%I IS %L', t.name, 'Sequence: ' || t.description || '.');
	END LOOP;
	FOR t IN SELECT s.name FROM cdp_data.segment s WHERE s.shown LOOP
		EXECUTE format('COMMENT ON COLUMN cdp.profiles.%I IS %L', 'is_' || t.name, 'Is the person in segment ' || t.name || '?');
	END LOOP;
	PERFORM set_config('role', saved, true);
END $$;
COMMENT ON FUNCTION cdp.refresh_views() IS 'Builds cdp.profiles anew from the declared traits; part of cdp.init() and cdp.define_trait().';

CREATE FUNCTION cdp.lock_relation(rel regclass) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE STRICT AS 'MODULE_PATHNAME', 'cdp_lock_relation';
COMMENT ON FUNCTION cdp.lock_relation(regclass) IS
'Takes an ACCESS EXCLUSIVE lock on this table or view alone; part of cdp.lock_storage().';

-- Locks are waited for shortly and often: a writer must never queue behind a
-- DDL that waits.  The order is that of writers (the state first) and readers
-- (the view, then the table).
CREATE FUNCTION cdp.lock_storage(change_columns boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	saved text := current_setting('lock_timeout');
BEGIN
	-- what was written between the snapshot and the lock would be missed
	IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
		RAISE active_sql_transaction USING
			MESSAGE = format('people cannot be redefined in a %s transaction', upper(current_setting('transaction_isolation'))),
			HINT = 'Its snapshot may be older than what was written last: use READ COMMITTED.';
	END IF;
	FOR attempt IN 1..300 LOOP
		BEGIN
			PERFORM set_config('lock_timeout', '100ms', true);
			LOCK TABLE cdp_data.profile_state IN SHARE ROW EXCLUSIVE MODE;
			IF change_columns THEN
				PERFORM cdp.lock_relation('cdp.profiles');
				PERFORM cdp.lock_relation('cdp_data.profile_rule');
				PERFORM cdp.lock_relation('cdp_data.profile');
			END IF;
			PERFORM set_config('lock_timeout', saved, true);
			RETURN;
		EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
			PERFORM pg_sleep(0.1);
		END;
	END LOOP;
	RAISE lock_not_available USING
		MESSAGE = 'could not lock the profiles within a minute',
		HINT = 'A transaction that reads or writes them is still open; see pg_stat_activity.';
END $$;
COMMENT ON FUNCTION cdp.lock_storage(boolean) IS
'Waits until no transaction writes profiles and keeps new ones out until commit; with change_columns also readers.';

CREATE FUNCTION cdp.backfill_trait(name text) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE STRICT AS 'MODULE_PATHNAME', 'cdp_backfill_trait';
COMMENT ON FUNCTION cdp.backfill_trait(text) IS
'Moves the values of a newly declared trait out of the undeclared ones; part of cdp.define_trait().';

CREATE FUNCTION cdp.check_survivorship(name text, survivorship text, sources text[], ignore_empty boolean) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF survivorship IS NULL OR survivorship NOT IN ('latest', 'oldest', 'source_priority', 'most_frequent', 'max', 'min', 'union') THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('trait %s cannot have survivorship %s', quote_ident(name), coalesce(quote_literal(survivorship), 'NULL')),
			HINT = 'Use latest, oldest, source_priority, most_frequent, max, min or union.';
	END IF;
	IF (survivorship = 'source_priority') <> (sources IS NOT NULL) THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('trait %s cannot have survivorship %s %s sources', quote_ident(name), quote_literal(survivorship),
				CASE WHEN sources IS NULL THEN 'without' ELSE 'with' END),
			HINT = 'source_priority, and nothing else, has a list of sources, the most trusted first: sources => ''{crm,shop}''.';
	END IF;
	IF cardinality(sources) NOT BETWEEN 1 AND 100 OR array_ndims(sources) > 1 OR array_position(sources, NULL) IS NOT NULL
			OR cardinality(sources) <> (SELECT count(DISTINCT s) FROM unnest(sources) s) THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('trait %s cannot have such a list of sources', quote_ident(name)),
			HINT = 'It has 1 to 100 names, each once.';
	END IF;
	IF ignore_empty IS NULL THEN
		RAISE null_value_not_allowed USING MESSAGE = 'ignore_empty must not be null';
	END IF;
END $$;
COMMENT ON FUNCTION cdp.check_survivorship(text, text, text[], boolean) IS 'Raises unless this can decide which value of a trait survives; part of cdp.define_trait().';

CREATE FUNCTION cdp.define_trait(name text, type text DEFAULT 'text', survivorship text DEFAULT 'latest',
	index boolean DEFAULT false, description text DEFAULT NULL, sources text[] DEFAULT NULL, ignore_empty boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	kind text;
	old record;
	moved bigint := 0;
BEGIN
	PERFORM cdp.require_admin();
	PERFORM cdp.check_name('a trait', name);
	kind := CASE lower(btrim(type))
		WHEN 'text' THEN 'text' WHEN 'string' THEN 'text' WHEN 'varchar' THEN 'text'
		WHEN 'int' THEN 'integer' WHEN 'integer' THEN 'integer' WHEN 'int4' THEN 'integer'
		WHEN 'bigint' THEN 'bigint' WHEN 'int8' THEN 'bigint'
		WHEN 'float8' THEN 'double precision' WHEN 'double precision' THEN 'double precision' WHEN 'float' THEN 'double precision'
		WHEN 'bool' THEN 'boolean' WHEN 'boolean' THEN 'boolean'
		WHEN 'date' THEN 'date'
		WHEN 'timestamptz' THEN 'timestamp with time zone' WHEN 'timestamp with time zone' THEN 'timestamp with time zone'
		WHEN 'uuid' THEN 'uuid' END;
	IF kind IS NULL THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('trait %s cannot have type %s', quote_ident(name), coalesce(quote_literal(type), 'NULL')),
			DETAIL = 'Only these types keep their indexes under row-level policies: text, int, bigint, float8, bool, date, timestamptz, uuid.',
			HINT = 'Keep money as bigint in minor units; lists and objects need no declaration, they stay in column traits.';
	END IF;
	PERFORM cdp.check_survivorship(name, survivorship, sources, ignore_empty);
	IF survivorship = 'union' THEN
		kind := kind || '[]';
		IF index THEN
			RAISE invalid_parameter_value USING
				MESSAGE = format('trait %s cannot have survivorship %s and an index', quote_ident(name), quote_literal(survivorship)),
				HINT = 'Its column is an array, whose operators do not use an index under row-level policies.';
		END IF;
	END IF;
	IF name IN ('profile_id', 'ord', 'traits', 'trait_meta', 'created_at', 'first_seen', 'last_seen', 'events', 'segments', 'segment_set', 'identifiers',
				'rev', 'tableoid', 'xmin', 'xmax', 'cmin', 'cmax', 'ctid') THEN
		RAISE reserved_name USING
			MESSAGE = format('trait %s cannot be declared: cdp.profiles has such a column', quote_ident(name)),
			HINT = 'Undeclared, it stays readable as traits->>''' || name || '''.';
	END IF;

	IF EXISTS (SELECT FROM cdp_data.metric m WHERE m.name = define_trait.name COLLATE "C") THEN
		RAISE reserved_name USING
			MESSAGE = format('trait %s cannot be declared: a metric has this name', quote_ident(name)),
			HINT = 'Undeclared, it stays readable as traits->>''' || name || '''.';
	END IF;
	IF EXISTS (SELECT FROM cdp_data.dimension d WHERE d.profile_column = define_trait.name COLLATE "C") THEN
		RAISE reserved_name USING
			MESSAGE = format('trait %s cannot be declared: a dimension has this column', quote_ident(name)),
			HINT = 'Undeclared, it stays readable as traits->>''' || name || '''.';
	END IF;
	IF EXISTS (SELECT FROM cdp_data.sequence s WHERE s.name = define_trait.name COLLATE "C") THEN
		RAISE reserved_name USING
			MESSAGE = format('trait %s cannot be declared: a sequence has this name', quote_ident(name)),
			HINT = 'Undeclared, it stays readable as traits->>''' || name || '''.';
	END IF;

	IF EXISTS (SELECT FROM cdp_data.segment s WHERE s.shown AND 'is_' || s.name = define_trait.name COLLATE "C") THEN
		RAISE reserved_name USING
			MESSAGE = format('trait %s cannot be declared: a segment is shown by this name', quote_ident(name)),
			HINT = 'Undeclared, it stays readable as traits->>''' || name || '''.';
	END IF;

	SELECT * INTO old FROM cdp_data.trait t WHERE t.name = define_trait.name COLLATE "C";
	IF FOUND THEN
		IF old.type <> kind OR old.survivorship <> survivorship OR old.sources IS DISTINCT FROM sources OR old.ignore_empty <> ignore_empty THEN
			RAISE duplicate_object USING
				MESSAGE = format('trait %s is already declared as %s, %s', quote_ident(name), old.type, old.survivorship),
				HINT = 'The type of a declared trait stays; cdp.redefine_trait() changes which value survives.';
		END IF;
	ELSE
		IF EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = to_regclass('cdp.profiles') AND a.attname = name AND a.attnum > 0
				AND format_type(a.atttypid, NULL) <> kind) THEN
			RAISE reserved_name USING
				MESSAGE = format('trait %s cannot be declared as %s', quote_ident(name), kind),
				DETAIL = 'A metric of that name that was dropped was of another type, and its column stays for the views that use it.',
				HINT = 'Undeclared, it stays readable as traits->>''' || name || '''.';
		END IF;
		PERFORM cdp.lock_storage(true);
		PERFORM cdp.trait_retention(name, survivorship);
		INSERT INTO cdp_data.trait (name, type, survivorship, sources, ignore_empty, indexed, description)
		VALUES (define_trait.name, kind, define_trait.survivorship, define_trait.sources, define_trait.ignore_empty,
			coalesce(define_trait.index, false), define_trait.description);
		EXECUTE format('ALTER TABLE cdp_data.profile ADD COLUMN %I %s', name, kind);
		moved := cdp.backfill_trait(name);
	END IF;
	IF define_trait.index AND NOT EXISTS (SELECT FROM pg_index x JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = x.indkey[0]
			WHERE x.indrelid = 'cdp_data.profile'::regclass AND x.indnkeyatts = 1 AND a.attname = name) THEN
		EXECUTE format('CREATE INDEX ON cdp_data.profile (%I)', name);
	END IF;
	UPDATE cdp_data.trait t SET indexed = t.indexed OR coalesce(define_trait.index, false),
		description = coalesce(define_trait.description, t.description)
	WHERE t.name = define_trait.name COLLATE "C";
	PERFORM cdp.refresh_views();
	-- Rules that looked for the trait among the undeclared ones must notice.
	IF moved > 0 THEN
		PERFORM cdp.build_segments_of(ARRAY['traits', define_trait.name]);
	END IF;
END $$;
COMMENT ON FUNCTION cdp.define_trait(text, text, text, boolean, text, text[], boolean) IS
'Declares a trait as a typed column of cdp.profiles, filled from what is known already; index makes WHERE on it an index look-up.';

CREATE FUNCTION cdp.redefine_trait(name text, survivorship text, sources text[] DEFAULT NULL, ignore_empty boolean DEFAULT false) RETURNS int
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	old record;
	id int;
BEGIN
	PERFORM cdp.require_admin();
	SELECT * INTO old FROM cdp_data.trait t WHERE t.name = redefine_trait.name COLLATE "C";
	IF NOT FOUND THEN
		RAISE undefined_object USING
			MESSAGE = format('trait %s is not declared', coalesce(quote_ident(name), 'NULL')),
			HINT = 'Declare it with cdp.define_trait().';
	END IF;
	PERFORM cdp.check_survivorship(name, survivorship, sources, ignore_empty);
	IF (old.survivorship = 'union') <> (survivorship = 'union') THEN
		RAISE feature_not_supported USING
			MESSAGE = format('trait %s cannot change between one value and a union of values', quote_ident(name)),
			HINT = 'The type of its column would change: declare another trait.';
	END IF;
	PERFORM cdp.lock_storage();
	PERFORM cdp.trait_retention(name, survivorship);
	UPDATE cdp_data.trait t SET survivorship = redefine_trait.survivorship, sources = redefine_trait.sources,
		ignore_empty = redefine_trait.ignore_empty WHERE t.trait_id = old.trait_id;
	UPDATE cdp_data.task t SET position = NULL, state = 'waiting', done_rows = 0, updated_at = NULL
	WHERE t.kind = 'trait' AND t.target = old.trait_id AND t.state IN ('waiting', 'running') RETURNING t.task_id INTO id;
	IF id IS NULL THEN
		INSERT INTO cdp_data.task (kind, target, total_rows)
		VALUES ('trait', old.trait_id, (SELECT greatest(c.reltuples, 0)::bigint FROM pg_class c WHERE c.oid = 'cdp_data.profile_state'::regclass))
		RETURNING task_id INTO id;
	END IF;
	RETURN id;
END $$;
COMMENT ON FUNCTION cdp.redefine_trait(text, text, text[], boolean) IS
'Changes which value of a declared trait survives. It holds for messages from now on; cdp.maintain() folds the people known anew. Returns the task, see cdp.tasks.';

CREATE FUNCTION cdp.explain_trait(profile_id bigint, trait text)
RETURNS TABLE (value text, source text, at timestamptz, message_id text, won boolean, why text)
LANGUAGE c STABLE PARALLEL UNSAFE STRICT ROWS 10 AS 'MODULE_PATHNAME', 'cdp_explain_trait';
COMMENT ON FUNCTION cdp.explain_trait(bigint, text) IS
'Every value that a person''s messages gave to a trait, the one that survived first, and why; nothing for whom the caller may not see.';
CREATE FUNCTION cdp.explain_trait(who text, trait text)
RETURNS TABLE (value text, source text, at timestamptz, message_id text, won boolean, why text)
LANGUAGE sql STABLE PARALLEL UNSAFE ROWS 10 SET search_path = pg_catalog, pg_temp AS 'SELECT * FROM cdp.explain_trait(cdp.resolve(who), trait)';
COMMENT ON FUNCTION cdp.explain_trait(text, text) IS
'Every value that a person''s messages gave to a trait, the one that survived first, and why; nothing for whom the caller may not see.';

CREATE FUNCTION cdp.resolve(who text) RETURNS bigint
LANGUAGE c STABLE PARALLEL UNSAFE STRICT AS 'MODULE_PATHNAME', 'cdp_resolve_text';
CREATE FUNCTION cdp.resolve(who text[]) RETURNS bigint
LANGUAGE c STABLE PARALLEL UNSAFE STRICT AS 'MODULE_PATHNAME', 'cdp_resolve_array';
CREATE FUNCTION cdp.resolve(who cdp.identity_set) RETURNS bigint
LANGUAGE c STABLE PARALLEL UNSAFE STRICT AS 'MODULE_PATHNAME', 'cdp_resolve_set';
CREATE FUNCTION cdp.resolve(who bigint) RETURNS bigint
LANGUAGE c STABLE PARALLEL UNSAFE STRICT AS 'MODULE_PATHNAME', 'cdp_resolve_profile';
COMMENT ON FUNCTION cdp.resolve(text) IS
'Profile id of the person with this identifier or set of identifiers; NULL if unknown, or not visible to the caller.';
COMMENT ON FUNCTION cdp.resolve(text[]) IS
'Profile id of the person with these identifiers; NULL if unknown, not one person, or not visible to the caller.';
COMMENT ON FUNCTION cdp.resolve(cdp.identity_set) IS
'Profile id of the person with these identifiers; NULL if unknown, not one person, or not visible to the caller.';
COMMENT ON FUNCTION cdp.resolve(bigint) IS
'Present profile id of a profile id that may have been merged into another; NULL if unknown, or not visible to the caller.';

CREATE FUNCTION cdp.resolve(identifier cdp.identifier, as_of timestamptz) RETURNS bigint
LANGUAGE c STABLE PARALLEL UNSAFE STRICT AS 'MODULE_PATHNAME', 'cdp_resolve_as_of';
COMMENT ON FUNCTION cdp.resolve(cdp.identifier, timestamptz) IS
'Profile the identifier belonged to, as it was known at that time; NULL if nobody''s, or nobody''s whom the caller may see.';
CREATE FUNCTION cdp.resolve(identifier text, as_of timestamptz) RETURNS bigint
LANGUAGE sql STABLE PARALLEL UNSAFE STRICT SET search_path = pg_catalog, pg_temp AS 'SELECT cdp.resolve(identifier::cdp.identifier, as_of)';
COMMENT ON FUNCTION cdp.resolve(text, timestamptz) IS
'Profile the identifier belonged to, as it was known at that time; NULL if nobody''s, or nobody''s whom the caller may see.';

CREATE FUNCTION cdp.canonical(profile_id bigint) RETURNS bigint
LANGUAGE c STABLE PARALLEL UNSAFE STRICT AS 'MODULE_PATHNAME', 'cdp_resolve_profile';
COMMENT ON FUNCTION cdp.canonical(bigint) IS
'Profile that an id, perhaps one merged away, stands for now; NULL if nobody''s, or nobody''s whom the caller may see.';
