/*
 * src/ingest/message.c
 *		From a message of the Segment specification to a CdpMessage.
 *
 * Nothing here raises on what a message says: a message that cannot be taken
 * is marked rejected, with a reason that is one fixed word and a detail that
 * names the place, never the value.
 *
 * Time.  The specification's clock correction is
 *		timestamp = receivedAt - (sentAt - originalTimestamp).
 * Clients send their own time as timestamp, collectors hand it on as
 * originalTimestamp and put the corrected one in timestamp.  So:
 *
 *	timestamp beside originalTimestamp or receivedAt	final, taken as it is
 *	originalTimestamp, sentAt							corrected
 *	timestamp, sentAt									corrected, timestamp is the client's
 *	one of them alone									taken as it is
 *	none												the time of arrival
 *
 * A time of more than a day after arrival is replaced by the arrival (and
 * kept in extra): it would win every contest for years.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "cdp.h"
#include "compat.h"
#include "core/time.h"
#include "guc.h"
#include "identity/identity.h"
#include "ingest/config.h"
#include "ingest/message.h"
#include "store.h"

/* Marks a message as rejected; the first reason stays. */
void
cdp_message_reject(CdpMessage *m, const char *reason, const char *detail)
{
	if (m->status == CDP_REJECTED)
		return;
	m->status = CDP_REJECTED;
	m->reason = reason;
	m->detail = detail;
}

/* The detail of a refusal as a sentence, for an error message. */
char *
cdp_message_detail(const CdpMessage *m)
{
	char *sentence = psprintf("%s.", m->detail);

	sentence[0] = pg_toupper((unsigned char) sentence[0]);
	return sentence;
}

static JsonbValue *
field(JsonbContainer *object, const char *name)
{
	JsonbValue *v = getKeyJsonValueFromContainer(object, name, strlen(name), NULL);

	return v && v->type == jbvNull ? NULL : v;
}

/* Text of a string or number; NULL for other kinds. */
static char *
scalar(JsonbValue *v, int *len)
{
	char *text = NULL;

	if (v->type == jbvString)
	{
		*len = v->val.string.len;
		return pnstrdup(v->val.string.val, v->val.string.len);
	}
	if (v->type == jbvNumeric)
	{
		text = DatumGetCString(DirectFunctionCall1(numeric_out,
												   NumericGetDatum(v->val.numeric)));
		*len = (int) strlen(text);
	}
	return text;
}

/* An object or array value as a document of its own. */
static Jsonb *
document(JsonbValue *v)
{
	return v ? JsonbValueToJsonb(v) : NULL;
}

static bool
is_object(JsonbValue *v)
{
	return v->type == jbvBinary && JsonContainerIsObject(v->val.binary.data);
}

static bool
is_array(JsonbValue *v)
{
	return v->type == jbvBinary && JsonContainerIsArray(v->val.binary.data) &&
		   !JsonContainerIsScalar(v->val.binary.data);
}

/*
 * Adds an identifier; place says where it stood, for the detail of a refusal.
 * Empty values are no identifiers and are passed over.
 */
void
cdp_message_mention(CdpMessage *m, const char *ns, int nslen,
					const char *value, int valuelen, const char *place)
{
	StringInfoData text;
	const char *reason;
	char *colon;
	CdpMention *mention;
	bool blank = true;

	for (int i = 0; i < valuelen && blank; i++)
		blank = value[i] == ' ' || value[i] == '\t' || value[i] == '\n' || value[i] == '\r';
	if (blank)
		return;
	initStringInfo(&text);
	if (!cdp_identifier_normalize(ns, nslen, value, valuelen, &text, &reason))
	{
		cdp_message_reject(m, "invalid_identifier",
						   psprintf("the identifier at %s cannot be used: %s", place, reason));
		return;
	}
	colon = strchr(text.data, ':');
	*colon = '\0';
	for (int i = 0; i < m->nmentions; i++)
		if (strcmp(m->mentions[i].ns, text.data) == 0 &&
			strcmp(m->mentions[i].value, colon + 1) == 0)
			return;
	if (m->nmentions >= CDP_MAX_MENTIONS)
	{
		cdp_message_reject(m, "too_many_identifiers",
						   psprintf("a message names at most %d identifiers", CDP_MAX_MENTIONS));
		return;
	}
	if (m->nmentions == m->mention_room)
	{
		m->mention_room = Max(4, m->mention_room * 2);
		m->mentions = m->mentions ?
						  repalloc(m->mentions, sizeof(CdpMention) * m->mention_room) :
						  palloc(sizeof(CdpMention) * m->mention_room);
	}
	mention = &m->mentions[m->nmentions++];
	/* the buffer is a kilobyte, and a batch has thousands */
	mention->ns = memcpy(palloc(text.len + 1), text.data, text.len + 1);
	mention->value = mention->ns + (colon - text.data) + 1;
	pfree(text.data);
}

