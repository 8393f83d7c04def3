-- Queries over segments, made at random: with counts from the membership index
-- and without, and by plain SQL over cdp.profiles.segments, under roles that see
-- everybody, some and nobody, while time passes and people change.  All three
-- must answer the same.  In a database of its own.
--
-- CDP_FUZZ_CLAUSES=100000 makes so many; CDP_FUZZ_SEED other ones.
\set SHOW_CONTEXT never
\set main :DBNAME
\set clauses 2000
\set seed 1
\getenv clauses CDP_FUZZ_CLAUSES
\getenv seed CDP_FUZZ_SEED
CREATE DATABASE regress_cdp_segment_fuzz TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_cdp_segment_fuzz
SET timezone = 'UTC';
SET client_min_messages = warning;
SET jit = off;
CREATE EXTENSION cdp;
SELECT count(*) > 0 AS initialised FROM cdp.init();
SELECT cdp.define_namespace('*', max_per_profile => 0), cdp.define_namespace('user_id', max_per_profile => 0);
SET cdp.clock = '2031-01-01';
SELECT count(cdp.define_trait(name, type)) FROM (VALUES ('n', 'int'), ('k', 'int')) t (name, type);
SELECT count(cdp.define_segment(name, predicate)) FROM (VALUES (1, 'a', 'n % 2 = 0'), (2, 'b', 'n % 3 = 0 OR k = 1'), (3, 'c', 'n % 50 = 0'), (4, 't', 'cdp.within(last_seen, ''5 days'')'),
	(5, 'u', 'cdp.in_segment(''a'') AND NOT cdp.in_segment(''t'')'), (6, 'e', 'n < 0'), (7, 'all', 'true'), (8, 'x y', 'k > 2')) s (i, name, predicate);
SELECT count(cdp.show_segment(name)::text) FROM unnest('{a,b,c,t,u,e,all}'::text[]) name;
SELECT count(cdp.define_purpose(p)) FROM unnest('{news,ads}'::text[]) p;
CREATE ROLE regress_cdp_fuzz_news;
CREATE ROLE regress_cdp_fuzz_ads;
CREATE ROLE regress_cdp_fuzz_both;
CREATE ROLE regress_cdp_fuzz_none;
CREATE ROLE regress_cdp_fuzz_bypass BYPASSRLS;
SELECT count(cdp.permit(('regress_cdp_fuzz_' || r)::regrole, p)::text) FROM (VALUES ('news', 'news'), ('ads', 'ads'), ('both', 'news'), ('both', 'ads')) v (r, p);
SELECT count(cdp.provision(('regress_cdp_fuzz_' || r)::regrole, 'analyst')::text) FROM unnest('{none,bypass}'::text[]) r;
-- people in three chunks, with gaps
SELECT count(cdp.identify('user_id:u' || i, jsonb_build_object('n', i, 'k', i % 5), at => '2031-01-01'::timestamptz - i * interval '1 hour')) FROM generate_series(1, 120) i;
SELECT setval('cdp_data.ord_seq', 15850) > 0 AS moved;
SELECT count(cdp.identify('user_id:u' || i, jsonb_build_object('n', i, 'k', i % 5), at => '2031-01-01'::timestamptz - i * interval '1 hour')) FROM generate_series(121, 200) i;
SELECT setval('cdp_data.ord_seq', 40000) > 0 AS moved;
SELECT count(cdp.identify('user_id:u' || i, jsonb_build_object('n', i, 'k', i % 5), at => '2031-01-01'::timestamptz - i * interval '1 hour')) FROM generate_series(201, 240) i;
SELECT count(cdp.set_consent('user_id:u' || i, p, 'granted')) FROM generate_series(1, 240) i, unnest('{news,ads}'::text[]) p WHERE hashint4(i + length(p)) % 3 <> 0;
ANALYZE;

