/*
 * src/identity/who.h
 *		The argument "who" of every function that takes a person.
 *
 * Text (one identifier, or a set in braces), text[], cdp.identity_set and
 * bigint (a profile id) are overloads of each such function.
 */
#ifndef CDP_IDENTITY_WHO_H
#define CDP_IDENTITY_WHO_H

#include "fmgr.h"

typedef enum CdpWhoKind
{
	CDP_WHO_TEXT,
	CDP_WHO_ARRAY,
	CDP_WHO_SET,
	CDP_WHO_PROFILE
} CdpWhoKind;

/* An identifier, normalised. */
typedef struct CdpMention
{
	const char *ns;
	const char *value;
} CdpMention;

/* Either a profile id or identifiers. */
typedef struct CdpWho
{
	int64 profile_id; /* 0: by identifiers */
	int n;
	CdpMention *mentions;
} CdpWho;

extern void cdp_who_read(FunctionCallInfo fcinfo, int arg, CdpWhoKind kind,
						 CdpWho *who);

/*
 * Defines the four SQL entry points of a function and its common body, which
 * gets the kind: name##_common(fcinfo, kind).
 */
#define CDP_WHO_OVERLOADS(name) \
	PG_FUNCTION_INFO_V1(name##_text); \
	PG_FUNCTION_INFO_V1(name##_array); \
	PG_FUNCTION_INFO_V1(name##_set); \
	PG_FUNCTION_INFO_V1(name##_profile); \
	static Datum name##_common(FunctionCallInfo fcinfo, CdpWhoKind kind); \
	Datum name##_text(PG_FUNCTION_ARGS) \
	{ \
		return name##_common(fcinfo, CDP_WHO_TEXT); \
	} \
	Datum name##_array(PG_FUNCTION_ARGS) \
	{ \
		return name##_common(fcinfo, CDP_WHO_ARRAY); \
	} \
	Datum name##_set(PG_FUNCTION_ARGS) \
	{ \
		return name##_common(fcinfo, CDP_WHO_SET); \
	} \
	Datum name##_profile(PG_FUNCTION_ARGS) \
	{ \
		return name##_common(fcinfo, CDP_WHO_PROFILE); \
	} \
	static Datum name##_common(FunctionCallInfo fcinfo, CdpWhoKind kind)

#endif /* CDP_IDENTITY_WHO_H */
