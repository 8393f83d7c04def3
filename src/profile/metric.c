/*
 * src/profile/metric.c
 *		Metrics as defined, and the fold of events into the states of nodes.
 *
 * cdp_data.metric_state has one row per node with the states of all its
 * metrics, so that an event costs one row however many metrics look at it:
 *
 *		version (1), then by metric, ascending: id v, length v, state
 *
 * What v is and the form of a state are in metric_state.c.  States of metrics
 * that were dropped go when the row is written next.
 *
 * Who writes the row holds the lock of the node's person.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "profile/base.h"
#include "core/window.h"
#include "profile/metric.h"
#include "profile/session.h"
#include "row.h"
#include "store.h"

#define VERSION 1

static CdpMetricConfig none;
static CdpMetricConfig *config = &none;

static CdpRowOp insert_row = {
	.table = "metric_state",
	.columns = {"node_id", "states"},
};

static CdpRowOp change_row = {
	.table = "metric_state",
	.keys = {"node_id"},
	.columns = {"states"},
};

static CdpPlan read_plan = {
	"SELECT s.node_id, s.states FROM cdp_data.metric_state s WHERE s.node_id = ANY ($1)",
	1,
	{INT8ARRAYOID},
	NULL};

static CdpPlan write_plan = {
	"INSERT INTO cdp_data.metric_state (node_id, states) "
	"SELECT u.node_id, u.states FROM unnest($1, $2) u (node_id, states) "
	"ON CONFLICT (node_id) DO UPDATE SET states = excluded.states",
	2,
	{INT8ARRAYOID, BYTEAARRAYOID},
	NULL};

/* What one event gives to one metric of one node. */
typedef struct Hit
{
	int64 node_id;
	int metric; /* index */
	CdpMetricInput in;
} Hit;

/* The states of a node while they change; by metric. */
typedef struct Holder
{
	int64 node_id;
	CdpMetricState *states;
	bool *touched;
	bytea *old;
	bytea *fresh; /* NULL: nothing to write */
} Holder;

static const struct
{
	const char *word;
	CdpMetricKind kind;
} kinds[] = {
	{"count", CDP_METRIC_COUNT},
	{"sum", CDP_METRIC_SUM},
	{"avg", CDP_METRIC_AVG},
	{"min", CDP_METRIC_MIN},
	{"max", CDP_METRIC_MAX},
	{"first", CDP_METRIC_FIRST},
	{"last", CDP_METRIC_LAST},
	{"unique_count", CDP_METRIC_UNIQUE},
	{"most_frequent", CDP_METRIC_FREQUENT},
	{"list", CDP_METRIC_LISTED},
	{"affinity", CDP_METRIC_AFFINITY},
};

static CdpMetricKind
kind_of(const char *word)
{
	for (int i = 0; i < (int) lengthof(kinds); i++)
		if (strcmp(kinds[i].word, word) == 0)
			return kinds[i].kind;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("aggregate \"%s\" is not known to this library", word)));
	return CDP_METRIC_COUNT; /* keep compiler quiet */
}

/* The names of a path's parts: the text is cut to pieces. */
char **
cdp_metric_path(char *path, int *n)
{
	char **parts = palloc(sizeof(char *) * (strlen(path) + 1));
	char *save = NULL;

	*n = 0;
	for (char *part = strtok_r(path, ".", &save); part; part = strtok_r(NULL, ".", &save))
		parts[(*n)++] = part;
	return parts;
}

static void
load_metric(CdpMetric *metric, int row, MemoryContext context)
{
	bool isnull;
	Datum d;

	metric->id = (int32) cdp_store_int64(row, 1);
	metric->name = cdp_store_text(row, 2);
	metric->event = cdp_store_text(row, 3);
	metric->of_sessions = metric->event && strcmp(metric->event, CDP_SESSION_ENDED) == 0;
	metric->kind = kind_of(cdp_store_text(row, 4));
	(void) cdp_store_value(row, 5, &isnull);
	if (!isnull)
		metric->path = cdp_metric_path(cdp_store_text(row, 5), &metric->npath);
	d = cdp_store_value(row, 6, &isnull);
	if (!isnull)
		metric->filter = cdp_metric_filter_compile(DatumGetJsonbP(d), context);
	d = cdp_store_value(row, 7, &isnull);
	if (!isnull)
	{
		metric->period = palloc(sizeof(Interval));
		*metric->period = *DatumGetIntervalP(d);
	}
	metric->ready = DatumGetBool(cdp_store_value(row, 8, &isnull));
	metric->type = DatumGetObjectId(cdp_store_value(row, 9, &isnull));
	metric->anew = DatumGetBool(cdp_store_value(row, 10, &isnull));
}

