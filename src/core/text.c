/*
 * src/core/text.c
 *		Normal form of identifiers and the text form of a set of them.
 *
 * An identifier is "namespace:value"; the first colon splits it.
 *
 *	namespace	1..63 bytes of [A-Za-z0-9_.-], starting with a letter or '_';
 *				ASCII-lowered.
 *	value		1..512 bytes once normalised, without NUL.
 *
 * Rules of version 1, by namespace:
 *
 *	email	trim ASCII whitespace; lower ASCII; a domain outside ASCII gets
 *			NFKC, lower case, NFKC.  Without text on both sides of the last
 *			'@' the value is only trimmed: a rule must not lose data that it
 *			does not understand.
 *	phone	trim; after a leading '+', blanks and - . ( ) / are dropped when
 *			what remains is E.164 (+, 7 to 15 digits, the first not 0);
 *			otherwise only trimmed.
 *	others	trim.
 *
 * The rules are idempotent: the normal form of a normal form is itself.
 * Binary input, dump and restore rely on it.  The second NFKC is there for
 * that: lowering can make a pair composable that was not (capital J and a
 * caron have no composed form, small j has).  What NFKC leaves at the end may
 * be a blank (from U+00A0), so the trimming is repeated too.
 *
 * All server encodings keep bytes below 0x80 for ASCII, so the byte-wise
 * trimming, lowering and splitting is right in each of them.
 */
#include "core/text.h"

#include <stdint.h>
#include <string.h>

enum
{
	SET_START,
	SET_ELEMENT,
	SET_CLOSED
};

static bool
is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static char
ascii_lower(char c)
{
	return (c >= 'A' && c <= 'Z') ? (char) (c + ('a' - 'A')) : c;
}

static bool
is_namespace_char(char c, bool first)
{
	if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_')
		return true;
	return !first && ((c >= '0' && c <= '9') || c == '.' || c == '-');
}

