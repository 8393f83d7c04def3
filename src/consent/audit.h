/*
 * src/consent/audit.h
 *		Who did what that takes a privilege; see audit.c.
 */
#ifndef CDP_CONSENT_AUDIT_H
#define CDP_CONSENT_AUDIT_H

#include "c.h"

extern void cdp_audit_act(const char *action, int64 profile_id, const char *detail);
extern void cdp_audit_act_of(Oid caller, const char *action, int64 profile_id,
							 const char *detail);

#endif /* CDP_CONSENT_AUDIT_H */
