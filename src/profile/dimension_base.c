/*
 * src/profile/dimension_base.c
 *		What everybody likes: the base that a person's likes are held against.
 *
 * Once a day, in steps of cdp.maintain(), the long horizons of all nodes are
 * added up by dimension and value, as of the time when the round began.  All
 * scores fade alike, so the shares of a day ago are those that only the events
 * of a day could have changed; and no event writes a row that others write.
 *
 * A round gathers in rows marked "next", which take the place of the others
 * when it is through.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "compat.h"
#include "profile/dimension.h"
#include "profile/metric_affinity.h"
#include "store.h"
#include "task.h"

/* Nodes of one step. */
#define CHUNK 1000

/* Time between two rounds. */
#define ROUND_EVERY USECS_PER_DAY

/* One row of cdp_data.task stands for all rounds: done until the next day. */
static CdpPlan take_plan = {
	"SELECT t.task_id, coalesce((t.position #>> '{}')::bigint, 0) "
	"FROM cdp_data.task t WHERE t.kind = 'dimension_base' "
	"  AND (t.state = 'running' OR t.updated_at IS NULL OR t.updated_at <= $1) "
	"  AND EXISTS (SELECT FROM cdp_data.dimension d WHERE d.state = 'ready') "
	"ORDER BY t.task_id LIMIT 1 FOR UPDATE SKIP LOCKED",
	1,
	{TIMESTAMPTZOID},
	NULL};

static CdpPlan clear_plan = {
	"DELETE FROM cdp_data.dimension_base b WHERE b.next", 0, {0}, NULL};

static CdpPlan start_plan = {
	"WITH gone AS (DELETE FROM cdp_data.dimension_total t WHERE t.next RETURNING 1) "
	"INSERT INTO cdp_data.dimension_total (dimension_id, next, at, score) "
	"SELECT d.dimension_id, true, $1, 0 FROM cdp_data.dimension d "
	"WHERE (SELECT count(*) FROM gone) >= 0 "
	"ON CONFLICT (dimension_id, next) DO UPDATE SET at = excluded.at, score = 0",
	1,
	{TIMESTAMPTZOID},
	NULL};

static CdpPlan time_plan = {
	"SELECT max(t.at) FROM cdp_data.dimension_total t WHERE t.next", 0, {0}, NULL};

static CdpPlan states_plan = {
	"SELECT s.node_id, s.states FROM cdp_data.metric_state s WHERE s.node_id > $1 "
	"ORDER BY s.node_id LIMIT $2",
	2,
	{INT8OID, INT8OID},
	NULL};

static CdpPlan add_plan = {
	"INSERT INTO cdp_data.dimension_base AS b (dimension_id, next, value, score) "
	"SELECT u.id, true, u.value, u.score FROM unnest($1, $2, $3) u (id, value, score) "
	"ON CONFLICT (dimension_id, next, value) DO UPDATE SET score = b.score + excluded.score",
	3,
	{INT4ARRAYOID, TEXTARRAYOID, FLOAT8ARRAYOID},
	NULL};

static CdpPlan total_plan = {
	"UPDATE cdp_data.dimension_total t SET score = t.score + u.score "
	"FROM unnest($1, $2) u (id, score) WHERE t.dimension_id = u.id AND t.next",
	2,
	{INT4ARRAYOID, FLOAT8ARRAYOID},
	NULL};

static CdpPlan swap_plans[] = {
	{"DELETE FROM cdp_data.dimension_base b WHERE NOT b.next", 0, {0}, NULL},
	{"UPDATE cdp_data.dimension_base b SET next = false WHERE b.next", 0, {0}, NULL},
	{"DELETE FROM cdp_data.dimension_total t WHERE NOT t.next", 0, {0}, NULL},
	{"UPDATE cdp_data.dimension_total t SET next = false WHERE t.next", 0, {0}, NULL}};

typedef struct SumKey
{
	int32 dimension;
	int32 len;
	char value[CDP_AFFINITY_MAX_VALUE + 1];
} SumKey;

typedef struct Sum
{
	SumKey key;
	double score;
} Sum;

typedef struct Sums
{
	HTAB *table;
	double *totals; /* by metric */
	TimestampTz at;
} Sums;

static void
add_view(Sums *sums, const CdpAffinityView *view, int32 dimension, int metric)
{
	for (int i = 0; i < view->count; i++)
	{
		SumKey key;
		Sum *sum;
		bool found;

		memset(&key, 0, sizeof(key));
		key.dimension = dimension;
		key.len = (int32) view->item[i].len;
		memcpy(key.value, view->item[i].value, view->item[i].len);
		sum = hash_search(sums->table, &key, HASH_ENTER, &found);
		if (!found)
			sum->score = 0;
		sum->score += cdp_core_affinity_at(view, view->item[i].net, sums->at);
	}
	sums->totals[metric] += cdp_core_affinity_at(view, view->plus, sums->at);
}

