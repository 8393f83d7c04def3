/*
 * src/ingest/unmerge.c
 *		Deliberate changes of who is who: merge, unmerge, unlink, remove.
 *
 * None of them moves nodes by hand.  Each leaves evidence (a link, a
 * separation, an end of an identifier) and has everything linked to the
 * people concerned resolved again: so what came in between goes where its
 * identifiers say, and the next message cannot undo it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "cdp.h"
#include "compat.h"
#include "consent/audit.h"
#include "consent/consent.h"
#include "identity/identity.h"
#include "identity/rules.h"
#include "ingest/ingest.h"
#include "store.h"

PG_FUNCTION_INFO_V1(cdp_merge_profiles);
PG_FUNCTION_INFO_V1(cdp_unmerge);
PG_FUNCTION_INFO_V1(cdp_unlink);
PG_FUNCTION_INFO_V1(cdp_remove_identifier);

static CdpPlan names_plan = {
	"SELECT i.namespace, i.value FROM cdp_data.node n "
	"JOIN cdp_data.identifier i ON i.node_id = n.node_id "
	"LEFT JOIN cdp_data.namespace r ON r.name = i.namespace "
	"LEFT JOIN cdp_data.namespace d ON d.name = '*' "
	"WHERE n.profile_id = $1 AND i.ended IS NULL "
	"ORDER BY coalesce(r.rank, d.rank, 100), i.namespace, i.node_id LIMIT 1",
	1,
	{INT8OID},
	NULL};

static CdpPlan merged_plan = {
	"SELECT min(m.merge_id) FROM cdp_data.identity_merge m "
	"WHERE m.winner = $1 AND m.source = $2 AND m.message_id = $3 AND m.undone_at IS NULL",
	3,
	{INT8OID, TEXTOID, TEXTOID},
	NULL};

/* Separations that run through what shall be one person; locked in one order. */
static CdpPlan revoke_plan = {
	"WITH found AS (SELECT DISTINCT x.separation_id FROM cdp_data.node n "
	"    JOIN cdp_data.separation_node x ON x.node_id = n.node_id WHERE n.profile_id = ANY ($1)), "
	"held AS (SELECT s.separation_id, s.side_a || s.side_b AS nodes FROM found f "
	"    JOIN cdp_data.identity_separation s ON s.separation_id = f.separation_id "
	"    WHERE EXISTS (SELECT FROM unnest(s.side_a) a JOIN cdp_data.node n ON n.node_id = a "
	"        WHERE n.profile_id = ANY ($1)) "
	"      AND EXISTS (SELECT FROM unnest(s.side_b) b JOIN cdp_data.node n ON n.node_id = b "
	"        WHERE n.profile_id = ANY ($1)) ORDER BY s.separation_id FOR UPDATE OF s), "
	"gone AS (DELETE FROM cdp_data.separation_node x USING held h, unnest(h.nodes) u "
	"    WHERE x.node_id = u AND x.separation_id = h.separation_id) "
	"UPDATE cdp_data.identity_separation s SET revoked_at = $2, revoked_by = $3 "
	"FROM held h WHERE s.separation_id = h.separation_id",
	3,
	{INT8ARRAYOID, TIMESTAMPTZOID, NAMEOID},
	NULL};

static CdpPlan merge_row_plan = {
	"SELECT m.winner, m.loser, m.undone_at IS NOT NULL, m.source, m.message_id, m.kind "
	"FROM cdp_data.identity_merge m WHERE m.merge_id = $1 FOR UPDATE",
	1,
	{INT8OID},
	NULL};

/*
 * The sides of a merge: what the loser brought, and what the winner had.  A
 * node was the winner's when the merge came if it became hers by an earlier
 * change and ceased to be by a later one, or is hers still.
 */
