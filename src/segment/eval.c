/*
 * src/segment/eval.c
 *		Rules asked of people, without a query.
 *
 * One person's columns are put into a row as far as the rules to be asked name
 * them, and each rule is an expression over that row.  Rules that need others
 * are asked after them and find their answers in the row.
 *
 * A rule may raise on somebody's data: then she is no member.  That is rare, so
 * no subtransaction is begun before.  What a predicate runs is code of the
 * server's and of cdp, in C, that computes from its arguments: what it leaves
 * behind when it raises is memory and what its resource owner knows.  It has
 * one of its own here, which is released, and an empty subtransaction that is
 * rolled back puts the rest of the server's state in order.  A predicate that
 * runs anything else is asked inside a subtransaction.
 */
#include "postgres.h"

#include "access/relscan.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "index_scan.h"
#include "segment/eval.h"
#include "segment/json.h"
#include "segment/list.h"
#include "store.h"

/* Rows of a table by their key. */
typedef struct Reader
{
	const char *table;
	const char *key_index;
	Relation rel;
	Relation index;
	TupleTableSlot *slot;
	IndexScanDesc scan;
} Reader;

struct CdpEvaluation
{
	CdpRules *rules;
	bool read_only;
	Snapshot snapshot;
	ResourceOwner owner;
	MemoryContext context; /* of the evaluation */
	MemoryContext person_context;
	Reader state;
	Reader profile;
	bool profile_read; /* of this person */
	bool profile_found;
	AttrNumber ord; /* of the state */
	AttrNumber segments;
	TupleTableSlot *row;
	ExprContext *econtext;
	CdpPerson person;
	TimestampTz now; /* of the columns */
	bool *fetched; /* by column */
	TimestampTz *due; /* by column */
	Jsonb *document;
	const CdpRule *asked; /* at the moment */
	int nlists; /* that she is on at the moment; -1: not looked at yet */
	CdpListed *lists;
	int *sqlstates; /* by rule: of its first error, 0: none */
};

static void
open_reader(Reader *r, Snapshot snapshot)
{
	r->rel = table_open(cdp_store_relation(r->table), AccessShareLock);
	r->index = index_open(cdp_store_relation(r->key_index), AccessShareLock);
	r->slot = table_slot_create(r->rel, NULL);
	r->scan = cdp_index_beginscan(r->rel, r->index, snapshot, 1);
}

static bool
read_row(Reader *r, int64 id)
{
	ScanKeyData key;

	ExecClearTuple(r->slot);
	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	index_rescan(r->scan, &key, 1, NULL, 0);
	return cdp_index_next(r->scan, ForwardScanDirection, r->slot);
}

static void
close_reader(Reader *r)
{
	if (r->rel == NULL)
		return;
	index_endscan(r->scan);
	ExecDropSingleTupleTableSlot(r->slot);
	index_close(r->index, NoLock);
	table_close(r->rel, NoLock);
}

CdpEvaluation *
cdp_eval_begin(CdpRules *rules, bool read_only)
{
	CdpEvaluation *e = palloc0(sizeof(CdpEvaluation));

	e->rules = rules;
	e->read_only = read_only || cdp_store_is_frozen();
	e->context = CurrentMemoryContext;
	e->person_context = AllocSetContextCreate(CurrentMemoryContext, "cdp rules of a person",
											  ALLOCSET_DEFAULT_SIZES);
	e->state = (Reader){.table = "profile_state", .key_index = "profile_state_pkey"};
	e->profile = (Reader){.table = "profile", .key_index = "profile_pkey"};
	e->row = MakeSingleTupleTableSlot(rules->desc, &TTSOpsVirtual);
	e->econtext = CreateStandaloneExprContext();
	e->econtext->ecxt_scantuple = e->row;
	e->fetched = palloc0(sizeof(bool) * rules->ncolumns);
	e->due = palloc(sizeof(TimestampTz) * rules->ncolumns);
	e->sqlstates = palloc0(sizeof(int) * Max(rules->n, 1));
	if (e->read_only)
		PushActiveSnapshot(GetActiveSnapshot());
	else
	{
		CommandCounterIncrement();
		PushActiveSnapshot(GetTransactionSnapshot());
	}
	e->snapshot = GetActiveSnapshot();
	open_reader(&e->state, e->snapshot);
	e->ord = get_attnum(RelationGetRelid(e->state.rel), "ord");
	e->segments = get_attnum(RelationGetRelid(e->state.rel), "segments");
	e->owner = ResourceOwnerCreate(CurrentResourceOwner, "cdp rules");
	return e;
}

