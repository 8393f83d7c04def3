/*
 * src/ingest/ingest_edges.c
 *		cdp.ingest_edges(query, source): pairs of identifiers in bulk.
 *
 * The query runs as the caller; each row's pair becomes a link as a message
 * that names both would make it, under the same rules, without an event.
 * Pairs are taken in batches in the order of the query.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "cdp.h"
#include "compat.h"
#include "core/time.h"
#include "identity/identity.h"
#include "ingest/ingest.h"
#include "progress.h"
#include "store.h"

/* Pairs a batch. */
#define EDGES_BATCH 20000

PG_FUNCTION_INFO_V1(cdp_ingest_edges);

/* What the whole call did. */
typedef struct Tally
{
	int64 pairs;
	int64 refused;
	int64 rejected;
} Tally;

/* The text of a column, NULL for null. */
static char *
column_text(SPITupleTable *table, uint64 row, int col)
{
	return SPI_getvalue(table->vals[row], table->tupdesc, col);
}

/* Splits namespace:value and normalises; false if it cannot be one. */
static bool
add_mention(CdpMessage *m, const char *text, int which)
{
	const char *colon = text ? strchr(text, ':') : NULL;

	if (text == NULL)
		return false;
	if (colon == NULL)
	{
		cdp_message_reject(m, "invalid_identifier",
						   psprintf("column %d is not of the form namespace:value", which));
		return false;
	}
	cdp_message_mention(m, text, (int) (colon - text), colon + 1, (int) strlen(colon + 1),
						psprintf("column %d", which));
	return true;
}

static Jsonb *
payload_of(const char *a, const char *b)
{
	JsonbParseState *state = NULL;
	JsonbValue key;
	const char *names[2] = {"a", "b"};
	const char *values[2] = {a, b};

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < 2; i++)
	{
		key.type = jbvString;
		key.val.string.val = unconstify(char *, names[i]);
		key.val.string.len = 1;
		pushJsonbValue(&state, WJB_KEY, &key);
		key.type = values[i] ? jbvString : jbvNull;
		if (values[i])
		{
			key.val.string.val = unconstify(char *, values[i]);
			/* whatever came as an identifier, the refusal stays small */
			key.val.string.len = pg_mbcliplen(values[i], (int) strlen(values[i]), 1000);
		}
		pushJsonbValue(&state, WJB_VALUE, &key);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* The key follows from the pair: the same pair again is the same evidence. */
static void
make_key(CdpMessage *m, const char *a, const char *b)
{
	XXH3_state_t state;
	XXH128_canonical_t canonical;

	XXH3_128bits_reset(&state);
	XXH3_128bits_update(&state, "b\x1F", 2);
	XXH3_128bits_update(&state, m->source, strlen(m->source) + 1);
	XXH3_128bits_update(&state, a, strlen(a) + 1);
	XXH3_128bits_update(&state, b, strlen(b));
	XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(&state));
	memcpy(m->key, canonical.digest, 16);
}

static void
read_pair(CdpMessage *m, SPITupleTable *table, uint64 row, const char *source,
		  TimestampTz now, int64 number)
{
	char *a = column_text(table, row, 1);
	char *b = column_text(table, row, 2);
	bool isnull = true;

	memset(m, 0, sizeof(*m));
	m->type = "identify";
	m->source = source;
	m->space = CDP_SPACE_MERGE;
	m->rule = "bulk";
	m->link = -1;
	m->first = -1;
	m->valid_until = DT_NOEND;
	m->received_at = m->ts = now;
	m->message_id = psprintf("row " INT64_FORMAT, number);
	if (table->tupdesc->natts > 2)
	{
		Datum d = SPI_getbinval(table->vals[row], table->tupdesc, 3, &isnull);

		if (!isnull)
			m->ts = DatumGetTimestampTz(d);
		if (!isnull && (m->ts < CDP_MIN_EVENT_TIME || TIMESTAMP_NOT_FINITE(m->ts) ||
						m->ts > now + CDP_FUTURE_TOLERANCE))
			cdp_message_reject(m, "invalid_timestamp", "the time is before 1970 or in the future");
	}
	make_key(m, a ? a : "", b ? b : "");
	add_mention(m, a, 1);
	add_mention(m, b, 2);
	if (m->status != CDP_REJECTED && m->nmentions == 0)
		cdp_message_reject(m, "no_identifier", "both columns are null or empty");
	if (m->status == CDP_REJECTED)
		m->payload = payload_of(a, b);
}

