-- The membership index: chunks, deltas, folding, and the algebra over them.
-- In a database of its own.
\set SHOW_CONTEXT never
\set main :DBNAME
CREATE DATABASE regress_cdp_chunk TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_cdp_chunk
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION cdp;
SELECT count(*) > 0 AS initialised FROM cdp.init();
CREATE FUNCTION fold() RETURNS int LANGUAGE c AS '$libdir/cdp', 'cdp_fold_chunks';

-- Reads a chunk's bytes without the library: kind, version, members, content.
CREATE FUNCTION word(b bytea, i int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT get_byte(b, i) + 256 * get_byte(b, i + 1)';
CREATE FUNCTION positions(b bytea) RETURNS SETOF int LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	IF get_byte(b, 1) <> 1 THEN
		RAISE 'version %', get_byte(b, 1);
	END IF;
	IF get_byte(b, 0) = 1 THEN
		RETURN QUERY SELECT word(b, i) FROM generate_series(4, length(b) - 1, 2) i;
	ELSIF get_byte(b, 0) = 2 THEN
		RETURN QUERY SELECT generate_series(word(b, i), word(b, i + 2)) FROM generate_series(4, length(b) - 1, 4) i;
	ELSE
		RETURN QUERY SELECT i * 8 + k FROM generate_series(0, length(b) - 5) i, generate_series(0, 7) k WHERE (get_byte(b, i + 4) >> k) & 1 = 1;
	END IF;
END $$;
-- Everybody's sum, chunk and steps together, in each segment.
CREATE VIEW sums AS
SELECT segment_id, ord, sum(step) AS sum FROM (
	SELECT c.segment_id, c.chunk_no * 15872 + p AS ord, 1 AS step FROM cdp_data.segment_chunk c, positions(c.payload) p
	UNION ALL SELECT segment_id, chunk_no * 15872 + position, step FROM cdp_data.segment_delta) x
GROUP BY 1, 2 HAVING sum(step) <> 0;
-- What is wrong: sums that are not 1, members without one, ones that are nobody's; wrong numbers of members.
CREATE VIEW wrong AS
SELECT segment_id, ord, 'sum is ' || sum AS what FROM sums WHERE sum <> 1
UNION ALL (SELECT segment_id, ord, 'not in the index' FROM (SELECT segment_id, ord FROM cdp_data.segment_member UNION ALL SELECT 0, ord FROM cdp_data.profile) m
	EXCEPT SELECT segment_id, ord, 'not in the index' FROM sums)
UNION ALL (SELECT segment_id, ord, 'nobody' FROM sums EXCEPT SELECT segment_id, ord, 'nobody' FROM
	(SELECT segment_id, ord FROM cdp_data.segment_member UNION ALL SELECT 0, ord FROM cdp_data.profile) m)
UNION ALL SELECT segment_id, chunk_no, 'counted wrong' FROM cdp_data.segment_chunk WHERE word(payload, 2) <> (SELECT count(*) FROM positions(payload))
UNION ALL SELECT segment_id, chunk_no, 'not the shortest form' FROM cdp_data.segment_chunk WHERE length(payload) > 4 + least(1984, 2 * word(payload, 2));

-- Expressions, and what they mean over the view of members.
CREATE TABLE expr (e text, meaning text);
INSERT INTO expr VALUES
	('odd', 'odd'), ('!odd', 'NOT odd'), ('odd & big', 'odd AND big'), ('odd | big', 'odd OR big'), ('odd & !big', 'odd AND NOT big'), ('!odd & !big', 'NOT odd AND NOT big'),
	('!(odd & big)', 'NOT (odd AND big)'), ('odd & odd & odd', 'odd'), ('odd & !odd', 'false'), ('odd | !odd', 'true'), ('(odd | big) & !(odd & big)', 'odd <> big'),
	('late', 'late'), ('late & odd | big & !late', 'late AND odd OR big AND NOT late'), ('!late | big', 'NOT late OR big'), ('!!odd', 'odd'), ('odd & (big | late) & !(big & late)', 'odd AND (big <> late)'),
	('none', 'false'), ('none | odd', 'odd'), ('!none', 'true'), ('all_of_them & !odd', 'NOT odd');
CREATE FUNCTION naive(meaning text) RETURNS bigint[] LANGUAGE plpgsql STABLE AS $$
DECLARE
	result bigint[];
BEGIN
	EXECUTE format('SELECT ARRAY(SELECT x.profile_id FROM (SELECT p.profile_id, coalesce(bool_or(m.segment = ''odd''), false) AS odd, coalesce(bool_or(m.segment = ''big''), false) AS big,
		coalesce(bool_or(m.segment = ''late''), false) AS late FROM cdp.profiles p LEFT JOIN cdp.segment_members m ON m.profile_id = p.profile_id GROUP BY 1) x WHERE %s ORDER BY 1)', meaning) INTO result;
	RETURN result;
