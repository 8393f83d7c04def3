/*
 * src/ingest/discover.c
 *		cdp.read_table(): a look at somebody's table for cdp.suggest_mapping().
 *
 * To read a table runs what its owner brought along: casts of its columns'
 * types, functions of its indexes while the query is planned.  Superusers
 * read as the owner, who may do nothing that he could not do by himself;
 * everybody else as himself, for row policies bind him and not the owner.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/jsonb.h"

#include "compat.h"
#include "ingest/attachment.h"
#include "store.h"

PG_FUNCTION_INFO_V1(cdp_read_table);

/* cdp.read_table(tbl, query): the first column of the query, which is jsonb. */
Datum
cdp_read_table(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	char *query = text_to_cstring(PG_GETARG_TEXT_PP(1));
	Oid user;
	Oid reader;
	int sec;
	int level;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	GetUserIdAndSecContext(&user, &sec);
	reader = superuser() ? cdp_table_owner(PG_GETARG_OID(0)) : user;
	SetUserIdAndSecContext(reader,
						   sec | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	level = cdp_store_pin_settings();
	SPI_connect();
	if (SPI_execute(query, true, 0) != SPI_OK_SELECT ||
		SPI_gettypeid(SPI_tuptable->tupdesc, 1) != JSONBOID)
		elog(ERROR, "cdp: could not read a table");
	for (uint64 r = 0; r < SPI_processed; r++)
	{
		bool isnull;
		Datum value = cdp_store_value(r, 1, &isnull);

		tuplestore_putvalues(result->setResult, result->setDesc, &value, &isnull);
	}
	SPI_finish();
	AtEOXact_GUC(false, level);
	SetUserIdAndSecContext(user, sec);
	return (Datum) 0;
}
