/*
 * src/identity/platform_hash.c
 *		Hashes of addresses and names as advertising platforms want them.
 *
 * Every platform has its own rule, and a value hashed by another platform's
 * rule does not fail there: it matches nobody, silently.  So a rule is here
 * only if its platform has published it (docs/normalise.md names the source),
 * each has a version, and everything else is refused.  What one provider folds
 * (the dots of Gmail) is folded here and nowhere else: it never decides who
 * somebody is.
 *
 * The rules are about UTF-8.  Text is composed (NFC) before it is hashed: the
 * platforms' own examples are, and the same letters taken apart have another
 * hash.
 *
 * A value of which a rule makes nothing (no address, no E.164 number, a
 * number with an extension) has no hash: the result is NULL.
 */
#include "postgres.h"

#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "compat.h"
#include "core/fold.h"
#include "core/utf8.h"
#include "identity/identity.h"
#include "identity/normalise.h"

PG_FUNCTION_INFO_V1(cdp_platform_hash);
PG_FUNCTION_INFO_V1(cdp_platform_rules);

/* The text to hash, in the current context, or NULL. */
typedef char *(*Prepare)(const char *value);

typedef struct Rule
{
	const char *platform;
	const char *kind;
	int version;
	Prepare prepare;
	const char *encoding; /* of the digest */
	const char *description;
} Rule;

static bool
is_ascii(const char *s)
{
	for (; *s != '\0'; s++)
	{
		if (IS_HIGHBIT_SET(*s))
			return false;
	}
	return true;
}

/* compose in place of "*s"; false if that is too long to be anybody's */
static bool
compose(char **s, size_t *len)
{
	CdpCoreNfkc nfc = cdp_database_nfc();
	char *out = palloc(CDP_MAX_RAW_VALUE_BYTES + 1);

	if (!nfc.normalize(nfc.arg, *s, *len, out, CDP_MAX_RAW_VALUE_BYTES, len))
		return false;
	out[*len] = '\0';
	*s = out;
	return true;
}

/*
 * Composed, without blanks at the ends, in small letters; NULL if nothing is
 * left.
 */
static char *
lower_text(const char *value)
{
	size_t len = strlen(value);
	char *s;

	if (!is_ascii(value) && GetDatabaseEncoding() != PG_UTF8)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("hashes of text outside ASCII need a database in UTF-8"),
				 errdetail("Platforms hash the bytes of UTF-8.")));

	cdp_core_fold_blanks(&value, &len, GetDatabaseEncoding() == PG_UTF8);
	if (len == 0 || len > CDP_MAX_RAW_VALUE_BYTES)
		return NULL;
	s = pnstrdup(value, len);
	if (is_ascii(s))
	{
		(void) cdp_core_utf8_lower(s, len);
		return s;
	}
	if (!compose(&s, &len))
		return NULL;
	len = cdp_core_utf8_lower(s, len);
	return compose(&s, &len) ? s : NULL;
}

/* where the "@" of an address is, or NULL if this is none */
static char *
at_of(char *s)
{
	char *at = strrchr(s, '@');
	size_t len = strlen(s);
	size_t width;

	if (at == NULL || at == s || at[1] == '\0')
		return NULL;
	for (size_t i = 0; i < len; i += width)
	{
		int32_t c = cdp_core_utf8_get(s + i, len - i, &width);

		if (c <= ' ' || c == 0x7F || cdp_core_is_wide_blank(c))
			return NULL;
	}
	return at;
}

/* take the dots out of the part before the "@", and with "tags" what follows a "+" */
static char *
fold_gmail(char *s, char *at, bool tags)
{
	char *to = s;

	for (char *from = s; from < at; from++)
	{
		if (tags && *from == '+')
			break;
		if (*from != '.')
			*to++ = *from;
	}
	if (to == s)
		return NULL;
	memmove(to, at, strlen(at) + 1);
	return s;
}

