/*
 * src/ingest/apply_trait.c
 *		A trait survives by another rule: the people known are folded anew, in
 *		steps of cdp.maintain().
 *
 * Messages that come meanwhile are folded by the new rule into what the old one
 * left; when their person's turn comes, she is folded from all her events.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "activation/activation.h"
#include "ingest/ingest.h"
#include "profile/profile.h"
#include "segment/segment.h"
#include "store.h"
#include "task.h"

/* People folded in one transaction. */
#define CHUNK 200

static CdpPlan take_plan = {
	"SELECT t.task_id, coalesce((t.position #>> '{}')::bigint, 0), x.name FROM cdp_data.task t "
	"JOIN cdp_data.trait x ON x.trait_id = t.target "
	"WHERE t.kind = 'trait' AND t.state IN ('waiting', 'running') "
	"ORDER BY t.task_id LIMIT 1 FOR UPDATE OF t SKIP LOCKED",
	0,
	{0},
	NULL};

static CdpPlan next_plan = {
	"SELECT s.profile_id FROM cdp_data.profile_state s WHERE s.profile_id > $1 "
	"ORDER BY s.profile_id LIMIT $2",
	2,
	{INT8OID, INT8OID},
	NULL};

/* Whom it concerns, with their locks: who has the trait, or was given a value. */
static CdpPlan lock_plan = {
	"SELECT s.profile_id FROM cdp_data.profile_state s WHERE s.profile_id = ANY ($1) "
	"AND (EXISTS (SELECT FROM cdp_data.profile p WHERE p.profile_id = s.profile_id "
	"    AND p.trait_meta ? $2) "
	"  OR EXISTS (SELECT FROM cdp_data.node n CROSS JOIN LATERAL (SELECT FROM cdp_data.event e "
	"      WHERE e.node_id = n.node_id AND e.type = 'identify' AND e.traits ? $2 LIMIT 1) e "
	"    WHERE n.profile_id = s.profile_id) "
	"  OR EXISTS (SELECT FROM cdp_data.node n CROSS JOIN LATERAL (SELECT FROM "
	"      cdp_data.node_base_trait t WHERE t.node_id = n.node_id AND t.name = $2 LIMIT 1) t "
	"    WHERE n.profile_id = s.profile_id)) "
	"ORDER BY s.profile_id FOR NO KEY UPDATE OF s",
	2,
	{INT8ARRAYOID, TEXTOID},
	NULL};

static CdpPlan touch_plan = {
	"UPDATE cdp_data.profile_state s SET rev = s.rev + 1 WHERE s.profile_id = ANY ($1)",
	1,
	{INT8ARRAYOID},
	NULL};

/* Some people of one trait; false: no task waits. */
bool
cdp_apply_trait_step(void)
{
	CdpStore store;
	Datum args[5];
	char *name;
	int64 after;
	int64 *ids;
	int32 task;
	int seen;
	int n;
	CdpEntry *entries;

	cdp_store_enter(&store);
	/* before any other lock: see cdp.lock_storage() */
	LockRelationOid(cdp_store_relation("profile_state"), RowExclusiveLock);
	if (cdp_store_run(&take_plan, NULL, NULL, false, -1) == 0)
	{
		cdp_store_leave(&store);
		return false;
	}
	task = (int32) cdp_store_int64(0, 1);
	after = cdp_store_int64(0, 2);
	name = cdp_store_text(0, 3);
	args[0] = Int64GetDatum(after);
	args[1] = Int64GetDatum(CHUNK);
	seen = cdp_store_run(&next_plan, args, NULL, false, -1);
	ids = cdp_store_ids(seen);
	if (seen > 0)
		after = ids[seen - 1];
	args[0] = cdp_array_int64(ids, seen);
	args[1] = CStringGetTextDatum(name);
	n = cdp_store_run(&lock_plan, args, NULL, false, -1);
	ids = cdp_store_ids(n);
	if (n > 0)
	{
		cdp_trait_refold(name, ids, n);
		args[0] = cdp_array_int64(ids, n);
		cdp_store_run(&touch_plan, args, NULL, false, n);
		n = cdp_segment_evaluate(ids, n, "definition", &entries);
		cdp_activation_enqueue(entries, n);
	}
	cdp_task_advance(task, seen < CHUNK, after, seen);
	cdp_store_leave(&store);
	return true;
}
