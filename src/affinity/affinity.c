/*
 * src/affinity/affinity.c
 *		The type cdp.affinity: input, output, equality, reading.
 *
 * Every function lays its arguments open with cdp_affinity_read(), which proves
 * all of a value before anything is read from it; a value has 96 slots at most,
 * so that is cheap.  Text is JSON (core/affinity_text.c); the wire form is
 *
 *		version 1, slots 1, count 1, flags 1 (must be 0), half-life 8, landmark 8,
 *		plus, minus, absent_below, absent_above 8 each; then for each value its
 *		length 4, text in the client's encoding, net, below, above 8 each
 *
 * in network order.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "funcapi.h"
#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "affinity/affinity.h"
#include "compat.h"
#include "store.h"

#define WIRE_VERSION 1

PG_FUNCTION_INFO_V1(cdp_affinity_in);
PG_FUNCTION_INFO_V1(cdp_affinity_out);
PG_FUNCTION_INFO_V1(cdp_affinity_recv);
PG_FUNCTION_INFO_V1(cdp_affinity_send);
PG_FUNCTION_INFO_V1(cdp_affinity_eq);
PG_FUNCTION_INFO_V1(cdp_affinity_ne);
PG_FUNCTION_INFO_V1(cdp_affinity_hash);
PG_FUNCTION_INFO_V1(cdp_affinity_hash_extended);
PG_FUNCTION_INFO_V1(cdp_affinity_at);
PG_FUNCTION_INFO_V1(cdp_affinity_score);
PG_FUNCTION_INFO_V1(cdp_affinity_top);
PG_FUNCTION_INFO_V1(cdp_affinity_distance);

/*
 * Lays a datum open.  Values point into it, or into a detoasted copy in the
 * current context.  In order, unless it was expanded.
 */
void
cdp_affinity_read(Datum datum, CdpAffinityView *view)
{
	const CdpAffinity *expanded = cdp_affinity_expanded(datum);
	const char *reason;
	struct varlena *bytes;

	if (expanded != NULL)
	{
		cdp_core_affinity_view(expanded, view);
		return;
	}
	bytes = PG_DETOAST_DATUM_PACKED(datum);
	if (!cdp_core_affinity_open(view, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes), &reason))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("stored affinity is damaged"),
				 errdetail("The %s.", reason)));
}

/*
 * A new datum of a view in order.
 */
Datum
cdp_affinity_datum(const CdpAffinityView *view)
{
	Size size = VARHDRSZ + cdp_core_affinity_size(view);
	struct varlena *bytes = palloc(size);

	SET_VARSIZE(bytes, size);
	cdp_core_affinity_write(view, VARDATA(bytes));
	return PointerGetDatum(bytes);
}

/*
 * Raises, unless all is well.  Says nothing of the content.
 */
void
cdp_affinity_raise(CdpAffinityStatus status)
{
	switch (status)
	{
		case CDP_AFFINITY_DONE:
			return;
		case CDP_AFFINITY_LONG_VALUE:
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("value of an affinity is too long"),
					 errdetail("It may have %d bytes.", CDP_AFFINITY_MAX_VALUE),
					 errhint("Use a short name or a key, or left(value, n).")));
			break;
		case CDP_AFFINITY_BAD_WEIGHT:
			ereport(ERROR,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("weight is out of range"),
					 errdetail("It must be between -1e100 and 1e100, and not NaN.")));
			break;
		case CDP_AFFINITY_BAD_TIME:
			ereport(ERROR,
					(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
					 errmsg("time of an event is out of range"),
					 errdetail("It must be in the years 1 to 9999.")));
			break;
		case CDP_AFFINITY_BAD_SUM:
			ereport(ERROR,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("affinity is out of range"),
					 errdetail("The sum of its weights is above 1e120.")));
			break;
		case CDP_AFFINITY_OTHER_HALF_LIFE:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("affinities have different half-lives"),
					 errhint("Only affinities with one half-life can be added.")));
			break;
	}
}

/*
 * Microseconds of a half-life; a month has 30 days and a year 365.25, as in
 * extract(epoch FROM interval).  Raises outside the limits.
 */
int64
cdp_affinity_half_life(const Interval *interval)
{
	/* in floating point, for extreme intervals overflow integers */
	double usec = (double) interval->time + (double) interval->day * USECS_PER_DAY;

	if (interval->month != 0)
		usec += (double) (interval->month / 12) * (DAYS_PER_YEAR * USECS_PER_DAY) +
				(double) (interval->month % 12) * (DAYS_PER_MONTH * (double) USECS_PER_DAY);
	if (!(usec >= CDP_AFFINITY_MIN_HALF_LIFE && usec <= CDP_AFFINITY_MAX_HALF_LIFE))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("half-life is out of range"),
				 errdetail("It must be between a second and 100 years.")));
	return (int64) usec;
}

