/*
 * src/profile/sequence.c
 *		Sequences as defined, and the marks that events leave.
 *
 * cdp_data.sequence_mark has a row for each event of a sequence.  They are only
 * ever appended, and go when no answer can depend on them any more, or when the
 * marks of a node are made anew from its events.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

#include "compat.h"
#include "profile/sequence.h"
#include "profile/session.h"
#include "profile/window.h"
#include "row.h"
#include "store.h"

static CdpRowOp mark_row = {
	.table = "sequence_mark",
	.columns = {"node_id", "sequence_id", "ts", "message_key", "kind", "value"},
};

static CdpRowOp gone_row = {
	.table = "node_base_mark",
	.columns = {"node_id", "sequence_id", "ts", "message_key", "kind", "value"},
};

static CdpPlan gone_plan = {
	"SELECT m.node_id, m.sequence_id, m.ts, m.message_key, m.kind, m.value "
	"FROM cdp_data.node_base_mark m WHERE m.node_id = $1 AND ($2 = 0 OR m.sequence_id = $2)",
	2,
	{INT8OID, INT4OID},
	NULL};

static CdpPlan clear_plan = {
	"DELETE FROM cdp_data.sequence_mark m WHERE m.node_id = $1 "
	"AND ($2 = 0 OR m.sequence_id = $2)",
	2,
	{INT8OID, INT4OID},
	NULL};

static struct
{
	uint64 generation;
	bool provisional; /* read in parallel mode, under a query's snapshot */
	MemoryContext context;
	CdpSequenceConfig *config; /* in it */
} cache;

/* What was read in parallel mode is read again after it. */
bool
cdp_sequence_config_is_current(void)
{
	return cache.generation == cdp_store_generation() &&
		   (!cache.provisional || IsInParallelMode());
}

static Interval *
interval_of(int row, int column)
{
	bool isnull;
	Datum d = cdp_store_value(row, column, &isnull);
	Interval *interval;

	if (isnull)
		return NULL;
	interval = palloc(sizeof(Interval));
	*interval = *DatumGetIntervalP(d);
	return interval;
}

static void
load_sequence(CdpSequence *s, int row, MemoryContext context)
{
	const char *result;
	bool isnull;

	s->id = (int32) cdp_store_int64(row, 1);
	s->name = cdp_store_text(row, 2);
	for (int e = 0; e < 2; e++)
	{
		Datum d;

		s->events[e] = cdp_store_text(row, 3 + e);
		d = cdp_store_value(row, 5 + e, &isnull);
		if (!isnull)
			s->filters[e] = cdp_metric_filter_compile(DatumGetJsonbP(d), context);
	}
	(void) cdp_store_value(row, 7, &isnull);
	if (!isnull)
		s->path = cdp_metric_path(cdp_store_text(row, 7), &s->npath);
	s->period = interval_of(row, 8);
	s->holds = interval_of(row, 9);
	result = cdp_store_text(row, 10);
	s->result = strcmp(result, "boolean") == 0 ? CDP_SEQUENCE_BOOLEAN :
				strcmp(result, "count") == 0   ? CDP_SEQUENCE_COUNT :
												 CDP_SEQUENCE_LIST;
	s->ready = DatumGetBool(cdp_store_value(row, 11, &isnull));
}

/* The sequences; valid for the visit of the storage. */
const CdpSequenceConfig *
cdp_sequence_config(void)
{
	static const char *const sql =
		"SELECT s.sequence_id, s.name, s.did, s.then_not, s.did_filter, s.then_filter, s.same, "
		"  s.period, s.holds, s.result, s.state = 'ready' "
		"FROM cdp_data.sequence s ORDER BY s.sequence_id";

	while (!cdp_sequence_config_is_current())
	{
		uint64 generation = cdp_store_generation();
		CdpResult saved = cdp_store_save_result();
		MemoryContext fresh = AllocSetContextCreate(CurrentMemoryContext, "cdp sequences",
													ALLOCSET_SMALL_SIZES);
		int n = cdp_store_run_latest(sql);
		MemoryContext old = MemoryContextSwitchTo(fresh);
		CdpSequenceConfig *config = palloc(sizeof(CdpSequenceConfig));

		config->n = n;
		config->sequences = palloc0(sizeof(CdpSequence) * Max(n, 1));
		for (int i = 0; i < n; i++)
			load_sequence(&config->sequences[i], i, fresh);
		MemoryContextSwitchTo(old);
		cdp_store_restore_result(saved);
		cdp_store_retire(cache.context);
		MemoryContextSetParent(fresh, CacheMemoryContext);
		cache.context = fresh;
		cache.config = config;
		cache.generation = generation;
		cache.provisional = IsInParallelMode();
	}
	return cache.config;
}

