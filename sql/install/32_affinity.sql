/*
 * sql/install/32_affinity.sql
 *		Type cdp.affinity: what somebody likes, with decay.  Aggregates,
 *		operators, reading.
 *
 * Nothing here is LEAKPROOF: sums may be out of range, and a damaged value
 * raises.  Binary input and output are STABLE: they depend on the client's
 * encoding.
 */

CREATE TYPE cdp.affinity;

CREATE FUNCTION cdp.affinity_in(pg_catalog.cstring)
RETURNS cdp.affinity
AS 'MODULE_PATHNAME', 'cdp_affinity_in'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.affinity_in(pg_catalog.cstring) IS 'Input of cdp.affinity: JSON.';

CREATE FUNCTION cdp.affinity_out(cdp.affinity)
RETURNS pg_catalog.cstring
AS 'MODULE_PATHNAME', 'cdp_affinity_out'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.affinity_out(cdp.affinity) IS 'Output of cdp.affinity: JSON.';

CREATE FUNCTION cdp.affinity_recv(pg_catalog.internal)
RETURNS cdp.affinity
AS 'MODULE_PATHNAME', 'cdp_affinity_recv'
LANGUAGE C STABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.affinity_recv(pg_catalog.internal) IS 'Binary input of cdp.affinity.';

CREATE FUNCTION cdp.affinity_send(cdp.affinity)
RETURNS pg_catalog.bytea
AS 'MODULE_PATHNAME', 'cdp_affinity_send'
LANGUAGE C STABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.affinity_send(cdp.affinity) IS 'Binary output of cdp.affinity.';

CREATE TYPE cdp.affinity (
	INPUT = cdp.affinity_in,
	OUTPUT = cdp.affinity_out,
	RECEIVE = cdp.affinity_recv,
	SEND = cdp.affinity_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = int4,
	STORAGE = main
);

COMMENT ON TYPE cdp.affinity IS 'Decayed sums of weights by value, the heaviest of them, with bounds.';

CREATE FUNCTION cdp.affinity(value pg_catalog.text, weight pg_catalog.float8, at pg_catalog.timestamptz, half_life pg_catalog.interval DEFAULT '30 days', slots pg_catalog.int4 DEFAULT 32)
RETURNS cdp.affinity
AS 'MODULE_PATHNAME', 'cdp_affinity_make'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.affinity(pg_catalog.text, pg_catalog.float8, pg_catalog.timestamptz, pg_catalog.interval, pg_catalog.int4) IS 'The affinity of one event: a + cdp.affinity(value, weight, at) adds it to a.';

-- equality and hash

CREATE FUNCTION cdp.affinity_eq(cdp.affinity, cdp.affinity)
RETURNS pg_catalog.bool
AS 'MODULE_PATHNAME', 'cdp_affinity_eq'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.affinity_eq(cdp.affinity, cdp.affinity) IS 'Implementation of the operator = of cdp.affinity.';

CREATE FUNCTION cdp.affinity_ne(cdp.affinity, cdp.affinity)
RETURNS pg_catalog.bool
AS 'MODULE_PATHNAME', 'cdp_affinity_ne'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.affinity_ne(cdp.affinity, cdp.affinity) IS 'Implementation of the operator <> of cdp.affinity.';

CREATE FUNCTION cdp.affinity_hash(cdp.affinity)
RETURNS pg_catalog.int4
AS 'MODULE_PATHNAME', 'cdp_affinity_hash'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.affinity_hash(cdp.affinity) IS 'Hash of cdp.affinity.';

CREATE FUNCTION cdp.affinity_hash_extended(cdp.affinity, pg_catalog.int8)
RETURNS pg_catalog.int8
AS 'MODULE_PATHNAME', 'cdp_affinity_hash_extended'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.affinity_hash_extended(cdp.affinity, pg_catalog.int8) IS 'Hash of cdp.affinity with a seed.';

CREATE OPERATOR cdp.= (
	FUNCTION = cdp.affinity_eq,
	LEFTARG = cdp.affinity, RIGHTARG = cdp.affinity,
	COMMUTATOR = OPERATOR(cdp.=), NEGATOR = OPERATOR(cdp.<>),
	RESTRICT = pg_catalog.eqsel, JOIN = pg_catalog.eqjoinsel,
	HASHES
);

COMMENT ON OPERATOR cdp.= (cdp.affinity, cdp.affinity) IS 'Equal?';

