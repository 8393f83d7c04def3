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
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "compat.h"
#include "progress.h"
#include "segment/chunk.h"
#include "segment/eval.h"
#include "segment/member.h"
#include "store.h"

PG_FUNCTION_INFO_V1(cdp_build_segment);

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

static void
add_flip(Flips *to, const CdpPerson *person, int32 segment_id, bool enters, TimestampTz at)
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
								   .enters = enters,
								   .at = at,
								   .cause = to->cause};
}

static void
take_flip(const CdpPerson *person, int rule, TimestampTz at, void *arg)
{
	Flips *to = arg;

	add_flip(to, person, to->rules->rules[rule].id, person->in[rule], at);
}

/* Segments that are no more, or disabled, have no members. */
static void
drop_unknown(Flips *to, const CdpPerson *person, TimestampTz now)
{
	for (int i = 0; i < person->nstored; i++)
		if (cdp_rules_find(to->rules, person->stored[i]) < 0)
			add_flip(to, person, person->stored[i], false, now);
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

static void
finish(CdpEvaluation *e, const CdpRules *rules)
{
	int *sqlstates = palloc0(sizeof(int) * Max(rules->n, 1));

	for (int i = 0; i < rules->n; i++)
		sqlstates[i] = cdp_eval_error(e, i);
	cdp_eval_end(e);
	/* by id, like every lock: another session may record the same */
	for (int i = 0; i < rules->n; i++)
		if (sqlstates[i] != 0)
			record_error(rules->rules[i].id, sqlstates[i]);
	pfree(sqlstates);
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
	CdpRules *rules = cdp_rules_load();
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

/*
 * Ids of the segments that she is in, as an array's text; those that are
 * stored and that no rule makes, too, if asked for.
 */
static char *
list_text(const CdpRules *rules, const CdpPerson *person, bool unknown)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoChar(&text, '{');
	for (int i = 0; i < rules->n; i++)
		if (person->in[i])
			appendStringInfo(&text, "%s%d", text.len > 1 ? "," : "", rules->rules[i].id);
	for (int i = 0; unknown && i < person->nstored; i++)
		if (cdp_rules_find(rules, person->stored[i]) < 0)
			appendStringInfo(&text, "%s%d", text.len > 1 ? "," : "", person->stored[i]);
	appendStringInfoChar(&text, '}');
	return text.data;
}

static char *
stored_text(const CdpPerson *person)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoChar(&text, '{');
	for (int i = 0; i < person->nstored; i++)
		appendStringInfo(&text, "%s%d", i ? "," : "", person->stored[i]);
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
	CdpRules *rules = cdp_rules_load();
	TimestampTz now = cdp_instant();
	CdpEvaluation *e;

	if (n == 0)
		return;
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
		live = stored_text(person);
		if (timer <= now)
		{
			timer = fire(e, rules, timer, now, no_flip, NULL);
			live = list_text(rules, person, true);
		}
		due = cdp_eval_ask(e, rules->all, now, no_flip, NULL);
		fresh = list_text(rules, person, false);
		if (strcmp(live, fresh) != 0)
			found(arg, profiles[i], "segments", live, fresh);
		if (due < timer)
			found(arg, profiles[i], "timer", timestamptz_to_str(timer),
				  pstrdup(timestamptz_to_str(due)));
	}
	cdp_eval_end(e);
}

/* One rule, and those that need it, for these people. */
static int
evaluate_one(int32 id, const int64 *profiles, int n, CdpEntry **entries)
{
	CdpRules *rules = cdp_rules_load();
	Flips found = {.rules = rules, .cause = "definition"};
	int rule = cdp_rules_find(rules, id);
	Bitmapset *which = NULL;
	Next *next = palloc(sizeof(Next) * Max(n, 1));
	TimestampTz now = cdp_instant();
	CdpEvaluation *e = cdp_eval_begin(rules, false);
	int nnext = 0;

	if (rule >= 0)
		which = bms_make_singleton(rule);
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
	cdp_chunk_rebuild(id);
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
