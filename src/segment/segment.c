/*
 * src/segment/segment.c
 *		Membership: rules asked of the people a batch changed, in its own
 *		transaction.
 *
 * Asked are the rules that look at what changed (rule.h), of nobody else and
 * no others.  What time changes has a timer (timer.c).  A timer that is due
 * when its person changes fires first, so that who entered or left by time did
 * it then and not later.
 *
 * A rule that raises on somebody's data makes her no member, is recorded once
 * and never fails the event; see eval.c.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "compat.h"
#include "progress.h"
#include "segment/chunk.h"
#include "segment/eval.h"
#include "segment/member.h"
#include "store.h"

/* People evaluated in one go. */
#define BUILD_BATCH 10000

PG_FUNCTION_INFO_V1(cdp_build_segment);
PG_FUNCTION_INFO_V1(cdp_build_segment_of);

static CdpPlan error_plan = {
	"INSERT INTO cdp_data.segment_error (segment_id, last_error, at) VALUES ($1, $2, $3) "
	"ON CONFLICT (segment_id) DO NOTHING",
	3,
	{INT4OID, TEXTOID, TIMESTAMPTZOID},
	NULL};

/* Flips as they are found. */
typedef struct Flips
{
	CdpFlip *flips;
	int n;
	int room;
	const CdpRules *rules;
	const char *cause;
} Flips;

/* announce: see CdpFlip */
static void
add_flip(Flips *to, const CdpPerson *person, int32 segment_id, int32 announce, bool enters,
		 TimestampTz at)
{
	if (to->n == to->room)
	{
		to->room = Max(16, to->room * 2);
		to->flips = to->flips ? repalloc_huge(to->flips, sizeof(CdpFlip) * to->room) :
								palloc(sizeof(CdpFlip) * to->room);
	}
	to->flips[to->n++] = (CdpFlip){.profile_id = person->profile_id,
								   .ord = person->ord,
								   .segment_id = segment_id,
								   .announce = announce,
								   .enters = enters,
								   .at = at,
								   .cause = to->cause};
}

static void
take_flip(const CdpPerson *person, int rule, TimestampTz at, void *arg)
{
	Flips *to = arg;
	const CdpRule *r = &to->rules->rules[rule];

	if (r->task_id == 0)
	{
		add_flip(to, person, r->id, r->segment_id, person->in[rule], at);
		return;
	}
	/* since it will be in force, and whatever led to it: see cdp_data.segment */
	add_flip(to, person, r->id, 0, person->in[rule], DT_NOEND);
	to->flips[to->n - 1].cause = "definition";
}

/* Segments that are no more, or disabled, have no members. */
static void
drop_unknown(Flips *to, const CdpPerson *person, TimestampTz now)
{
	for (int i = 0; i < person->nstored; i++)
		if (cdp_rules_find(to->rules, person->stored[i]) < 0)
			add_flip(to, person, person->stored[i], 0, false, now);
}

/*
 * Keeps the first error of a rule.  Its state only: a message such as
 * "invalid input syntax for type integer: ..." quotes the person's data.
 */
static void
record_error(int32 segment_id, int sqlstate)
{
	Datum args[3];

	args[0] = Int32GetDatum(segment_id);
	args[1] = CStringGetTextDatum(psprintf("the predicate raised SQLSTATE %s for at least "
										   "one profile, which is therefore no member",
										   unpack_sql_state(sqlstate)));
	args[2] = TimestampTzGetDatum(cdp_now());
	cdp_store_run(&error_plan, args, NULL, false, -1);
}

/* A segment whose rule raised. */
typedef struct Raised
{
	int32 segment_id;
	int sqlstate;
} Raised;

static int
compare_raised(const void *a, const void *b)
{
	int32 x = ((const Raised *) a)->segment_id;
	int32 y = ((const Raised *) b)->segment_id;

	return (x > y) - (x < y);
}

static void
finish(CdpEvaluation *e, const CdpRules *rules)
{
	Raised *raised = palloc(sizeof(Raised) * Max(rules->n, 1));
	int n = 0;

	for (int i = 0; i < rules->n; i++)
		if (cdp_eval_error(e, i) != 0)
			raised[n++] = (Raised){rules->rules[i].segment_id, cdp_eval_error(e, i)};
	cdp_eval_end(e);
	/* by id, like every lock: another session may record the same */
	qsort(raised, n, sizeof(Raised), compare_raised);
	for (int i = 0; i < n; i++)
		record_error(raised[i].segment_id, raised[i].sqlstate);
	pfree(raised);
}

