/*
 * src/consent/signal_json.c
 *		Decoded consent signals as jsonb.
 *
 * Hundreds of values come out of one signal, so the tree that
 * JsonbValueToJsonb() takes is built as it wants it in the end: pairs by
 * length of the key, then by its bytes, and all elements of an array at once.
 * Small numbers, which ids are, are made once per session.
 *
 * The tree is allocated in the current memory context and points into what it
 * is made of.
 */
#include "postgres.h"

#include "port/pg_bitutils.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#include "consent/signal_json.h"

/* Numbers below this are kept: more than there are vendors on a list so far. */
#define KEPT_NUMBERS 2048

typedef enum Kind
{
	K_BYTE,
	K_SHORT,
	K_TIME, /* uint64 */
	K_BOOL,
	K_LETTERS,
	K_FEATURES,
	K_PURPOSES,
	K_IDS, /* of a set of vendors */
	K_MAX,
	K_IS_RANGE,
	K_RESTRICTIONS,
	K_DISCLOSED,
	K_ALLOWED,
	K_PUBLISHER
} Kind;

typedef struct Member
{
	const char *key;
	Kind kind;
	size_t offset; /* in CdpTcf */
} Member;

#define MEMBER(key, kind, field) \
	{ \
		key, kind, offsetof(CdpTcf, field) \
	}

/* by length of the key, then by its bytes, as jsonb has it */
static const Member europe[] = {
	MEMBER("cmp_id", K_SHORT, cmp_id),
	MEMBER("version", K_BYTE, version),
	MEMBER("created_ds", K_TIME, created),
	MEMBER("cmp_version", K_SHORT, cmp_version),
	MEMBER("purposes_li", K_PURPOSES, purposes_li),
	MEMBER("publisher_cc", K_LETTERS, publisher_cc),
	MEMBER("publisher_tc", K_PUBLISHER, has_publisher),
	MEMBER("vendor_li_ids", K_IDS, vendor_li),
	MEMBER("vendor_li_max", K_MAX, vendor_li),
	MEMBER("consent_screen", K_BYTE, consent_screen),
	MEMBER("allowed_vendors", K_ALLOWED, has_allowed),
	MEMBER("last_updated_ds", K_TIME, last_updated),
	MEMBER("consent_language", K_LETTERS, consent_language),
	MEMBER("purposes_consent", K_PURPOSES, purposes_consent),
	MEMBER("disclosed_vendors", K_DISCLOSED, has_disclosed),
	MEMBER("tcf_policy_version", K_BYTE, tcf_policy_version),
	MEMBER("vendor_consent_ids", K_IDS, vendor_consent),
	MEMBER("vendor_consent_max", K_MAX, vendor_consent),
	MEMBER("vendor_li_is_range", K_IS_RANGE, vendor_li),
	MEMBER("is_service_specific", K_BOOL, is_service_specific),
	MEMBER("vendor_list_version", K_SHORT, vendor_list_version),
	MEMBER("purpose_one_treatment", K_BOOL, purpose_one_treatment),
	MEMBER("publisher_restrictions", K_RESTRICTIONS, restriction),
	MEMBER("use_non_standard_texts", K_BOOL, use_non_standard_texts),
	MEMBER("special_feature_opt_ins", K_FEATURES, special_features),
	MEMBER("vendor_consent_is_range", K_IS_RANGE, vendor_consent)};

static const Member canada[] = {
	MEMBER("cmp_id", K_SHORT, cmp_id),
	MEMBER("version", K_BYTE, version),
	MEMBER("created_ds", K_TIME, created),
	MEMBER("cmp_version", K_SHORT, cmp_version),
	MEMBER("consent_screen", K_BYTE, consent_screen),
	MEMBER("last_updated_ds", K_TIME, last_updated),
	MEMBER("consent_language", K_LETTERS, consent_language),
	MEMBER("disclosed_vendors", K_DISCLOSED, has_disclosed),
	MEMBER("publisher_purposes", K_PUBLISHER, has_publisher),
	MEMBER("tcf_policy_version", K_BYTE, tcf_policy_version),
	MEMBER("vendor_list_version", K_SHORT, vendor_list_version),
	MEMBER("publisher_restrictions", K_RESTRICTIONS, restriction),
	MEMBER("use_non_standard_stacks", K_BOOL, use_non_standard_texts),
	MEMBER("purposes_express_consent", K_PURPOSES, purposes_consent),
	MEMBER("purposes_implied_consent", K_PURPOSES, purposes_li),
	MEMBER("vendor_express_consent_ids", K_IDS, vendor_consent),
	MEMBER("vendor_implied_consent_ids", K_IDS, vendor_li),
	MEMBER("special_feature_express_consent", K_FEATURES, special_features)};

