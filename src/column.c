/*
 * src/column.c
 *		The sources of computed columns; see column.h.
 */
#include "postgres.h"

#include "column.h"

#define MAX_SOURCES 8

static const CdpColumnSource *sources[MAX_SOURCES];
static int nsources;

void
cdp_column_register(const CdpColumnSource *source)
{
	if (nsources == MAX_SOURCES)
		elog(ERROR, "cdp: too many sources of columns");
	sources[nsources++] = source;
}

/* The source of the column of this name, or NULL. */
const CdpColumnSource *
cdp_column_find(const char *name, int32 *definition, bool *timed)
{
	for (int i = 0; i < nsources; i++)
		if (sources[i]->find(name, definition, timed))
			return sources[i];
	return NULL;
}
