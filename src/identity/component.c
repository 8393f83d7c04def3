/*
 * src/identity/component.c
 *		Resolves everything linked to some people again (see graph.h).
 *
 * A component is closed under evidence: with a node come all nodes of its
 * person and all nodes that a link, kept or refused, ties to them.  So the
 * outcome cannot depend on anything outside, and nothing outside on it.
 *
 * Ids are stable: a person goes on as the group that has her most important
 * node; of several in one group the oldest goes on and the others merge into
 * it; a merged id whose most important node is in a group of nobody's returns.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

#include "compat.h"
#include "identity/component.h"
#include "identity/rules.h"
#include "store.h"

static CdpPlan people_plan = {
	"SELECT n.node_id, n.profile_id, n.since, n.change, i.namespace, i.value, i.first_seen, "
	"  i.last_seen, coalesce(i.uncounted, false) FROM unnest($1) p (profile_id) "
	"CROSS JOIN LATERAL (SELECT n.* FROM cdp_data.node n "
	"  WHERE n.profile_id = p.profile_id OFFSET 0) n "
	"LEFT JOIN LATERAL (SELECT i.* FROM cdp_data.identifier i "
	"  WHERE i.node_id = n.node_id OFFSET 0) i ON true",
	1,
	{INT8ARRAYOID},
	NULL};

/* Nodes whose value has another bearer now. */
static CdpPlan retired_plan = {
	"SELECT u.i, r.namespace, r.value, r.first_seen, r.last_seen, r.uncounted "
	"FROM unnest($1) WITH ORDINALITY u (node_id, i) "
	"JOIN cdp_data.identifier_retired r ON r.node_id = ANY (ARRAY[u.node_id])",
	1,
	{INT8ARRAYOID},
	NULL};

static CdpPlan rows_plan = {
	"SELECT e.a, e.b, e.nodes::text, e.rule, e.refused, e.ts, e.message_key, "
	"  coalesce(e.last_ts, e.ts), coalesce(e.last_key, e.message_key) "
	"FROM cdp_data.identity_edge e WHERE e.a = ANY ($1)",
	1,
	{INT8ARRAYOID},
	NULL};

/* The lower ends of evidence of which these are the upper ones. */
static CdpPlan lower_plan = {
	"SELECT e.a FROM cdp_data.identity_edge e WHERE e.b = ANY ($1)",
	1,
	{INT8ARRAYOID},
	NULL};

static CdpPlan owners_plan = {
	"SELECT DISTINCT n.profile_id FROM unnest($1) x (node_id) "
	"CROSS JOIN LATERAL (SELECT n.profile_id FROM cdp_data.node n "
	"  WHERE n.node_id = x.node_id OFFSET 0) n",
	1,
	{INT8ARRAYOID},
	NULL};

/* Separations by the nodes of their smaller sides. */
static CdpPlan separation_plan = {
	"SELECT s.side_a, s.side_b FROM (SELECT DISTINCT x.separation_id "
	"  FROM cdp_data.separation_node x WHERE x.node_id = ANY ($1)) f "
	"CROSS JOIN LATERAL (SELECT s.side_a, s.side_b FROM cdp_data.identity_separation s "
	"  WHERE s.separation_id = f.separation_id OFFSET 0) s",
	1,
	{INT8ARRAYOID},
	NULL};

/* Ids merged into these people, with the nodes each of them brought. */
static CdpPlan former_plan = {
	"SELECT m.old_id, m.old_ord::bigint, m.profile_id, x.moved_nodes::text, m.old_rev, "
	"  m.old_created_at FROM unnest($1) p (profile_id) "
	"CROSS JOIN LATERAL (SELECT * FROM cdp_data.profile_merged m "
	"  WHERE m.profile_id = p.profile_id OFFSET 0) m "
	"JOIN cdp_data.identity_merge x ON x.merge_id = ANY (ARRAY[m.merge_id]) "
	"ORDER BY m.old_id",
	1,
	{INT8ARRAYOID},
	NULL};

static int
compare_nodes(const void *a, const void *b)
{
	return cdp_compare_int64(&((const CdpComponentNode *) a)->node_id,
							 &((const CdpComponentNode *) b)->node_id);
}

