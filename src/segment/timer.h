/*
 * src/segment/timer.h
 *		When a rule's answer changes without an event.
 */
#ifndef CDP_SEGMENT_TIMER_H
#define CDP_SEGMENT_TIMER_H

#include "core/window.h"
#include "utils/timestamp.h"

/* The moment for which rules are asked; due: when to ask again, or DT_NOEND. */
typedef struct CdpMoment
{
	TimestampTz now;
	TimestampTz due;
} CdpMoment;

/* Set while rules are asked, else NULL; whoever sets it puts it back. */
extern CdpMoment *cdp_moment;

extern bool cdp_timer_within(TimestampTz ts, const CdpCorePeriod *period, CdpMoment *moment);
extern TimestampTz cdp_timer_read(int64 profile_id);
extern TimestampTz cdp_timer_seen(int64 profile_id); /* by the active snapshot */
extern void cdp_timer_set(int64 profile_id, int32 ord, TimestampTz due, bool if_earlier);
extern void cdp_timer_forget(const int64 *profiles, int n);
extern int cdp_timer_due(const int64 *profiles, int n, TimestampTz now, int64 *due);

#endif /* CDP_SEGMENT_TIMER_H */
