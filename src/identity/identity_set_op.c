/*
 * src/identity/identity_set_op.c
 *		Operators of cdp.identity_set: union, difference, tests, order, hash.
 *
 * An operand is a set or one identifier, so each operator is one worker
 * whatever its argument types.  Two sets of like size are walked side by
 * side, O(n + m); a small one is looked up in a large one, O(n log m).
 *
 * Why the tests, the order and the hash are LEAKPROOF: they compare bytes of
 * sorted sets in memory and cannot raise on the content.  A value whose
 * offsets are damaged raises when its header is read, before anything is
 * compared, with a message that tells nothing about it.  Union and difference
 * are not leakproof: union raises at the size limit, so it would tell that
 * two sets together are large.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "common/hashfn.h"

#include "compat.h"
#include "identity/identity.h"

/* a lookup costs about this many steps of a walk */
#define SEARCH_COST 16

typedef struct Operand
{
	const CdpIdentitySet *set; /* NULL when it is one identifier */
	CdpIdentifierText one;
	int n;
} Operand;

PG_FUNCTION_INFO_V1(cdp_identifier_union);
PG_FUNCTION_INFO_V1(cdp_identifier_add_set);
PG_FUNCTION_INFO_V1(cdp_identity_set_add);
PG_FUNCTION_INFO_V1(cdp_identity_set_union);
PG_FUNCTION_INFO_V1(cdp_identity_set_minus);
PG_FUNCTION_INFO_V1(cdp_identity_set_remove);
PG_FUNCTION_INFO_V1(cdp_identity_set_overlaps);
PG_FUNCTION_INFO_V1(cdp_identity_set_contains);
PG_FUNCTION_INFO_V1(cdp_identity_set_contained);
PG_FUNCTION_INFO_V1(cdp_identity_set_has);
PG_FUNCTION_INFO_V1(cdp_identifier_in_set);
PG_FUNCTION_INFO_V1(cdp_identity_set_eq);
PG_FUNCTION_INFO_V1(cdp_identity_set_ne);
PG_FUNCTION_INFO_V1(cdp_identity_set_lt);
PG_FUNCTION_INFO_V1(cdp_identity_set_le);
PG_FUNCTION_INFO_V1(cdp_identity_set_gt);
PG_FUNCTION_INFO_V1(cdp_identity_set_ge);
PG_FUNCTION_INFO_V1(cdp_identity_set_cmp);
PG_FUNCTION_INFO_V1(cdp_identity_set_hash);
PG_FUNCTION_INFO_V1(cdp_identity_set_hash_extended);

static Operand
set_operand(const CdpIdentitySet *set)
{
	Operand operand = {set, {NULL, 0}, cdp_identity_set_count(set)};

	return operand;
}

static Operand
one_operand(text *identifier)
{
	Operand operand = {NULL,
					   {VARDATA_ANY(identifier), VARSIZE_ANY_EXHDR(identifier)},
					   1};

	return operand;
}

static CdpIdentifierText
item(const Operand *operand, int i)
{
	return operand->set == NULL ? operand->one :
								  cdp_identity_set_item(operand->set, i);
}

