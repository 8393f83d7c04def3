/*
 * src/progress.h
 *		Long work under way, for other sessions to see.  Floor 0.
 *
 * What a transaction writes nobody else sees before it commits, and shared
 * memory of our own would want shared_preload_libraries.  The server has a
 * place for this in each session's entry of its activity: the counters of
 * pg_stat_progress_copy and its like.  We use those of COPY, the one command
 * whose view says nothing but numbers, with the view cdp.progress itself as
 * the relation, which tells our entries from others' (cdp.progress reads them
 * by that; in pg_stat_progress_copy they stand as relation cdp.progress).
 *
 * The place is the session's only one.  Who finds it taken, by a COPY or by
 * work of ours around this one, reports nothing.  The end of a
 * (sub)transaction by an error clears it: work that goes on afterwards takes
 * it again with its next report.
 */
#ifndef CDP_PROGRESS_H
#define CDP_PROGRESS_H

/* Numbers are those of the view (sql/install/54_stats.sql). */
typedef enum CdpWork
{
	CDP_WORK_INBOX = 1,
	CDP_WORK_COMPONENTS,
	CDP_WORK_PAIRS,
	CDP_WORK_MAINTAIN,
	CDP_WORK_SEGMENT,
	CDP_WORK_TRAIT,
	CDP_WORK_RETRY,
	CDP_WORK_IMPORT
} CdpWork;

/* One piece of work; lives where the work's own state lives. */
typedef struct CdpProgress
{
	CdpWork work;
	int phase; /* index of a word of the view, 0: none */
	int64 done;
	int64 total; /* 0: unknown */
	bool shown; /* the place is ours */
} CdpProgress;

/* What the session reported before, to be put back after errors in between. */
typedef struct CdpReported
{
	int command;
	Oid relation;
	int64 counters[20];
} CdpReported;

extern void cdp_progress_start(CdpProgress *progress, CdpWork work, int64 total);
extern void cdp_progress_set(CdpProgress *progress, int64 done);
extern void cdp_progress_total(CdpProgress *progress, int64 total);
extern void cdp_progress_phase(CdpProgress *progress, const char *phase);
extern void cdp_progress_end(CdpProgress *progress);
extern int64 cdp_progress_estimate(const char *table);

extern void cdp_progress_save(CdpReported *saved);
extern void cdp_progress_restore(const CdpReported *saved);

#endif /* CDP_PROGRESS_H */
