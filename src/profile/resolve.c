/*
 * src/profile/resolve.c
 *		cdp.resolve(who): which profile is it?
 *
 * That a person exists is personal data: whoever may not see her gets the
 * answer for somebody unknown.  Roles of kind ingest are told: they
 * write her data and get the id from track() anyway.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "compat.h"
#include "consent/consent.h"
#include "identity/graph.h"
#include "identity/rules.h"
#include "identity/who.h"
#include "profile/resolve.h"
#include "store.h"

PG_FUNCTION_INFO_V1(cdp_resolve_as_of);

static CdpPlan ord_plan = {
	"SELECT s.ord FROM cdp_data.profile_state s WHERE s.profile_id = $1",
	1,
	{INT8OID},
	NULL};

/*
 * Whose a node was at a time: back from who has it, change by change.  The
 * last column is who she is now.
 */
static CdpPlan as_of_plan = {
	"WITH RECURSIVE back AS (SELECT n.profile_id, n.since, n.change FROM cdp_data.node n "
	"    WHERE n.node_id = $1 "
	"  UNION ALL SELECT h.profile_id, h.since, h.change FROM back b "
	"    CROSS JOIN LATERAL (SELECT * FROM cdp_data.node_history h "
	"      WHERE h.until_change = b.change AND $1 = ANY (h.nodes) OFFSET 0) h WHERE b.since > $2) "
	"SELECT (SELECT b.profile_id FROM back b WHERE b.since <= $2 ORDER BY b.change DESC LIMIT 1), "
	"  n.profile_id FROM cdp_data.node n WHERE n.node_id = $1",
	2,
	{INT8OID, TIMESTAMPTZOID},
	NULL};

/* Who bore a value at a time when its present bearer did not yet. */
static CdpPlan bearer_plan = {
	"SELECT r.node_id FROM cdp_data.identifier_retired r "
	"WHERE r.namespace = $1 AND r.key = $2 AND r.ended >= $3 ORDER BY r.ended LIMIT 1",
	3,
	{TEXTOID, UUIDOID, TIMESTAMPTZOID},
	NULL};

/* Profile of identifiers that all are one person's; 0 otherwise. */
int64
cdp_profile_of(const CdpWho *who)
{
	CdpGraph graph = {0};
	uint64 seed = cdp_store_installation()->seed;
	int64 id = 0;

	graph.nidents = who->n;
	graph.idents = palloc0(sizeof(CdpIdent) * who->n);
	for (int i = 0; i < who->n; i++)
	{
		cdp_rules_normalise(&who->mentions[i]);
		graph.idents[i].ns = who->mentions[i].ns;
		graph.idents[i].value = who->mentions[i].value;
		cdp_graph_key(seed, graph.idents[i].ns, graph.idents[i].value, graph.idents[i].key);
	}
	cdp_graph_find(&graph, true);
	for (int i = 0; i < who->n; i++)
	{
		int64 other = graph.idents[i].ended == DT_NOEND ? graph.idents[i].profile_id : 0;

		if (other != 0 && id != 0 && other != id)
			return 0;
		if (other != 0)
			id = other;
	}
	return id;
}

/* May the caller be told of this person? */
static bool
is_told(Oid caller, int64 profile_id)
{
	Datum args[1] = {Int64GetDatum(profile_id)};

	return cdp_store_run(&ord_plan, args, NULL, true, -1) == 1 &&
		   (cdp_consent_sees(caller, (int32) cdp_store_int64(0, 1)) ||
			cdp_consent_has_kind(caller, "ingest"));
}

CDP_WHO_OVERLOADS(cdp_resolve)
{
	CdpWho who;
	CdpStore store;
	int64 id;
	bool visible = false;

	cdp_who_read(fcinfo, 0, kind, &who);
	cdp_store_enter(&store);
	id = who.profile_id ? cdp_graph_canonical(who.profile_id, true) : cdp_profile_of(&who);
	visible = id != 0 && is_told(store.caller, id);
	cdp_store_leave(&store);
	if (!visible)
		PG_RETURN_NULL();
	PG_RETURN_INT64(id);
}

/*
 * cdp.resolve(identifier, as_of): the profile the identifier belonged to, as
 * it was known at that time.  The id may be one that was merged since.
 */
Datum
cdp_resolve_as_of(PG_FUNCTION_ARGS)
{
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char *colon = strchr(name, ':');
	TimestampTz at = PG_GETARG_TIMESTAMPTZ(1);
	CdpGraph graph = {0};
	CdpIdent ident = {0};
	CdpMention mention;
	CdpStore store;
	Datum args[3];
	int64 node;
	int64 then = 0;
	bool isnull;

	*colon = '\0';
	mention.ns = name;
	mention.value = colon + 1;
	graph.idents = &ident;
	graph.nidents = 1;
	cdp_store_enter(&store);
	cdp_rules_normalise(&mention);
	ident.ns = mention.ns;
	ident.value = mention.value;
	cdp_graph_key(cdp_store_installation()->seed, ident.ns, ident.value, ident.key);
	cdp_graph_find(&graph, true);
	node = ident.node_id;
	if (node != 0 && at <= ident.born)
	{
		args[0] = CStringGetTextDatum(ident.ns);
		args[1] = UUIDPGetDatum((pg_uuid_t *) ident.key);
		args[2] = TimestampTzGetDatum(at);
		node = cdp_store_run(&bearer_plan, args, NULL, true, -1) > 0 ? cdp_store_int64(0, 1) : 0;
	}
	else if (at > ident.ended)
		node = 0;
	if (node != 0)
	{
		args[0] = Int64GetDatum(node);
		args[1] = TimestampTzGetDatum(at);
		if (cdp_store_run(&as_of_plan, args, NULL, true, -1) == 1)
		{
			int64 now = cdp_store_int64(0, 2);

			(void) cdp_store_value(0, 1, &isnull);
			then = isnull ? 0 : cdp_store_int64(0, 1);
			/* both: who she was may be somebody else again, who does not allow it */
			if (!is_told(store.caller, now) ||
				(then != 0 && then != now &&
				 !is_told(store.caller, cdp_graph_canonical(then, true))))
				then = 0;
		}
	}
	cdp_store_leave(&store);
	if (then == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(then);
}
