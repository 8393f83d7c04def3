/*
 * src/core/bitmap.c
 *		Sets of positions in memory (see bitmap.h).
 *
 * Two forms, so four cases an operation: of two lists of positions the result
 * is merged, of a list and words each position is looked up, of two sets of
 * words the words are combined.  Members of words are counted when somebody
 * asks: a chain of operations asks once.
 */
#include "core/bitmap.h"

#include <string.h>

#include "core/words.h"

#define BITS CDP_CORE_BITMAP_BITS
#define WORDS CDP_CORE_BITMAP_WORDS
#define POSITIONS CDP_CORE_BITMAP_POSITIONS

/* A list this many times longer is searched, not walked. */
#define GALLOP 16

static inline bool
bit(const uint64_t *words, uint32_t position)
{
	return (words[position / 64] >> (position % 64)) & 1;
}

/* The first of n positions that is not below one. */
static uint32_t
lower_bound(const uint16_t *positions, uint32_t n, uint32_t position)
{
	const uint16_t *base = positions;

	/* without a branch to guess: the halves are equally likely */
	while (n > 1)
	{
		uint32_t half = n / 2;

		base += base[half - 1] < position ? half : 0;
		n -= half;
	}
	return (uint32_t) (base - positions) + (n == 1 && *base < position);
}

static inline bool
list_has(const CdpCoreBitmap *a, uint32_t position)
{
	uint32_t i = lower_bound(a->u.positions, a->count, position);

	return i < a->count && a->u.positions[i] == position;
}

static void
set_words(uint64_t *words, const uint16_t *positions, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		words[positions[i] / 64] |= UINT64_C(1) << (positions[i] % 64);
}

static void
to_words(CdpCoreBitmap *a)
{
	uint16_t positions[POSITIONS];

	if (!a->sparse)
		return;
	memcpy(positions, a->u.positions, a->count * sizeof(uint16_t));
	memset(a->u.words, 0, sizeof(a->u.words));
	set_words(a->u.words, positions, a->count);
	a->sparse = false;
}

void
cdp_core_bitmap_clear(CdpCoreBitmap *a)
{
	a->count = 0;
	a->sparse = true;
}

void
cdp_core_bitmap_copy(CdpCoreBitmap *a, const CdpCoreBitmap *b)
{
	if (a == b)
		return;
	a->count = b->count;
	a->sparse = b->sparse;
	memcpy(&a->u, &b->u, b->sparse ? b->count * sizeof(uint16_t) : sizeof(b->u));
}

void
cdp_core_bitmap_set(CdpCoreBitmap *a, const uint16_t *positions, uint32_t n)
{
	a->count = n;
	a->sparse = n <= POSITIONS;
	if (a->sparse)
		memcpy(a->u.positions, positions, n * sizeof(uint16_t));
	else
	{
		memset(a->u.words, 0, sizeof(a->u.words));
		set_words(a->u.words, positions, n);
	}
}

void
cdp_core_bitmap_add_range(CdpCoreBitmap *a, uint32_t first, uint32_t last)
{
	uint32_t i = first / 64;
	uint32_t end = last / 64;
	uint64_t head = UINT64_MAX << (first % 64);
	uint64_t tail = UINT64_MAX >> (63 - last % 64);

	if (a->sparse && a->count + (last - first + 1) <= POSITIONS &&
		(a->count == 0 || a->u.positions[a->count - 1] < first))
	{
		for (uint32_t p = first; p <= last; p++)
			a->u.positions[a->count++] = (uint16_t) p;
		return;
	}
	to_words(a);
	a->count = CDP_CORE_UNCOUNTED;
	if (i == end)
	{
		a->u.words[i] |= head & tail;
		return;
	}
	a->u.words[i++] |= head;
	while (i < end)
		a->u.words[i++] = UINT64_MAX;
	a->u.words[end] |= tail;
}

