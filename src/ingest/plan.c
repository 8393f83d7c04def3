/*
 * src/ingest/plan.c
 *		The tracking plan: what events should look like, and what to do if not.
 *
 * A message is held against the definition of its event by itself: the outcome
 * depends on the message and the plan alone, not on its batch.  What is wrong is
 * counted after the message was taken, for then it is no duplicate; what mode
 * strict refuses is counted when its refusal is new.  So each message counts
 * once, however often it comes.
 *
 * Counting appends a row for each batch, event, path and rule.  A row that is
 * updated in place would have all sessions wait for each other; the view adds
 * the rows up, and cdp.maintain() folds them.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "compat.h"
#include "ingest/config.h"
#include "ingest/plan.h"
#include "store.h"

typedef enum PlanMode
{
	MODE_FLAG,
	MODE_COERCE,
	MODE_STRICT
} PlanMode;

static const char *const mode_names[] = {"flag", "coerce", "strict"};

typedef struct PlannedEvent
{
	const char *name;
	PlanMode mode;
	CdpSchema *schema;
} PlannedEvent;

/* In the order of names, as strcmp() has it. */
struct CdpTrackingPlan
{
	PlannedEvent *events;
	int n;
	const PlannedEvent *others; /* of events without a definition, or NULL */
};

/* What a message did wrong; hangs on it until it is counted. */
struct CdpPlanVerdict
{
	const char *event;
	const char *mode;
	List *faults;
};

/* Names that stand for messages without an event's name. */
static const struct
{
	const char *name;
	const char *type;
	bool traits;
} kinds[] = {{"$identify", "identify", true},
			 {"$group", "group", true},
			 {"$page", "page", false},
			 {"$screen", "screen", false}};

static CdpPlan count_plan = {
	"INSERT INTO cdp_data.tracking_violation "
	"  (event, path, rule, mode, times, first_at, last_at, message_id) "
	"SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8)",
	8,
	{TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, INT8ARRAYOID, TIMESTAMPTZARRAYOID,
	 TIMESTAMPTZARRAYOID, TEXTARRAYOID},
	NULL};

static CdpPlan fold_plan = {
	"WITH gone AS ( "
	"  DELETE FROM cdp_data.tracking_violation v WHERE v.ctid = ANY (ARRAY( "
	"    SELECT o.ctid FROM cdp_data.tracking_violation o LIMIT 100000 FOR UPDATE SKIP LOCKED)) "
	"  RETURNING v.*) "
	"INSERT INTO cdp_data.tracking_violation "
	"  (event, path, rule, mode, times, first_at, last_at, message_id) "
	"SELECT g.event, g.path, g.rule, g.mode, sum(g.times), min(g.first_at), max(g.last_at), "
	"  (array_agg(g.message_id ORDER BY g.last_at DESC, g.message_id COLLATE \"C\"))[1] "
	"FROM gone g GROUP BY g.event, g.path, g.rule, g.mode",
	0,
	{0},
	NULL};

static CdpPlan unfolded_plan = {
	"SELECT 1 FROM (SELECT v.event, v.path, v.rule, v.mode FROM cdp_data.tracking_violation v "
	"  LIMIT 100000) x GROUP BY x.event, x.path, x.rule, x.mode HAVING count(*) > 1 LIMIT 1",
	0,
	{0},
	NULL};

/* Reads and compiles the plan; NULL if there is none. */
CdpTrackingPlan *
cdp_plan_load(MemoryContext context)
{
	int n = cdp_store_run_latest("SELECT name, mode, schema FROM cdp_data.event_definition "
								 "WHERE mode <> 'off' ORDER BY name COLLATE \"C\"");
	MemoryContext old;
	CdpTrackingPlan *plan;

	if (n == 0)
		return NULL;
	old = MemoryContextSwitchTo(context);
	plan = palloc0(sizeof(CdpTrackingPlan));
	plan->events = palloc0(sizeof(PlannedEvent) * n);
	for (int i = 0; i < n; i++)
	{
		PlannedEvent *event = &plan->events[plan->n++];
		char *mode = cdp_store_text(i, 2);
		bool isnull;

		event->name = cdp_store_text(i, 1);
		for (int k = 0; k < (int) lengthof(mode_names); k++)
			if (strcmp(mode, mode_names[k]) == 0)
				event->mode = (PlanMode) k;
		event->schema = cdp_schema_compile(DatumGetJsonbP(cdp_store_value(i, 3, &isnull)));
		if (strcmp(event->name, "*") == 0)
			plan->others = event;
	}
	MemoryContextSwitchTo(old);
	return plan;
}

/* The definition of an event, NULL if there is none. */
static const PlannedEvent *
event_of(const CdpTrackingPlan *plan, const char *name)
{
	int low = 0;
	int high = plan->n - 1;

	while (low <= high)
	{
		int mid = (low + high) / 2;
		int cmp = strcmp(name, plan->events[mid].name);

		if (cmp == 0)
			return &plan->events[mid];
		if (cmp < 0)
			high = mid - 1;
		else
			low = mid + 1;
	}
	return NULL;
}

