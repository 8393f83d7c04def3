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
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "compat.h"
#include "consent/consent.h"
#include "store.h"

/* People derived anew at once. */
#define MAX_AT_ONCE 1000

PG_FUNCTION_INFO_V1(cdp_derive_consents);

static CdpPlan purpose_plan = {
	"SELECT p.purpose_id FROM cdp_data.purpose p WHERE p.name = $1",
	1,
	{TEXTOID},
	NULL};

static CdpPlan notice_plan = {
	"SELECT n.notice_id FROM cdp_data.notice n WHERE n.purpose_id = $1 AND n.version = $2",
	2,
	{INT4OID, TEXTOID},
	NULL};

static CdpPlan channel_plan = {
	"SELECT FROM cdp_data.channel c WHERE c.name = $1", 1, {TEXTOID}, NULL};

static CdpPlan log_plan = {
	"INSERT INTO cdp_data.consent_log (node_id, purpose_id, state, ts, message_key, valid_until, "
	"  source, channel, basis, notice_id, collection_point, valid_from, jurisdiction, message_id, "
	"  signal, recorded_at, recorded_by) "
	"SELECT u.*, $16, $17 FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, "
	"  $14, $15) u",
	17,
	{INT8ARRAYOID, INT4ARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID, UUIDARRAYOID,
	 TIMESTAMPTZARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, INT4ARRAYOID, TEXTARRAYOID,
	 TIMESTAMPTZARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TIMESTAMPTZOID, NAMEOID},
	NULL};

static CdpPlan current_plan = {
	"INSERT INTO cdp_data.consent_current AS c (node_id, purpose_id, state, ts, message_key, "
	"  valid_until, source, channel, basis, notice_id, collection_point, valid_from, jurisdiction) "
	"SELECT DISTINCT ON (u.node_id, u.purpose_id, u.channel) u.* "
	"FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) u (node_id, purpose_id, "
	"  state, ts, key, valid_until, source, channel, basis, notice_id, collection_point, "
	"  valid_from, jurisdiction) "
	"ORDER BY u.node_id, u.purpose_id, u.channel, u.ts DESC, u.key DESC "
	"ON CONFLICT (node_id, purpose_id, channel) DO UPDATE SET state = excluded.state, "
	"  ts = excluded.ts, message_key = excluded.message_key, "
	"  valid_until = excluded.valid_until, source = excluded.source, basis = excluded.basis, "
	"  notice_id = excluded.notice_id, collection_point = excluded.collection_point, "
	"  valid_from = excluded.valid_from, jurisdiction = excluded.jurisdiction "
	"WHERE (c.ts, c.message_key) < (excluded.ts, excluded.message_key)",
	13,
	{INT8ARRAYOID, INT4ARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID, UUIDARRAYOID,
	 TIMESTAMPTZARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, INT4ARRAYOID, TEXTARRAYOID,
	 TIMESTAMPTZARRAYOID, TEXTARRAYOID},
	NULL};

/*
 * The statements below are probes from a few people into tables that may have
 * been empty when they were planned and are large when they run, within one
 * transaction even.  LATERAL ... OFFSET 0 and "= ANY (ARRAY[...])", which no
 * merge could use, leave the planner no order but ours.
 */

/*
 * What these people allow: the most restrictive over their identifiers.  What
 * was said of one channel is asked where something goes out on it.
 */
#define EFFECTIVE \
	"SELECT p.profile_id, c.purpose_id, min(c.valid_until) AS valid_to, " \
	"  max(c.valid_from) AS valid_from, nullif(min(coalesce(c.notice_id, 0)), 0) AS notice_id " \
	"FROM unnest($1) p (profile_id) " \
	"CROSS JOIN LATERAL (SELECT n.node_id FROM cdp_data.node n " \
	"  WHERE n.profile_id = p.profile_id OFFSET 0) n " \
	"CROSS JOIN LATERAL (SELECT c.purpose_id, c.state, c.valid_until, c.valid_from, c.notice_id " \
	"  FROM cdp_data.consent_current c WHERE c.node_id = n.node_id AND c.channel = 'all' " \
	"  OFFSET 0) c " \
	"GROUP BY p.profile_id, c.purpose_id HAVING bool_and(c.state = 'granted') "

