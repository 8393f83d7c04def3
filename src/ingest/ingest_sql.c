/*
 * src/ingest/ingest_sql.c
 *		SQL entry points: ingest, track, identify, set_consent.
 *
 * ingest() never raises on a message, it answers with its status.  The
 * functions that take one message raise when it cannot be taken: their caller
 * has one statement and wants to know.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "cdp.h"
#include "compat.h"
#include "consent/audit.h"
#include "consent/consent.h"
#include "core/time.h"
#include "ingest/ingest.h"
#include "ingest/ingest_sql.h"
#include "store.h"

PG_FUNCTION_INFO_V1(cdp_ingest);

static const char *
status_name(CdpStatus status)
{
	switch (status)
	{
		case CDP_ACCEPTED:
			return "accepted";
		case CDP_DUPLICATE:
			return "duplicate";
		case CDP_REJECTED:
			return "rejected";
	}
	return "unknown";
}

/* A name of a source, a purpose ...: neither empty nor too long. */
char *
cdp_name_argument(FunctionCallInfo fcinfo, int arg, const char *what, int max)
{
	char *name;

	if (PG_ARGISNULL(arg))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", what)));
	name = text_to_cstring(PG_GETARG_TEXT_PP(arg));
	if (name[0] == '\0' || strlen(name) > (size_t) max)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be text of 1 to %d bytes", what, max)));
	return name;
}

/* cdp.ingest(payload, source) */
Datum
cdp_ingest(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Jsonb *payload = PG_GETARG_JSONB_P(0);
	char *source = cdp_name_argument(fcinfo, 1, "source", CDP_MAX_SOURCE);
	CdpStore store;
	CdpMessage *messages;
	int n;

	InitMaterializedSRF(fcinfo, 0);
	cdp_store_enter(&store);
	messages = cdp_message_parse_payload(payload, source, cdp_now(), &n);
	cdp_ingest_batch(messages, n, store.caller, 0);
	for (int i = 0; i < n; i++)
	{
		Datum values[3];
		bool nulls[3] = {false, false, false};

		values[0] = CStringGetTextDatum(messages[i].message_id);
		nulls[0] = messages[i].status == CDP_REJECTED && !messages[i].id_is_given;
		values[1] = CStringGetTextDatum(status_name(messages[i].status));
		values[2] = Int64GetDatum(messages[i].profile_id);
		nulls[2] = messages[i].status == CDP_REJECTED || messages[i].profile_id == 0;
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	cdp_store_leave(&store);
	return (Datum) 0;
}

/*
 * What the single-message functions share: who, time, message id, source.
 * Call inside cdp_store_enter().
 */
void
cdp_message_start(CdpMessage *m, const char *type, const CdpWho *who,
				  FunctionCallInfo fcinfo, int at_arg, int id_arg, const char *source)
{
	TimestampTz now = cdp_now();

	memset(m, 0, sizeof(*m));
	m->type = type;
	m->source = source;
	m->space = strcmp(type, "consent") == 0 ? CDP_SPACE_CONSENT : CDP_SPACE_MESSAGE;
	m->link = -1;
	m->valid_until = DT_NOEND;
	m->received_at = now;
	m->ts = PG_ARGISNULL(at_arg) ? now : PG_GETARG_TIMESTAMPTZ(at_arg);
	if (m->ts < CDP_MIN_EVENT_TIME || TIMESTAMP_NOT_FINITE(m->ts) ||
		m->ts > now + CDP_FUTURE_TOLERANCE)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("the time of an event must be in 1970 or later and not in the future"),
				 errhint("A day ahead is tolerated, for clocks that are wrong.")));
	if (PG_ARGISNULL(id_arg))
		cdp_message_make_id(m);
	else
	{
		char *id = text_to_cstring(PG_GETARG_TEXT_PP(id_arg));

		if (id[0] == '\0' || strlen(id) > CDP_MAX_MESSAGE_ID)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("message_id must be text of 1 to %d bytes", CDP_MAX_MESSAGE_ID)));
		m->message_id = id;
		m->id_is_given = true;
	}
	cdp_message_key(m);
	m->about = who->profile_id;
	m->mentions = who->mentions;
	m->nmentions = who->n;
	m->mention_room = who->n;
	if (m->nmentions > CDP_MAX_MENTIONS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a message names at most %d identifiers", CDP_MAX_MENTIONS)));
}

/* A text that is not empty, or none: each ends, so that the next is not taken for it. */
static void
add_text(XXH3_state_t *state, const char *text)
{
	XXH3_64bits_update(state, text ? text : "", text ? strlen(text) + 1 : 1);
}

