/*
 * src/condition/value.c
 *		Values as the condition language converts and compares them.
 *
 * The language was born in JavaScript, and a rule means the same here as
 * there: "5" is greater than 3, what is missing is null and counts as 0, and
 * an array is the text of its elements with commas between.  The conversions
 * are those of ECMA-262, section 7.1 (ToBoolean, ToNumber, ToString), with one
 * exception: numbers are decimals of any length, so long ids stay themselves.
 *
 * Text is compared by code point, without a locale.
 */
#include "postgres.h"

#include <math.h>

#include "common/shortest_dec.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "compat.h"
#include "condition/value.h"
#include "core/text.h"
#include "core/utf8.h"

/* What an object is as text. */
#define OBJECT_TEXT "[object Object]"

/* The whole document as a value. */
void
cdp_value_of_root(Jsonb *document, JsonbValue *v)
{
	if (JB_ROOT_IS_SCALAR(document))
	{
		(void) JsonbExtractScalar(&document->root, v);
		return;
	}
	v->type = jbvBinary;
	v->val.binary.data = &document->root;
	v->val.binary.len = VARSIZE(document) - VARHDRSZ;
}

bool
cdp_value_is_array(const JsonbValue *v)
{
	return v->type == jbvBinary && JsonContainerIsArray(v->val.binary.data);
}

bool
cdp_value_is_object(const JsonbValue *v)
{
	return v->type == jbvBinary && JsonContainerIsObject(v->val.binary.data);
}

bool
cdp_value_is_scalar(const JsonbValue *v)
{
	return v->type != jbvBinary;
}

static double
to_double(Numeric number)
{
	return DatumGetFloat8(
		DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(number)));
}

bool
cdp_value_truth(const JsonbValue *v)
{
	switch (v->type)
	{
		case jbvNull:
			return false;
		case jbvBool:
			return v->val.boolean;
		case jbvString:
			return v->val.string.len > 0;
		case jbvNumeric:
			return to_double(v->val.numeric) != 0;
		default:
			return true;
	}
}

/*
 * A number is written out, without zeros at its end; from 1e21 up and below
 * 1e-6 with an exponent.
 */
static void
append_number(StringInfo out, Numeric number)
{
	char *text = numeric_normalize(number);
	const char *digits = text[0] == '-' ? text + 1 : text;
	char shortest[DOUBLE_SHORTEST_DECIMAL_LEN];
	char *e;

	if (strcspn(digits, ".") <= 21 && strncmp(digits, "0.000000", 8) != 0)
	{
		appendStringInfoString(out, text);
		return;
	}
	double_to_shortest_decimal_buf(to_double(number), shortest);
	/* the server writes 1e-07 where the language says 1e-7 */
	e = strchr(shortest, 'e');
	if (e && e[2] == '0')
		memmove(e + 2, e + 3, strlen(e + 3) + 1);
	appendStringInfoString(out, shortest);
}

/*
 * Appends the elements of an array, those of arrays in it likewise, with
 * commas between.  Not recursive: how deep a document is must not matter.
 */
static void
append_array(StringInfo out, JsonbContainer *array)
{
	JsonbIterator *it = JsonbIteratorInit(array);
	JsonbIteratorToken token;
	JsonbValue item;
	bool first = true;
	int objects = 0; /* that we are in */

	(void) JsonbIteratorNext(&it, &item, false);
	while ((token = JsonbIteratorNext(&it, &item, false)) != WJB_DONE)
	{
		objects += (token == WJB_BEGIN_OBJECT) - (token == WJB_END_OBJECT);
		if (objects > 1 || (objects == 1 && token != WJB_BEGIN_OBJECT))
			continue;
		if (token != WJB_END_ARRAY && token != WJB_END_OBJECT && !first)
			appendStringInfoChar(out, ',');
		first = token == WJB_BEGIN_ARRAY;
		if (token == WJB_BEGIN_OBJECT)
			appendStringInfoString(out, OBJECT_TEXT);
		else if (token == WJB_ELEM && item.type != jbvNull)
			cdp_value_text(&item, out);
	}
}

