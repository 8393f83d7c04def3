/*
 * src/profile/estimate.c
 *		How many people an expression of segments holds for.
 *
 * The expression is evaluated for a few chunks, evenly spread: of 130,000
 * people, so that a share of 1 in 10,000 is still told from 0, and what
 * segments have in common is counted and not guessed.  Of less than that many
 * people it is exact.
 *
 * An estimate is kept for a second: a session that plans the same queries
 * again and again does not read for each.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "index_scan.h"
#include "profile/algebra.h"
#include "profile/estimate.h"
#include "store.h"

#define BITS CDP_CORE_BITMAP_BITS

#define SAMPLED_CHUNKS 8
#define KEPT_ESTIMATES 64
#define KEPT_LENGTH 200 /* bytes of an expression; longer ones are not kept */
#define KEPT_FOR 1000 /* ms */

typedef struct Kept
{
	char expr[KEPT_LENGTH]; /* "": none */
	uint64 generation;
	TimestampTz at;
	CdpEstimate estimate;
} Kept;

static Kept kept[KEPT_ESTIMATES];
static int next_kept;

/* Chunks that people may be in. */
static int32
count_chunks(void)
{
	Oid relid = cdp_store_relation("profile");
	Relation table = table_open(relid, AccessShareLock);
	Relation index = index_open(cdp_store_relation("profile_ord_key"), AccessShareLock);
	TupleTableSlot *slot = table_slot_create(table, NULL);
	IndexScanDesc scan = cdp_index_beginscan(table, index, GetActiveSnapshot(), 0);
	int32 n = 0;
	bool isnull;

	index_rescan(scan, NULL, 0, NULL, 0);
	if (cdp_index_next(scan, BackwardScanDirection, slot))
		n = DatumGetInt32(slot_getattr(slot, get_attnum(relid, "ord"), &isnull)) / BITS + 1;
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, AccessShareLock);
	table_close(table, AccessShareLock);
	return n;
}

static int64
count_in(const CdpSegmentExpr *expr, int32 chunk_no)
{
	CdpLens lens = {.clear = true};
	CdpAlgebra a;
	int64 n;

	cdp_algebra_open(&a, expr, chunk_no, &lens, (CdpDueList){0, NULL});
	n = cdp_core_bitmap_count(cdp_algebra_at(&a, chunk_no));
	cdp_algebra_close(&a);
	return n;
}

static bool
sample(const char *text, CdpEstimate *estimate)
{
	CdpSegmentExpr everybody = {0};
	CdpSegmentExpr *expr = text[0] ? cdp_segment_expr_parse(text, false) : &everybody;
	int32 chunks;
	int n;
	int64 people = 0;
	int64 found = 0;

	if (expr == NULL || !cdp_segment_expr_resolve(expr, false))
		return false;
	chunks = count_chunks();
	n = Min(chunks, SAMPLED_CHUNKS);
	for (int i = 0; i < n; i++)
	{
		/* the last one, where who came last is, is always among them */
		int32 chunk_no = (int32) (((int64) (i + 1) * chunks) / n - 1);
		int64 here = count_in(&everybody, chunk_no);

		CHECK_FOR_INTERRUPTS();
		people += here;
		found += expr->n == 0 ? here : count_in(expr, chunk_no);
	}
	estimate->people = n > 0 ? (double) people / n * chunks : 0;
	estimate->share = people > 0 ? (double) found / (double) people : 0;
	estimate->steps = (int) expr->n;
	return true;
}

/*
 * What is told to who does not see everybody: the next powers of 2, and never
 * less than these, so that a plan does not show how many people there are, nor
 * whether somebody he may not see is in it.
 */
#define SMALLEST_SHARE 0.0001
#define FEWEST_PEOPLE 16

static void
make_coarse(CdpEstimate *estimate)
{
	double people = FEWEST_PEOPLE;
	double share = 1;
	double smallest;

	while (people < estimate->people)
		people *= 2;
	smallest = Max(SMALLEST_SHARE, FEWEST_PEOPLE / people);
	while (share / 2 >= estimate->share && share / 2 >= smallest)
		share /= 2;
	estimate->people = people;
	estimate->share = share;
}

/* One that was made of it within the last second. */
static const CdpEstimate *
find_kept(const char *expr, TimestampTz now)
{
	for (int i = 0; i < KEPT_ESTIMATES; i++)
		if (kept[i].generation == cdp_store_generation() && strcmp(kept[i].expr, expr) == 0 &&
			!TimestampDifferenceExceeds(kept[i].at, now, KEPT_FOR))
			return &kept[i].estimate;
	return NULL;
}

static void
keep(const char *expr, TimestampTz now, const CdpEstimate *estimate)
{
	Kept *k = &kept[next_kept];

	if (strlen(expr) >= KEPT_LENGTH)
		return;
	strlcpy(k->expr, expr, KEPT_LENGTH);
	k->generation = cdp_store_generation();
	k->at = now;
	k->estimate = *estimate;
	next_kept = (next_kept + 1) % KEPT_ESTIMATES;
}

bool
cdp_estimate(const char *expr, CdpEstimate *estimate)
{
	TimestampTz now = GetCurrentTimestamp();
	const CdpEstimate *known;

	if (!ActiveSnapshotSet() || !cdp_store_exists())
		return false;
	known = find_kept(expr, now);
	if (known)
		*estimate = *known;
	else
	{
		MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "cdp estimate",
													  ALLOCSET_DEFAULT_SIZES);
		MemoryContext old = MemoryContextSwitchTo(context);
		bool found = sample(expr, estimate);

		MemoryContextSwitchTo(old);
		MemoryContextDelete(context);
		if (!found)
			return false;
		keep(expr, now, estimate);
	}
	if (!cdp_role_is_exempt(GetUserId()))
		make_coarse(estimate);
	return true;
}
