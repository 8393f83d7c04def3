/*
 * sql/install/20_identity_type.sql
 *		Types cdp.identifier and cdp.identity_set: operators, operator classes,
 *		casts and the aggregate cdp.identity_merge.
 *
 * LEAKPROOF marks: comparison, membership and hash functions read bytes in
 * memory and cannot raise on content (the argument is in identifier.c and
 * identity_set_op.c).  Input, constructors and casts into the types refuse
 * bad text, and || refuses what exceeds a limit, so these are not leakproof.
 * Binary input and output are STABLE: they depend on the client's encoding.
 */

-- cdp.identifier

CREATE TYPE cdp.identifier;

CREATE FUNCTION cdp.identifier_in(pg_catalog.cstring)
RETURNS cdp.identifier
AS 'MODULE_PATHNAME', 'cdp_identifier_in'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identifier_in(pg_catalog.cstring) IS 'Input of cdp.identifier: namespace:value, normalised.';

CREATE FUNCTION cdp.identifier_out(cdp.identifier)
RETURNS pg_catalog.cstring
AS 'MODULE_PATHNAME', 'cdp_identifier_out'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identifier_out(cdp.identifier) IS 'Output of cdp.identifier.';

CREATE FUNCTION cdp.identifier_recv(pg_catalog.internal)
RETURNS cdp.identifier
AS 'MODULE_PATHNAME', 'cdp_identifier_recv'
LANGUAGE C STABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identifier_recv(pg_catalog.internal) IS 'Binary input of cdp.identifier: its text, normalised.';

CREATE FUNCTION cdp.identifier_send(cdp.identifier)
RETURNS pg_catalog.bytea
AS 'MODULE_PATHNAME', 'cdp_identifier_send'
LANGUAGE C STABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identifier_send(cdp.identifier) IS 'Binary output of cdp.identifier: its text.';

CREATE TYPE cdp.identifier (
	INPUT = cdp.identifier_in,
	OUTPUT = cdp.identifier_out,
	RECEIVE = cdp.identifier_recv,
	SEND = cdp.identifier_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = int4,
	STORAGE = extended
);

COMMENT ON TYPE cdp.identifier IS 'One name of one person in one namespace, such as email:ada@example.com, in normal form.';

-- The bytes of an identifier are its text; the way back must normalise.
CREATE CAST (cdp.identifier AS pg_catalog.text) WITHOUT FUNCTION AS ASSIGNMENT;
CREATE CAST (pg_catalog.text AS cdp.identifier) WITH INOUT AS ASSIGNMENT;

COMMENT ON CAST (cdp.identifier AS pg_catalog.text) IS 'The normal form as text.';
COMMENT ON CAST (pg_catalog.text AS cdp.identifier) IS 'Parse and normalise namespace:value.';

CREATE FUNCTION cdp.identifier(namespace pg_catalog.text, value pg_catalog.text)
RETURNS cdp.identifier
AS 'MODULE_PATHNAME', 'cdp_identifier'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identifier(pg_catalog.text, pg_catalog.text) IS 'The identifier of a value in a namespace, normalised.';

CREATE FUNCTION cdp.namespace_of(identifier cdp.identifier)
RETURNS pg_catalog.text
AS 'MODULE_PATHNAME', 'cdp_namespace_of'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.namespace_of(cdp.identifier) IS 'The namespace of an identifier.';

CREATE FUNCTION cdp.value_of(identifier cdp.identifier)
RETURNS pg_catalog.text
AS 'MODULE_PATHNAME', 'cdp_value_of'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.value_of(cdp.identifier) IS 'The normalised value of an identifier.';

CREATE FUNCTION cdp.identifier_eq(cdp.identifier, cdp.identifier)
RETURNS pg_catalog.bool
AS 'MODULE_PATHNAME', 'cdp_identifier_eq'
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identifier_eq(cdp.identifier, cdp.identifier) IS 'Implementation of the operator = of cdp.identifier.';

CREATE FUNCTION cdp.identifier_ne(cdp.identifier, cdp.identifier)
RETURNS pg_catalog.bool
AS 'MODULE_PATHNAME', 'cdp_identifier_ne'
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identifier_ne(cdp.identifier, cdp.identifier) IS 'Implementation of the operator <> of cdp.identifier.';

CREATE FUNCTION cdp.identifier_lt(cdp.identifier, cdp.identifier)
RETURNS pg_catalog.bool
AS 'MODULE_PATHNAME', 'cdp_identifier_lt'
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identifier_lt(cdp.identifier, cdp.identifier) IS 'Implementation of the operator < of cdp.identifier.';

