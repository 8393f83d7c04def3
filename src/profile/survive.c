/*
 * src/profile/survive.c
 *		Which value of a trait wins (see survive.h).
 */
#include "postgres.h"

#include "core/time.h"
#include "profile/survive.h"

/* Place of a source in the trait's list; those that are not in it are behind. */
int
cdp_survive_source_place(const CdpTrait *trait, const char *source)
{
	for (int i = 0; i < trait->nsources; i++)
		if (strcmp(trait->sources[i], source) == 0)
			return i;
	return trait->nsources;
}

/*
 * Order of two canonical texts as values.  Dates and times are written with
 * their parts from left to right, the zone perhaps left out, which is UTC.
 */
int
cdp_survive_compare_values(const CdpTrait *trait, const char *a, const char *b)
{
	size_t n = strlen(a);
	size_t m = strlen(b);
	int64_t x;
	int64_t y;
	double p;
	double q;

	switch (trait->type)
	{
		case CDP_TRAIT_INT:
		case CDP_TRAIT_BIGINT:
			if (!cdp_core_parse_int64(a, n, &x) || !cdp_core_parse_int64(b, m, &y))
				elog(ERROR, "cdp: a stored whole number cannot be read");
			return (x > y) - (x < y);
		case CDP_TRAIT_FLOAT8:
			if (!cdp_core_parse_float8(a, n, &p) || !cdp_core_parse_float8(b, m, &q))
				elog(ERROR, "cdp: a stored number cannot be read");
			return (p > q) - (p < q);
		case CDP_TRAIT_DATE:
		case CDP_TRAIT_TIMESTAMPTZ:
			n = strcspn(a, "-");
			m = strcspn(b, "-");
			if (n != m)
				return n < m ? -1 : 1;
			return strncmp(a, b, strcspn(a, "+"));
		default:
			return strcmp(a, b);
	}
}

static int
compare_places(const CdpTally *a, const CdpTally *b)
{
	if (a->ts != b->ts)
		return a->ts > b->ts ? 1 : -1;
	return memcmp(a->key, b->key, 16);
}

/* Does a win against b?  Not for a union; trait NULL: an undeclared one. */
bool
cdp_survive_beats(const CdpTrait *trait, const CdpTally *a, const CdpTally *b)
{
	int cmp = 0;

	switch (trait ? trait->survival : CDP_SURVIVE_LATEST)
	{
		case CDP_SURVIVE_OLDEST:
			return compare_places(a, b) < 0;
		case CDP_SURVIVE_SOURCE:
			cmp = cdp_survive_source_place(trait, b->source) -
				  cdp_survive_source_place(trait, a->source);
			break;
		case CDP_SURVIVE_MAX:
		case CDP_SURVIVE_MIN:
			/* a value that is not there: the rule was another one when it came */
			if (a->text == NULL || b->text == NULL)
				cmp = (a->text != NULL) - (b->text != NULL);
			else
				cmp = cdp_survive_compare_values(trait, a->text, b->text) *
					  (trait->survival == CDP_SURVIVE_MAX ? 1 : -1);
			break;
		case CDP_SURVIVE_FREQUENT:
			cmp = (a->times > b->times) - (a->times < b->times);
			break;
		case CDP_SURVIVE_LATEST:
		case CDP_SURVIVE_UNION:
			break;
	}
	return cmp != 0 ? cmp > 0 : compare_places(a, b) > 0;
}

/* Why a value (NULL: unset) takes no part, as a phrase; NULL if it does. */
const char *
cdp_survive_ignores(const CdpTrait *trait, const char *text)
{
	if (trait == NULL)
		return NULL;
	if (trait->ignore_empty && (text == NULL || text[0] == '\0'))
		return "it is empty, and empty values are ignored";
	if (text == NULL && trait->survival >= CDP_SURVIVE_FREQUENT)
		return "null is no value to count or to compare";
	return NULL;
}

void
cdp_survive_add(CdpTallies *t, const CdpTally *one)
{
	if (t->n == t->room)
	{
		t->room = Max(16, t->room * 2);
		t->all = t->all ? repalloc_huge(t->all, sizeof(CdpTally) * t->room) :
						  palloc(sizeof(CdpTally) * t->room);
	}
	t->all[t->n++] = *one;
}

static int
compare_texts(const void *a, const void *b)
{
	return strcmp(((const CdpTally *) a)->text, ((const CdpTally *) b)->text);
}

/* A message may give more values than are kept: of those the last by their bytes are. */
static int
compare_latest_first(const void *a, const void *b)
{
	int cmp = compare_places(b, a);

	return cmp != 0 ? cmp : compare_texts(b, a);
}

static const CdpTrait *sorting; /* qsort's third argument */

static int
compare_as_values(const void *a, const void *b)
{
	return cdp_survive_compare_values(sorting, ((const CdpTally *) a)->text,
									  ((const CdpTally *) b)->text);
}

/* Two tallies of one value as one. */
void
cdp_survive_join(CdpTally *to, const CdpTally *other)
{
	int64 times = to->times + other->times;

	if (compare_places(other, to) > 0)
		*to = *other;
	to->times = times;
}

/* Each value once; of a union, those that are kept, in their order. */
void
cdp_survive_settle(const CdpTrait *trait, CdpTallies *t)
{
	int n = 0;

	if (t->n == 0)
		return;
	qsort(t->all, t->n, sizeof(CdpTally), compare_texts);
	for (int i = 0; i < t->n; i++)
	{
		CdpTally *last = n > 0 ? &t->all[n - 1] : NULL;

		if (last == NULL || strcmp(last->text, t->all[i].text) != 0)
		{
			t->all[n++] = t->all[i];
			continue;
		}
		cdp_survive_join(last, &t->all[i]);
	}
	t->n = n;
	if (trait->survival != CDP_SURVIVE_UNION)
		return;
	if (t->n > CDP_MAX_TALLIES)
	{
		qsort(t->all, t->n, sizeof(CdpTally), compare_latest_first);
		t->n = CDP_MAX_TALLIES;
	}
	/* how often is not asked, and could not be told of what was left out and came back */
	for (int i = 0; i < t->n; i++)
		t->all[i].times = 1;
	sorting = trait;
	qsort(t->all, t->n, sizeof(CdpTally), compare_as_values);
}

/* The tally of a text, or NULL.  Settled tallies: by their texts, but those of a union. */
const CdpTally *
cdp_survive_find(const CdpTrait *trait, const CdpTallies *t, const char *text)
{
	CdpTally key = {.text = text};

	if (t->n == 0)
		return NULL;
	if (trait->survival != CDP_SURVIVE_UNION)
		return bsearch(&key, t->all, t->n, sizeof(CdpTally), compare_texts);
	for (int i = 0; i < t->n; i++)
		if (strcmp(t->all[i].text, text) == 0)
			return &t->all[i];
	return NULL;
}

/* The one that was given most often; NULL if there is none.  Settled tallies. */
const CdpTally *
cdp_survive_most(const CdpTrait *trait, const CdpTallies *t)
{
	const CdpTally *best = NULL;

	for (int i = 0; i < t->n; i++)
		if (best == NULL || cdp_survive_beats(trait, &t->all[i], best))
			best = &t->all[i];
	return best;
}
