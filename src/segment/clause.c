/*
 * src/segment/clause.c
 *		A rule in its parts.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "nodes/primnodes.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/ruleutils.h"

#include "compat.h"
#include "segment/clause.h"
#include "segment/rule.h"
#include "store.h"

static List *
predicate_clauses(const char *predicate, bool *any)
{
	Node *node = cdp_predicate_analyse(predicate);
	Oid view = cdp_store_relation("profile_rule");
	List *context = deparse_context_for("p", view);
	List *parts = list_make1(node);
	List *result = NIL;
	int level = cdp_store_pin_settings();
	ListCell *lc;

	*any = false;
	if (IsA(node, BoolExpr) && ((BoolExpr *) node)->boolop != NOT_EXPR)
	{
		parts = ((BoolExpr *) node)->args;
		*any = ((BoolExpr *) node)->boolop == OR_EXPR;
	}
	foreach(lc, parts)
	{
		CdpRuleClause *clause = palloc0(sizeof(CdpRuleClause));

		clause->predicate = deparse_expression(lfirst(lc), context, true, false);
		clause->text = deparse_expression(lfirst(lc), context, false, false);
		result = lappend(result, clause);
	}
	AtEOXact_GUC(true, level);
	return result;
}

static CdpRuleClause *
json_clause(Jsonb *json)
{
	CdpRuleClause *clause = palloc0(sizeof(CdpRuleClause));

	clause->json = json;
	clause->text = JsonbToCString(NULL, &json->root, VARSIZE(json));
	return clause;
}

/* {"$or": [...]} alone: its conditions. */
static List *
listed_clauses(const Jsonb *json, const char *word)
{
	JsonbValue *list = getKeyJsonValueFromContainer((JsonbContainer *) &json->root, word,
													(int) strlen(word), NULL);
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue v;
	List *result = NIL;

	if (list == NULL || list->type != jbvBinary || JB_ROOT_COUNT(json) != 1)
		return NIL;
	it = JsonbIteratorInit(list->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
		if (token == WJB_ELEM)
			result = lappend(result, json_clause(JsonbValueToJsonb(&v)));
	return result;
}

static List *
json_clauses(const Jsonb *json, bool *any)
{
	List *result = listed_clauses(json, "$or");
	JsonbIterator *it;
	JsonbValue key;

	*any = result != NIL;
	if (result == NIL)
		result = listed_clauses(json, "$and");
	if (result != NIL)
		return result;
	it = JsonbIteratorInit((JsonbContainer *) &json->root);
	(void) JsonbIteratorNext(&it, &key, true);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		JsonbParseState *state = NULL;
		JsonbValue v;

		(void) JsonbIteratorNext(&it, &v, true);
		(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		(void) pushJsonbValue(&state, WJB_KEY, &key);
		(void) pushJsonbValue(&state, WJB_VALUE, &v);
		result = lappend(result, json_clause(JsonbValueToJsonb(
									 pushJsonbValue(&state, WJB_END_OBJECT, NULL))));
	}
	return result;
}

List *
cdp_rule_clauses(const char *predicate, const Jsonb *json, bool *any)
{
	return json ? json_clauses(json, any) : predicate_clauses(predicate, any);
}
