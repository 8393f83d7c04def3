/*
 * tools/soak/settle.c
 *		Who was whom before, who is now, and what the server says of it.
 */
#include "settle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
bool
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
