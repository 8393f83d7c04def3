/*
 * src/profile/trait_fold.c
 *		One person's traits under a batch of changes: what survives, and what is
 *		to be written.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "compat.h"
#include "profile/trait_fold.h"
#include "store.h"

static void
prepare_patches(CdpPerson *person, int room)
{
	person->nslots = 4;
	while (person->nslots < (uint32) room * 2)
		person->nslots *= 2;
	person->patches = palloc(sizeof(CdpPatch) * room);
	person->slots = palloc(sizeof(int) * person->nslots);
	for (uint32 i = 0; i < person->nslots; i++)
		person->slots[i] = -1;
}

/* The patch of a trait, or NULL; *free_slot (if asked for) is where it would be. */
static CdpPatch *
find_patch(const CdpPerson *person, const char *name, int len, uint32 *free_slot)
{
	uint32 i = 0;

	if (person->nslots == 0)
		return NULL;
	i = hash_bytes((const unsigned char *) name, len) & (person->nslots - 1);
	while (person->slots[i] >= 0)
	{
		CdpPatch *patch = &person->patches[person->slots[i]];

		if (patch->namelen == len && memcmp(patch->name, name, len) == 0)
			return patch;
		i = (i + 1) & (person->nslots - 1);
	}
	if (free_slot)
		*free_slot = i;
	return NULL;
}

/* Room for a trait that has no patch yet. */
static CdpPatch *
add_patch(CdpPerson *person, const char *name, int len, const CdpTrait *trait)
{
	uint32 slot = 0;
	CdpPatch *patch = &person->patches[person->npatches];

	(void) find_patch(person, name, len, &slot);
	person->slots[slot] = person->npatches++;
	memset(patch, 0, sizeof(CdpPatch));
	patch->name = name;
	patch->namelen = len;
	patch->trait = trait;
	return patch;
}

/* Text of a declared trait as the read statement gives it; NULL for null. */
char *
cdp_fold_declared(Datum array, const CdpTrait *trait)
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
survives(CdpPerson *person, const CdpTraitChange *change, int namelen, const CdpTrait *trait,
		 const char *text, CdpPatch **slot)
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
		holder.text = person->stored ? person->stored(person, trait) :
									   cdp_fold_declared(person->declared, trait);
	return cdp_survive_beats(trait, &challenger, &holder);
}

/* The patch of a trait that has tallies, with those that are stored. */
static CdpPatch *
tallies_patch(CdpPerson *person, const CdpTraitChange *change, int namelen, const CdpTrait *trait)
{
	CdpPatch *slot = find_patch(person, change->name, namelen, NULL);
	JsonbValue place;
	JsonbValue *state;

	if (slot)
		return slot;
	slot = add_patch(person, change->name, namelen, trait);
	state = getKeyJsonValueFromContainer(&person->meta->root, change->name, namelen, &place);
	slot->most = cdp_mark_many(state);
	if (state && !slot->most)
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
push_rest(JsonbParseState **state, Jsonb *old, const CdpPerson *person)
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

/* Leaves rows of the table of tallies to be written. */
static void
leave_pending(CdpPerson *person, const CdpPatch *patch, bool replaces, int n)
{
	CdpPending *p = palloc(sizeof(CdpPending));

	p->profile_id = person->profile_id;
	p->name = pnstrdup(patch->name, patch->namelen);
	p->replaces = replaces;
	p->all = patch->tallies.all;
	p->n = n;
	person->pending = lappend(person->pending, p);
}

/* A trait with tallies: its state, and what its column becomes. */
static void
compose_tallies(CdpPerson *person, CdpPatch *patch, JsonbParseState **meta)
{
	CdpTallies *t = &patch->tallies;
	const char *column = NULL;
	bool many;

	if (!patch->counted)
		cdp_survive_settle(patch->trait, t);
	many = patch->counted || t->n > CDP_MAX_TALLIES;
	if (many || patch->anew)
		leave_pending(person, patch, !patch->counted, many ? t->n : 0);
	if (t->n > 0 && patch->trait->survival == CDP_SURVIVE_UNION)
	{
		List *texts = NIL;

		for (int i = 0; i < t->n; i++)
			texts = lappend(texts, (char *) t->all[i].text);
		column = cdp_text_list(texts);
	}
	else if (t->n > 0)
		column = cdp_survive_most(patch->trait, t)->text;
	patch->column = column;
	if (t->n == 0)
		return;
	push_string(meta, WJB_KEY, patch->name, patch->namelen);
	pushJsonbValue(meta, WJB_BEGIN_OBJECT, NULL);
	if (many)
	{
		push_text(meta, WJB_KEY, "many");
		push_text(meta, WJB_VALUE, column);
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

void
cdp_fold_compose(CdpPerson *person, Datum *traits, Datum *meta)
{
	JsonbParseState *t = NULL;
	JsonbParseState *m = NULL;

	person->pending = NIL;
	pushJsonbValue(&t, WJB_BEGIN_OBJECT, NULL);
	pushJsonbValue(&m, WJB_BEGIN_OBJECT, NULL);
	push_rest(&t, person->traits, person);
	push_rest(&m, person->meta, person);
	for (int i = 0; i < person->npatches; i++)
	{
		CdpPatch *patch = &person->patches[i];
		const CdpTraitChange *change = patch->change;

		if (cdp_survive_tallies(patch->trait))
		{
			compose_tallies(person, patch, &m);
			continue;
		}
		if (change)
		{
			CdpTally tally = tally_of(change, NULL);

			push_string(&m, WJB_KEY, patch->name, patch->namelen);
			push_text(&m, WJB_VALUE, cdp_mark_text(&tally));
		}
		if (patch->trait)
			patch->column = patch->text;
		else if (change && change->value.type != jbvNull)
		{
			JsonbValue value = change->value;

			push_string(&t, WJB_KEY, patch->name, patch->namelen);
			pushJsonbValue(&t, WJB_VALUE, &value);
		}
	}
	*traits = JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&t, WJB_END_OBJECT, NULL)));
	*meta = JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&m, WJB_END_OBJECT, NULL)));
}

