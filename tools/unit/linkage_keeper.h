/*
 * tools/unit/linkage_keeper.h
 *		core/linkage.c against the oracle: all at once, and as it is called while
 *		messages arrive in any order.
 *
 * The keeper keeps people as seeds, as src/identity/graph_decide.c does; after
 * each batch they must be the oracle's.
 */
#ifndef LINKAGE_KEEPER_H
#define LINKAGE_KEEPER_H

#include "linkage_model.h"

#define MODEL_BLOCKS 4096

static void *model_blocks[MODEL_BLOCKS];
static int model_nblocks;

static void *
model_alloc(size_t size)
{
	void *p = malloc(size);

	if (p == NULL || model_nblocks == MODEL_BLOCKS)
		abort();
	return model_blocks[model_nblocks++] = p;
}

static void
model_free(void)
{
	while (model_nblocks > 0)
		free(model_blocks[--model_nblocks]);
}

typedef struct ModelRun
{
	CdpLinkage l;
	CdpCoreNode nodes[MODEL_NODES];
	CdpCoreLink links[2 * MODEL_MESSAGES];
	int32_t members[2 * MODEL_MESSAGES][MODEL_MEMBERS];
	CdpCoreSeparation separations[MODEL_SEPARATIONS];
	int32_t sides[MODEL_SEPARATIONS][2][MODEL_NODES];
} ModelRun;

static void
model_add_link(ModelRun *run, const ModelEvidence *e)
{
	CdpCoreLink *link = &run->links[run->l.nlinks];
	int32_t *members = run->members[run->l.nlinks++];

	memset(link, 0, sizeof(*link));
	link->n = e->n;
	for (int i = 0; i < e->n; i++)
		members[i] = e->nodes[i];
	link->nodes = members;
	link->first = e->first;
	link->last = e->last;
	link->override = e->override;
}

/* All nodes of a history, no links yet; those outside "in" stay alone. */
static void
model_prepare(ModelRun *run, const ModelHistory *h, const ModelFacts *f, const bool *in)
{
	CdpLinkage *l = &run->l;

	memset(run, 0, sizeof(*run));
	l->nrules = h->nrules;
	l->rules = h->rules;
	l->nnodes = h->nnodes;
	l->nodes = run->nodes;
	l->links = run->links;
	l->separations = run->separations;
	l->max_nodes = h->max_nodes;
	for (int r = 0; r < h->nrules; r++)
		l->repeats |= cdp_core_rule_repeats(&h->rules[r]);
	l->alloc = model_alloc;
	for (int x = 0; x < h->nnodes; x++)
	{
		run->nodes[x].rule = h->rule[x];
		run->nodes[x].barred = h->barred[x];
		run->nodes[x].uncounted = h->uncounted[x];
		run->nodes[x].last_seen = f->last_seen[x];
	}
	for (int s = 0; s < f->nseparations; s++)
	{
		CdpCoreSeparation *separation = &run->separations[l->nseparations++];

		for (int side = 0; side < 2; side++)
		{
			separation->nodes[side] = run->sides[s][side];
			for (int x = 0; x < h->nnodes; x++)
				if (in[x] && (f->separations[s].side[side] >> x & 1))
					run->sides[s][side][separation->n[side]++] = x;
		}
	}
}

/* Are these labels the same partition of the nodes that are in? */
static bool
model_same_people(const int *a, const int32_t *b, int n)
{
	for (int x = 0; x < n; x++)
		for (int y = 0; y < x; y++)
			if ((a[x] == a[y]) != (b[x] == b[y]))
				return false;
	return true;
}

/* All at once against the oracle: people and the fate of every link. */
static bool
model_check_full(const ModelHistory *h, ModelFacts *f)
{
	static ModelRun run;
	Oracle o;
	bool in[MODEL_NODES];
	bool same;

	memset(in, true, sizeof(in));
	oracle_run(&o, h, f);
	model_prepare(&run, h, f, in);
	for (int k = 0; k < f->n; k++)
		model_add_link(&run, &f->evidence[k]);
	same = cdp_core_linkage_run(&run.l) == CDP_LINKAGE_DONE &&
		   model_same_people(o.person, run.l.group, h->nnodes);
	for (int k = 0; k < f->n; k++)
		for (int i = 0; i < f->evidence[k].n; i++)
			same = same && run.links[k].verdict[i] == f->evidence[k].verdict[i];
	model_free();
	return same;
}

/* -- the caller, as in src/identity/graph*.c -- */

typedef struct Keeper
{
	const ModelHistory *h;
	ModelFacts facts;
	int32_t person[MODEL_NODES]; /* label: one of the nodes */
	/* by label */
	CdpCorePos newest[MODEL_NODES];
	bool contested[MODEL_NODES];
	bool separated[MODEL_NODES];
	/* statistics */
	long questions;
	long replays;
} Keeper;

