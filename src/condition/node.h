/*
 * src/condition/node.h
 *		What a compiled condition is made of; for the files of this word.
 */
#ifndef CDP_CONDITION_NODE_H
#define CDP_CONDITION_NODE_H

#include "condition/condition.h"
#include "condition/pattern.h"
#include "condition/value.h"

typedef struct CdpTest CdpTest;

typedef enum CdpOpCode
{
	CDP_OP_UNKNOWN,
	CDP_OP_EQ,
	CDP_OP_NE,
	CDP_OP_LT,
	CDP_OP_LTE,
	CDP_OP_GT,
	CDP_OP_GTE,
	CDP_OP_VEQ,
	CDP_OP_VNE,
	CDP_OP_VLT,
	CDP_OP_VLTE,
	CDP_OP_VGT,
	CDP_OP_VGTE,
	CDP_OP_EXISTS,
	CDP_OP_IN,
	CDP_OP_INI,
	CDP_OP_NIN,
	CDP_OP_NINI,
	CDP_OP_IN_GROUP,
	CDP_OP_NOT_IN_GROUP,
	CDP_OP_ALL,
	CDP_OP_ALLI,
	CDP_OP_ELEM_MATCH,
	CDP_OP_SIZE,
	CDP_OP_NOT,
	CDP_OP_REGEX,
	CDP_OP_REGEXI,
	CDP_OP_TYPE,
	CDP_OP_WITHIN
} CdpOpCode;

/* One operator: {"$gt": 5} */
typedef struct CdpOp
{
	CdpOpCode code;
	JsonbValue expected;
	bool flag; /* $exists: what is wished; $in and the like: the list is one */
	StringInfo text; /* a version, a group, a type; NULL: not to be met */
	CdpPattern *pattern; /* NULL: not a regular expression, nothing matches */
	CdpTest *tests; /* of $not, $size; of each element of $all */
	int ntests;
	JsonbValue *folded; /* of $ini, $nini: the list in lower case */
	int nfolded;
	CdpCondition *condition; /* of $elemMatch on objects */
	CdpCorePeriod period; /* of $within */
} CdpOp;

typedef enum CdpTestKind
{
	CDP_TEST_TEXT,
	CDP_TEST_NUMBER,
	CDP_TEST_BOOL,
	CDP_TEST_NULL,
	CDP_TEST_DOCUMENT,
	CDP_TEST_OPERATORS
} CdpTestKind;

/* What a value is held against: a constant, or operators that must all agree. */
struct CdpTest
{
	CdpTestKind kind;
	bool fold; /* text: upper and lower case are one */
	JsonbValue value;
	double number;
	CdpOp *ops;
	int nops;
};

typedef enum CdpClauseKind
{
	CDP_CLAUSE_PATH,
	CDP_CLAUSE_AND,
	CDP_CLAUSE_OR,
	CDP_CLAUSE_NOR,
	CDP_CLAUSE_NOT
} CdpClauseKind;

typedef struct CdpPathPart
{
	const char *name;
	int len;
	int index; /* as a place in an array, -1 if it is none */
} CdpPathPart;

typedef struct CdpClause
{
	CdpClauseKind kind;
	CdpPathPart *parts;
	int nparts;
	CdpTest test;
	CdpCondition **conditions; /* of the logical ones */
	int nconditions;
} CdpClause;

struct CdpCondition
{
	CdpClause *clauses;
	int n;
	/* of the root, for cdp_condition_check(): the first of each, NULL if there is none */
	const char *unknown; /* path of an operator that is none */
	const char *no_pattern; /* path of a regular expression that is none */
	const char *group; /* path of a question for a group */
};

#endif /* CDP_CONDITION_NODE_H */
