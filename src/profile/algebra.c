/*
 * src/profile/algebra.c
 *		Expressions of segments over the membership index (see algebra.h).
 */
#include "postgres.h"

#include "access/table.h"
#include "miscadmin.h"
#include "utils/inval.h"
#include "utils/rel.h"

#include "consent/consent.h"
#include "profile/algebra.h"
#include "store.h"

#define BITS CDP_CORE_BITMAP_BITS

/* People to look up before all is read: this many, or rows / 16. */
#define MIN_PROBES 64

void
cdp_lens_open(CdpLens *lens, Oid role)
{
	Relation rel;

	memset(lens, 0, sizeof(*lens));
	lens->role = role;
	/* hear of what was committed since the transaction took its locks */
	AcceptInvalidationMessages();
	lens->clear = cdp_role_is_exempt(role);
	if (lens->clear)
		return;
	rel = table_open(cdp_store_relation("consent_ord"), AccessShareLock);
	lens->probes = Max(MIN_PROBES, (int64) (rel->rd_rel->reltuples / 16));
	table_close(rel, AccessShareLock);
}

/* Leaves only whom the lens shows. */
void
cdp_lens_keep(CdpLens *lens, int32 chunk_no, CdpCoreBitmap *bitmap)
{
	int64 from = (int64) chunk_no * CDP_CORE_BITMAP_BYTES;
	int64 bytes;
	uint8 data[CDP_CORE_BITMAP_BYTES] = {0};
	CdpCoreBitmap visible;

	if (lens->clear || cdp_core_bitmap_is_empty(bitmap))
		return;
	if (lens->bits == NULL && cdp_core_bitmap_count(bitmap) <= lens->probes)
	{
		lens->probes -= cdp_core_bitmap_count(bitmap);
		for (uint32 at = cdp_core_bitmap_next(bitmap, 0); at < BITS;
			 at = cdp_core_bitmap_next(bitmap, at + 1))
			if (!cdp_consent_sees(lens->role, (int32) (chunk_no * BITS + at)))
				(void) cdp_core_bitmap_remove(bitmap, at);
		return;
	}
	if (lens->bits == NULL)
		lens->bits = cdp_consent_bits(lens->role, &lens->nbits);
	bytes = Min(lens->nbits / 8 - from, CDP_CORE_BITMAP_BYTES);
	if (bytes > 0)
		memcpy(data, lens->bits + from, bytes);
	cdp_core_bitmap_from_bits(&visible, data);
	cdp_core_bitmap_and(bitmap, &visible);
}

CdpDueList
cdp_due_list(void)
{
	CdpDue *people;
	int n = cdp_due_people(&people);

	return (CdpDueList){n, people};
}

void
cdp_algebra_source(CdpAlgebraSource *source, int32 segment_id, int32 chunk_no)
{
	source->segment_id = segment_id;
	source->scan = cdp_chunk_begin_at(segment_id, chunk_no);
}

void
cdp_algebra_open(CdpAlgebra *a, const CdpSegmentExpr *expr, int32 chunk_no, CdpLens *lens,
				 CdpDueList due)
{
	memset(a, 0, sizeof(*a));
	a->expr = expr;
	a->sources = palloc0(sizeof(CdpAlgebraSource) * Max(expr->n, 1));
	for (size_t i = 0; i < expr->n; i++)
		if (expr->names[i])
			cdp_algebra_source(&a->sources[i], expr->ids[i], chunk_no);
	/* what holds of who is in no segment speaks of everybody */
	if (cdp_segment_expr_holds(expr, NULL, NULL))
		a->live = cdp_chunk_begin_at(CDP_SEGMENT_LIVE, chunk_no);
	a->lens = lens;
	a->due = due;
	a->chunk_no = chunk_no - 1;
	a->stack = palloc(sizeof(CdpAlgebraValue) * (expr->n + 1));
}

void
cdp_algebra_close(CdpAlgebra *a)
{
	for (size_t i = 0; i < a->expr->n; i++)
		if (a->sources[i].scan)
			cdp_chunk_end(a->sources[i].scan);
	if (a->live)
		cdp_chunk_end(a->live);
	pfree(a->sources);
	pfree(a->stack);
}

/* The first of those whose timers are due that is in a chunk, or after it. */
static int
due_from(const CdpAlgebra *a, int32 chunk_no)
{
	int low = 0;
	int n = a->due.n;

	while (n > 0)
	{
		int half = n / 2;

		if (a->due.people[low + half].ord / BITS < chunk_no)
		{
			low += half + 1;
			n -= half + 1;
		}
		else
			n = half;
	}
	return low;
}

