/*
 * src/store.c
 *		Access to the tables that cdp.init() made (see store.h).
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "jit/jit.h"
#include "miscadmin.h"
#include "optimizer/cost.h"
#include "optimizer/planmain.h"
#include "storage/lmgr.h"
#include "tcop/pquery.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "cdp.h"
#include "compat.h"
#include "guc.h"
#include "progress.h"
#include "store.h"

/*
 * What this backend knows of the storage.  schema is InvalidOid until looked
 * up, and again after any invalidation that may concern it.
 */
static struct
{
	Oid schema;
	Oid owner;
	Oid signal; /* cdp_data.config_signal */
	Oid event; /* cdp_data.event: a partition came or went */
	bool installation_valid;
	bool provisional; /* read in parallel mode, under a query's snapshot */
	CdpInstallation installation;
} known;

/* Counts invalidations; never 0, so that 0 marks an empty cache. */
static uint64 generation = 1;

static bool frozen; /* see cdp_store_freeze() */

/* Caches that were replaced; see cdp_store_retire(). */
static struct
{
	const CdpStore *outermost; /* the visit that is in no other, or NULL */
	int level; /* transaction nesting where it began */
	MemoryContext contexts; /* parent of theirs, in the transaction; or NULL */
	MemoryContextCallback gone;
} retired;

PG_FUNCTION_INFO_V1(cdp_config_changed);
PG_FUNCTION_INFO_V1(cdp_lock_relation);
PG_FUNCTION_INFO_V1(cdp_require_init);

static void
invalidate(Datum arg pg_attribute_unused(), Oid relid)
{
	if (relid == InvalidOid || relid == known.signal || relid == known.event)
	{
		generation++;
		known.schema = InvalidOid;
		known.installation_valid = false;
	}
}

/* A role or schema changed: names must be looked up again. */
static void
invalidate_names(Datum arg pg_attribute_unused(),
				 int cacheid pg_attribute_unused(),
				 uint32 hashvalue pg_attribute_unused())
{
	generation++;
	known.schema = InvalidOid;
}

/* A visit that ended by an error never leaves. */
static void
end_transaction(XactEvent event, void *arg pg_attribute_unused())
{
	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_COMMIT || event == XACT_EVENT_PREPARE)
		retired.outermost = NULL;
}

static void
end_subtransaction(SubXactEvent event, SubTransactionId mine pg_attribute_unused(),
				   SubTransactionId parent pg_attribute_unused(), void *arg pg_attribute_unused())
{
	if (event == SUBXACT_EVENT_ABORT_SUB && retired.level >= GetCurrentTransactionNestLevel())
		retired.outermost = NULL;
}

/* Registers the library's callbacks; once, from _PG_init(). */
void
cdp_store_register(void)
{
	CacheRegisterRelcacheCallback(invalidate, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, invalidate_names, (Datum) 0);
	RegisterXactCallback(end_transaction, NULL);
	RegisterSubXactCallback(end_subtransaction, NULL);
}

uint64
cdp_store_generation(void)
{
	return generation;
}

static bool
look_up(void)
{
	HeapTuple tuple;
	Oid schema;
	Oid signal;

	if (OidIsValid(known.schema))
		return true;
	schema = get_namespace_oid(CDP_DATA_SCHEMA, true);
	if (!OidIsValid(schema))
		return false;
	signal = get_relname_relid("config_signal", schema);
	if (!OidIsValid(signal))
		return false;
	tuple = SearchSysCache1(NAMESPACEOID, ObjectIdGetDatum(schema));
	if (!HeapTupleIsValid(tuple))
		return false;
	known.owner = ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner;
	ReleaseSysCache(tuple);
	known.signal = signal;
	known.event = get_relname_relid("event", schema);
	known.schema = schema;
	return true;
}

/* Has cdp.init() run in this database?  Says nothing of versions. */
bool
cdp_store_exists(void)
{
	return look_up();
}

