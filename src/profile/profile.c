/*
 * src/profile/profile.c
 *		The state of a person as a fold over messages.
 *
 * Each trait keeps, in trait_meta, the message its value came from: its mark
 * (mark.c).  A value replaces another when its (time, key) is higher
 * ("latest") or lower ("oldest"), so the result does not depend on the order in
 * which messages arrive, and joining two people is the same fold over the
 * values of both.  An unset trait keeps its mark: an older value must not come
 * back.  Other rules, and traits that keep a tally of values instead of a mark:
 * survive.h.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "compat.h"
#include "profile/trait_fold.h"
#include "store.h"

/* Statements whose text lists the declared traits, for one generation. */
static struct
{
	uint64 generation;
	MemoryContext context;
	CdpPlan read;
	CdpPlan write;
} dynamic;

static CdpPlan join_plan = {
	"WITH gone AS (DELETE FROM cdp_data.profile_state s USING unnest($1, $2) u (winner, loser) "
	"  WHERE s.profile_id = ANY (ARRAY[u.loser]) "
	"  RETURNING u.winner, s.events, s.first_seen, s.last_seen, s.segments), "
	"total AS (SELECT g.winner, sum(g.events)::bigint AS events, min(g.first_seen) AS f, "
	"  max(g.last_seen) AS l FROM gone g GROUP BY g.winner) "
	"UPDATE cdp_data.profile_state w SET events = w.events + t.events, rev = w.rev + 1, "
	"  first_seen = LEAST(w.first_seen, t.f), last_seen = GREATEST(w.last_seen, t.l), "
	"  segments = ARRAY(SELECT x FROM gone g, unnest(g.segments) x WHERE g.winner = w.profile_id "
	"    UNION SELECT unnest(w.segments) ORDER BY 1) "
	"FROM total t WHERE w.profile_id = t.winner",
	2,
	{INT8ARRAYOID, INT8ARRAYOID},
	NULL};

static CdpPlan drop_plan = {
	"DELETE FROM cdp_data.profile p WHERE p.profile_id = ANY ($1)",
	1,
	{INT8ARRAYOID},
	NULL};

static void
forget_plan(CdpPlan *plan)
{
	if (plan->plan)
		SPI_freeplan(plan->plan);
	memset(plan, 0, sizeof(*plan));
}

/* A declared trait's column as text that cdp_trait_canonical() takes. */
static void
append_as_text(StringInfo sql, const CdpTrait *trait)
{
	const char *column = quote_identifier(trait->name);

	if (trait->survival == CDP_SURVIVE_UNION)
		appendStringInfo(sql, "p.%s::text", column);
	else if (trait->type == CDP_TRAIT_TIMESTAMPTZ)
		appendStringInfo(sql, "to_char(p.%s AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')",
						 column);
	else if (trait->type == CDP_TRAIT_DATE)
		appendStringInfo(sql, "to_char(p.%s, 'YYYY-MM-DD')", column);
	else
		appendStringInfo(sql, "p.%s::text", column);
}

/*
 * (Re)builds the statements that name trait columns.  Names come from
 * cdp_data.trait and are quoted.
 */
static void
prepare_dynamic(void)
{
	const CdpTraitConfig *config = cdp_trait_config();
	StringInfoData read;
	StringInfoData write;
	MemoryContext old;

	if (dynamic.generation == config->generation)
		return;
	forget_plan(&dynamic.read);
	forget_plan(&dynamic.write);
	dynamic.generation = 0;
	if (dynamic.context == NULL)
		dynamic.context = AllocSetContextCreate(CacheMemoryContext,
												"cdp profile statements",
												ALLOCSET_SMALL_SIZES);
	MemoryContextReset(dynamic.context);
	old = MemoryContextSwitchTo(dynamic.context);

	initStringInfo(&read);
	initStringInfo(&write);
	appendStringInfoString(&read, "SELECT p.profile_id, p.traits, p.trait_meta, ");
	if (config->n == 0)
		appendStringInfoString(&read, "NULL::text[]");
	else
		appendStringInfoString(&read, "ARRAY[");
	appendStringInfoString(&write,
						   "UPDATE cdp_data.profile p SET traits = u.traits, trait_meta = "
						   "u.meta");
	for (int i = 0; i < config->n; i++)
	{
		const CdpTrait *trait = &config->traits[i];
		const char *column = quote_identifier(trait->name);
		const char *name = quote_literal_cstr(trait->name);

		appendStringInfoString(&read, i ? ", " : "");
		append_as_text(&read, trait);
		appendStringInfo(&write,
						 ", %s = CASE WHEN u.d OPERATOR(pg_catalog.?) %s THEN (u.d ->> "
						 "%s)::%s ELSE p.%s END",
						 column, name, name, trait->type_name, column);
	}
	if (config->n > 0)
		appendStringInfoString(&read, "]");
	appendStringInfoString(&read,
						   " FROM cdp_data.profile p WHERE p.profile_id = ANY ($1) ORDER BY "
						   "p.profile_id");
	appendStringInfoString(&write,
						   " FROM unnest($1, $2, $3, $4) u (profile_id, traits, meta, d) "
						   "WHERE p.profile_id = ANY (ARRAY[u.profile_id])");
	MemoryContextSwitchTo(old);

	dynamic.read.sql = read.data;
	dynamic.read.nargs = 1;
	dynamic.read.argtypes[0] = INT8ARRAYOID;
	dynamic.write.sql = write.data;
	dynamic.write.nargs = 4;
	dynamic.write.argtypes[0] = INT8ARRAYOID;
	for (int i = 1; i < 4; i++)
		dynamic.write.argtypes[i] = JSONBARRAYOID;
	dynamic.generation = config->generation;
}

