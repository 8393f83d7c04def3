/*
 * src/core/bitmap.h
 *		Sets of positions below 15,872: the unit of segments and audiences.
 *
 * Why 15,872 = 31 x 512.  A chunk of a segment is one row that must never be
 * toasted and must leave room for a second version of itself in its page: at
 * most 2,032 bytes, so that four fit.  Tuple header 24, key 8, length 4 and
 * the header below leave 1,992; 1,984 is what 512-bit vectors divide.  2^14
 * positions would need 2,048 bytes, and a page would hold three rows and no
 * new version.
 *
 * Outside of memory a set is written in one way only (equal sets have equal
 * bytes):
 *
 *		byte 0		kind: 1 array, 2 runs, 3 bitset
 *		byte 1		version of the format: 1
 *		bytes 2-3	members, little-endian
 *		array		positions, ascending, two bytes each
 *		runs		first and last position of each maximal run, two bytes each
 *		bitset		1,984 bytes; position i is bit i % 8 of byte i / 8
 *
 * The kind is the one with the fewest bytes; array before bitset before runs
 * where they are equal.  All numbers are little-endian.
 *
 * In memory a set has positions, if there are at most 992, or words.
 */
#ifndef CDP_CORE_BITMAP_H
#define CDP_CORE_BITMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CDP_CORE_BITMAP_BITS 15872
#define CDP_CORE_BITMAP_WORDS (CDP_CORE_BITMAP_BITS / 64)
#define CDP_CORE_BITMAP_BYTES (CDP_CORE_BITMAP_BITS / 8)

/* As many positions as fit where the words are. */
#define CDP_CORE_BITMAP_POSITIONS (CDP_CORE_BITMAP_BYTES / 2)

#define CDP_CORE_BITMAP_HEADER 4
#define CDP_CORE_BITMAP_MAX (CDP_CORE_BITMAP_HEADER + CDP_CORE_BITMAP_BYTES)
#define CDP_CORE_BITMAP_VERSION 1

/* Members of words that nobody counted yet. */
#define CDP_CORE_UNCOUNTED UINT32_MAX

typedef struct CdpCoreBitmap
{
	uint32_t count; /* ask cdp_core_bitmap_count() */
	bool sparse; /* positions, ascending; else words */
	union
	{
		uint64_t words[CDP_CORE_BITMAP_WORDS];
		uint16_t positions[CDP_CORE_BITMAP_POSITIONS];
	} u;
} CdpCoreBitmap;

/* One position enters or leaves. */
typedef struct CdpCoreFlip
{
	uint16_t position;
	bool in;
} CdpCoreFlip;

extern void cdp_core_bitmap_clear(CdpCoreBitmap *a);
extern void cdp_core_bitmap_copy(CdpCoreBitmap *a, const CdpCoreBitmap *b);

/* Adds first to last, both below CDP_CORE_BITMAP_BITS, first <= last. */
extern void cdp_core_bitmap_add_range(CdpCoreBitmap *a, uint32_t first, uint32_t last);

/* The set of n ascending, distinct positions. */
extern void cdp_core_bitmap_set(CdpCoreBitmap *a, const uint16_t *positions, uint32_t n);

/* The set of the bits of CDP_CORE_BITMAP_BYTES bytes, as in a bitset. */
extern void cdp_core_bitmap_from_bits(CdpCoreBitmap *a, const uint8_t *bits);

/* Add and remove; false: it was so already. */
extern bool cdp_core_bitmap_add(CdpCoreBitmap *a, uint32_t position);
extern bool cdp_core_bitmap_remove(CdpCoreBitmap *a, uint32_t position);

/* Flips with ascending, distinct positions. */
extern void cdp_core_bitmap_apply(CdpCoreBitmap *a, const CdpCoreFlip *flips, uint32_t n);

/* a becomes the result; b may be a. */
extern void cdp_core_bitmap_and(CdpCoreBitmap *a, const CdpCoreBitmap *b);
extern void cdp_core_bitmap_or(CdpCoreBitmap *a, const CdpCoreBitmap *b);
extern void cdp_core_bitmap_andnot(CdpCoreBitmap *a, const CdpCoreBitmap *b);
extern void cdp_core_bitmap_xor(CdpCoreBitmap *a, const CdpCoreBitmap *b);

/* Those below n that are not in a; n <= CDP_CORE_BITMAP_BITS. */
extern void cdp_core_bitmap_not(CdpCoreBitmap *a, uint32_t n);

extern uint32_t cdp_core_bitmap_count(CdpCoreBitmap *a);
extern bool cdp_core_bitmap_is_empty(const CdpCoreBitmap *a);
extern bool cdp_core_bitmap_has(const CdpCoreBitmap *a, uint32_t position);

/* Members of a and b, without making their intersection. */
extern uint32_t cdp_core_bitmap_and_count(const CdpCoreBitmap *a, const CdpCoreBitmap *b);
extern bool cdp_core_bitmap_overlaps(const CdpCoreBitmap *a, const CdpCoreBitmap *b);
extern bool cdp_core_bitmap_holds(const CdpCoreBitmap *a, const CdpCoreBitmap *b);
extern bool cdp_core_bitmap_equal(const CdpCoreBitmap *a, const CdpCoreBitmap *b);

/* The first member at or after a position, or CDP_CORE_BITMAP_BITS. */
extern uint32_t cdp_core_bitmap_next(const CdpCoreBitmap *a, uint32_t from);

/* The same for positions that are no members. */
extern uint32_t cdp_core_bitmap_gap(const CdpCoreBitmap *a, uint32_t from);

/* All members, ascending; out has room for them.  Returns their number. */
extern uint32_t cdp_core_bitmap_members(const CdpCoreBitmap *a, uint16_t *out);

/* Members below a position; the k-th member from 0, or ..._BITS. */
extern uint32_t cdp_core_bitmap_rank(const CdpCoreBitmap *a, uint32_t position);
extern uint32_t cdp_core_bitmap_select(const CdpCoreBitmap *a, uint32_t k);

/* -- the form outside of memory: bitmap_format.c -- */

/* Writes at most CDP_CORE_BITMAP_MAX bytes; returns how many. */
extern size_t cdp_core_bitmap_encode(CdpCoreBitmap *a, uint8_t *out);

/*
 * Reads what we wrote ourselves.  Whatever the bytes, memory stays sound;
 * false when they cannot be a set.  That the form is the only one, and the
 * number of members of a bitset, are taken on trust.
 */
extern bool cdp_core_bitmap_load(CdpCoreBitmap *a, const uint8_t *bytes, size_t len);

/* Reads what anybody wrote: true for the one form of a set only. */
extern bool cdp_core_bitmap_decode(CdpCoreBitmap *a, const uint8_t *bytes, size_t len,
								   const char **reason);

/* Of bytes that load accepts: members, and whether one is there. */
extern uint32_t cdp_core_bitmap_bytes_count(const uint8_t *bytes);
extern bool cdp_core_bitmap_bytes_has(const uint8_t *bytes, size_t len, uint32_t position);

#endif /* CDP_CORE_BITMAP_H */
