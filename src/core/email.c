/*
 * src/core/email.c
 *		Normal form of e-mail addresses (see fold.h).
 *
 * The mild form, for telling who somebody is: what every mail system treats
 * as the same, and nothing that one provider does.
 *
 *	all			blanks at the ends go; full-width Latin becomes ASCII
 *	local part	ASCII letters become small (RFC 5321 lets case matter; nobody
 *				lets it)
 *	domain		small letters, no dot at its end; outside ASCII NFKC, small
 *				letters, NFKC, and then, label by label, Punycode with "xn--"
 *				(RFC 3492, RFC 5890), so that both ways to write it are one
 *
 * Dots, "+tags" and other names of a provider's domain stay: folding them
 * would make one person of several (platform hashes fold, see
 * identity/platform_hash.c).
 *
 *	valid		unquoted local part of at most 64 characters of ASCII, domain of
 *				two labels or more
 *	plausible	something on both sides of an "@", but not that
 *	unknown		no address, or several of them
 *
 * UTS 46 has a table of what a name may contain; here NFKC, the case table of
 * core/text.c and a list of ignored characters stand for it.  They agree on
 * Latin, Greek, Cyrillic, kana, Han and Hangul.  Capitals of other scripts
 * stay, which costs a match and joins nothing.
 */
#include "core/fold.h"

#include <stdint.h>
#include <string.h>

#include "core/utf8.h"

#define MAX_LOCAL 64
#define MAX_DOMAIN 253
#define MAX_LABEL 63
#define MAX_MAPPED 1024
#define DOMAIN_ROOM (3 * MAX_MAPPED + MAX_LABEL)

static bool
is_letter_or_digit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static char
ascii_lower(char c)
{
	return (c >= 'A' && c <= 'Z') ? (char) (c + ('a' - 'A')) : c;
}

