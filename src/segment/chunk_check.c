/*
 * src/segment/chunk_check.c
 *		Is the membership index what the members' rows say?  And if not: chunks
 *		made anew from them.
 *
 * Of segment 0 the rows are those of all profiles.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "index_scan.h"
#include "segment/chunk.h"
#include "store.h"

#define BITS CDP_CORE_BITMAP_BITS

#define NOT_IN_INDEX "not in the index"
#define ONLY_IN_INDEX "in the index only"

static CdpPlan segments_plan = {
	"SELECT 0 AS segment_id UNION SELECT g.set_id FROM cdp_data.segment g "
	"UNION SELECT c.segment_id FROM cdp_data.segment_chunk c "
	"UNION SELECT d.segment_id FROM cdp_data.segment_delta d ORDER BY 1",
	0,
	{0},
	NULL};

static CdpPlan numbers_plan = {
	"SELECT DISTINCT x.chunk_no FROM (SELECT m.ord / 15872 AS chunk_no "
	"    FROM cdp_data.segment_member m WHERE m.segment_id = $1 "
	"  UNION ALL SELECT p.ord / 15872 FROM cdp_data.profile p WHERE $1 = 0 "
	"  UNION ALL SELECT c.chunk_no FROM cdp_data.segment_chunk c WHERE c.segment_id = $1 "
	"  UNION ALL SELECT d.chunk_no FROM cdp_data.segment_delta d WHERE d.segment_id = $1) x "
	"ORDER BY 1",
	1,
	{INT4OID},
	NULL};

static CdpPlan lock_plan = {
	"INSERT INTO cdp_data.segment_chunk AS c (segment_id, chunk_no, payload) "
	"VALUES ($1, $2, '\\x01010000') "
	"ON CONFLICT (segment_id, chunk_no) DO UPDATE SET payload = c.payload",
	2,
	{INT4OID, INT4OID},
	NULL};

/* Deltas and rows by one snapshot: who comes later has both after it. */
static CdpPlan take_plan = {
	"WITH gone AS (DELETE FROM cdp_data.segment_delta d "
	"  WHERE d.segment_id = $1 AND d.chunk_no = $2) "
	"SELECT m.ord FROM cdp_data.segment_member m "
	"WHERE m.segment_id = $1 AND m.ord >= $2 * 15872 AND m.ord < ($2 + 1) * 15872 "
	"UNION ALL SELECT p.ord FROM cdp_data.profile p "
	"WHERE $1 = 0 AND p.ord >= $2 * 15872 AND p.ord < ($2 + 1) * 15872",
	2,
	{INT4OID, INT4OID},
	NULL};

static CdpPlan write_plan = {
	"UPDATE cdp_data.segment_chunk c SET payload = $3 WHERE c.segment_id = $1 AND c.chunk_no = $2",
	3,
	{INT4OID, INT4OID, BYTEAOID},
	NULL};

static CdpPlan empty_plan = {
	"DELETE FROM cdp_data.segment_chunk c WHERE c.segment_id = $1 AND c.chunk_no = $2",
	2,
	{INT4OID, INT4OID},
	NULL};

static CdpPlan lists_plan = {
	"SELECT s.ord, s.segments FROM cdp_data.profile_state s WHERE s.profile_id = ANY ($1) "
	"ORDER BY s.ord",
	1,
	{INT8ARRAYOID},
	NULL};

/* The rows of a segment, in the order of ords. */
typedef struct Rows
{
	Relation table;
	Relation index;
	IndexScanDesc scan;
	TupleTableSlot *slot;
	AttrNumber ord;
	int32 next; /* ord at hand, PG_INT32_MAX behind the last */
} Rows;

static void
advance(Rows *rows)
{
	bool isnull;

	rows->next = cdp_index_next(rows->scan, ForwardScanDirection, rows->slot) ?
					 DatumGetInt32(slot_getattr(rows->slot, rows->ord, &isnull)) :
					 PG_INT32_MAX;
}

static void
begin_rows(Rows *rows, int32 segment_id)
{
	bool live = segment_id == CDP_SEGMENT_LIVE;
	Oid relid = cdp_store_relation(live ? "profile" : "segment_member");
	ScanKeyData key;

	rows->table = table_open(relid, AccessShareLock);
	rows->index = index_open(cdp_store_relation(live ? "profile_ord_key" : "segment_member_pkey"),
							 AccessShareLock);
	rows->slot = table_slot_create(rows->table, NULL);
	rows->ord = get_attnum(relid, "ord");
	rows->scan = cdp_index_beginscan(rows->table, rows->index, GetActiveSnapshot(), live ? 0 : 1);
	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(segment_id));
	index_rescan(rows->scan, live ? NULL : &key, live ? 0 : 1, NULL, 0);
	advance(rows);
}

