/*
 * tools/soak/rules.c
 *		Rules of namespaces, their identifiers, and text.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "soak.h"

#define HOUR (INT64_C(3600) * 1000000)

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
ident_text(const Rules *rules, Ident x)
{
	static char texts[16][64];
	static int next = 0;
	char *text = texts[next++ % 16];
	const char *ns = rules->rule[ident_ns(x)].ns;
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
ident_read(const Rules *rules, const char *text)
{
	for (int ns = 0; ns < rules->n; ns++)
	{
		size_t len = strlen(rules->rule[ns].ns);
		const char *end;

		if (strncmp(text, rules->rule[ns].ns, len) != 0 || text[len] != ':')
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

const char *const trait_names[TRAITS] = {"city", "first_store", "nick"};

/* -- text that grows -- */

void
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
rules_sql(const Rules *rules)
{
	static Text t;

	t.len = 0;
	add(&t, "DELETE FROM cdp_data.namespace;\n"
			"INSERT INTO cdp_data.namespace (name, rank, max_per_profile, on_conflict, period, "
			"ttl, "
			"blocked) VALUES\n");
	for (int ns = -1; ns < rules->n; ns++)
	{
		const Rule *r = ns < 0 ? &rules->common : &rules->rule[ns];

		if (!r->own)
			continue;
		add(&t, "%s\t('%s', %d, %d, '%s', ", ns < 0 ? "" : ",\n", ns < 0 ? "*" : r->ns, r->rank,
			r->limit, policy_names[r->policy]);
		/* 0 is none; what is null would be that of '*' */
		add(&t, "'%ld hours', '%ld hours', ", (long) (r->period / HOUR), (long) (r->ttl / HOUR));
		add(&t, "%s)", ns < 0 ? "ARRAY['null']" : "NULL");
	}
	add(&t, ";\nUPDATE cdp_data.identity_setting SET max_identifiers = %d;\n",
		rules->max_nodes > 0 ? rules->max_nodes : 100000);
	return t.data;
}

static void
set_rule(Rules *rules, const char *ns, int rank, int limit, Policy policy)
{
	Rule rule = {.ns = ns, .own = true, .rank = rank, .limit = limit, .policy = policy};

	rules->rule[rules->n++] = rule;
}

/* The namespaces of every world; those without a row of their own come last. */
static void
default_rules(Rules *rules)
{
	rules->common = (Rule){.ns = "*", .own = true, .rank = 100, .limit = 5, .policy = DEMOTE};
	set_rule(rules, "user_id", 1, 1, DEMOTE);
	set_rule(rules, "email", 2, 5, DEMOTE);
	set_rule(rules, "phone", 3, 5, DEMOTE);
	set_rule(rules, "device_id", 110, 5, DEMOTE);
	set_rule(rules, "anonymous_id", 120, 5, DEMOTE);
	set_rule(rules, "cookie", 100, 5, DEMOTE);
	set_rule(rules, "crm", 100, 5, DEMOTE);
	rules->rule[5].own = rules->rule[6].own = false;
}

static void
all_rules(Rules *rules, int limit, Policy policy)
{
	rules->common.limit = limit;
	rules->common.policy = policy;
	for (int ns = 0; ns < rules->n; ns++)
	{
		rules->rule[ns].limit = limit;
		rules->rule[ns].policy = policy;
	}
}

/* Limits, policies, ranks at random; some are alike. */
static void
random_rules(Rules *rules, Random *r, bool periods, bool ttls)
{
	static const int limits[] = {0, 1, 1, 1, 2, 2, 3, 5};
	static const int ranks[] = {1, 2, 2, 3, 50, 100, 100, 120};

	for (int ns = -1; ns < rules->n; ns++)
	{
		Rule *rule = ns < 0 ? &rules->common : &rules->rule[ns];

		if (ns >= 0 && !rule->own)
		{
			const char *name = rule->ns;

			*rule = rules->common;
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

/* Rules of this seed; only: of this kind, or NULL for any. */
void
rules_invent(Rules *rules, uint64_t seed, const char *only, bool ttls)
{
	Random r = {seed};
	int kind = random_below(&r, ttls ? KINDS : KINDS - 1);

	for (int k = 0; only != NULL && k < KINDS; k++)
		if (strcmp(kinds[k], only) == 0)
			kind = k;
	memset(rules, 0, sizeof(Rules));
	rules->name = kinds[kind];
	if (only != NULL && strcmp(rules->name, only) != 0)
		die("there are no rules called %s", only);
	default_rules(rules);
	switch (kind)
	{
		case 0:
			all_rules(rules, 0, DEMOTE);
			break;
		case 1:
			break;
		case 2:
			all_rules(rules, 1, DEMOTE);
			break;
		case 3:
			all_rules(rules, 2, NEWEST_WINS);
			rules->rule[0].limit = rules->rule[1].limit = 1;
			break;
		case 4:
			all_rules(rules, 2, REJECT);
			rules->rule[0].limit = rules->rule[2].limit = 1;
			break;
		case 5:
			random_rules(rules, &r, false, false);
			break;
		case 6:
			random_rules(rules, &r, true, false);
			break;
		case 7:
			random_rules(rules, &r, true, false);
			rules->rule[0].policy = rules->rule[1].policy = rules->common.policy = NEWEST_WINS;
			rules->rule[5].policy = rules->rule[6].policy = NEWEST_WINS;
			rules->rule[0].limit = 1;
			break;
		case 8:
			rules->max_nodes = 2 + random_below(&r, 8);
			break;
		case 9:
			random_rules(rules, &r, random_chance(&r, 300), true);
			break;
	}
}
