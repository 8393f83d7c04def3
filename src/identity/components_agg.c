/*
 * src/identity/components_agg.c
 *		The aggregate cdp.connected_components_agg(a, b), for many small groups.
 *
 * The state is the same structure that the function uses, in the aggregate's
 * context; it starts with a few hundred bytes and keeps no edges.  Sent from a
 * parallel worker it is a list of pairs in network order, a node and one it is
 * joined to, as many as there are nodes; combining adds them.
 *
 * The result is sorted by component, then node, so equal graphs give equal
 * arrays whatever the order and number of their edges.  It is one value and
 * the state cannot go to disk, so a group is limited to maintenance_work_mem;
 * cdp.connected_components(query) is not.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "funcapi.h"
#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

#include "compat.h"
#include "core/components.h"

/* Pairs handled at a time. */
#define CHUNK 256

/* Bytes of a pair in the serialised state. */
#define PAIR_BYTES (2 * sizeof(int64))

PG_FUNCTION_INFO_V1(cdp_connected_components_agg_trans);
PG_FUNCTION_INFO_V1(cdp_connected_components_agg_combine);
PG_FUNCTION_INFO_V1(cdp_connected_components_agg_serial);
PG_FUNCTION_INFO_V1(cdp_connected_components_agg_deserial);
PG_FUNCTION_INFO_V1(cdp_connected_components_agg_final);

typedef struct State
{
	CdpCoreHost host;
	CdpCoreComponents core;
} State;

static void *
host_allocate(void *arg, size_t bytes)
{
	return MemoryContextAllocHuge(arg, bytes);
}

static void *
host_resize(void *arg, void *block, size_t bytes)
{
	return block == NULL ? host_allocate(arg, bytes) : repalloc_huge(block, bytes);
}

static void
host_release(void *arg pg_attribute_unused(), void *block)
{
	pfree(block);
}

static void
host_tick(void *arg pg_attribute_unused())
{
	CHECK_FOR_INTERRUPTS();
}

static State *
new_state(MemoryContext context)
{
	State *state = MemoryContextAllocZero(context, sizeof(State));

	state->host.allocate = host_allocate;
	state->host.resize = host_resize;
	state->host.release = host_release;
	state->host.tick = host_tick;
	state->host.arg = context;
	cdp_core_components_init(&state->core, &state->host, (size_t) maintenance_work_mem * 1024);
	return state;
}

static void
add(State *state, const int64 *ends, size_t count)
{
	size_t done;
	CdpCoreStatus status = cdp_core_components_add(&state->core, ends, count, &done);

	if (status == CDP_CORE_DONE)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("group has too many nodes for an aggregate"),
			 errdetail("With more than " UINT64_FORMAT " nodes its state would exceed "
					   "maintenance_work_mem.",
					   cdp_core_components_count(&state->core)),
			 errhint("Use cdp.connected_components(query), which goes to disk then.")));
}

/* Adds the nodes of "from" and what joins them. */
static void
add_state(State *state, const State *from)
{
	uint64_t position = 0;
	int64_t pairs[2 * CHUNK];
	size_t n;

	while ((n = cdp_core_components_read(&from->core, &position, pairs, CHUNK)) > 0)
		add(state, pairs, n);
}

static MemoryContext
aggregate_context(FunctionCallInfo fcinfo)
{
	MemoryContext context;

	if (!AggCheckCallContext(fcinfo, &context))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("support functions of cdp.connected_components_agg "
						"cannot be called directly")));
	return context;
}

/*
 * A row that is null in one column is a node without an edge there.
 */
Datum
cdp_connected_components_agg_trans(PG_FUNCTION_ARGS)
{
	MemoryContext context = aggregate_context(fcinfo);
	State *state = PG_ARGISNULL(0) ? NULL : (State *) PG_GETARG_POINTER(0);
	int a = PG_ARGISNULL(1) ? 2 : 1;
	int b = PG_ARGISNULL(2) ? 1 : 2;
	int64 ends[2];

	if (PG_ARGISNULL(a))
	{
		if (state == NULL)
			PG_RETURN_NULL();
		PG_RETURN_POINTER(state);
	}
	if (state == NULL)
		state = new_state(context);
	ends[0] = PG_GETARG_INT64(a);
	ends[1] = PG_GETARG_INT64(b);
	add(state, ends, 1);
	PG_RETURN_POINTER(state);
}

