/*
 * src/identity/graph_write.c
 *		Writes what graph.c decided: who nodes belong to, merges and their
 *		reasons, edges.  The profiles are locked.
 *
 * Nothing is forgotten: whom a node belonged to before goes to node_history,
 * with the number of the change; merges and changes share one sequence, so
 * that it can be told who belonged to whom when a merge happened.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

#include "compat.h"
#include "identity/bearer.h"
#include "identity/graph.h"
#include "identity/graph_private.h"
#include "identity/rules.h"
#include "row.h"
#include "store.h"

static CdpPlan node_plan = {
	"INSERT INTO cdp_data.node (node_id, profile_id, since, change) "
	"SELECT u.*, $3, $4 FROM unnest($1, $2) u",
	4,
	{INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZOID, INT8OID},
	NULL};

static CdpRowOp node_row = {
	.table = "node",
	.columns = {"node_id", "profile_id", "since", "change"},
};

/* Nodes of merged people, before they are relabelled. */
static CdpPlan leave_plan = {
	"INSERT INTO cdp_data.node_history (until_change, profile_id, change, since, until, nodes) "
	"SELECT u.change, u.loser, n.change, n.since, GREATEST($3, n.since), "
	"  array_agg(n.node_id ORDER BY n.node_id) FROM unnest($1, $2) u (loser, change) "
	"CROSS JOIN LATERAL (SELECT * FROM cdp_data.node n WHERE n.profile_id = u.loser OFFSET 0) n "
	"GROUP BY 1, 2, 3, 4",
	3,
	{INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZOID},
	NULL};

static CdpPlan relabel_plan = {
	"UPDATE cdp_data.node n SET profile_id = u.winner, since = GREATEST($4, n.since), "
	"  change = u.change "
	"FROM unnest($1, $2, $3) u (winner, loser, change) "
	"WHERE n.profile_id = ANY (ARRAY[u.loser])",
	4,
	{INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZOID},
	NULL};

/* The same for nodes that leave one by one, a group. */
static CdpRowOp history_row = {
	.table = "node_history",
	.columns = {"until_change", "profile_id", "change", "since", "until", "nodes"},
};

static CdpPlan move_plan = {
	"UPDATE cdp_data.node n SET profile_id = u.profile_id, since = GREATEST($4, n.since), "
	"  change = u.change "
	"FROM unnest($1, $2, $3) u (node_id, profile_id, change) "
	"WHERE n.node_id = ANY (ARRAY[u.node_id])",
	4,
	{INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZOID},
	NULL};

static CdpRowOp move_row = {
	.table = "node",
	.keys = {"node_id"},
	.columns = {"profile_id", "since", "change"},
};

static CdpPlan merge_plan = {
	"INSERT INTO cdp_data.identity_merge (merge_id, winner, loser, loser_ord, moved_nodes, at, "
	"  kind, source, message_id, reason, actor) "
	"SELECT u.merge_id, u.winner, u.loser, u.ord, coalesce(u.moved::bigint[], "
	"    ARRAY(SELECT n.node_id FROM cdp_data.node n WHERE n.profile_id = u.loser ORDER BY 1)), "
	"  $10, u.kind, u.source, u.message_id, u.reason, u.actor "
	"FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $11) "
	"  u (merge_id, winner, loser, ord, moved, kind, source, message_id, reason, actor)",
	11,
	{INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT4ARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
	 TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TIMESTAMPTZOID, TEXTARRAYOID},
	NULL};

static CdpPlan flatten_plan = {
	"UPDATE cdp_data.profile_merged m SET profile_id = u.winner, ord = u.ord "
	"FROM unnest($1, $2, $3) u (winner, loser, ord) "
	"WHERE m.profile_id = ANY (ARRAY[u.loser])",
	3,
	{INT8ARRAYOID, INT8ARRAYOID, INT4ARRAYOID},
	NULL};

