/*
 * src/ingest/subject.c
 *		The rights of a person: what is kept of her, and that it goes.
 *
 * What is to be read and deleted is SQL over a catalogue of tables
 * (sql/install/58_subject.sql, 59_erase.sql), run as the owner for roles of
 * kind privacy.  Here is what SQL cannot do: becoming the owner, and holding
 * her, with everybody who is linked to her, in the order of locks.
 *
 * An erasure locks her and all that is linked by resolving it again, deletes
 * what is hers, and has those who were linked to her resolved once more: what
 * is known of them follows from the evidence that is left.  A session that
 * waits for her finds her gone and asks anew whom its message names (see
 * suppressed.c).
 *
 * A dry run is the same in a subtransaction that is undone, so its numbers are
 * those of the deed.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/heap.h"
#include "catalog/pg_statistic.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "compat.h"
#include "consent/suppress.h"
#include "identity/component.h"
#include "identity/rules.h"
#include "ingest/ingest.h"
#include "store.h"

PG_FUNCTION_INFO_V1(cdp_as_steward);

static CdpPlan document_plan = {
	"SELECT cdp.subject_document($1, $2, $3, $4, $5)",
	5,
	{INT8OID, TEXTOID, TEXTOID, NAMEOID, TIMESTAMPTZOID},
	NULL};

/* Who has to be locked with her though no evidence links them; merges that name her. */
static CdpPlan around_plan = {
	"SELECT a.partners, a.merges FROM cdp.erase_around($1) a", 1, {INT8OID}, NULL};

/* Who undoes a merge locks its row before the people, and so do we. */
static CdpPlan merges_plan = {
	"SELECT m.merge_id FROM cdp_data.identity_merge m WHERE m.merge_id = ANY ($1) "
	"ORDER BY m.merge_id FOR UPDATE",
	1,
	{INT8ARRAYOID},
	NULL};

/* Those that came in between: nobody is waited for while people are held. */
static CdpPlan more_merges_plan = {
	"SELECT m.merge_id FROM cdp_data.identity_merge m WHERE m.merge_id = ANY ($1) "
	"ORDER BY m.merge_id FOR UPDATE SKIP LOCKED",
	1,
	{INT8ARRAYOID},
	NULL};

static CdpPlan erase_plan = {
	"SELECT e.receipt, e.neighbours, e.touched FROM cdp.erase_rows($1, $2, $3, $4) e",
	4,
	{INT8OID, NAMEOID, TIMESTAMPTZOID, BOOLOID},
	NULL};

static CdpPlan disclosures_plan = {
	"SELECT cdp.subject_disclosures($1)", 1, {INT8OID}, NULL};

static Datum
name_datum(Oid role)
{
	NameData *name = palloc(sizeof(NameData));

	namestrcpy(name, GetUserNameFromId(role, false));
	return NameGetDatum(name);
}

/* The person whom all the identifiers, or the id, mean now; 0: nobody. */
static int64
person_of(const CdpWho *who)
{
	CdpGraph graph = {0};
	int64 id = 0;

	if (who->profile_id != 0)
		return cdp_graph_canonical(who->profile_id, false);
	graph.idents = palloc0(sizeof(CdpIdent) * who->n);
	graph.nidents = who->n;
	for (int i = 0; i < who->n; i++)
	{
		CdpMention mention = who->mentions[i];

		cdp_rules_normalise(&mention);
		graph.idents[i].ns = mention.ns;
		graph.idents[i].value = mention.value;
		cdp_graph_key(cdp_store_installation()->seed, mention.ns, mention.value,
					  graph.idents[i].key);
	}
	cdp_graph_find(&graph, false);
	for (int i = 0; i < who->n; i++)
	{
		int64 hers = graph.idents[i].profile_id;

		if (hers != 0 && id != 0 && hers != id)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("these identifiers are several people's"),
					 errhint("Name one of them, or her profile id.")));
		id = hers != 0 ? hers : id;
	}
	return id;
}

