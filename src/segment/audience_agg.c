/*
 * src/segment/audience_agg.c
 *		The aggregates cdp.audience_agg(bigint) and (cdp.audience).
 *
 * The state is an audience in its expanded form: ids in order of arrival, and
 * the audience that earlier ids were made into.  When the list is full it is
 * sorted, made into an audience and united with the other; the list grows
 * with the audience, so that uniting is O(1) an id.  The type of the state is
 * the type of the result, so no serial or final function is needed, and
 * combining is adding an audience.
 *
 * Where states live: aggregate.h.
 */
#include "postgres.h"

#include "utils/expandeddatum.h"
#include "utils/memutils.h"

#include "aggregate.h"
#include "segment/audience.h"

/* Ids before the first uniting: half a megabyte. */
#define FIRST_LIMIT 65536

typedef struct AudienceState
{
	ExpandedObjectHeader hdr; /* must be first */
	int64 *ids;
	size_t n;
	size_t room; /* of ids, at most limit */
	size_t limit; /* ids that are united at once */
	struct varlena *audience; /* of earlier ids; NULL: none yet */
} AudienceState;

static const char context_name[] = "cdp audience";

PG_FUNCTION_INFO_V1(cdp_audience_agg_id);
PG_FUNCTION_INFO_V1(cdp_audience_agg_audience);

static void
unite(AudienceState *state, const struct varlena *other)
{
	MemoryContext old = MemoryContextSwitchTo(state->hdr.eoh_context);
	CdpCoreAudience a;
	CdpCoreAudience b;
	struct varlena *before = state->audience;

	cdp_audience_open(&b, other);
	if (before == NULL)
	{
		state->audience = palloc(VARHDRSZ + b.len);
		SET_VARSIZE(state->audience, VARHDRSZ + b.len);
		memcpy(VARDATA(state->audience), b.bytes, b.len);
	}
	else
	{
		cdp_audience_open(&a, before);
		state->audience = cdp_audience_combine(&a, &b, CDP_AUDIENCE_OR);
		pfree(before);
	}
	MemoryContextSwitchTo(old);
}

/* Makes an audience of the ids that wait. */
static void
flush(AudienceState *state)
{
	MemoryContext old;
	struct varlena *fresh;

	if (state->n == 0 && state->audience != NULL)
		return;
	old = MemoryContextSwitchTo(state->hdr.eoh_context);
	fresh = cdp_audience_from_ids(state->ids, state->n);
	state->n = 0;
	MemoryContextSwitchTo(old);
	unite(state, fresh);
	pfree(fresh);
	state->limit = Max(FIRST_LIMIT, VARSIZE(state->audience) / sizeof(int64) / 4);
}

static void
add(AudienceState *state, int64 id)
{
	cdp_audience_check_id(id);
	/* who comes again at once, as in a join, is no work */
	if (state->n > 0 && state->ids[state->n - 1] == id)
		return;
	if (state->n >= state->limit)
		flush(state);
	if (state->n == state->room)
	{
		state->room *= 2;
		state->ids = repalloc_huge(state->ids, state->room * sizeof(int64));
	}
	state->ids[state->n++] = id;
}

/* -- the expanded value -- */

static Size
get_flat_size(ExpandedObjectHeader *header)
{
	AudienceState *state = (AudienceState *) header;

	flush(state);
	return VARSIZE(state->audience);
}

static void
flatten_into(ExpandedObjectHeader *header, void *result, Size size)
{
	AudienceState *state = (AudienceState *) header;

	Assert(size == VARSIZE(state->audience));
	memcpy(result, state->audience, size);
}

static const ExpandedObjectMethods agg_methods = {
	get_flat_size,
	flatten_into};

static AudienceState *
new_state(MemoryContext parent)
{
	MemoryContext context = cdp_aggregate_context(parent, context_name);
	AudienceState *state = MemoryContextAllocZero(context, sizeof(AudienceState));

	EOH_init_header(&state->hdr, &agg_methods, context);
	state->room = 16;
	state->limit = FIRST_LIMIT;
	state->ids = MemoryContextAlloc(context, state->room * sizeof(int64));
	return state;
}

/*
 * The state of argument 0, ready to be changed: made if there is none yet,
 * opened if it arrives flat (a combined or initial value).
 */
static AudienceState *
open_state(FunctionCallInfo fcinfo, MemoryContext context)
{
	AudienceState *state;

	if (PG_ARGISNULL(0))
		return new_state(context);
	state = (AudienceState *) cdp_aggregate_state(PG_GETARG_DATUM(0), &agg_methods);
	if (state)
		return state;
	state = new_state(context);
	unite(state, PG_GETARG_VARLENA_PP(0));
	return state;
}

/*
 * The one transition function.  A null input leaves the state as it is, so
 * a group of nulls only, like no rows, gives NULL.
 */
static Datum
transition(FunctionCallInfo fcinfo, bool input_is_audience)
{
	MemoryContext context =
		cdp_aggregate_enter(fcinfo, "cdp.audience_agg",
							"Use the aggregate cdp.audience_agg, "
							"or the operator | for two values.");
	AudienceState *state;

	if (PG_ARGISNULL(1))
	{
		if (PG_ARGISNULL(0))
			PG_RETURN_NULL();
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	}
	state = open_state(fcinfo, context);
	if (input_is_audience)
	{
		struct varlena *value = PG_GETARG_VARLENA_PP(1);

		unite(state, value);
		PG_FREE_IF_COPY(value, 1);
	}
	else
		add(state, PG_GETARG_INT64(1));
	PG_RETURN_DATUM(EOHPGetRWDatum(&state->hdr));
}

Datum
cdp_audience_agg_id(PG_FUNCTION_ARGS)
{
	return transition(fcinfo, false);
}

/* Transition over audiences, and combine function of both aggregates. */
Datum
cdp_audience_agg_audience(PG_FUNCTION_ARGS)
{
	return transition(fcinfo, true);
}
