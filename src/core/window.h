/*
 * src/core/window.h
 *		Windows of time: the last 7 days, the last month.
 *
 * Times are microseconds since 2000-01-01 00:00 UTC; months and days are those
 * of the calendar in UTC.
 */
#ifndef CDP_CORE_WINDOW_H
#define CDP_CORE_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A length of time; the parts are added in this order. */
typedef struct CdpCorePeriod
{
	int32_t months;
	int32_t days;
	int64_t usecs;
} CdpCorePeriod;

/*
 * The latest time that is out of the window at "now".  Never goes back while
 * now goes on: where a month is too short for the day of now, the window ends
 * with that month's last microsecond.
 */
extern int64_t cdp_core_window_start(const CdpCorePeriod *period, int64_t now);

/* The first "now" at which ts is out of the window: the inverse. */
extern int64_t cdp_core_window_leave(const CdpCorePeriod *period, int64_t ts);

/* "7 days", "1 year 6 months": numbers with units, more than nothing. */
extern bool cdp_core_period_parse(const char *s, size_t len, CdpCorePeriod *period);

#endif /* CDP_CORE_WINDOW_H */
