/*
 * src/consent/allowed.c
 *		The policies' test: may this role see this person, now?
 *
 * Purposes in force = all purposes granted to the role (rows of
 * cdp_data.role_purpose for roles whose rights it has), or the granted ones
 * among those named in the setting cdp.purpose.  A person is visible when she
 * allows every purpose in force; with none in force nobody is.
 *
 * What people allow is in consent_ord and consent_node: one row per person
 * (ord) or node and purpose.  Few questions in a query are answered by index
 * probes (about 2 microseconds each); when they become many, the table is
 * read once into bitmaps that live as long as the query's expression.
 *
 * Such a cache may outlive its query: PL/pgSQL keeps the state of simple
 * expressions for the whole transaction.  So it carries a stamp of the
 * snapshot, the role, the purposes and the time it was made under, and is
 * dropped when any differs.
 *
 * LEAKPROOF: the functions raise on no value of their argument.  An argument
 * is only compared with stored integers; an unknown one is "not allowed".
 * What can fail (memory, a damaged page) does not depend on it.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "compat.h"
#include "consent/consent.h"
#include "guc.h"
#include "index_scan.h"
#include "stamp.h"
#include "store.h"

/* More purposes in force than this see nobody; a mask has one bit each. */
#define MAX_IN_FORCE 32

/* Questions before the table is read as a whole: this many, or rows / 16. */
#define MIN_PROBES 64

PG_FUNCTION_INFO_V1(cdp_allowed);
PG_FUNCTION_INFO_V1(cdp_allowed_node);
PG_FUNCTION_INFO_V1(cdp_has_kind);

typedef struct Grant
{
	NameData role;
	int32 purpose_id;
	const char *purpose;
} Grant;

typedef struct Kind
{
	NameData role;
	const char *kind;
} Kind;

/* A version of what people are told, and from when on it is required. */
typedef struct Notice
{
	int32 notice_id;
	int32 purpose_id;
	TimestampTz required_from;
} Notice;

/* Roles' purposes and kinds, and notices, as configured. */
static struct
{
	uint64 generation;
	bool provisional; /* read under a query's snapshot, in parallel mode */
	MemoryContext context;
	Grant *grants;
	int ngrants;
	Kind *kinds;
	int nkinds;
	Notice *notices; /* those that are required some time */
	int nnotices;
	int32 *default_purposes; /* allowed unless somebody says otherwise ... */
	const char **default_jurisdictions; /* ... to people of these */
	int ndefaults;
	int npurposes;
} roles;

/* Purposes in force for one role, until anything it depends on changes. */
static struct
{
	uint64 generation;
	uint64 membership;
	uint64 purpose_stamp;
	Oid role;
	bool exempt;
	int n; /* -1: more than MAX_IN_FORCE */
	int32 purposes[MAX_IN_FORCE];
	uint64 serial; /* counts recomputations */
} force;

static uint64 membership = 1;
static bool registered = false;

/* Per-expression cache: see the head of the file. */
typedef struct Cache
{
	MemoryContext context;
	CdpStamp stamp;
	uint64 force_serial;
	TimestampTz now;
	Oid table;
	Oid index;
	int64 probes;
	bool loaded;
	int64 nbits;
	uint8 *bits; /* everybody who allows all purposes in force */
} Cache;

static void
membership_changed(Datum arg pg_attribute_unused(),
				   int cacheid pg_attribute_unused(),
				   uint32 hashvalue pg_attribute_unused())
{
	membership++;
}

static void
register_callbacks(void)
{
	if (registered)
		return;
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, membership_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHOID, membership_changed, (Datum) 0);
	registered = true;
}

/*
 * Reads a whole configuration table under the latest snapshot.  In parallel
 * mode there is none to be had: then under the query's, and what is read is
 * provisional.
 */
