/*
 * src/core/affinity.c
 *		Adding events and summaries to a summary (see affinity.h).
 */
#include "core/affinity.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/time.h"

/* up to this many values a scan of their hashes beats the table */
#define SCAN_MAX 8

#define BUCKETS 256

/* a merge of two full summaries, before the smallest are forgotten */
#define MOST_SLOTS (2 * CDP_AFFINITY_MAX_SLOTS)

/*
 * x * 2^exponent for an exponent <= 0: exact, or 0 below the normal numbers.
 */
double
cdp_core_affinity_scale(double x, int64_t exponent)
{
	if (exponent > -1022)
	{
		uint64_t bits = (uint64_t) (exponent + 1023) << 52;
		double power;

		memcpy(&power, &bits, sizeof(power));
		x *= power;
	}
	else
		x = exponent < -2000 ? 0 : ldexp(x, (int) exponent);
	return fabs(x) < DBL_MIN ? 0 : x;
}

int
cdp_core_affinity_compare(const char *a, size_t a_len, const char *b, size_t b_len)
{
	int cmp = memcmp(a, b, a_len < b_len ? a_len : b_len);

	return cmp != 0 ? cmp : (a_len > b_len) - (a_len < b_len);
}

static double
larger(double a, double b)
{
	return a > b ? a : b;
}

static CdpAffinityBound
bound_of(const CdpAffinity *affinity, int i)
{
	static const CdpAffinityBound none = {0, 0};

	return affinity->bound == NULL ? none : affinity->bound[i];
}

/* how far from 0 the exact sum may be */
static double
reach(double net, CdpAffinityBound bound)
{
	return larger(net + bound.above, bound.below - net);
}

/* never stored, so free to change */
static uint32_t
hash_of(const char *value, size_t len)
{
	uint64_t h = len * UINT64_C(0x9E3779B97F4A7C15);
	uint64_t word;

	for (; len > 8; len -= 8, value += 8)
	{
		memcpy(&word, value, 8);
		h = (h ^ word) * UINT64_C(0xD6E8FEB86659FD93);
		h ^= h >> 32;
	}
	word = 0;
	memcpy(&word, value, len);
	h = (h ^ word) * UINT64_C(0xD6E8FEB86659FD93);
	h ^= h >> 29;
	h *= UINT64_C(0x9E3779B97F4A7C15);
	return (uint32_t) (h >> 32);
}

/*
 * An empty summary.  half_life is in microseconds; both are within the limits.
 */
void
cdp_core_affinity_init(CdpAffinity *affinity, const CdpAffinityHost *host, int64_t half_life,
					   int slots)
{
	memset(affinity, 0, offsetof(CdpAffinity, first_slot));
	affinity->absent_below = affinity->absent_above = 0;
	affinity->host = *host;
	affinity->half_life = half_life;
	affinity->slots = (uint8_t) slots;
	affinity->slot = affinity->first_slot;
	affinity->room = CDP_AFFINITY_FIRST_SLOTS;
	affinity->bytes = affinity->first_bytes;
	affinity->bytes_room = CDP_AFFINITY_FIRST_BYTES;
}

/* -- the table -- */

static void
link_slot(CdpAffinity *affinity, int i)
{
	uint8_t *bucket = &affinity->bucket[affinity->slot[i].hash % BUCKETS];

	affinity->slot[i].next = *bucket;
	*bucket = (uint8_t) (i + 1);
}

static void
unlink_slot(CdpAffinity *affinity, int i)
{
	uint8_t *link = &affinity->bucket[affinity->slot[i].hash % BUCKETS];

	while (*link != i + 1)
		link = &affinity->slot[*link - 1].next;
	*link = affinity->slot[i].next;
}

static void
link_all(CdpAffinity *affinity)
{
	if (affinity->bucket == NULL)
		affinity->bucket = affinity->host.resize(affinity->host.arg, NULL, BUCKETS);
	memset(affinity->bucket, 0, BUCKETS);
	for (int i = 0; i < affinity->count; i++)
		link_slot(affinity, i);
}