/* The definition that a message is held against, and what of it. */
static const PlannedEvent *
definition_of(const CdpTrackingPlan *plan, CdpMessage *m, Jsonb ***document)
{
	const PlannedEvent *event;

	*document = &m->properties;
	for (int i = 0; i < (int) lengthof(kinds); i++)
	{
		if (strcmp(m->type, kinds[i].type) == 0)
		{
			if (kinds[i].traits)
				*document = &m->traits;
			return event_of(plan, kinds[i].name);
		}
		/* the name means the kind */
		if (m->name && strcmp(m->name, kinds[i].name) == 0)
			return NULL;
	}
	if (strcmp(m->type, "track") != 0 || m->name == NULL || strcmp(m->name, "*") == 0)
		return NULL;
	event = event_of(plan, m->name);
	return event ? event : plan->others;
}

/* "the tracking plan is broken at total (minimum), products[].sku (required)" */
static char *
detail_of(List *faults)
{
	StringInfoData out;
	ListCell *lc;

	initStringInfo(&out);
	appendStringInfoString(&out, "the tracking plan is broken at");
	foreach(lc, faults)
	{
		const CdpSchemaFault *f = lfirst(lc);

		if (foreach_current_index(lc) == 10)
		{
			appendStringInfo(&out, ", and %d more", list_length(faults) - 10);
			break;
		}
		appendStringInfo(&out, "%s %s (%s)", foreach_current_index(lc) > 0 ? "," : "", f->path,
						 f->rule);
	}
	return out.data;
}

/* Holds messages against the plan: converts, and notes what is wrong. */
void
cdp_plan_check(CdpMessage *messages, int n)
{
	const CdpTrackingPlan *plan = cdp_ingest_config()->plan;
	Jsonb *empty = NULL;

	if (plan == NULL)
		return;
	for (int i = 0; i < n; i++)
	{
		CdpMessage *m = &messages[i];
		const PlannedEvent *event;
		Jsonb **document;
		Jsonb *converted = NULL;
		List *faults;

		/* consents and deliberate merges are no events */
		if (m->status != CDP_ACCEPTED || m->state != NULL || m->rule != NULL)
			continue;
		event = definition_of(plan, m, &document);
		if (event == NULL)
			continue;
		if (*document == NULL && empty == NULL)
			empty = cdp_jsonb_empty();
		faults = cdp_schema_check(event->schema, *document ? *document : empty,
								  event->mode == MODE_COERCE ? &converted : NULL);
		if (converted)
			*document = converted;
		if (faults == NIL)
			continue;
		m->plan = palloc(sizeof(struct CdpPlanVerdict));
		m->plan->event = pstrdup(event->name);
		m->plan->mode = mode_names[event->mode];
		m->plan->faults = faults;
	}
}

/*
 * Refuses a message that mode strict does not let in.  Not before it is known
 * to be no duplicate: what was taken once stays taken under a stricter plan.
 */
bool
cdp_plan_refuse(CdpMessage *m)
{
	if (m->plan == NULL || strcmp(m->plan->mode, mode_names[MODE_STRICT]) != 0)
		return false;
	cdp_message_reject(m, CDP_PLAN_REASON, detail_of(m->plan->faults));
	return true;
}

static bool
is_refused(const CdpMessage *m)
{
	return m->plan != NULL && m->status == CDP_REJECTED &&
		   strcmp(m->reason, CDP_PLAN_REASON) == 0;
}

/* A violation to be counted. */
typedef struct Count
{
	const char *event;
	const char *path;
	const char *rule;
	const char *mode;
	TimestampTz at;
	const char *message_id;
} Count;

static int
compare_counts(const void *a, const void *b)
{
	const Count *x = a;
	const Count *y = b;
	int cmp = strcmp(x->event, y->event);

	if (cmp == 0)
		cmp = strcmp(x->path, y->path);
	if (cmp == 0)
		cmp = strcmp(x->rule, y->rule);
	return cmp != 0 ? cmp : strcmp(x->mode, y->mode);
}

/* By message id, then as they came. */
static int
compare_ids(const void *a, const void *b)
{
	const CdpMessage *x = *(const CdpMessage *const *) a;
	const CdpMessage *y = *(const CdpMessage *const *) b;
	int cmp = strcmp(x->message_id, y->message_id);

	return cmp != 0 ? cmp : (x > y) - (x < y);
}

static int
compare_texts(const ListCell *a, const ListCell *b)
{
	return strcmp(lfirst(a), lfirst(b));
}

/*
 * Of the messages refused, those whose refusal is new: the first of each id
 * that is in the list.  One without an id is always new.
 */
