-- 47_import.sql: audiences from elsewhere.  Lists of identifiers that are segments.

CREATE FUNCTION cdp.install_import() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	-- A list is what a segment's list_id names; one that none names is about to
	-- go.  Members allow the purpose, if there is one.
	CREATE TABLE cdp_data.list (
		list_id		int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
		purpose_id	int
	);

	-- What was said of people by others: identifiers, of whoever bears them, or
	-- of nobody yet.
	CREATE TABLE cdp_data.list_identifier (
		list_id		int NOT NULL,
		import_id	int NOT NULL,
		namespace	text COLLATE "C" NOT NULL,
		key			uuid NOT NULL,
		value		text COLLATE "C" NOT NULL,
		valid_until	timestamptz NOT NULL,
		PRIMARY KEY (key, namespace, list_id)
	);
	CREATE INDEX list_identifier_list ON cdp_data.list_identifier (list_id);
	CREATE INDEX list_identifier_until ON cdp_data.list_identifier (valid_until) WHERE valid_until < 'infinity';

	CREATE TABLE cdp_data.import (
		import_id	int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
		segment_id	int,
		list_id		int NOT NULL,
		name		text COLLATE "C" NOT NULL,
		source		text COLLATE "C" NOT NULL,
		mode		text COLLATE "C" NOT NULL,
		rows		bigint,
		rejected	bigint,
		expired		bigint,
		identifiers	bigint,
		matched		bigint,
		imported_at	timestamptz NOT NULL,
		imported_by	name NOT NULL
	);
END $$;
COMMENT ON FUNCTION cdp.install_import() IS 'Step of cdp.init(): tables of imported audiences.';

CREATE FUNCTION cdp.install_import_views() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	CREATE VIEW cdp.imports WITH (security_invoker = true) AS
	SELECT i.import_id, i.name::text AS segment, i.source::text AS source, i.mode::text AS mode, p.name::text AS purpose, i.rows, i.rejected, i.expired,
		i.identifiers, i.matched, i.identifiers - i.matched AS unmatched, i.imported_at, i.imported_by::text AS imported_by
	FROM cdp_data.import i LEFT JOIN cdp_data.list l ON l.list_id = i.list_id LEFT JOIN cdp_data.purpose p ON p.purpose_id = l.purpose_id
	WHERE i.segment_id IS NOT NULL;
	COMMENT ON VIEW cdp.imports IS 'Every cdp.import_audience() of a segment that is there: what came, and how much of it was somebody''s then.';
	COMMENT ON COLUMN cdp.imports.mode IS 'replace: the list is these; add, remove: these of it.';
	COMMENT ON COLUMN cdp.imports.expired IS 'Rows that were over when they came.';
	COMMENT ON COLUMN cdp.imports.identifiers IS 'On the list after it.';
	COMMENT ON COLUMN cdp.imports.matched IS 'Of these, borne by somebody at that moment.';

	CREATE VIEW cdp.imported_identifiers WITH (security_invoker = true) AS
	SELECT g.name::text AS segment, r.namespace || ':' || r.value AS identifier, i.source::text AS source, r.valid_until,
		n.profile_id, n.profile_id IS NOT NULL AS matched
	FROM cdp_data.list_identifier r JOIN cdp_data.segment g ON g.list_id = r.list_id JOIN cdp_data.import i ON i.import_id = r.import_id
	LEFT JOIN cdp_data.identifier x ON x.key = r.key AND x.namespace = r.namespace AND x.value = r.value AND x.ended IS NULL
	LEFT JOIN cdp_data.node n ON n.node_id = x.node_id;
	COMMENT ON VIEW cdp.imported_identifiers IS 'What is on imported lists, and whose it is now, if it is anybody''s; kind privacy only.';
END $$;
COMMENT ON FUNCTION cdp.install_import_views() IS 'Step of cdp.init(): the views of imported audiences.';

CREATE FUNCTION cdp.build_segment_of(segment_id int, people bigint[]) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE STRICT AS 'MODULE_PATHNAME', 'cdp_build_segment_of';
COMMENT ON FUNCTION cdp.build_segment_of(int, bigint[]) IS
'Evaluates a segment, and those that need it, for these profiles; the caller holds cdp.lock_storage(). Part of cdp.import_audience().';

