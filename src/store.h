/*
 * src/store.h
 *		Access to the tables that cdp.init() made: who we are, what we may
 *		cache, how statements run.  Floor 0.
 *
 * Tables in cdp_data belong to a role nobody can log in as.  Functions of the
 * extension run as their caller; to touch storage they call
 * cdp_store_enter(), which remembers the caller (consent is decided for
 * *him*), becomes the owner inside a security-restricted operation and pins
 * search_path, and cdp_store_leave(), which restores all three.  When an
 * error intervenes the end of the (sub)transaction restores them.
 *
 * Statements are kept plans, one static CdpPlan per call site, always generic
 * and biased to index scans: they are probes by key with arrays of keys, and
 * a plan made while the tables were small must not turn into a sequential
 * scan, or a hash join over all, of large ones.  For the same reason they join
 * tables by "= ANY (ARRAY[x])" or LATERAL (... OFFSET 0): an equality would let
 * the planner read a whole index in its order and probe the few keys from it,
 * cheap while the table is empty and ruinous later in the same transaction.
 *
 * Configuration (traits, segments, purposes ...) is cached per backend.  Every
 * configuration table carries a statement trigger that invalidates the
 * relation cache entry of one tiny table, cdp_data.config_signal; the one
 * callback the library registers counts those invalidations.  A cache is
 * valid while the count stands where it stood when its filling began.
 */
#ifndef CDP_STORE_H
#define CDP_STORE_H

#include "executor/spi.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

/* State of one visit to the storage; lives on the caller's C stack. */
typedef struct CdpStore
{
	Oid caller; /* effective role before we became the owner */
	int caller_sec; /* its security context flags */
	int guc_level; /* nesting level that holds search_path */
} CdpStore;

/* What cdp.init() recorded about this database. */
typedef struct CdpInstallation
{
	uint64 seed; /* mixed into every identifier key */
	int data_version;
	char partition_interval[16]; /* day, week, month or year */
} CdpInstallation;

/*
 * Up to so many rows go one by one through a plain statement: for a few, setting
 * up a set-based one costs more than it saves.
 */
#define CDP_FEW 4

/* One prepared statement of one call site; static storage, never freed. */
#define CDP_PLAN_MAX_ARGS 17
typedef struct CdpPlan
{
	const char *sql;
	int nargs;
	Oid argtypes[CDP_PLAN_MAX_ARGS];
	SPIPlanPtr plan; /* NULL until first use in this backend */
} CdpPlan;

/*
 * The last statement's result.  Whoever runs statements on the way to
 * somebody else's answer (a cache that must be filled) puts it back.
 */
typedef struct CdpResult
{
	SPITupleTable *table;
	uint64 rows;
} CdpResult;

extern void cdp_store_register(void);
extern bool cdp_store_exists(void);
extern void cdp_store_require(void);
extern Oid cdp_store_schema(void);
extern Oid cdp_store_owner(void);
extern Oid cdp_store_relation(const char *name);
extern const CdpInstallation *cdp_store_installation(void);
extern uint64 cdp_store_generation(void);

extern int cdp_store_pin_settings(void);
extern void cdp_store_enter(CdpStore *store);
extern void cdp_store_leave(CdpStore *store);
extern void cdp_store_retire(MemoryContext context);
extern int cdp_store_run(CdpPlan *plan, Datum *values, const char *nulls,
						 bool read_only, int expected);
extern Portal cdp_store_open(CdpPlan *plan, Datum *values);
extern Portal cdp_store_open_read(CdpPlan *plan, Datum *values);
extern void cdp_store_freeze(void (*work)(void *arg), void *arg);
extern bool cdp_store_is_frozen(void);
extern int cdp_store_run_latest(const char *sql);
extern int cdp_store_run_shown(const char *sql);
extern CdpResult cdp_store_save_result(void);
extern void cdp_store_restore_result(CdpResult saved);
extern void cdp_store_execute(const char *sql);

extern ErrorData *cdp_store_try(void (*work)(void *arg), void *arg, bool (*is_ours)(int sqlstate));
extern bool cdp_store_attempt(bool (*work)(void *arg), void *arg);
extern bool cdp_error_is_grave(int sqlstate);

extern bool cdp_role_is_exempt(Oid role);
extern TimestampTz cdp_now(void);
extern TimestampTz cdp_instant(void);

/* Column "col" (1-based) of row "row" of the last result. */
extern Datum cdp_store_value(uint64 row, int col, bool *isnull);
extern int64 cdp_store_int64(uint64 row, int col);
extern char *cdp_store_text(uint64 row, int col); /* NULL for null */
/* Column 1 of all rows of the last result, which is freed. */
extern int64 *cdp_store_ids(int rows);

/* For qsort() and bsearch(), ascending. */
static inline int
cdp_compare_int64(const void *a, const void *b)
{
	int64 x = *(const int64 *) a;
	int64 y = *(const int64 *) b;

	return (x > y) - (x < y);
}

/* Arrays for unnest($1, $2 ...); elements without nulls unless given. */
extern Datum cdp_array_int64(const int64 *v, int n);
extern Datum cdp_array_int32(const int32 *v, int n);
extern Datum cdp_array_bool(const bool *v, int n);
extern Datum cdp_array_text(const char *const *v, int n); /* NULL = null */
extern Datum cdp_array_uuid(const uint8 (*v)[16], int n);
extern Datum cdp_array_timestamptz(const TimestampTz *v, int n);
extern char *cdp_text_list(List *strings); /* array text, quoted */
extern Datum cdp_array_parse(const char *text, Oid type);
extern Datum cdp_array_datums(Datum *v, bool *nulls, int n, Oid type);
extern Jsonb *cdp_jsonb_empty(void); /* {} */

#endif /* CDP_STORE_H */
