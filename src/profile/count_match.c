/*
 * src/profile/count_match.c
 *		Which queries count people whom segments tell.
 *
 * SELECT count(*) FROM cdp.profiles WHERE is_vip AND NOT is_churned, planned,
 * is a scan of one table under tests of its column ord: cdp.in_segments() with
 * known expressions, and cdp.allowed() of the policy.  Where there is nothing
 * else, the answer is a count in the membership index.  Whatever is not known
 * here to be such a test is a reason to leave the query alone: then it is
 * planned as ever.
 *
 * The expressions become one expression.  It says of everybody what the tests
 * say together, but for those the role may not see while no policy hides them
 * (of a view whose owner sees everybody, say): of these every test is false.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/planner.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "cdp.h"
#include "compat.h"
#include "guc.h"
#include "profile/count.h"
#include "profile/support.h"
#include "segment/expr.h"
#include "store.h"

static create_upper_paths_hook_type next_hook = NULL;

/* -- the target: count(*), and expressions of it -- */

static bool
is_count(const Aggref *agg)
{
	const TargetEntry *arg;

	if (agg->aggfilter || agg->aggdistinct || agg->aggorder || agg->aggdirectargs ||
		agg->agglevelsup != 0 || agg->aggsplit != AGGSPLIT_SIMPLE)
		return false;
	if (agg->aggfnoid == F_COUNT_)
		return true;
	if (agg->aggfnoid != F_COUNT_ANY || list_length(agg->args) != 1)
		return false;
	/* count(1) */
	arg = linitial(agg->args);
	return IsA(arg->expr, Const) && !((Const *) arg->expr)->constisnull;
}

/* Is there anything in it but counts, constants and functions of them? */
static bool
has_other(Node *node, void *counts)
{
	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_Aggref:
			*(int *) counts += 1;
			return !is_count((Aggref *) node);
		case T_Param:
			return ((Param *) node)->paramkind != PARAM_EXTERN;
		case T_Var:
		case T_PlaceHolderVar:
		case T_SubLink:
		case T_SubPlan:
		case T_AlternativeSubPlan:
		case T_WindowFunc:
		case T_GroupingFunc:
		case T_CurrentOfExpr:
			return true;
		default:
			return expression_tree_walker(node, has_other, counts);
	}
}

static bool
counts_only(PlannerInfo *root, List *target)
{
	const Query *parse = root->parse;
	int counts = 0;

	return parse->commandType == CMD_SELECT && parse->hasAggs && !parse->hasWindowFuncs &&
		   !parse->hasTargetSRFs && !parse->hasModifyingCTE && !parse->setOperations &&
		   parse->groupClause == NIL && parse->groupingSets == NIL &&
		   parse->distinctClause == NIL && parse->havingQual == NULL && parse->rowMarks == NIL &&
		   root->rowMarks == NIL && !has_other((Node *) target, &counts) && counts > 0 &&
		   !contain_volatile_functions((Node *) target);
}

/* -- the tests -- */

typedef struct Tests
{
	Index relid;
	AttrNumber ord;
	bool policy; /* cdp.allowed(ord) is among them */
	StringInfoData expr;
} Tests;

/* cdp.allowed(ord) or cdp.in_segments(ord, ...)? */
static bool
is_test(const Tests *tests, Node *node, const char *name)
{
	const FuncExpr *call = (FuncExpr *) node;
	const Var *var;

	if (!IsA(node, FuncExpr) || call->args == NIL || !cdp_is_function(call->funcid, name))
		return false;
	var = linitial(call->args);
	return IsA(var, Var) && var->varno == (int) tests->relid && var->varattno == tests->ord &&
		   var->varlevelsup == 0;
}

static bool add_tests(Tests *tests, Node *node, bool inside, bool *others);

static bool
add_test(Tests *tests, const FuncExpr *call, bool *others)
{
	const Const *arg = llast(call->args);
	CdpSegmentExpr *expr;
	char *source;

	if (!IsA(arg, Const) || arg->consttype != TEXTOID || arg->constisnull)
		return false;
	source = TextDatumGetCString(arg->constvalue);
	expr = cdp_segment_expr_parse(source, false);
	if (expr == NULL || !cdp_segment_expr_resolve(expr, false))
		return false;
	if (expr->n == 1)
		appendStringInfoString(&tests->expr, cdp_segment_expr_quote(expr->names[0]));
	else
		appendStringInfo(&tests->expr, "(%s)", source);
	*others = false;
	return true;
}

