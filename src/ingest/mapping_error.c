/*
 * src/ingest/mapping_error.c
 *		Rows of application tables whose mapping failed: kept, and turned into
 *		messages once it is mended.
 *
 * A row is kept as a document, with the one it was before an update: what the
 * update said is what differs.  It is mapped as the trigger had mapped it, by
 * the table's attachment of now, with the rights of the table's owner.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "cdp.h"
#include "compat.h"
#include "ingest/capture.h"
#include "ingest/message.h"
#include "ingest/refusal.h"
#include "store.h"

/* Rows recorded at a time. */
#define RECORD_BATCH 1000

static CdpPlan attachment_plan = {
	"SELECT a.attachment_id FROM cdp_data.attachment a WHERE a.tbl = $1",
	1,
	{OIDOID},
	NULL};

/* -- keeping -- */

typedef struct Recording
{
	TriggerData *trigdata;
	const char *sql;
	bool again; /* what it yields can be mapped again */
	const CdpAttachment *attachment;
	const char *detail;
} Recording;

/* Runs a query over the transition tables and records each row it yields. */
static void
record_rows(void *arg)
{
	Recording *r = arg;
	Oid table = r->again ? RelationGetRelid(r->trigdata->tg_relation) : InvalidOid;
	CdpBecome become;
	Portal cursor;
	SPIPlanPtr plan;

	cdp_capture_become_owner(&become, r->trigdata);
	plan = SPI_prepare(r->sql, 0, NULL);
	if (plan == NULL)
		elog(ERROR, "cdp: could not read transition tables");
	cursor = SPI_cursor_open(NULL, plan, NULL, NULL, true);
	for (;;)
	{
		SPITupleTable *rows;
		List *refusals = NIL;
		CdpStore store;
		int n;

		SPI_cursor_fetch(cursor, true, RECORD_BATCH);
		rows = SPI_tuptable;
		n = (int) SPI_processed;
		if (n == 0)
			break;
		cdp_store_enter(&store);
		for (int i = 0; i < n; i++)
		{
			bool isnull;
			Datum row = SPI_getbinval(rows->vals[i], rows->tupdesc, 1, &isnull);
			Datum before = SPI_getbinval(rows->vals[i], rows->tupdesc, 2, &isnull);

			refusals = cdp_refusal_note_row(refusals, r->attachment->source, r->detail,
											DatumGetJsonbP(row), table,
											isnull ? NULL : DatumGetJsonbP(before));
		}
		cdp_refusal_write(refusals, become.user);
		cdp_store_leave(&store);
		SPI_freetuptable(rows);
	}
	SPI_cursor_close(cursor);
	cdp_capture_become_writer(&become);
}

/* Updated rows as documents of this kind, with what they were. */
static char *
updated_rows(const CdpAttachment *attachment, const char *document)
{
	StringInfoData keys;

	initStringInfo(&keys);
	for (int i = 0; i < attachment->nkeys; i++)
		appendStringInfo(&keys, "%sn.%s::text", i ? ", " : "",
						 quote_identifier(attachment->keys[i]));
	return psprintf("SELECT x.m, coalesce(o.m, 'null') FROM "
					"(SELECT %s AS m, ARRAY[%s] AS k FROM cdp_new n OFFSET 0) x LEFT JOIN "
					"(SELECT %s AS m, ARRAY[%s] AS k FROM cdp_old n OFFSET 0) o ON o.k = x.k",
					document, keys.data, document, keys.data);
}

/*
 * Records the statement's rows as rejected: as documents, or as text where a
 * column's cast to JSON raises, or their number where even that does.  What an
 * update said of a row that has no key cannot be told later.
 */
void
cdp_capture_reject_rows(TriggerData *trigdata, const CdpAttachment *attachment,
						const ErrorData *edata)
{
	static const char *const documents[] = {"to_jsonb(n.*)", "to_jsonb((n.*)::text)"};
	bool update = TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event);
	Recording queries[5];
	Recording r = {.trigdata = trigdata, .attachment = attachment};
	int n = 0;

	r.detail = psprintf("the mapping of the table raised SQLSTATE %s",
						unpack_sql_state(edata->sqlerrcode));
	for (int i = 0; i < 2 && update && attachment->nkeys > 0; i++)
	{
		queries[n] = r;
		queries[n].again = true;
		queries[n++].sql = updated_rows(attachment, documents[i]);
	}
	for (int i = 0; i < 2; i++)
	{
		queries[n] = r;
		queries[n].again = !update;
		queries[n++].sql = psprintf("SELECT %s, NULL::jsonb FROM cdp_new n", documents[i]);
	}
	queries[n] = r;
	queries[n++].sql = "SELECT jsonb_build_object('rows', count(*)), NULL::jsonb FROM cdp_new n";
	for (int i = 0; i < n; i++)
		if (cdp_store_try(record_rows, &queries[i], cdp_capture_is_mapping_error) == NULL)
			break;
}

/* -- mapping again -- */

/* Rows of one table, all inserted or all updated. */
typedef struct Mapping
{
	CdpFailedRow **rows;
	int n;
	MemoryContext context; /* of what is found out */
} Mapping;

