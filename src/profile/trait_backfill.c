/*
 * src/profile/trait_backfill.c
 *		A trait is declared on data that is there: cdp.backfill_trait().
 *
 * Its values move from the undeclared traits to the column.  Where the column
 * survives by another rule ("oldest"), or the value that survived does not fit
 * its type, the trait is folded again from the events.  The storage is locked
 * against writers (cdp.lock_storage()).
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "compat.h"
#include "profile/profile.h"
#include "profile/survive.h"
#include "profile/trait_fold.h"
#include "progress.h"
#include "store.h"

PG_FUNCTION_INFO_V1(cdp_backfill_trait);

static CdpPlan unmark_plan = {
	"UPDATE cdp_data.profile SET trait_meta = trait_meta - $1 WHERE profile_id = ANY ($2)",
	2,
	{TEXTOID, INT8ARRAYOID},
	NULL};

/* The value goes with its mark: nothing may fold into it any more. */
static void
empty_column(const char *name, Datum profiles)
{
	const char *column = quote_identifier(name);
	char *sql = psprintf("UPDATE cdp_data.profile SET %s = NULL WHERE profile_id = ANY ($1) "
						 "AND %s IS NOT NULL",
						 column, column);
	Oid types[1] = {INT8ARRAYOID};

	if (SPI_execute_with_args(sql, 1, types, &profiles, NULL, false, 0) < 0)
		elog(ERROR, "cdp: a trait could not be emptied");
}

/*
 * Folds a declared trait of these people again from their events: where its
 * survivorship is not that of undeclared traits, or where the survivor does
 * not fit the type and an earlier value does.
 */
void
cdp_trait_refold(const char *name, const int64 *profiles, int n)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "cdp trait refold",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old;
	CdpTraitChange *changes;
	int *refused;
	int rows;
	Datum args[2];

	if (n == 0)
		return;
	old = MemoryContextSwitchTo(context);
	args[0] = CStringGetTextDatum(name);
	args[1] = cdp_array_int64(profiles, n);
	empty_column(name, args[1]);
	cdp_store_run(&unmark_plan, args, NULL, false, -1);
	cdp_tally_clear(profiles, n, name);
	rows = cdp_trait_history(name, profiles, n, &changes);
	refused = palloc(sizeof(int) * Max(rows, 1));
	(void) cdp_profile_fold(changes, rows, refused);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/* Another rule than that of undeclared traits: everybody who has the trait, by thousands. */
static void
refold_everybody(const char *name)
{
	static CdpPlan next_plan = {
		"SELECT p.profile_id FROM cdp_data.profile p WHERE p.profile_id > $1 "
		"AND p.trait_meta ? $2 ORDER BY p.profile_id LIMIT 1000",
		2,
		{INT8OID, TEXTOID},
		NULL};
	int64 from = 0;

	for (;;)
	{
		Datum args[2] = {Int64GetDatum(from), CStringGetTextDatum(name)};
		int n = cdp_store_run(&next_plan, args, NULL, false, -1);
		int64 *profiles;

		CHECK_FOR_INTERRUPTS();
		if (n == 0)
			break;
		profiles = palloc(sizeof(int64) * n);
		for (int i = 0; i < n; i++)
			profiles[i] = cdp_store_int64(i, 1);
		from = profiles[n - 1];
		SPI_freetuptable(SPI_tuptable);
		cdp_trait_refold(name, profiles, n);
		pfree(profiles);
	}
}

/*
 * cdp.backfill_trait(name): a trait was declared; its values move from the
 * undeclared traits to the column.  Values that do not fit stay behind in
 * cdp.rejected, with the trait's name and the profile.
 */
