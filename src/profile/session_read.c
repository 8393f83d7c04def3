/*
 * src/profile/session_read.c
 *		A person's sessions: the parts of her nodes, joined.
 *
 * Here they become what others see: rows of cdp.sessions, and the events
 * "session_ended" that metrics count.  Nothing is cached: what a person's
 * sessions are is read by one index for each of her nodes.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"

#include "compat.h"
#include "core/window.h"
#include "profile/probe.h"
#include "profile/session.h"
#include "store.h"

PG_FUNCTION_INFO_V1(cdp_person_sessions);
PG_FUNCTION_INFO_V1(cdp_person_session_due);

typedef struct Reading
{
	CdpSession *sessions;
	int n;
	int room;
	int attributes[CDP_SESSION_COLUMNS]; /* looked up with the first row */
} Reading;

static void
take_part(TupleTableSlot *slot, void *arg)
{
	Reading *r = arg;
	Datum values[CDP_SESSION_COLUMNS];
	bool nulls[CDP_SESSION_COLUMNS];

	if (r->n == r->room)
	{
		r->room = Max(16, r->room * 2);
		r->sessions = r->sessions ?
						  repalloc_huge(r->sessions, sizeof(CdpSession) * r->room) :
						  palloc(sizeof(CdpSession) * r->room);
	}
	for (int c = 0; c < CDP_SESSION_COLUMNS; c++)
	{
		if (r->attributes[c] == 0)
			r->attributes[c] = cdp_probe_attribute(slot, cdp_session_columns[c]);
		values[c] = slot_getattr(slot, r->attributes[c], &nulls[c]);
	}
	cdp_session_load(values, nulls, &r->sessions[r->n]);
	cdp_session_copy(&r->sessions[r->n++]);
}

/* What a session is, whoever we are. */
static const CdpSessionRule *
current_rule(void)
{
	if (!cdp_session_rule_is_current())
	{
		MemoryContext context = CurrentMemoryContext;
		CdpStore store;

		cdp_store_enter(&store);
		(void) cdp_session_rule();
		cdp_store_leave(&store);
		MemoryContextSwitchTo(context);
	}
	return cdp_session_rule();
}

/* The sessions of these nodes, which are one person's, in their order. */
static CdpSession *
read_sessions(const int64 *nodes, int n, int64 silence, int *found)
{
	Reading r = {0};

	for (int i = 0; i < n; i++)
		cdp_probe("session_part", "session_part_pkey", nodes[i], NULL, take_part, &r);
	if (r.n > 1)
		qsort(r.sessions, r.n, sizeof(CdpSession), cdp_session_compare);
	*found = cdp_session_join(r.sessions, r.n, silence);
	return r.sessions;
}

static void
push_key(JsonbParseState **state, const char *name)
{
	JsonbValue v = {.type = jbvString};

	v.val.string.val = unconstify(char *, name);
	v.val.string.len = (int) strlen(name);
	(void) pushJsonbValue(state, WJB_KEY, &v);
}

static void
push_text(JsonbParseState **state, const char *name, Datum value)
{
	JsonbValue v = {.type = jbvString};

	if (value == (Datum) 0)
		return;
	push_key(state, name);
	v.val.string.val = TextDatumGetCString(value);
	v.val.string.len = (int) strlen(v.val.string.val);
	(void) pushJsonbValue(state, WJB_VALUE, &v);
}

static void
push_number(JsonbParseState **state, const char *name, Numeric number)
{
	JsonbValue v = {.type = jbvNumeric};

	push_key(state, name);
	v.val.numeric = number;
	(void) pushJsonbValue(state, WJB_VALUE, &v);
}

/* Name, source and medium of a campaign; 0 where there is none. */
static void
split_campaign(Datum campaign, Datum *parts)
{
	Datum *elements;
	bool *nulls;
	int n;

	memset(parts, 0, sizeof(Datum) * 3);
	if (campaign == (Datum) 0)
		return;
	deconstruct_array(DatumGetArrayTypeP(campaign), TEXTOID, -1, false, TYPALIGN_INT, &elements,
					  &nulls, &n);
	for (int p = 0; p < Min(n, 3); p++)
		parts[p] = nulls[p] ? (Datum) 0 : elements[p];
}

