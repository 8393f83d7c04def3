-- 45_segment.sql: segments defined, explained and read.

CREATE FUNCTION cdp.define_segment(name text, predicate text DEFAULT NULL, rule jsonb DEFAULT NULL, description text DEFAULT NULL, background boolean DEFAULT NULL) RETURNS int
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	canonical text;
	needs record;
	old record;
	missing text;
	used int[];
	id int;
BEGIN
	PERFORM cdp.require_admin();
	PERFORM cdp.check_name('a segment', name);
	IF predicate IS NULL AND rule IS NULL THEN
		RAISE null_value_not_allowed USING
			MESSAGE = format('segment %s needs a predicate or a rule', quote_ident(name)),
			HINT = 'Example: cdp.define_segment(''vip'', predicate => ''lifetime_value >= 100000''), or rule => ''{"lifetime_value": {"$gte": 100000}}''.';
	END IF;
	IF predicate IS NOT NULL AND rule IS NOT NULL THEN
		RAISE invalid_parameter_value USING
			MESSAGE = format('segment %s cannot have a predicate and a rule', quote_ident(name)),
			HINT = 'Give one of them.';
	END IF;
	canonical := cdp.check_predicate(predicate);
	PERFORM cdp.lock_storage();
	-- from here on nobody drops what the rule needs, or makes another need what is dropped
	SELECT * INTO needs FROM cdp.rule_needs(canonical, rule);
	SELECT min(n) INTO missing FROM unnest(needs.segments) n WHERE NOT EXISTS (SELECT FROM cdp_data.segment s WHERE s.name = n COLLATE "C");
	IF missing IS NOT NULL THEN
		RAISE undefined_object USING
			MESSAGE = format('segment %s does not exist', quote_ident(missing)),
			DETAIL = format('The rule of segment %s needs it.', quote_ident(name)),
			HINT = 'SELECT name FROM cdp.segments lists them.';
	END IF;
	used := ARRAY(SELECT u.segment_id FROM cdp_data.segment u WHERE u.name = ANY (needs.segments) ORDER BY 1);
	SELECT * INTO old FROM cdp_data.segment s WHERE s.name = define_segment.name COLLATE "C";
	IF old.list_id IS NOT NULL THEN
		RAISE wrong_object_type USING
			MESSAGE = format('segment %s was imported', quote_ident(name)),
			HINT = 'Import it again, or drop it first.';
	END IF;
	IF old.segment_id = ANY (cdp.segments_needed(used)) THEN
		RAISE invalid_object_definition USING
			MESSAGE = format('segment %s cannot need itself', quote_ident(name)),
			DETAIL = format('Its rule names %s.', (SELECT string_agg(quote_ident(n), ', ' ORDER BY n) FROM unnest(needs.segments) n)),
			HINT = 'Of two segments only one can look at the other.';
	END IF;
	background := NOT cdp.is_off(old.segment_id) AND cdp.builds_beside(name, old.segment_id, used, background);
	id := old.segment_id;
	IF id IS NULL THEN
		id := nextval(pg_get_serial_sequence('cdp_data.segment', 'segment_id'));
		INSERT INTO cdp_data.segment AS s (segment_id, set_id, name, definition, predicate, rule, description, columns, uses, timed, state, created_at, changed_at)
		OVERRIDING SYSTEM VALUE
		VALUES (id, id, define_segment.name, coalesce(define_segment.predicate, define_segment.rule::text), canonical, define_segment.rule, define_segment.description,
			needs.columns, used, needs.timed, CASE WHEN background THEN 'building' ELSE 'active' END, cdp.clock(), cdp.clock());
	ELSIF NOT background THEN
		INSERT INTO cdp_data.segment_version (segment_id, version, definition, rule, valid_from, valid_to)
		VALUES (id, old.version, old.definition, old.rule, old.changed_at, cdp.clock());
		UPDATE cdp_data.segment s SET definition = coalesce(define_segment.predicate, define_segment.rule::text), predicate = canonical, rule = define_segment.rule,
			description = coalesce(define_segment.description, s.description), columns = needs.columns, uses = used, timed = needs.timed,
			version = s.version + 1, changed_at = cdp.clock()
		WHERE s.segment_id = id;
	END IF;
	DELETE FROM cdp_data.segment_error e WHERE e.segment_id = id;
	IF background THEN
		PERFORM cdp.begin_build(id, used);
		UPDATE cdp_data.segment_build b SET fresh = true, definition = coalesce(define_segment.predicate, define_segment.rule::text), predicate = canonical,
			rule = define_segment.rule, description = coalesce(define_segment.description, b.description), columns = needs.columns, uses = used, timed = needs.timed
		WHERE b.segment_id = id;
	ELSIF NOT cdp.is_off(id) THEN
		PERFORM cdp.build_segment(id);
	END IF;
	RETURN id;
