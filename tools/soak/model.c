/*
 * tools/soak/model.c
 *		The naive oracle: all that was said, and what must follow from it.
 *
 * Nothing here is kept up to date in clever ways: an operation adds evidence
 * or a separation, then resolve() looks at everything again, and settle()
 * compares who was whom before with who is now.
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

static void
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
static void
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
static int
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
static int
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

static int
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

/* -- who is whom -- */

static bool
is_better(const Model *m, int a, int b)
{
	int p = m->rules.rule[ident_ns(m->node[a].ident)].rank;
	int q = m->rules.rule[ident_ns(m->node[b].ident)].rank;

	return p != q ? p < q : m->node[a].id < m->node[b].id;
}

static int
anchor_of_person(const Model *m, int64_t person)
{
	int best = -1;
	bool best_came = false;

	for (int i = 0; i < m->nnodes; i++)
	{
		bool came = false;

		if (m->node[i].person != person)
			continue;
		/* what came with somebody who was merged into her bears the id only if nothing else is */
		for (int f = 0; f < m->nformers; f++)
			came |= m->former[f].person == person && bits_has(&m->former[f].brought, i);
		if (best < 0 || (best_came && !came) || (best_came == came && is_better(m, i, best)))
		{
			best = i;
			best_came = came;
		}
	}
	return best;
}

static int
anchor_of_bits(const Model *m, const Bits *b)
{
	int best = -1;

	for (int i = 0; i < m->nnodes; i++)
		if (bits_has(b, i) && (best < 0 || is_better(m, i, best)))
			best = i;
	return best;
}

static int
compare_ids(const void *a, const void *b)
{
	int64_t x = *(const int64_t *) a;
	int64_t y = *(const int64_t *) b;

	return (x > y) - (x < y);
}

/* Numbers of the nodes that are new. */
static bool
learn_nodes(Model *m, const Answer *answer)
{
	for (int r = 0; r < answer->nnodes; r++)
	{
		int oldest = -1;

		if (node_by_id(m, answer->node[r].id) >= 0)
			continue;
		for (int i = 0; i < m->nnodes; i++)
			if (m->node[i].ident == answer->node[r].ident && m->node[i].id == 0 &&
				(oldest < 0 || m->node[i].born < m->node[oldest].born))
				oldest = i;
		if (oldest < 0)
			return complain("nodes: the server made node %ld for %s, which nobody named or which "
							"has a bearer",
							(long) answer->node[r].id,
							ident_text(&m->rules, answer->node[r].ident));
		m->node[oldest].id = answer->node[r].id;
	}
	for (int i = 0; i < m->nnodes; i++)
		if (m->node[i].id == 0)
			return complain("nodes: the server has no node for %s",
							ident_text(&m->rules, m->node[i].ident));
	return true;
}

/* Lists people by the one partition who are others by the other. */
static void
list_people(const Model *m, const int64_t *person, const int64_t *other, char *out, size_t size)
{
	size_t len = 0;

	out[0] = '\0';
	for (int i = 0; i < m->nnodes; i++)
	{
		bool first = true;
		bool same = true;

		for (int j = 0; j < m->nnodes; j++)
		{
			first &= j >= i || person[j] != person[i];
			same &= (person[j] == person[i]) == (other[j] == other[i]);
		}
		if (!first || same)
			continue;
		len += snprintf(out + len, size - len, "  {");
		for (int j = i; j < m->nnodes && len < size; j++)
			if (person[j] == person[i])
				len += snprintf(out + len, size - len, "%s%s", j > i ? " " : "",
								ident_text(&m->rules, m->node[j].ident));
		if (len < size)
			len += snprintf(out + len, size - len, "}\n");
		if (len >= size)
			return;
	}
}

/* Does the server join and part whom the evidence joins and parts? */
static bool
check_partition(const Model *m, const int64_t *theirs)
{
	for (int a = 0; a < m->nnodes; a++)
		for (int b = a + 1; b < m->nnodes; b++)
			if ((m->of[a] == m->of[b]) != (theirs[a] == theirs[b]))
			{
				char mine[1600];
				char yours[1600];
				char x[64];
				char y[64];
				int64_t label[MAX_NODES];

				for (int i = 0; i < m->nnodes; i++)
					label[i] = m->of[i];
				list_people(m, label, theirs, mine, sizeof(mine));
				list_people(m, theirs, label, yours, sizeof(yours));
				snprintf(x, sizeof(x), "%s", ident_text(&m->rules, m->node[a].ident));
				snprintf(y, sizeof(y), "%s", ident_text(&m->rules, m->node[b].ident));
				return complain("partition: %s and %s are %s by the evidence and %s by the server\n"
								"by the evidence:\n%sby the server:\n%s",
								x, y, m->of[a] == m->of[b] ? "one" : "two",
								theirs[a] == theirs[b] ? "one" : "two", mine, yours);
			}
	return true;
}

