-- What components.sh compares: the ways to find components that one writes by hand in SQL and plpgsql.
-- Each leaves its answer in an unlogged table (node, component).
CREATE EXTENSION cdp;
CREATE SCHEMA bench;
CREATE UNLOGGED TABLE bench.edge (id bigint, source bigint, target bigint);

-- CPU time of this session's process so far, milliseconds.
CREATE FUNCTION bench.cpu() RETURNS float8 LANGUAGE sql VOLATILE AS
$$ SELECT split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)::float8 / 1e6 $$;

-- A careful team's SQL: each round every node follows the smallest of itself and its neighbours, edges are rewritten
-- and made distinct, so the graph shrinks by a factor; the rounds' maps are then applied backwards.
CREATE PROCEDURE bench.contraction() LANGUAGE plpgsql AS $$
DECLARE
	rounds int := 0;
	remaining bigint;
BEGIN
	CREATE TEMP TABLE rest ON COMMIT DROP AS SELECT source AS v, target AS w FROM bench.edge;
	LOOP
		rounds := rounds + 1;
		EXECUTE format('CREATE TEMP TABLE map_%s ON COMMIT DROP AS SELECT v, least(v, min(w)) AS leader '
					   'FROM (SELECT v, w FROM rest UNION ALL SELECT w, v FROM rest) both_ways GROUP BY v', rounds);
		EXECUTE format('ANALYZE map_%s', rounds);
		EXECUTE format('CREATE TEMP TABLE next ON COMMIT DROP AS SELECT DISTINCT least(a.leader, b.leader) AS v, greatest(a.leader, b.leader) AS w '
					   'FROM rest JOIN map_%1$s a USING (v) JOIN map_%1$s b ON b.v = rest.w WHERE a.leader <> b.leader', rounds);
		GET DIAGNOSTICS remaining = ROW_COUNT;
		DROP TABLE rest;
		ALTER TABLE next RENAME TO rest;
		ANALYZE rest;
		EXIT WHEN remaining = 0;
	END LOOP;
	EXECUTE format('CREATE TEMP TABLE answer ON COMMIT DROP AS SELECT v, leader FROM map_%s', rounds);
	FOR i IN REVERSE rounds - 1 .. 1 LOOP
		EXECUTE format('CREATE TEMP TABLE wider ON COMMIT DROP AS SELECT m.v, coalesce(a.leader, m.leader) AS leader '
					   'FROM map_%s m LEFT JOIN answer a ON a.v = m.leader', i);
		DROP TABLE answer;
		ALTER TABLE wider RENAME TO answer;
		ANALYZE answer;
	END LOOP;
	CREATE UNLOGGED TABLE bench.answer AS SELECT v AS node, leader AS component FROM answer;
END $$;

-- Union-find in plpgsql: ids become dense numbers by a table, parents live in an array.
CREATE PROCEDURE bench.plpgsql() LANGUAGE plpgsql AS $$
DECLARE
	parent int[];
	x int;
	y int;
	e record;
BEGIN
	CREATE TEMP TABLE number ON COMMIT DROP AS
	SELECT id, row_number() OVER ()::int AS n FROM (SELECT source AS id FROM bench.edge UNION SELECT target FROM bench.edge) u;
	ANALYZE number;
	SELECT array_agg(n ORDER BY n) INTO parent FROM number;
	FOR e IN SELECT a.n AS a, b.n AS b FROM bench.edge JOIN number a ON a.id = source JOIN number b ON b.id = target LOOP
		x := e.a;
		WHILE parent[x] <> x LOOP
			parent[x] := parent[parent[x]];
			x := parent[x];
		END LOOP;
		y := e.b;
		WHILE parent[y] <> y LOOP
			parent[y] := parent[parent[y]];
			y := parent[y];
		END LOOP;
		IF x < y THEN
			parent[y] := x;
		ELSIF y < x THEN
			parent[x] := y;
		END IF;
	END LOOP;
	FOR i IN 1 .. cardinality(parent) LOOP
		x := i;
		WHILE parent[x] <> x LOOP
			x := parent[x];
		END LOOP;
		parent[i] := x;
	END LOOP;
	CREATE UNLOGGED TABLE bench.answer AS
	SELECT number.id AS node, p.root AS component FROM number JOIN unnest(parent) WITH ORDINALITY p (root, n) ON p.n = number.n;
END $$;

-- Label propagation: what most SQL models do. As many passes as the longest chain is long.
CREATE PROCEDURE bench.propagation() LANGUAGE plpgsql AS $$
DECLARE
	changed bigint;
BEGIN
	CREATE TEMP TABLE both_ways ON COMMIT DROP AS SELECT source AS v, target AS w FROM bench.edge UNION ALL SELECT target, source FROM bench.edge;
	CREATE TEMP TABLE label ON COMMIT DROP AS SELECT v, v AS l FROM both_ways GROUP BY v;
	ANALYZE both_ways;
	LOOP
		ANALYZE label;
		CREATE TEMP TABLE better ON COMMIT DROP AS
		SELECT label.v, least(label.l, s.l) AS l FROM label JOIN (SELECT b.v, min(n.l) AS l FROM both_ways b JOIN label n ON n.v = b.w GROUP BY b.v) s USING (v);
		SELECT count(*) INTO changed FROM label JOIN better USING (v) WHERE label.l <> better.l;
		DROP TABLE label;
		ALTER TABLE better RENAME TO label;
		EXIT WHEN changed = 0;
	END LOOP;
	CREATE UNLOGGED TABLE bench.answer AS SELECT v AS node, l AS component FROM label;
END $$;
