/*
 * src/profile/verify.c
 *		Is what is stored of people what follows from its sources?
 *
 *	state		events, first_seen, last_seen: her events
 *	traits		values and marks: her identify messages, folded
 *	metrics		her events, see metric_check.c
 *	sessions	the parts of her nodes: her events
 *	sequences	the marks of her nodes: her events
 *	segments	the rules; and segment_member says what the state says
 *	consent		consent_current: the log; consent_ord, consent_node: the latest
 *				records of her identifiers
 *	positions	profile and profile_state name one
 *	rows		of both, for whoever has identifiers: see restore.c
 *
 * Whose she is, identity/check.c looks at.  Everything is read with one
 * snapshot (cdp_store_freeze()), so that writers beside are no difference.
 * The repairs are for what folding people anew does not write; whoever calls
 * them holds their locks.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "consent/consent.h"
#include "profile/profile.h"
#include "profile/sequence.h"
#include "profile/session.h"
#include "profile/trait.h"
#include "profile/verify.h"
#include "segment/chunk.h"
#include "segment/segment.h"
#include "store.h"

static CdpPlan state_plan = {
	"SELECT u.profile_id, v.what, v.live, v.recomputed "
	"FROM unnest($1, $2, $3, $4) u (profile_id, events, f, l) "
	"LEFT JOIN LATERAL (SELECT s.* FROM cdp_data.profile_state s "
	"  WHERE s.profile_id = u.profile_id OFFSET 0) s ON true "
	"LEFT JOIN LATERAL (SELECT p.ord FROM cdp_data.profile p "
	"  WHERE p.profile_id = u.profile_id OFFSET 0) p ON true "
	"LEFT JOIN LATERAL (SELECT t.ord FROM cdp_data.timer t "
	"  WHERE t.profile_id = u.profile_id OFFSET 0) t ON true "
	"CROSS JOIN LATERAL (VALUES ('events', s.events::text, u.events::text), "
	"  ('first_seen', s.first_seen::text, u.f::text), ('last_seen', s.last_seen::text, u.l::text), "
	"  ('position', s.ord::text, p.ord::text), "
	"  ('position of timer', coalesce(t.ord, p.ord)::text, p.ord::text)) "
	"  v (what, live, recomputed) "
	"WHERE v.live IS DISTINCT FROM v.recomputed "
	"AND (v.what NOT LIKE 'position%' OR v.live <> v.recomputed)",
	4,
	{INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID},
	NULL};

/* The state's list of segments against the members. */
static CdpPlan member_plan = {
	"SELECT s.profile_id, 'segment_member', m.segments::text, s.segments::text "
	"FROM unnest($1) p (profile_id) "
	"CROSS JOIN LATERAL (SELECT s.profile_id, s.ord, s.segments FROM cdp_data.profile_state s "
	"  WHERE s.profile_id = p.profile_id OFFSET 0) s "
	"CROSS JOIN LATERAL (SELECT ARRAY(SELECT CASE WHEN m.ord = s.ord THEN m.segment_id ELSE -1 END "
	"    FROM cdp_data.segment_member m WHERE m.profile_id = s.profile_id ORDER BY 1) AS segments "
	"  OFFSET 0) m "
	"WHERE m.segments <> s.segments",
	1,
	{INT8ARRAYOID},
	NULL};

static CdpPlan names_plan = {
	"SELECT ARRAY(SELECT coalesce(g.name, u.id::text) FROM unnest($1::int[]) u (id) "
	"  LEFT JOIN cdp_data.segment g ON g.set_id = u.id ORDER BY 1)::text",
	1,
	{TEXTOID},
	NULL};

/* A record of consent as a text; what is not said leaves nothing in it. */
#define RECORD(row) \
	"concat_ws(' ', " row ".state, " row ".ts, " row ".message_key, " row ".valid_until, " row \
	".source, nullif(" row ".channel, 'all'), " row ".basis, " row ".notice_id, " row \
	".collection_point, " row ".valid_from, " row ".jurisdiction)"

#define RECORD_CURRENT RECORD("c")
#define RECORD_LOGGED RECORD("g")

