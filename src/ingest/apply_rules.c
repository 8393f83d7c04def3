/*
 * src/ingest/apply_rules.c
 *		Changed rules on what is known: tried out, or carried out.
 *
 * Only some people can be concerned: those of whom a link was refused, and
 * those who have more identifiers, or others, than the rules allow.  For all
 * others every link is kept and may be: resolving them again gives what is.
 *
 * Carried out in steps of cdp.maintain(), a component and a commit each, so
 * that writers wait for one component at most.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "identity/component.h"
#include "identity/rules.h"
#include "ingest/ingest.h"
#include "profile/metric.h"
#include "profile/sequence.h"
#include "profile/session.h"
#include "store.h"

/* People looked at in one statement. */
#define CHUNK 200

/* People shown by a dry run. */
#define SAMPLE 10

PG_FUNCTION_INFO_V1(cdp_simulate_rules);

static CdpPlan people_plan = {
	"SELECT s.profile_id, s.contested OR s.separated FROM cdp_data.profile_state s "
	"WHERE s.profile_id > $1 ORDER BY s.profile_id LIMIT $2",
	2,
	{INT8OID, INT8OID},
	NULL};

/* What is no more counts for nothing but the size of a person. */
static CdpPlan identifiers_plan = {
	"SELECT p.profile_id, i.namespace, i.value, n.node_id, i.uncounted "
	"FROM unnest($1) p (profile_id) "
	"CROSS JOIN LATERAL (SELECT n.node_id FROM cdp_data.node n "
	"  WHERE n.profile_id = p.profile_id OFFSET 0) n "
	"CROSS JOIN LATERAL (SELECT i.namespace, i.value, i.uncounted FROM cdp_data.identifier i "
	"  WHERE i.node_id = n.node_id "
	"  UNION ALL SELECT r.namespace, r.value, r.uncounted FROM cdp_data.identifier_retired r "
	"  WHERE r.node_id = n.node_id OFFSET 0) i ORDER BY 1, 5, 2",
	1,
	{INT8ARRAYOID},
	NULL};

static CdpPlan take_plan = {
	"SELECT t.task_id, coalesce((t.position #>> '{}')::bigint, 0) FROM cdp_data.task t "
	"WHERE t.kind = 'rules' AND t.state IN ('waiting', 'running') "
	"ORDER BY t.task_id LIMIT 1 FOR UPDATE SKIP LOCKED",
	0,
	{0},
	NULL};

static CdpPlan progress_plan = {
	"UPDATE cdp_data.task t SET state = $2, position = to_jsonb($3), "
	"  done_rows = t.done_rows + $4, error = coalesce($5, t.error), updated_at = $6 "
	"WHERE t.task_id = $1",
	6,
	{INT4OID, TEXTOID, INT8OID, INT8OID, TEXTOID, TIMESTAMPTZOID},
	NULL};

/* Events filed under a value that is nobody's go to the next identifier they name. */
static CdpPlan refile_plan = {
	"UPDATE cdp_data.event e SET node_id = e.other_nodes[1], "
	"  other_nodes = nullif(e.other_nodes[2:], '{}'), "
	"  blocked = array_append(e.blocked, u.name) "
	"FROM unnest($1, $2) u (node_id, name) "
	"WHERE e.node_id = ANY (ARRAY[u.node_id]) AND e.other_nodes IS NOT NULL RETURNING e.node_id",
	2,
	{INT8ARRAYOID, TEXTARRAYOID},
	NULL};

/* People after "after" whom the rules may concern, of the next few. */
typedef struct Candidates
{
	int64 *ids;
	int *at; /* how many were looked at up to each */
	int n;
	int seen;
	int64 last;
} Candidates;

