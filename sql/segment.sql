-- Segments: which predicates may define one, who is a member, expressions of
-- segments.  In a database of its own.
\set SHOW_CONTEXT never
\set main :DBNAME
CREATE DATABASE regress_cdp_segment TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_cdp_segment
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET intervalstyle = 'postgres';
SET client_min_messages = warning;
SET client_encoding = 'UTF8';
CREATE EXTENSION cdp;
SELECT cdp.define_segment('early', 'true');
SELECT count(*) > 0 AS initialised FROM cdp.init();
-- people of any number of identifiers; rules are the matter of sql/rules.sql
SELECT cdp.define_namespace('*', max_per_profile => 0), cdp.define_namespace('user_id', max_per_profile => 0);
SELECT count(cdp.define_trait(name, type)) FROM (VALUES ('email', 'text'), ('country', 'text'), ('age', 'int'), ('points', 'bigint'),
	('score', 'float8'), ('vip', 'bool'), ('born', 'date'), ('joined', 'timestamptz'), ('card', 'uuid'), ('First Name', 'text')) t (name, type);

--
-- Predicates that may
--
SELECT p AS predicate, cdp.check_predicate(p) AS canonical FROM (VALUES
	('age >= 18'), ('vip'), ('not vip'), ('true'), ('country = ''JP'' and points >= 100000 or vip'),
	('country in (''JP'', ''FR'')'), ('age between 18 and 65'), ('email like ''%@example.com'''), ('email ~* ''^a'''),
	('lower(country) = ''jp'''), ('length(email) > 3'), ('coalesce(age, 0) < 18'), ('age is not null'), ('age is distinct from 3'),
	('case when vip then age > 1 else points > 1 end'), ('traits ->> ''city'' = ''Kyoto'''), ('traits ? ''city'''), ('(traits ->> ''n'')::int > 5'),
	('traits @> ''{"tags": ["a"]}'''), ('jsonb_path_exists(traits, ''$.n ? (@ > 3)'')'), ('events > 10'), ('greatest(age, 3) = 3'),
	('"First Name" = ''Ada'''), ('p.age = 1'), ('(age, points) > (1, 2)'), ('age = any (array[1, 2])'), ('born < ''2000-01-01'''), ('born < date ''2000-01-01'' + 1'),
	('last_seen > ''2025-01-01 00:00Z'''), ('last_seen - first_seen > ''1 day'''), ('(last_seen at time zone ''Asia/Tokyo'')::date = ''2025-01-01'''),
	('joined < timestamptz ''2025-01-01 00:00 Asia/Tokyo'''), ('card = ''00112233-4455-6677-8899-aabbccddeeff'''), ('age > 1 -- a comment'), (E'age\n>\n1'), ('age > 1 /* ; */'),
	('profile_id % 10 = 3'), ('email = ''today'' or email = ''now'''), ('country collate "C" > ''A''')) v (p);

