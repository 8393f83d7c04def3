/*
 * tools/unit/test_bitmap.c
 *		Unit tests of src/core/: bitmap, bitmap_format, words, audience.
 *		Prints TAP.
 *
 * Every operation is compared with an array of booleans, over random sets of
 * all shapes (few, many, runs, all) in both forms of memory, and with CRoaring
 * where its library is installed.  Bytes are read from blocks of their exact
 * size.
 */
#include "core/audience.h"
#include "core/bitmap.h"
#include "core/words.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BITS CDP_CORE_BITMAP_BITS

static int tests = 0;
static int failures = 0;
static uint64_t seed = 88172645463325252u;

static void
ok(bool passed, const char *name)
{
	printf("%s %d - %s\n", passed ? "ok" : "not ok", ++tests, name);
	if (!passed)
		failures++;
}

/* xorshift64 (Marsaglia, 2003): the same histories on every machine */
static uint32_t
chance(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t) ((seed >> 16) % n);
}

/* -- the model -- */

typedef struct Model
{
	bool in[BITS];
} Model;

static void
invent(Model *m)
{
	uint32_t n;

	memset(m->in, 0, sizeof(m->in));
	switch (chance(8))
	{
		case 0: /* nothing */
			return;
		case 1: /* all, or nearly */
			memset(m->in, 1, sizeof(m->in));
			for (n = chance(3); n > 0; n--)
				m->in[chance(BITS)] = false;
			return;
		case 2: /* few */
			for (n = chance(50); n > 0; n--)
				m->in[chance(BITS)] = true;
			return;
		case 3: /* around the longest list */
			for (n = 960 + chance(80); n > 0; n--)
				m->in[chance(BITS)] = true;
			return;
		case 4: /* runs */
		case 5:
			for (n = chance(600); n > 0; n--)
			{
				uint32_t first = chance(BITS);
				uint32_t last = first + chance(1 + chance(40));

				while (first <= last && first < BITS)
					m->in[first++] = true;
			}
			return;
		default: /* any density */
			n = 1 + chance(100);
			for (int i = 0; i < BITS; i++)
				m->in[i] = chance(100) < n;
			return;
	}
}

/* the set in memory, in either form where both are possible */
static void
build(CdpCoreBitmap *a, const Model *m)
{
	uint16_t positions[BITS];
	uint32_t n = 0;

	for (uint32_t i = 0; i < BITS; i++)
		if (m->in[i])
			positions[n++] = (uint16_t) i;
	cdp_core_bitmap_set(a, positions, n);
	if (a->sparse && chance(3) == 0)
	{
		/* as an operation may have left it */
		CdpCoreBitmap all;

		cdp_core_bitmap_clear(&all);
		cdp_core_bitmap_add_range(&all, 0, BITS - 1);
		cdp_core_bitmap_not(a, BITS);
		cdp_core_bitmap_xor(a, &all);
	}
}

static bool
same(CdpCoreBitmap *a, const Model *m)
{
	uint16_t members[BITS];
	uint32_t n = cdp_core_bitmap_members(a, members);
	uint32_t k = 0;

	for (uint32_t i = 0; i < BITS; i++)
	{
		if (m->in[i] != cdp_core_bitmap_has(a, i))
			return false;
		if (m->in[i] && (k >= n || members[k++] != i))
			return false;
	}
	return k == n && cdp_core_bitmap_count(a) == n &&
		   cdp_core_bitmap_is_empty(a) == (n == 0);
}

static uint32_t
model_count(const Model *m)
{
	uint32_t n = 0;

	for (int i = 0; i < BITS; i++)
		n += m->in[i];
	return n;
}