/* What was read in parallel mode is read again after it. */
bool
cdp_metric_config_is_current(void)
{
	return config->generation == cdp_store_generation() &&
		   (!config->provisional || IsInParallelMode());
}

/* The metrics; valid for the visit of the storage. */
const CdpMetricConfig *
cdp_metric_config(void)
{
	static const char *const sql =
		"SELECT m.metric_id, m.name, m.event, m.aggregate, m.property, m.filter, m.period, "
		"  m.state = 'ready', pg_catalog.to_regtype(m.type)::oid, false "
		"FROM cdp_data.metric m UNION ALL "
		"SELECT d.dimension_id, coalesce(d.profile_column, 'affinity to ' || d.name), NULL, "
		"  'affinity', NULL, NULL, NULL, d.state = 'ready', CASE WHEN d.profile_column IS NULL "
		"  THEN 0 WHEN d.top = 1 THEN 'text'::regtype ELSE 'text[]'::regtype END::oid, d.anew "
		"FROM cdp_data.dimension d ORDER BY 1";

	while (!cdp_metric_config_is_current())
	{
		uint64 generation = cdp_store_generation();
		CdpResult saved = cdp_store_save_result();
		MemoryContext fresh = AllocSetContextCreate(CurrentMemoryContext, "cdp metrics",
													ALLOCSET_SMALL_SIZES);
		int n = cdp_store_run_latest(sql);
		MemoryContext old;
		CdpMetricConfig *loaded;
		CdpMetric *metrics;
		CdpDimensions *dimensions;

		old = MemoryContextSwitchTo(fresh);
		loaded = palloc0(sizeof(CdpMetricConfig));
		metrics = palloc0(sizeof(CdpMetric) * Max(n, 1));
		for (int i = 0; i < n; i++)
			load_metric(&metrics[i], i, fresh);
		dimensions = cdp_dimensions_load();
		for (int i = 0; i < n; i++)
			metrics[i].dimension = cdp_dimension_find(dimensions, metrics[i].id);
		MemoryContextSwitchTo(old);
		cdp_store_restore_result(saved);
		loaded->context = fresh;
		loaded->metrics = metrics;
		loaded->dimensions = dimensions;
		loaded->n = n;
		loaded->generation = generation;
		loaded->provisional = IsInParallelMode();
		cdp_store_retire(config->context);
		MemoryContextSetParent(fresh, CacheMemoryContext);
		config = loaded;
	}
	return config;
}

static int
metric_index(int32 id)
{
	int low = 0;
	int high = config->n - 1;

	while (low <= high)
	{
		int mid = (low + high) / 2;

		if (config->metrics[mid].id == id)
			return mid;
		if (config->metrics[mid].id < id)
			low = mid + 1;
		else
			high = mid - 1;
	}
	return -1;
}

/* The metric with this id, or NULL. */
const CdpMetric *
cdp_metric_find(int32 id)
{
	int i;

	(void) cdp_metric_config();
	i = metric_index(id);
	return i < 0 ? NULL : &config->metrics[i];
}

static CdpCorePeriod
period_of(const CdpMetric *metric)
{
	return (CdpCorePeriod){metric->period->month, metric->period->day, metric->period->time};
}

/*
 * Events up to here are out of the metric's window.  Months and days are those
 * of the calendar in UTC, whatever the session's time zone; see core/window.h.
 */
TimestampTz
cdp_metric_cutoff(const CdpMetric *metric, TimestampTz now)
{
	CdpCorePeriod period;

	if (metric->period == NULL)
		return DT_NOBEGIN;
	period = period_of(metric);
	return cdp_core_window_start(&period, now);
}

