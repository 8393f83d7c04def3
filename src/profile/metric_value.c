/*
 * src/profile/metric_value.c
 *		What a metric says of a person now: her nodes' states combined.
 *
 * The view cdp.profiles calls one of these functions for each metric and
 * person.  They go to the tables directly, through three indexes, under the
 * snapshot of the query; the states of the person looked at last are kept for
 * her other metrics.  What is kept carries a stamp of the snapshot, the role,
 * the purposes and the time, and is read anew when any differs.
 *
 * Consent is decided here for whoever asks: the functions are everybody's, and
 * of a person he may not see they say NULL.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "compat.h"
#include "consent/consent.h"
#include "guc.h"
#include "profile/base.h"
#include "profile/metric.h"
#include "profile/metric_affinity.h"
#include "profile/probe.h"
#include "profile/session.h"
#include "stamp.h"
#include "store.h"

/* Events in one fetch. */
#define FETCH 1000

PG_FUNCTION_INFO_V1(cdp_metric_typed);
PG_FUNCTION_INFO_V1(cdp_metric_value);

static CdpPlan events_plan = {
	"SELECT e.node_id, e.ts, e.message_key, e.type, e.name, e.properties, e.received_at "
	"FROM unnest($1) n (node_id) CROSS JOIN LATERAL (SELECT e.node_id, e.ts, e.message_key, "
	"    e.type, e.name, e.properties, e.received_at FROM cdp_data.event e "
	"  WHERE e.node_id = n.node_id AND e.ts > $2 AND e.ts < $3 OFFSET 0) e",
	3,
	{INT8ARRAYOID, TIMESTAMPTZOID, TIMESTAMPTZOID},
	NULL};

/* The person looked at last. */
static struct
{
	bool valid;
	int64 profile_id;
	CdpStamp stamp;
	uint64 generation;
	uint64 purpose_stamp;
	Oid role;
	TimestampTz now;
	MemoryContext context;
	bool visible;
	int n;
	int room;
	int64 *nodes;
	bytea **states; /* NULL: the node has none */
} person;

/*
 * Visits the rows of the last statement; what a visit allocates is in the
 * context, for that of SPI ends with the connection.
 */
static void
visit_rows(MemoryContext step, MemoryContext context, CdpMetricVisit visit, void *arg)
{
	for (uint64 r = 0; r < SPI_processed; r++)
	{
		MemoryContext old = MemoryContextSwitchTo(step);
		CdpMetricEvent event = {.node_id = cdp_store_int64(r, 1),
								.ts = cdp_store_int64(r, 2)};
		bool isnull;
		Datum d;

		event.key = DatumGetUUIDP(cdp_store_value(r, 3, &isnull))->data;
		event.type = cdp_store_text(r, 4);
		event.name = cdp_store_text(r, 5);
		d = cdp_store_value(r, 6, &isnull);
		event.properties = isnull ? NULL : DatumGetJsonbP(d);
		event.received_at = cdp_store_int64(r, 7);
		MemoryContextSwitchTo(context);
		visit(&event, arg);
		MemoryContextSwitchTo(old);
	}
	MemoryContextReset(step);
}

