/*
 * src/profile/metric_state.c
 *		What the events of a metric add up to: add, merge, store.
 *
 * Every operation commutes, so neither the order of arrival nor how events are
 * spread over nodes and cells changes what is read:
 *
 *	count		a number
 *	sum, avg	numbers that add up to the sum exactly (Shewchuk, Adaptive
 *				Precision Floating-Point Arithmetic, 1997, grow-expansion);
 *				rounded once, when it is read
 *	min, max	a number
 *	first, last	the value at the least or greatest (time, message key)
 *	unique		the least CDP_METRIC_HASHES of the values' 64-bit hashes: up to
 *				so many it is the set itself.  Of more, the greatest one kept, h
 *				of 2^64, tells how many there are: (k - 1) / h, with a standard
 *				error of 1 / sqrt(k - 2), 3.1 % (bottom-k sketch: Bar-Yossef and
 *				others, 2002; Beyer and others, 2007)
 *	frequent,	the values and how often each came
 *	listed
 *	affinity	see metric_affinity.c: up to rounding, and within bounds
 *
 * Stored form, in which v is an unsigned number, 7 bits a byte, the lowest first, the
 * highest bit set in all bytes but the last:
 *
 *		width, one byte: 0 all times, else 1 + its logarithm
 *		number of cells, v
 *		of each cell its start (in widths, v: of the first from 1 January 1970,
 *		of the others from the one before) and by kind
 *
 *		count		n v
 *		sum, avg	n v, number v, parts float8 each, the least first
 *		min, max	float8
 *		first, last	ts v (from 1970), key 16 bytes, 0 or 1 + length v, text
 *		unique		more byte, number v, hashes int64 each
 *		frequent,	0 for overflow or 1 + number v, by value n v, length v, text
 *		listed
 *
 * Floats and hashes are in network order.  No event is older than 1970.
 */
#include "postgres.h"

#include <math.h>

#include "libpq/pqformat.h"
#include "port/pg_bitutils.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "cdp.h"
#include "compat.h"
#include "profile/metric.h"
#include "profile/metric_affinity.h"

/* Parts of a settled sum: the range of a double, 2098 bits, by 53. */
#define MAX_PARTS 41

/* Adds a part.  Each step is Dekker's, which loses nothing of larger + smaller. */
static void
add_part(CdpMetricAcc *acc, double v)
{
	int n = 0;

	if (acc->nparts == acc->room)
	{
		acc->room = Max(2, acc->room * 2);
		acc->parts = acc->parts ? repalloc(acc->parts, sizeof(double) * acc->room) :
								  palloc(sizeof(double) * acc->room);
	}
	for (int i = 0; i < acc->nparts; i++)
	{
		double part = acc->parts[i];
		double larger = fabs(v) < fabs(part) ? part : v;
		double smaller = fabs(v) < fabs(part) ? v : part;
		double lost;

		v = larger + smaller;
		lost = smaller - (v - larger);
		if (lost != 0)
			acc->parts[n++] = lost;
	}
	if (v != 0)
		acc->parts[n++] = v;
	acc->nparts = n;
}

/* The sum, rounded once: half to even, as if all had been added exactly. */
double
cdp_metric_acc_sum(const CdpMetricAcc *acc)
{
	int n = acc->nparts;
	double sum = n > 0 ? acc->parts[--n] : 0;
	double lost = 0;

	while (n > 0 && lost == 0)
	{
		double before = sum;
		double part = acc->parts[--n];

		sum = before + part;
		lost = part - (sum - before);
	}
	/* it was in the middle, and the next part says to which side */
	if (n > 0 && ((lost < 0 && acc->parts[n - 1] < 0) || (lost > 0 && acc->parts[n - 1] > 0)))
	{
		double other = sum + lost * 2;

		if (other - sum == lost * 2)
			sum = other;
	}
	return sum;
}

/*
 * As few parts as can be: the rounded sum, the rounded rest, and so on.  They
 * are the same whatever the order of adding was.
 */
