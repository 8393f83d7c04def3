-- 50_ingest.sql: events in.

CREATE FUNCTION cdp.install_ingest() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	-- Immutable: an event names the node of its highest-ranking identifier,
	-- never a profile; merges do not touch events.
	CREATE TABLE cdp_data.event (
		ts			timestamptz NOT NULL,
		node_id		bigint NOT NULL,
		message_key	uuid NOT NULL,
		received_at	timestamptz NOT NULL,
		type		text COLLATE "C" NOT NULL,
		name		text,
		source		text NOT NULL,
		message_id	text NOT NULL,
		properties	jsonb,
		traits		jsonb,
		context		jsonb,
		extra		jsonb,
		other_nodes	bigint[],
		blocked		text[]
	) PARTITION BY RANGE (ts);
	CREATE INDEX event_node_ts ON cdp_data.event (node_id, ts);
	CREATE INDEX event_received ON cdp_data.event USING brin (received_at);

	CREATE TABLE cdp_data.event_partition (
		name		name PRIMARY KEY,
		from_ts		timestamptz NOT NULL UNIQUE,
		to_ts		timestamptz NOT NULL
	);

	-- Messages seen: a row is written before the event of the message.
	CREATE TABLE cdp_data.message_seen (
		source		text COLLATE "C" NOT NULL,
		key			uuid NOT NULL,
		content		bigint NOT NULL,
		received_at	timestamptz NOT NULL,
		PRIMARY KEY (key, source)
	);

	-- What was refused, with the reason.  The same refusal again is counted.
	CREATE TABLE cdp_data.rejected (
		rejected_id	bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
		rejected_at	timestamptz NOT NULL,
		last_at		timestamptz NOT NULL,
		times		int NOT NULL DEFAULT 1,
		source		text NOT NULL,
		message_id	text,
		reason		text COLLATE "C" NOT NULL,
		detail		text,
		payload		jsonb,
		recorded_by	name NOT NULL,
		-- of the message's id; null if cdp.retry_rejected() cannot take it again
		space		text COLLATE "C",
		-- of a row whose mapping failed, and can be mapped again: whose it is,
		-- and what it was before an update, JSON null if that is not known
		tbl			regclass,
		before		jsonb,
		UNIQUE (source, message_id, reason)
	);

	-- Where identifiers are in a message; types NULL means every type.
	CREATE TABLE cdp_data.identifier_path (
		path		text COLLATE "C" NOT NULL,
		namespace	text COLLATE "C" NOT NULL,
		types		text[],
		PRIMARY KEY (path, namespace)
	);
	-- Segment does not say whether a previousId was a user's or a browser's;
	-- deciding by what is known at arrival would make the result depend on the
	-- order of arrival.  It is a browser's: two user ids are two people by the
	-- rules we start with.
	INSERT INTO cdp_data.identifier_path VALUES
		('userId', 'user_id', NULL), ('user_id', 'user_id', NULL),
		('anonymousId', 'anonymous_id', NULL), ('anonymous_id', 'anonymous_id', NULL),
		('traits.email', 'email', '{identify}'), ('traits.phone', 'phone', '{identify}'),
		('context.traits.email', 'email', NULL), ('context.traits.phone', 'phone', NULL),
		('context.device.id', 'device_id', NULL),
		('previousId', 'anonymous_id', '{alias}'), ('previous_id', 'anonymous_id', '{alias}');

	CREATE TABLE cdp_data.attachment (
		attachment_id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
		tbl			regclass NOT NULL,
		source		text NOT NULL,
		mapping		jsonb NOT NULL,
		expression	text NOT NULL,
		key_columns	text[],
		on_update	boolean NOT NULL,
		strict		boolean NOT NULL,
		deferred	boolean NOT NULL,
		attached_at	timestamptz NOT NULL DEFAULT statement_timestamp()
	);

	-- Messages of deferred attachments that cdp.maintain() has yet to take.
	CREATE SEQUENCE cdp_data.captured_position CACHE 100;
	CREATE TABLE cdp_data.captured (
		position	bigint PRIMARY KEY,
		source		text NOT NULL,
		space		text COLLATE "C" NOT NULL,
		writer		name NOT NULL,
		captured_at	timestamptz NOT NULL,
		message		jsonb NOT NULL
	);

	CREATE TABLE cdp_data.task (
		task_id		int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
		kind		text COLLATE "C" NOT NULL,
		target		int,
		state		text COLLATE "C" NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'running', 'done', 'failed')),
		position	jsonb,
		done_rows	bigint NOT NULL DEFAULT 0,
		total_rows	bigint,
		error		text,
		created_at	timestamptz NOT NULL DEFAULT statement_timestamp(),
		updated_at	timestamptz
	);
