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

#endif /* CDP_PROFILE_WINDOW_H */