/* bytes that a naive writer makes; the choice of the kind is the format's */
static size_t
naive_encode(const Model *m, uint8_t *out)
{
	uint32_t n = model_count(m);
	uint32_t runs = 0;
	size_t size = 4;
	int kind;

	for (int i = 0; i < BITS; i++)
		runs += m->in[i] && (i == 0 || !m->in[i - 1]);
	kind = 2 * n <= 4 * runs && 2 * n <= 1984 ? 1 : 1984 <= 4 * runs ? 3 :
																	   2;
	out[0] = (uint8_t) kind;
	out[1] = 1;
	out[2] = (uint8_t) n;
	out[3] = (uint8_t) (n >> 8);
	if (kind == 3)
	{
		memset(out + 4, 0, 1984);
		for (int i = 0; i < BITS; i++)
			if (m->in[i])
				out[4 + i / 8] |= (uint8_t) (1 << i % 8);
		return 4 + 1984;
	}
	for (int i = 0; i < BITS; i++)
	{
		bool write = m->in[i];

		if (kind == 2 && write && i > 0 && m->in[i - 1] && i + 1 < BITS && m->in[i + 1])
			write = false;
		if (!write)
			continue;
		out[size++] = (uint8_t) i;
		out[size++] = (uint8_t) (i >> 8);
		if (kind == 2 && (i == 0 || !m->in[i - 1]) && (i + 1 == BITS || !m->in[i + 1]))
		{
			/* a run of one has its position twice */
			out[size++] = (uint8_t) i;
			out[size++] = (uint8_t) (i >> 8);
		}
	}
	return size;
}

static void
test_format(void)
{
	bool passed = true;
	bool refused = true;
	bool loaded = true;
	bool found = true;
	int kinds[4] = {0};
	const char *reason;

	for (int round = 0; round < 1500; round++)
	{
		Model m;
		CdpCoreBitmap a;
		CdpCoreBitmap b;
		uint8_t naive[CDP_CORE_BITMAP_MAX + 4];
		uint8_t out[CDP_CORE_BITMAP_MAX];
		uint8_t *bytes;
		size_t size;

		invent(&m);
		build(&a, &m);
		size = cdp_core_bitmap_encode(&a, out);
		passed &= size == naive_encode(&m, naive) && memcmp(out, naive, size) == 0;
		kinds[out[0] & 3]++;
		bytes = malloc(size);
		memcpy(bytes, out, size);
		passed &= cdp_core_bitmap_decode(&b, bytes, size, &reason) && same(&b, &m);
		loaded &= cdp_core_bitmap_load(&b, bytes, size) && same(&b, &m) &&
				  cdp_core_bitmap_bytes_count(bytes) == model_count(&m);
		for (int i = 0; i < 100; i++)
		{
			uint32_t p = chance(BITS);

			found &= cdp_core_bitmap_bytes_has(bytes, size, p) == m.in[p];
		}
		/* one byte changed is another set, written in its only form, or refused */
		for (int i = 0; i < 20; i++)
		{
			size_t at = chance((uint32_t) size);
			uint8_t old = bytes[at];

			bytes[at] = (uint8_t) (old ^ (1 + chance(255)));
			reason = NULL;
			if (cdp_core_bitmap_decode(&b, bytes, size, &reason))
				refused &= cdp_core_bitmap_encode(&b, out) == size &&
						   memcmp(out, bytes, size) == 0 && !same(&b, &m);
			else
				refused &= reason != NULL;
			/* on trust: no answer is wrong enough to leave memory */
			if (cdp_core_bitmap_load(&b, bytes, size))
			{
				uint16_t members[BITS];

				(void) cdp_core_bitmap_members(&b, members);
				cdp_core_bitmap_or(&b, &a);
			}
			for (uint32_t p = 0; p < BITS; p += 977)
				(void) cdp_core_bitmap_bytes_has(bytes, size, p);
			bytes[at] = old;
		}
		free(bytes);
		for (size_t cut = 0; cut < size; cut += 1 + chance(200))
		{
			bytes = malloc(cut > 0 ? cut : 1);
			memcpy(bytes, naive, cut);
			refused &= !cdp_core_bitmap_decode(&b, bytes, cut, &reason);
			free(bytes);
		}
	}
	{
		/* two runs that touch are one; the shortest form, but not the only one */
		static const uint8_t touching[12] = {2, 1, 200, 0, 0, 0, 99, 0, 100, 0, 199, 0};
		CdpCoreBitmap a;

		refused &= !cdp_core_bitmap_decode(&a, touching, 12, &reason);
	}
	ok(passed, "a set is written in the one form, and reads back");
	ok(loaded, "what we wrote loads");
	ok(found, "members are found in the bytes");
	ok(refused, "other bytes are another set's or refused");
	ok(kinds[1] > 50 && kinds[2] > 50 && kinds[3] > 50, "all three kinds were met");
}

