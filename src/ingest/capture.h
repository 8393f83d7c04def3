/*
 * src/ingest/capture.h
 *		Rows of application tables as messages.
 */
#ifndef CDP_INGEST_CAPTURE_H
#define CDP_INGEST_CAPTURE_H

extern void cdp_capture_documents(Datum *documents, int n, const char *source, bool strict,
								  int flags, char space, Oid writer);
extern bool cdp_capture_is_mapping_error(int sqlstate);
extern char *cdp_capture_query(const char *expression, const char *key, const char *from);

#endif /* CDP_INGEST_CAPTURE_H */
