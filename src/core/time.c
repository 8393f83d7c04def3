/*
 * src/core/time.c
 *		Parsers of times and of the other scalar types a trait may have.
 *
 * A time is ISO 8601 in the profile of RFC 3339, a little wider:
 *
 *		YYYY-MM-DD
 *		YYYY-MM-DD[T| ]HH:MM[:SS[.fraction]][Z|+HH|+HH:MM|+HHMM]
 *
 * Without a zone it is UTC: the session's TimeZone must not change what a
 * message means.  The calendar is the proleptic Gregorian one.  A leap second
 * (:60) is the first second of the next minute.  Digits beyond microseconds
 * round half away from zero.
 *
 * A reason is a phrase that reads well after "The " and never quotes input.
 */
#include "core/time.h"

#include <stdlib.h>
#include <string.h>

#define USECS_PER_SEC INT64_C(1000000)
#define SECS_PER_DAY INT64_C(86400)
#define USECS_PER_DAY (SECS_PER_DAY * USECS_PER_SEC)

/* seconds from 1970-01-01 to 2000-01-01: 10957 days */
#define UNIX_TO_2000_SECS (INT64_C(10957) * SECS_PER_DAY)

/* epochs below this are seconds (until the year 5138), others milliseconds */
#define EPOCH_SECONDS_BELOW 1e11

/* no double needs more digits than the 767 of the longest exact decimal */
#define MAX_FLOAT_BYTES 1024

typedef struct Cursor
{
	const char *s;
	size_t len;
	size_t pos;
} Cursor;

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static char
peek(const Cursor *cur)
{
	return cur->pos < cur->len ? cur->s[cur->pos] : '\0';
}

/* exactly n digits */
static bool
read_digits(Cursor *cur, int n, int *v)
{
	*v = 0;
	for (int i = 0; i < n; i++)
	{
		char c = peek(cur);

		if (!is_digit(c))
			return false;
		*v = *v * 10 + (c - '0');
		cur->pos++;
	}
	return true;
}

static bool
read_char(Cursor *cur, char c)
{
	if (cur->pos == cur->len || cur->s[cur->pos] != c)
		return false;
	cur->pos++;
	return true;
}

static bool
fail(const char **reason, const char *phrase)
{
	*reason = phrase;
	return false;
}

static int
days_in_month(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return days[month - 1] + (month == 2 && leap ? 1 : 0);
}

/*
 * Days since 2000-01-01, for years from 1.  Counting years from March puts
 * the leap day last, and months of 30.6 days on average give the day within
 * such a year: (153 * m + 2) / 5.
 */
static int64_t
days_from_civil(int year, int month, int day)
{
	int64_t y = month > 2 ? year : year - 1;
	int64_t m = month > 2 ? month - 3 : month + 9;

	/* 730425 is 2000-01-01 counted from 0000-03-01 */
	return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 -
		   730425;
}

/* "[.digits]" as microseconds, 0 to 1000000 */
static bool
read_fraction(Cursor *cur, int *usec)
{
	int n = 0;

	*usec = 0;
	if (peek(cur) != '.' && peek(cur) != ',')
		return true;
	cur->pos++;
	while (is_digit(peek(cur)))
	{
		int digit = peek(cur) - '0';

		if (n < 6)
			*usec = *usec * 10 + digit;
		else if (n == 6 && digit >= 5)
			(*usec)++;
		n++;
		cur->pos++;
	}
	if (n == 0)
		return false;
	for (; n < 6; n++)
		*usec *= 10;
	return true;
}

/* "[Z|+HH|+HH:MM|+HHMM]" as seconds east of UTC; none is UTC */
static bool
read_zone(Cursor *cur, int *seconds)
{
	char sign = peek(cur);
	int hour;
	int minute = 0;

	*seconds = 0;
	if (cur->pos == cur->len)
		return true;
	if (sign == 'Z' || sign == 'z')
	{
		cur->pos++;
		return true;
	}
	if (sign != '+' && sign != '-')
		return false;
	cur->pos++;
	if (!read_digits(cur, 2, &hour))
		return false;
	if (cur->pos < cur->len)
	{
		(void) read_char(cur, ':');
		if (!read_digits(cur, 2, &minute))
			return false;
	}
	if (hour > 23 || minute > 59)
		return false;
	*seconds = (hour * 3600 + minute * 60) * (sign == '-' ? -1 : 1);
	return true;
}

