/*
 * src/core/usp.h
 *		US Privacy strings (IAB Tech Lab, CCPA Compliance Framework).
 *
 * Pure C: no server headers, no allocation.
 */
#ifndef CDP_CORE_USP_H
#define CDP_CORE_USP_H

#include "core/bits.h"

/* Y yes, N no, - does not apply */
typedef struct CdpUsp
{
	unsigned char version;
	char notice; /* notice and an opportunity to opt out were given */
	char opt_out_sale;
	char lspa_covered; /* the publisher signed the Limited Service Provider Agreement */
} CdpUsp;

extern bool cdp_core_usp_decode(const char *text, size_t len, size_t start, CdpUsp *usp,
								CdpSignalError *error);

#endif /* CDP_CORE_USP_H */
