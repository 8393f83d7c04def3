/*
 * src/identity/graph.h
 *		Identifiers to nodes to profiles: resolve, create, merge, part.
 *
 * identifier(namespace, key) -> node_id is immutable while the identifier
 * lives, node(node_id) -> profile_id is flat: a merge relabels the nodes of
 * the younger profile and the older id survives.
 *
 * Who is one person follows from the evidence and the rules of namespaces:
 * core/linkage.h defines it as a function of the set of links, whatever
 * order they came in.  Mostly nothing is in conflict and the people known are
 * taken as they are; where a link that is older than others is refused,
 * everything linked to it is loaded and resolved again (component.c).
 *
 * Locking.  The row of cdp_data.profile_state is the lock of a profile; who
 * moves a node holds the locks of the profile it leaves and of the one it
 * joins; who writes an identifier that is there, or lets another bearer have
 * its value, that of the profile it belongs to.  A call takes what it needs in
 * one global order, so that two calls never wait for each other in a circle:
 *
 *		1. new identifiers, by (namespace, key)
 *		2. profiles, by id
 *
 * (before these, of a whole batch: the table of states, the list of
 * partitions, message ids; after these: refusals; see ingest/ingest.c)
 *
 * Then it looks again whether every identifier is as it was found, and its
 * node belongs to a locked profile.  If not, or if more people are concerned
 * than are locked, the round is rolled back (a subtransaction, so that no
 * higher lock is held) and starts over.  Only one profile that nobody holds is
 * locked without a subtransaction; should it be the wrong one by then, its lock
 * stays until the end.
 */
#ifndef CDP_IDENTITY_GRAPH_H
#define CDP_IDENTITY_GRAPH_H

#include "core/linkage.h"
#include "nodes/pg_list.h"
#include "storage/itemptr.h"
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
	TimestampTz born; /* of the stored one; DT_NOBEGIN without */
	TimestampTz ended; /* DT_NOEND without */
	bool fresh; /* made by this batch */
	TimestampTz stored_first; /* as stored */
	TimestampTz stored_last;
	TimestampTz stored_ended; /* DT_NOEND without; ended may be set by the batch */
	bool former; /* who bore the value before its present bearer */
	bool anew; /* fresh, by a value that had another bearer before */
	int after; /* anew: index of that other bearer */
	bool used; /* named by a living link */
	bool collides; /* its key belongs to another value */
	ItemPointerData place; /* where its row was found */
	ItemPointerData node_place;
	TimestampTz ends; /* what is anonymous became known: later mentions are not */
} CdpIdent;

/* Identifiers that one message shows to be one person. */
typedef struct CdpLink
{
	int n;
	int *idents; /* indexes, highest-ranking first */
	int *named; /* the same before they were split by bearer; or NULL */
	int nnamed;
	bool dead; /* takes no part: its message was rejected */
	TimestampTz ts;
	uint8 message_key[16];
	const char *source;
	const char *message_id;
	bool *isolated; /* by ident: stays apart; NULL: none does */
	bool keeps_all; /* says something of each identifier: none is left out */
	List *left_out; /* identifiers of nobody yet that stay apart: namespace:value */
	const char *rule; /* message, merge, override, bulk */
	const char *reason; /* of a deliberate merge, or NULL */
	const char *actor; /* who merged deliberately, or NULL */
	/* out */
	uint8 *verdict; /* CdpTieVerdict by ident; NULL: all joined */
	const char *refusal; /* word for those that are not, or NULL */
	bool decided; /* not all were one person already */
	bool replayed; /* decided together with what was known */
} CdpLink;

typedef struct CdpMerge
{
	int64 winner;
	int64 loser;
	int32 winner_ord;
	int32 loser_ord;
	int64 merge_id;
	int link; /* the cause, -1: the rules */
	bool moved; /* nodes were moved one by one already */
} CdpMerge;

