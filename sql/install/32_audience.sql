/*
 * sql/install/32_audience.sql
 *		Type cdp.audience: a set of profile ids as a value.
 *
 * LEAKPROOF marks: =, <>, @> of an id, the number of members and the hashes
 * read bytes in memory and cannot raise on content.  What opens bitmaps
 * raises on damaged ones, input refuses bad text, and what makes values
 * refuses those that would be too large, so these are not leakproof.
 */

CREATE TYPE cdp.audience;

CREATE FUNCTION cdp.audience_in(pg_catalog.cstring)
RETURNS cdp.audience
AS 'MODULE_PATHNAME', 'cdp_audience_in'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.audience_in(pg_catalog.cstring) IS 'Input of cdp.audience: {1,2,5-9}, ids and ranges in any order.';

CREATE FUNCTION cdp.audience_out(cdp.audience)
RETURNS pg_catalog.cstring
AS 'MODULE_PATHNAME', 'cdp_audience_out'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.audience_out(cdp.audience) IS 'Output of cdp.audience: ascending, three or more in a row as a range.';

CREATE FUNCTION cdp.audience_recv(pg_catalog.internal)
RETURNS cdp.audience
AS 'MODULE_PATHNAME', 'cdp_audience_recv'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.audience_recv(pg_catalog.internal) IS 'Binary input of cdp.audience: its one form, checked.';

CREATE FUNCTION cdp.audience_send(cdp.audience)
RETURNS pg_catalog.bytea
AS 'MODULE_PATHNAME', 'cdp_audience_send'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.audience_send(cdp.audience) IS 'Binary output of cdp.audience.';

CREATE TYPE cdp.audience (
	INPUT = cdp.audience_in,
	OUTPUT = cdp.audience_out,
	RECEIVE = cdp.audience_recv,
	SEND = cdp.audience_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = int4,
	STORAGE = extended
);

COMMENT ON TYPE cdp.audience IS 'A set of profile ids as a value, such as {1,2,5-9}.';

CREATE FUNCTION cdp.audience_from_array(pg_catalog.int8[])
RETURNS cdp.audience
AS 'MODULE_PATHNAME', 'cdp_audience_from_array'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.audience_from_array(pg_catalog.int8[]) IS 'The audience of the ids of an array.';

CREATE FUNCTION cdp.audience_to_array(cdp.audience)
RETURNS pg_catalog.int8[]
AS 'MODULE_PATHNAME', 'cdp_audience_to_array'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.audience_to_array(cdp.audience) IS 'The ids of an audience, ascending.';

CREATE CAST (pg_catalog.int8[] AS cdp.audience)
WITH FUNCTION cdp.audience_from_array(pg_catalog.int8[]) AS ASSIGNMENT;
CREATE CAST (cdp.audience AS pg_catalog.int8[])
WITH FUNCTION cdp.audience_to_array(cdp.audience) AS ASSIGNMENT;

COMMENT ON CAST (pg_catalog.int8[] AS cdp.audience) IS 'The audience of the ids of an array.';
COMMENT ON CAST (cdp.audience AS pg_catalog.int8[]) IS 'The ids, ascending.';

CREATE FUNCTION cdp.cardinality(audience cdp.audience)
RETURNS pg_catalog.int8
AS 'MODULE_PATHNAME', 'cdp_audience_cardinality'
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

COMMENT ON FUNCTION cdp.cardinality(cdp.audience) IS 'Number of members of an audience.';

CREATE FUNCTION cdp.unnest(audience cdp.audience)
RETURNS SETOF pg_catalog.int8
AS 'MODULE_PATHNAME', 'cdp_audience_unnest'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 10000;

COMMENT ON FUNCTION cdp.unnest(cdp.audience) IS 'The members of an audience, ascending.';

CREATE FUNCTION cdp.audience_and(cdp.audience, cdp.audience)
RETURNS cdp.audience
AS 'MODULE_PATHNAME', 'cdp_audience_and'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.audience_and(cdp.audience, cdp.audience) IS 'Implementation of the operator & of cdp.audience.';

