/*
 * src/identity/graph_edge.c
 *		Evidence: what the messages of a batch say of pairs of identifiers.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

#include "compat.h"
#include "identity/graph_private.h"
#include "identity/rules.h"
#include "row.h"
#include "store.h"

/* A new edge, one end of which is new: there is no other evidence for it. */
static CdpRowOp edge_row = {
	.table = "identity_edge",
	.columns = {"a", "b", "nodes", "rule", "ts", "message_key", "source", "message_id", "last_ts",
				"last_key", "refused", "refused_at"},
	.checks = 2,
};

/* What is known of an edge. */
static CdpRowOp known_row = {
	.table = "identity_edge",
	.keys = {"a", "b", "nodes", "rule"},
	.columns = {"ts", "message_key", "last_ts", "last_key", "refused"},
};

/*
 * The earliest message is the evidence, whatever arrives first; the latest is
 * kept where a rule asks for it (last_ts).  The test before the insert spares
 * the row lock that ON CONFLICT takes even when it changes nothing; it is
 * safe under the lock of the profile.
 */
static CdpPlan edge_plan = {
	"INSERT INTO cdp_data.identity_edge AS e (a, b, nodes, rule, ts, message_key, source, "
	"  message_id, last_ts, last_key, refused, refused_at) "
	"SELECT u.a, u.b, u.nodes::bigint[], u.rule, u.ts, u.key, u.source, u.message_id, u.last_ts, "
	"  u.last_key, w.refused, w.at "
	"FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $13) "
	"  u (a, b, nodes, rule, ts, key, source, message_id, last_ts, last_key, refused, decided) "
	/* what was known already joined says nothing about why it once was not */
	"CROSS JOIN LATERAL (SELECT u.refused, CASE WHEN u.refused IS NOT NULL THEN $12 END AS at "
	"  WHERE u.decided UNION ALL (SELECT o.refused, o.refused_at FROM (SELECT 1) one "
	"  LEFT JOIN cdp_data.identity_edge o ON o.a = u.a AND o.b = u.b "
	"    AND o.nodes = u.nodes::bigint[] AND o.rule = u.rule WHERE NOT u.decided) OFFSET 0) w "
	"WHERE NOT EXISTS (SELECT FROM cdp_data.identity_edge o WHERE o.a = u.a AND o.b = u.b "
	"  AND o.nodes = u.nodes::bigint[] AND o.rule = u.rule "
	"  AND (o.ts < u.ts OR (o.ts = u.ts AND o.message_key <= u.key)) "
	"  AND (u.last_ts IS NULL OR coalesce(o.last_ts, o.ts) > u.last_ts "
	"    OR (coalesce(o.last_ts, o.ts) = u.last_ts "
	"      AND coalesce(o.last_key, o.message_key) >= u.last_key)) "
	"  AND (NOT u.decided OR (o.refused IS NULL) = (u.refused IS NULL))) "
	"ON CONFLICT (a, b, nodes, rule) DO UPDATE SET "
	"  ts = LEAST(e.ts, excluded.ts), "
	"  message_key = CASE WHEN (excluded.ts, excluded.message_key) < (e.ts, e.message_key) "
	"    THEN excluded.message_key ELSE e.message_key END, "
	"  source = CASE WHEN (excluded.ts, excluded.message_key) < (e.ts, e.message_key) "
	"    THEN excluded.source ELSE e.source END, "
	"  message_id = CASE WHEN (excluded.ts, excluded.message_key) < (e.ts, e.message_key) "
	"    THEN excluded.message_id ELSE e.message_id END, "
	"  last_key = CASE WHEN excluded.last_ts IS NULL THEN e.last_key "
	"    WHEN (excluded.last_ts, excluded.last_key) > (coalesce(e.last_ts, e.ts), "
	"      coalesce(e.last_key, e.message_key)) THEN excluded.last_key "
	"    ELSE coalesce(e.last_key, e.message_key) END, "
	"  last_ts = CASE WHEN excluded.last_ts IS NULL THEN e.last_ts "
	"    ELSE GREATEST(coalesce(e.last_ts, e.ts), excluded.last_ts) END, "
	"  refused = excluded.refused, refused_at = excluded.refused_at",
	13,
	{INT8ARRAYOID, INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID, UUIDARRAYOID,
	 TEXTARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID, UUIDARRAYOID, TEXTARRAYOID, TIMESTAMPTZOID,
	 BOOLARRAYOID},
	NULL};

