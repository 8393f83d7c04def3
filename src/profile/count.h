/*
 * src/profile/count.h
 *		count(*) over people who are told by segments only, from the membership
 *		index.
 */
#ifndef CDP_PROFILE_COUNT_H
#define CDP_PROFILE_COUNT_H

#include "nodes/pathnodes.h"

/* What is counted, as the plan keeps it. */
typedef struct CdpCount
{
	const char *expr; /* of segments; "": everybody */
	bool members; /* rows of cdp.segment_members, else of cdp.profiles */
	bool policy; /* only whom cdp.allowed() lets the role see */
	bool others; /* people whom no test is true of are counted, too */
} CdpCount;

/* Registers the hook; once, from _PG_init(). */
extern void cdp_count_register(void);

/* Can the relation's rows be counted so? */
extern bool cdp_count_match(PlannerInfo *root, RelOptInfo *rel, CdpCount *count);

extern Path *cdp_count_path(PlannerInfo *root, RelOptInfo *output, const CdpCount *count);
extern void cdp_count_register_scan(void);

#endif /* CDP_PROFILE_COUNT_H */
