/*
 * src/core/tcf.h
 *		TC strings of IAB Europe's Transparency and Consent Framework, version
 *		2 (policies 2.0 to 2.3), and of IAB Canada's, version 1.
 *
 * Pure C: no server headers, no allocation, no recursion.  Work is
 * proportional to the length of the string (times its logarithm where ranges
 * are out of order), memory to its length.
 *
 * What is written is reported as it is written; only what has no meaning at
 * all is refused.  What a signal allows is for others to say.
 */
#ifndef CDP_CORE_TCF_H
#define CDP_CORE_TCF_H

#include "core/vendors.h"

/* Widths of sets of purposes and special features, in bits: bit 1 is the most significant. */
#define CDP_TCF_PURPOSES 24
#define CDP_TCF_SPECIAL_FEATURES 12

typedef struct CdpTcfRestriction
{
	unsigned char purpose;
	unsigned char type; /* 0 not allowed, 1 consent, 2 legitimate interest, 3 undefined */
	CdpVendors vendors;
} CdpTcfRestriction;

/*
 * Both frameworks.  Canada says express consent where Europe says consent, and
 * implied consent where Europe says legitimate interest; it has no
 * is_service_specific, no purpose_one_treatment and no allowed vendors.
 */
typedef struct CdpTcf
{
	uint64_t created; /* deciseconds since 1970-01-01 UTC */
	uint64_t last_updated;
	uint16_t cmp_id;
	uint16_t cmp_version;
	uint16_t vendor_list_version;
	unsigned char version;
	unsigned char consent_screen;
	unsigned char tcf_policy_version;
	char consent_language[2]; /* A to Z */
	char publisher_cc[2];
	bool is_service_specific;
	bool use_non_standard_texts;
	bool purpose_one_treatment;
	uint32_t special_features;
	uint32_t purposes_consent;
	uint32_t purposes_li;
	CdpVendors vendor_consent;
	CdpVendors vendor_li;
	CdpTcfRestriction *restriction;
	uint32_t n_restrictions;

	bool has_disclosed;
	bool has_allowed;
	bool has_publisher;
	CdpVendors disclosed;
	CdpVendors allowed;
	uint32_t publisher_consent;
	uint32_t publisher_li;
	unsigned char num_custom; /* 0 to 63: width of the next two */
	uint64_t custom_consent;
	uint64_t custom_li;
} CdpTcf;

/*
 * Memory to decode n characters in, aligned for pointers.  The result points
 * into it.
 */
extern size_t cdp_core_tcf_scratch(size_t n);

extern bool cdp_core_tcf_decode(const char *text, size_t len, size_t start, void *scratch,
								CdpTcf *tcf, CdpSignalError *error);
extern bool cdp_core_tcf_decode_canada(const char *text, size_t len, size_t start, void *scratch,
									   CdpTcf *tcf, CdpSignalError *error);

#endif /* CDP_CORE_TCF_H */
