/*
 * src/identity/graph_decide.c
 *		Who is one person: poses the question of core/linkage.h for a round.
 *
 * First with whole people as seeds; where these cannot tell, with all that is
 * linked to them (component.c).
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "compat.h"
#include "core/unionfind.h"
#include "identity/component.h"
#include "identity/graph_private.h"
#include "identity/rules.h"
#include "store.h"

/*
 * Identifiers of people by namespace; those that do not count without one.
 * What expired counts: seeds cannot tell when, and have it decided again.
 */
static CdpPlan counts_plan = {
	"SELECT p.profile_id, i.namespace, count(*) FROM unnest($1) p (profile_id) "
	"CROSS JOIN LATERAL (SELECT n.node_id FROM cdp_data.node n "
	"  WHERE n.profile_id = p.profile_id OFFSET 0) n "
	"LEFT JOIN LATERAL (SELECT i.namespace FROM cdp_data.identifier i "
	"  WHERE i.node_id = n.node_id AND NOT i.uncounted "
	"  UNION ALL SELECT r.namespace FROM cdp_data.identifier_retired r "
	"  WHERE r.node_id = n.node_id AND NOT r.uncounted OFFSET 0) i ON true "
	"GROUP BY p.profile_id, i.namespace",
	1,
	{INT8ARRAYOID},
	NULL};

/* Rules of the namespaces that a decision is about. */
typedef struct RuleList
{
	CdpCoreRule *rules;
	const char **names;
	int n;
	int room;
} RuleList;

static int
rule_of(RuleList *list, const char *ns)
{
	for (int i = 0; i < list->n; i++)
		if (strcmp(list->names[i], ns) == 0)
			return i;
	if (list->n == list->room)
	{
		list->room = Max(8, list->room * 2);
		list->rules = list->rules ?
						  repalloc(list->rules, sizeof(CdpCoreRule) * list->room) :
						  palloc(sizeof(CdpCoreRule) * list->room);
		list->names = list->names ? repalloc(list->names, sizeof(char *) * list->room) :
									palloc(sizeof(char *) * list->room);
	}
	list->rules[list->n] = cdp_rules_namespace(ns)->rule;
	list->names[list->n] = ns;
	return list->n++;
}

/*
 * Which of the round's raw groups bring several together.  *any: there is
 * such a group, or one of somebody to whom a link was refused.
 */
static bool *
growing_groups(CdpGraph *graph, CdpRound *round, bool *any)
{
	int n = graph->nidents;
	int *parts = palloc0(sizeof(int) * Max(n + round->nprofiles, 1));
	bool *grows = palloc0(sizeof(bool) * Max(n + round->nprofiles, 1));

	for (int i = 0; i < round->nfresh; i++)
		parts[cdp_core_uf_find(round->parent, round->fresh[i])]++;
	for (int p = 0; p < round->nprofiles; p++)
		parts[cdp_core_uf_find(round->parent, n + p)]++;
	*any = false;
	for (int i = 0; i < n + round->nprofiles; i++)
		*any |= grows[i] = parts[i] > 1;
	for (int p = 0; p < round->nprofiles; p++)
		*any |= cdp_graph_locked(graph, round->profiles[p])->contested;
	return grows;
}

/*
 * Does a link bring back somebody whose time was over?  Only who is named by
 * her profile's id: by her identifier she would be somebody new.
 */
static bool
revives(const CdpGraph *graph, const CdpLink *link)
{
	for (int i = 0; graph->by_id && i < link->n; i++)
	{
		const CdpIdent *ident = &graph->idents[link->idents[i]];
		int64 ttl = cdp_rules_namespace(ident->ns)->rule.ttl;

		if (ttl > 0 && ident->node_id != 0 && ident->stored_last != DT_NOBEGIN &&
			link->ts - ttl > ident->stored_last)
			return true;
	}
	return false;
}