/* A merge that must have happened. */
static bool
check_merge(Model *m, const Answer *answer, int64_t winner, int64_t loser, const Bits *moved)
{
	const MergeRow *row = NULL;
	Merge *merge = &m->merge[m->nmerges];
	int n = 0;

	for (int r = 0; r < answer->nmerges; r++)
		if (answer->merge[r].loser == loser)
			row = &answer->merge[r];
	if (row == NULL || row->winner != winner)
		return complain("merges: profile %ld must be merged into %ld, the server %s %ld",
						(long) loser,
						(long) winner, row ? "says" : "does not",
						row ? (long) row->winner : 0);
	for (int k = 0; k < row->nmoved; k++)
	{
		int i = node_by_id(m, row->moved[k]);

		if (i < 0 || !bits_has(moved, i))
			return complain("merges: merge %ld did not move node %ld", (long) row->id,
							(long) row->moved[k]);
	}
	for (int i = 0; i < m->nnodes; i++)
		n += bits_has(moved, i);
	if (n != row->nmoved)
		return complain("merges: merge %ld moved %d nodes, not %d", (long) row->id, n, row->nmoved);
	if (m->nmerges == MAX_MERGES)
		die("too many merges");
	memset(merge, 0, sizeof(Merge));
	merge->id = row->id;
	merge->winner = winner;
	merge->loser = loser;
	merge->moved = *moved;
	/* whom the winner was: before the operation, and by its earlier merges */
	for (int i = 0; i < m->nnodes; i++)
		if (m->node[i].person == winner)
			bits_add(&merge->had, i);
	for (int k = 0; k < m->nmerges; k++)
		for (int r = 0; r < answer->nmerges; r++)
			if (m->merge[k].winner == winner && answer->merge[r].id == m->merge[k].id)
				for (int i = 0; i < MAX_NODES / 64; i++)
					merge->had.w[i] |= m->merge[k].moved.w[i];
	for (int i = 0; i < MAX_NODES / 64; i++)
		merge->had.w[i] &= ~moved->w[i];
	m->nmerges++;
	return true;
}

static int
compare_merges(const void *a, const void *b)
{
	return compare_ids(&((const MergeRow *) a)->loser, &((const MergeRow *) b)->loser);
}

/*
 * Finds each group of nodes its id, as people go on where their most
 * important node is, and compares with the server.
 */
