/*
 * src/profile/members.c
 *		cdp.members(), cdp.segment_count(), cdp.overlap(): algebra over the
 *		membership index.
 *
 * An expression is evaluated chunk by chunk: bitmaps of 15,872 people at a
 * time, under the query's snapshot, of the segments it names.  A chunk that no
 * segment has is never looked at; where an AND has nobody on one side, the
 * other side is not read.  What may be true of somebody who is in no segment
 * is intersected with segment 0, everybody there is.
 *
 * The result is intersected with whom the caller may see, so that nothing is
 * listed, counted or compared that his policies hide.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "compat.h"
#include "consent/consent.h"
#include "core/segexpr.h"
#include "profile/due.h"
#include "segment/chunk.h"
#include "store.h"

#define BITS CDP_CORE_BITMAP_BITS

/*
 * Members of a chunk from which its whole range is read by the index; fewer
 * are looked up one by one.
 */
#define MANY_IN_CHUNK 512

PG_FUNCTION_INFO_V1(cdp_members);
PG_FUNCTION_INFO_V1(cdp_segment_count);
PG_FUNCTION_INFO_V1(cdp_overlap);

static CdpPlan id_plan = {
	"SELECT g.set_id, g.state = 'building' FROM cdp_data.segment g WHERE g.name = $1",
	1,
	{TEXTOID},
	NULL};

static CdpPlan all_plan = {
	"SELECT g.set_id, g.name FROM cdp_data.segment g WHERE g.state <> 'building' "
	"ORDER BY g.segment_id",
	0,
	{0},
	NULL};

/* A value on the stack: a bitmap, or a segment that was not read yet. */
typedef struct Value
{
	int unread; /* number of the segment; -1: it is in bitmap */
	CdpCoreBitmap bitmap;
} Value;

/* A segment that is being read. */
typedef struct Source
{
	int32 segment_id;
	CdpChunkScan *scan; /* NULL: the step is no name */
} Source;

/* An expression over open segments. */
typedef struct Algebra
{
	CdpCoreSegexprStep *steps;
	size_t nsteps;
	Source *sources; /* by step; each mention has its own */
	CdpChunkScan *live; /* NULL: not needed */
	const uint8 *visible; /* NULL: the caller sees everybody */
	int64 nvisible;
	CdpDue *due; /* whose segments time has changed, by ord */
	int ndue;
	int32 chunk_no; /* being evaluated */
	Value *stack;
} Algebra;

static int32
segment_id(const char *name)
{
	Datum args[1] = {CStringGetTextDatum(name)};
	bool isnull;

	if (cdp_store_run(&id_plan, args, NULL, true, -1) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("segment \"%s\" does not exist", name),
				 errhint("SELECT name FROM cdp.segments lists them.")));
	if (DatumGetBool(cdp_store_value(0, 2, &isnull)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("segment \"%s\" is being built", name),
				 errdetail("Its members are not all found yet."),
				 errhint("CALL cdp.maintain() goes on with it; cdp.tasks says how far it is.")));
	return (int32) cdp_store_int64(0, 1);
}

/* Is the expression true of who is in no segment?  Then it speaks of everybody. */
static bool
holds_of_none(const Algebra *a)
{
	bool *stack = palloc(sizeof(bool) * (a->nsteps + 1));
	int depth = 0;

	for (size_t i = 0; i < a->nsteps; i++)
	{
		switch (a->steps[i].op)
		{
			case CDP_CORE_SEGEXPR_NAME:
				stack[depth++] = false;
				break;
			case CDP_CORE_SEGEXPR_NOT:
				stack[depth - 1] = !stack[depth - 1];
				break;
			case CDP_CORE_SEGEXPR_AND:
				depth--;
				stack[depth - 1] &= stack[depth];
				break;
			case CDP_CORE_SEGEXPR_OR:
				depth--;
				stack[depth - 1] |= stack[depth];
				break;
		}
	}
	return stack[0];
}

static void
open_source(Source *source, int32 id)
{
	source->segment_id = id;
	source->scan = cdp_chunk_begin(id);
}

