/*
 * src/core/gpp.c
 *		Strings of the Global Privacy Platform: header and sections (see gpp.h).
 *
 * Source: IAB Tech Lab, "Global Privacy Platform String", version 1.  The
 * header is type (6 bits, 3), version (6 bits, 1) and the ids of the sections,
 * ascending, as items of one id or a group, by distance from the last id and
 * length of the group in Fibonacci coding.  Padding follows; writers fill up
 * to 6 or to 8 bits.
 */
#include "core/gpp.h"

#include <string.h>

#define HEADER_TYPE 3
#define VERSION 1

#define FIRST_STATE 7

static const char *const state_prefix[] = {
	"usnat", "usca", "usva", "usco", "usut", "usct", "usfl", "usmt", "usor", "ustx", "usde",
	"usia", "usne", "usnh", "usnj", "ustn", "usmn", "usmd", "usin", "usky", "usri"};

#define N_STATES (sizeof(state_prefix) / sizeof(state_prefix[0]))

/* A section and its tilde are two bytes at least. */
static size_t
max_sections(size_t n)
{
	return n / 2 + 1;
}

size_t
cdp_core_gpp_scratch(size_t n)
{
	return max_sections(n) * sizeof(CdpGppSection) + CDP_CORE_BITS_SIZE(n);
}

static bool
fail_at(size_t at, const char *reason, CdpSignalError *error)
{
	error->reason = reason;
	error->at = at + 1;
	return false;
}

/* Where the sections are; their ids come from the header. */
static bool
split(const char *text, size_t len, size_t from, CdpGpp *gpp, CdpSignalError *error)
{
	while (from <= len)
	{
		const char *tilde = from < len ? memchr(text + from, '~', len - from) : NULL;
		size_t to = tilde != NULL ? (size_t) (tilde - text) : len;
		CdpGppSection *section = &gpp->section[gpp->n];

		if (to == from)
			return fail_at(from, "section is empty", error);
		section->start = (uint32_t) from;
		section->len = (uint32_t) (to - from);
		gpp->n++;
		from = to + 1;
	}
	return true;
}

/* Gives the sections the ids of the header; there have to be as many of both. */
static bool
read_ids(CdpBits *bits, CdpGpp *gpp, CdpSignalError *error)
{
	uint32_t items = (uint32_t) cdp_core_bits_read(bits, 12);
	uint32_t id = 0;
	uint32_t n = 0;

	while (items-- > 0)
	{
		bool group = cdp_core_bits_read(bits, 1);
		uint32_t step;
		uint32_t more = 0;

		if (!cdp_core_bits_fibonacci(bits, &step) ||
			(group && !cdp_core_bits_fibonacci(bits, &more)) || id + step + more > 0xFFFF)
			return cdp_core_bits_fail(bits, "section id is beyond 65535", error);
		if (more >= gpp->n - n)
			return cdp_core_bits_fail(bits, "header lists more sections than follow", error);
		id += step;
		gpp->section[n++].id = id;
		while (more-- > 0)
			gpp->section[n++].id = ++id;
	}
	if (bits->short_of)
		return cdp_core_bits_fail(bits, NULL, error);
	if (n < gpp->n)
		return fail_at(gpp->section[n].start, "section is not listed in the header", error);
	return true;
}

/*
 * Reads the header of text[0 .. len) and finds the sections.  False, and why,
 * if it is not a GPP string; "gpp" is undefined then.
 */
bool
cdp_core_gpp_open(const char *text, size_t len, void *scratch, CdpGpp *gpp, CdpSignalError *error)
{
	const char *tilde = len > 0 ? memchr(text, '~', len) : NULL;
	size_t header = tilde != NULL ? (size_t) (tilde - text) : len;
	CdpBits bits;

	gpp->section = scratch;
	gpp->n = 0;
	gpp->buffer = (unsigned char *) (gpp->section + max_sections(len));
	error->section = 0;
	error->part = "header";
	if (!cdp_core_bits_open(&bits, text, header, 0, gpp->buffer, error))
		return false;
	if (cdp_core_bits_read(&bits, 6) != HEADER_TYPE)
		return fail_at(0, "first character is not that of a GPP string", error);
	gpp->version = (unsigned) cdp_core_bits_read(&bits, 6);
	if (bits.short_of || gpp->version != VERSION)
		return fail_at(1, "version is not one that is read", error);
	error->part = "sections";
	if (tilde != NULL && !split(text, len, header + 1, gpp, error))
		return false;
	error->part = "header";
	if (!read_ids(&bits, gpp, error))
		return false;
	for (uint32_t i = 0; i < gpp->n; i++)
	{
		if (gpp->section[i].id == HEADER_TYPE)
			return fail_at(0, "header lists itself as a section", error);
	}
	return true;
}

/* What a section is, and its client-side API prefix; NULL for an unknown one. */
CdpGppKind
cdp_core_gpp_kind(uint32_t id, const char **prefix)
{
	*prefix = NULL;
	if (id == 2)
	{
		*prefix = "tcfeuv2";
		return CDP_GPP_TCF_EU;
	}
	if (id == 5)
	{
		*prefix = "tcfcav1";
		return CDP_GPP_TCF_CANADA;
	}
	if (id == 6)
	{
		*prefix = "uspv1";
		return CDP_GPP_USP;
	}
	if (id >= FIRST_STATE && id - FIRST_STATE < N_STATES)
	{
		*prefix = state_prefix[id - FIRST_STATE];
		return CDP_GPP_STATE;
	}
	return CDP_GPP_UNKNOWN;
}

static bool
is_websafe(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
		   c == '-' || c == '_' || c == '.';
}

/* A section that is not known may be coded in any way, but in these characters. */
bool
cdp_core_gpp_check_unknown(const char *text, const CdpGppSection *section, CdpSignalError *error)
{
	error->part = "content";
	for (uint32_t i = section->start; i < section->start + section->len; i++)
	{
		if (!is_websafe(text[i]))
			return fail_at(i, "character cannot be in a section", error);
	}
	return true;
}
