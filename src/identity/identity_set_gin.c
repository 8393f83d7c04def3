/*
 * src/identity/identity_set_gin.c
 *		GIN support: find the sets that hold, share or equal identifiers.
 *
 * The keys of a set are its identifiers.  An empty set has none; GIN keeps
 * it under a placeholder, which is reached by the search modes below.
 *
 *		operator	query	matches when			empty query		recheck
 *		&&			set		any key is present		nothing			no
 *		@>			set		all keys are present	every set		no
 *		<@			set		no other key is there	empty sets		yes
 *		=			set		the same keys			empty sets		yes
 *		@>			one		the key is present		-				no
 *
 * The index does not tell what other keys a set has, hence the two rechecks.
 */
#include "postgres.h"

#include "access/gin.h"
#include "access/stratnum.h"
#include "utils/builtins.h"

#include "compat.h"
#include "identity/identity.h"

/* strategy numbers of operator class identity_set_gin_ops: on disk, frozen */
#define STRATEGY_OVERLAPS 1
#define STRATEGY_CONTAINS 2
#define STRATEGY_CONTAINED 3
#define STRATEGY_EQUAL 4
#define STRATEGY_HAS 5

PG_FUNCTION_INFO_V1(cdp_identity_set_gin_extract_value);
PG_FUNCTION_INFO_V1(cdp_identity_set_gin_extract_query);
PG_FUNCTION_INFO_V1(cdp_identity_set_gin_consistent);
PG_FUNCTION_INFO_V1(cdp_identity_set_gin_triconsistent);

static Datum *
keys_of(const CdpIdentitySet *set, int32 *nkeys)
{
	int n = cdp_identity_set_count(set);
	Datum *keys;

	*nkeys = n;
	if (n == 0)
		return NULL;
	keys = palloc(n * sizeof(Datum));
	for (int i = 0; i < n; i++)
	{
		CdpIdentifierText key = cdp_identity_set_item(set, i);

		keys[i] = PointerGetDatum(cstring_to_text_with_len(key.data, key.len));
	}
	return keys;
}

static void
unknown_strategy(StrategyNumber strategy)
{
	elog(ERROR, "unknown strategy number %d of an identity set index",
		 strategy);
}

Datum
cdp_identity_set_gin_extract_value(PG_FUNCTION_ARGS)
{
	CdpIdentitySet *set = PG_GETARG_CDP_IDENTITY_SET_P(0);
	int32 *nkeys = (int32 *) PG_GETARG_POINTER(1);
	Datum *keys = keys_of(set, nkeys);

	PG_FREE_IF_COPY(set, 0);
	PG_RETURN_POINTER(keys);
}

Datum
cdp_identity_set_gin_extract_query(PG_FUNCTION_ARGS)
{
	int32 *nkeys = (int32 *) PG_GETARG_POINTER(1);
	StrategyNumber strategy = PG_GETARG_UINT16(2);
	int32 *search_mode = (int32 *) PG_GETARG_POINTER(6);
	Datum *keys;

	if (strategy == STRATEGY_HAS)
	{
		keys = palloc(sizeof(Datum));
		keys[0] = PointerGetDatum(PG_GETARG_TEXT_P_COPY(0));
		*nkeys = 1;
		PG_RETURN_POINTER(keys);
	}

	keys = keys_of(PG_GETARG_CDP_IDENTITY_SET_P(0), nkeys);
	switch (strategy)
	{
		case STRATEGY_OVERLAPS:
			/* without keys the default mode finds nothing, which is right */
			*search_mode = GIN_SEARCH_MODE_DEFAULT;
			break;
		case STRATEGY_CONTAINS:
			*search_mode = (*nkeys == 0) ? GIN_SEARCH_MODE_ALL :
										   GIN_SEARCH_MODE_DEFAULT;
			break;
		case STRATEGY_CONTAINED:
			*search_mode = GIN_SEARCH_MODE_INCLUDE_EMPTY;
			break;
		case STRATEGY_EQUAL:
			*search_mode = (*nkeys == 0) ? GIN_SEARCH_MODE_INCLUDE_EMPTY :
										   GIN_SEARCH_MODE_DEFAULT;
			break;
		default:
			unknown_strategy(strategy);
	}
	PG_RETURN_POINTER(keys);
}

/*
 * The answer from what is known of the keys.  Two-valued consistency is the
 * case without GIN_MAYBE.
 */
static GinTernaryValue
judge(StrategyNumber strategy, const GinTernaryValue *check, int32 nkeys,
	  bool *recheck)
{
	bool any_true = false;
	bool any_maybe = false;
	bool any_false = false;

	for (int32 i = 0; i < nkeys; i++)
	{
		any_true |= check[i] == GIN_TRUE;
		any_maybe |= check[i] == GIN_MAYBE;
		any_false |= check[i] == GIN_FALSE;
	}

	*recheck = false;
	switch (strategy)
	{
		case STRATEGY_OVERLAPS:
			return any_true ? GIN_TRUE : any_maybe ? GIN_MAYBE :
													 GIN_FALSE;
		case STRATEGY_CONTAINS:
		case STRATEGY_HAS:
			return any_false ? GIN_FALSE : any_maybe ? GIN_MAYBE :
													   GIN_TRUE;
		case STRATEGY_CONTAINED:
			*recheck = true;
			return GIN_MAYBE;
		case STRATEGY_EQUAL:
			*recheck = true;
			return any_false ? GIN_FALSE : GIN_MAYBE;
		default:
			unknown_strategy(strategy);
	}
	return GIN_FALSE; /* not reached */
}

Datum
cdp_identity_set_gin_consistent(PG_FUNCTION_ARGS)
{
	const bool *check = (const bool *) PG_GETARG_POINTER(0);
	StrategyNumber strategy = PG_GETARG_UINT16(1);
	int32 nkeys = PG_GETARG_INT32(3);
	bool *recheck = (bool *) PG_GETARG_POINTER(5);

	/* GIN_FALSE and GIN_TRUE are 0 and 1 in a char, as bool is */
	PG_RETURN_BOOL(judge(strategy, (const GinTernaryValue *) check, nkeys,
						 recheck) != GIN_FALSE);
}

Datum
cdp_identity_set_gin_triconsistent(PG_FUNCTION_ARGS)
{
	const GinTernaryValue *check = (const GinTernaryValue *) PG_GETARG_POINTER(0);
	StrategyNumber strategy = PG_GETARG_UINT16(1);
	int32 nkeys = PG_GETARG_INT32(3);
	bool recheck;

	PG_RETURN_GIN_TERNARY_VALUE(judge(strategy, check, nkeys, &recheck));
}
