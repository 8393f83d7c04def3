/*
 * src/core/fold.c
 *		Normal forms of text: blanks, case, width, kana (see fold.h).
 *
 *	trim	blanks at the ends go
 *	lower	trim; capitals of Latin, Greek and Cyrillic become small by a fixed
 *			table (core/text.c), never by a locale
 *	width	characters that are not seen go; NFKC, which makes half-width kana
 *			full-width, full-width Latin ASCII, and takes ligatures and circled
 *			numbers apart; a run of blanks becomes one space; trim
 *	kana	width; hiragana becomes katakana; what stands for a long vowel after
 *			kana becomes its mark; other dashes become a hyphen
 *
 * The rules only name characters that they change, so all others survive,
 * those outside the Basic Multilingual Plane and variation selectors included.
 */
#include "core/fold.h"

#include <stdint.h>
#include <string.h>

#include "core/utf8.h"

#define LONG_VOWEL 0x30FC

static bool
is_ascii_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool
has_nfkc(const CdpCoreNfkc *nfkc)
{
	return nfkc != NULL && nfkc->normalize != NULL;
}

/* how many bytes a blank outside ASCII at the end of the text takes */
static size_t
wide_blank_at_end(const char *s, size_t len)
{
	for (size_t n = 2; n <= 3 && n <= len; n++)
	{
		size_t width;

		if (cdp_core_utf8_get(s + len - n, n, &width) >= 0x80 && width == n &&
			cdp_core_is_wide_blank(cdp_core_utf8_get(s + len - n, n, &width)))
			return n;
	}
	return 0;
}

/*
 * Leave out the blanks at both ends.
 */
void
cdp_core_fold_blanks(const char **value, size_t *len, bool utf8)
{
	const char *s = *value;
	size_t n = *len;
	size_t width = 0;

	while (n > 0)
	{
		if (is_ascii_blank(s[0]))
			width = 1;
		else if (!utf8 || !cdp_core_is_wide_blank(cdp_core_utf8_get(s, n, &width)))
			break;
		s += width;
		n -= width;
	}
	while (n > 0)
	{
		if (is_ascii_blank(s[n - 1]))
			n--;
		else if (utf8 && (width = wide_blank_at_end(s, n)) > 0)
			n -= width;
		else
			break;
	}
	*value = s;
	*len = n;
}

static CdpVerdict
finish(const char *value, size_t len, char *out, size_t *out_len)
{
	if (len == 0 || len > CDP_MAX_VALUE_BYTES)
		return CDP_VERDICT_UNKNOWN;
	memmove(out, value, len);
	*out_len = len;
	return CDP_VERDICT_VALID;
}

CdpVerdict
cdp_core_fold_trim(const char *value, size_t len, const CdpCoreNfkc *nfkc,
				   char *out, size_t *out_len)
{
	cdp_core_fold_blanks(&value, &len, has_nfkc(nfkc));
	return finish(value, len, out, out_len);
}

static bool
is_ascii(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
	{
		if ((unsigned char) s[i] >= 0x80)
			return false;
	}
	return true;
}

CdpVerdict
cdp_core_fold_lower(const char *value, size_t len, const CdpCoreNfkc *nfkc,
					char *out, size_t *out_len)
{
	cdp_core_fold_blanks(&value, &len, has_nfkc(nfkc));
	if (finish(value, len, out, out_len) == CDP_VERDICT_UNKNOWN)
		return CDP_VERDICT_UNKNOWN;
	if (has_nfkc(nfkc))
	{
		*out_len = cdp_core_utf8_lower(out, len);
		return CDP_VERDICT_VALID;
	}
	for (size_t i = 0; i < len; i++)
	{
		if (out[i] >= 'A' && out[i] <= 'Z')
			out[i] = (char) (out[i] + ('a' - 'A'));
	}
	return is_ascii(out, len) ? CDP_VERDICT_VALID : CDP_VERDICT_PLAUSIBLE;
}

/* soft hyphen, zero width space, word joiner, byte order mark */
static bool
is_unseen(int32_t c)
{
	return c == 0xAD || c == 0x200B || c == 0x2060 || c == 0xFEFF;
}

/* runs of blanks to one space, none at the ends; returns the new length */
static size_t
collapse_blanks(char *s, size_t len, bool utf8)
{
	size_t n = 0;
	size_t width;
	bool blank = false;

	for (size_t i = 0; i < len; i += width)
	{
		int32_t c = (unsigned char) s[i];

		width = 1;
		if (c >= 0x80 && utf8)
			c = cdp_core_utf8_get(s + i, len - i, &width);
		if (c < 0)
			width = 1;
		if (is_ascii_blank(s[i]) || (utf8 && cdp_core_is_wide_blank(c)))
		{
			blank = true;
			continue;
		}
		if (blank && n > 0)
			s[n++] = ' ';
		blank = false;
		memmove(s + n, s + i, width);
		n += width;
	}
	return n;
}

static bool
is_kana(int32_t c)
{
	return (c >= 0x3041 && c <= 0x309A) || (c >= 0x309D && c <= 0x309F) ||
		   (c >= 0x30A1 && c <= 0x30FA) || (c >= 0x30FC && c <= 0x30FF) ||
		   (c >= 0x31F0 && c <= 0x31FF) || (c >= 0xFF66 && c <= 0xFF9D) ||
		   (c >= 0x1B000 && c <= 0x1B167);
}

