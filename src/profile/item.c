/*
 * src/profile/item.c
 *		The catalogue: what an item was at a time.
 *
 * cdp_data.item has items as they are, since when they have been so, and
 * cdp_data.item_past what they were before, by the time up to which they were.
 * The first description holds for all earlier times.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "profile/dimension.h"
#include "row.h"
#include "store.h"

static CdpRowOp item_row = {
	.table = "item",
	.keys = {"item_id"},
	.columns = {"since", "type", "attributes"},
};

/* Of a time before "since": the version that ended first after it. */
static CdpPlan past_plan = {
	"SELECT p.type, p.attributes FROM cdp_data.item_past p WHERE p.item_id = $1 AND p.until > $2 "
	"ORDER BY p.until LIMIT 1",
	2,
	{TEXTOID, TIMESTAMPTZOID},
	NULL};

static CdpPlan wanted_plan = {
	"SELECT FROM cdp_data.item_wanted w WHERE w.item_id = $1 LIMIT 1",
	1,
	{TEXTOID},
	NULL};

/*
 * Two sessions may write the same id: a unique index would have one of them
 * wait for the other's end, with locks that others wait for.
 */
static CdpRowOp want_row = {
	.table = "item_wanted",
	.columns = {"item_id"},
};

static void
note_wanted(Datum id, bool read_only)
{
	CdpRow row = {.values = {id}};

	if (cdp_store_run(&wanted_plan, &id, NULL, read_only, -1) == 0)
		(void) cdp_row_insert(&want_row, &row);
}

/* What an item was when it was this time; false: nobody knows it. */
bool
cdp_item_find(const char *id, TimestampTz at, bool kept, bool read_only, CdpItem *item)
{
	MemoryContext context = CurrentMemoryContext;
	CdpResult saved = cdp_store_save_result();
	Datum args[2] = {CStringGetTextDatum(id), TimestampTzGetDatum(at)};
	/* what others described since a transaction's snapshot counts whenever this is done again */
	bool latest = !read_only && IsolationUsesXactSnapshot() && !cdp_store_is_frozen();
	CdpRow row;
	bool found;

	if (latest)
	{
		PushActiveSnapshot(GetLatestSnapshot());
		read_only = true;
	}
	found = cdp_row_read(&item_row, args, read_only, NULL, &row);

	MemoryContextSwitchTo(context);
	if (found)
	{
		item->type = row.nulls[1] ? NULL : TextDatumGetCString(row.values[1]);
		item->attributes = DatumGetJsonbPCopy(row.values[2]);
		if (at < DatumGetTimestampTz(row.values[0]) &&
			cdp_store_run(&past_plan, args, NULL, read_only, -1) > 0)
		{
			bool isnull;

			MemoryContextSwitchTo(context);
			item->type = cdp_store_text(0, 1);
			item->attributes = DatumGetJsonbPCopy(cdp_store_value(0, 2, &isnull));
		}
	}
	else if (kept)
		note_wanted(args[0], read_only);
	if (latest)
		PopActiveSnapshot();
	cdp_store_restore_result(saved);
	MemoryContextSwitchTo(context);
	return found;
}
