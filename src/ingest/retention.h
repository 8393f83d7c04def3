/*
 * src/ingest/retention.h
 *		How long events and ids of messages are kept (see retention.c).
 */
#ifndef CDP_INGEST_RETENTION_H
#define CDP_INGEST_RETENTION_H

#include "ingest/message.h"

extern void cdp_retention_screen(CdpMessage *messages, int n);
extern bool cdp_retention_knows_consent(const CdpMessage *m, const int64 *nodes, int n);
extern bool cdp_retention_step(void);

#endif /* CDP_INGEST_RETENTION_H */
