/*
 * src/core/unionfind.h
 *		Disjoint sets over 0..n-1 in one array the caller provides.
 *
 * Union by size with path halving: O(inverse Ackermann) amortised.  A root's
 * entry is minus the size of its set, any other entry is the parent.
 */
#ifndef CDP_CORE_UNIONFIND_H
#define CDP_CORE_UNIONFIND_H

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

#endif /* CDP_CORE_UNIONFIND_H */
