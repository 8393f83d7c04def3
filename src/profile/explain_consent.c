/*
 * src/profile/explain_consent.c
 *		cdp.explain_consent(who, purpose, channel): may we, and which record
 *		says so?
 *
 * The answer is that of cdp.consent_flags: the record of the lowest precedence
 * decides (docs/consent.md), and without one the default.  Whoever may not see
 * the person is told as much as of nobody; kind privacy sees all records, and
 * so is told.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"

#include "compat.h"
#include "consent/consent.h"
#include "identity/graph.h"
#include "profile/resolve.h"
#include "store.h"

static CdpPlan ord_plan = {
	"SELECT s.ord FROM cdp_data.profile_state s WHERE s.profile_id = $1",
	1,
	{INT8OID},
	NULL};

/* In the order of the function's columns, after the answer and its reason. */
static CdpPlan deciding_plan = {
	"SELECT x.precedence, x.channel, x.namespace || ':' || x.value, x.state, x.channel, x.at, "
	"  x.valid_from, x.valid_until, x.basis, x.notice, x.jurisdiction, x.source, "
	"  x.collection_point, l.message_id, l.recorded_at, l.recorded_by, l.signal, x.records "
	"FROM (SELECT c.*, (count(*) OVER ())::int AS records FROM cdp.consents c "
	"    WHERE c.profile_id = $1 AND c.purpose = $2 AND c.channel IN ('all', $3) "
	"  ORDER BY c.precedence, (c.channel = 'all') DESC, c.valid_until, c.at DESC, c.namespace, "
	"    c.value LIMIT 1) x "
	"LEFT JOIN LATERAL (SELECT g.* FROM cdp_data.consent_current k "
	"    JOIN cdp_data.purpose p ON p.purpose_id = k.purpose_id AND p.name = x.purpose "
	"    JOIN cdp_data.consent_log g ON g.node_id = k.node_id AND g.purpose_id = k.purpose_id "
	"      AND g.channel = k.channel AND g.message_key = k.message_key AND g.ts = k.ts "
	"  WHERE k.node_id = x.node_id AND k.channel = x.channel ORDER BY g.consent_id LIMIT 1) l "
	"ON true",
	3,
	{INT8OID, TEXTOID, TEXTOID},
	NULL};

/* What holds where nobody was asked: as in cdp.consent_flags. */
static CdpPlan default_plan = {
	"SELECT coalesce(bool_and(coalesce(x.allows, false)), false), "
	"  string_agg(s.jurisdiction, ', ' ORDER BY s.jurisdiction) "
	"FROM (SELECT DISTINCT c.jurisdiction FROM cdp_data.node n "
	"    JOIN cdp_data.consent_current c ON c.node_id = n.node_id AND c.purpose_id = 0 "
	"  WHERE n.profile_id = $1) s "
	"LEFT JOIN cdp_data.consent_default x ON x.jurisdiction = s.jurisdiction "
	"  AND x.purpose_id = (SELECT p.purpose_id FROM cdp_data.purpose p WHERE p.name = $2)",
	2,
	{INT8OID, TEXTOID},
	NULL};

/* Columns of the function, and those of the plan that come before its own. */
#define COLUMNS 18
#define REASON_COLUMNS 2

/* By precedence, from 1. */
static const char *const reasons[] = {
	"An identifier of the person is restricted: nothing else counts.",
	"The person objected.",
	"The consent was withdrawn.",
	"The person said no.",
	"The consent is over.",
	"A later version of the notice is required than the one the person was given.",
	"The consent holds from a later time on.",
	"Every identifier with a record says yes."};

static const char *const nobody_asked[] = {
	"No identifier of the person has a record for the purpose, and no jurisdiction was stated.",
	"No identifier of the person has a record for the purpose, and a jurisdiction asks for one.",
	"No identifier of the person has a record for the purpose, and no jurisdiction asks for one."};

/* The number of the column "jurisdiction", from 0. */
#define JURISDICTION 10

/* args are person, purpose and channel. */
static void
put_row(ReturnSetInfo *result, Datum *args)
{
	Datum values[COLUMNS] = {0};
	bool nulls[COLUMNS];
	int32 precedence = 0;
	bool isnull;
	bool decided = false;

	memset(nulls, true, sizeof(nulls));
	values[COLUMNS - 1] = Int32GetDatum(0);
	nulls[0] = nulls[1] = nulls[COLUMNS - 1] = false;
	if (cdp_store_run(&deciding_plan, args, NULL, true, -1) == 1)
	{
		precedence = DatumGetInt32(cdp_store_value(0, 1, &isnull));
		if (precedence < 1 || precedence > (int32) lengthof(reasons))
			elog(ERROR, "cdp: precedence %d is unknown", precedence);
		/* that a channel is allowed says nothing of the purpose */
		decided = precedence < (int32) lengthof(reasons) ||
				  strcmp(cdp_store_text(0, 2), CDP_ALL_CHANNELS) == 0;
		for (int i = decided ? REASON_COLUMNS : COLUMNS - 1; i < COLUMNS; i++)
			values[i] = cdp_store_value(0, i + 1, &nulls[i]);
	}
	if (decided)
	{
		values[0] = BoolGetDatum(precedence == (int32) lengthof(reasons));
		values[1] = CStringGetTextDatum(reasons[precedence - 1]);
	}
	else
	{
		bool stated;

		cdp_store_run(&default_plan, args, NULL, true, -1);
		values[0] = cdp_store_value(0, 1, &isnull);
		values[JURISDICTION] = cdp_store_value(0, 2, &nulls[JURISDICTION]);
		stated = !nulls[JURISDICTION];
		values[1] = CStringGetTextDatum(nobody_asked[!stated				 ? 0 :
													 DatumGetBool(values[0]) ? 2 :
																			   1]);
	}
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

CDP_WHO_OVERLOADS(cdp_explain_consent)
{
	ReturnSetInfo *result;
	CdpWho who;
	CdpStore store;
	Datum args[3];
	int64 id;

	InitMaterializedSRF(fcinfo, 0);
	result = (ReturnSetInfo *) fcinfo->resultinfo;
	cdp_who_read(fcinfo, 0, kind, &who);
	if (PG_ARGISNULL(1) || PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("purpose and channel must not be null")));
	cdp_store_enter(&store);
	if (cdp_consent_purpose(text_to_cstring(PG_GETARG_TEXT_PP(1))) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("purpose \"%s\" does not exist", text_to_cstring(PG_GETARG_TEXT_PP(1))),
				 errhint("Declare it with SELECT cdp.define_purpose(...).")));
	if (!cdp_consent_channel_exists(text_to_cstring(PG_GETARG_TEXT_PP(2))))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("channel \"%s\" does not exist", text_to_cstring(PG_GETARG_TEXT_PP(2))),
				 errhint("Declare it with SELECT cdp.define_channel(...), or say 'all'.")));
	id = who.profile_id ? cdp_graph_canonical(who.profile_id, true) : cdp_profile_of(&who);
	args[0] = Int64GetDatum(id);
	if (id != 0 && cdp_store_run(&ord_plan, args, NULL, true, -1) == 1 &&
		(cdp_consent_has_kind(store.caller, "privacy") ||
		 cdp_consent_sees(store.caller, (int32) cdp_store_int64(0, 1))))
	{
		args[1] = PG_GETARG_DATUM(1);
		args[2] = PG_GETARG_DATUM(2);
		put_row(result, args);
	}
	cdp_store_leave(&store);
	return (Datum) 0;
}
