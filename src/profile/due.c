/*
 * src/profile/due.c
 *		What readers see of people whose timers are due.
 *
 * Until the sweep stores what time has changed, the views leave out what is
 * stored of these people and take what the rules say of them now.  They are
 * found by the index of timers, once a query: mostly there are none.
 *
 * What is kept is stamped with the query's snapshot, the role, the purposes and
 * the time.  Consent is decided here for whoever asks: of people he may not see
 * these functions know nothing.
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
#include "utils/array.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "consent/consent.h"
#include "guc.h"
#include "index_scan.h"
#include "profile/due.h"
#include "segment/rule.h"
#include "segment/segment.h"
#include "stamp.h"
#include "store.h"

PG_FUNCTION_INFO_V1(cdp_is_due);
PG_FUNCTION_INFO_V1(cdp_present_segments);
PG_FUNCTION_INFO_V1(cdp_fired_members);
PG_FUNCTION_INFO_V1(cdp_fired_exits);
PG_FUNCTION_INFO_V1(cdp_pending_timers);

/* Somebody whose timer is due. */
typedef struct Due
{
	int64 profile_id; /* key */
	int32 ord;
	bool looked; /* the rest is filled in */
	int n;
	int room;
	int32 *segments; /* that she is in now */
	TimestampTz *since; /* DT_NOBEGIN: as stored */
	int nleft;
	int left_room;
	int32 *left; /* that she left */
	TimestampTz *entered;
	TimestampTz *left_at;
} Due;

static struct
{
	bool valid;
	CdpStamp stamp;
	uint64 generation;
	uint64 purpose_stamp;
	Oid role;
	TimestampTz now;
	MemoryContext context;
	HTAB *people; /* NULL: there are none */
} due;

static bool
is_current(Snapshot snapshot, TimestampTz now)
{
	return due.valid && cdp_stamp_is(&due.stamp, snapshot) &&
		   due.generation == cdp_store_generation() && due.role == GetUserId() &&
		   due.purpose_stamp == cdp_guc_purpose_stamp && due.now == now;
}

/* Does any rule look at the clock?  Mostly none does, and nothing is to be read. */
static bool
is_timed(void)
{
	CdpStore store;
	bool timed;

	if (cdp_rules_are_shown())
		return cdp_rules_shown()->timed != NULL;
	cdp_store_enter(&store);
	timed = cdp_rules_shown()->timed != NULL;
	cdp_store_leave(&store);
	return timed;
}

