/*
 * tools/fuzz/fuzz_normalise.c
 *		libFuzzer target for src/core/phone.c, fold.c and email.c.
 *
 * The first byte picks what is done.  A result has the shape that is promised,
 * and is its own normal form with the same verdict; a telephone number is so
 * whatever the region.
 */
#include "core/fold.h"
#include "core/phone.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool condition)
{
	if (!condition)
		abort();
}

/*
 * Idempotent stand-in for NFKC: full-width ASCII becomes ASCII, and a
 * free-standing voiced-sound mark a space and the combining one.
 */
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
			(unsigned char) in[i + 2] >= 0x81 && (unsigned char) in[i + 2] < 0xC0)
		{
			out[n++] = (char) ((unsigned char) in[i + 2] - 0x80 + 0x20);
			i += 2;
		}
		else if (in_len - i >= 3 && memcmp(in + i, "\xE3\x82", 2) == 0 &&
				 ((unsigned char) in[i + 2] == 0x9B || (unsigned char) in[i + 2] == 0x9C))
		{
			if (out_size - n < 4)
				return false;
			memcpy(out + n, " \xE3\x82", 3);
			out[n + 3] = (char) ((unsigned char) in[i + 2] - 2);
			n += 4;
			i += 2;
		}
		else
			out[n++] = in[i];
	}
	*out_len = n;
	return true;
}

static void
fuzz_phone(const char *s, size_t len, const CdpCorePhoneRegion *region)
{
	char a[CDP_MAX_PHONE_BYTES];
	char b[CDP_MAX_PHONE_BYTES];
	size_t n;
	size_t m;
	size_t digits = 0;
	CdpVerdict verdict = cdp_core_phone_normalise(region, s, len, true, a, &n);
	char *copy;

	if (verdict == CDP_VERDICT_UNKNOWN)
		return;
	must(n <= sizeof(a) && a[0] == '+' && a[1] >= '1' && a[1] <= '9');
	while (1 + digits < n && a[1 + digits] >= '0' && a[1 + digits] <= '9')
		digits++;
	must(digits >= 7 && digits <= 15);
	if (1 + digits < n)
		must(n > digits + 6 && memcmp(a + 1 + digits, ";ext=", 5) == 0);

	/* a block of the exact size, so that the sanitizer sees its end */
	copy = malloc(n);
	memcpy(copy, a, n);
	must(cdp_core_phone_normalise(region, copy, n, true, b, &m) == verdict);
	must(n == m && memcmp(a, b, n) == 0);
	must(cdp_core_phone_normalise(NULL, copy, n, false, b, &m) == verdict);
	must(n == m && memcmp(a, b, n) == 0);
	free(copy);
}

typedef CdpVerdict (*Fold)(const char *, size_t, const CdpCoreNfkc *, char *, size_t *);

static void
fuzz_fold(const char *s, size_t len, int which, bool utf8)
{
	static const Fold folds[] = {
		cdp_core_fold_trim, cdp_core_fold_lower, cdp_core_fold_width, cdp_core_fold_kana,
		cdp_core_fold_email};
	CdpCoreNfkc nfkc = {utf8 ? fake_nfkc : NULL, NULL};
	char a[CDP_MAX_VALUE_BYTES];
	char b[CDP_MAX_VALUE_BYTES];
	size_t n;
	size_t m;
	CdpVerdict verdict = folds[which % 5](s, len, &nfkc, a, &n);
	char *copy;

	if (verdict == CDP_VERDICT_UNKNOWN)
	{
		cdp_core_fold_blanks(&s, &len, utf8);
		must(folds[which % 5](s, len, &nfkc, a, &n) == verdict);
		return;
	}
	must(n > 0 && n <= sizeof(a));
	copy = malloc(n);
	memcpy(copy, a, n);
	must(folds[which % 5](copy, n, &nfkc, b, &m) == verdict);
	must(n == m && memcmp(a, b, n) == 0);
	free(copy);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *s;

	/* seeds are text files: their last newline does not count */
	if (size > 1 && data[size - 1] == '\n')
		size--;
	if (size == 0)
		return 0;
	s = malloc(size > 1 ? size - 1 : 1);
	memcpy(s, data + 1, size - 1);
	if (data[0] < 10)
		fuzz_fold(s, size - 1, data[0], data[0] < 5);
	else if (data[0] - 10 < CDP_CORE_PHONE_REGIONS)
		fuzz_phone(s, size - 1, &cdp_core_phone_regions[data[0] - 10]);
	else
		fuzz_phone(s, size - 1, NULL);
	free(s);
	return 0;
}