/* The latest record of each identifier against the log. */
static CdpPlan current_plan = {
	"SELECT p.profile_id, 'consent record for ' || coalesce(q.name, x.purpose_id::text), "
	"  x.live, x.recomputed "
	"FROM unnest($1) p (profile_id) "
	"CROSS JOIN LATERAL (SELECT n.node_id FROM cdp_data.node n "
	"  WHERE n.profile_id = p.profile_id OFFSET 0) n "
	"CROSS JOIN LATERAL (SELECT coalesce(c.purpose_id, g.purpose_id) AS purpose_id, "
	"    c.record AS live, g.record AS recomputed "
	"  FROM (SELECT c.purpose_id, c.channel, " RECORD_CURRENT " AS record "
	"    FROM cdp_data.consent_current c WHERE c.node_id = n.node_id) c "
	"  FULL JOIN (SELECT DISTINCT ON (g.purpose_id, g.channel) g.purpose_id, g.channel, "
	"      " RECORD_LOGGED " AS record FROM cdp_data.consent_log g WHERE g.node_id = n.node_id "
	"    ORDER BY g.purpose_id, g.channel, g.ts DESC, g.message_key DESC) g "
	"  ON g.purpose_id = c.purpose_id AND g.channel = c.channel "
	"  WHERE c.record IS DISTINCT FROM g.record OFFSET 0) x "
	"LEFT JOIN cdp_data.purpose q ON q.purpose_id = x.purpose_id",
	1,
	{INT8ARRAYOID},
	NULL};

/* What the policies test against the latest records: by person, and by node. */
#define EFFECTIVE \
	"CROSS JOIN LATERAL (SELECT c.purpose_id, " \
	"    concat_ws(' ', min(c.valid_until), 'from ' || max(c.valid_from), " \
	"      'notice ' || nullif(min(coalesce(c.notice_id, 0)), 0)) AS valid_to " \
	"  FROM cdp_data.node n CROSS JOIN LATERAL (SELECT * FROM cdp_data.consent_current c " \
	"    WHERE c.node_id = n.node_id AND c.channel = 'all' OFFSET 0) c " \
	"  WHERE n.profile_id = p.profile_id " \
	"  GROUP BY c.purpose_id HAVING bool_and(c.state = 'granted') " \
	"  UNION ALL SELECT d.purpose_id, 'infinity notice " CDP_NEEDS_NO_NOTICE "' " \
	"  FROM (SELECT DISTINCT d.purpose_id FROM cdp_data.consent_default d WHERE d.allows) d " \
	"  WHERE (SELECT bool_and(EXISTS (SELECT FROM cdp_data.consent_default x " \
	"        WHERE x.purpose_id = d.purpose_id AND x.jurisdiction = c.jurisdiction " \
	"        AND x.allows)) " \
	"      FROM cdp_data.node n JOIN LATERAL (SELECT c.jurisdiction " \
	"        FROM cdp_data.consent_current c WHERE c.node_id = n.node_id AND c.purpose_id = 0 " \
	"        OFFSET 0) c ON true WHERE n.profile_id = p.profile_id) " \
	"    AND NOT EXISTS (SELECT FROM cdp_data.node n JOIN LATERAL (SELECT " \
	"        FROM cdp_data.consent_current c WHERE c.node_id = n.node_id " \
	"        AND c.purpose_id = d.purpose_id AND c.channel = 'all' OFFSET 0) c ON true " \
	"      WHERE n.profile_id = p.profile_id)) "

#define TERM \
	"concat_ws(' ', o.valid_to, 'from ' || o.valid_from, 'notice ' || o.notice_id)"

static CdpPlan ord_plan = {
	"SELECT p.profile_id, 'consent for ' || coalesce(q.name, x.purpose_id::text), "
	"  x.live, x.recomputed "
	"FROM unnest($1) p (profile_id) "
	"CROSS JOIN LATERAL (SELECT s.ord FROM cdp_data.profile_state s "
	"  WHERE s.profile_id = p.profile_id OFFSET 0) s "
	"CROSS JOIN LATERAL (SELECT coalesce(o.purpose_id, e.purpose_id) AS purpose_id, "
	"    o.valid_to AS live, e.valid_to AS recomputed "
	"  FROM (SELECT o.purpose_id, " TERM " AS valid_to FROM cdp_data.consent_ord o "
	"    WHERE o.ord = s.ord) o "
	"  FULL JOIN (SELECT e.* FROM (SELECT 1) one " EFFECTIVE "e) e ON e.purpose_id = o.purpose_id "
	"  WHERE o.valid_to IS DISTINCT FROM e.valid_to OFFSET 0) x "
	"LEFT JOIN cdp_data.purpose q ON q.purpose_id = x.purpose_id",
	1,
	{INT8ARRAYOID},
	NULL};

