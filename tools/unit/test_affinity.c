/*
 * tools/unit/test_affinity.c
 *		Unit tests of src/core/affinity*.c.  Prints TAP.
 *
 * Random histories are held against the exact sums, in long double and term by
 * term; whatever was forgotten, the exact sum must lie within the bounds.
 */
#include "core/affinity.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND INT64_C(1000000)
#define DAY (86400 * SECOND)
#define MAX_EVENTS 3000
#define MAX_BYTES 40000

static int tests = 0;
static int failures = 0;

static void
ok(bool passed, const char *name)
{
	printf("%s %d - %s\n", passed ? "ok" : "not ok", ++tests, name);
	if (!passed)
		failures++;
}

/* SplitMix64 */
static uint64_t seed;

static uint64_t
draw(void)
{
	uint64_t z = seed += UINT64_C(0x9E3779B97F4A7C15);

	z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
	return z ^ (z >> 31);
}

static int
below(int n)
{
	return (int) (draw() % (uint64_t) n);
}

static double
unit(void)
{
	return (double) (draw() >> 11) / 9007199254740992.0;
}

/* -- memory: all blocks of a test, freed together -- */

static void *blocks[100000];
static int n_blocks = 0;

static void *
resize(void *arg, void *block, size_t bytes)
{
	void *grown = realloc(block, bytes);

	(void) arg;
	for (int i = 0; i < n_blocks && block != NULL; i++)
	{
		if (blocks[i] == block)
		{
			blocks[i] = grown;
			return grown;
		}
	}
	blocks[n_blocks++] = grown;
	return grown;
}

static const CdpAffinityHost host = {resize, NULL};

static void
free_blocks(void)
{
	while (n_blocks > 0)
		free(blocks[--n_blocks]);
}

/* -- histories -- */

typedef struct Event
{
	int value;
	double weight;
	int64_t at;
} Event;

typedef struct History
{
	int64_t half_life;
	int slots;
	int values;
	bool is_signed;
	bool uneven; /* parts have fewer slots */
	int n;
	Event event[MAX_EVENTS];
} History;

static size_t
name_of(int value, char *name)
{
	/* of any length up to the limit, the empty text included */
	size_t len = value == 0 ? 0 : (size_t) sprintf(name, "value %d", value);

	while (value % 7 == 3 && len < (size_t) (value * 31 % 250))
		name[len++] = 'x';
	return len;
}

/*
 * Half-lives from a minute to ten years; events anywhere from 1970 to 2100, or
 * within a few half-lives; weights of any size.
 */
static void
random_history(History *h)
{
	int64_t from = -30 * 365 * DAY;
	int64_t to = 100 * 365 * DAY;

	h->half_life = (int64_t) (60e6 * pow(5259600, unit()));
	h->slots = 1 + below(CDP_AFFINITY_MAX_SLOTS);
	h->values = 1 + below(2) * below(300) + below(20);
	h->is_signed = below(2);
	h->uneven = false;
	h->n = 1 + below(below(4) ? 100 : MAX_EVENTS);
	if (below(4))
	{
		int64_t span = h->half_life * (1 + below(30));

		from += (int64_t) (unit() * 100 * 365 * (double) DAY);
		if (from + span < to)
			to = from + span;
	}
	if (below(8) == 0)
		to = from; /* all at once, so that many sums are equal */
	for (int i = 0; i < h->n; i++)
	{
		Event *e = &h->event[i];

		/* some values are much more frequent than others */
		e->value = (int) (h->values * pow(unit(), 3));
		e->weight = below(5) ? 1 + below(10) : exp(20 * unit() - 10);
		if (h->is_signed && below(4) == 0)
			e->weight = -e->weight;
		e->at = from + (int64_t) (unit() * (double) (to - from));
	}
}

static void
shuffle(History *h)
{
	for (int i = h->n - 1; i > 0; i--)
	{
		int j = below(i + 1);
		Event e = h->event[i];

		h->event[i] = h->event[j];
		h->event[j] = e;
	}
}

