/*
 * sql/install/46_segment_sql.sql
 *		Segments in ordinary SQL: columns of cdp.profiles, and what the planner
 *		knows of them.
 *
 * LEAKPROOF marks: equality and hashes of segment_set look at bytes;
 * @> compares them.  in_segments() and member_ords() depend on a person as
 * cdp.allowed() does (see src/profile/in_segments.c).  @@ raises on a
 * malformed expression, which may come from a row, so it is not.
 */

CREATE FUNCTION cdp.segment_set_support(pg_catalog.internal) RETURNS pg_catalog.internal
LANGUAGE c STABLE PARALLEL SAFE STRICT AS 'MODULE_PATHNAME', 'cdp_segment_set_support';
COMMENT ON FUNCTION cdp.segment_set_support(pg_catalog.internal) IS 'Planner support of the operators of cdp.segment_set.';
CREATE FUNCTION cdp.in_segments_support(pg_catalog.internal) RETURNS pg_catalog.internal
LANGUAGE c STABLE PARALLEL SAFE STRICT AS 'MODULE_PATHNAME', 'cdp_in_segments_support';
COMMENT ON FUNCTION cdp.in_segments_support(pg_catalog.internal) IS 'Planner support of cdp.in_segments(): shares of people, and the index on ord.';
CREATE FUNCTION cdp.member_ords_support(pg_catalog.internal) RETURNS pg_catalog.internal
LANGUAGE c STABLE PARALLEL SAFE STRICT AS 'MODULE_PATHNAME', 'cdp_member_ords_support';
COMMENT ON FUNCTION cdp.member_ords_support(pg_catalog.internal) IS 'Planner support of cdp.member_ords(): what fetching the people costs.';

CREATE FUNCTION cdp.in_segments(ord pg_catalog.int4, expr pg_catalog.text) RETURNS pg_catalog.bool
LANGUAGE c STABLE LEAKPROOF PARALLEL RESTRICTED STRICT COST 3 SUPPORT cdp.in_segments_support AS 'MODULE_PATHNAME', 'cdp_in_segments';
COMMENT ON FUNCTION cdp.in_segments(pg_catalog.int4, pg_catalog.text) IS
'Does an expression of segments hold of the person at this position, as far as the caller may see her? Part of cdp.profiles.';
CREATE FUNCTION cdp.member_ords(expr pg_catalog.text) RETURNS pg_catalog.int4[]
LANGUAGE c STABLE LEAKPROOF PARALLEL RESTRICTED STRICT COST 1000 SUPPORT cdp.member_ords_support AS 'MODULE_PATHNAME', 'cdp_member_ords';
COMMENT ON FUNCTION cdp.member_ords(pg_catalog.text) IS
'Positions of the people for whom cdp.in_segments() holds; part of index scans on cdp.profiles.';

CREATE FUNCTION cdp.members_support(pg_catalog.internal) RETURNS pg_catalog.internal
LANGUAGE c STABLE PARALLEL SAFE STRICT AS 'MODULE_PATHNAME', 'cdp_members_support';
COMMENT ON FUNCTION cdp.members_support(pg_catalog.internal) IS 'Planner support of cdp.members(): how many people it lists.';
ALTER FUNCTION cdp.members(pg_catalog.text) SUPPORT cdp.members_support;
ALTER FUNCTION cdp.fired_members() SUPPORT cdp.members_support;

CREATE TYPE cdp.segment_set;

CREATE FUNCTION cdp.segment_set_in(pg_catalog.cstring) RETURNS cdp.segment_set
LANGUAGE c IMMUTABLE PARALLEL SAFE STRICT AS 'MODULE_PATHNAME', 'cdp_segment_set_in';
COMMENT ON FUNCTION cdp.segment_set_in(pg_catalog.cstring) IS 'Input of cdp.segment_set: {vip,churned}, in any order.';
CREATE FUNCTION cdp.segment_set_out(cdp.segment_set) RETURNS pg_catalog.cstring
LANGUAGE c IMMUTABLE PARALLEL SAFE STRICT AS 'MODULE_PATHNAME', 'cdp_segment_set_out';
COMMENT ON FUNCTION cdp.segment_set_out(cdp.segment_set) IS 'Output of cdp.segment_set: as an array of names.';
CREATE FUNCTION cdp.segment_set_recv(pg_catalog.internal) RETURNS cdp.segment_set
LANGUAGE c IMMUTABLE PARALLEL SAFE STRICT AS 'MODULE_PATHNAME', 'cdp_segment_set_recv';
COMMENT ON FUNCTION cdp.segment_set_recv(pg_catalog.internal) IS 'Binary input of cdp.segment_set: that of text[].';
CREATE FUNCTION cdp.segment_set_send(cdp.segment_set) RETURNS pg_catalog.bytea
LANGUAGE c IMMUTABLE PARALLEL SAFE STRICT AS 'MODULE_PATHNAME', 'cdp_segment_set_send';
COMMENT ON FUNCTION cdp.segment_set_send(cdp.segment_set) IS 'Binary output of cdp.segment_set: that of text[].';

