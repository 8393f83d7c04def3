/*
 * src/profile/base.c
 *		Bases of nodes: read beside events, and metrics folded into them (see
 *		base.h).
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

#include "compat.h"
#include "profile/base.h"
#include "profile/survive.h"
#include "store.h"

static CdpPlan counts_plan = {
	"SELECT p.profile_id, sum(b.events)::bigint, min(b.first_seen), max(b.last_seen) "
	"FROM unnest($1) p (profile_id) "
	"CROSS JOIN LATERAL (SELECT n.node_id FROM cdp_data.node n "
	"  WHERE n.profile_id = p.profile_id OFFSET 0) n "
	"CROSS JOIN LATERAL (SELECT b.events, b.first_seen, b.last_seen FROM cdp_data.node_base b "
	"  WHERE b.node_id = n.node_id OFFSET 0) b GROUP BY p.profile_id",
	1,
	{INT8ARRAYOID},
	NULL};

static CdpPlan traits_plan = {
	"SELECT p.profile_id, t.name, t.value, t.source, t.times, t.last_ts, t.last_key, "
	"  t.first_ts, t.first_key FROM unnest($1) p (profile_id) "
	"CROSS JOIN LATERAL (SELECT n.node_id FROM cdp_data.node n "
	"  WHERE n.profile_id = p.profile_id OFFSET 0) n "
	"CROSS JOIN LATERAL (SELECT t.* FROM cdp_data.node_base_trait t "
	"  WHERE t.node_id = n.node_id OFFSET 0) t",
	1,
	{INT8ARRAYOID},
	NULL};

static CdpPlan metrics_plan = {
	"SELECT u.i, b.metrics FROM unnest($1) WITH ORDINALITY u (node_id, i) "
	"CROSS JOIN LATERAL (SELECT b.metrics FROM cdp_data.node_base b "
	"  WHERE b.node_id = u.node_id AND b.metrics IS NOT NULL OFFSET 0) b",
	1,
	{INT8ARRAYOID},
	NULL};

static CdpPlan write_metrics_plan = {
	"UPDATE cdp_data.node_base b SET metrics = u.metrics FROM unnest($1, $2) u (node_id, metrics) "
	"WHERE b.node_id = ANY (ARRAY[u.node_id])",
	2,
	{INT8ARRAYOID, BYTEAARRAYOID},
	NULL};

/* The person's place in the arrays. */
static int
place_of(const CdpPast *past, int64 id)
{
	int low = 0;
	int high = past->n - 1;

	while (low < high)
	{
		int mid = (low + high) / 2;

		if (past->ids[mid] < id)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static void
add_counts(CdpPast *past, Datum ids)
{
	int rows = cdp_store_run(&counts_plan, &ids, NULL, cdp_store_is_frozen(), -1);

	for (int r = 0; r < rows; r++)
	{
		int p = place_of(past, cdp_store_int64(r, 1));
		TimestampTz first = cdp_store_int64(r, 3);
		TimestampTz last = cdp_store_int64(r, 4);

		past->events[p] += cdp_store_int64(r, 2);
		if (past->none[p] || first < DatumGetTimestampTz(past->first[p]))
			past->first[p] = TimestampTzGetDatum(first);
		if (past->none[p] || last > DatumGetTimestampTz(past->last[p]))
			past->last[p] = TimestampTzGetDatum(last);
		past->none[p] = false;
	}
	SPI_freetuptable(SPI_tuptable);
}

static CdpTraitChange *
new_change(CdpPast *past)
{
	if (past->nchanges == past->room)
	{
		past->room = Max(64, past->room * 2);
		past->changes = past->changes ?
							repalloc_huge(past->changes, sizeof(CdpTraitChange) * past->room) :
							palloc(sizeof(CdpTraitChange) * past->room);
	}
	return &past->changes[past->nchanges++];
}

/* What was given several times is two messages: the last, which stands for all, and the first. */
static void
add_values(CdpPast *past, Datum ids)
{
	int rows = cdp_store_run(&traits_plan, &ids, NULL, cdp_store_is_frozen(), -1);
	bool isnull;

	for (int r = 0; r < rows; r++)
	{
		CdpTraitChange change = {.profile_id = cdp_store_int64(r, 1)};
		CdpTraitChange *c;

		CHECK_FOR_INTERRUPTS();
		change.name = cdp_store_text(r, 2);
		cdp_trait_value(DatumGetJsonbPCopy(cdp_store_value(r, 3, &isnull)), &change.value);
		change.source = cdp_store_text(r, 4);
		change.times = cdp_store_int64(r, 5);
		change.ts = cdp_store_int64(r, 6);
		memcpy(change.message_key, DatumGetUUIDP(cdp_store_value(r, 7, &isnull)), UUID_LEN);
		c = new_change(past);
		*c = change;
		if (change.times == 1)
			continue;
		change.times = 0;
		change.counted = true;
		change.ts = cdp_store_int64(r, 8);
		memcpy(change.message_key, DatumGetUUIDP(cdp_store_value(r, 9, &isnull)), UUID_LEN);
		c = new_change(past);
		*c = change;
	}
	SPI_freetuptable(SPI_tuptable);
}

/* Adds what is known of events that are gone. */
void
cdp_base_add_to_past(CdpPast *past)
{
	Datum ids = cdp_array_int64(past->ids, past->n);

	add_counts(past, ids);
	add_values(past, ids);
}

/*
 * The states of metrics in the bases of these nodes, NULL for those that have
 * none; read_only: as the calling query sees them.
 */
bytea **
cdp_base_metrics(const int64 *nodes, int n, bool read_only)
{
	Datum args[1] = {cdp_array_int64(nodes, n)};
	bytea **metrics = palloc0(sizeof(bytea *) * Max(n, 1));
	int rows = cdp_store_run(&metrics_plan, args, NULL, read_only, -1);

	for (int r = 0; r < rows; r++)
	{
		bool isnull;

		metrics[cdp_store_int64(r, 1) - 1] = DatumGetByteaPCopy(cdp_store_value(r, 2, &isnull));
	}
	SPI_freetuptable(SPI_tuptable);
	return metrics;
}

/* What a base says of a metric without a period; false: nothing. */
bool
cdp_base_metric(const bytea *metrics, const CdpMetric *metric, CdpMetricAcc *acc)
{
	int n;
	CdpMetricEntry *entries;

	if (metrics == NULL || metric->period != NULL)
		return false;
	entries = cdp_metric_entries(metrics, &n);
	for (int e = 0; e < n; e++)
	{
		CdpMetricState state;

		if (entries[e].id != metric->id)
			continue;
		cdp_metric_state_read(metric->kind, entries[e].bytes, entries[e].len, &state);
		if (state.ncells == 0)
			return false;
		*acc = state.cells[0].acc;
		return true;
	}
	return false;
}

/*
 * Folds events, in the order of their nodes, into the bases, which have rows.
 * The caller holds the locks of the nodes' people.
 */
void
cdp_base_fold_metrics(const CdpMetricEvent *events, int n)
{
	int64 *nodes = palloc(sizeof(int64) * Max(n, 1));
	Datum *fresh = palloc(sizeof(Datum) * Max(n, 1));
	int nnodes = 0;
	int written = 0;
	bytea **old;
	Datum args[2];

	if (cdp_metric_config()->n == 0)
		return;
	for (int i = 0; i < n; i++)
		if (i == 0 || events[i].node_id != events[i - 1].node_id)
			nodes[nnodes++] = events[i].node_id;
	old = cdp_base_metrics(nodes, nnodes, false);
	for (int i = 0, k = 0; k < nnodes; k++)
	{
		int first = i;
		bytea *metrics;

		CHECK_FOR_INTERRUPTS();
		while (i < n && events[i].node_id == nodes[k])
			i++;
		metrics = cdp_metric_fold_whole(old[k], &events[first], i - first);
		if (metrics == NULL)
			continue;
		nodes[written] = nodes[k];
		fresh[written++] = PointerGetDatum(metrics);
	}
	if (written == 0)
		return;
	args[0] = cdp_array_int64(nodes, written);
	args[1] = cdp_array_datums(fresh, NULL, written, BYTEAOID);
	cdp_store_run(&write_metrics_plan, args, NULL, false, written);
}
