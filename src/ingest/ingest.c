/*
 * src/ingest/ingest.c
 *		The one way in: a batch of messages, one or many.
 *
 * A single event is a batch of one; there is no second path whose result
 * could differ.  The stages, each a few set-based statements:
 *
 *	lock		the table of states, against redefinition meanwhile
 *	plan		what the tracking plan asks (ingest/plan.h)
 *	partitions	that the events' times need
 *	dedupe		a row in message_seen before anything else; who does not get
 *				to insert it has a duplicate
 *	resolve		identifiers to locked profiles (identity/graph.h)
 *	join		people whom a message showed to be one
 *	event		append
 *	fold		metrics, traits, counts
 *	consent		records, and what they and the merges change
 *	segments	evaluated for the people who changed; entries to the outbox
 *	refuse		what was rejected, with the reason
 *
 * Locks are taken in this order, each stage's in ascending key order, so two
 * calls never wait for each other in a circle.
 *
 * L1: the outcome is a function of the set of messages.  Identity is the
 * components of a graph; traits are folds by (event time, message key);
 * counts and first and last times commute.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

#include "activation/activation.h"
#include "cdp.h"
#include "compat.h"
#include "consent/consent.h"
#include "identity/rules.h"
#include "ingest/batch.h"
#include "ingest/config.h"
#include "ingest/plan.h"
#include "ingest/refusal.h"
#include "ingest/retention.h"
#include "profile/metric.h"
#include "profile/profile.h"
#include "profile/sequence.h"
#include "profile/session.h"
#include "row.h"
#include "segment/chunk.h"
#include "segment/segment.h"
#include "store.h"

static CdpRowOp event_row = {
	.table = "event",
	.columns = {"ts", "node_id", "message_key", "received_at", "type", "name", "source",
				"message_id", "properties", "traits", "context", "extra", "other_nodes", "blocked"},
};

static CdpPlan ended_plan = {
	"SELECT n.node_id FROM cdp_data.node n LEFT JOIN cdp_data.identifier i "
	"  ON i.node_id = n.node_id AND i.ended IS NULL "
	"WHERE n.profile_id = $1 AND i.node_id IS NULL",
	1,
	{INT8OID},
	NULL};

static void
ensure_partitions(CdpBatch *batch)
{
	/* what is there now is not dropped before the events are in it */
	LockRelationOid(cdp_store_relation("event"), RowExclusiveLock);
	for (int i = 0; i < batch->n; i++)
	{
		CdpMessage *m = &batch->messages[i];

		if (m->status != CDP_ACCEPTED || !cdp_message_is_event(m) || cdp_partition_exists(m->ts))
			continue;
		cdp_partition_ensure(m->ts, m->ts);
		if (!cdp_partition_exists(m->ts))
			cdp_message_reject(m, "archived", "the partition of this time was detached");
	}
}

/* Where an event goes. */
typedef struct Place
{
	Oid part;
	int message;
} Place;

static int
compare_places(const void *a, const void *b)
{
	const Place *x = a;
	const Place *y = b;

	if (x->part != y->part)
		return x->part < y->part ? -1 : 1;
	return x->message - y->message;
}

static void
set_or_null(CdpRow *row, int at, Datum value, bool there)
{
	row->values[at] = value;
	row->nulls[at] = !there;
}

