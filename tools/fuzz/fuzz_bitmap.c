/*
 * tools/fuzz/fuzz_bitmap.c
 *		libFuzzer target for the readers of src/core/bitmap_format.c and
 *		audience.c.
 *
 * The first byte picks the reader.  What is accepted must be written again as
 * the same bytes; what only loads must be usable by every operation without
 * harm to memory.
 */
#include "core/audience.h"
#include "core/bitmap.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool condition)
{
	if (!condition)
		abort();
}

static void
use(CdpCoreBitmap *a, uint32_t n)
{
	static uint16_t members[CDP_CORE_BITMAP_BITS];
	CdpCoreBitmap b;
	CdpCoreBitmap c;
	uint8_t out[CDP_CORE_BITMAP_MAX];

	/* down to a list, whatever the count that was believed */
	cdp_core_bitmap_copy(&c, a);
	for (uint32_t p = 0; p < CDP_CORE_BITMAP_BITS; p += 2)
		cdp_core_bitmap_remove(&c, p);
	(void) cdp_core_bitmap_encode(&c, out);
	cdp_core_bitmap_clear(&b);
	cdp_core_bitmap_add_range(&b, n / 2, n);
	cdp_core_bitmap_copy(&c, a);
	cdp_core_bitmap_and(&c, &b);
	cdp_core_bitmap_or(&c, a);
	cdp_core_bitmap_xor(&c, &b);
	cdp_core_bitmap_andnot(&c, a);
	cdp_core_bitmap_not(&c, n);
	(void) cdp_core_bitmap_encode(&c, out);
	(void) cdp_core_bitmap_members(a, members);
	(void) cdp_core_bitmap_and_count(a, &b);
	(void) cdp_core_bitmap_next(a, n);
	(void) cdp_core_bitmap_rank(a, n);
	(void) cdp_core_bitmap_select(a, n);
}

static void
fuzz_bitmap(const uint8_t *data, size_t size)
{
	CdpCoreBitmap a;
	CdpCoreBitmap b;
	const char *reason = NULL;
	uint8_t out[CDP_CORE_BITMAP_MAX];
	bool loaded = cdp_core_bitmap_load(&a, data, size);

	for (uint32_t p = 0; p < CDP_CORE_BITMAP_BITS; p += 331)
		(void) cdp_core_bitmap_bytes_has(data, size, p);
	if (loaded)
		use(&a, (uint32_t) (size * 7919 % CDP_CORE_BITMAP_BITS));
	if (!cdp_core_bitmap_decode(&b, data, size, &reason))
	{
		must(reason != NULL);
		return;
	}
	must(loaded && cdp_core_bitmap_equal(&a, &b));
	must(cdp_core_bitmap_encode(&b, out) == size && memcmp(out, data, size) == 0);
	for (uint32_t p = 0; p < CDP_CORE_BITMAP_BITS; p += 31)
		must(cdp_core_bitmap_bytes_has(data, size, p) == cdp_core_bitmap_has(&b, p));
}

static void
fuzz_audience(const uint8_t *data, size_t size)
{
	CdpCoreAudience a;
	const char *reason = NULL;
	uint64_t n = 0;

	if (cdp_core_audience_open(&a, data, size))
	{
		(void) cdp_core_audience_count(&a);
		(void) cdp_core_audience_has(&a, (int64_t) size * 15871);
	}
	if (!cdp_core_audience_check(data, size, &reason))
	{
		must(reason != NULL);
		return;
	}
	for (uint32_t i = 0; i < a.n; i++)
	{
		CdpCoreBitmap bitmap;
		size_t len;
		const uint8_t *bytes = cdp_core_audience_bitmap(&a, i, &len);

		must(bytes != NULL && cdp_core_bitmap_load(&bitmap, bytes, len));
		n += cdp_core_bitmap_count(&bitmap);
		must(cdp_core_audience_has(&a, (int64_t) (cdp_core_audience_key(&a, i) *
													  CDP_CORE_BITMAP_BITS +
												  cdp_core_bitmap_next(&bitmap, 0))));
	}
	must(cdp_core_audience_count(&a) == n);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	if (data[0] & 1)
		fuzz_bitmap(data + 1, size - 1);
	else
		fuzz_audience(data + 1, size - 1);
	return 0;
}
