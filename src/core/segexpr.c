/*
 * src/core/segexpr.c
 *		Parser of boolean expressions over segment names.
 *
 * The shunting-yard algorithm (Dijkstra, 1961): names go straight to the
 * output; operators wait on a stack until one that binds less tightly, a
 * closing parenthesis or the end comes.  No recursion, so a hostile
 * expression costs at most one fixed stack.
 *
 * One flag tells whether an operand or an operator must come next, which is
 * all the syntax there is:
 *
 *		operand expected:	name  !  (		(after name: operator)
 *		operator expected:	&  |  )			(after & |: operand)
 */
#include "core/segexpr.h"

#include <string.h>

typedef enum Token
{
	TOKEN_END,
	TOKEN_NAME,
	TOKEN_NOT,
	TOKEN_AND,
	TOKEN_OR,
	TOKEN_OPEN,
	TOKEN_CLOSE,
	TOKEN_ERROR
} Token;

typedef struct Lexer
{
	const char *s;
	size_t len;
	size_t pos;
	char *scratch;
	size_t used; /* bytes of scratch taken by earlier names */
	size_t token_at; /* byte offset of the last token */
	size_t name_start; /* of the last name, in scratch */
	const char *reason;
} Lexer;

typedef struct Pending
{
	Token token;
	size_t at; /* byte offset, for the error message */
} Pending;

static bool
is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool
is_name_char(char c)
{
	return !is_space(c) && c != '!' && c != '&' && c != '|' && c != '(' &&
		   c != ')' && c != '"' && c != '\0';
}

static bool
is_word(const char *s, size_t len, const char *word)
{
	if (len != strlen(word))
		return false;
	for (size_t i = 0; i < len; i++)
	{
		if ((s[i] >= 'A' && s[i] <= 'Z' ? s[i] + 32 : s[i]) != word[i])
			return false;
	}
	return true;
}

static Token
lex_error(Lexer *lexer, const char *reason)
{
	lexer->reason = reason;
	return TOKEN_ERROR;
}

static Token
quoted_name(Lexer *lexer)
{
	lexer->name_start = lexer->used;
	lexer->pos++;
	for (;;)
	{
		char c;

		if (lexer->pos == lexer->len)
			return lex_error(lexer, "expression ends inside double quotes");
		c = lexer->s[lexer->pos++];
		if (c == '\0')
			return lex_error(lexer, "expression has a zero byte");
		if (c == '"')
		{
			if (lexer->pos == lexer->len || lexer->s[lexer->pos] != '"')
				break;
			lexer->pos++;
		}
		lexer->scratch[lexer->used++] = c;
	}
	if (lexer->used == lexer->name_start)
		return lex_error(lexer, "segment name is empty");
	return TOKEN_NAME;
}

static Token
next_token(Lexer *lexer)
{
	const char *s = lexer->s;
	size_t start;
	size_t n;

	while (lexer->pos < lexer->len && is_space(s[lexer->pos]))
		lexer->pos++;
	lexer->token_at = start = lexer->pos;
	if (start == lexer->len)
		return TOKEN_END;

	switch (s[start])
	{
		case '!':
			lexer->pos++;
			return TOKEN_NOT;
		case '&':
			lexer->pos++;
			return TOKEN_AND;
		case '|':
			lexer->pos++;
			return TOKEN_OR;
		case '(':
			lexer->pos++;
			return TOKEN_OPEN;
		case ')':
			lexer->pos++;
			return TOKEN_CLOSE;
		case '"':
			return quoted_name(lexer);
		case '\0':
			return lex_error(lexer, "expression has a zero byte");
		default:
			break;
	}

	while (lexer->pos < lexer->len && is_name_char(s[lexer->pos]))
		lexer->pos++;
	n = lexer->pos - start;
	if (is_word(s + start, n, "and"))
		return TOKEN_AND;
	if (is_word(s + start, n, "or"))
		return TOKEN_OR;
	if (is_word(s + start, n, "not"))
		return TOKEN_NOT;
	lexer->name_start = lexer->used;
	memcpy(lexer->scratch + lexer->used, s + start, n);
	lexer->used += n;
	return TOKEN_NAME;
}

