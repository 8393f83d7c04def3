/*
 * src/identity/graph.c
 *		Identifiers to nodes to profiles (see graph.h for the protocol).
 *
 * Everything is set-based: a batch of a thousand messages costs as many
 * statements as a batch of one.
 */
#include "postgres.h"

#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "compat.h"
#include "core/unionfind.h"
#include "identity/bearer.h"
#include "identity/component.h"
#include "identity/graph.h"
#include "identity/rules.h"
#include "row.h"
#include "store.h"

/* Version of the key's recipe, part of what is hashed. */
#define KEY_VERSION 1

/* Rounds before a batch gives up; each lost round means somebody else won. */
#define MAX_ROUNDS 1000

/* Rounds after which a call waits at the gate, and its number under the schema. */
#define PATIENT_AFTER 3
#define GATE 1

/*
 * Key of an identifier: XXH3-128 over version, namespace, separator, value,
 * seeded by the installation.  Collisions can be made on purpose, so a key is
 * never believed without comparing the value.
 */
void
cdp_graph_key(uint64 seed, const char *ns, const char *value, uint8 *key)
{
	size_t nslen = strlen(ns);
	size_t vallen = strlen(value);
	char *buf = palloc(nslen + vallen + 2);
	XXH128_canonical_t canonical;

	buf[0] = KEY_VERSION;
	memcpy(buf + 1, ns, nslen);
	buf[1 + nslen] = 0x1F;
	memcpy(buf + 2 + nslen, value, vallen);
	XXH128_canonicalFromHash(&canonical,
							 XXH3_128bits_withSeed(buf, nslen + vallen + 2, seed));
	memcpy(key, canonical.digest, 16);
	pfree(buf);
}

static CdpPlan find_plan = {
	"SELECT u.i, n.profile_id, i.value, i.node_id, i.born, i.ended, i.last_seen, i.first_seen "
	"FROM unnest($1, $2) WITH ORDINALITY u (ns, key, i) "
	"JOIN cdp_data.identifier i ON i.namespace = ANY (ARRAY[u.ns]) AND i.key = ANY (ARRAY[u.key]) "
	"JOIN cdp_data.node n ON n.node_id = ANY (ARRAY[i.node_id])",
	2,
	{TEXTARRAYOID, UUIDARRAYOID},
	NULL};

static CdpRowOp find_row = {
	.table = "identifier",
	.keys = {"key", "namespace"},
	.columns = {"value", "node_id", "born", "ended", "last_seen", "first_seen"},
};

static CdpRowOp owner_row = {
	.table = "node",
	.keys = {"node_id"},
	.columns = {"profile_id"},
};

/* Does a value end when we thought? */
static CdpRowOp ended_row = {
	.table = "identifier",
	.keys = {"node_id"},
	.columns = {"ended"},
};

static CdpRowOp insert_row = {
	.table = "identifier",
	.columns = {"namespace", "key", "value", "node_id", "first_seen", "last_seen", "uncounted"},
	.ignore = true,
	.unlikely = true,
};

static CdpRowOp lock_row = {
	.table = "profile_state",
	.keys = {"profile_id"},
	.columns = {"profile_id", "ord", "linked_ts", "linked_key", "contested", "separated"},
	.lock = CDP_ROW_LOCKED,
};

static CdpRowOp try_row = {
	.table = "profile_state",
	.keys = {"profile_id"},
	.columns = {"profile_id", "ord", "linked_ts", "linked_key", "contested", "separated"},
	.lock = CDP_ROW_SKIPPED,
};

static CdpRowOp marks_row = {
	.table = "profile_state",
	.keys = {"profile_id"},
	.columns = {"contested", "separated"},
};

static CdpPlan insert_plan = {
	"INSERT INTO cdp_data.identifier AS i (namespace, key, value, node_id, first_seen, "
	"last_seen) "
	"SELECT u.ns, u.key, u.value, u.node_id, u.f, u.l "
	"FROM unnest($1, $2, $3, $4, $5, $6) u (ns, key, value, node_id, f, l) "
	"ORDER BY u.ns COLLATE \"C\", u.key "
	"ON CONFLICT DO NOTHING",
	6,
	{TEXTARRAYOID, UUIDARRAYOID, TEXTARRAYOID, INT8ARRAYOID,
	 TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID},
	NULL};

static CdpPlan lock_plan = {
	"SELECT s.profile_id, s.ord, s.linked_ts, s.linked_key, s.contested, s.separated "
	"FROM cdp_data.profile_state s "
	"WHERE s.profile_id = ANY ($1) ORDER BY s.profile_id FOR NO KEY UPDATE",
	1,
	{INT8ARRAYOID},
	NULL};

/*
 * Identifiers of people by namespace; those that do not count without one.
 * What expired counts: seeds cannot tell when, and have it decided again.
 */
static CdpPlan counts_plan = {
	"SELECT p.profile_id, i.namespace, count(*) FROM unnest($1) p (profile_id) "
	"CROSS JOIN LATERAL (SELECT n.node_id FROM cdp_data.node n "
	"  WHERE n.profile_id = p.profile_id OFFSET 0) n "
	"LEFT JOIN LATERAL (SELECT i.namespace FROM cdp_data.identifier i "
	"  WHERE i.node_id = n.node_id AND NOT i.uncounted "
	"  UNION ALL SELECT r.namespace FROM cdp_data.identifier_retired r "
	"  WHERE r.node_id = n.node_id AND NOT r.uncounted OFFSET 0) i ON true "
	"GROUP BY p.profile_id, i.namespace",
	1,
	{INT8ARRAYOID},
	NULL};

static CdpPlan recheck_plan = {
	"SELECT 1 FROM unnest($1, $2, $3) u (node_id, profile_id, ended) "
	"JOIN cdp_data.node n ON n.node_id = ANY (ARRAY[u.node_id]) AND n.profile_id = u.profile_id "
	"LEFT JOIN cdp_data.identifier i ON i.node_id = ANY (ARRAY[u.node_id]) "
	"WHERE u.ended IS NULL OR (i.node_id IS NOT NULL AND coalesce(i.ended, 'infinity') = u.ended)",
	3,
	{INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZARRAYOID},
	NULL};

static CdpPlan canonical_plan = {
	"SELECT s.profile_id FROM cdp_data.profile_state s WHERE s.profile_id = $1 "
	"UNION ALL SELECT m.profile_id FROM cdp_data.profile_merged m WHERE m.old_id = $1",
	1,
	{INT8OID},
	NULL};

/* The last statement's row in the form of the operations. */
static CdpRow
result_row(uint64 row, int first, int n)
{
	CdpRow r;

	for (int k = 0; k < n; k++)
		r.values[k] = cdp_store_value(row, first + k, &r.nulls[k]);
	return r;
}

