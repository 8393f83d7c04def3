/*
 * src/row.c
 *		One row by its key, without a statement (see row.h).
 *
 * Per table there is an entry that says how it looks and whether we may write
 * it ourselves.  Entries follow invalidations of the relation cache, which
 * every change of a table, its indexes, triggers and policies sends; they are
 * looked at under the lock on the table, so nothing changes while we write.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/nbtree.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/primnodes.h"
#include "rewrite/rowsecurity.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "cdp.h"
#include "compat.h"
#include "guc.h"
#include "row.h"
#include "store.h"

#define MAX_INDEXES 6

/* An index of a table that we may write. */
typedef struct TableIndex
{
	Oid relid;
	bool btree; /* if not, it describes itself at every insert */
	bool unique;
	int nkeys;
	int16 attnums[INDEX_MAX_KEYS];
	int16 where; /* indexed where this column is not null; 0: always */
	Oid collations[INDEX_MAX_KEYS];
	RegProcedure equal[INDEX_MAX_KEYS];
	IndexInfo *info; /* of a B-tree */
} TableIndex;

typedef struct Table
{
	Oid relid; /* hash key */
	bool valid;
	MemoryContext context;
	const char *detour; /* why it is not ours to write */
	int checks;
	int nindexes;
	TableIndex indexes[MAX_INDEXES];
} Table;

static HTAB *tables = NULL;

/* Operations that this session used, latest first. */
static CdpRowOp *used = NULL;

PG_FUNCTION_INFO_V1(cdp_storage_paths);

/* Counts invalidations of known tables; never 0, which marks an unused operation. */
static uint64 version = 1;

static void
invalidate(Datum arg pg_attribute_unused(), Oid relid)
{
	Table *table;

	if (tables == NULL)
		return;
	if (OidIsValid(relid))
	{
		table = hash_search(tables, &relid, HASH_FIND, NULL);
		if (table == NULL)
			return;
		table->valid = false;
	}
	else
	{
		HASH_SEQ_STATUS seq;

		hash_seq_init(&seq, tables);
		while ((table = hash_seq_search(&seq)) != NULL)
			table->valid = false;
	}
	version++;
}

/* Once, from _PG_init(). */
void
cdp_row_register(void)
{
	CacheRegisterRelcacheCallback(invalidate, (Datum) 0);
}

static bool
is_true(const Expr *condition)
{
	return condition && IsA(condition, Const) && !((const Const *) condition)->constisnull &&
		   DatumGetBool(((const Const *) condition)->constvalue);
}

/* Does a policy let the owner do everything with every row? */
static bool
lets_owner(const RowSecurityPolicy *policy)
{
	const Oid *roles = (const Oid *) ARR_DATA_PTR(policy->roles);
	bool named = false;

	for (int i = 0; i < ARR_DIMS(policy->roles)[0] && !named; i++)
		named = roles[i] == cdp_store_owner() || roles[i] == ACL_ID_PUBLIC;
	return named && policy->polcmd == '*' && is_true(policy->qual) &&
		   (policy->with_check_qual == NULL || is_true(policy->with_check_qual));
}

/*
 * Does something else than the owner's own policy speak about his rows?
 * Permissive policies only add; a restrictive one takes away.
 */
static bool
is_restricted(Relation rel)
{
	ListCell *lc;
	bool allowed = false;

	if (!rel->rd_rel->relrowsecurity || !rel->rd_rel->relforcerowsecurity)
		return false;
	if (rel->rd_rsdesc == NULL)
		return true;
	foreach(lc, rel->rd_rsdesc->policies)
	{
		const RowSecurityPolicy *policy = lfirst(lc);

		if (!policy->permissive)
			return true;
		allowed = allowed || lets_owner(policy);
	}
	return !allowed;
}

