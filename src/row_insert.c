/*
 * src/row_insert.c
 *		New rows and their index entries, without a statement (see row.h).
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/pg_class.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "index_scan.h"
#include "row_private.h"

/* Puts a tuple into the indexes; false: a unique one has it already (ignore). */
bool
cdp_row_index_entries(Relation rel, CdpTable *table, TupleTableSlot *slot, bool ignore,
					  bool summarizing, const CdpRowOp *updated)
{
	bool unique = true;

	for (int i = 0; i < table->nindexes; i++)
	{
		const CdpTableIndex *entry = &table->indexes[i];
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
conflicts(Relation rel, const CdpTable *table, TupleTableSlot *slot)
{
	TupleTableSlot *other = table_slot_create(rel, NULL);
	bool conflict = false;

	for (int i = 0; i < table->nindexes && !conflict; i++)
	{
		const CdpTableIndex *entry = &table->indexes[i];
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
			if (cdp_index_next(scan, ForwardScanDirection, other))
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
						cdp_row_serialization_failure("update");
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
	cdp_row_begin_step(false);
}

/*
 * One row in a step, into a table that is ours to write.  *look: look for a
 * conflict before, instead of finding it by the index afterwards, when the row
 * is in the table and must be taken back; set when one was found.
 */
static bool
insert_row(const CdpRowOp *op, Relation rel, CdpTable *table, TupleTableSlot *slot,
		   const CdpRow *row, bool *look)
{
	TransactionId xid;

	fill_slot(op, rel, slot, row);
	if (!op->ignore)
	{
		table_tuple_insert(rel, slot, GetCurrentCommandId(true), 0, NULL);
		(void) cdp_row_index_entries(rel, table, slot, false, false, NULL);
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
		unique = cdp_row_index_entries(rel, table, slot, true, false, NULL);
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
insert_rows(const CdpRowOp *op, Relation rel, CdpTable *table, const CdpRow *rows, int n)
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
			(void) cdp_row_index_entries(rel, table, slots[i], false, false, NULL);
		MemoryContextSwitchTo(old);
		MemoryContextReset(chunk);
	}
	for (int i = 0; i < width; i++)
		ExecDropSingleTupleTableSlot(slots[i]);
	MemoryContextDelete(chunk);
	pfree(slots);
}

/* Inserts a row.  False: an operation that ignores conflicts met one. */
bool
cdp_row_insert(CdpRowOp *op, const CdpRow *row)
{
	CdpTable *table;
	Relation rel = cdp_row_open(op, RowExclusiveLock, &table);
	bool inserted;

	if (cdp_row_is_direct(op) && cdp_row_fits(op, rel, row))
	{
		TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsVirtual);
		bool look = !op->unlikely;

		begin_insert();
		inserted = insert_row(op, rel, table, slot, row, &look);
		ExecDropSingleTupleTableSlot(slot);
		cdp_row_end_step(true);
		table_close(rel, NoLock);
		return inserted;
	}
	table_close(rel, NoLock);
	return cdp_row_statement(op, 'i', NULL, row, false) == 1;
}

/*
 * Inserts n rows in their order; inserted[i] says whether it was, NULL if all
 * must be.  False: nothing was, a statement must do it.
 */
bool
cdp_row_insert_many(CdpRowOp *op, int n, const CdpRow *rows, bool *inserted)
{
	CdpTable *table;
	Relation rel = cdp_row_open(op, RowExclusiveLock, &table);
	bool direct = cdp_row_is_direct(op);

	for (int i = 0; i < n && direct; i++)
		direct = cdp_row_fits(op, rel, &rows[i]);
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
		cdp_row_end_step(true);
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
part_detour(const CdpRowOp *op, Relation leaf, const CdpTable *table, Relation parent)
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
	CdpTable *table;
	Relation rel;
	bool direct;
	bool done = false;

	op->parted = true;
	rel = cdp_row_open(op, RowExclusiveLock, &table);
	/* while we waited for the lock, the partition may have got other bounds, or gone */
	direct = cdp_row_is_direct(op) && OidIsValid(part) && generation == cdp_store_generation();
	for (int i = 0; i < n && direct; i++)
		direct = cdp_row_fits(op, rel, &rows[i]);
	if (direct)
	{
		Relation leaf = table_open(part, RowExclusiveLock);

		table = cdp_row_table(leaf);
		op->part_detour = part_detour(op, leaf, table, rel);
		if (op->part_detour == NULL)
		{
			begin_insert();
			insert_rows(op, leaf, table, rows, n);
			cdp_row_end_step(true);
			done = true;
		}
		table_close(leaf, NoLock);
	}
	table_close(rel, NoLock);
	for (int i = 0; i < n && !done; i++)
		if (cdp_row_statement(op, 'i', NULL, &rows[i], false) != 1)
			elog(ERROR, "cdp: a row of \"%s\" was not inserted", op->table);
}