CREATE FUNCTION cdp.bearers_on_list(list_id int) RETURNS bigint[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT coalesce(array_agg(DISTINCT n.profile_id ORDER BY n.profile_id), '{}') FROM cdp_data.list_identifier r
	JOIN cdp_data.identifier i ON i.key = r.key AND i.namespace = r.namespace AND i.value = r.value AND i.ended IS NULL
	JOIN cdp_data.node n ON n.node_id = i.node_id WHERE r.list_id = bearers_on_list.list_id
$$;
COMMENT ON FUNCTION cdp.bearers_on_list(int) IS 'People who bear an identifier of a list, in order; part of cdp.import_audience().';

-- What a purpose asks for changed: who is on a list under it is found again.
CREATE FUNCTION cdp.build_lists_of(purpose_id int) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	s record;
	people bigint[];
BEGIN
	FOR s IN SELECT g.segment_id, g.list_id FROM cdp_data.segment g JOIN cdp_data.list l ON l.list_id = g.list_id
			WHERE l.purpose_id = build_lists_of.purpose_id AND g.state = 'active' ORDER BY g.segment_id LOOP
		people := cdp.bearers_on_list(s.list_id);
		-- whose snapshot is older must not write beside it when to ask again
		UPDATE cdp_data.profile_state p SET rev = p.rev + 1 WHERE p.profile_id = ANY (people);
		PERFORM cdp.build_segment_of(s.segment_id, people);
	END LOOP;
	-- what is being found by what was asked for before is found again
	UPDATE cdp_data.task k SET position = NULL WHERE k.kind = 'segment' AND k.state IN ('waiting', 'running')
		AND EXISTS (SELECT FROM cdp_data.segment_build b JOIN cdp_data.list l ON l.list_id = b.list_id WHERE b.task_id = k.task_id AND l.purpose_id = build_lists_of.purpose_id);
END $$;
COMMENT ON FUNCTION cdp.build_lists_of(int) IS
'Evaluates the segments that are lists of a purpose, for who is on them; the caller holds cdp.lock_storage(). Part of cdp.define_notice() and cdp.define_default().';

CREATE FUNCTION cdp.begin_import(name text, query text, source text, namespace text, purpose text, mode text, valid_until timestamptz, background boolean,
	OUT import_id int, OUT list_id int) RETURNS record
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	purpose_no int;
BEGIN
	PERFORM cdp.require_admin();
	PERFORM cdp.check_name('a segment', name);
	IF query IS NULL OR source IS NULL OR source = '' OR octet_length(source) > 200 THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('segment %s cannot be imported', quote_ident(name)),
			DETAIL = 'There must be a query, and a source of 1 to 200 bytes.';
	END IF;
	IF mode IS NULL OR mode NOT IN ('replace', 'add', 'remove') THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('mode %s is unknown', coalesce(quote_literal(mode), 'NULL')),
			HINT = 'Use replace, add or remove.';
	END IF;
	IF valid_until <= cdp.clock() THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('segment %s would be over already', quote_ident(name)),
			HINT = 'valid_until must be in the future.';
	END IF;
	IF purpose IS NOT NULL THEN
		purpose_no := cdp.purpose_id(purpose);
	END IF;
	IF EXISTS (SELECT FROM cdp_data.segment s WHERE s.name = begin_import.name COLLATE "C" AND s.list_id IS NULL) THEN
		RAISE wrong_object_type USING
			MESSAGE = format('segment %s has a rule', quote_ident(name)),
			HINT = 'Import under another name, or drop it first.';
	END IF;
	-- nobody looks at this list yet
	INSERT INTO cdp_data.list AS l (purpose_id) VALUES (purpose_no) RETURNING l.list_id INTO list_id;
	INSERT INTO cdp_data.import AS i (list_id, name, source, mode, imported_at, imported_by)
	VALUES (begin_import.list_id, begin_import.name, begin_import.source, begin_import.mode, cdp.clock(), current_user) RETURNING i.import_id INTO import_id;
END $$;
COMMENT ON FUNCTION cdp.begin_import(text, text, text, text, text, text, timestamptz, boolean) IS
'Checks the arguments of cdp.import_audience() and makes a list for its identifiers; part of it.';

CREATE FUNCTION cdp.finish_import(import_id int, rows bigint, rejected bigint, expired bigint, background boolean) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	i record;
	g record;
	new_list int;
	old_list int;
	purpose int;
	size bigint;
	off boolean;
	beside boolean;
	touched bigint[];
	counts record;
	id int;
BEGIN
	SELECT * INTO i FROM cdp_data.import x WHERE x.import_id = finish_import.import_id;
	new_list := i.list_id;
	PERFORM cdp.lock_storage();
	SELECT s.*, coalesce(b.list_id, s.list_id) AS latest INTO g
	FROM cdp_data.segment s LEFT JOIN cdp_data.segment_build b ON b.segment_id = s.segment_id WHERE s.name = i.name COLLATE "C";
	old_list := g.latest;
	purpose := (SELECT l.purpose_id FROM cdp_data.list l WHERE l.list_id = new_list);
	IF i.mode <> 'replace' AND old_list IS NOT NULL THEN
		IF purpose IS NOT NULL AND purpose IS DISTINCT FROM (SELECT l.purpose_id FROM cdp_data.list l WHERE l.list_id = old_list) THEN
			RAISE invalid_parameter_value USING
				MESSAGE = format('segment %s has another purpose', quote_ident(i.name)),
				HINT = 'A list has one purpose: import it anew (mode replace), or under another name.';
		END IF;
		UPDATE cdp_data.list l SET purpose_id = (SELECT o.purpose_id FROM cdp_data.list o WHERE o.list_id = old_list) WHERE l.list_id = new_list;
	END IF;
	-- a few are put into place, many are put beside and taken over
	size := (SELECT count(*) FROM (SELECT FROM cdp_data.list_identifier r WHERE r.list_id = new_list OR (i.mode = 'replace' AND r.list_id = old_list) LIMIT 100001) x);
	off := cdp.is_off(g.segment_id);
	beside := NOT off AND cdp.builds_beside(i.name, g.segment_id, '{}', coalesce(background, CASE WHEN size <= 100000 AND cdp.builds_of(g.segment_id, '{}') = '{}' THEN false END));
	id := g.segment_id;
	IF id IS NULL THEN
		id := nextval(pg_get_serial_sequence('cdp_data.segment', 'segment_id'));
		INSERT INTO cdp_data.segment AS s (segment_id, set_id, name, definition, list_id, columns, uses, timed, state, created_at, changed_at)
		OVERRIDING SYSTEM VALUE
		VALUES (id, id, i.name, 'imported from ' || i.source, new_list, '{}', '{}', true, CASE WHEN beside THEN 'building' ELSE 'active' END, cdp.clock(), cdp.clock());
		IF i.mode = 'remove' THEN
			DELETE FROM cdp_data.list_identifier r WHERE r.list_id = new_list;
		END IF;
		old_list := NULL;
	END IF;
	IF beside AND i.mode <> 'replace' AND old_list IS NOT NULL THEN
		IF i.mode = 'add' THEN
			INSERT INTO cdp_data.list_identifier AS r (list_id, import_id, namespace, key, value, valid_until)
			SELECT new_list, o.import_id, o.namespace, o.key, o.value, o.valid_until FROM cdp_data.list_identifier o WHERE o.list_id = old_list
			ON CONFLICT (key, namespace, list_id) DO NOTHING;
		ELSE
			WITH gone AS (DELETE FROM cdp_data.list_identifier r WHERE r.list_id = new_list RETURNING r.key, r.namespace)
			INSERT INTO cdp_data.list_identifier AS r (list_id, import_id, namespace, key, value, valid_until)
			SELECT new_list, o.import_id, o.namespace, o.key, o.value, o.valid_until FROM cdp_data.list_identifier o WHERE o.list_id = old_list
				AND NOT EXISTS (SELECT FROM gone x WHERE x.key = o.key AND x.namespace = o.namespace)
			ON CONFLICT (key, namespace, list_id) DO UPDATE SET import_id = excluded.import_id, valid_until = excluded.valid_until;
		END IF;
	END IF;
	IF beside THEN
		PERFORM cdp.begin_build(id, '{}');
		UPDATE cdp_data.segment_build b SET fresh = true, definition = 'imported from ' || i.source, list_id = new_list, timed = true WHERE b.segment_id = id;
	ELSE
		touched := cdp.bearers_on_list(new_list);
		IF i.mode = 'replace' OR old_list IS NULL THEN
			IF old_list IS NOT NULL THEN
				touched := ARRAY(SELECT DISTINCT u FROM unnest(touched || cdp.bearers_on_list(old_list)) u ORDER BY u);
				INSERT INTO cdp_data.segment_version (segment_id, version, definition, rule, valid_from, valid_to)
				VALUES (id, g.version, g.definition, NULL, g.changed_at, cdp.clock());
				UPDATE cdp_data.segment s SET list_id = new_list, definition = 'imported from ' || i.source, version = s.version + 1, changed_at = cdp.clock() WHERE s.segment_id = id;
			END IF;
		ELSIF i.mode = 'add' THEN
			INSERT INTO cdp_data.list_identifier AS r (list_id, import_id, namespace, key, value, valid_until)
			SELECT old_list, o.import_id, o.namespace, o.key, o.value, o.valid_until FROM cdp_data.list_identifier o WHERE o.list_id = new_list
			ON CONFLICT (key, namespace, list_id) DO UPDATE SET import_id = excluded.import_id, valid_until = excluded.valid_until;
			DELETE FROM cdp_data.list_identifier r WHERE r.list_id = new_list;
			new_list := old_list;
		ELSE
			DELETE FROM cdp_data.list_identifier r USING cdp_data.list_identifier x
			WHERE x.list_id = new_list AND r.list_id = old_list AND r.key = x.key AND r.namespace = x.namespace;
			DELETE FROM cdp_data.list_identifier r WHERE r.list_id = new_list;
			new_list := old_list;
		END IF;
		IF NOT off THEN
			PERFORM cdp.build_segment_of(id, touched);
		END IF;
	END IF;
	SELECT count(*) AS listed, count(x.node_id) AS matched INTO counts FROM cdp_data.list_identifier r
	LEFT JOIN cdp_data.identifier x ON x.key = r.key AND x.namespace = r.namespace AND x.value = r.value AND x.ended IS NULL WHERE r.list_id = new_list;
	UPDATE cdp_data.import x SET segment_id = id, list_id = new_list, rows = finish_import.rows, rejected = finish_import.rejected, expired = finish_import.expired,
		identifiers = counts.listed, matched = counts.matched WHERE x.import_id = i.import_id;
	RETURN jsonb_build_object('segment', i.name, 'rows', rows, 'rejected', rejected, 'expired', expired, 'identifiers', counts.listed, 'matched', counts.matched,
		'unmatched', counts.listed - counts.matched, 'building', beside);
END $$;
COMMENT ON FUNCTION cdp.finish_import(int, bigint, bigint, bigint, boolean) IS
'Makes a segment of a list that was read, or changes the one that is there; part of cdp.import_audience().';

CREATE FUNCTION cdp.import_audience(name text, query text, source text, namespace text DEFAULT NULL, purpose text DEFAULT NULL, mode text DEFAULT 'replace',
	valid_until timestamptz DEFAULT NULL, background boolean DEFAULT NULL) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_import_audience';
COMMENT ON FUNCTION cdp.import_audience(text, text, text, text, text, text, timestamptz, boolean) IS
'Makes a segment of a list of identifiers from elsewhere: whoever bears one of them now, or later, and allows the purpose. The query (or COPY FROM a file) runs as the caller; returns what came of it.';

-- Rows of lists that no segment has any more, and those whose time is over.
CREATE FUNCTION cdp.list_step() RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	gone int;
	n bigint;
BEGIN
	IF NOT EXISTS (SELECT FROM cdp_data.list) THEN
		RETURN false;
	END IF;
	-- who was a member by them left when their timer fired
	DELETE FROM cdp_data.list_identifier r WHERE r.ctid = ANY (ARRAY(SELECT x.ctid FROM cdp_data.list_identifier x
		WHERE x.valid_until < 'infinity' AND x.valid_until <= cdp.clock() ORDER BY x.valid_until LIMIT 10000 FOR UPDATE SKIP LOCKED));
	GET DIAGNOSTICS n = ROW_COUNT;
	SELECT l.list_id INTO gone FROM cdp_data.list l WHERE NOT EXISTS (SELECT FROM cdp_data.segment s WHERE s.list_id = l.list_id)
		AND NOT EXISTS (SELECT FROM cdp_data.segment_build b WHERE b.list_id = l.list_id) ORDER BY 1 LIMIT 1 FOR UPDATE SKIP LOCKED;
	IF FOUND THEN
		DELETE FROM cdp_data.list_identifier r WHERE r.ctid = ANY (ARRAY(SELECT x.ctid FROM cdp_data.list_identifier x WHERE x.list_id = gone LIMIT 10000));
		IF NOT FOUND THEN
			DELETE FROM cdp_data.list l WHERE l.list_id = gone;
		END IF;
		RETURN true;
	END IF;
	RETURN n > 0;
END $$;
COMMENT ON FUNCTION cdp.list_step() IS 'Forgets identifiers of lists whose time is over, and of lists that are no segment''s any more; part of cdp.maintain().';
