/*
 * tools/soak/operations.c
 *		What each operation does to the oracle, and must answer.
 */
#include "model.h"

#include <string.h>

#include "resolve.h"
#include "settle.h"

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
	rules_change(&m->rules, op->seed, op->ttls);
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
