-- What t/014_segments.pl shares: segments of all kinds, mostly by periods of a
-- few seconds, what sessions do, and membership from the events alone.
SET check_function_bodies = off;
CREATE SCHEMA seg;
GRANT USAGE ON SCHEMA seg TO PUBLIC;
CREATE FUNCTION seg.fold() RETURNS int LANGUAGE c AS '$libdir/cdp', 'cdp_fold_chunks';

CREATE FUNCTION seg.configure() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM cdp.define_trait('city'), cdp.define_trait('n', 'int');
	PERFORM cdp.define_purpose('analytics');
	PERFORM cdp.define_metric('views', 'View', 'count', period => '3 seconds');
	PERFORM cdp.define_sequence('left_it', 'Began', 'Ended', period => '1 second', holds => '2 seconds');
END $$;
CREATE FUNCTION seg.define() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM cdp.define_segment(s.name, s.predicate, s.rule) FROM (VALUES
		(1, 'city', 'city = ''Kyoto''', NULL::jsonb),
		(2, 'elsewhere', 'city IS DISTINCT FROM ''Kyoto''', NULL),
		(3, 'often', 'events >= 12', NULL),
		(4, 'recent', 'cdp.within(last_seen, ''2 seconds'')', NULL),
		(5, 'away', 'NOT cdp.within(last_seen, ''1.5 seconds'')', NULL),
		(6, 'viewed', 'views >= 2', NULL),
		(7, 'left_it', 'left_it', NULL),
		(8, 'nested', 'cdp.in_segment(''viewed'') AND NOT cdp.in_segment(''city'')', NULL),
		(9, 'json', NULL, '{"last_seen": {"$within": "3 seconds"}, "n": {"$gte": 4}}'),
		(10, 'moved', 'n % 3 = 0', NULL),
		(11, 'short', 'n % 2 = 0 AND cdp.within(last_seen, ''1 second'')', NULL)) s (i, name, predicate, rule);
END $$;

