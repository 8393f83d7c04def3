/*
 * src/core/segexpr.h
 *		Parser of boolean expressions over segment names.
 *
 *		vip & (paris | "grand lyon") & !churned
 *		vip and not churned
 *
 * A name is a run of characters other than blanks ! & | ( ) and the double
 * quote, or anything in double quotes (a quote inside is doubled).  The bare
 * words and, or, not are operators in any case; quote them to use them as
 * names.  Precedence: ! over & over |.
 */
#ifndef CDP_CORE_SEGEXPR_H
#define CDP_CORE_SEGEXPR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* tokens of one expression, parentheses included */
#define CDP_MAX_SEGEXPR_TOKENS 1000

typedef enum CdpCoreSegexprOp
{
	CDP_CORE_SEGEXPR_NAME,
	CDP_CORE_SEGEXPR_NOT,
	CDP_CORE_SEGEXPR_AND,
	CDP_CORE_SEGEXPR_OR
} CdpCoreSegexprOp;

/* one step of the postfix program */
typedef struct CdpCoreSegexprStep
{
	CdpCoreSegexprOp op;
	uint32_t start; /* of the name in scratch; 0 for operators */
	uint32_t len; /* of the name, in bytes, at least 1 */
} CdpCoreSegexprStep;

extern bool cdp_core_segexpr_parse(const char *s, size_t len,
								   CdpCoreSegexprStep *steps, size_t *n_steps,
								   char *scratch,
								   const char **reason, size_t *offset);

#endif /* CDP_CORE_SEGEXPR_H */
