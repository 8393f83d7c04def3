/*
 * src/ingest/capture.h
 *		Rows of application tables as messages.
 */
#ifndef CDP_INGEST_CAPTURE_H
#define CDP_INGEST_CAPTURE_H

#include "commands/trigger.h"

#include "ingest/attachment.h"
#include "ingest/document.h"

/* Who we were before we became a table's owner. */
typedef struct CdpBecome
{
	Oid user;
	int sec;
	int level;
} CdpBecome;

extern void cdp_capture_documents(Datum *documents, int n, const char *source, bool strict,
								  int flags, char space, Oid writer);
extern bool cdp_capture_is_mapping_error(int sqlstate);
extern char *cdp_capture_query(const char *expression, const char *key, const char *from);
extern char *cdp_capture_updates(const char *expression, const char *key, const char *new_rows,
								 const char *old_rows);
extern void cdp_capture_become(CdpBecome *become, Oid owner);
extern void cdp_capture_become_owner(CdpBecome *become, TriggerData *trigdata);
extern void cdp_capture_become_writer(const CdpBecome *become);

/* mapping_error.c */
extern void cdp_capture_reject_rows(TriggerData *trigdata, const CdpAttachment *attachment,
									const ErrorData *edata);

/* A row whose mapping failed, on its way to be a message after all. */
typedef struct CdpFailedRow
{
	Oid table;
	Jsonb *row;
	Jsonb *before; /* of an update: what it was, or null if that is not known; NULL: an insert */
	CdpDocument *document; /* out: its message; or a reason; or neither, it says nothing */
} CdpFailedRow;

extern void cdp_capture_retake(CdpFailedRow *rows, int n);

#endif /* CDP_INGEST_CAPTURE_H */
