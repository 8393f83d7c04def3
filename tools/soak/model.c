/*
 * tools/soak/model.c
 *		The naive oracle: all that was said, and what must follow from it.
 *
 * Nothing here is kept up to date in clever ways: an operation adds evidence
 * or a separation (operations.c), then resolve() looks at everything again, and
 * settle() compares who was whom before with who is now.
 */
#include "model.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "resolve.h"

char complaint[4096];

bool
complain(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(complaint, sizeof(complaint), format, args);
	va_end(args);
	return false;
}

bool
bits_has(const Bits *b, int i)
{
	return (b->w[i / 64] >> (i % 64)) & 1;
}

void
bits_add(Bits *b, int i)
{
	b->w[i / 64] |= UINT64_C(1) << (i % 64);
}

void
model_init(Model *m, const World *w)
{
	memset(m, 0, sizeof(Model));
	m->rules = w->rules;
}

/* Copies what is in use. */
void
model_copy(Model *to, const Model *from)
{
	memcpy(to->node, from->node, sizeof(Node) * from->nnodes);
	memcpy(to->link, from->link, sizeof(Link) * from->nlinks);
	memcpy(to->separation, from->separation, sizeof(Separation) * from->nseparations);
	memcpy(to->of, from->of, sizeof(from->of));
	memcpy(to->since, from->since, sizeof(from->since));
	to->nnodes = from->nnodes;
	to->nlinks = from->nlinks;
	to->nseparations = from->nseparations;
	to->refused = from->refused;
}

/* -- bearers of identifiers -- */

/* The present bearer of an identifier, or -1: the one who was born last. */
int
model_present(const Model *m, Ident x)
{
	int found = -1;

	for (int i = 0; i < m->nnodes; i++)
		if (m->node[i].ident == x && (found < 0 || m->node[i].born > m->node[found].born))
			found = i;
	return found;
}

/* The former bearer whose end is the next at this time, or -1. */
static int
former_bearer(const Model *m, Ident x, int present, Time at)
{
	int found = -1;

	for (int i = 0; i < m->nnodes; i++)
		if (m->node[i].ident == x && i != present && m->node[i].ended >= at &&
			(found < 0 || m->node[i].ended < m->node[found].ended))
			found = i;
	return found;
}

static int
add_node(Model *m, Ident x, Time at, Time born)
{
	Node *node = &m->node[m->nnodes];

	if (m->nnodes == MAX_NODES)
		die("too many nodes");
	memset(node, 0, sizeof(Node));
	node->ident = x;
	node->first = node->last = at;
	node->born = born;
	node->ended = NEVER;
	return m->nnodes++;
}

/* Whom a message of this time means by an identifier, or -1: somebody new. */
int
bearer_at(const Model *m, Ident x, Time at)
{
	int i = model_present(m, x);
	Time ttl = m->rules.rule[ident_ns(x)].ttl;
	int former;

	if (i < 0)
		return -1;
	if (at > m->node[i].born)
		return at > m->node[i].ended || (ttl > 0 && at - ttl > m->node[i].last) ? -1 : i;
	former = former_bearer(m, x, i, at);
	return former >= 0 ? former : i;
}

/*
 * The same; makes her if she is new, and notes when she was mentioned.  by_id:
 * her person was named by id, and so she is the present bearer.
 */
static int
mention(Model *m, Ident x, Time at, bool by_id)
{
	int i = by_id ? model_present(m, x) : bearer_at(m, x, at);
	int before = model_present(m, x);
	Node *node;

	if (i < 0)
	{
		Time ttl = m->rules.rule[ident_ns(x)].ttl;

		if (before < 0)
			return add_node(m, x, at, ALWAYS);
		/* also of one who was removed after she had expired */
		node = &m->node[before];
		if (ttl > 0 && node->last + ttl < node->ended)
			node->ended = node->last + ttl;
		return add_node(m, x, at, node->ended);
	}
	node = &m->node[i];
	if (at < node->first)
		node->first = at;
	if (at > node->last)
		node->last = at;
	return i;
}

/* -- looking up -- */

int
node_by_id(const Model *m, int64_t id)
{
	for (int i = 0; i < m->nnodes; i++)
		if (m->node[i].id == id)
			return i;
	return -1;
}

int64_t
model_canonical(const Model *m, int64_t id)
{
	for (int i = 0; i < m->nnodes; i++)
		if (m->node[i].person == id)
			return id;
	for (int f = 0; f < m->nformers; f++)
		if (m->former[f].id == id)
			return m->former[f].person;
	return 0;
}

/* The most important identifier that a person has: node, or -1. */
int
model_name_of(const Model *m, int64_t id)
{
	int best = -1;

	id = model_canonical(m, id);
	for (int i = 0; i < m->nnodes; i++)
	{
		const Node *x = &m->node[i];
		const Rule *a = &m->rules.rule[ident_ns(x->ident)];
		const Rule *b = best < 0 ? NULL : &m->rules.rule[ident_ns(m->node[best].ident)];
		int cmp;

		if (x->person != id || x->ended != NEVER)
			continue;
		cmp = b == NULL ? -1 : a->rank != b->rank ? a->rank - b->rank :
													strcmp(a->ns, b->ns);
		if (cmp < 0 || (cmp == 0 && x->id < m->node[best].id))
			best = i;
	}
	return best;
}

