/*
 * src/segment/json.c
 *		What a rule names; rules and values as JSON (see json.h).
 *
 * Conditions were compiled, hence checked, before they are walked here: what
 * has no meaning was refused with its place.
 */
#include "postgres.h"

#include <math.h>

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/uuid.h"

#include "cdp.h"
#include "compat.h"
#include "condition/condition.h"
#include "core/time.h"
#include "segment/json.h"
#include "segment/rule.h"
#include "store.h"

PG_FUNCTION_INFO_V1(cdp_in_segment);
PG_FUNCTION_INFO_V1(cdp_rule_needs_sql);

/* Places in a rule, for messages. */
typedef struct Path
{
	const struct Path *outer;
	const char *name; /* NULL: an index */
	int len;
	int index;
} Path;

static void
refuse(const Path *path, const char *problem, const char *hint)
{
	StringInfoData text;

	initStringInfo(&text);
	for (const Path *p = path; p; p = p->outer)
	{
		char *rest = pstrdup(text.data);

		resetStringInfo(&text);
		if (p->name)
			appendStringInfo(&text, "%.*s%s%s", p->len, p->name,
							 rest[0] && rest[0] != '[' ? "." : "", rest);
		else
			appendStringInfo(&text, "[%d]%s%s", p->index, rest[0] ? "." : "", rest);
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid condition: %s", problem),
			 errdetail("At %s.", text.data), errhint("%s", hint)));
}

static void
add_name(List **names, const char *name, int len)
{
	ListCell *lc;
	char *copy = pnstrdup(name, len);

	foreach(lc, *names)
		if (strcmp(lfirst(lc), copy) == 0)
			return;
	*names = lappend(*names, copy);
}

static bool
is_word(const JsonbValue *key, const char *word)
{
	return key->val.string.len == (int) strlen(word) &&
		   memcmp(key->val.string.val, word, key->val.string.len) == 0;
}

static bool
is_logic(const JsonbValue *key)
{
	return is_word(key, "$and") || is_word(key, "$or") || is_word(key, "$nor") ||
		   is_word(key, "$not");
}

/* Looks through the operators of a field. */
static void
walk_test(const JsonbValue *v, bool is_id, const Path *path, CdpRuleNeeds *needs)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue key;
	int n = 0;

	check_stack_depth();
	if (v->type != jbvBinary)
		return;
	it = JsonbIteratorInit(v->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
	{
		JsonbValue inner;
		Path here = {.outer = path};

		if (token == WJB_ELEM)
		{
			here.index = n++;
			walk_test(&key, is_id, &here, needs);
		}
		if (token != WJB_KEY)
			continue;
		here.name = key.val.string.val;
		here.len = key.val.string.len;
		(void) JsonbIteratorNext(&it, &inner, true);
		if (is_word(&key, "$inGroup") || is_word(&key, "$notInGroup"))
		{
			if (inner.type != jbvString)
				refuse(&here, "a segment's name is missing",
					   "Write {\"profile_id\": {\"$inGroup\": \"vip\"}}.");
			if (!is_id)
				refuse(&here, "only profile_id can be in a segment",
					   "Write {\"profile_id\": {\"$inGroup\": \"vip\"}}.");
			add_name(&needs->segments, inner.val.string.val, inner.val.string.len);
		}
		if (is_word(&key, "$within"))
			needs->timed = true;
		walk_test(&inner, is_id, &here, needs);
	}
}

static void
walk_condition(const JsonbValue *v, const Path *path, CdpRuleNeeds *needs)
{
	JsonbIterator *it = JsonbIteratorInit(v->val.binary.data);
	JsonbIteratorToken token;
	JsonbValue key;
	int n = 0;

	check_stack_depth();
	while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
	{
		Path here = {.outer = path};
		JsonbValue inner;
		const char *dot;
		int len;

		if (token == WJB_ELEM)
		{
			here.index = n++;
			walk_condition(&key, &here, needs);
		}
		if (token != WJB_KEY)
			continue;
		here.name = key.val.string.val;
		here.len = key.val.string.len;
		(void) JsonbIteratorNext(&it, &inner, true);
		if (is_logic(&key))
		{
			walk_condition(&inner, &here, needs);
			continue;
		}
		dot = memchr(key.val.string.val, '.', key.val.string.len);
		len = dot ? (int) (dot - key.val.string.val) : key.val.string.len;
		if ((len == 8 && memcmp(here.name, "segments", 8) == 0) ||
			(len == 11 && memcmp(here.name, "identifiers", 11) == 0))
			refuse(&here, "a rule cannot look at this field",
				   "For another segment write {\"profile_id\": {\"$inGroup\": \"vip\"}}.");
		add_name(&needs->columns, key.val.string.val, len);
		walk_test(&inner, is_word(&key, "profile_id"), &here, needs);
	}
}

