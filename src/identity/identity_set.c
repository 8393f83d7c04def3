/*
 * src/identity/identity_set.c
 *		The type cdp.identity_set: layout, making, input, output, casts.
 *
 * A sorted set of distinct identifiers in normal form, in one varlena:
 *
 *		+-----------+---------+-------+----------+-------+------------+-------+
 *		| vl_len  4 | version | flags | reserved | count | end[count] | bytes |
 *		|           |    1    |   1   |    2     |   4   |   4 each   |       |
 *		+-----------+---------+-------+----------+-------+------------+-------+
 *
 * version is 1; flags and reserved are zero.  end[i] is where identifier i
 * ends within bytes; it starts at end[i - 1], or at 0.  The identifiers are
 * strictly ascending in the order of the type, so equal sets have equal
 * bytes and any one is found by binary search.
 *
 * Integers are in the machine's order, as everywhere in a data directory;
 * the binary wire format is in network order.
 *
 * Every function reads the header through cdp_identity_set_from_datum(),
 * which checks version, reserved bits and that the offsets lie within the
 * value.  cdp_identity_set_validate() proves the rest.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "compat.h"
#include "identity/identity.h"

struct CdpIdentitySet
{
	int32 vl_len_; /* varlena header, do not touch directly */
	uint8 version; /* SET_VERSION */
	uint8 flags; /* must be zero */
	uint16 reserved; /* must be zero */
	uint32 count; /* 0 .. CDP_MAX_IDENTIFIERS_IN_SET */
	uint32 end[FLEXIBLE_ARRAY_MEMBER];
};

#define SET_VERSION 1
#define SET_HEADER_SIZE offsetof(CdpIdentitySet, end)

/* smallest identifier on the wire: its length, then "a:b" */
#define MIN_WIRE_BYTES (sizeof(int32) + 3)

/* why a set could not be made, which decides the SQLSTATE */
typedef enum SetStatus
{
	SET_OK,
	SET_BAD, /* not a set, or not identifiers */
	SET_NULL, /* an element is null */
	SET_TOO_BIG /* beyond a limit */
} SetStatus;

/* identifiers in order of arrival, to be sorted at the end */
typedef struct Collector
{
	StringInfoData bytes;
	int *ends;
	int count;
	int room;
} Collector;

PG_FUNCTION_INFO_V1(cdp_identity_set_in);
PG_FUNCTION_INFO_V1(cdp_identity_set_out);
PG_FUNCTION_INFO_V1(cdp_identity_set_recv);
PG_FUNCTION_INFO_V1(cdp_identity_set_send);
PG_FUNCTION_INFO_V1(cdp_identity_set_from_identifier);
PG_FUNCTION_INFO_V1(cdp_identity_set_from_array);
PG_FUNCTION_INFO_V1(cdp_identity_set_to_array);
PG_FUNCTION_INFO_V1(cdp_cardinality);
PG_FUNCTION_INFO_V1(cdp_identifiers_of);

static char *
set_bytes(const CdpIdentitySet *set)
{
	return (char *) &set->end[set->count];
}

static bool
check_header(const CdpIdentitySet *set, Size size, const char **reason)
{
	if (size < SET_HEADER_SIZE)
		*reason = "value is shorter than its header";
	else if (set->version != SET_VERSION)
		*reason = "version is unknown";
	else if (set->flags != 0 || set->reserved != 0)
		*reason = "reserved bits are not zero";
	else if (set->count > CDP_MAX_IDENTIFIERS_IN_SET)
		*reason = "count is above the limit";
	else if (set->count > (size - SET_HEADER_SIZE) / sizeof(uint32))
		*reason = "value is shorter than its offsets";
	else if ((set->count == 0 ? 0 : set->end[set->count - 1]) !=
			 size - SET_HEADER_SIZE - set->count * sizeof(uint32))
		*reason = "last offset is not the end of the value";
	else
		return true;
	return false;
}

/*
 * Prove every invariant of "size" aligned bytes that claim to be a set.
 */
bool
cdp_identity_set_validate(const void *bytes, Size size, const char **reason)
{
	const CdpIdentitySet *set = bytes;
	uint32 start = 0;

	if (!check_header(set, size, reason))
		return false;
	for (uint32 i = 0; i < set->count; i++)
	{
		CdpIdentifierRef ref;

		if (set->end[i] <= start || set->end[i] > set->end[set->count - 1])
		{
			*reason = "offsets are not ascending";
			return false;
		}
		if (!cdp_identifier_split(set_bytes(set) + start,
								  (int) (set->end[i] - start), &ref))
		{
			*reason = "set has an element that is no identifier";
			return false;
		}
		if (i > 0 &&
			cdp_identifier_text_cmp(cdp_identity_set_item(set, i - 1),
									cdp_identity_set_item(set, i)) >= 0)
		{
			*reason = "identifiers are not ascending";
			return false;
		}
		start = set->end[i];
	}
	return true;
}

