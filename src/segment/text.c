/*
 * src/segment/text.c
 *		cdp.rule_text(): a rule in words.
 *
 * Words of a language are patterns in which %f stands for the field and %v for
 * the value.  They are UTF-8 here, and brought to the database's encoding.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "compat.h"
#include "condition/condition.h"
#include "core/window.h"

PG_FUNCTION_INFO_V1(cdp_rule_text);

enum
{
	ENGLISH,
	JAPANESE,
	LANGUAGES
};

static const char *const languages[LANGUAGES] = {"en", "ja"};

/* An operator in words; %v is its value, or what it holds as words. */
typedef struct Wording
{
	const char *op;
	const char *words[LANGUAGES];
} Wording;

static const Wording wordings[] = {
	{"$eq", {"%f is %v", "%fが%v"}},
	{"$ne", {"%f is not %v", "%fが%vではない"}},
	{"$lt", {"%f is less than %v", "%fが%vより小さい"}},
	{"$lte", {"%f is at most %v", "%fが%v以下"}},
	{"$gt", {"%f is more than %v", "%fが%vより大きい"}},
	{"$gte", {"%f is at least %v", "%fが%v以上"}},
	{"$veq", {"%f is version %v", "%fがバージョン%v"}},
	{"$vne", {"%f is not version %v", "%fがバージョン%vではない"}},
	{"$vlt", {"%f is a version before %v", "%fがバージョン%vより前"}},
	{"$vlte", {"%f is version %v or before", "%fがバージョン%v以前"}},
	{"$vgt", {"%f is a version after %v", "%fがバージョン%vより後"}},
	{"$vgte", {"%f is version %v or after", "%fがバージョン%v以降"}},
	{"$in", {"%f is one of %v", "%fが%vのいずれか"}},
	{"$nin", {"%f is none of %v", "%fが%vのいずれでもない"}},
	{"$ini", {"%f is one of %v in any case", "%fが大文字小文字を問わず%vのいずれか"}},
	{"$nini", {"%f is none of %v in any case", "%fが大文字小文字を問わず%vのいずれでもない"}},
	{"$inGroup", {"is in segment %v", "セグメント%vに属する"}},
	{"$notInGroup", {"is not in segment %v", "セグメント%vに属さない"}},
	{"$all", {"%f has all of %v", "%fに%vがすべて含まれる"}},
	{"$alli", {"%f has all of %v in any case", "%fに大文字小文字を問わず%vがすべて含まれる"}},
	{"$regex", {"%f matches the pattern %v", "%fがパターン%vに一致する"}},
	{"$regexi", {"%f matches the pattern %v in any case", "%fが大文字小文字を問わずパターン%vに一致する"}},
	{"$type", {"%f is of type %v", "%fの型が%v"}},
	{"$within", {"%f is within the last %v", "%fが過去%v以内"}},
};

/* Other words. */
typedef enum Word
{
	AND,
	OR,
	NOT,
	KNOWN,
	UNKNOWN,
	ELEMENT,
	THE_ELEMENT,
	SIZE,
	EVERYBODY,
	NOBODY,
	NEITHER,
	OPEN_QUOTE,
	CLOSE_QUOTE,
	COMMA,
	YES,
	NO,
	NOTHING
} Word;

static const char *const words[][LANGUAGES] = {
	[AND] = {" and ", "、かつ"},
	[OR] = {" or ", "、または"},
	[NOT] = {"not (%v)", "「%v」ではない"},
	[KNOWN] = {"%f is known", "%fがある"},
	[UNKNOWN] = {"%f is not known", "%fがない"},
	[ELEMENT] = {"%f has an element for which %v", "%fに「%v」を満たす要素がある"},
	[THE_ELEMENT] = {"it", "それ"},
	[SIZE] = {"the number of elements of %f", "%fの要素数"},
	[EVERYBODY] = {"everybody", "全員"},
	[NOBODY] = {"nobody", "該当なし"},
	[NEITHER] = {"none of these: %v", "次のいずれでもない: %v"},
	[OPEN_QUOTE] = {"\"", "「"},
	[CLOSE_QUOTE] = {"\"", "」"},
	[COMMA] = {", ", "、"},
	[YES] = {"true", "真"},
	[NO] = {"false", "偽"},
	[NOTHING] = {"null", "空"},
};

static const struct
{
	const char *unit;
	const char *japanese;
} units[] = {
	{"second", "秒"},
	{"minute", "分"},
	{"hour", "時間"},
	{"day", "日"},
	{"week", "週間"},
	{"month", "か月"},
	{"year", "年"},
};

