/*
 * src/segment/segment.h
 *		Segments: rules, who enters and who leaves.
 */
#ifndef CDP_SEGMENT_SEGMENT_H
#define CDP_SEGMENT_SEGMENT_H

#include "identity/graph.h"

/* A person entered a segment. */
typedef struct CdpEntry
{
	int32 segment_id;
	int64 profile_id;
	int32 ord;
} CdpEntry;

extern void cdp_segment_join(const CdpGraph *graph);
extern void cdp_segment_part(const CdpGraph *graph);
extern int cdp_segment_evaluate(const int64 *profiles, int n, CdpEntry **entries);
extern void cdp_segment_check(const int64 *profiles, int n,
							  void (*found)(void *arg, int64 profile_id, const char *live,
											const char *now),
							  void *arg);

#endif /* CDP_SEGMENT_SEGMENT_H */
