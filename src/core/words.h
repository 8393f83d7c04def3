/*
 * src/core/words.h
 *		The 248 words of a bitmap: operations on all of them.
 *
 * There is a version for AVX2, chosen at run time, and a portable one.  Only
 * core/bitmap.c and tests use this.
 */
#ifndef CDP_CORE_WORDS_H
#define CDP_CORE_WORDS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct CdpCoreWords
{
	const char *name;
	void (*and)(uint64_t *a, const uint64_t *b);
	void (* or)(uint64_t *a, const uint64_t *b);
	void (*andnot)(uint64_t *a, const uint64_t *b);
	void (*xor)(uint64_t *a, const uint64_t *b);
	uint32_t (*count)(const uint64_t *a);
	uint32_t (*and_count)(const uint64_t *a, const uint64_t *b);
} CdpCoreWords;

extern const CdpCoreWords cdp_core_words_portable;

/* NULL where this machine, or the compiler, has no AVX2. */
extern const CdpCoreWords *cdp_core_words_avx2(void);

/* The best of this machine. */
extern const CdpCoreWords *cdp_core_words(void);

/* Bits of one word: sums of pairs, nibbles and bytes, all at once. */
static inline uint32_t
cdp_core_count_word(uint64_t w)
{
	w = w - ((w >> 1) & UINT64_C(0x5555555555555555));
	w = (w & UINT64_C(0x3333333333333333)) + ((w >> 2) & UINT64_C(0x3333333333333333));
	w = (w + (w >> 4)) & UINT64_C(0x0F0F0F0F0F0F0F0F);
	return (uint32_t) ((w * UINT64_C(0x0101010101010101)) >> 56);
}

#endif /* CDP_CORE_WORDS_H */