/* Makes seeds of the profiles that may grow, with their counts. */
static void
make_seeds(CdpGraph *graph, CdpRound *round, const bool *grows, CdpCoreNode *nodes, RuleList *list)
{
	int n = 0;
	int rows;
	int64 *ids = palloc(sizeof(int64) * Max(round->nprofiles, 1));
	int32 *which;
	int32 *rule;
	int32 *count;
	Datum args[1];

	for (int p = 0; p < round->nprofiles; p++)
	{
		CdpLocked *locked = cdp_graph_locked(graph, round->profiles[p]);

		nodes[p].seed = true;
		nodes[p].size = 1;
		nodes[p].newest = locked->newest;
		nodes[p].contested = locked->contested;
		nodes[p].separated = locked->separated;
		if (grows[cdp_core_uf_find(round->parent, graph->nidents + p)])
			ids[n++] = round->profiles[p];
	}
	if (n > 0)
	{
		args[0] = cdp_array_int64(ids, n);
		rows = cdp_store_run(&counts_plan, args, NULL, false, -1);
	}
	else
		rows = 0;
	which = palloc(sizeof(int32) * Max(rows, 1));
	rule = palloc(sizeof(int32) * Max(rows, 1));
	count = palloc(sizeof(int32) * Max(rows, 1));
	for (int p = 0; p < round->nprofiles; p++)
		nodes[p].size = 0;
	for (int r = 0; r < rows; r++)
	{
		char *ns = cdp_store_text(r, 2);

		which[r] = cdp_graph_position(round->profiles, round->nprofiles, cdp_store_int64(r, 1));
		count[r] = (int32) cdp_store_int64(r, 3);
		nodes[which[r]].size += count[r];
		rule[r] = ns ? rule_of(list, ns) : -1;
	}
	/* the list is complete only now */
	for (int p = 0; p < round->nprofiles; p++)
	{
		nodes[p].size = Max(nodes[p].size, 1);
		nodes[p].counts = palloc0(sizeof(int32) * Max(list->n, 1));
	}
	for (int r = 0; r < rows; r++)
		if (rule[r] >= 0)
			((int32 *) nodes[which[r]].counts)[rule[r]] += count[r];
}

/* The batch as seeds, fresh identifiers and links. */
typedef struct Question
{
	CdpLinkage linkage;
	RuleList list;
	CdpCoreNode *nodes;
	CdpCoreLink *links;
	int *origin; /* per core link: index of the batch's */
	int32 *node_of; /* per ident */
} Question;

static void
pose(CdpGraph *graph, CdpRound *round, const bool *grows, Question *q)
{
	int n = 0;
	CdpLinkage *l = &q->linkage;

	memset(q, 0, sizeof(*q));
	q->nodes = palloc0(sizeof(CdpCoreNode) * Max(round->nprofiles + round->nfresh, 1));
	q->node_of = palloc(sizeof(int32) * Max(graph->nidents, 1));
	for (int i = 0; i < graph->nidents; i++)
		q->node_of[i] = -1;
	for (int i = 0; i < round->nfresh; i++)
	{
		CdpIdent *ident = &graph->idents[round->fresh[i]];

		q->node_of[round->fresh[i]] = round->nprofiles + i;
		q->nodes[round->nprofiles + i].rule = rule_of(&q->list, ident->ns);
		q->nodes[round->nprofiles + i].last_seen = ident->last_seen;
	}
	make_seeds(graph, round, grows, q->nodes, &q->list);
	q->links = palloc0(sizeof(CdpCoreLink) * Max(graph->nlinks, 1));
	q->origin = palloc(sizeof(int) * Max(graph->nlinks, 1));
	for (int k = 0; k < graph->nlinks; k++)
	{
		CdpLink *link = &graph->links[k];
		CdpCoreLink *core = &q->links[n];
		int32 *nodes;

		if (link->dead || link->n == 0)
			continue;
		/* of one alone it may matter when she was seen */
		core->mention = link->n == 1;
		if (core->mention && cdp_rules_namespace(graph->idents[link->idents[0]].ns)->rule.ttl == 0)
			continue;
		core->revives = revives(graph, link);
		nodes = palloc(sizeof(int32) * link->n);
		for (int i = 0; i < link->n; i++)
		{
			CdpIdent *ident = &graph->idents[link->idents[i]];
			bool known = link->isolated && link->isolated[i];

			if (q->node_of[link->idents[i]] < 0)
				q->node_of[link->idents[i]] =
					cdp_graph_position(round->profiles, round->nprofiles, ident->profile_id);
			for (int j = 0; j < core->n && !known; j++)
				known = nodes[j] == q->node_of[link->idents[i]];
			if (!known)
				nodes[core->n++] = q->node_of[link->idents[i]];
		}
		core->nodes = nodes;
		core->first.ts = link->ts;
		memcpy(core->first.key, link->message_key, 16);
		core->last = core->first;
		core->override = strcmp(link->rule, "override") == 0;
		q->origin[n++] = k;
	}
	cdp_rules_order(q->list.rules, q->list.names, q->list.n);
	l->nrules = q->list.n;
	l->rules = q->list.rules;
	l->nnodes = round->nprofiles + round->nfresh;
	l->nodes = q->nodes;
	l->nlinks = n;
	l->links = q->links;
	l->seeded = true;
	cdp_rules_linkage(l);
}

