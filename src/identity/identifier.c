/*
 * src/identity/identifier.c
 *		The type cdp.identifier: input, output, parts, order and hash.
 *
 * On disk a value is a varlena whose bytes are the normal form
 * "namespace:value", so that it can be read as text without a conversion.
 * Every way in (text, binary, constructor) goes through the one normaliser of
 * core/text.c; nothing else makes a value, and no cast from text or bytea
 * skips it.
 *
 * Why the comparison and hash functions are LEAKPROOF: they look only at
 * bytes and lengths already in memory, take no branch that raises, and
 * reveal nothing but their result.  (Fetching a damaged out-of-line value can
 * raise, as it does for the server's own leakproof operators on text.)
 *
 * Error messages never contain the value: an e-mail address must not reach
 * the server log.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "common/unicode_norm.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/sortsupport.h"
#include "utils/varlena.h"

#include "compat.h"
#include "identity/identity.h"

PG_FUNCTION_INFO_V1(cdp_identifier_in);
PG_FUNCTION_INFO_V1(cdp_identifier_out);
PG_FUNCTION_INFO_V1(cdp_identifier_recv);
PG_FUNCTION_INFO_V1(cdp_identifier_send);
PG_FUNCTION_INFO_V1(cdp_identifier);
PG_FUNCTION_INFO_V1(cdp_namespace_of);
PG_FUNCTION_INFO_V1(cdp_value_of);
PG_FUNCTION_INFO_V1(cdp_identifier_eq);
PG_FUNCTION_INFO_V1(cdp_identifier_ne);
PG_FUNCTION_INFO_V1(cdp_identifier_lt);
PG_FUNCTION_INFO_V1(cdp_identifier_le);
PG_FUNCTION_INFO_V1(cdp_identifier_gt);
PG_FUNCTION_INFO_V1(cdp_identifier_ge);
PG_FUNCTION_INFO_V1(cdp_identifier_cmp);
PG_FUNCTION_INFO_V1(cdp_identifier_sortsupport);
PG_FUNCTION_INFO_V1(cdp_identifier_hash);
PG_FUNCTION_INFO_V1(cdp_identifier_hash_extended);

/* bytes of a character, told by its first byte; the rest is checked later */
static size_t
utf8_width(unsigned char lead)
{
	return lead < 0x80 ? 1 : lead < 0xE0 ? 2 :
						 lead < 0xF0	 ? 3 :
										   4;
}

/*
 * NFKC by the server's own tables, or the form that "arg" points to.  Normal
 * forms of assigned characters never change between Unicode versions, so an
 * upgrade keeps stored values right.
 */
static bool
server_normalize(void *arg, const char *in, size_t in_len,
				 char *out, size_t out_size, size_t *out_len)
{
	pg_wchar *chars = palloc((in_len + 1) * sizeof(pg_wchar));
	pg_wchar *result;
	size_t n = 0;
	size_t used = 0;
	bool fits = true;
	UnicodeNormalizationForm form =
		arg != NULL ? *(const UnicodeNormalizationForm *) arg : UNICODE_NFKC;

	for (size_t i = 0; i < in_len;)
	{
		const unsigned char *c = (const unsigned char *) in + i;
		size_t width = utf8_width(*c);

		if (width > in_len - i || !pg_utf8_islegal(c, (int) width))
		{
			pfree(chars);
			return false;
		}
		chars[n++] = utf8_to_unicode(c);
		i += width;
	}
	chars[n] = 0;

	result = unicode_normalize(form, chars);
	for (pg_wchar *p = result; *p != 0; p++)
	{
		unsigned char utf8[4];
		size_t width;

		unicode_to_utf8(*p, utf8);
		width = utf8_width(utf8[0]);
		if (width > out_size - used)
		{
			fits = false;
			break;
		}
		memcpy(out + used, utf8, width);
		used += width;
	}
	pfree(result);
	pfree(chars);
	*out_len = used;
	return fits;
}

/*
 * NFKC for text in the encoding of the database; none if that is not UTF-8.
 */
