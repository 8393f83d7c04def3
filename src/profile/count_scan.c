/*
 * src/profile/count_scan.c
 *		Plan node CdpSegmentCount: counts people in the membership index.
 *
 * It decides about the role, the purposes and the time when it runs, as the
 * functions it stands for would, and sees its query's snapshot.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "commands/explain.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/extensible.h"
#include "nodes/makefuncs.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/tlist.h"
#include "parser/parse_func.h"
#include "utils/acl.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "cdp.h"
#include "compat.h"
#include "profile/algebra.h"
#include "profile/count.h"
#include "profile/estimate.h"
#include "store.h"

typedef struct CountState
{
	CustomScanState css;
	CdpCount count;
	bool done;
} CountState;

/* -- planning -- */

static Plan *make_plan(PlannerInfo *root, RelOptInfo *rel, CustomPath *path, List *tlist,
					   List *clauses, List *custom_plans);
static Node *make_state(CustomScan *scan);
static void begin(CustomScanState *node, EState *estate, int eflags);
static TupleTableSlot *next(CustomScanState *node);
static void end(CustomScanState *node);
static void rescan(CustomScanState *node);
static void explain(CustomScanState *node, List *ancestors, ExplainState *es);

static const CustomPathMethods path_methods = {
	.CustomName = "CdpSegmentCount",
	.PlanCustomPath = make_plan,
};

static const CustomScanMethods scan_methods = {
	.CustomName = "CdpSegmentCount",
	.CreateCustomScanState = make_state,
};

static const CustomExecMethods exec_methods = {
	.CustomName = "CdpSegmentCount",
	.BeginCustomScan = begin,
	.ExecCustomScan = next,
	.EndCustomScan = end,
	.ReScanCustomScan = rescan,
	.ExplainCustomScan = explain,
};

void
cdp_count_register_scan(void)
{
	RegisterCustomScanMethods(&scan_methods);
}

/* Chunks are rows; people are looked up, or all that people allow is read. */
static Cost
cost_of(const CdpCount *count)
{
	CdpEstimate estimate;
	Relation rel;
	double chunks;
	double rows;

	if (!cdp_estimate(count->expr, &estimate))
		return cpu_tuple_cost;
	chunks = 1 + estimate.people / CDP_CORE_BITMAP_BITS;
	rel = table_open(cdp_store_relation("consent_ord"), AccessShareLock);
	rows = Max(rel->rd_rel->reltuples, 0);
	table_close(rel, AccessShareLock);
	return chunks * (estimate.steps + 1) * (cpu_tuple_cost + seq_page_cost / 4) +
		   (count->policy ? Min(rows * cpu_tuple_cost,
								estimate.people * estimate.share * random_page_cost) :
							0);
}

Path *
cdp_count_path(PlannerInfo *root pg_attribute_unused(), RelOptInfo *output, const CdpCount *count)
{
	CustomPath *path = makeNode(CustomPath);

	path->path.pathtype = T_CustomScan;
	path->path.parent = output;
	path->path.pathtarget = output->reltarget;
	path->path.rows = 1;
	path->path.startup_cost = cost_of(count);
	path->path.total_cost = path->path.startup_cost + cpu_tuple_cost;
	path->flags = CUSTOMPATH_SUPPORT_PROJECTION;
	path->custom_private = list_make4(makeString(pstrdup(count->expr)), makeInteger(count->members),
									  makeInteger(count->policy), makeInteger(count->others));
	path->methods = &path_methods;
	return &path->path;
}

/* The scan's own columns are the counts; what else there is is made of them. */
static Plan *
make_plan(PlannerInfo *root pg_attribute_unused(), RelOptInfo *rel pg_attribute_unused(),
		  CustomPath *path, List *tlist, List *clauses pg_attribute_unused(),
		  List *custom_plans pg_attribute_unused())
{
	CustomScan *scan = makeNode(CustomScan);

	scan->scan.plan.targetlist = tlist;
	scan->scan.scanrelid = 0;
	scan->flags = path->flags;
	scan->custom_scan_tlist =
		add_to_flat_tlist(NIL, pull_var_clause((Node *) tlist, PVC_INCLUDE_AGGREGATES));
	scan->custom_private = path->custom_private;
	scan->methods = &scan_methods;
	return &scan->scan.plan;
}

/* -- running -- */

