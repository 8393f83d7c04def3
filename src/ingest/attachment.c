/*
 * src/ingest/attachment.c
 *		Attachments, cached per backend with the plans of their queries.
 *
 * A trigger that prepared its query at each statement would spend more on that
 * than on the row.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "utils/syscache.h"
#include "catalog/pg_type.h"
#include "storage/proc.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "cdp.h"
#include "compat.h"
#include "ingest/attachment.h"
#include "ingest/message.h"
#include "store.h"

typedef struct Entry
{
	CdpAttachment attachment;
	uint64 generation; /* of the configuration it was read from */
	LocalTransactionId stale_since; /* 0: it is in use */
	MemoryContext context;
	struct Entry *next;
} Entry;

static Entry *entries;

static void
release(Entry *entry)
{
	if (entry->attachment.of_insert)
		SPI_freeplan(entry->attachment.of_insert);
	if (entry->attachment.of_update)
		SPI_freeplan(entry->attachment.of_update);
	MemoryContextDelete(entry->context);
}

/*
 * Forgets what the configuration no longer says.  A mapping's own functions may
 * write to other attached tables, and even change the configuration, while its
 * plan runs: what became stale in a transaction is released in a later one.
 */
static void
tidy(void)
{
	for (Entry **link = &entries; *link != NULL;)
	{
		Entry *entry = *link;

		if (entry->stale_since == 0 && entry->generation != cdp_store_generation())
			entry->stale_since = cdp_my_lxid();
		if (entry->stale_since != 0 && entry->stale_since != cdp_my_lxid())
		{
			*link = entry->next;
			release(entry);
			continue;
		}
		link = &entry->next;
	}
}

static void
read_keys(CdpAttachment *attachment, ArrayType *array)
{
	Datum *elems;
	bool *nulls;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elems, &nulls,
					  &attachment->nkeys);
	attachment->keys = palloc(sizeof(char *) * Max(attachment->nkeys, 1));
	for (int i = 0; i < attachment->nkeys; i++)
		attachment->keys[i] = TextDatumGetCString(elems[i]);
}

typedef struct Finding
{
	int32 id;
	Entry *entry; /* NULL: there is none */
} Finding;

/*
 * Reads what is committed, whatever the transaction's snapshot: the trigger is
 * there for all, so the attachment must be.
 */
static void
read_attachment(void *arg)
{
	Finding *f = arg;
	uint64 generation = cdp_store_generation();
	CdpStore store;

	cdp_store_enter(&store);
	if (cdp_store_run_latest(psprintf(
			"SELECT a.expression, a.source, a.strict, a.deferred, a.mapping ? 'message_id', "
			"a.key_columns FROM cdp_data.attachment a WHERE a.attachment_id = %d",
			f->id)) == 1)
	{
		MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "cdp attachment",
													  ALLOCSET_SMALL_SIZES);
		MemoryContext old = MemoryContextSwitchTo(context);
		Entry *entry = palloc0(sizeof(Entry));
		CdpAttachment *attachment = &entry->attachment;
		bool isnull;
		Datum keys;

		attachment->id = f->id;
		attachment->expression = pstrdup(cdp_store_text(0, 1));
		attachment->source = pstrdup(cdp_store_text(0, 2));
		attachment->strict = DatumGetBool(cdp_store_value(0, 3, &isnull));
		attachment->deferred = DatumGetBool(cdp_store_value(0, 4, &isnull));
		attachment->space = DatumGetBool(cdp_store_value(0, 5, &isnull)) ? CDP_SPACE_MESSAGE :
																		   CDP_SPACE_ROW;
		keys = cdp_store_value(0, 6, &isnull);
		if (!isnull)
			read_keys(attachment, DatumGetArrayTypeP(keys));
		MemoryContextSwitchTo(old);
		entry->generation = generation;
		entry->context = context;
		MemoryContextSetParent(context, CacheMemoryContext);
		entry->next = entries;
		entries = entry;
		f->entry = entry;
	}
	cdp_store_leave(&store);
}

static bool
is_not_ready(int sqlstate)
{
	return sqlstate == ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
}

/*
 * The attachment; valid for this transaction.  NULL if there is no such
 * attachment or the storage cannot be used, as between an update of the library
 * and cdp.migrate(): that must not stop the application, and nobody can say yet
 * whether the attachment is strict.
 */
CdpAttachment *
cdp_attachment_find(int32 id)
{
	Finding f = {id, NULL};

	if (!cdp_store_exists())
		return NULL;
	tidy();
	for (Entry *entry = entries; entry != NULL; entry = entry->next)
		if (entry->attachment.id == id && entry->stale_since == 0)
			return &entry->attachment;
	if (cdp_store_try(read_attachment, &f, is_not_ready) != NULL || f.entry == NULL)
		return NULL;
	return &f.entry->attachment;
}

Oid
cdp_table_owner(Oid table)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(table));
	Oid owner;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE), errmsg("the table does not exist")));
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}
