-- Rules of segments: conditions in JSON, metrics, other segments, what is asked
-- when, the life cycle, previews and explanations.  In a database of its own.
\set SHOW_CONTEXT never
\set main :DBNAME
CREATE DATABASE regress_cdp_segment_rules TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_cdp_segment_rules
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET intervalstyle = 'postgres';
SET client_min_messages = warning;
SET client_encoding = 'UTF8';
CREATE EXTENSION cdp;
SELECT count(*) > 0 AS initialised FROM cdp.init();
SET cdp.clock = '2031-01-01';
SELECT count(cdp.define_trait(name, type, survivorship => s)) FROM (VALUES ('age', 'int', 'latest'), ('city', 'text', 'latest'), ('score', 'float8', 'latest'), ('vip', 'bool', 'latest'), ('born', 'date', 'latest'),
	('joined', 'timestamptz', 'latest'), ('card', 'uuid', 'latest'), ('points', 'bigint', 'latest'), ('colours', 'text', 'union')) t (name, type, s);
SELECT count(cdp.define_metric(name, event, aggregate, property, period => period)) FROM (VALUES ('orders', 'Order', 'count', NULL, NULL::interval), ('spent', 'Order', 'sum', 'total', '30 days'), ('seen', 'View', 'count', NULL, NULL)) m (name, event, aggregate, property, period);
-- what is said later is later
CREATE FUNCTION tell(who text, traits jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('cdp.clock', (cdp.clock() + interval '1 second')::text, false);
	RETURN cdp.identify(who, traits) > 0;
END $$;
CREATE FUNCTION names(who text) RETURNS text[] LANGUAGE sql AS $$ SELECT segments FROM cdp.profiles WHERE profile_id = cdp.resolve(who) $$;

--
-- Refused, each with the reason
--
CREATE FUNCTION try(rule jsonb, OUT state text, OUT message text, OUT detail text, OUT hint text) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM cdp.define_segment('refused', rule => rule);
	message := 'TAKEN';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, state = RETURNED_SQLSTATE, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
END $$;
SELECT rule, t.* FROM unnest(ARRAY['3', '[]', '{"$or": {}}', '{"age": {"$gtt": 3}}', '{"$and": [{}, {"age": {"$not": {"$foo": 1}}}]}', '{"age": {"$inGroup": "x"}}', '{"profile_id": {"$inGroup": 3}}', '{"profile_id": {"$inGroup": "nobody"}}',
	'{"segments": "vip"}', '{"identifiers.email": {"$exists": true}}', '{"joined": {"$within": "soon"}}', '{"joined": {"$within": 7}}', '{"joined": {"$within": "0 days"}}', '{"joined": {"$within": "2000 years"}}', '{"city": {"$regex": "(?=(?=a))"}}', '{"$nor": [{"city": {"$regexi": "+"}}]}', '{"city": {"$regex": ["a"]}}']::jsonb[]) rule, try(rule) t;
SELECT cdp.define_segment('x', 'cdp.in_segment(''nobody'')');
SELECT cdp.define_segment('x', 'cdp.in_segment(city)');
SELECT cdp.define_segment('x', 'cdp.in_segment(NULL)');
SELECT cdp.define_segment('x', '1 / 0 = 1');
SELECT cdp.define_segment('x', 'last_seen > now()');
SELECT cdp.in_segment('x');
SELECT name FROM cdp.segments;

--
-- Conditions: the same answer as cdp.matches() on the person as a document
--
CREATE TABLE rules (name text, rule jsonb);
INSERT INTO rules SELECT 'j' || i, r FROM unnest(ARRAY['{"age": {"$gte": 18, "$lt": 65}}', '{"age": null}', '{"age": {"$exists": true}}', '{"city": {"$in": ["Kyoto", "Nara"]}}', '{"city": {"$nin": ["Kyoto"]}}', '{"city": {"$ini": ["KYOTO"]}}', '{"city": {"$regex": "^K.*o$"}}',
	'{"vip": true}', '{"vip": {"$ne": true}}', '{"score": {"$gt": 0.5}}', '{"$or": [{"age": {"$lt": 20}}, {"city": "Nara"}]}', '{"$nor": [{"age": {"$lt": 20}}, {"city": "Nara"}]}', '{"$not": {"nick": "n1"}}', '{"nick": "n1"}', '{"address.zip": {"$gt": "5"}}',
	'{"tags": {"$elemMatch": {"$eq": 2}}}', '{"tags": {"$size": {"$gte": 2}}}', '{"tags": {"$all": [1, 2]}}', '{"colours": {"$in": ["red"]}}', '{"colours": {"$size": 2}}', '{"points": {"$gt": 5000000000}}', '{"card": "00000000-0000-0000-0000-000000000003"}', '{"born": {"$lt": "2000-06-15"}}',
	'{"orders": {"$gte": 2}}', '{"spent": {"$gt": 50}, "orders": {"$gt": 0}}', '{"seen": 0}', '{"events": {"$gt": 3}}', '{"profile_id": {"$in": [1, 2, 3]}}', '{}', '{"$and": [{"$or": [{"vip": true}, {"orders": {"$gt": 1}}]}, {"age": {"$not": {"$in": [1, 2, 3]}}}]}', '{"age": {"$type": "number"}}', '{"nick": {"$exists": false}}']::jsonb[]) WITH ORDINALITY u (r, i);
SELECT count(cdp.define_segment(name, rule => rule)) FROM rules WHERE length(name) = 2;
CREATE FUNCTION message(n int) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
	SELECT jsonb_build_object('userId', 'u' || abs(hashtext('u' || n)) % 40, 'messageId', 'm' || n, 'timestamp', '2030-12-20Z'::timestamptz + make_interval(hours => n * 31 % 280, secs => n)) || CASE WHEN n % 3 = 0
		THEN jsonb_build_object('type', 'track', 'event', CASE WHEN n % 2 = 0 THEN 'Order' ELSE 'View' END, 'properties', jsonb_build_object('total', n % 60))
		ELSE jsonb_build_object('type', 'identify', 'traits', (SELECT coalesce(jsonb_object_agg(k, v), '{}') FROM (VALUES (1, 'age', CASE WHEN n % 7 = 0 THEN 'null' ELSE to_jsonb(n * 13 % 90) END), (2, 'city', to_jsonb((ARRAY['Kyoto', 'Nara', 'Tokyo'])[1 + n % 5 % 3])),
			(3, 'vip', to_jsonb(n % 2 = 0)), (4, 'score', to_jsonb(n % 10 / 10.0)), (5, 'nick', to_jsonb('n' || n % 5 % 3)), (6, 'tags', jsonb_build_array(n % 3, n % 4)), (7, 'address', jsonb_build_object('zip', (n % 10)::text)), (8, 'colours', to_jsonb((ARRAY['red', 'blue', 'green'])[1 + n % 5 % 3])),
			(9, 'points', to_jsonb(n * 100000000::bigint)), (10, 'card', to_jsonb('00000000-0000-0000-0000-00000000000' || n % 5)), (11, 'born', to_jsonb('1990-01-01'::date + n * 37 % 7000))) v (i, k, v) WHERE (n + i) % 4 = 0)) END
$$;
SELECT count(*) FILTER (WHERE s.status <> 'accepted') AS refused FROM generate_series(1, 150) n, cdp.ingest(message(n)) s;
SELECT count(*) FILTER (WHERE s.status <> 'accepted') AS refused FROM generate_series(151, 600, 50) b, cdp.ingest((SELECT jsonb_agg(message(n) ORDER BY md5(n::text)) FROM generate_series(b, b + 49) n)) s;
SELECT count(cdp.define_segment(name, rule => rule)) FROM rules WHERE length(name) = 3;
SELECT count(*) FILTER (WHERE s.status <> 'accepted') AS refused FROM generate_series(601, 700) n, cdp.ingest(message(n)) s;
CREATE VIEW document AS SELECT p.profile_id, jsonb_strip_nulls(to_jsonb(p) - 'traits' - 'segments' - 'identifiers') || p.traits AS d FROM cdp.profiles p;
CREATE FUNCTION differences() RETURNS TABLE (name text, missing bigint, wrong bigint) LANGUAGE sql AS $$
	SELECT r.name, count(*) FILTER (WHERE x.should AND NOT x.is), count(*) FILTER (WHERE x.is AND NOT x.should)
	FROM rules r, LATERAL (SELECT cdp.matches(d.d, r.rule) AS should, EXISTS (SELECT FROM cdp.segment_members m WHERE m.profile_id = d.profile_id AND m.segment = r.name) AS is FROM document d) x
	GROUP BY 1 HAVING count(*) FILTER (WHERE x.should <> x.is) > 0
$$;
SELECT * FROM differences();
SELECT count(*) AS rules, count(*) FILTER (WHERE members BETWEEN 1 AND 39) AS distinguishing FROM cdp.segments;
-- a field that becomes a declared trait
SELECT cdp.define_trait('nick');
SELECT * FROM differences();
SELECT * FROM cdp.verify(1);
-- times are compared as times, however the rule writes them
SELECT cdp.define_segment('t' || i, rule => r) > 0 AS defined FROM unnest(ARRAY['{"joined": {"$gte": "2031-01-01T09:00:00+09:00"}}', '{"joined": {"$gt": "2031-01-01"}}', '{"joined": "2031-01-01T00:00:00Z"}', '{"joined": {"$in": ["2031-01-01 00:00"]}}', '{"joined": {"$lt": "2031-01-01T00:00:00.000001Z"}}']::jsonb[]) WITH ORDINALITY u (r, i);
SELECT cdp.identify('user_id:exact', '{"joined": "2031-01-01T00:00:00Z"}') > 0 AS known, cdp.identify('user_id:after', '{"joined": "2031-01-01T00:00:00.000001Z"}') > 0 AS known;
SELECT array(SELECT s FROM unnest(names(w)) s WHERE s LIKE 't_') FROM unnest('{user_id:exact,user_id:after}'::text[]) w;
SELECT count(cdp.drop_segment(name)) FROM (SELECT name FROM cdp.segments ORDER BY name) s;

--
-- Asked are the rules that look at what changed, and no others
--
SELECT cdp.define_segment('by city', '10 / length(city) > 1') > 0 AS defined, cdp.define_segment('by trait', '(traits ->> ''x'')::int > 1') > 0 AS defined, cdp.define_segment('by events', '10 / (events - 2) > 1') > 0 AS defined,
	cdp.define_segment('by orders', '10 / orders > 1') > 0 AS defined, cdp.define_segment('by spent', '10 / (spent::int - 7) > 1') > 0 AS defined, cdp.define_segment('by nobody', 'true') > 0 AS defined;
-- who was asked raised, and that was recorded: forget it
CREATE FUNCTION asked() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text := (SELECT string_agg(s.name, ', ' ORDER BY s.name) FROM cdp.segments s WHERE s.last_error IS NOT NULL);
BEGIN
	DELETE FROM cdp_data.segment_error;
	RETURN result;
END $$;
SELECT tell('user_id:eve', '{"city": "", "x": "none"}') AS known;
SELECT asked();
SELECT cdp.track('user_id:eve', 'View') > 0 AS tracked;
SELECT asked();
SELECT cdp.track('user_id:eve', 'View') > 0 AS tracked;
SELECT asked();
SELECT tell('user_id:eve', '{"age": 3}') AS known;
SELECT asked();
SELECT tell('user_id:eve', '{"city": ""}') AS known;
SELECT asked();
SELECT tell('user_id:eve', '{"y": 1}') AS known;
SELECT asked();
SELECT cdp.track('user_id:eve', 'Order', '{"total": 7}') > 0 AS tracked;
SELECT asked();
SELECT names('user_id:eve');
-- many that raise, in a batch, beside some that do not; the batch is taken and the others are right
SELECT cdp.define_segment('fine', 'age > 5') > 0 AS defined;
SELECT count(*) FROM cdp.ingest((SELECT jsonb_agg(jsonb_build_object('type', 'identify', 'userId', 'r' || i, 'traits', jsonb_build_object('city', CASE WHEN i % 2 = 0 THEN '' ELSE 'Oslo' END, 'age', i, 'x', CASE WHEN i % 3 = 0 THEN 'no' ELSE '5' END))) FROM generate_series(1, 30) i)) WHERE status = 'accepted';
SELECT s.name, s.members, s.last_error IS NOT NULL AS raised FROM cdp.segments s ORDER BY 1;
SELECT count(*) FILTER (WHERE NOT (p.segments @> '{"by city"}') = (length(city) > 0)) + count(*) FILTER (WHERE (p.segments @> '{"by trait"}') <> (traits ->> 'x' = '5')) + count(*) FILTER (WHERE (p.segments @> '{fine}') <> (age > 5)) AS wrong
FROM cdp.profiles p WHERE identifiers @? '$.user_id[*] ? (@ like_regex "^r")';
-- what runs more than C code is asked in a subtransaction
SELECT cdp.define_segment('guarded', 'cdp.check_name(''x'', city) = ''Oslo''') > 0 AS defined;
SELECT members, last_error IS NOT NULL AS raised FROM cdp.segments WHERE name = 'guarded';
SELECT tell('user_id:r2', '{"city": "Oslo"}') AS known, tell('user_id:r1', '{"city": " "}') AS known;
SELECT 'guarded' = ANY (names('user_id:r2')) AS in, 'guarded' = ANY (names('user_id:r1')) AS out;
SELECT * FROM cdp.verify(1);
SELECT count(cdp.drop_segment(name)) FROM (SELECT name FROM cdp.segments ORDER BY name) s;

--
-- Segments of segments
--
SELECT cdp.define_segment('a', 'age > 10') > 0 AS defined, cdp.define_segment('b', 'NOT cdp.in_segment(''a'')') > 0 AS defined, cdp.define_segment('c', rule => '{"$and": [{"profile_id": {"$inGroup": "b"}}, {"vip": true}]}') > 0 AS defined,
	cdp.define_segment('d', 'cdp.in_segment(''c'') OR cdp.in_segment(''a'')') > 0 AS defined;
SELECT tell('user_id:nia', '{"age": 5, "vip": true}') AS known;
SELECT names('user_id:nia');
SELECT tell('user_id:nia', '{"age": 15}') AS known;
SELECT names('user_id:nia');
SELECT tell('user_id:nia', '{"age": 5}') AS known;
SELECT tell('user_id:nia', '{"vip": false}') AS known;
SELECT names('user_id:nia');
-- circles
SELECT cdp.define_segment('a', 'cdp.in_segment(''a'')');
SELECT cdp.define_segment('a', rule => '{"profile_id": {"$notInGroup": "d"}}');
-- what others need stays
SELECT cdp.drop_segment('a');
SELECT cdp.drop_segment('c');
SELECT cdp.disable_segment('b');
SELECT cdp.define_segment('m', 'orders > 1') > 0 AS defined;
SELECT cdp.drop_metric('orders');
-- redefined below them, they follow
SELECT cdp.define_segment('a', 'age < 10') > 0 AS redefined;
SELECT names('user_id:nia');
SELECT name, needs, columns, version FROM cdp.segments ORDER BY name;
SELECT segment, version, predicate, valid_to IS NULL AS present FROM cdp.segment_versions WHERE segment = 'a' ORDER BY version;

--
-- Disabled and enabled
--
SELECT cdp.disable_segment('d');
SELECT names('user_id:nia'), state, members FROM cdp.segments WHERE name = 'd';
SELECT tell('user_id:nia', '{"age": 6}') AS known;
SELECT names('user_id:nia');
SELECT cdp.disable_segment('d'), cdp.disable_segment('nobody');
SELECT cdp.enable_segment('d');
SELECT names('user_id:nia');
SELECT cdp.disable_segment('d'), cdp.disable_segment('c');
SELECT cdp.enable_segment('d');
SELECT cdp.refresh_segment('d') = (SELECT members FROM cdp.segments WHERE name = 'd') AS same;
SELECT cdp.refresh_segment('nobody');
SELECT * FROM cdp.verify(1);

--
-- The past
--
SET cdp.clock = '2031-02-01';
SELECT cdp.identify('user_id:pia', '{"age": 3}') > 0 AS known;
SET cdp.clock = '2031-02-02';
SELECT cdp.identify('user_id:pia', '{"age": 33}') > 0 AS known;
SET cdp.clock = '2031-02-03';
SELECT cdp.identify('user_id:pia', '{"age": 4}') > 0 AS known;
SELECT segment, entered_at, left_at, cause FROM cdp.segment_history WHERE profile_id = cdp.resolve('user_id:pia') ORDER BY entered_at, segment;
SELECT at, cdp.resolve('user_id:pia') IN (SELECT cdp.members('a', at::timestamptz)) AS a, cdp.resolve('user_id:pia') IN (SELECT cdp.members('b & !c', at::timestamptz)) AS b
FROM unnest('{2031-01-31,2031-02-01,"2031-02-01 23:59:59.999999",2031-02-02,"2031-02-02 23:59:59.999999",2031-02-03}'::text[]) at;
SELECT cdp.members('a', 'infinity');
SELECT cdp.members('a &', '2031-01-01');
-- a merged person's history is hers who she is now
SELECT cdp.identify('cookie:p', '{"age": 40}', '2031-01-01') > 0 AS known;
SET cdp.clock = '2031-02-04';
SELECT cdp.identify('cookie:p', '{"age": 2}') > 0 AS known;
SET cdp.clock = '2031-02-05';
SELECT cdp.track('{user_id:pia,cookie:p}', 'View') > 0 AS merged;
SELECT segment, entered_at, left_at, cause FROM cdp.segment_history WHERE profile_id = cdp.resolve('user_id:pia') ORDER BY entered_at, segment, left_at;

--
-- A metric on data that is there reaches the rules when it is complete
--
SELECT cdp.define_metric('views', 'View') > 0 AS defined;
SELECT cdp.define_segment('viewers', 'views > 0') > 0 AS defined, cdp.define_segment('not viewers', rule => '{"views": 0}') > 0 AS defined;
SELECT name, members FROM cdp.segments WHERE name LIKE '%viewers' ORDER BY 1;
CALL cdp.maintain();
SELECT g.name, g.members > 0 AS some, g.members = (SELECT count(*) FROM cdp.profiles p WHERE (p.views > 0) = (g.name = 'viewers')) AS right FROM cdp.segments g WHERE g.name LIKE '%viewers' ORDER BY 1;
SELECT * FROM cdp.verify(1);
-- so does a sequence; and time alone makes her enter
SELECT cdp.define_sequence('asked', 'Ask', 'Buy', period => '2 days') > 0 AS defined;
CALL cdp.maintain();
SELECT cdp.define_segment('hesitates', 'asked') > 0 AS defined;
SELECT cdp.drop_sequence('asked');
SELECT cdp.track('user_id:hal', 'Ask') > 0 AS tracked, cdp.track('user_id:ida', 'Ask') > 0 AS tracked;
SET cdp.clock = '2031-02-06 12:00';
SELECT cdp.track('user_id:ida', 'Buy') > 0 AS tracked;
SET cdp.clock = '2031-02-06 23:59:59.999999';
SELECT names('user_id:hal') @> '{hesitates}' AS hal, names('user_id:ida') @> '{hesitates}' AS ida;
SET cdp.clock = '2031-02-07';
SELECT names('user_id:hal') @> '{hesitates}' AS hal, names('user_id:ida') @> '{hesitates}' AS ida;
SELECT since FROM cdp.segment_members WHERE segment = 'hesitates';

--
-- Previews, reasons, words
--
SELECT count(cdp.drop_segment(name)) FROM (SELECT name FROM cdp.segments ORDER BY name DESC) s;
CREATE TABLE previews (predicate text, rule jsonb);
INSERT INTO previews (predicate) VALUES ('age > 20'), ('age > 20 AND city = ''Kyoto'''), ('age > 20 OR vip'), ('10 / age > 1'), ('orders > 1'), ('cdp.within(last_seen, ''10 days'')');
INSERT INTO previews (rule) SELECT rule FROM rules;
CREATE FUNCTION found(predicate text, rule jsonb, OUT foreseen bigint, OUT members bigint) LANGUAGE plpgsql AS $$
BEGIN
	foreseen := cdp.preview(predicate, rule) ->> 'size';
	PERFORM cdp.define_segment('p', predicate, rule);
	members := cdp.segment_count('p');
END $$;
SELECT count(*) FILTER (WHERE foreseen <> members) AS wrong, count(*) FILTER (WHERE members > 0) > 20 AS some FROM previews p, found(p.predicate, p.rule);
SELECT cdp.preview_sql('age > 20 AND city = ''Kyoto''') - 'sample', jsonb_array_length(cdp.preview_sql('true') -> 'sample');
SELECT cdp.preview_rule('{"$or": [{"age": {"$gt": 20}}, {"city": "Kyoto"}]}') - 'sample';
SELECT cdp.preview_sql(p) FROM unnest('{age >,ages > 1,last_seen > now(),age,(select 1) = 1,"age > 1; drop table x",cdp.in_segment(''nobody'')}'::text[]) p;
SELECT cdp.preview_rule(p) FROM unnest(ARRAY['3', '{"$or": [{"age": {"$gx": 1}}]}', '{"$and": {}}', '{"age": {"$within": "x"}}', '{"city": {"$inGroup": "p"}}', '{"profile_id": {"$inGroup": "nobody"}}']::jsonb[]) p;
SELECT cdp.preview_sql(NULL), cdp.preview_rule(NULL);
SELECT cdp.define_segment('young', rule => '{"age": {"$lt": 30}, "$or": [{"orders": {"$gt": 0}}, {"nick": "n1"}], "hobby": {"$exists": false}}') > 0 AS defined, cdp.define_segment('old', 'age >= 30 AND 10 / (age - 40) < 100') > 0 AS defined;
SELECT cdp.identify('user_id:why', '{"age": 20, "nick": "n1"}') > 0 AS known, cdp.identify('user_id:forty', '{"age": 40}') > 0 AS known;
SELECT cdp.why('user_id:why', 'young') - 'profile_id', cdp.why('user_id:why', 'old') - 'profile_id';
SELECT cdp.why('user_id:forty', 'old') - 'profile_id';
SELECT cdp.why('user_id:nobody', 'old'), cdp.why(0, 'old');
SELECT cdp.why('user_id:why', 'nothing');
-- entries of the index that are dead: a scan remembers them, wherever its rows were read
DO $$ BEGIN FOR k IN 1..60 LOOP UPDATE cdp_data.profile SET created_at = created_at; UPDATE cdp_data.profile_state SET rev = rev; END LOOP; END $$;
SELECT cdp.why('user_id:why', 'young') ->> 'member' AS member, cdp.preview_sql('age > 20') -> 'size' = cdp.preview_rule('{"age": {"$gt": 20}}') -> 'size' AS same;
SELECT cdp.rule_text(r), cdp.rule_text(r, 'ja') FROM unnest(ARRAY['{}', '{"age": 3}', '{"age": {"$gt": 10, "$lte": 20}, "city": {"$in": ["Kyoto", "Nara"]}}', '{"$or": [{"vip": true}, {"$and": [{"age": {"$lt": 3}}, {"city": {"$ne": "Kyoto"}}]}]}', '{"$nor": [{"vip": true}, {"age": null}]}',
	'{"last_seen": {"$within": "1 month 3 days"}, "profile_id": {"$notInGroup": "常連"}}', '{"tags": {"$size": {"$gte": 2}, "$elemMatch": {"$eq": "x"}}, "city": {"$not": {"$regex": "^K"}}, "nick": {"$exists": false}}', '{"v": {"$vgte": "1.2"}, "x": {"$all": ["a", 1]}, "o": {"a": 1}}', '{"$not": {"age": {"$exists": true}}}']::jsonb[]) r;
SELECT cdp.rule_text('{}', 'fr');
SELECT cdp.rule_text('[]');
SELECT f ->> 'name' AS name, f ->> 'type' AS type, f ->> 'kind' AS kind, f -> 'values' AS values, f -> 'operators' ? '$within' AS within, f -> 'operators' ? '$inGroup' AS "group" FROM jsonb_array_elements(cdp.rule_schema() -> 'fields') f;
SELECT cdp.rule_schema() - 'fields';

-- only of whom the caller may see
SELECT cdp.define_purpose('news') > 0 AS defined;
CREATE ROLE regress_cdp_rules;
SELECT cdp.provision('regress_cdp_rules', 'analyst'), cdp.permit('regress_cdp_rules', 'news');
SELECT count(cdp.set_consent(w, 'news', 'granted')) FROM unnest('{user_id:why,user_id:u1,user_id:u2}'::text[]) w;
SELECT cdp.resolve('user_id:forty') AS forty \gset
SET ROLE regress_cdp_rules;
SELECT cdp.preview_sql('true') ->> 'people' AS people, cdp.preview_rule('{}') ->> 'size' AS size, (SELECT count(*) FROM cdp.profiles) AS profiles;
SELECT cdp.why('user_id:why', 'young') ->> 'member' AS why, cdp.why('user_id:forty', 'old') AS forty, cdp.why(:forty, 'old') AS forty;
SELECT (SELECT count(*) FROM cdp.segment_history h WHERE h.profile_id NOT IN (SELECT profile_id FROM cdp.profiles)) AS others, (SELECT count(*) FROM cdp.members('young | old', '2031-02-07')) = cdp.segment_count('young | old') AS same;
SELECT cdp.define_segment('mine', 'true');
RESET ROLE;

\c :main
DROP DATABASE regress_cdp_segment_rules;
DROP ROLE regress_cdp_rules;
