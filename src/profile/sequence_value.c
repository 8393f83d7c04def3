/*
 * src/profile/sequence_value.c
 *		What a sequence says of a person now.
 *
 * The marks of her nodes are brought into the order of values and events.  Of
 * each value those first events count that no second one follows; each does so
 * from its time + period until that + holds.  What such spans say together
 * changes where one of them begins or ends.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "compat.h"
#include "profile/probe.h"
#include "profile/sequence.h"
#include "profile/window.h"
#include "store.h"

PG_FUNCTION_INFO_V1(cdp_sequence_boolean);
PG_FUNCTION_INFO_V1(cdp_sequence_bigint);
PG_FUNCTION_INFO_V1(cdp_sequence_text_array);
PG_FUNCTION_INFO_V1(cdp_sequence_due);

typedef struct Mark
{
	TimestampTz ts;
	uint8 key[16];
	int kind;
	text *value; /* or NULL */
} Mark;

typedef struct Marks
{
	Mark *marks;
	int n;
	int room;
	int ts; /* numbers of columns, looked up with the first row */
	int key;
	int kind;
	int value;
} Marks;

/* When an unanswered event counts: from, and until before. */
typedef struct Span
{
	TimestampTz from;
	TimestampTz to;
} Span;

static void
take_mark(TupleTableSlot *slot, void *arg)
{
	Marks *m = arg;
	Mark *mark;
	Datum value;
	bool isnull;

	if (m->ts == 0)
	{
		m->ts = cdp_probe_attribute(slot, "ts");
		m->key = cdp_probe_attribute(slot, "message_key");
		m->kind = cdp_probe_attribute(slot, "kind");
		m->value = cdp_probe_attribute(slot, "value");
	}
	if (m->n == m->room)
	{
		m->room = Max(16, m->room * 2);
		m->marks = m->marks ? repalloc_huge(m->marks, sizeof(Mark) * m->room) :
							  palloc(sizeof(Mark) * m->room);
	}
	mark = &m->marks[m->n++];
	value = slot_getattr(slot, m->value, &isnull);
	mark->value = isnull ? NULL : DatumGetTextPCopy(value);
	mark->ts = DatumGetTimestampTz(slot_getattr(slot, m->ts, &isnull));
	mark->kind = DatumGetInt16(slot_getattr(slot, m->kind, &isnull));
	memcpy(mark->key, DatumGetUUIDP(slot_getattr(slot, m->key, &isnull))->data, 16);
}

static int
compare_values(const text *a, const text *b)
{
	int alen = a ? (int) VARSIZE_ANY_EXHDR(a) : 0;
	int blen = b ? (int) VARSIZE_ANY_EXHDR(b) : 0;
	int cmp = alen > 0 && blen > 0 ?
				  memcmp(VARDATA_ANY(a), VARDATA_ANY(b), Min(alen, blen)) :
				  0;

	return cmp != 0 ? cmp : alen - blen;
}

/* By value; of one value the latest first. */
static int
compare_marks(const void *a, const void *b)
{
	const Mark *x = a;
	const Mark *y = b;
	int cmp = compare_values(x->value, y->value);

	if (cmp != 0)
		return cmp;
	if (x->ts != y->ts)
		return x->ts > y->ts ? -1 : 1;
	return memcmp(y->key, x->key, 16);
}

static int
compare_spans(const void *a, const void *b)
{
	const Span *x = a;
	const Span *y = b;

	return (x->from > y->from) - (x->from < y->from);
}

/*
 * The spans of the events of one value, the latest first, that no second event
 * follows: up to the latest second one, which may be a first one itself.
 */
static int
spans_of(const CdpSequence *sequence, const Mark *marks, int n, Span *spans)
{
	int found = 0;

	for (int i = 0; i < n; i++)
	{
		if (marks[i].kind & CDP_SEQUENCE_DID)
		{
			spans[found].from = cdp_window_after(marks[i].ts, sequence->period);
			spans[found].to = cdp_window_after(spans[found].from, sequence->holds);
			found++;
		}
		if (marks[i].kind & CDP_SEQUENCE_THEN)
			break;
	}
	return found;
}

/* Is now in one of the spans?  Lowers due to when that changes. */
static bool
covers(Span *spans, int n, TimestampTz now, TimestampTz *due)
{
	TimestampTz end = now;

	qsort(spans, n, sizeof(Span), compare_spans);
	/* one that begins where others end goes on with them */
	for (int i = 0; i < n && spans[i].from <= end; i++)
		end = Max(end, spans[i].to);
	if (end > now)
	{
		*due = Min(*due, end);
		return true;
	}
	for (int i = 0; i < n; i++)
		if (spans[i].from > now)
			*due = Min(*due, spans[i].from);
	return false;
}

