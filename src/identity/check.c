/*
 * src/identity/check.c
 *		Are people who they should be?  (see check.h)
 *
 * Everything linked to the people is loaded and resolved by the rules of now,
 * as for a message that makes it necessary (component.c), and the outcome is
 * compared with what is stored instead of being written.  Meant for
 * cdp_store_freeze(): what is read must be of one moment.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "identity/check.h"
#include "identity/component.h"
#include "store.h"

/* What the next message needs to know of a person; see CdpLocked. */
static CdpPlan state_plan = {
	"SELECT s.profile_id, s.contested, s.separated, EXISTS (SELECT FROM cdp_data.node n "
	"  JOIN cdp_data.separation_node x ON x.node_id = n.node_id "
	"  WHERE n.profile_id = s.profile_id), s.linked_ts, s.linked_key "
	"FROM cdp_data.profile_state s WHERE s.profile_id = ANY ($1)",
	1,
	{INT8ARRAYOID},
	NULL};

/* Merged ids whose person has another position now. */
static CdpPlan merged_plan = {
	"SELECT s.profile_id, 'position of merged profile ' || m.old_id, m.ord::text, s.ord::text "
	"FROM unnest($1) p (profile_id) "
	"CROSS JOIN LATERAL (SELECT s.profile_id, s.ord FROM cdp_data.profile_state s "
	"  WHERE s.profile_id = p.profile_id OFFSET 0) s "
	"CROSS JOIN LATERAL (SELECT m.old_id, m.ord FROM cdp_data.profile_merged m "
	"  WHERE m.profile_id = p.profile_id OFFSET 0) m WHERE m.ord <> s.ord",
	1,
	{INT8ARRAYOID},
	NULL};

/* Identifiers that were seen before or after they are said to have been. */
static CdpPlan seen_plan = {
	"SELECT p.profile_id, 'times of ' || i.namespace || ':' || i.value, "
	"  i.first_seen || ' to ' || i.last_seen, "
	"  LEAST(i.first_seen, e.f) || ' to ' || GREATEST(i.last_seen, e.l) "
	"FROM unnest($1) p (profile_id) "
	"CROSS JOIN LATERAL (SELECT n.node_id FROM cdp_data.node n "
	"  WHERE n.profile_id = p.profile_id OFFSET 0) n "
	"CROSS JOIN LATERAL (SELECT i.namespace, i.value, i.first_seen, i.last_seen "
	"  FROM cdp_data.identifier i WHERE i.node_id = n.node_id "
	"  UNION ALL SELECT r.namespace, r.value, r.first_seen, r.last_seen "
	"  FROM cdp_data.identifier_retired r WHERE r.node_id = n.node_id OFFSET 0) i "
	"CROSS JOIN LATERAL (SELECT min(e.ts) AS f, max(e.ts) AS l FROM cdp_data.event e "
	"  WHERE e.node_id = n.node_id OFFSET 0) e "
	"WHERE e.f < i.first_seen OR e.l > i.last_seen",
	1,
	{INT8ARRAYOID},
	NULL};

/* Passes on a difference. */
void
cdp_found(CdpFound *to, int64 profile_id, const char *what, const char *live,
		  const char *recomputed)
{
	to->n++;
	to->found(to->arg, profile_id, what, live, recomputed);
}

/* Passes on the last result: profile_id (null: nobody), what, live, recomputed. */
void
cdp_found_rows(CdpFound *to, int rows)
{
	SPITupleTable *table = SPI_tuptable;

	for (int r = 0; r < rows; r++)
	{
		bool isnull;
		int64 id = DatumGetInt64(cdp_store_value(r, 1, &isnull));

		cdp_found(to, isnull ? 0 : id, cdp_store_text(r, 2), cdp_store_text(r, 3),
				  cdp_store_text(r, 4));
		SPI_tuptable = table;
	}
	SPI_freetuptable(table);
}

static int
compare_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

static int
index_of(const CdpComponent *c, int64 profile_id)
{
	int low = 0;
	int high = c->nprofiles - 1;

	while (low <= high)
	{
		int mid = (low + high) / 2;

		if (c->profiles[mid] == profile_id)
			return mid;
		if (c->profiles[mid] < profile_id)
			low = mid + 1;
		else
			high = mid - 1;
	}
	return -1;
}

