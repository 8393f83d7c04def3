/*
 * src/ingest/capture.c
 *		Rows of application tables as messages: the trigger of cdp.attach().
 *
 * The trigger runs in the application's statement.  It reads the changed rows
 * with the rights of the table's owner (see Become), and the messages then go
 * the way of every message.  The application's transaction decides: what it
 * rolls back never was.
 *
 * Unless the attachment is strict, a mapping that fails must not break the
 * application's write.  The work is done in a subtransaction; when it raises,
 * the rows are recorded as rejected instead.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "cdp.h"
#include "compat.h"
#include "ingest/attachment.h"
#include "ingest/capture.h"
#include "ingest/captured.h"
#include "ingest/ingest.h"
#include "store.h"

/*
 * Rows turned into one batch.  A statement of more rows is several batches,
 * whose locks are no longer in one order; that is the price of bounded memory.
 */
#define CAPTURE_BATCH 10000

/*
 * OFFSET 0 below keeps each message from being computed once per reference.
 *
 * The message x.m with those traits t for which a condition (%s) holds.
 *
 * A row says nothing about a column that is null, and an update says nothing
 * about one it did not change: otherwise each touch of a row would put its
 * old e-mail address above the newer one that the web knows.  So a new row
 * gives what is not null, an update what differs, null (unset) included.
 */
#define WITH_TRAITS \
	"CASE WHEN x.m ? 'traits' THEN jsonb_set(x.m, '{traits}', coalesce(" \
	"(SELECT jsonb_object_agg(t.key, t.value) FROM jsonb_each(x.m -> 'traits') t " \
	"WHERE %s), '{}')) ELSE x.m END"

#define GIVEN "t.value <> 'null'"
#define CHANGED \
	"CASE WHEN o.m IS NULL THEN t.value <> 'null' " \
	"ELSE t.value IS DISTINCT FROM o.m -> 'traits' -> t.key END"

/* The same without a key: a row that stood among the old ones is passed over. */
#define UPDATED_ROWS \
	"SELECT %s FROM (SELECT " WITH_TRAITS " AS m FROM " \
	"(SELECT %s AS m FROM cdp_new n EXCEPT ALL SELECT %s FROM cdp_old n) x OFFSET 0) y"

#define UPDATED_KEYS \
	"SELECT %s, y.k FROM (SELECT " WITH_TRAITS " AS m, x.k FROM " \
	"(SELECT %s AS m, %s AS k FROM %s OFFSET 0) x LEFT JOIN " \
	"(SELECT %s AS m, %s AS k FROM %s OFFSET 0) o ON o.k = x.k " \
	"WHERE o.m IS DISTINCT FROM x.m OFFSET 0) y"

#define NEW_ROWS "SELECT " WITH_TRAITS ", x.k FROM (SELECT %s AS m, %s AS k FROM %s OFFSET 0) x"

/* Each update of a row is a message of its own. */
#define FRESH_ID \
	"CASE WHEN y.m ? 'messageId' THEN y.m || jsonb_build_object('messageId', " \
	"(y.m ->> 'messageId') || ':' || gen_random_uuid()::text) ELSE y.m END"

PG_FUNCTION_INFO_V1(cdp_capture);
PG_FUNCTION_INFO_V1(cdp_check_mapping);

/*
 * Takes documents as messages of a source that came now; strict raises on the
 * first one that is refused.  flags as cdp_ingest_batch() takes them; writer is
 * the role whose statement it was.  space: ids that the mapping names are those
 * of messages, so that a row and a message may be one; ids made of the primary
 * key are the attachment's own.
 */