/* The value at a dotted path, NULL if it is not there. */
static JsonbValue *
at_path(JsonbContainer *object, char *const *parts, int nparts)
{
	JsonbValue *v = NULL;

	for (int i = 0; i < nparts; i++)
	{
		v = field(object, parts[i]);
		if (v == NULL)
			return NULL;
		if (i < nparts - 1)
		{
			if (!is_object(v))
				return NULL;
			object = v->val.binary.data;
		}
	}
	return v;
}

static void
mention_value(CdpMessage *m, const char *ns, int nslen, JsonbValue *v,
			  const char *place)
{
	int len;
	char *text = scalar(v, &len);

	if (text == NULL)
		cdp_message_reject(m, "invalid_identifier",
						   psprintf("the identifier at %s is neither text nor number", place));
	else
		cdp_message_mention(m, ns, nslen, text, len, place);
}

/* context.externalIds: [{"id": ..., "type": namespace}, ...] */
static void
mention_external(CdpMessage *m, JsonbContainer *message)
{
	JsonbValue *context = field(message, "context");
	JsonbValue *list;
	JsonbIterator *it;
	JsonbValue item;
	JsonbIteratorToken token;

	if (context == NULL || !is_object(context))
		return;
	list = field(context->val.binary.data, "externalIds");
	if (list == NULL || !is_array(list))
		return;
	it = JsonbIteratorInit(list->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
	{
		JsonbValue *type;
		JsonbValue *id;

		if (token != WJB_ELEM)
			continue;
		if (!is_object(&item))
		{
			cdp_message_reject(m, "invalid_identifier",
							   "an element of context.externalIds is not an object");
			return;
		}
		type = field(item.val.binary.data, "type");
		id = field(item.val.binary.data, "id");
		if (id == NULL)
			continue;
		if (type == NULL || type->type != jbvString)
		{
			cdp_message_reject(m, "invalid_identifier",
							   "an element of context.externalIds has no type");
			return;
		}
		mention_value(m, type->val.string.val, type->val.string.len, id,
					  "context.externalIds");
	}
}

/*
 * Identifiers among the traits of an identify call: {"email": ...} ties the
 * address to the person, as in a message.
 */
void
cdp_message_mention_traits(CdpMessage *m, Jsonb *traits)
{
	const CdpIngestConfig *config = cdp_ingest_config();

	for (int i = 0; i < config->npaths && m->status != CDP_REJECTED; i++)
	{
		const CdpIdentifierPath *path = &config->paths[i];
		JsonbValue *v;

		if (path->nparts < 2 || strcmp(path->parts[0], "traits") != 0)
			continue;
		v = at_path(&traits->root, path->parts + 1, path->nparts - 1);
		if (v)
			mention_value(m, path->ns, (int) strlen(path->ns), v, path->path);
	}
}

static void
find_identifiers(CdpMessage *m, JsonbContainer *message)
{
	const CdpIngestConfig *config = cdp_ingest_config();

	for (int i = 0; i < config->npaths && m->status != CDP_REJECTED; i++)
	{
		const CdpIdentifierPath *path = &config->paths[i];
		JsonbValue *v;
		bool applies = path->ntypes == 0;

		for (int t = 0; t < path->ntypes && !applies; t++)
			applies = strcmp(path->types[t], m->type) == 0;
		if (!applies)
			continue;
		v = at_path(message, path->parts, path->nparts);
		if (v)
			mention_value(m, path->ns, (int) strlen(path->ns), v, path->path);
	}
	if (m->status != CDP_REJECTED)
		mention_external(m, message);
}

/* Reads a time; false and rejected if it is there and no time. */
static bool
read_time(CdpMessage *m, JsonbValue *v, const char *name, TimestampTz *ts, bool *found)
{
	const char *reason = "neither text nor number";
	bool ok = false;

	*found = v != NULL;
	if (v == NULL)
		return true;
	if (v->type == jbvString)
		ok = cdp_core_parse_timestamp(v->val.string.val, v->val.string.len, ts, &reason);
	else if (v->type == jbvNumeric)
	{
		int len;
		char *text = scalar(v, &len);
		double number;

		ok = cdp_core_parse_float8(text, len, &number) &&
			 cdp_core_epoch_to_timestamp(number, ts);
		reason = "not a plausible number of seconds or milliseconds";
	}
	if (!ok)
		cdp_message_reject(m, "invalid_timestamp",
						   psprintf("%s cannot be read: %s", name, reason));
	return ok;
}

/* Adds one pair to extra. */
static void
push_pair(JsonbParseState **state, const char *key, JsonbValue *value)
{
	JsonbValue k;

	k.type = jbvString;
	k.val.string.val = unconstify(char *, key);
	k.val.string.len = (int) strlen(key);
	pushJsonbValue(state, WJB_KEY, &k);
	pushJsonbValue(state, WJB_VALUE, value);
}

static bool
is_key(const char *key, int len, const char *name)
{
	return (int) strlen(name) == len && memcmp(name, key, len) == 0;
}

/*
 * Keys of a message that have a place of their own; all others are kept in
 * extra.  Which they are depends on the message: the name of a track message
 * is not its event.  Identifiers have theirs in the graph; a second copy
 * would only have to be erased some day.
 */
static bool
has_place(const CdpMessage *m, JsonbContainer *message, const char *key, int len)
{
	static const char *const always[] = {
		"type", "messageId", "timestamp", "originalTimestamp", "sentAt", "receivedAt",
		"properties", "traits", "context", "userId", "user_id", "anonymousId", "anonymous_id"};

	for (int i = 0; i < (int) lengthof(always); i++)
		if (is_key(key, len, always[i]))
			return true;
	if (is_key(key, len, "action"))
		return field(message, "type") == NULL;
	if (is_key(key, len, "message_id"))
		return field(message, "messageId") == NULL;
	if (is_key(key, len, "event"))
		return strcmp(m->type, "track") == 0;
	if (is_key(key, len, "name"))
		return strcmp(m->type, "track") != 0;
	if (is_key(key, len, "previousId") || is_key(key, len, "previous_id"))
		return strcmp(m->type, "alias") == 0;
	return false;
}

/* Parts that may differ between two deliveries of one message. */
static bool
varies(const char *key, int len)
{
	static const char *const keys[] = {
		"sentAt", "receivedAt", "timestamp", "_metadata", "writeKey"};

	for (int i = 0; i < (int) lengthof(keys); i++)
		if ((int) strlen(keys[i]) == len && memcmp(keys[i], key, len) == 0)
			return true;
	return false;
}

/*
 * One pass over the top level: what has no place of its own becomes extra,
 * and the content hash covers what a retry must not change.
 */
static void
sweep(CdpMessage *m, JsonbContainer *message, JsonbValue *clamped)
{
	JsonbIterator *it = JsonbIteratorInit(message);
	JsonbParseState *extra = NULL;
	JsonbParseState *stable = NULL;
	JsonbValue key;
	JsonbValue value;
	int n = 0;
	Jsonb *kept;

	pushJsonbValue(&extra, WJB_BEGIN_OBJECT, NULL);
	pushJsonbValue(&stable, WJB_BEGIN_OBJECT, NULL);
	(void) JsonbIteratorNext(&it, &key, true);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		(void) JsonbIteratorNext(&it, &value, true);
		if (!varies(key.val.string.val, key.val.string.len))
		{
			pushJsonbValue(&stable, WJB_KEY, &key);
			pushJsonbValue(&stable, WJB_VALUE, &value);
		}
		if (has_place(m, message, key.val.string.val, key.val.string.len) ||
			value.type == jbvNull)
			continue;
		pushJsonbValue(&extra, WJB_KEY, &key);
		pushJsonbValue(&extra, WJB_VALUE, &value);
		n++;
	}
	if (clamped)
	{
		push_pair(&extra, "claimedTimestamp", clamped);
		n++;
	}
	kept = JsonbValueToJsonb(pushJsonbValue(&extra, WJB_END_OBJECT, NULL));
	m->extra = n > 0 ? kept : NULL;
	kept = JsonbValueToJsonb(pushJsonbValue(&stable, WJB_END_OBJECT, NULL));
	m->content = XXH3_64bits(VARDATA(kept), VARSIZE(kept) - VARHDRSZ);
}

