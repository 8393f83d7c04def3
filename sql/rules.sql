-- Who may be one person: rules of namespaces, what they do to linking, and what
-- people do to it: merge, unmerge, unlink, remove.
SET client_min_messages = warning;
\set SHOW_CONTEXT never
\set main :DBNAME
DROP DATABASE IF EXISTS regress_rules;
CREATE DATABASE regress_rules TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_rules
SET client_min_messages = warning;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, YMD';
CREATE EXTENSION cdp;
SELECT count(*) > 0 AS init FROM cdp.init();
SET cdp.clock = '2026-06-01 12:00:00+00';

CREATE ROLE regress_rules_ingest;
CREATE ROLE regress_rules_app;
CREATE ROLE regress_rules_analyst;
CREATE ROLE regress_rules_service;
CREATE ROLE regress_rules_privacy;
CREATE ROLE regress_rules_nobody;
SELECT cdp.provision('regress_rules_ingest', 'ingest'), cdp.provision('regress_rules_app', 'app'), cdp.provision('regress_rules_analyst', 'analyst'),
	cdp.provision('regress_rules_service', 'service'), cdp.provision('regress_rules_privacy', 'privacy');

--
-- The scenarios of others.  Each file's rules become a configuration; a case
-- is run in its own order, backwards, shuffled and in batches, by a role that
-- may only write.  What must be one person, or different ones, must be so in
-- every order.
--
CREATE SCHEMA scenario;
CREATE TABLE scenario.defaults AS TABLE cdp_data.namespace;
CREATE TABLE scenario.wrong (case_id text, arrangement text, problem text);

-- back to an empty database with the rules it came with
CREATE FUNCTION scenario.reset() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	TRUNCATE cdp_data.identifier, cdp_data.identifier_retired, cdp_data.node, cdp_data.node_history, cdp_data.identity_edge, cdp_data.identity_merge,
		cdp_data.identity_separation, cdp_data.separation_node, cdp_data.profile_merged, cdp_data.profile, cdp_data.profile_state,
		cdp_data.event, cdp_data.message_seen, cdp_data.rejected, cdp_data.segment_chunk, cdp_data.segment_delta RESTART IDENTITY;
	ALTER SEQUENCE cdp_data.node_id_seq RESTART;
	ALTER SEQUENCE cdp_data.profile_id_seq RESTART;
	ALTER SEQUENCE cdp_data.merge_id_seq RESTART;
	ALTER SEQUENCE cdp_data.ord_seq RESTART;
	DELETE FROM cdp_data.namespace;
	INSERT INTO cdp_data.namespace SELECT * FROM scenario.defaults;
END $$;