static void
release_owner(CdpEvaluation *e, bool ok)
{
	ResourceOwnerRelease(e->owner, RESOURCE_RELEASE_BEFORE_LOCKS, ok, false);
	ResourceOwnerRelease(e->owner, RESOURCE_RELEASE_LOCKS, ok, false);
	ResourceOwnerRelease(e->owner, RESOURCE_RELEASE_AFTER_LOCKS, ok, false);
	ResourceOwnerDelete(e->owner);
	e->owner = NULL;
}

void
cdp_eval_end(CdpEvaluation *e)
{
	release_owner(e, true);
	close_reader(&e->profile);
	close_reader(&e->state);
	ExecDropSingleTupleTableSlot(e->row);
	FreeExprContext(e->econtext, true);
	PopActiveSnapshot();
	MemoryContextDelete(e->person_context);
}

CdpRules *
cdp_eval_rules(const CdpEvaluation *e)
{
	return e->rules;
}

/* The first error of a rule in this evaluation, as SQLSTATE; 0: none. */
int
cdp_eval_error(const CdpEvaluation *e, int rule)
{
	return e->sqlstates[rule];
}

/* The person whom is asked about next, or NULL; valid until the next one. */
CdpPerson *
cdp_eval_person(CdpEvaluation *e, int64 profile_id)
{
	CdpPerson *p = &e->person;
	ArrayType *array;
	MemoryContext old;
	bool isnull;

	MemoryContextReset(e->person_context);
	memset(e->fetched, 0, sizeof(bool) * e->rules->ncolumns);
	e->profile_read = false;
	e->document = NULL;
	e->nlists = -1;
	e->now = DT_NOBEGIN;
	if (!read_row(&e->state, profile_id))
		return NULL;
	ExecClearTuple(e->row);
	ExecStoreVirtualTuple(e->row);
	old = MemoryContextSwitchTo(e->person_context);
	*p = (CdpPerson){.profile_id = profile_id};
	p->in = palloc0(sizeof(bool) * Max(e->rules->n, 1));
	p->ord = DatumGetInt32(slot_getattr(e->state.slot, e->ord, &isnull));
	array = DatumGetArrayTypeP(slot_getattr(e->state.slot, e->segments, &isnull));
	p->nstored = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	p->stored = palloc(sizeof(int32) * Max(p->nstored, 1));
	memcpy(p->stored, ARR_DATA_PTR(array), sizeof(int32) * p->nstored);
	for (int i = 0; i < p->nstored; i++)
	{
		int rule = cdp_rules_find(e->rules, p->stored[i]);

		if (rule >= 0)
			p->in[rule] = true;
	}
	MemoryContextSwitchTo(old);
	return p;
}

/* Puts a column into the row. */
static void
fetch(CdpEvaluation *e, int column)
{
	const CdpRuleColumn *c = &e->rules->columns[column];
	bool isnull = true;
	Datum value = (Datum) 0;
	MemoryContext old;

	if (e->fetched[column])
		return;
	e->fetched[column] = true;
	e->due[column] = DT_NOEND;
	switch (c->place)
	{
		case CDP_COLUMN_STATE:
			value = slot_getattr(e->state.slot, c->attnum, &isnull);
			break;
		case CDP_COLUMN_PROFILE:
			if (!e->profile_read)
			{
				if (e->profile.rel == NULL)
				{
					old = MemoryContextSwitchTo(e->context);
					open_reader(&e->profile, e->snapshot);
					MemoryContextSwitchTo(old);
				}
				e->profile_read = true;
				e->profile_found = read_row(&e->profile, e->person.profile_id);
			}
			if (e->profile_found)
				value = slot_getattr(e->profile.slot, c->attnum, &isnull);
			break;
		case CDP_COLUMN_COMPUTED:
			old = MemoryContextSwitchTo(e->person_context);
			value = c->source->value(e->person.profile_id, c->definition, e->now, &isnull,
									 &e->due[column]);
			MemoryContextSwitchTo(old);
			break;
		case CDP_COLUMN_NOWHERE:
			break;
	}
	e->row->tts_values[column] = value;
	e->row->tts_isnull[column] = isnull;
}