END $$;
COMMENT ON FUNCTION cdp.install_ingest() IS 'Step of cdp.init(): tables of events, refusals, mappings and tasks.';

CREATE FUNCTION cdp.ingest(payload jsonb, source text DEFAULT 'default')
RETURNS TABLE (message_id text, status text, profile_id bigint)
LANGUAGE c VOLATILE PARALLEL UNSAFE STRICT ROWS 100 AS 'MODULE_PATHNAME', 'cdp_ingest';
COMMENT ON FUNCTION cdp.ingest(jsonb, text) IS
'Takes one message of the Segment specification, an array of them, or {"batch": [...]}; status is accepted, duplicate or rejected, in the order of the input.';

CREATE FUNCTION cdp.track(who text, event text, properties jsonb DEFAULT '{}', at timestamptz DEFAULT NULL, message_id text DEFAULT NULL, source text DEFAULT 'default') RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_track_text';
COMMENT ON FUNCTION cdp.track(text, text, jsonb, timestamptz, text, text) IS
'Records that a person did something and returns her profile id; a message id seen before changes nothing.';
CREATE FUNCTION cdp.track(who text[], event text, properties jsonb DEFAULT '{}', at timestamptz DEFAULT NULL, message_id text DEFAULT NULL, source text DEFAULT 'default') RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_track_array';
COMMENT ON FUNCTION cdp.track(text[], text, jsonb, timestamptz, text, text) IS
'Records that a person did something and returns her profile id; a message id seen before changes nothing.';
CREATE FUNCTION cdp.track(who cdp.identity_set, event text, properties jsonb DEFAULT '{}', at timestamptz DEFAULT NULL, message_id text DEFAULT NULL, source text DEFAULT 'default') RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_track_set';
COMMENT ON FUNCTION cdp.track(cdp.identity_set, text, jsonb, timestamptz, text, text) IS
'Records that a person did something and returns her profile id; a message id seen before changes nothing.';
CREATE FUNCTION cdp.track(who bigint, event text, properties jsonb DEFAULT '{}', at timestamptz DEFAULT NULL, message_id text DEFAULT NULL, source text DEFAULT 'default') RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_track_profile';
COMMENT ON FUNCTION cdp.track(bigint, text, jsonb, timestamptz, text, text) IS
'Records that a person did something and returns her profile id; a message id seen before changes nothing.';

CREATE FUNCTION cdp.identify(who text, traits jsonb DEFAULT '{}', at timestamptz DEFAULT NULL, message_id text DEFAULT NULL, source text DEFAULT 'default') RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_identify_text';
COMMENT ON FUNCTION cdp.identify(text, jsonb, timestamptz, text, text) IS
'Records facts about a person, merges the profiles that her identifiers show to be one, and returns her profile id.';
CREATE FUNCTION cdp.identify(who text[], traits jsonb DEFAULT '{}', at timestamptz DEFAULT NULL, message_id text DEFAULT NULL, source text DEFAULT 'default') RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_identify_array';
COMMENT ON FUNCTION cdp.identify(text[], jsonb, timestamptz, text, text) IS
'Records facts about a person, merges the profiles that her identifiers show to be one, and returns her profile id.';
CREATE FUNCTION cdp.identify(who cdp.identity_set, traits jsonb DEFAULT '{}', at timestamptz DEFAULT NULL, message_id text DEFAULT NULL, source text DEFAULT 'default') RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_identify_set';
COMMENT ON FUNCTION cdp.identify(cdp.identity_set, jsonb, timestamptz, text, text) IS
'Records facts about a person, merges the profiles that her identifiers show to be one, and returns her profile id.';
CREATE FUNCTION cdp.identify(who bigint, traits jsonb DEFAULT '{}', at timestamptz DEFAULT NULL, message_id text DEFAULT NULL, source text DEFAULT 'default') RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_identify_profile';
COMMENT ON FUNCTION cdp.identify(bigint, jsonb, timestamptz, text, text) IS
'Records facts about a person, merges the profiles that her identifiers show to be one, and returns her profile id.';

