/*
 * src/profile/window.h
 *		Lengths of time by the calendar in UTC, whatever the session's time zone.
 */
#ifndef CDP_PROFILE_WINDOW_H
#define CDP_PROFILE_WINDOW_H

#include "utils/timestamp.h"

/* ts with the length added; DT_NOEND beyond the calendar's end, and of no length. */
extern TimestampTz cdp_window_after(TimestampTz ts, const Interval *length);

/*
 * The earliest time after now at which ts enters or leaves the window (now -
 * period, ...); DT_NOEND if never.  No period: a window without an edge.
 */
extern TimestampTz cdp_window_turns(TimestampTz ts, const Interval *period, TimestampTz now);

#endif /* CDP_PROFILE_WINDOW_H */