static int64
require_person(const CdpWho *who)
{
	int64 id = person_of(who);

	if (id == 0)
		ereport(ERROR,
				(errcode(ERRCODE_NO_DATA_FOUND), errmsg("there is no such person"),
				 errhint("She may have been erased: see cdp.erasures.")));
	return id;
}

static char *
text_argument(FunctionCallInfo fcinfo, int arg, const char *what)
{
	char *words;

	if (PG_ARGISNULL(arg))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be null", what)));
	words = text_to_cstring(PG_GETARG_TEXT_PP(arg));
	if (words[0] == '\0' || strlen(words) > 2000)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be text of 1 to 2000 bytes", what)));
	return words;
}

/* Column 1 of the last result's row, in the caller's memory. */
static Jsonb *
take_jsonb(MemoryContext context)
{
	bool isnull;
	Datum value = cdp_store_value(0, 1, &isnull);
	MemoryContext old = MemoryContextSwitchTo(context);
	Jsonb *copy = isnull ? NULL : DatumGetJsonbPCopy(value);

	MemoryContextSwitchTo(old);
	return copy;
}

/* cdp.export_subject(who, recipient, basis) */
CDP_WHO_OVERLOADS(cdp_export_subject)
{
	MemoryContext context = CurrentMemoryContext;
	CdpWho who;
	CdpStore store;
	Datum args[5];
	Jsonb *document;

	cdp_who_read(fcinfo, 0, kind, &who);
	args[1] = CStringGetTextDatum(text_argument(fcinfo, 1, "recipient"));
	args[2] = CStringGetTextDatum(text_argument(fcinfo, 2, "basis"));
	cdp_store_enter(&store);
	cdp_require_steward(store.caller, "export a person");
	args[0] = Int64GetDatum(require_person(&who));
	args[3] = name_datum(store.caller);
	args[4] = TimestampTzGetDatum(cdp_now());
	cdp_store_run(&document_plan, args, NULL, false, 1);
	document = take_jsonb(context);
	cdp_store_leave(&store);
	PG_RETURN_JSONB_P(document);
}

/* cdp.subject_id(who): whatever purposes are in force. */
CDP_WHO_OVERLOADS(cdp_subject_id)
{
	CdpWho who;
	CdpStore store;
	int64 id;

	cdp_who_read(fcinfo, 0, kind, &who);
	cdp_store_enter(&store);
	cdp_require_steward(store.caller, "look for anybody");
	id = require_person(&who);
	cdp_store_leave(&store);
	PG_RETURN_INT64(id);
}

/* cdp.disclosures_json(who) */
CDP_WHO_OVERLOADS(cdp_disclosures)
{
	MemoryContext context = CurrentMemoryContext;
	CdpWho who;
	CdpStore store;
	Datum args[1];
	Jsonb *list;

	cdp_who_read(fcinfo, 0, kind, &who);
	cdp_store_enter(&store);
	cdp_require_steward(store.caller, "see what was told of a person");
	args[0] = Int64GetDatum(require_person(&who));
	cdp_store_run(&disclosures_plan, args, NULL, false, 1);
	list = take_jsonb(context);
	cdp_store_leave(&store);
	PG_RETURN_JSONB_P(list);
}

/* Resolves these again, with all linked to them; they stay locked.  witness: graph.h, or NULL. */
static void
settle(const int64 *profiles, int n, Oid caller, bool (*witness)(CdpGraph *graph, void *arg),
	   void *arg)
{
	CdpGraph graph = {.witness = witness, .witness_arg = arg};

	if (n == 0)
		return;
	cdp_graph_reresolve(&graph, profiles, n);
	/* older snapshots must fail on them */
	for (int i = 0; i < graph.nlocked; i++)
		for (int k = 0; k < n; k++)
			graph.locked[i].named |= graph.locked[i].profile_id == profiles[k];
	cdp_ingest_settle(&graph, caller);
}

