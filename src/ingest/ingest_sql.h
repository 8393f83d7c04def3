/*
 * src/ingest/ingest_sql.h
 *		What the SQL functions that take one person's messages share.
 */
#ifndef CDP_INGEST_INGEST_SQL_H
#define CDP_INGEST_INGEST_SQL_H

#include "fmgr.h"
#include "identity/who.h"
#include "ingest/message.h"

extern char *cdp_name_argument(FunctionCallInfo fcinfo, int arg, const char *what, int max);
extern char *cdp_optional_name(FunctionCallInfo fcinfo, int arg, const char *what, int max);
extern void cdp_message_start(CdpMessage *m, const char *type, const CdpWho *who,
							  FunctionCallInfo fcinfo, int at_arg, int id_arg,
							  const char *source);
extern uint64 cdp_message_content(const CdpMessage *m, const Jsonb *document);
extern void cdp_message_require(const CdpMessage *m);

#endif /* CDP_INGEST_INGEST_SQL_H */