static void
trim(const char **s, size_t *len)
{
	while (*len > 0 && is_space((*s)[0]))
	{
		(*s)++;
		(*len)--;
	}
	while (*len > 0 && is_space((*s)[*len - 1]))
		(*len)--;
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

static void
copy_lower(char *out, const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		out[i] = ascii_lower(s[i]);
}

/*
 * Simple lower case of one code point of Latin, Greek and Cyrillic.  The
 * blocks alternate capital and small letters or keep them a constant apart,
 * so no table is needed.  Capitals of other scripts stay as they are.  The
 * result is never longer in UTF-8 than the argument.
 */
static uint32_t
lower_code_point(uint32_t c)
{
	if (c < 0x80)
		return (c >= 'A' && c <= 'Z') ? c + 32 : c;
	if (c < 0x100) /* Latin-1 */
		return (c >= 0xC0 && c <= 0xDE && c != 0xD7) ? c + 32 : c;
	if (c < 0x180) /* Latin Extended-A */
	{
		if (c == 0x130)
			return 'i';
		if (c == 0x178)
			return 0xFF;
		if (c <= 0x137 || (c >= 0x14A && c <= 0x177))
			return (c % 2 == 0) ? c + 1 : c;
		if ((c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17E))
			return (c % 2 == 1) ? c + 1 : c;
		return c;
	}
	if (c >= 0x386 && c <= 0x3AB) /* Greek */
	{
		if (c == 0x386)
			return 0x3AC;
		if (c >= 0x388 && c <= 0x38A)
			return c + 37;
		if (c == 0x38C)
			return 0x3CC;
		if (c == 0x38E || c == 0x38F)
			return c + 63;
		if (c >= 0x391 && c != 0x3A2)
			return c + 32;
		return c;
	}
	if (c >= 0x400 && c <= 0x52F) /* Cyrillic */
	{
		if (c <= 0x40F)
			return c + 80;
		if (c <= 0x42F)
			return c + 32;
		if (c == 0x4C0)
			return 0x4CF;
		if (c >= 0x4C1 && c <= 0x4CE)
			return (c % 2 == 1) ? c + 1 : c;
		if ((c >= 0x460 && c <= 0x481) || (c >= 0x48A && c <= 0x4BF) ||
			c >= 0x4D0)
			return (c % 2 == 0) ? c + 1 : c;
		return c;
	}
	if (c >= 0x1E00 && c <= 0x1EFF) /* Latin Extended Additional */
	{
		if (c == 0x1E9E)
			return 0xDF;
		if (c <= 0x1E95 || c >= 0x1EA0)
			return (c % 2 == 0) ? c + 1 : c;
	}
	return c;
}

/*
 * Lower the capitals of "s" in place and return the new length, at most
 * "len".  Bytes that are not UTF-8, and characters of four bytes, stay.
 */
size_t
cdp_core_utf8_lower(char *s, size_t len)
{
	size_t from = 0;
	size_t to = 0;

	while (from < len)
	{
		unsigned char b = (unsigned char) s[from];
		size_t width = 1;
		uint32_t c = b;

		if (b >= 0xC2 && b <= 0xDF && len - from >= 2)
		{
			width = 2;
			c = ((uint32_t) (b & 0x1F) << 6) |
				((unsigned char) s[from + 1] & 0x3F);
		}
		else if (b >= 0xE0 && b <= 0xEF && len - from >= 3)
		{
			width = 3;
			c = ((uint32_t) (b & 0x0F) << 12) |
				((uint32_t) ((unsigned char) s[from + 1] & 0x3F) << 6) |
				((unsigned char) s[from + 2] & 0x3F);
		}

		/* continuation bytes must be such, or the sequence is copied as is */
		for (size_t i = 1; i < width; i++)
		{
			if (((unsigned char) s[from + i] & 0xC0) != 0x80)
				width = 1;
		}
		if (width == 1 || (width == 3 && c < 0x800))
		{
			s[to++] = ascii_lower(s[from++]);
			continue;
		}

		from += width;
		c = lower_code_point(c);
		if (c < 0x80)
			s[to++] = (char) c;
		else if (c < 0x800)
		{
			s[to++] = (char) (0xC0 | (c >> 6));
			s[to++] = (char) (0x80 | (c & 0x3F));
		}
		else
		{
			s[to++] = (char) (0xE0 | (c >> 12));
			s[to++] = (char) (0x80 | ((c >> 6) & 0x3F));
			s[to++] = (char) (0x80 | (c & 0x3F));
		}
	}
	return to;
}

static bool
keep_verbatim(const char *value, size_t len, char *out, size_t *out_len,
			  const char **reason)
{
	if (len > CDP_MAX_VALUE_BYTES)
	{
		*reason = "value is longer than 512 bytes";
		return false;
	}
	memcpy(out, value, len);
	*out_len = len;
	return true;
}

static bool
normalize_email(const char *value, size_t len, const CdpCoreNfkc *nfkc,
				char *out, size_t *out_len, const char **reason)
{
	char a[CDP_MAX_RAW_VALUE_BYTES];
	char b[CDP_MAX_RAW_VALUE_BYTES];
	size_t a_len;
	size_t b_len;
	size_t domain = len; /* offset after the last '@' */

	while (domain > 0 && value[domain - 1] != '@')
		domain--;
	if (domain <= 1 || domain == len)
		return keep_verbatim(value, len, out, out_len, reason);

	if (nfkc == NULL || nfkc->normalize == NULL ||
		is_ascii(value + domain, len - domain))
	{
		if (!keep_verbatim(value, len, out, out_len, reason))
			return false;
		copy_lower(out, value, len);
		return true;
	}

	a_len = len - domain;
	copy_lower(a, value + domain, a_len);
	if (!nfkc->normalize(nfkc->arg, a, a_len, b, sizeof(b), &b_len))
	{
		*reason = "domain of the e-mail address cannot be normalised";
		return false;
	}
	b_len = cdp_core_utf8_lower(b, b_len);
	if (!nfkc->normalize(nfkc->arg, b, b_len, a, sizeof(a), &a_len))
	{
		*reason = "domain of the e-mail address cannot be normalised";
		return false;
	}
	while (a_len > 0 && is_space(a[a_len - 1]))
		a_len--;
	if (a_len == 0)
		return keep_verbatim(value, len, out, out_len, reason);
	if (domain + a_len > CDP_MAX_VALUE_BYTES)
	{
		*reason = "value is longer than 512 bytes";
		return false;
	}
	copy_lower(out, value, domain);
	memcpy(out + domain, a, a_len);
	*out_len = domain + a_len;
	return true;
}

static bool
normalize_phone(const char *value, size_t len, char *out, size_t *out_len,
				const char **reason)
{
	char digits[16]; /* '+' and at most 15 digits */
	size_t n = 0;

	if (value[0] != '+')
		return keep_verbatim(value, len, out, out_len, reason);

	digits[n++] = '+';
	for (size_t i = 1; i < len; i++)
	{
		char c = value[i];

		if (is_space(c) || c == '-' || c == '.' || c == '(' || c == ')' ||
			c == '/')
			continue;
		if (c < '0' || c > '9' || n == sizeof(digits))
			return keep_verbatim(value, len, out, out_len, reason);
		digits[n++] = c;
	}
	if (n < 8 || digits[1] == '0')
		return keep_verbatim(value, len, out, out_len, reason);
	memcpy(out, digits, n);
	*out_len = n;
	return true;
}

/*
 * Write the normal form "namespace:value" to "out", which has room for
 * CDP_MAX_IDENTIFIER_BYTES; nothing is NUL-terminated.  "nfkc" may be null.
 * On failure the contents of "out" are undefined.
 */
bool
cdp_core_identifier_normalize(const char *ns, size_t ns_len,
							  const char *value, size_t value_len,
							  const CdpCoreNfkc *nfkc,
							  char *out, size_t *out_len,
							  const char **reason)
{
	char *out_value;
	size_t out_value_len;
	bool ok;

	if (ns_len == 0)
	{
		*reason = "namespace is empty";
		return false;
	}
	if (ns_len > CDP_MAX_NAMESPACE_BYTES)
	{
		*reason = "namespace is longer than 63 bytes";
		return false;
	}
	for (size_t i = 0; i < ns_len; i++)
	{
		if (!is_namespace_char(ns[i], i == 0))
		{
			if (i == 0)
				*reason = "namespace does not start with a letter or an underscore";
			else
				*reason = "namespace has a character other than letters, digits, "
						  "underscore, dot and hyphen";
			return false;
		}
		out[i] = ascii_lower(ns[i]);
	}
	out[ns_len] = ':';
	out_value = out + ns_len + 1;

	trim(&value, &value_len);
	if (value_len == 0)
	{
		*reason = "value is empty";
		return false;
	}
	if (value_len > CDP_MAX_RAW_VALUE_BYTES)
	{
		*reason = "value is longer than 512 bytes";
		return false;
	}
	if (memchr(value, 0, value_len) != NULL)
	{
		*reason = "value has a zero byte";
		return false;
	}

	if (ns_len == 5 && memcmp(out, "email", 5) == 0)
		ok = normalize_email(value, value_len, nfkc,
							 out_value, &out_value_len, reason);
	else if (ns_len == 5 && memcmp(out, "phone", 5) == 0)
		ok = normalize_phone(value, value_len,
							 out_value, &out_value_len, reason);
	else
		ok = keep_verbatim(value, value_len,
						   out_value, &out_value_len, reason);
	if (!ok)
		return false;
	*out_len = ns_len + 1 + out_value_len;
	return true;
}

/*
 * The same from one text "namespace:value"; blanks around it do not count.
 */
bool
cdp_core_identifier_parse(const char *text, size_t len,
						  const CdpCoreNfkc *nfkc,
						  char *out, size_t *out_len, const char **reason)
{
	const char *colon;

	trim(&text, &len);
	colon = (len > 0) ? memchr(text, ':', len) : NULL;
	if (colon == NULL)
	{
		*reason = "text has no colon between namespace and value";
		return false;
	}
	return cdp_core_identifier_normalize(text, (size_t) (colon - text),
										 colon + 1,
										 len - (size_t) (colon - text) - 1,
										 nfkc, out, out_len, reason);
}

/*
 * Check the shape of a stored identifier and find where its namespace ends.
 * Does not prove that the value is in normal form.
 */
bool
cdp_core_identifier_split(const char *text, size_t len, size_t *ns_len)
{
	size_t i = 0;
	size_t value_len;

	while (i < len && text[i] != ':')
	{
		if (!is_namespace_char(text[i], i == 0) ||
			text[i] != ascii_lower(text[i]))
			return false;
		i++;
	}
	if (i == 0 || i > CDP_MAX_NAMESPACE_BYTES || i == len)
		return false;
	value_len = len - i - 1;
	if (value_len == 0 || value_len > CDP_MAX_VALUE_BYTES ||
		memchr(text + i + 1, 0, value_len) != NULL)
		return false;
	*ns_len = i;
	return true;
}

/*
 * Text form of a set, as PostgreSQL writes an array of text:
 *
 *		{ element , element , ... }
 *
 * An element is quoted ("..." with backslash escapes, kept exactly) or bare
 * (blanks around it dropped, backslash escapes allowed).  "scratch" has room
 * for "len" bytes.
 */
void
cdp_core_set_reader_init(CdpCoreSetReader *reader, const char *text,
						 size_t len, char *scratch)
{
	reader->text = text;
	reader->len = len;
	reader->pos = 0;
	reader->scratch = scratch;
	reader->state = SET_START;
}

static void
skip_space(CdpCoreSetReader *reader)
{
	while (reader->pos < reader->len && is_space(reader->text[reader->pos]))
		reader->pos++;
}

static CdpCoreSetStatus
set_error(const char **reason, const char *phrase)
{
	*reason = phrase;
	return CDP_CORE_SET_ERROR;
}

static bool
is_null_word(const char *s, size_t len)
{
	return len == 4 && ascii_lower(s[0]) == 'n' && ascii_lower(s[1]) == 'u' &&
		   ascii_lower(s[2]) == 'l' && ascii_lower(s[3]) == 'l';
}

/* after the opening brace or a comma: one element and what ends it */
static CdpCoreSetStatus
read_element(CdpCoreSetReader *reader, const char **element,
			 size_t *element_len, const char **reason)
{
	const char *s = reader->text;
	size_t n = 0;
	size_t kept = 0; /* length without trailing bare blanks */
	bool quoted = false;
	bool escaped = false;

	skip_space(reader);
	if (reader->pos < reader->len && s[reader->pos] == '"')
	{
		quoted = true;
		reader->pos++;
		for (;;)
		{
			if (reader->pos == reader->len)
				return set_error(reason, "text ends inside double quotes");
			if (s[reader->pos] == '"')
				break;
			if (s[reader->pos] == '\\' && ++reader->pos == reader->len)
				return set_error(reason, "text ends inside double quotes");
			reader->scratch[n++] = s[reader->pos++];
		}
		reader->pos++;
		kept = n;
		skip_space(reader);
		if (reader->pos < reader->len && s[reader->pos] != ',' &&
			s[reader->pos] != '}')
			return set_error(reason, "quoted text goes on after its closing quote");
	}
	else
	{
		while (reader->pos < reader->len && s[reader->pos] != ',' &&
			   s[reader->pos] != '}')
		{
			char c = s[reader->pos];

			if (c == '{')
				return set_error(reason, "text has an opening brace outside double quotes");
			if (c == '"')
				return set_error(reason, "text has a double quote inside a bare element");
			if (c == '\\')
			{
				if (++reader->pos == reader->len)
					return set_error(reason, "text ends after a backslash");
				reader->scratch[n++] = s[reader->pos++];
				kept = n;
				escaped = true;
				continue;
			}
			reader->scratch[n++] = c;
			reader->pos++;
			if (!is_space(c))
				kept = n;
		}
	}

	if (reader->pos == reader->len)
		return set_error(reason, "text ends before its closing brace");
	if (!quoted && kept == 0)
		return set_error(reason, "text has an empty element");
	if (!quoted && !escaped && is_null_word(reader->scratch, kept))
		return set_error(reason, "text has a null element");

	reader->state = (s[reader->pos] == ',') ? SET_ELEMENT : SET_CLOSED;
	reader->pos++;
	*element = reader->scratch;
	*element_len = kept;
	return CDP_CORE_SET_ELEMENT;
}

/*
 * Next element, the end, or an error with its reason.  The element lives in
 * the scratch buffer until the next call.  After an error the reader must not
 * be used again.
 */
CdpCoreSetStatus
cdp_core_set_reader_next(CdpCoreSetReader *reader, const char **element,
						 size_t *element_len, const char **reason)
{
	if (reader->state == SET_START)
	{
		skip_space(reader);
		if (reader->pos == reader->len || reader->text[reader->pos] != '{')
			return set_error(reason, "text does not start with an opening brace");
		reader->pos++;
		reader->state = SET_ELEMENT;
		skip_space(reader);
		if (reader->pos < reader->len && reader->text[reader->pos] == '}')
		{
			reader->pos++;
			reader->state = SET_CLOSED;
		}
	}
	if (reader->state == SET_CLOSED)
	{
		skip_space(reader);
		if (reader->pos != reader->len)
			return set_error(reason, "text goes on after its closing brace");
		return CDP_CORE_SET_END;
	}
	return read_element(reader, element, element_len, reason);
}

/*
 * Write one element, quoted when it must be, and return how many bytes that
 * takes; with a null "out" only count.  At most 2 * len + 2.
 */
size_t
cdp_core_set_element_write(const char *element, size_t len, char *out)
{
	bool quote = (len == 0) || is_null_word(element, len);
	size_t n = 0;

	for (size_t i = 0; !quote && i < len; i++)
	{
		char c = element[i];

		quote = c == '{' || c == '}' || c == '"' || c == '\\' || c == ',' ||
				is_space(c);
	}
	if (!quote)
	{
		if (out != NULL)
			memcpy(out, element, len);
		return len;
	}

	for (size_t i = 0; i < len; i++)
	{
		bool escape = element[i] == '"' || element[i] == '\\';

		if (out != NULL)
		{
			if (escape)
				out[1 + n] = '\\';
			out[1 + n + escape] = element[i];
		}
		n += 1 + escape;
	}
	if (out != NULL)
		out[0] = out[1 + n] = '"';
	return n + 2;
}
