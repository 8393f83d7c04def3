/*
 * src/condition/compile.c
 *		From a rule to a condition (see condition.h).
 *
 * Raises where a rule has no meaning: logic over what is no condition.  Where
 * the language has an answer it stands, even for mistakes: an unknown operator
 * is never met, nor is $in with something that is no list.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "compat.h"
#include "condition/node.h"

/* Where we are in the rule, for error messages. */
typedef struct Place
{
	const struct Place *outer; /* NULL: the root */
	const char *key; /* NULL: an element of an array */
	int len;
	int index;
} Place;

typedef struct Compiling
{
	CdpCondition *root;
	int depth;
	bool timed;
} Compiling;

typedef struct OpName
{
	const char *name;
	CdpOpCode code;
} OpName;

static const OpName op_names[] = {
	{"$eq", CDP_OP_EQ},
	{"$ne", CDP_OP_NE},
	{"$lt", CDP_OP_LT},
	{"$lte", CDP_OP_LTE},
	{"$gt", CDP_OP_GT},
	{"$gte", CDP_OP_GTE},
	{"$veq", CDP_OP_VEQ},
	{"$vne", CDP_OP_VNE},
	{"$vlt", CDP_OP_VLT},
	{"$vlte", CDP_OP_VLTE},
	{"$vgt", CDP_OP_VGT},
	{"$vgte", CDP_OP_VGTE},
	{"$exists", CDP_OP_EXISTS},
	{"$in", CDP_OP_IN},
	{"$ini", CDP_OP_INI},
	{"$nin", CDP_OP_NIN},
	{"$nini", CDP_OP_NINI},
	{"$inGroup", CDP_OP_IN_GROUP},
	{"$notInGroup", CDP_OP_NOT_IN_GROUP},
	{"$all", CDP_OP_ALL},
	{"$alli", CDP_OP_ALLI},
	{"$elemMatch", CDP_OP_ELEM_MATCH},
	{"$size", CDP_OP_SIZE},
	{"$not", CDP_OP_NOT},
	{"$regex", CDP_OP_REGEX},
	{"$regexi", CDP_OP_REGEXI},
	{"$type", CDP_OP_TYPE},
	{"$within", CDP_OP_WITHIN}};

static void compile_condition(Compiling *state, CdpCondition *c, const JsonbValue *rule,
							  const Place *place);
static void compile_test(Compiling *state, CdpTest *test, const JsonbValue *rule, bool fold,
						 const Place *place);

/* "$and[1].age.$gt"; "the root" */
static void
append_place(StringInfo out, const Place *place)
{
	if (place->outer == NULL)
		return;
	append_place(out, place->outer);
	if (place->key == NULL)
		appendStringInfo(out, "[%d]", place->index);
	else
		appendStringInfo(out, "%s%.*s", out->len > 0 ? "." : "", place->len, place->key);
}

static char *
place_text(const Place *place)
{
	StringInfoData out;

	initStringInfo(&out);
	append_place(&out, place);
	if (out.len == 0)
		appendStringInfoString(&out, "the root");
	return out.data;
}

static void
refuse(const Place *place, const char *problem, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid condition: %s", problem),
			 errdetail("At %s.", place_text(place)),
			 hint ? errhint("%s", hint) : 0));
}

static void
enter(Compiling *state, const Place *place)
{
	check_stack_depth();
	if (++state->depth > CDP_CONDITION_MAX_DEPTH)
		refuse(place, "it is nested too deeply",
			   "At most 100 conditions may be inside each other.");
}

static StringInfo
new_text(void)
{
	return makeStringInfo();
}

/* An object whose keys are all operators. */
static bool
has_only_operators(const JsonbValue *rule)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue v;
	bool any = false;
	bool all = true;

	if (!cdp_value_is_object(rule))
		return false;
	it = JsonbIteratorInit(rule->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
		if (token == WJB_KEY)
		{
			any = true;
			all = all && v.val.string.len > 0 && v.val.string.val[0] == '$';
		}
	return any && all;
}