static void
scan_config(const char *name, void (*row)(TupleTableSlot *slot, void *arg), void *arg)
{
	Relation rel = table_open(cdp_store_relation(name), AccessShareLock);
	Snapshot snapshot =
		RegisterSnapshot(IsInParallelMode() ? GetActiveSnapshot() : GetLatestSnapshot());
	TableScanDesc scan = table_beginscan(rel, snapshot, 0, NULL);
	TupleTableSlot *slot = table_slot_create(rel, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
		row(slot, arg);
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
}

/* Column of a configuration table by name; they are never null here. */
static Datum
column(TupleTableSlot *slot, const char *name)
{
	TupleDesc desc = slot->tts_tupleDescriptor;
	bool isnull;

	for (int i = 0; i < desc->natts; i++)
		if (strcmp(NameStr(TupleDescAttr(desc, i)->attname), name) == 0)
			return slot_getattr(slot, i + 1, &isnull);
	elog(ERROR, "cdp: configuration table has no column \"%s\"", name);
	return (Datum) 0; /* keep compiler quiet */
}

typedef struct Loading
{
	MemoryContext context;
	List *grants;
	List *kinds;
	List *purposes; /* of Grant, role unset */
	List *notices;
	List *default_purposes;
	List *default_jurisdictions;
} Loading;

static void
load_purpose(TupleTableSlot *slot, void *arg)
{
	Loading *loading = arg;
	Grant *g = palloc0(sizeof(Grant));

	g->purpose_id = DatumGetInt32(column(slot, "purpose_id"));
	g->purpose = TextDatumGetCString(column(slot, "name"));
	loading->purposes = lappend(loading->purposes, g);
}

static void
load_grant(TupleTableSlot *slot, void *arg)
{
	Loading *loading = arg;
	Grant *g = palloc0(sizeof(Grant));

	g->role = *DatumGetName(column(slot, "role_name"));
	g->purpose_id = DatumGetInt32(column(slot, "purpose_id"));
	loading->grants = lappend(loading->grants, g);
}

static void
load_kind(TupleTableSlot *slot, void *arg)
{
	Loading *loading = arg;
	Kind *k = palloc0(sizeof(Kind));

	k->role = *DatumGetName(column(slot, "role_name"));
	k->kind = TextDatumGetCString(column(slot, "kind"));
	loading->kinds = lappend(loading->kinds, k);
}

static void
load_notice(TupleTableSlot *slot, void *arg)
{
	Loading *loading = arg;
	Notice *n = palloc0(sizeof(Notice));

	n->notice_id = DatumGetInt32(column(slot, "notice_id"));
	n->purpose_id = DatumGetInt32(column(slot, "purpose_id"));
	n->required_from = DatumGetTimestampTz(column(slot, "required_from"));
	if (n->required_from != DT_NOEND)
		loading->notices = lappend(loading->notices, n);
}

static void
load_default(TupleTableSlot *slot, void *arg)
{
	Loading *loading = arg;

	if (!DatumGetBool(column(slot, "allows")))
		return;
	loading->default_purposes =
		lappend_int(loading->default_purposes, DatumGetInt32(column(slot, "purpose_id")));
	loading->default_jurisdictions = lappend(loading->default_jurisdictions,
											 TextDatumGetCString(column(slot, "jurisdiction")));
}

/* Was the configuration read in parallel mode, which is over now? */
static bool
is_provisional(void)
{
	return roles.provisional && !IsInParallelMode();
}

static void
load_roles(void)
{
	while (roles.generation != cdp_store_generation() ||
		   is_provisional())
	{
		uint64 generation = cdp_store_generation();
		MemoryContext fresh = AllocSetContextCreate(CurrentMemoryContext,
													"cdp roles and purposes",
													ALLOCSET_SMALL_SIZES);
		MemoryContext old = MemoryContextSwitchTo(fresh);
		Loading loading = {.context = fresh};
		Grant *grants;
		Kind *kinds;
		Notice *notices;
		int32 *purposes;
		const char **jurisdictions;
		int n = 0;
		ListCell *lc;

		scan_config("purpose", load_purpose, &loading);
		scan_config("role_purpose", load_grant, &loading);
		scan_config("role_kind", load_kind, &loading);
		scan_config("notice", load_notice, &loading);
		scan_config("consent_default", load_default, &loading);
		grants = palloc0(sizeof(Grant) * Max(list_length(loading.grants), 1));
		foreach(lc, loading.grants)
		{
			Grant *g = lfirst(lc);
			ListCell *lp;

			foreach(lp, loading.purposes)
			{
				Grant *p = lfirst(lp);

				if (p->purpose_id != g->purpose_id)
					continue;
				grants[n] = *g;
				grants[n++].purpose = p->purpose;
			}
		}
		kinds = palloc0(sizeof(Kind) * Max(list_length(loading.kinds), 1));
		roles.nkinds = 0;
		foreach(lc, loading.kinds)
			kinds[roles.nkinds++] = *(Kind *) lfirst(lc);
		notices = palloc0(sizeof(Notice) * Max(list_length(loading.notices), 1));
		roles.nnotices = 0;
		foreach(lc, loading.notices)
			notices[roles.nnotices++] = *(Notice *) lfirst(lc);
		purposes = palloc0(sizeof(int32) * Max(list_length(loading.default_purposes), 1));
		jurisdictions = palloc0(sizeof(char *) * Max(list_length(loading.default_purposes), 1));
		roles.ndefaults = list_length(loading.default_purposes);
		for (int i = 0; i < roles.ndefaults; i++)
		{
			purposes[i] = list_nth_int(loading.default_purposes, i);
			jurisdictions[i] = list_nth(loading.default_jurisdictions, i);
		}
		MemoryContextSwitchTo(old);
		cdp_store_retire(roles.context);
		MemoryContextSetParent(fresh, CacheMemoryContext);
		roles.context = fresh;
		roles.grants = grants;
		roles.ngrants = n;
		roles.npurposes = list_length(loading.purposes);
		roles.kinds = kinds;
		roles.notices = notices;
		roles.default_purposes = purposes;
		roles.default_jurisdictions = jurisdictions;
		roles.generation = generation;
		roles.provisional = IsInParallelMode();
	}
}

/* Is there any purpose for which somebody could have said something? */
bool
cdp_consent_is_used(void)
{
	load_roles();
	return roles.npurposes > 0;
}

/* Valid until the next call that reads configuration. */
int
cdp_consent_defaults(const int32 **purposes, const char *const **jurisdictions)
{
	load_roles();
	*purposes = roles.default_purposes;
	*jurisdictions = roles.default_jurisdictions;
	return roles.ndefaults;
}

static bool
has_rights_of(Oid role, const NameData *name)
{
	Oid other = get_role_oid(NameStr(*name), true);

	return OidIsValid(other) && has_privs_of_role(role, other);
}

/* Is the purpose among those that the setting cdp.purpose names? */
static bool
is_named(List *named, const char *purpose)
{
	ListCell *lc;

	foreach(lc, named)
		if (strcmp(lfirst(lc), purpose) == 0)
			return true;
	return false;
}

/* Splits "a, b" at commas; blanks around names do not count. */
static List *
split_names(const char *text)
{
	List *names = NIL;
	char *copy = pstrdup(text);
	char *save = NULL;

	for (char *tok = strtok_r(copy, ",", &save); tok; tok = strtok_r(NULL, ",", &save))
	{
		size_t len;

		while (*tok == ' ' || *tok == '\t')
			tok++;
		len = strlen(tok);
		while (len > 0 && (tok[len - 1] == ' ' || tok[len - 1] == '\t'))
			tok[--len] = '\0';
		if (len > 0)
			names = lappend(names, tok);
	}
	return names;
}

/* Brings "force" up to date for this role. */
static void
purposes_in_force(Oid role)
{
	List *named;
	bool narrowed;
	uint64 started;

	register_callbacks();
	if (force.role == role && !is_provisional() &&
		force.generation == cdp_store_generation() &&
		force.membership == membership &&
		force.purpose_stamp == cdp_guc_purpose_stamp)
		return;
	started = membership;
	load_roles();
	force.serial++;
	force.role = InvalidOid;
	force.exempt = cdp_role_is_exempt(role);
	force.n = 0;
	named = split_names(cdp_guc_purpose ? cdp_guc_purpose : "");
	narrowed = cdp_guc_purpose != NULL && cdp_guc_purpose[0] != '\0';
	for (int i = 0; i < roles.ngrants && !force.exempt; i++)
	{
		Grant *g = &roles.grants[i];
		bool known = false;

		if (!has_rights_of(role, &g->role) ||
			(narrowed && !is_named(named, g->purpose)))
			continue;
		for (int k = 0; k < force.n; k++)
			known |= force.purposes[k] == g->purpose_id;
		if (known)
			continue;
		if (force.n == MAX_IN_FORCE)
		{
			force.n = -1; /* too many to check: nobody is visible */
			break;
		}
		force.purposes[force.n++] = g->purpose_id;
	}
	force.generation = roles.generation;
	force.membership = started;
	force.purpose_stamp = cdp_guc_purpose_stamp;
	force.role = role;
}

/* Bit of a purpose among those in force, 0 if it is not. */
static uint32
purpose_bit(int32 purpose_id)
{
	for (int i = 0; i < force.n; i++)
		if (force.purposes[i] == purpose_id)
			return (uint32) 1 << i;
	return 0;
}

static uint32
all_bits(void)
{
	return force.n == 32 ? 0xFFFFFFFF : (((uint32) 1 << force.n) - 1);
}

/*
 * The tables are (purpose_id int, id, valid_to, valid_from, notice_id) in this
 * column order; id is an int4 (ord) or int8 (node).
 */
static int64
row_id(TupleTableSlot *slot, bool wide)
{
	bool isnull;
	Datum d = slot_getattr(slot, 2, &isnull);

	return wide ? DatumGetInt64(d) : DatumGetInt32(d);
}

/* Is a notice required by now that is later than the one people were given? */
static bool
is_outdated(int32 purpose_id, int32 notice_id, TimestampTz now)
{
	for (int i = 0; i < roles.nnotices; i++)
		if (roles.notices[i].purpose_id == purpose_id && roles.notices[i].notice_id > notice_id &&
			roles.notices[i].required_from <= now)
			return true;
	return false;
}

/* As CDP_CONSENT_HOLDS() says it in SQL. */
static uint32
row_bit(TupleTableSlot *slot, TimestampTz now)
{
	bool isnull;
	Datum value;
	int32 purpose_id;

	if (DatumGetTimestampTz(slot_getattr(slot, 3, &isnull)) <= now)
		return 0;
	value = slot_getattr(slot, 4, &isnull);
	if (!isnull && DatumGetTimestampTz(value) > now)
		return 0;
	purpose_id = DatumGetInt32(slot_getattr(slot, 1, &isnull));
	if (roles.nnotices > 0)
	{
		value = slot_getattr(slot, 5, &isnull);
		if (is_outdated(purpose_id, isnull ? 0 : DatumGetInt32(value), now))
			return 0;
	}
	return purpose_bit(purpose_id);
}

/* One look at the index: does this id allow all purposes in force? */
static bool
probe(Oid table, Oid index, int64 id, bool wide, TimestampTz now)
{
	Relation rel = table_open(table, AccessShareLock);
	Relation idx = index_open(index, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	ScanKeyData key;
	IndexScanDesc scan;
	uint32 found = 0;

	if (wide)
		ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(id));
	else
		ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum((int32) id));
	scan = cdp_index_beginscan(rel, idx, GetActiveSnapshot(), 1);
	index_rescan(scan, &key, 1, NULL, 0);
	while (cdp_index_next(scan, ForwardScanDirection, slot))
		found |= row_bit(slot, now);
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(idx, AccessShareLock);
	table_close(rel, AccessShareLock);
	return found == all_bits();
}

