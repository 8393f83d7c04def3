/*
 * src/segment/rule.c
 *		Rules as defined; see rule.h.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/analyze.h"
#include "parser/parser.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "cdp.h"
#include "compat.h"
#include "segment/json.h"
#include "segment/rule.h"
#include "store.h"

static CdpRules *config; /* the latest */
static CdpRules *earlier; /* of a snapshot that does not show the latest */

typedef struct ColumnName
{
	char name[NAMEDATALEN];
	int index;
} ColumnName;

/* The column of this name, or -1. */
int
cdp_rules_column(const CdpRules *rules, const char *name)
{
	char key[NAMEDATALEN];
	ColumnName *entry;

	if (strlen(name) >= NAMEDATALEN)
		return -1;
	strlcpy(key, name, NAMEDATALEN);
	entry = hash_search(rules->column_names, key, HASH_FIND, NULL);
	return entry ? entry->index : -1;
}

static AttrNumber
attribute_of(TupleDesc desc, const char *name)
{
	for (int i = 0; i < desc->natts; i++)
		if (!TupleDescAttr(desc, i)->attisdropped &&
			strcmp(NameStr(TupleDescAttr(desc, i)->attname), name) == 0)
			return (AttrNumber) (i + 1);
	return InvalidAttrNumber;
}

/* Where the columns that rules may name come from. */
static void
load_columns(CdpRules *rules)
{
	Relation view = table_open(cdp_store_relation("profile_rule"), AccessShareLock);
	Relation state = table_open(cdp_store_relation("profile_state"), AccessShareLock);
	Relation profile = table_open(cdp_store_relation("profile"), AccessShareLock);
	TupleDesc desc = RelationGetDescr(view);
	HASHCTL ctl = {0};

	ctl.keysize = NAMEDATALEN;
	ctl.entrysize = sizeof(ColumnName);
	ctl.hcxt = rules->context;
	rules->column_names = hash_create("cdp columns of rules", desc->natts, &ctl,
									  HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	rules->ncolumns = desc->natts;
	rules->columns = palloc0(sizeof(CdpRuleColumn) * desc->natts);
	for (int i = 0; i < desc->natts; i++)
	{
		CdpRuleColumn *c = &rules->columns[i];
		const char *name = NameStr(TupleDescAttr(desc, i)->attname);
		ColumnName *entry = hash_search(rules->column_names, name, HASH_ENTER, NULL);

		entry->index = i;
		c->name = pstrdup(name);
		c->type = TupleDescAttr(desc, i)->atttypid;
		c->place = CDP_COLUMN_STATE;
		c->attnum = attribute_of(RelationGetDescr(state), name);
		if (c->attnum == InvalidAttrNumber)
		{
			c->place = CDP_COLUMN_PROFILE;
			c->attnum = attribute_of(RelationGetDescr(profile), name);
		}
		if (c->attnum != InvalidAttrNumber)
			continue;
		c->source = cdp_column_find(name, &c->definition, &c->timed);
		/* a source that read its configuration left us in a context of its own */
		MemoryContextSwitchTo(rules->context);
		c->place = c->source ? CDP_COLUMN_COMPUTED : CDP_COLUMN_NOWHERE;
	}
	table_close(profile, AccessShareLock);
	table_close(state, AccessShareLock);
	table_close(view, AccessShareLock);
}

/* Column of a field of a document: undeclared traits are in the one for all. */
static int
column_of_field(const CdpRules *rules, const char *field)
{
	int column = cdp_rules_column(rules, field);

	return column >= 0 ? column : cdp_rules_column(rules, "traits");
}

static List *
text_list(Datum array)
{
	Datum *elems;
	int n;
	List *list = NIL;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT, &elems, NULL,
					  &n);
	for (int i = 0; i < n; i++)
		list = lappend(list, TextDatumGetCString(elems[i]));
	return list;
}

