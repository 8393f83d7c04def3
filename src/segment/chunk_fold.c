/*
 * src/segment/chunk_fold.c
 *		Folding: deltas go into their chunks (see chunk.h).
 *
 * A chunk is worth it when many deltas wait for it, or when so many wait for
 * its segment that readers feel them: writing two kilobytes for each single
 * flip is what the deltas are there to avoid.
 *
 * Several may fold at once.  Whoever has the lock of a chunk's row folds it,
 * others pass it over (only who is about to make the same new chunk waits);
 * what he reads and deletes he sees by a snapshot taken
 * when he has the lock, so that the one before him is done.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "compat.h"
#include "segment/chunk.h"
#include "store.h"

PG_FUNCTION_INFO_V1(cdp_fold_chunks);

/* Deltas of one chunk, or of all chunks of a segment, that are worth it. */
#define CHUNK_PENDING 64
#define SEGMENT_PENDING 8192

/* Chunks folded by the same statements. */
#define AT_ONCE 256

static CdpPlan find_plan = {
	"SELECT x.segment_id, x.chunk_no FROM (SELECT d.segment_id, d.chunk_no, count(*) AS n, "
	"    sum(count(*)) OVER (PARTITION BY d.segment_id) AS of_segment "
	"  FROM cdp_data.segment_delta d GROUP BY 1, 2) x "
	"WHERE x.n >= $1 OR x.of_segment >= $2 "
	"ORDER BY x.segment_id, x.chunk_no LIMIT $3",
	3,
	{INT8OID, INT8OID, INT8OID},
	NULL};

/* A conflict with a row that somebody is folding would wait for him. */
static CdpPlan make_plan = {
	"INSERT INTO cdp_data.segment_chunk (segment_id, chunk_no, payload) "
	"SELECT u.segment_id, u.chunk_no, '\\x01010000' FROM unnest($1, $2) u (segment_id, chunk_no) "
	"WHERE NOT EXISTS (SELECT FROM cdp_data.segment_chunk c WHERE c.segment_id = u.segment_id "
	"  AND c.chunk_no = u.chunk_no) ON CONFLICT DO NOTHING",
	2,
	{INT4ARRAYOID, INT4ARRAYOID},
	NULL};

static CdpPlan lock_plan = {
	"SELECT c.segment_id, c.chunk_no, c.payload FROM unnest($1, $2) u (segment_id, chunk_no) "
	"JOIN cdp_data.segment_chunk c ON c.segment_id = ANY (ARRAY[u.segment_id]) "
	"  AND c.chunk_no = ANY (ARRAY[u.chunk_no]) FOR NO KEY UPDATE OF c SKIP LOCKED",
	2,
	{INT4ARRAYOID, INT4ARRAYOID},
	NULL};

static CdpPlan take_plan = {
	"WITH taken AS (DELETE FROM cdp_data.segment_delta d USING unnest($1, $2) u (segment_id, "
	"  chunk_no) WHERE d.segment_id = ANY (ARRAY[u.segment_id]) "
	"    AND d.chunk_no = ANY (ARRAY[u.chunk_no]) "
	"  RETURNING d.segment_id, d.chunk_no, d.position, d.step) "
	"SELECT t.segment_id, t.chunk_no, t.position, sum(t.step) FROM taken t GROUP BY 1, 2, 3 "
	"ORDER BY 1, 2, 3",
	2,
	{INT4ARRAYOID, INT4ARRAYOID},
	NULL};

static CdpPlan write_plan = {
	"UPDATE cdp_data.segment_chunk c SET payload = u.payload "
	"FROM unnest($1, $2, $3) u (segment_id, chunk_no, payload) "
	"WHERE c.segment_id = ANY (ARRAY[u.segment_id]) AND c.chunk_no = ANY (ARRAY[u.chunk_no])",
	3,
	{INT4ARRAYOID, INT4ARRAYOID, BYTEAARRAYOID},
	NULL};

static CdpPlan empty_plan = {
	"DELETE FROM cdp_data.segment_chunk c USING unnest($1, $2) u (segment_id, chunk_no) "
	"WHERE c.segment_id = ANY (ARRAY[u.segment_id]) AND c.chunk_no = ANY (ARRAY[u.chunk_no])",
	2,
	{INT4ARRAYOID, INT4ARRAYOID},
	NULL};

typedef struct Chunk
{
	int32 segment_id;
	int32 chunk_no;
	uint8 *payload;
	size_t len;
} Chunk;

static int
compare_chunks(const void *a, const void *b)
{
	const Chunk *x = a;
	const Chunk *y = b;

	if (x->segment_id != y->segment_id)
		return x->segment_id < y->segment_id ? -1 : 1;
	return (x->chunk_no > y->chunk_no) - (x->chunk_no < y->chunk_no);
}

/* The keys of chunks as two arrays. */
static void
keys_of(const Chunk *chunks, int n, Datum *args)
{
	int32 *segments = palloc(sizeof(int32) * Max(n, 1));
	int32 *numbers = palloc(sizeof(int32) * Max(n, 1));

	for (int i = 0; i < n; i++)
	{
		segments[i] = chunks[i].segment_id;
		numbers[i] = chunks[i].chunk_no;
	}
	args[0] = cdp_array_int32(segments, n);
	args[1] = cdp_array_int32(numbers, n);
}

