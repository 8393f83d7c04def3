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
#include "common/hashfn.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "compat.h"
#include "profile/profile.h"
#include "profile/survive.h"
#include "profile/trait.h"
#include "store.h"

/* What a trait becomes, to be written. */
typedef struct Patch
{
	const char *name;
	int namelen;
	const CdpTrait *trait; /* NULL: undeclared */
	const CdpTraitChange *change; /* that won so far; NULL: there is no value */
	const char *text; /* canonical, declared traits; NULL unsets */
	CdpTallies tallies; /* instead, of a trait that has them */
	bool from_events; /* what is stored does not tell: to be folded from events */
} Patch;

/* One person under the fold. */
typedef struct Person
{
	int64 profile_id;
	Jsonb *traits;
	Jsonb *meta;
	Datum declared; /* array of texts by trait, or 0 */
	Patch *patches;
	int npatches;
	int *slots; /* open addressing: index of a patch by its name, or -1 */
	uint32 nslots; /* a power of two, at least twice the patches */
} Person;

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

static void
prepare_patches(Person *person, int room)
{
	person->nslots = 4;
	while (person->nslots < (uint32) room * 2)
		person->nslots *= 2;
	person->patches = palloc(sizeof(Patch) * room);
	person->slots = palloc(sizeof(int) * person->nslots);
	for (uint32 i = 0; i < person->nslots; i++)
		person->slots[i] = -1;
}

/* The patch of a trait, or NULL; *free_slot (if asked for) is where it would be. */
static Patch *
find_patch(const Person *person, const char *name, int len, uint32 *free_slot)
{
	uint32 i = 0;

	if (person->nslots == 0)
		return NULL;
	i = hash_bytes((const unsigned char *) name, len) & (person->nslots - 1);
	while (person->slots[i] >= 0)
	{
		Patch *patch = &person->patches[person->slots[i]];

		if (patch->namelen == len && memcmp(patch->name, name, len) == 0)
			return patch;
		i = (i + 1) & (person->nslots - 1);
	}
	if (free_slot)
		*free_slot = i;
	return NULL;
}

/* Room for a trait that has no patch yet. */
static Patch *
add_patch(Person *person, const char *name, int len, const CdpTrait *trait)
{
	uint32 slot = 0;
	Patch *patch = &person->patches[person->npatches];

	(void) find_patch(person, name, len, &slot);
	person->slots[slot] = person->npatches++;
	memset(patch, 0, sizeof(Patch));
	patch->name = name;
	patch->namelen = len;
	patch->trait = trait;
	return patch;
}

/* Text of a declared trait as the read statement gives it; NULL for null. */
static char *
declared_text(Datum array, const CdpTrait *trait)
{
	const CdpTraitConfig *config = cdp_trait_config();
	Datum *elems;
	bool *nulls;
	int n;
	int i = 0;

	if (array == (Datum) 0)
		return NULL;
	while (i < config->n && strcmp(config->traits[i].name, trait->name) != 0)
		i++;
	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false,
					  TYPALIGN_INT, &elems, &nulls, &n);
	return i >= n || nulls[i] ? NULL : TextDatumGetCString(elems[i]);
}

static CdpTally
tally_of(const CdpTraitChange *change, const char *text)
{
	CdpTally t = {.text = text, .ts = change->ts, .source = change->source, .change = change};

	t.times = Max(change->times, 1);
	memcpy(t.key, change->message_key, 16);
	return t;
}