static void
name_columns(CdpRules *rules, CdpRule *rule, int index)
{
	ListCell *lc;

	foreach(lc, rule->fields)
	{
		int column = column_of_field(rules, lfirst(lc));

		if (column < 0)
			continue;
		rule->columns = bms_add_member(rule->columns, column);
		if (index >= 0)
			rules->columns[column].rules = bms_add_member(rules->columns[column].rules, index);
		rule->timed |= rules->columns[column].timed;
	}
}

int
cdp_rules_find(const CdpRules *rules, int32 id)
{
	int low = 0;
	int high = rules->n - 1;

	while (low <= high)
	{
		int mid = (low + high) / 2;

		if (rules->rules[mid].id == id)
			return mid;
		if (rules->rules[mid].id < id)
			low = mid + 1;
		else
			high = mid - 1;
	}
	return -1;
}

/* Puts a rule after those that it uses; definitions have no circles. */
static void
order_rule(CdpRules *rules, int i, bool *placed, int *n)
{
	CdpRule *rule = &rules->rules[i];
	int other = -1;

	if (placed[i])
		return;
	check_stack_depth();
	placed[i] = true;
	while ((other = bms_next_member(rule->uses, other)) >= 0)
	{
		order_rule(rules, other, placed, n);
		rule->timed |= rules->rules[other].timed;
	}
	rules->order[(*n)++] = i;
}

static void
load_rule(CdpRules *rules, int i)
{
	CdpRule *rule = &rules->rules[i];
	bool isnull;
	Datum d;

	rule->id = (int32) cdp_store_int64(i, 1);
	rule->name = cdp_store_text(i, 2);
	rule->predicate = cdp_store_text(i, 3);
	d = cdp_store_value(i, 4, &isnull);
	if (!isnull)
		rule->json = DatumGetJsonbPCopy(d);
	rule->fields = text_list(cdp_store_value(i, 5, &isnull));
	rule->timed = DatumGetBool(cdp_store_value(i, 7, &isnull));
	rule->segment_id = (int32) cdp_store_int64(i, 8);
	rule->task_id = (int32) cdp_store_int64(i, 9);
	rule->list_id = (int32) cdp_store_int64(i, 10);
	rules->lists |= rule->list_id != 0;
	rule->answer = (AttrNumber) (rules->ncolumns + i + 1);
	name_columns(rules, rule, i);
}

int
cdp_rules_of(const CdpRules *rules, int32 segment_id)
{
	for (int i = 0; i < rules->n; i++)
		if (rules->rules[i].segment_id == segment_id && rules->rules[i].task_id == 0)
			return i;
	return -1;
}

int
cdp_rule_used(const CdpRules *rules, const CdpRule *rule, const char *name, int len)
{
	int other = -1;

	while ((other = bms_next_member(rule->uses, other)) >= 0)
		if ((int) strlen(rules->rules[other].name) == len &&
			memcmp(rules->rules[other].name, name, len) == 0)
			return other;
	return -1;
}

/* What a rule of a task means by a segment: what the task builds of it, if it does. */
static int
rule_meant(const CdpRules *rules, int32 segment_id, int32 task_id)
{
	for (int i = 0; task_id != 0 && i < rules->n; i++)
		if (rules->rules[i].segment_id == segment_id && rules->rules[i].task_id == task_id)
			return i;
	return cdp_rules_of(rules, segment_id);
}

/* Rules that this one needs; those disabled are nobody's. */
static void
load_uses(CdpRules *rules, int i)
{
	bool isnull;
	ArrayType *array = DatumGetArrayTypeP(cdp_store_value(i, 6, &isnull));
	const int32 *ids = (const int32 *) ARR_DATA_PTR(array);
	int n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));

	for (int k = 0; k < n; k++)
	{
		int other = rule_meant(rules, ids[k], rules->rules[i].task_id);

		if (other >= 0)
			rules->rules[i].uses = bms_add_member(rules->rules[i].uses, other);
	}
}