static void
test_operations(void)
{
	bool and = true;
	bool or = true;
	bool andnot = true;
	bool xor = true;
	bool not = true;
	bool tests_agree = true;
	bool counts = true;
	bool order = true;

	for (int round = 0; round < 3000; round++)
	{
		Model ma;
		Model mb;
		Model mr;
		CdpCoreBitmap a;
		CdpCoreBitmap b;
		CdpCoreBitmap r;
		uint32_t n = chance(BITS + 1);
		uint32_t common = 0;
		bool holds = true;
		uint32_t below = 0;

		invent(&ma);
		if (chance(5) == 0)
		{
			/* a subset, or nearly */
			mb = ma;
			for (int i = 0; i < BITS; i++)
				mb.in[i] &= chance(10) > 0;
		}
		else
			invent(&mb);
		build(&a, &ma);
		build(&b, &mb);
		for (int i = 0; i < BITS; i++)
		{
			common += ma.in[i] && mb.in[i];
			holds &= ma.in[i] || !mb.in[i];
		}

#define CHECK(op, formula, flag) \
	do \
	{ \
		for (int i = 0; i < BITS; i++) \
			mr.in[i] = formula; \
		cdp_core_bitmap_copy(&r, &a); \
		cdp_core_bitmap_##op(&r, &b); \
		flag &= same(&r, &mr); \
	} while (0)

		CHECK(and, ma.in[i] && mb.in[i], and);
		CHECK(or, ma.in[i] || mb.in[i], or);
		CHECK(andnot, ma.in[i] && !mb.in[i], andnot);
		CHECK(xor, ma.in[i] != mb.in[i], xor);
		for (int i = 0; i < BITS; i++)
			mr.in[i] = !ma.in[i] && i < (int) n;
		cdp_core_bitmap_copy(&r, &a);
		cdp_core_bitmap_not(&r, n);
		not &= same(&r, &mr);
		/* with itself */
		cdp_core_bitmap_copy(&r, &a);
		cdp_core_bitmap_and(&r, &r);
		cdp_core_bitmap_or(&r, &r);
		and &= same(&r, &ma);
		cdp_core_bitmap_xor(&r, &r);
		xor &= cdp_core_bitmap_is_empty(&r);
		cdp_core_bitmap_copy(&r, &a);
		cdp_core_bitmap_andnot(&r, &r);
		andnot &= cdp_core_bitmap_is_empty(&r);

		counts &= cdp_core_bitmap_and_count(&a, &b) == common;
		tests_agree &= cdp_core_bitmap_overlaps(&a, &b) == (common > 0) &&
					   cdp_core_bitmap_holds(&a, &b) == holds &&
					   cdp_core_bitmap_equal(&a, &b) ==
						   (memcmp(&ma, &mb, sizeof(ma)) == 0) &&
					   cdp_core_bitmap_equal(&a, &a);
		/* order: rank, select and next walk the same list */
		below = 0;
		for (uint32_t i = 0; i < BITS; i++)
		{
			if (chance(100) == 0)
				order &= cdp_core_bitmap_rank(&a, i) == below;
			if (ma.in[i])
			{
				if (chance(20) == 0)
					order &= cdp_core_bitmap_select(&a, below) == i &&
							 cdp_core_bitmap_next(&a, i) == i;
				below++;
			}
		}
		order &= cdp_core_bitmap_rank(&a, BITS) == below &&
				 cdp_core_bitmap_select(&a, below) == BITS &&
				 cdp_core_bitmap_next(&a, BITS) == BITS;
	}
	ok(and, "and");
	ok(or, "or");
	ok(andnot, "and not");
	ok(xor, "xor");
	ok(not, "not within a universe");
	ok(counts, "members in common, without making the intersection");
	ok(tests_agree, "overlaps, holds, equal");
	ok(order, "rank, select, next");
}

