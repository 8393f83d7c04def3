/*
 * src/profile/resolve.h
 *		Which profile is it?
 */
#ifndef CDP_PROFILE_RESOLVE_H
#define CDP_PROFILE_RESOLVE_H

#include "identity/who.h"

/* Of whom identifiers are that are one person's, whoever asks; 0 otherwise. */
extern int64 cdp_profile_of(const CdpWho *who);

#endif /* CDP_PROFILE_RESOLVE_H */
