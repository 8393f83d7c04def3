-- 46_dimension.sql: what people like.  Dimensions of affinity, actions, the catalogue.

CREATE FUNCTION cdp.install_dimension() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	-- Kept in the rows of cdp_data.metric_state, so numbered with the metrics.
	CREATE TABLE cdp_data.dimension (
		dimension_id	int PRIMARY KEY DEFAULT nextval('cdp_data.metric_metric_id_seq'),
		name			text COLLATE "C" NOT NULL UNIQUE,
		path			text NOT NULL,
		half_life		interval NOT NULL,
		short_half_life	interval NOT NULL,
		declared_half_life interval NOT NULL,
		hierarchy_factor double precision CHECK (hierarchy_factor > 0 AND hierarchy_factor <= 1),
		slots			int NOT NULL,
		profile_column	text COLLATE "C" UNIQUE,	-- of cdp.profiles: the values liked best
		top				int NOT NULL CHECK (top > 0),	-- how many of them
		state			text COLLATE "C" NOT NULL CHECK (state IN ('building', 'ready')),
		anew			boolean NOT NULL DEFAULT false,	-- ready, and being made anew
		created_at		timestamptz NOT NULL DEFAULT statement_timestamp(),
		-- earlier events were gone when it was defined; null: none were
		complete_since	timestamptz
	);

	-- What an event is worth.
	CREATE TABLE cdp_data.action (
		event		text COLLATE "C" PRIMARY KEY,
		weight		double precision NOT NULL,
		property	text,							-- a number that the weight is multiplied with
		middle		double precision NOT NULL DEFAULT 0,	-- which is subtracted from it first
		most		double precision NOT NULL DEFAULT 100	-- of what is left, either way
	);
	INSERT INTO cdp_data.action (event, weight) VALUES
		('Product Viewed', 1), ('Product Clicked', 1), ('Product Shared', 2), ('Product Added', 3), ('Product Removed', -1),
		('Product Added to Wishlist', 3), ('Product Removed from Wishlist', -1), ('Order Completed', 5), ('Order Refunded', -5), ('Order Cancelled', -5);
	INSERT INTO cdp_data.action (event, weight, property, middle, most) VALUES ('Product Reviewed', 1.5, 'rating', 3, 2), ('Feedback Given', 3, 'score', 0, 1);

	-- Where events name items; the first path that finds one holds.
	CREATE TABLE cdp_data.item_path (
		position	int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
		path		text COLLATE "C" NOT NULL UNIQUE
	);
	INSERT INTO cdp_data.item_path (path) VALUES ('products[].product_id'), ('product_id'), ('items[].item_id'), ('item_id');

	-- The catalogue: items as they are, since when they are so.
	CREATE TABLE cdp_data.item (
		item_id		text COLLATE "C" PRIMARY KEY,
		since		timestamptz NOT NULL,
		type		text,
		name		text,
		active		boolean NOT NULL DEFAULT true,
		price		numeric,
		url			text,
		image		text,
		attributes	jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(attributes) = 'object')
	);
	-- What events were credited by before that.
	CREATE TABLE cdp_data.item_past (
		item_id		text COLLATE "C" NOT NULL,
		until		timestamptz NOT NULL,
		type		text,
		attributes	jsonb NOT NULL,
		PRIMARY KEY (item_id, until)
	);
	-- What everybody likes, as of a time; next is being gathered.
	CREATE TABLE cdp_data.dimension_base (
		dimension_id	int NOT NULL,
		next			boolean NOT NULL,
		value			text COLLATE "C" NOT NULL,
		score			double precision NOT NULL,
		PRIMARY KEY (dimension_id, next, value)
	);
	CREATE TABLE cdp_data.dimension_total (
		dimension_id	int NOT NULL,
		next			boolean NOT NULL,
		at				timestamptz NOT NULL,
		score			double precision NOT NULL,	-- all positive weights
		PRIMARY KEY (dimension_id, next)
	);
	-- Items that events named before the catalogue had them. Not unique: nobody waits for anybody.
	CREATE TABLE cdp_data.item_wanted (item_id text COLLATE "C" NOT NULL);
	CREATE INDEX item_wanted_id ON cdp_data.item_wanted (item_id);
