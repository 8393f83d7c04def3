/*
 * src/core/nodes.c
 *		Numbers for nodes (see nodes.h).
 *
 * A table of millions of nodes lies outside of every cache, so a key costs
 * three misses: slot, key, parent.  Keys are looked up in groups, and each
 * stage asks for what the next one needs, so that the misses of a group pass
 * at the same time.
 */
#include "core/nodes.h"

#include <string.h>

#include "core/prefetch.h"

/* Keys looked up at the same time: more than a core has misses in flight. */
#define GROUP 128

/* Slots of the first table, as a power of two: a small group has few nodes. */
#define FIRST_BITS 4

/* 2^32 slots hold more nodes than there are numbers. */
#define MAX_BITS 32

/* Steps between two ticks. */
#define TICK 65536

void
cdp_core_nodes_init(CdpCoreNodes *nodes, const CdpCoreHost *host,
					size_t limit, bool forest, bool handles)
{
	memset(nodes, 0, sizeof(*nodes));
	nodes->host = host;
	nodes->limit = limit;
	nodes->most = CDP_CORE_MAX_NODES;
	nodes->forest = forest;
	nodes->handles = handles;
}

static void
release(const CdpCoreNodes *nodes, void *block)
{
	if (block != NULL)
		nodes->host->release(nodes->host->arg, block);
}

void
cdp_core_nodes_free(CdpCoreNodes *nodes)
{
	release(nodes, nodes->slots);
	release(nodes, nodes->keys);
	release(nodes, nodes->parent);
	release(nodes, nodes->hashes);
	nodes->slots = NULL;
	nodes->keys = NULL;
	nodes->parent = NULL;
	nodes->hashes = NULL;
	nodes->bits = 0;
	nodes->count = 0;
	nodes->room = 0;
}

/* bytes of a node in the arrays that are indexed by number */
static size_t
node_bytes(const CdpCoreNodes *nodes)
{
	return sizeof(int64_t) + (nodes->forest ? sizeof(uint32_t) : 0) +
		   (nodes->handles ? sizeof(uint32_t) : 0);
}

static uint64_t
slots_of(uint32_t bits)
{
	return UINT64_C(1) << bits;
}

/* SIZE_MAX when it does not fit into a size_t */
static size_t
bytes_of(const CdpCoreNodes *nodes, uint32_t bits, uint32_t room)
{
	uint64_t bytes = slots_of(bits) * sizeof(uint64_t) + (uint64_t) room * node_bytes(nodes);

	return bytes > SIZE_MAX ? SIZE_MAX : (size_t) bytes;
}

size_t
cdp_core_nodes_bytes(const CdpCoreNodes *nodes)
{
	return nodes->slots == NULL ? 0 : bytes_of(nodes, nodes->bits, nodes->room);
}

/* Nodes that so many slots may hold. */
static uint64_t
room_of(const CdpCoreNodes *nodes, uint32_t bits)
{
	uint64_t room = slots_of(bits) / 4 * 3;

	return room < nodes->most ? room : nodes->most;
}

/*
 * The next size.  Near the limit the arrays get what the slots leave, if that
 * is worth the work: an eighth more nodes at least.
 */
static CdpCoreStatus
next_size(const CdpCoreNodes *nodes, uint32_t *bits, uint32_t *room)
{
	uint64_t want;
	uint64_t slots;

	if (nodes->room >= nodes->most)
		return CDP_CORE_TOO_MANY;
	*bits = (nodes->slots == NULL) ? FIRST_BITS : nodes->bits;
	/* the arrays may be behind the slots when the limit was near */
	if (nodes->slots != NULL && nodes->room >= slots_of(*bits) / 4 * 3)
		(*bits)++;
	if (*bits > MAX_BITS)
		return CDP_CORE_TOO_MANY;

	*room = (uint32_t) room_of(nodes, *bits);
	if (bytes_of(nodes, *bits, *room) <= nodes->limit)
		return CDP_CORE_DONE;

	slots = slots_of(*bits) * sizeof(uint64_t);
	if (slots >= nodes->limit)
		return CDP_CORE_LIMIT;
	want = (nodes->limit - slots) / node_bytes(nodes);
	if (want < nodes->room + (uint64_t) nodes->room / 8 + 8)
		return CDP_CORE_LIMIT;
	*room = (uint32_t) want; /* less than what did not fit */
	return CDP_CORE_DONE;
}

