/*
 * src/profile/metric_check.c
 *		Are the states of metrics what the events add up to?
 *
 * How wide the cells of a state became depends on the order in which events
 * came, so states are not compared as they are stored.  The events are dealt
 * to the cells that are there, and what they add up to is compared with what
 * each cell says:
 *
 *	an event in the window		must have a cell
 *	a cell in the window		must say what its events add up to
 *	the cell that the window's edge cuts, a cell that says its values were too
 *	many						is read from the events: whatever it says is true
 *	a cell outside				is not read any more
 *
 * Sums are exact, and so is the comparison.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "profile/base.h"
#include "profile/metric.h"
#include "profile/metric_affinity.h"
#include "profile/verify.h"
#include "store.h"

/* Values of a list that a difference shows. */
#define SHOWN 10

static CdpPlan nodes_plan = {
	"SELECT n.node_id, p.profile_id, s.states FROM unnest($1) p (profile_id) "
	"CROSS JOIN LATERAL (SELECT n.node_id FROM cdp_data.node n "
	"  WHERE n.profile_id = p.profile_id OFFSET 0) n "
	"LEFT JOIN LATERAL (SELECT s.states FROM cdp_data.metric_state s "
	"  WHERE s.node_id = n.node_id OFFSET 0) s ON true",
	1,
	{INT8ARRAYOID},
	NULL};

/* One metric of one node. */
typedef struct Measured
{
	CdpMetricState live;
	CdpMetricAcc *cells; /* by cell of the live state: what its events add up to */
	CdpMetricAcc lost; /* events without a cell */
} Measured;

typedef struct Held
{
	int64 node_id;
	int64 profile_id;
	bytea *states; /* as stored, or NULL */
	bytea *base; /* of metrics without a period: what events that are gone added up to */
	bool damaged;
	Measured *metrics;
} Held;

typedef struct Check
{
	const CdpMetricConfig *config;
	TimestampTz *cutoffs; /* by metric */
	Held *nodes; /* ascending */
	int n;
} Check;

static int
compare_nodes(const void *a, const void *b)
{
	int64 x = ((const Held *) a)->node_id;
	int64 y = ((const Held *) b)->node_id;

	return (x > y) - (x < y);
}

/* What is stored of a node, ready to be compared; raises if it cannot be read. */
static void
read_states(const Check *c, Held *node)
{
	int n;
	CdpMetricEntry *entries = cdp_metric_entries(node->states, &n);

	for (int m = 0; m < c->config->n; m++)
	{
		const CdpMetric *metric = &c->config->metrics[m];
		Measured *measured = &node->metrics[m];

		for (int e = 0; e < n; e++)
			if (entries[e].id == metric->id)
				cdp_metric_state_read(metric->kind, entries[e].bytes, entries[e].len,
									  &measured->live);
		measured->cells = palloc0(sizeof(CdpMetricAcc) * Max(measured->live.ncells, 1));
		(void) cdp_base_metric(node->base, metric,
							   measured->live.ncells > 0 ? measured->cells : &measured->lost);
	}
}

/* Nodes that are read in one go. */
typedef struct Reading
{
	const Check *check;
	int from;
	int n;
} Reading;

static void
read_some(void *arg)
{
	Reading *r = arg;

	for (int i = r->from; i < r->from + r->n; i++)
		read_states(r->check, &r->check->nodes[i]);
}

static bool
is_damage(int sqlstate)
{
	return sqlstate == ERRCODE_DATA_CORRUPTED || sqlstate == ERRCODE_PROTOCOL_VIOLATION;
}

/* Reads all states; those that cannot be read are marked. */
static void
read_all(Check *c)
{
	Reading all = {c, 0, c->n};

	if (cdp_store_try(read_some, &all, is_damage) == NULL)
		return;
	for (int i = 0; i < c->n; i++)
	{
		Reading one = {c, i, 1};

		memset(c->nodes[i].metrics, 0, sizeof(Measured) * c->config->n);
		c->nodes[i].damaged = cdp_store_try(read_some, &one, is_damage) != NULL;
	}
}

/* The cell of this time, or -1. */
static int
cell_of(const CdpMetricState *state, TimestampTz ts)
{
	int low = 0;
	int high = state->ncells - 1;

	while (low <= high)
	{
		int mid = (low + high) / 2;
		TimestampTz start = state->cells[mid].start;

		if (state->width == 0)
			return mid;
		if (ts < start)
			high = mid - 1;
		else if (ts - start >= state->width)
			low = mid + 1;
		else
			return mid;
	}
	return -1;
}