static void
add_events(CdpAffinity *a, const History *h, int from, int to)
{
	for (int i = from; i < to; i++)
	{
		char name[300];
		size_t len = name_of(h->event[i].value, name);

		if (cdp_core_affinity_add(a, name, len, h->event[i].weight, h->event[i].at) !=
			CDP_AFFINITY_DONE)
			failures++;
	}
}

/* the stored form in a block of exactly its size */
static unsigned char *
stored(const CdpAffinity *a, size_t *size)
{
	CdpAffinityView view;
	unsigned char *bytes;

	cdp_core_affinity_view(a, &view);
	cdp_core_affinity_sort(&view);
	*size = cdp_core_affinity_size(&view);
	bytes = resize(NULL, NULL, *size);
	cdp_core_affinity_write(&view, bytes);
	return bytes;
}

static bool
reopen(CdpAffinityView *view, const CdpAffinity *a)
{
	size_t size;
	unsigned char *bytes = stored(a, &size);
	const char *reason = NULL;

	if (cdp_core_affinity_open(view, bytes, size, &reason))
		return true;
	printf("# %s\n", reason);
	return false;
}

/* merges parts of the history through the stored form; with "uneven" some are added one by one */
static void
add_in_parts(CdpAffinity *a, const History *h, int from, int to, int depth)
{
	cdp_core_affinity_init(a, &host, h->half_life, h->uneven ? 1 + below(h->slots) : h->slots);
	if (depth == 0 || to - from < 2)
	{
		add_events(a, h, from, to);
		return;
	}
	for (int part = 0; part < 2; part++)
	{
		int middle = from + (to - from) / 2;
		CdpAffinity half;
		CdpAffinityView view;

		if (part == 1 && h->uneven && below(2))
		{
			add_events(a, h, middle, to);
			break;
		}
		add_in_parts(&half, h, part ? middle : from, part ? to : middle, depth - 1);
		if (!reopen(&view, &half) || cdp_core_affinity_merge(a, &view) != CDP_AFFINITY_DONE)
			failures++;
	}
}

/* the exact sum of a value (-1: of all |weight|) as of a time */
static long double
exact(const History *h, int value, int64_t at, bool absolute)
{
	long double sum = 0;

	for (int i = 0; i < h->n; i++)
	{
		const Event *e = &h->event[i];
		long double w = absolute ? fabsl(e->weight) : e->weight;

		if (value < 0 || e->value == value)
			sum += w * exp2l((long double) (e->at - at) / (long double) h->half_life);
	}
	return sum;
}

static int64_t
newest(const History *h)
{
	int64_t at = h->event[0].at;

	for (int i = 1; i < h->n; i++)
		at = h->event[i].at > at ? h->event[i].at : at;
	return at;
}

/* does the summary say what is true of the history? */
static bool
holds(const CdpAffinity *a, const History *h)
{
	CdpAffinityView view;
	int64_t at = newest(h) + (int64_t) (unit() * 3 * (double) h->half_life);
	long double mass = exact(h, -1, at, true);
	long double slack = mass * 1e-9L;
	long double widest;

	if (!reopen(&view, a))
		return false;
	widest = cdp_core_affinity_at(&view, fmax(view.absent_below, view.absent_above), at);
	if (widest * (h->uneven ? 1 : h->slots) > mass + slack)
	{
		printf("# absent %Lg of mass %Lg with %d slots\n", widest, mass, h->slots);
		return false;
	}
	if (!h->is_signed && view.absent_below != 0)
		return false;
	if (fabsl(cdp_core_affinity_at(&view, view.plus + view.minus, at) - mass) > slack)
		return false;
	for (int v = 0; v < h->values; v++)
	{
		char name[300];
		int i = cdp_core_affinity_find(&view, name, name_of(v, name));
		double net = i < 0 ? 0 : view.item[i].net;
		double low = i < 0 ? -view.absent_below : net - view.item[i].below;
		double high = i < 0 ? view.absent_above : net + view.item[i].above;
		long double sum = exact(h, v, at, false);

		if (cdp_core_affinity_at(&view, low, at) > sum + slack ||
			cdp_core_affinity_at(&view, high, at) < sum - slack)
		{
			printf("# value %d: %g .. %g, exact %Lg\n", v, cdp_core_affinity_at(&view, low, at),
				   cdp_core_affinity_at(&view, high, at), sum);
			return false;
		}
		if (h->uneven)
			continue;
		/* nothing forgotten: the sum itself */
		if (h->values <= h->slots && fabsl(cdp_core_affinity_at(&view, net, at) - sum) > slack)
			return false;
		/* and relative to itself, when nothing cancels */
		if (h->values <= h->slots && !h->is_signed && sum > 1e-200L &&
			fabsl(cdp_core_affinity_at(&view, net, at) / sum - 1) > 1e-9L)
			return false;
	}
	return true;
}

