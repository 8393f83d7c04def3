/*
 * src/profile/profile.c
 *		The state of a person as a fold over messages.
 *
 * Each trait keeps, in trait_meta, the message its value came from:
 * "<event time, microseconds> <message key, hex> <source>".  A value replaces
 * another when its (time, key) is higher ("latest") or lower ("oldest"), so
 * the result does not depend on the order in which messages arrive, and
 * joining two people is the same fold over the values of both.  An unset
 * trait keeps its mark: an older value must not come back.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

#include "compat.h"
#include "profile/profile.h"
#include "profile/trait.h"
#include "row.h"
#include "store.h"

/* A change that won so far, to be written. */
typedef struct Patch
{
	const CdpTraitChange *change;
	const CdpTrait *trait; /* NULL: undeclared */
	char *text; /* canonical, declared traits; NULL unsets */
	int namelen;
} Patch;

/* One person under the fold. */
typedef struct Person
{
	int64 profile_id;
	Jsonb *traits;
	Jsonb *meta;
	Patch *patches;
	int npatches;
	int *slots; /* open addressing: index of a patch by its name, or -1 */
	uint32 nslots; /* a power of two, at least twice the patches */
} Person;

/* Statements whose text lists the declared traits, for one generation. */
static struct
{
	uint64 generation;
	MemoryContext context;
	CdpPlan read;
	CdpPlan write;
} dynamic;

static CdpPlan create_plan = {
	"WITH made AS (INSERT INTO cdp_data.profile (profile_id, ord, created_at) "
	"  SELECT u.id, u.ord, u.at FROM unnest($1, $2, $4) u (id, ord, at)) "
	"INSERT INTO cdp_data.profile_state (profile_id, ord, rev) "
	"SELECT u.id, u.ord, u.rev FROM unnest($1, $2, $3) u (id, ord, rev)",
	4,
	{INT8ARRAYOID, INT4ARRAYOID, INT8ARRAYOID, TIMESTAMPTZARRAYOID},
	NULL};

static CdpRowOp profile_row = {
	.table = "profile",
	.columns = {"profile_id", "ord", "traits", "trait_meta", "created_at"},
};

static CdpRowOp state_row = {
	.table = "profile_state",
	.columns = {"profile_id", "ord", "rev", "events", "segments", "contested", "separated"},
};

/* As count_plan, for one. */
static CdpRowOp count_row = {
	.table = "profile_state",
	.keys = {"profile_id"},
	.columns = {"rev", "events", "first_seen", "last_seen", "linked_ts", "linked_key", "contested",
				"separated"},
};

static CdpPlan count_plan = {
	"UPDATE cdp_data.profile_state s SET events = s.events + u.events, rev = s.rev + 1, "
	"  first_seen = CASE WHEN u.events > 0 THEN LEAST(s.first_seen, u.f) ELSE s.first_seen END, "
	"  last_seen = CASE WHEN u.events > 0 THEN GREATEST(s.last_seen, u.l) ELSE s.last_seen END, "
	"  linked_ts = nullif(u.linked_ts, '-infinity'), "
	"  linked_key = CASE WHEN u.linked_ts > '-infinity' THEN u.linked_key END, "
	"  contested = u.contested, separated = u.separated "
	"FROM unnest($1, $2, $3, $4, $5, $6, $7, $8) "
	"  u (profile_id, events, f, l, linked_ts, linked_key, contested, separated) "
	"WHERE s.profile_id = ANY (ARRAY[u.profile_id])",
	8,
	{INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID,
	 UUIDARRAYOID, BOOLARRAYOID, BOOLARRAYOID},
	NULL};

static CdpPlan join_plan = {
	"WITH gone AS (DELETE FROM cdp_data.profile_state s USING unnest($1, $2) u (winner, loser) "
	"  WHERE s.profile_id = ANY (ARRAY[u.loser]) "
	"  RETURNING u.winner, s.events, s.first_seen, s.last_seen, s.segments), "
	"total AS (SELECT g.winner, sum(g.events)::bigint AS events, min(g.first_seen) AS f, "
	"  max(g.last_seen) AS l FROM gone g GROUP BY g.winner) "
	"UPDATE cdp_data.profile_state w SET events = w.events + t.events, rev = w.rev + 1, "
	"  first_seen = LEAST(w.first_seen, t.f), last_seen = GREATEST(w.last_seen, t.l), "
	"  segments = ARRAY(SELECT x FROM gone g, unnest(g.segments) x WHERE g.winner = w.profile_id "
	"    UNION SELECT unnest(w.segments) ORDER BY 1) "
	"FROM total t WHERE w.profile_id = t.winner",
	2,
	{INT8ARRAYOID, INT8ARRAYOID},
	NULL};

