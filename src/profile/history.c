/*
 * src/profile/history.c
 *		All that people ever said of one trait, from their events, and from what is
 *		known of those that are gone.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

#include "profile/survive.h"
#include "store.h"

/* Of values whose events are gone the last message, which stands for all, and the first. */
static CdpPlan history_plan = {
	"SELECT p.profile_id, e.value, e.ts, e.message_key, e.source, e.message_id, 1::bigint, false "
	"FROM unnest($2) p (profile_id) "
	"CROSS JOIN LATERAL (SELECT n.node_id FROM cdp_data.node n "
	"  WHERE n.profile_id = p.profile_id OFFSET 0) n "
	"CROSS JOIN LATERAL (SELECT e.traits -> $1 AS value, e.ts, e.message_key, e.source, "
	"    e.message_id FROM cdp_data.event e "
	"  WHERE e.node_id = n.node_id AND e.type = 'identify' AND e.traits ? $1 OFFSET 0) e "
	"UNION ALL SELECT p.profile_id, t.value, v.ts, v.key, t.source, NULL, v.times, v.first "
	"FROM unnest($2) p (profile_id) "
	"CROSS JOIN LATERAL (SELECT n.node_id FROM cdp_data.node n "
	"  WHERE n.profile_id = p.profile_id OFFSET 0) n "
	"CROSS JOIN LATERAL (SELECT t.* FROM cdp_data.node_base_trait t "
	"  WHERE t.node_id = n.node_id AND t.name = $1 OFFSET 0) t "
	"CROSS JOIN LATERAL (VALUES (t.last_ts, t.last_key, t.times, false), "
	"  (t.first_ts, t.first_key, 0, true)) v (ts, key, times, first) "
	"WHERE NOT v.first OR t.times > 1",
	2,
	{TEXTOID, INT8ARRAYOID},
	NULL};

/* Reads a jsonb of any kind as a value; it points into the jsonb. */
void
cdp_trait_value(Jsonb *json, JsonbValue *value)
{
	if (JsonbExtractScalar(&json->root, value))
		return;
	value->type = jbvBinary;
	value->val.binary.data = &json->root;
	value->val.binary.len = VARSIZE(json) - VARHDRSZ;
}

/*
 * Values that these people's messages gave to a trait, in no order, in the
 * caller's context; returns how many.
 */
int
cdp_trait_history(const char *name, const int64 *profiles, int n, CdpTraitChange **changes)
{
	Datum args[2] = {CStringGetTextDatum(name), cdp_array_int64(profiles, n)};
	int rows = cdp_store_run(&history_plan, args, NULL, cdp_store_is_frozen(), -1);
	CdpTraitChange *all = MemoryContextAllocHuge(CurrentMemoryContext,
												 sizeof(CdpTraitChange) * Max(rows, 1));

	memset(all, 0, sizeof(CdpTraitChange) * Max(rows, 1));
	for (int r = 0; r < rows; r++)
	{
		bool isnull;

		CHECK_FOR_INTERRUPTS();
		all[r].profile_id = cdp_store_int64(r, 1);
		all[r].name = name;
		cdp_trait_value(DatumGetJsonbPCopy(cdp_store_value(r, 2, &isnull)), &all[r].value);
		all[r].ts = cdp_store_int64(r, 3);
		memcpy(all[r].message_key, DatumGetUUIDP(cdp_store_value(r, 4, &isnull)), UUID_LEN);
		all[r].source = cdp_store_text(r, 5);
		all[r].message_id = cdp_store_text(r, 6);
		all[r].times = cdp_store_int64(r, 7);
		all[r].counted = DatumGetBool(cdp_store_value(r, 8, &isnull));
	}
	SPI_freetuptable(SPI_tuptable);
	*changes = all;
	return rows;
}