/* The sequence with this id, or NULL. */
const CdpSequence *
cdp_sequence_find(int32 id)
{
	const CdpSequenceConfig *config = cdp_sequence_config();

	for (int i = 0; i < config->n; i++)
		if (config->sequences[i].id == id)
			return &config->sequences[i];
	return NULL;
}

/*
 * A first event before the horizon has had its time, and a second one answers
 * only what came before it.  Calendars differ by some days: see window.c.
 */
TimestampTz
cdp_sequence_horizon(const CdpSequence *sequence, TimestampTz now)
{
	if (sequence->holds == NULL)
		return DT_NOBEGIN;
	return cdp_window_before(cdp_window_before(now, sequence->holds), sequence->period) -
		   8 * USECS_PER_DAY;
}

/* What the event is to the sequence: 0, or marks or'ed; then also its value, or NULL. */
static int
kind_of(const CdpSequence *sequence, const CdpMetricEvent *event, char **value)
{
	int kind = 0;
	JsonbValue *found;
	CdpMetricInput in;

	for (int e = 0; e < 2; e++)
		if (cdp_metric_names(sequence->events[e], event->type, event->name) &&
			(sequence->filters[e] == NULL ||
			 cdp_metric_filter_matches(sequence->filters[e], event->properties)))
			kind |= e == 0 ? CDP_SEQUENCE_DID : CDP_SEQUENCE_THEN;
	*value = NULL;
	if (kind == 0 || sequence->npath == 0)
		return kind;
	found = cdp_metric_property(sequence->path, sequence->npath, event->properties);
	/* of nothing in particular, it is no event of the sequence */
	if (found == NULL || !cdp_metric_scalar(found, &in))
		return 0;
	*value = pnstrdup(in.text, pg_mbcliplen(in.text, in.len, CDP_SEQUENCE_TEXT));
	return kind;
}

/* Marks on their way to the table. */
typedef struct Marks
{
	int32 sequence_id; /* 0: of all */
	CdpRow *rows;
	int n;
	int room;
} Marks;

static void
write_marks(Marks *marks)
{
	if (marks->n > 0 && (marks->n == 1 || !cdp_row_insert_many(&mark_row, marks->n, marks->rows,
															   NULL)))
		for (int i = 0; i < marks->n; i++)
			(void) cdp_row_insert(&mark_row, &marks->rows[i]);
	marks->n = 0;
}

static void
add_marks(const CdpMetricEvent *event, void *arg)
{
	Marks *marks = arg;

	for (int s = 0; s < cache.config->n; s++)
	{
		const CdpSequence *sequence = &cache.config->sequences[s];
		char *value;
		int kind;
		CdpRow *row;
		pg_uuid_t *key;

		if (marks->sequence_id != 0 && sequence->id != marks->sequence_id)
			continue;
		kind = kind_of(sequence, event, &value);
		if (kind == 0)
			continue;
		if (marks->n == marks->room)
		{
			marks->room = Max(16, marks->room * 2);
			marks->rows = marks->rows ?
							  repalloc_huge(marks->rows, sizeof(CdpRow) * marks->room) :
							  palloc(sizeof(CdpRow) * marks->room);
		}
		key = palloc(sizeof(pg_uuid_t));
		memcpy(key->data, event->key, 16);
		row = &marks->rows[marks->n++];
		*row = (CdpRow){.values = {Int64GetDatum(event->node_id), Int32GetDatum(sequence->id),
								   TimestampTzGetDatum(event->ts), UUIDPGetDatum(key),
								   Int16GetDatum((int16) kind)}};
		row->nulls[5] = value == NULL;
		if (value)
			row->values[5] = CStringGetTextDatum(value);
	}
}

