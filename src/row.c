/*
 * src/row.c
 *		One row by its key, without a statement (see row.h): reading, locking,
 *		changing, and the statements that say the same.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "index_scan.h"
#include "row_private.h"

/*
 * The statements
 */

static void
add_columns(StringInfo sql, const char *const *names, int n, const char *format, int first)
{
	for (int i = 0; i < n; i++)
	{
		appendStringInfoString(sql, i > 0 ? (first > 0 && format[0] == 'k' ? " AND " : ", ") : "");
		if (format[0] == '$')
			appendStringInfo(sql, "$%d", first + i);
		else if (first > 0)
			appendStringInfo(sql, "%s = $%d", quote_identifier(names[i]), first + i);
		else
			appendStringInfoString(sql, quote_identifier(names[i]));
	}
}

/* Writes the statement that the operation stands for; it stays. */
static void
compose(CdpRowOp *op, CdpPlan *plan, char kind)
{
	StringInfoData sql;
	MemoryContext old;

	if (plan->sql)
		return;
	old = MemoryContextSwitchTo(TopMemoryContext);
	initStringInfo(&sql);
	switch (kind)
	{
		case 'r':
			appendStringInfoString(&sql, "SELECT ");
			add_columns(&sql, op->columns, op->ncolumns, "name", 0);
			appendStringInfo(&sql, " FROM cdp_data.%s WHERE ", quote_identifier(op->table));
			add_columns(&sql, op->keys, op->nkeys, "key", 1);
			if (op->lock != CDP_ROW_UNLOCKED)
				appendStringInfoString(&sql, " FOR NO KEY UPDATE");
			if (op->lock == CDP_ROW_SKIPPED)
				appendStringInfoString(&sql, " SKIP LOCKED");
			break;
		case 'i':
			appendStringInfo(&sql, "INSERT INTO cdp_data.%s (", quote_identifier(op->table));
			add_columns(&sql, op->columns, op->ncolumns, "name", 0);
			appendStringInfoString(&sql, ") VALUES (");
			add_columns(&sql, op->columns, op->ncolumns, "$", 1);
			appendStringInfoString(&sql, op->ignore ? ") ON CONFLICT DO NOTHING" : ")");
			break;
		default:
			appendStringInfo(&sql, "UPDATE cdp_data.%s SET ", quote_identifier(op->table));
			add_columns(&sql, op->columns, op->ncolumns, "name", op->nkeys + 1);
			appendStringInfoString(&sql, " WHERE ");
			add_columns(&sql, op->keys, op->nkeys, "key", 1);
	}
	MemoryContextSwitchTo(old);
	plan->nargs = 0;
	for (int k = 0; k < op->nkeys; k++)
		plan->argtypes[plan->nargs++] = get_atttype(op->relid, op->key_attnums[k]);
	for (int k = 0; kind != 'r' && k < op->ncolumns; k++)
		plan->argtypes[plan->nargs++] = get_atttype(op->relid, op->attnums[k]);
	plan->sql = sql.data;
}

static void
forget_plan(CdpPlan *plan)
{
	if (plan->plan)
		SPI_freeplan(plan->plan);
	if (plan->sql)
		pfree(unconstify(char *, plan->sql));
	memset(plan, 0, sizeof(*plan));
}

/* The operation gets other columns: what is known of the old ones goes. */
void
cdp_row_forget(CdpRowOp *op)
{
	forget_plan(&op->plan);
	forget_plan(&op->read_plan);
	op->version = 0;
}

/* Runs it; keys first, then values. */
int
cdp_row_statement(CdpRowOp *op, char kind, const Datum *keys, const CdpRow *row, bool read_only)
{
	CdpPlan *plan = kind == 'r' && op->plan.sql ? &op->read_plan : &op->plan;
	Datum args[CDP_PLAN_MAX_ARGS];
	char nulls[CDP_PLAN_MAX_ARGS + 1];
	int n = 0;

	compose(op, plan, kind);
	for (int k = 0; k < op->nkeys; k++)
	{
		nulls[n] = ' ';
		args[n++] = keys[k];
	}
	for (int k = 0; kind != 'r' && k < op->ncolumns; k++)
	{
		nulls[n] = row->nulls[k] ? 'n' : ' ';
		args[n++] = row->values[k];
	}
	nulls[n] = '\0';
	return cdp_store_run(plan, args, nulls, read_only, -1);
}