static void
settle_parts(CdpMetricAcc *acc)
{
	double settled[MAX_PARTS];
	int n = 0;

	while (acc->nparts > 0)
	{
		settled[n] = cdp_metric_acc_sum(acc);
		add_part(acc, -settled[n++]);
	}
	while (n > 0)
		add_part(acc, settled[--n]);
}

static void
add_number(CdpMetricAcc *acc, double v)
{
	if (acc->nparts >= MAX_PARTS)
		settle_parts(acc);
	add_part(acc, v);
}

static void
add_hash(CdpMetricAcc *acc, uint64 hash)
{
	int low = 0;
	int high = acc->nhashes;

	if (acc->hashes == NULL)
	{
		acc->room = 4;
		acc->hashes = palloc(sizeof(uint64) * acc->room);
	}
	while (low < high)
	{
		int mid = (low + high) / 2;

		if (acc->hashes[mid] < hash)
			low = mid + 1;
		else
			high = mid;
	}
	if (low < acc->nhashes && acc->hashes[low] == hash)
		return;
	if (acc->nhashes == CDP_METRIC_HASHES)
	{
		acc->more = true;
		if (low == CDP_METRIC_HASHES)
			return;
		acc->nhashes--;
	}
	if (acc->nhashes == acc->room)
	{
		acc->room = Min(acc->room * 2, CDP_METRIC_HASHES);
		acc->hashes = repalloc(acc->hashes, sizeof(uint64) * acc->room);
	}
	memmove(&acc->hashes[low + 1], &acc->hashes[low], sizeof(uint64) * (acc->nhashes - low));
	acc->hashes[low] = hash;
	acc->nhashes++;
}

static int
compare_text(const char *a, int alen, const char *b, int blen)
{
	int cmp = memcmp(a, b, Min(alen, blen));

	return cmp != 0 ? cmp : alen - blen;
}

static int
compare_items(const void *a, const void *b)
{
	const CdpMetricItem *x = a;
	const CdpMetricItem *y = b;

	return compare_text(x->text, x->len, y->text, y->len);
}

/* Sorts the items and adds up those that are equal. */
void
cdp_metric_acc_settle(CdpMetricAcc *acc)
{
	int n = 0;

	if (acc->nsorted == acc->nitems)
		return;
	qsort(acc->items, acc->nitems, sizeof(CdpMetricItem), compare_items);
	for (int i = 0; i < acc->nitems; i++)
	{
		if (n > 0 && compare_items(&acc->items[n - 1], &acc->items[i]) == 0)
			acc->items[n - 1].n += acc->items[i].n;
		else
			acc->items[n++] = acc->items[i];
	}
	acc->nitems = acc->nsorted = n;
}

/* New ones wait until they are as many as the others: no quadratic cost. */
static void
add_item(CdpMetricAcc *acc, const char *text, int len, int64 n)
{
	CdpMetricItem item = {n, text, len};
	CdpMetricItem *known = NULL;

	if (acc->nsorted > 0)
		known = bsearch(&item, acc->items, acc->nsorted, sizeof(item), compare_items);
	if (known)
	{
		known->n += n;
		return;
	}
	if (acc->nitems == acc->room)
	{
		acc->room = Max(4, acc->room * 2);
		acc->items = acc->items ? repalloc_huge(acc->items, sizeof(CdpMetricItem) * acc->room) :
								  palloc(sizeof(CdpMetricItem) * acc->room);
	}
	item.text = pnstrdup(text, len);
	acc->items[acc->nitems++] = item;
	if (acc->nitems - acc->nsorted > Max(16, acc->nsorted))
		cdp_metric_acc_settle(acc);
}

/* More than a cell keeps will be read from the events. */
static void
bound_items(CdpMetricAcc *acc)
{
	if (acc->nsorted <= CDP_METRIC_ITEMS)
		return;
	acc->overflow = true;
	acc->nitems = acc->nsorted = 0;
}