/* Strong random bytes; many are drawn at once, for each draw costs as much as a row. */
static void
draw_random(uint8 *bytes, int n)
{
	static uint8 pool[1024];
	static int left = 0;

	if (left < n)
	{
		if (!pg_strong_random(pool, sizeof(pool)))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not generate random values")));
		left = sizeof(pool);
	}
	left -= n;
	memcpy(bytes, pool + left, n);
}

/*
 * A fresh random id, for a message that came without: a UUID of version 4, in
 * words as its id, in bytes as its key.
 */
void
cdp_message_make_id(CdpMessage *m)
{
	static const char digits[] = "0123456789abcdef";
	char *id = palloc(37);
	char *to = id;

	draw_random(m->key, 16);
	m->key[6] = (m->key[6] & 0x0F) | 0x40;
	m->key[8] = (m->key[8] & 0x3F) | 0x80;
	for (int i = 0; i < 16; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*to++ = '-';
		*to++ = digits[m->key[i] >> 4];
		*to++ = digits[m->key[i] & 0x0F];
	}
	*to = '\0';
	m->message_id = id;
	m->id_is_given = false;
	m->unique = true;
}

/*
 * Key of a message, for the table of messages seen and for ties: over the space
 * of its id, the source and the id.  One that was made here has its key.
 */
