/*
 * src/identity/components_any.c
 *		Components of nodes of any type for cdp.connected_components.
 *
 * A dictionary numbers the nodes: the hash table of core/nodes.h, whose
 * handles are the values of a type passed by value, or addresses of copies.
 * Copies lie one after the other in blocks that only grow in number:
 *
 *		handles:	[ *   *   * ]
 *		            /    |     \
 *		block:		"ada@x.y" "c1" "c1-2"
 *
 * Two nodes are one if the type says so, but equal bytes need not ask it.
 * The component is the smallest node by the type's order and the collation of
 * the query's columns.
 */
#include "postgres.h"

#include "utils/datum.h"
#include "utils/memutils.h"

#include "compat.h"
#include "core/prefetch.h"
#include "core/unionfind.h"
#include "identity/components.h"

/* Blocks of copies double from the first size to the last. */
#define FIRST_BLOCK 8192
#define LAST_BLOCK ((Size) 1024 * 1024)

/* Calls of the type's functions before what they left is thrown away. */
#define SCRATCH 1024

/* Edges that wait for memory at the same time (see core/nodes.c). */
#define BATCH 64

struct CdpDictionary
{
	CdpComponents *call;
	MemoryContext copies;
	size_t limit; /* bytes of table and copies together */
	size_t copied; /* bytes of the blocks */
	char *block;
	size_t left; /* bytes unused at the end of the block */
	size_t block_size; /* of the next one */
	CdpCoreNodes nodes;
	Datum probe; /* what is looked for */
	size_t probe_size;
};

/* One end of an edge, flat, in the scratch context. */
typedef struct End
{
	Datum node;
	uint32 hash;
} End;

struct CdpAnyEdges
{
	CdpComponents *call;
	CdpDictionary *dictionary;
	CdpSpill *spill; /* once memory was full; then there is no dictionary */
	int waiting; /* edges */
	End ends[2 * BATCH]; /* of an edge one after the other; alone if the nodes are one datum */
};

/* -- functions of the type -- */

/*
 * The node as one piece in memory, with the short header where one can be:
 * equal nodes are mostly equal bytes then.  It may be the argument itself.
 */
Datum
cdp_dictionary_flatten(CdpComponents *call, Datum node)
{
	struct varlena *value;

	if (call->type.len != -1)
		return node;
	value = PG_DETOAST_DATUM_PACKED(node);
	if (!VARATT_IS_SHORT(value) && VARATT_CAN_MAKE_SHORT(value))
	{
		Size size = VARATT_CONVERTED_SHORT_SIZE(value);
		struct varlena *brief = palloc(size);

		SET_VARSIZE_SHORT(brief, size);
		memcpy(VARDATA_SHORT(brief), VARDATA(value), size - VARHDRSZ_SHORT);
		value = brief;
	}
	return PointerGetDatum(value);
}

uint32
cdp_dictionary_hash(CdpComponents *call, Datum node)
{
	return DatumGetUInt32(FunctionCall1Coll(&call->type.hash, call->type.collation, node));
}

/*
 * Bytes of a flat node that is not passed by value.
 */
size_t
cdp_dictionary_node_size(const CdpComponents *call, Datum node)
{
	return datumGetSize(node, call->type.byval, call->type.len);
}

bool
cdp_dictionary_less(CdpComponents *call, Datum a, Datum b)
{
	return DatumGetInt32(FunctionCall2Coll(&call->type.compare, call->type.collation, a, b)) < 0;
}

/* -- the dictionary -- */

/*
 * A dictionary that holds no more than "limit" bytes, with a forest over its
 * nodes if wanted.
 */
CdpDictionary *
cdp_dictionary_create(CdpComponents *call, size_t limit, bool forest)
{
	CdpDictionary *dictionary = MemoryContextAllocZero(call->context, sizeof(CdpDictionary));

	dictionary->call = call;
	dictionary->limit = limit;
	dictionary->copies = AllocSetContextCreate(call->context, "cdp dictionary",
											   ALLOCSET_DEFAULT_SIZES);
	dictionary->block_size = FIRST_BLOCK;
	cdp_core_nodes_init(&dictionary->nodes, &call->host, limit, forest, true);
	return dictionary;
}

void
cdp_dictionary_free(CdpDictionary *dictionary)
{
	cdp_core_nodes_free(&dictionary->nodes);
	MemoryContextDelete(dictionary->copies);
	pfree(dictionary);
}

CdpCoreNodes *
cdp_dictionary_nodes(CdpDictionary *dictionary)
{
	return &dictionary->nodes;
}

