/*
 * src/affinity/affinity_agg.c
 *		The aggregates cdp.affinity_agg and cdp.affinity_union, the operator +.
 *
 * The state of both aggregates is a cdp.affinity in expanded form: a CdpAffinity
 * of core/affinity.h.  The type of the state is the type of the result, so no
 * serial or final function is needed, parallel workers send the stored form,
 * and combining is adding a summary.
 * Where states live: aggregate.h.
 */
#include "postgres.h"

#include "utils/expandeddatum.h"
#include "utils/memutils.h"

#include "affinity/affinity.h"
#include "aggregate.h"
#include "compat.h"
#include "core/prefetch.h"

typedef struct AffinityState
{
	ExpandedObjectHeader hdr; /* must be first */
	CdpAffinity affinity;
} AffinityState;

static const char context_name[] = "cdp affinity";

PG_FUNCTION_INFO_V1(cdp_affinity_agg_trans);
PG_FUNCTION_INFO_V1(cdp_affinity_union_trans);
PG_FUNCTION_INFO_V1(cdp_affinity_add);
PG_FUNCTION_INFO_V1(cdp_affinity_make);

/* -- the expanded value -- */

static Size
get_flat_size(ExpandedObjectHeader *header)
{
	CdpAffinityView view;

	cdp_core_affinity_view(&((AffinityState *) header)->affinity, &view);
	return VARHDRSZ + cdp_core_affinity_size(&view);
}

static void
flatten_into(ExpandedObjectHeader *header, void *result, Size size)
{
	CdpAffinityView view;

	cdp_core_affinity_view(&((AffinityState *) header)->affinity, &view);
	cdp_core_affinity_sort(&view);
	Assert(size == VARHDRSZ + cdp_core_affinity_size(&view));
	SET_VARSIZE(result, size);
	cdp_core_affinity_write(&view, VARDATA(result));
}

static const ExpandedObjectMethods methods = {
	get_flat_size,
	flatten_into};

const CdpAffinity *
cdp_affinity_expanded(Datum datum)
{
	if (VARATT_IS_EXTERNAL_EXPANDED(DatumGetPointer(datum)))
	{
		ExpandedObjectHeader *header = DatumGetEOHP(datum);

		if (header->eoh_methods == &methods)
			return &((AffinityState *) header)->affinity;
	}
	return NULL;
}

static void *
host_resize(void *arg, void *block, size_t bytes)
{
	return block == NULL ? MemoryContextAlloc(arg, bytes) : repalloc(block, bytes);
}

static void
init_core(CdpAffinity *affinity, MemoryContext context, int64 half_life, int slots)
{
	CdpAffinityHost host = {host_resize, context};

	cdp_core_affinity_init(affinity, &host, half_life, slots);
}

static AffinityState *
new_state(MemoryContext parent, int64 half_life, int slots)
{
	MemoryContext context = cdp_aggregate_context(parent, context_name);
	AffinityState *state = MemoryContextAlloc(context, sizeof(AffinityState));

	EOH_init_header(&state->hdr, &methods, context);
	init_core(&state->affinity, context, half_life, slots);
	return state;
}

static int
check_slots(int32 slots)
{
	if (slots < 1 || slots > CDP_AFFINITY_MAX_SLOTS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("number of slots is out of range"),
				 errdetail("It must be between 1 and %d.", CDP_AFFINITY_MAX_SLOTS)));
	return slots;
}

/* the state of argument 0, if it is ours to change */
static AffinityState *
given_state(FunctionCallInfo fcinfo)
{
	return (AffinityState *) cdp_aggregate_state(PG_GETARG_DATUM(0), &methods);
}

/* a state with the content of a datum */
static AffinityState *
open_state(Datum datum, MemoryContext parent)
{
	CdpAffinityView view;
	AffinityState *state;

	cdp_affinity_read(datum, &view);
	state = new_state(parent, view.half_life, view.slots);
	cdp_affinity_raise(cdp_core_affinity_merge(&state->affinity, &view));
	return state;
}

/*
 * In a hash aggregate over rows in the order of time each state is far from the
 * cache, and it has several lines: ask for all before waiting for the first.
 */
static void
prefetch_state(Datum state)
{
	const char *start = (const char *) DatumGetPointer(state);

	for (int line = 0; line < 6; line++)
		CDP_CORE_PREFETCH(start + line * 64);
}

/* -- cdp.affinity_agg(value, weight, at [, half_life [, slots]]) -- */