static bool
is_in(const CdpDue *due, int32 id)
{
	for (int i = 0; i < due->n; i++)
		if (due->segments[i] == id)
			return true;
	return false;
}

/* The first chunk from this one on in which a segment may have members. */
int32
cdp_algebra_seek(const CdpAlgebra *a, const CdpAlgebraSource *source, int32 chunk_no)
{
	int32 next = cdp_chunk_seek(source->scan, chunk_no);
	int k = due_from(a, chunk_no);

	return k < a->due.n ? Min(next, a->due.people[k].ord / BITS) : next;
}

/* Members of a segment in the chunk: as stored, and as time has made it since. */
void
cdp_algebra_read(const CdpAlgebra *a, const CdpAlgebraSource *source, CdpCoreBitmap *members)
{
	cdp_chunk_read(source->scan, a->chunk_no, members);
	for (int k = due_from(a, a->chunk_no);
		 k < a->due.n && a->due.people[k].ord / BITS == a->chunk_no; k++)
	{
		const CdpDue *due = &a->due.people[k];

		if (is_in(due, source->segment_id))
			(void) cdp_core_bitmap_add(members, due->ord % BITS);
		else
			(void) cdp_core_bitmap_remove(members, due->ord % BITS);
	}
}

/* Reads a value that was not read yet. */
static void
settle(const CdpAlgebra *a, CdpAlgebraValue *v)
{
	if (v->unread >= 0)
		cdp_algebra_read(a, &a->sources[v->unread], &v->bitmap);
	v->unread = -1;
}

/* Is there surely nobody? */
static bool
is_none(const CdpAlgebra *a, const CdpAlgebraValue *v)
{
	if (v->unread >= 0)
		return cdp_algebra_seek(a, &a->sources[v->unread], a->chunk_no) > a->chunk_no;
	return v->bitmap.count == 0;
}

static void
combine(const CdpAlgebra *a, CdpAlgebraValue *x, CdpAlgebraValue *y, CdpCoreSegexprOp op)
{
	if (op == CDP_CORE_SEGEXPR_AND && (is_none(a, x) || is_none(a, y)))
	{
		x->unread = -1;
		cdp_core_bitmap_clear(&x->bitmap);
		return;
	}
	settle(a, x);
	settle(a, y);
	if (op == CDP_CORE_SEGEXPR_AND)
		cdp_core_bitmap_and(&x->bitmap, &y->bitmap);
	else
		cdp_core_bitmap_or(&x->bitmap, &y->bitmap);
}

/* The steps of the expression; the result is at the bottom of the stack. */
static void
run_steps(CdpAlgebra *a)
{
	CdpAlgebraValue *stack = a->stack;
	int depth = 0;

	for (size_t i = 0; i < a->expr->n; i++)
	{
		switch (a->expr->steps[i].op)
		{
			case CDP_CORE_SEGEXPR_NAME:
				stack[depth++].unread = (int) i;
				break;
			case CDP_CORE_SEGEXPR_NOT:
				settle(a, &stack[depth - 1]);
				cdp_core_bitmap_not(&stack[depth - 1].bitmap, BITS);
				break;
			case CDP_CORE_SEGEXPR_AND:
			case CDP_CORE_SEGEXPR_OR:
				depth--;
				combine(a, &stack[depth - 1], &stack[depth], a->expr->steps[i].op);
				break;
		}
	}
	settle(a, &stack[0]);
}

CdpCoreBitmap *
cdp_algebra_at(CdpAlgebra *a, int32 chunk_no)
{
	CdpCoreBitmap *result = &a->stack[0].bitmap;

	a->chunk_no = chunk_no;
	if (a->expr->n == 0)
		cdp_chunk_read(a->live, chunk_no, result);
	else
		run_steps(a);
	if (a->live && a->expr->n > 0)
	{
		CdpCoreBitmap live;

		cdp_chunk_read(a->live, chunk_no, &live);
		cdp_core_bitmap_and(result, &live);
	}
	cdp_lens_keep(a->lens, chunk_no, result);
	return result;
}

CdpCoreBitmap *
cdp_algebra_next(CdpAlgebra *a)
{
	int32 next = CDP_NO_CHUNK;

	CHECK_FOR_INTERRUPTS();
	if (a->live)
		next = cdp_chunk_seek(a->live, a->chunk_no + 1);
	else
		for (size_t i = 0; i < a->expr->n; i++)
			if (a->sources[i].scan)
				next = Min(next, cdp_algebra_seek(a, &a->sources[i], a->chunk_no + 1));
	return next == CDP_NO_CHUNK ? NULL : cdp_algebra_at(a, next);
}