/* The row that a rule is asked of. */
static void
describe_row(CdpRules *rules)
{
	TupleDesc desc = CreateTemplateTupleDesc(rules->ncolumns + rules->n);
	Relation view = table_open(cdp_store_relation("profile_rule"), AccessShareLock);

	for (int i = 0; i < rules->ncolumns; i++)
		TupleDescCopyEntry(desc, (AttrNumber) (i + 1), RelationGetDescr(view),
						   (AttrNumber) (i + 1));
	for (int i = 0; i < rules->n; i++)
		TupleDescInitEntry(desc, (AttrNumber) (rules->ncolumns + i + 1), "answer", BOOLOID, -1, 0);
	table_close(view, AccessShareLock);
	rules->nanswers = rules->n;
	rules->desc = desc;
}

static void
arrange(CdpRules *rules)
{
	bool *placed = palloc0(sizeof(bool) * Max(rules->n, 1));
	int n = 0;

	rules->order = palloc(sizeof(int) * Max(rules->n, 1));
	for (int i = 0; i < rules->n; i++)
		order_rule(rules, i, placed, &n);
	/* those at the end first: what needs them is complete when it is handed on */
	for (int k = rules->n - 1; k >= 0; k--)
	{
		int i = rules->order[k];
		int other = -1;
		CdpRule *rule = &rules->rules[i];

		while ((other = bms_next_member(rule->uses, other)) >= 0)
		{
			CdpRule *used = &rules->rules[other];

			used->dependents = bms_add_member(used->dependents, i);
			used->dependents = bms_add_members(used->dependents, rule->dependents);
		}
		rules->all = bms_add_member(rules->all, i);
		if (rule->task_id == 0)
			rules->in_force = bms_add_member(rules->in_force, i);
		if (rule->timed)
			rules->timed = bms_add_member(rules->timed, i);
	}
}

static const char *const rules_sql =
	"SELECT g.set_id, g.name, g.predicate, g.rule, g.columns, g.uses, g.timed, "
	"  g.segment_id, 0, coalesce(g.list_id, 0) FROM cdp_data.segment g "
	"WHERE g.state = 'active' "
	"UNION ALL SELECT b.set_id, g.name, b.predicate, b.rule, b.columns, b.uses, b.timed, "
	"  b.segment_id, b.task_id, coalesce(b.list_id, 0) FROM cdp_data.segment_build b "
	"JOIN cdp_data.segment g ON g.segment_id = b.segment_id ORDER BY 1";

/*
 * The rules that the latest snapshot shows, or the active one.  What was kept
 * before goes when nobody holds a part of it any more.
 */
