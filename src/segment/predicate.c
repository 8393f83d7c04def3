/*
 * src/segment/predicate.c
 *		cdp.check_predicate(): may this SQL expression define a segment?
 *
 * A predicate is evaluated by the owner of the storage for every person whose
 * data changes, so it must be a function of one profile and nothing else:
 *
 *	- one boolean expression over the columns of cdp.profiles: no sub-select,
 *	  aggregate, window or set-returning function, no parameter;
 *	- only IMMUTABLE functions, operators and casts.  A STABLE one may read any
 *	  table as the owner (table_to_xml is a "stable built-in"), or depends on
 *	  the clock or a setting, and then a member would not leave when it should;
 *	- only those of the server itself and of cdp: an immutable function of
 *	  somebody else is code that would run with the owner's rights.
 *
 * What is stored is not the text but its analysed form, deparsed with every
 * name qualified: it cannot change its meaning with anybody's search_path.
 */
#include "postgres.h"

#include <ctype.h>

#include "access/transam.h"
#include "catalog/namespace.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/analyze.h"
#include "parser/parse_node.h"
#include "parser/parser.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"
#include "utils/syscache.h"

#include "cdp.h"
#include "compat.h"
#include "store.h"

#define TIME_HINT \
	"Time enters a rule through cdp.within(last_seen, '7 days'), and members leave on time; or " \
	"through metrics with a period."

#define FOREIGN_HINT \
	"A predicate runs with the rights of cdp's owner, so it runs nobody else's code."

PG_FUNCTION_INFO_V1(cdp_check_predicate);

typedef struct Walk
{
	List *strings; /* A_Const of the raw parse that are strings */
	ParseState *pstate; /* for positions in error messages */
	int location; /* of the nearest node that has one */
} Walk;

static void
refuse(Walk *walk, const char *what, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
			 errmsg("a segment's predicate cannot use %s", what),
			 hint ? errhint("%s", hint) : 0,
			 parser_errposition(walk->pstate, walk->location)));
}

/* Is it the server's own, or of an extension's schema that is ours? */
static bool
is_ours(Oid object, Oid namespace)
{
	return object < FirstNormalObjectId || namespace == get_namespace_oid(CDP_SCHEMA, false);
}

/* Refuses a function that is not IMMUTABLE or not the server's or ours. */
static bool
check_function(Oid funcid, void *context)
{
	Walk *walk = context;
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(funcid));
	Form_pg_proc proc;
	char *name;
	bool foreign;
	bool mutable;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cdp: cache lookup failed for function %u", funcid);
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	name = pstrdup(NameStr(proc->proname));
	/* these know how to tell when their answer changes */
	if (proc->pronamespace == get_namespace_oid(CDP_SCHEMA, false) &&
		(strcmp(name, "within") == 0 || strcmp(name, "in_segment") == 0))
	{
		ReleaseSysCache(tuple);
		return false;
	}
	foreign = !is_ours(funcid, proc->pronamespace);
	mutable = proc->provolatile != PROVOLATILE_IMMUTABLE;
	ReleaseSysCache(tuple);
	if (mutable)
	{
		if (strcmp(name, "now") == 0 || strstr(name, "timestamp") != NULL ||
			strstr(name, "date") != NULL || strstr(name, "time") != NULL)
			refuse(walk, psprintf("%s(): its answer depends on the clock or the time zone", name),
				   TIME_HINT " For a conversion name the zone: ts AT TIME ZONE 'Asia/Tokyo'.");
		refuse(walk, psprintf("%s(): it is not immutable", name),
			   "Only functions whose answer depends on nothing but their arguments are allowed.");
	}
	if (foreign)
		refuse(walk, psprintf("%s(): it is not a function of the server or of cdp", name),
			   FOREIGN_HINT);
	return false;
}

/*
 * An operator of somebody else is refused even where its function is not: he
 * may drop it and make another one of the same name.
 */
static void
check_operator(Walk *walk, Oid opno)
{
	HeapTuple tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(opno));
	Form_pg_operator form;
	char *name;
	bool ours;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cdp: cache lookup failed for operator %u", opno);
	form = (Form_pg_operator) GETSTRUCT(tuple);
	name = pstrdup(NameStr(form->oprname));
	ours = is_ours(opno, form->oprnamespace);
	ReleaseSysCache(tuple);
	if (!ours)
		refuse(walk, psprintf("operator %s: it is not one of the server or of cdp", name),
			   FOREIGN_HINT);
}