/* One of the ids, present or former, of the person who has an identifier; 0: nobody has it. */
int64_t
model_id_of(const Model *m, Ident x, int pick)
{
	int i = model_present(m, x);
	int n = 1;

	if (i < 0)
		return 0;
	for (int f = 0; f < m->nformers; f++)
		n += m->former[f].person == m->node[i].person;
	pick %= n;
	for (int f = 0; f < m->nformers; f++)
		if (m->former[f].person == m->node[i].person && pick-- == 0)
			return m->former[f].id;
	return m->node[i].person;
}

/* One of the merges that moved an identifier: index, or -1. */
int
model_find_merge(const Model *m, Ident x, int pick)
{
	int n = 0;

	for (int pass = 0; pass < 2; pass++)
	{
		for (int k = m->nmerges - 1; k >= 0; k--)
			for (int i = 0; i < m->nnodes; i++)
				if (m->node[i].ident == x && bits_has(&m->merge[k].moved, i) &&
					(pass == 0 ? ++n : pick--) == 0)
					return k;
		if (n == 0)
			return -1;
		pick %= n;
	}
	return -1;
}

/* The identifiers that a message is about; -1: more than this test can name. */
int
model_mentions(const Model *m, const Message *msg, Ident *who)
{
	int n = 0;

	if (!msg->about)
	{
		for (int k = 0; k < msg->n; k++)
			if (msg->who[k] % MAX_VALUES != BLOCKED_VALUE)
				who[n++] = msg->who[k];
		return n;
	}
	if (msg->kind != CONSENT)
	{
		int i = model_name_of(m, model_id_of(m, msg->who[0], msg->id));

		if (i >= 0)
			who[n++] = m->node[i].ident;
		return n;
	}
	for (int i = 0; i < m->nnodes; i++)
		if (m->node[i].person == model_canonical(m, model_id_of(m, msg->who[0], msg->id)) &&
			m->node[i].ended == NEVER)
		{
			if (n == MAX_NAMED)
				return -1;
			who[n++] = m->node[i].ident;
		}
	return n;
}

/* -- adding what was said -- */

void
sort_nodes(const Model *m, int *nodes, int n)
{
	for (int i = 1; i < n; i++)
		for (int k = i; k > 0 && compare_importance(m, nodes[k], nodes[k - 1]) < 0; k--)
		{
			int t = nodes[k];

			nodes[k] = nodes[k - 1];
			nodes[k - 1] = t;
		}
}

/* Says that nodes are one person; a set that was named before is the same link. */
static int
add_link(Model *m, const int *nodes, int n, Manner manner, Time at)
{
	Link *link;

	for (int k = 0; k < m->nlinks; k++)
	{
		link = &m->link[k];
		if (link->manner != manner || link->n != n ||
			memcmp(link->node, nodes, sizeof(int) * n) != 0)
			continue;
		if (repeats(m) && (!link->has_last || at > link->last))
			link->last = link->has_last || at > link->first ? at : link->first;
		link->has_last |= repeats(m);
		if (at < link->first)
			link->first = at;
		return k;
	}
	if (m->nlinks == MAX_LINKS)
		die("too many links");
	link = &m->link[m->nlinks];
	memset(link, 0, sizeof(Link));
	link->n = n;
	memcpy(link->node, nodes, sizeof(int) * n);
	link->manner = manner;
	link->first = link->last = at;
	link->has_last = repeats(m);
	return m->nlinks++;
}

/* Takes the identifiers of a message: nodes, most important first; returns their link or -1. */
int
add_mentions(Model *m, const Ident *who, int n, Manner manner, Time at, bool by_id, int *nodes,
			 int *count)
{
	int distinct = 0;

	for (int k = 0; k < n; k++)
	{
		bool known = false;

		for (int j = 0; j < k; j++)
			known |= who[j] == who[k];
		if (!known)
			nodes[distinct++] = mention(m, who[k], at, by_id);
	}
	sort_nodes(m, nodes, distinct);
	*count = distinct;
	return distinct > 1 ? add_link(m, nodes, distinct, manner, at) : -1;
}

int
add_message(Model *m, const Message *msg, const Ident *who, int n)
{
	int nodes[MAX_NAMED];

	add_mentions(m, who, n, BY_MESSAGE, msg->at, msg->about, nodes, &n);
	if (msg->kind == CONSENT)
	{
		for (int k = 0; k < n; k++)
		{
			Node *node = &m->node[nodes[k]];

			if (node->consent == 0 || node->consent_at < msg->at)
			{
				node->consent = msg->granted ? 1 : 2;
				node->consent_at = msg->at;
			}
		}
		return nodes[0];
	}
	if (m->nevents == MAX_EVENTS)
		die("too many events");
	m->event[m->nevents] = (Event){.node = nodes[0], .at = msg->at};
	if (msg->kind == IDENTIFY)
		memcpy(m->event[m->nevents].trait, msg->trait, sizeof(msg->trait));
	m->nevents++;
	return nodes[0];
}