/* Visits events of nodes; see metric.h. */
int64
cdp_metric_events(const int64 *nodes, int n, TimestampTz from, TimestampTz to, bool read_only,
				  CdpMetricVisit visit, void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	MemoryContext step = AllocSetContextCreate(context, "cdp metric events",
											   ALLOCSET_DEFAULT_SIZES);
	Datum args[3] = {cdp_array_int64(nodes, n), TimestampTzGetDatum(from),
					 TimestampTzGetDatum(to)};
	Portal portal = read_only ? cdp_store_open_read(&events_plan, args) :
								cdp_store_open(&events_plan, args);
	int64 seen = 0;

	for (;;)
	{
		SPI_cursor_fetch(portal, true, FETCH);
		if (SPI_processed == 0)
			break;
		CHECK_FOR_INTERRUPTS();
		seen += (int64) SPI_processed;
		visit_rows(step, context, visit, arg);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
	MemoryContextDelete(step);
	return seen;
}

static void
take_ord(TupleTableSlot *slot, void *arg)
{
	bool isnull;

	*(int32 *) arg = DatumGetInt32(cdp_probe_column(slot, "ord", &isnull));
}

static void
take_node(TupleTableSlot *slot, void *arg pg_attribute_unused())
{
	bool isnull;

	if (person.n == person.room)
	{
		person.room = Max(8, person.room * 2);
		person.nodes = person.nodes ?
						   repalloc(person.nodes, sizeof(int64) * person.room) :
						   palloc(sizeof(int64) * person.room);
	}
	person.nodes[person.n++] = DatumGetInt64(cdp_probe_column(slot, "node_id", &isnull));
}

static void
take_states(TupleTableSlot *slot, void *arg)
{
	bool isnull;

	*(bytea **) arg = DatumGetByteaPCopy(cdp_probe_column(slot, "states", &isnull));
}

/* Was what is kept read by this query, of this person, for this role? */
static bool
is_current(int64 profile_id, Snapshot snapshot, TimestampTz now)
{
	return person.valid && person.profile_id == profile_id &&
		   cdp_stamp_is(&person.stamp, snapshot) &&
		   person.generation == cdp_store_generation() && person.role == GetUserId() &&
		   person.purpose_stamp == cdp_guc_purpose_stamp && person.now == now;
}

/* Reads the states of a person's nodes; false: nobody, or not to be seen. */
static bool
load_person(int64 profile_id, TimestampTz now)
{
	Snapshot snapshot = GetActiveSnapshot();
	MemoryContext old;
	int32 ord = -1;

	if (is_current(profile_id, snapshot, now))
		return person.visible;
	person.valid = false;
	person.visible = false;
	person.n = person.room = 0;
	person.nodes = NULL;
	if (person.context == NULL)
		person.context = AllocSetContextCreate(CacheMemoryContext, "cdp metrics of a person",
											   ALLOCSET_DEFAULT_SIZES);
	MemoryContextReset(person.context);
	cdp_probe("profile_state", "profile_state_pkey", profile_id, NULL, take_ord, &ord);
	if (ord >= 0 && cdp_consent_sees(GetUserId(), ord))
	{
		old = MemoryContextSwitchTo(person.context);
		cdp_probe("node", "node_profile", profile_id, NULL, take_node, NULL);
		person.states = palloc0(sizeof(bytea *) * Max(person.n, 1));
		for (int i = 0; i < person.n; i++)
			cdp_probe("metric_state", "metric_state_pkey", person.nodes[i], NULL, take_states,
					  &person.states[i]);
		MemoryContextSwitchTo(old);
		person.visible = true;
	}
	person.profile_id = profile_id;
	cdp_stamp_set(&person.stamp, snapshot);
	person.generation = cdp_store_generation();
	person.role = GetUserId();
	person.purpose_stamp = cdp_guc_purpose_stamp;
	person.now = now;
	person.valid = true;
	return person.visible;
}

bool
cdp_metric_person(int64 profile_id, TimestampTz now, const int64 **nodes, int *n)
{
	if (!load_person(profile_id, now))
		return false;
	*nodes = person.nodes;
	*n = person.n;
	return true;
}

/* What a metric's state of the person's node with this number is; false: it has none. */
bool
cdp_metric_person_state(int node, const CdpMetric *metric, CdpMetricState *state)
{
	int n;
	CdpMetricEntry *entries = cdp_metric_entries(person.states[node], &n);

	for (int e = 0; e < n; e++)
	{
		if (entries[e].id != metric->id)
			continue;
		cdp_metric_state_read(metric->kind, entries[e].bytes, entries[e].len, state);
		return true;
	}
	return false;
}

typedef struct Total
{
	const CdpMetric *metric;
	CdpMetricAcc acc;
	TimestampTz oldest; /* no event that counts is older; DT_NOEND: none can leave */
} Total;

static void
add_event(const CdpMetricEvent *event, void *arg)
{
	Total *total = arg;
	CdpMetricInput in;

	if (!cdp_metric_input(total->metric, event, &in))
		return;
	cdp_metric_acc_add(total->metric->kind, &total->acc, &in);
	total->oldest = Min(total->oldest, in.ts);
}

/* Adds the part of a cell that is in the window, event by event, and those that are gone. */
static void
add_from_events(Total *total, int64 node, TimestampTz from, TimestampTz to)
{
	MemoryContext context = CurrentMemoryContext;
	CdpStore store;
	CdpMetricAcc gone;

	cdp_store_enter(&store);
	MemoryContextSwitchTo(context);
	if (cdp_base_metric(*cdp_base_metrics(&node, 1, true), total->metric, &gone))
	{
		MemoryContextSwitchTo(context);
		cdp_metric_acc_merge(total->metric->kind, &total->acc, &gone);
	}
	MemoryContextSwitchTo(context);
	(void) cdp_metric_events(&node, 1, from, to, true, add_event, total);
	cdp_store_leave(&store);
	MemoryContextSwitchTo(context);
}

static void
add_state(Total *total, int64 node, const CdpMetricState *state, TimestampTz cutoff)
{
	for (int i = 0; i < state->ncells; i++)
	{
		const CdpMetricCell *cell = &state->cells[i];
		TimestampTz end = state->width == 0 ? DT_NOEND : cell->start + state->width;
		bool partly = state->width > 0 && cell->start <= cutoff;

		if (state->width > 0 && end - 1 <= cutoff)
			continue;
		if (!partly && !cell->acc.overflow)
		{
			cdp_metric_acc_merge(total->metric->kind, &total->acc, &cell->acc);
			total->oldest = Min(total->oldest, cell->start);
		}
		else
			add_from_events(total, node, partly ? cutoff : cell->start - (state->width > 0), end);
	}
}

/* Estimates from the least hashes; see metric_state.c. */
static int64
distinct(const CdpMetricAcc *acc)
{
	double greatest;

	if (!acc->more)
		return acc->nhashes;
	greatest = (double) acc->hashes[acc->nhashes - 1] / 18446744073709551616.0;
	return (int64) ((acc->nhashes - 1) / greatest + 0.5);
}

static Datum
list_of(const CdpMetricAcc *acc)
{
	int n = Min(acc->nitems, CDP_METRIC_LIST);
	Datum *values = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		values[i] =
			PointerGetDatum(cstring_to_text_with_len(acc->items[i].text, acc->items[i].len));
	return cdp_array_datums(values, NULL, n, TEXTOID);
}

/* Most often; of several the first by its bytes. */
static const CdpMetricItem *
most_frequent(const CdpMetricAcc *acc)
{
	const CdpMetricItem *best = &acc->items[0];

	for (int i = 1; i < acc->nitems; i++)
		if (acc->items[i].n > best->n)
			best = &acc->items[i];
	return best;
}

/* The values with the highest scores, of those above 0: one, or as many as the column has. */
static Datum
liked_best(const Total *total, bool *isnull)
{
	int most = total->metric->dimension->top;
	CdpAffinityView view;
	uint8 order[CDP_AFFINITY_MAX_SLOTS];
	Datum values[CDP_AFFINITY_MAX_SLOTS];
	int n = 0;

	*isnull = true;
	if (total->metric->type == InvalidOid ||
		!cdp_metric_affinity_view(&total->acc, CDP_HORIZON_LONG, &view))
		return (Datum) 0;
	for (int k = cdp_core_affinity_rank(&view, most, order); n < k; n++)
	{
		const CdpAffinityItem *item = &view.item[order[n]];

		if (!cdp_core_affinity_is_liked(&view, order[n]))
			break;
		values[n] = PointerGetDatum(cstring_to_text_with_len(item->value, (int) item->len));
	}
	*isnull = n == 0;
	if (n == 0)
		return (Datum) 0;
	return most == 1 ? values[0] : cdp_array_datums(values, NULL, n, TEXTOID);
}

/* The metric's value from all that was added. */
static Datum
result_of(Total *total, bool *isnull)
{
	CdpMetricAcc *acc = &total->acc;

	cdp_metric_acc_settle(acc);
	*isnull = acc->n == 0;
	switch (total->metric->kind)
	{
		case CDP_METRIC_COUNT:
			*isnull = false;
			return Int64GetDatum(acc->n);
		case CDP_METRIC_UNIQUE:
			*isnull = false;
			return Int64GetDatum(acc->n == 0 ? 0 : distinct(acc));
		case CDP_METRIC_SUM:
			return Float8GetDatum(cdp_metric_acc_sum(acc));
		case CDP_METRIC_AVG:
			return Float8GetDatum(*isnull ? 0 : cdp_metric_acc_sum(acc) / (double) acc->n);
		case CDP_METRIC_MIN:
		case CDP_METRIC_MAX:
			return Float8GetDatum(acc->number);
		case CDP_METRIC_FIRST:
		case CDP_METRIC_LAST:
			if (*isnull || acc->text == NULL)
				return TimestampTzGetDatum(acc->ts);
			return PointerGetDatum(cstring_to_text_with_len(acc->text, acc->len));
		case CDP_METRIC_FREQUENT:
		{
			const CdpMetricItem *best = *isnull ? NULL : most_frequent(acc);

			return best ? PointerGetDatum(cstring_to_text_with_len(best->text, best->len)) :
						  (Datum) 0;
		}
		case CDP_METRIC_LISTED:
			return *isnull ? (Datum) 0 : list_of(acc);
		case CDP_METRIC_AFFINITY:
			return liked_best(total, isnull);
	}
	return (Datum) 0;
}

/*
 * What the metric says of the person; false: nothing.  due, which may be NULL,
 * is as column.h says.
 */
static bool
value_at(const CdpMetric *metric, int64 profile_id, TimestampTz now, Datum *result,
		 TimestampTz *due)
{
	TimestampTz cutoff = cdp_metric_cutoff(metric, now);
	Total total = {.metric = metric, .oldest = DT_NOEND};
	TimestampTz turns;
	bool isnull;

	if (!metric->ready || !ActiveSnapshotSet() || !load_person(profile_id, now))
		return false;
	if (metric->of_sessions)
	{
		if (!cdp_session_visit(person.nodes, person.n, now, metric->period,
							   metric->npath > 0 || metric->filter, add_event, &total, &turns))
			return false;
		/* the oldest of a window need not be the first to change it */
		total.oldest = DT_NOEND;
		if (due)
			*due = turns;
	}
	for (int i = 0; i < person.n; i++)
	{
		CdpMetricState state;

		if (cdp_metric_person_state(i, metric, &state))
			add_state(&total, person.nodes[i], &state, cutoff);
	}
	if (due && metric->period && total.oldest != DT_NOEND)
		*due = cdp_metric_leaves(metric, total.oldest);
	*result = result_of(&total, &isnull);
	return !isnull;
}

static bool
value_of(const CdpMetric *metric, int64 profile_id, Datum *result)
{
	return value_at(metric, profile_id, cdp_now(), result, NULL);
}

Datum
cdp_metric_of_person(int64 profile_id, int32 metric_id, TimestampTz now, bool *isnull,
					 TimestampTz *due)
{
	const CdpMetric *metric = cdp_metric_find(metric_id);
	Datum result = (Datum) 0;

	*due = DT_NOEND;
	*isnull = metric == NULL || !value_at(metric, profile_id, now, &result, due);
	return result;
}

/* The metric with this id or name, or NULL. */
static const CdpMetric *
find_metric(int32 id, const char *name)
{
	const CdpMetricConfig *config;
	CdpStore store;

	if (!cdp_metric_config_is_current())
	{
		cdp_store_enter(&store);
		(void) cdp_metric_config();
		cdp_store_leave(&store);
	}
	config = cdp_metric_config();
	for (int i = 0; i < config->n; i++)
		if (name ? strcmp(config->metrics[i].name, name) == 0 : config->metrics[i].id == id)
			return &config->metrics[i];
	return NULL;
}

/*
 * cdp.metric_bigint(profile_id, metric_id) and the like: a metric's value for
 * the person; the type is that of the SQL function.
 */
Datum
cdp_metric_typed(PG_FUNCTION_ARGS)
{
	const CdpMetric *metric = find_metric(PG_GETARG_INT32(1), NULL);
	Datum result;

	if (metric == NULL || !metric->ready)
		PG_RETURN_NULL();
	if (metric->type != get_func_rettype(fcinfo->flinfo->fn_oid))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("metric \"%s\" has another type", metric->name),
				 errhint("Read it as a column of cdp.profiles, or with cdp.metric_value().")));
	if (!value_of(metric, PG_GETARG_INT64(0), &result))
		PG_RETURN_NULL();
	return result;
}

