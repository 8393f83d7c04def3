/*
 * src/ingest/dedupe.c
 *		Each message once: a row in message_seen before anything else.  One whose
 *		id was made here cannot come again, and has none.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

#include "cdp.h"
#include "compat.h"
#include "ingest/batch.h"
#include "ingest/plan.h"
#include "ingest/refusal.h"
#include "row.h"
#include "store.h"

static CdpPlan seen_plan = {
	"INSERT INTO cdp_data.message_seen (source, key, content, received_at) "
	"SELECT $1, u.key, u.content, u.at FROM unnest($2, $3, $4) u (key, content, at) "
	"ORDER BY u.key ON CONFLICT DO NOTHING RETURNING key",
	4,
	{TEXTOID, UUIDARRAYOID, INT8ARRAYOID, TIMESTAMPTZARRAYOID},
	NULL};

static CdpRowOp seen_row = {
	.table = "message_seen",
	.columns = {"source", "key", "content", "received_at"},
	.ignore = true,
};

static CdpPlan conflict_plan = {
	"SELECT u.i FROM unnest($2, $3) WITH ORDINALITY u (key, content, i) "
	"JOIN cdp_data.message_seen m ON m.source = $1 AND m.key = ANY (ARRAY[u.key]) "
	"AND m.content <> u.content",
	3,
	{TEXTOID, UUIDARRAYOID, INT8ARRAYOID},
	NULL};

static CdpPlan unsee_plan = {
	"DELETE FROM cdp_data.message_seen m WHERE m.source = $1 AND m.key = ANY ($2)",
	2,
	{TEXTOID, UUIDARRAYOID},
	NULL};

static CdpPlan replace_plan = {
	"UPDATE cdp_data.message_seen m SET content = $3 WHERE m.source = $1 AND m.key = $2",
	3,
	{TEXTOID, UUIDOID, INT8OID},
	NULL};

/* Entries of the batch's own hash of message keys. */
typedef struct SeenEntry
{
	uint8 key[16];
	int first; /* index of the first message with it */
	bool inserted;
} SeenEntry;

static int
compare_seen(const void *a, const void *b, void *arg)
{
	uint8(*key)[16] = arg;

	return memcmp(key[*(const int *) a], key[*(const int *) b], 16);
}

/* Writes the keys' rows, in their order, and notes which are new.  False: not done. */
static bool
mark_seen(HTAB *seen, Datum source, uint8 (*key)[16], const int64 *content, const TimestampTz *at,
		  int n)
{
	int *order = palloc(sizeof(int) * n);
	CdpRow *rows = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(CdpRow) * n);
	bool *inserted = palloc(sizeof(bool) * n);
	bool done;

	for (int i = 0; i < n; i++)
		order[i] = i;
	qsort_arg(order, n, sizeof(int), compare_seen, key);
	for (int i = 0; i < n; i++)
		rows[i] = (CdpRow){.values = {source, UUIDPGetDatum((pg_uuid_t *) key[order[i]]),
									  Int64GetDatum(content[order[i]]),
									  TimestampTzGetDatum(at[order[i]])}};
	done = cdp_row_insert_many(&seen_row, n, rows, inserted);
	for (int i = 0; i < n && done; i++)
	{
		SeenEntry *entry = hash_search(seen, key[order[i]], HASH_FIND, NULL);

		entry->inserted = inserted[i];
	}
	pfree(rows);
	return done;
}

static void
dedupe_one(CdpMessage *m)
{
	CdpRow row = {.values = {CStringGetTextDatum(m->source), UUIDPGetDatum((pg_uuid_t *) m->key),
							 Int64GetDatum((int64) m->content),
							 TimestampTzGetDatum(m->received_at)}};

	if (m->status != CDP_ACCEPTED)
		return;
	m->first = -1;
	if (m->unique)
		return;
	m->claimed = cdp_row_insert(&seen_row, &row);
	if (!m->claimed)
		m->status = CDP_DUPLICATE;
}

/*
 * Marks duplicates: of a message of this batch, or of one seen before.  The
 * source is the same for the whole batch.
 */