/* When an event of this time is out of the metric's window; never: DT_NOEND. */
TimestampTz
cdp_metric_leaves(const CdpMetric *metric, TimestampTz ts)
{
	CdpCorePeriod period;

	if (metric->period == NULL)
		return DT_NOEND;
	period = period_of(metric);
	return cdp_core_window_leave(&period, ts);
}

/* What is at this path of an event's properties, or NULL. */
JsonbValue *
cdp_metric_property(char **path, int npath, Jsonb *properties)
{
	JsonbContainer *container = properties ? &properties->root : NULL;
	JsonbValue *found = NULL;

	for (int i = 0; i < npath; i++)
	{
		if (container == NULL || !JsonContainerIsObject(container))
			return NULL;
		found = getKeyJsonValueFromContainer(container, path[i], (int) strlen(path[i]), NULL);
		container = found && found->type == jbvBinary ? found->val.binary.data : NULL;
	}
	return found;
}

/* Text of a scalar as ->> gives it; false: it has none. */
bool
cdp_metric_scalar(const JsonbValue *value, CdpMetricInput *in)
{
	switch (value->type)
	{
		case jbvString:
			in->text = value->val.string.val;
			in->len = value->val.string.len;
			return true;
		case jbvNumeric:
			in->text = DatumGetCString(
				DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
			break;
		case jbvBool:
			in->text = value->val.boolean ? "true" : "false";
			break;
		default:
			return false;
	}
	in->len = (int) strlen(in->text);
	return true;
}

/* Does this word name such events: that of a tracked one, or their type? */
bool
cdp_metric_names(const char *word, const char *type, const char *name)
{
	if (strcmp(type, "track") == 0)
		return name != NULL && strcmp(name, word) == 0;
	return strcmp(type, word) == 0;
}

/* Does the metric look at events of this type and name? */
bool
cdp_metric_is_event(const CdpMetric *metric, const char *type, const char *name)
{
	if (metric->event == NULL)
		return true;
	/* the ends of sessions are nobody's to send */
	if (metric->of_sessions)
		return strcmp(type, CDP_SESSION_ENDED) == 0;
	return cdp_metric_names(metric->event, type, name);
}

/*
 * Does the event count for the metric, and with what?  A value that the
 * aggregate cannot use (no number, an object, null) does not count.
 */
bool
cdp_metric_input(const CdpMetric *metric, const CdpMetricEvent *event, CdpMetricInput *in)
{
	JsonbValue *value;

	if (!cdp_metric_is_event(metric, event->type, event->name) ||
		(metric->filter && !cdp_metric_filter_matches(metric->filter, event->properties)))
		return false;
	in->ts = event->ts;
	memcpy(in->key, event->key, 16);
	in->number = 0;
	in->text = NULL;
	in->len = 0;
	if (metric->dimension)
	{
		in->dimension = metric->dimension;
		in->ncredits = cdp_dimension_credits(config->dimensions, metric->dimension, event,
											 &in->credits);
		return in->ncredits > 0;
	}
	if (metric->npath == 0)
		return true;
	value = cdp_metric_property(metric->path, metric->npath, event->properties);
	if (value == NULL || value->type == jbvNull)
		return false;
	switch (metric->kind)
	{
		case CDP_METRIC_COUNT:
			return true;
		case CDP_METRIC_SUM:
		case CDP_METRIC_AVG:
		case CDP_METRIC_MIN:
		case CDP_METRIC_MAX:
			if (value->type != jbvNumeric)
				return false;
			in->number = DatumGetFloat8(DirectFunctionCall1(
				numeric_float8_no_overflow, NumericGetDatum(value->val.numeric)));
			/* less than nothing by less than can be told is nothing, not -0 */
			in->number += 0.0;
			if (metric->kind == CDP_METRIC_SUM || metric->kind == CDP_METRIC_AVG)
				return fabs(in->number) <= CDP_METRIC_MAX_ADDEND;
			return !isinf(in->number) && !isnan(in->number);
		case CDP_METRIC_UNIQUE:
			return cdp_metric_scalar(value, in);
		case CDP_METRIC_AFFINITY:
			return false;
		default:
			if (!cdp_metric_scalar(value, in))
				return false;
			if (in->len > CDP_METRIC_TEXT)
				in->len = pg_mbcliplen(in->text, in->len, CDP_METRIC_TEXT);
			return true;
	}
}

static void
damaged(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED), errmsg("a row of metric states is damaged"),
			 errhint("Drop the metrics and define them again: they are made anew from the "
					 "events.")));
}

