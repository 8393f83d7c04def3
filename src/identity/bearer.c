/*
 * src/identity/bearer.c
 *		One value, several people one after the other.
 *
 * An identifier that was removed, or was not seen for its namespace's time to
 * live, is nobody's any more; who is called so later is somebody else.  Each
 * bearer of a value has a node of its own.  The present one is in
 * cdp_data.identifier, former ones are in identifier_retired.  Which bearer a
 * message means follows from its time:
 *
 *		at or before "born"			the former one whose end is the next
 *		after "ended"				a new one
 *		later than the last mention by more than the time to live	a new one
 *
 * A namespace that is "isolate" holds what is anonymous, such as a device's id.
 * A message that names only such values never leads to a known person: when
 * somebody becomes known by a message, the bearer of the anonymous value joins
 * her and ends there; who is called so afterwards is somebody new.  A message
 * of somebody known leaves the present bearer alone.  Whether somebody is
 * known is decided as the messages arrive.
 *
 * Here the batch's identifiers are split by bearer, before anybody is locked;
 * the round looks again whether it was right when it writes.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

#include "compat.h"
#include "identity/bearer.h"
#include "identity/rules.h"
#include "store.h"

static CdpPlan former_plan = {
	"SELECT r.node_id, n.profile_id FROM cdp_data.identifier_retired r "
	"JOIN cdp_data.node n ON n.node_id = r.node_id "
	"WHERE r.namespace = $1 AND r.key = $2 AND r.ended >= $3 ORDER BY r.ended LIMIT 1",
	3,
	{TEXTOID, UUIDOID, TIMESTAMPTZOID},
	NULL};

static CdpPlan retire_plan = {
	"INSERT INTO cdp_data.identifier_retired (namespace, key, value, node_id, first_seen, "
	"  last_seen, born, ended, uncounted) SELECT i.namespace, i.key, i.value, i.node_id, "
	"  i.first_seen, i.last_seen, i.born, $4, i.uncounted FROM cdp_data.identifier i "
	"WHERE i.namespace = $1 AND i.key = $2 AND i.node_id = $3 "
	"  AND ($5 IS NULL OR i.last_seen = $5 AND coalesce(i.ended, 'infinity') = $6)",
	6,
	{TEXTOID, UUIDOID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID},
	NULL};

static CdpPlan succeed_plan = {
	"UPDATE cdp_data.identifier i SET node_id = $4, first_seen = $5, last_seen = $6, born = $7, "
	"  ended = NULL, uncounted = false WHERE i.namespace = $1 AND i.key = $2 AND i.node_id = $3",
	7,
	{TEXTOID, UUIDOID, INT8OID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID},
	NULL};

static CdpPlan extend_plan = {
	"UPDATE cdp_data.identifier_retired r SET first_seen = LEAST(r.first_seen, $2), "
	"  last_seen = GREATEST(r.last_seen, $3) WHERE r.node_id = $1",
	3,
	{INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID},
	NULL};

static CdpPlan end_plan = {
	"UPDATE cdp_data.identifier i SET ended = GREATEST($2, i.last_seen), uncounted = true "
	"WHERE i.node_id = $1 AND i.ended IS NULL",
	2,
	{INT8OID, TIMESTAMPTZOID},
	NULL};

/* A mention of an identifier by a link. */
typedef struct Use
{
	CdpLink *link;
	int at; /* index in link->idents */
} Use;

static int
compare_uses(const void *a, const void *b)
{
	const CdpLink *x = ((const Use *) a)->link;
	const CdpLink *y = ((const Use *) b)->link;

	if (x->ts != y->ts)
		return x->ts < y->ts ? -1 : 1;
	return memcmp(x->message_key, y->message_key, 16);
}

/* May messages mean different bearers of this value? */
static bool
has_bearers(const CdpIdent *ident)
{
	return ident->born != DT_NOBEGIN || ident->ended != DT_NOEND ||
		   cdp_rules_namespace(ident->ns)->rule.ttl > 0;
}

/* Appends a copy of an identifier; the array may move. */
static int
add_bearer(CdpGraph *graph, int of)
{
	CdpIdent *copy;

	graph->idents = repalloc(graph->idents, sizeof(CdpIdent) * (graph->nidents + 1));
	copy = &graph->idents[graph->nidents];
	*copy = graph->idents[of];
	copy->node_id = copy->profile_id = 0;
	copy->first_seen = DT_NOEND;
	copy->last_seen = DT_NOBEGIN;
	copy->former = copy->anew = false;
	copy->after = -1;
	copy->born = DT_NOBEGIN;
	copy->ended = DT_NOEND;
	return graph->nidents++;
}

static void
mention(CdpGraph *graph, int ident, const Use *use)
{
	CdpIdent *x = &graph->idents[ident];

	use->link->idents[use->at] = ident;
	if (use->link->dead)
		return;
	x->first_seen = Min(x->first_seen, use->link->ts);
	x->last_seen = Max(x->last_seen, use->link->ts);
}

