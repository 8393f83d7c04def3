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

extern void cdp_ingest_batch(CdpMessage *messages, int n, Oid caller, int flags);
extern void cdp_ingest_reshape(CdpGraph *graph);
extern void cdp_ingest_settle(CdpGraph *graph, Oid caller);

#endif /* CDP_INGEST_INGEST_H */