/* Takes what is stored of an identifier (see find_row), unless its key is another value's. */
static void
take_found(CdpIdent *ident, const CdpRow *row, int64 profile_id)
{
	if (strcmp(TextDatumGetCString(row->values[0]), ident->value) != 0)
	{
		ident->collides = true;
		return;
	}
	ident->node_id = DatumGetInt64(row->values[1]);
	ident->profile_id = profile_id;
	if (!row->nulls[2])
		ident->born = DatumGetTimestampTz(row->values[2]);
	if (!row->nulls[3])
		ident->ended = ident->stored_ended = DatumGetTimestampTz(row->values[3]);
	ident->stored_last = DatumGetTimestampTz(row->values[4]);
	ident->stored_first = DatumGetTimestampTz(row->values[5]);
}

/* Looks one identifier up; false: unknown. */
static bool
find_one(CdpIdent *ident, bool read_only)
{
	Datum keys[2] = {UUIDPGetDatum((pg_uuid_t *) ident->key), CStringGetTextDatum(ident->ns)};
	CdpRow row;
	CdpRow owner;

	if (!cdp_row_read(&find_row, keys, read_only, &ident->place, &row))
		return false;
	keys[0] = row.values[1];
	if (!cdp_row_read(&owner_row, keys, read_only, &ident->node_place, &owner))
		return false;
	take_found(ident, &row, DatumGetInt64(owner.values[0]));
	return true;
}

/* The same for all; false: not done. */
static bool
find_many(CdpGraph *graph, bool read_only)
{
	int n = graph->nidents;
	Datum *keys = palloc(sizeof(Datum) * 2 * n);
	ItemPointer *hints = palloc(sizeof(ItemPointer) * n);
	CdpIdent **known = palloc(sizeof(CdpIdent *) * n);
	CdpRow *rows = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(CdpRow) * n);
	CdpRow *owners;
	bool *found = palloc(sizeof(bool) * n);
	int nknown = 0;

	for (int i = 0; i < n; i++)
	{
		keys[2 * i] = UUIDPGetDatum((pg_uuid_t *) graph->idents[i].key);
		keys[2 * i + 1] = CStringGetTextDatum(graph->idents[i].ns);
		hints[i] = &graph->idents[i].place;
	}
	if (!cdp_row_read_many(&find_row, n, keys, read_only, hints, rows, found))
		return false;
	for (int i = 0; i < n; i++)
	{
		if (!found[i])
			continue;
		rows[nknown] = rows[i];
		known[nknown] = &graph->idents[i];
		keys[nknown] = rows[i].values[1];
		hints[nknown++] = &graph->idents[i].node_place;
	}
	owners = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(CdpRow) * Max(nknown, 1));
	if (!cdp_row_read_many(&owner_row, nknown, keys, read_only, hints, owners, found))
		return false;
	for (int i = 0; i < nknown; i++)
		if (found[i])
			take_found(known[i], &rows[i], DatumGetInt64(owners[i].values[0]));
	pfree(rows);
	pfree(owners);
	return true;
}

/*
 * Looks up every identifier: sets node_id and profile_id of those that are
 * known, collides where the key belongs to another value.  read_only: under
 * the snapshot of the calling query instead of a new one.
 */
void
cdp_graph_find(CdpGraph *graph, bool read_only)
{
	int n;
	const char **ns;
	uint8(*key)[16];
	Datum args[2];
	int found;

	/* bearers that were told apart are not looked up: they follow from the rest */
	if (graph->nnamed > 0)
		graph->nidents = graph->nnamed;
	else
		graph->nnamed = graph->nidents;
	n = graph->nidents;
	ns = palloc(sizeof(char *) * Max(n, 1));
	key = palloc(16 * Max(n, 1));

	for (int i = 0; i < n; i++)
	{
		CdpIdent *ident = &graph->idents[i];

		ns[i] = ident->ns;
		memcpy(key[i], ident->key, 16);
		ident->node_id = ident->profile_id = 0;
		ident->fresh = false;
		ItemPointerSetInvalid(&ident->place);
		ItemPointerSetInvalid(&ident->node_place);
		ident->former = ident->anew = false;
		ident->after = -1;
		ident->born = DT_NOBEGIN;
		ident->ended = ident->stored_ended = DT_NOEND;
		ident->stored_last = DT_NOBEGIN;
	}
	if (n <= CDP_FEW)
	{
		for (int i = 0; i < n; i++)
			(void) find_one(&graph->idents[i], read_only);
		return;
	}
	if (find_many(graph, read_only))
		return;
	args[0] = cdp_array_text(ns, n);
	args[1] = cdp_array_uuid((const uint8(*)[16]) key, n);
	found = cdp_store_run(&find_plan, args, NULL, read_only, -1);
	for (int r = 0; r < found; r++)
	{
		CdpRow row = result_row(r, 3, 6);

		take_found(&graph->idents[cdp_store_int64(r, 1) - 1], &row, cdp_store_int64(r, 2));
	}
}

/* Present id of a profile id, 0 if there is none such. */
int64
cdp_graph_canonical(int64 profile_id, bool read_only)
{
	Datum args[1] = {Int64GetDatum(profile_id)};

	if (cdp_store_run(&canonical_plan, args, NULL, read_only, -1) < 1)
		return 0;
	return cdp_store_int64(0, 1);
}

static int
compare_int64(const void *a, const void *b)
{
	int64 x = *(const int64 *) a;
	int64 y = *(const int64 *) b;

	return (x > y) - (x < y);
}

/* Index of id in the ascending array; it is there. */
static int
position_of(const int64 *ids, int n, int64 id)
{
	const int64 *hit = bsearch(&id, ids, n, sizeof(int64), compare_int64);

	Assert(hit != NULL);
	return (int) (hit - ids);
}

/* What one round found out; arrays live in the round's context. */
typedef struct Round
{
	int *fresh; /* idents to create */
	int nfresh;
	int64 *profiles; /* distinct existing profiles, ascending */
	int nprofiles;
	int32 *parent; /* union-find: idents, then profiles */
	int *cause; /* per profile: link that made it lose, or -1 */
	int *best; /* per root: index of its oldest profile, or -1 */
	bool *settled; /* per ident: its component was resolved again */
	bool *again; /* per raw group: the same; or NULL */
	bool simple; /* nothing to create or merge */
} Round;

/* Joins a and b; of two profiles the younger loses, by this link. */
static void
join(Round *round, int a, int b, int link)
{
	int ra = cdp_core_uf_find(round->parent, a);
	int rb = cdp_core_uf_find(round->parent, b);
	int pa = round->best[ra];
	int pb = round->best[rb];
	int root = cdp_core_uf_union(round->parent, a, b);

	if (root < 0)
		return;
	if (pa >= 0 && pb >= 0)
	{
		int loser = Max(pa, pb);

		round->cause[loser] = link;
		round->best[root] = Min(pa, pb);
		round->simple = false;
	}
	else
		round->best[root] = Max(pa, pb);
}

