/*
 * src/guc.c
 *		Settings of the extension, alphabetical.
 *
 * No setting weakens consent or rights: cdp.purpose can only narrow what the
 * role's purposes already allow, and cdp.clock is for superusers.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "cdp.h"
#include "guc.h"

char *cdp_guc_purpose = NULL;
uint64 cdp_guc_purpose_stamp = 1;
int cdp_guc_max_message_kb = 1024;
char *cdp_guc_clock = NULL;
int cdp_guc_progress_interval = 10000;
bool cdp_guc_direct_storage = true;
bool cdp_guc_enable_count_pushdown = true;

static void
assign_purpose(const char *newval pg_attribute_unused(),
			   void *extra pg_attribute_unused())
{
	cdp_guc_purpose_stamp++;
}

/*
 * Raises on what is no time, so that no later call has to.  A parallel worker
 * gets its leader's value before it can read times.
 */
static bool
check_clock(char **newval, void **extra pg_attribute_unused(),
			GucSource source pg_attribute_unused())
{
	if (*newval != NULL && **newval != '\0' && IsTransactionState() &&
		!InitializingParallelWorker)
		(void) DirectFunctionCall3(timestamptz_in, CStringGetDatum(*newval),
								   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	return true;
}

void
cdp_guc_define(void)
{
	DefineCustomStringVariable("cdp.clock",
							   "Time that cdp takes for the present, for tests.",
							   "A timestamp with time zone; empty means the clock.",
							   &cdp_guc_clock,
							   "",
							   PGC_SUSET,
							   GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE,
							   check_clock, NULL, NULL);
	DefineCustomBoolVariable("cdp.direct_storage",
							 "Writes rows of cdp's tables without statements where it may.",
							 "Off: by statements always, to compare and to look for errors.",
							 &cdp_guc_direct_storage,
							 true,
							 PGC_SUSET,
							 GUC_NOT_IN_SAMPLE,
							 NULL, NULL, NULL);
	DefineCustomBoolVariable("cdp.enable_count_pushdown",
							 "Answers count(*) of segments from the membership index where it may.",
							 "Off: rows are counted, to compare.",
							 &cdp_guc_enable_count_pushdown,
							 true,
							 PGC_USERSET,
							 GUC_EXPLAIN,
							 NULL, NULL, NULL);
	DefineCustomIntVariable("cdp.max_message_size",
							"Largest message that ingest accepts.",
							"Larger ones are recorded as rejected; 1 kB to 100 MB.",
							&cdp_guc_max_message_kb,
							1024, 1, 102400,
							PGC_SUSET,
							GUC_UNIT_KB,
							NULL, NULL, NULL);
	DefineCustomIntVariable("cdp.progress_interval",
							"Time between two notices of how far a long call has come.",
							"0 turns them off; cdp.connected_components gives them.",
							&cdp_guc_progress_interval,
							10000, 0, INT_MAX,
							PGC_USERSET,
							GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomStringVariable("cdp.purpose",
							   "Purposes this session limits itself to.",
							   "A comma-separated list; only purposes that the role "
							   "is permitted count, empty means all of them.",
							   &cdp_guc_purpose,
							   "",
							   PGC_USERSET,
							   0,
							   NULL, assign_purpose, NULL);
	MarkGUCPrefixReserved("cdp");
}