static CdpPlan node_plan = {
	"SELECT p.profile_id, 'consent of an identifier for ' || coalesce(q.name, x.purpose_id::text), "
	"  x.live, x.recomputed "
	"FROM unnest($1) p (profile_id) "
	"CROSS JOIN LATERAL (SELECT n.node_id FROM cdp_data.node n "
	"  WHERE n.profile_id = p.profile_id OFFSET 0) n "
	"CROSS JOIN LATERAL (SELECT coalesce(o.purpose_id, e.purpose_id) AS purpose_id, "
	"    o.valid_to AS live, e.valid_to AS recomputed "
	"  FROM (SELECT o.purpose_id, " TERM " AS valid_to FROM cdp_data.consent_node o "
	"    WHERE o.node_id = n.node_id) o "
	"  FULL JOIN (SELECT e.* FROM (SELECT 1) one " EFFECTIVE "e) e ON e.purpose_id = o.purpose_id "
	"  WHERE o.valid_to IS DISTINCT FROM e.valid_to OFFSET 0) x "
	"LEFT JOIN cdp_data.purpose q ON q.purpose_id = x.purpose_id",
	1,
	{INT8ARRAYOID},
	NULL};

/* Traits that are no columns, and all marks.  What is no object has no name. */
static CdpPlan trait_plan = {
	"SELECT u.profile_id, v.what || coalesce(l.key, r.key), l.value::text, r.value::text "
	"FROM unnest($1, $2, $3) u (profile_id, traits, meta) "
	"LEFT JOIN LATERAL (SELECT p.traits, p.trait_meta FROM cdp_data.profile p "
	"  WHERE p.profile_id = u.profile_id OFFSET 0) p ON true "
	"CROSS JOIN LATERAL (VALUES ('trait ', p.traits, u.traits), "
	"  ('origin of trait ', p.trait_meta, u.meta)) w (what, live, recomputed) "
	"CROSS JOIN LATERAL (SELECT w.what, CASE WHEN w.live IS NULL THEN '{}' "
	"  WHEN jsonb_typeof(w.live) = 'object' THEN w.live ELSE jsonb_build_object('', w.live) END "
	"  AS live, w.recomputed OFFSET 0) v "
	"CROSS JOIN LATERAL jsonb_each(v.live || v.recomputed) k "
	"LEFT JOIN LATERAL (SELECT k.key, v.live -> k.key AS value) l ON true "
	"LEFT JOIN LATERAL (SELECT k.key, v.recomputed -> k.key AS value) r ON true "
	"WHERE v.live <> v.recomputed AND l.value IS DISTINCT FROM r.value AND k.key <> ALL ($4)",
	4,
	{INT8ARRAYOID, JSONBARRAYOID, JSONBARRAYOID, TEXTARRAYOID},
	NULL};

/* Traits whose rule was changed and is not carried out yet. */
static CdpPlan pending_plan = {
	"SELECT ARRAY(SELECT x.name::text FROM cdp_data.task t "
	"  JOIN cdp_data.trait x ON x.trait_id = t.target "
	"  WHERE t.kind = 'trait' AND t.state IN ('waiting', 'running'))",
	0,
	{0},
	NULL};

