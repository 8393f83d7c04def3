-- What is damaged in the storage of segments is found by cdp.verify(), each
-- planted by hand, and made good by cdp.rebuild(), cdp.refresh_segment() or
-- cdp.rebuild_all().  In a database of its own.
\set SHOW_CONTEXT never
\set main :DBNAME
CREATE DATABASE regress_cdp_damage TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C';
\c regress_cdp_damage
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE EXTENSION cdp;
SELECT count(*) > 0 AS initialised FROM cdp.init();
CREATE FUNCTION fold() RETURNS int LANGUAGE c AS '$libdir/cdp', 'cdp_fold_chunks';
SET cdp.clock = '2026-01-08';
SELECT cdp.define_namespace('*', max_per_profile => 0), cdp.define_trait('n', 'int');
SELECT cdp.define_segment('odd', 'n % 2 = 1') AS odd, cdp.define_segment('lately', 'cdp.within(last_seen, ''7 days'')') AS lately, cdp.define_segment('shut', 'n > 3') AS shut;

-- People 1 to 8 have the ords 0 to 7; 9 was merged into 1.  Some
-- changes are in chunks, some wait.
SELECT count(cdp.identify('u:' || i, jsonb_build_object('n', i), at => '2026-01-02 12:00')) FROM generate_series(1, 9) i;
SELECT cdp.track('{u:1,u:9}', 'Met', at => '2026-01-03') AS merged;
SELECT fold() > 0 AS folded;
SELECT count(cdp.identify('u:' || i, jsonb_build_object('n', i + 1), at => '2026-01-04')) FROM generate_series(5, 8) i;
SELECT cdp.disable_segment('shut');
SELECT s.profile_id, s.ord, s.segments, t.due FROM cdp_data.profile_state s LEFT JOIN cdp_data.timer t USING (profile_id) ORDER BY 1;
SELECT segment_id, chunk_no, payload FROM cdp_data.segment_chunk ORDER BY 1, 2;
SELECT segment_id, position, step FROM cdp_data.segment_delta ORDER BY 1, 2, 3;
SELECT * FROM cdp.verify();

