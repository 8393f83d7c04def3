/*
 * src/ingest/attachment.h
 *		Attachments of application tables, as this session knows them.
 */
#ifndef CDP_INGEST_ATTACHMENT_H
#define CDP_INGEST_ATTACHMENT_H

#include "executor/spi.h"

typedef struct CdpAttachment
{
	int32 id;
	char *expression; /* the message of a row n, in SQL */
	char *source;
	bool strict; /* a row that is refused is the application's error */
	bool deferred; /* cdp.maintain() takes the messages */
	char space; /* of its message ids */
	char **keys; /* columns of the primary key */
	int nkeys;

	/* kept queries over the transition tables, NULL before their first use */
	Oid table; /* that they are for */
	SPIPlanPtr of_insert;
	SPIPlanPtr of_update;
} CdpAttachment;

extern CdpAttachment *cdp_attachment_find(int32 id);

/* Who reads the rows of a table, whoever asks; 42P01 if it is gone. */
extern Oid cdp_table_owner(Oid table);

#endif /* CDP_INGEST_ATTACHMENT_H */
