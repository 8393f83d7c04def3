/*
 * src/segment/list.h
 *		Segments that are lists of identifiers from elsewhere.
 *
 * Who bears an identifier of the list now is a member: what changes whose it
 * is, changes who is one, and nothing is kept by person.  A list may have a
 * purpose, which a member allows, and its identifiers a time until when they
 * are on it.
 */
#ifndef CDP_SEGMENT_LIST_H
#define CDP_SEGMENT_LIST_H

#include "utils/timestamp.h"

/* That somebody is on a list, or will be. */
typedef struct CdpListed
{
	int32 list_id;
	TimestampTz until; /* is to be asked again then; DT_NOEND: for good */
	bool on; /* now */
} CdpListed;

/*
 * The lists that she is on now, or will be by the passing of time, in the
 * current memory context; under the active snapshot, inside cdp_store_enter().
 * Returns how many.
 */
extern int cdp_lists_of(int64 profile_id, int32 ord, TimestampTz now, CdpListed **lists);

#endif /* CDP_SEGMENT_LIST_H */
