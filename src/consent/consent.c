/*
 * src/consent/consent.c
 *		What people allowed: records and the state derived from them.
 *
 * A record covers exactly the identifiers its message named.  The state of a
 * person for a purpose is the most restrictive over her identifiers that have
 * a record, each by its latest (event time, message key); nobody with a
 * record means no.  So an anonymous cookie without a record neither grants
 * nor blocks, and the order of arrival does not matter.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "compat.h"
#include "consent/consent.h"
#include "store.h"

static CdpPlan purpose_plan = {
	"SELECT p.purpose_id FROM cdp_data.purpose p WHERE p.name = $1",
	1,
	{TEXTOID},
	NULL};

static CdpPlan log_plan = {
	"INSERT INTO cdp_data.consent_log (node_id, purpose_id, state, ts, message_key, "
	"  valid_until, source, message_id, recorded_at, recorded_by) "
	"SELECT u.*, $9, $10 FROM unnest($1, $2, $3, $4, $5, $6, $7, $8) u",
	10,
	{INT8ARRAYOID, INT4ARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID, UUIDARRAYOID,
	 TIMESTAMPTZARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TIMESTAMPTZOID, NAMEOID},
	NULL};

static CdpPlan current_plan = {
	"INSERT INTO cdp_data.consent_current AS c (node_id, purpose_id, state, ts, message_key, "
	"valid_until, source) "
	"SELECT DISTINCT ON (u.node_id, u.purpose_id) u.node_id, u.purpose_id, u.state, u.ts, "
	"u.key, u.valid_until, u.source "
	"FROM unnest($1, $2, $3, $4, $5, $6, $7) u (node_id, purpose_id, state, ts, key, "
	"valid_until, source) "
	"ORDER BY u.node_id, u.purpose_id, u.ts DESC, u.key DESC "
	"ON CONFLICT (node_id, purpose_id) DO UPDATE SET state = excluded.state, ts = excluded.ts, "
	"  message_key = excluded.message_key, valid_until = excluded.valid_until, source = "
	"excluded.source "
	"WHERE (c.ts, c.message_key) < (excluded.ts, excluded.message_key)",
	7,
	{INT8ARRAYOID, INT4ARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID, UUIDARRAYOID,
	 TIMESTAMPTZARRAYOID, TEXTARRAYOID},
	NULL};

/*
 * The effective state of these people, then the two tables the policies read.
 * Rows that stay as they are are not touched.
 */
#define EFFECTIVE \
	"SELECT n.profile_id, c.purpose_id, min(c.valid_until) AS valid_to " \
	"FROM cdp_data.node n JOIN cdp_data.consent_current c ON c.node_id = n.node_id " \
	"WHERE n.profile_id = ANY ($1) GROUP BY n.profile_id, c.purpose_id " \
	"HAVING bool_and(c.state = 'granted')"

static CdpPlan drop_ord_plan = {
	"DELETE FROM cdp_data.consent_ord o "
	"USING (SELECT s.ord, s.profile_id FROM cdp_data.profile_state s WHERE s.profile_id = "
	"ANY ($1) "
	"  UNION ALL SELECT d, NULL FROM unnest($2) d) x "
	"WHERE o.ord = x.ord AND NOT EXISTS (SELECT FROM (" EFFECTIVE ") e "
	"  WHERE e.profile_id = x.profile_id AND e.purpose_id = o.purpose_id)",
	2,
	{INT8ARRAYOID, INT4ARRAYOID},
	NULL};

static CdpPlan put_ord_plan = {
	"INSERT INTO cdp_data.consent_ord AS o (purpose_id, ord, valid_to) "
	"SELECT e.purpose_id, s.ord, e.valid_to FROM (" EFFECTIVE ") e "
	"JOIN cdp_data.profile_state s ON s.profile_id = e.profile_id "
	"WHERE NOT EXISTS (SELECT FROM cdp_data.consent_ord x WHERE x.ord = s.ord "
	"  AND x.purpose_id = e.purpose_id AND x.valid_to = e.valid_to) "
	"ON CONFLICT (ord, purpose_id) DO UPDATE SET valid_to = excluded.valid_to",
	1,
	{INT8ARRAYOID},
	NULL};

static CdpPlan drop_node_plan = {
	"DELETE FROM cdp_data.consent_node o USING cdp_data.node n "
	"WHERE n.profile_id = ANY ($1) AND o.node_id = n.node_id AND NOT EXISTS (SELECT FROM "
	"(" EFFECTIVE ") e "
	"  WHERE e.profile_id = n.profile_id AND e.purpose_id = o.purpose_id)",
	1,
	{INT8ARRAYOID},
	NULL};

