/*
 * src/ingest/maintain.c
 *		CALL cdp.maintain(): the work that waits, in short transactions.
 *
 * State-driven: what is to be done is read from the tables, so that it
 * catches up by itself after any downtime and may be called by several
 * sessions at once.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "access/xact.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "cdp.h"
#include "compat.h"
#include "ingest/attachment.h"
#include "ingest/capture.h"
#include "ingest/captured.h"
#include "ingest/config.h"
#include "ingest/ingest.h"
#include "ingest/plan.h"
#include "ingest/retention.h"
#include "profile/metric.h"
#include "profile/sequence.h"
#include "profile/session.h"
#include "progress.h"
#include "segment/chunk.h"
#include "store.h"

/* Rows of a backfill in one transaction. */
#define BACKFILL_BATCH 1000

/* Partitions exist at least this far ahead. */
#define AHEAD (INT64CONST(45) * USECS_PER_DAY)

PG_FUNCTION_INFO_V1(cdp_maintain);
PG_FUNCTION_INFO_V1(cdp_maintain_step);

static CdpPlan take_plan = {
	"SELECT t.task_id, t.position, a.tbl::oid, a.expression, a.source, a.key_columns, "
	"  a.mapping ? 'message_id' "
	"FROM cdp_data.task t JOIN cdp_data.attachment a ON a.attachment_id = t.target "
	"WHERE t.kind = 'backfill' AND t.state IN ('waiting', 'running') "
	"ORDER BY t.task_id LIMIT 1 FOR UPDATE OF t SKIP LOCKED",
	0,
	{0},
	NULL};

static CdpPlan progress_plan = {
	"UPDATE cdp_data.task SET state = $2, position = coalesce($3, position), done_rows = "
	"done_rows + $4, "
	"  error = $5, updated_at = $6 WHERE task_id = $1",
	6,
	{INT4OID, TEXTOID, JSONBOID, INT8OID, TEXTOID, TIMESTAMPTZOID},
	NULL};

typedef struct Backfill
{
	int32 task_id;
	Datum position; /* jsonb array of the last key */
	bool fresh; /* no position yet */
	Oid table;
	char *expression;
	char *source;
	char space; /* of its message ids */
	char **keys;
	int nkeys;
} Backfill;

static bool
take_backfill(Backfill *b)
{
	MemoryContext context = CurrentMemoryContext;
	CdpStore store;
	bool found;

	cdp_store_enter(&store);
	found = cdp_store_run(&take_plan, NULL, NULL, false, -1) == 1;
	if (found)
	{
		bool isnull;
		MemoryContext old = MemoryContextSwitchTo(context);
		Datum d;
		Datum *elems;
		bool *nulls;

		b->task_id = (int32) cdp_store_int64(0, 1);
		d = cdp_store_value(0, 2, &b->fresh);
		b->position = b->fresh ? (Datum) 0 : PointerGetDatum(PG_DETOAST_DATUM_COPY(d));
		b->table = DatumGetObjectId(cdp_store_value(0, 3, &isnull));
		b->expression = pstrdup(cdp_store_text(0, 4));
		b->source = pstrdup(cdp_store_text(0, 5));
		b->space = DatumGetBool(cdp_store_value(0, 7, &isnull)) ? CDP_SPACE_MESSAGE :
																  CDP_SPACE_ROW;
		d = cdp_store_value(0, 6, &isnull);
		deconstruct_array(DatumGetArrayTypeP(d), TEXTOID, -1, false, TYPALIGN_INT,
						  &elems, &nulls, &b->nkeys);
		b->keys = palloc(sizeof(char *) * b->nkeys);
		for (int i = 0; i < b->nkeys; i++)
			b->keys[i] = TextDatumGetCString(elems[i]);
		MemoryContextSwitchTo(old);
	}
	cdp_store_leave(&store);
	return found;
}