void
cdp_message_key(CdpMessage *m)
{
	char *text;
	XXH128_canonical_t canonical;

	if (m->unique)
		return;
	text = psprintf("%c\x1F%s\x1F%s", m->space, m->source, m->message_id);
	XXH128_canonicalFromHash(&canonical, XXH3_128bits(text, strlen(text)));
	memcpy(m->key, canonical.digest, 16);
	pfree(text);
}

static void
read_id(CdpMessage *m, JsonbContainer *message)
{
	JsonbValue *v = field(message, "messageId");
	int len;
	char *text;

	if (v == NULL)
		v = field(message, "message_id");
	if (v == NULL)
	{
		cdp_message_make_id(m);
		return;
	}
	text = scalar(v, &len);
	if (text == NULL || len == 0 || len > CDP_MAX_MESSAGE_ID)
	{
		cdp_message_make_id(m);
		cdp_message_reject(m, "invalid_message_id",
						   psprintf("messageId must be text of 1 to %d "
									"bytes",
									CDP_MAX_MESSAGE_ID));
		return;
	}
	m->message_id = text;
	m->id_is_given = true;
}

static void
read_type(CdpMessage *m, JsonbContainer *message)
{
	static const char *const types[] = {
		"identify", "track", "page", "screen", "group", "alias"};
	JsonbValue *v = field(message, "type");

	if (v == NULL)
		v = field(message, "action"); /* the specification's older spelling */
	if (v == NULL)
	{
		cdp_message_reject(m, "missing_type", "the message has no type");
		return;
	}
	for (int i = 0; v->type == jbvString && i < (int) lengthof(types); i++)
		if ((int) strlen(types[i]) == v->val.string.len &&
			pg_strncasecmp(types[i], v->val.string.val, v->val.string.len) == 0)
			m->type = types[i];
	if (v->type != jbvString || strcmp(m->type, "unknown") == 0)
		cdp_message_reject(m, "unknown_type",
						   "the type is none of identify, track, page, screen, group, alias");
}

