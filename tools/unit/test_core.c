/*
 * tools/unit/test_core.c
 *		Unit tests of src/core/: text, time, segexpr.  Prints TAP.
 *
 * Built and run plain and under sanitizers by tools/unit/run.sh.  Inputs are
 * copied to blocks of their exact size, so that reading one byte too many is
 * seen.
 */
#include "core/segexpr.h"
#include "core/text.h"
#include "core/time.h"
#include "core/unionfind.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int tests = 0;
static int failures = 0;

static void
ok(bool passed, const char *name)
{
	printf("%s %d - %s\n", passed ? "ok" : "not ok", ++tests, name);
	if (!passed)
		failures++;
}

/* a copy without a terminating NUL, to be freed */
static char *
exact(const char *s, size_t len)
{
	char *copy = malloc(len > 0 ? len : 1);

	if (len > 0)
		memcpy(copy, s, len);
	return copy;
}

/* -- text -- */

/* a stand-in for the server: U+00A0 to a blank, everything else unchanged */
static bool
fake_nfkc(void *arg, const char *in, size_t in_len,
		  char *out, size_t out_size, size_t *out_len)
{
	size_t n = 0;

	++*(int *) arg;
	for (size_t i = 0; i < in_len; i++)
	{
		if (n == out_size)
			return false;
		if (in_len - i >= 2 && memcmp(in + i, "\xC2\xA0", 2) == 0)
		{
			out[n++] = ' ';
			i++;
		}
		else
			out[n++] = in[i];
	}
	*out_len = n;
	return true;
}

static void
check_identifier_n(const char *text, size_t len, const char *expected)
{
	char name[256];
	int calls = 0;
	CdpCoreNfkc nfkc = {fake_nfkc, &calls};
	char *in = exact(text, len);
	char *out = malloc(CDP_MAX_IDENTIFIER_BYTES);
	size_t out_len = 0;
	size_t ns_len;
	const char *reason = NULL;
	bool done = cdp_core_identifier_parse(in, len, &nfkc, out, &out_len,
										  &reason);
	bool passed;

	if (expected[0] == '!')
		passed = !done && reason != NULL && strcmp(reason, expected + 1) == 0;
	else
	{
		char *again = malloc(CDP_MAX_IDENTIFIER_BYTES);
		size_t again_len = 0;

		passed = done && out_len == strlen(expected) &&
				 memcmp(out, expected, out_len) == 0 &&
				 cdp_core_identifier_split(out, out_len, &ns_len) &&
				 out[ns_len] == ':' &&
				 cdp_core_identifier_parse(out, out_len, &nfkc, again, &again_len,
										   &reason) &&
				 again_len == out_len && memcmp(out, again, out_len) == 0;
		free(again);
	}
	snprintf(name, sizeof(name), "identifier %.60s%s", text,
			 expected[0] == '!' ? " is refused" : "");
	for (char *p = name; *p; p++)
	{
		if (*p == '#' || (unsigned char) *p < ' ')
			*p = '?';
	}
	ok(passed, name);
	free(in);
	free(out);
}

static void
check_identifier(const char *text, const char *expected)
{
	check_identifier_n(text, strlen(text), expected);
}

