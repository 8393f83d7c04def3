/*
 * src/profile/window.h
 *		Lengths of time by the calendar in UTC, whatever the session's time zone.
 */
#ifndef CDP_PROFILE_WINDOW_H
#define CDP_PROFILE_WINDOW_H

#include "utils/timestamp.h"

/* ts with the length added; without a length DT_NOEND. */
extern TimestampTz cdp_window_after(TimestampTz ts, const Interval *length);

/* ts with the length taken away. */
extern TimestampTz cdp_window_before(TimestampTz ts, const Interval *length);

/*
 * The earliest time after now at which ts enters or leaves the window (now -
 * period, ...); DT_NOEND if never.  No period: a window without an edge.
 */
extern TimestampTz cdp_window_turns(TimestampTz ts, const Interval *period, TimestampTz now);

#endif /* CDP_PROFILE_WINDOW_H */