CREATE TYPE cdp.segment_set (
	INPUT = cdp.segment_set_in,
	OUTPUT = cdp.segment_set_out,
	RECEIVE = cdp.segment_set_recv,
	SEND = cdp.segment_set_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = int4,
	STORAGE = extended
);
COMMENT ON TYPE cdp.segment_set IS 'The names of a person''s segments, such as {vip,churned}, as a value.';

CREATE FUNCTION cdp.segment_set_from_array(pg_catalog.text[]) RETURNS cdp.segment_set
LANGUAGE c IMMUTABLE PARALLEL SAFE STRICT AS 'MODULE_PATHNAME', 'cdp_segment_set_from_array';
COMMENT ON FUNCTION cdp.segment_set_from_array(pg_catalog.text[]) IS 'The set of the names in an array.';
CREATE FUNCTION cdp.segment_set_to_array(cdp.segment_set) RETURNS pg_catalog.text[]
LANGUAGE c IMMUTABLE PARALLEL SAFE STRICT AS 'MODULE_PATHNAME', 'cdp_segment_set_to_array';
COMMENT ON FUNCTION cdp.segment_set_to_array(cdp.segment_set) IS 'The names of a set, ascending.';
CREATE CAST (cdp.segment_set AS pg_catalog.text[]) WITH FUNCTION cdp.segment_set_to_array(cdp.segment_set) AS ASSIGNMENT;
COMMENT ON CAST (cdp.segment_set AS pg_catalog.text[]) IS 'The names, ascending.';
CREATE CAST (pg_catalog.text[] AS cdp.segment_set) WITH FUNCTION cdp.segment_set_from_array(pg_catalog.text[]) AS ASSIGNMENT;
COMMENT ON CAST (pg_catalog.text[] AS cdp.segment_set) IS 'The set of the names in an array.';

CREATE FUNCTION cdp.segments_of(ord pg_catalog.int4, profile_id pg_catalog.int8, stored pg_catalog.int4[]) RETURNS cdp.segment_set
LANGUAGE c STABLE PARALLEL RESTRICTED COST 10 AS 'MODULE_PATHNAME', 'cdp_segments_of';
COMMENT ON FUNCTION cdp.segments_of(pg_catalog.int4, pg_catalog.int8, pg_catalog.int4[]) IS
'Names of a person''s segments now, of those stored or as the passing of time has made them since. Part of cdp.profiles.';

CREATE FUNCTION cdp.segment_set_has(cdp.segment_set, pg_catalog.text) RETURNS pg_catalog.bool
LANGUAGE c IMMUTABLE LEAKPROOF PARALLEL SAFE STRICT SUPPORT cdp.segment_set_support AS 'MODULE_PATHNAME', 'cdp_segment_set_has';
COMMENT ON FUNCTION cdp.segment_set_has(cdp.segment_set, pg_catalog.text) IS 'Implementation of the operator @> of cdp.segment_set.';
CREATE OPERATOR cdp.@> (
	FUNCTION = cdp.segment_set_has,
	LEFTARG = cdp.segment_set, RIGHTARG = pg_catalog.text,
	RESTRICT = pg_catalog.contsel, JOIN = pg_catalog.contjoinsel
);
COMMENT ON OPERATOR cdp.@> (cdp.segment_set, pg_catalog.text) IS 'Is the segment of this name among them?';

CREATE FUNCTION cdp.segment_set_matches(cdp.segment_set, pg_catalog.text) RETURNS pg_catalog.bool
LANGUAGE c IMMUTABLE PARALLEL SAFE STRICT SUPPORT cdp.segment_set_support AS 'MODULE_PATHNAME', 'cdp_segment_set_matches';
COMMENT ON FUNCTION cdp.segment_set_matches(cdp.segment_set, pg_catalog.text) IS 'Implementation of the operator @@ of cdp.segment_set.';
CREATE OPERATOR cdp.@@ (
	FUNCTION = cdp.segment_set_matches,
	LEFTARG = cdp.segment_set, RIGHTARG = pg_catalog.text,
	RESTRICT = pg_catalog.contsel, JOIN = pg_catalog.contjoinsel
);
COMMENT ON OPERATOR cdp.@@ (cdp.segment_set, pg_catalog.text) IS 'Does an expression of segments hold, such as ''vip & !churned''?';

