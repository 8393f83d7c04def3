/*
 * src/core/gpp_state.c
 *		The sections of the United States in GPP strings.
 *
 * Sources: IAB Tech Lab, Global Privacy Platform, the technical specifications
 * of the sections 7 to 27, as of October 2025.
 *
 * A core segment is a version of six bits and fields of two bits, some of
 * which are lists.  The values: of a notice 1 given, 2 not given; of an
 * opt-out 1 opted out, 2 did not; of a consent 1 no, 2 yes; 0 does not apply.
 * 3 means nothing; it is reported as it is written, as is 0 in a field that
 * has no 0: only who knows the field can say what follows from it.
 *
 * Where documents and writers differ:
 *	- Sections 24 to 27: the documents put a segment with id and version before
 *	  the core segment, writers do not.  Both are read; they cannot be mixed
 *	  up, for a core segment begins with a version far below 24.  The
 *	  documents' list of segments cannot be written (its coding has no 0, which
 *	  is the core's number), so it is not read: segments come in their order.
 *	- Section 7: version 2 has longer lists.  Writers of version 1 had them
 *	  too, for a time: a segment that is long enough for them is read so, and
 *	  of the lists what version 1 knows is reported.
 *	- Other sections have one version so far.  Strings with another number are
 *	  in use, so the number is reported and not looked at.
 *	- Section 22: the document says KnownChildSensitiveDataConsent; it is
 *	  reported with the name that all others have, as readers do.
 * What follows the last field is padding and not looked at.
 */
#include "core/gpp.h"

#include <string.h>

/* The names of the fields, as published. */
enum
{
	END,
	SHARING_NOTICE,
	PROCESSING_NOTICE,
	SALE_NOTICE,
	SHARE_NOTICE,
	ADS_NOTICE,
	SENSITIVE_NOTICE,
	SENSITIVE_NOTICE_IOWA,
	LIMIT_NOTICE,
	SALE,
	SHARE,
	ADS,
	SENSITIVE,
	CHILD,
	PERSONAL,
	ADDITIONAL,
	COVERED,
	OPT_OUT_MODE,
	SERVICE_MODE,
	MODE
};

static const char *const names[] = {
	[SHARING_NOTICE] = "SharingNotice",
	[PROCESSING_NOTICE] = "ProcessingNotice",
	[SALE_NOTICE] = "SaleOptOutNotice",
	[SHARE_NOTICE] = "SharingOptOutNotice",
	[ADS_NOTICE] = "TargetedAdvertisingOptOutNotice",
	[SENSITIVE_NOTICE] = "SensitiveDataProcessingOptOutNotice",
	[SENSITIVE_NOTICE_IOWA] = "SensitiveDataOptOutNotice",
	[LIMIT_NOTICE] = "SensitiveDataLimitUseNotice",
	[SALE] = "SaleOptOut",
	[SHARE] = "SharingOptOut",
	[ADS] = "TargetedAdvertisingOptOut",
	[SENSITIVE] = "SensitiveDataProcessing",
	[CHILD] = "KnownChildSensitiveDataConsents",
	[PERSONAL] = "PersonalDataConsents",
	[ADDITIONAL] = "AdditionalDataProcessingConsent",
	[COVERED] = "MspaCoveredTransaction",
	[OPT_OUT_MODE] = "MspaOptOutOptionMode",
	[SERVICE_MODE] = "MspaServiceProviderMode",
	[MODE] = "MspaMode"};

/*
 * A field: its name, and of a list how many values are reported and how many
 * more are there.
 */
typedef uint16_t Field;

#define LIST_OF(name, n, more) ((Field) ((name) | (n) << 5 | (more) << 10))
#define LIST(name, n) LIST_OF(name, n, 0)
#define FIELD_NAME(field) (names[(field) &31])
#define FIELD_N(field) ((field) >> 5 & 31)
#define FIELD_MORE(field) ((field) >> 10)

#define MSPA COVERED, OPT_OUT_MODE, SERVICE_MODE, END
#define NATIONAL \
	SHARING_NOTICE, SALE_NOTICE, SHARE_NOTICE, ADS_NOTICE, SENSITIVE_NOTICE, LIMIT_NOTICE, SALE, \
		SHARE, ADS
#define EARLY SHARING_NOTICE, SALE_NOTICE, ADS_NOTICE, SALE, ADS
#define LATER PROCESSING_NOTICE, SALE_NOTICE, ADS_NOTICE, SALE, ADS