Datum
cdp_affinity_agg_trans(PG_FUNCTION_ARGS)
{
	MemoryContext context = cdp_aggregate_enter(fcinfo, "cdp.affinity_agg",
												"Use cdp.affinity() and the operator +.");
	int64 half_life = CDP_AFFINITY_DEFAULT_HALF_LIFE;
	int32 slots = CDP_AFFINITY_DEFAULT_SLOTS;
	AffinityState *state = NULL;
	text *value;

	prefetch_state(PG_GETARG_DATUM(0));

	/* a row that lacks something is no event */
	if (PG_ARGISNULL(1) || PG_ARGISNULL(2) || PG_ARGISNULL(3))
	{
		if (PG_ARGISNULL(0))
			PG_RETURN_NULL();
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	}
	if ((PG_NARGS() > 4 && PG_ARGISNULL(4)) || (PG_NARGS() > 5 && PG_ARGISNULL(5)))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("half-life and slots must not be null")));
	if (PG_NARGS() > 4)
		half_life = cdp_affinity_half_life(PG_GETARG_INTERVAL_P(4));
	if (PG_NARGS() > 5)
		slots = check_slots(PG_GETARG_INT32(5));

	if (PG_ARGISNULL(0))
		state = new_state(context, half_life, slots);
	else if ((state = given_state(fcinfo)) == NULL)
		state = open_state(PG_GETARG_DATUM(0), context);
	if (half_life != state->affinity.half_life || slots != state->affinity.slots)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("half-life and slots must be the same in all rows of a group")));

	value = PG_GETARG_TEXT_PP(1);
	cdp_affinity_raise(cdp_core_affinity_add(&state->affinity, VARDATA_ANY(value),
											 VARSIZE_ANY_EXHDR(value), PG_GETARG_FLOAT8(2),
											 PG_GETARG_TIMESTAMPTZ(3)));
	PG_RETURN_DATUM(EOHPGetRWDatum(&state->hdr));
}

/*
 * Transition of cdp.affinity_union, and combine function of both aggregates.
 */
Datum
cdp_affinity_union_trans(PG_FUNCTION_ARGS)
{
	MemoryContext context = cdp_aggregate_enter(fcinfo, "cdp.affinity_union",
												"Use the operator + for two affinities.");
	AffinityState *state = NULL;
	CdpAffinityView view;

	if (PG_ARGISNULL(1))
	{
		if (PG_ARGISNULL(0))
			PG_RETURN_NULL();
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	}
	cdp_affinity_read(PG_GETARG_DATUM(1), &view);
	if (PG_ARGISNULL(0))
		state = new_state(context, view.half_life, view.slots);
	else if ((state = given_state(fcinfo)) == NULL)
		state = open_state(PG_GETARG_DATUM(0), context);
	cdp_affinity_raise(cdp_core_affinity_merge(&state->affinity, &view));
	PG_RETURN_DATUM(EOHPGetRWDatum(&state->hdr));
}

/* -- without an aggregate -- */

/* the stored form of a summary in the current context */
static Datum
flat(const CdpAffinity *affinity)
{
	CdpAffinityView view;

	cdp_core_affinity_view(affinity, &view);
	cdp_core_affinity_sort(&view);
	return cdp_affinity_datum(&view);
}

/*
 * affinity + affinity: what both say.  a + b is b + a.
 */
Datum
cdp_affinity_add(PG_FUNCTION_ARGS)
{
	CdpAffinityView view;
	CdpAffinity sum;

	cdp_affinity_read(PG_GETARG_DATUM(0), &view);
	init_core(&sum, CurrentMemoryContext, view.half_life, view.slots);
	cdp_affinity_raise(cdp_core_affinity_merge(&sum, &view));
	cdp_affinity_read(PG_GETARG_DATUM(1), &view);
	cdp_affinity_raise(cdp_core_affinity_merge(&sum, &view));
	PG_RETURN_DATUM(flat(&sum));
}

/*
 * cdp.affinity(value, weight, at, half_life, slots): that of one event.
 */
Datum
cdp_affinity_make(PG_FUNCTION_ARGS)
{
	text *value = PG_GETARG_TEXT_PP(0);
	CdpAffinity affinity;

	init_core(&affinity, CurrentMemoryContext, cdp_affinity_half_life(PG_GETARG_INTERVAL_P(3)),
			  check_slots(PG_GETARG_INT32(4)));
	cdp_affinity_raise(cdp_core_affinity_add(&affinity, VARDATA_ANY(value),
											 VARSIZE_ANY_EXHDR(value), PG_GETARG_FLOAT8(1),
											 PG_GETARG_TIMESTAMPTZ(2)));
	PG_RETURN_DATUM(flat(&affinity));
}
