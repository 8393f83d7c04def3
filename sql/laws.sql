-- laws.sql: L1 (order), L3 (batch) and L4 (once), on random histories.
--
-- Each history is a list of random messages about a few people whose
-- identifiers overlap now and then, so that they merge.  It is delivered in
-- several arrangements, each into empty tables, and what cdp then knows is
-- written down without ids: people are named by their least identifier.  All
-- arrangements must give the same, and the same as a naive recomputation from
-- the messages in plain SQL.
\set main :DBNAME
CREATE DATABASE regress_laws TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_laws
SET client_min_messages = warning;
CREATE EXTENSION cdp;
SELECT count(*) > 0 AS initialised FROM cdp.init();
-- people of any number of identifiers; rules are the matter of sql/rules.sql
SELECT cdp.define_namespace('*', max_per_profile => 0), cdp.define_namespace('user_id', max_per_profile => 0);
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET extra_float_digits = 1;
CREATE SCHEMA law;

-- Values of traits: as sent, whether they fit, and as cdp.profiles shows them.
CREATE TABLE law.value (trait text, raw jsonb, fits boolean, shown jsonb);
INSERT INTO law.value VALUES
	('city', '"Kyoto"', true, '"Kyoto"'), ('city', '"Osaka"', true, '"Osaka"'), ('city', '7', true, '"7"'),
	('city', 'null', true, 'null'), ('city', '["Kyoto"]', false, NULL), ('city', '""', true, '""'),
	('age', '21', true, '21'), ('age', '30', true, '30'), ('age', '"47"', true, '47'), ('age', '62.0', true, '62'),
	('age', '"old"', false, NULL), ('age', '3000000000', false, NULL), ('age', '21.5', false, NULL), ('age', 'null', true, 'null'),
	('points', '3000000000', true, '3000000000'), ('points', '"-5"', true, '-5'), ('points', 'true', false, NULL),
	('points', '99999999999999999999', false, NULL),
	('score', '0.1', true, '0.1'), ('score', '12345678.901234567', true, '12345678.901234567'), ('score', '"1e3"', true, '1000'),
	('score', '{"a": 1}', false, NULL),
	('vip', 'true', true, 'true'), ('vip', '"false"', true, 'false'), ('vip', '"perhaps"', false, NULL), ('vip', 'null', true, 'null'),
	('joined', '"2020-02-29"', true, '"2020-02-29"'), ('joined', '"2021-02-29"', false, NULL), ('joined', '"1999-12-31"', true, '"1999-12-31"'),
	('first_store', '"Gion"', true, '"Gion"'), ('first_store', '"Umeda"', true, '"Umeda"'), ('first_store', '"Nada: \"quoted\", {braced}"', true, '"Nada: \"quoted\", {braced}"'),
	('visited', '"2024-01-02T03:04:05.678901+09:00"', true, '"2024-01-01T18:04:05.678901+00:00"'), ('visited', '"never"', false, NULL),
	('visited', '"2023-05-06T07:08:09Z"', true, '"2023-05-06T07:08:09+00:00"'),
	('card', '"0123abcd-0000-4000-8000-00000000beef"', true, '"0123abcd-0000-4000-8000-00000000beef"'), ('card', '"12"', false, NULL),
	('card', '"FFFFFFFF-0000-4000-8000-00000000BEEF"', true, '"ffffffff-0000-4000-8000-00000000beef"'),
	('nick', '"neko"', true, '"neko"'), ('nick', '"inu"', true, '"inu"'), ('nick', 'null', true, 'null'),
	('langs', '["ja", "en"]', true, '["ja", "en"]'), ('langs', '{"ja": 1}', true, '{"ja": 1}'), ('langs', '"ja"', true, '"ja"'),
	('size', '1.50', true, '1.50'), ('size', 'false', true, 'false');

-- Which traits a message carries together, and by which app table it may come.
CREATE TABLE law.form (form text, traits text[]);
INSERT INTO law.form VALUES
	('a', '{city,age,nick,score}'), ('b', '{vip,joined,first_store,points,langs}'),
	('c', '{city}'), ('c', '{visited,card,size}'), ('c', '{age,first_store,langs}');

SELECT count(cdp.define_trait(t, type, survivorship)::text) AS traits FROM (VALUES
	(1, 'city', 'text', 'latest'), (2, 'age', 'int', 'latest'), (3, 'points', 'bigint', 'latest'), (4, 'score', 'float8', 'latest'),
	(5, 'vip', 'bool', 'oldest'), (6, 'joined', 'date', 'oldest'), (7, 'first_store', 'text', 'oldest'),
	(8, 'visited', 'timestamptz', 'latest'), (9, 'card', 'uuid', 'latest')) v (o, t, type, survivorship);
SELECT count(cdp.define_purpose(p)) AS purposes FROM unnest('{analytics,marketing}'::text[]) p;
SELECT count(cdp.define_segment(s, predicate => p)) AS segments FROM (VALUES
	('young', 'age < 30'),
	('regular', 'city = ''Kyoto'' AND events >= 4'),
	('cat', 'traits->>''nick'' = ''neko'' OR vip'),
	('early', 'first_seen < ''2024-01-20 00:00:00+00'''),
	('raising', '100 / (age - 30) > 4')) v (s, p);