CREATE FUNCTION cdp.set_consent(who text, purpose text, state text, at timestamptz DEFAULT NULL, valid_until timestamptz DEFAULT NULL, source text DEFAULT 'default', message_id text DEFAULT NULL,
	channel text DEFAULT 'all', basis text DEFAULT NULL, notice text DEFAULT NULL, collection_point text DEFAULT NULL, valid_from timestamptz DEFAULT NULL, jurisdiction text DEFAULT NULL) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_set_consent_text';
COMMENT ON FUNCTION cdp.set_consent(text, text, text, timestamptz, timestamptz, text, text, text, text, text, text, timestamptz, text) IS
'Records the consent of exactly these identifiers for a purpose: granted, denied, withdrawn, objected or restricted; returns the profile id.';
CREATE FUNCTION cdp.set_consent(who text[], purpose text, state text, at timestamptz DEFAULT NULL, valid_until timestamptz DEFAULT NULL, source text DEFAULT 'default', message_id text DEFAULT NULL,
	channel text DEFAULT 'all', basis text DEFAULT NULL, notice text DEFAULT NULL, collection_point text DEFAULT NULL, valid_from timestamptz DEFAULT NULL, jurisdiction text DEFAULT NULL) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_set_consent_array';
COMMENT ON FUNCTION cdp.set_consent(text[], text, text, timestamptz, timestamptz, text, text, text, text, text, text, timestamptz, text) IS
'Records the consent of exactly these identifiers for a purpose: granted, denied, withdrawn, objected or restricted; returns the profile id.';
CREATE FUNCTION cdp.set_consent(who cdp.identity_set, purpose text, state text, at timestamptz DEFAULT NULL, valid_until timestamptz DEFAULT NULL, source text DEFAULT 'default', message_id text DEFAULT NULL,
	channel text DEFAULT 'all', basis text DEFAULT NULL, notice text DEFAULT NULL, collection_point text DEFAULT NULL, valid_from timestamptz DEFAULT NULL, jurisdiction text DEFAULT NULL) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_set_consent_set';
COMMENT ON FUNCTION cdp.set_consent(cdp.identity_set, text, text, timestamptz, timestamptz, text, text, text, text, text, text, timestamptz, text) IS
'Records the consent of exactly these identifiers for a purpose: granted, denied, withdrawn, objected or restricted; returns the profile id.';
CREATE FUNCTION cdp.set_consent(who bigint, purpose text, state text, at timestamptz DEFAULT NULL, valid_until timestamptz DEFAULT NULL, source text DEFAULT 'default', message_id text DEFAULT NULL,
	channel text DEFAULT 'all', basis text DEFAULT NULL, notice text DEFAULT NULL, collection_point text DEFAULT NULL, valid_from timestamptz DEFAULT NULL, jurisdiction text DEFAULT NULL) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_set_consent_profile';
COMMENT ON FUNCTION cdp.set_consent(bigint, text, text, timestamptz, timestamptz, text, text, text, text, text, text, timestamptz, text) IS
'Records the consent of exactly these identifiers for a purpose: granted, denied, withdrawn, objected or restricted; returns the profile id.';

CREATE FUNCTION cdp.create_partitions(from_ts timestamptz, to_ts timestamptz) RETURNS int
LANGUAGE c VOLATILE PARALLEL UNSAFE STRICT AS 'MODULE_PATHNAME', 'cdp_create_partitions';
COMMENT ON FUNCTION cdp.create_partitions(timestamptz, timestamptz) IS
'Creates the partitions of events that are missing in this range; returns how many.';

CREATE FUNCTION cdp.capture() RETURNS trigger
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'cdp_capture';
COMMENT ON FUNCTION cdp.capture() IS 'Trigger that cdp.attach() puts on a table: turns its changed rows into events and traits.';

CREATE FUNCTION cdp.timer_step(until timestamptz) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE STRICT AS 'MODULE_PATHNAME', 'cdp_timer_step';
COMMENT ON FUNCTION cdp.timer_step(timestamptz) IS 'Stores what time has changed of some people whose timers are due by then; false: of nobody. Part of cdp.maintain().';

CREATE FUNCTION cdp.maintain_step() RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_maintain_step';
COMMENT ON FUNCTION cdp.maintain_step() IS 'Does one piece of waiting work in this transaction; true if more may wait. Called by cdp.maintain().';

CREATE PROCEDURE cdp.maintain(max_seconds int DEFAULT 55)
LANGUAGE c AS 'MODULE_PATHNAME', 'cdp_maintain';
COMMENT ON PROCEDURE cdp.maintain(int) IS
'Does the work that waits (partitions ahead, backfills) in short transactions until none is left or the time is over. Call it each minute, or by hand.';

