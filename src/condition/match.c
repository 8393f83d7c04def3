/*
 * src/condition/match.c
 *		Holds a document against a compiled condition.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "compat.h"
#include "condition/node.h"
#include "core/time.h"

/* What is the same for all of one evaluation. */
typedef struct Matching
{
	Jsonb *groups;
	const CdpConditionWorld *world; /* or NULL */
} Matching;

static bool meets(const Matching *m, const CdpCondition *c, const JsonbValue *v);
static bool passes(const Matching *m, const CdpTest *test, const JsonbValue *v);

/*
 * The value at a path; null if it is not there.  In arrays a part of the path
 * is a place, from 0, or "length".
 */
static void
at_path(const JsonbValue *from, const CdpClause *clause, JsonbValue *v)
{
	*v = *from;
	for (int i = 0; i < clause->nparts; i++)
	{
		const CdpPathPart *part = &clause->parts[i];
		JsonbValue *found = NULL;

		if (cdp_value_is_object(v))
		{
			JsonbContainer *object = v->val.binary.data;

			found = getKeyJsonValueFromContainer(object, part->name, part->len, v);
		}
		else if (cdp_value_is_array(v) && part->index >= 0)
		{
			found = getIthJsonbValueFromContainer(v->val.binary.data, (uint32) part->index);
			if (found)
				*v = *found;
		}
		else if (cdp_value_is_array(v) && part->len == 6 && memcmp(part->name, "length", 6) == 0)
		{
			v->val.numeric = int64_to_numeric(JsonContainerSize(v->val.binary.data));
			v->type = jbvNumeric;
			found = v;
		}
		if (found == NULL)
		{
			v->type = jbvNull;
			return;
		}
	}
}

/* Is a value in an array? */
static bool
contains(JsonbContainer *array, const JsonbValue *v)
{
	JsonbValue key = *v;

	return cdp_value_is_scalar(v) && findJsonbValueFromContainer(array, JB_FARRAY, &key) != NULL;
}

static bool
contains_folded(const CdpOp *op, const JsonbValue *v)
{
	JsonbValue key = *v;

	if (v->type == jbvString)
	{
		StringInfoData text;

		initStringInfo(&text);
		cdp_value_text(v, &text);
		cdp_value_fold(&text);
		key.val.string.val = text.data;
		key.val.string.len = text.len;
	}
	for (int i = 0; i < op->nfolded; i++)
		if (cdp_value_same(&op->folded[i], &key))
			return true;
	return false;
}

/*
 * Is the value, or if it is an array one of its elements, in the list?  The
 * list is an array, or NULL: that of the operator, in lower case.
 */
static bool
is_in(const CdpOp *op, JsonbContainer *list, const JsonbValue *v)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue item;

	if (!cdp_value_is_array(v))
		return list ? contains(list, v) : contains_folded(op, v);
	it = JsonbIteratorInit(v->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
		if (token == WJB_ELEM && (list ? contains(list, &item) : contains_folded(op, &item)))
			return true;
	return false;
}

static bool
is_in_group(const Matching *m, const CdpOp *op, const JsonbValue *v)
{
	JsonbValue group;

	if (m->world)
		return m->world->in_group(op->text->data, op->text->len, m->world->arg);
	if (m->groups == NULL || !JB_ROOT_IS_OBJECT(m->groups) ||
		getKeyJsonValueFromContainer(&m->groups->root, op->text->data, op->text->len, &group) ==
			NULL)
		return false;
	return cdp_value_is_array(&group) && is_in(op, group.val.binary.data, v);
}

/* Is there for each element of the list one of the value that passes? */
static bool
has_all(const Matching *m, const CdpOp *op, const JsonbValue *v)
{
	if (!cdp_value_is_array(v))
		return false;
	for (int i = 0; i < op->ntests; i++)
	{
		JsonbIterator *it = JsonbIteratorInit(v->val.binary.data);
		JsonbIteratorToken token;
		JsonbValue item;
		bool passed = false;

		CHECK_FOR_INTERRUPTS();
		while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
			if (token == WJB_ELEM && !passed)
				passed = passes(m, &op->tests[i], &item);
		if (!passed)
			return false;
	}
	return true;
}