/* Reads the table once: a bitmap a purpose, and their intersection. */
static void
load_all(Cache *cache, bool wide)
{
	MemoryContext old = MemoryContextSwitchTo(cache->context);
	Relation rel = table_open(cache->table, AccessShareLock);
	TableScanDesc scan = table_beginscan(rel, GetActiveSnapshot(), 0, NULL);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	uint8 *bits[MAX_IN_FORCE];
	int64 size = 8192;

	for (int i = 0; i < force.n; i++)
		bits[i] = palloc0(size);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		uint32 bit = row_bit(slot, cache->now);
		int64 id;

		CHECK_FOR_INTERRUPTS();
		if (bit == 0)
			continue;
		id = row_id(slot, wide);
		if (id / 8 >= size)
		{
			int64 grown = Max(size * 2, id / 8 + 1);

			for (int i = 0; i < force.n; i++)
			{
				bits[i] = repalloc_huge(bits[i], grown);
				memset(bits[i] + size, 0, grown - size);
			}
			size = grown;
		}
		bits[pg_rightmost_one_pos32(bit)][id / 8] |= 1 << (id % 8);
	}
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	for (int i = 1; i < force.n; i++)
	{
		for (int64 b = 0; b < size; b++)
			bits[0][b] &= bits[i][b];
		pfree(bits[i]);
	}
	cache->bits = bits[0];
	cache->nbits = size * 8;
	cache->loaded = true;
	MemoryContextSwitchTo(old);
}

