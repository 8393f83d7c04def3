-- What holds between the tables of cdp_data, as queries: each returns no rows. Numbers as in architecture.md.
-- Run it as a superuser while nobody writes: psql -X -At -f docs/invariants.sql

-- 1
SELECT profile_id FROM cdp_data.profile p FULL JOIN cdp_data.profile_state s USING (profile_id)
WHERE p.ord IS DISTINCT FROM s.ord;
SELECT node_id FROM cdp_data.node n LEFT JOIN cdp_data.profile p USING (profile_id) WHERE p.profile_id IS NULL;
SELECT node_id FROM (SELECT node_id, namespace FROM cdp_data.identifier
	UNION ALL SELECT node_id, namespace FROM cdp_data.identifier_retired) i FULL JOIN cdp_data.node n USING (node_id)
WHERE i.namespace IS NULL OR n.profile_id IS NULL;

-- 2
SELECT e.a, e.b FROM cdp_data.identity_edge e
JOIN cdp_data.node a ON a.node_id = e.a JOIN cdp_data.node b ON b.node_id = e.b
WHERE e.refused IS NULL AND a.profile_id <> b.profile_id;

-- 3
SELECT m.old_id FROM cdp_data.profile_merged m
LEFT JOIN cdp_data.profile p ON p.profile_id = m.profile_id AND p.ord = m.ord
WHERE p.profile_id IS NULL;
SELECT m.old_id FROM cdp_data.profile_merged m JOIN cdp_data.profile p ON p.profile_id = m.old_id;

-- 4
SELECT ord FROM (SELECT ord FROM cdp_data.profile UNION ALL SELECT old_ord FROM cdp_data.profile_merged) x
GROUP BY ord HAVING count(*) > 1;

-- 5
(SELECT profile_id, unnest(segments) FROM cdp_data.profile_state
 EXCEPT SELECT profile_id, segment_id FROM cdp_data.segment_member)
UNION ALL
(SELECT profile_id, segment_id FROM cdp_data.segment_member
 EXCEPT SELECT profile_id, unnest(segments) FROM cdp_data.profile_state);
WITH index AS (SELECT x.segment_id, x.ord, sum(x.step) AS members FROM (
		SELECT d.segment_id, d.chunk_no * 15872 + d.position AS ord, d.step FROM cdp_data.segment_delta d
		UNION ALL SELECT c.segment_id, c.chunk_no * 15872 + b.position, 1 FROM cdp_data.segment_chunk c CROSS JOIN LATERAL (
			SELECT get_byte(c.payload, i) + 256 * get_byte(c.payload, i + 1) FROM generate_series(4, length(c.payload) - 2, 2) i WHERE get_byte(c.payload, 0) = 1
			UNION ALL SELECT generate_series(get_byte(c.payload, i) + 256 * get_byte(c.payload, i + 1), get_byte(c.payload, i + 2) + 256 * get_byte(c.payload, i + 3))
				FROM generate_series(4, length(c.payload) - 4, 4) i WHERE get_byte(c.payload, 0) = 2
			UNION ALL SELECT i FROM generate_series(0, 15871) i WHERE get_byte(c.payload, 0) = 3 AND get_bit(c.payload, 32 + i) = 1) b (position)) x
	GROUP BY x.segment_id, x.ord HAVING sum(x.step) <> 0),
members AS (SELECT segment_id, ord, 1::bigint AS members FROM cdp_data.segment_member UNION ALL SELECT 0, ord, 1 FROM cdp_data.profile)
(TABLE index EXCEPT TABLE members) UNION ALL (TABLE members EXCEPT TABLE index);

-- 6: as long as nobody but the retention dropped or detached a partition
SELECT s.profile_id FROM cdp_data.profile_state s
LEFT JOIN (SELECT n.profile_id, sum(e.events)::bigint AS events, min(e.first_seen) AS first_seen, max(e.last_seen) AS last_seen
	FROM (SELECT node_id, 1 AS events, ts AS first_seen, ts AS last_seen FROM cdp_data.event
		UNION ALL SELECT node_id, events, first_seen, last_seen FROM cdp_data.node_base) e
	JOIN cdp_data.node n USING (node_id) GROUP BY n.profile_id) e USING (profile_id)
WHERE (s.events, s.first_seen, s.last_seen) IS DISTINCT FROM (coalesce(e.events, 0), e.first_seen, e.last_seen);