bool
cdp_core_bitmap_add(CdpCoreBitmap *a, uint32_t position)
{
	if (a->sparse)
	{
		uint16_t *p = a->u.positions;
		uint32_t i = lower_bound(p, a->count, position);

		if (i < a->count && p[i] == position)
			return false;
		if (a->count < POSITIONS)
		{
			memmove(p + i + 1, p + i, (a->count - i) * sizeof(uint16_t));
			p[i] = (uint16_t) position;
			a->count++;
			return true;
		}
		to_words(a);
	}
	if (bit(a->u.words, position))
		return false;
	a->u.words[position / 64] |= UINT64_C(1) << (position % 64);
	if (a->count != CDP_CORE_UNCOUNTED)
		a->count++;
	return true;
}

bool
cdp_core_bitmap_remove(CdpCoreBitmap *a, uint32_t position)
{
	if (a->sparse)
	{
		uint16_t *p = a->u.positions;
		uint32_t i = lower_bound(p, a->count, position);

		if (i == a->count || p[i] != position)
			return false;
		memmove(p + i, p + i + 1, (a->count - i - 1) * sizeof(uint16_t));
		a->count--;
		return true;
	}
	if (!bit(a->u.words, position))
		return false;
	a->u.words[position / 64] &= ~(UINT64_C(1) << (position % 64));
	if (a->count != CDP_CORE_UNCOUNTED)
		a->count--;
	return true;
}

/* Flips merged into a list; false: the result is too long for one. */
static bool
apply_to_list(CdpCoreBitmap *a, const CdpCoreFlip *flips, uint32_t n)
{
	uint16_t out[POSITIONS];
	uint32_t nout = 0;
	uint32_t i = 0;
	uint32_t f = 0;

	while (i < a->count || f < n)
	{
		uint32_t position;
		bool in = true;

		if (f == n || (i < a->count && a->u.positions[i] < flips[f].position))
			position = a->u.positions[i++];
		else
		{
			position = flips[f].position;
			in = flips[f++].in;
			i += i < a->count && a->u.positions[i] == position;
		}
		if (!in)
			continue;
		if (nout == POSITIONS)
			return false;
		out[nout++] = (uint16_t) position;
	}
	memcpy(a->u.positions, out, nout * sizeof(uint16_t));
	a->count = nout;
	return true;
}

void
cdp_core_bitmap_apply(CdpCoreBitmap *a, const CdpCoreFlip *flips, uint32_t n)
{
	if (a->sparse && apply_to_list(a, flips, n))
		return;
	to_words(a);
	for (uint32_t i = 0; i < n; i++)
	{
		if (flips[i].in)
			cdp_core_bitmap_add(a, flips[i].position);
		else
			cdp_core_bitmap_remove(a, flips[i].position);
	}
}

/*
 * Positions of a list that are (or are not) among words, moved to the front.
 * Writing first and counting after spares a branch for each.
 */
static uint32_t
filter_by_words(uint16_t *out, const uint16_t *positions, uint32_t n, const uint64_t *words,
				bool wanted)
{
	uint32_t nout = 0;

	for (uint32_t i = 0; i < n; i++)
	{
		uint16_t p = positions[i];

		out[nout] = p;
		nout += bit(words, p) == wanted;
	}
	return nout;
}

/* What of the short list is in the long one; out may be the short one. */
static uint32_t
intersect_by_search(uint16_t *out, const uint16_t *few, uint32_t nfew, const uint16_t *many,
					uint32_t nmany)
{
	uint32_t nout = 0;
	uint32_t j = 0;

	for (uint32_t i = 0; i < nfew && j < nmany; i++)
	{
		uint16_t p = few[i];

		j += lower_bound(many + j, nmany - j, p);
		out[nout] = p;
		nout += j < nmany && many[j] == p;
	}
	return nout;
}