static void
find_candidates(int64 after, Candidates *c)
{
	Datum args[2] = {Int64GetDatum(after), Int64GetDatum(CHUNK)};
	int rows = cdp_store_run(&people_plan, args, NULL, false, -1);
	int64 *all = palloc(sizeof(int64) * Max(rows, 1));
	bool *wanted = palloc(sizeof(bool) * Max(rows, 1));
	bool isnull;
	int p = 0;
	int total = 0;
	int same = 0;
	char *ns = NULL;

	c->seen = rows;
	c->n = 0;
	c->ids = palloc(sizeof(int64) * Max(rows, 1));
	c->at = palloc(sizeof(int) * Max(rows, 1));
	for (int r = 0; r < rows; r++)
	{
		all[r] = cdp_store_int64(r, 1);
		wanted[r] = DatumGetBool(cdp_store_value(r, 2, &isnull));
	}
	if (rows == 0)
		return;
	c->last = all[rows - 1];
	args[0] = cdp_array_int64(all, rows);
	rows = cdp_store_run(&identifiers_plan, args, NULL, false, -1);
	for (int r = 0; r < rows; r++)
	{
		int64 id = cdp_store_int64(r, 1);
		char *name = cdp_store_text(r, 2);
		int limit;

		if (all[p] != id)
		{
			while (all[p] != id)
				p++;
			total = same = 0;
			ns = NULL;
		}
		if (DatumGetBool(cdp_store_value(r, 5, &isnull)))
		{
			wanted[p] = wanted[p] || ++total > cdp_rules()->max_nodes;
			continue;
		}
		same = ns && strcmp(ns, name) == 0 ? same + 1 : 1;
		ns = name;
		limit = cdp_rules_namespace(ns)->rule.limit;
		wanted[p] = wanted[p] || (limit > 0 && same > limit) || ++total > cdp_rules()->max_nodes ||
					cdp_rules_blocked(ns, cdp_store_text(r, 3));
	}
	for (int i = 0; i < c->seen; i++)
		if (wanted[i])
		{
			c->at[c->n] = i + 1;
			c->ids[c->n++] = all[i];
		}
}

/*
 * Refiles the events of values that are nobody's now, for the locked people.
 * False: there are none.
 */
static bool
refile_events(CdpGraph *graph)
{
	bool refiled = false;
	int64 *ids = palloc(sizeof(int64) * Max(graph->nlocked, 1));
	Datum args[2];
	int rows;
	int n = 0;
	int64 *nodes;
	const char **names;
	bool isnull;

	for (int i = 0; i < graph->nlocked; i++)
		ids[i] = graph->locked[i].profile_id;
	args[0] = cdp_array_int64(ids, graph->nlocked);
	rows = cdp_store_run(&identifiers_plan, args, NULL, false, -1);
	nodes = palloc(sizeof(int64) * Max(rows, 1));
	names = palloc(sizeof(char *) * Max(rows, 1));
	for (int r = 0; r < rows; r++)
	{
		char *ns = cdp_store_text(r, 2);
		char *value = cdp_store_text(r, 3);

		if (DatumGetBool(cdp_store_value(r, 5, &isnull)) || !cdp_rules_blocked(ns, value))
			continue;
		nodes[n] = cdp_store_int64(r, 4);
		names[n++] = psprintf("%s:%s", ns, value);
	}
	if (n == 0)
		return false;
	args[0] = cdp_array_int64(nodes, n);
	args[1] = cdp_array_text(names, n);
	while ((rows = cdp_store_run(&refile_plan, args, NULL, false, -1)) > 0)
	{
		/* who lost events has all that follows from them made anew, and so has who got them */
		int64 *changed = palloc(sizeof(int64) * (rows + n));

		CHECK_FOR_INTERRUPTS();
		for (int r = 0; r < rows; r++)
			changed[r] = cdp_store_int64(r, 1);
		memcpy(&changed[rows], nodes, sizeof(int64) * n);
		(void) cdp_metric_rebuild(changed, rows + n, 0);
		cdp_session_rebuild(changed, rows + n, 0);
		cdp_sequence_rebuild(changed, rows + n, 0);
		pfree(changed);
		refiled = true;
	}
	return refiled;
}

static void
resolve_again(void *arg)
{
	CdpGraph graph = {0};
	bool refiled;

	cdp_graph_reresolve(&graph, arg, 1);
	/* an event may go from one person to another although both keep what they have */
	refiled = refile_events(&graph);
	for (int i = 0; i < graph.nlocked; i++)
		graph.locked[i].rebuild |= graph.locked[i].reshaped || refiled;
	cdp_ingest_settle(&graph, GetUserId());
}

/*
 * Was this person's component resolved with somebody of a lower id?  All of a
 * component of several people are candidates.
 */
static bool
is_resolved(int64 profile_id)
{
	CdpComponent *c = cdp_component_load(&profile_id, 1);

	return !c->too_large && c->nprofiles > 0 && c->profiles[0] < profile_id;
}

