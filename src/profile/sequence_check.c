/*
 * src/profile/sequence_check.c
 *		Marks of sequences and their events: compared, made anew for people who
 *		differ, made in the background for what was known before, forgotten when
 *		nothing can depend on them any more.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

#include "compat.h"
#include "profile/sequence.h"
#include "store.h"
#include "task.h"

/* Marks looked at in one step of tidying, and the time between two rounds. */
#define TIDY_CHUNK 5000
#define TIDY_EVERY USECS_PER_DAY

static CdpPlan nodes_plan = {
	"SELECT n.node_id, n.profile_id FROM cdp_data.node n WHERE n.profile_id = ANY ($1)",
	1,
	{INT8ARRAYOID},
	NULL};

static CdpPlan marks_plan = {
	"SELECT m.node_id, m.sequence_id, m.ts, m.message_key, m.kind, m.value "
	"FROM cdp_data.sequence_mark m WHERE m.node_id = $1 "
	"ORDER BY m.sequence_id, m.ts, m.message_key",
	1,
	{INT8OID},
	NULL};

/* One row of cdp_data.task stands for all rounds: done until the next day. */
static CdpPlan take_tidy_plan = {
	"SELECT t.task_id, coalesce((t.position #>> '{}')::bigint, 0) "
	"FROM cdp_data.task t WHERE t.kind = 'sequence_tidy' "
	"  AND (t.state = 'running' OR t.updated_at IS NULL OR t.updated_at <= $1) "
	"ORDER BY t.task_id LIMIT 1 FOR UPDATE SKIP LOCKED",
	1,
	{TIMESTAMPTZOID},
	NULL};

static CdpPlan page_plan = {
	"SELECT count(*), max(x.node_id) FROM (SELECT m.node_id FROM cdp_data.sequence_mark m "
	"  WHERE m.node_id > $1 ORDER BY m.node_id LIMIT $2) x",
	2,
	{INT8OID, INT8OID},
	NULL};

/* Of sequences that are no more all. */
#define FORGET(table) \
	"DELETE FROM cdp_data." table " m WHERE m.node_id > $1 AND m.node_id <= $2 " \
	"AND NOT EXISTS (SELECT FROM unnest($3, $4) u (id, horizon) " \
	"  WHERE u.id = m.sequence_id AND m.ts >= u.horizon)"

static CdpPlan forget_plans[2] = {
	{FORGET("sequence_mark"), 4, {INT8OID, INT8OID, INT4ARRAYOID, TIMESTAMPTZARRAYOID}, NULL},
	{FORGET("node_base_mark"), 4, {INT8OID, INT8OID, INT4ARRAYOID, TIMESTAMPTZARRAYOID}, NULL}};

/* The nodes of these people, and whose they are. */
static int
read_nodes(const int64 *profiles, int n, bool read_only, int64 **nodes, int64 **people)
{
	Datum args[1] = {cdp_array_int64(profiles, n)};
	int rows = cdp_store_run(&nodes_plan, args, NULL, read_only, -1);

	*nodes = palloc(sizeof(int64) * Max(rows, 1));
	*people = palloc(sizeof(int64) * Max(rows, 1));
	for (int r = 0; r < rows; r++)
	{
		(*nodes)[r] = cdp_store_int64(r, 1);
		(*people)[r] = cdp_store_int64(r, 2);
	}
	return rows;
}

/* By sequence and event. */
static int
compare_rows(const void *a, const void *b)
{
	const CdpRow *x = a;
	const CdpRow *y = b;
	int32 s = DatumGetInt32(x->values[1]);
	int32 t = DatumGetInt32(y->values[1]);
	TimestampTz i = DatumGetTimestampTz(x->values[2]);
	TimestampTz j = DatumGetTimestampTz(y->values[2]);

	if (s != t)
		return s < t ? -1 : 1;
	if (i != j)
		return i < j ? -1 : 1;
	return memcmp(DatumGetUUIDP(x->values[3])->data, DatumGetUUIDP(y->values[3])->data, 16);
}

/* A mark in words. */
static char *
describe(const CdpRow *mark)
{
	static const char *const kinds[] = {"nothing", "did", "then", "did and then"};
	int kind = DatumGetInt16(mark->values[4]);

	return psprintf("%s %s%s%s", timestamptz_to_str(DatumGetTimestampTz(mark->values[2])),
					kinds[kind & 3], mark->nulls[5] ? "" : " ",
					mark->nulls[5] ? "" : TextDatumGetCString(mark->values[5]));
}

/* Leaves out marks that say nothing any more, and those of sequences that are not ready. */
static int
keep_live(CdpRow *rows, int n)
{
	TimestampTz now = cdp_now();
	int kept = 0;

	for (int i = 0; i < n; i++)
	{
		const CdpSequence *sequence = cdp_sequence_find(DatumGetInt32(rows[i].values[1]));

		if (sequence && sequence->ready &&
			DatumGetTimestampTz(rows[i].values[2]) >= cdp_sequence_horizon(sequence, now))
			rows[kept++] = rows[i];
	}
	return kept;
}

