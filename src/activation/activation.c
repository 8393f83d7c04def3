/*
 * src/activation/activation.c
 *		The outbox: one row per person who entered an activated segment,
 *		written in the transaction of the event, handed out by claim().
 *
 * Hand-over is at least once: claim() leases a delivery to its caller, ack()
 * settles it, and one whose lease ends is handed out again.  Consent is
 * decided when the delivery leaves, under the snapshot of the claim, so a
 * withdrawal holds for everything that is still waiting.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "activation/activation.h"
#include "compat.h"
#include "consent/consent.h"
#include "store.h"

/* Deliveries judged in one statement. */
#define CLAIM_BATCH 1000

/* A delivery that nobody acknowledges must come back some day. */
#define MAX_LEASE (INT64CONST(7) * USECS_PER_DAY)

PG_FUNCTION_INFO_V1(cdp_claim);
PG_FUNCTION_INFO_V1(cdp_ack);

static CdpPlan enqueue_plan = {
	"WITH put AS (INSERT INTO cdp_data.outbox (activation_id, segment_id, channel, "
	"purpose_id, profile_id, ord, first_profile, created_at) "
	"  SELECT a.activation_id, a.segment_id, a.channel, a.purpose_id, u.profile_id, u.ord, "
	"    u.profile_id, $4 "
	"  FROM unnest($1, $2, $3) u (segment_id, profile_id, ord) "
	"  JOIN cdp_data.activation a ON a.segment_id = u.segment_id RETURNING activation_id) "
	"SELECT DISTINCT a.channel FROM put JOIN cdp_data.activation a ON a.activation_id = "
	"put.activation_id WHERE a.notify",
	4,
	{INT4ARRAYOID, INT8ARRAYOID, INT4ARRAYOID, TIMESTAMPTZOID},
	NULL};

static CdpPlan move_plan = {
	"WITH theirs AS (SELECT o.delivery_id, u.winner FROM unnest($1, $2) u (winner, loser) "
	"  JOIN cdp_data.outbox o ON o.profile_id = ANY (ARRAY[u.loser]) "
	"  ORDER BY o.delivery_id FOR UPDATE OF o) "
	"UPDATE cdp_data.outbox o SET profile_id = s.profile_id, ord = s.ord "
	"FROM theirs t JOIN cdp_data.profile_state s ON s.profile_id = ANY (ARRAY[t.winner]) "
	"WHERE o.delivery_id = ANY (ARRAY[t.delivery_id])",
	2,
	{INT8ARRAYOID, INT8ARRAYOID},
	NULL};

/* Deliveries go with whom they were queued for, whoever that is now. */
static CdpPlan part_plan = {
	"WITH theirs AS (SELECT o.delivery_id, coalesce(m.profile_id, o.first_profile) AS target "
	"  FROM cdp_data.outbox o LEFT JOIN cdp_data.profile_merged m "
	"    ON m.old_id = ANY (ARRAY[o.first_profile]) "
	"  WHERE o.profile_id = ANY ($1) "
	"    AND (o.state = 'merged' OR coalesce(m.profile_id, o.first_profile) <> o.profile_id) "
	"  ORDER BY o.delivery_id FOR UPDATE OF o) "
	"UPDATE cdp_data.outbox o SET profile_id = s.profile_id, ord = s.ord, "
	"  state = CASE o.state WHEN 'merged' THEN 'pending' ELSE o.state END, "
	"  settled_at = CASE o.state WHEN 'merged' THEN NULL ELSE o.settled_at END, "
	"  reason = CASE o.state WHEN 'merged' THEN NULL ELSE o.reason END "
	"FROM theirs t JOIN cdp_data.profile_state s ON s.profile_id = ANY (ARRAY[t.target]) "
	"WHERE o.delivery_id = ANY (ARRAY[t.delivery_id])",
	1,
	{INT8ARRAYOID},
	NULL};

/*
 * Who was in a segment before a merge did not enter it while she was merged,
 * whatever it looked like.
 */
static CdpPlan void_plan = {
	"UPDATE cdp_data.outbox o SET state = 'suppressed', settled_at = $2, "
	"  reason = 'the person was in the segment before, and merged with somebody else meanwhile' "
	"FROM cdp_data.segment_before b WHERE b.loser = ANY ($1) "
	"  AND o.profile_id = ANY (ARRAY[b.profile_id]) AND o.first_profile = b.profile_id "
	"  AND o.segment_id = b.segment_id AND o.state IN ('pending', 'merged') "
	"  AND o.created_at > (SELECT max(m.at) FROM cdp_data.identity_merge m "
	"    WHERE m.loser = b.loser)",
	2,
	{INT8ARRAYOID, TIMESTAMPTZOID},
	NULL};

