/*
 * src/identity/components.c
 *		cdp.connected_components(query): components of an edge list.
 *
 * The query is prepared and run by SPI as the caller, read only and with the
 * snapshot of the calling statement; its rows are handed over one by one, not
 * copied, by a DestReceiver of our own.  Edges are not kept, only what is
 * needed to know the components (see core/components.h); beyond
 * maintenance_work_mem temporary files take over.  The result goes to a
 * tuplestore, which spills beyond work_mem as every result of a function does.
 *
 * Nothing here reads what cdp stores: a query over views of cdp shows the
 * caller what these views show him.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_coerce.h"
#include "tcop/dest.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/typcache.h"

#include "compat.h"
#include "guc.h"
#include "identity/components.h"

/* Edges between two looks at interrupts and the clock. */
#define CHUNK 1024

PG_FUNCTION_INFO_V1(cdp_connected_components);
PG_FUNCTION_INFO_V1(cdp_connected_components_any);

/* Takes the rows of the query. */
typedef struct Receiver
{
	DestReceiver pub; /* must be first */
	CdpComponents *call;
	int16 width[2]; /* bytes of the columns, if integers */
	CdpIntEdges *ints;
	CdpAnyEdges *anys;
	int count; /* edges in ends, or since the last tick */
	int64 ends[2 * CHUNK];
} Receiver;

/* -- memory, progress, errors -- */

static void *
host_allocate(void *arg, size_t bytes)
{
	return MemoryContextAllocHuge(((CdpComponents *) arg)->context, bytes);
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
host_tick(void *arg)
{
	cdp_components_tick(arg);
}

void
cdp_components_phase(CdpComponents *call, const char *phase)
{
	call->phase = phase;
	cdp_progress_phase(&call->progress, phase);
	cdp_components_tick(call);
}

/*
 * Called every few thousand steps: may the call go on, and is it time to say
 * how far it has come?
 */
void
cdp_components_tick(CdpComponents *call)
{
	CHECK_FOR_INTERRUPTS();
	cdp_progress_set(&call->progress, (int64) call->edges);
	if (call->next_notice != 0)
	{
		TimestampTz now = GetCurrentTimestamp();

		if (now >= call->next_notice)
		{
			ereport(NOTICE,
					(errmsg("%s: " UINT64_FORMAT " edges, " UINT64_FORMAT " nodes so far",
							call->phase, call->edges, call->nodes)));
			call->next_notice = now + (int64) cdp_guc_progress_interval * 1000;
		}
	}
}

/*
 * Raises if that many bytes are more than may be held.
 */
void
cdp_components_raise_limit(CdpComponents *call, uint64 bytes)
{
	uint64 megabytes = bytes / (1024 * 1024) + 1;

	if (bytes <= call->limit)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("maintenance_work_mem is too small for the components of this graph"),
			 errdetail("What must stay in memory beside temporary files needs " UINT64_FORMAT
					   " MB.",
					   megabytes),
			 errhint("Set maintenance_work_mem to '" UINT64_FORMAT "MB' or more.", megabytes)));
}

/*
 * Raises for what the core reports, other than success and the limit.
 */
void
cdp_components_raise(CdpComponents *call, CdpCoreStatus status)
{
	if (status == CDP_CORE_TOO_MANY)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("graph has too many nodes"),
				 errdetail("A graph has at most %u nodes.", CDP_CORE_MAX_NODES),
				 errhint("Split the edges by a key that no component crosses.")));
	if (status == CDP_CORE_NO_MEMORY)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
}

/* -- the result -- */

/*
 * Where rows go.  A row of integers is made once; the next ones differ in two
 * places, which lie at the same offsets, for the columns are fixed and not
 * null.  Measured with a row's way through the function scan: 65 ns, against
 * 82 by tuplestore_putvalues() and 110 with one call for each row, for then
 * the executor fills a tuplestore all the same.
 */
static void
open_result(CdpComponents *call, ReturnSetInfo *rsinfo)
{
	Datum values[2] = {0, 0};
	bool nulls[2] = {false, false};

	call->result = rsinfo->setResult;
	call->tupdesc = rsinfo->setDesc;
	if (call->type.integer)
		call->tuple = heap_form_tuple(call->tupdesc, values, nulls);

	if (call->ordered)
	{
		AttrNumber columns[2] = {2, 1};
		Oid operators[2];
		Oid collations[2];

		operators[0] = operators[1] = call->type.less;
		collations[0] = collations[1] = call->type.collation;
		call->sort = tuplesort_begin_heap(call->tupdesc, 2, columns, operators, collations,
										  nulls, work_mem, NULL, TUPLESORT_NONE);
		call->slot = MakeSingleTupleTableSlot(call->tupdesc, &TTSOpsVirtual);
	}
}

