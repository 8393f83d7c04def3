/*
 * src/core/components.c
 *		Connected components of integers (see components.h).
 *
 * When the hash table has to grow, the range of the keys decides whether it
 * becomes an array instead: that costs 4 bytes an id of the range.  When an id
 * falls outside of the array, the array is widened as long as that is cheaper
 * than a hash table of the nodes in it, else it becomes a table again.
 * Between two such changes the nodes double, or the range does, so all of
 * them together cost no more than a few passes.
 */
#include "core/components.h"

#include <string.h>

#include "core/prefetch.h"
#include "core/unionfind.h"

/* Edges handled at a time. */
#define CHUNK 512

/* Entries whose memory is asked for ahead of use. */
#define AHEAD 16

/* Steps between two ticks, a power of two. */
#define TICK 65536

/*
 * An array is kept while it takes at most this many bytes a node.  A table
 * takes 34 a slot that may be used right after it has grown, or 45 a node, and
 * becomes an array that takes no more; it must be possible to widen that.
 */
#define DENSE_BYTES_PER_NODE 64

void
cdp_core_components_init(CdpCoreComponents *components, const CdpCoreHost *host,
						 size_t limit)
{
	memset(components, 0, sizeof(*components));
	components->host = host;
	/* SIZE_MAX stands for what cannot be */
	components->limit = limit < SIZE_MAX ? limit : SIZE_MAX - 1;
	cdp_core_nodes_init(&components->nodes, host, components->limit, true, false);
}

void
cdp_core_components_expect(CdpCoreComponents *components, uint64_t nodes)
{
	components->nodes.expected = nodes;
}

void
cdp_core_components_free(CdpCoreComponents *components)
{
	const CdpCoreHost *host = components->host;

	uint64_t expected = components->nodes.expected;

	cdp_core_nodes_free(&components->nodes);
	if (components->parent != NULL)
		host->release(host->arg, components->parent);
	if (components->least != NULL)
		host->release(host->arg, components->least);
	cdp_core_components_init(components, host, components->limit);
	cdp_core_components_expect(components, expected);
}

uint64_t
cdp_core_components_count(const CdpCoreComponents *components)
{
	return components->dense ? components->count : components->nodes.count;
}

size_t
cdp_core_components_bytes(const CdpCoreComponents *components)
{
	if (components->dense)
		return (size_t) components->width * sizeof(uint32_t);
	return cdp_core_nodes_bytes(&components->nodes);
}

static void
tick(const CdpCoreComponents *components)
{
	if (components->host->tick != NULL)
		components->host->tick(components->host->arg);
}

/* Ids from min to max; UINT64_MAX stands for that many and one more. */
static uint64_t
range_of(int64_t min, int64_t max)
{
	uint64_t distance = (uint64_t) max - (uint64_t) min;

	return distance == UINT64_MAX ? UINT64_MAX : distance + 1;
}

/* Bytes of an array of so many entries; SIZE_MAX if there can be no such. */
static size_t
dense_bytes(uint64_t width)
{
	if (width > CDP_CORE_MAX_NODES || width > SIZE_MAX / sizeof(uint32_t))
		return SIZE_MAX;
	return (size_t) width * sizeof(uint32_t);
}

static void
smallest_and_largest(const CdpCoreNodes *nodes, int64_t *min, int64_t *max)
{
	*min = INT64_MAX;
	*max = INT64_MIN;
	for (uint32_t i = 0; i < nodes->count; i++)
	{
		if (nodes->keys[i] < *min)
			*min = nodes->keys[i];
		if (nodes->keys[i] > *max)
			*max = nodes->keys[i];
	}
}

/* Marks entries as no nodes. */
static void
clear(uint32_t *parent, uint64_t from, uint64_t to)
{
	memset(parent + from, 0xFF, (size_t) (to - from) * sizeof(uint32_t));
}

/*
 * From table to array, which holds the ids from min to max.  The slots are
 * given back before the array is made.
 */