static CdpPlan separate_plan = {
	"WITH m AS (SELECT * FROM cdp_data.identity_merge m WHERE m.merge_id = $1), "
	"had AS (SELECT n.node_id FROM m JOIN cdp_data.node n ON n.profile_id = m.winner "
	"    WHERE n.change < m.merge_id "
	"  UNION SELECT unnest(h.nodes) FROM m JOIN cdp_data.node_history h "
	"    ON h.profile_id = m.winner WHERE h.change < m.merge_id AND h.until_change > m.merge_id), "
	"s AS (INSERT INTO cdp_data.identity_separation (kind, side_a, side_b, merge_id, reason, at, "
	"    actor) SELECT 'unmerge', ARRAY(SELECT node_id FROM had EXCEPT "
	"      SELECT unnest(m.moved_nodes) ORDER BY 1), m.moved_nodes, m.merge_id, $2, $3, $4 FROM m "
	"  RETURNING separation_id, side_a, side_b) "
	"INSERT INTO cdp_data.separation_node (node_id, separation_id) "
	"SELECT unnest(CASE WHEN cardinality(s.side_a) < cardinality(s.side_b) THEN s.side_a "
	"  ELSE s.side_b END), s.separation_id FROM s",
	4,
	{INT8OID, TEXTOID, TIMESTAMPTZOID, NAMEOID},
	NULL};

static CdpPlan owners_plan = {
	"SELECT DISTINCT n.profile_id FROM cdp_data.node n WHERE n.node_id = ANY ($1)",
	1,
	{INT8ARRAYOID},
	NULL};

static CdpPlan undone_plan = {
	"UPDATE cdp_data.identity_merge m SET undone_at = $2, undone_by = $3 WHERE m.merge_id = $1",
	3,
	{INT8OID, TIMESTAMPTZOID, NAMEOID},
	NULL};

static CdpPlan unlink_plan = {
	"WITH s AS (INSERT INTO cdp_data.identity_separation (kind, side_a, side_b, reason, at, actor) "
	"  VALUES ('unlink', ARRAY[$1], ARRAY[$2], $3, $4, $5) RETURNING separation_id) "
	"INSERT INTO cdp_data.separation_node (node_id, separation_id) "
	"SELECT $1, separation_id FROM s",
	5,
	{INT8OID, INT8OID, TEXTOID, TIMESTAMPTZOID, NAMEOID},
	NULL};

static CdpPlan end_plan = {
	"UPDATE cdp_data.identifier i SET ended = GREATEST($2, i.last_seen), uncounted = true "
	"WHERE i.node_id = $1 AND i.ended IS NULL",
	2,
	{INT8OID, TIMESTAMPTZOID},
	NULL};

/* Only those who may overrule or correct: superusers and kind privacy. */
void
cdp_require_steward(Oid caller, const char *what)
{
	if (!cdp_role_is_exempt(caller) && !cdp_consent_has_kind(caller, "privacy"))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("role \"%s\" may not %s", GetUserNameFromId(caller, false), what),
				 errhint("It takes a role of kind privacy, or a superuser.")));
}

static Datum
actor(Oid caller)
{
	NameData *name = palloc(sizeof(NameData));

	namestrcpy(name, GetUserNameFromId(caller, false));
	return NameGetDatum(name);
}

/* The most important identifier of a profile id, present or merged. */
static CdpMention
name_of(int64 profile_id)
{
	int64 id = cdp_graph_canonical(profile_id, false);
	Datum args[1] = {Int64GetDatum(id)};
	CdpMention mention;

	if (id == 0 || cdp_store_run(&names_plan, args, NULL, false, -1) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("there is no profile " INT64_FORMAT, profile_id)));
	mention.ns = cdp_store_text(0, 1);
	mention.value = cdp_store_text(0, 2);
	return mention;
}

static char *
reason_argument(FunctionCallInfo fcinfo, int arg, bool required)
{
	char *reason;

	if (PG_ARGISNULL(arg))
	{
		if (required)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("a reason must be given")));
		return NULL;
	}
	reason = text_to_cstring(PG_GETARG_TEXT_PP(arg));
	if (reason[0] == '\0' || strlen(reason) > 2000)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a reason must be text of 1 to 2000 bytes")));
	return reason;
}

