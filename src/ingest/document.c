/*
 * src/ingest/document.c
 *		Documents taken in bulk: one that cannot be taken stops no other.
 *
 * Two things can raise.  Reading JSON does when it is none: documents are read
 * in a subtransaction, which is lost with each bad one, so that good ones cost
 * nothing.  And what nobody foresaw may raise while messages are taken (a
 * CHECK that somebody put on a table): the batch is then taken document by
 * document, and the one that raises is refused.  Errors of the transaction or
 * the server, such as deadlocks, are raised as they are.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "cdp.h"
#include "compat.h"
#include "ingest/document.h"
#include "ingest/ingest.h"
#include "ingest/refusal.h"
#include "store.h"

/* Bytes of an unreadable document that are kept; jsonb has no longer strings. */
#define MAX_KEPT 0x0FFFFFFF

static bool
is_the_document_s(int sqlstate)
{
	return !cdp_error_is_grave(sqlstate);
}

static void
refuse(CdpDocument *d, const char *reason, const char *detail)
{
	d->rejected = 1;
	d->accepted = d->duplicates = 0;
	d->reason = reason;
	d->detail = detail;
}

/* -- reading -- */

typedef struct Reading
{
	CdpDocument *documents;
	int n;
	int next; /* those before are read or refused */
} Reading;

static void
read_on(void *arg)
{
	Reading *r = arg;

	for (; r->next < r->n; r->next++)
	{
		CdpDocument *d = &r->documents[r->next];

		if (d->text != NULL && d->reason == NULL)
			d->json = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(d->text)));
	}
}

/* Why it could not be read, without a word of what it says. */
static const char *
misreading(int sqlstate)
{
	if (sqlstate == ERRCODE_INVALID_TEXT_REPRESENTATION)
		return "the row is not JSON";
	if (sqlstate == ERRCODE_UNTRANSLATABLE_CHARACTER)
		return "the row has a Unicode escape that the database cannot store, such as \\u0000";
	if (sqlstate == ERRCODE_STATEMENT_TOO_COMPLEX)
		return "the row is nested too deeply";
	return psprintf("the row cannot be read as JSON: SQLSTATE %s", unpack_sql_state(sqlstate));
}

static void
read_all(CdpDocument *documents, int n)
{
	Reading r = {documents, n, 0};

	while (r.next < n)
	{
		ErrorData *error = cdp_store_try(read_on, &r, is_the_document_s);

		if (error == NULL)
			break;
		refuse(&documents[r.next++], "malformed_json", misreading(error->sqlerrcode));
	}
}

/* -- taking -- */

typedef struct Taking
{
	CdpDocument **documents; /* of one source and space */
	int n;
	Oid caller;
	int flags;
	MemoryContext context; /* of what is said about refusals */
} Taking;

/* Counts what became of a message for its document. */
static void
count(CdpDocument *d, const CdpMessage *m, MemoryContext context)
{
	bool refused = m->status == CDP_REJECTED || m->conflicts;

	d->accepted += m->status == CDP_ACCEPTED;
	d->duplicates += m->status == CDP_DUPLICATE && !m->conflicts;
	d->rejected += refused;
	if (!refused)
		return;
	d->reason = m->conflicts ? "conflicting_duplicate" : m->reason;
	d->detail = m->conflicts ? "a message with this id and other content came first" :
							   MemoryContextStrdup(context, m->detail);
}

static void
take_group(void *arg)
{
	Taking *t = arg;
	CdpStore store;
	CdpMessage **parts;
	CdpMessage *all;
	int *sizes;
	int total = 0;

	cdp_store_enter(&store);
	parts = palloc(sizeof(CdpMessage *) * t->n);
	sizes = palloc(sizeof(int) * t->n);
	for (int i = 0; i < t->n; i++)
	{
		const CdpDocument *d = t->documents[i];

		if (d->single)
		{
			JsonbValue *value = palloc(sizeof(JsonbValue));

			if (!JsonbExtractScalar(&d->json->root, value))
			{
				value->type = jbvBinary;
				value->val.binary.data = &d->json->root;
				value->val.binary.len = VARSIZE(d->json) - VARHDRSZ;
			}
			parts[i] = palloc(sizeof(CdpMessage));
			cdp_message_parse(parts[i], value, NULL, d->source, d->space, d->received_at);
			sizes[i] = 1;
		}
		else
			parts[i] = cdp_message_parse_payload(d->json, d->source, d->received_at, &sizes[i]);
		total += sizes[i];
	}
	all = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(CdpMessage) * Max(total, 1));
	total = 0;
	for (int i = 0; i < t->n; i++)
	{
		memcpy(all + total, parts[i], sizeof(CdpMessage) * sizes[i]);
		total += sizes[i];
		pfree(parts[i]);
	}
	cdp_ingest_batch(all, total, t->caller, t->flags);
	total = 0;
	for (int i = 0; i < t->n; i++)
		for (int k = 0; k < sizes[i]; k++)
			count(t->documents[i], &all[total++], t->context);
	cdp_store_leave(&store);
}