/* The metrics' states in a row; NULL has none. */
CdpMetricEntry *
cdp_metric_entries(const bytea *states, int *n)
{
	StringInfoData in = {0};
	CdpMetricEntry *entries = NULL;
	int room = 0;

	*n = 0;
	if (states == NULL)
		return NULL;
	in.data = VARDATA_ANY(states);
	in.len = in.maxlen = VARSIZE_ANY_EXHDR(states);
	if (pq_getmsgbyte(&in) != VERSION)
		damaged();
	while (in.cursor < in.len)
	{
		CdpMetricEntry *e;
		uint64 id;
		uint64 len;

		if (*n == room)
		{
			room = Max(8, room * 2);
			entries = entries ? repalloc(entries, sizeof(CdpMetricEntry) * room) :
								palloc(sizeof(CdpMetricEntry) * room);
		}
		e = &entries[(*n)++];
		id = cdp_metric_get(&in);
		len = cdp_metric_get(&in);
		if (id > PG_INT32_MAX || len > (uint64) (in.len - in.cursor) ||
			(*n > 1 && (int32) id <= entries[*n - 2].id))
			damaged();
		e->id = (int32) id;
		e->len = (int) len;
		e->bytes = pq_getmsgbytes(&in, e->len);
	}
	return entries;
}

static void
write_entry(StringInfo out, int32 id, const char *bytes, int len)
{
	cdp_metric_put(out, (uint64) id);
	cdp_metric_put(out, (uint64) len);
	appendBinaryStringInfo(out, bytes, len);
}

/*
 * The row of a node: what was touched, as it is now, and the rest as it was.
 * NULL: it is the old one.  anew: all was touched, and the old one may be damaged.
 */
static bytea *
compose(const Holder *node, bool anew)
{
	StringInfoData out;
	int n;
	CdpMetricEntry *entries = cdp_metric_entries(anew ? NULL : node->old, &n);
	StringInfoData state;
	int e = 0;
	bytea *fresh;

	initStringInfo(&state);
	pq_begintypsend(&out);
	pq_sendint8(&out, VERSION);
	for (int m = 0; m < config->n; m++)
	{
		const CdpMetric *metric = &config->metrics[m];

		while (e < n && entries[e].id < metric->id)
			e++;
		if (node->touched[m])
		{
			if (node->states[m].ncells == 0)
				continue;
			resetStringInfo(&state);
			cdp_metric_state_write(metric->kind, &node->states[m], &state);
			write_entry(&out, metric->id, state.data, state.len);
		}
		else if (e < n && entries[e].id == metric->id)
			write_entry(&out, metric->id, entries[e].bytes, entries[e].len);
	}
	fresh = pq_endtypsend(&out);
	if (node->old ? VARSIZE_ANY_EXHDR(node->old) == VARSIZE_ANY_EXHDR(fresh) &&
						memcmp(VARDATA_ANY(node->old), VARDATA_ANY(fresh),
							   VARSIZE_ANY_EXHDR(fresh)) == 0 :
					VARSIZE_ANY_EXHDR(fresh) == 1)
		return NULL;
	return fresh;
}

static void
start_states(Holder *node)
{
	node->states = palloc(sizeof(CdpMetricState) * Max(config->n, 1));
	node->touched = palloc0(sizeof(bool) * Max(config->n, 1));
}

/*
 * Adds the hits of a node to what it has.  All that is needed on the way is in
 * the context "work", which is reset.
 */
