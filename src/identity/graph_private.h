/*
 * src/identity/graph_private.h
 *		What the files of a round share (graph.c, graph_lookup.c, graph_lock.c,
 *		graph_decide.c).  For nobody else.
 */
#ifndef CDP_IDENTITY_GRAPH_PRIVATE_H
#define CDP_IDENTITY_GRAPH_PRIVATE_H

#include "identity/component.h"
#include "identity/graph.h"
#include "row.h"
#include "store.h"

/* The last statement's row in the form of the operations. */
static inline CdpRow
cdp_graph_result_row(uint64 row, int first, int n)
{
	CdpRow r;

	for (int k = 0; k < n; k++)
		r.values[k] = cdp_store_value(row, first + k, &r.nulls[k]);
	return r;
}

/* Index of id in the ascending array; it is there. */
static inline int
cdp_graph_position(const int64 *ids, int n, int64 id)
{
	const int64 *hit = bsearch(&id, ids, n, sizeof(int64), cdp_compare_int64);

	Assert(hit != NULL);
	return (int) (hit - ids);
}

/* What one round found out; arrays live in the round's context. */
typedef struct CdpRound
{
	int *fresh; /* idents to create */
	int nfresh;
	int64 *profiles; /* distinct existing profiles, ascending */
	int nprofiles;
	int32 *parent; /* union-find: idents, then profiles */
	int *cause; /* per profile: link that made it lose, or -1 */
	int *best; /* per root: index of its oldest profile, or -1 */
	bool *settled; /* per ident: its component was resolved again */
	bool *again; /* per raw group: the same; or NULL */
	bool simple; /* nothing to create or merge */
} CdpRound;

static inline bool
cdp_link_joins(const CdpLink *link, int i)
{
	if (link->isolated && link->isolated[i])
		return false;
	return link->verdict == NULL || link->verdict[i] == CDP_JOINED;
}

/* graph.c */
extern void cdp_graph_unite(CdpGraph *graph, CdpRound *round);

/* graph_lookup.c */
extern bool cdp_graph_recheck(CdpGraph *graph);

/* graph_lock.c */
extern void cdp_graph_add_extra(CdpGraph *graph, const int64 *ids, int n);
extern void cdp_graph_reset_extra(CdpGraph *graph);
extern void cdp_graph_lock_bearers(CdpGraph *graph, const CdpRound *round);
extern bool cdp_graph_lock_round(CdpGraph *graph, CdpRound *round);
extern bool cdp_graph_try_one(CdpGraph *graph, CdpRound *round);
extern void cdp_graph_be_patient(int rounds);

/* graph_decide.c */
extern bool cdp_graph_decide(CdpGraph *graph, CdpRound *round);

/* graph_edge.c */
extern void cdp_graph_record_edges(CdpGraph *graph);

#endif /* CDP_IDENTITY_GRAPH_PRIVATE_H */
