/*
 * tools/soak/world.c
 *		Histories: operations at random, and as SQL.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"

#define START INT64_C(1451606400000000) /* 2016-01-01: all in the partition of old events */

/* A world of this seed and number; only: the kind of its rules, or NULL for any. */
void
world_invent(World *w, uint64_t seed, uint64_t number, const char *only, bool bearers,
			 bool changes)
{
	Random r = {seed * UINT64_C(1000003) + number};

	w->seed = seed;
	w->number = number;
	w->bearers = bearers;
	w->nops = 0;
	rules_invent(&w->rules, random_next(&r), only, bearers);
	w->people = 2 + random_below(&r, 16);
	w->values = 1 + random_below(&r, 4);
	w->strangers = 10 + random_below(&r, 250);
	w->late = random_chance(&r, 300) ? 0 : random_below(&r, 700);
	w->early = random_chance(&r, 500) ? 0 : random_below(&r, 200);
	w->step = (1 + random_below(&r, 180)) * INT64_C(60000000);
	w->length = 20 + random_below(&r, random_chance(&r, 500) ? 80 : 500);
	w->weight[SAY] = 50;
	w->weight[BATCH] = 12;
	for (int k = BULK; k <= REMOVE; k++)
		w->weight[k] = random_chance(&r, 350) ? 0 : 1 + random_below(&r, 12);
	w->weight[CHANGE] = changes ? random_below(&r, 4) : 0;
}

/* -- operations -- */

static Ident
random_ident(const World *w, Random *r, int person)
{
	int ns = random_below(r, w->rules.n);

	if (random_chance(r, 5))
		return ns * MAX_VALUES + BLOCKED_VALUE;
	return ns * MAX_VALUES + (person * w->values + random_below(r, w->values)) % BLOCKED_VALUE;
}

/* Without bearers what was removed is not named again. */
static bool
is_usable(const World *w, const Model *m, Ident x)
{
	int i = model_present(m, x);

	return w->bearers || i < 0 || m->node[i].ended == NEVER;
}

static Ident
somebody(const World *w, const Model *m, Random *r)
{
	if (m->nnodes > 0 && random_chance(r, 900))
	{
		Ident x = m->node[random_below(r, m->nnodes)].ident;

		if (is_usable(w, m, x))
			return x;
	}
	return random_ident(w, r, random_below(r, w->people));
}

/* A time that no other message and no operation has: minutes at random, then its number. */
static Time
random_time(const World *w, Random *r, Time now, int number)
{
	Time minute = now / 60000000;
	int how = random_below(r, 1000);

	if (how < w->late)
		minute -= 1 + random_below(r, 40 * 24 * 60);
	else if (how < w->late + w->early)
		minute += 1 + random_below(r, 23 * 60);
	return minute * 60000000 + 30000000 + number;
}

static void
random_message(const World *w, const Model *m, Random *r, const Op *op, Message *msg, bool in_batch)
{
	static int number;
	int person = random_below(r, w->people);
	int kind = random_below(r, 100);

	if (w->nops == 0 && op->n == 0)
		number = 0;
	memset(msg, 0, sizeof(Message));
	msg->id = ++number;
	if (number == MAX_MESSAGES)
		die("too many messages");
	msg->kind = kind < 55 ? TRACK : kind < 88 || in_batch ? IDENTIFY :
															CONSENT;
	msg->at = random_time(w, r, op->now, msg->id);
	/* consents of the future would be taken for now */
	if (msg->kind == CONSENT && msg->at > op->now)
		msg->at = op->now - 30000000 + msg->id;
	if (!in_batch && m->nnodes > 0 && random_chance(r, 60))
	{
		msg->about = true;
		msg->n = 1;
		msg->who[0] = somebody(w, m, r);
	}
	for (int tries = 1 + random_below(r, 4); !msg->about && tries > 0; tries--)
	{
		int other = random_chance(r, w->strangers) ? random_below(r, w->people) : person;
		Ident x = random_ident(w, r, other);
		bool known = false;

		for (int k = 0; k < msg->n; k++)
			known |= msg->who[k] == x;
		if (!known && is_usable(w, m, x))
			msg->who[msg->n++] = x;
	}
	if (msg->n == 0)
		msg->who[msg->n++] = BLOCKED_VALUE;
	if (msg->kind == IDENTIFY)
		for (int t = 0; t < TRAITS; t++)
		{
			msg->trait[t] = random_chance(r, 100) ? 1 : 2 + random_below(r, 2);
			if (random_chance(r, 400))
				msg->trait[t] = 0;
		}
	msg->granted = random_chance(r, 750);
}

