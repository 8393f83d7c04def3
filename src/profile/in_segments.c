/*
 * src/profile/in_segments.c
 *		Columns of segments in cdp.profiles: cdp.in_segments(),
 *		cdp.segments_of(), cdp.member_ords().
 *
 * in_segments() is what boolean columns, segment_set @> 'vip' and segment_set
 * @@ 'vip & !churned' become: a bit of the membership index.  A chunk is
 * evaluated when somebody of it is asked for, and kept as long as the query: a
 * point query opens one chunk, a scan each chunk once.
 *
 * What is kept may outlive the query (PL/pgSQL keeps the state of simple
 * expressions), so it is stamped with the snapshot, the role, the purposes and
 * the time.
 *
 * LEAKPROOF: the answers of in_segments() and member_ords() depend on their
 * ord as cdp.allowed() does.  Their expression raises an error only where it
 * is the same for all rows of the query; else what is malformed, or names no
 * segment, is null.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "consent/consent.h"
#include "guc.h"
#include "profile/algebra.h"
#include "segment/segment_set.h"
#include "stamp.h"
#include "store.h"

#define BITS CDP_CORE_BITMAP_BITS

PG_FUNCTION_INFO_V1(cdp_in_segments);
PG_FUNCTION_INFO_V1(cdp_member_ords);
PG_FUNCTION_INFO_V1(cdp_segments_of);

/* A segment's name by its number. */
typedef struct SegmentName
{
	int32 id; /* key */
	const char *name; /* NULL: there is none */
} SegmentName;

/* What one place in a query keeps. */
typedef struct Kept
{
	MemoryContext context; /* of all that follows */
	bool valid;
	CdpStamp stamp;
	uint64 generation;
	uint64 purpose_stamp;
	Oid role;
	TimestampTz now;

	/* in_segments() */
	CdpDueList due;
	MemoryContext one; /* of this expression */
	text *source;
	CdpSegmentExpr *expr; /* NULL: malformed, or of unknown segments */
	int nchunks;
	CdpCoreBitmap **chunks; /* by number; NULL: not evaluated */
	FmgrInfo allowed;

	/* segments_of() */
	HTAB *names; /* NULL: none was looked up */
} Kept;

/*
 * What this place has kept, emptied if it was made for another statement.  Who
 * finds it not valid fills it.
 */
static Kept *
kept_here(FunctionCallInfo fcinfo)
{
	Kept *kept = fcinfo->flinfo->fn_extra;
	Snapshot snapshot = GetActiveSnapshot();
	TimestampTz now = cdp_now();

	if (kept && kept->valid && cdp_stamp_is(&kept->stamp, snapshot) &&
		kept->generation == cdp_store_generation() && kept->role == GetUserId() &&
		kept->purpose_stamp == cdp_guc_purpose_stamp && kept->now == now)
		return kept;
	if (kept == NULL)
	{
		kept = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(Kept));
		kept->context = AllocSetContextCreate(fcinfo->flinfo->fn_mcxt, "cdp segments of a query",
											  ALLOCSET_DEFAULT_SIZES);
		fcinfo->flinfo->fn_extra = kept;
	}
	kept->valid = false;
	MemoryContextReset(kept->context);
	kept->one = NULL;
	kept->names = NULL;
	cdp_stamp_set(&kept->stamp, snapshot);
	kept->generation = cdp_store_generation();
	kept->role = GetUserId();
	kept->purpose_stamp = cdp_guc_purpose_stamp;
	kept->now = now;
	return kept;
}

/* Those whose timers are due, in our own memory: the list is another query's, too. */
static CdpDueList
copy_due(void)
{
	CdpDueList list = cdp_due_list();
	CdpDue *people = palloc(sizeof(CdpDue) * Max(list.n, 1));

	for (int i = 0; i < list.n; i++)
	{
		int32 *segments = palloc(sizeof(int32) * Max(list.people[i].n, 1));

		memcpy(segments, list.people[i].segments, sizeof(int32) * list.people[i].n);
		people[i] = (CdpDue){list.people[i].ord, list.people[i].n, segments};
	}
	return (CdpDueList){list.n, people};
}

