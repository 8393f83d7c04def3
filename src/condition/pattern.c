/*
 * src/condition/pattern.c
 *		Regular expressions of the condition language, on the server's engine.
 *
 * A pattern is written in the syntax of ECMA-262 (22.2.1 and annex B.1.2,
 * without flags).  It is read here and written anew as an advanced regular
 * expression of the server, in which the same letters often mean something
 * else (\b, \s, ".", \A, [[:x:]], (?i), ***).  Only what cannot be told apart
 * by whether a text matches is dropped: groups do not capture, quantifiers are
 * greedy.
 *
 * Time.  Without back-references the engine is an automaton that looks at each
 * character once, but a character may cost as much as the pattern is large,
 * and each look-around starts anew at each character.  So back-references and
 * look-arounds within look-arounds are refused, a pattern counts for what it
 * is with its repetitions written out, and text beyond a length matches
 * nothing.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "regex/regex.h"
#include "utils/memutils.h"

#include "compat.h"
#include "condition/pattern.h"
#include "condition/value.h"
#include "core/utf8.h"

#define MAX_PATTERN 500 /* characters as written */
#define MAX_EXPANDED 500 /* characters with repetitions written out */
#define MAX_REPEAT 255 /* the engine's own limit of {m,n} */
#define MAX_TEXT 32768 /* characters looked at */
#define MAX_TEXT_AROUND 1024 /* the same, if the pattern has a look-around */

#define MAX_CODE_POINT 0x10FFFF

struct CdpPattern
{
	regex_t re;
	bool around;
	MemoryContextCallback callback; /* the engine may have used malloc() */
};

typedef struct Reader
{
	const pg_wchar *in;
	int n;
	int pos;
	bool fold; /* what is written and what is read is in lower case */
	int groups; /* capturing groups of the whole pattern */
	bool named; /* one of them has a name */
	bool around; /* a look-around was seen */
	int inside; /* look-arounds we are in */
	bool invalid; /* it is no pattern: nothing matches it */
	const char *problem; /* it is one we do not run, and why */
	const char *hint;
	pg_wchar *out;
	int len;
	int room;
} Reader;

/* Characters from first to last. */
typedef struct Range
{
	pg_wchar first;
	pg_wchar last;
} Range;

typedef struct Set
{
	Range *ranges;
	int n;
	int room;
} Set;

static const Range digits[] = {{'0', '9'}};
static const Range word_characters[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
static const Range blanks[] = {
	{'\t', '\r'},
	{' ', ' '},
	{0xA0, 0xA0},
	{0x1680, 0x1680},
	{0x2000, 0x200A},
	{0x2028, 0x2029},
	{0x202F, 0x202F},
	{0x205F, 0x205F},
	{0x3000, 0x3000},
	{0xFEFF, 0xFEFF},
};
static const Range line_ends[] = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};

static int64 read_alternatives(Reader *r);

static void
put(Reader *r, pg_wchar c)
{
	if (r->len == r->room)
	{
		r->room = r->room * 2 + 64;
		r->out = r->out ? repalloc(r->out, sizeof(pg_wchar) * r->room) :
						  palloc(sizeof(pg_wchar) * r->room);
	}
	r->out[r->len++] = c;
}

static void
put_text(Reader *r, const char *s)
{
	for (; *s; s++)
		put(r, (unsigned char) *s);
}

static void
refuse(Reader *r, const char *problem, const char *hint)
{
	if (r->problem == NULL)
	{
		r->problem = problem;
		r->hint = hint;
	}
	r->invalid = true;
}

static pg_wchar
lower(pg_wchar c)
{
	char bytes[4];
	size_t width;
	StringInfoData text;
	int32 folded;

	if (c < 0x80)
		return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
	if (GetDatabaseEncoding() != PG_UTF8 || c > 0xFFFF || (c >= 0xD800 && c <= 0xDFFF))
		return c;
	text.data = palloc(8);
	text.len = (int) cdp_core_utf8_put(bytes, (int32) c);
	memcpy(text.data, bytes, text.len);
	cdp_value_fold(&text);
	folded = cdp_core_utf8_get(text.data, text.len, &width);
	pfree(text.data);
	return folded < 0 ? c : (pg_wchar) folded;
}