/* Some message that was sent before, or none. */
static const Message *
sent_before(const World *w, Random *r, bool in_batch)
{
	const Op *op;

	if (w->nops == 0)
		return NULL;
	op = &w->op[random_below(r, w->nops)];
	if (op->kind == BATCH)
		return &op->message[random_below(r, op->n)];
	if (op->kind != SAY || op->message[0].about || (in_batch && op->message[0].kind == CONSENT))
		return NULL;
	return &op->message[0];
}

static void
random_pairs(const World *w, const Model *m, Random *r, Op *op)
{
	int n = 1 + random_below(r, MAX_BATCH);

	while (op->n < n)
	{
		Message *msg = &op->message[op->n];

		random_message(w, m, r, op, msg, true);
		msg->kind = TRACK;
		memset(msg->trait, 0, sizeof(msg->trait));
		if (msg->n > 2)
			msg->n = 2;
		op->n++;
	}
}

static void
random_messages(const World *w, const Model *m, Random *r, Op *op)
{
	int n = op->kind == SAY ? 1 : 2 + random_below(r, MAX_BATCH - 1);

	while (op->n < n)
	{
		const Message *again = random_chance(r, 60) ? sent_before(w, r, n > 1) : NULL;

		if (again)
			op->message[op->n] = *again;
		else
			random_message(w, m, r, op, &op->message[op->n], n > 1);
		op->n++;
	}
}

/* The next operation of a history. */
void
world_next(World *w, const Model *m, Random *r, Op *op)
{
	int total = 0;
	int which;
	Message *msg = &op->message[0];

	memset(op, 0, sizeof(Op));
	op->now = w->nops > 0 ? w->op[w->nops - 1].now : START;
	op->now += 60000000 * (1 + (Time) random_below(r, (int) (w->step / 60000000)));
	for (int k = SAY; k < OP_KINDS; k++)
		total += w->weight[k];
	which = random_below(r, total);
	for (int k = SAY; k < OP_KINDS; k++)
	{
		if (which >= 0 && which < w->weight[k])
			op->kind = (OpKind) k;
		which -= w->weight[k];
	}
	op->pick = random_below(r, 1000);
	switch (op->kind)
	{
		case SAY:
		case BATCH:
			random_messages(w, m, r, op);
			break;
		case BULK:
			random_pairs(w, m, r, op);
			break;
		case CHANGE:
			op->seed = random_next(r);
			op->ttls = w->bearers;
			break;
		case MERGE:
			op->override = random_chance(r, 400);
			op->n = 1;
			msg->n = 2 + random_below(r, 2);
			for (int k = 0; k < msg->n; k++)
				msg->who[k] = somebody(w, m, r);
			break;
		case MERGE_IDS:
			op->override = random_chance(r, 400);
			op->n = 1;
			msg->n = 2;
			for (int k = 0; k < msg->n; k++)
				msg->who[k] = somebody(w, m, r);
			break;
		case UNMERGE:
			op->n = msg->n = 1;
			msg->who[0] = somebody(w, m, r);
			/* mostly one that can be undone: of the latest, or of any age */
			if (m->nmerges > 0 && random_chance(r, 800))
			{
				const Merge *merge = &m->merge[random_chance(r,
															 500) ?
												   m->nmerges - 1 :
												   random_below(r, m->nmerges)];

				for (int i = 0; i < m->nnodes; i++)
					if (bits_has(&merge->moved, i))
						msg->who[0] = m->node[i].ident;
			}
			break;
		case UNLINK:
			op->n = 1;
			msg->n = 2;
			msg->who[0] = somebody(w, m, r);
			msg->who[1] = somebody(w, m, r);
			/* mostly of one person */
			if (random_chance(r, 800))
				for (int tries = 0; tries < 30; tries++)
				{
					int a = model_present(m, msg->who[0]);
					int b = model_present(m, msg->who[1]);

					if (a >= 0 && b >= 0 && a != b && m->node[a].person == m->node[b].person)
						break;
					msg->who[1] = somebody(w, m, r);
				}
			break;
		case REMOVE:
			op->n = msg->n = 1;
			msg->who[0] = somebody(w, m, r);
			break;
	}
}

/* -- operations as SQL -- */

static void
add_who(Text *t, const World *w, const Message *msg)
{
	add(t, "ARRAY[");
	for (int k = 0; k < msg->n; k++)
		add(t, "%s'%s'", k > 0 ? ", " : "", ident_text(&w->rules, msg->who[k]));
	add(t, "]");
}

static void
add_traits(Text *t, const Message *msg)
{
	bool any = false;

	add(t, "{");
	for (int k = 0; k < TRAITS; k++)
	{
		if (msg->trait[k] == 0)
			continue;
		add(t, "%s\"%s\": ", any ? ", " : "", trait_names[k]);
		if (msg->trait[k] == 1)
			add(t, "null");
		else
			add(t, "\"%s\"", trait_value(k, msg->trait[k]));
		any = true;
	}
	add(t, "}");
}

