/*
 * src/profile/preview.c
 *		What a rule finds before it is a segment, and why somebody is in one.
 *
 * Rules are asked of everybody whom the caller may see, as the segments' own
 * are.  What he may not see is neither counted nor shown.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "consent/consent.h"
#include "segment/clause.h"
#include "segment/eval.h"
#include "segment/json.h"
#include "segment/segment.h"
#include "store.h"

/* Ids shown. */
#define SAMPLE 10

/* People in one fetch. */
#define FETCH 10000

PG_FUNCTION_INFO_V1(cdp_preview);
PG_FUNCTION_INFO_V1(cdp_why);

static CdpPlan people_plan = {
	"SELECT s.profile_id, s.ord FROM cdp_data.profile_state s WHERE s.profile_id > $1 "
	"ORDER BY s.profile_id LIMIT $2",
	2,
	{INT8OID, INT8OID},
	NULL};

static CdpPlan segment_plan = {
	"SELECT g.segment_id, g.predicate, g.rule, g.state, coalesce(g.list_id, 0) "
	"FROM cdp_data.segment g WHERE g.name = $1",
	1,
	{TEXTOID},
	NULL};

static CdpPlan since_plan = {
	"SELECT CASE WHEN m.since = 'infinity' THEN g.live_from ELSE m.since END "
	"FROM cdp_data.segment g JOIN cdp_data.segment_member m "
	"  ON m.segment_id = ANY (ARRAY[g.set_id]) AND m.ord = $2 WHERE g.segment_id = $1",
	2,
	{INT4OID, INT4OID},
	NULL};

/* A rule and its parts, ready to be asked. */
typedef struct Parts
{
	CdpRules *rules;
	CdpRule *whole;
	int n;
	CdpRule **parts;
	char **texts;
	bool any;
	/* to be read */
	text *predicate;
	Jsonb *json;
} Parts;

static void
push_name(JsonbParseState **state, const char *name)
{
	JsonbValue v = {.type = jbvString};

	v.val.string.val = (char *) name;
	v.val.string.len = (int) strlen(name);
	(void) pushJsonbValue(state, WJB_KEY, &v);
}

static void
push_string(JsonbParseState **state, const char *name, const char *value)
{
	JsonbValue v = {.type = jbvString};

	if (value == NULL)
		return;
	push_name(state, name);
	v.val.string.val = (char *) value;
	v.val.string.len = (int) strlen(value);
	(void) pushJsonbValue(state, WJB_VALUE, &v);
}

static void
push_bool(JsonbParseState **state, const char *name, bool value)
{
	JsonbValue v = {.type = jbvBool};

	push_name(state, name);
	v.val.boolean = value;
	(void) pushJsonbValue(state, WJB_VALUE, &v);
}

static void
push_int(JsonbParseState **state, const char *name, int64 value)
{
	JsonbValue v = {.type = jbvNumeric};

	v.val.numeric = int64_to_numeric(value);
	if (name)
		push_name(state, name);
	(void) pushJsonbValue(state, name ? WJB_VALUE : WJB_ELEM, &v);
}

/* A part of one, in steps of 0.0001. */
static void
push_share(JsonbParseState **state, const char *name, int64 part, int64 whole)
{
	JsonbValue v = {.type = jbvNumeric};
	int64 steps = whole == 0 ? 0 : (part * 20000 + whole) / (whole * 2);

	v.val.numeric = int64_div_fast_to_numeric(steps, 4);
	push_name(state, name);
	(void) pushJsonbValue(state, WJB_VALUE, &v);
}

/* A part of a rule, as it was written. */
static void
push_clause(JsonbParseState **state, const CdpRule *part, const char *text)
{
	push_name(state, "clause");
	if (part->json)
		cdp_json_push(state, WJB_VALUE, JsonbPGetDatum(part->json), JSONBOID);
	else
	{
		JsonbValue v = {.type = jbvString};

		v.val.string.val = (char *) text;
		v.val.string.len = (int) strlen(text);
		(void) pushJsonbValue(state, WJB_VALUE, &v);
	}
}