/* Takes the answer for the links that were not resolved with their components. */
static void
take_answer(CdpGraph *graph, CdpRound *round, Question *q)
{
	CdpLinkage *l = &q->linkage;

	for (int k = 0; k < l->nlinks; k++)
	{
		CdpLink *link = &graph->links[q->origin[k]];
		CdpCoreLink *core = &q->links[k];

		if (link->replayed)
			continue;
		link->decided = core->decided;
		link->verdict = palloc0(link->n);
		for (int i = 0; i < link->n; i++)
			for (int j = 0; j < core->n; j++)
				if (core->nodes[j] == q->node_of[link->idents[i]])
					link->verdict[i] = core->verdict[j];
		for (int i = 0; i < link->n; i++)
			if (link->isolated && link->isolated[i])
				link->verdict[i] = CDP_ISOLATED;
		for (int i = 0; i < link->n && link->refusal == NULL; i++)
			link->refusal = cdp_rules_refusal(link->verdict[i],
											  core->rule >= 0 ? q->list.names[core->rule] : NULL);
	}
	for (int p = 0; p < round->nprofiles; p++)
	{
		CdpLocked *locked;

		if (round->again && round->again[cdp_core_uf_find(round->parent, graph->nidents + p)])
			continue;
		locked = cdp_graph_locked(graph, round->profiles[p]);
		locked->newest = l->newest[l->group[p]];
		locked->contested |= l->contested[l->group[p]];
	}
}

/*
 * Resolves again what seeds cannot tell.  False: more people are concerned
 * than are locked.
 */
static bool
replay(CdpGraph *graph, CdpRound *round, Question *q)
{
	int n = graph->nidents;
	bool *again = palloc0(sizeof(bool) * Max(n + round->nprofiles, 1));
	int64 *ids = palloc(sizeof(int64) * Max(round->nprofiles, 1));
	int nids;
	CdpComponent *c;
	bool more;

	for (int p = 0; p < round->nprofiles; p++)
		if (q->nodes[p].replay)
			again[cdp_core_uf_find(round->parent, n + p)] = true;
	for (int i = 0; i < round->nfresh; i++)
		if (q->nodes[round->nprofiles + i].replay)
			again[cdp_core_uf_find(round->parent, round->fresh[i])] = true;
	do
	{
		nids = 0;
		for (int p = 0; p < round->nprofiles; p++)
			if (again[cdp_core_uf_find(round->parent, n + p)])
				ids[nids++] = round->profiles[p];
		c = cdp_component_load(ids, nids);
		elog(DEBUG1, "cdp: %d identifiers of %d people are resolved again%s", c->nnodes,
			 c->nprofiles, c->too_large ? ", too many: as they come" : "");
		/* whom the component has comes with all that the batch brings her together with */
		more = false;
		for (int p = 0; p < round->nprofiles && !c->too_large; p++)
		{
			int root = cdp_core_uf_find(round->parent, n + p);

			if (again[root] || bsearch(&round->profiles[p], c->profiles, c->nprofiles,
									   sizeof(int64), cdp_compare_int64) == NULL)
				continue;
			again[root] = more = true;
		}
	} while (more);
	if (c->too_large)
	{
		/* decided in the order of arrival: bounded, if not independent of it */
		q->linkage.as_it_comes = true;
		(void) cdp_core_linkage_run(&q->linkage);
		return true;
	}
	if (!cdp_graph_all_locked(graph, c))
		return false;
	for (int k = 0; k < graph->nlinks; k++)
	{
		CdpLink *link = &graph->links[k];

		if (link->dead || link->n == 0 ||
			!again[cdp_core_uf_find(round->parent, link->idents[0])])
			continue;
		cdp_component_add(c, graph, k);
		for (int i = 0; i < link->n; i++)
			round->settled[link->idents[i]] = true;
	}
	cdp_component_run(c);
	cdp_component_assign(c, graph);
	round->again = again;
	return true;
}

/*
 * Decides who is one person, now that all are locked.  False: the round must
 * start over with more locks.
 */
bool
cdp_graph_decide(CdpGraph *graph, CdpRound *round)
{
	Question q;
	bool any;
	bool *grows = growing_groups(graph, round, &any);

	if (!any)
		return true;
	pose(graph, round, grows, &q);
	if (cdp_core_linkage_run(&q.linkage) == CDP_LINKAGE_REPLAY && !replay(graph, round, &q))
		return false;
	take_answer(graph, round, &q);
	cdp_graph_unite(graph, round);
	return true;
}