/* Keys of the publisher's segment: consent, legitimate interest, and the custom ones. */
typedef struct PublisherKeys
{
	const char *key[5]; /* in the order of jsonb; the values are in fill_publisher() */
} PublisherKeys;

static const PublisherKeys europe_publisher = {
	{"custom_li", "num_custom", "purposes_li", "custom_consent", "purposes_consent"}};
static const PublisherKeys canada_publisher = {
	{"num_custom", "custom_express_consent", "custom_implied_consent",
	 "purposes_express_consent", "purposes_implied_consent"}};

static Numeric kept[KEPT_NUMBERS];

static void
fill_null(JsonbValue *v)
{
	v->type = jbvNull;
}

static void
fill_bool(JsonbValue *v, bool value)
{
	v->type = jbvBool;
	v->val.boolean = value;
}

static void
fill_text(JsonbValue *v, const char *s, int len)
{
	v->type = jbvString;
	v->val.string.val = unconstify(char *, s);
	v->val.string.len = len;
}

static void
fill_number(JsonbValue *v, uint64 value)
{
	v->type = jbvNumeric;
	if (value < KEPT_NUMBERS)
	{
		if (kept[value] == NULL)
		{
			MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

			kept[value] = int64_to_numeric((int64) value);
			MemoryContextSwitchTo(old);
		}
		v->val.numeric = kept[value];
	}
	else
		v->val.numeric = int64_to_numeric((int64) value);
}

/* An array of n elements, for the caller to fill. */
static JsonbValue *
fill_array(JsonbValue *v, int n)
{
	v->type = jbvArray;
	v->val.array.nElems = n;
	v->val.array.rawScalar = false;
	v->val.array.elems = n > 0 ? palloc(n * sizeof(JsonbValue)) : NULL;
	return v->val.array.elems;
}

/* An object of n pairs, for the caller to fill in order of jsonb. */
static JsonbPair *
fill_object(JsonbValue *v, int n)
{
	v->type = jbvObject;
	v->val.object.nPairs = n;
	v->val.object.pairs = n > 0 ? palloc(n * sizeof(JsonbPair)) : NULL;
	return v->val.object.pairs;
}

static int
compare_keys(const JsonbValue *a, const JsonbValue *b)
{
	if (a->val.string.len != b->val.string.len)
		return a->val.string.len < b->val.string.len ? -1 : 1;
	return memcmp(a->val.string.val, b->val.string.val, a->val.string.len);
}

static JsonbValue *
fill_key(JsonbPair *pair, const char *key)
{
	pair->order = 0;
	fill_text(&pair->key, key, strlen(key));
	return &pair->value;
}

/* A set as the ids in it; the most significant of "width" bits is id 1. */
static void
fill_mask(JsonbValue *v, uint64 mask, int width)
{
	int n = 0;
	JsonbValue *element = fill_array(v, pg_popcount64(mask));

	for (int id = 1; id <= width; id++)
	{
		if (mask >> (width - id) & 1)
			fill_number(&element[n++], id);
	}
}

static void
fill_vendors(JsonbValue *v, const CdpVendors *set)
{
	JsonbValue *pair = fill_array(v, set->n);
	JsonbValue *bound = set->n > 0 ? palloc((Size) set->n * 2 * sizeof(JsonbValue)) : NULL;

	for (uint32 i = 0; i < set->n; i++, bound += 2)
	{
		pair[i].type = jbvArray;
		pair[i].val.array.nElems = 2;
		pair[i].val.array.rawScalar = false;
		pair[i].val.array.elems = bound;
		fill_number(&bound[0], set->range[i] >> 16);
		fill_number(&bound[1], set->range[i] & 0xFFFF);
	}
}

