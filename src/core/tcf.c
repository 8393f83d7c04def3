/*
 * src/core/tcf.c
 *		TC strings (see tcf.h).
 *
 * Sources: IAB Tech Lab, "Consent string and vendor list formats v2", with
 * its history to version 2.3; IAB Tech Lab, "GPP Extension: IAB TCF Canada
 * Technical Spec".
 *
 * A string is segments joined by dots.  The first is the core; the others
 * begin with three bits that say what they are, and may come in any order,
 * each once.  Europe's core is 213 bits of fixed fields, two sets of vendors,
 * and restrictions; what follows the last field is padding, which is not
 * looked at: writers differ in how much they append.
 */
#include "core/tcf.h"

#include <string.h>

/* what the first three bits of a segment say */
enum
{
	DISCLOSED = 1,
	ALLOWED = 2,
	PUBLISHER = 3
};

typedef struct Decoder
{
	CdpTcf *tcf;
	CdpVendorRoom room;
	CdpBits bits;
	CdpSignalError *error;
	bool canada;
} Decoder;

/* Purpose, type, and how many items; in Canada a bit more. */
#define MIN_RESTRICTION_BITS 20

static size_t
max_restrictions(size_t n)
{
	return n * 6 / MIN_RESTRICTION_BITS + 1;
}

size_t
cdp_core_tcf_scratch(size_t n)
{
	return max_restrictions(n) * sizeof(CdpTcfRestriction) +
		   CDP_CORE_VENDOR_ROOM(n) * sizeof(uint32_t) + CDP_CORE_BITS_SIZE(n);
}

static bool
fail(Decoder *d, const char *reason)
{
	return cdp_core_bits_fail(&d->bits, reason, d->error);
}

/* Two letters, six bits each, A is 0.  True if they are letters. */
static bool
read_letters(Decoder *d, char *letters)
{
	unsigned first = (unsigned) cdp_core_bits_read(&d->bits, 6);
	unsigned second = (unsigned) cdp_core_bits_read(&d->bits, 6);

	letters[0] = (char) ('A' + first);
	letters[1] = (char) ('A' + second);
	return first < 26 && second < 26;
}

static bool
read_vendors(Decoder *d, CdpVendors *set)
{
	return d->canada ? cdp_core_vendors_read_optimized(&d->bits, &d->room, set, d->error) :
					   cdp_core_vendors_read(&d->bits, &d->room, set, d->error);
}

static bool
read_restrictions(Decoder *d)
{
	CdpTcf *tcf = d->tcf;
	uint32_t n = (uint32_t) cdp_core_bits_read(&d->bits, 12);

	for (uint32_t i = 0; i < n; i++)
	{
		CdpTcfRestriction *r = &tcf->restriction[tcf->n_restrictions];

		/* the smallest there can be: what is not there has no room */
		if (d->bits.n - d->bits.pos < MIN_RESTRICTION_BITS)
			cdp_core_bits_end(&d->bits);
		if (d->bits.short_of)
			break;
		r->purpose = (unsigned char) cdp_core_bits_read(&d->bits, 6);
		r->type = (unsigned char) cdp_core_bits_read(&d->bits, 2);
		if (d->canada)
		{
			if (!cdp_core_vendors_read_optimized(&d->bits, &d->room, &r->vendors, d->error))
				return false;
		}
		else if (!cdp_core_vendors_read_ranges(&d->bits, 0xFFFF, &d->room, &r->vendors, d->error))
			return false;
		tcf->n_restrictions++;
	}
	return !d->bits.short_of || fail(d, NULL);
}

static bool
read_core(Decoder *d)
{
	CdpBits *bits = &d->bits;
	CdpTcf *tcf = d->tcf;

	tcf->version = (unsigned char) cdp_core_bits_read(bits, 6);
	if (tcf->version != (d->canada ? 1 : 2))
	{
		bits->pos = 0;
		return fail(d, "version is not one that is read");
	}
	tcf->created = cdp_core_bits_read(bits, 36);
	tcf->last_updated = cdp_core_bits_read(bits, 36);
	tcf->cmp_id = (uint16_t) cdp_core_bits_read(bits, 12);
	tcf->cmp_version = (uint16_t) cdp_core_bits_read(bits, 12);
	tcf->consent_screen = (unsigned char) cdp_core_bits_read(bits, 6);
	if (!read_letters(d, tcf->consent_language))
		return fail(d, "language is not two letters");
	tcf->vendor_list_version = (uint16_t) cdp_core_bits_read(bits, 12);
	tcf->tcf_policy_version = (unsigned char) cdp_core_bits_read(bits, 6);
	if (!d->canada)
		tcf->is_service_specific = cdp_core_bits_read(bits, 1);
	tcf->use_non_standard_texts = cdp_core_bits_read(bits, 1);
	tcf->special_features = (uint32_t) cdp_core_bits_read(bits, CDP_TCF_SPECIAL_FEATURES);
	tcf->purposes_consent = (uint32_t) cdp_core_bits_read(bits, CDP_TCF_PURPOSES);
	tcf->purposes_li = (uint32_t) cdp_core_bits_read(bits, CDP_TCF_PURPOSES);
	if (!d->canada)
	{
		tcf->purpose_one_treatment = cdp_core_bits_read(bits, 1);
		if (!read_letters(d, tcf->publisher_cc))
			return fail(d, "country of the publisher is not two letters");
	}
	return read_vendors(d, &tcf->vendor_consent) && read_vendors(d, &tcf->vendor_li) &&
		   read_restrictions(d);
}