/* An event's row, in the order of event_row. */
static void
fill_event(const CdpBatch *batch, const CdpMessage *m, Datum source, CdpRow *row)
{
	const CdpLink *link = &batch->graph.links[m->link];
	List *left_out = list_concat_copy(m->blocked, link->left_out);
	const Jsonb *parts[4] = {m->properties, m->traits, m->context, m->extra};
	int64 *others = palloc(sizeof(int64) * link->n);

	for (int k = 1; k < link->n; k++)
		others[k - 1] = batch->graph.idents[link->idents[k]].node_id;
	memset(row, 0, sizeof(*row));
	row->values[0] = TimestampTzGetDatum(m->ts);
	row->values[1] = Int64GetDatum(batch->graph.idents[link->idents[0]].node_id);
	row->values[2] = UUIDPGetDatum((pg_uuid_t *) m->key);
	row->values[3] = TimestampTzGetDatum(m->received_at);
	row->values[4] = CStringGetTextDatum(m->type);
	set_or_null(row, 5, m->name ? CStringGetTextDatum(m->name) : (Datum) 0, m->name != NULL);
	row->values[6] = source;
	row->values[7] = CStringGetTextDatum(m->message_id);
	for (int d = 0; d < 4; d++)
		set_or_null(row, 8 + d, JsonbPGetDatum(parts[d]), parts[d] != NULL);
	set_or_null(row, 12, link->n > 1 ? cdp_array_int64(others, link->n - 1) : (Datum) 0,
				link->n > 1);
	set_or_null(row, 13,
				left_out ? cdp_array_parse(cdp_text_list(left_out), TEXTARRAYOID) : (Datum) 0,
				left_out != NIL);
}

static void
insert_events(CdpBatch *batch)
{
	int n = 0;
	int room = Max(batch->n, 1);
	Place *places = palloc(sizeof(Place) * room);
	Datum source = CStringGetTextDatum(batch->messages[0].source);
	CdpRow *rows;

	for (int i = 0; i < batch->n; i++)
		if (batch->messages[i].status == CDP_ACCEPTED && cdp_message_is_event(&batch->messages[i]))
			places[n++] = (Place){cdp_partition_of(batch->messages[i].ts), i};
	if (n == 0)
		return;
	if (n > 1)
		qsort(places, n, sizeof(Place), compare_places);
	rows = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(CdpRow) * n);
	for (int i = 0; i < n; i++)
		fill_event(batch, &batch->messages[places[i].message], source, &rows[i]);
	for (int i = 0, k; i < n; i = k)
	{
		for (k = i + 1; k < n && places[k].part == places[i].part; k++)
			;
		cdp_row_insert_part(&event_row, places[i].part, rows + i, k - i);
	}
	pfree(rows);
	pfree(places);
}

/* The events into what is kept of their nodes. */
static void
fold_nodes(CdpBatch *batch)
{
	CdpMetricEvent *events = palloc(sizeof(CdpMetricEvent) * Max(batch->n, 1));
	int n = 0;

	for (int i = 0; i < batch->n; i++)
	{
		const CdpMessage *m = &batch->messages[i];
		const CdpLink *link;

		if (m->status != CDP_ACCEPTED || !cdp_message_is_event(m))
			continue;
		link = &batch->graph.links[m->link];
		events[n++] = (CdpMetricEvent){.node_id = batch->graph.idents[link->idents[0]].node_id,
									   .ts = m->ts,
									   .received_at = m->received_at,
									   .key = m->key,
									   .type = m->type,
									   .name = m->name,
									   .properties = m->properties,
									   .context = m->context,
									   .source = m->source};
	}
	cdp_metric_fold(events, n);
	cdp_session_fold(events, n);
	cdp_sequence_fold(events, n);
}

/* Traits of identify messages. */
static void
fold_traits(CdpBatch *batch)
{
	int room = 0;
	int n = 0;
	int nrefused;
	CdpTraitChange *changes;
	int *refused;

	for (int i = 0; i < batch->n; i++)
		if (batch->messages[i].status == CDP_ACCEPTED && batch->messages[i].traits &&
			strcmp(batch->messages[i].type, "identify") == 0)
			room += JsonContainerSize(&batch->messages[i].traits->root);
	if (room == 0)
		return;
	changes = palloc0(sizeof(CdpTraitChange) * room);
	refused = palloc(sizeof(int) * room);
	for (int i = 0; i < batch->n; i++)
	{
		CdpMessage *m = &batch->messages[i];
		JsonbIterator *it;
		JsonbValue key;

		if (m->status != CDP_ACCEPTED || m->traits == NULL ||
			strcmp(m->type, "identify") != 0)
			continue;
		it = JsonbIteratorInit(&m->traits->root);
		(void) JsonbIteratorNext(&it, &key, true);
		while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
		{
			CdpTraitChange *c = &changes[n++];

			(void) JsonbIteratorNext(&it, &c->value, true);
			c->profile_id = m->profile_id;
			c->name = pnstrdup(key.val.string.val, key.val.string.len);
			c->ts = m->ts;
			memcpy(c->message_key, m->key, 16);
			c->source = m->source;
			c->origin = i;
			c->counted = cdp_graph_locked(&batch->graph, m->profile_id)->rebuild;
		}
	}
	nrefused = cdp_profile_fold(changes, n, refused);
	for (int r = 0; r < nrefused; r++)
	{
		const CdpTraitChange *c = &changes[refused[r]];
		CdpMessage *m = &batch->messages[c->origin];

		m->misfit = c->name;
		batch->refusals = cdp_refusal_note(
			batch->refusals, m, psprintf("%s trait %s", m->message_id, c->name), "invalid_trait",
			psprintf("the value of trait \"%s\" does not fit its type; the rest of the message "
					 "was taken",
					 c->name));
	}
}