static const char *
refusal_in_words(const char *word)
{
	if (strncmp(word, "limit:", 6) == 0)
		return psprintf("One person may not have that many values of namespace \"%s\".", word + 6);
	if (strcmp(word, "separated") == 0)
		return "Somebody separated them.";
	if (strcmp(word, "too_many_identifiers") == 0)
		return "One person may not have that many identifiers.";
	return "The rules do not allow it.";
}

/*
 * Revokes, before an override joins people, the separations between them: a
 * witness of the graph, which has locked them.
 */
bool
cdp_unmerge_revoke(CdpGraph *graph, void *caller)
{
	int64 *ids = palloc(sizeof(int64) * Max(graph->nidents, 1));
	int n = 0;
	Datum args[3];

	for (int i = 0; i < graph->nidents; i++)
		if (graph->idents[i].used && !graph->idents[i].fresh)
			ids[n++] = graph->idents[i].profile_id;
	args[0] = cdp_array_int64(ids, n);
	args[1] = TimestampTzGetDatum(cdp_now());
	args[2] = actor(*(Oid *) caller);
	cdp_store_run(&revoke_plan, args, NULL, false, -1);
	return true;
}

/* Merges the people of these mentions; returns the number of the merge, or 0. */
static int64
merge(CdpMention *mentions, int n, bool by_id, char *reason, bool override, CdpStore *store)
{
	CdpMessage m = {0};
	Datum args[3];
	int64 id;
	bool isnull;

	if (override)
		cdp_require_steward(store->caller, "merge against the rules");
	m.type = "merge";
	m.source = "cdp.merge";
	m.space = CDP_SPACE_MERGE;
	m.link = -1;
	m.valid_until = DT_NOEND;
	m.received_at = m.ts = cdp_now();
	m.rule = override ? "override" : "merge";
	m.merge_reason = reason;
	m.actor = GetUserNameFromId(store->caller, false);
	m.mentions = mentions;
	m.nmentions = m.mention_room = n;
	m.by_id = by_id;
	cdp_message_make_id(&m);
	cdp_message_key(&m);
	cdp_ingest_batch(&m, 1, store->caller, 0);
	if (m.status == CDP_REJECTED)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("could not merge: %s", m.reason),
				 errdetail("%s", cdp_message_detail(&m))));
	if (m.blocked != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("could not merge: an identifier has a blocked value"),
				 errhint("See cdp.namespaces.")));
	if (m.refusal != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CHECK_VIOLATION),
				 errmsg("could not merge: the rules refuse it"),
				 errdetail("%s", refusal_in_words(m.refusal)),
				 errhint("A role of kind privacy may merge with override => true.")));
	args[0] = Int64GetDatum(m.profile_id);
	args[1] = CStringGetTextDatum(m.source);
	args[2] = CStringGetTextDatum(m.message_id);
	cdp_store_run(&merged_plan, args, NULL, false, 1);
	(void) cdp_store_value(0, 1, &isnull);
	if (isnull)
		return 0;
	id = cdp_store_int64(0, 1);
	cdp_audit_act_of(store->caller, "merge", m.profile_id,
					 psprintf("{\"merge_id\": " INT64_FORMAT ", \"override\": %s}", id,
							  override ? "true" : "false"));
	return id;
}

/* cdp.merge(who, reason, override) */
CDP_WHO_OVERLOADS(cdp_merge)
{
	CdpWho who;
	CdpStore store;
	char *reason = reason_argument(fcinfo, 1, true);
	int64 id;

	if (PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("override must not be null")));
	cdp_who_read(fcinfo, 0, kind, &who);
	if (who.profile_id != 0 || who.n < 2)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("merge needs at least two identifiers"),
				 errhint("Example: cdp.merge('{email:ada@example.com,user_id:u7}', 'asked by "
						 "phone'), or two profile ids.")));
	if (who.n > CDP_MAX_MENTIONS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a merge names at most %d identifiers", CDP_MAX_MENTIONS)));
	cdp_store_enter(&store);
	id = merge(who.mentions, who.n, false, reason, PG_GETARG_BOOL(2), &store);
	cdp_store_leave(&store);
	if (id == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(id);
}

/* cdp.merge(a, b, reason, override): two profile ids. */
Datum
cdp_merge_profiles(PG_FUNCTION_ARGS)
{
	CdpStore store;
	CdpMention mentions[2];
	char *reason;
	int64 id;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(3))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("an argument must not be null")));
	reason = reason_argument(fcinfo, 2, true);
	cdp_store_enter(&store);
	for (int i = 0; i < 2; i++)
		mentions[i] = name_of(PG_GETARG_INT64(i));
	id = merge(mentions, 2, true, reason, PG_GETARG_BOOL(3), &store);
	cdp_store_leave(&store);
	if (id == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(id);
}

