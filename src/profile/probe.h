/*
 * src/profile/probe.h
 *		Rows of a table by the first columns of an index, without a statement,
 *		as the calling query sees them.
 *
 * For functions that a view calls for each person: starting an executor would
 * cost more than the rows.
 */
#ifndef CDP_PROFILE_PROBE_H
#define CDP_PROFILE_PROBE_H

#include "executor/tuptable.h"

typedef void (*CdpProbeRow)(TupleTableSlot *slot, void *arg);

extern int cdp_probe_attribute(TupleTableSlot *slot, const char *name);
extern Datum cdp_probe_column(TupleTableSlot *slot, const char *name, bool *isnull);
extern void cdp_probe(const char *table, const char *index, int64 id, const int32 *second,
					  CdpProbeRow row, void *arg);

#endif /* CDP_PROFILE_PROBE_H */