/* Raises unless cdp.init() has run; the error names the remedy. */
void
cdp_store_require(void)
{
	if (!look_up())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cdp is not initialised in this database"),
				 errhint("Run SELECT cdp.init();")));
}

Oid
cdp_store_schema(void)
{
	cdp_store_require();
	return known.schema;
}

Oid
cdp_store_owner(void)
{
	cdp_store_require();
	return known.owner;
}

/* OID of a table or index in cdp_data; raises if it is missing. */
Oid
cdp_store_relation(const char *name)
{
	Oid relid = get_relname_relid(name, cdp_store_schema());

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("relation \"%s.%s\" is missing", CDP_DATA_SCHEMA, name),
				 errhint("Run SELECT cdp.init(); to complete the installation.")));
	return relid;
}

/* Runs a query on configuration under the active snapshot. */
int
cdp_store_run_shown(const char *sql)
{
	bool save_jit = jit_enabled;
	int rc = 0;

	PG_TRY();
	{
		/* what is estimated without statistics would be compiled for a second */
		jit_enabled = false;
		rc = SPI_execute(sql, true, 0);
	}
	PG_FINALLY();
	{
		jit_enabled = save_jit;
	}
	PG_END_TRY();
	if (rc < 0)
		elog(ERROR, "cdp: query on configuration failed: %s",
			 SPI_result_code_string(rc));
	return (int) SPI_processed;
}

/*
 * Runs a query under the latest snapshot, whatever the transaction's own:
 * configuration has the semantics of a catalog.  A cache filled under a
 * REPEATABLE READ snapshot would stay stale after the transaction.  In parallel
 * mode there is no latest snapshot to be had: then the query's own, and what is
 * read must not be kept beyond it.
 */
int
cdp_store_run_latest(const char *sql)
{
	int rows;

	PushActiveSnapshot(IsInParallelMode() ? GetActiveSnapshot() : GetLatestSnapshot());
	rows = cdp_store_run_shown(sql);
	PopActiveSnapshot();
	return rows;
}

CdpResult
cdp_store_save_result(void)
{
	CdpResult saved = {SPI_tuptable, SPI_processed};

	return saved;
}

void
cdp_store_restore_result(CdpResult saved)
{
	SPI_tuptable = saved.table;
	SPI_processed = saved.rows;
}

/* Seed and settings of this database; inside cdp_store_enter() only. */
const CdpInstallation *
cdp_store_installation(void)
{
	if (!known.installation_valid || (known.provisional && !IsInParallelMode()))
	{
		CdpResult saved = cdp_store_save_result();
		uint64 started = generation;
		CdpInstallation fresh = {0};
		char *interval;

		if (cdp_store_run_latest("SELECT seed, data_version, partition_interval "
								 "FROM cdp_data.installation") != 1)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("cdp_data.installation must hold one row"),
					 errhint("Run SELECT cdp.init();")));
		fresh.seed = (uint64) cdp_store_int64(0, 1);
		fresh.data_version = (int) cdp_store_int64(0, 2);
		interval = cdp_store_text(0, 3);
		strlcpy(fresh.partition_interval, interval ? interval : "month",
				sizeof(fresh.partition_interval));
		known.installation = fresh;
		/* an invalidation while reading must not be lost */
		known.installation_valid = started == generation;
		known.provisional = IsInParallelMode();
		cdp_store_restore_result(saved);
	}
	if (known.installation.data_version != CDP_DATA_VERSION)
	{
		int found = known.installation.data_version;

		known.installation_valid = false;
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cdp's tables have version %d, the library needs %d",
						found, CDP_DATA_VERSION),
				 found < CDP_DATA_VERSION ?
					 errhint("Run SELECT cdp.migrate();") :
					 errhint("Install the library that made them, or a newer one.")));
	}
	return &known.installation;
}

