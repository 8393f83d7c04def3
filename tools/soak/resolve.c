/*
 * tools/soak/resolve.c
 *		Who is one person, from all evidence, taken in the order of time.
 *
 * Written from the definition in src/core/linkage.h, and as simply as can be:
 * everything is looked at again for every link.
 */
#include "resolve.h"

#include <stdlib.h>
#include <string.h>

/* What stands against making some people one. */
typedef struct Objection
{
	Verdict verdict;
	int ns;
} Objection;

static const Objection none = {JOINED, -1};

static const Rule *
rule_of(const Model *m, int node)
{
	return &m->rules.rule[ident_ns(m->node[node].ident)];
}

/* Orders namespaces by importance. */
static int
compare_rules(const Rule *a, const Rule *b)
{
	if (a->rank != b->rank)
		return a->rank < b->rank ? -1 : 1;
	return strcmp(a->ns, b->ns);
}

int
compare_importance(const Model *m, int a, int b)
{
	int cmp = compare_rules(rule_of(m, a), rule_of(m, b));

	if (cmp != 0)
		return cmp;
	return strcmp(ident_text(&m->rules, m->node[a].ident), ident_text(&m->rules, m->node[b].ident));
}

/* Values of a namespace that one person has and that count at this time. */
static int
count_values(const Model *m, int person, int ns, Time now)
{
	const Rule *rule = &m->rules.rule[ns];
	int n = 0;

	for (int x = 0; x < m->nnodes; x++)
	{
		if (m->of[x] != person || ident_ns(m->node[x].ident) != ns || m->node[x].removed)
			continue;
		if (rule->period > 0 && m->since[x] != NEVER && m->since[x] <= now - rule->period)
			continue;
		if (rule->ttl > 0 && m->node[x].last < now - rule->ttl)
			continue;
		n++;
	}
	return n;
}

static int
count_all(const Model *m, int person)
{
	int n = 0;

	for (int x = 0; x < m->nnodes; x++)
		n += m->of[x] == person;
	return n;
}

static bool
is_among(int x, const int *list, int n)
{
	for (int i = 0; i < n; i++)
		if (list[i] == x)
			return true;
	return false;
}

static bool
are_separated(const Model *m, const int *people, int n)
{
	Bits all = {{0}};

	for (int x = 0; x < m->nnodes; x++)
		if (is_among(m->of[x], people, n))
			all.w[x / 64] |= UINT64_C(1) << (x % 64);
	for (int s = 0; s < m->nseparations; s++)
	{
		bool found[2] = {false, false};

		if (m->separation[s].revoked)
			continue;
		for (int side = 0; side < 2; side++)
			for (int k = 0; k < MAX_NODES / 64; k++)
				found[side] |= (m->separation[s].side[side].w[k] & all.w[k]) != 0;
		if (found[0] && found[1])
			return true;
	}
	return false;
}

/* Does adding these people up break a limit that none of them is beyond alone? */
static bool
is_beyond(int limit, const int *counts, int n)
{
	int sum = 0;
	int most = 0;

	for (int i = 0; i < n; i++)
	{
		sum += counts[i];
		if (counts[i] > most)
			most = counts[i];
	}
	return limit > 0 && sum > limit && sum > most;
}

/* May these people be one at this time? */
static Objection
object_to(const Model *m, const int *people, int n, Time now)
{
	const Rules *rules = &m->rules;
	int counts[MAX_NAMED];
	int worst = -1;

	if (n < 2)
		return none;
	if (are_separated(m, people, n))
		return (Objection){SEPARATED, -1};
	for (int ns = 0; ns < rules->n; ns++)
	{
		if (rules->rule[ns].limit == 0)
			continue;
		for (int i = 0; i < n; i++)
			counts[i] = count_values(m, people[i], ns, now);
		if (is_beyond(rules->rule[ns].limit, counts, n) &&
			(worst < 0 || compare_rules(&rules->rule[ns], &rules->rule[worst]) < 0))
			worst = ns;
	}
	if (worst >= 0)
		return (Objection){LIMIT, worst};
	for (int i = 0; i < n; i++)
		counts[i] = count_all(m, people[i]);
	if (is_beyond(rules->max_nodes, counts, n))
		return (Objection){TOO_MANY, -1};
	return none;
}

static Objection
object_to_pair(const Model *m, int a, int b, Time now)
{
	int people[2] = {m->of[a], m->of[b]};

	return people[0] == people[1] ? none : object_to(m, people, 2, now);
}

/* Two nodes are one person from this time on, if they were not before. */
static void
join(Model *m, int a, int b, Time now)
{
	int from = m->of[b];
	int to = m->of[a];

	if (m->since[a] == NEVER || now < m->since[a])
		m->since[a] = now;
	if (m->since[b] == NEVER || now < m->since[b])
		m->since[b] = now;
	for (int x = 0; x < m->nnodes; x++)
		if (m->of[x] == from)
			m->of[x] = to;
}

/* By importance, until one does not fit; those who are kept apart are passed over. */
static void
take_by_importance(Model *m, Link *link)
{
	Objection stop = none;

	for (int i = 1; i < link->n; i++)
	{
		Objection o = stop;

		if (m->of[link->node[i]] == m->of[link->node[0]])
			continue;
		if (stop.verdict == JOINED)
		{
			o = object_to_pair(m, link->node[0], link->node[i], link->counted);
			if (link->manner == BY_OVERRIDE && o.verdict != SEPARATED)
				o = none;
			if (o.verdict == JOINED)
			{
				join(m, link->node[0], link->node[i], link->counted);
				continue;
			}
			if (o.verdict != SEPARATED)
				stop = o;
		}
		link->verdict[i] = o.verdict;
		if (o.ns >= 0)
			link->ns = o.ns;
	}
}