/* -- input and output -- */

Datum
cdp_affinity_in(PG_FUNCTION_ARGS)
{
	const char *text_form = PG_GETARG_CSTRING(0);
	size_t len = strlen(text_form);
	char *scratch = palloc(len + 1);
	CdpAffinityView view;
	const char *reason;

	if (!cdp_core_affinity_parse(&view, text_form, len, scratch, &reason))
		cdp_ereturn(cdp_escontext(fcinfo), (Datum) 0,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("invalid input syntax for type %s", "cdp.affinity"),
					 errdetail("The %s.", reason)));
	PG_RETURN_DATUM(cdp_affinity_datum(&view));
}

Datum
cdp_affinity_out(PG_FUNCTION_ARGS)
{
	CdpAffinityView view;
	char *out;

	cdp_affinity_read(PG_GETARG_DATUM(0), &view);
	cdp_core_affinity_sort(&view);
	out = palloc(cdp_core_affinity_print_size(&view) + 1);
	out[cdp_core_affinity_print(&view, out)] = '\0';
	PG_RETURN_CSTRING(out);
}

/* a sum from the wire: -0 and what is not normal are 0, as everywhere here */
static double
receive_sum(StringInfo buf)
{
	double x = pq_getmsgfloat8(buf);

	return cdp_core_affinity_scale(x, 0) + 0.0;
}

Datum
cdp_affinity_recv(PG_FUNCTION_ARGS)
{
	StringInfo buf = (StringInfo) PG_GETARG_POINTER(0);
	CdpAffinityView view;
	const char *reason = NULL;

	if (pq_getmsgbyte(buf) != WIRE_VERSION)
		reason = "version is unknown";
	else
	{
		view.slots = pq_getmsgbyte(buf);
		view.count = pq_getmsgbyte(buf);
		if (pq_getmsgbyte(buf) != 0)
			reason = "reserved bits are not zero";
		else if (view.count > CDP_AFFINITY_MAX_SLOTS)
			reason = "number of values is above that of slots";
	}
	if (reason == NULL)
	{
		view.half_life = pq_getmsgint64(buf);
		view.landmark = pq_getmsgint64(buf);
		view.plus = receive_sum(buf);
		view.minus = receive_sum(buf);
		view.absent_below = receive_sum(buf);
		view.absent_above = receive_sum(buf);
		for (int i = 0; i < view.count; i++)
		{
			CdpAffinityItem *item = &view.item[i];
			int nbytes;

			item->value = pq_getmsgtext(buf, pq_getmsgint(buf, 4), &nbytes);
			item->len = nbytes;
			item->net = receive_sum(buf);
			item->below = receive_sum(buf);
			item->above = receive_sum(buf);
		}
		/* in another encoding the order was another */
		cdp_core_affinity_sort(&view);
		if (cdp_core_affinity_check(&view, &reason))
			PG_RETURN_DATUM(cdp_affinity_datum(&view));
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
			 errmsg("invalid binary form of type %s", "cdp.affinity"),
			 errdetail("The %s.", reason)));
}

Datum
cdp_affinity_send(PG_FUNCTION_ARGS)
{
	CdpAffinityView view;
	StringInfoData buf;

	cdp_affinity_read(PG_GETARG_DATUM(0), &view);
	cdp_core_affinity_sort(&view);
	pq_begintypsend(&buf);
	pq_sendbyte(&buf, WIRE_VERSION);
	pq_sendbyte(&buf, view.slots);
	pq_sendbyte(&buf, view.count);
	pq_sendbyte(&buf, 0);
	pq_sendint64(&buf, view.half_life);
	pq_sendint64(&buf, view.landmark);
	pq_sendfloat8(&buf, view.plus);
	pq_sendfloat8(&buf, view.minus);
	pq_sendfloat8(&buf, view.absent_below);
	pq_sendfloat8(&buf, view.absent_above);
	for (int i = 0; i < view.count; i++)
	{
		const CdpAffinityItem *item = &view.item[i];

		cdp_sendcountedtext(&buf, item->value, item->len);
		pq_sendfloat8(&buf, item->net);
		pq_sendfloat8(&buf, item->below);
		pq_sendfloat8(&buf, item->above);
	}
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/* -- equality: what is equal has equal bytes -- */

static bool
same_bytes(FunctionCallInfo fcinfo)
{
	struct varlena *a = PG_GETARG_VARLENA_PP(0);
	struct varlena *b = PG_GETARG_VARLENA_PP(1);
	bool result = VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
				  memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;

	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return result;
}

Datum
cdp_affinity_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(same_bytes(fcinfo));
}

