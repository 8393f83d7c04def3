/*
 * src/aggregate.c
 *		Where the states of an aggregate live, see aggregate.h.
 */
#include "postgres.h"

#include "nodes/memnodes.h"
#include "utils/memutils.h"

#include "aggregate.h"
#include "compat.h"

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

MemoryContext
cdp_aggregate_enter(FunctionCallInfo fcinfo, const char *name, const char *hint)
{
	MemoryContext context;

	if (!AggCheckCallContext(fcinfo, &context))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("support functions of %s cannot be called directly", name),
				 errhint("%s", hint)));
	return context;
}

ExpandedObjectHeader *
cdp_aggregate_state(Datum datum, const ExpandedObjectMethods *methods)
{
	ExpandedObjectHeader *header;

	if (!VARATT_IS_EXTERNAL_EXPANDED_RW(DatumGetPointer(datum)))
		return NULL;
	header = DatumGetEOHP(datum);
	return header->eoh_methods == methods ? header : NULL;
}