static void
fold_node(Holder *node, const Hit *hits, int n, TimestampTz now, MemoryContext work)
{
	MemoryContext context = MemoryContextSwitchTo(work);
	int nentries;
	CdpMetricEntry *entries = cdp_metric_entries(node->old, &nentries);
	TimestampTz cutoff = DT_NOBEGIN;
	bytea *fresh;
	int e = 0;

	start_states(node);
	for (int i = 0; i < n; i++)
	{
		int m = hits[i].metric;
		const CdpMetric *metric = &config->metrics[m];

		if (!node->touched[m])
		{
			node->touched[m] = true;
			cutoff = cdp_metric_cutoff(metric, now);
			while (e < nentries && entries[e].id < metric->id)
				e++;
			if (e < nentries && entries[e].id == metric->id)
			{
				cdp_metric_state_read(metric->kind, entries[e].bytes, entries[e].len,
									  &node->states[m]);
				(void) cdp_metric_state_expire(&node->states[m], cutoff);
			}
			else
				cdp_metric_state_start(&node->states[m], metric->period != NULL);
		}
		cdp_metric_state_add(metric->kind, &node->states[m], &hits[i].in, cutoff);
	}
	fresh = compose(node, false);
	MemoryContextSwitchTo(context);
	node->fresh = NULL;
	if (fresh)
	{
		node->fresh = palloc(VARSIZE(fresh));
		memcpy(node->fresh, fresh, VARSIZE(fresh));
	}
	node->states = NULL;
	node->touched = NULL;
	MemoryContextReset(work);
}

/* The fold of a node whose row is read and written at once. */
typedef struct Single
{
	int64 node_id;
	const Hit *hits;
	int n;
	TimestampTz now;
	MemoryContext work;
} Single;

static bool
change_single(CdpRow *row, void *arg)
{
	const Single *single = arg;
	Holder node = {.node_id = single->node_id};

	node.old = DatumGetByteaPP(row->values[0]);
	fold_node(&node, single->hits, single->n, single->now, single->work);
	row->values[0] = PointerGetDatum(node.fresh);
	return node.fresh != NULL;
}

static void
fold_single(const Single *single)
{
	Datum keys[1] = {Int64GetDatum(single->node_id)};
	Holder node = {.node_id = single->node_id};
	CdpRow row = {0};

	if (cdp_row_change(&change_row, keys, NULL, change_single, (void *) single))
		return;
	fold_node(&node, single->hits, single->n, single->now, single->work);
	if (node.fresh == NULL)
		return;
	row.values[0] = keys[0];
	row.values[1] = PointerGetDatum(node.fresh);
	(void) cdp_row_insert(&insert_row, &row);
}

static int
compare_nodes(const void *a, const void *b)
{
	int64 x = ((const Holder *) a)->node_id;
	int64 y = ((const Holder *) b)->node_id;

	return (x > y) - (x < y);
}

/* Reads the rows of nodes, ascending. */
static void
read_nodes(Holder *nodes, int n)
{
	int64 *ids = palloc(sizeof(int64) * Max(n, 1));
	Datum args[1];
	int rows;

	for (int i = 0; i < n; i++)
		ids[i] = nodes[i].node_id;
	args[0] = cdp_array_int64(ids, n);
	rows = cdp_store_run(&read_plan, args, NULL, false, -1);
	for (int r = 0; r < rows; r++)
	{
		Holder key = {.node_id = cdp_store_int64(r, 1)};
		Holder *node = bsearch(&key, nodes, n, sizeof(Holder), compare_nodes);
		bool isnull;

		node->old = DatumGetByteaPCopy(cdp_store_value(r, 2, &isnull));
	}
	SPI_freetuptable(SPI_tuptable);
}

/* Writes what is fresh. */
static void
write_nodes(const Holder *nodes, int n)
{
	int64 *ids = palloc(sizeof(int64) * Max(n, 1));
	Datum *states = palloc(sizeof(Datum) * Max(n, 1));
	Datum args[2];
	int written = 0;

	for (int i = 0; i < n; i++)
	{
		if (nodes[i].fresh == NULL)
			continue;
		ids[written] = nodes[i].node_id;
		states[written++] = PointerGetDatum(nodes[i].fresh);
	}
	if (written == 0)
		return;
	args[0] = cdp_array_int64(ids, written);
	args[1] = cdp_array_datums(states, NULL, written, BYTEAOID);
	cdp_store_run(&write_plan, args, NULL, false, written);
}

static int
compare_hits(const void *a, const void *b)
{
	const Hit *x = a;
	const Hit *y = b;

	if (x->node_id != y->node_id)
		return x->node_id < y->node_id ? -1 : 1;
	return (x->metric > y->metric) - (x->metric < y->metric);
}

