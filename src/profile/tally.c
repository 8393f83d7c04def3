/*
 * src/profile/tally.c
 *		Tallies of most_frequent traits that are too large for trait_meta:
 *		cdp_data.trait_tally, a row for each value that a person gave.
 *
 * A message adds to the rows of the values it gives, and nothing else can have
 * become more frequent; so the value that was given most often is one of these,
 * or still the one that trait_meta names.  That costs the same however much she
 * ever said.  Whoever folds a person's trait anew replaces her rows.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

#include "compat.h"
#include "profile/trait_fold.h"
#include "profile/verify.h"
#include "store.h"

static CdpPlan read_plan = {
	"SELECT u.i, t.times, t.ts, t.message_key, t.source "
	"FROM unnest($3) WITH ORDINALITY u (value, i) CROSS JOIN LATERAL ("
	"  SELECT t.* FROM cdp_data.trait_tally t WHERE t.profile_id = $1 AND t.name = $2 "
	"  AND t.key = sha256(convert_to(u.value, 'UTF8')) OFFSET 0) t",
	3,
	{INT8OID, TEXTOID, TEXTARRAYOID},
	NULL};

static CdpPlan clear_plan = {
	"DELETE FROM cdp_data.trait_tally t WHERE t.profile_id = ANY ($1) "
	"AND ($2 IS NULL OR t.name = $2)",
	2,
	{INT8ARRAYOID, TEXTOID},
	NULL};

static CdpPlan write_plan = {
	"INSERT INTO cdp_data.trait_tally AS t (profile_id, name, key, value, times, ts, message_key, "
	"  source) "
	"SELECT $1, $2, sha256(convert_to(u.value, 'UTF8')), u.value, u.times, u.ts, u.key, u.source "
	"FROM unnest($3, $4, $5, $6, $7) u (value, times, ts, key, source) "
	"ON CONFLICT (profile_id, name, key) DO UPDATE SET times = excluded.times, "
	"  ts = excluded.ts, message_key = excluded.message_key, source = excluded.source",
	7,
	{INT8OID, TEXTOID, TEXTARRAYOID, INT8ARRAYOID, TIMESTAMPTZARRAYOID, UUIDARRAYOID,
	 TEXTARRAYOID},
	NULL};

/* Rows of these people against what they should be. */
static CdpPlan check_plan = {
	"SELECT coalesce(t.profile_id, u.id), 'tally of trait ' || coalesce(t.name, u.name), "
	"  t.row, u.row FROM (SELECT t.profile_id, t.name, t.key, concat_ws(' ', t.value, t.times, "
	"    extract(epoch FROM t.ts), t.message_key, t.source) AS row "
	"  FROM cdp_data.trait_tally t WHERE t.profile_id = ANY ($1)) t "
	"FULL JOIN (SELECT u.id, u.name, sha256(convert_to(u.value, 'UTF8')) AS key, "
	"    concat_ws(' ', u.value, u.times, extract(epoch FROM u.ts), u.key, u.source) AS row "
	"  FROM unnest($2, $3, $4, $5, $6, $7, $8) u (id, name, value, times, ts, key, source)) u "
	"ON u.id = t.profile_id AND u.name = t.name AND u.key = t.key "
	"WHERE t.row IS DISTINCT FROM u.row AND coalesce(t.name, u.name) <> ALL ($9)",
	9,
	{INT8ARRAYOID, INT8ARRAYOID, TEXTARRAYOID, TEXTARRAYOID, INT8ARRAYOID, TIMESTAMPTZARRAYOID,
	 UUIDARRAYOID, TEXTARRAYOID, TEXTARRAYOID},
	NULL};