static void
read_pos(uint64 row, int col, CdpCorePos *pos)
{
	bool isnull;

	pos->ts = cdp_store_int64(row, col);
	memcpy(pos->key, DatumGetUUIDP(cdp_store_value(row, col + 1, &isnull)), UUID_LEN);
}

/* Names the nodes that were not found by an identifier: they had one once. */
static void
load_retired(CdpComponent *c, const int *which, int n)
{
	int64 *ids = palloc(sizeof(int64) * n);
	Datum args[1];

	for (int i = 0; i < n; i++)
		ids[i] = c->nodes[which[i]].node_id;
	args[0] = cdp_array_int64(ids, n);
	cdp_store_run(&retired_plan, args, NULL, false, n);
	for (int r = 0; r < n; r++)
	{
		CdpComponentNode *node = &c->nodes[which[cdp_store_int64(r, 1) - 1]];
		bool isnull;

		node->ns = cdp_store_text(r, 2);
		node->value = cdp_store_text(r, 3);
		node->first_seen = cdp_store_int64(r, 4);
		node->last_seen = cdp_store_int64(r, 5);
		node->uncounted = DatumGetBool(cdp_store_value(r, 6, &isnull));
	}
}

/* Appends the nodes of these people; returns how many came. */
static int
load_people(CdpComponent *c, const int64 *profiles, int n, int *room)
{
	Datum args[1] = {cdp_array_int64(profiles, n)};
	int rows = cdp_store_run(&people_plan, args, NULL, false, -1);
	int *nameless = palloc(sizeof(int) * Max(rows, 1));
	int nnameless = 0;

	while (c->nnodes + rows > *room)
	{
		*room *= 2;
		c->nodes = repalloc_huge(c->nodes, sizeof(CdpComponentNode) * *room);
	}
	for (int r = 0; r < rows; r++)
	{
		CdpComponentNode *node = &c->nodes[c->nnodes++];
		bool isnull;

		memset(node, 0, sizeof(*node));
		node->node_id = cdp_store_int64(r, 1);
		node->profile_id = cdp_store_int64(r, 2);
		node->since = cdp_store_int64(r, 3);
		node->change = cdp_store_int64(r, 4);
		node->ident = -1;
		node->ns = cdp_store_text(r, 5);
		if (node->ns == NULL)
		{
			nameless[nnameless++] = c->nnodes - 1;
			continue;
		}
		node->value = cdp_store_text(r, 6);
		node->first_seen = cdp_store_int64(r, 7);
		node->last_seen = cdp_store_int64(r, 8);
		node->uncounted = DatumGetBool(cdp_store_value(r, 9, &isnull));
	}
	if (nnameless > 0)
		load_retired(c, nameless, nnameless);
	return rows;
}

/* Appends the evidence of which the nodes are the lower end. */
static void
load_rows(CdpComponent *c, const int64 *nodes, int n, int *room)
{
	Datum args[1] = {cdp_array_int64(nodes, n)};
	int rows = cdp_store_run(&rows_plan, args, NULL, false, -1);

	while (c->nrows + rows > *room)
	{
		*room *= 2;
		c->rows = repalloc_huge(c->rows, sizeof(CdpEvidenceRow) * *room);
	}
	for (int r = 0; r < rows; r++)
	{
		CdpEvidenceRow *row = &c->rows[c->nrows++];

		row->a = cdp_store_int64(r, 1);
		row->b = cdp_store_int64(r, 2);
		row->nodes = cdp_store_text(r, 3);
		row->rule = cdp_store_text(r, 4);
		row->refused = cdp_store_text(r, 5);
		read_pos(r, 6, &row->first);
		read_pos(r, 8, &row->last);
	}
}

/* Index of a stored node, or -1. */
static int
find_node(const CdpComponent *c, int64 node_id)
{
	CdpComponentNode probe = {.node_id = node_id};
	CdpComponentNode *hit = bsearch(&probe, c->nodes, c->nstored, sizeof(CdpComponentNode),
									compare_nodes);

	return hit ? (int) (hit - c->nodes) : -1;
}

static const CdpComponent *sorting; /* qsort's third argument, for rank order */

static int
compare_rank(const void *a, const void *b)
{
	const CdpComponentNode *x = &sorting->nodes[*(const int32 *) a];
	const CdpComponentNode *y = &sorting->nodes[*(const int32 *) b];
	int p = cdp_rules_rank(x->ns);
	int q = cdp_rules_rank(y->ns);
	int cmp;

	if (p != q)
		return p < q ? -1 : 1;
	cmp = strcmp(x->ns, y->ns);
	return cmp != 0 ? cmp : strcmp(x->value, y->value);
}