#ifdef USE_ASSERT_CHECKING
static bool
is_valid(const CdpIdentitySet *set)
{
	const char *reason;

	return cdp_identity_set_validate(set, VARSIZE(set), &reason);
}
#endif

/*
 * The set of a datum, detoasted and aligned; a copy if it has to be.  Raises
 * if the value is damaged, which says nothing about its content.
 */
CdpIdentitySet *
cdp_identity_set_from_datum(Datum datum)
{
	CdpIdentitySet *set = (CdpIdentitySet *) PG_DETOAST_DATUM(datum);
	const char *reason;

	if (!check_header(set, VARSIZE(set), &reason))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("stored identity set is damaged"),
				 errdetail("The %s.", reason)));
	Assert(is_valid(set));
	return set;
}

int
cdp_identity_set_count(const CdpIdentitySet *set)
{
	return (int) set->count;
}

/*
 * Identifier i of a set, pointing into the set.  An offset that damage has put
 * out of order gives an empty text, never memory outside the set.
 */
CdpIdentifierText
cdp_identity_set_item(const CdpIdentitySet *set, int i)
{
	uint32 start = (i == 0) ? 0 : set->end[i - 1];
	uint32 end = set->end[i];
	CdpIdentifierText item = {set_bytes(set), 0};

	if (start <= end && end <= set->end[set->count - 1])
	{
		item.data += start;
		item.len = (int) (end - start);
	}
	return item;
}

const char *
cdp_identity_set_get(const CdpIdentitySet *set, int i, int *len)
{
	CdpIdentifierText item = cdp_identity_set_item(set, i);

	*len = item.len;
	return item.data;
}

/*
 * Size of a set of n identifiers that take "bytes" together.  64 bits, so
 * that a caller may ask before it knows whether the limits hold.
 */
Size
cdp_identity_set_size(int64 n, int64 bytes)
{
	return SET_HEADER_SIZE + n * sizeof(uint32) + bytes;
}

static SetStatus
check_limits(int64 n, int64 bytes, const char **reason)
{
	if (n > CDP_MAX_IDENTIFIERS_IN_SET)
		*reason = "set would have more than 1000000 identifiers";
	else if (cdp_identity_set_size(n, bytes) > CDP_MAX_IDENTITY_SET_BYTES)
		*reason = "set would take 256 MB or more";
	else
		return SET_OK;
	return SET_TOO_BIG;
}

static void
raise_too_big(const char *reason)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("identity set is too large"),
			 errdetail("The %s.", reason),
			 errhint("Look for an identifier that many people share, such as a kiosk device.")));
}

/*
 * Raise if a set of that size would be beyond a limit.
 */
void
cdp_identity_set_check_limits(int64 n, int64 bytes)
{
	const char *reason;

	if (check_limits(n, bytes, &reason) != SET_OK)
		raise_too_big(reason);
}

/*
 * Write the set of n sorted, distinct identifiers into "size" aligned bytes,
 * where size is what cdp_identity_set_size() said.
 */
void
cdp_identity_set_write(void *dest, Size size,
					   const CdpIdentifierText *items, int n)
{
	CdpIdentitySet *set = dest;
	uint32 end = 0;

	memset(set, 0, SET_HEADER_SIZE);
	SET_VARSIZE(set, size);
	set->version = SET_VERSION;
	set->count = (uint32) n;
	for (int i = 0; i < n; i++)
	{
		memcpy(set_bytes(set) + end, items[i].data, items[i].len);
		end += (uint32) items[i].len;
		set->end[i] = end;
	}
	Assert(is_valid(set));
}

/*
 * A new set of n sorted, distinct identifiers.  Raises beyond the limits.
 */
CdpIdentitySet *
cdp_identity_set_build(const CdpIdentifierText *items, int n)
{
	CdpIdentitySet *set;
	int64 bytes = 0;
	Size size;

	for (int i = 0; i < n; i++)
		bytes += items[i].len;
	cdp_identity_set_check_limits(n, bytes);
	size = cdp_identity_set_size(n, bytes);
	set = palloc(size);
	cdp_identity_set_write(set, size, items, n);
	return set;
}

/* -- making a set from identifiers in any order -- */