static void
test_identifier(void)
{
	static const char not_name[] = "!namespace has a character other than letters, digits, "
								   "underscore, dot and hyphen";
	char big[6000];

	check_identifier("email:Ada@Example.COM", "email:ada@example.com");
	check_identifier("EMAIL: \tada@x.y\n", "email:ada@x.y");
	check_identifier("email:No At", "email:No At");
	check_identifier("email:@X", "email:@X");
	check_identifier("email:X@", "email:X@");
	check_identifier("email:@", "email:@");
	check_identifier("email:A@B@C", "email:a@b@c");
	check_identifier("email:A@\xC3\x9C.DE", "email:a@\xC3\xBC.de");
	check_identifier("email:\xC3\x9C@A.DE", "email:\xC3\x9C@a.de");
	check_identifier("email:A@\xC3\x9C\xC2\xA0", "email:a@\xC3\xBC");
	check_identifier("email:A@\xC2\xA0", "email:A@\xC2\xA0");
	check_identifier("email:a@\xC4\xB0\xE1\xBA\x9E.x", "email:a@i\xC3\x9F.x");
	check_identifier("email:a@\xCE\x91\xD0\x96\xC5\xB8\xE1\xBA\xA0",
					 "email:a@\xCE\xB1\xD0\xB6\xC3\xBF\xE1\xBA\xA1");
	check_identifier("email:a@\xFF\xC3", "email:a@\xFF\xC3");
	check_identifier("phone:+33 1 (23) 45-67.89/0", "phone:+331234567890");
	check_identifier("phone:+0123456789", "phone:+0123456789");
	check_identifier("phone:+123456", "phone:+123456");
	check_identifier("phone:+1 234567", "phone:+1234567");
	check_identifier("phone:+1234 5678 9012 345", "phone:+123456789012345");
	check_identifier("phone:+1234 5678 9012 3456", "phone:+1234 5678 9012 3456");
	check_identifier("phone:+1 234567x", "phone:+1 234567x");
	check_identifier("phone:01 23", "phone:01 23");
	check_identifier("phone:+", "phone:+");
	check_identifier("Cookie: A b ", "cookie:A b");
	check_identifier("a:b:c", "a:b:c");
	check_identifier("_x.Y-9:v", "_x.y-9:v");
	check_identifier(" \nx:v ", "x:v");

	check_identifier("", "!text has no colon between namespace and value");
	check_identifier("abc", "!text has no colon between namespace and value");
	check_identifier("  ", "!text has no colon between namespace and value");
	check_identifier(":x", "!namespace is empty");
	check_identifier("x :v", not_name);
	check_identifier("x:", "!value is empty");
	check_identifier("x: \t\v\f\r\n ", "!value is empty");
	check_identifier("9x:v", "!namespace does not start with a letter or an underscore");
	check_identifier("a b:v", not_name);
	check_identifier("\xC3\xA9:v", "!namespace does not start with a letter or an underscore");
	check_identifier_n("x:a\0b", 5, "!value has a zero byte");

	memset(big, 'v', sizeof(big));
	memcpy(big, "x:", 2);
	big[2 + 512] = '\0';
	check_identifier(big, big);
	big[2 + 512] = 'v';
	check_identifier_n(big, 2 + 513, "!value is longer than 512 bytes");
	check_identifier_n(big, sizeof(big), "!value is longer than 512 bytes");
	memcpy(big, "email:a@\xC3\xBC", 10);
	check_identifier_n(big, 6 + 512 + 1, "!value is longer than 512 bytes");
	memset(big, 'n', 64);
	big[64] = ':';
	check_identifier_n(big, 70, "!namespace is longer than 63 bytes");
	memset(big, ' ', sizeof(big));
	memcpy(big, "phone:+1", 8);
	memcpy(big + 1000, "2345678", 8);
	check_identifier(big, "phone:+12345678");
}

