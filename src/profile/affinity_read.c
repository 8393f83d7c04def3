/*
 * src/profile/affinity_read.c
 *		What a person likes, and why: her nodes' states added up, and her events.
 *
 * Consent is decided here for whoever asks, by cdp_metric_person(): of a
 * person he may not see there are no rows.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"

#include "affinity/affinity.h"
#include "compat.h"
#include "profile/dimension.h"
#include "profile/metric_affinity.h"
#include "store.h"

PG_FUNCTION_INFO_V1(cdp_affinity_scores);
PG_FUNCTION_INFO_V1(cdp_affinity_of);
PG_FUNCTION_INFO_V1(cdp_explain_affinity);

/* What everybody's likes weigh beforehand, in weights of events. */
#define PRIOR 10

/* Events in one fetch. */
#define FETCH 1000

static const char *const horizon_names[CDP_HORIZONS] = {"long", "short", "declared"};

/* Has the configuration read, whoever we are. */
static const CdpMetricConfig *
current_config(void)
{
	if (!cdp_metric_config_is_current())
	{
		MemoryContext context = CurrentMemoryContext;
		CdpStore store;

		cdp_store_enter(&store);
		(void) cdp_metric_config();
		cdp_store_leave(&store);
		MemoryContextSwitchTo(context);
	}
	return cdp_metric_config();
}

/* The dimension of this name, which must be there; NULL: it is not complete. */
static const CdpMetric *
dimension_named(const char *name)
{
	const CdpMetricConfig *c;

	cdp_store_require();
	c = current_config();
	for (int i = 0; i < c->n; i++)
		if (c->metrics[i].dimension && strcmp(c->metrics[i].dimension->name, name) == 0)
			return c->metrics[i].ready ? &c->metrics[i] : NULL;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("dimension %s does not exist", quote_identifier(name)),
			 errhint("SELECT name FROM cdp.dimensions lists them.")));
	return NULL;
}

/* All that is known of a person in a dimension; false: nothing, or not for the caller. */
static bool
add_up(int64 profile_id, const CdpMetric *metric, CdpMetricAcc *acc)
{
	const int64 *nodes;
	int n;

	memset(acc, 0, sizeof(*acc));
	if (!ActiveSnapshotSet() || !cdp_metric_person(profile_id, cdp_now(), &nodes, &n))
		return false;
	for (int i = 0; i < n; i++)
	{
		CdpMetricState state;

		if (cdp_metric_person_state(i, metric, &state) && state.ncells > 0)
			cdp_metric_acc_merge(CDP_METRIC_AFFINITY, acc, &state.cells[0].acc);
	}
	return acc->n > 0;
}

/* Everybody's shares of these values, see dimension_base.c. */
static CdpPlan base_plan = {
	"SELECT u.i, b.score / t.score FROM unnest($2) WITH ORDINALITY u (value, i) "
	"CROSS JOIN LATERAL (SELECT b.score FROM cdp_data.dimension_base b "
	"  WHERE b.dimension_id = $1 AND NOT b.next AND b.value = u.value AND b.score > 0 OFFSET 0) b "
	"JOIN cdp_data.dimension_total t ON t.dimension_id = $1 AND NOT t.next AND t.score > 0",
	2,
	{INT4OID, TEXTARRAYOID},
	NULL};

/* How common each value of the view is; 0: nobody liked it when that was looked at. */
static double *
everybodys_shares(int32 dimension, const CdpAffinityView *view)
{
	MemoryContext context = CurrentMemoryContext;
	double *shares = palloc0(sizeof(double) * Max(view->count, 1));
	Datum *values = palloc(sizeof(Datum) * Max(view->count, 1));
	CdpStore store;
	Datum args[2];
	int rows;

	for (int i = 0; i < view->count; i++)
		values[i] = PointerGetDatum(
			cstring_to_text_with_len(view->item[i].value, (int) view->item[i].len));
	args[0] = Int32GetDatum(dimension);
	args[1] = cdp_array_datums(values, NULL, view->count, TEXTOID);
	cdp_store_enter(&store);
	rows = cdp_store_run(&base_plan, args, NULL, true, -1);
	for (int r = 0; r < rows; r++)
	{
		bool isnull;

		shares[cdp_store_int64(r, 1) - 1] = DatumGetFloat8(cdp_store_value(r, 2, &isnull));
	}
	cdp_store_leave(&store);
	MemoryContextSwitchTo(context);
	return shares;
}