static CdpPlan effective_plan = {
	EFFECTIVE "ORDER BY profile_id", 1, {INT8ARRAYOID}, NULL};

/*
 * The same where purposes are allowed by default: $2 where by $3.  Of a purpose
 * that no identifier has a record for, every jurisdiction of the person must
 * allow it, and there must be one.
 */
static CdpPlan effective_default_plan = {
	EFFECTIVE "UNION ALL SELECT p.profile_id, d.purpose_id, 'infinity', NULL, " CDP_NEEDS_NO_NOTICE
			  " FROM unnest($1) p (profile_id) "
			  "CROSS JOIN LATERAL (SELECT array_agg(DISTINCT c.jurisdiction) AS all_of "
			  "  FROM (SELECT n.node_id FROM cdp_data.node n WHERE n.profile_id = p.profile_id "
			  "    OFFSET 0) n "
			  "  CROSS JOIN LATERAL (SELECT c.jurisdiction FROM cdp_data.consent_current c "
			  "    WHERE c.node_id = n.node_id AND c.purpose_id = 0 OFFSET 0) c) j "
			  "CROSS JOIN LATERAL (SELECT u.purpose_id "
			  "  FROM unnest($2, $3) u (purpose_id, jurisdiction) "
			  "  WHERE u.jurisdiction = ANY (j.all_of) GROUP BY u.purpose_id "
			  "  HAVING count(*) = cardinality(j.all_of)) d "
			  "WHERE NOT EXISTS (SELECT FROM (SELECT n.node_id FROM cdp_data.node n "
			  "    WHERE n.profile_id = p.profile_id OFFSET 0) n "
			  "  CROSS JOIN LATERAL (SELECT FROM cdp_data.consent_current c "
			  "    WHERE c.node_id = n.node_id AND c.purpose_id = d.purpose_id "
			  "    AND c.channel = 'all' OFFSET 0) c) "
			  "ORDER BY profile_id",
	3,
	{INT8ARRAYOID, INT4ARRAYOID, TEXTARRAYOID},
	NULL};

/* Of whom it was stated that they are of a jurisdiction. */
static CdpPlan people_plan = {
	"SELECT DISTINCT n.profile_id FROM cdp_data.consent_current c "
	"JOIN cdp_data.node n ON n.node_id = c.node_id "
	"WHERE c.purpose_id = 0 AND c.jurisdiction = $1 ORDER BY 1",
	1,
	{TEXTOID},
	NULL};

/*
 * Whoever changes anything of a person writes her state: a writer whose
 * snapshot is older would not see what was derived of her, and fails instead.
 */
static CdpPlan touch_plan = {
	"UPDATE cdp_data.profile_state s SET rev = s.rev + 1 WHERE s.profile_id = ANY ($1)",
	1,
	{INT8ARRAYOID},
	NULL};

/*
 * The two tables the policies read, brought in line with it.  Rows that stay
 * as they are are not touched; each statement costs as much as there are
 * nodes, whatever their person's size.
 */
static CdpPlan drop_ord_plan = {
	"DELETE FROM cdp_data.consent_ord o USING ("
	"  SELECT s.ord, u.keep::int[] AS keep FROM unnest($1, $2) u (profile_id, keep) "
	"  CROSS JOIN LATERAL (SELECT s.ord FROM cdp_data.profile_state s "
	"    WHERE s.profile_id = u.profile_id OFFSET 0) s "
	"  UNION ALL SELECT d, '{}' FROM unnest($3) d) x "
	"WHERE o.ord = ANY (ARRAY[x.ord]) AND o.purpose_id <> ALL (x.keep)",
	3,
	{INT8ARRAYOID, TEXTARRAYOID, INT4ARRAYOID},
	NULL};