static bool
is_joined(const CdpLink *link, int i)
{
	if (link->isolated && link->isolated[i])
		return false;
	return link->verdict == NULL || link->verdict[i] == CDP_JOINED;
}

/* Joins what the links' verdicts say, from the beginning. */
static void
unite(CdpGraph *graph, Round *round)
{
	int n = graph->nidents;
	int total = n + round->nprofiles;

	cdp_core_uf_init(round->parent, total);
	for (int i = 0; i < total; i++)
		round->best[i] = i < n ? -1 : i - n;
	for (int i = 0; i < round->nprofiles; i++)
		round->cause[i] = -1;
	for (int i = 0; i < n; i++)
		if (graph->idents[i].used && !round->settled[i] && !graph->idents[i].fresh &&
			graph->idents[i].node_id != 0)
			join(round, i,
				 n + position_of(round->profiles, round->nprofiles, graph->idents[i].profile_id),
				 -1);
	for (int l = 0; l < graph->nlinks; l++)
	{
		CdpLink *link = &graph->links[l];

		if (link->dead || link->replayed)
			continue;
		for (int i = 1; i < link->n; i++)
			if (is_joined(link, i))
				join(round, link->idents[0], link->idents[i], l);
	}
}

static void
plan_round(CdpGraph *graph, Round *round)
{
	int n = graph->nidents;
	int64 *ids = palloc(sizeof(int64) * Max(n, 1));
	int total;

	memset(round, 0, sizeof(*round));
	for (int i = 0; i < n; i++)
		graph->idents[i].used = false;
	round->fresh = palloc(sizeof(int) * Max(n, 1));
	round->settled = palloc0(sizeof(bool) * Max(n, 1));
	for (int l = 0; l < graph->nlinks; l++)
	{
		CdpLink *link = &graph->links[l];

		link->verdict = NULL;
		link->refusal = NULL;
		link->decided = link->replayed = false;
		for (int i = 0; !link->dead && i < link->n; i++)
			graph->idents[link->idents[i]].used = true;
	}
	for (int i = 0; i < n; i++)
	{
		if (!graph->idents[i].used)
			continue;
		if (graph->idents[i].node_id == 0)
			round->fresh[round->nfresh++] = i;
		else
			ids[round->nprofiles++] = graph->idents[i].profile_id;
	}
	qsort(ids, round->nprofiles, sizeof(int64), compare_int64);
	total = 0;
	for (int i = 0; i < round->nprofiles; i++)
		if (total == 0 || ids[total - 1] != ids[i])
			ids[total++] = ids[i];
	round->profiles = ids;
	round->nprofiles = total;
	round->simple = round->nfresh == 0 && graph->nextra == 0;

	total = n + round->nprofiles;
	round->parent = palloc(sizeof(int32) * Max(total, 1));
	round->best = palloc(sizeof(int) * Max(total, 1));
	round->cause = palloc(sizeof(int) * Max(round->nprofiles, 1));
	unite(graph, round);
}

/* Has people locked besides those of the links. */
static void
add_extra(CdpGraph *graph, const int64 *ids, int n)
{
	int64 *all = palloc(sizeof(int64) * (graph->nextra + n + 1));
	int total = graph->nextra + n;
	int distinct = 0;

	memcpy(all, graph->extra ? graph->extra : ids, sizeof(int64) * graph->nextra);
	memcpy(all + graph->nextra, ids, sizeof(int64) * n);
	qsort(all, total, sizeof(int64), compare_int64);
	for (int i = 0; i < total; i++)
		if (distinct == 0 || all[distinct - 1] != all[i])
			all[distinct++] = all[i];
	graph->extra = all;
	graph->nextra = distinct;
}

/* Starts anew with those whom the batch names by id, as they are now. */
static void
reset_extra(CdpGraph *graph)
{
	graph->extra = NULL;
	graph->nextra = 0;
	for (int i = 0; i < graph->nabout; i++)
	{
		int64 id = cdp_graph_canonical(graph->about[i], false);

		if (id != 0)
			add_extra(graph, &id, 1);
	}
}

/* Who bore a value until now is locked, too. */
static void
lock_bearers(CdpGraph *graph, const Round *round)
{
	for (int i = 0; i < round->nfresh; i++)
	{
		const CdpIdent *ident = &graph->idents[round->fresh[i]];

		if (ident->anew && graph->idents[ident->after].profile_id != 0)
			add_extra(graph, &graph->idents[ident->after].profile_id, 1);
	}
}

/* People to lock: the round's and the extra ones, ascending. */
static int64 *
wanted_profiles(const CdpGraph *graph, const Round *round, int *n)
{
	int64 *all = palloc(sizeof(int64) * Max(round->nprofiles + graph->nextra, 1));
	int m = 0;

	for (int i = 0, k = 0; i < round->nprofiles || k < graph->nextra;)
	{
		if (k == graph->nextra ||
			(i < round->nprofiles && round->profiles[i] <= graph->extra[k]))
		{
			if (k < graph->nextra && round->profiles[i] == graph->extra[k])
				k++;
			all[m++] = round->profiles[i++];
		}
		else
			all[m++] = graph->extra[k++];
	}
	*n = m;
	return all;
}

static void
read_locked(CdpLocked *locked, const CdpRow *row)
{
	memset(locked, 0, sizeof(*locked));
	locked->profile_id = DatumGetInt64(row->values[0]);
	locked->ord = DatumGetInt32(row->values[1]);
	locked->newest.ts = DT_NOBEGIN;
	locked->seen_from = DT_NOEND;
	locked->seen_to = DT_NOBEGIN;
	if (!row->nulls[2])
	{
		locked->newest.ts = DatumGetTimestampTz(row->values[2]);
		memcpy(locked->newest.key, DatumGetUUIDP(row->values[3]), UUID_LEN);
	}
	locked->contested = DatumGetBool(row->values[4]);
	locked->separated = DatumGetBool(row->values[5]);
	locked->stored_contested = locked->contested;
	locked->stored_separated = locked->separated;
	locked->stored_newest = locked->newest;
}

/* recheck() for many; false: not done. */
static bool
recheck_many(CdpIdent **ident, int n, bool *same)
{
	Datum *keys = palloc(sizeof(Datum) * n);
	ItemPointer *hints = palloc(sizeof(ItemPointer) * n);
	CdpRow *rows = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(CdpRow) * n);
	bool *found = palloc(sizeof(bool) * n);
	int k = 0;

	*same = true;
	for (int i = 0; i < n; i++)
	{
		keys[i] = Int64GetDatum(ident[i]->node_id);
		hints[i] = &ident[i]->node_place;
	}
	if (!cdp_row_read_many(&owner_row, n, keys, false, hints, rows, found))
		return false;
	for (int i = 0; i < n; i++)
		*same &= found[i] && DatumGetInt64(rows[i].values[0]) == ident[i]->profile_id;
	/* of a former bearer nothing ends any more */
	for (int i = 0; i < n; i++)
		if (!ident[i]->former)
		{
			keys[k] = Int64GetDatum(ident[i]->node_id);
			hints[k] = &ident[i]->place;
			ident[k++] = ident[i];
		}
	if (!cdp_row_read_many(&ended_row, k, keys, false, hints, rows, found))
		return false;
	for (int i = 0; i < k; i++)
		*same &= found[i] &&
				 (rows[i].nulls[0] ? DT_NOEND : DatumGetTimestampTz(rows[i].values[0])) ==
					 ident[i]->stored_ended;
	pfree(rows);
	return true;
}