static void
sort_by_rank(const CdpComponent *c, int32 *nodes, int n)
{
	sorting = c;
	qsort(nodes, n, sizeof(int32), compare_rank);
}

static int
compare_rows(const void *a, const void *b)
{
	const CdpEvidenceRow *x = a;
	const CdpEvidenceRow *y = b;
	int cmp = strcmp(x->rule, y->rule);

	if (cmp == 0)
		cmp = strcmp(x->nodes, y->nodes);
	/* pairs have no set: they are told apart by their ends */
	if (cmp == 0 && strcmp(x->nodes, "{}") == 0)
	{
		cmp = cdp_compare_int64(&x->a, &y->a);
		if (cmp == 0)
			cmp = cdp_compare_int64(&x->b, &y->b);
	}
	return cmp;
}

static void
widen(CdpEvidence *e, const CdpCorePos *first, const CdpCorePos *last)
{
	if (cdp_core_pos_compare(first, &e->first) < 0)
		e->first = *first;
	if (cdp_core_pos_compare(last, &e->last) > 0)
		e->last = *last;
}

/* Node indexes of a row's set. */
static int32 *
members_of(const CdpComponent *c, const CdpEvidenceRow *row, int *n)
{
	int32 *nodes;

	if (strcmp(row->nodes, "{}") == 0)
	{
		nodes = palloc(sizeof(int32) * 2);
		nodes[0] = find_node(c, row->a);
		nodes[1] = find_node(c, row->b);
		*n = 2;
		return nodes;
	}
	nodes = palloc(sizeof(int32) * (strlen(row->nodes) / 2 + 2));
	*n = 0;
	for (const char *p = row->nodes + 1; *p && *p != '}';)
	{
		char *end;
		int64 id = strtoll(p, &end, 10);
		int index = find_node(c, id);

		if (index >= 0)
			nodes[(*n)++] = index;
		p = *end == ',' ? end + 1 : end;
	}
	return nodes;
}

/* What was kept apart when it came stays out of the evidence. */
static void
leave_out(CdpEvidence *e, int32 node)
{
	int n = 0;

	for (int i = 0; i < e->n; i++)
		if (e->nodes[i] != node)
			e->nodes[n++] = e->nodes[i];
	e->n = n;
}

static bool
is_isolated(const CdpEvidenceRow *row)
{
	return row->refused && strcmp(row->refused, "isolated") == 0;
}

/* Rows of one set become one piece of evidence. */
static void
gather_evidence(CdpComponent *c)
{
	qsort(c->rows, c->nrows, sizeof(CdpEvidenceRow), compare_rows);
	c->evidence = palloc0(sizeof(CdpEvidence) * (c->nrows + 1));
	for (int r = 0; r < c->nrows; r++)
	{
		CdpEvidenceRow *row = &c->rows[r];
		CdpEvidence *e;

		if (r > 0 && compare_rows(row, &c->rows[r - 1]) == 0)
		{
			row->evidence = c->nevidence - 1;
			widen(&c->evidence[row->evidence], &row->first, &row->last);
			continue;
		}
		row->evidence = c->nevidence;
		e = &c->evidence[c->nevidence++];
		e->nodes = members_of(c, row, &e->n);
		sort_by_rank(c, e->nodes, e->n);
		e->rule = row->rule;
		e->first = row->first;
		e->last = row->last;
		e->link = -1;
	}
	for (int r = 0; r < c->nrows; r++)
	{
		CdpEvidence *e = &c->evidence[c->rows[r].evidence];
		int a = find_node(c, c->rows[r].a);
		int b = find_node(c, c->rows[r].b);

		if (is_isolated(&c->rows[r]))
			leave_out(e, compare_rank(&a, &b) < 0 ? b : a);
	}
}