/* Is the table ours, with all the rights that an owner begins with? */
static bool
is_owned(Relation rel)
{
	const AclMode rights = ACL_SELECT | ACL_INSERT | ACL_UPDATE;

	return rel->rd_rel->relowner == cdp_store_owner() &&
		   pg_class_aclmask(RelationGetRelid(rel), rel->rd_rel->relowner, rights, ACLMASK_ALL) ==
			   rights;
}

/* What about the table itself is not as we made it. */
static const char *
table_detour(Relation rel)
{
	char kind = rel->rd_rel->relkind;

	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
		return "not a table";
	if (kind == RELKIND_RELATION && rel->rd_rel->relam != HEAP_TABLE_AM_OID)
		return "another access method";
	if (kind == RELKIND_RELATION && rel->rd_rel->relhassubclass)
		return "tables that inherit";
	if (rel->trigdesc != NULL)
		return "a trigger";
	if (rel->rd_rules != NULL)
		return "a rule";
	if (!is_owned(rel))
		return "another owner, or rights taken from ours";
	if (is_restricted(rel))
		return "a policy";
	return NULL;
}

/* Columns that a write must compute, check or cut make it the executor's. */
static const char *
column_detour(Relation rel)
{
	TupleDesc desc = RelationGetDescr(rel);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (att->attisdropped)
			continue;
		if (att->attgenerated != '\0' || att->attidentity != '\0')
			return "a generated column";
		/* its checks and its default may change without a word to the table */
		if (get_typtype(att->atttypid) == TYPTYPE_DOMAIN || get_typdefault(att->atttypid) != NULL)
			return "a column of a domain";
		if (att->atttypmod >= 0)
			return "a column with a type modifier";
	}
	return NULL;
}

/* Describes an index, or says why it is not ours to write. */
static const char *
describe_index(Table *table, Relation index, TableIndex *entry)
{
	Form_pg_index form = index->rd_index;
	List *predicate;

	memset(entry, 0, sizeof(*entry));
	entry->relid = RelationGetRelid(index);
	entry->btree = index->rd_rel->relam == BTREE_AM_OID;
	entry->unique = form->indisunique;
	entry->nkeys = form->indnkeyatts;
	if (!form->indisvalid || !form->indisready || !form->indislive)
		return "an index being built";
	if (!form->indimmediate || form->indisexclusion)
		return "a deferred or exclusion constraint";
	if (form->indnullsnotdistinct)
		return "an index to which nulls are equal";
	if (!entry->btree && index->rd_rel->relam != BRIN_AM_OID)
		return "an index of another kind";
	if (RelationGetIndexExpressions(index) != NIL || form->indnatts != form->indnkeyatts)
		return "an index on expressions or with further columns";
	predicate = RelationGetIndexPredicate(index);
	if (predicate != NIL)
	{
		NullTest *test = linitial(predicate);

		/* "t IS NOT NULL" of a whole row is something else */
		if (list_length(predicate) != 1 || !IsA(test, NullTest) || !entry->btree ||
			test->nulltesttype != IS_NOT_NULL || test->argisrow || !IsA(test->arg, Var) ||
			((Var *) test->arg)->varattno <= 0)
			return "a partial index";
		entry->where = ((Var *) test->arg)->varattno;
	}
	for (int k = 0; k < entry->nkeys; k++)
	{
		Oid type = index->rd_opcintype[k];
		Oid operator;

		entry->attnums[k] = form->indkey.values[k];
		if (entry->attnums[k] <= 0)
			return "an index on a system column";
		entry->collations[k] = index->rd_indcollation[k];
		if (!entry->btree)
			continue;
		operator= get_opfamily_member(index->rd_opfamily[k], type, type, BTEqualStrategyNumber);
		if (!OidIsValid(operator))
			return "an index without equality";
		entry->equal[k] = get_opcode(operator);
	}
	if (entry->btree)
	{
		MemoryContext old = MemoryContextSwitchTo(table->context);

		entry->info = BuildIndexInfo(index);
		/* looked at here, not by the access method */
		entry->info->ii_Predicate = NIL;
		MemoryContextSwitchTo(old);
	}
	return NULL;
}