Datum
cdp_affinity_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!same_bytes(fcinfo));
}

Datum
cdp_affinity_hash(PG_FUNCTION_ARGS)
{
	struct varlena *a = PG_GETARG_VARLENA_PP(0);
	Datum result = hash_any((unsigned char *) VARDATA_ANY(a), (int) VARSIZE_ANY_EXHDR(a));

	PG_FREE_IF_COPY(a, 0);
	PG_RETURN_DATUM(result);
}

Datum
cdp_affinity_hash_extended(PG_FUNCTION_ARGS)
{
	struct varlena *a = PG_GETARG_VARLENA_PP(0);
	Datum result = hash_any_extended((unsigned char *) VARDATA_ANY(a),
									 (int) VARSIZE_ANY_EXHDR(a), PG_GETARG_INT64(1));

	PG_FREE_IF_COPY(a, 0);
	PG_RETURN_DATUM(result);
}

/* -- reading -- */

static void
require_finite(TimestampTz at)
{
	if (TIMESTAMP_NOT_FINITE(at))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("time of a score cannot be infinite")));
}

static float8
score_of(FunctionCallInfo fcinfo, TimestampTz at)
{
	text *value = PG_GETARG_TEXT_PP(1);
	CdpAffinityView view;
	int i;

	require_finite(at);
	cdp_affinity_read(PG_GETARG_DATUM(0), &view);
	i = cdp_core_affinity_find(&view, VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
	return i < 0 ? 0 : cdp_core_affinity_at(&view, view.item[i].net, at);
}

/*
 * cdp.affinity_at(affinity, value, at): the score of a value, 0 if it is not
 * there.
 */
Datum
cdp_affinity_at(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(score_of(fcinfo, PG_GETARG_TIMESTAMPTZ(2)));
}

/*
 * affinity -> value: the same, now.
 */
Datum
cdp_affinity_score(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(score_of(fcinfo, cdp_now()));
}

/*
 * cdp.affinity_top(affinity, n, at): the n values with the highest scores.
 *
 * The rows go straight into a tuplestore of the row type that the caller
 * expects: this runs once for each person, and looking up our own result type
 * would take longer than all the rest.
 */
Datum
cdp_affinity_top(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *info = (ReturnSetInfo *) fcinfo->resultinfo;
	int n = PG_GETARG_INT32(1);
	TimestampTz at = PG_GETARG_TIMESTAMPTZ(2);
	CdpAffinityView view;
	uint8 order[CDP_AFFINITY_MAX_SLOTS];
	MemoryContext old;

	if (info == NULL || !IsA(info, ReturnSetInfo) ||
		(info->allowedModes & SFRM_Materialize) == 0 || info->expectedDesc == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("set-valued function called in context that cannot accept a set")));
	if (n < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("number of values must not be negative")));
	require_finite(at);
	cdp_affinity_read(PG_GETARG_DATUM(0), &view);
	n = cdp_core_affinity_rank(&view, n, order);

	old = MemoryContextSwitchTo(info->econtext->ecxt_per_query_memory);
	info->returnMode = SFRM_Materialize;
	info->setResult = tuplestore_begin_heap((info->allowedModes & SFRM_Materialize_Random) != 0,
											false, work_mem);
	MemoryContextSwitchTo(old);
	for (int i = 0; i < n; i++)
	{
		const CdpAffinityItem *item = &view.item[order[i]];
		Datum values[4];
		bool nulls[4] = {false};

		values[0] = PointerGetDatum(cstring_to_text_with_len(item->value, (int) item->len));
		values[1] = Float8GetDatum(cdp_core_affinity_at(&view, item->net, at));
		values[2] = Float8GetDatum(cdp_core_affinity_at(&view, item->net - item->below, at));
		values[3] = Float8GetDatum(cdp_core_affinity_at(&view, item->net + item->above, at));
		tuplestore_putvalues(info->setResult, info->expectedDesc, values, nulls);
	}
	PG_RETURN_NULL();
}

/*
 * affinity <=> affinity: cosine distance.
 */
Datum
cdp_affinity_distance(PG_FUNCTION_ARGS)
{
	CdpAffinityView a;
	CdpAffinityView b;

	cdp_affinity_read(PG_GETARG_DATUM(0), &a);
	cdp_affinity_read(PG_GETARG_DATUM(1), &b);
	cdp_core_affinity_sort(&a);
	cdp_core_affinity_sort(&b);
	PG_RETURN_FLOAT8(cdp_core_affinity_distance(&a, &b));
}