size_t
cdp_core_nodes_next_bytes(const CdpCoreNodes *nodes)
{
	uint32_t bits;
	uint32_t room;

	if (next_size(nodes, &bits, &room) != CDP_CORE_DONE)
		return SIZE_MAX;
	return bytes_of(nodes, bits, room);
}

/* The high bits of the hash choose the slot; hashes have 32 bits. */
static uint64_t
home(const CdpCoreNodes *nodes, uint32_t hash)
{
	return (uint64_t) hash >> (32 - nodes->bits);
}

static uint64_t
next_slot(const CdpCoreNodes *nodes, uint64_t slot)
{
	return (slot + 1) & (slots_of(nodes->bits) - 1);
}

static uint64_t
entry_of(uint32_t hash, uint32_t number)
{
	return (uint64_t) hash << 32 | (number + 1);
}

static uint32_t
hash_of(const CdpCoreNodes *nodes, uint32_t number)
{
	return nodes->handles ? nodes->hashes[number] : cdp_core_hash_int64(nodes->keys[number]);
}

static void
tick(const CdpCoreNodes *nodes)
{
	if (nodes->host->tick != NULL)
		nodes->host->tick(nodes->host->arg);
}

/* Enters all nodes into empty slots; they are known to be distinct. */
static void
fill_slots(CdpCoreNodes *nodes)
{
	uint32_t hashes[GROUP];

	for (uint32_t i = 0; i < nodes->count; i += GROUP)
	{
		uint32_t n = nodes->count - i < GROUP ? nodes->count - i : GROUP;

		for (uint32_t j = 0; j < n; j++)
		{
			hashes[j] = hash_of(nodes, i + j);
			CDP_CORE_PREFETCH(&nodes->slots[home(nodes, hashes[j])]);
		}
		for (uint32_t j = 0; j < n; j++)
		{
			uint64_t slot = home(nodes, hashes[j]);

			while (nodes->slots[slot] != 0)
				slot = next_slot(nodes, slot);
			nodes->slots[slot] = entry_of(hashes[j], i + j);
		}
		if (i % TICK == 0)
			tick(nodes);
	}
}

static bool
resize(const CdpCoreNodes *nodes, void **block, size_t room, size_t width)
{
	void *bigger = nodes->host->resize(nodes->host->arg, *block, room * width);

	if (bigger == NULL)
		return false;
	*block = bigger;
	return true;
}

CdpCoreStatus
cdp_core_nodes_grow(CdpCoreNodes *nodes)
{
	uint32_t bits;
	uint32_t room;
	CdpCoreStatus status = next_size(nodes, &bits, &room);

	if (status != CDP_CORE_DONE)
		return status;

	/* every step enters all nodes anew, so fewer are better; three at once, for a guess */
	for (int step = 0; step < 2 && bits < MAX_BITS && room < nodes->expected; step++)
	{
		uint32_t more = (uint32_t) room_of(nodes, bits + 1);

		if (bytes_of(nodes, bits + 1, more) > nodes->limit)
			break;
		bits++;
		room = more;
	}

	if (nodes->slots == NULL || bits != nodes->bits)
	{
		size_t bytes = (size_t) slots_of(bits) * sizeof(uint64_t);

		release(nodes, nodes->slots);
		nodes->slots = nodes->host->allocate(nodes->host->arg, bytes);
		if (nodes->slots == NULL)
			return CDP_CORE_NO_MEMORY;
		nodes->bits = bits;
		memset(nodes->slots, 0, bytes);
		fill_slots(nodes);
	}
	if (!resize(nodes, (void **) &nodes->keys, room, sizeof(int64_t)) ||
		(nodes->forest &&
		 !resize(nodes, (void **) &nodes->parent, room, sizeof(uint32_t))) ||
		(nodes->handles &&
		 !resize(nodes, (void **) &nodes->hashes, room, sizeof(uint32_t))))
		return CDP_CORE_NO_MEMORY;
	nodes->room = room;
	return CDP_CORE_DONE;
}

/* Enters a node at a free slot. */
static uint32_t
add_at(CdpCoreNodes *nodes, uint64_t slot, uint32_t hash, int64_t key)
{
	uint32_t number = nodes->count++;

	nodes->slots[slot] = entry_of(hash, number);
	nodes->keys[number] = key;
	if (nodes->forest)
		nodes->parent[number] = number;
	if (nodes->handles)
		nodes->hashes[number] = hash;
	return number;
}