static bool
is_current(const Cache *cache, Snapshot snapshot)
{
	return cache->context != NULL && cdp_stamp_is(&cache->stamp, snapshot) &&
		   cache->force_serial == force.serial;
}

static bool
is_allowed(FunctionCallInfo fcinfo, const char *table, const char *index,
		   int64 id, bool wide)
{
	Snapshot snapshot;
	Cache *cache;
	TimestampTz now = cdp_now();

	if (!ActiveSnapshotSet())
		return false;
	snapshot = GetActiveSnapshot();
	cache = fcinfo->flinfo->fn_extra;
	/*
	 * A new statement: hear of what was committed since.  In a transaction
	 * that holds its locks already nothing else would ask, and a purpose
	 * taken from a role must be gone.
	 */
	if (cache == NULL || cache->now != now || !cdp_stamp_is(&cache->stamp, snapshot))
		AcceptInvalidationMessages();
	if (!cdp_store_exists())
		return false;
	purposes_in_force(GetUserId());
	if (force.exempt)
		return true;
	if (force.n <= 0 || id < 0)
		return false;

	if (cache == NULL)
		cache = fcinfo->flinfo->fn_extra =
			MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(Cache));
	if (!is_current(cache, snapshot) || cache->now != now)
	{
		Relation rel;
		double rows;

		if (cache->context)
			MemoryContextReset(cache->context);
		else
			cache->context = AllocSetContextCreate(fcinfo->flinfo->fn_mcxt,
												   "cdp consent cache",
												   ALLOCSET_DEFAULT_SIZES);
		cdp_stamp_set(&cache->stamp, snapshot);
		cache->force_serial = force.serial;
		cache->now = now;
		cache->loaded = false;
		cache->table = cdp_store_relation(table);
		cache->index = cdp_store_relation(index);
		rel = table_open(cache->table, AccessShareLock);
		rows = rel->rd_rel->reltuples;
		table_close(rel, AccessShareLock);
		cache->probes = Max(MIN_PROBES, (int64) (rows / 16));
	}
	if (!cache->loaded && cache->probes-- > 0)
		return probe(cache->table, cache->index, id, wide, now);
	if (!cache->loaded)
		load_all(cache, wide);
	return id < cache->nbits && (cache->bits[id / 8] & (1 << (id % 8))) != 0;
}