-- One thing that a session does: the same one each time it is asked.
CREATE FUNCTION seg.step(session text, i int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	r int[] := ARRAY(SELECT abs(hashtext(format('%s %s %s', session, i, k))) FROM generate_series(1, 9) k);
	person int := 1 + r[1] % 50;
	id text := session || '-' || i;
	at timestamptz := cdp.clock() - CASE r[2] % 6 WHEN 0 THEN interval '1.7 seconds' WHEN 1 THEN interval '20 seconds' WHEN 2 THEN interval '-0.6 seconds' ELSE '0' END;
	who text[] := CASE r[3] % 3 WHEN 0 THEN ARRAY['u:' || person] ELSE ARRAY['c:' || person || '.' || r[4] % 3, 'u:' || CASE r[5] % 15 WHEN 0 THEN 1 + r[6] % 50 ELSE person END] END;
	m bigint;
BEGIN
	CASE r[7] % 20
		WHEN 0, 1, 2, 3, 4 THEN
			PERFORM cdp.identify(who, jsonb_build_object('city', (ARRAY['Kyoto', 'Nara'])[1 + r[8] % 2], 'n', r[9] % 9), at, id);
		WHEN 5 THEN
			PERFORM cdp.set_consent(who, 'analytics', (ARRAY['granted', 'granted', 'granted', 'withdrawn'])[1 + r[8] % 4], valid_until => CASE r[9] % 3 WHEN 0 THEN cdp.clock() + interval '2 seconds' END, message_id => id);
		WHEN 6 THEN
			PERFORM cdp.ingest((SELECT jsonb_agg(jsonb_build_object('type', 'track', 'event', 'View', 'messageId', format('%s-%s', id, k), 'timestamp', at,
				'context', jsonb_build_object('externalIds', jsonb_build_array(jsonb_build_object('type', 'u', 'id', 1 + (r[8] + k * 7) % 50))))) FROM generate_series(1, 20) k));
		WHEN 7 THEN
			SELECT x.merge_id INTO m FROM cdp.merges x WHERE x.undone_at IS NULL AND x.kind = 'message' ORDER BY x.merge_id DESC OFFSET r[8] % 5 LIMIT 1;
			IF m IS NOT NULL THEN
				BEGIN
					PERFORM cdp.unmerge(m);
				EXCEPTION WHEN object_not_in_prerequisite_state THEN
					-- somebody else was quicker
					RETURN 'late';
				END;
			END IF;
		WHEN 8 THEN
			PERFORM cdp.rebuild(cdp.resolve('u:' || person));
		ELSE
			PERFORM cdp.track(who, (ARRAY['View', 'View', 'Began', 'Began', 'Ended', 'Other'])[1 + r[8] % 6], '{}', at, id);
	END CASE;
	RETURN 'done';
END $$;

-- Who is in which segment, by plain SQL over the events.
CREATE FUNCTION seg.naive() RETURNS TABLE (profile_id bigint, segment text) LANGUAGE sql STABLE AS $$
	WITH e AS MATERIALIZED (SELECT n.profile_id, e.ts, e.message_key, e.type, e.name, e.traits FROM cdp_data.event e JOIN cdp_data.node n USING (node_id)),
	a AS (SELECT p.profile_id, cdp.clock() AS at, count(e.ts) AS events, max(e.ts) AS last_seen, count(*) FILTER (WHERE e.name = 'View' AND e.ts > cdp.clock() - interval '3 seconds') AS views,
			(array_agg(e.traits->>'city' ORDER BY e.ts DESC, e.message_key DESC) FILTER (WHERE e.traits ? 'city'))[1] AS city,
			(array_agg((e.traits->>'n')::int ORDER BY e.ts DESC, e.message_key DESC) FILTER (WHERE e.traits ? 'n'))[1] AS n
		FROM cdp_data.profile p LEFT JOIN e USING (profile_id) GROUP BY 1),
	b AS (SELECT DISTINCT e.profile_id FROM e WHERE e.name = 'Began' AND e.ts + interval '1 second' <= cdp.clock() AND e.ts + interval '3 seconds' > cdp.clock()
		AND NOT EXISTS (SELECT FROM e x WHERE x.profile_id = e.profile_id AND x.name = 'Ended' AND (x.ts, x.message_key) > (e.ts, e.message_key)))
	SELECT a.profile_id, s.segment FROM a CROSS JOIN LATERAL (VALUES
		('city', city = 'Kyoto'), ('elsewhere', city IS DISTINCT FROM 'Kyoto'), ('often', events >= 12),
		('recent', last_seen > at - interval '2 seconds' AND last_seen <= at), ('away', NOT (last_seen > at - interval '1.5 seconds' AND last_seen <= at)),
		('viewed', views >= 2), ('left_it', a.profile_id IN (SELECT b.profile_id FROM b)), ('nested', views >= 2 AND city IS DISTINCT FROM 'Kyoto'),
		('json', last_seen > at - interval '3 seconds' AND last_seen <= at AND n >= 4),
		('moved', n % 3 = (SELECT right(g.definition, 1)::int FROM cdp_data.segment g WHERE g.name = 'moved')),
		('short', n % 2 = 0 AND last_seen > at - interval '1 second' AND last_seen <= at)) s (segment, member)
	WHERE s.member AND s.segment IN (SELECT g.name FROM cdp_data.segment g WHERE g.state = 'active')
$$;
-- Tables naive and people: what there is for this role (NULL: a superuser).
CREATE FUNCTION seg.prepare(role text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	CREATE TEMP TABLE people ON COMMIT DROP AS SELECT s.profile_id FROM cdp_data.profile_state s WHERE role IS NULL
		OR EXISTS (SELECT FROM cdp_data.consent_ord o WHERE o.ord = s.ord AND (o.valid_to IS NULL OR o.valid_to > cdp.clock()));
	CREATE TEMP TABLE naive ON COMMIT DROP AS SELECT n.* FROM seg.naive() n JOIN people USING (profile_id);
	GRANT SELECT ON people, naive TO PUBLIC;
END $$;

-- Expressions, and when one who is in these segments is meant.
CREATE TABLE seg.expr (expr text, holds text);
INSERT INTO seg.expr VALUES ('city & elsewhere', 'false'), ('city | elsewhere', 'true'), ('recent & !away | left_it', $$s @> '{recent}' AND NOT s @> '{away}' OR s @> '{left_it}'$$),
	('!(viewed | often)', $$NOT (s && '{viewed,often}')$$), ('json & (viewed | nested) & !often', $$s @> '{json}' AND s && '{viewed,nested}' AND NOT s @> '{often}'$$);
GRANT SELECT ON seg.expr TO PUBLIC;
CREATE FUNCTION seg.meant(holds text) RETURNS bigint[] LANGUAGE plpgsql STABLE AS $$
DECLARE
	ids bigint[];
BEGIN
	EXECUTE format('SELECT ARRAY(SELECT x.profile_id FROM (SELECT p.profile_id, ARRAY(SELECT n.segment FROM naive n WHERE n.profile_id = p.profile_id) AS s FROM people p) x WHERE %s ORDER BY 1)', holds) INTO ids;
	RETURN ids;
END $$;

-- What is not as it should be; of segments that nobody redefines, or of all.
CREATE FUNCTION seg.differences(fixed boolean) RETURNS TABLE (what text) LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY
	WITH g AS (SELECT s.name, s.members, ARRAY(SELECT n.profile_id FROM naive n WHERE n.segment = s.name ORDER BY 1) AS ids FROM cdp.segments s WHERE NOT (fixed AND s.name IN ('moved', 'short'))),
	f AS (SELECT g.*, ARRAY(SELECT m.profile_id FROM cdp.segment_members m WHERE m.segment = g.name ORDER BY 1) AS rows, ARRAY(SELECT m FROM cdp.members(quote_ident(g.name)) m ORDER BY 1) AS listed,
		cdp.segment_count(quote_ident(g.name)) AS counted, (SELECT cdp.audience_agg(m) FROM cdp.members(quote_ident(g.name)) m) AS audience FROM g)
	SELECT format('%s: rows %s, listed %s, counted %s, shown %s, expected %s', f.name, f.rows, f.listed, f.counted, f.members, f.ids) FROM f
	WHERE (f.rows, f.listed, f.counted, f.members) IS DISTINCT FROM (f.ids, f.ids, cardinality(f.ids)::bigint, cardinality(f.ids)::bigint)
		OR ARRAY(SELECT u FROM cdp.unnest(f.audience) u ORDER BY 1) <> f.ids
	UNION ALL SELECT format('%s: listed %s, counted %s, expected %s', x.expr, x.listed, x.counted, x.ids) FROM (
		SELECT e.expr, ARRAY(SELECT m FROM cdp.members(e.expr) m ORDER BY 1) AS listed, cdp.segment_count(e.expr) AS counted, seg.meant(e.holds) AS ids FROM seg.expr e) x
	WHERE x.listed <> x.ids OR x.counted <> cardinality(x.ids)
	UNION ALL SELECT format('%s of profile %s, expected %s', x.had, x.profile_id, x.ids) FROM (
		SELECT p.profile_id, ARRAY(SELECT s FROM unnest(p.segments) s WHERE NOT (fixed AND s IN ('moved', 'short')) ORDER BY s) AS had,
			ARRAY(SELECT n.segment FROM naive n WHERE n.profile_id = p.profile_id AND NOT (fixed AND n.segment IN ('moved', 'short')) ORDER BY 1) AS ids FROM cdp.profiles p) x WHERE x.had <> x.ids
	UNION ALL SELECT format('%s people, expected %s', (SELECT count(*) FROM cdp.profiles), (SELECT count(*) FROM people)) WHERE (SELECT count(*) FROM cdp.profiles) <> (SELECT count(*) FROM people)
	UNION ALL SELECT format('city and %s: %s in common, expected %s', o.segment, o.n, x.n) FROM cdp.overlap('city') o CROSS JOIN LATERAL (
		SELECT count(*) AS n FROM naive a JOIN naive b USING (profile_id) WHERE a.segment = 'city' AND b.segment = o.segment) x WHERE o.n <> x.n AND NOT (fixed AND o.segment IN ('moved', 'short'));
END $$;
-- The same for as long as the snapshot lasts.
CREATE FUNCTION seg.picture() RETURNS text LANGUAGE sql AS $$
	SELECT md5(string_agg(format('%s %s %s', e.expr, cdp.segment_count(e.expr), (SELECT cdp.audience_agg(m) FROM cdp.members(e.expr) m)), ';' ORDER BY e.expr))
	FROM (SELECT x.expr FROM seg.expr x UNION SELECT quote_ident(s.name) FROM cdp.segments s WHERE s.name NOT IN ('moved', 'short')) e
$$;