bool
cdp_core_parse_timestamp(const char *s, size_t len,
						 int64_t *usec_since_2000_utc, const char **reason)
{
	Cursor cur = {s, len, 0};
	int year,
		month,
		day;
	int hour = 0,
		minute = 0,
		second = 0,
		usec = 0,
		zone = 0;
	int64_t v;

	if (!read_digits(&cur, 4, &year) || !read_char(&cur, '-') ||
		!read_digits(&cur, 2, &month) || !read_char(&cur, '-') ||
		!read_digits(&cur, 2, &day))
		return fail(reason, "time does not start with a date as YYYY-MM-DD");
	if (year < 1)
		return fail(reason, "year is not between 0001 and 9999");
	if (month < 1 || month > 12)
		return fail(reason, "month is not between 01 and 12");
	if (day < 1 || day > days_in_month(year, month))
		return fail(reason, "day does not exist in that month");

	if (cur.pos < cur.len)
	{
		if (!read_char(&cur, 'T') && !read_char(&cur, 't') &&
			!read_char(&cur, ' '))
			return fail(reason, "date is not followed by T or a blank and a time of day");
		if (!read_digits(&cur, 2, &hour) || !read_char(&cur, ':') ||
			!read_digits(&cur, 2, &minute))
			return fail(reason, "time of day is not HH:MM or HH:MM:SS");
		if (read_char(&cur, ':'))
		{
			if (!read_digits(&cur, 2, &second))
				return fail(reason, "time of day is not HH:MM or HH:MM:SS");
			if (!read_fraction(&cur, &usec))
				return fail(reason, "fraction of a second has no digits");
		}
		if (hour > 23 || minute > 59 || second > 60)
			return fail(reason, "time of day is out of range");
		if (!read_zone(&cur, &zone))
			return fail(reason, "time zone is not Z, +HH, +HH:MM or +HHMM");
		if (cur.pos < cur.len)
			return fail(reason, "time goes on after its time zone");
	}

	v = (days_from_civil(year, month, day) * SECS_PER_DAY +
		 hour * 3600 + minute * 60 + second - zone) *
			USECS_PER_SEC +
		usec;
	if (v < CDP_MIN_TIMESTAMP || v > CDP_MAX_TIMESTAMP)
		return fail(reason, "year is not between 0001 and 9999");
	*usec_since_2000_utc = v;
	return true;
}

/*
 * A date, or the UTC date of a time.
 */
bool
cdp_core_parse_date(const char *s, size_t len, int32_t *days_since_2000,
					const char **reason)
{
	int64_t usec;
	int64_t days;

	if (!cdp_core_parse_timestamp(s, len, &usec, reason))
		return false;
	days = usec / USECS_PER_DAY;
	if (usec % USECS_PER_DAY < 0)
		days--;
	*days_since_2000 = (int32_t) days;
	return true;
}

/*
 * Time of a Unix epoch in seconds or, from 1e11 on (in seconds the year
 * 5138, in milliseconds March 1973), in milliseconds.
 */
bool
cdp_core_epoch_to_timestamp(double v, int64_t *usec_since_2000_utc)
{
	double fraction;
	int64_t whole;
	int64_t usec;

	/* outside this nothing is in range; NaN fails both tests */
	if (!(v > -1e15 && v < 1e15))
		return false;

	whole = (int64_t) v;
	fraction = v - (double) whole;
	if (v > -EPOCH_SECONDS_BELOW && v < EPOCH_SECONDS_BELOW)
		usec = whole * USECS_PER_SEC +
			   (int64_t) (fraction * 1e6 + (fraction < 0 ? -0.5 : 0.5));
	else
		usec = whole * 1000 +
			   (int64_t) (fraction * 1e3 + (fraction < 0 ? -0.5 : 0.5));
	usec -= UNIX_TO_2000_SECS * USECS_PER_SEC;
	if (usec < CDP_MIN_TIMESTAMP || usec > CDP_MAX_TIMESTAMP)
		return false;
	*usec_since_2000_utc = usec;
	return true;
}