/* Is the value the one that survives, as far as is known?  *slot is its patch, if there is one. */
static bool
survives(Person *person, const CdpTraitChange *change, int namelen, const CdpTrait *trait,
		 const char *text, Patch **slot)
{
	CdpTally challenger = tally_of(change, text);
	CdpTally holder = {0};
	JsonbValue place;
	JsonbValue *mark;
	char *source = NULL;

	*slot = find_patch(person, change->name, namelen, NULL);
	if (*slot)
	{
		if ((*slot)->from_events)
			return false;
		holder = tally_of((*slot)->change, (*slot)->text);
		return cdp_survive_beats(trait, &challenger, &holder);
	}
	mark = getKeyJsonValueFromContainer(&person->meta->root, change->name,
										namelen, &place);
	if (mark == NULL)
		return true;
	if (mark->type == jbvBinary && trait)
	{
		/* a tally of the rule that it had before */
		*slot = add_patch(person, change->name, namelen, trait);
		(*slot)->from_events = true;
		return false;
	}
	if (mark->type != jbvString ||
		!cdp_mark_parse(mark->val.string.val, mark->val.string.len, &holder.ts, holder.key,
						&source))
		cdp_mark_damaged(change->name);
	holder.source = source;
	if (trait && (trait->survival == CDP_SURVIVE_MAX || trait->survival == CDP_SURVIVE_MIN))
		holder.text = declared_text(person->declared, trait);
	return cdp_survive_beats(trait, &challenger, &holder);
}

/* The patch of a trait that has tallies, with those that are stored. */
static Patch *
tallies_patch(Person *person, const CdpTraitChange *change, int namelen, const CdpTrait *trait)
{
	Patch *slot = find_patch(person, change->name, namelen, NULL);
	JsonbValue place;
	JsonbValue *state;

	if (slot)
		return slot;
	slot = add_patch(person, change->name, namelen, trait);
	state = getKeyJsonValueFromContainer(&person->meta->root, change->name, namelen, &place);
	if (state)
		slot->from_events = !cdp_mark_tallies(state, &slot->tallies);
	return slot;
}

static void
push_string(JsonbParseState **state, JsonbIteratorToken token,
			const char *text, int len)
{
	JsonbValue v;

	v.type = jbvString;
	v.val.string.val = unconstify(char *, text);
	v.val.string.len = len;
	pushJsonbValue(state, token, &v);
}

/* Pushes the pairs of an object that no patch replaces. */
static void
push_rest(JsonbParseState **state, Jsonb *old, const Person *person)
{
	JsonbIterator *it = JsonbIteratorInit(&old->root);
	JsonbValue v;
	JsonbIteratorToken token;

	(void) JsonbIteratorNext(&it, &v, true);
	while ((token = JsonbIteratorNext(&it, &v, true)) == WJB_KEY)
	{
		bool keep = find_patch(person, v.val.string.val, v.val.string.len, NULL) == NULL;

		if (keep)
			pushJsonbValue(state, WJB_KEY, &v);
		(void) JsonbIteratorNext(&it, &v, true);
		if (keep)
			pushJsonbValue(state, WJB_VALUE, &v);
	}
}

static void
push_text(JsonbParseState **state, JsonbIteratorToken token, const char *text)
{
	JsonbValue null = {.type = jbvNull};

	if (text)
		push_string(state, token, text, (int) strlen(text));
	else
		pushJsonbValue(state, token, &null);
}

/* A trait with tallies: its state, and what its column becomes. */
static void
compose_tallies(Patch *patch, JsonbParseState **meta, JsonbParseState **declared)
{
	CdpTallies *t = &patch->tallies;
	const char *column = NULL;

	cdp_survive_settle(patch->trait, t);
	if (t->n > 0 && patch->trait->survival == CDP_SURVIVE_UNION)
	{
		List *texts = NIL;

		for (int i = 0; i < t->n; i++)
			texts = lappend(texts, (char *) t->all[i].text);
		column = cdp_text_list(texts);
	}
	else if (t->n > 0)
		column = cdp_survive_most(patch->trait, t)->text;
	push_string(declared, WJB_KEY, patch->name, patch->namelen);
	push_text(declared, WJB_VALUE, column);
	if (t->n == 0)
		return;
	push_string(meta, WJB_KEY, patch->name, patch->namelen);
	pushJsonbValue(meta, WJB_BEGIN_OBJECT, NULL);
	if (t->n > CDP_MAX_TALLIES)
	{
		JsonbValue yes = {.type = jbvBool, .val.boolean = true};

		push_text(meta, WJB_KEY, "many");
		pushJsonbValue(meta, WJB_VALUE, &yes);
	}
	else
	{
		push_text(meta, WJB_KEY, "values");
		pushJsonbValue(meta, WJB_BEGIN_OBJECT, NULL);
		for (int i = 0; i < t->n; i++)
		{
			push_text(meta, WJB_KEY, t->all[i].text);
			push_text(meta, WJB_VALUE,
					  psprintf(INT64_FORMAT " %s", t->all[i].times, cdp_mark_text(&t->all[i])));
		}
		pushJsonbValue(meta, WJB_END_OBJECT, NULL);
	}
	pushJsonbValue(meta, WJB_END_OBJECT, NULL);
}

