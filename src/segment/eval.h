/*
 * src/segment/eval.h
 *		Rules asked of people, without a query.
 */
#ifndef CDP_SEGMENT_EVAL_H
#define CDP_SEGMENT_EVAL_H

#include "segment/rule.h"
#include "segment/timer.h"

typedef struct CdpEvaluation CdpEvaluation;

/* What is known of the person who is asked about. */
typedef struct CdpPerson
{
	int64 profile_id;
	int32 ord;
	int nstored;
	int32 *stored; /* ids of her segments as stored */
	bool *in; /* by rule: is she in it */
} CdpPerson;

/* Somebody changes sides of a rule (index). */
typedef void (*CdpFlipped)(const CdpPerson *person, int rule, TimestampTz at, void *arg);

/*
 * read_only: under the active snapshot, recording no errors.  Between begin and
 * end the active snapshot is the evaluation's.
 */
extern CdpEvaluation *cdp_eval_begin(CdpRules *rules, bool read_only);
extern CdpPerson *cdp_eval_person(CdpEvaluation *e, int64 profile_id);
extern TimestampTz cdp_eval_ask(CdpEvaluation *e, const Bitmapset *which, TimestampTz now,
								CdpFlipped flipped, void *arg);
extern bool cdp_eval_holds(CdpEvaluation *e, CdpRule *rule, TimestampTz now, int *sqlstate);
extern Datum cdp_eval_value(CdpEvaluation *e, int column, TimestampTz now, bool *isnull);
/* The person, with her segments as of now. */
extern CdpPerson *cdp_segment_person(CdpEvaluation *e, CdpRules *rules, int64 profile_id,
									 TimestampTz now);
extern CdpRules *cdp_eval_rules(const CdpEvaluation *e);
extern int cdp_eval_error(const CdpEvaluation *e, int rule);
extern void cdp_eval_end(CdpEvaluation *e);

#endif /* CDP_SEGMENT_EVAL_H */
