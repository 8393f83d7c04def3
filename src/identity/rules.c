/*
 * src/identity/rules.c
 *		Rules of namespaces, cached per backend.
 *
 * A namespace without a row, and what a row leaves open, has the rules of
 * '*'.  Blocked values are regular expressions that must match the whole
 * value, whatever the case; those without a metacharacter are compared as
 * text, the others are one alternation.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "regex/regex.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "core/text.h"
#include "identity/rules.h"
#include "store.h"

static CdpRules none;
static CdpRules *current = &none;
static const CdpRules *supposed; /* what-if; see cdp_rules_suppose() */

/* Order of the columns below. */
enum
{
	NAME = 1,
	RANK,
	LIMIT,
	PERIOD,
	POLICY,
	BLOCKED,
	TTL,
	NORMALISER
};

static int64
interval_us(uint64 row, int col)
{
	bool isnull;
	Datum d = cdp_store_value(row, col, &isnull);
	Interval *i;

	if (isnull)
		return 0;
	i = DatumGetIntervalP(d);
	return i->time + (i->day + i->month * (int64) DAYS_PER_MONTH) * USECS_PER_DAY;
}

static void
add_patterns(CdpNamespace *ns, Datum array, StringInfo expression)
{
	Datum *elems;
	bool *nulls;
	int n;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT,
					  &elems, &nulls, &n);
	ns->literals = ns->literals ?
					   repalloc(ns->literals, sizeof(char *) * (ns->nliterals + n + 1)) :
					   palloc(sizeof(char *) * (n + 1));
	for (int i = 0; i < n; i++)
	{
		char *pattern;

		if (nulls[i])
			continue;
		pattern = TextDatumGetCString(elems[i]);
		if (strpbrk(pattern, "\\.[]()*+?{}|^$") == NULL)
		{
			for (char *c = pattern; *c; c++)
				if (*c >= 'A' && *c <= 'Z')
					*c += 'a' - 'A';
			ns->literals[ns->nliterals++] = pattern;
		}
		else
			appendStringInfo(expression, "%s(?:%s)", expression->len > 0 ? "|" : "", pattern);
	}
}

static void
set_patterns(CdpNamespace *ns, Datum own, bool no_own, Datum common, bool no_common)
{
	StringInfoData expression;

	initStringInfo(&expression);
	if (!no_common)
		add_patterns(ns, common, &expression);
	if (!no_own)
		add_patterns(ns, own, &expression);
	if (expression.len > 0)
		ns->pattern = cstring_to_text(psprintf("^(?:%s)$", expression.data));
}

static CdpPolicy
policy_of(const char *name)
{
	if (strcmp(name, "newest_wins") == 0)
		return CDP_POLICY_NEWEST_WINS;
	if (strcmp(name, "reject") == 0)
		return CDP_POLICY_REJECT;
	return CDP_POLICY_DEMOTE;
}

/*
 * Reads the rules, with changes applied if given: {"email": {"max_per_profile":
 * 1}, "*": {...}, "max_identifiers": 500}, in the words of define_namespace().
 */
