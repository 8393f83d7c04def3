/*
 * src/profile/profile_row.c
 *		The fold written without a statement: each person's row is read, folded
 *		and written in one step.
 *
 * Which columns that touches depends on the declared traits of the batch.  The
 * operation is the same from batch to batch while those are.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "compat.h"
#include "profile/trait_fold.h"
#include "row.h"
#include "store.h"

/* Declared traits of one batch; the rows of more go through statements. */
#define FOLD_TRAITS 13

/* Before them in the operation. */
#define COLUMN_TRAITS 0
#define COLUMN_META 1
#define COLUMN_FIRST 2

static CdpRowOp fold_row = {
	.table = "profile",
	.keys = {"profile_id"},
	.columns = {"traits", "trait_meta"},
};

/* What the operation's columns are, for one generation of the configuration. */
static struct
{
	uint64 generation;
	int n;
	char names[FOLD_TRAITS][NAMEDATALEN];
	Oid types[FOLD_TRAITS];
} columns;

typedef struct Fold
{
	CdpTraitChange **order;
	int n; /* changes from there to the end */
	int64 profile_id;
	const CdpTraitChange *first;
	int *refused;
	int *nrefused;
	int before; /* refused when it was her turn, -1: it was not */
	List *pending; /* tallies to be written */
} Fold;

static int
column_of(const CdpTrait *trait)
{
	for (int i = 0; i < columns.n; i++)
		if (strcmp(columns.names[i], trait->name) == 0)
			return i;
	return -1;
}

/*
 * The text of a stored value as cdp_trait_canonical() takes it.  Only max and
 * min compare with it, and see choose() for those of times.
 */
static char *
stored_text(const CdpPerson *person, const CdpTrait *trait)
{
	const CdpRow *row = person->stored_arg;
	int i = column_of(trait);
	Oid output;
	bool varlena;

	Assert(i >= 0);
	if (row->nulls[COLUMN_FIRST + i])
		return NULL;
	if (columns.types[i] == BOOLOID)
		return pstrdup(DatumGetBool(row->values[COLUMN_FIRST + i]) ? "true" : "false");
	getTypeOutputInfo(columns.types[i], &output, &varlena);
	return OidOutputFunctionCall(output, row->values[COLUMN_FIRST + i]);
}

/* The columns of these traits; false: the operation has them already. */
static bool
differs(const CdpTrait *const *traits, int n)
{
	if (columns.generation != cdp_store_generation() || columns.n != n)
		return true;
	for (int i = 0; i < n; i++)
		if (strcmp(columns.names[i], traits[i]->name) != 0)
			return true;
	return false;
}

/*
 * Makes the operation that of the declared traits that the changes name.
 * False: a statement must do it, because they are too many, or because a time
 * is compared as text.
 */
static bool
choose(CdpTraitChange **order, int n)
{
	const CdpTraitConfig *config = cdp_trait_config();
	const CdpTrait *traits[FOLD_TRAITS];
	bool *named = palloc0(sizeof(bool) * Max(config->n, 1));
	int ntraits = 0;

	for (int i = 0; i < n; i++)
	{
		const CdpTrait *trait = cdp_trait_find(order[i]->name, (int) strlen(order[i]->name));

		if (trait)
			named[trait - config->traits] = true;
	}
	for (int i = 0; i < config->n; i++)
	{
		const CdpTrait *trait = &config->traits[i];

		if (!named[i])
			continue;
		if (ntraits == FOLD_TRAITS ||
			((trait->survival == CDP_SURVIVE_MAX || trait->survival == CDP_SURVIVE_MIN) &&
			 (trait->type == CDP_TRAIT_DATE || trait->type == CDP_TRAIT_TIMESTAMPTZ)))
			return false;
		traits[ntraits++] = trait;
	}
	if (!differs(traits, ntraits))
		return true;
	cdp_row_forget(&fold_row);
	columns.generation = 0;
	columns.n = ntraits;
	for (int i = 0; i < ntraits; i++)
	{
		strlcpy(columns.names[i], traits[i]->name, NAMEDATALEN);
		columns.types[i] = get_atttype(cdp_store_relation("profile"),
									   get_attnum(cdp_store_relation("profile"), traits[i]->name));
		fold_row.columns[COLUMN_FIRST + i] = columns.names[i];
	}
	fold_row.columns[COLUMN_FIRST + ntraits] = NULL;
	columns.generation = config->generation;
	return true;
}

/* Folds a person's changes into her row. */
static bool
fold(CdpRow *row, void *arg)
{
	Fold *f = arg;
	CdpPerson person = {
		.profile_id = f->profile_id,
		.traits = DatumGetJsonbP(row->values[COLUMN_TRAITS]),
		.meta = DatumGetJsonbP(row->values[COLUMN_META]),
		.stored = stored_text,
		.stored_arg = row,
	};

	/* a change that is tried again refuses the same */
	if (f->before < 0)
		f->before = *f->nrefused;
	*f->nrefused = f->before;
	(void) cdp_fold_person(&person, f->order, f->n, f->first, f->refused, f->nrefused);
	if (person.npatches == 0)
		return false;
	cdp_fold_compose(&person, &row->values[COLUMN_TRAITS], &row->values[COLUMN_META]);
	f->pending = person.pending;
	for (int p = 0; p < person.npatches; p++)
	{
		const CdpPatch *patch = &person.patches[p];
		int i;
		Oid input;
		Oid param;

		if (patch->trait == NULL)
			continue;
		i = column_of(patch->trait);
		row->nulls[COLUMN_FIRST + i] = patch->column == NULL;
		if (patch->column == NULL)
			continue;
		getTypeInputInfo(columns.types[i], &input, &param);
		row->values[COLUMN_FIRST + i] =
			OidInputFunctionCall(input, unconstify(char *, patch->column), param, -1);
	}
	return true;
}

/*
 * Folds changes, in the order of their people, into the rows of those people
 * (ascending).  False: nothing was done.
 */
bool
cdp_profile_fold_rows(CdpTraitChange **order, int n, const int64 *ids, int npeople,
					  const CdpTraitChange *first, int *refused, int *nrefused)
{
	Fold *folds;
	Datum *keys;
	void **args;
	int p = 0;

	if (!choose(order, n))
		return false;
	folds = palloc(sizeof(Fold) * npeople);
	keys = palloc(sizeof(Datum) * npeople);
	args = palloc(sizeof(void *) * npeople);
	for (int i = 0; p < npeople; p++)
	{
		folds[p] = (Fold){.order = &order[i],
						  .n = n - i,
						  .profile_id = ids[p],
						  .first = first,
						  .refused = refused,
						  .nrefused = nrefused,
						  .before = -1};
		keys[p] = Int64GetDatum(ids[p]);
		args[p] = &folds[p];
		while (i < n && order[i]->profile_id == ids[p])
			i++;
	}
	/*
	 * Nothing between two people may fold others: a statement would fire a
	 * trigger that does, and that would choose other columns.
	 */
	if (!cdp_row_change_many(&fold_row, npeople, keys, NULL, fold, args))
		return false;
	for (p = 0; p < npeople; p++)
		cdp_tally_write(folds[p].pending);
	return true;
}
