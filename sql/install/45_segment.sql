-- 45_segment.sql: segments defined, explained and read.

CREATE FUNCTION cdp.define_segment(name text, predicate text DEFAULT NULL, rule jsonb DEFAULT NULL, description text DEFAULT NULL) RETURNS int
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	canonical text;
	needs record;
	old record;
	missing text;
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
	SELECT * INTO needs FROM cdp.rule_needs(canonical, rule);
	SELECT min(n) INTO missing FROM unnest(needs.segments) n WHERE NOT EXISTS (SELECT FROM cdp_data.segment s WHERE s.name = n COLLATE "C");
	IF missing IS NOT NULL THEN
		RAISE undefined_object USING
			MESSAGE = format('segment %s does not exist', quote_ident(missing)),
			DETAIL = format('The rule of segment %s needs it.', quote_ident(name)),
			HINT = 'SELECT name FROM cdp.segments lists them.';
	END IF;
	PERFORM cdp.lock_storage();
	SELECT * INTO old FROM cdp_data.segment s WHERE s.name = define_segment.name COLLATE "C";
	IF EXISTS (WITH RECURSIVE needed (id) AS (
			SELECT s.segment_id FROM cdp_data.segment s WHERE s.name = ANY (needs.segments)
			UNION SELECT unnest(s.uses) FROM needed n JOIN cdp_data.segment s ON s.segment_id = n.id)
			SELECT FROM needed n WHERE n.id = old.segment_id) THEN
		RAISE invalid_object_definition USING
			MESSAGE = format('segment %s cannot need itself', quote_ident(name)),
			DETAIL = format('Its rule names %s.', (SELECT string_agg(quote_ident(n), ', ' ORDER BY n) FROM unnest(needs.segments) n)),
			HINT = 'Of two segments only one can look at the other.';
	END IF;
	IF old.segment_id IS NULL THEN
		INSERT INTO cdp_data.segment AS s (name, definition, predicate, rule, description, columns, uses, timed, created_at, changed_at)
		SELECT define_segment.name, coalesce(define_segment.predicate, define_segment.rule::text), canonical, define_segment.rule, define_segment.description,
			needs.columns, ARRAY(SELECT u.segment_id FROM cdp_data.segment u WHERE u.name = ANY (needs.segments) ORDER BY 1), needs.timed,
			cdp.clock(), cdp.clock()
		RETURNING s.segment_id INTO id;
	ELSE
		id := old.segment_id;
		INSERT INTO cdp_data.segment_version (segment_id, version, definition, rule, valid_from, valid_to)
		VALUES (id, old.version, old.definition, old.rule, old.changed_at, cdp.clock());
		UPDATE cdp_data.segment s SET definition = coalesce(define_segment.predicate, define_segment.rule::text), predicate = canonical, rule = define_segment.rule,
			description = coalesce(define_segment.description, s.description), columns = needs.columns,
			uses = ARRAY(SELECT u.segment_id FROM cdp_data.segment u WHERE u.name = ANY (needs.segments) ORDER BY 1), timed = needs.timed,
			version = s.version + 1, changed_at = cdp.clock()
		WHERE s.segment_id = id;
	END IF;
	DELETE FROM cdp_data.segment_error e WHERE e.segment_id = id;
	PERFORM cdp.build_segment(id);
	RETURN id;
END $$;
COMMENT ON FUNCTION cdp.define_segment(text, text, jsonb, text) IS
'Defines, or redefines, a segment by a predicate over the columns of cdp.profiles or by a rule of the condition language, and finds its members among all profiles.';

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
	others text := (SELECT string_agg(quote_ident(s.name), ', ' ORDER BY s.name) FROM cdp_data.segment s WHERE s.uses @> ARRAY[id]);
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