static bool
settle(Model *m, const Answer *answer)
{
	static int64_t owner[MAX_NODES];
	int64_t theirs[MAX_NODES];
	int64_t people[MAX_NODES];
	int anchor[MAX_NODES];
	int npeople = 0;
	int nmerges = 0;
	int kept = 0;

	if (!learn_nodes(m, answer))
		return false;
	for (int i = 0; i < m->nnodes; i++)
		theirs[i] = m->node[i].person;
	for (int r = 0; r < answer->nnodes; r++)
		theirs[node_by_id(m, answer->node[r].id)] = answer->node[r].person;
	if (!check_partition(m, theirs))
		return false;

	memset(owner, 0, sizeof(owner));
	for (int i = 0; i < m->nnodes; i++)
	{
		bool known = m->node[i].person == 0;

		for (int k = 0; k < npeople && !known; k++)
			known = people[k] == m->node[i].person;
		if (!known)
			people[npeople++] = m->node[i].person;
	}
	qsort(people, npeople, sizeof(int64_t), compare_ids);
	for (int k = 0; k < npeople; k++)
	{
		int64_t *o;

		anchor[k] = anchor_of_person(m, people[k]);
		o = &owner[m->of[anchor[k]]];

		if (*o == 0)
			*o = people[k];
	}
	for (int f = 0; f < m->nformers; f++)
	{
		int64_t *o = &owner[m->of[anchor_of_bits(m, &m->former[f].brought)]];

		if (*o == 0)
		{
			*o = m->former[f].id;
			m->former[f].person = 0;
			m->returns++;
		}
	}
	for (int i = 0; i < m->nnodes; i++)
		if (owner[m->of[i]] == 0)
		{
			if (theirs[i] <= m->newest_person)
				return complain("ids: %s must be somebody new, and is profile %ld",
								ident_text(&m->rules, m->node[i].ident), (long) theirs[i]);
			owner[m->of[i]] = theirs[i];
		}
	for (int i = 0; i < m->nnodes; i++)
		if (owner[m->of[i]] != theirs[i])
			return complain("ids: %s must be profile %ld, and is %ld",
							ident_text(&m->rules, m->node[i].ident), (long) owner[m->of[i]],
							(long) theirs[i]);

	/* those whose most important node went to somebody else are merged */
	qsort(answer->merge, answer->nmerges, sizeof(MergeRow), compare_merges);
	for (int k = 0; k < npeople; k++)
	{
		int64_t winner = owner[m->of[anchor[k]]];
		Bits moved = {{0}};

		if (winner == people[k])
			continue;
		for (int i = 0; i < m->nnodes; i++)
			if (m->node[i].person == people[k] && theirs[i] == winner)
				bits_add(&moved, i);
		if (!check_merge(m, answer, winner, people[k], &moved))
			return false;
		nmerges++;
	}
	if (nmerges != answer->nmerges)
		return complain("merges: %d must have happened, and the server recorded %d", nmerges,
						answer->nmerges);

	/* old ids: those that came back are gone, the others follow their most important node */
	for (int f = 0; f < m->nformers; f++)
		if (m->former[f].person != 0)
		{
			m->former[kept] = m->former[f];
			m->former[kept].person = theirs[anchor_of_bits(m, &m->former[f].brought)];
			kept++;
		}
	m->nformers = kept;
	for (int k = m->nmerges - nmerges; k < m->nmerges; k++)
	{
		int at = m->nformers++;

		/* ascending by id */
		for (; at > 0 && m->former[at - 1].id > m->merge[k].loser; at--)
			m->former[at] = m->former[at - 1];
		m->former[at] = (Former){m->merge[k].loser, m->merge[k].winner, m->merge[k].moved};
	}
	for (int k = 0; k < npeople; k++)
	{
		bool parted = false;

		for (int i = 0; i < m->nnodes; i++)
			parted |= m->node[i].person == people[k] &&
					  m->of[i] != m->of[anchor[k]];
		m->splits += parted;
	}
	for (int i = 0; i < m->nnodes; i++)
	{
		m->node[i].person = theirs[i];
		if (theirs[i] > m->newest_person)
			m->newest_person = theirs[i];
	}
	return true;
}

/* -- operations -- */

static bool
expect_error(const Answer *answer, const char *sqlstate)
{
	if (strcmp(answer->sqlstate, sqlstate) == 0)
		return true;
	return complain("answer: must fail with %s, and %s%s %s", sqlstate,
					answer->sqlstate[0] ? "fails with " : "succeeds", answer->sqlstate,
					answer->error);
}

static bool
expect_success(const Answer *answer)
{
	if (answer->sqlstate[0] == '\0')
		return true;
	return complain("answer: fails with %s %s", answer->sqlstate, answer->error);
}

static bool
expect_value(const Answer *answer, int i, int64_t value)
{
	if (i < answer->nvalues && !answer->value[i].null && answer->value[i].value == value)
		return true;
	return complain("answer: %d must be %ld, and is %s%ld", i, (long) value,
					i < answer->nvalues && answer->value[i].null ? "null " : "",
					i < answer->nvalues ? (long) answer->value[i].value : 0);
}

/* In the order of time. */
static void
sort_messages(const Op *op, int *order)
{
	for (int k = 0; k < op->n; k++)
	{
		order[k] = k;
		for (int i = k; i > 0 && op->message[order[i - 1]].at > op->message[k].at; i--)
		{
			order[i] = order[i - 1];
			order[i - 1] = k;
		}
	}
}

/* A consent about an id holds for what its person was called before, too. */
static void
consent_by_id(Model *m, const Message *msg, int64_t id)
{
	for (int i = 0; i < m->nnodes; i++)
	{
		Node *node = &m->node[i];

		if (node->person != id || node->ended == NEVER ||
			(node->consent != 0 && node->consent_at > msg->at))
			continue;
		node->consent = msg->granted ? 1 : 2;
		node->consent_at = msg->at;
	}
}