-- A condition: over the columns on trial, and over segments.
CREATE TYPE condition AS (sql text, plain text);
CREATE FUNCTION pick(list text[]) RETURNS text LANGUAGE sql VOLATILE AS 'SELECT list[1 + floor(random() * cardinality(list))::int]';
CREATE FUNCTION expression(depth int, OUT expr text, OUT plain text) LANGUAGE plpgsql AS $$
DECLARE
	name text := pick('{a,b,c,t,u,e,all,"x y"}');
	l record;
	r record;
BEGIN
	IF depth = 0 OR random() < 0.3 THEN
		expr := CASE WHEN name = 'x y' OR random() < 0.1 THEN '"' || name || '"' ELSE name END;
		plain := format('p.segments @> %L', ARRAY[name]);
		RETURN;
	END IF;
	SELECT * INTO l FROM expression(depth - 1);
	SELECT * INTO r FROM expression(depth - 1);
	CASE floor(random() * 3)
		WHEN 0 THEN expr := '!(' || l.expr || ')'; plain := 'NOT (' || l.plain || ')';
		WHEN 1 THEN expr := '(' || l.expr || ') & (' || r.expr || ')'; plain := '(' || l.plain || ') AND (' || r.plain || ')';
		ELSE expr := '(' || l.expr || ') | (' || r.expr || ')'; plain := '(' || l.plain || ') OR (' || r.plain || ')';
	END CASE;
END $$;
CREATE FUNCTION condition(depth int, others float8) RETURNS condition LANGUAGE plpgsql AS $$
DECLARE
	name text := pick('{a,b,c,t,u,e,all}');
	col text := 'p.is_' || name;
	is_in text := format('(p.segments @> %L)', ARRAY[name]);
	e record;
	l condition;
	r condition;
BEGIN
	IF depth > 0 AND random() < 0.7 THEN
		l := condition(depth - 1, others);
		r := condition(depth - 1, others);
		IF random() < others / 2 THEN
			IF random() < 0.5 THEN
				RETURN (format('CASE WHEN %s THEN %s ELSE %s END', l.sql, r.sql, col), format('CASE WHEN %s THEN %s ELSE %s END', l.plain, r.plain, is_in));
			END IF;
			RETURN (format('coalesce(%s, %s)', l.sql, r.sql), format('coalesce(%s, %s)', l.plain, r.plain));
		END IF;
		CASE floor(random() * 5)
			WHEN 0 THEN RETURN ('NOT (' || l.sql || ')', 'NOT (' || l.plain || ')');
			WHEN 1, 2 THEN RETURN ('(' || l.sql || ') AND (' || r.sql || ')', '(' || l.plain || ') AND (' || r.plain || ')');
			ELSE RETURN ('(' || l.sql || ') OR (' || r.sql || ')', '(' || l.plain || ') OR (' || r.plain || ')');
		END CASE;
	END IF;
	IF random() < others THEN
		col := pick('{p.n % 5 = 2,p.n < 100,p.profile_id < 150,p.profile_id = 7,p.k IN (1\,3),NULL::boolean,p.n IS NULL,random() < 2,false,1 = 1}');
		RETURN (col, col);
	END IF;
	CASE floor(random() * 12)
		WHEN 0 THEN RETURN (col || ' = true', is_in);
		WHEN 1 THEN RETURN (col || ' = false', 'NOT ' || is_in);
		WHEN 2 THEN RETURN (col || ' IS TRUE', is_in || ' IS TRUE');
		WHEN 3 THEN RETURN (col || ' IS NOT TRUE', is_in || ' IS NOT TRUE');
		WHEN 4 THEN RETURN (col || ' IS NOT FALSE', is_in || ' IS NOT FALSE');
		WHEN 5 THEN
			name := pick('{IS NULL,IS NOT NULL,IS UNKNOWN}');
			RETURN (col || ' ' || name, is_in || ' ' || name);
		WHEN 6 THEN RETURN (format('p.segment_set OPERATOR(cdp.@>) %L', name), is_in);
		WHEN 7, 8, 9 THEN
			SELECT * INTO e FROM expression(3);
			RETURN (format('p.segment_set OPERATOR(cdp.@@) %L', e.expr), '(' || e.plain || ')');
		ELSE RETURN (col, is_in);
	END CASE;
