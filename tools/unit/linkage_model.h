/*
 * tools/unit/linkage_model.h
 *		What core/linkage.h says, done naively.
 *
 * A history is a few rules, identifiers and messages, with the order and the
 * batches in which they arrive.  The oracle knows neither seeds nor counts it
 * would keep: it takes the evidence that is there in the order of time and
 * looks at every node for every question.
 */
#ifndef LINKAGE_MODEL_H
#define LINKAGE_MODEL_H

#include "core/linkage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MODEL_NODES 8
#define MODEL_RULES 4
#define MODEL_MESSAGES 14
#define MODEL_SEPARATIONS 3
#define MODEL_MEMBERS 6

typedef struct ModelMessage
{
	int n; /* 0: not there */
	int nodes[MODEL_MEMBERS];
	int ts;
	int key;
	bool override;
} ModelMessage;

typedef struct ModelSeparation
{
	unsigned side[2]; /* sets of nodes */
	int arrives; /* before the batch of this number */
} ModelSeparation;

typedef struct ModelHistory
{
	int nrules;
	CdpCoreRule rules[MODEL_RULES];
	int nnodes;
	int rule[MODEL_NODES];
	bool uncounted[MODEL_NODES];
	bool barred[MODEL_NODES];
	int max_nodes;
	/* in the order of arrival */
	int nmessages;
	ModelMessage messages[MODEL_MESSAGES];
	int batch[MODEL_MESSAGES]; /* ascending */
	int nseparations;
	ModelSeparation separations[MODEL_SEPARATIONS];
} ModelHistory;

/* One set of nodes that messages named. */
typedef struct ModelEvidence
{
	int n;
	int nodes[MODEL_MEMBERS]; /* most important first */
	bool override;
	CdpCorePos first;
	CdpCorePos last;
	/* of the oracle */
	CdpTieVerdict verdict[MODEL_MEMBERS];
	bool taken;
	CdpCorePos now;
} ModelEvidence;

typedef struct ModelFacts
{
	int n;
	ModelEvidence evidence[MODEL_MESSAGES];
	int64_t last_seen[MODEL_NODES];
	bool known[MODEL_NODES];
	int nseparations;
	ModelSeparation separations[MODEL_SEPARATIONS];
} ModelFacts;

/* -- what is known -- */

static CdpCorePos
model_pos(const ModelMessage *m)
{
	CdpCorePos pos = {m->ts, {0}};

	pos.key[0] = (uint8_t) m->key;
	return pos;
}

static bool
model_before(const ModelHistory *h, int a, int b)
{
	int p = h->rules[h->rule[a]].rank;
	int q = h->rules[h->rule[b]].rank;

	if (p != q)
		return p < q;
	return h->rule[a] != h->rule[b] ? h->rule[a] < h->rule[b] : a < b;
}

/* Does a repeated link count again?  Unless all is demote, and for all time. */
static bool
model_repeats(const ModelHistory *h)
{
	for (int r = 0; r < h->nrules; r++)
		if (h->rules[r].limit > 0 && (h->rules[r].policy != CDP_POLICY_DEMOTE ||
									  h->rules[r].period > 0 || h->rules[r].ttl > 0))
			return true;
	return false;
}

/* Sorts a message's nodes; the same nodes again are the same evidence. */
static void
model_learn(const ModelHistory *h, ModelFacts *f, const ModelMessage *m)
{
	ModelEvidence e = {0};

	for (int i = 0; i < m->n; i++)
	{
		int x = m->nodes[i];
		int k = e.n++;

		if (!f->known[x] || f->last_seen[x] < m->ts)
			f->last_seen[x] = m->ts;
		f->known[x] = true;
		for (; k > 0 && model_before(h, x, e.nodes[k - 1]); k--)
			e.nodes[k] = e.nodes[k - 1];
		e.nodes[k] = x;
	}
	if (m->n < 2)
		return;
	e.override = m->override;
	e.first = e.last = model_pos(m);
	for (int k = 0; k < f->n; k++)
	{
		ModelEvidence *o = &f->evidence[k];

		if (o->n != e.n || o->override != e.override ||
			memcmp(o->nodes, e.nodes, sizeof(int) * e.n) != 0)
			continue;
		if (cdp_core_pos_compare(&e.first, &o->first) < 0)
			o->first = e.first;
		if (cdp_core_pos_compare(&e.last, &o->last) > 0)
			o->last = e.last;
		return;
	}
	f->evidence[f->n++] = e;
}

/* -- the oracle -- */

typedef struct Oracle
{
	const ModelHistory *h;
	ModelFacts *f;
	int person[MODEL_NODES];
	int64_t joined[MODEL_NODES]; /* when first with others, in time */
	bool has_joined[MODEL_NODES];
} Oracle;

static bool
oracle_counts(const Oracle *o, int x, int rule, int64_t now)
{
	const CdpCoreRule *r = &o->h->rules[rule];

	if (o->h->rule[x] != rule || o->h->uncounted[x] || o->h->barred[x])
		return false;
	if (r->period > 0 && o->has_joined[x] && o->joined[x] <= now - r->period)
		return false;
	return r->ttl == 0 || o->f->last_seen[x] >= now - r->ttl;
}

