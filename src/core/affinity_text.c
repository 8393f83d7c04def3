/*
 * src/core/affinity_text.c
 *		The text form of a summary (see affinity.h): JSON.
 *
 *		{"half_life": 2592000, "slots": 32, "at": 1741766400,
 *		 "plus": 4.25, "minus": 1, "absent": [0, 0.5],
 *		 "values": {"hats": -1, "shoes": [4, 0, 0.5]}}
 *
 * half_life is in seconds, and sums are what they are worth "at" a time, in
 * seconds since 1970; both have up to six decimals.  A value has its sum, or
 * [sum, below, above]: the exact sum is between sum - below and sum + above.  That
 * of a value which is not there is between -absent[0] and absent[1].  Numbers
 * have as many digits as it takes to read them back unchanged.
 *
 * Members may come in any order; half_life and slots must be there.  As JSON,
 * but for \u escapes, which are taken for ASCII only: text is in the encoding of
 * the caller, about which nothing is known here.
 */
#include "core/affinity.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/time.h"

/* 1970-01-01 in microseconds since 2000-01-01, with its sign changed */
#define UNIX_EPOCH (INT64_C(946684800) * 1000000)

/* beyond all that is valid, and no danger to arithmetic: 12,000 years */
#define FARTHEST INT64_C(400000000000000000)

/* the longest number: sign, 17 digits, point, e-308; and the longest time */
#define NUMBER_BYTES 32

/* names, braces and commas around the numbers of the header */
#define FRAME_BYTES 100

typedef struct Reader
{
	const char *at;
	const char *end;
	char *scratch; /* where strings go, unescaped */
	const char *reason;
} Reader;

/* -- out -- */

static char *
put_number(char *to, double x)
{
	for (int digits = 15; digits <= 17; digits++)
	{
		int n = snprintf(to, NUMBER_BYTES, "%.*g", digits, x);

		if (digits == 17 || strtod(to, NULL) == x)
			return to + n;
	}
	return to;
}

/* microseconds as seconds */
static char *
put_seconds(char *to, int64_t usec)
{
	uint64_t magnitude = usec < 0 ? -(uint64_t) usec : (uint64_t) usec;
	int n = snprintf(to, NUMBER_BYTES, "%s%llu.%06llu", usec < 0 ? "-" : "",
					 (unsigned long long) (magnitude / 1000000),
					 (unsigned long long) (magnitude % 1000000));

	while (to[n - 1] == '0')
		n--;
	return to + (to[n - 1] == '.' ? n - 1 : n);
}

static char *
put_words(char *to, const char *words)
{
	size_t len = strlen(words);

	memcpy(to, words, len);
	return to + len;
}

static char *
put_string(char *to, const char *s, size_t len)
{
	*to++ = '"';
	for (size_t i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) s[i];

		if (c == '"' || c == '\\')
		{
			*to++ = '\\';
			*to++ = (char) c;
		}
		else if (c < 0x20)
			to += snprintf(to, 7, "\\u%04x", (unsigned) c);
		else
			*to++ = (char) c;
	}
	*to++ = '"';
	return to;
}

/*
 * Bytes that printing may take, at most.
 */
size_t
cdp_core_affinity_print_size(const CdpAffinityView *view)
{
	size_t size = FRAME_BYTES + 7 * NUMBER_BYTES;

	for (int i = 0; i < view->count; i++)
		size += 6 * view->item[i].len + 3 * NUMBER_BYTES + 16;
	return size;
}

/*
 * Prints the text form, without a NUL; returns its length.
 */
size_t
cdp_core_affinity_print(const CdpAffinityView *view, char *out)
{
	char *to = put_seconds(put_words(out, "{\"half_life\": "), view->half_life);

	to += snprintf(to, NUMBER_BYTES, ", \"slots\": %d", view->slots);
	if (view->plus != 0 || view->minus != 0)
	{
		to = put_seconds(put_words(to, ", \"at\": "),
						 view->landmark * view->half_life + UNIX_EPOCH);
		to = put_number(put_words(to, ", \"plus\": "), view->plus);
		to = put_number(put_words(to, ", \"minus\": "), view->minus);
	}
	if (view->absent_below != 0 || view->absent_above != 0)
	{
		to = put_number(put_words(to, ", \"absent\": ["), view->absent_below);
		to = put_number(put_words(to, ", "), view->absent_above);
		*to++ = ']';
	}
	to = put_words(to, ", \"values\": {");
	for (int i = 0; i < view->count; i++)
	{
		const CdpAffinityItem *item = &view->item[i];

		if (i > 0)
			to = put_words(to, ", ");
		to = put_words(put_string(to, item->value, item->len), ": ");
		if (item->below == 0 && item->above == 0)
		{
			to = put_number(to, item->net);
			continue;
		}
		to = put_number(put_words(to, "["), item->net);
		to = put_number(put_words(to, ", "), item->below);
		to = put_number(put_words(to, ", "), item->above);
		*to++ = ']';
	}
	return (size_t) (put_words(to, "}}") - out);
}