/*
 * Pins every setting that changes what a value looks like as JSON or text, and
 * search_path, until AtEOXact_GUC(false, level) with the level returned.  What
 * an attached row becomes, its message id above all, must not depend on the
 * session that touched it.
 */
int
cdp_store_pin_settings(void)
{
	static const char *const pins[][2] = {
		{"search_path", "pg_catalog, pg_temp"},
		{"TimeZone", "UTC"},
		{"DateStyle", "ISO, YMD"},
		{"IntervalStyle", "iso_8601"},
		{"bytea_output", "hex"},
		{"extra_float_digits", "1"},
	};
	int level = NewGUCNestLevel();

	for (int i = 0; i < (int) lengthof(pins); i++)
		(void) set_config_option(pins[i][0], pins[i][1], PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	return level;
}

static void
forget_retired(void *arg pg_attribute_unused())
{
	retired.contexts = NULL;
}

/*
 * A cache was replaced: its memory goes when nobody can hold a part of it any
 * more.  That is when the outermost visit of the storage ends: what a caller up
 * the stack has read of the configuration stays good, though somebody changed it
 * meanwhile and a function further down read it anew.
 */
void
cdp_store_retire(MemoryContext context)
{
	if (context == NULL)
		return;
	if (retired.contexts == NULL)
	{
		retired.contexts = AllocSetContextCreate(TopTransactionContext, "cdp retired caches",
												 ALLOCSET_SMALL_SIZES);
		retired.gone.func = forget_retired;
		MemoryContextRegisterResetCallback(retired.contexts, &retired.gone);
	}
	MemoryContextSetParent(context, retired.contexts);
}

/* Becomes the owner of the storage; see store.h. */
void
cdp_store_enter(CdpStore *store)
{
	cdp_store_require();
	if (retired.outermost == NULL)
	{
		retired.outermost = store;
		retired.level = GetCurrentTransactionNestLevel();
	}
	GetUserIdAndSecContext(&store->caller, &store->caller_sec);
	SetUserIdAndSecContext(known.owner,
						   store->caller_sec | SECURITY_LOCAL_USERID_CHANGE |
							   SECURITY_RESTRICTED_OPERATION);
	store->guc_level = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp",
							 PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	/* settings of the caller that would change what our statements do */
	if (!row_security)
		(void) set_config_option("row_security", "on", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	if (extra_float_digits < 1)
		(void) set_config_option("extra_float_digits", "1", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "cdp: SPI_connect failed");
	(void) cdp_store_installation();
}

/* Becomes the caller again; results of the visit are gone. */
void
cdp_store_leave(CdpStore *store)
{
	SPI_finish();
	AtEOXact_GUC(false, store->guc_level);
	SetUserIdAndSecContext(store->caller, store->caller_sec);
	if (retired.outermost != store)
		return;
	retired.outermost = NULL;
	if (retired.contexts)
		MemoryContextDelete(retired.contexts);
}

/* What the planner may do for the statements of the storage; see store.h. */
typedef struct Planning
{
	bool seqscan;
	bool hashjoin;
	bool mergejoin;
	bool jit;
} Planning;

static void
start_planning(Planning *saved)
{
	*saved = (Planning){enable_seqscan, enable_hashjoin, enable_mergejoin, jit_enabled};
	enable_seqscan = false;
	enable_hashjoin = false;
	enable_mergejoin = false;
	/* they touch few rows, whatever was estimated */
	jit_enabled = false;
}

static void
end_planning(const Planning *saved)
{
	enable_seqscan = saved->seqscan;
	enable_hashjoin = saved->hashjoin;
	enable_mergejoin = saved->mergejoin;
	jit_enabled = saved->jit;
}

static void
prepare(CdpPlan *plan)
{
	SPIPlanPtr fresh;

	if (plan->plan != NULL)
		return;
	fresh = SPI_prepare_cursor(plan->sql, plan->nargs, plan->argtypes,
							   CURSOR_OPT_GENERIC_PLAN);
	if (fresh == NULL)
		elog(ERROR, "cdp: could not prepare \"%s\": %s", plan->sql,
			 SPI_result_code_string(SPI_result));
	SPI_keepplan(fresh);
	plan->plan = fresh;
}

/*
 * Prepares (once a backend) and runs a statement of the storage.  Returns the
 * number of rows; they are in SPI_tuptable until the next statement.
 * expected >= 0 raises unless just so many rows came.
 */
int
cdp_store_run(CdpPlan *plan, Datum *values, const char *nulls, bool read_only, int expected)
{
	Planning saved;
	int rc = 0;

	start_planning(&saved);
	PG_TRY();
	{
		prepare(plan);
		rc = SPI_execute_plan(plan->plan, values, nulls, read_only || frozen, 0);
	}
	PG_FINALLY();
	{
		end_planning(&saved);
	}
	PG_END_TRY();
	if (rc < 0)
		elog(ERROR, "cdp: \"%s\" failed: %s", plan->sql,
			 SPI_result_code_string(rc));
	if (expected >= 0 && SPI_processed != (uint64) expected)
		elog(ERROR, "cdp: \"%s\" touched " UINT64_FORMAT " rows, not %d",
			 plan->sql, (uint64) SPI_processed, expected);
	return (int) SPI_processed;
}

/*
 * Does the work with one snapshot: whatever its statements say, they see what
 * was committed when it began, and change nothing (an attempt raises).
 */
void
cdp_store_freeze(void (*work)(void *arg), void *arg)
{
	bool before = frozen;

	CommandCounterIncrement();
	PushCopiedSnapshot(GetTransactionSnapshot());
	UpdateActiveSnapshotCommandId();
	frozen = true;
	PG_TRY();
	{
		work(arg);
	}
	PG_FINALLY();
	{
		frozen = before;
	}
	PG_END_TRY();
	PopActiveSnapshot();
}

/* Is this inside cdp_store_freeze()? */
bool
cdp_store_is_frozen(void)
{
	return frozen;
}

static Portal
open_cursor(CdpPlan *plan, Datum *values, bool read_only)
{
	Planning saved;
	Portal portal = NULL;

	start_planning(&saved);
	PG_TRY();
	{
		prepare(plan);
		portal = SPI_cursor_open(NULL, plan->plan, values, NULL, read_only);
	}
	PG_FINALLY();
	{
		end_planning(&saved);
	}
	PG_END_TRY();
	return portal;
}

/* Opens a cursor on a statement whose rows may be many: SPI_cursor_fetch(). */
Portal
cdp_store_open(CdpPlan *plan, Datum *values)
{
	return open_cursor(plan, values, frozen);
}

/* The same under the snapshot of the calling query. */
Portal
cdp_store_open_read(CdpPlan *plan, Datum *values)
{
	return open_cursor(plan, values, true);
}

/* Runs a statement composed at run time (names quoted by the caller). */
void
cdp_store_execute(const char *sql)
{
	int rc = SPI_execute(sql, false, 0);

	if (rc < 0)
		elog(ERROR, "cdp: statement failed: %s", SPI_result_code_string(rc));
}

/*
 * Errors that nobody on the way may swallow: the transaction or the server is
 * in trouble, not the data.  A regular expression is one of our rules, checked
 * when it was defined; it fails when there is no memory for it.
 */
bool
cdp_error_is_grave(int sqlstate)
{
	switch (ERRCODE_TO_CATEGORY(sqlstate))
	{
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_SYSTEM_ERROR:
		case ERRCODE_INTERNAL_ERROR:
			return true;
		default:
			return sqlstate == ERRCODE_LOCK_NOT_AVAILABLE ||
				   sqlstate == ERRCODE_INVALID_REGULAR_EXPRESSION;
	}
}

/*
 * Undoes the subtransaction.  After an error this comes first, before the error
 * is copied or raised again: copying may fail, when memory has run out, and an
 * error that leaves the subtransaction open leaves the client in a transaction
 * block that it never began.  What the session reports of its progress, perhaps
 * a COPY around us, would be cleared.
 */
static void
undo_subtransaction(MemoryContext context, ResourceOwner owner)
{
	CdpReported reported;

	cdp_progress_save(&reported);
	RollbackAndReleaseCurrentSubTransaction();
	cdp_progress_restore(&reported);
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
}

/*
 * Does the work in a subtransaction.  Returns NULL when it is done; or, when it
 * raised one of the caller's own errors, that error, with everything undone:
 * data, locks, user, settings, connections.  Other errors are raised again.
 * The error and what the work allocated are in the caller's context.
 */
ErrorData *
cdp_store_try(void (*work)(void *arg), void *arg, bool (*is_ours)(int sqlstate))
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		work(arg);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		undo_subtransaction(context, owner);
		if (!is_ours(geterrcode()))
			PG_RE_THROW();
		error = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();
	return error;
}

/*
 * Does the work in a subtransaction, and says what it said: false undoes it,
 * data and locks.  An error undoes it as well and is raised again.
 */
bool
cdp_store_attempt(bool (*work)(void *arg), void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool done = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		done = work(arg);
		if (done)
		{
			ReleaseCurrentSubTransaction();
			MemoryContextSwitchTo(context);
			CurrentResourceOwner = owner;
		}
		else
			undo_subtransaction(context, owner);
	}
	PG_CATCH();
	{
		undo_subtransaction(context, owner);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return done;
}

/*
 * Do row policies not apply to this role?  The same test the server makes, so
 * that functions and views agree on who sees everybody.
 */
bool
cdp_role_is_exempt(Oid role)
{
	return superuser_arg(role) || has_bypassrls_privilege(role) ||
		   has_privs_of_role(role, cdp_store_owner());
}

/*
 * The present: start of the client's statement, of a cursor that of opening it,
 * so that it does not see one half of people before and one after.  Not the
 * transaction's start, which is stale in long transactions.
 */
TimestampTz
cdp_now(void)
{
	if (cdp_guc_clock != NULL && cdp_guc_clock[0] != '\0')
		return DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in,
													   CStringGetDatum(cdp_guc_clock),
													   ObjectIdGetDatum(InvalidOid),
													   Int32GetDatum(-1)));
	return ActivePortal ? ActivePortal->creation_time : GetCurrentStatementStartTimestamp();
}

