/*
 * src/identity/check.h
 *		Are people who they should be?  Compares the graph with what evidence
 *		and rules say.
 */
#ifndef CDP_IDENTITY_CHECK_H
#define CDP_IDENTITY_CHECK_H

#include "utils/hsearch.h"

/*
 * Whom to tell of a difference between what is stored and what follows from
 * what it was made of; profile 0 is nobody.  All texts are personal data; NULL
 * is nothing.
 */
typedef struct CdpFound
{
	void (*found)(void *arg, int64 profile_id, const char *what, const char *live,
				  const char *recomputed);
	void *arg;
	int64 n; /* differences so far */
} CdpFound;

extern void cdp_found(CdpFound *to, int64 profile_id, const char *what, const char *live,
					  const char *recomputed);
extern void cdp_found_rows(CdpFound *to, int rows);
extern void cdp_identity_check(const int64 *profiles, int n, HTAB *seen, CdpFound *to);

#endif /* CDP_IDENTITY_CHECK_H */
