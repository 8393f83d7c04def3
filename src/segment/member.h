/*
 * src/segment/member.h
 *		Who is in which segment: where it is kept.
 *
 * The one place that writes membership: flips go in, entries come out.  How
 * membership is stored is nobody else's business.
 */
#ifndef CDP_SEGMENT_MEMBER_H
#define CDP_SEGMENT_MEMBER_H

#include "segment/segment.h"

/* Somebody enters or leaves a segment. */
typedef struct CdpFlip
{
	int64 profile_id;
	int32 ord;
	int32 segment_id; /* the set of members */
	int32 announce; /* the segment that she is told to enter; 0: nobody is told */
	bool enters;
	TimestampTz at;
	const char *cause; /* event, identity, time, definition */
} CdpFlip;

/*
 * Writes flips, which are by person in the order in which they happened; the
 * caller holds the locks of the people.  Returns how many entries there are
 * that did not end again.
 */
extern int cdp_member_write(const CdpFlip *flips, int n, CdpEntry **entries);

#endif /* CDP_SEGMENT_MEMBER_H */
