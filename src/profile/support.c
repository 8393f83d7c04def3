/*
 * src/profile/support.c
 *		What the planner is told of segments.
 *
 * - segment_set @> 'vip' and segment_set @@ 'vip & !churned' on the column of
 *   cdp.profiles become cdp.in_segments(ord, ...), which needs no list of
 *   names;
 * - shares of people are counted in the membership index (estimate.h);
 * - of few people the index on ord finds them: ord = ANY (member_ords(...)),
 *   whose price is that of fetching so many.  Only of an expression that is
 *   known: the members of a parameter may be millions.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_opfamily.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/supportnodes.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "parser/parse_func.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "cdp.h"
#include "profile/estimate.h"
#include "profile/support.h"
#include "segment/expr.h"

PG_FUNCTION_INFO_V1(cdp_in_segments_support);
PG_FUNCTION_INFO_V1(cdp_member_ords_support);
PG_FUNCTION_INFO_V1(cdp_members_support);
PG_FUNCTION_INFO_V1(cdp_segment_set_support);

/* The index is offered for up to this share of the people, and this many. */
#define INDEX_SHARE 0.05
#define INDEX_PEOPLE 1000000

bool
cdp_is_function(Oid funcid, const char *name)
{
	char *found = get_func_name(funcid);

	return found != NULL && strcmp(found, name) == 0 &&
		   get_func_namespace(funcid) == get_namespace_oid(CDP_SCHEMA, true);
}

/* The text of an argument that is known; NULL: it is not. */
static char *
known_text(Node *arg)
{
	Const *c = (Const *) arg;

	if (!IsA(arg, Const) || c->constisnull || c->consttype != TEXTOID)
		return NULL;
	return TextDatumGetCString(c->constvalue);
}

/* The text of the last argument of a call. */
static char *
known_expr(Node *node)
{
	const FuncExpr *call = (FuncExpr *) node;

	return is_funcclause(node) && call->args != NIL ? known_text(llast(call->args)) : NULL;
}

static FuncExpr *
make_call(const char *name, Oid result, List *args, int nargs, const Oid *types)
{
	List *qualified = list_make2(makeString(CDP_SCHEMA), makeString(pstrdup(name)));
	Oid funcid = LookupFuncName(qualified, nargs, types, true);

	return OidIsValid(funcid) ? makeFuncExpr(funcid, result, args, InvalidOid,
											 DEFAULT_COLLATION_OID, COERCE_EXPLICIT_CALL) :
								NULL;
}

/* Raises where the expression can never be answered: it is the query's fault. */
static void
check_expr(const char *text)
{
	CdpSegmentExpr *expr = cdp_segment_expr_parse(text, true);

	if (ActiveSnapshotSet())
		(void) cdp_segment_expr_resolve(expr, true);
}

/* segment_set @> name, segment_set @@ expression */
static Node *
simplify(FuncExpr *call)
{
	static const Oid types[2] = {INT4OID, TEXTOID};
	FuncExpr *set = linitial(call->args);
	Node *arg = lsecond(call->args);
	char *text = known_text(arg);

	if (!IsA(set, FuncExpr) || !cdp_is_function(set->funcid, "segments_of"))
		return NULL;
	if (cdp_is_function(call->funcid, "segment_set_has"))
	{
		if (text == NULL || text[0] == '\0')
			return NULL;
		text = cdp_segment_expr_quote(text);
		arg = (Node *) makeConst(TEXTOID, -1, DEFAULT_COLLATION_OID, -1,
								 CStringGetTextDatum(text), false, false);
	}
	else if (text == NULL && !(IsA(arg, Param) && ((Param *) arg)->paramkind == PARAM_EXTERN))
		return NULL;
	if (text)
		check_expr(text);
	return (Node *) make_call("in_segments", BOOLOID, list_make2(linitial(set->args), arg), 2,
							  types);
}

