/*
 * tools/unit/test_normalise.c
 *		Unit tests of src/core/: phone, fold, email.  Prints TAP.
 *
 * Inputs are copied to blocks of their exact size, so that reading one byte
 * too many is seen.  What needs real NFKC is tested in the server
 * (sql/normalise.sql).
 */
#include "core/fold.h"
#include "core/phone.h"

#include <stdint.h>
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

static char *
exact(const char *s, size_t len)
{
	char *copy = malloc(len > 0 ? len : 1);

	memcpy(copy, s, len);
	return copy;
}

/* a line of TAP has no '#' and no control characters */
static void
say(bool passed, const char *what, const char *value, const char *got, size_t got_len)
{
	char name[400];

	snprintf(name, sizeof(name), "%s \"%.100s\" is \"%.*s\"", what, value,
			 (int) (got_len < 100 ? got_len : 100), got);
	for (char *p = name; *p; p++)
	{
		if (*p == '#' || (unsigned char) *p < ' ')
			*p = '?';
	}
	ok(passed, name);
}

/* -- phone -- */

/* "expected" is the result, "~" and the result if only plausible, "" if unknown */
static void
check_phone(const char *region, const char *value, const char *expected)
{
	const CdpCorePhoneRegion *r = cdp_core_phone_region(region, strlen(region));
	size_t len = strlen(value);
	char *in = exact(value, len);
	char *out = malloc(CDP_MAX_PHONE_BYTES);
	size_t n = 0;
	CdpVerdict verdict = cdp_core_phone_normalise(r, in, len, true, out, &n);
	CdpVerdict want = CDP_VERDICT_VALID;

	if (expected[0] == '~')
	{
		want = CDP_VERDICT_PLAUSIBLE;
		expected++;
	}
	else if (expected[0] == '\0')
		want = CDP_VERDICT_UNKNOWN;
	if (verdict == CDP_VERDICT_UNKNOWN)
		n = 0;
	say((r != NULL || region[0] == '\0') && verdict == want && n == strlen(expected) &&
			memcmp(out, expected, n) == 0,
		region, value, out, n);
	free(in);
	free(out);
}

