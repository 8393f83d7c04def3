/*
 * src/ingest/inbox.c
 *		cdp.inbox: what COPY and INSERT ... SELECT write to.
 *
 * The inbox is a view of nothing with triggers, and stores nothing.  Each row
 * is kept in the session's memory (INSTEAD OF, for each row); a batch of them
 * is taken as cdp.ingest() takes a payload, the rest at the end of the
 * statement (AFTER, for each statement).  Measured beside a table whose rows a
 * statement trigger reads from a transition table and deletes: docs/inbox.md.
 *
 * Statements nest, for a row's value may come from a function that writes to
 * the inbox itself: BEFORE pushes, AFTER pops.  All that a statement keeps is
 * in a memory context of its transaction, whose end, by an error too, forgets
 * it.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "cdp.h"
#include "compat.h"
#include "ingest/document.h"
#include "progress.h"
#include "store.h"

/* Rows taken together, and the bytes of text that make fewer rows enough. */
#define INBOX_ROWS 1000
#define INBOX_BYTES ((Size) 16 * 1024 * 1024)

#define DEFAULT_SOURCE "default"

PG_FUNCTION_INFO_V1(cdp_inbox);

/* What a statement has written that was not taken yet. */
typedef struct Inbox
{
	struct Inbox *outer;
	MemoryContext context; /* of this */
	MemoryContext batch; /* of the rows and all that is made of them */
	MemoryContextCallback forget;
	CdpProgress progress;
	int n;
	Size bytes;
	int64 rows; /* of the statement, taken */
	int64 messages;
	int64 rejected;
	CdpDocument documents[INBOX_ROWS];
} Inbox;

/* The statements under way, the innermost first. */
static Inbox *statements = NULL;

static void
forget(void *arg)
{
	Inbox **place = &statements;

	while (*place != NULL && *place != arg)
		place = &(*place)->outer;
	if (*place != NULL)
		*place = (*place)->outer;
}

static void
begin(void)
{
	MemoryContext context = AllocSetContextCreate(CurTransactionContext, "cdp inbox",
												  ALLOCSET_DEFAULT_SIZES);
	Inbox *inbox = MemoryContextAllocZero(context, sizeof(Inbox));

	cdp_store_require();
	inbox->context = context;
	inbox->batch = AllocSetContextCreate(context, "cdp inbox batch", ALLOCSET_DEFAULT_SIZES);
	inbox->forget.func = forget;
	inbox->forget.arg = inbox;
	inbox->outer = statements;
	statements = inbox;
	MemoryContextRegisterResetCallback(context, &inbox->forget);
	cdp_progress_start(&inbox->progress, CDP_WORK_INBOX, 0);
}

/* Takes what is there. */
static void
take(Inbox *inbox)
{
	MemoryContext old = MemoryContextSwitchTo(inbox->batch);

	cdp_document_take(inbox->documents, inbox->n, GetUserId(), 0);
	for (int i = 0; i < inbox->n; i++)
	{
		const CdpDocument *d = &inbox->documents[i];

		inbox->messages += d->accepted + d->duplicates + d->rejected;
		inbox->rejected += d->rejected;
	}
	inbox->rows += inbox->n;
	cdp_progress_set(&inbox->progress, inbox->rows);
	MemoryContextSwitchTo(old);
	MemoryContextReset(inbox->batch);
	inbox->n = 0;
	inbox->bytes = 0;
}

static char *
column(HeapTuple tuple, TupleDesc desc, int attnum)
{
	bool isnull;
	Datum d = heap_getattr(tuple, attnum, desc, &isnull);

	return isnull ? NULL : TextDatumGetCString(d);
}

/* A row: (payload, source). */
static void
add(Inbox *inbox, HeapTuple tuple, TupleDesc desc)
{
	MemoryContext old = MemoryContextSwitchTo(inbox->batch);
	CdpDocument *d = &inbox->documents[inbox->n];
	char *source = column(tuple, desc, 2);
	char *text = column(tuple, desc, 1);

	memset(d, 0, sizeof(*d));
	d->text = text;
	d->space = CDP_SPACE_MESSAGE;
	d->received_at = cdp_now();
	d->source = source == NULL || source[0] == '\0' ? DEFAULT_SOURCE : source;
	if (strlen(d->source) > CDP_MAX_SOURCE)
	{
		source[pg_mbcliplen(source, (int) strlen(source), CDP_MAX_SOURCE)] = '\0';
		d->reason = "invalid_source";
		d->detail = psprintf("the source has more than %d bytes", CDP_MAX_SOURCE);
	}
	else if (text == NULL || text[strspn(text, " \t\r\n")] == '\0')
	{
		d->reason = "malformed_json";
		d->detail = "the row is empty";
	}
	inbox->n++;
	inbox->bytes += text ? strlen(text) : 0;
	MemoryContextSwitchTo(old);
	if (inbox->n == INBOX_ROWS || inbox->bytes >= INBOX_BYTES)
		take(inbox);
}

/* The end of the statement: the rest, and what must be said. */
static void
end(Inbox *inbox)
{
	if (inbox->n > 0)
		take(inbox);
	cdp_progress_end(&inbox->progress);
	if (inbox->rejected > 0)
		ereport(NOTICE,
				(errmsg(INT64_FORMAT " of " INT64_FORMAT " messages were refused",
						inbox->rejected, inbox->messages),
				 errdetail("They are in cdp.rejected, with the reason."),
				 errhint("Once the reason is gone: SELECT * FROM cdp.retry_rejected().")));
	MemoryContextDelete(inbox->context);
}

/* cdp.take_inbox(): the triggers of cdp.inbox */
Datum
cdp_inbox(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) != !TRIGGER_FIRED_INSTEAD(trigger->tg_event) ||
		RelationGetDescr(trigger->tg_relation)->natts < 2)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("cdp.take_inbox() is the trigger of cdp.inbox alone")));
	if (TRIGGER_FIRED_BEFORE(trigger->tg_event))
	{
		begin();
		return PointerGetDatum(NULL);
	}
	if (statements == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("a trigger of cdp.inbox is missing"),
				 errhint("Run SELECT cdp.init(); after DROP VIEW cdp.inbox.")));
	if (TRIGGER_FIRED_INSTEAD(trigger->tg_event))
	{
		add(statements, trigger->tg_trigtuple, RelationGetDescr(trigger->tg_relation));
		return PointerGetDatum(trigger->tg_trigtuple);
	}
	end(statements);
	return PointerGetDatum(NULL);
}
