/*
 * tools/soak/world.c
 *		Rules and operations: made at random, and as SQL.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "model.h"

#define HOUR (INT64_C(3600) * 1000000)
#define DAY (24 * HOUR)
#define START INT64_C(1451606400000000) /* 2016-01-01: all in the partition of old events */

/* -- random numbers: splitmix64 -- */

uint64_t
random_next(Random *r)
{
	uint64_t z = r->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

int
random_below(Random *r, int n)
{
	return (int) (random_next(r) % (uint64_t) n);
}

bool
random_chance(Random *r, int per_mille)
{
	return random_below(r, 1000) < per_mille;
}

/* -- names -- */

int
ident_ns(Ident x)
{
	return x / MAX_VALUES;
}

/* namespace:value; good for a few calls. */
const char *
ident_text(const World *w, Ident x)
{
	static char texts[16][64];
	static int next = 0;
	char *text = texts[next++ % 16];
	const char *ns = w->rule[ident_ns(x)].ns;
	int value = x % MAX_VALUES;

	if (value == BLOCKED_VALUE)
		snprintf(text, 64, "%s:null", ns);
	else if (strcmp(ns, "email") == 0)
		snprintf(text, 64, "%s:e%02d@example.com", ns, value);
	else if (strcmp(ns, "phone") == 0)
		snprintf(text, 64, "%s:+8190000000%02d", ns, value);
	else
		snprintf(text, 64, "%s:%c%02d", ns, ns[0], value);
	return text;
}

Ident
ident_read(const World *w, const char *text)
{
	for (int ns = 0; ns < w->nrules; ns++)
	{
		size_t len = strlen(w->rule[ns].ns);
		const char *end;

		if (strncmp(text, w->rule[ns].ns, len) != 0 || text[len] != ':')
			continue;
		if (strcmp(text + len, ":null") == 0)
			return ns * MAX_VALUES + BLOCKED_VALUE;
		end = strchr(text, '@');
		if (end == NULL)
			end = text + strlen(text);
		return ns * MAX_VALUES + (end[-2] - '0') * 10 + (end[-1] - '0');
	}
	die("the server has an identifier %s", text);
}

const char *
time_text(Time t)
{
	static char texts[4][40];
	static int next = 0;
	char *text = texts[next++ % 4];
	time_t seconds = (time_t) (t / 1000000);
	struct tm tm;

	gmtime_r(&seconds, &tm);
	snprintf(text, 40, "%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", tm.tm_year + 1900, tm.tm_mon + 1,
			 tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int) (t % 1000000));
	return text;
}

const char *
trait_value(int trait, int value)
{
	static const char *const values[TRAITS][4] = {
		{NULL, NULL, "Kyoto", "Nara"}, {NULL, NULL, "Gion", "Umeda"}, {NULL, NULL, "neko", "inu"}};

	return values[trait][value];
}

static const char *const trait_names[TRAITS] = {"city", "first_store", "nick"};

/* -- text that grows -- */

typedef struct Text
{
	char *data;
	size_t len;
	size_t room;
} Text;

