/*
 * src/profile/metric_affinity.h
 *		Affinities as what the events of a metric add up to; for metric_state.c
 *		and who compares and reads states.
 */
#ifndef CDP_PROFILE_METRIC_AFFINITY_H
#define CDP_PROFILE_METRIC_AFFINITY_H

#include "lib/stringinfo.h"

#include "core/affinity.h"
#include "profile/metric.h"

/* All allocate in the current context. */
extern void cdp_metric_affinity_add(CdpMetricAcc *acc, const CdpMetricInput *in);
extern void cdp_metric_affinity_merge(CdpMetricAcc *acc, const CdpMetricAcc *other);
extern bool cdp_metric_affinity_read(CdpMetricAcc *acc, StringInfo in);
extern void cdp_metric_affinity_write(const CdpMetricAcc *acc, StringInfo out);
extern bool cdp_metric_affinity_view(const CdpMetricAcc *acc, int horizon, CdpAffinityView *view);
extern bool cdp_metric_affinity_agree(const CdpMetricAcc *a, const CdpMetricAcc *b);
extern void cdp_metric_affinity_describe(const CdpMetricAcc *acc, int most, StringInfo out);

#endif /* CDP_PROFILE_METRIC_AFFINITY_H */
