/*
 * src/segment/segment.c
 *		Membership: evaluated for the people a batch changed, in its own
 *		transaction.
 *
 * Truth is profile_state.segments, the ids of a person's segments in
 * ascending order; cdp_data.segment_member is the same the other way round.
 * All rules are one SELECT over cdp_data.profile_rule, which yields the new
 * array; only people whose array changed cost more.
 *
 * A rule that raises on somebody's data makes her no member, is recorded once
 * and never fails the event: the SELECT runs in a subtransaction, and when it
 * fails the rules are tried one by one.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "compat.h"
#include "progress.h"
#include "segment/chunk.h"
#include "segment/segment.h"
#include "store.h"

PG_FUNCTION_INFO_V1(cdp_build_segment);

typedef struct Rule
{
	int32 id;
	char *predicate; /* canonical, columns qualified by p */
	CdpPlan plan; /* this rule for one person */
} Rule;

static struct
{
	uint64 generation;
	MemoryContext context;
	int n;
	Rule *rules; /* ascending by id */
	CdpPlan changed; /* people whose array changes */
} config;

/* A change of a person's segments. */
typedef struct Flip
{
	int64 profile_id;
	int32 ord;
	ArrayType *before;
	ArrayType *after;
} Flip;

static CdpPlan mirror_plan = {
	"UPDATE cdp_data.profile_state s SET segments = u.segments::int[], rev = s.rev + 1 "
	"FROM unnest($1, $2) u (profile_id, segments) WHERE s.profile_id = ANY (ARRAY[u.profile_id])",
	2,
	{INT8ARRAYOID, TEXTARRAYOID},
	NULL};

static CdpPlan enter_plan = {
	"WITH came AS (INSERT INTO cdp_data.segment_member (segment_id, ord, profile_id, since) "
	"SELECT u.segment_id, u.ord, u.profile_id, $4 FROM unnest($1, $2, $3) u (segment_id, "
	"ord, profile_id) "
	"ON CONFLICT DO NOTHING RETURNING segment_id, ord) " CDP_CHUNK_STEPS("came", "1"),
	4,
	{INT4ARRAYOID, INT4ARRAYOID, INT8ARRAYOID, TIMESTAMPTZOID},
	NULL};

static CdpPlan leave_plan = {
	"WITH gone AS (DELETE FROM cdp_data.segment_member m USING unnest($1, $2) u (segment_id, "
	"ord) WHERE m.segment_id = ANY (ARRAY[u.segment_id]) AND m.ord = ANY (ARRAY[u.ord]) "
	"RETURNING m.segment_id, m.ord) " CDP_CHUNK_STEPS("gone", "-1"),
	2,
	{INT4ARRAYOID, INT4ARRAYOID},
	NULL};

/* What the losers were in, the winners are in until evaluated anew. */
static CdpPlan inherit_plan = {
	"WITH more AS (SELECT o.segment_id, s.ord, s.profile_id, min(o.since) AS since "
	"FROM unnest($1, $2) u (winner, loser) "
	"JOIN cdp_data.profile_state s ON s.profile_id = ANY (ARRAY[u.winner]) "
	"JOIN cdp_data.segment_member o ON o.profile_id = ANY (ARRAY[u.loser]) "
	"GROUP BY o.segment_id, s.ord, s.profile_id), "
	"came AS (INSERT INTO cdp_data.segment_member AS m (segment_id, ord, profile_id, since) "
	"SELECT * FROM more "
	"ON CONFLICT (segment_id, ord) DO UPDATE SET since = LEAST(m.since, excluded.since)) " CDP_CHUNK_STEPS(CDP_CHUNK_FRESH("more"), "1"),
	2,
	{INT8ARRAYOID, INT8ARRAYOID},
	NULL};

/* What both were in, should they come apart again. */
static CdpPlan save_plan = {
	"INSERT INTO cdp_data.segment_before (loser, profile_id, segment_id, since) "
	"SELECT u.loser, m.profile_id, m.segment_id, m.since FROM unnest($1, $2) u (winner, loser) "
	"CROSS JOIN LATERAL (SELECT * FROM cdp_data.segment_member m "
	"  WHERE m.profile_id = ANY (ARRAY[u.winner, u.loser]) OFFSET 0) m "
	"ON CONFLICT DO NOTHING",
	2,
	{INT8ARRAYOID, INT8ARRAYOID},
	NULL};

