/*
 * src/ingest/schema.c
 *		A subset of JSON Schema (draft 2020-12, validation vocabulary).
 *
 * The keywords are those of docs/plan.md; others are refused when the schema is
 * defined, for a keyword that is passed over silently promises what nobody
 * keeps.  Numbers are compared as decimals, lengths are characters, patterns
 * are those of the condition language.
 */
#include "postgres.h"

#include <ctype.h>

#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include "compat.h"
#include "condition/pattern.h"
#include "condition/value.h"
#include "core/time.h"
#include "ingest/schema.h"

PG_FUNCTION_INFO_V1(cdp_check_event_schema);

/* Schemas inside each other, at most. */
#define MAX_DEPTH 20

/* Longest text that is converted to a number. */
#define MAX_NUMBER_TEXT 100

typedef enum TypeBit
{
	TYPE_NULL = 0x01,
	TYPE_BOOLEAN = 0x02,
	TYPE_OBJECT = 0x04,
	TYPE_ARRAY = 0x08,
	TYPE_NUMBER = 0x10,
	TYPE_INTEGER = 0x20,
	TYPE_STRING = 0x40
} TypeBit;

/* A word of the schema, and what it stands for. */
typedef struct Word
{
	const char *name;
	int value;
} Word;

static const Word types[] = {{"null", TYPE_NULL},
							 {"boolean", TYPE_BOOLEAN},
							 {"object", TYPE_OBJECT},
							 {"array", TYPE_ARRAY},
							 {"number", TYPE_NUMBER},
							 {"integer", TYPE_INTEGER},
							 {"string", TYPE_STRING},
							 {NULL, 0}};

typedef enum Format
{
	FORMAT_NONE,
	FORMAT_DATE_TIME,
	FORMAT_DATE,
	FORMAT_EMAIL,
	FORMAT_URI,
	FORMAT_UUID
} Format;

static const Word formats[] = {{"date-time", FORMAT_DATE_TIME},
							   {"date", FORMAT_DATE},
							   {"email", FORMAT_EMAIL},
							   {"uri", FORMAT_URI},
							   {"uuid", FORMAT_UUID},
							   {NULL, FORMAT_NONE}};

typedef enum Bound
{
	BOUND_MINIMUM,
	BOUND_MAXIMUM,
	BOUND_EXCLUSIVE_MINIMUM,
	BOUND_EXCLUSIVE_MAXIMUM
} Bound;

static const char *const bound_names[] = {"minimum", "maximum", "exclusiveMinimum",
										  "exclusiveMaximum"};

/* Keywords that say nothing about validity. */
static const char *const notes[] = {"title", "description", "$schema", "$id", "$comment",
									"default", "examples", "deprecated"};

typedef struct Property
{
	const char *name;
	int len;
	const char *path;
	CdpSchema *schema; /* NULL: it is required, and may be anything */
	bool required;
} Property;

struct CdpSchema
{
	const char *path;
	bool never; /* the schema false */
	int types; /* 0: any */
	JsonbValue *choices; /* enum */
	int nchoices; /* -1: none */
	bool has_constant;
	JsonbValue constant;
	Numeric bounds[4]; /* NULL: none */
	int64 min_length; /* -1: none */
	int64 max_length;
	CdpPattern *pattern;
	bool has_pattern;
	Format format;
	Property *properties;
	int nproperties;
	bool closed; /* no other properties */
	const char *others_path;
	CdpSchema *others;
	CdpSchema *items;
};

static CdpSchema *compile(const JsonbValue *v, const char *path, const char *place, int depth);

static void
refuse(const char *place, const char *problem, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid event schema: %s", problem),
			 errdetail("At %s.", place[0] == '\0' ? "the root" : place),
			 hint ? errhint("%s", hint) : 0));
}

static bool
is_text(const JsonbValue *v, const char *s)
{
	return v->type == jbvString && strlen(s) == (size_t) v->val.string.len &&
		   memcmp(v->val.string.val, s, v->val.string.len) == 0;
}

/* What a text stands for; 0: it is none of the words. */
static int
word_value(const Word *words, const JsonbValue *v)
{
	while (words->name && !is_text(v, words->name))
		words++;
	return words->value;
}

/* The place of a keyword or name in the schema, for errors. */
static char *
inside(const char *place, const char *name, int len)
{
	return psprintf("%s%s%.*s", place, place[0] == '\0' ? "" : ".", len, name);
}