static void
load(CdpRules *fresh, const char *changes)
{
	MemoryContext old;
	char *literal = quote_literal_cstr(changes ? changes : "{}");
	int n = cdp_store_run_latest(psprintf(
		"WITH change AS (SELECT key AS name, value AS v FROM jsonb_each(%s::jsonb) "
		"    WHERE jsonb_typeof(value) = 'object'), "
		"rule AS (SELECT coalesce(t.name, c.name) AS name, "
		"    coalesce((v->>'priority')::int, t.rank) AS rank, "
		"    CASE WHEN (v->>'unique_per_profile')::boolean THEN 1 "
		"      WHEN v ? 'max_per_profile' THEN coalesce((v->>'max_per_profile')::int, 0) "
		"      WHEN v ? 'unique_per_profile' THEN 0 ELSE t.max_per_profile END AS max_per_profile, "
		"    CASE WHEN v ? 'period' THEN (v->>'period')::interval ELSE t.period END AS period, "
		"    coalesce(v->>'on_conflict', t.on_conflict) AS on_conflict, "
		"    CASE WHEN v ? 'blocked' THEN ARRAY(SELECT jsonb_array_elements_text(v->'blocked')) "
		"      ELSE t.blocked END AS blocked, "
		"    CASE WHEN v ? 'ttl' THEN (v->>'ttl')::interval ELSE t.ttl END AS ttl, "
		"    coalesce(v->>'normaliser', t.normaliser) AS normaliser "
		"  FROM cdp_data.namespace t FULL JOIN change c ON c.name = t.name) "
		"SELECT n.name, coalesce(n.rank, d.rank, 100)::bigint, "
		"  coalesce(n.max_per_profile, d.max_per_profile, 0)::bigint, "
		"  coalesce(n.period, d.period), "
		"  coalesce(n.on_conflict, d.on_conflict, 'demote'), n.blocked, coalesce(n.ttl, d.ttl), "
		"  coalesce(n.normaliser, d.normaliser), d.blocked, "
		"  coalesce((%s::jsonb->>'max_identifiers')::bigint, s.max_identifiers), "
		"  s.max_component::bigint "
		"FROM cdp_data.identity_setting s "
		"CROSS JOIN (SELECT '*' COLLATE \"C\" AS name UNION SELECT name FROM rule) x "
		"LEFT JOIN rule n ON n.name = x.name "
		"LEFT JOIN rule d ON d.name = '*' "
		"ORDER BY x.name <> '*', x.name COLLATE \"C\"",
		literal, literal));

	old = MemoryContextSwitchTo(fresh->context);
	fresh->namespaces = palloc0(sizeof(CdpNamespace) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		CdpNamespace *ns = &fresh->namespaces[i];
		const char *policy = cdp_store_text(i, POLICY);
		const char *normaliser;
		bool no_own;
		bool no_common;
		Datum own = cdp_store_value(i, BLOCKED, &no_own);
		Datum common = cdp_store_value(i, 9, &no_common);

		ns->name = cdp_store_text(i, NAME);
		if (ns->name == NULL)
			ns->name = "*";
		ns->rule.rank = (int32) cdp_store_int64(i, RANK);
		ns->rule.limit = (int32) cdp_store_int64(i, LIMIT);
		ns->rule.period = interval_us(i, PERIOD);
		ns->rule.ttl = interval_us(i, TTL);
		ns->rule.policy = policy_of(policy);
		ns->isolate = strcmp(policy, "isolate") == 0;
		normaliser = cdp_store_text(i, NORMALISER);
		ns->normaliser = normaliser ? cdp_normaliser_find(normaliser) : NULL;
		set_patterns(ns, own, no_own || i == 0, common, no_common);
		fresh->repeats |= cdp_core_rule_repeats(&ns->rule);
		fresh->expires |= ns->rule.ttl > 0;
		fresh->isolates |= ns->isolate;
		fresh->max_nodes = (int) cdp_store_int64(i, 10);
		fresh->max_component = (int) cdp_store_int64(i, 11);
	}
	fresh->n = n;
	MemoryContextSwitchTo(old);
}

/* The rules; valid for the visit of the storage, inside cdp_store_enter(). */
const CdpRules *
cdp_rules(void)
{
	if (supposed)
		return supposed;
	while (current->generation != cdp_store_generation())
	{
		MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "cdp identity rules",
													  ALLOCSET_SMALL_SIZES);
		CdpRules *fresh = MemoryContextAllocZero(context, sizeof(CdpRules));
		CdpResult saved = cdp_store_save_result();

		fresh->generation = cdp_store_generation();
		fresh->context = context;
		load(fresh, NULL);
		cdp_store_restore_result(saved);
		cdp_store_retire(current->context);
		MemoryContextSetParent(context, CacheMemoryContext);
		current = fresh;
	}
	return current;
}

/*
 * From now on cdp_rules() has these changes; NULL ends it.  The caller ends it
 * in any case (PG_FINALLY), and writes nothing meanwhile.
 */
