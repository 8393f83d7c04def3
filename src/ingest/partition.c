/*
 * src/ingest/partition.c
 *		Partitions of events: made ahead by cdp.maintain(), on demand otherwise.
 *
 * A partition is created as a table of its own, guarded, then attached: that
 * takes SHARE UPDATE EXCLUSIVE on the parent, so writers and readers go on.
 * There is no DEFAULT partition, which every attach would have to scan.
 *
 * One creator at a time, by a lock on the list of partitions that is among the
 * first of a call: before messages, identifiers and profiles (see
 * identity/graph.h).
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "cdp.h"
#include "compat.h"
#include "ingest/config.h"
#include "store.h"

PG_FUNCTION_INFO_V1(cdp_create_partitions);

/*
 * All bounds in UTC, so that they do not depend on who creates them.  What is
 * older than history_before lies in one partition: an event's time is the
 * client's word, and a few hundred of them must not make as many tables.
 */
static CdpPlan missing_plan = {
	"SELECT r.from_ts, r.to_ts, r.name FROM ("
	"  SELECT timestamptz '1970-01-01 00:00:00+00' AS from_ts, s.history_before AS to_ts, "
	"    'event_history' AS name FROM cdp_data.installation s WHERE $1 < s.history_before "
	"  UNION ALL "
	"  SELECT g AT TIME ZONE 'UTC', (g + ('1 ' || $3)::interval) AT TIME ZONE 'UTC', "
	"    'event_' || to_char(g, CASE $3 WHEN 'year' THEN 'YYYY' WHEN 'month' THEN 'YYYYMM' "
	"      ELSE 'YYYYMMDD' END) "
	"  FROM cdp_data.installation s, generate_series("
	"    date_trunc($3, GREATEST($1, s.history_before) AT TIME ZONE 'UTC'), "
	"    $2 AT TIME ZONE 'UTC', ('1 ' || $3)::interval) g) r "
	"WHERE to_regclass(format('cdp_data.%I', r.name)) IS NULL "
	"AND NOT EXISTS (SELECT FROM cdp_data.event_partition p "
	"  WHERE p.from_ts < r.to_ts AND p.to_ts > r.from_ts "
	"  AND to_regclass(format('cdp_data.%I', p.name)) IS NOT NULL)",
	3,
	{TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID},
	NULL};

static CdpPlan record_plan = {
	"INSERT INTO cdp_data.event_partition (name, from_ts, to_ts) VALUES ($1::name, $2, $3) "
	"ON CONFLICT (name) DO UPDATE SET from_ts = excluded.from_ts, to_ts = excluded.to_ts",
	3,
	{TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID},
	NULL};

static char *
utc_literal(TimestampTz ts)
{
	/* exact and independent of DateStyle and TimeZone */
	return psprintf("'epoch'::timestamptz + " INT64_FORMAT " * interval '1 second'",
					ts / USECS_PER_SEC +
						(int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY);
}

static void
create_one(const char *name, TimestampTz from, TimestampTz to)
{
	const char *q = quote_identifier(name);
	Datum args[3];

	cdp_store_execute(psprintf("CREATE TABLE cdp_data.%s (LIKE cdp_data.event INCLUDING "
							   "DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)",
							   q));
	cdp_store_execute(psprintf("SELECT cdp.guard(%s, "
							   "'cdp.allowed_node(node_id)', false)",
							   quote_literal_cstr(name)));
	cdp_store_execute(psprintf("ALTER TABLE cdp_data.event ATTACH PARTITION cdp_data.%s FOR "
							   "VALUES FROM (%s) TO (%s)",
							   q, utc_literal(from), utc_literal(to)));
	args[0] = CStringGetTextDatum(name);
	args[1] = TimestampTzGetDatum(from);
	args[2] = TimestampTzGetDatum(to);
	cdp_store_run(&record_plan, args, NULL, false, 1);
}

/*
 * Makes sure that every time from .. to has its partition; returns how many
 * were created.
 */
int
cdp_partition_ensure(TimestampTz from, TimestampTz to)
{
	const char *interval = cdp_store_installation()->partition_interval;
	Datum args[3];
	int n;
	char **names;
	CdpRange *ranges;

	LockRelationOid(cdp_store_relation("event_partition"), ShareRowExclusiveLock);
	args[0] = TimestampTzGetDatum(from);
	args[1] = TimestampTzGetDatum(to);
	args[2] = CStringGetTextDatum(interval);
	/* what others created while we waited, whatever our snapshot */
	PushActiveSnapshot(GetLatestSnapshot());
	n = cdp_store_run(&missing_plan, args, NULL, true, -1);
	PopActiveSnapshot();
	names = palloc(sizeof(char *) * Max(n, 1));
	ranges = palloc(sizeof(CdpRange) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		ranges[i].from = cdp_store_int64(i, 1);
		ranges[i].to = cdp_store_int64(i, 2);
		names[i] = cdp_store_text(i, 3);
	}
	for (int i = 0; i < n; i++)
		create_one(names[i], ranges[i].from, ranges[i].to);
	return n;
}

/* cdp.create_partitions(from, to) */
Datum
cdp_create_partitions(PG_FUNCTION_ARGS)
{
	TimestampTz from = PG_GETARG_TIMESTAMPTZ(0);
	TimestampTz to = PG_GETARG_TIMESTAMPTZ(1);
	CdpStore store;
	int n;

	if (TIMESTAMP_NOT_FINITE(from) || TIMESTAMP_NOT_FINITE(to) ||
		from < CDP_MIN_EVENT_TIME || to < from ||
		to - from > INT64CONST(3660) * USECS_PER_DAY)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("cannot create partitions for this range"),
				 errhint("Give a range of at most ten years that starts in 1970 or later.")));
	cdp_store_enter(&store);
	n = cdp_partition_ensure(from, to);
	cdp_store_leave(&store);
	PG_RETURN_INT32(n);
}