/*
 * The instant of this call.  A statement may have begun before somebody else's
 * whose lock it waited for, or which it sees: what time makes of people is asked
 * as of no earlier than he did.
 */
TimestampTz
cdp_instant(void)
{
	if (cdp_guc_clock != NULL && cdp_guc_clock[0] != '\0')
		return cdp_now();
	return GetCurrentTimestamp();
}

Datum
cdp_store_value(uint64 row, int col, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc,
						 col, isnull);
}

int64 *
cdp_store_ids(int rows)
{
	int64 *ids = palloc(sizeof(int64) * Max(rows, 1));

	for (int r = 0; r < rows; r++)
		ids[r] = cdp_store_int64(r, 1);
	SPI_freetuptable(SPI_tuptable);
	return ids;
}

/* An int2, int4 or int8 column that is never null. */
int64
cdp_store_int64(uint64 row, int col)
{
	bool isnull;
	Datum d = cdp_store_value(row, col, &isnull);

	if (isnull)
		elog(ERROR, "cdp: unexpected null in column %d", col);
	switch (SPI_gettypeid(SPI_tuptable->tupdesc, col))
	{
		case INT2OID:
			return DatumGetInt16(d);
		case INT4OID:
			return DatumGetInt32(d);
		default:
			return DatumGetInt64(d);
	}
}

