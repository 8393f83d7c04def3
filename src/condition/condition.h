/*
 * src/condition/condition.h
 *		The condition language: a JSON rule, compiled once, that a JSON document
 *		meets or does not.
 *
 * The language is the one feature-flag SDKs share; docs/condition.md says what
 * each operator means.  A condition holds no state, reads no table, no setting
 * and no clock, so the same rule and document give the same answer for ever.
 */
#ifndef CDP_CONDITION_CONDITION_H
#define CDP_CONDITION_CONDITION_H

#include "core/window.h"
#include "utils/jsonb.h"

/* Conditions inside each other, at most. */
#define CDP_CONDITION_MAX_DEPTH 100

typedef struct CdpCondition CdpCondition;

/*
 * Compiles a rule.  The condition and a copy of the rule are allocated in the
 * current memory context and live as long as it does.  Raises
 * invalid_parameter_value, with the path of the place, on what is no rule.
 */
extern CdpCondition *cdp_condition_compile(const Jsonb *rule);

/*
 * The same with $within: {"last_seen": {"$within": "7 days"}} is met by a time
 * within the last 7 days.  Only cdp_condition_holds() can tell.
 */
extern CdpCondition *cdp_condition_compile_timed(const Jsonb *rule);

/*
 * What a condition may ask beyond its document.  within: does the time lie in
 * the last period?  in_group: is the value in the group?
 */
typedef struct CdpConditionWorld
{
	bool (*within)(int64 ts, const CdpCorePeriod *period, void *arg);
	bool (*in_group)(const char *name, int len, void *arg);
	void *arg;
} CdpConditionWorld;

extern bool cdp_condition_holds(const CdpCondition *c, Jsonb *document,
								const CdpConditionWorld *world);

/*
 * Does the document meet the condition?  groups, which may be NULL, is an
 * object with the members of each group, for $inGroup.  Raises nothing because
 * of what a document says; allocates a little in the current context.
 */
extern bool cdp_condition_matches(const CdpCondition *c, Jsonb *document, Jsonb *groups);

/*
 * For whoever keeps a rule: raises invalid_parameter_value, with the path of the
 * place, where it can only be a mistake, though it has a meaning: an operator
 * that the language does not know and a regular expression that is none, which
 * nothing meets, and without groups $inGroup.  operators_hint says where the
 * operators are listed.
 */
extern void cdp_condition_check(const CdpCondition *c, bool groups, const char *operators_hint);

#endif /* CDP_CONDITION_CONDITION_H */