static const Field usnat1[] = {NATIONAL, LIST(SENSITIVE, 12), LIST(CHILD, 2), PERSONAL, MSPA};
static const Field usnat1_long[] = {NATIONAL, LIST_OF(SENSITIVE, 12, 4), LIST_OF(CHILD, 2, 1),
									PERSONAL, MSPA};
static const Field usnat2[] = {NATIONAL, LIST(SENSITIVE, 16), LIST(CHILD, 3), PERSONAL, MSPA};
static const Field usca[] = {SALE_NOTICE, SHARE_NOTICE, LIMIT_NOTICE, SALE, SHARE,
							 LIST(SENSITIVE, 9), LIST(CHILD, 2), PERSONAL, MSPA};
static const Field usva[] = {EARLY, LIST(SENSITIVE, 8), CHILD, MSPA};
static const Field usco[] = {EARLY, LIST(SENSITIVE, 7), CHILD, MSPA};
static const Field usut[] = {SHARING_NOTICE, SALE_NOTICE, ADS_NOTICE, SENSITIVE_NOTICE, SALE, ADS,
							 LIST(SENSITIVE, 8), CHILD, MSPA};
static const Field usct[] = {EARLY, LIST(SENSITIVE, 8), LIST(CHILD, 3), MSPA};
static const Field usmt[] = {EARLY, LIST(SENSITIVE, 8), LIST(CHILD, 3), ADDITIONAL, MSPA};
static const Field usia[] = {PROCESSING_NOTICE, SALE_NOTICE, ADS_NOTICE, SENSITIVE_NOTICE_IOWA,
							 SALE, ADS, LIST(SENSITIVE, 8), CHILD, MSPA};
static const Field usor[] = {LATER, LIST(SENSITIVE, 11), LIST(CHILD, 3), ADDITIONAL, MSPA};
static const Field usde[] = {LATER, LIST(SENSITIVE, 9), LIST(CHILD, 5), ADDITIONAL, MSPA};
static const Field usnj[] = {LATER, LIST(SENSITIVE, 10), LIST(CHILD, 5), ADDITIONAL, MSPA};
static const Field later_three[] = {LATER, LIST(SENSITIVE, 8), LIST(CHILD, 3), ADDITIONAL, MSPA};
static const Field later_one[] = {LATER, LIST(SENSITIVE, 8), CHILD, ADDITIONAL, MSPA};
static const Field usmd[] = {COVERED, MODE, LATER, ADDITIONAL, END};
static const Field latest[] = {COVERED, MODE, LATER, CHILD, ADDITIONAL, END};
static const Field sensitive_segment[] = {LIST(SENSITIVE, 8), END};

typedef enum Extra
{
	NO_SEGMENT,
	GPC_SEGMENT, /* of type 1, with one bit; optional */
	SENSITIVE_SEGMENT /* the list of sensitive data; optional */
} Extra;

typedef struct Layout
{
	bool mspa; /* begins with the version of the agreement; may have a segment before */
	Extra extra;
	const Field *fields;
} Layout;

#define FIRST 7 /* the United States as a whole */
#define GPC_TYPE 1

/* Bits of a segment of the United States that has the lists of version 2. */
#define LONG_NATIONAL_BITS 70

/* From section 7 on. */
static const Layout layouts[] = {
	{false, GPC_SEGMENT, usnat2},
	{false, GPC_SEGMENT, usca},
	{false, NO_SEGMENT, usva},
	{false, GPC_SEGMENT, usco},
	{false, NO_SEGMENT, usut},
	{false, GPC_SEGMENT, usct},
	{false, NO_SEGMENT, later_three}, /* 13, Florida */
	{false, GPC_SEGMENT, usmt},
	{false, GPC_SEGMENT, usor},
	{false, GPC_SEGMENT, later_one}, /* 16, Texas */
	{false, GPC_SEGMENT, usde},
	{false, GPC_SEGMENT, usia},
	{false, GPC_SEGMENT, later_one}, /* 19, Nebraska */
	{false, GPC_SEGMENT, later_three}, /* 20, New Hampshire */
	{false, GPC_SEGMENT, usnj},
	{false, GPC_SEGMENT, later_one}, /* 22, Tennessee */
	{false, GPC_SEGMENT, later_one}, /* 23, Minnesota */
	{true, GPC_SEGMENT, usmd},
	{true, SENSITIVE_SEGMENT, latest}, /* 25, Indiana */
	{true, SENSITIVE_SEGMENT, latest}, /* 26, Kentucky */
	{true, SENSITIVE_SEGMENT, latest}}; /* 27, Rhode Island */

typedef struct Reader
{
	const char *text;
	size_t next; /* byte the next segment begins at */
	size_t end;
	bool more; /* there is a next segment */
	unsigned char *buffer;
	CdpBits bits;
	CdpGppValue *values;
	int *n;
	CdpSignalError *error;
} Reader;

