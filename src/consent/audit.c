/*
 * src/consent/audit.c
 *		Rows of the audit, and their message authentication codes.
 *
 * A row is written in the transaction of the act, so neither is without the
 * other.  It has an HMAC-SHA-256 (RFC 2104, FIPS 180-4; the server's own) of
 * all its columns, under a key that the owner of the storage alone reads, and
 * beside it a row in audit_open, with an HMAC of its own: the queue of what
 * cdp.maintain() has yet to seal, and the proof that a row that is not sealed
 * was there.  Sealing joins rows into a chain afterwards (62_audit.sql), so
 * that writers never wait for each other.
 *
 * A person is named by a keyed hash of her profile id, an act never by the
 * values it was about: the rows may stay when she is erased.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/hmac.h"
#include "common/sha2.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

#include "compat.h"
#include "consent/audit.h"
#include "consent/selfcheck.h"
#include "guc.h"
#include "store.h"

PG_FUNCTION_INFO_V1(cdp_audit);
PG_FUNCTION_INFO_V1(cdp_audit_mac);
PG_FUNCTION_INFO_V1(cdp_audit_of);
PG_FUNCTION_INFO_V1(cdp_verify_audit);

/* Bytes of a detail, as text. */
#define MAX_DETAIL 8192

#define FIELDS 11

static CdpPlan key_plan = {"SELECT k.key FROM cdp_data.audit_key k", 0, {0}, NULL};

static CdpPlan number_plan = {
	"SELECT k.key, nextval('cdp_data.audit_number') FROM cdp_data.audit_key k", 0, {0}, NULL};

static CdpPlan write_plan = {
	"WITH a AS (INSERT INTO cdp_data.audit (audit_id, at, xid, session_role, role, client, "
	"  purpose, clock, action, subject, detail, mac) "
	"  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)) "
	"INSERT INTO cdp_data.audit_open (audit_id, mac) VALUES ($1, $13)",
	13,
	{INT8OID, TIMESTAMPTZOID, INT8OID, NAMEOID, NAMEOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID,
	 UUIDOID, JSONBOID, BYTEAOID, BYTEAOID},
	NULL};

/* Old ids of who was merged count as hers; what she was called then is in the rows. */
static CdpPlan of_plan = {
	"WITH me AS (SELECT coalesce((SELECT m.profile_id FROM cdp_data.profile_merged m "
	"    WHERE m.old_id = $1), $1) AS id), "
	"ids AS (SELECT id FROM me UNION SELECT m.old_id FROM cdp_data.profile_merged m "
	"  WHERE m.profile_id = (SELECT id FROM me)) "
	"SELECT a.audit_id, a.at, a.session_role::text, a.role::text, a.action, a.detail "
	"FROM cdp_data.audit a WHERE a.subject = ANY (ARRAY(SELECT "
	"  encode(substr(cdp.audit_mac('subject', ARRAY[i.id::text]), 1, 16), 'hex')::uuid "
	"  FROM ids i)) ORDER BY a.audit_id",
	1,
	{INT8OID},
	NULL};

static CdpPlan verify_plan = {
	"SELECT t.state, t.audit_id, t.seal, t.detail FROM cdp.find_tampering($1) t "
	"ORDER BY CASE t.state WHEN 'sealed' THEN 1 WHEN 'unsealed' THEN 2 ELSE 0 END, "
	"t.state COLLATE \"C\", t.seal, t.audit_id",
	1,
	{TEXTOID},
	NULL};

/* The key, of a result that has it in column 1. */
static void
take_key(uint8 key[PG_SHA256_DIGEST_LENGTH], int rows)
{
	bool isnull = true;
	bytea *stored = NULL;

	if (rows == 1)
		stored = DatumGetByteaPP(cdp_store_value(0, 1, &isnull));
	if (isnull || VARSIZE_ANY_EXHDR(stored) != PG_SHA256_DIGEST_LENGTH)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("the key of the audit is missing or damaged"),
				 errhint("Restore cdp_data.audit_key from a backup.")));
	memcpy(key, VARDATA_ANY(stored), PG_SHA256_DIGEST_LENGTH);
}

/*
 * HMAC over what kind of thing this is and its fields, each with its length, so
 * that no two lists of fields look alike.  NULL is a field, too.
 */
