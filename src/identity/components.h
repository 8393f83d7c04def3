/*
 * src/identity/components.h
 *		Connected components of an edge list, shared by the files of
 *		cdp.connected_components.
 *
 *		components.c		the SQL functions: runs the caller's query, returns rows
 *		components_int.c	integer nodes
 *		components_any.c	nodes of any type that can be hashed and ordered
 *		components_spill.c	both, when memory is not enough
 *		components_agg.c	the aggregate for small groups
 */
#ifndef CDP_IDENTITY_COMPONENTS_H
#define CDP_IDENTITY_COMPONENTS_H

#include "executor/tuptable.h"
#include "fmgr.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"
#include "utils/tuplesort.h"
#include "utils/tuplestore.h"

#include "core/nodes.h"
#include "progress.h"

/* The type of the nodes, and how it is hashed, compared and copied. */
typedef struct CdpNodeType
{
	Oid type;
	Oid collation; /* of the query's columns */
	int16 len;
	bool byval;
	bool integer; /* int2, int4 or int8: no functions needed */
	FmgrInfo hash;
	FmgrInfo equal;
	FmgrInfo compare;
	Oid less; /* the operator, for sorting */
} CdpNodeType;

/* One call: its memory, its progress, where its rows go. */
typedef struct CdpComponents
{
	MemoryContext context; /* of the whole call */
	MemoryContext scratch; /* of functions of the type, reset now and then */
	ResourceOwner owner; /* of temporary files */
	size_t limit; /* bytes that may be held: maintenance_work_mem */
	CdpCoreHost host; /* takes memory from the context, and ticks */
	CdpNodeType type;

	const char *phase; /* what is being done, for the progress */
	uint64 expected; /* rows of the query, says the planner */
	uint64 edges; /* rows read that were not all null */
	uint64 nodes; /* known so far */
	TimestampTz next_notice; /* 0 without notices */
	CdpProgress progress;

	bool ordered;
	TupleDesc tupdesc;
	Tuplestorestate *result;
	Tuplesortstate *sort; /* on the way to the result, if ordered */
	TupleTableSlot *slot;
	HeapTuple tuple; /* a row of integers, to be filled in again and again */
} CdpComponents;

/* components.c */
extern void cdp_components_phase(CdpComponents *call, const char *phase);
extern void cdp_components_tick(CdpComponents *call);
extern void cdp_components_raise(CdpComponents *call, CdpCoreStatus status);
extern void cdp_components_raise_limit(CdpComponents *call, uint64 bytes);
extern void cdp_components_emit(CdpComponents *call, Datum node, Datum component);
extern void cdp_components_emit_int(CdpComponents *call, const int64 *pairs, size_t count);

/*
 * Edges as they come, ends[0]-ends[1], ends[2]-ends[3] ...; an edge from a
 * node to itself is a node without an edge.  finish() emits the result.
 */
typedef struct CdpIntEdges CdpIntEdges;
typedef struct CdpAnyEdges CdpAnyEdges;

/* components_int.c */
extern CdpIntEdges *cdp_components_int_begin(CdpComponents *call);
extern void cdp_components_int_add(CdpIntEdges *edges, const int64 *ends, size_t count);
extern void cdp_components_int_finish(CdpIntEdges *edges);

/* components_any.c: adds one edge; the datums are copied */
extern CdpAnyEdges *cdp_components_any_begin(CdpComponents *call);
extern void cdp_components_any_add(CdpAnyEdges *edges, Datum a, Datum b);
extern void cdp_components_any_finish(CdpAnyEdges *edges);

/* A dictionary of nodes of any type (components_any.c). */
typedef struct CdpDictionary CdpDictionary;

extern CdpDictionary *cdp_dictionary_create(CdpComponents *call, size_t limit, bool forest);
extern void cdp_dictionary_free(CdpDictionary *dictionary);
extern Datum cdp_dictionary_flatten(CdpComponents *call, Datum node);
extern uint32 cdp_dictionary_hash(CdpComponents *call, Datum node);
extern uint32 cdp_dictionary_number(CdpDictionary *dictionary, Datum node, uint32 hash);
extern CdpCoreNodes *cdp_dictionary_nodes(CdpDictionary *dictionary);
extern Datum cdp_dictionary_node(const CdpDictionary *dictionary, uint32 number);
extern size_t cdp_dictionary_node_size(const CdpComponents *call, Datum node);
extern bool cdp_dictionary_less(CdpComponents *call, Datum a, Datum b);

/*
 * The same on disk (components_spill.c): integers, or nodes with their hashes.
 * Ends with everything emitted.
 */
typedef struct CdpSpill CdpSpill;

extern CdpSpill *cdp_spill_create(CdpComponents *call);
extern void cdp_spill_add_int(CdpSpill *spill, const int64 *ends, size_t count);
extern void cdp_spill_add_any(CdpSpill *spill, Datum a, uint32 hash_a, Datum b, uint32 hash_b);
extern void cdp_spill_finish(CdpSpill *spill);

#endif /* CDP_IDENTITY_COMPONENTS_H */
