/*
 * src/ingest/plan.h
 *		The tracking plan: what events should look like, and what to do if not.
 */
#ifndef CDP_INGEST_PLAN_H
#define CDP_INGEST_PLAN_H

#include "ingest/message.h"
#include "ingest/schema.h"

typedef struct CdpTrackingPlan CdpTrackingPlan;

/* Reason of a message that mode strict refuses. */
#define CDP_PLAN_REASON "tracking_plan"

extern CdpTrackingPlan *cdp_plan_load(MemoryContext context);
extern void cdp_plan_check(CdpMessage *messages, int n);
extern bool cdp_plan_refuse(CdpMessage *m);
extern void cdp_plan_count(const CdpMessage *messages, int n, List *fresh);
extern bool cdp_plan_fold_step(void);

#endif /* CDP_INGEST_PLAN_H */