CREATE FUNCTION cdp.identifier_le(cdp.identifier, cdp.identifier)
RETURNS pg_catalog.bool
AS 'MODULE_PATHNAME', 'cdp_identifier_le'
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identifier_le(cdp.identifier, cdp.identifier) IS 'Implementation of the operator <= of cdp.identifier.';

CREATE FUNCTION cdp.identifier_gt(cdp.identifier, cdp.identifier)
RETURNS pg_catalog.bool
AS 'MODULE_PATHNAME', 'cdp_identifier_gt'
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identifier_gt(cdp.identifier, cdp.identifier) IS 'Implementation of the operator > of cdp.identifier.';

CREATE FUNCTION cdp.identifier_ge(cdp.identifier, cdp.identifier)
RETURNS pg_catalog.bool
AS 'MODULE_PATHNAME', 'cdp_identifier_ge'
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identifier_ge(cdp.identifier, cdp.identifier) IS 'Implementation of the operator >= of cdp.identifier.';

CREATE FUNCTION cdp.identifier_cmp(cdp.identifier, cdp.identifier)
RETURNS pg_catalog.int4
AS 'MODULE_PATHNAME', 'cdp_identifier_cmp'
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identifier_cmp(cdp.identifier, cdp.identifier) IS 'Order of cdp.identifier: less than, equal to or greater than 0.';

CREATE FUNCTION cdp.identifier_sortsupport(pg_catalog.internal)
RETURNS pg_catalog.void
AS 'MODULE_PATHNAME', 'cdp_identifier_sortsupport'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identifier_sortsupport(pg_catalog.internal) IS 'Sort support of cdp.identifier.';

CREATE FUNCTION cdp.identifier_hash(cdp.identifier)
RETURNS pg_catalog.int4
AS 'MODULE_PATHNAME', 'cdp_identifier_hash'
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identifier_hash(cdp.identifier) IS 'Hash of cdp.identifier.';

CREATE FUNCTION cdp.identifier_hash_extended(cdp.identifier, pg_catalog.int8)
RETURNS pg_catalog.int8
AS 'MODULE_PATHNAME', 'cdp_identifier_hash_extended'
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identifier_hash_extended(cdp.identifier, pg_catalog.int8) IS 'Hash of cdp.identifier with a seed.';

CREATE OPERATOR cdp.= (
	FUNCTION = cdp.identifier_eq,
	LEFTARG = cdp.identifier, RIGHTARG = cdp.identifier,
	COMMUTATOR = OPERATOR(cdp.=), NEGATOR = OPERATOR(cdp.<>),
	RESTRICT = pg_catalog.eqsel, JOIN = pg_catalog.eqjoinsel,
	HASHES, MERGES
);

COMMENT ON OPERATOR cdp.= (cdp.identifier, cdp.identifier) IS 'Equal?';

CREATE OPERATOR cdp.<> (
	FUNCTION = cdp.identifier_ne,
	LEFTARG = cdp.identifier, RIGHTARG = cdp.identifier,
	COMMUTATOR = OPERATOR(cdp.<>), NEGATOR = OPERATOR(cdp.=),
	RESTRICT = pg_catalog.neqsel, JOIN = pg_catalog.neqjoinsel
);

COMMENT ON OPERATOR cdp.<> (cdp.identifier, cdp.identifier) IS 'Not equal?';

CREATE OPERATOR cdp.< (
	FUNCTION = cdp.identifier_lt,
	LEFTARG = cdp.identifier, RIGHTARG = cdp.identifier,
	COMMUTATOR = OPERATOR(cdp.>), NEGATOR = OPERATOR(cdp.>=),
	RESTRICT = pg_catalog.scalarltsel, JOIN = pg_catalog.scalarltjoinsel
);

COMMENT ON OPERATOR cdp.< (cdp.identifier, cdp.identifier) IS 'Before, byte by byte?';

CREATE OPERATOR cdp.<= (
	FUNCTION = cdp.identifier_le,
	LEFTARG = cdp.identifier, RIGHTARG = cdp.identifier,
	COMMUTATOR = OPERATOR(cdp.>=), NEGATOR = OPERATOR(cdp.>),
	RESTRICT = pg_catalog.scalarlesel, JOIN = pg_catalog.scalarlejoinsel
);

COMMENT ON OPERATOR cdp.<= (cdp.identifier, cdp.identifier) IS 'Before or equal, byte by byte?';

CREATE OPERATOR cdp.> (
	FUNCTION = cdp.identifier_gt,
	LEFTARG = cdp.identifier, RIGHTARG = cdp.identifier,
	COMMUTATOR = OPERATOR(cdp.<), NEGATOR = OPERATOR(cdp.<=),
	RESTRICT = pg_catalog.scalargtsel, JOIN = pg_catalog.scalargtjoinsel
);