-- The same messages as rows of an application.
CREATE TABLE law.app_track (id text PRIMARY KEY, at timestamptz, user_id text, anonymous_id text, email text, phone text,
	device_id text, line_id text, event text, n int, tag text);
CREATE TABLE law.app_a (id text PRIMARY KEY, at timestamptz, user_id text, anonymous_id text, email text, phone text,
	device_id text, line_id text, city jsonb, age jsonb, nick jsonb, score jsonb);
CREATE TABLE law.app_b (id text PRIMARY KEY, at timestamptz, user_id text, anonymous_id text, email text, phone text,
	device_id text, line_id text, vip jsonb, joined jsonb, first_store jsonb, points jsonb, langs jsonb);
SELECT count(cdp.attach(t, m || '{"time": "at", "message_id": "id", "identifiers": {"user_id": "user_id", "anonymous_id": "anonymous_id",
	"email": "email", "phone": "phone", "device_id": "device_id", "line_id": "line_id"}}', source => 'default')) AS attached
FROM (VALUES
	('law.app_track'::regclass, '{"event": {"column": "event"}, "properties": ["n", "tag"]}'::jsonb),
	('law.app_a', '{"type": "identify", "traits": ["city", "age", "nick", "score"]}'),
	('law.app_b', '{"type": "identify", "traits": ["vip", "joined", "first_store", "points", "langs"]}')) v (t, m);

CREATE TABLE law.message (
	history		int,
	i			int,
	id			text,			-- message id
	kind		text,			-- a type of the specification, consent, or bad
	ts			timestamptz,	-- event time after clock correction
	who			text[],			-- identifiers as sent
	idents		text[] COLLATE "C",	-- identifiers as cdp must understand them
	name		text,
	properties	jsonb,
	traits		jsonb,
	form		text,
	purpose		text,
	state		text,
	valid_until	timestamptz,
	reason		text,			-- of a bad message
	doc			jsonb,
	PRIMARY KEY (history, i)
);

CREATE FUNCTION law.pick(VARIADIC a text[]) RETURNS text LANGUAGE sql AS $$
	SELECT a[1 + floor(random() * cardinality(a))::int]
$$;

-- The person's e-mail is sometimes written another way.
CREATE FUNCTION law.spell(ident text) RETURNS text LANGUAGE sql AS $$
	SELECT CASE WHEN ident LIKE 'email:%' AND random() < 0.3
		THEN 'email: ' || upper(substr(ident, 7, 1)) || substr(ident, 8, position('@' in ident) - 7) || 'EXAMPLE.com' ELSE ident END
$$;

-- One of a person's identifiers.
CREATE FUNCTION law.ident(p int) RETURNS text LANGUAGE sql AS $$
	SELECT CASE floor(random() * 8)::int
		WHEN 0 THEN format('user_id:u%s', p) WHEN 1 THEN format('user_id:u%s', p)
		WHEN 2 THEN format('email:e%s@example.com', p) WHEN 3 THEN format('phone:+8190%s', 10000000 + p)
		WHEN 4 THEN format('line_id:l%s', p)
		WHEN 5 THEN format('device_id:d%s', p)
		ELSE format('anonymous_id:a%s.%s', p, floor(random() * 3)) END
$$;

CREATE FUNCTION law.document(m law.message, style float8) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	doc jsonb := jsonb_build_object('type', m.kind, 'messageId', m.id);
	external jsonb := '[]';
	context jsonb := '{}';
	w text;
	ns text;
	v text;
BEGIN
	FOREACH w IN ARRAY m.who LOOP
		ns := split_part(w, ':', 1);
		v := substr(w, length(ns) + 2);
		IF ns = 'user_id' AND NOT doc ? 'userId' AND m.kind <> 'alias' THEN
			doc := doc || jsonb_build_object('userId', v);
		ELSIF ns = 'anonymous_id' AND NOT doc ? 'anonymousId' THEN
			doc := doc || jsonb_build_object('anonymousId', v);
		ELSIF ns IN ('email', 'phone') AND style < 0.5 AND NOT coalesce(context->'traits', '{}') ? ns THEN
			context := context || jsonb_build_object('traits', coalesce(context->'traits', '{}') || jsonb_build_object(ns, v));
		ELSE
			external := external || jsonb_build_object('type', ns, 'id', v);
		END IF;
	END LOOP;
	IF external <> '[]' THEN
		context := context || jsonb_build_object('externalIds', external);
	END IF;
	IF context <> '{}' THEN
		doc := doc || jsonb_build_object('context', context);
	END IF;
	-- a client whose clock is 1000 days slow, or one that is right
	IF style < 0.2 THEN
		doc := doc || jsonb_build_object('receivedAt', m.ts + interval '7 s', 'originalTimestamp', m.ts - interval '1000 days',
			'sentAt', m.ts - interval '1000 days' + interval '7 s');
	ELSE
		doc := doc || jsonb_build_object('timestamp', m.ts);
	END IF;
	RETURN doc || jsonb_strip_nulls(jsonb_build_object(CASE m.kind WHEN 'track' THEN 'event' ELSE 'name' END, m.name))
		|| CASE WHEN m.properties IS NULL THEN '{}' ELSE jsonb_build_object('properties', m.properties) END
		|| CASE WHEN m.traits IS NULL THEN '{}' ELSE jsonb_build_object('traits', m.traits) END;