/* Describes a table's indexes; writing it without knowing all would leave them behind. */
static void
describe_indexes(Table *table, Relation rel)
{
	List *oids = RelationGetIndexList(rel);
	ListCell *lc;

	foreach(lc, oids)
	{
		Relation index;
		const char *why;

		if (table->nindexes == MAX_INDEXES)
		{
			table->detour = "many indexes";
			break;
		}
		index = index_open(lfirst_oid(lc), AccessShareLock);
		why = describe_index(table, index, &table->indexes[table->nindexes]);
		index_close(index, AccessShareLock);
		if (why && table->detour == NULL)
			table->detour = why;
		table->nindexes++;
	}
	list_free(oids);
}

/*
 * Fills a table's entry; whoever calls holds a lock on it.  To look at an index
 * may take long and be cancelled: what is half done is not valid.
 */
static void
describe(Table *table, Relation rel)
{
	while (!table->valid)
	{
		/* an invalidation while we look must not be lost */
		uint64 started = version;

		if (table->context)
			MemoryContextReset(table->context);
		else
			table->context = AllocSetContextCreate(TopMemoryContext, "cdp table",
												   ALLOCSET_SMALL_SIZES);
		table->checks = rel->rd_att->constr ? rel->rd_att->constr->num_check : 0;
		table->detour = table_detour(rel);
		if (table->detour == NULL)
			table->detour = column_detour(rel);
		table->nindexes = 0;
		if (rel->rd_rel->relkind == RELKIND_RELATION)
			describe_indexes(table, rel);
		table->valid = started == version;
	}
}

static Table *
table_of(Relation rel)
{
	Oid relid = RelationGetRelid(rel);
	Table *table;
	bool found;

	if (tables == NULL)
	{
		HASHCTL ctl = {0};

		ctl.keysize = sizeof(Oid);
		ctl.entrysize = sizeof(Table);
		tables = hash_create("cdp tables", 32, &ctl, HASH_ELEM | HASH_BLOBS);
	}
	table = hash_search(tables, &relid, HASH_ENTER, &found);
	if (!found)
	{
		table->valid = false;
		table->context = NULL;
	}
	if (!table->valid)
		describe(table, rel);
	return table;
}

/* The index whose columns are the operation's keys, in their order; -1: none. */
static int
index_of(const Table *table, const CdpRowOp *op)
{
	for (int i = 0; i < table->nindexes; i++)
	{
		const TableIndex *index = &table->indexes[i];

		if (index->btree && index->unique && index->where == 0 && index->nkeys == op->nkeys &&
			memcmp(index->attnums, op->key_attnums, sizeof(int16) * op->nkeys) == 0)
			return i;
	}
	return -1;
}

static int16
attnum_of(Oid relid, const char *column)
{
	AttrNumber attnum = get_attnum(relid, column);

	if (attnum == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("column \"%s\" of relation \"%s.%s\" is missing", column, CDP_DATA_SCHEMA,
						get_rel_name(relid)),
				 errhint("Run SELECT cdp.init(); to complete the installation.")));
	return attnum;
}

/* Does an insert that names only the operation's columns fill all that need a value? */
static bool
names_all(Relation rel, const CdpRowOp *op)
{
	TupleDesc desc = RelationGetDescr(rel);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		bool named = att->attisdropped || (!att->atthasdef && !att->attnotnull);

		for (int k = 0; k < op->ncolumns && !named; k++)
			named = op->attnums[k] == i + 1;
		if (!named)
			return false;
	}
	return true;
}

/*
 * Brings an operation up to date with its table, which is locked.  False: the
 * name means another table by now.
 */