static void
read_rules(CdpRules **kept, bool latest)
{
	uint64 generation = cdp_store_generation();
	CdpResult saved = cdp_store_save_result();
	MemoryContext context = AllocSetContextCreate(
		CurrentMemoryContext, "cdp rules of segments", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	CdpRules *rules = palloc0(sizeof(CdpRules));
	int n;

	rules->context = context;
	rules->generation = generation;
	rules->provisional = IsInParallelMode();
	load_columns(rules);
	/* see cdp_store_run_latest() */
	PushActiveSnapshot(latest && !IsInParallelMode() ? GetLatestSnapshot() : GetActiveSnapshot());
	cdp_stamp_set(&rules->shown, GetActiveSnapshot());
	n = cdp_store_run_shown(rules_sql);
	PopActiveSnapshot();
	/* that left us in a context of its own */
	MemoryContextSwitchTo(context);
	rules->rules = palloc0(sizeof(CdpRule) * Max(n, 1));
	rules->n = n;
	for (int i = 0; i < n; i++)
		load_rule(rules, i);
	for (int i = 0; i < n; i++)
		load_uses(rules, i);
	arrange(rules);
	describe_row(rules);
	MemoryContextSwitchTo(old);
	cdp_store_restore_result(saved);
	if (*kept)
		cdp_store_retire((*kept)->context);
	*kept = rules;
	MemoryContextSetParent(context, CacheMemoryContext);
}

static bool
is_current(void)
{
	return config && config->generation == cdp_store_generation() &&
		   (!config->provisional || IsInParallelMode());
}

CdpRules *
cdp_rules_load(void)
{
	while (!is_current())
		read_rules(&config, true);
	return config;
}

/*
 * Does the snapshot show what was read by that of the stamp, and nothing less?
 * Whoever ends a transaction raises xmax, or is not among those running any more.
 */
static bool
is_as_late(const CdpStamp *stamp, Snapshot snapshot)
{
	if (stamp->transaction == cdp_my_lxid() && snapshot->curcid < stamp->curcid)
		return false;
	return TransactionIdFollows(snapshot->xmax, stamp->xmax) ||
		   (snapshot->xmax == stamp->xmax && snapshot->xcnt <= stamp->xcnt &&
			snapshot->subxcnt <= stamp->subxcnt);
}

/*
 * A redefinition that the snapshot does not show, as that of a REPEATABLE READ
 * transaction may not, has its members under a number that is none there.
 */
static CdpRules *
find_shown(void)
{
	Snapshot snapshot = GetActiveSnapshot();

	if (is_current() && is_as_late(&config->shown, snapshot))
		return config;
	if (earlier && earlier->generation == cdp_store_generation() &&
		cdp_stamp_is(&earlier->shown, snapshot))
		return earlier;
	return NULL;
}

bool
cdp_rules_are_shown(void)
{
	return find_shown() != NULL;
}

CdpRules *
cdp_rules_shown(void)
{
	CdpRules *rules = find_shown();

	if (rules)
		return rules;
	(void) cdp_rules_load();
	while ((rules = find_shown()) == NULL)
		read_rules(&earlier, false);
	return rules;
}

/* Errors that are the rule's fault, or its data's; others are not ours to swallow. */
bool
cdp_rule_is_error(int sqlstate)
{
	switch (ERRCODE_TO_CATEGORY(sqlstate))
	{
		case ERRCODE_DATA_EXCEPTION:
		case ERRCODE_CARDINALITY_VIOLATION:
		case ERRCODE_PROGRAM_LIMIT_EXCEEDED: /* repeat(x, 2000000000) */
		case ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION:
		case ERRCODE_FEATURE_NOT_SUPPORTED:
			return true;
		default:
			return false;
	}
}

/* Raises unless the parse is one bare expression. */
static SelectStmt *
parse_expression(const char *text)
{
	List *raw = raw_parser(text, RAW_PARSE_PLPGSQL_EXPR);
	SelectStmt *select = NULL;

	if (list_length(raw) == 1)
		select = (SelectStmt *) linitial_node(RawStmt, raw)->stmt;
	if (select == NULL || !IsA(select, SelectStmt) || list_length(select->targetList) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("a segment's predicate must be one boolean expression")));
	return select;
}

/* The expression of a predicate that was checked when it was defined. */
Node *
cdp_predicate_analyse(const char *text)
{
	SelectStmt *select = parse_expression(text);
	RangeVar *from = makeRangeVar(pstrdup(CDP_DATA_SCHEMA), pstrdup("profile_rule"), -1);
	RawStmt *raw = makeNode(RawStmt);
	Query *query;

	from->alias = makeAlias("p", NIL);
	select->fromClause = list_make1(from);
	raw->stmt = (Node *) select;
	query = parse_analyze_fixedparams(raw, text, NULL, 0, NULL);
	return (Node *) linitial_node(TargetEntry, query->targetList)->expr;
}

char *
cdp_predicate_needs(Node *node)
{
	FuncExpr *call = (FuncExpr *) node;
	Const *name;

	if (node == NULL || !IsA(node, FuncExpr) || list_length(call->args) != 1 ||
		get_func_namespace(call->funcid) != get_namespace_oid(CDP_SCHEMA, false) ||
		strcmp(get_func_name(call->funcid), "in_segment") != 0)
		return NULL;
	name = linitial(call->args);
	if (!IsA(name, Const) || name->constisnull)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("cdp.in_segment() takes the name of a segment as a literal"),
				 errhint("Example: cdp.in_segment('vip').")));
	return TextDatumGetCString(name->constvalue);
}

/* A rule being compiled. */
typedef struct Compiling
{
	const CdpRules *rules;
	const CdpRule *rule;
} Compiling;