/* When to ask a person again. */
typedef struct Next
{
	int64 profile_id;
	int32 ord;
	TimestampTz due;
	bool if_earlier; /* not all rules that look at the clock were asked */
} Next;

/* Writes what was found, flips and timers. */
static int
write_down(CdpEvaluation *e, Flips *found, const Next *next, int n, CdpEntry **entries)
{
	finish(e, found->rules);
	for (int i = 0; i < n; i++)
		cdp_timer_set(next[i].profile_id, next[i].ord, next[i].due, next[i].if_earlier);
	return cdp_member_write(found->flips, found->n, entries);
}

/* The rules that look at what changed. */
static Bitmapset *
rules_for(const CdpRules *rules, const CdpChange *change)
{
	Bitmapset *which = NULL;
	int column = -1;

	while ((column = bms_next_member(change->columns, column)) >= 0)
		which = bms_add_members(which, rules->columns[column].rules);
	return which;
}

int
cdp_segment_evaluate_changes(const CdpChange *changes, int n, const char *cause, CdpEntry **entries)
{
	CdpRules *rules = cdp_rules_load();
	Flips found = {.rules = rules, .cause = cause};
	Next *next;
	int nnext = 0;
	CdpEvaluation *e = NULL;
	TimestampTz now = cdp_instant();

	*entries = NULL;
	if (rules->n == 0)
		return 0;
	next = palloc(sizeof(Next) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		const Bitmapset *which = changes[i].all ? rules->all : rules_for(rules, &changes[i]);
		CdpPerson *person;
		TimestampTz due;

		if (bms_is_empty(which))
			continue;
		CHECK_FOR_INTERRUPTS();
		if (e == NULL)
			e = cdp_eval_begin(rules, false);
		person = cdp_eval_person(e, changes[i].profile_id);
		if (person == NULL)
			continue;
		if (changes[i].all)
			drop_unknown(&found, person, now);
		due = cdp_eval_ask(e, which, now, take_flip, &found);
		if (due != DT_NOEND || (changes[i].all && rules->timed))
			next[nnext++] = (Next){person->profile_id, person->ord, due, !changes[i].all};
	}
	return e ? write_down(e, &found, next, nnext, entries) : 0;
}

int
cdp_segment_evaluate(const int64 *profiles, int n, const char *cause, CdpEntry **entries)
{
	CdpChange *changes = palloc0(sizeof(CdpChange) * Max(n, 1));

	for (int i = 0; i < n; i++)
		changes[i] = (CdpChange){.profile_id = profiles[i], .all = true};
	return cdp_segment_evaluate_changes(changes, n, cause, entries);
}

void
cdp_segment_note_trait(CdpChange *change, const char *name, int len)
{
	CdpRules *rules = cdp_rules_load();
	int column = len < NAMEDATALEN ? cdp_rules_column(rules, pnstrdup(name, len)) : -1;

	if (column < 0 || rules->columns[column].place != CDP_COLUMN_PROFILE)
		column = cdp_rules_column(rules, "traits");
	if (column >= 0 && rules->columns[column].rules != NULL)
		change->columns = bms_add_member(change->columns, column);
}

void
cdp_segment_note_event(CdpChange *change, const char *type, const char *name)
{
	CdpRules *rules = cdp_rules_load();

	for (int i = 0; i < rules->ncolumns; i++)
	{
		const CdpRuleColumn *c = &rules->columns[i];

		if (c->rules == NULL || bms_is_member(i, change->columns))
			continue;
		if (c->place == CDP_COLUMN_STATE ||
			(c->place == CDP_COLUMN_COMPUTED && c->source->concerns(c->definition, type, name)))
			change->columns = bms_add_member(change->columns, i);
	}
}

bool
cdp_segment_has_lists(void)
{
	return cdp_rules_load()->lists;
}

bool
cdp_segment_is_timed(void)
{
	return cdp_rules_load()->timed != NULL;
}