static bool
walk_predicate(Node *node, void *context)
{
	CdpRuleNeeds *needs = context;
	char *name;

	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		char *column = get_attname(cdp_store_relation("profile_rule"), ((Var *) node)->varattno,
								   false);

		add_name(&needs->columns, column, (int) strlen(column));
		return false;
	}
	name = cdp_predicate_needs(node);
	if (name)
		add_name(&needs->segments, name, (int) strlen(name));
	if (IsA(node, FuncExpr) && strcmp(get_func_name(((FuncExpr *) node)->funcid), "within") == 0 &&
		get_func_namespace(((FuncExpr *) node)->funcid) == get_namespace_oid(CDP_SCHEMA, false))
		needs->timed = true;
	return expression_tree_walker(node, walk_predicate, context);
}

void
cdp_rule_needs(const char *predicate, const Jsonb *json, CdpRuleNeeds *needs)
{
	if (json)
	{
		CdpCondition *condition = cdp_condition_compile_timed(json);
		JsonbValue root = {.type = jbvBinary};

		cdp_condition_check(condition, true, "cdp.rule_schema() lists the operators.");
		root.val.binary.data = (JsonbContainer *) &json->root;
		root.val.binary.len = VARSIZE(json) - VARHDRSZ;
		walk_condition(&root, NULL, needs);
	}
	else
		(void) walk_predicate(cdp_predicate_analyse(predicate), needs);
}

void
cdp_json_time(TimestampTz ts, char *out)
{
	struct pg_tm tm;
	fsec_t fsec;

	if (ts == DT_NOEND)
		strlcpy(out, "infinity", CDP_JSON_TIME);
	else if (ts == DT_NOBEGIN || timestamp2tm(ts, NULL, &tm, &fsec, NULL, NULL) != 0)
		strlcpy(out, "-infinity", CDP_JSON_TIME);
	else
		snprintf(out, CDP_JSON_TIME, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", tm.tm_year, tm.tm_mon,
				 tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int) fsec);
}

/* cdp.in_segment(name): rules are compiled without calling it. */
Datum
cdp_in_segment(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cdp.in_segment() has a meaning in the predicate of a segment only"),
			 errhint("Elsewhere: segments @> '{vip}', or cdp.members('vip').")));
	PG_RETURN_NULL();
}

static Datum
name_array(List *names)
{
	const char **all = palloc(sizeof(char *) * (list_length(names) + 1));
	int n = 0;
	ListCell *lc;

	foreach(lc, names)
		all[n++] = lfirst(lc);
	return cdp_array_text(all, n);
}

/* cdp.rule_needs(predicate, rule) */
Datum
cdp_rule_needs_sql(PG_FUNCTION_ARGS)
{
	char *predicate = PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0));
	Jsonb *json = PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1);
	MemoryContext context = CurrentMemoryContext;
	MemoryContext old;
	CdpRules *rules;
	CdpRule *rule;
	CdpRuleNeeds needs = {0};
	CdpStore store;
	TupleDesc desc;
	Datum values[3];
	bool nulls[3] = {false, false, false};
	int other = -1;

	if (predicate == NULL && json == NULL)
		PG_RETURN_NULL();
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "cdp: unexpected result type");
	cdp_store_enter(&store);
	old = MemoryContextSwitchTo(context);
	rules = cdp_rules_load();
	rule = cdp_rule_temporary(rules, predicate, json);
	cdp_rule_needs(predicate, json, &needs);
	/* folding constants may raise: now, and not on somebody's event */
	cdp_rule_compile(rules, rule);
	while ((other = bms_next_member(rule->uses, other)) >= 0)
		rule->timed |= rules->rules[other].timed;
	values[0] = name_array(needs.columns);
	values[1] = name_array(needs.segments);
	values[2] = BoolGetDatum(rule->timed);
	MemoryContextSwitchTo(old);
	cdp_store_leave(&store);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* State of cdp_json_times(). */
typedef struct Rewriting
{
	JsonbParseState *state;
	bool (*is_time)(const char *name, int len, void *arg);
	void *arg;
} Rewriting;