static bool
fail(Reader *r, const char *reason)
{
	return cdp_core_bits_fail(&r->bits, reason, r->error);
}

/* Opens the next segment, which has to be there. */
static bool
open_segment(Reader *r, const char *part)
{
	const char *dot;
	size_t to;
	size_t from = r->next;

	r->error->part = part;
	if (!r->more)
	{
		r->bits.short_of = true;
		return fail(r, NULL);
	}
	dot = from < r->end ? memchr(r->text + from, '.', r->end - from) : NULL;
	to = dot != NULL ? (size_t) (dot - r->text) : r->end;
	r->more = dot != NULL;
	r->next = to + 1;
	return cdp_core_bits_open(&r->bits, r->text, to - from, from, r->buffer, r->error);
}

static CdpGppValue *
add_value(Reader *r, const char *name, unsigned bits)
{
	CdpGppValue *value = &r->values[(*r->n)++];

	value->name = name;
	value->n = 0;
	value->is_bool = false;
	value->value[0] = (unsigned char) cdp_core_bits_read(&r->bits, bits);
	return value;
}

static bool
read_fields(Reader *r, const Field *field)
{
	for (; *field != END; field++)
	{
		CdpGppValue *value = add_value(r, FIELD_NAME(*field), 2);

		value->n = FIELD_N(*field);
		for (int i = 1; i < value->n; i++)
			value->value[i] = (unsigned char) cdp_core_bits_read(&r->bits, 2);
		cdp_core_bits_read(&r->bits, 2 * FIELD_MORE(*field));
	}
	return !r->bits.short_of || fail(r, NULL);
}

static bool
fail_version(Reader *r)
{
	r->bits.pos = 0;
	return fail(r, "version is not one that is read");
}

/*
 * Reads what is before the fields of the core segment, and says which fields
 * there are: NULL if that cannot be known.
 */
static const Field *
read_version(Reader *r, uint32_t id, const Layout *layout)
{
	unsigned version = (unsigned) cdp_core_bits_read(&r->bits, 6);

	if (layout->mspa && version == id)
	{
		/* the form of the documents: id, version, and a list that cannot be read */
		add_value(r, "SectionID", 0)->value[0] = (unsigned char) version;
		if (add_value(r, "Version", 6)->value[0] != 1)
		{
			fail_version(r);
			return NULL;
		}
		if (!open_segment(r, "core segment"))
			return NULL;
		version = (unsigned) cdp_core_bits_read(&r->bits, 6);
	}
	add_value(r, layout->mspa ? "MspaVersion" : "Version", 0)->value[0] = (unsigned char) version;
	if (id != FIRST || version == 2)
		return layout->fields;
	if (version == 1)
		return r->bits.n < LONG_NATIONAL_BITS ? usnat1 : usnat1_long;
	fail_version(r);
	return NULL;
}

/*
 * Reads a section of kind CDP_GPP_STATE into "values", at most
 * CDP_GPP_MAX_VALUES of them, in the order they are written.  False, and why,
 * if it is not well-formed.
 */
bool
cdp_core_gpp_read_state(const char *text, const CdpGpp *gpp, const CdpGppSection *section,
						CdpGppValue *values, int *n, CdpSignalError *error)
{
	Reader r = {
		.text = text,
		.next = section->start,
		.end = (size_t) section->start + section->len,
		.more = true,
		.buffer = gpp->buffer,
		.values = values,
		.n = n,
		.error = error};
	const Layout *layout = &layouts[section->id - FIRST];
	const Field *fields;

	*n = 0;
	if (!open_segment(&r, "core segment"))
		return false;
	fields = read_version(&r, section->id, layout);
	if (fields == NULL || !read_fields(&r, fields))
		return false;
	if (r.more && layout->extra == GPC_SEGMENT)
	{
		if (!open_segment(&r, "GPC segment"))
			return false;
		if (add_value(&r, "GpcSegmentType", 2)->value[0] != GPC_TYPE)
		{
			r.bits.pos = 0;
			return fail(&r, "type of the segment is not one that is read");
		}
		add_value(&r, "Gpc", 1)->is_bool = true;
	}
	else if (r.more && layout->extra == SENSITIVE_SEGMENT)
	{
		if (!open_segment(&r, "segment of sensitive data") || !read_fields(&r, sensitive_segment))
			return false;
	}
	if (!r.more)
		return true;
	error->part = "segment that has no place there";
	error->at = r.next + 1;
	error->reason = "section has too many segments";
	return false;
}