/* Everything that happens by itself from the timer's instant until now. */
static TimestampTz
fire(CdpEvaluation *e, const CdpRules *rules, TimestampTz due, TimestampTz now,
	 CdpFlipped flipped, void *arg)
{
	while (due <= now)
	{
		CHECK_FOR_INTERRUPTS();
		due = cdp_eval_ask(e, rules->timed, due, flipped, arg);
	}
	return due;
}

int
cdp_segment_fire(const int64 *profiles, int n, CdpEntry **entries)
{
	CdpRules *rules = cdp_rules_load();
	Flips found = {.rules = rules, .cause = "time"};
	TimestampTz now = cdp_instant();
	int64 *due = palloc(sizeof(int64) * Max(n, 1));
	TimestampTz *from;
	Next *next;
	CdpEvaluation *e;
	int nnext = 0;

	*entries = NULL;
	if (n == 0)
		return 0;
	n = cdp_timer_due(profiles, n, now, due);
	if (n == 0)
		return 0;
	next = palloc(sizeof(Next) * n);
	from = palloc(sizeof(TimestampTz) * n);
	for (int i = 0; i < n; i++)
		from[i] = cdp_timer_read(due[i]);
	e = cdp_eval_begin(rules, false);
	for (int i = 0; i < n; i++)
	{
		CdpPerson *person = cdp_eval_person(e, due[i]);

		if (person == NULL)
			continue;
		next[nnext++] = (Next){person->profile_id, person->ord,
							   fire(e, rules, from[i], now, take_flip, &found), false};
	}
	return write_down(e, &found, next, nnext, entries);
}

/* What a reader learns of one person. */
typedef struct Looking
{
	const CdpRules *rules;
	const CdpLook *look;
	TimestampTz *since; /* by rule */
} Looking;

static void
note_flip(const CdpPerson *person, int rule, TimestampTz at, void *arg)
{
	Looking *l = arg;

	if (!person->in[rule])
		l->look->left(l->rules->rules[rule].id, l->since[rule], at, l->look->arg);
	l->since[rule] = at;
}

void
cdp_segment_look(const int64 *profiles, int n, TimestampTz now, const CdpLook *look)
{
	CdpRules *rules = cdp_rules_shown();
	Looking l = {rules, look, palloc(sizeof(TimestampTz) * Max(rules->n, 1))};
	CdpEvaluation *e;

	if (n == 0)
		return;
	e = cdp_eval_begin(rules, true);
	for (int i = 0; i < n; i++)
	{
		CdpPerson *p = cdp_eval_person(e, profiles[i]);

		if (p == NULL)
			continue;
		for (int k = 0; k < rules->n; k++)
			l.since[k] = DT_NOBEGIN;
		look->person(p->profile_id, p->ord, look->arg);
		(void) fire(e, rules, cdp_timer_seen(profiles[i]), now, note_flip, &l);
		for (int k = 0; k < rules->n; k++)
			if (p->in[k])
				look->in(rules->rules[k].id, l.since[k], look->arg);
	}
	cdp_eval_end(e);
}

static void
no_flip(const CdpPerson *person pg_attribute_unused(), int rule pg_attribute_unused(),
		TimestampTz at pg_attribute_unused(), void *arg pg_attribute_unused())
{
}

CdpPerson *
cdp_segment_person(CdpEvaluation *e, CdpRules *rules, int64 profile_id, TimestampTz now)
{
	CdpPerson *person = cdp_eval_person(e, profile_id);

	if (person && rules->timed)
		(void) fire(e, rules, cdp_timer_seen(profile_id), now, no_flip, NULL);
	return person;
}

/* Sets that are no segment's any more, and about to go. */
static CdpPlan retired_plan = {
	"SELECT t.target FROM cdp_data.task t "
	"WHERE t.kind = 'segment_set' AND t.state IN ('waiting', 'running')",
	0,
	{0},
	NULL};

static Bitmapset *
retired_sets(void)
{
	int rows = cdp_store_run(&retired_plan, NULL, NULL, true, -1);
	Bitmapset *sets = NULL;

	for (int r = 0; r < rows; r++)
		sets = bms_add_member(sets, (int) cdp_store_int64(r, 1));
	return sets;
}

static bool
is_retired(int32 set_id, const Bitmapset *retired)
{
	return set_id >= 0 && bms_is_member(set_id, retired);
}