/* Reads whose timers are due, by their index. */
static void
read_timers(Snapshot snapshot, TimestampTz now)
{
	Relation rel = table_open(cdp_store_relation("timer"), AccessShareLock);
	Relation index = index_open(cdp_store_relation("timer_due"), AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	Oid role = GetUserId();
	ScanKeyData key;
	IndexScanDesc scan;

	ScanKeyInit(&key, 1, BTLessEqualStrategyNumber, F_TIMESTAMPTZ_LE, TimestampTzGetDatum(now));
	scan = cdp_index_beginscan(rel, index, snapshot, 1);
	index_rescan(scan, &key, 1, NULL, 0);
	while (cdp_index_next(scan, ForwardScanDirection, slot))
	{
		bool isnull;
		int64 id = DatumGetInt64(slot_getattr(slot, 1, &isnull));
		int32 ord = DatumGetInt32(slot_getattr(slot, 2, &isnull));
		Due *entry;

		CHECK_FOR_INTERRUPTS();
		if (!cdp_consent_sees(role, ord))
			continue;
		if (due.people == NULL)
		{
			HASHCTL ctl = {0};

			ctl.keysize = sizeof(int64);
			ctl.entrysize = sizeof(Due);
			ctl.hcxt = due.context;
			due.people = hash_create("cdp timers that are due", 64, &ctl,
									 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		}
		entry = hash_search(due.people, &id, HASH_ENTER, NULL);
		memset(entry, 0, sizeof(*entry));
		entry->profile_id = id;
		entry->ord = ord;
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
}

/* The people whose timers are due and whom the caller may see; or NULL. */
static HTAB *
people_due(void)
{
	TimestampTz now;
	Snapshot snapshot;

	if (!ActiveSnapshotSet() || !is_timed())
		return NULL;
	now = cdp_now();
	snapshot = GetActiveSnapshot();
	if (is_current(snapshot, now))
		return due.people;
	due.valid = false;
	due.people = NULL;
	if (due.context == NULL)
		due.context = AllocSetContextCreate(CacheMemoryContext, "cdp timers that are due",
											ALLOCSET_SMALL_SIZES);
	MemoryContextReset(due.context);
	read_timers(snapshot, now);
	cdp_stamp_set(&due.stamp, snapshot);
	due.generation = cdp_store_generation();
	due.role = GetUserId();
	due.purpose_stamp = cdp_guc_purpose_stamp;
	due.now = now;
	due.valid = true;
	return due.people;
}

static void
take_person(int64 profile_id pg_attribute_unused(), int32 ord pg_attribute_unused(),
			void *arg pg_attribute_unused())
{
}

static void
take_left(int32 segment_id, TimestampTz entered, TimestampTz at, void *arg)
{
	Due *d = arg;

	if (d->nleft == d->left_room)
	{
		int room = Max(4, d->left_room * 2);
		int32 *left = MemoryContextAlloc(due.context, sizeof(int32) * room);
		TimestampTz *times = MemoryContextAlloc(due.context, sizeof(TimestampTz) * room * 2);

		for (int i = 0; i < d->nleft; i++)
		{
			left[i] = d->left[i];
			times[i] = d->entered[i];
			times[room + i] = d->left_at[i];
		}
		d->left = left;
		d->entered = times;
		d->left_at = times + room;
		d->left_room = room;
	}
	d->left[d->nleft] = segment_id;
	d->entered[d->nleft] = entered;
	d->left_at[d->nleft++] = at;
}

static void
take_in(int32 segment_id, TimestampTz since, void *arg)
{
	Due *d = arg;

	if (d->n == d->room)
	{
		int room = Max(8, d->room * 2);
		int32 *segments = MemoryContextAlloc(due.context, sizeof(int32) * room);
		TimestampTz *times = MemoryContextAlloc(due.context, sizeof(TimestampTz) * room);

		for (int i = 0; i < d->n; i++)
		{
			segments[i] = d->segments[i];
			times[i] = d->since[i];
		}
		d->segments = segments;
		d->since = times;
		d->room = room;
	}
	d->segments[d->n] = segment_id;
	d->since[d->n++] = since;
}

/* Asks the rules about somebody; once a query. */
static void
look_at(Due *d)
{
	CdpLook look = {take_person, take_left, take_in, d};
	MemoryContext context = CurrentMemoryContext;
	CdpStore store;

	if (d->looked)
		return;
	d->n = d->nleft = 0;
	cdp_store_enter(&store);
	cdp_segment_look(&d->profile_id, 1, due.now, &look);
	cdp_store_leave(&store);
	MemoryContextSwitchTo(context);
	d->looked = true;
}

/* cdp.is_due(profile_id) */
Datum
cdp_is_due(PG_FUNCTION_ARGS)
{
	int64 id = PG_GETARG_INT64(0);
	HTAB *people = people_due();

	PG_RETURN_BOOL(people && hash_search(people, &id, HASH_FIND, NULL) != NULL);
}

/* cdp.present_segments(profile_id, stored) */
Datum
cdp_present_segments(PG_FUNCTION_ARGS)
{
	HTAB *people = PG_ARGISNULL(0) ? NULL : people_due();
	int64 id = PG_ARGISNULL(0) ? 0 : PG_GETARG_INT64(0);
	Due *d = people ? hash_search(people, &id, HASH_FIND, NULL) : NULL;

	if (d == NULL)
	{
		if (PG_ARGISNULL(1))
			PG_RETURN_NULL();
		PG_RETURN_DATUM(PG_GETARG_DATUM(1));
	}
	look_at(d);
	PG_RETURN_DATUM(cdp_array_int32(d->segments, d->n));
}

/* Everybody, in a list: asking the rules may not happen while a hash is read. */
static Due **
list_people(HTAB *people, int *n)
{
	HASH_SEQ_STATUS seq;
	Due **all = palloc(sizeof(Due *) * Max(people ? hash_get_num_entries(people) : 0, 1));
	Due *d;

	*n = 0;
	if (people == NULL)
		return all;
	hash_seq_init(&seq, people);
	while ((d = hash_seq_search(&seq)) != NULL)
		all[(*n)++] = d;
	return all;
}

/* cdp.fired_members() */
Datum
cdp_fired_members(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result;
	Due **all;
	int n;

	InitMaterializedSRF(fcinfo, 0);
	result = (ReturnSetInfo *) fcinfo->resultinfo;
	all = list_people(people_due(), &n);
	for (int i = 0; i < n; i++)
	{
		look_at(all[i]);
		for (int k = 0; k < all[i]->n; k++)
		{
			Datum values[4] = {Int32GetDatum(all[i]->segments[k]), Int32GetDatum(all[i]->ord),
							   Int64GetDatum(all[i]->profile_id),
							   TimestampTzGetDatum(all[i]->since[k])};
			bool nulls[4] = {false, false, false, all[i]->since[k] == DT_NOBEGIN};

			tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		}
	}
	return (Datum) 0;
}

/* cdp.fired_exits() */
Datum
cdp_fired_exits(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result;
	Due **all;
	int n;

	InitMaterializedSRF(fcinfo, 0);
	result = (ReturnSetInfo *) fcinfo->resultinfo;
	all = list_people(people_due(), &n);
	for (int i = 0; i < n; i++)
	{
		look_at(all[i]);
		for (int k = 0; k < all[i]->nleft; k++)
		{
			Datum values[5] = {Int32GetDatum(all[i]->left[k]), Int32GetDatum(all[i]->ord),
							   Int64GetDatum(all[i]->profile_id),
							   TimestampTzGetDatum(all[i]->entered[k]),
							   TimestampTzGetDatum(all[i]->left_at[k])};
			bool nulls[5] = {false, false, false, all[i]->entered[k] == DT_NOBEGIN, false};

			tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		}
	}
	return (Datum) 0;
}

/* cdp.pending_timers() */
Datum
cdp_pending_timers(PG_FUNCTION_ARGS)
{
	HTAB *people = people_due();

	(void) fcinfo;
	PG_RETURN_INT64(people ? hash_get_num_entries(people) : 0);
}

static int
compare_due(const void *a, const void *b)
{
	int32 x = ((const CdpDue *) a)->ord;
	int32 y = ((const CdpDue *) b)->ord;

	return (x > y) - (x < y);
}

/* Everybody with her segments now, by ord; as the caller, outside of the storage. */
int
cdp_due_people(CdpDue **people)
{
	int n;
	Due **all = list_people(people_due(), &n);

	*people = palloc(sizeof(CdpDue) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		look_at(all[i]);
		(*people)[i] = (CdpDue){all[i]->ord, all[i]->n, all[i]->segments};
	}
	qsort(*people, n, sizeof(CdpDue), compare_due);
	return n;
}
