/*
 * src/identity/normalise.c
 *		Named, versioned normalisers of identifier values (see normalise.h).
 *
 * The rules are in core/fold.c, core/email.c and core/phone.c; here they get
 * their names, NFKC from the server, and SQL functions.
 *
 * Why these are IMMUTABLE: rules and tables are compiled in, the encoding of
 * a database never changes, and Unicode promises that NFKC of an assigned
 * character stays (the server declares normalize() IMMUTABLE for the same
 * reason).  A release that changes a result raises the normaliser's version
 * and says what has to be built anew.
 *
 * In a database that is not in UTF-8 only the ASCII part is normalised, and
 * the verdict for a value with other characters is at most plausible.
 */
#include "postgres.h"

#include "funcapi.h"
#include "utils/builtins.h"

#include "compat.h"
#include "core/fold.h"
#include "core/phone.h"
#include "identity/identity.h"
#include "identity/normalise.h"

PG_FUNCTION_INFO_V1(cdp_normalise_text);
PG_FUNCTION_INFO_V1(cdp_normalise_verdict);
PG_FUNCTION_INFO_V1(cdp_normalisers);

typedef CdpVerdict (*Fold)(const char *value, size_t len, const CdpCoreNfkc *nfkc,
						   char *out, size_t *out_len);

struct CdpNormaliser
{
	char name[16];
	int version;
	const char *description; /* null: made of the region */
	Fold fold; /* null: kept exactly, or a telephone number */
	bool phone;
	const CdpCorePhoneRegion *region; /* of numbers without a country code */
};

static const CdpNormaliser normalisers[] = {
	{"none", 1, "Keeps the value exactly.", NULL, false, NULL},
	{"trim", CDP_TRIM_VERSION, "Drops blanks at the ends.", cdp_core_fold_trim, false, NULL},
	{"lower", CDP_LOWER_VERSION,
	 "trim, and lower case for Latin, Greek and Cyrillic, the same in every locale.",
	 cdp_core_fold_lower, false, NULL},
	{"width", CDP_WIDTH_VERSION,
	 "Unicode NFKC, so that half and full width are one; runs of blanks become one space.",
	 cdp_core_fold_width, false, NULL},
	{"kana", CDP_KANA_VERSION,
	 "width, hiragana to katakana, and one mark for long vowels and hyphens.",
	 cdp_core_fold_kana, false, NULL},
	{"email", CDP_EMAIL_VERSION,
	 "trim, lower case for ASCII, full-width letters to ASCII, international domains to xn--.",
	 cdp_core_fold_email, false, NULL},
	{"phone", CDP_PHONE_VERSION, "E.164 for numbers that begin with +.", NULL, true, NULL}};

#define PHONE_PREFIX "phone:"

/*
 * One for each region, filled when first asked for; the first version is 0
 * until then.
 */
static CdpNormaliser phone_normalisers[CDP_CORE_PHONE_REGIONS];

static void
fill_phone_normalisers(void)
{
	if (phone_normalisers[0].version != 0)
		return;
	for (int i = 0; i < CDP_CORE_PHONE_REGIONS; i++)
	{
		CdpNormaliser *normaliser = &phone_normalisers[i];

		normaliser->region = &cdp_core_phone_regions[i];
		snprintf(normaliser->name, sizeof(normaliser->name), PHONE_PREFIX "%s",
				 normaliser->region->region);
		normaliser->phone = true;
		normaliser->version = CDP_PHONE_VERSION;
	}
}

/*
 * The normaliser of that name, or NULL.  Names are exact: "email", "phone:JP".
 */
const CdpNormaliser *
cdp_normaliser_find(const char *name)
{
	const CdpCorePhoneRegion *region;

	for (int i = 0; i < (int) lengthof(normalisers); i++)
	{
		if (strcmp(normalisers[i].name, name) == 0)
			return &normalisers[i];
	}
	if (strncmp(name, PHONE_PREFIX, strlen(PHONE_PREFIX)) != 0)
		return NULL;
	name += strlen(PHONE_PREFIX);
	region = cdp_core_phone_region(name, strlen(name));
	if (region == NULL)
		return NULL;
	fill_phone_normalisers();
	return &phone_normalisers[region - cdp_core_phone_regions];
}

