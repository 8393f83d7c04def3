-- The peer with the same semantics: what identify() does, in plpgsql, on tables of the same shape. Rules (rank,
-- limit, blocked values) come from a table; each message is taken once and leaves an event; evidence, times and
-- counts are kept; people are locked in order of their ids. Undo, time travel, consent, segments, traits and
-- resolving again what came late are left out: it does less.
CREATE TABLE bench.rule (name text COLLATE "C" PRIMARY KEY, rank int NOT NULL, max_values int NOT NULL, blocked text);
INSERT INTO bench.rule
SELECT n.name, n.priority, coalesce(n.max_per_profile, 0), '^(' || array_to_string(n.blocked, '|') || ')$' FROM cdp.namespaces n;
CREATE TABLE bench.s_seen (source text COLLATE "C", key uuid, content bigint, received_at timestamptz, PRIMARY KEY (source, key));
CREATE TABLE bench.s_identifier (namespace text COLLATE "C", key uuid, value text COLLATE "C" NOT NULL, node_id bigint NOT NULL,
	first_seen timestamptz NOT NULL, last_seen timestamptz NOT NULL, PRIMARY KEY (namespace, key)) WITH (fillfactor = 85);
CREATE UNIQUE INDEX ON bench.s_identifier (node_id);
CREATE TABLE bench.s_node (node_id bigint PRIMARY KEY, profile_id bigint NOT NULL, since timestamptz NOT NULL) WITH (fillfactor = 90);
CREATE INDEX ON bench.s_node (profile_id);
CREATE TABLE bench.s_edge (a bigint, b bigint, ts timestamptz NOT NULL, message_key uuid NOT NULL, source text NOT NULL,
	message_id text NOT NULL, refused text, PRIMARY KEY (a, b));
