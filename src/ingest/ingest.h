/*
 * src/ingest/ingest.h
 *		The one way in: a batch of messages, one or many.
 */
#ifndef CDP_INGEST_INGEST_H
#define CDP_INGEST_INGEST_H

#include "ingest/message.h"

extern void cdp_ingest_batch(CdpMessage *messages, int n, Oid caller);
extern void cdp_ingest_reject(const char *source, const char *message_id,
							  const char *reason, const char *detail,
							  Jsonb *payload);

#endif							/* CDP_INGEST_INGEST_H */