static void
test_phone(void)
{
	/* every country once at home, and once from abroad */
	static const char *const home[][3] = {
		{"AE", "04 123 4567", "+97141234567"},
		{"AR", "011 4123-4567", "+541141234567"},
		{"AT", "0664 1234567", "+436641234567"},
		{"AU", "0412 345 678", "+61412345678"},
		{"BE", "0470 12 34 56", "+32470123456"},
		{"BR", "(11) 91234-5678", "+5511912345678"},
		{"CA", "506-234-5678", "+15062345678"},
		{"CH", "079 123 45 67", "+41791234567"},
		{"CL", "9 8765 4321", "+56987654321"},
		{"CN", "138 0013 8000", "+8613800138000"},
		{"CO", "301 2345678", "+573012345678"},
		{"CZ", "601 123 456", "+420601123456"},
		{"DE", "030 123456", "+4930123456"},
		{"DK", "32 12 34 56", "+4532123456"},
		{"EG", "0100 123 4567", "+201001234567"},
		{"ES", "612 34 56 78", "+34612345678"},
		{"FI", "041 2345678", "+358412345678"},
		{"FR", "06 12 34 56 78", "+33612345678"},
		{"GB", "07400 123456", "+447400123456"},
		{"GR", "691 234 5678", "+306912345678"},
		{"HK", "5123 4567", "+85251234567"},
		{"HU", "06 20 123 4567", "+36201234567"},
		{"ID", "0812-345-678", "+62812345678"},
		{"IE", "085 012 3456", "+353850123456"},
		{"IL", "050-234-5678", "+972502345678"},
		{"IN", "081234 56789", "+918123456789"},
		{"IT", "312 345 6789", "+393123456789"},
		{"JP", "090-1234-5678", "+819012345678"},
		{"KR", "010-2000-0000", "+821020000000"},
		{"KZ", "8 (771) 000 9998", "+77710009998"},
		{"MO", "6612 3456", "+85366123456"},
		{"MX", "222 123 4567", "+522221234567"},
		{"MY", "012-345 6789", "+60123456789"},
		{"NL", "06 12345678", "+31612345678"},
		{"NO", "406 12 345", "+4740612345"},
		{"NZ", "021 123 4567", "+64211234567"},
		{"PE", "912 345 678", "+51912345678"},
		{"PH", "0905 123 4567", "+639051234567"},
		{"PL", "512 345 678", "+48512345678"},
		{"PT", "912 345 678", "+351912345678"},
		{"RO", "0712 034 567", "+40712034567"},
		{"RU", "8 (912) 345-67-89", "+79123456789"},
		{"SA", "051 234 5678", "+966512345678"},
		{"SE", "070-123 45 67", "+46701234567"},
		{"SG", "8123 4567", "+6581234567"},
		{"SK", "0912 123 456", "+421912123456"},
		{"TH", "081 234 5678", "+66812345678"},
		{"TR", "0501 234 56 78", "+905012345678"},
		{"TW", "0912 345 678", "+886912345678"},
		{"UA", "050 123 4567", "+380501234567"},
		{"US", "(201) 555-0123", "+12015550123"},
		{"VN", "091 234 56 78", "+84912345678"},
		{"ZA", "071 123 4567", "+27711234567"}};

	for (size_t i = 0; i < sizeof(home) / sizeof(home[0]); i++)
	{
		check_phone(home[i][0], home[i][1], home[i][2]);
		check_phone("", home[i][2], home[i][2]);
	}

	/* what one dials to call abroad */
	check_phone("JP", "010-44-20-7946-0000", "+442079460000");
	check_phone("US", "011 44 20 7946 0000", "+442079460000");
	check_phone("AU", "0011 44 20 7946 0000", "+442079460000");
	check_phone("RU", "8~10 44 20 7946 0000", "");
	check_phone("RU", "810 44 20 7946 0000", "+442079460000");
	check_phone("IL", "012 44 20 7946 0000", "+442079460000");
	check_phone("DE", "00 44 (0)20 7946 0000", "+442079460000");
	check_phone("JP", "00 44 20 7946 0000", "");
	check_phone("", "00 44 20 7946 0000", "");
	check_phone("SG", "001 44 20 7946 0000", "");
	check_phone("DE", "00 999 123 4567", "");
	/* 0066-2123-4570 is free of charge in Japan, +66 2 123 4570 is in Bangkok */
	check_phone("JP", "00 66 2 123 4570", "");

	/* no area code, or the trunk prefix was lost, or the plus sign */
	check_phone("JP", "1234-5678", "");
	check_phone("JP", "312345678", "+81312345678");
	check_phone("JP", "81312345678", "+81312345678");
	check_phone("JP", "8190-1234-5678", "+819012345678");
	check_phone("JP", "810312345678", "+81312345678");
	check_phone("JP", "901234567", "");
	check_phone("DE", "30123456", "");
	check_phone("DE", "4930123456", "");
	check_phone("IT", "3906123456", "");
	check_phone("IT", "393123456789", "+393123456789");
	check_phone("NZ", "64830528", "");
	check_phone("HU", "36 30 123 4567", "+36301234567");
	check_phone("KR", "2 312 3456", "");
	check_phone("BR", "91234-5678", "");
	check_phone("US", "555-0123", "");

	/* trunk prefixes after the code */
	check_phone("", "+44 (0) 20 7946 0000", "+442079460000");
	check_phone("", "+44[0]20 7946 0000", "+442079460000");
	check_phone("", "+39 (0)2 12345", "+39021"
									  "2345");
	check_phone("", "+7 8 495 123 45 67", "+74951234567");
	check_phone("", "+36 06 1 234 5678", "+3612345678");
	check_phone("", "+1 1 202 555 0123", "");
	check_phone("", "+81 0 90 1234 567", "");
	check_phone("", "+52 1 55 1234 5678", "+525512345678");
	check_phone("", "+52 01 55 1234 5678", "+525512345678");
	check_phone("MX", "1 202 555 0123", "");
	check_phone("", "+54 11 15 2345 6789", "+5491123456789");
	check_phone("", "+54 0351 15 234 5678", "+5493512345678");
	check_phone("AR", "02966 15 234567", "+5492966234567");
	check_phone("AR", "15 2345 6789", "");
	check_phone("AR", "114 15 1234567", "");

	/* signs */
	check_phone("JP", "(03)1234-5678", "+81312345678");
	check_phone("JP", "03/1234-5678", "+81312345678");
	check_phone("JP", "03/1234/5678", "");
	check_phone("US", "202-555-0123/4567", "");
	check_phone("DE", "030 123456/78", "");
	check_phone("JP", "\xEF\xBC\x8B\xEF\xBC\x98"
					  "190\xE3\x83\xBC"
					  "1234\xE2\x88\x92"
					  "5678",
				"+819012345678");
	check_phone("JP", "090-1234-5678 \xEF\xBD\x98\xEF\xBC\x97", "+819012345678;ext=7");
	check_phone("US", "202.555.0123", "+12025550123");
	check_phone("US", "\xE2\x80\xAA+1 202 555 0123\xE2\x80\xAC", "+12025550123");
	check_phone("US", "tel:+1-202-555-0123", "+12025550123");
	check_phone("US", "TEL:2025550123", "+12025550123");
	check_phone("US", "fax:2025550123", "");
	check_phone("US", "2025550123;phone-context=+1", "");
	check_phone("US", "+1 202+555 0123", "");
	check_phone("US", "1+2025550123", "");
	check_phone("US", "202\n555 0123", "");
	check_phone("US", "*67 202 555 0123", "");
	check_phone("US", "202 555 0123#", "");
	check_phone("US", "", "");
	check_phone("US", "+", "");
	check_phone("US", "\xFF"
					  "2025550123",
				"");
	check_phone("US", "2025550123\xE3\x80", "");
	check_phone("US", "\xF0\x9D\x9F\x8E", "");

	/* extensions */
	check_phone("JP", "03-1234-5678 x7", "+81312345678;ext=7");
	check_phone("JP", "03-1234-5678 EXT.007", "+81312345678;ext=007");
	check_phone("JP", "03-1234-5678 extn 7", "+81312345678;ext=7");
	check_phone("JP", "+81312345678;ext=7", "+81312345678;ext=7");
	check_phone("JP", "03-1234-5678 #7", "+81312345678;ext=7");
	check_phone("JP", "03-1234-5678 (\xE5\x86\x85\xE7\xB7\x9A 7)", "+81312345678;ext=7");
	check_phone("JP", "03-1234-5678 \xE5\x86\x85 7", "+81312345678;ext=7");
	check_phone("JP", "03-1234-5678 \xE7\xB7\x9A 7", "");
	check_phone("JP", "03-1234-5678 x123456789", "+81312345678;ext=123456789");
	check_phone("JP", "03-1234-5678 x1234567890", "");
	check_phone("JP", "03-1234-5678 x", "");
	check_phone("JP", "03-1234-5678 x7 y", "");
	check_phone("JP", "x7", "");
	check_phone("", "+260 97 123 4567 x7", "~+260971234567;ext=7");

	/* short, long, unlisted */
	check_phone("JP", "110", "");
	check_phone("", "+81 110", "");
	check_phone("", "+99912", "");
	check_phone("", "+9991234", "~+9991234");
	check_phone("", "+999123456789012", "~+999123456789012");
	check_phone("", "+9991234567890123", "");
	check_phone("", "+99912345678901234567890123", "");
	check_phone("", "+0991234567", "");
	check_phone("", "+1 911 555 0123", "~+19115550123");
	check_phone("", "+1 202 555 012", "");
	check_phone("", "+260 (0)97 123 4567", "");
}