static void
check_node(int64 node, int64 profile_id, CdpFound *to)
{
	Datum args[1] = {Int64GetDatum(node)};
	int nlive = cdp_store_run(&marks_plan, args, NULL, true, -1);
	CdpRow *live = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(CdpRow) * Max(nlive, 1));
	CdpRow *must;
	int nmust;

	for (int r = 0; r < nlive; r++)
		for (int c = 0; c < 6; c++)
			live[r].values[c] = cdp_store_value(r, c + 1, &live[r].nulls[c]);
	nlive = keep_live(live, nlive);
	must = cdp_sequence_gather(node, 0, &nmust);
	if (nmust > 0)
		qsort(must, nmust, sizeof(CdpRow), compare_rows);
	nmust = keep_live(must, nmust);
	for (int i = 0, k = 0; i < nlive || k < nmust;)
	{
		int cmp = i == nlive ? 1 : k == nmust ? -1 :
												compare_rows(&live[i], &must[k]);
		const CdpRow *has = cmp <= 0 ? &live[i++] : NULL;
		const CdpRow *needs = cmp >= 0 ? &must[k++] : NULL;
		const CdpSequence *sequence;

		if (cmp == 0 && strcmp(describe(has), describe(needs)) == 0)
			continue;
		sequence = cdp_sequence_find(DatumGetInt32((has ? has : needs)->values[1]));
		cdp_found(to, profile_id, psprintf("sequence %s", sequence->name),
				  has ? describe(has) : NULL, needs ? describe(needs) : NULL);
	}
}

/* Compares the marks of these people with their events. */
void
cdp_sequence_check(const int64 *profiles, int n, CdpFound *to)
{
	MemoryContext work;
	int64 *nodes;
	int64 *people;

	if (cdp_sequence_config()->n == 0)
		return;
	n = read_nodes(profiles, n, true, &nodes, &people);
	work = AllocSetContextCreate(CurrentMemoryContext, "cdp sequence check",
								 ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(work);

		CHECK_FOR_INTERRUPTS();
		check_node(nodes[i], people[i], to);
		MemoryContextSwitchTo(old);
		MemoryContextReset(work);
	}
	MemoryContextDelete(work);
}

/* Makes the marks of these people anew; the caller holds their locks. */
void
cdp_sequence_repair(const int64 *profiles, int n)
{
	int64 *nodes;
	int64 *people;

	if (cdp_sequence_config()->n == 0)
		return;
	n = read_nodes(profiles, n, false, &nodes, &people);
	cdp_sequence_rebuild(nodes, n, 0);
}

/* Some nodes of one sequence; cdp.ready_step() says when all are made. */
bool
cdp_sequence_backfill_step(void)
{
	return cdp_nodes_backfill_step("sequence", cdp_sequence_rebuild, NULL);
}

/*
 * Forgets marks of some nodes that no answer can depend on, once a day of all;
 * nobody need be locked for that.  False: it is not time.
 */
bool
cdp_sequence_tidy_step(void)
{
	const CdpSequenceConfig *config;
	CdpStore store;
	TimestampTz now = cdp_now();
	Datum args[5] = {TimestampTzGetDatum(now - TIDY_EVERY)};
	int32 task_id;
	bool through;
	int64 last;
	int32 *ids;
	TimestampTz *horizons;
	int64 seen;
	int64 forgotten = 0;

	cdp_store_enter(&store);
	/* before any other lock: see cdp.lock_storage() */
	LockRelationOid(cdp_store_relation("profile_state"), RowExclusiveLock);
	if (cdp_store_run(&take_tidy_plan, args, NULL, false, -1) == 0)
	{
		cdp_store_leave(&store);
		return false;
	}
	task_id = (int32) cdp_store_int64(0, 1);
	args[0] = Int64GetDatum(cdp_store_int64(0, 2));
	args[1] = Int64GetDatum(TIDY_CHUNK);
	(void) cdp_store_run(&page_plan, args, NULL, false, 1);
	seen = cdp_store_int64(0, 1);
	through = seen < TIDY_CHUNK;
	last = through ? PG_INT64_MAX : cdp_store_int64(0, 2);
	/* a base may have marks of nodes behind the last one that has others */
	args[1] = Int64GetDatum(last);
	config = cdp_sequence_config();
	ids = palloc(sizeof(int32) * Max(config->n, 1));
	horizons = palloc(sizeof(TimestampTz) * Max(config->n, 1));
	for (int i = 0; i < config->n; i++)
	{
		ids[i] = config->sequences[i].id;
		horizons[i] = cdp_sequence_horizon(&config->sequences[i], now);
	}
	args[2] = cdp_array_int32(ids, config->n);
	args[3] = cdp_array_timestamptz(horizons, config->n);
	for (int i = 0; i < (int) lengthof(forget_plans); i++)
		forgotten += cdp_store_run(&forget_plans[i], args, NULL, false, -1);
	cdp_task_advance(task_id, through, through ? 0 : last, forgotten);
	cdp_store_leave(&store);
	return true;
}
