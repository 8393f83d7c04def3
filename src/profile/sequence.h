/*
 * src/profile/sequence.h
 *		Sequences: who did one thing and then not another.
 *
 * What matters of an event is kept per node as a mark: of which sequence it is
 * the first or the second event (or both), when, and with which value of the
 * property that must be the same.  Marks are as immutable as events, and a
 * person has those of her nodes: nothing depends on the order of arrival, and a
 * merge and its undoing touch none.
 *
 * A first event is answered by a second one of the same value that comes after
 * it in the order of events, by (time, message key), be it within the period or
 * later.  One that is not answered counts from its time + period on, and, where
 * the sequence holds for a time only, until that is over, too.  Lengths are those
 * of the calendar in UTC.
 */
#ifndef CDP_PROFILE_SEQUENCE_H
#define CDP_PROFILE_SEQUENCE_H

#include "identity/check.h"
#include "profile/metric.h"
#include "row.h"

/* Bytes of a value that are kept: longer ones are told apart by those. */
#define CDP_SEQUENCE_TEXT 500

/* What an event is to a sequence. */
#define CDP_SEQUENCE_DID 1
#define CDP_SEQUENCE_THEN 2

typedef enum CdpSequenceResult
{
	CDP_SEQUENCE_BOOLEAN,
	CDP_SEQUENCE_COUNT, /* of values */
	CDP_SEQUENCE_LIST /* of values */
} CdpSequenceResult;

/* A sequence as defined. */
typedef struct CdpSequence
{
	int32 id;
	const char *name;
	const char *events[2]; /* what was done, and what was not done then */
	CdpMetricFilter *filters[2]; /* or NULL */
	char **path; /* of the property that is the same; none: NULL */
	int npath;
	Interval *period;
	Interval *holds; /* or NULL */
	CdpSequenceResult result;
	bool ready;
} CdpSequence;

typedef struct CdpSequenceConfig
{
	int n;
	CdpSequence *sequences; /* ascending by id */
} CdpSequenceConfig;

/* sequence.c; inside cdp_store_enter(), unless what is known is current */
extern const CdpSequenceConfig *cdp_sequence_config(void);
extern bool cdp_sequence_config_is_current(void);
extern const CdpSequence *cdp_sequence_find(int32 id);
extern void cdp_sequence_fold(const CdpMetricEvent *events, int n);
extern void cdp_sequence_fold_gone(const CdpMetricEvent *events, int n);

/*
 * Makes the marks of nodes, some of which may be named twice, anew from their
 * events: of one sequence, or of all (0).  The caller holds the locks of the
 * nodes' people.
 */
extern void cdp_sequence_rebuild(const int64 *nodes, int n, int32 sequence_id);

/* The marks that a node's events make: columns node, sequence, ts, key, kind, value. */
extern CdpRow *cdp_sequence_gather(int64 node, int32 sequence_id, int *n);

/*
 * Marks before this time say nothing any more, whatever comes late; DT_NOBEGIN:
 * all may.
 */
extern TimestampTz cdp_sequence_horizon(const CdpSequence *sequence, TimestampTz now);

/* sequence_check.c */
extern void cdp_sequence_check(const int64 *profiles, int n, CdpFound *to);
extern void cdp_sequence_repair(const int64 *profiles, int n);
extern bool cdp_sequence_backfill_step(void);
extern bool cdp_sequence_tidy_step(void);

/*
 * sequence_value.c: what a sequence says of a person at a time, under the active
 * snapshot; of nobody whom the current role may not see.  due: the earliest time
 * after now at which it may say something else without an event, DT_NOEND if
 * there is none.  The result is a boolean, a bigint or a text[], in the current context.
 */
extern Datum cdp_sequence_of_person(int64 profile_id, int32 sequence_id, TimestampTz now,
									bool *isnull, TimestampTz *due);

#endif /* CDP_PROFILE_SEQUENCE_H */