static bool
settle(CdpRowOp *op, Relation rel, const Table *table, LOCKMODE lock)
{
	if (cdp_store_relation(op->table) != op->relid)
		return false;
	for (op->nkeys = 0; op->nkeys < CDP_ROW_KEYS && op->keys[op->nkeys]; op->nkeys++)
		op->key_attnums[op->nkeys] = attnum_of(op->relid, op->keys[op->nkeys]);
	for (op->ncolumns = 0; op->ncolumns < CDP_ROW_COLUMNS && op->columns[op->ncolumns];
		 op->ncolumns++)
		op->attnums[op->ncolumns] = attnum_of(op->relid, op->columns[op->ncolumns]);
	Assert(op->nkeys + op->ncolumns <= CDP_PLAN_MAX_ARGS);
	op->part_detour = NULL;
	op->detour = table->detour;
	op->index = op->nkeys > 0 ? index_of(table, op) : -1;
	if (op->detour == NULL && rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE && !op->parted)
		op->detour = "partitions";
	if (op->detour == NULL && rel->rd_rel->relispartition)
		op->detour = "a partition of another table";
	if (op->detour == NULL && op->nkeys > 0 && op->index < 0)
		op->detour = "no unique index";
	if (op->detour == NULL && op->nkeys == 0 && !names_all(rel, op))
		op->detour = "a column with a default";
	if (op->detour == NULL && lock == RowExclusiveLock && table->checks > op->checks)
		op->detour = "a check";
	if (!op->listed)
	{
		op->next = used;
		used = op;
		op->listed = true;
	}
	return true;
}

/*
 * Opens the operation's table and brings both up to date.  Names are looked up
 * again under the lock: while we waited for it, they may have changed.
 */
static Relation
open_op(CdpRowOp *op, LOCKMODE lock, Table **table)
{
	for (;;)
	{
		Relation rel;
		uint64 stamp = version + cdp_store_generation();

		if (op->version != stamp)
			op->relid = cdp_store_relation(op->table);
		rel = table_open(op->relid, lock);
		*table = table_of(rel);
		if (op->version == stamp && stamp == version + cdp_store_generation())
			return rel;
		/* first use, or something changed: settle it, then look again */
		stamp = version + cdp_store_generation();
		if (settle(op, rel, *table, lock))
			op->version = stamp;
		table_close(rel, NoLock);
	}
}

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

/* Runs it; keys first, then values. */
static int
run_statement(CdpRowOp *op, char kind, const Datum *keys, const CdpRow *row, bool read_only)
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
static void
begin_step(bool read_only)
{
	if (read_only && ActiveSnapshotSet())
	{
		PushActiveSnapshot(GetActiveSnapshot());
		return;
	}
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
}

static void
end_step(bool wrote)
{
	PopActiveSnapshot();
	if (wrote)
		CommandCounterIncrement();
}

static void
serialization_failure(const char *what)
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
	Table *table;
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
has_key(const CdpRowOp *op, const TableIndex *entry, const Datum *keys, TupleTableSlot *slot)
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
find_hint(Relation rel, const CdpRowOp *op, const TableIndex *entry, const Datum *keys,
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
	const TableIndex *entry = &c->table->indexes[c->op->index];
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
	found = index_getnext_slot(c->scan, ForwardScanDirection, c->row);
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
				serialization_failure("update");
			return LOCKING_DETOUR;
		case TM_Deleted:
			if (IsolationUsesXactSnapshot())
				serialization_failure("update");
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

static bool
is_direct(const CdpRowOp *op)
{
	return op->detour == NULL && cdp_guc_direct_storage;
}

static void
begin_read(const CdpRowOp *op, bool read_only)
{
	if (op->lock != CDP_ROW_UNLOCKED)
	{
		PreventCommandIfReadOnly("SELECT FOR NO KEY UPDATE");
		PreventCommandIfParallelMode("SELECT FOR NO KEY UPDATE");
	}
	begin_step(read_only);
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

	c.rel = open_op(op, c.lock, &c.table);
	if (is_direct(op))
	{
		Locking locking;

		begin_read(op, read_only);
		locking = read_row(&c, keys, hint, row);
		close_cursor(&c);
		end_step(op->lock != CDP_ROW_UNLOCKED);
		if (locking != LOCKING_DETOUR)
		{
			table_close(c.rel, NoLock);
			return locking == LOCKING_DONE;
		}
	}
	table_close(c.rel, NoLock);
	if (run_statement(op, 'r', keys, NULL, read_only) != 1)
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

	c.rel = open_op(op, c.lock, &c.table);
	done = is_direct(op);
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
		end_step(op->lock != CDP_ROW_UNLOCKED);
	}
	table_close(c.rel, NoLock);
	return done;
}

