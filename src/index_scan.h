/*
 * src/index_scan.h
 *		The next row of an index scan, whatever memory context is current.
 *
 * A B-tree scan makes the list of entries that it found dead when it meets the
 * first one, and the arrays of its keys when it looks for the first row, both in
 * the current context, and frees them when it ends.  A scan that is kept while
 * contexts come and go around it would free what is freed already.
 */
#ifndef CDP_INDEX_SCAN_H
#define CDP_INDEX_SCAN_H

#include "access/genam.h"
#include "access/relscan.h"
#include "executor/tuptable.h"
#include "utils/memutils.h"

static inline bool
cdp_index_next(IndexScanDesc scan, ScanDirection direction, TupleTableSlot *slot)
{
	MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(scan));
	bool found = index_getnext_slot(scan, direction, slot);

	MemoryContextSwitchTo(old);
	return found;
}

#endif /* CDP_INDEX_SCAN_H */