static CdpCoreStatus
make_dense(CdpCoreComponents *components, int64_t min, int64_t max)
{
	CdpCoreNodes *nodes = &components->nodes;
	const CdpCoreHost *host = components->host;
	uint64_t width = range_of(min, max);
	uint32_t *parent;
	uint32_t pairs[2 * CHUNK];

	host->release(host->arg, nodes->slots);
	nodes->slots = NULL;
	parent = host->allocate(host->arg, dense_bytes(width));
	if (parent == NULL)
		return CDP_CORE_NO_MEMORY;
	components->parent = parent;
	clear(parent, 0, width);
	for (uint32_t i = 0; i < nodes->count; i++)
	{
		uint64_t entry = (uint64_t) nodes->keys[i] - (uint64_t) min;

		parent[entry] = (uint32_t) entry;
	}

	/* the table links to the smaller number, the array to the smaller id */
	for (uint32_t i = 0; i < nodes->count; i += CHUNK)
	{
		uint32_t n = nodes->count - i < CHUNK ? nodes->count - i : CHUNK;

		for (uint32_t j = 0; j < n; j++)
		{
			int64_t other = nodes->keys[nodes->parent[i + j]];

			pairs[2 * j] = (uint32_t) ((uint64_t) nodes->keys[i + j] - (uint64_t) min);
			pairs[2 * j + 1] = (uint32_t) ((uint64_t) other - (uint64_t) min);
		}
		cdp_core_forest_join(parent, pairs, n);
		if (i % TICK == 0)
			tick(components);
	}

	components->count = nodes->count;
	components->base = min;
	components->width = width;
	components->dense = true;
	cdp_core_nodes_free(nodes);
	return CDP_CORE_DONE;
}

/*
 * From array to table, which must be allowed to hold the nodes.  The array
 * goes when the table is complete, so for a while both are there.
 */
static CdpCoreStatus
make_hash(CdpCoreComponents *components)
{
	CdpCoreNodes *nodes = &components->nodes;
	uint64_t position = 0;
	int64_t pairs[2 * CHUNK];
	uint32_t numbers[2 * CHUNK];
	size_t n;

	/* and the edge that did not fit, or the table would be full and go back at once */
	while (nodes->room < components->count + 2)
	{
		CdpCoreStatus status = cdp_core_nodes_grow(nodes);

		if (status != CDP_CORE_DONE)
		{
			cdp_core_nodes_free(nodes);
			return status;
		}
	}
	/* a parent has the smaller id and comes first, so it has the smaller number */
	while ((n = cdp_core_components_read(components, &position, pairs, CHUNK)) > 0)
	{
		size_t done;

		(void) cdp_core_nodes_number(nodes, pairs, 2 * n, numbers, &done);
		for (size_t i = 0; i < n; i++)
			nodes->parent[numbers[2 * i]] = numbers[2 * i + 1];
		if (position % TICK < CHUNK)
			tick(components);
	}
	components->host->release(components->host->arg, components->parent);
	components->parent = NULL;
	components->dense = false;
	return CDP_CORE_DONE;
}

/*
 * Widens the array to hold the ids from min to max, and at the end where it
 * grows as many more as it can use without exceeding "most" entries.
 */
static CdpCoreStatus
widen(CdpCoreComponents *components, int64_t min, int64_t max, uint64_t most)
{
	const CdpCoreHost *host = components->host;
	uint64_t old = components->width;
	bool below = min < components->base;
	uint64_t width = range_of(min, max);
	uint64_t shift;
	uint32_t *parent;

	if (width < most)
	{
		/* ids end somewhere: no entry for what is no int64 */
		if (below && (uint64_t) max - (uint64_t) INT64_MIN >= most)
			min = (int64_t) ((uint64_t) max - (most - 1));
		else if (!below && (uint64_t) INT64_MAX - (uint64_t) min >= most)
			max = (int64_t) ((uint64_t) min + (most - 1));
		width = range_of(min, max);
	}

	parent = host->resize(host->arg, components->parent, dense_bytes(width));
	if (parent == NULL)
		return CDP_CORE_NO_MEMORY;
	components->parent = parent;
	components->width = width;
	shift = (uint64_t) components->base - (uint64_t) min;
	components->base = min;
	if (shift > 0)
	{
		memmove(parent + shift, parent, (size_t) old * sizeof(uint32_t));
		clear(parent, 0, shift);
		for (uint64_t i = shift; i < shift + old; i++)
		{
			if (parent[i] != CDP_CORE_NO_NODE)
				parent[i] += (uint32_t) shift;
		}
	}
	clear(parent, shift + old, width);
	tick(components);
	return CDP_CORE_DONE;
}