static void
fill_segment(JsonbValue *v, bool there, const CdpVendors *set)
{
	JsonbPair *pair;

	if (!there)
	{
		fill_null(v);
		return;
	}
	pair = fill_object(v, 3);
	fill_vendors(fill_key(&pair[0], "ids"), set);
	fill_number(fill_key(&pair[1], "max"), set->max);
	fill_bool(fill_key(&pair[2], "is_range"), set->is_range);
}

static void
fill_restrictions(JsonbValue *v, const CdpTcf *tcf)
{
	JsonbValue *element = fill_array(v, tcf->n_restrictions);

	for (uint32 i = 0; i < tcf->n_restrictions; i++)
	{
		const CdpTcfRestriction *r = &tcf->restriction[i];
		JsonbPair *pair = fill_object(&element[i], 3);

		fill_number(fill_key(&pair[0], "type"), r->type);
		fill_number(fill_key(&pair[1], "purpose"), r->purpose);
		fill_vendors(fill_key(&pair[2], "vendors"), &r->vendors);
	}
}

static void
fill_publisher(JsonbValue *v, const CdpTcf *tcf, bool is_canada)
{
	const char *const *key = is_canada ? canada_publisher.key : europe_publisher.key;
	JsonbPair *pair;

	if (!tcf->has_publisher)
	{
		fill_null(v);
		return;
	}
	pair = fill_object(v, 5);
	for (int i = 0; i < 5; i++)
		fill_key(&pair[i], key[i]);
	fill_number(&pair[is_canada ? 0 : 1].value, tcf->num_custom);
	fill_mask(&pair[is_canada ? 1 : 3].value, tcf->custom_consent, tcf->num_custom);
	fill_mask(&pair[is_canada ? 2 : 0].value, tcf->custom_li, tcf->num_custom);
	fill_mask(&pair[is_canada ? 3 : 4].value, tcf->publisher_consent, CDP_TCF_PURPOSES);
	fill_mask(&pair[is_canada ? 4 : 2].value, tcf->publisher_li, CDP_TCF_PURPOSES);
}

static void
fill_tcf(JsonbValue *out, const CdpTcf *tcf, const Member *member, int n)
{
	JsonbPair *pair = fill_object(out, n);

	for (int i = 0; i < n; i++)
	{
		const void *field = (const char *) tcf + member[i].offset;
		JsonbValue *v = fill_key(&pair[i], member[i].key);

		Assert(i == 0 || compare_keys(&pair[i - 1].key, &pair[i].key) < 0);
		switch (member[i].kind)
		{
			case K_BYTE:
				fill_number(v, *(const unsigned char *) field);
				break;
			case K_SHORT:
				fill_number(v, *(const uint16_t *) field);
				break;
			case K_TIME:
				fill_number(v, *(const uint64_t *) field);
				break;
			case K_BOOL:
				fill_bool(v, *(const bool *) field);
				break;
			case K_LETTERS:
				fill_text(v, field, 2);
				break;
			case K_FEATURES:
				fill_mask(v, *(const uint32_t *) field, CDP_TCF_SPECIAL_FEATURES);
				break;
			case K_PURPOSES:
				fill_mask(v, *(const uint32_t *) field, CDP_TCF_PURPOSES);
				break;
			case K_IDS:
				fill_vendors(v, field);
				break;
			case K_MAX:
				fill_number(v, ((const CdpVendors *) field)->max);
				break;
			case K_IS_RANGE:
				fill_bool(v, ((const CdpVendors *) field)->is_range);
				break;
			case K_RESTRICTIONS:
				fill_restrictions(v, tcf);
				break;
			case K_DISCLOSED:
				if (member == canada && tcf->has_disclosed)
					fill_vendors(v, &tcf->disclosed);
				else
					fill_segment(v, tcf->has_disclosed, &tcf->disclosed);
				break;
			case K_ALLOWED:
				fill_segment(v, tcf->has_allowed, &tcf->allowed);
				break;
			case K_PUBLISHER:
				fill_publisher(v, tcf, member == canada);
				break;
		}
	}
}