static CdpPlan put_node_plan = {
	"INSERT INTO cdp_data.consent_node AS o (purpose_id, node_id, valid_to) "
	"SELECT e.purpose_id, n.node_id, e.valid_to FROM (" EFFECTIVE ") e "
	"JOIN cdp_data.node n ON n.profile_id = e.profile_id "
	"WHERE NOT EXISTS (SELECT FROM cdp_data.consent_node x WHERE x.node_id = n.node_id "
	"  AND x.purpose_id = e.purpose_id AND x.valid_to = e.valid_to) "
	"ON CONFLICT (node_id, purpose_id) DO UPDATE SET valid_to = excluded.valid_to",
	1,
	{INT8ARRAYOID},
	NULL};

bool
cdp_consent_state_is_known(const char *state)
{
	static const char *const states[] = {
		"granted", "denied", "withdrawn", "objected", "restricted"};

	for (int i = 0; i < (int) lengthof(states); i++)
		if (strcmp(state, states[i]) == 0)
			return true;
	return false;
}

/* Number of a purpose, 0 if there is none of this name. */
int32
cdp_consent_purpose(const char *name)
{
	Datum args[1] = {CStringGetTextDatum(name)};

	if (cdp_store_run(&purpose_plan, args, NULL, false, -1) != 1)
		return 0;
	return (int32) cdp_store_int64(0, 1);
}

/*
 * Appends records to the log and brings the latest of each identifier up to
 * date.  The caller holds the locks of the people concerned and calls
 * cdp_consent_refresh() for them.
 */
void
cdp_consent_record(const CdpConsentRecord *records, int n, Oid caller)
{
	int64 *node = palloc(sizeof(int64) * Max(n, 1));
	int32 *purpose = palloc(sizeof(int32) * Max(n, 1));
	const char **state = palloc(sizeof(char *) * Max(n, 1));
	TimestampTz *ts = palloc(sizeof(TimestampTz) * Max(n, 1));
	uint8(*key)[16] = palloc(16 * Max(n, 1));
	TimestampTz *until = palloc(sizeof(TimestampTz) * Max(n, 1));
	const char **source = palloc(sizeof(char *) * Max(n, 1));
	const char **message = palloc(sizeof(char *) * Max(n, 1));
	NameData name;
	Datum args[10];

	if (n == 0)
		return;
	for (int i = 0; i < n; i++)
	{
		node[i] = records[i].node_id;
		purpose[i] = records[i].purpose_id;
		state[i] = records[i].state;
		ts[i] = records[i].ts;
		memcpy(key[i], records[i].message_key, 16);
		until[i] = records[i].valid_until;
		source[i] = records[i].source;
		message[i] = records[i].message_id;
	}
	namestrcpy(&name, GetUserNameFromId(caller, false));
	args[0] = cdp_array_int64(node, n);
	args[1] = cdp_array_int32(purpose, n);
	args[2] = cdp_array_text(state, n);
	args[3] = cdp_array_timestamptz(ts, n);
	args[4] = cdp_array_uuid((const uint8(*)[16]) key, n);
	args[5] = cdp_array_timestamptz(until, n);
	args[6] = cdp_array_text(source, n);
	args[7] = cdp_array_text(message, n);
	args[8] = TimestampTzGetDatum(cdp_now());
	args[9] = NameGetDatum(&name);
	cdp_store_run(&log_plan, args, NULL, false, n);
	cdp_store_run(&current_plan, args, NULL, false, -1);
}

/*
 * Derives anew what these people allow: after a record, a merge, or a new
 * identifier.  dead_ords are positions of people who were merged away.
 */
void
cdp_consent_refresh(const int64 *profiles, int n,
					const int32 *dead_ords, int ndead)
{
	Datum args[2];

	if (n == 0 && ndead == 0)
		return;
	args[0] = cdp_array_int64(profiles, n);
	args[1] = cdp_array_int32(dead_ords, ndead);
	cdp_store_run_joined(&drop_ord_plan, args, NULL, false, -1);
	cdp_store_run_joined(&put_ord_plan, args, NULL, false, -1);
	cdp_store_run_joined(&drop_node_plan, args, NULL, false, -1);
	cdp_store_run_joined(&put_node_plan, args, NULL, false, -1);
}
