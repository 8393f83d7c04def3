/*
 * src/ingest/ingest.h
 *		The one way in: a batch of messages, one or many.
 */
#ifndef CDP_INGEST_INGEST_H
#define CDP_INGEST_INGEST_H

#include "ingest/message.h"

/*
 * How a batch is taken.  A backfill reads rows that the trigger may have
 * captured in an earlier shape: that is no conflict worth recording.
 */
#define CDP_INGEST_QUIET_DUPLICATES 0x01

/* Messages without ids of their own: none is a duplicate. */
#define CDP_INGEST_KEYLESS 0x02

/* Messages that are refused are not recorded: the caller keeps them. */
#define CDP_INGEST_UNRECORDED 0x04

extern void cdp_ingest_batch(CdpMessage *messages, int n, Oid caller, int flags);
extern void cdp_ingest_reshape(CdpGraph *graph);
extern void cdp_ingest_settle(CdpGraph *graph, Oid caller);
extern bool cdp_apply_rules_step(void);
extern bool cdp_apply_trait_step(void);

/* apply_segment.c: people evaluated for what is built; members of sets that are nobody's. */
extern bool cdp_segment_build_step(void);
extern bool cdp_segment_set_step(void);
extern bool cdp_apply_timer_step(void);
extern bool cdp_unmerge_revoke(CdpGraph *graph, void *caller);
extern void cdp_require_steward(Oid caller, const char *what);

#endif /* CDP_INGEST_INGEST_H */