/* What belongs to nobody. */
static CdpPlan strays_plan = {
	"SELECT n.profile_id, 'node ' || n.node_id || ' of nobody', n.node_id::text, NULL "
	"FROM cdp_data.node n LEFT JOIN cdp_data.profile_state s ON s.profile_id = n.profile_id "
	"WHERE s.profile_id IS NULL "
	"  AND EXISTS (SELECT FROM cdp_data.profile_merged m WHERE m.old_id = n.profile_id) "
	"UNION ALL SELECT p.profile_id, 'profile without a state', p.ord::text, NULL "
	"FROM cdp_data.profile p LEFT JOIN cdp_data.profile_state s ON s.profile_id = p.profile_id "
	"WHERE s.profile_id IS NULL "
	"  AND NOT EXISTS (SELECT FROM cdp_data.node n WHERE n.profile_id = p.profile_id) "
	"UNION ALL SELECT m.profile_id, 'member of segment ' || m.segment_id || ' that is nobody', "
	"  m.ord::text, NULL FROM cdp_data.segment_member m "
	"LEFT JOIN cdp_data.profile_state s ON s.profile_id = m.profile_id WHERE s.profile_id IS NULL "
	"UNION ALL SELECT t.profile_id, 'timer of nobody', t.due::text, NULL FROM cdp_data.timer t "
	"LEFT JOIN cdp_data.profile_state s ON s.profile_id = t.profile_id "
	"WHERE s.profile_id IS NULL "
	"UNION ALL SELECT h.profile_id, 'stay of nobody in segment ' || h.segment_id, "
	"  h.entered_at::text, NULL FROM cdp_data.segment_history h "
	"LEFT JOIN cdp_data.profile_state s ON s.profile_id = h.profile_id "
	"LEFT JOIN cdp_data.profile_merged m ON m.old_id = h.profile_id "
	"WHERE s.profile_id IS NULL AND m.old_id IS NULL "
	"UNION ALL SELECT h.profile_id, 'stay in segment ' || h.segment_id || ' that is none', "
	"  h.entered_at::text, NULL FROM cdp_data.segment_history h "
	"LEFT JOIN cdp_data.segment g ON g.segment_id = h.segment_id WHERE g.segment_id IS NULL "
	"UNION ALL SELECT m.old_id, 'merged into nobody', m.profile_id::text, NULL "
	"FROM cdp_data.profile_merged m "
	"LEFT JOIN cdp_data.profile_state s ON s.profile_id = m.profile_id "
	"LEFT JOIN cdp_data.profile_state o ON o.profile_id = m.old_id "
	"WHERE s.profile_id IS NULL OR o.profile_id IS NOT NULL "
	"UNION ALL SELECT NULL, 'consent of nobody', c.ord || ' for ' || c.purpose_id, NULL "
	"FROM cdp_data.consent_ord c LEFT JOIN cdp_data.profile p ON p.ord = c.ord "
	"WHERE p.profile_id IS NULL "
	"UNION ALL SELECT NULL, 'consent of no identifier', c.node_id || ' for ' || c.purpose_id, NULL "
	"FROM cdp_data.consent_node c LEFT JOIN cdp_data.node n ON n.node_id = c.node_id "
	"WHERE n.node_id IS NULL "
	"UNION ALL SELECT NULL, 'metrics of no identifier', s.node_id::text, NULL "
	"FROM cdp_data.metric_state s LEFT JOIN cdp_data.node n ON n.node_id = s.node_id "
	"WHERE n.node_id IS NULL",
	0,
	{0},
	NULL};

static CdpPlan fix_current_plans[2] = {
	{"DELETE FROM cdp_data.consent_current c USING cdp_data.node n "
	 "WHERE n.profile_id = ANY ($1) AND c.node_id = ANY (ARRAY[n.node_id]) AND NOT EXISTS ("
	 "  SELECT FROM cdp_data.consent_log g WHERE g.node_id = c.node_id "
	 "  AND g.purpose_id = c.purpose_id AND g.channel = c.channel)",
	 1,
	 {INT8ARRAYOID},
	 NULL},
	{"INSERT INTO cdp_data.consent_current AS c (node_id, purpose_id, state, ts, message_key, "
	 "  valid_until, source, channel, basis, notice_id, collection_point, valid_from, "
	 "  jurisdiction) "
	 "SELECT g.* FROM cdp_data.node n CROSS JOIN LATERAL ("
	 "  SELECT DISTINCT ON (g.purpose_id, g.channel) g.node_id, g.purpose_id, g.state, g.ts, "
	 "    g.message_key, g.valid_until, g.source, g.channel, g.basis, g.notice_id, "
	 "    g.collection_point, g.valid_from, g.jurisdiction "
	 "  FROM cdp_data.consent_log g WHERE g.node_id = n.node_id "
	 "  ORDER BY g.purpose_id, g.channel, g.ts DESC, g.message_key DESC) g "
	 "WHERE n.profile_id = ANY ($1) "
	 "ON CONFLICT (node_id, purpose_id, channel) DO UPDATE SET state = excluded.state, "
	 "  ts = excluded.ts, message_key = excluded.message_key, "
	 "  valid_until = excluded.valid_until, source = excluded.source, basis = excluded.basis, "
	 "  notice_id = excluded.notice_id, collection_point = excluded.collection_point, "
	 "  valid_from = excluded.valid_from, jurisdiction = excluded.jurisdiction "
	 "WHERE (c.*) IS DISTINCT FROM (excluded.*)",
	 1,
	 {INT8ARRAYOID},
	 NULL}};

