/*
 * src/ingest/retention.c
 *		Events that are over go, and live on in the bases of their nodes.
 *
 * A round goes through the partitions in steps of cdp.maintain():
 *
 *	horizons	each rule's is moved forward; what is older may go from then on
 *	fold		some events at a time, in the order of their nodes: the people are
 *				locked, what the events add up to is added to the nodes' bases
 *				(profile/base.h), and they are deleted, all in one transaction.  So
 *				it does not matter where a round is interrupted, or whether events
 *				are old when they come: they are taken like any, and go in the next
 *				round
 *	drop		of partitions that are empty.  Dropping a table does not ask for
 *				snapshots: whoever has an older one would see neither the events nor
 *				what they left.  So it waits until no snapshot can see them, as
 *				VACUUM does.  The lock it needs is waited for a tenth of a second, so
 *				that nobody queues behind it for long; if after some attempts it was
 *				not to be had, then in the next round
 *	ids			of messages that are older than they are to be remembered
 *
 * A partition is not looked at again while no horizon moved within it and the
 * server's statistics know of no new row; they may lose one in a crash, so once
 * a week it is.
 *
 * Which events are over is said in one place: over_condition().
 */
#include "postgres.h"

#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/itemptr.h"
#include "storage/lmgr.h"
#include "storage/procarray.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/rel.h"
#include "utils/uuid.h"

#include "cdp.h"
#include "compat.h"
#include "ingest/config.h"
#include "ingest/retention.h"
#include "profile/base.h"
#include "profile/sequence.h"
#include "profile/session.h"
#include "store.h"

/* Time between two rounds. */
#define EVERY (6 * USECS_PER_HOUR)

/* Events folded in one transaction, and pages of message ids looked at in one. */
#define CHUNK 500
#define PAGES 1000

/* How often the lock for dropping a partition is asked for, a tenth of a second each time. */
#define ATTEMPTS 10

/* What a rule r says at time $1, and under it what is over: a horizon does not go back. */
#define SAID "(($1 AT TIME ZONE 'UTC') - r.keep) AT TIME ZONE 'UTC'"
#define OVER "LEAST(r.horizon, " SAID ")"

static CdpPlan take_plan = {
	"SELECT t.task_id, t.state = 'running', t.position ->> 'phase', t.position ->> 'part', "
	"  coalesce((t.position ->> 'after')::bigint, 0) "
	"FROM cdp_data.task t WHERE t.kind = 'retention' "
	"  AND (t.state = 'running' OR t.updated_at IS NULL OR t.updated_at <= $1) "
	"ORDER BY t.task_id LIMIT 1 FOR UPDATE SKIP LOCKED",
	1,
	{TIMESTAMPTZOID},
	NULL};

static CdpPlan progress_plan = {
	"UPDATE cdp_data.task t SET state = $2, position = jsonb_build_object('phase', $3, "
	"  'part', $4, 'after', $5), done_rows = t.done_rows + $6, updated_at = $7 "
	"WHERE t.task_id = $1",
	7,
	{INT4OID, TEXTOID, TEXTOID, TEXTOID, INT8OID, INT8OID, TIMESTAMPTZOID},
	NULL};

static CdpPlan horizons_plan = {
	"UPDATE cdp_data.retention r SET horizon = " SAID " WHERE r.own AND r.keep IS NOT NULL "
	"AND r.horizon < " SAID,
	1,
	{TIMESTAMPTZOID},
	NULL};

/* Rules under which events go now; one without is for ever. */
static CdpPlan rules_plan = {
	"SELECT r.retention_id, r.event, "
	"  CASE WHEN r.keep IS NULL THEN '-infinity' ELSE " OVER " END "
	"FROM cdp_data.retention r WHERE r.own ORDER BY r.event NULLS FIRST",
	1,
	{TIMESTAMPTZOID},
	NULL};