CdpCoreNfkc
cdp_database_nfkc(void)
{
	CdpCoreNfkc nfkc = {NULL, NULL};

	if (GetDatabaseEncoding() == PG_UTF8)
		nfkc.normalize = server_normalize;
	return nfkc;
}

/*
 * The same for NFC, which only composes.
 */
CdpCoreNfkc
cdp_database_nfc(void)
{
	static UnicodeNormalizationForm form = UNICODE_NFC;
	CdpCoreNfkc nfc = cdp_database_nfkc();

	nfc.arg = &form;
	return nfc;
}

/*
 * Append the normal form of an identifier given in two parts to "out".
 * Returns false with a reason, and appends nothing, if there is none; never
 * raises because of the content.
 */
bool
cdp_identifier_normalize(const char *ns, int ns_len,
						 const char *value, int value_len,
						 StringInfo out, const char **reason)
{
	CdpCoreNfkc nfkc = cdp_database_nfkc();
	char buf[CDP_MAX_IDENTIFIER_BYTES];
	size_t len;

	if (!cdp_core_identifier_normalize(ns, (size_t) ns_len,
									   value, (size_t) value_len,
									   &nfkc, buf, &len, reason))
		return false;
	appendBinaryStringInfo(out, buf, (int) len);
	return true;
}

/*
 * The same for one text "namespace:value".
 */
bool
cdp_identifier_parse(const char *text, int len, StringInfo out,
					 const char **reason)
{
	CdpCoreNfkc nfkc = cdp_database_nfkc();
	char buf[CDP_MAX_IDENTIFIER_BYTES];
	size_t out_len;

	if (!cdp_core_identifier_parse(text, (size_t) len, &nfkc,
								   buf, &out_len, reason))
		return false;
	appendBinaryStringInfo(out, buf, (int) out_len);
	return true;
}

/*
 * The parts of an identifier in normal form; false if it has not the shape of
 * one.  The parts point into "text".
 */
bool
cdp_identifier_split(const char *text, int len, CdpIdentifierRef *ref)
{
	size_t ns_len;

	if (!cdp_core_identifier_split(text, (size_t) len, &ns_len))
		return false;
	ref->ns = text;
	ref->ns_len = (int) ns_len;
	ref->value = text + ns_len + 1;
	ref->value_len = len - (int) ns_len - 1;
	return true;
}

/*
 * Normalise into a varlena in the current context; NULL with a reason if the
 * content is refused.
 */
static text *
make_identifier(const char *text_form, int len, const char **reason)
{
	CdpCoreNfkc nfkc = cdp_database_nfkc();
	char buf[CDP_MAX_IDENTIFIER_BYTES];
	size_t out_len;

	if (!cdp_core_identifier_parse(text_form, (size_t) len, &nfkc,
								   buf, &out_len, reason))
		return NULL;
	return cstring_to_text_with_len(buf, (int) out_len);
}

/*
 * The parts of a stored value.  Raises if it is damaged.
 */
static CdpIdentifierRef
stored_parts(text *identifier)
{
	CdpIdentifierRef ref;

	if (!cdp_identifier_split(VARDATA_ANY(identifier),
							  VARSIZE_ANY_EXHDR(identifier), &ref))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("stored identifier is damaged")));
	return ref;
}

Datum
cdp_identifier_in(PG_FUNCTION_ARGS)
{
	char *str = PG_GETARG_CSTRING(0);
	const char *reason;
	text *result = make_identifier(str, (int) strlen(str), &reason);

	if (result == NULL)
		cdp_ereturn(cdp_escontext(fcinfo), (Datum) 0,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("invalid identifier"),
					 errdetail("The %s.", reason),
					 errhint("Write \"namespace:value\", for example "
							 "\"email:ada@example.com\".")));
	PG_RETURN_TEXT_P(result);
}

Datum
cdp_identifier_out(PG_FUNCTION_ARGS)
{
	PG_RETURN_CSTRING(TextDatumGetCString(PG_GETARG_DATUM(0)));
}

Datum
cdp_identifier_recv(PG_FUNCTION_ARGS)
{
	StringInfo buf = (StringInfo) PG_GETARG_POINTER(0);
	int len;
	char *str = pq_getmsgtext(buf, buf->len - buf->cursor, &len);
	const char *reason;
	text *result = make_identifier(str, len, &reason);

	if (result == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid identifier"),
				 errdetail("The %s.", reason)));
	pfree(str);
	PG_RETURN_TEXT_P(result);
}

