/*
 * src/profile/base_session.c
 *		Sessions whose events are gone: parts of nodes, as those in session_part,
 *		made of these events alone.
 *
 * Parts join exactly (see session.h), so the parts of a node are its base's and
 * those of the events that are there, joined.  When the silence is changed,
 * those of the base are joined by the new one where it is longer; where it is
 * shorter they stay as they are.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "profile/session.h"
#include "row.h"
#include "store.h"

#define COLUMNS \
	"p.started_at, p.first_key, p.ended_at, p.events, p.source, p.first_page, p.first_page_at, " \
	"p.last_page, p.last_page_at, p.campaign, p.campaign_at"

static CdpRowOp insert_part = {
	.table = "node_base_session",
	.columns = {"node_id", "started_at", "first_key", "ended_at", "events", "source", "first_page",
				"first_page_at", "last_page", "last_page_at", "campaign", "campaign_at"},
};

/* Those that parts between $2 and $3, the silence added, may touch. */
static CdpPlan take_plan = {
	"DELETE FROM cdp_data.node_base_session p WHERE p.node_id = $1 AND p.started_at < $3 "
	"AND p.ended_at > $2 RETURNING " COLUMNS,
	3,
	{INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID},
	NULL};

static CdpPlan parts_plan = {
	"SELECT " COLUMNS " FROM cdp_data.node_base_session p WHERE p.node_id = $1",
	1,
	{INT8OID},
	NULL};

/* The rows of the last statement, with room for more parts behind them. */
static CdpSession *
take_parts(int n, int room)
{
	CdpSession *parts = MemoryContextAllocHuge(CurrentMemoryContext,
											   sizeof(CdpSession) * Max(n + room, 1));

	for (int r = 0; r < n; r++)
	{
		Datum values[CDP_SESSION_COLUMNS];
		bool nulls[CDP_SESSION_COLUMNS];

		for (int c = 0; c < CDP_SESSION_COLUMNS; c++)
			values[c] = cdp_store_value(r, c + 1, &nulls[c]);
		cdp_session_load(values, nulls, &parts[r]);
		cdp_session_copy(&parts[r]);
	}
	SPI_freetuptable(SPI_tuptable);
	return parts;
}

/* Adds parts, ascending, to the base of a node. */
void
cdp_base_place_session(int64 node, const CdpSession *parts, int n, int64 silence)
{
	Datum args[3] = {Int64GetDatum(node), TimestampTzGetDatum(parts[0].first.ts - silence)};
	TimestampTz end = DT_NOBEGIN;
	CdpSession *all;
	int known;

	for (int i = 0; i < n; i++)
		end = Max(end, parts[i].ended_at);
	args[2] = TimestampTzGetDatum(end + silence);
	known = cdp_store_run(&take_plan, args, NULL, false, -1);
	all = take_parts(known, n);
	memcpy(all + known, parts, sizeof(CdpSession) * n);
	qsort(all, known + n, sizeof(CdpSession), cdp_session_compare);
	n = cdp_session_join(all, known + n, silence);
	for (int i = 0; i < n; i++)
	{
		CdpRow row = {.values = {Int64GetDatum(node)}};

		cdp_session_store(&all[i], row.values + 1, row.nulls + 1);
		(void) cdp_row_insert(&insert_part, &row);
	}
}

/* The parts of a node's base, in the current context. */
CdpSession *
cdp_base_sessions(int64 node, int *n)
{
	Datum args[1] = {Int64GetDatum(node)};
	MemoryContext context = CurrentMemoryContext;

	*n = cdp_store_run(&parts_plan, args, NULL, false, -1);
	MemoryContextSwitchTo(context);
	return take_parts(*n, 0);
}