END $$;
COMMENT ON FUNCTION cdp.install_dimension() IS 'Step of cdp.init(): tables of dimensions, actions and items.';

CREATE FUNCTION cdp.affinity_scores(profile_id bigint, dimension_id int)
RETURNS TABLE (horizon text, value text, score double precision, lower double precision, upper double precision, share double precision, lift double precision, rank int, trend double precision)
LANGUAGE c STABLE PARALLEL RESTRICTED STRICT COST 1000 ROWS 20 AS 'MODULE_PATHNAME', 'cdp_affinity_scores';
COMMENT ON FUNCTION cdp.affinity_scores(bigint, int) IS
'What a person likes in a dimension as of now, by horizon; cdp.affinities has everybody''s. Nothing for whom the caller may not see.';

CREATE FUNCTION cdp.affinity_of(profile_id bigint, dimension text, horizon text DEFAULT 'long') RETURNS cdp.affinity
LANGUAGE c STABLE PARALLEL RESTRICTED STRICT COST 1000 AS 'MODULE_PATHNAME', 'cdp_affinity_of';
COMMENT ON FUNCTION cdp.affinity_of(bigint, text, text) IS
'What a person likes in a dimension, as a value that adds and compares; horizons are long, short and declared. NULL without any, and for whom the caller may not see.';

CREATE FUNCTION cdp.explain_affinity(profile_id bigint, dimension text)
RETURNS TABLE (at timestamptz, event text, item_id text, value text, weight double precision, weight_now double precision, declared boolean, source text, message_id text)
LANGUAGE c STABLE PARALLEL RESTRICTED STRICT COST 100000 ROWS 100 AS 'MODULE_PATHNAME', 'cdp_explain_affinity';
COMMENT ON FUNCTION cdp.explain_affinity(bigint, text) IS
'Why: every event that gave a value its score, with the weight it had and has today. Nothing for whom the caller may not see. Events that went by retention are in the score, but not here.';

CREATE FUNCTION cdp.dimension_id(name text) RETURNS int
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	id int := (SELECT d.dimension_id FROM cdp_data.dimension d WHERE d.name = dimension_id.name COLLATE "C");
BEGIN
	IF id IS NULL THEN
		RAISE undefined_object USING
			MESSAGE = format('dimension %s does not exist', coalesce(quote_ident(name), 'NULL')),
			HINT = 'SELECT name FROM cdp.dimensions lists them.';
	END IF;
	RETURN id;
END $$;
COMMENT ON FUNCTION cdp.dimension_id(text) IS 'Number of a dimension, or an error; part of cdp.drop_dimension().';

