/*
 * src/core/unionfind.c
 *		Disjoint sets (see unionfind.h).
 */
#include "core/unionfind.h"

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
