/*
 * src/profile/estimate.h
 *		How many people an expression of segments holds for, for the planner.
 */
#ifndef CDP_PROFILE_ESTIMATE_H
#define CDP_PROFILE_ESTIMATE_H

typedef struct CdpEstimate
{
	double people; /* that there are */
	double share; /* for whom it holds, 0 to 1 */
	int steps; /* of the expression */
} CdpEstimate;

/* False: there is nothing to estimate from. */
extern bool cdp_estimate(const char *expr, CdpEstimate *estimate);

#endif /* CDP_PROFILE_ESTIMATE_H */