/*
 * Do the round's known nodes belong to the profiles that are locked, and are
 * its identifiers still theirs?
 */
static bool
recheck(CdpGraph *graph)
{
	int n = 0;
	int64 *nodes = palloc(sizeof(int64) * Max(graph->nidents, 1));
	int64 *owners = palloc(sizeof(int64) * Max(graph->nidents, 1));
	Datum *ended = palloc(sizeof(Datum) * Max(graph->nidents, 1));
	bool *former = palloc(sizeof(bool) * Max(graph->nidents, 1));
	CdpIdent **ident = palloc(sizeof(CdpIdent *) * Max(graph->nidents, 1));
	Datum args[3];
	bool same;

	for (int i = 0; i < graph->nidents; i++)
	{
		if (!graph->idents[i].used || graph->idents[i].fresh ||
			graph->idents[i].profile_id == 0)
			continue;
		nodes[n] = graph->idents[i].node_id;
		ended[n] = TimestampTzGetDatum(graph->idents[i].stored_ended);
		former[n] = graph->idents[i].former;
		ident[n] = &graph->idents[i];
		owners[n++] = graph->idents[i].profile_id;
	}
	if (n <= CDP_FEW)
	{
		for (int i = 0; i < n; i++)
		{
			CdpRow row;

			args[0] = Int64GetDatum(nodes[i]);
			if (!cdp_row_read(&owner_row, args, false, &ident[i]->node_place, &row) ||
				DatumGetInt64(row.values[0]) != owners[i])
				return false;
			/* of a former bearer nothing ends any more */
			if (former[i])
				continue;
			if (!cdp_row_read(&ended_row, args, false, &ident[i]->place, &row) ||
				(row.nulls[0] ? DT_NOEND : DatumGetTimestampTz(row.values[0])) !=
					DatumGetTimestampTz(ended[i]))
				return false;
		}
		return true;
	}
	if (recheck_many(ident, n, &same))
		return same;
	args[0] = cdp_array_int64(nodes, n);
	args[1] = cdp_array_int64(owners, n);
	args[2] = cdp_array_datums(ended, former, n, TIMESTAMPTZOID);
	return cdp_store_run(&recheck_plan, args, NULL, false, -1) == n;
}

/* Locks these, ascending; *n: how many are there.  False: not done. */
static bool
lock_many(CdpGraph *graph, const int64 *wanted, int nwanted, int *n)
{
	Datum *keys = palloc(sizeof(Datum) * nwanted);
	ItemPointer *hints = palloc(sizeof(ItemPointer) * nwanted);
	ItemPointerData *places = palloc0(sizeof(ItemPointerData) * nwanted);
	CdpRow *rows = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(CdpRow) * nwanted);
	bool *found = palloc(sizeof(bool) * nwanted);

	for (int i = 0; i < nwanted; i++)
	{
		keys[i] = Int64GetDatum(wanted[i]);
		hints[i] = &places[i];
	}
	if (!cdp_row_read_many(&lock_row, nwanted, keys, false, hints, rows, found))
		return false;
	*n = 0;
	for (int i = 0; i < nwanted; i++)
	{
		if (!found[i])
			continue;
		read_locked(&graph->locked[*n], &rows[i]);
		graph->locked[(*n)++].place = places[i];
	}
	pfree(rows);
	return true;
}

/*
 * Locks the round's profiles in ascending order and looks whether its nodes
 * still belong to them and its identifiers are still whose they were.  False:
 * somebody merged, parted or removed in between.
 */
static bool
lock_round(CdpGraph *graph, Round *round)
{
	int n;
	int nwanted;
	int64 *wanted = wanted_profiles(graph, round, &nwanted);
	Datum args[1];

	graph->nlocked = 0;
	if (nwanted == 0)
		return true;
	while (graph->room < nwanted)
	{
		graph->room *= 2;
		graph->locked = repalloc_huge(graph->locked, sizeof(CdpLocked) * graph->room);
	}
	if (nwanted <= CDP_FEW)
		for (n = 0; n < nwanted; n++)
		{
			ItemPointerData place = {0};
			CdpRow row;

			args[0] = Int64GetDatum(wanted[n]);
			if (!cdp_row_read(&lock_row, args, false, &place, &row))
				break;
			read_locked(&graph->locked[n], &row);
			graph->locked[n].place = place;
		}
	else if (!lock_many(graph, wanted, nwanted, &n))
	{
		args[0] = cdp_array_int64(wanted, nwanted);
		n = cdp_store_run(&lock_plan, args, NULL, false, -1);
		for (int i = 0; i < n && n == nwanted; i++)
		{
			CdpRow row = result_row(i, 1, 6);

			read_locked(&graph->locked[i], &row);
		}
	}
	if (n != nwanted)
	{
		/* some are nobody any more: look again who is concerned */
		reset_extra(graph);
		return false;
	}
	graph->nlocked = nwanted;
	return recheck(graph);
}

/* Can a message that joins nobody change what was refused before? */
static bool
may_reopen(const CdpGraph *graph)
{
	for (int l = 0; l < graph->nlinks; l++)
	{
		const CdpLink *link = &graph->links[l];

		if (!link->dead &&
			(link->n > 1 ||
			 (link->n == 1 &&
			  cdp_rules_namespace(graph->idents[link->idents[0]].ns)->rule.ttl > 0)))
			return true;
	}
	return false;
}

/*
 * Locks the only profile of a simple round, if nobody holds it and nobody else
 * has to be locked with it.
 */
static bool
try_one(CdpGraph *graph, Round *round)
{
	Datum keys[1] = {Int64GetDatum(round->profiles[0])};
	bool reopens = may_reopen(graph);
	ItemPointerData place = {0};
	CdpRow row;

	/* looked at before, for what is locked stays locked, and again after */
	if (reopens && (!cdp_row_read(&marks_row, keys, false, &place, &row) ||
					(DatumGetBool(row.values[0]) &&
					 (cdp_rules()->repeats || DatumGetBool(row.values[1])))))
		return false;
	if (!cdp_row_read(&try_row, keys, false, &place, &row))
		return false;
	if (reopens && DatumGetBool(row.values[4]) &&
		(cdp_rules()->repeats || DatumGetBool(row.values[5])))
		return false;
	graph->nlocked = 1;
	read_locked(&graph->locked[0], &row);
	graph->locked[0].place = place;
	return recheck(graph);
}

