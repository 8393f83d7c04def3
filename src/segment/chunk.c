/*
 * src/segment/chunk.c
 *		The membership index: appending deltas, reading (see chunk.h).
 *
 * A scan walks two indexes side by side, those of chunks and of deltas, both
 * in the order of chunks, under one snapshot.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "index_scan.h"
#include "row.h"
#include "segment/chunk.h"
#include "store.h"

#define BITS CDP_CORE_BITMAP_BITS

/* Columns of segment_chunk and of segment_delta. */
enum
{
	CHUNK_NO = 2,
	PAYLOAD = 3,
	POSITION = 3,
	STEP = 4
};

typedef struct Step
{
	uint16 position;
	int16 step;
} Step;

/* One of the two tables, by its index on (segment_id, chunk_no). */
typedef struct Side
{
	Relation table;
	Relation index;
	IndexScanDesc scan;
	TupleTableSlot *slot; /* the row at hand */
	int32 chunk_no; /* its chunk, CDP_NO_CHUNK behind the last */
} Side;

struct CdpChunkScan
{
	int32 segment_id;
	Side chunk;
	Side delta;
	Step *steps; /* of the chunk at hand */
	int nsteps;
	int room;
};

static CdpRowOp delta_row = {
	.table = "segment_delta",
	.columns = {"segment_id", "chunk_no", "position", "step"},
};

static CdpPlan delta_plan = {
	"INSERT INTO cdp_data.segment_delta (segment_id, chunk_no, position, step) "
	"SELECT * FROM unnest($1, $2, $3, $4)",
	4,
	{INT4ARRAYOID, INT4ARRAYOID, INT4ARRAYOID, INT4ARRAYOID},
	NULL};

void
cdp_chunk_flip(const CdpChunkFlip *flips, int n)
{
	CdpRow *rows = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(CdpRow) * Max(n, 1));
	int32 *column[4];
	Datum args[4];

	if (n == 0)
		return;
	for (int i = 0; i < n; i++)
		rows[i] = (CdpRow){.values = {Int32GetDatum(flips[i].segment_id),
									  Int32GetDatum(flips[i].ord / BITS),
									  Int16GetDatum(flips[i].ord % BITS),
									  Int16GetDatum(flips[i].in ? 1 : -1)}};
	if (cdp_row_insert_many(&delta_row, n, rows, NULL))
		return;
	for (int c = 0; c < 4; c++)
		column[c] = palloc(sizeof(int32) * n);
	for (int i = 0; i < n; i++)
	{
		column[0][i] = flips[i].segment_id;
		column[1][i] = flips[i].ord / BITS;
		column[2][i] = flips[i].ord % BITS;
		column[3][i] = flips[i].in ? 1 : -1;
	}
	for (int c = 0; c < 4; c++)
		args[c] = cdp_array_int32(column[c], n);
	cdp_store_run(&delta_plan, args, NULL, false, n);
}

void
cdp_chunk_live(const CdpGraph *graph)
{
	CdpChunkFlip *flips = MemoryContextAllocHuge(CurrentMemoryContext,
												 sizeof(CdpChunkFlip) *
													 (graph->nlocked + graph->nmerges + 1));
	int n = 0;

	for (int i = 0; i < graph->nlocked; i++)
		if (graph->locked[i].created)
			flips[n++] = (CdpChunkFlip){CDP_SEGMENT_LIVE, graph->locked[i].ord, true};
	for (int i = 0; i < graph->nmerges; i++)
		flips[n++] = (CdpChunkFlip){CDP_SEGMENT_LIVE, graph->merges[i].loser_ord, false};
	cdp_chunk_flip(flips, n);
}

static int32
column(const Side *side, int attnum)
{
	bool isnull;

	return DatumGetInt32(slot_getattr(side->slot, attnum, &isnull));
}

static void
advance(Side *side)
{
	if (side->chunk_no == CDP_NO_CHUNK)
		return;
	side->chunk_no = cdp_index_next(side->scan, ForwardScanDirection, side->slot) ?
						 column(side, CHUNK_NO) :
						 CDP_NO_CHUNK;
}

static void
begin_side(Side *side, const char *table, const char *index, int32 segment_id, int32 chunk_no)
{
	ScanKeyData keys[2];

	side->table = table_open(cdp_store_relation(table), AccessShareLock);
	side->index = index_open(cdp_store_relation(index), AccessShareLock);
	side->slot = table_slot_create(side->table, NULL);
	side->scan = cdp_index_beginscan(side->table, side->index, GetActiveSnapshot(), 2);
	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(segment_id));
	ScanKeyInit(&keys[1], 2, BTGreaterEqualStrategyNumber, F_INT4GE, Int32GetDatum(chunk_no));
	index_rescan(side->scan, keys, 2, NULL, 0);
	side->chunk_no = 0;
	advance(side);
}

static void
end_side(Side *side)
{
	index_endscan(side->scan);
	ExecDropSingleTupleTableSlot(side->slot);
	index_close(side->index, AccessShareLock);
	table_close(side->table, AccessShareLock);
}

CdpChunkScan *
cdp_chunk_begin(int32 segment_id)
{
	return cdp_chunk_begin_at(segment_id, 0);
}

