/*
 * src/ingest/replay.c
 *		Law L2, checked and restored: cdp.verify(), cdp.rebuild(),
 *		cdp.rebuild_all().
 *
 * To compare, people are read by hundreds, each hundred with one snapshot: no
 * lock is waited for, none but that of a writer on the table is held, and
 * nothing is written.  Whoever is found different is rebuilt under her lock,
 * in a transaction of her own: who is linked to her is resolved again, her
 * state is folded from her events, and consent and segments follow.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/pg_prng.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "compat.h"
#include "guc.h"
#include "identity/check.h"
#include "ingest/ingest.h"
#include "profile/verify.h"
#include "store.h"

/* People compared with one snapshot. */
#define BATCH 200

PG_FUNCTION_INFO_V1(cdp_verify);
PG_FUNCTION_INFO_V1(cdp_rebuild);
PG_FUNCTION_INFO_V1(cdp_rebuild_all);

static CdpPlan next_plan = {
	"(SELECT s.profile_id FROM cdp_data.profile_state s WHERE s.profile_id > $1 "
	"  ORDER BY s.profile_id LIMIT $2) "
	/* somebody may have deleted it */
	"UNION (SELECT DISTINCT n.profile_id FROM cdp_data.node n WHERE n.profile_id > $1 "
	"  ORDER BY n.profile_id LIMIT $2) "
	"ORDER BY 1 LIMIT $2",
	2,
	{INT8OID, INT8OID},
	NULL};

static CdpPlan ords_plan = {
	"SELECT s.profile_id, s.ord FROM cdp_data.profile_state s WHERE s.profile_id = ANY ($1)",
	1,
	{INT8ARRAYOID},
	NULL};

static CdpPlan begin_plan = {
	"WITH given_up AS (UPDATE cdp_data.task SET state = 'failed', error = 'started again', "
	"    updated_at = $2 WHERE kind = 'rebuild' AND state IN ('waiting', 'running') AND $1 "
	"  RETURNING task_id) "
	"INSERT INTO cdp_data.task (kind, total_rows) SELECT 'rebuild', "
	"  greatest(c.reltuples, 0)::bigint FROM pg_catalog.pg_class c "
	"WHERE c.oid = 'cdp_data.profile_state'::regclass "
	"AND ($1 OR NOT EXISTS (SELECT FROM cdp_data.task t WHERE t.kind = 'rebuild' "
	"  AND t.state IN ('waiting', 'running')))",
	2,
	{BOOLOID, TIMESTAMPTZOID},
	NULL};

static CdpPlan take_plan = {
	"SELECT t.task_id, coalesce((t.position ->> 'after')::bigint, 0), "
	"  coalesce((t.position ->> 'changed')::bigint, 0), t.done_rows "
	"FROM cdp_data.task t WHERE t.kind = 'rebuild' AND t.state IN ('waiting', 'running') "
	"ORDER BY t.task_id LIMIT 1 FOR UPDATE SKIP LOCKED",
	0,
	{0},
	NULL};

static CdpPlan progress_plan = {
	"UPDATE cdp_data.task t SET state = $2, done_rows = t.done_rows + $4, "
	"  position = jsonb_build_object('after', $3, 'changed', $5), "
	"  error = coalesce($6, t.error), updated_at = $7 WHERE t.task_id = $1",
	7,
	{INT4OID, TEXTOID, INT8OID, INT8OID, INT8OID, TEXTOID, TIMESTAMPTZOID},
	NULL};

/* One look at some people. */
typedef struct Look
{
	int64 after; /* in: whom to begin behind; out: the last one looked at */
	int64 only; /* look at her alone; 0: at everybody */
	double sample; /* share of people to look at */
	HTAB *seen;
	CdpFound to;
	int n; /* out: people there were */
} Look;