/* The tests of $all, one for each element. */
static void
compile_elements(Compiling *state, CdpOp *op, const JsonbValue *list, bool fold,
				 const Place *place)
{
	JsonbIterator *it = JsonbIteratorInit(list->val.binary.data);
	JsonbIteratorToken token;
	JsonbValue v;

	op->tests = palloc0(sizeof(CdpTest) * Max(JsonContainerSize(list->val.binary.data), 1));
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
		if (token == WJB_ELEM)
		{
			Place element = {.outer = place, .index = op->ntests};

			compile_test(state, &op->tests[op->ntests], &v, fold, &element);
			op->ntests++;
		}
}

/* A list in lower case. */
static void
fold_elements(CdpOp *op, const JsonbValue *list)
{
	JsonbIterator *it = JsonbIteratorInit(list->val.binary.data);
	JsonbIteratorToken token;
	JsonbValue v;

	op->folded = palloc(sizeof(JsonbValue) * Max(JsonContainerSize(list->val.binary.data), 1));
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		if (v.type == jbvString)
		{
			StringInfo text = new_text();

			cdp_value_text(&v, text);
			cdp_value_fold(text);
			v.val.string.val = text->data;
			v.val.string.len = text->len;
		}
		op->folded[op->nfolded++] = v;
	}
}

/* Remembers the first place of its kind. */
static void
note(const char **first, const Place *place)
{
	if (*first == NULL)
		*first = place_text(place);
}

static void
compile_pattern(Compiling *state, CdpOp *op, const JsonbValue *expected, const Place *place)
{
	const char *problem = NULL;
	const char *hint = NULL;

	if (expected->type == jbvString)
		op->pattern = cdp_pattern_compile(expected->val.string.val, expected->val.string.len,
										  op->code == CDP_OP_REGEXI, &problem, &hint);
	if (problem)
		refuse(place, problem, hint);
	if (op->pattern == NULL)
		note(&state->root->no_pattern, place);
}

static void
compile_op(Compiling *state, CdpOp *op, const JsonbValue *name, const JsonbValue *expected,
		   const Place *place)
{
	for (int i = 0; i < (int) lengthof(op_names); i++)
		if (strlen(op_names[i].name) == (size_t) name->val.string.len &&
			memcmp(op_names[i].name, name->val.string.val, name->val.string.len) == 0)
			op->code = op_names[i].code;
	/* there is no clock to ask */
	if (op->code == CDP_OP_WITHIN && !state->timed)
		op->code = CDP_OP_UNKNOWN;
	op->expected = *expected;
	op->flag = cdp_value_is_array(expected);
	switch (op->code)
	{
		case CDP_OP_UNKNOWN:
			note(&state->root->unknown, place);
			break;
		case CDP_OP_VEQ:
		case CDP_OP_VNE:
		case CDP_OP_VLT:
		case CDP_OP_VLTE:
		case CDP_OP_VGT:
		case CDP_OP_VGTE:
			op->text = new_text();
			cdp_value_version(expected, op->text);
			break;
		case CDP_OP_EXISTS:
			op->flag = cdp_value_truth(expected);
			break;
		case CDP_OP_INI:
		case CDP_OP_NINI:
			if (op->flag)
				fold_elements(op, expected);
			break;
		case CDP_OP_IN_GROUP:
		case CDP_OP_NOT_IN_GROUP:
			op->text = new_text();
			cdp_value_text(expected, op->text);
			note(&state->root->group, place);
			break;
		case CDP_OP_TYPE:
			if (expected->type == jbvString)
			{
				op->text = new_text();
				cdp_value_text(expected, op->text);
			}
			break;
		case CDP_OP_ALL:
		case CDP_OP_ALLI:
			if (op->flag)
				compile_elements(state, op, expected, op->code == CDP_OP_ALLI, place);
			break;
		case CDP_OP_ELEM_MATCH:
			if (!cdp_value_is_object(expected))
				refuse(place, "$elemMatch takes a condition",
					   "Write {\"$elemMatch\": {\"$eq\": \"a\"}}, or for elements that are objects "
					   "{\"$elemMatch\": {\"name\": \"a\"}}.");
			if (!has_only_operators(expected))
			{
				op->condition = palloc0(sizeof(CdpCondition));
				compile_condition(state, op->condition, expected, place);
				break;
			}
			/* FALLTHROUGH */
		case CDP_OP_SIZE:
		case CDP_OP_NOT:
			op->tests = palloc0(sizeof(CdpTest));
			op->ntests = 1;
			compile_test(state, &op->tests[0], expected, false, place);
			break;
		case CDP_OP_REGEX:
		case CDP_OP_REGEXI:
			compile_pattern(state, op, expected, place);
			break;
		case CDP_OP_WITHIN:
			if (expected->type != jbvString ||
				!cdp_core_period_parse(expected->val.string.val, expected->val.string.len,
									   &op->period))
				refuse(place, "$within takes a length of time",
					   "Write {\"$within\": \"7 days\"}; units are seconds, minutes, hours, days, "
					   "weeks, months and years.");
			break;
		default:
			break;
	}
}

