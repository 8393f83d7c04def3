/*
 * src/aggregate.c
 *		Where the states of an aggregate live, see aggregate.h.
 */
#include "postgres.h"

#include "nodes/memnodes.h"
#include "utils/memutils.h"

#include "aggregate.h"

/* children of an aggregate context to look at, ours being one of the youngest */
#define LOOK_AT 4

MemoryContext
cdp_aggregate_context(MemoryContext parent, const char *name)
{
	MemoryContext child = parent->firstchild;

	for (int i = 0; child != NULL && i < LOOK_AT; i++, child = child->nextchild)
	{
		if (child->name == name)
			return child;
	}
	return AllocSetContextCreateInternal(parent, name, ALLOCSET_SMALL_SIZES);
}