static void
report(const Backfill *b, const char *state, Datum position, int64 rows,
	   const char *error)
{
	CdpStore store;
	Datum args[6];
	char nulls[7] = "      ";

	cdp_store_enter(&store);
	args[0] = Int32GetDatum(b->task_id);
	args[1] = CStringGetTextDatum(state);
	args[2] = position;
	if (position == (Datum) 0)
		nulls[2] = 'n';
	args[3] = Int64GetDatum(rows);
	args[4] = error ? CStringGetTextDatum(error) : (Datum) 0;
	if (error == NULL)
		nulls[4] = 'n';
	args[5] = TimestampTzGetDatum(cdp_now());
	cdp_store_run(&progress_plan, args, nulls, false, 1);
	cdp_store_leave(&store);
}

/*
 * An operator of the order that a type has by default, which is that of its
 * primary key, qualified: by name alone "<" of citext would be that of text.
 */
static char *
order_operator(Oid type, StrategyNumber strategy)
{
	TypeCacheEntry *entry =
		lookup_type_cache(type, TYPECACHE_BTREE_OPFAMILY | TYPECACHE_LT_OPR |
									TYPECACHE_GT_OPR | TYPECACHE_EQ_OPR);
	Oid operator= strategy == BTLessStrategyNumber ? entry->lt_opr :
	strategy == BTEqualStrategyNumber			   ? entry->eq_opr :
													 entry->gt_opr;
	HeapTuple tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(operator));
	Form_pg_operator form;
	char *name;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("type %s has no order", format_type_be(type))));
	form = (Form_pg_operator) GETSTRUCT(tuple);
	name = psprintf("OPERATOR(%s.%s)", quote_identifier(get_namespace_name(form->oprnamespace)),
					NameStr(form->oprname));
	ReleaseSysCache(tuple);
	return name;
}

/* The next rows by primary key, as messages and keys. */
static char *
backfill_query(const Backfill *b)
{
	StringInfoData sql;
	StringInfoData keys;
	StringInfoData order;
	StringInfoData after;
	char *table;

	table = quote_qualified_identifier(get_namespace_name(get_rel_namespace(b->table)),
									   get_rel_name(b->table));
	initStringInfo(&sql);
	initStringInfo(&keys);
	initStringInfo(&order);
	initStringInfo(&after);
	/* (a, b) > (x, y) spelt out: (a > x OR (a = x AND (b > y))) */
	for (int i = 0; i < b->nkeys; i++)
	{
		AttrNumber attnum = get_attnum(b->table, b->keys[i]);
		const char *column = psprintf("n.%s", quote_identifier(b->keys[i]));
		const char *value;
		Oid type;
		int32 typmod;
		Oid collation;

		if (attnum == InvalidAttrNumber)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("column \"%s\" of the primary key is gone", b->keys[i])));
		get_atttypetypmodcoll(b->table, attnum, &type, &typmod, &collation);
		value = psprintf("($1 ->> %d)::%s", i,
						 format_type_extended(type, typmod,
											  FORMAT_TYPE_TYPEMOD_GIVEN |
												  FORMAT_TYPE_FORCE_QUALIFY));
		appendStringInfo(&keys, "%s%s", i ? ", " : "", column);
		appendStringInfo(&order, "%s%s USING %s", i ? ", " : "", column,
						 order_operator(type, BTLessStrategyNumber));
		appendStringInfo(&after, "%s%s %s %s", i ? " AND (" : "(", column,
						 order_operator(type, BTGreaterStrategyNumber), value);
		if (i < b->nkeys - 1)
			appendStringInfo(&after, " OR (%s %s %s", column,
							 order_operator(type, BTEqualStrategyNumber), value);
	}
	for (int i = 0; i < b->nkeys * 2 - 1; i++)
		appendStringInfoChar(&after, ')');
	appendStringInfo(&sql, "%s n ", table);
	if (!b->fresh)
		appendStringInfo(&sql, "WHERE %s ", after.data);
	appendStringInfo(&sql, "ORDER BY %s LIMIT %d", order.data, BACKFILL_BATCH);
	return cdp_capture_query(b->expression, psprintf("jsonb_build_array(%s)", keys.data),
							 sql.data);
}