static void
test_phone_bytes(void)
{
	char out[CDP_MAX_PHONE_BYTES];
	size_t n;
	const char wide[] = "+1202555012\xEF\xBC\x93"; /* full-width 3 */
	char many[70];
	size_t len;

	ok(cdp_core_phone_normalise(cdp_core_phone_region("JP", 2), "090-1234-5678", 13, false,
								out, &n) == CDP_VERDICT_VALID,
	   "phone in another encoding");
	len = strlen(wide);
	ok(cdp_core_phone_normalise(NULL, wide, len, true, out, &n) == CDP_VERDICT_VALID &&
		   cdp_core_phone_normalise(NULL, wide, len, false, out, &n) == CDP_VERDICT_UNKNOWN,
	   "phone with other bytes in another encoding");
	ok(cdp_core_phone_normalise(NULL, "+81\0"
									  "9012345678",
								14, true, out, &n) ==
		   CDP_VERDICT_UNKNOWN,
	   "phone with a zero byte");
	memset(many, ' ', sizeof(many));
	memcpy(many, "+12025550123", 12);
	ok(cdp_core_phone_normalise(NULL, many, 64, true, out, &n) == CDP_VERDICT_VALID,
	   "phone of 64 characters");
	ok(cdp_core_phone_normalise(NULL, many, 65, true, out, &n) == CDP_VERDICT_UNKNOWN,
	   "phone of 65 characters");
	ok(cdp_core_phone_region("JP", 2) != NULL && cdp_core_phone_region("JPN", 3) == NULL &&
		   cdp_core_phone_region("jp", 2) == NULL && cdp_core_phone_region("", 0) == NULL,
	   "regions by name");
}