/*
 * Room for a key that is outside of the array.  It is widened by a quarter at
 * least, or ids that come in descending order would move all entries for each
 * new one; where that is not possible it takes all there is, once.
 */
static CdpCoreStatus
make_room_dense(CdpCoreComponents *components, int64_t key)
{
	uint64_t old = components->width;
	int64_t min = components->base;
	int64_t max = (int64_t) ((uint64_t) min + (old - 1));
	uint64_t limit = components->limit / sizeof(uint32_t);
	uint64_t allowed = components->count * (DENSE_BYTES_PER_NODE / sizeof(uint32_t));
	uint64_t width;
	CdpCoreStatus status;

	if (key < min)
		min = key;
	if (key > max)
		max = key;
	width = range_of(min, max);
	if (limit > CDP_CORE_MAX_NODES)
		limit = CDP_CORE_MAX_NODES;
	if (allowed > limit)
		allowed = limit;
	if (width <= allowed && old + old / 4 < allowed)
		return widen(components, min, max, allowed < old + old / 2 ? allowed : old + old / 2);

	/* what the array holds must leave room for the table */
	components->nodes.limit = components->limit - cdp_core_components_bytes(components);
	status = make_hash(components);
	components->nodes.limit = components->limit;
	if ((status == CDP_CORE_LIMIT || status == CDP_CORE_TOO_MANY) && width <= limit)
		return widen(components, min, max, limit);
	return status;
}

/* Room for more nodes than the table holds. */
static CdpCoreStatus
make_room_hash(CdpCoreComponents *components)
{
	CdpCoreNodes *nodes = &components->nodes;
	size_t next = cdp_core_nodes_next_bytes(nodes);
	int64_t min;
	int64_t max;
	size_t bytes;

	if (nodes->count > 0)
	{
		smallest_and_largest(nodes, &min, &max);
		bytes = dense_bytes(range_of(min, max));
		if (bytes <= next &&
			bytes <= components->limit &&
			bytes + cdp_core_nodes_bytes(nodes) -
					((size_t) 1 << nodes->bits) * sizeof(uint64_t) <=
				components->limit)
			return make_dense(components, min, max);
	}
	return cdp_core_nodes_grow(nodes);
}

/* Adds edges to the array until one has an end outside of it. */
static size_t
add_dense(CdpCoreComponents *components, const int64_t *ends, size_t count)
{
	uint32_t *parent = components->parent;
	uint32_t pairs[2 * CHUNK];
	size_t n;

	for (n = 0; n < count; n++)
	{
		uint64_t a = (uint64_t) ends[2 * n] - (uint64_t) components->base;
		uint64_t b = (uint64_t) ends[2 * n + 1] - (uint64_t) components->base;

		if (a >= components->width || b >= components->width)
			break;
		CDP_CORE_PREFETCH(&parent[a]);
		CDP_CORE_PREFETCH(&parent[b]);
		pairs[2 * n] = (uint32_t) a;
		pairs[2 * n + 1] = (uint32_t) b;
	}
	for (size_t i = 0; i < 2 * n; i++)
	{
		if (parent[pairs[i]] == CDP_CORE_NO_NODE)
		{
			parent[pairs[i]] = pairs[i];
			components->count++;
		}
	}
	cdp_core_forest_join(parent, pairs, n);
	return n;
}

/* Adds edges to the table until it is full. */
static size_t
add_hash(CdpCoreComponents *components, const int64_t *ends, size_t count)
{
	uint32_t numbers[2 * CHUNK];
	size_t done;

	(void) cdp_core_nodes_number(&components->nodes, ends, 2 * count, numbers, &done);
	cdp_core_forest_join(components->nodes.parent, numbers, done / 2);
	return done / 2;
}