/* The same for types: their domains check, input and output with their code. */
static void
check_type(Walk *walk, Oid type)
{
	HeapTuple tuple;
	bool ours;

	if (!OidIsValid(type) || type < FirstNormalObjectId)
		return;
	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cdp: cache lookup failed for type %u", type);
	ours = is_ours(type, ((Form_pg_type) GETSTRUCT(tuple))->typnamespace);
	ReleaseSysCache(tuple);
	if (!ours)
		refuse(walk,
			   psprintf("type %s: it is not one of the server or of cdp", format_type_be(type)),
			   FOREIGN_HINT);
}

/* Collects the string literals of the raw parse. */
static bool
collect_strings(Node *node, void *context)
{
	List **strings = context;

	if (node == NULL)
		return false;
	if (IsA(node, A_Const) && !((A_Const *) node)->isnull &&
		nodeTag(&((A_Const *) node)->val) == T_String)
		*strings = lappend(*strings, node);
	return raw_expression_tree_walker(node, collect_strings, context);
}

/* Does the text have the word, not as a part of a longer one? */
static bool
has_word(const char *text, const char *word)
{
	size_t len = strlen(word);

	for (const char *p = text; *p; p++)
	{
		bool starts = p == text || !isalpha((unsigned char) p[-1]);

		if (starts && pg_strncasecmp(p, word, len) == 0 && !isalpha((unsigned char) p[len]))
			return true;
	}
	return false;
}

/*
 * A literal such as 'yesterday' became a constant when it was parsed: the rule
 * would mean the day it was defined, for ever.  The text of the literal is in
 * the raw parse; it matters unless it stayed a text.
 */
static void
check_constant(Walk *walk, const Const *c)
{
	static const char *const words[] = {"now", "today", "tomorrow", "yesterday"};
	char category;
	bool preferred;
	ListCell *lc;

	get_type_category_preferred(c->consttype, &category, &preferred);
	if (category == TYPCATEGORY_STRING || c->consttype == JSONBOID || c->consttype == JSONOID ||
		c->consttype == JSONPATHOID || c->consttype == TEXTARRAYOID)
		return;
	foreach(lc, walk->strings)
	{
		A_Const *literal = lfirst(lc);

		if (literal->location != c->location)
			continue;
		for (int i = 0; i < (int) lengthof(words); i++)
			if (has_word(literal->val.sval.sval, words[i]))
				refuse(walk, psprintf("the moving time '%s'", words[i]),
					   "It would mean the moment of the definition, for ever. " TIME_HINT);
	}
}

static bool
check_node(Node *node, void *context)
{
	Walk *walk = context;
	int location;

	if (node == NULL)
		return false;
	location = exprLocation(node);
	if (location >= 0)
		walk->location = location;
	if (!IsA(node, List) && !(IsA(node, Var) && ((Var *) node)->varattno <= 0))
		check_type(walk, exprType(node));
	switch (nodeTag(node))
	{
		case T_SubLink:
		case T_Query:
			refuse(walk, "a sub-select",
				   "A rule looks at one profile; bring what it needs into a trait.");
			break;
		case T_Aggref:
		case T_GroupingFunc:
		case T_WindowFunc:
			refuse(walk, "an aggregate or window function", NULL);
			break;
		case T_Param:
			refuse(walk, "a parameter", NULL);
			break;
		case T_SQLValueFunction:
			refuse(walk, "the clock or the session (CURRENT_DATE, CURRENT_USER ...)",
				   TIME_HINT);
			break;
		case T_NextValueExpr:
		case T_CurrentOfExpr:
			refuse(walk, "this expression", NULL);
			break;
		case T_CoerceViaIO:
		{
			CoerceViaIO *c = (CoerceViaIO *) node;
			Oid source = exprType((Node *) c->arg);

			/*
				 * Text to or from a date or time goes through DateStyle and
				 * TimeZone, whatever the functions' labels say.
				 */
			if (source == TIMESTAMPTZOID || source == TIMESTAMPOID || source == DATEOID ||
				c->resulttype == TIMESTAMPTZOID || c->resulttype == TIMESTAMPOID ||
				c->resulttype == DATEOID || c->resulttype == TIMEOID ||
				c->resulttype == TIMETZOID || c->resulttype == INTERVALOID)
				refuse(walk, "a cast between text and a date or time: it depends on settings",
					   "Declare the trait with type date or timestamptz.");
			break;
		}
		case T_Const:
			check_constant(walk, (Const *) node);
			break;
		case T_Var:
			if (((Var *) node)->varattno <= 0)
				refuse(walk, "a whole row or a system column", NULL);
			break;
		case T_FuncExpr:
			if (((FuncExpr *) node)->funcretset)
				refuse(walk, "a set-returning function", NULL);
			break;
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
			check_operator(walk, ((OpExpr *) node)->opno);
			break;
		case T_ScalarArrayOpExpr:
			check_operator(walk, ((ScalarArrayOpExpr *) node)->opno);
			break;
		case T_RowCompareExpr:
		{
			ListCell *lc;

			foreach(lc, ((RowCompareExpr *) node)->opnos)
				check_operator(walk, lfirst_oid(lc));
			break;
		}
		case T_CoerceToDomain:
			refuse(walk, "a domain", FOREIGN_HINT);
			break;
		default:
			break;
	}
	/* arguments first: blame now(), not the subtraction from it */
	(void) expression_tree_walker(node, check_node, context);
	if (location >= 0)
		walk->location = location;
	(void) check_functions_in_node(node, check_function, walk);
	return false;
}

