/*
 * src/ingest/apply_signal.c
 *		cdp.apply_signal(): what a browser says, as consents.
 *
 * A signal speaks of several purposes: each is a consent of its own, with a
 * message id made of the signal's and the purpose, and all are one batch.  The
 * content of these messages is the signal, not what it was taken to mean: one
 * that comes again changes nothing, whatever signals mean by then.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "cdp.h"
#include "compat.h"
#include "consent/consent.h"
#include "identity/graph.h"
#include "ingest/batch.h"
#include "ingest/ingest.h"
#include "ingest/ingest_sql.h"
#include "ingest/refusal.h"
#include "profile/resolve.h"
#include "store.h"

/* Longer signals are read by nobody, and not kept. */
#define MAX_KEPT_BYTES 8192

static CdpPlan read_plan = {
	"SELECT r.purpose_id, r.purpose, r.channel, r.state, r.basis, r.broken "
	"FROM cdp.read_signal($1, $2) r",
	2,
	{TEXTOID, TEXTOID},
	NULL};

/* A signal and what comes with it. */
typedef struct Signal
{
	const char *kind;
	const char *value; /* NULL: there was none */
	const char *broken; /* why it cannot be read, or NULL */
	const char *notice;
	CdpConsentTerms terms; /* of each consent, but for channel, basis and notice */
	uint64 content;
} Signal;

static uint64
content_of(const Signal *signal, const CdpMessage *m)
{
	XXH3_state_t state;

	XXH3_64bits_reset(&state);
	XXH3_64bits_update(&state, signal->kind, strlen(signal->kind) + 1);
	if (signal->value)
		XXH3_64bits_update(&state, signal->value, strlen(signal->value) + 1);
	XXH3_64bits_update(&state, &m->about, sizeof(m->about));
	for (int i = 0; i < m->nmentions; i++)
	{
		XXH3_64bits_update(&state, m->mentions[i].ns, strlen(m->mentions[i].ns) + 1);
		XXH3_64bits_update(&state, m->mentions[i].value, strlen(m->mentions[i].value) + 1);
	}
	return XXH3_64bits_digest(&state);
}

static void
push_string(JsonbParseState **state, JsonbIteratorToken token, const char *text)
{
	JsonbValue v;

	v.type = jbvString;
	v.val.string.val = unconstify(char *, text);
	v.val.string.len = (int) strlen(text);
	pushJsonbValue(state, token, &v);
}

/* The call as a message, for cdp.rejected. */
static Jsonb *
payload_of(const Signal *signal, const CdpMessage *m)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_string(&state, WJB_KEY, "type");
	push_string(&state, WJB_VALUE, "consent");
	push_string(&state, WJB_KEY, "signal");
	push_string(&state, WJB_VALUE, signal->kind);
	if (signal->value && strlen(signal->value) <= MAX_KEPT_BYTES)
	{
		push_string(&state, WJB_KEY, "value");
		push_string(&state, WJB_VALUE, signal->value);
	}
	push_string(&state, WJB_KEY, "identifiers");
	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < m->nmentions; i++)
		push_string(&state, WJB_ELEM, psprintf("%s:%s", m->mentions[i].ns, m->mentions[i].value));
	pushJsonbValue(&state, WJB_END_ARRAY, NULL);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* A message for each purpose that the signal speaks of; first is what they share. */
static CdpMessage *
make_messages(Signal *signal, const CdpMessage *first, int *n)
{
	Datum args[2] = {CStringGetTextDatum(signal->kind),
					 signal->value ? CStringGetTextDatum(signal->value) : (Datum) 0};
	int rows = cdp_store_run(&read_plan, args, signal->value ? NULL : " n", false, -1);
	CdpMessage *messages = palloc0(sizeof(CdpMessage) * Max(rows, 1));
	CdpConsentTerms *terms = palloc0(sizeof(CdpConsentTerms) * Max(rows, 1));

	*n = 0;
	for (int r = 0; r < rows; r++)
	{
		CdpMessage *m = &messages[*n];
		char *purpose = cdp_store_text(r, 2);
		char *broken = cdp_store_text(r, 6);

		if (broken)
			signal->broken = broken;
		if (purpose == NULL)
			continue; /* nothing but that it is broken */
		*m = *first;
		m->purpose_id = (int32) cdp_store_int64(r, 1);
		terms[*n] = signal->terms;
		terms[*n].channel = cdp_store_text(r, 3);
		terms[*n].basis = cdp_store_text(r, 5);
		m->state = cdp_store_text(r, 4);
		m->message_id = psprintf("%s/%s/%s", first->message_id, purpose, terms[*n].channel);
		if (strlen(m->message_id) > CDP_MAX_MESSAGE_ID)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("message_id is too long to tell purposes apart"),
					 errdetail("With purpose and channel it has more than %d bytes.",
							   CDP_MAX_MESSAGE_ID)));
		m->terms = &terms[(*n)++];
		cdp_message_key(m);
		/* the graph keeps its own of each */
		m->mentions = palloc(sizeof(CdpMention) * Max(first->nmentions, 1));
		memcpy(m->mentions, first->mentions, sizeof(CdpMention) * first->nmentions);
	}
	/* what nobody can read is no evidence: cdp.rejected keeps it */
	for (int i = 0; i < *n && signal->broken; i++)
		terms[i].signal = NULL;
	for (int i = 0; i < *n && signal->notice; i++)
		terms[i].notice_id = cdp_consent_notice(messages[i].purpose_id, signal->notice);
	return messages;
}