static bool
slot_is(const CdpAffinity *affinity, const CdpAffinitySlot *slot, uint32_t hash,
		const char *value, size_t len)
{
	return slot->hash == hash && slot->len == len &&
		   memcmp(affinity->bytes + slot->at, value, len) == 0;
}

static int
find(const CdpAffinity *affinity, uint32_t hash, const char *value, size_t len)
{
	if (affinity->bucket == NULL)
	{
		for (int i = 0; i < affinity->count; i++)
		{
			if (slot_is(affinity, &affinity->slot[i], hash, value, len))
				return i;
		}
		return -1;
	}
	for (int i = affinity->bucket[hash % BUCKETS]; i != 0; i = affinity->slot[i - 1].next)
	{
		if (slot_is(affinity, &affinity->slot[i - 1], hash, value, len))
			return i - 1;
	}
	return -1;
}

/* -- the values' bytes -- */

static int
by_position(const void *a, const void *b)
{
	const CdpAffinitySlot *x = *(CdpAffinitySlot *const *) a;
	const CdpAffinitySlot *y = *(CdpAffinitySlot *const *) b;

	return (x->at > y->at) - (x->at < y->at);
}

/* close the gaps that forgotten values left */
static void
compact_bytes(CdpAffinity *affinity)
{
	CdpAffinitySlot *order[MOST_SLOTS];
	uint16_t used = 0;

	for (int i = 0; i < affinity->count; i++)
		order[i] = &affinity->slot[i];
	qsort(order, affinity->count, sizeof(order[0]), by_position);
	for (int i = 0; i < affinity->count; i++)
	{
		memmove(affinity->bytes + used, affinity->bytes + order[i]->at, order[i]->len);
		order[i]->at = used;
		used += order[i]->len;
	}
	affinity->used = used;
	affinity->dead = 0;
}

static void *
grow(CdpAffinity *affinity, void *block, void *first, size_t old_size, size_t size)
{
	void *grown = affinity->host.resize(affinity->host.arg, block == first ? NULL : block, size);

	if (block == first)
		memcpy(grown, first, old_size);
	return grown;
}

/*
 * Where "len" bytes of a new value may go.  There is always room: what lives,
 * in the middle of a merge too, takes 49,000 bytes at most.
 */
static uint16_t
place_bytes(CdpAffinity *affinity, size_t len)
{
	uint16_t at;

	if (affinity->bytes_room - affinity->used < (int) len)
	{
		/* half of it free afterwards, or the next time comes too soon; unless no block is enough */
		if (affinity->dead >= affinity->used / 2 || affinity->used + len > UINT16_MAX)
			compact_bytes(affinity);
		if (affinity->bytes_room - affinity->used < (int) len)
		{
			size_t room = 2 * (affinity->used + len);

			room = room < UINT16_MAX ? room : UINT16_MAX;
			affinity->bytes = grow(affinity, affinity->bytes, affinity->first_bytes,
								   affinity->used, room);
			affinity->bytes_room = (uint16_t) room;
		}
	}
	at = affinity->used;
	affinity->used += (uint16_t) len;
	return at;
}

/* -- slots -- */

static void
fill_slot(CdpAffinity *affinity, int i, uint32_t hash, const char *value, size_t len)
{
	CdpAffinitySlot *slot = &affinity->slot[i];

	slot->hash = hash;
	slot->at = place_bytes(affinity, len);
	slot->len = (uint8_t) len;
	memcpy(affinity->bytes + slot->at, value, len);
	if (affinity->bucket != NULL)
		link_slot(affinity, i);
	else if (affinity->count > SCAN_MAX)
		link_all(affinity);
}