static void
test_lower(void)
{
	/* each pair: a capital and its small letter, or a letter without case */
	static const struct
	{
		const char *from;
		const char *to;
	} pairs[] = {
		{"AZ[@`", "az[@`"},
		{"\xC3\x80\xC3\x9E\xC3\x97\xC3\x9F", "\xC3\xA0\xC3\xBE\xC3\x97\xC3\x9F"},
		{"\xC4\x80\xC4\xB6\xC4\xB8\xC4\xB9\xC5\x87\xC5\x89",
		 "\xC4\x81\xC4\xB7\xC4\xB8\xC4\xBA\xC5\x88\xC5\x89"},
		{"\xC5\x8A\xC5\xB6\xC5\xB8\xC5\xBD\xC5\xBF", "\xC5\x8B\xC5\xB7\xC3\xBF\xC5\xBE\xC5\xBF"},
		{"\xCE\x86\xCE\x88\xCE\x8A\xCE\x8C\xCE\x8F\xCE\xA9\xCF\x82",
		 "\xCE\xAC\xCE\xAD\xCE\xAF\xCF\x8C\xCF\x8E\xCF\x89\xCF\x82"},
		{"\xD0\x80\xD0\x8F\xD0\x90\xD0\xAF\xD1\x8F", "\xD1\x90\xD1\x9F\xD0\xB0\xD1\x8F\xD1\x8F"},
		{"\xD3\x80\xD3\x81\xD3\x90\xD4\xAE", "\xD3\x8F\xD3\x82\xD3\x91\xD4\xAF"},
		{"\xF0\x9F\x98\x80"
		 "A",
		 "\xF0\x9F\x98\x80"
		 "a"},
		{"\xE0\x80\x80"
		 "A\xC3",
		 "\xE0\x80\x80"
		 "a\xC3"},
	};

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
	{
		size_t len = strlen(pairs[i].from);
		char *s = exact(pairs[i].from, len);

		len = cdp_core_utf8_lower(s, len);
		ok(len == strlen(pairs[i].to) && memcmp(s, pairs[i].to, len) == 0,
		   "lower case");
		free(s);
	}
}

/* read a set; compare its elements joined by '|', or the reason after '!' */
static void
check_set(const char *text, const char *expected)
{
	size_t len = strlen(text);
	char *in = exact(text, len);
	char *scratch = exact(text, len);
	char got[256] = "";
	char name[300];
	CdpCoreSetReader reader;
	CdpCoreSetStatus status;
	const char *element;
	size_t element_len;
	const char *reason = "";
	size_t used = 0;

	cdp_core_set_reader_init(&reader, in, len, scratch);
	while ((status = cdp_core_set_reader_next(&reader, &element, &element_len,
											  &reason)) == CDP_CORE_SET_ELEMENT)
	{
		memcpy(got + used, element, element_len);
		used += element_len;
		got[used++] = '|';
	}
	got[used] = '\0';
	if (status == CDP_CORE_SET_ERROR)
		snprintf(got, sizeof(got), "!%s", reason);
	snprintf(name, sizeof(name), "set %s", text);
	ok(strcmp(got, expected) == 0, name);
	free(in);
	free(scratch);
}