static bytea *
authenticate(const uint8 key[PG_SHA256_DIGEST_LENGTH], const char *kind,
			 const char *const *fields, int n)
{
	bytea *mac = palloc(VARHDRSZ + PG_SHA256_DIGEST_LENGTH);
	pg_hmac_ctx *ctx;
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfo(&text, "cdp audit 1 %s", kind);
	appendStringInfoChar(&text, '\0');
	for (int i = 0; i < n; i++)
	{
		uint32 length;

		if (fields[i] == NULL)
		{
			appendStringInfoChar(&text, 'n');
			continue;
		}
		appendStringInfoChar(&text, 'v');
		length = pg_hton32((uint32) strlen(fields[i]));
		appendBinaryStringInfo(&text, (char *) &length, sizeof(length));
		appendStringInfoString(&text, fields[i]);
	}
	SET_VARSIZE(mac, VARHDRSZ + PG_SHA256_DIGEST_LENGTH);
	ctx = pg_hmac_create(PG_SHA256);
	if (ctx == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	if (pg_hmac_init(ctx, key, PG_SHA256_DIGEST_LENGTH) < 0 ||
		pg_hmac_update(ctx, (uint8 *) text.data, text.len) < 0 ||
		pg_hmac_final(ctx, (uint8 *) VARDATA(mac), PG_SHA256_DIGEST_LENGTH) < 0)
	{
		pg_hmac_free(ctx);
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not authenticate an audit row")));
	}
	pg_hmac_free(ctx);
	pfree(text.data);
	return mac;
}

static char *
hex(const bytea *mac)
{
	char *text = palloc(PG_SHA256_DIGEST_LENGTH * 2 + 1);

	hex_encode(VARDATA_ANY(mac), PG_SHA256_DIGEST_LENGTH, text);
	text[PG_SHA256_DIGEST_LENGTH * 2] = '\0';
	return text;
}

/* How the session came here: its address would be personal data. */
static const char *
client_class(void)
{
	LOCAL_FCINFO(fcinfo, 0);

	if (MyProcPort == NULL)
		return "background";
	InitFunctionCallInfoData(*fcinfo, NULL, 0, InvalidOid, NULL, NULL);
	(void) inet_client_addr(fcinfo);
	return fcinfo->isnull ? "local" : "network";
}

static const char *
nonempty(const char *setting)
{
	return setting != NULL && setting[0] != '\0' ? setting : NULL;
}

static Datum
name_datum(const char *text)
{
	NameData *name = palloc(sizeof(NameData));

	namestrcpy(name, text);
	return NameGetDatum(name);
}

/*
 * Writes one row for an act of this role; inside cdp_store_enter() or outside.
 * profile_id 0: no person.  detail: a JSON object, without personal data.
 */
void
cdp_audit_act_of(Oid caller, const char *action, int64 profile_id, const char *detail)
{
	CdpStore store;
	CdpResult saved = cdp_store_save_result();
	uint8 key[PG_SHA256_DIGEST_LENGTH];
	Datum args[13];
	char nulls[14] = "             ";
	const char *fields[FIELDS];
	const char *own[2];
	Jsonb *jsonb;
	TimestampTz now = GetCurrentTimestamp();
	uint64 xid;
	int64 id;
	int rows;

	cdp_store_enter(&store);
	rows = cdp_store_run(&number_plan, NULL, NULL, false, -1);
	take_key(key, rows);
	id = cdp_store_int64(0, 2);
	xid = U64FromFullTransactionId(GetTopFullTransactionId());
	jsonb = DatumGetJsonbP(
		DirectFunctionCall1(jsonb_in, CStringGetDatum(detail ? detail : "{}")));

	fields[0] = psprintf(INT64_FORMAT, id);
	fields[1] = psprintf(INT64_FORMAT,
						 now + (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY);
	fields[2] = psprintf(UINT64_FORMAT, xid);
	fields[3] = GetUserNameFromId(GetSessionUserId(), false);
	fields[4] = GetUserNameFromId(caller, false);
	fields[5] = client_class();
	fields[6] = nonempty(cdp_guc_purpose);
	fields[7] = nonempty(cdp_guc_clock);
	fields[8] = action;
	fields[9] = NULL;
	fields[10] = JsonbToCString(NULL, &jsonb->root, VARSIZE(jsonb));
	args[0] = Int64GetDatum(id);
	args[1] = TimestampTzGetDatum(now);
	args[2] = Int64GetDatum((int64) xid);
	args[3] = name_datum(fields[3]);
	args[4] = name_datum(fields[4]);
	for (int i = 5; i <= 8; i++)
	{
		if (fields[i] == NULL)
			nulls[i] = 'n';
		else
			args[i] = CStringGetTextDatum(fields[i]);
	}
	if (profile_id == 0)
		nulls[9] = 'n';
	else
	{
		const char *person[1] = {psprintf(INT64_FORMAT, profile_id)};
		pg_uuid_t *subject = palloc(sizeof(pg_uuid_t));

		memcpy(subject->data, VARDATA(authenticate(key, "subject", person, 1)), UUID_LEN);
		args[9] = UUIDPGetDatum(subject);
		fields[9] = DatumGetCString(DirectFunctionCall1(uuid_out, args[9]));
	}
	args[10] = JsonbPGetDatum(jsonb);
	args[11] = PointerGetDatum(authenticate(key, "row", fields, FIELDS));
	own[0] = fields[0];
	own[1] = hex(DatumGetByteaPP(args[11]));
	args[12] = PointerGetDatum(authenticate(key, "open", own, 2));
	cdp_store_run(&write_plan, args, nulls, false, 1);
	explicit_bzero(key, sizeof(key));
	cdp_store_leave(&store);
	cdp_store_restore_result(saved);
}

/*
 * The same for whoever calls: of functions that became the owner, the role in
 * force outside of them.
 */
void
cdp_audit_act(const char *action, int64 profile_id, const char *detail)
{
	Oid role = GetUserId();

	if (role == cdp_store_owner())
		role = GetOuterUserId();
	cdp_audit_act_of(role, action, profile_id, detail);
}

/* cdp.audit(action, subject, detail) */
Datum
cdp_audit(PG_FUNCTION_ARGS)
{
	char *action;
	char *detail = NULL;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("an act must have a name")));
	action = text_to_cstring(PG_GETARG_TEXT_PP(0));
	if (action[0] == '\0' || strlen(action) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the name of an act must be text of 1 to %d bytes", NAMEDATALEN - 1)));
	if (!PG_ARGISNULL(2))
	{
		Jsonb *jsonb = PG_GETARG_JSONB_P(2);

		detail = JsonbToCString(NULL, &jsonb->root, VARSIZE(jsonb));
		if (!JB_ROOT_IS_OBJECT(jsonb) || strlen(detail) > MAX_DETAIL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the detail of an act must be a JSON object of at most %d bytes",
							MAX_DETAIL)));
	}
	cdp_audit_act(action, PG_ARGISNULL(1) ? 0 : PG_GETARG_INT64(1), detail);
	PG_RETURN_VOID();
}

