/*
 * src/profile/metric.h
 *		Metrics: folds over what a person did, kept per node.
 *
 * Events name nodes and never move, so the folded state of a metric is kept
 * per node, and a person's metric is the combination of her nodes' states.  A
 * merge and its undoing touch nothing.
 *
 * A state is a list of cells in the order of time.  A cell covers
 * [start, start + width) and holds what its events add up to.  A metric without
 * a period has one cell that covers all times (width 0).  One with a period
 * starts with cells of a microsecond, that is exact times; when they become
 * too many, the width is doubled until they are few.  A reader takes cells that
 * are inside the window as they are, and for the one that the window's edge
 * cuts reads its events: exact at every moment, whatever the width.
 *
 * The window holds the events after now - period (calendar arithmetic in UTC).
 * It has no upper end: an event that is dated ahead, a day at most, counts
 * from when it is known, as it does for a metric without a period.
 *
 * A cell that holds more values than are kept says so, and is read from its
 * events as well.
 */
#ifndef CDP_PROFILE_METRIC_H
#define CDP_PROFILE_METRIC_H

#include "lib/stringinfo.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "profile/dimension.h"
#include "store.h"

/* Cells of one state; above, the width is doubled until half of them do. */
#define CDP_METRIC_CELLS 32

/* Different values that a cell counts exactly; more are estimated. */
#define CDP_METRIC_HASHES 1024

/* Different values, and bytes of them, that a cell keeps for list and most_frequent. */
#define CDP_METRIC_ITEMS 256
#define CDP_METRIC_ITEM_BYTES 8192

/* Values shown by a list. */
#define CDP_METRIC_LIST 1000

/* Bytes of a text that are kept. */
#define CDP_METRIC_TEXT 1000

/* A sum takes numbers up to this, either way; so no sum leaves the range. */
#define CDP_METRIC_MAX_ADDEND 1e290

typedef enum CdpMetricKind
{
	CDP_METRIC_COUNT,
	CDP_METRIC_SUM,
	CDP_METRIC_AVG,
	CDP_METRIC_MIN,
	CDP_METRIC_MAX,
	CDP_METRIC_FIRST,
	CDP_METRIC_LAST,
	CDP_METRIC_UNIQUE,
	CDP_METRIC_FREQUENT,
	CDP_METRIC_LISTED,
	CDP_METRIC_AFFINITY /* a dimension, see dimension.h */
} CdpMetricKind;

/* What one event gives to a metric. */
typedef struct CdpMetricInput
{
	TimestampTz ts;
	uint8 key[16]; /* breaks ties of ts */
	double number;
	const char *text; /* NULL: the time itself */
	int len;
	const CdpDimension *dimension;
	CdpCredit *credits;
	int ncredits;
} CdpMetricInput;

typedef struct CdpMetricItem
{
	int64 n;
	const char *text; /* not terminated */
	int len;
} CdpMetricItem;

typedef struct CdpMetricAffinity CdpMetricAffinity;

/* What events add up to; which fields are used depends on the kind. */
typedef struct CdpMetricAcc
{
	int64 n; /* events that counted */
	double number; /* least or greatest */
	double *parts; /* that add up to the sum, see metric_state.c */
	int nparts;
	TimestampTz ts; /* first, last */
	uint8 key[16];
	const char *text;
	int len;
	uint64 *hashes; /* the least ones, ascending */
	int nhashes;
	bool more; /* there were others */
	CdpMetricItem *items;
	int nitems;
	int nsorted; /* the first ones, by their bytes, each once; the rest came later */
	int room;
	bool overflow; /* items were not kept: ask the events */
	CdpMetricAffinity *affinity; /* see metric_affinity.c */
} CdpMetricAcc;

typedef struct CdpMetricCell
{
	TimestampTz start;
	CdpMetricAcc acc;
} CdpMetricCell;

typedef struct CdpMetricState
{
	int64 width; /* microseconds, a power of two; 0: all times */
	int ncells;
	bool whole; /* a base: keeps all values, however many */
	CdpMetricCell *cells; /* ascending; room for CDP_METRIC_CELLS + 1 */
} CdpMetricState;

/* metric_state.c; all allocate in the current context. */
extern void cdp_metric_acc_add(CdpMetricKind kind, CdpMetricAcc *acc, const CdpMetricInput *in);
extern void cdp_metric_acc_merge(CdpMetricKind kind, CdpMetricAcc *acc, const CdpMetricAcc *other);
extern void cdp_metric_acc_settle(CdpMetricAcc *acc); /* sorts the items */
extern double cdp_metric_acc_sum(const CdpMetricAcc *acc);
extern void cdp_metric_state_start(CdpMetricState *state, bool windowed);
extern void cdp_metric_state_add(CdpMetricKind kind, CdpMetricState *state,
								 const CdpMetricInput *in, TimestampTz cutoff);
extern bool cdp_metric_state_expire(CdpMetricState *state, TimestampTz cutoff);
extern void cdp_metric_state_read(CdpMetricKind kind, const char *bytes, int len,
								  CdpMetricState *state);
extern void cdp_metric_state_write(CdpMetricKind kind, const CdpMetricState *state,
								   StringInfo out);

extern void cdp_metric_put(StringInfo out, uint64 v);
extern uint64 cdp_metric_get(StringInfo in);

/* metric_filter.c */
typedef struct CdpMetricFilter CdpMetricFilter;