static CdpPlan return_plan = {
	"WITH more AS (SELECT b.segment_id, s.ord, s.profile_id, min(b.since) AS since "
	"FROM unnest($1) u (loser) "
	"CROSS JOIN LATERAL (SELECT * FROM cdp_data.segment_before b "
	"  WHERE b.loser = u.loser OFFSET 0) b "
	"JOIN cdp_data.profile_state s ON s.profile_id = ANY (ARRAY[b.profile_id]) "
	"WHERE b.profile_id = ANY ($1 || $2) "
	"  AND EXISTS (SELECT FROM cdp_data.segment g WHERE g.segment_id = b.segment_id) "
	"GROUP BY b.segment_id, s.ord, s.profile_id), "
	"came AS (INSERT INTO cdp_data.segment_member (segment_id, ord, profile_id, since) "
	"SELECT * FROM more "
	"ON CONFLICT (segment_id, ord) DO UPDATE SET since = excluded.since) " CDP_CHUNK_STEPS(CDP_CHUNK_FRESH("more"), "1"),
	2,
	{INT8ARRAYOID, INT8ARRAYOID},
	NULL};

/*
 * What somebody is in only because of who left her.  If she is in it by
 * herself, evaluating finds that, as of now.
 */
static CdpPlan give_back_plan = {
	"WITH gone AS (DELETE FROM cdp_data.segment_member m USING cdp_data.segment_before b "
	"WHERE b.loser = ANY ($1) AND b.profile_id = b.loser AND m.profile_id = ANY ($2) "
	"  AND m.segment_id = b.segment_id AND m.since = b.since "
	"  AND NOT EXISTS (SELECT FROM cdp_data.segment_before own WHERE own.loser = b.loser "
	"    AND own.profile_id = m.profile_id AND own.segment_id = m.segment_id) "
	"RETURNING m.segment_id, m.ord) " CDP_CHUNK_STEPS("gone", "-1"),
	2,
	{INT8ARRAYOID, INT8ARRAYOID},
	NULL};

static CdpPlan reflect_plan = {
	"UPDATE cdp_data.profile_state s SET segments = ARRAY(SELECT m.segment_id "
	"  FROM cdp_data.segment_member m WHERE m.profile_id = s.profile_id ORDER BY 1) "
	"WHERE s.profile_id = ANY ($1 || $2)",
	2,
	{INT8ARRAYOID, INT8ARRAYOID},
	NULL};

static CdpPlan forget_plan = {
	"DELETE FROM cdp_data.segment_before b WHERE b.loser = ANY ($1)",
	1,
	{INT8ARRAYOID},
	NULL};

static CdpPlan disown_plan = {
	"WITH gone AS (DELETE FROM cdp_data.segment_member m WHERE m.profile_id = ANY ($1) "
	"RETURNING m.segment_id, m.ord) " CDP_CHUNK_STEPS("gone", "-1"),
	1,
	{INT8ARRAYOID},
	NULL};

static CdpPlan error_plan = {
	"INSERT INTO cdp_data.segment_error (segment_id, last_error, at) VALUES ($1, $2, $3) "
	"ON CONFLICT (segment_id) DO NOTHING",
	3,
	{INT4OID, TEXTOID, TIMESTAMPTZOID},
	NULL};

static CdpPlan state_plan = {
	"SELECT s.profile_id, s.ord, s.segments FROM cdp_data.profile_state s "
	"WHERE s.profile_id = ANY ($1)",
	1,
	{INT8ARRAYOID},
	NULL};

static void
forget(CdpPlan *plan)
{
	if (plan->plan)
		SPI_freeplan(plan->plan);
	memset(plan, 0, sizeof(*plan));
}