/* Parses and opens an expression for a caller; inside cdp_store_enter(). */
static Algebra *
open_expression(const char *expr, Oid caller, CdpDue *due, int ndue)
{
	size_t len = strlen(expr);
	Algebra *a = palloc0(sizeof(Algebra));
	char *scratch = palloc(len + 1);
	const char *reason;
	size_t offset = 0;

	a->steps = palloc(sizeof(CdpCoreSegexprStep) * CDP_MAX_SEGEXPR_TOKENS);
	if (!cdp_core_segexpr_parse(expr, len, a->steps, &a->nsteps, scratch, &reason, &offset))
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("invalid segment expression: %s", reason),
				 errdetail("At character %d of \"%s\".",
						   pg_mbstrlen_with_len(expr, (int) Min(offset, len)) + 1, expr),
				 errhint("Combine names of segments with & | ! and parentheses: vip & "
						 "!churned.")));
	a->sources = palloc0(sizeof(Source) * a->nsteps);
	for (size_t i = 0; i < a->nsteps; i++)
		if (a->steps[i].op == CDP_CORE_SEGEXPR_NAME)
			open_source(&a->sources[i],
						segment_id(pnstrdup(scratch + a->steps[i].start, a->steps[i].len)));
	if (holds_of_none(a))
		a->live = cdp_chunk_begin(CDP_SEGMENT_LIVE);
	a->visible = cdp_consent_bits(caller, &a->nvisible);
	a->due = due;
	a->ndue = ndue;
	a->chunk_no = -1;
	a->stack = palloc(sizeof(Value) * (a->nsteps + 1));
	return a;
}

static void
close_expression(Algebra *a)
{
	for (size_t i = 0; i < a->nsteps; i++)
		if (a->sources[i].scan)
			cdp_chunk_end(a->sources[i].scan);
	if (a->live)
		cdp_chunk_end(a->live);
}