CREATE INDEX ON bench.s_edge (b);
CREATE TABLE bench.s_merge (winner bigint, loser bigint, moved bigint[], at timestamptz, source text, message_id text);
CREATE TABLE bench.s_merged (old_id bigint PRIMARY KEY, profile_id bigint NOT NULL);
CREATE TABLE bench.s_profile (profile_id bigint PRIMARY KEY, traits jsonb NOT NULL DEFAULT '{}', created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE bench.s_state (profile_id bigint PRIMARY KEY, rev bigint NOT NULL DEFAULT 0, events bigint NOT NULL DEFAULT 0,
	first_seen timestamptz, last_seen timestamptz) WITH (fillfactor = 70);
CREATE TABLE bench.s_event (ts timestamptz NOT NULL, node_id bigint NOT NULL, message_key uuid NOT NULL, received_at timestamptz NOT NULL,
	type text NOT NULL, name text, source text NOT NULL, message_id text NOT NULL, properties jsonb, traits jsonb, other_nodes bigint[]);
CREATE INDEX ON bench.s_event (node_id, ts);
CREATE INDEX ON bench.s_event USING brin (received_at);
CREATE SEQUENCE bench.s_node_id;
CREATE SEQUENCE bench.s_profile_id;

CREATE FUNCTION bench.same_identify(who text[], source text DEFAULT 'default') RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	now timestamptz := statement_timestamp();
	id text := gen_random_uuid()::text;
	mkey uuid := md5(source || ' ' || id)::uuid;
	ns text[] := '{}';
	vals text[] := '{}';
	keys uuid[] := '{}';
	node bigint[];
	profile bigint[];
	people bigint[];
	r record;
	n int;
	winner bigint;
	kept int;
	over text;
BEGIN
	-- by rank, without blocked values; e-mail in lower case
	FOR r IN SELECT x.ns, x.value, md5(x.ns || ':' || x.value)::uuid AS key
			FROM (SELECT split_part(w, ':', 1) AS ns, CASE WHEN w LIKE 'email:%' THEN lower(substr(w, 7)) ELSE substr(w, strpos(w, ':') + 1) END AS value
				FROM unnest(who) w) x
			LEFT JOIN bench.rule u ON u.name = x.ns LEFT JOIN bench.rule d ON d.name = '*'
			WHERE (x.value ~* coalesce(u.blocked, d.blocked)) IS NOT TRUE
			ORDER BY coalesce(u.rank, d.rank), x.ns, x.value LOOP
		ns := ns || r.ns; vals := vals || r.value; keys := keys || r.key;
	END LOOP;
	IF cardinality(ns) = 0 THEN
		RAISE EXCEPTION 'no identifier';
	END IF;
	INSERT INTO bench.s_seen VALUES (source, mkey, hashtextextended(who::text, 0), now) ON CONFLICT DO NOTHING;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	FOR attempt IN 1..100 LOOP
		BEGIN
			node := array_fill(NULL::bigint, ARRAY[cardinality(ns)]);
			profile := node;
			FOR i IN 1..cardinality(ns) LOOP
				SELECT k.node_id, o.profile_id INTO r FROM bench.s_identifier k JOIN bench.s_node o ON o.node_id = k.node_id
				WHERE k.namespace = ns[i] AND k.key = keys[i] AND k.value = vals[i];
				node[i] := r.node_id;
				profile[i] := r.profile_id;
			END LOOP;
			people := ARRAY(SELECT DISTINCT p FROM unnest(profile) p WHERE p IS NOT NULL ORDER BY p);
			-- new identifiers in order, then people in order
			FOR r IN SELECT i, ns[i] AS name, keys[i] AS k FROM generate_subscripts(ns, 1) i WHERE node[i] IS NULL ORDER BY 2, 3 LOOP
				node[r.i] := nextval('bench.s_node_id');
				INSERT INTO bench.s_identifier VALUES (r.name, r.k, vals[r.i], node[r.i], now, now) ON CONFLICT DO NOTHING;
				IF NOT FOUND THEN
					RAISE unique_violation;
				END IF;
			END LOOP;
			IF cardinality(people) > 0 THEN
				PERFORM FROM bench.s_state s WHERE s.profile_id = ANY (people) ORDER BY s.profile_id FOR NO KEY UPDATE;
				GET DIAGNOSTICS n = ROW_COUNT;
				IF n <> cardinality(people) THEN
					RAISE unique_violation;
				END IF;
				FOR i IN 1..cardinality(ns) LOOP
					IF profile[i] IS NOT NULL THEN
						PERFORM FROM bench.s_node o WHERE o.node_id = node[i] AND o.profile_id = profile[i];
						IF NOT FOUND THEN
							RAISE unique_violation;
						END IF;
					END IF;
				END LOOP;
			END IF;
			EXIT;
		EXCEPTION WHEN unique_violation THEN
			-- somebody else was first: everything of this round is undone, look again
		END;
	END LOOP;
	-- limits: take identifiers by rank as long as the person they make keeps them
	kept := cardinality(ns);
	IF EXISTS (SELECT FROM unnest(profile) p WHERE p IS NULL) OR cardinality(people) > 1 THEN
		WHILE kept > 1 LOOP
			SELECT c.namespace INTO over FROM (
				SELECT x.namespace, sum(x.n) AS n, max(x.n) AS most FROM (
					SELECT k.namespace, o.profile_id, count(*) AS n FROM unnest(profile[1:kept]) WITH ORDINALITY p (id, i)
					JOIN bench.s_node o ON o.profile_id = p.id JOIN bench.s_identifier k ON k.node_id = o.node_id
					WHERE p.i = (SELECT min(q.i) FROM unnest(profile) WITH ORDINALITY q (id, i) WHERE q.id = p.id)
					GROUP BY k.namespace, o.profile_id
					UNION ALL SELECT ns[i], -i, 1 FROM generate_series(1, kept) i WHERE profile[i] IS NULL) x
				GROUP BY x.namespace) c
			LEFT JOIN bench.rule u ON u.name = c.namespace LEFT JOIN bench.rule d ON d.name = '*'
			WHERE coalesce(u.max_values, d.max_values) > 0 AND c.n > coalesce(u.max_values, d.max_values) AND c.n > c.most LIMIT 1;
			EXIT WHEN NOT FOUND;
			kept := kept - 1;
		END LOOP;
	END IF;
	-- the oldest person goes on
	winner := (SELECT min(p) FROM unnest(profile[1:kept]) p);
	IF winner IS NULL THEN
		winner := nextval('bench.s_profile_id');
		INSERT INTO bench.s_profile (profile_id) VALUES (winner);
		INSERT INTO bench.s_state (profile_id) VALUES (winner);
	END IF;
	FOR i IN 1..cardinality(ns) LOOP
		IF profile[i] IS NULL THEN
			IF i <= kept THEN
				INSERT INTO bench.s_node VALUES (node[i], winner, now);
			ELSE
				INSERT INTO bench.s_profile (profile_id) VALUES (nextval('bench.s_profile_id'));
				INSERT INTO bench.s_state (profile_id) VALUES (currval('bench.s_profile_id'));
				INSERT INTO bench.s_node VALUES (node[i], currval('bench.s_profile_id'), now);
			END IF;
		ELSE
			UPDATE bench.s_identifier k SET last_seen = greatest(k.last_seen, now), first_seen = least(k.first_seen, now)
			WHERE k.namespace = ns[i] AND k.key = keys[i];
		END IF;
	END LOOP;
	FOR r IN SELECT DISTINCT p FROM unnest(profile[1:kept]) p WHERE p <> winner LOOP
		INSERT INTO bench.s_merge SELECT winner, r.p, array_agg(o.node_id), now, source, id FROM bench.s_node o WHERE o.profile_id = r.p;
		UPDATE bench.s_node o SET profile_id = winner, since = now WHERE o.profile_id = r.p;
		UPDATE bench.s_merged m SET profile_id = winner WHERE m.profile_id = r.p;
		INSERT INTO bench.s_merged VALUES (r.p, winner);
		UPDATE bench.s_state s SET events = s.events + l.events, first_seen = least(s.first_seen, l.first_seen), last_seen = greatest(s.last_seen, l.last_seen)
		FROM bench.s_state l WHERE s.profile_id = winner AND l.profile_id = r.p;
		UPDATE bench.s_profile p SET traits = l.traits || p.traits FROM bench.s_profile l WHERE p.profile_id = winner AND l.profile_id = r.p;
		DELETE FROM bench.s_state s WHERE s.profile_id = r.p;
		DELETE FROM bench.s_profile p WHERE p.profile_id = r.p;
	END LOOP;
	FOR i IN 2..cardinality(ns) LOOP
		INSERT INTO bench.s_edge AS e VALUES (least(node[1], node[i]), greatest(node[1], node[i]), now, mkey, source, id, CASE WHEN i > kept THEN 'limit:' || over END)
		ON CONFLICT (a, b) DO UPDATE SET ts = excluded.ts, message_key = excluded.message_key, source = excluded.source, message_id = excluded.message_id
		WHERE (excluded.ts, excluded.message_key) < (e.ts, e.message_key);
	END LOOP;
	INSERT INTO bench.s_event VALUES (now, node[1], mkey, now, 'identify', NULL, source, id, NULL, NULL, nullif(node[2:], '{}'));
	UPDATE bench.s_state s SET rev = s.rev + 1, events = s.events + 1, first_seen = least(s.first_seen, now), last_seen = greatest(s.last_seen, now)
	WHERE s.profile_id = winner;
	RETURN winner;
END $$;

-- The people that cdp has too, with three identifiers and the edges between them.
INSERT INTO bench.s_identifier
SELECT x.ns, md5(x.ns || ':' || x.value)::uuid, x.value, 3 * i + x.k, '2025-01-01', '2025-01-01' FROM generate_series(1, :people) i,
	LATERAL (VALUES (0, 'user_id', 'u' || i), (1, 'email', 'm' || i || '@mail.example'), (2, 'anonymous_id', 'a' || i)) x (k, ns, value);
INSERT INTO bench.s_node SELECT 3 * i + k, i, '2025-01-01' FROM generate_series(1, :people) i, generate_series(0, 2) k;
INSERT INTO bench.s_profile (profile_id, traits) SELECT i, jsonb_build_object('email', 'm' || i || '@mail.example', 'city', 'city ' || i % 500) FROM generate_series(1, :people) i;
INSERT INTO bench.s_state SELECT i, 1, 1, '2025-01-01', '2025-01-01' FROM generate_series(1, :people) i;
INSERT INTO bench.s_edge SELECT 3 * i, 3 * i + k, '2025-01-01', md5(i::text)::uuid, 'default', 'p' || i, NULL FROM generate_series(1, :people) i, generate_series(1, 2) k;
SELECT setval('bench.s_node_id', 3 * :people + 10), setval('bench.s_profile_id', :people);