/* The three documents of a person's write: traits, marks, declared. */
static void
compose(const Person *person, Datum *traits, Datum *meta, Datum *declared)
{
	JsonbParseState *t = NULL;
	JsonbParseState *m = NULL;
	JsonbParseState *d = NULL;

	pushJsonbValue(&t, WJB_BEGIN_OBJECT, NULL);
	pushJsonbValue(&m, WJB_BEGIN_OBJECT, NULL);
	pushJsonbValue(&d, WJB_BEGIN_OBJECT, NULL);
	push_rest(&t, person->traits, person);
	push_rest(&m, person->meta, person);
	for (int i = 0; i < person->npatches; i++)
	{
		Patch *patch = &person->patches[i];
		const CdpTraitChange *change = patch->change;

		if (cdp_survive_tallies(patch->trait))
		{
			compose_tallies(patch, &m, &d);
			continue;
		}
		if (change)
		{
			CdpTally tally = tally_of(change, NULL);

			push_string(&m, WJB_KEY, patch->name, patch->namelen);
			push_text(&m, WJB_VALUE, cdp_mark_text(&tally));
		}
		if (patch->trait)
		{
			push_string(&d, WJB_KEY, patch->name, patch->namelen);
			push_text(&d, WJB_VALUE, patch->text);
		}
		else if (change && change->value.type != jbvNull)
		{
			JsonbValue value = change->value;

			push_string(&t, WJB_KEY, patch->name, patch->namelen);
			pushJsonbValue(&t, WJB_VALUE, &value);
		}
	}
	*traits = JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&t, WJB_END_OBJECT, NULL)));
	*meta = JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&m, WJB_END_OBJECT, NULL)));
	*declared = JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&d, WJB_END_OBJECT, NULL)));
}

static int
compare_changes(const void *a, const void *b)
{
	int64 x = (*(const CdpTraitChange *const *) a)->profile_id;
	int64 y = (*(const CdpTraitChange *const *) b)->profile_id;

	return (x > y) - (x < y);
}

/* Sorts changes by person. */
static CdpTraitChange **
sort_changes(CdpTraitChange *changes, int n)
{
	CdpTraitChange **order = palloc(sizeof(CdpTraitChange *) * Max(n, 1));

	for (int i = 0; i < n; i++)
		order[i] = &changes[i];
	qsort(order, n, sizeof(CdpTraitChange *), compare_changes);
	return order;
}