/*
 * Folds new events into the metrics of their nodes, each row written once.
 * The caller holds the locks of the nodes' people.
 */
void
cdp_metric_fold(const CdpMetricEvent *events, int n)
{
	const CdpMetricConfig *c = cdp_metric_config();
	TimestampTz now;
	Hit *hits;
	int nhits = 0;
	int room = Max(n, 8);
	int nnodes = 0;
	Holder *nodes = NULL;
	MemoryContext work;

	if (c->n == 0 || n == 0)
		return;
	hits = palloc(sizeof(Hit) * room);
	cdp_dimension_start(true, false);
	for (int i = 0; i < n; i++)
		for (int m = 0; m < c->n; m++)
		{
			if (nhits == room)
			{
				room *= 2;
				hits = repalloc_huge(hits, sizeof(Hit) * room);
			}
			if (!cdp_metric_input(&c->metrics[m], &events[i], &hits[nhits].in))
				continue;
			hits[nhits].node_id = events[i].node_id;
			hits[nhits++].metric = m;
		}
	if (nhits == 0)
		return;
	now = cdp_now();
	qsort(hits, nhits, sizeof(Hit), compare_hits);
	for (int i = 0; i < nhits; i++)
		nnodes += i == 0 || hits[i].node_id != hits[i - 1].node_id;
	work = AllocSetContextCreate(CurrentMemoryContext, "cdp metrics of a node",
								 ALLOCSET_DEFAULT_SIZES);
	if (nnodes > CDP_FEW)
	{
		nodes = palloc0(sizeof(Holder) * nnodes);
		nnodes = 0;
		for (int i = 0; i < nhits; i++)
			if (i == 0 || hits[i].node_id != hits[i - 1].node_id)
				nodes[nnodes++].node_id = hits[i].node_id;
		read_nodes(nodes, nnodes);
	}
	for (int i = 0, k = 0; i < nhits; k++)
	{
		Single single = {hits[i].node_id, &hits[i], 0, now, work};

		while (i < nhits && hits[i].node_id == single.node_id)
		{
			single.n++;
			i++;
		}
		if (nodes)
			fold_node(&nodes[k], single.hits, single.n, now, work);
		else
			fold_single(&single);
		CHECK_FOR_INTERRUPTS();
	}
	if (nodes)
		write_nodes(nodes, nnodes);
	MemoryContextDelete(work);
}

/* Adds events to a base; see metric.h. */
bytea *
cdp_metric_fold_whole(bytea *old, const CdpMetricEvent *events, int n)
{
	Holder node = {.old = old};
	int nentries;
	CdpMetricEntry *entries = cdp_metric_entries(old, &nentries);
	int e = 0;

	(void) cdp_metric_config();
	cdp_dimension_start(false, false);
	start_states(&node);
	for (int m = 0; m < config->n; m++)
	{
		const CdpMetric *metric = &config->metrics[m];
		CdpMetricState *state = &node.states[m];

		while (e < nentries && entries[e].id < metric->id)
			e++;
		for (int i = 0; i < n && metric->period == NULL; i++)
		{
			CdpMetricInput in;

			if (!cdp_metric_input(metric, &events[i], &in))
				continue;
			if (!node.touched[m] && e < nentries && entries[e].id == metric->id)
				cdp_metric_state_read(metric->kind, entries[e].bytes, entries[e].len, state);
			else if (!node.touched[m])
				cdp_metric_state_start(state, false);
			node.touched[m] = true;
			state->whole = true;
			cdp_metric_state_add(metric->kind, state, &in, DT_NOBEGIN);
		}
	}
	return compose(&node, false);
}

/* The nodes whose states are made anew. */
typedef struct Rebuild
{
	Holder *nodes;
	int n;
	TimestampTz *cutoffs; /* by metric */
} Rebuild;

static void
rebuild_event(const CdpMetricEvent *event, void *arg)
{
	Rebuild *r = arg;
	Holder key = {.node_id = event->node_id};
	Holder *node = bsearch(&key, r->nodes, r->n, sizeof(Holder), compare_nodes);

	for (int m = 0; m < config->n; m++)
	{
		const CdpMetric *metric = &config->metrics[m];
		CdpMetricInput in;

		if (node->touched[m] && cdp_metric_input(metric, event, &in))
			cdp_metric_state_add(metric->kind, &node->states[m], &in, r->cutoffs[m]);
	}
}