void
cdp_components_emit(CdpComponents *call, Datum node, Datum component)
{
	Datum values[2];
	bool nulls[2] = {false, false};

	values[0] = node;
	values[1] = component;
	if (call->sort == NULL)
	{
		tuplestore_putvalues(call->result, call->tupdesc, values, nulls);
		return;
	}
	ExecClearTuple(call->slot);
	memcpy(call->slot->tts_values, values, sizeof(values));
	memcpy(call->slot->tts_isnull, nulls, sizeof(nulls));
	ExecStoreVirtualTuple(call->slot);
	tuplesort_puttupleslot(call->sort, call->slot);
}

static Datum
int_datum(int64 value, int16 width)
{
	if (width == sizeof(int16))
		return Int16GetDatum((int16) value);
	if (width == sizeof(int32))
		return Int32GetDatum((int32) value);
	return Int64GetDatum(value);
}

/*
 * Emits pairs of a node and its component.
 */
void
cdp_components_emit_int(CdpComponents *call, const int64 *pairs, size_t count)
{
	int16 width = call->type.len;
	char *data = (char *) call->tuple->t_data + call->tuple->t_data->t_hoff;

	for (size_t i = 0; i < count; i++)
	{
		const int64 *pair = pairs + 2 * i;

		if (call->sort != NULL)
		{
			MemoryContext old = MemoryContextSwitchTo(call->scratch);

			cdp_components_emit(call, int_datum(pair[0], width), int_datum(pair[1], width));
			MemoryContextSwitchTo(old);
			continue;
		}
		for (int column = 0; column < 2; column++)
		{
			if (width == sizeof(int64))
				memcpy(data + column * sizeof(int64), &pair[column], sizeof(int64));
			else if (width == sizeof(int32))
			{
				int32 value = (int32) pair[column];

				memcpy(data + column * sizeof(int32), &value, sizeof(int32));
			}
			else
			{
				int16 value = (int16) pair[column];

				memcpy(data + column * sizeof(int16), &value, sizeof(int16));
			}
		}
		tuplestore_puttuple(call->result, call->tuple);
	}
	MemoryContextReset(call->scratch);
}

static void
close_result(CdpComponents *call)
{
	TupleTableSlot *slot;
	int n = 0;

	if (call->sort == NULL)
		return;
	cdp_components_phase(call, "sorting");
	tuplesort_performsort(call->sort);
	slot = MakeSingleTupleTableSlot(call->tupdesc, &TTSOpsMinimalTuple);
	while (tuplesort_gettupleslot(call->sort, true, false, slot, NULL))
	{
		tuplestore_puttupleslot(call->result, slot);
		if (++n % CHUNK == 0)
			cdp_components_tick(call);
	}
	ExecDropSingleTupleTableSlot(slot);
	ExecDropSingleTupleTableSlot(call->slot);
	tuplesort_end(call->sort);
}

/* -- the rows of the query -- */

static int64
int_value(Datum value, int16 width)
{
	if (width == sizeof(int64))
		return DatumGetInt64(value);
	if (width == sizeof(int32))
		return DatumGetInt32(value);
	return DatumGetInt16(value);
}

static void
flush(Receiver *receiver)
{
	CdpComponents *call = receiver->call;

	if (receiver->ints != NULL)
		cdp_components_int_add(receiver->ints, receiver->ends, receiver->count);
	call->edges += receiver->count;
	receiver->count = 0;
	cdp_components_tick(call);
}

static bool
receive(TupleTableSlot *slot, DestReceiver *self)
{
	Receiver *receiver = (Receiver *) self;
	int a = 0;
	int b = 1;

	slot_getallattrs(slot);
	if (slot->tts_isnull[0] || slot->tts_isnull[1])
	{
		if (slot->tts_isnull[0] && slot->tts_isnull[1])
			return true;
		/* a node without an edge on this row */
		a = b = slot->tts_isnull[0] ? 1 : 0;
	}
	if (receiver->ints != NULL)
	{
		int64 *ends = receiver->ends + 2 * receiver->count;

		ends[0] = int_value(slot->tts_values[a], receiver->width[a]);
		ends[1] = int_value(slot->tts_values[b], receiver->width[b]);
	}
	else
		cdp_components_any_add(receiver->anys, slot->tts_values[a], slot->tts_values[b]);
	if (++receiver->count == CHUNK)
		flush(receiver);
	return true;
}

static bool
is_integer(Oid type)
{
	return type == INT8OID || type == INT4OID || type == INT2OID;
}

