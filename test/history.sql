-- What the TAP tests of histories share: a configuration with some of
-- everything, what is known without ids, and the same from the messages alone.
-- test/perl/CdpHistory.pm fills hist.message and compares.
-- hist.prepare() makes tables that functions below name
SET check_function_bodies = off;
CREATE SCHEMA hist;

-- Every message once, as it must be understood.
CREATE TABLE hist.message (
	id			text PRIMARY KEY,
	source		text NOT NULL,
	kind		text NOT NULL,				-- track, identify, page, consent
	ts			timestamptz NOT NULL,
	idents		text[] COLLATE "C" NOT NULL,
	name		text,
	properties	jsonb,
	traits		jsonb,
	purpose		text,
	state		text,
	valid_until	timestamptz,
	refused		text						-- the reason, of one that must not be taken
);
-- Identifiers of whom somebody said that they are one person, or are not, or
-- first the one and then the other; where they were named for that, when.
CREATE TABLE hist.said (a text COLLATE "C", b text COLLATE "C", one boolean, at timestamptz);
-- Acts that took place: each once, also when the client tries again.
CREATE TABLE hist.done (act text PRIMARY KEY);

-- What an application writes by itself.
CREATE TABLE hist.orders (id text PRIMARY KEY, at timestamptz, user_id text, anonymous_id text, n numeric, gift boolean);

