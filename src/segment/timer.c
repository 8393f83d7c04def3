/*
 * src/segment/timer.c
 *		When a rule's answer changes without an event.
 *
 * While rules are asked, cdp.within(), $within and computed columns say when
 * their own answers change.  The earliest such instant of all the rules of a
 * person is her timer, a row of cdp_data.timer: before it nothing changes
 * without an event.  It may be too early, where the rule it came from does not
 * matter any more: then nothing changes at it either, and it is set anew.
 *
 * Who writes a person's timer holds her lock.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"

#include "compat.h"
#include "row.h"
#include "segment/timer.h"
#include "store.h"

/* parts of a window's length, either way: a thousand years */
#define MAX_MONTHS 12000
#define MAX_DAYS INT64CONST(366000)

PG_FUNCTION_INFO_V1(cdp_within);
PG_FUNCTION_INFO_V1(cdp_clock);

CdpMoment *cdp_moment = NULL;

static CdpRowOp read_row = {
	.table = "timer",
	.keys = {"profile_id"},
	.columns = {"due"},
};

static CdpRowOp insert_row = {
	.table = "timer",
	.columns = {"profile_id", "ord", "due"},
};

static CdpRowOp change_row = {
	.table = "timer",
	.keys = {"profile_id"},
	.columns = {"due", "ord"},
};

static CdpPlan forget_plan = {
	"DELETE FROM cdp_data.timer t WHERE t.profile_id = ANY ($1)",
	1,
	{INT8ARRAYOID},
	NULL};

static CdpPlan due_plan = {
	"SELECT t.profile_id FROM cdp_data.timer t WHERE t.profile_id = ANY ($1) AND t.due <= $2 "
	"ORDER BY t.profile_id",
	2,
	{INT8ARRAYOID, TIMESTAMPTZOID},
	NULL};

/*
 * Does the time lie in the last period?  From ts on, until the window leaves
 * it behind; the moment learns when the answer changes.
 */
bool
cdp_timer_within(TimestampTz ts, const CdpCorePeriod *period, CdpMoment *moment)
{
	if (TIMESTAMP_NOT_FINITE(ts))
		return false;
	if (ts > moment->now)
	{
		moment->due = Min(moment->due, ts);
		return false;
	}
	if (ts <= cdp_core_window_start(period, moment->now))
		return false;
	moment->due = Min(moment->due, cdp_core_window_leave(period, ts));
	return true;
}

/* cdp.within(ts, period) */
Datum
cdp_within(PG_FUNCTION_ARGS)
{
	TimestampTz ts = PG_GETARG_TIMESTAMPTZ(0);
	const Interval *i = PG_GETARG_INTERVAL_P(1);
	CdpCorePeriod period = {i->month, i->day, i->time};
	CdpMoment mine = {DT_NOBEGIN, DT_NOEND};
	CdpMoment *moment = cdp_moment;

	if (moment == NULL)
	{
		mine.now = cdp_now();
		moment = &mine;
	}
	if (i->month < -MAX_MONTHS || i->month > MAX_MONTHS || i->day < -MAX_DAYS ||
		i->day > MAX_DAYS || i->time < -MAX_DAYS * USECS_PER_DAY ||
		i->time > MAX_DAYS * USECS_PER_DAY ||
		cdp_core_window_start(&period, moment->now) >= moment->now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a window must be longer than nothing and at most 1000 years"),
				 errhint("Example: cdp.within(last_seen, '7 days').")));
	PG_RETURN_BOOL(cdp_timer_within(ts, &period, moment));
}

static TimestampTz
read_timer(int64 profile_id, bool read_only)
{
	Datum keys[1] = {Int64GetDatum(profile_id)};
	CdpRow row;

	if (!cdp_row_read(&read_row, keys, read_only, NULL, &row))
		return DT_NOEND;
	return DatumGetTimestampTz(row.values[0]);
}

/* cdp.clock() */
Datum
cdp_clock(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	PG_RETURN_TIMESTAMPTZ(cdp_now());
}

/* The person's timer; DT_NOEND: she has none. */
TimestampTz
cdp_timer_read(int64 profile_id)
{
	return read_timer(profile_id, false);
}

TimestampTz
cdp_timer_seen(int64 profile_id)
{
	return read_timer(profile_id, true);
}

typedef struct Setting
{
	TimestampTz due;
	int32 ord;
	bool if_earlier;
} Setting;

static bool
set_timer(CdpRow *row, void *arg)
{
	const Setting *s = arg;
	TimestampTz old = DatumGetTimestampTz(row->values[0]);

	if (s->if_earlier ? s->due >= old : s->due == old && DatumGetInt32(row->values[1]) == s->ord)
		return false;
	row->values[0] = TimestampTzGetDatum(s->due);
	row->values[1] = Int32GetDatum(s->ord);
	return true;
}

/* Sets the person's timer (DT_NOEND: none); if_earlier: unless it is as early already. */
void
cdp_timer_set(int64 profile_id, int32 ord, TimestampTz due, bool if_earlier)
{
	Datum keys[1] = {Int64GetDatum(profile_id)};
	Setting setting = {due, ord, if_earlier};
	CdpRow row = {0};

	if (if_earlier && due == DT_NOEND)
		return;
	if (cdp_row_change(&change_row, keys, NULL, set_timer, &setting) || due == DT_NOEND)
		return;
	row.values[0] = keys[0];
	row.values[1] = Int32GetDatum(ord);
	row.values[2] = TimestampTzGetDatum(due);
	(void) cdp_row_insert(&insert_row, &row);
}

/* People who are no more. */
void
cdp_timer_forget(const int64 *profiles, int n)
{
	Datum args[1] = {cdp_array_int64(profiles, n)};

	cdp_store_run(&forget_plan, args, NULL, false, -1);
}

/* Of these people those whose timers are due, ascending; due has room for n. */
int
cdp_timer_due(const int64 *profiles, int n, TimestampTz now, int64 *due)
{
	Datum args[2];
	int rows = 0;

	if (n <= CDP_FEW)
	{
		for (int i = 0; i < n; i++)
			if (cdp_timer_read(profiles[i]) <= now)
				due[rows++] = profiles[i];
		return rows;
	}
	args[0] = cdp_array_int64(profiles, n);
	args[1] = TimestampTzGetDatum(now);
	rows = cdp_store_run(&due_plan, args, NULL, false, -1);
	for (int r = 0; r < rows; r++)
		due[r] = cdp_store_int64(r, 1);
	return rows;
}
