/*
 * src/segment/audience.c
 *		Values of type cdp.audience: written, read, combined.
 *
 * An operation walks both directories; what one side has alone is copied as
 * it is, and only bitmaps that both have are opened.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "segment/audience.h"

#define BITS CDP_CORE_BITMAP_BITS

/* Ids that are sorted by comparing; more are sorted by their digits. */
#define FEW_IDS 256

static void
too_large(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("audience is too large"),
			 errdetail("A value has at most 1 GB.")));
}

void
cdp_audience_check_id(int64 id)
{
	if (id < 0)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("an audience holds no negative ids"),
				 errhint("Profile ids are positive.")));
}

void
cdp_audience_start(CdpAudienceWriter *w)
{
	initStringInfo(&w->directory);
	initStringInfo(&w->data);
	w->n = 0;
	w->open = false;
	w->key = 0;
}

void
cdp_audience_put_bytes(CdpAudienceWriter *w, uint64 key, const uint8 *bytes, size_t len)
{
	uint8 entry[CDP_CORE_AUDIENCE_ENTRY];

	if ((Size) w->directory.len + w->data.len + len + sizeof(entry) + 64 > MaxAllocSize)
		too_large();
	appendBinaryStringInfo(&w->data, (const char *) bytes, (int) len);
	cdp_core_audience_put_entry(entry, key, (uint32) w->data.len);
	appendBinaryStringInfo(&w->directory, (const char *) entry, sizeof(entry));
	w->n++;
}

void
cdp_audience_put_bitmap(CdpAudienceWriter *w, uint64 key, CdpCoreBitmap *bitmap)
{
	uint8 bytes[CDP_CORE_BITMAP_MAX];

	if (!cdp_core_bitmap_is_empty(bitmap))
		cdp_audience_put_bytes(w, key, bytes, cdp_core_bitmap_encode(bitmap, bytes));
}

/* Writes what belongs to the key that was open. */
static void
close_key(CdpAudienceWriter *w)
{
	if (w->open)
		cdp_audience_put_bitmap(w, w->key, &w->bitmap);
	w->open = false;
}

void
cdp_audience_put_range(CdpAudienceWriter *w, int64 first, int64 last)
{
	for (;;)
	{
		uint64 key = (uint64) first / BITS;
		uint64 last_key = (uint64) last / BITS;
		uint32 from = (uint32) ((uint64) first % BITS);
		uint32 to = key == last_key ? (uint32) ((uint64) last % BITS) : BITS - 1;

		if (!w->open || w->key != key)
		{
			close_key(w);
			CHECK_FOR_INTERRUPTS();
			w->open = true;
			w->key = key;
			cdp_core_bitmap_clear(&w->bitmap);
		}
		cdp_core_bitmap_add_range(&w->bitmap, from, to);
		if (key == last_key)
			return;
		first = (int64) ((key + 1) * BITS);
	}
}

struct varlena *
cdp_audience_finish(CdpAudienceWriter *w)
{
	Size size;
	struct varlena *value;
	uint8 *p;

	close_key(w);
	size = VARHDRSZ + CDP_CORE_AUDIENCE_HEADER + w->directory.len + w->data.len;
	value = palloc(size);
	SET_VARSIZE(value, size);
	p = (uint8 *) VARDATA(value);
	cdp_core_audience_put_header(p, w->n);
	p += CDP_CORE_AUDIENCE_HEADER;
	memcpy(p, w->directory.data, w->directory.len);
	memcpy(p + w->directory.len, w->data.data, w->data.len);
	pfree(w->directory.data);
	pfree(w->data.data);
	return value;
}

static void
damaged(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("an audience is damaged")));
}

void
cdp_audience_open(CdpCoreAudience *a, const struct varlena *value)
{
	if (!cdp_core_audience_open(a, (const uint8 *) VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)))
		damaged();
}

/* Bytes of bitmap i; raises if they are not there. */
static const uint8 *
bytes_of(const CdpCoreAudience *a, uint32 i, size_t *len)
{
	const uint8 *bytes = cdp_core_audience_bitmap(a, i, len);

	if (bytes == NULL)
		damaged();
	return bytes;
}

void
cdp_audience_load(const CdpCoreAudience *a, uint32 i, CdpCoreBitmap *bitmap)
{
	size_t len;
	const uint8 *bytes = bytes_of(a, i, &len);

	if (!cdp_core_bitmap_load(bitmap, bytes, len))
		damaged();
}

