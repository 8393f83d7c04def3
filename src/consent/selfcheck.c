/*
 * src/consent/selfcheck.c
 *		cdp.selfcheck(): what it takes that SQL has not.
 *
 * The checks are queries on the catalogues (sql/install/61_selfcheck.sql).
 * Here are the entry, for callers who may not read what it reads, and two
 * comparisons with what ought to be there: a policy with its condition, and
 * the functions of the extension with its script.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_policy.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "parser/parse_clause.h"
#include "parser/parse_collate.h"
#include "parser/parse_node.h"
#include "parser/parse_relation.h"
#include "parser/parser.h"
#include "port.h"
#include "storage/fd.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
#include "utils/snapmgr.h"

#include "cdp.h"
#include "compat.h"
#include "consent/consent.h"
#include "consent/selfcheck.h"
#include "store.h"

PG_FUNCTION_INFO_V1(cdp_selfcheck);
PG_FUNCTION_INFO_V1(cdp_policy_is);
PG_FUNCTION_INFO_V1(cdp_install_script);

/* A script larger than this is not ours. */
#define MAX_SCRIPT (16 * 1024 * 1024)

static CdpPlan holes_plan = {
	"SELECT h.severity, h.object, h.what, h.remedy FROM cdp.find_holes() h "
	"ORDER BY CASE h.severity WHEN 'critical' THEN 1 WHEN 'high' THEN 2 ELSE 3 END, "
	"h.object COLLATE \"C\", h.what COLLATE \"C\"",
	0,
	{0},
	NULL};

/*
 * Runs a query as the owner of the storage for superusers and the kinds privacy
 * and auditor; its rows are those of the calling function.  For a superuser it
 * runs as himself, restricted: there are jobs that the owner may not read.
 */
void
cdp_steward_rows(FunctionCallInfo fcinfo, CdpPlan *plan, Datum *args, const char *nulls,
				 const char *what)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	CdpStore store;
	int rc;
	int n;
	int columns;

	InitMaterializedSRF(fcinfo, 0);
	columns = result->setDesc->natts;
	cdp_store_enter(&store);
	if (!cdp_role_is_exempt(store.caller) && !cdp_consent_has_kind(store.caller, "privacy") &&
		!cdp_consent_has_kind(store.caller, "auditor"))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("role \"%s\" may not %s", GetUserNameFromId(store.caller, false), what),
				 errhint("It takes a role of kind privacy or auditor, or a superuser.")));
	if (superuser_arg(store.caller))
		SetUserIdAndSecContext(store.caller, store.caller_sec | SECURITY_RESTRICTED_OPERATION);
	/* they look at everything, so not as the probes of kept plans are planned */
	rc = SPI_execute_with_args(plan->sql, plan->nargs, plan->argtypes, args, nulls, true, 0);
	if (rc < 0)
		elog(ERROR, "cdp: \"%s\" failed: %s", plan->sql, SPI_result_code_string(rc));
	n = (int) SPI_processed;
	for (int i = 0; i < n; i++)
	{
		Datum *values = palloc(sizeof(Datum) * columns);
		bool *isnull = palloc(sizeof(bool) * columns);

		for (int k = 0; k < columns; k++)
			values[k] = cdp_store_value(i, k + 1, &isnull[k]);
		tuplestore_putvalues(result->setResult, result->setDesc, values, isnull);
	}
	cdp_store_leave(&store);
}

/* cdp.selfcheck() */
Datum
cdp_selfcheck(PG_FUNCTION_ARGS)
{
	cdp_steward_rows(fcinfo, &holes_plan, NULL, NULL, "check the installation");
	return (Datum) 0;
}

/* The condition as CREATE POLICY would store it for this table. */
static Node *
analyse_condition(Relation rel, const char *condition)
{
	char *sql = psprintf("SELECT (%s)", condition);
	List *parsed = raw_parser(sql, RAW_PARSE_DEFAULT);
	ParseState *pstate = make_parsestate(NULL);
	ParseNamespaceItem *item;
	SelectStmt *select;
	ResTarget *target;
	Node *node;

	if (list_length(parsed) != 1 || !IsA(linitial_node(RawStmt, parsed)->stmt, SelectStmt))
		elog(ERROR, "cdp: \"%s\" is no condition", condition);
	select = (SelectStmt *) linitial_node(RawStmt, parsed)->stmt;
	if (list_length(select->targetList) != 1 || select->fromClause != NIL)
		elog(ERROR, "cdp: \"%s\" is no condition", condition);
	target = linitial_node(ResTarget, select->targetList);
	pstate->p_sourcetext = sql;
	item = addRangeTableEntryForRelation(pstate, rel, AccessShareLock, NULL, false, false);
	addNSItemToQuery(pstate, item, false, true, true);
	node = transformWhereClause(pstate, target->val, EXPR_KIND_POLICY, "POLICY");
	assign_expr_collations(pstate, node);
	free_parsestate(pstate);
	return node;
}

/*
 * cdp.policy_is(table, policy, condition): compared as the server prints both,
 * so that spelling does not matter, nor that a dump has been restored, which
 * gives names to what had none.
 */
Datum
cdp_policy_is(PG_FUNCTION_ARGS)
{
	Oid relid = PG_GETARG_OID(0);
	Name name = PG_GETARG_NAME(1);
	char *condition = text_to_cstring(PG_GETARG_TEXT_PP(2));
	Relation policies = table_open(PolicyRelationId, AccessShareLock);
	Relation rel;
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple tuple;
	char *stored = NULL;
	List *context;
	char *expected;
	bool same;

	ScanKeyInit(&keys[0], Anum_pg_policy_polrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relid));
	ScanKeyInit(&keys[1], Anum_pg_policy_polname, BTEqualStrategyNumber, F_NAMEEQ,
				NameGetDatum(name));
	scan = systable_beginscan(policies, PolicyPolrelidPolnameIndexId, true, NULL, 2, keys);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool isnull;
		Datum d = heap_getattr(tuple, Anum_pg_policy_polqual, RelationGetDescr(policies),
							   &isnull);

		if (!isnull)
			stored = TextDatumGetCString(d);
	}
	systable_endscan(scan);
	table_close(policies, AccessShareLock);
	if (stored == NULL)
		PG_RETURN_BOOL(false);
	rel = table_open(relid, AccessShareLock);
	context = deparse_context_for(RelationGetRelationName(rel), relid);
	expected = deparse_expression(analyse_condition(rel, condition), context, false, false);
	same = strcmp(deparse_expression(stringToNode(stored), context, false, false), expected) == 0;
	table_close(rel, AccessShareLock);
	PG_RETURN_BOOL(same);
}

/* cdp.install_script(): text of the script that CREATE EXTENSION ran, or NULL. */
Datum
cdp_install_script(PG_FUNCTION_ARGS)
{
	char share[MAXPGPATH];
	char path[MAXPGPATH];
	FILE *file;
	char *content;
	size_t n;

	(void) fcinfo;
	get_share_path(my_exec_path, share);
	snprintf(path, sizeof(path), "%s/extension/cdp--%s.sql", share, CDP_VERSION);
	file = AllocateFile(path, PG_BINARY_R);
	if (file == NULL)
		PG_RETURN_NULL();
	content = palloc(MAX_SCRIPT);
	n = fread(content, 1, MAX_SCRIPT, file);
	FreeFile(file);
	if (n == 0 || n == MAX_SCRIPT || memchr(content, '\0', n) != NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text_with_len(content, n));
}
