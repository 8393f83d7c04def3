/*
 * src/profile/rebuild.c
 *		People who lost events to somebody else: their state from events alone.
 *
 * A merge adds two people's states; taking one away again cannot subtract
 * what the other overwrote.  So whoever loses a node is folded anew from the
 * events that her nodes have, which never moved.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

#include "compat.h"
#include "profile/base.h"
#include "profile/profile.h"
#include "profile/trait_fold.h"
#include "store.h"

/* Events in one fetch. */
#define FETCH 10000

/*
 * What these people did, between the times that their identifiers were seen:
 * partitions outside are not looked at.  Of identify messages the traits.
 */
static CdpPlan events_plan = {
	"SELECT p.profile_id, e.ts, e.traits, e.message_key, e.source FROM unnest($1) p (profile_id) "
	"CROSS JOIN LATERAL (SELECT n.node_id FROM cdp_data.node n "
	"  WHERE n.profile_id = p.profile_id OFFSET 0) n "
	"CROSS JOIN LATERAL (SELECT e.ts, CASE WHEN e.type = 'identify' THEN e.traits END AS traits, "
	"    e.message_key, e.source FROM cdp_data.event e "
	"  WHERE e.node_id = n.node_id AND e.ts BETWEEN $2 AND $3 OFFSET 0) e",
	3,
	{INT8ARRAYOID, TIMESTAMPTZOID, TIMESTAMPTZOID},
	NULL};

static CdpPlan state_plan = {
	"UPDATE cdp_data.profile_state s SET events = u.events, first_seen = u.f, last_seen = u.l "
	"FROM unnest($1, $2, $3, $4) u (profile_id, events, f, l) "
	"WHERE s.profile_id = ANY (ARRAY[u.profile_id])",
	4,
	{INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID},
	NULL};

static int
compare_int64(const void *a, const void *b)
{
	int64 x = *(const int64 *) a;
	int64 y = *(const int64 *) b;

	return (x > y) - (x < y);
}

/* Empties the trait columns; their names come from configuration, quoted. */
static void
clear_traits(const int64 *ids, int n)
{
	const CdpTraitConfig *config = cdp_trait_config();
	StringInfoData sql;
	Oid types[1] = {INT8ARRAYOID};
	Datum args[1] = {cdp_array_int64(ids, n)};

	initStringInfo(&sql);
	appendStringInfoString(&sql, "UPDATE cdp_data.profile SET traits = '{}', trait_meta = '{}'");
	for (int i = 0; i < config->n; i++)
		appendStringInfo(&sql, ", %s = NULL", quote_identifier(config->traits[i].name));
	appendStringInfoString(&sql, " WHERE profile_id = ANY ($1) "
								 "AND (trait_meta <> '{}' OR traits <> '{}'");
	for (int i = 0; i < config->n; i++)
		appendStringInfo(&sql, " OR %s IS NOT NULL", quote_identifier(config->traits[i].name));
	appendStringInfoChar(&sql, ')');
	if (SPI_execute_with_args(sql.data, 1, types, args, NULL, false, 0) < 0)
		elog(ERROR, "cdp: traits could not be cleared");
}

/* Lists the values of a message; they point into the copy of its traits. */
static void
add_traits(CdpPast *past, int64 id, TimestampTz ts, uint64 row)
{
	bool isnull;
	Jsonb *traits = DatumGetJsonbPCopy(cdp_store_value(row, 3, &isnull));
	CdpTraitChange common = {.profile_id = id, .ts = ts};
	JsonbIterator *it;
	JsonbValue key;

	if (!JB_ROOT_IS_OBJECT(traits))
		return;
	while (past->nchanges + (int) JB_ROOT_COUNT(traits) > past->room)
	{
		past->room = Max(64, past->room * 2);
		past->changes = past->changes ?
							repalloc_huge(past->changes, sizeof(CdpTraitChange) * past->room) :
							palloc(sizeof(CdpTraitChange) * past->room);
	}
	memcpy(common.message_key, DatumGetUUIDP(cdp_store_value(row, 4, &isnull)), 16);
	common.source = cdp_store_text(row, 5);
	it = JsonbIteratorInit(&traits->root);
	(void) JsonbIteratorNext(&it, &key, true);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		CdpTraitChange *c = &past->changes[past->nchanges++];

		*c = common;
		(void) JsonbIteratorNext(&it, &c->value, true);
		c->name = pnstrdup(key.val.string.val, key.val.string.len);
	}
}