static bool
insert_one(const CdpIdent *ident)
{
	CdpRow row = {.values = {CStringGetTextDatum(ident->ns),
							 UUIDPGetDatum((pg_uuid_t *) ident->key),
							 CStringGetTextDatum(ident->value), Int64GetDatum(ident->node_id),
							 TimestampTzGetDatum(ident->first_seen),
							 TimestampTzGetDatum(ident->last_seen), BoolGetDatum(false)}};

	return cdp_row_insert(&insert_row, &row);
}

/* Orders identifiers by (namespace, key), bearers of one value by time. */
static int
compare_keys(const void *a, const void *b, void *arg)
{
	const CdpIdent *idents = arg;
	const CdpIdent *x = &idents[*(const int *) a];
	const CdpIdent *y = &idents[*(const int *) b];
	int cmp = strcmp(x->ns, y->ns);

	if (cmp == 0)
		cmp = memcmp(x->key, y->key, 16);
	return cmp != 0 ? cmp : (x->born > y->born) - (x->born < y->born);
}

/* Inserts the round's new identifiers; false if another session was first. */
static bool
insert_identifiers(CdpGraph *graph, Round *round)
{
	int n = 0;
	int room = round->nfresh;
	const char **ns = palloc(sizeof(char *) * room);
	const char **value = palloc(sizeof(char *) * room);
	uint8(*key)[16] = palloc(16 * room);
	int64 *node = palloc(sizeof(int64) * room);
	TimestampTz *first = palloc(sizeof(TimestampTz) * room);
	TimestampTz *last = palloc(sizeof(TimestampTz) * room);
	Oid sequence = cdp_store_relation("node_id_seq");
	int *order;
	Datum args[6];

	for (int i = 0; i < room; i++)
	{
		CdpIdent *ident = &graph->idents[round->fresh[i]];

		ident->node_id = nextval_internal(sequence, false);
		ident->fresh = true;
		if (ident->anew)
			continue;
		ns[n] = ident->ns;
		value[n] = ident->value;
		memcpy(key[n], ident->key, 16);
		node[n] = ident->node_id;
		first[n] = ident->first_seen;
		last[n++] = ident->last_seen;
	}
	if (n > CDP_FEW)
	{
		args[0] = cdp_array_text(ns, n);
		args[1] = cdp_array_uuid((const uint8(*)[16]) key, n);
		args[2] = cdp_array_text(value, n);
		args[3] = cdp_array_int64(node, n);
		args[4] = cdp_array_timestamptz(first, n);
		args[5] = cdp_array_timestamptz(last, n);
		if (cdp_store_run(&insert_plan, args, NULL, false, -1) != n)
			return false;
		if (n == room)
			return true;
	}
	order = palloc(sizeof(int) * room);
	memcpy(order, round->fresh, sizeof(int) * room);
	qsort_arg(order, room, sizeof(int), compare_keys, graph->idents);
	for (int i = 0; n <= CDP_FEW && i < room; i++)
		if (!graph->idents[order[i]].anew && !insert_one(&graph->idents[order[i]]))
			return false;
	return true;
}

/*
 * The same for new bearers of known values.  Whoever writes the row of an
 * identifier holds the lock of the person who bears it: see lock_bearers().
 */
static bool
insert_bearers(CdpGraph *graph, Round *round)
{
	int n = 0;
	int *order = palloc(sizeof(int) * Max(round->nfresh, 1));

	for (int i = 0; i < round->nfresh; i++)
		if (graph->idents[round->fresh[i]].anew)
			order[n++] = round->fresh[i];
	qsort_arg(order, n, sizeof(int), compare_keys, graph->idents);
	for (int i = 0; i < n; i++)
		if (!cdp_bearer_insert(graph, order[i]))
			return false;
	return true;
}

/* Rules of the namespaces that a decision is about. */
typedef struct RuleList
{
	CdpCoreRule *rules;
	const char **names;
	int n;
	int room;
} RuleList;

static int
rule_of(RuleList *list, const char *ns)
{
	for (int i = 0; i < list->n; i++)
		if (strcmp(list->names[i], ns) == 0)
			return i;
	if (list->n == list->room)
	{
		list->room = Max(8, list->room * 2);
		list->rules = list->rules ?
						  repalloc(list->rules, sizeof(CdpCoreRule) * list->room) :
						  palloc(sizeof(CdpCoreRule) * list->room);
		list->names = list->names ? repalloc(list->names, sizeof(char *) * list->room) :
									palloc(sizeof(char *) * list->room);
	}
	list->rules[list->n] = cdp_rules_namespace(ns)->rule;
	list->names[list->n] = ns;
	return list->n++;
}

/*
 * Which of the round's raw groups bring several together.  *any: there is
 * such a group, or one of somebody to whom a link was refused.
 */
static bool *
growing_groups(CdpGraph *graph, Round *round, bool *any)
{
	int n = graph->nidents;
	int *parts = palloc0(sizeof(int) * Max(n + round->nprofiles, 1));
	bool *grows = palloc0(sizeof(bool) * Max(n + round->nprofiles, 1));

	for (int i = 0; i < round->nfresh; i++)
		parts[cdp_core_uf_find(round->parent, round->fresh[i])]++;
	for (int p = 0; p < round->nprofiles; p++)
		parts[cdp_core_uf_find(round->parent, n + p)]++;
	*any = false;
	for (int i = 0; i < n + round->nprofiles; i++)
		*any |= grows[i] = parts[i] > 1;
	for (int p = 0; p < round->nprofiles; p++)
		*any |= cdp_graph_locked(graph, round->profiles[p])->contested;
	return grows;
}

/*
 * Does a link bring back somebody whose time was over?  Only who is named by
 * her profile's id: by her identifier she would be somebody new.
 */
static bool
revives(const CdpGraph *graph, const CdpLink *link)
{
	for (int i = 0; graph->by_id && i < link->n; i++)
	{
		const CdpIdent *ident = &graph->idents[link->idents[i]];
		int64 ttl = cdp_rules_namespace(ident->ns)->rule.ttl;

		if (ttl > 0 && ident->node_id != 0 && ident->stored_last != DT_NOBEGIN &&
			link->ts - ttl > ident->stored_last)
			return true;
	}
	return false;
}