static void
collector_init(Collector *collector)
{
	initStringInfo(&collector->bytes);
	collector->count = 0;
	collector->room = 8;
	collector->ends = palloc(collector->room * sizeof(int));
}

static void
collector_free(Collector *collector)
{
	pfree(collector->bytes.data);
	pfree(collector->ends);
}

/*
 * Add one identifier in text form.  The limit counts repeated ones too: the
 * input must be bounded before it is sorted.  (A million identifiers of the
 * longest kind are 550 MB, within what a StringInfo holds.)
 */
static SetStatus
collect(Collector *collector, const char *text_form, int len,
		const char **reason)
{
	if ((collector->count & 0xFFFF) == 0)
		CHECK_FOR_INTERRUPTS();
	if (collector->count == CDP_MAX_IDENTIFIERS_IN_SET)
	{
		*reason = "set would have more than 1000000 identifiers";
		return SET_TOO_BIG;
	}
	if (!cdp_identifier_parse(text_form, len, &collector->bytes, reason))
		return SET_BAD;
	if (collector->count == collector->room)
	{
		collector->room *= 2;
		collector->ends = repalloc(collector->ends,
								   collector->room * sizeof(int));
	}
	collector->ends[collector->count++] = collector->bytes.len;
	return SET_OK;
}

static int
item_cmp(const void *a, const void *b)
{
	return cdp_identifier_text_cmp(*(const CdpIdentifierText *) a,
								   *(const CdpIdentifierText *) b);
}

/*
 * Sort, drop repeated identifiers, build.
 */
static SetStatus
collector_finish(Collector *collector, CdpIdentitySet **out,
				 const char **reason)
{
	CdpIdentifierText *items = palloc((collector->count + 1) * sizeof(*items));
	int64 bytes = 0;
	int n = 0;
	SetStatus status;

	for (int i = 0; i < collector->count; i++)
	{
		int start = (i == 0) ? 0 : collector->ends[i - 1];

		items[i].data = collector->bytes.data + start;
		items[i].len = collector->ends[i] - start;
	}
	qsort(items, collector->count, sizeof(*items), item_cmp);
	for (int i = 0; i < collector->count; i++)
	{
		if (n > 0 && cdp_identifier_text_cmp(items[n - 1], items[i]) == 0)
			continue;
		items[n++] = items[i];
		bytes += items[i].len;
	}

	status = check_limits(n, bytes, reason);
	if (status == SET_OK)
		*out = cdp_identity_set_build(items, n);
	pfree(items);
	return status;
}

/* say which element a reason is about */
static void
locate_reason(const char **reason, int element)
{
	*reason = psprintf("%s in element %d", *reason, element);
}

/*
 * The set form "{a:1,b:2}", or one identifier "a:1" by itself.
 */
static SetStatus
parse_text(const char *text_form, int len, CdpIdentitySet **out,
		   const char **reason)
{
	Collector collector;
	SetStatus status = SET_OK;
	int first = 0;

	while (first < len && (text_form[first] == ' ' ||
						   (text_form[first] >= '\t' && text_form[first] <= '\r')))
		first++;

	collector_init(&collector);
	if (first < len && text_form[first] != '{')
		status = collect(&collector, text_form, len, reason);
	else
	{
		CdpCoreSetReader reader;
		char *scratch = palloc(len + 1);
		const char *element;
		size_t element_len;
		CdpCoreSetStatus read;

		cdp_core_set_reader_init(&reader, text_form, len, scratch);
		while ((read = cdp_core_set_reader_next(&reader, &element, &element_len,
												reason)) == CDP_CORE_SET_ELEMENT)
		{
			status = collect(&collector, element, (int) element_len, reason);
			if (status == SET_BAD)
				locate_reason(reason, collector.count + 1);
			if (status != SET_OK)
				break;
		}
		if (read == CDP_CORE_SET_ERROR)
			status = SET_BAD;
		pfree(scratch);
	}
	if (status == SET_OK)
		status = collector_finish(&collector, out, reason);
	collector_free(&collector);
	return status;
}