/*
 * Who changes, with the activity; those of consent alone have none, and those
 * that were rebuilt have it already.
 */
static int
collect_activity(CdpBatch *batch, CdpActivity **activity)
{
	CdpGraph *graph = &batch->graph;
	CdpActivity *all = palloc0(sizeof(CdpActivity) * Max(graph->nlocked, 1));
	int n = 0;

	for (int i = 0; i < graph->nlocked; i++)
		all[i].locked = &graph->locked[i];
	for (int l = 0; l < graph->nlinks; l++)
		for (int k = 0; !graph->links[l].dead && k < graph->links[l].n; k++)
			cdp_graph_locked(graph, graph->idents[graph->links[l].idents[k]].profile_id)->named =
				true;
	for (int i = 0; i < batch->n; i++)
	{
		CdpMessage *m = &batch->messages[i];
		CdpLocked *locked;
		CdpActivity *a;

		if (m->status != CDP_ACCEPTED)
			continue;
		locked = cdp_graph_locked(graph, m->profile_id);
		locked->named = true;
		if (!cdp_message_is_event(m) || locked->rebuild)
			continue;
		a = &all[locked - graph->locked];
		if (a->events++ == 0)
			a->first_seen = a->last_seen = m->ts;
		a->first_seen = Min(a->first_seen, m->ts);
		a->last_seen = Max(a->last_seen, m->ts);
	}
	for (int i = 0; i < graph->nlocked; i++)
		if (cdp_locked_changes(all[i].locked))
			all[n++] = all[i];
	*activity = all;
	return n;
}

/* People whom the graph made, joined or parted: their rows follow. */
void
cdp_ingest_reshape(CdpGraph *graph)
{
	cdp_profile_create(graph);
	cdp_chunk_live(graph);
	cdp_segment_join(graph);
	cdp_profile_join(graph);
	cdp_activation_join(graph);
	cdp_activation_part(graph);
	cdp_segment_part(graph);
}

/*
 * Nodes of a person named by id whose identifiers are no more: what she says
 * holds for them, too.  Returns how many; nodes may be NULL.
 */
static int
bearers_of(const CdpMessage *m, int64 *nodes)
{
	Datum args[1] = {Int64GetDatum(m->profile_id)};
	int rows;

	if (m->about == 0)
		return 0;
	rows = cdp_store_run(&ended_plan, args, NULL, false, -1);
	for (int r = 0; nodes && r < rows; r++)
		nodes[r] = cdp_store_int64(r, 1);
	return rows;
}

