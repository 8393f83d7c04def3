/*
 * src/core/bitmap_format.c
 *		Bitmaps as bytes (see bitmap.h for the format).
 */
#include "core/bitmap.h"

#include <string.h>

#include "core/words.h"

#define BITS CDP_CORE_BITMAP_BITS
#define WORDS CDP_CORE_BITMAP_WORDS
#define BYTES CDP_CORE_BITMAP_BYTES
#define POSITIONS CDP_CORE_BITMAP_POSITIONS
#define HEADER CDP_CORE_BITMAP_HEADER

enum
{
	KIND_ARRAY = 1,
	KIND_RUNS = 2,
	KIND_BITSET = 3
};

static inline uint32_t
get16(const uint8_t *p)
{
	return (uint32_t) p[0] | (uint32_t) p[1] << 8;
}

static inline void
put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t) v;
	p[1] = (uint8_t) (v >> 8);
}

/* Words from and to little-endian bytes; the same both ways. */
static void
swap_words(uint64_t *words)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
	for (int i = 0; i < WORDS; i++)
		words[i] = __builtin_bswap64(words[i]);
#else
	(void) words;
#endif
}

/* Maximal runs of consecutive positions. */
static uint32_t
count_runs(const CdpCoreBitmap *a)
{
	uint32_t n = 0;
	uint64_t carry = 0;

	if (a->sparse)
	{
		for (uint32_t i = 0; i < a->count; i++)
			n += i == 0 || a->u.positions[i] != a->u.positions[i - 1] + 1;
		return n;
	}
	for (int i = 0; i < WORDS; i++)
	{
		uint64_t w = a->u.words[i];

		/* a bit whose lower neighbour is not set starts a run */
		n += cdp_core_count_word(w & ~(w << 1 | carry));
		carry = w >> 63;
	}
	return n;
}

/* The kind with the fewest bytes, which *size is. */
static int
kind_of(CdpCoreBitmap *a, size_t *size)
{
	size_t array = (size_t) cdp_core_bitmap_count(a) * 2;
	size_t runs = (size_t) count_runs(a) * 4;

	if (array <= runs && array <= BYTES)
	{
		*size = array;
		return KIND_ARRAY;
	}
	if (BYTES <= runs)
	{
		*size = BYTES;
		return KIND_BITSET;
	}
	*size = runs;
	return KIND_RUNS;
}

static void
write_array(const CdpCoreBitmap *a, uint8_t *out)
{
	uint32_t p = cdp_core_bitmap_next(a, 0);

	/* by the count, which a damaged row may have got wrong */
	for (uint32_t i = 0; i < a->count && p < BITS; i++)
	{
		put16(out + 2 * i, p);
		p = cdp_core_bitmap_next(a, p + 1);
	}
}

static void
write_runs(const CdpCoreBitmap *a, uint8_t *out)
{
	uint32_t first = cdp_core_bitmap_next(a, 0);

	while (first < BITS)
	{
		uint32_t last = cdp_core_bitmap_gap(a, first) - 1;

		put16(out, first);
		put16(out + 2, last);
		out += 4;
		first = cdp_core_bitmap_next(a, last + 1);
	}
}

static void
write_bitset(const CdpCoreBitmap *a, uint8_t *out)
{
	uint64_t words[WORDS];

	/* more than POSITIONS members: they are words already */
	memcpy(words, a->u.words, sizeof(words));
	swap_words(words);
	memcpy(out, words, BYTES);
}

size_t
cdp_core_bitmap_encode(CdpCoreBitmap *a, uint8_t *out)
{
	size_t size;
	int kind = kind_of(a, &size);

	out[0] = (uint8_t) kind;
	out[1] = CDP_CORE_BITMAP_VERSION;
	put16(out + 2, a->count);
	if (kind == KIND_ARRAY)
		write_array(a, out + HEADER);
	else if (kind == KIND_RUNS)
		write_runs(a, out + HEADER);
	else
		write_bitset(a, out + HEADER);
	return HEADER + size;
}

static bool
load_array(CdpCoreBitmap *a, const uint8_t *data, size_t len)
{
	bool ascending = true;
	uint32_t n = a->count;

	if (len != (size_t) n * 2 || n > POSITIONS)
		return false;
	a->sparse = true;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	memcpy(a->u.positions, data, len);
#else
	for (uint32_t i = 0; i < n; i++)
		a->u.positions[i] = (uint16_t) get16(data + 2 * i);
#endif
	for (uint32_t i = 1; i < n; i++)
		ascending &= a->u.positions[i - 1] < a->u.positions[i];
	return ascending && (n == 0 || a->u.positions[n - 1] < BITS);
}