/* Indexes of an array's nodes; those outside the component are left out. */
static int32 *
nodes_of_array(const CdpComponent *c, Datum array, int32 *n)
{
	Datum *elems;
	int nelems;
	int32 *nodes;

	deconstruct_array(DatumGetArrayTypeP(array), INT8OID, sizeof(int64), FLOAT8PASSBYVAL,
					  TYPALIGN_DOUBLE, &elems, NULL, &nelems);
	nodes = palloc(sizeof(int32) * Max(nelems, 1));
	*n = 0;
	for (int i = 0; i < nelems; i++)
	{
		int index = find_node(c, DatumGetInt64(elems[i]));

		if (index >= 0)
			nodes[(*n)++] = index;
	}
	return nodes;
}

static void
load_separations(CdpComponent *c, const int64 *nodes, int n)
{
	Datum args[1] = {cdp_array_int64(nodes, n)};
	int rows = cdp_store_run(&separation_plan, args, NULL, false, -1);

	c->separations = palloc0(sizeof(CdpCoreSeparation) * (rows + 1));
	c->nseparations = rows;
	for (int r = 0; r < rows; r++)
		for (int side = 0; side < 2; side++)
		{
			CdpCoreSeparation *s = &c->separations[r];
			bool isnull;

			s->nodes[side] = nodes_of_array(c, cdp_store_value(r, side + 1, &isnull), &s->n[side]);
		}
}

/*
 * Profiles that are tied to the nodes that came last and are not in the
 * component yet; known has all its nodes, ascending.
 */
static int64 *
next_people(CdpComponent *c, const int64 *ids, int came, int row_start, const int64 *known,
			int *n)
{
	Datum args[1] = {cdp_array_int64(ids, came)};
	int rows = cdp_store_run(&lower_plan, args, NULL, false, -1);
	int64 *ends = palloc(sizeof(int64) * (rows + c->nrows - row_start + 1));
	int64 *people;
	int nends = 0;

	for (int r = 0; r < rows + c->nrows - row_start; r++)
	{
		int64 id = r < rows ? cdp_store_int64(r, 1) : c->rows[row_start + r - rows].b;

		if (bsearch(&id, known, c->nnodes, sizeof(int64), cdp_compare_int64) == NULL)
			ends[nends++] = id;
	}
	*n = 0;
	if (nends == 0)
		return NULL;
	args[0] = cdp_array_int64(ends, nends);
	rows = cdp_store_run(&owners_plan, args, NULL, false, -1);
	people = palloc(sizeof(int64) * Max(rows, 1));
	for (int r = 0; r < rows; r++)
	{
		int64 id = cdp_store_int64(r, 1);

		if (bsearch(&id, c->profiles, c->nprofiles, sizeof(int64), cdp_compare_int64) == NULL)
			people[(*n)++] = id;
	}
	return people;
}

/*
 * Loads the component of these people.  What is not locked may change at any
 * time: the caller locks c->profiles and loads again.  too_large: it has more
 * identifiers than may be resolved at once, and is not complete.
 */
CdpComponent *
cdp_component_load(const int64 *profiles, int n)
{
	CdpComponent *c = palloc0(sizeof(CdpComponent));
	int node_room = 256;
	int row_room = 256;
	int profile_room = 256;
	int64 *frontier = palloc(sizeof(int64) * Max(n, 1));
	int nfrontier = n;
	int max = cdp_rules()->max_component;
	int64 *known = NULL;

	c->nodes = palloc(sizeof(CdpComponentNode) * node_room);
	c->rows = palloc(sizeof(CdpEvidenceRow) * row_room);
	c->profiles = palloc(sizeof(int64) * profile_room);
	memcpy(frontier, profiles, sizeof(int64) * n);
	qsort(frontier, n, sizeof(int64), cdp_compare_int64);
	while (nfrontier > 0)
	{
		int start = c->nnodes;
		int row_start = c->nrows;
		int came;
		int64 *ids;

		CHECK_FOR_INTERRUPTS();
		while (c->nprofiles + nfrontier > profile_room)
		{
			profile_room *= 2;
			c->profiles = repalloc_huge(c->profiles, sizeof(int64) * profile_room);
		}
		memcpy(c->profiles + c->nprofiles, frontier, sizeof(int64) * nfrontier);
		c->nprofiles += nfrontier;
		qsort(c->profiles, c->nprofiles, sizeof(int64), cdp_compare_int64);
		came = load_people(c, frontier, nfrontier, &node_room);
		if (c->nnodes > max)
		{
			c->too_large = true;
			break;
		}
		ids = palloc(sizeof(int64) * Max(came, 1));
		known = palloc(sizeof(int64) * Max(c->nnodes, 1));
		for (int i = 0; i < c->nnodes; i++)
			known[i] = c->nodes[i].node_id;
		memcpy(ids, known + start, sizeof(int64) * came);
		qsort(known, c->nnodes, sizeof(int64), cdp_compare_int64);
		load_rows(c, ids, came, &row_room);
		frontier = next_people(c, ids, came, row_start, known, &nfrontier);
	}
	qsort(c->nodes, c->nnodes, sizeof(CdpComponentNode), compare_nodes);
	c->nstored = c->nnodes;
	if (c->too_large)
		return c;
	gather_evidence(c);
	load_separations(c, known, c->nnodes);
	return c;
}