END $$;

-- Invents history h.
CREATE FUNCTION law.invent(h int, size int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	m law.message;
	people int := 6 + h;
	p int;
	r float8;
	x text;
	plain text[];
BEGIN
	PERFORM setseed(h / 1000.0);
	FOR i IN 1..size LOOP
		m := NULL;
		m.history := h;
		m.i := i;
		m.id := format('m%s-%s', h, i);
		m.ts := timestamptz '2024-01-14 00:00+00' + floor(random() * 36) * interval '17 h';
		p := floor(random() * people);
		plain := '{}';
		FOR k IN 1..1 + floor(random() * 4)::int LOOP
			x := law.ident(p);
			CONTINUE WHEN x = ANY (plain);
			plain := plain || x;
		END LOOP;
		-- now and then somebody else's
		IF random() < 0.04 THEN
			x := law.ident(floor(random() * people)::int);
			IF x <> ALL (plain) THEN
				plain := plain || x;
			END IF;
		END IF;
		m.idents := plain;
		m.who := ARRAY(SELECT law.spell(u) FROM unnest(plain) WITH ORDINALITY z (u, o) ORDER BY o);
		r := random();
		IF r < 0.42 THEN
			m.kind := 'identify';
			SELECT f.form, (SELECT jsonb_object_agg(t, (SELECT v.raw FROM law.value v WHERE v.trait = t ORDER BY random() LIMIT 1))
					FROM unnest(f.traits) t)
			INTO m.form, m.traits FROM law.form f ORDER BY random() LIMIT 1;
			IF m.form = 'c' AND random() < 0.3 THEN
				x := format('e%s@example.com', p);
				m.traits := m.traits || jsonb_build_object('email', x);
				IF 'email:' || x <> ALL (m.idents) THEN
					m.idents := m.idents || ('email:' || x);
				END IF;
			END IF;
		ELSIF r < 0.70 THEN
			m.kind := 'track';
			m.form := 'track';
			m.name := law.pick('Viewed', 'Ordered', 'Returned');
			m.properties := jsonb_build_object('n', floor(random() * 10)::int, 'tag', law.pick('x', 'y', NULL));
		ELSIF r < 0.78 THEN
			m.kind := law.pick('page', 'screen');
			m.name := law.pick('Home', NULL);
		ELSIF r < 0.81 THEN
			m.kind := 'group';
			m.traits := '{"plan": "gold", "city": "Nowhere"}';
		ELSIF r < 0.85 THEN
			m.kind := 'alias';
			x := format('a%s.%s', floor(random() * people), floor(random() * 3));
			m.who := ARRAY[format('user_id:u%s', p)];
			m.idents := m.who || ARRAY['anonymous_id:' || x];
		ELSIF r < 0.97 THEN
			m.kind := 'consent';
			m.purpose := law.pick('analytics', 'marketing');
			m.state := law.pick('granted', 'granted', 'granted', 'granted', 'denied', 'withdrawn', 'objected', 'restricted');
			m.valid_until := CASE WHEN random() < 0.3 THEN timestamptz '2100-01-01 00:00+00' + floor(random() * 5) * interval '1 day' END;
		ELSE
			m.kind := 'bad';
			m.reason := law.pick('unknown_type', 'missing_event', 'no_identifier', 'invalid_timestamp');
		END IF;
		IF m.kind = 'bad' THEN
			m.doc := jsonb_build_object('messageId', m.id, 'type', 'track', 'event', 'Bad', 'userId', format('u%s', p), 'timestamp', m.ts)
				|| CASE m.reason WHEN 'unknown_type' THEN '{"type": "guess"}' WHEN 'missing_event' THEN '{"event": null}'
					WHEN 'no_identifier' THEN '{"userId": null}' ELSE '{"timestamp": "soon"}' END::jsonb;
		ELSIF m.kind <> 'consent' THEN
			m.doc := law.document(m, random());
			IF m.kind = 'alias' THEN
				m.doc := m.doc || jsonb_build_object('userId', format('u%s', p), 'previousId', x) || '{"context": {}}';
			ELSIF m.kind = 'group' THEN
				m.doc := m.doc || '{"groupId": "g1"}';
			END IF;
		END IF;
		INSERT INTO law.message SELECT m.*;
	END LOOP;
END $$;

-- Empties the storage and leaves its configuration.
CREATE FUNCTION law.reset() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	TRUNCATE cdp_data.identifier, cdp_data.node, cdp_data.identity_edge, cdp_data.identity_merge, cdp_data.profile_merged,
		cdp_data.profile, cdp_data.profile_state, cdp_data.event, cdp_data.message_seen, cdp_data.rejected,
		cdp_data.segment_member, cdp_data.segment_chunk, cdp_data.segment_delta, cdp_data.segment_before, cdp_data.segment_error,
		cdp_data.node_history, cdp_data.identifier_retired, cdp_data.identity_separation, cdp_data.separation_node, cdp_data.outbox,
		cdp_data.consent_log, cdp_data.consent_current, cdp_data.consent_ord, cdp_data.consent_node RESTART IDENTITY;
	ALTER SEQUENCE cdp_data.node_id_seq RESTART;
	ALTER SEQUENCE cdp_data.profile_id_seq RESTART;
	ALTER SEQUENCE cdp_data.merge_id_seq RESTART;
	ALTER SEQUENCE cdp_data.ord_seq RESTART;
	SET LOCAL session_replication_role = replica;
	DELETE FROM law.app_track;
	DELETE FROM law.app_a;
	DELETE FROM law.app_b;
	SET LOCAL session_replication_role = origin;
END $$;

-- Ingests these messages (numbers, consents not among them) as one batch.
CREATE FUNCTION law.by_batch(h int, numbers int[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	answers text[];
	expected text[];
BEGIN
	IF cardinality(numbers) = 0 THEN
		RETURN;
	END IF;
	SELECT array_agg(a.message_id || ' ' || CASE a.status WHEN 'rejected' THEN 'bad' ELSE 'good' END
		|| CASE WHEN (a.profile_id IS NULL) <> (a.status = 'rejected') THEN ' wrong profile' ELSE '' END ORDER BY a.o)
	INTO answers
	FROM ROWS FROM (cdp.ingest((SELECT jsonb_build_object('batch', jsonb_agg(m.doc ORDER BY n.o))
			FROM unnest(numbers) WITH ORDINALITY n (i, o) JOIN law.message m ON m.history = h AND m.i = n.i)))
		WITH ORDINALITY a (message_id, status, profile_id, o);
	SELECT array_agg(m.id || CASE m.kind WHEN 'bad' THEN ' bad' ELSE ' good' END ORDER BY n.o) INTO expected
	FROM unnest(numbers) WITH ORDINALITY n (i, o) JOIN law.message m ON m.history = h AND m.i = n.i;
	IF answers IS DISTINCT FROM expected THEN
		RAISE EXCEPTION 'history %: ingest answered % instead of %', h, answers, expected;
	END IF;
END $$;

-- Delivers one message by a call of its own: the function of its kind, or ingest.
CREATE FUNCTION law.by_call(h int, number int, functions boolean) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	m law.message;
BEGIN
	SELECT * INTO m FROM law.message x WHERE x.history = h AND x.i = number;
	IF m.kind = 'consent' THEN
		PERFORM cdp.set_consent(m.who, m.purpose, m.state, at => m.ts, valid_until => m.valid_until, message_id => m.id);
	ELSIF functions AND m.kind = 'track' THEN
		PERFORM cdp.track(m.who, m.name, m.properties, m.ts, m.id);
	ELSIF functions AND m.kind = 'identify' THEN
		PERFORM cdp.identify(m.who, m.traits, m.ts, m.id);
	ELSE
		PERFORM cdp.ingest(m.doc);
	END IF;
END $$;

CREATE FUNCTION law.who(m law.message, ns text) RETURNS text LANGUAGE sql AS $$
	SELECT substr(w, length(ns) + 2) FROM unnest(m.who) w WHERE split_part(w, ':', 1) = ns LIMIT 1
$$;

-- How much came by application rows.
CREATE TABLE law.row_count (arrangement text, n int);

-- Delivers messages as rows of the application; returns the numbers of those that cannot be one.
CREATE FUNCTION law.by_app(h int, arrangement text, numbers int[]) RETURNS int[] LANGUAGE plpgsql AS $$
DECLARE
	fit int[];
BEGIN
	-- a row has one column per namespace, and a null in a column says nothing
	SELECT coalesce(array_agg(m.i), '{}') INTO fit FROM unnest(numbers) n (i) JOIN law.message m ON m.history = h AND m.i = n.i
	WHERE m.form IN ('track', 'a', 'b')
		AND (SELECT count(*) = count(DISTINCT split_part(w, ':', 1)) FROM unnest(m.who) w)
		AND NOT EXISTS (SELECT FROM jsonb_each(m.traits) t WHERE t.value = 'null');
	INSERT INTO law.app_track SELECT m.id, m.ts, law.who(m, 'user_id'), law.who(m, 'anonymous_id'), law.who(m, 'email'), law.who(m, 'phone'),
		law.who(m, 'device_id'), law.who(m, 'line_id'), m.name, (m.properties->>'n')::int, m.properties->>'tag'
	FROM law.message m WHERE m.history = h AND m.i = ANY (fit) AND m.form = 'track';
	INSERT INTO law.app_a SELECT m.id, m.ts, law.who(m, 'user_id'), law.who(m, 'anonymous_id'), law.who(m, 'email'), law.who(m, 'phone'),
		law.who(m, 'device_id'), law.who(m, 'line_id'), m.traits->'city', m.traits->'age', m.traits->'nick', m.traits->'score'
	FROM law.message m WHERE m.history = h AND m.i = ANY (fit) AND m.form = 'a';
	INSERT INTO law.app_b SELECT m.id, m.ts, law.who(m, 'user_id'), law.who(m, 'anonymous_id'), law.who(m, 'email'), law.who(m, 'phone'),
		law.who(m, 'device_id'), law.who(m, 'line_id'), m.traits->'vip', m.traits->'joined', m.traits->'first_store', m.traits->'points', m.traits->'langs'
	FROM law.message m WHERE m.history = h AND m.i = ANY (fit) AND m.form = 'b';
	INSERT INTO law.row_count VALUES (arrangement, cardinality(fit));
	RETURN ARRAY(SELECT n FROM unnest(numbers) n WHERE n <> ALL (fit));
END $$;

-- Delivers history h in one arrangement.
CREATE FUNCTION law.deliver(h int, arrangement text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	numbers int[] := ARRAY(SELECT m.i FROM law.message m WHERE m.history = h ORDER BY m.i);
	consents int[] := ARRAY(SELECT m.i FROM law.message m WHERE m.history = h AND m.kind = 'consent');
	mixed int[];
	part int[];
	rest int[];
	seen int[] := '{}';
	x int;
	at int := 1;
	size int;
BEGIN
	PERFORM setseed(h / 1000.0);
	SELECT array_agg(i ORDER BY random()) INTO mixed FROM unnest(CASE arrangement WHEN 'twice' THEN numbers || numbers ELSE numbers END) i;
	IF arrangement IN ('order', 'reversed') THEN
		FOR k IN 1..cardinality(numbers) LOOP
			PERFORM law.by_call(h, CASE arrangement WHEN 'order' THEN numbers[k] ELSE numbers[cardinality(numbers) + 1 - k] END,
				arrangement = 'reversed');
		END LOOP;
	ELSIF arrangement = 'at once' THEN
		PERFORM law.by_batch(h, ARRAY(SELECT n FROM unnest(mixed) WITH ORDINALITY z (n, o) WHERE n <> ALL (consents) ORDER BY o));
		FOREACH x IN ARRAY consents LOOP
			PERFORM law.by_call(h, x, true);
		END LOOP;
	ELSE
		WHILE at <= cardinality(mixed) LOOP
			size := 1 + floor(random() * 40)::int;
			part := mixed[at:at + size - 1];
			at := at + size;
			rest := ARRAY(SELECT n FROM unnest(part) WITH ORDINALITY z (n, o) WHERE n <> ALL (consents) ORDER BY o);
			IF arrangement = 'app' THEN
				rest := law.by_app(h, arrangement, rest);
			ELSIF arrangement = 'twice' AND random() < 0.3 THEN
				-- a row with the same key twice is not the point here
				rest := law.by_app(h, arrangement, ARRAY(SELECT DISTINCT n FROM unnest(rest) n WHERE n <> ALL (seen)))
					|| ARRAY(SELECT n FROM unnest(rest) n WHERE n = ANY (seen));
				seen := seen || part;
			ELSIF arrangement = 'twice' AND random() < 0.3 THEN
				FOREACH x IN ARRAY rest LOOP
					PERFORM law.by_call(h, x, random() < 0.5);
				END LOOP;
				rest := '{}';
			END IF;
			PERFORM law.by_batch(h, rest);
			FOREACH x IN ARRAY part LOOP
				IF x = ANY (consents) THEN
					PERFORM law.by_call(h, x, true);
				END IF;
			END LOOP;
		END LOOP;
	END IF;
END $$;

-- What is known, without ids.
CREATE TABLE law.known (history int, arrangement text, part text, item text);
CREATE TABLE law.key (history int, id text, key uuid, PRIMARY KEY (history, id));

CREATE FUNCTION law.write_down(h int, arrangement text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	CREATE TEMP TABLE person ON COMMIT DROP AS
	SELECT profile_id, min((namespace || ':' || value) COLLATE "C") AS name,
		array_agg(namespace || ':' || value ORDER BY (namespace || ':' || value) COLLATE "C")::text AS idents
	FROM cdp.identifiers GROUP BY profile_id;
	CREATE TEMP TABLE ident ON COMMIT DROP AS SELECT node_id, namespace || ':' || value AS ident FROM cdp_data.identifier;

	INSERT INTO law.known SELECT h, arrangement, k.* FROM (
		SELECT 'person', idents FROM person
		UNION ALL SELECT 'traits', p.name || ' ' || (to_jsonb(v) - '{profile_id,first_seen,last_seen,events,segments,segment_set,identifiers}'::text[])::text
			FROM cdp.profiles v LEFT JOIN person p USING (profile_id)
		UNION ALL SELECT 'activity', format('%s %s %s %s', p.name, v.events, v.first_seen, v.last_seen)
			FROM cdp.profiles v LEFT JOIN person p USING (profile_id)
		UNION ALL SELECT 'identifiers', format('%s %s', p.name, v.identifiers) FROM cdp.profiles v LEFT JOIN person p USING (profile_id)
		UNION ALL SELECT 'identifier', format('%s:%s %s %s', namespace, value, first_seen, last_seen) FROM cdp.identifiers
		UNION ALL SELECT 'segment', format('%s %s', m.segment, p.name) FROM cdp.segment_members m LEFT JOIN person p USING (profile_id)
		UNION ALL SELECT 'segments', format('%s %s', p.name, v.segments) FROM cdp.profiles v LEFT JOIN person p USING (profile_id)
		UNION ALL SELECT 'consent', format('%s %s %s', q.name, p.name, o.valid_to) FROM cdp_data.consent_ord o
			LEFT JOIN cdp_data.purpose q USING (purpose_id) LEFT JOIN cdp_data.profile_state s USING (ord) LEFT JOIN person p USING (profile_id)
		UNION ALL SELECT 'consent node', format('%s %s %s', q.name, i.ident, o.valid_to) FROM cdp_data.consent_node o
			LEFT JOIN cdp_data.purpose q USING (purpose_id) LEFT JOIN ident i USING (node_id)
		UNION ALL SELECT 'consent current', format('%s:%s %s %s %s %s', namespace, value, purpose, state, at, valid_until) FROM cdp.consents
		UNION ALL SELECT 'consent log', format('%s:%s %s %s %s %s %s', namespace, value, purpose, state, at, valid_until, message_id) FROM cdp.consent_log
		UNION ALL SELECT 'edge', format('%s %s %s %s', least(a.ident COLLATE "C", b.ident), greatest(a.ident COLLATE "C", b.ident), e.ts, e.message_id)
			FROM (SELECT DISTINCT ON (a, b) * FROM cdp_data.identity_edge ORDER BY a, b, ts, message_key) e LEFT JOIN ident a ON a.node_id = e.a LEFT JOIN ident b ON b.node_id = e.b
		UNION ALL SELECT 'event', format('%s %s %s %s %s %s %s %s', e.message_id, e.ts, e.type, e.name, e.properties, e.traits, i.ident, p.name)
			FROM cdp.events e LEFT JOIN ident i USING (node_id) LEFT JOIN person p USING (profile_id)
		UNION ALL SELECT 'rejected', format('%s %s', message_id, reason) FROM cdp.rejected WHERE reason <> 'conflicting_duplicate'
	) k (part, item);

	-- what must never be there, whatever the order
	INSERT INTO law.known SELECT h, arrangement, 'broken', k.what FROM (
		SELECT 'node without a profile' FROM cdp_data.node n WHERE NOT EXISTS (SELECT FROM cdp_data.profile p WHERE p.profile_id = n.profile_id)
		UNION ALL SELECT 'profile without a node' FROM cdp_data.profile p WHERE NOT EXISTS (SELECT FROM cdp_data.node n WHERE n.profile_id = p.profile_id)
		UNION ALL SELECT 'profile and its state differ' FROM cdp_data.profile p FULL JOIN cdp_data.profile_state s ON s.profile_id = p.profile_id AND s.ord = p.ord
			WHERE p.ord IS NULL OR s.ord IS NULL
		UNION ALL SELECT 'identifier without a node' FROM cdp_data.identifier i WHERE NOT EXISTS (SELECT FROM cdp_data.node n WHERE n.node_id = i.node_id)
		UNION ALL SELECT 'node without an identifier' FROM cdp_data.node n WHERE NOT EXISTS (SELECT FROM cdp_data.identifier i WHERE n.node_id = i.node_id)
		UNION ALL SELECT 'merged id leads nowhere' FROM cdp_data.profile_merged m
			WHERE NOT EXISTS (SELECT FROM cdp_data.profile p WHERE p.profile_id = m.profile_id AND p.ord = m.ord)
		UNION ALL SELECT 'merged id is alive' FROM cdp_data.profile_merged m JOIN cdp_data.profile p ON p.profile_id = m.old_id
		UNION ALL SELECT 'the younger id survived' FROM cdp_data.profile_merged m WHERE m.profile_id > m.old_id
		UNION ALL SELECT 'edge between two people' FROM cdp_data.identity_edge e JOIN cdp_data.node a ON a.node_id = e.a JOIN cdp_data.node b ON b.node_id = e.b
			WHERE a.profile_id <> b.profile_id
		UNION ALL SELECT 'member at another position' FROM cdp_data.segment_member m
			WHERE NOT EXISTS (SELECT FROM cdp_data.profile_state s WHERE s.profile_id = m.profile_id AND s.ord = m.ord AND m.segment_id = ANY (s.segments))
	) k (what);

	INSERT INTO law.key SELECT h, message_id, message_key FROM cdp_data.event UNION SELECT h, message_id, message_key FROM cdp_data.consent_log
	ON CONFLICT DO NOTHING;
	DROP TABLE person, ident;
END $$;

-- The same from the messages alone.
CREATE FUNCTION law.recompute(h int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	CREATE TEMP TABLE msg ON COMMIT DROP AS
	SELECT m.*, k.key FROM law.message m JOIN law.key k ON k.history = h AND k.id = m.id WHERE m.history = h AND m.kind <> 'bad';
	CREATE TEMP TABLE said ON COMMIT DROP AS
	SELECT m.id, m.ts, m.key, m.kind, u.ident COLLATE "C" AS ident FROM msg m, unnest(m.idents) u (ident);

	-- components: everybody takes the least name among those named with her, until nothing changes
	CREATE TEMP TABLE label ON COMMIT DROP AS SELECT DISTINCT ident, ident AS name FROM said;
	LOOP
		UPDATE label l SET name = x.name
		FROM (SELECT s.ident, min(y.name) AS name FROM said s
			JOIN (SELECT s.id, min(l.name) AS name FROM said s JOIN label l USING (ident) GROUP BY s.id) y USING (id) GROUP BY s.ident) x
		WHERE x.ident = l.ident AND x.name < l.name;
		EXIT WHEN NOT FOUND;
	END LOOP;
	CREATE TEMP TABLE fact ON COMMIT DROP AS
	SELECT DISTINCT ON (l.name, v.trait) l.name, v.trait, v.shown, declared.trait IS NOT NULL AS declared
	FROM (SELECT m.id, m.ts, m.key, t.trait, t.raw,
			coalesce(v.fits, true) AS fits, coalesce(v.shown, t.raw) AS shown
		FROM msg m, jsonb_each(m.traits) t (trait, raw) LEFT JOIN law.value v USING (trait, raw) WHERE m.kind = 'identify') v
	JOIN (SELECT DISTINCT s.id, l.name FROM said s JOIN label l USING (ident)) l USING (id)
	LEFT JOIN (SELECT t.name AS trait, t.survivorship FROM cdp.traits t) declared USING (trait)
	WHERE v.fits
	ORDER BY l.name, v.trait, CASE declared.survivorship WHEN 'oldest' THEN v.ts END,
		CASE declared.survivorship WHEN 'oldest' THEN v.key END, v.ts DESC, v.key DESC;
	CREATE TEMP TABLE person ON COMMIT DROP AS
	SELECT l.name, array_agg(l.ident ORDER BY l.ident)::text AS idents,
		e.events, e.first_seen, e.last_seen,
		(SELECT coalesce(jsonb_object_agg(f.trait, f.shown), '{}') FROM fact f WHERE f.name = l.name AND f.declared) AS declared,
		(SELECT coalesce(jsonb_object_agg(f.trait, f.shown), '{}') FROM fact f WHERE f.name = l.name AND NOT f.declared AND f.shown <> 'null') AS traits
	FROM label l
	CROSS JOIN LATERAL (SELECT count(DISTINCT s.id) AS events, min(s.ts) AS first_seen, max(s.ts) AS last_seen
		FROM said s JOIN label o USING (ident) WHERE o.name = l.name AND s.kind <> 'consent') e
	GROUP BY l.name, e.events, e.first_seen, e.last_seen;
	CREATE TEMP TABLE member ON COMMIT DROP AS
	SELECT v.segment, p.name FROM person p, LATERAL (VALUES
		('young', (p.declared->>'age')::int < 30),
		('regular', p.declared->>'city' = 'Kyoto' AND p.events >= 4),
		('cat', p.traits->>'nick' = 'neko' OR (p.declared->>'vip')::boolean),
		('early', p.first_seen < '2024-01-20 00:00:00+00'),
		('raising', CASE WHEN p.declared->>'age' <> '30' THEN 100 / ((p.declared->>'age')::int - 30) > 4 END)) v (segment, yes)
	WHERE v.yes;
	CREATE TEMP TABLE consent ON COMMIT DROP AS
	SELECT DISTINCT ON (s.ident, m.purpose) s.ident, l.name, m.purpose, m.state, m.ts, m.valid_until
	FROM msg m JOIN said s USING (id) JOIN label l USING (ident) WHERE m.kind = 'consent'
	ORDER BY s.ident, m.purpose, m.ts DESC, m.key DESC;
	CREATE TEMP TABLE allows ON COMMIT DROP AS
	SELECT c.name, c.purpose, min(coalesce(c.valid_until, 'infinity')) AS valid_to
	FROM consent c GROUP BY c.name, c.purpose HAVING bool_and(c.state = 'granted');
	-- of a message's identifiers the lowest rank comes first
	CREATE TEMP TABLE ranked ON COMMIT DROP AS
	SELECT s.*, row_number() OVER (PARTITION BY s.id ORDER BY coalesce(n.rank, 100), s.ident) AS place
	FROM said s LEFT JOIN cdp_data.namespace n ON n.name = split_part(s.ident, ':', 1);

	INSERT INTO law.known SELECT h, 'naive', k.* FROM (
		SELECT 'person', idents FROM person
		UNION ALL SELECT 'traits', name || ' ' || ((SELECT jsonb_object_agg(t.name, NULL::text) FROM cdp.traits t) || declared
			|| jsonb_build_object('traits', traits))::text FROM person
		UNION ALL SELECT 'activity', format('%s %s %s %s', name, events, first_seen, last_seen) FROM person
		UNION ALL SELECT 'identifiers', format('%s %s', l.name, jsonb_object_agg(l.ns, l.vals)) FROM (
			SELECT name, split_part(ident, ':', 1) AS ns, jsonb_agg(substr(ident, position(':' in ident) + 1) ORDER BY ident) AS vals
			FROM label GROUP BY 1, 2) l GROUP BY l.name
		UNION ALL SELECT 'identifier', format('%s %s %s', ident, min(ts), max(ts)) FROM said GROUP BY ident
		UNION ALL SELECT 'segment', format('%s %s', segment, name) FROM member
		UNION ALL SELECT 'segments', format('%s %s', p.name, ARRAY(SELECT m.segment FROM member m WHERE m.name = p.name ORDER BY 1)) FROM person p
		UNION ALL SELECT 'consent', format('%s %s %s', purpose, name, valid_to) FROM allows
		UNION ALL SELECT 'consent node', format('%s %s %s', a.purpose, l.ident, a.valid_to) FROM allows a JOIN label l USING (name)
		UNION ALL SELECT 'consent current', format('%s %s %s %s %s', ident, purpose, state, ts, valid_until) FROM consent
		UNION ALL SELECT 'consent log', format('%s %s %s %s %s %s', s.ident, m.purpose, m.state, m.ts, m.valid_until, m.id)
			FROM msg m JOIN said s USING (id) WHERE m.kind = 'consent'
		UNION ALL SELECT 'edge', e.item FROM (
			SELECT DISTINCT ON (a.ident, b.ident) format('%s %s %s %s', least(a.ident, b.ident), greatest(a.ident, b.ident), a.ts, a.id) AS item
			FROM ranked a JOIN ranked b USING (id) WHERE a.place = 1 AND b.place > 1 ORDER BY a.ident, b.ident, a.ts, a.key) e
		UNION ALL SELECT 'event', format('%s %s %s %s %s %s %s %s', m.id, m.ts, m.kind, m.name, m.properties, m.traits, r.ident, l.name)
			FROM msg m JOIN ranked r ON r.id = m.id AND r.place = 1 JOIN label l ON l.ident = r.ident WHERE m.kind <> 'consent'
		UNION ALL SELECT 'rejected', format('%s %s', id, reason) FROM law.message WHERE history = h AND kind = 'bad'
		UNION ALL SELECT 'rejected', format('%s trait %s %s', m.id, t.key, 'invalid_trait') FROM msg m, jsonb_each(m.traits) t
			JOIN law.value v ON v.trait = t.key AND v.raw = t.value WHERE NOT v.fits AND m.kind = 'identify'
	) k (part, item);
	DROP TABLE msg, said, label, fact, person, member, consent, allows, ranked;
END $$;

-- How rows were read and written.
CREATE TABLE law.path (arrangement text, direct boolean, reason text, UNIQUE NULLS NOT DISTINCT (arrangement, direct, reason));

CREATE PROCEDURE law.run(histories int, size int) LANGUAGE plpgsql AS $$
DECLARE
	a text;
BEGIN
	FOR h IN 1..histories LOOP
		PERFORM law.invent(h, size);
		FOREACH a IN ARRAY '{order,reversed,shuffled,statements,twice,at once,app}'::text[] LOOP
			-- shuffled once more, but rows by statements
			PERFORM set_config('cdp.direct_storage', CASE a WHEN 'statements' THEN 'off' ELSE 'on' END, false);
			PERFORM law.reset();
			PERFORM law.deliver(h, a);
			PERFORM law.write_down(h, a);
			INSERT INTO law.path SELECT DISTINCT a, direct, reason FROM cdp.storage_paths() ON CONFLICT DO NOTHING;
			COMMIT;
		END LOOP;
		PERFORM law.recompute(h);
		COMMIT;
	END LOOP;
END $$;

CALL law.run(20, 150);

-- The histories are worth the name.
SELECT count(*) AS messages, count(DISTINCT history) AS histories, count(DISTINCT id) = count(*) AS ids_are_unique FROM law.message;
SELECT arrangement, count(DISTINCT history) AS histories, count(DISTINCT part) AS parts, count(*) > 5000 AS something FROM law.known
GROUP BY arrangement ORDER BY arrangement;
SELECT arrangement, sum(n) > 300 AS app_rows FROM law.row_count GROUP BY arrangement ORDER BY arrangement;
SELECT direct, reason, array_agg(arrangement ORDER BY arrangement) AS arrangements FROM law.path GROUP BY direct, reason ORDER BY direct, reason;
SELECT count(*) > 150 AS many_people, count(*) FILTER (WHERE item LIKE '%,%,%,%,%,%,%,%,%,%') > 30 AS of_many_identifiers
FROM law.known WHERE arrangement = 'naive' AND part = 'person';
SELECT part, count(*) > 50 AS enough FROM law.known WHERE arrangement = 'naive' GROUP BY part ORDER BY part;

-- L1, L3, L4: every arrangement gives the same.
SELECT a.arrangement, coalesce(min(d.part || ': ' || d.item), 'no differences') AS compared_with_order
FROM (SELECT DISTINCT arrangement FROM law.known) a
LEFT JOIN LATERAL (
	(SELECT history, part, item FROM law.known k WHERE k.arrangement = a.arrangement
		EXCEPT ALL SELECT history, part, item FROM law.known k WHERE k.arrangement = 'order')
	UNION ALL
	(SELECT history, part, item FROM law.known k WHERE k.arrangement = 'order'
		EXCEPT ALL SELECT history, part, item FROM law.known k WHERE k.arrangement = a.arrangement)) d ON true
GROUP BY a.arrangement ORDER BY a.arrangement;

\c :main
DROP DATABASE regress_laws;