/* The intersection of two lists; out is a's own, or NULL to count only. */
static uint32_t
intersect_lists(uint16_t *out, const CdpCoreBitmap *a, const CdpCoreBitmap *b)
{
	const uint16_t *pa = a->u.positions;
	const uint16_t *pb = b->u.positions;
	uint32_t i = 0;
	uint32_t j = 0;
	uint32_t n = 0;
	uint16_t scratch[POSITIONS];

	if (out == NULL)
		out = scratch;
	if (a->count * GALLOP < b->count)
		return intersect_by_search(out, pa, a->count, pb, b->count);
	if (b->count * GALLOP < a->count)
	{
		/* the search goes through all of a, which out would overwrite */
		n = intersect_by_search(scratch, pb, b->count, pa, a->count);
		memmove(out, scratch, n * sizeof(uint16_t));
		return n;
	}
	while (i < a->count && j < b->count)
	{
		uint16_t x = pa[i];
		uint16_t y = pb[j];

		out[n] = x;
		n += x == y;
		i += x <= y;
		j += y <= x;
	}
	return n;
}

void
cdp_core_bitmap_and(CdpCoreBitmap *a, const CdpCoreBitmap *b)
{
	if (a == b || a->count == 0)
		return;
	if (a->sparse && b->sparse)
		a->count = intersect_lists(a->u.positions, a, b);
	else if (a->sparse)
		a->count = filter_by_words(a->u.positions, a->u.positions, a->count, b->u.words, true);
	else if (b->sparse)
	{
		uint16_t out[POSITIONS];
		uint32_t n = filter_by_words(out, b->u.positions, b->count, a->u.words, true);

		memcpy(a->u.positions, out, n * sizeof(uint16_t));
		a->count = n;
		a->sparse = true;
	}
	else
	{
		cdp_core_words()->and (a->u.words, b->u.words);
		a->count = CDP_CORE_UNCOUNTED;
	}
}

/* Both lists in one, or those of one only; there is room for all. */
static uint32_t
unite_lists(uint16_t *out, const CdpCoreBitmap *a, const CdpCoreBitmap *b, bool common)
{
	const uint16_t *pa = a->u.positions;
	const uint16_t *pb = b->u.positions;
	uint32_t i = 0;
	uint32_t j = 0;
	uint32_t n = 0;

	while (i < a->count && j < b->count)
	{
		uint16_t x = pa[i];
		uint16_t y = pb[j];

		out[n] = x < y ? x : y;
		n += x != y || common;
		i += x <= y;
		j += y <= x;
	}
	while (i < a->count)
		out[n++] = pa[i++];
	while (j < b->count)
		out[n++] = pb[j++];
	return n;
}

/* Or, and xor, which lacks what is common. */
static void
unite(CdpCoreBitmap *a, const CdpCoreBitmap *b, bool common)
{
	CdpCoreBitmap list;

	if (b->count == 0)
		return;
	if (a->sparse && b->sparse && a->count + b->count <= POSITIONS)
	{
		uint16_t out[POSITIONS];
		uint32_t n = unite_lists(out, a, b, common);

		memcpy(a->u.positions, out, n * sizeof(uint16_t));
		a->count = n;
		return;
	}
	if (!a->sparse && !b->sparse)
	{
		if (common)
			cdp_core_words()->or (a->u.words, b->u.words);
		else
			cdp_core_words()->xor (a->u.words, b->u.words);
		a->count = CDP_CORE_UNCOUNTED;
		return;
	}
	/* words and a list: the list goes into the words */
	if (a->sparse)
	{
		cdp_core_bitmap_copy(&list, a);
		cdp_core_bitmap_copy(a, b);
		to_words(a);
	}
	else
		cdp_core_bitmap_copy(&list, b);
	for (uint32_t i = 0; i < list.count; i++)
	{
		uint64_t mask = UINT64_C(1) << (list.u.positions[i] % 64);
		uint64_t *word = &a->u.words[list.u.positions[i] / 64];

		if (common)
			*word |= mask;
		else
			*word ^= mask;
	}
	a->count = CDP_CORE_UNCOUNTED;
}

void
cdp_core_bitmap_or(CdpCoreBitmap *a, const CdpCoreBitmap *b)
{
	if (a != b)
		unite(a, b, true);
}