/* Tallies as arrays: value, times, ts, key, source. */
static void
as_arrays(const CdpTally *all, int n, Datum *arrays)
{
	const char **value = palloc(sizeof(char *) * Max(n, 1));
	const char **source = palloc(sizeof(char *) * Max(n, 1));
	int64 *times = palloc(sizeof(int64) * Max(n, 1));
	TimestampTz *ts = palloc(sizeof(TimestampTz) * Max(n, 1));
	uint8(*key)[16] = palloc(16 * Max(n, 1));

	for (int i = 0; i < n; i++)
	{
		value[i] = all[i].text;
		source[i] = all[i].source;
		times[i] = all[i].times;
		ts[i] = all[i].ts;
		memcpy(key[i], all[i].key, 16);
	}
	arrays[0] = cdp_array_text(value, n);
	arrays[1] = cdp_array_int64(times, n);
	arrays[2] = cdp_array_timestamptz(ts, n);
	arrays[3] = cdp_array_uuid((const uint8(*)[16]) key, n);
	arrays[4] = cdp_array_text(source, n);
}

/*
 * Adds what is stored of their values to these tallies, each value once, of a
 * person.  Returns whether the last one is stored.
 */
bool
cdp_tally_add_stored(int64 profile_id, const char *name, CdpTallies *t)
{
	const char **value = palloc(sizeof(char *) * t->n);
	Datum args[3] = {Int64GetDatum(profile_id), CStringGetTextDatum(name)};
	bool last = false;
	int rows;

	for (int i = 0; i < t->n; i++)
		value[i] = t->all[i].text;
	args[2] = cdp_array_text(value, t->n);
	rows = cdp_store_run(&read_plan, args, NULL, cdp_store_is_frozen(), -1);
	for (int r = 0; r < rows; r++)
	{
		int i = (int) cdp_store_int64(r, 1) - 1;
		CdpTally *tally = &t->all[i];
		CdpTally stored = {.text = tally->text};
		bool isnull;

		stored.times = cdp_store_int64(r, 2);
		stored.ts = cdp_store_int64(r, 3);
		memcpy(stored.key, DatumGetUUIDP(cdp_store_value(r, 4, &isnull))->data, UUID_LEN);
		stored.source = pstrdup(cdp_store_text(r, 5));
		last |= i == t->n - 1;
		cdp_survive_join(tally, &stored);
	}
	SPI_freetuptable(SPI_tuptable);
	return last;
}

/* Forgets the rows of these people, of one trait or (NULL) of all. */
void
cdp_tally_clear(const int64 *profiles, int n, const char *name)
{
	Datum args[2] = {cdp_array_int64(profiles, n)};

	if (name)
		args[1] = CStringGetTextDatum(name);
	cdp_store_run(&clear_plan, args, name ? NULL : " n", false, -1);
}

/* Writes what folding a person left to be written. */
void
cdp_tally_write(const List *pending)
{
	ListCell *lc;

	foreach(lc, pending)
	{
		const CdpPending *p = lfirst(lc);
		Datum args[7] = {Int64GetDatum(p->profile_id), CStringGetTextDatum(p->name)};

		if (p->replaces)
			cdp_tally_clear(&p->profile_id, 1, p->name);
		if (p->n == 0)
			continue;
		as_arrays(p->all, p->n, &args[2]);
		cdp_store_run(&write_plan, args, NULL, false, -1);
	}
}

/* Compares the rows of these people with what folding them left; but for some traits. */
void
cdp_tally_check(const int64 *profiles, int n, const List *pending, Datum but, CdpFound *to)
{
	int total = 0;
	int k = 0;
	CdpTally *all;
	int64 *id;
	const char **name;
	Datum args[9];
	ListCell *lc;

	foreach(lc, pending)
		total += ((CdpPending *) lfirst(lc))->n;
	all = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(CdpTally) * Max(total, 1));
	id = palloc(sizeof(int64) * Max(total, 1));
	name = palloc(sizeof(char *) * Max(total, 1));
	foreach(lc, pending)
	{
		const CdpPending *p = lfirst(lc);

		for (int i = 0; i < p->n; i++)
		{
			id[k] = p->profile_id;
			name[k] = p->name;
			all[k++] = p->all[i];
		}
	}
	args[0] = cdp_array_int64(profiles, n);
	args[1] = cdp_array_int64(id, total);
	args[2] = cdp_array_text(name, total);
	as_arrays(all, total, &args[3]);
	args[8] = but;
	cdp_found_rows(to, cdp_store_run(&check_plan, args, NULL, true, -1));
}
