/*
 * src/identity/identity_set_agg.c
 *		The aggregates cdp.identity_merge(identifier) and (identity_set).
 *
 * The state is a cdp.identity_set in its expanded form: identifiers in order
 * of arrival, one after the other in "bytes", with an open-addressing hash
 * table that keeps them distinct.  Adding one is O(1) amortised; the order is
 * made once, when the value is flattened (returned, stored, or sent from a
 * parallel worker).  The type of the state is the type of the result, so no
 * serial or final function is needed, and combining is adding a set.
 *
 *		bytes:  cookie:c1email:a@b.c...			end: 9, 20, ...
 *		slot:   [ . 2 . . 1 . . . ]				entry number, from 1; 0 is free
 *
 * A group of up to LINEAR_MAX identifiers, the usual person, has no table
 * and is searched from front to back.
 *
 * The objects of an aggregate live in one context below the aggregate's, see
 * aggregate.h, and are freed with it.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/expandeddatum.h"
#include "utils/memutils.h"

#include "aggregate.h"
#include "compat.h"
#include "identity/identity.h"

static const char context_name[] = "cdp identity merge";

/* below this many a scan of the lengths beats the hash */
#define LINEAR_MAX 8

/* the table grows when more than 3/4 full, to a power of two */
#define FIRST_SLOTS 32

typedef struct MergeState
{
	ExpandedObjectHeader hdr; /* must be first */
	uint32 count; /* identifiers held */
	uint32 room; /* of end[] */
	uint32 *end; /* where each ends in bytes */
	char *bytes;
	uint32 bytes_room;
	uint32 *slots; /* entry numbers from 1, 0 free; NULL if none */
	uint32 slot_count; /* a power of two */
} MergeState;

PG_FUNCTION_INFO_V1(cdp_identity_merge_identifier);
PG_FUNCTION_INFO_V1(cdp_identity_merge_set);

static CdpIdentifierText
entry(const MergeState *state, uint32 i)
{
	uint32 start = (i == 0) ? 0 : state->end[i - 1];
	CdpIdentifierText text_form = {state->bytes + start,
								   (int) (state->end[i] - start)};

	return text_form;
}

static uint32
bytes_used(const MergeState *state)
{
	return state->count == 0 ? 0 : state->end[state->count - 1];
}

static uint32
hash_entry(CdpIdentifierText text_form)
{
	return hash_bytes((const unsigned char *) text_form.data, text_form.len);
}

/*
 * Slot of an identifier: where it is, or the free one where it belongs.
 */
static uint32 *
find_slot(const MergeState *state, CdpIdentifierText text_form)
{
	uint32 mask = state->slot_count - 1;
	uint32 i = hash_entry(text_form) & mask;

	while (state->slots[i] != 0 &&
		   cdp_identifier_text_cmp(entry(state, state->slots[i] - 1),
								   text_form) != 0)
		i = (i + 1) & mask;
	return &state->slots[i];
}

static void
grow_slots(MergeState *state)
{
	uint32 slot_count = Max(FIRST_SLOTS, state->slot_count * 2);

	if (state->slots != NULL)
		pfree(state->slots);
	state->slots = MemoryContextAllocZero(state->hdr.eoh_context,
										  slot_count * sizeof(uint32));
	state->slot_count = slot_count;
	for (uint32 i = 0; i < state->count; i++)
		*find_slot(state, entry(state, i)) = i + 1;
}

static bool
holds(const MergeState *state, CdpIdentifierText text_form)
{
	if (state->slots != NULL)
		return *find_slot(state, text_form) != 0;
	for (uint32 i = 0; i < state->count; i++)
	{
		if (cdp_identifier_text_cmp(entry(state, i), text_form) == 0)
			return true;
	}
	return false;
}

/*
 * Add one identifier.  Raises at the limits of the type.
 */
static void
add(MergeState *state, CdpIdentifierText text_form)
{
	uint32 used = bytes_used(state);

	if (holds(state, text_form))
		return;
	cdp_identity_set_check_limits((int64) state->count + 1,
								  (int64) used + text_form.len);

	/* the limits keep both sizes far from overflow when doubled */
	if (state->count == state->room)
	{
		state->room *= 2;
		state->end = repalloc(state->end, state->room * sizeof(uint32));
	}
	if (state->bytes_room - used < (uint32) text_form.len)
	{
		state->bytes_room = Max(state->bytes_room * 2,
								used + (uint32) text_form.len);
		state->bytes = repalloc(state->bytes, state->bytes_room);
	}
	memcpy(state->bytes + used, text_form.data, text_form.len);
	state->end[state->count++] = used + (uint32) text_form.len;

	if (state->count > LINEAR_MAX)
	{
		if (state->count > state->slot_count / 4 * 3)
			grow_slots(state);
		else
			*find_slot(state, entry(state, state->count - 1)) = state->count;
	}
}