static bool
apply_messages(Model *m, const Op *op, const Answer *answer)
{
	int64_t about = 0;
	int order[MAX_BATCH];
	int top[MAX_BATCH];
	const char *status[MAX_BATCH];
	Ident who[MAX_BATCH][MAX_NAMED];
	int n[MAX_BATCH];

	for (int k = 0; k < op->n; k++)
	{
		const Message *msg = &op->message[k];

		top[k] = -1;
		n[k] = model_mentions(m, msg, who[k]);
		if (msg->about && msg->kind == CONSENT)
			about = model_canonical(m, model_id_of(m, msg->who[0], msg->id));
		status[k] = m->seen[msg->id] ? "duplicate" : "accepted";
		if (n[k] == 0 && about == 0)
			status[k] = "rejected";
		else
			m->seen[msg->id] = true;
	}
	sort_messages(op, order);
	if (op->kind == SAY && strcmp(status[0], "rejected") == 0)
		return expect_error(answer, op->message[0].about ? "P0002" : "22023");
	if (!expect_success(answer))
		return false;
	for (int k = 0; k < op->n; k++)
		if (strcmp(status[order[k]], "accepted") == 0 && n[order[k]] > 0)
			top[order[k]] = add_message(m, &op->message[order[k]], who[order[k]], n[order[k]]);
	resolve(m);
	if (!settle(m, answer))
		return false;
	if (about != 0 && strcmp(status[0], "accepted") == 0)
	{
		about = top[0] >= 0 ? m->node[top[0]].person : about;
		consent_by_id(m, &op->message[0], about);
		if (!expect_value(answer, 0, about))
			return false;
	}
	for (int k = 0; k < op->n; k++)
	{
		if (op->kind == BATCH &&
			(k >= answer->nvalues || strcmp(answer->value[k].status, status[k]) != 0))
			return complain("answer: message %d must be %s", k, status[k]);
		if (top[k] >= 0 && !expect_value(answer, k, m->node[top[k]].person))
			return false;
	}
	return true;
}

static bool
apply_bulk(Model *m, const Op *op, const Answer *answer)
{
	int order[MAX_BATCH];

	if (!expect_success(answer))
		return false;
	sort_messages(op, order);
	for (int k = 0; k < op->n; k++)
	{
		const Message *msg = &op->message[order[k]];
		int nodes[MAX_NAMED];
		Ident who[MAX_NAMED];
		int n = model_mentions(m, msg, who);

		if (n > 0)
			add_mentions(m, who, n, BY_BULK, msg->at, false, nodes, &n);
	}
	resolve(m);
	return settle(m, answer) && expect_value(answer, 0, op->n);
}

/* Other rules, for all that was ever said. */
static bool
apply_change(Model *m, const Op *op, const Answer *answer)
{
	if (!expect_success(answer))
		return false;
	rules_invent(&m->rules, op->seed, NULL, op->ttls);
	m->changed = true;
	resolve(m);
	return settle(m, answer);
}

/* An override takes back what keeps these people apart; NEVER: they are named by id. */
static void
revoke(Model *m, const Ident *who, int n, Time now)
{
	Bits all = {{0}};

	for (int k = 0; k < n; k++)
	{
		int x = now == NEVER ? model_present(m, who[k]) : bearer_at(m, who[k], now);

		for (int i = 0; i < m->nnodes && x >= 0; i++)
			if (m->node[i].person == m->node[x].person)
				bits_add(&all, i);
	}
	for (int s = 0; s < m->nseparations; s++)
	{
		bool found[2] = {false, false};

		for (int side = 0; side < 2; side++)
			for (int i = 0; i < m->nnodes; i++)
				found[side] |= bits_has(&all, i) && bits_has(&m->separation[s].side[side], i);
		if (found[0] && found[1])
			m->separation[s].revoked = true;
	}
}