/* A profile the batch holds the lock of. */
typedef struct CdpLocked
{
	int64 profile_id;
	int32 ord;
	ItemPointerData place; /* of the state's row when it was locked */
	bool created; /* by this batch */
	bool returns; /* was merged away and comes back, with its ord */
	int64 rev; /* of one that returns */
	TimestampTz created_at; /* of one that returns */
	bool reshaped; /* got new nodes, lost some, or was merged into */
	bool rebuild; /* lost nodes: its state follows from events only */
	TimestampTz seen_from; /* rebuild: between these her identifiers were seen */
	TimestampTz seen_to;
	bool contested; /* a link of hers was not taken whole */
	bool separated; /* somebody separated her from others */
	CdpCorePos newest; /* place of the newest link that made her */
	bool named; /* by a message of the batch, or by who decided about her */
	bool stored_contested; /* as stored */
	bool stored_separated;
	CdpCorePos stored_newest;
} CdpLocked;

/* Has she anything to be written?  Many are locked only to be looked at. */
static inline bool
cdp_locked_changes(const CdpLocked *p)
{
	return p->named || p->created || p->reshaped || p->rebuild ||
		   p->contested != p->stored_contested || p->separated != p->stored_separated ||
		   cdp_core_pos_compare(&p->newest, &p->stored_newest) != 0;
}

/* A node that changes its person other than by a merge of both. */
typedef struct CdpMove
{
	int64 node_id;
	int64 from;
	int64 to;
	TimestampTz since; /* and by which change she was hers who loses it */
	int64 change;
} CdpMove;

/* A merged id whose person is another one now. */
typedef struct CdpRedirect
{
	int64 old_id;
	int64 profile_id; /* 0: it is a person again */
	int32 ord;
} CdpRedirect;

/* What became of known evidence. */
typedef struct CdpEdgeState
{
	int64 a;
	int64 b;
	const char *nodes; /* array text */
	const char *rule;
	const char *refused; /* NULL: kept */
} CdpEdgeState;

typedef struct CdpGraph
{
	CdpIdent *idents; /* those the messages name, then other bearers of them */
	int nidents;
	int nnamed;
	CdpLink *links;
	int nlinks;
	/* results of cdp_graph_resolve(), ascending by profile_id */
	CdpLocked *locked;
	int nlocked;
	int room; /* entries of locked and merges */
	CdpMerge *merges; /* losers are not in locked any more */
	int nmerges;
	/* the identifiers stand for people named by id: whoever bears them, at whatever time */
	bool by_id;
	/* people whom the batch names by their ids; locked, too */
	const int64 *about;
	int nabout;
	/* people to lock besides those of the links, ascending */
	int64 *extra;
	int nextra;
	/*
	 * Called in each round with its people locked, before it is decided who
	 * they are; what it writes is undone with the round.  False: look again.
	 */
	bool (*witness)(struct CdpGraph *graph, void *arg);
	void *witness_arg;
	/* Called between rounds with whom the last one wanted locked, if some were not there. */
	void (*absent)(const int64 *ids, int n, void *arg);
	const int64 *wanted;
	int nwanted;
	/* written by cdp_graph_write() */
	CdpMove *moves;
	int nmoves;
	CdpRedirect *redirects;
	int nredirects;
	CdpEdgeState *states;
	int nstates;
} CdpGraph;

extern void cdp_graph_key(uint64 seed, const char *ns, const char *value,
						  uint8 *key);
extern void cdp_graph_find(CdpGraph *graph, bool read_only);
extern void cdp_graph_resolve(CdpGraph *graph);
extern void cdp_graph_reresolve(CdpGraph *graph, const int64 *profiles, int n);
extern CdpLocked *cdp_graph_locked(CdpGraph *graph, int64 profile_id);
extern CdpLocked *cdp_graph_add_locked(CdpGraph *graph, int64 profile_id);
extern int64 cdp_graph_canonical(int64 profile_id, bool read_only);

/* graph_write.c */
extern void cdp_graph_write(CdpGraph *graph);
extern void cdp_graph_record(CdpGraph *graph);

#endif /* CDP_IDENTITY_GRAPH_H */