static CdpSegmentExpr *
read_expr(const char *source, bool raise)
{
	CdpSegmentExpr *expr = cdp_segment_expr_parse(source, raise);

	return expr && cdp_segment_expr_resolve(expr, raise) ? expr : NULL;
}

static void
take_source(Kept *kept, text *source, bool raise)
{
	MemoryContext old = MemoryContextSwitchTo(kept->context);

	if (kept->one == NULL)
	{
		kept->due = copy_due();
		kept->one = AllocSetContextCreate(kept->context, "cdp expression of segments",
										  ALLOCSET_DEFAULT_SIZES);
	}
	/* a place that is asked with ever other expressions holds one at a time */
	kept->valid = false;
	MemoryContextReset(kept->one);
	MemoryContextSwitchTo(kept->one);
	kept->nchunks = 0;
	kept->chunks = NULL;
	kept->source = (text *) PG_DETOAST_DATUM_COPY(PointerGetDatum(source));
	kept->expr = read_expr(text_to_cstring(source), raise);
	kept->valid = true;
	MemoryContextSwitchTo(old);
}

static bool
is_source(const Kept *kept, text *source)
{
	return VARSIZE_ANY_EXHDR(kept->source) == VARSIZE_ANY_EXHDR(source) &&
		   memcmp(VARDATA_ANY(kept->source), VARDATA_ANY(source), VARSIZE_ANY_EXHDR(source)) == 0;
}

/* For whom the expression holds in a chunk, whoever may see them. */
static const CdpCoreBitmap *
chunk_of(Kept *kept, int32 chunk_no)
{
	MemoryContext old = MemoryContextSwitchTo(kept->one);
	CdpLens lens = {.clear = true};
	CdpAlgebra a;
	CdpCoreBitmap *result;

	if (chunk_no >= kept->nchunks)
	{
		int n = Max(chunk_no + 1, kept->nchunks * 2);
		CdpCoreBitmap **grown = palloc0(sizeof(CdpCoreBitmap *) * n);

		for (int i = 0; i < kept->nchunks; i++)
			grown[i] = kept->chunks[i];
		if (kept->chunks)
			pfree(kept->chunks);
		kept->chunks = grown;
		kept->nchunks = n;
	}
	if (kept->chunks[chunk_no] == NULL)
	{
		result = palloc(sizeof(CdpCoreBitmap));
		cdp_algebra_open(&a, kept->expr, chunk_no, &lens, kept->due);
		cdp_core_bitmap_copy(result, cdp_algebra_at(&a, chunk_no));
		cdp_algebra_close(&a);
		kept->chunks[chunk_no] = result;
	}
	MemoryContextSwitchTo(old);
	return kept->chunks[chunk_no];
}

