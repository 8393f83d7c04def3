/*
 * tools/unit/test_components.c
 *		Unit tests of the components of src/core/: unionfind, nodes, components.
 *		Prints TAP.
 *
 * Built and run plain and under sanitizers by tools/unit/run.sh.  The oracle
 * relabels one edge at a time, the slow way that cannot be wrong.
 */
#include "core/components.h"
#include "core/unionfind.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int tests = 0;
static int failures = 0;

static void
ok(bool passed, const char *name)
{
	printf("%s %d - %s\n", passed ? "ok" : "not ok", ++tests, name);
	if (!passed)
		failures++;
}

/* -- a host that counts what it gave -- */

typedef struct Block
{
	size_t bytes;
	int64_t data[]; /* as aligned as any array of the core */
} Block;

static size_t held = 0;
static size_t peak = 0;
static long ticks = 0;
static long requests = 0;
static long denied = -1; /* requests until memory is out; negative is never */

static void *
resize(void *arg, void *block, size_t bytes)
{
	Block *old = block == NULL ? NULL : (Block *) ((char *) block - sizeof(Block));
	size_t before = old == NULL ? 0 : old->bytes;
	Block *new;

	(void) arg;
	requests++;
	if (denied == 0)
		return NULL;
	if (denied > 0)
		denied--;
	new = realloc(old, sizeof(Block) + bytes);
	new->bytes = bytes;
	held += bytes - before;
	if (held > peak)
		peak = held;
	return new->data;
}

static void *
allocate(void *arg, size_t bytes)
{
	return resize(arg, NULL, bytes);
}

static void
release(void *arg, void *block)
{
	Block *old = (Block *) ((char *) block - sizeof(Block));

	(void) arg;
	held -= old->bytes;
	free(old);
}

static void
tick(void *arg)
{
	(void) arg;
	ticks++;
}

static const CdpCoreHost host = {allocate, resize, release, tick, NULL};

/* -- random numbers, the same everywhere -- */

static uint64_t seed = 1;

static uint64_t
rnd(uint64_t below)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (seed >> 33) % below;
}

/* -- the oracle -- */

typedef struct Label
{
	int64_t node;
	int64_t component;
} Label;

static int
find_label(const Label *labels, int n, int64_t node)
{
	for (int i = 0; i < n; i++)
		if (labels[i].node == node)
			return i;
	return -1;
}

/* labels of the nodes of the edges, in order of appearance */
static int
naive(const int64_t *ends, int edges, Label *labels)
{
	int n = 0;

	for (int i = 0; i < 2 * edges; i++)
		if (find_label(labels, n, ends[i]) < 0)
		{
			labels[n].node = labels[n].component = ends[i];
			n++;
		}
	for (int e = 0; e < edges; e++)
	{
		int64_t a = labels[find_label(labels, n, ends[2 * e])].component;
		int64_t b = labels[find_label(labels, n, ends[2 * e + 1])].component;
		int64_t from = a < b ? b : a;
		int64_t to = a < b ? a : b;

		for (int i = 0; i < n; i++)
			if (labels[i].component == from)
				labels[i].component = to;
	}
	return n;
}

static int
label_cmp(const void *a, const void *b)
{
	const Label *x = a;
	const Label *y = b;

	return (x->node > y->node) - (x->node < y->node);
}

/* everything that can be read, some pairs at a time, sorted by node */
static int
read_all(const CdpCoreComponents *components, Label *labels, int room)
{
	uint64_t position = 0;
	int64_t pairs[14];
	int n = 0;
	size_t more;

	while ((more = cdp_core_components_read(components, &position, pairs, 7)) > 0)
		for (size_t i = 0; i < more && n < room; i++, n++)
		{
			labels[n].node = pairs[2 * i];
			labels[n].component = pairs[2 * i + 1];
		}
	qsort(labels, (size_t) n, sizeof(Label), label_cmp);
	return n;
}

#define MAX_EDGES 3000

static Label wanted[2 * MAX_EDGES];
static Label got[2 * MAX_EDGES + 1];

/*
 * Adds the edges in pieces and compares with the oracle.  *dense says how it
 * ended.
 */