static bool
is_too_large(int sqlstate)
{
	return sqlstate == ERRCODE_PROGRAM_LIMIT_EXCEEDED;
}

/* One component, or a few people whom the rules do not concern; false: no task waits. */
bool
cdp_apply_rules_step(void)
{
	CdpStore store;
	Candidates c = {0};
	Datum args[6];
	char nulls[7] = "    n ";
	int64 position;
	int done;
	int next = 0;
	bool finished = false;

	cdp_store_enter(&store);
	if (cdp_store_run(&take_plan, NULL, NULL, false, -1) == 0)
	{
		cdp_store_leave(&store);
		return false;
	}
	args[0] = Int32GetDatum((int32) cdp_store_int64(0, 1));
	position = cdp_store_int64(0, 2);
	find_candidates(position, &c);
	while (next < c.n && is_resolved(c.ids[next]))
		next++;
	if (next < c.n)
	{
		ErrorData *error = cdp_store_try(resolve_again, &c.ids[next], is_too_large);

		if (error)
		{
			args[4] = CStringGetTextDatum(psprintf("profile " INT64_FORMAT ": %s", c.ids[next],
												   error->message));
			nulls[4] = ' ';
		}
		/* those after it are looked at again */
		position = c.ids[next];
		done = c.at[next];
	}
	else
	{
		position = c.seen > 0 ? c.last : position;
		done = c.seen;
		finished = c.seen < CHUNK;
	}
	args[1] = CStringGetTextDatum(finished ? "done" : "running");
	args[2] = Int64GetDatum(position);
	args[3] = Int64GetDatum(done);
	args[5] = TimestampTzGetDatum(cdp_now());
	cdp_store_run(&progress_plan, args, nulls, false, 1);
	cdp_store_leave(&store);
	return true;
}

/* What a dry run found. */
typedef struct Outcome
{
	int64 people;
	int64 resolved; /* components */
	int64 merging; /* people who would be one with others */
	int64 merged; /* people these would be */
	int64 splitting; /* people who would come apart */
	int64 parts; /* people these would be */
	int64 too_large; /* components that cannot be resolved */
	int64 largest_before; /* identifiers */
	int64 largest_after;
	int shown;
	StringInfoData sample;
} Outcome;

/* A component's people, before and after, for the sample. */
static void
show(const CdpComponent *c, Outcome *o)
{
	StringInfo s = &o->sample;
	bool first = true;

	if (o->shown++ >= SAMPLE)
		return;
	appendStringInfo(s, "%s{\"profiles\": [", s->len > 0 ? ", " : "");
	for (int p = 0; p < Min(c->nprofiles, 100); p++)
		appendStringInfo(s, "%s" INT64_FORMAT, p ? ", " : "", c->profiles[p]);
	appendStringInfoString(s, "], \"people\": [");
	for (int g = 0; g < c->nnodes; g++)
	{
		int n = 0;

		if (c->linkage.group[g] != g)
			continue;
		appendStringInfo(s, "%s[", first ? "" : ", ");
		first = false;
		for (int i = 0; i < c->nnodes && n < 20; i++)
			if (c->linkage.group[i] == g)
			{
				appendStringInfoString(s, n++ ? ", " : "");
				escape_json(s, psprintf("%s:%s", c->nodes[i].ns, c->nodes[i].value));
			}
		appendStringInfoChar(s, ']');
	}
	appendStringInfoString(s, "]}");
}

static void
compare_component(const CdpComponent *c, Outcome *o)
{
	int64 *pair = palloc(sizeof(int64) * Max(c->nnodes, 1));
	int *size = palloc0(sizeof(int) * Max(c->nnodes, 1));
	int *people = palloc0(sizeof(int) * Max(c->nnodes, 1));
	int *parts = palloc0(sizeof(int) * Max(c->nprofiles, 1));
	int *had = palloc0(sizeof(int) * Max(c->nprofiles, 1));
	int64 last = -1;
	bool changed = false;

	for (int i = 0; i < c->nnodes; i++)
	{
		int64 *p = bsearch(&c->nodes[i].profile_id, c->profiles, c->nprofiles, sizeof(int64),
						   cdp_compare_int64);

		size[c->linkage.group[i]]++;
		had[p - c->profiles]++;
		pair[i] = (int64) c->linkage.group[i] * c->nprofiles + (p - c->profiles);
	}
	qsort(pair, c->nnodes, sizeof(int64), cdp_compare_int64);
	for (int i = 0; i < c->nnodes; i++)
	{
		if (pair[i] == last)
			continue;
		last = pair[i];
		people[last / c->nprofiles]++;
		parts[last % c->nprofiles]++;
	}
	for (int g = 0; g < c->nnodes; g++)
	{
		o->largest_after = Max(o->largest_after, size[g]);
		if (people[g] < 2)
			continue;
		o->merging += people[g];
		o->merged++;
		changed = true;
	}
	for (int p = 0; p < c->nprofiles; p++)
	{
		o->largest_before = Max(o->largest_before, had[p]);
		if (parts[p] < 2)
			continue;
		o->splitting++;
		o->parts += parts[p];
		changed = true;
	}
	if (changed)
		show(c, o);
}