/* All of a group together, or one by one if that raises. */
static void
take_or_part(Taking *all)
{
	if (all->n == 0 || cdp_store_try(take_group, all, is_the_document_s) == NULL)
		return;
	for (int i = 0; i < all->n; i++)
	{
		Taking one = *all;
		ErrorData *error;

		CHECK_FOR_INTERRUPTS();
		one.documents = &all->documents[i];
		one.n = 1;
		error = cdp_store_try(take_group, &one, is_the_document_s);
		if (error)
			refuse(*one.documents, "error",
				   psprintf("taking the message raised SQLSTATE %s",
							unpack_sql_state(error->sqlerrcode)));
	}
}

static int
compare_documents(const void *a, const void *b)
{
	const CdpDocument *x = *(CdpDocument *const *) a;
	const CdpDocument *y = *(CdpDocument *const *) b;
	int cmp = strcmp(x->source, y->source);

	if (cmp == 0)
		cmp = (x->space > y->space) - (x->space < y->space);
	/* in the order they came */
	return cmp != 0 ? cmp : (x > y) - (x < y);
}

/* What ingest did not see, and so did not record. */
static void
record_refused(const CdpDocument *documents, int n, Oid caller)
{
	CdpStore store;
	List *refusals = NIL;

	cdp_store_enter(&store);
	for (int i = 0; i < n; i++)
	{
		const CdpDocument *d = &documents[i];
		CdpMessage m = {.source = d->source, .space = d->space, .payload = d->json};
		JsonbValue text;

		m.arrived_at = d->received_at;
		if (d->json == NULL)
		{
			text.type = jbvString;
			text.val.string.val = unconstify(char *, d->text ? d->text : "");
			text.val.string.len = pg_mbcliplen(text.val.string.val,
											   (int) strlen(text.val.string.val), MAX_KEPT);
			m.payload = JsonbValueToJsonb(&text);
		}
		refusals = cdp_refusal_note(refusals, &m, NULL, d->reason, d->detail);
	}
	cdp_refusal_write(refusals, caller);
	cdp_store_leave(&store);
}

/*
 * Takes documents, each with what it says as its outcome; those that have a
 * reason already are refused for it.  Groups of one source are batches.
 * Not inside cdp_store_enter(); caller and flags are those of
 * cdp_ingest_batch(), with CDP_INGEST_UNRECORDED none is put into
 * cdp.rejected.  Allocates in the caller's context.
 */
void
cdp_document_take(CdpDocument *documents, int n, Oid caller, int flags)
{
	CdpDocument **order = palloc(sizeof(CdpDocument *) * Max(n, 1));
	CdpDocument *unseen = palloc(sizeof(CdpDocument) * Max(n, 1));
	Taking t = {.caller = caller, .flags = flags, .context = CurrentMemoryContext};
	int nunseen = 0;
	int k = 0;

	read_all(documents, n);
	for (int i = 0; i < n; i++)
		if (documents[i].reason == NULL)
			order[k++] = &documents[i];
		else
			documents[i].rejected = 1;
	qsort(order, k, sizeof(CdpDocument *), compare_documents);
	for (int i = 0; i < k; i += t.n)
	{
		t.documents = order + i;
		for (t.n = 1; i + t.n < k && order[i + t.n]->space == order[i]->space &&
					  strcmp(order[i + t.n]->source, order[i]->source) == 0;
			 t.n++)
			;
		take_or_part(&t);
	}
	for (int i = 0; i < n; i++)
		if (documents[i].rejected > 0 &&
			(documents[i].json == NULL || strcmp(documents[i].reason, "error") == 0))
			unseen[nunseen++] = documents[i];
	if (nunseen > 0 && !(flags & CDP_INGEST_UNRECORDED))
		record_refused(unseen, nunseen, caller);
}