/* Support function of the operators of segment_set. */
Datum
cdp_segment_set_support(PG_FUNCTION_ARGS)
{
	Node *request = (Node *) PG_GETARG_POINTER(0);

	if (IsA(request, SupportRequestSimplify))
		PG_RETURN_POINTER(simplify(((SupportRequestSimplify *) request)->fcall));
	PG_RETURN_POINTER(NULL);
}

static bool
estimate_selectivity(SupportRequestSelectivity *request)
{
	char *text = known_text(llast(request->args));
	CdpEstimate estimate;

	if (text == NULL || !cdp_estimate(text, &estimate))
		return false;
	request->selectivity = estimate.share;
	return true;
}

/* in_segments(ord, expr) as ord = ANY (member_ords(expr)) */
static List *
index_condition(SupportRequestIndexCondition *request)
{
	static const Oid types[1] = {TEXTOID};
	char *text = known_expr(request->node);
	FuncExpr *ords;
	ScalarArrayOpExpr *any;
	CdpEstimate estimate;

	if (text == NULL || request->indexarg != 0 || request->opfamily != INTEGER_BTREE_FAM_OID ||
		!cdp_estimate(text, &estimate) || estimate.share > INDEX_SHARE ||
		estimate.share * estimate.people > INDEX_PEOPLE)
		return NIL;
	ords = make_call("member_ords", INT4ARRAYOID,
					 list_make1(llast(((FuncExpr *) request->node)->args)), 1, types);
	if (ords == NULL)
		return NIL;
	any = makeNode(ScalarArrayOpExpr);
	any->opno = Int4EqualOperator;
	any->opfuncid = F_INT4EQ;
	any->useOr = true;
	any->args = list_make2(linitial(((FuncExpr *) request->node)->args), ords);
	any->location = -1;
	request->lossy = false;
	return list_make1(any);
}

/* Support function of cdp.in_segments(). */
Datum
cdp_in_segments_support(PG_FUNCTION_ARGS)
{
	Node *request = (Node *) PG_GETARG_POINTER(0);

	if (IsA(request, SupportRequestSelectivity) &&
		estimate_selectivity((SupportRequestSelectivity *) request))
		PG_RETURN_POINTER(request);
	if (IsA(request, SupportRequestIndexCondition))
		PG_RETURN_POINTER(index_condition((SupportRequestIndexCondition *) request));
	PG_RETURN_POINTER(NULL);
}

/*
 * Support function of cdp.member_ords().  The planner takes an array that it
 * does not know for one of ten elements; what the others cost is added here.
 */
Datum
cdp_member_ords_support(PG_FUNCTION_ARGS)
{
	Node *request = (Node *) PG_GETARG_POINTER(0);
	SupportRequestCost *cost = (SupportRequestCost *) request;
	char *text;
	CdpEstimate estimate;
	double members;

	if (!IsA(request, SupportRequestCost) || cost->node == NULL)
		PG_RETURN_POINTER(NULL);
	text = known_expr(cost->node);
	if (text == NULL || !cdp_estimate(text, &estimate))
		PG_RETURN_POINTER(NULL);
	members = Max(1, estimate.share * estimate.people);
	cost->startup = members * random_page_cost + 100 * cpu_operator_cost;
	cost->per_tuple = 0;
	PG_RETURN_POINTER(request);
}

/*
 * Support function of cdp.members().  And of cdp.fired_members(), of which it
 * says nothing: a session that plans cdp.segment_members has loaded the library.
 */
Datum
cdp_members_support(PG_FUNCTION_ARGS)
{
	Node *request = (Node *) PG_GETARG_POINTER(0);
	SupportRequestRows *rows = (SupportRequestRows *) request;
	char *text;
	CdpEstimate estimate;

	if (!IsA(request, SupportRequestRows))
		PG_RETURN_POINTER(NULL);
	text = known_expr(rows->node);
	if (text == NULL || !cdp_estimate(text, &estimate))
		PG_RETURN_POINTER(NULL);
	rows->rows = Max(1, estimate.share * estimate.people);
	PG_RETURN_POINTER(request);
}
