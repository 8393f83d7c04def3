/*
 * src/profile/resolve.c
 *		cdp.resolve(who): which profile is it?
 *
 * That a person exists is personal data: whoever may not see her gets the
 * answer for somebody unknown.  Roles of kind ingest and app are told: they
 * write her data and get the id from track() anyway.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"

#include "compat.h"
#include "consent/consent.h"
#include "identity/graph.h"
#include "identity/who.h"
#include "store.h"

static CdpPlan ord_plan = {
	"SELECT s.ord FROM cdp_data.profile_state s WHERE s.profile_id = $1",
	1,
	{INT8OID},
	NULL};

/* Profile of identifiers that all are one person's; 0 otherwise. */
static int64
profile_of(const CdpWho *who)
{
	CdpGraph graph = {0};
	uint64 seed = cdp_store_installation()->seed;
	int64 id = 0;

	graph.nidents = who->n;
	graph.idents = palloc0(sizeof(CdpIdent) * who->n);
	for (int i = 0; i < who->n; i++)
	{
		graph.idents[i].ns = who->mentions[i].ns;
		graph.idents[i].value = who->mentions[i].value;
		cdp_graph_key(seed, graph.idents[i].ns, graph.idents[i].value, graph.idents[i].key);
	}
	cdp_graph_find(&graph, true);
	for (int i = 0; i < who->n; i++)
	{
		int64 other = graph.idents[i].profile_id;

		if (other != 0 && id != 0 && other != id)
			return 0;
		if (other != 0)
			id = other;
	}
	return id;
}

CDP_WHO_OVERLOADS(cdp_resolve)
{
	CdpWho who;
	CdpStore store;
	int64 id;
	bool visible = false;

	cdp_who_read(fcinfo, 0, kind, &who);
	cdp_store_enter(&store);
	id = who.profile_id ? cdp_graph_canonical(who.profile_id, true) : profile_of(&who);
	if (id != 0)
	{
		Datum args[1] = {Int64GetDatum(id)};

		visible = cdp_store_run(&ord_plan, args, NULL, true, -1) == 1 &&
				  (cdp_consent_sees(store.caller, (int32) cdp_store_int64(0, 1)) ||
				   cdp_consent_has_kind(store.caller, "ingest"));
	}
	cdp_store_leave(&store);
	if (!visible)
		PG_RETURN_NULL();
	PG_RETURN_INT64(id);
}