static bool
add_not(Tests *tests, Node *node, bool *others)
{
	appendStringInfoChar(&tests->expr, '!');
	if (!add_tests(tests, node, true, others))
		return false;
	*others = !*others;
	return true;
}

static bool
add_list(Tests *tests, const BoolExpr *list, bool inside, bool *others)
{
	bool is_and = list->boolop == AND_EXPR;
	bool first = true;
	ListCell *lc;

	*others = is_and;
	if (inside)
		appendStringInfoChar(&tests->expr, '(');
	foreach(lc, list->args)
	{
		bool one;

		if (!first)
			appendStringInfoString(&tests->expr, is_and ? " & " : " | ");
		first = false;
		if (!add_tests(tests, lfirst(lc), true, &one))
			return false;
		*others = is_and ? *others && one : *others || one;
	}
	if (inside)
		appendStringInfoChar(&tests->expr, ')');
	return true;
}

/*
 * Writes a condition as an expression of segments; false if it is none.
 * others: what it says of somebody whom every test is false of.
 */
static bool
add_tests(Tests *tests, Node *node, bool inside, bool *others)
{
	check_stack_depth();
	if (is_test(tests, node, "in_segments"))
		return add_test(tests, (FuncExpr *) node, others);
	if (IsA(node, BoolExpr) && ((BoolExpr *) node)->boolop == NOT_EXPR)
		return add_not(tests, linitial(((BoolExpr *) node)->args), others);
	if (IsA(node, BoolExpr))
		return add_list(tests, (BoolExpr *) node, inside, others);
	if (IsA(node, BooleanTest))
	{
		/* a test is never null */
		Node *arg = (Node *) ((BooleanTest *) node)->arg;

		switch (((BooleanTest *) node)->booltesttype)
		{
			case IS_TRUE:
			case IS_NOT_FALSE:
				return add_tests(tests, arg, inside, others);
			case IS_FALSE:
			case IS_NOT_TRUE:
				return add_not(tests, arg, others);
			default:
				return false;
		}
	}
	return false;
}

/* The conditions of a scan of cdp_data.profile. */
static bool
match_profiles(const RelOptInfo *rel, Oid relid, CdpCount *count)
{
	Tests tests = {.relid = rel->relid, .ord = get_attnum(relid, "ord")};
	int n = 0;
	ListCell *lc;

	initStringInfo(&tests.expr);
	count->others = true;
	foreach(lc, rel->baserestrictinfo)
	{
		const RestrictInfo *info = lfirst(lc);
		bool others;

		if (info->pseudoconstant)
			return false;
		if (is_test(&tests, (Node *) info->clause, "allowed"))
		{
			tests.policy = true;
			continue;
		}
		if (n++ > 0)
			appendStringInfoString(&tests.expr, " & ");
		if (!add_tests(&tests, (Node *) info->clause, list_length(rel->baserestrictinfo) > 1,
					   &others))
			return false;
		count->others &= others;
	}
	count->expr = tests.expr.data;
	count->policy = tests.policy;
	count->members = false;
	/* not longer than an expression may be */
	return n == 0 || cdp_segment_expr_parse(count->expr, false) != NULL;
}

/* -- cdp.segment_members -- */

/* segment = 'vip', the one condition */
static char *
named_segment(const RelOptInfo *rel, AttrNumber attnum)
{
	const RestrictInfo *info;
	const OpExpr *op;
	const Var *var;
	const Const *name;

	if (list_length(rel->baserestrictinfo) != 1)
		return NULL;
	info = linitial(rel->baserestrictinfo);
	op = (OpExpr *) info->clause;
	if (info->pseudoconstant || !IsA(op, OpExpr) || op->opfuncid != F_TEXTEQ ||
		!get_collation_isdeterministic(op->inputcollid))
		return NULL;
	var = linitial(op->args);
	name = lsecond(op->args);
	if (IsA(var, Const))
	{
		var = lsecond(op->args);
		name = linitial(op->args);
	}
	if (!IsA(var, Var) || var->varno != (int) rel->relid || var->varattno != attnum ||
		var->varlevelsup != 0 || !IsA(name, Const) || name->constisnull ||
		name->consttype != TEXTOID)
		return NULL;
	return TextDatumGetCString(name->constvalue);
}