/* Names of the nodes that are of a group, or where group < 0, of a profile; sorted. */
static void
append_names(StringInfo text, const CdpComponent *c, int32 group, int64 profile_id)
{
	const char **names = palloc(sizeof(char *) * Max(c->nnodes, 1));
	int n = 0;

	for (int i = 0; i < c->nnodes; i++)
		if (group >= 0 ? c->linkage.group[i] == group : c->nodes[i].profile_id == profile_id)
			names[n++] = psprintf("%s:%s", c->nodes[i].ns, c->nodes[i].value);
	qsort(names, n, sizeof(char *), compare_text);
	for (int i = 0; i < n; i++)
		appendStringInfo(text, "%s%s", i ? ", " : "", names[i]);
}

/* One person who is not what she should be: her identifiers, and those of each of her groups. */
static void
tell_of(const CdpComponent *c, int p, CdpFound *to)
{
	StringInfoData live;
	StringInfoData recomputed;

	initStringInfo(&live);
	initStringInfo(&recomputed);
	append_names(&live, c, -1, c->profiles[p]);
	for (int g = 0; g < c->nnodes; g++)
	{
		bool hers = false;

		if (c->linkage.group[g] != g)
			continue;
		for (int i = 0; i < c->nnodes && !hers; i++)
			hers = c->linkage.group[i] == g && c->nodes[i].profile_id == c->profiles[p];
		if (!hers)
			continue;
		appendStringInfoString(&recomputed, recomputed.len > 0 ? " | " : "");
		append_names(&recomputed, c, g, 0);
	}
	cdp_found(to, c->profiles[p], "identity", live.data, recomputed.data);
}

static char *
name_of_node(const CdpComponent *c, int64 node_id)
{
	for (int i = 0; i < c->nnodes; i++)
		if (c->nodes[i].node_id == node_id)
			return psprintf("%s:%s", c->nodes[i].ns, c->nodes[i].value);
	return pstrdup("?");
}

/*
 * Links that should not be kept, or should be.  Of two reasons to refuse one,
 * the stored one may be that of another day.
 */
static void
check_links(CdpComponent *c, CdpFound *to)
{
	CdpGraph graph = {0};

	cdp_component_states(c, &graph);
	for (int s = 0; s < graph.nstates; s++)
	{
		const CdpEdgeState *state = &graph.states[s];
		const char *refused = NULL;
		int64 owner = 0;

		for (int r = 0; r < c->nrows; r++)
			if (c->rows[r].a == state->a && c->rows[r].b == state->b &&
				strcmp(c->rows[r].nodes, state->nodes) == 0 &&
				strcmp(c->rows[r].rule, state->rule) == 0)
				refused = c->rows[r].refused;
		if (refused && state->refused)
			continue;
		for (int i = 0; i < c->nnodes; i++)
			if (c->nodes[i].node_id == state->a)
				owner = c->nodes[i].profile_id;
		cdp_found(to, owner,
				  psprintf("link of %s and %s", name_of_node(c, state->a),
						   name_of_node(c, state->b)),
				  refused ? refused : "kept", state->refused ? state->refused : "kept");
	}
}

/* Place of a link as text, NULL for none. */
static char *
place_text(const CdpCorePos *pos)
{
	pg_uuid_t uuid;

	if (pos->ts == DT_NOBEGIN)
		return NULL;
	memcpy(uuid.data, pos->key, UUID_LEN);
	return psprintf("%s %s", timestamptz_to_str(pos->ts),
					DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&uuid))));
}

/*
 * What spares a message to resolve people again, of those who are as they
 * should be; first: one of her nodes.  It may say too much (a link that is newer
 * than the newest, a separation that was revoked): then they are resolved again
 * in vain.  It must not say too little.
 */