static void
load_rules(void)
{
	while (config.generation != cdp_store_generation())
	{
		uint64 generation = cdp_store_generation();
		CdpResult saved = cdp_store_save_result();
		int n;
		StringInfoData sql;
		MemoryContext old;

		for (int i = 0; i < config.n; i++)
			forget(&config.rules[i].plan);
		forget(&config.changed);
		config.n = 0;
		config.generation = 0;
		if (config.context == NULL)
			config.context = AllocSetContextCreate(CacheMemoryContext,
												   "cdp segments",
												   ALLOCSET_SMALL_SIZES);
		MemoryContextReset(config.context);
		n = cdp_store_run_latest("SELECT segment_id, predicate FROM cdp_data.segment ORDER "
								 "BY segment_id");
		old = MemoryContextSwitchTo(config.context);
		config.rules = palloc0(sizeof(Rule) * Max(n, 1));
		initStringInfo(&sql);
		appendStringInfoString(&sql,
							   "SELECT x.profile_id, x.ord, x.segments, x.now FROM ("
							   "SELECT s.profile_id, s.ord, s.segments, array_remove(ARRAY[");
		for (int i = 0; i < n; i++)
		{
			Rule *rule = &config.rules[i];
			StringInfoData one;

			rule->id = (int32) cdp_store_int64(i, 1);
			rule->predicate = cdp_store_text(i, 2);
			appendStringInfo(&sql, "%sCASE WHEN (%s) THEN %d END",
							 i ? ", " : "", rule->predicate, rule->id);
			initStringInfo(&one);
			appendStringInfo(&one, "SELECT 1 FROM cdp_data.profile_rule p WHERE p.profile_id "
								   "= $1 AND (%s)",
							 rule->predicate);
			rule->plan.sql = one.data;
			rule->plan.nargs = 1;
			rule->plan.argtypes[0] = INT8OID;
		}
		appendStringInfoString(&sql,
							   "]::int[], NULL) AS now FROM cdp_data.profile_state s "
							   "JOIN cdp_data.profile_rule p ON p.profile_id = s.profile_id "
							   "WHERE s.profile_id = ANY ($1)) x WHERE x.now <> x.segments "
							   "ORDER BY x.profile_id");
		MemoryContextSwitchTo(old);
		config.changed.sql = sql.data;
		config.changed.nargs = 1;
		config.changed.argtypes[0] = INT8ARRAYOID;
		cdp_store_restore_result(saved);
		config.n = n;
		config.generation = generation;
	}
}

/*
 * Errors that are the rule's fault, or its data's; all others (cancel,
 * deadlock, serialization, resources, internal) are not ours to swallow.
 */
static bool
is_rule_error(int sqlstate)
{
	switch (ERRCODE_TO_CATEGORY(sqlstate))
	{
		case ERRCODE_DATA_EXCEPTION:
		case ERRCODE_CARDINALITY_VIOLATION:
		case ERRCODE_PROGRAM_LIMIT_EXCEEDED: /* repeat(x, 2000000000) */
		case ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION:
		case ERRCODE_FEATURE_NOT_SUPPORTED:
			return true;
		default:
			return false;
	}
}

typedef struct Evaluation
{
	CdpPlan *plan;
	Datum *args;
	int rows;
} Evaluation;

static void
evaluate(void *arg)
{
	Evaluation *e = arg;

	e->rows = cdp_store_run(e->plan, e->args, NULL, false, -1);
}

/*
 * Runs a rule's statement.  Returns the number of rows, or -1 with *error if
 * the rule raised.
 */
static int
run_guarded(CdpPlan *plan, Datum *args, ErrorData **error)
{
	Evaluation e = {plan, args, -1};

	*error = cdp_store_try(evaluate, &e, is_rule_error);
	return *error ? -1 : e.rows;
}

/*
 * Keeps the first error of a rule.  Its state only: a message such as
 * "invalid input syntax for type integer: ..." quotes the person's data.
 */
static void
record_error(int32 segment_id, const ErrorData *edata)
{
	Datum args[3];

	args[0] = Int32GetDatum(segment_id);
	args[1] = CStringGetTextDatum(psprintf("the predicate raised SQLSTATE %s for at least "
										   "one profile, which is therefore no member",
										   unpack_sql_state(edata->sqlerrcode)));
	args[2] = TimestampTzGetDatum(cdp_now());
	cdp_store_run(&error_plan, args, NULL, false, -1);
}