static CdpPlan drop_plan = {
	"DELETE FROM cdp_data.profile p WHERE p.profile_id = ANY ($1)",
	1,
	{INT8ARRAYOID},
	NULL};

static void
forget_plan(CdpPlan *plan)
{
	if (plan->plan)
		SPI_freeplan(plan->plan);
	memset(plan, 0, sizeof(*plan));
}

/* A declared trait's column as text that cdp_trait_canonical() takes. */
static void
append_as_text(StringInfo sql, const CdpTrait *trait)
{
	const char *column = quote_identifier(trait->name);

	if (trait->type == CDP_TRAIT_TIMESTAMPTZ)
		appendStringInfo(sql, "to_char(p.%s AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')",
						 column);
	else if (trait->type == CDP_TRAIT_DATE)
		appendStringInfo(sql, "to_char(p.%s, 'YYYY-MM-DD')", column);
	else
		appendStringInfo(sql, "p.%s::text", column);
}

/*
 * (Re)builds the statements that name trait columns.  Names come from
 * cdp_data.trait and are quoted.
 */
static void
prepare_dynamic(void)
{
	const CdpTraitConfig *config = cdp_trait_config();
	StringInfoData read;
	StringInfoData write;
	MemoryContext old;

	if (dynamic.generation == config->generation)
		return;
	forget_plan(&dynamic.read);
	forget_plan(&dynamic.write);
	dynamic.generation = 0;
	if (dynamic.context == NULL)
		dynamic.context = AllocSetContextCreate(CacheMemoryContext,
												"cdp profile statements",
												ALLOCSET_SMALL_SIZES);
	MemoryContextReset(dynamic.context);
	old = MemoryContextSwitchTo(dynamic.context);

	initStringInfo(&read);
	initStringInfo(&write);
	appendStringInfoString(&read, "SELECT p.profile_id, p.traits, p.trait_meta, ");
	if (config->n == 0)
		appendStringInfoString(&read, "NULL::text[]");
	else
		appendStringInfoString(&read, "ARRAY[");
	appendStringInfoString(&write,
						   "UPDATE cdp_data.profile p SET traits = u.traits, trait_meta = "
						   "u.meta");
	for (int i = 0; i < config->n; i++)
	{
		const CdpTrait *trait = &config->traits[i];
		const char *column = quote_identifier(trait->name);
		const char *name = quote_literal_cstr(trait->name);

		appendStringInfoString(&read, i ? ", " : "");
		append_as_text(&read, trait);
		appendStringInfo(&write,
						 ", %s = CASE WHEN u.d OPERATOR(pg_catalog.?) %s THEN (u.d ->> "
						 "%s)::%s ELSE p.%s END",
						 column, name, name, trait->type_name, column);
	}
	if (config->n > 0)
		appendStringInfoString(&read, "]");
	appendStringInfoString(&read,
						   " FROM cdp_data.profile p WHERE p.profile_id = ANY ($1) ORDER BY "
						   "p.profile_id");
	appendStringInfoString(&write,
						   " FROM unnest($1, $2, $3, $4) u (profile_id, traits, meta, d) "
						   "WHERE p.profile_id = ANY (ARRAY[u.profile_id])");
	MemoryContextSwitchTo(old);

	dynamic.read.sql = read.data;
	dynamic.read.nargs = 1;
	dynamic.read.argtypes[0] = INT8ARRAYOID;
	dynamic.write.sql = write.data;
	dynamic.write.nargs = 4;
	dynamic.write.argtypes[0] = INT8ARRAYOID;
	for (int i = 1; i < 4; i++)
		dynamic.write.argtypes[i] = JSONBARRAYOID;
	dynamic.generation = config->generation;
}

/* The jsonb {}. */
static Datum
empty_object(void)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
}