/*
 * The rows themselves
 */

/* A snapshot as a statement of its own would get. */
void
cdp_row_begin_step(bool read_only)
{
	if (read_only && ActiveSnapshotSet())
	{
		PushActiveSnapshot(GetActiveSnapshot());
		return;
	}
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
}

void
cdp_row_end_step(bool wrote)
{
	PopActiveSnapshot();
	if (wrote)
		CommandCounterIncrement();
}

void
cdp_row_serialization_failure(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not serialize access due to concurrent %s", what)));
}

/*
 * A table open for some steps of one operation, with what they share: the way
 * through the index, opened when it is first needed, and the rows in hand.
 */
typedef struct Cursor
{
	CdpRowOp *op;
	Relation rel;
	CdpTable *table;
	LOCKMODE lock;
	Relation index;
	IndexScanDesc scan;
	TupleTableSlot *row; /* as it is */
	TupleTableSlot *fresh; /* as it shall be */
} Cursor;

static void
close_cursor(Cursor *c)
{
	if (c->scan)
	{
		index_endscan(c->scan);
		index_close(c->index, NoLock);
	}
	if (c->row)
		ExecDropSingleTupleTableSlot(c->row);
	if (c->fresh)
		ExecDropSingleTupleTableSlot(c->fresh);
}

/* Has the row this key? */
static bool
has_key(const CdpRowOp *op, const CdpTableIndex *entry, const Datum *keys, TupleTableSlot *slot)
{
	for (int k = 0; k < op->nkeys; k++)
	{
		bool isnull;
		Datum value = slot_getattr(slot, op->key_attnums[k], &isnull);

		if (isnull || !DatumGetBool(OidFunctionCall2Coll(entry->equal[k], entry->collations[k],
														 value, keys[k])))
			return false;
	}
	return true;
}

/*
 * Finds the row at once where it was, if that version is still the one to see.
 * The place may have become another row's meanwhile.
 */
static bool
find_hint(Relation rel, const CdpRowOp *op, const CdpTableIndex *entry, const Datum *keys,
		  ItemPointer hint, TupleTableSlot *slot)
{
	return hint != NULL && ItemPointerIsValid(hint) &&
		   table_tuple_fetch_row_version(rel, hint, GetActiveSnapshot(), slot) &&
		   has_key(op, entry, keys, slot);
}

/* Brings the row of a key, as the active snapshot has it, into the cursor. */
static bool
seek(Cursor *c, const Datum *keys, ItemPointer hint)
{
	const CdpTableIndex *entry = &c->table->indexes[c->op->index];
	ScanKeyData scankeys[CDP_ROW_KEYS];
	bool found;

	if (c->row == NULL)
		c->row = table_slot_create(c->rel, NULL);
	if (find_hint(c->rel, c->op, entry, keys, hint, c->row))
		return true;
	if (c->scan == NULL)
	{
		c->index = index_open(entry->relid, c->lock);
		c->scan = cdp_index_beginscan(c->rel, c->index, GetActiveSnapshot(), entry->nkeys);
	}
	for (int k = 0; k < entry->nkeys; k++)
		ScanKeyEntryInitialize(&scankeys[k], 0, k + 1, BTEqualStrategyNumber, InvalidOid,
							   entry->collations[k], entry->equal[k], keys[k]);
	index_rescan(c->scan, scankeys, entry->nkeys, NULL, 0);
	found = cdp_index_next(c->scan, ForwardScanDirection, c->row);
	if (found && hint)
		*hint = c->row->tts_tid;
	return found;
}

