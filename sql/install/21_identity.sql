-- 21_identity.sql: who is this.  Identifiers, nodes, rules, merges and their reasons.

CREATE FUNCTION cdp.install_identity() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	CREATE SEQUENCE cdp_data.node_id_seq;
	CREATE SEQUENCE cdp_data.profile_id_seq;
	-- Merges and every other change of who a node belongs to, in one order.
	CREATE SEQUENCE cdp_data.merge_id_seq;
	CREATE SEQUENCE cdp_data.ord_seq AS int MINVALUE 0 START 0;

	-- Rules by namespace; '*' is for those without a row and for what a row
	-- leaves open (null).  rank: the lower, the more important.
	CREATE TABLE cdp_data.namespace (
		name		text COLLATE "C" PRIMARY KEY,
		rank		int,
		max_per_profile int CHECK (max_per_profile >= 0),
		period		interval CHECK (period >= '0'),
		on_conflict	text COLLATE "C" CHECK (on_conflict IN ('demote', 'newest_wins', 'reject', 'isolate')),
		blocked		text[],
		ttl			interval CHECK (ttl >= '0'),
		normaliser	text COLLATE "C"
	);
	INSERT INTO cdp_data.namespace (name, rank, max_per_profile, on_conflict, blocked) VALUES
		('*', 100, 5, 'demote', ARRAY['[0-]+', '-1', 'null', 'nil', 'none', 'undefined', 'unknown', 'anonymous', 'n/?a', 'nan', '\(null\)', '\[object object\]', '[?*.]+']),
		('user_id', 1, 1, NULL, NULL),
		('email', 2, NULL, NULL, ARRAY['test@test\.[a-z]+', '(?:no-?reply|noemail|none|null|unknown|undefined|anonymous)@.*', '[^@]*@(?:localhost|invalid|noemail\.com)']),
		('phone', 3, NULL, NULL, ARRAY['\+?[0-9]{0,3}(?:0{6,}|1{6,}|2{6,}|3{6,}|4{6,}|5{6,}|6{6,}|7{6,}|8{6,}|9{6,})']),
		('device_id', 110, NULL, NULL, NULL),
		('anonymous_id', 120, NULL, NULL, NULL);

	-- One row per identifier ever seen.  key is a 128-bit hash of version,
	-- installation seed, namespace and value; value is compared after a hit.
	-- A message of after "ended" means somebody else by the same value; one
	-- of "born" or before means a former bearer: identifier_retired.
	-- uncounted: it was taken from its bearer, and is not one of her values to
	-- the limits; what merely expired was hers as long as it lived.
	CREATE TABLE cdp_data.identifier (
		namespace	text COLLATE "C" NOT NULL,
		key			uuid NOT NULL,
		value		text COLLATE "C" NOT NULL,
		node_id		bigint NOT NULL,
		first_seen	timestamptz NOT NULL,
		last_seen	timestamptz NOT NULL,
		born		timestamptz,
		ended		timestamptz,
		uncounted	boolean NOT NULL DEFAULT false,
		PRIMARY KEY (key, namespace)	-- keys of two namespaces differ as well, and compare faster
	) WITH (fillfactor = 85);
	CREATE UNIQUE INDEX identifier_node ON cdp_data.identifier (node_id);

	-- Former bearers of a value, by the time up to which it was theirs.
	CREATE TABLE cdp_data.identifier_retired (
		namespace	text COLLATE "C" NOT NULL,
		key			uuid NOT NULL,
		value		text COLLATE "C" NOT NULL,
		node_id		bigint NOT NULL UNIQUE,
		first_seen	timestamptz NOT NULL,
		last_seen	timestamptz NOT NULL,
		born		timestamptz,
		ended		timestamptz NOT NULL,
		uncounted	boolean NOT NULL DEFAULT false,
		PRIMARY KEY (namespace, key, ended)
	);

	-- The graph, flat: which person a node belongs to now, since when, and by
	-- which change.
	CREATE TABLE cdp_data.node (
		node_id		bigint PRIMARY KEY,
		profile_id	bigint NOT NULL,
		since		timestamptz NOT NULL,
		change		bigint NOT NULL
	) WITH (fillfactor = 90);
	CREATE INDEX node_profile ON cdp_data.node (profile_id);

	-- Whom nodes belonged to before: from since until before "until".  Nodes
	-- that came together and left together are one row, however many; from a
	-- node's change one finds the row of who had it before, and so on back.
	CREATE TABLE cdp_data.node_history (
		until_change bigint NOT NULL,
		profile_id	bigint NOT NULL,
		change		bigint NOT NULL,
		since		timestamptz NOT NULL,
		until		timestamptz NOT NULL,
		nodes		bigint[] NOT NULL,
		PRIMARY KEY (until_change, profile_id, change, since)
	);
	CREATE INDEX node_history_profile ON cdp_data.node_history (profile_id);

	-- Evidence that nodes are one person: the earliest and the latest message
	-- (the latter only where a rule asks for it) that named both.  A message
	-- of more than two identifiers makes a row for its first with each other
	-- one, all with the whole set in nodes.  refused: why they are not joined.
	CREATE TABLE cdp_data.identity_edge (
		a			bigint NOT NULL,
		b			bigint NOT NULL,
		nodes		bigint[] NOT NULL DEFAULT '{}',
		rule		text COLLATE "C" NOT NULL DEFAULT 'message' CHECK (rule IN ('message', 'merge', 'override', 'bulk')),
		ts			timestamptz NOT NULL,
		message_key	uuid NOT NULL,
		source		text NOT NULL,
		message_id	text NOT NULL,
		last_ts		timestamptz,
		last_key	uuid,
		refused		text COLLATE "C",
		refused_at	timestamptz,
		PRIMARY KEY (a, b, nodes, rule),
		CHECK (a < b)
	);
	CREATE INDEX identity_edge_b ON cdp_data.identity_edge (b);
	CREATE INDEX identity_edge_refused ON cdp_data.identity_edge (a) WHERE refused IS NOT NULL;

	-- What somebody decided: nodes of one side are nobody of the other.
	CREATE TABLE cdp_data.identity_separation (
		separation_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
		kind		text COLLATE "C" NOT NULL CHECK (kind IN ('unlink', 'unmerge')),
		side_a		bigint[] NOT NULL,
		side_b		bigint[] NOT NULL,
		merge_id	bigint,
		reason		text,
		at			timestamptz NOT NULL,
		actor		name NOT NULL,
		revoked_at	timestamptz,
		revoked_by	name
	);
	-- Finds the separations in force: the nodes of each one's smaller side.
	-- Where both sides meet, one of those is there.
	CREATE TABLE cdp_data.separation_node (
		node_id		bigint NOT NULL,
		separation_id bigint NOT NULL,
		PRIMARY KEY (node_id, separation_id)
	);

	CREATE TABLE cdp_data.identity_merge (
		merge_id	bigint PRIMARY KEY,
		winner		bigint NOT NULL,
		loser		bigint NOT NULL,
		loser_ord	int NOT NULL,
		moved_nodes	bigint[] NOT NULL,
		at			timestamptz NOT NULL,
		kind		text COLLATE "C" NOT NULL DEFAULT 'message' CHECK (kind IN ('message', 'merge', 'override', 'bulk', 'rules')),
		source		text NOT NULL,
		message_id	text NOT NULL,
		reason		text,
		actor		name,
		undone_at	timestamptz,
		undone_by	name
	);
	CREATE INDEX identity_merge_winner ON cdp_data.identity_merge (winner);
	CREATE INDEX identity_merge_loser ON cdp_data.identity_merge (loser);

	-- Ids that were merged away keep resolving.  If the person comes back, it
	-- is with her old position and time.
	CREATE TABLE cdp_data.profile_merged (
		old_id		bigint PRIMARY KEY,
		old_ord		int NOT NULL,
		old_rev		bigint NOT NULL,
		old_created_at timestamptz NOT NULL,
		old_segments jsonb,
		profile_id	bigint NOT NULL,
		ord			int NOT NULL,
		merge_id	bigint NOT NULL
	);
	CREATE INDEX profile_merged_profile ON cdp_data.profile_merged (profile_id);

	CREATE TABLE cdp_data.identity_setting (
		single		boolean PRIMARY KEY DEFAULT true CHECK (single),
		max_identifiers int NOT NULL DEFAULT 1000 CHECK (max_identifiers BETWEEN 1 AND 100000),
		max_component int NOT NULL DEFAULT 20000 CHECK (max_component BETWEEN 1000 AND 1000000)
	);
	INSERT INTO cdp_data.identity_setting DEFAULT VALUES;