static void
read_name(CdpMessage *m, JsonbContainer *message)
{
	bool is_track = strcmp(m->type, "track") == 0;
	JsonbValue *v = field(message, is_track ? "event" : "name");
	int len = 0;

	if (v != NULL)
	{
		m->name = scalar(v, &len);
		if (m->name == NULL || len > CDP_MAX_EVENT_NAME)
		{
			m->name = NULL;
			cdp_message_reject(m, "invalid_event",
							   psprintf("the name must be text of at most %d "
										"bytes",
										CDP_MAX_EVENT_NAME));
			return;
		}
	}
	if (is_track && len == 0)
		cdp_message_reject(m, "missing_event", "a track message needs an event name");
}

static Jsonb *
read_object(CdpMessage *m, JsonbContainer *message, const char *name)
{
	JsonbValue *v = field(message, name);

	if (v == NULL)
		return NULL;
	if (!is_object(v))
	{
		cdp_message_reject(m, "invalid_field", psprintf("%s is not an object", name));
		return NULL;
	}
	return document(v);
}

static void
read_times(CdpMessage *m, JsonbContainer *message, JsonbValue *batch_sent_at, TimestampTz now,
		   JsonbValue **clamped)
{
	TimestampTz claimed = 0,
				original = 0,
				sent = 0,
				received = now;
	bool has_claimed,
		has_original,
		has_sent,
		has_received;
	JsonbValue *timestamp = field(message, "timestamp");

	*clamped = NULL;
	m->arrived_at = m->received_at = m->ts = now;
	if (!read_time(m, timestamp, "timestamp", &claimed, &has_claimed) ||
		!read_time(m, field(message, "originalTimestamp"), "originalTimestamp", &original,
				   &has_original) ||
		!read_time(m, field(message, "sentAt"), "sentAt", &sent, &has_sent) ||
		!read_time(m, field(message, "receivedAt"), "receivedAt", &received, &has_received))
		return;
	if (!has_sent && !read_time(m, batch_sent_at, "sentAt of the batch", &sent, &has_sent))
		return;
	/* a collector's time of reception holds, unless it is yet to come */
	if (has_received && received <= now)
		m->received_at = received;
	if (has_claimed && (has_original || has_received || !has_sent))
		m->ts = claimed;
	else if (has_claimed)
		m->ts = m->received_at - (sent - claimed);
	else if (has_original && has_sent)
		m->ts = m->received_at - (sent - original);
	else if (has_original)
		m->ts = original;
	else
		m->ts = m->received_at;
	if (m->ts > m->received_at + CDP_FUTURE_TOLERANCE)
	{
		m->ts = m->received_at;
		*clamped = has_claimed ? timestamp : field(message, "originalTimestamp");
	}
	if (m->ts < CDP_MIN_EVENT_TIME)
	{
		m->ts = m->received_at;
		cdp_message_reject(m, "timestamp_out_of_range", "the time is before 1970");
	}
}

/*
 * Fills a message from a JSON value.  value must stay alive with the message;
 * the configuration must be loadable (inside cdp_store_enter()).
 */