-- The rules of a case: one entry for each namespace, limit or unique_per_graph
-- (the newest link wins there), and blocked values as patterns.
CREATE FUNCTION scenario.configure(c jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	n jsonb;
BEGIN
	PERFORM cdp.define_namespace('*', max_per_profile => 0);
	IF c ? 'blocked_values' THEN
		PERFORM cdp.define_namespace('*', blocked => ARRAY(SELECT regexp_replace(v, ' \(regex\)$', '') FROM jsonb_array_elements_text(c->'blocked_values') v));
	END IF;
	FOR n IN SELECT * FROM jsonb_array_elements(c->'config') LOOP
		PERFORM cdp.define_namespace(n->>'namespace', priority => (n->>'priority')::int,
			max_per_profile => coalesce((n->>'limit')::int, (n->>'unique_per_graph')::boolean::int),
			period => (n->>'period')::interval,
			on_conflict => coalesce(n->>'on_conflict', CASE WHEN n ? 'unique_per_graph' THEN 'newest_wins' ELSE 'demote' END));
	END LOOP;
END $$;

-- Events in an order of arrival; of one arrangement in batches of three.
CREATE FUNCTION scenario.deliver(c jsonb, arrangement text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	e record;
	batch jsonb := '[]';
BEGIN
	PERFORM setseed(length(arrangement) / 100.0 + ascii(right(arrangement, 1)) / 1000.0);
	PERFORM set_config('role', 'regress_rules_ingest', true);
	FOR e IN SELECT x.seq, coalesce((x.e->>'time')::timestamptz, timestamptz '2026-01-01' + x.seq * interval '1 hour') AS at,
				row_number() OVER () AS n,
				ARRAY(SELECT (i->>'namespace') || ':' || (i->>'id') FROM jsonb_array_elements(x.e->'identities') i) AS who,
				(SELECT jsonb_agg(jsonb_build_object('type', i->>'namespace', 'id', i->>'id')) FROM jsonb_array_elements(x.e->'identities') i) AS ids
			FROM (SELECT v.e, (v.e->>'seq')::int AS seq FROM jsonb_array_elements(c->'events') v (e)
				ORDER BY CASE arrangement WHEN 'in order' THEN (v.e->>'seq')::int WHEN 'reversed' THEN -(v.e->>'seq')::int ELSE random() * 1e6 END, 2) x LOOP
		IF arrangement LIKE 'batches%' THEN
			batch := batch || jsonb_build_object('type', 'track', 'event', 'E', 'messageId', e.seq, 'timestamp', e.at, 'context', jsonb_build_object('externalIds', e.ids));
			IF e.n % 3 = 0 THEN
				PERFORM cdp.ingest(batch, 'scenario');
				batch := '[]';
			END IF;
		ELSIF e.seq % 2 = 0 THEN
			PERFORM cdp.track(e.who, 'E', at => e.at, message_id => e.seq::text, source => 'scenario');
		ELSE
			PERFORM cdp.ingest(jsonb_build_object('type', 'track', 'event', 'E', 'messageId', e.seq, 'timestamp', e.at, 'context', jsonb_build_object('externalIds', e.ids)), 'scenario');
		END IF;
	END LOOP;
	IF batch <> '[]' THEN
		PERFORM cdp.ingest(batch, 'scenario');
	END IF;
	PERFORM set_config('role', 'none', true);
END $$;

CREATE FUNCTION scenario.judge(c jsonb) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT format('not one: %s', s) FROM jsonb_array_elements(c->'expected'->'same_profile') s
	WHERE (SELECT count(DISTINCT cdp.resolve(i)) <> 1 OR bool_or(cdp.resolve(i) IS NULL) FROM jsonb_array_elements_text(s) i)
	UNION ALL
	SELECT format('one, or nobody: %s', d) FROM jsonb_array_elements(c->'expected'->'different_profile') d
	WHERE (cdp.resolve(d->>0) <> cdp.resolve(d->>1)) IS NOT TRUE
$$;

CREATE FUNCTION scenario.run(c jsonb) RETURNS TABLE (case_id text, checks bigint, wrong bigint) LANGUAGE plpgsql AS $$
DECLARE
	a text;
BEGIN
	FOREACH a IN ARRAY '{in order,reversed,shuffled 1,shuffled 2,shuffled 3,shuffled 4,shuffled 5,batches 1,batches 2}'::text[] LOOP
		PERFORM scenario.reset();
		PERFORM scenario.configure(c);
		PERFORM scenario.deliver(c, a);
		INSERT INTO scenario.wrong SELECT c->>'id', a, j FROM scenario.judge(c) j;
	END LOOP;
	PERFORM scenario.reset();
	RETURN QUERY SELECT c->>'id', 9 * (jsonb_array_length(c->'expected'->'same_profile') + jsonb_array_length(c->'expected'->'different_profile'))::bigint,
		(SELECT count(*) FROM scenario.wrong w WHERE w.case_id = c->>'id');
END $$;

-- A table of rows with a key in each column, and the components it makes.
CREATE FUNCTION scenario.from_rows(c jsonb) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('id', c->'id',
		'config', coalesce((SELECT jsonb_agg(jsonb_build_object('namespace', k, 'priority', o,
				'limit', CASE WHEN k = c->>'do_not_merge_key' THEN 1 ELSE 0 END, 'on_conflict', CASE WHEN k = c->>'do_not_merge_key' THEN 'reject' ELSE 'demote' END))
			FROM jsonb_array_elements_text(c->'keys') WITH ORDINALITY x (k, o)), '[]'),
		'events', (SELECT jsonb_agg(jsonb_build_object('seq', r.o, 'time', r.row->'time', 'identities',
				(SELECT jsonb_agg(jsonb_build_object('namespace', k, 'id', r.row->>k)) FROM jsonb_array_elements_text(c->'keys') k WHERE r.row->>k IS NOT NULL)))
			FROM jsonb_array_elements(c->'rows') WITH ORDINALITY r (row, o)
			WHERE EXISTS (SELECT FROM jsonb_array_elements_text(c->'keys') k WHERE r.row->>k IS NOT NULL)),
		'expected', jsonb_build_object('same_profile', c->'expected_components', 'different_profile',
			(SELECT coalesce(jsonb_agg(jsonb_build_array(a.m->0, b.m->0)), '[]') FROM jsonb_array_elements(c->'expected_components') WITH ORDINALITY a (m, o)
				JOIN jsonb_array_elements(c->'expected_components') WITH ORDINALITY b (m, o) ON a.o < b.o)))
$$;

\getenv abs_srcdir PG_ABS_SRCDIR
\set file :abs_srcdir '/test/data/identity-adobe.json'
\set content `cat :'file'`
SELECT r.* FROM jsonb_array_elements(:'content'::jsonb->'cases') c, scenario.run(c) r;
\set file :abs_srcdir '/test/data/identity-segment.json'
\set content `cat :'file'`
SELECT r.* FROM jsonb_array_elements(:'content'::jsonb->'cases') c, scenario.run(c) r;
\set file :abs_srcdir '/test/data/identity-treasuredata.json'
\set content `cat :'file'`
SELECT r.* FROM jsonb_array_elements(:'content'::jsonb->'cases') c, scenario.run(scenario.from_rows(c)) r;
SELECT * FROM scenario.wrong;

-- reject: who would bring two values together brings nobody together
SELECT r.* FROM (VALUES ('{"id": "do-not-merge", "keys": ["account", "cookie"], "do_not_merge_key": "account", "rows": [
	{"time": "2026-01-01", "account": "a1", "cookie": "c1"}, {"time": "2026-01-02", "account": "a2", "cookie": "c2"},
	{"time": "2026-01-03", "account": "a2", "cookie": "c1"}, {"time": "2026-01-04", "account": null, "cookie": "c1"},
	{"time": "2026-01-05", "account": "a1", "cookie": "c3"}, {"time": "2026-01-06", "account": "a2", "cookie": "c3"}],
	"expected_components": [["account:a1", "cookie:c1", "cookie:c3"], ["account:a2", "cookie:c2"]]}'::jsonb)) v (c), scenario.run(scenario.from_rows(c)) r;
-- and names three: with demote the second would join
SELECT r.* FROM (VALUES ('reject', '[["crm:1", "email:x@x.y"]]'::jsonb, '[["crm:1", "crm:2"], ["crm:2", "email:y@x.y"], ["crm:1", "email:y@x.y"]]'::jsonb), ('demote', '[["crm:1", "email:x@x.y", "email:y@x.y"]]', '[["crm:1", "crm:2"]]'),
	('newest_wins', '[["crm:2", "email:x@x.y", "email:y@x.y"]]', '[["crm:1", "crm:2"]]')) v (policy, same, different),
	scenario.run(jsonb_build_object('id', 'three by ' || policy, 'config', jsonb_build_array(jsonb_build_object('namespace', 'email', 'priority', 1, 'limit', 0),
		jsonb_build_object('namespace', 'crm', 'priority', 2, 'limit', 1, 'on_conflict', policy)),
		'events', '[{"seq": 1, "identities": [{"namespace": "crm", "id": "1"}, {"namespace": "email", "id": "x@x.y"}]},
			{"seq": 2, "identities": [{"namespace": "crm", "id": "2"}, {"namespace": "email", "id": "x@x.y"}, {"namespace": "email", "id": "y@x.y"}]}]'::jsonb,
		'expected', jsonb_build_object('same_profile', same, 'different_profile', different))) r;
-- a limit with a period, in any order: the third of a day is refused, and let in by the next day's message
SELECT r.* FROM (VALUES ('{"id": "period", "config": [{"namespace": "u", "priority": 1, "limit": 0}, {"namespace": "ip", "priority": 2, "limit": 2, "period": "1 day"}], "events": [
	{"seq": 1, "time": "2026-01-01 10:00", "identities": [{"namespace": "u", "id": "1"}, {"namespace": "ip", "id": "1"}]},
	{"seq": 2, "time": "2026-01-01 11:00", "identities": [{"namespace": "u", "id": "1"}, {"namespace": "ip", "id": "2"}]},
	{"seq": 3, "time": "2026-01-01 12:00", "identities": [{"namespace": "u", "id": "1"}, {"namespace": "ip", "id": "3"}]},
	{"seq": 4, "time": "2026-01-02 10:30", "identities": [{"namespace": "u", "id": "1"}, {"namespace": "ip", "id": "4"}]},
	{"seq": 5, "time": "2026-01-02 10:45", "identities": [{"namespace": "u", "id": "1"}, {"namespace": "ip", "id": "5"}]},
	{"seq": 6, "time": "2026-01-02 13:00", "identities": [{"namespace": "u", "id": "1"}, {"namespace": "ip", "id": "3"}]}],
	"expected": {"same_profile": [["u:1", "ip:1", "ip:2", "ip:4", "ip:3"]], "different_profile": [["u:1", "ip:5"]]}}'::jsonb)) v (c), scenario.run(c) r;
-- of two namespaces of one priority the first by name says what happens, whichever was seen first
SELECT r.* FROM (VALUES ('{"id": "one priority", "config": [{"namespace": "e", "priority": 1, "limit": 0}, {"namespace": "a", "priority": 3, "limit": 1, "on_conflict": "newest_wins"}, {"namespace": "b", "priority": 3, "limit": 1, "on_conflict": "reject"}], "events": [
	{"seq": 1, "identities": [{"namespace": "b", "id": "1"}]}, {"seq": 2, "identities": [{"namespace": "e", "id": "1"}, {"namespace": "a", "id": "1"}, {"namespace": "b", "id": "1"}]},
	{"seq": 3, "identities": [{"namespace": "e", "id": "2"}, {"namespace": "a", "id": "2"}, {"namespace": "b", "id": "2"}]}, {"seq": 4, "identities": [{"namespace": "e", "id": "1"}, {"namespace": "e", "id": "2"}]}],
	"expected": {"same_profile": [["e:1", "e:2", "a:2", "b:2"]], "different_profile": [["a:1", "a:2"], ["b:1", "b:2"], ["a:1", "b:1"]]}}'::jsonb)) v (c), scenario.run(c) r;
SELECT * FROM scenario.wrong;

--
-- Rules by default
--
SELECT name, priority, max_per_profile, period, on_conflict, ttl, normaliser FROM cdp.namespaces ORDER BY priority, name;
-- what nobody is called by, each with somebody beside it; what is left of the message counts, and the event keeps what was left out
CREATE TABLE probe (n serial, who text, blocked boolean);
INSERT INTO probe (who, blocked) SELECT w, true FROM unnest(ARRAY['crm:0', 'crm:00', 'crm:-', 'crm:--', 'crm:00000000-0000-0000-0000-000000000000', 'crm:-1', 'crm:null', 'crm:NULL', 'crm:Nil', 'crm:none', 'crm:undefined',
	'crm:Unknown', 'crm:anonymous', 'crm:n/a', 'crm:NA', 'crm:NaN', 'crm:(null)', 'crm:[object Object]', 'crm:?', 'crm:???', 'crm:***', 'crm:...', 'user_id:anonymous', 'anonymous_id:null', 'device_id:00000000-0000-0000-0000-000000000000',
	'email:test@test.com', 'email:TEST@test.DE', 'email:noreply@shop.example', 'email:no-reply@shop.example', 'email:noemail@shop.example', 'email:none@none.com', 'email:null@x.y', 'email:unknown@x.y', 'email:undefined@x.y', 'email:anonymous@x.y',
	'email:me@localhost', 'email:me@invalid', 'email:somebody@noemail.com', 'email:null', 'email:-', 'phone:0000000', 'phone:+0000000000', 'phone:+1 0000000000', 'phone:+819999999', 'phone:111111', 'phone:+44555555555', 'phone:unknown']) w;
INSERT INTO probe (who, blocked) SELECT w, false FROM unnest(ARRAY['crm:1', 'crm:01', 'crm:0a', 'crm:-2', 'crm:x', 'crm:test', 'crm:nobody', 'crm:nullable', 'crm:anonymous2', 'crm:unknown user', 'crm:nana', 'crm:!', 'crm:[object]', 'user_id:test', 'user_id:admin', 'user_id:guest7',
	'anonymous_id:b4a8', 'email:ada@example.com', 'email:test@example.com', 'email:ada@test.com', 'email:contest@test.com', 'email:reply@shop.example', 'email:nonesuch@x.y', 'email:noreplyada@x.y', 'email:me@localhost.example', 'email:me@noemail.com.example', 'email:x',
	'phone:+819012345678', 'phone:+15550000001', 'phone:12345', 'phone:+4915112345678', 'phone:00001']) w;
SELECT count(*) FROM probe p, cdp.ingest(jsonb_build_object('type', 'track', 'event', 'E', 'messageId', 'probe ' || p.n, 'timestamp', '2026-03-01', 'context',
	jsonb_build_object('externalIds', jsonb_build_array(jsonb_build_object('type', 'probe', 'id', 'probe ' || p.n), jsonb_build_object('type', split_part(p.who, ':', 1), 'id', substr(p.who, position(':' in p.who) + 1))))), 'probe') i WHERE i.status = 'accepted';
SELECT p.who, p.blocked AS should_be, e.blocked, cdp.resolve(p.who) IS NOT NULL AS known FROM probe p LEFT JOIN cdp_data.event e ON e.source = 'probe' AND e.message_id = 'probe ' || p.n
WHERE p.blocked <> (e.blocked IS NOT NULL) OR p.blocked = (cdp.resolve(p.who) IS NOT NULL) ORDER BY p.n;
SELECT p.who, e.blocked FROM probe p JOIN cdp_data.event e ON e.source = 'probe' AND e.message_id = 'probe ' || p.n WHERE p.who IN ('crm:Nil', 'email:TEST@test.DE', 'phone:+1 0000000000') ORDER BY p.n;
-- nobody but blocked: refused with the reason, and the payload is kept; a call raises
SET ROLE regress_rules_ingest;
SELECT message_id, status, profile_id FROM cdp.ingest('[{"messageId": "b1", "type": "track", "event": "E", "userId": "null"},
	{"messageId": "b2", "type": "identify", "anonymousId": "0", "traits": {"email": "noreply@x.y"}}, {"messageId": "b3", "type": "track", "event": "E", "userId": "u", "anonymousId": "undefined"}]', 'blocked');
SELECT cdp.track('user_id:null', 'E');
SELECT cdp.identify(ARRAY['email:test@test.com', 'phone:0000000'], '{"a": 1}');
RESET ROLE;
SELECT message_id, reason, detail, payload->>'type' AS type FROM cdp.rejected WHERE source = 'blocked' ORDER BY 1;
-- the id of a refused message is free: when the rules change it may come again
SELECT cdp.define_namespace('user_id', blocked => '{}'), cdp.define_namespace('*', blocked => '{none}');
SELECT message_id, status FROM cdp.ingest('{"messageId": "b1", "type": "track", "event": "E", "userId": "null"}', 'blocked');
SELECT name, blocked FROM cdp.namespaces WHERE name IN ('*', 'user_id', 'email') ORDER BY 1;
SELECT scenario.reset();

--
-- define_namespace
--
CREATE FUNCTION try(query text, role text DEFAULT 'none') RETURNS TABLE (answer text, message text, detail text, hint text) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('role', role, true);
	EXECUTE query INTO answer;
	PERFORM set_config('role', 'none', true);
	answer := coalesce('= ' || answer, '= null');
	RETURN NEXT;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS answer = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	PERFORM set_config('role', 'none', true);
	detail := nullif(detail, '');
	hint := nullif(hint, '');
	RETURN NEXT;
END $$;
\x on
SELECT q, t.* FROM unnest(ARRAY['NULL', '''''', '''1a''', '''a b''', '''ü''', repeat('x', 64)]) q, try(format('SELECT cdp.define_namespace(%s)', CASE WHEN q LIKE 'x%' THEN quote_literal(q) ELSE q END)) t;
SELECT q, t.* FROM unnest(ARRAY['unique_per_profile => true, max_per_profile => 2', 'unique_per_profile => true, max_per_profile => 0', 'max_per_profile => -1', 'period => ''-1 day''', 'ttl => ''-1 s''', 'on_conflict => ''merge''', 'on_conflict => ''''',
	'normaliser => ''soundex''', 'blocked => ARRAY[NULL::text]', 'blocked => ARRAY['''']', 'blocked => ARRAY[repeat(''x'', 513)]', 'blocked => ARRAY[''(a'']', 'blocked => ARRAY[''(a)\1'']', 'blocked => ARRAY[''***=a'']']) q,
	try(format('SELECT cdp.define_namespace(''n'', %s)', q)) t;
\x off
SELECT count(*) AS none_was_defined FROM cdp.namespaces WHERE name = 'n';
SELECT r, t.* FROM unnest('{regress_rules_ingest,regress_rules_app,regress_rules_analyst,regress_rules_service,regress_rules_privacy,regress_rules_nobody}'::text[]) r, try('SELECT cdp.define_namespace(''n'')', r) t;
-- what is not given stays, 0 means none, names are as identifiers have them
SELECT cdp.define_namespace(' CRM ', priority => 5, max_per_profile => 2, period => '1 month', blocked => '{x+,y}', ttl => '1 year', on_conflict => 'reject');
SELECT * FROM cdp.namespaces WHERE name = 'crm';
SELECT cdp.define_namespace('crm');
SELECT cdp.define_namespace('crm', unique_per_profile => false, period => '0', ttl => '0', on_conflict => 'demote');
SELECT name, priority, max_per_profile, period, on_conflict, ttl FROM cdp.namespaces WHERE name = 'crm';
SELECT cdp.define_namespace('crm', unique_per_profile => true), cdp.define_namespace('crm', blocked => '{}', normaliser => 'width');
SELECT name, priority, max_per_profile, normaliser, blocked = (SELECT blocked FROM cdp.namespaces WHERE name = '*') AS blocked_as_others FROM cdp.namespaces WHERE name = 'crm';
SELECT scenario.reset();

--
-- Limits, as they are
--
-- a person of two logins is two: each keeps what she had, what both name stays with the first
SELECT cdp.identify('{user_id:ann,email:home@example.com}', '{"name": "Ann"}', '2026-03-01', 'l1') AS ann, cdp.identify('{user_id:ben,email:home@example.com,anonymous_id:tv}', '{"name": "Ben"}', '2026-03-02', 'l2') AS ben;
SELECT i.profile_id, i.namespace, i.value FROM cdp.identifiers i ORDER BY 1, 2;
SELECT profile_id, events, traits, identifiers FROM cdp.profiles ORDER BY 1;
-- the event is filed under its most important identifier, and keeps the others
SELECT e.message_id, i.value, cardinality(e.other_nodes) AS others FROM cdp_data.event e JOIN cdp_data.identifier i USING (node_id) ORDER BY 1;
-- the sixth address of a person is somebody else's; the order of arrival does not matter
SELECT count(cdp.track(ARRAY['user_id:ann', 'email:ann' || i || '@example.com'], 'E', at => timestamptz '2026-03-03' + i * interval '1 hour')) FROM unnest('{6,3,5,1,4,2}'::int[]) i;
SELECT value FROM cdp.identifiers WHERE profile_id = cdp.resolve('user_id:ann') AND namespace = 'email' ORDER BY 1;
-- … nor do batches
SELECT count(*) FROM cdp.ingest((SELECT jsonb_agg(jsonb_build_object('type', 'track', 'event', 'E', 'userId', 'bob', 'timestamp', timestamptz '2026-03-03' + i * interval '1 hour', 'context', jsonb_build_object('traits', jsonb_build_object('email', 'bob' || i || '@example.com')))) FROM unnest('{6,3,5,1,4,2}'::int[]) i));
SELECT value FROM cdp.identifiers WHERE profile_id = cdp.resolve('user_id:bob') AND namespace = 'email' ORDER BY 1;
-- a message that comes late takes its place, and the others follow
SELECT cdp.track(ARRAY['user_id:ann', 'email:ann0@example.com'], 'E', at => timestamptz '2026-03-03 00:30') = cdp.resolve('user_id:ann') AS ann;
SELECT value, profile_id = cdp.resolve('user_id:ann') AS hers FROM cdp.identifiers WHERE value LIKE 'ann_@%' ORDER BY 1;
SELECT cdp.track('{user_id:ben,email:home@example.com}', 'E', at => '2026-02-01', message_id => 'l0') AS "id of the visitor at the tv, the older one";
SELECT i.value, i.profile_id = cdp.resolve('user_id:ben') AS bens FROM cdp.identifiers i WHERE value IN ('ann', 'ben', 'home@example.com', 'tv') ORDER BY 1;
SELECT p.identifiers->'user_id' AS who, p.events, p.traits FROM cdp.profiles p WHERE profile_id IN (cdp.resolve('user_id:ann'), cdp.resolve('user_id:ben')) ORDER BY 1;
-- two people, three identifiers: why
SELECT * FROM cdp.explain_identity('user_id:ben');
SELECT namespace, value, refused_links, people, reasons, suggestion FROM cdp.identity_conflicts ORDER BY 1, 2;
SELECT cdp.identity_graph('user_id:ben');
SELECT cdp.identity_graph('user_id:ben', 'dot');
-- what is shown cannot leave its quotes
SELECT cdp.identify(ARRAY['user_id:q', 'crm:"]; x["', 'crm:<b>&\"'], at => '2026-03-01') > 0 AS ok;
SELECT cdp.identity_graph('user_id:q'), cdp.identity_graph('user_id:q', 'dot');
SELECT cdp.identity_graph('user_id:nobody') AS nobody, (SELECT count(*) FROM cdp.explain_identity('user_id:nobody')) AS nothing;
SELECT t.* FROM unnest('{svg,NULL}'::text[]) f, try(format('SELECT cdp.identity_graph(''user_id:q'', %L)', f)) t;
-- a batch of two groups that have nothing to do with each other, but for what was refused before: with a place
-- free at "full" the sixth address comes to her, and so does what the other group says of it
SELECT scenario.reset();
SELECT count(cdp.track(ARRAY['user_id:full', 'email:' || i || '@x.y'], 'E', at => timestamptz '2026-03-03' + i * interval '1 hour')) FROM generate_series(1, 6) i;
SELECT cdp.track('{email:6@x.y,crm:6}', 'E', at => '2026-03-04') > 0 AS ok;
SELECT status FROM cdp.ingest('[{"type": "track", "event": "E", "timestamp": "2026-03-05", "context": {"externalIds": [{"type": "email", "id": "6@x.y"}, {"type": "line", "id": "6"}]}},
	{"type": "track", "event": "E", "timestamp": "2026-03-01", "userId": "first", "context": {"externalIds": [{"type": "email", "id": "1@x.y"}]}}]');
SELECT identifiers, events FROM cdp.profiles ORDER BY profile_id;
SELECT count(*) AS nodes_of_nobody FROM cdp_data.node n WHERE NOT EXISTS (SELECT FROM cdp_data.profile_state s WHERE s.profile_id = n.profile_id);
-- a hub: so many logins at one address that it is hardly anybody's
SELECT scenario.reset();
SELECT count(cdp.track(ARRAY['user_id:u' || i, 'email:all@x.y'], 'E', at => timestamptz '2026-03-03' + i * interval '1 hour')) FROM generate_series(1, 21) i;
SELECT count(cdp.track(ARRAY['user_id:v' || i, 'device_id:tv'], 'E', at => timestamptz '2026-03-03' + i * interval '1 hour')) FROM generate_series(1, 6) i;
SELECT namespace, value, refused_links, people, reasons, suggestion FROM cdp.identity_conflicts ORDER BY people DESC, 2 LIMIT 3;
SELECT scenario.reset();
-- so many identifiers, and no more
SELECT t.* FROM unnest(ARRAY['0', '100001', 'NULL, 999', 'NULL, 1000001']) a, try(format('SELECT cdp.set_identity_limits(%s)', a)) t;
SELECT t.* FROM unnest('{regress_rules_app,regress_rules_privacy}'::text[]) r, try('SELECT cdp.set_identity_limits(5)', r) t;
SELECT cdp.set_identity_limits(max_identifiers => 4), cdp.define_namespace('*', max_per_profile => 0);
SELECT count(DISTINCT cdp.track(ARRAY['crm:big', 'x:' || i], 'E', at => timestamptz '2026-03-03' + i * interval '1 hour')) FROM unnest('{5,2,4,1,3}'::int[]) i;
SELECT profile_id = cdp.resolve('crm:big') AS hers, string_agg(namespace || ':' || value, ' ' ORDER BY namespace, value) FROM cdp.identifiers GROUP BY 1, profile_id ORDER BY 1 DESC, 2;
SELECT DISTINCT refused FROM cdp.identity_edges ORDER BY 1;
SELECT what, identifier, other, why FROM cdp.explain_identity('x:5');
SELECT cdp.set_identity_limits(1000), scenario.reset();

--
-- merge
--
SELECT cdp.identify('{user_id:ada,email:ada@example.com}', '{"name": "Ada", "city": "Oslo"}', '2026-03-01', 'm1') AS ada, cdp.identify('{anonymous_id:web,phone:+4712345678}', '{"city": "Rome"}', '2026-03-02', 'm2') AS visitor, cdp.identify('user_id:bob', at => '2026-03-03') AS bob;
\x on
SELECT q, t.* FROM unnest(ARRAY['''user_id:ada'', ''x''', '''{user_id:ada}'', ''x''', '''{}'', ''x''', '''{user_id:ada,anonymous_id:web}'', NULL', '''{user_id:ada,anonymous_id:web}'', ''''', 'ARRAY[''user_id:ada'',''anonymous_id:web''], repeat(''x'', 2001)',
	'''{user_id:ada,anonymous_id:web}'', ''x'', override => NULL', 'NULL::text, ''x''', '1, NULL, ''x''', '1, 99, ''x''', '1, 1, ''x''', '''{user_id:ada,user_id:bob}'', ''x''', '1, 3, ''x''', '''{user_id:ada,user_id:null}'', ''x''', '''{user_id:null,crm:-}'', ''x''',
	'(SELECT array_agg(''x:'' || i) FROM generate_series(1, 101) i), ''x''']) q, try(format('SELECT cdp.merge(%s)', q)) t;
\x off
SELECT count(*) AS nothing_happened FROM cdp.merges;
SELECT count(*) AS people FROM cdp.profiles;
-- who may, and who may not
SELECT r, t.* FROM unnest('{regress_rules_ingest,regress_rules_analyst,regress_rules_service,regress_rules_nobody}'::text[]) r, try('SELECT cdp.merge(''{user_id:ada,anonymous_id:web}'', ''x'')', r) t;
SELECT t.* FROM try('SELECT cdp.merge(''{user_id:ada,user_id:bob}'', ''x'', override => true)', 'regress_rules_app') t;
SELECT t.* FROM try('SELECT cdp.merge(''{user_id:ada,user_id:bob}'', ''x'')', 'regress_rules_privacy') t;
SET cdp.clock = '2026-06-02 12:00:00+00';
SELECT t.* FROM try('SELECT cdp.merge(''{user_id:ada,anonymous_id:web}'', ''asked by phone'')', 'regress_rules_app') t;
SELECT t.* FROM try('SELECT cdp.merge(2, 1, ''again'')', 'regress_rules_app') t;
SELECT merge_id, winner, loser, at, kind, source, reason, actor, identifiers, undone_at FROM cdp.merges;
SELECT profile_id, events, traits, identifiers FROM cdp.profiles ORDER BY 1;
SELECT at, what, identifier, other, why, source FROM cdp.explain_identity('user_id:ada');
SET cdp.clock = '2026-06-03 12:00:00+00';
SELECT t.* FROM try('SELECT cdp.merge(1, 3, ''two logins'', override => true)', 'regress_rules_privacy') t;
SELECT profile_id, identifiers FROM cdp.profiles;
-- who was let beyond the limit still gets other identifiers, but no third login
SELECT cdp.identify('{user_id:bob,crm:7}', at => '2026-06-03 01:00') = cdp.identify('{user_id:ada,crm:8}', at => '2026-06-03 02:00') AS still_one, cdp.identify('{user_id:cid,crm:7}', at => '2026-06-03 03:00') = 1 AS third;

--
-- What a role of each kind sees of it: nobody has consented
--
SELECT r, v, t.answer, t.message FROM unnest('{regress_rules_ingest,regress_rules_app,regress_rules_analyst,regress_rules_service,regress_rules_privacy,regress_rules_nobody}'::text[]) r,
	unnest('{merges,separations,identity_edges,identity_history,identity_conflicts,merged_profiles,namespaces}'::text[]) v, try(format('SELECT count(*) FROM cdp.%I', v), r) t ORDER BY 1, 2;
SELECT r, q, t.answer, t.message FROM unnest('{regress_rules_ingest,regress_rules_app,regress_rules_analyst,regress_rules_service,regress_rules_privacy,regress_rules_nobody}'::text[]) r,
	unnest(ARRAY['SELECT count(*) FROM cdp.explain_identity(''user_id:ada'')', 'SELECT length(cdp.identity_graph(''user_id:ada''))']) q, try(q, r) t ORDER BY 1, 2;
-- … and with consent
SELECT cdp.define_purpose('service'), cdp.set_consent('{user_id:ada}', 'service', 'granted') > 0 AS granted;
SELECT cdp.permit(r::regrole, 'service') FROM unnest('{regress_rules_app,regress_rules_analyst,regress_rules_service,regress_rules_privacy}'::text[]) r;
SELECT r, v, t.answer, t.message FROM unnest('{regress_rules_app,regress_rules_analyst,regress_rules_service,regress_rules_privacy}'::text[]) r,
	unnest('{identity_edges,identity_history,identity_conflicts,merged_profiles}'::text[]) v, try(format('SELECT count(*) FROM cdp.%I', v), r) t ORDER BY 1, 2;
SELECT r, q, t.answer, t.message FROM unnest('{regress_rules_app,regress_rules_analyst,regress_rules_service,regress_rules_privacy}'::text[]) r,
	unnest(ARRAY['SELECT count(*) FROM cdp.explain_identity(''user_id:ada'')', 'SELECT length(cdp.identity_graph(''user_id:ada''))']) q, try(q, r) t ORDER BY 1, 2;

--
-- unmerge: as if it had never been
--
-- Everybody twice: those of world "m" are merged and parted again, those of
-- world "t" never are; all else happens to both.  Afterwards they must be alike.
SELECT scenario.reset();
TRUNCATE cdp_data.consent_log, cdp_data.consent_current, cdp_data.consent_ord, cdp_data.consent_node, cdp_data.segment_member, cdp_data.segment_chunk, cdp_data.segment_delta, cdp_data.segment_before, cdp_data.outbox;
SELECT cdp.define_trait('city', 'text'), cdp.define_trait('plan', 'text', 'oldest'), cdp.define_purpose('ads') > 0 AS ads;
SELECT cdp.define_segment('oslo', predicate => 'city = ''Oslo''') > 0 AS oslo, cdp.define_segment('busy', predicate => 'events >= 4') > 0 AS busy, cdp.define_segment('new', predicate => 'events < 3') > 0 AS new;
SELECT cdp.define_activation('oslo', 'email', 'ads') > 0 AS oslo, cdp.define_activation('busy', 'email', 'ads') > 0 AS busy;
SELECT cdp.provision('regress_rules_service', 'service'), cdp.permit('regress_rules_service', 'ads');

CREATE FUNCTION world(w text) RETURNS TABLE (part text, item text) LANGUAGE sql AS $$
	WITH person AS (
		SELECT p.profile_id, s.ord, s.events, s.first_seen, s.last_seen, s.segments, p.created_at, p.traits, p.trait_meta, to_jsonb(p) - '{profile_id,ord,traits,trait_meta,created_at}'::text[] AS declared,
			(SELECT min(split_part(i.value, '-', 2)) FROM cdp_data.node n JOIN cdp_data.identifier i USING (node_id) WHERE n.profile_id = p.profile_id AND i.value LIKE w || '-%') AS name
		FROM cdp_data.profile p JOIN cdp_data.profile_state s USING (profile_id)),
	mine AS (SELECT *, name AS who FROM person WHERE name IS NOT NULL)
	SELECT 'identifiers', format('%s %s', who, (SELECT string_agg(i.namespace || ':' || replace(i.value, w || '-', ''), ' ' ORDER BY i.namespace, i.value) FROM cdp.identifiers i WHERE i.profile_id = mine.profile_id)) FROM mine
	UNION ALL SELECT 'state', format('%s %s %s %s', who, events, first_seen, last_seen) FROM mine
	UNION ALL SELECT 'traits', format('%s %s %s', who, declared, traits) FROM mine
	UNION ALL SELECT 'provenance', format('%s %s %s', who, t.key, regexp_replace(t.value #>> '{}', '^(\d+) .*', '\1')) FROM mine, jsonb_each(trait_meta) t
	UNION ALL SELECT 'event', format('%s %s %s', who, e.message_id, e.ts) FROM mine JOIN cdp.events e USING (profile_id)
	UNION ALL SELECT 'segment', format('%s %s %s', who, m.segment, m.since) FROM mine JOIN cdp.segment_members m USING (profile_id)
	UNION ALL SELECT 'segments', format('%s %s', who, ARRAY(SELECT g.name FROM cdp_data.segment g WHERE g.segment_id = ANY (segments) ORDER BY 1)) FROM mine
	UNION ALL SELECT 'delivery', format('%s %s %s %s %s', who, o.segment, o.created_at, o.state, o.attempts) FROM mine JOIN cdp.outbox o USING (profile_id)
	UNION ALL SELECT 'allows', format('%s %s %s', who, c.purpose_id, c.valid_to) FROM mine JOIN cdp_data.consent_ord c USING (ord)
	UNION ALL SELECT 'allows by node', format('%s %s:%s %s %s', who, i.namespace, replace(i.value, w || '-', ''), c.purpose_id, c.valid_to)
		FROM mine JOIN cdp_data.node n USING (profile_id) JOIN cdp_data.identifier i USING (node_id) JOIN cdp_data.consent_node c USING (node_id)
	UNION ALL SELECT 'consent', format('%s %s:%s %s %s %s', who, namespace, replace(value, w || '-', ''), purpose, state, at) FROM mine JOIN cdp.consents c USING (profile_id)
$$;
CREATE FUNCTION differences() RETURNS TABLE (world text, part text, item text) LANGUAGE sql AS $$
	(SELECT 'merged', x.* FROM (SELECT * FROM world('m') EXCEPT ALL SELECT * FROM world('t')) x)
	UNION ALL (SELECT 'never merged', x.* FROM (SELECT * FROM world('t') EXCEPT ALL SELECT * FROM world('m')) x) ORDER BY 2, 3, 1
$$;
-- the same to both; $ stands for the world
CREATE FUNCTION in_both(at timestamptz, query text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	w text;
BEGIN
	PERFORM set_config('cdp.clock', at::text, false);
	FOREACH w IN ARRAY '{m,t}'::text[] LOOP
		EXECUTE replace(query, '$', w || '-');
	END LOOP;
END $$;

SELECT in_both('2026-04-01', $$SELECT cdp.identify('{user_id:$ada,email:$ada@x.y}', '{"city": "Oslo", "plan": "gold", "pet": "cat"}', message_id => '1', source => '$'), cdp.set_consent('email:$ada@x.y', 'ads', 'granted')$$);
SELECT in_both('2026-04-02', $$SELECT cdp.identify('{anonymous_id:$web,email:$web@x.y}', '{"city": "Rome", "plan": "free", "car": "none"}', message_id => '2', source => '$'), cdp.set_consent('{email:$web@x.y}', 'ads', 'granted', valid_until => '2027-01-01')$$);
SELECT in_both('2026-04-03', $$SELECT cdp.track('anonymous_id:$web', 'E', message_id => '3' || i, source => '$') FROM generate_series(1, 3) i$$);
SELECT in_both('2026-04-04', $$SELECT cdp.track('user_id:$ada', 'E', message_id => '4', source => '$')$$);
SELECT count(*) AS alike FROM differences();
SELECT * FROM world('m') ORDER BY 1, 2;
-- a delivery leaves before the merge
CREATE FUNCTION hand_out(at timestamptz) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
BEGIN
	PERFORM set_config('cdp.clock', at::text, false);
	PERFORM set_config('role', 'regress_rules_service', true);
	SELECT cdp.ack(array_agg(c.delivery_id)) INTO n FROM cdp.claim('email', 10) c;
	PERFORM set_config('role', 'none', true);
	RETURN n;
END $$;

SELECT hand_out('2026-04-05 01:00'), hand_out('2026-04-05 01:00');
SET cdp.clock = '2026-04-05 12:00:00+00';
SELECT cdp.merge('{user_id:m-ada,anonymous_id:m-web}', 'the same address') AS merge_id \gset
SELECT what, item FROM (SELECT 'merged' AS what, w.* FROM world('m') w) x WHERE part IN ('identifiers', 'state', 'traits', 'segment', 'segments', 'delivery', 'allows') ORDER BY part, item;
-- meanwhile: events, traits, consents, who enters and leaves segments, what is handed out
SELECT in_both('2026-04-06', $$SELECT cdp.track('user_id:$ada', 'E', message_id => '5' || i, source => '$') FROM generate_series(1, 2) i$$);
SELECT in_both('2026-04-07', $$SELECT cdp.identify('email:$web@x.y', '{"city": "Oslo", "pet": "dog"}', message_id => '6', source => '$')$$);
SELECT in_both('2026-04-08', $$SELECT cdp.set_consent('email:$web@x.y', 'ads', 'withdrawn'), cdp.set_consent('user_id:$ada', 'ads', 'granted')$$);
SELECT in_both('2026-04-09', $$SELECT cdp.track('{user_id:$ada,crm:$ada}', 'E', message_id => '7', source => '$'), cdp.track('{anonymous_id:$web,device_id:$web}', 'E', message_id => '8', source => '$')$$);
SELECT part, count(*) FROM differences() GROUP BY 1 ORDER BY 1;
SET cdp.clock = '2026-04-10 12:00:00+00';
SELECT cdp.unmerge(:merge_id, 'no, her sister') AS who_comes_back \gset
SELECT :who_comes_back = cdp.resolve('anonymous_id:m-web') AS web, :who_comes_back = (SELECT loser FROM cdp.merges WHERE merge_id = :merge_id) AS by_her_old_id;
SELECT * FROM differences();
-- the ids of both are what they were, also to those who kept them
SELECT m.winner = cdp.resolve('user_id:m-ada') AS ada, m.loser = cdp.resolve('email:m-web@x.y') AS web, cdp.resolve(m.loser) = m.loser AS id, (SELECT count(*) FROM cdp.merged_profiles) AS merged_now, m.undone_at, m.undone_by = current_user AS by_me FROM cdp.merges m;
SELECT kind, merge_id = :merge_id AS of_it, reason, at, actor = current_user AS by_me, revoked_at FROM cdp.separations;
-- whom an identifier belonged to, then and now
SELECT t AS at, cdp.resolve('anonymous_id:m-web', as_of => t) = cdp.resolve('user_id:m-ada') AS ada, cdp.resolve('anonymous_id:m-web', as_of => t) = cdp.resolve('anonymous_id:m-web') AS web, cdp.resolve('device_id:m-web', as_of => t) IS NULL AS device_unknown
FROM unnest('{2026-03-31,2026-04-02,2026-04-05 11:59:59,2026-04-05 12:00,2026-04-09,2026-04-10 12:00,2026-06-01}'::timestamptz[]) t ORDER BY 1;
SELECT identifier, CASE profile_id WHEN cdp.resolve('user_id:m-ada') THEN 'ada' ELSE 'web' END AS of, since, until, until_change = :merge_id AS by_the_merge FROM cdp.identity_history WHERE identifier LIKE '%m-%' ORDER BY 1, 3;
-- the next message does not bring them together again, nor does the late one; the link says why
SELECT in_both('2026-04-11', $$SELECT cdp.track('{user_id:$ada,crm:$x}', 'E', message_id => '9', source => '$')$$);
SET cdp.clock = '2026-04-12 12:00:00+00';
SELECT cdp.track('{user_id:m-ada,anonymous_id:m-web}', 'E') > 0 AS ok, cdp.track('{email:m-web@x.y,email:m-ada@x.y,crm:m-both}', 'E', at => '2026-03-15') > 0 AS ok;
SELECT cdp.resolve('user_id:m-ada') <> cdp.resolve('anonymous_id:m-web') AS two, cdp.resolve('crm:m-both') = cdp.resolve('email:m-ada@x.y') AS with_the_first;
SELECT at, what, identifier, other, why FROM cdp.explain_identity('anonymous_id:m-web') WHERE what <> 'linked';
SELECT count(*) AS merges FROM cdp.merges WHERE undone_at IS NULL;
-- once is enough; and merging them after all takes the separation back
\x on
SELECT q, t.* FROM unnest(ARRAY[:merge_id::text, '999', 'NULL', :merge_id || ', ''''', :merge_id || ', repeat(''x'', 2001)']) q, try(format('SELECT cdp.unmerge(%s)', q)) t;
SELECT r, t.* FROM unnest('{regress_rules_ingest,regress_rules_app,regress_rules_analyst,regress_rules_service,regress_rules_nobody}'::text[]) r, try('SELECT cdp.unmerge(1)', r) t;
SELECT t.* FROM try('SELECT cdp.merge(''{user_id:m-ada,anonymous_id:m-web}'', ''they are'')', 'regress_rules_privacy') t;
\x off
SELECT t.answer LIKE '= _%' AS merged FROM try('SELECT cdp.merge(''{user_id:m-ada,anonymous_id:m-web}'', ''they are'', override => true)', 'regress_rules_privacy') t;
SELECT cdp.resolve('user_id:m-ada') = cdp.resolve('anonymous_id:m-web') AS one;
SELECT kind, revoked_at, revoked_by FROM cdp.separations;
SELECT count(*) FROM cdp_data.separation_node;

-- a merge by a message is undone likewise, and one of three in a row
SELECT scenario.reset();
SELECT cdp.identify('anonymous_id:' || x, jsonb_build_object('is', x), at => ('2026-03-0' || o)::timestamptz) FROM unnest('{d,c,b,a}'::text[]) WITH ORDINALITY u (x, o) ORDER BY x;
SELECT cdp.track(ARRAY['anonymous_id:' || x, 'anonymous_id:' || y], 'E', message_id => x || y) FROM (VALUES ('a', 'b'), ('c', 'd'), ('b', 'c')) v (x, y);
SELECT merge_id, winner, loser, kind, message_id, identifiers FROM cdp.merges ORDER BY 1;
SELECT cdp.unmerge(merge_id) FROM cdp.merges WHERE message_id = 'ab';
SELECT traits, identifiers FROM cdp.profiles ORDER BY profile_id;
SELECT old_id, profile_id FROM cdp.merged_profiles ORDER BY 1;
SELECT cdp.unmerge(merge_id, 'c is c') FROM cdp.merges WHERE message_id = 'bc';
SELECT traits, identifiers, events FROM cdp.profiles ORDER BY profile_id;
SELECT cdp.resolve(x.id) FROM generate_series(1, 4) x (id);

--
-- unlink: two identifiers are not one person
--
SELECT scenario.reset();
SELECT cdp.identify('{user_id:ada,email:home@x.y}', '{"n": 1}', '2026-03-01') AS ada, cdp.track('{user_id:ada,device_id:d}', 'E', at => '2026-03-02') AS device, cdp.track('{email:home@x.y,anonymous_id:tv}', 'E', at => '2026-03-03') AS tv;
\x on
SELECT q, t.* FROM unnest(ARRAY['NULL, ''user_id:ada''', '''user_id:ada'', ''user_id:ada''', '''user_id:ada'', ''user_id:nobody''', '''user_id:ada'', ''home''', '''user_id:ada'', ''email:home@x.y'', ''''']) q, try(format('SELECT cdp.unlink(%s)', q)) t;
SELECT r, t.* FROM unnest('{regress_rules_ingest,regress_rules_app,regress_rules_analyst,regress_rules_service,regress_rules_nobody}'::text[]) r, try('SELECT cdp.unlink(''user_id:ada'', ''email:home@x.y'')', r) t;
\x off
SELECT t.* FROM try('SELECT cdp.unlink(''user_id:ada'', ''Email:Home@X.Y'', ''a mailbox of the family'')', 'regress_rules_privacy') t;
SELECT traits, events, identifiers FROM cdp.profiles ORDER BY profile_id;
-- it holds for what comes, however it is said; what is neither goes on
SELECT cdp.track('{user_id:ada,email:home@x.y}', 'E') > 0 AS ok, cdp.track('{device_id:d,anonymous_id:tv}', 'E') > 0 AS ok;
SELECT count(*) AS people FROM cdp.profiles;
SELECT at, what, identifier, other, why FROM cdp.explain_identity('user_id:ada') WHERE what <> 'linked';
SELECT t.message, t.detail FROM try('SELECT cdp.merge(''{user_id:ada,email:home@x.y}'', ''x'')', 'regress_rules_app') t;
SELECT kind, reason, actor FROM cdp.separations;
SELECT cdp.unlink('user_id:ada', 'anonymous_id:tv') AS were_one;

--
-- remove_identifier: whose it was keeps what it did; who bears it next is somebody else
--
SELECT scenario.reset();
SET cdp.clock = '2026-04-01 12:00:00+00';
SELECT cdp.identify('{user_id:ada,phone:+4712345678}', '{"name": "Ada"}', '2026-03-01') AS ada, cdp.track('phone:+4712345678', 'Call', at => '2026-03-02', message_id => 'call') AS call;
\x on
SELECT q, t.* FROM unnest(ARRAY['NULL::text', '''phone''', '''phone:+4700000001''']) q, try(format('SELECT cdp.remove_identifier(%s)', q)) t;
SELECT r, t.* FROM unnest('{regress_rules_ingest,regress_rules_app,regress_rules_analyst,regress_rules_service,regress_rules_nobody}'::text[]) r, try('SELECT cdp.remove_identifier(''user_id:ada'')', r) t;
\x off
SET cdp.clock = '2026-04-15 12:00:00+00';
SELECT t.* FROM try('SELECT cdp.remove_identifier(''phone:+47 123 45 678'')', 'regress_rules_privacy') t;
SELECT events, identifiers FROM cdp.profiles;
SELECT t.message FROM try('SELECT cdp.remove_identifier(''phone:+4712345678'')', 'regress_rules_privacy') t;
SELECT cdp.resolve('phone:+4712345678') AS nobody_now, cdp.resolve('phone:+4712345678', as_of => '2026-04-10') AS before, cdp.resolve('phone:+4712345678', as_of => '2026-04-20') AS after;
SET cdp.clock = '2026-05-01 12:00:00+00';
SELECT cdp.identify('{user_id:bob,phone:+4712345678}', '{"name": "Bob"}') AS bob;
SELECT cdp.resolve('phone:+4712345678') = cdp.resolve('user_id:bob') AS bobs;
-- late news of before is hers
SELECT cdp.track('phone:+4712345678', 'Call', at => '2026-03-10') AS ada;
SET cdp.clock = '2026-05-02 12:00:00+00';
SELECT cdp.track('{user_id:ada,phone:+4712345678}', 'E') = cdp.resolve('user_id:ada') AS ada;
SELECT events, traits, identifiers FROM cdp.profiles ORDER BY profile_id;

-- it takes the kind, not only the right to call
GRANT EXECUTE ON FUNCTION cdp.unmerge(bigint, text), cdp.unlink(text, text, text), cdp.unlink(cdp.identifier, cdp.identifier, text), cdp.remove_identifier(text), cdp.remove_identifier(cdp.identifier) TO regress_rules_app;
SELECT t.* FROM unnest(ARRAY['unmerge(1)', 'unlink(''user_id:ada'', ''user_id:bob'')', 'remove_identifier(''user_id:ada'')']) q, try('SELECT cdp.' || q, 'regress_rules_app') t;

--
-- Keys that collide merge nobody: not by a message, a merge, an unlink
--
SELECT scenario.reset();
SELECT cdp.identify('email:victim@x.y', '{"name": "Victim"}') AS victim, cdp.identify('user_id:attacker') AS attacker;
CREATE TABLE before AS SELECT profile_id, events, traits FROM cdp.profiles;
UPDATE cdp_data.identifier SET value = 'other@x.y' WHERE value = 'victim@x.y';
SELECT status FROM cdp.ingest('{"messageId": "k", "type": "identify", "userId": "attacker", "traits": {"email": "victim@x.y"}}', 'collision');
SELECT t.answer, t.message, t.detail FROM unnest(ARRAY['SELECT cdp.merge(''{user_id:attacker,email:victim@x.y}'', ''x'')', 'SELECT cdp.merge(''{user_id:attacker,email:victim@x.y}'', ''x'', override => true)', 'SELECT cdp.unlink(''user_id:attacker'', ''email:victim@x.y'')',
	'SELECT cdp.remove_identifier(''email:victim@x.y'')', 'SELECT cdp.track(''{user_id:attacker,email:victim@x.y}'', ''E'')', 'SELECT cdp.set_consent(''{user_id:attacker,email:victim@x.y}'', ''ads'', ''granted'')']) q, try(q) t;
SELECT message_id, reason FROM cdp.rejected WHERE source = 'collision';
SELECT count(*) AS changed FROM (TABLE before EXCEPT SELECT profile_id, events, traits FROM cdp.profiles) x;
SELECT count(*) AS merges FROM cdp.merges;


--
-- Random histories under random rules: whatever the order, and in batches, the
-- people, their traits, counts and segments are the same (law L1)
--
SELECT scenario.reset();
RESET cdp.clock;
CREATE TABLE scenario.message (h int, i int, ids text[], ts timestamptz);
CREATE TABLE scenario.known (h int, arrangement text, item text);

CREATE PROCEDURE scenario.invent(h int) LANGUAGE plpgsql AS $$
DECLARE
	x text;
	who text[];
BEGIN
	PERFORM setseed(h / 100.0);
	FOREACH x IN ARRAY '{a,b,c,d}'::text[] LOOP
		-- every third history has nothing but demote
		PERFORM cdp.define_namespace(x, priority => 1 + floor(random() * 4)::int, max_per_profile => floor(random() * 3)::int,
			on_conflict => (ARRAY['demote', 'newest_wins', 'reject'])[CASE h % 3 WHEN 0 THEN 1 ELSE 1 + floor(random() * 3)::int END],
			period => CASE WHEN h % 3 = 2 AND random() < 0.5 THEN interval '1 day' * floor(1 + random() * 4) ELSE interval '0' END);
	END LOOP;
	PERFORM cdp.set_identity_limits(CASE WHEN random() < 0.3 THEN 4 ELSE 1000 END);
	FOR n IN 1..6 + floor(random() * 10)::int LOOP
		who := '{}';
		IF n > 1 AND random() < 0.25 THEN
			SELECT m.ids INTO who FROM scenario.message m WHERE m.h = invent.h ORDER BY random() LIMIT 1;
		ELSE
			FOR k IN 1..1 + floor(random() * 4)::int LOOP
				x := substr('aabbcd', 1 + floor(random() * 6)::int, 1) || ':' || 1 + floor(random() * 3)::int;
				who := CASE WHEN x = ANY (who) THEN who ELSE who || x END;
			END LOOP;
		END IF;
		INSERT INTO scenario.message VALUES (h, n, who, timestamptz '2026-03-01' + floor(random() * 200) * interval '1 hour' + n * interval '1 min');
	END LOOP;
END $$;

CREATE PROCEDURE scenario.live(h int, arrangement text) LANGUAGE plpgsql AS $$
DECLARE
	p text := format('%s-%s-', h, left(md5(arrangement), 3));
	batch jsonb := '[]';
	m record;
BEGIN
	FOR m IN SELECT x.i, x.ts, (SELECT jsonb_agg(jsonb_build_object('type', split_part(u, ':', 1), 'id', p || split_part(u, ':', 2))) FROM unnest(x.ids) u) AS ids
			FROM scenario.message x WHERE x.h = live.h ORDER BY CASE arrangement WHEN 'in order' THEN x.ts END, CASE arrangement WHEN 'reversed' THEN x.ts END DESC, random() LOOP
		batch := batch || jsonb_build_object('type', 'identify', 'messageId', p || m.i, 'timestamp', m.ts, 'traits', jsonb_build_object('city', m.i, 't' || m.i % 3, m.i), 'context', jsonb_build_object('externalIds', m.ids));
		IF arrangement NOT LIKE 'batch%' OR (arrangement = 'batches' AND random() < 0.4) THEN
			PERFORM cdp.ingest(batch);
			batch := '[]';
			COMMIT;
		END IF;
	END LOOP;
	IF batch <> '[]' THEN
		PERFORM cdp.ingest(batch);
	END IF;
	INSERT INTO scenario.known SELECT h, arrangement, format('%s: %s %s %s %s %s', k.ids, q.events, q.city, q.traits, q.last_seen, q.segments)
	FROM (SELECT i.profile_id, string_agg(i.namespace || substr(i.value, length(p) + 1), ' ' ORDER BY i.namespace, i.value) AS ids FROM cdp.identifiers i
		WHERE i.namespace IN ('a', 'b', 'c', 'd') AND i.value LIKE p || '%' GROUP BY 1) k LEFT JOIN cdp.profiles q USING (profile_id);
	COMMIT;
END $$;

DO $$
DECLARE
	a text;
BEGIN
	FOR h IN 1..24 LOOP
		CALL scenario.invent(h);
		COMMIT;
		FOREACH a IN ARRAY '{in order,reversed,shuffled,batch,batches}'::text[] LOOP
			CALL scenario.live(h, a);
		END LOOP;
	END LOOP;
END $$;
SELECT count(DISTINCT h) AS histories, count(*) > 300 AS people, (SELECT count(*) FROM cdp.identity_edges WHERE refused IS NOT NULL) > 300 AS refusals FROM scenario.known;
SELECT a.h, a.arrangement, d.item FROM (SELECT DISTINCT k.h, k.arrangement FROM scenario.known k) a,
	LATERAL ((SELECT k.item FROM scenario.known k WHERE k.h = a.h AND k.arrangement = a.arrangement EXCEPT ALL SELECT k.item FROM scenario.known k WHERE k.h = a.h AND k.arrangement = 'in order')
		UNION ALL (SELECT k.item FROM scenario.known k WHERE k.h = a.h AND k.arrangement = 'in order' EXCEPT ALL SELECT k.item FROM scenario.known k WHERE k.h = a.h AND k.arrangement = a.arrangement)) d
ORDER BY 1, 2, 3 LIMIT 20;

\c :main
DROP DATABASE regress_rules;
DROP ROLE regress_rules_ingest, regress_rules_app, regress_rules_analyst, regress_rules_service, regress_rules_privacy, regress_rules_nobody;