-- refused, each with the reason
CREATE FUNCTION try(predicate text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text;
	state text;
BEGIN
	PERFORM cdp.define_segment('refused', predicate);
	RETURN 'TAKEN as ' || cdp.check_predicate(predicate);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, state = RETURNED_SQLSTATE;
	RETURN state || ' ' || message;
END $$;
CREATE FUNCTION public.mine(int) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT true';
CREATE FUNCTION public.lower(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RAISE ''public.lower ran''; END';
CREATE OPERATOR public.<=> (FUNCTION = public.mine, RIGHTARG = int);
CREATE TYPE public.mood AS ENUM ('sad', 'ok');
SET search_path = public, pg_catalog;
SELECT p AS predicate, public.try(p) AS answer FROM (VALUES
	-- not one expression
	(''), (' '), ('-- nothing'), ('age > 1, age > 2'), ('*'), ('p.*'), ('age > 1 from pg_class'), ('age > 1 where true'), ('age > 1 group by age'),
	('age > 1 limit 1'), ('age > 1 order by 1'), ('distinct true'), ('true into x'), ('true union select true'), ('true) or (true'), ('1=1; drop table cdp_data.profile'),
	('select true'), ('with x as (select 1) select true'), ('true for update'), ('age >'), ('age > ''x'),
	-- not over one profile
	('exists (select 1)'), ('age > (select 1)'), ('age in (select 1)'), ('age = any (array(select 1))'), ('count(*) > 1'), ('bool_and(vip)'), ('sum(age) over () > 1'), ('row_number() over () = 1'),
	('generate_series(1, 2) = 1'), ('unnest(array[true])'), ('grouping(age) = 0'), ('age = $1'), ('p is not null'), ('p = p'), ('p.ctid is not null'), ('xmin is not null'), ('tableoid > 0'),
	('segments @> ''{a}'''), ('identifiers ? ''email'''), ('nothing = 1'), ('profile.age = 1'),
	-- not boolean
	('age'), ('country'), ('null'), ('''true'''), ('1'), ('row(1)'),
	-- time that moves, settings, the world
	('last_seen > now()'), ('born = current_date'), ('last_seen > current_timestamp'), ('localtime > ''12:00'''), ('clock_timestamp() > last_seen'), ('email = current_user'), ('email = session_user'), ('country = current_schema'),
	('last_seen > ''yesterday'''), ('last_seen > ''now'''), ('born = ''today'''), ('born < ''TOMORROW'''), ('last_seen > timestamptz '' today 12:00'''), ('last_seen > cast(''now'' as timestamptz)'),
	('born = date ''today'' - 7'), ('last_seen > any (array[''now'', ''today'']::timestamptz[])'),
	('last_seen::date = ''2025-01-01'''), ('joined::timestamp > ''2025-01-01'''), ('joined::text > ''2025'''), ('born::text = ''2025-01-01'''), ('born::timestamptz = joined'), ('email::timestamptz = joined'), ('email::date = born'), ('born > joined'),
	('date_trunc(''day'', joined) = joined'), ('extract(year from joined) = 2025'), ('to_char(joined, ''YYYY'') = ''2025'''), ('age(joined) > ''1 day'''), ('joined + ''1 day'' > last_seen'),
	('random() < 0.5'), ('nextval(''cdp_data.ord_seq'') > 0'), ('pg_sleep(1) is null'), ('gen_random_uuid() = card'), ('concat(email) = ''a'''), ('format(''%s'', age) = ''1'''),
	('current_setting(''x'') = ''y'''), ('pg_read_file(''/etc/passwd'') = email'), ('table_to_xml(''pg_authid'', true, true, '''') is not null'), ('has_table_privilege(''pg_authid'', ''select'')'), ('set_config(''role'', ''none'', false) = email'),
	('to_tsvector(email) @@ ''a'''), ('cdp.allowed(age)'),
	-- somebody else's code
	('public.mine(age)'), ('mine(age)'), ('public.lower(email) = ''a'''), ('operator(public.<=>) age'), ('email::public.mood = ''ok''')) v (p);
-- nobody else's operators, domains and types; times that move, however they are written
CREATE OPERATOR public.=== (FUNCTION = pg_catalog.texteq, LEFTARG = text, RIGHTARG = text);
CREATE DOMAIN public.grown AS int CHECK (public.mine(VALUE));
CREATE TYPE public.pair AS (a int, b int);
SELECT p AS taken FROM (VALUES ('ord > 1'), ('last_seen > ''12:00 today'''), ('last_seen > $$yesterday$$'), ('last_seen > E''\x79esterday'''), ('last_seen > U&''\0079esterday'''),
	('last_seen = any (''{now}'')'), ('last_seen <@ tstzrange ''[2020-01-01,today)'''), ('born <@ daterange ''(,today)'''),
	('email operator(public.===) ''a'''), ('age::public.grown > 1'), ('row(age, 1)::public.pair = row(1, 1)::public.pair')) v (p) WHERE public.try(p) LIKE 'TAKEN%';
DROP OPERATOR public.=== (text, text);
DROP DOMAIN public.grown;
DROP TYPE public.pair;
RESET search_path;
SELECT name FROM cdp.segments;
DROP OPERATOR public.<=> (NONE, int);
DROP TYPE public.mood;
DROP FUNCTION public.mine(int);

-- errors in full
SELECT cdp.define_segment('x', 'age > 1 and now() > last_seen');
SELECT cdp.define_segment('x', 'country');
SELECT cdp.define_segment('x', 'a; b');
SELECT cdp.define_segment('x', 'age > 1 and exists (select from pg_class)');
SELECT cdp.define_segment('x', 'last_seen > ''yesterday''');
SELECT cdp.define_segment('x', 'last_seen::date = ''2025-01-01''');
SELECT cdp.define_segment('x', 'age > 3', rule => '{"age": {"$gt": 3}}');
SELECT cdp.define_segment('x');
SELECT cdp.define_segment('x', NULL);
SELECT cdp.define_segment(NULL, 'true');
SELECT cdp.define_segment(' x', 'true');
SELECT cdp.drop_segment('x');
SELECT cdp.drop_segment(NULL);

-- one meaning, whatever the search path of who defines it or of who writes
SELECT cdp.define_segment('path', 'lower(country) = ''jp''') > 0 AS defined;
SET search_path = public, pg_catalog;
SELECT cdp.check_predicate('lower(country) = ''jp''') = (SELECT predicate FROM cdp_data.segment WHERE name = 'path') AS same;
SELECT cdp.define_segment('path', 'lower(country) = ''jp''') > 0 AS defined;
SELECT cdp.identify('user_id:path', '{"country": "JP"}') IS NOT NULL AS identified;
SELECT segments FROM cdp.profiles;
RESET search_path;
DROP FUNCTION public.lower(text);
SELECT name, predicate, members, last_error FROM cdp.segments;
-- a literal instant is read where the definition is made
SET timezone = 'Asia/Tokyo';
SELECT cdp.check_predicate('joined < ''2025-01-01''') AS canonical;
RESET timezone;
SET timezone = 'UTC';
-- the canonical form does not depend on how the definer's session writes dates
CREATE TABLE canonical AS SELECT p, cdp.check_predicate(p) AS c FROM unnest('{born > date ''2000-02-01'',joined < ''2000-02-01 00:00Z'',joined - last_seen > ''-1 day -2 hours''}'::text[]) p;
SET datestyle = 'SQL, DMY';
SET intervalstyle = 'sql_standard';
SELECT bool_and(cdp.check_predicate(p) = c) AS same FROM canonical WHERE p NOT LIKE '%hours%';
SELECT cdp.define_segment('born later', 'born > date ''2000-02-01''') > 0 AS defined;
SET datestyle = 'ISO, MDY';
SELECT cdp.identify('user_id:born', '{"born": "2000-01-15"}') IS NOT NULL AS identified;
SELECT segments @> '{born later}' AS member FROM cdp.profiles WHERE born = '2000-01-15';
SET datestyle = 'ISO, YMD';
SET intervalstyle = 'postgres';
SELECT cdp.drop_segment('born later');
DROP TABLE canonical;
SELECT cdp.drop_segment('path');

--
-- Membership
--
CREATE FUNCTION names(who text) RETURNS text[] LANGUAGE sql AS $$ SELECT segments FROM cdp.profiles WHERE profile_id = cdp.resolve(who) $$;
CREATE FUNCTION members(segment text) RETURNS TABLE (who jsonb, since timestamptz) LANGUAGE sql AS $$
	SELECT p.identifiers, m.since FROM cdp.segment_members m JOIN cdp.profiles p USING (profile_id) WHERE m.segment = $1 ORDER BY p.identifiers::text COLLATE "C"
$$;
SET cdp.clock = '2025-01-01 00:00Z';
SELECT cdp.define_segment('busy', 'events >= 3', description => 'Three events or more') > 0 AS defined;
SELECT cdp.define_segment('adult', 'age >= 18') > 0 AS defined;
SELECT cdp.define_segment('常連', 'vip') > 0 AS defined;
SELECT cdp.define_segment('big spender', 'points > 1000') > 0 AS defined;
SELECT cdp.define_segment('say "hi"', 'country = ''FR''') > 0 AS defined;
-- by events
SELECT count(cdp.track('user_id:ada', 'Seen', at => '2024-12-01')) FROM generate_series(1, 2);
SELECT names('user_id:ada');
SET cdp.clock = '2025-01-02 00:00Z';
SELECT cdp.track('user_id:ada', 'Seen', at => '2024-12-01') IS NOT NULL AS tracked;
SET cdp.clock = '2025-01-03 00:00Z';
SELECT cdp.track('user_id:ada', 'Seen', at => '2024-12-01') IS NOT NULL AS tracked;
SELECT * FROM members('busy');
-- by traits; in several at once; leaving
SELECT cdp.identify('user_id:ada', '{"age": 36, "vip": true, "points": 2000, "country": "FR"}', '2024-12-01') IS NOT NULL AS identified;
SELECT names('user_id:ada');
SELECT cdp.identify('user_id:ada', '{"age": 17, "vip": null, "points": 1000}', '2024-12-02') IS NOT NULL AS identified;
SELECT names('user_id:ada');
-- an older value changes nothing
SELECT cdp.identify('user_id:ada', '{"age": 99}', '2024-12-01') IS NOT NULL AS identified;
SELECT names('user_id:ada');
-- what is rolled back is no membership
BEGIN;
SELECT cdp.identify('user_id:ada', '{"age": 40}', '2024-12-03') IS NOT NULL AS identified;
SELECT names('user_id:ada');
ROLLBACK;
SELECT names('user_id:ada');
SELECT * FROM members('adult');
-- by a merge: she who was in stays in since then, once
SET cdp.clock = '2025-01-04 00:00Z';
SELECT cdp.identify('cookie:c', '{"points": 5000, "country": "FR"}', '2024-12-01') IS NOT NULL AS identified;
SET cdp.clock = '2025-01-05 00:00Z';
SELECT count(cdp.track('cookie:d', 'Seen', at => '2024-12-01')) FROM generate_series(1, 2);
SELECT cdp.identify('cookie:d', '{"points": 6000, "age": 5}', '2024-11-01') IS NOT NULL AS identified;
SELECT * FROM members('big spender');
SELECT * FROM members('busy');
SET cdp.clock = '2025-01-06 00:00Z';
SELECT cdp.track('{cookie:c,cookie:d}', 'Seen', at => '2024-12-01') IS NOT NULL AS merged;
SELECT * FROM members('big spender');
SELECT * FROM members('busy');
-- two halves that are in together only
SELECT cdp.identify('cookie:e', '{"country": "FR"}', '2024-12-03') IS NOT NULL AS identified;
SELECT cdp.define_segment('french adult', 'country = ''FR'' AND age >= 18') > 0 AS defined;
SELECT cdp.identify('cookie:f', '{"age": 20, "country": "JP"}', '2024-12-02') IS NOT NULL AS identified;
SELECT * FROM members('french adult');
SET cdp.clock = '2025-01-07 00:00Z';
SELECT cdp.identify('{cookie:e,cookie:f}', '{}', '2024-12-02') IS NOT NULL AS merged;
SELECT * FROM members('french adult');
-- a merge may end a membership
SELECT cdp.define_segment('japanese', 'country = ''JP''') > 0 AS defined;
SELECT cdp.identify('cookie:g', '{"country": "JP"}', '2024-12-01') IS NOT NULL AS identified;
SELECT * FROM members('japanese');
SELECT cdp.identify('{cookie:g,cookie:e}', '{}', '2024-12-02') IS NOT NULL AS merged;
SELECT * FROM members('japanese');

-- redefined: members are found anew; since is kept by who stays
SET cdp.clock = '2025-01-08 00:00Z';
SELECT cdp.define_segment('busy', 'events >= 4') > 0 AS redefined;
SELECT * FROM members('busy');
SELECT name, predicate, description, members FROM cdp.segments ORDER BY name COLLATE "C";
SELECT cdp.drop_segment('japanese'), cdp.drop_segment('french adult');
SELECT cdp.members('japanese');
SELECT names('cookie:e'), (SELECT count(*) FROM cdp_data.segment_member m WHERE NOT EXISTS (SELECT FROM cdp_data.segment s WHERE s.segment_id = m.segment_id)) AS orphans;
-- one that an activation uses cannot be dropped
SELECT cdp.define_purpose('marketing') > 0 AS defined, cdp.define_activation('busy', 'email', 'marketing') > 0 AS activated;
SELECT cdp.drop_segment('busy');
SELECT cdp.drop_activation('busy', 'email', 'marketing');
SELECT cdp.drop_activation('busy', 'email', 'marketing');

-- a rule that raises: not a member, recorded without data, the event stays
SELECT cdp.define_segment('raises', '(traits ->> ''n'')::int > 5') > 0 AS defined;
SELECT cdp.define_segment('divides', '100 / age > 2') > 0 AS defined;
SELECT cdp.identify('user_id:fine', '{"n": "7", "age": 10}') IS NOT NULL AS identified;
SELECT names('user_id:fine');
SELECT name, last_error, last_error_at FROM cdp.segments WHERE name IN ('raises', 'divides') ORDER BY name;
SELECT cdp.identify('user_id:bad', '{"n": "top secret", "age": 0, "vip": true}', message_id => 'bad') IS NOT NULL AS identified;
SELECT names('user_id:bad'), (SELECT count(*) FROM cdp.events WHERE message_id = 'bad') AS events;
SELECT name, last_error, last_error_at FROM cdp.segments WHERE name IN ('raises', 'divides') ORDER BY name;
-- a batch with one of them in it keeps the others right
SELECT status FROM cdp.ingest('[{"type": "identify", "userId": "b1", "traits": {"n": "9", "age": 20}}, {"type": "identify", "userId": "b2", "traits": {"n": "x", "age": 20}}, {"type": "identify", "userId": "b3", "traits": {"n": "1", "age": 0}}]');
SELECT names('user_id:b1'), names('user_id:b2'), names('user_id:b3');
-- who was a member when the rule began to raise is none any more
SELECT cdp.identify('user_id:b1', '{"n": "nine"}', '2025-01-09') IS NOT NULL AS identified;
SELECT names('user_id:b1');
-- redefined, the error is forgotten; and it is found when a rule is built
SELECT cdp.define_segment('divides', 'age > 50') > 0 AS redefined;
SELECT last_error FROM cdp.segments WHERE name = 'divides';
SELECT cdp.define_segment('divides', '100 / age > 2') > 0 AS redefined;
SELECT last_error FROM cdp.segments WHERE name = 'divides';
-- an error that is not the rule's fault is not swallowed
BEGIN;
SELECT cdp.define_segment('slow', 'md5(repeat(email, 20000000)) = ''x''') > 0 AS defined;
SET LOCAL statement_timeout = '50ms';
SELECT cdp.identify('user_id:slow', '{"email": "a@b.cd"}') IS NOT NULL AS identified;
ROLLBACK;
SELECT count(*) FROM cdp.identifiers WHERE value = 'slow';

--
-- Property: membership is the predicate, evaluated from scratch for everybody
--
RESET cdp.clock;
CREATE TABLE rules (name text, predicate text);
INSERT INTO rules VALUES
	('r_age', 'age >= 18 AND age < 65'), ('r_null', 'age IS NULL'), ('r_country', 'country IN (''JP'', ''FR'')'), ('r_not', 'NOT vip'), ('r_unless', 'vip IS NOT TRUE'),
	('r_events', 'events > 2'), ('r_seen', 'last_seen > ''2025-03-01 00:00Z'''), ('r_span', 'last_seen - first_seen > ''40 days'''), ('r_score', 'score * 2 > points'),
	('r_json', 'traits ->> ''city'' = ''Kyoto'''), ('r_tags', 'traits @> ''{"tags": [3]}'''), ('r_name', '"First Name" LIKE ''%3%'''), ('r_born', 'born BETWEEN ''1980-01-01'' AND ''1999-12-31'''),
	('r_all', 'true'), ('r_none', 'false'), ('r_raises', '(traits ->> ''maybe'')::int > 3');
SELECT count(cdp.define_segment(name, predicate)) FROM rules WHERE name < 'r_k';

CREATE FUNCTION message(n int) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
	SELECT jsonb_strip_nulls(jsonb_build_object('type', CASE WHEN n % 3 = 0 THEN 'track' ELSE 'identify' END, 'event', CASE WHEN n % 3 = 0 THEN 'Seen' END,
		'userId', CASE WHEN n % 5 < 3 THEN format('p%s', abs(hashtext('u' || n)) % 700) END, 'anonymousId', CASE WHEN n % 5 <> 1 THEN format('a%s', abs(hashtext('a' || n)) % 1600) END,
		'messageId', format('n%s', n), 'timestamp', '2025-01-01Z'::timestamptz + make_interval(hours => n * 31 % 2400))) ||
	CASE WHEN n % 3 = 0 THEN '{}' ELSE jsonb_build_object('traits', (SELECT jsonb_object_agg(k, v) FROM (VALUES
		(1, 'age', CASE WHEN n % 7 = 0 THEN 'null' ELSE to_jsonb(n * 13 % 90) END), (2, 'country', to_jsonb((ARRAY['JP', 'FR', 'DE', 'US'])[1 + n % 4])), (3, 'vip', to_jsonb(n % 2 = 0)), (4, 'points', to_jsonb(n * 17 % 1000)),
		(5, 'score', to_jsonb((n * 19 % 1000)::float8 / 3)), (6, 'city', to_jsonb((ARRAY['Kyoto', 'Paris'])[1 + n % 2])), (7, 'tags', jsonb_build_array(n % 4, n % 7)), (8, 'First Name', to_jsonb(format('N%s', n % 50))),
		(9, 'born', to_jsonb('1970-01-01'::date + n * 37 % 15000)), (10, 'maybe', CASE WHEN n % 11 = 0 THEN '"no"' ELSE to_jsonb(n % 9) END)) v (i, k, v) WHERE (n + i) % 3 <> 1)) END
$$;
-- one by one, and in batches
SELECT count(*) FILTER (WHERE s.status <> 'accepted') AS refused, count(*) FROM generate_series(1, 400) n, cdp.ingest(message(n)) s;
SELECT count(*) FILTER (WHERE s.status <> 'accepted') AS refused, count(*) FROM generate_series(401, 1900, 150) b, cdp.ingest((SELECT jsonb_agg(message(n) ORDER BY md5(n::text)) FROM generate_series(b, b + 149) n)) s;
-- the other half of the rules comes when the people are there
SELECT count(cdp.define_segment(name, predicate)) FROM rules WHERE name > 'r_k';
SELECT count(*) FILTER (WHERE s.status <> 'accepted') AS refused, count(*) FROM generate_series(1901, 2000) n, cdp.ingest(message(n)) s;
SELECT count(*) BETWEEN 300 AND 900 AS enough_people, (SELECT count(*) > 50 FROM cdp.merged_profiles) AS enough_merges FROM cdp.profiles;

CREATE FUNCTION holds(predicate text, profile bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	result boolean;
BEGIN
	EXECUTE format('SELECT %s FROM cdp.profiles p WHERE profile_id = $1', predicate) INTO result USING profile;
	RETURN coalesce(result, false);
EXCEPTION WHEN invalid_text_representation THEN
	RETURN false;
END $$;
CREATE FUNCTION from_scratch() RETURNS TABLE (profile_id bigint, segment text) LANGUAGE plpgsql AS $$
DECLARE
	r record;
BEGIN
	FOR r IN SELECT * FROM rules LOOP
		IF r.name = 'r_raises' THEN
			RETURN QUERY SELECT p.profile_id, r.name FROM cdp.profiles p WHERE holds(r.predicate, p.profile_id);
		ELSE
			RETURN QUERY EXECUTE format('SELECT profile_id, %L FROM cdp.profiles p WHERE %s', r.name, r.predicate);
		END IF;
	END LOOP;
END $$;
CREATE VIEW kept AS SELECT profile_id, segment FROM cdp.segment_members WHERE segment LIKE 'r\_%';
CREATE VIEW in_profile AS SELECT profile_id, s AS segment FROM cdp.profiles, unnest(segments) s WHERE s LIKE 'r\_%';
CREATE FUNCTION differences() RETURNS TABLE (what text, n bigint) LANGUAGE sql AS $$
	SELECT 'missing', count(*) FROM (SELECT * FROM from_scratch() EXCEPT ALL SELECT * FROM kept) x UNION ALL
	SELECT 'wrong', count(*) FROM (SELECT * FROM kept EXCEPT ALL SELECT * FROM from_scratch()) x UNION ALL
	SELECT 'not in cdp.profiles', count(*) FROM (SELECT * FROM kept EXCEPT ALL SELECT * FROM in_profile) x UNION ALL
	SELECT 'only in cdp.profiles', count(*) FROM (SELECT * FROM in_profile EXCEPT ALL SELECT * FROM kept) x UNION ALL
	SELECT 'array <> rows', count(*) FROM cdp_data.profile_state s
		WHERE s.segments IS DISTINCT FROM ARRAY(SELECT m.segment_id FROM cdp_data.segment_member m WHERE m.ord = s.ord AND m.profile_id = s.profile_id ORDER BY 1) UNION ALL
	SELECT 'of nobody', count(*) FROM cdp_data.segment_member m WHERE NOT EXISTS (SELECT FROM cdp_data.profile_state s WHERE s.profile_id = m.profile_id AND s.ord = m.ord)
$$;
SELECT * FROM differences();
SELECT count(*) > 1000 AS memberships, count(DISTINCT segment) AS segments FROM kept;
SELECT name FROM cdp.segments WHERE last_error IS NOT NULL ORDER BY name;
-- a rule that looked for a trait among the undeclared ones is redefined when the trait is declared
SELECT cdp.define_trait('city');
SELECT * FROM differences();
SELECT cdp.define_segment('r_json', 'city = ''Kyoto''') > 0 AS redefined;
UPDATE rules SET predicate = 'city = ''Kyoto''' WHERE name = 'r_json';
SELECT * FROM differences();

-- expressions
CREATE TABLE expressions (expr text, condition text);
INSERT INTO expressions VALUES
	('r_age', 'a'), ('!r_age', 'NOT a'), ('not r_age', 'NOT a'), ('! ! r_age', 'a'), ('r_age & r_not', 'a AND b'), ('r_age and r_not', 'a AND b'), ('r_age | r_not & r_events', 'a OR b AND c'), ('(r_age | r_not) & r_events', '(a OR b) AND c'),
	('r_events & r_age | r_not', 'c AND a OR b'), ('!r_age & r_not', 'NOT a AND b'), ('!(r_age & r_not)', 'NOT (a AND b)'), ('!r_age | !r_not & !r_events', 'NOT a OR NOT b AND NOT c'), ('r_age OR r_not AND r_events', 'a OR b AND c'),
	('((("r_age")))', 'a'), ('r_age&!r_not|!r_events', 'a AND NOT b OR NOT c'), ('r_none', 'false'), ('r_all & !r_none', 'true'), ('"r_age" & "r_not"', 'a AND b');
CREATE FUNCTION check_expression(expr text, condition text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text;
BEGIN
	EXECUTE format('WITH f AS (SELECT profile_id FROM (SELECT profile_id, segments @> ''{r_age}'' AS a, segments @> ''{r_not}'' AS b, segments @> ''{r_events}'' AS c FROM cdp.profiles) x WHERE %s), '
		'm AS (SELECT profile_id FROM cdp.members(%L)) '
		'SELECT CASE WHEN EXISTS (SELECT * FROM f EXCEPT ALL SELECT * FROM m) OR EXISTS (SELECT * FROM m EXCEPT ALL SELECT * FROM f) THEN ''differs'' '
		'WHEN cdp.segment_count(%L) <> (SELECT count(*) FROM f) THEN ''counts differ'' ELSE ''equal'' END', condition, expr, expr) INTO answer;
	RETURN answer;
END $$;
SELECT check_expression(expr, condition) AS answer, count(*) FROM expressions GROUP BY 1;
SELECT count(*) > 0 AS distinguishing FROM (SELECT cdp.segment_count('r_age | r_not & r_events') AS a, cdp.segment_count('(r_age | r_not) & r_events') AS b) x WHERE a <> b;

-- names as they are, and in quotes
SELECT cdp.segment_count('常連') = (SELECT count(*) FROM cdp.profiles WHERE vip) AS plain, cdp.segment_count('常連&!"big spender"') = (SELECT count(*) FROM cdp.profiles WHERE vip AND (points > 1000) IS NOT TRUE) AS both,
	cdp.segment_count('"say ""hi"""') = (SELECT count(*) FROM cdp.profiles WHERE country = 'FR') AS quotes;
SELECT cdp.members(NULL), cdp.segment_count(NULL);
-- refused, with the place
SELECT cdp.members('');
SELECT cdp.members('r_age &');
SELECT cdp.members('& r_age');
SELECT cdp.members('r_age r_not');
SELECT cdp.members('(r_age');
SELECT cdp.members('r_age)');
SELECT cdp.members('()');
SELECT cdp.members('r_age !r_not');
SELECT cdp.members('big spender');
SELECT cdp.members('"big spender');
SELECT cdp.members('""');
SELECT cdp.members('常連 & & r_age');
SELECT cdp.segment_count('nobody''s');
SELECT cdp.segment_count('r_age & unknown');
SELECT cdp.segment_count('R_AGE');
SELECT cdp.segment_count('r_age; DROP TABLE rules');
SELECT cdp.segment_count(repeat('!', 2000) || 'r_age');
SELECT cdp.segment_count(repeat('(', 499) || 'r_none' || repeat(')', 499)) AS deep;

\c :main
DROP DATABASE regress_cdp_segment;
