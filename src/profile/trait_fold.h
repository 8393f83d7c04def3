/*
 * src/profile/trait_fold.h
 *		One person under the fold of traits.  Private to src/profile.
 */
#ifndef CDP_PROFILE_TRAIT_FOLD_H
#define CDP_PROFILE_TRAIT_FOLD_H

#include "profile/profile.h"
#include "profile/survive.h"
#include "profile/trait.h"

/* What a trait becomes, to be written. */
typedef struct CdpPatch
{
	const char *name;
	int namelen;
	const CdpTrait *trait; /* NULL: undeclared */
	const CdpTraitChange *change; /* that won so far; NULL: there is no value */
	const char *text; /* canonical, declared traits; NULL unsets */
	CdpTallies tallies; /* instead, of a trait that has them */
	bool from_events; /* what is stored does not tell: to be folded from events */
	const char *most; /* or its tallies are in the table, and this is the most frequent; or NULL */
	bool anew; /* it was folded from events: rows of before are not true */
	bool counted; /* its tallies are rows of the table to be written, the last of the most */
	const char *column; /* what a declared trait's column becomes, once composed */
} CdpPatch;

/* Rows of trait_tally that a fold leaves to be written. */
typedef struct CdpPending
{
	int64 profile_id;
	const char *name;
	bool replaces; /* all there are */
	const CdpTally *all;
	int n;
} CdpPending;

/* One person under the fold. */
typedef struct CdpPerson
{
	int64 profile_id;
	Jsonb *traits;
	Jsonb *meta;
	Datum declared; /* array of texts by trait, or 0 */
	/* instead of declared: the text of one, asked for when it matters */
	char *(*stored)(const struct CdpPerson *person, const CdpTrait *trait);
	void *stored_arg;
	CdpPatch *patches;
	int npatches;
	int *slots; /* open addressing: index of a patch by its name, or -1 */
	uint32 nslots; /* a power of two, at least twice the patches */
	List *pending; /* of CdpPending, once composed */
} CdpPerson;


extern CdpTraitChange **cdp_fold_sort(CdpTraitChange *changes, int n);
extern int cdp_fold_person(CdpPerson *person, CdpTraitChange **order, int n,
						   const CdpTraitChange *first, int *refused, int *nrefused);
extern char *cdp_fold_declared(Datum array, const CdpTrait *trait);

/*
 * The documents of a person's write: traits and marks.  Sets column of the
 * patches of declared traits, of which the second makes a document.
 */
extern void cdp_fold_compose(CdpPerson *person, Datum *traits, Datum *meta);
extern Datum cdp_fold_columns(const CdpPerson *person);

/* tally.c */
extern bool cdp_tally_add_stored(int64 profile_id, const char *name, CdpTallies *t);
extern void cdp_tally_clear(const int64 *profiles, int n, const char *name);
extern void cdp_tally_write(const List *pending);

/* profile_row.c */
extern bool cdp_profile_fold_rows(CdpTraitChange **order, int n, const int64 *ids, int npeople,
								  const CdpTraitChange *first, int *refused, int *nrefused);

#endif /* CDP_PROFILE_TRAIT_FOLD_H */