static char *
plain_email(const char *value)
{
	char *s = lower_text(value);

	return s != NULL && at_of(s) != NULL ? s : NULL;
}

static char *
google_email(const char *value)
{
	char *s = plain_email(value);
	char *at;

	if (s == NULL)
		return NULL;
	at = at_of(s);
	if (strcmp(at, "@gmail.com") == 0 || strcmp(at, "@googlemail.com") == 0)
		return fold_gmail(s, at, false);
	return s;
}

static char *
uid2_email(const char *value)
{
	char *s = plain_email(value);
	char *at;

	if (s == NULL)
		return NULL;
	at = at_of(s);
	return strcmp(at, "@gmail.com") == 0 ? fold_gmail(s, at, true) : s;
}

static char *
e164_phone(const char *value)
{
	char *s;

	if (cdp_normalise(cdp_normaliser_get("phone"), value, &s) == CDP_VERDICT_UNKNOWN ||
		strchr(s, ';') != NULL)
		return NULL;
	return s;
}

static char *
digits_phone(const char *value)
{
	char *s = e164_phone(value);

	return s != NULL ? s + 1 : NULL;
}

static bool
is_punctuation(int32_t c)
{
	if (c < 0x80)
		return c > ' ' && c != 0x7F && !(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z') &&
			   !(c >= 'A' && c <= 'Z');
	return c == 0xA1 || c == 0xA7 || c == 0xAB || c == 0xB6 || c == 0xB7 || c == 0xBB ||
		   c == 0xBF || (c >= 0x2010 && c <= 0x2027) || (c >= 0x2030 && c <= 0x205E) ||
		   (c >= 0x3001 && c <= 0x3003) || (c >= 0x3008 && c <= 0x3011) ||
		   (c >= 0x3014 && c <= 0x301F) || c == 0x30FB || (c >= 0xFF01 && c <= 0xFF0F) ||
		   (c >= 0xFF1A && c <= 0xFF20) || (c >= 0xFF3B && c <= 0xFF40) ||
		   (c >= 0xFF5B && c <= 0xFF65);
}

static char *
meta_name(const char *value)
{
	char *s = lower_text(value);
	size_t len = s != NULL ? strlen(s) : 0;
	size_t n = 0;
	size_t width;

	for (size_t i = 0; i < len; i += width)
	{
		int32_t c = cdp_core_utf8_get(s + i, len - i, &width);

		if (c < 0)
			return NULL;
		if (is_punctuation(c))
			continue;
		memmove(s + n, s + i, width);
		n += width;
	}
	if (n == 0)
		return NULL;
	s[n] = '\0';
	return lower_text(s);
}

/* YYYYMMDD of a date that is written year, month, day with or without marks */
static char *
meta_birthdate(const char *value)
{
	static const int days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	char *s = lower_text(value);
	int year;
	int month;
	int day;

	if (s == NULL)
		return NULL;
	if (strlen(s) == 10 && strchr("-/.", s[4]) != NULL && s[7] == s[4])
	{
		memmove(s + 4, s + 5, 2);
		memmove(s + 6, s + 8, 3);
	}
	if (strlen(s) != 8 || strspn(s, "0123456789") != 8)
		return NULL;
	year = (s[0] - '0') * 1000 + (s[1] - '0') * 100 + (s[2] - '0') * 10 + (s[3] - '0');
	month = (s[4] - '0') * 10 + (s[5] - '0');
	day = (s[6] - '0') * 10 + (s[7] - '0');
	if (year < 1900 || month < 1 || month > 12 || day < 1 || day > days[month - 1])
		return NULL;
	if (month == 2 && day == 29 && (year % 4 != 0 || (year % 100 == 0 && year % 400 != 0)))
		return NULL;
	return s;
}

static char *
meta_gender(const char *value)
{
	char *s = lower_text(value);

	if (s == NULL || (strcmp(s, "f") != 0 && strcmp(s, "female") != 0 &&
					  strcmp(s, "m") != 0 && strcmp(s, "male") != 0))
		return NULL;
	s[1] = '\0';
	return s;
}

static char *
meta_country(const char *value)
{
	char *s = lower_text(value);

	return s != NULL && strlen(s) == 2 && s[0] >= 'a' && s[0] <= 'z' && s[1] >= 'a' &&
				   s[1] <= 'z' ?
			   s :
			   NULL;
}

/* Sorted by platform and kind. */
static const Rule rules[] = {
	{"google", "email", 1, google_email, "hex",
	 "Trimmed, lower case; for gmail.com and googlemail.com without the dots before the @."},
	{"google", "name", 1, lower_text, "hex", "Trimmed, lower case."},
	{"google", "phone", 1, e164_phone, "hex", "E.164 with the plus sign."},
	{"meta", "birthdate", 1, meta_birthdate, "hex", "YYYYMMDD."},
	{"meta", "country", 1, meta_country, "hex", "Two letters of ISO 3166-1, lower case."},
	{"meta", "email", 1, plain_email, "hex", "Trimmed, lower case."},
	{"meta", "gender", 1, meta_gender, "hex", "f or m."},
	{"meta", "name", 1, meta_name, "hex", "Trimmed, lower case, without punctuation."},
	{"meta", "phone", 1, digits_phone, "hex", "Country code and number, digits only."},
	{"tiktok", "email", 1, plain_email, "hex", "Trimmed, lower case."},
	{"tiktok", "phone", 1, e164_phone, "hex", "E.164 with the plus sign."},
	{"uid2", "email", 1, uid2_email, "base64",
	 "Trimmed, lower case; for gmail.com without dots and +tags before the @; Base64."},
	{"uid2", "phone", 1, e164_phone, "base64", "E.164 with the plus sign; Base64."}};

/*
 * Arguments are shown only if they are names of ours: whoever mixes them up
 * has put somebody's address there.
 */
static void
refuse(const char *platform)
{
	bool known = false;

	for (int i = 0; i < (int) lengthof(rules); i++)
		known = known || strcmp(rules[i].platform, platform) == 0;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 known ? errmsg("how \"%s\" hashes this kind of value is not known", platform) :
					 errmsg("how this platform hashes values is not known"),
			 errdetail("A hash by a guessed rule would match nobody, silently."),
			 errhint("SELECT * FROM cdp.platform_rules() lists what is known.")));
}