/* Partitions where something may be over, and those horizons that lie in them. */
static CdpPlan next_part_plan = {
	"SELECT p.name, x.horizons, pg_stat_get_tuples_inserted(i.inhrelid) "
	"FROM cdp_data.event_partition p "
	"JOIN pg_inherits i ON i.inhrelid = to_regclass(format('cdp_data.%I', p.name)) "
	"  AND i.inhparent = 'cdp_data.event'::regclass AND NOT i.inhdetachpending "
	"CROSS JOIN LATERAL (SELECT string_agg(concat_ws(' ', r.retention_id, extract(epoch FROM "
	"    LEAST(GREATEST(r.over, p.from_ts), p.to_ts))), ',' ORDER BY r.retention_id) AS horizons, "
	"    max(r.over) AS latest FROM (SELECT r.retention_id, " OVER " AS over "
	"    FROM cdp_data.retention r WHERE r.own AND r.keep IS NOT NULL) r) x "
	"LEFT JOIN cdp_data.partition_over o ON o.name = p.name "
	"WHERE p.from_ts < x.latest AND CASE WHEN $3 THEN p.name = $2::name ELSE "
	"  p.from_ts > coalesce((SELECT y.from_ts FROM cdp_data.event_partition y "
	"    WHERE y.name = $2::name), '-infinity') "
	"  AND (o.horizons IS DISTINCT FROM x.horizons OR o.looked_at < $1 - interval '7 days' "
	"    OR o.inserted IS DISTINCT FROM pg_stat_get_tuples_inserted(i.inhrelid)) END "
	"ORDER BY p.from_ts LIMIT 1",
	3,
	{TIMESTAMPTZOID, TEXTOID, BOOLOID},
	NULL};

static CdpPlan looked_plan = {
	"INSERT INTO cdp_data.partition_over AS o (name, horizons, looked_at, empty_since, inserted) "
	"VALUES ($1::name, $2, $3, CASE WHEN $4 THEN pg_current_xact_id() END, $5) "
	"ON CONFLICT (name) DO UPDATE SET horizons = excluded.horizons, "
	"  looked_at = excluded.looked_at, empty_since = excluded.empty_since, "
	"  inserted = excluded.inserted",
	5,
	{TEXTOID, TEXTOID, TIMESTAMPTZOID, BOOLOID, INT8OID},
	NULL};

static CdpPlan people_plan = {
	"SELECT DISTINCT n.profile_id FROM cdp_data.node n WHERE n.node_id = ANY ($1)",
	1,
	{INT8ARRAYOID},
	NULL};

static CdpPlan lock_plan = {
	"SELECT s.profile_id FROM cdp_data.profile_state s WHERE s.profile_id = ANY ($1) "
	"ORDER BY s.profile_id FOR NO KEY UPDATE",
	1,
	{INT8ARRAYOID},
	NULL};

/* Of these nodes those whose people are locked. */
static CdpPlan again_plan = {
	"SELECT n.node_id FROM cdp_data.node n WHERE n.node_id = ANY ($1) "
	"AND n.profile_id = ANY ($2)",
	2,
	{INT8ARRAYOID, INT8ARRAYOID},
	NULL};

/* Older snapshots must not go on beside what changed. */
static CdpPlan touch_plan = {
	"UPDATE cdp_data.profile_state s SET rev = s.rev + 1 WHERE s.profile_id = ANY ($1)",
	1,
	{INT8ARRAYOID},
	NULL};

static CdpPlan count_plan = {
	"INSERT INTO cdp_data.retention_done AS d (retention_id, events, last_at) "
	"SELECT u.id, u.n, $3 FROM unnest($1, $2) u (id, n) WHERE u.n > 0 "
	"ON CONFLICT (retention_id) DO UPDATE SET events = d.events + excluded.events, "
	"  last_at = excluded.last_at",
	3,
	{INT4ARRAYOID, INT8ARRAYOID, TIMESTAMPTZOID},
	NULL};

/*
 * Empty partitions that no message of a usual time needs any more, the oldest
 * first.  A number of a transaction of another cluster, whose dump this was,
 * means nothing: it is taken for old if it is ahead.
 */