COMMENT ON OPERATOR cdp.> (cdp.identifier, cdp.identifier) IS 'After, byte by byte?';

CREATE OPERATOR cdp.>= (
	FUNCTION = cdp.identifier_ge,
	LEFTARG = cdp.identifier, RIGHTARG = cdp.identifier,
	COMMUTATOR = OPERATOR(cdp.<=), NEGATOR = OPERATOR(cdp.<),
	RESTRICT = pg_catalog.scalargesel, JOIN = pg_catalog.scalargejoinsel
);

COMMENT ON OPERATOR cdp.>= (cdp.identifier, cdp.identifier) IS 'After or equal, byte by byte?';

CREATE OPERATOR CLASS cdp.identifier_ops
DEFAULT FOR TYPE cdp.identifier USING btree AS
	OPERATOR 1 cdp.<,
	OPERATOR 2 cdp.<=,
	OPERATOR 3 cdp.=,
	OPERATOR 4 cdp.>=,
	OPERATOR 5 cdp.>,
	FUNCTION 1 cdp.identifier_cmp(cdp.identifier, cdp.identifier),
	FUNCTION 2 cdp.identifier_sortsupport(pg_catalog.internal);

CREATE OPERATOR CLASS cdp.identifier_hash_ops
DEFAULT FOR TYPE cdp.identifier USING hash AS
	OPERATOR 1 cdp.=,
	FUNCTION 1 cdp.identifier_hash(cdp.identifier),
	FUNCTION 2 cdp.identifier_hash_extended(cdp.identifier, pg_catalog.int8);

COMMENT ON OPERATOR CLASS cdp.identifier_ops USING btree IS 'Order of cdp.identifier, byte by byte.';
COMMENT ON OPERATOR CLASS cdp.identifier_hash_ops USING hash IS 'Hash of cdp.identifier.';

-- cdp.identity_set

CREATE TYPE cdp.identity_set;

CREATE FUNCTION cdp.identity_set_in(pg_catalog.cstring)
RETURNS cdp.identity_set
AS 'MODULE_PATHNAME', 'cdp_identity_set_in'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identity_set_in(pg_catalog.cstring) IS 'Input of cdp.identity_set: {namespace:value, ...}, or one identifier by itself.';

CREATE FUNCTION cdp.identity_set_out(cdp.identity_set)
RETURNS pg_catalog.cstring
AS 'MODULE_PATHNAME', 'cdp_identity_set_out'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identity_set_out(cdp.identity_set) IS 'Output of cdp.identity_set.';

CREATE FUNCTION cdp.identity_set_recv(pg_catalog.internal)
RETURNS cdp.identity_set
AS 'MODULE_PATHNAME', 'cdp_identity_set_recv'
LANGUAGE C STABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identity_set_recv(pg_catalog.internal) IS 'Binary input of cdp.identity_set: a count, then length and text of each identifier.';

CREATE FUNCTION cdp.identity_set_send(cdp.identity_set)
RETURNS pg_catalog.bytea
AS 'MODULE_PATHNAME', 'cdp_identity_set_send'
LANGUAGE C STABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identity_set_send(cdp.identity_set) IS 'Binary output of cdp.identity_set.';

CREATE TYPE cdp.identity_set (
	INPUT = cdp.identity_set_in,
	OUTPUT = cdp.identity_set_out,
	RECEIVE = cdp.identity_set_recv,
	SEND = cdp.identity_set_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = int4,
	STORAGE = extended
);

COMMENT ON TYPE cdp.identity_set IS 'A sorted set of identifiers, such as {cookie:c1,email:ada@example.com}.';

CREATE FUNCTION cdp.identity_set_from_identifier(cdp.identifier)
RETURNS cdp.identity_set
AS 'MODULE_PATHNAME', 'cdp_identity_set_from_identifier'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identity_set_from_identifier(cdp.identifier) IS 'The set of one identifier.';

CREATE FUNCTION cdp.identity_set_from_array(pg_catalog.text[])
RETURNS cdp.identity_set
AS 'MODULE_PATHNAME', 'cdp_identity_set_from_array'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identity_set_from_array(pg_catalog.text[]) IS 'The set of the identifiers of a text array.';

CREATE FUNCTION cdp.identity_set_to_array(cdp.identity_set)
RETURNS pg_catalog.text[]
AS 'MODULE_PATHNAME', 'cdp_identity_set_to_array'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identity_set_to_array(cdp.identity_set) IS 'The identifiers of a set as a text array, in order.';