static CdpPlan merged_plan = {
	"INSERT INTO cdp_data.profile_merged (old_id, old_ord, old_rev, old_created_at, profile_id, "
	"  ord, merge_id) "
	"SELECT p.profile_id, p.ord, s.rev, p.created_at, u.winner, u.ord, u.merge_id "
	"FROM unnest($1, $2, $3, $4) u (winner, loser, ord, merge_id) "
	"JOIN cdp_data.profile p ON p.profile_id = ANY (ARRAY[u.loser]) "
	"JOIN cdp_data.profile_state s ON s.profile_id = ANY (ARRAY[u.loser])",
	4,
	{INT8ARRAYOID, INT8ARRAYOID, INT4ARRAYOID, INT8ARRAYOID},
	NULL};

static CdpPlan return_plan = {
	"DELETE FROM cdp_data.profile_merged m WHERE m.old_id = ANY ($1)",
	1,
	{INT8ARRAYOID},
	NULL};

static CdpPlan redirect_plan = {
	"UPDATE cdp_data.profile_merged m SET profile_id = u.profile_id, ord = u.ord "
	"FROM unnest($1, $2, $3) u (old_id, profile_id, ord) WHERE m.old_id = ANY (ARRAY[u.old_id])",
	3,
	{INT8ARRAYOID, INT8ARRAYOID, INT4ARRAYOID},
	NULL};

static CdpPlan state_plan = {
	"UPDATE cdp_data.identity_edge e SET refused = u.refused, "
	"  refused_at = CASE WHEN u.refused IS NOT NULL THEN $6 END "
	"FROM unnest($1, $2, $3, $4, $5) u (a, b, nodes, rule, refused) "
	"WHERE e.a = ANY (ARRAY[u.a]) AND e.b = ANY (ARRAY[u.b]) AND e.nodes = u.nodes::bigint[] "
	"  AND e.rule = u.rule",
	6,
	{INT8ARRAYOID, INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TIMESTAMPTZOID},
	NULL};

static CdpPlan seen_plan = {
	"UPDATE cdp_data.identifier i SET first_seen = LEAST(i.first_seen, u.f), "
	"  last_seen = GREATEST(i.last_seen, u.l) "
	"FROM unnest($1, $2, $3, $4) u (ns, key, f, l) "
	"WHERE i.namespace = ANY (ARRAY[u.ns]) AND i.key = ANY (ARRAY[u.key]) "
	"  AND (u.f < i.first_seen OR u.l > i.last_seen)",
	4,
	{TEXTARRAYOID, UUIDARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID},
	NULL};

static CdpRowOp seen_row = {
	.table = "identifier",
	.keys = {"key", "namespace"},
	.columns = {"first_seen", "last_seen"},
};

static int
compare_loser(const void *a, const void *b)
{
	const CdpMerge *x = a;
	const CdpMerge *y = b;

	return (x->loser > y->loser) - (x->loser < y->loser);
}

/* Nodes that went from the loser to the winner one by one, ascending. */
static char *
moved_text(const CdpGraph *graph, const CdpMerge *m)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoChar(&text, '{');
	for (int i = 0; i < graph->nmoves; i++)
		if (graph->moves[i].from == m->loser && graph->moves[i].to == m->winner)
			appendStringInfo(&text, "%s" INT64_FORMAT, text.len > 1 ? "," : "",
							 graph->moves[i].node_id);
	appendStringInfoChar(&text, '}');
	return text.data;
}