static CdpPlan empty_plan = {
	"SELECT p.name, o.empty_since::text FROM cdp_data.partition_over o "
	"JOIN cdp_data.event_partition p ON p.name = o.name "
	"JOIN pg_inherits i ON i.inhrelid = to_regclass(format('cdp_data.%I', p.name)) "
	"  AND i.inhparent = 'cdp_data.event'::regclass AND NOT i.inhdetachpending "
	"WHERE o.empty_since IS NOT NULL AND p.name > coalesce($2::name, '') "
	"AND p.to_ts <= (SELECT max(" OVER ") FROM cdp_data.retention r "
	"  WHERE r.own AND r.keep IS NOT NULL) "
	"ORDER BY p.name LIMIT 1",
	2,
	{TIMESTAMPTZOID, TEXTOID},
	NULL};

static CdpPlan forget_part_plan = {
	"WITH gone AS (DELETE FROM cdp_data.event_partition p WHERE p.name = $1::name) "
	"DELETE FROM cdp_data.partition_over o WHERE o.name = $1::name",
	1,
	{TEXTOID},
	NULL};

/* What comes late for a time when there are no partitions left shares one. */
static CdpPlan floor_plan = {
	"UPDATE cdp_data.installation s SET history_before = x.floor FROM (SELECT date_trunc("
	"    (SELECT i.partition_interval FROM cdp_data.installation i), LEAST(min(p.from_ts), "
	"      (SELECT max(r.horizon) FROM cdp_data.retention r)) AT TIME ZONE 'UTC') "
	"    AT TIME ZONE 'UTC' AS floor FROM cdp_data.event_partition p "
	"  WHERE to_regclass(format('cdp_data.%I', p.name)) IS NOT NULL) x "
	"WHERE s.history_before < x.floor",
	0,
	{0},
	NULL};

static CdpPlan seen_since_plan = {
	"UPDATE cdp_data.message_horizon m SET seen_since = x.since "
	"FROM (SELECT (($1 AT TIME ZONE 'UTC') - h.keep) AT TIME ZONE 'UTC' AS since "
	"  FROM cdp_data.message_horizon h) x "
	"WHERE m.keep IS NOT NULL AND m.seen_since < x.since - LEAST(m.keep / 20, interval '30 days') "
	"RETURNING 1",
	1,
	{TIMESTAMPTZOID},
	NULL};

static CdpPlan lock_storage_plan = {"SELECT cdp.lock_storage()", 0, {0}, NULL};

/* An id was received a day before its message's time at the earliest. */
static CdpPlan forget_ids_plan = {
	"WITH gone AS (DELETE FROM cdp_data.message_seen m WHERE m.ctid >= $1 AND m.ctid < $2 "
	"  AND m.received_at < (SELECT h.seen_since FROM cdp_data.message_horizon h) "
	"    - interval '1 day' RETURNING 1) "
	"INSERT INTO cdp_data.retention_done AS d (retention_id, events, last_at) "
	"SELECT 0, count(*), $3 FROM gone HAVING count(*) > 0 ON CONFLICT (retention_id) "
	"DO UPDATE SET events = d.events + excluded.events, last_at = excluded.last_at",
	3,
	{TIDOID, TIDOID, TIMESTAMPTZOID},
	NULL};

static CdpPlan consent_plan = {
	"SELECT FROM cdp_data.consent_log g WHERE g.node_id = ANY ($1) AND g.message_key = $2 "
	"AND g.ts = $3 AND g.source = $4 LIMIT 1",
	4,
	{INT8ARRAYOID, UUIDOID, TIMESTAMPTZOID, TEXTOID},
	NULL};

#define DONE (-1)

/* A rule under which events go. */
typedef struct Rule
{
	int32 id;
	const char *event; /* NULL: all without a rule of their own */
	TimestampTz horizon;
} Rule;

/* A step of a round. */
typedef struct Step
{
	int32 task;
	const char *phase; /* fold, drop, ids; NULL: the round begins */
	const char *part; /* partition that is under way, or was last; NULL: none */
	int64 after; /* node, or page; DONE: the partition is through */
	int64 done;
	bool over;
	Rule *rules; /* that without an event first */
	int nrules;
	TimestampTz latest; /* horizon of any rule */
} Step;

/*
 * Messages of a time whose ids are not remembered are not taken.  Consents are:
 * their log is never forgotten.
 */