Datum
cdp_fold_columns(const CdpPerson *person)
{
	JsonbParseState *d = NULL;

	pushJsonbValue(&d, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < person->npatches; i++)
	{
		const CdpPatch *patch = &person->patches[i];

		if (patch->trait == NULL)
			continue;
		push_string(&d, WJB_KEY, patch->name, patch->namelen);
		push_text(&d, WJB_VALUE, patch->column);
	}
	return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&d, WJB_END_OBJECT, NULL)));
}

static int
compare_changes(const void *a, const void *b)
{
	int64 x = (*(const CdpTraitChange *const *) a)->profile_id;
	int64 y = (*(const CdpTraitChange *const *) b)->profile_id;

	return (x > y) - (x < y);
}

/* Sorts changes by person. */
CdpTraitChange **
cdp_fold_sort(CdpTraitChange *changes, int n)
{
	CdpTraitChange **order = palloc(sizeof(CdpTraitChange *) * Max(n, 1));

	for (int i = 0; i < n; i++)
		order[i] = &changes[i];
	qsort(order, n, sizeof(CdpTraitChange *), compare_changes);
	return order;
}

/* Folds one change; false: it does not fit its trait. */
static bool
fold_change(CdpPerson *person, CdpTraitChange *change)
{
	int namelen = (int) strlen(change->name);
	const CdpTrait *trait = cdp_trait_find(change->name, namelen);
	const char *text = NULL;
	List *texts = NIL;
	ListCell *lc;
	CdpPatch *slot;

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
fold_history(CdpPerson *person, CdpPatch *patch)
{
	CdpPerson apart = {.profile_id = person->profile_id};
	CdpTraitChange *changes;
	int n = cdp_trait_history(patch->name, &person->profile_id, 1, &changes);

	apart.traits = apart.meta = cdp_jsonb_empty();
	prepare_patches(&apart, 1);
	for (int i = 0; i < n; i++)
		(void) fold_change(&apart, &changes[i]);
	patch->from_events = false;
	patch->most = NULL;
	patch->change = NULL;
	patch->text = NULL;
	memset(&patch->tallies, 0, sizeof(CdpTallies));
	if (apart.npatches > 0)
		*patch = apart.patches[0];
	patch->anew = true;
}

/* Adds values to the table's tallies; false: the table does not have them. */
static bool
count_on(const CdpPerson *person, CdpPatch *patch)
{
	CdpTallies *t = &patch->tallies;
	CdpTally most = {.text = patch->most, .ts = DT_NOBEGIN, .source = ""};
	int last;

	cdp_survive_settle(patch->trait, t);
	/* the one that was given most often is last, with what it is given now */
	for (last = 0; last < t->n && strcmp(t->all[last].text, patch->most) != 0; last++)
		;
	if (last == t->n)
		cdp_survive_add(t, &most);
	else if (last < t->n - 1)
	{
		most = t->all[last];
		t->all[last] = t->all[t->n - 1];
		t->all[t->n - 1] = most;
	}
	patch->counted = cdp_tally_add_stored(person->profile_id, patch->name, t);
	return patch->counted;
}

/* Folds the first changes of the order, those of this person; returns how many they are. */
int
cdp_fold_person(CdpPerson *person, CdpTraitChange **order, int n, const CdpTraitChange *first,
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
	{
		CdpPatch *patch = &person->patches[p];

		if (patch->from_events || (patch->most && !count_on(person, patch)))
			fold_history(person, patch);
	}
	return mine;
}