/* Makes the rows of the profiles that the graph created or brought back. */
void
cdp_profile_create(CdpGraph *graph)
{
	int n = 0;
	int64 *id = palloc(sizeof(int64) * Max(graph->nlocked, 1));
	int32 *ord = palloc(sizeof(int32) * Max(graph->nlocked, 1));
	int64 *rev = palloc(sizeof(int64) * Max(graph->nlocked, 1));
	TimestampTz *at = palloc(sizeof(TimestampTz) * Max(graph->nlocked, 1));
	Datum args[4];

	for (int i = 0; i < graph->nlocked; i++)
	{
		const CdpLocked *locked = &graph->locked[i];

		if (!locked->created)
			continue;
		id[n] = locked->profile_id;
		ord[n] = locked->ord;
		rev[n] = locked->rev;
		at[n++] = locked->returns ? locked->created_at : cdp_now();
	}
	for (int i = 0; n <= CDP_FEW && i < n; i++)
	{
		Datum none = empty_object();
		CdpRow profile = {.values = {Int64GetDatum(id[i]), Int32GetDatum(ord[i]), none, none,
									 TimestampTzGetDatum(at[i])}};
		CdpRow state = {.values = {profile.values[0], profile.values[1], Int64GetDatum(rev[i]),
								   Int64GetDatum(0), cdp_array_int32(NULL, 0), BoolGetDatum(false),
								   BoolGetDatum(false)}};

		(void) cdp_row_insert(&profile_row, &profile);
		(void) cdp_row_insert(&state_row, &state);
	}
	if (n <= CDP_FEW)
		return;
	args[0] = cdp_array_int64(id, n);
	args[1] = cdp_array_int32(ord, n);
	args[2] = cdp_array_int64(rev, n);
	args[3] = cdp_array_timestamptz(at, n);
	cdp_store_run(&create_plan, args, NULL, false, n);
}

/* Adds one person's activity to her state; the key must live until it is written. */
static bool
add_activity(CdpRow *row, void *arg)
{
	const CdpActivity *a = arg;

	row->values[0] = Int64GetDatum(DatumGetInt64(row->values[0]) + 1);
	row->values[1] = Int64GetDatum(DatumGetInt64(row->values[1]) + a->events);
	if (a->events > 0)
	{
		if (row->nulls[2] || a->first_seen < DatumGetTimestampTz(row->values[2]))
			row->values[2] = TimestampTzGetDatum(a->first_seen);
		if (row->nulls[3] || a->last_seen > DatumGetTimestampTz(row->values[3]))
			row->values[3] = TimestampTzGetDatum(a->last_seen);
		row->nulls[2] = row->nulls[3] = false;
	}
	row->nulls[4] = row->nulls[5] = a->locked->newest.ts == DT_NOBEGIN;
	row->values[4] = TimestampTzGetDatum(a->locked->newest.ts);
	row->values[5] = UUIDPGetDatum((pg_uuid_t *) a->locked->newest.key);
	row->values[6] = BoolGetDatum(a->locked->contested);
	row->values[7] = BoolGetDatum(a->locked->separated);
	return true;
}

/*
 * Adds events to states; one entry a profile.  Entries without events count as
 * well: whoever changes anything of a person writes her state, so that a
 * transaction with an older snapshot cannot go on beside it (40001).
 */
void
cdp_profile_count(const CdpActivity *activity, int n)
{
	int64 *id = palloc(sizeof(int64) * Max(n, 1));
	int64 *events = palloc(sizeof(int64) * Max(n, 1));
	TimestampTz *first = palloc(sizeof(TimestampTz) * Max(n, 1));
	TimestampTz *last = palloc(sizeof(TimestampTz) * Max(n, 1));
	TimestampTz *linked = palloc(sizeof(TimestampTz) * Max(n, 1));
	uint8(*key)[16] = palloc(16 * Max(n, 1));
	bool *contested = palloc(sizeof(bool) * Max(n, 1));
	bool *separated = palloc(sizeof(bool) * Max(n, 1));
	Datum args[8];

	if (n == 0)
		return;
	for (int i = 0; i < n; i++)
	{
		const CdpLocked *locked = activity[i].locked;

		id[i] = locked->profile_id;
		events[i] = activity[i].events;
		first[i] = activity[i].first_seen;
		last[i] = activity[i].last_seen;
		linked[i] = locked->newest.ts;
		memcpy(key[i], locked->newest.key, 16);
		contested[i] = locked->contested;
		separated[i] = locked->separated;
	}
	for (int i = 0; n <= CDP_FEW && i < n; i++)
	{
		args[0] = Int64GetDatum(id[i]);
		if (!cdp_row_change(&count_row, args, &activity[i].locked->place, add_activity,
							(void *) &activity[i]))
			elog(ERROR, "cdp: a locked profile is gone");
	}
	if (n <= CDP_FEW)
		return;
	args[0] = cdp_array_int64(id, n);
	args[1] = cdp_array_int64(events, n);
	args[2] = cdp_array_timestamptz(first, n);
	args[3] = cdp_array_timestamptz(last, n);
	args[4] = cdp_array_timestamptz(linked, n);
	args[5] = cdp_array_uuid((const uint8(*)[16]) key, n);
	args[6] = cdp_array_bool(contested, n);
	args[7] = cdp_array_bool(separated, n);
	cdp_store_run(&count_plan, args, NULL, false, n);
}

