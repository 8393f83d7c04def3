/*
 * src/ingest/captured.h
 *		Rows of deferred attachments, until cdp.maintain() takes them.
 */
#ifndef CDP_INGEST_CAPTURED_H
#define CDP_INGEST_CAPTURED_H

#include "ingest/attachment.h"

extern void cdp_captured_keep(const CdpAttachment *attachment, Datum *documents, int n,
							  Oid writer);
extern bool cdp_captured_step(void);

#endif /* CDP_INGEST_CAPTURED_H */
