/*
 * src/profile/state.c
 *		Rows of people: made, and what a batch adds to their states.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

#include "compat.h"
#include "profile/profile.h"
#include "row.h"
#include "store.h"

static CdpPlan create_plan = {
	"WITH made AS (INSERT INTO cdp_data.profile (profile_id, ord, created_at) "
	"  SELECT u.id, u.ord, u.at FROM unnest($1, $2, $4) u (id, ord, at)) "
	"INSERT INTO cdp_data.profile_state (profile_id, ord, rev) "
	"SELECT u.id, u.ord, u.rev FROM unnest($1, $2, $3) u (id, ord, rev)",
	4,
	{INT8ARRAYOID, INT4ARRAYOID, INT8ARRAYOID, TIMESTAMPTZARRAYOID},
	NULL};

static CdpRowOp profile_row = {
	.table = "profile",
	.columns = {"profile_id", "ord", "traits", "trait_meta", "created_at"},
};

static CdpRowOp state_row = {
	.table = "profile_state",
	.columns = {"profile_id", "ord", "rev", "events", "segments", "contested", "separated"},
};

/* As count_plan, for one. */
static CdpRowOp count_row = {
	.table = "profile_state",
	.keys = {"profile_id"},
	.columns = {"rev", "events", "first_seen", "last_seen", "linked_ts", "linked_key", "contested",
				"separated"},
};

static CdpPlan count_plan = {
	"UPDATE cdp_data.profile_state s SET events = s.events + u.events, rev = s.rev + 1, "
	"  first_seen = CASE WHEN u.events > 0 THEN LEAST(s.first_seen, u.f) ELSE s.first_seen END, "
	"  last_seen = CASE WHEN u.events > 0 THEN GREATEST(s.last_seen, u.l) ELSE s.last_seen END, "
	"  linked_ts = nullif(u.linked_ts, '-infinity'), "
	"  linked_key = CASE WHEN u.linked_ts > '-infinity' THEN u.linked_key END, "
	"  contested = u.contested, separated = u.separated "
	"FROM unnest($1, $2, $3, $4, $5, $6, $7, $8) "
	"  u (profile_id, events, f, l, linked_ts, linked_key, contested, separated) "
	"WHERE s.profile_id = ANY (ARRAY[u.profile_id])",
	8,
	{INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID,
	 UUIDARRAYOID, BOOLARRAYOID, BOOLARRAYOID},
	NULL};

/* Makes the rows of the profiles that the graph created or brought back. */
void
cdp_profile_create(CdpGraph *graph)
{
	int n = 0;
	int64 *id = palloc(sizeof(int64) * Max(graph->nlocked, 1));
	int32 *ord = palloc(sizeof(int32) * Max(graph->nlocked, 1));
	int64 *rev = palloc(sizeof(int64) * Max(graph->nlocked, 1));
	TimestampTz *at = palloc(sizeof(TimestampTz) * Max(graph->nlocked, 1));
	Datum none = JsonbPGetDatum(cdp_jsonb_empty());
	CdpRow *profiles;
	CdpRow *states;
	Datum args[4];

	for (int i = 0; i < graph->nlocked; i++)
	{
		const CdpLocked *locked = &graph->locked[i];

		if (!locked->created)
			continue;
		id[n] = locked->profile_id;
		ord[n] = locked->ord;
		rev[n] = locked->rev;
		at[n++] = locked->returns ? locked->created_at : cdp_now();
	}
	profiles = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(CdpRow) * Max(n, 1));
	states = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(CdpRow) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		profiles[i] = (CdpRow){.values = {Int64GetDatum(id[i]), Int32GetDatum(ord[i]), none, none,
										  TimestampTzGetDatum(at[i])}};
		states[i] = (CdpRow){.values = {Int64GetDatum(id[i]), Int32GetDatum(ord[i]),
										Int64GetDatum(rev[i]), Int64GetDatum(0),
										cdp_array_int32(NULL, 0), BoolGetDatum(false),
										BoolGetDatum(false)}};
	}
	if (n == 0)
		return;
	if (cdp_row_insert_many(&profile_row, n, profiles, NULL))
	{
		if (!cdp_row_insert_many(&state_row, n, states, NULL))
			for (int i = 0; i < n; i++)
				(void) cdp_row_insert(&state_row, &states[i]);
		return;
	}
	args[0] = cdp_array_int64(id, n);
	args[1] = cdp_array_int32(ord, n);
	args[2] = cdp_array_int64(rev, n);
	args[3] = cdp_array_timestamptz(at, n);
	cdp_store_run(&create_plan, args, NULL, false, n);
}