static void
hex_key(const uint8 *key, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (int i = 0; i < 16; i++)
	{
		out[2 * i] = digits[key[i] >> 4];
		out[2 * i + 1] = digits[key[i] & 15];
	}
	out[32] = '\0';
}

/* Reads a mark of trait_meta; see the head of the file. */
static bool
parse_mark(const char *mark, int len, TimestampTz *ts, uint8 *key, char **source)
{
	char *copy = pnstrdup(mark, len);
	char *end;

	*ts = strtoll(copy, &end, 10);
	if (end == copy || *end != ' ' || strlen(end) < 34)
		return false;
	end++;
	for (int i = 0; i < 32; i++)
	{
		char c = end[i];
		int v = c >= '0' && c <= '9' ? c - '0' :
				c >= 'a' && c <= 'f' ? c - 'a' + 10 :
									   -1;

		if (v < 0)
			return false;
		key[i / 2] = i % 2 ? key[i / 2] | v : v << 4;
	}
	if (end[32] != ' ')
		return false;
	*source = end + 33;
	return true;
}

/* Is (ts, key) of the change the one that survives against the mark's? */
static bool
beats(const CdpTraitChange *change, bool oldest, TimestampTz ts, const uint8 *key)
{
	int cmp;

	if (change->ts != ts)
		cmp = change->ts > ts ? 1 : -1;
	else
		cmp = memcmp(change->message_key, key, 16);
	return oldest ? cmp < 0 : cmp > 0;
}

static void
prepare_patches(Person *person, int room)
{
	person->nslots = 4;
	while (person->nslots < (uint32) room * 2)
		person->nslots *= 2;
	person->patches = palloc(sizeof(Patch) * room);
	person->slots = palloc(sizeof(int) * person->nslots);
	for (uint32 i = 0; i < person->nslots; i++)
		person->slots[i] = -1;
}

/* The patch of a trait, or NULL; *free_slot (if asked for) is where it would be. */
static Patch *
find_patch(const Person *person, const char *name, int len, uint32 *free_slot)
{
	uint32 i = 0;

	if (person->nslots == 0)
		return NULL;
	i = hash_bytes((const unsigned char *) name, len) & (person->nslots - 1);
	while (person->slots[i] >= 0)
	{
		Patch *patch = &person->patches[person->slots[i]];

		if (patch->namelen == len && memcmp(patch->change->name, name, len) == 0)
			return patch;
		i = (i + 1) & (person->nslots - 1);
	}
	if (free_slot)
		*free_slot = i;
	return NULL;
}

/* Room for a trait that has no patch yet; the caller fills it. */
static Patch *
add_patch(Person *person, const char *name, int len)
{
	uint32 slot = 0;

	(void) find_patch(person, name, len, &slot);
	person->slots[slot] = person->npatches;
	return &person->patches[person->npatches++];
}

