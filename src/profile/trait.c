/*
 * src/profile/trait.c
 *		Traits: which are declared, and what a value becomes in its column.
 *
 * A message may say {"age": "33"} where the column is an integer.  The value
 * is brought to a canonical text here, by our own parsers: the types' input
 * functions raise, and one bad trait must not cost the message.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "cdp.h"
#include "compat.h"
#include "core/time.h"
#include "profile/trait.h"
#include "store.h"

static CdpTraitConfig none;
static CdpTraitConfig *config = &none;

static CdpTraitType
type_of(const char *column)
{
	char *name = pstrdup(column);
	char *list = strstr(name, "[]");

	if (list)
		*list = '\0';
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

static CdpSurvival
survival_of(const char *name)
{
	static const char *const names[] = {"latest", "oldest", "source_priority", "most_frequent",
										"max", "min", "union"};

	for (int i = 0; i < (int) lengthof(names); i++)
		if (strcmp(names[i], name) == 0)
			return (CdpSurvival) i;
	elog(ERROR, "cdp: survivorship \"%s\" is unknown to this library", name);
}

/* Takes the sources from the current result's row. */
static void
read_sources(CdpTrait *trait, MemoryContext context, int row, int col)
{
	bool isnull;
	Datum d = cdp_store_value(row, col, &isnull);
	Datum *elems;

	if (isnull)
		return;
	deconstruct_array(DatumGetArrayTypeP(d), TEXTOID, -1, false, TYPALIGN_INT, &elems, NULL,
					  &trait->nsources);
	trait->sources = MemoryContextAlloc(context, sizeof(char *) * Max(trait->nsources, 1));
	for (int i = 0; i < trait->nsources; i++)
		trait->sources[i] = MemoryContextStrdup(context, TextDatumGetCString(elems[i]));
}

/* The declared traits; valid for the visit of the storage, inside cdp_store_enter(). */
const CdpTraitConfig *
cdp_trait_config(void)
{
	while (config->generation != cdp_store_generation())
	{
		uint64 generation = cdp_store_generation();
		CdpResult saved = cdp_store_save_result();
		MemoryContext fresh = AllocSetContextCreate(CurrentMemoryContext,
													"cdp trait config",
													ALLOCSET_SMALL_SIZES);
		int n = cdp_store_run_latest("SELECT name, type, survivorship, indexed, sources, "
									 "  ignore_empty "
									 "FROM cdp_data.trait ORDER BY name COLLATE \"C\"");
		CdpTraitConfig *loaded = MemoryContextAllocZero(fresh, sizeof(CdpTraitConfig));
		CdpTrait *traits = MemoryContextAllocZero(fresh, sizeof(CdpTrait) * Max(n, 1));

		for (int i = 0; i < n; i++)
		{
			char *type = cdp_store_text(i, 2);
			bool isnull;

			traits[i].name = MemoryContextStrdup(fresh, cdp_store_text(i, 1));
			traits[i].type_name = MemoryContextStrdup(fresh, type);
			traits[i].type = type_of(type);
			traits[i].indexed = DatumGetBool(cdp_store_value(i, 4, &isnull));
			traits[i].survival = survival_of(cdp_store_text(i, 3));
			read_sources(&traits[i], fresh, i, 5);
			traits[i].ignore_empty = DatumGetBool(cdp_store_value(i, 6, &isnull));
		}
		cdp_store_restore_result(saved);
		*loaded = (CdpTraitConfig){generation, fresh, n, traits};
		cdp_store_retire(config->context);
		MemoryContextSetParent(fresh, CacheMemoryContext);
		config = loaded;
	}
	return config;
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
	pg_uuid_t value_uuid;
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
			*text = psprintf("%.17g", number == 0 ? 0.0 : number);
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
			memcpy(value_uuid.data, uuid, UUID_LEN);
			*text = DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&value_uuid)));
			return true;
	}
	return false;
}

/*
 * Canonical texts of what a message gives to a trait: one, perhaps NULL; of a
 * union's list each element.  False if one of them does not fit.
 */
bool
cdp_trait_texts(const CdpTrait *trait, JsonbValue *value, List **texts)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue v;
	char *text;

	*texts = NIL;
	if (value->type != jbvBinary || trait->survival != CDP_SURVIVE_UNION ||
		!JsonContainerIsArray(value->val.binary.data))
	{
		if (!cdp_trait_canonical(trait, value, &text))
			return false;
		*texts = list_make1(text);
		return true;
	}
	it = JsonbIteratorInit(value->val.binary.data);
	(void) JsonbIteratorNext(&it, &v, true);
	while ((token = JsonbIteratorNext(&it, &v, true)) == WJB_ELEM)
	{
		if (!cdp_trait_canonical(trait, &v, &text))
			return false;
		*texts = lappend(*texts, text);
	}
	return true;
}