static bool
load_runs(CdpCoreBitmap *a, const uint8_t *data, size_t len)
{
	uint32_t count = a->count;
	uint32_t total = 0;
	uint32_t least = 0;

	if (len % 4 != 0 || len > BYTES)
		return false;
	/* a list where that is enough, as everywhere */
	cdp_core_bitmap_clear(a);
	if (count > POSITIONS)
	{
		a->sparse = false;
		memset(a->u.words, 0, sizeof(a->u.words));
	}
	for (size_t i = 0; i < len; i += 4)
	{
		uint32_t first = get16(data + i);
		uint32_t last = get16(data + i + 2);

		if (first < least || last < first || last >= BITS)
			return false;
		cdp_core_bitmap_add_range(a, first, last);
		total += last - first + 1;
		least = last + 2;
	}
	a->count = total;
	return total == count;
}

void
cdp_core_bitmap_from_bits(CdpCoreBitmap *a, const uint8_t *bits)
{
	a->sparse = false;
	a->count = CDP_CORE_UNCOUNTED;
	memcpy(a->u.words, bits, BYTES);
	swap_words(a->u.words);
}

static bool
load_bitset(CdpCoreBitmap *a, const uint8_t *data, size_t len)
{
	uint32_t count;

	/* fewer would be a list */
	if (len != BYTES || a->count <= POSITIONS || a->count > BITS)
		return false;
	count = a->count;
	cdp_core_bitmap_from_bits(a, data);
	a->count = count;
	return true;
}

bool
cdp_core_bitmap_load(CdpCoreBitmap *a, const uint8_t *bytes, size_t len)
{
	if (len < HEADER || bytes[1] != CDP_CORE_BITMAP_VERSION)
		return false;
	a->count = get16(bytes + 2);
	switch (bytes[0])
	{
		case KIND_ARRAY:
			return load_array(a, bytes + HEADER, len - HEADER);
		case KIND_RUNS:
			return load_runs(a, bytes + HEADER, len - HEADER);
		case KIND_BITSET:
			return load_bitset(a, bytes + HEADER, len - HEADER);
		default:
			return false;
	}
}

bool
cdp_core_bitmap_decode(CdpCoreBitmap *a, const uint8_t *bytes, size_t len, const char **reason)
{
	size_t size;
	uint32_t count;

	if (len < HEADER)
	{
		*reason = "it is too short";
		return false;
	}
	if (bytes[1] != CDP_CORE_BITMAP_VERSION)
	{
		*reason = "its version is unknown";
		return false;
	}
	if (!cdp_core_bitmap_load(a, bytes, len))
	{
		*reason = "it is malformed";
		return false;
	}
	count = a->count;
	if (!a->sparse)
		a->count = CDP_CORE_UNCOUNTED;
	if (cdp_core_bitmap_count(a) != count)
	{
		*reason = "its number of members is wrong";
		return false;
	}
	if (kind_of(a, &size) != bytes[0])
	{
		*reason = "it is not in the shortest form";
		return false;
	}
	return true;
}

uint32_t
cdp_core_bitmap_bytes_count(const uint8_t *bytes)
{
	return get16(bytes + 2);
}

/* Is one of n pairs (array: of one number each) at or around the position? */
static bool
search(const uint8_t *data, size_t n, size_t width, uint32_t position)
{
	size_t low = 0;

	/* the last entry that starts at or before the position */
	while (n > 0)
	{
		size_t half = n / 2;

		if (get16(data + (low + half) * width) <= position)
		{
			low += half + 1;
			n -= half + 1;
		}
		else
			n = half;
	}
	return low > 0 && get16(data + low * width - 2) >= position;
}

bool
cdp_core_bitmap_bytes_has(const uint8_t *bytes, size_t len, uint32_t position)
{
	const uint8_t *data = bytes + HEADER;

	if (len < HEADER || position >= BITS)
		return false;
	len -= HEADER;
	switch (bytes[0])
	{
		case KIND_ARRAY:
			return search(data, len / 2, 2, position);
		case KIND_RUNS:
			return search(data, len / 4, 4, position);
		case KIND_BITSET:
			return len == BYTES && (data[position / 8] >> (position % 8) & 1);
		default:
			return false;
	}
}