/*
 * What a column of the query is to be, and whether it is.  Integers may be
 * narrower than the result; others must be the same type, or one that is
 * stored alike (varchar for text).
 */
static void
check_column(CdpComponents *call, Receiver *receiver, Form_pg_attribute column, int number)
{
	Oid type = getBaseType(column->atttypid);
	bool fits;

	if (getBaseType(call->type.type) != call->type.type)
	{
		/* nobody checks a domain's constraint here */
		fits = column->atttypid == call->type.type;
		receiver->width[number - 1] = call->type.len;
	}
	else if (call->type.integer)
	{
		fits = is_integer(type) && get_typlen(type) <= call->type.len;
		receiver->width[number - 1] = get_typlen(type);
	}
	else
		fits = IsBinaryCoercible(type, call->type.type);
	if (!fits)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column %d of the query has type %s instead of %s",
						number, format_type_be(column->atttypid), format_type_be(call->type.type)),
				 errhint("Cast it in the query, or give a null of its type as second argument: "
						 "cdp.connected_components(query, NULL::uuid).")));
}

/*
 * The columns are known: are they an edge?
 */
static void
startup(DestReceiver *self, int operation pg_attribute_unused(), TupleDesc tupdesc)
{
	Receiver *receiver = (Receiver *) self;
	CdpComponents *call = receiver->call;
	MemoryContext old;

	if (tupdesc->natts != 2)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("query must return two columns, the two ends of an edge"),
				 errdetail_plural("It returns %d column.", "It returns %d columns.",
								  tupdesc->natts, tupdesc->natts)));
	for (int i = 0; i < 2; i++)
		check_column(call, receiver, TupleDescAttr(tupdesc, i), i + 1);

	old = MemoryContextSwitchTo(call->context);
	if (call->type.integer)
		receiver->ints = cdp_components_int_begin(call);
	else
	{
		Oid first = TupleDescAttr(tupdesc, 0)->attcollation;

		if (type_is_collatable(call->type.type) &&
			(first != TupleDescAttr(tupdesc, 1)->attcollation || !OidIsValid(first)))
			ereport(ERROR,
					(errcode(ERRCODE_COLLATION_MISMATCH),
					 errmsg("columns of the query must have one and the same collation"),
					 errhint("Use the COLLATE clause in the query.")));
		call->type.collation = first;
		receiver->anys = cdp_components_any_begin(call);
	}
	MemoryContextSwitchTo(old);
}

static void
do_nothing(DestReceiver *self pg_attribute_unused())
{
}

static bool
locks_rows(Node *node, void *arg)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return ((Query *) node)->rowMarks != NIL ||
			   query_tree_walker((Query *) node, locks_rows, arg, 0);
	return expression_tree_walker(node, locks_rows, arg);
}

/*
 * One statement that only reads and returns rows, or an error.
 */
static void
check_query(SPIPlanPtr plan)
{
	List *sources = SPI_plan_get_plan_sources(plan);
	Query *query = NULL;

	if (list_length(sources) == 1)
	{
		CachedPlanSource *source = linitial(sources);

		if (list_length(source->query_list) == 1)
			query = linitial_node(Query, source->query_list);
	}
	if (query == NULL || query->commandType != CMD_SELECT || query->hasModifyingCTE ||
		locks_rows((Node *) query, NULL))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("query must be one SELECT that only reads"),
				 errdetail("It runs with the snapshot of the calling statement, so it can "
						   "neither write nor lock rows.")));
}

/*
 * Rows that the planner expects, 0 if it has nothing to say.  The plan is kept
 * and will be the one that runs.
 */
static uint64
expected_rows(SPIPlanPtr plan)
{
	CachedPlan *cached = SPI_plan_get_cached_plan(plan);
	uint64 rows = 0;

	if (cached != NULL)
	{
		PlannedStmt *stmt = linitial_node(PlannedStmt, cached->stmt_list);

		if (stmt->planTree != NULL)
			rows = (uint64) Min(stmt->planTree->plan_rows, CDP_CORE_MAX_NODES);
		ReleaseCachedPlan(cached, NULL);
	}
	return rows;
}

/*
 * Runs the query as the caller and feeds the receiver.
 */
static void
run_query(const char *query, Receiver *receiver)
{
	SPIExecuteOptions options = {0};
	SPIPlanPtr plan;
	int status;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "could not connect to SPI");
	plan = SPI_prepare(query, 0, NULL);
	if (plan == NULL)
		elog(ERROR, "could not prepare the query: %s", SPI_result_code_string(SPI_result));
	check_query(plan);
	receiver->call->expected = expected_rows(plan);
	cdp_progress_total(&receiver->call->progress, (int64) receiver->call->expected);

	options.read_only = true;
	options.must_return_tuples = true;
	options.dest = &receiver->pub;
	status = SPI_execute_plan_extended(plan, &options);
	if (status < 0)
		elog(ERROR, "could not run the query: %s", SPI_result_code_string(status));
	flush(receiver);
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "could not disconnect from SPI");
}