/*
 * The same; raises if there is none.  The name is not shown, for whoever mixes
 * up the arguments has put somebody's number there.
 */
const CdpNormaliser *
cdp_normaliser_get(const char *name)
{
	const CdpNormaliser *normaliser = cdp_normaliser_find(name);

	if (normaliser == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("normaliser does not exist"),
				 errhint("SELECT * FROM cdp.normalisers() lists them.")));
	return normaliser;
}

const char *
cdp_normaliser_name(const CdpNormaliser *normaliser)
{
	return normaliser->name;
}

int
cdp_normaliser_version(const CdpNormaliser *normaliser)
{
	return normaliser->version;
}

/*
 * Bring a value in the database's encoding to its normal form.
 *
 * "out" gets the normal form, or, when the verdict is unknown, the value
 * without blanks at its ends ("none" keeps these too); it is allocated in the
 * current context.  Only a value that is kept may be longer than
 * CDP_MAX_VALUE_BYTES or empty.  The normal form of what comes out is itself,
 * with the same verdict.
 */
CdpVerdict
cdp_normalise(const CdpNormaliser *normaliser, const char *value, char **out)
{
	CdpCoreNfkc nfkc = cdp_database_nfkc();
	bool utf8 = nfkc.normalize != NULL;
	size_t len = strlen(value);
	char buf[CDP_MAX_VALUE_BYTES];
	size_t n = 0;
	CdpVerdict verdict;

	StaticAssertStmt(CDP_MAX_PHONE_BYTES <= CDP_MAX_VALUE_BYTES, "a phone number fits a value");

	if (normaliser->fold == NULL && !normaliser->phone)
	{
		*out = pnstrdup(value, len);
		return len > 0 && len <= CDP_MAX_VALUE_BYTES ? CDP_VERDICT_VALID : CDP_VERDICT_UNKNOWN;
	}

	cdp_core_fold_blanks(&value, &len, utf8);
	if (normaliser->phone)
		verdict = cdp_core_phone_normalise(normaliser->region, value, len, utf8, buf, &n);
	else
		verdict = normaliser->fold(value, len, &nfkc, buf, &n);
	*out = verdict == CDP_VERDICT_UNKNOWN ? pnstrdup(value, len) : pnstrdup(buf, n);
	return verdict;
}

const char *
cdp_verdict_name(CdpVerdict verdict)
{
	switch (verdict)
	{
		case CDP_VERDICT_VALID:
			return "valid";
		case CDP_VERDICT_PLAUSIBLE:
			return "plausible";
		case CDP_VERDICT_UNKNOWN:
			break;
	}
	return "unknown";
}

/*
 * cdp.normalise(value, normaliser)
 */
Datum
cdp_normalise_text(PG_FUNCTION_ARGS)
{
	char *value = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(1));
	char *out;

	(void) cdp_normalise(cdp_normaliser_get(name), value, &out);
	PG_RETURN_TEXT_P(cstring_to_text(out));
}

/*
 * cdp.normalise_verdict(value, normaliser)
 */
Datum
cdp_normalise_verdict(PG_FUNCTION_ARGS)
{
	char *value = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(1));
	char *out;

	PG_RETURN_TEXT_P(cstring_to_text(cdp_verdict_name(
		cdp_normalise(cdp_normaliser_get(name), value, &out))));
}

static void
put_normaliser(ReturnSetInfo *rsinfo, const CdpNormaliser *normaliser)
{
	Datum values[3];
	bool nulls[3] = {false, false, false};

	values[0] = CStringGetTextDatum(normaliser->name);
	values[1] = Int32GetDatum(normaliser->version);
	values[2] = CStringGetTextDatum(
		normaliser->description != NULL ?
			normaliser->description :
			psprintf("E.164; numbers without a country code are of %s (+%s).",
					 normaliser->region->name, normaliser->region->plan->code));
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/*
 * cdp.normalisers()
 */
Datum
cdp_normalisers(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < (int) lengthof(normalisers); i++)
		put_normaliser(rsinfo, &normalisers[i]);
	fill_phone_normalisers();
	for (int i = 0; i < CDP_CORE_PHONE_REGIONS; i++)
		put_normaliser(rsinfo, &phone_normalisers[i]);
	return (Datum) 0;
}