Datum
cdp_dictionary_node(const CdpDictionary *dictionary, uint32 number)
{
	return (Datum) dictionary->nodes.keys[number];
}

static bool
is_probe(void *arg, int64_t handle)
{
	CdpDictionary *dictionary = arg;
	CdpComponents *call = dictionary->call;
	Datum node = (Datum) handle;

	if (call->type.byval)
	{
		if (node == dictionary->probe)
			return true;
	}
	else if (cdp_dictionary_node_size(call, node) == dictionary->probe_size &&
			 memcmp(DatumGetPointer(node), DatumGetPointer(dictionary->probe),
					dictionary->probe_size) == 0)
		return true;
	return DatumGetBool(FunctionCall2Coll(&call->type.equal, call->type.collation, node,
										  dictionary->probe));
}

/*
 * A copy of the probe; NULL when that would exceed the limit.
 */
static void *
copy_probe(CdpDictionary *dictionary)
{
	size_t size = MAXALIGN(dictionary->probe_size);
	char *copy;

	if (size > dictionary->left)
	{
		size_t block = Max(dictionary->block_size, size);

		if (dictionary->copied + block + cdp_core_nodes_bytes(&dictionary->nodes) >
			dictionary->limit)
			return NULL;
		dictionary->block = MemoryContextAllocHuge(dictionary->copies, block);
		dictionary->left = block;
		dictionary->copied += block;
		dictionary->block_size = Min(dictionary->block_size * 2, LAST_BLOCK);
	}
	copy = dictionary->block;
	dictionary->block += size;
	dictionary->left -= size;
	memcpy(copy, DatumGetPointer(dictionary->probe), dictionary->probe_size);
	return copy;
}

/*
 * The number of a flat node, a new one if it was not there.
 * CDP_CORE_NO_NODE when the limit leaves no room for it.
 */
uint32
cdp_dictionary_number(CdpDictionary *dictionary, Datum node, uint32 hash)
{
	CdpCoreNodes *nodes = &dictionary->nodes;
	bool byval = dictionary->call->type.byval;
	uint32 number;

	dictionary->probe = node;
	dictionary->probe_size = byval ? 0 : cdp_dictionary_node_size(dictionary->call, node);
	number = cdp_core_nodes_find(nodes, hash, is_probe, dictionary);
	if (number != CDP_CORE_NO_NODE)
		return number;

	if (nodes->count == nodes->room)
	{
		CdpCoreStatus status;

		nodes->limit = dictionary->limit - Min(dictionary->copied, dictionary->limit);
		status = cdp_core_nodes_grow(nodes);
		if (status == CDP_CORE_LIMIT)
			return CDP_CORE_NO_NODE;
		cdp_components_raise(dictionary->call, status);
	}
	if (!byval)
	{
		void *copy = copy_probe(dictionary);

		if (copy == NULL)
			return CDP_CORE_NO_NODE;
		node = PointerGetDatum(copy);
	}
	return cdp_core_nodes_insert(nodes, hash, (int64_t) node);
}

/* -- edges -- */

CdpAnyEdges *
cdp_components_any_begin(CdpComponents *call)
{
	CdpAnyEdges *edges = palloc0(sizeof(CdpAnyEdges));

	edges->call = call;
	edges->dictionary = cdp_dictionary_create(call, call->limit, true);
	return edges;
}

static void
go_to_disk(CdpAnyEdges *edges)
{
	CdpDictionary *dictionary = edges->dictionary;
	CdpCoreNodes *nodes = &dictionary->nodes;

	edges->spill = cdp_spill_create(edges->call);
	for (uint32 i = 0; i < nodes->count; i++)
	{
		uint32 parent = nodes->parent[i];

		cdp_spill_add_any(edges->spill, (Datum) nodes->keys[i], nodes->hashes[i],
						  (Datum) nodes->keys[parent], nodes->hashes[parent]);
		if (i % 1024 == 0)
			cdp_components_tick(edges->call);
	}
	cdp_dictionary_free(dictionary);
	edges->dictionary = NULL;
}

static void
spill_waiting(CdpAnyEdges *edges, int from)
{
	for (int i = from; i < edges->waiting; i++)
	{
		End *a = &edges->ends[2 * i];
		End *b = a + 1;

		cdp_spill_add_any(edges->spill, a->node, a->hash, b->node, b->hash);
	}
}

/*
 * Joins the edges that wait.  First everything they will touch is asked for,
 * step by step: the slots were by add(), the slots tell the handles, the
 * handles tell the copies to compare with.
 */