/* Makes seeds of the profiles that may grow, with their counts. */
static void
make_seeds(CdpGraph *graph, Round *round, const bool *grows, CdpCoreNode *nodes, RuleList *list)
{
	int n = 0;
	int rows;
	int64 *ids = palloc(sizeof(int64) * Max(round->nprofiles, 1));
	int32 *which;
	int32 *rule;
	int32 *count;
	Datum args[1];

	for (int p = 0; p < round->nprofiles; p++)
	{
		CdpLocked *locked = cdp_graph_locked(graph, round->profiles[p]);

		nodes[p].seed = true;
		nodes[p].size = 1;
		nodes[p].newest = locked->newest;
		nodes[p].contested = locked->contested;
		nodes[p].separated = locked->separated;
		if (grows[cdp_core_uf_find(round->parent, graph->nidents + p)])
			ids[n++] = round->profiles[p];
	}
	if (n > 0)
	{
		args[0] = cdp_array_int64(ids, n);
		rows = cdp_store_run(&counts_plan, args, NULL, false, -1);
	}
	else
		rows = 0;
	which = palloc(sizeof(int32) * Max(rows, 1));
	rule = palloc(sizeof(int32) * Max(rows, 1));
	count = palloc(sizeof(int32) * Max(rows, 1));
	for (int p = 0; p < round->nprofiles; p++)
		nodes[p].size = 0;
	for (int r = 0; r < rows; r++)
	{
		char *ns = cdp_store_text(r, 2);

		which[r] = position_of(round->profiles, round->nprofiles, cdp_store_int64(r, 1));
		count[r] = (int32) cdp_store_int64(r, 3);
		nodes[which[r]].size += count[r];
		rule[r] = ns ? rule_of(list, ns) : -1;
	}
	/* the list is complete only now */
	for (int p = 0; p < round->nprofiles; p++)
	{
		nodes[p].size = Max(nodes[p].size, 1);
		nodes[p].counts = palloc0(sizeof(int32) * Max(list->n, 1));
	}
	for (int r = 0; r < rows; r++)
		if (rule[r] >= 0)
			((int32 *) nodes[which[r]].counts)[rule[r]] += count[r];
}

static void *
alloc_huge(size_t size)
{
	return MemoryContextAllocHuge(CurrentMemoryContext, size);
}

static bool
check_interrupts(void)
{
	CHECK_FOR_INTERRUPTS();
	return false;
}

/* The batch as seeds, fresh identifiers and links. */
typedef struct Question
{
	CdpLinkage linkage;
	RuleList list;
	CdpCoreNode *nodes;
	CdpCoreLink *links;
	int *origin; /* per core link: index of the batch's */
	int32 *node_of; /* per ident */
} Question;

static void
pose(CdpGraph *graph, Round *round, const bool *grows, Question *q)
{
	int n = 0;
	CdpLinkage *l = &q->linkage;

	memset(q, 0, sizeof(*q));
	q->nodes = palloc0(sizeof(CdpCoreNode) * Max(round->nprofiles + round->nfresh, 1));
	q->node_of = palloc(sizeof(int32) * Max(graph->nidents, 1));
	for (int i = 0; i < graph->nidents; i++)
		q->node_of[i] = -1;
	for (int i = 0; i < round->nfresh; i++)
	{
		CdpIdent *ident = &graph->idents[round->fresh[i]];

		q->node_of[round->fresh[i]] = round->nprofiles + i;
		q->nodes[round->nprofiles + i].rule = rule_of(&q->list, ident->ns);
		q->nodes[round->nprofiles + i].last_seen = ident->last_seen;
	}
	make_seeds(graph, round, grows, q->nodes, &q->list);
	q->links = palloc0(sizeof(CdpCoreLink) * Max(graph->nlinks, 1));
	q->origin = palloc(sizeof(int) * Max(graph->nlinks, 1));
	for (int k = 0; k < graph->nlinks; k++)
	{
		CdpLink *link = &graph->links[k];
		CdpCoreLink *core = &q->links[n];
		int32 *nodes;

		if (link->dead || link->n == 0)
			continue;
		/* of one alone it may matter when she was seen */
		core->mention = link->n == 1;
		if (core->mention && cdp_rules_namespace(graph->idents[link->idents[0]].ns)->rule.ttl == 0)
			continue;
		core->revives = revives(graph, link);
		nodes = palloc(sizeof(int32) * link->n);
		for (int i = 0; i < link->n; i++)
		{
			CdpIdent *ident = &graph->idents[link->idents[i]];
			bool known = link->isolated && link->isolated[i];

			if (q->node_of[link->idents[i]] < 0)
				q->node_of[link->idents[i]] =
					position_of(round->profiles, round->nprofiles, ident->profile_id);
			for (int j = 0; j < core->n && !known; j++)
				known = nodes[j] == q->node_of[link->idents[i]];
			if (!known)
				nodes[core->n++] = q->node_of[link->idents[i]];
		}
		core->nodes = nodes;
		core->first.ts = link->ts;
		memcpy(core->first.key, link->message_key, 16);
		core->last = core->first;
		core->override = strcmp(link->rule, "override") == 0;
		q->origin[n++] = k;
	}
	cdp_rules_order(q->list.rules, q->list.names, q->list.n);
	l->nrules = q->list.n;
	l->rules = q->list.rules;
	l->nnodes = round->nprofiles + round->nfresh;
	l->nodes = q->nodes;
	l->nlinks = n;
	l->links = q->links;
	l->max_nodes = cdp_rules()->max_nodes;
	l->repeats = cdp_rules()->repeats;
	l->seeded = true;
	l->alloc = alloc_huge;
	l->interrupted = check_interrupts;
}

/* Takes the answer for the links that were not resolved with their components. */
static void
take_answer(CdpGraph *graph, Round *round, Question *q)
{
	CdpLinkage *l = &q->linkage;

	for (int k = 0; k < l->nlinks; k++)
	{
		CdpLink *link = &graph->links[q->origin[k]];
		CdpCoreLink *core = &q->links[k];

		if (link->replayed)
			continue;
		link->decided = core->decided;
		link->verdict = palloc0(link->n);
		for (int i = 0; i < link->n; i++)
			for (int j = 0; j < core->n; j++)
				if (core->nodes[j] == q->node_of[link->idents[i]])
					link->verdict[i] = core->verdict[j];
		for (int i = 0; i < link->n; i++)
			if (link->isolated && link->isolated[i])
				link->verdict[i] = CDP_ISOLATED;
		for (int i = 0; i < link->n && link->refusal == NULL; i++)
			link->refusal = cdp_rules_refusal(link->verdict[i],
											  core->rule >= 0 ? q->list.names[core->rule] : NULL);
	}
	for (int p = 0; p < round->nprofiles; p++)
	{
		CdpLocked *locked;

		if (round->again && round->again[cdp_core_uf_find(round->parent, graph->nidents + p)])
			continue;
		locked = cdp_graph_locked(graph, round->profiles[p]);
		locked->newest = l->newest[l->group[p]];
		locked->contested |= l->contested[l->group[p]];
	}
}

