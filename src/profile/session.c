/*
 * src/profile/session.c
 *		Sessions as configured, and the fold of events into the parts of nodes.
 *
 * cdp_data.session_part has a row for each part of a session on a node (see
 * session.h).  The key of the node's latest part says so by since = infinity,
 * the others' is their start: the event that comes next in time, which is nearly
 * every one, changes the one row of (node, infinity), and that is a HOT update.
 * For what is late a statement looks at the parts it may touch.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

#include "compat.h"
#include "profile/session.h"
#include "row.h"
#include "store.h"

/* Events in one fetch, and sessions kept apart before they are joined. */
#define FETCH 1000

#define COLUMNS \
	"p.started_at, p.first_key, p.ended_at, p.events, p.source, p.first_page, p.first_page_at, " \
	"p.last_page, p.last_page_at, p.campaign, p.campaign_at"

static CdpRowOp change_part = {
	.table = "session_part",
	.keys = {"node_id", "since"},
	.columns = {"started_at", "first_key", "ended_at", "events", "source", "first_page",
				"first_page_at", "last_page", "last_page_at", "campaign", "campaign_at"},
};

static CdpRowOp insert_part = {
	.table = "session_part",
	.columns = {"node_id", "since", "started_at", "first_key", "ended_at", "events", "source",
				"first_page", "first_page_at", "last_page", "last_page_at", "campaign",
				"campaign_at"},
};

/*
 * The parts that begin before $3, and of those before $2 the last one: no other
 * one can touch what lies between.
 */
#define BETWEEN \
	"p.since < $3 AND p.since >= coalesce((SELECT max(x.since) " \
	"  FROM cdp_data.session_part x WHERE x.node_id = $1 AND x.since <= $2), '-infinity')"

static CdpPlan near_plan = {
	"SELECT " COLUMNS " FROM cdp_data.session_part p WHERE p.node_id = $1 AND " BETWEEN,
	3,
	{INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID},
	NULL};

/* The same, and the latest if $4. */
static CdpPlan take_plan = {
	"DELETE FROM cdp_data.session_part p WHERE p.node_id = $1 "
	"AND ((" BETWEEN ") OR (p.since = 'infinity' AND $4)) RETURNING " COLUMNS,
	4,
	{INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, BOOLOID},
	NULL};

static CdpPlan clear_plan = {
	"DELETE FROM cdp_data.session_part p WHERE p.node_id = $1",
	1,
	{INT8OID},
	NULL};

static CdpPlan events_plan = {
	"SELECT e.ts, e.message_key, e.type, e.name, e.source, e.properties, e.context "
	"FROM cdp_data.event e WHERE e.node_id = $1 "
	"AND (e.type = ANY ($2) OR (e.type = 'track' AND e.name = ANY ($2)))",
	2,
	{INT8OID, TEXTARRAYOID},
	NULL};

static struct
{
	uint64 generation;
	bool provisional; /* read in parallel mode, under a query's snapshot */
	MemoryContext context;
	CdpSessionRule *rule; /* in it */
} config;

/* What was read in parallel mode is read again after it. */
bool
cdp_session_rule_is_current(void)
{
	return config.generation == cdp_store_generation() &&
		   (!config.provisional || IsInParallelMode());
}

/* Reads the configuration's row into the context. */
static void
load_rule(CdpSessionRule *rule, MemoryContext context)
{
	MemoryContext old;
	bool isnull;
	Datum *words;
	bool *nulls;

	memset(rule, 0, sizeof(*rule));
	if (cdp_store_run_latest("SELECT (extract(epoch FROM r.silence) * 1000000)::bigint, "
							 "  r.events, r.state = 'ready' FROM cdp_data.session_rule r") == 0)
		return;
	old = MemoryContextSwitchTo(context);
	rule->on = true;
	rule->silence = cdp_store_int64(0, 1);
	deconstruct_array(DatumGetArrayTypePCopy(cdp_store_value(0, 2, &isnull)), TEXTOID, -1, false,
					  TYPALIGN_INT, &words, &nulls, &rule->nevents);
	rule->events = palloc(sizeof(char *) * Max(rule->nevents, 1));
	for (int i = 0; i < rule->nevents; i++)
		rule->events[i] = TextDatumGetCString(words[i]);
	rule->ready = DatumGetBool(cdp_store_value(0, 3, &isnull));
	MemoryContextSwitchTo(old);
}

