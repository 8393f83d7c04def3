/*
 * src/profile/metric_backfill.c
 *		Work on metrics in steps of cdp.maintain(): those defined on existing
 *		data are made from the events, and what is over is forgotten.
 *
 * From its definition on every new event is folded into the metric, whether it
 * is complete or not.  A step takes the next nodes, locks their people and
 * makes the states of these nodes anew from all their events: what was folded
 * before is among them and is replaced, what comes later is added.  Nothing
 * can be counted twice or be missed, in whatever order nodes are looked at and
 * whoever moves them meanwhile.
 *
 * Readers do not count what is over, so forgetting it only saves space; once a
 * day is enough.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "compat.h"
#include "profile/metric.h"
#include "store.h"
#include "task.h"

/* Nodes of one step. */
#define CHUNK 200
#define TIDY_CHUNK 1000

/* Time between two rounds of tidying. */
#define TIDY_EVERY USECS_PER_DAY


static CdpPlan take_plan = {
	"SELECT t.task_id, coalesce((t.position #>> '{}')::bigint, 0), t.target "
	"FROM cdp_data.task t WHERE t.kind = $1 AND t.state IN ('waiting', 'running') "
	"ORDER BY t.task_id LIMIT 1 FOR UPDATE SKIP LOCKED",
	1,
	{TEXTOID},
	NULL};

/* One row of cdp_data.task stands for all rounds: done until the next day. */
static CdpPlan take_tidy_plan = {
	"SELECT t.task_id, coalesce((t.position #>> '{}')::bigint, 0), t.target "
	"FROM cdp_data.task t WHERE t.kind = 'metric_tidy' "
	"  AND (t.state = 'running' OR t.updated_at IS NULL OR t.updated_at <= $1) "
	"ORDER BY t.task_id LIMIT 1 FOR UPDATE SKIP LOCKED",
	1,
	{TIMESTAMPTZOID},
	NULL};

static CdpPlan states_plan = {
	"SELECT s.node_id FROM cdp_data.metric_state s WHERE s.node_id > $1 "
	"ORDER BY s.node_id LIMIT $2",
	2,
	{INT8OID, INT8OID},
	NULL};

static CdpPlan person_plan = {
	"SELECT n.profile_id FROM cdp_data.node n WHERE n.node_id = ANY ($1)",
	1,
	{INT8ARRAYOID},
	NULL};

static CdpPlan nodes_plan = {
	"SELECT n.node_id, n.profile_id FROM cdp_data.node n WHERE n.node_id > $1 "
	"ORDER BY n.node_id LIMIT $2",
	2,
	{INT8OID, INT8OID},
	NULL};

static CdpPlan lock_plan = {
	"SELECT s.profile_id FROM cdp_data.profile_state s WHERE s.profile_id = ANY ($1) "
	"ORDER BY s.profile_id FOR NO KEY UPDATE",
	1,
	{INT8ARRAYOID},
	NULL};

/* Of these nodes those whose people are locked. */
static CdpPlan again_plan = {
	"SELECT n.node_id FROM cdp_data.node n WHERE n.node_id = ANY ($1) "
	"AND n.profile_id = ANY ($2) ORDER BY n.node_id",
	2,
	{INT8ARRAYOID, INT8ARRAYOID},
	NULL};

/* Where segments look at it, cdp.ready_step() does it. */
static CdpPlan ready_plan = {
	"UPDATE cdp_data.metric m SET state = 'ready' WHERE m.metric_id = $1 AND NOT EXISTS ("
	"SELECT FROM cdp_data.segment s WHERE m.name = ANY (s.columns))",
	1,
	{INT4OID},
	NULL};

static CdpPlan dimension_plan = {
	"UPDATE cdp_data.dimension d SET state = 'ready', anew = false WHERE d.dimension_id = $1 "
	"AND NOT EXISTS (SELECT FROM cdp_data.segment s WHERE d.profile_column = ANY (s.columns))",
	1,
	{INT4OID},
	NULL};

/* Makes the next nodes; returns how many, and in *last where it went. */
static int
make_nodes(CdpNodesRebuild rebuild, int32 target, int64 after, int64 *last)
{
	Datum args[2] = {Int64GetDatum(after), Int64GetDatum(CHUNK)};
	int rows = cdp_store_run(&nodes_plan, args, NULL, false, -1);
	int64 *nodes = palloc(sizeof(int64) * Max(rows, 1));
	int64 *people = palloc(sizeof(int64) * Max(rows, 1));
	int n;
	int kept = 0;

	for (int r = 0; r < rows; r++)
	{
		nodes[r] = cdp_store_int64(r, 1);
		people[r] = cdp_store_int64(r, 2);
	}
	if (rows == 0)
		return 0;
	args[0] = cdp_array_int64(people, rows);
	n = cdp_store_run(&lock_plan, args, NULL, false, -1);
	for (int r = 0; r < n; r++)
		people[r] = cdp_store_int64(r, 1);
	args[0] = cdp_array_int64(nodes, rows);
	args[1] = cdp_array_int64(people, n);
	n = cdp_store_run(&again_plan, args, NULL, false, -1);
	/* up to the first that went to somebody else meanwhile */
	while (kept < n && cdp_store_int64(kept, 1) == nodes[kept])
		kept++;
	rebuild(nodes, kept, target);
	*last = kept > 0 ? nodes[kept - 1] : after;
	return rows;
}