Datum
cdp_identifier_send(PG_FUNCTION_ARGS)
{
	text *identifier = PG_GETARG_TEXT_PP(0);
	StringInfoData buf;

	pq_begintypsend(&buf);
	pq_sendtext(&buf, VARDATA_ANY(identifier), VARSIZE_ANY_EXHDR(identifier));
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/*
 * cdp.identifier(namespace, value)
 */
Datum
cdp_identifier(PG_FUNCTION_ARGS)
{
	text *ns = PG_GETARG_TEXT_PP(0);
	text *value = PG_GETARG_TEXT_PP(1);
	StringInfoData buf;
	const char *reason;

	initStringInfo(&buf);
	if (!cdp_identifier_normalize(VARDATA_ANY(ns), VARSIZE_ANY_EXHDR(ns),
								  VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value),
								  &buf, &reason))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid identifier"),
				 errdetail("The %s.", reason)));
	PG_RETURN_TEXT_P(cstring_to_text_with_len(buf.data, buf.len));
}

Datum
cdp_namespace_of(PG_FUNCTION_ARGS)
{
	CdpIdentifierRef ref = stored_parts(PG_GETARG_TEXT_PP(0));

	PG_RETURN_TEXT_P(cstring_to_text_with_len(ref.ns, ref.ns_len));
}

Datum
cdp_value_of(PG_FUNCTION_ARGS)
{
	CdpIdentifierRef ref = stored_parts(PG_GETARG_TEXT_PP(0));

	PG_RETURN_TEXT_P(cstring_to_text_with_len(ref.value, ref.value_len));
}

/* compare the two arguments, and free what detoasting copied */
static int
compare_args(FunctionCallInfo fcinfo)
{
	text *a = PG_GETARG_TEXT_PP(0);
	text *b = PG_GETARG_TEXT_PP(1);
	CdpIdentifierText a_text = {VARDATA_ANY(a), VARSIZE_ANY_EXHDR(a)};
	CdpIdentifierText b_text = {VARDATA_ANY(b), VARSIZE_ANY_EXHDR(b)};
	int cmp = cdp_identifier_text_cmp(a_text, b_text);

	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return cmp;
}

Datum
cdp_identifier_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) == 0);
}

Datum
cdp_identifier_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) != 0);
}

Datum
cdp_identifier_lt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) < 0);
}

Datum
cdp_identifier_le(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) <= 0);
}

Datum
cdp_identifier_gt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) > 0);
}

Datum
cdp_identifier_ge(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_args(fcinfo) >= 0);
}

Datum
cdp_identifier_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(compare_args(fcinfo));
}

/*
 * Our order is that of text in the C collation (bytes, then length), so the
 * server's comparator serves, abbreviated keys included.
 */
Datum
cdp_identifier_sortsupport(PG_FUNCTION_ARGS)
{
	SortSupport ssup = (SortSupport) PG_GETARG_POINTER(0);
	MemoryContext old = MemoryContextSwitchTo(ssup->ssup_cxt);

	varstr_sortsupport(ssup, TEXTOID, C_COLLATION_OID);
	MemoryContextSwitchTo(old);
	PG_RETURN_VOID();
}

Datum
cdp_identifier_hash(PG_FUNCTION_ARGS)
{
	text *key = PG_GETARG_TEXT_PP(0);
	Datum hash = hash_any((unsigned char *) VARDATA_ANY(key),
						  VARSIZE_ANY_EXHDR(key));

	PG_FREE_IF_COPY(key, 0);
	return hash;
}

Datum
cdp_identifier_hash_extended(PG_FUNCTION_ARGS)
{
	text *key = PG_GETARG_TEXT_PP(0);
	Datum hash = hash_any_extended((unsigned char *) VARDATA_ANY(key),
								   VARSIZE_ANY_EXHDR(key),
								   (uint64) PG_GETARG_INT64(1));

	PG_FREE_IF_COPY(key, 0);
	return hash;
}
