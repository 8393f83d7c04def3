/*
 * src/profile/window.c
 *		Lengths of time by the calendar, see window.h.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"

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