static void
test_phone_match(void)
{
	size_t matched = 9;

	ok(cdp_core_phone_match("", 0, "", 0, &matched) && matched == 0, "empty pattern");
	ok(cdp_core_phone_match("1[2-46].", 8, "1290", 4, &matched) && matched == 3, "class and dot");
	ok(cdp_core_phone_match("1[2-46]", 7, "16", 2, &matched), "class, last");
	ok(!cdp_core_phone_match("1[2-46]", 7, "15", 2, &matched), "class, between");
	ok(!cdp_core_phone_match("1[2-46]", 7, "1", 1, &matched), "too short for its pattern");
}

/* what phone.c relies on */
static void
test_phone_table(void)
{
	bool sorted = true;
	bool prefix_free = true;
	bool fit = true;
	bool patterns = true;
	bool own_code = true;

	for (int i = 0; i < CDP_CORE_PHONE_REGIONS; i++)
	{
		const CdpCorePhoneRegion *r = &cdp_core_phone_regions[i];
		const CdpCorePhonePlan *plan = r->plan;

		sorted = sorted && r->plan != NULL && r->name != NULL && strlen(r->region) == 2 &&
				 (i == 0 || strcmp(r[-1].region, r->region) < 0);
		for (int j = 0; j < CDP_CORE_PHONE_REGIONS; j++)
		{
			const CdpCorePhonePlan *other = cdp_core_phone_regions[j].plan;

			if (other != plan && strncmp(plan->code, other->code, strlen(plan->code)) == 0)
				prefix_free = false;
		}
		own_code = own_code && cdp_core_phone_plan_of_code(plan->code, strlen(plan->code)) == plan;
		for (int k = 0; k < plan->n_range; k++)
		{
			const CdpCorePhoneRange *range = &plan->range[k];
			bool zero = range->pattern[0] == '0';

			fit = fit && range->min <= range->max && range->min >= 6 &&
				  strlen(plan->code) + range->max <= 15;
			/* a number never begins with the trunk prefix 0 */
			fit = fit && !(zero && strchr(plan->trunk, '0') != NULL);
			if (range->pattern[strspn(range->pattern, "0123456789.[]-")] != '\0')
				patterns = false;
		}
	}
	ok(sorted, "regions are sorted and complete");
	ok(prefix_free, "no country code begins with another");
	ok(own_code, "plans are found by their code");
	ok(fit, "ranges are possible");
	ok(patterns, "patterns are patterns");
}

/* -- fold -- */

/* a stand-in for the server: full-width ASCII becomes ASCII */
static bool
fake_nfkc(void *arg, const char *in, size_t in_len, char *out, size_t out_size, size_t *out_len)
{
	size_t n = 0;

	(void) arg;
	for (size_t i = 0; i < in_len; i++)
	{
		if (n == out_size)
			return false;
		if (in_len - i >= 3 && memcmp(in + i, "\xEF\xBC", 2) == 0 &&
			(unsigned char) in[i + 2] >= 0x81)
		{
			out[n++] = (char) ((unsigned char) in[i + 2] - 0x80 + 0x20);
			i += 2;
		}
		else
			out[n++] = in[i];
	}
	*out_len = n;
	return true;
}

typedef CdpVerdict (*Fold)(const char *, size_t, const CdpCoreNfkc *, char *, size_t *);

