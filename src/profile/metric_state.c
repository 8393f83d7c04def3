/*
 * src/profile/metric_state.c
 *		What the events of a metric add up to: add, merge, store.
 *
 * Every operation commutes, so neither the order of arrival nor how events are
 * spread over nodes and cells changes what is read:
 *
 *	count		a number
 *	sum, avg	double-double: the sum and what its rounding lost (Knuth's
 *				TwoSum), so that the order does not show in the result
 *	min, max	a number
 *	first, last	the value at the least or greatest (time, message key)
 *	unique		the least CDP_METRIC_HASHES of the values' 64-bit hashes: up to
 *				so many it is the set itself.  Of more, the greatest one kept, h
 *				of 2^64, tells how many there are: (k - 1) / h, with a standard
 *				error of 1 / sqrt(k - 2), 3.1 % (bottom-k sketch: Bar-Yossef and
 *				others, 2002; Beyer and others, 2007)
 *	frequent,	the values and how often each came
 *	listed
 *
 * Stored form, all in network order: width int64, number of cells int32, and
 * by cell start int64 and then by kind
 *
 *	count		n int64
 *	sum, avg	n int64, hi float8, lo float8
 *	min, max	hi float8
 *	first, last	ts int64, key 16 bytes, length int32 (-1: no text), text
 *	unique		more int8, number int32, hashes int64 each
 *	frequent,	number int32 (-1: overflow), by value n int64, length int32,
 *	listed		text
 */
#include "postgres.h"

#include <math.h>

#include "libpq/pqformat.h"
#include "port/pg_bitutils.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "compat.h"
#include "profile/metric.h"

/* Knuth, The Art of Computer Programming 2, 4.2.2, theorem B. */
static void
add_number(CdpMetricAcc *acc, double v)
{
	double sum = acc->hi + v;
	double part = sum - acc->hi;
	double lost = (acc->hi - (sum - part)) + (v - part);
	double whole;

	if (isinf(sum) || isnan(sum))
	{
		acc->hi = sum;
		acc->lo = 0;
		return;
	}
	lost += acc->lo;
	whole = sum + lost;
	acc->lo = lost - (whole - sum);
	acc->hi = whole;
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

static void
add_item(CdpMetricAcc *acc, const char *text, int len, int64 n)
{
	int low = 0;
	int high = acc->nitems;

	while (low < high)
	{
		int mid = (low + high) / 2;
		int cmp = compare_text(acc->items[mid].text, acc->items[mid].len, text, len);

		if (cmp == 0)
		{
			acc->items[mid].n += n;
			return;
		}
		if (cmp < 0)
			low = mid + 1;
		else
			high = mid;
	}
	if (acc->nitems == acc->room)
	{
		acc->room = Max(4, acc->room * 2);
		acc->items = acc->items ? repalloc_huge(acc->items, sizeof(CdpMetricItem) * acc->room) :
								  palloc(sizeof(CdpMetricItem) * acc->room);
	}
	memmove(&acc->items[low + 1], &acc->items[low],
			sizeof(CdpMetricItem) * (acc->nitems - low));
	acc->items[low].n = n;
	acc->items[low].text = pnstrdup(text, len);
	acc->items[low].len = len;
	acc->nitems++;
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
			acc->hi = fresh ? in->number : Min(acc->hi, in->number);
			break;
		case CDP_METRIC_MAX:
			acc->hi = fresh ? in->number : Max(acc->hi, in->number);
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
			add_number(acc, other->hi);
			add_number(acc, other->lo);
			break;
		case CDP_METRIC_MIN:
			acc->hi = fresh ? other->hi : Min(acc->hi, other->hi);
			break;
		case CDP_METRIC_MAX:
			acc->hi = fresh ? other->hi : Max(acc->hi, other->hi);
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
	}
}