/* What a metric on session_ended may look at. */
static Jsonb *
properties_of(const CdpSession *session)
{
	JsonbParseState *state = NULL;
	Datum campaign[3];

	split_campaign(session->facts[CDP_SESSION_CAMPAIGN].value, campaign);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_number(&state, "dwell",
				int64_div_fast_to_numeric(session->ended_at - session->first.ts, 6));
	push_number(&state, "events", int64_to_numeric(session->events));
	push_text(&state, "first_page", session->facts[CDP_SESSION_FIRST_PAGE].value);
	push_text(&state, "last_page", session->facts[CDP_SESSION_LAST_PAGE].value);
	push_text(&state, "campaign", campaign[0]);
	push_text(&state, "campaign_source", campaign[1]);
	push_text(&state, "campaign_medium", campaign[2]);
	push_text(&state, "source", session->source);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* Visits sessions that are over, see session.h. */
bool
cdp_session_visit(const int64 *nodes, int n, TimestampTz now, const Interval *period,
				  bool properties, CdpMetricVisit visit, void *arg, TimestampTz *due)
{
	const CdpSessionRule *rule = current_rule();
	int64 silence = rule->silence;
	TimestampTz cutoff = DT_NOBEGIN;
	CdpCorePeriod length = {0};
	CdpSession *sessions;
	int found;

	*due = DT_NOEND;
	if (!rule->on || !rule->ready)
		return false;
	if (period)
	{
		length = (CdpCorePeriod){period->month, period->day, period->time};
		cutoff = cdp_core_window_start(&length, now);
	}
	sessions = read_sessions(nodes, n, silence, &found);
	for (int i = 0; i < found; i++)
	{
		CdpMetricEvent event = {.ts = sessions[i].ended_at + silence,
								.key = sessions[i].first.key,
								.type = CDP_SESSION_ENDED};

		if (event.ts > now)
			*due = Min(*due, event.ts);
		else if (event.ts > cutoff)
		{
			if (period)
				*due = Min(*due, cdp_core_window_leave(&length, event.ts));
			if (visit == NULL)
				continue;
			event.properties = properties ? properties_of(&sessions[i]) : NULL;
			visit(&event, arg);
		}
	}
	return true;
}

/* cdp.person_sessions(profile_id): rows of cdp.sessions. */
Datum
cdp_person_sessions(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	const CdpSessionRule *rule = current_rule();
	TimestampTz now = cdp_now();
	const int64 *nodes;
	CdpSession *sessions;
	int n;

	InitMaterializedSRF(fcinfo, 0);
	if (!rule->on || !rule->ready || !ActiveSnapshotSet() ||
		!cdp_metric_person(PG_GETARG_INT64(0), now, &nodes, &n))
		return (Datum) 0;
	sessions = read_sessions(nodes, n, rule->silence, &n);
	for (int i = 0; i < n; i++)
	{
		const CdpSession *s = &sessions[i];
		Interval dwell = {.time = s->ended_at - s->first.ts};
		Datum campaign[3];
		Datum values[12];
		bool nulls[12];

		split_campaign(s->facts[CDP_SESSION_CAMPAIGN].value, campaign);
		values[0] = UUIDPGetDatum((pg_uuid_t *) s->first.key);
		values[1] = TimestampTzGetDatum(s->first.ts);
		values[2] = TimestampTzGetDatum(s->ended_at);
		values[3] = BoolGetDatum(s->ended_at + rule->silence > now);
		values[4] = IntervalPGetDatum(&dwell);
		values[5] = Int64GetDatum(s->events);
		values[6] = s->facts[CDP_SESSION_FIRST_PAGE].value;
		values[7] = s->facts[CDP_SESSION_LAST_PAGE].value;
		memcpy(&values[8], campaign, sizeof(campaign));
		values[11] = s->source;
		for (int c = 0; c < 12; c++)
			nulls[c] = c >= 6 && values[c] == (Datum) 0;
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* cdp.session_due(profile_id, period) */
Datum
cdp_person_session_due(PG_FUNCTION_ARGS)
{
	TimestampTz now = cdp_now();
	TimestampTz due = DT_NOEND;
	const int64 *nodes;
	int n;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	if (ActiveSnapshotSet() && cdp_metric_person(PG_GETARG_INT64(0), now, &nodes, &n))
		(void) cdp_session_visit(nodes, n, now, PG_ARGISNULL(1) ? NULL : PG_GETARG_INTERVAL_P(1),
								 false, NULL, NULL, &due);
	if (due == DT_NOEND)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(due);
}