/* Puts a tuple into the indexes; false: a unique one has it already (ignore). */
static bool
insert_index_entries(Relation rel, Table *table, TupleTableSlot *slot, bool ignore,
					 bool summarizing, const CdpRowOp *updated)
{
	bool unique = true;

	for (int i = 0; i < table->nindexes; i++)
	{
		const TableIndex *entry = &table->indexes[i];
		Relation index;
		Datum values[INDEX_MAX_KEYS];
		bool nulls[INDEX_MAX_KEYS];
		IndexInfo *info = entry->info;
		IndexUniqueCheck check = UNIQUE_CHECK_NO;
		bool unchanged = updated != NULL;

		if (summarizing && entry->btree)
			continue;
		if (entry->where > 0 && slot_attisnull(slot, entry->where))
			continue;
		for (int k = 0; k < entry->nkeys; k++)
		{
			values[k] = slot_getattr(slot, entry->attnums[k], &nulls[k]);
			for (int c = 0; updated && c < updated->ncolumns; c++)
				if (updated->attnums[c] == entry->attnums[k])
					unchanged = false;
		}
		if (entry->unique)
			check = ignore ? UNIQUE_CHECK_PARTIAL : UNIQUE_CHECK_YES;
		index = index_open(entry->relid, RowExclusiveLock);
		if (info == NULL)
			info = BuildIndexInfo(index);
		if (!index_insert(index, values, nulls, &slot->tts_tid, rel, check, unchanged, info))
			unique = !entry->unique && unique;
		if (entry->info == NULL)
			cdp_index_insert_cleanup(index, info);
		index_close(index, NoLock);
	}
	return unique;
}

/*
 * Is there a row, of whatever transaction, with a key of this one?  Waits for
 * transactions that are about to make or remove one.
 */
static bool
conflicts(Relation rel, const Table *table, TupleTableSlot *slot)
{
	TupleTableSlot *other = table_slot_create(rel, NULL);
	bool conflict = false;

	for (int i = 0; i < table->nindexes && !conflict; i++)
	{
		const TableIndex *entry = &table->indexes[i];
		Relation index;
		ScanKeyData scankeys[INDEX_MAX_KEYS];
		bool again = entry->unique;
		bool isnull = false;

		for (int k = 0; entry->unique && k < entry->nkeys && !isnull; k++)
			ScanKeyEntryInitialize(&scankeys[k], 0, k + 1, BTEqualStrategyNumber, InvalidOid,
								   entry->collations[k], entry->equal[k],
								   slot_getattr(slot, entry->attnums[k], &isnull));
		/* nulls are equal to nothing */
		if (!entry->unique || isnull || (entry->where > 0 && slot_attisnull(slot, entry->where)))
			continue;
		index = index_open(entry->relid, RowExclusiveLock);
		while (again && !conflict)
		{
			SnapshotData dirty;
			IndexScanDesc scan;
			TransactionId busy = InvalidTransactionId;
			ItemPointerData tid;

			again = false;
			InitDirtySnapshot(dirty);
			scan = cdp_index_beginscan(rel, index, &dirty, entry->nkeys);
			index_rescan(scan, scankeys, entry->nkeys, NULL, 0);
			if (index_getnext_slot(scan, ForwardScanDirection, other))
			{
				busy = TransactionIdIsValid(dirty.xmin) ? dirty.xmin : dirty.xmax;
				tid = other->tts_tid;
				conflict = !TransactionIdIsValid(busy);
				again = !conflict;
				if (conflict && IsolationUsesXactSnapshot() &&
					!table_tuple_satisfies_snapshot(rel, other, GetActiveSnapshot()))
				{
					bool none;
					Datum xmin = slot_getsysattr(other, MinTransactionIdAttributeNumber, &none);

					/* to leave ours out because of what we cannot see would be wrong */
					if (!TransactionIdIsCurrentTransactionId(DatumGetTransactionId(xmin)))
						serialization_failure("update");
				}
			}
			ExecClearTuple(other);
			index_endscan(scan);
			if (!again)
				break;
			if (dirty.speculativeToken)
				SpeculativeInsertionWait(dirty.xmin, dirty.speculativeToken);
			else
				XactLockTableWait(busy, rel, &tid, XLTW_InsertIndex);
		}
		index_close(index, NoLock);
	}
	ExecDropSingleTupleTableSlot(other);
	return conflict;
}

