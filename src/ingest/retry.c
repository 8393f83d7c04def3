/*
 * src/ingest/retry.c
 *		cdp.retry_rejected(): what was refused, taken again after a fix.
 *
 * A message goes the way it went, from its source, in its space of ids, at the
 * time it arrived, so that the result is what it had been with the fix in
 * place from the start.  What is taken leaves cdp.rejected; so does what
 * turns out to have come since.  What is refused again stays and is counted,
 * under the reason that holds now.
 *
 * A row of an application table whose mapping failed is mapped first: from
 * then on it is the message that it had become.
 *
 * Rows of cdp.rejected come last in the order of locks (docs/architecture.md),
 * so they are not locked while messages are taken: one retry at a time, by an
 * advisory lock.  Then all that a batch will touch is locked in the order in
 * which others refuse.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "cdp.h"
#include "compat.h"
#include "ingest/capture.h"
#include "ingest/document.h"
#include "ingest/ingest.h"
#include "progress.h"
#include "store.h"

/* Messages taken together. */
#define RETRY_BATCH 1000

PG_FUNCTION_INFO_V1(cdp_retry_rejected);

/*
 * Of conflicting_duplicate and invalid_trait the message itself was taken.
 * Rows without a space were no messages: pairs, and rows of a mapping that
 * failed, of which those with a table can be mapped again.
 */
static CdpPlan read_plan = {
	"SELECT r.rejected_id, r.source, r.space, r.reason, r.payload, r.rejected_at, "
	"  coalesce(r.tbl::oid, 0), r.before "
	"FROM cdp_data.rejected r WHERE r.rejected_id > $1 AND r.rejected_id <= $2 "
	"AND (r.space IS NOT NULL OR r.tbl IS NOT NULL) AND r.payload IS NOT NULL "
	"AND r.reason NOT IN ('conflicting_duplicate', 'invalid_trait') "
	"AND ($3 IS NULL OR r.reason = $3) AND ($4 IS NULL OR r.source = $4) "
	"AND ($5 IS NULL OR r.last_at >= $5) AND ($6 IS NULL OR r.recorded_by = $6) "
	"ORDER BY r.rejected_id LIMIT $7",
	7,
	{INT8OID, INT8OID, TEXTOID, TEXTOID, TIMESTAMPTZOID, NAMEOID, INT8OID},
	NULL};

static CdpPlan last_plan = {
	"SELECT coalesce(max(r.rejected_id), 0) FROM cdp_data.rejected r", 0, {0}, NULL};

/*
 * The rows of a batch, and those under which others of them will be counted; in
 * the order of reject_plan of refusal.c, its collation included.
 */
static CdpPlan lock_plan = {
	"SELECT FROM cdp_data.rejected r WHERE r.rejected_id = ANY (ARRAY("
	"  SELECT x FROM unnest($1) x "
	"  UNION ALL SELECT t.rejected_id FROM unnest($2, $3, $4, $5) u (id, reason, source, "
	"    message_id), LATERAL ("
	"    SELECT coalesce(u.source, o.source) AS source, coalesce(u.message_id, o.message_id) "
	"    AS message_id FROM cdp_data.rejected o WHERE o.rejected_id = u.id OFFSET 0) o, LATERAL ("
	"    SELECT t.rejected_id FROM cdp_data.rejected t WHERE t.source = o.source "
	"    AND t.message_id = o.message_id AND t.reason = u.reason OFFSET 0) t)) "
	"ORDER BY r.source, r.message_id, r.reason COLLATE \"default\" FOR UPDATE",
	5,
	{INT8ARRAYOID, INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID},
	NULL};

static CdpPlan settle_plan = {
	"DELETE FROM cdp_data.rejected r WHERE r.rejected_id = ANY ($1)", 1, {INT8ARRAYOID}, NULL};

static CdpPlan again_plan = {
	"UPDATE cdp_data.rejected r SET times = r.times + 1, last_at = $2 "
	"WHERE r.rejected_id = ANY ($1)",
	2,
	{INT8ARRAYOID, TIMESTAMPTZOID},
	NULL};

/*
 * Another reason now; the same message may have been refused for it before.
 * $5 to $8: what a row became a message by.
 */
static CdpPlan move_plan = {
	"WITH gone AS (DELETE FROM cdp_data.rejected r WHERE r.rejected_id = $1 RETURNING r.*) "
	"INSERT INTO cdp_data.rejected AS r (rejected_at, last_at, times, source, message_id, "
	"  reason, detail, payload, recorded_by, space) "
	"SELECT g.rejected_at, $4, g.times + 1, coalesce($5, g.source), coalesce($6, g.message_id), "
	"  $2, $3, coalesce($7, g.payload), g.recorded_by, coalesce($8, g.space) FROM gone g "
	"ON CONFLICT (source, message_id, reason) DO UPDATE SET times = r.times + 1, "
	"  last_at = excluded.last_at, rejected_at = LEAST(r.rejected_at, excluded.rejected_at)",
	8,
	{INT8OID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TEXTOID, TEXTOID, JSONBOID, TEXTOID},
	NULL};