/* -- the functions -- */

/*
 * Functions of the type.  Raises if it has none for equality or order.
 */
static void
open_type(CdpComponents *call, Oid type)
{
	CdpNodeType *node = &call->type;
	int wanted = TYPECACHE_EQ_OPR_FINFO | TYPECACHE_HASH_PROC_FINFO |
				 TYPECACHE_CMP_PROC_FINFO | TYPECACHE_LT_OPR;
	TypeCacheEntry *cache = lookup_type_cache(type, wanted);

	node->type = type;
	node->integer = is_integer(getBaseType(type));
	get_typlenbyval(type, &node->len, &node->byval);
	if (!OidIsValid(cache->eq_opr_finfo.fn_oid) || !OidIsValid(cache->hash_proc_finfo.fn_oid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("type %s cannot be hashed", format_type_be(type)),
				 errhint("Nodes need a default hash operator class; cast them to text.")));
	if (!OidIsValid(cache->cmp_proc_finfo.fn_oid) || !OidIsValid(cache->lt_opr))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("type %s cannot be ordered", format_type_be(type)),
				 errhint("Nodes need a default B-tree operator class; cast them to text.")));
	fmgr_info_copy(&node->hash, &cache->hash_proc_finfo, call->context);
	fmgr_info_copy(&node->equal, &cache->eq_opr_finfo, call->context);
	fmgr_info_copy(&node->compare, &cache->cmp_proc_finfo, call->context);
	node->less = cache->lt_opr;
}

static void
connected_components(FunctionCallInfo fcinfo, Oid type, int ordered_argument)
{
	ReturnSetInfo *rsinfo;
	CdpComponents *call;
	Receiver *receiver;
	MemoryContext context;
	MemoryContext old;
	char *query;

	InitMaterializedSRF(fcinfo, 0);
	rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("query must not be null")));
	query = text_to_cstring(PG_GETARG_TEXT_PP(0));

	context = AllocSetContextCreate(CurrentMemoryContext, "cdp connected components",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	call = palloc0(sizeof(CdpComponents));
	call->context = context;
	call->scratch = AllocSetContextCreate(context, "cdp connected components scratch",
										  ALLOCSET_SMALL_SIZES);
	call->owner = CurrentResourceOwner;
	call->limit = (size_t) maintenance_work_mem * 1024;
	call->host.allocate = host_allocate;
	call->host.resize = host_resize;
	call->host.release = host_release;
	call->host.tick = host_tick;
	call->host.arg = call;
	call->phase = "reading";
	if (cdp_guc_progress_interval > 0)
		call->next_notice = GetCurrentTimestamp() + (int64) cdp_guc_progress_interval * 1000;
	call->ordered = !PG_ARGISNULL(ordered_argument) && PG_GETARG_BOOL(ordered_argument);
	open_type(call, type);

	receiver = palloc0(sizeof(Receiver));
	receiver->pub.receiveSlot = receive;
	receiver->pub.rStartup = startup;
	receiver->pub.rShutdown = do_nothing;
	receiver->pub.rDestroy = do_nothing;
	receiver->pub.mydest = DestTuplestore; /* rows go to a place of ours */
	receiver->call = call;
	cdp_progress_start(&call->progress, CDP_WORK_COMPONENTS, 0);
	cdp_progress_phase(&call->progress, call->phase);
	run_query(query, receiver);

	open_result(call, rsinfo);
	if (call->type.integer)
		cdp_components_int_finish(receiver->ints);
	else
		cdp_components_any_finish(receiver->anys);
	close_result(call);
	cdp_progress_end(&call->progress);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/*
 * cdp.connected_components(query text, ordered boolean)
 */
Datum
cdp_connected_components(PG_FUNCTION_ARGS)
{
	connected_components(fcinfo, INT8OID, 1);
	return (Datum) 0;
}

/*
 * cdp.connected_components(query text, sample anyelement, ordered boolean):
 * the sample is there for its type only.
 */
Datum
cdp_connected_components_any(PG_FUNCTION_ARGS)
{
	Oid type = get_fn_expr_argtype(fcinfo->flinfo, 1);

	if (!OidIsValid(type))
		elog(ERROR, "could not determine the type of the nodes");
	connected_components(fcinfo, type, 2);
	return (Datum) 0;
}