CREATE CAST (cdp.identifier AS cdp.identity_set)
WITH FUNCTION cdp.identity_set_from_identifier(cdp.identifier) AS ASSIGNMENT;
CREATE CAST (pg_catalog.text[] AS cdp.identity_set)
WITH FUNCTION cdp.identity_set_from_array(pg_catalog.text[]) AS ASSIGNMENT;
CREATE CAST (cdp.identity_set AS pg_catalog.text[])
WITH FUNCTION cdp.identity_set_to_array(cdp.identity_set) AS ASSIGNMENT;

COMMENT ON CAST (cdp.identifier AS cdp.identity_set) IS 'The set of one identifier.';
COMMENT ON CAST (pg_catalog.text[] AS cdp.identity_set) IS 'Parse, normalise and sort.';
COMMENT ON CAST (cdp.identity_set AS pg_catalog.text[]) IS 'The identifiers in order.';

CREATE FUNCTION cdp.cardinality(identities cdp.identity_set)
RETURNS pg_catalog.int4
AS 'MODULE_PATHNAME', 'cdp_cardinality'
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

COMMENT ON FUNCTION cdp.cardinality(cdp.identity_set) IS 'How many identifiers a set has.';

CREATE FUNCTION cdp.identifiers_of(identities cdp.identity_set)
RETURNS SETOF cdp.identifier
AS 'MODULE_PATHNAME', 'cdp_identifiers_of'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 5;

COMMENT ON FUNCTION cdp.identifiers_of(cdp.identity_set) IS 'The identifiers of a set, in order.';

CREATE FUNCTION cdp.identity_set_eq(cdp.identity_set, cdp.identity_set)
RETURNS pg_catalog.bool
AS 'MODULE_PATHNAME', 'cdp_identity_set_eq'
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identity_set_eq(cdp.identity_set, cdp.identity_set) IS 'Implementation of the operator = of cdp.identity_set.';

CREATE FUNCTION cdp.identity_set_ne(cdp.identity_set, cdp.identity_set)
RETURNS pg_catalog.bool
AS 'MODULE_PATHNAME', 'cdp_identity_set_ne'
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identity_set_ne(cdp.identity_set, cdp.identity_set) IS 'Implementation of the operator <> of cdp.identity_set.';

CREATE FUNCTION cdp.identity_set_lt(cdp.identity_set, cdp.identity_set)
RETURNS pg_catalog.bool
AS 'MODULE_PATHNAME', 'cdp_identity_set_lt'
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identity_set_lt(cdp.identity_set, cdp.identity_set) IS 'Implementation of the operator < of cdp.identity_set.';

CREATE FUNCTION cdp.identity_set_le(cdp.identity_set, cdp.identity_set)
RETURNS pg_catalog.bool
AS 'MODULE_PATHNAME', 'cdp_identity_set_le'
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identity_set_le(cdp.identity_set, cdp.identity_set) IS 'Implementation of the operator <= of cdp.identity_set.';

CREATE FUNCTION cdp.identity_set_gt(cdp.identity_set, cdp.identity_set)
RETURNS pg_catalog.bool
AS 'MODULE_PATHNAME', 'cdp_identity_set_gt'
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identity_set_gt(cdp.identity_set, cdp.identity_set) IS 'Implementation of the operator > of cdp.identity_set.';

CREATE FUNCTION cdp.identity_set_ge(cdp.identity_set, cdp.identity_set)
RETURNS pg_catalog.bool
AS 'MODULE_PATHNAME', 'cdp_identity_set_ge'
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identity_set_ge(cdp.identity_set, cdp.identity_set) IS 'Implementation of the operator >= of cdp.identity_set.';

CREATE FUNCTION cdp.identity_set_cmp(cdp.identity_set, cdp.identity_set)
RETURNS pg_catalog.int4
AS 'MODULE_PATHNAME', 'cdp_identity_set_cmp'
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identity_set_cmp(cdp.identity_set, cdp.identity_set) IS 'Order of cdp.identity_set: less than, equal to or greater than 0.';

CREATE FUNCTION cdp.identity_set_hash(cdp.identity_set)
RETURNS pg_catalog.int4
AS 'MODULE_PATHNAME', 'cdp_identity_set_hash'
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identity_set_hash(cdp.identity_set) IS 'Hash of cdp.identity_set.';

CREATE FUNCTION cdp.identity_set_hash_extended(cdp.identity_set, pg_catalog.int8)
RETURNS pg_catalog.int8
AS 'MODULE_PATHNAME', 'cdp_identity_set_hash_extended'
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identity_set_hash_extended(cdp.identity_set, pg_catalog.int8) IS 'Hash of cdp.identity_set with a seed.';