/* What was asked for. */
typedef struct Wish
{
	Datum args[7]; /* of read_plan */
	char nulls[8];
	int64 left; /* messages at most */
} Wish;

/* Refusals on their way. */
typedef struct Batch
{
	CdpDocument documents[RETRY_BATCH];
	int64 ids[RETRY_BATCH];
	char *reasons[RETRY_BATCH];
	bool mapped[RETRY_BATCH]; /* it was a row, and is a message now */
	CdpFailedRow rows[RETRY_BATCH]; /* to be mapped */
	int nrows;
	int n;
} Batch;

typedef struct Tally
{
	int64 accepted;
	int64 duplicates;
	int64 rejected;
} Tally;

/* The next rows as documents, in memory of the caller's context. */
static void
read_rows(Wish *wish, Batch *batch)
{
	MemoryContext context = CurrentMemoryContext;
	MemoryContext old;
	CdpStore store;
	int n;

	wish->args[6] = Int64GetDatum(Min(wish->left, RETRY_BATCH));
	cdp_store_enter(&store);
	n = cdp_store_run(&read_plan, wish->args, wish->nulls, false, -1);
	old = MemoryContextSwitchTo(context);
	batch->n = n;
	batch->nrows = 0;
	for (int i = 0; i < n; i++)
	{
		CdpDocument *d = &batch->documents[i];
		Oid table = DatumGetObjectId(cdp_store_int64(i, 7));
		JsonbValue text;
		bool isnull;
		Datum payload = cdp_store_value(i, 5, &isnull);

		memset(d, 0, sizeof(*d));
		batch->ids[i] = cdp_store_int64(i, 1);
		batch->mapped[i] = false;
		d->source = pstrdup(cdp_store_text(i, 2));
		d->single = true;
		d->received_at = cdp_store_int64(i, 6);
		d->json = (Jsonb *) PG_DETOAST_DATUM_COPY(payload);
		batch->reasons[i] = pstrdup(cdp_store_text(i, 4));
		if (OidIsValid(table))
		{
			CdpFailedRow *row = &batch->rows[batch->nrows++];
			Datum before = cdp_store_value(i, 8, &isnull);

			row->table = table;
			row->row = d->json;
			row->before = isnull ? NULL : (Jsonb *) PG_DETOAST_DATUM_COPY(before);
			row->document = d;
			d->json = NULL;
			continue;
		}
		d->space = cdp_store_text(i, 3)[0];
		/* what could not be read is kept as text */
		if (JsonbExtractScalar(&d->json->root, &text) && text.type == jbvString)
		{
			d->text = pnstrdup(text.val.string.val, text.val.string.len);
			d->json = NULL;
			d->single = false;
		}
	}
	MemoryContextSwitchTo(old);
	cdp_store_leave(&store);
	wish->left -= n;
	if (n > 0)
		wish->args[0] = Int64GetDatum(batch->ids[n - 1]);
}

/* Rows that an update did not change as far as the mapping goes. */
static const char nothing_said[] = "nothing";

/* Makes messages of what are rows, and takes all. */
static void
take(Batch *batch)
{
	cdp_capture_retake(batch->rows, batch->nrows);
	for (int r = 0; r < batch->nrows; r++)
	{
		CdpDocument *d = batch->rows[r].document;

		batch->mapped[d - batch->documents] = d->json != NULL;
		if (d->json == NULL && d->reason == NULL)
			d->reason = nothing_said;
	}
	cdp_document_take(batch->documents, batch->n, GetUserId(), CDP_INGEST_UNRECORDED);
	for (int i = 0; i < batch->n; i++)
		if (batch->documents[i].reason == nothing_said)
			batch->documents[i].rejected = 0;
}

/* What a row that was mapped is known by now: its message's id, or NULL. */
static const char *
message_id(const Batch *batch, int i)
{
	JsonbValue place;
	JsonbValue *id;

	if (!batch->mapped[i])
		return NULL;
	id = getKeyJsonValueFromContainer(&batch->documents[i].json->root, "messageId", 9, &place);
	return id && id->type == jbvString ? pnstrdup(id->val.string.val, id->val.string.len) : NULL;
}

static void
move(const Batch *batch, int i)
{
	const CdpDocument *d = &batch->documents[i];
	const char *id = message_id(batch, i);
	char space[2] = {d->space, '\0'};
	char nulls[9] = "        ";
	Datum args[8] = {0};

	args[0] = Int64GetDatum(batch->ids[i]);
	args[1] = CStringGetTextDatum(d->reason);
	args[2] = CStringGetTextDatum(d->detail);
	args[3] = TimestampTzGetDatum(cdp_now());
	memset(nulls + 4, 'n', 4);
	if (batch->mapped[i])
	{
		memset(nulls + 4, ' ', 4);
		args[4] = CStringGetTextDatum(d->source);
		nulls[5] = id ? ' ' : 'n';
		args[5] = id ? CStringGetTextDatum(id) : (Datum) 0;
		args[6] = JsonbPGetDatum(d->json);
		args[7] = CStringGetTextDatum(space);
	}
	cdp_store_run(&move_plan, args, nulls, false, -1);
}