/* What becomes of these nodes' people if they are to be one, at this time. */
static CdpTieVerdict
oracle_judge(const Oracle *o, const int *nodes, int n, int64_t now, int *rule)
{
	bool in[MODEL_NODES] = {false};
	int size[MODEL_NODES] = {0};
	int total = 0;
	int largest = 0;

	*rule = -1;
	for (int i = 0; i < n; i++)
		in[o->person[nodes[i]]] = true;
	for (int s = 0; s < o->f->nseparations; s++)
		for (int a = 0; a < o->h->nnodes; a++)
			for (int b = 0; b < o->h->nnodes; b++)
				if (in[o->person[a]] && in[o->person[b]] &&
					(o->f->separations[s].side[0] >> a & 1) &&
					(o->f->separations[s].side[1] >> b & 1))
					return CDP_SEPARATED;
	for (int r = 0; r < o->h->nrules; r++)
	{
		int count[MODEL_NODES] = {0};
		int sum = 0;
		int most = 0;

		if (o->h->rules[r].limit == 0)
			continue;
		for (int x = 0; x < o->h->nnodes; x++)
			if (in[o->person[x]] && oracle_counts(o, x, r, now))
			{
				sum++;
				if (++count[o->person[x]] > most)
					most = count[o->person[x]];
			}
		if (sum > o->h->rules[r].limit && sum > most &&
			(*rule < 0 || o->h->rules[r].rank < o->h->rules[*rule].rank))
			*rule = r;
	}
	if (*rule >= 0)
		return CDP_OVER_LIMIT;
	for (int x = 0; x < o->h->nnodes; x++)
		if (in[o->person[x]])
		{
			total++;
			if (++size[o->person[x]] > largest)
				largest = size[o->person[x]];
		}
	if (o->h->max_nodes > 0 && total > o->h->max_nodes && total > largest)
		return CDP_TOO_LARGE;
	return CDP_JOINED;
}

static void
oracle_join(Oracle *o, int a, int b, int64_t ts)
{
	int from = o->person[b];
	int to = o->person[a];
	int nodes[2] = {a, b};

	for (int i = 0; i < 2; i++)
	{
		if (!o->has_joined[nodes[i]] || ts < o->joined[nodes[i]])
			o->joined[nodes[i]] = ts;
		o->has_joined[nodes[i]] = true;
	}

	for (int x = 0; x < o->h->nnodes; x++)
		if (o->person[x] == from)
			o->person[x] = to;
}

/* Does tie (e, i) come before tie (f, j) when people are built anew? */
static bool
oracle_tie_before(const Oracle *o, const ModelEvidence *taken,
				  const ModelEvidence *e, int i, int hub,
				  const ModelEvidence *f, int j, int other)
{
	const CdpCoreRule *rules = o->h->rules;
	int a;
	int b;
	int cmp;

	if (e->override != f->override)
		return e->override;
	if ((e == taken) != (f == taken))
		return e == taken;
	a = rules[o->h->rule[hub]].rank;
	b = rules[o->h->rule[other]].rank;
	if (a != b)
		return a < b;
	a = rules[o->h->rule[e->nodes[i]]].rank;
	b = rules[o->h->rule[f->nodes[j]]].rank;
	if (a != b)
		return a < b;
	cmp = cdp_core_pos_compare(&e->now, &f->now);
	if (cmp != 0)
		return cmp > 0;
	return e == f ? i < j : e < f;
}

/* The first of a link's nodes that may take part. */
static int
oracle_hub(const Oracle *o, const ModelEvidence *e)
{
	for (int i = 0; i < e->n; i++)
		if (!o->h->barred[e->nodes[i]])
			return i;
	return -1;
}

static void
oracle_evict(Oracle *o, ModelEvidence *taken)
{
	bool touched[MODEL_NODES] = {false};
	bool done[MODEL_MESSAGES][MODEL_MEMBERS] = {{false}};

	for (int i = 0; i < taken->n; i++)
		for (int x = 0; x < o->h->nnodes; x++)
			if (!o->h->barred[taken->nodes[i]] && o->person[x] == o->person[taken->nodes[i]])
				touched[x] = true;
	for (int x = 0; x < o->h->nnodes; x++)
		if (touched[x])
			o->person[x] = x;
	for (;;)
	{
		ModelEvidence *best = NULL;
		int at = 0;
		int hub;
		int pair[2];
		int rule;
		CdpTieVerdict verdict = CDP_JOINED;

		for (int k = 0; k < o->f->n; k++)
		{
			ModelEvidence *e = &o->f->evidence[k];

			hub = oracle_hub(o, e);
			if (!e->taken || hub < 0 || !touched[e->nodes[hub]])
				continue;
			for (int i = 0; i < e->n; i++)
				if (i != hub && !o->h->barred[e->nodes[i]] && !done[k][i] &&
					(e == taken || e->verdict[i] == CDP_JOINED) &&
					(best == NULL ||
					 oracle_tie_before(o, taken, e, i, e->nodes[hub], best, at,
									   best->nodes[oracle_hub(o, best)])))
				{
					best = e;
					at = i;
				}
		}
		if (best == NULL)
			return;
		done[best - o->f->evidence][at] = true;
		pair[0] = best->nodes[oracle_hub(o, best)];
		pair[1] = best->nodes[at];
		if (o->person[pair[0]] != o->person[pair[1]])
			verdict = oracle_judge(o, pair, 2, taken->now.ts, &rule);
		if (best->override && verdict != CDP_SEPARATED)
			verdict = CDP_JOINED;
		if (verdict == CDP_JOINED)
			oracle_join(o, pair[0], pair[1], taken->now.ts);
		best->verdict[at] = verdict == CDP_JOINED || best == taken ? verdict : CDP_NEWER_LINK;
	}
}

