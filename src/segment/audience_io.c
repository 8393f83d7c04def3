/*
 * src/segment/audience_io.c
 *		Input and output of cdp.audience, and its casts.
 *
 * Text: {1,2,5-9}.  Input takes ids and ranges in any order, also
 * overlapping, with blanks around them; output has them ascending, and three
 * or more ids in a row as a range.  Binary: the bytes of the value as they
 * are, which must be the one form of a set.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "segment/audience.h"

#define BITS CDP_CORE_BITMAP_BITS

/* Bytes that one bitmap takes at least, with its entry. */
#define LEAST_BYTES (CDP_CORE_AUDIENCE_ENTRY + CDP_CORE_BITMAP_HEADER + 2)

PG_FUNCTION_INFO_V1(cdp_audience_in);
PG_FUNCTION_INFO_V1(cdp_audience_out);
PG_FUNCTION_INFO_V1(cdp_audience_recv);
PG_FUNCTION_INFO_V1(cdp_audience_send);
PG_FUNCTION_INFO_V1(cdp_audience_from_array);
PG_FUNCTION_INFO_V1(cdp_audience_to_array);

typedef struct Range
{
	int64 first;
	int64 last;
} Range;

typedef struct Ranges
{
	Range *v;
	size_t n;
	size_t room;
	uint64 bitmaps; /* that they may take */
	bool sorted;
} Ranges;

static const char *
skip_blanks(const char *p)
{
	while (*p == ' ' || (*p >= '\t' && *p <= '\r'))
		p++;
	return p;
}

/* A number from 0; false if there is none, or it is too large. */
static bool
read_id(const char **p, int64 *id, const char **reason)
{
	const char *s = *p;
	uint64 v = 0;

	if (*s < '0' || *s > '9')
	{
		*reason = *s == '-' ? "ids are not negative" : "an id was expected";
		return false;
	}
	for (; *s >= '0' && *s <= '9'; s++)
	{
		v = v * 10 + (uint64) (*s - '0');
		if (v > PG_INT64_MAX)
		{
			*reason = "an id has at most 63 bits";
			return false;
		}
	}
	*p = s;
	*id = (int64) v;
	return true;
}

/* One id, or two with a hyphen between. */
static bool
read_range(const char **p, Ranges *ranges, const char **reason)
{
	Range r;

	if (!read_id(p, &r.first, reason))
		return false;
	r.last = r.first;
	*p = skip_blanks(*p);
	if (**p == '-')
	{
		*p = skip_blanks(*p + 1);
		if (!read_id(p, &r.last, reason))
			return false;
		*p = skip_blanks(*p);
		if (r.last < r.first)
		{
			*reason = "a range ends before it starts";
			return false;
		}
	}
	if (ranges->n == ranges->room)
	{
		ranges->room *= 2;
		ranges->v = repalloc_huge(ranges->v, ranges->room * sizeof(Range));
	}
	if (ranges->n > 0 && r.first < ranges->v[ranges->n - 1].first)
		ranges->sorted = false;
	ranges->v[ranges->n++] = r;
	ranges->bitmaps += (uint64) r.last / BITS - (uint64) r.first / BITS;
	return true;
}

static bool
read_ranges(const char *text, Ranges *ranges, const char **at, const char **reason)
{
	const char *p = skip_blanks(text);

	*reason = "it must start with {";
	*at = p;
	if (*p != '{')
		return false;
	p = skip_blanks(p + 1);
	while (*p != '}')
	{
		bool found = read_range(&p, ranges, reason);

		*at = p;
		if (!found)
			return false;
		if (*p == ',')
		{
			p = skip_blanks(p + 1);
			if (*p != '}')
				continue;
			*at = p;
			*reason = "an id was expected";
			return false;
		}
		if (*p != '}')
		{
			*reason = "a comma or } was expected";
			return false;
		}
	}
	p = skip_blanks(p + 1);
	*at = p;
	*reason = "something follows the }";
	return *p == '\0';
}

static int
compare_ranges(const void *a, const void *b)
{
	const Range *x = a;
	const Range *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
}

Datum
cdp_audience_in(PG_FUNCTION_ARGS)
{
	const char *text = PG_GETARG_CSTRING(0);
	Ranges ranges = {palloc(8 * sizeof(Range)), 0, 8, 0, true};
	CdpAudienceWriter w;
	const char *at;
	const char *reason;
	int64 next = 0;

	if (!read_ranges(text, &ranges, &at, &reason))
		cdp_ereturn(cdp_escontext(fcinfo), (Datum) 0,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("invalid input syntax for type cdp.audience"),
					 errdetail("At character %d: %s.", (int) (at - text) + 1, reason)));
	if (ranges.bitmaps > MaxAllocSize / LEAST_BYTES)
		cdp_ereturn(cdp_escontext(fcinfo), (Datum) 0,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("audience is too large"),
					 errdetail("Its ranges reach over too many ids.")));
	if (!ranges.sorted)
		qsort(ranges.v, ranges.n, sizeof(Range), compare_ranges);
	cdp_audience_start(&w);
	for (size_t i = 0; i < ranges.n; i++)
	{
		int64 first = Max(ranges.v[i].first, next);

		/* next is 0 again after the highest id, and then nothing is left */
		if (ranges.v[i].last < first || (i > 0 && next == 0))
			continue;
		cdp_audience_put_range(&w, first, ranges.v[i].last);
		next = ranges.v[i].last == PG_INT64_MAX ? 0 : ranges.v[i].last + 1;
	}
	pfree(ranges.v);
	PG_RETURN_POINTER(cdp_audience_finish(&w));
}