CREATE OPERATOR cdp.= (
	FUNCTION = cdp.identity_set_eq,
	LEFTARG = cdp.identity_set, RIGHTARG = cdp.identity_set,
	COMMUTATOR = OPERATOR(cdp.=), NEGATOR = OPERATOR(cdp.<>),
	RESTRICT = pg_catalog.eqsel, JOIN = pg_catalog.eqjoinsel,
	HASHES, MERGES
);

COMMENT ON OPERATOR cdp.= (cdp.identity_set, cdp.identity_set) IS 'Equal?';

CREATE OPERATOR cdp.<> (
	FUNCTION = cdp.identity_set_ne,
	LEFTARG = cdp.identity_set, RIGHTARG = cdp.identity_set,
	COMMUTATOR = OPERATOR(cdp.<>), NEGATOR = OPERATOR(cdp.=),
	RESTRICT = pg_catalog.neqsel, JOIN = pg_catalog.neqjoinsel
);

COMMENT ON OPERATOR cdp.<> (cdp.identity_set, cdp.identity_set) IS 'Not equal?';

CREATE OPERATOR cdp.< (
	FUNCTION = cdp.identity_set_lt,
	LEFTARG = cdp.identity_set, RIGHTARG = cdp.identity_set,
	COMMUTATOR = OPERATOR(cdp.>), NEGATOR = OPERATOR(cdp.>=),
	RESTRICT = pg_catalog.scalarltsel, JOIN = pg_catalog.scalarltjoinsel
);

COMMENT ON OPERATOR cdp.< (cdp.identity_set, cdp.identity_set) IS 'Before, identifier by identifier?';

CREATE OPERATOR cdp.<= (
	FUNCTION = cdp.identity_set_le,
	LEFTARG = cdp.identity_set, RIGHTARG = cdp.identity_set,
	COMMUTATOR = OPERATOR(cdp.>=), NEGATOR = OPERATOR(cdp.>),
	RESTRICT = pg_catalog.scalarlesel, JOIN = pg_catalog.scalarlejoinsel
);

COMMENT ON OPERATOR cdp.<= (cdp.identity_set, cdp.identity_set) IS 'Before or equal, identifier by identifier?';

CREATE OPERATOR cdp.> (
	FUNCTION = cdp.identity_set_gt,
	LEFTARG = cdp.identity_set, RIGHTARG = cdp.identity_set,
	COMMUTATOR = OPERATOR(cdp.<), NEGATOR = OPERATOR(cdp.<=),
	RESTRICT = pg_catalog.scalargtsel, JOIN = pg_catalog.scalargtjoinsel
);

COMMENT ON OPERATOR cdp.> (cdp.identity_set, cdp.identity_set) IS 'After, identifier by identifier?';

CREATE OPERATOR cdp.>= (
	FUNCTION = cdp.identity_set_ge,
	LEFTARG = cdp.identity_set, RIGHTARG = cdp.identity_set,
	COMMUTATOR = OPERATOR(cdp.<=), NEGATOR = OPERATOR(cdp.<),
	RESTRICT = pg_catalog.scalargesel, JOIN = pg_catalog.scalargejoinsel
);

COMMENT ON OPERATOR cdp.>= (cdp.identity_set, cdp.identity_set) IS 'After or equal, identifier by identifier?';

CREATE OPERATOR CLASS cdp.identity_set_ops
DEFAULT FOR TYPE cdp.identity_set USING btree AS
	OPERATOR 1 cdp.<,
	OPERATOR 2 cdp.<=,
	OPERATOR 3 cdp.=,
	OPERATOR 4 cdp.>=,
	OPERATOR 5 cdp.>,
	FUNCTION 1 cdp.identity_set_cmp(cdp.identity_set, cdp.identity_set);

CREATE OPERATOR CLASS cdp.identity_set_hash_ops
DEFAULT FOR TYPE cdp.identity_set USING hash AS
	OPERATOR 1 cdp.=,
	FUNCTION 1 cdp.identity_set_hash(cdp.identity_set),
	FUNCTION 2 cdp.identity_set_hash_extended(cdp.identity_set, pg_catalog.int8);

COMMENT ON OPERATOR CLASS cdp.identity_set_ops USING btree IS 'Order of cdp.identity_set, identifier by identifier.';
COMMENT ON OPERATOR CLASS cdp.identity_set_hash_ops USING hash IS 'Hash of cdp.identity_set.';

-- union, difference, tests