#define FIX_SEEN(table) \
	"UPDATE cdp_data." table " i SET first_seen = LEAST(i.first_seen, e.f), " \
	"  last_seen = GREATEST(i.last_seen, e.l) " \
	"FROM cdp_data.node n CROSS JOIN LATERAL (SELECT min(e.ts) AS f, max(e.ts) AS l " \
	"  FROM cdp_data.event e WHERE e.node_id = n.node_id OFFSET 0) e " \
	"WHERE n.profile_id = ANY ($1) AND i.node_id = ANY (ARRAY[n.node_id]) " \
	"  AND (e.f < i.first_seen OR e.l > i.last_seen)"

static CdpPlan fix_seen_plans[2] = {
	{FIX_SEEN("identifier"), 1, {INT8ARRAYOID}, NULL},
	{FIX_SEEN("identifier_retired"), 1, {INT8ARRAYOID}, NULL}};

/* The profile's position is the one that is nobody else's. */
static CdpPlan fix_ord_plans[4] = {
	{"DELETE FROM cdp_data.consent_ord c USING cdp_data.profile_state s "
	 "WHERE s.profile_id = ANY ($1) AND c.ord = ANY (ARRAY[s.ord]) AND NOT EXISTS ("
	 "  SELECT FROM cdp_data.profile p WHERE p.ord = s.ord)",
	 1,
	 {INT8ARRAYOID},
	 NULL},
	{"UPDATE cdp_data.profile_state s SET ord = p.ord FROM cdp_data.profile p "
	 "WHERE s.profile_id = ANY ($1) AND p.profile_id = ANY (ARRAY[s.profile_id]) "
	 "AND p.ord <> s.ord",
	 1,
	 {INT8ARRAYOID},
	 NULL},
	{"DELETE FROM cdp_data.segment_member m USING cdp_data.profile p "
	 "WHERE m.profile_id = ANY ($1) AND p.profile_id = ANY (ARRAY[m.profile_id]) "
	 "AND m.ord <> p.ord",
	 1,
	 {INT8ARRAYOID},
	 NULL},
	{"UPDATE cdp_data.profile_merged m SET ord = p.ord FROM cdp_data.profile p "
	 "WHERE m.profile_id = ANY ($1) AND p.profile_id = ANY (ARRAY[m.profile_id]) "
	 "AND m.ord <> p.ord",
	 1,
	 {INT8ARRAYOID},
	 NULL}};

/* Rows only: the index follows from their lists, see cdp_chunk_repair(). */
static CdpPlan fix_member_plans[2] = {
	{"DELETE FROM cdp_data.segment_member m USING cdp_data.profile_state s "
	 "WHERE s.profile_id = ANY ($1) AND m.profile_id = ANY (ARRAY[s.profile_id]) "
	 "AND (m.ord <> s.ord OR m.segment_id <> ALL (s.segments))",
	 1,
	 {INT8ARRAYOID},
	 NULL},
	{"INSERT INTO cdp_data.segment_member AS m (segment_id, ord, profile_id, since) "
	 "SELECT g, s.ord, s.profile_id, $2 FROM cdp_data.profile_state s "
	 "CROSS JOIN LATERAL unnest(s.segments) g WHERE s.profile_id = ANY ($1) "
	 "ON CONFLICT (segment_id, ord) DO UPDATE SET profile_id = excluded.profile_id "
	 "WHERE m.profile_id <> excluded.profile_id",
	 2,
	 {INT8ARRAYOID, TIMESTAMPTZOID},
	 NULL}};

