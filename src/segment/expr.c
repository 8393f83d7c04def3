/*
 * src/segment/expr.c
 *		Boolean expressions of segments (see expr.h).
 *
 * Names are looked up by index and without a statement: a query asks for a
 * few of them, perhaps at each of its rows.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "index_scan.h"
#include "segment/expr.h"
#include "store.h"

CdpSegmentExpr *
cdp_segment_expr_parse(const char *text, bool raise)
{
	size_t len = strlen(text);
	CdpSegmentExpr *expr = palloc0(sizeof(CdpSegmentExpr));
	CdpCoreSegexprStep *steps = palloc(sizeof(CdpCoreSegexprStep) * CDP_MAX_SEGEXPR_TOKENS);
	char *scratch = palloc(len + 1);
	const char *reason;
	size_t offset = 0;

	if (!cdp_core_segexpr_parse(text, len, steps, &expr->n, scratch, &reason, &offset))
	{
		if (!raise)
			return NULL;
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("invalid segment expression: %s", reason),
				 errdetail("At character %d of \"%s\".",
						   pg_mbstrlen_with_len(text, (int) Min(offset, len)) + 1, text),
				 errhint("Combine names of segments with & | ! and parentheses: vip & "
						 "!churned.")));
	}
	expr->steps = palloc(sizeof(CdpCoreSegexprStep) * expr->n);
	memcpy(expr->steps, steps, sizeof(CdpCoreSegexprStep) * expr->n);
	expr->names = palloc0(sizeof(char *) * expr->n);
	expr->ids = palloc0(sizeof(int32) * expr->n);
	for (size_t i = 0; i < expr->n; i++)
		if (steps[i].op == CDP_CORE_SEGEXPR_NAME)
			expr->names[i] = pnstrdup(scratch + steps[i].start, steps[i].len);
	pfree(steps);
	pfree(scratch);
	return expr;
}

bool
cdp_segment_expr_resolve(CdpSegmentExpr *expr, bool raise)
{
	bool building;

	expr->building = NULL;
	for (size_t i = 0; i < expr->n; i++)
	{
		if (expr->names[i] == NULL)
			continue;
		expr->ids[i] = cdp_segment_find(expr->names[i], &building);
		if (building && expr->building == NULL)
			expr->building = expr->names[i];
		if (expr->ids[i] >= 0)
			continue;
		if (!raise)
			return false;
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("segment \"%s\" does not exist", expr->names[i]),
				 errhint("SELECT name FROM cdp.segments lists them.")));
	}
	return true;
}

bool
cdp_segment_expr_holds(const CdpSegmentExpr *expr, bool (*is_in)(const char *name, void *arg),
					   void *arg)
{
	bool few[32];
	bool *stack = expr->n < lengthof(few) ? few : palloc(sizeof(bool) * (expr->n + 1));
	int depth = 0;
	bool result;

	stack[0] = true;
	for (size_t i = 0; i < expr->n; i++)
	{
		switch (expr->steps[i].op)
		{
			case CDP_CORE_SEGEXPR_NAME:
				stack[depth++] = is_in != NULL && is_in(expr->names[i], arg);
				break;
			case CDP_CORE_SEGEXPR_NOT:
				stack[depth - 1] = !stack[depth - 1];
				break;
			case CDP_CORE_SEGEXPR_AND:
				depth--;
				stack[depth - 1] &= stack[depth];
				break;
			case CDP_CORE_SEGEXPR_OR:
				depth--;
				stack[depth - 1] |= stack[depth];
				break;
		}
	}
	result = stack[0];
	if (stack != few)
		pfree(stack);
	return result;
}

char *
cdp_segment_expr_quote(const char *name)
{
	StringInfoData quoted;

	if (name[0] != '\0' && strpbrk(name, " \t\n\v\f\r!&|()\"") == NULL &&
		pg_strcasecmp(name, "and") != 0 && pg_strcasecmp(name, "or") != 0 &&
		pg_strcasecmp(name, "not") != 0)
		return pstrdup(name);
	initStringInfo(&quoted);
	appendStringInfoChar(&quoted, '"');
	for (const char *c = name; *c; c++)
	{
		if (*c == '"')
			appendStringInfoChar(&quoted, '"');
		appendStringInfoChar(&quoted, *c);
	}
	appendStringInfoChar(&quoted, '"');
	return quoted.data;
}

/* What is looked up of a segment. */
typedef struct Known
{
	int32 set_id;
	bool building;
	char *name;
} Known;

/* The segment that an index has under a key. */
static bool
find(const char *index_name, RegProcedure equal, Datum key, Known *known)
{
	Oid relid = cdp_store_relation("segment");
	Relation table = table_open(relid, AccessShareLock);
	Relation index = index_open(cdp_store_relation(index_name), AccessShareLock);
	TupleTableSlot *slot = table_slot_create(table, NULL);
	IndexScanDesc scan = cdp_index_beginscan(table, index, GetActiveSnapshot(), 1);
	ScanKeyData scankey;
	bool found;
	bool isnull;

	/* of collation C, as the column is */
	ScanKeyInit(&scankey, 1, BTEqualStrategyNumber, equal, key);
	index_rescan(scan, &scankey, 1, NULL, 0);
	found = cdp_index_next(scan, ForwardScanDirection, slot);
	if (found)
	{
		char *state =
			TextDatumGetCString(slot_getattr(slot, get_attnum(relid, "state"), &isnull));

		known->set_id = DatumGetInt32(slot_getattr(slot, get_attnum(relid, "set_id"), &isnull));
		known->name = TextDatumGetCString(slot_getattr(slot, get_attnum(relid, "name"), &isnull));
		known->building = strcmp(state, "building") == 0;
		pfree(state);
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, AccessShareLock);
	table_close(table, AccessShareLock);
	return found;
}

int32
cdp_segment_find(const char *name, bool *building)
{
	Known known = {0};
	bool found = find("segment_name_key", F_TEXTEQ, CStringGetTextDatum(name), &known);

	*building = known.building;
	return found ? known.set_id : -1;
}

char *
cdp_segment_name(int32 set_id)
{
	Known known;

	return find("segment_set_id_key", F_INT4EQ, Int32GetDatum(set_id), &known) ? known.name : NULL;
}

void
cdp_segment_raise_building(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("segment \"%s\" is being built", name),
			 errdetail("Its members are not all found yet."),
			 errhint("CALL cdp.maintain() goes on with it; cdp.tasks says how far it is.")));
}
