-- Used by bench/affinity.sh: a table of events, and everybody's five best values in three dimensions, in three ways.
CREATE EXTENSION cdp;
CREATE SCHEMA bench;
CREATE UNLOGGED TABLE bench.event (profile_id int, category text, brand text, colour text, weight float8, ts timestamptz);

-- milliseconds of CPU that this session has used (Linux)
CREATE FUNCTION bench.cpu() RETURNS float8 LANGUAGE sql AS
	$$ SELECT split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)::float8 / 1e6 $$;

-- by hand: date_part() is faster than extract(), whose result is numeric
CREATE VIEW bench.by_hand AS
SELECT profile_id, dimension, value, score FROM (
	SELECT profile_id, dimension, value, score, row_number() OVER (PARTITION BY profile_id, dimension ORDER BY score DESC) AS rank FROM (
		SELECT profile_id, grouping(category, brand, colour) AS dimension, coalesce(category, brand, colour) AS value,
			sum(weight * exp(-8.022536812036174e-07::float8 * date_part('epoch', timestamptz '2025-04-01 00:00+00' - ts))) AS score
		FROM bench.event GROUP BY GROUPING SETS ((profile_id, category), (profile_id, brand), (profile_id, colour))) s) r
WHERE rank <= 5;

CREATE VIEW bench.affinity AS
SELECT profile_id, cdp.affinity_agg(category, weight, ts, '10 days', 96) AS category, cdp.affinity_agg(brand, weight, ts, '10 days', 96) AS brand,
	cdp.affinity_agg(colour, weight, ts, '10 days', 96) AS colour FROM bench.event GROUP BY profile_id;

CREATE VIEW bench.affinity_32 AS
SELECT profile_id, cdp.affinity_agg(category, weight, ts, '10 days') AS category, cdp.affinity_agg(brand, weight, ts, '10 days') AS brand,
	cdp.affinity_agg(colour, weight, ts, '10 days') AS colour FROM bench.event GROUP BY profile_id;

CREATE VIEW bench.checked AS
SELECT t.value, t.score FROM bench.affinity, LATERAL (SELECT * FROM cdp.affinity_top(category, 5, '2025-04-01')
	UNION ALL SELECT * FROM cdp.affinity_top(brand, 5, '2025-04-01') UNION ALL SELECT * FROM cdp.affinity_top(colour, 5, '2025-04-01')) t;
