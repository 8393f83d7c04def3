/*
 * src/identity/graph.c
 *		Identifiers to nodes to profiles (see graph.h for the protocol).
 *
 * Everything is set-based: a batch of a thousand messages costs as many
 * statements as a batch of one.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/uuid.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "compat.h"
#include "core/unionfind.h"
#include "identity/graph.h"
#include "store.h"

/* Version of the key's recipe, part of what is hashed. */
#define KEY_VERSION 1

/* Rounds before a batch gives up; each lost round means somebody else won. */
#define MAX_ROUNDS 1000

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
	"SELECT u.i, i.value, i.node_id, n.profile_id "
	"FROM unnest($1, $2) WITH ORDINALITY u (ns, key, i) "
	"JOIN cdp_data.identifier i ON i.namespace = ANY (ARRAY[u.ns]) AND i.key = ANY (ARRAY[u.key]) "
	"JOIN cdp_data.node n ON n.node_id = ANY (ARRAY[i.node_id])",
	2,
	{TEXTARRAYOID, UUIDARRAYOID},
	NULL};

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

static CdpPlan node_plan = {
	"INSERT INTO cdp_data.node (node_id, profile_id) SELECT * FROM unnest($1, $2)",
	2,
	{INT8ARRAYOID, INT8ARRAYOID},
	NULL};

static CdpPlan lock_plan = {
	"SELECT s.profile_id, s.ord FROM cdp_data.profile_state s "
	"WHERE s.profile_id = ANY ($1) ORDER BY s.profile_id FOR NO KEY UPDATE",
	1,
	{INT8ARRAYOID},
	NULL};

static CdpPlan recheck_plan = {
	"SELECT 1 FROM unnest($1, $2) u (node_id, profile_id) "
	"JOIN cdp_data.node n ON n.node_id = ANY (ARRAY[u.node_id]) AND n.profile_id = u.profile_id",
	2,
	{INT8ARRAYOID, INT8ARRAYOID},
	NULL};

static CdpPlan merge_plan = {
	"INSERT INTO cdp_data.identity_merge (merge_id, winner, loser, loser_ord, moved_nodes, "
	"at, source, message_id) "
	"SELECT nextval('cdp_data.merge_id_seq'), u.winner, u.loser, u.ord, "
	"  ARRAY(SELECT n.node_id FROM cdp_data.node n WHERE n.profile_id = u.loser ORDER BY 1), "
	"  $6, u.source, u.message_id "
	"FROM unnest($1, $2, $3, $4, $5) u (winner, loser, ord, source, message_id) "
	"RETURNING loser, merge_id",
	6,
	{INT8ARRAYOID, INT8ARRAYOID, INT4ARRAYOID, TEXTARRAYOID, TEXTARRAYOID,
	 TIMESTAMPTZOID},
	NULL};

static CdpPlan relabel_plan = {
	"UPDATE cdp_data.node n SET profile_id = u.winner "
	"FROM unnest($1, $2) u (winner, loser) WHERE n.profile_id = ANY (ARRAY[u.loser])",
	2,
	{INT8ARRAYOID, INT8ARRAYOID},
	NULL};

static CdpPlan flatten_plan = {
	"UPDATE cdp_data.profile_merged m SET profile_id = u.winner, ord = s.ord "
	"FROM unnest($1, $2) u (winner, loser) "
	"JOIN cdp_data.profile_state s ON s.profile_id = ANY (ARRAY[u.winner]) "
	"WHERE m.profile_id = ANY (ARRAY[u.loser])",
	2,
	{INT8ARRAYOID, INT8ARRAYOID},
	NULL};