END $$;
CREATE FUNCTION differ() RETURNS TABLE (e text, members bigint[], count bigint, naive bigint[]) LANGUAGE sql STABLE AS $$
	SELECT * FROM (SELECT x.e, ARRAY(SELECT m.profile_id FROM cdp.members(x.e) m ORDER BY 1) AS members, cdp.segment_count(x.e) AS count, naive(x.meaning) AS naive FROM expr x) x
	WHERE x.members <> x.naive OR x.count <> cardinality(x.naive)
$$;

SELECT cdp.define_namespace('*', max_per_profile => 0);
SELECT cdp.define_trait('n', 'bigint');
SET cdp.clock = '2026-01-01';
SELECT cdp.define_segment('odd', 'n % 2 = 1'), cdp.define_segment('big', 'n >= 50'), cdp.define_segment('late', 'cdp.within(last_seen, ''3 days'')'),
	cdp.define_segment('none', 'false'), cdp.define_segment('all_of_them', 'true');
-- nobody yet
SELECT * FROM differ();
TABLE cdp_data.segment_delta;

--
-- Random histories: people come, change, merge, part; chunks are folded now
-- and then; time passes
--
SELECT setseed(0.5);
CREATE PROCEDURE live(rounds int) LANGUAGE plpgsql AS $$
DECLARE
	a text;
	b text;
	m bigint;
BEGIN
	FOR i IN 1 .. rounds LOOP
		a := 'u:p' || floor(random() * 40);
		b := 'u:p' || floor(random() * 40);
		CASE floor(random() * 12)::int
			WHEN 0 THEN PERFORM cdp.track(ARRAY[a, b], 'Met', at => cdp.clock());
			WHEN 1 THEN PERFORM cdp.track(ARRAY[a, 'x:' || i], 'Met', at => cdp.clock());
			WHEN 2, 3 THEN
				SELECT merge_id INTO m FROM cdp.merges WHERE undone_at IS NULL ORDER BY random() LIMIT 1;
				IF m IS NOT NULL THEN
					PERFORM cdp.unmerge(m);
				END IF;
			WHEN 4 THEN PERFORM fold();
			WHEN 5 THEN PERFORM cdp.ingest(jsonb_agg(jsonb_build_object('type', 'identify', 'messageId', 'b' || random(), 'timestamp', cdp.clock(), 'traits', jsonb_build_object('n', floor(random() * 100)::int),
				'context', jsonb_build_object('externalIds', jsonb_build_array(jsonb_build_object('type', 'u', 'id', 'p' || floor(random() * 40))))))) FROM generate_series(1, 6);
			WHEN 6 THEN PERFORM set_config('cdp.clock', (cdp.clock() + random() * interval '1 day')::text, false);
			ELSE PERFORM cdp.identify(a, jsonb_build_object('n', floor(random() * 100)::int), at => cdp.clock());
		END CASE;
		IF i % 10 = 0 AND EXISTS (SELECT FROM wrong) THEN
			RAISE 'wrong in round %: %', i, (SELECT string_agg(w::text, ' ') FROM wrong w);
		END IF;
		IF i % 20 = 0 AND EXISTS (SELECT FROM differ()) THEN
			RAISE 'different in round %: %', i, (SELECT string_agg(d::text, ' ') FROM differ() d);
		END IF;
	END LOOP;
END $$;
CALL live(1000);
SELECT count(*) > 10 AS people, (SELECT count(*) FROM cdp.merges WHERE undone_at IS NOT NULL) > 10 AS unmerged,
	(SELECT count(*) FROM cdp_data.segment_delta) > 0 AS pending, (SELECT count(*) FROM cdp_data.segment_chunk) >= 4 AS chunks FROM cdp.profiles;
-- due timers are fired for readers, and change nothing when they are
SET cdp.clock = '2027-01-01';
SELECT cdp.segment_count('late') AS late, cdp.pending_timers() > 0 AS pending FROM (SELECT) x;
SELECT * FROM differ();
CALL cdp.maintain();
SELECT cdp.pending_timers();
SELECT * FROM differ();
SELECT fold() > 0 AS folded;
SELECT count(*) AS left_over FROM cdp_data.segment_delta;
SELECT * FROM wrong;