static void
test_set(void)
{
	static const char *const elements[] = {
		"", "a", "null", "NuLL", "nulls", "a b", "a,b", "{", "}", "\"", "\\",
		"\\\"", " a", "\t", "a\nb", "\xC3\xA9", "a\"b\\c,d{e}f "};
	char text[512] = "{";
	size_t used = 1;
	size_t i = 0;
	CdpCoreSetReader reader;
	char scratch[512];
	const char *element;
	size_t len;
	const char *reason;

	check_set("{}", "");
	check_set(" {\t} ", "");
	check_set("{a}", "a|");
	check_set("{ a , b c }", "a|b c|");
	check_set("{\"a\" , \" b \"}", "a| b |");
	check_set("{\"\"}", "|");
	check_set("{a\\,b,\"q\\\"\\\\\",\\ x\\ }", "a,b|q\"\\| x |");
	check_set("{\"null\",\\null}", "null|null|");
	check_set("", "!text does not start with an opening brace");
	check_set("a", "!text does not start with an opening brace");
	check_set("{", "!text ends before its closing brace");
	check_set("{a", "!text ends before its closing brace");
	check_set("{a,", "!text ends before its closing brace");
	check_set("{\"a\"", "!text ends before its closing brace");
	check_set("{a,}", "!text has an empty element");
	check_set("{,a}", "!text has an empty element");
	check_set("{ , }", "!text has an empty element");
	check_set("{a}b", "!text goes on after its closing brace");
	check_set("{}}", "!text goes on after its closing brace");
	check_set("{\"a", "!text ends inside double quotes");
	check_set("{\"a\\", "!text ends inside double quotes");
	check_set("{a\\", "!text ends after a backslash");
	check_set("{\"a\"b}", "!quoted text goes on after its closing quote");
	check_set("{a\"b\"}", "!text has a double quote inside a bare element");
	check_set("{{a}}", "!text has an opening brace outside double quotes");
	check_set("{a,Null}", "!text has a null element");

	for (i = 0; i < sizeof(elements) / sizeof(elements[0]); i++)
	{
		size_t size = cdp_core_set_element_write(elements[i],
												 strlen(elements[i]), NULL);

		if (i > 0)
			text[used++] = ',';
		if (cdp_core_set_element_write(elements[i], strlen(elements[i]),
									   text + used) != size)
			break;
		used += size;
	}
	text[used++] = '}';
	ok(i == sizeof(elements) / sizeof(elements[0]), "set writer measures what it writes");

	cdp_core_set_reader_init(&reader, text, used, scratch);
	for (i = 0; cdp_core_set_reader_next(&reader, &element, &len, &reason) ==
				CDP_CORE_SET_ELEMENT;
		 i++)
	{
		if (len != strlen(elements[i]) || memcmp(element, elements[i], len) != 0)
			break;
	}
	ok(i == sizeof(elements) / sizeof(elements[0]), "set reader reads what the writer writes");
	ok(cdp_core_set_element_write("a b", 3, text) == 5 &&
		   memcmp(text, "\"a b\"", 5) == 0 &&
		   cdp_core_set_element_write("a:b", 3, text) == 3,
	   "set writer quotes when needed");
}

/* -- time -- */

static void
check_time(const char *text, int64_t expected, const char *expected_reason)
{
	size_t len = strlen(text);
	char *in = exact(text, len);
	int64_t v = 0;
	const char *reason = NULL;
	bool done = cdp_core_parse_timestamp(in, len, &v, &reason);
	char name[300];

	snprintf(name, sizeof(name), "time %s", text);
	if (expected_reason != NULL)
		ok(!done && reason != NULL && strcmp(reason, expected_reason) == 0, name);
	else
		ok(done && v == expected, name);
	free(in);
}

#define SECONDS(n) (INT64_C(n) * 1000000)

