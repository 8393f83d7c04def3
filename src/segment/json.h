/*
 * src/segment/json.h
 *		What a rule names, and rules as JSON.
 */
#ifndef CDP_SEGMENT_JSON_H
#define CDP_SEGMENT_JSON_H

#include "nodes/pg_list.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

typedef struct CdpRuleNeeds
{
	List *columns; /* names of columns, or of fields */
	List *segments; /* names */
	bool timed; /* it asks the clock itself */
} CdpRuleNeeds;

/* What a predicate (canonical) or a condition needs; raises if it may not. */
extern void cdp_rule_needs(const char *predicate, const Jsonb *json, CdpRuleNeeds *needs);

/* 2025-01-31T12:00:00.000000Z: as text these are in the order of time. */
#define CDP_JSON_TIME 40
extern void cdp_json_time(TimestampTz ts, char *out);

/* The rule with the times that it compares with fields of times in that form. */
extern Jsonb *cdp_json_times(Jsonb *rule, bool (*is_time)(const char *name, int len, void *arg),
							 void *arg);

/* Pushes a column's value. */
extern void cdp_json_push(JsonbParseState **state, JsonbIteratorToken token, Datum value,
						  Oid type);

#endif /* CDP_SEGMENT_JSON_H */