END $$;
CREATE FUNCTION shape() RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT CASE WHEN random() < 0.5 THEN 'SELECT count(*) FROM {rel} p WHERE {c}' ELSE (ARRAY[
		'SELECT count(1) + 0 FROM {rel} p WHERE {c}',
		'SELECT sum(c)::bigint FROM (SELECT count(*) AS c FROM {rel} p WHERE {c} UNION ALL SELECT count(*) * 1000 FROM {rel} p WHERE NOT ({c})) x',
		'SELECT count(*) FROM (SELECT p.profile_id FROM {rel} p WHERE {c} LIMIT 11) x',
		'SELECT count(*) FROM {rel} p JOIN {rel} q ON q.profile_id = p.profile_id WHERE {c}',
		'SELECT count(*) FROM {rel} q LEFT JOIN (SELECT * FROM {rel} p WHERE {c}) p ON q.profile_id = p.profile_id WHERE p.profile_id IS NULL',
		'SELECT count(*) FILTER (WHERE {c}) FROM {rel} p',
		'SELECT sum(c * c)::bigint FROM (SELECT count(*) AS c FROM {rel} p WHERE {c} GROUP BY p.n % 3) x',
		'SELECT count(*) FROM {rel} p WHERE {c} HAVING count(*) > 20',
		'SELECT count(*) FROM {rel} q WHERE EXISTS (SELECT FROM {rel} p WHERE p.profile_id = q.profile_id AND ({c}))',
		'SELECT count(*) FROM {rel} q LEFT JOIN {rel} p ON p.profile_id = q.profile_id + 1 WHERE {c}',
		'SELECT count(*) FROM {rel} q LEFT JOIN {rel} p ON p.profile_id = q.profile_id + 1 AND ({c})',
		'SELECT (SELECT count(*) FROM {rel} p WHERE {c}) * 1000 + (SELECT count(*) FROM {rel} p)',
		'SELECT count(DISTINCT p.n % 7) FROM {rel} p WHERE {c}',
		'SELECT sum(y)::bigint FROM generate_series(1, 3) g, LATERAL (SELECT count(*) AS y FROM {rel} p WHERE ({c}) AND g > 1) x',
		'SELECT sum(y)::bigint FROM generate_series(1, 3) g, LATERAL (SELECT count(*) + g AS y FROM {rel} p WHERE {c}) x',
		'SELECT max(y) FROM (SELECT count(*) OVER () AS y FROM {rel} p WHERE {c}) x',
		'SELECT count(*) FROM (SELECT DISTINCT p.n FROM {rel} p WHERE {c}) x',
		'SELECT count(*) FROM (SELECT * FROM {rel} p WHERE {c}) p WHERE {c}'])[1 + floor(random() * 18)::int] END $$;
