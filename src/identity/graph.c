/*
 * src/identity/graph.c
 *		Identifiers to nodes to profiles (see graph.h for the protocol): rounds.
 *
 * A round looks up (graph_lookup.c), locks (graph_lock.c) and decides
 * (graph_decide.c); here is what it makes of that.  Everything is set-based: a
 * batch of a thousand messages costs as many statements as a batch of one.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

#include "compat.h"
#include "core/unionfind.h"
#include "identity/bearer.h"
#include "identity/graph_private.h"
#include "identity/rules.h"

static CdpRowOp insert_row = {
	.table = "identifier",
	.columns = {"namespace", "key", "value", "node_id", "first_seen", "last_seen", "uncounted"},
	.ignore = true,
	.unlikely = true,
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

/* Joins a and b; of two profiles the younger loses, by this link. */
static void
join(CdpRound *round, int a, int b, int link)
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

/* Joins what the links' verdicts say, from the beginning. */
void
cdp_graph_unite(CdpGraph *graph, CdpRound *round)
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
				 n + cdp_graph_position(round->profiles, round->nprofiles,
										graph->idents[i].profile_id),
				 -1);
	for (int l = 0; l < graph->nlinks; l++)
	{
		CdpLink *link = &graph->links[l];

		if (link->dead || link->replayed)
			continue;
		for (int i = 1; i < link->n; i++)
			if (cdp_link_joins(link, i))
				join(round, link->idents[0], link->idents[i], l);
	}
}

static void
plan_round(CdpGraph *graph, CdpRound *round)
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
	qsort(ids, round->nprofiles, sizeof(int64), cdp_compare_int64);
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
	cdp_graph_unite(graph, round);
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
insert_identifiers(CdpGraph *graph, CdpRound *round)
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
 * identifier holds the lock of the person who bears it: see cdp_graph_lock_bearers().
 */
static bool
insert_bearers(CdpGraph *graph, CdpRound *round)
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

/* Gives each component its profile: the oldest, or a new one. */
static void
assign_profiles(CdpGraph *graph, CdpRound *round)
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
				 (i > 0 && cdp_link_joins(link, i))) &&
				cdp_core_pos_compare(&pos, &locked->newest) > 0)
				locked->newest = pos;
		}
	}
}

/* Lists the merges of whole people that the round decided. */
static void
list_merges(CdpGraph *graph, CdpRound *round)
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
	cdp_graph_reset_extra(graph);
	reset(graph);
}

/* A round's part that needs locks. */
typedef struct Attempt
{
	CdpGraph *graph;
	CdpRound *round;
} Attempt;

static bool
resolve_round(void *arg)
{
	CdpGraph *graph = ((Attempt *) arg)->graph;
	CdpRound *round = ((Attempt *) arg)->round;

	if (round->nfresh > 0 && !insert_identifiers(graph, round))
		return false;
	if (!cdp_graph_lock_round(graph, round) || !insert_bearers(graph, round))
		return false;
	if (graph->witness && !graph->witness(graph, graph->witness_arg))
		return false;
	if (!cdp_graph_decide(graph, round))
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
		CdpRound round;
		Attempt attempt = {graph, &round};

		CHECK_FOR_INTERRUPTS();
		cdp_graph_be_patient(rounds);
		if (rounds > 0)
			cdp_graph_find(graph, false);
		cdp_bearer_settle(graph);
		if (cdp_rules()->isolates)
			cdp_bearer_isolate(graph);
		reset(graph);
		plan_round(graph, &round);
		cdp_graph_lock_bearers(graph, &round);

		/*
		 * One known person whom nobody holds: there is nothing that a
		 * subtransaction would have to undo.  Who waits needs one, to let go of
		 * her if she is the wrong one by then.
		 */
		if (round.simple && round.nprofiles == 1 && cdp_graph_try_one(graph, &round))
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
plan_again(CdpRound *round, const int64 *profiles, int n)
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
	qsort(round->profiles, round->nprofiles, sizeof(int64), cdp_compare_int64);
	for (int i = 0; i < round->nprofiles; i++)
		if (distinct == 0 || round->profiles[distinct - 1] != round->profiles[i])
			round->profiles[distinct++] = round->profiles[i];
	round->nprofiles = distinct;
}

static bool
reresolve_round(void *arg)
{
	CdpGraph *graph = ((Attempt *) arg)->graph;
	CdpRound *round = ((Attempt *) arg)->round;
	CdpComponent *c;

	if (!cdp_graph_lock_round(graph, round))
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
	if (!cdp_graph_all_locked(graph, c))
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
		CdpRound round;
		Attempt attempt = {graph, &round};

		CHECK_FOR_INTERRUPTS();
		cdp_graph_be_patient(rounds);
		reset(graph);
		plan_again(&round, profiles, n);
		if (!cdp_store_attempt(reresolve_round, &attempt))
		{
			if (graph->absent && graph->nwanted > 0)
				graph->absent(graph->wanted, graph->nwanted, graph->witness_arg);
			continue;
		}
		cdp_graph_write(graph);
		return;
	}
}