/*
 * A decimal integer with an optional sign, nothing around it.
 */
bool
cdp_core_parse_int64(const char *s, size_t len, int64_t *v)
{
	bool negative = len > 0 && s[0] == '-';
	size_t i = (len > 0 && (s[0] == '-' || s[0] == '+')) ? 1 : 0;
	uint64_t limit = negative ? (uint64_t) INT64_MAX + 1 : INT64_MAX;
	uint64_t acc = 0;

	if (i == len)
		return false;
	for (; i < len; i++)
	{
		uint64_t digit;

		if (!is_digit(s[i]))
			return false;
		digit = (uint64_t) (s[i] - '0');
		if (acc > (limit - digit) / 10)
			return false;
		acc = acc * 10 + digit;
	}
	if (negative)
		*v = (acc == (uint64_t) INT64_MAX + 1) ? INT64_MIN : -(int64_t) acc;
	else
		*v = (int64_t) acc;
	return true;
}

/*
 * A finite decimal number: digits, at most one point, an optional exponent.
 * What overflows, or is not zero and becomes zero, is refused.
 */
bool
cdp_core_parse_float8(const char *s, size_t len, double *v)
{
	char buf[MAX_FLOAT_BYTES + 1];
	size_t i = (len > 0 && (s[0] == '-' || s[0] == '+')) ? 1 : 0;
	int digits = 0;
	bool nonzero = false;
	double result;

	if (len == 0 || len > MAX_FLOAT_BYTES)
		return false;
	for (bool point = false; i < len; i++)
	{
		if (is_digit(s[i]))
		{
			digits++;
			nonzero |= s[i] != '0';
		}
		else if (s[i] == '.' && !point)
			point = true;
		else
			break;
	}
	if (digits == 0)
		return false;
	if (i < len)
	{
		if (s[i] != 'e' && s[i] != 'E')
			return false;
		i++;
		if (i < len && (s[i] == '-' || s[i] == '+'))
			i++;
		if (i == len)
			return false;
		for (; i < len; i++)
		{
			if (!is_digit(s[i]))
				return false;
		}
	}

	/* the server always runs with LC_NUMERIC "C", so '.' is the point */
	memcpy(buf, s, len);
	buf[len] = '\0';
	result = strtod(buf, NULL);
	if (result - result != 0 || (nonzero && result == 0))
		return false;
	*v = result;
	return true;
}

bool
cdp_core_parse_bool(const char *s, size_t len, bool *v)
{
	static const struct
	{
		const char *word;
		bool value;
	} words[] = {
		{"true", true},
		{"t", true},
		{"yes", true},
		{"y", true},
		{"on", true},
		{"1", true},
		{"false", false},
		{"f", false},
		{"no", false},
		{"n", false},
		{"off", false},
		{"0", false},
	};

	for (size_t w = 0; w < sizeof(words) / sizeof(words[0]); w++)
	{
		const char *word = words[w].word;
		size_t i = 0;

		if (strlen(word) != len)
			continue;
		while (i < len &&
			   (s[i] >= 'A' && s[i] <= 'Z' ? s[i] + 32 : s[i]) == word[i])
			i++;
		if (i == len)
		{
			*v = words[w].value;
			return true;
		}
	}
	return false;
}

/*
 * 32 hexadecimal digits, plain or grouped 8-4-4-4-12, into 16 bytes.
 */
bool
cdp_core_parse_uuid(const char *s, size_t len, uint8_t *v)
{
	uint8_t out[16] = {0};
	size_t nibble = 0;

	if (len != 32 && len != 36)
		return false;
	for (size_t i = 0; i < len; i++)
	{
		char c = s[i];
		int x;

		if (len == 36 && (i == 8 || i == 13 || i == 18 || i == 23))
		{
			if (c != '-')
				return false;
			continue;
		}
		if (is_digit(c))
			x = c - '0';
		else if (c >= 'a' && c <= 'f')
			x = c - 'a' + 10;
		else if (c >= 'A' && c <= 'F')
			x = c - 'A' + 10;
		else
			return false;
		out[nibble / 2] |= (uint8_t) (x << (nibble % 2 == 0 ? 4 : 0));
		nibble++;
	}
	memcpy(v, out, sizeof(out));
	return true;
}