static void
take_pairs(SPITupleTable *table, uint64 n, const char *source, Tally *tally)
{
	CdpStore store;
	CdpMessage *messages;
	TimestampTz now = cdp_now();

	cdp_store_enter(&store);
	messages = palloc(sizeof(CdpMessage) * n);
	for (uint64 i = 0; i < n; i++)
		read_pair(&messages[i], table, i, source, now, tally->pairs + (int64) i + 1);
	cdp_ingest_batch(messages, (int) n, store.caller, CDP_INGEST_KEYLESS);
	tally->pairs += (int64) n;
	for (uint64 i = 0; i < n; i++)
	{
		if (messages[i].status == CDP_REJECTED)
			tally->rejected++;
		else if (messages[i].refusal)
			tally->refused++;
	}
	cdp_store_leave(&store);
}

static void
check_columns(TupleDesc desc)
{
	bool fits = desc->natts == 2 ||
				(desc->natts == 3 && TupleDescAttr(desc, 2)->atttypid == TIMESTAMPTZOID);

	if (!fits)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("the query must return two identifiers and, if wanted, a timestamptz"),
				 errhint("Example: SELECT 'email:' || email, 'crm:' || id FROM customers.")));
}

/* cdp.ingest_edges(query, source) */
Datum
cdp_ingest_edges(PG_FUNCTION_ARGS)
{
	char *query = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char *source = text_to_cstring(PG_GETARG_TEXT_PP(1));
	Tally tally = {0};
	CdpProgress progress;
	SPIPlanPtr plan;
	Portal portal;
	MemoryContext step;
	MemoryContext old;
	TimestampTz told = GetCurrentTimestamp();
	TupleDesc desc;
	Datum values[3];
	bool nulls[3] = {false, false, false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "cdp: return type must be a row type");
	if (source[0] == '\0' || strlen(source) > CDP_MAX_SOURCE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("source must be text of 1 to %d bytes", CDP_MAX_SOURCE)));
	cdp_store_require();
	SPI_connect();
	step = AllocSetContextCreate(CurrentMemoryContext, "cdp ingest edges", ALLOCSET_DEFAULT_SIZES);
	plan = SPI_prepare_cursor(query, 0, NULL, CURSOR_OPT_NO_SCROLL);
	if (plan == NULL || !SPI_is_cursor_plan(plan))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the query is not one that returns rows")));
	portal = SPI_cursor_open(NULL, plan, NULL, NULL, false);
	check_columns(portal->tupDesc);
	cdp_progress_start(&progress, CDP_WORK_PAIRS, 0);
	for (;;)
	{
		SPITupleTable *table;
		uint64 n;

		SPI_cursor_fetch(portal, true, EDGES_BATCH);
		table = SPI_tuptable;
		n = SPI_processed;
		if (n == 0)
			break;
		old = MemoryContextSwitchTo(step);
		take_pairs(table, n, source, &tally);
		MemoryContextSwitchTo(old);
		MemoryContextReset(step);
		SPI_freetuptable(table);
		cdp_progress_set(&progress, tally.pairs);
		if (GetCurrentTimestamp() - told > 10 * USECS_PER_SEC)
		{
			told = GetCurrentTimestamp();
			ereport(NOTICE, (errmsg("took " INT64_FORMAT " pairs", tally.pairs)));
		}
	}
	SPI_cursor_close(portal);
	SPI_finish();
	cdp_progress_end(&progress);
	values[0] = Int64GetDatum(tally.pairs);
	values[1] = Int64GetDatum(tally.refused);
	values[2] = Int64GetDatum(tally.rejected);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}