/* What the sequence says, see sequence.h; false: nothing. */
static bool
value_at(const CdpSequence *sequence, int64 profile_id, TimestampTz now, Datum *result,
		 TimestampTz *due)
{
	const int64 *nodes;
	Marks m = {0};
	Span *spans;
	Datum *values;
	bool any = false;
	int nvalues = 0;
	int n;

	*due = DT_NOEND;
	if (!sequence->ready || !ActiveSnapshotSet() ||
		!cdp_metric_person(profile_id, now, &nodes, &n))
		return false;
	for (int i = 0; i < n; i++)
		cdp_probe("sequence_mark", "sequence_mark_pkey", nodes[i], &sequence->id, take_mark, &m);
	if (m.n > 1)
		qsort(m.marks, m.n, sizeof(Mark), compare_marks);
	spans = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(Span) * Max(m.n, 1));
	values = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(Datum) * Max(m.n, 1));
	for (int i = 0, k; i < m.n; i = k)
	{
		for (k = i + 1; k < m.n && compare_values(m.marks[i].value, m.marks[k].value) == 0; k++)
			;
		if (!covers(spans, spans_of(sequence, &m.marks[i], k - i, spans), now, due))
			continue;
		any = true;
		if (m.marks[i].value)
			values[nvalues++] = PointerGetDatum(m.marks[i].value);
	}
	switch (sequence->result)
	{
		case CDP_SEQUENCE_BOOLEAN:
			*result = BoolGetDatum(any);
			return true;
		case CDP_SEQUENCE_COUNT:
			*result = Int64GetDatum(nvalues);
			return true;
		case CDP_SEQUENCE_LIST:
			if (nvalues == 0)
				return false;
			*result = cdp_array_datums(values, NULL, Min(nvalues, CDP_METRIC_LIST), TEXTOID);
			return true;
	}
	return false;
}

Datum
cdp_sequence_of_person(int64 profile_id, int32 sequence_id, TimestampTz now, bool *isnull,
					   TimestampTz *due)
{
	const CdpSequence *sequence = cdp_sequence_find(sequence_id);
	Datum result = (Datum) 0;

	*due = DT_NOEND;
	*isnull = sequence == NULL || !value_at(sequence, profile_id, now, &result, due);
	return result;
}

/* The sequence with this id, if it is ready, whoever we are; else NULL. */
static const CdpSequence *
ready_sequence(int32 id)
{
	const CdpSequence *sequence;

	if (!cdp_sequence_config_is_current())
	{
		MemoryContext context = CurrentMemoryContext;
		CdpStore store;

		cdp_store_enter(&store);
		(void) cdp_sequence_config();
		cdp_store_leave(&store);
		MemoryContextSwitchTo(context);
	}
	sequence = cdp_sequence_find(id);
	return sequence && sequence->ready ? sequence : NULL;
}

/* The sequence's value for the person; the type is that of the SQL function. */
static Datum
typed_value(FunctionCallInfo fcinfo, CdpSequenceResult type)
{
	const CdpSequence *sequence = ready_sequence(PG_GETARG_INT32(1));
	Datum result;
	TimestampTz due;

	if (sequence == NULL)
		PG_RETURN_NULL();
	if (sequence->result != type)
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
						errmsg("sequence \"%s\" has another type", sequence->name),
						errhint("Read it as a column of cdp.profiles.")));
	if (!value_at(sequence, PG_GETARG_INT64(0), cdp_now(), &result, &due))
		PG_RETURN_NULL();
	return result;
}

Datum
cdp_sequence_boolean(PG_FUNCTION_ARGS)
{
	return typed_value(fcinfo, CDP_SEQUENCE_BOOLEAN);
}

Datum
cdp_sequence_bigint(PG_FUNCTION_ARGS)
{
	return typed_value(fcinfo, CDP_SEQUENCE_COUNT);
}

Datum
cdp_sequence_text_array(PG_FUNCTION_ARGS)
{
	return typed_value(fcinfo, CDP_SEQUENCE_LIST);
}

/* cdp.sequence_due(profile_id, sequence_id) */
Datum
cdp_sequence_due(PG_FUNCTION_ARGS)
{
	const CdpSequence *sequence = ready_sequence(PG_GETARG_INT32(1));
	Datum result;
	TimestampTz due = DT_NOEND;

	if (sequence)
		(void) value_at(sequence, PG_GETARG_INT64(0), cdp_now(), &result, &due);
	if (due == DT_NOEND)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(due);
}
