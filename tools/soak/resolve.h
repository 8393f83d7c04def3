/*
 * tools/soak/resolve.h
 *		Who is one person, from all evidence.
 */
#ifndef RESOLVE_H
#define RESOLVE_H

#include "model.h"

/* Sets of[] of every node and the verdicts of every link. */
extern void resolve(Model *m);

/* Does it matter when a link came last, by the rules of now? */
extern bool repeats(const Model *m);

/* Orders nodes by namespace's rank and name, then value. */
extern int compare_importance(const Model *m, int a, int b);

#endif /* RESOLVE_H */
