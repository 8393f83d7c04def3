/*
 * src/profile/window.c
 *		Lengths of time by the calendar, see window.h.
 *
 * What is within a window is told by core/window.h.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"

#include "core/window.h"
#include "profile/window.h"

TimestampTz
cdp_window_after(TimestampTz ts, const Interval *length)
{
	if (length == NULL)
		return DT_NOEND;
	return DatumGetTimestamp(DirectFunctionCall2(timestamp_pl_interval, TimestampGetDatum(ts),
												 IntervalPGetDatum(length)));
}

TimestampTz
cdp_window_before(TimestampTz ts, const Interval *length)
{
	return DatumGetTimestamp(DirectFunctionCall2(timestamp_mi_interval, TimestampGetDatum(ts),
												 IntervalPGetDatum(length)));
}

TimestampTz
cdp_window_leaves(TimestampTz ts, const Interval *period)
{
	CdpCorePeriod core;

	if (period == NULL)
		return DT_NOEND;
	core = (CdpCorePeriod){period->month, period->day, period->time};
	return cdp_core_window_leave(&core, ts);
}
