/*
 * src/profile/survive.h
 *		Survivorship: which value of a trait wins.
 *
 * One value survives by comparing two at a time; its state is its mark.  Where
 * that cannot do, the state is a tally of all values, of at most
 * CDP_MAX_TALLIES: most_frequent counts them, union keeps them.  All of it
 * commutes, so that neither order nor merges matter:
 *
 *	latest, oldest		highest, lowest (time, key)
 *	source_priority		lowest place of the source in the list, then latest
 *	max, min			highest, lowest value, then latest
 *	most_frequent		most often given, then latest.  Of who gave more different
 *						values the tally is rows of a table: tally.c
 *	union				the values given last, each by its latest (time, key)
 */
#ifndef CDP_PROFILE_SURVIVE_H
#define CDP_PROFILE_SURVIVE_H

#include "nodes/pg_list.h"
#include "compat.h"
#include "profile/profile.h"
#include "profile/trait.h"

/* Different values of a trait that are kept. */
#define CDP_MAX_TALLIES 256

/* A value, how often it was given, and the message that gave it last. */
typedef struct CdpTally
{
	const char *text; /* canonical; NULL unsets */
	int64 times;
	TimestampTz ts;
	uint8 key[16];
	const char *source;
	const CdpTraitChange *change; /* that of this time, or NULL */
} CdpTally;

/* All values of one trait of one person. */
typedef struct CdpTallies
{
	CdpTally *all;
	int n;
	int room;
	bool many; /* the stored tally is not complete: only the events tell */
} CdpTallies;

static inline bool
cdp_survive_tallies(const CdpTrait *trait)
{
	return trait && (trait->survival == CDP_SURVIVE_FREQUENT ||
					 trait->survival == CDP_SURVIVE_UNION);
}

extern int cdp_survive_source_place(const CdpTrait *trait, const char *source);
extern int cdp_survive_compare_values(const CdpTrait *trait, const char *a, const char *b);
extern bool cdp_survive_beats(const CdpTrait *trait, const CdpTally *a, const CdpTally *b);
extern const char *cdp_survive_ignores(const CdpTrait *trait, const char *text);
extern void cdp_survive_add(CdpTallies *t, const CdpTally *one);
extern void cdp_survive_join(CdpTally *to, const CdpTally *other);
extern void cdp_survive_settle(const CdpTrait *trait, CdpTallies *t);
extern const CdpTally *cdp_survive_find(const CdpTrait *trait, const CdpTallies *t,
										const char *text);
extern const CdpTally *cdp_survive_most(const CdpTrait *trait, const CdpTallies *t);

/* mark.c */
extern bool cdp_mark_parse(const char *mark, int len, TimestampTz *ts, uint8 *key, char **source);
extern char *cdp_mark_text(const CdpTally *t);
extern const char *cdp_mark_many(const JsonbValue *state);
extern bool cdp_mark_tallies(const JsonbValue *state, CdpTallies *t);
CDP_NORETURN extern void cdp_mark_damaged(const char *name);

/* history.c */
extern void cdp_trait_value(Jsonb *json, JsonbValue *value);
extern int cdp_trait_history(const char *name, const int64 *profiles, int n,
							 CdpTraitChange **changes);

#endif /* CDP_PROFILE_SURVIVE_H */