/* Does (ts, key) come before the one kept? */
static bool
is_before(TimestampTz ts, const uint8 *key, const CdpMetricAcc *acc)
{
	return ts != acc->ts ? ts < acc->ts : memcmp(key, acc->key, 16) < 0;
}

static void
keep_value(CdpMetricAcc *acc, TimestampTz ts, const uint8 *key, const char *text, int len)
{
	acc->ts = ts;
	memcpy(acc->key, key, 16);
	acc->text = text ? pnstrdup(text, len) : NULL;
	acc->len = len;
}

/* Adds one event. */
void
cdp_metric_acc_add(CdpMetricKind kind, CdpMetricAcc *acc, const CdpMetricInput *in)
{
	bool fresh = acc->n++ == 0;

	switch (kind)
	{
		case CDP_METRIC_COUNT:
			break;
		case CDP_METRIC_SUM:
		case CDP_METRIC_AVG:
			add_number(acc, in->number);
			break;
		case CDP_METRIC_MIN:
			acc->number = fresh ? in->number : Min(acc->number, in->number);
			break;
		case CDP_METRIC_MAX:
			acc->number = fresh ? in->number : Max(acc->number, in->number);
			break;
		case CDP_METRIC_FIRST:
			if (fresh || is_before(in->ts, in->key, acc))
				keep_value(acc, in->ts, in->key, in->text, in->len);
			break;
		case CDP_METRIC_LAST:
			if (fresh || !is_before(in->ts, in->key, acc))
				keep_value(acc, in->ts, in->key, in->text, in->len);
			break;
		case CDP_METRIC_UNIQUE:
			add_hash(acc, XXH3_64bits(in->text, in->len));
			break;
		case CDP_METRIC_FREQUENT:
		case CDP_METRIC_LISTED:
			if (!acc->overflow)
				add_item(acc, in->text, in->len, 1);
			break;
		case CDP_METRIC_AFFINITY:
			cdp_metric_affinity_add(acc, in);
			break;
	}
}

/* Adds what other events added up to. */
void
cdp_metric_acc_merge(CdpMetricKind kind, CdpMetricAcc *acc, const CdpMetricAcc *other)
{
	bool fresh = acc->n == 0;

	if (other->n == 0)
		return;
	acc->n += other->n;
	switch (kind)
	{
		case CDP_METRIC_COUNT:
			break;
		case CDP_METRIC_SUM:
		case CDP_METRIC_AVG:
			for (int i = 0; i < other->nparts; i++)
				add_number(acc, other->parts[i]);
			break;
		case CDP_METRIC_MIN:
			acc->number = fresh ? other->number : Min(acc->number, other->number);
			break;
		case CDP_METRIC_MAX:
			acc->number = fresh ? other->number : Max(acc->number, other->number);
			break;
		case CDP_METRIC_FIRST:
			if (fresh || is_before(other->ts, other->key, acc))
				keep_value(acc, other->ts, other->key, other->text, other->len);
			break;
		case CDP_METRIC_LAST:
			if (fresh || !is_before(other->ts, other->key, acc))
				keep_value(acc, other->ts, other->key, other->text, other->len);
			break;
		case CDP_METRIC_UNIQUE:
			for (int i = 0; i < other->nhashes; i++)
				add_hash(acc, other->hashes[i]);
			acc->more |= other->more;
			break;
		case CDP_METRIC_FREQUENT:
		case CDP_METRIC_LISTED:
			acc->overflow |= other->overflow;
			for (int i = 0; i < other->nitems && !acc->overflow; i++)
				add_item(acc, other->items[i].text, other->items[i].len, other->items[i].n);
			break;
		case CDP_METRIC_AFFINITY:
			cdp_metric_affinity_merge(acc, other);
			break;
	}
}

/* A state without events. */
void
cdp_metric_state_start(CdpMetricState *state, bool windowed)
{
	state->width = windowed ? 1 : 0;
	state->ncells = 0;
	state->whole = false;
	state->cells = palloc(sizeof(CdpMetricCell) * (windowed ? CDP_METRIC_CELLS + 1 : 1));
}