static void
write_merges(CdpGraph *graph, TimestampTz now)
{
	int n = graph->nmerges;
	int whole = 0;
	int64 *winner = palloc(sizeof(int64) * n);
	int64 *loser = palloc(sizeof(int64) * n);
	int64 *id = palloc(sizeof(int64) * n);
	int32 *winner_ord = palloc(sizeof(int32) * n);
	int32 *loser_ord = palloc(sizeof(int32) * n);
	const char **moved = palloc0(sizeof(char *) * n);
	const char **kind = palloc(sizeof(char *) * n);
	const char **source = palloc(sizeof(char *) * n);
	const char **message = palloc(sizeof(char *) * n);
	const char **reason = palloc0(sizeof(char *) * n);
	const char **actor = palloc0(sizeof(char *) * n);
	Oid sequence = cdp_store_relation("merge_id_seq");
	Datum args[11];

	qsort(graph->merges, n, sizeof(CdpMerge), compare_loser);
	for (int i = 0; i < n; i++)
	{
		CdpMerge *m = &graph->merges[i];
		const CdpLink *link = m->link >= 0 ? &graph->links[m->link] : NULL;

		m->merge_id = nextval_internal(sequence, false);
		id[i] = m->merge_id;
		winner[i] = m->winner;
		loser[i] = m->loser;
		winner_ord[i] = m->winner_ord;
		loser_ord[i] = m->loser_ord;
		moved[i] = m->moved ? moved_text(graph, m) : NULL;
		kind[i] = link ? link->rule : "rules";
		source[i] = link ? link->source : "cdp";
		message[i] = link ? link->message_id : "";
		reason[i] = link ? link->reason : NULL;
		actor[i] = link ? link->actor : NULL;
	}
	args[0] = cdp_array_int64(id, n);
	args[1] = cdp_array_int64(winner, n);
	args[2] = cdp_array_int64(loser, n);
	args[3] = cdp_array_int32(loser_ord, n);
	args[4] = cdp_array_text(moved, n);
	args[5] = cdp_array_text(kind, n);
	args[6] = cdp_array_text(source, n);
	args[7] = cdp_array_text(message, n);
	args[8] = cdp_array_text(reason, n);
	args[9] = TimestampTzGetDatum(now);
	args[10] = cdp_array_text(actor, n);
	cdp_store_run(&merge_plan, args, NULL, false, n);

	args[0] = cdp_array_int64(winner, n);
	args[1] = cdp_array_int64(loser, n);
	args[2] = cdp_array_int32(winner_ord, n);
	args[3] = cdp_array_int64(id, n);
	cdp_store_run(&merged_plan, args, NULL, false, n);

	for (int i = 0; i < n; i++)
	{
		if (graph->merges[i].moved)
			continue;
		winner[whole] = winner[i];
		loser[whole] = loser[i];
		winner_ord[whole] = winner_ord[i];
		id[whole++] = id[i];
	}
	if (whole == 0)
		return;
	args[0] = cdp_array_int64(loser, whole);
	args[1] = cdp_array_int64(id, whole);
	args[2] = TimestampTzGetDatum(now);
	cdp_store_run(&leave_plan, args, NULL, false, -1);
	args[0] = cdp_array_int64(winner, whole);
	args[1] = cdp_array_int64(loser, whole);
	args[2] = cdp_array_int64(id, whole);
	args[3] = TimestampTzGetDatum(now);
	cdp_store_run(&relabel_plan, args, NULL, false, -1);
	args[2] = cdp_array_int32(winner_ord, whole);
	cdp_store_run(&flatten_plan, args, NULL, false, -1);
}

/* Where a node goes, and where it comes from. */
typedef struct Going
{
	int64 to;
	TimestampTz now;
	int64 change;
	const CdpMove *move;
} Going;

/* Nodes that came and leave together are next to each other. */
static int
compare_going(const void *a, const void *b)
{
	const Going *x = a;
	const Going *y = b;

	if (x->change != y->change)
		return x->change < y->change ? -1 : 1;
	if (x->move->from != y->move->from)
		return x->move->from < y->move->from ? -1 : 1;
	if (x->move->change != y->move->change)
		return x->move->change < y->move->change ? -1 : 1;
	if (x->move->since != y->move->since)
		return x->move->since < y->move->since ? -1 : 1;
	return (x->move->node_id > y->move->node_id) - (x->move->node_id < y->move->node_id);
}

static bool
is_together(const Going *x, const Going *y)
{
	return x->change == y->change && x->move->from == y->move->from &&
		   x->move->change == y->move->change && x->move->since == y->move->since;
}