/* A state without events. */
void
cdp_metric_state_start(CdpMetricState *state, bool windowed)
{
	state->width = windowed ? 1 : 0;
	state->ncells = 0;
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

/* Bytes of a text inside the message, which outlives what is read. */
static const char *
read_text(StringInfo in, int len)
{
	if (len < 0)
		damaged();
	return pq_getmsgbytes(in, len);
}

static void
read_acc(CdpMetricKind kind, StringInfo in, CdpMetricAcc *acc)
{
	memset(acc, 0, sizeof(*acc));
	acc->n = 1;
	switch (kind)
	{
		case CDP_METRIC_COUNT:
			acc->n = pq_getmsgint64(in);
			break;
		case CDP_METRIC_SUM:
		case CDP_METRIC_AVG:
			acc->n = pq_getmsgint64(in);
			acc->hi = pq_getmsgfloat8(in);
			acc->lo = pq_getmsgfloat8(in);
			break;
		case CDP_METRIC_MIN:
		case CDP_METRIC_MAX:
			acc->hi = pq_getmsgfloat8(in);
			break;
		case CDP_METRIC_FIRST:
		case CDP_METRIC_LAST:
			acc->ts = pq_getmsgint64(in);
			pq_copymsgbytes(in, (char *) acc->key, 16);
			acc->len = (int32) pq_getmsgint(in, 4);
			if (acc->len >= 0)
				acc->text = read_text(in, acc->len);
			break;
		case CDP_METRIC_UNIQUE:
			acc->more = pq_getmsgbyte(in) != 0;
			acc->nhashes = (int32) pq_getmsgint(in, 4);
			if (acc->nhashes < 1 || acc->nhashes > CDP_METRIC_HASHES)
				damaged();
			acc->room = acc->nhashes;
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
			acc->nitems = (int32) pq_getmsgint(in, 4);
			acc->overflow = acc->nitems == -1;
			if (acc->overflow)
				acc->nitems = 0;
			if (acc->nitems < 0 || acc->nitems > CDP_METRIC_ITEMS)
				damaged();
			acc->room = acc->nitems;
			acc->items = acc->room > 0 ? palloc(sizeof(CdpMetricItem) * acc->room) : NULL;
			for (int i = 0; i < acc->nitems; i++)
			{
				acc->items[i].n = pq_getmsgint64(in);
				acc->items[i].len = (int32) pq_getmsgint(in, 4);
				acc->items[i].text = read_text(in, acc->items[i].len);
			}
			break;
	}
	if (acc->n < 1)
		damaged();
}

static void
write_acc(CdpMetricKind kind, const CdpMetricAcc *acc, StringInfo out)
{
	int64 bytes = 0;

	switch (kind)
	{
		case CDP_METRIC_COUNT:
			pq_sendint64(out, acc->n);
			break;
		case CDP_METRIC_SUM:
		case CDP_METRIC_AVG:
			pq_sendint64(out, acc->n);
			pq_sendfloat8(out, acc->hi);
			pq_sendfloat8(out, acc->lo);
			break;
		case CDP_METRIC_MIN:
		case CDP_METRIC_MAX:
			pq_sendfloat8(out, acc->hi);
			break;
		case CDP_METRIC_FIRST:
		case CDP_METRIC_LAST:
			pq_sendint64(out, acc->ts);
			appendBinaryStringInfo(out, (const char *) acc->key, 16);
			pq_sendint32(out, acc->text ? acc->len : -1);
			if (acc->text)
				appendBinaryStringInfo(out, acc->text, acc->len);
			break;
		case CDP_METRIC_UNIQUE:
			pq_sendint8(out, acc->more ? 1 : 0);
			pq_sendint32(out, acc->nhashes);
			for (int i = 0; i < acc->nhashes; i++)
				pq_sendint64(out, (int64) acc->hashes[i]);
			break;
		case CDP_METRIC_FREQUENT:
		case CDP_METRIC_LISTED:
			for (int i = 0; i < acc->nitems; i++)
				bytes += acc->items[i].len;
			if (acc->overflow || acc->nitems > CDP_METRIC_ITEMS || bytes > CDP_METRIC_ITEM_BYTES)
			{
				pq_sendint32(out, -1);
				break;
			}
			pq_sendint32(out, acc->nitems);
			for (int i = 0; i < acc->nitems; i++)
			{
				pq_sendint64(out, acc->items[i].n);
				pq_sendint32(out, acc->items[i].len);
				appendBinaryStringInfo(out, acc->items[i].text, acc->items[i].len);
			}
			break;
	}
}

/* Reads a stored state; it goes on pointing into the bytes. */
void
cdp_metric_state_read(CdpMetricKind kind, const char *bytes, int len, CdpMetricState *state)
{
	StringInfoData in = {.data = unconstify(char *, bytes), .len = len, .maxlen = len};

	state->width = pq_getmsgint64(&in);
	state->ncells = (int32) pq_getmsgint(&in, 4);
	if (state->width < 0 || (state->width & (state->width - 1)) != 0 || state->ncells < 0 ||
		state->ncells > (state->width == 0 ? 1 : CDP_METRIC_CELLS))
		damaged();
	state->cells =
		palloc(sizeof(CdpMetricCell) * (state->width == 0 ? 1 : CDP_METRIC_CELLS + 1));
	for (int i = 0; i < state->ncells; i++)
	{
		state->cells[i].start = pq_getmsgint64(&in);
		if (i > 0 && state->cells[i].start <= state->cells[i - 1].start)
			damaged();
		read_acc(kind, &in, &state->cells[i].acc);
	}
	if (in.cursor != len)
		damaged();
}

/* Appends the stored form. */
void
cdp_metric_state_write(CdpMetricKind kind, const CdpMetricState *state, StringInfo out)
{
	pq_sendint64(out, state->width);
	pq_sendint32(out, state->ncells);
	for (int i = 0; i < state->ncells; i++)
	{
		pq_sendint64(out, state->cells[i].start);
		write_acc(kind, &state->cells[i].acc, out);
	}
}