static bool
all_locked(CdpGraph *graph, const CdpComponent *c)
{
	bool all_there = true;

	for (int p = 0, k = 0; p < c->nprofiles; p++)
	{
		while (k < graph->nlocked && graph->locked[k].profile_id < c->profiles[p])
			k++;
		all_there &= k < graph->nlocked && graph->locked[k].profile_id == c->profiles[p];
	}
	if (all_there)
		return true;
	add_extra(graph, c->profiles, c->nprofiles);
	return false;
}

/*
 * Resolves again what seeds cannot tell.  False: more people are concerned
 * than are locked.
 */
static bool
replay(CdpGraph *graph, Round *round, Question *q)
{
	int n = graph->nidents;
	bool *again = palloc0(sizeof(bool) * Max(n + round->nprofiles, 1));
	int64 *ids = palloc(sizeof(int64) * Max(round->nprofiles, 1));
	int nids;
	CdpComponent *c;
	bool more;

	for (int p = 0; p < round->nprofiles; p++)
		if (q->nodes[p].replay)
			again[cdp_core_uf_find(round->parent, n + p)] = true;
	for (int i = 0; i < round->nfresh; i++)
		if (q->nodes[round->nprofiles + i].replay)
			again[cdp_core_uf_find(round->parent, round->fresh[i])] = true;
	do
	{
		nids = 0;
		for (int p = 0; p < round->nprofiles; p++)
			if (again[cdp_core_uf_find(round->parent, n + p)])
				ids[nids++] = round->profiles[p];
		c = cdp_component_load(ids, nids);
		elog(DEBUG1, "cdp: %d identifiers of %d people are resolved again%s", c->nnodes,
			 c->nprofiles, c->too_large ? ", too many: as they come" : "");
		/* whom the component has comes with all that the batch brings her together with */
		more = false;
		for (int p = 0; p < round->nprofiles && !c->too_large; p++)
		{
			int root = cdp_core_uf_find(round->parent, n + p);

			if (again[root] || bsearch(&round->profiles[p], c->profiles, c->nprofiles,
									   sizeof(int64), compare_int64) == NULL)
				continue;
			again[root] = more = true;
		}
	} while (more);
	if (c->too_large)
	{
		/* decided in the order of arrival: bounded, if not independent of it */
		q->linkage.as_it_comes = true;
		(void) cdp_core_linkage_run(&q->linkage);
		return true;
	}
	if (!all_locked(graph, c))
		return false;
	for (int k = 0; k < graph->nlinks; k++)
	{
		CdpLink *link = &graph->links[k];

		if (link->dead || link->n == 0 ||
			!again[cdp_core_uf_find(round->parent, link->idents[0])])
			continue;
		cdp_component_add(c, graph, k);
		for (int i = 0; i < link->n; i++)
			round->settled[link->idents[i]] = true;
	}
	cdp_component_run(c);
	cdp_component_assign(c, graph);
	round->again = again;
	return true;
}

/*
 * Decides who is one person, now that all are locked.  False: the round must
 * start over with more locks.
 */
static bool
decide(CdpGraph *graph, Round *round)
{
	Question q;
	bool any;
	bool *grows = growing_groups(graph, round, &any);

	if (!any)
		return true;
	pose(graph, round, grows, &q);
	if (cdp_core_linkage_run(&q.linkage) == CDP_LINKAGE_REPLAY && !replay(graph, round, &q))
		return false;
	take_answer(graph, round, &q);
	unite(graph, round);
	return true;
}

/* Makes room in the ascending array of locked profiles. */
CdpLocked *
cdp_graph_add_locked(CdpGraph *graph, int64 profile_id)
{
	int at = graph->nlocked;

	if (graph->nlocked == graph->room)
	{
		graph->room *= 2;
		graph->locked = repalloc_huge(graph->locked, sizeof(CdpLocked) * graph->room);
	}
	while (at > 0 && graph->locked[at - 1].profile_id > profile_id)
		at--;
	memmove(&graph->locked[at + 1], &graph->locked[at],
			sizeof(CdpLocked) * (graph->nlocked - at));
	graph->nlocked++;
	memset(&graph->locked[at], 0, sizeof(CdpLocked));
	graph->locked[at].profile_id = profile_id;
	graph->locked[at].newest.ts = DT_NOBEGIN;
	graph->locked[at].seen_from = DT_NOEND;
	graph->locked[at].seen_to = DT_NOBEGIN;
	return &graph->locked[at];
}

/* Gives each component its profile: the oldest, or a new one. */
static void
assign_profiles(CdpGraph *graph, Round *round)
{
	int n = graph->nidents;
	int64 *chosen = palloc0(sizeof(int64) * Max(n + round->nprofiles, 1));
	Oid sequence = cdp_store_relation("profile_id_seq");
	Oid ords = cdp_store_relation("ord_seq");

	for (int i = 0; i < round->nfresh; i++)
	{
		int root = cdp_core_uf_find(round->parent, round->fresh[i]);

		if (round->settled[round->fresh[i]])
			continue;
		if (chosen[root] == 0)
		{
			if (round->best[root] >= 0)
				chosen[root] = round->profiles[round->best[root]];
			else
			{
				CdpLocked *locked;

				chosen[root] = nextval_internal(sequence, false);
				locked = cdp_graph_add_locked(graph, chosen[root]);
				locked->ord = (int32) nextval_internal(ords, false);
				locked->created = true;
			}
			cdp_graph_locked(graph, chosen[root])->reshaped = true;
		}
	}
	for (int i = 0; i < n; i++)
	{
		int root = cdp_core_uf_find(round->parent, i);

		if (!graph->idents[i].used || round->settled[i])
			continue;
		graph->idents[i].profile_id = round->best[root] >= 0 ?
										  round->profiles[round->best[root]] :
										  chosen[root];
	}

	/* created people know which link made them, too */
	for (int l = 0; l < graph->nlinks; l++)
	{
		CdpLink *link = &graph->links[l];
		CdpCorePos pos;

		if (link->dead || link->replayed || link->n < 2)
			continue;
		pos.ts = link->ts;
		memcpy(pos.key, link->message_key, 16);
		for (int i = 0; i < link->n; i++)
		{
			CdpLocked *locked =
				cdp_graph_locked(graph, graph->idents[link->idents[i]].profile_id);

			if (!locked->created)
				continue;
			locked->contested |= link->refusal != NULL;
			if (strcmp(link->rule, "override") == 0)
				continue;
			if ((link->refusal == NULL || cdp_rules()->repeats ||
				 (i > 0 && is_joined(link, i))) &&
				cdp_core_pos_compare(&pos, &locked->newest) > 0)
				locked->newest = pos;
		}
	}
}