/*
 * Folds changes into the profiles they name and writes each profile once.
 * Returns how many changes do not fit their trait's type; refused (room for
 * n) gets their indexes.
 */
int
cdp_profile_fold(CdpTraitChange *changes, int n, int *refused)
{
	CdpTraitChange **order;
	int64 *ids = palloc(sizeof(int64) * Max(n, 1));
	CdpPerson *people;
	int npeople = 0;
	int nrefused = 0;
	int written = 0;
	Datum args[4];
	Datum *traits;
	Datum *meta;
	Datum *declared;

	if (n == 0)
		return 0;
	order = cdp_fold_sort(changes, n);
	for (int i = 0; i < n; i++)
		if (npeople == 0 || ids[npeople - 1] != order[i]->profile_id)
			ids[npeople++] = order[i]->profile_id;

	if (cdp_profile_fold_rows(order, n, ids, npeople, changes, refused, &nrefused))
		return nrefused;
	prepare_dynamic();
	people = palloc0(sizeof(CdpPerson) * npeople);
	args[0] = cdp_array_int64(ids, npeople);
	cdp_store_run(&dynamic.read, args, NULL, false, npeople);
	for (int i = 0; i < npeople; i++)
	{
		bool isnull;

		people[i].profile_id = cdp_store_int64(i, 1);
		people[i].traits = DatumGetJsonbPCopy(cdp_store_value(i, 2, &isnull));
		people[i].meta = DatumGetJsonbPCopy(cdp_store_value(i, 3, &isnull));
		people[i].declared = cdp_store_value(i, 4, &isnull);
		people[i].declared = isnull ? (Datum) 0 : datumCopy(people[i].declared, false, -1);
	}
	SPI_freetuptable(SPI_tuptable);

	for (int i = 0, p = 0; i < n; p++)
		i += cdp_fold_person(&people[p], &order[i], n - i, changes, refused, &nrefused);

	traits = palloc(sizeof(Datum) * npeople);
	meta = palloc(sizeof(Datum) * npeople);
	declared = palloc(sizeof(Datum) * npeople);
	for (int p = 0; p < npeople; p++)
	{
		if (people[p].npatches == 0)
			continue;
		ids[written] = people[p].profile_id;
		cdp_fold_compose(&people[p], &traits[written], &meta[written]);
		declared[written] = cdp_fold_columns(&people[p]);
		written++;
	}
	/* before triggers on people, which may fold them again */
	for (int p = 0; p < npeople; p++)
		cdp_tally_write(people[p].pending);
	if (written > 0)
	{
		args[0] = cdp_array_int64(ids, written);
		args[1] = cdp_array_datums(traits, NULL, written, JSONBOID);
		args[2] = cdp_array_datums(meta, NULL, written, JSONBOID);
		args[3] = cdp_array_datums(declared, NULL, written, JSONBOID);
		cdp_store_run(&dynamic.write, args, NULL, false, written);
	}
	return nrefused;
}

/*
 * Folds all that these people (ascending) ever said of themselves, and writes
 * nothing: traits, marks and declared traits of each, as cdp_profile_fold()
 * would write them to people of whom nothing is known.  Returns the tallies, as
 * a list of CdpPending.
 */
List *
cdp_profile_fold_apart(CdpTraitChange *changes, int n, const int64 *ids, int npeople,
					   Datum *traits, Datum *meta, Datum *declared)
{
	List *pending = NIL;
	CdpTraitChange **order = cdp_fold_sort(changes, n);
	int *refused = palloc(sizeof(int) * Max(n, 1));
	Jsonb *nothing = cdp_jsonb_empty();
	int nrefused = 0;
	int i = 0;

	for (int p = 0; p < npeople; p++)
	{
		CdpPerson person = {.profile_id = ids[p], .traits = nothing, .meta = nothing};

		i += cdp_fold_person(&person, &order[i], n - i, changes, refused, &nrefused);
		cdp_fold_compose(&person, &traits[p], &meta[p]);
		declared[p] = cdp_fold_columns(&person);
		pending = list_concat(pending, person.pending);
	}
	Assert(i == n);
	return pending;
}