/* Resolves people again, with all that is linked to them; witness: see graph.h, or NULL. */
static void
settle(const int64 *profiles, int n, Oid caller,
	   bool (*witness)(CdpGraph *graph, void *arg), void *arg)
{
	CdpGraph graph = {.witness = witness, .witness_arg = arg};

	cdp_graph_reresolve(&graph, profiles, n);
	/* what was decided concerns her, even where she stays as she is: older snapshots must fail */
	for (int i = 0; i < graph.nlocked; i++)
		for (int k = 0; k < n; k++)
			graph.locked[i].named |= graph.locked[i].profile_id == profiles[k];
	cdp_ingest_settle(&graph, caller);
}

/* The same for the people of these nodes. */
static void
settle_nodes(const int64 *nodes, int n, Oid caller,
			 bool (*witness)(CdpGraph *graph, void *arg), void *arg)
{
	Datum args[1] = {cdp_array_int64(nodes, n)};
	int rows = cdp_store_run(&owners_plan, args, NULL, false, -1);
	int64 *profiles = palloc(sizeof(int64) * Max(rows, 1));

	for (int r = 0; r < rows; r++)
		profiles[r] = cdp_store_int64(r, 1);
	settle(profiles, rows, caller, witness, arg);
}

/* cdp.unmerge(merge_id, reason) */
Datum
cdp_unmerge(PG_FUNCTION_ARGS)
{
	CdpStore store;
	Datum args[4];
	char nulls[5] = "    ";
	int64 sides[2];
	int64 loser;
	bool isnull;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("merge_id must not be null")));
	cdp_store_enter(&store);
	cdp_require_steward(store.caller, "unmerge");
	args[0] = PG_GETARG_DATUM(0);
	if (cdp_store_run(&merge_row_plan, args, NULL, false, -1) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("there is no merge " INT64_FORMAT, PG_GETARG_INT64(0)),
				 errhint("See cdp.merges.")));
	if (DatumGetBool(cdp_store_value(0, 3, &isnull)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("merge " INT64_FORMAT " is undone already", PG_GETARG_INT64(0))));
	sides[0] = cdp_store_int64(0, 1);
	sides[1] = cdp_store_int64(0, 2);
	args[1] = (Datum) 0;
	if (PG_ARGISNULL(1))
		nulls[1] = 'n';
	else
		args[1] = CStringGetTextDatum(reason_argument(fcinfo, 1, false));
	args[2] = TimestampTzGetDatum(cdp_now());
	args[3] = actor(store.caller);
	cdp_store_run(&separate_plan, args, nulls, false, -1);
	args[1] = args[2];
	args[2] = args[3];
	cdp_store_run(&undone_plan, args, NULL, false, 1);
	/* what either side had is tied to one of them by the evidence, whoever has it now */
	settle(sides, 2, store.caller, NULL, NULL);
	loser = cdp_graph_canonical(sides[1], false);
	/* of both, so that it is found with either */
	cdp_audit_act_of(store.caller, "unmerge", cdp_graph_canonical(sides[0], false),
					 psprintf("{\"merge_id\": " INT64_FORMAT "}", PG_GETARG_INT64(0)));
	cdp_audit_act_of(store.caller, "unmerge", loser,
					 psprintf("{\"merge_id\": " INT64_FORMAT "}", PG_GETARG_INT64(0)));
	cdp_store_leave(&store);
	PG_RETURN_INT64(loser);
}