/*
 * Ids of the segments in force that she is in, as an array's text; those that are
 * stored and that no rule makes, but for sets about to go, too, if asked for.
 */
static char *
list_text(const CdpRules *rules, const CdpPerson *person, const Bitmapset *retired, bool unknown)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoChar(&text, '{');
	for (int i = 0; i < rules->n; i++)
		if (person->in[i] && rules->rules[i].task_id == 0)
			appendStringInfo(&text, "%s%d", text.len > 1 ? "," : "", rules->rules[i].id);
	for (int i = 0; unknown && i < person->nstored; i++)
		if (cdp_rules_find(rules, person->stored[i]) < 0 && !is_retired(person->stored[i], retired))
			appendStringInfo(&text, "%s%d", text.len > 1 ? "," : "", person->stored[i]);
	appendStringInfoChar(&text, '}');
	return text.data;
}

/* The same as stored; what is neither in force, nor being built, nor about to go is shown. */
static char *
stored_text(const CdpRules *rules, const CdpPerson *person, const Bitmapset *retired)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoChar(&text, '{');
	for (int i = 0; i < person->nstored; i++)
	{
		int rule = cdp_rules_find(rules, person->stored[i]);

		if (rule >= 0 ? rules->rules[rule].task_id == 0 :
						!is_retired(person->stored[i], retired))
			appendStringInfo(&text, "%s%d", text.len > 1 ? "," : "", person->stored[i]);
	}
	appendStringInfoChar(&text, '}');
	return text.data;
}

/*
 * Says of whom the rules would make something else than what is stored, or what
 * is stored and the timers that are due: the ids of segments before and after,
 * as arrays' texts.  And whose timer comes too late.  Writes nothing.
 */
void
cdp_segment_check(const int64 *profiles, int n,
				  void (*found)(void *arg, int64 profile_id, const char *what, const char *live,
								const char *now),
				  void *arg)
{
	CdpRules *rules = cdp_rules_shown();
	TimestampTz now = cdp_instant();
	Bitmapset *retired;
	CdpEvaluation *e;

	if (n == 0)
		return;
	retired = retired_sets();
	e = cdp_eval_begin(rules, true);
	for (int i = 0; i < n; i++)
	{
		CdpPerson *person = cdp_eval_person(e, profiles[i]);
		TimestampTz timer;
		TimestampTz due;
		char *live;
		char *fresh;

		if (person == NULL)
			continue;
		timer = cdp_timer_seen(profiles[i]);
		live = stored_text(rules, person, retired);
		if (timer <= now)
		{
			timer = fire(e, rules, timer, now, no_flip, NULL);
			live = list_text(rules, person, retired, true);
		}
		due = cdp_eval_ask(e, rules->in_force, now, no_flip, NULL);
		fresh = list_text(rules, person, NULL, false);
		if (strcmp(live, fresh) != 0)
			found(arg, profiles[i], "segments", live, fresh);
		if (due < timer)
			found(arg, profiles[i], "timer", timestamptz_to_str(timer),
				  pstrdup(timestamptz_to_str(due)));
	}
	cdp_eval_end(e);
}

/* These rules, and those that need them, for these people. */
static int
evaluate_some(const Bitmapset *which, const int64 *profiles, int n, CdpEntry **entries)
{
	CdpRules *rules = cdp_rules_load();
	Flips found = {.rules = rules, .cause = "definition"};
	Next *next = palloc(sizeof(Next) * Max(n, 1));
	TimestampTz now = cdp_instant();
	CdpEvaluation *e = cdp_eval_begin(rules, false);
	int nnext = 0;

	for (int i = 0; i < n; i++)
	{
		CdpPerson *person = cdp_eval_person(e, profiles[i]);
		TimestampTz due;

		if (person == NULL)
			continue;
		CHECK_FOR_INTERRUPTS();
		drop_unknown(&found, person, now);
		due = cdp_eval_ask(e, which, now, take_flip, &found);
		if (due != DT_NOEND)
			next[nnext++] = (Next){person->profile_id, person->ord, due, true};
	}
	return write_down(e, &found, next, nnext, entries);
}

/* One rule in force, and those that need it, for these people. */
static int
evaluate_one(int32 segment_id, const int64 *profiles, int n, CdpEntry **entries)
{
	int rule = cdp_rules_of(cdp_rules_load(), segment_id);

	return evaluate_some(rule < 0 ? NULL : bms_make_singleton(rule), profiles, n, entries);
}