/* is this identifier in the operand? */
static bool
lookup(const Operand *operand, CdpIdentifierText key)
{
	int low = 0;
	int high = operand->n;

	while (low < high)
	{
		int middle = low + (high - low) / 2;
		int cmp = cdp_identifier_text_cmp(item(operand, middle), key);

		if (cmp == 0)
			return true;
		if (cmp < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

static CdpIdentitySet *
union_of(const Operand *a, const Operand *b)
{
	CdpIdentifierText *items = palloc((a->n + b->n + 1) * sizeof(*items));
	CdpIdentitySet *result;
	int n = 0;
	int i = 0;
	int j = 0;

	while (i < a->n && j < b->n)
	{
		CdpIdentifierText x = item(a, i);
		CdpIdentifierText y = item(b, j);
		int cmp = cdp_identifier_text_cmp(x, y);

		items[n++] = (cmp <= 0) ? x : y;
		i += (cmp <= 0);
		j += (cmp >= 0);
	}
	while (i < a->n)
		items[n++] = item(a, i++);
	while (j < b->n)
		items[n++] = item(b, j++);
	result = cdp_identity_set_build(items, n);
	pfree(items);
	return result;
}

static CdpIdentitySet *
difference_of(const Operand *a, const Operand *b)
{
	CdpIdentifierText *items = palloc((a->n + 1) * sizeof(*items));
	CdpIdentitySet *result;
	int n = 0;
	int j = 0;

	for (int i = 0; i < a->n; i++)
	{
		CdpIdentifierText x = item(a, i);
		int cmp = -1;

		while (j < b->n && (cmp = cdp_identifier_text_cmp(item(b, j), x)) < 0)
			j++;
		if (j == b->n || cmp != 0)
			items[n++] = x;
	}
	result = cdp_identity_set_build(items, n);
	pfree(items);
	return result;
}

static bool
overlap(const Operand *a, const Operand *b)
{
	int i = 0;
	int j = 0;

	if (a->n > b->n)
	{
		const Operand *swap = a;

		a = b;
		b = swap;
	}
	if ((int64) a->n * SEARCH_COST < b->n)
	{
		for (i = 0; i < a->n; i++)
		{
			if (lookup(b, item(a, i)))
				return true;
		}
		return false;
	}
	while (i < a->n && j < b->n)
	{
		int cmp = cdp_identifier_text_cmp(item(a, i), item(b, j));

		if (cmp == 0)
			return true;
		i += (cmp < 0);
		j += (cmp > 0);
	}
	return false;
}

/* does a contain every identifier of b? */
static bool
contains(const Operand *a, const Operand *b)
{
	int i = 0;

	if (b->n > a->n)
		return false;
	if ((int64) b->n * SEARCH_COST < a->n)
	{
		for (int j = 0; j < b->n; j++)
		{
			if (!lookup(a, item(b, j)))
				return false;
		}
		return true;
	}
	for (int j = 0; j < b->n; j++)
	{
		CdpIdentifierText y = item(b, j);
		int cmp = 1;

		while (i < a->n && (cmp = cdp_identifier_text_cmp(item(a, i), y)) < 0)
			i++;
		if (i == a->n || cmp != 0)
			return false;
		i++;
	}
	return true;
}

/* -- union -- */

Datum
cdp_identifier_union(PG_FUNCTION_ARGS)
{
	Operand a = one_operand(PG_GETARG_TEXT_PP(0));
	Operand b = one_operand(PG_GETARG_TEXT_PP(1));

	PG_RETURN_CDP_IDENTITY_SET_P(union_of(&a, &b));
}

Datum
cdp_identifier_add_set(PG_FUNCTION_ARGS)
{
	Operand a = one_operand(PG_GETARG_TEXT_PP(0));
	Operand b = set_operand(PG_GETARG_CDP_IDENTITY_SET_P(1));

	PG_RETURN_CDP_IDENTITY_SET_P(union_of(&a, &b));
}

Datum
cdp_identity_set_add(PG_FUNCTION_ARGS)
{
	Operand a = set_operand(PG_GETARG_CDP_IDENTITY_SET_P(0));
	Operand b = one_operand(PG_GETARG_TEXT_PP(1));

	PG_RETURN_CDP_IDENTITY_SET_P(union_of(&a, &b));
}

Datum
cdp_identity_set_union(PG_FUNCTION_ARGS)
{
	Operand a = set_operand(PG_GETARG_CDP_IDENTITY_SET_P(0));
	Operand b = set_operand(PG_GETARG_CDP_IDENTITY_SET_P(1));

	PG_RETURN_CDP_IDENTITY_SET_P(union_of(&a, &b));
}

/* -- difference -- */

Datum
cdp_identity_set_minus(PG_FUNCTION_ARGS)
{
	Operand a = set_operand(PG_GETARG_CDP_IDENTITY_SET_P(0));
	Operand b = set_operand(PG_GETARG_CDP_IDENTITY_SET_P(1));

	PG_RETURN_CDP_IDENTITY_SET_P(difference_of(&a, &b));
}

Datum
cdp_identity_set_remove(PG_FUNCTION_ARGS)
{
	Operand a = set_operand(PG_GETARG_CDP_IDENTITY_SET_P(0));
	Operand b = one_operand(PG_GETARG_TEXT_PP(1));

	PG_RETURN_CDP_IDENTITY_SET_P(difference_of(&a, &b));
}

/* -- tests: used by indexes, so detoasted copies are freed -- */

typedef bool (*SetTest)(const Operand *a, const Operand *b);

static bool
test_sets(FunctionCallInfo fcinfo, SetTest test, bool swap)
{
	CdpIdentitySet *a = PG_GETARG_CDP_IDENTITY_SET_P(0);
	CdpIdentitySet *b = PG_GETARG_CDP_IDENTITY_SET_P(1);
	Operand x = set_operand(a);
	Operand y = set_operand(b);
	bool result = swap ? test(&y, &x) : test(&x, &y);

	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return result;
}

static bool
test_member(FunctionCallInfo fcinfo, int set_arg, int identifier_arg)
{
	CdpIdentitySet *set = PG_GETARG_CDP_IDENTITY_SET_P(set_arg);
	text *identifier = PG_GETARG_TEXT_PP(identifier_arg);
	Operand x = set_operand(set);
	Operand y = one_operand(identifier);
	bool result = lookup(&x, y.one);

	PG_FREE_IF_COPY(set, set_arg);
	PG_FREE_IF_COPY(identifier, identifier_arg);
	return result;
}

Datum
cdp_identity_set_overlaps(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(test_sets(fcinfo, overlap, false));
}

Datum
cdp_identity_set_contains(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(test_sets(fcinfo, contains, false));
}

Datum
cdp_identity_set_contained(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(test_sets(fcinfo, contains, true));
}

Datum
cdp_identity_set_has(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(test_member(fcinfo, 0, 1));
}

Datum
cdp_identifier_in_set(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(test_member(fcinfo, 1, 0));
}

/* -- order: identifier by identifier, a prefix comes first -- */

static int
compare_args(FunctionCallInfo fcinfo)
{
	CdpIdentitySet *a = PG_GETARG_CDP_IDENTITY_SET_P(0);
	CdpIdentitySet *b = PG_GETARG_CDP_IDENTITY_SET_P(1);
	int a_n = cdp_identity_set_count(a);
	int b_n = cdp_identity_set_count(b);
	int cmp = 0;

	for (int i = 0; cmp == 0 && i < a_n && i < b_n; i++)
		cmp = cdp_identifier_text_cmp(cdp_identity_set_item(a, i),
									  cdp_identity_set_item(b, i));
	if (cmp == 0)
		cmp = (a_n > b_n) - (a_n < b_n);
	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return cmp;
}

/*
 * Equal sets have equal bytes, so unequal sizes need no fetching.
 */
static bool
equal_args(FunctionCallInfo fcinfo)
{
	CdpIdentitySet *a;
	CdpIdentitySet *b;
	bool result;

	if (toast_raw_datum_size(PG_GETARG_DATUM(0)) !=
		toast_raw_datum_size(PG_GETARG_DATUM(1)))
		return false;
	a = PG_GETARG_CDP_IDENTITY_SET_P(0);
	b = PG_GETARG_CDP_IDENTITY_SET_P(1);
	result = memcmp(VARDATA(a), VARDATA(b), VARSIZE(a) - VARHDRSZ) == 0;
	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return result;
}

Datum
cdp_identity_set_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(equal_args(fcinfo));
}

Datum
cdp_identity_set_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!equal_args(fcinfo));
}