static char *
array_text(ArrayType *array)
{
	int32 *v = (int32 *) ARR_DATA_PTR(array);
	int n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoChar(&text, '{');
	for (int i = 0; i < n; i++)
		appendStringInfo(&text, "%s%d", i ? "," : "", v[i]);
	appendStringInfoChar(&text, '}');
	return text.data;
}

/*
 * The slow way, when some rule raises for somebody: each rule, each person.
 * Who only looks records no error.
 */
static int
evaluate_one_by_one(const int64 *profiles, int n, Flip **flips)
{
	Datum args[1];
	int rows;
	Flip *people;
	ErrorData **errors;
	int kept = 0;

	args[0] = cdp_array_int64(profiles, n);
	rows = cdp_store_run(&state_plan, args, NULL, false, -1);
	people = palloc0(sizeof(Flip) * Max(rows, 1));
	for (int r = 0; r < rows; r++)
	{
		bool isnull;

		people[r].profile_id = cdp_store_int64(r, 1);
		people[r].ord = (int32) cdp_store_int64(r, 2);
		people[r].before = DatumGetArrayTypePCopy(cdp_store_value(r, 3, &isnull));
	}
	errors = palloc0(sizeof(ErrorData *) * Max(config.n, 1));
	for (int r = 0; r < rows; r++)
	{
		Datum *in = palloc(sizeof(Datum) * Max(config.n, 1));
		int nin = 0;
		Flip flip = people[r];

		for (int i = 0; i < config.n; i++)
		{
			ErrorData *error;
			int hit;

			CHECK_FOR_INTERRUPTS();
			args[0] = Int64GetDatum(flip.profile_id);
			hit = run_guarded(&config.rules[i].plan, args, &error);
			if (error && errors[i] == NULL)
				errors[i] = error;
			if (error)
				continue;
			if (hit > 0)
				in[nin++] = Int32GetDatum(config.rules[i].id);
		}
		flip.after = construct_array(in, nin, INT4OID, 4, true, TYPALIGN_INT);
		if (strcmp(array_text(flip.before), array_text(flip.after)) != 0)
			people[kept++] = flip;
	}
	/* by id, like every lock: another session may record the same */
	for (int i = 0; i < config.n; i++)
		if (errors[i] && !cdp_store_is_frozen())
			record_error(config.rules[i].id, errors[i]);
	*flips = people;
	return kept;
}

static bool
contains(ArrayType *array, int32 id)
{
	int32 *v = (int32 *) ARR_DATA_PTR(array);
	int n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));

	for (int i = 0; i < n; i++)
		if (v[i] == id)
			return true;
	return false;
}

/* Ids of one array that the other lacks, appended to entries. */
static int
difference(const Flip *flip, ArrayType *of, ArrayType *without,
		   CdpEntry *entries, int n)
{
	int32 *v = (int32 *) ARR_DATA_PTR(of);
	int items = ArrayGetNItems(ARR_NDIM(of), ARR_DIMS(of));

	for (int i = 0; i < items; i++)
	{
		if (contains(without, v[i]))
			continue;
		entries[n].segment_id = v[i];
		entries[n].profile_id = flip->profile_id;
		entries[n++].ord = flip->ord;
	}
	return n;
}

static int
items(ArrayType *array)
{
	return ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
}