/* Makes the states of nodes anew; see metric.h. */
int64
cdp_metric_rebuild(const int64 *nodes, int n, int32 metric_id)
{
	const CdpMetricConfig *c = cdp_metric_config();
	TimestampTz now = cdp_now();
	Rebuild r = {.cutoffs = palloc(sizeof(TimestampTz) * Max(c->n, 1))};
	Holder *all = palloc(sizeof(Holder) * Max(n, 1));
	int64 *ids = palloc(sizeof(int64) * Max(n, 1));
	int64 events;
	bytea **base;
	CdpMetricAcc acc;

	if (c->n == 0 || n == 0)
		return 0;
	for (int m = 0; m < c->n; m++)
		r.cutoffs[m] = cdp_metric_cutoff(&c->metrics[m], now);
	for (int i = 0; i < n; i++)
		all[i].node_id = nodes[i];
	qsort(all, n, sizeof(Holder), compare_nodes);
	for (int i = 0; i < n; i++)
	{
		Holder *node = &all[r.n];

		if (i > 0 && all[i].node_id == all[r.n - 1].node_id)
			continue;
		*node = (Holder){.node_id = all[i].node_id};
		start_states(node);
		ids[r.n++] = node->node_id;
		for (int m = 0; m < c->n; m++)
		{
			if (metric_id != 0 && c->metrics[m].id != metric_id)
				continue;
			node->touched[m] = true;
			cdp_metric_state_start(&node->states[m], c->metrics[m].period != NULL);
		}
	}
	r.nodes = all;
	cdp_dimension_start(true, false);
	base = cdp_base_metrics(ids, r.n, false);
	for (int i = 0; i < r.n; i++)
		for (int m = 0; m < c->n; m++)
		{
			CdpMetricState *state = &all[i].states[m];

			if (all[i].touched[m] && cdp_base_metric(base[i], &c->metrics[m], &acc))
				state->cells[state->ncells++] = (CdpMetricCell){DT_NOBEGIN, acc};
		}
	events = cdp_metric_events(ids, r.n, DT_NOBEGIN, DT_NOEND, false, rebuild_event, &r);
	read_nodes(r.nodes, r.n);
	for (int i = 0; i < r.n; i++)
		r.nodes[i].fresh = compose(&r.nodes[i], metric_id == 0);
	write_nodes(r.nodes, r.n);
	return events;
}

/* The row of a node without what is over; NULL: nothing is. */
static bytea *
tidy_node(Holder *node, const TimestampTz *cutoffs)
{
	int n;
	CdpMetricEntry *entries = cdp_metric_entries(node->old, &n);

	start_states(node);
	for (int e = 0; e < n; e++)
	{
		int m = metric_index(entries[e].id);

		if (m < 0 || config->metrics[m].period == NULL)
			continue;
		cdp_metric_state_read(config->metrics[m].kind, entries[e].bytes, entries[e].len,
							  &node->states[m]);
		node->touched[m] = cdp_metric_state_expire(&node->states[m], cutoffs[m]);
	}
	return compose(node, false);
}

/* Forgets what is over; see metric.h. */
int
cdp_metric_tidy(int64 *nodes, int n, bool write)
{
	const CdpMetricConfig *c = cdp_metric_config();
	TimestampTz now = cdp_now();
	TimestampTz *cutoffs = palloc(sizeof(TimestampTz) * Max(c->n, 1));
	Holder *all = palloc0(sizeof(Holder) * Max(n, 1));
	int kept = 0;

	for (int m = 0; m < c->n; m++)
		cutoffs[m] = cdp_metric_cutoff(&c->metrics[m], now);
	for (int i = 0; i < n; i++)
		all[i].node_id = nodes[i];
	qsort(all, n, sizeof(Holder), compare_nodes);
	read_nodes(all, n);
	for (int i = 0; i < n; i++)
	{
		if (all[i].old == NULL)
			continue;
		all[i].fresh = tidy_node(&all[i], cutoffs);
		if (all[i].fresh)
			nodes[kept++] = all[i].node_id;
	}
	if (write)
		write_nodes(all, n);
	return kept;
}
