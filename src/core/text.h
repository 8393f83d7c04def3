/*
 * src/core/text.h
 *		Normal form of identifiers and the text form of a set of them.
 *
 * Pure C: no server headers, no allocation, no locale.  Failure is a false
 * return plus a reason: a constant phrase that reads well after "The " and
 * before a full stop ("value is empty").  A reason never quotes its input,
 * which may be personal data.
 */
#ifndef CDP_CORE_TEXT_H
#define CDP_CORE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Version of the rules below.  Stored identifiers were made by one version;
 * any change of a result needs a new number and a migration.
 */
#define CDP_NORMALIZER_VERSION 1

#define CDP_MAX_NAMESPACE_BYTES 63
#define CDP_MAX_VALUE_BYTES 512
#define CDP_MAX_IDENTIFIER_BYTES (CDP_MAX_NAMESPACE_BYTES + 1 + CDP_MAX_VALUE_BYTES)

/*
 * Longest trimmed value looked at.  Normalisation shrinks text at most 4:1
 * (mathematical letters, four bytes of UTF-8, become ASCII), so nothing
 * longer than 4 * 512 bytes could end within the limit, except by dropping
 * punctuation from a phone number; twice that leaves room for it.
 */
#define CDP_MAX_RAW_VALUE_BYTES 4096

/*
 * Unicode NFKC of "in" into "out"; false when the result does not fit or the
 * input is not valid in the caller's encoding.  The core carries no Unicode
 * tables; the server does.  A null "normalize" means that text outside ASCII
 * is kept as it is (databases not in UTF-8).
 */
typedef struct CdpCoreNfkc
{
	bool (*normalize)(void *arg, const char *in, size_t in_len,
					  char *out, size_t out_size, size_t *out_len);
	void *arg;
} CdpCoreNfkc;

/* identifiers */
extern bool cdp_core_identifier_normalize(const char *ns, size_t ns_len,
										  const char *value, size_t value_len,
										  const CdpCoreNfkc *nfkc,
										  char *out, size_t *out_len,
										  const char **reason);
extern bool cdp_core_identifier_parse(const char *text, size_t len,
									  const CdpCoreNfkc *nfkc,
									  char *out, size_t *out_len,
									  const char **reason);
extern bool cdp_core_identifier_split(const char *text, size_t len,
									  size_t *ns_len);
extern size_t cdp_core_utf8_lower(char *s, size_t len);

/* the text form of a set: {a,"b c"} */
typedef enum CdpCoreSetStatus
{
	CDP_CORE_SET_ELEMENT,
	CDP_CORE_SET_END,
	CDP_CORE_SET_ERROR
} CdpCoreSetStatus;

typedef struct CdpCoreSetReader
{
	const char *text;
	size_t len;
	size_t pos;
	char *scratch; /* len bytes, reused for each element */
	int state;
} CdpCoreSetReader;

extern void cdp_core_set_reader_init(CdpCoreSetReader *reader,
									 const char *text, size_t len,
									 char *scratch);
extern CdpCoreSetStatus cdp_core_set_reader_next(CdpCoreSetReader *reader,
												 const char **element,
												 size_t *element_len,
												 const char **reason);
extern size_t cdp_core_set_element_write(const char *element, size_t len,
										 char *out);

#endif /* CDP_CORE_TEXT_H */