static int
type_bits(const JsonbValue *v, const char *place)
{
	int bits = word_value(types, v);

	if (bits == 0)
		refuse(place, "the type is unknown",
			   "Types are object, array, string, number, integer, boolean and null, or a list of "
			   "them.");
	return bits;
}

static void
read_type(CdpSchema *s, const JsonbValue *v, const char *place)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue item;

	if (!cdp_value_is_array(v))
	{
		s->types = type_bits(v, place);
		return;
	}
	it = JsonbIteratorInit(v->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
		if (token == WJB_ELEM)
			s->types |= type_bits(&item, place);
	if (s->types == 0)
		refuse(place, "the list of types is empty", NULL);
}

static void
read_choices(CdpSchema *s, const JsonbValue *v, const char *place)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue item;

	if (!cdp_value_is_array(v))
		refuse(place, "a list of values is missing", "Write {\"enum\": [\"S\", \"M\", \"L\"]}.");
	s->nchoices = 0;
	s->choices = palloc(sizeof(JsonbValue) * Max(JsonContainerSize(v->val.binary.data), 1));
	it = JsonbIteratorInit(v->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
		if (token == WJB_ELEM)
			s->choices[s->nchoices++] = item;
}

static int64
read_length(const JsonbValue *v, const char *place)
{
	double number;

	if (v->type != jbvNumeric || !cdp_value_number(v, &number) || number < 0 || number > 1e9 ||
		number != (double) (int64) number)
		refuse(place, "a length is a whole number that is not negative", NULL);
	(void) cdp_value_number(v, &number);
	return (int64) number;
}

static void
read_pattern(CdpSchema *s, const JsonbValue *v, const char *place)
{
	const char *problem = NULL;
	const char *hint = NULL;

	if (v->type == jbvString)
		s->pattern = cdp_pattern_compile(v->val.string.val, v->val.string.len, false, &problem,
										 &hint);
	if (s->pattern == NULL)
		refuse(place, problem ? problem : "the pattern is no regular expression",
			   problem ? hint : "Patterns are those of ECMAScript.");
	s->has_pattern = true;
}

static Property *
property_of(const CdpSchema *s, const char *name, int len)
{
	for (int i = 0; i < s->nproperties; i++)
		if (s->properties[i].len == len && memcmp(s->properties[i].name, name, len) == 0)
			return &s->properties[i];
	return NULL;
}

/* The property of a name, made if it is not there; there is room. */
static Property *
add_property(CdpSchema *s, const JsonbValue *name)
{
	Property *p = property_of(s, name->val.string.val, name->val.string.len);

	if (p)
		return p;
	p = &s->properties[s->nproperties++];
	p->name = name->val.string.val;
	p->len = name->val.string.len;
	p->path = strcmp(s->path, "$") == 0 ? pnstrdup(p->name, p->len) :
										  psprintf("%s.%.*s", s->path, p->len, p->name);
	return p;
}

static void
read_properties(CdpSchema *s, const JsonbValue *v, const char *place, int depth)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue key;
	JsonbValue item;

	if (!cdp_value_is_object(v))
		refuse(place, "an object with a schema for each property is missing", NULL);
	it = JsonbIteratorInit(v->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
		if (token == WJB_KEY)
		{
			Property *p = add_property(s, &key);

			(void) JsonbIteratorNext(&it, &item, true);
			p->schema = compile(&item, p->path, inside(place, p->name, p->len), depth + 1);
		}
}

static void
read_required(CdpSchema *s, const JsonbValue *v, const char *place)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue item;

	if (!cdp_value_is_array(v))
		refuse(place, "a list of names is missing", "Write {\"required\": [\"order_id\"]}.");
	it = JsonbIteratorInit(v->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
		if (token == WJB_ELEM)
		{
			if (item.type != jbvString)
				refuse(place, "the name of a property is text", NULL);
			add_property(s, &item)->required = true;
		}
}

static void
read_others(CdpSchema *s, const JsonbValue *v, const char *place, int depth)
{
	s->others_path = strcmp(s->path, "$") == 0 ? "*" : psprintf("%s.*", s->path);
	if (v->type == jbvBool)
		s->closed = !v->val.boolean;
	else
		s->others = compile(v, s->others_path, place, depth + 1);
}