static void
oracle_take(Oracle *o, ModelEvidence *e, const CdpCorePos *pos)
{
	int nodes[MODEL_MEMBERS];
	int n = 0;
	int hub = oracle_hub(o, e);
	bool one = true;
	bool stopped = false;
	int rule;
	CdpTieVerdict verdict;
	CdpTieVerdict stop = CDP_JOINED;
	CdpPolicy policy;

	e->taken = true;
	e->now = *pos;
	for (int i = 0; i < e->n; i++)
	{
		int x = e->nodes[i];

		e->verdict[i] = o->h->barred[x] ? CDP_BARRED : CDP_JOINED;
		if (o->h->barred[x])
			continue;
		nodes[n++] = x;
		one &= o->person[x] == o->person[nodes[0]];
	}
	if (n == 0)
		return;
	if (one)
	{
		for (int i = 1; i < n; i++)
			oracle_join(o, nodes[0], nodes[i], pos->ts);
		return;
	}
	verdict = oracle_judge(o, nodes, n, pos->ts, &rule);
	if (e->override && verdict != CDP_SEPARATED)
		verdict = CDP_JOINED;
	if (verdict == CDP_JOINED)
	{
		for (int i = 1; i < n; i++)
			oracle_join(o, nodes[0], nodes[i], pos->ts);
		return;
	}
	policy = verdict == CDP_OVER_LIMIT ? o->h->rules[rule].policy : CDP_POLICY_DEMOTE;
	if (policy == CDP_POLICY_NEWEST_WINS)
	{
		oracle_evict(o, e);
		return;
	}
	if (policy == CDP_POLICY_REJECT)
	{
		stopped = true;
		stop = CDP_OVER_LIMIT;
	}
	for (int i = 0; i < e->n; i++)
	{
		int pair[2] = {e->nodes[hub], e->nodes[i]};

		if (o->h->barred[pair[1]] || o->person[pair[0]] == o->person[pair[1]])
			continue;
		if (!stopped)
		{
			verdict = oracle_judge(o, pair, 2, pos->ts, &rule);
			if (e->override && verdict != CDP_SEPARATED)
				verdict = CDP_JOINED;
			if (verdict == CDP_JOINED)
			{
				oracle_join(o, pair[0], pair[1], pos->ts);
				continue;
			}
			e->verdict[i] = verdict;
			if (verdict == CDP_SEPARATED)
				continue; /* passed over */
			stopped = true;
			stop = verdict;
		}
		e->verdict[i] = stop;
	}
}

/* People and verdicts by the facts that are there. */
static void
oracle_run(Oracle *o, const ModelHistory *h, ModelFacts *f)
{
	struct
	{
		int evidence;
		bool again;
		bool done;
	} turns[2 * MODEL_MESSAGES];
	int n = 0;

	memset(o, 0, sizeof(*o));
	o->h = h;
	o->f = f;
	for (int x = 0; x < h->nnodes; x++)
		o->person[x] = x;
	for (int k = 0; k < f->n; k++)
	{
		f->evidence[k].taken = false;
		turns[n].evidence = k;
		turns[n].again = turns[n].done = false;
		n++;
		if (!model_repeats(h) ||
			cdp_core_pos_compare(&f->evidence[k].first, &f->evidence[k].last) == 0)
			continue;
		turns[n].evidence = k;
		turns[n].again = true;
		turns[n++].done = false;
	}
	for (int done = 0; done < n; done++)
	{
		int next = -1;
		const CdpCorePos *at = NULL;

		for (int t = 0; t < n; t++)
		{
			const ModelEvidence *e = &f->evidence[turns[t].evidence];
			const CdpCorePos *pos = turns[t].again ? &e->last : &e->first;

			/* what somebody decided holds from the beginning */
			if (!turns[t].done &&
				(next < 0 || e->override > f->evidence[turns[next].evidence].override ||
				 (e->override == f->evidence[turns[next].evidence].override &&
				  cdp_core_pos_compare(pos, at) < 0)))
			{
				next = t;
				at = pos;
			}
		}
		turns[next].done = true;
		oracle_take(o, &f->evidence[turns[next].evidence], at);
	}
}

#endif /* LINKAGE_MODEL_H */
