/*
 * src/profile/profile.h
 *		The state of a person: rows of cdp_data.profile and profile_state.
 *
 * Every function here wants the locks of the profiles it is given (see
 * identity/graph.h) and works on whole batches.
 */
#ifndef CDP_PROFILE_PROFILE_H
#define CDP_PROFILE_PROFILE_H

#include "identity/graph.h"
#include "utils/jsonb.h"

/* One value that a message gives to a trait. */
typedef struct CdpTraitChange
{
	int64 profile_id;
	const char *name;
	JsonbValue value; /* jbvNull unsets */
	TimestampTz ts;
	uint8 message_key[16];
	const char *source;
	const char *message_id; /* by cdp_trait_history() only; NULL: its event is gone */
	int origin; /* the caller's own mark, for refusals */
	bool counted; /* another one stands for it where values are counted */
	int64 times; /* how often the value was given: 0 stands for once */
	bool unknown; /* no value: what there was is told by the events alone */
} CdpTraitChange;

/* What a batch adds to a person's state. */
typedef struct CdpActivity
{
	CdpLocked *locked;
	int64 events;
	TimestampTz first_seen;
	TimestampTz last_seen;
} CdpActivity;

/* People and what their events make of them; all arrays by person, ascending. */
typedef struct CdpPast
{
	int n;
	const int64 *ids;
	int64 *events;
	Datum *first;
	Datum *last;
	bool *none; /* has no events: no first, no last */
	CdpTraitChange *changes; /* of all */
	int nchanges;
	int room;
} CdpPast;

extern void cdp_profile_join(CdpGraph *graph);
extern void cdp_profile_rebuild(CdpGraph *graph);
extern CdpPast *cdp_profile_past(const int64 *ids, int n, TimestampTz from, TimestampTz to);
extern int cdp_profile_fold(CdpTraitChange *changes, int n, int *refused);
extern List *cdp_profile_fold_apart(CdpTraitChange *changes, int n, const int64 *ids,
									int npeople, Datum *traits, Datum *meta, Datum *declared);
extern void cdp_trait_refold(const char *name, const int64 *profiles, int n);

/* state.c */
extern void cdp_profile_create(CdpGraph *graph);
extern void cdp_profile_count(const CdpActivity *activity, int n);

#endif /* CDP_PROFILE_PROFILE_H */
