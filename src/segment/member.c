/*
 * src/segment/member.c
 *		Who is in which segment: where it is kept (see member.h).
 *
 * profile_state.segments has the ids of a person's segments in ascending
 * order; cdp_data.segment_member is the same the other way round, with since
 * when and why.  Who leaves leaves a row of cdp_data.segment_history behind.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "compat.h"
#include "row.h"
#include "segment/chunk.h"
#include "segment/member.h"
#include "segment/rule.h"
#include "segment/timer.h"
#include "store.h"

static CdpRowOp mirror_row = {
	.table = "profile_state",
	.keys = {"profile_id"},
	.columns = {"rev", "segments"},
};

static CdpRowOp enter_row = {
	.table = "segment_member",
	.columns = {"segment_id", "ord", "profile_id", "since", "cause"},
	.ignore = true,
};

static CdpPlan enter_plan = {
	"WITH came AS (INSERT INTO cdp_data.segment_member (segment_id, ord, profile_id, since, "
	"  cause) SELECT * FROM unnest($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING "
	"  RETURNING segment_id, ord) " CDP_CHUNK_STEPS("came", "1"),
	5,
	{INT4ARRAYOID, INT4ARRAYOID, INT8ARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID},
	NULL};

static CdpPlan leave_plan = {
	"WITH gone AS (DELETE FROM cdp_data.segment_member m "
	"  USING unnest($1, $2, $4, $5) u (segment_id, ord, at, cause) "
	"  WHERE m.segment_id = ANY (ARRAY[u.segment_id]) AND m.ord = ANY (ARRAY[u.ord]) "
	"  RETURNING m.segment_id, m.ord, m.profile_id, m.since, u.at, u.cause), "
	/* of a set that is nobody's, or not yet, there is none */
	"kept AS (INSERT INTO cdp_data.segment_history (segment_id, ord, profile_id, entered_at, "
	"  left_at, cause) SELECT s.segment_id, g.ord, g.profile_id, "
	"  CASE WHEN g.since = 'infinity' THEN LEAST(s.live_from, g.at) ELSE g.since END, "
	"  g.at, g.cause "
	"  FROM gone g JOIN cdp_data.segment s ON s.set_id = ANY (ARRAY[g.segment_id])) "
	"" CDP_CHUNK_STEPS("gone", "-1"),
	5,
	{INT4ARRAYOID, INT4ARRAYOID, INT8ARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID},
	NULL};

/* What the losers were in, the winners are in until evaluated anew. */
static CdpPlan inherit_plan = {
	"WITH more AS (SELECT o.segment_id, s.ord, s.profile_id, min(o.since) AS since "
	"FROM unnest($1, $2) u (winner, loser) "
	"JOIN cdp_data.profile_state s ON s.profile_id = ANY (ARRAY[u.winner]) "
	"JOIN cdp_data.segment_member o ON o.profile_id = ANY (ARRAY[u.loser]) "
	"GROUP BY o.segment_id, s.ord, s.profile_id), "
	"came AS (INSERT INTO cdp_data.segment_member AS m (segment_id, ord, profile_id, since) "
	"SELECT * FROM more "
	"ON CONFLICT (segment_id, ord) DO UPDATE SET since = LEAST(m.since, excluded.since)) "
	"" CDP_CHUNK_STEPS(CDP_CHUNK_FRESH("more"), "1"),
	2,
	{INT8ARRAYOID, INT8ARRAYOID},
	NULL};

/* What both were in, should they come apart again. */
static CdpPlan save_plan = {
	"INSERT INTO cdp_data.segment_before (loser, profile_id, segment_id, since) "
	"SELECT u.loser, m.profile_id, g.segment_id, "
	"  CASE WHEN m.since = 'infinity' THEN g.live_from ELSE m.since END "
	"FROM unnest($1, $2) u (winner, loser) "
	"CROSS JOIN LATERAL (SELECT * FROM cdp_data.segment_member m "
	"  WHERE m.profile_id = ANY (ARRAY[u.winner, u.loser]) OFFSET 0) m "
	"JOIN cdp_data.segment g ON g.set_id = ANY (ARRAY[m.segment_id]) "
	"ON CONFLICT DO NOTHING",
	2,
	{INT8ARRAYOID, INT8ARRAYOID},
	NULL};

static CdpPlan return_plan = {
	"WITH more AS (SELECT g.set_id AS segment_id, s.ord, s.profile_id, min(b.since) AS since "
	"FROM unnest($1) u (loser) "
	"CROSS JOIN LATERAL (SELECT * FROM cdp_data.segment_before b "
	"  WHERE b.loser = u.loser OFFSET 0) b "
	"JOIN cdp_data.profile_state s ON s.profile_id = ANY (ARRAY[b.profile_id]) "
	"JOIN cdp_data.segment g ON g.segment_id = ANY (ARRAY[b.segment_id]) "
	"WHERE b.profile_id = ANY ($1 || $2) "
	"GROUP BY g.set_id, s.ord, s.profile_id), "
	"came AS (INSERT INTO cdp_data.segment_member (segment_id, ord, profile_id, since) "
	"SELECT * FROM more "
	"ON CONFLICT (segment_id, ord) DO UPDATE SET since = excluded.since) "
	"" CDP_CHUNK_STEPS(CDP_CHUNK_FRESH("more"), "1"),
	2,
	{INT8ARRAYOID, INT8ARRAYOID},
	NULL};

