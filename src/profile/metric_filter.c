/*
 * src/profile/metric_filter.c
 *		Which events count: a condition on their properties.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "compat.h"
#include "condition/condition.h"
#include "profile/metric.h"
#include "store.h"

struct CdpMetricFilter
{
	CdpCondition *condition;
	Jsonb *nothing; /* the properties of an event that has none */
};

/*
 * The condition, ready to be asked, in this context; raises if it cannot be
 * understood.  An operator that nobody knows would silently count nothing.
 */
CdpMetricFilter *
cdp_metric_filter_compile(const Jsonb *rule, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	CdpMetricFilter *filter = palloc0(sizeof(CdpMetricFilter));
	const char *unknown;

	filter->condition = cdp_condition_compile(rule);
	filter->nothing = cdp_jsonb_empty();
	unknown = cdp_condition_unknown(filter->condition);
	if (unknown)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a metric's filter uses an operator that is unknown: %s", unknown),
				 errhint("docs/condition.md lists the operators.")));
	MemoryContextSwitchTo(old);
	return filter;
}

/* Does the condition hold for the document (NULL: an empty one)? */
bool
cdp_metric_filter_matches(const CdpMetricFilter *filter, Jsonb *document)
{
	return cdp_condition_matches(filter->condition, document ? document : filter->nothing, NULL);
}