static CdpPlan drop_node_plan = {
	"DELETE FROM cdp_data.consent_node o USING ("
	"  SELECT n.node_id, u.keep::int[] AS keep FROM unnest($1, $2) u (profile_id, keep) "
	"  CROSS JOIN LATERAL (SELECT n.node_id FROM cdp_data.node n "
	"    WHERE n.profile_id = u.profile_id OFFSET 0) n) x "
	"WHERE o.node_id = ANY (ARRAY[x.node_id]) AND o.purpose_id <> ALL (x.keep)",
	2,
	{INT8ARRAYOID, TEXTARRAYOID},
	NULL};

static CdpPlan put_ord_plan = {
	"INSERT INTO cdp_data.consent_ord AS o (purpose_id, ord, valid_to, valid_from, "
	"  notice_id) "
	"SELECT e.purpose_id, s.ord, e.valid_to, e.valid_from, e.notice_id "
	"FROM unnest($1, $2, $3, $4, $5) e (profile_id, purpose_id, valid_to, valid_from, "
	"  notice_id) "
	"CROSS JOIN LATERAL (SELECT s.ord FROM cdp_data.profile_state s "
	"  WHERE s.profile_id = e.profile_id OFFSET 0) s "
	"WHERE NOT EXISTS (SELECT FROM cdp_data.consent_ord x WHERE x.ord = ANY (ARRAY[s.ord]) "
	"  AND x.purpose_id = e.purpose_id AND x.valid_to = e.valid_to "
	"  AND x.valid_from IS NOT DISTINCT FROM e.valid_from "
	"  AND x.notice_id IS NOT DISTINCT FROM e.notice_id) "
	"ON CONFLICT (ord, purpose_id) DO UPDATE SET valid_to = excluded.valid_to, "
	"  valid_from = excluded.valid_from, notice_id = excluded.notice_id",
	5,
	{INT8ARRAYOID, INT4ARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID, INT4ARRAYOID},
	NULL};