/* Everything that evidence ties to these people. */
static void
keeper_close(const Keeper *k, bool *in)
{
	bool more = true;

	while (more)
	{
		more = false;
		for (int x = 0; x < k->h->nnodes; x++)
			for (int y = 0; y < k->h->nnodes; y++)
				if (in[x] && !in[y] && k->person[x] == k->person[y])
					in[y] = more = true;
		for (int e = 0; e < k->facts.n; e++)
		{
			bool any = false;

			for (int i = 0; i < k->facts.evidence[e].n; i++)
				any |= in[k->facts.evidence[e].nodes[i]];
			for (int i = 0; any && i < k->facts.evidence[e].n; i++)
				if (!in[k->facts.evidence[e].nodes[i]])
					in[k->facts.evidence[e].nodes[i]] = more = true;
		}
	}
}

/* Resolves a component again, with links of the batch. */
static void
keeper_replay(Keeper *k, const bool *in, const ModelEvidence *links, int nlinks)
{
	static ModelRun run;
	CdpLinkage *l = &run.l;

	k->replays++;
	model_prepare(&run, k->h, &k->facts, in);
	for (int e = 0; e < k->facts.n; e++)
		if (in[k->facts.evidence[e].nodes[0]])
			model_add_link(&run, &k->facts.evidence[e]);
	for (int i = 0; i < nlinks; i++)
	{
		CdpCoreLink *fresh;

		model_add_link(&run, &links[i]);
		fresh = &run.links[l->nlinks - 1];
		for (int e = 0; e < l->nlinks - 1; e++)
		{
			CdpCoreLink *known = &run.links[e];

			if (known->n != fresh->n || known->override != fresh->override ||
				memcmp(known->nodes, fresh->nodes, sizeof(int32_t) * fresh->n) != 0)
				continue;
			if (cdp_core_pos_compare(&known->first, &fresh->first) < 0)
				fresh->first = known->first;
			if (cdp_core_pos_compare(&known->last, &fresh->last) > 0)
				fresh->last = known->last;
			known->first = fresh->first;
			known->last = fresh->last;
		}
	}
	if (cdp_core_linkage_run(l) != CDP_LINKAGE_DONE)
		abort();
	for (int x = 0; x < k->h->nnodes; x++)
	{
		if (!in[x])
			continue;
		k->person[x] = l->group[x];
		k->newest[l->group[x]] = l->newest[l->group[x]];
		k->contested[l->group[x]] = l->contested[l->group[x]];
		k->separated[l->group[x]] = false;
	}
	for (int s = 0; s < k->facts.nseparations; s++)
		for (int x = 0; x < k->h->nnodes; x++)
			for (int side = 0; side < 2; side++)
				if (in[x] && (k->facts.separations[s].side[side] >> x & 1))
					k->separated[l->group[x]] = true;
	model_free();
}

/* A batch: the links of some messages, sorted, and what they join in the raw. */
typedef struct KeeperBatch
{
	ModelEvidence links[MODEL_MESSAGES];
	int n;
	bool fresh[MODEL_NODES];
	bool used[MODEL_NODES];
	int raw[MODEL_NODES];
} KeeperBatch;

static void
keeper_unite(const Keeper *k, KeeperBatch *b, int x, int y)
{
	int from = b->raw[y];
	int to = b->raw[x];

	for (int i = 0; i < k->h->nnodes; i++)
		if (b->raw[i] == from)
			b->raw[i] = to;
}

static void
keeper_plan(const Keeper *k, KeeperBatch *b, const ModelMessage *messages, int n)
{
	memset(b, 0, sizeof(*b));
	for (int x = 0; x < k->h->nnodes; x++)
		b->raw[x] = x;
	for (int x = 0; x < k->h->nnodes; x++)
		for (int y = 0; y < x; y++)
			if (k->facts.known[x] && k->facts.known[y] && k->person[x] == k->person[y])
				keeper_unite(k, b, x, y);
	for (int m = 0; m < n; m++)
	{
		ModelFacts one = {0};

		for (int i = 0; i < messages[m].n; i++)
		{
			int x = messages[m].nodes[i];

			b->used[x] = true;
			b->fresh[x] = !k->facts.known[x];
			keeper_unite(k, b, messages[m].nodes[0], x);
		}
		model_learn(k->h, &one, &messages[m]);
		if (one.n > 0)
			b->links[b->n++] = one.evidence[0];
		else if (k->h->rules[k->h->rule[messages[m].nodes[0]]].ttl > 0)
		{
			ModelEvidence *mention = &b->links[b->n++];

			memset(mention, 0, sizeof(*mention));
			mention->n = 1;
			mention->nodes[0] = messages[m].nodes[0];
			mention->first = mention->last = model_pos(&messages[m]);
		}
	}
}