static void
apply_consent(CdpBatch *batch)
{
	CdpGraph *graph = &batch->graph;
	CdpConsentRecord *records;
	int room = 0;
	int n = 0;
	int64 *changed = palloc(sizeof(int64) * Max(graph->nlocked, 1));
	int nchanged = 0;
	int32 *dead = palloc(sizeof(int32) * Max(graph->nmerges, 1));

	for (int i = 0; i < batch->n; i++)
		if (batch->messages[i].status == CDP_ACCEPTED &&
			cdp_message_is_consent(&batch->messages[i]))
			room += batch->messages[i].nmentions + bearers_of(&batch->messages[i], NULL);
	records = palloc0(sizeof(CdpConsentRecord) * Max(room, 1));
	for (int i = 0; i < batch->n; i++)
	{
		CdpMessage *m = &batch->messages[i];
		CdpLink *link;
		int64 *nodes;
		int nnodes;

		if (m->status != CDP_ACCEPTED || !cdp_message_is_consent(m))
			continue;
		link = &graph->links[m->link];
		nnodes = link->n;
		nodes = palloc(sizeof(int64) * (nnodes + bearers_of(m, NULL) + 1));
		for (int k = 0; k < link->n; k++)
			nodes[k] = graph->idents[link->idents[k]].node_id;
		nnodes += bearers_of(m, nodes + nnodes);
		if (cdp_retention_knows_consent(m, nodes, nnodes))
			continue;
		for (int k = 0; k < nnodes; k++)
		{
			CdpConsentRecord *r = &records[n++];

			r->node_id = nodes[k];
			r->purpose_id = m->purpose_id;
			r->state = m->state;
			r->ts = m->ts;
			memcpy(r->message_key, m->key, 16);
			r->valid_until = m->valid_until;
			r->source = m->source;
			r->message_id = m->message_id;
			r->terms = m->terms;
		}
		/* of identifiers that are several people's, each has a record now */
		for (int k = 0; k < link->n; k++)
			cdp_graph_locked(graph, graph->idents[link->idents[k]].profile_id)->reshaped = true;
		cdp_graph_locked(graph, m->profile_id)->reshaped = true;
	}
	cdp_consent_record(records, n, batch->caller);

	/* new people without a record allow nothing: there is nothing to derive */
	for (int i = 0; i < graph->nlocked; i++)
		if (graph->locked[i].reshaped &&
			(n > 0 || !graph->locked[i].created || graph->locked[i].rebuild))
			changed[nchanged++] = graph->locked[i].profile_id;
	for (int i = 0; i < graph->nmerges; i++)
		dead[i] = graph->merges[i].loser_ord;
	if (nchanged > 0 || graph->nmerges > 0)
		cdp_consent_refresh(changed, nchanged, dead, graph->nmerges);
}

/* Is she not who she was before the batch? */
static bool
is_another(const CdpLocked *p)
{
	return p->created || p->reshaped || p->rebuild;
}

/* Are nodes that others had hers already, or hers others'? */
static bool
is_mixed(const CdpGraph *graph, int64 profile_id)
{
	for (int i = 0; i < graph->nmerges; i++)
		if (graph->merges[i].winner == profile_id)
			return true;
	for (int i = 0; i < graph->nmoves; i++)
		if (graph->moves[i].from == profile_id || graph->moves[i].to == profile_id)
			return true;
	return false;
}

/*
 * What happened to people by the passing of time, before the batch changes
 * them.  Who is made, joined or parted is looked at as a whole afterwards: what
 * her nodes say is not what they said before.
 */
static void
fire_timers(const CdpGraph *graph)
{
	int64 *ids;
	int n = 0;
	CdpEntry *entries;

	if (!cdp_segment_is_timed())
		return;
	ids = palloc(sizeof(int64) * Max(graph->nlocked, 1));
	for (int i = 0; i < graph->nlocked; i++)
		if (!graph->locked[i].created && !is_mixed(graph, graph->locked[i].profile_id))
			ids[n++] = graph->locked[i].profile_id;
	n = cdp_segment_fire(ids, n, &entries);
	cdp_activation_enqueue(entries, n);
}

/* What a message changes of its person. */
static void
note_message(CdpChange *change, const CdpMessage *m)
{
	JsonbIterator *it;
	JsonbValue key;

	cdp_segment_note_event(change, m->type, m->name);
	if (m->traits == NULL || strcmp(m->type, "identify") != 0 || !JB_ROOT_IS_OBJECT(m->traits))
		return;
	it = JsonbIteratorInit(&m->traits->root);
	(void) JsonbIteratorNext(&it, &key, true);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		JsonbValue value;

		cdp_segment_note_trait(change, key.val.string.val, key.val.string.len);
		(void) JsonbIteratorNext(&it, &value, true);
	}
}