static void
test_timestamp(void)
{
	static const char not_time[] = "time of day is not HH:MM or HH:MM:SS";
	static const char not_date[] = "time does not start with a date as YYYY-MM-DD";
	static const char not_zone[] = "time zone is not Z, +HH, +HH:MM or +HHMM";
	static const char no_day[] = "day does not exist in that month";
	static const char bad_year[] = "year is not between 0001 and 9999";
	static const char bad_range[] = "time of day is out of range";

	check_time("2000-01-01", 0, NULL);
	check_time("2000-01-01T00:00:00Z", 0, NULL);
	check_time("2000-01-01t00:00:01z", SECONDS(1), NULL);
	check_time("2000-01-01 00:01", SECONDS(60), NULL);
	check_time("2000-01-01T00:00:00.5", 500000, NULL);
	check_time("2000-01-01T00:00:00,25Z", 250000, NULL);
	check_time("2000-01-01T00:00:00.0000004Z", 0, NULL);
	check_time("2000-01-01T00:00:00.0000005Z", 1, NULL);
	check_time("2000-01-01T00:00:00.00000049999999999999999Z", 0, NULL);
	check_time("2000-01-01T23:59:59.9999999Z", SECONDS(86400), NULL);
	check_time("1999-12-31T23:59:60Z", 0, NULL);
	check_time("1999-12-31T23:59:60.5Z", 500000, NULL);
	check_time("2000-01-01T02:00:00+02", 0, NULL);
	check_time("2000-01-01T02:30:00+02:30", 0, NULL);
	check_time("2000-01-01T02:30:00+0230", 0, NULL);
	check_time("1999-12-31T18:30:00-05:30", 0, NULL);
	check_time("2000-02-29", SECONDS(86400) * 59, NULL);
	check_time("1970-01-01T00:00:00Z", -SECONDS(946684800), NULL);
	check_time("2024-07-10T12:34:56.789Z", SECONDS(773930096) + 789000, NULL);
	check_time("0001-01-01", CDP_MIN_TIMESTAMP, NULL);
	check_time("9999-12-31T23:59:59.999999Z", CDP_MAX_TIMESTAMP, NULL);
	check_time("0001-01-01T00:00:00+01", 0, bad_year);
	check_time("9999-12-31T23:59:59.9999995Z", 0, bad_year);
	check_time("9999-12-31T23:59:59-01", 0, bad_year);
	check_time("0000-01-01", 0, bad_year);
	check_time("", 0, not_date);
	check_time("2000", 0, not_date);
	check_time("2000-1-1", 0, not_date);
	check_time("20000101", 0, not_date);
	check_time(" 2000-01-01", 0, not_date);
	check_time("2000-00-01", 0, "month is not between 01 and 12");
	check_time("2000-13-01", 0, "month is not between 01 and 12");
	check_time("2001-02-29", 0, no_day);
	check_time("1900-02-29", 0, no_day);
	check_time("2000-04-31", 0, no_day);
	check_time("2000-01-00", 0, no_day);
	check_time("2000-01-01Z", 0, "date is not followed by T or a blank and a time of day");
	check_time("2000-01-01T", 0, not_time);
	check_time("2000-01-01T12", 0, not_time);
	check_time("2000-01-01T1:00", 0, not_time);
	check_time("2000-01-01T12:00:", 0, not_time);
	check_time("2000-01-01T24:00", 0, bad_range);
	check_time("2000-01-01T23:60", 0, bad_range);
	check_time("2000-01-01T23:00:61", 0, bad_range);
	check_time("2000-01-01T00:00:00.", 0, "fraction of a second has no digits");
	check_time("2000-01-01T00:00:00.Z", 0, "fraction of a second has no digits");
	check_time("2000-01-01T00:00+", 0, not_zone);
	check_time("2000-01-01T00:00+1", 0, not_zone);
	check_time("2000-01-01T00:00+01:", 0, not_zone);
	check_time("2000-01-01T00:00+24", 0, not_zone);
	check_time("2000-01-01T00:00+01:60", 0, not_zone);
	check_time("2000-01-01T00:00 Z", 0, not_zone);
	check_time("2000-01-01T00:00:00Zx", 0, "time goes on after its time zone");
	check_time("2000-01-01T00:00:00+01:000", 0, "time goes on after its time zone");
}

/* every day of the calendar, against counting */
static void
test_calendar(void)
{
	static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int64_t day = CDP_MIN_TIMESTAMP / SECONDS(86400);
	bool right = true;

	for (int year = 1; year <= 9999; year++)
	{
		bool leap = year % 400 == 0 || (year % 4 == 0 && year % 100 != 0);

		for (int month = 1; month <= 12; month++)
		{
			int last = lengths[month - 1] + (month == 2 && leap);

			for (int d = 1; d <= 32; d++)
			{
				char text[40];
				int len = snprintf(text, sizeof(text), "%04d-%02d-%02d",
								   year, month, d);
				int32_t days;
				const char *reason;
				bool done = cdp_core_parse_date(text, (size_t) len, &days,
												&reason);

				if (d > last ? done : (!done || days != day++))
					right = false;
			}
		}
	}
	ok(right && day == (CDP_MAX_TIMESTAMP + 1) / SECONDS(86400),
	   "every date from 0001 to 9999");
}