void
cdp_message_parse(CdpMessage *m, JsonbValue *value, JsonbValue *batch_sent_at,
				  const char *source, char space, TimestampTz now)
{
	JsonbContainer *message;
	JsonbValue *clamped = NULL;

	memset(m, 0, sizeof(*m));
	m->source = source;
	m->space = space;
	m->type = "unknown";
	m->arrived_at = m->received_at = m->ts = now;
	m->link = -1;
	m->valid_until = DT_NOEND;
	m->payload = document(value);
	if (!is_object(value))
	{
		cdp_message_make_id(m);
		cdp_message_key(m);
		cdp_message_reject(m, "not_an_object", "the message is not a JSON object");
		return;
	}
	message = value->val.binary.data;
	read_id(m, message);
	cdp_message_key(m);
	if (VARSIZE(m->payload) > (Size) cdp_guc_max_message_kb * 1024)
	{
		cdp_message_reject(m, "too_large",
						   psprintf("the message is larger than %d kB (cdp.max_message_size)",
									cdp_guc_max_message_kb));
		return;
	}
	read_type(m, message);
	if (m->status == CDP_REJECTED)
		return;
	read_name(m, message);
	m->properties = read_object(m, message, "properties");
	m->traits = read_object(m, message, "traits");
	m->context = read_object(m, message, "context");
	read_times(m, message, batch_sent_at, now, &clamped);
	if (m->status == CDP_REJECTED)
		return;
	if (strcmp(m->type, "alias") == 0 && field(message, "previousId") == NULL &&
		field(message, "previous_id") == NULL)
		cdp_message_reject(m, "missing_previous_id", "an alias message needs a previousId");
	else if (strcmp(m->type, "group") == 0 && field(message, "groupId") == NULL)
		cdp_message_reject(m, "missing_group_id", "a group message needs a groupId");
	if (m->traits && JB_ROOT_COUNT(m->traits) > CDP_MAX_TRAITS)
		cdp_message_reject(m, "too_many_traits",
						   psprintf("a message has at most %d traits", CDP_MAX_TRAITS));
	find_identifiers(m, message);
	if (m->status != CDP_REJECTED && m->nmentions == 0)
		cdp_message_reject(m, "no_identifier",
						   "the message names nobody: no userId, anonymousId or other "
						   "identifier");
	sweep(m, message, clamped);
}

/*
 * Messages of a payload: one object, an array, or {"batch": [...]}.  An
 * object with a batch lends its sentAt to messages without.
 */
CdpMessage *
cdp_message_parse_payload(Jsonb *payload, const char *source, TimestampTz now,
						  int *n)
{
	JsonbValue root;
	JsonbValue *list = NULL;
	JsonbValue *sent = NULL;
	CdpMessage *messages;
	JsonbIterator *it;
	JsonbValue item;
	JsonbIteratorToken token;
	int count;

	root.type = jbvBinary;
	root.val.binary.data = &payload->root;
	root.val.binary.len = VARSIZE(payload) - VARHDRSZ;
	if (is_array(&root))
		list = &root;
	else if (is_object(&root))
	{
		list = field(&payload->root, "batch");
		if (list != NULL && is_array(list))
			sent = field(&payload->root, "sentAt");
		else
			list = NULL;
	}
	if (list == NULL)
	{
		JsonbValue one;

		messages = palloc(sizeof(CdpMessage));
		if (!JsonbExtractScalar(&payload->root, &one))
			one = root;
		cdp_message_parse(messages, &one, NULL, source, CDP_SPACE_MESSAGE, now);
		*n = 1;
		return messages;
	}
	count = JsonContainerSize(list->val.binary.data);
	if (count > CDP_MAX_BATCH)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a payload has at most %d messages, this one has %d", CDP_MAX_BATCH, count),
				 errhint("Send it in parts.")));
	messages = MemoryContextAllocHuge(CurrentMemoryContext,
									  sizeof(CdpMessage) * Max(count, 1));
	it = JsonbIteratorInit(list->val.binary.data);
	count = 0;
	while ((token = JsonbIteratorNext(&it, &item, true)) != WJB_DONE)
	{
		JsonbValue *kept;

		if (token != WJB_ELEM)
			continue;
		kept = palloc(sizeof(JsonbValue));
		*kept = item;
		cdp_message_parse(&messages[count++], kept, sent, source, CDP_SPACE_MESSAGE, now);
	}
	*n = count;
	return messages;
}