/* Locks the chunks that nobody folds; they are moved to the front. */
static int
lock_chunks(Chunk *chunks, int n)
{
	Datum args[2];
	int rows;

	keys_of(chunks, n, args);
	cdp_store_run(&make_plan, args, NULL, false, -1);
	rows = cdp_store_run(&lock_plan, args, NULL, false, -1);
	Assert(rows <= n);
	for (int r = 0; r < rows; r++)
	{
		bool isnull;
		bytea *payload = DatumGetByteaPP(cdp_store_value(r, 3, &isnull));

		chunks[r].segment_id = (int32) cdp_store_int64(r, 1);
		chunks[r].chunk_no = (int32) cdp_store_int64(r, 2);
		chunks[r].len = VARSIZE_ANY_EXHDR(payload);
		chunks[r].payload = palloc(CDP_CORE_BITMAP_MAX);
		if (chunks[r].len > CDP_CORE_BITMAP_MAX)
			chunks[r].len = 0; /* damaged, as loading it will find */
		memcpy(chunks[r].payload, VARDATA_ANY(payload), chunks[r].len);
	}
	SPI_freetuptable(SPI_tuptable);
	qsort(chunks, rows, sizeof(Chunk), compare_chunks);
	return rows;
}

/* Applies the rows of one chunk to it; returns the first row of another. */
static int
fold_chunk(Chunk *chunk, int row, int rows)
{
	static CdpCoreFlip flips[CDP_CORE_BITMAP_BITS];
	CdpCoreBitmap bitmap;
	uint32 n = 0;

	if (!cdp_core_bitmap_load(&bitmap, chunk->payload, chunk->len))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("chunk %d of segment %d is damaged", chunk->chunk_no,
						chunk->segment_id)));
	for (; row < rows; row++)
	{
		int64 position;
		int64 sum;

		if ((int32) cdp_store_int64(row, 1) != chunk->segment_id ||
			(int32) cdp_store_int64(row, 2) != chunk->chunk_no)
			break;
		position = cdp_store_int64(row, 3);
		sum = cdp_store_int64(row, 4);
		if (position < 0 || position >= CDP_CORE_BITMAP_BITS)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("a delta of chunk %d of segment %d is damaged", chunk->chunk_no,
							chunk->segment_id)));
		if (sum != 0)
			flips[n++] = (CdpCoreFlip){(uint16) position, sum > 0};
	}
	cdp_core_bitmap_apply(&bitmap, flips, n);
	chunk->len = cdp_core_bitmap_is_empty(&bitmap) ?
					 0 :
					 cdp_core_bitmap_encode(&bitmap, chunk->payload);
	return row;
}

/* Folds chunks that are locked. */
static void
fold_locked(Chunk *chunks, int n)
{
	Datum args[3];
	Datum *payloads = palloc(sizeof(Datum) * n);
	Chunk *empty = palloc(sizeof(Chunk) * n);
	int nempty = 0;
	int kept = 0;
	int row = 0;
	int rows;

	keys_of(chunks, n, args);
	rows = cdp_store_run(&take_plan, args, NULL, false, -1);
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		row = fold_chunk(&chunks[i], row, rows);
		if (chunks[i].len == 0)
			empty[nempty++] = chunks[i];
		else
			chunks[kept++] = chunks[i];
	}
	if (row != rows)
		elog(ERROR, "cdp: deltas of a chunk that is not being folded");
	SPI_freetuptable(SPI_tuptable);
	for (int i = 0; i < kept; i++)
	{
		bytea *payload = palloc(VARHDRSZ + chunks[i].len);

		SET_VARSIZE(payload, VARHDRSZ + chunks[i].len);
		memcpy(VARDATA(payload), chunks[i].payload, chunks[i].len);
		payloads[i] = PointerGetDatum(payload);
	}
	if (kept > 0)
	{
		keys_of(chunks, kept, args);
		args[2] = cdp_array_datums(payloads, NULL, kept, BYTEAOID);
		cdp_store_run(&write_plan, args, NULL, false, kept);
	}
	if (nempty > 0)
	{
		keys_of(empty, nempty, args);
		cdp_store_run(&empty_plan, args, NULL, false, nempty);
	}
}

/* Folds chunks for which so many deltas wait, or for whose segment. */
static int
fold(int64 of_chunk, int64 of_segment, int max)
{
	Datum args[3] = {Int64GetDatum(of_chunk), Int64GetDatum(of_segment), Int64GetDatum(max)};
	int rows = cdp_store_run(&find_plan, args, NULL, false, -1);
	Chunk *found = palloc(sizeof(Chunk) * Max(rows, 1));
	int folded = 0;

	for (int r = 0; r < rows; r++)
	{
		found[r].segment_id = (int32) cdp_store_int64(r, 1);
		found[r].chunk_no = (int32) cdp_store_int64(r, 2);
	}
	SPI_freetuptable(SPI_tuptable);
	for (int i = 0; i < rows; i += AT_ONCE)
	{
		int n = lock_chunks(&found[i], Min(AT_ONCE, rows - i));

		if (n > 0)
			fold_locked(&found[i], n);
		folded += n;
	}
	return folded;
}

int
cdp_chunk_fold(int max)
{
	return fold(CHUNK_PENDING, SEGMENT_PENDING, max);
}

int
cdp_chunk_fold_all(void)
{
	return fold(1, 1, PG_INT32_MAX);
}

/*
 * Folds everything.  The extension declares no such function, for nobody needs
 * it: tests do.
 */
Datum
cdp_fold_chunks(PG_FUNCTION_ARGS)
{
	CdpStore store;
	int folded;

	(void) fcinfo;
	cdp_store_enter(&store);
	folded = cdp_chunk_fold_all();
	cdp_store_leave(&store);
	PG_RETURN_INT32(folded);
}