static void
check_fold(Fold fold, const char *what, bool utf8, const char *value, const char *expected)
{
	CdpCoreNfkc nfkc = {utf8 ? fake_nfkc : NULL, NULL};
	size_t len = strlen(value);
	char *in = exact(value, len);
	char *out = malloc(CDP_MAX_VALUE_BYTES);
	char *again = malloc(CDP_MAX_VALUE_BYTES);
	size_t n = 0;
	size_t m = 0;
	CdpVerdict verdict = fold(in, len, &nfkc, out, &n);
	CdpVerdict want = CDP_VERDICT_VALID;
	bool passed;

	if (expected[0] == '~')
	{
		want = CDP_VERDICT_PLAUSIBLE;
		expected++;
	}
	else if (expected[0] == '\0')
		want = CDP_VERDICT_UNKNOWN;
	if (verdict == CDP_VERDICT_UNKNOWN)
		n = 0;
	passed = verdict == want && n == strlen(expected) && memcmp(out, expected, n) == 0;
	if (verdict != CDP_VERDICT_UNKNOWN)
		passed = passed && fold(out, n, &nfkc, again, &m) == verdict && m == n &&
				 memcmp(out, again, n) == 0;
	say(passed, what, value, out, n);
	free(in);
	free(out);
	free(again);
}