/* Segments that a rule names must be there. */
static void
require_segments(const CdpRules *rules, const char *predicate, const Jsonb *json)
{
	CdpRuleNeeds needs = {0};
	ListCell *lc;

	cdp_rule_needs(predicate, json, &needs);
	foreach(lc, needs.segments)
	{
		bool found = false;

		for (int i = 0; i < rules->n && !found; i++)
			found = strcmp(rules->rules[i].name, lfirst(lc)) == 0;
		if (!found)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("segment \"%s\" does not exist", (char *) lfirst(lc)),
					 errhint("SELECT name FROM cdp.segments lists them.")));
	}
}

/* Checks and compiles a rule and its parts.  Raises what is wrong with it. */
static void
take_apart(void *arg)
{
	Parts *p = arg;
	char *canonical = NULL;
	List *clauses;
	ListCell *lc;

	p->rules = cdp_rules_shown();
	if (p->json == NULL)
		canonical = TextDatumGetCString(
			DirectFunctionCall1(cdp_check_predicate, PointerGetDatum(p->predicate)));
	require_segments(p->rules, canonical, p->json);
	p->whole = cdp_rule_temporary(p->rules, canonical, p->json);
	cdp_rule_compile(p->rules, p->whole);
	clauses = cdp_rule_clauses(canonical, p->json, &p->any);
	p->parts = palloc(sizeof(CdpRule *) * (list_length(clauses) + 1));
	p->texts = palloc(sizeof(char *) * (list_length(clauses) + 1));
	foreach(lc, clauses)
	{
		CdpRuleClause *clause = lfirst(lc);

		p->texts[p->n] = clause->text;
		p->parts[p->n] = cdp_rule_temporary(p->rules, clause->predicate, clause->json);
		cdp_rule_compile(p->rules, p->parts[p->n++]);
	}
}

/* Mistakes of whoever wrote the rule. */
static bool
is_mistake(int sqlstate)
{
	return cdp_rule_is_error(sqlstate) || sqlstate == ERRCODE_INVALID_OBJECT_DEFINITION;
}

/* {"error": {...}}: what is wrong with the rule, and where. */
static Datum
error_result(const ErrorData *error)
{
	JsonbParseState *state = NULL;
	const char *path = NULL;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_name(&state, "error");
	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_string(&state, "message", error->message);
	push_string(&state, "sqlstate", unpack_sql_state(error->sqlerrcode));
	/* "At $and[1].age.$gt." */
	if (error->detail && strncmp(error->detail, "At ", 3) == 0)
		path = pnstrdup(error->detail + 3, strlen(error->detail) - 4);
	push_string(&state, "path", path);
	push_string(&state, "hint", error->hint);
	if (error->internalpos > 0 || error->cursorpos > 0)
		push_int(&state, "position", Max(error->internalpos, error->cursorpos));
	(void) pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
}

/* What was counted. */
typedef struct Counted
{
	int64 people;
	int64 size;
	int64 raised;
	int64 *sizes; /* by part */
	int64 sample[SAMPLE];
	int nsample;
} Counted;

/* Asks everybody whom the caller may see. */
static void
count_people(const Parts *p, Oid caller, Counted *c)
{
	CdpEvaluation *e = cdp_eval_begin(p->rules, true);
	TimestampTz now = cdp_now();
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext, "cdp preview",
											   ALLOCSET_DEFAULT_SIZES);
	int64 last = 0;
	int rows;

	do
	{
		Datum args[2] = {Int64GetDatum(last), Int64GetDatum(FETCH)};
		MemoryContext old;
		int64 *ids;
		int32 *ords;

		rows = cdp_store_run(&people_plan, args, NULL, true, -1);
		old = MemoryContextSwitchTo(work);
		ids = palloc(sizeof(int64) * Max(rows, 1));
		ords = palloc(sizeof(int32) * Max(rows, 1));
		for (int r = 0; r < rows; r++)
		{
			ids[r] = last = cdp_store_int64(r, 1);
			ords[r] = (int32) cdp_store_int64(r, 2);
		}
		SPI_freetuptable(SPI_tuptable);
		for (int r = 0; r < rows; r++)
		{
			int sqlstate;

			CHECK_FOR_INTERRUPTS();
			if (!cdp_consent_sees(caller, ords[r]) ||
				cdp_segment_person(e, p->rules, ids[r], now) == NULL)
				continue;
			c->people++;
			if (cdp_eval_holds(e, p->whole, now, &sqlstate))
			{
				c->size++;
				if (c->nsample < SAMPLE)
					c->sample[c->nsample++] = ids[r];
			}
			c->raised += sqlstate != 0;
			for (int k = 0; k < p->n; k++)
				c->sizes[k] += cdp_eval_holds(e, p->parts[k], now, &sqlstate);
		}
		MemoryContextSwitchTo(old);
		MemoryContextReset(work);
	} while (rows == FETCH);
	cdp_eval_end(e);
}