void
cdp_core_bitmap_xor(CdpCoreBitmap *a, const CdpCoreBitmap *b)
{
	if (a == b)
		cdp_core_bitmap_clear(a);
	else
		unite(a, b, false);
}

void
cdp_core_bitmap_andnot(CdpCoreBitmap *a, const CdpCoreBitmap *b)
{
	if (a == b)
	{
		cdp_core_bitmap_clear(a);
		return;
	}
	if (a->count == 0 || b->count == 0)
		return;
	if (a->sparse && !b->sparse)
		a->count = filter_by_words(a->u.positions, a->u.positions, a->count, b->u.words, false);
	else if (a->sparse)
	{
		uint32_t n = 0;
		uint32_t j = 0;

		for (uint32_t i = 0; i < a->count; i++)
		{
			uint16_t p = a->u.positions[i];

			while (j < b->count && b->u.positions[j] < p)
				j++;
			a->u.positions[n] = p;
			n += j == b->count || b->u.positions[j] != p;
		}
		a->count = n;
	}
	else if (b->sparse)
	{
		for (uint32_t i = 0; i < b->count; i++)
			a->u.words[b->u.positions[i] / 64] &= ~(UINT64_C(1) << (b->u.positions[i] % 64));
		a->count = CDP_CORE_UNCOUNTED;
	}
	else
	{
		cdp_core_words()->andnot(a->u.words, b->u.words);
		a->count = CDP_CORE_UNCOUNTED;
	}
}

void
cdp_core_bitmap_not(CdpCoreBitmap *a, uint32_t n)
{
	to_words(a);
	for (uint32_t i = 0; i < WORDS; i++)
	{
		uint64_t mask = 0;

		if (n >= (i + 1) * 64)
			mask = UINT64_MAX;
		else if (n > i * 64)
			mask = UINT64_MAX >> (64 - n % 64);
		a->u.words[i] = ~a->u.words[i] & mask;
	}
	a->count = CDP_CORE_UNCOUNTED;
}

uint32_t
cdp_core_bitmap_count(CdpCoreBitmap *a)
{
	if (a->count == CDP_CORE_UNCOUNTED)
		a->count = cdp_core_words()->count(a->u.words);
	return a->count;
}

bool
cdp_core_bitmap_is_empty(const CdpCoreBitmap *a)
{
	if (a->count != CDP_CORE_UNCOUNTED)
		return a->count == 0;
	for (int i = 0; i < WORDS; i++)
		if (a->u.words[i] != 0)
			return false;
	return true;
}

bool
cdp_core_bitmap_has(const CdpCoreBitmap *a, uint32_t position)
{
	if (position >= BITS)
		return false;
	return a->sparse ? list_has(a, position) : bit(a->u.words, position);
}

uint32_t
cdp_core_bitmap_and_count(const CdpCoreBitmap *a, const CdpCoreBitmap *b)
{
	uint32_t n = 0;

	if (a->count == 0 || b->count == 0)
		return 0;
	if (!a->sparse && !b->sparse)
		return cdp_core_words()->and_count(a->u.words, b->u.words);
	if (a->sparse && b->sparse)
		return intersect_lists(NULL, a, b);
	if (b->sparse)
	{
		const CdpCoreBitmap *t = a;

		a = b;
		b = t;
	}
	for (uint32_t i = 0; i < a->count; i++)
		n += bit(b->u.words, a->u.positions[i]);
	return n;
}

bool
cdp_core_bitmap_overlaps(const CdpCoreBitmap *a, const CdpCoreBitmap *b)
{
	if (a->sparse || b->sparse)
		return cdp_core_bitmap_and_count(a, b) > 0;
	for (int i = 0; i < WORDS; i++)
		if ((a->u.words[i] & b->u.words[i]) != 0)
			return true;
	return false;
}