/* letters of an unquoted local part (RFC 5322, atext) */
static bool
is_atom_char(char c)
{
	return is_letter_or_digit(c) || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

/*
 * Punycode of one label in UTF-8 (RFC 3492, section 6.3, with the parameters
 * of IDNA).  False if the result has no room.
 */
bool
cdp_core_punycode(const char *label, size_t len, char *out, size_t size, size_t *out_len)
{
	enum
	{
		BASE = 36,
		T_MIN = 1,
		T_MAX = 26,
		SKEW = 38,
		DAMP = 700
	};
	uint32_t points[MAX_LABEL];
	size_t n_points = 0;
	size_t width;
	size_t used = 0;
	uint32_t next = 0x80; /* code points below are written */
	uint32_t delta = 0;
	uint32_t bias = 72;
	size_t written;
	size_t basic;

	/* at most 63 points below 2^21: delta cannot overflow */
	for (size_t i = 0; i < len; i += width)
	{
		int32_t c = cdp_core_utf8_get(label + i, len - i, &width);

		if (c < 0 || n_points == MAX_LABEL)
			return false;
		points[n_points++] = (uint32_t) c;
		if (c < 0x80)
		{
			if (used == size)
				return false;
			out[used++] = (char) c;
		}
	}
	basic = used;
	written = used;
	if (basic > 0)
	{
		if (used == size)
			return false;
		out[used++] = '-';
	}

	while (written < n_points)
	{
		uint32_t lowest = UINT32_MAX;

		for (size_t i = 0; i < n_points; i++)
		{
			if (points[i] >= next && points[i] < lowest)
				lowest = points[i];
		}
		delta += (lowest - next) * (uint32_t) (written + 1);
		next = lowest;
		for (size_t i = 0; i < n_points; i++)
		{
			uint32_t q;
			uint32_t k;

			if (points[i] < next)
				delta++;
			if (points[i] != next)
				continue;
			for (q = delta, k = BASE;; k += BASE)
			{
				uint32_t t = k <= bias ? T_MIN : (k >= bias + T_MAX ? T_MAX : k - bias);
				uint32_t digit = q < t ? q : t + (q - t) % (BASE - t);

				if (used == size)
					return false;
				out[used++] = (char) (digit < 26 ? 'a' + digit : '0' + (digit - 26));
				if (q < t)
					break;
				q = (q - t) / (BASE - t);
			}

			/* how long the next numbers are likely to be */
			delta = written == basic ? delta / DAMP : delta / 2;
			written++;
			delta += delta / (uint32_t) written;
			for (bias = 0; delta > ((BASE - T_MIN) * T_MAX) / 2; bias += BASE)
				delta /= BASE - T_MIN;
			bias += (BASE - T_MIN + 1) * delta / (delta + SKEW);
			delta = 0;
		}
		delta++;
		next++;
	}
	*out_len = used;
	return true;
}

/* full-width Latin to ASCII; false if this is not UTF-8 */
static bool
narrow(const char *s, size_t len, char *out, size_t *out_len)
{
	size_t n = 0;
	size_t width;

	for (size_t i = 0; i < len; i += width)
	{
		int32_t c = cdp_core_utf8_get(s + i, len - i, &width);

		if (c < 0)
			return false;
		if (c >= 0xFF01 && c <= 0xFF5E)
			c = c - 0xFF01 + '!';
		n += cdp_core_utf8_put(out + n, c);
	}
	*out_len = n;
	return true;
}

/*
 * Lower a local part in place and judge it.
 */
static CdpVerdict
fold_local(char *s, size_t len, bool utf8)
{
	bool quoted = len >= 2 && s[0] == '"' && s[len - 1] == '"';
	bool unusual = quoted || len > MAX_LOCAL || s[0] == '.' || s[len - 1] == '.';
	size_t width;

	for (size_t i = 0; i < len; i += width)
	{
		char c = s[i] = ascii_lower(s[i]);
		int32_t point = utf8 ? cdp_core_utf8_get(s + i, len - i, &width) : (unsigned char) c;

		if (!utf8 || point < 0)
			width = 1;
		if ((unsigned char) c >= 0x80)
		{
			if (utf8 && cdp_core_is_wide_blank(point))
				return CDP_VERDICT_UNKNOWN;
			unusual = true;
		}
		else if (c == '.')
			unusual = unusual || (i > 0 && s[i - 1] == '.');
		else if ((unsigned char) c < ' ' || c == 0x7F || (!quoted && !is_atom_char(c)))
			return CDP_VERDICT_UNKNOWN;
	}
	return unusual ? CDP_VERDICT_PLAUSIBLE : CDP_VERDICT_VALID;
}

/* characters that UTS 46 takes out of a name */
static bool
is_ignored(int32_t c)
{
	return c == 0xAD || c == 0x34F || (c >= 0x180B && c <= 0x180D) || c == 0x180F ||
		   c == 0x200B || c == 0x2060 || c == 0x2064 || (c >= 0xFE00 && c <= 0xFE0F) ||
		   c == 0xFEFF;
}

/*
 * A domain outside ASCII as UTS 46 maps it, but for scripts whose capitals
 * are not known here.  The dotted capital I is taken apart first, for the
 * case table makes a plain i of it, which is another name.
 */
static bool
map_domain(const char *s, size_t len, const CdpCoreNfkc *nfkc, char *out, size_t *out_len)
{
	char a[CDP_MAX_RAW_VALUE_BYTES];
	size_t n = 0;
	size_t width;

	for (size_t i = 0; i < len; i += width)
	{
		int32_t c = cdp_core_utf8_get(s + i, len - i, &width);

		if (c < 0 || sizeof(a) - n < 4)
			return false;
		if (is_ignored(c))
			continue;
		if (c == 0x130)
		{
			a[n++] = 'i';
			c = 0x307;
		}
		n += cdp_core_utf8_put(a + n, c);
	}
	if (!nfkc->normalize(nfkc->arg, a, n, out, CDP_MAX_RAW_VALUE_BYTES, &n))
		return false;
	n = cdp_core_utf8_lower(out, n);
	if (!nfkc->normalize(nfkc->arg, out, n, a, sizeof(a), &n))
		return false;

	/* the ideographic full stop is a dot */
	*out_len = 0;
	for (size_t i = 0; i < n; i += width)
	{
		int32_t c = cdp_core_utf8_get(a + i, n - i, &width);

		if (c < 0)
			return false;
		*out_len += cdp_core_utf8_put(out + *out_len, c == 0x3002 ? '.' : c);
	}
	return true;
}

/*
 * One label of a mapped domain to its ASCII form, appended to "out".  Returns
 * false, and appends it as it is, if it has none.
 */
static bool
add_label(const char *label, size_t len, bool utf8, char *out, size_t *used)
{
	bool ascii = true;
	bool good = len > 0 && label[0] != '-' && label[len - 1] != '-';
	size_t n;

	for (size_t i = 0; i < len; i++)
	{
		if ((unsigned char) label[i] >= 0x80)
			ascii = false;
		else if (!is_letter_or_digit(label[i]) && label[i] != '-')
			good = false;
	}
	if (!ascii && utf8 && good &&
		cdp_core_punycode(label, len, out + *used + 4, MAX_LABEL - 4, &n))
	{
		memcpy(out + *used, "xn--", 4);
		*used += n + 4;
		return true;
	}
	memcpy(out + *used, label, len);
	*used += len;
	return ascii && good && len <= MAX_LABEL;
}

/*
 * The domain to "out", which has room for DOMAIN_ROOM bytes: of a longest
 * mapped domain each label of two bytes and a dot becomes seven and a dot,
 * and the last one is tried in 63.
 */
static CdpVerdict
fold_domain(const char *s, size_t len, const CdpCoreNfkc *nfkc, char *out, size_t *out_len)
{
	char mapped[CDP_MAX_RAW_VALUE_BYTES];
	bool utf8 = nfkc != NULL && nfkc->normalize != NULL;
	bool ascii = true;
	bool literal;
	bool good = true;
	bool letter = false;
	int labels = 0;
	size_t n = len;
	size_t used = 0;

	for (size_t i = 0; i < len; i++)
	{
		mapped[i] = ascii_lower(s[i]);
		ascii = ascii && (unsigned char) s[i] < 0x80;
	}
	if (!ascii && utf8 && !map_domain(s, len, nfkc, mapped, &n))
		return CDP_VERDICT_UNKNOWN;
	if (n > 1 && mapped[n - 1] == '.' && mapped[n - 2] != '.')
		n--;
	if (n == 0 || n > MAX_MAPPED)
		return CDP_VERDICT_UNKNOWN;

	/* an address in brackets, as [192.0.2.1], or a name; a name has no odd ASCII */
	literal = n > 2 && mapped[0] == '[' && mapped[n - 1] == ']';
	for (size_t i = 0; i < n; i++)
	{
		char c = mapped[i];

		if ((unsigned char) c >= 0x80 || is_letter_or_digit(c) || c == '-' || c == '.')
			continue;
		if (!(literal && (i == 0 || i == n - 1 || c == ':')) && c != '_')
			return CDP_VERDICT_UNKNOWN;
	}
	if (literal)
	{
		memcpy(out, mapped, n);
		*out_len = n;
		return CDP_VERDICT_PLAUSIBLE;
	}

	for (size_t start = 0; start <= n;)
	{
		const char *dot = start < n ? memchr(mapped + start, '.', n - start) : NULL;
		size_t end = dot != NULL ? (size_t) (dot - mapped) : n;

		if (start > 0)
			out[used++] = '.';
		letter = false;
		for (size_t i = start; i < end; i++)
			letter = letter || mapped[i] < '0' || mapped[i] > '9';
		good = add_label(mapped + start, end - start, utf8, out, &used) && good;
		labels++;
		start = end + 1;
	}
	*out_len = used;
	return good && letter && labels >= 2 && used <= MAX_DOMAIN ? CDP_VERDICT_VALID :
																 CDP_VERDICT_PLAUSIBLE;
}

CdpVerdict
cdp_core_fold_email(const char *value, size_t len, const CdpCoreNfkc *nfkc,
					char *out, size_t *out_len)
{
	char address[CDP_MAX_RAW_VALUE_BYTES];
	char domain[DOMAIN_ROOM];
	bool utf8 = nfkc != NULL && nfkc->normalize != NULL;
	size_t at;
	size_t n;
	CdpVerdict local_verdict;
	CdpVerdict domain_verdict;

	cdp_core_fold_blanks(&value, &len, utf8);
	if (len > sizeof(address))
		return CDP_VERDICT_UNKNOWN;
	if (utf8)
	{
		if (!narrow(value, len, address, &len))
			return CDP_VERDICT_UNKNOWN;
	}
	else
		memcpy(address, value, len);

	at = len;
	while (at > 0 && address[at - 1] != '@')
		at--;
	if (at <= 1 || at == len)
		return CDP_VERDICT_UNKNOWN;
	local_verdict = fold_local(address, at - 1, utf8);
	if (local_verdict == CDP_VERDICT_UNKNOWN)
		return CDP_VERDICT_UNKNOWN;
	domain_verdict = fold_domain(address + at, len - at, nfkc, domain, &n);
	if (domain_verdict == CDP_VERDICT_UNKNOWN || at + n > CDP_MAX_VALUE_BYTES)
		return CDP_VERDICT_UNKNOWN;
	memcpy(out, address, at);
	memcpy(out + at, domain, n);
	*out_len = at + n;
	return local_verdict < domain_verdict ? local_verdict : domain_verdict;
}