static void
compile_test(Compiling *state, CdpTest *test, const JsonbValue *rule, bool fold,
			 const Place *place)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue key;
	JsonbValue v;

	enter(state, place);
	test->value = *rule;
	test->fold = fold;
	switch (rule->type)
	{
		case jbvNull:
			test->kind = CDP_TEST_NULL;
			break;
		case jbvBool:
			test->kind = CDP_TEST_BOOL;
			break;
		case jbvNumeric:
			test->kind = CDP_TEST_NUMBER;
			(void) cdp_value_number(rule, &test->number);
			break;
		case jbvString:
			test->kind = CDP_TEST_TEXT;
			if (fold)
			{
				StringInfo text = new_text();

				cdp_value_text(rule, text);
				cdp_value_fold(text);
				test->value.val.string.val = text->data;
				test->value.val.string.len = text->len;
			}
			break;
		default:
			test->kind = CDP_TEST_DOCUMENT;
			break;
	}
	if (has_only_operators(rule))
	{
		test->kind = CDP_TEST_OPERATORS;
		test->ops = palloc0(sizeof(CdpOp) * JsonContainerSize(rule->val.binary.data));
		it = JsonbIteratorInit(rule->val.binary.data);
		while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
			if (token == WJB_KEY)
			{
				Place inner = {.outer = place};

				inner.key = key.val.string.val;
				inner.len = key.val.string.len;
				(void) JsonbIteratorNext(&it, &v, true);
				compile_op(state, &test->ops[test->nops++], &key, &v, &inner);
			}
	}
	state->depth--;
}

/* The place in an array that a part of a path names, -1 if none. */
static int
array_index(const char *s, int len)
{
	int index = 0;

	if (len == 0 || len > 9 || (len > 1 && s[0] == '0'))
		return -1;
	for (int i = 0; i < len; i++)
	{
		if (s[i] < '0' || s[i] > '9')
			return -1;
		index = index * 10 + (s[i] - '0');
	}
	return index;
}

static void
compile_path(CdpClause *clause, const JsonbValue *key)
{
	const char *s = key->val.string.val;
	const char *end = s + key->val.string.len;
	int n = 1;

	for (const char *p = s; p < end; p++)
		n += *p == '.';
	clause->parts = palloc(sizeof(CdpPathPart) * n);
	for (;;)
	{
		const char *dot = memchr(s, '.', end - s);
		CdpPathPart *part = &clause->parts[clause->nparts++];

		part->name = s;
		part->len = (int) ((dot ? dot : end) - s);
		part->index = array_index(part->name, part->len);
		if (dot == NULL)
			break;
		s = dot + 1;
	}
}