static void
test_histories(void)
{
	static History h;
	bool once = true;
	bool shuffled = true;
	bool parts = true;
	bool uneven = true;

	for (int round = 0; round < 3000; round++)
	{
		CdpAffinity a;

		seed = (uint64_t) round + 1;
		random_history(&h);
		cdp_core_affinity_init(&a, &host, h.half_life, h.slots);
		add_events(&a, &h, 0, h.n);
		once &= holds(&a, &h);
		shuffle(&h);
		cdp_core_affinity_init(&a, &host, h.half_life, h.slots);
		add_events(&a, &h, 0, h.n);
		shuffled &= holds(&a, &h);
		add_in_parts(&a, &h, 0, h.n, below(6));
		parts &= holds(&a, &h);
		h.uneven = true;
		add_in_parts(&a, &h, 0, h.n, 1 + below(5));
		uneven &= holds(&a, &h);
		free_blocks();
		if (!uneven || !once || !shuffled || !parts)
		{
			printf("# seed %d\n", round + 1);
			break;
		}
	}
	ok(once, "3000 histories: exact sums are within the bounds");
	ok(shuffled, "so are they in another order");
	ok(parts, "and in parts, stored and merged");
	ok(uneven, "of different numbers of slots, too");
}

static void
test_forms(void)
{
	static History h;
	static char text[2 * MAX_BYTES];
	static char scratch[2 * MAX_BYTES];
	bool bytes = true;
	bool printed = true;
	bool commutes = true;
	bool ranked = true;

	for (int round = 0; round < 1000; round++)
	{
		CdpAffinity a[2];
		CdpAffinity sum[2];
		CdpAffinityView view[2];
		const char *reason = NULL;
		size_t size[2];
		size_t len;
		unsigned char *form[2];
		unsigned char *copy;
		uint8_t order[CDP_AFFINITY_MAX_SLOTS];
		double rounding;
		int n;

		seed = (uint64_t) round + 77777;
		random_history(&h);
		n = h.n / 2;
		cdp_core_affinity_init(&a[0], &host, h.half_life, h.slots);
		cdp_core_affinity_init(&a[1], &host, h.half_life, h.slots);
		add_events(&a[0], &h, 0, n);
		add_events(&a[1], &h, n, h.n);
		for (int i = 0; i < 2; i++)
		{
			form[i] = stored(&a[i], &size[i]);
			bytes &= cdp_core_affinity_open(&view[i], form[i], size[i], &reason);
			copy = resize(NULL, NULL, size[i]);
			bytes &= cdp_core_affinity_size(&view[i]) == size[i];
			cdp_core_affinity_write(&view[i], copy);
			bytes &= memcmp(copy, form[i], size[i]) == 0;
			len = cdp_core_affinity_print(&view[i], text);
			printed &= len <= cdp_core_affinity_print_size(&view[i]) &&
					   cdp_core_affinity_parse(&view[i], text, len, scratch, &reason) &&
					   cdp_core_affinity_size(&view[i]) == size[i];
			if (printed)
			{
				cdp_core_affinity_write(&view[i], copy);
				printed &= memcmp(copy, form[i], size[i]) == 0;
			}
			bytes &= cdp_core_affinity_open(&view[i], form[i], size[i], &reason);
		}
		for (int i = 0; i < 2; i++)
		{
			cdp_core_affinity_init(&sum[i], &host, h.half_life, h.slots);
			cdp_core_affinity_merge(&sum[i], &view[i]);
			cdp_core_affinity_merge(&sum[i], &view[1 - i]);
			form[i] = stored(&sum[i], &size[i]);
		}
		commutes &= size[0] == size[1] && memcmp(form[0], form[1], size[0]) == 0;
		n = below(CDP_AFFINITY_MAX_SLOTS + 5);
		rounding = (view[0].plus + view[0].minus) * 1e-10;
		len = (size_t) cdp_core_affinity_rank(&view[0], n, order);
		ranked &= (int) len == (n < view[0].count ? n : view[0].count);
		for (size_t i = 1; i < len; i++)
			ranked &= view[0].item[order[i - 1]].net >= view[0].item[order[i]].net - rounding;
		for (int i = 0; i < view[0].count && len > 0; i++)
		{
			bool in = false;

			for (size_t j = 0; j < len; j++)
				in |= order[j] == i;
			ranked &= in || view[0].item[i].net <= view[0].item[order[len - 1]].net + rounding;
		}
		free_blocks();
	}
	ok(bytes, "stored form is read back");
	ok(printed, "text form is read back, to the bit");
	ok(commutes, "a + b is b + a, to the bit");
	ok(ranked, "the highest, in order");
}