/* Pushes a value; with times, where it is a time's text, in our form. */
static JsonbValue *
push_rewritten(Rewriting *r, JsonbIteratorToken token, const JsonbValue *v, bool is_test,
			   bool times)
{
	JsonbValue copy = *v;
	JsonbIterator *it;
	JsonbIteratorToken t;
	JsonbValue key;
	JsonbValue *result = NULL;
	const char *reason;
	int64 ts;
	bool is_array;

	check_stack_depth();
	if (v->type != jbvBinary)
	{
		if (times && v->type == jbvString &&
			cdp_core_parse_timestamp(v->val.string.val, v->val.string.len, &ts, &reason))
		{
			copy.val.string.val = palloc(CDP_JSON_TIME);
			cdp_json_time(ts, copy.val.string.val);
			copy.val.string.len = (int) strlen(copy.val.string.val);
		}
		return pushJsonbValue(&r->state, token, &copy);
	}
	/* a container that holds a key or an element of another begins by itself */
	it = JsonbIteratorInit(v->val.binary.data);
	is_array = JsonContainerIsArray(v->val.binary.data);
	(void) pushJsonbValue(&r->state, is_array ? WJB_BEGIN_ARRAY : WJB_BEGIN_OBJECT, NULL);
	while ((t = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
	{
		JsonbValue inner;

		if (t == WJB_ELEM)
			(void) push_rewritten(r, WJB_ELEM, &key, is_test, times);
		if (t != WJB_KEY)
			continue;
		(void) JsonbIteratorNext(&it, &inner, true);
		(void) pushJsonbValue(&r->state, WJB_KEY, &key);
		if (is_test)
			(void) push_rewritten(r, WJB_VALUE, &inner, true,
								  times && !is_word(&key, "$regex") && !is_word(&key, "$regexi") &&
									  !is_word(&key, "$type") && !is_word(&key, "$within"));
		else if (is_logic(&key))
			(void) push_rewritten(r, WJB_VALUE, &inner, false, false);
		else
			(void) push_rewritten(r, WJB_VALUE, &inner, true,
								  r->is_time(key.val.string.val, key.val.string.len, r->arg));
	}
	result = pushJsonbValue(&r->state, is_array ? WJB_END_ARRAY : WJB_END_OBJECT, NULL);
	return result;
}

Jsonb *
cdp_json_times(Jsonb *rule, bool (*is_time)(const char *name, int len, void *arg), void *arg)
{
	Rewriting r = {.is_time = is_time, .arg = arg};
	JsonbValue root = {.type = jbvBinary};

	root.val.binary.data = &rule->root;
	root.val.binary.len = VARSIZE(rule) - VARHDRSZ;
	return JsonbValueToJsonb(push_rewritten(&r, WJB_VALUE, &root, false, false));
}

static void
push_text(JsonbParseState **state, JsonbIteratorToken token, char *text)
{
	JsonbValue v = {.type = jbvString};

	v.val.string.val = text;
	v.val.string.len = (int) strlen(text);
	(void) pushJsonbValue(state, token, &v);
}

void
cdp_json_push(JsonbParseState **state, JsonbIteratorToken token, Datum value, Oid type)
{
	JsonbValue v = {.type = jbvNumeric};
	Oid element = get_element_type(type);

	switch (type)
	{
		case BOOLOID:
			v.type = jbvBool;
			v.val.boolean = DatumGetBool(value);
			(void) pushJsonbValue(state, token, &v);
			return;
		case INT4OID:
			v.val.numeric = int64_to_numeric(DatumGetInt32(value));
			(void) pushJsonbValue(state, token, &v);
			return;
		case INT8OID:
			v.val.numeric = int64_to_numeric(DatumGetInt64(value));
			(void) pushJsonbValue(state, token, &v);
			return;
		case FLOAT8OID:
			if (isinf(DatumGetFloat8(value)) || isnan(DatumGetFloat8(value)))
				v.type = jbvNull;
			else
				v.val.numeric = DatumGetNumeric(DirectFunctionCall1(float8_numeric, value));
			(void) pushJsonbValue(state, token, &v);
			return;
		case TIMESTAMPTZOID:
		{
			char *text = palloc(CDP_JSON_TIME);

			cdp_json_time(DatumGetTimestampTz(value), text);
			push_text(state, token, text);
			return;
		}
		case DATEOID:
		{
			char buf[MAXDATELEN + 1];

			push_text(state, token,
					  pstrdup(JsonEncodeDateTime(buf, value, DATEOID, NULL)));
			return;
		}
		case UUIDOID:
			push_text(state, token, DatumGetCString(DirectFunctionCall1(uuid_out, value)));
			return;
		case TEXTOID:
			push_text(state, token, TextDatumGetCString(value));
			return;
		default:
			break;
	}
	if (OidIsValid(element))
	{
		Datum *elems;
		bool *nulls;
		int n;
		int16 len;
		bool byval;
		char align;

		get_typlenbyvalalign(element, &len, &byval, &align);
		deconstruct_array(DatumGetArrayTypeP(value), element, len, byval, align, &elems, &nulls,
						  &n);
		(void) pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
		for (int i = 0; i < n; i++)
			if (nulls[i])
			{
				v.type = jbvNull;
				(void) pushJsonbValue(state, WJB_ELEM, &v);
			}
			else
				cdp_json_push(state, WJB_ELEM, elems[i], element);
		(void) pushJsonbValue(state, WJB_END_ARRAY, NULL);
		return;
	}
	if (type == JSONBOID)
	{
		Jsonb *json = DatumGetJsonbP(value);

		if (JB_ROOT_IS_SCALAR(json))
			(void) JsonbExtractScalar(&json->root, &v);
		else
		{
			v.type = jbvBinary;
			v.val.binary.data = &json->root;
			v.val.binary.len = VARSIZE(json) - VARHDRSZ;
		}
		(void) pushJsonbValue(state, token, &v);
		return;
	}
	v.type = jbvNull;
	(void) pushJsonbValue(state, token, &v);
}