static void
add_set(MergeState *state, const CdpIdentitySet *set)
{
	int n = cdp_identity_set_count(set);

	for (int i = 0; i < n; i++)
		add(state, cdp_identity_set_item(set, i));
}

/* -- the expanded value -- */

static Size
get_flat_size(ExpandedObjectHeader *header)
{
	MergeState *state = (MergeState *) header;

	return cdp_identity_set_size(state->count, bytes_used(state));
}

static int
text_cmp(const void *a, const void *b)
{
	return cdp_identifier_text_cmp(*(const CdpIdentifierText *) a,
								   *(const CdpIdentifierText *) b);
}

static void
flatten_into(ExpandedObjectHeader *header, void *result, Size size)
{
	MergeState *state = (MergeState *) header;
	CdpIdentifierText *items = palloc((state->count + 1) * sizeof(*items));

	Assert(size == get_flat_size(header));
	for (uint32 i = 0; i < state->count; i++)
		items[i] = entry(state, i);
	qsort(items, state->count, sizeof(*items), text_cmp);
	cdp_identity_set_write(result, size, items, (int) state->count);
	pfree(items);
}

static const ExpandedObjectMethods merge_methods = {
	get_flat_size,
	flatten_into};

static MergeState *
new_state(MemoryContext parent)
{
	MemoryContext context = cdp_aggregate_context(parent, context_name);
	MergeState *state = MemoryContextAllocZero(context, sizeof(MergeState));

	EOH_init_header(&state->hdr, &merge_methods, context);
	state->room = 4;
	state->end = MemoryContextAlloc(context, state->room * sizeof(uint32));
	state->bytes_room = 128;
	state->bytes = MemoryContextAlloc(context, state->bytes_room);
	return state;
}

/*
 * The state of argument 0, ready to be changed: made if there is none yet,
 * opened if it arrives flat (a combined or initial value).
 */
static MergeState *
open_state(FunctionCallInfo fcinfo, MemoryContext context)
{
	MergeState *state;

	if (PG_ARGISNULL(0))
		return new_state(context);
	state = (MergeState *) cdp_aggregate_state(PG_GETARG_DATUM(0), &merge_methods);
	if (state)
		return state;
	state = new_state(context);
	add_set(state, cdp_identity_set_from_datum(PG_GETARG_DATUM(0)));
	return state;
}

/*
 * The one transition function.  A null input leaves the state as it is, so
 * a group of nulls only, like no rows, gives NULL.
 */
static Datum
merge(FunctionCallInfo fcinfo, bool input_is_set)
{
	MemoryContext context =
		cdp_aggregate_enter(fcinfo, "cdp.identity_merge",
							"Use the aggregate cdp.identity_merge, "
							"or the operator || for two values.");
	MergeState *state;

	if (PG_ARGISNULL(1))
	{
		if (PG_ARGISNULL(0))
			PG_RETURN_NULL();
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	}

	state = open_state(fcinfo, context);
	if (input_is_set)
	{
		CdpIdentitySet *set = PG_GETARG_CDP_IDENTITY_SET_P(1);

		add_set(state, set);
		PG_FREE_IF_COPY(set, 1);
	}
	else
	{
		text *identifier = PG_GETARG_TEXT_PP(1);
		CdpIdentifierText text_form = {VARDATA_ANY(identifier),
									   VARSIZE_ANY_EXHDR(identifier)};

		add(state, text_form);
		PG_FREE_IF_COPY(identifier, 1);
	}
	PG_RETURN_DATUM(EOHPGetRWDatum(&state->hdr));
}

Datum
cdp_identity_merge_identifier(PG_FUNCTION_ARGS)
{
	return merge(fcinfo, false);
}

/*
 * Transition over sets, and combine function of both aggregates.
 */
Datum
cdp_identity_merge_set(PG_FUNCTION_ARGS)
{
	return merge(fcinfo, true);
}