/* The conditions of $and, $or, $nor: a list; of $not: one. */
static void
compile_logic(Compiling *state, CdpClause *clause, const JsonbValue *v, const Place *place)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue item;

	if (clause->kind == CDP_CLAUSE_NOT)
	{
		clause->conditions = palloc(sizeof(CdpCondition *));
		clause->conditions[clause->nconditions++] = palloc0(sizeof(CdpCondition));
		compile_condition(state, clause->conditions[0], v, place);
		return;
	}
	if (!cdp_value_is_array(v))
		refuse(place, "a list of conditions is missing",
			   "Write {\"$or\": [{\"country\": \"JP\"}, {\"vip\": true}]}.");
	clause->conditions =
		palloc(sizeof(CdpCondition *) * Max(JsonContainerSize(v->val.binary.data), 1));
	it = JsonbIteratorInit(v->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
		if (token == WJB_ELEM)
		{
			Place element = {.outer = place, .index = clause->nconditions};
			CdpCondition *c = palloc0(sizeof(CdpCondition));

			compile_condition(state, c, &item, &element);
			clause->conditions[clause->nconditions++] = c;
		}
}

static bool
is_key(const JsonbValue *key, const char *name)
{
	return strlen(name) == (size_t) key->val.string.len &&
		   memcmp(key->val.string.val, name, key->val.string.len) == 0;
}

static void
compile_condition(Compiling *state, CdpCondition *c, const JsonbValue *rule, const Place *place)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue key;
	JsonbValue v;

	enter(state, place);
	if (!cdp_value_is_object(rule))
		refuse(place, "a condition is a JSON object", "Write {\"country\": \"JP\"}.");
	c->clauses = palloc0(sizeof(CdpClause) * Max(JsonContainerSize(rule->val.binary.data), 1));
	it = JsonbIteratorInit(rule->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
	{
		CdpClause *clause = &c->clauses[c->n];
		Place inner = {.outer = place, .key = key.val.string.val, .len = key.val.string.len};

		if (token != WJB_KEY)
			continue;
		(void) JsonbIteratorNext(&it, &v, true);
		clause->kind = is_key(&key, "$and") ? CDP_CLAUSE_AND :
					   is_key(&key, "$or")	? CDP_CLAUSE_OR :
					   is_key(&key, "$nor") ? CDP_CLAUSE_NOR :
					   is_key(&key, "$not") ? CDP_CLAUSE_NOT :
											  CDP_CLAUSE_PATH;
		if (clause->kind != CDP_CLAUSE_PATH)
			compile_logic(state, clause, &v, &inner);
		else
		{
			compile_path(clause, &key);
			compile_test(state, &clause->test, &v, false, &inner);
		}
		c->n++;
	}
	state->depth--;
}

static CdpCondition *
compile(const Jsonb *rule, bool timed)
{
	Jsonb *copy = palloc(VARSIZE(rule));
	Compiling state = {.timed = timed};
	Place root = {0};
	JsonbValue v;

	/* what is compiled points into the rule */
	memcpy(copy, rule, VARSIZE(rule));
	cdp_value_of_root(copy, &v);
	state.root = palloc0(sizeof(CdpCondition));
	compile_condition(&state, state.root, &v, &root);
	return state.root;
}

CdpCondition *
cdp_condition_compile(const Jsonb *rule)
{
	return compile(rule, false);
}

CdpCondition *
cdp_condition_compile_timed(const Jsonb *rule)
{
	return compile(rule, true);
}

static void
refuse_kept(const char *place, const char *problem, const char *hint)
{
	if (place)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid condition: %s", problem), errdetail("At %s.", place),
				 errhint("%s", hint)));
}

void
cdp_condition_check(const CdpCondition *c, bool groups, const char *operators_hint)
{
	refuse_kept(c->unknown, "there is no such operator", operators_hint);
	refuse_kept(c->no_pattern, "this is no regular expression",
				"It is a text in the syntax of ECMAScript, without flags.");
	if (!groups)
		refuse_kept(c->group, "there are no groups here",
					"Whether somebody is in a segment, rules of segments ask.");
}
