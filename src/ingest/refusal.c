/*
 * src/ingest/refusal.c
 *		What was refused: kept with the reason and the payload.
 *
 * Nothing is dropped silently.  The same refusal again (source, message id,
 * reason) is counted, not kept twice.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "compat.h"
#include "ingest/refusal.h"
#include "store.h"

/* Sorted, so that two sessions refusing the same messages wait in one order. */
static CdpPlan reject_plan = {
	"INSERT INTO cdp_data.rejected AS r (rejected_at, last_at, times, source, message_id, "
	"  reason, detail, payload, recorded_by, space, tbl, before) "
	"SELECT u.at, $7, u.times, u.source, u.message_id, u.reason, u.detail, u.payload, $8, "
	"  u.space, nullif(u.tbl, 0)::regclass, u.before "
	"FROM unnest($1, $2, $3, $4, $5, $6, $9, $10, $11, $12) "
	"  u (source, message_id, reason, detail, payload, times, space, at, tbl, before) "
	"ORDER BY u.source, u.message_id, u.reason "
	"ON CONFLICT (source, message_id, reason) DO UPDATE "
	"  SET times = r.times + excluded.times, last_at = excluded.last_at, "
	"  rejected_at = LEAST(r.rejected_at, excluded.rejected_at) "
	"RETURNING r.message_id, r.reason, r.xmax = 0",
	12,
	{TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, JSONBARRAYOID, INT4ARRAYOID,
	 TIMESTAMPTZOID, NAMEOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID, OIDARRAYOID, JSONBARRAYOID},
	NULL};

/* A refusal to be written at the end of a batch. */
typedef struct Refusal
{
	const char *source;
	const char *message_id;
	const char *reason;
	const char *detail;
	Jsonb *payload;
	const char *space; /* of its id, if cdp.retry_rejected() can take it; or NULL */
	TimestampTz at; /* when it arrived */
	Oid table; /* of a row whose mapping failed, if it can be mapped again */
	Jsonb *before; /* what that row was, of an update */
} Refusal;

/* Pushes a pair of an object, unless there is no value. */
static void
push_text(JsonbParseState **state, const char *key, const char *value)
{
	JsonbValue v;

	if (value == NULL)
		return;
	v.type = jbvString;
	v.val.string.val = unconstify(char *, key);
	v.val.string.len = (int) strlen(key);
	pushJsonbValue(state, WJB_KEY, &v);
	v.val.string.val = unconstify(char *, value);
	v.val.string.len = (int) strlen(value);
	pushJsonbValue(state, WJB_VALUE, &v);
}

static void
push_document(JsonbParseState **state, const char *key, Jsonb *document)
{
	JsonbValue v;

	if (document == NULL)
		return;
	v.type = jbvString;
	v.val.string.val = unconstify(char *, key);
	v.val.string.len = (int) strlen(key);
	pushJsonbValue(state, WJB_KEY, &v);
	v.type = jbvBinary;
	v.val.binary.data = &document->root;
	v.val.binary.len = VARSIZE(document) - VARHDRSZ;
	pushJsonbValue(state, WJB_VALUE, &v);
}

/* The message as it came, or as its call would be written as a message. */
static Jsonb *
payload_of(const CdpMessage *m)
{
	JsonbParseState *state = NULL;
	JsonbValue v;

	if (m->payload)
		return m->payload;
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_text(&state, "type", m->type);
	push_text(&state, strcmp(m->type, "track") == 0 ? "event" : "name", m->name);
	if (m->id_is_given)
		push_text(&state, "messageId", m->message_id);
	push_document(&state, "properties", m->properties);
	push_document(&state, "traits", m->traits);
	v.type = jbvString;
	v.val.string.val = "identifiers";
	v.val.string.len = (int) strlen(v.val.string.val);
	pushJsonbValue(&state, WJB_KEY, &v);
	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < m->nmentions; i++)
	{
		v.type = jbvString;
		v.val.string.val = psprintf("%s:%s", m->mentions[i].ns, m->mentions[i].value);
		v.val.string.len = (int) strlen(v.val.string.val);
		pushJsonbValue(&state, WJB_ELEM, &v);
	}
	pushJsonbValue(&state, WJB_END_ARRAY, NULL);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/*
 * Notes a refusal of a message, to be written by cdp_refusal_write(); returns
 * the list with it.  message_id NULL: the message came without.
 */
List *
cdp_refusal_note(List *list, const CdpMessage *m, const char *message_id, const char *reason,
				 const char *detail)
{
	Refusal *r = palloc0(sizeof(Refusal));

	r->source = m->source;
	r->message_id = message_id;
	r->reason = reason;
	r->detail = detail;
	r->payload = payload_of(m);
	r->space = m->payload && !m->rule && !m->state ? psprintf("%c", m->space) : NULL;
	r->at = m->arrived_at != 0 ? m->arrived_at : cdp_now();
	return lappend(list, r);
}