static bool
is_alnum(pg_wchar c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* One character that stands for itself. */
static void
put_literal(Reader *r, pg_wchar c)
{
	if (r->fold)
		c = lower(c);
	if (c == 0)
		put_text(r, "(?!)"); /* no text has one */
	else
	{
		if (c > ' ' && c < 0x7F && !is_alnum(c) && c != '_')
			put(r, '\\');
		put(r, c);
	}
}

static void
add_range(Set *set, pg_wchar first, pg_wchar last)
{
	if (first > last)
		return;
	if (set->n == set->room)
	{
		set->room = set->room * 2 + 8;
		set->ranges = set->ranges ? repalloc(set->ranges, sizeof(Range) * set->room) :
									palloc(sizeof(Range) * set->room);
	}
	set->ranges[set->n].first = first;
	set->ranges[set->n++].last = last;
}

static void
add_ranges(Set *set, const Range *ranges, int n, bool others)
{
	pg_wchar next = 1;

	for (int i = 0; i < n; i++)
	{
		if (!others)
			add_range(set, ranges[i].first, ranges[i].last);
		else
			add_range(set, next, ranges[i].first - 1);
		next = ranges[i].last + 1;
	}
	if (others)
		add_range(set, next, MAX_CODE_POINT);
}

/* \d \D \s \S \w \W; false: c names no class */
static bool
add_class(Set *set, pg_wchar c)
{
	switch (c)
	{
		case 'd':
		case 'D':
			add_ranges(set, digits, lengthof(digits), c == 'D');
			return true;
		case 's':
		case 'S':
			add_ranges(set, blanks, lengthof(blanks), c == 'S');
			return true;
		case 'w':
		case 'W':
			add_ranges(set, word_characters, lengthof(word_characters), c == 'W');
			return true;
		default:
			return false;
	}
}

/* A character within brackets, written so that it is nothing but that. */
static void
put_in_set(Reader *r, pg_wchar c)
{
	char escaped[16];

	if (is_alnum(c))
		put(r, c);
	else
	{
		snprintf(escaped, sizeof(escaped), c > 0xFFFF ? "\\U%08x" : "\\u%04x", c);
		put_text(r, escaped);
	}
}

static void
put_set(Reader *r, const Set *set, bool others)
{
	bool empty = true;

	for (int i = 0; i < set->n && empty; i++)
		empty = set->ranges[i].last == 0;
	if (empty)
	{
		put_text(r, others ? "." : "(?!)");
		return;
	}
	put_text(r, others ? "[^" : "[");
	for (int i = 0; i < set->n; i++)
	{
		Range range = set->ranges[i];

		if (range.last == 0)
			continue;
		range.first = Max(range.first, 1);
		put_in_set(r, range.first);
		if (range.last > range.first)
		{
			put(r, '-');
			put_in_set(r, range.last);
		}
	}
	put(r, ']');
}

/* Adds what the characters of the set are in lower case. */
static void
fold_set(Set *set)
{
	int n = set->n;

	for (int i = 0; i < n; i++)
	{
		Range range = set->ranges[i];

		if (range.first <= 'Z' && range.last >= 'A')
			add_range(set, lower(Max(range.first, 'A')), lower(Min(range.last, 'Z')));
		/* long ranges have both cases of what they hold */
		if (range.last < 0x80 || range.last - range.first > 1024)
			continue;
		for (pg_wchar c = range.first; c <= range.last; c++)
			if (lower(c) != c)
				add_range(set, lower(c), lower(c));
	}
}

static int
hex_digit(pg_wchar c)
{
	if (c >= '0' && c <= '9')
		return (int) c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? (int) c - 'a' + 10 : -1;
}

/* So many hexadecimal digits from here; false: there are less. */
static bool
read_hex(Reader *r, int count, pg_wchar *c)
{
	*c = 0;
	if (r->n - r->pos < count)
		return false;
	for (int i = 0; i < count; i++)
	{
		int digit = hex_digit(r->in[r->pos + i]);

		if (digit < 0)
			return false;
		*c = *c * 16 + (pg_wchar) digit;
	}
	r->pos += count;
	return true;
}

/* The character that an escape stands for; after the backslash. */
static pg_wchar
read_escape(Reader *r, bool in_set)
{
	pg_wchar c = r->in[r->pos++];
	pg_wchar code;

	switch (c)
	{
		case 'f':
			return '\f';
		case 'n':
			return '\n';
		case 'r':
			return '\r';
		case 't':
			return '\t';
		case 'v':
			return '\v';
		case 'x':
			return read_hex(r, 2, &code) ? code : c;
		case 'u':
			if (!read_hex(r, 4, &code))
				return c;
			if (code >= 0xD800 && code <= 0xDBFF && r->n - r->pos >= 6 &&
				r->in[r->pos] == '\\' && r->in[r->pos + 1] == 'u')
			{
				int start = r->pos;
				pg_wchar low;

				r->pos += 2;
				if (read_hex(r, 4, &low) && low >= 0xDC00 && low <= 0xDFFF)
					return 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
				r->pos = start;
			}
			return code;
		case 'c':
			if (r->pos < r->n && ((r->in[r->pos] | 0x20) >= 'a' && (r->in[r->pos] | 0x20) <= 'z'))
				return r->in[r->pos++] & 0x1F;
			r->pos--;
			return '\\';
		case 'b':
			return in_set ? '\b' : c;
		default:
			break;
	}
	if (c < '0' || c > '7')
		return c;
	/* octal, up to 0377 */
	code = c - '0';
	for (int i = 0; i < 2 && r->pos < r->n; i++)
	{
		pg_wchar next = r->in[r->pos];

		if (next < '0' || next > '7' || code * 8 + (next - '0') > 0377)
			break;
		code = code * 8 + (next - '0');
		r->pos++;
	}
	return code;
}

/* One member of a set; true: a class, which was added. */
static bool
read_member(Reader *r, Set *set, pg_wchar *c)
{
	*c = r->in[r->pos++];
	if (*c != '\\')
		return false;
	if (r->pos >= r->n)
	{
		r->invalid = true;
		return true;
	}
	if (add_class(set, r->in[r->pos]))
	{
		r->pos++;
		return true;
	}
	*c = read_escape(r, true);
	return false;
}

/* [...], after the bracket. */
static void
read_set(Reader *r)
{
	Set set = {0};
	bool others = false;

	if (r->pos < r->n && r->in[r->pos] == '^')
	{
		others = true;
		r->pos++;
	}
	while (!r->invalid && r->pos < r->n && r->in[r->pos] != ']')
	{
		pg_wchar ends[2];
		bool classes[2] = {false, false};
		int n = 1;

		classes[0] = read_member(r, &set, &ends[0]);
		if (r->n - r->pos >= 2 && r->in[r->pos] == '-' && r->in[r->pos + 1] != ']')
		{
			r->pos++;
			classes[1] = read_member(r, &set, &ends[1]);
			n = 2;
		}
		if (n == 2 && !classes[0] && !classes[1])
		{
			if (ends[0] > ends[1])
				r->invalid = true;
			add_range(&set, ends[0], ends[1]);
			continue;
		}
		/* beside a class a hyphen is one */
		if (n == 2)
			add_range(&set, '-', '-');
		for (int i = 0; i < n; i++)
			if (!classes[i])
				add_range(&set, ends[i], ends[i]);
	}
	if (r->pos >= r->n)
		r->invalid = true;
	if (r->invalid)
		return;
	r->pos++;
	if (r->fold)
		fold_set(&set);
	put_set(r, &set, others);
}

/* The name of a group, from "<" to ">". */
static void
skip_name(Reader *r)
{
	int start = ++r->pos;

	while (r->pos < r->n && r->in[r->pos] != '>')
		r->pos++;
	if (r->pos >= r->n || r->pos == start)
		r->invalid = true;
	r->pos++;
}

/* What an atom may be followed by. */
typedef enum AtomKind
{
	ATOM_PLAIN,
	ATOM_AHEAD, /* a look-ahead may be repeated, to no effect */
	ATOM_FIXED /* other assertions may not */
} AtomKind;

static bool
looking_at(const Reader *r, const char *s)
{
	for (int i = r->pos; *s; s++, i++)
		if (i >= r->n || r->in[i] != (unsigned char) *s)
			return false;
	return true;
}

/* (...), after the parenthesis. */
static AtomKind
read_group(Reader *r, int64 *size)
{
	AtomKind kind = ATOM_PLAIN;
	const char *opening = "(?:";
	bool around = false;

	if (looking_at(r, "?:"))
		r->pos += 2;
	else if (looking_at(r, "?=") || looking_at(r, "?!"))
	{
		opening = looking_at(r, "?=") ? "(?=" : "(?!";
		kind = ATOM_AHEAD;
		around = true;
		r->pos += 2;
	}
	else if (looking_at(r, "?<=") || looking_at(r, "?<!"))
	{
		opening = looking_at(r, "?<=") ? "(?<=" : "(?<!";
		kind = ATOM_FIXED;
		around = true;
		r->pos += 3;
	}
	else if (looking_at(r, "?<"))
	{
		r->pos++;
		skip_name(r);
	}
	else if (looking_at(r, "?"))
	{
		r->invalid = true;
		return kind;
	}
	if (around)
	{
		r->around = true;
		if (r->inside > 0)
			refuse(r, "a look-around within a look-around is not supported",
				   "Its time would grow too fast with the length of the text.");
	}
	put_text(r, opening);
	r->inside += around;
	*size = read_alternatives(r);
	r->inside -= around;
	if (r->pos >= r->n || r->in[r->pos] != ')')
	{
		r->invalid = true;
		return kind;
	}
	r->pos++;
	put(r, ')');
	return kind;
}

/* Is there a back-reference after the backslash? */
static bool
is_back_reference(const Reader *r)
{
	pg_wchar c = r->in[r->pos];
	int number = 0;

	if (c == 'k')
		return r->named;
	if (c < '1' || c > '9')
		return false;
	for (int i = r->pos; i < r->n && r->in[i] >= '0' && r->in[i] <= '9' && number < 10000; i++)
		number = number * 10 + (int) (r->in[i] - '0');
	return number <= r->groups;
}

static AtomKind
read_backslash(Reader *r)
{
	Set set = {0};
	pg_wchar c;

	if (r->pos >= r->n)
	{
		r->invalid = true;
		return ATOM_PLAIN;
	}
	c = r->in[r->pos];
	if (c == 'b' || c == 'B')
	{
		r->pos++;
		put_text(r, c == 'b' ? "\\y" : "\\Y");
		return ATOM_FIXED;
	}
	if (add_class(&set, c))
	{
		r->pos++;
		put_set(r, &set, false);
	}
	else if (is_back_reference(r))
		refuse(r, "a back-reference in a regular expression is not supported",
			   "Its time would grow without bound with the length of the text.");
	else
		put_literal(r, read_escape(r, false));
	return ATOM_PLAIN;
}

/* {m}, {m,} or {m,n}; false: it is none, and a brace is a brace. */
static bool
read_braces(Reader *r, int64 *min, int64 *max)
{
	int pos = r->pos + 1;
	int64 number[2] = {-1, -1};
	int n = 0;

	for (;; pos++)
	{
		for (; pos < r->n && r->in[pos] >= '0' && r->in[pos] <= '9'; pos++)
			number[n] = Min(Max(number[n], 0) * 10 + (r->in[pos] - '0'), 1000000);
		if (n == 0 && pos < r->n && r->in[pos] == ',')
			n++;
		else
			break;
	}
	if (pos >= r->n || r->in[pos] != '}' || number[0] < 0)
		return false;
	r->pos = pos + 1;
	*min = number[0];
	*max = n == 0 ? number[0] : number[1];
	return true;
}

/* A quantifier, if there is one; max is -1 if there is no end. */
static bool
read_quantifier(Reader *r, int64 *min, int64 *max)
{
	pg_wchar c;

	if (r->pos >= r->n)
		return false;
	c = r->in[r->pos];
	if (c == '{')
	{
		if (!read_braces(r, min, max))
			return false;
	}
	else if (c == '*' || c == '+' || c == '?')
	{
		*min = c == '+';
		*max = c == '?' ? 1 : -1;
		r->pos++;
	}
	else
		return false;
	if (r->pos < r->n && r->in[r->pos] == '?')
		r->pos++;
	return true;
}

/* An atom with its quantifier; returns its size with repetitions written out. */
static int64
read_term(Reader *r)
{
	pg_wchar c = r->in[r->pos];
	int start = r->len;
	AtomKind kind = ATOM_PLAIN;
	Set set = {0};
	int64 size = 1;
	int64 min;
	int64 max;
	char braces[64];

	if (c == '*' || c == '+' || c == '?' || (c == '{' && read_quantifier(r, &min, &max)))
	{
		r->invalid = true;
		return 0;
	}
	r->pos++;
	switch (c)
	{
		case '^':
		case '$':
			put(r, c);
			kind = ATOM_FIXED;
			break;
		case '.':
			add_ranges(&set, line_ends, lengthof(line_ends), false);
			put_set(r, &set, true);
			break;
		case '[':
			read_set(r);
			break;
		case '(':
			kind = read_group(r, &size);
			break;
		case '\\':
			kind = read_backslash(r);
			break;
		default:
			put_literal(r, c);
			break;
	}
	if (r->invalid || !read_quantifier(r, &min, &max))
		return size;
	if (kind == ATOM_FIXED || (max >= 0 && max < min))
		r->invalid = true;
	else if (kind == ATOM_AHEAD)
	{
		if (min == 0)
			r->len = start;
	}
	else
	{
		if (min > MAX_REPEAT || max > MAX_REPEAT)
			refuse(r, "a repetition of more than 255 is not supported", NULL);
		if (max < 0)
			snprintf(braces, sizeof(braces), "{" INT64_FORMAT ",}", min);
		else
			snprintf(braces, sizeof(braces), "{" INT64_FORMAT "," INT64_FORMAT "}", min, max);
		put_text(r, braces);
		size *= Max(Max(min, max), 1);
	}
	if (size > MAX_EXPANDED)
		refuse(r, "the regular expression is too large",
			   "With its repetitions written out it may have 500 characters.");
	return size;
}

static int64
read_alternatives(Reader *r)
{
	int64 size = 1;

	check_stack_depth();
	while (!r->invalid && r->pos < r->n && r->in[r->pos] != ')')
	{
		if (r->in[r->pos] == '|')
		{
			put(r, '|');
			r->pos++;
		}
		else
			size += read_term(r);
	}
	return size;
}

/* Counts the groups: whether \1 is one depends on those after it too. */
static void
count_groups(Reader *r)
{
	bool in_set = false;

	for (int i = 0; i < r->n; i++)
	{
		pg_wchar c = r->in[i];

		if (c == '\\')
			i++;
		else if (in_set)
			in_set = c != ']';
		else if (c == '[')
			in_set = true;
		else if (c == '(' && (i + 1 >= r->n || r->in[i + 1] != '?'))
			r->groups++;
		else if (c == '(' && i + 3 < r->n && r->in[i + 2] == '<' && r->in[i + 3] != '=' &&
				 r->in[i + 3] != '!')
		{
			r->groups++;
			r->named = true;
		}
	}
}

static void
free_pattern(void *arg)
{
	pg_regfree(&((CdpPattern *) arg)->re);
}

/*
 * Compiles a pattern into the current memory context.  NULL without a problem:
 * it is no regular expression, nothing matches it; with one: we do not run it.
 */
CdpPattern *
cdp_pattern_compile(const char *source, int len, bool fold, const char **problem,
					const char **hint)
{
	Reader r = {.fold = fold};
	pg_wchar *wide = palloc(sizeof(pg_wchar) * (len + 1));
	CdpPattern *pattern;
	int64 size;
	int error;

	*problem = NULL;
	*hint = NULL;
	r.in = wide;
	r.n = pg_mb2wchar_with_len(source, wide, len);
	if (r.n > MAX_PATTERN)
	{
		*problem = "the regular expression is too long";
		*hint = "It may have 500 characters.";
		return NULL;
	}
	count_groups(&r);
	size = read_alternatives(&r);
	if (!r.invalid && r.pos < r.n)
		r.invalid = true;
	if (!r.invalid && size > MAX_EXPANDED)
		refuse(&r, "the regular expression is too large",
			   "With its repetitions written out it may have 500 characters.");
	if (r.invalid)
	{
		*problem = r.problem;
		*hint = r.hint;
		return NULL;
	}
	pattern = palloc0(sizeof(CdpPattern));
	pattern->around = r.around;
	put(&r, 0);
	error = pg_regcomp(&pattern->re, r.out, r.len - 1, REG_ADVANCED | REG_NOSUB, C_COLLATION_OID);
	if (CDP_REG_CANCELLED(error))
	{
		CHECK_FOR_INTERRUPTS();
		elog(ERROR, "compilation of a regular expression was cancelled");
	}
	switch (error)
	{
		case REG_OKAY:
			break;
		case REG_ESPACE:
			ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
			break;
		case REG_ETOOBIG:
		case REG_ECOLORS:
			*problem = "the regular expression is too complex";
			*hint = "Use fewer repetitions and sets of characters.";
			return NULL;
		default:
			return NULL;
	}
	pattern->callback.func = free_pattern;
	pattern->callback.arg = pattern;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &pattern->callback);
	return pattern;
}

/* Does the text, in lower case if the pattern was folded, have a match? */
bool
cdp_pattern_matches(const CdpPattern *pattern, const StringInfoData *text)
{
	int limit = pattern->around ? MAX_TEXT_AROUND : MAX_TEXT;
	pg_wchar *wide;
	int n;
	int result;

	if (text->len > limit * pg_database_encoding_max_length())
		return false;
	wide = palloc(sizeof(pg_wchar) * (text->len + 1));
	n = pg_mb2wchar_with_len(text->data, wide, text->len);
	if (n > limit)
	{
		pfree(wide);
		return false;
	}
	result = pg_regexec(unconstify(regex_t *, &pattern->re), wide, n, 0, NULL, 0, NULL, 0);
	pfree(wide);
	if (result != REG_OKAY && result != REG_NOMATCH)
	{
		CHECK_FOR_INTERRUPTS();
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("a regular expression failed with code %d", result)));
	}
	return result == REG_OKAY;
}