/*
 * From slot "at" on, the first entry with this hash: an integer whose hash is
 * the same is nearly always the same, so this is most often the place.  Or the
 * first free slot.
 */
static uint64_t
probe(const CdpCoreNodes *nodes, uint64_t at, uint32_t hash)
{
	while (nodes->slots[at] != 0 && nodes->slots[at] >> 32 != hash)
		at = next_slot(nodes, at);
	return at;
}

CdpCoreStatus
cdp_core_nodes_number(CdpCoreNodes *nodes, const int64_t *keys, size_t n,
					  uint32_t *numbers, size_t *done)
{
	uint32_t hashes[GROUP];
	uint64_t at[GROUP];

	*done = 0;
	if (nodes->slots == NULL)
		return n > 0 ? CDP_CORE_FULL : CDP_CORE_DONE;
	while (*done < n)
	{
		size_t group = n - *done < GROUP ? n - *done : GROUP;

		for (size_t i = 0; i < group; i++)
		{
			hashes[i] = cdp_core_hash_int64(keys[i]);
			CDP_CORE_PREFETCH(&nodes->slots[home(nodes, hashes[i])]);
		}
		for (size_t i = 0; i < group; i++)
		{
			uint32_t number;

			at[i] = probe(nodes, home(nodes, hashes[i]), hashes[i]);
			number = (uint32_t) nodes->slots[at[i]] - 1;
			if (number < nodes->count)
			{
				CDP_CORE_PREFETCH(&nodes->keys[number]);
				if (nodes->forest)
					CDP_CORE_PREFETCH(&nodes->parent[number]);
			}
		}
		/* one key of the group may have become another one's node meanwhile */
		for (size_t i = 0; i < group; i++)
		{
			uint64_t slot = probe(nodes, at[i], hashes[i]);
			uint64_t entry = nodes->slots[slot];

			while (entry != 0 && nodes->keys[(uint32_t) entry - 1] != keys[i])
			{
				slot = probe(nodes, next_slot(nodes, slot), hashes[i]);
				entry = nodes->slots[slot];
			}
			if (entry != 0)
				numbers[i] = (uint32_t) entry - 1;
			else if (nodes->count < nodes->room)
				numbers[i] = add_at(nodes, slot, hashes[i], keys[i]);
			else
			{
				*done += i;
				return CDP_CORE_FULL;
			}
		}
		keys += group;
		numbers += group;
		*done += group;
	}
	return CDP_CORE_DONE;
}

void
cdp_core_nodes_expect(const CdpCoreNodes *nodes, uint32_t hash)
{
	if (nodes->slots != NULL)
		CDP_CORE_PREFETCH(&nodes->slots[home(nodes, hash)]);
}

uint32_t
cdp_core_nodes_guess(const CdpCoreNodes *nodes, uint32_t hash)
{
	uint64_t entry;
	uint32_t number;

	if (nodes->slots == NULL)
		return CDP_CORE_NO_NODE;
	entry = nodes->slots[probe(nodes, home(nodes, hash), hash)];
	if (entry == 0)
		return CDP_CORE_NO_NODE;
	number = (uint32_t) entry - 1;
	CDP_CORE_PREFETCH(&nodes->keys[number]);
	if (nodes->forest)
		CDP_CORE_PREFETCH(&nodes->parent[number]);
	return number;
}

uint32_t
cdp_core_nodes_find(const CdpCoreNodes *nodes, uint32_t hash,
					CdpCoreSame same, void *arg)
{
	uint64_t at;
	uint64_t entry;

	if (nodes->slots == NULL)
		return CDP_CORE_NO_NODE;
	at = home(nodes, hash);
	while ((entry = nodes->slots[at]) != 0)
	{
		uint32_t number = (uint32_t) entry - 1;

		if (entry >> 32 == hash && same(arg, nodes->keys[number]))
			return number;
		at = next_slot(nodes, at);
	}
	return CDP_CORE_NO_NODE;
}

uint32_t
cdp_core_nodes_insert(CdpCoreNodes *nodes, uint32_t hash, int64_t handle)
{
	uint64_t at = home(nodes, hash);

	while (nodes->slots[at] != 0)
		at = next_slot(nodes, at);
	return add_at(nodes, at, hash, handle);
}