static void
add_terms(XXH3_state_t *state, const CdpConsentTerms *terms)
{
	add_text(state, terms->channel);
	add_text(state, terms->basis);
	add_text(state, terms->collection_point);
	add_text(state, terms->jurisdiction);
	XXH3_64bits_update(state, &terms->notice_id, sizeof(terms->notice_id));
	XXH3_64bits_update(state, &terms->valid_from, sizeof(terms->valid_from));
}

/* Hash of the content, so that a second message under one id is noticed. */
uint64
cdp_message_content(const CdpMessage *m, const Jsonb *document)
{
	XXH3_state_t state;

	XXH3_64bits_reset(&state);
	XXH3_64bits_update(&state, m->type, strlen(m->type));
	if (m->name)
		XXH3_64bits_update(&state, m->name, strlen(m->name));
	if (m->state)
	{
		XXH3_64bits_update(&state, m->state, strlen(m->state));
		XXH3_64bits_update(&state, &m->purpose_id, sizeof(m->purpose_id));
		XXH3_64bits_update(&state, &m->valid_until, sizeof(m->valid_until));
	}
	if (m->terms)
		add_terms(&state, m->terms);
	if (document)
		XXH3_64bits_update(&state, VARDATA(document), VARSIZE(document) - VARHDRSZ);
	XXH3_64bits_update(&state, &m->about, sizeof(m->about));
	for (int i = 0; i < m->nmentions; i++)
	{
		XXH3_64bits_update(&state, m->mentions[i].ns, strlen(m->mentions[i].ns) + 1);
		XXH3_64bits_update(&state, m->mentions[i].value, strlen(m->mentions[i].value) + 1);
	}
	return XXH3_64bits_digest(&state);
}

/* Raises if the message was refused. */
void
cdp_message_require(const CdpMessage *m)
{
	if (m->status == CDP_REJECTED)
		ereport(ERROR,
				(errcode(strcmp(m->reason, "unknown_profile") == 0 ?
							 ERRCODE_NO_DATA_FOUND :
							 ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the message was refused: %s", m->reason),
				 errdetail("%s", cdp_message_detail(m))));
}

/* Takes the one message; raises if it was refused. */
static int64
take(CdpMessage *m, Oid caller)
{
	cdp_ingest_batch(m, 1, caller, 0);
	cdp_message_require(m);
	return m->profile_id;
}

static Jsonb *
object_argument(FunctionCallInfo fcinfo, int arg, const char *what)
{
	Jsonb *document;

	if (PG_ARGISNULL(arg))
		return NULL;
	document = PG_GETARG_JSONB_P(arg);
	if (!JB_ROOT_IS_OBJECT(document))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be a JSON object", what)));
	return JB_ROOT_COUNT(document) == 0 ? NULL : document;
}

/* cdp.track(who, event, properties, at, message_id, source) */
CDP_WHO_OVERLOADS(cdp_track)
{
	CdpWho who;
	CdpStore store;
	CdpMessage m;
	char *event;
	char *source = cdp_name_argument(fcinfo, 5, "source", CDP_MAX_SOURCE);
	Jsonb *properties = object_argument(fcinfo, 2, "properties");
	int64 id;

	cdp_who_read(fcinfo, 0, kind, &who);
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("event must not be null")));
	event = text_to_cstring(PG_GETARG_TEXT_PP(1));
	if (event[0] == '\0' || strlen(event) > CDP_MAX_EVENT_NAME)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("event must be text of 1 to %d bytes", CDP_MAX_EVENT_NAME)));
	cdp_store_enter(&store);
	cdp_message_start(&m, "track", &who, fcinfo, 3, 4, source);
	m.name = event;
	m.properties = properties;
	m.content = cdp_message_content(&m, properties);
	id = take(&m, store.caller);
	cdp_store_leave(&store);
	PG_RETURN_INT64(id);
}

/* cdp.identify(who, traits, at, message_id, source) */
CDP_WHO_OVERLOADS(cdp_identify)
{
	CdpWho who;
	CdpStore store;
	CdpMessage m;
	char *source = cdp_name_argument(fcinfo, 4, "source", CDP_MAX_SOURCE);
	Jsonb *traits = object_argument(fcinfo, 1, "traits");
	int64 id;

	if (traits && JB_ROOT_COUNT(traits) > CDP_MAX_TRAITS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a message has at most %d traits", CDP_MAX_TRAITS)));
	cdp_who_read(fcinfo, 0, kind, &who);
	cdp_store_enter(&store);
	cdp_message_start(&m, "identify", &who, fcinfo, 2, 3, source);
	m.traits = traits;
	m.content = cdp_message_content(&m, traits);
	if (traits)
		cdp_message_mention_traits(&m, traits);
	if (m.status == CDP_REJECTED)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the message was refused: %s", m.reason),
				 errdetail("%s", cdp_message_detail(&m))));
	id = take(&m, store.caller);
	cdp_store_leave(&store);
	PG_RETURN_INT64(id);
}