void
cdp_batch_dedupe(CdpBatch *batch)
{
	HASHCTL ctl = {0};
	HTAB *seen;
	int n = 0;
	uint8(*key)[16] = palloc(16 * Max(batch->n, 1));
	int64 *content = palloc(sizeof(int64) * Max(batch->n, 1));
	TimestampTz *at = palloc(sizeof(TimestampTz) * Max(batch->n, 1));
	const char *source = batch->messages[0].source;
	Datum args[4];
	int rows;

	if (batch->n == 1)
	{
		dedupe_one(&batch->messages[0]);
		return;
	}
	ctl.keysize = 16;
	ctl.entrysize = sizeof(SeenEntry);
	ctl.hcxt = CurrentMemoryContext;
	seen = hash_create("cdp messages of a batch", batch->n, &ctl,
					   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	for (int i = 0; i < batch->n; i++)
	{
		CdpMessage *m = &batch->messages[i];
		SeenEntry *entry;
		bool found;

		m->first = -1;
		if (m->status != CDP_ACCEPTED || m->unique)
			continue;
		entry = hash_search(seen, m->key, HASH_ENTER, &found);
		m->first = found ? entry->first : -1;
		if (found)
		{
			m->status = CDP_DUPLICATE;
			continue;
		}
		entry->first = i;
		entry->inserted = false;
		memcpy(key[n], m->key, 16);
		content[n] = (int64) m->content;
		at[n++] = m->received_at;
	}
	if (n == 0)
		return;
	args[0] = CStringGetTextDatum(source);
	if (!mark_seen(seen, args[0], key, content, at, n))
	{
		args[1] = cdp_array_uuid((const uint8(*)[16]) key, n);
		args[2] = cdp_array_int64(content, n);
		args[3] = cdp_array_timestamptz(at, n);
		rows = cdp_store_run(&seen_plan, args, NULL, false, -1);
		for (int r = 0; r < rows; r++)
		{
			bool isnull;
			Datum d = cdp_store_value(r, 1, &isnull);
			SeenEntry *entry = hash_search(seen, DatumGetPointer(d), HASH_FIND, NULL);

			Assert(entry != NULL);
			entry->inserted = true;
		}
	}

	for (int i = 0; i < batch->n; i++)
	{
		CdpMessage *m = &batch->messages[i];
		SeenEntry *entry;

		if (m->status != CDP_ACCEPTED || m->unique)
			continue;
		entry = hash_search(seen, m->key, HASH_FIND, NULL);
		m->claimed = entry->inserted;
		if (!entry->inserted)
			m->status = CDP_DUPLICATE;
	}
}

/*
 * A duplicate whose content differs from what came first is recorded: the
 * first stays, but nothing is dropped silently.
 */
void
cdp_batch_note_conflicts(CdpBatch *batch)
{
	int n = 0;
	int rows;
	uint8(*key)[16] = palloc(16 * Max(batch->n, 1));
	int64 *content = palloc(sizeof(int64) * Max(batch->n, 1));
	int *dup = palloc(sizeof(int) * Max(batch->n, 1));
	Datum args[3];

	for (int i = 0; i < batch->n; i++)
	{
		CdpMessage *m = &batch->messages[i];

		if (m->status != CDP_DUPLICATE)
			continue;
		memcpy(key[n], m->key, 16);
		content[n] = (int64) m->content;
		dup[n++] = i;
	}
	if (n == 0 || (batch->flags & CDP_INGEST_QUIET_DUPLICATES))
		return;
	args[0] = CStringGetTextDatum(batch->messages[0].source);
	args[1] = cdp_array_uuid((const uint8(*)[16]) key, n);
	args[2] = cdp_array_int64(content, n);
	rows = cdp_store_run(&conflict_plan, args, NULL, false, -1);
	for (int r = 0; r < rows; r++)
	{
		CdpMessage *m = &batch->messages[dup[cdp_store_int64(r, 1) - 1]];

		m->conflicts = true;
		if (!(batch->flags & CDP_INGEST_UNRECORDED))
			batch->refusals =
				cdp_refusal_note(batch->refusals, m, m->message_id, "conflicting_duplicate",
								 "a message with this id and other content came first");
	}
}

static bool
link_collides(const CdpBatch *batch, const CdpMessage *m)
{
	const CdpLink *link = &batch->graph.links[m->link];

	for (int k = 0; k < link->n; k++)
		if (batch->graph.idents[link->idents[k]].collides)
			return true;
	return false;
}

/*
 * Messages whose identifier collides with a stored one are rejected.  One that
 * is rejected, for this or by the tracking plan, may come again, corrected,
 * under its id: later in the same batch it takes the place of the first, and
 * else the id is given free.
 */
void
cdp_batch_reject_collisions(CdpBatch *batch)
{
	uint8(*key)[16] = palloc(16 * batch->n);
	int n = 0;
	Datum args[3];

	for (int i = 0; i < batch->n; i++)
	{
		CdpMessage *m = &batch->messages[i];
		CdpMessage *first;

		if (m->link < 0)
			continue;
		if (m->status != CDP_REJECTED && link_collides(batch, m))
			cdp_message_reject(m, "key_collision",
							   "an identifier has the key of another one; nothing is merged by it");
		if (m->status == CDP_REJECTED)
			batch->graph.links[m->link].dead = true;
		if (m->status != CDP_DUPLICATE || m->first < 0)
			continue;
		first = &batch->messages[m->first];
		if (first->status != CDP_REJECTED || !first->claimed || cdp_plan_refuse(m))
			continue;
		first->claimed = false;
		m->claimed = true;
		m->status = CDP_ACCEPTED;
		batch->graph.links[m->link].dead = false;
		args[0] = CStringGetTextDatum(m->source);
		args[1] = UUIDPGetDatum((pg_uuid_t *) m->key);
		args[2] = Int64GetDatum((int64) m->content);
		cdp_store_run(&replace_plan, args, NULL, false, 1);
	}
	for (int i = 0; i < batch->n; i++)
		if (batch->messages[i].status == CDP_REJECTED && batch->messages[i].claimed)
			memcpy(key[n++], batch->messages[i].key, 16);
	if (n == 0)
		return;
	args[0] = CStringGetTextDatum(batch->messages[0].source);
	args[1] = cdp_array_uuid((const uint8(*)[16]) key, n);
	cdp_store_run(&unsee_plan, args, NULL, false, -1);
}
