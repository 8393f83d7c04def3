/*
 * src/profile/base_trait.c
 *		Few values of a trait in a base: those that may still win.
 *
 * A trait that gets another value with each message would make its base as
 * large as the events were.  Of more than twice CDP_BASE_VALUES these are kept:
 *
 *	the CDP_BASE_VALUES given last
 *	the first one, and of each source the first and the last
 *	the one that survives by the trait's rule (its type, what it ignores)
 *
 * That is exact for the rule the trait has, and for "latest", "oldest" and
 * source priority whatever the sources, as long as the values fit the type.
 * cdp_data.trait_pruned has the names, and who changes the rule is warned.
 * Values of traits that are counted or united are all kept.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

#include "compat.h"
#include "cdp.h"
#include "profile/base.h"
#include "profile/survive.h"
#include "store.h"

static CdpPlan many_plan = {
	"SELECT u.node_id, t.name FROM unnest($1) u (node_id) "
	"CROSS JOIN LATERAL (SELECT t.name FROM cdp_data.node_base_trait t "
	"  WHERE t.node_id = u.node_id GROUP BY t.name HAVING count(*) > $2 OFFSET 0) t",
	2,
	{INT8ARRAYOID, INT8OID},
	NULL};

static CdpPlan values_plan = {
	"SELECT t.hash, t.source, t.value, t.last_ts, t.last_key, t.first_ts, t.first_key "
	"FROM cdp_data.node_base_trait t WHERE t.node_id = $1 AND t.name = $2 "
	"ORDER BY t.last_ts DESC, t.last_key DESC",
	2,
	{INT8OID, TEXTOID},
	NULL};

static CdpPlan prune_plan = {
	"DELETE FROM cdp_data.node_base_trait t WHERE t.node_id = $1 AND t.hash = ANY ($2)",
	2,
	{INT8OID, BYTEAARRAYOID},
	NULL};

static CdpPlan note_plan = {
	"INSERT INTO cdp_data.trait_pruned AS p (name, horizon) VALUES ($1, $2) "
	"ON CONFLICT (name) DO UPDATE SET horizon = excluded.horizon "
	"WHERE p.horizon < excluded.horizon",
	2,
	{TEXTOID, TIMESTAMPTZOID},
	NULL};

/* One value of the base, by its last message and by its first. */
typedef struct Value
{
	Datum hash;
	CdpTally last;
	CdpTally first;
	bool fits; /* takes part in the trait's rule */
	bool keep;
} Value;

static void
read_tally(CdpTally *tally, int row, int column)
{
	bool isnull;

	tally->ts = cdp_store_int64(row, column);
	memcpy(tally->key, DatumGetUUIDP(cdp_store_value(row, column + 1, &isnull)), UUID_LEN);
}

static Value *
read_values(int64 node, const char *name, const CdpTrait *trait, int *n)
{
	Datum args[2] = {Int64GetDatum(node), CStringGetTextDatum(name)};
	Value *all;

	*n = cdp_store_run(&values_plan, args, NULL, false, -1);
	all = palloc0(sizeof(Value) * Max(*n, 1));
	for (int r = 0; r < *n; r++)
	{
		bool isnull;
		JsonbValue value;
		List *texts = NIL;
		Value *v = &all[r];

		v->hash = PointerGetDatum(DatumGetByteaPCopy(cdp_store_value(r, 1, &isnull)));
		cdp_trait_value(DatumGetJsonbPCopy(cdp_store_value(r, 3, &isnull)), &value);
		v->fits = trait == NULL || cdp_trait_texts(trait, &value, &texts);
		v->last.text = texts ? linitial(texts) : NULL;
		v->fits = v->fits && cdp_survive_ignores(trait, v->last.text) == NULL;
		v->last.source = cdp_store_text(r, 2);
		v->first = v->last;
		read_tally(&v->last, r, 4);
		read_tally(&v->first, r, 6);
	}
	SPI_freetuptable(SPI_tuptable);
	return all;
}

static bool
is_before(const CdpTally *a, const CdpTally *b)
{
	return cdp_survive_beats(NULL, b, a);
}

static int
compare_sources(const void *a, const void *b)
{
	const Value *x = *(Value *const *) a;
	const Value *y = *(Value *const *) b;

	return strcmp(x->last.source, y->last.source);
}

/* Of each source the first and the last. */
static void
keep_sources(Value *all, int n)
{
	Value **order = palloc(sizeof(Value *) * n);

	for (int i = 0; i < n; i++)
		order[i] = &all[i];
	qsort(order, n, sizeof(Value *), compare_sources);
	for (int i = 0, k; i < n; i = k)
	{
		Value *first = order[i];
		Value *last = order[i];

		for (k = i + 1; k < n && compare_sources(&order[i], &order[k]) == 0; k++)
		{
			if (is_before(&order[k]->first, &first->first))
				first = order[k];
			if (is_before(&last->last, &order[k]->last))
				last = order[k];
		}
		first->keep = last->keep = true;
	}
}

/* Marks what is kept: see the head of the file. */
static void
choose(const CdpTrait *trait, Value *all, int n)
{
	bool oldest = trait && trait->survival == CDP_SURVIVE_OLDEST;
	Value *best = NULL;

	for (int i = 0; i < n; i++)
	{
		all[i].keep = i < CDP_BASE_VALUES;
		if (all[i].fits &&
			(best == NULL ||
			 cdp_survive_beats(trait, oldest ? &all[i].first : &all[i].last,
							   oldest ? &best->first : &best->last)))
			best = &all[i];
	}
	if (best)
		best->keep = true;
	keep_sources(all, n);
}

static void
prune_one(int64 node, const char *name, TimestampTz horizon)
{
	const CdpTrait *trait = cdp_trait_find(name, (int) strlen(name));
	int n;
	int gone = 0;
	Value *all;
	Datum *hashes;
	Datum args[2];

	if (cdp_survive_tallies(trait))
		return;
	all = read_values(node, name, trait, &n);
	choose(trait, all, n);
	hashes = palloc(sizeof(Datum) * Max(n, 1));
	for (int i = 0; i < n; i++)
		if (!all[i].keep)
			hashes[gone++] = all[i].hash;
	if (gone == 0)
		return;
	args[0] = Int64GetDatum(node);
	args[1] = cdp_array_datums(hashes, NULL, gone, BYTEAOID);
	cdp_store_run(&prune_plan, args, NULL, false, gone);
	/* a longer name can never be declared */
	if (strlen(name) > CDP_MAX_NAME)
		return;
	args[0] = CStringGetTextDatum(name);
	args[1] = TimestampTzGetDatum(horizon);
	cdp_store_run(&note_plan, args, NULL, false, -1);
}

/* Makes the bases of these nodes small again; horizon: up to when events are gone. */
void
cdp_base_prune(const int64 *nodes, int n, TimestampTz horizon)
{
	Datum args[2] = {cdp_array_int64(nodes, n), Int64GetDatum(2 * CDP_BASE_VALUES)};
	int rows = cdp_store_run(&many_plan, args, NULL, false, -1);
	int64 *ids = palloc(sizeof(int64) * Max(rows, 1));
	char **names = palloc(sizeof(char *) * Max(rows, 1));

	for (int r = 0; r < rows; r++)
	{
		ids[r] = cdp_store_int64(r, 1);
		names[r] = cdp_store_text(r, 2);
	}
	SPI_freetuptable(SPI_tuptable);
	for (int r = 0; r < rows; r++)
		prune_one(ids[r], names[r], horizon);
}