/* Raises unless the parse is one bare expression. */
static SelectStmt *
parse_expression(const char *text)
{
	List *raw = raw_parser(text, RAW_PARSE_PLPGSQL_EXPR);
	SelectStmt *select = NULL;

	if (list_length(raw) == 1)
		select = (SelectStmt *) linitial_node(RawStmt, raw)->stmt;
	if (select == NULL || !IsA(select, SelectStmt) ||
		list_length(select->targetList) != 1 || select->fromClause ||
		select->whereClause || select->groupClause || select->havingClause ||
		select->windowClause || select->valuesLists || select->sortClause ||
		select->limitOffset || select->limitCount || select->lockingClause ||
		select->withClause || select->distinctClause || select->intoClause ||
		select->op != SETOP_NONE)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("a segment's predicate must be one boolean expression"),
				 errhint("Example: lifetime_value >= 100000 AND country = 'JP'.")));
	return select;
}

/*
 * Positions in errors refer to the predicate, not to the statement that the
 * client sent.
 */
static void
point_into_predicate(void *arg)
{
	int position = geterrposition();

	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery((const char *) arg);
	}
	errcontext("predicate of a segment");
}

/* cdp.check_predicate(text) */
Datum
cdp_check_predicate(PG_FUNCTION_ARGS)
{
	char *input = text_to_cstring(PG_GETARG_TEXT_PP(0));
	MemoryContext context = CurrentMemoryContext;
	CdpStore store;
	SelectStmt *select;
	RangeVar *from;
	RawStmt *raw;
	Query *query;
	TargetEntry *target;
	Walk walk;
	char *canonical;
	int level;
	Oid view;
	ErrorContextCallback callback;

	cdp_store_enter(&store);
	callback.callback = point_into_predicate;
	callback.arg = input;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	select = parse_expression(input);
	walk.strings = NIL;
	(void) raw_expression_tree_walker((Node *) select, collect_strings, &walk.strings);
	from = makeRangeVar(pstrdup(CDP_DATA_SCHEMA), pstrdup("profile_rule"), -1);
	from->alias = makeAlias("p", NIL);
	select->fromClause = list_make1(from);
	raw = makeNode(RawStmt);
	raw->stmt = (Node *) select;
	raw->stmt_location = 0;
	query = parse_analyze_fixedparams(raw, input, NULL, 0, NULL);

	walk.pstate = make_parsestate(NULL);
	walk.pstate->p_sourcetext = input;
	walk.location = -1;
	if (list_length(query->targetList) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("a segment's predicate must be one boolean expression")));
	target = linitial_node(TargetEntry, query->targetList);
	(void) check_node((Node *) target->expr, &walk);
	if (query->hasAggs || query->hasWindowFuncs || query->hasTargetSRFs ||
		query->hasSubLinks)
		refuse(&walk, "more than a plain expression", NULL);
	if (exprType((Node *) target->expr) != BOOLOID)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("a segment's predicate must be boolean, not %s",
						format_type_be(exprType((Node *) target->expr))),
				 errhint("Compare: trait = 'value'.")));
	view = cdp_store_relation("profile_rule");
	/* literals as ISO: read the same under everybody's settings */
	level = cdp_store_pin_settings();
	canonical = deparse_expression((Node *) target->expr,
								   deparse_context_for("p", view), true, false);
	AtEOXact_GUC(false, level);
	error_context_stack = callback.previous;
	canonical = MemoryContextStrdup(context, canonical);
	cdp_store_leave(&store);
	PG_RETURN_TEXT_P(cstring_to_text(canonical));
}