/* One keyword of a schema. */
static void
read_keyword(CdpSchema *s, const JsonbValue *key, const JsonbValue *v, const char *place,
			 int depth)
{
	for (int i = 0; i < (int) lengthof(notes); i++)
		if (is_text(key, notes[i]))
			return;
	for (int i = 0; i < (int) lengthof(bound_names); i++)
		if (is_text(key, bound_names[i]))
		{
			if (v->type != jbvNumeric)
				refuse(place, "a bound is a number", NULL);
			s->bounds[i] = v->val.numeric;
			return;
		}
	if (is_text(key, "type"))
		read_type(s, v, place);
	else if (is_text(key, "enum"))
		read_choices(s, v, place);
	else if (is_text(key, "const"))
	{
		s->has_constant = true;
		s->constant = *v;
	}
	else if (is_text(key, "minLength"))
		s->min_length = read_length(v, place);
	else if (is_text(key, "maxLength"))
		s->max_length = read_length(v, place);
	else if (is_text(key, "pattern"))
		read_pattern(s, v, place);
	else if (is_text(key, "format"))
	{
		s->format = word_value(formats, v);
		if (s->format == FORMAT_NONE)
			refuse(place, "the format is unknown",
				   "Formats are date-time, date, email, uri and uuid.");
	}
	else if (is_text(key, "properties"))
		read_properties(s, v, place, depth);
	else if (is_text(key, "required"))
		read_required(s, v, place);
	else if (is_text(key, "additionalProperties"))
		read_others(s, v, place, depth);
	else if (is_text(key, "items"))
		s->items = compile(v, psprintf("%s[]", s->path), place, depth + 1);
	else
		refuse(place, "the keyword is not supported",
			   "Keywords are type, enum, const, minimum, maximum, exclusiveMinimum, "
			   "exclusiveMaximum, minLength, maxLength, pattern, format, properties, required, "
			   "additionalProperties and items.");
}

/* How many properties a schema names at most. */
static int
count_properties(const JsonbValue *v)
{
	static const char *const keys[] = {"properties", "required"};
	int n = 0;

	for (int i = 0; i < 2; i++)
	{
		JsonbValue item;

		if (getKeyJsonValueFromContainer(v->val.binary.data, keys[i], strlen(keys[i]), &item) &&
			item.type == jbvBinary)
			n += (int) JsonContainerSize(item.val.binary.data);
	}
	return n;
}

static CdpSchema *
compile(const JsonbValue *v, const char *path, const char *place, int depth)
{
	CdpSchema *s = palloc0(sizeof(CdpSchema));
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue key;
	JsonbValue item;

	s->path = path;
	s->nchoices = -1;
	s->min_length = -1;
	s->max_length = -1;
	if (depth > MAX_DEPTH)
		refuse(place, "it is nested too deeply", "At most 20 schemas may be inside each other.");
	if (v->type == jbvBool)
	{
		s->never = !v->val.boolean;
		return s;
	}
	if (!cdp_value_is_object(v))
		refuse(place, "a schema is an object, true or false",
			   "Write {\"type\": \"object\", \"required\": [\"sku\"], "
			   "\"properties\": {\"sku\": {\"type\": \"string\"}}}.");
	s->properties = palloc0(sizeof(Property) * Max(count_properties(v), 1));
	it = JsonbIteratorInit(v->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
		if (token == WJB_KEY)
		{
			(void) JsonbIteratorNext(&it, &item, true);
			read_keyword(s, &key, &item,
						 inside(place, key.val.string.val, key.val.string.len), depth);
		}
	return s;
}

CdpSchema *
cdp_schema_compile(const Jsonb *schema)
{
	Jsonb *copy = palloc(VARSIZE(schema));
	JsonbValue v;

	/* what is compiled points into the schema */
	memcpy(copy, schema, VARSIZE(schema));
	cdp_value_of_root(copy, &v);
	return compile(&v, "$", "", 0);
}

/* cdp.check_event_schema(schema): raises unless it is one. */
Datum
cdp_check_event_schema(PG_FUNCTION_ARGS)
{
	(void) cdp_schema_compile(PG_GETARG_JSONB_P(0));
	PG_RETURN_VOID();
}

/* ---- checking ---- */

typedef struct Checking
{
	bool convert;
	bool changed;
	List *faults;
} Checking;

static void
fault(Checking *c, const char *path, const char *rule)
{
	CdpSchemaFault *f;
	ListCell *lc;

	foreach(lc, c->faults)
	{
		f = lfirst(lc);
		if (strcmp(f->path, path) == 0 && strcmp(f->rule, rule) == 0)
			return;
	}
	f = palloc(sizeof(CdpSchemaFault));
	/* the schema may go before the fault does */
	f->path = pstrdup(path);
	f->rule = rule;
	c->faults = lappend(c->faults, f);
}

static bool
is_whole(Numeric number)
{
	Datum whole = DirectFunctionCall2(numeric_trunc, NumericGetDatum(number), Int32GetDatum(0));

	return DatumGetBool(DirectFunctionCall2(numeric_eq, whole, NumericGetDatum(number)));
}

static bool
has_type(const CdpSchema *s, const JsonbValue *v)
{
	switch (v->type)
	{
		case jbvNull:
			return s->types & TYPE_NULL;
		case jbvBool:
			return s->types & TYPE_BOOLEAN;
		case jbvString:
			return s->types & TYPE_STRING;
		case jbvNumeric:
			return (s->types & TYPE_NUMBER) ||
				   ((s->types & TYPE_INTEGER) && is_whole(v->val.numeric));
		default:
			return s->types & (cdp_value_is_array(v) ? TYPE_ARRAY : TYPE_OBJECT);
	}
}

/* A number as JSON writes it. */
static bool
read_number(const char *s, int len, Numeric *number)
{
	char text[MAX_NUMBER_TEXT + 1];
	int i = 0;
	int start;
	int exponent = 0;

	if (len == 0 || len > MAX_NUMBER_TEXT)
		return false;
	memcpy(text, s, len);
	text[len] = '\0';
	i += text[i] == '-';
	start = i;
	while (text[i] >= '0' && text[i] <= '9')
		i++;
	if (i == start || (i > start + 1 && text[start] == '0'))
		return false;
	if (text[i] == '.')
	{
		start = ++i;
		while (text[i] >= '0' && text[i] <= '9')
			i++;
		if (i == start)
			return false;
	}
	if (text[i] == 'e' || text[i] == 'E')
	{
		i++;
		i += text[i] == '+' || text[i] == '-';
		start = i;
		for (; text[i] >= '0' && text[i] <= '9' && exponent < 1000; i++)
			exponent = exponent * 10 + (text[i] - '0');
		if (i == start || exponent >= 1000)
			return false;
	}
	if (i != len)
		return false;
	*number = DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(text),
												  ObjectIdGetDatum(InvalidOid),
												  Int32GetDatum(-1)));
	return true;
}

