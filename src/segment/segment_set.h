/*
 * src/segment/segment_set.h
 *		Type cdp.segment_set: the names of the segments of one person.
 */
#ifndef CDP_SEGMENT_SEGMENT_SET_H
#define CDP_SEGMENT_SEGMENT_SET_H

/* The set of these names, text datums; sorts them. */
extern Datum cdp_segment_set_make(Datum *names, int n);

#endif /* CDP_SEGMENT_SEGMENT_SET_H */