static void
end_rows(Rows *rows)
{
	index_endscan(rows->scan);
	ExecDropSingleTupleTableSlot(rows->slot);
	index_close(rows->index, AccessShareLock);
	table_close(rows->table, AccessShareLock);
}

/* Those of one chunk. */
static void
read_rows(Rows *rows, int32 chunk_no, CdpCoreBitmap *members)
{
	cdp_core_bitmap_clear(members);
	for (; rows->next / BITS == chunk_no; advance(rows))
		(void) cdp_core_bitmap_add(members, (uint32_t) (rows->next % BITS));
}

static void
check_segment(int32 segment_id, CdpChunkFound found, void *arg)
{
	CdpChunkScan *scan = cdp_chunk_begin(segment_id);
	Rows rows;
	int32 chunk_no = 0;

	begin_rows(&rows, segment_id);
	for (;;)
	{
		CdpCoreBitmap index;
		CdpCoreBitmap truth;
		const char *wrong;

		CHECK_FOR_INTERRUPTS();
		chunk_no = Min(cdp_chunk_seek(scan, chunk_no), rows.next / BITS);
		if (rows.next == PG_INT32_MAX && cdp_chunk_seek(scan, chunk_no) == CDP_NO_CHUNK)
			break;
		wrong = cdp_chunk_read_checked(scan, chunk_no, &index);
		if (wrong)
			found(segment_id, chunk_no * BITS, true, wrong, arg);
		read_rows(&rows, chunk_no, &truth);
		cdp_core_bitmap_xor(&index, &truth);
		for (uint32_t p = cdp_core_bitmap_next(&index, 0); p < BITS;
			 p = cdp_core_bitmap_next(&index, p + 1))
			found(segment_id, chunk_no * BITS + (int32) p, false,
				  cdp_core_bitmap_has(&truth, p) ? NOT_IN_INDEX : ONLY_IN_INDEX, arg);
		chunk_no++;
	}
	end_rows(&rows);
	cdp_chunk_end(scan);
}

/* The ids of all segments that there are, or of which something is left. */
static int32 *
all_segments(int *n)
{
	int32 *ids;

	*n = cdp_store_run(&segments_plan, NULL, NULL, true, -1);
	ids = palloc(sizeof(int32) * *n);
	for (int r = 0; r < *n; r++)
		ids[r] = (int32) cdp_store_int64(r, 1);
	SPI_freetuptable(SPI_tuptable);
	return ids;
}

void
cdp_chunk_check(CdpChunkFound found, void *arg)
{
	int n;
	int32 *ids = all_segments(&n);

	for (int i = 0; i < n; i++)
		check_segment(ids[i], found, arg);
}

/* Makes a chunk anew from the members' rows. */
static void
rebuild_chunk(int32 segment_id, int32 chunk_no)
{
	Datum args[3] = {Int32GetDatum(segment_id), Int32GetDatum(chunk_no)};
	CdpCoreBitmap bitmap;
	bytea *payload;
	int rows;
	size_t len;

	CHECK_FOR_INTERRUPTS();
	cdp_store_run(&lock_plan, args, NULL, false, 1);
	rows = cdp_store_run(&take_plan, args, NULL, false, -1);
	cdp_core_bitmap_clear(&bitmap);
	for (int r = 0; r < rows; r++)
		(void) cdp_core_bitmap_add(&bitmap, (uint32_t) (cdp_store_int64(r, 1) % BITS));
	SPI_freetuptable(SPI_tuptable);
	if (rows == 0)
	{
		cdp_store_run(&empty_plan, args, NULL, false, 1);
		return;
	}
	payload = palloc(VARHDRSZ + CDP_CORE_BITMAP_MAX);
	len = cdp_core_bitmap_encode(&bitmap, (uint8_t *) VARDATA(payload));
	SET_VARSIZE(payload, VARHDRSZ + len);
	args[2] = PointerGetDatum(payload);
	cdp_store_run(&write_plan, args, NULL, false, 1);
	pfree(payload);
}

void
cdp_chunk_rebuild(int32 segment_id)
{
	Datum args[1] = {Int32GetDatum(segment_id)};
	int n = cdp_store_run(&numbers_plan, args, NULL, false, -1);
	int32 *numbers = palloc(sizeof(int32) * Max(n, 1));

	for (int r = 0; r < n; r++)
		numbers[r] = (int32) cdp_store_int64(r, 1);
	SPI_freetuptable(SPI_tuptable);
	for (int i = 0; i < n; i++)
		rebuild_chunk(segment_id, numbers[i]);
	pfree(numbers);
}