/* Folds one change; false: it does not fit its trait. */
static bool
fold_change(Person *person, CdpTraitChange *change)
{
	int namelen = (int) strlen(change->name);
	const CdpTrait *trait = cdp_trait_find(change->name, namelen);
	const char *text = NULL;
	List *texts = NIL;
	ListCell *lc;
	Patch *slot;

	if (change->unknown)
	{
		slot = find_patch(person, change->name, namelen, NULL);
		if (slot == NULL)
			slot = add_patch(person, change->name, namelen, trait);
		slot->from_events = true;
		return true;
	}
	if (trait && !cdp_trait_texts(trait, &change->value, &texts))
		return false;
	if (cdp_survive_tallies(trait))
	{
		foreach(lc, texts)
		{
			CdpTally one = tally_of(change, lfirst(lc));

			if (change->counted || cdp_survive_ignores(trait, one.text))
				continue;
			cdp_survive_add(&tallies_patch(person, change, namelen, trait)->tallies, &one);
		}
		return true;
	}
	if (trait)
		text = linitial(texts);
	if (cdp_survive_ignores(trait, text) ||
		!survives(person, change, namelen, trait, text, &slot))
		return true;
	if (slot == NULL)
		slot = add_patch(person, change->name, namelen, trait);
	slot->change = change;
	slot->text = text;
	return true;
}

/* Folds a trait anew, from all that the person ever said of it. */
static void
fold_history(Person *person, Patch *patch)
{
	Person apart = {.profile_id = person->profile_id};
	CdpTraitChange *changes;
	int n = cdp_trait_history(patch->name, &person->profile_id, 1, &changes);

	apart.traits = apart.meta = cdp_jsonb_empty();
	prepare_patches(&apart, 1);
	for (int i = 0; i < n; i++)
		(void) fold_change(&apart, &changes[i]);
	patch->from_events = false;
	patch->change = NULL;
	patch->text = NULL;
	memset(&patch->tallies, 0, sizeof(CdpTallies));
	if (apart.npatches > 0)
		*patch = apart.patches[0];
}

/* Folds the first changes of the order, those of this person; returns how many they are. */
static int
fold_person(Person *person, CdpTraitChange **order, int n, const CdpTraitChange *first,
			int *refused, int *nrefused)
{
	int mine = 0;

	while (mine < n && order[mine]->profile_id == person->profile_id)
		mine++;
	prepare_patches(person, mine);
	for (int i = 0; i < mine; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!fold_change(person, order[i]))
			refused[(*nrefused)++] = (int) (order[i] - first);
	}
	for (int p = 0; p < person->npatches; p++)
		if (person->patches[p].from_events)
			fold_history(person, &person->patches[p]);
	return mine;
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
	Person *people;
	int npeople = 0;
	int nrefused = 0;
	int written = 0;
	Datum args[4];
	Datum *traits;
	Datum *meta;
	Datum *declared;

	if (n == 0)
		return 0;
	prepare_dynamic();
	order = sort_changes(changes, n);
	for (int i = 0; i < n; i++)
		if (npeople == 0 || ids[npeople - 1] != order[i]->profile_id)
			ids[npeople++] = order[i]->profile_id;

	people = palloc0(sizeof(Person) * npeople);
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
		i += fold_person(&people[p], &order[i], n - i, changes, refused, &nrefused);

	traits = palloc(sizeof(Datum) * npeople);
	meta = palloc(sizeof(Datum) * npeople);
	declared = palloc(sizeof(Datum) * npeople);
	for (int p = 0; p < npeople; p++)
	{
		if (people[p].npatches == 0)
			continue;
		ids[written] = people[p].profile_id;
		compose(&people[p], &traits[written], &meta[written], &declared[written]);
		written++;
	}
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
 * would write them to people of whom nothing is known.
 */
void
cdp_profile_fold_apart(CdpTraitChange *changes, int n, const int64 *ids, int npeople,
					   Datum *traits, Datum *meta, Datum *declared)
{
	CdpTraitChange **order = sort_changes(changes, n);
	int *refused = palloc(sizeof(int) * Max(n, 1));
	Jsonb *nothing = cdp_jsonb_empty();
	int nrefused = 0;
	int i = 0;

	for (int p = 0; p < npeople; p++)
	{
		Person person = {.profile_id = ids[p], .traits = nothing, .meta = nothing};

		i += fold_person(&person, &order[i], n - i, changes, refused, &nrefused);
		compose(&person, &traits[p], &meta[p], &declared[p]);
	}
	Assert(i == n);
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
			char *text = declared_text(declared, trait);

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
}