/* What a session is; valid for the visit of the storage. */
const CdpSessionRule *
cdp_session_rule(void)
{
	while (!cdp_session_rule_is_current())
	{
		uint64 generation = cdp_store_generation();
		CdpResult saved = cdp_store_save_result();
		MemoryContext fresh = AllocSetContextCreate(CurrentMemoryContext, "cdp session rule",
													ALLOCSET_SMALL_SIZES);
		CdpSessionRule *rule = MemoryContextAlloc(fresh, sizeof(CdpSessionRule));

		load_rule(rule, fresh);
		cdp_store_restore_result(saved);
		cdp_store_retire(config.context);
		MemoryContextSetParent(fresh, CacheMemoryContext);
		config.context = fresh;
		config.rule = rule;
		config.generation = generation;
		config.provisional = IsInParallelMode();
	}
	return config.rule;
}

/* Do such events count? */
bool
cdp_session_concerns(const char *type, const char *name)
{
	const CdpSessionRule *rule = cdp_session_rule();
	bool tracked = name && strcmp(type, "track") == 0;

	for (int i = 0; i < rule->nevents; i++)
		if (strcmp(rule->events[i], type) == 0 || (tracked && strcmp(rule->events[i], name) == 0))
			return true;
	return false;
}

static int
compare_marks(const CdpSessionMark *a, const CdpSessionMark *b)
{
	if (a->ts != b->ts)
		return a->ts < b->ts ? -1 : 1;
	return memcmp(a->key, b->key, 16);
}

/* By their first events. */
int
cdp_session_compare(const void *a, const void *b)
{
	return compare_marks(&((const CdpSession *) a)->first, &((const CdpSession *) b)->first);
}

/* Makes one of two. */
static void
merge(CdpSession *into, const CdpSession *other)
{
	if (compare_marks(&other->first, &into->first) < 0)
	{
		into->first = other->first;
		into->source = other->source;
	}
	into->ended_at = Max(into->ended_at, other->ended_at);
	into->events += other->events;
	for (int f = 0; f < CDP_SESSION_FACTS; f++)
	{
		const CdpSessionFact *fact = &other->facts[f];
		int cmp;

		if (fact->value == (Datum) 0)
			continue;
		cmp = compare_marks(&fact->at, &into->facts[f].at);
		if (into->facts[f].value == (Datum) 0 ||
			(f == CDP_SESSION_LAST_PAGE ? cmp > 0 : cmp < 0))
			into->facts[f] = *fact;
	}
}

/* Joins those, in order of their first events, between which is no silence. */
int
cdp_session_join(CdpSession *sessions, int n, int64 silence)
{
	int kept = 0;

	for (int i = 0; i < n; i++)
	{
		if (kept > 0 && sessions[i].first.ts - sessions[kept - 1].ended_at < silence)
			merge(&sessions[kept - 1], &sessions[i]);
		else
			sessions[kept++] = sessions[i];
	}
	return kept;
}

/* Writes parts of a node, ascending; the last of them may be its latest. */
static void
insert_parts(int64 node, const CdpSession *parts, int n, bool latest)
{
	CdpRow *rows;

	if (n == 0)
		return;
	rows = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(CdpRow) * n);
	for (int i = 0; i < n; i++)
	{
		TimestampTz since = latest && i == n - 1 ? DT_NOEND : parts[i].first.ts;

		rows[i] = (CdpRow){.values = {Int64GetDatum(node), TimestampTzGetDatum(since)}};
		cdp_session_store(&parts[i], rows[i].values + 2, rows[i].nulls + 2);
	}
	if (n == 1 || !cdp_row_insert_many(&insert_part, n, rows, NULL))
		for (int i = 0; i < n; i++)
			(void) cdp_row_insert(&insert_part, &rows[i]);
	pfree(rows);
}

