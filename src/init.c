/*
 * src/init.c
 *		cdp.version().
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"

#include "cdp.h"
#include "compat.h"
#include "store.h"

PG_FUNCTION_INFO_V1(cdp_version);

/*
 * Version of the tables, or -1 before cdp.init().  Read directly: anybody may
 * ask, and the version must be told even when it does not fit the library.
 */
static int
data_version(void)
{
	Relation rel;
	TableScanDesc scan;
	TupleTableSlot *slot;
	int version = -1;

	if (!cdp_store_exists())
		return -1;
	rel = table_open(cdp_store_relation("installation"), AccessShareLock);
	scan = table_beginscan(rel, GetActiveSnapshot(), 0, NULL);
	slot = table_slot_create(rel, NULL);
	if (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		bool isnull;

		version = DatumGetInt32(slot_getattr(slot, 2, &isnull));
	}
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	return version;
}

/* cdp.version() */
Datum
cdp_version(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum values[2];
	bool nulls[2] = {false, false};
	int version;

	InitMaterializedSRF(fcinfo, 0);
	version = data_version();
	values[0] = CStringGetTextDatum(CDP_VERSION);
	nulls[1] = version < 0;
	values[1] = CStringGetTextDatum(psprintf("%d", version));
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	return (Datum) 0;
}