#define FOLD(name, value, expected) check_fold(cdp_core_fold_##name, #name, true, value, expected)
#define FOLD_BYTES(name, value, expected) \
	check_fold(cdp_core_fold_##name, #name, false, value, expected)

static void
test_fold(void)
{
	FOLD(trim, " a b\t", "a b");
	FOLD(trim, "\xE3\x80\x80 a \xC2\xA0", "a");
	FOLD(trim, " \xE3\x80\x80", "");
	FOLD(trim, "", "");
	FOLD(trim, "\x80", "\x80");
	FOLD_BYTES(trim, " \xE3\x80\x80 ", "\xE3\x80\x80");
	FOLD(lower, " AbC\xC3\x84 ", "abc\xC3\xA4");
	FOLD_BYTES(lower, "AbC", "abc");
	FOLD_BYTES(lower, "A\xC3\x84", "~a\xC3\x84");
	FOLD(width, " \xEF\xBC\xA1  b\xE3\x80\x80\xE3\x80\x80"
				"c ",
		 "A b c");
	FOLD(width, "a\xE2\x80\x8B\xEF\xBB\xBF"
				"b",
		 "ab");
	FOLD(width, "\xE2\x80\x8B", "");
	FOLD(width, "\xE2\x80\x8B a", "a");
	FOLD(width, "\xF0\xA0\xAE\xB7", "\xF0\xA0\xAE\xB7");
	FOLD(width, "a\xFF", "");
	FOLD_BYTES(width, " a  b ", "a b");
	FOLD_BYTES(width, "a  \xFF", "~a \xFF");
	FOLD(kana, "\xE3\x81\x8B", "\xE3\x82\xAB");
	FOLD(kana, "\xE3\x81\x8B-", "\xE3\x82\xAB\xE3\x83\xBC");
	FOLD(kana, "\xE3\x81\x8B\xEF\xBC\x8D~", "\xE3\x82\xAB\xE3\x83\xBC\xE3\x83\xBC");
	FOLD(kana, "a-\xE3\x83\xBC~\xE3\x80\x9C", "a--~~");
	FOLD(kana, "\xE3\x81\x8B -", "\xE3\x82\xAB -");
	FOLD(kana, "\xE3\x81\x8B\xE3\x82\x9B-", "\xE3\x82\xAB\xE3\x82\x99\xE3\x83\xBC");
	FOLD(kana, "a\xE3\x82\x9B", "a\xE3\x82\x9B");
	FOLD(kana, "\xF0\x9B\x85\x90", "\xF0\x9B\x85\xA4");
	FOLD_BYTES(kana, "a-b", "a-b");

	FOLD(email, " Ada@Example.COM ", "ada@example.com");
	FOLD(email, "\xEF\xBC\xA1\xEF\xBC\xA0"
				"b.c",
		 "a@b.c");
	FOLD(email, "a@b.c.", "a@b.c");
	FOLD(email, "a@b.c..", "~a@b.c..");
	FOLD(email, "a@.", "~a@.");
	FOLD(email, "a@b", "~a@b");
	FOLD(email, "a@192.0.2.1", "~a@192.0.2.1");
	FOLD(email, "a@b..c", "~a@b..c");
	FOLD(email, ".a@b.c", "~.a@b.c");
	FOLD(email, "\"A b\"@c.d", "~\"a b\"@c.d");
	FOLD(email, "\"@b.c", "");
	FOLD(email, "a b@c.d", "");
	FOLD(email, "a@b c.d", "");
	FOLD(email, "a@[::1]", "~a@[::1]");
	FOLD(email, "a@[]", "");
	FOLD(email, "a@", "");
	FOLD(email, "@a", "");
	FOLD(email, "", "");
	FOLD(email, "a@\xC3\x9C.de", "a@xn--tda.de");
	FOLD(email, "a@\xC4\xB0.de", "a@xn--i-9bb.de");
	FOLD(email, "a@b\xE3\x80\x82\xC3\xBC", "a@b.xn--tda");
	FOLD(email, "a@_\xC3\xBC.de", "~a@_\xC3\xBC.de");
	FOLD(email, "a@-\xC3\xBC.de", "~a@-\xC3\xBC.de");
	FOLD(email, "a@b\xEF\xBC\xA0"
				"c.de",
		 "");
	FOLD(email, "a@\xFF.de", "");
	FOLD(email, "\xE9@b.c", "");
	FOLD(email, "\xC3\x89@b.c", "~\xC3\x89@b.c");
	FOLD(email, "a\xE3\x80\x80z@b.c", "");
	FOLD_BYTES(email, "A@\xFF.DE", "~a@\xFF.de");
	FOLD_BYTES(email, "A\xFF@B.DE", "~a\xFF@b.de");
}

/* samples of RFC 3492, section 7.1, but for the Korean one, which is too long for a label */
static void
test_punycode(void)
{
	static const char *const samples[][2] = {
		{"\xE4\xBB\x96\xE4\xBB\xAC\xE4\xB8\xBA\xE4\xBB\x80\xE4\xB9\x88\xE4\xB8\x8D\xE8\xAF"
		 "\xB4\xE4\xB8\xAD\xE6\x96\x87",
		 "ihqwcrb4cv8a8dqg056pqjye"},
		{"\xE3\x81\xAA\xE3\x81\x9C\xE3\x81\xBF\xE3\x82\x93\xE3\x81\xAA\xE6\x97\xA5\xE6\x9C"
		 "\xAC\xE8\xAA\x9E\xE3\x82\x92\xE8\xA9\xB1\xE3\x81\x97\xE3\x81\xA6\xE3\x81\x8F\xE3"
		 "\x82\x8C\xE3\x81\xAA\xE3\x81\x84\xE3\x81\xAE\xE3\x81\x8B",
		 "n8jok5ay5dzabd5bym9f0cm5685rrjetr6pdxa"},
		{"\xEC\x84\xB8\xEA\xB3\x84\xEC\x9D\x98", "989aw10bpoe"},
		{"\xD0\xBF\xD0\xBE\xD1\x87\xD0\xB5\xD0\xBC\xD1\x83\xD0\xB6\xD0\xB5\xD0\xBE\xD0\xBD"
		 "\xD0\xB8\xD0\xBD\xD0\xB5\xD0\xB3\xD0\xBE\xD0\xB2\xD0\xBE\xD1\x80\xD1\x8F\xD1\x82"
		 "\xD0\xBF\xD0\xBE\xD1\x80\xD1\x83\xD1\x81\xD1\x81\xD0\xBA\xD0\xB8",
		 "b1abfaaepdrnnbgefbadotcwatmq2g4l"},
		{"Porqu\xC3\xA9nopuedensimplementehablarenEspa\xC3\xB1ol",
		 "PorqunopuedensimplementehablarenEspaol-fmd56a"},
		{"3\xE5\xB9\xB4"
		 "B\xE7\xB5\x84\xE9\x87\x91\xE5\x85\xAB\xE5\x85\x88\xE7\x94\x9F",
		 "3B-ww4c5e180e575a65lsy2b"}};
	char out[63];
	size_t n;

	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++)
	{
		bool done = cdp_core_punycode(samples[i][0], strlen(samples[i][0]), out, sizeof(out), &n);

		say(done && n == strlen(samples[i][1]) && memcmp(out, samples[i][1], n) == 0,
			"punycode", samples[i][1], out, done ? n : 0);
	}
	ok(!cdp_core_punycode("\xC3\xBC\xC3\xBC", 4, out, 2, &n), "punycode without room");
	ok(!cdp_core_punycode("\xFF", 1, out, sizeof(out), &n), "punycode of what is not UTF-8");
}

