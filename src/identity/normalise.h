/*
 * src/identity/normalise.h
 *		Named, versioned normalisers of identifier values.
 *
 * The type cdp.identifier has one fixed normal form (core/text.h).  These are
 * for what a namespace may ask for on top of it, before the identifier is
 * made.  They never read tables, and never raise because of a value.
 */
#ifndef CDP_NORMALISE_H
#define CDP_NORMALISE_H

#include "core/verdict.h"
#include "fmgr.h"

/* Lives as long as the backend; find it once and keep the pointer. */
typedef struct CdpNormaliser CdpNormaliser;

extern const CdpNormaliser *cdp_normaliser_find(const char *name);
extern const CdpNormaliser *cdp_normaliser_get(const char *name);
extern const char *cdp_normaliser_name(const CdpNormaliser *normaliser);
extern int cdp_normaliser_version(const CdpNormaliser *normaliser);
extern CdpVerdict cdp_normalise(const CdpNormaliser *normaliser, const char *value, char **out);
extern const char *cdp_verdict_name(CdpVerdict verdict);

#endif /* CDP_NORMALISE_H */