/* New parts of a node, ascending, on their way to what is stored. */
typedef struct Placing
{
	const CdpSession *parts;
	int n;
	int64 silence;
	CdpSession *closed; /* what followed each other; the last one is stored */
	int nclosed;
	int nlate; /* those that begin before the latest part does: the first ones */
	bool touches; /* one of them touches it */
} Placing;

/* Lets them follow the latest part, which becomes the last of them. */
static bool
follow(CdpRow *row, void *arg)
{
	Placing *p = arg;
	CdpSession *all = palloc(sizeof(CdpSession) * (p->n + 1));
	int n;

	cdp_session_load(row->values, row->nulls, &all[0]);
	p->nlate = p->nclosed = 0;
	while (p->nlate < p->n && p->parts[p->nlate].first.ts < all[0].first.ts)
		p->nlate++;
	p->touches = p->nlate > 0 &&
				 all[0].first.ts - p->parts[p->nlate - 1].ended_at < p->silence;
	if (p->touches || p->nlate == p->n)
		return false;
	n = p->n - p->nlate;
	memcpy(all + 1, p->parts + p->nlate, sizeof(CdpSession) * n);
	n = cdp_session_join(all, n + 1, p->silence);
	/* of what is a row's only the first can be */
	cdp_session_copy(&all[0]);
	p->closed = all;
	p->nclosed = n - 1;
	cdp_session_store(&all[n - 1], row->values, row->nulls);
	return true;
}

static CdpSession
load_result(uint64 r)
{
	Datum values[CDP_SESSION_COLUMNS];
	bool nulls[CDP_SESSION_COLUMNS];
	CdpSession session;

	for (int c = 0; c < CDP_SESSION_COLUMNS; c++)
		values[c] = cdp_store_value(r, c + 1, &nulls[c]);
	cdp_session_load(values, nulls, &session);
	return session;
}

/* Brings parts, ascending, together with those they may touch, perhaps the latest. */
static void
mix(int64 node, const CdpSession *parts, int nparts, int64 silence, bool latest)
{
	Datum args[4] = {Int64GetDatum(node), TimestampTzGetDatum(parts[0].first.ts),
					 TimestampTzGetDatum(parts[nparts - 1].ended_at + silence),
					 BoolGetDatum(latest)};
	int n = cdp_store_run(&take_plan, args, NULL, false, -1);
	CdpSession *all = MemoryContextAllocHuge(CurrentMemoryContext,
											 sizeof(CdpSession) * (n + nparts));

	for (int r = 0; r < n; r++)
		all[r] = load_result(r);
	memcpy(all + n, parts, sizeof(CdpSession) * nparts);
	n += nparts;
	qsort(all, n, sizeof(CdpSession), cdp_session_compare);
	insert_parts(node, all, cdp_session_join(all, n, silence), latest);
}

static bool
extend(CdpRow *row, void *arg)
{
	CdpSession *session = palloc(sizeof(CdpSession)); /* the row points into it */

	cdp_session_load(row->values, row->nulls, session);
	merge(session, arg);
	cdp_session_store(session, row->values, row->nulls);
	return true;
}

/* Places one that is older than the latest and does not touch it. */
static void
place_late(int64 node, const CdpSession *part, int64 silence)
{
	Datum args[3] = {Int64GetDatum(node), TimestampTzGetDatum(part->first.ts),
					 TimestampTzGetDatum(part->ended_at + silence)};
	int rows = cdp_store_run(&near_plan, args, NULL, false, -1);
	TimestampTz since = 0;
	bool earlier = false;
	int n = 0;

	for (int r = 0; r < rows; r++)
	{
		CdpSession known = load_result(r);

		if (part->first.ts - known.ended_at >= silence)
			continue;
		since = known.first.ts;
		earlier = part->first.ts < since;
		n++;
	}
	args[1] = TimestampTzGetDatum(since);
	if (n == 0)
		insert_parts(node, part, 1, false);
	else if (n > 1 || earlier ||
			 !cdp_row_change(&change_part, args, NULL, extend, (void *) part))
		mix(node, part, 1, silence, false);
}

