/*
 * src/core/phone.c
 *		Telephone numbers as people write them, to E.164.
 *
 * The aim is one text for one line, and never one text for two: a number that
 * can be read in two ways stays as it was written.  So all readings are
 * collected, and a number is taken only when exactly one of them fits the
 * table of numbering plans (phone_table.c):
 *
 *	+CODE NUMBER		international, as written; a trunk prefix that people
 *						put behind the code, as in +44 (0)20, is dropped where
 *						the number fits without it and not with it
 *	EXIT CODE NUMBER	with what one dials in the region to call abroad
 *	TRUNK NUMBER		as dialled within the region
 *	NUMBER				the same without its trunk prefix, as left by a
 *						spreadsheet; only from a length that no number without
 *						an area code can have
 *	CODE NUMBER			international, the plus sign lost
 *
 * The last four need a region, but for "00", and fit the table or are
 * unknown: a region that was assumed and a range that was guessed are one
 * guess too many.  After a plus sign the region is known, so a number in a
 * range that the table has not, or of a country that it has not, is plausible.
 *
 * An extension makes another person of the same line, so it stays:
 * "+81312345678;ext=12", as RFC 3966 writes it.
 *
 * What is written by this file is read by it as itself, with the same
 * verdict, whatever the region.
 */
#include "core/phone.h"

#include <stdint.h>
#include <string.h>

#include "core/utf8.h"

/* Longest text looked at, in characters; more cannot be one number. */
#define MAX_WRITTEN 64

/* Exit prefix (5), country code and number (15), trunk prefix (3). */
#define MAX_DIGITS 24

/* E.164 has at most 15 digits; fewer than 7 reach nobody from abroad. */
#define MIN_E164 7
#define MAX_E164 15

#define MAX_EXTENSION 9

/* A number taken apart: digits in order, and what else was telling. */
typedef struct Written
{
	bool plus;
	bool zero_in_parentheses; /* the (0) of +44 (0)20 */
	char digits[MAX_DIGITS];
	size_t n;
	char extension[MAX_EXTENSION];
	size_t n_extension;
} Written;

/* The distinct results of the readings tried; more than two need no place. */
typedef struct Readings
{
	char e164[2][MAX_E164];
	size_t len[2];
	int n;
} Readings;

/*
 * The ASCII character that a character stands for in a telephone number: 0
 * for one that is not seen, -1 for one that has no place there.
 */
static int
plain_char(int32_t c)
{
	static const int32_t zeros[] = {0x0660, 0x06F0, 0x0966, 0x09E6, 0x0E50};

	if (c < 0x80)
		return c == 0 ? -1 : c;
	if (c >= 0xFF01 && c <= 0xFF5E) /* full-width */
		return c - 0xFF01 + '!';
	/* digits: Arabic-Indic, their eastern form, Devanagari, Bengali, Thai */
	for (size_t i = 0; i < sizeof(zeros) / sizeof(zeros[0]); i++)
	{
		if (c >= zeros[i] && c <= zeros[i] + 9)
			return '0' + (c - zeros[i]);
	}
	if (cdp_core_is_wide_blank(c) && c != 0x85 && c != 0x2028 && c != 0x2029)
		return ' ';
	/* dashes, minus, box lines and long-vowel marks taken for them */
	if ((c >= 0x2010 && c <= 0x2015) || c == 0x2212 || c == 0x2500 || c == 0x2501 ||
		c == 0x30FC || c == 0xFE63 || c == 0xFF70)
		return '-';
	if (c == 0xB7 || c == 0x30FB || c == 0xFF65)
		return '.';
	/* soft hyphen, zero width, direction marks that come along when copying */
	if (c == 0xAD || (c >= 0x200B && c <= 0x200F) || (c >= 0x202A && c <= 0x202E) ||
		(c >= 0x2060 && c <= 0x2069) || c == 0xFEFF)
		return 0;
	return -1;
}

/*
 * The text in ASCII, with "x" for the Japanese word for an extension.  False
 * if it has a character that no telephone number has, or is too long.
 */
