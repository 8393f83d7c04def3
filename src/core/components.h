/*
 * src/core/components.h
 *		Connected components of a list of edges between integers, as the edges
 *		come; the component of a node is its smallest node.
 *
 * Two layouts, chosen by what takes less memory and changed on the way:
 *
 *	hash	a table of nodes (nodes.h), up to 45 bytes a node while it grows,
 *			23 to 33 after;
 *	dense	an array over the range of the ids, 4 bytes an id.  Ids from a
 *			sequence end up here.
 *
 * Neither keeps the edges, only the forest that has the same components.
 * When the limit of memory is reached the caller can take that forest out,
 * as edges again, and go on in some other way.
 */
#ifndef CDP_CORE_COMPONENTS_H
#define CDP_CORE_COMPONENTS_H

#include "core/nodes.h"

typedef struct CdpCoreComponents
{
	const CdpCoreHost *host;
	size_t limit; /* bytes */
	bool dense;
	bool labelled; /* no more edges; components can be read */

	CdpCoreNodes nodes; /* hash layout */
	int64_t *least; /* smallest key by number of a root, once labelled */

	int64_t base; /* dense layout: id of entry 0 */
	uint64_t width; /* entries, at most CDP_CORE_MAX_NODES */
	uint64_t count; /* of them nodes */
	uint32_t *parent; /* by entry; CDP_CORE_NO_NODE is no node */
} CdpCoreComponents;

extern void cdp_core_components_init(CdpCoreComponents *components,
									 const CdpCoreHost *host, size_t limit);
/* A guess of how many nodes there will be, right or wrong: to grow in larger steps. */
extern void cdp_core_components_expect(CdpCoreComponents *components, uint64_t nodes);

extern void cdp_core_components_free(CdpCoreComponents *components);

/*
 * Adds count edges, ends[0]-ends[1], ends[2]-ends[3] ...; an edge from a node
 * to itself is a node without an edge.  *done says how many were added.
 *
 * CDP_CORE_LIMIT, CDP_CORE_TOO_MANY: all before *done are in, and the rest
 * does not fit.  CDP_CORE_NO_MEMORY: only to be freed.
 */
extern CdpCoreStatus cdp_core_components_add(CdpCoreComponents *components,
											 const int64_t *ends, size_t count,
											 size_t *done);

/* Nodes so far. */
extern uint64_t cdp_core_components_count(const CdpCoreComponents *components);

/* Bytes held. */
extern size_t cdp_core_components_bytes(const CdpCoreComponents *components);

/*
 * Ends the adding: every node knows its component.  Needs no more memory than
 * was held; CDP_CORE_NO_MEMORY is possible still.
 */
extern CdpCoreStatus cdp_core_components_label(CdpCoreComponents *components);

/*
 * Takes out up to max pairs, each once, and returns how many; *position starts
 * at 0.  Before labelling a pair is a node and one it is joined to (or itself),
 * after it is a node and its component.  In the dense layout nodes come in
 * ascending order.
 */
extern size_t cdp_core_components_read(const CdpCoreComponents *components,
									   uint64_t *position, int64_t *pairs, size_t max);

#endif /* CDP_CORE_COMPONENTS_H */
