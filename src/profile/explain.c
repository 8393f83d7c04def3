/*
 * src/profile/explain.c
 *		cdp.explain_trait(): where a trait's value came from, and what it won
 *		against.
 *
 * From the events: of every value that the person's messages gave.  Who may
 * see her may see her events; others get nothing, as for nobody.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "compat.h"
#include "consent/consent.h"
#include "identity/graph.h"
#include "profile/survive.h"
#include "store.h"

PG_FUNCTION_INFO_V1(cdp_explain_trait);

static CdpPlan ord_plan = {
	"SELECT s.ord FROM cdp_data.profile_state s WHERE s.profile_id = $1",
	1,
	{INT8OID},
	NULL};

/* One message's value. */
typedef struct Given
{
	const CdpTraitChange *change;
	List *texts; /* canonical; of several, a union's */
	bool won;
	const char *why;
} Given;

static int
compare_given(const void *a, const void *b)
{
	const Given *x = a;
	const Given *y = b;

	if (x->won != y->won)
		return x->won ? -1 : 1;
	if (x->change->ts != y->change->ts)
		return x->change->ts > y->change->ts ? -1 : 1;
	return -memcmp(x->change->message_key, y->change->message_key, 16);
}

/* The value as it came: a scalar's text, or JSON. */
static char *
shown(const CdpTraitChange *change)
{
	JsonbValue value = change->value;

	switch (value.type)
	{
		case jbvNull:
			return NULL;
		case jbvString:
			return pnstrdup(value.val.string.val, value.val.string.len);
		case jbvBinary:
			return JsonbToCString(NULL, value.val.binary.data, value.val.binary.len);
		default:
			return JsonbToCString(NULL, &JsonbValueToJsonb(&value)->root, 64);
	}
}

static CdpTally
tally(const Given *g, const char *text)
{
	CdpTally t = {.text = text, .times = Max(g->change->times, 1), .ts = g->change->ts};

	t.source = g->change->source;
	t.change = g->change;
	memcpy(t.key, g->change->message_key, 16);
	return t;
}

static bool
is_later(const CdpTally *a, const CdpTally *b)
{
	return cdp_survive_beats(NULL, a, b);
}

static const char *
why_it_won(const CdpTrait *trait, const CdpTally *best)
{
	const char *word = "it is the latest";

	switch (trait ? trait->survival : CDP_SURVIVE_LATEST)
	{
		case CDP_SURVIVE_OLDEST:
			word = "it is the earliest";
			break;
		case CDP_SURVIVE_SOURCE:
			word = cdp_survive_source_place(trait, best->source) < trait->nsources ?
					   psprintf("source %s is the most trusted that gave one, and this its latest",
								best->source) :
					   "no listed source gave one, and it is the latest";
			break;
		case CDP_SURVIVE_MAX:
			word = "it is the highest";
			break;
		case CDP_SURVIVE_MIN:
			word = "it is the lowest";
			break;
		default:
			break;
	}
	return best->text == NULL && trait ? psprintf("%s, and unsets the trait", word) : word;
}

static const char *
why_it_lost(const CdpTrait *trait, const CdpTally *one, const CdpTally *best)
{
	int cmp;

	switch (trait ? trait->survival : CDP_SURVIVE_LATEST)
	{
		case CDP_SURVIVE_OLDEST:
			return "an earlier value is known";
		case CDP_SURVIVE_SOURCE:
			cmp = cdp_survive_source_place(trait, one->source) -
				  cdp_survive_source_place(trait, best->source);
			return cmp > 0 ? psprintf("source %s is trusted more", best->source) :
							 "a later value of equal trust is known";
		case CDP_SURVIVE_MAX:
		case CDP_SURVIVE_MIN:
			if (cdp_survive_compare_values(trait, one->text, best->text) == 0)
				return "the same value was given later";
			return trait->survival == CDP_SURVIVE_MAX ? "a higher value is known" :
														"a lower value is known";
		default:
			return "a later value is known";
	}
}

/* Judges by comparing two at a time. */
static void
judge_one(const CdpTrait *trait, Given *given, int n)
{
	Given *winner = NULL;
	CdpTally best = {0};

	for (int i = 0; i < n; i++)
	{
		CdpTally one;

		if (given[i].why)
			continue;
		one = tally(&given[i], given[i].texts ? linitial(given[i].texts) : NULL);
		if (winner == NULL || cdp_survive_beats(trait, &one, &best))
		{
			best = one;
			winner = &given[i];
		}
	}
	for (int i = 0; i < n; i++)
	{
		CdpTally one;

		if (given[i].why)
			continue;
		one = tally(&given[i], given[i].texts ? linitial(given[i].texts) : NULL);
		given[i].won = &given[i] == winner;
		given[i].why = given[i].won ? why_it_won(trait, &best) : why_it_lost(trait, &one, &best);
	}
}

