/*
 * tools/fuzz/fuzz_components.c
 *		libFuzzer target for src/core/components.c: any list of edges, any limit
 *		of memory, against relabelling one edge at a time.
 *
 * Header: one byte how far apart the ids are, one where they start, two the
 * limit in units of 64 bytes (0 is none), one how many nodes to expect.  Then
 * two bytes an edge.  When the limit is reached the forest must hold exactly
 * the components of the edges that are in.
 */
#include "core/components.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define IDS 256

static size_t held;
static size_t peak;

static void
must(bool condition)
{
	if (!condition)
		abort();
}

/* the size lies in front of each block */
static void *
resize(void *arg, void *block, size_t bytes)
{
	size_t *old = block == NULL ? NULL : (size_t *) block - 2;
	size_t before = old == NULL ? 0 : old[0];
	size_t *new = realloc(old, bytes + 2 * sizeof(size_t));

	(void) arg;
	new[0] = bytes;
	held += bytes - before;
	if (held > peak)
		peak = held;
	return new + 2;
}

static void *
allocate(void *arg, size_t bytes)
{
	return resize(arg, NULL, bytes);
}

static void
release(void *arg, void *block)
{
	size_t *old = (size_t *) block - 2;

	(void) arg;
	held -= old[0];
	free(old);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const int64_t gaps[] = {1, 2, 3, 7, 11, 100, 65537, INT64_C(1) << 20,
								   INT64_C(1) << 40, INT64_C(1) << 54};
	static const int64_t bases[] = {0, -100, 1, 1000000, INT64_MAX, INT64_MIN};
	CdpCoreHost host = {allocate, resize, release, NULL, NULL};
	CdpCoreComponents components;
	int64_t id[IDS];
	int label[IDS];
	bool seen[IDS] = {false};
	bool read[IDS] = {false};
	int64_t gap;
	int64_t base;
	size_t limit;
	size_t edges;
	size_t done;
	int64_t *ends;
	uint64_t position = 0;
	uint64_t count = 0;
	int64_t pairs[6];
	size_t n;
	CdpCoreStatus status;
	int refused = -1;

	if (size < 5)
		return 0;
	gap = gaps[data[0] % (sizeof(gaps) / sizeof(gaps[0]))];
	base = bases[data[1] % (sizeof(bases) / sizeof(bases[0]))];
	limit = 64 * (size_t) (data[2] | data[3] << 8);
	if (limit == 0)
		limit = SIZE_MAX;
	for (int i = 0; i < IDS; i++)
	{
		/* at the ends of int64 the ids go inwards */
		uint64_t step = (uint64_t) gap * (uint64_t) i;

		id[i] = (int64_t) (base == INT64_MAX ? (uint64_t) base - step : (uint64_t) base + step);
		label[i] = i;
	}
	edges = (size - 5) / 2;
	ends = malloc((2 * edges + 1) * sizeof(int64_t));
	for (size_t i = 0; i < 2 * edges; i++)
		ends[i] = id[data[5 + i]];

	held = peak = 0;
	cdp_core_components_init(&components, &host, limit);
	cdp_core_components_expect(&components, data[4] * 8);
	status = cdp_core_components_add(&components, ends, edges, &done);
	must(status == CDP_CORE_DONE || status == CDP_CORE_LIMIT);
	must((status == CDP_CORE_DONE) == (done == edges));
	must(peak <= limit);

	/* the oracle: labels are the index of the smallest id */
	for (size_t e = 0; e < done; e++)
	{
		int a = data[5 + 2 * e];
		int b = data[6 + 2 * e];
		int x = label[a];
		int y = label[b];
		int smaller = id[x] < id[y] ? x : y;

		seen[a] = seen[b] = true;
		for (int i = 0; i < IDS; i++)
			if (label[i] == x || label[i] == y)
				label[i] = smaller;
	}
	/* of an edge that was refused one end may be in */
	if (done < edges)
		refused = data[5 + 2 * done];

	must(cdp_core_components_label(&components) == CDP_CORE_DONE);
	must(peak <= limit);
	while ((n = cdp_core_components_read(&components, &position, pairs, 3)) > 0)
		for (size_t i = 0; i < n; i++)
		{
			int node = 0;

			while (node < IDS && id[node] != pairs[2 * i])
				node++;
			must(node < IDS && !read[node] && (seen[node] || node == refused));
			must(pairs[2 * i + 1] == id[label[node]]);
			read[node] = true;
			count++;
		}
	must(count == cdp_core_components_count(&components));
	for (int i = 0; i < IDS; i++)
		must(read[i] || !seen[i]);
	cdp_core_components_free(&components);
	must(held == 0);
	free(ends);
	return 0;
}
