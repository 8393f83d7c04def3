/*
 * src/core/linkage.c
 *		Which identifiers are one person (see linkage.h).
 *
 * People are lists of nodes with a label each; of two the smaller is
 * relabelled.  Counts by namespace are kept per person and added, for people
 * have no node in common; the sides of separations are kept as a list per
 * person.  So a link costs as much as the people whom it brings together at
 * most, and mostly as much as the smaller one.
 */
#include "core/linkage.h"

#include <stdlib.h>
#include <string.h>

#define NOT_YET INT64_MIN

/* One pair of a link under newest_wins: its first node and another. */
typedef struct Tie
{
	CdpLinkage *l;
	int32_t link;
	int32_t member;
	bool fresh; /* of the link that is being taken */
} Tie;

/* Why people may not be one. */
typedef struct Objection
{
	CdpTieVerdict verdict; /* CDP_JOINED: they may */
	int32_t rule;
	bool timely; /* it hangs on when values came or were seen */
} Objection;

typedef struct Turn
{
	CdpLinkage *l;
	int32_t link;
	bool again;
} Turn;

int
cdp_core_pos_compare(const CdpCorePos *a, const CdpCorePos *b)
{
	if (a->ts != b->ts)
		return a->ts < b->ts ? -1 : 1;
	return memcmp(a->key, b->key, 16);
}

/*
 * Does it matter when a link came?  Not where people only grow and what was
 * refused stays refused: a demote for all time.
 */
bool
cdp_core_rule_repeats(const CdpCoreRule *rule)
{
	return rule->limit > 0 && (rule->policy != CDP_POLICY_DEMOTE || rule->period > 0 ||
							   rule->ttl > 0);
}

static const CdpCorePos *
turn_pos(const Turn *t)
{
	const CdpCoreLink *link = &t->l->links[t->link];

	return t->again ? &link->last : &link->first;
}

static int
compare_turns(const void *a, const void *b)
{
	const Turn *x = a;
	const Turn *y = b;
	bool first = x->l->links[x->link].override;
	bool second = y->l->links[y->link].override;
	int cmp;

	/* what somebody decided against the limits holds from the beginning */
	if (first != second)
		return first ? -1 : 1;
	cmp = cdp_core_pos_compare(turn_pos(x), turn_pos(y));
	if (cmp == 0)
		cmp = (x->link > y->link) - (x->link < y->link);
	return cmp != 0 ? cmp : x->again - y->again;
}

static void *
alloc_zero(CdpLinkage *l, size_t n, size_t size)
{
	size_t bytes = (n > 0 ? n : 1) * size;
	void *p = l->alloc(bytes);

	memset(p, 0, bytes);
	return p;
}

/* Makes a node a person of its own. */
static void
isolate(CdpLinkage *l, int32_t x)
{
	const CdpCoreNode *node = &l->nodes[x];
	int32_t *counts = l->counts + (size_t) x * l->nrules;

	l->group[x] = x;
	l->next[x] = -1;
	l->tail[x] = x;
	l->size[x] = node->seed ? node->size : 1;
	if (node->seed)
		memcpy(counts, node->counts, sizeof(int32_t) * l->nrules);
	else
	{
		memset(counts, 0, sizeof(int32_t) * l->nrules);
		if (!node->uncounted && !node->barred)
			counts[node->rule] = 1;
	}
	l->apart[x] = node->separated;
	l->tag_head[x] = -1;
	for (int32_t t = l->tag_start[x]; t < l->tag_start[x + 1]; t++)
	{
		l->tag_next[t] = l->tag_head[x];
		l->tag_head[x] = t;
	}
}

/* Gives the winner the sides of the loser that she has not yet. */
static void
join_tags(CdpLinkage *l, int32_t winner, int32_t loser)
{
	int32_t next;

	if (l->tag_head[loser] < 0)
		return;
	l->stamp++;
	for (int32_t t = l->tag_head[winner]; t >= 0; t = l->tag_next[t])
		l->mark[l->tags[t]] = l->stamp;
	for (int32_t t = l->tag_head[loser]; t >= 0; t = next)
	{
		next = l->tag_next[t];
		if (l->mark[l->tags[t]] == l->stamp)
			continue;
		l->mark[l->tags[t]] = l->stamp;
		l->tag_next[t] = l->tag_head[winner];
		l->tag_head[winner] = t;
	}
}