static const char *
why_counted(const CdpTally *hers, const CdpTally *most, bool won)
{
	if (hers != most)
		return psprintf("given %d times; another value was given %d times%s", (int) hers->times,
						(int) most->times, hers->times == most->times ? ", and later" : "");
	if (won)
		return psprintf("given %d times, most often", (int) hers->times);
	return "the same value was given later, which counts for it";
}

/* Judges by all values together. */
static void
judge_tallies(const CdpTrait *trait, Given *given, int n)
{
	CdpTallies t = {0};
	const CdpTally *most;
	ListCell *lc;

	for (int i = 0; i < n; i++)
		foreach(lc, given[i].texts)
		{
			CdpTally one = tally(&given[i], lfirst(lc));

			if (given[i].why == NULL && !given[i].change->counted &&
				cdp_survive_ignores(trait, one.text) == NULL)
				cdp_survive_add(&t, &one);
		}
	cdp_survive_settle(trait, &t);
	most = trait->survival == CDP_SURVIVE_FREQUENT ? cdp_survive_most(trait, &t) : NULL;
	for (int i = 0; i < n; i++)
	{
		bool kept = false;

		if (given[i].why)
			continue;
		foreach(lc, given[i].texts)
		{
			const CdpTally *hers = lfirst(lc) ? cdp_survive_find(trait, &t, lfirst(lc)) : NULL;
			CdpTally one = tally(&given[i], lfirst(lc));

			if (most && hers)
			{
				given[i].won = hers == most && hers->change == given[i].change;
				given[i].why = why_counted(hers, most, given[i].won);
			}
			else if (hers && !is_later(hers, &one))
				given[i].won = true;
			kept |= hers != NULL;
		}
		if (given[i].why == NULL)
			given[i].why = given[i].won ? "it is one of the values" :
						   kept			? "the same value was given later" :
						   given[i].texts == NIL ?
								  "it is an empty list" :
								  psprintf("only the %d values given last are kept",
										   CDP_MAX_TALLIES);
	}
}

/* Values that take no part get their reason. */
static void
leave_out(const CdpTrait *trait, Given *g)
{
	JsonbValue value = g->change->value;
	ListCell *lc;
	bool any = false;

	if (trait == NULL)
		return;
	if (!cdp_trait_texts(trait, &value, &g->texts))
	{
		g->why = psprintf("it does not fit type %s", trait->type_name);
		return;
	}
	foreach(lc, g->texts)
	{
		const char *why = cdp_survive_ignores(trait, lfirst(lc));

		any |= why == NULL;
		if (why)
			g->why = why;
	}
	if (any)
		g->why = NULL;
}

/* cdp.explain_trait(profile_id, trait) */
Datum
cdp_explain_trait(PG_FUNCTION_ARGS)
{
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(1));
	ReturnSetInfo *result;
	CdpStore store;
	CdpTraitChange *changes;
	const CdpTrait *trait;
	Given *given;
	Datum args[1];
	int64 id;
	int n;

	InitMaterializedSRF(fcinfo, 0);
	result = (ReturnSetInfo *) fcinfo->resultinfo;
	cdp_store_enter(&store);
	id = cdp_graph_canonical(PG_GETARG_INT64(0), true);
	args[0] = Int64GetDatum(id);
	if (id == 0 || cdp_store_run(&ord_plan, args, NULL, true, -1) != 1 ||
		!cdp_consent_sees(store.caller, (int32) cdp_store_int64(0, 1)))
	{
		cdp_store_leave(&store);
		return (Datum) 0;
	}
	trait = cdp_trait_find(name, (int) strlen(name));
	n = cdp_trait_history(name, &id, 1, &changes);
	given = palloc0(sizeof(Given) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		given[i].change = &changes[i];
		leave_out(trait, &given[i]);
	}
	if (cdp_survive_tallies(trait))
		judge_tallies(trait, given, n);
	else
		judge_one(trait, given, n);
	qsort(given, n, sizeof(Given), compare_given);
	for (int i = 0; i < n; i++)
	{
		const CdpTraitChange *c = given[i].change;
		char *value = shown(c);
		Datum values[6] = {value ? CStringGetTextDatum(value) : (Datum) 0,
						   CStringGetTextDatum(c->source), TimestampTzGetDatum(c->ts),
						   c->message_id ? CStringGetTextDatum(c->message_id) : (Datum) 0,
						   BoolGetDatum(given[i].won),
						   CStringGetTextDatum(given[i].why)};
		bool nulls[6] = {value == NULL, false, false, c->message_id == NULL};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	cdp_store_leave(&store);
	return (Datum) 0;
}
