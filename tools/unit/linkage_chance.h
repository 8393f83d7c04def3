/*
 * tools/unit/linkage_chance.h
 *		Histories made up by chance, made small when they fail, and printed.
 *
 * Chance is a function, so that libFuzzer can be it.
 */
#ifndef LINKAGE_CHANCE_H
#define LINKAGE_CHANCE_H

#include "linkage_keeper.h"

typedef unsigned (*ModelRandom)(void *arg, unsigned n);

typedef struct ModelKind
{
	int policies; /* bits of 1 << CdpPolicy */
	bool period;
	bool ttl;
	bool overrides;
	bool separations;
	bool max_nodes;
	bool repeats; /* the same set again */
	bool oddities; /* identifiers that are no more */
	bool barred; /* blocked values, all at once only */
} ModelKind;

static void
model_invent(ModelHistory *h, const ModelKind *kind, ModelRandom pick, void *arg)
{
	int keys[MODEL_MESSAGES];

	memset(h, 0, sizeof(*h));
	h->nrules = 1 + (int) pick(arg, MODEL_RULES);
	for (int r = 0; r < h->nrules; r++)
	{
		CdpCoreRule *rule = &h->rules[r];

		/* two may be of one importance */
		rule->rank = 1 + (int) pick(arg, (unsigned) h->nrules + 1);
		rule->limit = (int) pick(arg, 3);
		if (kind->period && pick(arg, 2))
			rule->period = 1 + pick(arg, 4);
		if (kind->ttl && pick(arg, 2))
			rule->ttl = 1 + pick(arg, 4);
		rule->policy = (CdpPolicy) pick(arg, 3);
		while (!(kind->policies >> rule->policy & 1))
			rule->policy = (CdpPolicy) ((rule->policy + 1) % 3);
	}
	h->nnodes = 3 + (int) pick(arg, MODEL_NODES - 2);
	for (int x = 0; x < h->nnodes; x++)
	{
		h->rule[x] = (int) pick(arg, (unsigned) h->nrules);
		h->uncounted[x] = kind->oddities && pick(arg, 8) == 0;
		h->barred[x] = kind->barred && pick(arg, 8) == 0;
	}
	if (kind->max_nodes && pick(arg, 2))
		h->max_nodes = 2 + (int) pick(arg, 4);
	h->nmessages = 2 + (int) pick(arg, MODEL_MESSAGES - 1);
	for (int m = 0; m < h->nmessages; m++)
		keys[m] = m;
	for (int m = h->nmessages - 1; m > 0; m--)
	{
		int j = (int) pick(arg, (unsigned) m + 1);
		int t = keys[m];

		keys[m] = keys[j];
		keys[j] = t;
	}
	for (int m = 0; m < h->nmessages; m++)
	{
		ModelMessage *msg = &h->messages[m];

		h->batch[m] = m == 0 ? 0 : h->batch[m - 1] + (pick(arg, 4) == 0 ? 0 : 1);
		if (kind->repeats && m > 0 && pick(arg, 3) == 0)
		{
			*msg = h->messages[pick(arg, (unsigned) m)];
			msg->ts = (int) pick(arg, 12);
			msg->key = keys[m];
			continue;
		}
		msg->ts = (int) pick(arg, 12);
		msg->key = keys[m];
		msg->override = kind->overrides && pick(arg, 6) == 0;
		/* of one alone it matters when it was seen, with a time to live */
		for (int tries = kind->ttl && pick(arg, 3) == 0 ? 1 : 1 + (int) pick(arg, 8);
			 tries > 0 && msg->n < MODEL_MEMBERS; tries--)
		{
			int x = (int) pick(arg, (unsigned) h->nnodes);
			bool there = false;

			for (int i = 0; i < msg->n; i++)
				there |= msg->nodes[i] == x;
			if (!there && (msg->n < 2 || pick(arg, 2)))
				msg->nodes[msg->n++] = x;
		}
	}
	if (kind->separations)
		h->nseparations = (int) pick(arg, MODEL_SEPARATIONS + 1);
	for (int s = 0; s < h->nseparations; s++)
	{
		h->separations[s].arrives = (int) pick(arg, MODEL_MESSAGES);
		for (int side = 0; side < 2; side++)
			h->separations[s].side[side] = 1u << pick(arg, (unsigned) h->nnodes);
		if (pick(arg, 3) == 0)
			h->separations[s].side[0] |= 1u << pick(arg, (unsigned) h->nnodes);
	}
}