static SetStatus
parse_array(ArrayType *array, CdpIdentitySet **out, const char **reason)
{
	Collector collector;
	SetStatus status = SET_OK;
	Datum *elements;
	bool *nulls;
	int n;

	Assert(ARR_ELEMTYPE(array) == TEXTOID);
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT,
					  &elements, &nulls, &n);
	collector_init(&collector);
	for (int i = 0; i < n && status == SET_OK; i++)
	{
		text *element;

		if (nulls[i])
		{
			*reason = psprintf("array has a null as element %d", i + 1);
			status = SET_NULL;
			break;
		}
		element = DatumGetTextPP(elements[i]);
		status = collect(&collector, VARDATA_ANY(element),
						 VARSIZE_ANY_EXHDR(element), reason);
		if (status == SET_BAD)
			locate_reason(reason, i + 1);
	}
	if (status == SET_OK)
		status = collector_finish(&collector, out, reason);
	collector_free(&collector);
	pfree(elements);
	pfree(nulls);
	return status;
}

/*
 * A set from its text form, "{a:1,b:2}" or "a:1", in the current context.
 * False with a reason, never an error, when the content is refused.
 */
bool
cdp_identity_set_parse(const char *text, int len, CdpIdentitySet **out,
					   const char **reason)
{
	return parse_text(text, len, out, reason) == SET_OK;
}

/*
 * The same from a text[].
 */
bool
cdp_identity_set_parse_array(ArrayType *array, CdpIdentitySet **out,
							 const char **reason)
{
	return parse_array(array, out, reason) == SET_OK;
}

/* -- input and output -- */

Datum
cdp_identity_set_in(PG_FUNCTION_ARGS)
{
	char *str = PG_GETARG_CSTRING(0);
	CdpIdentitySet *set;
	const char *reason;
	SetStatus status = parse_text(str, (int) strlen(str), &set, &reason);

	if (status == SET_TOO_BIG)
		cdp_ereturn(cdp_escontext(fcinfo), (Datum) 0,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("identity set is too large"),
					 errdetail("The %s.", reason)));
	if (status != SET_OK)
		cdp_ereturn(cdp_escontext(fcinfo), (Datum) 0,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("invalid identity set"),
					 errdetail("The %s.", reason),
					 errhint("Write \"{namespace:value, ...}\", for example "
							 "\"{email:ada@example.com,cookie:c1}\".")));
	PG_RETURN_CDP_IDENTITY_SET_P(set);
}

/*
 * At worst every byte is escaped: twice 256 MB, below what palloc gives.
 */
Datum
cdp_identity_set_out(PG_FUNCTION_ARGS)
{
	CdpIdentitySet *set = PG_GETARG_CDP_IDENTITY_SET_P(0);
	int n = cdp_identity_set_count(set);
	Size size = 3; /* two braces and the terminating NUL */
	char *result;
	char *p;

	for (int i = 0; i < n; i++)
	{
		CdpIdentifierText item = cdp_identity_set_item(set, i);

		size += cdp_core_set_element_write(item.data, item.len, NULL) + 1;
	}
	p = result = palloc(size);
	*p++ = '{';
	for (int i = 0; i < n; i++)
	{
		CdpIdentifierText item = cdp_identity_set_item(set, i);

		if (i > 0)
			*p++ = ',';
		p += cdp_core_set_element_write(item.data, item.len, p);
	}
	*p++ = '}';
	*p = '\0';
	PG_RETURN_CSTRING(result);
}

/*
 * Wire format: int32 count, then for each identifier int32 length and its
 * text in the client's encoding.  Order and normal form are not trusted:
 * everything is normalised and sorted again, so any client may send any
 * order.
 */
Datum
cdp_identity_set_recv(PG_FUNCTION_ARGS)
{
	StringInfo buf = (StringInfo) PG_GETARG_POINTER(0);
	int32 count = (int32) pq_getmsgint(buf, 4);
	Collector collector;
	CdpIdentitySet *set;
	SetStatus status = SET_OK;
	const char *reason = NULL;
#ifdef USE_ASSERT_CHECKING
	const char *ignored;
#endif

	if (count < 0 || count > (buf->len - buf->cursor) / (int) MIN_WIRE_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid identity set"),
				 errdetail("The message announces %d identifiers in %d bytes.",
						   count, buf->len - buf->cursor)));

	collector_init(&collector);
	for (int i = 0; i < count && status == SET_OK; i++)
	{
		int len = (int) pq_getmsgint(buf, 4);
		char *str;
		int str_len;

		if (len < 0 || len > buf->len - buf->cursor)
		{
			reason = psprintf("length of element %d is beyond the message", i + 1);
			status = SET_BAD;
			break;
		}
		str = pq_getmsgtext(buf, len, &str_len);
		status = collect(&collector, str, str_len, &reason);
		if (status == SET_BAD)
			locate_reason(&reason, i + 1);
		pfree(str);
	}
	if (status == SET_OK)
		status = collector_finish(&collector, &set, &reason);
	if (status == SET_TOO_BIG)
		raise_too_big(reason);
	if (status != SET_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid identity set"),
				 errdetail("The %s.", reason)));
	Assert(cdp_identity_set_validate(set, VARSIZE(set), &ignored));
	collector_free(&collector);
	PG_RETURN_CDP_IDENTITY_SET_P(set);
}