/* Is there an element that matches?  One that is false, 0, "" or null never does. */
static bool
elem_match(const Matching *m, const CdpOp *op, const JsonbValue *v)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue item;

	if (!cdp_value_is_array(v))
		return false;
	it = JsonbIteratorInit(v->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
		if (token == WJB_ELEM && cdp_value_truth(&item) &&
			(op->condition ? meets(m, op->condition, &item) : passes(m, &op->tests[0], &item)))
			return true;
	return false;
}

static bool
has_type(const CdpOp *op, const JsonbValue *v)
{
	const char *type = v->type == jbvNull	 ? "null" :
					   v->type == jbvBool	 ? "boolean" :
					   v->type == jbvString	 ? "string" :
					   v->type == jbvNumeric ? "number" :
					   cdp_value_is_array(v) ? "array" :
											   "object";

	return op->text && strcmp(op->text->data, type) == 0;
}

static bool
matches_pattern(const CdpOp *op, const JsonbValue *v)
{
	StringInfoData text;

	if (op->pattern == NULL)
		return false;
	initStringInfo(&text);
	cdp_value_text(v, &text);
	if (op->code == CDP_OP_REGEXI)
		cdp_value_fold(&text);
	return cdp_pattern_matches(op->pattern, &text);
}

/* A time as text, or as seconds or milliseconds since 1970. */
static bool
is_within(const Matching *m, const CdpOp *op, const JsonbValue *v)
{
	const char *reason;
	int64 ts;
	double number;

	if (m->world == NULL)
		return false;
	if (v->type == jbvString ?
			!cdp_core_parse_timestamp(v->val.string.val, v->val.string.len, &ts, &reason) :
			v->type != jbvNumeric || !cdp_value_number(v, &number) ||
				!cdp_core_epoch_to_timestamp(number, &ts))
		return false;
	return m->world->within(ts, &op->period, m->world->arg);
}

/* The sign of the version against the operator's. */
static int
compare_version(const CdpOp *op, const JsonbValue *v)
{
	StringInfoData version;

	initStringInfo(&version);
	cdp_value_version(v, &version);
	return cdp_value_compare_bytes(version.data, version.len, op->text->data, op->text->len);
}

static bool
operate(const Matching *m, const CdpOp *op, const JsonbValue *v)
{
	JsonbValue size;
	int cmp;

	switch (op->code)
	{
		case CDP_OP_UNKNOWN:
			return false;
		case CDP_OP_EQ:
			return cdp_value_same(v, &op->expected);
		case CDP_OP_NE:
			return !cdp_value_same(v, &op->expected);
		case CDP_OP_LT:
			return cdp_value_compare(v, &op->expected, &cmp) && cmp < 0;
		case CDP_OP_LTE:
			return cdp_value_compare(v, &op->expected, &cmp) && cmp <= 0;
		case CDP_OP_GT:
			return cdp_value_compare(v, &op->expected, &cmp) && cmp > 0;
		case CDP_OP_GTE:
			return cdp_value_compare(v, &op->expected, &cmp) && cmp >= 0;
		case CDP_OP_VEQ:
			return compare_version(op, v) == 0;
		case CDP_OP_VNE:
			return compare_version(op, v) != 0;
		case CDP_OP_VLT:
			return compare_version(op, v) < 0;
		case CDP_OP_VLTE:
			return compare_version(op, v) <= 0;
		case CDP_OP_VGT:
			return compare_version(op, v) > 0;
		case CDP_OP_VGTE:
			return compare_version(op, v) >= 0;
		case CDP_OP_EXISTS:
			return op->flag == (v->type != jbvNull);
		case CDP_OP_IN:
			return op->flag && is_in(op, op->expected.val.binary.data, v);
		case CDP_OP_INI:
			return op->flag && is_in(op, NULL, v);
		case CDP_OP_NIN:
			return op->flag && !is_in(op, op->expected.val.binary.data, v);
		case CDP_OP_NINI:
			return op->flag && !is_in(op, NULL, v);
		case CDP_OP_IN_GROUP:
			return is_in_group(m, op, v);
		case CDP_OP_NOT_IN_GROUP:
			return !is_in_group(m, op, v);
		case CDP_OP_ALL:
		case CDP_OP_ALLI:
			return op->flag && has_all(m, op, v);
		case CDP_OP_ELEM_MATCH:
			return elem_match(m, op, v);
		case CDP_OP_SIZE:
			if (!cdp_value_is_array(v))
				return false;
			size.type = jbvNumeric;
			size.val.numeric = int64_to_numeric(JsonContainerSize(v->val.binary.data));
			return passes(m, &op->tests[0], &size);
		case CDP_OP_NOT:
			return !passes(m, &op->tests[0], v);
		case CDP_OP_REGEX:
		case CDP_OP_REGEXI:
			return matches_pattern(op, v);
		case CDP_OP_TYPE:
			return has_type(op, v);
		case CDP_OP_WITHIN:
			return is_within(m, op, v);
	}
	return false;
}