CREATE OPERATOR cdp.<> (
	FUNCTION = cdp.affinity_ne,
	LEFTARG = cdp.affinity, RIGHTARG = cdp.affinity,
	COMMUTATOR = OPERATOR(cdp.<>), NEGATOR = OPERATOR(cdp.=),
	RESTRICT = pg_catalog.neqsel, JOIN = pg_catalog.neqjoinsel
);

COMMENT ON OPERATOR cdp.<> (cdp.affinity, cdp.affinity) IS 'Not equal?';

CREATE OPERATOR CLASS cdp.affinity_hash_ops
DEFAULT FOR TYPE cdp.affinity USING hash AS
	OPERATOR 1 cdp.=,
	FUNCTION 1 cdp.affinity_hash(cdp.affinity),
	FUNCTION 2 cdp.affinity_hash_extended(cdp.affinity, pg_catalog.int8);

COMMENT ON OPERATOR CLASS cdp.affinity_hash_ops USING hash IS 'Hash of cdp.affinity.';

-- reading

CREATE FUNCTION cdp.affinity_at(affinity cdp.affinity, value pg_catalog.text, at pg_catalog.timestamptz)
RETURNS pg_catalog.float8
AS 'MODULE_PATHNAME', 'cdp_affinity_at'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.affinity_at(cdp.affinity, pg_catalog.text, pg_catalog.timestamptz) IS 'The score of a value at a time; 0 if the affinity does not have it.';

CREATE FUNCTION cdp.affinity_score(affinity cdp.affinity, value pg_catalog.text)
RETURNS pg_catalog.float8
AS 'MODULE_PATHNAME', 'cdp_affinity_score'
LANGUAGE C STABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.affinity_score(cdp.affinity, pg_catalog.text) IS 'The score of a value now; 0 if the affinity does not have it.';

CREATE OPERATOR cdp.-> (
	FUNCTION = cdp.affinity_score,
	LEFTARG = cdp.affinity, RIGHTARG = pg_catalog.text
);

COMMENT ON OPERATOR cdp.-> (cdp.affinity, pg_catalog.text) IS 'The score of a value now.';

CREATE FUNCTION cdp.affinity_top(affinity cdp.affinity, n pg_catalog.int4, at pg_catalog.timestamptz DEFAULT cdp.clock())
RETURNS TABLE (value pg_catalog.text, score pg_catalog.float8, lower pg_catalog.float8, upper pg_catalog.float8)
AS 'MODULE_PATHNAME', 'cdp_affinity_top'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 5;

COMMENT ON FUNCTION cdp.affinity_top(cdp.affinity, pg_catalog.int4, pg_catalog.timestamptz) IS 'The n values with the highest scores at a time; the exact sum of each is between lower and upper.';

CREATE FUNCTION cdp.affinity_distance(cdp.affinity, cdp.affinity)
RETURNS pg_catalog.float8
AS 'MODULE_PATHNAME', 'cdp_affinity_distance'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.affinity_distance(cdp.affinity, cdp.affinity) IS 'Cosine distance of two affinities: 0 in proportion, 1 nothing in common, 2 opposite.';

CREATE OPERATOR cdp.<=> (
	FUNCTION = cdp.affinity_distance,
	LEFTARG = cdp.affinity, RIGHTARG = cdp.affinity,
	COMMUTATOR = OPERATOR(cdp.<=>)
);

COMMENT ON OPERATOR cdp.<=> (cdp.affinity, cdp.affinity) IS 'Cosine distance.';

-- adding

CREATE FUNCTION cdp.affinity_add(cdp.affinity, cdp.affinity)
RETURNS cdp.affinity
AS 'MODULE_PATHNAME', 'cdp_affinity_add'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.affinity_add(cdp.affinity, cdp.affinity) IS 'The affinity of the events of both; their half-lives must be equal.';

CREATE OPERATOR cdp.+ (
	FUNCTION = cdp.affinity_add,
	LEFTARG = cdp.affinity, RIGHTARG = cdp.affinity,
	COMMUTATOR = OPERATOR(cdp.+)
);

COMMENT ON OPERATOR cdp.+ (cdp.affinity, cdp.affinity) IS 'The events of both.';

-- aggregates: arguments of an aggregate cannot have defaults, so there are three.
-- SSPACE is what a state takes: it tells the planner when hashing needs too much.

CREATE FUNCTION cdp.affinity_union_trans(cdp.affinity, cdp.affinity)
RETURNS cdp.affinity
AS 'MODULE_PATHNAME', 'cdp_affinity_union_trans'
LANGUAGE C IMMUTABLE PARALLEL SAFE;

