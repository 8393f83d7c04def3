/*
 * src/profile/members.c
 *		cdp.members(), cdp.segment_count(), cdp.overlap(): algebra over the
 *		membership index.
 *
 * What an expression finds (algebra.h) is intersected with whom the caller may
 * see, so that nothing is listed, counted or compared that his policies hide.
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
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "compat.h"
#include "index_scan.h"
#include "profile/algebra.h"
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

static CdpPlan all_plan = {
	"SELECT g.set_id, g.name FROM cdp_data.segment g WHERE g.state <> 'building' "
	"ORDER BY g.segment_id",
	0,
	{0},
	NULL};

/* Opens an expression for a caller. */
static void
open_expression(CdpAlgebra *a, const char *text, CdpLens *lens, Oid caller, CdpDueList due)
{
	CdpSegmentExpr *expr = cdp_segment_expr_parse(text, true);

	(void) cdp_segment_expr_resolve(expr, true);
	if (expr->building)
		cdp_segment_raise_building(expr->building);
	cdp_lens_open(lens, caller);
	cdp_algebra_open(a, expr, 0, lens, due);
}

/* cdp.segment_count(expr) */
Datum
cdp_segment_count(PG_FUNCTION_ARGS)
{
	char *expr = text_to_cstring(PG_GETARG_TEXT_PP(0));
	CdpDueList due;
	CdpStore store;
	CdpAlgebra a;
	CdpLens lens;
	CdpCoreBitmap *people;
	int64 n = 0;

	cdp_store_require();
	due = cdp_due_list();
	cdp_store_enter(&store);
	open_expression(&a, expr, &lens, store.caller, due);
	while ((people = cdp_algebra_next(&a)) != NULL)
		n += cdp_core_bitmap_count(people);
	cdp_algebra_close(&a);
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
	while (cdp_index_next(p->scan, ForwardScanDirection, p->slot))
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
	CdpDueList due;
	CdpStore store;
	CdpAlgebra a;
	CdpLens lens;
	Profiles profiles;
	CdpCoreBitmap *people;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	cdp_store_require();
	due = cdp_due_list();
	cdp_store_enter(&store);
	open_expression(&a, expr, &lens, store.caller, due);
	open_profiles(&profiles);
	while ((people = cdp_algebra_next(&a)) != NULL)
	{
		int32 base = a.chunk_no * BITS;

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
	cdp_algebra_close(&a);
	cdp_store_leave(&store);
	return (Datum) 0;
}

/* A segment that another is compared with. */
typedef struct Other
{
	CdpAlgebraSource source;
	char *name;
	int64 members;
	int64 common;
} Other;

/* Counts everybody, the members of one segment, and of each other, chunk by chunk. */
static void
compare(CdpAlgebra *a, const CdpAlgebraSource *one, Other *others, int n, int64 *people,
		int64 *members)
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
		cdp_lens_keep(a->lens, chunk_no, &live);
		*people += cdp_core_bitmap_count(&live);
		cdp_algebra_read(a, one, &mine);
		cdp_lens_keep(a->lens, chunk_no, &mine);
		*members += cdp_core_bitmap_count(&mine);
		for (int i = 0; i < n; i++)
		{
			if (cdp_algebra_seek(a, &others[i].source, chunk_no) > chunk_no)
				continue;
			cdp_algebra_read(a, &others[i].source, &theirs);
			cdp_lens_keep(a->lens, chunk_no, &theirs);
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
	CdpLens lens;
	CdpAlgebra a = {.lens = &lens};
	int32 id;
	bool building;
	CdpAlgebraSource one;
	Other *others;
	int n = 0;
	int rows;
	int64 people = 0;
	int64 members = 0;

	InitMaterializedSRF(fcinfo, 0);
	cdp_store_require();
	a.due = cdp_due_list();
	cdp_store_enter(&store);
	id = cdp_segment_find(name, &building);
	if (building)
		cdp_segment_raise_building(name);
	if (id < 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("segment \"%s\" does not exist", name),
				 errhint("SELECT name FROM cdp.segments lists them.")));
	rows = cdp_store_run(&all_plan, NULL, NULL, true, -1);
	others = palloc0(sizeof(Other) * rows);
	for (int r = 0; r < rows; r++)
	{
		others[n].source.segment_id = (int32) cdp_store_int64(r, 1);
		others[n].name = cdp_store_text(r, 2);
		n += others[n].source.segment_id != id;
	}
	a.live = cdp_chunk_begin(CDP_SEGMENT_LIVE);
	cdp_lens_open(&lens, store.caller);
	cdp_algebra_source(&one, id, 0);
	for (int i = 0; i < n; i++)
		cdp_algebra_source(&others[i].source, others[i].source.segment_id, 0);
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