/* cdp.preview(predicate, rule) */
Datum
cdp_preview(PG_FUNCTION_ARGS)
{
	MemoryContext context = CurrentMemoryContext;
	Parts parts = {0};
	Counted counted = {0};
	JsonbParseState *state = NULL;
	ErrorData *error;
	CdpStore store;
	Datum result;

	if (PG_ARGISNULL(0) && PG_ARGISNULL(1))
		PG_RETURN_NULL();
	parts.predicate = PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0);
	parts.json = PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1);
	cdp_store_enter(&store);
	MemoryContextSwitchTo(context);
	error = cdp_store_try(take_apart, &parts, is_mistake);
	if (error)
	{
		cdp_store_leave(&store);
		MemoryContextSwitchTo(context);
		return error_result(error);
	}
	counted.sizes = palloc0(sizeof(int64) * (parts.n + 1));
	count_people(&parts, store.caller, &counted);

	MemoryContextSwitchTo(context);
	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_int(&state, "size", counted.size);
	push_int(&state, "people", counted.people);
	push_share(&state, "share", counted.size, counted.people);
	push_string(&state, "match", parts.any ? "any" : "all");
	push_name(&state, "clauses");
	(void) pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	for (int k = 0; k < parts.n; k++)
	{
		(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		push_clause(&state, parts.parts[k], parts.texts[k]);
		push_int(&state, "size", counted.sizes[k]);
		push_share(&state, "share", counted.sizes[k], counted.people);
		(void) pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	}
	(void) pushJsonbValue(&state, WJB_END_ARRAY, NULL);
	push_name(&state, "sample");
	(void) pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	for (int k = 0; k < counted.nsample; k++)
		push_int(&state, NULL, counted.sample[k]);
	(void) pushJsonbValue(&state, WJB_END_ARRAY, NULL);
	if (counted.raised > 0)
		push_int(&state, "raised", counted.raised);
	result = JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
	cdp_store_leave(&store);
	PG_RETURN_DATUM(result);
}

