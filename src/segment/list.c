/*
 * src/segment/list.c
 *		Which lists somebody is on; see list.h.
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "segment/list.h"
#include "store.h"

/*
 * Without consent to the list's purpose she is not on it; before it holds, she
 * will be.  A notice that will be required ends what was allowed under others.
 */
static CdpPlan lists_plan = {
	"SELECT x.list_id, CASE WHEN x.purpose_id IS NULL THEN x.until "
	"    WHEN c.valid_from > $3 THEN LEAST(x.until, c.valid_from) "
	"    ELSE LEAST(x.until, c.valid_to, (SELECT min(w.required_from) FROM cdp_data.notice w "
	"      WHERE w.purpose_id = c.purpose_id AND w.notice_id > coalesce(c.notice_id, 0))) END, "
	"  x.purpose_id IS NULL OR c.valid_from IS NULL OR c.valid_from <= $3 "
	"FROM (SELECT r.list_id, l.purpose_id, max(r.valid_until) AS until "
	"  FROM cdp_data.node n "
	"  CROSS JOIN LATERAL (SELECT i.namespace, i.key, i.value FROM cdp_data.identifier i "
	"    WHERE i.node_id = n.node_id AND i.ended IS NULL OFFSET 0) i "
	"  CROSS JOIN LATERAL (SELECT r.list_id, r.valid_until FROM cdp_data.list_identifier r "
	"    WHERE r.key = i.key AND r.namespace = i.namespace AND r.value = i.value "
	"    AND r.valid_until > $3 OFFSET 0) r "
	"  JOIN cdp_data.list l ON l.list_id = r.list_id "
	"  WHERE n.profile_id = $1 GROUP BY r.list_id, l.purpose_id) x "
	"LEFT JOIN cdp_data.consent_ord c ON c.ord = $2 AND c.purpose_id = x.purpose_id "
	"WHERE x.purpose_id IS NULL OR (c.valid_to > $3 AND NOT EXISTS (SELECT FROM "
	"    cdp_data.notice w WHERE w.purpose_id = c.purpose_id AND w.required_from <= $3 "
	"    AND w.notice_id > coalesce(c.notice_id, 0)))",
	3,
	{INT8OID, INT4OID, TIMESTAMPTZOID},
	NULL};

int
cdp_lists_of(int64 profile_id, int32 ord, TimestampTz now, CdpListed **lists)
{
	Datum args[3] = {Int64GetDatum(profile_id), Int32GetDatum(ord), TimestampTzGetDatum(now)};
	CdpResult saved = cdp_store_save_result();
	int rows = cdp_store_run(&lists_plan, args, NULL, true, -1);

	*lists = palloc(sizeof(CdpListed) * Max(rows, 1));
	for (int r = 0; r < rows; r++)
	{
		bool isnull;

		(*lists)[r] =
			(CdpListed){(int32) cdp_store_int64(r, 1), cdp_store_int64(r, 2),
						DatumGetBool(cdp_store_value(r, 3, &isnull))};
	}
	SPI_freetuptable(SPI_tuptable);
	cdp_store_restore_result(saved);
	return rows;
}