void
cdp_retention_screen(CdpMessage *messages, int n)
{
	TimestampTz since = cdp_ingest_config()->seen_since;

	for (int i = 0; since != DT_NOBEGIN && i < n; i++)
		if (messages[i].status == CDP_ACCEPTED && messages[i].ts < since &&
			messages[i].state == NULL)
			cdp_message_reject(&messages[i], "too_old",
							   "ids of messages of its time are not remembered: it may have "
							   "come before");
}

/* Is a consent of a time whose ids are not remembered in the log of these nodes? */
bool
cdp_retention_knows_consent(const CdpMessage *m, const int64 *nodes, int n)
{
	Datum args[4];

	if (m->ts >= cdp_ingest_config()->seen_since)
		return false;
	args[0] = cdp_array_int64(nodes, n);
	args[1] = UUIDPGetDatum((pg_uuid_t *) m->key);
	args[2] = TimestampTzGetDatum(m->ts);
	args[3] = CStringGetTextDatum(m->source);
	return cdp_store_run(&consent_plan, args, NULL, false, -1) > 0;
}

static void
read_rules(Step *step)
{
	Datum args[1] = {TimestampTzGetDatum(cdp_now())};
	int n = cdp_store_run(&rules_plan, args, NULL, false, -1);

	step->rules = palloc0(sizeof(Rule) * Max(n, 1));
	step->latest = DT_NOBEGIN;
	for (int i = 0; i < n; i++)
	{
		Rule *rule = &step->rules[i];

		rule->id = (int32) cdp_store_int64(i, 1);
		rule->event = cdp_store_text(i, 2);
		rule->horizon = cdp_store_int64(i, 3);
		step->latest = Max(step->latest, rule->horizon);
	}
	step->nrules = n;
	SPI_freetuptable(SPI_tuptable);
}

/* The rule of an event, or NULL. */
static Rule *
rule_of(const Step *step, const char *type, const char *name)
{
	const char *event = strcmp(type, "track") == 0 ? name : type;

	for (int i = 0; event && i < step->nrules; i++)
		if (step->rules[i].event && strcmp(step->rules[i].event, event) == 0)
			return &step->rules[i];
	return step->nrules > 0 && step->rules[0].event == NULL ? &step->rules[0] : NULL;
}

static char *
instant(TimestampTz ts)
{
	return psprintf("%s::timestamptz", quote_literal_cstr(timestamptz_to_str(ts)));
}

/*
 * The condition under which an event e is over.  Whoever must stay, for a legal
 * hold, say, is to be left out here and nowhere else.
 */
static char *
over_condition(const Step *step)
{
	StringInfoData sql;
	bool others = step->nrules > 0 && step->rules[0].event == NULL;

	initStringInfo(&sql);
	appendStringInfo(&sql, "e.ts < %s", instant(step->latest));
	if (step->nrules > (others ? 1 : 0))
	{
		appendStringInfoString(&sql, " AND e.ts < CASE CASE WHEN e.type = 'track' THEN e.name "
									 "ELSE e.type END");
		for (int i = others ? 1 : 0; i < step->nrules; i++)
			appendStringInfo(&sql, " WHEN %s THEN %s", quote_literal_cstr(step->rules[i].event),
							 instant(step->rules[i].horizon));
		appendStringInfo(&sql, " ELSE %s END",
						 instant(others ? step->rules[0].horizon : DT_NOBEGIN));
	}
	return sql.data;
}