CREATE FUNCTION cdp.identifier_union(cdp.identifier, cdp.identifier)
RETURNS cdp.identity_set
AS 'MODULE_PATHNAME', 'cdp_identifier_union'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identifier_union(cdp.identifier, cdp.identifier) IS 'Implementation of the operator ||.';

CREATE OPERATOR cdp.|| (
	FUNCTION = cdp.identifier_union,
	LEFTARG = cdp.identifier, RIGHTARG = cdp.identifier,
	COMMUTATOR = OPERATOR(cdp.||)
);

COMMENT ON OPERATOR cdp.|| (cdp.identifier, cdp.identifier) IS 'The set of both identifiers.';

CREATE FUNCTION cdp.identifier_add_set(cdp.identifier, cdp.identity_set)
RETURNS cdp.identity_set
AS 'MODULE_PATHNAME', 'cdp_identifier_add_set'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identifier_add_set(cdp.identifier, cdp.identity_set) IS 'Implementation of the operator ||.';

CREATE OPERATOR cdp.|| (
	FUNCTION = cdp.identifier_add_set,
	LEFTARG = cdp.identifier, RIGHTARG = cdp.identity_set,
	COMMUTATOR = OPERATOR(cdp.||)
);

COMMENT ON OPERATOR cdp.|| (cdp.identifier, cdp.identity_set) IS 'The set with the identifier added.';

CREATE FUNCTION cdp.identity_set_add(cdp.identity_set, cdp.identifier)
RETURNS cdp.identity_set
AS 'MODULE_PATHNAME', 'cdp_identity_set_add'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identity_set_add(cdp.identity_set, cdp.identifier) IS 'Implementation of the operator ||.';

CREATE OPERATOR cdp.|| (
	FUNCTION = cdp.identity_set_add,
	LEFTARG = cdp.identity_set, RIGHTARG = cdp.identifier,
	COMMUTATOR = OPERATOR(cdp.||)
);

COMMENT ON OPERATOR cdp.|| (cdp.identity_set, cdp.identifier) IS 'The set with the identifier added.';

CREATE FUNCTION cdp.identity_set_union(cdp.identity_set, cdp.identity_set)
RETURNS cdp.identity_set
AS 'MODULE_PATHNAME', 'cdp_identity_set_union'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identity_set_union(cdp.identity_set, cdp.identity_set) IS 'Implementation of the operator ||.';

CREATE OPERATOR cdp.|| (
	FUNCTION = cdp.identity_set_union,
	LEFTARG = cdp.identity_set, RIGHTARG = cdp.identity_set,
	COMMUTATOR = OPERATOR(cdp.||)
);

COMMENT ON OPERATOR cdp.|| (cdp.identity_set, cdp.identity_set) IS 'The identifiers of either set.';

CREATE FUNCTION cdp.identity_set_minus(cdp.identity_set, cdp.identity_set)
RETURNS cdp.identity_set
AS 'MODULE_PATHNAME', 'cdp_identity_set_minus'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identity_set_minus(cdp.identity_set, cdp.identity_set) IS 'Implementation of the operator -.';

CREATE OPERATOR cdp.- (
	FUNCTION = cdp.identity_set_minus,
	LEFTARG = cdp.identity_set, RIGHTARG = cdp.identity_set
);

COMMENT ON OPERATOR cdp.- (cdp.identity_set, cdp.identity_set) IS 'The identifiers of the first set that are not in the second.';

CREATE FUNCTION cdp.identity_set_remove(cdp.identity_set, cdp.identifier)
RETURNS cdp.identity_set
AS 'MODULE_PATHNAME', 'cdp_identity_set_remove'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identity_set_remove(cdp.identity_set, cdp.identifier) IS 'Implementation of the operator -.';

CREATE OPERATOR cdp.- (
	FUNCTION = cdp.identity_set_remove,
	LEFTARG = cdp.identity_set, RIGHTARG = cdp.identifier
);

COMMENT ON OPERATOR cdp.- (cdp.identity_set, cdp.identifier) IS 'The set without the identifier.';

CREATE FUNCTION cdp.identity_set_overlaps(cdp.identity_set, cdp.identity_set)
RETURNS pg_catalog.bool
AS 'MODULE_PATHNAME', 'cdp_identity_set_overlaps'
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identity_set_overlaps(cdp.identity_set, cdp.identity_set) IS 'Implementation of the operator &&.';

CREATE OPERATOR cdp.&& (
	FUNCTION = cdp.identity_set_overlaps,
	LEFTARG = cdp.identity_set, RIGHTARG = cdp.identity_set,
	COMMUTATOR = OPERATOR(cdp.&&),
	RESTRICT = pg_catalog.contsel, JOIN = pg_catalog.contjoinsel
);