static bool
agrees(const int64_t *ends, int edges, size_t limit, uint64_t expected, bool *dense)
{
	CdpCoreComponents components;
	int n = naive(ends, edges, wanted);
	int m;
	bool equal;

	qsort(wanted, (size_t) n, sizeof(Label), label_cmp);
	cdp_core_components_init(&components, &host, limit);
	cdp_core_components_expect(&components, expected);
	for (int e = 0; e < edges;)
	{
		int piece = 1 + (int) rnd(700);
		size_t done;

		if (piece > edges - e)
			piece = edges - e;
		if (cdp_core_components_add(&components, ends + 2 * e, (size_t) piece, &done) !=
				CDP_CORE_DONE ||
			done != (size_t) piece)
			return false;
		e += piece;
	}
	equal = cdp_core_components_count(&components) == (uint64_t) n &&
			cdp_core_components_bytes(&components) <= held;

	/* before labelling: the forest has the components of the edges */
	m = read_all(&components, got, 2 * MAX_EDGES);
	equal = equal && m == n;
	for (int i = 0; equal && i < n; i++)
		equal = wanted[find_label(wanted, n, got[i].node)].component ==
				wanted[find_label(wanted, n, got[i].component)].component;

	equal = equal && cdp_core_components_label(&components) == CDP_CORE_DONE;
	m = read_all(&components, got, 2 * MAX_EDGES);
	equal = equal && m == n && memcmp(got, wanted, (size_t) n * sizeof(Label)) == 0;
	*dense = components.dense;
	cdp_core_components_free(&components);
	return equal && held == 0;
}

static void
check(const int64_t *ends, int edges, bool dense, const char *name)
{
	bool is_dense;
	bool equal = agrees(ends, edges, SIZE_MAX, 0, &is_dense);

	ok(equal && is_dense == dense, name);
}

static void
test_shapes(void)
{
	static int64_t ends[2 * MAX_EDGES];
	int64_t none[2] = {0, 0};
	int64_t extremes[] = {INT64_MIN, INT64_MAX, INT64_MAX, 0, -1, 1, INT64_MIN, INT64_MIN};

	check(none, 0, false, "no edges");
	check(none, 1, false, "a node alone");
	check(extremes, 4, false, "the ends of int64");
	for (int i = 0; i < 1000; i++)
	{
		ends[2 * i] = i;
		ends[2 * i + 1] = i + 1;
	}
	check(ends, 1000, true, "a chain of neighbours becomes an array");
	for (int i = 0; i < 1000; i++)
	{
		ends[2 * i] = -1000 - i;
		ends[2 * i + 1] = -1001 - i;
	}
	check(ends, 1000, true, "a chain downwards, from below zero");
	for (int i = 0; i < 1000; i++)
	{
		ends[2 * i] = 7;
		ends[2 * i + 1] = (int64_t) i * 1000003;
	}
	check(ends, 1000, false, "a star of ids far apart stays a table");
	for (int i = 0; i < 1000; i++)
	{
		ends[2 * i] = INT64_MAX - i;
		ends[2 * i + 1] = INT64_MAX - (i * 7) % 1000;
	}
	check(ends, 1000, true, "an array at the upper end of int64");
	for (int i = 0; i < 1000; i++)
	{
		ends[2 * i] = INT64_MIN + i;
		ends[2 * i + 1] = INT64_MIN + (i * 7) % 1000;
	}
	check(ends, 1000, true, "an array at the lower end of int64");

	/* neighbours first, then one far away: back to a table */
	for (int i = 0; i < 1000; i++)
	{
		ends[2 * i] = i;
		ends[2 * i + 1] = (i * 11) % 1000;
	}
	ends[2000] = 5;
	ends[2001] = INT64_C(1) << 60;
	check(ends, 1001, false, "an array with an id far away becomes a table");
	/* the table that it becomes must not be full: it would turn back for ever */
	for (int i = 0; i < 6; i++)
	{
		ends[2 * i] = 20 * i;
		ends[2 * i + 1] = 20 * i + 10;
	}
	ends[12] = 210;
	ends[13] = 0;
	check(ends, 7, false, "a small array becomes a table with room");
	/* widened below and above in turns */
	for (int i = 0; i < 1000; i++)
	{
		ends[2 * i] = (i % 2 == 0) ? 5000 + i : 5000 - i;
		ends[2 * i + 1] = 5000 + i / 2;
	}
	check(ends, 1000, true, "an array is widened on both sides");
}

