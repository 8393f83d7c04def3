/*
 * src/compat.h
 *		The only place that knows PostgreSQL versions (15 to 18).
 *
 * A shim carries the newest signature; the comment says which version changed
 * it.  When support for a version ends, its shims are deleted the same day.
 */
#ifndef CDP_COMPAT_H
#define CDP_COMPAT_H

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "commands/cluster.h"
#include "nodes/execnodes.h"
#include "nodes/parsenodes.h"
#include "utils/guc.h"
#include "utils/snapshot.h"

/* 16: varlena macros left postgres.h. */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/*
 * 16: input functions may report errors softly, so that pg_input_is_valid()
 * and COPY ... ON_ERROR work.  Before, the report is always hard.
 */
#if PG_VERSION_NUM >= 160000
#include "nodes/miscnodes.h"
#define cdp_ereturn(escontext, dummy, rest) ereturn(escontext, dummy, rest)
#define cdp_escontext(fcinfo) ((fcinfo)->context)
#else
#define cdp_ereturn(escontext, dummy, rest) \
	do \
	{ \
		(void) (escontext); \
		ereport(ERROR, rest); \
		return dummy; \
	} while (0)
#define cdp_escontext(fcinfo) ((Node *) NULL)
#endif

/* 18: what writes properties of plans has a header of its own. */
#if PG_VERSION_NUM >= 180000
#include "commands/explain_format.h"
#endif

/* 18: index_beginscan() takes instrumentation. */
static inline IndexScanDesc
cdp_index_beginscan(Relation heap, Relation index, Snapshot snapshot, int nkeys)
{
#if PG_VERSION_NUM >= 180000
	return index_beginscan(heap, index, snapshot, NULL, nkeys, 0);
#else
	return index_beginscan(heap, index, snapshot, nkeys, 0);
#endif
}

/* 17: the count of a text never includes itself. */
#if PG_VERSION_NUM >= 170000
#define cdp_sendcountedtext(buf, str, len) pq_sendcountedtext(buf, str, len)
#else
#define cdp_sendcountedtext(buf, str, len) pq_sendcountedtext(buf, str, len, false)
#endif

/* 18: the mark of functions that do not return, before the declaration. */
#if PG_VERSION_NUM >= 180000
#define CDP_NORETURN pg_noreturn
#else
#define CDP_NORETURN pg_attribute_noreturn()
#endif

/* 17: the number of the session's transaction moved. */
#if PG_VERSION_NUM >= 170000
#define cdp_my_lxid() (MyProc->vxid.lxid)
#else
#define cdp_my_lxid() (MyProc->lxid)
#endif

/* 16: regular expressions raise by themselves when they are cancelled. */
#if PG_VERSION_NUM >= 160000
#define CDP_REG_CANCELLED(error) false
#else
#define CDP_REG_CANCELLED(error) ((error) == REG_CANCEL)
#endif

/* 17: an index may keep things over several inserts. */
static inline void
cdp_index_insert_cleanup(Relation index, IndexInfo *info)
{
#if PG_VERSION_NUM >= 170000
	index_insert_cleanup(index, info);
#else
	(void) index;
	(void) info;
#endif
}

/* 16: an update may leave all indexes alone but the summarizing ones. */
typedef enum CdpIndexUpdate
{
	CDP_INDEX_NONE,
	CDP_INDEX_ALL,
	CDP_INDEX_SUMMARIZING
} CdpIndexUpdate;

static inline TM_Result
cdp_table_tuple_update(Relation rel, ItemPointer tid, TupleTableSlot *slot, Snapshot snapshot,
					   CdpIndexUpdate *indexes)
{
	TM_FailureData failure;
	LockTupleMode mode;
	TM_Result result;
#if PG_VERSION_NUM >= 160000
	TU_UpdateIndexes update = TU_None;
#else
	bool update = false;
#endif

	result = table_tuple_update(rel, tid, slot, GetCurrentCommandId(true), snapshot,
								InvalidSnapshot, true, &failure, &mode, &update);
#if PG_VERSION_NUM >= 160000
	*indexes = update == TU_None ? CDP_INDEX_NONE :
			   update == TU_All	 ? CDP_INDEX_ALL :
								   CDP_INDEX_SUMMARIZING;
#else
	*indexes = update ? CDP_INDEX_ALL : CDP_INDEX_NONE;
#endif
	return result;
}

/* 16: the right to do something to an object is asked by its catalog. */
#if PG_VERSION_NUM >= 160000
#define cdp_may_execute(funcid, role) \
	(object_aclcheck(ProcedureRelationId, funcid, role, ACL_EXECUTE) == ACLCHECK_OK)
#else
#define cdp_may_execute(funcid, role) \
	(pg_proc_aclcheck(funcid, role, ACL_EXECUTE) == ACLCHECK_OK)
#endif

/*
 * View that the subquery of a range table entry is, or InvalidOid.  16: the
 * entry knows; before, the first entry of a view's own query is the view.
 */
static inline Oid
cdp_view_of(const RangeTblEntry *rte)
{
#if PG_VERSION_NUM >= 160000
	return rte->relid;
#else
	const RangeTblEntry *first =
		rte->subquery->rtable ? linitial(rte->subquery->rtable) : NULL;

	return first && first->rtekind == RTE_RELATION && first->relkind == RELKIND_VIEW ?
			   first->relid :
			   InvalidOid;
#endif
}

/* 18: PG_MODULE_MAGIC_EXT carries name and version. */
#if PG_VERSION_NUM >= 180000
#define CDP_MODULE_MAGIC PG_MODULE_MAGIC_EXT(.name = "cdp", .version = CDP_VERSION)
#else
#define CDP_MODULE_MAGIC PG_MODULE_MAGIC
#endif

/* 18: cluster_rel() takes the open table, and closes it.  Rewrites a table, as VACUUM FULL does. */
static inline void
cdp_rewrite_table(Oid relid)
{
	ClusterParams params = {0};

#if PG_VERSION_NUM >= 180000
	cluster_rel(table_open(relid, AccessExclusiveLock), InvalidOid, &params);
#else
	cluster_rel(relid, InvalidOid, &params);
#endif
}

#endif /* CDP_COMPAT_H */