/* One person, one waiting delivery of an activation: the one handed out, or the earliest. */
static CdpPlan single_plan = {
	"UPDATE cdp_data.outbox o SET state = 'merged', settled_at = $2, "
	"  reason = 'another delivery of the same activation waits for this person' "
	"WHERE o.profile_id = ANY ($1) AND o.state = 'pending' AND EXISTS ("
	"  SELECT FROM cdp_data.outbox e WHERE e.profile_id = o.profile_id "
	"  AND e.activation_id = o.activation_id AND (e.state = 'leased' OR (e.state = 'pending' "
	"    AND (e.created_at, e.delivery_id) < (o.created_at, o.delivery_id))))",
	2,
	{INT8ARRAYOID, TIMESTAMPTZOID},
	NULL};

static CdpPlan pick_plan = {
	"SELECT o.delivery_id, o.purpose_id, o.ord FROM cdp_data.outbox o "
	"WHERE o.channel = $1 AND o.state IN ('pending', 'leased') "
	"  AND (o.state = 'pending' OR o.leased_until <= $3) AND o.purpose_id = ANY ($4) "
	"ORDER BY o.created_at LIMIT $2 FOR UPDATE SKIP LOCKED",
	4,
	{TEXTOID, INT8OID, TIMESTAMPTZOID, INT4ARRAYOID},
	NULL};

#define PURPOSE_HOLDS CDP_CONSENT_HOLDS("c", "valid_to", "$3")
#define CHANNEL_HOLDS CDP_CONSENT_HOLDS("k", "valid_until", "$3")

/*
 * The verdict on each picked delivery: does the person allow its purpose now,
 * and where does the channel reach her?  The address is the identifier of the
 * channel's namespace that was seen last.
 */
static CdpPlan settle_plan = {
	"WITH fact AS (SELECT o.delivery_id, g.name AS segment, p.name AS purpose, "
	"    EXISTS (SELECT FROM cdp_data.consent_ord c WHERE c.ord = o.ord "
	"      AND c.purpose_id = o.purpose_id AND " PURPOSE_HOLDS ") "
	"    AS allowed, "
	/* what her identifiers say of the channel itself can only say no */
	"    EXISTS (SELECT FROM cdp_data.node n CROSS JOIN LATERAL (SELECT FROM "
	"        cdp_data.consent_current k WHERE k.node_id = n.node_id "
	"        AND k.purpose_id = o.purpose_id AND k.channel = o.channel AND NOT "
	"        (k.state = 'granted' AND " CHANNEL_HOLDS ") OFFSET 0) k "
	"      WHERE n.profile_id = o.profile_id) AS closed, "
	"    (SELECT i.value FROM (SELECT n.node_id FROM cdp_data.node n "
	"        WHERE n.profile_id = o.profile_id OFFSET 0) n "
	"       CROSS JOIN LATERAL (SELECT i.value, i.namespace, i.last_seen "
	"        FROM cdp_data.identifier i WHERE i.node_id = n.node_id AND i.ended IS NULL "
	"        OFFSET 0) i "
	"       WHERE i.namespace = "
	"         (SELECT h.namespace FROM cdp_data.channel h WHERE h.name = o.channel) "
	"       ORDER BY i.last_seen DESC, n.node_id DESC LIMIT 1) AS address, "
	"    EXISTS (SELECT FROM cdp_data.channel h WHERE h.name = o.channel "
	"      AND h.namespace IS NOT NULL) AS addressed "
	"  FROM cdp_data.outbox o "
	"  LEFT JOIN cdp_data.segment g ON g.segment_id = o.segment_id "
	"  LEFT JOIN cdp_data.purpose p ON p.purpose_id = o.purpose_id "
	"  WHERE o.delivery_id = ANY ($1)), "
	"verdict AS (SELECT f.*, CASE "
	"    WHEN NOT f.allowed THEN 'the person does not allow the purpose' "
	"    WHEN f.closed THEN 'the person does not allow the purpose on this channel' "
	"    WHEN f.segment IS NULL THEN 'the segment was dropped' "
	"    WHEN f.addressed AND f.address IS NULL THEN 'the person has no address on this channel' "
	"    END AS reason FROM fact f) "
	"UPDATE cdp_data.outbox o SET "
	"  state = CASE WHEN v.reason IS NULL THEN 'leased' "
	"    WHEN v.allowed AND NOT v.closed THEN 'failed' "
	"    ELSE 'suppressed' END, "
	"  reason = v.reason, settled_at = CASE WHEN v.reason IS NOT NULL THEN $3 END, "
	"  leased_until = CASE WHEN v.reason IS NULL THEN $2 END, leased_by = $4, "
	"  attempts = o.attempts + 1 "
	"FROM verdict v WHERE o.delivery_id = ANY (ARRAY[v.delivery_id]) "
	"RETURNING o.delivery_id, o.profile_id, v.address, "
	"  jsonb_build_object('segment', v.segment, 'channel', o.channel, 'purpose', v.purpose, "
	"    'entered_at', o.created_at, 'attempt', o.attempts), o.state",
	4,
	{UUIDARRAYOID, TIMESTAMPTZOID, TIMESTAMPTZOID, NAMEOID},
	NULL};