static void add(Text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void
add(Text *t, const char *format, ...)
{
	va_list args;
	int n;

	for (;;)
	{
		va_start(args, format);
		n = vsnprintf(t->data ? t->data + t->len : NULL, t->room - t->len, format, args);
		va_end(args);
		if (n >= 0 && t->len + (size_t) n < t->room)
			break;
		t->room = (t->room + (size_t) n) * 2 + 256;
		t->data = realloc(t->data, t->room);
		if (t->data == NULL)
			die("out of memory");
	}
	t->len += (size_t) n;
}

/* -- rules -- */

static const char *const policy_names[] = {"demote", "newest_wins", "reject"};

/* Statements that set the rules. */
const char *
world_sql(const World *w)
{
	static Text t;

	t.len = 0;
	add(&t, "DELETE FROM cdp_data.namespace;\n"
			"INSERT INTO cdp_data.namespace (name, rank, max_per_profile, on_conflict, period, "
			"ttl, "
			"blocked) VALUES\n");
	for (int ns = -1; ns < w->nrules; ns++)
	{
		const Rule *r = ns < 0 ? &w->common : &w->rule[ns];

		if (!r->own)
			continue;
		add(&t, "%s\t('%s', %d, %d, '%s', ", ns < 0 ? "" : ",\n", ns < 0 ? "*" : r->ns, r->rank,
			r->limit, policy_names[r->policy]);
		/* 0 is none; what is null would be that of '*' */
		add(&t, "'%ld hours', '%ld hours', ", (long) (r->period / HOUR), (long) (r->ttl / HOUR));
		add(&t, "%s)", ns < 0 ? "ARRAY['null']" : "NULL");
	}
	add(&t, ";\nUPDATE cdp_data.identity_setting SET max_identifiers = %d;\n",
		w->max_nodes > 0 ? w->max_nodes : 100000);
	return t.data;
}

static void
set_rule(World *w, const char *ns, int rank, int limit, Policy policy)
{
	Rule rule = {.ns = ns, .own = true, .rank = rank, .limit = limit, .policy = policy};

	w->rule[w->nrules++] = rule;
}

/* The namespaces of every world; those without a row of their own come last. */
static void
default_rules(World *w)
{
	w->nrules = 0;
	w->common = (Rule){.ns = "*", .own = true, .rank = 100, .limit = 5, .policy = DEMOTE};
	set_rule(w, "user_id", 1, 1, DEMOTE);
	set_rule(w, "email", 2, 5, DEMOTE);
	set_rule(w, "phone", 3, 5, DEMOTE);
	set_rule(w, "device_id", 110, 5, DEMOTE);
	set_rule(w, "anonymous_id", 120, 5, DEMOTE);
	set_rule(w, "cookie", 100, 5, DEMOTE);
	set_rule(w, "crm", 100, 5, DEMOTE);
	w->rule[5].own = w->rule[6].own = false;
}

static void
all_rules(World *w, int limit, Policy policy)
{
	w->common.limit = limit;
	w->common.policy = policy;
	for (int ns = 0; ns < w->nrules; ns++)
	{
		w->rule[ns].limit = limit;
		w->rule[ns].policy = policy;
	}
}

/* Limits, policies, ranks at random; some are alike. */
static void
random_rules(World *w, Random *r, bool periods, bool ttls)
{
	static const int limits[] = {0, 1, 1, 1, 2, 2, 3, 5};
	static const int ranks[] = {1, 2, 2, 3, 50, 100, 100, 120};

	for (int ns = -1; ns < w->nrules; ns++)
	{
		Rule *rule = ns < 0 ? &w->common : &w->rule[ns];

		if (ns >= 0 && !rule->own)
		{
			const char *name = rule->ns;

			*rule = w->common;
			rule->ns = name;
			rule->own = false;
			continue;
		}
		rule->limit = limits[random_below(r, 8)];
		rule->rank = ranks[random_below(r, 8)];
		rule->policy = (Policy) random_below(r, 3);
		if (periods && random_chance(r, 500))
			rule->period = (1 + random_below(r, 10)) * 12 * HOUR;
		if (ttls && random_chance(r, 500))
			rule->ttl = (1 + random_below(r, 10)) * 12 * HOUR;
	}
}

static const char *const kinds[] = {
	"none", "defaults", "unique", "newest", "reject", "mix", "periods", "newest_mix", "small",
	"ttl"};
#define KINDS ((int) (sizeof(kinds) / sizeof(kinds[0])))

/* A world of this seed and number; only: the kind of its rules, or NULL for any. */
void
world_invent(World *w, uint64_t seed, uint64_t number, const char *only, bool bearers)
{
	Random r = {seed * UINT64_C(1000003) + number};
	int kind = random_below(&r, bearers ? KINDS : KINDS - 1);

	w->seed = seed;
	w->number = number;
	w->bearers = bearers;
	w->nops = 0;
	w->max_nodes = 0;
	for (int k = 0; only != NULL && k < KINDS; k++)
		if (strcmp(kinds[k], only) == 0)
			kind = k;
	w->name = kinds[kind];
	if (only != NULL && strcmp(w->name, only) != 0)
		die("there are no rules called %s", only);
	default_rules(w);
	switch (kind)
	{
		case 0:
			all_rules(w, 0, DEMOTE);
			break;
		case 1:
			break;
		case 2:
			all_rules(w, 1, DEMOTE);
			break;
		case 3:
			all_rules(w, 2, NEWEST_WINS);
			w->rule[0].limit = w->rule[1].limit = 1;
			break;
		case 4:
			all_rules(w, 2, REJECT);
			w->rule[0].limit = w->rule[2].limit = 1;
			break;
		case 5:
			random_rules(w, &r, false, false);
			break;
		case 6:
			random_rules(w, &r, true, false);
			break;
		case 7:
			random_rules(w, &r, true, false);
			w->rule[0].policy = w->rule[1].policy = w->common.policy = NEWEST_WINS;
			w->rule[5].policy = w->rule[6].policy = NEWEST_WINS;
			w->rule[0].limit = 1;
			break;
		case 8:
			w->max_nodes = 2 + random_below(&r, 8);
			break;
		case 9:
			random_rules(w, &r, random_chance(&r, 300), true);
			break;
	}

	w->people = 2 + random_below(&r, 16);
	w->values = 1 + random_below(&r, 4);
	w->strangers = 10 + random_below(&r, 250);
	w->late = random_chance(&r, 300) ? 0 : random_below(&r, 700);
	w->early = random_chance(&r, 500) ? 0 : random_below(&r, 200);
	w->step = (1 + random_below(&r, 180)) * INT64_C(60000000);
	w->length = 20 + random_below(&r, random_chance(&r, 500) ? 80 : 500);
	w->weight[SAY] = 50;
	w->weight[BATCH] = 12;
	for (int k = MERGE; k <= REMOVE; k++)
		w->weight[k] = random_chance(&r, 350) ? 0 : 1 + random_below(&r, 12);
}

/* -- operations -- */

static Ident
random_ident(const World *w, Random *r, int person)
{
	int ns = random_below(r, w->nrules);

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
	for (int k = SAY; k <= REMOVE; k++)
		total += w->weight[k];
	which = random_below(r, total);
	for (int k = SAY; k <= REMOVE; k++)
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
		add(t, "%s'%s'", k > 0 ? ", " : "", ident_text(w, msg->who[k]));
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
		const char *text = ident_text(w, msg->who[k]);
		const char *colon = strchr(text, ':');

		add(t, "%s{\"type\": \"%.*s\", \"id\": \"%s\"}", k > 0 ? ", " : "", (int) (colon - text),
			text,
			colon + 1);
	}
	add(t, "]}}");
}

/* As a statement, or NULL: nothing that it is about is there (any more). */
const char *
op_sql(const World *w, const Model *m, const Op *op)
{
	static Text t;
	const Message *msg = &op->message[0];
	Ident who[MAX_NAMED];
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
			add(&t, "SELECT cdp.unlink('%s', '%s')::int", ident_text(w, msg->who[0]),
				ident_text(w, msg->who[1]));
			break;
		case REMOVE:
			add(&t, "SELECT cdp.remove_identifier('%s')", ident_text(w, msg->who[0]));
			break;
	}
	return t.data;
}