/* Joins the people of two nodes. */
static void
join(CdpLinkage *l, int32_t a, int32_t b)
{
	int32_t winner = l->group[a];
	int32_t loser = l->group[b];
	int32_t last;

	if (winner == loser)
		return;
	if (l->size[winner] < l->size[loser])
	{
		int32_t t = winner;

		winner = loser;
		loser = t;
	}
	/* the walk is over nodes; sizes of seeds are larger, which is no harm */
	for (last = loser;; last = l->next[last])
	{
		l->group[last] = winner;
		if (l->next[last] < 0)
			break;
	}
	l->next[l->tail[winner]] = loser;
	l->tail[winner] = last;
	l->size[winner] += l->size[loser];
	for (int32_t r = 0; r < l->nrules; r++)
		l->counts[(size_t) winner * l->nrules + r] += l->counts[(size_t) loser * l->nrules + r];
	if (cdp_core_pos_compare(&l->newest[loser], &l->newest[winner]) > 0)
		l->newest[winner] = l->newest[loser];
	l->contested[winner] |= l->contested[loser];
	l->apart[winner] |= l->apart[loser];
	l->again[winner] |= l->again[loser];
	join_tags(l, winner, loser);
}

/* Values of a namespace that count at this time, over all these people. */
static int32_t
count_in_window(const CdpLinkage *l, const int32_t *groups, int n, int32_t rule,
				int64_t now, int32_t *most)
{
	const CdpCoreRule *r = &l->rules[rule];
	int32_t sum = 0;

	*most = 0;
	for (int i = 0; i < n; i++)
	{
		int32_t count = 0;

		for (int32_t x = groups[i]; x >= 0; x = l->next[x])
		{
			const CdpCoreNode *node = &l->nodes[x];
			int64_t joined = l->joined[x] == NOT_YET ? now : l->joined[x];

			if (node->rule != rule || node->uncounted || node->barred)
				continue;
			if (r->period > 0 && joined <= now - r->period)
				continue;
			if (r->ttl > 0 && node->last_seen < now - r->ttl)
				continue;
			count++;
		}
		sum += count;
		if (count > *most)
			*most = count;
	}
	return sum;
}

/* Does a separation run through these people? */
static bool
separated(CdpLinkage *l, const int32_t *groups, int n)
{
	/* a seed does not say from whom she was separated: rather nobody than the wrong one */
	for (int i = 0; l->as_it_comes && i < n; i++)
		if (l->apart[groups[i]])
			return true;
	if (l->nseparations == 0)
		return false;
	/* mark the sides that are present, then look for the opposite ones */
	l->stamp++;
	for (int i = 0; i < n; i++)
		for (int32_t t = l->tag_head[groups[i]]; t >= 0; t = l->tag_next[t])
		{
			l->mark[l->tags[t]] = l->stamp;
			if (l->mark[l->tags[t] ^ 1] == l->stamp)
				return true;
		}
	return false;
}

/* May these people, at this time, be one? */
static Objection
object(CdpLinkage *l, const int32_t *groups, int n, int64_t now)
{
	Objection o = {CDP_JOINED, -1, false};
	int64_t total = 0;

	if (separated(l, groups, n))
	{
		o.verdict = CDP_SEPARATED;
		return o;
	}
	for (int32_t r = 0; r < l->nrules; r++)
	{
		const CdpCoreRule *rule = &l->rules[r];
		int32_t sum = 0;
		int32_t most = 0;

		if (rule->limit == 0)
			continue;
		for (int i = 0; i < n; i++)
		{
			int32_t c = l->counts[(size_t) groups[i] * l->nrules + r];

			sum += c;
			if (c > most)
				most = c;
		}
		if (sum <= rule->limit || sum == most)
			continue;
		if (rule->period > 0 || rule->ttl > 0)
		{
			o.timely = true;
			/* seeds cannot tell when their values came: a replay will be asked for */
			if (!l->seeded)
				sum = count_in_window(l, groups, n, r, now, &most);
			if (sum <= rule->limit || sum == most)
				continue;
		}
		if (o.rule < 0 || rule->rank < l->rules[o.rule].rank)
			o.rule = r;
	}
	if (o.rule >= 0)
	{
		o.verdict = CDP_OVER_LIMIT;
		return o;
	}
	for (int i = 0; i < n; i++)
		total += l->size[groups[i]];
	if (l->max_nodes > 0 && total > l->max_nodes)
		o.verdict = CDP_TOO_LARGE;
	return o;
}