CREATE FUNCTION answer(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
	message text;
BEGIN
	EXECUTE query INTO result;
	RETURN coalesce(result, 'none');
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT;
	RETURN message;
END $$;
CREATE TABLE tried (pushed boolean, role text, answer text);
GRANT INSERT, SELECT ON tried TO PUBLIC;
CREATE FUNCTION try(n int) RETURNS TABLE (role text, query text, pushed text, counted text, plain text) LANGUAGE plpgsql AS $$
DECLARE
	c condition;
	s text;
	way text;
	is_pushed boolean;
BEGIN
	FOR i IN 1..n LOOP
		role := pick('{none,regress_cdp_fuzz_news,regress_cdp_fuzz_ads,regress_cdp_fuzz_both,regress_cdp_fuzz_none,regress_cdp_fuzz_bypass,none,regress_cdp_fuzz_news}');
		IF random() < 0.1 THEN
			s := pick('{a,b,c,t,u,e,all,"x y"}');
			query := format('SELECT count(*) FROM cdp.segment_members WHERE segment = %L', s);
			way := format('SELECT count(*) FROM cdp.profiles WHERE segments @> %L', ARRAY[s]);
		ELSE
			c := condition(3, CASE WHEN random() < 0.6 THEN 0 ELSE 0.15 END);
			s := shape();
			query := replace(replace(s, '{rel}', 'cdp.profiles'), '{c}', c.sql);
			way := 'WITH m AS MATERIALIZED (SELECT profile_id, n, k, segments FROM cdp.profiles) ' || replace(replace(s, '{rel}', 'm'), '{c}', c.plain);
		END IF;
		PERFORM set_config('cdp.purpose', pick('{"","","",news,ads,"news,ads",other}'), true), set_config('enable_seqscan', pick('{on,on,off}'), true), set_config('enable_indexscan', pick('{on,on,off}'), true),
			set_config('enable_hashjoin', pick('{on,off}'), true), set_config('enable_nestloop', pick('{on,on,off}'), true);
		-- planned by one role, run by another
		IF random() < 0.1 THEN
			PERFORM set_config('role', pick('{none,regress_cdp_fuzz_news,regress_cdp_fuzz_bypass}'), true), set_config('plan_cache_mode', 'force_generic_plan', true);
			EXECUTE 'PREPARE tried AS ' || query;
			EXECUTE 'EXECUTE tried';
			PERFORM set_config('role', role, true);
			pushed := answer('EXECUTE tried');
			DEALLOCATE tried;
		ELSE
			PERFORM set_config('role', role, true);
			pushed := answer(query);
		END IF;
		IF random() < 0.1 THEN
			is_pushed := false;
			FOR s IN EXECUTE 'EXPLAIN ' || query LOOP
				is_pushed := is_pushed OR s LIKE '%CdpSegmentCount%';
			END LOOP;
			INSERT INTO tried VALUES (is_pushed, role, pushed);
		END IF;
		PERFORM set_config('cdp.enable_count_pushdown', 'off', true);
		counted := answer(query);
		PERFORM set_config('cdp.enable_count_pushdown', 'on', true);
		plain := answer(way);
		PERFORM set_config('role', 'none', true);
		IF pushed IS DISTINCT FROM counted OR counted IS DISTINCT FROM plain THEN
			RETURN NEXT;
		END IF;
	END LOOP;
END $$;
-- time passes, people change, merge and change their minds
CREATE FUNCTION live(i int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	who text;
	k int;
BEGIN
	PERFORM set_config('cdp.clock', ('2031-01-01'::timestamptz + i * interval '17 hours')::text, false);
	FOR j IN 1..15 LOOP
		who := 'user_id:u' || (1 + floor(random() * 245)::int);
		k := floor(random() * 5)::int;
		CASE floor(random() * 6)
			WHEN 0, 1 THEN PERFORM cdp.track(who, 'View');
			WHEN 2 THEN PERFORM cdp.identify(who, jsonb_build_object('n', floor(random() * 300)::int, 'k', k));
			WHEN 3 THEN PERFORM cdp.set_consent(who, pick('{news,ads}'), pick('{granted,granted,withdrawn}'));
			WHEN 4 THEN PERFORM cdp.identify(format('{%s,user_id:u%s}', who, 1 + floor(random() * 240)::int));
			ELSE PERFORM cdp.identify(who, jsonb_build_object('k', k));
		END CASE;
	END LOOP;
END $$;
SELECT setseed(:seed / 1000.0);
SELECT format('SELECT live(%s)', i) AS work, format('SELECT * FROM try(%s)', :clauses / 10) AS query, CASE WHEN i % 3 = 0 THEN 'CALL cdp.maintain()' ELSE 'SELECT' END AS sweep FROM generate_series(1, 10) i
\gexec
SELECT count(*) FROM cdp.verify();
SELECT count(*) > :clauses / 20 AS many, avg(pushed::int) > 0.2 AS pushed, avg((answer = '0')::int) < 0.5 AS found, count(DISTINCT role) AS roles, count(DISTINCT answer) > 20 AS answers FROM tried;

\c :main
DROP DATABASE regress_cdp_segment_fuzz;
DROP ROLE regress_cdp_fuzz_news, regress_cdp_fuzz_ads, regress_cdp_fuzz_both, regress_cdp_fuzz_none, regress_cdp_fuzz_bypass;