/*
 * How much more a value is liked than by everybody, whose share is p: log-odds
 * with a Dirichlet prior (Monroe, Colaresi, Quinn: Fightin' Words, 2008), as a
 * ratio.  With few events it stays near 1.
 */
static double
lift_of(double score, double total, double p)
{
	return (Max(score, 0) + PRIOR * p) / ((total + PRIOR) * p);
}

/* A person's share of a value among all she likes in a horizon. */
static double
share_of(const CdpAffinityView *view, int i)
{
	return view->plus > 0 ? view->item[i].net / view->plus : 0;
}

static void
put_scores(ReturnSetInfo *result, int horizon, const CdpAffinityView *view, const double *base,
		   const CdpAffinityView *now, TimestampTz at)
{
	double total = cdp_core_affinity_at(view, view->plus, at);
	uint8 order[CDP_AFFINITY_MAX_SLOTS];
	int n = cdp_core_affinity_rank(view, view->count, order);

	for (int i = 0; i < n; i++)
	{
		const CdpAffinityItem *item = &view->item[order[i]];
		int there = now ? cdp_core_affinity_find(now, item->value, item->len) : -1;
		Datum values[9];
		bool nulls[9] = {false};

		values[0] = CStringGetTextDatum(horizon_names[horizon]);
		values[1] = PointerGetDatum(cstring_to_text_with_len(item->value, (int) item->len));
		values[2] = Float8GetDatum(cdp_core_affinity_at(view, item->net, at));
		values[3] = Float8GetDatum(cdp_core_affinity_at(view, item->net - item->below, at));
		values[4] = Float8GetDatum(cdp_core_affinity_at(view, item->net + item->above, at));
		values[5] = Float8GetDatum(share_of(view, order[i]));
		nulls[6] = base == NULL || base[order[i]] == 0;
		if (!nulls[6])
			values[6] = Float8GetDatum(lift_of(DatumGetFloat8(values[2]), total, base[order[i]]));
		values[7] = Int32GetDatum(i + 1);
		values[8] = Float8GetDatum((there >= 0 ? share_of(now, there) : 0) -
								   share_of(view, order[i]));
		nulls[8] = now == NULL;
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
}

/* cdp.affinity_scores(profile_id, dimension_id) */
Datum
cdp_affinity_scores(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	const CdpMetric *metric;
	CdpMetricAcc acc;
	CdpAffinityView now;
	bool has_now;

	InitMaterializedSRF(fcinfo, 0);
	if (!cdp_store_exists())
		return (Datum) 0;
	(void) current_config();
	metric = cdp_metric_find(PG_GETARG_INT32(1));
	if (metric == NULL || !metric->dimension || !metric->ready ||
		!add_up(PG_GETARG_INT64(0), metric, &acc))
		return (Datum) 0;
	has_now = cdp_metric_affinity_view(&acc, CDP_HORIZON_SHORT, &now);
	for (int h = 0; h < CDP_HORIZONS; h++)
	{
		CdpAffinityView view;

		if (!cdp_metric_affinity_view(&acc, h, &view))
			continue;
		if (h == CDP_HORIZON_LONG)
			put_scores(result, h, &view, everybodys_shares(metric->id, &view),
					   has_now ? &now : NULL, cdp_now());
		else
			put_scores(result, h, &view, NULL, NULL, cdp_now());
	}
	return (Datum) 0;
}

/* cdp.affinity_of(profile_id, dimension, horizon) */
Datum
cdp_affinity_of(PG_FUNCTION_ARGS)
{
	const CdpMetric *metric = dimension_named(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	char *horizon = text_to_cstring(PG_GETARG_TEXT_PP(2));
	CdpMetricAcc acc;
	CdpAffinityView view;

	for (int h = 0; h < CDP_HORIZONS; h++)
	{
		if (strcmp(horizon_names[h], horizon) != 0)
			continue;
		if (metric == NULL || !add_up(PG_GETARG_INT64(0), metric, &acc) ||
			!cdp_metric_affinity_view(&acc, h, &view))
			PG_RETURN_NULL();
		PG_RETURN_DATUM(cdp_affinity_datum(&view));
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("there is no horizon \"%s\"", horizon),
			 errhint("Horizons are long, short and declared.")));
	PG_RETURN_NULL();
}

/* -- why -- */

static CdpPlan why_plan = {
	"SELECT e.node_id, e.ts, e.message_key, e.type, e.name, e.properties, e.received_at, "
	"  e.source, e.message_id FROM unnest($1) n (node_id) CROSS JOIN LATERAL ("
	"  SELECT * FROM cdp_data.event e WHERE e.node_id = n.node_id OFFSET 0) e",
	1,
	{INT8ARRAYOID},
	NULL};

typedef struct Why
{
	ReturnSetInfo *result;
	const CdpMetric *metric;
	TimestampTz now;
} Why;

/* What a weight is worth now. */
static double
weight_now(const CdpCredit *credit, const CdpMetricEvent *event, const Why *why)
{
	int h = credit->declared ? CDP_HORIZON_DECLARED : CDP_HORIZON_LONG;
	CdpAffinityHost host = {NULL, NULL};
	CdpAffinityView view;
	CdpAffinity one;

	cdp_core_affinity_init(&one, &host, why->metric->dimension->half_life[h], 1);
	if (cdp_core_affinity_add(&one, "", 0, credit->weight, event->ts) != CDP_AFFINITY_DONE)
		return 0;
	cdp_core_affinity_view(&one, &view);
	return cdp_core_affinity_at(&view, view.item[0].net, why->now);
}

static void
put_event(const Why *why, const CdpMetricEvent *event, const char *message_id)
{
	CdpMetricInput in;

	if (!cdp_metric_input(why->metric, event, &in))
		return;
	for (int i = 0; i < in.ncredits; i++)
	{
		const CdpCredit *c = &in.credits[i];
		Datum values[9];
		bool nulls[9] = {false};

		values[0] = TimestampTzGetDatum(event->ts);
		values[1] = CStringGetTextDatum(event->name ? event->name : event->type);
		values[2] = c->item ? CStringGetTextDatum(c->item) : (Datum) 0;
		nulls[2] = c->item == NULL;
		values[3] = PointerGetDatum(cstring_to_text_with_len(c->value, c->len));
		values[4] = Float8GetDatum(c->weight);
		values[5] = Float8GetDatum(weight_now(c, event, why));
		values[6] = BoolGetDatum(c->declared);
		values[7] = CStringGetTextDatum(event->source);
		values[8] = CStringGetTextDatum(message_id);
		tuplestore_putvalues(why->result->setResult, why->result->setDesc, values, nulls);
	}
}

/* The rows of the last fetch. */
static void
put_rows(const Why *why, MemoryContext step)
{
	MemoryContext old = MemoryContextSwitchTo(step);

	for (uint64 r = 0; r < SPI_processed; r++)
	{
		CdpMetricEvent event = {.node_id = cdp_store_int64(r, 1),
								.ts = cdp_store_int64(r, 2),
								.received_at = cdp_store_int64(r, 7)};
		bool isnull;
		Datum d;

		event.key = DatumGetUUIDP(cdp_store_value(r, 3, &isnull))->data;
		event.type = cdp_store_text(r, 4);
		event.name = cdp_store_text(r, 5);
		d = cdp_store_value(r, 6, &isnull);
		event.properties = isnull ? NULL : DatumGetJsonbP(d);
		event.source = cdp_store_text(r, 8);
		put_event(why, &event, cdp_store_text(r, 9));
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(step);
}

/* cdp.explain_affinity(profile_id, dimension) */
Datum
cdp_explain_affinity(PG_FUNCTION_ARGS)
{
	Why why = {.result = (ReturnSetInfo *) fcinfo->resultinfo, .now = cdp_now()};
	MemoryContext step;
	CdpStore store;
	Portal portal;
	const int64 *nodes;
	Datum args[1];
	int n;

	InitMaterializedSRF(fcinfo, 0);
	why.metric = dimension_named(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	if (why.metric == NULL || !cdp_metric_person(PG_GETARG_INT64(0), why.now, &nodes, &n))
		return (Datum) 0;
	step = AllocSetContextCreate(CurrentMemoryContext, "cdp events behind an affinity",
								 ALLOCSET_DEFAULT_SIZES);
	args[0] = cdp_array_int64(nodes, n);
	cdp_store_enter(&store);
	cdp_dimension_start(false, true);
	portal = cdp_store_open_read(&why_plan, args);
	for (;;)
	{
		SPI_cursor_fetch(portal, true, FETCH);
		if (SPI_processed == 0)
			break;
		CHECK_FOR_INTERRUPTS();
		put_rows(&why, step);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
	cdp_store_leave(&store);
	return (Datum) 0;
}