/* Distinct people of a link's nodes, in the order of the nodes. */
static int
people_of(CdpLinkage *l, const CdpCoreLink *link, int32_t *groups)
{
	int n = 0;

	for (int32_t i = 0; i < link->n; i++)
	{
		int32_t g = l->group[link->nodes[i]];
		bool known = false;

		if (l->nodes[link->nodes[i]].barred)
			continue;
		for (int k = 0; k < n && !known; k++)
			known = groups[k] == g;
		if (!known)
			groups[n++] = g;
	}
	return n;
}

static void
reach(CdpCorePos *newest, const CdpCorePos *pos)
{
	if (cdp_core_pos_compare(pos, newest) > 0)
		*newest = *pos;
}

/* A node is joined with others at this time, or was before. */
static void
came(CdpLinkage *l, int32_t x, int64_t ts)
{
	if (l->joined[x] == NOT_YET || ts < l->joined[x])
		l->joined[x] = ts;
}

static int
compare_ties(const void *a, const void *b)
{
	const Tie *x = a;
	const Tie *y = b;
	const CdpCoreLink *p = &x->l->links[x->link];
	const CdpCoreLink *q = &y->l->links[y->link];
	const CdpCoreNode *nodes = x->l->nodes;
	const CdpCoreRule *rules = x->l->rules;
	int32_t r;
	int32_t s;
	int cmp;

	if (p->override != q->override)
		return p->override ? -1 : 1;
	if (x->fresh != y->fresh)
		return x->fresh ? -1 : 1;
	r = rules[nodes[p->nodes[p->hub]].rule].rank;
	s = rules[nodes[q->nodes[q->hub]].rule].rank;
	if (r != s)
		return r < s ? -1 : 1;
	r = rules[nodes[p->nodes[x->member]].rule].rank;
	s = rules[nodes[q->nodes[y->member]].rule].rank;
	if (r != s)
		return r < s ? -1 : 1;
	cmp = cdp_core_pos_compare(&q->now, &p->now);
	if (cmp != 0)
		return cmp;
	if (x->link != y->link)
		return x->link < y->link ? -1 : 1;
	return x->member - y->member;
}

/* Lists the ties of the people that a link touches; the link's own are fresh. */
static int
collect_ties(CdpLinkage *l, int32_t taken, const int32_t *nodes, int32_t nnodes)
{
	int n = 0;

	for (int32_t i = 0; i < nnodes; i++)
		for (int32_t h = l->hub_start[nodes[i]]; h < l->hub_start[nodes[i] + 1]; h++)
		{
			int32_t k = l->hub_links[h];
			const CdpCoreLink *link = &l->links[k];

			/* now is not set before a link's turn */
			if (link->now.ts == NOT_YET)
				continue;
			if (n + link->n > l->tie_room)
			{
				Tie *more;

				l->tie_room = (n + link->n) * 2;
				more = l->alloc(sizeof(Tie) * l->tie_room);
				if (n > 0)
					memcpy(more, l->ties, sizeof(Tie) * n);
				l->ties = more;
			}
			for (int32_t j = link->hub + 1; j < link->n; j++)
				if (!l->nodes[link->nodes[j]].barred &&
					(k == taken || link->verdict[j] == CDP_JOINED))
					((Tie *) l->ties)[n++] = (Tie){l, k, j, k == taken};
		}
	return n;
}

/*
 * Takes a link whatever it breaks: the people it touches come apart and are
 * built anew, this link first.  What does not fit any more is dropped.
 */