/* A name that may be left out: NULL then. */
char *
cdp_optional_name(FunctionCallInfo fcinfo, int arg, const char *what, int max)
{
	return PG_ARGISNULL(arg) ? NULL : cdp_name_argument(fcinfo, arg, what, max);
}

/* The arguments of a consent from "channel" on; NULL if they say nothing. */
static const CdpConsentTerms *
terms_arguments(FunctionCallInfo fcinfo, int32 purpose_id, const char *purpose)
{
	CdpConsentTerms *terms = palloc0(sizeof(CdpConsentTerms));
	char *notice = cdp_optional_name(fcinfo, 9, "notice", CDP_MAX_NAME);

	terms->channel = cdp_name_argument(fcinfo, 7, "channel", CDP_MAX_NAME);
	terms->basis = cdp_optional_name(fcinfo, 8, "basis", CDP_MAX_NAME);
	terms->collection_point = cdp_optional_name(fcinfo, 10, "collection_point", CDP_MAX_EVENT_NAME);
	terms->valid_from = PG_ARGISNULL(11) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(11);
	terms->jurisdiction = cdp_optional_name(fcinfo, 12, "jurisdiction", CDP_MAX_NAME);
	if (!cdp_consent_channel_exists(terms->channel))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("channel \"%s\" does not exist", terms->channel),
				 errhint("Declare it with SELECT cdp.define_channel(...), or say 'all'.")));
	if (notice)
	{
		terms->notice_id = cdp_consent_notice(purpose_id, notice);
		if (terms->notice_id == 0)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("purpose \"%s\" has no notice of version \"%s\"", purpose, notice),
					 errhint("Declare it with SELECT cdp.define_notice(...).")));
	}
	if (strcmp(terms->channel, CDP_ALL_CHANNELS) == 0 && terms->basis == NULL &&
		terms->notice_id == 0 && terms->collection_point == NULL &&
		terms->valid_from == DT_NOBEGIN && terms->jurisdiction == NULL)
		return NULL;
	return terms;
}

/* What feeds only send is in the log of consents, with who sent it. */
static void
audit_consent(Oid caller, int64 profile_id, const char *purpose, const char *state)
{
	StringInfoData detail;

	if (!cdp_role_is_exempt(caller) && !cdp_consent_has_kind(caller, "privacy") &&
		!cdp_consent_has_kind(caller, "app"))
		return;
	initStringInfo(&detail);
	appendStringInfoString(&detail, "{\"purpose\": ");
	escape_json(&detail, purpose);
	appendStringInfoString(&detail, ", \"state\": ");
	escape_json(&detail, state);
	appendStringInfoChar(&detail, '}');
	cdp_audit_act_of(caller, "set_consent", profile_id, detail.data);
}

/*
 * cdp.set_consent(who, purpose, state, at, valid_until, source, message_id, channel, basis,
 * notice, collection_point, valid_from, jurisdiction)
 */
CDP_WHO_OVERLOADS(cdp_set_consent)
{
	CdpWho who;
	CdpStore store;
	CdpMessage m;
	char *purpose = cdp_name_argument(fcinfo, 1, "purpose", CDP_MAX_NAME);
	char *state = cdp_name_argument(fcinfo, 2, "state", CDP_MAX_NAME);
	char *source = cdp_name_argument(fcinfo, 5, "source", CDP_MAX_SOURCE);
	int64 id;

	cdp_who_read(fcinfo, 0, kind, &who);
	if (!cdp_consent_state_is_known(state))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("consent state \"%s\" is unknown", state),
				 errhint("Use granted, denied, withdrawn, objected or restricted.")));
	cdp_store_enter(&store);
	cdp_message_start(&m, "consent", &who, fcinfo, 3, 6, source);
	m.state = state;
	m.purpose_id = cdp_consent_purpose(purpose);
	if (m.purpose_id == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("purpose \"%s\" does not exist", purpose),
				 errhint("Declare it with SELECT cdp.define_purpose(...).")));
	m.terms = terms_arguments(fcinfo, m.purpose_id, purpose);
	if (!PG_ARGISNULL(4))
		m.valid_until = PG_GETARG_TIMESTAMPTZ(4);
	/* a wrong clock must not make a grant outlast the withdrawals of today */
	m.ts = Min(m.ts, m.received_at);
	m.content = cdp_message_content(&m, NULL);
	id = take(&m, store.caller);
	if (m.conflicts)
		ereport(ERROR,
				(errcode(ERRCODE_UNIQUE_VIOLATION),
				 errmsg("the message id was used for another consent"),
				 errdetail("What was recorded under it stays; this consent was not recorded."),
				 errhint("Give each consent a message_id of its own, or none.")));
	if (m.status == CDP_ACCEPTED)
		audit_consent(store.caller, id, purpose, state);
	cdp_store_leave(&store);
	PG_RETURN_INT64(id);
}
