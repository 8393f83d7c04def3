/*
 * src/identity/graph_lock.c
 *		The people that a round holds (see graph.h for the order of locks).
 */
#include "postgres.h"

#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

#include "compat.h"
#include "identity/graph_private.h"
#include "identity/rules.h"
#include "row.h"
#include "store.h"

/* Rounds before a batch gives up; each lost round means somebody else won. */
#define MAX_ROUNDS 1000

/* Rounds after which a call waits at the gate, and its number under the schema. */
#define PATIENT_AFTER 3
#define GATE 1

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

static CdpPlan lock_plan = {
	"SELECT s.profile_id, s.ord, s.linked_ts, s.linked_key, s.contested, s.separated "
	"FROM cdp_data.profile_state s "
	"WHERE s.profile_id = ANY ($1) ORDER BY s.profile_id FOR NO KEY UPDATE",
	1,
	{INT8ARRAYOID},
	NULL};

/* Has people locked besides those of the links. */
void
cdp_graph_add_extra(CdpGraph *graph, const int64 *ids, int n)
{
	int64 *all = palloc(sizeof(int64) * (graph->nextra + n + 1));
	int total = graph->nextra + n;
	int distinct = 0;

	memcpy(all, graph->extra ? graph->extra : ids, sizeof(int64) * graph->nextra);
	memcpy(all + graph->nextra, ids, sizeof(int64) * n);
	qsort(all, total, sizeof(int64), cdp_compare_int64);
	for (int i = 0; i < total; i++)
		if (distinct == 0 || all[distinct - 1] != all[i])
			all[distinct++] = all[i];
	graph->extra = all;
	graph->nextra = distinct;
}

/* Starts anew with those whom the batch names by id, as they are now. */
void
cdp_graph_reset_extra(CdpGraph *graph)
{
	graph->extra = NULL;
	graph->nextra = 0;
	for (int i = 0; i < graph->nabout; i++)
	{
		int64 id = cdp_graph_canonical(graph->about[i], false);

		if (id != 0)
			cdp_graph_add_extra(graph, &id, 1);
	}
}

/* Who bore a value until now is locked, too. */
void
cdp_graph_lock_bearers(CdpGraph *graph, const CdpRound *round)
{
	for (int i = 0; i < round->nfresh; i++)
	{
		const CdpIdent *ident = &graph->idents[round->fresh[i]];

		if (ident->anew && graph->idents[ident->after].profile_id != 0)
			cdp_graph_add_extra(graph, &graph->idents[ident->after].profile_id, 1);
	}
}

/* People to lock: the round's and the extra ones, ascending. */
static int64 *
wanted_profiles(const CdpGraph *graph, const CdpRound *round, int *n)
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

/* Locks these, ascending; *n: how many are there.  False: a statement must do it. */
static bool
lock_rows(CdpGraph *graph, const int64 *wanted, int nwanted, int *n)
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
bool
cdp_graph_lock_round(CdpGraph *graph, CdpRound *round)
{
	int n;
	int nwanted;
	int64 *wanted = wanted_profiles(graph, round, &nwanted);
	Datum args[1];

	graph->nlocked = graph->nwanted = 0;
	if (nwanted == 0)
		return true;
	while (graph->room < nwanted)
	{
		graph->room *= 2;
		graph->locked = repalloc_huge(graph->locked, sizeof(CdpLocked) * graph->room);
	}
	if (!lock_rows(graph, wanted, nwanted, &n))
	{
		args[0] = cdp_array_int64(wanted, nwanted);
		n = cdp_store_run(&lock_plan, args, NULL, false, -1);
		for (int i = 0; i < n && n == nwanted; i++)
		{
			CdpRow row = cdp_graph_result_row(i, 1, 6);

			read_locked(&graph->locked[i], &row);
		}
	}
	if (n != nwanted)
	{
		/* some are nobody any more: look again who is concerned */
		graph->wanted = wanted;
		graph->nwanted = nwanted;
		cdp_graph_reset_extra(graph);
		return false;
	}
	graph->nlocked = nwanted;
	return cdp_graph_recheck(graph);
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
bool
cdp_graph_try_one(CdpGraph *graph, CdpRound *round)
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
	return cdp_graph_recheck(graph);
}

bool
cdp_graph_all_locked(CdpGraph *graph, const CdpComponent *c)
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
	cdp_graph_add_extra(graph, c->profiles, c->nprofiles);
	return false;
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
 * Who was overtaken some times goes through a gate, and so one by one: on a hub
 * that many sessions write, each would else find it changed for ever.  It is
 * taken before the people are locked, and by those alone who hold none of them
 * yet in this call.
 */
void
cdp_graph_be_patient(int rounds)
{
	if (rounds == PATIENT_AFTER)
		LockDatabaseObject(NamespaceRelationId, cdp_store_schema(), GATE, ExclusiveLock);
	if (rounds >= MAX_ROUNDS)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not resolve identifiers: other sessions kept merging the "
						"same people"),
				 errhint("Retry the transaction. If that does not help, rows of people are "
						 "missing: see cdp.verify() and cdp.rebuild().")));
}
