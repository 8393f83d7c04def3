/*
 * src/condition/pattern.h
 *		Regular expressions of ECMAScript, bounded in size and time.
 */
#ifndef CDP_CONDITION_PATTERN_H
#define CDP_CONDITION_PATTERN_H

#include "lib/stringinfo.h"

typedef struct CdpPattern CdpPattern;

extern CdpPattern *cdp_pattern_compile(const char *source, int len, bool fold,
									   const char **problem, const char **hint);
extern bool cdp_pattern_matches(const CdpPattern *pattern, const StringInfoData *text);

#endif /* CDP_CONDITION_PATTERN_H */