/* Somebody and the segments that she is in. */
typedef struct Person
{
	int32 ord;
	ArrayType *segments;
} Person;

static bool
is_in(const Person *person, int32 segment_id)
{
	const int32 *ids = (const int32 *) ARR_DATA_PTR(person->segments);
	int n = ArrayGetNItems(ARR_NDIM(person->segments), ARR_DIMS(person->segments));

	if (segment_id == CDP_SEGMENT_LIVE)
		return true;
	for (int i = 0; i < n; i++)
		if (ids[i] == segment_id)
			return true;
	return false;
}

/* Their lists, and their places in the index, by ord. */
static Person *
read_people(const int64 *profiles, int n, int *npeople)
{
	Datum args[1] = {cdp_array_int64(profiles, n)};
	int rows = cdp_store_run(&lists_plan, args, NULL, false, -1);
	Person *people = palloc(sizeof(Person) * Max(rows, 1));

	for (int r = 0; r < rows; r++)
	{
		bool isnull;

		people[r].ord = (int32) cdp_store_int64(r, 1);
		people[r].segments = DatumGetArrayTypePCopy(cdp_store_value(r, 2, &isnull));
	}
	SPI_freetuptable(SPI_tuptable);
	*npeople = rows;
	return people;
}

/* Says of which of these people, by ord, the index of a segment is wrong. */
static void
check_people(int32 segment_id, const Person *people, int n, CdpChunkFound found, void *arg)
{
	CdpChunkScan *scan = cdp_chunk_begin(segment_id);
	CdpCoreBitmap members;
	int32 chunk_no = -1;

	for (int i = 0; i < n; i++)
	{
		bool truth = is_in(&people[i], segment_id);

		if (people[i].ord / BITS != chunk_no)
		{
			const char *wrong;

			chunk_no = people[i].ord / BITS;
			wrong = cdp_chunk_read_checked(scan, chunk_no, &members);
			if (wrong)
				found(segment_id, people[i].ord, true, wrong, arg);
		}
		if (cdp_core_bitmap_has(&members, (uint32_t) (people[i].ord % BITS)) != truth)
			found(segment_id, people[i].ord, false, truth ? NOT_IN_INDEX : ONLY_IN_INDEX, arg);
	}
	cdp_chunk_end(scan);
}

void
cdp_chunk_check_people(const int64 *profiles, int n, CdpChunkFound found, void *arg)
{
	int npeople;
	Person *people = read_people(profiles, n, &npeople);
	int nsegments;
	int32 *ids = all_segments(&nsegments);

	for (int i = 0; i < nsegments && npeople > 0; i++)
		check_people(ids[i], people, npeople, found, arg);
}

/* Chunks that are wrong, as pairs; the same may come again. */
typedef struct Wrong
{
	int n;
	int room;
	int32 (*chunks)[2];
} Wrong;

static void
note_wrong(int32 segment_id, int32 ord, bool whole pg_attribute_unused(),
		   const char *what pg_attribute_unused(), void *arg)
{
	Wrong *w = arg;

	if (w->n > 0 && w->chunks[w->n - 1][0] == segment_id && w->chunks[w->n - 1][1] == ord / BITS)
		return;
	if (w->n == w->room)
	{
		w->room *= 2;
		w->chunks = repalloc(w->chunks, sizeof(*w->chunks) * w->room);
	}
	w->chunks[w->n][0] = segment_id;
	w->chunks[w->n++][1] = ord / BITS;
}

static void
rebuild_wrong(const Wrong *w)
{
	for (int i = 0; i < w->n; i++)
		rebuild_chunk(w->chunks[i][0], w->chunks[i][1]);
}

void
cdp_chunk_repair(const int64 *profiles, int n)
{
	Wrong w = {0, 16, palloc(sizeof(int32[2]) * 16)};

	PushActiveSnapshot(GetTransactionSnapshot());
	cdp_chunk_check_people(profiles, n, note_wrong, &w);
	PopActiveSnapshot();
	rebuild_wrong(&w);
}

void
cdp_chunk_repair_all(void)
{
	Wrong w = {0, 16, palloc(sizeof(int32[2]) * 16)};

	PushActiveSnapshot(GetTransactionSnapshot());
	cdp_chunk_check(note_wrong, &w);
	PopActiveSnapshot();
	rebuild_wrong(&w);
}