/* Lists the merges of whole people that the round decided. */
static void
list_merges(CdpGraph *graph, Round *round)
{
	int n = graph->nidents;

	graph->merges = repalloc_huge(graph->merges,
								  sizeof(CdpMerge) * (graph->nmerges + round->nprofiles + 1));
	for (int i = 0; i < round->nprofiles; i++)
	{
		int root = cdp_core_uf_find(round->parent, n + i);
		CdpLocked *winner;
		CdpLocked *loser;
		CdpMerge *m;

		if (round->cause[i] < 0)
			continue;
		winner = cdp_graph_locked(graph, round->profiles[round->best[root]]);
		loser = cdp_graph_locked(graph, round->profiles[i]);
		m = &graph->merges[graph->nmerges++];
		memset(m, 0, sizeof(*m));
		m->winner = winner->profile_id;
		m->winner_ord = winner->ord;
		m->loser = loser->profile_id;
		m->loser_ord = loser->ord;
		m->link = round->cause[i];
		winner->reshaped = true;
	}
}

/* The batch's entry for a locked profile; raises if it is not locked. */
CdpLocked *
cdp_graph_locked(CdpGraph *graph, int64 profile_id)
{
	int low = 0;
	int high = graph->nlocked - 1;

	while (low <= high)
	{
		int mid = (low + high) / 2;
		int64 id = graph->locked[mid].profile_id;

		if (id == profile_id)
			return &graph->locked[mid];
		if (id < profile_id)
			low = mid + 1;
		else
			high = mid - 1;
	}
	elog(ERROR, "cdp: profile is not locked");
	return NULL; /* keep compiler quiet */
}

static void
reset(CdpGraph *graph)
{
	graph->nlocked = graph->nmerges = 0;
	graph->nmoves = graph->nredirects = graph->nstates = 0;
	graph->moves = NULL;
	graph->redirects = NULL;
	graph->states = NULL;
}

static void
prepare(CdpGraph *graph)
{
	graph->room = Max(graph->nidents, 4) * 2;
	graph->locked = palloc0(sizeof(CdpLocked) * graph->room);
	graph->merges = palloc0(sizeof(CdpMerge));
	reset_extra(graph);
	reset(graph);
}

/*
 * Who was overtaken some times goes through a gate, and so one by one: on a hub
 * that many sessions write, each would else find it changed for ever.  It is
 * taken before the people are locked, and by those alone who hold none of them
 * yet in this call.
 */
static void
be_patient(int rounds)
{
	if (rounds == PATIENT_AFTER)
		LockDatabaseObject(NamespaceRelationId, cdp_store_schema(), GATE, ExclusiveLock);
	if (rounds >= MAX_ROUNDS)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not resolve identifiers: other sessions kept merging the "
						"same people"),
				 errhint("Retry the transaction.")));
}

/* A round's part that needs locks. */
typedef struct Attempt
{
	CdpGraph *graph;
	Round *round;
} Attempt;

static bool
resolve_round(void *arg)
{
	CdpGraph *graph = ((Attempt *) arg)->graph;
	Round *round = ((Attempt *) arg)->round;

	if (round->nfresh > 0 && !insert_identifiers(graph, round))
		return false;
	if (!lock_round(graph, round) || !insert_bearers(graph, round))
		return false;
	if (graph->witness && !graph->witness(graph, graph->witness_arg))
		return false;
	if (!decide(graph, round))
		return false;
	assign_profiles(graph, round);
	list_merges(graph, round);
	return true;
}

/*
 * Decides who the links' identifiers are: creates nodes, locks profiles,
 * merges and parts.  On return each identifier of a living link has node_id
 * and profile_id, and the profiles (graph->locked) are ours until the
 * transaction ends.  The caller creates the rows of created profiles, then
 * calls cdp_graph_record(); nodes are moved here, the persons' data is the
 * caller's to join and to part.
 *
 * Call cdp_graph_find() first.
 */
void
cdp_graph_resolve(CdpGraph *graph)
{
	prepare(graph);
	for (int rounds = 0;; rounds++)
	{
		Round round;
		Attempt attempt = {graph, &round};

		CHECK_FOR_INTERRUPTS();
		be_patient(rounds);
		if (rounds > 0)
			cdp_graph_find(graph, false);
		cdp_bearer_settle(graph);
		if (cdp_rules()->isolates)
			cdp_bearer_isolate(graph);
		reset(graph);
		plan_round(graph, &round);
		lock_bearers(graph, &round);

		/*
		 * One known person whom nobody holds: there is nothing that a
		 * subtransaction would have to undo.  Who waits needs one, to let go of
		 * her if she is the wrong one by then.
		 */
		if (round.simple && round.nprofiles == 1 && try_one(graph, &round))
			return;
		if (!cdp_store_attempt(resolve_round, &attempt))
			continue;
		if (cdp_rules()->isolates)
			cdp_bearer_end(graph);
		cdp_graph_write(graph);
		return;
	}
}

/* The present ids of these, each once, ascending. */
static void
plan_again(Round *round, const int64 *profiles, int n)
{
	int distinct = 0;

	memset(round, 0, sizeof(*round));
	round->profiles = palloc(sizeof(int64) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		int64 id = cdp_graph_canonical(profiles[i], false);

		if (id != 0)
			round->profiles[round->nprofiles++] = id;
	}
	qsort(round->profiles, round->nprofiles, sizeof(int64), compare_int64);
	for (int i = 0; i < round->nprofiles; i++)
		if (distinct == 0 || round->profiles[distinct - 1] != round->profiles[i])
			round->profiles[distinct++] = round->profiles[i];
	round->nprofiles = distinct;
}

static bool
reresolve_round(void *arg)
{
	CdpGraph *graph = ((Attempt *) arg)->graph;
	Round *round = ((Attempt *) arg)->round;
	CdpComponent *c;

	if (!lock_round(graph, round))
		return false;
	if (graph->witness && !graph->witness(graph, graph->witness_arg))
		return false;
	c = cdp_component_load(round->profiles, round->nprofiles);
	if (c->too_large)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many identifiers are linked to resolve them again"),
				 errdetail("More than %d identifiers are linked, kept or refused.",
						   cdp_rules()->max_component),
				 errhint("See cdp.identity_conflicts for the values that link so many, "
						 "and block them with cdp.define_namespace().")));
	if (!all_locked(graph, c))
		return false;
	cdp_component_run(c);
	cdp_component_assign(c, graph);
	return true;
}

/*
 * Resolves everything that is linked to these people again, by the rules,
 * evidence and separations of now.  Results as of cdp_graph_resolve().
 */
void
cdp_graph_reresolve(CdpGraph *graph, const int64 *profiles, int n)
{
	/* before any other lock, as cdp_ingest_batch() does */
	LockRelationOid(cdp_store_relation("profile_state"), RowExclusiveLock);
	prepare(graph);
	for (int rounds = 0;; rounds++)
	{
		Round round;
		Attempt attempt = {graph, &round};

		CHECK_FOR_INTERRUPTS();
		be_patient(rounds);
		reset(graph);
		plan_again(&round, profiles, n);
		if (!cdp_store_attempt(reresolve_round, &attempt))
			continue;
		cdp_graph_write(graph);
		return;
	}
}