/* The first of those whose timers are due that is in a chunk, or after it. */
static int
due_from(const Algebra *a, int32 chunk_no)
{
	int low = 0;
	int n = a->ndue;

	while (n > 0)
	{
		int half = n / 2;

		if (a->due[low + half].ord / BITS < chunk_no)
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
static int32
seek(const Algebra *a, const Source *source, int32 chunk_no)
{
	int32 next = cdp_chunk_seek(source->scan, chunk_no);
	int k = due_from(a, chunk_no);

	return k < a->ndue ? Min(next, a->due[k].ord / BITS) : next;
}

/* Members of a segment: as stored, and as time has made it since. */
static void
read_members(const Algebra *a, const Source *source, CdpCoreBitmap *members)
{
	cdp_chunk_read(source->scan, a->chunk_no, members);
	for (int k = due_from(a, a->chunk_no); k < a->ndue && a->due[k].ord / BITS == a->chunk_no; k++)
	{
		if (is_in(&a->due[k], source->segment_id))
			(void) cdp_core_bitmap_add(members, a->due[k].ord % BITS);
		else
			(void) cdp_core_bitmap_remove(members, a->due[k].ord % BITS);
	}
}

/* Reads a value that was not read yet. */
static void
settle(const Algebra *a, Value *v)
{
	if (v->unread >= 0)
		read_members(a, &a->sources[v->unread], &v->bitmap);
	v->unread = -1;
}

/* Is there surely nobody? */
static bool
is_none(const Algebra *a, const Value *v)
{
	if (v->unread >= 0)
		return seek(a, &a->sources[v->unread], a->chunk_no) > a->chunk_no;
	return v->bitmap.count == 0;
}

static void
combine(const Algebra *a, Value *x, Value *y, CdpCoreSegexprOp op)
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

/* Leaves only whom the caller may see. */
static void
keep_visible(const Algebra *a, CdpCoreBitmap *bitmap)
{
	int64 from = (int64) a->chunk_no * CDP_CORE_BITMAP_BYTES;
	int64 bytes = Min(a->nvisible / 8 - from, CDP_CORE_BITMAP_BYTES);
	uint8 data[CDP_CORE_BITMAP_BYTES] = {0};
	CdpCoreBitmap visible;

	if (a->visible == NULL)
		return;
	if (bytes > 0)
		memcpy(data, a->visible + from, bytes);
	cdp_core_bitmap_from_bits(&visible, data);
	cdp_core_bitmap_and(bitmap, &visible);
}

/* Evaluates the expression for one chunk; the result lasts until the next. */
static CdpCoreBitmap *
evaluate(Algebra *a, int32 chunk_no)
{
	Value *stack = a->stack;
	int depth = 0;

	a->chunk_no = chunk_no;
	for (size_t i = 0; i < a->nsteps; i++)
	{
		switch (a->steps[i].op)
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
				combine(a, &stack[depth - 1], &stack[depth], a->steps[i].op);
				break;
		}
	}
	settle(a, &stack[0]);
	if (a->live)
	{
		CdpCoreBitmap live;

		cdp_chunk_read(a->live, chunk_no, &live);
		cdp_core_bitmap_and(&stack[0].bitmap, &live);
	}
	keep_visible(a, &stack[0].bitmap);
	return &stack[0].bitmap;
}

/* The next chunk in which anybody may be, evaluated; NULL: there is none. */
static CdpCoreBitmap *
next_chunk(Algebra *a)
{
	int32 next = CDP_NO_CHUNK;

	CHECK_FOR_INTERRUPTS();
	if (a->live)
		next = cdp_chunk_seek(a->live, a->chunk_no + 1);
	else
		for (size_t i = 0; i < a->nsteps; i++)
			if (a->sources[i].scan)
				next = Min(next, seek(a, &a->sources[i], a->chunk_no + 1));
	return next == CDP_NO_CHUNK ? NULL : evaluate(a, next);
}

/* cdp.segment_count(expr) */
Datum
cdp_segment_count(PG_FUNCTION_ARGS)
{
	char *expr = text_to_cstring(PG_GETARG_TEXT_PP(0));
	CdpDue *due;
	int ndue;
	CdpStore store;
	Algebra *a;
	CdpCoreBitmap *people;
	int64 n = 0;

	cdp_store_require();
	ndue = cdp_due_people(&due);
	cdp_store_enter(&store);
	a = open_expression(expr, store.caller, due, ndue);
	while ((people = next_chunk(a)) != NULL)
		n += cdp_core_bitmap_count(people);
	close_expression(a);
	cdp_store_leave(&store);
	PG_RETURN_INT64(n);
}

/* Profiles by ord. */
typedef struct Profiles
{
	Relation table;
	Relation index;
	IndexScanDesc scan;
	TupleTableSlot *slot;
	AttrNumber profile_id;
	AttrNumber ord;
} Profiles;

static void
open_profiles(Profiles *p)
{
	Oid relid = cdp_store_relation("profile");

	p->table = table_open(relid, AccessShareLock);
	p->index = index_open(cdp_store_relation("profile_ord_key"), AccessShareLock);
	p->slot = table_slot_create(p->table, NULL);
	p->scan = cdp_index_beginscan(p->table, p->index, GetActiveSnapshot(), 2);
	p->profile_id = get_attnum(relid, "profile_id");
	p->ord = get_attnum(relid, "ord");
}

static void
close_profiles(Profiles *p)
{
	index_endscan(p->scan);
	ExecDropSingleTupleTableSlot(p->slot);
	index_close(p->index, AccessShareLock);
	table_close(p->table, AccessShareLock);
}

/* Lists those with an ord from first to last who are among the people. */
static void
list_range(Profiles *p, int32 first, int32 last, int32 base, const CdpCoreBitmap *people,
		   Tuplestorestate *out, TupleDesc desc)
{
	ScanKeyData keys[2];

	ScanKeyInit(&keys[0], 1, BTGreaterEqualStrategyNumber, F_INT4GE, Int32GetDatum(first));
	ScanKeyInit(&keys[1], 1, BTLessEqualStrategyNumber, F_INT4LE, Int32GetDatum(last));
	index_rescan(p->scan, keys, 2, NULL, 0);
	while (index_getnext_slot(p->scan, ForwardScanDirection, p->slot))
	{
		bool isnull;
		int32 ord = DatumGetInt32(slot_getattr(p->slot, p->ord, &isnull));
		Datum values[1] = {slot_getattr(p->slot, p->profile_id, &isnull)};
		bool nulls[1] = {false};

		if (cdp_core_bitmap_has(people, (uint32) (ord - base)))
			tuplestore_putvalues(out, desc, values, nulls);
	}
}

/* cdp.members(expr) */
Datum
cdp_members(PG_FUNCTION_ARGS)
{
	char *expr = text_to_cstring(PG_GETARG_TEXT_PP(0));
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	CdpDue *due;
	int ndue;
	CdpStore store;
	Algebra *a;
	Profiles profiles;
	CdpCoreBitmap *people;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	cdp_store_require();
	ndue = cdp_due_people(&due);
	cdp_store_enter(&store);
	a = open_expression(expr, store.caller, due, ndue);
	open_profiles(&profiles);
	while ((people = next_chunk(a)) != NULL)
	{
		int32 base = a->chunk_no * BITS;

		if (cdp_core_bitmap_count(people) >= MANY_IN_CHUNK)
		{
			list_range(&profiles, base, base + BITS - 1, base, people, result->setResult,
					   result->setDesc);
			continue;
		}
		for (uint32 at = cdp_core_bitmap_next(people, 0); at < BITS;
			 at = cdp_core_bitmap_next(people, at + 1))
			list_range(&profiles, base + at, base + at, base, people, result->setResult,
					   result->setDesc);
	}
	close_profiles(&profiles);
	close_expression(a);
	cdp_store_leave(&store);
	return (Datum) 0;
}

/* A segment that another is compared with. */
typedef struct Other
{
	Source source;
	char *name;
	int64 members;
	int64 common;
} Other;

/* Counts everybody, the members of one segment, and of each other, chunk by chunk. */
static void
compare(Algebra *a, const Source *one, Other *others, int n, int64 *people, int64 *members)
{
	int32 chunk_no = -1;

	while ((chunk_no = cdp_chunk_seek(a->live, chunk_no + 1)) != CDP_NO_CHUNK)
	{
		CdpCoreBitmap live;
		CdpCoreBitmap mine;
		CdpCoreBitmap theirs;

		CHECK_FOR_INTERRUPTS();
		a->chunk_no = chunk_no;
		cdp_chunk_read(a->live, chunk_no, &live);
		keep_visible(a, &live);
		*people += cdp_core_bitmap_count(&live);
		read_members(a, one, &mine);
		keep_visible(a, &mine);
		*members += cdp_core_bitmap_count(&mine);
		for (int i = 0; i < n; i++)
		{
			if (seek(a, &others[i].source, chunk_no) > chunk_no)
				continue;
			read_members(a, &others[i].source, &theirs);
			keep_visible(a, &theirs);
			others[i].members += cdp_core_bitmap_count(&theirs);
			others[i].common += cdp_core_bitmap_and_count(&mine, &theirs);
		}
	}
}

/* cdp.overlap(name) */
Datum
cdp_overlap(PG_FUNCTION_ARGS)
{
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	CdpStore store;
	Algebra a = {0};
	int32 id;
	Source one;
	Other *others;
	int n = 0;
	int rows;
	int64 people = 0;
	int64 members = 0;

	InitMaterializedSRF(fcinfo, 0);
	cdp_store_require();
	a.ndue = cdp_due_people(&a.due);
	cdp_store_enter(&store);
	id = segment_id(name);
	rows = cdp_store_run(&all_plan, NULL, NULL, true, -1);
	others = palloc0(sizeof(Other) * rows);
	for (int r = 0; r < rows; r++)
	{
		others[n].source.segment_id = (int32) cdp_store_int64(r, 1);
		others[n].name = cdp_store_text(r, 2);
		n += others[n].source.segment_id != id;
	}
	a.live = cdp_chunk_begin(CDP_SEGMENT_LIVE);
	a.visible = cdp_consent_bits(store.caller, &a.nvisible);
	open_source(&one, id);
	for (int i = 0; i < n; i++)
		open_source(&others[i].source, others[i].source.segment_id);
	compare(&a, &one, others, n, &people, &members);
	for (int i = 0; i < n; i++)
	{
		double share = (double) others[i].common / (double) members;
		Datum values[4] = {CStringGetTextDatum(others[i].name),
						   Int64GetDatum(others[i].common),
						   Float8GetDatum(share),
						   Float8GetDatum(share * (double) people / (double) others[i].members)};
		bool nulls[4] = {false, false, members == 0, members == 0 || others[i].members == 0};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		cdp_chunk_end(others[i].source.scan);
	}
	cdp_chunk_end(one.scan);
	cdp_chunk_end(a.live);
	cdp_store_leave(&store);
	return (Datum) 0;
}
