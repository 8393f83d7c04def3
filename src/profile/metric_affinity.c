/*
 * src/profile/metric_affinity.c
 *		What the events of a dimension add up to: a summary (core/affinity.h)
 *		for each horizon.
 *
 * Addition commutes up to rounding, as long as no more values came than a
 * summary keeps; after that the bounds hold whatever the order.  So two states
 * mean the same if for each value the intervals in which the exact sum lies
 * meet.
 *
 * Stored form: number of events v, then for each horizon its length v and the
 * summary as core/affinity_flat.c writes it; length 0 is one without events.
 */
#include "postgres.h"

#include <math.h>

#include "utils/memutils.h"

#include "affinity/affinity.h"
#include "compat.h"
#include "libpq/pqformat.h"
#include "profile/dimension.h"
#include "profile/metric_affinity.h"

/* Rounding that a sum of all weights, of either sign, may have gathered. */
#define ROUNDING 1e-9

struct CdpMetricAffinity
{
	bool there[CDP_HORIZONS];
	CdpAffinity horizon[CDP_HORIZONS];
};

static void *
host_resize(void *arg, void *block, size_t bytes)
{
	return block == NULL ? MemoryContextAlloc(arg, bytes) : repalloc(block, bytes);
}

static CdpAffinity *
horizon_of(CdpMetricAcc *acc, int h, int64 half_life, int slots)
{
	CdpAffinityHost host = {host_resize, CurrentMemoryContext};

	if (acc->affinity == NULL)
		acc->affinity = palloc0(sizeof(CdpMetricAffinity));
	if (!acc->affinity->there[h])
	{
		cdp_core_affinity_init(&acc->affinity->horizon[h], &host, half_life, slots);
		acc->affinity->there[h] = true;
	}
	return &acc->affinity->horizon[h];
}

/* Adds one event. */
void
cdp_metric_affinity_add(CdpMetricAcc *acc, const CdpMetricInput *in)
{
	const CdpDimension *d = in->dimension;

	for (int i = 0; i < in->ncredits; i++)
	{
		const CdpCredit *c = &in->credits[i];

		for (int h = 0; h < CDP_HORIZONS; h++)
			if (c->declared == (h == CDP_HORIZON_DECLARED))
				/* what it refuses, a weight or a sum beyond all use, does not count */
				(void) cdp_core_affinity_add(horizon_of(acc, h, d->half_life[h], d->slots),
											 c->value, c->len, c->weight, in->ts);
	}
}

/* Adds what other events added up to. */
void
cdp_metric_affinity_merge(CdpMetricAcc *acc, const CdpMetricAcc *other)
{
	CdpAffinityView view;

	for (int h = 0; other->affinity && h < CDP_HORIZONS; h++)
	{
		if (!other->affinity->there[h])
			continue;
		cdp_core_affinity_view(&other->affinity->horizon[h], &view);
		(void) cdp_core_affinity_merge(horizon_of(acc, h, view.half_life, view.slots), &view);
	}
}

/* Reads the stored form; false: it is damaged. */
bool
cdp_metric_affinity_read(CdpMetricAcc *acc, StringInfo in)
{
	CdpAffinityView view;
	const char *reason;

	for (int h = 0; h < CDP_HORIZONS; h++)
	{
		uint64 len = cdp_metric_get(in);

		if (len > (uint64) (in->len - in->cursor))
			return false;
		if (len == 0)
			continue;
		if (!cdp_core_affinity_open(&view, in->data + in->cursor, len, &reason) ||
			cdp_core_affinity_merge(horizon_of(acc, h, view.half_life, view.slots), &view) !=
				CDP_AFFINITY_DONE)
			return false;
		in->cursor += (int) len;
	}
	return true;
}

void
cdp_metric_affinity_write(const CdpMetricAcc *acc, StringInfo out)
{
	CdpAffinityView view;

	for (int h = 0; h < CDP_HORIZONS; h++)
	{
		size_t size;

		if (acc->affinity == NULL || !acc->affinity->there[h])
		{
			cdp_metric_put(out, 0);
			continue;
		}
		cdp_core_affinity_view(&acc->affinity->horizon[h], &view);
		cdp_core_affinity_sort(&view);
		size = cdp_core_affinity_size(&view);
		cdp_metric_put(out, size);
		enlargeStringInfo(out, (int) size);
		cdp_core_affinity_write(&view, out->data + out->len);
		out->len += (int) size;
	}
}

/* The summary of a horizon; false: it has no events. */
bool
cdp_metric_affinity_view(const CdpMetricAcc *acc, int horizon, CdpAffinityView *view)
{
	if (acc->affinity == NULL || !acc->affinity->there[horizon])
		return false;
	cdp_core_affinity_view(&acc->affinity->horizon[horizon], view);
	cdp_core_affinity_sort(view);
	return true;
}

/* The interval in which the exact sum of a value lies, as of the view's landmark. */
static void
interval_of(const CdpAffinityView *view, const char *value, size_t len, double *from, double *to)
{
	int i = cdp_core_affinity_find(view, value, len);

	*from = i < 0 ? -view->absent_below : view->item[i].net - view->item[i].below;
	*to = i < 0 ? view->absent_above : view->item[i].net + view->item[i].above;
}

/* Do the values of a lie where b says they do? */
static bool
meets(const CdpAffinityView *a, const CdpAffinityView *b)
{
	double slack = (a->plus + a->minus) * ROUNDING;

	for (int i = 0; i < a->count; i++)
	{
		const CdpAffinityItem *item = &a->item[i];
		double from;
		double to;

		interval_of(b, item->value, item->len, &from, &to);
		if (item->net - item->below > to + slack || item->net + item->above < from - slack)
			return false;
	}
	return true;
}

/* May both come of the same events? */
bool
cdp_metric_affinity_agree(const CdpMetricAcc *a, const CdpMetricAcc *b)
{
	CdpAffinityView x;
	CdpAffinityView y;

	if (a->n != b->n)
		return false;
	for (int h = 0; h < CDP_HORIZONS; h++)
	{
		bool has_x = cdp_metric_affinity_view(a, h, &x);
		bool has_y = cdp_metric_affinity_view(b, h, &y);
		double slack;

		if (has_x != has_y)
			return false;
		if (!has_x)
			continue;
		slack = (x.plus + x.minus) * ROUNDING;
		if (x.half_life != y.half_life || x.slots != y.slots || x.landmark != y.landmark ||
			fabs(x.plus - y.plus) > slack || fabs(x.minus - y.minus) > slack || !meets(&x, &y) ||
			!meets(&y, &x))
			return false;
	}
	return true;
}

/* Its values, for people to read. */
void
cdp_metric_affinity_describe(const CdpMetricAcc *acc, int most, StringInfo out)
{
	CdpAffinityView view;
	uint8 order[CDP_AFFINITY_MAX_SLOTS];
	int n;

	appendStringInfo(out, INT64_FORMAT " events", acc->n);
	if (!cdp_metric_affinity_view(acc, CDP_HORIZON_LONG, &view))
		return;
	n = cdp_core_affinity_rank(&view, most, order);
	for (int i = 0; i < n; i++)
		appendStringInfo(out, "%s %.*s (%.17g)", i ? "," : ":", (int) view.item[order[i]].len,
						 view.item[order[i]].value, view.item[order[i]].net);
}