static bool
to_ascii(const char *value, size_t len, bool utf8, char *out, size_t *out_len)
{
	size_t n = 0;
	size_t width;

	for (size_t i = 0; i < len; i += width)
	{
		int32_t c = (unsigned char) value[i];
		int plain;

		width = 1;
		if (c >= 0x80)
		{
			if (!utf8 || (c = cdp_core_utf8_get(value + i, len - i, &width)) < 0)
				return false;
		}
		if (c == 0x5185) /* U+5185 [U+7DDA]: extension */
		{
			if (len - i >= 6 && memcmp(value + i + 3, "\xE7\xB7\x9A", 3) == 0)
				width = 6;
			plain = 'x';
		}
		else
			plain = plain_char(c);
		if (plain < 0)
			return false;
		if (plain == 0)
			continue;
		if (n == MAX_WRITTEN)
			return false;
		out[n++] = (char) plain;
	}
	*out_len = n;
	return true;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
starts_with_word(const char *s, size_t len, const char *word)
{
	size_t n = strlen(word);

	if (len < n)
		return false;
	for (size_t i = 0; i < n; i++)
	{
		char c = s[i];

		if (c >= 'A' && c <= 'Z')
			c = (char) (c + ('a' - 'A'));
		if (c != word[i])
			return false;
	}
	return true;
}

/* an extension that goes on to the end of the text */
static bool
read_extension(const char *s, size_t len, Written *w)
{
	static const char *const words[] = {";ext=", "extension", "extn", "ext", "x", "#"};
	size_t i = 0;

	for (size_t k = 0; k < sizeof(words) / sizeof(words[0]) && i == 0; k++)
	{
		if (starts_with_word(s, len, words[k]))
			i = strlen(words[k]);
	}
	if (i == 0)
		return false;
	while (i < len && (s[i] == ' ' || s[i] == '.' || s[i] == ':' || s[i] == ')'))
		i++;
	while (i < len && is_digit(s[i]))
	{
		if (w->n_extension == MAX_EXTENSION)
			return false;
		w->extension[w->n_extension++] = s[i++];
	}
	while (i < len && (s[i] == ' ' || s[i] == ')'))
		i++;
	return i == len && w->n_extension > 0;
}

/*
 * Take a text apart.  False if it is not one telephone number.
 */
static bool
take_apart(const char *s, size_t len, Written *w)
{
	size_t i = 0;
	size_t slash = 0; /* digits before it, plus one */

	memset(w, 0, sizeof(*w));
	while (i < len && s[i] == ' ')
		i++;
	if (starts_with_word(s + i, len - i, "tel:"))
		i += 4;
	for (; i < len; i++)
	{
		char c = s[i];

		if (is_digit(c))
		{
			if (w->n == MAX_DIGITS)
				return false;
			w->digits[w->n++] = c;
		}
		else if (c == '+' && w->n == 0 && !w->plus)
			w->plus = true;
		else if (c == '/' && slash == 0)
			slash = w->n + 1;
		else if (c == '(' || c == '[')
		{
			if (len - i >= 3 && s[i + 1] == '0' && (s[i + 2] == ')' || s[i + 2] == ']'))
				w->zero_in_parentheses = true;
		}
		else if (c == ' ' || c == '\t' || c == '-' || c == '.' || c == ')' || c == ']')
			continue;
		else if (read_extension(s + i, len - i, w))
			break;
		else
			return false;
	}

	/*
	 * A slash sets off an area code; before four digits or fewer it lists the
	 * ends of several numbers, as in 555-1234/5678.
	 */
	return w->n > 0 && (slash == 0 || w->n + 1 - slash > 4);
}

/*
 * Does "digits" begin with the pattern?  "matched" is how many digits it
 * took.  A pattern is of digits, '.' for any, and classes such as [2-57].
 */
bool
cdp_core_phone_match(const char *pattern, size_t pattern_len,
					 const char *digits, size_t n, size_t *matched)
{
	size_t d = 0;

	for (size_t p = 0; p < pattern_len; p++, d++)
	{
		bool hit = false;

		if (d == n)
			return false;
		if (pattern[p] == '[')
		{
			for (p++; p < pattern_len && pattern[p] != ']'; p++)
			{
				char last = pattern[p];

				if (p + 2 < pattern_len && pattern[p + 1] == '-')
					last = pattern[p + 2];
				hit = hit || (digits[d] >= pattern[p] && digits[d] <= last);
				if (last != pattern[p])
					p += 2;
			}
		}
		else
			hit = pattern[p] == '.' || pattern[p] == digits[d];
		if (!hit)
			return false;
	}
	*matched = d;
	return true;
}

/* the next of the words in "words"; null after the last */
static const char *
next_word(const char **words, size_t *len)
{
	const char *word = *words;

	while (*word == ' ')
		word++;
	if (*word == '\0')
		return NULL;
	*len = strcspn(word, " ");
	*words = word + *len;
	return word;
}

static bool
fits(const CdpCorePhonePlan *plan, const char *number, size_t n)
{
	size_t matched;

	for (size_t i = 0; i < plan->n_range; i++)
	{
		const CdpCorePhoneRange *range = &plan->range[i];

		if (n >= range->min && n <= range->max &&
			cdp_core_phone_match(range->pattern, strlen(range->pattern), number, n, &matched))
			return true;
	}
	return false;
}

static bool
length_possible(const CdpCorePhonePlan *plan, size_t n)
{
	for (size_t i = 0; i < plan->n_range; i++)
	{
		if (n >= plan->range[i].min && n <= plan->range[i].max)
			return true;
	}
	return false;
}

/* a reading: country code and number, unless it is there already */
static void
add_reading(Readings *readings, const char *code, const char *number, size_t n)
{
	char e164[MAX_E164];
	size_t code_len = strlen(code);

	if (readings->n == 2 || code_len + n > MAX_E164)
		return;
	memcpy(e164, code, code_len);
	memcpy(e164 + code_len, number, n);
	n += code_len;
	for (int i = 0; i < readings->n; i++)
	{
		if (readings->len[i] == n && memcmp(readings->e164[i], e164, n) == 0)
			return;
	}
	memcpy(readings->e164[readings->n], e164, n);
	readings->len[readings->n++] = n;
}

/*
 * Argentine mobile numbers as dialled at home have a 15 between area code and
 * number; in E.164 they have a 9 before the area code instead.  Area codes
 * have two (11 only) to four digits, ten together with the number; the 15 can
 * be found at one place only.
 */
static bool
argentine_mobile(const CdpCorePhonePlan *plan, const char *number, size_t n, char *out)
{
	size_t area;

	if (strcmp(plan->code, "54") != 0 || n != 12)
		return false;
	for (area = (number[0] == '1') ? 2 : 3; area <= 4; area++)
	{
		if (number[area] == '1' && number[area + 1] == '5')
			break;
	}
	if (area > 4 || (number[0] == '1' && area > 2))
		return false;
	out[0] = '9';
	memcpy(out + 1, number, area);
	memcpy(out + 1 + area, number + area + 2, n - area - 2);
	return fits(plan, out, n - 1);
}

/*
 * Add what a number is in a plan as it stands, and without a trunk prefix.
 * The latter counts only when the former does not fit.
 */
static bool
add_number(Readings *readings, const CdpCorePhonePlan *plan,
		   const char *number, size_t n, bool after_code)
{
	const char *words = plan->trunk;
	const char *trunk;
	size_t len;
	char mobile[MAX_DIGITS];
	bool found = false;

	if (fits(plan, number, n))
	{
		add_reading(readings, plan->code, number, n);
		return true;
	}
	if (argentine_mobile(plan, number, n, mobile))
	{
		add_reading(readings, plan->code, mobile, n - 1);
		return true;
	}
	while ((trunk = next_word(&words, &len)) != NULL)
	{
		if (trunk[0] == '+')
		{
			if (!after_code)
				continue;
			trunk++;
			len--;
		}
		if (n <= len || memcmp(number, trunk, len) != 0)
			continue;
		if (fits(plan, number + len, n - len))
			add_reading(readings, plan->code, number + len, n - len);
		else if (argentine_mobile(plan, number + len, n - len, mobile))
			add_reading(readings, plan->code, mobile, n - len - 1);
		else
			continue;
		found = true;
	}
	return found;
}

/* country code and number, if they fit the table */
static bool
add_international(Readings *readings, const char *digits, size_t n)
{
	const CdpCorePhonePlan *plan = cdp_core_phone_plan_of_code(digits, n);
	size_t code_len;

	if (plan == NULL)
		return false;
	code_len = strlen(plan->code);
	return add_number(readings, plan, digits + code_len, n - code_len, true);
}

/*
 * Behind a plus sign: E.164 shaped, and nothing known speaks against it.
 * Zeros that may be a trunk prefix do.
 */
static bool
is_plausible(const char *digits, size_t n, bool zero_in_parentheses)
{
	const CdpCorePhonePlan *plan = cdp_core_phone_plan_of_code(digits, n);
	size_t code_len;

	if (n < MIN_E164 || n > MAX_E164 || digits[0] == '0' || zero_in_parentheses)
		return false;
	if (plan == NULL)
		return true;
	code_len = strlen(plan->code);
	return digits[code_len] != '0' && length_possible(plan, n - code_len);
}

/*
 * All readings of digits without a plus sign.
 */
static void
read_national(const CdpCorePhoneRegion *region, const Written *w, Readings *readings)
{
	const CdpCorePhonePlan *plan;
	const char *digits = w->digits;
	size_t n = w->n;
	const char *words;
	const char *word;
	size_t len;
	size_t matched;

	if (region == NULL)
		return;
	plan = region->plan;

	words = plan->exit;
	while ((word = next_word(&words, &len)) != NULL)
	{
		if (cdp_core_phone_match(word, len, digits, n, &matched))
			(void) add_international(readings, digits + matched, n - matched);
	}

	/*
	 * Without trunk prefix and plus sign, where lengths tell what it is: a
	 * number of the region, or one behind its country code, but not both.
	 */
	len = strlen(plan->code);
	if (!fits(plan, digits, n) || n >= plan->bare)
		(void) add_number(readings, plan, digits, n, false);
	if (plan->bare != CDP_CORE_PHONE_NO_BARE && n > len && memcmp(digits, plan->code, len) == 0)
		(void) add_number(readings, plan, digits + len, n - len, true);
}

static CdpVerdict
read_with_plus(const Written *w, Readings *readings)
{
	if (add_international(readings, w->digits, w->n))
		return CDP_VERDICT_VALID;
	if (is_plausible(w->digits, w->n, w->zero_in_parentheses))
		add_reading(readings, "", w->digits, w->n);
	return CDP_VERDICT_PLAUSIBLE;
}

/*
 * Bring a telephone number to E.164, with its extension if there is one.
 *
 * "region" is where a number without a country code is dialled; null if that
 * is not known.  "utf8" says whether bytes from 0x80 on are UTF-8; if not, a
 * value with such bytes is unknown.  "out" has room for CDP_MAX_PHONE_BYTES
 * and is not NUL-terminated; it is not written when the verdict is unknown.
 */
CdpVerdict
cdp_core_phone_normalise(const CdpCorePhoneRegion *region,
						 const char *value, size_t len, bool utf8,
						 char *out, size_t *out_len)
{
	char ascii[MAX_WRITTEN];
	size_t ascii_len;
	Written w;
	Readings readings = {0};
	CdpVerdict verdict;
	size_t n = 0;

	if (!to_ascii(value, len, utf8, ascii, &ascii_len) ||
		!take_apart(ascii, ascii_len, &w))
		return CDP_VERDICT_UNKNOWN;
	if (w.plus)
		verdict = read_with_plus(&w, &readings);
	else
	{
		verdict = CDP_VERDICT_VALID;
		read_national(region, &w, &readings);
	}
	if (readings.n != 1)
		return CDP_VERDICT_UNKNOWN;

	out[n++] = '+';
	memcpy(out + n, readings.e164[0], readings.len[0]);
	n += readings.len[0];
	if (w.n_extension > 0)
	{
		memcpy(out + n, ";ext=", 5);
		memcpy(out + n + 5, w.extension, w.n_extension);
		n += 5 + w.n_extension;
	}
	*out_len = n;
	return verdict;
}

/*
 * The region of that name (two capital letters), or null.
 */
const CdpCorePhoneRegion *
cdp_core_phone_region(const char *region, size_t len)
{
	for (int i = 0; i < CDP_CORE_PHONE_REGIONS; i++)
	{
		if (len == 2 && memcmp(cdp_core_phone_regions[i].region, region, 2) == 0)
			return &cdp_core_phone_regions[i];
	}
	return NULL;
}