/* Brings the columns of a rule into the row, as of now. */
static void
fetch_columns(CdpEvaluation *e, const CdpRule *rule)
{
	int column = -1;

	while ((column = bms_next_member(rule->columns, column)) >= 0)
		fetch(e, column);
}

/* Another moment: what time changes is computed anew. */
static void
set_now(CdpEvaluation *e, TimestampTz now)
{
	if (e->now == now)
		return;
	for (int i = 0; i < e->rules->ncolumns; i++)
		if (e->rules->columns[i].timed)
			e->fetched[i] = false;
	e->document = NULL;
	e->nlists = -1;
	e->now = now;
}

/* A column's value at the moment. */
Datum
cdp_eval_value(CdpEvaluation *e, int column, TimestampTz now, bool *isnull)
{
	set_now(e, now);
	fetch(e, column);
	*isnull = e->row->tts_isnull[column];
	return e->row->tts_values[column];
}

static void
push_key(JsonbParseState **state, const char *name, int len)
{
	JsonbValue key = {.type = jbvString};

	key.val.string.val = (char *) name;
	key.val.string.len = len;
	(void) pushJsonbValue(state, WJB_KEY, &key);
}

/*
 * The person as a document: every column that is in the row and not null, and
 * the undeclared traits beside them.
 */
static Jsonb *
make_document(CdpEvaluation *e)
{
	MemoryContext old = MemoryContextSwitchTo(e->person_context);
	JsonbParseState *state = NULL;
	JsonbValue *result;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < e->rules->ncolumns; i++)
	{
		const CdpRuleColumn *c = &e->rules->columns[i];
		JsonbIterator *it;
		JsonbValue key;
		Jsonb *traits;

		if (!e->fetched[i] || e->row->tts_isnull[i])
			continue;
		if (strcmp(c->name, "traits") != 0)
		{
			push_key(&state, c->name, (int) strlen(c->name));
			cdp_json_push(&state, WJB_VALUE, e->row->tts_values[i], c->type);
			continue;
		}
		traits = DatumGetJsonbP(e->row->tts_values[i]);
		if (!JB_ROOT_IS_OBJECT(traits))
			continue;
		it = JsonbIteratorInit(&traits->root);
		(void) JsonbIteratorNext(&it, &key, true);
		while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
		{
			JsonbValue v;

			(void) JsonbIteratorNext(&it, &v, true);
			/* a column of that name is what is meant */
			if (key.val.string.len < NAMEDATALEN &&
				cdp_rules_column(e->rules, pnstrdup(key.val.string.val, key.val.string.len)) >= 0)
				continue;
			push_key(&state, key.val.string.val, key.val.string.len);
			(void) pushJsonbValue(&state, WJB_VALUE, &v);
		}
	}
	result = pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	e->document = JsonbValueToJsonb(result);
	MemoryContextSwitchTo(old);
	return e->document;
}

static bool
ask_within(int64 ts, const CdpCorePeriod *period, void *arg pg_attribute_unused())
{
	return cdp_timer_within(ts, period, cdp_moment);
}

static bool
ask_group(const char *name, int len, void *arg)
{
	const CdpEvaluation *e = arg;
	int other = cdp_rule_used(e->rules, e->asked, name, len);

	return other >= 0 && e->person.in[other];
}

/* That she is on the list of a rule, or will be, or NULL; what she is on was read. */
static const CdpListed *
listed(const CdpEvaluation *e, const CdpRule *rule)
{
	for (int i = 0; i < e->nlists; i++)
		if (e->lists[i].list_id == rule->list_id)
			return &e->lists[i];
	return NULL;
}

/* Asks one rule whose columns are in the row.  May raise. */
static bool
ask(CdpEvaluation *e, CdpRule *rule)
{
	CdpConditionWorld world = {ask_within, ask_group, e};
	int other = -1;
	bool isnull;
	Datum answer;
	MemoryContext old;
	bool met;

	if (rule->list_id != 0)
	{
		const CdpListed *on = listed(e, rule);

		return on != NULL && on->on;
	}
	e->asked = rule;
	if (rule->condition == NULL)
	{
		while ((other = bms_next_member(rule->uses, other)) >= 0)
		{
			AttrNumber attnum = e->rules->rules[other].answer;

			e->row->tts_values[attnum - 1] = BoolGetDatum(e->person.in[other]);
			e->row->tts_isnull[attnum - 1] = false;
		}
		answer = ExecEvalExprSwitchContext(rule->state, e->econtext, &isnull);
		return !isnull && DatumGetBool(answer);
	}
	old = MemoryContextSwitchTo(e->econtext->ecxt_per_tuple_memory);
	met = cdp_condition_holds(rule->condition, e->document, &world);
	MemoryContextSwitchTo(old);
	return met;
}

