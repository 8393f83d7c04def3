/*
 * src/ingest/apply_timer.c
 *		What time changes by itself is stored, in steps of cdp.maintain().
 *
 * Readers see it without: the step only makes it permanent, and hands out who
 * entered a segment.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"

#include "activation/activation.h"
#include "ingest/ingest.h"
#include "segment/segment.h"
#include "store.h"

/* People in one transaction. */
#define CHUNK 200

PG_FUNCTION_INFO_V1(cdp_timer_step);

static CdpPlan due_plan = {
	"SELECT t.profile_id FROM cdp_data.timer t WHERE t.due <= $1 ORDER BY t.due LIMIT $2",
	2,
	{TIMESTAMPTZOID, INT8OID},
	NULL};

/* Who is held is busy changing, and fires her timer herself. */
static CdpPlan lock_plan = {
	"SELECT s.profile_id FROM cdp_data.profile_state s WHERE s.profile_id = ANY ($1) "
	"ORDER BY s.profile_id FOR NO KEY UPDATE OF s SKIP LOCKED",
	1,
	{INT8ARRAYOID},
	NULL};

static CdpPlan stray_plan = {
	"DELETE FROM cdp_data.timer t WHERE t.profile_id = ANY ($1) AND NOT EXISTS ("
	"SELECT FROM cdp_data.profile_state s WHERE s.profile_id = t.profile_id)",
	1,
	{INT8ARRAYOID},
	NULL};

/* Some timers that are due by then; false: none is that could be fired. */
static bool
fire_some(TimestampTz until)
{
	CdpStore store;
	Datum args[2] = {TimestampTzGetDatum(until), Int64GetDatum(CHUNK)};
	int64 *ids;
	CdpEntry *entries;
	int n;
	int held;

	cdp_store_enter(&store);
	/* before any other lock: see cdp.lock_storage() */
	LockRelationOid(cdp_store_relation("profile_state"), RowExclusiveLock);
	n = cdp_store_run(&due_plan, args, NULL, false, -1);
	if (n == 0)
	{
		cdp_store_leave(&store);
		return false;
	}
	ids = cdp_store_ids(n);
	args[0] = cdp_array_int64(ids, n);
	held = cdp_store_run(&lock_plan, args, NULL, false, -1);
	ids = cdp_store_ids(held);
	if (held < n)
		cdp_store_run(&stray_plan, args, NULL, false, -1);
	n = cdp_segment_fire(ids, held, &entries);
	cdp_activation_enqueue(entries, n);
	cdp_store_leave(&store);
	return held > 0;
}

/*
 * Those that were due when cdp.maintain() was called: whatever becomes due
 * meanwhile, other work has its turn.
 */
bool
cdp_apply_timer_step(void)
{
	return fire_some(cdp_now());
}

/* cdp.timer_step(until) */
Datum
cdp_timer_step(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(fire_some(PG_GETARG_TIMESTAMPTZ(0)));
}