--
-- verify() finds what is wrong in the index, and rebuild() repairs it
--
SELECT * FROM cdp.verify();
CREATE PROCEDURE spoil(what text) LANGUAGE plpgsql AS $$
BEGIN
	CASE what
		WHEN 'an empty chunk' THEN UPDATE cdp_data.segment_chunk SET payload = '\x01010000' WHERE segment_id = 1;
		WHEN 'a chunk' THEN DELETE FROM cdp_data.segment_chunk WHERE segment_id = 2;
		WHEN 'a step' THEN INSERT INTO cdp_data.segment_delta SELECT 1, ord / 15872, ord % 15872, 1 FROM cdp_data.segment_member WHERE segment_id = 1 ORDER BY ord LIMIT 1;
		WHEN 'nobody' THEN INSERT INTO cdp_data.segment_delta VALUES (0, 3, 7, 1);
		WHEN 'a segment that is none' THEN INSERT INTO cdp_data.segment_delta VALUES (777, 0, 7, 1);
		WHEN 'a row' THEN DELETE FROM cdp_data.segment_member WHERE (segment_id, ord) IN (SELECT segment_id, ord FROM cdp_data.segment_member ORDER BY ord DESC LIMIT 1);
	END CASE;
END $$;
CREATE FUNCTION spoiled(what text) RETURNS TABLE (fault text, found text, after_rebuild bigint, after_all bigint) LANGUAGE plpgsql AS $$
DECLARE
	finding text;
	people bigint[];
	still bigint;
BEGIN
	CALL spoil(what);
	SELECT string_agg(DISTINCT v.what || CASE WHEN v.what LIKE 'index%' THEN ' ' || v.live ELSE '' END, '; '), array_agg(DISTINCT v.profile_id) INTO finding, people FROM cdp.verify() v;
	PERFORM cdp.rebuild(p) FROM unnest(people) p WHERE p > 0;
	SELECT count(*) INTO still FROM cdp.verify();
	PERFORM cdp.refresh_segment('odd');
	DELETE FROM cdp_data.segment_delta d WHERE d.segment_id = 777 OR (d.segment_id = 0 AND d.chunk_no = 3);
	RETURN QUERY SELECT what, finding, still, (SELECT count(*) FROM cdp.verify());
END $$;
SELECT s.* FROM unnest('{an empty chunk,a chunk,a step,nobody,a segment that is none,a row}'::text[]) w CROSS JOIN LATERAL spoiled(w) s;

--
-- Definitions: redefined, disabled, enabled, dropped
--
SELECT cdp.define_segment('odd', 'n % 2 = 0') > 0 AS redefined;
SELECT * FROM differ();
SELECT * FROM wrong;
SELECT cdp.disable_segment('big');
SELECT cdp.segment_count('big');
SELECT cdp.enable_segment('big');
SELECT * FROM differ();
SELECT * FROM wrong;
CREATE TABLE dropped AS SELECT segment_id FROM cdp_data.segment WHERE name = 'none';
SELECT cdp.drop_segment('none'), cdp.drop_segment('all_of_them');
SELECT count(*) AS left_over FROM cdp_data.segment_chunk c WHERE c.segment_id > 0 AND NOT EXISTS (SELECT FROM cdp_data.segment g WHERE g.segment_id = c.segment_id);
SELECT cdp.segment_count('none');
SELECT cdp.segment_count('odd & & big');

--
-- Many people: all three kinds of chunks, several chunks, folded by maintain()
--
SELECT count(*) FROM cdp.ingest((SELECT jsonb_agg(jsonb_build_object('type', 'identify', 'messageId', 'm' || i, 'timestamp', cdp.clock(), 'userId', 'w' || i, 'traits', jsonb_build_object('n', hashint4(i) & 127)))
	FROM generate_series(1, 20000) i));
DELETE FROM expr WHERE e ~ 'none|all_of_them';
SELECT e FROM differ();
CALL cdp.maintain();
SELECT count(*) AS deltas FROM cdp_data.segment_delta;
SELECT segment_id, chunk_no, get_byte(payload, 0) AS kind FROM cdp_data.segment_chunk ORDER BY 1, 2;
SELECT e FROM differ();
SELECT * FROM wrong;
-- a chunk is never toasted, and folding is an update in its page
SELECT max(pg_column_size(c)) <= 2032 AS fits FROM cdp_data.segment_chunk c;
SELECT attstorage FROM pg_attribute WHERE attrelid = 'cdp_data.segment_chunk'::regclass AND attname = 'payload';

-- overlap: against the same from the view of members
SELECT o.segment, o.n = x.n AS n, abs(o.share - x.share) < 1e-12 AS share, abs(o.lift - x.share / x.base) < 1e-9 AS lift
FROM cdp.overlap('odd') o JOIN LATERAL (
	SELECT count(*) FILTER (WHERE odd AND other) AS n, count(*) FILTER (WHERE odd AND other)::float8 / count(*) FILTER (WHERE odd) AS share, count(*) FILTER (WHERE other)::float8 / count(*) AS base
	FROM (SELECT 'odd' = ANY (p.segments) AS odd, o.segment = ANY (p.segments) AS other FROM cdp.profiles p) p) x ON true ORDER BY 1;
