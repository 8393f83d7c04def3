/*
 * src/profile/trait.c
 *		Traits: which are declared, and what a value becomes in its column.
 *
 * A message may say {"age": "33"} where the column is an integer.  The value
 * is brought to a canonical text here, by our own parsers: the types' input
 * functions raise, and one bad trait must not cost the message.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "cdp.h"
#include "compat.h"
#include "core/time.h"
#include "profile/trait.h"
#include "store.h"

static CdpTraitConfig config;

static CdpTraitType
type_of(const char *name)
{
	if (strcmp(name, "integer") == 0)
		return CDP_TRAIT_INT;
	if (strcmp(name, "bigint") == 0)
		return CDP_TRAIT_BIGINT;
	if (strcmp(name, "double precision") == 0)
		return CDP_TRAIT_FLOAT8;
	if (strcmp(name, "boolean") == 0)
		return CDP_TRAIT_BOOL;
	if (strcmp(name, "date") == 0)
		return CDP_TRAIT_DATE;
	if (strcmp(name, "timestamp with time zone") == 0)
		return CDP_TRAIT_TIMESTAMPTZ;
	if (strcmp(name, "uuid") == 0)
		return CDP_TRAIT_UUID;
	return CDP_TRAIT_TEXT;
}

/* The declared traits; valid until the next call.  Inside cdp_store_enter(). */
const CdpTraitConfig *
cdp_trait_config(void)
{
	while (config.generation != cdp_store_generation())
	{
		uint64 generation = cdp_store_generation();
		CdpResult saved = cdp_store_save_result();
		MemoryContext fresh = AllocSetContextCreate(CurrentMemoryContext,
													"cdp trait config",
													ALLOCSET_SMALL_SIZES);
		int n = cdp_store_run_latest("SELECT name, type, survivorship, indexed "
									 "FROM cdp_data.trait ORDER BY name COLLATE \"C\"");
		CdpTrait *traits = MemoryContextAllocZero(fresh, sizeof(CdpTrait) * Max(n, 1));

		for (int i = 0; i < n; i++)
		{
			char *type = cdp_store_text(i, 2);
			bool isnull;

			traits[i].name = MemoryContextStrdup(fresh, cdp_store_text(i, 1));
			traits[i].type_name = MemoryContextStrdup(fresh, type);
			traits[i].type = type_of(type);
			traits[i].indexed = DatumGetBool(cdp_store_value(i, 4, &isnull));
			traits[i].oldest = strcmp(cdp_store_text(i, 3), "oldest") == 0;
		}
		cdp_store_restore_result(saved);
		/* kept one reload longer: a caller may hold a trait of it */
		if (config.previous)
			MemoryContextDelete(config.previous);
		config.previous = config.context;
		MemoryContextSetParent(fresh, CacheMemoryContext);
		config.context = fresh;
		config.traits = traits;
		config.n = n;
		config.generation = generation;
	}
	return &config;
}

/* The declared trait of this name, or NULL. */
const CdpTrait *
cdp_trait_find(const char *name, int len)
{
	const CdpTraitConfig *c = cdp_trait_config();
	int low = 0;
	int high = c->n - 1;

	while (low <= high)
	{
		int mid = (low + high) / 2;
		const char *other = c->traits[mid].name;
		int otherlen = (int) strlen(other);
		int cmp = memcmp(name, other, Min(len, otherlen));

		if (cmp == 0)
			cmp = len - otherlen;
		if (cmp == 0)
			return &c->traits[mid];
		if (cmp > 0)
			low = mid + 1;
		else
			high = mid - 1;
	}
	return NULL;
}

/* Text of a scalar; NULL for objects and arrays. */
static char *
scalar_text(JsonbValue *value)
{
	switch (value->type)
	{
		case jbvString:
			return pnstrdup(value->val.string.val, value->val.string.len);
		case jbvNumeric:
			return DatumGetCString(DirectFunctionCall1(numeric_out,
													   NumericGetDatum(value->val.numeric)));
		case jbvBool:
			return pstrdup(value->val.boolean ? "true" : "false");
		default:
			return NULL;
	}
}