static TimestampTz
start_of(const CdpMetricState *state, TimestampTz ts)
{
	/* two's complement: rounds down before 2000, too */
	return state->width == 0 ? DT_NOBEGIN : ts & ~(state->width - 1);
}

/* Doubles the width until half the cells do. */
static void
widen(CdpMetricKind kind, CdpMetricState *state)
{
	while (state->ncells > CDP_METRIC_CELLS / 2)
	{
		int n = 0;

		state->width *= 2;
		for (int i = 0; i < state->ncells; i++)
		{
			TimestampTz start = start_of(state, state->cells[i].start);

			if (n > 0 && state->cells[n - 1].start == start)
				cdp_metric_acc_merge(kind, &state->cells[n - 1].acc, &state->cells[i].acc);
			else
			{
				state->cells[n] = state->cells[i];
				state->cells[n++].start = start;
			}
		}
		state->ncells = n;
	}
}

/* Forgets cells that no window will hold any more; true if there were any. */
bool
cdp_metric_state_expire(CdpMetricState *state, TimestampTz cutoff)
{
	int gone = 0;

	if (state->width == 0)
		return false;
	while (gone < state->ncells && state->cells[gone].start + (state->width - 1) <= cutoff)
		gone++;
	if (gone == 0)
		return false;
	state->ncells -= gone;
	memmove(state->cells, &state->cells[gone], sizeof(CdpMetricCell) * state->ncells);
	return true;
}

/* Adds one event; those up to the cutoff are out of the window for good. */
void
cdp_metric_state_add(CdpMetricKind kind, CdpMetricState *state, const CdpMetricInput *in,
					 TimestampTz cutoff)
{
	TimestampTz start = start_of(state, in->ts);
	int i = state->ncells;

	if (state->width > 0 && in->ts <= cutoff)
		return;
	/* mostly it is the latest */
	while (i > 0 && state->cells[i - 1].start > start)
		i--;
	if (i > 0 && state->cells[i - 1].start == start)
	{
		cdp_metric_acc_add(kind, &state->cells[i - 1].acc, in);
		if (!state->whole)
			bound_items(&state->cells[i - 1].acc);
		return;
	}
	memmove(&state->cells[i + 1], &state->cells[i],
			sizeof(CdpMetricCell) * (state->ncells - i));
	memset(&state->cells[i], 0, sizeof(CdpMetricCell));
	state->cells[i].start = start;
	cdp_metric_acc_add(kind, &state->cells[i].acc, in);
	state->ncells++;
	if (state->width > 0 && state->ncells > CDP_METRIC_CELLS &&
		!cdp_metric_state_expire(state, cutoff))
		widen(kind, state);
}

static void
damaged(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED), errmsg("the state of a metric is damaged"),
			 errhint("Drop the metric and define it again: it is made anew from the events.")));
}

/* Appends v, see the head of the file. */
void
cdp_metric_put(StringInfo out, uint64 v)
{
	while (v >= 0x80)
	{
		appendStringInfoCharMacro(out, (char) (v | 0x80));
		v >>= 7;
	}
	appendStringInfoCharMacro(out, (char) v);
}

uint64
cdp_metric_get(StringInfo in)
{
	uint64 v = 0;

	for (int shift = 0; shift < 64; shift += 7)
	{
		uint64 byte;

		if (in->cursor >= in->len)
			break;
		byte = (uint8) in->data[in->cursor++];
		v |= (byte & 0x7F) << shift;
		if (byte < 0x80)
			return v;
	}
	damaged();
	return 0; /* keep compiler quiet */
}

/* A number of things, of at least one byte each, that are still to come. */
static int
get_number(StringInfo in, int limit)
{
	uint64 v = cdp_metric_get(in);

	if (v > (uint64) limit || v > (uint64) (in->len - in->cursor))
		damaged();
	return (int) v;
}

/* A text inside the message, which outlives what is read. */
static const char *
get_text(StringInfo in, int *len)
{
	*len = get_number(in, PG_INT32_MAX);
	return pq_getmsgbytes(in, *len);
}