/* Everything a history knows, at once. */
static void
model_facts(const ModelHistory *h, ModelFacts *f)
{
	memset(f, 0, sizeof(*f));
	for (int m = 0; m < h->nmessages; m++)
		model_learn(h, f, &h->messages[m]);
	for (int s = 0; s < h->nseparations; s++)
		if (!(h->separations[s].side[0] & h->separations[s].side[1]))
			f->separations[f->nseparations++] = h->separations[s];
}

static bool
model_fails(const ModelHistory *h, bool arrival)
{
	Keeper k;
	ModelFacts f;

	if (arrival)
		return model_check_arrival(h, &k) >= 0;
	model_facts(h, &f);
	return !model_check_full(h, &f);
}

/* Leaves out what is not needed for the failure. */
static void
model_shrink(ModelHistory *h, bool arrival)
{
	bool more = true;

	while (more)
	{
		ModelHistory try;

		more = false;
#define MODEL_TRY(change) \
	do \
	{ \
		try = *h; \
		change; \
		if (memcmp(&try, h, sizeof(try)) != 0 && model_fails(&try, arrival)) \
		{ \
			*h = try; \
			more = true; \
		} \
	} while (0)
		for (int m = 0; m < h->nmessages; m++)
		{
			MODEL_TRY(try.messages[m].n = 0);
			MODEL_TRY(try.messages[m].override = false);
			for (int i = 0; i < h->messages[m].n; i++)
				MODEL_TRY(try.messages[m].nodes[i] = try.messages[m].nodes[--try.messages[m].n]);
			if (m > 0)
				MODEL_TRY(for (int j = m; j < try.nmessages; j++) try.batch[j] +=
						  try.batch[m] == try.batch[m - 1]);
		}
		for (int s = 0; s < h->nseparations; s++)
		{
			MODEL_TRY(try.separations[s].side[0] = try.separations[s].side[1] = 0);
			MODEL_TRY(try.separations[s].side[0] &= try.separations[s].side[0] - 1);
		}
		for (int r = 0; r < h->nrules; r++)
		{
			MODEL_TRY(try.rules[r].limit = 0);
			MODEL_TRY(try.rules[r].period = 0);
			MODEL_TRY(try.rules[r].ttl = 0);
			MODEL_TRY(try.rules[r].policy = CDP_POLICY_DEMOTE);
		}
		for (int x = 0; x < h->nnodes; x++)
		{
			MODEL_TRY(try.uncounted[x] = false);
			MODEL_TRY(try.barred[x] = false);
		}
		MODEL_TRY(try.max_nodes = 0);
#undef MODEL_TRY
	}
}

/* Writes a history down, as comments of TAP. */
static void
model_print(const ModelHistory *h, bool arrival)
{
	static const char *const policies[] = {"demote", "newest_wins", "reject"};
	Keeper k;
	int failed = arrival ? model_check_arrival(h, &k) : -1;

	for (int r = 0; r < h->nrules; r++)
	{
		printf("# rule %d: rank %d limit %d period %d ttl %d %s; nodes", r, h->rules[r].rank,
			   h->rules[r].limit, (int) h->rules[r].period, (int) h->rules[r].ttl,
			   policies[h->rules[r].policy]);
		for (int x = 0; x < h->nnodes; x++)
			if (h->rule[x] == r)
				printf(" %d%s%s", x, h->uncounted[x] ? "(ended)" : "",
					   h->barred[x] ? "(barred)" : "");
		printf("\n");
	}
	printf("# at most %d nodes\n", h->max_nodes);
	for (int s = 0; s < h->nseparations; s++)
		printf("# separation of %#x and %#x before batch %d\n", h->separations[s].side[0],
			   h->separations[s].side[1], h->separations[s].arrives);
	for (int m = 0; m < h->nmessages; m++)
	{
		if (h->messages[m].n == 0)
			continue;
		printf("# batch %d: at %d key %d%s", h->batch[m], h->messages[m].ts, h->messages[m].key,
			   h->messages[m].override ? " override" : "");
		for (int i = 0; i < h->messages[m].n; i++)
			printf(" %d", h->messages[m].nodes[i]);
		printf("\n");
	}
	if (failed >= 0)
	{
		Oracle o;

		oracle_run(&o, h, &k.facts);
		printf("# after batch %d the people should be", failed);
		for (int x = 0; x < h->nnodes; x++)
			printf(" %d", o.person[x]);
		printf(" and are");
		for (int x = 0; x < h->nnodes; x++)
			printf(" %d", (int) k.person[x]);
		printf("\n");
	}
	fflush(stdout);
}

#endif /* LINKAGE_CHANCE_H */