/* -- in -- */

static bool
fail(Reader *reader, const char *reason)
{
	if (reader->reason == NULL)
		reader->reason = reason;
	return false;
}

static void
skip_blanks(Reader *reader)
{
	while (reader->at < reader->end &&
		   (*reader->at == ' ' || *reader->at == '\t' || *reader->at == '\n' ||
			*reader->at == '\r'))
		reader->at++;
}

/* is this the next character, but for blanks?  If so it is passed. */
static bool
accept(Reader *reader, char c)
{
	skip_blanks(reader);
	if (reader->at == reader->end || *reader->at != c)
		return false;
	reader->at++;
	return true;
}

static bool
expect(Reader *reader, char c)
{
	return accept(reader, c) || fail(reader, "text is not JSON of an affinity");
}

/* the four digits of a \u escape, if they are a character of ASCII but NUL */
static bool
read_ascii(Reader *reader, char *c)
{
	int code = 0;

	for (int i = 0; i < 4; i++)
	{
		char digit = reader->at < reader->end ? *reader->at++ : '\0';

		if (digit >= '0' && digit <= '9')
			code = code * 16 + digit - '0';
		else if (digit >= 'a' && digit <= 'f')
			code = code * 16 + digit - 'a' + 10;
		else if (digit >= 'A' && digit <= 'F')
			code = code * 16 + digit - 'A' + 10;
		else
			return fail(reader, "text is not JSON of an affinity");
	}
	if (code == 0 || code > 0x7F)
		return fail(reader, "\\u escape is not of an ASCII character");
	*c = (char) code;
	return true;
}

static bool
read_escaped(Reader *reader, char *c)
{
	static const char from[] = "\"\\/bfnrt";
	static const char to[] = "\"\\/\b\f\n\r\t";
	const char *found;

	if (reader->at == reader->end)
		return fail(reader, "text is not JSON of an affinity");
	*c = *reader->at++;
	if (*c == 'u')
		return read_ascii(reader, c);
	found = *c == '\0' ? NULL : strchr(from, *c);
	if (found == NULL)
		return fail(reader, "text is not JSON of an affinity");
	*c = to[found - from];
	return true;
}

/* a string, into the scratch space, which has room for all of the text */
static bool
read_string(Reader *reader, const char **s, size_t *len)
{
	char *to = reader->scratch;

	if (!expect(reader, '"'))
		return false;
	for (;;)
	{
		char c;

		if (reader->at == reader->end)
			return fail(reader, "text is not JSON of an affinity");
		c = *reader->at++;
		if (c == '"')
			break;
		if ((unsigned char) c < 0x20)
			return fail(reader, "text is not JSON of an affinity");
		if (c == '\\' && !read_escaped(reader, &c))
			return false;
		*to++ = c;
	}
	*s = reader->scratch;
	*len = (size_t) (to - reader->scratch);
	reader->scratch = to;
	return true;
}

/* what looks like a number from afar */
static size_t
number_length(Reader *reader)
{
	const char *start;

	skip_blanks(reader);
	start = reader->at;
	while (reader->at < reader->end && *reader->at != '\0' &&
		   strchr("+-.eE0123456789", *reader->at) != NULL)
		reader->at++;
	return (size_t) (reader->at - start);
}

/* a number; what is too small for a normal one is 0 */
static bool
read_number(Reader *reader, double *x)
{
	size_t len = number_length(reader);

	if (!cdp_core_parse_float8(reader->at - len, len, x))
		return fail(reader, "number is missing or out of range");
	if (fabs(*x) < DBL_MIN)
		*x = 0;
	return true;
}

/* seconds with up to six decimals, as microseconds */
static bool
read_seconds(Reader *reader, int64_t *usec)
{
	size_t len = number_length(reader);
	const char *s = reader->at - len;
	bool negative = len > 0 && s[0] == '-';
	int decimals = -1; /* none before the point */
	int64_t sum = 0;

	for (size_t i = negative; i < len; i++)
	{
		if (s[i] == '.' && decimals < 0)
			decimals = 0;
		else if (s[i] < '0' || s[i] > '9' || decimals == 6 || sum > INT64_MAX / 100)
			return fail(reader, "time is not in seconds with up to six decimals");
		else
		{
			sum = sum * 10 + s[i] - '0';
			decimals += decimals >= 0;
		}
	}
	for (decimals = decimals < 0 ? 0 : decimals; decimals < 6; decimals++)
	{
		if (sum > INT64_MAX / 10)
			return fail(reader, "time is out of range");
		sum *= 10;
	}
	if (len == (size_t) negative)
		return fail(reader, "time is not in seconds with up to six decimals");
	*usec = negative ? -sum : sum;
	return true;
}

