/*
 * src/profile/verify.h
 *		Is what is stored of people what their events, rules and records make
 *		of it?  And if not: what is repaired besides being folded anew.
 */
#ifndef CDP_PROFILE_VERIFY_H
#define CDP_PROFILE_VERIFY_H

#include "identity/check.h"

/* metric_check.c */
extern void cdp_metric_check(const int64 *profiles, int n, CdpFound *to);
extern int64 *cdp_metric_nodes(int64 profile_id, int *n);
extern void cdp_metric_repair(const int64 *nodes, int n, const int64 *people, int npeople);

/* verify.c */
extern void cdp_profile_check(const int64 *profiles, int n, CdpFound *to);
extern void cdp_profile_check_strays(CdpFound *to);
extern void cdp_profile_repair_sources(const int64 *profiles, int n);
extern void cdp_profile_repair_mirrors(const int64 *profiles, int n);
extern void cdp_profile_repair_strays(void);

/* tally.c */
extern void cdp_tally_check(const int64 *profiles, int n, const List *pending, Datum but,
							CdpFound *to);

/* restore.c */
extern bool cdp_profile_has_nodes(int64 profile_id);
extern void cdp_profile_check_rows(const int64 *profiles, int n, CdpFound *to);
extern int64 *cdp_profile_restore_states(const int64 *profiles, int n, int64 *ids, int *nids);
extern int64 *cdp_profile_restore_rows(const int64 *profiles, int n, int64 *ids, int *nids);

#endif /* CDP_PROFILE_VERIFY_H */