static void
join_waiting(CdpAnyEdges *edges)
{
	CdpCoreNodes *nodes = &edges->dictionary->nodes;
	uint32 guess[2 * BATCH];
	int i;

	for (i = 0; i < 2 * edges->waiting; i++)
		guess[i] = cdp_core_nodes_guess(nodes, edges->ends[i].hash);
	if (!edges->call->type.byval)
	{
		for (i = 0; i < 2 * edges->waiting; i++)
		{
			if (guess[i] != CDP_CORE_NO_NODE)
				CDP_CORE_PREFETCH(DatumGetPointer((Datum) nodes->keys[guess[i]]));
		}
	}

	for (i = 0; i < edges->waiting; i++)
	{
		End *a = &edges->ends[2 * i];
		End *b = a + 1;
		uint32 pair[2];

		pair[0] = cdp_dictionary_number(edges->dictionary, a->node, a->hash);
		pair[1] = pair[0];
		if (b->node != a->node && pair[0] != CDP_CORE_NO_NODE)
			pair[1] = cdp_dictionary_number(edges->dictionary, b->node, b->hash);
		if (pair[1] == CDP_CORE_NO_NODE)
			break;
		cdp_core_forest_join(nodes->parent, pair, 1);
	}
	edges->call->nodes = nodes->count;
	if (i < edges->waiting)
	{
		go_to_disk(edges);
		spill_waiting(edges, i);
	}
}

static void
flush(CdpAnyEdges *edges)
{
	MemoryContext old = MemoryContextSwitchTo(edges->call->scratch);

	if (edges->spill == NULL)
		join_waiting(edges);
	else
		spill_waiting(edges, 0);
	edges->waiting = 0;
	MemoryContextSwitchTo(old);
	MemoryContextReset(edges->call->scratch);
}

/* A copy that lives until the edges are joined. */
static void
take_end(CdpAnyEdges *edges, End *end, Datum node)
{
	CdpComponents *call = edges->call;
	Datum flat = cdp_dictionary_flatten(call, node);

	if (flat == node && !call->type.byval)
		flat = datumCopy(flat, false, call->type.len);
	end->node = flat;
	end->hash = cdp_dictionary_hash(call, flat);
	if (edges->dictionary != NULL)
		cdp_core_nodes_expect(&edges->dictionary->nodes, end->hash);
}

/*
 * Adds an edge, a node alone if both datums are the same.
 */
void
cdp_components_any_add(CdpAnyEdges *edges, Datum a, Datum b)
{
	MemoryContext old = MemoryContextSwitchTo(edges->call->scratch);
	End *end = &edges->ends[2 * edges->waiting];

	take_end(edges, end, a);
	if (a == b)
		end[1] = end[0];
	else
		take_end(edges, end + 1, b);
	MemoryContextSwitchTo(old);
	if (++edges->waiting == BATCH)
		flush(edges);
}

/*
 * The smallest node of each component by the number of its root.  Roots have
 * the smallest number of theirs, so they are seen first.
 */
static uint32 *
find_least(CdpComponents *call, CdpCoreNodes *nodes)
{
	uint32 *least;

	pfree(nodes->slots); /* not needed any more */
	nodes->slots = NULL;
	least = MemoryContextAllocHuge(call->context, (Size) nodes->count * sizeof(uint32));
	cdp_core_forest_flatten(nodes->parent, 0, nodes->count);
	for (uint32 i = 0; i < nodes->count; i++)
	{
		uint32 root = nodes->parent[i];

		if (root == i || cdp_dictionary_less(call, (Datum) nodes->keys[i],
											 (Datum) nodes->keys[least[root]]))
			least[root] = i;
		if (i % SCRATCH == 0)
		{
			MemoryContextReset(call->scratch);
			cdp_components_tick(call);
		}
	}
	return least;
}

void
cdp_components_any_finish(CdpAnyEdges *edges)
{
	CdpComponents *call = edges->call;
	CdpCoreNodes *nodes;
	MemoryContext old;
	uint32 *least;

	flush(edges);
	if (edges->spill != NULL)
	{
		cdp_spill_finish(edges->spill);
		return;
	}
	nodes = &edges->dictionary->nodes;
	if (nodes->count == 0)
		return;
	cdp_components_phase(call, "labelling");
	old = MemoryContextSwitchTo(call->scratch);
	least = find_least(call, nodes);
	MemoryContextSwitchTo(old);

	cdp_components_phase(call, "returning");
	for (uint32 i = 0; i < nodes->count; i++)
	{
		cdp_components_emit(call, (Datum) nodes->keys[i],
							(Datum) nodes->keys[least[nodes->parent[i]]]);
		if (i % 1024 == 0)
			cdp_components_tick(call);
	}
	pfree(least);
	cdp_dictionary_free(edges->dictionary);
}