static int64
get_count(StringInfo in)
{
	uint64 n = cdp_metric_get(in);

	if (n == 0 || n > PG_INT64_MAX)
		damaged();
	return (int64) n;
}

static TimestampTz
get_time(StringInfo in)
{
	return (TimestampTz) (cdp_metric_get(in) + (uint64) CDP_MIN_EVENT_TIME);
}

static void
put_time(StringInfo out, TimestampTz ts)
{
	cdp_metric_put(out, (uint64) ts - (uint64) CDP_MIN_EVENT_TIME);
}

static void
read_acc(CdpMetricKind kind, StringInfo in, CdpMetricAcc *acc)
{
	memset(acc, 0, sizeof(*acc));
	acc->n = 1;
	switch (kind)
	{
		case CDP_METRIC_COUNT:
			acc->n = get_count(in);
			break;
		case CDP_METRIC_SUM:
		case CDP_METRIC_AVG:
			acc->n = get_count(in);
			acc->nparts = get_number(in, MAX_PARTS);
			acc->room = Max(acc->nparts, 2);
			acc->parts = palloc(sizeof(double) * acc->room);
			for (int i = 0; i < acc->nparts; i++)
				acc->parts[i] = pq_getmsgfloat8(in);
			break;
		case CDP_METRIC_MIN:
		case CDP_METRIC_MAX:
			acc->number = pq_getmsgfloat8(in);
			break;
		case CDP_METRIC_FIRST:
		case CDP_METRIC_LAST:
			acc->ts = get_time(in);
			pq_copymsgbytes(in, (char *) acc->key, 16);
			if (pq_getmsgbyte(in) != 0)
				acc->text = get_text(in, &acc->len);
			break;
		case CDP_METRIC_UNIQUE:
			acc->more = pq_getmsgbyte(in) != 0;
			acc->nhashes = acc->room = get_number(in, CDP_METRIC_HASHES);
			if (acc->nhashes == 0)
				damaged();
			acc->hashes = palloc(sizeof(uint64) * acc->room);
			for (int i = 0; i < acc->nhashes; i++)
			{
				acc->hashes[i] = (uint64) pq_getmsgint64(in);
				if (i > 0 && acc->hashes[i] <= acc->hashes[i - 1])
					damaged();
			}
			break;
		case CDP_METRIC_FREQUENT:
		case CDP_METRIC_LISTED:
			acc->overflow = pq_getmsgbyte(in) == 0;
			if (acc->overflow)
				break;
			acc->nitems = acc->nsorted = acc->room = get_number(in, PG_INT32_MAX);
			acc->items = palloc(sizeof(CdpMetricItem) * Max(acc->room, 1));
			for (int i = 0; i < acc->nitems; i++)
			{
				acc->items[i].n = get_count(in);
				acc->items[i].text = get_text(in, &acc->items[i].len);
				if (i > 0 && compare_items(&acc->items[i - 1], &acc->items[i]) >= 0)
					damaged();
			}
			break;
		case CDP_METRIC_AFFINITY:
			acc->n = get_count(in);
			if (!cdp_metric_affinity_read(acc, in))
				damaged();
			break;
	}
}

static void
put_text(StringInfo out, const char *text, int len)
{
	cdp_metric_put(out, (uint64) len);
	appendBinaryStringInfo(out, text, len);
}

