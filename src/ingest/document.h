/*
 * src/ingest/document.h
 *		Documents taken in bulk: one that cannot be taken stops no other.
 */
#ifndef CDP_INGEST_DOCUMENT_H
#define CDP_INGEST_DOCUMENT_H

#include "ingest/message.h"

/* A message, or a payload of several as cdp.ingest() takes them. */
typedef struct CdpDocument
{
	const char *text; /* JSON to be read, or NULL: it is in json */
	Jsonb *json;
	const char *source;
	char space; /* of message ids */
	bool single; /* one message, never a payload of several */
	TimestampTz received_at;

	/* outcome */
	int accepted; /* messages of it */
	int duplicates;
	int rejected;
	const char *reason; /* of its last refusal */
	const char *detail;
} CdpDocument;

extern void cdp_document_take(CdpDocument *documents, int n, Oid caller, int flags);

#endif /* CDP_INGEST_DOCUMENT_H */