CREATE FUNCTION cdp.remake_dimensions(dimension text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF NOT EXISTS (SELECT FROM cdp_data.node) THEN
		RETURN;
	END IF;
	-- then what everybody likes
	UPDATE cdp_data.task k SET state = 'waiting', position = NULL, updated_at = NULL WHERE k.kind = 'dimension_base';
	DELETE FROM cdp_data.task k WHERE k.kind = 'dimension' AND k.state IN ('waiting', 'running')
		AND k.target IN (SELECT d.dimension_id FROM cdp_data.dimension d WHERE d.name = coalesce(remake_dimensions.dimension, d.name));
	UPDATE cdp_data.dimension d SET anew = d.state = 'ready' WHERE d.name = coalesce(remake_dimensions.dimension, d.name);
	INSERT INTO cdp_data.task (kind, target, total_rows)
	SELECT 'dimension', d.dimension_id, (SELECT greatest(c.reltuples, 0)::bigint FROM pg_class c WHERE c.oid = 'cdp_data.node'::regclass)
	FROM cdp_data.dimension d WHERE d.name = coalesce(remake_dimensions.dimension, d.name);
END $$;
COMMENT ON FUNCTION cdp.remake_dimensions(text) IS 'Has cdp.maintain() make dimensions from the events, all or one; part of what changes what events credit. Under cdp.lock_storage().';

CREATE FUNCTION cdp.check_path(what text, path text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF path IS NULL OR path = '' OR path ~ '(^\.|\.\.|\.$)' THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('%s is not a path of %s', coalesce(quote_literal(path), 'NULL'), what),
			HINT = 'A path is the names of properties from the outside in, with dots: cart.total.';
	END IF;
END $$;
COMMENT ON FUNCTION cdp.check_path(text, text) IS 'Raises if this is no path of names with dots.';

CREATE FUNCTION cdp.define_dimension(name text, path text DEFAULT NULL, half_life interval DEFAULT '30 days', hierarchy_factor double precision DEFAULT NULL,
	short_half_life interval DEFAULT '1 hour', declared_half_life interval DEFAULT '1 year', slots int DEFAULT 64,
	profile_column text DEFAULT NULL, top int DEFAULT 1) RETURNS int
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	id int;
	h interval;
BEGIN
	PERFORM cdp.require_admin();
	PERFORM cdp.check_name('a dimension', name);
	path := coalesce(path, name);
	PERFORM cdp.check_path('dimension ' || quote_ident(name), path);
	FOREACH h IN ARRAY ARRAY[half_life, short_half_life, declared_half_life] LOOP
		IF h IS NULL OR h < interval '1 second' OR h > interval '100 years' THEN
			RAISE invalid_parameter_value USING
				MESSAGE = format('dimension %s cannot have half-life %s', quote_ident(name), coalesce(h::text, 'NULL')),
				HINT = 'A half-life is from a second to 100 years.';
		END IF;
	END LOOP;
	IF hierarchy_factor <= 0 OR hierarchy_factor > 1 THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('dimension %s cannot have hierarchy factor %s', quote_ident(name), hierarchy_factor),
			HINT = 'It is above 0 and at most 1: what a level gives to the one above it.';
	END IF;
	IF slots IS NULL OR slots NOT BETWEEN 1 AND 96 THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('dimension %s cannot keep %s values', quote_ident(name), coalesce(slots::text, 'NULL')),
			HINT = 'From 1 to 96 values are kept of a person.';
	END IF;
	IF top IS NULL OR top NOT BETWEEN 1 AND slots THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('the column of dimension %s cannot have %s values', quote_ident(name), coalesce(top::text, 'NULL')),
			HINT = 'From 1 to as many as are kept; more than one make a text[].';
	END IF;
	IF profile_column IS NOT NULL THEN
		PERFORM cdp.check_name('a column', profile_column);
		PERFORM cdp.check_profile_column('column', profile_column, CASE top WHEN 1 THEN 'text' ELSE 'text[]' END);
	END IF;
	PERFORM cdp.lock_storage(profile_column IS NOT NULL);
	IF EXISTS (SELECT FROM cdp_data.dimension d WHERE d.name = define_dimension.name COLLATE "C") THEN
		RAISE duplicate_object USING
			MESSAGE = format('dimension %s is already defined', quote_ident(name)),
			HINT = 'Drop it first with cdp.drop_dimension().';
	END IF;
	INSERT INTO cdp_data.dimension (name, path, half_life, short_half_life, declared_half_life, hierarchy_factor, slots, profile_column, top, state)
	VALUES (define_dimension.name, define_dimension.path, define_dimension.half_life, define_dimension.short_half_life, define_dimension.declared_half_life,
		define_dimension.hierarchy_factor, define_dimension.slots, define_dimension.profile_column, define_dimension.top, CASE WHEN EXISTS (SELECT FROM cdp_data.node) THEN 'building' ELSE 'ready' END)
	RETURNING dimension_id INTO id;
	PERFORM cdp.dimension_retention(id);
	PERFORM cdp.remake_dimensions(name);
	IF NOT EXISTS (SELECT FROM cdp_data.task k WHERE k.kind = 'dimension_base') THEN
		INSERT INTO cdp_data.task (kind) VALUES ('dimension_base');
	END IF;
	IF profile_column IS NOT NULL THEN
		PERFORM cdp.refresh_views();
	END IF;
	RETURN id;
END $$;
COMMENT ON FUNCTION cdp.define_dimension(text, text, interval, double precision, interval, interval, int, text, int) IS
'Keeps what people like: values at a path of items'' attributes, or of events'' properties ($item, $type: the item itself, its type). Weights of actions fade with half_life, and with short_half_life for what is wanted now. hierarchy_factor: values are levels (Women/Shoes), and each gives that much to the one above. profile_column: a column of cdp.profiles with the value liked best, or, as text[], the top ones. What happened before is added in cdp.maintain().';

CREATE FUNCTION cdp.drop_dimension(name text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	id int := cdp.dimension_id(name);
	shown text := (SELECT d.profile_column FROM cdp_data.dimension d WHERE d.dimension_id = id);
BEGIN
	PERFORM cdp.require_admin();
	PERFORM cdp.lock_storage(shown IS NOT NULL);
	PERFORM cdp.check_unused('column', shown);
	DELETE FROM cdp_data.task k WHERE k.kind = 'dimension' AND k.target = id AND k.state IN ('waiting', 'running');
	DELETE FROM cdp_data.dimension_base b WHERE b.dimension_id = id;
	DELETE FROM cdp_data.dimension_total t WHERE t.dimension_id = id;
	DELETE FROM cdp_data.dimension d WHERE d.dimension_id = id;
	IF shown IS NOT NULL THEN
		PERFORM cdp.refresh_views();
	END IF;
END $$;
COMMENT ON FUNCTION cdp.drop_dimension(text) IS 'Drops a dimension and forgets what people like in it; events stay.';

CREATE FUNCTION cdp.define_action(event text, weight double precision, property text DEFAULT NULL, middle double precision DEFAULT 0, most double precision DEFAULT 100) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM cdp.require_admin();
	PERFORM cdp.check_name('an event', event);
	IF weight IS NULL OR NOT abs(weight) <= 1000000 OR middle IS NULL OR NOT abs(middle) <= 1000000 OR most IS NULL OR NOT (most > 0 AND most <= 1000000) THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('event %s cannot have this weight', quote_ident(event)),
			HINT = 'Weight and middle are between -1000000 and 1000000, most is above 0.';
	END IF;
	IF property IS NOT NULL THEN
		PERFORM cdp.check_path('event ' || quote_ident(event), property);
	END IF;
	PERFORM cdp.lock_storage();
	INSERT INTO cdp_data.action (event, weight, property, middle, most)
	VALUES (define_action.event, define_action.weight, define_action.property, define_action.middle, define_action.most)
	ON CONFLICT ON CONSTRAINT action_pkey DO UPDATE SET weight = excluded.weight, property = excluded.property, middle = excluded.middle, most = excluded.most;
	PERFORM cdp.remake_dimensions();
END $$;
COMMENT ON FUNCTION cdp.define_action(text, double precision, text, double precision, double precision) IS
'Says what an event is worth to affinities: weight, or weight times a property''s number less middle, which counts up to most either way. Negative is dislike. What happened before is valued anew in cdp.maintain().';

CREATE FUNCTION cdp.drop_action(event text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM cdp.require_admin();
	PERFORM cdp.lock_storage();
	DELETE FROM cdp_data.action a WHERE a.event = drop_action.event COLLATE "C";
	IF NOT FOUND THEN
		RAISE undefined_object USING
			MESSAGE = format('event %s has no weight', coalesce(quote_ident(event), 'NULL')),
			HINT = 'SELECT event FROM cdp.actions lists those that have.';
	END IF;
	PERFORM cdp.remake_dimensions();
END $$;
COMMENT ON FUNCTION cdp.drop_action(text) IS 'An event no longer says what people like.';

CREATE FUNCTION cdp.set_item_paths(paths text[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	p text;
BEGIN
	PERFORM cdp.require_admin();
	IF paths IS NULL OR array_ndims(paths) > 1 OR array_position(paths, NULL) IS NOT NULL THEN
		RAISE invalid_parameter_value USING MESSAGE = 'the paths of items are no list of texts';
	END IF;
	FOREACH p IN ARRAY paths LOOP
		PERFORM cdp.check_path('items', replace(p, '[].', '.'));
		IF p ~ '\[' AND p !~ '^[^][]+\[\]\.[^][]+$' THEN
			RAISE invalid_parameter_value USING
				MESSAGE = format('%L is not a path of items', p),
				HINT = 'One list may be on the way: products[].product_id.';
		END IF;
	END LOOP;
	PERFORM cdp.lock_storage();
	DELETE FROM cdp_data.item_path;
	INSERT INTO cdp_data.item_path (path) SELECT u FROM unnest(paths) WITH ORDINALITY x (u, o) GROUP BY u ORDER BY min(o);
	PERFORM cdp.remake_dimensions();
END $$;
COMMENT ON FUNCTION cdp.set_item_paths(text[]) IS
'Where events name items, in their properties: product_id, or products[].product_id for each of a list. The first path that finds an item holds.';

CREATE FUNCTION cdp.take_items(source text) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	at timestamptz;
	changed bigint;
	wanted boolean;
BEGIN
	PERFORM cdp.lock_storage();
	-- what was received before is credited by what was known then: nobody receives anything while we hold the lock,
	-- but where a clock stands still all is received at this time
	at := CASE WHEN current_setting('cdp.clock', true) <> '' THEN cdp.clock() + interval '1 microsecond' ELSE clock_timestamp() END;
	EXECUTE format('WITH fresh AS (SELECT * FROM %s x),
		past AS (INSERT INTO cdp_data.item_past (item_id, until, type, attributes)
			SELECT i.item_id, $1, i.type, i.attributes FROM cdp_data.item i JOIN fresh f USING (item_id)
			WHERE (i.type, i.attributes) IS DISTINCT FROM (f.type, f.attributes) AND i.since < $1
			ON CONFLICT DO NOTHING)
		INSERT INTO cdp_data.item AS i (item_id, since, type, name, active, price, url, image, attributes)
		SELECT f.item_id, ''-infinity'', f.type, f.name, f.active, f.price, f.url, f.image, f.attributes FROM fresh f ORDER BY f.item_id
		ON CONFLICT (item_id) DO UPDATE SET
			since = CASE WHEN (i.type, i.attributes) IS DISTINCT FROM (excluded.type, excluded.attributes) THEN $1 ELSE i.since END,
			type = excluded.type, name = excluded.name, active = excluded.active, price = excluded.price, url = excluded.url, image = excluded.image, attributes = excluded.attributes
		WHERE (i.type, i.name, i.active, i.price, i.url, i.image, i.attributes) IS DISTINCT FROM
			(excluded.type, excluded.name, excluded.active, excluded.price, excluded.url, excluded.image, excluded.attributes)', source) USING at;
	GET DIAGNOSTICS changed = ROW_COUNT;
	EXECUTE format('WITH known AS (DELETE FROM cdp_data.item_wanted w USING %s AS f WHERE w.item_id = f.item_id RETURNING 1) SELECT EXISTS (SELECT FROM known)', source) INTO wanted;
	IF wanted THEN
		PERFORM cdp.remake_dimensions();
	END IF;
	RETURN changed;
END $$;
COMMENT ON FUNCTION cdp.take_items(text) IS 'Takes items from a relation of the transaction; part of cdp.import_items() and cdp.set_item().';

CREATE FUNCTION cdp.set_item(item_id text, attributes jsonb DEFAULT '{}', type text DEFAULT NULL, name text DEFAULT NULL, price numeric DEFAULT NULL,
	active boolean DEFAULT true, url text DEFAULT NULL, image text DEFAULT NULL) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM cdp.require_admin();
	PERFORM cdp.check_item(item_id, attributes);
	RETURN cdp.take_items(format('(SELECT %L::text COLLATE "C" AS item_id, %L::text AS type, %L::text AS name, %L::boolean AS active, %L::numeric AS price, %L::text AS url, %L::text AS image, %L::jsonb AS attributes)',
		item_id, type, name, coalesce(active, true), price, url, image, coalesce(attributes, '{}'))) > 0;
END $$;
COMMENT ON FUNCTION cdp.set_item(text, jsonb, text, text, numeric, boolean, text, text) IS
'Describes an item of the catalogue, whole; true if that is new. Events received from now on are credited by it; those received before, if nobody knew the item then.';

CREATE FUNCTION cdp.check_item(item_id text, attributes jsonb) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF item_id IS NULL OR item_id = '' OR octet_length(item_id) > 255 THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'the id of an item must be text of 1 to 255 bytes';
	END IF;
	IF jsonb_typeof(attributes) <> 'object' THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('the attributes of item %s are no JSON object', quote_literal(item_id));
	END IF;
END $$;
COMMENT ON FUNCTION cdp.check_item(text, jsonb) IS 'Raises if this is no item.';

CREATE FUNCTION cdp.import_items(query text, path text DEFAULT pg_catalog.current_setting('search_path')) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	columns text[];
	bad text;
	n bigint;
BEGIN
	PERFORM cdp.require_admin();
	IF to_regclass('pg_temp.cdp_given') IS NOT NULL OR to_regclass('pg_temp.cdp_items') IS NOT NULL THEN
		RAISE duplicate_table USING
			MESSAGE = 'temporary tables cdp_given and cdp_items must not exist',
			HINT = 'cdp.import_items() makes them and drops them.';
	END IF;
	PERFORM set_config('search_path', path, true);
	EXECUTE format('CREATE TEMP TABLE cdp_given ON COMMIT DROP AS SELECT * FROM (%s) q', query);
	PERFORM set_config('search_path', 'pg_catalog, pg_temp', true);
	columns := ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = 'pg_temp.cdp_given'::regclass AND a.attnum > 0 ORDER BY a.attnum);
	IF NOT 'item_id' = ANY (columns) THEN
		RAISE undefined_column USING
			MESSAGE = 'the query of items has no column item_id',
			HINT = 'Columns are item_id, type, name, active, price, url, image, attributes; all others become attributes.';
	END IF;
	EXECUTE format('CREATE TEMP TABLE cdp_items ON COMMIT DROP AS SELECT DISTINCT ON (x.item_id) x.* FROM (
		SELECT q.item_id::text COLLATE "C" AS item_id, %s AS type, %s AS name, coalesce(%s, true) AS active, %s AS price, %s AS url, %s AS image,
			coalesce(%s, ''{}'') || jsonb_strip_nulls(to_jsonb(q) - ''{item_id,type,name,active,price,url,image,attributes}''::text[]) AS attributes FROM pg_temp.cdp_given q) x ORDER BY x.item_id, x.attributes, x.name',
		CASE WHEN 'type' = ANY (columns) THEN 'q.type::text' ELSE 'NULL::text' END,
		CASE WHEN 'name' = ANY (columns) THEN 'q.name::text' ELSE 'NULL::text' END,
		CASE WHEN 'active' = ANY (columns) THEN 'q.active::boolean' ELSE 'NULL::boolean' END,
		CASE WHEN 'price' = ANY (columns) THEN 'q.price::numeric' ELSE 'NULL::numeric' END,
		CASE WHEN 'url' = ANY (columns) THEN 'q.url::text' ELSE 'NULL::text' END,
		CASE WHEN 'image' = ANY (columns) THEN 'q.image::text' ELSE 'NULL::text' END,
		CASE WHEN 'attributes' = ANY (columns) THEN 'q.attributes::jsonb' ELSE 'NULL::jsonb' END);
	PERFORM cdp.check_item(i.item_id, i.attributes) FROM pg_temp.cdp_items i;
	n := cdp.take_items('pg_temp.cdp_items');
	DROP TABLE pg_temp.cdp_items, pg_temp.cdp_given;
	RETURN n;
END $$;
COMMENT ON FUNCTION cdp.import_items(text, text) IS
'Describes the items that a query gives, run with this search_path, the caller''s: item_id, type, name, active, price, url, image, attributes; other columns become attributes. Returns how many are new or changed; others stay as they are.';

CREATE FUNCTION cdp.state_preference(who text, dimension text, value text, weight double precision DEFAULT 1, at timestamptz DEFAULT NULL, message_id text DEFAULT NULL, source text DEFAULT 'default') RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	-- JSON has no such numbers, and what is no number counts like none
	IF weight IN ('NaN', 'Infinity', '-Infinity') THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('the weight of a preference cannot be %s', weight),
			HINT = 'Weights are numbers; what somebody does not like has a negative one.';
	END IF;
	RETURN cdp.track(who, 'Preference Stated', jsonb_build_object('dimension', dimension, 'value', value, 'weight', weight), at, message_id, source);
END $$;
COMMENT ON FUNCTION cdp.state_preference(text, text, text, double precision, timestamptz, text, text) IS
'A person says what she likes (or, with a negative weight, does not): an event that counts in the horizon declared. Returns the profile.';

CREATE FUNCTION cdp.install_dimension_views() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	CREATE VIEW cdp.affinities WITH (security_invoker = true) AS
	SELECT p.profile_id, d.name::text AS dimension, s.horizon, s.value, s.score, s.lower, s.upper, s.share, s.lift, ln(s.lift) AS log_odds, s.rank, s.trend
	FROM cdp_data.profile p CROSS JOIN cdp_data.dimension d CROSS JOIN LATERAL cdp.affinity_scores(p.profile_id, d.dimension_id) s;
	COMMENT ON VIEW cdp.affinities IS 'What people like as of now, by dimension and horizon (long; short, what is wanted just now; declared, what they say). Ask by profile_id, or for all.';
	COMMENT ON COLUMN cdp.affinities.score IS 'Weights of its events, each faded to now.';
	COMMENT ON COLUMN cdp.affinities.share IS 'Part of all positive weights.';
	COMMENT ON COLUMN cdp.affinities.lift IS 'Her share against everybody''s, in the long horizon: (score + 10 p) / (total + 10) / p, where p is everybody''s share and 10 the weight given to that beforehand. Null for what nobody liked when cdp.maintain() looked last.';
	COMMENT ON COLUMN cdp.affinities.log_odds IS 'Logarithm of lift: above 0 is more than others.';
	COMMENT ON COLUMN cdp.affinities.trend IS 'Share in the short horizon less that in the long one.';

	CREATE VIEW cdp.dimensions WITH (security_invoker = true) AS
	SELECT d.name::text AS name, d.path, d.half_life, d.short_half_life, d.declared_half_life, d.hierarchy_factor, d.slots, d.profile_column::text AS profile_column, d.top,
		CASE WHEN d.anew THEN 'renewing' ELSE d.state::text END AS state, d.created_at, d.complete_since
	FROM cdp_data.dimension d;
	COMMENT ON VIEW cdp.dimensions IS 'Dimensions of affinity. One that is building shows nothing until cdp.maintain() is through, one that is renewing goes from the old to the new person by person; cdp.tasks says how far it is.';
	COMMENT ON COLUMN cdp.dimensions.complete_since IS 'Events before this, which may have said what somebody likes, were gone when the dimension was defined; null if none were.';
	CREATE VIEW cdp.actions WITH (security_invoker = true) AS
	SELECT a.event::text AS event, a.weight, a.property, a.middle, a.most FROM cdp_data.action a;
	COMMENT ON VIEW cdp.actions IS 'What events are worth to affinities.';
	CREATE VIEW cdp.item WITH (security_invoker = true) AS
	SELECT i.item_id::text AS item_id, i.type, i.name, i.active, i.price, i.url, i.image, i.attributes, nullif(i.since, '-infinity') AS changed_at FROM cdp_data.item i;
	COMMENT ON VIEW cdp.item IS 'The catalogue. cdp.import_items() and cdp.set_item() fill it.';
END $$;
COMMENT ON FUNCTION cdp.install_dimension_views() IS 'Part of a step of cdp.init(): the views of affinities and items.';
