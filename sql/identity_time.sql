-- What random histories found (tools/soak): bearers, expiry and removal in
-- time, people named by id, several who come back at once.
\set VERBOSITY terse
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_identity_time;
CREATE DATABASE regress_identity_time TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_identity_time
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION cdp;
SELECT count(*) > 0 AS init FROM cdp.init();
SELECT cdp.define_segment('seen', predicate => 'events >= 1') > 0 AS segment;
SELECT cdp.define_namespace('mail', priority => 5, unique_per_profile => true, ttl => '10 days');
SELECT cdp.define_namespace('login', priority => 4, unique_per_profile => true, on_conflict => 'reject');
SET cdp.clock = '2026-03-01';

-- each node's person by her least identifier, former bearers with an asterisk
CREATE VIEW people AS
SELECT string_agg(name, ' ' ORDER BY name COLLATE "C") AS person, count(*) AS nodes FROM (
	SELECT n.profile_id, i.namespace || ':' || i.value AS name FROM cdp_data.node n JOIN cdp_data.identifier i USING (node_id)
	UNION ALL SELECT n.profile_id, r.namespace || ':' || r.value || '*' FROM cdp_data.node n JOIN cdp_data.identifier_retired r USING (node_id)) x
GROUP BY profile_id;
CREATE FUNCTION anew() RETURNS void LANGUAGE sql AS $$
	TRUNCATE cdp_data.identifier, cdp_data.node, cdp_data.identity_edge, cdp_data.identity_merge, cdp_data.profile_merged,
		cdp_data.profile, cdp_data.profile_state, cdp_data.event, cdp_data.message_seen, cdp_data.segment_member, cdp_data.segment_chunk, cdp_data.segment_delta, cdp_data.segment_before,
		cdp_data.node_history, cdp_data.identifier_retired, cdp_data.identity_separation, cdp_data.separation_node, cdp_data.outbox
$$;

--
-- Two people come back from one at once: she stays in her segments
--
SELECT cdp.track(w, 'Visit', at => '2026-01-01') > 0 AS taken FROM unnest('{login:ada,cookie:k1,cookie:k2}'::text[]) w;
SELECT cdp.track('{login:ada,cookie:k1,cookie:k2}', 'Visit', at => '2026-01-10') > 0 AS taken;
TABLE people ORDER BY 1;
SELECT cdp.track('{login:bob,cookie:k1}', 'Visit', at => '2026-01-05') > 0 AS taken;
TABLE people ORDER BY 1;
SELECT count(*) AS members, count(*) FILTER (WHERE p.segments = '{seen}') AS reflected
FROM cdp.segment_members m JOIN cdp.profiles p USING (profile_id);
SELECT anew();

--
-- What expired was hers as long as it lived: the refused link of then stays refused
--
SELECT cdp.track('{mail:a,mail:b}', 'Visit', at => '2026-01-01') > 0 AS taken;
TABLE people ORDER BY 1;
SELECT cdp.track('mail:b', 'Visit', at => '2026-02-01') > 0 AS taken;
-- whatever resolves her again
SELECT cdp.unlink('mail:a', 'mail:b');
TABLE people ORDER BY 1;
-- and counts again when the time to live is no more, but not what was removed
SELECT cdp.track('{mail:c,cookie:k3}', 'Visit', at => '2026-01-01') > 0 AS taken;
SELECT cdp.track('{mail:d,cookie:k3}', 'Visit', at => '2026-02-01') = cdp.resolve('cookie:k3') AS fits;
SELECT cdp.track('mail:c', 'Visit', at => '2026-02-02') <> cdp.resolve('cookie:k3') AS somebody_else;
SELECT cdp.track('{login:eve,cookie:k4}', 'Visit', at => '2026-01-01') > 0 AS taken;
SELECT cdp.remove_identifier('login:eve') > 0 AS removed;
SELECT cdp.track('{login:eva,cookie:k4}', 'Visit', at => '2026-02-01') = cdp.resolve('cookie:k4') AS fits;
TABLE people ORDER BY 1;
SELECT cdp.define_namespace('mail', ttl => '0');
SELECT cdp.apply_rules() > 0 AS task;
CALL cdp.maintain();
TABLE people ORDER BY 1;
SELECT cdp.define_namespace('mail', ttl => '10 days');
SELECT anew();

--
-- Removed after it had expired: it ended when it expired
--
SELECT cdp.track('mail:a', 'Visit', at => '2026-01-01') > 0 AS taken;
SELECT cdp.remove_identifier('mail:a') > 0 AS removed;
SELECT cdp.track('mail:a', 'Visit', at => '2026-02-01') AS second, cdp.track('mail:a', 'Visit', at => '2026-03-01') AS third,
	cdp.track('mail:a', 'Visit', at => '2026-02-02') AS second_again;
SELECT value, born, ended FROM (SELECT value, born, ended FROM cdp_data.identifier_retired UNION ALL SELECT value, born, ended FROM cdp_data.identifier) x
ORDER BY born NULLS FIRST;
SELECT anew();

