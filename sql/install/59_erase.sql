-- 59_erase.sql: a person is erased, and stays it.

-- Evidence without a person's nodes: what is left of a set of identifiers that
-- one message named is evidence for those that are left, as far as they are one
-- person.  Where they are several it goes: that she is no more must not make
-- one of two others, whom the set was refused for.
CREATE FUNCTION cdp.erase_evidence(gone bigint[]) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	rows bigint;
BEGIN
	WITH hers AS (DELETE FROM cdp_data.identity_edge e WHERE e.a = ANY (gone) OR e.b = ANY (gone) RETURNING e.*),
	-- rows of the same set between others name her in it, too
	others AS (DELETE FROM cdp_data.identity_edge e USING (SELECT DISTINCT h.nodes, h.rule FROM hers h WHERE cardinality(h.nodes) > 0) s
		WHERE (e.a = ANY (s.nodes) OR e.b = ANY (s.nodes)) AND e.nodes = s.nodes AND e.rule = s.rule
			AND NOT e.a = ANY (gone) AND NOT e.b = ANY (gone) RETURNING e.*),
	-- of each person, the most important one is tied to each of the others
	sets AS (SELECT x.nodes, x.rule, min(x.ts) AS ts, (array_agg(x.message_key ORDER BY x.ts, x.message_key))[1] AS message_key,
			(array_agg(x.source ORDER BY x.ts, x.message_key))[1] AS source, (array_agg(x.message_id ORDER BY x.ts, x.message_key))[1] AS message_id,
			max(coalesce(x.last_ts, x.ts)) AS last_ts,
			(array_agg(coalesce(x.last_key, x.message_key) ORDER BY coalesce(x.last_ts, x.ts) DESC, coalesce(x.last_key, x.message_key) DESC))[1] AS last_key,
			bool_or(x.last_ts IS NOT NULL) AS repeats
		FROM (SELECT h.* FROM hers h UNION ALL SELECT o.* FROM others o) x WHERE cardinality(x.nodes) > 0 GROUP BY x.nodes, x.rule),
	members AS (SELECT s.nodes, s.rule, o.profile_id, n.node_id, row_number() OVER (PARTITION BY s.nodes, s.rule, o.profile_id ORDER BY coalesce(r.rank, d.rank, 100), i.namespace, i.value) AS place
		FROM sets s CROSS JOIN LATERAL unnest(s.nodes) n (node_id) JOIN cdp_data.node o ON o.node_id = n.node_id
		JOIN LATERAL (SELECT i.namespace, i.value FROM cdp_data.identifier i WHERE i.node_id = n.node_id
			UNION ALL SELECT i.namespace, i.value FROM cdp_data.identifier_retired i WHERE i.node_id = n.node_id LIMIT 1) i ON true
		LEFT JOIN cdp_data.namespace r ON r.name = i.namespace LEFT JOIN cdp_data.namespace d ON d.name = '*'
		WHERE NOT n.node_id = ANY (gone)),
	kept AS (SELECT m.nodes, m.rule, m.profile_id, array_agg(m.node_id ORDER BY m.node_id) AS rest FROM members m GROUP BY m.nodes, m.rule, m.profile_id HAVING count(*) > 1),
	again AS (INSERT INTO cdp_data.identity_edge AS e (a, b, nodes, rule, ts, message_key, source, message_id, last_ts, last_key)
		SELECT DISTINCT ON (1, 2, 3, 4) least(f.node_id, m.node_id), greatest(f.node_id, m.node_id), CASE WHEN cardinality(k.rest) > 2 THEN k.rest ELSE '{}' END, k.rule,
			s.ts, s.message_key, s.source, s.message_id, CASE WHEN s.repeats THEN s.last_ts END, CASE WHEN s.repeats THEN s.last_key END
		FROM kept k JOIN sets s ON s.nodes = k.nodes AND s.rule = k.rule
		JOIN members f ON f.nodes = k.nodes AND f.rule = k.rule AND f.profile_id = k.profile_id AND f.place = 1
		JOIN members m ON m.nodes = k.nodes AND m.rule = k.rule AND m.profile_id = k.profile_id AND m.place > 1
		ORDER BY 1, 2, 3, 4, s.ts, s.message_key
		ON CONFLICT (a, b, nodes, rule) DO UPDATE SET ts = least(e.ts, excluded.ts),
			message_key = CASE WHEN (excluded.ts, excluded.message_key) < (e.ts, e.message_key) THEN excluded.message_key ELSE e.message_key END,
			source = CASE WHEN (excluded.ts, excluded.message_key) < (e.ts, e.message_key) THEN excluded.source ELSE e.source END,
			message_id = CASE WHEN (excluded.ts, excluded.message_key) < (e.ts, e.message_key) THEN excluded.message_id ELSE e.message_id END)
	SELECT count(*) INTO rows FROM hers;
	RETURN rows;
