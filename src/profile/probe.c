/*
 * src/profile/probe.c
 *		Rows by an index, see probe.h.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "index_scan.h"
#include "profile/probe.h"
#include "store.h"

/* The number of a column in the rows that an index found. */
int
cdp_probe_attribute(TupleTableSlot *slot, const char *name)
{
	TupleDesc desc = slot->tts_tupleDescriptor;

	for (int i = 0; i < desc->natts; i++)
		if (!TupleDescAttr(desc, i)->attisdropped &&
			strcmp(NameStr(TupleDescAttr(desc, i)->attname), name) == 0)
			return i + 1;
	elog(ERROR, "cdp: a table has no column \"%s\"", name);
	return 0; /* keep compiler quiet */
}

/* One column of such a row. */
Datum
cdp_probe_column(TupleTableSlot *slot, const char *name, bool *isnull)
{
	return slot_getattr(slot, cdp_probe_attribute(slot, name), isnull);
}

/*
 * Calls row for what the index finds by a bigint and, unless it is NULL, an int
 * after it, in the order of the index, under the active snapshot.  Whoever
 * calls decides whether the rows may be shown: no policy is asked.
 */
void
cdp_probe(const char *table, const char *index, int64 id, const int32 *second, CdpProbeRow row,
		  void *arg)
{
	Relation rel = table_open(cdp_store_relation(table), AccessShareLock);
	Relation idx = index_open(cdp_store_relation(index), AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	int nkeys = second ? 2 : 1;
	ScanKeyData keys[2];
	IndexScanDesc desc;

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	if (second)
		ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(*second));
	desc = cdp_index_beginscan(rel, idx, GetActiveSnapshot(), nkeys);
	index_rescan(desc, keys, nkeys, NULL, 0);
	while (cdp_index_next(desc, ForwardScanDirection, slot))
		row(slot, arg);
	index_endscan(desc);
	ExecDropSingleTupleTableSlot(slot);
	index_close(idx, AccessShareLock);
	table_close(rel, AccessShareLock);
}
