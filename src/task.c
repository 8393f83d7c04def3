/*
 * src/task.c
 *		How far work for cdp.maintain() is (see task.h).
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "compat.h"
#include "store.h"
#include "task.h"

static CdpPlan advance_plan = {
	"UPDATE cdp_data.task t SET state = $2, position = to_jsonb($3), "
	"  done_rows = t.done_rows + $4, updated_at = $5 WHERE t.task_id = $1",
	5,
	{INT4OID, TEXTOID, INT8OID, INT8OID, TIMESTAMPTZOID},
	NULL};

void
cdp_task_advance(int32 task_id, bool through, int64 position, int64 more)
{
	Datum args[5] = {Int32GetDatum(task_id), CStringGetTextDatum(through ? "done" : "running"),
					 Int64GetDatum(position), Int64GetDatum(more),
					 TimestampTzGetDatum(cdp_now())};

	cdp_store_run(&advance_plan, args, NULL, false, 1);
}
