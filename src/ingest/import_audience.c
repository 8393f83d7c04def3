/*
 * src/ingest/import_audience.c
 *		cdp.import_audience(): a list of identifiers becomes a segment.
 *
 * The query runs as the caller.  Its rows are checked and brought into form as
 * identifiers of messages are, and written under a number that nobody looks at
 * yet; what that changes of the segment is done at the end, by
 * cdp.finish_import(), with everything in place.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "cdp.h"
#include "compat.h"
#include "consent/suppress.h"
#include "identity/rules.h"
#include "ingest/refusal.h"
#include "progress.h"
#include "store.h"

/* Rows of the query in one statement. */
#define BATCH 20000

PG_FUNCTION_INFO_V1(cdp_import_audience);

/* Of several rows with one identifier the one that lasts. */
static CdpPlan write_plan = {
	"INSERT INTO cdp_data.list_identifier AS r (list_id, import_id, namespace, key, value, "
	"  valid_until) SELECT $1, $2, u.ns, u.key, u.value, max(u.until) "
	"FROM unnest($3, $4, $5, $6) u (ns, key, value, until) GROUP BY u.ns, u.key, u.value "
	"ON CONFLICT (key, namespace, list_id) DO UPDATE "
	"SET valid_until = GREATEST(r.valid_until, excluded.valid_until)",
	6,
	{INT4OID, INT4OID, TEXTARRAYOID, UUIDARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID},
	NULL};

/* One call. */
typedef struct Import
{
	const char *name; /* of the segment */
	const char *source;
	const char *ns; /* of values without one; or NULL */
	int32 import_id;
	int32 list_id;
	TimestampTz until; /* of rows that do not say */
	TimestampTz now;
	int64 rows;
	int64 rejected;
	int64 over; /* their time was over */
} Import;

/* Texts of arguments for statements of the caller's; NULL for null. */
static Datum
argument(FunctionCallInfo fcinfo, int i, char *nulls)
{
	nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
	return PG_ARGISNULL(i) ? (Datum) 0 : PG_GETARG_DATUM(i);
}

