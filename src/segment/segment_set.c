/*
 * src/segment/segment_set.c
 *		Type cdp.segment_set: the names of the segments of one person.
 *
 * The bytes are those of a text[] of one dimension, ascending by bytes, each
 * name once and none null; so equal sets have equal bytes.  A value knows no
 * segments but those it names: it may be kept, and compared, after one of
 * them was dropped.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "compat.h"
#include "segment/expr.h"
#include "segment/segment_set.h"

PG_FUNCTION_INFO_V1(cdp_segment_set_in);
PG_FUNCTION_INFO_V1(cdp_segment_set_out);
PG_FUNCTION_INFO_V1(cdp_segment_set_recv);
PG_FUNCTION_INFO_V1(cdp_segment_set_send);
PG_FUNCTION_INFO_V1(cdp_segment_set_from_array);
PG_FUNCTION_INFO_V1(cdp_segment_set_to_array);
PG_FUNCTION_INFO_V1(cdp_segment_set_has);
PG_FUNCTION_INFO_V1(cdp_segment_set_matches);
PG_FUNCTION_INFO_V1(cdp_segment_set_eq);
PG_FUNCTION_INFO_V1(cdp_segment_set_ne);
PG_FUNCTION_INFO_V1(cdp_segment_set_hash);
PG_FUNCTION_INFO_V1(cdp_segment_set_hash_extended);

static int
compare_names(const void *a, const void *b)
{
	const text *x = DatumGetTextPP(*(const Datum *) a);
	const text *y = DatumGetTextPP(*(const Datum *) b);
	size_t m = VARSIZE_ANY_EXHDR(x);
	size_t n = VARSIZE_ANY_EXHDR(y);
	int c = memcmp(VARDATA_ANY(x), VARDATA_ANY(y), Min(m, n));

	return c != 0 ? c : (m > n) - (m < n);
}

Datum
cdp_segment_set_make(Datum *names, int n)
{
	int kept = 0;

	qsort(names, n, sizeof(Datum), compare_names);
	for (int i = 0; i < n; i++)
		if (kept == 0 || compare_names(&names[kept - 1], &names[i]) != 0)
			names[kept++] = names[i];
	return PointerGetDatum(construct_array(names, kept, TEXTOID, -1, false, TYPALIGN_INT));
}

/* Any text[] as a set; softly, where the server can. */
static Datum
from_array(Datum value, Node *escontext)
{
	ArrayType *array = DatumGetArrayTypeP(value);
	Datum *names;
	int n;

	if (ARR_NDIM(array) > 1 || array_contains_nulls(array))
		cdp_ereturn(escontext, (Datum) 0,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("a segment_set is a list of names"),
					 errdetail("It has one dimension and no nulls: {vip,churned}.")));
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &names, NULL, &n);
	return cdp_segment_set_make(names, n);
}

/* The forms of arrays, read and written by the functions of text[]. */
static Datum
call(FunctionCallInfo fcinfo, PGFunction function, Datum arg, int nargs)
{
	LOCAL_FCINFO(inner, 3);

	/* the element type is kept in fn_extra, which only this function uses */
	InitFunctionCallInfoData(*inner, fcinfo->flinfo, nargs, InvalidOid, fcinfo->context, NULL);
	inner->args[0].value = arg;
	inner->args[1].value = ObjectIdGetDatum(TEXTOID);
	inner->args[2].value = Int32GetDatum(-1);
	for (int i = 0; i < 3; i++)
		inner->args[i].isnull = false;
	return function(inner);
}

Datum
cdp_segment_set_in(PG_FUNCTION_ARGS)
{
	Datum array = call(fcinfo, array_in, PG_GETARG_DATUM(0), 3);

	if (DatumGetPointer(array) == NULL)
		PG_RETURN_NULL(); /* a soft error */
	PG_RETURN_DATUM(from_array(array, cdp_escontext(fcinfo)));
}

Datum
cdp_segment_set_out(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(call(fcinfo, array_out, PG_GETARG_DATUM(0), 1));
}