/* Does anything say what is in this table?  Locks it against others who say so. */
static bool
has_statistics(Oid relid)
{
	Relation rel = table_open(relid, ShareUpdateExclusiveLock);
	int natts = RelationGetNumberOfAttributes(rel);

	table_close(rel, NoLock);
	for (int a = 1; a <= natts; a++)
		for (int inherited = 0; inherited < 2; inherited++)
			if (SearchSysCacheExists3(STATRELATTINH, ObjectIdGetDatum(relid), Int16GetDatum(a),
									  BoolGetDatum(inherited == 1)))
				return true;
	return false;
}

/*
 * Makes the statistics of a table anew: most common values and bounds of
 * histograms are values.  Of an empty table ANALYZE leaves the old ones.
 */
static void
renew_statistics(const char *table)
{
	Oid relid = DatumGetObjectId(DirectFunctionCall1(to_regclass, CStringGetTextDatum(table)));

	if (!OidIsValid(relid) || !has_statistics(relid))
		return;
	RemoveStatistics(relid, 0);
	CommandCounterIncrement();
	if (SPI_execute(psprintf("ANALYZE %s", table), false, 0) < 0)
		elog(ERROR, "cdp: statistics could not be made anew");
}

/* An erasure under way. */
typedef struct Erasure
{
	const CdpWho *who;
	Oid caller;
	bool dry;
	bool again;
	MemoryContext context;
	Jsonb *receipt;
	/* who is to be locked, and which merges */
	int64 id;
	int64 *partners;
	int npartners;
	int64 *merges;
	int nmerges;
} Erasure;

static int64 *
read_ids(Datum array, int *n)
{
	Datum *elems;
	int64 *ids;

	deconstruct_array(DatumGetArrayTypeP(array), INT8OID, sizeof(int64), FLOAT8PASSBYVAL,
					  TYPALIGN_DOUBLE, &elems, NULL, n);
	ids = palloc(sizeof(int64) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
		ids[i] = DatumGetInt64(elems[i]);
	return ids;
}

/* Who she is now, and who and what is around her. */
static void
look_around(Erasure *e)
{
	Datum args[1];
	bool isnull;

	e->id = require_person(e->who);
	args[0] = Int64GetDatum(e->id);
	cdp_store_run(&around_plan, args, NULL, false, 1);
	e->partners = read_ids(cdp_store_value(0, 1, &isnull), &e->npartners);
	e->merges = read_ids(cdp_store_value(0, 2, &isnull), &e->nmerges);
}

/*
 * Is everybody held who is linked to her, or to those whom only a separation has
 * to do with her?  They are resolved again when she is gone, with all linked to
 * them, and nobody may be waited for then.
 */
static bool
are_held(CdpGraph *graph, const Erasure *e)
{
	int64 *from = palloc(sizeof(int64) * (e->npartners + 1));

	from[0] = e->id;
	memcpy(from + 1, e->partners, sizeof(int64) * e->npartners);
	qsort(from, e->npartners + 1, sizeof(int64), cdp_compare_int64);
	return cdp_graph_all_locked(graph, cdp_component_load(from, e->npartners + 1));
}

/*
 * A witness of the graph, with her locked: is it still she, and are all others
 * locked whom this concerns?  If not the round lets go of everything and begins
 * anew with them.
 */
static bool
hold(CdpGraph *graph, void *arg)
{
	Erasure *e = arg;
	Datum args[1];

	look_around(e);
	if (!are_held(graph, e))
		return false;
	args[0] = cdp_array_int64(e->merges, e->nmerges);
	if (cdp_store_run(&more_merges_plan, args, NULL, false, -1) != e->nmerges)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("somebody undoes a merge of this person"),
				 errhint("Retry the transaction.")));
	return true;
}

