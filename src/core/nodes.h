/*
 * src/core/nodes.h
 *		Numbers for nodes: a hash table that gives each distinct key the next
 *		number from 0, and keeps a union-find entry for it if wanted.
 *
 * A key is 64 bits: an integer, which is its own identity, or a handle (an
 * address, say) of something that only the caller can compare.
 *
 *		keys:	[ 70  12  99 ]		by number, in order of first appearance
 *		parent:	[  0   0   2 ]		by number; the forest of unionfind.h
 *		hashes:	[ .   .   .  ]		by number; only for handles
 *		slots:	[ . 1 . . 2 0 . . ]	open addressing, linear probing; an entry is
 *									hash << 32 | number + 1, and 0 is free
 *
 * Eight bytes a slot, at most three quarters of them taken; the hash in the
 * slot spares nearly every look at a key that is another one.
 *
 * The table takes its memory from a host and never holds more than a limit,
 * given at the start.  While it grows the old slots are given back first:
 * the new ones are made from the keys.
 */
#ifndef CDP_CORE_NODES_H
#define CDP_CORE_NODES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Not a number of a node. */
#define CDP_CORE_NO_NODE UINT32_MAX

/* Most nodes there can be: numbers fit in 31 bits. */
#define CDP_CORE_MAX_NODES ((uint32_t) INT32_MAX)

typedef enum CdpCoreStatus
{
	CDP_CORE_DONE,
	CDP_CORE_FULL, /* the table has to grow first */
	CDP_CORE_LIMIT, /* growing would exceed the limit of memory */
	CDP_CORE_TOO_MANY, /* more nodes than can be numbered */
	CDP_CORE_NO_MEMORY /* the host has none */
} CdpCoreStatus;

/* Where memory comes from, and who is told that time passes. */
typedef struct CdpCoreHost
{
	/* NULL, or not to return at all, when there is none; contents undefined */
	void *(*allocate)(void *arg, size_t bytes);
	/* the same with the contents of the old block, which may be NULL */
	void *(*resize)(void *arg, void *block, size_t bytes);
	void (*release)(void *arg, void *block);
	/* called every few ten thousand steps of a long loop; need not return */
	void (*tick)(void *arg);
	void *arg;
} CdpCoreHost;

typedef struct CdpCoreNodes
{
	const CdpCoreHost *host;
	size_t limit; /* bytes of all arrays together */
	uint32_t most; /* nodes there can be; only tests lower it */
	uint64_t expected; /* nodes, a guess: grow in larger steps up to there */
	bool forest; /* keep parent[] */
	bool handles; /* keys are handles: keep hashes[] */
	uint32_t bits; /* log2 of the number of slots */
	uint32_t count; /* nodes */
	uint32_t room; /* nodes that fit before the table must grow */
	uint64_t *slots;
	int64_t *keys;
	uint32_t *parent;
	uint32_t *hashes;
} CdpCoreNodes;

/* Says whether the node with this handle is the one that is looked for. */
typedef bool (*CdpCoreSame)(void *arg, int64_t handle);

/* An empty table without memory; the host must live as long as the table. */
extern void cdp_core_nodes_init(CdpCoreNodes *nodes, const CdpCoreHost *host,
								size_t limit, bool forest, bool handles);

/* Gives all memory back. */
extern void cdp_core_nodes_free(CdpCoreNodes *nodes);

/* Bytes that the arrays take. */
extern size_t cdp_core_nodes_bytes(const CdpCoreNodes *nodes);

/* Bytes that they would take with twice the nodes; SIZE_MAX if they cannot. */
extern size_t cdp_core_nodes_next_bytes(const CdpCoreNodes *nodes);

/*
 * Makes room for more nodes: twice as many, up to eight times as many if so
 * many are expected, or what the limit still allows.
 * CDP_CORE_LIMIT, CDP_CORE_TOO_MANY: nothing changed.  CDP_CORE_NO_MEMORY:
 * the table must not be used again, other than to be freed.
 */
extern CdpCoreStatus cdp_core_nodes_grow(CdpCoreNodes *nodes);

/*
 * Numbers of integer keys, new ones for those not seen before.  CDP_CORE_FULL
 * when the table must grow first; *done says how many have been numbered.
 */
extern CdpCoreStatus cdp_core_nodes_number(CdpCoreNodes *nodes,
										   const int64_t *keys, size_t n,
										   uint32_t *numbers, size_t *done);

/* Tells the memory that this hash will be looked for. */
extern void cdp_core_nodes_expect(const CdpCoreNodes *nodes, uint32_t hash);

/*
 * The node that will most likely be found for this hash, or CDP_CORE_NO_NODE;
 * what belongs to it is asked for.  A guess only.
 */
extern uint32_t cdp_core_nodes_guess(const CdpCoreNodes *nodes, uint32_t hash);

/* Number of the node that "same" recognises, or CDP_CORE_NO_NODE. */
extern uint32_t cdp_core_nodes_find(const CdpCoreNodes *nodes, uint32_t hash,
									CdpCoreSame same, void *arg);

/* Adds a node that was not found; there must be room (count < room). */
extern uint32_t cdp_core_nodes_insert(CdpCoreNodes *nodes, uint32_t hash,
									  int64_t handle);

/* Hash of an integer key. */
static inline uint32_t
cdp_core_hash_int64(int64_t key)
{
	/* two multiplications spread any pattern; the last bits are the best mixed */
	uint64_t h = (uint64_t) key;

	h = (h ^ (h >> 32)) * UINT64_C(0x9E3779B97F4A7C15);
	h = (h ^ (h >> 29)) * UINT64_C(0xBF58476D1CE4E5B9);
	return (uint32_t) (h >> 32);
}

#endif /* CDP_CORE_NODES_H */