END $$;
COMMENT ON FUNCTION cdp.install_identity() IS 'Step of cdp.init(): tables of the identity graph and its rules.';

CREATE FUNCTION cdp.check_pattern(pattern text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF pattern IS NULL OR pattern = '' OR octet_length(pattern) > 512 THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'a pattern of blocked values must be text of 1 to 512 bytes';
	END IF;
	PERFORM '' ~* ('^(?:' || pattern || ')$');
	IF pattern ~ '\\[1-9]|^\*{3}' THEN
		RAISE invalid_regular_expression USING
			MESSAGE = 'a pattern of blocked values cannot refer back to a part of itself, nor begin with ***',
			HINT = 'Write out the alternatives.';
	END IF;
END $$;
COMMENT ON FUNCTION cdp.check_pattern(text) IS 'Raises unless the pattern can be one of blocked values; part of cdp.define_namespace().';

CREATE FUNCTION cdp.define_namespace(name text, priority int DEFAULT NULL, max_per_profile int DEFAULT NULL, period interval DEFAULT NULL,
	unique_per_profile boolean DEFAULT NULL, blocked text[] DEFAULT NULL, ttl interval DEFAULT NULL, normaliser text DEFAULT NULL,
	on_conflict text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	v_name text := lower(btrim(name));
	v_limit int := max_per_profile;
	p text;
BEGIN
	PERFORM cdp.require_admin();
	IF v_name IS NULL OR v_name !~ '^(\*|[a-z_][a-z0-9_.-]{0,62})$' THEN
		RAISE invalid_name USING
			MESSAGE = format('namespace name %s is not usable', coalesce(quote_literal(name), 'NULL')),
			HINT = 'A namespace has 1 to 63 letters, digits, _, . and -, beginning with a letter or _; ''*'' sets the default of all others.';
	END IF;
	IF unique_per_profile THEN
		IF coalesce(v_limit, 1) <> 1 THEN
			RAISE invalid_parameter_value USING
				MESSAGE = format('namespace %s cannot be unique per profile and have %s values', quote_ident(v_name), v_limit);
		END IF;
		v_limit := 1;
	ELSIF NOT unique_per_profile AND v_limit IS NULL THEN
		v_limit := 0;
	END IF;
	IF v_limit < 0 OR period NOT BETWEEN '0' AND '1000 years' OR ttl NOT BETWEEN '0' AND '1000 years' THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('namespace %s cannot have such a limit, period or ttl', quote_ident(v_name)),
			HINT = 'They are not negative; a time is at most 1000 years; 0 means none.';
	END IF;
	IF on_conflict NOT IN ('demote', 'newest_wins', 'reject', 'isolate') THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('conflict policy %s is unknown', quote_literal(on_conflict)),
			HINT = 'Use demote, newest_wins, reject or isolate.';
	END IF;
	IF normaliser IS NOT NULL AND NOT EXISTS (SELECT FROM cdp.normalisers() x WHERE x.name = define_namespace.normaliser) THEN
		RAISE undefined_object USING
			MESSAGE = format('normaliser %s does not exist', quote_literal(normaliser)),
			HINT = 'SELECT * FROM cdp.normalisers(); lists them, such as email, phone:JP or width.';
	END IF;
	FOREACH p IN ARRAY coalesce(blocked, '{}') LOOP
		PERFORM cdp.check_pattern(p);
	END LOOP;
	PERFORM cdp.lock_storage();
	INSERT INTO cdp_data.namespace AS n (name, rank, max_per_profile, period, on_conflict, blocked, ttl, normaliser)
	VALUES (v_name, priority, v_limit, period, on_conflict, blocked, ttl, normaliser)
	ON CONFLICT ON CONSTRAINT namespace_pkey DO UPDATE SET
		rank = coalesce(excluded.rank, n.rank),
		max_per_profile = coalesce(excluded.max_per_profile, n.max_per_profile),
		period = coalesce(excluded.period, n.period),
		on_conflict = coalesce(excluded.on_conflict, n.on_conflict),
		blocked = coalesce(excluded.blocked, n.blocked),
		ttl = coalesce(excluded.ttl, n.ttl),
		normaliser = coalesce(excluded.normaliser, n.normaliser);
END $$;
COMMENT ON FUNCTION cdp.define_namespace(text, int, int, interval, boolean, text[], interval, text, text) IS
'Sets the rules of a kind of identifier, or with ''*'' the default; what is not given stays. They hold for messages from now on; cdp.apply_rules() brings what is known in line.';

CREATE FUNCTION cdp.set_identity_limits(max_identifiers int DEFAULT NULL, max_component int DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM cdp.require_admin();
	IF max_identifiers NOT BETWEEN 1 AND 100000 OR max_component NOT BETWEEN 1000 AND 1000000 THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'a limit is out of range',
			HINT = 'max_identifiers is from 1 to 100000, max_component from 1000 to 1000000.';
	END IF;
	PERFORM cdp.lock_storage();
	UPDATE cdp_data.identity_setting s SET
		max_identifiers = coalesce(set_identity_limits.max_identifiers, s.max_identifiers),
		max_component = coalesce(set_identity_limits.max_component, s.max_component);
END $$;
COMMENT ON FUNCTION cdp.set_identity_limits(int, int) IS
'Sets how many identifiers one person may have (1000), and how many linked ones, kept or refused, are resolved again at once (20000); beyond that links are judged in the order they arrive.';