static CdpPlan put_node_plan = {
	"INSERT INTO cdp_data.consent_node AS o (purpose_id, node_id, valid_to, valid_from, "
	"  notice_id) "
	"SELECT e.purpose_id, n.node_id, e.valid_to, e.valid_from, e.notice_id "
	"FROM unnest($1, $2, $3, $4, $5) e (profile_id, purpose_id, valid_to, valid_from, "
	"  notice_id) "
	"CROSS JOIN LATERAL (SELECT n.node_id FROM cdp_data.node n "
	"  WHERE n.profile_id = e.profile_id OFFSET 0) n "
	"WHERE NOT EXISTS (SELECT FROM cdp_data.consent_node x "
	"  WHERE x.node_id = ANY (ARRAY[n.node_id]) "
	"  AND x.purpose_id = e.purpose_id AND x.valid_to = e.valid_to "
	"  AND x.valid_from IS NOT DISTINCT FROM e.valid_from "
	"  AND x.notice_id IS NOT DISTINCT FROM e.notice_id) "
	"ON CONFLICT (node_id, purpose_id) DO UPDATE SET valid_to = excluded.valid_to, "
	"  valid_from = excluded.valid_from, notice_id = excluded.notice_id",
	5,
	{INT8ARRAYOID, INT4ARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID, INT4ARRAYOID},
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

/* Number of a version of a purpose's notice, 0 if there is none. */
int32
cdp_consent_notice(int32 purpose_id, const char *version)
{
	Datum args[2] = {Int32GetDatum(purpose_id), CStringGetTextDatum(version)};

	if (cdp_store_run(&notice_plan, args, NULL, false, -1) != 1)
		return 0;
	return (int32) cdp_store_int64(0, 1);
}

/* Is it the name of a channel, or of all? */
bool
cdp_consent_channel_exists(const char *name)
{
	Datum args[1] = {CStringGetTextDatum(name)};

	return strcmp(name, CDP_ALL_CHANNELS) == 0 ||
		   cdp_store_run(&channel_plan, args, NULL, false, -1) == 1;
}

/*
 * Appends records to the log and brings the latest of each identifier up to
 * date.  The caller holds the locks of the people concerned and calls
 * cdp_consent_refresh() for them.
 */
void
cdp_consent_record(const CdpConsentRecord *records, int n, Oid caller)
{
	static const CdpConsentTerms plain = {.channel = CDP_ALL_CHANNELS, .valid_from = DT_NOBEGIN};
	int64 *node = palloc(sizeof(int64) * Max(n, 1));
	int32 *purpose = palloc(sizeof(int32) * Max(n, 1));
	const char **text[8]; /* state, source, channel, basis, point, jurisdiction, message, signal */
	TimestampTz *ts = palloc(sizeof(TimestampTz) * Max(n, 1));
	uint8(*key)[16] = palloc(16 * Max(n, 1));
	TimestampTz *until = palloc(sizeof(TimestampTz) * Max(n, 1));
	Datum *notice = palloc(sizeof(Datum) * Max(n, 1));
	bool *no_notice = palloc(sizeof(bool) * Max(n, 1));
	Datum *from = palloc(sizeof(Datum) * Max(n, 1));
	bool *no_from = palloc(sizeof(bool) * Max(n, 1));
	NameData name;
	Datum args[17];

	if (n == 0)
		return;
	for (int k = 0; k < (int) lengthof(text); k++)
		text[k] = palloc(sizeof(char *) * n);
	for (int i = 0; i < n; i++)
	{
		const CdpConsentRecord *r = &records[i];
		const CdpConsentTerms *terms = r->terms ? r->terms : &plain;

		node[i] = r->node_id;
		purpose[i] = r->purpose_id;
		ts[i] = r->ts;
		memcpy(key[i], r->message_key, 16);
		until[i] = r->valid_until;
		notice[i] = Int32GetDatum(terms->notice_id);
		no_notice[i] = terms->notice_id == 0;
		from[i] = TimestampTzGetDatum(terms->valid_from);
		no_from[i] = terms->valid_from == DT_NOBEGIN;
		text[0][i] = r->state;
		text[1][i] = r->source;
		text[2][i] = terms->channel;
		text[3][i] = terms->basis;
		text[4][i] = terms->collection_point;
		text[5][i] = terms->jurisdiction;
		text[6][i] = r->message_id;
		text[7][i] = terms->signal;
	}
	namestrcpy(&name, GetUserNameFromId(caller, false));
	args[0] = cdp_array_int64(node, n);
	args[1] = cdp_array_int32(purpose, n);
	args[2] = cdp_array_text(text[0], n);
	args[3] = cdp_array_timestamptz(ts, n);
	args[4] = cdp_array_uuid((const uint8(*)[16]) key, n);
	args[5] = cdp_array_timestamptz(until, n);
	args[6] = cdp_array_text(text[1], n);
	args[7] = cdp_array_text(text[2], n);
	args[8] = cdp_array_text(text[3], n);
	args[9] = cdp_array_datums(notice, no_notice, n, INT4OID);
	args[10] = cdp_array_text(text[4], n);
	args[11] = cdp_array_datums(from, no_from, n, TIMESTAMPTZOID);
	args[12] = cdp_array_text(text[5], n);
	args[13] = cdp_array_text(text[6], n);
	args[14] = cdp_array_text(text[7], n);
	args[15] = TimestampTzGetDatum(cdp_now());
	args[16] = NameGetDatum(&name);
	cdp_store_run(&log_plan, args, NULL, false, n);
	cdp_store_run(&current_plan, args, NULL, false, -1);
}

/*
 * Derives anew what these people (ascending) allow: after a record, a merge, or
 * a new identifier.  dead_ords are positions of people who were merged away.
 */
void
cdp_consent_refresh(const int64 *profiles, int n,
					const int32 *dead_ords, int ndead)
{
	const char **keep = palloc(sizeof(char *) * Max(n, 1));
	int64 *who;
	int32 *purpose;
	TimestampTz *until;
	Datum *from;
	bool *no_from;
	Datum *notice;
	bool *no_notice;
	const int32 *allowed;
	const char *const *where;
	int ndefaults;
	int rows;
	Datum args[5];

	if ((n == 0 && ndead == 0) || !cdp_consent_is_used())
		return;
	args[0] = cdp_array_int64(profiles, n);
	ndefaults = cdp_consent_defaults(&allowed, &where);
	args[1] = cdp_array_int32(allowed, ndefaults);
	args[2] = cdp_array_text(where, ndefaults);
	rows = cdp_store_run(ndefaults > 0 ? &effective_default_plan : &effective_plan, args, NULL,
						 false, -1);
	who = palloc(sizeof(int64) * Max(rows, 1));
	purpose = palloc(sizeof(int32) * Max(rows, 1));
	until = palloc(sizeof(TimestampTz) * Max(rows, 1));
	from = palloc(sizeof(Datum) * Max(rows, 1));
	no_from = palloc(sizeof(bool) * Max(rows, 1));
	notice = palloc(sizeof(Datum) * Max(rows, 1));
	no_notice = palloc(sizeof(bool) * Max(rows, 1));
	for (int r = 0; r < rows; r++)
	{
		who[r] = cdp_store_int64(r, 1);
		purpose[r] = (int32) cdp_store_int64(r, 2);
		until[r] = cdp_store_int64(r, 3);
		from[r] = cdp_store_value(r, 4, &no_from[r]);
		notice[r] = cdp_store_value(r, 5, &no_notice[r]);
	}
	/* both ascending by profile */
	for (int i = 0, r = 0; i < n; i++)
	{
		StringInfoData list;

		initStringInfo(&list);
		appendStringInfoChar(&list, '{');
		Assert(i == 0 || profiles[i - 1] < profiles[i]);
		for (; r < rows && who[r] == profiles[i]; r++)
			appendStringInfo(&list, "%s%d", list.len > 1 ? "," : "", purpose[r]);
		appendStringInfoChar(&list, '}');
		keep[i] = list.data;
	}
	args[1] = cdp_array_text(keep, n);
	args[2] = cdp_array_int32(dead_ords, ndead);
	cdp_store_run(&drop_ord_plan, args, NULL, false, -1);
	cdp_store_run(&drop_node_plan, args, NULL, false, -1);
	if (rows == 0)
		return;
	args[0] = cdp_array_int64(who, rows);
	args[1] = cdp_array_int32(purpose, rows);
	args[2] = cdp_array_timestamptz(until, rows);
	args[3] = cdp_array_datums(from, no_from, rows, TIMESTAMPTZOID);
	args[4] = cdp_array_datums(notice, no_notice, rows, INT4OID);
	cdp_store_run(&put_ord_plan, args, NULL, false, -1);
	cdp_store_run(&put_node_plan, args, NULL, false, -1);
}

/*
 * cdp.derive_consents(jurisdiction), for a default that was changed.  No writer
 * is at work: the caller holds cdp.lock_storage().
 */
Datum
cdp_derive_consents(PG_FUNCTION_ARGS)
{
	Datum args[1] = {PG_GETARG_DATUM(0)};
	CdpStore store;
	int64 *ids;
	int n;

	cdp_store_enter(&store);
	n = cdp_store_run(&people_plan, args, NULL, false, -1);
	ids = cdp_store_ids(n);
	for (int i = 0; i < n; i += MAX_AT_ONCE)
	{
		int m = Min(n - i, MAX_AT_ONCE);

		args[0] = cdp_array_int64(ids + i, m);
		cdp_store_run(&touch_plan, args, NULL, false, m);
		cdp_consent_refresh(ids + i, m, NULL, 0);
	}
	cdp_store_leave(&store);
	PG_RETURN_INT64(n);
}
