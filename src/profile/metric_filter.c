/*
 * src/profile/metric_filter.c
 *		Which events count: a condition on their properties.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/memutils.h"

#include "cdp.h"
#include "compat.h"
#include "condition/condition.h"
#include "profile/metric.h"
#include "store.h"

PG_FUNCTION_INFO_V1(cdp_check_metric_filter);

struct CdpMetricFilter
{
	CdpCondition *condition;
	Jsonb *nothing; /* the properties of an event that has none */
};

/* The condition, ready to be asked, in this context; raises if it cannot be understood. */
CdpMetricFilter *
cdp_metric_filter_compile(const Jsonb *rule, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	CdpMetricFilter *filter = palloc0(sizeof(CdpMetricFilter));

	filter->condition = cdp_condition_compile(rule);
	filter->nothing = cdp_jsonb_empty();
	MemoryContextSwitchTo(old);
	return filter;
}

/*
 * cdp.check_metric_filter(filter): raises if it cannot be one, or would silently
 * count nothing.  Asked when it is defined, and not again on somebody's event.
 */
Datum
cdp_check_metric_filter(PG_FUNCTION_ARGS)
{
	cdp_condition_check(cdp_condition_compile(PG_GETARG_JSONB_P(0)), false,
						"docs/condition.md lists the operators.");
	PG_RETURN_VOID();
}

/* Does the condition hold for the document (NULL: an empty one)? */
bool
cdp_metric_filter_matches(const CdpMetricFilter *filter, Jsonb *document)
{
	return cdp_condition_matches(filter->condition, document ? document : filter->nothing, NULL);
}