CREATE OPERATOR cdp.& (
	FUNCTION = cdp.audience_and,
	LEFTARG = cdp.audience, RIGHTARG = cdp.audience,
	COMMUTATOR = OPERATOR(cdp.&)
);

COMMENT ON OPERATOR cdp.& (cdp.audience, cdp.audience) IS 'Who is in both.';

CREATE FUNCTION cdp.audience_or(cdp.audience, cdp.audience)
RETURNS cdp.audience
AS 'MODULE_PATHNAME', 'cdp_audience_or'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.audience_or(cdp.audience, cdp.audience) IS 'Implementation of the operator | of cdp.audience.';

CREATE OPERATOR cdp.| (
	FUNCTION = cdp.audience_or,
	LEFTARG = cdp.audience, RIGHTARG = cdp.audience,
	COMMUTATOR = OPERATOR(cdp.|)
);

COMMENT ON OPERATOR cdp.| (cdp.audience, cdp.audience) IS 'Who is in either.';

CREATE FUNCTION cdp.audience_minus(cdp.audience, cdp.audience)
RETURNS cdp.audience
AS 'MODULE_PATHNAME', 'cdp_audience_minus'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.audience_minus(cdp.audience, cdp.audience) IS 'Implementation of the operator - of cdp.audience.';

CREATE OPERATOR cdp.- (
	FUNCTION = cdp.audience_minus,
	LEFTARG = cdp.audience, RIGHTARG = cdp.audience
);

COMMENT ON OPERATOR cdp.- (cdp.audience, cdp.audience) IS 'Who is in the first and not in the second.';

CREATE FUNCTION cdp.audience_xor(cdp.audience, cdp.audience)
RETURNS cdp.audience
AS 'MODULE_PATHNAME', 'cdp_audience_xor'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.audience_xor(cdp.audience, cdp.audience) IS 'Implementation of the operator # of cdp.audience.';

CREATE OPERATOR cdp.# (
	FUNCTION = cdp.audience_xor,
	LEFTARG = cdp.audience, RIGHTARG = cdp.audience,
	COMMUTATOR = OPERATOR(cdp.#)
);

COMMENT ON OPERATOR cdp.# (cdp.audience, cdp.audience) IS 'Who is in one of the two only.';

CREATE FUNCTION cdp.audience_eq(cdp.audience, cdp.audience)
RETURNS pg_catalog.bool
AS 'MODULE_PATHNAME', 'cdp_audience_eq'
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

COMMENT ON FUNCTION cdp.audience_eq(cdp.audience, cdp.audience) IS 'Implementation of the operator = of cdp.audience.';

CREATE OPERATOR cdp.= (
	FUNCTION = cdp.audience_eq,
	LEFTARG = cdp.audience, RIGHTARG = cdp.audience,
	COMMUTATOR = OPERATOR(cdp.=),
	NEGATOR = OPERATOR(cdp.<>),
	RESTRICT = pg_catalog.eqsel, JOIN = pg_catalog.eqjoinsel,
	HASHES
);

COMMENT ON OPERATOR cdp.= (cdp.audience, cdp.audience) IS 'The same members?';

CREATE FUNCTION cdp.audience_ne(cdp.audience, cdp.audience)
RETURNS pg_catalog.bool
AS 'MODULE_PATHNAME', 'cdp_audience_ne'
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

COMMENT ON FUNCTION cdp.audience_ne(cdp.audience, cdp.audience) IS 'Implementation of the operator <> of cdp.audience.';

CREATE OPERATOR cdp.<> (
	FUNCTION = cdp.audience_ne,
	LEFTARG = cdp.audience, RIGHTARG = cdp.audience,
	COMMUTATOR = OPERATOR(cdp.<>),
	NEGATOR = OPERATOR(cdp.=),
	RESTRICT = pg_catalog.neqsel, JOIN = pg_catalog.neqjoinsel
);