#define FIX_STRAYS(table) \
	"DELETE FROM cdp_data." table " x WHERE NOT EXISTS (" \
	"SELECT FROM cdp_data.profile_state s WHERE s.profile_id = x.profile_id)"

static CdpPlan fix_stray_plans[2] = {{FIX_STRAYS("segment_member"), 0, {0}, NULL},
									 {FIX_STRAYS("timer"), 0, {0}, NULL}};

static char *
segment_names(const char *ids)
{
	Datum args[1] = {CStringGetTextDatum(ids)};

	(void) cdp_store_run(&names_plan, args, NULL, true, 1);
	return cdp_store_text(0, 1);
}

static void
found_segments(void *arg, int64 profile_id, const char *what, const char *live, const char *now)
{
	bool timer = strcmp(what, "timer") == 0;

	cdp_found(arg, profile_id, what, timer ? live : segment_names(live),
			  timer ? now : segment_names(now));
}

static CdpPlan name_plan = {
	"SELECT g.name FROM cdp_data.segment g WHERE g.set_id = $1", 1, {INT4OID}, NULL};

static CdpPlan who_plan = {
	"SELECT p.profile_id FROM cdp_data.profile p WHERE p.ord = $1", 1, {INT4OID}, NULL};

static void
found_in_index(int32 segment_id, int64 profile_id, const char *what, CdpFound *to)
{
	Datum args[1] = {Int32GetDatum(segment_id)};
	int rows = cdp_store_run(&name_plan, args, NULL, true, -1);

	cdp_found(to, profile_id, "index of segments",
			  psprintf("%s: %s", what, rows ? cdp_store_text(0, 1) : psprintf("%d", segment_id)),
			  NULL);
}

/* The profile with an ord; 0: there is none. */
static int64
profile_at(int32 ord)
{
	Datum args[1] = {Int32GetDatum(ord)};

	return cdp_store_run(&who_plan, args, NULL, true, -1) ? cdp_store_int64(0, 1) : 0;
}

/* Of these people; what is nobody's in particular is found by the other. */
static void
found_of_person(int32 segment_id, int32 ord, bool whole, const char *what, void *arg)
{
	if (!whole)
		found_in_index(segment_id, profile_at(ord), what, arg);
}

/* What people are in was compared by person; the rest of the index is nobody's. */
static void
found_of_nobody(int32 segment_id, int32 ord, bool whole, const char *what, void *arg)
{
	if (whole || profile_at(ord) == 0)
		found_in_index(segment_id, 0, what, arg);
}

/* Declared traits: compared as their types, whose texts are not unique. */
static void
check_columns(Datum ids, Datum declared, Datum pending, CdpFound *to)
{
	const CdpTraitConfig *config = cdp_trait_config();
	StringInfoData sql;
	Oid types[3] = {INT8ARRAYOID, JSONBARRAYOID, TEXTARRAYOID};
	Datum args[3] = {ids, declared, pending};

	if (config->n == 0)
		return;
	initStringInfo(&sql);
	appendStringInfoString(&sql,
						   "SELECT u.profile_id, 'trait ' || v.what, v.live, v.recomputed "
						   "FROM unnest($1, $2) u (profile_id, d) "
						   "CROSS JOIN LATERAL (SELECT * FROM cdp_data.profile p "
						   "  WHERE p.profile_id = u.profile_id OFFSET 0) p "
						   "CROSS JOIN LATERAL (VALUES ");
	for (int i = 0; i < config->n; i++)
	{
		const CdpTrait *trait = &config->traits[i];
		const char *column = quote_identifier(trait->name);
		const char *name = quote_literal_cstr(trait->name);

		appendStringInfo(&sql,
						 "%s(%s, p.%s::text, (u.d ->> %s)::%s::text, "
						 "p.%s IS DISTINCT FROM (u.d ->> %s)::%s)",
						 i ? ", " : "", name, column, name, trait->type_name, column, name,
						 trait->type_name);
	}
	appendStringInfoString(&sql, ") v (what, live, recomputed, differs) "
								 "WHERE v.differs AND v.what <> ALL ($3)");
	if (SPI_execute_with_args(sql.data, 3, types, args, NULL, true, 0) < 0)
		elog(ERROR, "cdp: traits could not be compared");
	cdp_found_rows(to, (int) SPI_processed);
}