static void
test_random(void)
{
	static int64_t ends[2 * MAX_EDGES];
	bool equal = true;
	int dense_ones = 0;

	for (int round = 0; round < 60; round++)
	{
		int edges = (int) rnd(MAX_EDGES);
		uint64_t ids = 1 + rnd(3 * MAX_EDGES);
		int64_t gap = (int64_t) (1 + rnd(round % 3 == 0 ? 1000000007 : 20));
		int64_t base = (int64_t) rnd(1000000) - 500000;
		bool dense;

		for (int i = 0; i < 2 * edges; i++)
			ends[i] = base + gap * (int64_t) rnd(1 + rnd(ids));
		equal = equal && agrees(ends, edges, SIZE_MAX, round % 2 == 0 ? 0 : rnd(20000), &dense);
		dense_ones += dense;
	}
	ok(equal, "random graphs have the components of the oracle");
	ok(dense_ones > 5 && dense_ones < 55, "some of them in a table, some in an array");
}

/* Whatever the limit, what is held stays below, and what is in is right. */
static void
test_limit(void)
{
	static int64_t ends[2 * MAX_EDGES];
	bool below = true;
	bool right = true;
	bool reached = false;
	bool fits = false;

	for (int i = 0; i < MAX_EDGES; i++)
	{
		ends[2 * i] = (int64_t) rnd(UINT32_MAX) * 97;
		ends[2 * i + 1] = ends[2 * (int) rnd((uint64_t) i + 1)];
	}
	for (size_t limit = 100; limit < 300000; limit += limit / 3)
	{
		CdpCoreComponents components;
		size_t done;
		CdpCoreStatus status;
		int n;
		int m;

		peak = 0;
		cdp_core_components_init(&components, &host, limit);
		status = cdp_core_components_add(&components, ends, MAX_EDGES, &done);
		below = below && peak <= limit;
		reached = reached || status == CDP_CORE_LIMIT;
		fits = fits || status == CDP_CORE_DONE;
		right = right && (status == CDP_CORE_DONE) == (done == MAX_EDGES);

		/* an edge refused may have left its first end as a node alone */
		n = naive(ends, (int) done, wanted);
		qsort(wanted, (size_t) n, sizeof(Label), label_cmp);
		right = right && cdp_core_components_label(&components) == CDP_CORE_DONE;
		m = read_all(&components, got, 2 * MAX_EDGES);
		right = right && m >= n && m <= n + 1;
		for (int i = 0, j = 0; right && i < n; i++, j++)
		{
			if (got[j].node != wanted[i].node)
				j++;
			right = got[j].node == wanted[i].node && got[j].component == wanted[i].component;
		}
		below = below && peak <= limit;
		cdp_core_components_free(&components);
		right = right && held == 0;
	}
	ok(reached && fits, "a limit is reached, a larger one is not");
	ok(below, "never more memory than the limit");
	ok(right, "what was added before the limit is right");
}

/* An array takes all that a limit allows, and is widened only now and then. */
static void
test_widening(void)
{
	bool all_used = true;
	bool seldom = true;

	for (int64_t gap = -16; gap <= 16; gap++)
	{
		CdpCoreComponents components;
		size_t done = 0;
		CdpCoreStatus status = CDP_CORE_DONE;

		peak = 0;
		requests = 0;
		cdp_core_components_init(&components, &host, 200000);
		for (int64_t i = 0; i < 200000 && status == CDP_CORE_DONE; i++)
		{
			int64_t edge[2];

			edge[0] = i * gap;
			edge[1] = (i + 1) * gap;
			status = cdp_core_components_add(&components, edge, 1, &done);
		}
		all_used = all_used && peak <= 200000 && (status == CDP_CORE_LIMIT) == (gap != 0);
		if (gap == 1 || gap == -1)
			all_used = all_used && components.dense &&
					   cdp_core_components_count(&components) > 49900;
		seldom = seldom && requests < 150;
		cdp_core_components_free(&components);
	}
	ok(all_used, "an array takes what the limit allows");
	ok(seldom, "whatever the gap and direction of the ids, it is widened seldom");
}