/* Index of the batch's identifier among the nodes; appends it if it is new. */
static int
node_of_ident(CdpComponent *c, const CdpGraph *graph, int ident)
{
	const CdpIdent *x = &graph->idents[ident];
	CdpComponentNode *node;

	if (!x->fresh)
	{
		int index = find_node(c, x->node_id);

		if (index >= 0)
		{
			c->nodes[index].ident = ident;
			c->nodes[index].first_seen = Min(c->nodes[index].first_seen, x->first_seen);
			c->nodes[index].last_seen = Max(c->nodes[index].last_seen, x->last_seen);
		}
		return index;
	}
	for (int i = c->nstored; i < c->nnodes; i++)
		if (c->nodes[i].ident == ident)
			return i;
	c->nodes = repalloc_huge(c->nodes, sizeof(CdpComponentNode) * (c->nnodes + 1));
	node = &c->nodes[c->nnodes];
	memset(node, 0, sizeof(*node));
	node->ident = ident;
	node->ns = x->ns;
	node->value = x->value;
	node->first_seen = x->first_seen;
	node->last_seen = x->last_seen;
	return c->nnodes++;
}

/* Adds a link of the batch to the evidence. */
void
cdp_component_add(CdpComponent *c, CdpGraph *graph, int link)
{
	CdpLink *l = &graph->links[link];
	CdpEvidence *e;
	int32 *nodes = palloc(sizeof(int32) * Max(l->n, 1));
	int n = 0;
	CdpCorePos pos;

	pos.ts = l->ts;
	memcpy(pos.key, l->message_key, 16);
	for (int i = 0; i < l->n; i++)
	{
		int index = node_of_ident(c, graph, l->idents[i]);

		/* no evidence that she is one with the others; but hers is decided here, if it is here */
		if (l->isolated && l->isolated[i])
			continue;
		if (index < 0)
			elog(ERROR, "cdp: an identifier is outside its component");
		nodes[n++] = index;
	}
	l->replayed = true;
	if (n < 2)
		return;
	sort_by_rank(c, nodes, n);
	c->evidence = repalloc_huge(c->evidence, sizeof(CdpEvidence) * (c->nevidence + 1));
	e = &c->evidence[c->nevidence++];
	memset(e, 0, sizeof(*e));
	e->nodes = nodes;
	e->n = n;
	e->rule = l->rule;
	e->first = e->last = pos;
	e->link = link;
	for (int k = 0; k < c->nevidence - 1; k++)
	{
		CdpEvidence *known = &c->evidence[k];

		if (known->n == n && strcmp(known->rule, l->rule) == 0 &&
			memcmp(known->nodes, nodes, sizeof(int32) * n) == 0)
		{
			/* the same set again: both have one time and so one fate */
			widen(e, &known->first, &known->last);
			widen(known, &e->first, &e->last);
		}
	}
}

/* Index of a namespace in the list of rules; adds it. */
static int
rule_index(CdpComponent *c, CdpCoreRule *rules, const char *ns)
{
	int n = c->linkage.nrules;

	for (int i = 0; i < n; i++)
		if (strcmp(c->namespaces[i], ns) == 0)
			return i;
	c->namespaces[n] = ns;
	rules[n] = cdp_rules_namespace(ns)->rule;
	c->linkage.nrules++;
	return n;
}

