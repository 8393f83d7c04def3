/*
 * src/ingest/apply_segment.c
 *		Segments that are built beside what is in force, in steps of
 *		cdp.maintain(); see sql/install/46_segment_build.sql.
 *
 * From the definition on every writer asks the new rules, too.  A step takes
 * the next people in the order of their ids, locks them and asks the rules for
 * what they are now: who comes later is made by writers that know the rules,
 * and who changes later is asked again by who changes her.  So when everybody
 * was asked once, the set is what the rules say, and stays it.
 *
 * A step is a transaction with its own mark of where it is: whatever ends
 * maintain(), the next one goes on from there.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "activation/activation.h"
#include "ingest/ingest.h"
#include "segment/chunk.h"
#include "segment/member.h"
#include "store.h"

/* People in one transaction. */
#define CHUNK 1000

static CdpPlan take_plan = {
	"SELECT t.task_id, coalesce((t.position #>> '{}')::bigint, 0) FROM cdp_data.task t "
	"WHERE t.kind = 'segment' AND t.state IN ('waiting', 'running') "
	"  AND t.position IS DISTINCT FROM '\"through\"' "
	"ORDER BY t.task_id LIMIT 1 FOR UPDATE SKIP LOCKED",
	0,
	{0},
	NULL};

static CdpPlan take_set_plan = {
	"SELECT t.task_id, coalesce((t.position #>> '{}')::bigint, -1), t.target "
	"FROM cdp_data.task t WHERE t.kind = 'segment_set' AND t.state IN ('waiting', 'running') "
	"ORDER BY t.task_id LIMIT 1 FOR UPDATE SKIP LOCKED",
	0,
	{0},
	NULL};

static CdpPlan next_plan = {
	"SELECT s.profile_id FROM cdp_data.profile_state s WHERE s.profile_id > $1 "
	"ORDER BY s.profile_id LIMIT $2",
	2,
	{INT8OID, INT8OID},
	NULL};

static CdpPlan lock_plan = {
	"SELECT s.profile_id FROM cdp_data.profile_state s WHERE s.profile_id = ANY ($1) "
	"ORDER BY s.profile_id FOR NO KEY UPDATE",
	1,
	{INT8ARRAYOID},
	NULL};

static CdpPlan members_plan = {
	"SELECT m.profile_id, m.ord FROM cdp_data.segment_member m "
	"WHERE m.segment_id = $1 AND m.ord > $2 ORDER BY m.ord LIMIT $3",
	3,
	{INT4OID, INT8OID, INT8OID},
	NULL};

/* Their rows, now that they are locked. */
static CdpPlan rows_plan = {
	"SELECT m.profile_id, m.ord FROM cdp_data.segment_member m "
	"WHERE m.profile_id = ANY ($2) AND m.segment_id = $1 ORDER BY m.profile_id",
	2,
	{INT4OID, INT8ARRAYOID},
	NULL};

static CdpPlan stray_plan = {
	"DELETE FROM cdp_data.segment_member m WHERE m.segment_id = $1 AND NOT EXISTS ("
	"SELECT FROM cdp_data.profile_state s WHERE s.profile_id = m.profile_id)",
	1,
	{INT4OID},
	NULL};

/* position: NULL, everybody was looked at. */
static CdpPlan progress_plan = {
	"UPDATE cdp_data.task t SET state = $2, position = coalesce(to_jsonb($3), '\"through\"'), "
	"  done_rows = t.done_rows + $4, updated_at = $5 WHERE t.task_id = $1",
	5,
	{INT4OID, TEXTOID, INT8OID, INT8OID, TIMESTAMPTZOID},
	NULL};

/* Takes a task, with the lock that comes before any other; false: none waits. */
static bool
take_task(CdpPlan *plan, int32 *task, int64 *position)
{
	/* see cdp.lock_storage() */
	LockRelationOid(cdp_store_relation("profile_state"), RowExclusiveLock);
	if (cdp_store_run(plan, NULL, NULL, false, -1) == 0)
		return false;
	*task = (int32) cdp_store_int64(0, 1);
	*position = cdp_store_int64(0, 2);
	return true;
}