static int
collect_refused(const CdpMessage *messages, int n, List *fresh, const CdpMessage **out)
{
	const CdpMessage **named = palloc(sizeof(CdpMessage *) * Max(n, 1));
	int nnamed = 0;
	int count = 0;
	ListCell *lc = NULL;

	for (int i = 0; i < n; i++)
	{
		if (!is_refused(&messages[i]))
			continue;
		if (messages[i].id_is_given)
			named[nnamed++] = &messages[i];
		else
			out[count++] = &messages[i];
	}
	qsort(named, nnamed, sizeof(CdpMessage *), compare_ids);
	list_sort(fresh, compare_texts);
	/* both in the order of ids */
	lc = list_head(fresh);
	for (int i = 0; i < nnamed && lc; i++)
	{
		if (i > 0 && strcmp(named[i]->message_id, named[i - 1]->message_id) == 0)
			continue;
		while (lc && strcmp(lfirst(lc), named[i]->message_id) < 0)
			lc = lnext(fresh, lc);
		if (lc && strcmp(lfirst(lc), named[i]->message_id) == 0)
			out[count++] = named[i];
	}
	return count;
}

static void
write_counts(Count *counts, int n)
{
	const char **texts[5];
	int64 *times = palloc(sizeof(int64) * n);
	TimestampTz *first = palloc(sizeof(TimestampTz) * n);
	TimestampTz *last = palloc(sizeof(TimestampTz) * n);
	Datum args[8];
	int rows = 0;

	for (int t = 0; t < 5; t++)
		texts[t] = palloc(sizeof(char *) * n);
	qsort(counts, n, sizeof(Count), compare_counts);
	for (int i = 0; i < n; i++)
	{
		const Count *c = &counts[i];
		int row = rows - 1;

		if (i == 0 || compare_counts(&counts[i - 1], c) != 0)
		{
			row = rows++;
			texts[0][row] = c->event;
			texts[1][row] = c->path;
			texts[2][row] = c->rule;
			texts[3][row] = c->mode;
			texts[4][row] = c->message_id;
			times[row] = 0;
			first[row] = last[row] = c->at;
		}
		times[row]++;
		first[row] = Min(first[row], c->at);
		/* the example is the latest; of several the least id, whatever the batch */
		if (c->at > last[row] ||
			(c->at == last[row] && strcmp(c->message_id, texts[4][row]) < 0))
			texts[4][row] = c->message_id;
		last[row] = Max(last[row], c->at);
	}
	args[0] = cdp_array_text(texts[0], rows);
	args[1] = cdp_array_text(texts[1], rows);
	args[2] = cdp_array_text(texts[2], rows);
	args[3] = cdp_array_text(texts[3], rows);
	args[4] = cdp_array_int64(times, rows);
	args[5] = cdp_array_timestamptz(first, rows);
	args[6] = cdp_array_timestamptz(last, rows);
	args[7] = cdp_array_text(texts[4], rows);
	cdp_store_run(&count_plan, args, NULL, false, rows);
}

/*
 * Counts what the messages of a batch did wrong.  fresh: ids of those whose
 * refusal by the plan was not known before.
 */
void
cdp_plan_count(const CdpMessage *messages, int n, List *fresh)
{
	const CdpMessage **counted;
	int ncounted;
	int room = 0;
	int ncounts = 0;
	Count *counts;
	bool any = false;

	for (int i = 0; i < n && !any; i++)
		any = messages[i].plan != NULL;
	if (!any)
		return;
	counted = palloc(sizeof(CdpMessage *) * n);
	ncounted = collect_refused(messages, n, fresh, counted);

	for (int i = 0; i < n; i++)
		if (messages[i].plan && messages[i].status == CDP_ACCEPTED)
			counted[ncounted++] = &messages[i];
	for (int i = 0; i < ncounted; i++)
		room += list_length(counted[i]->plan->faults);
	if (room == 0)
		return;
	counts = palloc(sizeof(Count) * room);
	for (int i = 0; i < ncounted; i++)
	{
		const CdpMessage *m = counted[i];
		ListCell *lc;

		foreach(lc, m->plan->faults)
		{
			const CdpSchemaFault *f = lfirst(lc);
			Count *c = &counts[ncounts++];

			c->event = m->plan->event;
			c->path = f->path;
			c->rule = f->rule;
			c->mode = m->plan->mode;
			c->at = m->received_at;
			c->message_id = m->message_id;
		}
	}
	write_counts(counts, ncounts);
}

/* One step of cdp.maintain(): adds up rows of the same violation; true if it did. */
bool
cdp_plan_fold_step(void)
{
	CdpStore store;
	bool some;

	cdp_store_enter(&store);
	/* none are left when another session folds them */
	some = cdp_store_run(&unfolded_plan, NULL, NULL, false, -1) > 0 &&
		   cdp_store_run(&fold_plan, NULL, NULL, false, -1) > 0;
	cdp_store_leave(&store);
	return some;
}