/* Index of the former bearer of a time; the present one's if there is none. */
static int
former_bearer(CdpGraph *graph, int present, TimestampTz ts)
{
	CdpIdent *ident = &graph->idents[present];
	Datum args[3];
	int64 node;
	int64 profile;
	int index;

	args[0] = CStringGetTextDatum(ident->ns);
	args[1] = UUIDPGetDatum((pg_uuid_t *) ident->key);
	args[2] = TimestampTzGetDatum(ts);
	if (cdp_store_run(&former_plan, args, NULL, false, -1) == 0)
		return present;
	node = cdp_store_int64(0, 1);
	profile = cdp_store_int64(0, 2);
	for (int i = graph->nnamed; i < graph->nidents; i++)
		if (graph->idents[i].former && graph->idents[i].node_id == node)
			return i;
	index = add_bearer(graph, present);
	graph->idents[index].former = true;
	graph->idents[index].node_id = node;
	graph->idents[index].profile_id = profile;
	return index;
}

static void
split(CdpGraph *graph, int present, Use *uses, int n)
{
	int current = present;
	int64 ttl = cdp_rules_namespace(graph->idents[present].ns)->rule.ttl;
	TimestampTz born = graph->idents[present].born;
	TimestampTz last = graph->idents[present].stored_last;
	bool stored = graph->idents[present].node_id != 0;

	qsort(uses, n, sizeof(Use), compare_uses);
	graph->idents[present].first_seen = DT_NOEND;
	graph->idents[present].last_seen = DT_NOBEGIN;
	for (int u = 0; u < n; u++)
	{
		TimestampTz ts = uses[u].link->ts;
		CdpIdent *ident = &graph->idents[current];

		if (stored && ts <= born)
		{
			mention(graph, former_bearer(graph, present, ts), &uses[u]);
			continue;
		}
		/* a duplicate makes nobody */
		if (!uses[u].link->dead && (stored || current != present || u > 0) &&
			(ts > ident->ended || (ttl > 0 && last != DT_NOBEGIN && ts - ttl > last)))
		{
			TimestampTz end = ident->ended;
			int next = add_bearer(graph, present);

			/* also of one who was removed after she had expired */
			if (ttl > 0 && last != DT_NOBEGIN)
				end = Min(end, last + ttl);
			graph->idents[current].ended = end;
			graph->idents[next].anew = true;
			graph->idents[next].after = current;
			graph->idents[next].born = end;
			current = next;
			last = DT_NOBEGIN;
		}
		mention(graph, current, &uses[u]);
		if (!uses[u].link->dead)
			last = Max(last, ts);
	}
}

/*
 * Splits the batch's identifiers by bearer.  Called after each look-up, on
 * the identifiers as the messages named them.
 */
void
cdp_bearer_settle(CdpGraph *graph)
{
	int *first;
	Use *uses;
	bool any = false;

	if (graph->by_id)
		return;
	for (int l = 0; l < graph->nlinks; l++)
		if (graph->links[l].named)
		{
			graph->links[l].n = graph->links[l].nnamed;
			memcpy(graph->links[l].idents, graph->links[l].named,
				   sizeof(int) * graph->links[l].n);
		}
	for (int i = 0; i < graph->nidents && !any; i++)
		any = has_bearers(&graph->idents[i]);
	any |= cdp_rules()->isolates;
	if (!any)
		return;
	for (int l = 0; l < graph->nlinks; l++)
	{
		CdpLink *link = &graph->links[l];

		if (link->named == NULL)
		{
			link->named = palloc(sizeof(int) * Max(link->n, 1));
			memcpy(link->named, link->idents, sizeof(int) * link->n);
			link->nnamed = link->n;
		}
	}
	/* uses[first[i] .. first[i + 1]) are those of identifier i: one pass, however many there are */
	first = palloc0(sizeof(int) * (graph->nnamed + 2));
	for (int l = 0; l < graph->nlinks; l++)
		for (int k = 0; k < graph->links[l].n; k++)
			first[graph->links[l].named[k] + 2]++;
	for (int i = 0; i < graph->nnamed; i++)
		first[i + 2] += first[i + 1];
	uses = MemoryContextAllocHuge(CurrentMemoryContext,
								  sizeof(Use) * Max(first[graph->nnamed + 1], 1));
	for (int l = 0; l < graph->nlinks; l++)
		for (int k = 0; k < graph->links[l].n; k++)
			uses[first[graph->links[l].named[k] + 1]++] = (Use){&graph->links[l], k};
	for (int i = 0; i < graph->nnamed; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!has_bearers(&graph->idents[i]) || graph->idents[i].collides)
			continue;
		split(graph, i, uses + first[i], first[i + 1] - first[i]);
	}
	pfree(uses);
	pfree(first);
}