static void
fill_slot(const CdpRowOp *op, Relation rel, TupleTableSlot *slot, const CdpRow *row)
{
	ExecClearTuple(slot);
	memset(slot->tts_isnull, true, sizeof(bool) * slot->tts_tupleDescriptor->natts);
	for (int k = 0; k < op->ncolumns; k++)
	{
		slot->tts_values[op->attnums[k] - 1] = row->values[k];
		slot->tts_isnull[op->attnums[k] - 1] = row->nulls[k];
	}
	ExecStoreVirtualTuple(slot);
	slot->tts_tableOid = RelationGetRelid(rel);
}

static void
begin_insert(void)
{
	PreventCommandIfReadOnly("INSERT");
	PreventCommandIfParallelMode("INSERT");
	begin_step(false);
}

/*
 * One row in a step, into a table that is ours to write.  *look: look for a
 * conflict before, instead of finding it by the index afterwards, when the row
 * is in the table and must be taken back; set when one was found.
 */
static bool
insert_row(const CdpRowOp *op, Relation rel, Table *table, TupleTableSlot *slot, const CdpRow *row,
		   bool *look)
{
	TransactionId xid;

	fill_slot(op, rel, slot, row);
	if (!op->ignore)
	{
		table_tuple_insert(rel, slot, GetCurrentCommandId(true), 0, NULL);
		(void) insert_index_entries(rel, table, slot, false, false, NULL);
		return true;
	}
	xid = GetCurrentTransactionId();
	for (;; *look = true)
	{
		uint32 token;
		bool unique;

		CHECK_FOR_INTERRUPTS();
		if (*look && conflicts(rel, table, slot))
			return false;
		token = SpeculativeInsertionLockAcquire(xid);
		table_tuple_insert_speculative(rel, slot, GetCurrentCommandId(true), 0, NULL, token);
		unique = insert_index_entries(rel, table, slot, true, false, NULL);
		table_tuple_complete_speculative(rel, slot, token, unique);
		SpeculativeInsertionLockRelease(xid);
		if (unique)
			return true;
		/* somebody came between the look and the insert */
	}
}

/* Rows of one page and more go together: less to lock and to log. */
#define MULTI 200

static void
insert_rows(const CdpRowOp *op, Relation rel, Table *table, const CdpRow *rows, int n)
{
	int width = Min(n, MULTI);
	TupleTableSlot **slots = palloc(sizeof(TupleTableSlot *) * width);
	MemoryContext chunk = AllocSetContextCreate(CurrentMemoryContext, "cdp rows",
												ALLOCSET_DEFAULT_SIZES);

	for (int i = 0; i < width; i++)
		slots[i] = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsVirtual);
	for (int from = 0; from < n; from += width)
	{
		int k = Min(width, n - from);
		MemoryContext old = MemoryContextSwitchTo(chunk);

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < k; i++)
			fill_slot(op, rel, slots[i], &rows[from + i]);
		table_multi_insert(rel, slots, k, GetCurrentCommandId(true), 0, NULL);
		for (int i = 0; i < k; i++)
			(void) insert_index_entries(rel, table, slots[i], false, false, NULL);
		MemoryContextSwitchTo(old);
		MemoryContextReset(chunk);
	}
	for (int i = 0; i < width; i++)
		ExecDropSingleTupleTableSlot(slots[i]);
	MemoryContextDelete(chunk);
	pfree(slots);
}

