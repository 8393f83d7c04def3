/*
 * src/consent/consent.h
 *		Who may see whom, and what people allowed.
 */
#ifndef CDP_CONSENT_CONSENT_H
#define CDP_CONSENT_CONSENT_H

#include "fmgr.h"
#include "utils/timestamp.h"

/* The state of a record that says which jurisdiction is whose; its purpose is 0. */
#define CDP_CONSENT_STATED "stated"

/* Who allows by default was shown no notice, and needs none. */
#define CDP_NEEDS_NO_NOTICE "2147483647"

/* The channel of what holds for all of them. */
#define CDP_ALL_CHANNELS "all"

/*
 * What a record says besides yes or no: on which channel, why it may be, what
 * the person was told and where she was asked.  NULL, 0 and DT_NOBEGIN: unsaid.
 */
typedef struct CdpConsentTerms
{
	const char *channel; /* never NULL */
	const char *basis;
	int32 notice_id; /* a version of the purpose's notice */
	const char *collection_point;
	TimestampTz valid_from;
	const char *jurisdiction;
	const char *signal; /* as it came, its kind before it */
} CdpConsentTerms;

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
	const CdpConsentTerms *terms; /* NULL: none but for all channels */
} CdpConsentRecord;

/*
 * Does the row "row" of consent_ord, consent_node or consent_current hold at
 * "now", in SQL?  "until" is the column its end is in.  allowed.c asks the same
 * in C.
 */
#define CDP_CONSENT_HOLDS(row, until, now) \
	"(" row "." until " > " now " AND (" row ".valid_from IS NULL OR " row ".valid_from <= " now \
	") AND NOT EXISTS (SELECT FROM cdp_data.notice w WHERE w.purpose_id = " row ".purpose_id " \
	"AND w.required_from <= " now " AND w.notice_id > coalesce(" row ".notice_id, 0)))"

extern bool cdp_consent_state_is_known(const char *state);
extern int32 cdp_consent_purpose(const char *name);
extern int32 cdp_consent_notice(int32 purpose_id, const char *version);
extern bool cdp_consent_channel_exists(const char *name);
extern void cdp_consent_record(const CdpConsentRecord *records, int n,
							   Oid caller);
extern void cdp_consent_refresh(const int64 *profiles, int n,
								const int32 *dead_ords, int ndead);

/* cdp.allowed(ord) */
extern Datum cdp_allowed(PG_FUNCTION_ARGS);
extern bool cdp_consent_is_used(void);

/* Purposes that are allowed by default, and where; returns how many pairs. */
extern int cdp_consent_defaults(const int32 **purposes, const char *const **jurisdictions);
extern bool cdp_consent_sees(Oid role, int32 ord);

/*
 * Whom a role sees, as bits by ord, under the active snapshot; NULL: everybody.
 * Bits at and beyond *nbits, a multiple of 8, are not set.
 */
extern const uint8 *cdp_consent_bits(Oid role, int64 *nbits);
extern bool cdp_consent_has_kind(Oid role, const char *kind);
extern bool cdp_consent_has_purpose(Oid role, int32 purpose_id);

#endif /* CDP_CONSENT_CONSENT_H */