/* Asks cdp.allowed(), which keeps what it reads as long as we do. */
static bool
may_see(Kept *kept, FunctionCallInfo outer, int32 ord)
{
	LOCAL_FCINFO(fcinfo, 1);

	kept->allowed.fn_mcxt = outer->flinfo->fn_mcxt;
	InitFunctionCallInfoData(*fcinfo, &kept->allowed, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = Int32GetDatum(ord);
	fcinfo->args[0].isnull = false;
	return DatumGetBool(cdp_allowed(fcinfo));
}

/* cdp.in_segments(ord, expr) */
Datum
cdp_in_segments(PG_FUNCTION_ARGS)
{
	int32 ord = PG_GETARG_INT32(0);
	text *source = PG_GETARG_TEXT_PP(1);
	Kept *kept;

	if (!ActiveSnapshotSet() || !cdp_store_exists())
		PG_RETURN_NULL();
	kept = kept_here(fcinfo);
	/* a variable of PL/pgSQL is stable in each call, and changes between them */
	if (!kept->valid || !is_source(kept, source))
		take_source(kept, source, get_fn_expr_arg_stable(fcinfo->flinfo, 1));
	if (kept->expr == NULL)
		PG_RETURN_NULL();
	PG_RETURN_BOOL(ord >= 0 &&
				   cdp_core_bitmap_has(chunk_of(kept, ord / BITS), (uint32) (ord % BITS)) &&
				   may_see(kept, fcinfo, ord));
}

/* Bytes of an array of so many ords. */
#define SIZE_OF(n) (ARR_OVERHEAD_NONULLS(1) + sizeof(int32) * (Size) (n))

/* cdp.member_ords(expr): for whom in_segments() holds, ascending. */
Datum
cdp_member_ords(PG_FUNCTION_ARGS)
{
	char *source = text_to_cstring(PG_GETARG_TEXT_PP(0));
	CdpSegmentExpr *expr;
	CdpLens lens;
	CdpAlgebra a;
	CdpCoreBitmap *people;
	ArrayType *array = NULL;
	int64 n = 0;
	int64 room = 0;

	if (!ActiveSnapshotSet() || !cdp_store_exists())
		PG_RETURN_NULL();
	expr = read_expr(source, get_fn_expr_arg_stable(fcinfo->flinfo, 0));
	if (expr == NULL)
		PG_RETURN_NULL();
	cdp_lens_open(&lens, GetUserId());
	cdp_algebra_open(&a, expr, 0, &lens, cdp_due_list());
	while ((people = cdp_algebra_next(&a)) != NULL)
	{
		if (n + cdp_core_bitmap_count(people) > room)
		{
			room = Max(room * 2, n + BITS);
			array = array ? repalloc_huge(array, SIZE_OF(room)) :
							MemoryContextAllocHuge(CurrentMemoryContext, SIZE_OF(room));
		}
		for (uint32 at = cdp_core_bitmap_next(people, 0); at < BITS;
			 at = cdp_core_bitmap_next(people, at + 1))
			((int32 *) ((char *) array + ARR_OVERHEAD_NONULLS(1)))[n++] =
				(int32) (a.chunk_no * BITS + at);
	}
	cdp_algebra_close(&a);
	if (n == 0)
		PG_RETURN_ARRAYTYPE_P(construct_empty_array(INT4OID));
	if (!AllocSizeIsValid(SIZE_OF(n)))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("too many people for an array")));
	SET_VARSIZE(array, SIZE_OF(n));
	array->ndim = 1;
	array->dataoffset = 0;
	array->elemtype = INT4OID;
	ARR_DIMS(array)
	[0] = (int) n;
	ARR_LBOUND(array)
	[0] = 1;
	PG_RETURN_ARRAYTYPE_P(array);
}

/* Name of a segment; NULL if it is gone. */
static const char *
name_of(Kept *kept, int32 id)
{
	SegmentName *entry;
	bool found;
	MemoryContext old;

	if (kept->names == NULL)
	{
		HASHCTL ctl = {0};

		ctl.keysize = sizeof(int32);
		ctl.entrysize = sizeof(SegmentName);
		ctl.hcxt = kept->context;
		kept->names = hash_create("cdp names of segments", 32, &ctl,
								  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	entry = hash_search(kept->names, &id, HASH_ENTER, &found);
	if (!found)
	{
		entry->name = NULL;
		old = MemoryContextSwitchTo(kept->context);
		entry->name = cdp_segment_name(id);
		MemoryContextSwitchTo(old);
	}
	return entry->name;
}

/* cdp.segments_of(ord, profile_id, stored): the column segment_set. */
Datum
cdp_segments_of(PG_FUNCTION_ARGS)
{
	LOCAL_FCINFO(present, 2);
	Kept *kept;
	Datum ids;
	ArrayType *array;
	Datum *names;
	int n;
	int nnames = 0;

	if (!ActiveSnapshotSet() || !cdp_store_exists())
		PG_RETURN_NULL();
	InitFunctionCallInfoData(*present, NULL, 2, InvalidOid, NULL, NULL);
	present->args[0] = fcinfo->args[1];
	present->args[1] = fcinfo->args[2];
	ids = cdp_present_segments(present);
	if (present->isnull)
		PG_RETURN_DATUM(cdp_segment_set_make(NULL, 0));
	kept = kept_here(fcinfo);
	kept->valid = true;
	array = DatumGetArrayTypeP(ids);
	n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	names = palloc(sizeof(Datum) * Max(n, 1));
	for (int i = 0; i < n && !ARR_HASNULL(array); i++)
	{
		const char *name = name_of(kept, ((const int32 *) ARR_DATA_PTR(array))[i]);

		if (name)
			names[nnames++] = CStringGetTextDatum(name);
	}
	PG_RETURN_DATUM(cdp_segment_set_make(names, nnames));
}
