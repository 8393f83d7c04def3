/*
 * src/core/gpp.h
 *		Strings of the Global Privacy Platform, version 1: a header that lists
 *		sections, and the sections, joined by tildes.
 *
 * Pure C: no server headers, no allocation, no recursion; time and memory are
 * proportional to the length of the string.
 *
 * cdp_core_gpp_open() reads the header.  Each section is then read by its
 * kind: by tcf.h, by usp.h, or by cdp_core_gpp_read_state().  The content of
 * a section that is not known here is only looked at for characters that
 * cannot be there.
 */
#ifndef CDP_CORE_GPP_H
#define CDP_CORE_GPP_H

#include "core/bits.h"

typedef enum CdpGppKind
{
	CDP_GPP_UNKNOWN,
	CDP_GPP_TCF_EU,
	CDP_GPP_TCF_CANADA,
	CDP_GPP_USP,
	CDP_GPP_STATE /* the United States as a whole, or one of them */
} CdpGppKind;

typedef struct CdpGppSection
{
	uint32_t id; /* 1 to 65535 */
	uint32_t start; /* bytes of the string */
	uint32_t len;
} CdpGppSection;

typedef struct CdpGpp
{
	unsigned version;
	CdpGppSection *section; /* by ascending id */
	uint32_t n;
	unsigned char *buffer; /* for cdp_core_gpp_read_state(), one section after the other */
} CdpGpp;

#define CDP_GPP_MAX_VALUES 24
#define CDP_GPP_MAX_LIST 16

/* A field of a section of the United States. */
typedef struct CdpGppValue
{
	const char *name; /* as published */
	bool is_bool;
	unsigned char n; /* length of a list; 0: value[0] is all there is */
	unsigned char value[CDP_GPP_MAX_LIST];
} CdpGppValue;

/* Memory to read a string of n bytes in, aligned for pointers.  The result points into it. */
extern size_t cdp_core_gpp_scratch(size_t n);

extern bool cdp_core_gpp_open(const char *text, size_t len, void *scratch, CdpGpp *gpp,
							  CdpSignalError *error);
extern CdpGppKind cdp_core_gpp_kind(uint32_t id, const char **prefix);
extern bool cdp_core_gpp_read_state(const char *text, const CdpGpp *gpp,
									const CdpGppSection *section, CdpGppValue *values, int *n,
									CdpSignalError *error);
extern bool cdp_core_gpp_check_unknown(const char *text, const CdpGppSection *section,
									   CdpSignalError *error);

#endif /* CDP_CORE_GPP_H */