/* a slot of a new value, with a sum of 0 and no bounds; returns its number */
static int
append_slot(CdpAffinity *affinity, uint32_t hash, const char *value, size_t len)
{
	int i = affinity->count;

	if (i == affinity->room)
	{
		int room = 2 * i < MOST_SLOTS ? 2 * i : MOST_SLOTS;

		affinity->slot = grow(affinity, affinity->slot, affinity->first_slot,
							  i * sizeof(CdpAffinitySlot), room * sizeof(CdpAffinitySlot));
		if (affinity->bound != NULL)
			affinity->bound = grow(affinity, affinity->bound, NULL, 0,
								   room * sizeof(CdpAffinityBound));
		affinity->room = (uint8_t) room;
	}
	memset(&affinity->slot[i], 0, sizeof(CdpAffinitySlot));
	if (affinity->bound != NULL)
		memset(&affinity->bound[i], 0, sizeof(CdpAffinityBound));
	affinity->count++;
	fill_slot(affinity, i, hash, value, len);
	return i;
}

/* something is about to be forgotten */
static void
need_bounds(CdpAffinity *affinity)
{
	size_t size = affinity->room * sizeof(CdpAffinityBound);

	if (affinity->bound == NULL)
	{
		affinity->bound = affinity->host.resize(affinity->host.arg, NULL, size);
		memset(affinity->bound, 0, size);
	}
}

/* a value with this sum has no slot any more */
static void
forget(CdpAffinity *affinity, double net, CdpAffinityBound bound)
{
	affinity->absent_below = larger(affinity->absent_below, bound.below - net);
	affinity->absent_above = larger(affinity->absent_above, net + bound.above);
}

static int
weakest(const CdpAffinity *affinity)
{
	int least = 0;
	double least_reach = reach(affinity->slot[0].net, affinity->bound[0]);

	for (int i = 1; i < affinity->count; i++)
	{
		double r = reach(affinity->slot[i].net, affinity->bound[i]);

		if (r < least_reach)
		{
			least = i;
			least_reach = r;
		}
	}
	return least;
}

/*
 * A value that has no slot, when all are taken: the smallest reach goes, be it
 * the newcomer's.
 */
static void
compete(CdpAffinity *affinity, uint32_t hash, const char *value, size_t len, double net)
{
	CdpAffinityBound unknown = {affinity->absent_below, affinity->absent_above};
	CdpAffinitySlot *slot;
	int i;

	need_bounds(affinity);
	i = weakest(affinity);
	slot = &affinity->slot[i];
	if (reach(net, unknown) <= reach(slot->net, affinity->bound[i]))
	{
		forget(affinity, net, unknown);
		return;
	}
	forget(affinity, slot->net, affinity->bound[i]);
	if (affinity->bucket != NULL)
		unlink_slot(affinity, i);
	affinity->dead += slot->len;
	slot->len = 0; /* its bytes may be taken */
	slot->net = net;
	affinity->bound[i] = unknown;
	fill_slot(affinity, i, hash, value, len);
}

static void
advance(CdpAffinity *affinity, int64_t landmark)
{
	int64_t exponent = affinity->landmark - landmark;

	affinity->landmark = landmark;
	affinity->plus = cdp_core_affinity_scale(affinity->plus, exponent);
	affinity->minus = cdp_core_affinity_scale(affinity->minus, exponent);
	affinity->absent_below = cdp_core_affinity_scale(affinity->absent_below, exponent);
	affinity->absent_above = cdp_core_affinity_scale(affinity->absent_above, exponent);
	for (int i = 0; i < affinity->count; i++)
	{
		affinity->slot[i].net = cdp_core_affinity_scale(affinity->slot[i].net, exponent);
		if (affinity->bound != NULL)
		{
			CdpAffinityBound *bound = &affinity->bound[i];

			bound->below = cdp_core_affinity_scale(bound->below, exponent);
			bound->above = cdp_core_affinity_scale(bound->above, exponent);
		}
	}
}

/*
 * Adds an event.  Weight 0 changes nothing, nor does an event so much older
 * than the newest that nothing is left of it.
 */