void
cdp_signal_json_tcf(JsonbValue *out, const CdpTcf *tcf)
{
	fill_tcf(out, tcf, europe, lengthof(europe));
}

void
cdp_signal_json_canada(JsonbValue *out, const CdpTcf *tcf)
{
	fill_tcf(out, tcf, canada, lengthof(canada));
}

/* "applies" is false for 1---, by which a publisher says that the law does not apply. */
void
cdp_signal_json_usp(JsonbValue *out, const CdpUsp *usp)
{
	JsonbPair *pair = fill_object(out, 5);

	fill_text(fill_key(&pair[0], "notice"), &usp->notice, 1);
	fill_bool(fill_key(&pair[1], "applies"),
			  usp->notice != '-' || usp->opt_out_sale != '-' || usp->lspa_covered != '-');
	fill_number(fill_key(&pair[2], "version"), usp->version);
	fill_text(fill_key(&pair[3], "lspa_covered"), &usp->lspa_covered, 1);
	fill_text(fill_key(&pair[4], "opt_out_sale"), &usp->opt_out_sale, 1);
}

/* The same as a section of a GPP string, with the names published there. */
void
cdp_signal_json_usp_section(JsonbValue *out, const CdpUsp *usp)
{
	JsonbPair *pair = fill_object(out, 4);

	fill_text(fill_key(&pair[0], "Notice"), &usp->notice, 1);
	fill_number(fill_key(&pair[1], "Version"), usp->version);
	fill_text(fill_key(&pair[2], "OptOutSale"), &usp->opt_out_sale, 1);
	fill_text(fill_key(&pair[3], "LspaCovered"), &usp->lspa_covered, 1);
}

void
cdp_signal_json_state(JsonbValue *out, const CdpGppValue *values, int n)
{
	JsonbPair *pair = fill_object(out, n);

	for (int i = 0; i < n; i++)
	{
		const CdpGppValue *value = &values[i];
		JsonbPair made;
		JsonbValue *v = fill_key(&made, value->name);
		int at = i;

		if (value->is_bool)
			fill_bool(v, value->value[0]);
		else if (value->n == 0)
			fill_number(v, value->value[0]);
		else
		{
			JsonbValue *element = fill_array(v, value->n);

			for (int j = 0; j < value->n; j++)
				fill_number(&element[j], value->value[j]);
		}
		/* to its place */
		for (; at > 0 && compare_keys(&made.key, &pair[at - 1].key) < 0; at--)
			pair[at] = pair[at - 1];
		pair[at] = made;
	}
}

static int
compare_pairs(const void *a, const void *b)
{
	return compare_keys(&((const JsonbPair *) a)->key, &((const JsonbPair *) b)->key);
}

/* The whole: "sections" are the values of the sections, in their order. */
void
cdp_signal_json_gpp(JsonbValue *out, const CdpGpp *gpp, JsonbValue *sections)
{
	JsonbPair *pair = fill_object(out, 3);
	JsonbValue *id;
	JsonbPair *section;

	fill_number(fill_key(&pair[0], "version"), gpp->version);
	section = fill_object(fill_key(&pair[1], "sections"), gpp->n);
	id = fill_array(fill_key(&pair[2], "section_ids"), gpp->n);
	for (uint32 i = 0; i < gpp->n; i++)
	{
		const char *prefix;

		fill_number(&id[i], gpp->section[i].id);
		if (cdp_core_gpp_kind(gpp->section[i].id, &prefix) == CDP_GPP_UNKNOWN)
			prefix = psprintf("section_%u", gpp->section[i].id);
		*fill_key(&section[i], prefix) = sections[i];
	}
	if (gpp->n > 1)
		qsort(section, gpp->n, sizeof(JsonbPair), compare_pairs);
}