static bool
passes(const Matching *m, const CdpTest *test, const JsonbValue *v)
{
	StringInfoData text;
	double number;

	check_stack_depth();
	switch (test->kind)
	{
		case CDP_TEST_TEXT:
			if (v->type == jbvString && !test->fold)
				return cdp_value_same(v, &test->value);
			initStringInfo(&text);
			cdp_value_text(v, &text);
			if (test->fold)
				cdp_value_fold(&text);
			return text.len == test->value.val.string.len &&
				   memcmp(text.data, test->value.val.string.val, text.len) == 0;
		case CDP_TEST_NUMBER:
			if (v->type == jbvNumeric)
				return cdp_value_same(v, &test->value);
			return cdp_value_number(v, &number) && number == test->number;
		case CDP_TEST_BOOL:
			return v->type != jbvNull && cdp_value_truth(v) == test->value.val.boolean;
		case CDP_TEST_NULL:
			return v->type == jbvNull;
		case CDP_TEST_DOCUMENT:
			return cdp_value_equal_documents(v, &test->value);
		case CDP_TEST_OPERATORS:
			for (int i = 0; i < test->nops; i++)
				if (!operate(m, &test->ops[i], v))
					return false;
			return true;
	}
	return false;
}

static bool
any_met(const Matching *m, const CdpClause *clause, const JsonbValue *v)
{
	for (int i = 0; i < clause->nconditions; i++)
		if (meets(m, clause->conditions[i], v))
			return true;
	return clause->nconditions == 0;
}

static bool
meets(const Matching *m, const CdpCondition *c, const JsonbValue *v)
{
	JsonbValue at;

	check_stack_depth();
	for (int i = 0; i < c->n; i++)
	{
		const CdpClause *clause = &c->clauses[i];

		switch (clause->kind)
		{
			case CDP_CLAUSE_PATH:
				at_path(v, clause, &at);
				if (!passes(m, &clause->test, &at))
					return false;
				break;
			case CDP_CLAUSE_AND:
				for (int k = 0; k < clause->nconditions; k++)
					if (!meets(m, clause->conditions[k], v))
						return false;
				break;
			case CDP_CLAUSE_OR:
				if (!any_met(m, clause, v))
					return false;
				break;
			case CDP_CLAUSE_NOR:
				if (any_met(m, clause, v))
					return false;
				break;
			case CDP_CLAUSE_NOT:
				if (meets(m, clause->conditions[0], v))
					return false;
				break;
		}
	}
	return true;
}

bool
cdp_condition_matches(const CdpCondition *c, Jsonb *document, Jsonb *groups)
{
	Matching m = {.groups = groups};
	JsonbValue v;

	cdp_value_of_root(document, &v);
	return meets(&m, c, &v);
}

bool
cdp_condition_holds(const CdpCondition *c, Jsonb *document, const CdpConditionWorld *world)
{
	Matching m = {.world = world};
	JsonbValue v;

	cdp_value_of_root(document, &v);
	return meets(&m, c, &v);
}