END $$;
COMMENT ON FUNCTION cdp.erase_evidence(bigint[]) IS 'Takes nodes out of the evidence; part of cdp.erase_subject(). Returns how many rows were theirs.';

-- partners: people whom only a separation has to do with her; ascending, as merges.
CREATE FUNCTION cdp.erase_around(person bigint, OUT partners bigint[], OUT merges bigint[]) RETURNS record
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	k record;
BEGIN
	SELECT * INTO k FROM cdp.subject_keys(person);
	partners := ARRAY(SELECT DISTINCT n.profile_id FROM cdp_data.identity_separation s CROSS JOIN LATERAL unnest(s.side_a || s.side_b) u (node_id)
		JOIN cdp_data.node n ON n.node_id = u.node_id WHERE (s.side_a && k.nodes OR s.side_b && k.nodes) AND n.profile_id <> person ORDER BY 1);
	merges := ARRAY(SELECT m.merge_id FROM cdp_data.identity_merge m WHERE m.winner = ANY (k.ids) OR m.loser = ANY (k.ids) OR m.merge_id = ANY (k.changes) ORDER BY 1);
END $$;
COMMENT ON FUNCTION cdp.erase_around(bigint) IS 'Whom and what cdp.erase_subject() has to lock besides a person and who is linked to her.';

-- All that is kept of a person whose lock, and that of everybody linked to her,
-- is held.  neighbours: people who were linked to her, to be resolved again.
CREATE FUNCTION cdp.erase_rows(person bigint, actor name, at timestamptz, again boolean, OUT receipt jsonb, OUT neighbours bigint[], OUT touched text[]) RETURNS record
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	k record;
	t record;
	n bigint;
	v_erasure bigint;
	counts jsonb := '{}';
	seen jsonb;
	others bigint[];
	recipients jsonb;
	v_names text[];
	v_all boolean := false;	-- events of anybody were changed