CREATE FUNCTION cdp.segment_set_eq(cdp.segment_set, cdp.segment_set) RETURNS pg_catalog.bool
LANGUAGE c IMMUTABLE LEAKPROOF PARALLEL SAFE STRICT AS 'MODULE_PATHNAME', 'cdp_segment_set_eq';
COMMENT ON FUNCTION cdp.segment_set_eq(cdp.segment_set, cdp.segment_set) IS 'Implementation of the operator = of cdp.segment_set.';
CREATE OPERATOR cdp.= (
	FUNCTION = cdp.segment_set_eq,
	LEFTARG = cdp.segment_set, RIGHTARG = cdp.segment_set,
	COMMUTATOR = OPERATOR(cdp.=), NEGATOR = OPERATOR(cdp.<>),
	RESTRICT = pg_catalog.eqsel, JOIN = pg_catalog.eqjoinsel,
	HASHES
);
COMMENT ON OPERATOR cdp.= (cdp.segment_set, cdp.segment_set) IS 'The same segments?';
CREATE FUNCTION cdp.segment_set_ne(cdp.segment_set, cdp.segment_set) RETURNS pg_catalog.bool
LANGUAGE c IMMUTABLE LEAKPROOF PARALLEL SAFE STRICT AS 'MODULE_PATHNAME', 'cdp_segment_set_ne';
COMMENT ON FUNCTION cdp.segment_set_ne(cdp.segment_set, cdp.segment_set) IS 'Implementation of the operator <> of cdp.segment_set.';
CREATE OPERATOR cdp.<> (
	FUNCTION = cdp.segment_set_ne,
	LEFTARG = cdp.segment_set, RIGHTARG = cdp.segment_set,
	COMMUTATOR = OPERATOR(cdp.<>), NEGATOR = OPERATOR(cdp.=),
	RESTRICT = pg_catalog.neqsel, JOIN = pg_catalog.neqjoinsel
);
COMMENT ON OPERATOR cdp.<> (cdp.segment_set, cdp.segment_set) IS 'Different segments?';

CREATE FUNCTION cdp.segment_set_hash(cdp.segment_set) RETURNS pg_catalog.int4
LANGUAGE c IMMUTABLE LEAKPROOF PARALLEL SAFE STRICT AS 'MODULE_PATHNAME', 'cdp_segment_set_hash';
COMMENT ON FUNCTION cdp.segment_set_hash(cdp.segment_set) IS 'Hash of cdp.segment_set.';
CREATE FUNCTION cdp.segment_set_hash_extended(cdp.segment_set, pg_catalog.int8) RETURNS pg_catalog.int8
LANGUAGE c IMMUTABLE LEAKPROOF PARALLEL SAFE STRICT AS 'MODULE_PATHNAME', 'cdp_segment_set_hash_extended';
COMMENT ON FUNCTION cdp.segment_set_hash_extended(cdp.segment_set, pg_catalog.int8) IS 'Seeded hash of cdp.segment_set.';
CREATE OPERATOR CLASS cdp.segment_set_hash_ops
DEFAULT FOR TYPE cdp.segment_set USING hash AS
	OPERATOR 1 cdp.= (cdp.segment_set, cdp.segment_set),
	FUNCTION 1 cdp.segment_set_hash(cdp.segment_set),
	FUNCTION 2 cdp.segment_set_hash_extended(cdp.segment_set, pg_catalog.int8);
COMMENT ON OPERATOR CLASS cdp.segment_set_hash_ops USING hash IS 'Equality of cdp.segment_set.';

CREATE FUNCTION cdp.show_segment(name text, yes boolean DEFAULT true) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	id int;
	col text := 'is_' || name;
BEGIN
	PERFORM cdp.require_admin();
	id := cdp.segment_id(name);
	IF yes IS NULL THEN
		RAISE null_value_not_allowed USING MESSAGE = 'yes must not be null';
	END IF;
	IF yes AND (octet_length(col) > 63 OR name COLLATE "C" ~ '[\u0001-\u002f\u003a-\u005e\u0060\u007b-\u007f]') THEN
		RAISE invalid_name USING
			MESSAGE = format('segment %s cannot be a column of cdp.profiles', quote_ident(name)),
			DETAIL = 'The column''s name is is_ and the segment''s name: at most 63 bytes, of lower-case letters, digits and underscores.',
			HINT = format('Without a column: WHERE segment_set @> %L.', name);
	END IF;
	PERFORM cdp.lock_storage(true);
	IF yes AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = 'cdp.profiles'::regclass AND a.attname = col AND a.attnum > 0 AND a.atttypid <> 'bool'::regtype) THEN
		RAISE duplicate_column USING
			MESSAGE = format('segment %s cannot be a column of cdp.profiles: it has a column %s', quote_ident(name), quote_ident(col)),
			HINT = format('Without a column: WHERE segment_set @> %L.', name);
	END IF;
	UPDATE cdp_data.segment s SET shown = yes WHERE s.segment_id = id AND s.shown <> yes;
	IF FOUND THEN
		PERFORM cdp.refresh_views();
	END IF;
END $$;
COMMENT ON FUNCTION cdp.show_segment(text, boolean) IS
'Gives cdp.profiles a boolean column is_<name>: is the person in the segment? With yes => false it is null from then on: columns of a view stay.';