static bool
survives(Person *person, const CdpTraitChange *change, int namelen,
		 const CdpTrait *trait, Patch **slot)
{
	bool oldest = trait && trait->oldest;
	JsonbValue holder;
	JsonbValue *mark;
	TimestampTz ts;
	uint8 key[16];
	char *source;

	*slot = find_patch(person, change->name, namelen, NULL);
	if (*slot)
		return beats(change, oldest, (*slot)->change->ts, (*slot)->change->message_key);
	mark = getKeyJsonValueFromContainer(&person->meta->root, change->name,
										namelen, &holder);
	if (mark == NULL)
		return true;
	if (mark->type != jbvString ||
		!parse_mark(mark->val.string.val, mark->val.string.len, &ts, key, &source))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("mark of trait \"%s\" of profile " INT64_FORMAT " is damaged",
						change->name, person->profile_id)));
	return beats(change, oldest, ts, key);
}

static void
push_string(JsonbParseState **state, JsonbIteratorToken token,
			const char *text, int len)
{
	JsonbValue v;

	v.type = jbvString;
	v.val.string.val = unconstify(char *, text);
	v.val.string.len = len;
	pushJsonbValue(state, token, &v);
}

/* Pushes the pairs of an object that no patch replaces. */
static void
push_rest(JsonbParseState **state, Jsonb *old, const Person *person)
{
	JsonbIterator *it = JsonbIteratorInit(&old->root);
	JsonbValue v;
	JsonbIteratorToken token;

	(void) JsonbIteratorNext(&it, &v, true);
	while ((token = JsonbIteratorNext(&it, &v, true)) == WJB_KEY)
	{
		bool keep = find_patch(person, v.val.string.val, v.val.string.len, NULL) == NULL;

		if (keep)
			pushJsonbValue(state, WJB_KEY, &v);
		(void) JsonbIteratorNext(&it, &v, true);
		if (keep)
			pushJsonbValue(state, WJB_VALUE, &v);
	}
}

/* The three documents of a person's write: traits, marks, declared. */
static void
compose(const Person *person, Datum *traits, Datum *meta, Datum *declared)
{
	JsonbParseState *t = NULL;
	JsonbParseState *m = NULL;
	JsonbParseState *d = NULL;

	pushJsonbValue(&t, WJB_BEGIN_OBJECT, NULL);
	pushJsonbValue(&m, WJB_BEGIN_OBJECT, NULL);
	pushJsonbValue(&d, WJB_BEGIN_OBJECT, NULL);
	push_rest(&t, person->traits, person);
	push_rest(&m, person->meta, person);
	for (int i = 0; i < person->npatches; i++)
	{
		const Patch *patch = &person->patches[i];
		const CdpTraitChange *change = patch->change;
		char hex[33];
		char *mark;

		hex_key(change->message_key, hex);
		mark = psprintf(INT64_FORMAT " %s %s", change->ts, hex, change->source);
		push_string(&m, WJB_KEY, change->name, patch->namelen);
		push_string(&m, WJB_VALUE, mark, (int) strlen(mark));
		if (patch->trait)
		{
			push_string(&d, WJB_KEY, change->name, patch->namelen);
			if (patch->text)
				push_string(&d, WJB_VALUE, patch->text, (int) strlen(patch->text));
			else
			{
				JsonbValue null = {.type = jbvNull};

				pushJsonbValue(&d, WJB_VALUE, &null);
			}
		}
		else if (change->value.type != jbvNull)
		{
			JsonbValue value = change->value;

			push_string(&t, WJB_KEY, change->name, patch->namelen);
			pushJsonbValue(&t, WJB_VALUE, &value);
		}
	}
	*traits = JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&t, WJB_END_OBJECT, NULL)));
	*meta = JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&m, WJB_END_OBJECT, NULL)));
	*declared = JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&d, WJB_END_OBJECT, NULL)));
}

static int
compare_changes(const void *a, const void *b)
{
	int64 x = (*(const CdpTraitChange *const *) a)->profile_id;
	int64 y = (*(const CdpTraitChange *const *) b)->profile_id;

	return (x > y) - (x < y);
}

/* Sorts changes by person. */
static CdpTraitChange **
sort_changes(CdpTraitChange *changes, int n)
{
	CdpTraitChange **order = palloc(sizeof(CdpTraitChange *) * Max(n, 1));

	for (int i = 0; i < n; i++)
		order[i] = &changes[i];
	qsort(order, n, sizeof(CdpTraitChange *), compare_changes);
	return order;
}