/*
 * Values come in groups with the same weights at the same times, one group with
 * weights that cancel out; what may come in any order.
 */
static void
test_ties(void)
{
	static History h;
	bool same = true;
	bool tied = true;
	bool liked = true;
	bool unordered = true;

	for (int round = 0; round < 2000; round++)
	{
		int groups = 2 + below(5);
		int size = 1 + below(4);
		uint8_t order[2][CDP_AFFINITY_MAX_SLOTS];
		CdpAffinityView view[2];
		int n = 0;

		seed = (uint64_t) round + 31337;
		h.half_life = DAY * (5 + below(90));
		h.slots = CDP_AFFINITY_MAX_SLOTS;
		h.uneven = false;
		h.n = 0;
		for (int g = 0; g < groups; g++)
			for (int e = 1 + below(8); e > 0; e--)
			{
				int64_t at = (int64_t) (unit() * 100 * (double) DAY);
				double weight = 1 + below(10);

				/* those of a group differ by "groups", so they are not neighbours in the view */
				for (int v = g; v < groups * size; v += groups)
				{
					h.event[h.n++] = (Event){v, weight, at};
					if (g == 0)
						h.event[h.n++] = (Event){v, -weight / 2, at};
					if (g == 0)
						h.event[h.n++] = (Event){v, -weight / 2, at};
				}
			}
		for (int i = 0; i < 2; i++)
		{
			CdpAffinity a;

			shuffle(&h);
			add_in_parts(&a, &h, 0, h.n, below(4));
			same &= reopen(&view[i], &a);
			n = cdp_core_affinity_rank(&view[i], i ? n : 1 + below(groups * size), order[i]);
			for (int v = 0; v < groups * size; v++)
			{
				char name[300];
				int found = cdp_core_affinity_find(&view[i], name, name_of(v, name));

				/* what cancels out exactly is not there at all */
				liked &= (found >= 0 && cdp_core_affinity_is_liked(&view[i], found)) ==
						 (v % groups != 0);
			}
		}
		for (int k = 0; k < n; k++)
		{
			const CdpAffinityItem *a = &view[0].item[order[0][k]];
			const CdpAffinityItem *b = &view[1].item[order[1][k]];

			if (!cdp_core_affinity_is_liked(&view[0], order[0][k]))
				break;
			same &= a->len == b->len && memcmp(a->value, b->value, a->len) == 0;
			tied &= k == 0 || a->net < a[order[0][k - 1] - order[0][k]].net * (1 - 1e-9) ||
					order[0][k - 1] < order[0][k];
		}
		/* one that is laid open as it is being added to is in no order */
		for (int v = 0; v < view[1].count / 2; v++)
		{
			CdpAffinityItem item = view[1].item[v];

			view[1].item[v] = view[1].item[view[1].count - 1 - v];
			view[1].item[view[1].count - 1 - v] = item;
		}
		n = cdp_core_affinity_rank(&view[1], n, order[0]);
		for (int k = 0; k < n; k++)
			unordered &= order[0][k] == view[1].count - 1 - order[1][k];
		free_blocks();
		if (!same || !tied || !liked || !unordered)
		{
			printf("# seed %d\n", round + 31337);
			break;
		}
	}
	ok(unordered, "also of values that are in no order");
	ok(same, "the highest are the same in whatever order the same came");
	ok(tied, "ties are by value");
	ok(liked, "what cancels out is not liked");
}