static HTAB *
make_seen(void)
{
	HASHCTL ctl = {0};

	ctl.keysize = sizeof(int64);
	ctl.entrysize = sizeof(int64);
	ctl.hcxt = CurrentMemoryContext;
	return hash_create("cdp verified people", 1024, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* Compares the next people; to be frozen. */
static void
look(void *arg)
{
	Look *l = arg;
	Datum args[2] = {Int64GetDatum(l->after), Int64GetDatum(BATCH)};
	int64 ids[BATCH];
	int n = 0;

	if (l->only != 0)
	{
		l->n = 1;
		ids[n++] = l->only;
	}
	else
	{
		l->n = cdp_store_run(&next_plan, args, NULL, true, -1);
		for (int r = 0; r < l->n; r++)
		{
			l->after = cdp_store_int64(r, 1);
			if (l->sample >= 1.0 || pg_prng_double(&pg_global_prng_state) < l->sample)
				ids[n++] = l->after;
		}
		SPI_freetuptable(SPI_tuptable);
	}
	if (n == 0)
		return;
	cdp_identity_check(ids, n, l->seen, &l->to);
	cdp_profile_check(ids, n, &l->to);
}

/* The same; what it needs on the way is given back. */
static void
look_apart(void *arg)
{
	SPI_connect();
	look(arg);
	SPI_finish();
}

static void
look_for_strays(void *arg)
{
	cdp_profile_check_strays(&((Look *) arg)->to);
}

/*
 * Definitions stay as they are until the transaction ends: what they mean for
 * everybody is written in one transaction, which is there or is not.
 */
static void
keep_definitions(void)
{
	LockRelationOid(cdp_store_relation("profile_state"), RowExclusiveLock);
}

static void
put_row(void *arg, int64 profile_id, const char *what, const char *live, const char *recomputed)
{
	ReturnSetInfo *result = arg;
	Datum values[4] = {Int64GetDatum(profile_id), CStringGetTextDatum(what)};
	bool nulls[4] = {profile_id == 0, false, live == NULL, recomputed == NULL};

	if (live)
		values[2] = CStringGetTextDatum(live);
	if (recomputed)
		values[3] = CStringGetTextDatum(recomputed);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* Who is meant by an id: a person, maybe one whose row is missing; 0: nobody. */
static int64
whom(int64 profile_id)
{
	int64 id = cdp_graph_canonical(profile_id, false);

	return id != 0 ? id : cdp_profile_has_nodes(profile_id) ? profile_id :
															  0;
}

/* cdp.verify(sample, who) */
Datum
cdp_verify(PG_FUNCTION_ARGS)
{
	CdpStore store;
	Look l = {.sample = PG_ARGISNULL(0) ? -1 : PG_GETARG_FLOAT8(0)};
	TimestampTz told = GetCurrentTimestamp();
	int64 people = 0;

	if (!(l.sample >= 0.0 && l.sample <= 1.0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("sample must be from 0 to 1"),
				 errhint("It is the share of people to look at: 0.01 looks at each hundredth.")));
	InitMaterializedSRF(fcinfo, 0);
	l.to.found = put_row;
	l.to.arg = fcinfo->resultinfo;
	cdp_store_enter(&store);
	cdp_require_steward(store.caller, "verify people");
	keep_definitions();
	l.seen = make_seen();
	if (!PG_ARGISNULL(1))
	{
		l.only = whom(PG_GETARG_INT64(1));
		if (l.only == 0)
			ereport(ERROR,
					(errcode(ERRCODE_NO_DATA_FOUND),
					 errmsg("there is no profile " INT64_FORMAT, PG_GETARG_INT64(1))));
	}
	do
	{
		CHECK_FOR_INTERRUPTS();
		cdp_store_freeze(look_apart, &l);
		people += l.n;
		if (cdp_guc_progress_interval > 0 &&
			GetCurrentTimestamp() - told > cdp_guc_progress_interval * INT64CONST(1000))
		{
			told = GetCurrentTimestamp();
			ereport(NOTICE, (errmsg("verified " INT64_FORMAT " people, " INT64_FORMAT
									" differences",
									people, l.to.n)));
		}
	} while (l.only == 0 && l.n == BATCH);
	if (l.only == 0 && l.sample >= 1.0)
		cdp_store_freeze(look_for_strays, &l);
	cdp_store_leave(&store);
	return (Datum) 0;
}

/* People found different, each once, in the order they were found. */
typedef struct Different
{
	int64 *ids;
	int n;
	int room;
	HTAB *known;
} Different;

static void
note_person(void *arg, int64 profile_id, const char *what, const char *live,
			const char *recomputed)
{
	Different *d = arg;
	bool found;

	if (profile_id == 0)
		return;
	hash_search(d->known, &profile_id, HASH_ENTER, &found);
	if (found)
		return;
	if (d->n == d->room)
	{
		d->room = Max(64, d->room * 2);
		d->ids = d->ids ? repalloc(d->ids, sizeof(int64) * d->room) :
						  palloc(sizeof(int64) * d->room);
	}
	d->ids[d->n++] = profile_id;
}

static int
compare_int64(const void *a, const void *b)
{
	int64 x = *(const int64 *) a;
	int64 y = *(const int64 *) b;

	return (x > y) - (x < y);
}

typedef struct Repair
{
	int64 profile_id;
	Oid caller;
	int64 *restored; /* people whose rows were put back */
	int nrestored;
} Repair;

/* Who cannot be locked has no state: puts it back. */
static void
restore_states(const int64 *ids, int n, void *arg)
{
	Repair *r = arg;

	r->restored = cdp_profile_restore_states(ids, n, r->restored, &r->nrestored);
}

/* Before people are resolved again, with their locks: what that relies on. */
static bool
repair_sources(CdpGraph *graph, void *arg)
{
	Repair *r = arg;
	int64 *ids = palloc(sizeof(int64) * Max(graph->nlocked, 1));
	Datum args[1];
	int rows;

	for (int i = 0; i < graph->nlocked; i++)
		ids[i] = graph->locked[i].profile_id;
	r->restored = cdp_profile_restore_rows(ids, graph->nlocked, r->restored, &r->nrestored);
	cdp_profile_repair_sources(ids, graph->nlocked);
	args[0] = cdp_array_int64(ids, graph->nlocked);
	rows = cdp_store_run(&ords_plan, args, NULL, false, -1);
	for (int r = 0; r < rows; r++)
		cdp_graph_locked(graph, cdp_store_int64(r, 1))->ord = (int32) cdp_store_int64(r, 2);
	return true;
}

/* Makes a person, and whoever is linked to her, what she should be. */
static void
repair(void *arg)
{
	Repair *r = arg;
	CdpGraph graph = {.witness = repair_sources, .witness_arg = r, .absent = restore_states};
	int64 *ids;
	int nbefore;
	int64 *before = cdp_metric_nodes(r->profile_id, &nbefore);
	int nnow;
	int64 *now;

	restore_states(&r->profile_id, 1, r);
	cdp_graph_reresolve(&graph, &r->profile_id, 1);
	ids = palloc(sizeof(int64) * Max(graph.nlocked, 1));
	for (int i = 0; i < graph.nlocked; i++)
	{
		CdpLocked *locked = &graph.locked[i];

		ids[i] = locked->profile_id;
		if (locked->profile_id == r->profile_id)
			locked->rebuild = locked->reshaped = true;
		for (int k = 0; k < r->nrestored; k++)
			if (locked->profile_id == r->restored[k])
				locked->rebuild = locked->reshaped = true;
	}
	now = cdp_metric_nodes(r->profile_id, &nnow);
	cdp_metric_repair(before, nbefore, ids, graph.nlocked);
	cdp_metric_repair(now, nnow, ids, graph.nlocked);
	cdp_ingest_settle(&graph, r->caller);
	cdp_profile_repair_mirrors(ids, graph.nlocked);
}

/* cdp.rebuild(profile_id): was anything to be changed? */
Datum
cdp_rebuild(PG_FUNCTION_ARGS)
{
	CdpStore store;
	Different d = {0};
	Look l = {0};
	Repair r = {0};

	cdp_store_enter(&store);
	cdp_require_steward(store.caller, "rebuild people");
	keep_definitions();
	l.only = whom(PG_GETARG_INT64(0));
	if (l.only == 0)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("there is no profile " INT64_FORMAT, PG_GETARG_INT64(0))));
	d.known = make_seen();
	l.seen = make_seen();
	l.to.found = note_person;
	l.to.arg = &d;
	cdp_store_freeze(look, &l);
	r.profile_id = l.only;
	r.caller = store.caller;
	if (d.n > 0)
		repair(&r);
	cdp_store_leave(&store);
	PG_RETURN_BOOL(d.n > 0);
}

static bool
is_too_large(int sqlstate)
{
	return sqlstate == ERRCODE_PROGRAM_LIMIT_EXCEEDED;
}

/* A run through everybody. */
typedef struct Run
{
	int32 task;
	int64 after;
	int64 done;
	int64 changed;
	bool over;
	MemoryContext context; /* of the list, across transactions */
	Different different; /* people of the last look still to be rebuilt */
	int next;
} Run;

/* Looks at the next people, or rebuilds one who was found different; false: over. */
static bool
step(Run *run)
{
	CdpStore store;
	Datum args[7];
	char nulls[8] = "     n ";
	const char *state = "running";
	int64 looked = 0;

	cdp_store_enter(&store);
	cdp_require_steward(store.caller, "rebuild people");
	keep_definitions();
	if (cdp_store_run(&take_plan, NULL, NULL, false, -1) == 0)
	{
		cdp_store_leave(&store);
		return false;
	}
	run->task = (int32) cdp_store_int64(0, 1);
	run->after = Max(run->after, cdp_store_int64(0, 2));
	run->changed = cdp_store_int64(0, 3);
	run->done = cdp_store_int64(0, 4);
	if (run->next < run->different.n)
	{
		Repair r = {.profile_id = whom(run->different.ids[run->next++]), .caller = store.caller};
		ErrorData *error = r.profile_id == 0 ? NULL : cdp_store_try(repair, &r, is_too_large);

		if (error)
		{
			args[5] = CStringGetTextDatum(psprintf("profile " INT64_FORMAT ": %s", r.profile_id,
												   error->message));
			nulls[5] = ' ';
		}
		run->changed++;
	}
	else
	{
		Look l = {.after = run->after, .sample = 1.0};
		MemoryContext old;

		MemoryContextReset(run->context);
		old = MemoryContextSwitchTo(run->context);
		memset(&run->different, 0, sizeof(run->different));
		run->next = 0;
		run->different.known = make_seen();
		MemoryContextSwitchTo(old);
		l.seen = make_seen();
		l.to.found = note_person;
		l.to.arg = &run->different;
		/* the list must outlive the transaction */
		run->different.room = 64;
		run->different.ids = MemoryContextAlloc(run->context, sizeof(int64) * 64);
		cdp_store_freeze(look, &l);
		qsort(run->different.ids, run->different.n, sizeof(int64), compare_int64);
		looked = l.n;
		run->after = l.after;
		run->over = l.n < BATCH;
	}
	if (run->over && run->next == run->different.n)
	{
		cdp_profile_repair_strays();
		state = "done";
	}
	run->done += looked;
	args[0] = Int32GetDatum(run->task);
	args[1] = CStringGetTextDatum(state);
	/* whom we still have to rebuild is found again by whoever goes on */
	args[2] = Int64GetDatum(run->next < run->different.n ?
								Min(run->different.ids[run->next] - 1, run->after) :
								run->after);
	args[3] = Int64GetDatum(looked);
	args[4] = Int64GetDatum(run->changed);
	args[6] = TimestampTzGetDatum(cdp_now());
	cdp_store_run(&progress_plan, args, nulls, false, 1);
	cdp_store_leave(&store);
	return strcmp(state, "done") != 0;
}

static void
begin(bool again)
{
	CdpStore store;
	Datum args[2] = {BoolGetDatum(again)};

	cdp_store_enter(&store);
	cdp_require_steward(store.caller, "rebuild people");
	args[1] = TimestampTzGetDatum(cdp_now());
	cdp_store_run(&begin_plan, args, NULL, false, -1);
	cdp_store_leave(&store);
}

/*
 * CALL cdp.rebuild_all(restart): step by step, each committed.  Inside a
 * transaction block it cannot commit and does all in one.
 */
Datum
cdp_rebuild_all(PG_FUNCTION_ARGS)
{
	bool atomic = fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
				  ((CallContext *) fcinfo->context)->atomic;
	bool again = !PG_ARGISNULL(0) && PG_GETARG_BOOL(0);
	Run run = {0};
	MemoryContext context;
	TimestampTz told = GetCurrentTimestamp();
	bool more = true;

	cdp_store_require();
	SPI_connect_ext(atomic ? 0 : SPI_OPT_NONATOMIC);
	context = AllocSetContextCreate(CurrentMemoryContext, "cdp rebuild step",
									ALLOCSET_DEFAULT_SIZES);
	run.context = AllocSetContextCreate(CurrentMemoryContext, "cdp rebuild list",
										ALLOCSET_SMALL_SIZES);
	PushActiveSnapshot(GetTransactionSnapshot());
	begin(again);
	PopActiveSnapshot();
	while (more)
	{
		MemoryContext old;

		if (!atomic)
			SPI_commit();
		CHECK_FOR_INTERRUPTS();
		old = MemoryContextSwitchTo(context);
		PushActiveSnapshot(GetTransactionSnapshot());
		more = step(&run);
		PopActiveSnapshot();
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
		if (cdp_guc_progress_interval > 0 &&
			GetCurrentTimestamp() - told > cdp_guc_progress_interval * INT64CONST(1000))
		{
			told = GetCurrentTimestamp();
			ereport(NOTICE, (errmsg("looked at " INT64_FORMAT " people, rebuilt " INT64_FORMAT,
									run.done, run.changed)));
		}
	}
	if (!atomic)
		SPI_commit();
	if (run.over && run.next == run.different.n)
		ereport(NOTICE, (errmsg("looked at " INT64_FORMAT " people, rebuilt " INT64_FORMAT,
								run.done, run.changed)));
	else
		ereport(NOTICE, (errmsg("another session is rebuilding people"),
						 errhint("See cdp.tasks.")));
	SPI_finish();
	PG_RETURN_VOID();
}