static CdpMetricAcc *
place_of(Measured *measured, TimestampTz ts)
{
	int cell = cell_of(&measured->live, ts);

	return cell >= 0 ? &measured->cells[cell] : &measured->lost;
}

static void
deal_event(const CdpMetricEvent *event, void *arg)
{
	Check *c = arg;
	Held key = {.node_id = event->node_id};
	Held *node = bsearch(&key, c->nodes, c->n, sizeof(Held), compare_nodes);

	for (int m = 0; m < c->config->n && !node->damaged; m++)
	{
		const CdpMetric *metric = &c->config->metrics[m];
		CdpMetricInput in;

		if (!metric->ready || !cdp_metric_input(metric, event, &in) || in.ts <= c->cutoffs[m])
			continue;
		cdp_metric_acc_add(metric->kind, place_of(&node->metrics[m], in.ts), &in);
	}
}

static bool
same_items(const CdpMetricAcc *a, const CdpMetricAcc *b)
{
	if (a->nitems != b->nitems)
		return false;
	for (int i = 0; i < a->nitems; i++)
		if (a->items[i].n != b->items[i].n || a->items[i].len != b->items[i].len ||
			memcmp(a->items[i].text, b->items[i].text, a->items[i].len) != 0)
			return false;
	return true;
}

/* Do both mean the same?  A stored cell has no number of events for some kinds. */
static bool
same_meaning(CdpMetricKind kind, CdpMetricAcc *live, CdpMetricAcc *events)
{
	if ((live->n == 0) != (events->n == 0))
		return false;
	if (live->n == 0)
		return true;
	switch (kind)
	{
		case CDP_METRIC_COUNT:
			return live->n == events->n;
		case CDP_METRIC_SUM:
		case CDP_METRIC_AVG:
			return live->n == events->n &&
				   cdp_metric_acc_sum(live) == cdp_metric_acc_sum(events);
		case CDP_METRIC_MIN:
		case CDP_METRIC_MAX:
			return live->number == events->number;
		case CDP_METRIC_FIRST:
		case CDP_METRIC_LAST:
			return live->ts == events->ts && memcmp(live->key, events->key, 16) == 0 &&
				   (live->text == NULL) == (events->text == NULL) &&
				   (live->text == NULL ||
					(live->len == events->len &&
					 memcmp(live->text, events->text, live->len) == 0));
		case CDP_METRIC_UNIQUE:
			return live->more == events->more && live->nhashes == events->nhashes &&
				   memcmp(live->hashes, events->hashes, sizeof(uint64) * live->nhashes) == 0;
		case CDP_METRIC_FREQUENT:
		case CDP_METRIC_LISTED:
			cdp_metric_acc_settle(live);
			cdp_metric_acc_settle(events);
			return same_items(live, events);
		case CDP_METRIC_AFFINITY:
			return cdp_metric_affinity_agree(live, events);
	}
	return false;
}

/* What it says, for people to read; NULL: nothing. */
static char *
describe(CdpMetricKind kind, CdpMetricAcc *acc)
{
	StringInfoData s;

	if (acc->n == 0)
		return NULL;
	initStringInfo(&s);
	switch (kind)
	{
		case CDP_METRIC_COUNT:
			appendStringInfo(&s, INT64_FORMAT, acc->n);
			break;
		case CDP_METRIC_SUM:
		case CDP_METRIC_AVG:
			appendStringInfo(&s, "%.17g of " INT64_FORMAT, cdp_metric_acc_sum(acc), acc->n);
			break;
		case CDP_METRIC_MIN:
		case CDP_METRIC_MAX:
			appendStringInfo(&s, "%.17g", acc->number);
			break;
		case CDP_METRIC_FIRST:
		case CDP_METRIC_LAST:
			appendStringInfo(&s, "%.*s at %s", acc->text ? acc->len : 0,
							 acc->text ? acc->text : "", timestamptz_to_str(acc->ts));
			break;
		case CDP_METRIC_UNIQUE:
			appendStringInfo(&s, "%d different%s", acc->nhashes, acc->more ? " or more" : "");
			break;
		case CDP_METRIC_FREQUENT:
		case CDP_METRIC_LISTED:
			cdp_metric_acc_settle(acc);
			for (int i = 0; i < Min(acc->nitems, SHOWN); i++)
				appendStringInfo(&s, "%s%.*s (" INT64_FORMAT ")", i ? ", " : "",
								 acc->items[i].len, acc->items[i].text, acc->items[i].n);
			if (acc->nitems > SHOWN)
				appendStringInfo(&s, " and %d more", acc->nitems - SHOWN);
			break;
		case CDP_METRIC_AFFINITY:
			cdp_metric_affinity_describe(acc, SHOWN, &s);
			break;
	}
	return s.data;
}