static int
precedence(Token token)
{
	switch (token)
	{
		case TOKEN_NOT:
			return 3;
		case TOKEN_AND:
			return 2;
		case TOKEN_OR:
			return 1;
		default:
			return 0;
	}
}

static void
emit(CdpCoreSegexprStep *steps, size_t *n, CdpCoreSegexprOp op,
	 size_t start, size_t len)
{
	steps[*n].op = op;
	steps[*n].start = (uint32_t) start;
	steps[*n].len = (uint32_t) len;
	(*n)++;
}

static void
emit_operator(CdpCoreSegexprStep *steps, size_t *n, Token token)
{
	emit(steps, n,
		 token == TOKEN_NOT ? CDP_CORE_SEGEXPR_NOT :
		 token == TOKEN_AND ? CDP_CORE_SEGEXPR_AND :
							  CDP_CORE_SEGEXPR_OR,
		 0, 0);
}

/*
 * Turn an expression into a postfix program.
 *
 * "steps" has room for CDP_MAX_SEGEXPR_TOKENS, "scratch" for "len" bytes; it
 * receives the names with their quotes undone.  Evaluating the program never
 * needs a stack deeper than the number of names, never pops an empty one and
 * leaves exactly one value.
 *
 * On failure "reason" is a phrase that reads well after "The " and "offset"
 * the byte where the trouble is.
 */
bool
cdp_core_segexpr_parse(const char *s, size_t len,
					   CdpCoreSegexprStep *steps, size_t *n_steps,
					   char *scratch, const char **reason, size_t *offset)
{
	Lexer lexer = {s, len, 0, scratch, 0, 0, 0, NULL};
	Pending stack[CDP_MAX_SEGEXPR_TOKENS];
	size_t depth = 0;
	size_t tokens = 0;
	size_t n = 0;
	bool want_operand = true;

	*offset = 0;
	if (len > UINT32_MAX)
	{
		*reason = "expression is too long";
		return false;
	}

	for (;;)
	{
		Token token = next_token(&lexer);

		*offset = lexer.token_at;
		if (token == TOKEN_ERROR)
		{
			*reason = lexer.reason;
			return false;
		}
		if (token == TOKEN_END)
			break;
		if (++tokens > CDP_MAX_SEGEXPR_TOKENS)
		{
			*reason = "expression has more than 1000 names, operators and parentheses";
			return false;
		}

		switch (token)
		{
			case TOKEN_NAME:
				if (!want_operand)
				{
					*reason = "expression has no operator before this name";
					return false;
				}
				emit(steps, &n, CDP_CORE_SEGEXPR_NAME, lexer.name_start,
					 lexer.used - lexer.name_start);
				want_operand = false;
				break;

			case TOKEN_NOT:
			case TOKEN_OPEN:
				if (!want_operand)
				{
					*reason = "expression has no operator before this place";
					return false;
				}
				stack[depth].token = token;
				stack[depth++].at = lexer.token_at;
				break;

			case TOKEN_AND:
			case TOKEN_OR:
				if (want_operand)
				{
					*reason = "expression has no name before this operator";
					return false;
				}
				while (depth > 0 &&
					   precedence(stack[depth - 1].token) >= precedence(token))
					emit_operator(steps, &n, stack[--depth].token);
				stack[depth].token = token;
				stack[depth++].at = lexer.token_at;
				want_operand = true;
				break;

			default: /* TOKEN_CLOSE */
				if (want_operand)
				{
					*reason = "expression has no name before this parenthesis";
					return false;
				}
				while (depth > 0 && stack[depth - 1].token != TOKEN_OPEN)
					emit_operator(steps, &n, stack[--depth].token);
				if (depth == 0)
				{
					*reason = "closing parenthesis has no opening one";
					return false;
				}
				depth--;
				break;
		}
	}

	if (want_operand)
	{
		*reason = tokens == 0 ? "expression is empty" :
								"expression ends where a name should follow";
		return false;
	}
	while (depth > 0)
	{
		depth--;
		if (stack[depth].token == TOKEN_OPEN)
		{
			*offset = stack[depth].at;
			*reason = "opening parenthesis has no closing one";
			return false;
		}
		emit_operator(steps, &n, stack[depth].token);
	}
	*n_steps = n;
	return true;
}