BEGIN
	SELECT * INTO k FROM cdp.subject_keys(person);

	-- those being taken just now are refused when they meet us
	DELETE FROM cdp_data.captured c WHERE c.position = ANY (ARRAY(SELECT x.position FROM cdp_data.captured x WHERE x.message::text ~* ANY (k.patterns) ORDER BY x.position FOR UPDATE SKIP LOCKED));
	GET DIAGNOSTICS n = ROW_COUNT;
	counts := counts || jsonb_build_object('captured', n);

	SELECT coalesce(jsonb_agg(DISTINCT x.recipient), '[]') INTO recipients FROM (
		SELECT d.recipient FROM cdp_data.disclosure d WHERE d.profile_id = ANY (k.ids) AND d.recipient <> 'the person herself'
		UNION ALL SELECT 'channel ' || o.channel FROM cdp_data.outbox o WHERE o.profile_id = ANY (k.ids) AND o.state = 'delivered') x (recipient);
	others := ARRAY(SELECT DISTINCT x.id FROM (
		SELECT unnest(e.nodes || e.a || e.b) AS id FROM cdp_data.identity_edge e WHERE e.a = ANY (k.nodes) OR e.b = ANY (k.nodes)
		UNION ALL SELECT unnest(s.side_a || s.side_b) FROM cdp_data.identity_separation s WHERE s.side_a && k.nodes OR s.side_b && k.nodes) x
		WHERE NOT x.id = ANY (k.nodes) ORDER BY 1);
	neighbours := ARRAY(SELECT DISTINCT o.profile_id FROM cdp_data.node o WHERE o.node_id = ANY (others) AND o.profile_id <> person ORDER BY 1);

	v_names := ARRAY(SELECT i.namespace || ':' || i.value FROM cdp_data.identifier i WHERE i.node_id = ANY (k.nodes)
		UNION SELECT i.namespace || ':' || i.value FROM cdp_data.identifier_retired i WHERE i.node_id = ANY (k.nodes) ORDER BY 1);

	INSERT INTO cdp_data.erasure (erased_at, erased_by, reapplied, receipt) VALUES (at, actor, again, '{}') RETURNING erasure_id INTO v_erasure;
	INSERT INTO cdp_data.erased_profile (profile_id, erasure_id) SELECT u, v_erasure FROM unnest(k.ids) u ON CONFLICT DO NOTHING;
	UPDATE cdp_data.suppression_key s SET used = true WHERE NOT s.used;
	WITH hers AS (SELECT i.namespace, i.value, coalesce(i.born, '-infinity') AS born, coalesce(i.ended, 'infinity') AS ended FROM cdp_data.identifier i WHERE i.node_id = ANY (k.nodes)
		UNION ALL SELECT r.namespace, r.value, coalesce(r.born, '-infinity'), r.ended FROM cdp_data.identifier_retired r WHERE r.node_id = ANY (k.nodes))
	INSERT INTO cdp_data.suppression AS s (token, from_ts, until_ts, erasure_id, created_at)
	SELECT cdp.subject_token(h.namespace, h.value), h.born, h.ended, v_erasure, at FROM hers h
	ON CONFLICT (token, until_ts) DO UPDATE SET from_ts = least(s.from_ts, excluded.from_ts), erasure_id = excluded.erasure_id;
	GET DIAGNOSTICS n = ROW_COUNT;
	seen := jsonb_build_object('suppressed', n);

	-- proof of what she allowed
	INSERT INTO cdp_data.consent_proof (token, purpose_id, state, ts, valid_until, source, recorded_at, recorded_by, channel, basis, notice_id, collection_point, valid_from, jurisdiction, erasure_id)
	SELECT cdp.subject_token(i.namespace, i.value), c.purpose_id, c.state, c.ts, c.valid_until, c.source, c.recorded_at, c.recorded_by, c.channel, c.basis, c.notice_id, c.collection_point, c.valid_from, c.jurisdiction, v_erasure
	FROM cdp_data.consent_log c JOIN LATERAL (SELECT i.namespace, i.value FROM cdp_data.identifier i WHERE i.node_id = c.node_id
		UNION ALL SELECT i.namespace, i.value FROM cdp_data.identifier_retired i WHERE i.node_id = c.node_id) i ON true
	WHERE c.node_id = ANY (k.nodes) ORDER BY c.consent_id;
	GET DIAGNOSTICS n = ROW_COUNT;
	seen := seen || jsonb_build_object('consent_proofs', n);
	UPDATE cdp_data.disclosure d SET profile_id = NULL, erasure_id = v_erasure WHERE d.profile_id = ANY (k.ids);

	-- what names her in the rows of others, while her events are there
	DELETE FROM cdp_data.message_seen m WHERE (m.key, m.source) IN (
		SELECT e.message_key, e.source COLLATE "C" FROM cdp_data.event e WHERE e.node_id = ANY (k.nodes)
		UNION ALL SELECT c.message_key, c.source COLLATE "C" FROM cdp_data.consent_log c WHERE c.node_id = ANY (k.nodes)
		UNION ALL SELECT g.message_key, g.source COLLATE "C" FROM cdp_data.identity_edge g
			JOIN cdp_data.node a ON a.node_id = g.a JOIN cdp_data.node b ON b.node_id = g.b WHERE a.profile_id = person AND b.profile_id = person);
	GET DIAGNOSTICS n = ROW_COUNT;
	counts := counts || jsonb_build_object('message_seen', n);
	UPDATE cdp_data.tracking_violation v SET message_id = '' WHERE v.message_id IN (SELECT e.message_id FROM cdp_data.event e WHERE e.node_id = ANY (k.nodes)
		UNION SELECT r.message_id FROM cdp_data.rejected r WHERE r.payload::text ~* ANY (k.patterns));
	GET DIAGNOSTICS n = ROW_COUNT;
	counts := counts || jsonb_build_object('tracking_violation', n);
	UPDATE cdp_data.event e SET other_nodes = nullif(ARRAY(SELECT u FROM unnest(e.other_nodes) WITH ORDINALITY x (u, o) WHERE NOT u = ANY (k.nodes) ORDER BY o), '{}'),
		blocked = nullif(ARRAY(SELECT u FROM unnest(e.blocked) WITH ORDINALITY x (u, o) WHERE NOT u ~* ANY (k.patterns) ORDER BY o), '{}')
	WHERE e.node_id = ANY (others) AND e.other_nodes && k.nodes;
	GET DIAGNOSTICS n = ROW_COUNT;
	seen := seen || jsonb_build_object('events_of_others_without_her', n);
	-- what was anonymous when it came is only a text in others' events: all are looked through
	IF EXISTS (SELECT FROM cdp_data.namespace x WHERE x.on_conflict = 'isolate') THEN
		UPDATE cdp_data.event e SET blocked = nullif(ARRAY(SELECT u FROM unnest(e.blocked) WITH ORDINALITY x (u, o) WHERE NOT u = ANY (v_names) ORDER BY o), '{}')
		WHERE e.blocked && v_names AND NOT e.node_id = ANY (k.nodes);
		GET DIAGNOSTICS n = ROW_COUNT;
		seen := seen || jsonb_build_object('events_of_others_without_her', (seen->>'events_of_others_without_her')::bigint + n);
		v_all := n > 0;
	END IF;
	-- the map: of keys that she used those which few people had
	WITH hers AS (SELECT DISTINCT e.name AS event, x.key FROM cdp_data.event e CROSS JOIN LATERAL (
			SELECT jsonb_object_keys(e.properties) WHERE jsonb_typeof(e.properties) = 'object'
			UNION ALL SELECT jsonb_object_keys(e.traits) WHERE jsonb_typeof(e.traits) = 'object'
			UNION ALL SELECT jsonb_object_keys(e.context) WHERE jsonb_typeof(e.context) = 'object') x (key) WHERE e.node_id = ANY (k.nodes)
		-- also of events that are gone
		UNION SELECT NULL, jsonb_object_keys(p.traits) FROM cdp_data.profile p WHERE p.profile_id = person
		UNION SELECT NULL, b.name FROM cdp_data.node_base_trait b WHERE b.node_id = ANY (k.nodes))
	DELETE FROM cdp_data.data_map m USING hers h WHERE m.nodes <= cardinality(k.nodes)
		AND (m.name = h.key COLLATE "C" OR starts_with(m.name, h.key || '.') OR (m.kind = 'event' AND m.event = h.event COLLATE "C"));
	GET DIAGNOSTICS n = ROW_COUNT;
	counts := counts || jsonb_build_object('data_map', n);

	-- identity
	counts := counts || jsonb_build_object('identity_edge', cdp.erase_evidence(k.nodes));
	WITH parted AS (SELECT s.separation_id, ARRAY(SELECT u FROM unnest(s.side_a) u WHERE NOT u = ANY (k.nodes) ORDER BY 1) AS a,
			ARRAY(SELECT u FROM unnest(s.side_b) u WHERE NOT u = ANY (k.nodes) ORDER BY 1) AS b
		FROM cdp_data.identity_separation s WHERE s.side_a && k.nodes OR s.side_b && k.nodes ORDER BY 1 FOR UPDATE),
	emptied AS (DELETE FROM cdp_data.identity_separation s USING parted p WHERE s.separation_id = p.separation_id AND (p.a = '{}' OR p.b = '{}') RETURNING s.separation_id),
	lost AS (DELETE FROM cdp_data.separation_node x USING emptied e WHERE x.separation_id = e.separation_id),
	left_over AS (UPDATE cdp_data.identity_separation s SET side_a = p.a, side_b = p.b, reason = NULL FROM parted p WHERE s.separation_id = p.separation_id AND p.a <> '{}' AND p.b <> '{}')
	SELECT count(*) INTO n FROM parted;
	counts := counts || jsonb_build_object('identity_separation', n);
	DELETE FROM cdp_data.profile_merged m WHERE m.profile_id = person;
	GET DIAGNOSTICS n = ROW_COUNT;
	counts := counts || jsonb_build_object('profile_merged', n);
	-- a merge stays where somebody else's old id needs it, or other nodes were moved
	WITH hers AS (SELECT m.merge_id FROM cdp_data.identity_merge m WHERE m.winner = ANY (k.ids) OR m.loser = ANY (k.ids) OR (m.merge_id = ANY (k.changes) AND m.moved_nodes && k.nodes) ORDER BY 1),
	gone AS (DELETE FROM cdp_data.identity_merge m USING hers h WHERE m.merge_id = h.merge_id
		AND NOT EXISTS (SELECT FROM unnest(m.moved_nodes) u WHERE NOT u = ANY (k.nodes))
		AND NOT EXISTS (SELECT FROM cdp_data.profile_merged o WHERE o.merge_id = m.merge_id) RETURNING m.merge_id),
	kept AS (UPDATE cdp_data.identity_merge m SET moved_nodes = ARRAY(SELECT u FROM unnest(m.moved_nodes) WITH ORDINALITY x (u, o) WHERE NOT u = ANY (k.nodes) ORDER BY o), message_id = '', reason = NULL
		FROM hers h WHERE m.merge_id = h.merge_id AND NOT m.merge_id IN (SELECT g.merge_id FROM gone g))
	SELECT count(*) INTO n FROM hers;
	counts := counts || jsonb_build_object('identity_merge', n);
	WITH hers AS (SELECT h.until_change, h.profile_id, h.change, h.since FROM cdp_data.node_history h WHERE h.until_change = ANY (k.changes) AND h.nodes && k.nodes),
	gone AS (DELETE FROM cdp_data.node_history h USING hers x WHERE (h.until_change, h.profile_id, h.change, h.since) = (x.until_change, x.profile_id, x.change, x.since) AND h.nodes <@ k.nodes),
	kept AS (UPDATE cdp_data.node_history h SET nodes = ARRAY(SELECT u FROM unnest(h.nodes) WITH ORDINALITY y (u, o) WHERE NOT u = ANY (k.nodes) ORDER BY o)
		FROM hers x WHERE (h.until_change, h.profile_id, h.change, h.since) = (x.until_change, x.profile_id, x.change, x.since) AND NOT h.nodes <@ k.nodes)
	SELECT count(*) INTO n FROM hers;
	counts := counts || jsonb_build_object('node_history', n);

	-- the index: everybody (0) and her segments
	WITH gone AS (DELETE FROM cdp_data.segment_member m WHERE m.profile_id = person RETURNING m.segment_id, m.ord),
	steps AS (INSERT INTO cdp_data.segment_delta (segment_id, chunk_no, position, step)
		SELECT x.segment_id, x.ord / 15872, x.ord % 15872, -1 FROM (SELECT g.segment_id, g.ord FROM gone g
			UNION ALL SELECT 0, p.ord FROM cdp_data.profile p WHERE p.profile_id = person) x)
	SELECT count(*) INTO n FROM gone;
	counts := counts || jsonb_build_object('segment_member', n);

	-- lists that name her present values
	WITH hers AS (SELECT i.key, i.namespace, i.value FROM cdp_data.identifier i WHERE i.node_id = ANY (k.nodes) AND i.ended IS NULL)
	DELETE FROM cdp_data.list_identifier l USING hers h WHERE l.key = h.key AND l.namespace = h.namespace AND l.value = h.value;
	GET DIAGNOSTICS n = ROW_COUNT;
	counts := counts || jsonb_build_object('list_identifier', n);

	-- what is gone of her is not counted as kept
	WITH gone AS (DELETE FROM cdp_data.node_base b WHERE b.node_id = ANY (k.nodes) RETURNING b.events)
	SELECT count(*), coalesce(sum(g.events), 0) AS events INTO t FROM gone g;
	counts := counts || jsonb_build_object('node_base', t.count);
	IF t.events > 0 THEN
		INSERT INTO cdp_data.retention_done AS d (retention_id, events, last_at) VALUES (-1, -t.events, at)
		ON CONFLICT (retention_id) DO UPDATE SET events = d.events + excluded.events, last_at = excluded.last_at;
	END IF;

	-- all that is found by her numbers
	FOR t IN SELECT c.tbl, c.find FROM cdp.personal_data() c WHERE c.erased = 'delete' LOOP
		EXECUTE format('DELETE FROM cdp_data.%I t WHERE %s', t.tbl, t.find) USING k.nodes, k.ids, k.ords, k.patterns, k.keys, k.changes;
		GET DIAGNOSTICS n = ROW_COUNT;
		counts := counts || jsonb_build_object(t.tbl, n);
	END LOOP;
	touched := CASE WHEN v_all THEN ARRAY(SELECT i.inhrelid::regclass::text FROM pg_inherits i WHERE i.inhparent = 'cdp_data.event'::regclass ORDER BY 1)
		ELSE ARRAY(SELECT DISTINCT e.tableoid::regclass::text FROM cdp_data.event e WHERE e.node_id = ANY (k.nodes || others) ORDER BY 1) END;
	DELETE FROM cdp_data.event e WHERE e.node_id = ANY (k.nodes);
	GET DIAGNOSTICS n = ROW_COUNT;
	counts := counts || jsonb_build_object('event', n);
	DELETE FROM cdp_data.consent_log c WHERE c.node_id = ANY (k.nodes);
	GET DIAGNOSTICS n = ROW_COUNT;
	counts := counts || jsonb_build_object('consent_log', n);

	-- her values; the latest of the former bearers is the last one again
	WITH hers AS (DELETE FROM cdp_data.identifier i WHERE i.node_id = ANY (k.nodes) RETURNING i.namespace, i.key)
	SELECT count(*), array_agg(h.namespace ORDER BY h.key, h.namespace) AS ns, array_agg(h.key ORDER BY h.key, h.namespace) AS keys INTO t FROM hers h;
	counts := counts || jsonb_build_object('identifier', t.count);
	WITH back AS (SELECT DISTINCT ON (r.namespace, r.key) r.* FROM unnest(t.ns, t.keys) u (namespace, key)
			JOIN cdp_data.identifier_retired r ON r.namespace = u.namespace AND r.key = u.key ORDER BY r.namespace, r.key, r.ended DESC),
	gone AS (DELETE FROM cdp_data.identifier_retired r USING back b WHERE r.node_id = b.node_id)
	INSERT INTO cdp_data.identifier (namespace, key, value, node_id, first_seen, last_seen, born, ended, uncounted)
	SELECT b.namespace, b.key, b.value, b.node_id, b.first_seen, b.last_seen, b.born, b.ended, b.uncounted FROM back b ORDER BY b.key, b.namespace;

	-- what may quote a value
	-- a step under way may wait for who is held here
	UPDATE cdp_data.task x SET error = CASE WHEN x.error IS NOT NULL THEN 'the text was removed when somebody was erased' END,
		updated_at = CASE WHEN x.kind = 'dimension_base' AND x.state = 'done' THEN NULL ELSE x.updated_at END
	WHERE x.task_id = ANY (ARRAY(SELECT o.task_id FROM cdp_data.task o WHERE o.error IS NOT NULL OR o.kind = 'dimension_base' ORDER BY o.task_id FOR UPDATE SKIP LOCKED));

	touched := touched || ARRAY(SELECT 'cdp_data.' || c.tbl FROM cdp.personal_data() c WHERE c.erased IN ('delete', 'special', 'derived') AND c.tbl <> 'event' ORDER BY 1);
	touched := array_remove(touched, 'cdp_data.segment_chunk');
	INSERT INTO cdp_data.scrub_due AS s (tbl, xid) SELECT u, pg_current_xact_id() FROM unnest(touched || '{cdp_data.segment_chunk,pg_catalog.pg_statistic}'::text[]) u ORDER BY 1
	ON CONFLICT (tbl) DO UPDATE SET xid = excluded.xid;
	SELECT coalesce(jsonb_object_agg(c.key, c.value), '{}') INTO counts FROM jsonb_each(counts) c WHERE c.value <> '0';
	receipt := jsonb_build_object('erasure_id', v_erasure, 'erased_at', at, 'deleted', counts) || seen || jsonb_build_object('tell', recipients,
		'remains', jsonb_build_object('files', 'old versions of rows, until VACUUM and CALL cdp.scrub()',
			'wal', 'WAL, its archive, replicas that have not replayed and replication slots, until they are recycled',
			'backups', 'backups and dumps of before; run cdp.reapply_erasures() on what is restored from them, before anybody reads it',
			'logs', 'the server''s log and pg_stat_statements, as far as statements are kept there',
			'index', 'steps of +1 and -1 at her position in the index of segments, until cdp.maintain() folds them',
			'likes', 'what everybody likes, until cdp.maintain() has added it up anew',
			'others', 'what other people''s events say of her in words; your own tables'));
	UPDATE cdp_data.erasure e SET receipt = (erase_rows.receipt - 'tell' - 'remains' - 'erasure_id') WHERE e.erasure_id = v_erasure;
	PERFORM cdp.audit('erase_subject', person, jsonb_build_object('erasure', v_erasure, 'again', again));