static void
write_acc(CdpMetricKind kind, CdpMetricAcc *acc, bool whole, StringInfo out)
{
	int64 bytes = 0;

	switch (kind)
	{
		case CDP_METRIC_COUNT:
			cdp_metric_put(out, (uint64) acc->n);
			break;
		case CDP_METRIC_SUM:
		case CDP_METRIC_AVG:
			cdp_metric_put(out, (uint64) acc->n);
			settle_parts(acc);
			cdp_metric_put(out, (uint64) acc->nparts);
			for (int i = 0; i < acc->nparts; i++)
				pq_sendfloat8(out, acc->parts[i]);
			break;
		case CDP_METRIC_MIN:
		case CDP_METRIC_MAX:
			pq_sendfloat8(out, acc->number);
			break;
		case CDP_METRIC_FIRST:
		case CDP_METRIC_LAST:
			put_time(out, acc->ts);
			appendBinaryStringInfo(out, (const char *) acc->key, 16);
			pq_sendint8(out, acc->text != NULL);
			if (acc->text)
				put_text(out, acc->text, acc->len);
			break;
		case CDP_METRIC_UNIQUE:
			pq_sendint8(out, acc->more ? 1 : 0);
			cdp_metric_put(out, (uint64) acc->nhashes);
			for (int i = 0; i < acc->nhashes; i++)
				pq_sendint64(out, (int64) acc->hashes[i]);
			break;
		case CDP_METRIC_FREQUENT:
		case CDP_METRIC_LISTED:
			cdp_metric_acc_settle(acc);
			for (int i = 0; i < acc->nitems; i++)
				bytes += acc->items[i].len;
			if (acc->overflow ||
				(!whole &&
				 (acc->nitems > CDP_METRIC_ITEMS || bytes > CDP_METRIC_ITEM_BYTES)))
			{
				pq_sendint8(out, 0);
				break;
			}
			pq_sendint8(out, 1);
			cdp_metric_put(out, (uint64) acc->nitems);
			for (int i = 0; i < acc->nitems; i++)
			{
				cdp_metric_put(out, (uint64) acc->items[i].n);
				put_text(out, acc->items[i].text, acc->items[i].len);
			}
			break;
		case CDP_METRIC_AFFINITY:
			cdp_metric_put(out, (uint64) acc->n);
			cdp_metric_affinity_write(acc, out);
			break;
	}
}

/* Where cells are counted from: whole widths below all events. */
static TimestampTz
origin(const CdpMetricState *state)
{
	return CDP_MIN_EVENT_TIME & ~(state->width - 1);
}

/* Reads a stored state; it goes on pointing into the bytes. */
void
cdp_metric_state_read(CdpMetricKind kind, const char *bytes, int len, CdpMetricState *state)
{
	StringInfoData in = {.data = unconstify(char *, bytes), .len = len, .maxlen = len};
	int log = pq_getmsgbyte(&in);
	TimestampTz before;

	if (log > 62)
		damaged();
	state->whole = false;
	state->width = log == 0 ? 0 : INT64CONST(1) << (log - 1);
	state->ncells = get_number(&in, log == 0 ? 1 : CDP_METRIC_CELLS);
	state->cells = palloc(sizeof(CdpMetricCell) * (log == 0 ? 1 : CDP_METRIC_CELLS + 1));
	before = log == 0 ? DT_NOBEGIN : origin(state);
	for (int i = 0; i < state->ncells; i++)
	{
		if (log > 0)
		{
			uint64 step = cdp_metric_get(&in);

			if ((i > 0 && step == 0) ||
				step > ((uint64) PG_INT64_MAX - (uint64) before) / (uint64) state->width)
				damaged();
			before += (TimestampTz) step * state->width;
		}
		state->cells[i].start = before;
		read_acc(kind, &in, &state->cells[i].acc);
	}
	if (in.cursor != len)
		damaged();
}

/* Appends the stored form. */
void
cdp_metric_state_write(CdpMetricKind kind, const CdpMetricState *state, StringInfo out)
{
	TimestampTz before;

	pq_sendint8(out, state->width == 0 ? 0 : 1 + pg_leftmost_one_pos64(state->width));
	cdp_metric_put(out, (uint64) state->ncells);
	before = state->width == 0 ? DT_NOBEGIN : origin(state);
	for (int i = 0; i < state->ncells; i++)
	{
		if (state->width > 0)
			cdp_metric_put(out, (uint64) ((state->cells[i].start - before) / state->width));
		before = state->cells[i].start;
		write_acc(kind, &state->cells[i].acc, state->whole, out);
	}
}
