/*
 * src/profile/window.c
 *		Lengths of time by the calendar, see window.h.
 *
 * A month before the 30th and the 31st of March is the 28th of February for
 * both, so that the edge of a window of months goes back at midnight: what had
 * left may be inside again until it leaves for good.  Within a day of UTC the
 * edge moves as the time does.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"

#include "profile/window.h"

/* Calendars differ from the day that a sum gives by so many days at most. */
#define SLACK 4

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
cdp_window_turns(TimestampTz ts, const Interval *period, TimestampTz now)
{
	TimestampTz leaves;
	TimestampTz day;
	bool inside;

	if (period == NULL)
		return DT_NOEND;
	leaves = cdp_window_after(ts, period);
	if (period->month == 0)
		return leaves > now ? leaves : DT_NOEND;
	if (now > leaves + SLACK * USECS_PER_DAY)
		return DT_NOEND;
	inside = cdp_window_before(now, period) < ts;
	day = Max(now, leaves - SLACK * USECS_PER_DAY);
	/* the start of its day, also before 2000 */
	day -= ((day % USECS_PER_DAY) + USECS_PER_DAY) % USECS_PER_DAY;
	for (int i = 0; i <= 2 * SLACK + 1; i++, day += USECS_PER_DAY)
	{
		TimestampTz passes = day + (ts - cdp_window_before(day, period));

		if (day > now && (cdp_window_before(day, period) < ts) != inside)
			return day;
		if (passes > now && passes > day && passes < day + USECS_PER_DAY &&
			(cdp_window_before(passes, period) < ts) != inside)
			return passes;
	}
	return DT_NOEND;
}