/* cdp.build_segment_of(segment_id, people): the same for some, with writers locked out. */
Datum
cdp_build_segment_of(PG_FUNCTION_ARGS)
{
	int32 id = PG_GETARG_INT32(0);
	ArrayType *array = PG_GETARG_ARRAYTYPE_P(1);
	const int64 *people = (const int64 *) ARR_DATA_PTR(array);
	int n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	MemoryContext batch;
	MemoryContext old;
	CdpStore store;

	if (ARR_HASNULL(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("a profile id must not be null")));
	cdp_store_enter(&store);
	batch = AllocSetContextCreate(CurrentMemoryContext, "cdp segment build",
								  ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < n; i += BUILD_BATCH)
	{
		CdpEntry *entries;

		old = MemoryContextSwitchTo(batch);
		(void) evaluate_one(id, people + i, Min(n - i, BUILD_BATCH), &entries);
		MemoryContextSwitchTo(old);
		MemoryContextReset(batch);
	}
	cdp_store_leave(&store);
	PG_RETURN_VOID();
}

/* Whom both sets have is in it since the older one says so. */
static CdpPlan since_plan = {
	"UPDATE cdp_data.segment_member n SET since = o.since, cause = o.cause "
	"FROM (SELECT b.set_id, p.ord, CASE WHEN m.since = 'infinity' THEN b.live_from ELSE m.since "
	"    END AS since, m.cause "
	"  FROM unnest($2) u (profile_id) "
	"  CROSS JOIN LATERAL (SELECT s.ord FROM cdp_data.profile_state s "
	"    WHERE s.profile_id = u.profile_id OFFSET 0) p "
	"  CROSS JOIN LATERAL (SELECT x.set_id, g.set_id AS old_id, g.live_from "
	"    FROM cdp_data.segment_build x JOIN cdp_data.segment g ON g.segment_id = x.segment_id "
	"    WHERE x.task_id = $1 AND g.state = 'active' OFFSET 0) b "
	"  CROSS JOIN LATERAL (SELECT m.since, m.cause FROM cdp_data.segment_member m "
	"    WHERE m.segment_id = b.old_id AND m.ord = p.ord OFFSET 0) m) o "
	"WHERE n.segment_id = ANY (ARRAY[o.set_id]) AND n.ord = ANY (ARRAY[o.ord]) "
	"  AND n.since = 'infinity'",
	2,
	{INT4OID, INT8ARRAYOID},
	NULL};

void
cdp_segment_build(int32 task_id, const int64 *profiles, int n)
{
	const CdpRules *rules = cdp_rules_load();
	Bitmapset *which = NULL;
	Datum args[2] = {Int32GetDatum(task_id), cdp_array_int64(profiles, n)};
	CdpEntry *entries;

	for (int i = 0; i < rules->n; i++)
		if (rules->rules[i].task_id == task_id)
			which = bms_add_member(which, i);
	if (bms_is_empty(which))
		return;
	(void) evaluate_some(which, profiles, n, &entries);
	cdp_store_run(&since_plan, args, NULL, false, -1);
}

static CdpPlan set_plan = {
	"SELECT g.set_id FROM cdp_data.segment g WHERE g.segment_id = $1",
	1,
	{INT4OID},
	NULL};

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
		(void) evaluate_one(id, profiles, (int) n, &entries);
		MemoryContextSwitchTo(old);
		MemoryContextReset(batch);
		cdp_progress_set(&progress, progress.done + (int64) n);
	}
	cdp_progress_end(&progress);
	{
		Datum args[1] = {Int32GetDatum(id)};
		Oid int4[1] = {INT4OID};

		cdp_store_run(&set_plan, args, NULL, false, 1);
		args[0] = Int32GetDatum((int32) cdp_store_int64(0, 1));
		cdp_chunk_rebuild(DatumGetInt32(args[0]));

		SPI_execute_with_args("SELECT count(*) FROM cdp_data.segment_member WHERE segment_id "
							  "= $1",
							  1, int4, args, NULL, false, 0);
		members = cdp_store_int64(0, 1);
	}
	cdp_store_leave(&store);
	PG_RETURN_INT64(members);
}