static int
compare_changes(const void *a, const void *b)
{
	return cdp_compare_int64(&((const CdpChange *) a)->profile_id,
							 &((const CdpChange *) b)->profile_id);
}

/*
 * Who bears a value no more is another to lists of identifiers.  She is locked,
 * and may not have been looked at otherwise.  changes are by person; returns how
 * many there are now.
 */
static int
add_former_bearers(const CdpGraph *graph, CdpChange *changes, int n)
{
	int64 *ids = palloc(sizeof(int64) * (graph->nidents + 1));
	int known = n;
	int m = 0;

	for (int i = 0; i < graph->nidents; i++)
	{
		const CdpIdent *ident = &graph->idents[i];

		if (ident->anew)
			ids[m++] = graph->idents[ident->after].profile_id;
		else if (ident->used && !ident->former && ident->ends != DT_NOEND)
			ids[m++] = ident->profile_id;
	}
	qsort(ids, m, sizeof(int64), cdp_compare_int64);
	for (int i = 0; i < m; i++)
	{
		CdpChange key = {.profile_id = ids[i]};
		CdpChange *change = bsearch(&key, changes, known, sizeof(CdpChange), compare_changes);

		if (i > 0 && ids[i] == ids[i - 1])
			continue;
		if (change == NULL)
			change = &changes[n++];
		change->profile_id = ids[i];
		change->all = true;
	}
	return n;
}

static void
evaluate_segments(const CdpBatch *batch, const CdpActivity *activity, int n)
{
	const CdpGraph *graph = &batch->graph;
	CdpChange *changes = palloc0(sizeof(CdpChange) * (n + graph->nidents + 1));
	int *place = palloc(sizeof(int) * Max(graph->nlocked, 1));
	CdpEntry *entries;

	for (int i = 0; i < n; i++)
	{
		place[activity[i].locked - graph->locked] = i;
		changes[i].profile_id = activity[i].locked->profile_id;
		/* without messages nobody says what changed */
		changes[i].all = batch->n == 0 || is_another(activity[i].locked);
	}
	for (int i = 0; i < batch->n; i++)
	{
		const CdpMessage *m = &batch->messages[i];
		CdpChange *change;

		if (m->status != CDP_ACCEPTED || !cdp_message_is_event(m))
			continue;
		change = &changes[place[cdp_graph_locked((CdpGraph *) graph, m->profile_id) -
								graph->locked]];
		if (!change->all)
			note_message(change, m);
	}
	if (cdp_segment_has_lists())
		n = add_former_bearers(graph, changes, n);
	n = cdp_segment_evaluate_changes(changes, n, "event", &entries);
	cdp_activation_enqueue(entries, n);
}

/* Who a profile is after the merges of this batch; for duplicates, looked up before. */
static int64
present_id(const CdpBatch *batch, int64 id)
{
	for (int i = 0; i < batch->graph.nmerges; i++)
		if (batch->graph.merges[i].loser == id)
			return batch->graph.merges[i].winner;
	return id;
}

