/*
 * src/profile/session_check.c
 *		Sessions and their events: compared, made anew for people who differ,
 *		made in the background for what was known before.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "profile/session.h"
#include "store.h"

static CdpPlan nodes_plan = {
	"SELECT n.node_id, n.profile_id FROM cdp_data.node n WHERE n.profile_id = ANY ($1)",
	1,
	{INT8ARRAYOID},
	NULL};

static CdpPlan parts_plan = {
	"SELECT p.started_at, p.first_key, p.ended_at, p.events, p.source, p.first_page, "
	"  p.first_page_at, p.last_page, p.last_page_at, p.campaign, p.campaign_at "
	"FROM cdp_data.session_part p WHERE p.node_id = $1 ORDER BY p.since",
	1,
	{INT8OID},
	NULL};

/* The nodes of these people, and whose they are. */
static int
read_nodes(const int64 *profiles, int n, bool read_only, int64 **nodes, int64 **people)
{
	Datum args[1] = {cdp_array_int64(profiles, n)};
	int rows = cdp_store_run(&nodes_plan, args, NULL, read_only, -1);

	*nodes = palloc(sizeof(int64) * Max(rows, 1));
	*people = palloc(sizeof(int64) * Max(rows, 1));
	for (int r = 0; r < rows; r++)
	{
		(*nodes)[r] = cdp_store_int64(r, 1);
		(*people)[r] = cdp_store_int64(r, 2);
	}
	return rows;
}

static CdpSession *
read_parts(int64 node, int *n)
{
	Datum args[1] = {Int64GetDatum(node)};
	CdpSession *parts;

	*n = cdp_store_run(&parts_plan, args, NULL, true, -1);
	parts = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(CdpSession) * Max(*n, 1));
	for (int r = 0; r < *n; r++)
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

/* A part in words, with all that is kept of it. */
static char *
describe(const CdpSession *part)
{
	static const char *const words[CDP_SESSION_FACTS] = {"first page", "last page", "campaign"};
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfo(&out, "%s", timestamptz_to_str(part->first.ts));
	appendStringInfo(&out, " to %s, " INT64_FORMAT " events, source %s",
					 timestamptz_to_str(part->ended_at), part->events,
					 TextDatumGetCString(part->source));
	for (int f = 0; f < CDP_SESSION_FACTS; f++)
		if (part->facts[f].value)
			appendStringInfo(&out, ", %s %s", words[f],
							 OidOutputFunctionCall(f == CDP_SESSION_CAMPAIGN ? F_ARRAY_OUT :
																			   F_TEXTOUT,
												   part->facts[f].value));
	return out.data;
}

static bool
same_mark(const CdpSessionMark *a, const CdpSessionMark *b)
{
	return a->ts == b->ts && memcmp(a->key, b->key, 16) == 0;
}

static bool
same_part(const CdpSession *a, const CdpSession *b)
{
	for (int f = 0; f < CDP_SESSION_FACTS; f++)
		if ((a->facts[f].value != 0) != (b->facts[f].value != 0) ||
			(a->facts[f].value != 0 && !same_mark(&a->facts[f].at, &b->facts[f].at)))
			return false;
	return same_mark(&a->first, &b->first) && strcmp(describe(a), describe(b)) == 0;
}

static void
check_node(int64 node, int64 profile_id, CdpFound *to)
{
	int nlive;
	int nmust;
	CdpSession *live = read_parts(node, &nlive);
	CdpSession *must = cdp_session_gather(node, &nmust);

	for (int i = 0; i < Max(nlive, nmust); i++)
	{
		if (i < nlive && i < nmust && same_part(&live[i], &must[i]))
			continue;
		/* one is enough: what follows is shifted */
		cdp_found(to, profile_id, "session", i < nlive ? describe(&live[i]) : NULL,
				  i < nmust ? describe(&must[i]) : NULL);
		return;
	}
}

/* Compares the sessions that are kept of these people with their events. */
void
cdp_session_check(const int64 *profiles, int n, CdpFound *to)
{
	const CdpSessionRule *rule = cdp_session_rule();
	MemoryContext work;
	int64 *nodes;
	int64 *people;

	if (!rule->on || !rule->ready)
		return;
	n = read_nodes(profiles, n, true, &nodes, &people);
	work = AllocSetContextCreate(CurrentMemoryContext, "cdp session check",
								 ALLOCSET_DEFAULT_SIZES);
	for (int i = 0; i < n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(work);

		CHECK_FOR_INTERRUPTS();
		check_node(nodes[i], people[i], to);
		MemoryContextSwitchTo(old);
		MemoryContextReset(work);
	}
	MemoryContextDelete(work);
}

/* Makes the sessions of these people anew; the caller holds their locks. */
void
cdp_session_repair(const int64 *profiles, int n)
{
	int64 *nodes;
	int64 *people;

	if (!cdp_session_rule()->on)
		return;
	n = read_nodes(profiles, n, false, &nodes, &people);
	cdp_session_rebuild(nodes, n, 0);
}

/* Makes those of some nodes; cdp.ready_step() says when all are made. */
bool
cdp_session_backfill_step(void)
{
	return cdp_nodes_backfill_step("session", cdp_session_rebuild, NULL);
}
