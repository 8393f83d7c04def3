/*
 * src/profile/algebra.h
 *		Expressions of segments over the membership index, chunk by chunk:
 *		15,872 people at a time, under the active snapshot.
 *
 * A chunk that no segment has is never looked at; where an AND has nobody on
 * one side, the other side is not read.  What holds of who is in no segment is
 * intersected with segment 0, everybody there is.
 */
#ifndef CDP_PROFILE_ALGEBRA_H
#define CDP_PROFILE_ALGEBRA_H

#include "profile/due.h"
#include "segment/chunk.h"
#include "segment/expr.h"

/*
 * Whom a role may see.  Few are looked up one by one; when they become many
 * what everybody allows is read as a whole.
 */
typedef struct CdpLens
{
	Oid role;
	bool clear; /* everybody */
	int64 probes; /* left */
	const uint8 *bits; /* NULL: not read */
	int64 nbits;
} CdpLens;

extern void cdp_lens_open(CdpLens *lens, Oid role);

/* People whose timers are due, by ord. */
typedef struct CdpDueList
{
	int n;
	const CdpDue *people;
} CdpDueList;

/* A segment that is being read. */
typedef struct CdpAlgebraSource
{
	int32 segment_id;
	CdpChunkScan *scan; /* NULL: the step is no name */
} CdpAlgebraSource;

/* A value on the stack: a bitmap, or a segment that was not read yet. */
typedef struct CdpAlgebraValue
{
	int unread; /* step that names the segment; -1: it is in bitmap */
	CdpCoreBitmap bitmap;
} CdpAlgebraValue;

/* An expression over open segments. */
typedef struct CdpAlgebra
{
	const CdpSegmentExpr *expr;
	CdpAlgebraSource *sources; /* by step; each mention has its own */
	CdpChunkScan *live; /* NULL: not needed */
	CdpLens *lens;
	CdpDueList due;
	int32 chunk_no; /* being evaluated */
	CdpAlgebraValue *stack;
} CdpAlgebra;

/*
 * Opens what the expression, whose names are looked up, needs of the chunks
 * from one on.  It holds relations: close it.
 */
extern void cdp_algebra_open(CdpAlgebra *a, const CdpSegmentExpr *expr, int32 chunk_no,
							 CdpLens *lens, CdpDueList due);
extern void cdp_algebra_close(CdpAlgebra *a);

/*
 * For whom the expression holds in a chunk, or in the next one in which it may
 * hold for anybody (NULL: there is none), of those whom the lens shows.  It
 * lasts until the next; chunks are asked for in ascending order.
 */
extern CdpCoreBitmap *cdp_algebra_at(CdpAlgebra *a, int32 chunk_no);
extern CdpCoreBitmap *cdp_algebra_next(CdpAlgebra *a);

/* Parts of it, for who combines segments himself. */
extern void cdp_algebra_source(CdpAlgebraSource *source, int32 segment_id, int32 chunk_no);
extern int32 cdp_algebra_seek(const CdpAlgebra *a, const CdpAlgebraSource *source, int32 chunk_no);
extern void cdp_algebra_read(const CdpAlgebra *a, const CdpAlgebraSource *source,
							 CdpCoreBitmap *members);
extern void cdp_lens_keep(CdpLens *lens, int32 chunk_no, CdpCoreBitmap *bitmap);

/* Whose timers are due, as the current role; outside of cdp_store_enter(). */
extern CdpDueList cdp_due_list(void);

#endif /* CDP_PROFILE_ALGEBRA_H */
