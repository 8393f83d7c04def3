-- Says what did not happen as it should have; prints nothing when all did.
SELECT 'refused: ' || r.reason || ' ' || coalesce(r.detail, '') FROM cdp.rejected r LIMIT 5;
SELECT 'events of ' || p.source || ': ' || n
FROM (SELECT DISTINCT source FROM bench.payload) p
CROSS JOIN LATERAL (SELECT count(*) AS n FROM cdp_data.event e WHERE e.source = p.source) x
WHERE n <> CASE p.source WHEN 'off-0-known' THEN 100000 * (2 * :rounds + 1) ELSE 100000 END;
SELECT 'people merged by cdp: ' || count(*) FROM cdp.merged_profiles HAVING count(*) > 0;
SELECT 'people merged by the peer: ' || count(*) FROM bench.merged HAVING count(*) > 0;