/* Some nodes of one task; see metric.h. */
bool
cdp_nodes_backfill_step(const char *kind, CdpNodesRebuild rebuild, CdpPlan *ready)
{
	CdpStore store;
	Datum args[1];
	int32 task_id;
	int32 target;
	int64 last;
	int n;

	cdp_store_enter(&store);
	/* before any other lock: see cdp.lock_storage() */
	LockRelationOid(cdp_store_relation("profile_state"), RowExclusiveLock);
	args[0] = CStringGetTextDatum(kind);
	if (cdp_store_run(&take_plan, args, NULL, false, -1) == 0)
	{
		cdp_store_leave(&store);
		return false;
	}
	task_id = (int32) cdp_store_int64(0, 1);
	last = cdp_store_int64(0, 2);
	target = (int32) cdp_store_int64(0, 3);
	n = make_nodes(rebuild, target, last, &last);
	cdp_task_advance(task_id, n == 0, last, n);
	if (n == 0 && ready)
	{
		args[0] = Int32GetDatum(target);
		cdp_store_run(ready, args, NULL, false, -1);
	}
	cdp_store_leave(&store);
	return true;
}

static void
rebuild_metric(const int64 *nodes, int n, int32 target)
{
	(void) cdp_metric_rebuild(nodes, n, target);
}

/* Some nodes of one metric or dimension; false: none waits. */
bool
cdp_metric_backfill_step(void)
{
	return cdp_nodes_backfill_step("metric", rebuild_metric, &ready_plan) ||
		   cdp_nodes_backfill_step("dimension", rebuild_metric, &dimension_plan);
}

/* Tidies the rows of these nodes, as far as their people stay who they are. */
static void
tidy_nodes(int64 *nodes, int n)
{
	int64 *people = palloc(sizeof(int64) * Max(n, 1));
	Datum args[2] = {cdp_array_int64(nodes, n)};
	int rows = cdp_store_run(&person_plan, args, NULL, false, -1);

	for (int r = 0; r < rows; r++)
		people[r] = cdp_store_int64(r, 1);
	args[0] = cdp_array_int64(people, rows);
	rows = cdp_store_run(&lock_plan, args, NULL, false, -1);
	for (int r = 0; r < rows; r++)
		people[r] = cdp_store_int64(r, 1);
	args[0] = cdp_array_int64(nodes, n);
	args[1] = cdp_array_int64(people, rows);
	n = cdp_store_run(&again_plan, args, NULL, false, -1);
	for (int r = 0; r < n; r++)
		nodes[r] = cdp_store_int64(r, 1);
	(void) cdp_metric_tidy(nodes, n, true);
}

/* Forgets what is over of some nodes, once a day of all; false: it is not time. */
bool
cdp_metric_tidy_step(void)
{
	CdpStore store;
	Datum args[2] = {TimestampTzGetDatum(cdp_now() - TIDY_EVERY)};
	int64 last;
	int64 *nodes;
	int32 task_id;
	int seen;
	int n;

	cdp_store_enter(&store);
	/* before any other lock: see cdp.lock_storage() */
	LockRelationOid(cdp_store_relation("profile_state"), RowExclusiveLock);
	if (cdp_store_run(&take_tidy_plan, args, NULL, false, -1) == 0)
	{
		cdp_store_leave(&store);
		return false;
	}
	task_id = (int32) cdp_store_int64(0, 1);
	last = cdp_store_int64(0, 2);
	args[0] = Int64GetDatum(last);
	args[1] = Int64GetDatum(TIDY_CHUNK);
	seen = cdp_store_run(&states_plan, args, NULL, false, -1);
	nodes = palloc(sizeof(int64) * Max(seen, 1));
	for (int r = 0; r < seen; r++)
		nodes[r] = last = cdp_store_int64(r, 1);
	/* mostly there is nothing to be done, and nobody need be locked */
	n = cdp_metric_tidy(nodes, seen, false);
	if (n > 0)
		tidy_nodes(nodes, n);
	cdp_task_advance(task_id, seen < TIDY_CHUNK, seen < TIDY_CHUNK ? 0 : last, n);
	cdp_store_leave(&store);
	return true;
}
