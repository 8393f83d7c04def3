/*
 * src/core/bits.h
 *		Consent signals: base64url text as a string of bits, and what is read
 *		from it.
 *
 * Both formats that carry bits (TC string, GPP) write six bits a character,
 * most significant bit first, in the alphabet of RFC 4648 section 5, without
 * padding.  So text of n characters has 6 n bits, whatever n is.
 *
 * Pure C: no server headers, no allocation, no recursion.
 */
#ifndef CDP_CORE_BITS_H
#define CDP_CORE_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that the bits of n characters take, with what a reader may touch after them. */
#define CDP_CORE_BITS_SIZE(n) ((n) / 4 * 3 + 3 + 8)

/*
 * A part of a signal that could not be read.  Nothing here quotes the signal,
 * which says what a person chose.
 */
typedef struct CdpSignalError
{
	const char *reason; /* constant; reads well after "the ": "string ends early" */
	const char *part; /* constant: "core segment" */
	size_t at; /* byte of the signal where it was seen, from 1 */
	unsigned section; /* of a GPP string, else 0 */
} CdpSignalError;

/*
 * A reader of bits.  Reading past the end gives zeros and sets "short_of", so
 * that a run of fields needs one test at its end; before a value decides how
 * much follows, it has to be tested.
 */
typedef struct CdpBits
{
	const unsigned char *data; /* CDP_CORE_BITS_SIZE() bytes, zeros after the bits */
	size_t n; /* bits there are */
	size_t pos; /* bits read */
	size_t start; /* byte of the signal where the first bit comes from, from 0 */
	bool short_of; /* more was asked for than there is */
} CdpBits;

/* bits.c */
extern bool cdp_core_bits_open(CdpBits *bits, const char *text, size_t len, size_t start,
							   unsigned char *buffer, CdpSignalError *error);
extern bool cdp_core_bits_fibonacci(CdpBits *bits, uint32_t *value);
extern bool cdp_core_bits_fail(const CdpBits *bits, const char *reason, CdpSignalError *error);

/* Says that more was asked for than there is. */
static inline void
cdp_core_bits_end(CdpBits *bits)
{
	bits->short_of = true;
	bits->pos = bits->n;
}

/* The next n bits, at most 56, as a number. */
static inline uint64_t
cdp_core_bits_read(CdpBits *bits, unsigned n)
{
	const unsigned char *p = bits->data + bits->pos / 8;
	uint64_t word;

	if (n > bits->n - bits->pos)
	{
		cdp_core_bits_end(bits);
		return 0;
	}
	word = (uint64_t) p[0] << 56 | (uint64_t) p[1] << 48 | (uint64_t) p[2] << 40 |
		   (uint64_t) p[3] << 32 | (uint64_t) p[4] << 24 | (uint64_t) p[5] << 16 |
		   (uint64_t) p[6] << 8 | (uint64_t) p[7];
	word <<= bits->pos % 8;
	bits->pos += n;
	return n == 0 ? 0 : word >> (64 - n);
}

#endif /* CDP_CORE_BITS_H */