static void
add_node(Sums *sums, const CdpMetricConfig *c, const bytea *states)
{
	int n;
	CdpMetricEntry *entries = cdp_metric_entries(states, &n);

	for (int e = 0, m = 0; e < n; e++)
	{
		CdpMetricState state;
		CdpAffinityView view;

		while (m < c->n && c->metrics[m].id < entries[e].id)
			m++;
		if (m == c->n || c->metrics[m].id != entries[e].id || !c->metrics[m].dimension)
			continue;
		cdp_metric_state_read(CDP_METRIC_AFFINITY, entries[e].bytes, entries[e].len, &state);
		if (state.ncells > 0 &&
			cdp_metric_affinity_view(&state.cells[0].acc, CDP_HORIZON_LONG, &view))
			add_view(sums, &view, entries[e].id, m);
	}
}

/* Writes what was added up. */
static void
write_sums(const Sums *sums, const CdpMetricConfig *c)
{
	int room = (int) Max(hash_get_num_entries(sums->table), c->n);
	int32 *ids = palloc(sizeof(int32) * Max(room, 1));
	Datum *values = palloc(sizeof(Datum) * Max(room, 1));
	Datum *scores = palloc(sizeof(Datum) * Max(room, 1));
	HASH_SEQ_STATUS status;
	Datum args[3];
	Sum *sum;
	int n = 0;

	hash_seq_init(&status, sums->table);
	while ((sum = hash_seq_search(&status)) != NULL)
	{
		ids[n] = sum->key.dimension;
		values[n] = PointerGetDatum(cstring_to_text_with_len(sum->key.value, sum->key.len));
		scores[n++] = Float8GetDatum(sum->score);
	}
	args[0] = cdp_array_int32(ids, n);
	args[1] = cdp_array_datums(values, NULL, n, TEXTOID);
	args[2] = cdp_array_datums(scores, NULL, n, FLOAT8OID);
	cdp_store_run(&add_plan, args, NULL, false, -1);
	n = 0;
	for (int m = 0; m < c->n; m++)
	{
		if (sums->totals[m] == 0)
			continue;
		ids[n] = c->metrics[m].id;
		scores[n++] = Float8GetDatum(sums->totals[m]);
	}
	args[0] = cdp_array_int32(ids, n);
	args[1] = cdp_array_datums(scores, NULL, n, FLOAT8OID);
	cdp_store_run(&total_plan, args, NULL, false, -1);
}

/* Adds the next nodes; returns how many, and in *last where it went. */
static int
add_nodes(Sums *sums, const CdpMetricConfig *c, int64 *last)
{
	Datum args[2] = {Int64GetDatum(*last), Int64GetDatum(CHUNK)};
	MemoryContext context = CurrentMemoryContext;
	MemoryContext work = AllocSetContextCreate(context, "cdp likes of a node",
											   ALLOCSET_DEFAULT_SIZES);
	int n = cdp_store_run(&states_plan, args, NULL, false, -1);

	MemoryContextSwitchTo(work);
	for (int r = 0; r < n; r++)
	{
		bool isnull;

		*last = cdp_store_int64(r, 1);
		add_node(sums, c, DatumGetByteaPP(cdp_store_value(r, 2, &isnull)));
		MemoryContextReset(work);
	}
	MemoryContextSwitchTo(context);
	MemoryContextDelete(work);
	return n;
}

/* Some nodes of a round; false: it is not time. */
bool
cdp_dimension_base_step(void)
{
	HASHCTL ctl = {.keysize = sizeof(SumKey), .entrysize = sizeof(Sum)};
	CdpStore store;
	const CdpMetricConfig *c;
	Sums sums;
	Datum args[1] = {TimestampTzGetDatum(cdp_now() - ROUND_EVERY)};
	int32 task_id;
	int64 last;
	bool isnull;
	int n;

	cdp_store_enter(&store);
	/* before any other lock: see cdp.lock_storage() */
	LockRelationOid(cdp_store_relation("profile_state"), RowExclusiveLock);
	if (cdp_store_run(&take_plan, args, NULL, false, -1) == 0)
	{
		cdp_store_leave(&store);
		return false;
	}
	task_id = (int32) cdp_store_int64(0, 1);
	last = cdp_store_int64(0, 2);
	if (last == 0)
	{
		cdp_store_run(&clear_plan, NULL, NULL, false, -1);
		args[0] = TimestampTzGetDatum(cdp_now());
		cdp_store_run(&start_plan, args, NULL, false, -1);
	}
	cdp_store_run(&time_plan, NULL, NULL, false, 1);
	sums.at = DatumGetTimestampTz(cdp_store_value(0, 1, &isnull));
	if (isnull)
		sums.at = cdp_now();
	c = cdp_metric_config();
	ctl.hcxt = CurrentMemoryContext;
	sums.table = hash_create("cdp what everybody likes", 1024, &ctl,
							 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	sums.totals = palloc0(sizeof(double) * Max(c->n, 1));
	n = add_nodes(&sums, c, &last);
	write_sums(&sums, c);
	for (int i = 0; n < CHUNK && i < (int) lengthof(swap_plans); i++)
		cdp_store_run(&swap_plans[i], NULL, NULL, false, -1);
	cdp_task_advance(task_id, n < CHUNK, n < CHUNK ? 0 : last, n);
	cdp_store_leave(&store);
	return true;
}
