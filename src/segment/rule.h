/*
 * src/segment/rule.h
 *		Rules as defined: what each looks at, and how it is asked.
 *
 * A rule is a SQL predicate over the columns of cdp_data.profile_rule or a
 * condition over the document that has them as fields.  Both are compiled once
 * per configuration and asked without a query (eval.c).
 *
 * cdp_data.segment keeps of each rule the columns it names and the segments it
 * needs, so that a rule nobody asks is never parsed.
 */
#ifndef CDP_SEGMENT_RULE_H
#define CDP_SEGMENT_RULE_H

#include "access/tupdesc.h"
#include "column.h"
#include "condition/condition.h"
#include "nodes/bitmapset.h"
#include "nodes/execnodes.h"
#include "nodes/pg_list.h"
#include "stamp.h"
#include "utils/hsearch.h"

typedef enum CdpColumnPlace
{
	CDP_COLUMN_NOWHERE, /* of a metric that was dropped: null */
	CDP_COLUMN_STATE, /* of profile_state */
	CDP_COLUMN_PROFILE, /* of profile */
	CDP_COLUMN_COMPUTED /* by a source */
} CdpColumnPlace;

/* A column of cdp_data.profile_rule; the i-th has attribute number i + 1. */
typedef struct CdpRuleColumn
{
	const char *name;
	Oid type;
	CdpColumnPlace place;
	AttrNumber attnum; /* in its table */
	const CdpColumnSource *source;
	int32 definition;
	bool timed;
	Bitmapset *rules; /* that name it */
} CdpRuleColumn;

typedef struct CdpRule
{
	int32 id; /* of the set of its members */
	int32 segment_id;
	int32 task_id; /* that builds it, beside the rule in force; 0: it is in force */
	const char *name;
	const char *predicate; /* canonical; or NULL */
	Jsonb *json; /* or NULL */
	int32 list_id; /* it has neither: who is on this list; or 0 */
	Bitmapset *columns;
	List *fields; /* of a condition: names as written */
	Bitmapset *uses; /* indexes of other rules */
	Bitmapset *dependents; /* rules that need this one, directly or not */
	bool timed; /* time alone may change its answer */
	AttrNumber answer; /* attribute that holds its answer for others, or 0 */

	/* compiled at first use */
	bool compiled;
	bool broken; /* it could not be: it raises for everybody */
	int sqlstate; /* by what */
	bool guarded; /* runs code that only a subtransaction can clean up after */
	MemoryContext context;
	ExprState *state;
	CdpCondition *condition;
} CdpRule;

typedef struct CdpRules
{
	uint64 generation;
	bool provisional; /* read in parallel mode, under a query's snapshot */
	MemoryContext context;
	CdpStamp shown; /* the snapshot that it was read by */
	int ncolumns;
	CdpRuleColumn *columns;
	HTAB *column_names;
	int n;
	CdpRule *rules; /* ascending by id */
	int *order; /* indexes, each after those it uses */
	Bitmapset *all;
	Bitmapset *in_force; /* those that are not being built */
	Bitmapset *timed;
	bool lists; /* some are lists of identifiers */
	TupleDesc desc; /* columns, then answers that others use */
	int nanswers;
} CdpRules;

/* The rules in force; good until cdp_store_leave().  Inside cdp_store_enter(). */
extern CdpRules *cdp_rules_load(void);

/*
 * For readers: the rules as the active snapshot shows them, like the members.
 * Is that known, without cdp_store_enter()?
 */
extern CdpRules *cdp_rules_shown(void);
extern bool cdp_rules_are_shown(void);

extern int cdp_rules_find(const CdpRules *rules, int32 id);

/* The rule in force of a segment, or -1. */
extern int cdp_rules_of(const CdpRules *rules, int32 segment_id);

/* Of the rules that this one uses that of this name, or -1. */
extern int cdp_rule_used(const CdpRules *rules, const CdpRule *rule, const char *name, int len);
extern int cdp_rules_column(const CdpRules *rules, const char *name);
extern void cdp_rule_compile(CdpRules *rules, CdpRule *rule);
extern void cdp_rule_reset(CdpRule *rule);
extern CdpRule *cdp_rule_temporary(CdpRules *rules, const char *predicate, const Jsonb *json);

/* Errors that are a rule's fault, or its data's. */
extern bool cdp_rule_is_error(int sqlstate);

/* The analysed expression of a predicate; inside cdp_store_enter(). */
extern Node *cdp_predicate_analyse(const char *text);

/* Name in cdp.in_segment('name'), or NULL if it is something else. */
extern char *cdp_predicate_needs(Node *node);

#endif /* CDP_SEGMENT_RULE_H */
