/*
 * src/profile/column.c
 *		What the profile floor computes of a person, as columns (column.h).
 */
#include "postgres.h"

#include "column.h"
#include "profile/metric.h"
#include "profile/sequence.h"
#include "profile/session.h"

static bool
find_metric(const char *name, int32 *definition, bool *timed)
{
	const CdpMetricConfig *config = cdp_metric_config();

	for (int i = 0; i < config->n; i++)
		if (strcmp(config->metrics[i].name, name) == 0)
		{
			*definition = config->metrics[i].id;
			*timed = config->metrics[i].period != NULL || config->metrics[i].of_sessions;
			return true;
		}
	return false;
}

static bool
concerns_metric(int32 definition, const char *type, const char *name)
{
	const CdpMetric *metric = cdp_metric_find(definition);

	if (metric == NULL)
		return false;
	if (metric->dimension)
		return cdp_dimensions_concern(cdp_metric_config()->dimensions, type, name);
	return metric->of_sessions ? cdp_session_concerns(type, name) :
								 cdp_metric_is_event(metric, type, name);
}

static bool
find_sequence(const char *name, int32 *definition, bool *timed)
{
	const CdpSequenceConfig *config = cdp_sequence_config();

	for (int i = 0; i < config->n; i++)
		if (strcmp(config->sequences[i].name, name) == 0)
		{
			*definition = config->sequences[i].id;
			*timed = true;
			return true;
		}
	return false;
}

static bool
concerns_sequence(int32 definition, const char *type, const char *name)
{
	const CdpSequence *sequence = cdp_sequence_find(definition);

	return sequence != NULL && (cdp_metric_names(sequence->events[0], type, name) ||
								cdp_metric_names(sequence->events[1], type, name));
}

static const CdpColumnSource metrics = {
	.find = find_metric,
	.value = cdp_metric_of_person,
	.concerns = concerns_metric,
};

static const CdpColumnSource sequences = {
	.find = find_sequence,
	.value = cdp_sequence_of_person,
	.concerns = concerns_sequence,
};

void
cdp_column_register_all(void)
{
	cdp_column_register(&metrics);
	cdp_column_register(&sequences);
}