char *
cdp_store_text(uint64 row, int col)
{
	return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, col);
}

Datum
cdp_array_datums(Datum *v, bool *nulls, int n, Oid type)
{
	int16 len;
	bool byval;
	char align;
	int dims[1];
	int lbs[1] = {1};

	get_typlenbyvalalign(type, &len, &byval, &align);
	dims[0] = n;
	return PointerGetDatum(construct_md_array(v, nulls, 1, dims, lbs,
											  type, len, byval, align));
}

Datum
cdp_array_int64(const int64 *v, int n)
{
	Datum *d = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		d[i] = Int64GetDatum(v[i]);
	return cdp_array_datums(d, NULL, n, INT8OID);
}

Datum
cdp_array_int32(const int32 *v, int n)
{
	Datum *d = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		d[i] = Int32GetDatum(v[i]);
	return cdp_array_datums(d, NULL, n, INT4OID);
}

Datum
cdp_array_bool(const bool *v, int n)
{
	Datum *d = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		d[i] = BoolGetDatum(v[i]);
	return cdp_array_datums(d, NULL, n, BOOLOID);
}

Datum
cdp_array_text(const char *const *v, int n)
{
	Datum *d = palloc(sizeof(Datum) * Max(n, 1));
	bool *nulls = palloc(sizeof(bool) * Max(n, 1));

	for (int i = 0; i < n; i++)
	{
		nulls[i] = v[i] == NULL;
		d[i] = nulls[i] ? (Datum) 0 : CStringGetTextDatum(v[i]);
	}
	return cdp_array_datums(d, nulls, n, TEXTOID);
}