/* cdp.allowed(ord): policy of tables keyed by person. */
Datum
cdp_allowed(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(is_allowed(fcinfo, "consent_ord", "consent_ord_pkey",
							  PG_GETARG_INT32(0), false));
}

/* cdp.allowed_node(node_id): policy of tables keyed by node. */
Datum
cdp_allowed_node(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(is_allowed(fcinfo, "consent_node", "consent_node_pkey",
							  PG_GETARG_INT64(0), true));
}

/*
 * May this role see the person with this ord?  For functions of the library: in
 * a transaction that holds its locks already nothing else would hear of a notice
 * that is required since, or of a purpose that was taken from the role.
 */
bool
cdp_consent_sees(Oid role, int32 ord)
{
	AcceptInvalidationMessages();
	purposes_in_force(role);
	if (force.exempt)
		return true;
	if (force.n <= 0)
		return false;
	return probe(cdp_store_relation("consent_ord"),
				 cdp_store_relation("consent_ord_pkey"), ord, false, cdp_now());
}

const uint8 *
cdp_consent_bits(Oid role, int64 *nbits)
{
	Cache cache = {.context = CurrentMemoryContext, .now = cdp_now()};

	AcceptInvalidationMessages();
	purposes_in_force(role);
	*nbits = 0;
	if (force.exempt)
		return NULL;
	if (force.n <= 0)
		return palloc0(1);
	cache.table = cdp_store_relation("consent_ord");
	load_all(&cache, false);
	*nbits = cache.nbits;
	return cache.bits;
}

bool
cdp_consent_has_kind(Oid role, const char *kind)
{
	load_roles();
	for (int i = 0; i < roles.nkinds; i++)
		if (strcmp(roles.kinds[i].kind, kind) == 0 &&
			has_rights_of(role, &roles.kinds[i].role))
			return true;
	return false;
}

/* Is the purpose in force for this role, or is the role exempt? */
bool
cdp_consent_has_purpose(Oid role, int32 purpose_id)
{
	purposes_in_force(role);
	return force.exempt || (force.n > 0 && purpose_bit(purpose_id) != 0);
}

/* cdp.has_kind(kind): asked once a row by policies, so the answer is kept. */
Datum
cdp_has_kind(PG_FUNCTION_ARGS)
{
	static struct
	{
		uint64 generation;
		uint64 membership;
		Oid role;
		char kind[16];
		bool answer;
	} last;
	text *arg = PG_GETARG_TEXT_PP(0);
	int len = VARSIZE_ANY_EXHDR(arg);

	if (!cdp_store_exists() || len >= (int) sizeof(last.kind))
		PG_RETURN_BOOL(false);
	register_callbacks();
	if (is_provisional() || last.generation != cdp_store_generation() ||
		last.membership != membership ||
		last.role != GetUserId() || (int) strlen(last.kind) != len ||
		memcmp(last.kind, VARDATA_ANY(arg), len) != 0)
	{
		uint64 started = membership;

		last.generation = 0;
		memcpy(last.kind, VARDATA_ANY(arg), len);
		last.kind[len] = '\0';
		last.role = GetUserId();
		last.answer = cdp_consent_has_kind(last.role, last.kind);
		last.membership = started;
		last.generation = roles.generation;
	}
	PG_RETURN_BOOL(last.answer);
}
