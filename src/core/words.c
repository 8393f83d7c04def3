/*
 * src/core/words.c
 *		Operations on the words of a bitmap (see words.h).
 *
 * Counting is where vectors pay most.  AVX2 looks nibbles up in a table of 16
 * counts by a byte shuffle, 32 at once, and adds bytes for 31 vectors, for
 * 31 x 8 still fits a byte.  248 words are exactly 2 x 31 vectors.
 */
#include "core/words.h"

#include <stddef.h>

#include "core/bitmap.h"

#define WORDS CDP_CORE_BITMAP_WORDS

static void
portable_and(uint64_t *a, const uint64_t *b)
{
	for (int i = 0; i < WORDS; i++)
		a[i] &= b[i];
}

static void
portable_or(uint64_t *a, const uint64_t *b)
{
	for (int i = 0; i < WORDS; i++)
		a[i] |= b[i];
}

static void
portable_andnot(uint64_t *a, const uint64_t *b)
{
	for (int i = 0; i < WORDS; i++)
		a[i] &= ~b[i];
}

static void
portable_xor(uint64_t *a, const uint64_t *b)
{
	for (int i = 0; i < WORDS; i++)
		a[i] ^= b[i];
}

static uint32_t
portable_count(const uint64_t *a)
{
	uint32_t n = 0;

	for (int i = 0; i < WORDS; i++)
		n += cdp_core_count_word(a[i]);
	return n;
}

static uint32_t
portable_and_count(const uint64_t *a, const uint64_t *b)
{
	uint32_t n = 0;

	for (int i = 0; i < WORDS; i++)
		n += cdp_core_count_word(a[i] & b[i]);
	return n;
}

const CdpCoreWords cdp_core_words_portable = {
	"portable", portable_and, portable_or, portable_andnot, portable_xor,
	portable_count, portable_and_count};

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))

/* Vectors whose byte counts fit a byte: 31 x 8 = 248. */
#define BLOCK 31
#define VECTORS (WORDS / 4)

AVX2 static inline __m256i
load(const uint64_t *p, int i)
{
	return _mm256_loadu_si256((const __m256i *) p + i);
}

AVX2 static inline void
store(uint64_t *p, int i, __m256i v)
{
	_mm256_storeu_si256((__m256i *) p + i, v);
}

AVX2 static void
avx2_and(uint64_t *a, const uint64_t *b)
{
	for (int i = 0; i < VECTORS; i++)
		store(a, i, _mm256_and_si256(load(a, i), load(b, i)));
}

AVX2 static void
avx2_or(uint64_t *a, const uint64_t *b)
{
	for (int i = 0; i < VECTORS; i++)
		store(a, i, _mm256_or_si256(load(a, i), load(b, i)));
}

AVX2 static void
avx2_andnot(uint64_t *a, const uint64_t *b)
{
	for (int i = 0; i < VECTORS; i++)
		store(a, i, _mm256_andnot_si256(load(b, i), load(a, i)));
}

AVX2 static void
avx2_xor(uint64_t *a, const uint64_t *b)
{
	for (int i = 0; i < VECTORS; i++)
		store(a, i, _mm256_xor_si256(load(a, i), load(b, i)));
}

/* Bits of each byte. */
AVX2 static inline __m256i
count_bytes(__m256i v)
{
	const __m256i table = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,
										   0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
	const __m256i nibble = _mm256_set1_epi8(0x0F);
	__m256i low = _mm256_and_si256(v, nibble);
	__m256i high = _mm256_and_si256(_mm256_srli_epi16(v, 4), nibble);

	return _mm256_add_epi8(_mm256_shuffle_epi8(table, low), _mm256_shuffle_epi8(table, high));
}

/* The sum of four 64-bit sums. */
AVX2 static inline uint32_t
total(__m256i sums)
{
	uint64_t part[4];

	_mm256_storeu_si256((__m256i *) part, sums);
	return (uint32_t) (part[0] + part[1] + part[2] + part[3]);
}

AVX2 static uint32_t
avx2_count(const uint64_t *a)
{
	__m256i sums = _mm256_setzero_si256();

	for (int block = 0; block < VECTORS; block += BLOCK)
	{
		__m256i bytes = _mm256_setzero_si256();

		for (int i = block; i < block + BLOCK; i++)
			bytes = _mm256_add_epi8(bytes, count_bytes(load(a, i)));
		sums = _mm256_add_epi64(sums, _mm256_sad_epu8(bytes, _mm256_setzero_si256()));
	}
	return total(sums);
}

AVX2 static uint32_t
avx2_and_count(const uint64_t *a, const uint64_t *b)
{
	__m256i sums = _mm256_setzero_si256();

	for (int block = 0; block < VECTORS; block += BLOCK)
	{
		__m256i bytes = _mm256_setzero_si256();

		for (int i = block; i < block + BLOCK; i++)
			bytes = _mm256_add_epi8(bytes,
									count_bytes(_mm256_and_si256(load(a, i), load(b, i))));
		sums = _mm256_add_epi64(sums, _mm256_sad_epu8(bytes, _mm256_setzero_si256()));
	}
	return total(sums);
}

static const CdpCoreWords words_avx2 = {
	"avx2", avx2_and, avx2_or, avx2_andnot, avx2_xor, avx2_count, avx2_and_count};

const CdpCoreWords *
cdp_core_words_avx2(void)
{
	__builtin_cpu_init();
	return __builtin_cpu_supports("avx2") ? &words_avx2 : NULL;
}

#else

const CdpCoreWords *
cdp_core_words_avx2(void)
{
	return NULL;
}

#endif

const CdpCoreWords *
cdp_core_words(void)
{
	static const CdpCoreWords *chosen = NULL;

	if (chosen == NULL)
	{
		const CdpCoreWords *avx2 = cdp_core_words_avx2();

		chosen = avx2 != NULL ? avx2 : &cdp_core_words_portable;
	}
	return chosen;
}