static void
test_changes(void)
{
	bool single = true;
	bool applied = true;
	bool ranges = true;

	for (int round = 0; round < 400; round++)
	{
		Model m;
		CdpCoreBitmap a;
		CdpCoreFlip flips[BITS];
		uint32_t n = 0;
		uint32_t one_in = 1 + chance(60);

		invent(&m);
		build(&a, &m);
		for (int i = 0; i < 3000; i++)
		{
			uint32_t p = chance(BITS);

			if (chance(2))
				single &= cdp_core_bitmap_add(&a, p) == !m.in[p];
			else
				single &= cdp_core_bitmap_remove(&a, p) == m.in[p];
			m.in[p] = cdp_core_bitmap_has(&a, p);
		}
		single &= same(&a, &m);

		invent(&m);
		build(&a, &m);
		for (uint32_t i = 0; i < BITS; i++)
			if (chance(one_in) == 0)
			{
				flips[n].position = (uint16_t) i;
				flips[n].in = chance(2);
				m.in[i] = flips[n++].in;
			}
		cdp_core_bitmap_apply(&a, flips, n);
		applied &= same(&a, &m);

		invent(&m);
		build(&a, &m);
		for (int i = 0; i < 20; i++)
		{
			uint32_t first = chance(BITS);
			uint32_t last = first + chance(BITS - first);

			cdp_core_bitmap_add_range(&a, first, last);
			while (first <= last)
				m.in[first++] = true;
			ranges &= same(&a, &m);
			if (chance(4) == 0)
			{
				memset(&m, 0, sizeof(m));
				cdp_core_bitmap_clear(&a);
			}
		}
	}
	ok(single, "add and remove");
	ok(applied, "a sorted list of flips");
	ok(ranges, "ranges");
}

static uint64_t
random_word(void)
{
	if (chance(3) == 0)
		return UINT64_MAX;
	return (uint64_t) chance(UINT32_MAX) << 32 | chance(UINT32_MAX);
}

static void
test_words(void)
{
	const CdpCoreWords *p = &cdp_core_words_portable;
	const CdpCoreWords *v = cdp_core_words_avx2();
	bool passed = true;

	if (v == NULL)
	{
		printf("ok %d - words by vectors # SKIP no AVX2\n", ++tests);
		return;
	}
	for (int round = 0; round < 2000; round++)
	{
		uint64_t a[4][CDP_CORE_BITMAP_WORDS];
		uint64_t b[CDP_CORE_BITMAP_WORDS];

		for (int i = 0; i < CDP_CORE_BITMAP_WORDS; i++)
		{
			/* all ones now and then: sums of bytes must not overflow */
			a[0][i] = random_word();
			b[i] = random_word();
			if (round == 0)
				a[0][i] = b[i] = UINT64_MAX;
		}
		passed &= p->count(a[0]) == v->count(a[0]) &&
				  p->and_count(a[0], b) == v->and_count(a[0], b);

#define BOTH(op) \
	memcpy(a[1], a[0], sizeof(b)); \
	memcpy(a[2], a[0], sizeof(b)); \
	p->op(a[1], b); \
	v->op(a[2], b); \
	passed &= memcmp(a[1], a[2], sizeof(b)) == 0

		BOTH(and);
		BOTH(or);
		BOTH(andnot);
		BOTH(xor);
	}
	ok(passed, "words by vectors are those of the portable code");
}

/* -- CRoaring -- */

typedef void Roaring;

static struct
{
	Roaring *(*of)(size_t n, const uint32_t *values);
	void (*release)(Roaring *r);
	Roaring *(*and)(const Roaring *a, const Roaring *b);
	Roaring *(* or)(const Roaring *a, const Roaring *b);
	Roaring *(*andnot)(const Roaring *a, const Roaring *b);
	Roaring *(*xor)(const Roaring *a, const Roaring *b);
	uint64_t (*count)(const Roaring *r);
	uint64_t (*and_count)(const Roaring *a, const Roaring *b);
	void (*members)(const Roaring *r, uint32_t *out);
	uint64_t (*rank)(const Roaring *r, uint32_t x);
} roaring;

/* The library as a test finds it; neither its headers nor its linking. */
static bool
find_roaring(void)
{
	static const char *const names[] = {"libroaring.so", "libroaring.so.0"};
	void *lib = NULL;
	bool found = true;

	for (int i = 0; i < 2 && lib == NULL; i++)
		lib = dlopen(names[i], RTLD_NOW);
	if (lib == NULL)
		return false;

#define FIND(field, name) \
	*(void **) &roaring.field = dlsym(lib, "roaring_bitmap_" name); \
	found &= roaring.field != NULL

	FIND(of, "of_ptr");
	FIND(release, "free");
	FIND(and, "and");
	FIND(or, "or");
	FIND(andnot, "andnot");
	FIND(xor, "xor");
	FIND(count, "get_cardinality");
	FIND(and_count, "and_cardinality");
	FIND(members, "to_uint32_array");
	FIND(rank, "rank");
	return found;
}