/* cdp.audit_mac(kind, fields): for those who seal and verify. */
Datum
cdp_audit_mac(PG_FUNCTION_ARGS)
{
	char *kind = text_to_cstring(PG_GETARG_TEXT_PP(0));
	uint8 *key = fcinfo->flinfo->fn_extra;
	Datum *elems;
	bool *nulls;
	int n;
	const char **fields;

	if (key == NULL)
	{
		uint8 fresh[PG_SHA256_DIGEST_LENGTH];
		CdpStore store;

		cdp_store_enter(&store);
		take_key(fresh, cdp_store_run(&key_plan, NULL, NULL, true, -1));
		cdp_store_leave(&store);
		key = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt, sizeof(fresh));
		memcpy(key, fresh, sizeof(fresh));
		fcinfo->flinfo->fn_extra = key;
	}
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &elems, &nulls,
					  &n);
	fields = palloc(sizeof(char *) * Max(n, 1));
	for (int i = 0; i < n; i++)
		fields[i] = nulls[i] ? NULL : TextDatumGetCString(elems[i]);
	PG_RETURN_BYTEA_P(authenticate(key, kind, fields, n));
}

/* cdp.audit_of(profile_id) */
Datum
cdp_audit_of(PG_FUNCTION_ARGS)
{
	Datum args[1] = {PG_GETARG_DATUM(0)};

	cdp_steward_rows(fcinfo, &of_plan, args, NULL, "read the audit of a person");
	return (Datum) 0;
}

/* cdp.verify_audit(head) */
Datum
cdp_verify_audit(PG_FUNCTION_ARGS)
{
	Datum args[1] = {PG_ARGISNULL(0) ? (Datum) 0 : PG_GETARG_DATUM(0)};

	cdp_steward_rows(fcinfo, &verify_plan, args, PG_ARGISNULL(0) ? "n" : " ", "verify the audit");
	return (Datum) 0;
}