-- Acts of somebody: once, whatever the client knows of it.
CREATE FUNCTION hist.merge(act text, a text, b text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO hist.done VALUES (act) ON CONFLICT DO NOTHING;
	IF FOUND THEN
		PERFORM cdp.merge(ARRAY[a, b], act);
	END IF;
END $$;
CREATE FUNCTION hist.unmerge(act text, cause text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	id bigint;
BEGIN
	INSERT INTO hist.done VALUES (act) ON CONFLICT DO NOTHING;
	IF FOUND THEN
		SELECT m.merge_id INTO STRICT id FROM cdp_data.identity_merge m WHERE cause IN (m.message_id, m.reason) AND m.undone_at IS NULL;
		PERFORM cdp.unmerge(id, act);
	END IF;
END $$;
CREATE FUNCTION hist.remove(act text, ident text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO hist.done VALUES (act) ON CONFLICT DO NOTHING;
	IF FOUND AND cdp.resolve(ident) IS NOT NULL THEN
		PERFORM cdp.remove_identifier(ident);
	END IF;
END $$;
CREATE FUNCTION hist.unlink(act text, a text, b text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO hist.done VALUES (act) ON CONFLICT DO NOTHING;
	IF FOUND AND NOT cdp.unlink(a, b, act) THEN
		RAISE 'unlink(%, %) parted nobody', a, b;
	END IF;
END $$;

CREATE FUNCTION hist.configure() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	m record;
BEGIN
	PERFORM cdp.define_trait('city', 'text'), cdp.define_trait('first_store', 'text', 'oldest'),
		cdp.define_trait('trusted', 'text', 'source_priority', sources => '{crm,shop}', ignore_empty => true),
		cdp.define_trait('often', 'text', 'most_frequent'), cdp.define_trait('high', 'int', 'max', index => true),
		cdp.define_trait('low', 'float8', 'min'), cdp.define_trait('langs', 'text', 'union');
	PERFORM cdp.define_purpose('analytics'), cdp.define_purpose('marketing');
	PERFORM cdp.define_segment('kyoto', predicate => 'city = ''Kyoto'''), cdp.define_segment('frequent', predicate => 'events >= 9'),
		cdp.define_segment('high', predicate => 'high >= 7 OR traits->>''nick'' = ''neko''');
	PERFORM cdp.define_activation('kyoto', 'email', 'marketing');
	PERFORM cdp.define_event('Ordered', '{"properties": {"n": {"type": "number"}}}', 'coerce');
	PERFORM cdp.define_event('Refunded', '{"required": ["n"], "properties": {"n": {"type": "number"}}}', 'strict');
	PERFORM cdp.define_event('Viewed', '{"properties": {"brand": {"enum": ["a", "b"]}}}', 'flag');
	PERFORM cdp.set_session('3 hours');
	FOR m IN SELECT * FROM (VALUES
		('orders', 'Ordered', 'count', NULL, NULL::jsonb, NULL::interval), ('orders_9d', 'Ordered', 'count', NULL, NULL, '9 days'),
		('spent', 'Ordered', 'sum', 'n', NULL, NULL), ('spent_month', 'Ordered', 'sum', 'n', NULL, '1 month'),
		('mean_gift', 'Ordered', 'avg', 'n', '{"gift": true}', NULL), ('least', 'Ordered', 'min', 'n', NULL, '20 days'),
		('most', 'Ordered', 'max', 'n', NULL, '36 hours'), ('came', NULL, 'first', NULL, NULL, NULL),
		('last_brand', 'Viewed', 'last', 'brand', NULL, '5 days'), ('brands', 'Viewed', 'list', 'brand', NULL, '12 days'),
		('favourite', 'Viewed', 'most_frequent', 'brand', NULL, NULL), ('skus', 'Viewed', 'unique_count', 'sku', NULL, '15 days'),
		('pages', 'page', 'count', NULL, NULL, '100 minutes'), ('visits', 'session_ended', 'count', NULL, NULL, NULL),
		('visits_20d', 'session_ended', 'count', NULL, NULL, '20 days'), ('dwelt', 'session_ended', 'sum', 'dwell', NULL, NULL),
		('acts_35d', 'session_ended', 'avg', 'events', NULL, '35 days')) v (name, event, aggregate, property, filter, period) LOOP
		PERFORM cdp.define_metric(m.name, m.event, m.aggregate, m.property, m.filter, m.period);
	END LOOP;
	PERFORM cdp.define_sequence('cold', 'Ordered', 'Viewed', same => 'brand', period => '5 days', result => 'list'),
		cdp.define_sequence('quiet', 'Ordered', 'page', period => '3 days', holds => '20 days');
	-- a few values of many are kept of sku: cdp.verify() knows what may be lost
	PERFORM cdp.define_action('Ordered', 3), cdp.define_action('Viewed', 1), cdp.define_action('Refunded', -2);
	PERFORM cdp.define_dimension('brand', half_life => '20 days', short_half_life => '2 days', profile_column => 'liked'), cdp.define_dimension('sku', slots => 6);
	PERFORM cdp.define_segment('visitor', predicate => 'visits >= 12'), cdp.define_segment('regular', predicate => 'visits_20d >= 2'),
		cdp.define_segment('lost', predicate => 'quiet'), cdp.define_segment('lately', predicate => 'cdp.within(last_seen, ''9 days 12 hours'') AND NOT cdp.within(first_seen, ''2 months'')');
END $$;

-- Identifiers by node; former bearers of a value are told by when they ended.
CREATE VIEW hist.node AS
SELECT n.node_id, n.profile_id, (i.namespace || ':' || i.value) COLLATE "C" AS ident
FROM cdp_data.node n JOIN cdp_data.identifier i USING (node_id)
UNION ALL SELECT n.node_id, n.profile_id, (r.namespace || ':' || r.value || ' until ' || r.ended) COLLATE "C"
FROM cdp_data.node n JOIN cdp_data.identifier_retired r USING (node_id);

-- What is known, people named by the least of their identifiers.  Metrics are
-- as of cdp.clock and so apart.  serial: also what depends on the order of
-- arrival.
CREATE FUNCTION hist.known(serial boolean DEFAULT false) RETURNS TABLE (part text, item text) LANGUAGE plpgsql AS $$
BEGIN
	CREATE TEMP TABLE person ON COMMIT DROP AS
	SELECT profile_id, min(ident) AS name, array_agg(ident ORDER BY ident)::text AS idents FROM hist.node GROUP BY profile_id;
	CREATE UNIQUE INDEX ON person (profile_id);
	CREATE TEMP TABLE ident ON COMMIT DROP AS SELECT * FROM hist.node;
	CREATE UNIQUE INDEX ON ident (node_id);
	ANALYZE person, ident;

	RETURN QUERY SELECT 'person', p.idents FROM person p
		UNION ALL SELECT 'trait', format('%s %s=%s', p.name, t.key, t.value)
			FROM cdp.profiles v LEFT JOIN person p USING (profile_id), jsonb_each(to_jsonb(v)) t
			WHERE (t.key IN (SELECT x.name FROM cdp.traits x) OR t.key = 'traits') AND t.value <> 'null'
		UNION ALL SELECT 'activity', format('%s %s %s %s', p.name, v.events, v.first_seen, v.last_seen) FROM cdp.profiles v LEFT JOIN person p USING (profile_id)
		UNION ALL SELECT 'identifier', format('%s:%s %s %s', namespace, value, first_seen, last_seen) FROM cdp.identifiers
		UNION ALL SELECT 'segment', format('%s %s', p.name, v.segments) FROM cdp.profiles v LEFT JOIN person p USING (profile_id)
		UNION ALL SELECT 'member', format('%s %s', p.name, m.segment) FROM cdp.segment_members m LEFT JOIN person p USING (profile_id)
		UNION ALL SELECT 'consent', format('%s %s %s', q.name, p.name, o.valid_to) FROM cdp_data.consent_ord o
			LEFT JOIN cdp_data.purpose q USING (purpose_id) LEFT JOIN cdp_data.profile_state s USING (ord) LEFT JOIN person p USING (profile_id)
		UNION ALL SELECT 'consent node', format('%s %s %s', q.name, i.ident, o.valid_to) FROM cdp_data.consent_node o
			LEFT JOIN cdp_data.purpose q USING (purpose_id) LEFT JOIN ident i USING (node_id)
		UNION ALL SELECT 'consent log', format('%s %s %s %s %s %s', i.ident, q.name, l.state, l.ts, l.valid_until, l.message_id) FROM cdp_data.consent_log l
			LEFT JOIN cdp_data.purpose q USING (purpose_id) LEFT JOIN ident i USING (node_id)
		UNION ALL SELECT 'event', format('%s %s %s %s %s %s %s %s', e.message_id, e.ts, e.type, e.name, e.properties, nullif(e.traits, '{}'), i.ident, p.name)
			FROM cdp.events e LEFT JOIN ident i USING (node_id) LEFT JOIN person p ON p.profile_id = e.profile_id
		UNION ALL SELECT 'rejected', format('%s %s', r.message_id, r.reason) FROM cdp.rejected r WHERE r.reason <> 'conflicting_duplicate'
		UNION ALL SELECT 'violation', format('%s %s %s %s', t.event, t.path, t.rule, t.times) FROM cdp.tracking_violations t;
	IF serial THEN
		RETURN QUERY SELECT 'edge', format('%s %s %s %s %s %s %s', least(a.ident, b.ident), greatest(a.ident, b.ident), cardinality(e.nodes), e.rule, e.ts, CASE WHEN e.rule <> 'merge' THEN e.message_id END, e.refused)
				FROM cdp_data.identity_edge e LEFT JOIN ident a ON a.node_id = e.a LEFT JOIN ident b ON b.node_id = e.b
			UNION ALL SELECT 'separation', format('%s %s | %s %s', s.kind, (SELECT array_agg(i.ident ORDER BY i.ident) FROM ident i WHERE i.node_id = ANY (s.side_a)),
				(SELECT array_agg(i.ident ORDER BY i.ident) FROM ident i WHERE i.node_id = ANY (s.side_b)), s.revoked_at) FROM cdp_data.identity_separation s
			UNION ALL SELECT 'merge', format('%s %s %s %s', m.kind, CASE WHEN m.kind <> 'merge' THEN m.message_id END, (SELECT array_agg(i.ident ORDER BY i.ident) FROM ident i WHERE i.node_id = ANY (m.moved_nodes)), m.undone_at IS NOT NULL)
				FROM cdp_data.identity_merge m
			UNION ALL SELECT 'merged id', format('%s %s', p.name, count(*)) FROM cdp_data.profile_merged m LEFT JOIN person p USING (profile_id) GROUP BY p.name
			UNION ALL SELECT 'history', format('%s %s %s', i.ident, h.since, h.until) FROM cdp_data.node_history h CROSS JOIN unnest(h.nodes) u (node_id) LEFT JOIN ident i USING (node_id)
			UNION ALL SELECT 'delivery', format('%s %s %s %s', p.name, o.segment, o.state, count(*)) FROM cdp.outbox o LEFT JOIN person p USING (profile_id) GROUP BY p.name, o.segment, o.state
			UNION ALL SELECT DISTINCT 'task', format('%s %s %s %s', k.kind, k.target, k.state, k.error) FROM cdp.tasks k;
	END IF;
	DROP TABLE person, ident;
END $$;

-- What is true as of cdp.clock: metrics, sequences, sessions, and the segments that look at them.
CREATE FUNCTION hist.metrics() RETURNS TABLE (part text, item text) LANGUAGE sql AS $$
	WITH p AS MATERIALIZED (SELECT v.*, n.name FROM cdp.profiles v JOIN (SELECT profile_id, min(ident) AS name FROM hist.node GROUP BY profile_id) n USING (profile_id))
	SELECT 'metric', format('%s %s=%s', p.name, t.key, CASE WHEN m.aggregate IN ('avg', 'sum') THEN to_jsonb(trim_scale(round(t.value::numeric, 6))) ELSE t.value END)
	FROM p, jsonb_each(to_jsonb(p)) t JOIN cdp_data.metric m ON m.name = t.key WHERE t.value <> 'null'
	UNION ALL SELECT 'sequence', format('%s %s=%s', p.name, t.key, t.value)
	FROM p, jsonb_each(to_jsonb(p)) t JOIN cdp_data.sequence s ON s.name = t.key WHERE t.value NOT IN ('null', 'false', '0')
	UNION ALL SELECT 'visit', format('%s %s %s %s %s %s %s %s %s', p.name, s.started_at, s.ended_at, s.open, s.events, s.first_page, s.last_page, s.source, s.session_id)
	FROM p JOIN cdp.sessions s USING (profile_id)
	UNION ALL SELECT 'affinity', format('%s %s %s=%s', p.name, a.horizon, a.value, round(a.score::numeric, 4)) FROM p JOIN cdp.affinities a USING (profile_id) WHERE a.dimension = 'brand'
	UNION ALL SELECT 'liked', format('%s %s', p.name, p.liked) FROM p WHERE p.liked IS NOT NULL
	UNION ALL SELECT 'segment then', format('%s %s', p.name, s.name) FROM p, unnest(p.segments) s (name) WHERE s.name IN (SELECT name FROM hist.timed())
	UNION ALL SELECT 'member then', format('%s %s', p.name, m.segment) FROM p JOIN cdp.segment_members m USING (profile_id) WHERE m.segment IN (SELECT name FROM hist.timed())
$$;
-- Segments that are of a time.
CREATE FUNCTION hist.timed() RETURNS TABLE (name text) LANGUAGE sql STABLE AS $$
	SELECT s.name FROM cdp.segments s WHERE s.name IN ('visitor', 'regular', 'lost', 'owing', 'lately')
$$;

-- The messages with what the order of equal times needs, and by identifier.
CREATE FUNCTION hist.prepare() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	CREATE TABLE hist.msg AS SELECT m.*, k.key FROM hist.message m
	JOIN (SELECT DISTINCT message_id AS id, message_key AS key FROM cdp_data.event UNION SELECT DISTINCT message_id, message_key FROM cdp_data.consent_log) k USING (id)
	WHERE m.refused IS NULL;
	CREATE UNIQUE INDEX ON hist.msg (id);
	CREATE TABLE hist.named AS SELECT m.id, m.ts, m.kind, u.ident COLLATE "C" AS ident,
		row_number() OVER (PARTITION BY m.id ORDER BY coalesce(n.rank, 100), u.ident COLLATE "C") AS place
	FROM hist.msg m, unnest(m.idents) u (ident) LEFT JOIN cdp_data.namespace n ON n.name = split_part(u.ident, ':', 1);
	CREATE INDEX ON hist.named (id);
	CREATE INDEX ON hist.named (ident);
	-- links: of a message's identifiers the first with each other, and what somebody said
	CREATE TABLE hist.link AS
	SELECT a.ident AS a, b.ident AS b FROM hist.named a JOIN hist.named b USING (id) WHERE a.place = 1 AND b.place > 1
	UNION SELECT a, b FROM hist.said WHERE one;
	DELETE FROM hist.link l USING hist.said s WHERE NOT s.one AND (l.a, l.b) IN ((s.a, s.b), (s.b, s.a));
	CREATE TABLE hist.label AS SELECT DISTINCT ident, ident AS name FROM hist.named;
	CREATE UNIQUE INDEX ON hist.label (ident);
	ANALYZE hist.msg, hist.named, hist.label;
	LOOP
		UPDATE hist.label l SET name = x.name
		FROM (SELECT y.ident, min(y.name) AS name FROM (
				SELECT k.a AS ident, o.name FROM hist.link k JOIN hist.label o ON o.ident = k.b
				UNION ALL SELECT k.b, o.name FROM hist.link k JOIN hist.label o ON o.ident = k.a) y GROUP BY y.ident) x
		WHERE x.ident = l.ident AND x.name < l.name;
		EXIT WHEN NOT FOUND;
	END LOOP;
	-- events by the person they belong to
	CREATE TABLE hist.event AS SELECT l.name AS person, n.ident, m.*
	FROM hist.msg m JOIN hist.named n ON n.id = m.id AND n.place = 1 JOIN hist.label l USING (ident) WHERE m.kind <> 'consent';
	CREATE INDEX ON hist.event (person);
	-- sessions, and what events are to sequences
	CREATE TABLE hist.visit AS
	SELECT e.person, r.silence, min(e.ts) AS started_at, max(e.ts) AS ended_at, count(*) AS events, (array_agg(e.key ORDER BY e.ts, e.key))[1] AS key,
		(array_agg(e.source ORDER BY e.ts, e.key))[1] AS source, (array_agg(e.name ORDER BY e.ts, e.key) FILTER (WHERE e.kind = 'page'))[1] AS first_page,
		(array_agg(e.name ORDER BY e.ts DESC, e.key DESC) FILTER (WHERE e.kind = 'page'))[1] AS last_page
	FROM cdp_data.session_rule r, (SELECT x.*, count(*) FILTER (WHERE x.begins) OVER (PARTITION BY x.person ORDER BY x.ts, x.key) AS number
		FROM (SELECT e.*, (e.ts - lag(e.ts) OVER (PARTITION BY e.person ORDER BY e.ts, e.key) < r.silence) IS NOT TRUE AS begins
			FROM hist.event e, cdp_data.session_rule r WHERE e.kind IN ('track', 'page')) x) e
	GROUP BY e.person, e.number, r.silence;
	CREATE INDEX ON hist.visit (person);
	CREATE TABLE hist.mark AS
	SELECT e.person, s.sequence_id, v.did, e.ts, e.key, e.properties ->> s.same AS value
	FROM cdp_data.sequence s, LATERAL (VALUES (true, s.did, s.did_filter), (false, s.then_not, s.then_filter)) v (did, event, filter), hist.event e
	WHERE CASE e.kind WHEN 'track' THEN e.name ELSE e.kind END = v.event AND (v.filter IS NULL OR e.properties @> v.filter)
		AND (s.same IS NULL OR jsonb_typeof(e.properties -> s.same) IN ('string', 'number', 'boolean'));
	CREATE INDEX ON hist.mark (person);
	ANALYZE hist.event, hist.visit, hist.mark;
END $$;

CREATE FUNCTION hist.naive() RETURNS TABLE (part text, item text) LANGUAGE plpgsql AS $$
BEGIN
	-- every value of a trait, lists taken apart
	CREATE TEMP TABLE given ON COMMIT DROP AS
	SELECT e.person, t.name, t.survivorship, t.sources, e.ts, e.key, e.source, y.raw
	FROM hist.event e, jsonb_each(e.traits) x (name, value) JOIN cdp.traits t USING (name),
		jsonb_array_elements_text(CASE WHEN jsonb_typeof(x.value) = 'array' THEN x.value ELSE jsonb_build_array(x.value) END) y (raw)
	WHERE e.kind = 'identify' AND NOT (t.ignore_empty AND coalesce(y.raw, '') = '')
		AND NOT (y.raw IS NULL AND t.survivorship IN ('most_frequent', 'max', 'min', 'union'));
	CREATE TEMP TABLE fact ON COMMIT DROP AS
	SELECT * FROM (
		SELECT DISTINCT ON (g.person, g.name) g.person, g.name, to_jsonb(g.raw) AS value FROM given g WHERE g.survivorship IN ('latest', 'source_priority')
		ORDER BY g.person, g.name, CASE g.survivorship WHEN 'source_priority' THEN coalesce(array_position(g.sources, g.source), 1000) END, g.ts DESC, g.key DESC) x
	UNION ALL SELECT * FROM (
		SELECT DISTINCT ON (g.person, g.name) g.person, g.name, to_jsonb(g.raw) FROM given g WHERE g.survivorship = 'oldest' ORDER BY g.person, g.name, g.ts, g.key) x
	UNION ALL SELECT g.person, g.name, CASE WHEN g.survivorship = 'max' THEN to_jsonb(max(g.raw::numeric)) ELSE to_jsonb(min(g.raw::numeric)) END
		FROM given g WHERE g.survivorship IN ('max', 'min') AND g.name IN ('high', 'low') GROUP BY g.person, g.name, g.survivorship
	UNION ALL SELECT g.person, g.name, to_jsonb(max(g.raw COLLATE "C")) FROM given g WHERE g.survivorship = 'max' AND g.name = 'often' GROUP BY g.person, g.name
	UNION ALL SELECT * FROM (
		SELECT DISTINCT ON (c.person, c.name) c.person, c.name, to_jsonb(c.raw) FROM (
			SELECT g.person, g.name, g.raw, count(*) AS n, max(g.ts) AS ts, (array_agg(g.key ORDER BY g.ts DESC, g.key DESC))[1] AS key
			FROM given g WHERE g.survivorship = 'most_frequent' GROUP BY 1, 2, 3) c ORDER BY c.person, c.name, c.n DESC, c.ts DESC, c.key DESC) x
	UNION ALL SELECT c.person, c.name, jsonb_agg(c.raw ORDER BY c.raw COLLATE "C") FROM (SELECT DISTINCT g.person, g.name, g.raw FROM given g WHERE g.survivorship = 'union') c GROUP BY 1, 2;
	-- undeclared ones
	CREATE TEMP TABLE loose ON COMMIT DROP AS
	SELECT DISTINCT ON (e.person, x.name) e.person, x.name, x.value FROM hist.event e, jsonb_each(e.traits) x (name, value)
	WHERE e.kind = 'identify' AND x.name NOT IN (SELECT t.name FROM cdp.traits t) ORDER BY e.person, x.name, e.ts DESC, e.key DESC;
	CREATE TEMP TABLE person ON COMMIT DROP AS
	SELECT l.name, array_agg(l.ident ORDER BY l.ident)::text AS idents, e.events, e.first_seen, e.last_seen,
		(SELECT coalesce(jsonb_object_agg(f.name, f.value), '{}') FROM fact f WHERE f.person = l.name) AS declared,
		(SELECT coalesce(jsonb_object_agg(o.name, o.value), '{}') FROM loose o WHERE o.person = l.name AND o.value <> 'null') AS traits
	FROM hist.label l CROSS JOIN LATERAL (SELECT count(*) AS events, min(v.ts) AS first_seen, max(v.ts) AS last_seen FROM hist.event v WHERE v.person = l.name) e
	GROUP BY l.name, e.events, e.first_seen, e.last_seen;
	CREATE TEMP TABLE member ON COMMIT DROP AS
	SELECT m.person AS name, m.segment FROM hist.naive_members(statement_timestamp()) m UNION ALL
	SELECT p.name, v.segment FROM person p, LATERAL (VALUES ('kyoto', p.declared->>'city' = 'Kyoto'), ('frequent', p.events >= 9),
		('high', (p.declared->>'high')::int >= 7 OR p.traits->>'nick' = 'neko')) v (segment, yes) WHERE v.yes;
	CREATE TEMP TABLE consent ON COMMIT DROP AS
	SELECT DISTINCT ON (n.ident, m.purpose) n.ident, l.name, m.purpose, m.state, m.valid_until
	FROM hist.msg m JOIN hist.named n USING (id) JOIN hist.label l USING (ident) WHERE m.kind = 'consent' ORDER BY n.ident, m.purpose, m.ts DESC, m.key DESC;
	CREATE TEMP TABLE allows ON COMMIT DROP AS
	SELECT c.name, c.purpose, min(coalesce(c.valid_until, 'infinity')) AS valid_to FROM consent c GROUP BY 1, 2 HAVING bool_and(c.state = 'granted');

	RETURN QUERY SELECT 'person', p.idents FROM person p
		UNION ALL SELECT 'trait', format('%s %s=%s', p.name, t.key, t.value) FROM person p, jsonb_each(p.declared || jsonb_build_object('traits', p.traits)) t WHERE t.value <> 'null'
		UNION ALL SELECT 'activity', format('%s %s %s %s', p.name, p.events, p.first_seen, p.last_seen) FROM person p
		UNION ALL SELECT 'identifier', format('%s %s %s', n.ident, min(n.ts), max(n.ts))
			FROM (SELECT n.ident, n.ts FROM hist.named n UNION ALL SELECT u, s.at FROM hist.said s, unnest(ARRAY[s.a, s.b]) u WHERE s.at IS NOT NULL) n (ident, ts) GROUP BY n.ident
		UNION ALL SELECT 'segment', format('%s %s', p.name, ARRAY(SELECT m.segment FROM member m WHERE m.name = p.name ORDER BY 1)) FROM person p
		UNION ALL SELECT 'member', format('%s %s', m.name, m.segment) FROM member m
		UNION ALL SELECT 'consent', format('%s %s %s', a.purpose, a.name, a.valid_to) FROM allows a
		UNION ALL SELECT 'consent node', format('%s %s %s', a.purpose, l.ident, a.valid_to) FROM allows a JOIN hist.label l USING (name)
		UNION ALL SELECT 'consent log', format('%s %s %s %s %s %s', n.ident, m.purpose, m.state, m.ts, coalesce(m.valid_until, 'infinity'), m.id) FROM hist.msg m JOIN hist.named n USING (id) WHERE m.kind = 'consent'
		UNION ALL SELECT 'event', format('%s %s %s %s %s %s %s %s', e.id, e.ts, e.kind, e.name, e.properties, nullif(e.traits, '{}'), e.ident, e.person) FROM hist.event e
		UNION ALL SELECT 'rejected', format('%s %s', m.id, m.refused) FROM hist.message m WHERE m.refused IS NOT NULL
		UNION ALL SELECT 'violation', format('Refunded n required %s', count(*)) FROM hist.message m WHERE m.refused = 'tracking_plan' HAVING count(*) > 0
		UNION ALL SELECT 'violation', format('Viewed brand enum %s', count(*)) FROM hist.msg m WHERE m.name = 'Viewed' AND m.properties->>'brand' NOT IN ('a', 'b') HAVING count(*) > 0;
	DROP TABLE given, fact, loose, person, member, consent, allows;
END $$;

-- Of whom, and of which values, a sequence is true then.
CREATE FUNCTION hist.naive_sequences(instant timestamptz) RETURNS TABLE (person text, name text, value text) LANGUAGE sql STABLE AS $$
	SELECT DISTINCT d.person, s.name::text, d.value FROM cdp_data.sequence s JOIN hist.mark d USING (sequence_id)
	WHERE d.did AND d.ts + s.period <= instant AND (s.holds IS NULL OR d.ts + s.period + s.holds > instant)
		AND NOT EXISTS (SELECT FROM hist.mark n WHERE n.person = d.person AND n.sequence_id = d.sequence_id AND NOT n.did AND n.value IS NOT DISTINCT FROM d.value
			AND (n.ts, n.key) > (d.ts, d.key))
$$;
CREATE FUNCTION hist.naive_members(instant timestamptz) RETURNS TABLE (person text, segment text) LANGUAGE sql STABLE AS $$
	SELECT x.person, x.segment FROM (
		SELECT v.person, 'visitor' AS segment FROM hist.visit v WHERE v.ended_at + v.silence <= instant GROUP BY 1 HAVING count(*) >= 12
		UNION ALL SELECT v.person, 'regular' FROM hist.visit v WHERE v.ended_at + v.silence <= instant AND v.ended_at + v.silence > instant - interval '20 days' GROUP BY 1 HAVING count(*) >= 2
		UNION ALL SELECT e.person, 'lately' FROM hist.event e GROUP BY 1 HAVING max(e.ts) > instant - interval '9 days 12 hours' AND min(e.ts) <= instant - interval '2 months'
		UNION ALL SELECT q.person, 'lost' FROM hist.naive_sequences(instant) q WHERE q.name = 'quiet'
		UNION ALL SELECT q.person, 'owing' FROM hist.naive_sequences(instant) q WHERE q.name = 'unpaid' GROUP BY 1 HAVING count(*) >= 2) x
	WHERE x.segment IN (SELECT t.name FROM hist.timed() t)
$$;

CREATE FUNCTION hist.naive_metric(who text, m cdp_data.metric) RETURNS jsonb LANGUAGE sql STABLE AS $$
	WITH e AS (
		SELECT e.ts, e.key, v, v #>> '{}' AS t FROM (
			SELECT e.ts, e.key, CASE e.kind WHEN 'track' THEN e.name ELSE e.kind END AS event, e.properties FROM hist.event e WHERE e.person = who
			UNION ALL SELECT s.ended_at + s.silence, s.key, 'session_ended', jsonb_build_object('dwell', extract(epoch FROM s.ended_at - s.started_at), 'events', s.events)
			FROM hist.visit s WHERE s.person = who AND s.ended_at + s.silence <= current_setting('cdp.clock')::timestamptz) e
		CROSS JOIN LATERAL (SELECT e.properties -> m.property AS v) v
		WHERE e.event = coalesce(m.event, e.event) AND (m.event IS NOT NULL OR e.event <> 'session_ended')
		AND (m.filter IS NULL OR e.properties @> m.filter)
		AND (m.period IS NULL OR e.ts > current_setting('cdp.clock')::timestamptz - m.period)
		AND CASE WHEN m.property IS NULL THEN true WHEN m.aggregate = 'count' THEN jsonb_typeof(v) <> 'null'
			WHEN m.aggregate IN ('sum', 'avg', 'min', 'max') THEN jsonb_typeof(v) = 'number' ELSE jsonb_typeof(v) IN ('string', 'number', 'boolean') END)
	SELECT CASE m.aggregate
		WHEN 'count' THEN (SELECT to_jsonb(count(*)) FROM e)
		WHEN 'unique_count' THEN (SELECT to_jsonb(count(DISTINCT t)) FROM e)
		WHEN 'sum' THEN (SELECT to_jsonb(trim_scale(round(sum(t::numeric), 6))) FROM e)
		WHEN 'avg' THEN (SELECT to_jsonb(trim_scale(round(avg(t::numeric), 6))) FROM e)
		WHEN 'min' THEN (SELECT to_jsonb(min(t::numeric)) FROM e)
		WHEN 'max' THEN (SELECT to_jsonb(max(t::numeric)) FROM e)
		WHEN 'first' THEN (SELECT CASE WHEN m.property IS NULL THEN to_jsonb(ts) ELSE to_jsonb(t) END FROM e ORDER BY ts, key LIMIT 1)
		WHEN 'last' THEN (SELECT CASE WHEN m.property IS NULL THEN to_jsonb(ts) ELSE to_jsonb(t) END FROM e ORDER BY ts DESC, key DESC LIMIT 1)
		WHEN 'most_frequent' THEN (SELECT to_jsonb(t) FROM e GROUP BY t ORDER BY count(*) DESC, t COLLATE "C" LIMIT 1)
		WHEN 'list' THEN (SELECT jsonb_agg(t ORDER BY t COLLATE "C") FROM (SELECT DISTINCT t FROM e) d) END
$$;

-- What events credit, faded to then.
CREATE FUNCTION hist.naive_likes() RETURNS TABLE (person text, horizon text, value text, score float8) LANGUAGE sql STABLE AS $$
	SELECT e.person, h.horizon, v.value, sum(a.weight * 2 ^ (extract(epoch FROM e.ts - current_setting('cdp.clock')::timestamptz) / extract(epoch FROM h.half_life))::float8)
	FROM hist.event e JOIN cdp.actions a ON a.event = e.name CROSS JOIN (VALUES ('long', interval '20 days'), ('short', '2 days')) h (horizon, half_life)
	CROSS JOIN LATERAL (SELECT e.properties ->> 'brand' AS value WHERE jsonb_typeof(e.properties -> 'brand') IN ('string', 'number', 'boolean') AND e.properties ->> 'brand' <> '') v
	WHERE e.kind = 'track' GROUP BY 1, 2, 3
$$;
CREATE FUNCTION hist.naive_metrics() RETURNS TABLE (part text, item text) LANGUAGE sql AS $$
	SELECT 'metric', format('%s %s=%s', p.name, m.name, v.v) FROM (SELECT DISTINCT name FROM hist.label) p CROSS JOIN cdp_data.metric m
	CROSS JOIN LATERAL (SELECT hist.naive_metric(p.name, m) AS v OFFSET 0) v WHERE v.v IS NOT NULL
	UNION ALL SELECT 'sequence', format('%s %s=%s', q.person, q.name, CASE s.result WHEN 'boolean' THEN 'true' WHEN 'count' THEN count(*)::text
		ELSE jsonb_agg(q.value ORDER BY q.value COLLATE "C")::text END)
	FROM hist.naive_sequences(current_setting('cdp.clock')::timestamptz) q JOIN cdp_data.sequence s ON s.name = q.name GROUP BY q.person, q.name, s.result
	UNION ALL SELECT 'visit', format('%s %s %s %s %s %s %s %s %s', v.person, v.started_at, v.ended_at, v.ended_at + v.silence > current_setting('cdp.clock')::timestamptz,
		v.events, v.first_page, v.last_page, v.source, v.key) FROM hist.visit v
	UNION ALL SELECT 'affinity', format('%s %s %s=%s', l.person, l.horizon, l.value, round(l.score::numeric, 4)) FROM hist.naive_likes() l
	UNION ALL SELECT * FROM (SELECT DISTINCT ON (l.person) 'liked', format('%s %s', l.person, l.value) FROM hist.naive_likes() l WHERE l.horizon = 'long' AND l.score > 1e-9
		ORDER BY l.person, round(l.score::numeric, 9) DESC, l.value COLLATE "C") x
	UNION ALL SELECT k.part, format('%s %s', m.person, m.segment) FROM hist.naive_members(current_setting('cdp.clock')::timestamptz) m, (VALUES ('segment then'), ('member then')) k (part)
$$;