END $$;
COMMENT ON FUNCTION cdp.erase_rows(bigint, name, timestamptz, boolean) IS 'Deletes what is kept of a person, under the locks that cdp.erase_subject() takes.';

CREATE FUNCTION cdp.erase_subject(who text, dry_run boolean DEFAULT true, again boolean DEFAULT false) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_erase_subject_text';
COMMENT ON FUNCTION cdp.erase_subject(text, boolean, boolean) IS
'Erases a person, and refuses what names her from then on; a dry run, the default, changes nothing. Returns the receipt: rows by table, whom to tell, what remains where. For kind privacy.';
CREATE FUNCTION cdp.erase_subject(who text[], dry_run boolean DEFAULT true, again boolean DEFAULT false) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_erase_subject_array';
COMMENT ON FUNCTION cdp.erase_subject(text[], boolean, boolean) IS
'Erases a person, and refuses what names her from then on; a dry run, the default, changes nothing. Returns the receipt: rows by table, whom to tell, what remains where. For kind privacy.';
CREATE FUNCTION cdp.erase_subject(who cdp.identity_set, dry_run boolean DEFAULT true, again boolean DEFAULT false) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_erase_subject_set';
COMMENT ON FUNCTION cdp.erase_subject(cdp.identity_set, boolean, boolean) IS
'Erases a person, and refuses what names her from then on; a dry run, the default, changes nothing. Returns the receipt: rows by table, whom to tell, what remains where. For kind privacy.';
CREATE FUNCTION cdp.erase_subject(who bigint, dry_run boolean DEFAULT true, again boolean DEFAULT false) RETURNS jsonb
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'cdp_erase_subject_profile';
COMMENT ON FUNCTION cdp.erase_subject(bigint, boolean, boolean) IS
'Erases a person, and refuses what names her from then on; a dry run, the default, changes nothing. Returns the receipt: rows by table, whom to tell, what remains where. For kind privacy.';