/* Appends the value as text. */
void
cdp_value_text(const JsonbValue *v, StringInfo out)
{
	switch (v->type)
	{
		case jbvNull:
			appendStringInfoString(out, "null");
			break;
		case jbvBool:
			appendStringInfoString(out, v->val.boolean ? "true" : "false");
			break;
		case jbvString:
			appendBinaryStringInfo(out, v->val.string.val, v->val.string.len);
			break;
		case jbvNumeric:
			append_number(out, v->val.numeric);
			break;
		default:
			if (cdp_value_is_array(v))
				append_array(out, v->val.binary.data);
			else
				appendStringInfoString(out, OBJECT_TEXT);
			break;
	}
}

/* Length of a blank at s, 0 if there is none. */
static size_t
blank_width(const char *s, size_t len)
{
	size_t width;
	int32 c = cdp_core_utf8_get(s, len, &width);

	if (c == ' ' || (c >= '\t' && c <= '\r') || c == 0xFEFF ||
		(c > 0x85 && cdp_core_is_wide_blank(c)))
		return width;
	return 0;
}

/* Number of a text that is digits of a base, as 0x1F; false if there are others. */
static bool
parse_base(const char *s, size_t len, int base, double *number)
{
	*number = 0;
	for (size_t i = 0; i < len; i++)
	{
		int digit = s[i] >= '0' && s[i] <= '9'					 ? s[i] - '0' :
					(s[i] | 0x20) >= 'a' && (s[i] | 0x20) <= 'f' ? (s[i] | 0x20) - 'a' + 10 :
																   99;

		if (digit >= base)
			return false;
		*number = *number * base + digit;
	}
	return len > 0;
}

/* Number of a text; false: it is none. */
static bool
parse_number(const char *s, size_t len, double *number)
{
	size_t width;
	size_t i = 0;
	size_t digits = 0;
	char *copy;

	while (len > 0 && (width = blank_width(s, len)) > 0)
		s += width, len -= width;
	for (size_t back = 1; back <= 3 && back <= len; back++)
	{
		if (((unsigned char) s[len - back] & 0xC0) == 0x80)
			continue;
		if (blank_width(s + len - back, back) == back)
			len -= back, back = 0;
		else
			break;
	}
	*number = 0;
	if (len == 0)
		return true;
	if (len > 2 && s[0] == '0' && (s[1] | 0x20) == 'x')
		return parse_base(s + 2, len - 2, 16, number);
	if (len > 2 && s[0] == '0' && (s[1] | 0x20) == 'o')
		return parse_base(s + 2, len - 2, 8, number);
	if (len > 2 && s[0] == '0' && (s[1] | 0x20) == 'b')
		return parse_base(s + 2, len - 2, 2, number);
	if (s[i] == '+' || s[i] == '-')
		i++;
	if (len - i == 8 && memcmp(s + i, "Infinity", 8) == 0)
	{
		*number = s[0] == '-' ? -INFINITY : INFINITY;
		return true;
	}
	for (; i < len && s[i] >= '0' && s[i] <= '9'; i++)
		digits++;
	if (i < len && s[i] == '.')
		for (i++; i < len && s[i] >= '0' && s[i] <= '9'; i++)
			digits++;
	if (digits == 0)
		return false;
	if (i < len && (s[i] | 0x20) == 'e')
	{
		i++;
		if (i < len && (s[i] == '+' || s[i] == '-'))
			i++;
		if (i == len)
			return false;
		while (i < len && s[i] >= '0' && s[i] <= '9')
			i++;
	}
	if (i < len)
		return false;
	copy = pnstrdup(s, len);
	*number = strtod(copy, NULL);
	pfree(copy);
	return true;
}

/* The value as a number; false: it is none, and compares with nothing. */
bool
cdp_value_number(const JsonbValue *v, double *number)
{
	StringInfoData text;

	switch (v->type)
	{
		case jbvNull:
			*number = 0;
			return true;
		case jbvBool:
			*number = v->val.boolean ? 1 : 0;
			return true;
		case jbvNumeric:
			*number = to_double(v->val.numeric);
			return true;
		case jbvString:
			return parse_number(v->val.string.val, v->val.string.len, number);
		default:
			initStringInfo(&text);
			cdp_value_text(v, &text);
			return parse_number(text.data, text.len, number);
	}
}

/* Lower case, in place: Latin, Greek, Cyrillic; ASCII if the encoding is not UTF-8. */
void
cdp_value_fold(StringInfo text)
{
	if (GetDatabaseEncoding() == PG_UTF8)
		text->len = (int) cdp_core_utf8_lower(text->data, text->len);
	else
		for (int i = 0; i < text->len; i++)
			text->data[i] = (char) pg_ascii_tolower((unsigned char) text->data[i]);
	text->data[text->len] = '\0';
}