static bool
apply_merge(Model *m, const Op *op, const Answer *answer)
{
	static Model before;
	const Message *msg = &op->message[0];
	Ident who[MAX_NAMED];
	int nodes[MAX_NAMED];
	int n = 0;
	int link;
	int first;
	int64_t expected = 0;

	if (op->kind == MERGE_IDS)
	{
		for (int k = 0; k < 2; k++)
		{
			int i = model_name_of(m, model_id_of(m, msg->who[k], op->pick + k));

			if (i < 0)
				return expect_error(answer, "P0002");
			who[n++] = m->node[i].ident;
		}
	}
	else
		n = model_mentions(m, msg, who);
	/* what is blocked is nobody's to merge */
	if (op->kind == MERGE && n < msg->n)
		return expect_error(answer, "22023");
	model_copy(&before, m);
	if (op->override)
		revoke(m, who, n, op->kind == MERGE_IDS ? NEVER : op->now);
	link = add_mentions(m, who, n, op->override ? BY_OVERRIDE : BY_MERGE, op->now,
						op->kind == MERGE_IDS, nodes, &n);
	resolve(m);
	for (int i = 1; link >= 0 && i < m->link[link].n; i++)
		if (m->link[link].verdict[i] != JOINED)
		{
			model_copy(m, &before);
			m->refused++;
			return expect_error(answer, "23514");
		}
	first = m->nmerges;
	if (!expect_success(answer) || !settle(m, answer))
		return false;
	for (int k = first; k < m->nmerges; k++)
		if (m->merge[k].winner == m->node[nodes[0]].person &&
			(expected == 0 || m->merge[k].id < expected))
			expected = m->merge[k].id;
	if (expected != 0)
		return expect_value(answer, 0, expected);
	if (!answer->value[0].null)
		return complain("answer: the merge must return null, and returned %ld",
						(long) answer->value[0].value);
	return true;
}

static bool
apply_unmerge(Model *m, const Op *op, const Answer *answer)
{
	int k = model_find_merge(m, op->message[0].who[0], op->pick);
	Merge *merge = &m->merge[k];

	if (merge->undone)
		return expect_error(answer, "55000");
	if (!expect_success(answer))
		return false;
	if (m->nseparations == MAX_SEPARATIONS)
		die("too many separations");
	merge->undone = true;
	m->separation[m->nseparations++] = (Separation){false, {merge->had, merge->moved}};
	resolve(m);
	return settle(m, answer) &&
		   expect_value(answer, 0, model_canonical(m, merge->loser));
}

static bool
apply_unlink(Model *m, const Op *op, const Answer *answer)
{
	int a = model_present(m, op->message[0].who[0]);
	int b = model_present(m, op->message[0].who[1]);
	Separation *s = &m->separation[m->nseparations];
	bool were_one;

	if (a < 0 || b < 0 || m->node[a].ended != NEVER || m->node[b].ended != NEVER)
		return expect_error(answer, "P0002");
	if (a == b)
		return expect_error(answer, "22023");
	if (!expect_success(answer))
		return false;
	if (m->nseparations == MAX_SEPARATIONS)
		die("too many separations");
	were_one = m->node[a].person == m->node[b].person;
	memset(s, 0, sizeof(Separation));
	bits_add(&s->side[0], a);
	bits_add(&s->side[1], b);
	m->nseparations++;
	resolve(m);
	return settle(m, answer) && expect_value(answer, 0, were_one);
}

static bool
apply_remove(Model *m, const Op *op, const Answer *answer)
{
	int a = model_present(m, op->message[0].who[0]);

	if (a < 0 || m->node[a].ended != NEVER)
		return expect_error(answer, "P0002");
	if (!expect_success(answer))
		return false;
	m->node[a].removed = true;
	m->node[a].ended = op->now > m->node[a].last ? op->now : m->node[a].last;
	resolve(m);
	return settle(m, answer) && expect_value(answer, 0, m->node[a].person);
}

/* False, and a complaint, if the server did something else. */
bool
model_apply(Model *m, const Op *op, const Answer *answer)
{
	switch (op->kind)
	{
		case SAY:
		case BATCH:
			return apply_messages(m, op, answer);
		case BULK:
			return apply_bulk(m, op, answer);
		case CHANGE:
			return apply_change(m, op, answer);
		case MERGE:
		case MERGE_IDS:
			return apply_merge(m, op, answer);
		case UNMERGE:
			return apply_unmerge(m, op, answer);
		case UNLINK:
			return apply_unlink(m, op, answer);
		case REMOVE:
			return apply_remove(m, op, answer);
	}
	return false;
}
