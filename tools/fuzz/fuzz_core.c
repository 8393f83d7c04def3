/*
 * tools/fuzz/fuzz_core.c
 *		libFuzzer target for the parsers of src/core/.
 *
 * The first byte picks the parser.  Beyond not crashing, each input must be
 * refused with a reason, or be valid and usable: a normal form is its own
 * normal form, a written set reads back, a program leaves one value on its
 * stack, a time is in range.
 */
#include "core/segexpr.h"
#include "core/text.h"
#include "core/time.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool condition)
{
	if (!condition)
		abort();
}

/* idempotent stand-in for NFKC: full-width ASCII becomes ASCII */
static bool
fake_nfkc(void *arg, const char *in, size_t in_len,
		  char *out, size_t out_size, size_t *out_len)
{
	size_t n = 0;

	(void) arg;
	for (size_t i = 0; i < in_len; i++)
	{
		if (n == out_size)
			return false;
		if (in_len - i >= 3 && (unsigned char) in[i] == 0xEF &&
			(unsigned char) in[i + 1] == 0xBC &&
			(unsigned char) in[i + 2] >= 0x80 && (unsigned char) in[i + 2] < 0xC0)
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

static void
fuzz_identifier(const char *s, size_t len)
{
	CdpCoreNfkc nfkc = {fake_nfkc, NULL};
	char a[CDP_MAX_IDENTIFIER_BYTES];
	char b[CDP_MAX_IDENTIFIER_BYTES];
	size_t a_len;
	size_t b_len;
	size_t ns_len;
	const char *reason = NULL;

	if (!cdp_core_identifier_parse(s, len, &nfkc, a, &a_len, &reason))
	{
		must(reason != NULL);
		return;
	}
	must(a_len <= sizeof(a));
	must(cdp_core_identifier_split(a, a_len, &ns_len));
	must(cdp_core_identifier_parse(a, a_len, &nfkc, b, &b_len, &reason));
	must(a_len == b_len && memcmp(a, b, a_len) == 0);
	must(cdp_core_identifier_normalize(a, ns_len, a + ns_len + 1,
									   a_len - ns_len - 1, NULL, b, &b_len,
									   &reason));
}

static void
fuzz_set(const char *s, size_t len)
{
	char *scratch = malloc(len + 1);
	CdpCoreSetReader reader;
	CdpCoreSetStatus status;
	const char *element;
	size_t element_len;
	const char *reason = NULL;

	cdp_core_set_reader_init(&reader, s, len, scratch);
	while ((status = cdp_core_set_reader_next(&reader, &element, &element_len,
											  &reason)) == CDP_CORE_SET_ELEMENT)
	{
		size_t size = cdp_core_set_element_write(element, element_len, NULL);
		char *text = malloc(size + 2);
		char *back = malloc(size + 2);
		CdpCoreSetReader second;
		const char *copy;
		size_t copy_len;

		must(size <= 2 * element_len + 2);
		text[0] = '{';
		must(cdp_core_set_element_write(element, element_len, text + 1) == size);
		text[size + 1] = '}';
		cdp_core_set_reader_init(&second, text, size + 2, back);
		must(cdp_core_set_reader_next(&second, &copy, &copy_len, &reason) ==
			 CDP_CORE_SET_ELEMENT);
		must(copy_len == element_len && memcmp(copy, element, copy_len) == 0);
		must(cdp_core_set_reader_next(&second, &copy, &copy_len, &reason) ==
			 CDP_CORE_SET_END);
		free(text);
		free(back);
	}
	must(status == CDP_CORE_SET_END || reason != NULL);
	free(scratch);
}

static void
fuzz_scalars(const char *s, size_t len)
{
	int64_t v;
	int32_t days;
	double d;
	bool b;
	uint8_t uuid[16];
	const char *reason = NULL;

	if (cdp_core_parse_timestamp(s, len, &v, &reason))
	{
		must(v >= CDP_MIN_TIMESTAMP && v <= CDP_MAX_TIMESTAMP);
		must(cdp_core_parse_date(s, len, &days, &reason));
	}
	else
		must(reason != NULL && !cdp_core_parse_date(s, len, &days, &reason));
	if (cdp_core_parse_float8(s, len, &d))
		must(d - d == 0);
	if (cdp_core_parse_int64(s, len, &v) && len < 1024)
		must(cdp_core_parse_float8(s, len, &d));
	(void) cdp_core_parse_bool(s, len, &b);
	(void) cdp_core_parse_uuid(s, len, uuid);
	if (len == sizeof(d))
	{
		memcpy(&d, s, sizeof(d));
		if (cdp_core_epoch_to_timestamp(d, &v))
			must(v >= CDP_MIN_TIMESTAMP && v <= CDP_MAX_TIMESTAMP);
	}
}

static void
fuzz_segexpr(const char *s, size_t len)
{
	static CdpCoreSegexprStep steps[CDP_MAX_SEGEXPR_TOKENS];
	char *scratch = malloc(len > 0 ? len : 1);
	const char *reason = NULL;
	size_t n = 0;
	size_t offset = 0;
	size_t depth = 0;

	if (!cdp_core_segexpr_parse(s, len, steps, &n, scratch, &reason, &offset))
		must(reason != NULL && offset <= len);
	else
	{
		must(n <= CDP_MAX_SEGEXPR_TOKENS);
		for (size_t i = 0; i < n; i++)
		{
			switch (steps[i].op)
			{
				case CDP_CORE_SEGEXPR_NAME:
					must(steps[i].len > 0 && steps[i].start + steps[i].len <= len);
					must(memchr(scratch + steps[i].start, 0, steps[i].len) == NULL);
					depth++;
					break;
				case CDP_CORE_SEGEXPR_NOT:
					must(depth >= 1);
					break;
				default:
					must(depth >= 2);
					depth--;
			}
		}
		must(depth == 1);
	}
	free(scratch);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *s;

	if (size == 0)
		return 0;

	/* a block of the exact size, so that the sanitizer sees its end */
	s = malloc(size > 1 ? size - 1 : 1);
	memcpy(s, data + 1, size - 1);
	switch (data[0] % 5)
	{
		case 0:
			fuzz_identifier(s, size - 1);
			break;
		case 1:
			fuzz_set(s, size - 1);
			break;
		case 2:
			fuzz_scalars(s, size - 1);
			break;
		case 3:
			fuzz_segexpr(s, size - 1);
			break;
		default:
			(void) cdp_core_utf8_lower(s, size - 1);
	}
	free(s);
	return 0;
}
