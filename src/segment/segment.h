/*
 * src/segment/segment.h
 *		Segments: rules, who enters and who leaves.
 */
#ifndef CDP_SEGMENT_SEGMENT_H
#define CDP_SEGMENT_SEGMENT_H

#include "identity/graph.h"
#include "nodes/bitmapset.h"

/* A person entered a segment. */
typedef struct CdpEntry
{
	int32 segment_id;
	int64 profile_id;
	int32 ord;
} CdpEntry;

/* What changed of a person: all, or columns. */
typedef struct CdpChange
{
	int64 profile_id;
	bool all;
	Bitmapset *columns;
} CdpChange;

extern void cdp_segment_join(const CdpGraph *graph);
extern void cdp_segment_part(const CdpGraph *graph);

/* What messages change; see cdp_segment_evaluate_changes(). */
extern void cdp_segment_note_event(CdpChange *change, const char *type, const char *name);
extern void cdp_segment_note_trait(CdpChange *change, const char *name, int len);

/*
 * Evaluates rules for people whose locks the caller holds and writes what
 * changed: every rule, or those that look at what changed.  Return the number
 * of entries into segments.  cause: event, identity, definition.
 */
extern int cdp_segment_evaluate(const int64 *profiles, int n, const char *cause,
								CdpEntry **entries);
extern int cdp_segment_evaluate_changes(const CdpChange *changes, int n, const char *cause,
										CdpEntry **entries);

/*
 * Timers of these people that are due: everything that happened by itself until
 * now, each at its instant.  Before what changes them is written.
 */
extern int cdp_segment_fire(const int64 *profiles, int n, CdpEntry **entries);

/* Is any a list of identifiers? */
extern bool cdp_segment_has_lists(void);

/* Does any rule look at the clock? */
extern bool cdp_segment_is_timed(void);

/*
 * The same for readers, under the active snapshot, writing nothing: what became
 * of people until now.  DT_NOBEGIN stands for the time that is stored.
 */
typedef struct CdpLook
{
	void (*person)(int64 profile_id, int32 ord, void *arg); /* first */
	void (*left)(int32 segment_id, TimestampTz entered, TimestampTz at, void *arg);
	void (*in)(int32 segment_id, TimestampTz since, void *arg);
	void *arg;
} CdpLook;

extern void cdp_segment_look(const int64 *profiles, int n, TimestampTz now, const CdpLook *look);

/*
 * Evaluates what a task builds beside the rules in force for people whose locks
 * the caller holds; their timers that are due were fired.  Nobody is told.
 */
extern void cdp_segment_build(int32 task_id, const int64 *profiles, int n);

extern void cdp_segment_check(const int64 *profiles, int n,
							  void (*found)(void *arg, int64 profile_id, const char *what,
											const char *live, const char *now),
							  void *arg);

#endif /* CDP_SEGMENT_SEGMENT_H */