CREATE FUNCTION cdp.row_message(shape jsonb, VARIADIC "any") RETURNS jsonb
LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'cdp_row_message';
COMMENT ON FUNCTION cdp.row_message(jsonb, "any") IS
'The shape with values in it: numbers stand for the arguments behind it. What the expressions of attachments are made of.';

-- One entry of a mapping: a column name, {"column": name} or {"value": constant}.
CREATE FUNCTION cdp.mapping_value(tbl regclass, entry jsonb, place text) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	col text;
BEGIN
	IF jsonb_typeof(entry) = 'object' AND entry ? 'value' THEN
		RETURN format('%L::jsonb', entry->'value');
	END IF;
	col := CASE jsonb_typeof(entry) WHEN 'string' THEN entry #>> '{}' WHEN 'object' THEN entry->>'column' END;
	IF col IS NULL THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('mapping entry "%s" names no column', place),
			HINT = 'Give a column name, {"column": "name"} or {"value": constant}.';
	END IF;
	IF NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = tbl AND a.attname = col AND a.attnum > 0 AND NOT a.attisdropped) THEN
		RAISE undefined_column USING
			MESSAGE = format('column %s of relation %s does not exist', quote_ident(col), tbl),
			DETAIL = format('Mapping entry "%s" refers to it.', place);
	END IF;
	RETURN format('n.%I', col);
END $$;
COMMENT ON FUNCTION cdp.mapping_value(regclass, jsonb, text) IS 'SQL expression for one entry of an attachment''s mapping; part of cdp.attach().';

-- An object of a mapping, a list of columns or {"name": entry}, as a shape; its values join the arguments.
CREATE FUNCTION cdp.mapping_object(tbl regclass, entries jsonb, place text, INOUT arguments text[], OUT shape jsonb)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	e record;
BEGIN
	IF entries IS NULL OR entries IN ('{}', '[]') THEN
		RETURN;
	END IF;
	IF jsonb_typeof(entries) NOT IN ('array', 'object') THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('mapping entry "%s" must be a list of columns or an object', place);
	END IF;
	shape := '{}';
	FOR e IN SELECT x.e #>> '{}' AS key, x.e AS value, place AS at, x.o FROM jsonb_array_elements(CASE jsonb_typeof(entries) WHEN 'array' THEN entries ELSE '[]' END) WITH ORDINALITY x (e, o)
		UNION ALL SELECT y.key, y.value, place || '.' || y.key, 0 FROM jsonb_each(CASE jsonb_typeof(entries) WHEN 'object' THEN entries ELSE '{}' END) y
		ORDER BY o, key
	LOOP
		arguments := arguments || cdp.mapping_value(tbl, e.value, e.at);
		shape := shape || jsonb_build_object(e.key, cardinality(arguments));
	END LOOP;
END $$;
COMMENT ON FUNCTION cdp.mapping_object(regclass, jsonb, text, text[]) IS 'The shape of an object of an attachment''s mapping; part of cdp.attach().';

-- The message that a row n of the table becomes, as an SQL expression.
CREATE FUNCTION cdp.mapping_expression(tbl regclass, mapping jsonb, key_columns text[]) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	unknown text;
	type text := mapping->>'type';
	message jsonb := '{}';
	context jsonb;
	part jsonb;
	ids jsonb := '[]';
	arguments text[] := '{}';
	e record;
