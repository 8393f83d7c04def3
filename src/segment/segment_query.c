/*
 * src/segment/segment_query.c
 *		cdp.members('vip & !churned'): the query behind an expression.
 *
 * The expression becomes a query over the public views, which then runs as
 * the caller.  So what it answers is what the caller's policies allow, by
 * construction.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "core/segexpr.h"
#include "store.h"

PG_FUNCTION_INFO_V1(cdp_segment_query);

static CdpPlan id_plan = {
	"SELECT g.segment_id FROM cdp_data.segment g WHERE g.name = $1",
	1,
	{TEXTOID},
	NULL};

static void
require_segment(const char *name)
{
	Datum args[1] = {CStringGetTextDatum(name)};

	if (cdp_store_run(&id_plan, args, NULL, true, -1) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("segment \"%s\" does not exist", name),
				 errhint("SELECT name FROM cdp.segments lists them.")));
}

/* A time as an expression that no setting changes. */
static char *
literal(TimestampTz ts)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "'2000-01-01 00:00:00Z'::timestamptz + ");
	appendStringInfo(&sql, INT64_FORMAT, ts);
	appendStringInfoString(&sql, " * interval '1 microsecond'");
	return sql.data;
}

/* Who is in a segment, now or (as_of, a literal) at a time. */
static char *
members_of(const char *name, const char *as_of)
{
	if (as_of)
		return psprintf("p.profile_id IN (SELECT m.profile_id FROM cdp.segment_history m "
						"WHERE m.segment = %s AND m.entered_at <= %s "
						"AND (m.left_at IS NULL OR m.left_at > %s))",
						quote_literal_cstr(name), as_of, as_of);
	return psprintf("p.profile_id IN (SELECT m.profile_id FROM cdp.segment_members m "
					"WHERE m.segment = %s)",
					quote_literal_cstr(name));
}

/* The condition of a postfix program, as SQL text. */
static char *
condition(const CdpCoreSegexprStep *steps, size_t n, const char *scratch, const char *as_of)
{
	char **stack = palloc(sizeof(char *) * n);
	int depth = 0;

	for (size_t i = 0; i < n; i++)
	{
		switch (steps[i].op)
		{
			case CDP_CORE_SEGEXPR_NAME:
			{
				char *name = pnstrdup(scratch + steps[i].start, steps[i].len);

				require_segment(name);
				stack[depth++] = members_of(name, as_of);
				break;
			}
			case CDP_CORE_SEGEXPR_NOT:
				stack[depth - 1] = psprintf("NOT (%s)", stack[depth - 1]);
				break;
			case CDP_CORE_SEGEXPR_AND:
			case CDP_CORE_SEGEXPR_OR:
				depth--;
				stack[depth - 1] = psprintf("(%s %s %s)", stack[depth - 1],
											steps[i].op == CDP_CORE_SEGEXPR_AND ? "AND" : "OR",
											stack[depth]);
				break;
		}
	}
	Assert(depth == 1);
	return stack[0];
}

/* cdp.segment_query(expr, what[, as_of]) */
Datum
cdp_segment_query(PG_FUNCTION_ARGS)
{
	char *expr = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char *what = text_to_cstring(PG_GETARG_TEXT_PP(1));
	char *as_of = PG_NARGS() < 3 ? NULL : literal(PG_GETARG_TIMESTAMPTZ(2));
	size_t len = strlen(expr);
	CdpCoreSegexprStep *steps = palloc(sizeof(CdpCoreSegexprStep) * CDP_MAX_SEGEXPR_TOKENS);
	char *scratch = palloc(len + 1);
	size_t n = 0;
	size_t offset = 0;
	const char *reason;
	MemoryContext context = CurrentMemoryContext;
	CdpStore store;
	char *where;
	char *result;

	if (!cdp_core_segexpr_parse(expr, len, steps, &n, scratch, &reason, &offset))
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("invalid segment expression: %s", reason),
				 errdetail("At character %d of \"%s\".",
						   pg_mbstrlen_with_len(expr, (int) Min(offset, len)) + 1, expr),
				 errhint("Combine names of segments with & | ! and parentheses: vip & "
						 "!churned.")));
	cdp_store_enter(&store);
	where = condition(steps, n, scratch, as_of);
	result = MemoryContextStrdup(context,
								 psprintf("SELECT %s FROM cdp.profiles p WHERE %s",
										  strcmp(what, "count") == 0 ? "count(*)" : "p.profile_id",
										  where));
	cdp_store_leave(&store);
	PG_RETURN_TEXT_P(cstring_to_text(result));
}