static void
test_date_and_epoch(void)
{
	int32_t days = 7;
	int64_t v = 7;
	const char *reason;

	ok(cdp_core_parse_date("2000-01-02T23:00:00-02:00", 25, &days, &reason) &&
		   days == 2,
	   "date of a time is its UTC date");
	ok(cdp_core_parse_date("1999-12-31T23:00:00Z", 20, &days, &reason) &&
		   days == -1,
	   "date before 2000");
	ok(!cdp_core_parse_date("x", 1, &days, &reason), "not a date");

	ok(cdp_core_epoch_to_timestamp(946684800, &v) && v == 0, "epoch in seconds");
	ok(cdp_core_epoch_to_timestamp(946684800.25, &v) && v == 250000, "epoch with a fraction");
	ok(cdp_core_epoch_to_timestamp(946684800000.0, &v) && v == 0, "epoch in milliseconds");
	ok(cdp_core_epoch_to_timestamp(-1.5, &v) && v == -SECONDS(946684801) - 500000,
	   "epoch before 1970");
	ok(cdp_core_epoch_to_timestamp(1e11, &v) && v == SECONDS(100000000) - SECONDS(946684800),
	   "1e11 is milliseconds");
	ok(cdp_core_epoch_to_timestamp(253402300799999.0, &v) && v == CDP_MAX_TIMESTAMP - 999,
	   "last millisecond");
	ok(!cdp_core_epoch_to_timestamp(253402300800000.0, &v), "epoch after 9999");
	ok(!cdp_core_epoch_to_timestamp(-62135596801.0, &v), "epoch before 0001");
	ok(cdp_core_epoch_to_timestamp(-62135596800.0, &v) && v == CDP_MIN_TIMESTAMP, "first second");
	ok(!cdp_core_epoch_to_timestamp(strtod("nan", NULL), &v) &&
		   !cdp_core_epoch_to_timestamp(strtod("inf", NULL), &v) &&
		   !cdp_core_epoch_to_timestamp(-1e300, &v),
	   "epoch that is no time");
}

static void
check_int(const char *text, bool expected, int64_t expected_v)
{
	char *in = exact(text, strlen(text));
	int64_t v = 0;
	char name[100];

	snprintf(name, sizeof(name), "integer %s", text);
	ok(cdp_core_parse_int64(in, strlen(text), &v) == expected &&
		   (!expected || v == expected_v),
	   name);
	free(in);
}

static void
check_float(const char *text, bool expected, double expected_v)
{
	char *in = exact(text, strlen(text));
	double v = 0;
	char name[100];

	snprintf(name, sizeof(name), "number %.60s", text);
	ok(cdp_core_parse_float8(in, strlen(text), &v) == expected &&
		   (!expected || v == expected_v),
	   name);
	free(in);
}