-- 7
SELECT e.source, e.message_id FROM cdp_data.event e
LEFT JOIN cdp_data.message_seen m ON m.source = e.source AND m.key = e.message_key
WHERE m.key IS NULL AND e.message_id <> e.message_key::text AND e.received_at >= coalesce((SELECT h.seen_since FROM cdp_data.message_horizon h), '-infinity') - interval '1 day';

-- 8
SELECT p.profile_id, k FROM cdp_data.profile p, jsonb_object_keys(p.traits) k WHERE NOT p.trait_meta ? k;

-- 9
WITH latest AS (SELECT DISTINCT ON (node_id, purpose_id) node_id, purpose_id, state, ts, message_key, valid_until, source
	FROM cdp_data.consent_log ORDER BY node_id, purpose_id, ts DESC, message_key DESC)
(TABLE latest EXCEPT SELECT node_id, purpose_id, state, ts, message_key, valid_until, source FROM cdp_data.consent_current)
UNION ALL
(SELECT node_id, purpose_id, state, ts, message_key, valid_until, source FROM cdp_data.consent_current EXCEPT TABLE latest);

-- 10
WITH effective AS (SELECT n.profile_id, c.purpose_id, min(c.valid_until) AS valid_to
	FROM cdp_data.consent_current c JOIN cdp_data.node n USING (node_id)
	GROUP BY 1, 2 HAVING bool_and(c.state = 'granted')),
people AS (SELECT e.purpose_id, p.ord, e.valid_to FROM effective e JOIN cdp_data.profile p USING (profile_id)),
nodes AS (SELECT e.purpose_id, n.node_id, e.valid_to FROM effective e JOIN cdp_data.node n USING (profile_id)),
derived AS (SELECT 'person' AS kind, people.* FROM people UNION ALL SELECT 'node', nodes.* FROM nodes),
kept AS (SELECT 'person' AS kind, purpose_id, ord::bigint, valid_to FROM cdp_data.consent_ord
	UNION ALL SELECT 'node', purpose_id, node_id, valid_to FROM cdp_data.consent_node)
(TABLE derived EXCEPT TABLE kept) UNION ALL (TABLE kept EXCEPT TABLE derived);

-- 11
SELECT h.until_change, u.node_id FROM cdp_data.node_history h CROSS JOIN LATERAL unnest(h.nodes) u (node_id)
WHERE NOT EXISTS (SELECT FROM cdp_data.node n WHERE n.node_id = u.node_id AND n.change = h.until_change)
	AND NOT EXISTS (SELECT FROM cdp_data.node_history g WHERE g.change = h.until_change AND u.node_id = ANY (g.nodes));
SELECT s.separation_id FROM cdp_data.identity_separation s CROSS JOIN LATERAL unnest(s.side_a) a (id)
	CROSS JOIN LATERAL unnest(s.side_b) b (id) JOIN cdp_data.node n ON n.node_id = a.id JOIN cdp_data.node o ON o.node_id = b.id
WHERE s.revoked_at IS NULL AND n.profile_id = o.profile_id;

-- 12
SELECT t.profile_id FROM cdp_data.timer t LEFT JOIN cdp_data.profile p USING (profile_id, ord) WHERE p.profile_id IS NULL;

-- 13
SELECT x.node_id FROM (SELECT node_id FROM cdp_data.metric_state UNION ALL SELECT node_id FROM cdp_data.session_part UNION ALL SELECT node_id FROM cdp_data.sequence_mark
	UNION ALL SELECT node_id FROM cdp_data.node_base) x LEFT JOIN cdp_data.node n USING (node_id) WHERE n.node_id IS NULL;
SELECT s.node_id, s.started_at FROM (SELECT p.*, lead(p.started_at) OVER w AS next, r.silence, r.state FROM cdp_data.session_part p LEFT JOIN cdp_data.session_rule r ON true
	WINDOW w AS (PARTITION BY p.node_id ORDER BY p.started_at, p.first_key)) s
WHERE s.silence IS NULL OR s.events < 1 OR s.ended_at < s.started_at OR s.since <> CASE WHEN s.next IS NULL THEN 'infinity' ELSE s.started_at END
	OR (s.state = 'ready' AND s.next - s.ended_at < s.silence);