static void
check_states(CdpComponent *c, const int32 *first, CdpFound *to)
{
	Datum args[1] = {cdp_array_int64(c->profiles, c->nprofiles)};
	int rows = cdp_store_run(&state_plan, args, NULL, true, -1);

	for (int r = 0; r < rows; r++)
	{
		int64 id = cdp_store_int64(r, 1);
		int p = index_of(c, id);
		int32 g = p >= 0 && first[p] >= 0 ? c->linkage.group[first[p]] : -1;
		bool isnull;
		bool contested = DatumGetBool(cdp_store_value(r, 2, &isnull));
		bool separated = DatumGetBool(cdp_store_value(r, 3, &isnull));
		bool touched = DatumGetBool(cdp_store_value(r, 4, &isnull));
		Datum key = cdp_store_value(r, 6, &isnull);
		CdpCorePos newest = {.ts = DT_NOBEGIN};

		if (g < 0)
			continue;
		if (!isnull)
		{
			newest.ts = cdp_store_int64(r, 5);
			memcpy(newest.key, DatumGetUUIDP(key), UUID_LEN);
		}
		if (c->linkage.contested[g] && !contested)
			cdp_found(to, id, "contested", "false", "true");
		if (touched && !separated)
			cdp_found(to, id, "separated", "false", "true");
		if (cdp_core_pos_compare(&newest, &c->linkage.newest[g]) < 0)
			cdp_found(to, id, "newest link", place_text(&newest),
					  place_text(&c->linkage.newest[g]));
	}
	SPI_freetuptable(SPI_tuptable);
}

/* A component, or several at once: everybody in it. */
static void
check_component(CdpComponent *c, HTAB *seen, CdpFound *to)
{
	int32 *first = palloc(sizeof(int32) * Max(c->nprofiles, 1)); /* -1: not as she should be */
	bool *wrong = palloc0(sizeof(bool) * Max(c->nprofiles, 1));
	int32 *owner = palloc(sizeof(int32) * Max(c->nnodes, 1)); /* per group */
	bool found;

	cdp_component_run(c);
	for (int p = 0; p < c->nprofiles; p++)
	{
		first[p] = -1;
		hash_search(seen, &c->profiles[p], HASH_ENTER, &found);
	}
	for (int i = 0; i < c->nnodes; i++)
		owner[i] = -1;
	for (int i = 0; i < c->nnodes; i++)
	{
		int32 g = c->linkage.group[i];
		int p = index_of(c, c->nodes[i].profile_id);

		if (owner[g] < 0)
			owner[g] = p;
		else if (owner[g] != p)
			wrong[p] = wrong[owner[g]] = true;
		if (first[p] < 0)
			first[p] = i;
		else if (c->linkage.group[first[p]] != g)
			wrong[p] = true;
	}
	for (int p = 0; p < c->nprofiles; p++)
		if (wrong[p])
		{
			tell_of(c, p, to);
			first[p] = -1;
		}
	check_links(c, to);
	check_states(c, first, to);
}

/*
 * Compares these people (ascending), and all who are linked to them, with what
 * evidence and rules make of them.  seen (keys int64) has those who were
 * compared already, and gets these.  Components larger than may be resolved at
 * once are judged in the order of arrival, and so are not looked at.
 */
void
cdp_identity_check(const int64 *profiles, int n, HTAB *seen, CdpFound *to)
{
	Datum args[1] = {cdp_array_int64(profiles, n)};
	int64 *ids = palloc(sizeof(int64) * Max(n, 1));
	int nids = 0;
	CdpComponent *c;

	cdp_found_rows(to, cdp_store_run(&merged_plan, args, NULL, true, -1));
	cdp_found_rows(to, cdp_store_run(&seen_plan, args, NULL, true, -1));
	for (int i = 0; i < n; i++)
		if (hash_search(seen, &profiles[i], HASH_FIND, NULL) == NULL)
			ids[nids++] = profiles[i];
	if (nids == 0)
		return;
	c = cdp_component_load(ids, nids);
	if (!c->too_large)
	{
		check_component(c, seen, to);
		return;
	}
	/* together they may be too many */
	for (int i = 0; i < nids && nids > 1; i++)
	{
		if (hash_search(seen, &ids[i], HASH_FIND, NULL))
			continue;
		c = cdp_component_load(&ids[i], 1);
		if (!c->too_large)
			check_component(c, seen, to);
	}
}