/* Leaves an identifier out of a link. */
static void
leave_out(CdpGraph *graph, CdpLink *link, int at)
{
	const CdpIdent *ident = &graph->idents[link->idents[at]];

	link->left_out = lappend(link->left_out, psprintf("%s:%s", ident->ns, ident->value));
	memmove(link->idents + at, link->idents + at + 1, sizeof(int) * (link->n - at - 1));
	link->n--;
}

/* What the others are compared with is none of those that stay apart. */
static void
put_last(CdpLink *link)
{
	int *apart = palloc(sizeof(int) * link->n);
	int n = 0;
	int m = 0;

	for (int k = 0; k < link->n; k++)
		if (link->isolated[k])
			apart[m++] = link->idents[k];
		else
			link->idents[n++] = link->idents[k];
	memcpy(link->idents + n, apart, sizeof(int) * m);
	for (int k = 0; k < link->n; k++)
		link->isolated[k] = k >= n;
}

/*
 * Keeps what is anonymous apart from who is known.  With such namespaces a
 * batch has one link (see cdp_ingest_batch()).
 */
void
cdp_bearer_isolate(CdpGraph *graph)
{
	/* of all, for a link that is no message ends nobody */
	for (int i = 0; i < graph->nidents; i++)
		graph->idents[i].ends = DT_NOEND;
	for (int l = 0; l < graph->nlinks; l++)
	{
		CdpLink *link = &graph->links[l];
		bool known = false;
		bool named = false;

		link->isolated = NULL;
		link->left_out = NIL;
		if (link->dead || strcmp(link->rule, "message") != 0)
			continue;
		for (int k = 0; k < link->n; k++)
		{
			CdpIdent *ident = &graph->idents[link->idents[k]];

			if (cdp_rules_namespace(ident->ns)->isolate)
				continue;
			named = true;
			known |= ident->node_id != 0;
		}
		for (int k = link->n - 1; named && k >= 0; k--)
		{
			CdpIdent *ident = &graph->idents[link->idents[k]];

			if (!cdp_rules_namespace(ident->ns)->isolate)
				continue;
			if (!known)
				ident->ends = link->ts;
			else if (ident->node_id == 0 && !link->keeps_all)
				leave_out(graph, link, k);
			else
			{
				if (link->isolated == NULL)
					link->isolated = palloc0(sizeof(bool) * link->n);
				link->isolated[k] = true;
			}
		}
		if (link->isolated)
			put_last(link);
	}
}

/* Ends the anonymous bearers that became known. */
void
cdp_bearer_end(CdpGraph *graph)
{
	for (int i = 0; i < graph->nidents; i++)
	{
		CdpIdent *ident = &graph->idents[i];
		Datum args[2];

		if (!ident->used || ident->former || ident->ends == DT_NOEND)
			continue;
		args[0] = Int64GetDatum(ident->node_id);
		args[1] = TimestampTzGetDatum(ident->ends);
		cdp_store_run(&end_plan, args, NULL, false, -1);
	}
}

/*
 * Writes a new bearer of a value that had one; false if the one before is not
 * as it was found.  Its node_id is set, and whoever has the value is locked.
 * An intermediate bearer of the same batch is the present one until the next
 * is written.
 */
bool
cdp_bearer_insert(CdpGraph *graph, int index)
{
	const CdpIdent *ident = &graph->idents[index];
	CdpIdent *before = &graph->idents[ident->after];
	char nulls[7] = "      ";
	Datum args[7];

	args[0] = CStringGetTextDatum(ident->ns);
	args[1] = UUIDPGetDatum((pg_uuid_t *) ident->key);
	args[2] = Int64GetDatum(before->node_id);
	args[3] = TimestampTzGetDatum(ident->born);
	args[4] = TimestampTzGetDatum(before->stored_last);
	args[5] = TimestampTzGetDatum(before->stored_ended);
	if (before->fresh)
		nulls[4] = 'n';
	if (cdp_store_run(&retire_plan, args, nulls, false, -1) != 1)
		return false;
	/* what the batch mentions of the one before is noted there */
	before->former = true;
	args[3] = Int64GetDatum(ident->node_id);
	args[4] = TimestampTzGetDatum(ident->first_seen);
	args[5] = TimestampTzGetDatum(ident->last_seen);
	args[6] = TimestampTzGetDatum(ident->born);
	return cdp_store_run(&succeed_plan, args, NULL, false, -1) == 1;
}

/* Records mentions of a former bearer. */
void
cdp_bearer_extend(const CdpIdent *ident)
{
	Datum args[3];

	args[0] = Int64GetDatum(ident->node_id);
	args[1] = TimestampTzGetDatum(ident->first_seen);
	args[2] = TimestampTzGetDatum(ident->last_seen);
	cdp_store_run(&extend_plan, args, NULL, false, -1);
}
