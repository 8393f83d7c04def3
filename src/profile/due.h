/*
 * src/profile/due.h
 *		People whose timers are due: what readers take for stored.
 */
#ifndef CDP_PROFILE_DUE_H
#define CDP_PROFILE_DUE_H

#include "fmgr.h"

/* Somebody whose segments time has changed, whom the caller may see. */
typedef struct CdpDue
{
	int32 ord;
	int n;
	const int32 *segments; /* that she is in now; they live as long as the query */
} CdpDue;

/* By ord.  Called as the caller, outside of cdp_store_enter(). */
extern int cdp_due_people(CdpDue **people);

/* cdp.present_segments(profile_id, stored) */
extern Datum cdp_present_segments(PG_FUNCTION_ARGS);

#endif /* CDP_PROFILE_DUE_H */