/* Whom the batch names, and which raw groups bring several together. */
static bool
keeper_must_ask(Keeper *k, const KeeperBatch *b, int *parts)
{
	bool ask = false;

	for (int x = 0; x < k->h->nnodes; x++)
	{
		bool counted = false;

		if (!b->used[x])
			continue;
		if (b->fresh[x])
		{
			k->person[x] = x;
			k->newest[x] = (CdpCorePos){INT64_MIN, {0}};
			k->contested[x] = k->separated[x] = false;
		}
		for (int y = 0; y < x; y++)
			counted |= b->used[y] && k->person[y] == k->person[x];
		if (!counted)
			parts[b->raw[x]]++;
		ask |= parts[b->raw[x]] > 1;
		ask |= k->contested[k->person[x]];
	}
	return ask;
}

/* The batch as seeds, fresh identifiers and links; a seed has its label's number. */
static void
keeper_pose(const Keeper *k, const KeeperBatch *b, ModelRun *run, int32_t (*counts)[MODEL_RULES])
{
	const ModelHistory *h = k->h;
	bool none[MODEL_NODES] = {false};
	int32_t size[MODEL_NODES] = {0};

	model_prepare(run, h, &k->facts, none);
	run->l.nseparations = 0;
	run->l.seeded = true;
	memset(counts, 0, sizeof(int32_t) * MODEL_NODES * MODEL_RULES);
	for (int x = 0; x < h->nnodes; x++)
		if (k->facts.known[x])
		{
			size[k->person[x]]++;
			counts[k->person[x]][h->rule[x]] += !h->uncounted[x];
		}
	for (int x = 0; x < h->nnodes; x++)
	{
		CdpCoreNode *node = &run->nodes[x];

		if (b->fresh[x])
			continue;
		node->seed = true;
		node->size = size[x] > 0 ? size[x] : 1;
		node->counts = counts[x];
		node->newest = k->newest[x];
		node->contested = k->contested[x];
		node->separated = k->separated[x];
	}
	for (int i = 0; i < b->n; i++)
	{
		ModelEvidence e = b->links[i];

		e.n = 0;
		for (int j = 0; j < b->links[i].n; j++)
		{
			int x = k->person[b->links[i].nodes[j]];
			bool seen = false;

			for (int y = 0; y < e.n; y++)
				seen |= e.nodes[y] == x;
			if (!seen)
				e.nodes[e.n++] = x;
		}
		model_add_link(run, &e);
		run->links[i].mention = b->links[i].n == 1;
	}
}

/* Resolves again what seeds cannot tell; says which nodes it did. */
static void
keeper_again(Keeper *k, const KeeperBatch *b, const ModelRun *run, bool *in)
{
	ModelEvidence links[MODEL_MESSAGES];
	int n = 0;
	bool more = true;

	for (int x = 0; x < k->h->nnodes; x++)
		in[x] = (b->fresh[x] || k->facts.known[x]) && run->nodes[k->person[x]].replay;
	/* what a batch brings together comes together, and so does its component */
	while (more)
	{
		more = false;
		keeper_close(k, in);
		for (int x = 0; x < k->h->nnodes; x++)
			for (int y = 0; y < k->h->nnodes; y++)
				if (in[x] && !in[y] && b->used[y] && b->raw[x] == b->raw[y])
					in[y] = more = true;
	}
	for (int i = 0; i < b->n; i++)
		if (b->links[i].n > 1 && in[b->links[i].nodes[0]])
			links[n++] = b->links[i];
	keeper_replay(k, in, links, n);
}