Datum
cdp_segment_set_recv(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(from_array(call(fcinfo, array_recv, PG_GETARG_DATUM(0), 3), NULL));
}

Datum
cdp_segment_set_send(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(call(fcinfo, array_send, PG_GETARG_DATUM(0), 1));
}

Datum
cdp_segment_set_from_array(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(from_array(PG_GETARG_DATUM(0), NULL));
}

Datum
cdp_segment_set_to_array(PG_FUNCTION_ARGS)
{
	/* it is one */
	PG_RETURN_DATUM(PG_GETARG_DATUM(0));
}

/* Is a name of so many bytes among those of the set? */
static bool
has(const ArrayType *set, const char *name, size_t len)
{
	const char *at = ARR_DATA_PTR(set);
	int n = ArrayGetNItems(ARR_NDIM(set), ARR_DIMS(set));

	for (int i = 0; i < n; i++)
	{
		if (VARSIZE_ANY_EXHDR(at) == len && memcmp(VARDATA_ANY(at), name, len) == 0)
			return true;
		at = att_addlength_pointer(at, -1, at);
		at = (const char *) att_align_nominal(at, TYPALIGN_INT);
	}
	return false;
}

static bool
has_name(const char *name, void *arg)
{
	return has(arg, name, strlen(name));
}

/* segment_set @> 'vip' */
Datum
cdp_segment_set_has(PG_FUNCTION_ARGS)
{
	ArrayType *set = PG_GETARG_ARRAYTYPE_P(0);
	text *name = PG_GETARG_TEXT_PP(1);

	PG_RETURN_BOOL(has(set, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name)));
}

/* An expression as it was parsed. */
typedef struct Parsed
{
	MemoryContext context;
	char *source; /* NULL: none */
	CdpSegmentExpr *expr;
} Parsed;

/* segment_set @@ 'vip & !churned'; parsed once as long as the text is the same */
Datum
cdp_segment_set_matches(PG_FUNCTION_ARGS)
{
	Parsed *parsed = fcinfo->flinfo->fn_extra;
	char *source = text_to_cstring(PG_GETARG_TEXT_PP(1));

	if (parsed == NULL)
	{
		parsed = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(Parsed));
		parsed->context = AllocSetContextCreate(fcinfo->flinfo->fn_mcxt, "cdp segment expression",
												ALLOCSET_SMALL_SIZES);
		fcinfo->flinfo->fn_extra = parsed;
	}
	if (parsed->source == NULL || strcmp(parsed->source, source) != 0)
	{
		MemoryContext old;

		parsed->source = NULL;
		MemoryContextReset(parsed->context);
		old = MemoryContextSwitchTo(parsed->context);
		parsed->expr = cdp_segment_expr_parse(source, true);
		parsed->source = pstrdup(source);
		MemoryContextSwitchTo(old);
	}
	PG_RETURN_BOOL(
		cdp_segment_expr_holds(parsed->expr, has_name, PG_GETARG_ARRAYTYPE_P(0)));
}

static bool
is_equal(FunctionCallInfo fcinfo)
{
	ArrayType *a = PG_GETARG_ARRAYTYPE_P(0);
	ArrayType *b = PG_GETARG_ARRAYTYPE_P(1);

	return VARSIZE(a) == VARSIZE(b) && memcmp(a, b, VARSIZE(a)) == 0;
}

Datum
cdp_segment_set_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(is_equal(fcinfo));
}

Datum
cdp_segment_set_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!is_equal(fcinfo));
}

Datum
cdp_segment_set_hash(PG_FUNCTION_ARGS)
{
	ArrayType *a = PG_GETARG_ARRAYTYPE_P(0);

	PG_RETURN_DATUM(hash_any((const unsigned char *) VARDATA(a), VARSIZE(a) - VARHDRSZ));
}

Datum
cdp_segment_set_hash_extended(PG_FUNCTION_ARGS)
{
	ArrayType *a = PG_GETARG_ARRAYTYPE_P(0);

	PG_RETURN_DATUM(hash_any_extended((const unsigned char *) VARDATA(a), VARSIZE(a) - VARHDRSZ,
									  PG_GETARG_INT64(1)));
}
