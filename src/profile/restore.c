/*
 * src/profile/restore.c
 *		Rows of people that somebody deleted by hand, put back.
 *
 * Who has identifiers is a person, whatever rows of hers are there: what they
 * said follows from her events, and her position from what still names it.
 * They are put back empty, for whoever folds her anew.
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "profile/verify.h"
#include "store.h"

/* Whose row is missing, of those that have identifiers. */
static CdpPlan missing_plan = {
	"SELECT u.id, 'row of ' || v.name, NULL, 'there' FROM unnest($1) u (id) "
	"CROSS JOIN LATERAL (SELECT 'profile' AS name "
	"    WHERE NOT EXISTS (SELECT FROM cdp_data.profile p WHERE p.profile_id = u.id) "
	"  UNION ALL SELECT 'profile_state' WHERE NOT EXISTS ("
	"    SELECT FROM cdp_data.profile_state s WHERE s.profile_id = u.id)) v "
	"WHERE EXISTS (SELECT FROM cdp_data.node n WHERE n.profile_id = u.id) "
	"AND NOT EXISTS (SELECT FROM cdp_data.profile_merged m WHERE m.old_id = u.id)",
	1,
	{INT8ARRAYOID},
	NULL};

static CdpPlan present_plan = {
	"SELECT n.profile_id FROM cdp_data.node n WHERE n.profile_id = $1 "
	"AND NOT EXISTS (SELECT FROM cdp_data.profile_merged m WHERE m.old_id = $1) LIMIT 1",
	1,
	{INT8OID},
	NULL};

/* A position that nobody else has: hers, if something tells it. */
static CdpPlan state_plan = {
	"INSERT INTO cdp_data.profile_state (profile_id, ord, segments) "
	"SELECT u.id, o.ord, ARRAY(SELECT m.segment_id FROM cdp_data.segment_member m "
	"  WHERE m.profile_id = u.id AND m.ord = o.ord ORDER BY 1) "
	"FROM (SELECT u.id FROM unnest($1) u (id) "
	"  WHERE NOT EXISTS (SELECT FROM cdp_data.profile_state s WHERE s.profile_id = u.id) "
	"  AND EXISTS (SELECT FROM cdp_data.node n WHERE n.profile_id = u.id) "
	"  AND NOT EXISTS (SELECT FROM cdp_data.profile_merged m WHERE m.old_id = u.id) "
	"  ORDER BY u.id OFFSET 0) u "
	"CROSS JOIN LATERAL (SELECT coalesce("
	"  (SELECT p.ord FROM cdp_data.profile p WHERE p.profile_id = u.id), "
	"  (SELECT x.ord FROM (SELECT m.ord FROM cdp_data.profile_merged m WHERE m.profile_id = u.id "
	"      UNION ALL SELECT m.ord FROM cdp_data.segment_member m WHERE m.profile_id = u.id) x "
	"    WHERE NOT EXISTS (SELECT FROM cdp_data.profile p WHERE p.ord = x.ord) LIMIT 1), "
	"  nextval('cdp_data.ord_seq')::int) AS ord OFFSET 0) o "
	"ON CONFLICT DO NOTHING RETURNING profile_id",
	1,
	{INT8ARRAYOID},
	NULL};

static CdpPlan profile_plan = {
	"INSERT INTO cdp_data.profile (profile_id, ord, created_at) "
	"SELECT s.profile_id, CASE WHEN EXISTS (SELECT FROM cdp_data.profile p WHERE p.ord = s.ord) "
	"  THEN nextval('cdp_data.ord_seq')::int ELSE s.ord END, coalesce(("
	"  SELECT min(n.since) FROM cdp_data.node n WHERE n.profile_id = s.profile_id), $2) "
	"FROM cdp_data.profile_state s WHERE s.profile_id = ANY ($1) "
	"AND NOT EXISTS (SELECT FROM cdp_data.profile p WHERE p.profile_id = s.profile_id) "
	"ORDER BY s.profile_id RETURNING profile_id",
	2,
	{INT8ARRAYOID, TIMESTAMPTZOID},
	NULL};

/* Is somebody filed under this id, though her row may be missing? */
bool
cdp_profile_has_nodes(int64 profile_id)
{
	Datum args[1] = {Int64GetDatum(profile_id)};

	return cdp_store_run(&present_plan, args, NULL, false, -1) > 0;
}

void
cdp_profile_check_rows(const int64 *profiles, int n, CdpFound *to)
{
	Datum args[1] = {cdp_array_int64(profiles, n)};

	cdp_found_rows(to, cdp_store_run(&missing_plan, args, NULL, true, -1));
}

/* The last result's ids, added to a list. */
static int64 *
add_ids(int64 *ids, int *n, int rows)
{
	ids = ids ? repalloc(ids, sizeof(int64) * (*n + rows + 1)) :
				palloc(sizeof(int64) * (rows + 1));
	for (int r = 0; r < rows; r++)
		ids[(*n)++] = cdp_store_int64(r, 1);
	return ids;
}

/*
 * Puts back states, which are what is locked of people; before anybody is
 * locked.  Whose were put back is added to ids.
 */
int64 *
cdp_profile_restore_states(const int64 *profiles, int n, int64 *ids, int *nids)
{
	Datum args[1] = {cdp_array_int64(profiles, n)};

	return add_ids(ids, nids, cdp_store_run(&state_plan, args, NULL, false, -1));
}

/* The same of the other rows, for people whose locks the caller holds. */
int64 *
cdp_profile_restore_rows(const int64 *profiles, int n, int64 *ids, int *nids)
{
	Datum args[2] = {cdp_array_int64(profiles, n), TimestampTzGetDatum(cdp_now())};

	return add_ids(ids, nids, cdp_store_run(&profile_plan, args, NULL, false, -1));
}
