/*
 * src/row_private.h
 *		What row.c, row_insert.c and row_table.c share.  For nobody else.
 */
#ifndef CDP_ROW_PRIVATE_H
#define CDP_ROW_PRIVATE_H

#include "access/tupdesc.h"
#include "executor/tuptable.h"
#include "nodes/execnodes.h"
#include "utils/rel.h"

#include "guc.h"
#include "row.h"

#define CDP_TABLE_INDEXES 6

/* An index of a table that we may write. */
typedef struct CdpTableIndex
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
} CdpTableIndex;

typedef struct CdpTable
{
	Oid relid; /* hash key */
	bool valid;
	MemoryContext context;
	const char *detour; /* why it is not ours to write */
	int checks;
	int nindexes;
	CdpTableIndex indexes[CDP_TABLE_INDEXES];
} CdpTable;

static inline bool
cdp_row_is_direct(const CdpRowOp *op)
{
	return op->detour == NULL && cdp_guc_direct_storage;
}

/* A column that must not be null and would be is the executor's to complain about. */
static inline bool
cdp_row_fits(const CdpRowOp *op, Relation rel, const CdpRow *row)
{
	for (int k = 0; k < op->ncolumns; k++)
		if (row->nulls[k] && TupleDescAttr(RelationGetDescr(rel), op->attnums[k] - 1)->attnotnull)
			return false;
	return true;
}

/* row.c */
extern int cdp_row_statement(CdpRowOp *op, char kind, const Datum *keys, const CdpRow *row,
							 bool read_only);
extern void cdp_row_begin_step(bool read_only);
extern void cdp_row_end_step(bool wrote);
extern void cdp_row_serialization_failure(const char *what);

/* row_insert.c */
extern bool cdp_row_index_entries(Relation rel, CdpTable *table, TupleTableSlot *slot, bool ignore,
								  bool summarizing, const CdpRowOp *updated);

/* row_table.c */
extern CdpTable *cdp_row_table(Relation rel);
extern Relation cdp_row_open(CdpRowOp *op, LOCKMODE lock, CdpTable **table);

#endif /* CDP_ROW_PRIVATE_H */
