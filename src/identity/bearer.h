/*
 * src/identity/bearer.h
 *		One value, several people one after the other.  Part of graph.c's
 *		protocol.
 */
#ifndef CDP_IDENTITY_BEARER_H
#define CDP_IDENTITY_BEARER_H

#include "identity/graph.h"

extern void cdp_bearer_settle(CdpGraph *graph);
extern void cdp_bearer_isolate(CdpGraph *graph);
extern void cdp_bearer_end(CdpGraph *graph);
extern bool cdp_bearer_insert(CdpGraph *graph, int index);
extern void cdp_bearer_extend(const CdpIdent *ident);

#endif /* CDP_IDENTITY_BEARER_H */