static void
push_text(JsonbParseState **state, JsonbIteratorToken token, Datum value)
{
	JsonbValue v = {.type = jbvString};

	v.val.string.val = TextDatumGetCString(value);
	v.val.string.len = (int) strlen(v.val.string.val);
	(void) pushJsonbValue(state, token, &v);
}

/* cdp.metric_value(profile_id, metric): the same as JSON. */
Datum
cdp_metric_value(PG_FUNCTION_ARGS)
{
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(1));
	const CdpMetric *metric = find_metric(0, name);
	JsonbParseState *state = NULL;
	JsonbValue v;
	Datum result;

	if (metric == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("metric \"%s\" does not exist", name),
				 errhint("SELECT name FROM cdp.metrics; lists them.")));
	if (!value_of(metric, PG_GETARG_INT64(0), &result))
		PG_RETURN_NULL();
	v.type = jbvNumeric;
	switch (metric->type)
	{
		case INT8OID:
			v.val.numeric = int64_to_numeric(DatumGetInt64(result));
			break;
		case FLOAT8OID:
			v.val.numeric = DatumGetNumeric(DirectFunctionCall1(float8_numeric, result));
			break;
		case TIMESTAMPTZOID:
		{
			int tz = 0;
			char buf[MAXDATELEN + 1];

			v.type = jbvString;
			v.val.string.val = pstrdup(JsonEncodeDateTime(buf, result, TIMESTAMPTZOID, &tz));
			v.val.string.len = (int) strlen(v.val.string.val);
			break;
		}
		case TEXTOID:
			v.type = jbvString;
			v.val.string.val = TextDatumGetCString(result);
			v.val.string.len = (int) strlen(v.val.string.val);
			break;
		default:
		{
			Datum *values;
			int n;

			deconstruct_array(DatumGetArrayTypeP(result), TEXTOID, -1, false, TYPALIGN_INT,
							  &values, NULL, &n);
			(void) pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
			for (int i = 0; i < n; i++)
				push_text(&state, WJB_ELEM, values[i]);
			PG_RETURN_JSONB_P(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL)));
		}
	}
	PG_RETURN_JSONB_P(JsonbValueToJsonb(&v));
}
