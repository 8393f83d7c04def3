/*
 * src/profile/session.h
 *		Sessions: the visits of a person.
 *
 * Two events of a person whose times are less than the silence apart are of one
 * session.  That is a clustering on a line, so it can be cut by nodes: the parts
 * of a session that lie on one node are kept (a part is events of the node with
 * less than the silence between neighbours), and a person's sessions are the
 * parts of her nodes, joined where less than the silence is between them.  What
 * lies inside a part is within the silence of one of its events, so nothing but
 * first and last times is needed to join exactly.  Events never move between
 * nodes; a merge and its undoing touch no part.
 *
 * All that is kept of a part adds up in any order: counts, extremes of times,
 * and facts that are those of the earliest or latest event that has them, by
 * (time, message key).
 *
 * A session is over when the silence has passed since its last event, whether
 * or not anything was written: readers compare with cdp_now().  From then on,
 * and as of then, it gives the event "session_ended" to metrics.
 */
#ifndef CDP_PROFILE_SESSION_H
#define CDP_PROFILE_SESSION_H

#include "identity/check.h"
#include "profile/metric.h"

/* The event that metrics may count. */
#define CDP_SESSION_ENDED "session_ended"

/* Bytes of a page or of the name of a campaign that are kept. */
#define CDP_SESSION_TEXT 500

/* The place of an event in the order of events. */
typedef struct CdpSessionMark
{
	TimestampTz ts;
	uint8 key[16];
} CdpSessionMark;

typedef enum CdpSessionFactKind
{
	CDP_SESSION_FIRST_PAGE,
	CDP_SESSION_LAST_PAGE,
	CDP_SESSION_CAMPAIGN, /* text[]: name, source, medium */
	CDP_SESSION_FACTS
} CdpSessionFactKind;

typedef struct CdpSessionFact
{
	Datum value; /* 0: none */
	CdpSessionMark at; /* of the event that said so */
} CdpSessionFact;

/* A session, or the part of one that lies on a node. */
typedef struct CdpSession
{
	CdpSessionMark first; /* its first event */
	TimestampTz ended_at; /* time of its last event */
	int64 events;
	Datum source; /* text: of the first event */
	CdpSessionFact facts[CDP_SESSION_FACTS];
} CdpSession;

/* What a session is; as configured. */
typedef struct CdpSessionRule
{
	bool on; /* sessions are kept */
	bool ready; /* those of what is known are complete */
	int64 silence; /* microseconds, positive */
	char **events; /* types, or names of tracked events */
	int nevents;
} CdpSessionRule;

/*
 * session.c; inside cdp_store_enter(), unless what is known is current.  Who
 * writes parts of a node holds the lock of its person.
 */
extern const CdpSessionRule *cdp_session_rule(void);
extern bool cdp_session_rule_is_current(void);
extern bool cdp_session_concerns(const char *type, const char *name);
extern void cdp_session_fold(const CdpMetricEvent *events, int n);
extern void cdp_session_fold_gone(const CdpMetricEvent *events, int n);
extern void cdp_session_rebuild(const int64 *nodes, int n, int32 unused);
extern CdpSession *cdp_session_gather(int64 node, int *n);
extern int cdp_session_compare(const void *a, const void *b);
extern int cdp_session_join(CdpSession *sessions, int n, int64 silence);

/* base_session.c: of events that are gone */
extern void cdp_base_place_session(int64 node, const CdpSession *parts, int n, int64 silence);
extern CdpSession *cdp_base_sessions(int64 node, int *n);

/* session_row.c */
#define CDP_SESSION_COLUMNS 11
extern const char *const cdp_session_columns[CDP_SESSION_COLUMNS];
extern void cdp_session_load(const Datum *values, const bool *nulls, CdpSession *session);
extern void cdp_session_store(const CdpSession *session, Datum *values, bool *nulls);
extern void cdp_session_copy(CdpSession *session); /* into the current context */
extern void cdp_session_of_event(const CdpMetricEvent *event, CdpSession *session);

/* session_check.c */
extern void cdp_session_check(const int64 *profiles, int n, CdpFound *to);
extern void cdp_session_repair(const int64 *profiles, int n);

/*
 * session_read.c: under the active snapshot, of nodes that are one person's;
 * whoever calls decides whether she may be seen.
 *
 * cdp_session_visit() gives the sessions that are over at now, and whose end is
 * in the period before it (NULL: any), to a visitor, as events "session_ended" (of
 * time the end, of key that of the first event), with their properties if asked
 * for; visit may be NULL.  due is the earliest time after now at which, without an
 * event, a session ends or the end of one that is over leaves the period; DT_NOEND
 * if there is none.  False: sessions are not kept, or not complete yet.
 */
extern bool cdp_session_visit(const int64 *nodes, int n, TimestampTz now, const Interval *period,
							  bool properties, CdpMetricVisit visit, void *arg, TimestampTz *due);

/* session_check.c: a step of the work of cdp.maintain(); false: none waits. */
extern bool cdp_session_backfill_step(void);

#endif /* CDP_PROFILE_SESSION_H */