CdpAffinityStatus
cdp_core_affinity_add(CdpAffinity *affinity, const char *value, size_t len, double weight,
					  int64_t at)
{
	int64_t halves;
	int64_t rest;
	double net;
	uint32_t hash;
	int i;

	if (len > CDP_AFFINITY_MAX_VALUE)
		return CDP_AFFINITY_LONG_VALUE;
	if (!(fabs(weight) <= CDP_AFFINITY_MAX_WEIGHT))
		return CDP_AFFINITY_BAD_WEIGHT;
	if (at < CDP_MIN_TIMESTAMP || at > CDP_MAX_TIMESTAMP)
		return CDP_AFFINITY_BAD_TIME;
	if (weight == 0)
		return CDP_AFFINITY_DONE;

	hash = hash_of(value, len);
	halves = at / affinity->half_life;
	rest = at % affinity->half_life;
	if (rest < 0)
	{
		rest += affinity->half_life;
		halves--;
	}
	if (!affinity->dated)
		affinity->landmark = halves;
	else if (halves > affinity->landmark)
		advance(affinity, halves);
	affinity->dated = true;

	net = cdp_core_affinity_scale(weight * exp2((double) rest / (double) affinity->half_life),
								  halves - affinity->landmark);
	if (net == 0)
		return CDP_AFFINITY_DONE;
	*(net > 0 ? &affinity->plus : &affinity->minus) += fabs(net);
	if (affinity->plus + affinity->minus > CDP_AFFINITY_MAX_SUM)
		return CDP_AFFINITY_BAD_SUM;

	i = find(affinity, hash, value, len);
	if (i >= 0)
		affinity->slot[i].net += net;
	else if (affinity->count < affinity->slots)
	{
		i = append_slot(affinity, hash, value, len);
		affinity->slot[i].net = net;
		if (affinity->bound != NULL)
		{
			affinity->bound[i].below = affinity->absent_below;
			affinity->bound[i].above = affinity->absent_above;
		}
	}
	else
		compete(affinity, hash, value, len, net);
	return CDP_AFFINITY_DONE;
}

/* -- merging -- */

/* what the comparison of slots needs to see */
typedef struct Ranked
{
	const char *value;
	double reach;
	CdpAffinitySlot slot;
	CdpAffinityBound bound;
} Ranked;

/* the largest reach first; ties by value, so that a + b is b + a */
static int
by_reach(const void *a, const void *b)
{
	const Ranked *x = a;
	const Ranked *y = b;

	if (x->reach != y->reach)
		return x->reach > y->reach ? -1 : 1;
	return cdp_core_affinity_compare(x->value, x->slot.len, y->value, y->slot.len);
}

static void
shrink(CdpAffinity *affinity)
{
	Ranked ranked[MOST_SLOTS];

	need_bounds(affinity);
	for (int i = 0; i < affinity->count; i++)
	{
		ranked[i].slot = affinity->slot[i];
		ranked[i].bound = affinity->bound[i];
		ranked[i].value = affinity->bytes + affinity->slot[i].at;
		ranked[i].reach = reach(affinity->slot[i].net, affinity->bound[i]);
	}
	qsort(ranked, affinity->count, sizeof(Ranked), by_reach);
	for (int i = 0; i < affinity->slots; i++)
	{
		affinity->slot[i] = ranked[i].slot;
		affinity->bound[i] = ranked[i].bound;
	}
	for (int i = affinity->slots; i < affinity->count; i++)
	{
		forget(affinity, ranked[i].slot.net, ranked[i].bound);
		affinity->dead += ranked[i].slot.len;
	}
	affinity->count = affinity->slots;
	if (affinity->bucket != NULL)
		link_all(affinity);
}

/*
 * Adds a summary of other events with the same half-life; the result has the
 * larger number of slots.
 */
