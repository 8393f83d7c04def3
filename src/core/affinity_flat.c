/*
 * src/core/affinity_flat.c
 *		The stored form of a summary, and what is read from it (see affinity.h).
 *
 *		 0	version		1	CDP_AFFINITY_VERSION
 *		 1	flags		1	FLAG_ABOVE, FLAG_BELOW
 *		 2	slots		1	1 .. 96
 *		 3	count		1	0 .. slots
 *		 4	half-life	8	microseconds
 *		12	landmark	8	half-lives since 2000-01-01 UTC
 *		20	plus		8	float8: sum of positive weights, as of the landmark
 *		28	minus		8	of negative ones, without the sign
 *		36	absent_above	8	with FLAG_ABOVE
 *			absent_below	8	with FLAG_BELOW
 *			net			8 * count
 *			above		8 * count, with FLAG_ABOVE
 *			below		8 * count, with FLAG_BELOW
 *			len			1 * count
 *			values		without separators
 *
 * Numbers are in the machine's order and not aligned.  Values ascend by their
 * bytes.  A flag is set when and only when its absent is above 0; so a summary
 * that never forgot anything takes 9 bytes a value and its text, and one that
 * forgot positive weights only 17.  There is no -0, no number between 0 and the
 * smallest normal one, and no value of which nothing is left.  Therefore what is
 * equal has equal bytes.
 *
 * Nothing in the bytes is trusted; what does not fit gives a reason.
 */
#include "core/affinity.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/time.h"

#define CDP_AFFINITY_VERSION 1

#define FLAG_ABOVE 1
#define FLAG_BELOW 2

#define HEADER_BYTES 36

/* sums of many events, and what is compared with them, were rounded */
#define TOLERANCE (1 + 1e-6)