/* Some events that are over: of the nodes after that one, in their order. */
static int
find_events(const Step *step, Datum **tids, int64 **nodes)
{
	char *sql = psprintf("SELECT e.ctid, e.node_id FROM cdp_data.%s e "
						 "WHERE e.node_id > " INT64_FORMAT " AND %s ORDER BY e.node_id LIMIT %d",
						 quote_identifier(step->part), step->after, over_condition(step), CHUNK);
	int level = NewGUCNestLevel();
	int n;

	(void) set_config_option("enable_seqscan", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
	(void) set_config_option("jit", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
							 false);
	cdp_store_execute(sql);
	AtEOXact_GUC(true, level);
	n = (int) SPI_processed;
	*tids = palloc(sizeof(Datum) * Max(n, 1));
	*nodes = palloc(sizeof(int64) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		bool isnull;
		ItemPointer tid = palloc(sizeof(ItemPointerData));

		*tid = *(ItemPointer) DatumGetPointer(cdp_store_value(i, 1, &isnull));
		(*tids)[i] = PointerGetDatum(tid);
		(*nodes)[i] = cdp_store_int64(i, 2);
	}
	SPI_freetuptable(SPI_tuptable);
	return n;
}

/* Locks the people of these nodes; returns those of the nodes that are theirs still. */
static Datum
lock_people(const int64 *nodes, int n, Datum *people)
{
	Datum args[2] = {cdp_array_int64(nodes, n)};
	int rows = cdp_store_run(&people_plan, args, NULL, false, -1);
	int64 *ids = cdp_store_ids(rows);

	*people = cdp_array_int64(ids, rows);
	rows = cdp_store_run(&lock_plan, people, NULL, false, -1);
	ids = cdp_store_ids(rows);
	*people = args[1] = cdp_array_int64(ids, rows);
	rows = cdp_store_run(&again_plan, args, NULL, false, -1);
	ids = cdp_store_ids(rows);
	return cdp_array_int64(ids, rows);
}

/*
 * Deletes events and adds to the bases numbers and traits; returns them for the
 * rest, in the order of their nodes.
 */
static char *
fold_statement(const char *part)
{
	return psprintf(
		"WITH gone AS (DELETE FROM cdp_data.%s e WHERE e.ctid = ANY ($1) AND e.node_id = ANY ($2) "
		"  RETURNING e.node_id, e.ts, e.message_key, e.type, e.name, e.source, e.properties, "
		"    e.context, e.received_at, "
		"    CASE WHEN e.type = 'identify' AND jsonb_typeof(e.traits) = 'object' THEN e.traits "
		"    END AS traits), "
		"counted AS (INSERT INTO cdp_data.node_base AS b (node_id, events, first_seen, last_seen) "
		"  SELECT g.node_id, count(*), min(g.ts), max(g.ts) FROM gone g GROUP BY g.node_id "
		"  ORDER BY g.node_id ON CONFLICT (node_id) DO UPDATE SET "
		"    events = b.events + excluded.events, "
		"    first_seen = LEAST(b.first_seen, excluded.first_seen), "
		"    last_seen = GREATEST(b.last_seen, excluded.last_seen)), "
		"given AS (SELECT g.node_id, t.key AS name, g.source, t.value, g.ts, g.message_key, "
		"    substr(sha256(convert_to(jsonb_build_array(t.key, g.source, t.value)::text, 'UTF8')), "
		"      1, 16) AS hash FROM gone g CROSS JOIN LATERAL jsonb_each(g.traits) t "
		"  WHERE g.traits IS NOT NULL), "
		"valued AS (INSERT INTO cdp_data.node_base_trait AS b (node_id, hash, name, source, value, "
		"    times, first_ts, first_key, last_ts, last_key) "
		"  SELECT v.node_id, v.hash, min(v.name), min(v.source), (array_agg(v.value))[1], "
		"    count(*), "
		"    min(v.ts), (array_agg(v.message_key ORDER BY v.ts, v.message_key))[1], "
		"    max(v.ts), (array_agg(v.message_key ORDER BY v.ts DESC, v.message_key DESC))[1] "
		"  FROM given v GROUP BY v.node_id, v.hash ORDER BY v.node_id, v.hash "
		"  ON CONFLICT (node_id, hash) DO UPDATE SET times = b.times + excluded.times, "
		"    first_ts = LEAST(b.first_ts, excluded.first_ts), "
		"    first_key = CASE WHEN (excluded.first_ts, excluded.first_key) < "
		"      (b.first_ts, b.first_key) THEN excluded.first_key ELSE b.first_key END, "
		"    last_ts = GREATEST(b.last_ts, excluded.last_ts), "
		"    last_key = CASE WHEN (excluded.last_ts, excluded.last_key) > "
		"      (b.last_ts, b.last_key) THEN excluded.last_key ELSE b.last_key END) "
		"SELECT g.node_id, g.ts, g.message_key, g.type, g.name, g.properties, "
		"  g.traits IS NOT NULL, g.context, g.source, g.received_at FROM gone g ORDER BY g.node_id",
		quote_identifier(part));
}

/* Counts events by the rule under which they went. */
static void
count_events(const Step *step, const CdpMetricEvent *events, int n)
{
	int32 *ids = palloc(sizeof(int32) * Max(step->nrules, 1));
	int64 *counts = palloc0(sizeof(int64) * Max(step->nrules, 1));
	Datum args[3];

	for (int i = 0; i < step->nrules; i++)
		ids[i] = step->rules[i].id;
	for (int i = 0; i < n; i++)
	{
		Rule *rule = rule_of(step, events[i].type, events[i].name);

		if (rule)
			counts[rule - step->rules]++;
	}
	args[0] = cdp_array_int32(ids, step->nrules);
	args[1] = cdp_array_int64(counts, step->nrules);
	args[2] = TimestampTzGetDatum(cdp_now());
	cdp_store_run(&count_plan, args, NULL, false, -1);
}

/* Moves events into the bases; their people are locked.  Returns how many there were. */
static int
fold_events(const Step *step, Datum *tids, int ntids, Datum nodes)
{
	Datum args[2] = {cdp_array_datums(tids, NULL, ntids, TIDOID), nodes};
	Oid types[2] = {TIDARRAYOID, INT8ARRAYOID};
	CdpMetricEvent *events;
	int64 *changed;
	int nchanged = 0;
	int n;

	if (SPI_execute_with_args(fold_statement(step->part), 2, types, args, NULL, false, 0) < 0)
		elog(ERROR, "cdp: events could not be folded");
	n = (int) SPI_processed;
	events = palloc0(sizeof(CdpMetricEvent) * Max(n, 1));
	changed = palloc(sizeof(int64) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		CdpMetricEvent *event = &events[i];
		bool isnull;
		Datum d;

		event->node_id = cdp_store_int64(i, 1);
		event->ts = cdp_store_int64(i, 2);
		event->key = DatumGetUUIDP(cdp_store_value(i, 3, &isnull))->data;
		event->type = cdp_store_text(i, 4);
		event->name = cdp_store_text(i, 5);
		d = cdp_store_value(i, 6, &isnull);
		event->properties = isnull ? NULL : DatumGetJsonbP(d);
		d = cdp_store_value(i, 8, &isnull);
		event->context = isnull ? NULL : DatumGetJsonbP(d);
		event->source = cdp_store_text(i, 9);
		event->received_at = cdp_store_int64(i, 10);
		if (DatumGetBool(cdp_store_value(i, 7, &isnull)) &&
			(nchanged == 0 || changed[nchanged - 1] != event->node_id))
			changed[nchanged++] = event->node_id;
	}
	cdp_base_fold_metrics(events, n);
	cdp_session_fold_gone(events, n);
	cdp_sequence_fold_gone(events, n);
	cdp_base_prune(changed, nchanged, step->latest);
	count_events(step, events, n);
	return n;
}

/* Is the partition empty now, whatever a transaction's own snapshot sees? */
static bool
is_empty(const char *part)
{
	return cdp_store_run_latest(psprintf("SELECT FROM cdp_data.%s LIMIT 1",
										 quote_identifier(part))) == 0;
}

/* What is known of a partition when it is looked at. */
typedef struct Looked
{
	char *horizons;
	int64 inserted;
} Looked;

/*
 * The partition under way goes on, or the next one becomes the step's: each is
 * looked at once a round, however much comes in meanwhile.  False: there is none.
 */
static bool
next_part(Step *step, Looked *looked)
{
	Datum args[3] = {TimestampTzGetDatum(cdp_now())};
	char nulls[4] = "   ";
	int n = 0;

	args[1] = step->part ? CStringGetTextDatum(step->part) : (Datum) 0;
	nulls[1] = step->part ? ' ' : 'n';
	for (int again = step->part && step->after != DONE ? 1 : 0; n == 0 && again >= 0; again--)
	{
		args[2] = BoolGetDatum(again == 1);
		n = cdp_store_run(&next_part_plan, args, nulls, false, -1);
		if (n == 0 || again == 0)
			step->after = 0;
	}
	if (n == 0)
		return false;
	step->part = cdp_store_text(0, 1);
	looked->horizons = cdp_store_text(0, 2);
	looked->inserted = cdp_store_int64(0, 3);
	return true;
}

/* Folds some events that are over. */
static void
do_fold(Step *step)
{
	Looked looked;
	Datum *tids;
	int64 *nodes;
	Datum args[5];
	Datum people;
	Datum mine;
	int n;

	read_rules(step);
	if (step->latest == DT_NOBEGIN || !next_part(step, &looked))
	{
		step->phase = "drop";
		step->part = NULL;
		step->after = 0;
		return;
	}
	n = find_events(step, &tids, &nodes);
	if (n > 0)
	{
		mine = lock_people(nodes, n, &people);
		step->done = fold_events(step, tids, n, mine);
		cdp_store_run(&touch_plan, &people, NULL, false, -1);
		/* the last node may have more; but one that went to somebody else is for the next round */
		step->after = step->done > 0 && n == CHUNK ? nodes[n - 1] - 1 : nodes[n - 1];
	}
	if (n == CHUNK)
		return;
	args[0] = CStringGetTextDatum(step->part);
	args[1] = CStringGetTextDatum(looked.horizons);
	args[2] = TimestampTzGetDatum(cdp_now());
	args[3] = BoolGetDatum(is_empty(step->part));
	args[4] = Int64GetDatum(looked.inserted);
	cdp_store_run(&looked_plan, args, NULL, false, 1);
	step->after = DONE;
}

/* A partition to be dropped. */
typedef struct Dropping
{
	const char *name;
	bool gone;
} Dropping;

static bool
is_lock_failure(int sqlstate)
{
	return sqlstate == ERRCODE_LOCK_NOT_AVAILABLE || sqlstate == ERRCODE_T_R_DEADLOCK_DETECTED;
}

static void
drop_part(void *arg)
{
	Dropping *d = arg;
	Datum args[1] = {CStringGetTextDatum(d->name)};
	const char *name = quote_identifier(d->name);
	int level = NewGUCNestLevel();

	(void) set_config_option("lock_timeout", "100ms", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
	/* only one is waited for, and nothing that writers wait for is held meanwhile */
	LockRelationOid(cdp_store_relation("event"), AccessExclusiveLock);
	if (!ConditionalLockRelationOid(cdp_store_relation("event_partition"),
									ShareRowExclusiveLock) ||
		!ConditionalLockRelationOid(cdp_store_relation(d->name), AccessExclusiveLock))
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("a partition of events is in use")));
	/* somebody may have been late */
	d->gone = is_empty(d->name);
	if (d->gone)
	{
		cdp_store_execute(psprintf("DROP TABLE cdp_data.%s", name));
		cdp_store_run(&forget_part_plan, args, NULL, false, -1);
		cdp_store_run(&floor_plan, NULL, NULL, false, -1);
	}
	AtEOXact_GUC(true, level);
}