/* A part in words; compound: it wants parentheses beside another word. */
typedef struct Said
{
	char *text;
	bool compound;
} Said;

static Said say_condition(const JsonbValue *rule, int lang);
static Said say_test(const char *field, const JsonbValue *test, int lang);

static const char *
in_encoding(const char *utf8)
{
	return pg_any_to_server(utf8, (int) strlen(utf8), PG_UTF8);
}

static const char *
word(Word w, int lang)
{
	return in_encoding(words[w][lang]);
}

/* The pattern with the field and the value put in. */
static char *
fill(const char *pattern, const char *field, const char *value)
{
	StringInfoData out;

	initStringInfo(&out);
	for (const char *p = pattern; *p; p++)
	{
		if (p[0] == '%' && (p[1] == 'f' || p[1] == 'v'))
			appendStringInfoString(&out, *++p == 'f' ? field : value);
		else
			appendStringInfoChar(&out, *p);
	}
	return out.data;
}

static char *
say_value(const JsonbValue *v, int lang)
{
	StringInfoData out;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue item;
	bool first = true;

	switch (v->type)
	{
		case jbvNull:
			return pstrdup(word(NOTHING, lang));
		case jbvBool:
			return pstrdup(word(v->val.boolean ? YES : NO, lang));
		case jbvNumeric:
			return DatumGetCString(
				DirectFunctionCall1(numeric_out, NumericGetDatum(v->val.numeric)));
		case jbvString:
			return psprintf("%s%.*s%s", word(OPEN_QUOTE, lang), v->val.string.len,
							v->val.string.val, word(CLOSE_QUOTE, lang));
		default:
			break;
	}
	if (JsonContainerIsObject(v->val.binary.data))
		return JsonbToCString(NULL, v->val.binary.data, v->val.binary.len);
	initStringInfo(&out);
	it = JsonbIteratorInit(v->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
		if (token == WJB_ELEM)
		{
			appendStringInfo(&out, "%s%s", first ? "" : word(COMMA, lang), say_value(&item, lang));
			first = false;
		}
	return out.data;
}

/* "7 days", in Japanese with its units. */
static char *
say_period(const JsonbValue *v, int lang)
{
	char *text = pnstrdup(v->val.string.val, v->val.string.len);
	StringInfoData out;

	if (lang != JAPANESE)
		return text;
	initStringInfo(&out);
	for (char *p = text; *p;)
	{
		int used = 0;

		for (int u = 0; u < (int) lengthof(units) && used == 0; u++)
			if (pg_strncasecmp(p, units[u].unit, strlen(units[u].unit)) == 0)
			{
				appendStringInfoString(&out, in_encoding(units[u].japanese));
				used = (int) strlen(units[u].unit);
				used += p[used] == 's' || p[used] == 'S';
			}
		if (used == 0 && *p != ' ')
			appendStringInfoChar(&out, *p);
		p += Max(used, 1);
	}
	return out.data;
}

/* Several parts with a word between them. */
static Said
connect(List *parts, Word between, int lang)
{
	StringInfoData out;
	ListCell *lc;

	if (list_length(parts) == 1)
		return *(Said *) linitial(parts);
	initStringInfo(&out);
	foreach(lc, parts)
	{
		const Said *said = lfirst(lc);

		appendStringInfo(&out, "%s%s%s%s", out.len > 0 ? word(between, lang) : "",
						 said->compound ? "(" : "", said->text, said->compound ? ")" : "");
	}
	return (Said){out.data, true};
}

static List *
add(List *parts, Said said)
{
	Said *copy = palloc(sizeof(Said));

	*copy = said;
	return lappend(parts, copy);
}

static bool
is_operators(const JsonbValue *v)
{
	JsonbIterator *it;
	JsonbValue key;
	bool all = false;

	if (v->type != jbvBinary || !JsonContainerIsObject(v->val.binary.data))
		return false;
	it = JsonbIteratorInit(v->val.binary.data);
	(void) JsonbIteratorNext(&it, &key, true);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		JsonbValue ignored;

		all = true;
		if (key.val.string.len == 0 || key.val.string.val[0] != '$')
			return false;
		(void) JsonbIteratorNext(&it, &ignored, true);
	}
	return all;
}

