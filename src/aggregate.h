/*
 * src/aggregate.h
 *		Where the states of an aggregate live.  Floor 0.
 *
 * The executor hands a state on without copying it when it is an expanded
 * object whose context is a child of the aggregate's.  A context for each state
 * would satisfy that, but a hash aggregate adds up the memory of all children
 * each time it meets a new group (hash_agg_check_limits), which is quadratic in
 * groups, and a context takes a kilobyte at least.  So all states of one
 * aggregate context share one child of it.  Nobody deletes a single one: the
 * executor does so only when a transition function returns another state than
 * it was given, and ours return what they were given; results leave as
 * read-only pointers, which may not be deleted either.
 */
#ifndef CDP_AGGREGATE_H
#define CDP_AGGREGATE_H

#include "fmgr.h"
#include "utils/expandeddatum.h"

/*
 * The context that states below "parent" share.  name: a constant of the
 * caller's own, compared by address, so that nobody else's context is taken.
 */
extern MemoryContext cdp_aggregate_context(MemoryContext parent, const char *name);

/*
 * The aggregate's context, for a support function of "name" that was called;
 * an error with the hint if nothing aggregates.
 */
extern MemoryContext cdp_aggregate_enter(FunctionCallInfo fcinfo, const char *name,
										 const char *hint);

/* The state that a datum is, if it is one of these methods and ours to change; or NULL. */
extern ExpandedObjectHeader *cdp_aggregate_state(Datum datum,
												 const ExpandedObjectMethods *methods);

#endif /* CDP_AGGREGATE_H */