COMMENT ON OPERATOR cdp.&& (cdp.identity_set, cdp.identity_set) IS 'Do the sets share an identifier?';

CREATE FUNCTION cdp.identity_set_contains(cdp.identity_set, cdp.identity_set)
RETURNS pg_catalog.bool
AS 'MODULE_PATHNAME', 'cdp_identity_set_contains'
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identity_set_contains(cdp.identity_set, cdp.identity_set) IS 'Implementation of the operator @>.';

CREATE OPERATOR cdp.@> (
	FUNCTION = cdp.identity_set_contains,
	LEFTARG = cdp.identity_set, RIGHTARG = cdp.identity_set,
	COMMUTATOR = OPERATOR(cdp.<@),
	RESTRICT = pg_catalog.contsel, JOIN = pg_catalog.contjoinsel
);

COMMENT ON OPERATOR cdp.@> (cdp.identity_set, cdp.identity_set) IS 'Does the first set contain every identifier of the second?';

CREATE FUNCTION cdp.identity_set_contained(cdp.identity_set, cdp.identity_set)
RETURNS pg_catalog.bool
AS 'MODULE_PATHNAME', 'cdp_identity_set_contained'
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identity_set_contained(cdp.identity_set, cdp.identity_set) IS 'Implementation of the operator <@.';

CREATE OPERATOR cdp.<@ (
	FUNCTION = cdp.identity_set_contained,
	LEFTARG = cdp.identity_set, RIGHTARG = cdp.identity_set,
	COMMUTATOR = OPERATOR(cdp.@>),
	RESTRICT = pg_catalog.contsel, JOIN = pg_catalog.contjoinsel
);

COMMENT ON OPERATOR cdp.<@ (cdp.identity_set, cdp.identity_set) IS 'Is every identifier of the first set in the second?';

CREATE FUNCTION cdp.identity_set_has(cdp.identity_set, cdp.identifier)
RETURNS pg_catalog.bool
AS 'MODULE_PATHNAME', 'cdp_identity_set_has'
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identity_set_has(cdp.identity_set, cdp.identifier) IS 'Implementation of the operator @>.';

CREATE OPERATOR cdp.@> (
	FUNCTION = cdp.identity_set_has,
	LEFTARG = cdp.identity_set, RIGHTARG = cdp.identifier,
	COMMUTATOR = OPERATOR(cdp.<@),
	RESTRICT = pg_catalog.contsel, JOIN = pg_catalog.contjoinsel
);

COMMENT ON OPERATOR cdp.@> (cdp.identity_set, cdp.identifier) IS 'Does the set contain the identifier?';

CREATE FUNCTION cdp.identifier_in_set(cdp.identifier, cdp.identity_set)
RETURNS pg_catalog.bool
AS 'MODULE_PATHNAME', 'cdp_identifier_in_set'
LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identifier_in_set(cdp.identifier, cdp.identity_set) IS 'Implementation of the operator <@.';

CREATE OPERATOR cdp.<@ (
	FUNCTION = cdp.identifier_in_set,
	LEFTARG = cdp.identifier, RIGHTARG = cdp.identity_set,
	COMMUTATOR = OPERATOR(cdp.@>),
	RESTRICT = pg_catalog.contsel, JOIN = pg_catalog.contjoinsel
);

COMMENT ON OPERATOR cdp.<@ (cdp.identifier, cdp.identity_set) IS 'Is the identifier in the set?';

-- GIN: which sets hold these identifiers?

CREATE FUNCTION cdp.identity_set_gin_extract_value(cdp.identity_set, pg_catalog.internal)
RETURNS pg_catalog.internal
AS 'MODULE_PATHNAME', 'cdp_identity_set_gin_extract_value'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identity_set_gin_extract_value(cdp.identity_set, pg_catalog.internal) IS 'GIN support of cdp.identity_set.';

CREATE FUNCTION cdp.identity_set_gin_extract_query(pg_catalog.internal, pg_catalog.internal, pg_catalog.int2, pg_catalog.internal, pg_catalog.internal, pg_catalog.internal, pg_catalog.internal)
RETURNS pg_catalog.internal
AS 'MODULE_PATHNAME', 'cdp_identity_set_gin_extract_query'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identity_set_gin_extract_query(pg_catalog.internal, pg_catalog.internal, pg_catalog.int2, pg_catalog.internal, pg_catalog.internal, pg_catalog.internal, pg_catalog.internal) IS 'GIN support of cdp.identity_set.';

