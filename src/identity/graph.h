/*
 * src/identity/graph.h
 *		Identifiers to nodes to profiles: resolve, create, merge.
 *
 * identifier(namespace, key) -> node_id is immutable, node(node_id) ->
 * profile_id is flat: a merge relabels the nodes of the younger profile and
 * the older id survives.
 *
 * Locking.  The row of cdp_data.profile_state is the lock of a profile; who
 * moves a node holds the locks of the profile it leaves and of the one it
 * joins.  A call takes what it needs in one global order, so that two calls
 * never wait for each other in a circle:
 *
 *		1. new identifiers, by (namespace, key)
 *		2. profiles, by id
 *
 * (before these, of a whole batch: the table of states, the list of
 * partitions, message ids; after these: refusals; see ingest/ingest.c)
 *
 * Then it looks again whether every node still belongs to a locked profile.
 * If not, the round is rolled back (a subtransaction, so that no higher lock
 * is held) and starts over.
 */
#ifndef CDP_IDENTITY_GRAPH_H
#define CDP_IDENTITY_GRAPH_H

#include "utils/timestamp.h"

/* One distinct identifier of a batch. */
typedef struct CdpIdent
{
	const char *ns;
	const char *value; /* normalised */
	uint8 key[16];
	int rank; /* of its namespace; lower files the event */
	TimestampTz first_seen; /* earliest and latest mention in the batch */
	TimestampTz last_seen;
	int64 node_id; /* 0 until known */
	int64 profile_id; /* 0 until known */
	bool fresh; /* made by this batch */
	bool used; /* named by a living link */
	bool collides; /* its key belongs to another value */
} CdpIdent;

/* Identifiers that one message shows to be one person. */
typedef struct CdpLink
{
	int n;
	int *idents; /* indexes, highest-ranking first */
	bool dead; /* takes no part: its message was rejected */
	TimestampTz ts;
	uint8 message_key[16];
	const char *source;
	const char *message_id;
} CdpLink;

typedef struct CdpMerge
{
	int64 winner;
	int64 loser;
	int32 loser_ord;
	int64 merge_id;
} CdpMerge;

/* A profile the batch holds the lock of. */
typedef struct CdpLocked
{
	int64 profile_id;
	int32 ord;
	bool created; /* by this batch; ord is set by its creator */
	bool reshaped; /* got new nodes or was merged into */
} CdpLocked;

typedef struct CdpGraph
{
	CdpIdent *idents;
	int nidents;
	CdpLink *links;
	int nlinks;
	/* results of cdp_graph_resolve(), ascending by profile_id */
	CdpLocked *locked;
	int nlocked;
	CdpMerge *merges; /* losers are not in locked any more */
	int nmerges;
} CdpGraph;

extern void cdp_graph_key(uint64 seed, const char *ns, const char *value,
						  uint8 *key);
extern void cdp_graph_find(CdpGraph *graph, bool read_only);
extern void cdp_graph_resolve(CdpGraph *graph);
extern void cdp_graph_record(CdpGraph *graph);
extern CdpLocked *cdp_graph_locked(CdpGraph *graph, int64 profile_id);
extern int64 cdp_graph_canonical(int64 profile_id, bool read_only);

#endif /* CDP_IDENTITY_GRAPH_H */