/*
 * Reads the next rows as the table's owner: the extension's own rights do not
 * reach application tables, and the rights of whoever calls maintain() must
 * not run what a table's column types bring along.
 */
static int
read_backfill(const Backfill *b, Datum **documents, Datum *position)
{
	MemoryContext context = CurrentMemoryContext;
	MemoryContext old;
	Oid owner = cdp_table_owner(b->table);
	Oid save_user;
	int save_sec;
	int level;
	Oid types[1] = {JSONBOID};
	Datum args[1] = {b->position};
	int n;

	GetUserIdAndSecContext(&save_user, &save_sec);
	SetUserIdAndSecContext(owner, save_sec | SECURITY_RESTRICTED_OPERATION);
	level = cdp_store_pin_settings();
	SPI_connect();
	if (SPI_execute_with_args(backfill_query(b), b->fresh ? 0 : 1, types, args,
							  NULL, true, 0) < 0)
		elog(ERROR, "cdp: could not read the rows of a backfill");
	n = (int) SPI_processed;
	old = MemoryContextSwitchTo(context);
	*documents = palloc(sizeof(Datum) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		bool isnull;

		(*documents)[i] = PointerGetDatum(PG_DETOAST_DATUM_COPY(cdp_store_value(i, 1, &isnull)));
		if (i == n - 1)
			*position = PointerGetDatum(PG_DETOAST_DATUM_COPY(cdp_store_value(i, 2, &isnull)));
	}
	MemoryContextSwitchTo(old);
	SPI_finish();
	AtEOXact_GUC(false, level);
	SetUserIdAndSecContext(save_user, save_sec);
	return n;
}

typedef struct Filling
{
	Backfill *backfill;
	Datum position;
	int rows;
} Filling;

static void
fill(void *arg)
{
	Filling *f = arg;
	Datum *documents;

	f->rows = read_backfill(f->backfill, &documents, &f->position);
	cdp_capture_documents(documents, f->rows, f->backfill->source, false,
						  CDP_INGEST_QUIET_DUPLICATES, f->backfill->space, GetUserId());
}

/* One batch of one backfill; false when none waits. */
static bool
step_backfill(void)
{
	Backfill b;
	Filling f = {&b, (Datum) 0, 0};
	ErrorData *error;

	if (!take_backfill(&b))
		return false;
	error = cdp_store_try(fill, &f, cdp_capture_is_mapping_error);
	if (error)
		report(&b, "failed", (Datum) 0, 0,
			   psprintf("SQLSTATE %s", unpack_sql_state(error->sqlerrcode)));
	else
		report(&b, f.rows < BACKFILL_BATCH ? "done" : "running", f.position, f.rows, NULL);
	return true;
}

/* Creates the partitions of the weeks to come; true if there were none. */
static bool
step_partitions(void)
{
	CdpStore store;
	TimestampTz now = cdp_now();
	bool missing;

	cdp_store_enter(&store);
	missing = !cdp_partition_exists(now) || !cdp_partition_exists(now + AHEAD);
	if (missing)
		missing = cdp_partition_ensure(now, now + AHEAD) > 0;
	cdp_store_leave(&store);
	return missing;
}

static CdpPlan discover_plan = {"SELECT cdp.discover_step()", 0, {0}, NULL};

/* The map of data, now and then; never a reason to go on. */
static bool
step_discover(void)
{
	CdpStore store;

	cdp_store_enter(&store);
	cdp_store_run(&discover_plan, NULL, NULL, false, 1);
	cdp_store_leave(&store);
	return false;
}

/* Chunks of the membership index folded in one transaction. */
#define FOLD_BATCH 256

static bool
step_fold(void)
{
	CdpStore store;
	int folded;

	cdp_store_enter(&store);
	folded = cdp_chunk_fold(FOLD_BATCH);
	cdp_store_leave(&store);
	return folded > 0;
}

static CdpPlan list_plan = {"SELECT cdp.list_step()", 0, {0}, NULL};