/* Writes what became of them; inside cdp_store_enter(). */
static void
settle(const Batch *batch, Tally *tally)
{
	int n = batch->n;
	const int64 *ids = batch->ids;
	int64 *gone = palloc(sizeof(int64) * n);
	int64 *again = palloc(sizeof(int64) * n);
	int64 *moved = palloc(sizeof(int64) * n);
	const char **reason = palloc(sizeof(char *) * n);
	const char **source = palloc(sizeof(char *) * n);
	const char **message = palloc(sizeof(char *) * n);
	int ngone = 0;
	int nagain = 0;
	int nmoved = 0;
	Datum args[5];

	for (int i = 0; i < n; i++)
	{
		const CdpDocument *d = &batch->documents[i];

		tally->rejected += d->rejected > 0;
		tally->accepted += d->rejected == 0 && d->accepted > 0;
		tally->duplicates += d->rejected == 0 && d->accepted == 0;
		if (d->rejected == 0)
			gone[ngone++] = ids[i];
		else if (strcmp(d->reason, batch->reasons[i]) == 0)
			again[nagain++] = ids[i];
		else
		{
			moved[nmoved] = ids[i];
			source[nmoved] = batch->mapped[i] ? d->source : NULL;
			message[nmoved] = message_id(batch, i);
			reason[nmoved++] = d->reason;
		}
	}
	args[0] = cdp_array_int64(ids, n);
	args[1] = cdp_array_int64(moved, nmoved);
	args[2] = cdp_array_text(reason, nmoved);
	args[3] = cdp_array_text(source, nmoved);
	args[4] = cdp_array_text(message, nmoved);
	cdp_store_run(&lock_plan, args, NULL, false, -1);
	if (ngone > 0)
	{
		args[0] = cdp_array_int64(gone, ngone);
		cdp_store_run(&settle_plan, args, NULL, false, -1);
	}
	if (nagain > 0)
	{
		args[0] = cdp_array_int64(again, nagain);
		args[1] = TimestampTzGetDatum(cdp_now());
		cdp_store_run(&again_plan, args, NULL, false, -1);
	}
	for (int i = 0; i < n; i++)
	{
		const CdpDocument *d = &batch->documents[i];

		if (d->rejected > 0 && strcmp(d->reason, batch->reasons[i]) != 0)
			move(batch, i);
	}
}

static void
retry_all(Wish *wish, Oid lock, Tally *tally)
{
	Batch *batch = palloc(sizeof(Batch));
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "cdp retry",
												  ALLOCSET_DEFAULT_SIZES);
	CdpProgress progress;
	CdpStore store;

	(void) DirectFunctionCall1(pg_advisory_xact_lock_int8, Int64GetDatum((int64) lock));
	cdp_store_enter(&store);
	cdp_store_run(&last_plan, NULL, NULL, false, 1);
	wish->args[1] = Int64GetDatum(cdp_store_int64(0, 1));
	cdp_store_leave(&store);
	cdp_progress_start(&progress, CDP_WORK_RETRY, 0);
	for (;;)
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		CHECK_FOR_INTERRUPTS();
		read_rows(wish, batch);
		if (batch->n > 0)
		{
			take(batch);
			cdp_store_enter(&store);
			settle(batch, tally);
			cdp_store_leave(&store);
		}
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
		if (batch->n == 0 || wish->left <= 0)
			break;
		cdp_progress_set(&progress, tally->accepted + tally->duplicates + tally->rejected);
	}
	cdp_progress_end(&progress);
}

/*
 * cdp.retry_rejected(reason, source, since, max): a role whom row policies
 * bind retries what it recorded itself.
 */
Datum
cdp_retry_rejected(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	static const char *const words[] = {"accepted", "duplicate", "rejected"};
	int64 counts[3];
	Wish wish = {.left = PG_ARGISNULL(3) ? PG_INT64_MAX : PG_GETARG_INT32(3)};
	Tally tally = {0};
	NameData caller;

	if (wish.left < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("max must not be negative")));
	cdp_store_require();
	InitMaterializedSRF(fcinfo, 0);
	memset(wish.nulls, ' ', sizeof(wish.nulls) - 1);
	wish.args[0] = Int64GetDatum(0);
	for (int i = 0; i < 3; i++)
	{
		wish.args[2 + i] = PG_ARGISNULL(i) ? (Datum) 0 : PG_GETARG_DATUM(i);
		wish.nulls[2 + i] = PG_ARGISNULL(i) ? 'n' : ' ';
	}
	namestrcpy(&caller, GetUserNameFromId(GetUserId(), false));
	wish.args[5] = NameGetDatum(&caller);
	if (cdp_role_is_exempt(GetUserId()))
		wish.nulls[5] = 'n';
	if (wish.left > 0)
		retry_all(&wish, fcinfo->flinfo->fn_oid, &tally);
	counts[0] = tally.accepted;
	counts[1] = tally.duplicates;
	counts[2] = tally.rejected;
	for (int i = 0; i < (int) lengthof(words); i++)
	{
		Datum values[2] = {CStringGetTextDatum(words[i]), Int64GetDatum(counts[i])};
		bool nulls[2] = {false, false};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