/* Values of a trait as changes: those of its tallies, or that only the events tell. */
static void
tally_changes(const CdpTraitChange *common, const JsonbValue *state, List **out)
{
	CdpTallies t = {0};
	bool known = cdp_mark_tallies(state, &t);

	for (int i = 0; i < (known ? t.n : 1); i++)
	{
		CdpTraitChange *change = palloc(sizeof(CdpTraitChange));

		*change = *common;
		change->unknown = !known;
		if (known)
		{
			change->value.type = jbvString;
			change->value.val.string.val = (char *) t.all[i].text;
			change->value.val.string.len = (int) strlen(t.all[i].text);
			change->ts = t.all[i].ts;
			memcpy(change->message_key, t.all[i].key, 16);
			change->source = t.all[i].source;
			change->times = t.all[i].times;
		}
		*out = lappend(*out, change);
	}
}

/* Every value of a profile's row as changes, to be folded elsewhere. */
static void
row_changes(uint64 row, int64 target, List **out)
{
	bool isnull;
	bool no_declared;
	Jsonb *traits = DatumGetJsonbPCopy(cdp_store_value(row, 2, &isnull));
	Jsonb *meta = DatumGetJsonbPCopy(cdp_store_value(row, 3, &isnull));
	Datum declared = cdp_store_value(row, 4, &no_declared);
	JsonbIterator *it = JsonbIteratorInit(&meta->root);
	JsonbValue name;
	JsonbValue mark;

	(void) JsonbIteratorNext(&it, &name, true);
	while (JsonbIteratorNext(&it, &name, true) == WJB_KEY)
	{
		CdpTraitChange *change = palloc0(sizeof(CdpTraitChange));
		char *source;
		const CdpTrait *trait;

		(void) JsonbIteratorNext(&it, &mark, true);
		change->profile_id = target;
		change->name = pnstrdup(name.val.string.val, name.val.string.len);
		change->value.type = jbvNull;
		trait = cdp_trait_find(name.val.string.val, name.val.string.len);
		if (cdp_survive_tallies(trait))
		{
			tally_changes(change, &mark, out);
			continue;
		}
		if (trait && mark.type == jbvBinary)
			change->unknown = true;
		else if (mark.type != jbvString ||
				 !cdp_mark_parse(mark.val.string.val, mark.val.string.len,
								 &change->ts, change->message_key, &source))
			cdp_mark_damaged(change->name);
		else
			change->source = source;
		if (trait == NULL)
		{
			JsonbValue *value = getKeyJsonValueFromContainer(&traits->root,
															 change->name,
															 name.val.string.len,
															 NULL);

			if (value)
				change->value = *value;
		}
		else if (!no_declared)
		{
			char *text = cdp_fold_declared(declared, trait);

			if (text)
			{
				change->value.type = jbvString;
				change->value.val.string.val = text;
				change->value.val.string.len = (int) strlen(text);
			}
		}
		*out = lappend(*out, change);
	}
}

/*
 * Joins the people that the graph merged: the losers' traits are folded into
 * the winners', their states added, their rows removed.
 */
void
cdp_profile_join(CdpGraph *graph)
{
	int n = graph->nmerges;
	int64 *winner = palloc(sizeof(int64) * Max(n, 1));
	int64 *loser = palloc(sizeof(int64) * Max(n, 1));
	List *list = NIL;
	CdpTraitChange *changes;
	int nchanges = 0;
	int rows;
	int *refused;
	ListCell *lc;
	Datum args[2];

	if (n == 0)
		return;
	for (int i = 0; i < n; i++)
	{
		winner[i] = graph->merges[i].winner;
		loser[i] = graph->merges[i].loser;
	}
	prepare_dynamic();
	args[0] = cdp_array_int64(loser, n);
	rows = cdp_store_run(&dynamic.read, args, NULL, false, n);
	for (int r = 0; r < rows; r++)
	{
		int64 id = cdp_store_int64(r, 1);

		for (int i = 0; i < n; i++)
			if (loser[i] == id)
				row_changes(r, winner[i], &list);
	}
	changes = palloc(sizeof(CdpTraitChange) * Max(list_length(list), 1));
	refused = palloc(sizeof(int) * Max(list_length(list), 1));
	foreach(lc, list)
		changes[nchanges++] = *(CdpTraitChange *) lfirst(lc);
	if (cdp_profile_fold(changes, nchanges, refused) != 0)
		elog(ERROR, "cdp: a stored trait does not fit its own column");

	args[0] = cdp_array_int64(winner, n);
	args[1] = cdp_array_int64(loser, n);
	cdp_store_run(&join_plan, args, NULL, false, -1);
	cdp_store_run(&drop_plan, &args[1], NULL, false, n);
	cdp_tally_clear(loser, n, NULL);
}