static bool
same_as_roaring(CdpCoreBitmap *a, Roaring *r)
{
	uint32_t *theirs = malloc(sizeof(uint32_t) * BITS);
	uint16_t *ours = malloc(sizeof(uint16_t) * BITS);
	uint32_t n = cdp_core_bitmap_members(a, ours);
	bool passed = roaring.count(r) == n && cdp_core_bitmap_count(a) == n;

	if (passed)
		roaring.members(r, theirs);
	for (uint32_t i = 0; passed && i < n; i++)
		passed &= theirs[i] == ours[i];
	free(theirs);
	free(ours);
	return passed;
}

static Roaring *
to_roaring(const Model *m)
{
	uint32_t *values = malloc(sizeof(uint32_t) * BITS);
	uint32_t n = 0;
	Roaring *r;

	for (uint32_t i = 0; i < BITS; i++)
		if (m->in[i])
			values[n++] = i;
	r = roaring.of(n, values);
	free(values);
	return r;
}

static void
test_roaring(void)
{
	bool passed = true;

	if (!find_roaring())
	{
		printf("ok %d - the same as CRoaring # SKIP libroaring is not installed\n", ++tests);
		return;
	}
	for (int round = 0; round < 2000; round++)
	{
		Model m[2];
		CdpCoreBitmap a;
		CdpCoreBitmap b;
		Roaring *r;
		Roaring *s;
		uint32_t p = chance(BITS);

		invent(&m[0]);
		invent(&m[1]);
		build(&a, &m[0]);
		build(&b, &m[1]);
		r = to_roaring(&m[0]);
		s = to_roaring(&m[1]);
		passed &= roaring.and_count(r, s) == cdp_core_bitmap_and_count(&a, &b);
		/* a chain of random operations */
		for (int i = 0; i < 6; i++)
		{
			Roaring *t;

			switch (chance(4))
			{
				case 0:
					t = roaring.and (r, s);
					cdp_core_bitmap_and(&a, &b);
					break;
				case 1:
					t = roaring.or (r, s);
					cdp_core_bitmap_or(&a, &b);
					break;
				case 2:
					t = roaring.andnot(r, s);
					cdp_core_bitmap_andnot(&a, &b);
					break;
				default:
					t = roaring.xor (r, s);
					cdp_core_bitmap_xor(&a, &b);
					break;
			}
			roaring.release(r);
			r = t;
			passed &= same_as_roaring(&a, r);
			roaring.release(s);
			invent(&m[1]);
			build(&b, &m[1]);
			s = to_roaring(&m[1]);
		}
		/* theirs counts members up to and with p */
		passed &= roaring.rank(r, p) == cdp_core_bitmap_rank(&a, p + 1);
		roaring.release(r);
		roaring.release(s);
	}
	ok(passed, "the same as CRoaring over chains of random operations");
}

/* -- audiences -- */

/* an audience of bitmaps under keys; returns its length */
static size_t
write_audience(uint8_t *out, const uint64_t *keys, CdpCoreBitmap *bitmaps, uint32_t n)
{
	size_t at = CDP_CORE_AUDIENCE_HEADER + (size_t) n * CDP_CORE_AUDIENCE_ENTRY;
	size_t data = at;

	cdp_core_audience_put_header(out, n);
	for (uint32_t i = 0; i < n; i++)
	{
		at += cdp_core_bitmap_encode(&bitmaps[i], out + at);
		cdp_core_audience_put_entry(out + CDP_CORE_AUDIENCE_HEADER +
										i * CDP_CORE_AUDIENCE_ENTRY,
									keys[i], (uint32_t) (at - data));
	}
	return at;
}

