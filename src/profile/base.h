/*
 * src/profile/base.h
 *		What the events of a node that are gone added up to.
 *
 * Retention takes old events away (ingest/retention.c).  What follows from a
 * person's events follows from the bases of her nodes and the events that are
 * there: whoever reads the one reads the other, in one snapshot or with the
 * lock of the node's person, which the retention holds when it moves events
 * into the base.
 *
 *	counts, times		numbers
 *	traits				each value of a source once, with its first and last message and
 *						how often it was given: as good as the events for every rule of
 *						survivorship.  Of more than CDP_BASE_VALUES values of a trait
 *						at a node those are kept that may still win (see base_trait.c)
 *	sessions			parts of the node, which join with those of its events
 *						(base_session.c)
 *	sequences			marks that may still say something (sequence.c)
 *	metrics				states of those without a period, with all their values; windows
 *						are shorter than events are kept
 */
#ifndef CDP_PROFILE_BASE_H
#define CDP_PROFILE_BASE_H

#include "profile/metric.h"
#include "profile/profile.h"

/* Values of a trait that a node's base keeps, beyond those that its rule asks for. */
#define CDP_BASE_VALUES 256

/* base.c; inside cdp_store_enter() */
extern void cdp_base_add_to_past(CdpPast *past);
extern void cdp_base_fold_metrics(const CdpMetricEvent *events, int n);
extern bytea **cdp_base_metrics(const int64 *nodes, int n, bool read_only);
extern bool cdp_base_metric(const bytea *metrics, const CdpMetric *metric, CdpMetricAcc *acc);

/* base_trait.c */
extern void cdp_base_prune(const int64 *nodes, int n, TimestampTz horizon);

#endif /* CDP_PROFILE_BASE_H */
