/*
 * sql/install/22_components.sql
 *		Connected components of an edge list: batch stitching.
 *
 * The functions run the caller's query as the caller.  They are VOLATILE, for
 * the query may be, and PARALLEL UNSAFE, for it runs in this process and may
 * be anything; it can have a parallel plan of its own.  A null sample counts:
 * it is there for its type.
 */

CREATE FUNCTION cdp.connected_components(query pg_catalog.text, ordered pg_catalog.bool DEFAULT false)
RETURNS TABLE (node pg_catalog.int8, component pg_catalog.int8)
AS 'MODULE_PATHNAME', 'cdp_connected_components'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 100000 ROWS 100000;

COMMENT ON FUNCTION cdp.connected_components(pg_catalog.text, pg_catalog.bool) IS
'Connected components of the edges that a query returns as two integer columns: each node with the smallest node it is connected with. A null end makes the other one a node without an edge. Runs the query as the caller; ordered sorts by component, then node.';

CREATE FUNCTION cdp.connected_components(query pg_catalog.text, sample anyelement, ordered pg_catalog.bool DEFAULT false)
RETURNS TABLE (node anyelement, component anyelement)
AS 'MODULE_PATHNAME', 'cdp_connected_components_any'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 100000 ROWS 100000;

COMMENT ON FUNCTION cdp.connected_components(pg_catalog.text, anyelement, pg_catalog.bool) IS
'The same for nodes of the type of sample, such as NULL::uuid, NULL::text or NULL::cdp.identifier; smallest is by the default order of the type and the collation of the columns.';

CREATE TYPE cdp.node_component AS (node pg_catalog.int8, component pg_catalog.int8);

COMMENT ON TYPE cdp.node_component IS 'A node of a graph and its component, which is the smallest node it is connected with.';
COMMENT ON COLUMN cdp.node_component.node IS 'The node.';
COMMENT ON COLUMN cdp.node_component.component IS 'Smallest node of its component.';

CREATE FUNCTION cdp.connected_components_agg_trans(pg_catalog.internal, pg_catalog.int8, pg_catalog.int8)
RETURNS pg_catalog.internal
AS 'MODULE_PATHNAME', 'cdp_connected_components_agg_trans'
LANGUAGE C IMMUTABLE PARALLEL SAFE;

COMMENT ON FUNCTION cdp.connected_components_agg_trans(pg_catalog.internal, pg_catalog.int8, pg_catalog.int8) IS 'Transition function of cdp.connected_components_agg.';

CREATE FUNCTION cdp.connected_components_agg_combine(pg_catalog.internal, pg_catalog.internal)
RETURNS pg_catalog.internal
AS 'MODULE_PATHNAME', 'cdp_connected_components_agg_combine'
LANGUAGE C IMMUTABLE PARALLEL SAFE;

COMMENT ON FUNCTION cdp.connected_components_agg_combine(pg_catalog.internal, pg_catalog.internal) IS 'Combine function of cdp.connected_components_agg.';

CREATE FUNCTION cdp.connected_components_agg_serial(pg_catalog.internal)
RETURNS pg_catalog.bytea
AS 'MODULE_PATHNAME', 'cdp_connected_components_agg_serial'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.connected_components_agg_serial(pg_catalog.internal) IS 'Serialisation function of cdp.connected_components_agg.';

CREATE FUNCTION cdp.connected_components_agg_deserial(pg_catalog.bytea, pg_catalog.internal)
RETURNS pg_catalog.internal
AS 'MODULE_PATHNAME', 'cdp_connected_components_agg_deserial'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

COMMENT ON FUNCTION cdp.connected_components_agg_deserial(pg_catalog.bytea, pg_catalog.internal) IS 'Deserialisation function of cdp.connected_components_agg.';

CREATE FUNCTION cdp.connected_components_agg_final(pg_catalog.internal)
RETURNS cdp.node_component[]
AS 'MODULE_PATHNAME', 'cdp_connected_components_agg_final'
LANGUAGE C IMMUTABLE PARALLEL SAFE;

COMMENT ON FUNCTION cdp.connected_components_agg_final(pg_catalog.internal) IS 'Final function of cdp.connected_components_agg.';

CREATE AGGREGATE cdp.connected_components_agg(a pg_catalog.int8, b pg_catalog.int8) (
	SFUNC = cdp.connected_components_agg_trans,
	STYPE = pg_catalog.internal,
	SSPACE = 512,
	FINALFUNC = cdp.connected_components_agg_final,
	COMBINEFUNC = cdp.connected_components_agg_combine,
	SERIALFUNC = cdp.connected_components_agg_serial,
	DESERIALFUNC = cdp.connected_components_agg_deserial,
	PARALLEL = SAFE
);

COMMENT ON AGGREGATE cdp.connected_components_agg(pg_catalog.int8, pg_catalog.int8) IS
'Connected components of a group''s edges, sorted by component and node; unnest() makes rows of it. NULL without any node. For many small groups; cdp.connected_components is for one large graph.';