static int64_t
floor_divide(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

static int
flags_of(const CdpAffinityView *view)
{
	return (view->absent_above != 0 ? FLAG_ABOVE : 0) | (view->absent_below != 0 ? FLAG_BELOW : 0);
}

static int
numbers_of(int flags)
{
	return 1 + ((flags & FLAG_ABOVE) != 0) + ((flags & FLAG_BELOW) != 0);
}

/* 0 but not -0, or at least the smallest normal number, up to "most" */
static bool
is_sum(double x, double most)
{
	return x == 0 ? !signbit(x) : (x >= DBL_MIN && x <= most);
}

/*
 * Prove every invariant of a view.
 */
bool
cdp_core_affinity_check(const CdpAffinityView *view, const char **reason)
{
	double most = (view->plus + view->minus) * TOLERANCE + 4 * DBL_MIN;

	if (view->half_life < CDP_AFFINITY_MIN_HALF_LIFE ||
		view->half_life > CDP_AFFINITY_MAX_HALF_LIFE)
		*reason = "half-life is not between a second and a century";
	else if (view->slots < 1 || view->slots > CDP_AFFINITY_MAX_SLOTS)
		*reason = "number of slots is not between 1 and 96";
	else if (view->count < 0 || view->count > view->slots)
		*reason = "number of values is above that of slots";
	else if (view->landmark < floor_divide(CDP_MIN_TIMESTAMP, view->half_life) ||
			 view->landmark > floor_divide(CDP_MAX_TIMESTAMP, view->half_life))
		*reason = "time is out of range";
	else if (!is_sum(view->plus, CDP_AFFINITY_MAX_SUM) ||
			 !is_sum(view->minus, CDP_AFFINITY_MAX_SUM) ||
			 view->plus + view->minus > CDP_AFFINITY_MAX_SUM)
		*reason = "total is out of range";
	else if (view->plus == 0 && view->minus == 0 &&
			 (view->count != 0 || view->landmark != 0 || view->absent_above != 0 ||
			  view->absent_below != 0))
		*reason = "total is 0, yet there is something";
	else if (!is_sum(view->absent_above, most) || !is_sum(view->absent_below, most))
		*reason = "bound of absent values is out of range";
	else
		goto items;
	return false;

items:
	for (int i = 0; i < view->count; i++)
	{
		const CdpAffinityItem *item = &view->item[i];

		if (item->len > CDP_AFFINITY_MAX_VALUE)
			*reason = "value is longer than 255 bytes";
		else if (memchr(item->value, '\0', item->len) != NULL)
			*reason = "value has a null byte";
		else if (i > 0 && cdp_core_affinity_compare(item[-1].value, item[-1].len,
													item->value, item->len) >= 0)
			*reason = "values are not ascending";
		else if (signbit(item->net) && item->net == 0)
			*reason = "sum of a value is out of range";
		else if (!is_sum(fabs(item->net), most))
			*reason = "sum of a value is out of range";
		else if (!is_sum(item->above, view->absent_above) ||
				 !is_sum(item->below, view->absent_below))
			*reason = "bound of a value is above that of absent values";
		else if (item->net == 0 && item->above == 0 && item->below == 0)
			*reason = "sum of a value is 0";
		else
			continue;
		return false;
	}
	return true;
}

static const char *
take(const char *from, void *to, size_t size)
{
	memcpy(to, from, size);
	return from + size;
}

/*
 * Lays "size" bytes open; values point into them.  False with a reason unless
 * they are a summary, the whole of it and nothing else.
 */
bool
cdp_core_affinity_open(CdpAffinityView *view, const void *bytes, size_t size, const char **reason)
{
	const char *at = bytes;
	uint8_t head[4];
	int flags;
	size_t need;
	const uint8_t *len;

	if (size < HEADER_BYTES)
	{
		*reason = "value is shorter than its header";
		return false;
	}
	at = take(at, head, sizeof(head));
	at = take(at, &view->half_life, 8);
	at = take(at, &view->landmark, 8);
	at = take(at, &view->plus, 8);
	at = take(at, &view->minus, 8);
	flags = head[1];
	view->slots = head[2];
	view->count = head[3];
	if (head[0] != CDP_AFFINITY_VERSION)
	{
		*reason = "version is unknown";
		return false;
	}
	if ((flags & ~(FLAG_ABOVE | FLAG_BELOW)) != 0)
	{
		*reason = "reserved bits are not zero";
		return false;
	}
	if (view->count > CDP_AFFINITY_MAX_SLOTS)
	{
		*reason = "number of values is above that of slots";
		return false;
	}
	need = HEADER_BYTES + 8 * (numbers_of(flags) - 1) + (8 * numbers_of(flags) + 1) * view->count;
	if (size < need)
	{
		*reason = "value is shorter than its numbers";
		return false;
	}
	view->absent_above = view->absent_below = 0;
	if (flags & FLAG_ABOVE)
		at = take(at, &view->absent_above, 8);
	if (flags & FLAG_BELOW)
		at = take(at, &view->absent_below, 8);
	for (int i = 0; i < view->count; i++)
	{
		view->item[i].above = view->item[i].below = 0;
		at = take(at, &view->item[i].net, 8);
	}
	for (int i = 0; i < view->count && (flags & FLAG_ABOVE); i++)
		at = take(at, &view->item[i].above, 8);
	for (int i = 0; i < view->count && (flags & FLAG_BELOW); i++)
		at = take(at, &view->item[i].below, 8);
	len = (const uint8_t *) at;
	at += view->count;
	for (int i = 0; i < view->count; i++)
	{
		view->item[i].len = len[i];
		view->item[i].value = at;
		need += len[i];
		if (need > size)
		{
			*reason = "value is shorter than its text";
			return false;
		}
		at += len[i];
	}
	if (need != size)
	{
		*reason = "value is longer than its text";
		return false;
	}
	if (flags != flags_of(view))
	{
		*reason = "bound of absent values is out of range";
		return false;
	}
	return cdp_core_affinity_check(view, reason);
}

static int
by_value(const void *a, const void *b)
{
	const CdpAffinityItem *x = a;
	const CdpAffinityItem *y = b;

	return cdp_core_affinity_compare(x->value, x->len, y->value, y->len);
}

/*
 * Puts the values into their order.
 */
void
cdp_core_affinity_sort(CdpAffinityView *view)
{
	/* few as a rule, and qsort() takes long to begin */
	if (view->count > 16)
	{
		qsort(view->item, view->count, sizeof(view->item[0]), by_value);
		return;
	}
	for (int i = 1; i < view->count; i++)
	{
		CdpAffinityItem item = view->item[i];
		int j = i;

		for (; j > 0 && by_value(&view->item[j - 1], &item) > 0; j--)
			view->item[j] = view->item[j - 1];
		view->item[j] = item;
	}
}

/*
 * Bytes of the stored form.
 */
size_t
cdp_core_affinity_size(const CdpAffinityView *view)
{
	int numbers = numbers_of(flags_of(view));
	size_t size = HEADER_BYTES + 8 * (numbers - 1) + (8 * numbers + 1) * view->count;

	for (int i = 0; i < view->count; i++)
		size += view->item[i].len;
	return size;
}

static char *
put(char *to, const void *from, size_t size)
{
	memcpy(to, from, size);
	return to + size;
}

/*
 * Writes the stored form of a view whose values are in order.
 */
void
cdp_core_affinity_write(const CdpAffinityView *view, void *bytes)
{
	int flags = flags_of(view);
	uint8_t head[4] = {CDP_AFFINITY_VERSION, (uint8_t) flags, (uint8_t) view->slots,
					   (uint8_t) view->count};
	char *to = put(bytes, head, sizeof(head));

	to = put(to, &view->half_life, 8);
	to = put(to, &view->landmark, 8);
	to = put(to, &view->plus, 8);
	to = put(to, &view->minus, 8);
	if (flags & FLAG_ABOVE)
		to = put(to, &view->absent_above, 8);
	if (flags & FLAG_BELOW)
		to = put(to, &view->absent_below, 8);
	for (int i = 0; i < view->count; i++)
		to = put(to, &view->item[i].net, 8);
	for (int i = 0; i < view->count && (flags & FLAG_ABOVE); i++)
		to = put(to, &view->item[i].above, 8);
	for (int i = 0; i < view->count && (flags & FLAG_BELOW); i++)
		to = put(to, &view->item[i].below, 8);
	for (int i = 0; i < view->count; i++)
		*to++ = (char) view->item[i].len;
	for (int i = 0; i < view->count; i++)
		to = put(to, view->item[i].value, view->item[i].len);
}

/* -- what is read -- */

/*
 * Number of a value, or -1.
 */
int
cdp_core_affinity_find(const CdpAffinityView *view, const char *value, size_t len)
{
	for (int i = 0; i < view->count; i++)
	{
		if (view->item[i].len == len && memcmp(view->item[i].value, value, len) == 0)
			return i;
	}
	return -1;
}

/*
 * Sums are rounded, otherwise in another order of adding: up to this part of the
 * weights that went into one, which are its sum and twice what was subtracted.
 */
#define ROUNDING 1e-12

/* May a sum be another that is not above it, or nothing (0), but for rounding? */
static bool
may_be(const CdpAffinityView *view, double sum, double other)
{
	return sum - other <= (fmax(fabs(sum), fabs(other)) + view->minus) * ROUNDING;
}

/*
 * Is a value's sum above 0, and not what rounding left of weights of both signs?
 */
bool
cdp_core_affinity_is_liked(const CdpAffinityView *view, int i)
{
	return !may_be(view, view->item[i].net, 0);
}

typedef struct Ranked
{
	const CdpAffinityItem *item;
	int i;
} Ranked;

static int
by_net(const void *a, const void *b)
{
	const Ranked *x = a;
	const Ranked *y = b;

	if (x->item->net != y->item->net)
		return x->item->net > y->item->net ? -1 : 1;
	return by_value(x->item, y->item);
}

static int
by_tie(const void *a, const void *b)
{
	return by_value(((const Ranked *) a)->item, ((const Ranked *) b)->item);
}

/*
 * Numbers of the n values with the largest sums; returns how many there are.
 * "order" has room for all values.
 *
 * Ties are by value, also those that rounding hides: neighbours in the order of
 * sums that may be the same are one tie.  A tie is of neighbours because "may be
 * the same" holds for a and b, b and c, and not for a and c; and no grid of sums
 * would do, for what is the same could lie on both sides of a line.
 */
int
cdp_core_affinity_rank(const CdpAffinityView *view, int n, uint8_t *order)
{
	Ranked ranked[CDP_AFFINITY_MAX_SLOTS];
	int first = 0;

	n = n < view->count ? n : view->count;
	for (int i = 0; i < view->count; i++)
		ranked[i] = (Ranked){&view->item[i], i};
	qsort(ranked, view->count, sizeof(ranked[0]), by_net);
	for (int i = 1; i <= view->count && first < n; i++)
	{
		if (i < view->count && may_be(view, ranked[i - 1].item->net, ranked[i].item->net))
			continue;
		if (i - first > 1)
			qsort(&ranked[first], i - first, sizeof(ranked[0]), by_tie);
		first = i;
	}
	for (int i = 0; i < n; i++)
		order[i] = (uint8_t) ranked[i].i;
	return n > 0 ? n : 0;
}

/*
 * What a sum is worth at a time.  Never infinite: a time so long before the
 * landmark that the score is beyond all numbers gives the largest of them.
 */
double
cdp_core_affinity_at(const CdpAffinityView *view, double sum, int64_t at)
{
	int64_t halves = floor_divide(at, view->half_life);
	int64_t rest = at % view->half_life;
	int64_t exponent = view->landmark - halves;
	double score;

	if (sum == 0)
		return 0;
	if (rest < 0)
		rest += view->half_life;
	exponent = exponent > 4000 ? 4000 : exponent < -4000 ? -4000 :
														   exponent;
	/* divided by what adding multiplied with, so that a weight comes out as it went in */
	score = ldexp(sum / exp2((double) rest / (double) view->half_life), (int) exponent);
	return fabs(score) <= DBL_MAX ? score : copysign(DBL_MAX, sum);
}

/*
 * 1 - cosine of the angle between two summaries: 0 when they are in proportion,
 * 1 when they share nothing or one is empty, 2 when they are opposite.  The time
 * and half-lives do not matter, for decay scales all of a summary alike.
 */
double
cdp_core_affinity_distance(const CdpAffinityView *a, const CdpAffinityView *b)
{
	double a_most = 0;
	double b_most = 0;
	double aa = 0;
	double bb = 0;
	double ab = 0;
	int i = 0;
	int j = 0;
	double cosine;

	/* relative to the largest, so that squares neither overflow nor vanish */
	for (int k = 0; k < a->count; k++)
		a_most = fmax(a_most, fabs(a->item[k].net));
	for (int k = 0; k < b->count; k++)
		b_most = fmax(b_most, fabs(b->item[k].net));
	if (a_most == 0 || b_most == 0)
		return 1;
	for (int k = 0; k < a->count; k++)
		aa += (a->item[k].net / a_most) * (a->item[k].net / a_most);
	for (int k = 0; k < b->count; k++)
		bb += (b->item[k].net / b_most) * (b->item[k].net / b_most);
	while (i < a->count && j < b->count)
	{
		int cmp = by_value(&a->item[i], &b->item[j]);

		if (cmp == 0)
			ab += (a->item[i].net / a_most) * (b->item[j].net / b_most);
		i += cmp <= 0;
		j += cmp >= 0;
	}
	/* one root, so that the distance of a summary to itself is 0 exactly */
	cosine = ab / sqrt(aa * bb);
	return 1 - fmin(1, fmax(-1, cosine));
}