static bool
read_publisher(Decoder *d)
{
	CdpTcf *tcf = d->tcf;

	tcf->publisher_consent = (uint32_t) cdp_core_bits_read(&d->bits, CDP_TCF_PURPOSES);
	tcf->publisher_li = (uint32_t) cdp_core_bits_read(&d->bits, CDP_TCF_PURPOSES);
	tcf->num_custom = (unsigned char) cdp_core_bits_read(&d->bits, 6);
	/* up to 63 bits each: in two steps */
	for (int i = 0; i < 2; i++)
	{
		unsigned rest = tcf->num_custom > 32 ? tcf->num_custom - 32 : 0;
		uint64_t high = cdp_core_bits_read(&d->bits, tcf->num_custom - rest);
		uint64_t set = high << rest | cdp_core_bits_read(&d->bits, rest);

		if (i == 0)
			tcf->custom_consent = set;
		else
			tcf->custom_li = set;
	}
	return !d->bits.short_of || fail(d, NULL);
}

static bool
once(Decoder *d, bool *seen)
{
	if (*seen)
	{
		d->bits.pos = 0;
		return fail(d, "segment is there twice");
	}
	*seen = true;
	return true;
}

static bool
read_segment(Decoder *d)
{
	CdpTcf *tcf = d->tcf;
	unsigned type = (unsigned) cdp_core_bits_read(&d->bits, 3);

	if (type == DISCLOSED)
	{
		d->error->part = "disclosed vendors";
		return once(d, &tcf->has_disclosed) && read_vendors(d, &tcf->disclosed);
	}
	if (type == ALLOWED && !d->canada)
	{
		d->error->part = "allowed vendors";
		return once(d, &tcf->has_allowed) && read_vendors(d, &tcf->allowed);
	}
	if (type == PUBLISHER)
	{
		d->error->part = "publisher segment";
		return once(d, &tcf->has_publisher) && read_publisher(d);
	}
	d->bits.pos = 0;
	return fail(d, "type of the segment is not one that is read");
}

static bool
decode(bool canada, const char *text, size_t len, size_t start, void *scratch,
	   CdpTcf *tcf, CdpSignalError *error)
{
	Decoder d = {.tcf = tcf, .error = error, .canada = canada};
	unsigned char *buffer;
	size_t end = start + len;
	size_t from = start;

	memset(tcf, 0, sizeof(*tcf));
	tcf->restriction = scratch;
	d.room.range = (uint32_t *) (tcf->restriction + max_restrictions(len));
	buffer = (unsigned char *) (d.room.range + CDP_CORE_VENDOR_ROOM(len));
	for (;;)
	{
		const char *dot = from < end ? memchr(text + from, '.', end - from) : NULL;
		size_t to = dot != NULL ? (size_t) (dot - text) : end;

		error->part = from == start ? "core segment" : "optional segment";
		/* one after the other in the same buffer: sets are copied out of it */
		if (!cdp_core_bits_open(&d.bits, text, to - from, from, buffer, error) ||
			!(from == start ? read_core(&d) : read_segment(&d)))
			return false;
		if (dot == NULL)
			return true;
		from = to + 1;
	}
}

/*
 * Decodes the TC string text[start .. start + len).  False, and why, if it is
 * not one; "tcf" is undefined then.  "start" only moves the places in "error".
 */
bool
cdp_core_tcf_decode(const char *text, size_t len, size_t start, void *scratch,
					CdpTcf *tcf, CdpSignalError *error)
{
	return decode(false, text, len, start, scratch, tcf, error);
}

/* The same for Canada's. */
bool
cdp_core_tcf_decode_canada(const char *text, size_t len, size_t start, void *scratch,
						   CdpTcf *tcf, CdpSignalError *error)
{
	return decode(true, text, len, start, scratch, tcf, error);
}