END $$;
COMMENT ON FUNCTION cdp.define_segment(text, text, jsonb, text, boolean) IS
'Defines, or redefines, a segment by a predicate over the columns of cdp.profiles or by a rule of the condition language, and finds its members among all profiles: at once, or (background; by default with more than 100,000 profiles) in steps of cdp.maintain(), while the old definition answers.';

CREATE FUNCTION cdp.segment_id(name text) RETURNS int
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	id int;
BEGIN
	SELECT s.segment_id INTO id FROM cdp_data.segment s WHERE s.name = segment_id.name COLLATE "C";
	IF id IS NULL THEN
		RAISE undefined_object USING
			MESSAGE = format('segment %s does not exist', coalesce(quote_ident(name), 'NULL')),
			HINT = 'SELECT name FROM cdp.segments lists them.';
	END IF;
	RETURN id;
END $$;
COMMENT ON FUNCTION cdp.segment_id(text) IS 'Number of a segment; raises if there is none. Part of the functions on segments.';

CREATE FUNCTION cdp.check_unneeded(id int, act text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	others text := (SELECT string_agg(quote_ident(s.name), ', ' ORDER BY s.name) FROM cdp_data.segment s WHERE s.uses @> ARRAY[id]
		OR EXISTS (SELECT FROM cdp_data.segment_build b WHERE b.segment_id = s.segment_id AND b.uses @> ARRAY[id]));
BEGIN
	IF others IS NOT NULL THEN
		RAISE dependent_objects_still_exist USING
			MESSAGE = format('segment %s cannot be %s: another segment needs it',
				(SELECT quote_ident(s.name) FROM cdp_data.segment s WHERE s.segment_id = id), act),
			DETAIL = format('Needed by %s.', others),
			HINT = 'Redefine or drop that one first.';
	END IF;
END $$;
COMMENT ON FUNCTION cdp.check_unneeded(int, text) IS 'Raises if the rule of another segment needs this one; part of cdp.drop_segment().';

CREATE FUNCTION cdp.check_unused(kind text, name text) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	users text := (SELECT string_agg(quote_ident(s.name), ', ' ORDER BY s.name) FROM cdp_data.segment s WHERE check_unused.name = ANY (s.columns)
		OR EXISTS (SELECT FROM cdp_data.segment_build b WHERE b.segment_id = s.segment_id AND check_unused.name = ANY (b.columns)));
BEGIN
	IF users IS NOT NULL THEN
		RAISE dependent_objects_still_exist USING
			MESSAGE = format('%s %s cannot be dropped: a segment uses it', kind, quote_ident(name)),
			DETAIL = format('Segment %s.', users),
			HINT = 'Drop or redefine the segment first.';
	END IF;
END $$;
COMMENT ON FUNCTION cdp.check_unused(text, text) IS
'Raises if a segment looks at this column; part of cdp.drop_metric() and cdp.drop_sequence(), which hold cdp.lock_storage().';

CREATE FUNCTION cdp.drop_segment(name text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	id int;
	set_no int;
	shown boolean;
BEGIN
	PERFORM cdp.require_admin();
	SELECT s.segment_id, s.shown INTO id, shown FROM cdp_data.segment s WHERE s.name = drop_segment.name COLLATE "C";
	IF id IS NULL THEN
		RAISE undefined_object USING MESSAGE = format('segment %s does not exist', coalesce(quote_ident(name), 'NULL'));
	END IF;
	PERFORM cdp.lock_storage(shown);
	SELECT s.set_id, s.shown INTO set_no, shown FROM cdp_data.segment s WHERE s.segment_id = id FOR UPDATE;
	IF EXISTS (SELECT FROM cdp_data.activation a WHERE a.segment_id = id) THEN
		RAISE dependent_objects_still_exist USING
			MESSAGE = format('segment %s cannot be dropped: an activation uses it', quote_ident(name)),
			HINT = 'Drop the activation first with cdp.drop_activation().';
	END IF;
	PERFORM cdp.check_unneeded(id, 'dropped');
	PERFORM cdp.end_build(id);
	DELETE FROM cdp_data.segment s WHERE s.segment_id = id;
	DELETE FROM cdp_data.segment_version v WHERE v.segment_id = id;
	DELETE FROM cdp_data.segment_error e WHERE e.segment_id = id;
	DELETE FROM cdp_data.segment_history h WHERE h.segment_id = id;
	DELETE FROM cdp_data.import i WHERE i.segment_id = id;
	IF shown THEN
		PERFORM cdp.refresh_views();
	END IF;
	IF cdp.is_large() THEN
		PERFORM cdp.retire_set(set_no);
		RETURN;
	END IF;
	DELETE FROM cdp_data.segment_member m WHERE m.segment_id = set_no;
	DELETE FROM cdp_data.segment_chunk c WHERE c.segment_id = set_no;
	DELETE FROM cdp_data.segment_delta d WHERE d.segment_id = set_no;
	-- who made a chunk out of these deltas meanwhile is waited for
	DELETE FROM cdp_data.segment_chunk c WHERE c.segment_id = set_no;
	UPDATE cdp_data.profile_state SET segments = array_remove(segments, set_no) WHERE segments @> ARRAY[set_no];
END $$;
COMMENT ON FUNCTION cdp.drop_segment(text) IS 'Drops a segment and forgets its members and their history.';

CREATE FUNCTION cdp.disable_segment(name text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	id int;
BEGIN
	PERFORM cdp.require_admin();
	id := cdp.segment_id(name);
	PERFORM cdp.lock_storage();
	PERFORM cdp.check_unneeded(id, 'disabled');
	PERFORM cdp.end_build(id);
	UPDATE cdp_data.segment s SET state = 'disabled', changed_at = cdp.clock() WHERE s.segment_id = id AND s.state <> 'disabled';
	IF FOUND THEN
		PERFORM cdp.build_segment(id);
	END IF;
END $$;
COMMENT ON FUNCTION cdp.disable_segment(text) IS 'Nobody is in the segment, and its rule is not asked, until cdp.enable_segment(). Definition and history stay.';

CREATE FUNCTION cdp.enable_segment(name text, background boolean DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	id int;
	used int[];
BEGIN
	PERFORM cdp.require_admin();
	id := cdp.segment_id(name);
	PERFORM cdp.lock_storage();
	SELECT s.uses INTO used FROM cdp_data.segment s WHERE s.segment_id = id AND s.state = 'disabled';
	IF NOT FOUND THEN
		RETURN;
	END IF;
	IF cdp.builds_beside(name, id, used, background) THEN
		PERFORM cdp.begin_build(id, used);
	ELSE
		UPDATE cdp_data.segment s SET state = 'active', changed_at = cdp.clock() WHERE s.segment_id = id;
		PERFORM cdp.build_segment(id);
	END IF;
END $$;
COMMENT ON FUNCTION cdp.enable_segment(text, boolean) IS
'Finds the members of a segment that was disabled, and keeps them from now on; background as in cdp.define_segment().';

CREATE FUNCTION cdp.refresh_segment(name text, background boolean DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	id int;
	used int[];
BEGIN
	PERFORM cdp.require_admin();
	PERFORM cdp.lock_storage();
	id := cdp.segment_id(name);
	SELECT s.uses INTO used FROM cdp_data.segment s WHERE s.segment_id = id;
	DELETE FROM cdp_data.segment_error e WHERE e.segment_id = id;
	IF cdp.builds_beside(name, id, used, background) THEN
		PERFORM cdp.begin_build(id, used) FROM cdp_data.segment s WHERE s.segment_id = id AND s.state <> 'disabled';
		RETURN NULL;
	END IF;
	RETURN cdp.build_segment(id);
END $$;
COMMENT ON FUNCTION cdp.refresh_segment(text, boolean) IS
'Evaluates a segment for everybody anew and returns the number of members (NULL: in the background, see cdp.define_segment()). Membership is never behind; this repairs, and forgets the last error.';

CREATE FUNCTION cdp.install_segment_views() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	CREATE VIEW cdp.segments WITH (security_invoker = true) AS
	SELECT g.name::text AS name, g.definition AS predicate, g.description, g.created_at,
		(SELECT count(*) FROM cdp_data.segment_member m WHERE m.segment_id = g.set_id AND NOT cdp.is_due(m.profile_id))
			+ (SELECT count(*) FROM cdp.fired_members() f WHERE f.segment_id = g.set_id) AS members,
		e.last_error, e.at AS last_error_at, g.rule, g.state::text AS state, g.version, g.changed_at,
		ARRAY(SELECT u.name::text FROM cdp_data.segment u WHERE u.segment_id = ANY (g.uses) ORDER BY u.name) AS needs, g.columns, g.timed,
		CASE WHEN g.timed AND g.state = 'active' THEN cdp.pending_timers() ELSE 0 END AS pending,
		EXISTS (SELECT FROM cdp_data.segment_build b WHERE b.segment_id = g.segment_id) AS building
	FROM cdp_data.segment g LEFT JOIN cdp_data.segment_error e ON e.segment_id = g.segment_id;
	COMMENT ON VIEW cdp.segments IS 'Segments, with the number of members the current role may see.';
	COMMENT ON COLUMN cdp.segments.predicate IS 'The rule as it was written; a JSON rule as text.';
	COMMENT ON COLUMN cdp.segments.rule IS 'The rule of the condition language; null for a SQL predicate.';
	COMMENT ON COLUMN cdp.segments.state IS 'active; disabled; building: defined, and its members are not all found yet.';
	COMMENT ON COLUMN cdp.segments.building IS 'Members of a new definition, or all anew, are being found; what is shown is in force until then. cdp.tasks says how far it is.';
	COMMENT ON COLUMN cdp.segments.version IS 'How often it was defined; cdp.segment_versions has what was before.';
	COMMENT ON COLUMN cdp.segments.needs IS 'Other segments that its rule looks at.';
	COMMENT ON COLUMN cdp.segments.columns IS 'Columns or fields that its rule looks at.';
	COMMENT ON COLUMN cdp.segments.timed IS 'Members enter or leave by the passing of time, too.';
	COMMENT ON COLUMN cdp.segments.pending IS 'People whose segments time has changed and cdp.maintain() has not stored yet; readers see them right all the same.';

	CREATE VIEW cdp.segment_versions WITH (security_invoker = true) AS
	SELECT g.name::text AS segment, v.version, v.definition AS predicate, v.rule, v.valid_from, v.valid_to
	FROM cdp_data.segment_version v JOIN cdp_data.segment g ON g.segment_id = v.segment_id
	UNION ALL SELECT g.name::text, g.version, g.definition, g.rule, g.changed_at, NULL FROM cdp_data.segment g;
	COMMENT ON VIEW cdp.segment_versions IS 'Every definition a segment had, and from when until when; valid_to is null for the present one.';

	CREATE VIEW cdp.segment_members WITH (security_invoker = true) AS
	SELECT m.profile_id, g.name::text AS segment, CASE WHEN m.since = 'infinity' THEN g.live_from ELSE m.since END AS since
	FROM cdp_data.segment_member m JOIN cdp_data.segment g ON g.set_id = m.segment_id WHERE NOT cdp.is_due(m.profile_id)
	UNION ALL
	SELECT f.profile_id, g.name::text, coalesce(f.since, CASE WHEN m.since = 'infinity' THEN g.live_from ELSE m.since END)
	FROM cdp.fired_members() f JOIN cdp_data.segment g ON g.set_id = f.segment_id
	LEFT JOIN cdp_data.segment_member m ON m.segment_id = f.segment_id AND m.ord = f.ord;
	COMMENT ON VIEW cdp.segment_members IS 'Who is in which segment, and since when.';

	CREATE VIEW cdp.segment_history WITH (security_invoker = true) AS
	SELECT coalesce(x.profile_id, h.profile_id) AS profile_id, g.name::text AS segment, h.entered_at, h.left_at, h.cause::text AS cause
	FROM cdp_data.segment_history h JOIN cdp_data.segment g ON g.segment_id = h.segment_id
	LEFT JOIN cdp_data.profile_merged x ON x.old_id = h.profile_id
	UNION ALL
	-- who leaves a set by a time before it was in force never came
	SELECT f.profile_id, g.name::text, least(coalesce(f.entered_at, CASE WHEN m.since = 'infinity' THEN g.live_from ELSE m.since END), f.left_at), f.left_at, 'time'
	FROM cdp.fired_exits() f JOIN cdp_data.segment g ON g.set_id = f.segment_id
	LEFT JOIN cdp_data.segment_member m ON m.segment_id = f.segment_id AND m.ord = f.ord
	UNION ALL
	SELECT m.profile_id, g.name::text, CASE WHEN m.since = 'infinity' THEN g.live_from ELSE m.since END, NULL, m.cause::text
	FROM cdp_data.segment_member m JOIN cdp_data.segment g ON g.set_id = m.segment_id WHERE NOT cdp.is_due(m.profile_id)
	UNION ALL
	SELECT f.profile_id, g.name::text, coalesce(f.since, CASE WHEN m.since = 'infinity' THEN g.live_from ELSE m.since END), NULL, CASE WHEN f.since IS NULL THEN m.cause::text ELSE 'time' END
	FROM cdp.fired_members() f JOIN cdp_data.segment g ON g.set_id = f.segment_id
	LEFT JOIN cdp_data.segment_member m ON m.segment_id = f.segment_id AND m.ord = f.ord;
	COMMENT ON VIEW cdp.segment_history IS 'Who was in which segment, from when until when (null: she is), and what made her leave, or enter if she is in: event, identity, time or definition.';
END $$;
COMMENT ON FUNCTION cdp.install_segment_views() IS 'Step of cdp.init(): the views of segments.';

CREATE FUNCTION cdp.members(expr text) RETURNS TABLE (profile_id bigint)
LANGUAGE c STABLE PARALLEL UNSAFE STRICT ROWS 10000 AS 'MODULE_PATHNAME', 'cdp_members';
COMMENT ON FUNCTION cdp.members(text) IS
'Profiles for which a boolean expression of segments holds, such as ''vip & !churned | (a & b)''; only those the caller may see.';

CREATE FUNCTION cdp.segment_count(expr text) RETURNS bigint
LANGUAGE c STABLE PARALLEL UNSAFE STRICT AS 'MODULE_PATHNAME', 'cdp_segment_count';
COMMENT ON FUNCTION cdp.segment_count(text) IS
'Number of profiles for which a boolean expression of segments holds; counts only those the caller may see.';

CREATE FUNCTION cdp.overlap(name text) RETURNS TABLE (segment text, n bigint, share float8, lift float8)
LANGUAGE c STABLE PARALLEL UNSAFE STRICT ROWS 100 AS 'MODULE_PATHNAME', 'cdp_overlap';
COMMENT ON FUNCTION cdp.overlap(text) IS
'Every other segment: n members in common, their share of this segment, and how many times the share among everybody that is (lift); of people the caller may see.';

CREATE FUNCTION cdp.segment_query(expr text, what text, as_of timestamptz) RETURNS text
LANGUAGE c STABLE PARALLEL UNSAFE STRICT AS 'MODULE_PATHNAME', 'cdp_segment_query';
COMMENT ON FUNCTION cdp.segment_query(text, text, timestamptz) IS
'The query over cdp.profiles that answers a boolean expression of segments for a time in the past; what is members or count.';

CREATE FUNCTION cdp.members(expr text, as_of timestamptz) RETURNS TABLE (profile_id bigint)
LANGUAGE plpgsql STABLE PARALLEL UNSAFE STRICT ROWS 10000 SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF NOT isfinite(as_of) THEN
		RAISE invalid_parameter_value USING MESSAGE = 'as_of must be a time';
	END IF;
	RETURN QUERY EXECUTE cdp.segment_query(expr, 'members', as_of);
END $$;
COMMENT ON FUNCTION cdp.members(text, timestamptz) IS
'Profiles for which a boolean expression of segments held at a time, as it was known then; of the people there are now, those whom the caller may see.';

CREATE FUNCTION cdp.preview(predicate text, rule jsonb) RETURNS jsonb
LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_preview';
COMMENT ON FUNCTION cdp.preview(text, jsonb) IS 'Part of cdp.preview_sql() and cdp.preview_rule().';

CREATE FUNCTION cdp.preview_sql(predicate text) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL UNSAFE STRICT SET search_path = pg_catalog, pg_temp AS 'SELECT cdp.preview(predicate, NULL)';
COMMENT ON FUNCTION cdp.preview_sql(text) IS
'What a SQL predicate would find, of the people whom the caller may see: size, share, the same of each of its parts, some profile ids; or what is wrong with it, and where.';

CREATE FUNCTION cdp.preview_rule(rule jsonb) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL UNSAFE STRICT SET search_path = pg_catalog, pg_temp AS 'SELECT cdp.preview(NULL, rule)';
COMMENT ON FUNCTION cdp.preview_rule(jsonb) IS
'What a rule of the condition language would find, of the people whom the caller may see: size, share, the same of each of its parts, some profile ids; or what is wrong with it, and where.';

CREATE FUNCTION cdp.why(profile_id bigint, segment text) RETURNS jsonb
LANGUAGE c STABLE PARALLEL UNSAFE STRICT AS 'MODULE_PATHNAME', 'cdp_why';
COMMENT ON FUNCTION cdp.why(bigint, text) IS
'Why somebody is in a segment or not: which parts of its rule hold, and the values they look at; NULL for whom the caller may not see.';
CREATE FUNCTION cdp.why(who text, segment text) RETURNS jsonb
LANGUAGE sql STABLE PARALLEL UNSAFE STRICT SET search_path = pg_catalog, pg_temp AS 'SELECT cdp.why(cdp.resolve(who), segment)';
COMMENT ON FUNCTION cdp.why(text, text) IS
'Why somebody is in a segment or not: which parts of its rule hold, and the values they look at; NULL for whom the caller may not see.';

-- A metric that became complete is seen by the rules that look at it, at once.
CREATE FUNCTION cdp.build_segments_of(names text[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM cdp.build_segment(s.segment_id) FROM cdp_data.segment s WHERE s.columns && names AND s.state = 'active' ORDER BY s.segment_id;
	-- what was found by what the columns said before is found again
	UPDATE cdp_data.task k SET position = NULL WHERE k.kind = 'segment' AND k.state IN ('waiting', 'running')
		AND EXISTS (SELECT FROM cdp_data.segment_build b WHERE b.task_id = k.task_id AND b.columns && names);
END $$;
COMMENT ON FUNCTION cdp.build_segments_of(text[]) IS 'Evaluates the segments that look at one of these columns; the caller holds cdp.lock_storage().';

CREATE FUNCTION cdp.ready_step() RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	m record;
	locked boolean := false;
BEGIN
	-- again behind the lock: it may have been redefined while that was waited for
	LOOP
		SELECT * INTO m FROM (SELECT 'metric' AS kind, x.metric_id AS id, ARRAY[x.name::text] AS names FROM cdp_data.metric x WHERE x.state = 'building'
				UNION ALL SELECT 'sequence', x.sequence_id, ARRAY[x.name::text] FROM cdp_data.sequence x WHERE x.state = 'building'
				UNION ALL SELECT 'dimension', x.dimension_id, ARRAY[x.profile_column::text] FROM cdp_data.dimension x WHERE x.state = 'building' OR x.anew
				UNION ALL SELECT 'session', NULL, (SELECT array_agg(x.name::text) FROM cdp_data.metric x WHERE x.event = 'session_ended')
					FROM cdp_data.session_rule r WHERE r.state = 'building') x
		WHERE NOT EXISTS (SELECT FROM cdp_data.task k WHERE k.kind = x.kind AND (k.target = x.id OR x.id IS NULL) AND k.state IN ('waiting', 'running')) ORDER BY 1, 2 LIMIT 1;
		IF NOT FOUND THEN
			RETURN locked;
		END IF;
		EXIT WHEN locked;
		PERFORM cdp.lock_storage();
		locked := true;
	END LOOP;
	UPDATE cdp_data.metric x SET state = 'ready' WHERE m.kind = 'metric' AND x.metric_id = m.id;
	UPDATE cdp_data.sequence x SET state = 'ready' WHERE m.kind = 'sequence' AND x.sequence_id = m.id;
	UPDATE cdp_data.dimension x SET state = 'ready', anew = false WHERE m.kind = 'dimension' AND x.dimension_id = m.id;
	UPDATE cdp_data.session_rule r SET state = 'ready' WHERE m.kind = 'session';
	PERFORM cdp.build_segments_of(m.names);
	RETURN true;
END $$;
COMMENT ON FUNCTION cdp.ready_step() IS
'Shows a metric, a sequence, a dimension or sessions whose backfill is through, and evaluates the segments that look at it; part of cdp.maintain().';

CREATE FUNCTION cdp.rule_text(rule jsonb, lang text DEFAULT 'en') RETURNS text
LANGUAGE c IMMUTABLE PARALLEL SAFE STRICT AS 'MODULE_PATHNAME', 'cdp_rule_text';
COMMENT ON FUNCTION cdp.rule_text(jsonb, text) IS 'A rule of the condition language in words, English (en) or Japanese (ja).';

-- What an editor of rules needs.  Values that people share are offered, as far
-- as the caller may see at least ten of them, among the first 10,000.
CREATE FUNCTION cdp.rule_schema() RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	f record;
	found jsonb;
	fields jsonb := '[]';
	common text[] := '{$eq,$ne,$in,$nin,$exists,$not,$type}';
BEGIN
	PERFORM cdp.require_init();
	FOR f IN SELECT a.attname::text AS name, format_type(a.atttypid, NULL) AS type, col_description(a.attrelid, a.attnum) AS description,
			CASE WHEN t.name IS NOT NULL THEN 'trait' WHEN m.name IS NOT NULL THEN 'metric' ELSE 'profile' END AS kind
		FROM pg_attribute a LEFT JOIN cdp.traits t ON t.name = a.attname LEFT JOIN cdp.metrics m ON m.name = a.attname
		WHERE a.attrelid = 'cdp.profiles'::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attname NOT IN ('segments', 'segment_set', 'identifiers', 'traits')
			AND (t.name IS NOT NULL OR m.name IS NOT NULL OR a.attnum <= 7) ORDER BY a.attnum LOOP
		found := NULL;
		IF f.type = 'boolean' THEN
			found := '[true, false]';
		ELSIF f.type = 'text' AND f.kind = 'trait' THEN
			EXECUTE format('SELECT jsonb_agg(v ORDER BY n DESC, v) FROM (SELECT x.%1$I AS v, count(*) AS n FROM (SELECT p.%1$I FROM cdp.profiles p LIMIT 10000) x '
				'WHERE x.%1$I IS NOT NULL GROUP BY 1 HAVING count(*) >= 10 ORDER BY 2 DESC, 1 LIMIT 20) y', f.name) INTO found;
		END IF;
		fields := fields || jsonb_strip_nulls(jsonb_build_object('name', f.name, 'type', f.type, 'kind', f.kind, 'description', f.description, 'values', found,
			'operators', to_jsonb(CASE
				WHEN f.name = 'profile_id' THEN common || '{$inGroup,$notInGroup}'
				WHEN f.type = 'boolean' THEN '{$eq,$ne,$exists,$not}'
				WHEN f.type LIKE '%[]' THEN '{$all,$alli,$elemMatch,$size,$in,$nin,$exists,$not}'
				WHEN f.type = 'text' THEN common || '{$lt,$lte,$gt,$gte,$ini,$nini,$regex,$regexi,$veq,$vne,$vlt,$vlte,$vgt,$vgte}'
				WHEN f.type IN ('date', 'timestamp with time zone') THEN common || '{$lt,$lte,$gt,$gte,$within}'
				WHEN f.type = 'uuid' THEN common
				ELSE common || '{$lt,$lte,$gt,$gte}' END::text[])));
	END LOOP;
	RETURN jsonb_build_object('fields', fields, 'logic', '["$and", "$or", "$nor", "$not"]'::jsonb,
		'segments', coalesce((SELECT jsonb_agg(s.name ORDER BY s.name) FROM cdp.segments s WHERE s.state = 'active'), '[]'),
		'periods', '["seconds", "minutes", "hours", "days", "weeks", "months", "years"]'::jsonb, 'undeclared_traits', true);
END $$;
COMMENT ON FUNCTION cdp.rule_schema() IS
'What a rule of the condition language may look at: fields with their types, operators and frequent values (of the people whom the caller may see), and the segments there are.';