CREATE FUNCTION cdp.drop_segment(name text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	id int;
BEGIN
	PERFORM cdp.require_admin();
	SELECT s.segment_id INTO id FROM cdp_data.segment s WHERE s.name = drop_segment.name COLLATE "C";
	IF id IS NULL THEN
		RAISE undefined_object USING MESSAGE = format('segment %s does not exist', coalesce(quote_ident(name), 'NULL'));
	END IF;
	IF EXISTS (SELECT FROM cdp_data.activation a WHERE a.segment_id = id) THEN
		RAISE dependent_objects_still_exist USING
			MESSAGE = format('segment %s cannot be dropped: an activation uses it', quote_ident(name)),
			HINT = 'Drop the activation first with cdp.drop_activation().';
	END IF;
	PERFORM cdp.check_unneeded(id, 'dropped');
	PERFORM cdp.lock_storage();
	DELETE FROM cdp_data.segment s WHERE s.segment_id = id;
	DELETE FROM cdp_data.segment_version v WHERE v.segment_id = id;
	DELETE FROM cdp_data.segment_error e WHERE e.segment_id = id;
	DELETE FROM cdp_data.segment_member m WHERE m.segment_id = id;
	DELETE FROM cdp_data.segment_history h WHERE h.segment_id = id;
	UPDATE cdp_data.profile_state SET segments = array_remove(segments, id) WHERE segments @> ARRAY[id];
END $$;
COMMENT ON FUNCTION cdp.drop_segment(text) IS 'Drops a segment and forgets its members and their history.';

CREATE FUNCTION cdp.disable_segment(name text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	id int;
BEGIN
	PERFORM cdp.require_admin();
	id := cdp.segment_id(name);
	PERFORM cdp.check_unneeded(id, 'disabled');
	PERFORM cdp.lock_storage();
	UPDATE cdp_data.segment s SET state = 'disabled', changed_at = cdp.clock() WHERE s.segment_id = id AND s.state <> 'disabled';
	IF FOUND THEN
		PERFORM cdp.build_segment(id);
	END IF;
END $$;
COMMENT ON FUNCTION cdp.disable_segment(text) IS 'Nobody is in the segment, and its rule is not asked, until cdp.enable_segment(). Definition and history stay.';

CREATE FUNCTION cdp.enable_segment(name text) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	id int;
	off text;
BEGIN
	PERFORM cdp.require_admin();
	id := cdp.segment_id(name);
	SELECT min(u.name) INTO off FROM cdp_data.segment s JOIN cdp_data.segment u ON u.segment_id = ANY (s.uses) WHERE s.segment_id = id AND u.state = 'disabled';
	IF off IS NOT NULL THEN
		RAISE object_not_in_prerequisite_state USING
			MESSAGE = format('segment %s cannot be enabled: it needs %s, which is disabled', quote_ident(name), quote_ident(off)),
			HINT = 'Enable that one first.';
	END IF;
	PERFORM cdp.lock_storage();
	UPDATE cdp_data.segment s SET state = 'active', changed_at = cdp.clock() WHERE s.segment_id = id AND s.state <> 'active';
	IF FOUND THEN
		PERFORM cdp.build_segment(id);
	END IF;
END $$;
COMMENT ON FUNCTION cdp.enable_segment(text) IS 'Finds the members of a segment that was disabled, and keeps them from now on.';

CREATE FUNCTION cdp.refresh_segment(name text) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM cdp.require_admin();
	PERFORM cdp.lock_storage();
	DELETE FROM cdp_data.segment_error e WHERE e.segment_id = cdp.segment_id(name);
	RETURN cdp.build_segment(cdp.segment_id(name));
END $$;
COMMENT ON FUNCTION cdp.refresh_segment(text) IS
'Evaluates a segment for everybody anew and returns the number of members. Membership is never behind; this repairs, and forgets the last error.';

CREATE FUNCTION cdp.install_segment_views() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	CREATE VIEW cdp.segments WITH (security_invoker = true) AS
	SELECT g.name::text AS name, g.definition AS predicate, g.description, g.created_at,
		(SELECT count(*) FROM cdp_data.segment_member m WHERE m.segment_id = g.segment_id AND NOT cdp.is_due(m.profile_id))
			+ (SELECT count(*) FROM cdp.fired_members() f WHERE f.segment_id = g.segment_id) AS members,
		e.last_error, e.at AS last_error_at, g.rule, g.state::text AS state, g.version, g.changed_at,
		ARRAY(SELECT u.name::text FROM cdp_data.segment u WHERE u.segment_id = ANY (g.uses) ORDER BY u.name) AS needs, g.columns, g.timed,
		CASE WHEN g.timed AND g.state = 'active' THEN cdp.pending_timers() ELSE 0 END AS pending
	FROM cdp_data.segment g LEFT JOIN cdp_data.segment_error e ON e.segment_id = g.segment_id;
	COMMENT ON VIEW cdp.segments IS 'Segments, with the number of members the current role may see.';
	COMMENT ON COLUMN cdp.segments.predicate IS 'The rule as it was written; a JSON rule as text.';
	COMMENT ON COLUMN cdp.segments.rule IS 'The rule of the condition language; null for a SQL predicate.';
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
	SELECT m.profile_id, g.name::text AS segment, m.since
	FROM cdp_data.segment_member m JOIN cdp_data.segment g ON g.segment_id = m.segment_id WHERE NOT cdp.is_due(m.profile_id)
	UNION ALL
	SELECT f.profile_id, g.name::text, coalesce(f.since, m.since)
	FROM cdp.fired_members() f JOIN cdp_data.segment g ON g.segment_id = f.segment_id
	LEFT JOIN cdp_data.segment_member m ON m.segment_id = f.segment_id AND m.ord = f.ord;
	COMMENT ON VIEW cdp.segment_members IS 'Who is in which segment, and since when.';

	CREATE VIEW cdp.segment_history WITH (security_invoker = true) AS
	SELECT coalesce(x.profile_id, h.profile_id) AS profile_id, g.name::text AS segment, h.entered_at, h.left_at, h.cause::text AS cause
	FROM cdp_data.segment_history h JOIN cdp_data.segment g ON g.segment_id = h.segment_id
	LEFT JOIN cdp_data.profile_merged x ON x.old_id = h.profile_id
	UNION ALL
	SELECT f.profile_id, g.name::text, coalesce(f.entered_at, m.since), f.left_at, 'time'
	FROM cdp.fired_exits() f JOIN cdp_data.segment g ON g.segment_id = f.segment_id
	LEFT JOIN cdp_data.segment_member m ON m.segment_id = f.segment_id AND m.ord = f.ord
	UNION ALL
	SELECT m.profile_id, g.name::text, m.since, NULL, m.cause::text
	FROM cdp_data.segment_member m JOIN cdp_data.segment g ON g.segment_id = m.segment_id WHERE NOT cdp.is_due(m.profile_id)
	UNION ALL
	SELECT f.profile_id, g.name::text, coalesce(f.since, m.since), NULL, CASE WHEN f.since IS NULL THEN m.cause::text ELSE 'time' END
	FROM cdp.fired_members() f JOIN cdp_data.segment g ON g.segment_id = f.segment_id
	LEFT JOIN cdp_data.segment_member m ON m.segment_id = f.segment_id AND m.ord = f.ord;
	COMMENT ON VIEW cdp.segment_history IS 'Who was in which segment, from when until when (null: she is), and what made her leave, or enter if she is in: event, identity, time or definition.';
END $$;
COMMENT ON FUNCTION cdp.install_segment_views() IS 'Step of cdp.init(): the views of segments.';

CREATE FUNCTION cdp.members(expr text) RETURNS TABLE (profile_id bigint)
LANGUAGE plpgsql STABLE PARALLEL UNSAFE STRICT ROWS 10000 SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN QUERY EXECUTE cdp.segment_query(expr, 'members');
END $$;
COMMENT ON FUNCTION cdp.members(text) IS
'Profiles for which a boolean expression of segments holds, such as ''vip & !churned | (a & b)''; only those the caller may see.';

CREATE FUNCTION cdp.segment_count(expr text) RETURNS bigint
LANGUAGE plpgsql STABLE PARALLEL UNSAFE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	result bigint;
BEGIN
	EXECUTE cdp.segment_query(expr, 'count') INTO result;
	RETURN result;
END $$;
COMMENT ON FUNCTION cdp.segment_count(text) IS
'Number of profiles for which a boolean expression of segments holds; counts only those the caller may see.';