/* Copies the operation's columns into the current context. */
static void
copy_columns(const CdpRowOp *op, TupleTableSlot *slot, CdpRow *row)
{
	for (int k = 0; k < op->ncolumns; k++)
	{
		Form_pg_attribute att =
			TupleDescAttr(slot->tts_tupleDescriptor, op->attnums[k] - 1);

		row->values[k] = slot_getattr(slot, op->attnums[k], &row->nulls[k]);
		if (!row->nulls[k] && !att->attbyval)
			row->values[k] = att->attlen == -1 ?
								 PointerGetDatum(PG_DETOAST_DATUM_COPY(row->values[k])) :
								 datumCopy(row->values[k], false, att->attlen);
	}
}

typedef enum Locking
{
	LOCKING_DONE,
	LOCKING_NONE, /* gone, or somebody's */
	LOCKING_DETOUR /* a case for the executor */
} Locking;

static Locking
lock_row(Relation rel, TupleTableSlot *slot, CdpRowLock lock, bool *newer)
{
	TM_FailureData failure;
	ItemPointerData tid = slot->tts_tid;
	uint8 flags = TUPLE_LOCK_FLAG_LOCK_UPDATE_IN_PROGRESS;

	if (!IsolationUsesXactSnapshot())
		flags |= TUPLE_LOCK_FLAG_FIND_LAST_VERSION;
	switch (table_tuple_lock(rel, &tid, GetActiveSnapshot(), slot, GetCurrentCommandId(false),
							 LockTupleNoKeyExclusive,
							 lock == CDP_ROW_SKIPPED ? LockWaitSkip : LockWaitBlock, flags,
							 &failure))
	{
		case TM_Ok:
			*newer = failure.traversed;
			return LOCKING_DONE;
		case TM_WouldBlock:
			return LOCKING_NONE;
		case TM_Updated:
			if (IsolationUsesXactSnapshot())
				cdp_row_serialization_failure("update");
			return LOCKING_DETOUR;
		case TM_Deleted:
			if (IsolationUsesXactSnapshot())
				cdp_row_serialization_failure("update");
			return LOCKING_NONE;
		default:
			return LOCKING_DETOUR;
	}
}

/* One row in the cursor's step; CDP_ROW_DETOUR: a case for the executor. */
static Locking
read_row(Cursor *c, const Datum *keys, ItemPointer hint, CdpRow *row)
{
	Locking locking = LOCKING_DONE;
	bool newer = false;

	if (!seek(c, keys, hint))
		return LOCKING_NONE;
	if (c->op->lock != CDP_ROW_UNLOCKED)
		locking = lock_row(c->rel, c->row, c->op->lock, &newer);
	/* whoever changed it while we waited may have changed its key */
	if (newer && !has_key(c->op, &c->table->indexes[c->op->index], keys, c->row))
		locking = LOCKING_NONE;
	if (hint)
		*hint = c->row->tts_tid;
	if (locking == LOCKING_DONE)
		copy_columns(c->op, c->row, row);
	return locking;
}

static LOCKMODE
lock_of(const CdpRowOp *op)
{
	return op->lock == CDP_ROW_UNLOCKED ? AccessShareLock : RowShareLock;
}

static void
begin_read(const CdpRowOp *op, bool read_only)
{
	if (op->lock != CDP_ROW_UNLOCKED)
	{
		PreventCommandIfReadOnly("SELECT FOR NO KEY UPDATE");
		PreventCommandIfParallelMode("SELECT FOR NO KEY UPDATE");
	}
	cdp_row_begin_step(read_only);
}

/*
 * Reads the row of the key, locking it if the operation says so.  read_only:
 * under the snapshot of the calling query.  The columns are copied into the
 * current memory context.  False: there is none.
 */
