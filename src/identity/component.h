/*
 * src/identity/component.h
 *		Everything that is linked to some people, kept or refused, and how it
 *		resolves.  Part of graph.c's protocol.
 */
#ifndef CDP_IDENTITY_COMPONENT_H
#define CDP_IDENTITY_COMPONENT_H

#include "identity/graph.h"

typedef struct CdpComponentNode
{
	int64 node_id; /* 0: an identifier the batch makes */
	int64 profile_id;
	int ident; /* index of the batch's identifier, or -1 */
	const char *ns;
	const char *value;
	bool uncounted; /* was taken from its bearer */
	TimestampTz first_seen;
	TimestampTz last_seen;
	TimestampTz since; /* and by which change the profile has it */
	int64 change;
} CdpComponentNode;

/* One piece of evidence: a row, or the rows of one set. */
typedef struct CdpEvidence
{
	int n;
	int32 *nodes; /* indexes into the component's nodes, by rank */
	const char *rule;
	CdpCorePos first;
	CdpCorePos last;
	int link; /* the batch's, or -1 */
} CdpEvidence;

/* A stored row of evidence. */
typedef struct CdpEvidenceRow
{
	int64 a;
	int64 b;
	const char *nodes; /* array text */
	const char *rule;
	const char *refused;
	CdpCorePos first;
	CdpCorePos last;
	int evidence; /* index of the piece it is part of */
} CdpEvidenceRow;

typedef struct CdpComponent
{
	CdpComponentNode *nodes; /* stored ones ascending by id, then the batch's */
	int nnodes;
	int nstored;
	CdpEvidenceRow *rows;
	int nrows;
	CdpEvidence *evidence;
	int nevidence;
	int64 *profiles; /* ascending */
	int nprofiles;
	CdpCoreSeparation *separations;
	int nseparations;
	bool too_large;
	/* after cdp_component_run() */
	CdpLinkage linkage;
	const char **namespaces; /* by index of rule */
} CdpComponent;

extern CdpComponent *cdp_component_load(const int64 *profiles, int n);

/* Are all its people locked?  If not they are to be locked next time (graph_lock.c). */
extern bool cdp_graph_all_locked(CdpGraph *graph, const CdpComponent *c);
extern void cdp_component_add(CdpComponent *c, CdpGraph *graph, int link);
extern void cdp_component_run(CdpComponent *c);
extern void cdp_component_assign(CdpComponent *c, CdpGraph *graph);
extern void cdp_component_states(CdpComponent *c, CdpGraph *graph);

#endif /* CDP_IDENTITY_COMPONENT_H */