/* a damaged value is refused, or is a valid one: it is the stored form of itself */
static void
test_damage(void)
{
	static History h;
	bool good = true;
	int refused = 0;
	int taken = 0;

	for (int round = 0; round < 300; round++)
	{
		CdpAffinity a;
		size_t size;
		unsigned char *form;

		seed = (uint64_t) round + 424242;
		random_history(&h);
		cdp_core_affinity_init(&a, &host, h.half_life, h.slots);
		add_events(&a, &h, 0, h.n);
		form = stored(&a, &size);
		for (int i = 0; i < 200; i++)
		{
			size_t cut = below(3) ? size : (size_t) below((int) size);
			unsigned char *bad = malloc(cut > 0 ? cut : 1);
			CdpAffinityView view;
			const char *reason = NULL;

			memcpy(bad, form, cut);
			for (int flips = below(3); cut > 0 && flips >= 0; flips--)
				bad[below((int) (below(2) || cut < 40 ? cut : 40))] ^= 1 << below(8);
			if (!cdp_core_affinity_open(&view, bad, cut, &reason))
			{
				good &= reason != NULL;
				refused++;
			}
			else
			{
				unsigned char *copy = malloc(cut);

				good &= cdp_core_affinity_size(&view) == cut;
				cdp_core_affinity_write(&view, copy);
				good &= memcmp(copy, bad, cut) == 0;
				free(copy);
				taken++;
			}
			free(bad);
		}
		free_blocks();
	}
	ok(good && refused > 20000 && taken > 1000, "damage is refused, or makes another valid value");
}

