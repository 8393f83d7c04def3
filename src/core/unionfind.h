/*
 * src/core/unionfind.h
 *		Disjoint sets over 0..n-1 in one array the caller provides.
 *
 * Two kinds, both with path halving:
 *
 *	cdp_core_uf_*		union by size, int32.  A root's entry is minus the size
 *						of its set, any other entry is the parent.
 *	cdp_core_forest_*	the smallest element is the root, uint32.  A root's
 *						entry is itself.  An entry is never larger than its
 *						index, so one ascending pass flattens the forest.
 *
 * Union by size is O(inverse Ackermann) amortised; linking to the smaller
 * element O(log n) (Tarjan and van Leeuwen 1984: any linking with halving).
 * In exchange the second needs no sizes, and its root is the answer.
 */
#ifndef CDP_CORE_UNIONFIND_H
#define CDP_CORE_UNIONFIND_H

#include <stddef.h>
#include <stdint.h>

/* Makes n singletons; parent has room for n entries. */
extern void cdp_core_uf_init(int32_t *parent, int32_t n);

/* Representative of x's set. */
extern int32_t cdp_core_uf_find(int32_t *parent, int32_t x);

/*
 * Joins the sets of a and b; returns the representative of the result, or -1
 * if they were one set already.
 */
extern int32_t cdp_core_uf_union(int32_t *parent, int32_t a, int32_t b);

/* Joins the sets of pairs[0] and pairs[1], of pairs[2] and pairs[3] ... */
extern void cdp_core_forest_join(uint32_t *parent, const uint32_t *pairs,
								 size_t count);

/*
 * Points the entries from..to-1 at their roots.  All before "from" must have
 * been flattened since the last join.
 */
extern void cdp_core_forest_flatten(uint32_t *parent, size_t from, size_t to);

#endif /* CDP_CORE_UNIONFIND_H */