static CdpPlan purposes_plan = {
	"SELECT p.purpose_id FROM cdp_data.purpose p", 0, {0}, NULL};

static CdpPlan ack_plan = {
	/* locked in the order of ids, like every other set of deliveries */
	"WITH mine AS (SELECT o.delivery_id FROM cdp_data.outbox o WHERE o.delivery_id = ANY ($1) "
	"  AND o.state = 'leased' AND ($3 IS NULL OR o.leased_by = $3) "
	"  ORDER BY o.delivery_id FOR UPDATE) "
	"UPDATE cdp_data.outbox o SET state = 'delivered', settled_at = $2, leased_until = NULL "
	"FROM mine WHERE o.delivery_id = ANY (ARRAY[mine.delivery_id])",
	3,
	{UUIDARRAYOID, TIMESTAMPTZOID, NAMEOID},
	NULL};

/* The segments that have an activation, ascending: most entries are into others. */
static struct
{
	uint64 generation;
	int64 *segments;
	int n;
} activated;

/* A transaction that holds its locks asks nobody else whether an activation is new. */
static void
load_activated(void)
{
	AcceptInvalidationMessages();
	while (activated.generation != cdp_store_generation())
	{
		uint64 generation = cdp_store_generation();
		CdpResult saved = cdp_store_save_result();
		int n = cdp_store_run_latest("SELECT DISTINCT segment_id::bigint FROM "
									 "cdp_data.activation ORDER BY 1");
		int64 *segments = MemoryContextAlloc(CacheMemoryContext, sizeof(int64) * Max(n, 1));

		for (int i = 0; i < n; i++)
			segments[i] = cdp_store_int64(i, 1);
		cdp_store_restore_result(saved);
		if (activated.segments)
			pfree(activated.segments);
		activated.segments = segments;
		activated.n = n;
		activated.generation = generation;
	}
}

static bool
is_activated(int64 segment_id)
{
	return bsearch(&segment_id, activated.segments, activated.n, sizeof(int64),
				   cdp_compare_int64) != NULL;
}

/* Queues a delivery for every activation of the segments entered. */
void
cdp_activation_enqueue(const CdpEntry *entries, int nentries)
{
	int32 *segment = palloc(sizeof(int32) * Max(nentries, 1));
	int64 *profile = palloc(sizeof(int64) * Max(nentries, 1));
	int32 *ord = palloc(sizeof(int32) * Max(nentries, 1));
	int n = 0;
	Datum args[4];
	int channels;

	if (nentries > 0)
		load_activated();
	for (int i = 0; i < nentries; i++)
	{
		if (!is_activated(entries[i].segment_id))
			continue;
		segment[n] = entries[i].segment_id;
		profile[n] = entries[i].profile_id;
		ord[n++] = entries[i].ord;
	}
	if (n == 0)
		return;
	args[0] = cdp_array_int32(segment, n);
	args[1] = cdp_array_int64(profile, n);
	args[2] = cdp_array_int32(ord, n);
	args[3] = TimestampTzGetDatum(cdp_now());
	channels = cdp_store_run(&enqueue_plan, args, NULL, false, -1);
	for (int i = 0; i < channels; i++)
		Async_Notify("cdp_outbox", cdp_store_text(i, 1));
}

/* Deliveries of people who were merged away go to who they are now. */
void
cdp_activation_join(const CdpGraph *graph)
{
	int n = graph->nmerges;
	int64 *winner = palloc(sizeof(int64) * Max(n, 1));
	int64 *loser = palloc(sizeof(int64) * Max(n, 1));
	Datum args[2];

	if (n == 0)
		return;
	for (int i = 0; i < n; i++)
	{
		winner[i] = graph->merges[i].winner;
		loser[i] = graph->merges[i].loser;
	}
	args[0] = cdp_array_int64(winner, n);
	args[1] = cdp_array_int64(loser, n);
	if (cdp_store_run(&move_plan, args, NULL, false, -1) > 0)
	{
		args[1] = TimestampTzGetDatum(cdp_now());
		cdp_store_run(&single_plan, args, NULL, false, -1);
	}
}

/*
 * After people parted: deliveries go back to whom they were for.  Before
 * cdp_segment_part(), which forgets what they were in.
 */