/* Writes the flips; returns who entered what. */
static int
apply_flips(const Flip *flips, int n, CdpEntry **entries)
{
	int64 *id = palloc(sizeof(int64) * n);
	const char **mirror = palloc(sizeof(char *) * n);
	int room = 1;
	CdpEntry *in;
	CdpEntry *out;
	int nin = 0;
	int nout = 0;
	Datum args[4];

	for (int i = 0; i < n; i++)
	{
		id[i] = flips[i].profile_id;
		mirror[i] = array_text(flips[i].after);
		room += items(flips[i].before) + items(flips[i].after);
	}
	in = palloc(sizeof(CdpEntry) * room);
	out = palloc(sizeof(CdpEntry) * room);
	for (int i = 0; i < n; i++)
	{
		nin = difference(&flips[i], flips[i].after, flips[i].before, in, nin);
		nout = difference(&flips[i], flips[i].before, flips[i].after, out, nout);
	}
	args[0] = cdp_array_int64(id, n);
	args[1] = cdp_array_text(mirror, n);
	cdp_store_run(&mirror_plan, args, NULL, false, n);
	for (int pass = 0; pass < 2; pass++)
	{
		CdpEntry *e = pass == 0 ? in : out;
		int m = pass == 0 ? nin : nout;
		int32 *segment = palloc(sizeof(int32) * Max(m, 1));
		int32 *ord = palloc(sizeof(int32) * Max(m, 1));
		int64 *profile = palloc(sizeof(int64) * Max(m, 1));

		if (m == 0)
			continue;
		for (int i = 0; i < m; i++)
		{
			segment[i] = e[i].segment_id;
			ord[i] = e[i].ord;
			profile[i] = e[i].profile_id;
		}
		args[0] = cdp_array_int32(segment, m);
		args[1] = cdp_array_int32(ord, m);
		args[2] = cdp_array_int64(profile, m);
		args[3] = TimestampTzGetDatum(cdp_now());
		cdp_store_run(pass == 0 ? &enter_plan : &leave_plan, args, NULL, false, -1);
	}
	*entries = in;
	return nin;
}

/* Evaluates every rule for these people: whose array is to change. */
static int
find_flips(const int64 *profiles, int n, Flip **flips)
{
	Datum args[1] = {cdp_array_int64(profiles, n)};
	ErrorData *error;
	int rows = run_guarded(&config.changed, args, &error);

	if (error)
		return evaluate_one_by_one(profiles, n, flips);
	*flips = palloc(sizeof(Flip) * Max(rows, 1));
	for (int r = 0; r < rows; r++)
	{
		Flip *flip = &(*flips)[r];
		bool isnull;

		flip->profile_id = cdp_store_int64(r, 1);
		flip->ord = (int32) cdp_store_int64(r, 2);
		flip->before = DatumGetArrayTypePCopy(cdp_store_value(r, 3, &isnull));
		flip->after = DatumGetArrayTypePCopy(cdp_store_value(r, 4, &isnull));
	}
	SPI_freetuptable(SPI_tuptable);
	return rows;
}

/*
 * Evaluates every rule for these people (whose locks the caller holds) and
 * writes what changed.  Returns the number of entries into segments.
 */
int
cdp_segment_evaluate(const int64 *profiles, int n, CdpEntry **entries)
{
	Flip *flips;
	int rows;

	*entries = NULL;
	load_rules();
	if (config.n == 0 || n == 0)
		return 0;
	rows = find_flips(profiles, n, &flips);
	return rows > 0 ? apply_flips(flips, rows, entries) : 0;
}

/*
 * Says of whom the rules would make something else than what is stored: the
 * ids of segments before and after, as arrays' texts.  Writes nothing.
 */
void
cdp_segment_check(const int64 *profiles, int n,
				  void (*found)(void *arg, int64 profile_id, const char *live, const char *now),
				  void *arg)
{
	Flip *flips;
	int rows;

	load_rules();
	if (n == 0)
		return;
	rows = find_flips(profiles, n, &flips);
	for (int r = 0; r < rows; r++)
		found(arg, flips[r].profile_id, array_text(flips[r].before), array_text(flips[r].after));
}

/*
 * After a merge: the winner was in what its losers were in.  The mirror is
 * joined with the rest of the state; see cdp_profile_join().
 */
void
cdp_segment_join(const CdpGraph *graph)
{
	int n = graph->nmerges;
	int64 *winner = palloc(sizeof(int64) * Max(n, 1));
	int64 *loser = palloc(sizeof(int64) * Max(n, 1));
	Datum args[2];

	if (n == 0)
		return;
	for (int i = 0; i < n; i++)
	{
		winner[i] = graph->merges[i].winner;
		loser[i] = graph->merges[i].loser;
	}
	load_rules();
	if (config.n == 0)
		return;
	args[0] = cdp_array_int64(winner, n);
	args[1] = cdp_array_int64(loser, n);
	cdp_store_run(&save_plan, args, NULL, false, -1);
	cdp_store_run(&inherit_plan, args, NULL, false, -1);
	cdp_store_run(&disown_plan, &args[1], NULL, false, -1);
}

