/*
 * src/ingest/refusal.h
 *		What was refused: kept with the reason and the payload.
 */
#ifndef CDP_INGEST_REFUSAL_H
#define CDP_INGEST_REFUSAL_H

#include "ingest/message.h"
#include "nodes/pg_list.h"

extern List *cdp_refusal_note(List *list, const CdpMessage *m, const char *message_id,
							  const char *reason, const char *detail);
extern void cdp_refusal_write(List *refusals, Oid writer);
extern List *cdp_refusal_fresh(const char *reason);
extern List *cdp_refusal_note_row(List *list, const char *source, const char *detail, Jsonb *row,
								  Oid table, Jsonb *before);

/* suppressed.c: counts what named somebody who was erased, of a source. */
extern void cdp_count_erased(const char *source, int64 times);

#endif /* CDP_INGEST_REFUSAL_H */