SELECT n.node_id FROM cdp_data.node n CROSS JOIN cdp_data.session_rule r
LEFT JOIN (SELECT p.node_id, sum(p.events)::bigint AS events FROM cdp_data.session_part p GROUP BY p.node_id) p USING (node_id)
LEFT JOIN (SELECT x.node_id, sum(x.events)::bigint AS events FROM (SELECT b.node_id, b.events FROM cdp_data.node_base_session b
		UNION ALL SELECT e.node_id, 1 FROM cdp_data.event e, cdp_data.session_rule r WHERE e.type = ANY (r.events) OR (e.type = 'track' AND e.name = ANY (r.events))) x GROUP BY x.node_id) e USING (node_id)
WHERE r.state = 'ready' AND p.events IS DISTINCT FROM e.events;
SELECT m.node_id, m.ts FROM cdp_data.sequence_mark m
LEFT JOIN cdp_data.event e ON e.node_id = m.node_id AND e.ts = m.ts AND e.message_key = m.message_key
LEFT JOIN cdp_data.node_base_mark b ON (b.node_id, b.sequence_id, b.ts, b.message_key, b.kind) = (m.node_id, m.sequence_id, m.ts, m.message_key, m.kind) AND b.value IS NOT DISTINCT FROM m.value
LEFT JOIN cdp_data.sequence s ON s.sequence_id = m.sequence_id AND s.holds IS NULL
LEFT JOIN cdp_data.node_base g ON g.node_id = m.node_id AND m.ts BETWEEN g.first_seen AND g.last_seen
WHERE e.message_key IS NULL AND b.message_key IS NULL AND (s.sequence_id IS NOT NULL OR g.node_id IS NULL);

-- 14
SELECT 'base' AS what, b.node_id FROM cdp_data.node_base b WHERE b.events < 1 OR b.last_seen < b.first_seen
UNION ALL SELECT 'trait', t.node_id FROM cdp_data.node_base_trait t LEFT JOIN cdp_data.node_base b USING (node_id)
WHERE (t.first_ts >= b.first_seen AND t.last_ts <= b.last_seen) IS NOT TRUE OR t.times < 1 OR (t.first_ts, t.first_key) > (t.last_ts, t.last_key)
	OR (t.times = 1) <> (t.first_key = t.last_key) OR t.hash <> substr(sha256(convert_to(jsonb_build_array(t.name, t.source, t.value)::text, 'UTF8')), 1, 16)
UNION ALL SELECT 'times', t.node_id FROM cdp_data.node_base_trait t JOIN cdp_data.node_base b USING (node_id) GROUP BY t.node_id, t.name, b.events HAVING sum(t.times) > b.events
UNION ALL SELECT 'session', s.node_id FROM (SELECT p.*, lead(p.started_at) OVER w AS next FROM cdp_data.node_base_session p WINDOW w AS (PARTITION BY p.node_id ORDER BY p.started_at)) s
LEFT JOIN cdp_data.node_base b USING (node_id)
WHERE (s.started_at >= b.first_seen AND s.ended_at <= b.last_seen) IS NOT TRUE OR s.events < 1 OR s.ended_at < s.started_at OR s.next <= s.ended_at
UNION ALL SELECT 'sessions', s.node_id FROM cdp_data.node_base_session s JOIN cdp_data.node_base b USING (node_id) GROUP BY s.node_id, b.events HAVING sum(s.events) > b.events
UNION ALL SELECT 'mark', m.node_id FROM cdp_data.node_base_mark m LEFT JOIN cdp_data.node_base b USING (node_id) WHERE m.ts BETWEEN b.first_seen AND b.last_seen IS NOT TRUE
UNION ALL SELECT 'there and gone', e.node_id FROM cdp_data.event e JOIN (SELECT node_id, ts, message_key FROM cdp_data.node_base_mark
	UNION SELECT node_id, started_at, first_key FROM cdp_data.node_base_session UNION SELECT node_id, first_ts, first_key FROM cdp_data.node_base_trait
	UNION SELECT node_id, last_ts, last_key FROM cdp_data.node_base_trait) g USING (node_id, ts, message_key);
SELECT x.gone, x.counted FROM (SELECT (SELECT coalesce(sum(b.events), 0) FROM cdp_data.node_base b) AS gone,
	(SELECT coalesce(sum(d.events), 0) FROM cdp_data.retention_done d WHERE d.retention_id <> 0) AS counted) x WHERE x.gone <> x.counted;

-- 15
SELECT c.position FROM cdp_data.captured c, cdp_data.captured_position s
WHERE c.position > s.last_value OR c.space NOT IN ('m', 'r') OR jsonb_typeof(c.message) <> 'object';