/* Reads all their events, so many at a time. */
static void
read_events(CdpPast *past, TimestampTz from, TimestampTz to)
{
	Datum args[3] = {cdp_array_int64(past->ids, past->n), TimestampTzGetDatum(from),
					 TimestampTzGetDatum(to)};
	Portal portal = cdp_store_open(&events_plan, args);

	for (;;)
	{
		SPI_cursor_fetch(portal, true, FETCH);
		if (SPI_processed == 0)
			break;
		CHECK_FOR_INTERRUPTS();
		for (uint64 r = 0; r < SPI_processed; r++)
		{
			int64 id = cdp_store_int64(r, 1);
			TimestampTz ts = cdp_store_int64(r, 2);
			const int64 *hit = bsearch(&id, past->ids, past->n, sizeof(int64), compare_int64);
			int p = (int) (hit - past->ids);
			bool isnull;

			if (past->events[p]++ == 0 || ts < DatumGetTimestampTz(past->first[p]))
				past->first[p] = TimestampTzGetDatum(ts);
			if (past->none[p] || ts > DatumGetTimestampTz(past->last[p]))
				past->last[p] = TimestampTzGetDatum(ts);
			past->none[p] = false;
			(void) cdp_store_value(r, 3, &isnull);
			if (!isnull)
				add_traits(past, id, ts, r);
		}
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
}

/*
 * What the events of these people (ascending), between two times, and those
 * that are gone make of them.  The arrays are the caller's context's.
 */
CdpPast *
cdp_profile_past(const int64 *ids, int n, TimestampTz from, TimestampTz to)
{
	CdpPast *past = palloc0(sizeof(CdpPast));

	past->n = n;
	past->ids = ids;
	past->events = palloc0(sizeof(int64) * Max(n, 1));
	past->first = palloc0(sizeof(Datum) * Max(n, 1));
	past->last = palloc0(sizeof(Datum) * Max(n, 1));
	past->none = palloc(sizeof(bool) * Max(n, 1));
	for (int i = 0; i < n; i++)
		past->none[i] = true;
	read_events(past, from, to);
	cdp_base_add_to_past(past);
	return past;
}

/*
 * Rebuilds the people whom the graph marked.  Their rows exist, and so do the
 * events of the batch.
 */
void
cdp_profile_rebuild(CdpGraph *graph)
{
	TimestampTz from = DT_NOEND;
	TimestampTz to = DT_NOBEGIN;
	int64 *ids = palloc(sizeof(int64) * Max(graph->nlocked, 1));
	int n = 0;
	CdpPast *past;
	int *refused;
	Datum args[4];

	for (int i = 0; i < graph->nlocked; i++)
	{
		const CdpLocked *locked = &graph->locked[i];

		if (!locked->rebuild)
			continue;
		ids[n++] = locked->profile_id;
		from = Min(from, locked->seen_from);
		to = Max(to, locked->seen_to);
	}
	if (n == 0)
		return;
	clear_traits(ids, n);
	cdp_tally_clear(ids, n, NULL);
	past = cdp_profile_past(ids, n, from, to);
	args[0] = cdp_array_int64(ids, n);
	args[1] = cdp_array_int64(past->events, n);
	args[2] = cdp_array_datums(past->first, past->none, n, TIMESTAMPTZOID);
	args[3] = cdp_array_datums(past->last, past->none, n, TIMESTAMPTZOID);
	cdp_store_run(&state_plan, args, NULL, false, n);
	/* what does not fit its trait was refused when it came */
	refused = palloc(sizeof(int) * Max(past->nchanges, 1));
	(void) cdp_profile_fold(past->changes, past->nchanges, refused);
}
