/*
 * src/consent/consent.h
 *		Who may see whom, and what people allowed.
 */
#ifndef CDP_CONSENT_CONSENT_H
#define CDP_CONSENT_CONSENT_H

#include "fmgr.h"
#include "utils/timestamp.h"

/* One statement of a person about a purpose, for one of her identifiers. */
typedef struct CdpConsentRecord
{
	int64 node_id;
	int32 purpose_id;
	const char *state; /* granted, denied, withdrawn, objected, restricted */
	TimestampTz ts;
	uint8 message_key[16];
	TimestampTz valid_until; /* DT_NOEND: until further notice */
	const char *source;
	const char *message_id;
} CdpConsentRecord;

extern bool cdp_consent_state_is_known(const char *state);
extern int32 cdp_consent_purpose(const char *name);
extern void cdp_consent_record(const CdpConsentRecord *records, int n,
							   Oid caller);
extern void cdp_consent_refresh(const int64 *profiles, int n,
								const int32 *dead_ords, int ndead);

/* cdp.allowed(ord) */
extern Datum cdp_allowed(PG_FUNCTION_ARGS);
extern bool cdp_consent_is_used(void);
extern bool cdp_consent_sees(Oid role, int32 ord);

/*
 * Whom a role sees, as bits by ord, under the active snapshot; NULL: everybody.
 * Bits at and beyond *nbits, a multiple of 8, are not set.
 */
extern const uint8 *cdp_consent_bits(Oid role, int64 *nbits);
extern bool cdp_consent_has_kind(Oid role, const char *kind);
extern bool cdp_consent_has_purpose(Oid role, int32 purpose_id);

#endif /* CDP_CONSENT_CONSENT_H */