/*
 * What somebody is in only because of who left her.  If she is in it by
 * herself, evaluating finds that, as of now.
 */
static CdpPlan give_back_plan = {
	"WITH gone AS (DELETE FROM cdp_data.segment_member m "
	"USING cdp_data.segment_before b, cdp_data.segment g "
	"WHERE b.loser = ANY ($1) AND b.profile_id = b.loser AND m.profile_id = ANY ($2) "
	"  AND g.segment_id = ANY (ARRAY[b.segment_id]) AND m.segment_id = g.set_id "
	"  AND b.since = CASE WHEN m.since = 'infinity' THEN g.live_from ELSE m.since END "
	"  AND NOT EXISTS (SELECT FROM cdp_data.segment_before own WHERE own.loser = b.loser "
	"    AND own.profile_id = m.profile_id AND own.segment_id = b.segment_id) "
	"RETURNING m.segment_id, m.ord) " CDP_CHUNK_STEPS("gone", "-1"),
	2,
	{INT8ARRAYOID, INT8ARRAYOID},
	NULL};

static CdpPlan reflect_plan = {
	"UPDATE cdp_data.profile_state s SET segments = ARRAY(SELECT m.segment_id "
	"  FROM cdp_data.segment_member m WHERE m.profile_id = s.profile_id ORDER BY 1) "
	"WHERE s.profile_id = ANY ($1 || $2)",
	2,
	{INT8ARRAYOID, INT8ARRAYOID},
	NULL};

static CdpPlan forget_plan = {
	"DELETE FROM cdp_data.segment_before b WHERE b.loser = ANY ($1)",
	1,
	{INT8ARRAYOID},
	NULL};

static CdpPlan disown_plan = {
	"WITH gone AS (DELETE FROM cdp_data.segment_member m WHERE m.profile_id = ANY ($1) "
	"RETURNING m.segment_id, m.ord) " CDP_CHUNK_STEPS("gone", "-1"),
	1,
	{INT8ARRAYOID},
	NULL};

/* Flips of one person, applied to her list. */
typedef struct Hers
{
	const CdpFlip *flips;
	int n;
} Hers;

static int
compare_ids(const void *a, const void *b)
{
	int32 x = *(const int32 *) a;
	int32 y = *(const int32 *) b;

	return (x > y) - (x < y);
}

static bool
apply_flips(CdpRow *row, void *arg)
{
	const Hers *hers = arg;
	ArrayType *array = DatumGetArrayTypeP(row->values[1]);
	int n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	int32 *ids = palloc(sizeof(int32) * (n + hers->n + 1));

	memcpy(ids, ARR_DATA_PTR(array), sizeof(int32) * n);
	for (int i = 0; i < hers->n; i++)
	{
		int k = 0;

		while (k < n && ids[k] != hers->flips[i].segment_id)
			k++;
		if (hers->flips[i].enters && k == n)
			ids[n++] = hers->flips[i].segment_id;
		else if (!hers->flips[i].enters && k < n)
			ids[k] = ids[--n];
	}
	qsort(ids, n, sizeof(int32), compare_ids);
	row->values[0] = Int64GetDatum(DatumGetInt64(row->values[0]) + 1);
	row->values[1] = cdp_array_int32(ids, n);
	return true;
}

/* The lists of the people. */
static void
write_lists(const CdpFlip *flips, int n)
{
	for (int i = 0, k; i < n; i = k)
	{
		Datum keys[1] = {Int64GetDatum(flips[i].profile_id)};
		Hers hers = {&flips[i], 0};

		for (k = i; k < n && flips[k].profile_id == flips[i].profile_id; k++)
			hers.n++;
		CHECK_FOR_INTERRUPTS();
		if (!cdp_row_change(&mirror_row, keys, NULL, apply_flips, &hers))
			elog(ERROR, "cdp: the state of a profile is gone");
	}
}