-- Each fault is planted, looked for, and repaired: what is left after cdp.rebuild()
-- of whom verify() names, after cdp.refresh_segment() of all, after cdp.rebuild_all().
CREATE TABLE fault (no int GENERATED ALWAYS AS IDENTITY, fault text, sql text);
INSERT INTO fault (fault, sql) VALUES
	('a byte of a chunk flipped', 'UPDATE cdp_data.segment_chunk SET payload = set_byte(payload, 4, get_byte(payload, 4) # 64) WHERE segment_id = 1'),
	('its kind', 'UPDATE cdp_data.segment_chunk SET payload = set_byte(payload, 0, 9) WHERE segment_id = 1'),
	('its version', 'UPDATE cdp_data.segment_chunk SET payload = set_byte(payload, 1, 2) WHERE segment_id = 2'),
	('its number of members', 'UPDATE cdp_data.segment_chunk SET payload = set_byte(payload, 2, 3) WHERE segment_id = 1'),
	('a chunk cut short', 'UPDATE cdp_data.segment_chunk SET payload = substring(payload FROM 1 FOR 3) WHERE segment_id = 1'),
	('a chunk in another form', $$UPDATE cdp_data.segment_chunk SET payload = '\x0201040000000000020002000400040006000600' WHERE segment_id = 1$$),
	('a member missing in a chunk', $$UPDATE cdp_data.segment_chunk SET payload = '\x0201070001000700' WHERE segment_id = 0$$),
	('a chunk lost', 'DELETE FROM cdp_data.segment_chunk WHERE segment_id = 2'),
	('a chunk at another place', 'UPDATE cdp_data.segment_chunk SET chunk_no = 3 WHERE segment_id = 2'),
	('a chunk of another segment', 'INSERT INTO cdp_data.segment_chunk SELECT 777, 0, payload FROM cdp_data.segment_chunk WHERE segment_id = 2'),
	('everybody with one too many', 'INSERT INTO cdp_data.segment_delta VALUES (0, 0, 4711, 1)'),
	('a delta lost', 'DELETE FROM cdp_data.segment_delta WHERE segment_id = 1 AND position = 4'),
	('a delta doubled', 'INSERT INTO cdp_data.segment_delta SELECT * FROM cdp_data.segment_delta WHERE segment_id = 1 AND position = 5'),
	('a delta the wrong way', 'UPDATE cdp_data.segment_delta SET step = -step WHERE segment_id = 1 AND position = 5'),
	('a delta of two steps', 'UPDATE cdp_data.segment_delta SET step = 2 WHERE segment_id = 1 AND position = 5'),
	('a delta beyond the chunk', 'UPDATE cdp_data.segment_delta SET position = 16000 WHERE segment_id = 1 AND position = 4'),
	('a delta of another chunk', 'UPDATE cdp_data.segment_delta SET chunk_no = 1 WHERE segment_id = 1 AND position = 4'),
	('a member''s row lost', 'DELETE FROM cdp_data.segment_member WHERE segment_id = 1 AND profile_id = 3'),
	('a member''s row of who is none', 'INSERT INTO cdp_data.segment_member SELECT 1, ord, profile_id, since FROM cdp_data.segment_member WHERE segment_id = 2 AND profile_id = 2'),
	('a member''s row of nobody', 'INSERT INTO cdp_data.segment_member VALUES (1, 4711, 4711, now())'),
	('a member at another place', 'UPDATE cdp_data.segment_member SET ord = 4711 WHERE segment_id = 1 AND profile_id = 3'),
	('all three with one too many', 'WITH m AS (INSERT INTO cdp_data.segment_member SELECT 1, ord, profile_id, since FROM cdp_data.segment_member WHERE segment_id = 2 AND profile_id = 2 RETURNING *),
		d AS (INSERT INTO cdp_data.segment_delta SELECT 1, 0, ord, 1 FROM m) UPDATE cdp_data.profile_state SET segments = ''{1,2}'' WHERE profile_id = 2'),
	('a list too short', $$UPDATE cdp_data.profile_state SET segments = '{2}' WHERE profile_id = 3$$),
	('a list with a segment that is shut', $$UPDATE cdp_data.profile_state SET segments = '{2,3}' WHERE profile_id = 2$$),
	('a timer lost', 'DELETE FROM cdp_data.timer WHERE profile_id = 2'),
	('a timer too late', 'UPDATE cdp_data.timer SET due = due + interval ''1 microsecond'' WHERE profile_id = 2'),
	('a timer at another place', 'UPDATE cdp_data.timer SET ord = 4711 WHERE profile_id = 2'),
	('a timer of nobody', $$INSERT INTO cdp_data.timer VALUES (4711, 4711, '2026-01-02')$$),
	('a stay of nobody', $$INSERT INTO cdp_data.segment_history VALUES (1, 4711, 4711, '2026-01-02', '2026-01-03', 'event')$$),
	('a stay in no segment', $$INSERT INTO cdp_data.segment_history VALUES (777, 1, 1, '2026-01-02', '2026-01-03', 'event')$$);
CREATE FUNCTION planted(INOUT fault text, sql text, OUT finding text, OUT rebuild bigint, OUT refresh bigint, OUT rebuild_all bigint) LANGUAGE plpgsql AS $$
DECLARE
	people bigint[];
BEGIN
	EXECUTE sql;
	SELECT string_agg(DISTINCT x.what, '; '), array_agg(DISTINCT p) FILTER (WHERE p > 0) INTO finding, people FROM (
		SELECT concat_ws(' ', v.what, v.live, '/ ' || v.recomputed, 'of ' || string_agg(v.profile_id::text, ',' ORDER BY v.profile_id)) AS what, array_agg(v.profile_id) AS ids
		FROM cdp.verify() v GROUP BY v.what, v.live, v.recomputed) x, unnest(x.ids) p;
	PERFORM cdp.rebuild(p) FROM unnest(people) p WHERE EXISTS (SELECT FROM cdp_data.profile_state s WHERE s.profile_id = p);
	SELECT count(*) INTO rebuild FROM cdp.verify();
	PERFORM cdp.refresh_segment(s.name) FROM cdp.segments s ORDER BY s.name;
	SELECT count(*) INTO refresh FROM cdp.verify();
	CALL cdp.rebuild_all(true);
	SELECT count(*) INTO rebuild_all FROM cdp.verify();
	RAISE USING ERRCODE = 'P4711', MESSAGE = 'back to before', DETAIL = json_build_array(finding, rebuild, refresh, rebuild_all)::text;
EXCEPTION WHEN SQLSTATE 'P4711' THEN
	DECLARE
		detail text;
	BEGIN
		GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
		SELECT d.detail::json->>0, (d.detail::json->>1)::bigint, (d.detail::json->>2)::bigint, (d.detail::json->>3)::bigint INTO finding, rebuild, refresh, rebuild_all FROM (SELECT detail) d;
	END;
END $$;
SELECT p.* FROM fault f CROSS JOIN LATERAL planted(f.fault, f.sql) p ORDER BY f.no;
SELECT * FROM cdp.verify();

-- A stale timer does not hide who is in a segment that is shut.
BEGIN;
SET LOCAL cdp.clock = '2026-01-20';
UPDATE cdp_data.profile_state SET segments = '{2,3}' WHERE profile_id = 2;
INSERT INTO cdp_data.segment_member SELECT 3, ord, profile_id, since FROM cdp_data.segment_member WHERE segment_id = 2 AND profile_id = 2;
INSERT INTO cdp_data.segment_delta VALUES (3, 0, 1, 1);
SELECT * FROM cdp.verify();
ROLLBACK;

-- Readers are told, and what they count is not made up.
BEGIN;
UPDATE cdp_data.segment_chunk SET payload = set_byte(payload, 1, 2) WHERE segment_id = 1;
SELECT cdp.segment_count('odd');
ROLLBACK;

-- Bits have no number of their own: only counting them tells.
SELECT count(*) AS many FROM cdp.ingest((SELECT jsonb_agg(jsonb_build_object('type', 'identify', 'messageId', 'm' || i, 'timestamp', cdp.clock(), 'userId', 'w' || i, 'traits', jsonb_build_object('n', i)))
	FROM generate_series(1, 3000) i));
SELECT fold() > 0 AS folded;
SELECT get_byte(payload, 0) AS kind, cdp.segment_count('odd') AS odd FROM cdp_data.segment_chunk WHERE segment_id = 1;
UPDATE cdp_data.segment_chunk SET payload = set_byte(payload, 3, 10) WHERE segment_id = 1;
SELECT * FROM cdp.verify();
SELECT cdp.refresh_segment('odd') AS refreshed;
SELECT cdp.segment_count('odd');
SELECT * FROM cdp.verify();
\c :main
SET client_min_messages = warning;
DROP DATABASE regress_cdp_damage;