/* Compares one metric of a node and tells of the first difference. */
static void
compare(const Held *node, const CdpMetric *metric, TimestampTz cutoff, Measured *measured,
		CdpFound *to)
{
	const CdpMetricState *live = &measured->live;
	char *what = psprintf("metric %s", metric->name);

	for (int i = 0; i < live->ncells; i++)
	{
		CdpMetricCell *cell = &live->cells[i];

		if (cell->acc.overflow || (live->width > 0 && cell->start <= cutoff) ||
			same_meaning(metric->kind, &cell->acc, &measured->cells[i]))
			continue;
		if (live->width > 0)
			what = psprintf("%s from %s", what, timestamptz_to_str(cell->start));
		cdp_found(to, node->profile_id, what, describe(metric->kind, &cell->acc),
				  describe(metric->kind, &measured->cells[i]));
		return;
	}
	if (measured->lost.n > 0)
		cdp_found(to, node->profile_id, what, NULL, describe(metric->kind, &measured->lost));
}

/* Compares the metrics of these people with their events. */
void
cdp_metric_check(const int64 *profiles, int n, CdpFound *to)
{
	TimestampTz now = cdp_now();
	Check c = {.config = cdp_metric_config()};
	Datum args[1] = {cdp_array_int64(profiles, n)};
	int64 *ids;
	bytea **base;

	if (c.config->n == 0)
		return;
	c.cutoffs = palloc(sizeof(TimestampTz) * c.config->n);
	for (int m = 0; m < c.config->n; m++)
		c.cutoffs[m] = cdp_metric_cutoff(&c.config->metrics[m], now);
	c.n = cdp_store_run(&nodes_plan, args, NULL, true, -1);
	c.nodes = palloc0(sizeof(Held) * Max(c.n, 1));
	ids = palloc(sizeof(int64) * Max(c.n, 1));
	for (int i = 0; i < c.n; i++)
	{
		bool isnull;
		Datum d = cdp_store_value(i, 3, &isnull);

		c.nodes[i].node_id = ids[i] = cdp_store_int64(i, 1);
		c.nodes[i].profile_id = cdp_store_int64(i, 2);
		c.nodes[i].states = isnull ? NULL : DatumGetByteaPCopy(d);
		c.nodes[i].metrics = palloc0(sizeof(Measured) * c.config->n);
	}
	SPI_freetuptable(SPI_tuptable);
	base = cdp_base_metrics(ids, c.n, true);
	for (int i = 0; i < c.n; i++)
		c.nodes[i].base = base[i];
	qsort(c.nodes, c.n, sizeof(Held), compare_nodes);
	read_all(&c);
	cdp_dimension_start(false, false);
	(void) cdp_metric_events(ids, c.n, DT_NOBEGIN, DT_NOEND, false, deal_event, &c);
	for (int i = 0; i < c.n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (c.nodes[i].damaged)
			cdp_found(to, c.nodes[i].profile_id, "metrics", "damaged", NULL);
		for (int m = 0; m < c.config->n && !c.nodes[i].damaged; m++)
			/* until all are made anew, some are as they were */
			if (c.config->metrics[m].ready && !c.config->metrics[m].anew)
				compare(&c.nodes[i], &c.config->metrics[m], c.cutoffs[m], &c.nodes[i].metrics[m],
						to);
	}
}

static CdpPlan hers_plan = {
	"SELECT n.node_id FROM cdp_data.node n WHERE n.profile_id = $1",
	1,
	{INT8OID},
	NULL};

static CdpPlan locked_plan = {
	"SELECT n.node_id FROM cdp_data.node n WHERE n.node_id = ANY ($1) "
	"AND n.profile_id = ANY ($2)",
	2,
	{INT8ARRAYOID, INT8ARRAYOID},
	NULL};

/* The nodes of a person, in the caller's context. */
int64 *
cdp_metric_nodes(int64 profile_id, int *n)
{
	Datum args[1] = {Int64GetDatum(profile_id)};

	*n = cdp_store_run(&hers_plan, args, NULL, false, -1);
	return cdp_store_ids(*n);
}

/*
 * Makes the states of these nodes anew, of those that belong to these people,
 * whose locks the caller holds.
 */
void
cdp_metric_repair(const int64 *nodes, int n, const int64 *people, int npeople)
{
	Datum args[2] = {cdp_array_int64(nodes, n), cdp_array_int64(people, npeople)};
	int rows = cdp_store_run(&locked_plan, args, NULL, false, -1);

	(void) cdp_metric_rebuild(cdp_store_ids(rows), rows, 0);
}