--
-- A batch mentions who bore a value and who bears it next: each has her own times
--
SELECT cdp.track('login:eve', 'Visit', at => '2026-01-10') > 0 AS taken;
SELECT cdp.remove_identifier('login:eve') > 0 AS removed;
SET cdp.clock = '2026-03-05';
SELECT status FROM cdp.ingest('[{"type": "track", "event": "Visit", "messageId": "b1", "timestamp": "2026-01-01T00:00:00Z", "context": {"externalIds": [{"type": "login", "id": "eve"}]}},
	{"type": "track", "event": "Visit", "messageId": "b2", "timestamp": "2026-03-04T00:00:00Z", "context": {"externalIds": [{"type": "login", "id": "eve"}]}}]');
SELECT 'former' AS bearer, first_seen, last_seen FROM cdp_data.identifier_retired UNION ALL SELECT 'present', first_seen, last_seen FROM cdp_data.identifier;
SELECT anew();

--
-- An override is about those who are called so now: separations of former bearers stand
--
SET cdp.clock = '2026-03-06';
SELECT cdp.track('{login:ann,cookie:k5}', 'Visit', at => '2026-01-01') > 0 AS taken;
SELECT cdp.unlink('login:ann', 'cookie:k5') AS parted;
SELECT cdp.remove_identifier('login:ann') > 0 AS removed, cdp.remove_identifier('cookie:k5') > 0 AS removed;
SET cdp.clock = '2026-03-07';
SELECT cdp.merge('{login:ann,cookie:k5}', 'two others', override => true) AS merged;
SELECT count(*) AS separations, count(revoked_at) AS revoked FROM cdp_data.identity_separation;
TABLE people ORDER BY 1;
SELECT anew();

--
-- Who is named by profile id is meant, expired or not, before she was called so or after
--
SELECT cdp.track('mail:x', 'Visit', at => '2026-01-01') AS x, cdp.track('mail:y', 'Visit', at => '2026-01-02') AS y \gset
SELECT cdp.track(:x::bigint, 'Visit', at => '2026-02-01') = :x AS the_same;
SELECT cdp.define_namespace('mail', max_per_profile => 2);
SELECT cdp.merge(:x, :y, 'one person') > 0 AS merged;
SELECT cdp.canonical(:y) = :x AS one;
SELECT cdp.remove_identifier('mail:x') = :x AS removed;
SET cdp.clock = '2026-03-10';
SELECT cdp.track('mail:x', 'Visit', at => '2026-03-09') AS z \gset
SELECT cdp.track(:z::bigint, 'Visit', at => '2026-01-03') = :z AS the_same;
TABLE people ORDER BY 1;
SELECT anew();

--
-- Whose time was over, named by id: it was not over, and what came meanwhile is decided again
--
SET cdp.clock = '2026-01-21';
SELECT cdp.define_namespace('mail', ttl => '10 days', unique_per_profile => true);
SELECT cdp.track('{mail:a,cookie:k}', 'Visit', at => '2026-01-01') AS she \gset
SELECT cdp.track('{mail:b,cookie:k}', 'Visit', at => '2026-01-20') = :she AS the_same;
TABLE people ORDER BY 1;
SELECT cdp.track(:she::bigint, 'Visit', at => '2026-01-21') = :she AS the_same;
TABLE people ORDER BY 1;
SELECT anew();

--
-- A smaller limit of identifiers looks at what was removed, too: it is still hers
--
SELECT cdp.define_namespace('mail', ttl => '0', max_per_profile => 0), cdp.define_namespace('login', max_per_profile => 0);
SELECT cdp.track(w, 'Visit', at => a::timestamptz) > 0 AS taken FROM (VALUES ('{mail:a,cookie:k}'::text[], '2026-01-01'), ('{cookie:k,login:l}', '2026-01-02')) v (w, a);
SELECT cdp.remove_identifier('mail:a') > 0 AS removed;
SELECT cdp.set_identity_limits(max_identifiers => 2);
SELECT cdp.apply_rules() > 0 AS task;
CALL cdp.maintain();
TABLE people ORDER BY 1;

SELECT anew();

--
-- A value that is nobody's from now on, of a person who stays as she is: her event goes to another who does, too
--
SELECT cdp.set_identity_limits(max_identifiers => 1000), cdp.define_namespace('login', max_per_profile => 1);
SELECT cdp.track(w, 'Visit', at => a::timestamptz) AS person FROM (VALUES ('{login:a,mail:m}'::text[], '2026-01-01'), ('{login:u9,mail:m}', '2026-01-02')) v (w, a);
SELECT cdp.define_namespace('login', blocked => '{u9}');
SELECT cdp.apply_rules() > 0 AS task;
CALL cdp.maintain();
SELECT events, last_seen, identifiers FROM cdp.profiles ORDER BY profile_id;
SELECT * FROM cdp.verify(1);

-- what holds always holds: no rows
\getenv abs_srcdir PG_ABS_SRCDIR
\set invariants :abs_srcdir '/docs/invariants.sql'
\pset tuples_only on
\pset format unaligned
\set ECHO none
\i :invariants
