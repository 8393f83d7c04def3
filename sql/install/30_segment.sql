-- 30_segment.sql: which people.  Rules and their members.

CREATE FUNCTION cdp.install_segment() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	CREATE TABLE cdp_data.segment (
		segment_id	int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
		name		text COLLATE "C" NOT NULL UNIQUE,
		definition	text NOT NULL,
		predicate	text NOT NULL,
		description	text,
		created_at	timestamptz NOT NULL DEFAULT statement_timestamp()
	);

	-- Apart from the definition, so that recording an error does not make
	-- every session read its configuration anew.
	CREATE TABLE cdp_data.segment_error (
		segment_id	int PRIMARY KEY,
		last_error	text NOT NULL,
		at			timestamptz NOT NULL
	);

	CREATE TABLE cdp_data.segment_member (
		segment_id	int NOT NULL,
		ord			int NOT NULL,
		profile_id	bigint NOT NULL,
		since		timestamptz NOT NULL,
		PRIMARY KEY (segment_id, ord)
	);
	CREATE INDEX segment_member_profile ON cdp_data.segment_member (profile_id);

	-- The membership index: a bitmap of 15,872 ords of a segment a row, never
	-- toasted, three and room for a new version of one in a page; segment 0 is
	-- everybody.
	CREATE TABLE cdp_data.segment_chunk (
		segment_id	int NOT NULL,
		chunk_no	int NOT NULL,
		payload		bytea NOT NULL,
		PRIMARY KEY (segment_id, chunk_no)
	) WITH (fillfactor = 75);
	ALTER TABLE cdp_data.segment_chunk ALTER COLUMN payload SET STORAGE PLAIN;

	-- Who entered (+1) and who left (-1) since a chunk was folded.
	CREATE TABLE cdp_data.segment_delta (
		segment_id	int NOT NULL,
		chunk_no	int NOT NULL,
		position	smallint NOT NULL,
		step		smallint NOT NULL
	) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000,
		autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000);
	CREATE INDEX segment_delta_chunk ON cdp_data.segment_delta (segment_id, chunk_no);

	-- What two people were in when they were merged; kept until they part.
	CREATE TABLE cdp_data.segment_before (
		loser		bigint NOT NULL,
		profile_id	bigint NOT NULL,
		segment_id	int NOT NULL,
		since		timestamptz NOT NULL,
		PRIMARY KEY (loser, profile_id, segment_id)
	);
END $$;
COMMENT ON FUNCTION cdp.install_segment() IS 'Step of cdp.init(): tables of segments and their members.';

CREATE FUNCTION cdp.check_predicate(predicate text) RETURNS text
LANGUAGE c STABLE PARALLEL UNSAFE STRICT AS 'MODULE_PATHNAME', 'cdp_check_predicate';
COMMENT ON FUNCTION cdp.check_predicate(text) IS
'The predicate in its canonical, fully qualified form; raises with the offending part if it may not define a segment.';

CREATE FUNCTION cdp.build_segment(segment_id int) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE STRICT AS 'MODULE_PATHNAME', 'cdp_build_segment';
COMMENT ON FUNCTION cdp.build_segment(int) IS
'Evaluates a segment for every profile and returns the number of members; part of cdp.define_segment().';

CREATE FUNCTION cdp.segment_query(expr text, what text) RETURNS text
LANGUAGE c STABLE PARALLEL UNSAFE STRICT AS 'MODULE_PATHNAME', 'cdp_segment_query';
COMMENT ON FUNCTION cdp.segment_query(text, text) IS
'The query over cdp.profiles that answers a boolean expression of segments; what is members or count.';

CREATE FUNCTION cdp.members(expr text) RETURNS TABLE (profile_id bigint)
LANGUAGE c STABLE PARALLEL UNSAFE STRICT ROWS 10000 AS 'MODULE_PATHNAME', 'cdp_members';
COMMENT ON FUNCTION cdp.members(text) IS
'Profiles for which a boolean expression of segments holds, such as ''vip & !churned | (a & b)''; only those the caller may see.';

CREATE FUNCTION cdp.segment_count(expr text) RETURNS bigint
LANGUAGE c STABLE PARALLEL UNSAFE STRICT AS 'MODULE_PATHNAME', 'cdp_segment_count';
COMMENT ON FUNCTION cdp.segment_count(text) IS
'Number of profiles for which a boolean expression of segments holds; counts only those the caller may see.';

CREATE FUNCTION cdp.overlap(name text) RETURNS TABLE (segment text, n bigint, share float8, lift float8)
LANGUAGE c STABLE PARALLEL UNSAFE STRICT ROWS 100 AS 'MODULE_PATHNAME', 'cdp_overlap';
COMMENT ON FUNCTION cdp.overlap(text) IS
'Every other segment: n members in common, their share of this segment, and how many times the share among everybody that is (lift); of people the caller may see.';