static void
evict(CdpLinkage *l, int32_t taken, const int32_t *groups, int n)
{
	Tie *ties;
	int nties;
	int32_t nnodes = 0;
	const CdpCorePos *pos = &l->links[taken].now;

	for (int i = 0; i < n; i++)
		for (int32_t x = groups[i]; x >= 0; x = l->next[x])
			l->scratch[nnodes++] = x;
	nties = collect_ties(l, taken, l->scratch, nnodes);
	ties = l->ties;
	if (nties > 1)
		qsort(ties, nties, sizeof(Tie), compare_ties);
	for (int32_t i = 0; i < nnodes; i++)
	{
		int32_t x = l->scratch[i];
		CdpCorePos newest = l->newest[l->group[x]];

		isolate(l, x);
		reach(&newest, pos);
		l->newest[x] = newest;
		l->contested[x] = true;
	}
	for (int i = 0; i < nties; i++)
	{
		CdpCoreLink *link = &l->links[ties[i].link];
		int32_t hub = link->nodes[link->hub];
		int32_t member = link->nodes[ties[i].member];
		int32_t pair[2] = {l->group[hub], l->group[member]};
		Objection o = {CDP_JOINED, -1, false};

		if (pair[0] != pair[1])
			o = object(l, pair, 2, pos->ts);
		if (link->override && o.verdict != CDP_SEPARATED)
			o.verdict = CDP_JOINED;
		if (o.verdict == CDP_JOINED)
		{
			join(l, pair[0], pair[1]);
			came(l, hub, pos->ts);
			came(l, member, pos->ts);
			link->verdict[ties[i].member] = CDP_JOINED;
		}
		else
		{
			link->verdict[ties[i].member] = ties[i].fresh ? o.verdict : CDP_NEWER_LINK;
			link->rule = o.rule;
			link->by = taken;
		}
	}
}

/* Joins by rank what fits; demote stops at the first that does not. */
static void
take_in_part(CdpLinkage *l, CdpCoreLink *link, bool none)
{
	bool stopped = none;
	int32_t hub = link->nodes[link->hub];
	Objection first = {CDP_JOINED, -1, false};

	for (int32_t i = link->hub + 1; i < link->n; i++)
	{
		int32_t x = link->nodes[i];
		int32_t pair[2] = {l->group[hub], l->group[x]};
		Objection o = first;

		if (l->nodes[x].barred || pair[0] == pair[1])
			continue;
		if (!stopped)
		{
			o = object(l, pair, 2, link->now.ts);
			if (o.verdict == CDP_JOINED || (link->override && o.verdict != CDP_SEPARATED))
			{
				join(l, pair[0], pair[1]);
				came(l, hub, link->now.ts);
				came(l, x, link->now.ts);
				continue;
			}
			if (o.verdict != CDP_SEPARATED)
			{
				stopped = true;
				first = o;
			}
		}
		link->verdict[i] = o.verdict;
		if (o.rule >= 0)
			link->rule = o.rule;
	}
}

/*
 * Can these people not be had as seeds?  Everything that touched them counts,
 * not only what is before them:
 *
 *	  - what seemed to be over and was not counted meanwhile;
 *	  - what repeats moves its turn, and so may change whatever was decided
 *		since its last one;
 *	  - an older link makes people larger for those who were refused later.
 *		With demote and no times they stay refused, for the same reason or a
 *		better one; otherwise what is left of their link may change;
 *	  - one who is separated is passed over instead of ending the link.
 *
 * Where nothing was refused all is within the limits, so any order is.
 */
static bool
needs_replay(const CdpLinkage *l, const CdpCoreLink *link, const int32_t *groups, int n,
			 const Objection *o, const CdpCorePos *pos)
{
	bool late = link->override;
	bool contested = false;
	bool separated = false;

	for (int i = 0; i < n; i++)
	{
		late |= cdp_core_pos_compare(pos, &l->newest[groups[i]]) <= 0;
		contested |= l->contested[groups[i]];
		separated |= l->apart[groups[i]];
	}
	if (n > 1 && separated)
		return true;
	if (contested && link->revives)
		return true;
	if (contested && (separated || (l->repeats && (late || !link->mention))))
		return true;
	if (o->verdict == CDP_JOINED)
		return false;
	return late || o->timely ||
		   (o->rule >= 0 && l->rules[o->rule].policy == CDP_POLICY_NEWEST_WINS);
}