/* Is all of b in a? */
bool
cdp_core_bitmap_holds(const CdpCoreBitmap *a, const CdpCoreBitmap *b)
{
	if (b->sparse)
		return cdp_core_bitmap_and_count(a, b) == b->count;
	if (a->sparse)
	{
		/* words may hold as little as a list does */
		uint32_t n = cdp_core_words()->count(b->u.words);

		return n <= a->count && cdp_core_bitmap_and_count(a, b) == n;
	}
	for (int i = 0; i < WORDS; i++)
		if ((b->u.words[i] & ~a->u.words[i]) != 0)
			return false;
	return true;
}

bool
cdp_core_bitmap_equal(const CdpCoreBitmap *a, const CdpCoreBitmap *b)
{
	if (a->sparse && b->sparse)
		return a->count == b->count &&
			   memcmp(a->u.positions, b->u.positions, a->count * sizeof(uint16_t)) == 0;
	if (!a->sparse && !b->sparse)
		return memcmp(a->u.words, b->u.words, sizeof(a->u.words)) == 0;
	return cdp_core_bitmap_holds(a, b) && cdp_core_bitmap_holds(b, a);
}

uint32_t
cdp_core_bitmap_next(const CdpCoreBitmap *a, uint32_t from)
{
	if (from >= BITS)
		return BITS;
	if (a->sparse)
	{
		uint32_t i = lower_bound(a->u.positions, a->count, from);

		return i < a->count ? a->u.positions[i] : BITS;
	}
	for (uint32_t i = from / 64; i < WORDS; i++)
	{
		uint64_t w = a->u.words[i];

		if (i == from / 64)
			w &= UINT64_MAX << (from % 64);
		if (w != 0)
			return i * 64 + (uint32_t) __builtin_ctzll(w);
	}
	return BITS;
}

uint32_t
cdp_core_bitmap_gap(const CdpCoreBitmap *a, uint32_t from)
{
	if (a->sparse)
	{
		while (from < BITS && cdp_core_bitmap_has(a, from))
			from++;
		return from;
	}
	for (uint32_t i = from / 64; i < WORDS; i++)
	{
		uint64_t w = ~a->u.words[i];

		if (i == from / 64)
			w &= UINT64_MAX << (from % 64);
		if (w != 0)
			return i * 64 + (uint32_t) __builtin_ctzll(w);
	}
	return BITS;
}

uint32_t
cdp_core_bitmap_members(const CdpCoreBitmap *a, uint16_t *out)
{
	uint32_t n = 0;

	if (a->sparse)
	{
		memcpy(out, a->u.positions, a->count * sizeof(uint16_t));
		return a->count;
	}
	for (uint32_t i = 0; i < WORDS; i++)
		for (uint64_t w = a->u.words[i]; w != 0; w &= w - 1)
			out[n++] = (uint16_t) (i * 64 + (uint32_t) __builtin_ctzll(w));
	return n;
}

uint32_t
cdp_core_bitmap_rank(const CdpCoreBitmap *a, uint32_t position)
{
	uint32_t n = 0;

	if (position > BITS)
		position = BITS;
	if (a->sparse)
		return lower_bound(a->u.positions, a->count, position);
	for (uint32_t i = 0; i < position / 64; i++)
		n += cdp_core_count_word(a->u.words[i]);
	if (position % 64 != 0)
		n += cdp_core_count_word(a->u.words[position / 64] &
								 (UINT64_MAX >> (64 - position % 64)));
	return n;
}

uint32_t
cdp_core_bitmap_select(const CdpCoreBitmap *a, uint32_t k)
{
	if (a->sparse)
		return k < a->count ? a->u.positions[k] : BITS;
	for (uint32_t i = 0; i < WORDS; i++)
	{
		uint64_t w = a->u.words[i];
		uint32_t n = cdp_core_count_word(w);

		if (k >= n)
		{
			k -= n;
			continue;
		}
		while (k-- > 0)
			w &= w - 1;
		return i * 64 + (uint32_t) __builtin_ctzll(w);
	}
	return BITS;
}