/* Members' rows for flips of one kind, each person and segment once. */
static void
write_members(const CdpFlip **flips, int n, bool enters)
{
	int32 *segments = palloc(sizeof(int32) * Max(n, 1));
	int32 *ords = palloc(sizeof(int32) * Max(n, 1));
	int64 *profiles = palloc(sizeof(int64) * Max(n, 1));
	TimestampTz *at = palloc(sizeof(TimestampTz) * Max(n, 1));
	const char **causes = palloc(sizeof(char *) * Max(n, 1));
	CdpChunkFlip came[CDP_FEW];
	int ncame = 0;
	Datum args[5];

	if (n == 0)
		return;
	for (int i = 0; enters && n <= CDP_FEW && i < n; i++)
	{
		CdpRow row = {.values = {Int32GetDatum(flips[i]->segment_id), Int32GetDatum(flips[i]->ord),
								 Int64GetDatum(flips[i]->profile_id),
								 TimestampTzGetDatum(flips[i]->at),
								 CStringGetTextDatum(flips[i]->cause)}};

		if (cdp_row_insert(&enter_row, &row))
			came[ncame++] = (CdpChunkFlip){flips[i]->segment_id, flips[i]->ord, true};
	}
	if (enters && n <= CDP_FEW)
	{
		cdp_chunk_flip(came, ncame);
		return;
	}
	for (int i = 0; i < n; i++)
	{
		segments[i] = flips[i]->segment_id;
		ords[i] = flips[i]->ord;
		profiles[i] = flips[i]->profile_id;
		at[i] = flips[i]->at;
		causes[i] = flips[i]->cause;
	}
	args[0] = cdp_array_int32(segments, n);
	args[1] = cdp_array_int32(ords, n);
	args[2] = cdp_array_int64(profiles, n);
	args[3] = cdp_array_timestamptz(at, n);
	args[4] = cdp_array_text(causes, n);
	cdp_store_run(enters ? &enter_plan : &leave_plan, args, NULL, false, -1);
}

/* How often the same person and segment came before, within her flips. */
static int
round_of(const CdpFlip *flips, int i)
{
	int round = 0;

	for (int k = i - 1; k >= 0 && flips[k].profile_id == flips[i].profile_id; k--)
		round += flips[k].segment_id == flips[i].segment_id;
	return round;
}

int
cdp_member_write(const CdpFlip *flips, int n, CdpEntry **entries)
{
	const CdpFlip **some = palloc(sizeof(CdpFlip *) * Max(n, 1));
	int *rounds = palloc(sizeof(int) * Max(n, 1));
	int last = 0;
	int nentries = 0;

	*entries = palloc(sizeof(CdpEntry) * Max(n, 1));
	if (n == 0)
		return 0;
	write_lists(flips, n);
	for (int i = 0; i < n; i++)
	{
		rounds[i] = round_of(flips, i);
		last = Max(last, rounds[i]);
	}
	for (int round = 0; round <= last; round++)
		for (int enters = 0; enters < 2; enters++)
		{
			int m = 0;

			for (int i = 0; i < n; i++)
				if (rounds[i] == round && flips[i].enters == (enters == 1))
					some[m++] = &flips[i];
			write_members(some, m, enters == 1);
		}
	for (int i = 0; i < n; i++)
	{
		bool ended = !flips[i].enters;

		for (int k = i + 1; k < n && flips[k].profile_id == flips[i].profile_id; k++)
			ended |= flips[k].segment_id == flips[i].segment_id;
		if (!ended && flips[i].announce != 0)
			(*entries)[nentries++] =
				(CdpEntry){flips[i].announce, flips[i].profile_id, flips[i].ord};
	}
	return nentries;
}

/*
 * After a merge: the winner was in what its losers were in.  The mirror is
 * joined with the rest of the state; see cdp_profile_join().
 */
void
cdp_segment_join(const CdpGraph *graph)
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
	cdp_timer_forget(loser, n);
	if (cdp_rules_load()->n == 0)
		return;
	args[0] = cdp_array_int64(winner, n);
	args[1] = cdp_array_int64(loser, n);
	cdp_store_run(&save_plan, args, NULL, false, -1);
	cdp_store_run(&inherit_plan, args, NULL, false, -1);
	cdp_store_run(&disown_plan, &args[1], NULL, false, -1);
}

/*
 * People who come back are in what they were in, since then, and so are those
 * whom they leave now; evaluating tells what changed meanwhile.  Whom they
 * left before is nobody's business here: her lock may not even be held.
 */
void
cdp_segment_part(const CdpGraph *graph)
{
	int n = 0;
	int nleft = 0;
	int64 *ids = palloc(sizeof(int64) * Max(graph->nlocked, 1));
	int64 *left = palloc(sizeof(int64) * Max(graph->nlocked, 1));
	Datum args[2];

	for (int i = 0; i < graph->nlocked; i++)
	{
		if (graph->locked[i].returns)
			ids[n++] = graph->locked[i].profile_id;
		else if (graph->locked[i].rebuild)
			left[nleft++] = graph->locked[i].profile_id;
	}
	if (n == 0 || cdp_rules_load()->n == 0)
		return;
	args[0] = cdp_array_int64(ids, n);
	args[1] = cdp_array_int64(left, nleft);
	cdp_store_run(&return_plan, args, NULL, false, -1);
	cdp_store_run(&give_back_plan, args, NULL, false, -1);
	cdp_store_run(&reflect_plan, args, NULL, false, -1);
	cdp_store_run(&forget_plan, args, NULL, false, -1);
}