/* A row of evidence on its way. */
typedef struct Edge
{
	int64 a;
	int64 b;
	const char *nodes; /* array text of the set, {} for a pair */
	const char *refused;
	int first; /* links */
	int last;
	bool decided;
} Edge;

static CdpGraph *comparing; /* qsort's third argument */

static int
compare_links(const CdpLink *x, const CdpLink *y)
{
	if (x->ts != y->ts)
		return x->ts < y->ts ? -1 : 1;
	return memcmp(x->message_key, y->message_key, 16);
}

static int
compare_edges(const void *a, const void *b)
{
	const Edge *x = a;
	const Edge *y = b;
	int cmp = (x->a > y->a) - (x->a < y->a);

	if (cmp == 0)
		cmp = (x->b > y->b) - (x->b < y->b);
	if (cmp == 0)
		cmp = strcmp(x->nodes, y->nodes);
	if (cmp == 0)
		cmp = strcmp(comparing->links[x->first].rule, comparing->links[y->first].rule);
	return cmp;
}

/* The set of a link's nodes as array text; {} for a pair, which its ends tell. */
static const char *
set_text(const CdpGraph *graph, const CdpLink *link)
{
	int64 *ids;
	StringInfoData text;

	if (link->n <= 2)
		return "{}";
	ids = palloc(sizeof(int64) * link->n);
	for (int i = 0; i < link->n; i++)
		ids[i] = graph->idents[link->idents[i]].node_id;
	qsort(ids, link->n, sizeof(int64), cdp_compare_int64);
	initStringInfo(&text);
	for (int i = 0; i < link->n; i++)
		appendStringInfo(&text, "%c" INT64_FORMAT, i == 0 ? '{' : ',', ids[i]);
	appendStringInfoChar(&text, '}');
	return text.data;
}

/* Edges of the living links, each once, with its earliest and latest link. */
static int
collect_edges(CdpGraph *graph, Edge **result)
{
	int n = 0;
	int room = 0;
	int kept = 0;
	Edge *edges;

	for (int l = 0; l < graph->nlinks; l++)
		if (!graph->links[l].dead)
			room += Max(graph->links[l].n - 1, 0);
	edges = palloc0(sizeof(Edge) * Max(room, 1));
	for (int l = 0; l < graph->nlinks; l++)
	{
		CdpLink *link = &graph->links[l];
		const char *set;

		if (link->dead || link->n < 2)
			continue;
		set = set_text(graph, link);
		for (int i = 1; i < link->n; i++)
		{
			int64 x = graph->idents[link->idents[0]].node_id;
			int64 y = graph->idents[link->idents[i]].node_id;
			Edge *e;

			if (x == y)
				continue;
			e = &edges[n++];
			e->a = Min(x, y);
			e->b = Max(x, y);
			e->nodes = set;
			e->first = e->last = l;
			e->decided = link->decided;
			if (link->isolated && link->isolated[i])
			{
				e->refused = cdp_rules_refusal(CDP_ISOLATED, NULL);
				e->decided = true;
			}
			else if (link->verdict && link->verdict[i] != CDP_JOINED)
				e->refused = link->refusal;
		}
	}
	comparing = graph;
	qsort(edges, n, sizeof(Edge), compare_edges);
	for (int i = 0; i < n; i++)
	{
		Edge *e = &edges[i];
		Edge *k = kept > 0 ? &edges[kept - 1] : NULL;

		if (k && compare_edges(k, e) == 0)
		{
			if (compare_links(&graph->links[e->first], &graph->links[k->first]) < 0)
				k->first = e->first;
			if (compare_links(&graph->links[e->last], &graph->links[k->last]) > 0)
				k->last = e->last;
			/* a refusal of either stays: the set has one fate */
			if (k->refused == NULL)
				k->refused = e->refused;
			k->decided |= e->decided;
		}
		else
			edges[kept++] = *e;
	}
	*result = edges;
	return kept;
}

/* What is read of an edge that may be known. */
static void
set_keys(const CdpGraph *graph, const Edge *e, Datum *keys)
{
	keys[0] = Int64GetDatum(e->a);
	keys[1] = Int64GetDatum(e->b);
	keys[2] = cdp_array_parse(e->nodes, INT8ARRAYOID);
	keys[3] = CStringGetTextDatum(graph->links[e->first].rule);
}

