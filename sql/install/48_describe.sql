-- 48_describe.sql: what sets people apart.

-- Ids spread over all there are, the same every time: one of each stretch.
CREATE FUNCTION cdp.spread_profiles(n int) RETURNS bigint[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	last bigint := (SELECT p.profile_id FROM cdp.profiles p ORDER BY p.profile_id DESC LIMIT 1);
	stretch bigint := greatest(last / n, 1);
BEGIN
	IF last <= n THEN
		RETURN ARRAY(SELECT p.profile_id FROM cdp.profiles p);
	END IF;
	-- ids of nobody, or of people who are not seen, fall out: hence twice as many as wanted
	RETURN ARRAY(SELECT x.profile_id FROM (SELECT p.profile_id FROM generate_series(0, 2 * n - 1) i
		JOIN cdp.profiles p ON p.profile_id = 1 + (i * stretch + (hashint8extended(i, 0) & 9223372036854775807) % stretch) / 2) x
		ORDER BY hashint8extended(x.profile_id, 1), x.profile_id LIMIT n);
END $$;
COMMENT ON FUNCTION cdp.spread_profiles(int) IS 'Up to so many profiles of all whom the caller may see, spread evenly, the same each time; part of cdp.describe().';

CREATE FUNCTION cdp.describe(expr text, min_group int DEFAULT 10, sample int DEFAULT 10000)
RETURNS TABLE (kind text, name text, value text, share float8, base_share float8, lift float8)
LANGUAGE plpgsql STABLE PARALLEL UNSAFE ROWS 100 SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO, YMD' SET extra_float_digits = 1 AS $$
#variable_conflict use_variable
DECLARE
	these bigint[];
	all_of_them bigint[];
	parts text[] := '{}';
	columns text[] := '{}';
	c record;
BEGIN
	PERFORM cdp.require_init();
	IF min_group IS NULL OR min_group < 1 OR sample IS NULL OR sample NOT BETWEEN 100 AND 1000000 THEN
		RAISE invalid_parameter_value USING
			MESSAGE = 'min_group must be at least 1, and sample from 100 to 1,000,000';
	END IF;
	IF expr IS NULL THEN
		RETURN;
	END IF;
	these := ARRAY(SELECT m.profile_id FROM cdp.members(expr) m ORDER BY hashint8extended(m.profile_id, 2), m.profile_id LIMIT sample);
	IF cardinality(these) < min_group THEN
		RETURN;
	END IF;
	all_of_them := cdp.spread_profiles(sample);

	FOR c IN SELECT x.kind, x.name, format_type(a.atttypid, NULL) AS type FROM (
			SELECT 'trait' AS kind, t.name FROM cdp.traits t UNION ALL SELECT 'metric', m.name FROM cdp.metrics m WHERE m.state = 'ready'
			UNION ALL SELECT 'sequence', q.name FROM cdp.sequences q WHERE q.state = 'ready') x
			JOIN pg_attribute a ON a.attrelid = 'cdp.profiles'::regclass AND a.attname = x.name AND a.attnum > 0 LOOP
		-- whom a uuid names is one person
		CONTINUE WHEN c.type = 'uuid';
		columns := columns || format('p.%I', c.name);
		parts := parts || CASE
			WHEN c.type IN ('text', 'boolean') THEN
				format('SELECT %L AS kind, %L AS name, p.%I::text AS value, p.of_them FROM people p WHERE p.%3$I IS NOT NULL', c.kind, c.name, c.name)
			WHEN c.type = 'text[]' THEN
				format('SELECT %L, %L, u.v, p.of_them FROM people p CROSS JOIN LATERAL (SELECT DISTINCT v FROM unnest(p.%I) v WHERE v IS NOT NULL) u', c.kind, c.name, c.name)
			ELSE
				-- few different values as they are; of many the fifths of everybody
				format('SELECT %1$L, %2$L, CASE WHEN b.few THEN p.%2$I::text WHEN p.%2$I < b.at[1] THEN ''< '' || b.at[1]
						WHEN p.%2$I >= b.at[cardinality(b.at)] THEN ''>= '' || b.at[cardinality(b.at)]
						ELSE ''>= '' || b.at[width_bucket(p.%2$I, b.at)] || '' and < '' || b.at[width_bucket(p.%2$I, b.at) + 1] END, p.of_them
					FROM people p CROSS JOIN (SELECT count(DISTINCT x.%2$I) <= 10 AS few,
						ARRAY(SELECT DISTINCT q FROM unnest(percentile_disc(ARRAY[0.2, 0.4, 0.6, 0.8]) WITHIN GROUP (ORDER BY x.%2$I)) q ORDER BY q) AS at
						FROM people x WHERE NOT x.of_them) b WHERE p.%2$I IS NOT NULL', c.kind, c.name) END;
	END LOOP;
	parts := parts || ARRAY['SELECT ''segment'' AS kind, g AS name, NULL::text AS value, p.of_them FROM people p CROSS JOIN LATERAL unnest(p.segments) g WHERE strpos($5, g) = 0',
		-- of the first thousand of each
		'SELECT ''event'', e.name, NULL, p.of_them FROM few p CROSS JOIN LATERAL (SELECT DISTINCT coalesce(e.name, e.type) AS name FROM cdp.events e WHERE e.profile_id = p.profile_id) e'];
	RETURN QUERY EXECUTE 'WITH people AS MATERIALIZED (SELECT w.of_them, w.place, p.profile_id, p.segments' || concat(', ' || nullif(array_to_string(columns, ', '), '')) || '
			FROM (SELECT true AS of_them, x.id, x.place FROM unnest($1) WITH ORDINALITY x (id, place)
				UNION ALL SELECT false, x.id, x.place FROM unnest($2) WITH ORDINALITY x (id, place)) w JOIN cdp.profiles p ON p.profile_id = w.id),
		few AS MATERIALIZED (SELECT p.of_them, p.profile_id FROM people p WHERE p.place <= 1000),
		size AS (SELECT count(*) FILTER (WHERE p.of_them)::float8 AS n, count(*) FILTER (WHERE NOT p.of_them)::float8 AS m,
			count(*) FILTER (WHERE p.of_them AND p.place <= 1000)::float8 AS few_n, count(*) FILTER (WHERE NOT p.of_them AND p.place <= 1000)::float8 AS few_m FROM people p),
		found AS (SELECT f.kind, f.name, f.value, count(*) FILTER (WHERE f.of_them) AS a, count(*) FILTER (WHERE NOT f.of_them) AS b
			FROM (' || array_to_string(parts, ' UNION ALL ') || ') f GROUP BY 1, 2, 3),
		shares AS (SELECT f.*, CASE f.kind WHEN ''event'' THEN s.few_n ELSE s.n END AS n, CASE f.kind WHEN ''event'' THEN s.few_m ELSE s.m END AS m
			FROM found f CROSS JOIN size s WHERE f.a >= $3 AND f.b >= $3)
		SELECT s.kind::text, s.name::text, s.value, s.a / s.n, s.b / s.m, (s.a / s.n) / (s.b / s.m)
		FROM (SELECT s.*, greatest(0.5 / least(s.n, s.m), least(1 - 0.5 / least(s.n, s.m), s.a / s.n)) AS p,
			greatest(0.5 / least(s.n, s.m), least(1 - 0.5 / least(s.n, s.m), s.b / s.m)) AS q FROM shares s) s
		ORDER BY greatest(s.a / s.n, s.b / s.m) * abs(ln(s.p / (1 - s.p)) - ln(s.q / (1 - s.q))) DESC,
			s.kind COLLATE "C", s.name COLLATE "C", s.value COLLATE "C"'
	USING these, all_of_them, min_group, sample, expr;
END $$;
COMMENT ON FUNCTION cdp.describe(text, int, int) IS
'What sets the people for whom an expression of segments holds apart from everybody: traits, metrics, sequences, segments and events, the most telling first; of people whom the caller may see, by a sample of each, and only what at least min_group have in both.';
