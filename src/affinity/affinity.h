/*
 * src/affinity/affinity.h
 *		The type cdp.affinity for the server (core/affinity.h has the idea).
 *
 * On disk a value is the stored form of core/affinity_flat.c behind a varlena
 * header.  In memory it may be an expanded object (affinity_agg.c) to which a
 * row is added in constant time.
 */
#ifndef CDP_AFFINITY_H
#define CDP_AFFINITY_H

#include "utils/timestamp.h"

#include "core/affinity.h"

/* Slots if nobody says how many: below the TOAST threshold with values of 40 bytes. */
#define CDP_AFFINITY_DEFAULT_SLOTS 32

#define CDP_AFFINITY_DEFAULT_HALF_LIFE (30 * USECS_PER_DAY)

/* affinity.c */
extern void cdp_affinity_read(Datum datum, CdpAffinityView *view);
extern Datum cdp_affinity_datum(const CdpAffinityView *view);
extern void cdp_affinity_raise(CdpAffinityStatus status);
extern int64 cdp_affinity_half_life(const Interval *interval);

/* affinity_agg.c: the summary within an expanded datum, or NULL */
extern const CdpAffinity *cdp_affinity_expanded(Datum datum);

#endif /* CDP_AFFINITY_H */