/* Identifiers of lists that are over, or nobody's. */
static bool
step_list(void)
{
	CdpStore store;
	bool isnull;
	bool more;

	cdp_store_enter(&store);
	cdp_store_run(&list_plan, NULL, NULL, false, 1);
	more = DatumGetBool(cdp_store_value(0, 1, &isnull));
	cdp_store_leave(&store);
	return more;
}

static CdpPlan ready_plan = {"SELECT cdp.ready_step() OR cdp.built_step()", 0, {0}, NULL};

static CdpPlan seal_plan = {"SELECT cdp.seal_step()", 0, {0}, NULL};

/* Rows of the audit that are committed join its chain. */
static bool
step_seal(void)
{
	CdpStore store;
	bool isnull;
	bool more;

	cdp_store_enter(&store);
	cdp_store_run(&seal_plan, NULL, NULL, false, 1);
	more = DatumGetBool(cdp_store_value(0, 1, &isnull));
	cdp_store_leave(&store);
	return more;
}

/* Metrics, sequences and sessions that are complete, for segments to look at; segments. */
static bool
step_ready(void)
{
	CdpStore store;
	bool isnull;
	bool more;

	cdp_store_enter(&store);
	cdp_store_run(&ready_plan, NULL, NULL, false, 1);
	more = DatumGetBool(cdp_store_value(0, 1, &isnull));
	cdp_store_leave(&store);
	return more;
}

/*
 * One piece of whatever waits; false: nothing does.  What becomes ready waits
 * until nobody writes, so it comes before those who hold the lock of a writer,
 * be it to find that nothing waits: two of them would wait for each other.
 */
static bool
do_step(void)
{
	return step_partitions() || step_ready() || cdp_apply_timer_step() || cdp_captured_step() ||
		   step_backfill() || cdp_apply_rules_step() ||
		   cdp_apply_trait_step() || cdp_plan_fold_step() || cdp_metric_backfill_step() ||
		   cdp_session_backfill_step() || cdp_sequence_backfill_step() ||
		   cdp_segment_build_step() || cdp_segment_set_step() || step_list() ||
		   cdp_sequence_tidy_step() || cdp_metric_tidy_step() || cdp_dimension_base_step() ||
		   cdp_retention_step() || step_fold() || step_seal() ||
		   step_discover();
}

/* cdp.maintain_step() */
Datum
cdp_maintain_step(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	PG_RETURN_BOOL(do_step());
}

/*
 * cdp.maintain(max_seconds): steps, each committed, until nothing waits.
 * Inside a transaction block it cannot commit and does all in one.
 */
Datum
cdp_maintain(PG_FUNCTION_ARGS)
{
	bool atomic = fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
				  ((CallContext *) fcinfo->context)->atomic;
	int seconds = PG_ARGISNULL(0) ? 55 : PG_GETARG_INT32(0);
	MemoryContext context;
	CdpProgress progress;
	TimestampTz end = GetCurrentTimestamp() + (int64) seconds * USECS_PER_SEC;

	if (seconds < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_seconds must not be negative")));
	cdp_store_require();
	SPI_connect_ext(atomic ? 0 : SPI_OPT_NONATOMIC);
	context = AllocSetContextCreate(CurrentMemoryContext, "cdp maintain step",
									ALLOCSET_DEFAULT_SIZES);
	cdp_progress_start(&progress, CDP_WORK_MAINTAIN, 0);
	if (!atomic && IsolationUsesXactSnapshot())
		SPI_commit();
	for (;;)
	{
		bool more;
		MemoryContext old;

		CHECK_FOR_INTERRUPTS();
		old = MemoryContextSwitchTo(context);
		/* whatever the default: some steps wait for writers, and must see what they wrote */
		if (!atomic)
			XactIsoLevel = XACT_READ_COMMITTED;
		PushActiveSnapshot(GetTransactionSnapshot());
		more = do_step();
		PopActiveSnapshot();
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
		if (!atomic)
			SPI_commit();
		cdp_progress_set(&progress, progress.done + 1);
		if (!more || GetCurrentTimestamp() >= end)
			break;
	}
	cdp_progress_end(&progress);
	SPI_finish();
	PG_RETURN_VOID();
}
