/*
 * src/segment/clause.h
 *		A rule in its parts, for people to read.
 */
#ifndef CDP_SEGMENT_CLAUSE_H
#define CDP_SEGMENT_CLAUSE_H

#include "fmgr.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"

/* A part of a rule that is a rule itself. */
typedef struct CdpRuleClause
{
	char *text; /* as it is shown */
	char *predicate; /* one of them */
	Jsonb *json;
} CdpRuleClause;

/*
 * The parts that a rule connects by AND or by OR; of any other rule itself.
 * predicate is canonical.  *any: it is OR.  Inside cdp_store_enter().
 */
extern List *cdp_rule_clauses(const char *predicate, const Jsonb *json, bool *any);

/* predicate.c: the canonical form, or an error that says why not. */
extern Datum cdp_check_predicate(PG_FUNCTION_ARGS);

#endif /* CDP_SEGMENT_CLAUSE_H */