static void
refuse_id(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNIQUE_VIOLATION),
			 errmsg("the message id was used for another signal"),
			 errdetail("What was recorded under it stays; this signal was not recorded."),
			 errhint("Give each signal a message_id of its own, or none.")));
}

/*
 * Did this signal come before?  It has an id of its own beside those of its
 * purposes: rows that were mapped since must not make more of it, and another
 * signal may speak of other purposes.
 */
static bool
is_known(const CdpMessage *first, Oid caller)
{
	CdpMessage whole = *first;
	CdpBatch batch = {.messages = &whole, .n = 1, .caller = caller};

	if (!first->id_is_given)
		return false;
	whole.message_id = psprintf("%s/", first->message_id);
	cdp_message_key(&whole);
	/* before any other lock: see cdp.lock_storage() */
	LockRelationOid(cdp_store_relation("profile_state"), RowExclusiveLock);
	cdp_batch_dedupe(&batch);
	if (whole.status != CDP_DUPLICATE)
		return false;
	cdp_batch_note_conflicts(&batch);
	if (whole.conflicts)
		refuse_id();
	return true;
}

/*
 * cdp.apply_signal(who, kind, value, at, message_id, source, valid_until, notice,
 * collection_point, jurisdiction)
 */
CDP_WHO_OVERLOADS(cdp_apply_signal)
{
	CdpWho who;
	CdpStore store;
	CdpMessage first;
	CdpMessage *messages;
	Signal signal = {0};
	char *source = cdp_name_argument(fcinfo, 5, "source", CDP_MAX_SOURCE);
	int64 id = 0;
	int n;

	cdp_who_read(fcinfo, 0, kind, &who);
	signal.kind = cdp_name_argument(fcinfo, 1, "kind", CDP_MAX_NAME);
	signal.value = PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2));
	signal.notice = cdp_optional_name(fcinfo, 7, "notice", CDP_MAX_NAME);
	signal.terms.valid_from = DT_NOBEGIN;
	signal.terms.collection_point =
		cdp_optional_name(fcinfo, 8, "collection_point", CDP_MAX_EVENT_NAME);
	signal.terms.jurisdiction = cdp_optional_name(fcinfo, 9, "jurisdiction", CDP_MAX_NAME);
	if (signal.value && strlen(signal.value) <= MAX_KEPT_BYTES)
		signal.terms.signal = psprintf("%s:%s", signal.kind, signal.value);
	cdp_store_enter(&store);
	cdp_message_start(&first, "consent", &who, fcinfo, 3, 4, source);
	if (!PG_ARGISNULL(6))
		first.valid_until = PG_GETARG_TIMESTAMPTZ(6);
	/* as of any consent: a wrong clock must not make a grant outlast a withdrawal */
	first.ts = Min(first.ts, first.received_at);
	first.content = content_of(&signal, &first);
	if (is_known(&first, store.caller))
	{
		id = who.profile_id ? cdp_graph_canonical(who.profile_id, true) : cdp_profile_of(&who);
		cdp_store_leave(&store);
		if (id == 0)
			PG_RETURN_NULL();
		PG_RETURN_INT64(id);
	}
	messages = make_messages(&signal, &first, &n);
	cdp_ingest_batch(messages, n, store.caller, 0);
	for (int i = 0; i < n; i++)
	{
		cdp_message_require(&messages[i]);
		id = messages[i].profile_id;
		if (messages[i].conflicts)
			refuse_id();
	}
	if (signal.broken)
	{
		first.payload = payload_of(&signal, &first);
		first.state = "denied";
		cdp_refusal_write(cdp_refusal_note(NIL, &first, first.id_is_given ? first.message_id : NULL,
										   "invalid_signal", signal.broken),
						  store.caller);
	}
	cdp_store_leave(&store);
	if (id == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(id);
}
