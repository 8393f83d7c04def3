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
#include "profile/profile.h"
#include "profile/trait.h"
#include "store.h"

/* Bounds of what these people did: partitions outside are not looked at. */
static CdpPlan bounds_plan = {
	"SELECT min(i.first_seen), max(i.last_seen) FROM unnest($1) p (profile_id) "
	"CROSS JOIN LATERAL (SELECT n.node_id FROM cdp_data.node n "
	"  WHERE n.profile_id = p.profile_id OFFSET 0) n "
	"CROSS JOIN LATERAL (SELECT i.first_seen, i.last_seen FROM cdp_data.identifier i "
	"  WHERE i.node_id = n.node_id UNION ALL SELECT r.first_seen, r.last_seen "
	"  FROM cdp_data.identifier_retired r WHERE r.node_id = n.node_id OFFSET 0) i",
	1,
	{INT8ARRAYOID},
	NULL};

static CdpPlan state_plan = {
	"WITH total AS (SELECT p.profile_id, count(e.ts) AS events, min(e.ts) AS f, max(e.ts) AS l "
	"  FROM unnest($1) p (profile_id) "
	"  CROSS JOIN LATERAL (SELECT n.node_id FROM cdp_data.node n "
	"    WHERE n.profile_id = p.profile_id OFFSET 0) n "
	"  LEFT JOIN LATERAL (SELECT e.ts FROM cdp_data.event e WHERE e.node_id = n.node_id "
	"    AND e.ts BETWEEN $2 AND $3 OFFSET 0) e ON true GROUP BY p.profile_id) "
	"UPDATE cdp_data.profile_state s SET events = t.events, first_seen = t.f, last_seen = t.l "
	"FROM total t WHERE s.profile_id = ANY (ARRAY[t.profile_id])",
	3,
	{INT8ARRAYOID, TIMESTAMPTZOID, TIMESTAMPTZOID},
	NULL};

static CdpPlan traits_plan = {
	"SELECT p.profile_id, e.ts, e.message_key, e.source, e.traits FROM unnest($1) p (profile_id) "
	"CROSS JOIN LATERAL (SELECT n.node_id FROM cdp_data.node n "
	"  WHERE n.profile_id = p.profile_id OFFSET 0) n "
	"CROSS JOIN LATERAL (SELECT e.ts, e.message_key, e.source, e.traits FROM cdp_data.event e "
	"  WHERE e.node_id = n.node_id AND e.ts BETWEEN $2 AND $3 AND e.type = 'identify' "
	"  AND e.traits IS NOT NULL OFFSET 0) e",
	3,
	{INT8ARRAYOID, TIMESTAMPTZOID, TIMESTAMPTZOID},
	NULL};

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
	appendStringInfoString(&sql, " WHERE profile_id = ANY ($1) AND trait_meta <> '{}'");
	if (SPI_execute_with_args(sql.data, 1, types, args, NULL, false, 0) < 0)
		elog(ERROR, "cdp: traits could not be cleared");
}

static void
fold_events(Datum *args)
{
	int rows = cdp_store_run(&traits_plan, args, NULL, false, -1);
	int room = 0;
	int n = 0;
	CdpTraitChange *changes;
	int *refused;
	Jsonb **traits = palloc(sizeof(Jsonb *) * Max(rows, 1));
	bool isnull;

	for (int r = 0; r < rows; r++)
	{
		traits[r] = DatumGetJsonbPCopy(cdp_store_value(r, 5, &isnull));
		room += JB_ROOT_IS_OBJECT(traits[r]) ? JB_ROOT_COUNT(traits[r]) : 0;
	}
	changes = MemoryContextAllocHuge(CurrentMemoryContext,
									 sizeof(CdpTraitChange) * Max(room, 1));
	for (int r = 0; r < rows; r++)
	{
		CdpTraitChange common = {0};
		JsonbIterator *it;
		JsonbValue key;

		if (!JB_ROOT_IS_OBJECT(traits[r]))
			continue;
		common.profile_id = cdp_store_int64(r, 1);
		common.ts = cdp_store_int64(r, 2);
		memcpy(common.message_key, DatumGetUUIDP(cdp_store_value(r, 3, &isnull)), 16);
		common.source = cdp_store_text(r, 4);
		it = JsonbIteratorInit(&traits[r]->root);
		(void) JsonbIteratorNext(&it, &key, true);
		while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
		{
			CdpTraitChange *c = &changes[n++];

			*c = common;
			(void) JsonbIteratorNext(&it, &c->value, true);
			c->name = pnstrdup(key.val.string.val, key.val.string.len);
		}
	}
	/* what does not fit its trait was refused when it came */
	refused = palloc(sizeof(int) * Max(n, 1));
	(void) cdp_profile_fold(changes, n, refused);
}

/*
 * Rebuilds the people whom the graph marked.  Their rows exist, and so do the
 * events of the batch.
 */
void
cdp_profile_rebuild(CdpGraph *graph)
{
	int n = 0;
	int64 *ids = palloc(sizeof(int64) * Max(graph->nlocked, 1));
	Datum args[3];
	bool isnull;

	for (int i = 0; i < graph->nlocked; i++)
		if (graph->locked[i].rebuild)
			ids[n++] = graph->locked[i].profile_id;
	if (n == 0)
		return;
	clear_traits(ids, n);
	args[0] = cdp_array_int64(ids, n);
	if (cdp_store_run(&bounds_plan, args, NULL, false, 1) != 1)
		return;
	args[1] = cdp_store_value(0, 1, &isnull);
	if (isnull)
		return;
	args[2] = cdp_store_value(0, 2, &isnull);
	cdp_store_run(&state_plan, args, NULL, false, -1);
	fold_events(args);
}
