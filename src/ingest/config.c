/*
 * src/ingest/config.c
 *		What ingest reads from its configuration tables, cached per backend.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "nodes/parsenodes.h"
#include "nodes/primnodes.h"
#include "nodes/nodes.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "compat.h"
#include "ingest/config.h"
#include "ingest/plan.h"
#include "store.h"

static CdpIngestConfig none;
static CdpIngestConfig *config = &none;

static char **
split_path(const char *path, int *n)
{
	char *copy = pstrdup(path);
	char **parts = palloc(sizeof(char *) * (strlen(path) + 1));
	char *save = NULL;

	*n = 0;
	for (char *tok = strtok_r(copy, ".", &save); tok; tok = strtok_r(NULL, ".", &save))
		parts[(*n)++] = tok;
	return parts;
}

static void
load_paths(CdpIngestConfig *fresh)
{
	MemoryContext old;
	int n = cdp_store_run_latest("SELECT path, namespace, types FROM "
								 "cdp_data.identifier_path "
								 "ORDER BY path COLLATE \"C\", namespace COLLATE \"C\"");

	old = MemoryContextSwitchTo(fresh->context);
	fresh->paths = palloc0(sizeof(CdpIdentifierPath) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		CdpIdentifierPath *path = &fresh->paths[i];
		bool isnull;
		Datum types = cdp_store_value(i, 3, &isnull);

		path->path = cdp_store_text(i, 1);
		path->parts = split_path(path->path, &path->nparts);
		path->ns = cdp_store_text(i, 2);
		if (!isnull)
		{
			Datum *elems;
			bool *nulls;

			deconstruct_array(DatumGetArrayTypeP(types), TEXTOID, -1, false,
							  TYPALIGN_INT, &elems, &nulls, &path->ntypes);
			path->types = palloc(sizeof(char *) * Max(path->ntypes, 1));
			for (int t = 0; t < path->ntypes; t++)
				path->types[t] = nulls[t] ? pstrdup("") : TextDatumGetCString(elems[t]);
		}
	}
	fresh->npaths = n;
	MemoryContextSwitchTo(old);
}

/* A bound of the only partition column. */
static TimestampTz
bound_of(List *datums)
{
	const PartitionRangeDatum *datum = linitial(datums);

	switch (datum->kind)
	{
		case PARTITION_RANGE_DATUM_MINVALUE:
			return DT_NOBEGIN;
		case PARTITION_RANGE_DATUM_MAXVALUE:
			return DT_NOEND;
		default:
			return DatumGetTimestampTz(castNode(Const, datum->value)->constvalue);
	}
}

static int
compare_ranges(const void *a, const void *b)
{
	const CdpRange *x = a;
	const CdpRange *y = b;

	return (x->from > y->from) - (x->from < y->from);
}

static void
load_partitions(CdpIngestConfig *fresh)
{
	/* a partition somebody dropped is made anew when it is needed; a detached one is not */
	int n = cdp_store_run_latest(
		"SELECT c.oid::bigint, c.relpartbound::text FROM cdp_data.event_partition p "
		"JOIN pg_inherits i ON i.inhrelid = to_regclass(format('cdp_data.%I', p.name)) "
		"AND i.inhparent = 'cdp_data.event'::regclass AND NOT i.inhdetachpending "
		"JOIN pg_class c ON c.oid = i.inhrelid WHERE c.relpartbound IS NOT NULL");

	fresh->partitions = MemoryContextAlloc(fresh->context, sizeof(CdpRange) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		PartitionBoundSpec *spec = stringToNode(cdp_store_text(i, 2));
		CdpRange *range = &fresh->partitions[fresh->npartitions];

		/* a default one has no bounds */
		if (spec->is_default || spec->strategy != PARTITION_STRATEGY_RANGE)
			continue;
		/* as attached, whatever the list says */
		range->relid = (Oid) cdp_store_int64(i, 1);
		range->from = bound_of(spec->lowerdatums);
		range->to = bound_of(spec->upperdatums);
		fresh->npartitions++;
	}
	qsort(fresh->partitions, fresh->npartitions, sizeof(CdpRange), compare_ranges);
}

/* The configuration; valid for the visit of the storage, inside cdp_store_enter(). */
const CdpIngestConfig *
cdp_ingest_config(void)
{
	while (config->generation != cdp_store_generation())
	{
		MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "cdp ingest config",
													  ALLOCSET_SMALL_SIZES);
		CdpIngestConfig *fresh = MemoryContextAllocZero(context, sizeof(CdpIngestConfig));
		CdpResult saved = cdp_store_save_result();

		fresh->generation = cdp_store_generation();
		fresh->context = context;
		load_paths(fresh);
		load_partitions(fresh);
		fresh->plan = cdp_plan_load(context);
		fresh->seen_since = DT_NOBEGIN;
		if (cdp_store_run_latest("SELECT seen_since FROM cdp_data.message_horizon") > 0)
			fresh->seen_since = cdp_store_int64(0, 1);
		cdp_store_restore_result(saved);
		cdp_store_retire(config->context);
		MemoryContextSetParent(context, CacheMemoryContext);
		config = fresh;
	}
	return config;
}

/* The partition of this time, InvalidOid if there is none. */
Oid
cdp_partition_of(TimestampTz ts)
{
	const CdpIngestConfig *c = cdp_ingest_config();
	int low = 0;
	int high = c->npartitions - 1;

	while (low <= high)
	{
		int mid = (low + high) / 2;

		if (ts < c->partitions[mid].from)
			high = mid - 1;
		else if (ts >= c->partitions[mid].to)
			low = mid + 1;
		else
			return c->partitions[mid].relid;
	}
	return InvalidOid;
}

bool
cdp_partition_exists(TimestampTz ts)
{
	return OidIsValid(cdp_partition_of(ts));
}
