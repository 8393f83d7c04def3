/*
 * src/ingest/batch.h
 *		A batch under way.  Private to src/ingest.
 */
#ifndef CDP_INGEST_BATCH_H
#define CDP_INGEST_BATCH_H

#include "ingest/ingest.h"

typedef struct CdpBatch
{
	CdpMessage *messages;
	int n;
	Oid caller;
	int flags;
	CdpGraph graph;
	List *refusals;
} CdpBatch;

static inline bool
cdp_message_is_consent(const CdpMessage *m)
{
	return m->state != NULL;
}

/* Consents and deliberate merges leave no event. */
static inline bool
cdp_message_is_event(const CdpMessage *m)
{
	return m->state == NULL && m->rule == NULL;
}

/* dedupe.c */
extern void cdp_batch_dedupe(CdpBatch *batch);
extern void cdp_batch_note_conflicts(CdpBatch *batch);
extern void cdp_batch_reject_collisions(CdpBatch *batch);

/* mention.c */
extern void cdp_batch_resolve_about(CdpBatch *batch);
extern void cdp_batch_screen(CdpBatch *batch);
extern void cdp_batch_build_graph(CdpBatch *batch);
extern void cdp_batch_date_mentions(CdpBatch *batch);

/* suppressed.c */
extern void cdp_batch_suppress(CdpBatch *batch);
extern void cdp_batch_recheck_erased(const CdpGraph *graph);
extern void cdp_batch_count_erased(const CdpBatch *batch);

#endif /* CDP_INGEST_BATCH_H */