static void
test_refusals(void)
{
	static int64_t ends[2 * MAX_EDGES];
	CdpCoreComponents components;
	size_t done;
	bool clean = true;
	bool denied_once = false;

	for (int i = 0; i < 2 * MAX_EDGES; i++)
		ends[i] = (int64_t) rnd(UINT32_MAX) * 5 + 1;
	cdp_core_components_init(&components, &host, SIZE_MAX);
	components.nodes.most = 1000;
	ok(cdp_core_components_add(&components, ends, MAX_EDGES, &done) == CDP_CORE_TOO_MANY &&
		   done >= 499 && cdp_core_components_count(&components) == 1000,
	   "too many nodes");
	cdp_core_components_free(&components);

	/* memory that ends at any request: an answer, and nothing is lost */
	for (int i = 0; i < 60; i++)
	{
		CdpCoreStatus status;

		/* a table, an array, and back */
		for (int j = 0; j < 1000; j++)
		{
			ends[2 * j] = j;
			ends[2 * j + 1] = (j * 13) % 1000;
		}
		denied = i;
		cdp_core_components_init(&components, &host, SIZE_MAX);
		status = cdp_core_components_add(&components, ends, MAX_EDGES, &done);
		if (status == CDP_CORE_DONE)
			status = cdp_core_components_label(&components);
		clean = clean && (status == CDP_CORE_DONE || status == CDP_CORE_NO_MEMORY);
		denied_once = denied_once || status == CDP_CORE_NO_MEMORY;
		denied = -1;
		cdp_core_components_free(&components);
		clean = clean && held == 0;
	}
	ok(clean && denied_once, "no memory is an answer, and leaks nothing");
}

/* -- handles: the numbers of strings -- */

static const char *const *strings;

static bool
same_string(void *arg, int64_t handle)
{
	return strcmp(strings[handle], arg) == 0;
}

static void
test_handles(void)
{
	static char text[2000][16];
	static const char *pointers[2000];
	CdpCoreNodes nodes;
	bool right = true;

	cdp_core_nodes_init(&nodes, &host, SIZE_MAX - 1, true, true);
	for (int i = 0; i < 2000; i++)
	{
		snprintf(text[i], sizeof(text[i]), "n%d", i);
		pointers[i] = text[i];
	}
	strings = pointers;
	for (int pass = 0; pass < 2; pass++)
		for (int i = 0; i < 2000; i++)
		{
			/* few hashes, so that many collide */
			uint32_t hash = (uint32_t) (i % 37) * 0x10000001u;
			uint32_t number;

			cdp_core_nodes_expect(&nodes, hash);
			number = cdp_core_nodes_find(&nodes, hash, same_string, text[i]);
			if (pass == 0)
			{
				right = right && number == CDP_CORE_NO_NODE;
				if (nodes.count == nodes.room)
					right = right && cdp_core_nodes_grow(&nodes) == CDP_CORE_DONE;
				number = cdp_core_nodes_insert(&nodes, hash, i);
			}
			right = right && number == (uint32_t) i;
		}
	ok(right && nodes.count == 2000, "handles with equal hashes are told apart");
	cdp_core_nodes_free(&nodes);
	ok(held == 0 && ticks > 0, "everything was given back, and time passed");
}

static void
test_forest(void)
{
	enum
	{
		SIZE = 200
	};
	uint32_t parent[SIZE];
	int label[SIZE];
	bool right = true;

	for (int i = 0; i < SIZE; i++)
	{
		parent[i] = (uint32_t) i;
		label[i] = i;
	}
	for (int step = 0; step < 300; step++)
	{
		uint32_t pair[2];
		int from;
		int to;

		pair[0] = (uint32_t) rnd(SIZE);
		pair[1] = (uint32_t) rnd(SIZE);
		cdp_core_forest_join(parent, pair, 1);
		from = label[pair[0]] > label[pair[1]] ? label[pair[0]] : label[pair[1]];
		to = label[pair[0]] > label[pair[1]] ? label[pair[1]] : label[pair[0]];
		for (int i = 0; i < SIZE; i++)
			if (label[i] == from)
				label[i] = to;
		for (int i = 0; i < SIZE; i++)
			right = right && parent[i] <= (uint32_t) i;
	}
	cdp_core_forest_flatten(parent, 0, SIZE / 2);
	cdp_core_forest_flatten(parent, SIZE / 2, SIZE);
	for (int i = 0; i < SIZE; i++)
		right = right && parent[i] == (uint32_t) label[i];
	ok(right, "a flat forest points to the smallest");
}

int
main(void)
{
	test_forest();
	test_shapes();
	test_random();
	test_limit();
	test_widening();
	test_refusals();
	test_handles();
	printf("1..%d\n", tests);
	return failures == 0 ? 0 : 1;
}