Datum
cdp_array_uuid(const uint8 (*v)[16], int n)
{
	Datum *d = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		d[i] = PointerGetDatum(v[i]);
	return cdp_array_datums(d, NULL, n, UUIDOID);
}

Datum
cdp_array_timestamptz(const TimestampTz *v, int n)
{
	Datum *d = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		d[i] = TimestampTzGetDatum(v[i]);
	return cdp_array_datums(d, NULL, n, TIMESTAMPTZOID);
}

/* Statement trigger of every configuration table: see store.h. */
Datum
cdp_config_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("\"config_changed\" is a trigger function")));
	if (look_up())
		CacheInvalidateRelcacheByRelid(known.signal);
	return PointerGetDatum(NULL);
}

/*
 * cdp.lock_relation(rel): ACCESS EXCLUSIVE on this relation alone.  LOCK TABLE
 * on a view would lock all the tables below it as well.
 */
Datum
cdp_lock_relation(PG_FUNCTION_ARGS)
{
	LockRelationOid(PG_GETARG_OID(0), AccessExclusiveLock);
	PG_RETURN_VOID();
}

/* cdp.require_init(): the same check for functions written in SQL. */
Datum
cdp_require_init(PG_FUNCTION_ARGS)
{
	CdpStore store;

	cdp_store_enter(&store);
	cdp_store_leave(&store);
	(void) fcinfo;
	PG_RETURN_VOID();
}

/* A list of strings as the text of a text[]. */
char *
cdp_text_list(List *strings)
{
	StringInfoData text;
	ListCell *lc;

	initStringInfo(&text);
	appendStringInfoChar(&text, '{');
	foreach(lc, strings)
	{
		appendStringInfoString(&text, text.len > 1 ? ",\"" : "\"");
		for (const char *c = lfirst(lc); *c; c++)
		{
			if (*c == '"' || *c == '\\')
				appendStringInfoChar(&text, '\\');
			appendStringInfoChar(&text, *c);
		}
		appendStringInfoChar(&text, '"');
	}
	appendStringInfoChar(&text, '}');
	return text.data;
}

/* The array of a text; type is the array's. */
Datum
cdp_array_parse(const char *text, Oid type)
{
	Oid input;
	Oid element;

	if (strcmp(text, "{}") == 0)
		return PointerGetDatum(construct_empty_array(get_element_type(type)));
	getTypeInputInfo(type, &input, &element);
	return OidInputFunctionCall(input, (char *) text, element, -1);
}

Jsonb *
cdp_jsonb_empty(void)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}