typedef struct Asking
{
	CdpEvaluation *e;
	CdpRule *rule;
	bool answer;
} Asking;

static void
ask_guarded(void *arg)
{
	Asking *a = arg;

	a->answer = ask(a->e, a->rule);
}

/* Puts in order what code that raised left behind; see the head of the file. */
static void
clean_up(CdpEvaluation *e, MemoryContext context, ResourceOwner owner)
{
	CurrentResourceOwner = owner;
	while (GetActiveSnapshot() != e->snapshot)
		PopActiveSnapshot();
	release_owner(e, false);
	if (!IsInParallelMode())
	{
		BeginInternalSubTransaction(NULL);
		RollbackAndReleaseCurrentSubTransaction();
		CurrentResourceOwner = owner;
		MemoryContextSwitchTo(context);
	}
	e->owner = ResourceOwnerCreate(owner, "cdp rules");
}

/*
 * Asks rules, one after the other, until one raises; then *sqlstate is set and
 * the next one's place is returned.  done(i, answer) is told each answer.
 */
typedef void (*Answered)(int i, bool answer, void *arg);

static int
ask_some(CdpEvaluation *e, CdpRule **list, int n, int from, Answered answered, void *arg,
		 int *sqlstate)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile int i = from;
	volatile int raised = 0;

	PG_TRY();
	{
		for (; i < n; i++)
		{
			CdpRule *rule = list[i];
			Asking a = {e, rule, false};

			if (rule == NULL)
				continue;
			if (rule->guarded && !IsInParallelMode())
			{
				ErrorData *error = cdp_store_try(ask_guarded, &a, cdp_rule_is_error);

				if (error)
				{
					raised = error->sqlerrcode;
					cdp_rule_reset(rule);
					i++;
					break;
				}
			}
			else
			{
				CurrentResourceOwner = e->owner;
				a.answer = ask(e, rule);
				CurrentResourceOwner = owner;
			}
			answered(i, a.answer, arg);
		}
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		error = CopyErrorData();
		if (!cdp_rule_is_error(error->sqlerrcode))
			PG_RE_THROW();
		FlushErrorState();
		raised = error->sqlerrcode;
		clean_up(e, context, owner);
		cdp_rule_reset(list[i]);
		i++;
	}
	PG_END_TRY();
	*sqlstate = raised;
	return i;
}

/* Rules are compiled and their columns in the row. */
static void
prepare(CdpEvaluation *e, CdpRule *rule)
{
	if (rule->list_id != 0 && e->nlists < 0)
	{
		MemoryContext old = MemoryContextSwitchTo(e->person_context);

		e->nlists = cdp_lists_of(e->person.profile_id, e->person.ord, e->now, &e->lists);
		MemoryContextSwitchTo(old);
	}
	cdp_rule_compile(e->rules, rule);
	fetch_columns(e, rule);
}

/* One cdp_eval_ask(). */
typedef struct Round
{
	CdpEvaluation *e;
	CdpRule **list;
	int *index; /* of each in the rules */
	const Bitmapset *which;
	Bitmapset *changed;
	TimestampTz now;
	TimestampTz due;
	CdpFlipped flipped;
	void *arg;
	int n;
} Round;

/* Rules that are asked only if what they need changed. */
static void
skip_unchanged(Round *r, int i)
{
	for (; i < r->n; i++)
	{
		CdpRule *rule = &r->e->rules->rules[r->index[i]];

		if (bms_is_member(r->index[i], r->which) || bms_overlap(rule->uses, r->changed))
		{
			r->list[i] = rule;
			return;
		}
		r->list[i] = NULL;
	}
}