/* Can no snapshot see what was there before this transaction? */
static bool
is_past(const char *xid, const char *part)
{
	FullTransactionId full = FullTransactionIdFromU64(strtoull(xid, NULL, 10));
	Relation rel;
	TransactionId oldest;

	if (!FullTransactionIdPrecedes(full, ReadNextFullTransactionId()))
		return true;
	/* long ago, by another counter */
	if (U64FromFullTransactionId(ReadNextFullTransactionId()) - U64FromFullTransactionId(full) >
		PG_INT32_MAX)
		return true;
	rel = table_open(cdp_store_relation(part), AccessShareLock);
	oldest = GetOldestNonRemovableTransactionId(rel);
	table_close(rel, AccessShareLock);
	return TransactionIdPrecedes(XidFromFullTransactionId(full), oldest);
}

/*
 * Drops one partition that is empty for everybody.  Where readers stand in the
 * way all the time, the others must wait, too: the lock is the same.
 */
static void
do_drop(Step *step)
{
	Datum args[2] = {TimestampTzGetDatum(cdp_now())};
	char nulls[3] = " n";
	Dropping d = {0};

	if (step->part)
	{
		args[1] = CStringGetTextDatum(step->part);
		nulls[1] = ' ';
	}
	if (cdp_store_run(&empty_plan, args, nulls, false, -1) == 0)
	{
		step->phase = "ids";
		step->part = NULL;
		step->after = 0;
		return;
	}
	d.name = step->part = cdp_store_text(0, 1);
	if (!is_past(cdp_store_text(0, 2), d.name))
		return;
	for (int i = 0; i < ATTEMPTS; i++)
	{
		if (cdp_store_try(drop_part, &d, is_lock_failure) == NULL)
			return;
		CHECK_FOR_INTERRUPTS();
		pg_usleep(100000L);
	}
	step->phase = "ids";
	step->part = NULL;
}