/* Folds the first changes of the order, those of this person; returns how many they are. */
static int
fold_person(Person *person, CdpTraitChange **order, int n, const CdpTraitChange *first,
			int *refused, int *nrefused)
{
	int mine = 0;

	while (mine < n && order[mine]->profile_id == person->profile_id)
		mine++;
	prepare_patches(person, mine);
	for (int i = 0; i < mine; i++)
	{
		CdpTraitChange *change = order[i];
		int namelen = (int) strlen(change->name);
		const CdpTrait *trait = cdp_trait_find(change->name, namelen);
		char *text = NULL;
		Patch *slot;

		CHECK_FOR_INTERRUPTS();
		if (trait && !cdp_trait_canonical(trait, &change->value, &text))
		{
			refused[(*nrefused)++] = (int) (change - first);
			continue;
		}
		if (!survives(person, change, namelen, trait, &slot))
			continue;
		if (slot == NULL)
			slot = add_patch(person, change->name, namelen);
		slot->change = change;
		slot->trait = trait;
		slot->text = text;
		slot->namelen = namelen;
	}
	return mine;
}

/*
 * Folds changes into the profiles they name and writes each profile once.
 * Returns how many changes do not fit their trait's type; refused (room for
 * n) gets their indexes.
 */
int
cdp_profile_fold(CdpTraitChange *changes, int n, int *refused)
{
	CdpTraitChange **order;
	int64 *ids = palloc(sizeof(int64) * Max(n, 1));
	Person *people;
	int npeople = 0;
	int nrefused = 0;
	int written = 0;
	Datum args[4];
	Datum *traits;
	Datum *meta;
	Datum *declared;

	if (n == 0)
		return 0;
	prepare_dynamic();
	order = sort_changes(changes, n);
	for (int i = 0; i < n; i++)
		if (npeople == 0 || ids[npeople - 1] != order[i]->profile_id)
			ids[npeople++] = order[i]->profile_id;

	people = palloc0(sizeof(Person) * npeople);
	args[0] = cdp_array_int64(ids, npeople);
	cdp_store_run(&dynamic.read, args, NULL, false, npeople);
	for (int i = 0; i < npeople; i++)
	{
		bool isnull;

		people[i].profile_id = cdp_store_int64(i, 1);
		people[i].traits = DatumGetJsonbPCopy(cdp_store_value(i, 2, &isnull));
		people[i].meta = DatumGetJsonbPCopy(cdp_store_value(i, 3, &isnull));
	}
	SPI_freetuptable(SPI_tuptable);

	for (int i = 0, p = 0; i < n; p++)
		i += fold_person(&people[p], &order[i], n - i, changes, refused, &nrefused);

	traits = palloc(sizeof(Datum) * npeople);
	meta = palloc(sizeof(Datum) * npeople);
	declared = palloc(sizeof(Datum) * npeople);
	for (int p = 0; p < npeople; p++)
	{
		if (people[p].npatches == 0)
			continue;
		ids[written] = people[p].profile_id;
		compose(&people[p], &traits[written], &meta[written], &declared[written]);
		written++;
	}
	if (written > 0)
	{
		args[0] = cdp_array_int64(ids, written);
		args[1] = cdp_array_datums(traits, NULL, written, JSONBOID);
		args[2] = cdp_array_datums(meta, NULL, written, JSONBOID);
		args[3] = cdp_array_datums(declared, NULL, written, JSONBOID);
		cdp_store_run(&dynamic.write, args, NULL, false, written);
	}
	return nrefused;
}

/*
 * Folds all that these people (ascending) ever said of themselves, and writes
 * nothing: traits, marks and declared traits of each, as cdp_profile_fold()
 * would write them to people of whom nothing is known.
 */
void
cdp_profile_fold_apart(CdpTraitChange *changes, int n, const int64 *ids, int npeople,
					   Datum *traits, Datum *meta, Datum *declared)
{
	CdpTraitChange **order = sort_changes(changes, n);
	int *refused = palloc(sizeof(int) * Max(n, 1));
	Jsonb *nothing = DatumGetJsonbP(empty_object());
	int nrefused = 0;
	int i = 0;

	for (int p = 0; p < npeople; p++)
	{
		Person person = {.profile_id = ids[p], .traits = nothing, .meta = nothing};

		i += fold_person(&person, &order[i], n - i, changes, refused, &nrefused);
		compose(&person, &traits[p], &meta[p], &declared[p]);
	}
	Assert(i == n);
}

