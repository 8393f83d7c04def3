/*
 * src/consent/selfcheck.h
 *		Answers from the whole storage for those who look after it.
 */
#ifndef CDP_CONSENT_SELFCHECK_H
#define CDP_CONSENT_SELFCHECK_H

#include "fmgr.h"

#include "store.h"

extern void cdp_steward_rows(FunctionCallInfo fcinfo, CdpPlan *plan, Datum *args,
							 const char *nulls, const char *what);

#endif /* CDP_CONSENT_SELFCHECK_H */
