/*
 * src/core/vendors.h
 *		Consent signals: sets of vendor ids, as ranges.
 *
 * Pure C: no server headers, no allocation, no recursion.  A set that is
 * written as ranges may name an id thousands of times; it is never written
 * out id by id, so the work is bounded by the length of the signal.
 */
#ifndef CDP_CORE_VENDORS_H
#define CDP_CORE_VENDORS_H

#include "core/bits.h"

/*
 * Ascending, disjoint and not adjacent: range[i] >> 16 is the first id,
 * range[i] & 0xFFFF the last.
 */
typedef struct CdpVendors
{
	const uint32_t *range;
	uint32_t n;
	uint16_t max; /* the largest id there could be, as written; 0 where none is written */
	bool is_range; /* written as ranges, not as a field of bits */
} CdpVendors;

/*
 * Where ranges are put.  A range takes at least two bits of a signal, but for
 * one at the end of each set, so 3 n + 16 have room for n characters.
 */
typedef struct CdpVendorRoom
{
	uint32_t *range;
	uint32_t n;
} CdpVendorRoom;

#define CDP_CORE_VENDOR_ROOM(n) (3 * (n) + 16)

/* vendors.c */
extern bool cdp_core_vendors_read(CdpBits *bits, CdpVendorRoom *room, CdpVendors *set,
								  CdpSignalError *error);
extern bool cdp_core_vendors_read_ranges(CdpBits *bits, uint32_t max, CdpVendorRoom *room,
										 CdpVendors *set, CdpSignalError *error);
extern bool cdp_core_vendors_read_optimized(CdpBits *bits, CdpVendorRoom *room, CdpVendors *set,
											CdpSignalError *error);

#endif /* CDP_CORE_VENDORS_H */