/* A row of history for each group that leaves. */
static void
write_history(Going *going, int n)
{
	int64 *nodes = palloc(sizeof(int64) * n);

	qsort(going, n, sizeof(Going), compare_going);
	for (int i = 0, k; i < n; i = k)
	{
		const CdpMove *first = going[i].move;
		CdpRow row;

		for (k = i; k < n && is_together(&going[i], &going[k]); k++)
			nodes[k - i] = going[k].move->node_id;
		row = (CdpRow){.values = {Int64GetDatum(going[i].change), Int64GetDatum(first->from),
								  Int64GetDatum(first->change), TimestampTzGetDatum(first->since),
								  TimestampTzGetDatum(Max(going[i].now, first->since)),
								  cdp_array_int64(nodes, k - i)}};
		(void) cdp_row_insert(&history_row, &row);
	}
	pfree(nodes);
}

static bool
go(CdpRow *row, void *arg)
{
	const Going *going = arg;

	row->values[0] = Int64GetDatum(going->to);
	row->values[1] =
		TimestampTzGetDatum(Max(going->now, DatumGetTimestampTz(row->values[1])));
	row->values[2] = Int64GetDatum(going->change);
	return true;
}

static void
write_moves(CdpGraph *graph, int64 change, TimestampTz now)
{
	int n = graph->nmoves;
	Datum *keys = palloc(sizeof(Datum) * n);
	Going *going = palloc(sizeof(Going) * n);
	void **each = palloc(sizeof(void *) * n);
	int64 *node = palloc(sizeof(int64) * n);
	int64 *to = palloc(sizeof(int64) * n);
	int64 *by = palloc(sizeof(int64) * n);
	Datum args[4];

	for (int i = 0; i < n; i++)
	{
		const CdpMove *move = &graph->moves[i];
		CdpMerge probe = {.loser = move->from};
		CdpMerge *m = bsearch(&probe, graph->merges, graph->nmerges, sizeof(CdpMerge),
							  compare_loser);

		going[i] =
			(Going){move->to, now, m && m->winner == move->to ? m->merge_id : change, move};
	}
	write_history(going, n);
	for (int i = 0; i < n; i++)
	{
		node[i] = going[i].move->node_id;
		to[i] = going[i].to;
		by[i] = going[i].change;
		keys[i] = Int64GetDatum(node[i]);
		each[i] = &going[i];
	}
	if (cdp_row_change_many(&move_row, n, keys, NULL, go, each))
		return;
	args[0] = cdp_array_int64(node, n);
	args[1] = cdp_array_int64(to, n);
	args[2] = cdp_array_int64(by, n);
	args[3] = TimestampTzGetDatum(now);
	cdp_store_run(&move_plan, args, NULL, false, n);
}

static void
write_redirects(CdpGraph *graph)
{
	int n = 0;
	int back = 0;
	int64 *id = palloc(sizeof(int64) * graph->nredirects);
	int64 *to = palloc(sizeof(int64) * graph->nredirects);
	int64 *returned = palloc(sizeof(int64) * graph->nredirects);
	int32 *ord = palloc(sizeof(int32) * graph->nredirects);
	Datum args[3];

	for (int i = 0; i < graph->nredirects; i++)
	{
		const CdpRedirect *r = &graph->redirects[i];

		if (r->profile_id == 0)
		{
			returned[back++] = r->old_id;
			continue;
		}
		id[n] = r->old_id;
		to[n] = r->profile_id;
		ord[n++] = r->ord;
	}
	args[0] = cdp_array_int64(returned, back);
	if (back > 0)
		cdp_store_run(&return_plan, args, NULL, false, back);
	args[0] = cdp_array_int64(id, n);
	args[1] = cdp_array_int64(to, n);
	args[2] = cdp_array_int32(ord, n);
	if (n > 0)
		cdp_store_run(&redirect_plan, args, NULL, false, -1);
}