CdpCoreStatus
cdp_core_components_add(CdpCoreComponents *components, const int64_t *ends,
						size_t count, size_t *done)
{
	*done = 0;
	while (*done < count)
	{
		const int64_t *next = ends + 2 * *done;
		size_t chunk = count - *done < CHUNK ? count - *done : CHUNK;
		size_t added;

		if (components->dense)
			added = add_dense(components, next, chunk);
		else
			added = add_hash(components, next, chunk);
		*done += added;
		if (added < chunk)
		{
			CdpCoreStatus status;

			next += 2 * added;
			if (components->dense)
			{
				uint64_t a = (uint64_t) next[0] - (uint64_t) components->base;

				status = make_room_dense(components, a >= components->width ? next[0] : next[1]);
			}
			else
				status = make_room_hash(components);
			if (status != CDP_CORE_DONE)
				return status;
		}
	}
	return CDP_CORE_DONE;
}

static void
label_dense(CdpCoreComponents *components)
{
	uint32_t *parent = components->parent;

	for (uint64_t i = 0; i < components->width; i++)
	{
		if (parent[i] != CDP_CORE_NO_NODE)
			parent[i] = parent[parent[i]];
		if (i % TICK == 0)
			tick(components);
	}
}

/*
 * The root of a tree has its smallest number; its smallest key is found by
 * looking at all.  The slots are not needed any more and make room for that.
 */
static CdpCoreStatus
label_hash(CdpCoreComponents *components)
{
	CdpCoreNodes *nodes = &components->nodes;
	const CdpCoreHost *host = components->host;
	int64_t *least;

	if (nodes->count == 0)
		return CDP_CORE_DONE;
	host->release(host->arg, nodes->slots);
	nodes->slots = NULL;
	least = host->allocate(host->arg, (size_t) nodes->count * sizeof(int64_t));
	if (least == NULL)
		return CDP_CORE_NO_MEMORY;
	components->least = least;

	for (uint32_t from = 0; from < nodes->count; from += CHUNK)
	{
		uint32_t to = nodes->count - from < CHUNK ? nodes->count : from + CHUNK;

		cdp_core_forest_flatten(nodes->parent, from, to);
		for (uint32_t i = from; i < to; i++)
			CDP_CORE_PREFETCH(&least[nodes->parent[i]]);
		for (uint32_t i = from; i < to; i++)
		{
			uint32_t root = nodes->parent[i];

			if (root == i || nodes->keys[i] < least[root])
				least[root] = nodes->keys[i];
		}
		if (from % TICK == 0)
			tick(components);
	}
	return CDP_CORE_DONE;
}

CdpCoreStatus
cdp_core_components_label(CdpCoreComponents *components)
{
	CdpCoreStatus status = CDP_CORE_DONE;

	if (components->dense)
		label_dense(components);
	else
		status = label_hash(components);
	components->labelled = true;
	return status;
}

static size_t
read_dense(const CdpCoreComponents *components, uint64_t *position,
		   int64_t *pairs, size_t max)
{
	const uint32_t *parent = components->parent;
	uint64_t base = (uint64_t) components->base;
	uint64_t i = *position;
	size_t n = 0;

	while (n < max && i < components->width)
	{
		if (parent[i] != CDP_CORE_NO_NODE)
		{
			pairs[2 * n] = (int64_t) (base + i);
			pairs[2 * n + 1] = (int64_t) (base + parent[i]);
			n++;
		}
		i++;
	}
	*position = i;
	return n;
}

static size_t
read_hash(const CdpCoreComponents *components, uint64_t *position,
		  int64_t *pairs, size_t max)
{
	const CdpCoreNodes *nodes = &components->nodes;
	const int64_t *others = components->labelled ? components->least : nodes->keys;
	uint64_t left = nodes->count - *position;
	size_t n = left < max ? (size_t) left : max;

	for (size_t i = 0; i < n; i++)
	{
		uint64_t number = *position + i;

		if (n - i > AHEAD)
			CDP_CORE_PREFETCH(&others[nodes->parent[number + AHEAD]]);
		pairs[2 * i] = nodes->keys[number];
		pairs[2 * i + 1] = others[nodes->parent[number]];
	}
	*position += n;
	return n;
}

size_t
cdp_core_components_read(const CdpCoreComponents *components, uint64_t *position,
						 int64_t *pairs, size_t max)
{
	return components->dense ? read_dense(components, position, pairs, max) :
							   read_hash(components, position, pairs, max);
}