/* Resolves the component by the rules of now. */
void
cdp_component_run(CdpComponent *c)
{
	CdpLinkage *l = &c->linkage;
	CdpCoreNode *nodes = palloc0(sizeof(CdpCoreNode) * Max(c->nnodes, 1));
	CdpCoreLink *links = palloc0(sizeof(CdpCoreLink) * Max(c->nevidence, 1));
	CdpCoreRule *rules = palloc0(sizeof(CdpCoreRule) * Max(c->nnodes, 1));

	memset(l, 0, sizeof(*l));
	c->namespaces = palloc0(sizeof(char *) * Max(c->nnodes, 1));
	for (int i = 0; i < c->nnodes; i++)
	{
		nodes[i].rule = rule_index(c, rules, c->nodes[i].ns);
		nodes[i].uncounted = c->nodes[i].uncounted;
		nodes[i].barred = cdp_rules_blocked(c->nodes[i].ns, c->nodes[i].value);
		nodes[i].last_seen = c->nodes[i].last_seen;
	}
	cdp_rules_order(rules, c->namespaces, l->nrules);
	for (int k = 0; k < c->nevidence; k++)
	{
		CdpEvidence *e = &c->evidence[k];

		links[k].n = e->n;
		links[k].nodes = e->nodes;
		links[k].first = e->first;
		links[k].last = e->last;
		links[k].override = strcmp(e->rule, "override") == 0;
	}
	l->rules = rules;
	l->nnodes = c->nnodes;
	l->nodes = nodes;
	l->nlinks = c->nevidence;
	l->links = links;
	l->nseparations = c->nseparations;
	l->separations = c->separations;
	cdp_rules_linkage(l);
	(void) cdp_core_linkage_run(l);
}

/* Word for a member of a piece of evidence that is not joined, or NULL. */
static const char *
refusal_of(const CdpComponent *c, int evidence, int32 node)
{
	const CdpEvidence *e = &c->evidence[evidence];
	const CdpCoreLink *link = &c->linkage.links[evidence];

	for (int i = 0; i < e->n; i++)
		if (e->nodes[i] == node)
			return cdp_rules_refusal(link->verdict[i],
									 link->rule >= 0 ? c->namespaces[link->rule] : NULL);
	return NULL;
}

/* A group of nodes on its way to be a person. */
typedef struct Bunch
{
	int64 profile_id; /* 0: nobody's yet */
} Bunch;

/* Is the one node the better bearer of a person's id: more important, or older? */
static bool
is_better(const CdpComponent *c, int a, int b)
{
	int p = cdp_rules_rank(c->nodes[a].ns);
	int q = cdp_rules_rank(c->nodes[b].ns);

	return p != q ? p < q : c->nodes[a].node_id < c->nodes[b].node_id;
}

/*
 * The bearer of each profile's id: its most important node, of those that did
 * not come with somebody who was merged into it.
 */
static int *
find_anchors(const CdpComponent *c, const bool *foreign)
{
	int *anchors = palloc(sizeof(int) * Max(c->nprofiles, 1));

	for (int p = 0; p < c->nprofiles; p++)
		anchors[p] = -1;
	for (int i = 0; i < c->nstored; i++)
	{
		int64 *hit = bsearch(&c->nodes[i].profile_id, c->profiles, c->nprofiles, sizeof(int64),
							 cdp_compare_int64);
		int *anchor = hit ? &anchors[hit - c->profiles] : NULL;

		if (anchor == NULL)
			continue;
		if (*anchor < 0 || (foreign[*anchor] && !foreign[i]) ||
			(foreign[*anchor] == foreign[i] && is_better(c, i, *anchor)))
			*anchor = i;
	}
	return anchors;
}

/* The same for a person who was merged away: of the nodes she brought. */
static int
former_anchor(const CdpComponent *c, const char *nodes, int64 profile_id, bool *foreign)
{
	int anchor = -1;

	for (const char *p = nodes + 1; *p && *p != '}';)
	{
		char *end;
		int i = find_node(c, strtoll(p, &end, 10));

		if (i >= 0 && (anchor < 0 || is_better(c, i, anchor)))
			anchor = i;
		if (i >= 0 && c->nodes[i].profile_id == profile_id)
			foreign[i] = true;
		p = *end == ',' ? end + 1 : end;
	}
	return anchor;
}