Datum
cdp_identity_set_lt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) < 0);
}

Datum
cdp_identity_set_le(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) <= 0);
}

Datum
cdp_identity_set_gt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) > 0);
}

Datum
cdp_identity_set_ge(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) >= 0);
}

Datum
cdp_identity_set_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(compare_args(fcinfo));
}

/*
 * The identifiers lie one after the other; the hash covers their bytes and
 * not the offsets, whose byte order differs between machines.
 */
static CdpIdentifierText
all_bytes(const CdpIdentitySet *set)
{
	int n = cdp_identity_set_count(set);
	CdpIdentifierText all = {"", 0};

	if (n > 0)
	{
		CdpIdentifierText last = cdp_identity_set_item(set, n - 1);

		all.data = cdp_identity_set_item(set, 0).data;
		all.len = (int) (last.data + last.len - all.data);
	}
	return all;
}

Datum
cdp_identity_set_hash(PG_FUNCTION_ARGS)
{
	CdpIdentitySet *set = PG_GETARG_CDP_IDENTITY_SET_P(0);
	CdpIdentifierText all = all_bytes(set);
	Datum hash = hash_any((const unsigned char *) all.data, all.len);

	PG_FREE_IF_COPY(set, 0);
	return hash;
}

Datum
cdp_identity_set_hash_extended(PG_FUNCTION_ARGS)
{
	CdpIdentitySet *set = PG_GETARG_CDP_IDENTITY_SET_P(0);
	CdpIdentifierText all = all_bytes(set);
	Datum hash = hash_any_extended((const unsigned char *) all.data,
								   all.len, (uint64) PG_GETARG_INT64(1));

	PG_FREE_IF_COPY(set, 0);
	return hash;
}