Datum
cdp_backfill_trait(PG_FUNCTION_ARGS)
{
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	CdpStore store;
	int64 moved = 0;
	CdpTrait copy;
	const CdpTrait *trait;
	bool anew;
	StringInfoData sql;
	Portal cursor;
	SPIPlanPtr plan;
	Datum args[1];
	Oid types[1] = {TEXTOID};
	SPIPlanPtr move;
	SPIPlanPtr refuse;
	Oid move_types[3] = {INT8OID, TEXTOID, TEXTOID};
	Oid refuse_types[3] = {INT8OID, TEXTOID, JSONBOID};
	CdpProgress progress;

	cdp_store_enter(&store);
	trait = cdp_trait_find(name, (int) strlen(name));
	if (trait == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("trait \"%s\" is not declared", name)));
	/* the configuration may be read anew on the way */
	copy = *trait;
	copy.name = name;
	copy.type_name = pstrdup(trait->type_name);
	trait = &copy;
	anew = trait->survival != CDP_SURVIVE_LATEST || trait->ignore_empty;
	initStringInfo(&sql);
	appendStringInfo(&sql,
					 "UPDATE cdp_data.profile SET %s = $2::%s, traits = traits - $3 WHERE "
					 "profile_id = $1",
					 quote_identifier(trait->name), trait->type_name);
	move = SPI_prepare(sql.data, 3, move_types);
	refuse = SPI_prepare("INSERT INTO cdp_data.rejected (rejected_at, last_at, source, "
						 "message_id, reason, detail, payload, recorded_by) "
						 "VALUES (statement_timestamp(), statement_timestamp(), "
						 "'cdp.define_trait', $1::text || ':' || $2, "
						 "'invalid_trait', 'trait \"' || $2 || '\" was declared with a type "
						 "its value does not fit', "
						 "jsonb_build_object('profile_id', $1, 'traits', "
						 "jsonb_build_object($2, $3)), session_user) "
						 "ON CONFLICT (source, message_id, reason) DO NOTHING",
						 3, refuse_types);
	plan = SPI_prepare("SELECT profile_id, traits -> $1 FROM cdp_data.profile "
					   "WHERE traits OPERATOR(pg_catalog.?) $1",
					   1, types);
	if (move == NULL || refuse == NULL || plan == NULL)
		elog(ERROR, "cdp: could not prepare the backfill of a trait");
	args[0] = CStringGetTextDatum(name);
	cdp_progress_start(&progress, CDP_WORK_TRAIT, 0);
	cursor = SPI_cursor_open(NULL, plan, args, NULL, false);
	for (;;)
	{
		SPITupleTable *batch;
		uint64 n;
		int64 *misfits;
		int nmisfits;

		SPI_cursor_fetch(cursor, true, 1000);
		batch = SPI_tuptable;
		n = SPI_processed;
		if (n == 0)
			break;
		misfits = palloc(sizeof(int64) * n);
		nmisfits = 0;
		for (uint64 r = 0; r < n; r++)
		{
			bool isnull;
			Datum values[3];
			char nulls[4] = "   ";
			Datum d;
			JsonbValue value;
			List *texts;
			const char *text;

			CHECK_FOR_INTERRUPTS();
			values[0] = SPI_getbinval(batch->vals[r], batch->tupdesc, 1, &isnull);
			d = SPI_getbinval(batch->vals[r], batch->tupdesc, 2, &isnull);
			cdp_trait_value(DatumGetJsonbP(d), &value);
			if (cdp_trait_texts(trait, &value, &texts))
			{
				/* a union's comes from the events */
				text = trait->survival == CDP_SURVIVE_UNION ? NULL : linitial(texts);
				values[1] = text ? CStringGetTextDatum(text) : (Datum) 0;
				if (text == NULL)
					nulls[1] = 'n';
				values[2] = CStringGetTextDatum(name);
				SPI_execute_plan(move, values, nulls, false, 0);
				moved++;
			}
			else
			{
				values[1] = CStringGetTextDatum(name);
				values[2] = d;
				SPI_execute_plan(refuse, values, nulls, false, 0);
				SPI_execute_with_args("UPDATE cdp_data.profile SET traits = traits - $2 "
									  "WHERE profile_id = $1",
									  2, (Oid[]){INT8OID, TEXTOID}, values, NULL, false, 0);
				misfits[nmisfits++] = DatumGetInt64(values[0]);
			}
		}
		SPI_freetuptable(batch);
		if (!anew)
			cdp_trait_refold(name, misfits, nmisfits);
		pfree(misfits);
		cdp_progress_set(&progress, progress.done + (int64) n);
	}
	SPI_cursor_close(cursor);
	if (anew)
		refold_everybody(name);
	cdp_progress_end(&progress);
	cdp_store_leave(&store);
	PG_RETURN_INT64(moved);
}
