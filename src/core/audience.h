/*
 * src/core/audience.h
 *		A set of ids (0 to 2^63 - 1) as bytes: a directory and bitmaps.
 *
 *		byte 0		version of the format: 1
 *		bytes 1-3	0
 *		bytes 4-7	number n of bitmaps
 *		directory	n times: key (8 bytes), where the bitmap ends (4 bytes)
 *		bitmaps		one after the other, of the format of core/bitmap.h
 *
 * An id is key * 15,872 + position.  Keys ascend, no bitmap is empty, numbers
 * are little-endian: equal sets have equal bytes.
 */
#ifndef CDP_CORE_AUDIENCE_H
#define CDP_CORE_AUDIENCE_H

#include "core/bitmap.h"

#define CDP_CORE_AUDIENCE_VERSION 1
#define CDP_CORE_AUDIENCE_HEADER 8
#define CDP_CORE_AUDIENCE_ENTRY 12

/* The key of the highest id. */
#define CDP_CORE_AUDIENCE_MAX_KEY ((uint64_t) INT64_MAX / CDP_CORE_BITMAP_BITS)

/* Bytes to be read; they belong to the caller. */
typedef struct CdpCoreAudience
{
	const uint8_t *bytes;
	size_t len;
	uint32_t n; /* bitmaps */
} CdpCoreAudience;

/* Looks at the header only; false: this is no audience. */
extern bool cdp_core_audience_open(CdpCoreAudience *a, const uint8_t *bytes, size_t len);

/* Looks at everything: true for the one form of a set only. */
extern bool cdp_core_audience_check(const uint8_t *bytes, size_t len, const char **reason);

extern uint64_t cdp_core_audience_key(const CdpCoreAudience *a, uint32_t i);

/* The first bitmap whose key is not below this one; n if there is none. */
extern uint32_t cdp_core_audience_find(const CdpCoreAudience *a, uint64_t key);

/* Bytes of a bitmap, within those of the audience; NULL if damaged. */
extern const uint8_t *cdp_core_audience_bitmap(const CdpCoreAudience *a, uint32_t i, size_t *len);

extern bool cdp_core_audience_has(const CdpCoreAudience *a, int64_t id);
extern uint64_t cdp_core_audience_count(const CdpCoreAudience *a);

/* Writes header and entries of the directory. */
extern void cdp_core_audience_put_header(uint8_t *out, uint32_t n);
extern void cdp_core_audience_put_entry(uint8_t *out, uint64_t key, uint32_t end);

#endif /* CDP_CORE_AUDIENCE_H */