CdpChunkScan *
cdp_chunk_begin_at(int32 segment_id, int32 chunk_no)
{
	CdpChunkScan *scan = palloc0(sizeof(CdpChunkScan));

	scan->segment_id = segment_id;
	begin_side(&scan->chunk, "segment_chunk", "segment_chunk_pkey", segment_id, chunk_no);
	begin_side(&scan->delta, "segment_delta", "segment_delta_chunk", segment_id, chunk_no);
	scan->room = 16;
	scan->steps = palloc(sizeof(Step) * scan->room);
	return scan;
}

void
cdp_chunk_end(CdpChunkScan *scan)
{
	end_side(&scan->chunk);
	end_side(&scan->delta);
	pfree(scan->steps);
	pfree(scan);
}

int32
cdp_chunk_seek(CdpChunkScan *scan, int32 chunk_no)
{
	while (scan->chunk.chunk_no < chunk_no)
		advance(&scan->chunk);
	while (scan->delta.chunk_no < chunk_no)
		advance(&scan->delta);
	return Min(scan->chunk.chunk_no, scan->delta.chunk_no);
}

/*
 * The bitmap of the row at hand; what is wrong with it, or NULL.  Checked: as
 * if somebody else had written it, else what cannot be read only.
 */
static const char *
load(const CdpChunkScan *scan, CdpCoreBitmap *members, bool checked)
{
	bool isnull;
	struct varlena *payload =
		PG_DETOAST_DATUM_PACKED(slot_getattr(scan->chunk.slot, PAYLOAD, &isnull));
	const uint8 *bytes = (const uint8 *) VARDATA_ANY(payload);
	size_t len = VARSIZE_ANY_EXHDR(payload);
	const char *reason = NULL;

	if (checked && cdp_core_bitmap_decode(members, bytes, len, &reason))
		return NULL;
	if (cdp_core_bitmap_load(members, bytes, len))
		return checked ? psprintf("damaged, %s", reason) : NULL;
	cdp_core_bitmap_clear(members);
	return checked ? psprintf("damaged, %s", reason) : "damaged";
}

static int
compare_steps(const void *a, const void *b)
{
	const Step *x = a;
	const Step *y = b;

	return (int) x->position - (int) y->position;
}

/* False: the row at hand is no step. */
static bool
note_step(CdpChunkScan *scan)
{
	bool isnull;
	int position = DatumGetInt16(slot_getattr(scan->delta.slot, POSITION, &isnull));
	int step = DatumGetInt16(slot_getattr(scan->delta.slot, STEP, &isnull));

	if (position < 0 || position >= BITS)
		return false;
	if (scan->nsteps == scan->room)
	{
		scan->room *= 2;
		scan->steps = repalloc(scan->steps, sizeof(Step) * scan->room);
	}
	scan->steps[scan->nsteps++] = (Step){(uint16) position, (int16) step};
	return true;
}

/* Adds the steps at hand to the members; false: some change nothing. */
static bool
add_steps(CdpChunkScan *scan, CdpCoreBitmap *members)
{
	CdpCoreFlip *flips = palloc(sizeof(CdpCoreFlip) * scan->nsteps);
	uint32 n = 0;
	bool exact = true;

	qsort(scan->steps, scan->nsteps, sizeof(Step), compare_steps);
	for (int i = 0, k; i < scan->nsteps; i = k)
	{
		int sum = 0;

		for (k = i; k < scan->nsteps && scan->steps[k].position == scan->steps[i].position; k++)
			sum += scan->steps[k].step;
		if (sum == 0)
			continue;
		exact &= sum == (cdp_core_bitmap_has(members, scan->steps[i].position) ? -1 : 1);
		flips[n++] = (CdpCoreFlip){scan->steps[i].position, sum > 0};
	}
	cdp_core_bitmap_apply(members, flips, n);
	pfree(flips);
	return exact;
}

/* What is wrong with the chunk, or NULL; who does not check hears of damage only. */
static const char *
read_chunk(CdpChunkScan *scan, int32 chunk_no, CdpCoreBitmap *members, bool checked)
{
	const char *wrong = NULL;

	cdp_core_bitmap_clear(members);
	(void) cdp_chunk_seek(scan, chunk_no);
	if (scan->chunk.chunk_no == chunk_no)
	{
		wrong = load(scan, members, checked);
		advance(&scan->chunk);
	}
	scan->nsteps = 0;
	while (scan->delta.chunk_no == chunk_no)
	{
		if (!note_step(scan) && wrong == NULL)
			wrong = "damaged, a step is nobody's";
		advance(&scan->delta);
	}
	if (scan->nsteps > 0 && !add_steps(scan, members) && checked && wrong == NULL)
		wrong = "steps that change nothing";
	return wrong;
}

void
cdp_chunk_read(CdpChunkScan *scan, int32 chunk_no, CdpCoreBitmap *members)
{
	if (read_chunk(scan, chunk_no, members, false) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("chunk %d of segment %d is damaged", chunk_no, scan->segment_id),
				 errhint("cdp.verify() says what is wrong; cdp.refresh_segment() makes the chunks "
						 "of a segment anew, cdp.rebuild_all() all that are wrong.")));
}

const char *
cdp_chunk_read_checked(CdpChunkScan *scan, int32 chunk_no, CdpCoreBitmap *members)
{
	return read_chunk(scan, chunk_no, members, true);
}