static void
simulate(Outcome *o)
{
	HASHCTL ctl = {0};
	HTAB *seen;
	Candidates c = {0};
	MemoryContext step = AllocSetContextCreate(CurrentMemoryContext, "cdp simulate rules",
											   ALLOCSET_DEFAULT_SIZES);
	MemoryContext old;
	TimestampTz told = GetCurrentTimestamp();

	ctl.keysize = sizeof(int64);
	ctl.entrysize = sizeof(int64);
	ctl.hcxt = CurrentMemoryContext;
	seen = hash_create("cdp simulated people", 1024, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	do
	{
		CHECK_FOR_INTERRUPTS();
		old = MemoryContextSwitchTo(step);
		find_candidates(c.last, &c);
		o->people += c.seen;
		for (int i = 0; i < c.n; i++)
		{
			CdpComponent *component;
			bool found;

			if (hash_search(seen, &c.ids[i], HASH_FIND, NULL))
				continue;
			component = cdp_component_load(&c.ids[i], 1);
			for (int p = 0; p < component->nprofiles; p++)
				hash_search(seen, &component->profiles[p], HASH_ENTER, &found);
			if (component->too_large)
			{
				o->too_large++;
				continue;
			}
			cdp_component_run(component);
			o->resolved++;
			compare_component(component, o);
		}
		MemoryContextSwitchTo(old);
		MemoryContextReset(step);
		if (GetCurrentTimestamp() - told > 10 * USECS_PER_SEC)
		{
			told = GetCurrentTimestamp();
			ereport(NOTICE, (errmsg("looked at " INT64_FORMAT " people", o->people)));
		}
	} while (c.seen == CHUNK);
	hash_destroy(seen);
}

/* cdp.simulate_rules(changes): nothing is written, nobody is locked. */
Datum
cdp_simulate_rules(PG_FUNCTION_ARGS)
{
	Jsonb *changes = PG_GETARG_JSONB_P(0);
	MemoryContext context = CurrentMemoryContext;
	CdpStore store;
	Outcome o = {0};
	char *text;
	MemoryContext old;

	if (!JB_ROOT_IS_OBJECT(changes))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("changes must be a JSON object"),
				 errhint("Example: {\"email\": {\"max_per_profile\": 1}}.")));
	initStringInfo(&o.sample);
	text = JsonbToCString(NULL, &changes->root, VARSIZE(changes));
	cdp_store_enter(&store);
	PG_TRY();
	{
		cdp_rules_suppose(text);
		simulate(&o);
	}
	PG_FINALLY();
	{
		cdp_rules_suppose(NULL);
	}
	PG_END_TRY();
	old = MemoryContextSwitchTo(context);
	text = psprintf("{\"profiles\": " INT64_FORMAT ", \"resolved\": " INT64_FORMAT
					", \"profiles_merging\": " INT64_FORMAT ", \"merged_into\": " INT64_FORMAT
					", \"profiles_splitting\": " INT64_FORMAT ", \"split_into\": " INT64_FORMAT
					", \"largest_before\": " INT64_FORMAT ", \"largest_after\": " INT64_FORMAT
					", \"too_large\": " INT64_FORMAT ", \"sample\": [%s]}",
					o.people, o.resolved, o.merging, o.merged, o.splitting, o.parts,
					o.largest_before, o.largest_after, o.too_large, o.sample.data);
	MemoryContextSwitchTo(old);
	cdp_store_leave(&store);
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(text));
}