static Node *
make_state(CustomScan *scan)
{
	CountState *state = (CountState *) newNode(sizeof(CountState), T_CustomScanState);

	state->css.methods = &exec_methods;
	state->count.expr = strVal(linitial(scan->custom_private));
	state->count.members = intVal(lsecond(scan->custom_private)) != 0;
	state->count.policy = intVal(lthird(scan->custom_private)) != 0;
	state->count.others = intVal(lfourth(scan->custom_private)) != 0;
	return (Node *) state;
}

static void
begin(CustomScanState *node pg_attribute_unused(), EState *estate pg_attribute_unused(),
	  int eflags pg_attribute_unused())
{
}

static void
end(CustomScanState *node pg_attribute_unused())
{
}

static void
rescan(CustomScanState *node)
{
	((CountState *) node)->done = false;
}

/* The right to call a function that the count stands for. */
static void
check_right(const char *name, int nargs, const Oid *types)
{
	List *qualified = list_make2(makeString(CDP_SCHEMA), makeString(pstrdup(name)));
	Oid funcid = LookupFuncName(qualified, nargs, types, false);

	if (!cdp_may_execute(funcid, GetUserId()))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FUNCTION, name);
}

static void
check_rights(const CdpCount *count)
{
	static const Oid test[2] = {INT4OID, TEXTOID};
	static const Oid person[1] = {INT8OID};

	if (count->policy)
		check_right("allowed", 1, test);
	if (count->members)
	{
		check_right("is_due", 1, person);
		check_right("fired_members", 0, NULL);
	}
	else if (count->expr[0] != '\0')
		check_right("in_segments", 2, test);
}

static int64
count_people(const CdpSegmentExpr *expr, CdpLens *lens)
{
	CdpAlgebra a;
	CdpCoreBitmap *people;
	int64 n = 0;

	/* time moves nobody in or out of everybody */
	cdp_algebra_open(&a, expr, 0, lens, expr->n > 0 ? cdp_due_list() : (CdpDueList){0, NULL});
	while ((people = cdp_algebra_next(&a)) != NULL)
		n += cdp_core_bitmap_count(people);
	cdp_algebra_close(&a);
	return n;
}

/* See the head of count_match.c. */
static int64
count_all(const CdpCount *count)
{
	CdpLens clear = {.clear = true};
	CdpLens lens;
	CdpSegmentExpr everybody = {0};
	CdpSegmentExpr *expr = &everybody;
	int64 n;

	check_rights(count);
	if (count->expr[0] != '\0')
	{
		expr = cdp_segment_expr_parse(count->expr, true);
		(void) cdp_segment_expr_resolve(expr, true);
	}
	if (count->members && !count->policy)
		return count_people(expr, &clear);
	cdp_lens_open(&lens, GetUserId());
	n = count_people(expr, &lens);
	if (!count->policy && !lens.clear && count->others)
		n += count_people(&everybody, &clear) - count_people(&everybody, &lens);
	return n;
}

static TupleTableSlot *
next(CustomScanState *node)
{
	CountState *state = (CountState *) node;
	TupleTableSlot *slot = node->ss.ss_ScanTupleSlot;
	ExprContext *econtext = node->ss.ps.ps_ExprContext;
	MemoryContext context;
	MemoryContext old;
	int64 n;

	if (state->done)
		return NULL;
	state->done = true;
	context = AllocSetContextCreate(CurrentMemoryContext, "cdp count of people",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	PushActiveSnapshot(node->ss.ps.state->es_snapshot);
	n = count_all(&state->count);
	PopActiveSnapshot();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);

	ExecClearTuple(slot);
	for (int i = 0; i < slot->tts_tupleDescriptor->natts; i++)
	{
		slot->tts_values[i] = Int64GetDatum(n);
		slot->tts_isnull[i] = false;
	}
	ExecStoreVirtualTuple(slot);
	if (node->ss.ps.ps_ProjInfo == NULL)
		return slot;
	ResetExprContext(econtext);
	econtext->ecxt_scantuple = slot;
	return ExecProject(node->ss.ps.ps_ProjInfo);
}

static void
explain(CustomScanState *node, List *ancestors pg_attribute_unused(), ExplainState *es)
{
	const CdpCount *count = &((CountState *) node)->count;

	ExplainPropertyText("Segments", count->expr[0] ? count->expr : "(everybody)", es);
	if (count->policy)
		ExplainPropertyText("Policy", "cdp.allowed(ord)", es);
}
