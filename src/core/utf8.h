/*
 * src/core/utf8.h
 *		Characters of UTF-8, one by one.
 */
#ifndef CDP_CORE_UTF8_H
#define CDP_CORE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/*
 * Code point at "s", which has at least one byte, or -1 if it is not
 * well-formed UTF-8.  "width" is how many bytes it takes.
 */
static inline int32_t
cdp_core_utf8_get(const char *s, size_t len, size_t *width)
{
	const unsigned char *u = (const unsigned char *) s;
	int32_t c;

	if (u[0] < 0x80)
	{
		*width = 1;
		return u[0];
	}
	if (u[0] < 0xC2 || u[0] > 0xF4)
		return -1;
	*width = u[0] < 0xE0 ? 2 : (u[0] < 0xF0 ? 3 : 4);
	if (len < *width)
		return -1;
	c = u[0] & (0xFF >> (*width + 1));
	for (size_t i = 1; i < *width; i++)
	{
		if ((u[i] & 0xC0) != 0x80)
			return -1;
		c = (c << 6) | (u[i] & 0x3F);
	}
	if (*width == 3 && (c < 0x800 || (c >= 0xD800 && c <= 0xDFFF)))
		return -1;
	if (*width == 4 && (c < 0x10000 || c > 0x10FFFF))
		return -1;
	return c;
}

/*
 * Write a code point, at most four bytes; returns how many.
 */
static inline size_t
cdp_core_utf8_put(char *out, int32_t c)
{
	if (c < 0x80)
	{
		out[0] = (char) c;
		return 1;
	}
	if (c < 0x800)
	{
		out[0] = (char) (0xC0 | (c >> 6));
		out[1] = (char) (0x80 | (c & 0x3F));
		return 2;
	}
	if (c < 0x10000)
	{
		out[0] = (char) (0xE0 | (c >> 12));
		out[1] = (char) (0x80 | ((c >> 6) & 0x3F));
		out[2] = (char) (0x80 | (c & 0x3F));
		return 3;
	}
	out[0] = (char) (0xF0 | (c >> 18));
	out[1] = (char) (0x80 | ((c >> 12) & 0x3F));
	out[2] = (char) (0x80 | ((c >> 6) & 0x3F));
	out[3] = (char) (0x80 | (c & 0x3F));
	return 4;
}

/* a blank outside ASCII: Unicode's White_Space */
static inline int
cdp_core_is_wide_blank(int32_t c)
{
	return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
		   c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

#endif /* CDP_CORE_UTF8_H */