static void
write_range(StringInfo out, int64 first, int64 last)
{
	char number[MAXINT8LEN + 1];

	for (int i = 0; i < 2; i++)
	{
		int64 id = i == 0 ? first : last;
		int len;

		if (i == 1 && last == first)
			return;
		if (i == 1)
			appendStringInfoChar(out, last == first + 1 ? ',' : '-');
		else if (out->len > 1)
			appendStringInfoChar(out, ',');
		len = pg_lltoa(id, number);
		appendBinaryStringInfo(out, number, len);
	}
}

Datum
cdp_audience_out(PG_FUNCTION_ARGS)
{
	CdpCoreAudience a;
	StringInfoData out;
	bool pending = false;
	int64 first = 0;
	int64 last = 0;

	cdp_audience_open(&a, PG_GETARG_VARLENA_PP(0));
	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	for (uint32 i = 0; i < a.n; i++)
	{
		int64 base = (int64) (cdp_core_audience_key(&a, i) * BITS);
		CdpCoreBitmap bitmap;
		uint32 p;

		CHECK_FOR_INTERRUPTS();
		cdp_audience_load(&a, i, &bitmap);
		for (p = cdp_core_bitmap_next(&bitmap, 0); p < BITS; p = cdp_core_bitmap_next(&bitmap, p))
		{
			uint32 end = cdp_core_bitmap_gap(&bitmap, p);

			/* a run may go on from one bitmap to the next */
			if (!pending || base + p != last + 1)
			{
				if (pending)
					write_range(&out, first, last);
				first = base + p;
			}
			last = base + end - 1;
			pending = true;
			p = end;
		}
	}
	if (pending)
		write_range(&out, first, last);
	appendStringInfoChar(&out, '}');
	PG_RETURN_CSTRING(out.data);
}

Datum
cdp_audience_recv(PG_FUNCTION_ARGS)
{
	StringInfo buf = (StringInfo) PG_GETARG_POINTER(0);
	int len = buf->len - buf->cursor;
	const char *bytes = pq_getmsgbytes(buf, len);
	const char *reason;
	struct varlena *value;

	if (!cdp_core_audience_check((const uint8 *) bytes, (size_t) len, &reason))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid audience"),
				 errdetail("The value is refused because %s.", reason)));
	value = palloc(VARHDRSZ + len);
	SET_VARSIZE(value, VARHDRSZ + len);
	memcpy(VARDATA(value), bytes, len);
	PG_RETURN_POINTER(value);
}

Datum
cdp_audience_send(PG_FUNCTION_ARGS)
{
	struct varlena *value = PG_GETARG_VARLENA_PP(0);
	StringInfoData buf;

	pq_begintypsend(&buf);
	pq_sendbytes(&buf, VARDATA_ANY(value), (int) VARSIZE_ANY_EXHDR(value));
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/* bigint[] to audience */
Datum
cdp_audience_from_array(PG_FUNCTION_ARGS)
{
	ArrayType *array = PG_GETARG_ARRAYTYPE_P_COPY(0);
	int n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	int64 *ids = (int64 *) ARR_DATA_PTR(array);

	if (array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("an audience holds no nulls")));
	for (int i = 0; i < n; i++)
		cdp_audience_check_id(ids[i]);
	PG_RETURN_POINTER(cdp_audience_from_ids(ids, (size_t) n));
}

/* audience to bigint[], ascending */
Datum
cdp_audience_to_array(PG_FUNCTION_ARGS)
{
	CdpCoreAudience a;
	uint64 n;
	ArrayType *array;
	int64 *ids;
	size_t size;
	static uint16 members[BITS];

	cdp_audience_open(&a, PG_GETARG_VARLENA_PP(0));
	n = cdp_core_audience_count(&a);
	if (n == 0)
		PG_RETURN_POINTER(construct_empty_array(INT8OID));
	if (n > (MaxAllocSize - 1024) / sizeof(int64))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("audience is too large for an array"),
				 errhint("Use cdp.unnest().")));
	size = ARR_OVERHEAD_NONULLS(1) + n * sizeof(int64);
	array = palloc(size);
	SET_VARSIZE(array, size);
	array->ndim = 1;
	array->dataoffset = 0;
	array->elemtype = INT8OID;
	ARR_DIMS(array)
	[0] = (int) n;
	ARR_LBOUND(array)
	[0] = 1;
	ids = (int64 *) ARR_DATA_PTR(array);
	for (uint32 i = 0; i < a.n; i++)
	{
		int64 base = (int64) (cdp_core_audience_key(&a, i) * BITS);
		CdpCoreBitmap bitmap;
		uint32 found;

		CHECK_FOR_INTERRUPTS();
		cdp_audience_load(&a, i, &bitmap);
		found = cdp_core_bitmap_members(&bitmap, members);
		/* a damaged count must not write beyond the array */
		for (uint32 k = 0; k < found && n > 0; k++, n--)
			*ids++ = base + members[k];
	}
	if (n > 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("an audience is damaged")));
	PG_RETURN_POINTER(array);
}