Datum
cdp_connected_components_agg_combine(PG_FUNCTION_ARGS)
{
	MemoryContext context = aggregate_context(fcinfo);
	State *state = PG_ARGISNULL(0) ? NULL : (State *) PG_GETARG_POINTER(0);

	if (!PG_ARGISNULL(1))
	{
		if (state == NULL)
			state = new_state(context);
		add_state(state, (State *) PG_GETARG_POINTER(1));
	}
	if (state == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(state);
}

Datum
cdp_connected_components_agg_serial(PG_FUNCTION_ARGS)
{
	State *state = (State *) PG_GETARG_POINTER(0);
	StringInfoData buf;
	uint64_t position = 0;
	int64_t pairs[2 * CHUNK];
	size_t n;

	aggregate_context(fcinfo);
	pq_begintypsend(&buf);
	while ((n = cdp_core_components_read(&state->core, &position, pairs, CHUNK)) > 0)
	{
		for (size_t i = 0; i < 2 * n; i++)
			pq_sendint64(&buf, (uint64) pairs[i]);
	}
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

Datum
cdp_connected_components_agg_deserial(PG_FUNCTION_ARGS)
{
	State *state = new_state(aggregate_context(fcinfo));
	bytea *bytes = PG_GETARG_BYTEA_PP(0);
	StringInfoData buf;
	int64 ends[2];

	buf.data = VARDATA_ANY(bytes);
	buf.len = VARSIZE_ANY_EXHDR(bytes);
	buf.maxlen = 0;
	buf.cursor = 0;
	if (buf.len % PAIR_BYTES != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("state of cdp.connected_components_agg is damaged")));
	while (buf.cursor < buf.len)
	{
		ends[0] = pq_getmsgint64(&buf);
		ends[1] = pq_getmsgint64(&buf);
		add(state, ends, 1);
	}
	PG_RETURN_POINTER(state);
}

/* by component, then node */
static int
pair_cmp(const void *a, const void *b)
{
	const int64 *x = a;
	const int64 *y = b;

	if (x[1] != y[1])
		return x[1] < y[1] ? -1 : 1;
	return (x[0] > y[0]) - (x[0] < y[0]);
}

static ArrayType *
array_of(const int64 *pairs, size_t count, Oid type)
{
	TupleDesc tupdesc = lookup_rowtype_tupdesc(type, -1);
	Datum *rows = palloc(count * sizeof(Datum));
	int16 len;
	bool byval;
	char align;
	ArrayType *result;

	for (size_t i = 0; i < count; i++)
	{
		Datum values[2];
		bool nulls[2] = {false, false};

		values[0] = Int64GetDatum(pairs[2 * i]);
		values[1] = Int64GetDatum(pairs[2 * i + 1]);
		rows[i] = HeapTupleGetDatum(heap_form_tuple(tupdesc, values, nulls));
	}
	get_typlenbyvalalign(type, &len, &byval, &align);
	result = construct_array(rows, (int) count, type, len, byval, align);
	ReleaseTupleDesc(tupdesc);
	return result;
}

/*
 * Leaves the state as it is, for it may be asked again (window functions).
 */
Datum
cdp_connected_components_agg_final(PG_FUNCTION_ARGS)
{
	/* as many rows as an array can hold, 24 bytes of header each */
	const uint64 most = MaxAllocSize / (PAIR_BYTES + MAXALIGN(SizeofHeapTupleHeader)) - 1;
	State *copy;
	uint64_t position = 0;
	uint64 count;
	int64 *pairs;

	aggregate_context(fcinfo);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	copy = new_state(CurrentMemoryContext);
	add_state(copy, (State *) PG_GETARG_POINTER(0));
	count = cdp_core_components_count(&copy->core);
	if (count > most)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("group has too many nodes for an aggregate"),
				 errdetail("It has " UINT64_FORMAT " nodes; an array holds " UINT64_FORMAT ".",
						   count, most),
				 errhint("Use cdp.connected_components(query).")));

	if (cdp_core_components_label(&copy->core) != CDP_CORE_DONE)
		elog(ERROR, "could not label components");
	pairs = palloc_extended(count * PAIR_BYTES, MCXT_ALLOC_HUGE);
	if (cdp_core_components_read(&copy->core, &position, pairs, count) != count)
		elog(ERROR, "components are incomplete");
	cdp_core_components_free(&copy->core);
	qsort(pairs, count, PAIR_BYTES, pair_cmp);
	PG_RETURN_ARRAYTYPE_P(array_of(pairs, count,
								   get_element_type(get_fn_expr_rettype(fcinfo->flinfo))));
}