/*
 * The same of a row of a table whose mapping failed.  table: where it can be
 * mapped again; before: what it was before an update, or JSON null if that is not known.
 */
List *
cdp_refusal_note_row(List *list, const char *source, const char *detail, Jsonb *row, Oid table,
					 Jsonb *before)
{
	Refusal *r = palloc0(sizeof(Refusal));

	r->source = source;
	r->reason = "mapping_error";
	r->detail = detail;
	r->payload = row;
	r->at = cdp_now();
	r->table = table;
	r->before = before;
	return lappend(list, r);
}

static int
compare_text(const char *a, const char *b)
{
	if (a == NULL || b == NULL)
		return (a != NULL) - (b != NULL);
	return strcmp(a, b);
}

static int
compare_refusals(const ListCell *a, const ListCell *b)
{
	const Refusal *x = lfirst(a);
	const Refusal *y = lfirst(b);
	int cmp = compare_text(x->source, y->source);

	if (cmp == 0)
		cmp = compare_text(x->message_id, y->message_id);
	return cmp != 0 ? cmp : compare_text(x->reason, y->reason);
}

/* Writes what was noted; writer is the role whose messages they were. */
void
cdp_refusal_write(List *refusals, Oid writer)
{
	int n = list_length(refusals);
	const char **source = palloc(sizeof(char *) * Max(n, 1));
	const char **id = palloc(sizeof(char *) * Max(n, 1));
	const char **reason = palloc(sizeof(char *) * Max(n, 1));
	const char **detail = palloc(sizeof(char *) * Max(n, 1));
	Datum *payload = palloc(sizeof(Datum) * Max(n, 1));
	const char **space = palloc(sizeof(char *) * Max(n, 1));
	bool *nulls = palloc(sizeof(bool) * Max(n, 1));
	ListCell *lc;
	int32 *times = palloc(sizeof(int32) * Max(n, 1));
	TimestampTz *at = palloc(sizeof(TimestampTz) * Max(n, 1));
	Datum *table = palloc(sizeof(Datum) * Max(n, 1));
	Datum *before = palloc(sizeof(Datum) * Max(n, 1));
	bool *none_before = palloc(sizeof(bool) * Max(n, 1));
	NameData name;
	Datum args[12];
	int kept = 0;

	if (n == 0)
		return;
	list_sort(refusals, compare_refusals);
	foreach(lc, refusals)
	{
		Refusal *r = lfirst(lc);

		/* ON CONFLICT cannot count one row twice in a statement */
		if (kept > 0 && r->message_id && id[kept - 1] &&
			strcmp(source[kept - 1], r->source) == 0 &&
			strcmp(id[kept - 1], r->message_id) == 0 &&
			strcmp(reason[kept - 1], r->reason) == 0)
		{
			times[kept - 1]++;
			at[kept - 1] = Min(at[kept - 1], r->at);
			continue;
		}
		times[kept] = 1;
		at[kept] = r->at;
		table[kept] = ObjectIdGetDatum(r->table);
		none_before[kept] = r->before == NULL;
		before[kept] = r->before ? JsonbPGetDatum(r->before) : (Datum) 0;
		source[kept] = r->source;
		id[kept] = r->message_id;
		reason[kept] = r->reason;
		detail[kept] = r->detail;
		space[kept] = r->space;
		nulls[kept] = r->payload == NULL;
		payload[kept++] = r->payload ? JsonbPGetDatum(r->payload) : (Datum) 0;
	}
	args[0] = cdp_array_text(source, kept);
	args[1] = cdp_array_text(id, kept);
	args[2] = cdp_array_text(reason, kept);
	args[3] = cdp_array_text(detail, kept);
	args[4] = cdp_array_datums(payload, nulls, kept, JSONBOID);
	args[5] = cdp_array_int32(times, kept);
	args[6] = TimestampTzGetDatum(cdp_now());
	namestrcpy(&name, GetUserNameFromId(writer, false));
	args[7] = NameGetDatum(&name);
	args[8] = cdp_array_text(space, kept);
	args[9] = cdp_array_timestamptz(at, kept);
	args[10] = cdp_array_datums(table, NULL, kept, OIDOID);
	args[11] = cdp_array_datums(before, none_before, kept, JSONBOID);
	cdp_store_run(&reject_plan, args, NULL, false, -1);
}

/*
 * Message ids of the refusals just written, for this reason, that were not
 * known before: their rows were inserted, not updated.
 */
List *
cdp_refusal_fresh(const char *reason)
{
	List *ids = NIL;
	uint64 rows = cdp_store_save_result().rows;

	for (uint64 r = 0; r < rows; r++)
	{
		bool isnull;
		char *id = cdp_store_text(r, 1);

		if (id && strcmp(cdp_store_text(r, 2), reason) == 0 &&
			DatumGetBool(cdp_store_value(r, 3, &isnull)))
			ids = lappend(ids, id);
	}
	return ids;
}