BEGIN
	SELECT k INTO unknown FROM jsonb_object_keys(mapping) k
	WHERE k NOT IN ('type', 'event', 'identifiers', 'time', 'message_id', 'properties', 'traits', 'context') LIMIT 1;
	IF unknown IS NOT NULL THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('mapping entry "%s" is unknown', unknown),
			HINT = 'Entries are type, event, identifiers, time, message_id, properties, traits, context.';
	END IF;
	type := coalesce(type, CASE WHEN mapping ? 'event' THEN 'track' WHEN mapping ? 'traits' THEN 'identify' END);
	IF type IS NULL OR type NOT IN ('track', 'identify', 'page', 'screen') THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'the mapping says neither which event nor which traits a row is',
			HINT = 'Give "event": "Order Completed", or "type": "identify" with "traits".';
	END IF;
	IF type = 'track' AND NOT mapping ? 'event' THEN
		RAISE invalid_parameter_value USING MESSAGE = 'a mapping of type track needs an "event"';
	END IF;
	message := jsonb_build_object('type', type);
	IF mapping ? 'event' THEN
		IF jsonb_typeof(mapping->'event') = 'string' THEN
			part := mapping->'event';
		ELSE
			arguments := arguments || cdp.mapping_value(tbl, mapping->'event', 'event');
			part := to_jsonb(cardinality(arguments));
		END IF;
		message := message || jsonb_build_object(CASE WHEN type = 'track' THEN 'event' ELSE 'name' END, part);
	END IF;
	IF jsonb_typeof(mapping->'identifiers') IS DISTINCT FROM 'object' OR mapping->'identifiers' = '{}' THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'the mapping names no identifiers',
			HINT = 'Example: "identifiers": {"user_id": "customer_id", "email": "email"}.';
	END IF;
	FOR e IN SELECT x.key, x.value FROM jsonb_each(mapping->'identifiers') x ORDER BY x.key LOOP
		arguments := arguments || cdp.mapping_value(tbl, e.value, 'identifiers.' || e.key);
		ids := ids || jsonb_build_object('type', e.key, 'id', cardinality(arguments));
	END LOOP;
	SELECT o.shape, o.arguments INTO context, arguments FROM cdp.mapping_object(tbl, mapping->'context', 'context', arguments) o;
	message := message || jsonb_build_object('context', coalesce(context, '{}') || jsonb_build_object('externalIds', ids));
	FOR e IN SELECT x FROM unnest(ARRAY['properties', 'traits']) x LOOP
		SELECT o.shape, o.arguments INTO part, arguments FROM cdp.mapping_object(tbl, mapping->(e.x), e.x, arguments) o;
		IF part IS NOT NULL THEN
			message := message || jsonb_build_object(e.x, part);
		END IF;
	END LOOP;
	IF mapping ? 'time' THEN
		arguments := arguments || cdp.mapping_value(tbl, mapping->'time', 'time');
		message := message || jsonb_build_object('timestamp', cardinality(arguments));
	END IF;
	-- The id of the message makes a row count once, whether the trigger or
	-- the backfill sees it first.
	IF mapping ? 'message_id' THEN
		arguments := arguments || format('to_jsonb(%s) #>> ''{}''', cdp.mapping_value(tbl, mapping->'message_id', 'message_id'));
		message := message || jsonb_build_object('messageId', cardinality(arguments));
	ELSIF key_columns IS NOT NULL THEN
		message := message || jsonb_build_object('messageId', jsonb_build_object('', to_jsonb(ARRAY[tbl::text])
			|| (SELECT jsonb_agg(cardinality(arguments) + o ORDER BY o) FROM generate_subscripts(key_columns, 1) o)));
		arguments := arguments || (SELECT array_agg(format('n.%I', k) ORDER BY o) FROM unnest(key_columns) WITH ORDINALITY u (k, o));
	END IF;
	RETURN format('cdp.row_message(%L::jsonb, %s)', message, array_to_string(arguments, ', '));
END $$;
COMMENT ON FUNCTION cdp.mapping_expression(regclass, jsonb, text[]) IS 'SQL expression for the message that a row becomes; part of cdp.attach().';

CREATE FUNCTION cdp.check_mapping(tbl regclass, expression text) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE STRICT AS 'MODULE_PATHNAME', 'cdp_check_mapping';
COMMENT ON FUNCTION cdp.check_mapping(regclass, text) IS
'Raises unless a mapping''s expression can be analysed over the rows of the table; part of cdp.attach().';

CREATE FUNCTION cdp.create_capture(attachment int) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	a record;
BEGIN
	SELECT * INTO STRICT a FROM cdp_data.attachment x WHERE x.attachment_id = attachment;
	EXECUTE format('CREATE TRIGGER cdp_capture_insert AFTER INSERT ON %s REFERENCING NEW TABLE AS cdp_new '
				   'FOR EACH STATEMENT EXECUTE FUNCTION cdp.capture(%L)', a.tbl, attachment::text);
	IF a.on_update THEN
		EXECUTE format('CREATE TRIGGER cdp_capture_update AFTER UPDATE ON %s REFERENCING NEW TABLE AS cdp_new OLD TABLE AS cdp_old '
					   'FOR EACH STATEMENT EXECUTE FUNCTION cdp.capture(%L)', a.tbl, attachment::text);
	END IF;
END $$;
COMMENT ON FUNCTION cdp.create_capture(int) IS 'Puts the triggers of an attachment on its table; part of cdp.attach() and cdp.init().';