static void
take_none(Model *m, Link *link, int ns)
{
	for (int i = 1; i < link->n; i++)
		if (m->of[link->node[i]] != m->of[link->node[0]])
		{
			link->verdict[i] = LIMIT;
			link->ns = ns;
		}
}

/* A tie between the first node of a link and another one. */
typedef struct Tie
{
	const Model *m;
	Link *link;
	int i;
	bool now;
} Tie;

static int
compare_ties(const void *a, const void *b)
{
	const Tie *x = a;
	const Tie *y = b;
	int x_over = x->link->manner == BY_OVERRIDE;
	int y_over = y->link->manner == BY_OVERRIDE;
	int d;

	if (x_over != y_over)
		return y_over - x_over;
	if (x->now != y->now)
		return y->now - x->now;
	d = compare_rules(rule_of(x->m, x->link->node[0]), rule_of(y->m, y->link->node[0]));
	if (d != 0)
		return d;
	d = compare_rules(rule_of(x->m, x->link->node[x->i]), rule_of(y->m, y->link->node[y->i]));
	if (d != 0)
		return d;
	if (x->link->counted != y->link->counted)
		return x->link->counted > y->link->counted ? -1 : 1;
	return x->i - y->i;
}

/* The link is taken; the people it touches are built anew, and what does not fit is dropped. */
static void
take_and_evict(Model *m, Link *taken, const int *people, int n)
{
	static Tie ties[MAX_LINKS * 2];
	int nties = 0;
	bool touched[MAX_NODES];

	for (int x = 0; x < m->nnodes; x++)
		touched[x] = is_among(m->of[x], people, n);
	for (int k = 0; k < m->nlinks; k++)
	{
		Link *link = &m->link[k];

		if (!link->taken || !touched[link->node[0]])
			continue;
		for (int i = 1; i < link->n; i++)
			if (link == taken || link->verdict[i] == JOINED)
			{
				if (nties == MAX_LINKS * 2)
					die("too many ties");
				ties[nties++] = (Tie){m, link, i, link == taken};
			}
	}
	qsort(ties, nties, sizeof(Tie), compare_ties);
	for (int x = 0; x < m->nnodes; x++)
		if (touched[x])
			m->of[x] = x;
	for (int t = 0; t < nties; t++)
	{
		Link *link = ties[t].link;
		int a = link->node[0];
		int b = link->node[ties[t].i];
		Objection o = object_to_pair(m, a, b, taken->counted);

		if (o.verdict == JOINED || (link->manner == BY_OVERRIDE && o.verdict != SEPARATED))
		{
			join(m, a, b, taken->counted);
			link->verdict[ties[t].i] = JOINED;
			continue;
		}
		link->verdict[ties[t].i] = ties[t].now ? o.verdict : NEWER;
		link->ns = o.ns;
	}
}

static void
take(Model *m, Link *link, Time now)
{
	int people[MAX_NAMED];
	int n = 0;
	Objection o;

	link->counted = now;
	link->taken = true;
	link->ns = -1;
	for (int i = 0; i < link->n; i++)
	{
		int x = link->node[i];

		link->verdict[i] = JOINED;
		if (!is_among(m->of[x], people, n))
			people[n++] = m->of[x];
	}
	o = object_to(m, people, n, now);
	if (o.verdict == JOINED || (link->manner == BY_OVERRIDE && o.verdict != SEPARATED))
	{
		for (int i = 1; i < link->n; i++)
			join(m, link->node[0], link->node[i], now);
	}
	else if (o.verdict == LIMIT && m->rules.rule[o.ns].policy == REJECT)
		take_none(m, link, o.ns);
	else if (o.verdict == LIMIT && m->rules.rule[o.ns].policy == NEWEST_WINS)
		take_and_evict(m, link, people, n);
	else
		take_by_importance(m, link);
}

typedef struct Turn
{
	Time at;
	int link;
	bool first; /* of all: an override */
} Turn;

static int
compare_turns(const void *a, const void *b)
{
	const Turn *x = a;
	const Turn *y = b;

	if (x->first != y->first)
		return y->first - x->first;
	return (x->at > y->at) - (x->at < y->at);
}

/* Does it matter when a link came, and so when it came last? */
static bool
is_timely(const Rule *rule)
{
	return rule->limit > 0 && (rule->policy != DEMOTE || rule->period > 0 || rule->ttl > 0);
}

/* Does it matter when a link came last, by the rules of now? */
bool
repeats(const Model *m)
{
	bool any = is_timely(&m->rules.common);

	for (int ns = 0; ns < m->rules.n; ns++)
		any |= is_timely(&m->rules.rule[ns]);
	return any;
}

void
resolve(Model *m)
{
	static Turn turns[MAX_LINKS * 2];
	int n = 0;
	bool again = repeats(m);

	for (int x = 0; x < m->nnodes; x++)
	{
		m->of[x] = x;
		m->since[x] = NEVER;
	}
	for (int k = 0; k < m->nlinks; k++)
	{
		Link *link = &m->link[k];
		bool first = link->manner == BY_OVERRIDE;

		/* importance may be another since the link was added */
		sort_nodes(m, link->node, link->n);
		link->taken = false;
		turns[n++] = (Turn){link->first, k, first};
		if (again && link->has_last && link->last > link->first)
			turns[n++] = (Turn){link->last, k, first};
	}
	qsort(turns, n, sizeof(Turn), compare_turns);
	for (int t = 0; t < n; t++)
		take(m, &m->link[turns[t].link], turns[t].at);
}