/* Answers of other rules are columns of the row. */
static Node *
put_answers(Node *node, void *context)
{
	const Compiling *c = context;
	char *name = cdp_predicate_needs(node);
	int other;

	if (node == NULL)
		return NULL;
	if (name == NULL)
		return expression_tree_mutator(node, put_answers, context);
	other = cdp_rule_used(c->rules, c->rule, name, (int) strlen(name));
	if (other < 0)
		return makeBoolConst(false, false); /* it is disabled */
	return (Node *) makeVar(1, c->rules->rules[other].answer, BOOLOID, -1, InvalidOid, 0);
}

static bool
is_foreign_code(Oid funcid, void *context pg_attribute_unused())
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(funcid));
	bool foreign = true;

	if (HeapTupleIsValid(tuple))
	{
		Oid language = ((Form_pg_proc) GETSTRUCT(tuple))->prolang;

		foreign = language != INTERNALlanguageId && language != ClanguageId;
		ReleaseSysCache(tuple);
	}
	return foreign;
}

static bool
runs_foreign_code(Node *node, void *context)
{
	return node != NULL && (check_functions_in_node(node, is_foreign_code, context) ||
							expression_tree_walker(node, runs_foreign_code, context));
}

static bool
is_time_field(const char *name, int len, void *arg)
{
	const CdpRules *rules = arg;
	int column = cdp_rules_column(rules, pnstrdup(name, len));

	return column >= 0 && rules->columns[column].type == TIMESTAMPTZOID;
}

/* Makes the rule ready to be asked. */
void
cdp_rule_compile(CdpRules *rules, CdpRule *rule)
{
	MemoryContext old;

	if (rule->compiled || rule->list_id != 0)
		return;
	if (rule->context == NULL)
		rule->context = AllocSetContextCreate(rules->context, "cdp rule", ALLOCSET_SMALL_SIZES);
	MemoryContextReset(rule->context);
	old = MemoryContextSwitchTo(rule->context);
	if (rule->json)
		rule->condition =
			cdp_condition_compile_timed(cdp_json_times(rule->json, is_time_field, rules));
	else
	{
		MemoryContext work = AllocSetContextCreate(CurrentMemoryContext, "cdp rule parse",
												   ALLOCSET_DEFAULT_SIZES);
		Compiling compiling = {rules, rule};
		Node *node;

		MemoryContextSwitchTo(work);
		node = put_answers(cdp_predicate_analyse(rule->predicate), &compiling);
		node = (Node *) expression_planner((Expr *) node);
		rule->guarded = runs_foreign_code(node, NULL);
		MemoryContextSwitchTo(rule->context);
		rule->state = ExecInitExpr((Expr *) copyObject(node), NULL);
		MemoryContextDelete(work);
	}
	MemoryContextSwitchTo(old);
	rule->compiled = true;
}

/* Forgets what was compiled: after an error its parts may be in any state. */
void
cdp_rule_reset(CdpRule *rule)
{
	rule->compiled = false;
	rule->state = NULL;
	rule->condition = NULL;
}

/* A rule that is nobody's definition, in the current context. */
CdpRule *
cdp_rule_temporary(CdpRules *rules, const char *predicate, const Jsonb *json)
{
	CdpRule *rule = palloc0(sizeof(CdpRule));
	CdpRuleNeeds needs = {0};
	ListCell *lc;

	rule->predicate = predicate;
	rule->json = (Jsonb *) json;
	rule->context = AllocSetContextCreate(CurrentMemoryContext, "cdp rule", ALLOCSET_SMALL_SIZES);
	cdp_rule_needs(predicate, json, &needs);
	rule->fields = needs.columns;
	rule->timed = needs.timed;
	name_columns(rules, rule, -1);
	foreach(lc, needs.segments)
		for (int i = 0; i < rules->n; i++)
			if (rules->rules[i].task_id == 0 && strcmp(rules->rules[i].name, lfirst(lc)) == 0)
				rule->uses = bms_add_member(rule->uses, i);
	return rule;
}