/* Adds one person's activity to her state; the key must live until it is written. */
static bool
add_activity(CdpRow *row, void *arg)
{
	const CdpActivity *a = arg;

	row->values[0] = Int64GetDatum(DatumGetInt64(row->values[0]) + 1);
	row->values[1] = Int64GetDatum(DatumGetInt64(row->values[1]) + a->events);
	if (a->events > 0)
	{
		if (row->nulls[2] || a->first_seen < DatumGetTimestampTz(row->values[2]))
			row->values[2] = TimestampTzGetDatum(a->first_seen);
		if (row->nulls[3] || a->last_seen > DatumGetTimestampTz(row->values[3]))
			row->values[3] = TimestampTzGetDatum(a->last_seen);
		row->nulls[2] = row->nulls[3] = false;
	}
	row->nulls[4] = row->nulls[5] = a->locked->newest.ts == DT_NOBEGIN;
	row->values[4] = TimestampTzGetDatum(a->locked->newest.ts);
	row->values[5] = UUIDPGetDatum((pg_uuid_t *) a->locked->newest.key);
	row->values[6] = BoolGetDatum(a->locked->contested);
	row->values[7] = BoolGetDatum(a->locked->separated);
	return true;
}

/*
 * Adds events to states; one entry a profile.  Entries without events count as
 * well: whoever changes anything of a person writes her state, so that a
 * transaction with an older snapshot cannot go on beside it (40001).
 */
void
cdp_profile_count(const CdpActivity *activity, int n)
{
	int64 *id = palloc(sizeof(int64) * Max(n, 1));
	int64 *events = palloc(sizeof(int64) * Max(n, 1));
	TimestampTz *first = palloc(sizeof(TimestampTz) * Max(n, 1));
	TimestampTz *last = palloc(sizeof(TimestampTz) * Max(n, 1));
	TimestampTz *linked = palloc(sizeof(TimestampTz) * Max(n, 1));
	uint8(*key)[16] = palloc(16 * Max(n, 1));
	bool *contested = palloc(sizeof(bool) * Max(n, 1));
	bool *separated = palloc(sizeof(bool) * Max(n, 1));
	Datum *keys = palloc(sizeof(Datum) * Max(n, 1));
	ItemPointer *hints = palloc(sizeof(ItemPointer) * Max(n, 1));
	void **each = palloc(sizeof(void *) * Max(n, 1));
	Datum args[8];

	if (n == 0)
		return;
	for (int i = 0; i < n; i++)
	{
		const CdpLocked *locked = activity[i].locked;

		id[i] = locked->profile_id;
		events[i] = activity[i].events;
		first[i] = activity[i].first_seen;
		last[i] = activity[i].last_seen;
		linked[i] = locked->newest.ts;
		memcpy(key[i], locked->newest.key, 16);
		contested[i] = locked->contested;
		separated[i] = locked->separated;
	}
	for (int i = 0; i < n; i++)
	{
		keys[i] = Int64GetDatum(id[i]);
		hints[i] = &activity[i].locked->place;
		each[i] = (void *) &activity[i];
	}
	if (cdp_row_change_many(&count_row, n, keys, hints, add_activity, each))
		return;
	args[0] = cdp_array_int64(id, n);
	args[1] = cdp_array_int64(events, n);
	args[2] = cdp_array_timestamptz(first, n);
	args[3] = cdp_array_timestamptz(last, n);
	args[4] = cdp_array_timestamptz(linked, n);
	args[5] = cdp_array_uuid((const uint8(*)[16]) key, n);
	args[6] = cdp_array_bool(contested, n);
	args[7] = cdp_array_bool(separated, n);
	cdp_store_run(&count_plan, args, NULL, false, n);
}