static void
take_answer(int i, bool answer, void *arg)
{
	Round *r = arg;
	CdpEvaluation *e = r->e;
	const CdpRule *rule = r->list[i];
	const CdpListed *on = rule->list_id != 0 ? listed(e, rule) : NULL;
	int column = -1;

	while (rule->timed && (column = bms_next_member(rule->columns, column)) >= 0)
		r->due = Min(r->due, e->due[column]);
	if (on != NULL)
		r->due = Min(r->due, on->until);
	if (e->person.in[r->index[i]] != answer)
	{
		e->person.in[r->index[i]] = answer;
		if (rule->dependents)
			r->changed = bms_add_member(r->changed, r->index[i]);
		r->flipped(&e->person, r->index[i], r->now, r->arg);
	}
	skip_unchanged(r, i + 1);
}

/*
 * Asks these rules of the person, and those that need one whose answer
 * changed.  Returns when to ask again; DT_NOEND: when something happens.
 */
TimestampTz
cdp_eval_ask(CdpEvaluation *e, const Bitmapset *which, TimestampTz now, CdpFlipped flipped,
			 void *arg)
{
	CdpRules *rules = e->rules;
	Bitmapset *all = bms_copy(which);
	CdpMoment moment = {now, DT_NOEND};
	CdpMoment *outer = cdp_moment;
	Round r = {.e = e, .which = which, .now = now, .due = DT_NOEND, .flipped = flipped, .arg = arg};
	bool nested = false;
	bool documents = false;
	int i = -1;

	set_now(e, now);
	while ((i = bms_next_member(which, i)) >= 0)
	{
		nested |= rules->rules[i].uses != NULL || rules->rules[i].dependents != NULL;
		all = bms_add_members(all, rules->rules[i].dependents);
	}
	r.list = palloc(sizeof(CdpRule *) * (bms_num_members(all) + 1));
	r.index = palloc(sizeof(int) * (bms_num_members(all) + 1));
	if (nested)
	{
		for (int k = 0; k < rules->n; k++)
			if (bms_is_member(rules->order[k], all))
				r.index[r.n++] = rules->order[k];
	}
	else
		for (i = bms_next_member(all, -1); i >= 0; i = bms_next_member(all, i))
			r.index[r.n++] = i;
	for (int k = 0; k < r.n; k++)
	{
		CdpRule *rule = &rules->rules[r.index[k]];

		prepare(e, rule);
		documents |= rule->json != NULL;
		r.list[k] = bms_is_member(r.index[k], which) ? rule : NULL;
	}
	if (documents && e->document == NULL)
		(void) make_document(e);
	cdp_moment = &moment;
	PG_TRY();
	{
		skip_unchanged(&r, 0);
		for (int k = 0; k < r.n;)
		{
			int sqlstate;

			k = ask_some(e, r.list, r.n, k, take_answer, &r, &sqlstate);
			if (sqlstate == 0)
				continue;
			/* who makes a rule raise is no member; its parts were forgotten */
			if (e->sqlstates[r.index[k - 1]] == 0)
				e->sqlstates[r.index[k - 1]] = sqlstate;
			cdp_rule_compile(rules, r.list[k - 1]);
			take_answer(k - 1, false, &r);
		}
	}
	PG_FINALLY();
	{
		cdp_moment = outer;
	}
	PG_END_TRY();
	ResetExprContext(e->econtext);
	r.due = Min(r.due, moment.due);
	return r.due == DT_NOEND ? r.due : Max(r.due, now + 1);
}

static void
take_one(int i pg_attribute_unused(), bool answer, void *arg)
{
	*(bool *) arg = answer;
}

/* Does the rule hold for the person?  *sqlstate: it raised. */
bool
cdp_eval_holds(CdpEvaluation *e, CdpRule *rule, TimestampTz now, int *sqlstate)
{
	CdpMoment moment = {now, DT_NOEND};
	CdpMoment *outer = cdp_moment;
	bool answer = false;

	set_now(e, now);
	prepare(e, rule);
	/* its fields may not have been looked at before */
	if (rule->json)
		(void) make_document(e);
	cdp_moment = &moment;
	PG_TRY();
	{
		(void) ask_some(e, &rule, 1, 0, take_one, &answer, sqlstate);
	}
	PG_FINALLY();
	{
		cdp_moment = outer;
	}
	PG_END_TRY();
	ResetExprContext(e->econtext);
	return answer && *sqlstate == 0;
}
