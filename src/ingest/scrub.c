/*
 * src/ingest/scrub.c
 *		cdp.scrub(): files without what was erased.
 *
 * Deleted rows stay in the files until VACUUM, and their bytes until the space
 * is used again; a table that is rewritten has only what is there.  An erasure
 * lists the tables that it changed, with its transaction: one of which a snapshot
 * may still see what it was keeps it through a rewriting, too, and waits.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/procarray.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "segment/chunk.h"
#include "store.h"

PG_FUNCTION_INFO_V1(cdp_scrub);

static CdpPlan due_plan = {
	"SELECT d.tbl, d.xid::text FROM cdp_data.scrub_due d WHERE d.tbl > $1 ORDER BY d.tbl LIMIT 1",
	1,
	{TEXTOID},
	NULL};

static CdpPlan scrubbed_plan = {
	"DELETE FROM cdp_data.scrub_due d WHERE d.tbl = $1 AND d.xid::text = $2",
	2,
	{TEXTOID, TEXTOID},
	NULL};

/* Can no snapshot see what was there before this transaction? */
static bool
is_past(const char *xid, Oid relid)
{
	FullTransactionId full = FullTransactionIdFromU64(strtoull(xid, NULL, 10));
	Relation rel;
	TransactionId oldest;

	/* of another cluster, by a restore; or long ago, by another counter */
	if (!FullTransactionIdPrecedes(full, ReadNextFullTransactionId()) ||
		U64FromFullTransactionId(ReadNextFullTransactionId()) - U64FromFullTransactionId(full) >
			PG_INT32_MAX)
		return true;
	rel = table_open(relid, AccessShareLock);
	oldest = GetOldestNonRemovableTransactionId(rel);
	table_close(rel, AccessShareLock);
	return TransactionIdPrecedes(XidFromFullTransactionId(full), oldest);
}

/* Rewrites the first table after this one; returns its name in that memory, or NULL. */
static char *
scrub_next(const char *after, MemoryContext context)
{
	CdpStore store;
	Datum args[2] = {CStringGetTextDatum(after), (Datum) 0};
	char *table;
	char *xid;
	Oid relid;

	cdp_store_enter(&store);
	/* what steps cancel out is gone from the index when it is folded */
	if (after[0] == '\0')
		(void) cdp_chunk_fold_all();
	if (cdp_store_run(&due_plan, args, NULL, false, -1) == 0)
	{
		cdp_store_leave(&store);
		return NULL;
	}
	table = MemoryContextStrdup(context, cdp_store_text(0, 1));
	xid = cdp_store_text(0, 2);
	args[0] = CStringGetTextDatum(table);
	args[1] = CStringGetTextDatum(xid);
	relid = DatumGetObjectId(DirectFunctionCall1(to_regclass, args[0]));
	if (OidIsValid(relid) && !is_past(xid, relid))
		ereport(WARNING,
				(errmsg("table %s is not rewritten: a transaction may still see what was erased",
						table),
				 errhint("End old transactions, prepared ones and replication slots, and call "
						 "cdp.scrub() again.")));
	else
	{
		if (OidIsValid(relid))
			cdp_rewrite_table(relid);
		cdp_store_run(&scrubbed_plan, args, NULL, false, -1);
	}
	cdp_store_leave(&store);
	return table;
}

/* cdp.scrub(): a transaction a table, for each is locked against everybody. */
Datum
cdp_scrub(PG_FUNCTION_ARGS)
{
	MemoryContext context;
	char *table = "";

	if (fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
		((CallContext *) fcinfo->context)->atomic)
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("cdp.scrub() cannot run inside a transaction block")));
	if (!superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("cdp.scrub() must be called by a superuser")));
	cdp_store_require();
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	context = CurrentMemoryContext;
	if (IsolationUsesXactSnapshot())
		SPI_commit();
	while (table != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		XactIsoLevel = XACT_READ_COMMITTED;
		PushActiveSnapshot(GetTransactionSnapshot());
		table = scrub_next(table, context);
		PopActiveSnapshot();
		SPI_commit();
	}
	SPI_finish();
	PG_RETURN_VOID();
}
