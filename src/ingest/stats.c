/*
 * src/ingest/stats.c
 *		cdp.stats: what comes in, and what becomes of it, by source.
 *
 * Counted over everybody, as the owner: a source's rate that lacked the people
 * whom a role may not see would say nothing.  It names no person.  Windows are
 * short and found by BRIN indexes on times of arrival, which are in the order
 * of the tables: the cost is that of the last minutes, not of the tables.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "store.h"

PG_FUNCTION_INFO_V1(cdp_source_stats);

#define MINUTE "interval '1 minute'"
#define WINDOW "interval '10 minutes'"
#define DAY "interval '1 day'"

/* Sources without a row in any part are not there; the last row is all of them. */
static CdpPlan stats_plan = {
	"WITH e AS (SELECT e.source, count(*) AS n, "
	"    count(*) FILTER (WHERE e.received_at > $1 - " MINUTE ") AS minute, "
	"    sum(e.received_at - e.ts) AS lag, max(e.received_at - e.ts) AS worst, "
	"    max(e.received_at) AS last "
	"  FROM cdp_data.event e WHERE e.received_at > $1 - " WINDOW " GROUP BY e.source), "
	"r AS (SELECT r.source, count(*) AS n FROM cdp_data.rejected r GROUP BY r.source), "
	"d AS (SELECT d.source, count(*) AS n FROM cdp_data.rejected d "
	"  WHERE d.last_at > $1 - " DAY " GROUP BY d.source), "
	"m AS (SELECT m.source, count(*) AS n FROM cdp_data.identity_merge m "
	"  WHERE m.at > $1 - " DAY " GROUP BY m.source), "
	"f AS (SELECT f.source, count(*) AS n FROM cdp_data.identity_edge f "
	"  WHERE f.refused IS NOT NULL AND f.refused_at > $1 - " DAY " GROUP BY f.source), "
	"p AS (SELECT w.source, sum(w.n)::bigint AS n FROM ("
	"  SELECT a.source, greatest(t.total_rows - t.done_rows, 0) AS n "
	"  FROM cdp_data.task t JOIN cdp_data.attachment a ON a.attachment_id = t.target "
	"  WHERE t.kind = 'backfill' AND t.state IN ('waiting', 'running') UNION ALL "
	"  SELECT c.source, count(*) FROM cdp_data.captured c GROUP BY c.source) w "
	"  GROUP BY w.source), "
	"s AS (SELECT e.source FROM e UNION SELECT r.source FROM r UNION SELECT m.source FROM m "
	"  UNION SELECT f.source FROM f UNION SELECT p.source FROM p) "
	"SELECT s.source, coalesce(sum(e.minute), 0)::bigint, coalesce(sum(e.n), 0)::bigint, "
	"  round(coalesce(sum(e.n), 0) / 600.0, 2)::float8, sum(e.lag) / sum(e.n), max(e.worst), "
	"  max(e.last), coalesce(sum(p.n), 0)::bigint, coalesce(sum(r.n), 0)::bigint, "
	"  coalesce(sum(d.n), 0)::bigint, coalesce(sum(m.n), 0)::bigint, "
	"  coalesce(sum(f.n), 0)::bigint "
	"FROM s LEFT JOIN e USING (source) LEFT JOIN r USING (source) LEFT JOIN d USING (source) "
	"LEFT JOIN m USING (source) LEFT JOIN f USING (source) LEFT JOIN p USING (source) "
	"GROUP BY GROUPING SETS ((s.source), ()) ORDER BY s.source NULLS LAST",
	1,
	{TIMESTAMPTZOID},
	NULL};

/* cdp.source_stats() */
Datum
cdp_source_stats(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	CdpStore store;
	Datum args[1] = {TimestampTzGetDatum(cdp_now())};
	int n;

	InitMaterializedSRF(fcinfo, 0);
	cdp_store_enter(&store);
	n = cdp_store_run(&stats_plan, args, NULL, true, -1);
	for (int i = 0; i < n; i++)
	{
		Datum values[12];
		bool nulls[12];

		for (int k = 0; k < (int) lengthof(values); k++)
			values[k] = cdp_store_value(i, k + 1, &nulls[k]);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	cdp_store_leave(&store);
	return (Datum) 0;
}