static bool
is_word(const JsonbValue *v, const char *word)
{
	return v->val.string.len == (int) strlen(word) &&
		   pg_strncasecmp(v->val.string.val, word, v->val.string.len) == 0;
}

/*
 * A value of another type as one that the schema asks for: text as the number
 * or truth that it spells, numbers and truths as text.
 */
static bool
convert(const CdpSchema *s, const JsonbValue *v, JsonbValue *out)
{
	StringInfoData text;
	Numeric number;

	if (v->type == jbvString && (s->types & (TYPE_NUMBER | TYPE_INTEGER)) &&
		read_number(v->val.string.val, v->val.string.len, &number))
	{
		out->type = jbvNumeric;
		out->val.numeric = number;
		return has_type(s, out);
	}
	if (v->type == jbvString && (s->types & TYPE_BOOLEAN) &&
		(is_word(v, "true") || is_word(v, "false")))
	{
		out->type = jbvBool;
		out->val.boolean = is_word(v, "true");
		return true;
	}
	if ((v->type == jbvNumeric || v->type == jbvBool) && (s->types & TYPE_STRING))
	{
		initStringInfo(&text);
		cdp_value_text(v, &text);
		out->type = jbvString;
		out->val.string.val = text.data;
		out->val.string.len = text.len;
		return true;
	}
	return false;
}

static bool
equals(const JsonbValue *a, const JsonbValue *b)
{
	return cdp_value_is_scalar(b) ? cdp_value_same(a, b) : cdp_value_equal_documents(a, b);
}

static void
check_bounds(Checking *c, const CdpSchema *s, Numeric number)
{
	for (int i = 0; i < (int) lengthof(bound_names); i++)
	{
		int cmp;
		bool fits = true;

		if (s->bounds[i] == NULL)
			continue;
		cmp = DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(number),
												NumericGetDatum(s->bounds[i])));
		switch ((Bound) i)
		{
			case BOUND_MINIMUM:
				fits = cmp >= 0;
				break;
			case BOUND_MAXIMUM:
				fits = cmp <= 0;
				break;
			case BOUND_EXCLUSIVE_MINIMUM:
				fits = cmp > 0;
				break;
			case BOUND_EXCLUSIVE_MAXIMUM:
				fits = cmp < 0;
				break;
		}
		if (!fits)
			fault(c, s->path, bound_names[i]);
	}
}

