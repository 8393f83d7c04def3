/*
 * bench/components.c
 *		Edges for the benchmark of connected components, and the limit: what a
 *		C program that has the edges in memory needs for the same answer.
 *
 *	components generate EDGES SEED DIR	writes DIR/edges.csv, DIR/edges.bin and
 *										prints "nodes components"
 *	components limit DIR/edges.bin		prints "nodes components milliseconds"
 *
 * People of very different size: the number of edges of one is Pareto, alpha
 * 1.3, at most 5,000; six in ten bring a new identifier, the others link known
 * ones.  Beside them are five shared devices with a star of EDGES / 200 cookies
 * each, and twenty chains of 40 edges, which cost label propagation its passes.
 * Edges come in random order; ids are spread over 2^40, so that no array over
 * their range can hold them.  The same arguments give the same bytes.
 */
#include <inttypes.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct
{
	int64_t a;
	int64_t b;
} Edge;

static uint64_t state;

static uint64_t
random64(void)
{
	uint64_t x = (state += UINT64_C(0x9E3779B97F4A7C15));

	x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
	return x ^ (x >> 31);
}

static uint64_t
random_below(uint64_t n)
{
	return random64() % n;
}

/* one to one on 40 bits: an odd factor, and shifts to the right */
static int64_t
spread(uint64_t id)
{
	const uint64_t mask = (UINT64_C(1) << 40) - 1;

	id = id * UINT64_C(0x5851F42D4C957F2D) & mask;
	id ^= id >> 21;
	id = id * UINT64_C(0x14057B7EF767814F) & mask;
	id ^= id >> 19;
	return (int64_t) id;
}

static void
die(const char *what)
{
	perror(what);
	exit(1);
}

static FILE *
create(const char *dir, const char *name)
{
	char path[4096];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	file = fopen(path, "wb");
	if (file == NULL)
		die(path);
	return file;
}

static void
generate(uint64_t count, const char *dir)
{
	Edge *edges = malloc(count * sizeof(Edge));
	uint64_t n = 0;
	uint64_t nodes = 0;
	uint64_t people = 0;
	FILE *csv = create(dir, "edges.csv");
	FILE *bin = create(dir, "edges.bin");

	while (n < count)
	{
		uint64_t first = nodes++;
		double uniform = ((double) (random64() >> 11) + 1) / 9007199254740993.0;
		uint64_t size = (uint64_t) fmin(pow(uniform, -1 / 1.3), 5000);

		if (people < 5)
			size = count / 200;
		else if (people < 25)
			size = 40;
		for (uint64_t i = 0; i < size && n < count; i++, n++)
		{
			uint64_t known = nodes - first;

			if (people < 25 || i == 0 || random_below(10) < 6)
			{
				/* to the star's centre, the chain's end, or mostly the first of the person */
				edges[n].a = (people < 5) ? first : (people < 25) ? nodes - 1 :
							 random_below(10) < 7 ? first : first + random_below(known);
				edges[n].b = nodes++;
			}
			else
			{
				edges[n].a = first + random_below(known);
				edges[n].b = first + random_below(known);
			}
		}
		people++;
	}
	for (uint64_t i = count - 1; i > 0; i--)
	{
		uint64_t j = random_below(i + 1);
		Edge swapped = edges[i];

		edges[i] = edges[j];
		edges[j] = swapped;
	}
	for (uint64_t i = 0; i < count; i++)
	{
		edges[i].a = spread(edges[i].a);
		edges[i].b = spread(edges[i].b);
		fprintf(csv, "%" PRIu64 ",%" PRId64 ",%" PRId64 "\n", i + 1, edges[i].a, edges[i].b);
	}
	if (fwrite(edges, sizeof(Edge), count, bin) != count || fclose(bin) != 0 || fclose(csv) != 0)
		die(dir);
	printf("%" PRIu64 " %" PRIu64 "\n", nodes, people);
}

static uint32_t *parent;

static uint32_t
find(uint32_t x)
{
	while (parent[x] != x)
	{
		parent[x] = parent[parent[x]];
		x = parent[x];
	}
	return x;
}

static double
cpu_milliseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * 1e3 + t.tv_nsec * 1e-6;
}

/*
 * A hash table that is made large enough at once, union-find with path
 * halving, and the smallest id of each component.
 */
static void
limit(const char *path)
{
	FILE *file = fopen(path, "rb");
	uint64_t count;
	uint64_t size = 1;
	uint32_t nodes = 0;
	uint32_t components = 0;
	Edge *edges;
	int64_t *ids;
	int64_t *keys;
	int64_t *least;
	uint32_t *numbers;
	double began;

	if (file == NULL || fseek(file, 0, SEEK_END) != 0)
		die(path);
	count = (uint64_t) ftell(file) / sizeof(Edge);
	rewind(file);
	edges = malloc(count * sizeof(Edge));
	if (fread(edges, sizeof(Edge), count, file) != count)
		die(path);

	began = cpu_milliseconds();
	while (size < 2 * count)
		size *= 2;
	keys = malloc(size * sizeof(int64_t));
	numbers = calloc(size, sizeof(uint32_t)); /* from 1; 0 is free */
	ids = malloc(2 * count * sizeof(int64_t));
	parent = malloc(2 * count * sizeof(uint32_t));
	for (uint64_t i = 0; i < count; i++)
	{
		uint32_t root[2];

		for (int end = 0; end < 2; end++)
		{
			int64_t id = end == 0 ? edges[i].a : edges[i].b;
			uint64_t slot = ((uint64_t) id * UINT64_C(0x9E3779B97F4A7C15) >> 20) & (size - 1);

			while (numbers[slot] != 0 && keys[slot] != id)
				slot = (slot + 1) & (size - 1);
			if (numbers[slot] == 0)
			{
				keys[slot] = id;
				ids[nodes] = id;
				parent[nodes] = nodes;
				numbers[slot] = ++nodes;
			}
			root[end] = find(numbers[slot] - 1);
		}
		if (root[0] < root[1])
			parent[root[1]] = root[0];
		else
			parent[root[0]] = root[1];
	}
	least = malloc(nodes * sizeof(int64_t));
	for (uint32_t i = 0; i < nodes; i++)
	{
		uint32_t root = find(i);

		if (root == i)
			components++;
		if (root == i || ids[i] < least[root])
			least[root] = ids[i];
	}
	printf("%" PRIu32 " %" PRIu32 " %.1f\n", nodes, components, cpu_milliseconds() - began);
}

int
main(int argc, char **argv)
{
	if (argc == 5 && strcmp(argv[1], "generate") == 0)
	{
		state = strtoull(argv[3], NULL, 10);
		generate(strtoull(argv[2], NULL, 10), argv[4]);
	}
	else if (argc == 3 && strcmp(argv[1], "limit") == 0)
		limit(argv[2]);
	else
	{
		fprintf(stderr, "usage: components generate EDGES SEED DIR | limit FILE\n");
		return 2;
	}
	return 0;
}
