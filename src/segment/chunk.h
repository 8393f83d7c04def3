/*
 * src/segment/chunk.h
 *		The membership index: who is in a segment, as bitmaps over ords.
 *
 * A chunk is 15,872 ords of one segment: a row of cdp_data.segment_chunk with
 * a bitmap.  Entering or leaving is a row of cdp_data.segment_delta, which is
 * only appended to: no two writers meet in a row.  Folding puts deltas into
 * chunks.
 *
 * A delta is a step, +1 or -1, and who is a member is the sum of chunk and
 * steps.  A sum has no order, so a delta needs no number.  What it needs:
 *
 *	- steps are true changes: +1 only for who was not in, -1 only for who was.
 *	  The writer knows, for he changes the member's row, or her list, under
 *	  the person's lock.
 *	- a snapshot sees a beginning of a person's steps.  It does, for each was
 *	  written under her lock, which is held until commit; and folding deletes
 *	  steps and changes the chunk in one transaction.
 *
 * A sum that is neither 0 nor 1 is a damage that cdp.verify() can see; readers
 * take what is above for 1 and below for 0.
 */
#ifndef CDP_SEGMENT_CHUNK_H
#define CDP_SEGMENT_CHUNK_H

#include "core/bitmap.h"
#include "identity/graph.h"

/* The segment of everybody there is. */
#define CDP_SEGMENT_LIVE 0

/* Beyond all chunks. */
#define CDP_NO_CHUNK INT32_MAX

typedef struct CdpChunkFlip
{
	int32 segment_id;
	int32 ord;
	bool in;
} CdpChunkFlip;

/*
 * The end of a statement whose table expression "source" yields segment_id and
 * ord of true changes: WITH gone AS (DELETE ... RETURNING segment_id, ord)
 * CDP_CHUNK_STEPS("gone", "-1").
 */
#define CDP_CHUNK_STEPS(source, step) \
	"INSERT INTO cdp_data.segment_delta (segment_id, chunk_no, position, step) " \
	"SELECT x.segment_id, x.ord / 15872, x.ord % 15872, " step " FROM " source " x"

/*
 * Those of "source" who were no members when the statement began: an INSERT ...
 * ON CONFLICT DO UPDATE of them does not tell.
 */
#define CDP_CHUNK_FRESH(source) \
	"(SELECT f.segment_id, f.ord FROM " source " f WHERE NOT EXISTS (SELECT FROM " \
	"cdp_data.segment_member was WHERE was.segment_id = f.segment_id AND was.ord = f.ord))"

/* Inside cdp_store_enter(), as all that follows. */
extern void cdp_chunk_flip(const CdpChunkFlip *flips, int n);

/* People whom a graph made, brought back or merged away. */
extern void cdp_chunk_live(const CdpGraph *graph);

/*
 * Reads a segment under the active snapshot, chunk after chunk.  A scan holds
 * relations: end it.
 */
typedef struct CdpChunkScan CdpChunkScan;

extern CdpChunkScan *cdp_chunk_begin(int32 segment_id);

/* The same from a chunk on. */
extern CdpChunkScan *cdp_chunk_begin_at(int32 segment_id, int32 chunk_no);

/* The first chunk from this one on that may have members, or CDP_NO_CHUNK. */
extern int32 cdp_chunk_seek(CdpChunkScan *scan, int32 chunk_no);

/* Members of a chunk, once; those before it are passed over. */
extern void cdp_chunk_read(CdpChunkScan *scan, int32 chunk_no, CdpCoreBitmap *members);

/* The same, as far as can be read; what is wrong with the chunk, or NULL. */
extern const char *cdp_chunk_read_checked(CdpChunkScan *scan, int32 chunk_no,
										  CdpCoreBitmap *members);
extern void cdp_chunk_end(CdpChunkScan *scan);

/* Folds up to so many chunks that are worth it; returns how many. */
extern int cdp_chunk_fold(int max);

/* Folds every chunk that has a delta and that nobody else folds. */
extern int cdp_chunk_fold_all(void);

/*
 * Somebody of whom the index does not say what the members' rows say.  whole:
 * it is the chunk, and nobody in particular.
 */
typedef void (*CdpChunkFound)(int32 segment_id, int32 ord, bool whole, const char *what,
							  void *arg);

/* Compares all of the index with the members' rows; reads all of both. */
extern void cdp_chunk_check(CdpChunkFound found, void *arg);

/* Compares what it says of these people with their lists. */
extern void cdp_chunk_check_people(const int64 *profiles, int n, CdpChunkFound found, void *arg);

/* Makes a segment's chunks anew from the members' rows, beside writers. */
extern void cdp_chunk_rebuild(int32 segment_id);

/* Makes anew the chunks that have one of these people wrong, by their lists. */
extern void cdp_chunk_repair(const int64 *profiles, int n);

/* Makes anew all chunks that are wrong; reads all of the index. */
extern void cdp_chunk_repair_all(void);

#endif /* CDP_SEGMENT_CHUNK_H */