/* One batch. */
static void
keeper_take(Keeper *k, const ModelMessage *messages, int n)
{
	static ModelRun run;
	KeeperBatch b;
	CdpLinkage *l = &run.l;
	int32_t counts[MODEL_NODES][MODEL_RULES];
	int parts[MODEL_NODES] = {0};
	bool again[MODEL_NODES] = {false};
	int32_t group[MODEL_NODES];

	keeper_plan(k, &b, messages, n);
	for (int m = 0; m < n; m++)
		for (int i = 0; i < messages[m].n; i++)
		{
			int64_t *last = &k->facts.last_seen[messages[m].nodes[i]];

			if (*last < messages[m].ts)
				*last = messages[m].ts;
		}
	if (keeper_must_ask(k, &b, parts))
	{
		CdpLinkageAnswer answer;

		k->questions++;
		keeper_pose(k, &b, &run, counts);
		answer = cdp_core_linkage_run(l);
		memcpy(group, l->group, sizeof(int32_t) * k->h->nnodes);
		for (int x = 0; x < k->h->nnodes; x++)
		{
			bool separated = false;

			if (group[x] != x)
				continue;
			for (int y = 0; y < k->h->nnodes; y++)
				separated |= group[y] == x && k->separated[y];
			run.nodes[x].newest = l->newest[x];
			run.nodes[x].contested = l->contested[x];
			run.nodes[x].separated = separated;
		}
		model_free();
		if (answer == CDP_LINKAGE_REPLAY)
			keeper_again(k, &b, &run, again);
		for (int x = 0; x < k->h->nnodes; x++)
		{
			int32_t to = group[k->person[x]];

			if (again[x] || !(b.fresh[x] || k->facts.known[x]))
				continue;
			k->newest[to] = run.nodes[to].newest;
			k->contested[to] = run.nodes[to].contested;
			k->separated[to] = run.nodes[to].separated;
		}
		for (int x = 0; x < k->h->nnodes; x++)
			if (!again[x] && (b.fresh[x] || k->facts.known[x]))
				k->person[x] = group[k->person[x]];
	}
	for (int m = 0; m < n; m++)
		model_learn(k->h, &k->facts, &messages[m]);
	for (int i = 0; i < b.n && model_repeats(k->h); i++)
		for (int j = 0; j < b.links[i].n && b.links[i].n > 1 && !b.links[i].override; j++)
		{
			CdpCorePos *newest = &k->newest[k->person[b.links[i].nodes[j]]];

			if (cdp_core_pos_compare(&b.links[i].first, newest) > 0)
				*newest = b.links[i].first;
		}
}

static void
keeper_separate(Keeper *k, const ModelSeparation *s)
{
	ModelSeparation *mine = &k->facts.separations[k->facts.nseparations];
	bool in[MODEL_NODES] = {false};
	unsigned known = 0;

	for (int x = 0; x < k->h->nnodes; x++)
		known |= (unsigned) k->facts.known[x] << x;
	*mine = *s;
	mine->side[0] &= known;
	mine->side[1] &= known;
	if (mine->side[0] == 0 || mine->side[1] == 0 || (mine->side[0] & mine->side[1]))
		return;
	k->facts.nseparations++;
	for (int x = 0; x < k->h->nnodes; x++)
		in[x] = (mine->side[0] | mine->side[1]) >> x & 1;
	keeper_close(k, in);
	keeper_replay(k, in, NULL, 0);
}

/*
 * A value that comes up again after its time to live is somebody else's: the
 * caller has another node for it, and the history ends here.
 */
static bool
model_has_other_bearer(const ModelHistory *h, const ModelFacts *f, const ModelMessage *batch, int n)
{
	for (int m = 0; m < n; m++)
		for (int i = 0; i < batch[m].n; i++)
		{
			int x = batch[m].nodes[i];
			int64_t ttl = h->rules[h->rule[x]].ttl;
			int64_t last = f->last_seen[x];

			for (int o = 0; o < m; o++)
				for (int j = 0; j < batch[o].n; j++)
					if (batch[o].nodes[j] == x && batch[o].ts > last)
						last = batch[o].ts;
			if (ttl > 0 && f->known[x] && batch[m].ts - ttl > last)
				return true;
			for (int o = 0; o < m; o++)
				for (int j = 0; j < batch[o].n; j++)
					if (ttl > 0 && batch[o].nodes[j] == x && abs(batch[o].ts - batch[m].ts) > ttl)
						return true;
		}
	return false;
}

/* Does the keeper stay with the oracle?  -1: yes, else the batch where not. */
static int
model_check_arrival(const ModelHistory *h, Keeper *k)
{
	Oracle o;

	memset(k, 0, sizeof(*k));
	k->h = h;
	for (int x = 0; x < h->nnodes; x++)
	{
		k->person[x] = x;
		k->newest[x].ts = INT64_MIN;
	}
	for (int m = 0; m < h->nmessages;)
	{
		ModelMessage batch[MODEL_MESSAGES];
		int n = 0;
		int number = h->batch[m];

		for (int s = 0; s < h->nseparations; s++)
			if (h->separations[s].arrives == number)
				keeper_separate(k, &h->separations[s]);
		for (; m < h->nmessages && h->batch[m] == number; m++)
			if (h->messages[m].n > 0)
				batch[n++] = h->messages[m];
		if (n == 0)
			continue;
		if (model_has_other_bearer(h, &k->facts, batch, n))
			return -1;
		keeper_take(k, batch, n);
		oracle_run(&o, h, &k->facts);
		if (!model_same_people(o.person, k->person, h->nnodes))
			return number;
	}
	return -1;
}

#endif /* LINKAGE_KEEPER_H */