/* The values that a rule looks at. */
static void
push_values(JsonbParseState **state, CdpEvaluation *e, const CdpRule *rule, TimestampTz now)
{
	ListCell *lc;

	push_name(state, "values");
	(void) pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	foreach(lc, rule->fields)
	{
		const char *field = lfirst(lc);
		const CdpRules *rules = cdp_eval_rules(e);
		int column = cdp_rules_column(rules, field);
		bool trait = column < 0;
		bool isnull;
		Datum value;
		JsonbValue v = {.type = jbvNull};

		if (trait)
			column = cdp_rules_column(rules, "traits");
		value = cdp_eval_value(e, column, now, &isnull);
		push_name(state, field);
		if (isnull)
			(void) pushJsonbValue(state, WJB_VALUE, &v);
		else if (!trait)
			cdp_json_push(state, WJB_VALUE, value, rules->columns[column].type);
		else
		{
			Jsonb *traits = DatumGetJsonbP(value);
			JsonbValue *found = getKeyJsonValueFromContainer(&traits->root, field,
															 (int) strlen(field), NULL);

			(void) pushJsonbValue(state, WJB_VALUE, found ? found : &v);
		}
	}
	(void) pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

/* Since when somebody is in one segment. */
typedef struct Since
{
	int32 set_id;
	bool found;
	TimestampTz at; /* DT_NOBEGIN: as stored */
} Since;

static void
take_person(int64 profile_id pg_attribute_unused(), int32 ord pg_attribute_unused(),
			void *arg pg_attribute_unused())
{
}

static void
take_left(int32 set_id pg_attribute_unused(), TimestampTz entered pg_attribute_unused(),
		  TimestampTz at pg_attribute_unused(), void *arg pg_attribute_unused())
{
}

static void
take_in(int32 set_id, TimestampTz since, void *arg)
{
	Since *s = arg;

	if (set_id != s->set_id)
		return;
	s->found = true;
	s->at = since;
}

/* As of now, though time may have made her enter and nothing is written yet. */
static bool
find_since(const CdpPerson *person, int32 segment_id, TimestampTz now, TimestampTz *since)
{
	const CdpRules *rules = cdp_rules_shown();
	int rule = cdp_rules_of(rules, segment_id);
	Since s = {.set_id = rule < 0 ? 0 : rules->rules[rule].id};
	CdpLook look = {take_person, take_left, take_in, &s};
	int64 id = person->profile_id;
	Datum args[2] = {Int32GetDatum(segment_id), Int32GetDatum(person->ord)};

	cdp_segment_look(&id, 1, now, &look);
	*since = s.at;
	if (!s.found || s.at != DT_NOBEGIN)
		return s.found;
	if (cdp_store_run(&since_plan, args, NULL, true, -1) != 1)
		return false;
	*since = cdp_store_int64(0, 1);
	return true;
}

/* cdp.why(profile_id, segment) */
Datum
cdp_why(PG_FUNCTION_ARGS)
{
	int64 id = PG_GETARG_INT64(0);
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(1));
	MemoryContext context = CurrentMemoryContext;
	TimestampTz now = cdp_now();
	JsonbParseState *state = NULL;
	CdpEvaluation *e;
	CdpStore store;
	CdpRules *rules;
	CdpPerson *person = NULL;
	CdpRule *rule;
	List *clauses;
	ListCell *lc;
	Datum args[1];
	Datum result;
	TimestampTz entered;
	int32 segment_id;
	int32 list_id;
	char *predicate;
	Jsonb *json = NULL;
	bool isnull;
	bool any = false;
	char *unused; /* why nobody is in it, or NULL */
	bool member;
	int sqlstate = 0;
	Datum d;
	char since[CDP_JSON_TIME];

	cdp_store_enter(&store);
	args[0] = CStringGetTextDatum(name);
	if (cdp_store_run(&segment_plan, args, NULL, true, -1) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("segment \"%s\" does not exist", name),
				 errhint("SELECT name FROM cdp.segments lists them.")));
	segment_id = (int32) cdp_store_int64(0, 1);
	predicate = cdp_store_text(0, 2);
	d = cdp_store_value(0, 3, &isnull);
	if (!isnull)
		json = DatumGetJsonbPCopy(d);
	unused = cdp_store_text(0, 4);
	list_id = (int32) cdp_store_int64(0, 5);
	if (strcmp(unused, "active") == 0)
		unused = NULL;
	rules = cdp_rules_shown();
	e = cdp_eval_begin(rules, true);
	id = cdp_graph_canonical(id, true);
	if (id != 0)
		person = cdp_segment_person(e, rules, id, now);
	if (person == NULL || !cdp_consent_sees(store.caller, person->ord))
	{
		cdp_eval_end(e);
		cdp_store_leave(&store);
		PG_RETURN_NULL();
	}
	rule = list_id == 0 ? cdp_rule_temporary(rules, predicate, json) : palloc0(sizeof(CdpRule));
	rule->list_id = list_id;
	member = cdp_eval_holds(e, rule, now, &sqlstate) && !unused;
	clauses = list_id == 0 ? cdp_rule_clauses(predicate, json, &any) : NIL;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_string(&state, "segment", name);
	push_int(&state, "profile_id", id);
	push_bool(&state, "member", member);
	push_string(&state, "state", unused);
	if (member && find_since(person, segment_id, now, &entered))
	{
		cdp_json_time(entered, since);
		push_string(&state, "since", since);
	}
	if (sqlstate != 0)
		push_string(&state, "raised", unpack_sql_state(sqlstate));
	push_string(&state, "match", any ? "any" : "all");
	push_name(&state, "clauses");
	(void) pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	foreach(lc, clauses)
	{
		const CdpRuleClause *clause = lfirst(lc);
		CdpRule *part = cdp_rule_temporary(rules, clause->predicate, clause->json);

		(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		push_clause(&state, part, clause->text);
		push_bool(&state, "holds", cdp_eval_holds(e, part, now, &sqlstate));
		if (sqlstate != 0)
			push_string(&state, "raised", unpack_sql_state(sqlstate));
		(void) pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	}
	(void) pushJsonbValue(&state, WJB_END_ARRAY, NULL);
	push_values(&state, e, rule, now);
	MemoryContextSwitchTo(context);
	result = JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
	cdp_eval_end(e);
	cdp_store_leave(&store);
	PG_RETURN_DATUM(result);
}
