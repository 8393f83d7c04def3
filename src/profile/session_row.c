/*
 * src/profile/session_row.c
 *		A part of a session: as a row of cdp_data.session_part, and as one event
 *		makes it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "port/pg_bswap.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/uuid.h"

#include "compat.h"
#include "profile/session.h"
#include "store.h"

const char *const cdp_session_columns[CDP_SESSION_COLUMNS] = {
	"started_at", "first_key", "ended_at", "events", "source", "first_page", "first_page_at",
	"last_page", "last_page_at", "campaign", "campaign_at"};

/* Columns before the pairs of facts. */
#define FACTS 5

#define MARK_BYTES 24

/* As bytes: the time in network order, then the key. */
static Datum
store_mark(const CdpSessionMark *mark)
{
	bytea *bytes = palloc(VARHDRSZ + MARK_BYTES);
	uint64 ts = pg_hton64((uint64) mark->ts);

	SET_VARSIZE(bytes, VARHDRSZ + MARK_BYTES);
	memcpy(VARDATA(bytes), &ts, 8);
	memcpy(VARDATA(bytes) + 8, mark->key, 16);
	return PointerGetDatum(bytes);
}

static void
load_mark(Datum value, CdpSessionMark *mark)
{
	bytea *bytes = DatumGetByteaPP(value);
	uint64 ts;

	if (VARSIZE_ANY_EXHDR(bytes) != MARK_BYTES)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED), errmsg("a session is damaged"),
						errhint("Call cdp.set_session() again: sessions are made anew from the "
								"events.")));
	memcpy(&ts, VARDATA_ANY(bytes), 8);
	mark->ts = (TimestampTz) pg_ntoh64(ts);
	memcpy(mark->key, VARDATA_ANY(bytes) + 8, 16);
}

/* From the columns; texts go on pointing into them. */
void
cdp_session_load(const Datum *values, const bool *nulls, CdpSession *session)
{
	memset(session, 0, sizeof(*session));
	session->first.ts = DatumGetTimestampTz(values[0]);
	memcpy(session->first.key, DatumGetUUIDP(values[1])->data, 16);
	session->ended_at = DatumGetTimestampTz(values[2]);
	session->events = DatumGetInt64(values[3]);
	session->source = values[4];
	for (int f = 0; f < CDP_SESSION_FACTS; f++)
	{
		if (nulls[FACTS + 2 * f] || nulls[FACTS + 2 * f + 1])
			continue;
		session->facts[f].value = values[FACTS + 2 * f];
		load_mark(values[FACTS + 2 * f + 1], &session->facts[f].at);
	}
}

/* Into the columns, which point into the session and the current context. */
void
cdp_session_store(const CdpSession *session, Datum *values, bool *nulls)
{
	memset(nulls, false, sizeof(bool) * CDP_SESSION_COLUMNS);
	values[0] = TimestampTzGetDatum(session->first.ts);
	values[1] = UUIDPGetDatum((pg_uuid_t *) session->first.key);
	values[2] = TimestampTzGetDatum(session->ended_at);
	values[3] = Int64GetDatum(session->events);
	values[4] = session->source;
	for (int f = 0; f < CDP_SESSION_FACTS; f++)
	{
		const CdpSessionFact *fact = &session->facts[f];
		bool none = fact->value == (Datum) 0;

		nulls[FACTS + 2 * f] = nulls[FACTS + 2 * f + 1] = none;
		values[FACTS + 2 * f] = fact->value;
		values[FACTS + 2 * f + 1] = none ? (Datum) 0 : store_mark(&fact->at);
	}
}

/* Texts of its own, which no longer are a row's. */
void
cdp_session_copy(CdpSession *session)
{
	session->source = datumCopy(session->source, false, -1);
	for (int f = 0; f < CDP_SESSION_FACTS; f++)
		if (session->facts[f].value)
			session->facts[f].value = datumCopy(session->facts[f].value, false, -1);
}

/* A member of an object; NULL: it is none, or has no such member. */
static JsonbValue *
member(JsonbContainer *object, const char *name)
{
	if (object == NULL || !JsonContainerIsObject(object))
		return NULL;
	return getKeyJsonValueFromContainer(object, name, (int) strlen(name), NULL);
}

static JsonbContainer *
object_in(JsonbContainer *object, const char *name)
{
	JsonbValue *v = member(object, name);

	return v && v->type == jbvBinary ? v->val.binary.data : NULL;
}

/* A text in an object, as long as is kept; 0: there is none that says anything. */
static Datum
text_in(JsonbContainer *object, const char *name)
{
	JsonbValue *v = member(object, name);

	if (v == NULL || v->type != jbvString || v->val.string.len == 0)
		return (Datum) 0;
	return PointerGetDatum(cstring_to_text_with_len(
		v->val.string.val,
		pg_mbcliplen(v->val.string.val, v->val.string.len, CDP_SESSION_TEXT)));
}

static Datum
either(Datum a, JsonbContainer *object, const char *name)
{
	return a ? a : text_in(object, name);
}