static void
place(int64 node, const CdpSession *parts, int n, int64 silence)
{
	Placing p = {.parts = parts, .n = n, .silence = silence};
	Datum keys[2] = {Int64GetDatum(node), TimestampTzGetDatum(DT_NOEND)};

	if (!cdp_row_change(&change_part, keys, NULL, follow, &p))
		insert_parts(node, parts, n, true);
	else if (p.touches)
		mix(node, parts, n, silence, true);
	else
	{
		insert_parts(node, p.closed, p.nclosed, false);
		for (int i = 0; i < p.nlate; i++)
			place_late(node, &parts[i], silence);
	}
}

/* What one event is to a node. */
typedef struct Hit
{
	int64 node_id;
	CdpSession session;
} Hit;

static int
compare_hits(const void *a, const void *b)
{
	const Hit *x = a;
	const Hit *y = b;

	if (x->node_id != y->node_id)
		return x->node_id < y->node_id ? -1 : 1;
	return cdp_session_compare(&x->session, &y->session);
}

/* Folds events into parts of their nodes, and puts these where they belong. */
static void
fold_events(const CdpMetricEvent *events, int n,
			void (*put)(int64 node, const CdpSession *parts, int n, int64 silence))
{
	const CdpSessionRule *rule = cdp_session_rule();
	MemoryContext work;
	MemoryContext old;
	Hit *hits;
	CdpSession *parts;
	int nhits = 0;

	if (!rule->on || n == 0)
		return;
	work = AllocSetContextCreate(CurrentMemoryContext, "cdp sessions", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(work);
	hits = MemoryContextAllocHuge(work, sizeof(Hit) * n);
	for (int i = 0; i < n; i++)
	{
		if (!cdp_session_concerns(events[i].type, events[i].name))
			continue;
		hits[nhits].node_id = events[i].node_id;
		cdp_session_of_event(&events[i], &hits[nhits++].session);
	}
	qsort(hits, nhits, sizeof(Hit), compare_hits);
	parts = MemoryContextAllocHuge(work, sizeof(CdpSession) * Max(nhits, 1));
	for (int i = 0, k; i < nhits; i = k)
	{
		for (k = i; k < nhits && hits[k].node_id == hits[i].node_id; k++)
			parts[k - i] = hits[k].session;
		put(hits[i].node_id, parts, cdp_session_join(parts, k - i, rule->silence),
			rule->silence);
		CHECK_FOR_INTERRUPTS();
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(work);
}

/*
 * Folds new events into the parts of their nodes.  The caller holds the locks
 * of the nodes' people.
 */
void
cdp_session_fold(const CdpMetricEvent *events, int n)
{
	fold_events(events, n, place);
}

/* The same of events that go, into the bases of their nodes. */
void
cdp_session_fold_gone(const CdpMetricEvent *events, int n)
{
	fold_events(events, n, cdp_base_place_session);
}

/* Sessions of a node while its events are read. */
typedef struct Gathering
{
	int64 silence;
	CdpSession *sessions;
	int n;
	int room;
	int settled; /* as many as there were after they were last joined */
	MemoryContext texts;
} Gathering;

/* Joins what there is; texts that are no longer anybody's go. */
static void
settle(Gathering *g)
{
	MemoryContext texts = AllocSetContextCreate(CurrentMemoryContext, "cdp session texts",
												ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(texts);

	qsort(g->sessions, g->n, sizeof(CdpSession), cdp_session_compare);
	g->n = g->settled = cdp_session_join(g->sessions, g->n, g->silence);
	for (int i = 0; i < g->n; i++)
		cdp_session_copy(&g->sessions[i]);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(g->texts);
	g->texts = texts;
}

static void
gather_row(Gathering *g, uint64 r, MemoryContext step)
{
	MemoryContext old = MemoryContextSwitchTo(step);
	CdpMetricEvent event = {.ts = cdp_store_int64(r, 1)};
	Datum d;
	bool isnull;

	event.key = DatumGetUUIDP(cdp_store_value(r, 2, &isnull))->data;
	event.type = cdp_store_text(r, 3);
	event.name = cdp_store_text(r, 4);
	event.source = cdp_store_text(r, 5);
	d = cdp_store_value(r, 6, &isnull);
	event.properties = isnull ? NULL : DatumGetJsonbP(d);
	d = cdp_store_value(r, 7, &isnull);
	event.context = isnull ? NULL : DatumGetJsonbP(d);
	MemoryContextSwitchTo(g->texts);
	cdp_session_of_event(&event, &g->sessions[g->n++]);
	MemoryContextSwitchTo(old);
}

/*
 * The parts of a node that its base and its events make, ascending, in the
 * current context.
 * Memory follows the number of parts, not of events.
 */
CdpSession *
cdp_session_gather(int64 node, int *n)
{
	const CdpSessionRule *rule = cdp_session_rule();
	MemoryContext context = CurrentMemoryContext;
	MemoryContext step = AllocSetContextCreate(context, "cdp session events",
											   ALLOCSET_DEFAULT_SIZES);
	Gathering g = {.silence = rule->silence, .room = 4 * FETCH};
	Datum args[2] = {Int64GetDatum(node),
					 cdp_array_text((const char *const *) rule->events, rule->nevents)};
	Portal portal = cdp_store_open(&events_plan, args);
	CdpSession *gone;

	MemoryContextSwitchTo(context);
	gone = cdp_base_sessions(node, &g.n);
	MemoryContextSwitchTo(context);
	g.room += g.n;
	g.sessions = MemoryContextAllocHuge(context, sizeof(CdpSession) * g.room);
	memcpy(g.sessions, gone, sizeof(CdpSession) * g.n);
	g.texts = AllocSetContextCreate(context, "cdp session texts", ALLOCSET_DEFAULT_SIZES);
	for (;;)
	{
		SPI_cursor_fetch(portal, true, FETCH);
		if (SPI_processed == 0)
			break;
		CHECK_FOR_INTERRUPTS();
		if (g.n + FETCH > g.room)
		{
			MemoryContext old = MemoryContextSwitchTo(context);

			settle(&g);
			MemoryContextSwitchTo(old);
			if (g.n > g.room / 2)
			{
				g.room = g.room * 2 + FETCH;
				g.sessions = repalloc_huge(g.sessions, sizeof(CdpSession) * g.room);
			}
		}
		for (uint64 r = 0; r < SPI_processed; r++)
			gather_row(&g, r, step);
		MemoryContextReset(step);
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
	MemoryContextSwitchTo(context);
	settle(&g);
	MemoryContextDelete(step);
	*n = g.n;
	return g.sessions;
}

/* Makes the parts of nodes, of which some may be named twice, anew from their events. */
void
cdp_session_rebuild(const int64 *nodes, int n, int32 unused)
{
	const CdpSessionRule *rule = cdp_session_rule();
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext, "cdp sessions of a node",
											   ALLOCSET_DEFAULT_SIZES);

	(void) unused;
	for (int i = 0; rule->on && i < n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(work);
		Datum args[1] = {Int64GetDatum(nodes[i])};
		CdpSession *parts;
		int nparts;

		cdp_store_run(&clear_plan, args, NULL, false, -1);
		parts = cdp_session_gather(nodes[i], &nparts);
		insert_parts(nodes[i], parts, nparts, true);
		MemoryContextSwitchTo(old);
		MemoryContextReset(work);
	}
	MemoryContextDelete(work);
}