/*
 * People who come back are in what they were in, since then, and so are those
 * whom they leave now; evaluating tells what changed meanwhile.  Whom they
 * left before is nobody's business here: her lock may not even be held.
 */
void
cdp_segment_part(const CdpGraph *graph)
{
	int n = 0;
	int nleft = 0;
	int64 *ids = palloc(sizeof(int64) * Max(graph->nlocked, 1));
	int64 *left = palloc(sizeof(int64) * Max(graph->nlocked, 1));
	Datum args[2];

	for (int i = 0; i < graph->nlocked; i++)
	{
		if (graph->locked[i].returns)
			ids[n++] = graph->locked[i].profile_id;
		else if (graph->locked[i].rebuild)
			left[nleft++] = graph->locked[i].profile_id;
	}
	if (n == 0)
		return;
	load_rules();
	if (config.n == 0)
		return;
	args[0] = cdp_array_int64(ids, n);
	args[1] = cdp_array_int64(left, nleft);
	cdp_store_run(&return_plan, args, NULL, false, -1);
	cdp_store_run(&give_back_plan, args, NULL, false, -1);
	cdp_store_run(&reflect_plan, args, NULL, false, -1);
	cdp_store_run(&forget_plan, args, NULL, false, -1);
}

/*
 * cdp.build_segment(id): membership of everybody, after a definition.  The
 * storage is locked against writers (cdp.lock_storage()); nobody who is found
 * a member counts as entering.
 */
Datum
cdp_build_segment(PG_FUNCTION_ARGS)
{
	int32 id = PG_GETARG_INT32(0);
	CdpStore store;
	int64 from = 0;
	int64 members = 0;
	SPIPlanPtr next;
	Oid types[1] = {INT8OID};
	MemoryContext batch;
	MemoryContext old;
	CdpProgress progress;

	cdp_store_enter(&store);
	cdp_progress_start(&progress, CDP_WORK_SEGMENT, cdp_progress_estimate("profile_state"));
	batch = AllocSetContextCreate(CurrentMemoryContext, "cdp segment build",
								  ALLOCSET_DEFAULT_SIZES);
	next = SPI_prepare("SELECT profile_id FROM cdp_data.profile_state WHERE profile_id > $1 "
					   "ORDER BY profile_id LIMIT 10000",
					   1, types);
	if (next == NULL)
		elog(ERROR, "cdp: could not prepare the build of a segment");
	for (;;)
	{
		Datum args[1] = {Int64GetDatum(from)};
		int64 *profiles;
		CdpEntry *entries;
		uint64 n;

		CHECK_FOR_INTERRUPTS();
		SPI_execute_plan(next, args, NULL, false, 0);
		n = SPI_processed;
		if (n == 0)
			break;
		old = MemoryContextSwitchTo(batch);
		profiles = palloc(sizeof(int64) * n);
		for (uint64 i = 0; i < n; i++)
			profiles[i] = cdp_store_int64(i, 1);
		from = profiles[n - 1];
		SPI_freetuptable(SPI_tuptable);
		(void) cdp_segment_evaluate(profiles, (int) n, &entries);
		MemoryContextSwitchTo(old);
		MemoryContextReset(batch);
		cdp_progress_set(&progress, progress.done + (int64) n);
	}
	cdp_progress_end(&progress);
	{
		Datum args[1] = {Int32GetDatum(id)};
		Oid int4[1] = {INT4OID};

		SPI_execute_with_args("SELECT count(*) FROM cdp_data.segment_member WHERE segment_id "
							  "= $1",
							  1, int4, args, NULL, false, 0);
		members = cdp_store_int64(0, 1);
	}
	cdp_store_leave(&store);
	PG_RETURN_INT64(members);
}