static bool
erase(void *arg)
{
	Erasure *e = arg;
	Datum args[4];
	Datum *tables;
	int64 *neighbours;
	int n;
	int ntables;
	bool isnull;

	/* before any other lock: see cdp.lock_storage() */
	LockRelationOid(cdp_store_relation("profile_state"), RowExclusiveLock);
	look_around(e);
	args[0] = cdp_array_int64(e->merges, e->nmerges);
	cdp_store_run(&merges_plan, args, NULL, false, -1);
	settle(&e->id, 1, e->caller, hold, e);
	args[0] = Int64GetDatum(e->id);
	args[1] = name_datum(e->caller);
	args[2] = TimestampTzGetDatum(cdp_now());
	args[3] = BoolGetDatum(e->again);
	cdp_store_run(&erase_plan, args, NULL, false, 1);
	e->receipt = take_jsonb(e->context);
	neighbours = read_ids(cdp_store_value(0, 2, &isnull), &n);
	deconstruct_array(DatumGetArrayTypePCopy(cdp_store_value(0, 3, &isnull)), TEXTOID, -1, false,
					  TYPALIGN_INT, &tables, NULL, &ntables);
	/* all of them are held: what is known of them follows from what is left */
	settle(neighbours, n, e->caller, NULL, NULL);
	for (int i = 0; i < ntables && !e->dry; i++)
		renew_statistics(TextDatumGetCString(tables[i]));
	if (!e->dry && ntables > 0)
		renew_statistics("cdp_data.event");
	return !e->dry;
}

/* cdp.erase_subject(who, dry_run, again) */
CDP_WHO_OVERLOADS(cdp_erase_subject)
{
	CdpWho who;
	CdpStore store;
	Erasure e = {.who = &who, .context = CurrentMemoryContext};

	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("dry_run must not be null")));
	e.dry = PG_GETARG_BOOL(1);
	e.again = PG_NARGS() > 2 && !PG_ARGISNULL(2) && PG_GETARG_BOOL(2);
	cdp_who_read(fcinfo, 0, kind, &who);
	/* what was written after the snapshot would stay */
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("a person cannot be erased under an old snapshot"),
				 errhint("Use READ COMMITTED.")));
	cdp_store_enter(&store);
	cdp_require_steward(store.caller, "erase a person");
	e.caller = store.caller;
	if (e.dry)
		(void) cdp_store_attempt(erase, &e);
	else
		(void) erase(&e);
	cdp_store_leave(&store);
	PG_RETURN_JSONB_P(e.receipt);
}

/*
 * cdp.as_steward(act, arguments): runs one of the functions below as the owner,
 * for a role of kind privacy.  They take what the act needs as jsonb, with the
 * role that acts and the time, and return jsonb.
 */
Datum
cdp_as_steward(PG_FUNCTION_ARGS)
{
	static const char *const acts[] = {"unsuppress", "erasure_list", "erasure_candidates",
									   "open_request", "extend_request", "close_request",
									   "consent_proof"};
	static CdpPlan plans[lengthof(acts)];
	MemoryContext context = CurrentMemoryContext;
	char *act = text_to_cstring(PG_GETARG_TEXT_PP(0));
	CdpStore store;
	Datum args[3];
	Jsonb *result;
	int which = -1;

	for (int i = 0; i < (int) lengthof(acts); i++)
		if (strcmp(acts[i], act) == 0)
			which = i;
	if (which < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("there is no such act")));
	cdp_store_enter(&store);
	cdp_require_steward(store.caller, "do this");
	if (plans[which].sql == NULL)
		plans[which] = (CdpPlan){MemoryContextStrdup(TopMemoryContext,
													 psprintf("SELECT cdp.do_%s($1, $2, $3)", act)),
								 3,
								 {JSONBOID, NAMEOID, TIMESTAMPTZOID},
								 NULL};
	args[0] = PG_GETARG_DATUM(1);
	args[1] = name_datum(store.caller);
	args[2] = TimestampTzGetDatum(cdp_now());
	cdp_store_run(&plans[which], args, NULL, false, 1);
	result = take_jsonb(context);
	cdp_store_leave(&store);
	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(result);
}
