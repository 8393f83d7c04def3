/*
 * src/ingest/captured.c
 *		Rows of deferred attachments: kept by the application's transaction,
 *		taken as messages by cdp.maintain().
 *
 * What is kept is the message, not the row: its mapping is that of the moment
 * of writing, and so is its time where the mapping has none.  Since the outcome
 * does not depend on when messages arrive, neither does it on when they are
 * taken.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "cdp.h"
#include "compat.h"
#include "ingest/captured.h"
#include "ingest/document.h"
#include "row.h"
#include "store.h"

/* Messages taken in one transaction. */
#define CAPTURED_BATCH 1000

static CdpRowOp captured_row = {
	.table = "captured",
	.columns = {"position", "source", "space", "writer", "captured_at", "message"},
};

static CdpPlan keep_plan = {
	"INSERT INTO cdp_data.captured (position, source, space, writer, captured_at, message) "
	"SELECT u.position, $2, $3, $4, $5, u.message FROM unnest($1, $6) u (position, message)",
	6,
	{INT8ARRAYOID, TEXTOID, TEXTOID, NAMEOID, TIMESTAMPTZOID, JSONBARRAYOID},
	NULL};

/*
 * Of the oldest ones from a position on, as many as have their source, space
 * and writer in common: they are one batch, whose locks are in one order.
 */
static CdpPlan take_plan = {
	"WITH near AS MATERIALIZED (SELECT c.position, c.source, c.space, c.writer "
	"  FROM cdp_data.captured c WHERE c.position >= $2 ORDER BY c.position LIMIT $1 * 8), "
	"first AS MATERIALIZED (SELECT n.source, n.space, n.writer FROM near n "
	"  CROSS JOIN LATERAL (SELECT FROM cdp_data.captured c "
	"    WHERE c.position = ANY (ARRAY[n.position]) FOR UPDATE SKIP LOCKED) c LIMIT 1), "
	"same AS MATERIALIZED (SELECT n.position FROM first f JOIN near n "
	"  ON n.source = f.source AND n.space = f.space AND n.writer = f.writer), "
	"rest AS MATERIALIZED (SELECT c.position FROM same s CROSS JOIN LATERAL ("
	"  SELECT c.position FROM cdp_data.captured c WHERE c.position = ANY (ARRAY[s.position]) "
	"  FOR UPDATE SKIP LOCKED) c LIMIT $1) "
	"DELETE FROM cdp_data.captured c USING rest s WHERE c.position = ANY (ARRAY[s.position]) "
	"RETURNING c.source, c.space, c.writer, c.captured_at, c.message, c.position",
	2,
	{INT4OID, INT8OID},
	NULL};

/*
 * Where to look next: what was taken stays in the index while somebody's
 * snapshot is older, and would be passed over at each step.
 */
static int64 next_position;

/*
 * Keeps messages of an attachment whose rows this role wrote.  The caller's
 * transaction decides whether they are there.
 */
void
cdp_captured_keep(const CdpAttachment *attachment, Datum *documents, int n, Oid writer)
{
	CdpStore store;
	Oid sequence;
	char space[2] = {attachment->space, '\0'};
	Datum source;
	Datum space_text;
	Datum name;
	Datum now;
	CdpRow *rows;

	cdp_store_enter(&store);
	sequence = cdp_store_relation("captured_position");
	source = CStringGetTextDatum(attachment->source);
	space_text = CStringGetTextDatum(space);
	name = DirectFunctionCall1(namein, CStringGetDatum(GetUserNameFromId(writer, false)));
	now = TimestampTzGetDatum(cdp_now());
	rows = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(CdpRow) * n);
	for (int i = 0; i < n; i++)
		rows[i] = (CdpRow){.values = {Int64GetDatum(nextval_internal(sequence, false)), source,
									  space_text, name, now, documents[i]}};
	if (n == 1)
		(void) cdp_row_insert(&captured_row, rows);
	else if (!cdp_row_insert_many(&captured_row, n, rows, NULL))
	{
		int64 *positions = palloc(sizeof(int64) * n);
		Datum args[6] = {0, source, space_text, name, now, 0};

		for (int i = 0; i < n; i++)
			positions[i] = DatumGetInt64(rows[i].values[0]);
		args[0] = cdp_array_int64(positions, n);
		args[5] = cdp_array_datums(documents, NULL, n, JSONBOID);
		cdp_store_run(&keep_plan, args, NULL, false, -1);
	}
	cdp_store_leave(&store);
}

/* The next messages, in memory of the caller's context; they wait no more. */
static int
next_documents(CdpDocument **documents, Oid *writer)
{
	MemoryContext context = CurrentMemoryContext;
	Datum args[2] = {Int32GetDatum(CAPTURED_BATCH), Int64GetDatum(next_position)};
	CdpStore store;
	int n;

	cdp_store_enter(&store);
	n = cdp_store_run(&take_plan, args, NULL, false, -1);
	if (n == 0 && next_position > 0)
	{
		/* below it are those that others held, and those committed since */
		args[1] = Int64GetDatum(0);
		n = cdp_store_run(&take_plan, args, NULL, false, -1);
	}
	next_position = n > 0 ? PG_INT64_MAX : 0;
	for (int i = 0; i < n; i++)
		next_position = Min(next_position, cdp_store_int64(i, 6));
	if (n > 0)
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		char *source = pstrdup(cdp_store_text(0, 1));
		char space = cdp_store_text(0, 2)[0];
		bool isnull;

		*writer = get_role_oid(NameStr(*DatumGetName(cdp_store_value(0, 3, &isnull))), true);
		*documents = palloc0(sizeof(CdpDocument) * n);
		for (int i = 0; i < n; i++)
		{
			CdpDocument *d = &(*documents)[i];

			d->source = source;
			d->space = space;
			d->single = true;
			d->received_at = DatumGetTimestampTz(cdp_store_value(i, 4, &isnull));
			d->json = (Jsonb *) PG_DETOAST_DATUM_COPY(cdp_store_value(i, 5, &isnull));
		}
		MemoryContextSwitchTo(old);
	}
	cdp_store_leave(&store);
	return n;
}

/*
 * Takes the next messages; false: none waits, or others are at it.  One that
 * cannot be taken is refused: raised, it would stop all maintenance from then on.
 */
bool
cdp_captured_step(void)
{
	CdpDocument *documents;
	Oid writer;
	int n = next_documents(&documents, &writer);

	/* whoever was dropped meanwhile is nobody; what he wrote stays */
	if (n > 0)
		cdp_document_take(documents, n, OidIsValid(writer) ? writer : GetUserId(), 0);
	return n > 0;
}
