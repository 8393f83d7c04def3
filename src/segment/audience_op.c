/*
 * src/segment/audience_op.c
 *		Operators and functions of cdp.audience.
 *
 * Equal sets have equal bytes, so = and the hash look at bytes only.  Those
 * and the functions that walk the directory cannot raise on a value and are
 * LEAKPROOF; those that open bitmaps raise on damaged ones and are not.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "funcapi.h"
#include "miscadmin.h"

#include "segment/audience.h"

#define BITS CDP_CORE_BITMAP_BITS

PG_FUNCTION_INFO_V1(cdp_audience_and);
PG_FUNCTION_INFO_V1(cdp_audience_or);
PG_FUNCTION_INFO_V1(cdp_audience_minus);
PG_FUNCTION_INFO_V1(cdp_audience_xor);
PG_FUNCTION_INFO_V1(cdp_audience_eq);
PG_FUNCTION_INFO_V1(cdp_audience_ne);
PG_FUNCTION_INFO_V1(cdp_audience_hash);
PG_FUNCTION_INFO_V1(cdp_audience_hash_extended);
PG_FUNCTION_INFO_V1(cdp_audience_has);
PG_FUNCTION_INFO_V1(cdp_audience_is_in);
PG_FUNCTION_INFO_V1(cdp_audience_contains);
PG_FUNCTION_INFO_V1(cdp_audience_contained);
PG_FUNCTION_INFO_V1(cdp_audience_overlaps);
PG_FUNCTION_INFO_V1(cdp_audience_cardinality);
PG_FUNCTION_INFO_V1(cdp_audience_unnest);

static Datum
combine(FunctionCallInfo fcinfo, CdpAudienceOp op)
{
	CdpCoreAudience a;
	CdpCoreAudience b;

	cdp_audience_open(&a, PG_GETARG_VARLENA_PP(0));
	cdp_audience_open(&b, PG_GETARG_VARLENA_PP(1));
	PG_RETURN_POINTER(cdp_audience_combine(&a, &b, op));
}

Datum
cdp_audience_and(PG_FUNCTION_ARGS)
{
	return combine(fcinfo, CDP_AUDIENCE_AND);
}

Datum
cdp_audience_or(PG_FUNCTION_ARGS)
{
	return combine(fcinfo, CDP_AUDIENCE_OR);
}

Datum
cdp_audience_minus(PG_FUNCTION_ARGS)
{
	return combine(fcinfo, CDP_AUDIENCE_MINUS);
}

Datum
cdp_audience_xor(PG_FUNCTION_ARGS)
{
	return combine(fcinfo, CDP_AUDIENCE_XOR);
}

static bool
is_same(FunctionCallInfo fcinfo)
{
	struct varlena *a = PG_GETARG_VARLENA_PP(0);
	struct varlena *b = PG_GETARG_VARLENA_PP(1);

	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		   memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

Datum
cdp_audience_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(is_same(fcinfo));
}

Datum
cdp_audience_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!is_same(fcinfo));
}

Datum
cdp_audience_hash(PG_FUNCTION_ARGS)
{
	struct varlena *a = PG_GETARG_VARLENA_PP(0);

	return hash_any((unsigned char *) VARDATA_ANY(a), (int) VARSIZE_ANY_EXHDR(a));
}

Datum
cdp_audience_hash_extended(PG_FUNCTION_ARGS)
{
	struct varlena *a = PG_GETARG_VARLENA_PP(0);

	return hash_any_extended((unsigned char *) VARDATA_ANY(a), (int) VARSIZE_ANY_EXHDR(a),
							 (uint64) PG_GETARG_INT64(1));
}

static bool
has(struct varlena *value, int64 id)
{
	CdpCoreAudience a;

	return cdp_core_audience_open(&a, (const uint8 *) VARDATA_ANY(value),
								  VARSIZE_ANY_EXHDR(value)) &&
		   cdp_core_audience_has(&a, id);
}

/* audience @> id */
Datum
cdp_audience_has(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(has(PG_GETARG_VARLENA_PP(0), PG_GETARG_INT64(1)));
}

/* id <@ audience */
Datum
cdp_audience_is_in(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(has(PG_GETARG_VARLENA_PP(1), PG_GETARG_INT64(0)));
}