void
cdp_activation_part(const CdpGraph *graph)
{
	int n = 0;
	int nback = 0;
	int64 *ids = palloc(sizeof(int64) * Max(graph->nlocked, 1));
	int64 *back = palloc(sizeof(int64) * Max(graph->nlocked, 1));
	Datum args[2];

	for (int i = 0; i < graph->nlocked; i++)
	{
		if (graph->locked[i].rebuild)
			ids[n++] = graph->locked[i].profile_id;
		if (graph->locked[i].returns)
			back[nback++] = graph->locked[i].profile_id;
	}
	if (n == 0)
		return;
	args[0] = cdp_array_int64(ids, n);
	args[1] = TimestampTzGetDatum(cdp_now());
	if (cdp_store_run(&part_plan, args, NULL, false, -1) > 0)
		cdp_store_run(&single_plan, args, NULL, false, -1);
	args[0] = cdp_array_int64(back, nback);
	if (nback > 0)
		cdp_store_run(&void_plan, args, NULL, false, -1);
}

/* Purposes for which this role may carry deliveries. */
static Datum
carried_purposes(Oid role)
{
	int n = cdp_store_run(&purposes_plan, NULL, NULL, false, -1);
	int32 *all = palloc(sizeof(int32) * Max(n, 1));
	int kept = 0;

	for (int i = 0; i < n; i++)
		all[i] = (int32) cdp_store_int64(i, 1);
	for (int i = 0; i < n; i++)
		if (cdp_consent_has_purpose(role, all[i]))
			all[kept++] = all[i];
	return cdp_array_int32(all, kept);
}

/*
 * cdp.claim(channel, n, lease).  Refuses snapshots older than the statement:
 * under REPEATABLE READ a withdrawal committed meanwhile would not count.
 */
Datum
cdp_claim(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum channel = PG_GETARG_DATUM(0);
	int32 n = PG_GETARG_INT32(1);
	Interval *lease = PG_GETARG_INTERVAL_P(2);
	TimestampTz now;
	TimestampTz until;
	CdpStore store;
	Datum args[4];
	NameData caller;

	InitMaterializedSRF(fcinfo, 0);
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("claim cannot run under isolation level REPEATABLE READ or SERIALIZABLE"),
				 errdetail("A consent withdrawn after the transaction's snapshot would not "
						   "be seen."),
				 errhint("Use READ COMMITTED.")));
	if (n <= 0 || n > 100000)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("cannot claim %d deliveries", n),
				 errhint("Claim from 1 to 100000.")));
	now = cdp_now();
	until = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
													TimestampTzGetDatum(now),
													IntervalPGetDatum(lease)));
	if (until <= now || until - now > MAX_LEASE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the lease must be longer than nothing and at most 7 days")));

	cdp_store_enter(&store);
	namestrcpy(&caller, GetUserNameFromId(store.caller, false));
	while (n > 0)
	{
		int picked;
		int rows;
		Datum *ids;

		args[0] = channel;
		args[1] = Int64GetDatum(Min(n, CLAIM_BATCH));
		args[2] = TimestampTzGetDatum(now);
		args[3] = carried_purposes(store.caller);
		picked = cdp_store_run(&pick_plan, args, NULL, false, -1);
		if (picked == 0)
			break;
		ids = palloc(sizeof(Datum) * picked);
		for (int i = 0; i < picked; i++)
		{
			bool isnull;

			ids[i] = cdp_store_value(i, 1, &isnull);
		}
		args[0] = cdp_array_datums(ids, NULL, picked, UUIDOID);
		args[1] = TimestampTzGetDatum(until);
		args[2] = TimestampTzGetDatum(now);
		args[3] = NameGetDatum(&caller);
		rows = cdp_store_run(&settle_plan, args, NULL, false, picked);
		for (int i = 0; i < rows; i++)
		{
			Datum values[4];
			bool nulls[4];

			if (strcmp(cdp_store_text(i, 5), "leased") != 0)
				continue;
			for (int c = 0; c < 4; c++)
				values[c] = cdp_store_value(i, c + 1, &nulls[c]);
			tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
			n--;
		}
	}
	cdp_store_leave(&store);
	return (Datum) 0;
}

/* cdp.ack(delivery_ids): settles deliveries leased to the caller. */
Datum
cdp_ack(PG_FUNCTION_ARGS)
{
	CdpStore store;
	Datum args[3];
	char nulls[4] = "   ";
	NameData caller;
	int n;

	args[0] = PG_GETARG_DATUM(0);
	cdp_store_enter(&store);
	namestrcpy(&caller, GetUserNameFromId(store.caller, false));
	args[1] = TimestampTzGetDatum(cdp_now());
	args[2] = NameGetDatum(&caller);
	if (cdp_role_is_exempt(store.caller))
		nulls[2] = 'n';
	n = cdp_store_run(&ack_plan, args, nulls, false, -1);
	cdp_store_leave(&store);
	PG_RETURN_INT32(n);
}