COMMENT ON OPERATOR cdp.<> (cdp.audience, cdp.audience) IS 'Different members?';

CREATE FUNCTION cdp.audience_has(cdp.audience, pg_catalog.int8)
RETURNS pg_catalog.bool
AS 'MODULE_PATHNAME', 'cdp_audience_has'
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

COMMENT ON FUNCTION cdp.audience_has(cdp.audience, pg_catalog.int8) IS 'Implementation of the operator @> of cdp.audience.';

CREATE OPERATOR cdp.@> (
	FUNCTION = cdp.audience_has,
	LEFTARG = cdp.audience, RIGHTARG = pg_catalog.int8,
	COMMUTATOR = OPERATOR(cdp.<@),
	RESTRICT = pg_catalog.contsel, JOIN = pg_catalog.contjoinsel
);

COMMENT ON OPERATOR cdp.@> (cdp.audience, pg_catalog.int8) IS 'Is this person in it?';

CREATE FUNCTION cdp.audience_is_in(pg_catalog.int8, cdp.audience)
RETURNS pg_catalog.bool
AS 'MODULE_PATHNAME', 'cdp_audience_is_in'
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

COMMENT ON FUNCTION cdp.audience_is_in(pg_catalog.int8, cdp.audience) IS 'Implementation of the operator <@ of cdp.audience.';

CREATE OPERATOR cdp.<@ (
	FUNCTION = cdp.audience_is_in,
	LEFTARG = pg_catalog.int8, RIGHTARG = cdp.audience,
	COMMUTATOR = OPERATOR(cdp.@>),
	RESTRICT = pg_catalog.contsel, JOIN = pg_catalog.contjoinsel
);

COMMENT ON OPERATOR cdp.<@ (pg_catalog.int8, cdp.audience) IS 'Is this person in it?';

CREATE FUNCTION cdp.audience_contains(cdp.audience, cdp.audience)
RETURNS pg_catalog.bool
AS 'MODULE_PATHNAME', 'cdp_audience_contains'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.audience_contains(cdp.audience, cdp.audience) IS 'Implementation of the operator @> of cdp.audience.';

CREATE OPERATOR cdp.@> (
	FUNCTION = cdp.audience_contains,
	LEFTARG = cdp.audience, RIGHTARG = cdp.audience,
	COMMUTATOR = OPERATOR(cdp.<@),
	RESTRICT = pg_catalog.contsel, JOIN = pg_catalog.contjoinsel
);

COMMENT ON OPERATOR cdp.@> (cdp.audience, cdp.audience) IS 'Is all of the second in the first?';

CREATE FUNCTION cdp.audience_contained(cdp.audience, cdp.audience)
RETURNS pg_catalog.bool
AS 'MODULE_PATHNAME', 'cdp_audience_contained'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.audience_contained(cdp.audience, cdp.audience) IS 'Implementation of the operator <@ of cdp.audience.';

CREATE OPERATOR cdp.<@ (
	FUNCTION = cdp.audience_contained,
	LEFTARG = cdp.audience, RIGHTARG = cdp.audience,
	COMMUTATOR = OPERATOR(cdp.@>),
	RESTRICT = pg_catalog.contsel, JOIN = pg_catalog.contjoinsel
);

COMMENT ON OPERATOR cdp.<@ (cdp.audience, cdp.audience) IS 'Is all of the first in the second?';

CREATE FUNCTION cdp.audience_overlaps(cdp.audience, cdp.audience)
RETURNS pg_catalog.bool
AS 'MODULE_PATHNAME', 'cdp_audience_overlaps'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.audience_overlaps(cdp.audience, cdp.audience) IS 'Implementation of the operator && of cdp.audience.';

CREATE OPERATOR cdp.&& (
	FUNCTION = cdp.audience_overlaps,
	LEFTARG = cdp.audience, RIGHTARG = cdp.audience,
	COMMUTATOR = OPERATOR(cdp.&&),
	RESTRICT = pg_catalog.contsel, JOIN = pg_catalog.contjoinsel
);