/* Takes messages together; see cdp_ingest_batch(). */
static void
take_batch(CdpMessage *messages, int n, Oid caller, int flags)
{
	CdpBatch batch = {.messages = messages, .n = n, .caller = caller, .flags = flags};
	CdpActivity *activity;
	int nactivity;
	bool work = false;

	cdp_batch_resolve_about(&batch);
	cdp_batch_screen(&batch);
	cdp_batch_suppress(&batch);
	cdp_plan_check(messages, n);
	if (!(flags & CDP_INGEST_KEYLESS))
		cdp_retention_screen(messages, n);
	ensure_partitions(&batch);
	if (!(flags & CDP_INGEST_KEYLESS))
		cdp_batch_dedupe(&batch);
	for (int i = 0; i < n; i++)
		if (messages[i].status == CDP_ACCEPTED)
			(void) cdp_plan_refuse(&messages[i]);
	cdp_batch_build_graph(&batch);
	cdp_graph_find(&batch.graph, false);
	cdp_batch_reject_collisions(&batch);
	cdp_batch_note_conflicts(&batch);
	cdp_batch_date_mentions(&batch);
	for (int i = 0; i < n; i++)
		work |= messages[i].status == CDP_ACCEPTED;
	if (work && messages[0].rule && strcmp(messages[0].rule, "override") == 0)
	{
		batch.graph.witness = cdp_unmerge_revoke;
		batch.graph.witness_arg = &batch.caller;
	}
	if (work)
	{
		cdp_graph_resolve(&batch.graph);
		cdp_batch_recheck_erased(&batch.graph);
	}
	for (int i = 0; i < n; i++)
	{
		CdpMessage *m = &messages[i];

		if (m->status == CDP_REJECTED)
		{
			/* what is refused of a message that is taken is noted all the same */
			if (!(flags & CDP_INGEST_UNRECORDED) && !m->secret)
				batch.refusals =
					cdp_refusal_note(batch.refusals, m, m->id_is_given ? m->message_id : NULL,
									 m->reason, m->detail);
		}
		else if (m->link >= 0 && batch.graph.links[m->link].n > 0)
		{
			m->refusal = batch.graph.links[m->link].refusal;
			m->profile_id = batch.graph.idents[batch.graph.links[m->link].idents[0]].profile_id;
		}
		else if (m->about != 0)
			m->profile_id = cdp_graph_canonical(m->about, false);
		if (m->status == CDP_DUPLICATE && m->profile_id != 0)
			m->profile_id = present_id(&batch, m->profile_id);
	}
	if (work)
	{
		fire_timers(&batch.graph);
		cdp_ingest_reshape(&batch.graph);
		cdp_graph_record(&batch.graph);
		insert_events(&batch);
		fold_nodes(&batch);
		cdp_profile_rebuild(&batch.graph);
		fold_traits(&batch);
		nactivity = collect_activity(&batch, &activity);
		cdp_profile_count(activity, nactivity);
		apply_consent(&batch);
		evaluate_segments(&batch, activity, nactivity);
	}
	cdp_batch_count_erased(&batch);
	if (batch.refusals != NIL)
		cdp_refusal_write(batch.refusals, caller);
	cdp_plan_count(messages, n, batch.refusals != NIL ? cdp_refusal_fresh(CDP_PLAN_REASON) : NIL);
}

static int
compare_order(const void *a, const void *b)
{
	const CdpMessage *x = *(const CdpMessage *const *) a;
	const CdpMessage *y = *(const CdpMessage *const *) b;

	if (x->ts != y->ts)
		return x->ts < y->ts ? -1 : 1;
	return memcmp(x->key, y->key, 16);
}

/*
 * Takes a batch of messages, all of one source.  On return each has its
 * status and, unless rejected, the profile it belongs to.  Inside
 * cdp_store_enter(); caller is the role that consent records name.
 */
void
cdp_ingest_batch(CdpMessage *messages, int n, Oid caller, int flags)
{
	const CdpMessage **order;

	if (n == 0)
		return;
	/* before any other lock: see cdp.lock_storage() */
	LockRelationOid(cdp_store_relation("profile_state"), RowExclusiveLock);
	if (!cdp_rules()->isolates || n == 1)
	{
		take_batch(messages, n, caller, flags);
		return;
	}

	/* who is known when a message comes depends on those before it */
	order = palloc(sizeof(CdpMessage *) * n);
	for (int i = 0; i < n; i++)
		order[i] = &messages[i];
	qsort(order, n, sizeof(CdpMessage *), compare_order);
	for (int i = 0; i < n; i++)
		take_batch(&messages[order[i] - messages], 1, caller, flags);
}

/*
 * Settles people who were resolved again without a message: their rows,
 * state, consent, segments.  The graph is that of cdp_graph_reresolve().
 */
void
cdp_ingest_settle(CdpGraph *graph, Oid caller)
{
	CdpBatch batch = {.caller = caller, .graph = *graph};
	CdpActivity *activity;
	int n;

	fire_timers(&batch.graph);
	cdp_ingest_reshape(&batch.graph);
	cdp_profile_rebuild(&batch.graph);
	n = collect_activity(&batch, &activity);
	cdp_profile_count(activity, n);
	apply_consent(&batch);
	evaluate_segments(&batch, activity, n);
}
