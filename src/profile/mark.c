/*
 * src/profile/mark.c
 *		Marks of trait_meta: the message that a value came from.
 *
 * "<event time, microseconds> <message key, hex> <source>"; of a trait that
 * keeps a tally of values (survive.h), an object: {"values": {text: "times
 * mark"}}, or {"many": "<the one given most often>"} when there are too many to
 * be kept: see tally.c.
 */
#include "postgres.h"

#include "compat.h"
#include "profile/survive.h"

static void
hex_key(const uint8 *key, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (int i = 0; i < 16; i++)
	{
		out[2 * i] = digits[key[i] >> 4];
		out[2 * i + 1] = digits[key[i] & 15];
	}
	out[32] = '\0';
}

/* Reads a mark of trait_meta; see the head of the file. */
bool
cdp_mark_parse(const char *mark, int len, TimestampTz *ts, uint8 *key, char **source)
{
	char *copy = pnstrdup(mark, len);
	char *end;

	*ts = strtoll(copy, &end, 10);
	if (end == copy || *end != ' ' || strlen(end) < 34)
		return false;
	end++;
	for (int i = 0; i < 32; i++)
	{
		char c = end[i];
		int v = c >= '0' && c <= '9' ? c - '0' :
				c >= 'a' && c <= 'f' ? c - 'a' + 10 :
									   -1;

		if (v < 0)
			return false;
		key[i / 2] = i % 2 ? key[i / 2] | v : v << 4;
	}
	if (end[32] != ' ')
		return false;
	*source = end + 33;
	return true;
}

char *
cdp_mark_text(const CdpTally *t)
{
	char hex[33];

	hex_key(t->key, hex);
	return psprintf(INT64_FORMAT " %s %s", t->ts, hex, t->source);
}

void
cdp_mark_damaged(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("mark of trait \"%s\" is damaged", name),
			 errhint("See cdp.verify() and cdp.rebuild().")));
}

/* The value given most often of a trait whose tallies are in a table; NULL: they are not. */
const char *
cdp_mark_many(const JsonbValue *state)
{
	JsonbValue place;
	JsonbValue *value;

	if (state == NULL || state->type != jbvBinary ||
		!JsonContainerIsObject(state->val.binary.data))
		return NULL;
	value = getKeyJsonValueFromContainer(state->val.binary.data, "many", 4, &place);
	return value && value->type == jbvString ?
			   pnstrdup(value->val.string.val, value->val.string.len) :
			   NULL;
}

/* Reads the tallies of a trait, if it says them. */
bool
cdp_mark_tallies(const JsonbValue *state, CdpTallies *t)
{
	JsonbValue place;
	JsonbValue *values;
	JsonbIterator *it;
	JsonbValue text;
	JsonbValue mark;

	if (state->type != jbvBinary || !JsonContainerIsObject(state->val.binary.data))
		return false;
	values = getKeyJsonValueFromContainer(state->val.binary.data, "values", 6, &place);
	if (values == NULL || values->type != jbvBinary)
		return false;
	it = JsonbIteratorInit(values->val.binary.data);
	(void) JsonbIteratorNext(&it, &text, true);
	while (JsonbIteratorNext(&it, &text, true) == WJB_KEY)
	{
		CdpTally one = {0};
		char *source;
		char *copy;
		char *end;

		(void) JsonbIteratorNext(&it, &mark, true);
		if (mark.type != jbvString)
			return false;
		copy = pnstrdup(mark.val.string.val, mark.val.string.len);
		one.times = strtoll(copy, &end, 10);
		if (*end != ' ' || one.times <= 0 ||
			!cdp_mark_parse(end + 1, (int) strlen(end + 1), &one.ts, one.key, &source))
			return false;
		one.text = pnstrdup(text.val.string.val, text.val.string.len);
		one.source = source;
		cdp_survive_add(t, &one);
	}
	return true;
}