static void
test_scalars(void)
{
	static const char uuid[] = "00112233-4455-6677-8899-AABBCCDDEEFF";
	uint8_t bytes[16];
	bool b = false;
	char digits[1100];

	check_int("0", true, 0);
	check_int("-0", true, 0);
	check_int("+12", true, 12);
	check_int("9223372036854775807", true, INT64_MAX);
	check_int("-9223372036854775808", true, INT64_MIN);
	check_int("9223372036854775808", false, 0);
	check_int("-9223372036854775809", false, 0);
	check_int("99999999999999999999", false, 0);
	check_int("000000000000000000000000001", true, 1);
	check_int("", false, 0);
	check_int("-", false, 0);
	check_int("1 ", false, 0);
	check_int("1.0", false, 0);
	check_int("0x1", false, 0);

	check_float("0", true, 0);
	check_float("-1.5", true, -1.5);
	check_float("+.5", true, 0.5);
	check_float("5.", true, 5);
	check_float("1e3", true, 1000);
	check_float("1E-3", true, 0.001);
	check_float("0e9999", true, 0);
	check_float("1e308", true, 1e308);
	check_float("1e309", false, 0);
	check_float("-1e309", false, 0);
	check_float("1e-400", false, 0);
	check_float("", false, 0);
	check_float(".", false, 0);
	check_float("-", false, 0);
	check_float("1e", false, 0);
	check_float("1e+", false, 0);
	check_float("1.2.3", false, 0);
	check_float("1,5", false, 0);
	check_float("0x10", false, 0);
	check_float("nan", false, 0);
	check_float("inf", false, 0);
	check_float(" 1", false, 0);
	memset(digits, '0', sizeof(digits));
	digits[1023] = '1';
	digits[1024] = '\0';
	check_float(digits, true, 1);
	digits[1024] = '0';
	digits[1025] = '\0';
	check_float(digits, false, 0);

	ok(cdp_core_parse_bool("TRUE", 4, &b) && b && cdp_core_parse_bool("Off", 3, &b) && !b &&
		   cdp_core_parse_bool("1", 1, &b) && b && cdp_core_parse_bool("n", 1, &b) && !b,
	   "boolean words");
	ok(!cdp_core_parse_bool("", 0, &b) && !cdp_core_parse_bool("tr", 2, &b) &&
		   !cdp_core_parse_bool("true ", 5, &b) && !cdp_core_parse_bool("2", 1, &b),
	   "not boolean words");

	ok(cdp_core_parse_uuid(uuid, 36, bytes) && bytes[0] == 0 && bytes[1] == 0x11 &&
		   bytes[15] == 0xFF,
	   "uuid with hyphens");
	ok(cdp_core_parse_uuid("00112233445566778899aabbccddeeff", 32, bytes) &&
		   bytes[10] == 0xAA,
	   "uuid without hyphens");
	ok(!cdp_core_parse_uuid(uuid, 35, bytes) &&
		   !cdp_core_parse_uuid("00112233445566778899aabbccddeefg", 32, bytes) &&
		   !cdp_core_parse_uuid("0011223-34455-6677-8899-AABBCCDDEEFF", 36, bytes) &&
		   !cdp_core_parse_uuid("00112233-4455-6677-8899-AABBCCDDEE-F", 36, bytes),
	   "not a uuid");
}

/* -- segexpr -- */

static CdpCoreSegexprStep steps[CDP_MAX_SEGEXPR_TOKENS];

/* the postfix program as text: "a b & !" */
static void
check_expr(const char *text, const char *expected)
{
	size_t len = strlen(text);
	char *in = exact(text, len);
	char *scratch = exact(text, len);
	char got[512] = "";
	char name[300];
	size_t n = 0;
	size_t used = 0;
	size_t offset = 0;
	const char *reason = NULL;

	if (cdp_core_segexpr_parse(in, len, steps, &n, scratch, &reason, &offset))
	{
		for (size_t i = 0; i < n; i++)
		{
			if (i > 0)
				got[used++] = ' ';
			if (steps[i].op == CDP_CORE_SEGEXPR_NAME)
			{
				memcpy(got + used, scratch + steps[i].start, steps[i].len);
				used += steps[i].len;
			}
			else
				got[used++] = steps[i].op == CDP_CORE_SEGEXPR_NOT ? '!' :
							  steps[i].op == CDP_CORE_SEGEXPR_AND ? '&' :
																	'|';
		}
		got[used] = '\0';
	}
	else
		snprintf(got, sizeof(got), "%zu: %s", offset, reason);
	snprintf(name, sizeof(name), "expression %s", text);
	ok(strcmp(got, expected) == 0, name);
	free(in);
	free(scratch);
}

