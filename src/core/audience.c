/*
 * src/core/audience.c
 *		Sets of ids as bytes (see audience.h).
 */
#include "core/audience.h"

#define HEADER CDP_CORE_AUDIENCE_HEADER
#define ENTRY CDP_CORE_AUDIENCE_ENTRY

static inline uint32_t
get32(const uint8_t *p)
{
	return (uint32_t) p[0] | (uint32_t) p[1] << 8 | (uint32_t) p[2] << 16 | (uint32_t) p[3] << 24;
}

static inline void
put32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t) (v >> (8 * i));
}

void
cdp_core_audience_put_header(uint8_t *out, uint32_t n)
{
	out[0] = CDP_CORE_AUDIENCE_VERSION;
	out[1] = 0;
	out[2] = 0;
	out[3] = 0;
	put32(out + 4, n);
}

void
cdp_core_audience_put_entry(uint8_t *out, uint64_t key, uint32_t end)
{
	put32(out, (uint32_t) key);
	put32(out + 4, (uint32_t) (key >> 32));
	put32(out + 8, end);
}

bool
cdp_core_audience_open(CdpCoreAudience *a, const uint8_t *bytes, size_t len)
{
	if (len < HEADER || bytes[0] != CDP_CORE_AUDIENCE_VERSION)
		return false;
	a->bytes = bytes;
	a->len = len;
	a->n = get32(bytes + 4);
	return a->n <= (len - HEADER) / ENTRY;
}

static const uint8_t *
entry(const CdpCoreAudience *a, uint32_t i)
{
	return a->bytes + HEADER + (size_t) i * ENTRY;
}

uint64_t
cdp_core_audience_key(const CdpCoreAudience *a, uint32_t i)
{
	return (uint64_t) get32(entry(a, i)) | (uint64_t) get32(entry(a, i) + 4) << 32;
}

uint32_t
cdp_core_audience_find(const CdpCoreAudience *a, uint64_t key)
{
	uint32_t low = 0;
	uint32_t n = a->n;

	while (n > 0)
	{
		uint32_t half = n / 2;

		if (cdp_core_audience_key(a, low + half) < key)
		{
			low += half + 1;
			n -= half + 1;
		}
		else
			n = half;
	}
	return low;
}

const uint8_t *
cdp_core_audience_bitmap(const CdpCoreAudience *a, uint32_t i, size_t *len)
{
	size_t data = HEADER + (size_t) a->n * ENTRY;
	uint32_t start = i == 0 ? 0 : get32(entry(a, i - 1) + 8);
	uint32_t end = get32(entry(a, i) + 8);

	if (end < start || end - start < CDP_CORE_BITMAP_HEADER || end > a->len - data)
		return NULL;
	*len = end - start;
	return a->bytes + data + start;
}

bool
cdp_core_audience_has(const CdpCoreAudience *a, int64_t id)
{
	uint64_t key = (uint64_t) id / CDP_CORE_BITMAP_BITS;
	uint32_t i;
	const uint8_t *bytes;
	size_t len;

	if (id < 0)
		return false;
	i = cdp_core_audience_find(a, key);
	if (i == a->n || cdp_core_audience_key(a, i) != key)
		return false;
	bytes = cdp_core_audience_bitmap(a, i, &len);
	return bytes != NULL &&
		   cdp_core_bitmap_bytes_has(bytes, len, (uint32_t) ((uint64_t) id % CDP_CORE_BITMAP_BITS));
}

uint64_t
cdp_core_audience_count(const CdpCoreAudience *a)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < a->n; i++)
	{
		size_t len;
		const uint8_t *bytes = cdp_core_audience_bitmap(a, i, &len);

		if (bytes != NULL)
			n += cdp_core_bitmap_bytes_count(bytes);
	}
	return n;
}

bool
cdp_core_audience_check(const uint8_t *bytes, size_t len, const char **reason)
{
	CdpCoreAudience a;
	CdpCoreBitmap bitmap;
	uint64_t last = 0;
	size_t used;

	*reason = "it is malformed";
	if (!cdp_core_audience_open(&a, bytes, len))
		return false;
	if (bytes[1] != 0 || bytes[2] != 0 || bytes[3] != 0)
		return false;
	used = HEADER + (size_t) a.n * ENTRY;
	for (uint32_t i = 0; i < a.n; i++)
	{
		uint64_t key = cdp_core_audience_key(&a, i);
		size_t size;
		const uint8_t *part = cdp_core_audience_bitmap(&a, i, &size);

		if (part == NULL || (i > 0 && key <= last) || key > CDP_CORE_AUDIENCE_MAX_KEY)
			return false;
		if (!cdp_core_bitmap_decode(&bitmap, part, size, reason))
			return false;
		*reason = "it is malformed";
		if (bitmap.count == 0)
			return false;
		if (key == CDP_CORE_AUDIENCE_MAX_KEY &&
			cdp_core_bitmap_next(&bitmap, (uint32_t) ((uint64_t) INT64_MAX %
													  CDP_CORE_BITMAP_BITS) +
											  1) < CDP_CORE_BITMAP_BITS)
			return false;
		last = key;
		used += size;
	}
	return used == len;
}