/* Same kind and same value; an array or object is the same as nothing. */
bool
cdp_value_same(const JsonbValue *a, const JsonbValue *b)
{
	if (a->type != b->type)
		return false;
	switch (a->type)
	{
		case jbvNull:
			return true;
		case jbvBool:
			return a->val.boolean == b->val.boolean;
		case jbvString:
			return a->val.string.len == b->val.string.len &&
				   memcmp(a->val.string.val, b->val.string.val, a->val.string.len) == 0;
		case jbvNumeric:
			return DatumGetBool(DirectFunctionCall2(numeric_eq, NumericGetDatum(a->val.numeric),
													NumericGetDatum(b->val.numeric)));
		default:
			return false;
	}
}

/* Equal all the way down; b is an array or object. */
bool
cdp_value_equal_documents(const JsonbValue *a, const JsonbValue *b)
{
	return a->type == jbvBinary && b->type == jbvBinary &&
		   compareJsonbContainers(a->val.binary.data, b->val.binary.data) == 0;
}

int
cdp_value_compare_bytes(const char *a, int alen, const char *b, int blen)
{
	int cmp = memcmp(a, b, Min(alen, blen));

	return cmp != 0 ? cmp : (alen > blen) - (alen < blen);
}

/*
 * Which is greater: text by code point if both are text, else as numbers.
 * False: one of them is no number, so neither is.
 */
bool
cdp_value_compare(const JsonbValue *a, const JsonbValue *b, int *cmp)
{
	JsonbValue plain[2];
	double x;
	double y;

	if (a->type == jbvNumeric && b->type == jbvNumeric)
	{
		*cmp = DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(a->val.numeric),
												 NumericGetDatum(b->val.numeric)));
		return true;
	}
	/* arrays and objects are compared as text */
	plain[0] = *a;
	plain[1] = *b;
	for (int i = 0; i < 2; i++)
	{
		StringInfoData text;

		if (plain[i].type != jbvBinary)
			continue;
		initStringInfo(&text);
		cdp_value_text(&plain[i], &text);
		plain[i].type = jbvString;
		plain[i].val.string.val = text.data;
		plain[i].val.string.len = text.len;
	}
	if (plain[0].type == jbvString && plain[1].type == jbvString)
	{
		*cmp = cdp_value_compare_bytes(plain[0].val.string.val, plain[0].val.string.len,
									   plain[1].val.string.val, plain[1].val.string.len);
		return true;
	}
	if (!cdp_value_number(&plain[0], &x) || !cdp_value_number(&plain[1], &y))
		return false;
	*cmp = (x > y) - (x < y);
	return true;
}

/* Numbers of a version are padded to so many places. */
#define VERSION_PLACES 20

/*
 * A version as text that sorts as versions do: "v1.12.0-rc.1+build" has the
 * parts 1, 12, 0, rc and 1, numbers are padded so that 9 comes before 10, and
 * three parts alone get one more that comes after every pre-release.  What is
 * neither text nor a number is version 0.
 */
void
cdp_value_version(const JsonbValue *v, StringInfo out)
{
	StringInfoData text;
	const char *s;
	const char *end;
	int parts = 0;

	initStringInfo(&text);
	if ((v->type == jbvString || v->type == jbvNumeric) && cdp_value_truth(v))
		cdp_value_text(v, &text);
	else
		appendStringInfoChar(&text, '0');
	s = text.data;
	end = s + text.len;
	if (s < end && *s == 'v')
		s++;
	for (const char *p = s; p < end; p++)
		if (*p == '+')
			end = p;
	for (;;)
	{
		const char *p = s;
		bool number = true;

		for (; p < end && *p != '-' && *p != '.'; p++)
			number = number && *p >= '0' && *p <= '9';
		number = number && p > s;
		if (parts++ > 0)
			appendStringInfoChar(out, '-');
		if (number && p - s < VERSION_PLACES)
			appendStringInfoSpaces(out, VERSION_PLACES - (int) (p - s));
		appendBinaryStringInfo(out, s, (int) (p - s));
		if (p >= end)
			break;
		s = p + 1;
	}
	if (parts == 3)
		appendStringInfoString(out, "-~");
	pfree(text.data);
}
