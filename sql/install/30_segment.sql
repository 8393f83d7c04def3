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
LANGUAGE plpgsql STABLE PARALLEL UNSAFE STRICT ROWS 10000 SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RETURN QUERY EXECUTE cdp.segment_query(expr, 'members');
END $$;
COMMENT ON FUNCTION cdp.members(text) IS
'Profiles for which a boolean expression of segments holds, such as ''vip & !churned | (a & b)''; only those the caller may see.';

CREATE FUNCTION cdp.segment_count(expr text) RETURNS bigint
LANGUAGE plpgsql STABLE PARALLEL UNSAFE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	result bigint;
BEGIN
	EXECUTE cdp.segment_query(expr, 'count') INTO result;
	RETURN result;
END $$;
COMMENT ON FUNCTION cdp.segment_count(text) IS
'Number of profiles for which a boolean expression of segments holds; counts only those the caller may see.';