CREATE FUNCTION cdp.do_unsuppress(arguments jsonb, actor name, at timestamptz) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	UPDATE cdp_data.suppression s SET until_ts = do_unsuppress.at, lifted_by = actor
	WHERE s.token = cdp.identifier_token(arguments->>'identifier') AND s.until_ts > do_unsuppress.at;
	IF NOT FOUND THEN
		RETURN 'false';
	END IF;
	PERFORM cdp.audit('unsuppress');
	RETURN 'true';
END $$;
COMMENT ON FUNCTION cdp.do_unsuppress(jsonb, name, timestamptz) IS 'What cdp.unsuppress() does.';
CREATE FUNCTION cdp.unsuppress(identifier text) RETURNS boolean
LANGUAGE sql VOLATILE STRICT SET search_path = pg_catalog, pg_temp AS $$
	SELECT (cdp.as_steward('unsuppress', jsonb_build_object('identifier', identifier)))::boolean
$$;
COMMENT ON FUNCTION cdp.unsuppress(text) IS
'An erased person comes back by herself: messages of from now on that name this identifier are taken, earlier ones stay refused. False if it was not refused. For kind privacy.';

CREATE FUNCTION cdp.do_erasure_list(arguments jsonb, actor name, at timestamptz) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT coalesce(jsonb_agg(jsonb_build_object('token', encode(s.token, 'hex'), 'from', s.from_ts, 'until', s.until_ts, 'erasure', s.erasure_id, 'at', s.created_at)
		ORDER BY s.erasure_id, s.token, s.until_ts), '[]') FROM cdp_data.suppression s