static void
forbid_ids(void *arg)
{
	bool *moved = arg;
	Datum args[1] = {TimestampTzGetDatum(cdp_now())};

	*moved = cdp_store_run(&seen_since_plan, args, NULL, false, -1) > 0;
	if (*moved)
		cdp_store_run(&lock_storage_plan, NULL, NULL, false, 1);
}

/*
 * Forgets ids of messages.  Before the first one goes, everybody must know that
 * messages of its time are not taken any more: who began before is waited for.
 */
static void
do_ids(Step *step)
{
	Datum args[3];
	ItemPointerData from;
	ItemPointerData to;
	Relation rel;
	BlockNumber pages;

	if (step->after == 0)
	{
		bool moved = false;

		step->over = cdp_store_try(forbid_ids, &moved, is_lock_failure) != NULL || !moved;
		step->after = 1;
		return;
	}
	rel = table_open(cdp_store_relation("message_seen"), RowExclusiveLock);
	pages = RelationGetNumberOfBlocks(rel);
	table_close(rel, NoLock);
	ItemPointerSet(&from, (BlockNumber) (step->after - 1), 0);
	ItemPointerSet(&to, (BlockNumber) (step->after - 1 + PAGES), 0);
	args[0] = PointerGetDatum(&from);
	args[1] = PointerGetDatum(&to);
	args[2] = TimestampTzGetDatum(cdp_now());
	(void) cdp_store_run(&forget_ids_plan, args, NULL, false, -1);
	step->after += PAGES;
	step->over = step->after > (int64) pages;
}