CREATE FUNCTION cdp.identity_set_gin_consistent(pg_catalog.internal, pg_catalog.int2, pg_catalog.internal, pg_catalog.int4, pg_catalog.internal, pg_catalog.internal, pg_catalog.internal, pg_catalog.internal)
RETURNS pg_catalog.bool
AS 'MODULE_PATHNAME', 'cdp_identity_set_gin_consistent'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identity_set_gin_consistent(pg_catalog.internal, pg_catalog.int2, pg_catalog.internal, pg_catalog.int4, pg_catalog.internal, pg_catalog.internal, pg_catalog.internal, pg_catalog.internal) IS 'GIN support of cdp.identity_set.';

CREATE FUNCTION cdp.identity_set_gin_triconsistent(pg_catalog.internal, pg_catalog.int2, pg_catalog.internal, pg_catalog.int4, pg_catalog.internal, pg_catalog.internal, pg_catalog.internal)
RETURNS pg_catalog."char"
AS 'MODULE_PATHNAME', 'cdp_identity_set_gin_triconsistent'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identity_set_gin_triconsistent(pg_catalog.internal, pg_catalog.int2, pg_catalog.internal, pg_catalog.int4, pg_catalog.internal, pg_catalog.internal, pg_catalog.internal) IS 'GIN support of cdp.identity_set.';

CREATE OPERATOR CLASS cdp.identity_set_gin_ops
DEFAULT FOR TYPE cdp.identity_set USING gin AS
	OPERATOR 1 cdp.&& (cdp.identity_set, cdp.identity_set),
	OPERATOR 2 cdp.@> (cdp.identity_set, cdp.identity_set),
	OPERATOR 3 cdp.<@ (cdp.identity_set, cdp.identity_set),
	OPERATOR 4 cdp.= (cdp.identity_set, cdp.identity_set),
	OPERATOR 5 cdp.@> (cdp.identity_set, cdp.identifier),
	FUNCTION 1 cdp.identifier_cmp(cdp.identifier, cdp.identifier),
	FUNCTION 2 cdp.identity_set_gin_extract_value(cdp.identity_set, pg_catalog.internal),
	FUNCTION 3 cdp.identity_set_gin_extract_query(pg_catalog.internal, pg_catalog.internal, pg_catalog.int2, pg_catalog.internal, pg_catalog.internal, pg_catalog.internal, pg_catalog.internal),
	FUNCTION 4 cdp.identity_set_gin_consistent(pg_catalog.internal, pg_catalog.int2, pg_catalog.internal, pg_catalog.int4, pg_catalog.internal, pg_catalog.internal, pg_catalog.internal, pg_catalog.internal),
	FUNCTION 6 cdp.identity_set_gin_triconsistent(pg_catalog.internal, pg_catalog.int2, pg_catalog.internal, pg_catalog.int4, pg_catalog.internal, pg_catalog.internal, pg_catalog.internal),
	STORAGE cdp.identifier;

COMMENT ON OPERATOR CLASS cdp.identity_set_gin_ops USING gin IS 'Find sets by the identifiers they hold: &&, @>, <@, =.';

-- aggregate

CREATE FUNCTION cdp.identity_merge_identifier(cdp.identity_set, cdp.identifier)
RETURNS cdp.identity_set
AS 'MODULE_PATHNAME', 'cdp_identity_merge_identifier'
LANGUAGE C IMMUTABLE PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identity_merge_identifier(cdp.identity_set, cdp.identifier) IS 'Transition function of cdp.identity_merge(identifier).';

CREATE FUNCTION cdp.identity_merge_set(cdp.identity_set, cdp.identity_set)
RETURNS cdp.identity_set
AS 'MODULE_PATHNAME', 'cdp_identity_merge_set'
LANGUAGE C IMMUTABLE PARALLEL SAFE;

COMMENT ON FUNCTION cdp.identity_merge_set(cdp.identity_set, cdp.identity_set) IS 'Transition function of cdp.identity_merge(identity_set), combine function of both.';

CREATE AGGREGATE cdp.identity_merge(cdp.identifier) (
	SFUNC = cdp.identity_merge_identifier,
	STYPE = cdp.identity_set,
	COMBINEFUNC = cdp.identity_merge_set,
	PARALLEL = SAFE
);

COMMENT ON AGGREGATE cdp.identity_merge(cdp.identifier) IS 'The set of all identifiers; NULL without any.';

CREATE AGGREGATE cdp.identity_merge(cdp.identity_set) (
	SFUNC = cdp.identity_merge_set,
	STYPE = cdp.identity_set,
	COMBINEFUNC = cdp.identity_merge_set,
	PARALLEL = SAFE
);

COMMENT ON AGGREGATE cdp.identity_merge(cdp.identity_set) IS 'The union of all sets; NULL without any.';