/* Does the stored row say all that this one would? */
static bool
says_all(const CdpGraph *graph, const Edge *e, bool repeats, const CdpRow *row)
{
	const CdpLink *first = &graph->links[e->first];
	const CdpLink *last = &graph->links[e->last];
	CdpCorePos pos;
	CdpCorePos stored;

	stored.ts = DatumGetTimestampTz(row->values[0]);
	memcpy(stored.key, DatumGetUUIDP(row->values[1]), UUID_LEN);
	pos.ts = first->ts;
	memcpy(pos.key, first->message_key, 16);
	if (cdp_core_pos_compare(&stored, &pos) > 0)
		return false;
	if (e->decided && !row->nulls[4] != (e->refused != NULL))
		return false;
	if (!repeats)
		return true;
	if (!row->nulls[2])
	{
		stored.ts = DatumGetTimestampTz(row->values[2]);
		memcpy(stored.key, DatumGetUUIDP(row->values[3]), UUID_LEN);
	}
	pos.ts = last->ts;
	memcpy(pos.key, last->message_key, 16);
	return cdp_core_pos_compare(&stored, &pos) >= 0;
}

static void
fill_edge(const CdpGraph *graph, const Edge *e, bool repeats, CdpRow *row)
{
	CdpLink *first = &graph->links[e->first];
	CdpLink *last = &graph->links[e->last];

	*row = (CdpRow){.values = {Int64GetDatum(e->a), Int64GetDatum(e->b),
							   cdp_array_parse(e->nodes, INT8ARRAYOID),
							   CStringGetTextDatum(first->rule), TimestampTzGetDatum(first->ts),
							   UUIDPGetDatum((pg_uuid_t *) first->message_key),
							   CStringGetTextDatum(first->source),
							   CStringGetTextDatum(first->message_id),
							   TimestampTzGetDatum(last->ts),
							   UUIDPGetDatum((pg_uuid_t *) last->message_key)}};
	row->nulls[8] = row->nulls[9] = !repeats;
	row->nulls[10] = row->nulls[11] = e->refused == NULL;
	if (e->refused)
	{
		row->values[10] = CStringGetTextDatum(e->refused);
		row->values[11] = TimestampTzGetDatum(cdp_now());
	}
}

/* Nodes that this batch made, ascending. */
static int64 *
fresh_nodes(const CdpGraph *graph, int *n)
{
	int64 *ids = palloc(sizeof(int64) * Max(graph->nidents, 1));

	*n = 0;
	for (int k = 0; k < graph->nidents; k++)
		if (graph->idents[k].fresh)
			ids[(*n)++] = graph->idents[k].node_id;
	qsort(ids, *n, sizeof(int64), cdp_compare_int64);
	return ids;
}

static bool
is_among(const int64 *ids, int n, int64 id)
{
	return bsearch(&id, ids, n, sizeof(int64), cdp_compare_int64) != NULL;
}

/* Inserts edges, which nobody knows; false: not done. */
static bool
insert_edges(const CdpGraph *graph, const Edge *edges, int n, bool repeats)
{
	CdpRow *rows = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(CdpRow) * n);
	bool done = true;

	for (int i = 0; i < n; i++)
		fill_edge(graph, &edges[i], repeats, &rows[i]);
	if (n > CDP_FEW)
		done = cdp_row_insert_many(&edge_row, n, rows, NULL);
	else
		for (int i = 0; i < n; i++)
			(void) cdp_row_insert(&edge_row, &rows[i]);
	pfree(rows);
	return done;
}

/* Keeps those of n edges whose stored rows do not say all; returns how many. */
static int
leave_known(const CdpGraph *graph, Edge *edges, int n, bool repeats)
{
	Datum *keys = palloc(sizeof(Datum) * 4 * n);
	CdpRow *rows = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(CdpRow) * n);
	bool *found = palloc(sizeof(bool) * n);
	int kept = 0;

	for (int i = 0; i < n; i++)
		set_keys(graph, &edges[i], &keys[4 * i]);
	if (n <= CDP_FEW)
		for (int i = 0; i < n; i++)
			found[i] = cdp_row_read(&known_row, &keys[4 * i], false, NULL, &rows[i]);
	else if (!cdp_row_read_many(&known_row, n, keys, false, NULL, rows, found))
		return n;
	for (int i = 0; i < n; i++)
		if (!found[i] || !says_all(graph, &edges[i], repeats, &rows[i]))
			edges[kept++] = edges[i];
	pfree(rows);
	return kept;
}