static int32_t
katakana_of(int32_t c)
{
	if ((c >= 0x3041 && c <= 0x3096) || c == 0x309D || c == 0x309E)
		return c + 0x60;
	if (c == 0x1B132) /* small ko */
		return 0x1B155;
	if (c >= 0x1B150 && c <= 0x1B152) /* small wi, we, wo */
		return c + 0x14;
	return c;
}

/* what is typed for a long vowel, or for a hyphen */
static bool
is_dash(int32_t c)
{
	return c == '-' || (c >= 0x2010 && c <= 0x2015) || c == 0x2212 || c == 0x2500 ||
		   c == 0x2501 || c == LONG_VOWEL;
}

static bool
is_tilde(int32_t c)
{
	return c == '~' || c == 0x2053 || c == 0x223C || c == 0x301C;
}

/*
 * Copy without characters that are not seen; with "kana" a free-standing
 * voiced-sound mark behind kana becomes the combining one, which NFKC would
 * otherwise set off by a space.  False if this is not UTF-8.
 */
static bool
copy_seen(const char *s, size_t len, bool kana, char *out, size_t *out_len)
{
	size_t n = 0;
	size_t width;
	int32_t before = 0;

	for (size_t i = 0; i < len; i += width)
	{
		int32_t c = cdp_core_utf8_get(s + i, len - i, &width);

		if (c < 0)
			return false;
		if (is_unseen(c))
			continue;
		if (kana && (c == 0x309B || c == 0x309C) && is_kana(before))
			c -= 2;
		before = c;
		n += cdp_core_utf8_put(out + n, c);
	}
	*out_len = n;
	return true;
}

static CdpVerdict
fold_ascii(const char *value, size_t len, char *out, size_t *out_len)
{
	char a[CDP_MAX_RAW_VALUE_BYTES];

	if (len > sizeof(a))
		return CDP_VERDICT_UNKNOWN;
	memcpy(a, value, len);
	len = collapse_blanks(a, len, false);
	if (finish(a, len, out, out_len) == CDP_VERDICT_UNKNOWN)
		return CDP_VERDICT_UNKNOWN;
	return is_ascii(out, len) ? CDP_VERDICT_VALID : CDP_VERDICT_PLAUSIBLE;
}

CdpVerdict
cdp_core_fold_width(const char *value, size_t len, const CdpCoreNfkc *nfkc,
					char *out, size_t *out_len)
{
	char a[CDP_MAX_RAW_VALUE_BYTES];
	char b[CDP_MAX_RAW_VALUE_BYTES];
	size_t n;

	cdp_core_fold_blanks(&value, &len, has_nfkc(nfkc));
	if (!has_nfkc(nfkc))
		return fold_ascii(value, len, out, out_len);
	if (len > sizeof(a) ||
		!copy_seen(value, len, false, a, &n) ||
		!nfkc->normalize(nfkc->arg, a, n, b, sizeof(b), &n))
		return CDP_VERDICT_UNKNOWN;
	n = collapse_blanks(b, n, true);
	return finish(b, n, out, out_len);
}

/*
 * NFKC is taken twice: hiragana has no composed va, vi, ve, vo, katakana has.
 */
CdpVerdict
cdp_core_fold_kana(const char *value, size_t len, const CdpCoreNfkc *nfkc,
				   char *out, size_t *out_len)
{
	char a[CDP_MAX_RAW_VALUE_BYTES];
	char b[CDP_MAX_RAW_VALUE_BYTES];
	size_t n;
	size_t width;
	size_t used = 0;
	int32_t before = 0;

	cdp_core_fold_blanks(&value, &len, has_nfkc(nfkc));
	if (!has_nfkc(nfkc))
		return fold_ascii(value, len, out, out_len);
	if (len > sizeof(a) ||
		!copy_seen(value, len, true, a, &n) ||
		!nfkc->normalize(nfkc->arg, a, n, b, sizeof(b), &n))
		return CDP_VERDICT_UNKNOWN;

	/* hiragana and katakana have the same length */
	for (size_t i = 0; i < n; i += width)
	{
		int32_t c = cdp_core_utf8_get(b + i, n - i, &width);

		if (c < 0)
			return CDP_VERDICT_UNKNOWN;
		(void) cdp_core_utf8_put(b + i, katakana_of(c));
	}
	if (!nfkc->normalize(nfkc->arg, b, n, a, sizeof(a), &n))
		return CDP_VERDICT_UNKNOWN;
	n = collapse_blanks(a, n, true);

	for (size_t i = 0; i < n; i += width)
	{
		int32_t c = cdp_core_utf8_get(a + i, n - i, &width);

		if (c < 0)
			return CDP_VERDICT_UNKNOWN;
		if (is_dash(c))
			c = is_kana(before) ? LONG_VOWEL : '-';
		else if (is_tilde(c))
			c = is_kana(before) ? LONG_VOWEL : '~';
		before = c;
		if (sizeof(b) - used < 4)
			return CDP_VERDICT_UNKNOWN;
		used += cdp_core_utf8_put(b + used, c);
	}
	return finish(b, used, out, out_len);
}