static void
test_segexpr(void)
{
	static char text[4000];
	static char scratch[4000];
	size_t n;
	size_t offset;
	const char *reason;

	check_expr("a", "a");
	check_expr(" a&b|c ", "a b & c |");
	check_expr("a|b&c", "a b c & |");
	check_expr("a&b&c", "a b & c &");
	check_expr("!a&b", "a ! b &");
	check_expr("!!a", "a ! !");
	check_expr("!(a|b)&c", "a b | ! c &");
	check_expr("a & !(b & !c)", "a b c ! & ! &");
	check_expr("a AND b or Not c", "a b & c ! |");
	check_expr("\"and\" and \"a \"\"b\"\"\"", "and a \"b\" &");
	check_expr("android&oreo|nothing", "android oreo & nothing |");
	check_expr("vip-2024.x:y/z", "vip-2024.x:y/z");
	check_expr("\xC3\xA9t\xC3\xA9 & \xE9\xA1\xA7\xE5\xAE\xA2",
			   "\xC3\xA9t\xC3\xA9 \xE9\xA1\xA7\xE5\xAE\xA2 &");
	check_expr("((a))", "a");
	check_expr("not(a)", "a !");
	check_expr("", "0: expression is empty");
	check_expr("   ", "3: expression is empty");
	check_expr("a &", "3: expression ends where a name should follow");
	check_expr("!", "1: expression ends where a name should follow");
	check_expr("& a", "0: expression has no name before this operator");
	check_expr("a & | b", "4: expression has no name before this operator");
	check_expr("a b", "2: expression has no operator before this name");
	check_expr("a \"b\"", "2: expression has no operator before this name");
	check_expr("a !b", "2: expression has no operator before this place");
	check_expr("a (b)", "2: expression has no operator before this place");
	check_expr("()", "1: expression has no name before this parenthesis");
	check_expr("(a", "0: opening parenthesis has no closing one");
	check_expr("a & ((b)", "4: opening parenthesis has no closing one");
	check_expr("a)", "1: closing parenthesis has no opening one");
	check_expr("a & \"b", "4: expression ends inside double quotes");
	check_expr("\"\"", "0: segment name is empty");

	memset(text, '!', 999);
	text[999] = 'a';
	ok(cdp_core_segexpr_parse(text, 1000, steps, &n, scratch, &reason, &offset) &&
		   n == 1000,
	   "1000 tokens");
	memset(text, '(', 500);
	text[500] = 'a';
	memset(text + 501, ')', 500);
	ok(!cdp_core_segexpr_parse(text, 1001, steps, &n, scratch, &reason, &offset) &&
		   offset == 1000,
	   "1001 tokens are refused");
	ok(!cdp_core_segexpr_parse("a\0b", 3, steps, &n, scratch, &reason, &offset) &&
		   offset == 1,
	   "zero byte is refused");
}

/* Against labels relabelled one by one: the slow way that cannot be wrong. */
static void
test_unionfind(void)
{
	enum
	{
		SIZE = 200
	};
	int32_t parent[SIZE];
	int label[SIZE];
	unsigned seed = 1;
	bool same_answer = true;
	bool same_sets = true;

	cdp_core_uf_init(parent, SIZE);
	for (int i = 0; i < SIZE; i++)
		label[i] = i;
	for (int step = 0; step < 400; step++)
	{
		int a, b;
		int32_t root;

		seed = seed * 1103515245u + 12345u;
		a = (int) (seed >> 16) % SIZE;
		seed = seed * 1103515245u + 12345u;
		b = (int) (seed >> 16) % SIZE;
		root = cdp_core_uf_union(parent, a, b);
		same_answer = same_answer && (root < 0) == (label[a] == label[b]);
		if (label[a] != label[b])
			for (int i = 0, from = label[b], to = label[a]; i < SIZE; i++)
				if (label[i] == from)
					label[i] = to;
		for (int i = 0; i < SIZE; i++)
			same_sets = same_sets && (cdp_core_uf_find(parent, i) ==
									  cdp_core_uf_find(parent, a)) == (label[i] == label[a]);
	}
	ok(same_answer, "union says whether two sets became one");
	ok(same_sets, "sets equal naive relabelling");
}

int
main(void)
{
	test_identifier();
	test_lower();
	test_set();
	test_timestamp();
	test_calendar();
	test_date_and_epoch();
	test_scalars();
	test_segexpr();
	test_unionfind();
	printf("1..%d\n", tests);
	return failures == 0 ? 0 : 1;
}