extern CdpMetricFilter *cdp_metric_filter_compile(const Jsonb *rule, MemoryContext context);
extern bool cdp_metric_filter_matches(const CdpMetricFilter *filter, Jsonb *document);

/* A metric as defined. */
typedef struct CdpMetric
{
	int32 id;
	const char *name;
	const char *event; /* NULL: every event */
	CdpMetricKind kind;
	Oid type; /* of its values */
	char **path; /* of the property; none: NULL */
	int npath;
	CdpMetricFilter *filter; /* or NULL */
	Interval *period; /* or NULL */
	bool of_sessions; /* its events are the ends of sessions */
	const CdpDimension *dimension; /* of kind affinity, else NULL */
	bool ready;
	bool anew; /* ready, and being made anew */
} CdpMetric;

typedef struct CdpMetricConfig
{
	uint64 generation;
	bool provisional; /* read in parallel mode, under a query's snapshot */
	MemoryContext context;
	int n;
	CdpMetric *metrics; /* ascending by id */
	CdpDimensions *dimensions; /* NULL: there are none */
} CdpMetricConfig;

/* What is looked at of an event. */
typedef struct CdpMetricEvent
{
	int64 node_id;
	TimestampTz ts;
	TimestampTz received_at;
	const uint8 *key;
	const char *type;
	const char *name; /* or NULL */
	Jsonb *properties; /* or NULL */
	/* for sessions; not there where metrics are made anew */
	Jsonb *context; /* or NULL */
	const char *source;
} CdpMetricEvent;

/* One metric's state as stored; points into the row. */
typedef struct CdpMetricEntry
{
	int32 id;
	const char *bytes;
	int len;
} CdpMetricEntry;

/* metric.c; inside cdp_store_enter(), unless what is known is current */
extern const CdpMetricConfig *cdp_metric_config(void);
extern bool cdp_metric_config_is_current(void);
extern const CdpMetric *cdp_metric_find(int32 id);
/* the latest time that is out of the window; never goes back while now goes on */
extern TimestampTz cdp_metric_cutoff(const CdpMetric *metric, TimestampTz now);
extern TimestampTz cdp_metric_leaves(const CdpMetric *metric, TimestampTz ts);
extern bool cdp_metric_is_event(const CdpMetric *metric, const char *type, const char *name);
extern bool cdp_metric_input(const CdpMetric *metric, const CdpMetricEvent *event,
							 CdpMetricInput *in);
extern bool cdp_metric_names(const char *word, const char *type, const char *name);
extern char **cdp_metric_path(char *path, int *n);
extern JsonbValue *cdp_metric_property(char **path, int npath, Jsonb *properties);
extern bool cdp_metric_scalar(const JsonbValue *value, CdpMetricInput *in);
extern CdpMetricEntry *cdp_metric_entries(const bytea *states, int *n);
extern void cdp_metric_fold(const CdpMetricEvent *events, int n);

/*
 * Makes the states of nodes anew from their bases and events: of one metric, or of all
 * (0).  The caller holds the locks of the nodes' people.  Returns the number
 * of events read.
 */
extern int64 cdp_metric_rebuild(const int64 *nodes, int n, int32 metric_id);

/*
 * The states of metrics without a period, as in a row, with these events of one
 * node added and all values kept; NULL: old is what it was.
 */
extern bytea *cdp_metric_fold_whole(bytea *old, const CdpMetricEvent *events, int n);

/*
 * Keeps, of these nodes, those in whose rows something is over: cells that no
 * window will hold, states of metrics that were dropped.  write: and forgets it,
 * for which the caller holds the locks of their people.  Returns how many.
 */
extern int cdp_metric_tidy(int64 *nodes, int n, bool write);

/*
 * Visits the events of nodes with from < ts < to, in no order; read_only: those
 * that the calling query sees.  Returns how many there were.
 */
typedef void (*CdpMetricVisit)(const CdpMetricEvent *event, void *arg);
extern int64 cdp_metric_events(const int64 *nodes, int n, TimestampTz from, TimestampTz to,
							   bool read_only, CdpMetricVisit visit, void *arg);

/*
 * metric_value.c: a person's nodes as the calling query sees them, until the next
 * person is asked for; false: nobody, or nobody whom the caller may see.
 */
extern bool cdp_metric_person(int64 profile_id, TimestampTz now, const int64 **nodes, int *n);

/* metric_value.c: of that person's nodes one by one */
extern bool cdp_metric_person_state(int node, const CdpMetric *metric, CdpMetricState *state);

/*
 * metric_value.c: what a metric says of a person; see column.h.  Who calls it as
 * the storage's owner sees everybody.
 */
extern Datum cdp_metric_of_person(int64 profile_id, int32 metric_id, TimestampTz now, bool *isnull,
								  TimestampTz *due);

/*
 * metric_backfill.c.  A step of the task of this kind: makes what is kept of the
 * next nodes anew, and when there are none left carries out ready, unless NULL, for
 * the task's target.  False: there is no such task.
 */
typedef void (*CdpNodesRebuild)(const int64 *nodes, int n, int32 target);
extern bool cdp_nodes_backfill_step(const char *kind, CdpNodesRebuild rebuild, CdpPlan *ready);
extern bool cdp_metric_backfill_step(void);
extern bool cdp_metric_tidy_step(void);

#endif /* CDP_PROFILE_METRIC_H */