$$;
COMMENT ON FUNCTION cdp.do_erasure_list(jsonb, name, timestamptz) IS 'What cdp.erasure_list() returns.';
CREATE FUNCTION cdp.erasure_list() RETURNS jsonb
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
	SELECT cdp.as_steward('erasure_list', '{}')
$$;
COMMENT ON FUNCTION cdp.erasure_list() IS
'The keyed hashes of all who were erased, to be kept apart from backups: cdp.reapply_erasures() takes it after one of them was restored. For kind privacy.';

-- Who is there again, by a list: people who bear a value of it at a time when it was an erased person's.
CREATE FUNCTION cdp.do_erasure_candidates(arguments jsonb, actor name, at timestamptz) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	result jsonb;
BEGIN
	INSERT INTO cdp_data.suppression (token, from_ts, until_ts, erasure_id, created_at)
	SELECT DISTINCT ON (1, 3) decode(x.token, 'hex'), x."from", x.until, x.erasure, x.at
	FROM jsonb_to_recordset(arguments->'list') x (token text, "from" timestamptz, until timestamptz, erasure bigint, at timestamptz) ORDER BY 1, 3, 2
	ON CONFLICT DO NOTHING;
	UPDATE cdp_data.suppression_key k SET used = true WHERE NOT k.used AND EXISTS (SELECT FROM cdp_data.suppression);
	-- the list may know when she came back, and the backup not
	DELETE FROM cdp_data.suppression s USING jsonb_to_recordset(arguments->'list') x (token text, until timestamptz, erasure bigint)
	WHERE s.token = decode(x.token, 'hex') AND s.erasure_id = x.erasure AND s.until_ts > x.until
		AND NOT EXISTS (SELECT FROM jsonb_to_recordset(arguments->'list') y (token text, until timestamptz) WHERE y.token = x.token AND y.until = s.until_ts);
	-- one reading of all identifiers; what is found is few
	WITH hit AS MATERIALIZED (SELECT i.node_id FROM (
			SELECT x.node_id, x.first_seen, x.last_seen, cdp.subject_token(x.namespace, x.value) AS token FROM (
				SELECT i.node_id, i.namespace, i.value, i.first_seen, i.last_seen FROM cdp_data.identifier i
				UNION ALL SELECT r.node_id, r.namespace, r.value, r.first_seen, r.last_seen FROM cdp_data.identifier_retired r) x OFFSET 0) i
		WHERE EXISTS (SELECT FROM cdp_data.suppression s WHERE s.token = i.token AND i.first_seen <= s.until_ts AND i.last_seen > s.from_ts)),
	people AS (SELECT n.profile_id, count(*) AS matched FROM hit h
		CROSS JOIN LATERAL (SELECT n.profile_id FROM cdp_data.node n WHERE n.node_id = h.node_id OFFSET 0) n GROUP BY n.profile_id)
	SELECT coalesce(jsonb_agg(jsonb_build_object('profile_id', p.profile_id, 'matched', p.matched,
		'identifiers', (SELECT count(*) FROM cdp_data.node n WHERE n.profile_id = p.profile_id)) ORDER BY p.profile_id), '[]') INTO result FROM people p;
	RETURN result;
