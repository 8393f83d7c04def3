/*
 * src/row_table.c
 *		Which tables are ours to write without a statement (see row.h).
 *
 * Per table there is an entry that says how it looks and whether we may write
 * it ourselves.  Entries follow invalidations of the relation cache, which
 * every change of a table, its indexes, triggers and policies sends; they are
 * looked at under the lock on the table, so nothing changes while we write.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/nbtree.h"
#include "access/table.h"
#include "catalog/index.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "nodes/primnodes.h"
#include "rewrite/rowsecurity.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "cdp.h"
#include "compat.h"
#include "row_private.h"

static HTAB *tables = NULL;

/* Operations that this session used, latest first. */
static CdpRowOp *used = NULL;

PG_FUNCTION_INFO_V1(cdp_storage_paths);

/* Counts invalidations of known tables; never 0, which marks an unused operation. */
static uint64 version = 1;

static void
invalidate(Datum arg pg_attribute_unused(), Oid relid)
{
	CdpTable *table;

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
describe_index(CdpTable *table, Relation index, CdpTableIndex *entry)
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
describe_indexes(CdpTable *table, Relation rel)
{
	List *oids = RelationGetIndexList(rel);
	ListCell *lc;

	foreach(lc, oids)
	{
		Relation index;
		const char *why;

		if (table->nindexes == CDP_TABLE_INDEXES)
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
describe(CdpTable *table, Relation rel)
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

CdpTable *
cdp_row_table(Relation rel)
{
	Oid relid = RelationGetRelid(rel);
	CdpTable *table;
	bool found;

	if (tables == NULL)
	{
		HASHCTL ctl = {0};

		ctl.keysize = sizeof(Oid);
		ctl.entrysize = sizeof(CdpTable);
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
index_of(const CdpTable *table, const CdpRowOp *op)
{
	for (int i = 0; i < table->nindexes; i++)
	{
		const CdpTableIndex *index = &table->indexes[i];

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
settle(CdpRowOp *op, Relation rel, const CdpTable *table, LOCKMODE lock)
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
Relation
cdp_row_open(CdpRowOp *op, LOCKMODE lock, CdpTable **table)
{
	for (;;)
	{
		Relation rel;
		uint64 stamp = version + cdp_store_generation();

		if (op->version != stamp)
			op->relid = cdp_store_relation(op->table);
		rel = table_open(op->relid, lock);
		*table = cdp_row_table(rel);
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