/* Text of a declared trait as the read statement gives it; NULL for null. */
static char *
declared_text(Datum array, const CdpTraitConfig *config, const CdpTrait *trait)
{
	Datum *elems;
	bool *nulls;
	int n;
	int i = 0;

	while (i < config->n && strcmp(config->traits[i].name, trait->name) != 0)
		i++;
	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false,
					  TYPALIGN_INT, &elems, &nulls, &n);
	return i >= n || nulls[i] ? NULL : TextDatumGetCString(elems[i]);
}

/* Every value of a profile's row as changes, to be folded elsewhere. */
static void
row_changes(uint64 row, int64 target, const CdpTraitConfig *config, List **out)
{
	bool isnull;
	bool no_declared;
	Jsonb *traits = DatumGetJsonbPCopy(cdp_store_value(row, 2, &isnull));
	Jsonb *meta = DatumGetJsonbPCopy(cdp_store_value(row, 3, &isnull));
	Datum declared = cdp_store_value(row, 4, &no_declared);
	JsonbIterator *it = JsonbIteratorInit(&meta->root);
	JsonbValue name;
	JsonbValue mark;

	(void) JsonbIteratorNext(&it, &name, true);
	while (JsonbIteratorNext(&it, &name, true) == WJB_KEY)
	{
		CdpTraitChange *change = palloc0(sizeof(CdpTraitChange));
		char *source;
		const CdpTrait *trait;

		(void) JsonbIteratorNext(&it, &mark, true);
		change->profile_id = target;
		change->name = pnstrdup(name.val.string.val, name.val.string.len);
		if (mark.type != jbvString ||
			!parse_mark(mark.val.string.val, mark.val.string.len,
						&change->ts, change->message_key, &source))
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("mark of trait \"%s\" is damaged", change->name)));
		change->source = source;
		change->value.type = jbvNull;
		trait = cdp_trait_find(name.val.string.val, name.val.string.len);
		if (trait == NULL)
		{
			JsonbValue *value = getKeyJsonValueFromContainer(&traits->root,
															 change->name,
															 name.val.string.len,
															 NULL);

			if (value)
				change->value = *value;
		}
		else if (!no_declared)
		{
			char *text = declared_text(declared, config, trait);

			if (text)
			{
				change->value.type = jbvString;
				change->value.val.string.val = text;
				change->value.val.string.len = (int) strlen(text);
			}
		}
		*out = lappend(*out, change);
	}
}

/*
 * Joins the people that the graph merged: the losers' traits are folded into
 * the winners', their states added, their rows removed.
 */
void
cdp_profile_join(CdpGraph *graph)
{
	int n = graph->nmerges;
	int64 *winner = palloc(sizeof(int64) * Max(n, 1));
	int64 *loser = palloc(sizeof(int64) * Max(n, 1));
	List *list = NIL;
	const CdpTraitConfig *config;
	CdpTraitChange *changes;
	int nchanges = 0;
	int rows;
	int *refused;
	ListCell *lc;
	Datum args[2];

	if (n == 0)
		return;
	for (int i = 0; i < n; i++)
	{
		winner[i] = graph->merges[i].winner;
		loser[i] = graph->merges[i].loser;
	}
	prepare_dynamic();
	args[0] = cdp_array_int64(loser, n);
	rows = cdp_store_run(&dynamic.read, args, NULL, false, n);
	/* which traits are declared cannot change while we hold the states */
	config = cdp_trait_config();
	for (int r = 0; r < rows; r++)
	{
		int64 id = cdp_store_int64(r, 1);

		for (int i = 0; i < n; i++)
			if (loser[i] == id)
				row_changes(r, winner[i], config, &list);
	}
	changes = palloc(sizeof(CdpTraitChange) * Max(list_length(list), 1));
	refused = palloc(sizeof(int) * Max(list_length(list), 1));
	foreach(lc, list)
		changes[nchanges++] = *(CdpTraitChange *) lfirst(lc);
	if (cdp_profile_fold(changes, nchanges, refused) != 0)
		elog(ERROR, "cdp: a stored trait does not fit its own column");

	args[0] = cdp_array_int64(winner, n);
	args[1] = cdp_array_int64(loser, n);
	cdp_store_run(&join_plan, args, NULL, false, -1);
	cdp_store_run(&drop_plan, &args[1], NULL, false, n);
}