static CdpPlan merged_plan = {
	"INSERT INTO cdp_data.profile_merged (old_id, old_ord, profile_id, ord, merge_id) "
	"SELECT u.loser, u.loser_ord, u.winner, s.ord, u.merge_id "
	"FROM unnest($1, $2, $3, $4) u (winner, loser, loser_ord, merge_id) "
	"JOIN cdp_data.profile_state s ON s.profile_id = ANY (ARRAY[u.winner])",
	4,
	{INT8ARRAYOID, INT8ARRAYOID, INT4ARRAYOID, INT8ARRAYOID},
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

/*
 * The earliest message is the evidence, whatever arrives first.  The test
 * before the insert spares the row lock that ON CONFLICT takes even when it
 * changes nothing; it is safe under the lock of the profile.
 */
static CdpPlan edge_plan = {
	"INSERT INTO cdp_data.identity_edge AS e (a, b, ts, message_key, source, message_id) "
	"SELECT u.a, u.b, u.ts, u.key, u.source, u.message_id "
	"FROM unnest($1, $2, $3, $4, $5, $6) u (a, b, ts, key, source, message_id) "
	"WHERE NOT EXISTS (SELECT FROM cdp_data.identity_edge o WHERE o.a = u.a AND o.b = u.b "
	"  AND (o.ts < u.ts OR (o.ts = u.ts AND o.message_key <= u.key))) "
	"ON CONFLICT (a, b) DO UPDATE SET ts = excluded.ts, message_key = excluded.message_key, "
	"  source = excluded.source, message_id = excluded.message_id",
	6,
	{INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZARRAYOID, UUIDARRAYOID,
	 TEXTARRAYOID, TEXTARRAYOID},
	NULL};

static CdpPlan canonical_plan = {
	"SELECT s.profile_id FROM cdp_data.profile_state s WHERE s.profile_id = $1 "
	"UNION ALL SELECT m.profile_id FROM cdp_data.profile_merged m WHERE m.old_id = $1",
	1,
	{INT8OID},
	NULL};

/*
 * Looks up every identifier: sets node_id and profile_id of those that are
 * known, collides where the key belongs to another value.  read_only: under
 * the snapshot of the calling query instead of a new one.
 */
void
cdp_graph_find(CdpGraph *graph, bool read_only)
{
	int n = graph->nidents;
	const char **ns = palloc(sizeof(char *) * Max(n, 1));
	uint8(*key)[16] = palloc(16 * Max(n, 1));
	Datum args[2];
	int found;

	for (int i = 0; i < n; i++)
	{
		CdpIdent *ident = &graph->idents[i];

		ns[i] = ident->ns;
		memcpy(key[i], ident->key, 16);
		ident->node_id = ident->profile_id = 0;
		ident->fresh = false;
	}
	args[0] = cdp_array_text(ns, n);
	args[1] = cdp_array_uuid((const uint8(*)[16]) key, n);
	found = cdp_store_run(&find_plan, args, NULL, read_only, -1);
	for (int r = 0; r < found; r++)
	{
		CdpIdent *ident = &graph->idents[cdp_store_int64(r, 1) - 1];

		if (strcmp(cdp_store_text(r, 2), ident->value) != 0)
		{
			ident->collides = true;
			continue;
		}
		ident->node_id = cdp_store_int64(r, 3);
		ident->profile_id = cdp_store_int64(r, 4);
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
	int ngroups_created;
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
	for (int l = 0; l < graph->nlinks; l++)
	{
		CdpLink *link = &graph->links[l];

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
	round->simple = round->nfresh == 0;

	total = n + round->nprofiles;
	round->parent = palloc(sizeof(int32) * Max(total, 1));
	round->best = palloc(sizeof(int) * Max(total, 1));
	round->cause = palloc(sizeof(int) * Max(round->nprofiles, 1));
	cdp_core_uf_init(round->parent, total);
	for (int i = 0; i < total; i++)
		round->best[i] = i < n ? -1 : i - n;
	for (int i = 0; i < round->nprofiles; i++)
		round->cause[i] = -1;
	for (int i = 0; i < n; i++)
		if (graph->idents[i].used && graph->idents[i].node_id != 0)
			join(round, i, n + position_of(ids, round->nprofiles, graph->idents[i].profile_id), -1);
	for (int l = 0; l < graph->nlinks; l++)
	{
		CdpLink *link = &graph->links[l];

		for (int i = 1; !link->dead && i < link->n; i++)
			join(round, link->idents[0], link->idents[i], l);
	}
}

/*
 * Locks the round's profiles in ascending order and looks whether its nodes
 * still belong to them.  False: somebody merged in between.
 */
static bool
lock_round(CdpGraph *graph, Round *round)
{
	int n = 0;
	int64 *nodes = palloc(sizeof(int64) * Max(graph->nidents, 1));
	int64 *owners = palloc(sizeof(int64) * Max(graph->nidents, 1));
	Datum args[2];

	if (round->nprofiles == 0)
	{
		graph->nlocked = 0;
		return true;
	}
	args[0] = cdp_array_int64(round->profiles, round->nprofiles);
	if (cdp_store_run(&lock_plan, args, NULL, false, -1) != round->nprofiles)
		return false;
	graph->nlocked = round->nprofiles;
	for (int i = 0; i < round->nprofiles; i++)
	{
		CdpLocked *locked = &graph->locked[i];

		memset(locked, 0, sizeof(*locked));
		locked->profile_id = cdp_store_int64(i, 1);
		locked->ord = (int32) cdp_store_int64(i, 2);
	}
	for (int i = 0; i < graph->nidents; i++)
	{
		if (!graph->idents[i].used || graph->idents[i].fresh ||
			graph->idents[i].profile_id == 0)
			continue;
		nodes[n] = graph->idents[i].node_id;
		owners[n++] = graph->idents[i].profile_id;
	}
	args[0] = cdp_array_int64(nodes, n);
	args[1] = cdp_array_int64(owners, n);
	return cdp_store_run(&recheck_plan, args, NULL, false, -1) == n;
}

/* Inserts the round's new identifiers; false if another session was first. */
static bool
insert_identifiers(CdpGraph *graph, Round *round)
{
	int n = round->nfresh;
	const char **ns = palloc(sizeof(char *) * n);
	const char **value = palloc(sizeof(char *) * n);
	uint8(*key)[16] = palloc(16 * n);
	int64 *node = palloc(sizeof(int64) * n);
	TimestampTz *first = palloc(sizeof(TimestampTz) * n);
	TimestampTz *last = palloc(sizeof(TimestampTz) * n);
	Oid sequence = cdp_store_relation("node_id_seq");
	Datum args[6];

	for (int i = 0; i < n; i++)
	{
		CdpIdent *ident = &graph->idents[round->fresh[i]];

		ident->node_id = nextval_internal(sequence, false);
		ident->fresh = true;
		ns[i] = ident->ns;
		value[i] = ident->value;
		memcpy(key[i], ident->key, 16);
		node[i] = ident->node_id;
		first[i] = ident->first_seen;
		last[i] = ident->last_seen;
	}
	args[0] = cdp_array_text(ns, n);
	args[1] = cdp_array_uuid((const uint8(*)[16]) key, n);
	args[2] = cdp_array_text(value, n);
	args[3] = cdp_array_int64(node, n);
	args[4] = cdp_array_timestamptz(first, n);
	args[5] = cdp_array_timestamptz(last, n);
	return cdp_store_run(&insert_plan, args, NULL, false, -1) == n;
}

/* Gives each component its profile: the oldest, or a new one. */
static void
assign_profiles(CdpGraph *graph, Round *round)
{
	int n = graph->nidents;
	int64 *chosen = palloc0(sizeof(int64) * Max(n + round->nprofiles, 1));
	int64 *node = palloc(sizeof(int64) * Max(round->nfresh, 1));
	int64 *owner = palloc(sizeof(int64) * Max(round->nfresh, 1));
	Oid sequence = cdp_store_relation("profile_id_seq");

	for (int i = 0; i < round->nfresh; i++)
	{
		CdpIdent *ident = &graph->idents[round->fresh[i]];
		int root = cdp_core_uf_find(round->parent, round->fresh[i]);

		if (chosen[root] == 0)
		{
			if (round->best[root] >= 0)
				chosen[root] = round->profiles[round->best[root]];
			else
			{
				CdpLocked *locked = &graph->locked[graph->nlocked++];

				/* a new id is above every id we hold: the array stays sorted */
				chosen[root] = nextval_internal(sequence, false);
				memset(locked, 0, sizeof(*locked));
				locked->profile_id = chosen[root];
				locked->created = true;
			}
			cdp_graph_locked(graph, chosen[root])->reshaped = true;
		}
		node[i] = ident->node_id;
		owner[i] = chosen[root];
	}
	if (round->nfresh > 0)
	{
		Datum args[2];

		args[0] = cdp_array_int64(node, round->nfresh);
		args[1] = cdp_array_int64(owner, round->nfresh);
		cdp_store_run(&node_plan, args, NULL, false, round->nfresh);
	}
	for (int i = 0; i < n; i++)
	{
		int root = cdp_core_uf_find(round->parent, i);

		if (!graph->idents[i].used)
			continue;
		graph->idents[i].profile_id = round->best[root] >= 0 ?
										  round->profiles[round->best[root]] :
										  chosen[root];
	}
}

/* Moves the losers' nodes to their winners and records why. */
static void
merge_profiles(CdpGraph *graph, Round *round)
{
	int n = graph->nidents;
	int m = 0;
	int kept = 0;
	int64 *winner = palloc(sizeof(int64) * round->nprofiles);
	int64 *loser = palloc(sizeof(int64) * round->nprofiles);
	int64 *merge_id = palloc(sizeof(int64) * round->nprofiles);
	int32 *ord = palloc(sizeof(int32) * round->nprofiles);
	const char **source = palloc(sizeof(char *) * round->nprofiles);
	const char **message = palloc(sizeof(char *) * round->nprofiles);
	Datum args[6];

	for (int i = 0; i < round->nprofiles; i++)
	{
		int root = cdp_core_uf_find(round->parent, n + i);

		if (round->cause[i] < 0)
			continue;
		winner[m] = round->profiles[round->best[root]];
		loser[m] = round->profiles[i];
		ord[m] = cdp_graph_locked(graph, loser[m])->ord;
		source[m] = graph->links[round->cause[i]].source;
		message[m] = graph->links[round->cause[i]].message_id;
		cdp_graph_locked(graph, winner[m])->reshaped = true;
		m++;
	}
	graph->nmerges = m;
	if (m == 0)
		return;
	args[0] = cdp_array_int64(winner, m);
	args[1] = cdp_array_int64(loser, m);
	args[2] = cdp_array_int32(ord, m);
	args[3] = cdp_array_text(source, m);
	args[4] = cdp_array_text(message, m);
	args[5] = TimestampTzGetDatum(cdp_now());
	cdp_store_run(&merge_plan, args, NULL, false, m);
	for (int r = 0; r < m; r++)
	{
		int i = position_of(loser, m, cdp_store_int64(r, 1));

		merge_id[i] = cdp_store_int64(r, 2);
	}
	cdp_store_run(&relabel_plan, args, NULL, false, -1);
	cdp_store_run(&flatten_plan, args, NULL, false, -1);
	args[2] = cdp_array_int32(ord, m);
	args[3] = cdp_array_int64(merge_id, m);
	cdp_store_run(&merged_plan, args, NULL, false, m);

	for (int i = 0; i < m; i++)
	{
		graph->merges[i].winner = winner[i];
		graph->merges[i].loser = loser[i];
		graph->merges[i].loser_ord = ord[i];
		graph->merges[i].merge_id = merge_id[i];
	}
	for (int i = 0; i < graph->nlocked; i++)
	{
		int64 id = graph->locked[i].profile_id;

		if (bsearch(&id, loser, m, sizeof(int64), compare_int64) == NULL)
			graph->locked[kept++] = graph->locked[i];
	}
	graph->nlocked = kept;
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

/*
 * One round in a subtransaction; false when it was rolled back because
 * another session created or merged in between.
 */
static bool
try_round(CdpGraph *graph, Round *round)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	bool done;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	done = round->nfresh == 0 || insert_identifiers(graph, round);
	done = done && lock_round(graph, round);
	if (done)
	{
		assign_profiles(graph, round);
		ReleaseCurrentSubTransaction();
	}
	else
		RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return done;
}

/*
 * Makes every link one person: creates nodes, locks profiles.  On return each
 * identifier of a living link has node_id and profile_id, and the profiles
 * (graph->locked) are ours until the transaction ends.  The caller creates
 * the rows of created profiles, then calls cdp_graph_record(); merges are
 * carried out here, the persons' data is the caller's to join.
 *
 * Call cdp_graph_find() first.
 */
void
cdp_graph_resolve(CdpGraph *graph)
{
	graph->locked = palloc0(sizeof(CdpLocked) * Max(graph->nidents, 1) * 2);
	graph->merges = palloc0(sizeof(CdpMerge) * Max(graph->nidents, 1));
	graph->nlocked = graph->nmerges = 0;

	for (int rounds = 0;; rounds++)
	{
		Round round;
		bool done;

		CHECK_FOR_INTERRUPTS();
		if (rounds > 0)
			cdp_graph_find(graph, false);
		if (rounds >= MAX_ROUNDS)
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("could not resolve identifiers: other sessions kept merging the "
							"same people"),
					 errhint("Retry the transaction.")));
		plan_round(graph, &round);

		/*
		 * One known person: a single lock cannot be held in the wrong order,
		 * so there is nothing a subtransaction would have to undo.
		 */
		if (round.simple && round.nprofiles == 1)
			done = lock_round(graph, &round);
		else
			done = try_round(graph, &round);
		if (!done)
			continue;
		if (!round.simple)
			merge_profiles(graph, &round);
		return;
	}
}

static int
compare_edges(const void *a, const void *b)
{
	return memcmp(a, b, 16);
}

/*
 * Records when identifiers were seen and, for messages with several, the
 * edges between them.  The profiles are locked.
 */
void
cdp_graph_record(CdpGraph *graph)
{
	typedef struct
	{
		int64 a,
			b;
		int link;
	} Edge;
	int n = 0;
	int nedges = 0;
	int capacity = 0;
	const char **ns = palloc(sizeof(char *) * Max(graph->nidents, 1));
	uint8(*key)[16] = palloc(16 * Max(graph->nidents, 1));
	TimestampTz *first = palloc(sizeof(TimestampTz) * Max(graph->nidents, 1));
	TimestampTz *last = palloc(sizeof(TimestampTz) * Max(graph->nidents, 1));
	Edge *edges;
	Datum args[6];

	for (int i = 0; i < graph->nidents; i++)
	{
		CdpIdent *ident = &graph->idents[i];

		if (!ident->used || ident->fresh)
			continue;
		ns[n] = ident->ns;
		memcpy(key[n], ident->key, 16);
		first[n] = ident->first_seen;
		last[n++] = ident->last_seen;
	}
	if (n > 0)
	{
		args[0] = cdp_array_text(ns, n);
		args[1] = cdp_array_uuid((const uint8(*)[16]) key, n);
		args[2] = cdp_array_timestamptz(first, n);
		args[3] = cdp_array_timestamptz(last, n);
		cdp_store_run(&seen_plan, args, NULL, false, -1);
	}

	for (int l = 0; l < graph->nlinks; l++)
		if (!graph->links[l].dead)
			capacity += Max(graph->links[l].n - 1, 0);
	if (capacity == 0)
		return;
	edges = palloc0(sizeof(Edge) * capacity);
	for (int l = 0; l < graph->nlinks; l++)
	{
		CdpLink *link = &graph->links[l];

		for (int i = 1; !link->dead && i < link->n; i++)
		{
			int64 x = graph->idents[link->idents[0]].node_id;
			int64 y = graph->idents[link->idents[i]].node_id;

			if (x == y)
				continue;
			edges[nedges].a = Min(x, y);
			edges[nedges].b = Max(x, y);
			edges[nedges++].link = l;
		}
	}
	qsort(edges, nedges, sizeof(Edge), compare_edges);

	/* of several messages for one edge the earliest counts */
	n = 0;
	for (int i = 0; i < nedges; i++)
	{
		CdpLink *mine = &graph->links[edges[i].link];

		if (n > 0 && edges[n - 1].a == edges[i].a && edges[n - 1].b == edges[i].b)
		{
			CdpLink *other = &graph->links[edges[n - 1].link];

			if (mine->ts < other->ts ||
				(mine->ts == other->ts &&
				 memcmp(mine->message_key, other->message_key, 16) < 0))
				edges[n - 1].link = edges[i].link;
		}
		else
			edges[n++] = edges[i];
	}
	nedges = n;
	if (nedges > 0)
	{
		int64 *a = palloc(sizeof(int64) * nedges);
		int64 *b = palloc(sizeof(int64) * nedges);
		TimestampTz *ts = palloc(sizeof(TimestampTz) * nedges);
		uint8(*mkey)[16] = palloc(16 * nedges);
		const char **source = palloc(sizeof(char *) * nedges);
		const char **message = palloc(sizeof(char *) * nedges);

		for (int i = 0; i < nedges; i++)
		{
			CdpLink *link = &graph->links[edges[i].link];

			a[i] = edges[i].a;
			b[i] = edges[i].b;
			ts[i] = link->ts;
			memcpy(mkey[i], link->message_key, 16);
			source[i] = link->source;
			message[i] = link->message_id;
		}
		args[0] = cdp_array_int64(a, nedges);
		args[1] = cdp_array_int64(b, nedges);
		args[2] = cdp_array_timestamptz(ts, nedges);
		args[3] = cdp_array_uuid((const uint8(*)[16]) mkey, nedges);
		args[4] = cdp_array_text(source, nedges);
		args[5] = cdp_array_text(message, nedges);
		cdp_store_run(&edge_plan, args, NULL, false, -1);
	}
}