/*
 * cdp.platform_hash(value, kind, platform)
 */
Datum
cdp_platform_hash(PG_FUNCTION_ARGS)
{
	char *value = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char *kind = text_to_cstring(PG_GETARG_TEXT_PP(1));
	char *platform = text_to_cstring(PG_GETARG_TEXT_PP(2));

	for (int i = 0; i < (int) lengthof(rules); i++)
	{
		const Rule *rule = &rules[i];
		char *prepared;
		Datum digest;

		if (strcmp(rule->platform, platform) != 0 || strcmp(rule->kind, kind) != 0)
			continue;
		prepared = rule->prepare(value);
		if (prepared == NULL)
			PG_RETURN_NULL();
		/* text and bytea have the same form */
		digest = DirectFunctionCall1(sha256_bytea, CStringGetTextDatum(prepared));
		PG_RETURN_DATUM(DirectFunctionCall2(binary_encode, digest,
											CStringGetTextDatum(rule->encoding)));
	}
	refuse(platform);
	PG_RETURN_NULL(); /* not reached */
}

/*
 * cdp.platform_rules()
 */
Datum
cdp_platform_rules(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < (int) lengthof(rules); i++)
	{
		Datum values[4];
		bool nulls[4] = {false, false, false, false};

		values[0] = CStringGetTextDatum(rules[i].platform);
		values[1] = CStringGetTextDatum(rules[i].kind);
		values[2] = Int32GetDatum(rules[i].version);
		values[3] = CStringGetTextDatum(rules[i].description);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