Datum
cdp_identity_set_send(PG_FUNCTION_ARGS)
{
	CdpIdentitySet *set = PG_GETARG_CDP_IDENTITY_SET_P(0);
	int n = cdp_identity_set_count(set);
	StringInfoData buf;

	pq_begintypsend(&buf);
	pq_sendint32(&buf, (uint32) n);
	for (int i = 0; i < n; i++)
	{
		CdpIdentifierText item = cdp_identity_set_item(set, i);
		char *str = pg_server_to_client(item.data, item.len);
		int len = (str == item.data) ? item.len : (int) strlen(str);

		pq_sendint32(&buf, (uint32) len);
		pq_sendbytes(&buf, str, len);
		if (str != item.data)
			pfree(str);
	}
	PG_RETURN_BYTEA_P(pq_endtypsend(&buf));
}

/* -- casts and reading -- */

Datum
cdp_identity_set_from_identifier(PG_FUNCTION_ARGS)
{
	text *identifier = PG_GETARG_TEXT_PP(0);
	CdpIdentifierText item = {VARDATA_ANY(identifier),
							  VARSIZE_ANY_EXHDR(identifier)};

	PG_RETURN_CDP_IDENTITY_SET_P(cdp_identity_set_build(&item, 1));
}

Datum
cdp_identity_set_from_array(PG_FUNCTION_ARGS)
{
	CdpIdentitySet *set;
	const char *reason;
	SetStatus status = parse_array(PG_GETARG_ARRAYTYPE_P(0), &set, &reason);

	if (status == SET_TOO_BIG)
		raise_too_big(reason);
	if (status != SET_OK)
		ereport(ERROR,
				(errcode(status == SET_NULL ? ERRCODE_NULL_VALUE_NOT_ALLOWED :
											  ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid identity set"),
				 errdetail("The %s.", reason)));
	PG_RETURN_CDP_IDENTITY_SET_P(set);
}

Datum
cdp_identity_set_to_array(PG_FUNCTION_ARGS)
{
	CdpIdentitySet *set = PG_GETARG_CDP_IDENTITY_SET_P(0);
	int n = cdp_identity_set_count(set);
	Datum *elements;

	if (n == 0)
		PG_RETURN_ARRAYTYPE_P(construct_empty_array(TEXTOID));
	elements = palloc(n * sizeof(Datum));
	for (int i = 0; i < n; i++)
	{
		CdpIdentifierText item = cdp_identity_set_item(set, i);

		elements[i] = PointerGetDatum(cstring_to_text_with_len(item.data,
															   item.len));
	}
	PG_RETURN_ARRAYTYPE_P(construct_array(elements, n, TEXTOID, -1, false,
										  TYPALIGN_INT));
}

Datum
cdp_cardinality(PG_FUNCTION_ARGS)
{
	CdpIdentitySet *set = PG_GETARG_CDP_IDENTITY_SET_P(0);
	int n = cdp_identity_set_count(set);

	PG_FREE_IF_COPY(set, 0);
	PG_RETURN_INT32(n);
}

/*
 * cdp.identifiers_of(identity_set): its identifiers, in their order.
 */
Datum
cdp_identifiers_of(PG_FUNCTION_ARGS)
{
	FuncCallContext *funcctx;
	CdpIdentitySet *set;

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext old;

		funcctx = SRF_FIRSTCALL_INIT();
		old = MemoryContextSwitchTo(funcctx->multi_call_memory_ctx);
		set = cdp_identity_set_from_datum(
			PointerGetDatum(PG_DETOAST_DATUM_COPY(PG_GETARG_DATUM(0))));
		MemoryContextSwitchTo(old);
		funcctx->user_fctx = set;
		funcctx->max_calls = cdp_identity_set_count(set);
	}

	funcctx = SRF_PERCALL_SETUP();
	set = funcctx->user_fctx;
	if (funcctx->call_cntr < funcctx->max_calls)
	{
		CdpIdentifierText item = cdp_identity_set_item(set,
													   (int) funcctx->call_cntr);

		SRF_RETURN_NEXT(funcctx,
						PointerGetDatum(cstring_to_text_with_len(item.data,
																 item.len)));
	}
	SRF_RETURN_DONE(funcctx);
}