static void
report(const Step *step)
{
	Datum args[7];
	char nulls[8] = "       ";

	args[0] = Int32GetDatum(step->task);
	args[1] = CStringGetTextDatum(step->over ? "done" : "running");
	args[2] = CStringGetTextDatum(step->phase);
	args[3] = step->part ? CStringGetTextDatum(step->part) : (Datum) 0;
	if (step->part == NULL)
		nulls[3] = 'n';
	args[4] = Int64GetDatum(step->over ? 0 : step->after);
	args[5] = Int64GetDatum(step->done);
	args[6] = TimestampTzGetDatum(cdp_now());
	cdp_store_run(&progress_plan, args, nulls, false, 1);
}

/* A step of a round; false: it is not time for one. */
bool
cdp_retention_step(void)
{
	CdpStore store;
	Step step = {0};
	Datum args[1] = {TimestampTzGetDatum(cdp_now() - EVERY)};
	bool isnull;

	cdp_store_enter(&store);
	/* before any other lock: see cdp.lock_storage() */
	LockRelationOid(cdp_store_relation("profile_state"), RowExclusiveLock);
	if (cdp_store_run(&take_plan, args, NULL, false, -1) == 0)
	{
		cdp_store_leave(&store);
		return false;
	}
	step.task = (int32) cdp_store_int64(0, 1);
	if (DatumGetBool(cdp_store_value(0, 2, &isnull)))
	{
		step.phase = cdp_store_text(0, 3);
		step.part = cdp_store_text(0, 4);
		step.after = cdp_store_int64(0, 5);
	}
	if (step.phase == NULL)
	{
		args[0] = TimestampTzGetDatum(cdp_now());
		cdp_store_run(&horizons_plan, args, NULL, false, -1);
		step.phase = "fold";
	}
	else if (strcmp(step.phase, "fold") == 0)
		do_fold(&step);
	else if (strcmp(step.phase, "drop") == 0)
		do_drop(&step);
	else
		do_ids(&step);
	report(&step);
	cdp_store_leave(&store);
	return true;
}