static void
add_document(Text *t, const World *w, const Message *msg)
{
	add(t, "{\"type\": \"%s\", \"messageId\": \"m%d\", \"timestamp\": \"%s\", ",
		msg->kind == TRACK ? "track" : "identify", msg->id, time_text(msg->at));
	if (msg->kind == TRACK)
		add(t, "\"event\": \"Viewed\", ");
	else
	{
		add(t, "\"traits\": ");
		add_traits(t, msg);
		add(t, ", ");
	}
	add(t, "\"context\": {\"externalIds\": [");
	for (int k = 0; k < msg->n; k++)
	{
		const char *text = ident_text(&w->rules, msg->who[k]);
		const char *colon = strchr(text, ':');

		add(t, "%s{\"type\": \"%.*s\", \"id\": \"%s\"}", k > 0 ? ", " : "", (int) (colon - text),
			text,
			colon + 1);
	}
	add(t, "]}}");
}

/* One identifier alone is a pair with itself. */
static void
add_pair(Text *t, const Model *m, const Message *msg, bool first)
{
	add(t, "%s\n  ('%s', '%s', '%s'::timestamptz)", first ? "" : ",",
		ident_text(&m->rules, msg->who[0]), ident_text(&m->rules, msg->who[msg->n - 1]),
		time_text(msg->at));
}

/* As a statement, or NULL: nothing that it is about is there (any more). */
const char *
op_sql(const World *w, const Model *m, const Op *op)
{
	static Text t;
	const Message *msg = &op->message[0];
	Ident who[MAX_NAMED];
	Rules rules;
	int64_t a;
	int64_t b;
	int k;

	t.len = 0;
	switch (op->kind)
	{
		case SAY:
			if (msg->about && (model_id_of(m, msg->who[0], msg->id) == 0 ||
							   model_mentions(m, msg, who) < 0))
				return NULL;
			add(&t, "SELECT cdp.%s(",
				msg->kind == TRACK ? "track" : msg->kind == IDENTIFY ? "identify" :
																	   "set_consent");
			if (msg->about)
				add(&t, "%ld::bigint", (long) model_id_of(m, msg->who[0], msg->id));
			else
				add_who(&t, w, msg);
			if (msg->kind == TRACK)
				add(&t, ", 'Viewed'");
			else if (msg->kind == CONSENT)
				add(&t, ", 'marketing', '%s'", msg->granted ? "granted" : "withdrawn");
			else
			{
				add(&t, ", '");
				add_traits(&t, msg);
				add(&t, "'");
			}
			add(&t, ", at => '%s', message_id => 'm%d')", time_text(msg->at), msg->id);
			break;
		case BATCH:
			add(&t, "SELECT profile_id, status FROM cdp.ingest('[");
			for (k = 0; k < op->n; k++)
			{
				add(&t, "%s\n  ", k > 0 ? "," : "");
				add_document(&t, w, &op->message[k]);
			}
			add(&t, "]')");
			break;
		case BULK:
			add(&t, "SELECT pairs FROM cdp.ingest_edges($q$VALUES ");
			for (k = 0; k < op->n; k++)
				add_pair(&t, m, &op->message[k], k == 0);
			add(&t, "$q$)");
			break;
		case CHANGE:
			rules_invent(&rules, op->seed, NULL, op->ttls);
			add(&t, "%sSELECT cdp.apply_rules();\nCALL cdp.maintain()", rules_sql(&rules));
			break;
		case MERGE:
			/* the same identifier twice is one, and that is refused */
			for (k = 1; k < msg->n; k++)
				if (msg->who[k] == msg->who[0])
					return NULL;
			add(&t, "SELECT cdp.merge(");
			add_who(&t, w, msg);
			add(&t, ", 'soak'%s)", op->override ? ", true" : "");
			break;
		case MERGE_IDS:
			a = model_id_of(m, msg->who[0], op->pick);
			b = model_id_of(m, msg->who[1], op->pick + 1);
			if (a == 0 || b == 0)
				return NULL;
			add(&t, "SELECT cdp.merge(%ld, %ld, 'soak'%s)", (long) a, (long) b,
				op->override ? ", true" : "");
			break;
		case UNMERGE:
			k = model_find_merge(m, msg->who[0], op->pick);
			if (k < 0)
				return NULL;
			add(&t, "SELECT cdp.unmerge(%ld)", (long) m->merge[k].id);
			break;
		case UNLINK:
			add(&t, "SELECT cdp.unlink('%s', '%s')::int", ident_text(&w->rules, msg->who[0]),
				ident_text(&w->rules, msg->who[1]));
			break;
		case REMOVE:
			add(&t, "SELECT cdp.remove_identifier('%s')", ident_text(&w->rules, msg->who[0]));
			break;
	}
	return t.data;
}
