/*
 * src/consent/suppress.h
 *		Identifiers of people who were erased: known by a keyed hash alone.
 */
#ifndef CDP_CONSENT_SUPPRESS_H
#define CDP_CONSENT_SUPPRESS_H

#include "utils/timestamp.h"

/* Bytes of a token. */
#define CDP_TOKEN_LEN 32

/* An identifier that is asked about: in its normal form, as of a time. */
typedef struct CdpSuppressProbe
{
	const char *ns;
	const char *value;
	TimestampTz at;
	bool hit; /* out */
} CdpSuppressProbe;

/* All inside cdp_store_enter(). */

/* Was anybody ever erased here?  Nothing else costs anything until then. */
extern bool cdp_suppress_any(void);

/* HMAC-SHA-256 (RFC 2104, FIPS 180-4) of namespace, 0x1F, value under the installation's key. */
extern void cdp_suppress_token(const char *ns, const char *value, uint8 *token);

/* Sets hit of those that were an erased person's at their times; says whether any is. */
extern bool cdp_suppress_find(CdpSuppressProbe *probes, int n);

/* Is this the id of an erased person? */
extern bool cdp_suppress_profile(int64 profile_id);

#endif /* CDP_CONSENT_SUPPRESS_H */