static void
write_states(CdpGraph *graph, TimestampTz now)
{
	int n = graph->nstates;
	int64 *a = palloc(sizeof(int64) * n);
	int64 *b = palloc(sizeof(int64) * n);
	const char **nodes = palloc(sizeof(char *) * n);
	const char **rule = palloc(sizeof(char *) * n);
	const char **refused = palloc(sizeof(char *) * n);
	Datum args[6];

	for (int i = 0; i < n; i++)
	{
		a[i] = graph->states[i].a;
		b[i] = graph->states[i].b;
		nodes[i] = graph->states[i].nodes;
		rule[i] = graph->states[i].rule;
		refused[i] = graph->states[i].refused;
	}
	args[0] = cdp_array_int64(a, n);
	args[1] = cdp_array_int64(b, n);
	args[2] = cdp_array_text(nodes, n);
	args[3] = cdp_array_text(rule, n);
	args[4] = cdp_array_text(refused, n);
	args[5] = TimestampTzGetDatum(now);
	cdp_store_run(&state_plan, args, NULL, false, n);
}

/* Nodes of the identifiers the batch made. */
static void
write_fresh(CdpGraph *graph, int64 change, TimestampTz now)
{
	int n = 0;
	int64 *node = palloc(sizeof(int64) * Max(graph->nidents, 1));
	int64 *owner = palloc(sizeof(int64) * Max(graph->nidents, 1));
	CdpRow *rows;
	Datum args[4];

	for (int i = 0; i < graph->nidents; i++)
	{
		if (!graph->idents[i].fresh || !graph->idents[i].used)
			continue;
		node[n] = graph->idents[i].node_id;
		owner[n++] = graph->idents[i].profile_id;
	}
	if (n == 0)
		return;
	rows = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(CdpRow) * n);
	for (int i = 0; i < n; i++)
		rows[i] = (CdpRow){.values = {Int64GetDatum(node[i]), Int64GetDatum(owner[i]),
									  TimestampTzGetDatum(now), Int64GetDatum(change)}};
	if (cdp_row_insert_many(&node_row, n, rows, NULL))
		return;
	args[2] = TimestampTzGetDatum(now);
	args[3] = Int64GetDatum(change);
	args[0] = cdp_array_int64(node, n);
	args[1] = cdp_array_int64(owner, n);
	cdp_store_run(&node_plan, args, NULL, false, n);
}

/*
 * Carries out what graph.c decided, except rows of profiles, which are the
 * caller's.  Merged profiles leave graph->locked.
 */
void
cdp_graph_write(CdpGraph *graph)
{
	TimestampTz now = cdp_now();
	int64 change = 0;
	int kept = 0;

	if (graph->nmerges > 0)
		write_merges(graph, now);
	/* after the merges' numbers: what is new was on neither side of a merge */
	for (int i = 0; i < graph->nidents && change == 0; i++)
		if (graph->idents[i].fresh && graph->idents[i].used)
			change = nextval_internal(cdp_store_relation("merge_id_seq"), false);
	if (graph->nmoves > 0)
	{
		if (change == 0)
			change = nextval_internal(cdp_store_relation("merge_id_seq"), false);
		write_moves(graph, change, now);
	}
	if (graph->nredirects > 0)
		write_redirects(graph);
	if (graph->nstates > 0)
		write_states(graph, now);
	write_fresh(graph, change, now);
	if (graph->nmerges == 0)
		return;
	for (int i = 0; i < graph->nlocked; i++)
	{
		CdpMerge probe = {.loser = graph->locked[i].profile_id};

		if (bsearch(&probe, graph->merges, graph->nmerges, sizeof(CdpMerge), compare_loser) == NULL)
			graph->locked[kept++] = graph->locked[i];
	}
	graph->nlocked = kept;
}

/* Times of an identifier only grow. */
static bool
widen(CdpRow *row, void *arg)
{
	const TimestampTz *times = arg;
	TimestampTz first = DatumGetTimestampTz(row->values[0]);
	TimestampTz last = DatumGetTimestampTz(row->values[1]);

	if (times[0] >= first && times[1] <= last)
		return false;
	row->values[0] = TimestampTzGetDatum(Min(times[0], first));
	row->values[1] = TimestampTzGetDatum(Max(times[1], last));
	return true;
}