static void
report(int32 task, const char *state, int64 position, bool through, int n)
{
	Datum args[5] = {Int32GetDatum(task), CStringGetTextDatum(state), Int64GetDatum(position),
					 Int64GetDatum(n), TimestampTzGetDatum(cdp_now())};

	cdp_store_run(&progress_plan, args, through ? "  n  " : NULL, false, 1);
}

/* Some people of one task; false: none waits. */
bool
cdp_segment_build_step(void)
{
	CdpStore store;
	Datum args[2];
	CdpEntry *entries;
	int32 task;
	int64 after;
	int64 *ids;
	int seen;
	int entered;
	int n;

	cdp_store_enter(&store);
	if (!take_task(&take_plan, &task, &after))
	{
		cdp_store_leave(&store);
		return false;
	}
	args[0] = Int64GetDatum(after);
	args[1] = Int64GetDatum(CHUNK);
	seen = cdp_store_run(&next_plan, args, NULL, false, -1);
	ids = cdp_store_ids(seen);
	if (seen > 0)
	{
		after = ids[seen - 1];
		args[0] = cdp_array_int64(ids, seen);
		n = cdp_store_run(&lock_plan, args, NULL, false, -1);
		ids = cdp_store_ids(n);
		entered = cdp_segment_fire(ids, n, &entries);
		cdp_activation_enqueue(entries, entered);
		cdp_segment_build(task, ids, n);
	}
	report(task, "running", after, seen < CHUNK, seen);
	cdp_store_leave(&store);
	return true;
}

/* People leave a set that is no segment's any more. */
static void
leave_set(int32 set_id, const int64 *ids, int n)
{
	Datum args[2] = {Int32GetDatum(set_id), cdp_array_int64(ids, n)};
	CdpFlip *flips;
	CdpEntry *entries;
	TimestampTz now = cdp_now();

	n = cdp_store_run(&lock_plan, &args[1], NULL, false, -1);
	args[1] = cdp_array_int64(cdp_store_ids(n), n);
	n = cdp_store_run(&rows_plan, args, NULL, false, -1);
	flips = palloc(sizeof(CdpFlip) * Max(n, 1));
	for (int r = 0; r < n; r++)
		flips[r] = (CdpFlip){.profile_id = cdp_store_int64(r, 1),
							 .ord = (int32) cdp_store_int64(r, 2),
							 .segment_id = set_id,
							 .at = now,
							 .cause = "definition"};
	SPI_freetuptable(SPI_tuptable);
	(void) cdp_member_write(flips, n, &entries);
}

/* Some members of one set that is to go; false: none waits. */
bool
cdp_segment_set_step(void)
{
	CdpStore store;
	Datum args[3];
	int32 task;
	int32 set_id;
	int64 after;
	int64 *ids;
	int n;

	cdp_store_enter(&store);
	if (!take_task(&take_set_plan, &task, &after))
	{
		cdp_store_leave(&store);
		return false;
	}
	set_id = (int32) cdp_store_int64(0, 3);
	args[0] = Int32GetDatum(set_id);
	args[1] = Int64GetDatum(after);
	args[2] = Int64GetDatum(CHUNK);
	n = cdp_store_run(&members_plan, args, NULL, false, -1);
	if (n > 0)
		after = cdp_store_int64(n - 1, 2);
	ids = cdp_store_ids(n);
	if (n > 0)
		leave_set(set_id, ids, n);
	else
	{
		/* a merge may have given its members to somebody who was passed already */
		cdp_store_run(&stray_plan, args, NULL, false, -1);
		args[1] = Int64GetDatum(-1);
		args[2] = Int64GetDatum(1);
		if (cdp_store_run(&members_plan, args, NULL, false, -1) > 0)
			after = -1;
		else
		{
			cdp_chunk_rebuild(set_id);
			report(task, "done", after, false, 0);
			cdp_store_leave(&store);
			return true;
		}
	}
	report(task, "running", after, false, n);
	cdp_store_leave(&store);
	return true;
}
