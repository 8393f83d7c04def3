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
 * Does the document meet the condition?  groups, which may be NULL, is an
 * object with the members of each group, for $inGroup.  Raises nothing because
 * of what a document says; allocates a little in the current context.
 */
extern bool cdp_condition_matches(const CdpCondition *c, Jsonb *document, Jsonb *groups);

/*
 * The path of an operator that the language does not know, which nothing
 * meets; NULL if there is none.  Whoever keeps a rule may want to refuse it.
 */
extern const char *cdp_condition_unknown(const CdpCondition *c);

#endif /* CDP_CONDITION_CONDITION_H */