static void
test_text(void)
{
	static const struct
	{
		const char *text;
		const char *reason; /* NULL: it is valid */
	} cases[] = {
		{"{\"half_life\":1,\"slots\":1}", NULL},
		{" { \"slots\" : 96 ,\n\"half_life\" : 3155760000 , \"values\" : { } } ", NULL},
		{"{\"half_life\":1,\"slots\":1,\"at\":0,\"plus\":1,\"values\":{\"\\u0041\\n\":1}}", NULL},
		{"{\"half_life\":1.5,\"slots\":1,\"at\":946684801.5,\"plus\":1,\"values\":{\"a\":1}}",
		 NULL},
		{"{\"half_life\":1,\"slots\":1,\"at\":-5,\"minus\":2,\"absent\":[1,0],"
		 "\"values\":{\"a\":[-1,0.5,0]}}",
		 NULL},
		{"", "text is not JSON of an affinity"},
		{"{}", "text is not JSON of an affinity"},
		{"[]", "text is not JSON of an affinity"},
		{"{\"half_life\":1}", "half_life or slots is missing"},
		{"{\"slots\":1}", "half_life or slots is missing"},
		{"{\"half_life\":1,\"slots\":1} x", "text is not JSON of an affinity"},
		{"{\"half_life\":1,\"slots\":1,\"slots\":1}", "member of the object is there twice"},
		{"{\"half_life\":1,\"slots\":1,\"x\":1}", "member of the object is unknown"},
		{"{\"half_life\":0.5,\"slots\":1}", "half-life is not between a second and a century"},
		{"{\"half_life\":3155760001,\"slots\":1}",
		 "half-life is not between a second and a century"},
		{"{\"half_life\":1,\"slots\":0}", "number of slots is not between 1 and 96"},
		{"{\"half_life\":1,\"slots\":97}", "number of slots is not between 1 and 96"},
		{"{\"half_life\":1,\"slots\":1.5}", "number of slots is not between 1 and 96"},
		{"{\"half_life\":1e3,\"slots\":1}", "time is not in seconds with up to six decimals"},
		{"{\"half_life\":1.0000001,\"slots\":1}", "time is not in seconds with up to six decimals"},
		{"{\"half_life\":99999999999999999999999,\"slots\":1}",
		 "time is not in seconds with up to six decimals"},
		{"{\"half_life\":2,\"slots\":1,\"at\":1,\"plus\":1,\"values\":{\"a\":1}}",
		 "time is not a whole number of half-lives since 2000"},
		{"{\"half_life\":1,\"slots\":1,\"at\":999999999999,\"plus\":1,\"values\":{\"a\":1}}",
		 "time is out of range"},
		{"{\"half_life\":1,\"slots\":1,\"at\":0,\"plus\":1,\"values\":{\"a\":2}}",
		 "sum of a value is out of range"},
		{"{\"half_life\":1,\"slots\":1,\"at\":0,\"plus\":1,\"values\":{\"a\":1,\"b\":1}}",
		 "number of values is above that of slots"},
		{"{\"half_life\":1,\"slots\":2,\"at\":0,\"plus\":1,\"values\":{\"a\":1,\"a\":1}}",
		 "values are not ascending"},
		{"{\"half_life\":1,\"slots\":2,\"at\":0,\"plus\":1,\"values\":{\"a\":[1,0,1]}}",
		 "bound of a value is above that of absent values"},
		{"{\"half_life\":1,\"slots\":2,\"at\":0,\"plus\":-1}", "total is out of range"},
		{"{\"half_life\":1,\"slots\":2,\"at\":0,\"plus\":1e121}", "total is out of range"},
		{"{\"half_life\":1,\"slots\":2,\"at\":0,\"plus\":NaN}",
		 "number is missing or out of range"},
		{"{\"half_life\":1,\"slots\":2,\"at\":0,\"plus\":1e999}",
		 "number is missing or out of range"},
		{"{\"half_life\":1,\"slots\":2,\"values\":{\"a\":1}}",
		 "total is 0, yet there is something"},
		{"{\"half_life\":1,\"slots\":2,\"at\":0,\"plus\":1,\"values\":{\"\\u0000\":1}}",
		 "\\u escape is not of an ASCII character"},
		{"{\"half_life\":1,\"slots\":2,\"at\":0,\"plus\":1,\"values\":{\"\\q\":1}}",
		 "text is not JSON of an affinity"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		size_t len = strlen(cases[i].text);
		char *text = malloc(len + 1);
		char *scratch = malloc(len + 1);
		CdpAffinityView view;
		const char *reason = NULL;
		bool valid;

		memcpy(text, cases[i].text, len);
		text = realloc(text, len > 0 ? len : 1);
		valid = cdp_core_affinity_parse(&view, text, len, scratch, &reason);
		if (valid != (cases[i].reason == NULL) || (!valid && strcmp(reason, cases[i].reason) != 0))
			printf("# %s: %s\n", cases[i].text, valid ? "valid" : reason);
		ok(valid == (cases[i].reason == NULL) && (valid || strcmp(reason, cases[i].reason) == 0),
		   cases[i].reason == NULL ? "valid text" : cases[i].reason);
		free(text);
		free(scratch);
	}
}

static void
test_limits(void)
{
	CdpAffinity a;
	CdpAffinityView view;
	int64_t at = 9000 * DAY;
	int64_t end = INT64_C(10000000) * 60 * SECOND;
	long double sum = 0;
	char longest[CDP_AFFINITY_MAX_VALUE + 1];

	memset(longest, 'x', sizeof(longest));
	cdp_core_affinity_init(&a, &host, 30 * DAY, 2);
	ok(cdp_core_affinity_add(&a, longest, 256, 1, at) == CDP_AFFINITY_LONG_VALUE &&
		   cdp_core_affinity_add(&a, "a", 1, NAN, at) == CDP_AFFINITY_BAD_WEIGHT &&
		   cdp_core_affinity_add(&a, "a", 1, -INFINITY, at) == CDP_AFFINITY_BAD_WEIGHT &&
		   cdp_core_affinity_add(&a, "a", 1, 1.1e100, at) == CDP_AFFINITY_BAD_WEIGHT &&
		   cdp_core_affinity_add(&a, "a", 1, 1, INT64_MAX) == CDP_AFFINITY_BAD_TIME &&
		   cdp_core_affinity_add(&a, "a", 1, 1, INT64_MIN) == CDP_AFFINITY_BAD_TIME &&
		   cdp_core_affinity_add(&a, longest, 255, 0, at) == CDP_AFFINITY_DONE &&
		   reopen(&view, &a) && view.count == 0 && view.landmark == 0,
	   "what is out of range is refused, weight 0 is nothing");

	/* from the first to the last microsecond, with every half-life */
	{
		bool good = true;

		for (int64_t half_life = CDP_AFFINITY_MIN_HALF_LIFE;
			 half_life <= CDP_AFFINITY_MAX_HALF_LIFE; half_life = half_life * 7 / 2)
		{
			const char *reason;
			char text[1000];
			char scratch[1000];
			size_t len;

			cdp_core_affinity_init(&a, &host, half_life, 2);
			cdp_core_affinity_add(&a, "a", 1, 1e100, -INT64_C(63082281600) * SECOND);
			good &= reopen(&view, &a) && view.count == 1;
			len = cdp_core_affinity_print(&view, text);
			good &= cdp_core_affinity_parse(&view, text, len, scratch, &reason);
			good &= isfinite(cdp_core_affinity_at(&view, view.item[0].net, INT64_MIN + 1)) &&
					isfinite(cdp_core_affinity_at(&view, view.item[0].net, INT64_MAX - 1));
			cdp_core_affinity_add(&a, "b", 1, -1e100, INT64_C(252455616000) * SECOND - 1);
			cdp_core_affinity_add(&a, "c", 1, 1e-300, INT64_C(252455616000) * SECOND - 1);
			good &= reopen(&view, &a) && view.count >= 1;
			len = cdp_core_affinity_print(&view, text);
			good &= cdp_core_affinity_parse(&view, text, len, scratch, &reason);
			good &= isfinite(cdp_core_affinity_at(&view, view.item[0].net, INT64_MIN + 1)) &&
					isfinite(cdp_core_affinity_at(&view, view.item[0].net, INT64_MAX - 1));
		}
		ok(good, "years 1 to 9999 with half-lives from a second to a century");
	}

	/* ten million updates, a minute apart: 20 years of 10 days of half-life */
	cdp_core_affinity_init(&a, &host, 10 * DAY, 32);
	seed = 1;
	for (int i = 0; i < 10000000; i++)
	{
		double weight = 0.1 * (1 + (i & 7));
		int64_t t = (int64_t) i * 60 * SECOND;

		cdp_core_affinity_add(&a, i & 1 ? "odd" : "even", i & 1 ? 3 : 4, weight, t);
		if ((i & 1) != 0)
			sum += weight * exp2l((long double) (t - end) / (10.0L * DAY));
	}
	ok(reopen(&view, &a) && view.count == 2 &&
		   fabsl(cdp_core_affinity_at(&view, view.item[1].net, end) / sum - 1) < 1e-12L,
	   "no drift after 10 million updates");

	/* and all at one time */
	cdp_core_affinity_init(&a, &host, 10 * DAY, 32);
	for (int i = 0; i < 10000000; i++)
		cdp_core_affinity_add(&a, "x", 1, 0.1, at);
	ok(reopen(&view, &a) &&
		   fabs(cdp_core_affinity_at(&view, view.item[0].net, at) / 1e6 - 1) < 1e-9,
	   "ten million equal weights");
	free_blocks();
}

/* bytes that live and bytes that are dead are those that are used, and all are in the block */
static bool
bytes_add_up(const CdpAffinity *a)
{
	int sum = a->dead;

	for (int i = 0; i < a->count; i++)
		sum += a->slot[i].len;
	return a->used == sum && a->used <= a->bytes_room;
}

/* Values of these lengths, each above all, so that somebody is forgotten for it. */
static void
add_long(CdpAffinity *a, uint32_t *seed, int *n)
{
	char value[CDP_AFFINITY_MAX_VALUE];

	memset(value, 'x', sizeof(value));
	value[sprintf(value, "%d", ++*n)] = 'x'; /* no null byte within */
	*seed = *seed * 1664525 + 1013904223;
	cdp_core_affinity_add(a, value, 160 + *seed / 65536 % 96, *n, 0);
}

/*
 * A merge of long values into a full summary whose block is nearly, but not
 * quite, as large as it can be, and taken by what was forgotten to less than a half.
 */
static void
test_room(void)
{
	char value[CDP_AFFINITY_MAX_VALUE];
	CdpAffinity other;
	CdpAffinityView view;
	CdpAffinityView read;
	bool good = true;
	int found = 0;

	memset(value, 'x', sizeof(value));
	cdp_core_affinity_init(&other, &host, DAY, CDP_AFFINITY_MAX_SLOTS);
	for (int i = 0; i < CDP_AFFINITY_MAX_SLOTS; i++)
	{
		value[sprintf(value, "other %d", i)] = 'x';
		cdp_core_affinity_add(&other, value, sizeof(value), 1, 0);
	}
	for (uint32_t k = 1; k <= 2000; k++)
	{
		CdpAffinity a;
		uint32_t seed = k;
		int n = 0;

		cdp_core_affinity_init(&a, &host, DAY, CDP_AFFINITY_MAX_SLOTS);
		while (n < 400 && a.bytes_room < 65280)
			add_long(&a, &seed, &n);
		if (a.bytes_room < 65280 || a.bytes_room == UINT16_MAX)
			continue;
		while (n < 600 && a.used < 45000)
			add_long(&a, &seed, &n);
		found++;
		cdp_core_affinity_view(&other, &view);
		good = good && cdp_core_affinity_merge(&a, &view) == CDP_AFFINITY_DONE &&
			   bytes_add_up(&a) && reopen(&read, &a);
	}
	ok(found > 2 && good, "long values have room, however many were forgotten before");
	free_blocks();
}

static void
test_distance(void)
{
	CdpAffinity a[2];
	CdpAffinityView view[2];

	for (int i = 0; i < 2; i++)
	{
		cdp_core_affinity_init(&a[i], &host, (i + 1) * DAY, 4);
		cdp_core_affinity_add(&a[i], "x", 1, i ? 3e100 / 10 : 1e-100, i * 500 * DAY);
		cdp_core_affinity_add(&a[i], "y", 1, i ? 4e100 / 10 : 1e-100, i * 500 * DAY);
		(void) reopen(&view[i], &a[i]);
	}
	ok(fabs(cdp_core_affinity_distance(&view[0], &view[1]) - (1 - 7 / (5 * sqrt(2)))) < 1e-12,
	   "cosine distance, whatever the size of numbers");
	ok(cdp_core_affinity_distance(&view[0], &view[0]) == 0, "0 to itself");
	view[0].item[0].net *= -1;
	view[0].item[1].net *= -1;
	view[1].item[0].net = view[1].item[1].net = -view[0].item[0].net;
	ok(cdp_core_affinity_distance(&view[0], &view[1]) == 2, "2 to the opposite");
	view[1].count = 0;
	ok(cdp_core_affinity_distance(&view[0], &view[1]) == 1, "1 to nothing");
	free_blocks();
}

int
main(void)
{
	test_histories();
	test_forms();
	test_ties();
	test_damage();
	test_text();
	test_limits();
	test_room();
	test_distance();
	printf("1..%d\n", tests);
	return failures != 0;
}