static void
take(CdpLinkage *l, int32_t index, const CdpCorePos *pos, int32_t *groups)
{
	CdpCoreLink *link = &l->links[index];
	int32_t hub;
	int n;
	Objection o = {CDP_JOINED, -1, false};
	bool none;

	link->now = *pos;
	for (int32_t i = 0; i < link->n; i++)
		link->verdict[i] = l->nodes[link->nodes[i]].barred ? CDP_BARRED : CDP_JOINED;
	if (link->hub < 0)
		return;
	hub = link->nodes[link->hub];
	n = people_of(l, link, groups);
	if (n > 1)
		o = object(l, groups, n, pos->ts);
	if (l->seeded && needs_replay(l, link, groups, n, &o, pos))
		for (int i = 0; i < n; i++)
			l->again[groups[i]] = true;
	if (n > 1)
		link->decided = true;

	if (o.verdict == CDP_JOINED || (link->override && o.verdict != CDP_SEPARATED))
	{
		for (int i = 1; i < n; i++)
			join(l, groups[0], groups[i]);
		for (int32_t i = link->hub + 1; i < link->n; i++)
			if (!l->nodes[link->nodes[i]].barred)
			{
				came(l, hub, pos->ts);
				came(l, link->nodes[i], pos->ts);
			}
		l->contested[l->group[hub]] |= o.timely;
		if (!link->override && !link->mention && (n > 1 || l->repeats))
			reach(&l->newest[l->group[hub]], pos);
		return;
	}
	none = o.rule >= 0 && l->rules[o.rule].policy == CDP_POLICY_REJECT;
	if (o.rule >= 0 && l->rules[o.rule].policy == CDP_POLICY_NEWEST_WINS && !l->seeded)
		evict(l, index, groups, n);
	else
		take_in_part(l, link, none);
	/* what joined in part made its people, what was refused touched them */
	for (int32_t i = 0; i < link->n; i++)
	{
		int32_t x = link->nodes[i];
		int32_t g = l->group[x];

		if (l->nodes[x].barred)
			continue;
		if (none && g != l->group[hub])
		{
			link->verdict[i] = CDP_OVER_LIMIT;
			link->rule = o.rule;
		}
		l->contested[g] = true;
		if (!link->override && (l->repeats || (g == l->group[hub] && x != hub)))
			reach(&l->newest[g], pos);
	}
}

/* Lists, per node, the sides of separations it is on: 2 * separation + side. */
static void
prepare_tags(CdpLinkage *l)
{
	int32_t total = 0;

	l->tag_start = alloc_zero(l, (size_t) l->nnodes + 2, sizeof(int32_t));
	for (int32_t s = 0; s < l->nseparations; s++)
		for (int side = 0; side < 2; side++)
			for (int32_t i = 0; i < l->separations[s].n[side]; i++)
			{
				l->tag_start[l->separations[s].nodes[side][i] + 2]++;
				total++;
			}
	for (int32_t x = 0; x < l->nnodes; x++)
		l->tag_start[x + 2] += l->tag_start[x + 1];
	l->tags = alloc_zero(l, total, sizeof(int32_t));
	for (int32_t s = 0; s < l->nseparations; s++)
		for (int side = 0; side < 2; side++)
			for (int32_t i = 0; i < l->separations[s].n[side]; i++)
				l->tags[l->tag_start[l->separations[s].nodes[side][i] + 1]++] = 2 * s + side;
	l->tag_next = alloc_zero(l, total, sizeof(int32_t));
	l->tag_head = alloc_zero(l, l->nnodes, sizeof(int32_t));
}

