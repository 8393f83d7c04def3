/*
 * src/consent/suppress.c
 *		Identifiers of people who were erased: known by a keyed hash alone.
 *
 * A plain hash of an e-mail address or a phone number is found by trying all
 * of them; under a secret key it is not.  The key is a row of
 * cdp_data.suppression_key, which nobody but the owner reads, made by
 * cdp.init(): so every backup has it, and tokens that were kept elsewhere
 * still fit after one was restored.
 *
 * A value is an erased person's from one time to another: who bore it before
 * or bears it after is somebody else (identity/bearer.c).
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hmac.h"
#include "common/sha2.h"
#include "fmgr.h"
#include "utils/builtins.h"

#include "cdp.h"
#include "compat.h"
#include "consent/suppress.h"
#include "identity/identity.h"
#include "store.h"

PG_FUNCTION_INFO_V1(cdp_subject_token);

/* Longer keys are not made. */
#define MAX_KEY 64

static struct
{
	uint64 generation;
	bool any;
	int len;
	uint8 key[MAX_KEY];
} known;

/* A token is a primary key's first column: probes by key. */
static CdpPlan find_plan = {
	"SELECT u.i FROM unnest($1, $2) WITH ORDINALITY u (token, at, i) "
	"WHERE EXISTS (SELECT FROM cdp_data.suppression s WHERE s.token = ANY (ARRAY[u.token]) "
	"  AND u.at > s.from_ts AND u.at <= s.until_ts) ORDER BY u.i",
	2,
	{BYTEAARRAYOID, TIMESTAMPTZARRAYOID},
	NULL};

static CdpPlan profile_plan = {
	"SELECT FROM cdp_data.erased_profile e WHERE e.profile_id = $1", 1, {INT8OID}, NULL};

static bool
is_loaded(void)
{
	return known.len > 0 && known.generation == cdp_store_generation();
}

/* Brings the key, and whether there is anything to look for, up to date. */
static void
load(void)
{
	while (!is_loaded())
	{
		uint64 generation = cdp_store_generation();
		CdpResult saved = cdp_store_save_result();
		int len = 0;

		known.any = false;
		if (cdp_store_run_latest("SELECT k.secret, k.used FROM cdp_data.suppression_key k") > 0)
		{
			bool isnull;
			bytea *secret = DatumGetByteaPP(cdp_store_value(0, 1, &isnull));

			len = (int) VARSIZE_ANY_EXHDR(secret);
			if (len < PG_SHA256_DIGEST_LENGTH || len > MAX_KEY)
				elog(ERROR, "cdp: the key of erasures is not one");
			memcpy(known.key, VARDATA_ANY(secret), len);
			known.any = DatumGetBool(cdp_store_value(0, 2, &isnull));
		}
		cdp_store_restore_result(saved);
		known.len = len;
		known.generation = generation;
		if (len == 0)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("cdp_data.suppression_key has no row"),
					 errhint("It came with the backup: restore it from there. Without it erased "
							 "people are not known again.")));
	}
}

bool
cdp_suppress_any(void)
{
	load();
	return known.any;
}

/* The token under the key as it was read last. */
static void
make_token(const char *ns, const char *value, uint8 *token)
{
	static const uint8 separator = 0x1F;
	pg_hmac_ctx *ctx = pg_hmac_create(PG_SHA256);
	bool done;

	if (ctx == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	done = pg_hmac_init(ctx, known.key, known.len) >= 0 &&
		   pg_hmac_update(ctx, (const uint8 *) ns, strlen(ns)) >= 0 &&
		   pg_hmac_update(ctx, &separator, 1) >= 0 &&
		   pg_hmac_update(ctx, (const uint8 *) value, strlen(value)) >= 0 &&
		   pg_hmac_final(ctx, token, CDP_TOKEN_LEN) >= 0;
	pg_hmac_free(ctx);
	/* never a token that everybody would have */
	if (!done)
		elog(ERROR, "cdp: an identifier could not be hashed");
}

void
cdp_suppress_token(const char *ns, const char *value, uint8 *token)
{
	load();
	make_token(ns, value, token);
}

bool
cdp_suppress_find(CdpSuppressProbe *probes, int n)
{
	Datum *tokens = palloc(sizeof(Datum) * Max(n, 1));
	TimestampTz *at = palloc(sizeof(TimestampTz) * Max(n, 1));
	Datum args[2];
	int rows;

	if (n == 0)
		return false;
	for (int i = 0; i < n; i++)
	{
		bytea *token = palloc(VARHDRSZ + CDP_TOKEN_LEN);

		SET_VARSIZE(token, VARHDRSZ + CDP_TOKEN_LEN);
		cdp_suppress_token(probes[i].ns, probes[i].value, (uint8 *) VARDATA(token));
		tokens[i] = PointerGetDatum(token);
		at[i] = probes[i].at;
		probes[i].hit = false;
	}
	args[0] = cdp_array_datums(tokens, NULL, n, BYTEAOID);
	args[1] = cdp_array_timestamptz(at, n);
	rows = cdp_store_run(&find_plan, args, NULL, false, -1);
	for (int r = 0; r < rows; r++)
		probes[cdp_store_int64(r, 1) - 1].hit = true;
	return rows > 0;
}

bool
cdp_suppress_profile(int64 profile_id)
{
	Datum args[1] = {Int64GetDatum(profile_id)};

	return cdp_store_run(&profile_plan, args, NULL, false, -1) > 0;
}

/* cdp.subject_token(namespace, value): the value is in its normal form; for the owner alone. */
Datum
cdp_subject_token(PG_FUNCTION_ARGS)
{
	char *ns = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char *value = text_to_cstring(PG_GETARG_TEXT_PP(1));
	bytea *token = palloc(VARHDRSZ + CDP_TOKEN_LEN);

	/* many are asked for one after the other: what is known is not read again */
	if (!is_loaded())
	{
		CdpStore store;

		cdp_store_enter(&store);
		load();
		cdp_store_leave(&store);
	}
	SET_VARSIZE(token, VARHDRSZ + CDP_TOKEN_LEN);
	make_token(ns, value, (uint8 *) VARDATA(token));
	PG_RETURN_BYTEA_P(token);
}