/*
 * Where the person was: the path of a page, else its address, else its name;
 * the name of a screen; of other events the page their context names.
 */
static Datum
page_of(const CdpMetricEvent *event, JsonbContainer *properties, JsonbContainer *page)
{
	Datum result = (Datum) 0;
	bool is_page = strcmp(event->type, "page") == 0;

	if (is_page)
	{
		result = text_in(properties, "path");
		result = either(result, properties, "url");
	}
	if ((is_page || strcmp(event->type, "screen") == 0) && result == (Datum) 0 && event->name)
		result = PointerGetDatum(cstring_to_text_with_len(
			event->name, pg_mbcliplen(event->name, (int) strlen(event->name), CDP_SESSION_TEXT)));
	result = either(result, page, "path");
	return either(result, page, "url");
}

static int
hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' :
		   c >= 'a' && c <= 'f' ? c - 'a' + 10 :
		   c >= 'A' && c <= 'F' ? c - 'A' + 10 :
								  -1;
}

/* A value of a query string, decoded as forms are; 0: empty, or no text. */
static Datum
decode(const char *s, int len)
{
	char *out = palloc(len + 1);
	int n = 0;

	for (int i = 0; i < len; i++)
	{
		if (s[i] == '%' && i + 2 < len && hex_digit(s[i + 1]) >= 0 && hex_digit(s[i + 2]) >= 0)
		{
			out[n++] = (char) (hex_digit(s[i + 1]) * 16 + hex_digit(s[i + 2]));
			i += 2;
		}
		else
			out[n++] = s[i] == '+' ? ' ' : s[i];
	}
	if (n == 0 || !pg_verifymbstr(out, n, true))
		return (Datum) 0;
	return PointerGetDatum(cstring_to_text_with_len(out, pg_mbcliplen(out, n, CDP_SESSION_TEXT)));
}

static const char *const campaign_words[3] = {"name", "source", "medium"};
static const char *const utm_words[3] = {"utm_campaign=", "utm_source=", "utm_medium="};

/* What an address, or its query, says of a campaign; the first of each counts. */
static void
read_query(const JsonbValue *v, bool whole, Datum *parts)
{
	const char *s;
	const char *end;

	if (v == NULL || v->type != jbvString)
		return;
	s = v->val.string.val;
	end = memchr(s, '#', v->val.string.len);
	end = end ? end : s + v->val.string.len;
	if (whole)
	{
		const char *query = memchr(s, '?', end - s);

		if (query == NULL)
			return;
		s = query;
	}
	if (s < end && *s == '?')
		s++;
	while (s < end)
	{
		const char *stop = memchr(s, '&', end - s);

		stop = stop ? stop : end;
		for (int p = 0; p < 3; p++)
		{
			int len = (int) strlen(utm_words[p]);

			if (parts[p] == (Datum) 0 && stop - s > len && memcmp(s, utm_words[p], len) == 0)
				parts[p] = decode(s + len, (int) (stop - s) - len);
		}
		s = stop + 1;
	}
}

/* What brought the person: as the message says, or as the page's address does. */
static Datum
campaign_of(const CdpMetricEvent *event, JsonbContainer *properties, JsonbContainer *context,
			JsonbContainer *page)
{
	JsonbContainer *given = object_in(context, "campaign");
	Datum parts[3] = {0};
	bool nulls[3];
	bool any = false;

	for (int p = 0; p < 3; p++)
	{
		parts[p] = text_in(given, campaign_words[p]);
		any |= parts[p] != (Datum) 0;
	}
	if (!any && strcmp(event->type, "page") == 0)
	{
		read_query(member(properties, "url"), true, parts);
		read_query(member(properties, "search"), false, parts);
	}
	if (!any)
	{
		read_query(member(page, "url"), true, parts);
		read_query(member(page, "search"), false, parts);
	}
	any = false;
	for (int p = 0; p < 3; p++)
	{
		nulls[p] = parts[p] == (Datum) 0;
		any |= !nulls[p];
	}
	return any ? cdp_array_datums(parts, nulls, 3, TEXTOID) : (Datum) 0;
}

/* The session that the event alone would be. */
void
cdp_session_of_event(const CdpMetricEvent *event, CdpSession *session)
{
	JsonbContainer *properties = event->properties ? &event->properties->root : NULL;
	JsonbContainer *context = event->context ? &event->context->root : NULL;
	JsonbContainer *page = object_in(context, "page");

	memset(session, 0, sizeof(*session));
	session->first.ts = session->ended_at = event->ts;
	memcpy(session->first.key, event->key, 16);
	session->events = 1;
	session->source = CStringGetTextDatum(event->source);
	session->facts[CDP_SESSION_FIRST_PAGE].value = page_of(event, properties, page);
	session->facts[CDP_SESSION_LAST_PAGE].value = session->facts[CDP_SESSION_FIRST_PAGE].value;
	session->facts[CDP_SESSION_CAMPAIGN].value = campaign_of(event, properties, context, page);
	for (int f = 0; f < CDP_SESSION_FACTS; f++)
		session->facts[f].at = session->first;
}
