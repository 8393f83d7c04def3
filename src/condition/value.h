/*
 * src/condition/value.h
 *		Values of JSON as the condition language converts and compares them.
 */
#ifndef CDP_CONDITION_VALUE_H
#define CDP_CONDITION_VALUE_H

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

extern void cdp_value_of_root(Jsonb *document, JsonbValue *v);
extern bool cdp_value_is_array(const JsonbValue *v);
extern bool cdp_value_is_object(const JsonbValue *v);
extern bool cdp_value_is_scalar(const JsonbValue *v);
extern bool cdp_value_truth(const JsonbValue *v);
extern void cdp_value_text(const JsonbValue *v, StringInfo out);
extern bool cdp_value_number(const JsonbValue *v, double *number);
extern void cdp_value_fold(StringInfo text);
extern bool cdp_value_same(const JsonbValue *a, const JsonbValue *b);
extern bool cdp_value_equal_documents(const JsonbValue *a, const JsonbValue *b);
extern bool cdp_value_compare(const JsonbValue *a, const JsonbValue *b, int *cmp);
extern int cdp_value_compare_bytes(const char *a, int alen, const char *b, int blen);
extern void cdp_value_version(const JsonbValue *v, StringInfo out);

#endif /* CDP_CONDITION_VALUE_H */