/* Is all of b in a? */
static bool
contains(struct varlena *value_a, struct varlena *value_b)
{
	CdpCoreAudience a;
	CdpCoreAudience b;

	cdp_audience_open(&a, value_a);
	cdp_audience_open(&b, value_b);
	if (b.n > a.n)
		return false;
	for (uint32 i = 0, j = 0; j < b.n; i++, j++)
	{
		uint64 key = cdp_core_audience_key(&b, j);
		CdpCoreBitmap x;
		CdpCoreBitmap y;

		CHECK_FOR_INTERRUPTS();
		while (i < a.n && cdp_core_audience_key(&a, i) < key)
			i++;
		if (i == a.n || cdp_core_audience_key(&a, i) != key)
			return false;
		cdp_audience_load(&a, i, &x);
		cdp_audience_load(&b, j, &y);
		if (!cdp_core_bitmap_holds(&x, &y))
			return false;
	}
	return true;
}

Datum
cdp_audience_contains(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(contains(PG_GETARG_VARLENA_PP(0), PG_GETARG_VARLENA_PP(1)));
}

Datum
cdp_audience_contained(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(contains(PG_GETARG_VARLENA_PP(1), PG_GETARG_VARLENA_PP(0)));
}

Datum
cdp_audience_overlaps(PG_FUNCTION_ARGS)
{
	CdpCoreAudience a;
	CdpCoreAudience b;
	uint32 i = 0;
	uint32 j = 0;

	cdp_audience_open(&a, PG_GETARG_VARLENA_PP(0));
	cdp_audience_open(&b, PG_GETARG_VARLENA_PP(1));
	while (i < a.n && j < b.n)
	{
		uint64 ka = cdp_core_audience_key(&a, i);
		uint64 kb = cdp_core_audience_key(&b, j);
		CdpCoreBitmap x;
		CdpCoreBitmap y;

		CHECK_FOR_INTERRUPTS();
		if (ka == kb)
		{
			cdp_audience_load(&a, i, &x);
			cdp_audience_load(&b, j, &y);
			if (cdp_core_bitmap_overlaps(&x, &y))
				PG_RETURN_BOOL(true);
		}
		i += ka <= kb;
		j += kb <= ka;
	}
	PG_RETURN_BOOL(false);
}

Datum
cdp_audience_cardinality(PG_FUNCTION_ARGS)
{
	struct varlena *value = PG_GETARG_VARLENA_PP(0);
	CdpCoreAudience a;

	if (!cdp_core_audience_open(&a, (const uint8 *) VARDATA_ANY(value),
								VARSIZE_ANY_EXHDR(value)))
		PG_RETURN_INT64(0);
	PG_RETURN_INT64((int64) cdp_core_audience_count(&a));
}

typedef struct Walk
{
	CdpCoreAudience audience;
	uint32 next; /* bitmap to be opened */
	int64 base;
	uint32 position; /* to go on from */
	CdpCoreBitmap bitmap;
} Walk;

/* cdp.unnest(audience) */
Datum
cdp_audience_unnest(PG_FUNCTION_ARGS)
{
	FuncCallContext *context;
	Walk *walk;

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext old;

		context = SRF_FIRSTCALL_INIT();
		old = MemoryContextSwitchTo(context->multi_call_memory_ctx);
		walk = palloc0(sizeof(Walk));
		cdp_audience_open(&walk->audience, PG_DETOAST_DATUM_COPY(PG_GETARG_DATUM(0)));
		walk->position = BITS;
		context->user_fctx = walk;
		MemoryContextSwitchTo(old);
	}
	context = SRF_PERCALL_SETUP();
	walk = context->user_fctx;
	for (;;)
	{
		uint32 p = cdp_core_bitmap_next(&walk->bitmap, walk->position);

		if (p < BITS)
		{
			walk->position = p + 1;
			SRF_RETURN_NEXT(context, Int64GetDatum(walk->base + p));
		}
		CHECK_FOR_INTERRUPTS();
		if (walk->next == walk->audience.n)
			SRF_RETURN_DONE(context);
		walk->base = (int64) (cdp_core_audience_key(&walk->audience, walk->next) * BITS);
		cdp_audience_load(&walk->audience, walk->next++, &walk->bitmap);
		walk->position = 0;
	}
}