/* A column that must not be null and would be is the executor's to complain about. */
static bool
fits(const CdpRowOp *op, Relation rel, const CdpRow *row)
{
	for (int k = 0; k < op->ncolumns; k++)
		if (row->nulls[k] && TupleDescAttr(RelationGetDescr(rel), op->attnums[k] - 1)->attnotnull)
			return false;
	return true;
}

/* Inserts a row.  False: an operation that ignores conflicts met one. */
bool
cdp_row_insert(CdpRowOp *op, const CdpRow *row)
{
	Table *table;
	Relation rel = open_op(op, RowExclusiveLock, &table);
	bool inserted;

	if (is_direct(op) && fits(op, rel, row))
	{
		TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsVirtual);
		bool look = !op->unlikely;

		begin_insert();
		inserted = insert_row(op, rel, table, slot, row, &look);
		ExecDropSingleTupleTableSlot(slot);
		end_step(true);
		table_close(rel, NoLock);
		return inserted;
	}
	table_close(rel, NoLock);
	return run_statement(op, 'i', NULL, row, false) == 1;
}

/*
 * Inserts n rows in their order; inserted[i] says whether it was, NULL if all
 * must be.  False: nothing was, a statement must do it.
 */
bool
cdp_row_insert_many(CdpRowOp *op, int n, const CdpRow *rows, bool *inserted)
{
	Table *table;
	Relation rel = open_op(op, RowExclusiveLock, &table);
	bool direct = is_direct(op);

	for (int i = 0; i < n && direct; i++)
		direct = fits(op, rel, &rows[i]);
	if (direct)
	{
		begin_insert();
		if (op->ignore)
		{
			TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsVirtual);
			/* mostly all are new; where one is not, others will not be either */
			bool look = false;

			for (int i = 0; i < n; i++)
				inserted[i] = insert_row(op, rel, table, slot, &rows[i], &look);
			ExecDropSingleTupleTableSlot(slot);
		}
		else
			insert_rows(op, rel, table, rows, n);
		end_step(true);
	}
	table_close(rel, NoLock);
	return direct;
}

/* Has a partition its columns where its parent has them? */
static bool
same_layout(Relation leaf, Relation parent)
{
	TupleDesc x = RelationGetDescr(leaf);
	TupleDesc y = RelationGetDescr(parent);

	if (x->natts != y->natts)
		return false;
	for (int i = 0; i < x->natts; i++)
	{
		Form_pg_attribute a = TupleDescAttr(x, i);
		Form_pg_attribute b = TupleDescAttr(y, i);

		if (a->attisdropped != b->attisdropped || a->atttypid != b->atttypid ||
			a->atthasdef != b->atthasdef || a->attnotnull != b->attnotnull ||
			strcmp(NameStr(a->attname), NameStr(b->attname)) != 0)
			return false;
	}
	return true;
}

/* Why a partition is not ours to write, NULL if it is. */
static const char *
part_detour(const CdpRowOp *op, Relation leaf, const Table *table, Relation parent)
{
	if (leaf->rd_rel->relkind != RELKIND_RELATION || !leaf->rd_rel->relispartition)
		return "a partition that is no table";
	if (table->detour)
		return table->detour;
	if (table->checks > op->checks)
		return "a check";
	return same_layout(leaf, parent) ? NULL : "other columns in a partition";
}

/*
 * Inserts rows into a partitioned table; part is the partition of their keys,
 * as cdp_partition_of() says now.
 */