void
cdp_rules_suppose(const char *changes)
{
	CdpRules *fresh;

	supposed = NULL;
	if (changes == NULL)
		return;
	fresh = palloc0(sizeof(CdpRules));
	fresh->context = CurrentMemoryContext;
	load(fresh, changes);
	supposed = fresh;
}

/* The rules of a namespace, those of '*' if it has none of its own. */
const CdpNamespace *
cdp_rules_namespace(const char *ns)
{
	const CdpRules *rules = cdp_rules();

	for (int i = 1; i < rules->n; i++)
		if (strcmp(rules->namespaces[i].name, ns) == 0)
			return &rules->namespaces[i];
	return &rules->namespaces[0];
}

int
cdp_rules_rank(const char *ns)
{
	return cdp_rules_namespace(ns)->rule.rank;
}

/*
 * Makes the ranks of a list of rules distinct: of namespaces of one priority
 * the first by name is the more important, whatever the order of the list.
 */
void
cdp_rules_order(CdpCoreRule *rules, const char *const *names, int n)
{
	int32 *rank = palloc(sizeof(int32) * Max(n, 1));

	for (int i = 0; i < n; i++)
	{
		rank[i] = 0;
		for (int k = 0; k < n; k++)
			rank[i] += rules[k].rank < rules[i].rank ||
					   (rules[k].rank == rules[i].rank && strcmp(names[k], names[i]) < 0);
	}
	for (int i = 0; i < n; i++)
		rules[i].rank = rank[i];
	pfree(rank);
}

/*
 * Brings a value to the form its namespace asks for.  A value that is not
 * understood stays: it is an identifier, if only of itself.
 */
void
cdp_rules_normalise(CdpMention *mention)
{
	const CdpNormaliser *normaliser = cdp_rules_namespace(mention->ns)->normaliser;
	char *value;

	if (normaliser == NULL)
		return;
	(void) cdp_normalise(normaliser, mention->value, &value);
	if (value[0] != '\0' && strlen(value) <= CDP_MAX_VALUE_BYTES)
		mention->value = value;
}

/* Is this value nobody's identifier? */
bool
cdp_rules_blocked(const char *ns, const char *value)
{
	const CdpNamespace *rules = cdp_rules_namespace(ns);

	for (int i = 0; i < rules->nliterals; i++)
		if (pg_strcasecmp(rules->literals[i], value) == 0)
			return true;
	return rules->pattern != NULL &&
		   RE_compile_and_execute(rules->pattern, unconstify(char *, value), (int) strlen(value),
								  REG_ADVANCED | REG_ICASE | REG_NOSUB, C_COLLATION_OID, 0, NULL);
}

/* Word for a refusal, as stored with the edge: what, and of which namespace. */
const char *
cdp_rules_refusal(CdpTieVerdict verdict, const char *ns)
{
	switch (verdict)
	{
		case CDP_JOINED:
			return NULL;
		case CDP_OVER_LIMIT:
			return psprintf("limit:%s", ns ? ns : "");
		case CDP_TOO_LARGE:
			return "too_many_identifiers";
		case CDP_SEPARATED:
			return "separated";
		case CDP_NEWER_LINK:
			return psprintf("newer_link:%s", ns ? ns : "");
		case CDP_BARRED:
			return "blocked";
		case CDP_ISOLATED:
			return "isolated";
	}
	return "unknown";
}

static void *
alloc_huge(size_t size)
{
	return MemoryContextAllocHuge(CurrentMemoryContext, size);
}

static bool
check_interrupts(void)
{
	CHECK_FOR_INTERRUPTS();
	return false;
}

/* What every question to core/linkage.h takes from the rules, and from the server. */
void
cdp_rules_linkage(CdpLinkage *l)
{
	l->max_nodes = cdp_rules()->max_nodes;
	l->repeats = cdp_rules()->repeats;
	l->alloc = alloc_huge;
	l->interrupted = check_interrupts;
}