/* "0000-00-00": digits where the form has some, else the same character. */
static bool
has_form(const char *s, int len, const char *form)
{
	int n = (int) strlen(form);

	if (len < n)
		return false;
	for (int i = 0; i < n; i++)
		if (form[i] == '0' ? s[i] < '0' || s[i] > '9' : s[i] != form[i])
			return false;
	return true;
}

static int
two_digits(const char *s)
{
	return (s[0] - '0') * 10 + (s[1] - '0');
}

/* RFC 3339, full-date */
static bool
is_date(const char *s, int len)
{
	int32_t days;
	const char *reason;

	return len == 10 && has_form(s, len, "0000-00-00") &&
		   cdp_core_parse_date(s, len, &days, &reason);
}

/* RFC 3339, date-time */
static bool
is_date_time(const char *s, int len)
{
	int i = 19;

	if (len < 20 || !is_date(s, 10) || (s[10] != 'T' && s[10] != 't') ||
		!has_form(s + 11, len - 11, "00:00:00") || two_digits(s + 11) > 23 ||
		two_digits(s + 14) > 59 || two_digits(s + 17) > 60)
		return false;
	if (s[i] == '.')
	{
		i++;
		if (i == len || s[i] < '0' || s[i] > '9')
			return false;
		while (i < len && s[i] >= '0' && s[i] <= '9')
			i++;
	}
	if (len - i == 1)
		return s[i] == 'Z' || s[i] == 'z';
	return len - i == 6 && (s[i] == '+' || s[i] == '-') && has_form(s + i + 1, 5, "00:00") &&
		   two_digits(s + i + 1) <= 23 && two_digits(s + i + 4) <= 59;
}

static bool
is_blank_or_control(char c)
{
	return (unsigned char) c <= ' ' || c == 0x7F;
}

/* One @, something before it, a domain with a dot in it after it. */
static bool
is_email(const char *s, int len)
{
	const char *at = memchr(s, '@', len);
	int domain;

	if (at == NULL || at == s || at - s > 64)
		return false;
	for (int i = 0; i < len; i++)
		if (is_blank_or_control(s[i]))
			return false;
	domain = len - (int) (at - s) - 1;
	at++;
	return domain >= 1 && domain <= 255 && memchr(at, '@', domain) == NULL &&
		   memchr(at, '.', domain) != NULL && at[0] != '.' && at[domain - 1] != '.';
}

/* RFC 3986: a scheme, a colon, and no character that must be escaped. */
static bool
is_uri(const char *s, int len)
{
	int i = 0;

	while (i < len && ((s[i] | 0x20) >= 'a' && (s[i] | 0x20) <= 'z'))
		i++;
	if (i == 0)
		return false;
	while (i < len && (((s[i] | 0x20) >= 'a' && (s[i] | 0x20) <= 'z') ||
					   (s[i] >= '0' && s[i] <= '9') || strchr("+-.", s[i]) != NULL))
		i++;
	if (i + 1 >= len || s[i] != ':')
		return false;
	for (i++; i < len; i++)
		if (is_blank_or_control(s[i]) || ((unsigned char) s[i]) >= 0x80 ||
			strchr("<>\"{}|\\^`", s[i]) != NULL)
			return false;
	return true;
}

static bool
is_uuid(const char *s, int len)
{
	for (int i = 0; i < len; i++)
	{
		bool hyphen = i == 8 || i == 13 || i == 18 || i == 23;

		if (hyphen ? s[i] != '-' : !isxdigit((unsigned char) s[i]))
			return false;
	}
	return len == 36;
}

static bool
has_format(Format format, const char *s, int len)
{
	switch (format)
	{
		case FORMAT_NONE:
			return true;
		case FORMAT_DATE_TIME:
			return is_date_time(s, len);
		case FORMAT_DATE:
			return is_date(s, len);
		case FORMAT_EMAIL:
			return is_email(s, len);
		case FORMAT_URI:
			return is_uri(s, len);
		case FORMAT_UUID:
			return is_uuid(s, len);
	}
	return false;
}

static void
check_text(Checking *c, const CdpSchema *s, const JsonbValue *v)
{
	StringInfoData text = {.data = v->val.string.val, .len = v->val.string.len};

	if (s->min_length >= 0 || s->max_length >= 0)
	{
		int length = pg_mbstrlen_with_len(text.data, text.len);

		if (length < s->min_length)
			fault(c, s->path, "minLength");
		if (s->max_length >= 0 && length > s->max_length)
			fault(c, s->path, "maxLength");
	}
	if (s->has_pattern && !cdp_pattern_matches(s->pattern, &text))
		fault(c, s->path, "pattern");
	if (!has_format(s->format, text.data, text.len))
		fault(c, s->path, "format");
}

