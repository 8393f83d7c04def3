/*
 * src/profile/metric_filter.c
 *		Which events count: a condition on their properties.
 *
 * Flat equality for now, {"path": scalar, ...}, all of which must hold; the
 * two functions have the signatures of the condition language that will take
 * their place.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#include "compat.h"
#include "profile/metric.h"

typedef struct Test
{
	char **path;
	int npath;
	JsonbValue value;
} Test;

struct CdpMetricFilter
{
	Jsonb *rule; /* the tests point into it */
	int n;
	Test *tests;
};

static bool
is_equal(const JsonbValue *a, const JsonbValue *b)
{
	if (a->type != b->type)
		return false;
	switch (a->type)
	{
		case jbvNull:
			return true;
		case jbvBool:
			return a->val.boolean == b->val.boolean;
		case jbvNumeric:
			return DatumGetBool(DirectFunctionCall2(numeric_eq, NumericGetDatum(a->val.numeric),
													NumericGetDatum(b->val.numeric)));
		case jbvString:
			return a->val.string.len == b->val.string.len &&
				   memcmp(a->val.string.val, b->val.string.val, a->val.string.len) == 0;
		default:
			return false;
	}
}

static char **
split_path(char *path, int *n)
{
	char **parts = palloc(sizeof(char *) * (strlen(path) + 1));
	char *save = NULL;

	*n = 0;
	for (char *part = strtok_r(path, ".", &save); part; part = strtok_r(NULL, ".", &save))
		parts[(*n)++] = part;
	return parts;
}

/* The condition, ready to be asked; raises if it cannot be understood. */
CdpMetricFilter *
cdp_metric_filter_compile(const Jsonb *rule, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	CdpMetricFilter *filter = palloc0(sizeof(CdpMetricFilter));
	JsonbIterator *it;
	JsonbValue key;

	filter->rule = palloc(VARSIZE(rule));
	memcpy(filter->rule, rule, VARSIZE(rule));
	if (!JB_ROOT_IS_OBJECT(filter->rule))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a metric's filter must be an object"),
				 errhint("Example: {\"currency\": \"EUR\"}.")));
	filter->tests = palloc0(sizeof(Test) * Max(JB_ROOT_COUNT(filter->rule), 1));
	it = JsonbIteratorInit(&filter->rule->root);
	(void) JsonbIteratorNext(&it, &key, true);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		Test *test = &filter->tests[filter->n++];
		char *path = pnstrdup(key.val.string.val, key.val.string.len);

		(void) JsonbIteratorNext(&it, &test->value, true);
		if (path[0] == '$' || !IsAJsonbScalar(&test->value))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("a metric's filter cannot use \"%s\"", path),
					 errdetail("This version compares properties with values, and all must be "
							   "equal."),
					 errhint("Example: {\"currency\": \"EUR\", \"gift\": true}.")));
		test->path = split_path(path, &test->npath);
	}
	MemoryContextSwitchTo(old);
	return filter;
}

/* Does the condition hold for the document (NULL: an empty one)? */
bool
cdp_metric_filter_matches(const CdpMetricFilter *filter, Jsonb *document)
{
	for (int i = 0; i < filter->n; i++)
	{
		const Test *test = &filter->tests[i];
		JsonbContainer *container = document ? &document->root : NULL;
		JsonbValue *found = NULL;

		for (int p = 0; p < test->npath; p++)
		{
			found = NULL;
			if (container == NULL || !JsonContainerIsObject(container))
				break;
			found = getKeyJsonValueFromContainer(container, test->path[p],
												 (int) strlen(test->path[p]), NULL);
			container = found && found->type == jbvBinary ? found->val.binary.data : NULL;
		}
		if (found == NULL ? test->value.type != jbvNull : !is_equal(found, &test->value))
			return false;
	}
	return true;
}