bool
cdp_row_read(CdpRowOp *op, const Datum *keys, bool read_only, ItemPointer hint, CdpRow *row)
{
	Cursor c = {.op = op, .lock = lock_of(op)};

	c.rel = cdp_row_open(op, c.lock, &c.table);
	if (cdp_row_is_direct(op))
	{
		Locking locking;

		begin_read(op, read_only);
		locking = read_row(&c, keys, hint, row);
		close_cursor(&c);
		cdp_row_end_step(op->lock != CDP_ROW_UNLOCKED);
		if (locking != LOCKING_DETOUR)
		{
			table_close(c.rel, NoLock);
			return locking == LOCKING_DONE;
		}
	}
	table_close(c.rel, NoLock);
	if (cdp_row_statement(op, 'r', keys, NULL, read_only) != 1)
		return false;
	for (int k = 0; k < op->ncolumns; k++)
		row->values[k] = cdp_store_value(0, k + 1, &row->nulls[k]);
	return true;
}

/*
 * The same for n keys (one after the other in keys), in their order; hints may
 * be NULL.  found[i] says whether rows[i] is there.  False: a statement must do
 * it; some rows may be locked already.
 */
bool
cdp_row_read_many(CdpRowOp *op, int n, const Datum *keys, bool read_only, ItemPointer *hints,
				  CdpRow *rows, bool *found)
{
	Cursor c = {.op = op, .lock = lock_of(op)};
	bool done;

	c.rel = cdp_row_open(op, c.lock, &c.table);
	done = cdp_row_is_direct(op);
	if (done)
	{
		begin_read(op, read_only);
		for (int i = 0; i < n && done; i++)
		{
			Locking locking = read_row(&c, keys + i * op->nkeys, hints ? hints[i] : NULL, &rows[i]);

			CHECK_FOR_INTERRUPTS();
			found[i] = locking == LOCKING_DONE;
			done = locking != LOCKING_DETOUR;
		}
		close_cursor(&c);
		cdp_row_end_step(op->lock != CDP_ROW_UNLOCKED);
	}
	table_close(c.rel, NoLock);
	return done;
}

/*
 * Replaces a row that is found under the active snapshot.  Not TM_Ok: somebody
 * changed it meanwhile.
 */
static TM_Result
change_row(Cursor *c, const Datum *keys, ItemPointer hint, CdpRowChange change, void *arg,
		   bool *found)
{
	CdpRowOp *op = c->op;
	TupleDesc desc = RelationGetDescr(c->rel);
	CdpIndexUpdate indexes;
	TM_Result result;
	CdpRow row;

	*found = seek(c, keys, hint);
	if (!*found)
		return TM_Ok;
	slot_getallattrs(c->row);
	for (int k = 0; k < op->ncolumns; k++)
	{
		row.values[k] = c->row->tts_values[op->attnums[k] - 1];
		row.nulls[k] = c->row->tts_isnull[op->attnums[k] - 1];
	}
	if (!change(&row, arg))
		return TM_Ok;
	if (!cdp_row_fits(op, c->rel, &row))
		return TM_BeingModified;
	if (c->fresh == NULL)
		c->fresh = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	ExecClearTuple(c->fresh);
	memcpy(c->fresh->tts_values, c->row->tts_values, sizeof(Datum) * desc->natts);
	memcpy(c->fresh->tts_isnull, c->row->tts_isnull, sizeof(bool) * desc->natts);
	/* what was in a column that is gone goes, too */
	for (int i = 0; i < desc->natts; i++)
		if (TupleDescAttr(desc, i)->attisdropped)
			c->fresh->tts_isnull[i] = true;
	for (int k = 0; k < op->ncolumns; k++)
	{
		c->fresh->tts_values[op->attnums[k] - 1] = row.values[k];
		c->fresh->tts_isnull[op->attnums[k] - 1] = row.nulls[k];
	}
	ExecStoreVirtualTuple(c->fresh);
	c->fresh->tts_tableOid = RelationGetRelid(c->rel);
	result = cdp_table_tuple_update(c->rel, &c->row->tts_tid, c->fresh, GetActiveSnapshot(),
									&indexes);
	if (result == TM_Ok && indexes != CDP_INDEX_NONE)
		(void) cdp_row_index_entries(c->rel, c->table, c->fresh, false,
									 indexes == CDP_INDEX_SUMMARIZING, op);
	return result;
}