/* Lists, per node, the links whose hub it is. */
static void
prepare_hubs(CdpLinkage *l)
{
	l->hub_start = alloc_zero(l, (size_t) l->nnodes + 2, sizeof(int32_t));
	l->hub_links = alloc_zero(l, l->nlinks, sizeof(int32_t));
	for (int32_t k = 0; k < l->nlinks; k++)
		if (l->links[k].hub >= 0)
			l->hub_start[l->links[k].nodes[l->links[k].hub] + 2]++;
	for (int32_t x = 0; x < l->nnodes; x++)
		l->hub_start[x + 2] += l->hub_start[x + 1];
	for (int32_t k = 0; k < l->nlinks; k++)
		if (l->links[k].hub >= 0)
			l->hub_links[l->hub_start[l->links[k].nodes[l->links[k].hub] + 1]++] = k;
}

/*
 * Decides.  The verdicts of links and the people of nodes are the result;
 * CDP_LINKAGE_REPLAY: seeds marked replay must come as nodes, with all they
 * are linked to.
 */
CdpLinkageAnswer
cdp_core_linkage_run(CdpLinkage *l)
{
	Turn *turns;
	int32_t nturns = 0;
	int32_t widest = 1;
	int32_t *groups;
	bool replay = false;

	l->group = alloc_zero(l, l->nnodes, sizeof(int32_t));
	l->next = alloc_zero(l, l->nnodes, sizeof(int32_t));
	l->tail = alloc_zero(l, l->nnodes, sizeof(int32_t));
	l->size = alloc_zero(l, l->nnodes, sizeof(int32_t));
	l->joined = alloc_zero(l, l->nnodes, sizeof(int64_t));
	l->newest = alloc_zero(l, l->nnodes, sizeof(CdpCorePos));
	l->contested = alloc_zero(l, l->nnodes, sizeof(bool));
	l->counts = alloc_zero(l, (size_t) l->nnodes * l->nrules, sizeof(int32_t));
	l->mark = alloc_zero(l, 2 * (size_t) l->nseparations, sizeof(int32_t));
	l->stamp = 0;
	l->apart = alloc_zero(l, l->nnodes, sizeof(bool));
	l->again = alloc_zero(l, l->nnodes, sizeof(bool));
	l->scratch = alloc_zero(l, l->nnodes, sizeof(int32_t));
	l->ties = NULL;
	l->tie_room = 0;
	prepare_tags(l);
	for (int32_t x = 0; x < l->nnodes; x++)
	{
		isolate(l, x);
		l->joined[x] = NOT_YET;
		l->newest[x].ts = NOT_YET;
		if (l->nodes[x].seed)
		{
			l->newest[x] = l->nodes[x].newest;
			l->contested[x] = l->nodes[x].contested;
		}
		l->nodes[x].replay = false;
	}

	turns = l->alloc(sizeof(Turn) * (2 * (size_t) l->nlinks + 1));
	for (int32_t k = 0; k < l->nlinks; k++)
	{
		CdpCoreLink *link = &l->links[k];

		link->verdict = alloc_zero(l, link->n, 1);
		link->rule = link->by = -1;
		link->decided = false;
		link->now.ts = NOT_YET;
		link->hub = 0;
		while (link->hub < link->n && l->nodes[link->nodes[link->hub]].barred)
			link->hub++;
		if (link->hub == link->n)
			link->hub = -1;
		if (link->n > widest)
			widest = link->n;
		turns[nturns++] = (Turn){l, k, false};
		if (l->repeats && cdp_core_pos_compare(&link->last, &link->first) > 0)
			turns[nturns++] = (Turn){l, k, true};
	}
	prepare_hubs(l);
	qsort(turns, nturns, sizeof(Turn), compare_turns);
	groups = l->alloc(sizeof(int32_t) * widest);
	for (int32_t t = 0; t < nturns; t++)
	{
		if (l->interrupted && (t & 63) == 0)
			(void) l->interrupted();
		take(l, turns[t].link, turn_pos(&turns[t]), groups);
	}
	for (int32_t x = 0; x < l->nnodes; x++)
	{
		l->nodes[x].replay = l->again[l->group[x]];
		replay |= l->nodes[x].replay;
	}
	return replay && !l->as_it_comes ? CDP_LINKAGE_REPLAY : CDP_LINKAGE_DONE;
}
