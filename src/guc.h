/*
 * src/guc.h
 *		Settings of the extension, all in one place.
 */
#ifndef CDP_GUC_H
#define CDP_GUC_H

/* Purposes the session narrows itself to; "" means all that the role has. */
extern char *cdp_guc_purpose;

/* Changes with every assignment to cdp.purpose, so that caches can tell. */
extern uint64 cdp_guc_purpose_stamp;

/* Largest message accepted, kilobytes of its jsonb. */
extern int cdp_guc_max_message_kb;

/* Time used instead of the clock; tests only, superuser only. */
extern char *cdp_guc_clock;

/* Milliseconds between two notices of progress; 0 is none. */
extern int cdp_guc_progress_interval;
extern bool cdp_guc_direct_storage;

/* count(*) of segments by the membership index; see profile/count.h. */
extern bool cdp_guc_enable_count_pushdown;

extern void cdp_guc_define(void);

#endif /* CDP_GUC_H */