/* What the rewriter put before the rows of the members: nothing, or cdp.allowed(). */
static bool
match_policy(const RangeTblEntry *rte, CdpCount *count, bool *known)
{
	const FuncExpr *call;
	bool policy = rte->securityQuals != NIL;

	if (policy)
	{
		call = linitial(rte->securityQuals);
		if (list_length(rte->securityQuals) != 1 || !IsA(call, FuncExpr) ||
			!cdp_is_function(call->funcid, "allowed"))
			return false;
	}
	if (*known && policy != count->policy)
		return false;
	count->policy = policy;
	*known = true;
	return true;
}

/* The policies within one part of the view. */
static bool
match_part(const Query *part, CdpCount *count, bool *known)
{
	Oid members = cdp_store_relation("segment_member");
	ListCell *lc;

	foreach(lc, part->rtable)
	{
		const RangeTblEntry *rte = lfirst(lc);

		if (rte->rtekind == RTE_SUBQUERY)
			return false;
		if (rte->rtekind != RTE_RELATION)
			continue;
		if (rte->relid == members && !match_policy(rte, count, known))
			return false;
		if (rte->relid != members && rte->securityQuals != NIL)
			return false;
	}
	return true;
}

static bool
match_members(const RelOptInfo *rel, const RangeTblEntry *rte, CdpCount *count)
{
	Oid view = get_relname_relid("segment_members", get_namespace_oid(CDP_SCHEMA, true));
	char *name;
	bool building;
	bool known = false;
	ListCell *lc;

	if (!OidIsValid(view) || cdp_view_of(rte) != view || !rte->subquery->setOperations)
		return false;
	name = named_segment(rel, get_attnum(view, "segment"));
	/* none of this name: nobody, as ever */
	if (name == NULL || name[0] == '\0' || cdp_segment_find(name, &building) < 0)
		return false;
	foreach(lc, rte->subquery->rtable)
	{
		const RangeTblEntry *part = lfirst(lc);

		if (part->rtekind == RTE_SUBQUERY && !match_part(part->subquery, count, &known))
			return false;
	}
	count->expr = cdp_segment_expr_quote(name);
	count->members = true;
	count->others = false;
	return known;
}

/* -- the hook -- */

bool
cdp_count_match(PlannerInfo *root, RelOptInfo *rel, CdpCount *count)
{
	const RangeTblEntry *rte;

	if (rel->reloptkind != RELOPT_BASEREL || rel->joininfo != NIL ||
		!bms_is_empty(rel->lateral_relids) || IS_DUMMY_REL(rel))
		return false;
	rte = planner_rt_fetch(rel->relid, root);
	if (rte->lateral || rte->tablesample)
		return false;
	if (rte->rtekind == RTE_RELATION && !rte->inh && rte->relkind == RELKIND_RELATION &&
		cdp_store_exists() && rte->relid == cdp_store_relation("profile"))
		return match_profiles(rel, rte->relid, count);
	if (rte->rtekind == RTE_SUBQUERY && rte->inh && rte->subquery && !rte->security_barrier &&
		cdp_store_exists())
		return match_members(rel, rte, count);
	return false;
}

static void
add_count_path(PlannerInfo *root, UpperRelationKind stage, RelOptInfo *input, RelOptInfo *output,
			   void *extra)
{
	CdpCount count;

	if (next_hook)
		next_hook(root, stage, input, output, extra);
	if (stage != UPPERREL_GROUP_AGG || !cdp_guc_enable_count_pushdown || !ActiveSnapshotSet() ||
		!counts_only(root, output->reltarget->exprs) || !cdp_count_match(root, input, &count))
		return;
	add_path(output, cdp_count_path(root, output, &count));
}

void
cdp_count_register(void)
{
	cdp_count_register_scan();
	next_hook = create_upper_paths_hook;
	create_upper_paths_hook = add_count_path;
}