static void
copy(CdpAudienceWriter *w, const CdpCoreAudience *a, uint32 i)
{
	size_t len;
	const uint8 *bytes = bytes_of(a, i, &len);

	cdp_audience_put_bytes(w, cdp_core_audience_key(a, i), bytes, len);
}

static void
combine_bitmaps(CdpCoreBitmap *a, const CdpCoreBitmap *b, CdpAudienceOp op)
{
	switch (op)
	{
		case CDP_AUDIENCE_AND:
			cdp_core_bitmap_and(a, b);
			break;
		case CDP_AUDIENCE_OR:
			cdp_core_bitmap_or(a, b);
			break;
		case CDP_AUDIENCE_MINUS:
			cdp_core_bitmap_andnot(a, b);
			break;
		case CDP_AUDIENCE_XOR:
			cdp_core_bitmap_xor(a, b);
			break;
	}
}

struct varlena *
cdp_audience_combine(const CdpCoreAudience *a, const CdpCoreAudience *b, CdpAudienceOp op)
{
	CdpAudienceWriter w;
	uint32 i = 0;
	uint32 j = 0;
	/* what one has alone is part of the result */
	bool alone_a = op != CDP_AUDIENCE_AND;
	bool alone_b = op == CDP_AUDIENCE_OR || op == CDP_AUDIENCE_XOR;

	cdp_audience_start(&w);
	while (i < a->n || j < b->n)
	{
		uint64 ka = i < a->n ? cdp_core_audience_key(a, i) : PG_UINT64_MAX;
		uint64 kb = j < b->n ? cdp_core_audience_key(b, j) : PG_UINT64_MAX;

		CHECK_FOR_INTERRUPTS();
		if (ka < kb)
		{
			if (alone_a)
				copy(&w, a, i);
			else if (j == b->n)
				break;
			i++;
		}
		else if (kb < ka)
		{
			if (alone_b)
				copy(&w, b, j);
			else if (i == a->n)
				break;
			j++;
		}
		else
		{
			CdpCoreBitmap x;
			CdpCoreBitmap y;

			cdp_audience_load(a, i++, &x);
			cdp_audience_load(b, j++, &y);
			combine_bitmaps(&x, &y, op);
			cdp_audience_put_bitmap(&w, ka, &x);
		}
	}
	return cdp_audience_finish(&w);
}

static int
compare_ids(const void *a, const void *b)
{
	int64 x = *(const int64 *) a;
	int64 y = *(const int64 *) b;

	return x < y ? -1 : x > y;
}

/*
 * By digits of 11 bits, the lowest first; a digit that all ids share is left
 * out, so small ids cost two or three passes.
 */
static void
sort_by_digits(int64 *ids, size_t n)
{
	int64 *scratch = MemoryContextAllocHuge(CurrentMemoryContext, n * sizeof(int64));
	int64 *from = ids;
	int64 *to = scratch;
	int64 differ = 0;

	for (size_t i = 1; i < n; i++)
		differ |= ids[i] ^ ids[0];
	for (int shift = 0; shift < 63; shift += 11)
	{
		size_t start[2048] = {0};
		size_t sum = 0;

		if (((differ >> shift) & 2047) == 0)
			continue;
		for (size_t i = 0; i < n; i++)
			start[(from[i] >> shift) & 2047]++;
		for (int d = 0; d < 2048; d++)
		{
			size_t count = start[d];

			start[d] = sum;
			sum += count;
		}
		for (size_t i = 0; i < n; i++)
			to[start[(from[i] >> shift) & 2047]++] = from[i];
		to = from;
		from = from == ids ? scratch : ids;
	}
	if (from != ids)
		memcpy(ids, from, n * sizeof(int64));
	pfree(scratch);
}

struct varlena *
cdp_audience_from_ids(int64 *ids, size_t n)
{
	CdpAudienceWriter w;
	bool sorted = true;

	for (size_t i = 1; i < n; i++)
		sorted &= ids[i - 1] <= ids[i];
	if (!sorted && n <= FEW_IDS)
		qsort(ids, n, sizeof(int64), compare_ids);
	else if (!sorted)
		sort_by_digits(ids, n);
	cdp_audience_start(&w);
	for (size_t i = 0; i < n; i++)
	{
		size_t first = i;

		/* consecutive ids go in at once */
		while (i + 1 < n && ids[i + 1] - ids[i] <= 1)
			i++;
		cdp_audience_put_range(&w, ids[first], ids[i]);
	}
	return cdp_audience_finish(&w);
}