void
cdp_row_insert_part(CdpRowOp *op, Oid part, const CdpRow *rows, int n)
{
	uint64 generation = cdp_store_generation();
	Table *table;
	Relation rel;
	bool direct;
	bool done = false;

	op->parted = true;
	rel = open_op(op, RowExclusiveLock, &table);
	/* while we waited for the lock, the partition may have got other bounds, or gone */
	direct = is_direct(op) && OidIsValid(part) && generation == cdp_store_generation();
	for (int i = 0; i < n && direct; i++)
		direct = fits(op, rel, &rows[i]);
	if (direct)
	{
		Relation leaf = table_open(part, RowExclusiveLock);

		table = table_of(leaf);
		op->part_detour = part_detour(op, leaf, table, rel);
		if (op->part_detour == NULL)
		{
			begin_insert();
			insert_rows(op, leaf, table, rows, n);
			end_step(true);
			done = true;
		}
		table_close(leaf, NoLock);
	}
	table_close(rel, NoLock);
	for (int i = 0; i < n && !done; i++)
		if (run_statement(op, 'i', NULL, &rows[i], false) != 1)
			elog(ERROR, "cdp: a row of \"%s\" was not inserted", op->table);
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
	if (!fits(op, c->rel, &row))
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
		(void) insert_index_entries(c->rel, c->table, c->fresh, false,
									indexes == CDP_INDEX_SUMMARIZING, op);
	return result;
}

static void
begin_change(Relation rel)
{
	PreventCommandIfReadOnly("UPDATE");
	PreventCommandIfParallelMode("UPDATE");
	CheckCmdReplicaIdentity(rel, CMD_UPDATE);
	begin_step(false);
}

/* What a change that met another one means; returns if the executor can go on. */
static void
check_change(TM_Result result)
{
	if (IsolationUsesXactSnapshot() && (result == TM_Updated || result == TM_Deleted))
		serialization_failure("update");
}

/* The change by statements; the caller's lock holds others off. */
static bool
change_by_statement(CdpRowOp *op, const Datum *keys, CdpRowChange change, void *arg)
{
	CdpRow row;

	compose(op, &op->plan, 'u');
	if (run_statement(op, 'r', keys, NULL, false) != 1)
		return false;
	for (int k = 0; k < op->ncolumns; k++)
		row.values[k] = cdp_store_value(0, k + 1, &row.nulls[k]);
	return !change(&row, arg) || run_statement(op, 'u', keys, &row, false) == 1;
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
	c.rel = open_op(op, c.lock, &c.table);
	if (is_direct(op))
	{
		TM_Result result;
		bool found;

		begin_change(c.rel);
		result = change_row(&c, keys, hint, change, arg, &found);
		close_cursor(&c);
		end_step(true);
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
	c.rel = open_op(op, c.lock, &c.table);
	direct = is_direct(op);
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
				elog(ERROR, "cdp: a row of \"%s\" is gone", op->table);
		}
		close_cursor(&c);
		end_step(true);
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

/*
 * cdp.storage_paths(): the operations that this session used, and whether each
 * goes to its table directly or why it does not.
 */
Datum
cdp_storage_paths(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (const CdpRowOp *op = used; op; op = op->next)
	{
		const char *detour = op->detour ? op->detour : op->part_detour;
		const char *action = "insert";
		Datum values[4];
		bool nulls[4] = {false};

		if (!cdp_guc_direct_storage)
			detour = "cdp.direct_storage is off";
		if (op->nkeys > 0)
			action = op->lock != CDP_ROW_UNLOCKED ? "lock" : op->changes ? "update" :
																		   "read";
		values[0] = CStringGetTextDatum(op->table);
		values[1] = CStringGetTextDatum(action);
		values[2] = BoolGetDatum(detour == NULL);
		nulls[3] = detour == NULL;
		values[3] = detour ? CStringGetTextDatum(detour) : (Datum) 0;
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
