-- 46_segment_build.sql: members found in the background, beside the definition in force.
--
-- A definition that is built is a row of segment_build, with a set of members
-- of its own.  From the commit of that row on every writer keeps both sets, and
-- steps of cdp.maintain() evaluate everybody (src/ingest/apply_segment.c).
-- When everybody was, writers are kept out for a moment and the segment takes
-- over the new set.  The old one goes in steps.
--
-- What needs the segment is built with it, and so is whatever is being built
-- already and is needed: one task, whose definitions come into force together.

CREATE FUNCTION cdp.is_large() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT count(*) > 100000 FROM (SELECT FROM cdp_data.profile_state LIMIT 100001) x
$$;
COMMENT ON FUNCTION cdp.is_large() IS 'Are there more than 100,000 profiles? Then segments are built in the background; part of cdp.define_segment().';

CREATE FUNCTION cdp.segments_needed(used int[]) RETURNS int[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	WITH RECURSIVE needed (id) AS (SELECT unnest(used)
		UNION SELECT u.id FROM needed n CROSS JOIN LATERAL (
			SELECT unnest(s.uses) AS id FROM cdp_data.segment s WHERE s.segment_id = n.id
			UNION ALL SELECT unnest(b.uses) FROM cdp_data.segment_build b WHERE b.segment_id = n.id) u)
	SELECT coalesce(array_agg(n.id ORDER BY n.id), '{}') FROM needed n
$$;
COMMENT ON FUNCTION cdp.segments_needed(int[]) IS 'These segments, and those that they look at, directly or not; part of cdp.define_segment().';

CREATE FUNCTION cdp.segments_needing(id int) RETURNS int[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	WITH RECURSIVE needing (id) AS (SELECT segments_needing.id
		UNION SELECT u.id FROM needing n CROSS JOIN LATERAL (
			SELECT s.segment_id AS id FROM cdp_data.segment s WHERE s.uses @> ARRAY[n.id]
			UNION ALL SELECT b.segment_id FROM cdp_data.segment_build b WHERE b.uses @> ARRAY[n.id]) u)
	SELECT coalesce(array_agg(n.id ORDER BY n.id), '{}') FROM needing n
$$;
COMMENT ON FUNCTION cdp.segments_needing(int) IS 'This segment, and those that look at it, directly or not; part of cdp.define_segment().';

CREATE FUNCTION cdp.builds_of(id int, used int[]) RETURNS int[]
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT coalesce(array_agg(DISTINCT b.task_id ORDER BY b.task_id), '{}') FROM cdp_data.segment_build b
	WHERE b.segment_id = ANY (cdp.segments_needing(id) || cdp.segments_needed(used))
$$;
COMMENT ON FUNCTION cdp.builds_of(int, int[]) IS
'Tasks that build the segment, what looks at it or what it would look at; part of cdp.define_segment().';

CREATE FUNCTION cdp.builds_beside(name text, id int, used int[], background boolean) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	busy boolean := cdp.builds_of(id, used) <> '{}';
BEGIN
	IF busy AND NOT background THEN
		RAISE object_in_use USING
			MESSAGE = format('segment %s cannot be built at once', quote_ident(name)),
			DETAIL = 'It, or a segment that its rule or that needs it, is being built in the background.',
			HINT = 'CALL cdp.maintain() completes that; or leave background out.';
	END IF;
	RETURN coalesce(background, busy OR cdp.is_large());
END $$;
COMMENT ON FUNCTION cdp.builds_beside(text, int, int[], boolean) IS
'Is the segment to be built in the background? Part of cdp.define_segment().';

-- Whatever its definition is, it has no members: there is nothing to build.
CREATE FUNCTION cdp.is_off(id int) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT EXISTS (SELECT FROM cdp_data.segment s WHERE s.segment_id = id AND s.state = 'disabled')
		AND NOT EXISTS (SELECT FROM cdp_data.segment_build b WHERE b.segment_id = id)
$$;
COMMENT ON FUNCTION cdp.is_off(int) IS 'Is the segment disabled, and not being enabled? Part of cdp.define_segment().';

CREATE FUNCTION cdp.begin_build(id int, used int[]) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	tasks int[] := cdp.builds_of(id, used);
	task int := tasks[1];
BEGIN
	IF task IS NULL THEN
		INSERT INTO cdp_data.task (kind, target) VALUES ('segment', id) RETURNING task_id INTO task;
	END IF;
	UPDATE cdp_data.segment_build b SET task_id = task WHERE b.task_id = ANY (tasks);
	DELETE FROM cdp_data.task k WHERE k.task_id = ANY (tasks[2:]);
	-- who was evaluated by what was built before is evaluated again
	UPDATE cdp_data.task k SET state = 'waiting', position = NULL, done_rows = 0,
		total_rows = (SELECT greatest(c.reltuples, 0)::bigint FROM pg_class c WHERE c.oid = 'cdp_data.profile_state'::regclass)
	WHERE k.task_id = task;
	INSERT INTO cdp_data.segment_build (segment_id, set_id, task_id, fresh, definition, predicate, rule, list_id, columns, uses, timed)
	SELECT s.segment_id, nextval(pg_get_serial_sequence('cdp_data.segment', 'segment_id')), task, false, s.definition, s.predicate, s.rule, s.list_id, s.columns, s.uses, s.timed
	FROM cdp_data.segment s WHERE s.segment_id = ANY (cdp.segments_needing(id)) AND (s.segment_id = id OR s.state = 'active')
	ON CONFLICT (segment_id) DO NOTHING;
END $$;
COMMENT ON FUNCTION cdp.begin_build(int, int[]) IS
'Lets cdp.maintain() find the members of a segment, and of those that look at it, beside what is in force; the caller holds cdp.lock_storage(). Part of cdp.define_segment().';

CREATE FUNCTION cdp.retire_set(set_id int) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
	INSERT INTO cdp_data.task (kind, target) VALUES ('segment_set', set_id)
$$;
COMMENT ON FUNCTION cdp.retire_set(int) IS 'Lets cdp.maintain() remove a set of members that is no segment''s any more; part of cdp.define_segment().';

CREATE FUNCTION cdp.end_build(id int) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	gone record;
BEGIN
	DELETE FROM cdp_data.segment_build b WHERE b.segment_id = id RETURNING b.set_id, b.task_id INTO gone;
	IF FOUND THEN
		PERFORM cdp.retire_set(gone.set_id);
		DELETE FROM cdp_data.task k WHERE k.task_id = gone.task_id
			AND NOT EXISTS (SELECT FROM cdp_data.segment_build b WHERE b.task_id = gone.task_id);
	END IF;
END $$;
COMMENT ON FUNCTION cdp.end_build(int) IS 'Gives up what is being built of a segment; part of cdp.drop_segment() and cdp.disable_segment(), which hold cdp.lock_storage().';

-- All of both sets is compared: by hashes, whatever is known of their sizes.
CREATE FUNCTION cdp.take_over_set(segment_id int, old_set int, new_set int, live_from timestamptz, moment timestamptz) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET enable_hashjoin = on SET enable_nestloop = off AS $$
BEGIN
	IF old_set IS NOT NULL THEN
		INSERT INTO cdp_data.segment_history (segment_id, ord, profile_id, entered_at, left_at, cause)
		SELECT take_over_set.segment_id, o.ord, o.profile_id, CASE WHEN o.since = 'infinity' THEN live_from ELSE o.since END, moment, 'definition'
		FROM cdp_data.segment_member o WHERE o.segment_id = old_set
			AND NOT EXISTS (SELECT FROM cdp_data.segment_member n WHERE n.segment_id = new_set AND n.ord = o.ord);
		-- mostly done while they were found; what came later
		UPDATE cdp_data.segment_member n SET since = x.since, cause = x.cause
		FROM (SELECT o.ord, CASE WHEN o.since = 'infinity' THEN live_from ELSE o.since END AS since, o.cause
			FROM cdp_data.segment_member o WHERE o.segment_id = old_set) x
		WHERE n.segment_id = new_set AND n.ord = x.ord AND (n.since <> x.since OR n.cause IS DISTINCT FROM x.cause);
	END IF;
	UPDATE cdp_data.segment_member n SET since = 'infinity', cause = 'definition'
	WHERE n.segment_id = new_set AND (n.since < 'infinity' OR n.cause IS DISTINCT FROM 'definition')
		AND NOT EXISTS (SELECT FROM cdp_data.segment_member o WHERE o.segment_id = old_set AND o.ord = n.ord);
END $$;
COMMENT ON FUNCTION cdp.take_over_set(int, int, int, timestamptz, timestamptz) IS
'Who is in the new set of a segment''s members since when, and who left with the old one; part of cdp.maintain().';

CREATE FUNCTION cdp.built_step() RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	through CONSTANT jsonb := '"through"';
	task int;
	b record;
	moment timestamptz;
BEGIN
	-- what time has changed belongs to the time before, and is written first: most of it without keeping writers out
	IF NOT EXISTS (SELECT FROM cdp_data.task k WHERE k.kind = 'segment' AND k.state = 'running' AND k.position = through)
			OR EXISTS (SELECT FROM cdp_data.timer t WHERE t.due <= cdp.clock()) THEN
		RETURN false;
	END IF;
	PERFORM cdp.lock_storage();
	SELECT k.task_id INTO task FROM cdp_data.task k WHERE k.kind = 'segment' AND k.state = 'running' AND k.position = through ORDER BY k.task_id LIMIT 1 FOR UPDATE;
	IF task IS NULL THEN
		RETURN false;
	END IF;
	LOOP
		-- later than whatever anybody wrote: the time of a CALL stands still
		moment := CASE WHEN coalesce(current_setting('cdp.clock', true), '') = '' THEN clock_timestamp() ELSE cdp.clock() END;
		EXIT WHEN NOT EXISTS (SELECT FROM cdp_data.timer t WHERE t.due <= moment);
		IF NOT cdp.timer_step(moment) THEN
			RETURN false;
		END IF;
	END LOOP;
	FOR b IN SELECT n.*, g.set_id AS old_set, g.state, g.live_from, g.name FROM cdp_data.segment_build n JOIN cdp_data.segment g ON g.segment_id = n.segment_id
			WHERE n.task_id = task ORDER BY n.segment_id LOOP
		PERFORM cdp.take_over_set(b.segment_id, CASE WHEN b.state = 'active' THEN b.old_set END, b.set_id, b.live_from, moment);
		INSERT INTO cdp_data.segment_version (segment_id, version, definition, rule, valid_from, valid_to)
		SELECT s.segment_id, s.version, s.definition, s.rule, s.changed_at, moment FROM cdp_data.segment s
		WHERE s.segment_id = b.segment_id AND b.fresh AND b.state <> 'building';
		UPDATE cdp_data.segment s SET set_id = b.set_id, definition = b.definition, predicate = b.predicate, rule = b.rule, list_id = b.list_id, description = coalesce(b.description, s.description),
			columns = b.columns, uses = b.uses, timed = b.timed, version = s.version + (b.fresh AND b.state <> 'building')::int,
			changed_at = CASE WHEN b.fresh OR b.state <> 'active' THEN moment ELSE s.changed_at END, state = 'active', live_from = moment
		WHERE s.segment_id = b.segment_id;
		IF b.state = 'active' THEN
			PERFORM cdp.retire_set(b.old_set);
		END IF;
	END LOOP;
	DELETE FROM cdp_data.segment_build n WHERE n.task_id = task;
	UPDATE cdp_data.task k SET state = 'done', position = NULL, updated_at = moment WHERE k.task_id = task;
	RETURN true;
END $$;
COMMENT ON FUNCTION cdp.built_step() IS
'Puts definitions whose members were all found into force, in one moment; part of cdp.maintain().';