static Said
say_operator(const char *field, const char *op, const JsonbValue *v, int lang)
{
	Said inner;

	for (int i = 0; i < (int) lengthof(wordings); i++)
		if (strcmp(wordings[i].op, op) == 0)
			return (Said){fill(in_encoding(wordings[i].words[lang]), field,
							   strcmp(op, "$within") == 0 && v->type == jbvString ?
								   say_period(v, lang) :
								   say_value(v, lang)),
						  false};
	if (strcmp(op, "$exists") == 0)
		return (Said){fill(word(v->type == jbvBool && !v->val.boolean ? UNKNOWN : KNOWN, lang),
						   field, ""),
					  false};
	if (strcmp(op, "$not") == 0)
		return (Said){fill(word(NOT, lang), "", say_test(field, v, lang).text), false};
	if (strcmp(op, "$size") == 0)
		return say_test(fill(word(SIZE, lang), field, ""), v, lang);
	if (strcmp(op, "$elemMatch") == 0)
	{
		inner = is_operators(v) ? say_test(word(THE_ELEMENT, lang), v, lang) :
								  say_condition(v, lang);
		return (Said){fill(word(ELEMENT, lang), field, inner.text), true};
	}
	return (Said){psprintf("%s %s %s", field, op, say_value(v, lang)), false};
}

static Said
say_test(const char *field, const JsonbValue *test, int lang)
{
	JsonbIterator *it;
	JsonbValue key;
	List *parts = NIL;

	check_stack_depth();
	if (!is_operators(test))
		return (Said){fill(in_encoding(wordings[0].words[lang]), field, say_value(test, lang)),
					  false};
	it = JsonbIteratorInit(test->val.binary.data);
	(void) JsonbIteratorNext(&it, &key, true);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		JsonbValue v;

		(void) JsonbIteratorNext(&it, &v, true);
		parts = add(parts, say_operator(field, pnstrdup(key.val.string.val, key.val.string.len),
										&v, lang));
	}
	return connect(parts, AND, lang);
}

/* The conditions of a list. */
static Said
say_list(const JsonbValue *list, Word between, int lang)
{
	JsonbIterator *it = JsonbIteratorInit(list->val.binary.data);
	JsonbIteratorToken token;
	JsonbValue item;
	List *parts = NIL;

	while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
		if (token == WJB_ELEM)
			parts = add(parts, say_condition(&item, lang));
	/* nothing to be met is met */
	return parts ? connect(parts, between, lang) : (Said){pstrdup(word(EVERYBODY, lang)), false};
}

static Said
say_condition(const JsonbValue *rule, int lang)
{
	JsonbIterator *it = JsonbIteratorInit(rule->val.binary.data);
	JsonbValue key;
	List *parts = NIL;

	check_stack_depth();
	(void) JsonbIteratorNext(&it, &key, true);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		char *name = pnstrdup(key.val.string.val, key.val.string.len);
		JsonbValue v;

		(void) JsonbIteratorNext(&it, &v, true);
		if (strcmp(name, "$and") == 0)
			parts = add(parts, say_list(&v, AND, lang));
		else if (strcmp(name, "$or") == 0)
			parts = add(parts, say_list(&v, OR, lang));
		else if (strcmp(name, "$nor") == 0)
			parts = add(parts, JsonContainerSize(v.val.binary.data) == 0 ?
								   (Said){pstrdup(word(NOBODY, lang)), false} :
								   (Said){fill(word(NEITHER, lang), "",
											   say_list(&v, OR, lang).text),
										  true});
		else if (strcmp(name, "$not") == 0)
			parts = add(parts,
						(Said){fill(word(NOT, lang), "", say_condition(&v, lang).text), false});
		else
			parts = add(parts, say_test(name, &v, lang));
	}
	return parts ? connect(parts, AND, lang) : (Said){pstrdup(word(EVERYBODY, lang)), false};
}

/* cdp.rule_text(rule, lang) */
Datum
cdp_rule_text(PG_FUNCTION_ARGS)
{
	Jsonb *rule = PG_GETARG_JSONB_P(0);
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(1));
	JsonbValue root = {.type = jbvBinary};
	int lang = 0;

	while (lang < LANGUAGES && strcmp(languages[lang], name) != 0)
		lang++;
	if (lang == LANGUAGES)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("language \"%s\" is not spoken", name),
				 errhint("Languages are en and ja.")));
	/* raises on what is no rule */
	(void) cdp_condition_compile_timed(rule);
	root.val.binary.data = &rule->root;
	root.val.binary.len = VARSIZE(rule) - VARHDRSZ;
	PG_RETURN_TEXT_P(cstring_to_text(say_condition(&root, lang).text));
}