/* Lists in graph->states the known evidence whose state changed. */
void
cdp_component_states(CdpComponent *c, CdpGraph *graph)
{
	graph->states = graph->states ?
						repalloc_huge(graph->states,
									  sizeof(CdpEdgeState) * (graph->nstates + c->nrows + 1)) :
						palloc(sizeof(CdpEdgeState) * (c->nrows + 1));
	for (int r = 0; r < c->nrows; r++)
	{
		CdpEvidenceRow *row = &c->rows[r];
		int a = find_node(c, row->a);
		int b = find_node(c, row->b);
		const char *refused;

		if (is_isolated(row))
			continue;
		/* of the first node there is a verdict only when it is blocked */
		refused = refusal_of(c, row->evidence, a);
		if (refused == NULL)
			refused = refusal_of(c, row->evidence, b);
		if ((refused == NULL) != (row->refused == NULL) ||
			(refused && strcmp(refused, row->refused) != 0))
			graph->states[graph->nstates++] =
				(CdpEdgeState){row->a, row->b, row->nodes, row->rule, refused};
	}
}

/* Tells the batch's links what became of them. */
static void
collect_verdicts(CdpComponent *c, CdpGraph *graph)
{
	for (int k = 0; k < c->nevidence; k++)
	{
		CdpEvidence *e = &c->evidence[k];
		CdpLink *link;

		if (e->link < 0)
			continue;
		link = &graph->links[e->link];
		link->verdict = palloc0(link->n);
		link->refusal = NULL;
		link->decided = true;
		for (int i = 0; i < link->n; i++)
			for (int j = 0; j < e->n; j++)
				if (c->nodes[e->nodes[j]].ident == link->idents[i])
				{
					link->verdict[i] = c->linkage.links[k].verdict[j];
					if (link->verdict[i] != CDP_JOINED)
						link->refusal = refusal_of(c, k, e->nodes[j]);
				}
	}
}

/*
 * Finds each group its profile and puts what has to change into the graph:
 * idents, locked, merges, moves, redirects, states.  Every profile of the
 * component is in graph->locked.
 */