CREATE FUNCTION cdp.attach(tbl regclass, mapping jsonb, source text DEFAULT NULL, on_update boolean DEFAULT false,
	backfill boolean DEFAULT false, strict boolean DEFAULT false, deferred boolean DEFAULT false) RETURNS int
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	id int;
	kind "char";
	key_columns text[];
	expression text;
BEGIN
	PERFORM cdp.require_admin();
	IF tbl IS NULL OR mapping IS NULL OR jsonb_typeof(mapping) <> 'object' THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'attach needs a table and a mapping object',
			HINT = 'Example: cdp.attach(''shop.orders'', ''{"event": "Order Completed", "identifiers": {"user_id": "customer_id"}, "time": "created_at", "properties": ["total"]}'').';
	END IF;
	-- what cdp.suggest_mapping() says of its proposal
	mapping := mapping - 'about';
	SELECT c.relkind INTO kind FROM pg_class c WHERE c.oid = tbl;
	IF kind NOT IN ('r', 'p') THEN
		RAISE wrong_object_type USING MESSAGE = format('%s is not a table', tbl);
	END IF;
	IF EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE c.oid = tbl AND (n.nspname IN ('cdp', 'cdp_data', 'information_schema') OR n.nspname LIKE 'pg\_%')) THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('table %s cannot be attached', tbl),
			DETAIL = 'It is a system table or one of cdp''s own, whose changes would be captured again and again.';
	END IF;
	IF octet_length(coalesce(source, tbl::text)) NOT BETWEEN 1 AND 127 THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'source must be text of 1 to 127 bytes';
	END IF;
	IF strict AND deferred THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'an attachment cannot be strict and deferred',
			HINT = 'A deferred attachment looks at its rows after their transaction, when it is too late to refuse them.';
	END IF;
	SELECT array_agg(a.attname::text ORDER BY k.o) INTO key_columns
	FROM pg_index x CROSS JOIN unnest(x.indkey::int2[]) WITH ORDINALITY k (attnum, o)
	JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.attnum
	WHERE x.indrelid = tbl AND x.indisprimary;
	IF backfill AND key_columns IS NULL THEN
		RAISE invalid_table_definition USING
			MESSAGE = format('table %s cannot be backfilled: it has no primary key', tbl),
			HINT = 'The primary key tells which rows are done.';
	END IF;
	expression := cdp.mapping_expression(tbl, mapping, key_columns);
	PERFORM cdp.check_mapping(tbl, expression);

	PERFORM cdp.detach(tbl);
	INSERT INTO cdp_data.attachment (tbl, source, mapping, expression, key_columns, on_update, strict, deferred)
	VALUES (tbl, coalesce(attach.source, tbl::text), mapping, expression, key_columns, coalesce(on_update, false), coalesce(strict, false),
		coalesce(deferred, false))
	RETURNING attachment_id INTO id;
	PERFORM cdp.create_capture(id);
	IF backfill THEN
		INSERT INTO cdp_data.task (kind, target, total_rows)
		VALUES ('backfill', id, (SELECT greatest(c.reltuples, 0)::bigint FROM pg_class c WHERE c.oid = tbl));
	END IF;
	RETURN id;
END $$;
COMMENT ON FUNCTION cdp.attach(regclass, jsonb, text, boolean, boolean, boolean, boolean) IS
'Turns the rows of an application table into events or traits, in the transaction that writes them or, deferred, in the next cdp.maintain(), which also takes the rows already there (backfill).';

CREATE FUNCTION cdp.detach(tbl regclass) RETURNS int
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	t record;
	n int;
BEGIN
	PERFORM cdp.require_admin();
	FOR t IN SELECT g.tgname FROM pg_trigger g WHERE g.tgrelid = tbl AND g.tgfoid = 'cdp.capture'::regproc AND NOT g.tgisinternal LOOP
		EXECUTE format('DROP TRIGGER %I ON %s', t.tgname, tbl);
	END LOOP;
	DELETE FROM cdp_data.task k USING cdp_data.attachment a
	WHERE k.kind = 'backfill' AND k.target = a.attachment_id AND a.tbl = detach.tbl AND k.state IN ('waiting', 'running');
	DELETE FROM cdp_data.attachment a WHERE a.tbl = detach.tbl;
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN n;
END $$;
COMMENT ON FUNCTION cdp.detach(regclass) IS 'Ends an attachment; events it made stay. Returns how many were ended.';