void
cdp_capture_documents(Datum *documents, int n, const char *source, bool strict, int flags,
					  char space, Oid writer)
{
	CdpStore store;
	CdpMessage *messages;

	if (n == 0)
		return;
	cdp_store_enter(&store);
	messages = palloc(sizeof(CdpMessage) * n);
	for (int i = 0; i < n; i++)
	{
		JsonbValue *value = palloc(sizeof(JsonbValue));
		Jsonb *document = DatumGetJsonbP(documents[i]);

		value->type = jbvBinary;
		value->val.binary.data = &document->root;
		value->val.binary.len = VARSIZE(document) - VARHDRSZ;
		cdp_message_parse(&messages[i], value, NULL, source, space, cdp_now());
	}
	cdp_ingest_batch(messages, n, writer, flags);
	for (int i = 0; strict && i < n; i++)
		if (messages[i].status == CDP_REJECTED)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("a row of source \"%s\" was refused: %s", source, messages[i].reason),
					 errdetail("%s", cdp_message_detail(&messages[i])),
					 errhint("The attachment is strict; without, the row would be in "
							 "cdp.rejected.")));
	cdp_store_leave(&store);
}

/*
 * Reading the rows runs what their columns' types bring along (casts to JSON).
 * That is done with the rights of the table's owner, whose table it is, not
 * with those of whoever writes: he may be a superuser.
 */
void
cdp_capture_become(CdpBecome *become, Oid owner)
{
	GetUserIdAndSecContext(&become->user, &become->sec);
	SetUserIdAndSecContext(owner, become->sec | SECURITY_LOCAL_USERID_CHANGE |
									  SECURITY_RESTRICTED_OPERATION);
	become->level = cdp_store_pin_settings();
	SPI_connect();
}

/* The same for the rows of a trigger. */
void
cdp_capture_become_owner(CdpBecome *become, TriggerData *trigdata)
{
	cdp_capture_become(become, trigdata->tg_relation->rd_rel->relowner);
	if (SPI_register_trigger_data(trigdata) < 0)
		elog(ERROR, "cdp: could not register transition tables");
}

void
cdp_capture_become_writer(const CdpBecome *become)
{
	SPI_finish();
	AtEOXact_GUC(false, become->level);
	SetUserIdAndSecContext(become->user, become->sec);
}

typedef struct Capture
{
	TriggerData *trigdata;
	CdpAttachment *attachment;
} Capture;

static char *update_query(const CdpAttachment *attachment);

/* The kept plan of the query over the transition tables. */
static SPIPlanPtr
query_of(const Capture *c)
{
	CdpAttachment *attachment = c->attachment;
	bool update = TRIGGER_FIRED_BY_UPDATE(c->trigdata->tg_event);
	Oid table = RelationGetRelid(c->trigdata->tg_relation);
	SPIPlanPtr *kept = update ? &attachment->of_update : &attachment->of_insert;
	SPIPlanPtr plan;

	if (*kept != NULL && attachment->table == table)
		return *kept;
	plan = SPI_prepare(update ? update_query(attachment) :
								cdp_capture_query(attachment->expression, "NULL", "cdp_new n"),
					   0, NULL);
	if (plan == NULL)
		elog(ERROR, "cdp: could not prepare the query of an attachment");
	/* a trigger that somebody copied to another table keeps no plan */
	if (!OidIsValid(attachment->table))
		attachment->table = table;
	if (attachment->table == table && SPI_keepplan(plan) == 0)
		*kept = plan;
	return plan;
}

/* Reads the rows the query yields and takes them, batch by batch. */
static void
capture_rows(void *arg)
{
	Capture *c = arg;
	CdpBecome become;
	MemoryContext context;
	MemoryContext old;
	Portal cursor;

	cdp_capture_become_owner(&become, c->trigdata);
	context = AllocSetContextCreate(CurrentMemoryContext, "cdp capture",
									ALLOCSET_DEFAULT_SIZES);
	cursor = SPI_cursor_open(NULL, query_of(c), NULL, NULL, false);
	for (;;)
	{
		Datum *documents;
		int n;

		SPI_cursor_fetch(cursor, true, CAPTURE_BATCH);
		n = (int) SPI_processed;
		if (n == 0)
			break;
		old = MemoryContextSwitchTo(context);
		documents = palloc(sizeof(Datum) * n);
		for (int i = 0; i < n; i++)
		{
			bool isnull;
			Datum d = cdp_store_value(i, 1, &isnull);

			documents[i] = PointerGetDatum(PG_DETOAST_DATUM_COPY(d));
		}
		MemoryContextSwitchTo(old);
		SPI_freetuptable(SPI_tuptable);
		if (c->attachment->deferred)
			cdp_captured_keep(c->attachment, documents, n, become.user);
		else
			cdp_capture_documents(documents, n, c->attachment->source,
								  c->attachment->strict, 0, c->attachment->space, become.user);
		MemoryContextReset(context);
	}
	SPI_cursor_close(cursor);
	cdp_capture_become_writer(&become);
}

