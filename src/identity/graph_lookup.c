/*
 * src/identity/graph_lookup.c
 *		Identifiers as they are stored: finding them, and looking again.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "compat.h"
#include "identity/graph_private.h"
#include "row.h"
#include "store.h"

/* Version of the key's recipe, part of what is hashed. */
#define KEY_VERSION 1

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

/* Looks all up by their rows; false: a statement must do it. */
static bool
find_rows(CdpGraph *graph, bool read_only)
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
	if (n == 0 || find_rows(graph, read_only))
		return;
	args[0] = cdp_array_text(ns, n);
	args[1] = cdp_array_uuid((const uint8(*)[16]) key, n);
	found = cdp_store_run(&find_plan, args, NULL, read_only, -1);
	for (int r = 0; r < found; r++)
	{
		CdpRow row = cdp_graph_result_row(r, 3, 6);

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

/* cdp_graph_recheck() of these by their rows; false: a statement must do it. */
static bool
recheck_rows(CdpIdent **ident, int n, bool *same)
{
	Datum *keys = palloc(sizeof(Datum) * n);
	ItemPointer *hints = palloc(sizeof(ItemPointer) * n);
	CdpRow *rows = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(CdpRow) * n);
	bool *found = palloc(sizeof(bool) * n);
	CdpIdent **present = palloc(sizeof(CdpIdent *) * n);
	int npresent = 0;

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
	for (int i = 0; i < n; i++)
		if (!ident[i]->former)
		{
			keys[npresent] = Int64GetDatum(ident[i]->node_id);
			hints[npresent] = &ident[i]->place;
			present[npresent++] = ident[i];
		}
	if (!cdp_row_read_many(&ended_row, npresent, keys, false, hints, rows, found))
		return false;
	for (int i = 0; i < npresent; i++)
		*same &= found[i] &&
				 (rows[i].nulls[0] ? DT_NOEND : DatumGetTimestampTz(rows[i].values[0])) ==
					 present[i]->stored_ended;
	pfree(rows);
	return true;
}

/* The same by a statement. */
static bool
recheck_by_statement(CdpIdent **ident, int n)
{
	int64 *nodes = palloc(sizeof(int64) * n);
	int64 *owners = palloc(sizeof(int64) * n);
	Datum *ended = palloc(sizeof(Datum) * n);
	bool *former = palloc(sizeof(bool) * n);
	Datum args[3];

	for (int i = 0; i < n; i++)
	{
		nodes[i] = ident[i]->node_id;
		owners[i] = ident[i]->profile_id;
		ended[i] = TimestampTzGetDatum(ident[i]->stored_ended);
		former[i] = ident[i]->former;
	}
	args[0] = cdp_array_int64(nodes, n);
	args[1] = cdp_array_int64(owners, n);
	args[2] = cdp_array_datums(ended, former, n, TIMESTAMPTZOID);
	return cdp_store_run(&recheck_plan, args, NULL, false, -1) == n;
}

/*
 * Do the round's known nodes belong to the profiles that are locked, and are
 * its identifiers still theirs?  Of a former bearer nothing ends any more.
 */
bool
cdp_graph_recheck(CdpGraph *graph)
{
	CdpIdent **ident = palloc(sizeof(CdpIdent *) * Max(graph->nidents, 1));
	int n = 0;
	bool same;

	for (int i = 0; i < graph->nidents; i++)
		if (graph->idents[i].used && !graph->idents[i].fresh && graph->idents[i].profile_id != 0)
			ident[n++] = &graph->idents[i];
	if (n == 0)
		return true;
	return recheck_rows(ident, n, &same) ? same : recheck_by_statement(ident, n);
}