static Jsonb *
payload_of(const char *text)
{
	JsonbParseState *state = NULL;
	JsonbValue v = {.type = jbvString};
	const char *key = "identifier";

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	v.val.string.val = unconstify(char *, key);
	v.val.string.len = (int) strlen(key);
	pushJsonbValue(&state, WJB_KEY, &v);
	v.type = text ? jbvString : jbvNull;
	if (text)
	{
		v.val.string.val = unconstify(char *, text);
		/* whatever came as an identifier, the refusal stays small */
		v.val.string.len = pg_mbcliplen(text, (int) strlen(text), 1000);
	}
	pushJsonbValue(&state, WJB_VALUE, &v);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* Reads one row; m is rejected, or has one mention. */
static void
read_row(const Import *import, SPITupleTable *table, uint64 row, CdpMessage *m, TimestampTz *until)
{
	char *text = SPI_getvalue(table->vals[row], table->tupdesc, 1);
	const char *colon = NULL;
	const char *value = text;
	bool isnull = true;

	*m = (CdpMessage){.source = import->source, .link = -1, .first = -1, .rule = "bulk"};
	*until = import->until;
	if (table->tupdesc->natts > 1)
	{
		Datum d = SPI_getbinval(table->vals[row], table->tupdesc, 2, &isnull);

		if (!isnull)
			*until = DatumGetTimestampTz(d);
	}
	if (text && import->ns == NULL)
		colon = strchr(text, ':');
	if (text == NULL || text[0] == '\0')
		cdp_message_reject(m, "no_identifier", "the identifier is null or empty");
	else if (import->ns == NULL && colon == NULL)
		cdp_message_reject(m, "invalid_identifier", "it is not of the form namespace:value");
	else
	{
		const char *ns = colon ? text : import->ns;

		value = colon ? colon + 1 : text;
		cdp_message_mention(m, ns, colon ? (int) (colon - text) : (int) strlen(ns), value,
							(int) strlen(value), "the identifier");
	}
	if (m->status != CDP_REJECTED && m->nmentions == 0)
		cdp_message_reject(m, "no_identifier", "the identifier is null or empty");
	if (m->status != CDP_REJECTED)
	{
		cdp_rules_normalise(&m->mentions[0]);
		if (cdp_rules_blocked(m->mentions[0].ns, m->mentions[0].value))
			cdp_message_reject(m, "blocked_identifier", "the identifier has a blocked value");
	}
	if (m->status == CDP_REJECTED)
		m->payload = payload_of(text);
}

/* Leaves out values of people who were erased, and counts them; returns how many are left. */
static int
leave_out_erased(Import *import, const char **ns, const char **values, Datum *keys,
				 TimestampTz *until, int n)
{
	CdpSuppressProbe *probes = palloc(sizeof(CdpSuppressProbe) * Max(n, 1));
	int kept = 0;

	for (int i = 0; i < n; i++)
		probes[i] = (CdpSuppressProbe){ns[i], values[i], import->now, false};
	if (!cdp_suppress_find(probes, n))
		return n;
	for (int i = 0; i < n; i++)
	{
		if (probes[i].hit)
			continue;
		ns[kept] = ns[i];
		values[kept] = values[i];
		keys[kept] = keys[i];
		until[kept++] = until[i];
	}
	import->rejected += n - kept;
	cdp_count_erased(import->source, n - kept);
	return kept;
}

static void
take_rows(Import *import, SPITupleTable *table, uint64 n)
{
	CdpStore store;
	uint64 seed;
	const char **ns;
	const char **values;
	Datum *keys;
	TimestampTz *until;
	List *refusals = NIL;
	int taken = 0;
	Datum args[6];

	cdp_store_enter(&store);
	seed = cdp_store_installation()->seed;
	ns = palloc(sizeof(char *) * n);
	values = palloc(sizeof(char *) * n);
	keys = palloc(sizeof(Datum) * n);
	until = palloc(sizeof(TimestampTz) * n);
	for (uint64 i = 0; i < n; i++)
	{
		pg_uuid_t *key;
		CdpMessage m;

		import->rows++;
		read_row(import, table, i, &m, &until[taken]);
		if (m.status == CDP_REJECTED)
		{
			import->rejected++;
			refusals = cdp_refusal_note(refusals, &m,
										psprintf("audience %s row " INT64_FORMAT, import->name,
												 import->rows),
										m.reason, m.detail);
			continue;
		}
		if (until[taken] <= import->now)
		{
			import->over++;
			continue;
		}
		key = palloc(sizeof(pg_uuid_t));
		ns[taken] = m.mentions[0].ns;
		values[taken] = m.mentions[0].value;
		cdp_graph_key(seed, ns[taken], values[taken], key->data);
		keys[taken++] = UUIDPGetDatum(key);
	}
	if (cdp_suppress_any())
		taken = leave_out_erased(import, ns, values, keys, until, taken);
	args[0] = Int32GetDatum(import->list_id);
	args[1] = Int32GetDatum(import->import_id);
	args[2] = cdp_array_text(ns, taken);
	args[3] = cdp_array_datums(keys, NULL, taken, UUIDOID);
	args[4] = cdp_array_text(values, taken);
	args[5] = cdp_array_timestamptz(until, taken);
	if (taken > 0)
		cdp_store_run(&write_plan, args, NULL, false, -1);
	if (refusals != NIL)
		cdp_refusal_write(refusals, store.caller);
	cdp_store_leave(&store);
}

static void
check_columns(TupleDesc desc)
{
	bool fits = desc->natts == 1 ||
				(desc->natts == 2 && TupleDescAttr(desc, 1)->atttypid == TIMESTAMPTZOID);

	if (!fits)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("the query must return an identifier and, if wanted, a timestamptz"),
				 errdetail("The time is until when it is on the list."),
				 errhint("Example: SELECT 'email:' || email FROM partner_list.")));
}

/* COPY FROM '/file' ...: into a table of the session's, which is then the query. */
static const char *
copy_first(const char *query, bool *copied)
{
	const char *p = query + strspn(query, " \t\r\n");

	if (pg_strncasecmp(p, "copy", 4) != 0 || strspn(p + 4, " \t\r\n") == 0)
		return query;
	p += 4;
	p += strspn(p, " \t\r\n");
	if (pg_strncasecmp(p, "from", 4) != 0)
		return query;
	if (SPI_execute("CREATE TEMPORARY TABLE cdp_import_rows (identifier text)", false, 0) < 0 ||
		SPI_execute(psprintf("COPY pg_temp.cdp_import_rows %s", p), false, 0) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("this COPY cannot be run here"),
				 errhint("COPY FROM '/file' reads a file of the server. What a client sends goes "
						 "into a table first, which the query reads.")));
	*copied = true;
	return "SELECT r.identifier FROM pg_temp.cdp_import_rows r";
}

