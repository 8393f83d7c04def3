/*
 * src/progress.c
 *		Long work under way, for other sessions to see (see progress.h).
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/progress.h"
#include "pgstat.h"
#include "utils/backend_progress.h"
#include "utils/backend_status.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "cdp.h"
#include "compat.h"
#include "progress.h"
#include "store.h"

/*
 * Counters: the rows of a COPY, and some that COPY leaves alone.  The view
 * knows them as param3 and param11 to param13.
 */
#define COUNTER_DONE PROGRESS_COPY_TUPLES_PROCESSED
#define COUNTER_WORK 10
#define COUNTER_PHASE 11
#define COUNTER_TOTAL 12

StaticAssertDecl(lengthof(((CdpReported *) NULL)->counters) == PGSTAT_NUM_PROGRESS_PARAM,
				 "as many counters as the server has");

/* The relation that marks entries of ours; InvalidOid before cdp.init(). */
static Oid
marker(void)
{
	Oid schema = get_namespace_oid(CDP_SCHEMA, true);

	return OidIsValid(schema) ? get_relname_relid("progress", schema) : InvalidOid;
}

static void
report(CdpProgress *progress, Oid relation)
{
	const int index[4] = {COUNTER_DONE, COUNTER_WORK, COUNTER_PHASE, COUNTER_TOTAL};
	const int64 value[4] = {progress->done, progress->work, progress->phase, progress->total};

	pgstat_progress_start_command(PROGRESS_COMMAND_COPY, relation);
	pgstat_progress_update_multi_param(lengthof(index), index, value);
	progress->shown = true;
}

/* Takes the place for this work, unless somebody has it. */
void
cdp_progress_start(CdpProgress *progress, CdpWork work, int64 total)
{
	Oid relation;

	memset(progress, 0, sizeof(*progress));
	progress->work = work;
	progress->total = total;
	if (MyBEEntry == NULL || MyBEEntry->st_progress_command != PROGRESS_COMMAND_INVALID)
		return;
	relation = marker();
	if (OidIsValid(relation))
		report(progress, relation);
}

/* Is the entry still this work's?  After an error in between it is taken again. */
static bool
is_ours(CdpProgress *progress)
{
	if (!progress->shown || MyBEEntry == NULL)
		return false;
	if (MyBEEntry->st_progress_command == PROGRESS_COMMAND_INVALID)
		report(progress, marker());
	return MyBEEntry->st_progress_command == PROGRESS_COMMAND_COPY &&
		   MyBEEntry->st_progress_param[COUNTER_WORK] == progress->work;
}

/* How far the work is. */
void
cdp_progress_set(CdpProgress *progress, int64 done)
{
	progress->done = done;
	if (is_ours(progress))
		pgstat_progress_update_param(COUNTER_DONE, done);
}

/* How much there is to do, when that is known later than the start; 0: unknown. */
void
cdp_progress_total(CdpProgress *progress, int64 total)
{
	progress->total = total;
	if (is_ours(progress))
		pgstat_progress_update_param(COUNTER_TOTAL, total);
}

/* What is being done; words that the view does not know are not shown. */
void
cdp_progress_phase(CdpProgress *progress, const char *phase)
{
	static const char *const words[] = {"reading", "numbering", "joining",
										"labelling", "sorting", "returning"};

	progress->phase = 0;
	for (int i = 0; i < (int) lengthof(words); i++)
		if (strcmp(words[i], phase) == 0)
			progress->phase = i + 1;
	if (is_ours(progress))
		pgstat_progress_update_param(COUNTER_PHASE, progress->phase);
}

/* Gives the place back. */
void
cdp_progress_end(CdpProgress *progress)
{
	if (progress->shown && MyBEEntry != NULL &&
		MyBEEntry->st_progress_command == PROGRESS_COMMAND_COPY &&
		MyBEEntry->st_progress_param[COUNTER_WORK] == progress->work)
		pgstat_progress_end_command();
	progress->shown = false;
}

/* Rows of a table of cdp_data as the planner knows them, 0 if it does not. */
int64
cdp_progress_estimate(const char *table)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(cdp_store_relation(table)));
	float4 rows = 0;

	if (HeapTupleIsValid(tuple))
	{
		rows = ((Form_pg_class) GETSTRUCT(tuple))->reltuples;
		ReleaseSysCache(tuple);
	}
	return rows > 0 ? (int64) rows : 0;
}

/* Keeps what the session reports: the COPY around a trigger, say. */
void
cdp_progress_save(CdpReported *saved)
{
	saved->command = PROGRESS_COMMAND_INVALID;
	if (MyBEEntry == NULL)
		return;
	saved->command = MyBEEntry->st_progress_command;
	saved->relation = MyBEEntry->st_progress_command_target;
	memcpy(saved->counters, (const void *) MyBEEntry->st_progress_param, sizeof(saved->counters));
}

/* Reports it again if an error that was caught has cleared it. */
void
cdp_progress_restore(const CdpReported *saved)
{
	int index[PGSTAT_NUM_PROGRESS_PARAM];

	if (saved->command == PROGRESS_COMMAND_INVALID || MyBEEntry == NULL ||
		MyBEEntry->st_progress_command != PROGRESS_COMMAND_INVALID)
		return;
	for (int i = 0; i < PGSTAT_NUM_PROGRESS_PARAM; i++)
		index[i] = i;
	pgstat_progress_start_command((ProgressCommandType) saved->command, saved->relation);
	pgstat_progress_update_multi_param(PGSTAT_NUM_PROGRESS_PARAM, index, saved->counters);
}