END $$;
COMMENT ON FUNCTION cdp.do_erasure_candidates(jsonb, name, timestamptz) IS 'Whom cdp.reapply_erasures() looks at.';
CREATE FUNCTION cdp.reapply_erasures(list jsonb DEFAULT '[]') RETURNS TABLE (profile_id bigint, identifiers int, matched int, outcome text)
LANGUAGE plpgsql VOLATILE ROWS 10 SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
	c record;
BEGIN
	IF jsonb_typeof(list) IS DISTINCT FROM 'array' THEN
		RAISE invalid_parameter_value USING MESSAGE = 'the list is not one of cdp.erasure_list()';
	END IF;
	FOR c IN SELECT x.profile_id, x.matched, x.identifiers FROM jsonb_to_recordset(cdp.as_steward('erasure_candidates', jsonb_build_object('list', list)))
			x (profile_id bigint, matched int, identifiers int) ORDER BY x.profile_id LOOP
		profile_id := c.profile_id;
		identifiers := c.identifiers;
		matched := c.matched;
		outcome := 'partly: unlink what is not hers, then erase her';
		IF c.matched = c.identifiers THEN
			PERFORM cdp.erase_subject(c.profile_id, false, true);
			outcome := 'erased';
		END IF;
		RETURN NEXT;
	END LOOP;
END $$;
COMMENT ON FUNCTION cdp.reapply_erasures(jsonb) IS
'After an older backup was restored: erases again who was erased since, by the list that cdp.erasure_list() gave, and refuses them from then on. People of whom only some identifiers are on it are named, not erased. For kind privacy.';

CREATE PROCEDURE cdp.scrub()
LANGUAGE c AS 'MODULE_PATHNAME', 'cdp_scrub';
COMMENT ON PROCEDURE cdp.scrub() IS
'Rewrites the tables in which somebody was erased, each in a transaction and under an exclusive lock, so that their files have nothing of her any more. For superusers, when few are at work.';
