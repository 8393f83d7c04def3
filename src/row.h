/*
 * src/row.h
 *		One row by its key, without a statement.  Floor 0.
 *
 * What every message does is always the same: look a row up, lock it, write
 * it.  A prepared statement spends more on starting its executor than on the
 * row.  The operations below go to the table and its indexes directly, where
 * the table is as cdp.init() made it; where somebody gave it a trigger, a
 * rule, a policy, a check, a column with a default, of a domain or of a stated
 * length, an index of another kind, partitions or another owner, they run the
 * statement that says the same.  cdp.storage_paths() tells which, and why.
 * What looks at statements (pg_stat_statements, pgaudit) does not see rows
 * written directly: cdp.direct_storage turns that off.
 *
 * Both ways see what a statement would: a new snapshot under READ COMMITTED,
 * the transaction's own changes, and error 40001 under REPEATABLE READ when
 * somebody else changed the row.  Inside cdp_store_enter() only.
 *
 * An operation is static data of its call site; what is filled in at its first
 * use is valid while no relation changes.
 */
#ifndef CDP_ROW_H
#define CDP_ROW_H

#include "store.h"

#define CDP_ROW_KEYS 4
#define CDP_ROW_COLUMNS 16

typedef enum CdpRowLock
{
	CDP_ROW_UNLOCKED,
	CDP_ROW_LOCKED, /* FOR NO KEY UPDATE */
	CDP_ROW_SKIPPED /* the same, but a row that somebody holds is not there */
} CdpRowLock;

/* Columns of one row in the order of the operation. */
typedef struct CdpRow
{
	Datum values[CDP_ROW_COLUMNS];
	bool nulls[CDP_ROW_COLUMNS];
} CdpRow;

typedef struct CdpRowOp
{
	const char *table; /* in cdp_data */
	const char *keys[CDP_ROW_KEYS]; /* of a unique index, none for an insert */
	const char *columns[CDP_ROW_COLUMNS]; /* to read, insert or set */
	CdpRowLock lock; /* of a read */
	bool ignore; /* of an insert: what conflicts is not inserted */
	bool unlikely; /* a conflict: it was looked for just now */
	int checks; /* CHECKs that cdp.init() made and every caller meets */

	/* the rest is filled in */
	uint64 version;
	Oid relid;
	int nkeys;
	int ncolumns;
	int16 key_attnums[CDP_ROW_KEYS];
	int16 attnums[CDP_ROW_COLUMNS];
	int index; /* of the keys, -1: no such index */
	bool changes; /* it is an update */
	bool parted; /* it inserts into partitions */
	bool listed; /* among those that this session used */
	const char *detour; /* why the statement is used, NULL if it is not */
	const char *part_detour; /* the same of the last partition written */
	struct CdpRowOp *next; /* of those that this session used */
	CdpPlan plan;
	CdpPlan read_plan; /* of a change */
} CdpRowOp;

extern void cdp_row_register(void);
extern void cdp_row_forget(CdpRowOp *op); /* before its columns change */
/*
 * The functions for many open the table once and see one snapshot; where a
 * statement must do the work, they say so, for then one for all is better.
 *
 * hint, where given, is where the row was when it was read before: looked at
 * first, for it spares the way through the index, and set to where it is now.
 * Whatever it says, the row is that of the keys.
 */
extern bool cdp_row_read(CdpRowOp *op, const Datum *keys, bool read_only, ItemPointer hint,
						 CdpRow *row);
extern bool cdp_row_read_many(CdpRowOp *op, int n, const Datum *keys, bool read_only,
							  ItemPointer *hints, CdpRow *rows, bool *found);
extern bool cdp_row_insert(CdpRowOp *op, const CdpRow *row);
extern bool cdp_row_insert_many(CdpRowOp *op, int n, const CdpRow *rows, bool *inserted);
extern void cdp_row_insert_part(CdpRowOp *op, Oid part, const CdpRow *rows, int n);
extern bool cdp_row_update(CdpRowOp *op, const Datum *keys, const CdpRow *row);

/* Changes the columns that are there; false: there is nothing to write. */
typedef bool (*CdpRowChange)(CdpRow *row, void *arg);

extern bool cdp_row_change(CdpRowOp *op, const Datum *keys, ItemPointer hint,
						   CdpRowChange change, void *arg);
extern bool cdp_row_change_many(CdpRowOp *op, int n, const Datum *keys, ItemPointer *hints,
								CdpRowChange change, void **args);

#endif /* CDP_ROW_H */