static bool
read_values(Reader *reader, CdpAffinityView *view)
{
	if (!expect(reader, '{'))
		return false;
	if (accept(reader, '}'))
		return true;
	do
	{
		CdpAffinityItem *item = &view->item[view->count];

		if (view->count == CDP_AFFINITY_MAX_SLOTS)
			return fail(reader, "number of values is above that of slots");
		item->below = item->above = 0;
		if (!read_string(reader, &item->value, &item->len) || !expect(reader, ':'))
			return false;
		if (!accept(reader, '['))
		{
			if (!read_number(reader, &item->net))
				return false;
		}
		else if (!read_number(reader, &item->net) || !expect(reader, ',') ||
				 !read_number(reader, &item->below) || !expect(reader, ',') ||
				 !read_number(reader, &item->above) || !expect(reader, ']'))
			return false;
		if (item->net == 0)
			item->net = 0; /* -0 */
		if (item->net != 0 || item->below != 0 || item->above != 0)
			view->count++;
	} while (accept(reader, ','));
	return expect(reader, '}');
}

/* one member of the outermost object; "seen" has a bit for each */
static bool
read_member(Reader *reader, CdpAffinityView *view, int64_t *at, unsigned *seen)
{
	static const char *const names[] = {"half_life", "slots", "at", "plus", "minus", "absent",
										"values"};
	const char *name;
	size_t len;
	double slots;
	unsigned i = 0;

	if (!read_string(reader, &name, &len) || !expect(reader, ':'))
		return false;
	while (i < 7 && (strlen(names[i]) != len || memcmp(names[i], name, len) != 0))
		i++;
	if (i == 7)
		return fail(reader, "member of the object is unknown");
	if (*seen & (1u << i))
		return fail(reader, "member of the object is there twice");
	*seen |= 1u << i;
	switch (i)
	{
		case 0:
			return read_seconds(reader, &view->half_life);
		case 1:
			if (!read_number(reader, &slots))
				return false;
			if (!(slots >= 1 && slots <= CDP_AFFINITY_MAX_SLOTS) || slots != floor(slots))
				return fail(reader, "number of slots is not between 1 and 96");
			view->slots = (int) slots;
			return true;
		case 2:
			return read_seconds(reader, at);
		case 3:
			return read_number(reader, &view->plus);
		case 4:
			return read_number(reader, &view->minus);
		case 5:
			return expect(reader, '[') && read_number(reader, &view->absent_below) &&
				   expect(reader, ',') && read_number(reader, &view->absent_above) &&
				   expect(reader, ']');
		default:
			return read_values(reader, view);
	}
}

static bool
read_all(Reader *reader, CdpAffinityView *view)
{
	int64_t at = UNIX_EPOCH;
	unsigned seen = 0;

	if (!expect(reader, '{'))
		return false;
	do
	{
		if (!read_member(reader, view, &at, &seen))
			return false;
	} while (accept(reader, ','));
	if (!expect(reader, '}'))
		return false;
	skip_blanks(reader);
	if (reader->at != reader->end)
		return fail(reader, "text is not JSON of an affinity");
	if ((seen & 3) != 3)
		return fail(reader, "half_life or slots is missing");
	if (view->half_life < CDP_AFFINITY_MIN_HALF_LIFE)
		return fail(reader, "half-life is not between a second and a century");
	if (at < -FARTHEST || at > FARTHEST)
		return fail(reader, "time is out of range");
	at -= UNIX_EPOCH;
	if (at % view->half_life != 0)
		return fail(reader, "time is not a whole number of half-lives since 2000");
	view->landmark = at / view->half_life;
	/* -0 */
	view->plus += 0.0;
	view->minus += 0.0;
	view->absent_below += 0.0;
	view->absent_above += 0.0;
	return true;
}

/*
 * Reads the text form.  "scratch" has as many bytes as the text and holds the
 * values afterwards.  False with a reason if the text is not a summary.
 */
bool
cdp_core_affinity_parse(CdpAffinityView *view, const char *text, size_t len, char *scratch,
						const char **reason)
{
	Reader reader = {text, text + len, scratch, NULL};

	memset(view, 0, offsetof(CdpAffinityView, item));
	if (!read_all(&reader, view))
	{
		*reason = reader.reason;
		return false;
	}
	if (view->plus == 0 && view->minus == 0)
		view->landmark = view->count == 0 ? 0 : view->landmark;
	cdp_core_affinity_sort(view);
	return cdp_core_affinity_check(view, reason);
}