/* The schema of a member of an object; NULL: anything goes. */
static const CdpSchema *
schema_of_member(const CdpSchema *s, const JsonbValue *key, bool *named)
{
	const Property *p = property_of(s, key->val.string.val, key->val.string.len);

	/* one that is only required is as free as the others */
	*named = p != NULL && p->schema != NULL;
	return *named ? p->schema : s->others;
}

static void
check(Checking *c, const CdpSchema *s, const JsonbValue *v)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue converted;
	JsonbValue item;
	bool found = s->nchoices < 0;

	if (s->never)
	{
		fault(c, s->path, "false");
		return;
	}
	if (s->types != 0 && !has_type(s, v))
	{
		if (!c->convert || !convert(s, v, &converted))
		{
			fault(c, s->path, "type");
			return;
		}
		c->changed = true;
		v = &converted;
	}
	for (int i = 0; i < s->nchoices && !found; i++)
		found = equals(v, &s->choices[i]);
	if (!found)
		fault(c, s->path, "enum");
	if (s->has_constant && !equals(v, &s->constant))
		fault(c, s->path, "const");
	if (v->type == jbvNumeric)
		check_bounds(c, s, v->val.numeric);
	else if (v->type == jbvString)
		check_text(c, s, v);
	else if (cdp_value_is_array(v) && s->items)
	{
		it = JsonbIteratorInit(v->val.binary.data);
		while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
			if (token == WJB_ELEM)
				check(c, s->items, &item);
	}
	else if (cdp_value_is_object(v))
	{
		for (int i = 0; i < s->nproperties; i++)
		{
			const Property *p = &s->properties[i];

			if (getKeyJsonValueFromContainer(v->val.binary.data, p->name, p->len, &item) == NULL)
			{
				if (p->required)
					fault(c, p->path, "required");
			}
			else if (p->schema)
				check(c, p->schema, &item);
		}
		if (!s->closed && s->others == NULL)
			return;
		it = JsonbIteratorInit(v->val.binary.data);
		while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
		{
			bool named;

			if (token != WJB_KEY)
				continue;
			(void) schema_of_member(s, &item, &named);
			(void) JsonbIteratorNext(&it, &converted, true);
			if (named)
				continue;
			if (s->closed)
				fault(c, s->others_path, "additionalProperties");
			else
				check(c, s->others, &converted);
		}
	}
}

/* Pushes a value with its conversions. */
static JsonbValue *
push_converted(JsonbParseState **state, JsonbIteratorToken as, const CdpSchema *s, JsonbValue *v)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue item;
	bool array = cdp_value_is_array(v);

	if (s == NULL || s->never)
		return pushJsonbValue(state, as, v);
	if (s->types != 0 && !has_type(s, v))
		return pushJsonbValue(state, as, convert(s, v, &item) ? &item : v);
	if (cdp_value_is_scalar(v))
		return pushJsonbValue(state, as, v);
	(void) pushJsonbValue(state, array ? WJB_BEGIN_ARRAY : WJB_BEGIN_OBJECT, NULL);
	it = JsonbIteratorInit(v->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
	{
		const CdpSchema *member;
		bool named;

		if (token == WJB_ELEM)
			(void) push_converted(state, WJB_ELEM, s->items, &item);
		if (token != WJB_KEY)
			continue;
		member = schema_of_member(s, &item, &named);
		(void) pushJsonbValue(state, WJB_KEY, &item);
		(void) JsonbIteratorNext(&it, &item, true);
		(void) push_converted(state, WJB_VALUE, member, &item);
	}
	return pushJsonbValue(state, array ? WJB_END_ARRAY : WJB_END_OBJECT, NULL);
}

List *
cdp_schema_check(const CdpSchema *schema, Jsonb *document, Jsonb **converted)
{
	Checking c = {.convert = converted != NULL};
	JsonbParseState *state = NULL;
	JsonbValue v;

	cdp_value_of_root(document, &v);
	check(&c, schema, &v);
	if (converted)
		*converted = c.changed && v.type == jbvBinary ?
						 JsonbValueToJsonb(push_converted(&state, WJB_VALUE, schema, &v)) :
						 NULL;
	return c.faults;
}