CdpAffinityStatus
cdp_core_affinity_merge(CdpAffinity *affinity, const CdpAffinityView *other)
{
	const double below = affinity->absent_below;
	const double above = affinity->absent_above;
	bool both[MOST_SLOTS] = {false};
	int before = affinity->count;
	int64_t exponent;
	double other_below;
	double other_above;

	if (other->half_life != affinity->half_life)
		return CDP_AFFINITY_OTHER_HALF_LIFE;
	if (other->slots > affinity->slots)
		affinity->slots = (uint8_t) other->slots;
	if (other->plus == 0 && other->minus == 0)
		return CDP_AFFINITY_DONE;
	if (!affinity->dated)
		affinity->landmark = other->landmark;
	else if (other->landmark > affinity->landmark)
	{
		advance(affinity, other->landmark);
		return cdp_core_affinity_merge(affinity, other);
	}
	affinity->dated = true;
	exponent = other->landmark - affinity->landmark;
	other_below = cdp_core_affinity_scale(other->absent_below, exponent);
	other_above = cdp_core_affinity_scale(other->absent_above, exponent);
	if (other_below != 0 || other_above != 0)
		need_bounds(affinity);

	for (int i = 0; i < other->count; i++)
	{
		const CdpAffinityItem *item = &other->item[i];
		double net = cdp_core_affinity_scale(item->net, exponent);
		double item_below = cdp_core_affinity_scale(item->below, exponent);
		double item_above = cdp_core_affinity_scale(item->above, exponent);
		uint32_t hash = hash_of(item->value, item->len);
		int j;

		if (net == 0 && item_below == 0 && item_above == 0)
			continue;
		j = find(affinity, hash, item->value, item->len);
		if (j >= 0)
			both[j] = true;
		else
		{
			j = append_slot(affinity, hash, item->value, item->len);
			item_below += below;
			item_above += above;
		}
		affinity->slot[j].net += net;
		if (affinity->bound != NULL)
		{
			affinity->bound[j].below += item_below;
			affinity->bound[j].above += item_above;
		}
	}
	for (int i = 0; i < before && affinity->bound != NULL; i++)
	{
		if (!both[i])
		{
			affinity->bound[i].below += other_below;
			affinity->bound[i].above += other_above;
		}
	}
	affinity->absent_below += other_below;
	affinity->absent_above += other_above;
	affinity->plus += cdp_core_affinity_scale(other->plus, exponent);
	affinity->minus += cdp_core_affinity_scale(other->minus, exponent);
	if (affinity->plus + affinity->minus > CDP_AFFINITY_MAX_SUM)
		return CDP_AFFINITY_BAD_SUM;
	if (affinity->count > affinity->slots)
		shrink(affinity);
	return CDP_AFFINITY_DONE;
}

/* differences of sums may fall below the normal numbers, and -0 is 0 */
static double
clean(double x)
{
	return fabs(x) < DBL_MIN ? 0 : x;
}

/*
 * Lays it open, in no order; values point into the summary.  Those of which
 * nothing is left, nor unknown, are left out.
 */
void
cdp_core_affinity_view(const CdpAffinity *affinity, CdpAffinityView *view)
{
	view->half_life = affinity->half_life;
	view->plus = affinity->plus;
	view->minus = affinity->minus;
	view->landmark = affinity->landmark;
	view->absent_below = clean(affinity->absent_below);
	view->absent_above = clean(affinity->absent_above);
	view->slots = affinity->slots;
	view->count = 0;
	if (view->plus == 0 && view->minus == 0)
	{
		view->landmark = 0;
		view->absent_below = view->absent_above = 0;
		return;
	}
	for (int i = 0; i < affinity->count; i++)
	{
		const CdpAffinitySlot *slot = &affinity->slot[i];
		CdpAffinityItem *item = &view->item[view->count];

		item->value = affinity->bytes + slot->at;
		item->len = slot->len;
		item->net = clean(slot->net);
		item->below = clean(bound_of(affinity, i).below);
		item->above = clean(bound_of(affinity, i).above);
		if (item->net != 0 || item->below != 0 || item->above != 0)
			view->count++;
	}
}