/*
 * Compares what is stored of these people (ascending) with what their events,
 * rules and records make of it.
 */
void
cdp_profile_check(const int64 *profiles, int n, CdpFound *to)
{
	CdpPast *past = cdp_profile_past(profiles, n, DT_NOBEGIN, DT_NOEND);
	Datum *docs[3];
	Datum args[4];
	Datum pending;
	List *tallies;
	bool isnull;

	for (int d = 0; d < 3; d++)
		docs[d] = palloc(sizeof(Datum) * Max(n, 1));
	cdp_profile_check_rows(profiles, n, to);
	args[0] = cdp_array_int64(profiles, n);
	args[1] = cdp_array_int64(past->events, n);
	args[2] = cdp_array_datums(past->first, past->none, n, TIMESTAMPTZOID);
	args[3] = cdp_array_datums(past->last, past->none, n, TIMESTAMPTZOID);
	cdp_found_rows(to, cdp_store_run(&state_plan, args, NULL, true, -1));

	tallies = cdp_profile_fold_apart(past->changes, past->nchanges, profiles, n, docs[0], docs[1],
									 docs[2]);
	args[1] = cdp_array_datums(docs[0], NULL, n, JSONBOID);
	args[2] = cdp_array_datums(docs[1], NULL, n, JSONBOID);
	(void) cdp_store_run(&pending_plan, NULL, NULL, true, 1);
	pending = PointerGetDatum(PG_DETOAST_DATUM_COPY(cdp_store_value(0, 1, &isnull)));
	args[3] = pending;
	cdp_found_rows(to, cdp_store_run(&trait_plan, args, NULL, true, -1));
	check_columns(args[0], cdp_array_datums(docs[2], NULL, n, JSONBOID), pending, to);

	cdp_tally_check(profiles, n, tallies, pending, to);
	cdp_metric_check(profiles, n, to);
	cdp_session_check(profiles, n, to);
	cdp_sequence_check(profiles, n, to);
	cdp_segment_check(profiles, n, found_segments, to);
	cdp_found_rows(to, cdp_store_run(&member_plan, args, NULL, true, -1));
	cdp_chunk_check_people(profiles, n, found_of_person, to);
	cdp_found_rows(to, cdp_store_run(&current_plan, args, NULL, true, -1));
	cdp_found_rows(to, cdp_store_run(&ord_plan, args, NULL, true, -1));
	cdp_found_rows(to, cdp_store_run(&node_plan, args, NULL, true, -1));
}

/* What is stored of nobody, and the index.  Reads whole tables. */
void
cdp_profile_check_strays(CdpFound *to)
{
	cdp_chunk_check(found_of_nobody, to);
	cdp_found_rows(to, cdp_store_run(&strays_plan, NULL, NULL, true, -1));
}

/* What folding people anew relies on: consents by the log, times, positions. */
void
cdp_profile_repair_sources(const int64 *profiles, int n)
{
	Datum args[1] = {cdp_array_int64(profiles, n)};

	for (int i = 0; i < (int) lengthof(fix_ord_plans); i++)
		cdp_store_run(&fix_ord_plans[i], args, NULL, false, -1);
	for (int i = 0; i < 2; i++)
		cdp_store_run(&fix_seen_plans[i], args, NULL, false, -1);
	for (int i = 0; i < 2; i++)
		cdp_store_run(&fix_current_plans[i], args, NULL, false, -1);
	cdp_session_repair(profiles, n);
	cdp_sequence_repair(profiles, n);
}

/* What mirrors their states, after they were written. */
void
cdp_profile_repair_mirrors(const int64 *profiles, int n)
{
	Datum args[2] = {cdp_array_int64(profiles, n), TimestampTzGetDatum(cdp_now())};

	for (int i = 0; i < 2; i++)
		cdp_store_run(&fix_member_plans[i], args, NULL, false, -1);
	cdp_chunk_repair(profiles, n);
}

/* What nobody is behind: rows of segments, and chunks of their index. */
void
cdp_profile_repair_strays(void)
{
	for (int i = 0; i < 2; i++)
		cdp_store_run(&fix_stray_plans[i], NULL, NULL, false, -1);
	cdp_chunk_repair_all();
}
