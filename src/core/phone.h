/*
 * src/core/phone.h
 *		Telephone numbers as people write them, to E.164.
 *
 * Pure C: no server headers, no allocation, no locale.
 */
#ifndef CDP_CORE_PHONE_H
#define CDP_CORE_PHONE_H

#include <stdbool.h>
#include <stddef.h>

#include "core/verdict.h"

/*
 * Version of the rules and of the table of numbering plans.  Any change of a
 * result, a new range included, needs a new number.
 */
#define CDP_PHONE_VERSION 1

/* "+", 15 digits, ";ext=", 9 digits */
#define CDP_MAX_PHONE_BYTES 30

/* Numbers that begin with "pattern" have "min" to "max" digits, without the country code. */
typedef struct CdpCorePhoneRange
{
	const char *pattern; /* leading digits: a digit, '.', or a class such as [2-57] */
	unsigned char min;
	unsigned char max;
} CdpCorePhoneRange;

typedef struct CdpCorePhonePlan
{
	const char *code; /* country code; none is a prefix of another */
	const char *trunk; /* dialled before a number at home: words; "+1": only after the code */
	const char *exit; /* dialled to call abroad: patterns, as words */
	/*
	 * Least digits of a number that is taken without its trunk prefix.  It is
	 * above the longest number that can be dialled without an area code, or
	 * NO_BARE where lengths vary so much that one cannot be told from the other.
	 */
	unsigned char bare;
	const CdpCorePhoneRange *range;
	unsigned char n_range;
} CdpCorePhonePlan;

#define CDP_CORE_PHONE_NO_BARE 255

typedef struct CdpCorePhoneRegion
{
	char region[3]; /* ISO 3166-1 alpha-2 */
	const char *name;
	const CdpCorePhonePlan *plan;
} CdpCorePhoneRegion;

/* phone_table.c: sorted by region */
#define CDP_CORE_PHONE_REGIONS 79
extern const CdpCorePhoneRegion cdp_core_phone_regions[CDP_CORE_PHONE_REGIONS];

extern const CdpCorePhonePlan *cdp_core_phone_plan_of_code(const char *digits, size_t n);

/* phone.c */
extern const CdpCorePhoneRegion *cdp_core_phone_region(const char *region, size_t len);
extern CdpVerdict cdp_core_phone_normalise(const CdpCorePhoneRegion *region,
										   const char *value, size_t len, bool utf8,
										   char *out, size_t *out_len);
extern bool cdp_core_phone_match(const char *pattern, size_t pattern_len,
								 const char *digits, size_t n, size_t *matched);

#endif /* CDP_CORE_PHONE_H */
