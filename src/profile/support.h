/*
 * src/profile/support.h
 *		What the planner is told of segments.
 */
#ifndef CDP_PROFILE_SUPPORT_H
#define CDP_PROFILE_SUPPORT_H

/* Is it the function of this name in schema cdp? */
extern bool cdp_is_function(Oid funcid, const char *name);

#endif /* CDP_PROFILE_SUPPORT_H */