static void
test_limits(void)
{
	CdpCoreNfkc nfkc = {fake_nfkc, NULL};
	char *in = malloc(12000);
	char *out = malloc(CDP_MAX_VALUE_BYTES);
	size_t n;

	memset(in, 'a', 12000);
	ok(cdp_core_fold_trim(in, 512, &nfkc, out, &n) == CDP_VERDICT_VALID && n == 512,
	   "512 bytes fit");
	ok(cdp_core_fold_trim(in, 513, &nfkc, out, &n) == CDP_VERDICT_UNKNOWN &&
		   cdp_core_fold_lower(in, 513, &nfkc, out, &n) == CDP_VERDICT_UNKNOWN &&
		   cdp_core_fold_width(in, 513, &nfkc, out, &n) == CDP_VERDICT_UNKNOWN &&
		   cdp_core_fold_kana(in, 12000, &nfkc, out, &n) == CDP_VERDICT_UNKNOWN &&
		   cdp_core_fold_width(in, 12000, NULL, out, &n) == CDP_VERDICT_UNKNOWN,
	   "513 bytes do not");
	in[1] = '@';
	ok(cdp_core_fold_email(in, 512, &nfkc, out, &n) == CDP_VERDICT_PLAUSIBLE &&
		   cdp_core_fold_email(in, 513, &nfkc, out, &n) == CDP_VERDICT_UNKNOWN &&
		   cdp_core_fold_email(in, 4096, &nfkc, out, &n) == CDP_VERDICT_UNKNOWN &&
		   cdp_core_fold_email(in, 12000, NULL, out, &n) == CDP_VERDICT_UNKNOWN,
	   "nor in an address");
	memset(in, 'a', 600);
	in[1] = '@';
	in[2 + 63] = '.';
	ok(cdp_core_fold_email(in, 2 + 64 + 63, &nfkc, out, &n) == CDP_VERDICT_VALID &&
		   cdp_core_fold_email(in, 2 + 64 + 64, &nfkc, out, &n) == CDP_VERDICT_PLAUSIBLE,
	   "labels of 63 and 64 characters");
	for (int i = 2 + 63; i < 600; i += 64)
		in[i] = '.';
	ok(cdp_core_fold_email(in, 2 + 253, &nfkc, out, &n) == CDP_VERDICT_VALID &&
		   cdp_core_fold_email(in, 2 + 254, &nfkc, out, &n) == CDP_VERDICT_PLAUSIBLE,
	   "domains of 253 and 254 characters");
	for (int i = 2; i < 140; i += 2)
		memcpy(in + i, "\xC3\xBC", 2);
	memcpy(in + 140, ".de", 3);
	ok(cdp_core_fold_email(in, 143, &nfkc, out, &n) == CDP_VERDICT_PLAUSIBLE && n == 143,
	   "a label that no longer is one in ASCII");
	/* many short labels grow most */
	for (int i = 2; i + 3 <= 1026; i += 3)
		memcpy(in + i, "\xC3\xBC.", 3);
	ok(cdp_core_fold_email(in, 1026, &nfkc, out, &n) == CDP_VERDICT_UNKNOWN, "a domain that grows");
	memset(in, '-', 12000);
	memcpy(in, "\xE3\x82\xAB", 3);
	ok(cdp_core_fold_kana(in, 172, &nfkc, out, &n) == CDP_VERDICT_VALID && n == 510 &&
		   cdp_core_fold_kana(in, 173, &nfkc, out, &n) == CDP_VERDICT_UNKNOWN &&
		   cdp_core_fold_kana(in, 4096, &nfkc, out, &n) == CDP_VERDICT_UNKNOWN,
	   "hyphens that grow");
	free(in);
	free(out);
}

int
main(void)
{
	test_phone();
	test_phone_bytes();
	test_phone_match();
	test_phone_table();
	test_fold();
	test_punycode();
	test_limits();
	printf("1..%d\n", tests);
	return failures > 0;
}