static void
read_query(Import *import, const char *query)
{
	MemoryContext step = AllocSetContextCreate(CurrentMemoryContext, "cdp import",
											   ALLOCSET_DEFAULT_SIZES);
	CdpProgress progress;
	SPIPlanPtr plan;
	Portal portal;
	bool copied = false;

	plan = SPI_prepare_cursor(copy_first(query, &copied), 0, NULL, CURSOR_OPT_NO_SCROLL);
	if (plan == NULL || !SPI_is_cursor_plan(plan))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the query is not one that returns rows")));
	portal = SPI_cursor_open(NULL, plan, NULL, NULL, false);
	check_columns(portal->tupDesc);
	cdp_progress_start(&progress, CDP_WORK_IMPORT, 0);
	for (;;)
	{
		SPITupleTable *table;
		MemoryContext old;
		uint64 n;

		CHECK_FOR_INTERRUPTS();
		SPI_cursor_fetch(portal, true, BATCH);
		table = SPI_tuptable;
		n = SPI_processed;
		if (n == 0)
			break;
		old = MemoryContextSwitchTo(step);
		take_rows(import, table, n);
		MemoryContextSwitchTo(old);
		MemoryContextReset(step);
		SPI_freetuptable(table);
		cdp_progress_set(&progress, import->rows);
	}
	cdp_progress_end(&progress);
	SPI_cursor_close(portal);
	if (copied)
		(void) SPI_execute("DROP TABLE pg_temp.cdp_import_rows", false, 0);
}

/* cdp.import_audience(name, query, source, namespace, purpose, mode, valid_until, background) */
Datum
cdp_import_audience(PG_FUNCTION_ARGS)
{
	static Oid begin_types[8] = {TEXTOID, TEXTOID, TEXTOID, TEXTOID,
								 TEXTOID, TEXTOID, TIMESTAMPTZOID, BOOLOID};
	static Oid finish_types[5] = {INT4OID, INT8OID, INT8OID, INT8OID, BOOLOID};
	MemoryContext context = CurrentMemoryContext;
	MemoryContext old;
	Import import = {.now = cdp_now(), .until = DT_NOEND};
	char nulls[9] = "        ";
	Datum args[8];
	Datum result;
	bool isnull;

	cdp_store_require();
	for (int i = 0; i < 8; i++)
		args[i] = argument(fcinfo, i, nulls);
	SPI_connect();
	if (SPI_execute_with_args("SELECT * FROM cdp.begin_import($1, $2, $3, $4, $5, $6, $7, $8)", 8,
							  begin_types, args, nulls, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "cdp: an import could not be begun");
	import.import_id = (int32) cdp_store_int64(0, 1);
	import.list_id = (int32) cdp_store_int64(0, 2);
	import.name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	import.source = text_to_cstring(PG_GETARG_TEXT_PP(2));
	if (!PG_ARGISNULL(3))
		import.ns = text_to_cstring(PG_GETARG_TEXT_PP(3));
	if (!PG_ARGISNULL(6))
		import.until = PG_GETARG_TIMESTAMPTZ(6);
	read_query(&import, text_to_cstring(PG_GETARG_TEXT_PP(1)));

	args[0] = Int32GetDatum(import.import_id);
	args[1] = Int64GetDatum(import.rows);
	args[2] = Int64GetDatum(import.rejected);
	args[3] = Int64GetDatum(import.over);
	args[4] = argument(fcinfo, 7, nulls);
	nulls[4] = nulls[7];
	nulls[0] = nulls[1] = nulls[2] = nulls[3] = ' ';
	if (SPI_execute_with_args("SELECT cdp.finish_import($1, $2, $3, $4, $5)", 5, finish_types, args,
							  nulls, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "cdp: an import could not be finished");
	old = MemoryContextSwitchTo(context);
	result = PointerGetDatum(PG_DETOAST_DATUM_COPY(cdp_store_value(0, 1, &isnull)));
	MemoryContextSwitchTo(old);
	SPI_finish();
	PG_RETURN_DATUM(result);
}
