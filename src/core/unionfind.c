/*
 * src/core/unionfind.c
 *		Disjoint sets (see unionfind.h).
 */
#include "core/unionfind.h"

#include "core/prefetch.h"

/* Pairs whose entries are on their way from memory at the same time. */
#define AHEAD 16

void
cdp_core_uf_init(int32_t *parent, int32_t n)
{
	for (int32_t i = 0; i < n; i++)
		parent[i] = -1;
}

int32_t
cdp_core_uf_find(int32_t *parent, int32_t x)
{
	while (parent[x] >= 0)
	{
		if (parent[parent[x]] >= 0)
			parent[x] = parent[parent[x]];
		x = parent[x];
	}
	return x;
}

int32_t
cdp_core_uf_union(int32_t *parent, int32_t a, int32_t b)
{
	a = cdp_core_uf_find(parent, a);
	b = cdp_core_uf_find(parent, b);
	if (a == b)
		return -1;
	if (parent[a] > parent[b])
	{
		int32_t t = a;

		a = b;
		b = t;
	}
	parent[a] += parent[b];
	parent[b] = a;
	return a;
}

static uint32_t
forest_find(uint32_t *parent, uint32_t x)
{
	while (parent[x] != x)
	{
		parent[x] = parent[parent[x]];
		x = parent[x];
	}
	return x;
}

/*
 * Memory, not arithmetic, is what a large forest waits for.  So the entries
 * of a few pairs are asked for at once, then their parents, then the pairs
 * are joined; longer paths are rare and take what they take.
 */
void
cdp_core_forest_join(uint32_t *parent, const uint32_t *pairs, size_t count)
{
	while (count > 0)
	{
		size_t n = count < AHEAD ? count : AHEAD;

		for (size_t i = 0; i < 2 * n; i++)
			CDP_CORE_PREFETCH(&parent[pairs[i]]);
		for (size_t i = 0; i < 2 * n; i++)
			CDP_CORE_PREFETCH(&parent[parent[pairs[i]]]);
		for (size_t i = 0; i < 2 * n; i += 2)
		{
			uint32_t a = forest_find(parent, pairs[i]);
			uint32_t b = forest_find(parent, pairs[i + 1]);

			if (a < b)
				parent[b] = a;
			else
				parent[a] = b;
		}
		pairs += 2 * n;
		count -= n;
	}
}

void
cdp_core_forest_flatten(uint32_t *parent, size_t from, size_t to)
{
	/* parents come before their children, so theirs are roots already */
	for (size_t i = from; i < to; i++)
	{
		if (to - i > AHEAD)
			CDP_CORE_PREFETCH(&parent[parent[i + AHEAD]]);
		parent[i] = parent[parent[i]];
	}
}