/*
 * Writes edges of which there is no other evidence, for one end is new, and
 * leaves out those that are known; returns how many need the general statement.
 */
static int
record_plain(const CdpGraph *graph, Edge *edges, int n, bool repeats)
{
	Edge *plain = palloc(sizeof(Edge) * n);
	int nplain = 0;
	int kept = 0;
	int nfresh;
	int64 *fresh = fresh_nodes(graph, &nfresh);

	for (int i = 0; i < n; i++)
		if (is_among(fresh, nfresh, edges[i].a) || is_among(fresh, nfresh, edges[i].b))
			plain[nplain++] = edges[i];
		else
			edges[kept++] = edges[i];
	if (kept > 0)
		kept = leave_known(graph, edges, kept, repeats);
	if (nplain > 0 && !insert_edges(graph, plain, nplain, repeats))
	{
		memcpy(&edges[kept], plain, sizeof(Edge) * nplain);
		kept += nplain;
	}
	return kept;
}

/* Writes what the links of a batch say of pairs. */
void
cdp_graph_record_edges(CdpGraph *graph)
{
	Edge *edges;
	bool repeats = cdp_rules()->repeats;
	int n = collect_edges(graph, &edges);
	int64 *a = palloc(sizeof(int64) * Max(n, 1));
	int64 *b = palloc(sizeof(int64) * Max(n, 1));
	TimestampTz *ts = palloc(sizeof(TimestampTz) * Max(n, 1));
	uint8(*key)[16] = palloc(16 * Max(n, 1));
	const char **nodes = palloc(sizeof(char *) * Max(n, 1));
	const char **rule = palloc(sizeof(char *) * Max(n, 1));
	const char **source = palloc(sizeof(char *) * Max(n, 1));
	const char **message = palloc(sizeof(char *) * Max(n, 1));
	const char **refused = palloc(sizeof(char *) * Max(n, 1));
	Datum *last_ts = palloc0(sizeof(Datum) * Max(n, 1));
	Datum *last_key = palloc0(sizeof(Datum) * Max(n, 1));
	bool *none = palloc(sizeof(bool) * Max(n, 1));
	bool *decided = palloc(sizeof(bool) * Max(n, 1));
	Datum args[13];

	if (n > 0)
		n = record_plain(graph, edges, n, repeats);
	if (n == 0)
		return;
	for (int i = 0; i < n; i++)
	{
		CdpLink *first = &graph->links[edges[i].first];
		CdpLink *last = &graph->links[edges[i].last];

		a[i] = edges[i].a;
		b[i] = edges[i].b;
		nodes[i] = edges[i].nodes;
		rule[i] = first->rule;
		ts[i] = first->ts;
		memcpy(key[i], first->message_key, 16);
		source[i] = first->source;
		message[i] = first->message_id;
		refused[i] = edges[i].refused;
		decided[i] = edges[i].decided;
		none[i] = !repeats;
		last_ts[i] = TimestampTzGetDatum(last->ts);
		last_key[i] = UUIDPGetDatum((pg_uuid_t *) last->message_key);
	}
	args[0] = cdp_array_int64(a, n);
	args[1] = cdp_array_int64(b, n);
	args[2] = cdp_array_text(nodes, n);
	args[3] = cdp_array_text(rule, n);
	args[4] = cdp_array_timestamptz(ts, n);
	args[5] = cdp_array_uuid((const uint8(*)[16]) key, n);
	args[6] = cdp_array_text(source, n);
	args[7] = cdp_array_text(message, n);
	args[8] = cdp_array_datums(last_ts, none, n, TIMESTAMPTZOID);
	args[9] = cdp_array_datums(last_key, none, n, UUIDOID);
	args[10] = cdp_array_text(refused, n);
	args[11] = TimestampTzGetDatum(cdp_now());
	args[12] = cdp_array_bool(decided, n);
	cdp_store_run(&edge_plan, args, NULL, false, -1);
}
