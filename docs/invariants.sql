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
