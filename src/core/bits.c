/*
 * src/core/bits.c
 *		Consent signals: base64url text as a string of bits.
 *
 * Fibonacci coding as the Global Privacy Platform describes it ("Consent
 * String Specification", Fibonacci Encoding to Deal with String Length): a
 * number is a sum of Fibonacci numbers 1, 2, 3, 5, 8, ... no two of which are
 * neighbours; one bit each, smallest first; the first pair of ones ends it.
 */
#include "core/bits.h"

#include <string.h>

/*
 * Largest number read.  All that is written this way are ids and counts of
 * 16 bits; 24 bits hold them and their end mark.
 */
#define MAX_FIBONACCI 65535

#define BAD 64

/* Value of a character; BAD for what is not in the alphabet. */
static const unsigned char sextet[256] = {
	BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
	BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
	BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, 62, BAD, BAD,
	52, 53, 54, 55, 56, 57, 58, 59, 60, 61, BAD, BAD, BAD, BAD, BAD, BAD,
	BAD, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,
	15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, BAD, BAD, BAD, BAD, 63,
	BAD, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40,
	41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, BAD, BAD, BAD, BAD, BAD,
	BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
	BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
	BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
	BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
	BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
	BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
	BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
	BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD};

/*
 * Makes "bits" read the characters text[start .. start + len), which are
 * unpacked into "buffer" of CDP_CORE_BITS_SIZE(len) bytes.  False, and why, if
 * there are none, or one is not of the alphabet.
 */
bool
cdp_core_bits_open(CdpBits *bits, const char *text, size_t len, size_t start,
				   unsigned char *buffer, CdpSignalError *error)
{
	const unsigned char *in = (const unsigned char *) text + start;
	unsigned char *out = buffer;
	unsigned char seen = 0;
	size_t i = 0;

	bits->data = buffer;
	bits->n = len * 6;
	bits->pos = 0;
	bits->start = start;
	bits->short_of = false;
	for (; i + 4 <= len; i += 4, out += 3)
	{
		uint32_t a = sextet[in[i]];
		uint32_t b = sextet[in[i + 1]];
		uint32_t c = sextet[in[i + 2]];
		uint32_t d = sextet[in[i + 3]];
		uint32_t word = a << 18 | b << 12 | c << 6 | d;

		seen |= a | b | c | d;
		out[0] = (unsigned char) (word >> 16);
		out[1] = (unsigned char) (word >> 8);
		out[2] = (unsigned char) word;
	}
	/* the odd characters, and zeros for a reader that looks at eight bytes at once */
	memset(out, 0, 3 + 8);
	for (unsigned shift = 18; i < len; i++, shift -= 6)
	{
		uint32_t word = (uint32_t) sextet[in[i]] << shift;

		seen |= sextet[in[i]];
		out[0] |= (unsigned char) (word >> 16);
		out[1] |= (unsigned char) (word >> 8);
		out[2] |= (unsigned char) word;
	}
	if (len == 0)
		return cdp_core_bits_fail(bits, "segment is empty", error);
	if (seen & BAD)
	{
		for (i = 0; sextet[in[i]] != BAD; i++)
			;
		bits->pos = i * 6;
		return cdp_core_bits_fail(bits, "character is not of the base64url alphabet", error);
	}
	return true;
}

/*
 * Reads a number in Fibonacci coding.  False if it is beyond MAX_FIBONACCI, or
 * the bits end before it does ("short_of" tells).
 */
bool
cdp_core_bits_fibonacci(CdpBits *bits, uint32_t *value)
{
	uint32_t weight = 1;
	uint32_t next = 2;
	uint32_t sum = 0;
	bool last = false;

	while (weight <= MAX_FIBONACCI || last)
	{
		bool bit = cdp_core_bits_read(bits, 1);
		uint32_t after = weight + next;

		if (bits->short_of)
			return false;
		if (bit && last)
		{
			*value = sum;
			return sum <= MAX_FIBONACCI;
		}
		if (bit)
			sum += weight;
		last = bit;
		weight = next;
		next = after;
	}
	return false;
}

/* Fills "error" for where the reader stands; returns false, for the caller to return. */
bool
cdp_core_bits_fail(const CdpBits *bits, const char *reason, CdpSignalError *error)
{
	error->reason = bits->short_of ? "string ends early" : reason;
	error->at = bits->start + bits->pos / 6 + 1;
	return false;
}