/* The same for many; false: not done. */
static bool
widen_many(const char **ns, uint8 (*key)[16], const TimestampTz *first, const TimestampTz *last,
		   ItemPointerData *place, int n)
{
	Datum *keys = palloc(sizeof(Datum) * 2 * n);
	TimestampTz(*times)[2] = palloc(sizeof(*times) * n);
	ItemPointer *hints = palloc(sizeof(ItemPointer) * n);
	void **args = palloc(sizeof(void *) * n);

	for (int i = 0; i < n; i++)
	{
		keys[2 * i] = UUIDPGetDatum((pg_uuid_t *) key[i]);
		keys[2 * i + 1] = CStringGetTextDatum(ns[i]);
		hints[i] = &place[i];
		times[i][0] = first[i];
		times[i][1] = last[i];
		args[i] = times[i];
	}
	return cdp_row_change_many(&seen_row, n, keys, hints, widen, args);
}

/* Records when the batch mentioned identifiers that were known before. */
static void
record_mentions(CdpGraph *graph)
{
	int n = 0;
	const char **ns = palloc(sizeof(char *) * Max(graph->nidents, 1));
	uint8(*key)[16] = palloc(16 * Max(graph->nidents, 1));
	TimestampTz *first = palloc(sizeof(TimestampTz) * Max(graph->nidents, 1));
	TimestampTz *last = palloc(sizeof(TimestampTz) * Max(graph->nidents, 1));
	ItemPointerData *place = palloc(sizeof(ItemPointerData) * Max(graph->nidents, 1));
	Datum args[4];

	for (int i = 0; i < graph->nidents; i++)
	{
		CdpIdent *ident = &graph->idents[i];

		if (!ident->used || ident->fresh)
			continue;
		if (ident->former)
		{
			cdp_bearer_extend(ident);
			continue;
		}
		/* a newer time only grows: what is stored now is at least what was found */
		if (ident->first_seen >= ident->stored_first && ident->last_seen <= ident->stored_last)
			continue;
		ns[n] = ident->ns;
		memcpy(key[n], ident->key, 16);
		place[n] = ident->place;
		first[n] = ident->first_seen;
		last[n++] = ident->last_seen;
	}
	for (int i = 0; n <= CDP_FEW && i < n; i++)
	{
		TimestampTz times[2] = {first[i], last[i]};

		args[0] = UUIDPGetDatum((pg_uuid_t *) key[i]);
		args[1] = CStringGetTextDatum(ns[i]);
		if (!cdp_row_change(&seen_row, args, &place[i], widen, times))
			elog(ERROR, "cdp: a known identifier is gone");
	}
	if (n <= CDP_FEW || widen_many(ns, key, first, last, place, n))
		return;
	args[0] = cdp_array_text(ns, n);
	args[1] = cdp_array_uuid((const uint8(*)[16]) key, n);
	args[2] = cdp_array_timestamptz(first, n);
	args[3] = cdp_array_timestamptz(last, n);
	cdp_store_run(&seen_plan, args, NULL, false, -1);
}

/* Where links count again every message is news of those it links. */
static void
note_newest(CdpGraph *graph)
{
	for (int l = 0; l < graph->nlinks; l++)
	{
		CdpLink *link = &graph->links[l];
		CdpCorePos pos;

		if (link->dead || link->n < 2 || strcmp(link->rule, "override") == 0)
			continue;
		pos.ts = link->ts;
		memcpy(pos.key, link->message_key, 16);
		for (int i = 0; i < link->n; i++)
		{
			CdpLocked *locked =
				cdp_graph_locked(graph, graph->idents[link->idents[i]].profile_id);

			if (cdp_core_pos_compare(&pos, &locked->newest) > 0)
				locked->newest = pos;
		}
	}
}

/*
 * Records when identifiers were seen and, for messages with several, the
 * edges between them.  The profiles are locked.
 */
void
cdp_graph_record(CdpGraph *graph)
{
	record_mentions(graph);
	cdp_graph_record_edges(graph);
	if (cdp_rules()->repeats)
		note_newest(graph);
}