static void
begin_change(Relation rel)
{
	PreventCommandIfReadOnly("UPDATE");
	PreventCommandIfParallelMode("UPDATE");
	CheckCmdReplicaIdentity(rel, CMD_UPDATE);
	cdp_row_begin_step(false);
}

/* What a change that met another one means; returns if the executor can go on. */
static void
check_change(TM_Result result)
{
	if (IsolationUsesXactSnapshot() && (result == TM_Updated || result == TM_Deleted))
		cdp_row_serialization_failure("update");
}

/* The change by statements; the caller's lock holds others off. */
static bool
change_by_statement(CdpRowOp *op, const Datum *keys, CdpRowChange change, void *arg)
{
	CdpRow row;

	compose(op, &op->plan, 'u');
	if (cdp_row_statement(op, 'r', keys, NULL, false) != 1)
		return false;
	for (int k = 0; k < op->ncolumns; k++)
		row.values[k] = cdp_store_value(0, k + 1, &row.nulls[k]);
	return !change(&row, arg) || cdp_row_statement(op, 'u', keys, &row, false) == 1;
}

/*
 * Changes columns of the row of a key.  The caller holds a lock that keeps
 * others from writing it.  False: there is no such row.
 */
bool
cdp_row_change(CdpRowOp *op, const Datum *keys, ItemPointer hint, CdpRowChange change, void *arg)
{
	Cursor c = {.op = op, .lock = RowExclusiveLock};

	op->changes = true;
	c.rel = cdp_row_open(op, c.lock, &c.table);
	if (cdp_row_is_direct(op))
	{
		TM_Result result;
		bool found;

		begin_change(c.rel);
		result = change_row(&c, keys, hint, change, arg, &found);
		close_cursor(&c);
		cdp_row_end_step(true);
		if (result == TM_Ok)
		{
			table_close(c.rel, NoLock);
			return found;
		}
		check_change(result);
		/* the executor knows how to go on, or what to say */
	}
	table_close(c.rel, NoLock);
	return change_by_statement(op, keys, change, arg);
}

/*
 * The same for n rows, each key once; args[i] is the i-th change's argument and
 * hints may be NULL.  False: a statement must do it, nothing was changed.
 * Raises if a row is not there.
 */
bool
cdp_row_change_many(CdpRowOp *op, int n, const Datum *keys, ItemPointer *hints,
					CdpRowChange change, void **args)
{
	Cursor c = {.op = op, .lock = RowExclusiveLock};
	bool direct;

	op->changes = true;
	c.rel = cdp_row_open(op, c.lock, &c.table);
	direct = cdp_row_is_direct(op);
	if (direct)
	{
		begin_change(c.rel);
		for (int i = 0; i < n; i++)
		{
			const Datum *key = keys + i * op->nkeys;
			bool found;
			TM_Result result;

			CHECK_FOR_INTERRUPTS();
			result = change_row(&c, key, hints ? hints[i] : NULL, change, args[i], &found);
			check_change(result);
			if (result != TM_Ok)
				found = change_by_statement(op, key, change, args[i]);
			if (!found)
				ereport(ERROR,
						(errcode(ERRCODE_DATA_CORRUPTED),
						 errmsg("a row of \"%s\" is gone", op->table),
						 errhint("See cdp.verify() and cdp.rebuild().")));
		}
		close_cursor(&c);
		cdp_row_end_step(true);
	}
	table_close(c.rel, NoLock);
	return direct;
}

static bool
replace(CdpRow *row, void *arg)
{
	*row = *(const CdpRow *) arg;
	return true;
}

/* Sets columns of the row of a key.  False: there is none. */
bool
cdp_row_update(CdpRowOp *op, const Datum *keys, const CdpRow *row)
{
	return cdp_row_change(op, keys, NULL, replace, (void *) row);
}