static CdpAttachment *
attachment_of(Oid table)
{
	Datum args[1] = {ObjectIdGetDatum(table)};
	CdpAttachment *attachment = NULL;
	CdpStore store;
	int32 id = 0;

	cdp_store_enter(&store);
	if (cdp_store_run(&attachment_plan, args, NULL, false, -1) > 0)
		id = (int32) cdp_store_int64(0, 1);
	cdp_store_leave(&store);
	if (id != 0)
		attachment = cdp_attachment_find(id);
	if (attachment == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("the table is not attached any more")));
	return attachment;
}

/* Documents as rows n of a table, numbered u.i; those that were text are rows' texts. */
static char *
rows_of(Oid table, int argument)
{
	char *type = quote_qualified_identifier(get_namespace_name(get_rel_namespace(table)),
											get_rel_name(table));

	return psprintf("unnest($%d) WITH ORDINALITY u (document, i) CROSS JOIN LATERAL ("
					"SELECT (x.r).* FROM (SELECT CASE jsonb_typeof(u.document) "
					"WHEN 'string' THEN (u.document #>> '{}')::%s "
					"ELSE jsonb_populate_record(NULL::%s, u.document) END AS r OFFSET 0) x "
					"WHERE jsonb_typeof(u.document) <> 'null') n",
					argument, type, type);
}

/* Makes messages of rows; those that make none say nothing. */
static void
map_rows(void *arg)
{
	Mapping *m = arg;
	Oid table = m->rows[0]->table;
	bool update = m->rows[0]->before != NULL;
	Oid owner = cdp_table_owner(table);
	CdpAttachment *attachment = attachment_of(table);
	Datum *documents[2];
	Datum args[2];
	Oid types[2] = {JSONBARRAYOID, JSONBARRAYOID};
	CdpBecome become;
	char *sql;

	documents[0] = palloc(sizeof(Datum) * m->n);
	documents[1] = palloc(sizeof(Datum) * m->n);
	for (int i = 0; i < m->n; i++)
	{
		documents[0][i] = JsonbPGetDatum(m->rows[i]->row);
		documents[1][i] = JsonbPGetDatum(update ? m->rows[i]->before : m->rows[i]->row);
	}
	args[0] = cdp_array_datums(documents[0], NULL, m->n, JSONBOID);
	args[1] = cdp_array_datums(documents[1], NULL, m->n, JSONBOID);
	sql = update ? cdp_capture_updates(attachment->expression, "u.i", rows_of(table, 1),
									   rows_of(table, 2)) :
				   cdp_capture_query(attachment->expression, "u.i", rows_of(table, 1));
	cdp_capture_become(&become, owner);
	if (SPI_execute_with_args(sql, update ? 2 : 1, types, args, NULL, true, 0) < 0)
		elog(ERROR, "cdp: could not map rows again");
	for (uint64 r = 0; r < SPI_processed; r++)
	{
		MemoryContext old = MemoryContextSwitchTo(m->context);
		CdpDocument *d = m->rows[cdp_store_int64(r, 2) - 1]->document;
		bool isnull;

		d->json = (Jsonb *) PG_DETOAST_DATUM_COPY(cdp_store_value(r, 1, &isnull));
		d->source = pstrdup(attachment->source);
		d->space = attachment->space;
		MemoryContextSwitchTo(old);
	}
	cdp_capture_become_writer(&become);
}

/* All of a kind together, or one by one if that raises. */
static void
map_or_part(Mapping *all)
{
	if (cdp_store_try(map_rows, all, cdp_capture_is_mapping_error) == NULL)
		return;
	for (int i = 0; i < all->n; i++)
	{
		Mapping one = {&all->rows[i], 1, all->context};
		ErrorData *error;

		CHECK_FOR_INTERRUPTS();
		error = cdp_store_try(map_rows, &one, cdp_capture_is_mapping_error);
		if (error == NULL)
			continue;
		all->rows[i]->document->reason = "mapping_error";
		all->rows[i]->document->detail =
			psprintf("the mapping of the table raised SQLSTATE %s",
					 unpack_sql_state(error->sqlerrcode));
	}
}

static int
compare_rows(const void *a, const void *b)
{
	const CdpFailedRow *x = *(CdpFailedRow *const *) a;
	const CdpFailedRow *y = *(CdpFailedRow *const *) b;

	if (x->table != y->table)
		return x->table < y->table ? -1 : 1;
	if ((x->before == NULL) != (y->before == NULL))
		return x->before == NULL ? -1 : 1;
	return (x > y) - (x < y);
}

/*
 * Maps rows again, each into its document.  Not inside cdp_store_enter();
 * allocates in the caller's context.
 */
void
cdp_capture_retake(CdpFailedRow *rows, int n)
{
	CdpFailedRow **order = palloc(sizeof(CdpFailedRow *) * Max(n, 1));
	Mapping m = {.context = CurrentMemoryContext};

	for (int i = 0; i < n; i++)
		order[i] = &rows[i];
	qsort(order, n, sizeof(CdpFailedRow *), compare_rows);
	for (int i = 0; i < n; i += m.n)
	{
		m.rows = order + i;
		for (m.n = 1; i + m.n < n && order[i + m.n]->table == order[i]->table &&
					  (order[i + m.n]->before == NULL) == (order[i]->before == NULL);
			 m.n++)
			;
		map_or_part(&m);
	}
}