/*
 * Marks what new events are to the sequences.  The caller holds the locks of
 * their nodes' people.
 */
void
cdp_sequence_fold(const CdpMetricEvent *events, int n)
{
	const CdpSequenceConfig *config = cdp_sequence_config();
	Marks marks = {0};

	if (config->n == 0)
		return;
	for (int i = 0; i < n; i++)
		add_marks(&events[i], &marks);
	write_marks(&marks);
}

/* The same of events that go, for the bases of their nodes: marks that may still say something. */
void
cdp_sequence_fold_gone(const CdpMetricEvent *events, int n)
{
	const CdpSequenceConfig *config = cdp_sequence_config();
	TimestampTz now = cdp_now();
	Marks marks = {0};

	if (config->n == 0)
		return;
	for (int i = 0; i < n; i++)
		add_marks(&events[i], &marks);
	for (int i = 0; i < marks.n; i++)
	{
		const CdpSequence *sequence =
			cdp_sequence_find(DatumGetInt32(marks.rows[i].values[1]));

		if (DatumGetTimestampTz(marks.rows[i].values[2]) >= cdp_sequence_horizon(sequence, now))
			(void) cdp_row_insert(&gone_row, &marks.rows[i]);
	}
}

/* Adds the marks of events that are gone. */
static void
add_gone(int64 node, Marks *marks)
{
	Datum args[2] = {Int64GetDatum(node), Int32GetDatum(marks->sequence_id)};
	MemoryContext context = CurrentMemoryContext;
	int rows = cdp_store_run(&gone_plan, args, NULL, false, -1);

	MemoryContextSwitchTo(context);
	marks->room = rows;
	marks->rows = MemoryContextAllocHuge(context, sizeof(CdpRow) * Max(rows, 1));
	for (int r = 0; r < rows; r++)
	{
		CdpRow *row = &marks->rows[marks->n];

		*row = (CdpRow){0};
		for (int c = 0; c < 6; c++)
			row->values[c] = cdp_store_value(r, c + 1, &row->nulls[c]);
		if (cdp_sequence_find(DatumGetInt32(row->values[1])) == NULL)
			continue;
		row->values[3] = datumCopy(row->values[3], false, UUID_LEN);
		if (!row->nulls[5])
			row->values[5] = datumCopy(row->values[5], false, -1);
		marks->n++;
	}
	SPI_freetuptable(SPI_tuptable);
}

/* The rows of the marks that a node's base and its events make, in no order. */
CdpRow *
cdp_sequence_gather(int64 node, int32 sequence_id, int *n)
{
	Marks marks = {.sequence_id = sequence_id};

	(void) cdp_sequence_config();
	add_gone(node, &marks);
	(void) cdp_metric_events(&node, 1, DT_NOBEGIN, DT_NOEND, false, add_marks, &marks);
	*n = marks.n;
	return marks.rows;
}

/* Makes the marks of nodes anew; see sequence.h. */
void
cdp_sequence_rebuild(const int64 *nodes, int n, int32 sequence_id)
{
	MemoryContext work;

	if (cdp_sequence_config()->n == 0)
		return;
	work = AllocSetContextCreate(CurrentMemoryContext, "cdp sequence marks",
								 ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(work);
		Datum args[2] = {Int64GetDatum(nodes[i]), Int32GetDatum(sequence_id)};
		Marks marks = {0};

		cdp_store_run(&clear_plan, args, NULL, false, -1);
		marks.rows = cdp_sequence_gather(nodes[i], sequence_id, &marks.n);
		write_marks(&marks);
		MemoryContextSwitchTo(old);
		MemoryContextReset(work);
	}
	MemoryContextDelete(work);
}