SELECT * FROM cdp.overlap('nobody knows it');

-- Consent: nobody else is counted, listed or compared
SELECT cdp.define_purpose('ads') > 0 AS purpose, cdp.define_purpose('more') > 0 AS purpose;
CREATE ROLE regress_chunk_ads;
CREATE ROLE regress_chunk_both;
SELECT cdp.permit('regress_chunk_ads', 'ads'), cdp.permit('regress_chunk_both', 'ads'), cdp.permit('regress_chunk_both', 'more');
SELECT count(cdp.set_consent('user_id:w' || i, p, CASE WHEN i % 7 = 0 THEN 'denied' ELSE 'granted' END)) FROM generate_series(1, 20000, 3) i, unnest(CASE WHEN i % 2 = 0 THEN '{ads,more}'::text[] ELSE '{ads}' END) p;
CREATE TABLE seen (role text, e text, n bigint, members bigint);
GRANT ALL ON seen TO PUBLIC;
GRANT SELECT ON expr TO PUBLIC;
SET ROLE regress_chunk_ads;
INSERT INTO seen SELECT current_user, e, cdp.segment_count(e), (SELECT count(*) FROM cdp.members(e)) FROM expr;
SELECT cdp.segment_count('odd | !odd') = (SELECT count(*) FROM cdp.profiles) AS everybody, count(*) > 5000 AS some FROM cdp.profiles;
SELECT e FROM differ();
SELECT o.segment, o.n = x.n AS n, abs(o.lift - x.lift) < 1e-9 AS lift
FROM cdp.overlap('odd') o JOIN LATERAL (
	SELECT count(*) FILTER (WHERE odd AND other) AS n, (count(*) FILTER (WHERE odd AND other)::float8 / count(*) FILTER (WHERE odd)) / (count(*) FILTER (WHERE other)::float8 / count(*)) AS lift
	FROM (SELECT 'odd' = ANY (p.segments) AS odd, o.segment = ANY (p.segments) AS other FROM cdp.profiles p) p) x ON true ORDER BY 1;
SET cdp.purpose = 'nothing';
SELECT cdp.segment_count('odd'), (SELECT count(*) FROM cdp.members('!odd')) AS members, (SELECT sum(n) FROM cdp.overlap('odd')) AS common;
RESET cdp.purpose;
SET ROLE regress_chunk_both;
INSERT INTO seen SELECT current_user, e, cdp.segment_count(e), (SELECT count(*) FROM cdp.members(e)) FROM expr;
SELECT e FROM differ();
RESET ROLE;
SELECT count(*) AS fewer FROM seen a JOIN seen b USING (e) WHERE a.role = 'regress_chunk_ads' AND b.role = 'regress_chunk_both' AND a.n > b.n AND a.n = a.members AND b.n = b.members;
-- nobody reads the index itself
SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity AS guarded, (SELECT string_agg(pg_get_expr(p.polqual, p.polrelid), ' ' ORDER BY polname) FROM pg_policy p WHERE p.polrelid = c.oid) AS policies
FROM pg_class c WHERE c.oid IN ('cdp_data.segment_chunk'::regclass, 'cdp_data.segment_delta'::regclass) ORDER BY 1;
-- withdrawn: gone with the next statement
SELECT cdp.segment_count('odd | !odd') AS n \gset
SET ROLE regress_chunk_ads;
SELECT cdp.segment_count('odd | !odd') AS n \gset
RESET ROLE;
SELECT cdp.set_consent('user_id:w1', 'ads', 'withdrawn', at => '2027-01-02') > 0 AS withdrawn FROM set_config('cdp.clock', '2027-01-02', false);
SET ROLE regress_chunk_ads;
SELECT cdp.segment_count('odd | !odd') - :n AS gone;
RESET ROLE;
DROP OWNED BY regress_chunk_ads, regress_chunk_both;
DROP ROLE regress_chunk_ads, regress_chunk_both;

-- What is damaged is said, not counted.
BEGIN;
UPDATE cdp_data.segment_chunk SET payload = '\x01020000' WHERE segment_id = 1 AND chunk_no = 0;
SELECT cdp.segment_count('odd');
ROLLBACK;
BEGIN;
UPDATE cdp_data.segment_chunk SET payload = set_byte(payload, 4, 255) WHERE segment_id = 3 AND get_byte(payload, 0) = 2;
SELECT cdp.segment_count('late');
ROLLBACK;
\c :main
SET client_min_messages = warning;
DROP DATABASE regress_cdp_chunk;