COMMENT ON FUNCTION cdp.affinity_union_trans(cdp.affinity, cdp.affinity) IS 'Transition function of cdp.affinity_union, combine function of all.';

CREATE FUNCTION cdp.affinity_agg_trans(cdp.affinity, pg_catalog.text, pg_catalog.float8, pg_catalog.timestamptz)
RETURNS cdp.affinity
AS 'MODULE_PATHNAME', 'cdp_affinity_agg_trans'
LANGUAGE C IMMUTABLE PARALLEL SAFE;

COMMENT ON FUNCTION cdp.affinity_agg_trans(cdp.affinity, pg_catalog.text, pg_catalog.float8, pg_catalog.timestamptz) IS 'Transition function of cdp.affinity_agg.';

CREATE AGGREGATE cdp.affinity_agg(value pg_catalog.text, weight pg_catalog.float8, at pg_catalog.timestamptz) (
	SFUNC = cdp.affinity_agg_trans,
	STYPE = cdp.affinity,
	SSPACE = 640,
	COMBINEFUNC = cdp.affinity_union_trans,
	PARALLEL = SAFE
);

COMMENT ON AGGREGATE cdp.affinity_agg(pg_catalog.text, pg_catalog.float8, pg_catalog.timestamptz) IS 'The affinity of all events, with a half-life of 30 days and 32 slots; NULL without any.';

CREATE FUNCTION cdp.affinity_agg_trans(cdp.affinity, pg_catalog.text, pg_catalog.float8, pg_catalog.timestamptz, pg_catalog.interval)
RETURNS cdp.affinity
AS 'MODULE_PATHNAME', 'cdp_affinity_agg_trans'
LANGUAGE C IMMUTABLE PARALLEL SAFE;

COMMENT ON FUNCTION cdp.affinity_agg_trans(cdp.affinity, pg_catalog.text, pg_catalog.float8, pg_catalog.timestamptz, pg_catalog.interval) IS 'Transition function of cdp.affinity_agg.';

CREATE AGGREGATE cdp.affinity_agg(value pg_catalog.text, weight pg_catalog.float8, at pg_catalog.timestamptz, half_life pg_catalog.interval) (
	SFUNC = cdp.affinity_agg_trans,
	STYPE = cdp.affinity,
	SSPACE = 640,
	COMBINEFUNC = cdp.affinity_union_trans,
	PARALLEL = SAFE
);

COMMENT ON AGGREGATE cdp.affinity_agg(pg_catalog.text, pg_catalog.float8, pg_catalog.timestamptz, pg_catalog.interval) IS 'The affinity of all events, with 32 slots; NULL without any.';

CREATE FUNCTION cdp.affinity_agg_trans(cdp.affinity, pg_catalog.text, pg_catalog.float8, pg_catalog.timestamptz, pg_catalog.interval, pg_catalog.int4)
RETURNS cdp.affinity
AS 'MODULE_PATHNAME', 'cdp_affinity_agg_trans'
LANGUAGE C IMMUTABLE PARALLEL SAFE;

COMMENT ON FUNCTION cdp.affinity_agg_trans(cdp.affinity, pg_catalog.text, pg_catalog.float8, pg_catalog.timestamptz, pg_catalog.interval, pg_catalog.int4) IS 'Transition function of cdp.affinity_agg.';

CREATE AGGREGATE cdp.affinity_agg(value pg_catalog.text, weight pg_catalog.float8, at pg_catalog.timestamptz, half_life pg_catalog.interval, slots pg_catalog.int4) (
	SFUNC = cdp.affinity_agg_trans,
	STYPE = cdp.affinity,
	SSPACE = 640,
	COMBINEFUNC = cdp.affinity_union_trans,
	PARALLEL = SAFE
);

COMMENT ON AGGREGATE cdp.affinity_agg(pg_catalog.text, pg_catalog.float8, pg_catalog.timestamptz, pg_catalog.interval, pg_catalog.int4) IS 'The affinity of all events; NULL without any.';

CREATE AGGREGATE cdp.affinity_union(cdp.affinity) (
	SFUNC = cdp.affinity_union_trans,
	STYPE = cdp.affinity,
	SSPACE = 640,
	COMBINEFUNC = cdp.affinity_union_trans,
	PARALLEL = SAFE
);

COMMENT ON AGGREGATE cdp.affinity_union(cdp.affinity) IS 'The affinity of the events of all; NULL without any.';
