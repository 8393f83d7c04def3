/*
 * src/identity/identity.h
 *		Types of the identity floor: cdp.identifier and cdp.identity_set.
 *
 * An identifier is "namespace:value" in normal form (core/text.h); on disk it
 * is a varlena of exactly those bytes.  An identity set is a sorted set of
 * distinct identifiers; its layout is private to identity_set.c.
 *
 * A reason set by a function that returns false is a phrase that reads well
 * after "The " and before a full stop.  It never quotes its input.
 */
#ifndef CDP_IDENTITY_H
#define CDP_IDENTITY_H

#include "core/text.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/array.h"

/* Limits of one set; the second is the size of the whole value. */
#define CDP_MAX_IDENTIFIERS_IN_SET 1000000
#define CDP_MAX_IDENTITY_SET_BYTES (256 * 1024 * 1024 - 1)

/* The two parts of one identifier; they point into somebody's memory. */
typedef struct CdpIdentifierRef
{
	const char *ns;
	int ns_len;
	const char *value;
	int value_len;
} CdpIdentifierRef;

/* One identifier as "namespace:value", not NUL-terminated. */
typedef struct CdpIdentifierText
{
	const char *data;
	int len;
} CdpIdentifierText;

typedef struct CdpIdentitySet CdpIdentitySet;

/*
 * The order of the type: bytes, then length.  Never raises.
 */
static inline int
cdp_identifier_text_cmp(CdpIdentifierText a, CdpIdentifierText b)
{
	int cmp = memcmp(a.data, b.data, Min(a.len, b.len));

	if (cmp != 0)
		return cmp < 0 ? -1 : 1;
	return (a.len > b.len) - (a.len < b.len);
}

/* identifier.c */
extern CdpCoreNfkc cdp_database_nfkc(void);
extern CdpCoreNfkc cdp_database_nfc(void);
extern bool cdp_identifier_normalize(const char *ns, int ns_len,
									 const char *value, int value_len,
									 StringInfo out, const char **reason);
extern bool cdp_identifier_parse(const char *text, int len, StringInfo out,
								 const char **reason);
extern bool cdp_identifier_split(const char *text, int len,
								 CdpIdentifierRef *ref);

/* identity_set.c: reading */
extern CdpIdentitySet *cdp_identity_set_from_datum(Datum datum);
extern bool cdp_identity_set_validate(const void *bytes, Size size,
									  const char **reason);
extern int cdp_identity_set_count(const CdpIdentitySet *set);
extern const char *cdp_identity_set_get(const CdpIdentitySet *set, int i,
										int *len);
extern CdpIdentifierText cdp_identity_set_item(const CdpIdentitySet *set,
											   int i);

/* identity_set.c: making */
extern bool cdp_identity_set_parse(const char *text, int len,
								   CdpIdentitySet **out, const char **reason);
extern bool cdp_identity_set_parse_array(ArrayType *array,
										 CdpIdentitySet **out,
										 const char **reason);
extern CdpIdentitySet *cdp_identity_set_build(const CdpIdentifierText *items,
											  int n);
extern void cdp_identity_set_check_limits(int64 n, int64 bytes);
extern Size cdp_identity_set_size(int64 n, int64 bytes);
extern void cdp_identity_set_write(void *dest, Size size,
								   const CdpIdentifierText *items, int n);

#define DatumGetCdpIdentitySetP(d) cdp_identity_set_from_datum(d)
#define PG_GETARG_CDP_IDENTITY_SET_P(n) \
	cdp_identity_set_from_datum(PG_GETARG_DATUM(n))
#define PG_RETURN_CDP_IDENTITY_SET_P(x) PG_RETURN_POINTER(x)

#endif /* CDP_IDENTITY_H */
