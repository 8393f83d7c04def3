/*
 * src/condition/matches.c
 *		cdp.matches(): a document against a condition, in SQL.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/memutils.h"

#include "compat.h"
#include "condition/condition.h"

PG_FUNCTION_INFO_V1(cdp_matches);

/* The rule of the last call, which mostly is that of the next. */
typedef struct Kept
{
	MemoryContext context;
	Jsonb *rule;
	CdpCondition *condition;
} Kept;

/* The condition of a rule; the same rule again costs a comparison. */
static const CdpCondition *
condition_of(FmgrInfo *flinfo, const Jsonb *rule)
{
	Kept *kept = flinfo->fn_extra;
	Kept fresh;
	MemoryContext old;

	if (kept && kept->rule && VARSIZE(kept->rule) == VARSIZE(rule) &&
		memcmp(kept->rule, rule, VARSIZE(rule)) == 0)
		return kept->condition;
	if (kept == NULL)
		kept = flinfo->fn_extra = MemoryContextAllocZero(flinfo->fn_mcxt, sizeof(Kept));
	/* under the call's own context until it is complete: an error leaves nothing behind */
	fresh.context = AllocSetContextCreate(CurrentMemoryContext, "cdp condition",
										  ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(fresh.context);
	fresh.condition = cdp_condition_compile(rule);
	fresh.rule = palloc(VARSIZE(rule));
	memcpy(fresh.rule, rule, VARSIZE(rule));
	MemoryContextSwitchTo(old);
	MemoryContextSetParent(fresh.context, flinfo->fn_mcxt);
	if (kept->context)
		MemoryContextDelete(kept->context);
	*kept = fresh;
	return kept->condition;
}

/* cdp.matches(document, rule, groups) */
Datum
cdp_matches(PG_FUNCTION_ARGS)
{
	Jsonb *document = PG_GETARG_JSONB_P(0);
	Jsonb *rule = PG_GETARG_JSONB_P(1);
	Jsonb *groups = PG_GETARG_JSONB_P(2);

	PG_RETURN_BOOL(cdp_condition_matches(condition_of(fcinfo->flinfo, rule), document, groups));
}