/* "33.000" is a whole number, "33.5" is not. */
static void
strip_zero_fraction(char *text)
{
	char *dot = strchr(text, '.');

	if (dot != NULL && dot[1] != '\0' && strspn(dot + 1, "0") == strlen(dot + 1))
		*dot = '\0';
}

static bool
instant_of(JsonbValue *value, const char *text, TimestampTz *ts)
{
	const char *reason;

	if (value->type == jbvNumeric)
	{
		double number;

		return cdp_core_parse_float8(text, strlen(text), &number) &&
			   cdp_core_epoch_to_timestamp(number, ts);
	}
	return cdp_core_parse_timestamp(text, strlen(text), ts, &reason);
}

static char *
iso_date(int32 day)
{
	int year,
		month,
		dom;

	j2date(day + POSTGRES_EPOCH_JDATE, &year, &month, &dom);
	return psprintf("%04d-%02d-%02d", year, month, dom);
}

/* With the zone written out it is read the same under every setting. */
static char *
iso_instant(TimestampTz ts)
{
	int64 day = ts / USECS_PER_DAY;
	int64 rest = ts % USECS_PER_DAY;

	if (rest < 0)
	{
		rest += USECS_PER_DAY;
		day--;
	}
	return psprintf("%s %02d:%02d:%02d.%06d+00", iso_date((int32) day),
					(int) (rest / USECS_PER_HOUR),
					(int) (rest / USECS_PER_MINUTE % 60),
					(int) (rest / USECS_PER_SEC % 60),
					(int) (rest % USECS_PER_SEC));
}

/*
 * Canonical text of a value for its column: what the type's input function
 * surely takes.  *text is NULL for a JSON null.  False if the value does not
 * fit the type.
 */
bool
cdp_trait_canonical(const CdpTrait *trait, JsonbValue *value, char **text)
{
	char *raw;
	size_t len;
	int64_t whole;
	double number;
	bool truth;
	int32_t day;
	TimestampTz ts;
	uint8 uuid[16];
	const char *reason;

	*text = NULL;
	if (value->type == jbvNull)
		return true;
	raw = scalar_text(value);
	if (raw == NULL)
		return false;
	len = strlen(raw);
	switch (trait->type)
	{
		case CDP_TRAIT_TEXT:
			/* longer ones do not fit a page of the index */
			if (trait->indexed && len > CDP_MAX_INDEXED_TRAIT)
				return false;
			*text = raw;
			return true;
		case CDP_TRAIT_INT:
		case CDP_TRAIT_BIGINT:
			strip_zero_fraction(raw);
			if (!cdp_core_parse_int64(raw, strlen(raw), &whole))
				return false;
			if (trait->type == CDP_TRAIT_INT &&
				(whole < PG_INT32_MIN || whole > PG_INT32_MAX))
				return false;
			*text = psprintf(INT64_FORMAT, (int64) whole);
			return true;
		case CDP_TRAIT_FLOAT8:
			if (!cdp_core_parse_float8(raw, len, &number))
				return false;
			*text = psprintf("%.17g", number);
			return true;
		case CDP_TRAIT_BOOL:
			if (!cdp_core_parse_bool(raw, len, &truth))
				return false;
			*text = pstrdup(truth ? "true" : "false");
			return true;
		case CDP_TRAIT_DATE:
			if (value->type == jbvNumeric)
			{
				if (!instant_of(value, raw, &ts))
					return false;
				day = (int32_t) (ts / USECS_PER_DAY);
				if (ts % USECS_PER_DAY < 0)
					day--;
			}
			else if (!cdp_core_parse_date(raw, len, &day, &reason))
				return false;
			*text = iso_date(day);
			return true;
		case CDP_TRAIT_TIMESTAMPTZ:
			if (!instant_of(value, raw, &ts))
				return false;
			*text = iso_instant(ts);
			return true;
		case CDP_TRAIT_UUID:
			if (!cdp_core_parse_uuid(raw, len, uuid))
				return false;
			*text = raw;
			return true;
	}
	return false;
}