COMMENT ON OPERATOR cdp.&& (cdp.audience, cdp.audience) IS 'Has anybody both?';

CREATE FUNCTION cdp.audience_hash(cdp.audience)
RETURNS pg_catalog.int4
AS 'MODULE_PATHNAME', 'cdp_audience_hash'
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

COMMENT ON FUNCTION cdp.audience_hash(cdp.audience) IS 'Hash of cdp.audience.';

CREATE FUNCTION cdp.audience_hash_extended(cdp.audience, pg_catalog.int8)
RETURNS pg_catalog.int8
AS 'MODULE_PATHNAME', 'cdp_audience_hash_extended'
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

COMMENT ON FUNCTION cdp.audience_hash_extended(cdp.audience, pg_catalog.int8) IS 'Seeded hash of cdp.audience.';

CREATE OPERATOR CLASS cdp.audience_hash_ops
DEFAULT FOR TYPE cdp.audience USING hash AS
	OPERATOR 1 cdp.= (cdp.audience, cdp.audience),
	FUNCTION 1 cdp.audience_hash(cdp.audience),
	FUNCTION 2 cdp.audience_hash_extended(cdp.audience, pg_catalog.int8);

COMMENT ON OPERATOR CLASS cdp.audience_hash_ops USING hash IS 'Equality of cdp.audience.';

CREATE FUNCTION cdp.audience_agg_id(cdp.audience, pg_catalog.int8)
RETURNS cdp.audience
AS 'MODULE_PATHNAME', 'cdp_audience_agg_id'
LANGUAGE C IMMUTABLE PARALLEL SAFE;

COMMENT ON FUNCTION cdp.audience_agg_id(cdp.audience, pg_catalog.int8) IS 'Transition function of cdp.audience_agg(bigint).';

CREATE FUNCTION cdp.audience_agg_audience(cdp.audience, cdp.audience)
RETURNS cdp.audience
AS 'MODULE_PATHNAME', 'cdp_audience_agg_audience'
LANGUAGE C IMMUTABLE PARALLEL SAFE;

COMMENT ON FUNCTION cdp.audience_agg_audience(cdp.audience, cdp.audience) IS 'Transition and combine function of cdp.audience_agg.';

CREATE AGGREGATE cdp.audience_agg(pg_catalog.int8) (
	SFUNC = cdp.audience_agg_id,
	STYPE = cdp.audience,
	COMBINEFUNC = cdp.audience_agg_audience,
	PARALLEL = SAFE
);

COMMENT ON AGGREGATE cdp.audience_agg(pg_catalog.int8) IS 'The audience of all ids; NULL without any.';

CREATE AGGREGATE cdp.audience_agg(cdp.audience) (
	SFUNC = cdp.audience_agg_audience,
	STYPE = cdp.audience,
	COMBINEFUNC = cdp.audience_agg_audience,
	PARALLEL = SAFE
);

COMMENT ON AGGREGATE cdp.audience_agg(cdp.audience) IS 'The union of all audiences; NULL without any.';

-- A complement needs to know who there is, which no value says: this one
-- reads, as the caller and under his policies.
CREATE FUNCTION cdp.audience_others(audience cdp.audience) RETURNS cdp.audience
LANGUAGE plpgsql STABLE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	PERFORM cdp.require_init();
	RETURN (SELECT coalesce(cdp.audience_agg(p.profile_id), '{}'::cdp.audience) FROM cdp.profiles p) OPERATOR(cdp.-) audience;
END $$;
COMMENT ON FUNCTION cdp.audience_others(cdp.audience) IS
'Everybody the caller may see who is not in the audience; the operator ~ of cdp.audience.';

CREATE OPERATOR cdp.~ (
	FUNCTION = cdp.audience_others,
	RIGHTARG = cdp.audience
);

COMMENT ON OPERATOR cdp.~ (NONE, cdp.audience) IS 'Everybody the caller may see who is not in it.';