/* Node of an identifier that exists; raises otherwise. */
static int64
node_of(const char *text)
{
	CdpGraph graph = {0};
	CdpIdent ident = {0};
	CdpMention mention;
	char *copy = pstrdup(text);
	char *colon = strchr(copy, ':');

	*colon = '\0';
	mention.ns = copy;
	mention.value = colon + 1;
	cdp_rules_normalise(&mention);
	ident.ns = mention.ns;
	ident.value = mention.value;
	cdp_graph_key(cdp_store_installation()->seed, ident.ns, ident.value, ident.key);
	graph.idents = &ident;
	graph.nidents = 1;
	cdp_graph_find(&graph, false);
	if (ident.node_id == 0 || ident.ended != DT_NOEND)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND),
				 errmsg("nobody has such an identifier of namespace \"%s\"", ident.ns)));
	return ident.node_id;
}

/* cdp.unlink(a, b, reason) */
Datum
cdp_unlink(PG_FUNCTION_ARGS)
{
	CdpStore store;
	Datum args[5];
	char nulls[6] = "     ";
	int64 nodes[2];
	bool parted;

	for (int i = 0; i < 2; i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("an identifier must not be null")));
	cdp_store_enter(&store);
	cdp_require_steward(store.caller, "unlink");
	for (int i = 0; i < 2; i++)
		nodes[i] = node_of(text_to_cstring(PG_GETARG_TEXT_PP(i)));
	if (nodes[0] == nodes[1])
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("an identifier cannot be unlinked from itself")));
	args[0] = Int64GetDatum(nodes[0]);
	args[1] = Int64GetDatum(nodes[1]);
	args[2] = (Datum) 0;
	if (PG_ARGISNULL(2))
		nulls[2] = 'n';
	else
		args[2] = CStringGetTextDatum(reason_argument(fcinfo, 2, false));
	args[3] = TimestampTzGetDatum(cdp_now());
	args[4] = actor(store.caller);
	cdp_store_run(&unlink_plan, args, nulls, false, 1);
	args[0] = cdp_array_int64(nodes, 2);
	parted = cdp_store_run(&owners_plan, args, NULL, false, -1) == 1;
	cdp_audit_act_of(store.caller, "unlink", cdp_store_int64(0, 1), NULL);
	settle_nodes(nodes, 2, store.caller, NULL, NULL);
	cdp_store_leave(&store);
	PG_RETURN_BOOL(parted);
}

/* An identifier that is to end. */
typedef struct Removal
{
	int64 node;
	bool ended; /* no other session was first */
} Removal;

static bool
end_identifier(CdpGraph *graph pg_attribute_unused(), void *arg)
{
	Removal *r = arg;
	Datum args[2] = {Int64GetDatum(r->node), TimestampTzGetDatum(cdp_now())};

	r->ended = cdp_store_run(&end_plan, args, NULL, false, -1) == 1;
	return true;
}

/* cdp.remove_identifier(identifier) */
Datum
cdp_remove_identifier(PG_FUNCTION_ARGS)
{
	CdpStore store;
	Datum args[1];
	Removal r = {0};

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("an identifier must not be null")));
	cdp_store_enter(&store);
	cdp_require_steward(store.caller, "remove an identifier");
	/* under the lock of whoever has it; she may lose it while we wait for her */
	do
	{
		CHECK_FOR_INTERRUPTS();
		r.node = node_of(text_to_cstring(PG_GETARG_TEXT_PP(0)));
		settle_nodes(&r.node, 1, store.caller, end_identifier, &r);
	} while (!r.ended);
	args[0] = cdp_array_int64(&r.node, 1);
	cdp_store_run(&owners_plan, args, NULL, false, 1);
	r.node = cdp_store_int64(0, 1);
	cdp_audit_act_of(store.caller, "remove_identifier", r.node, NULL);
	cdp_store_leave(&store);
	PG_RETURN_INT64(r.node);
}