/* Is the error the mapping's, which must not reach the application? */
bool
cdp_capture_is_mapping_error(int sqlstate)
{
	return !cdp_error_is_grave(sqlstate);
}

/*
 * The query over a table's rows n (FROM and what follows) whose messages are
 * those of new rows, beside them the given key.
 */
char *
cdp_capture_query(const char *expression, const char *key, const char *from)
{
	return psprintf(NEW_ROWS, GIVEN, expression, key, from);
}

/*
 * The same of updated rows, those of new and old being one row that have one
 * key; whose message is the same are passed over.
 */
char *
cdp_capture_updates(const char *expression, const char *key, const char *new_rows,
					const char *old_rows)
{
	return psprintf(UPDATED_KEYS, FRESH_ID, CHANGED, expression, key, new_rows, expression, key,
					old_rows);
}

/*
 * The query over the transition tables of an update.  With a primary key the
 * old row is known; without, rows whose message stood among the old ones are
 * passed over.
 */
static char *
update_query(const CdpAttachment *attachment)
{
	const char *message = attachment->expression;
	StringInfoData key;

	if (attachment->nkeys == 0)
		return psprintf(UPDATED_ROWS, FRESH_ID, GIVEN, message, message);
	initStringInfo(&key);
	for (int i = 0; i < attachment->nkeys; i++)
		appendStringInfo(&key, "%sn.%s", i ? ", " : "", quote_identifier(attachment->keys[i]));
	return cdp_capture_updates(message, psprintf("jsonb_build_array(%s)", key.data), "cdp_new n",
							   "cdp_old n");
}

/*
 * cdp.check_mapping(tbl, expression): raises unless the expression can be
 * analysed over the table's rows.  Analysed only, and as the table's owner:
 * planning would run functions of its indexes.
 */
Datum
cdp_check_mapping(PG_FUNCTION_ARGS)
{
	Oid table = PG_GETARG_OID(0);
	char *expression = text_to_cstring(PG_GETARG_TEXT_PP(1));
	CdpBecome become;

	cdp_capture_become(&become, cdp_table_owner(table));
	if (SPI_prepare(psprintf("SELECT %s FROM %s n", expression,
							 quote_qualified_identifier(
								 get_namespace_name(get_rel_namespace(table)),
								 get_rel_name(table))),
					0, NULL) == NULL)
		elog(ERROR, "cdp: could not analyse a mapping");
	cdp_capture_become_writer(&become);
	PG_RETURN_VOID();
}

/* cdp.capture(): see the head of the file. */
Datum
cdp_capture(PG_FUNCTION_ARGS)
{
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	Capture c = {trigdata, NULL};

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigdata->tg_event) ||
		!TRIGGER_FIRED_FOR_STATEMENT(trigdata->tg_event) ||
		trigdata->tg_trigger->tgnargs != 1)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("\"capture\" is the trigger of cdp.attach()"),
				 errhint("Use SELECT cdp.attach(...).")));
	c.attachment = cdp_attachment_find(pg_strtoint32(trigdata->tg_trigger->tgargs[0]));
	if (c.attachment == NULL)
	{
		ereport(WARNING,
				(errmsg("rows of \"%s\" are not captured: cdp cannot be used",
						RelationGetRelationName(trigdata->tg_relation)),
				 errhint("SELECT cdp.require_init(); tells why; SELECT cdp.detach(...); "
						 "removes the trigger.")));
		return PointerGetDatum(NULL);
	}
	if (c.attachment->strict)
		capture_rows(&c);
	else
	{
		ErrorData *error = cdp_store_try(capture_rows, &c, cdp_capture_is_mapping_error);

		if (error)
			cdp_capture_reject_rows(trigdata, c.attachment, error);
	}
	return PointerGetDatum(NULL);
}