static void
test_audience(void)
{
	static uint8_t buffer[8 * (CDP_CORE_BITMAP_MAX + CDP_CORE_AUDIENCE_ENTRY) + 8];
	CdpCoreBitmap bitmaps[8];
	uint64_t keys[8];
	bool accepted = true;
	bool refused = true;
	bool found = true;
	const char *reason = NULL;
	CdpCoreAudience a;
	size_t len;

	for (int round = 0; round < 300; round++)
	{
		static Model models[8];
		uint32_t n = chance(8);
		uint64_t key = chance(3) ? 0 : (uint64_t) chance(UINT32_MAX) * 100000;
		uint64_t total = 0;
		uint8_t *bytes;

		for (uint32_t i = 0; i < n; i++)
		{
			invent(&models[i]);
			models[i].in[chance(BITS)] = true;
			build(&bitmaps[i], &models[i]);
			total += model_count(&models[i]);
			keys[i] = key;
			key += 1 + chance(3);
		}
		len = write_audience(buffer, keys, bitmaps, n);
		bytes = malloc(len);
		memcpy(bytes, buffer, len);
		accepted &= cdp_core_audience_check(bytes, len, &reason) &&
					cdp_core_audience_open(&a, bytes, len) && a.n == n &&
					cdp_core_audience_count(&a) == total;
		for (int i = 0; i < 50 && n > 0; i++)
		{
			uint32_t which = chance(n);
			uint32_t p = chance(BITS);

			found &= cdp_core_audience_has(&a, (int64_t) (keys[which] * BITS + p)) ==
					 models[which].in[p];
			found &= !cdp_core_audience_has(&a, (int64_t) ((keys[n - 1] + 1) * BITS + p));
		}
		found &= !cdp_core_audience_has(&a, -1) && !cdp_core_audience_has(&a, INT64_MIN);
		for (int i = 0; i < 30; i++)
		{
			size_t at = chance((uint32_t) len);
			uint8_t old = bytes[at];

			bytes[at] = (uint8_t) (old ^ (1 + chance(255)));
			reason = NULL;
			if (!cdp_core_audience_check(bytes, len, &reason))
				refused &= reason != NULL;
			if (cdp_core_audience_open(&a, bytes, len))
			{
				(void) cdp_core_audience_count(&a);
				for (int k = 0; k < 20; k++)
					(void) cdp_core_audience_has(&a, (int64_t) chance(UINT32_MAX) * chance(BITS));
			}
			bytes[at] = old;
		}
		free(bytes);
	}
	ok(accepted, "audiences are accepted");
	ok(found, "ids are found in audiences");
	ok(refused, "damaged audiences are read without harm");

	/* what no other test would notice */
	for (int i = 0; i < 2; i++)
	{
		cdp_core_bitmap_clear(&bitmaps[i]);
		cdp_core_bitmap_add(&bitmaps[i], 5);
		keys[i] = 7;
	}
	len = write_audience(buffer, keys, bitmaps, 2);
	ok(!cdp_core_audience_check(buffer, len, &reason), "a key that comes twice is refused");
	cdp_core_bitmap_clear(&bitmaps[1]);
	keys[1] = 8;
	len = write_audience(buffer, keys, bitmaps, 2);
	ok(!cdp_core_audience_check(buffer, len, &reason), "an empty bitmap is refused");
	len = write_audience(buffer, keys, bitmaps, 1);
	buffer[len] = 0;
	ok(cdp_core_audience_check(buffer, len, &reason) &&
		   !cdp_core_audience_check(buffer, len + 1, &reason),
	   "a byte too many is refused");
	buffer[1] = 1;
	ok(!cdp_core_audience_check(buffer, len, &reason), "a flag that nobody knows is refused");
	keys[0] = CDP_CORE_AUDIENCE_MAX_KEY;
	cdp_core_bitmap_clear(&bitmaps[0]);
	cdp_core_bitmap_add(&bitmaps[0], (uint32_t) (INT64_MAX % BITS));
	len = write_audience(buffer, keys, bitmaps, 1);
	accepted = cdp_core_audience_check(buffer, len, &reason) &&
			   cdp_core_audience_open(&a, buffer, len) && cdp_core_audience_has(&a, INT64_MAX);
	cdp_core_bitmap_add(&bitmaps[0], (uint32_t) (INT64_MAX % BITS) + 1);
	len = write_audience(buffer, keys, bitmaps, 1);
	ok(accepted && !cdp_core_audience_check(buffer, len, &reason),
	   "the highest id is 2^63 - 1");
}

int
main(void)
{
	test_format();
	test_operations();
	test_changes();
	test_words();
	test_roaring();
	test_audience();
	printf("1..%d\n", tests);
	return failures > 0;
}