void
cdp_component_assign(CdpComponent *c, CdpGraph *graph)
{
	Bunch *groups = palloc0(sizeof(Bunch) * Max(c->nnodes, 1));
	int32 *of = c->linkage.group;
	int *anchors;
	bool *foreign = palloc0(sizeof(bool) * Max(c->nnodes, 1));
	int rows;
	int64 *old_id;
	int32 *old_ord;
	int64 *old_to;
	int *old_anchor;
	int64 *old_rev;
	TimestampTz *old_at;
	bool *returned;
	Oid ids = cdp_store_relation("profile_id_seq");
	Oid ords = cdp_store_relation("ord_seq");
	Datum args[1];
	int cause = -1;

	args[0] = cdp_array_int64(c->profiles, c->nprofiles);
	rows = cdp_store_run(&former_plan, args, NULL, false, -1);
	old_id = palloc(sizeof(int64) * Max(rows, 1));
	old_ord = palloc(sizeof(int32) * Max(rows, 1));
	old_to = palloc(sizeof(int64) * Max(rows, 1));
	old_anchor = palloc(sizeof(int) * Max(rows, 1));
	old_rev = palloc(sizeof(int64) * Max(rows, 1));
	old_at = palloc(sizeof(TimestampTz) * Max(rows, 1));
	returned = palloc0(sizeof(bool) * Max(rows, 1));
	for (int r = 0; r < rows; r++)
	{
		old_id[r] = cdp_store_int64(r, 1);
		old_ord[r] = (int32) cdp_store_int64(r, 2);
		old_to[r] = cdp_store_int64(r, 3);
		old_anchor[r] = former_anchor(c, cdp_store_text(r, 4), old_to[r], foreign);
		old_rev[r] = cdp_store_int64(r, 5);
		old_at[r] = cdp_store_int64(r, 6);
	}

	/* people go on where their most important node is, older people first */
	anchors = find_anchors(c, foreign);
	for (int p = 0; p < c->nprofiles; p++)
		if (anchors[p] >= 0 && groups[of[anchors[p]]].profile_id == 0)
			groups[of[anchors[p]]].profile_id = c->profiles[p];

	for (int r = 0; r < rows; r++)
	{
		int node = old_anchor[r];

		if (node >= 0 && groups[of[node]].profile_id == 0)
		{
			CdpLocked *locked = cdp_graph_add_locked(graph, old_id[r]);

			groups[of[node]].profile_id = old_id[r];
			locked->ord = old_ord[r];
			locked->created = locked->returns = true;
			locked->rev = old_rev[r];
			locked->created_at = old_at[r];
			returned[r] = true;
		}
	}

	/* what is left is new people */
	for (int i = 0; i < c->nnodes; i++)
	{
		Bunch *g = &groups[of[i]];

		if (g->profile_id == 0)
		{
			CdpLocked *locked;

			g->profile_id = nextval_internal(ids, false);
			locked = cdp_graph_add_locked(graph, g->profile_id);
			locked->ord = (int32) nextval_internal(ords, false);
			locked->created = true;
		}
	}

	graph->moves = graph->moves ?
					   repalloc_huge(graph->moves,
									 sizeof(CdpMove) * (graph->nmoves + c->nnodes + 1)) :
					   palloc(sizeof(CdpMove) * (c->nnodes + 1));
	for (int i = 0; i < c->nnodes; i++)
	{
		CdpComponentNode *node = &c->nodes[i];
		Bunch *g = &groups[of[i]];

		if (node->ident >= 0)
			graph->idents[node->ident].profile_id = g->profile_id;
		if (i < c->nstored && node->profile_id == g->profile_id)
			continue;
		cdp_graph_locked(graph, g->profile_id)->reshaped = true;
		if (i >= c->nstored)
			continue;
		graph->moves[graph->nmoves++] =
			(CdpMove){node->node_id, node->profile_id, g->profile_id, node->since, node->change};
		cdp_graph_locked(graph, g->profile_id)->rebuild = true;
		cdp_graph_locked(graph, node->profile_id)->reshaped = true;
		cdp_graph_locked(graph, node->profile_id)->rebuild = true;
	}

	/* what the next batch needs to know of these people */
	for (int i = 0; i < c->nnodes; i++)
	{
		CdpLocked *locked = cdp_graph_locked(graph, groups[of[i]].profile_id);

		locked->newest = c->linkage.newest[of[i]];
		locked->contested = c->linkage.contested[of[i]];
		locked->separated = false;
		locked->seen_from = Min(locked->seen_from, c->nodes[i].first_seen);
		locked->seen_to = Max(locked->seen_to, c->nodes[i].last_seen);
	}
	for (int s = 0; s < c->nseparations; s++)
		for (int side = 0; side < 2; side++)
			for (int i = 0; i < c->separations[s].n[side]; i++)
			{
				int32 node = c->separations[s].nodes[side][i];

				cdp_graph_locked(graph, groups[of[node]].profile_id)->separated = true;
			}

	/* people whose most important node went to an older one are merged */
	for (int k = 0; k < c->nevidence; k++)
		if (c->evidence[k].link >= 0)
			cause = c->evidence[k].link;
	graph->merges = repalloc_huge(graph->merges,
								  sizeof(CdpMerge) * (graph->nmerges + c->nprofiles + 1));
	for (int p = 0; p < c->nprofiles; p++)
	{
		CdpMerge *m;
		int64 winner;

		if (anchors[p] < 0)
			continue;
		winner = groups[of[anchors[p]]].profile_id;
		if (winner == c->profiles[p])
			continue;
		m = &graph->merges[graph->nmerges++];
		memset(m, 0, sizeof(*m));
		m->winner = winner;
		m->loser = c->profiles[p];
		m->winner_ord = cdp_graph_locked(graph, winner)->ord;
		m->loser_ord = cdp_graph_locked(graph, m->loser)->ord;
		m->link = cause;
		m->moved = true;
	}

	/* ids merged earlier follow their most important node */
	graph->redirects = graph->redirects ?
						   repalloc(graph->redirects,
									sizeof(CdpRedirect) * (graph->nredirects + rows + 1)) :
						   palloc(sizeof(CdpRedirect) * (rows + 1));
	for (int r = 0; r < rows; r++)
	{
		int node = old_anchor[r];
		int64 now = node >= 0 ? groups[of[node]].profile_id : old_to[r];

		if (returned[r])
			graph->redirects[graph->nredirects++] = (CdpRedirect){old_id[r], 0, 0};
		else if (now != old_to[r])
			graph->redirects[graph->nredirects++] =
				(CdpRedirect){old_id[r], now, cdp_graph_locked(graph, now)->ord};
	}
	cdp_component_states(c, graph);
	collect_verdicts(c, graph);
}
