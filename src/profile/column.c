/*
 * src/profile/column.c
 *		What the profile floor computes of a person, as columns (column.h).
 */
#include "postgres.h"

#include "column.h"
#include "profile/metric.h"

static bool
find_metric(const char *name, int32 *definition, bool *timed)
{
	const CdpMetricConfig *config = cdp_metric_config();

	for (int i = 0; i < config->n; i++)
		if (strcmp(config->metrics[i].name, name) == 0)
		{
			*definition = config->metrics[i].id;
			*timed = config->metrics[i].period != NULL;
			return true;
		}
	return false;
}

static bool
concerns_metric(int32 definition, const char *type, const char *name)
{
	const CdpMetric *metric = cdp_metric_find(definition);

	return metric != NULL && cdp_metric_is_event(metric, type, name);
}

static const CdpColumnSource metrics = {
	.find = find_metric,
	.value = cdp_metric_of_person,
	.concerns = concerns_metric,
};

void
cdp_column_register_all(void)
{
	cdp_column_register(&metrics);
}
