/*
 * src/core/fold.h
 *		Normal forms of text for the normalisers: case, width, kana, e-mail.
 *
 * Pure C: no server headers, no allocation, no locale.  Unicode NFKC is the
 * caller's (core/text.h); without it text outside ASCII is kept as it is.
 *
 * Each function takes a value of any length and writes at most
 * CDP_MAX_VALUE_BYTES to "out", without a NUL.  Unless the verdict is unknown,
 * the result is its own normal form, with the same verdict; if it is unknown,
 * nothing usable was written, and the value, without blanks at its ends, is
 * unknown again.
 */
#ifndef CDP_CORE_FOLD_H
#define CDP_CORE_FOLD_H

#include "core/text.h"
#include "core/verdict.h"

/* Versions of the rules: any change of a result needs a new number. */
#define CDP_TRIM_VERSION 1
#define CDP_LOWER_VERSION 1
#define CDP_WIDTH_VERSION 1
#define CDP_KANA_VERSION 1
#define CDP_EMAIL_VERSION 1

extern void cdp_core_fold_blanks(const char **value, size_t *len, bool utf8);
extern CdpVerdict cdp_core_fold_trim(const char *value, size_t len, const CdpCoreNfkc *nfkc,
									 char *out, size_t *out_len);
extern CdpVerdict cdp_core_fold_lower(const char *value, size_t len, const CdpCoreNfkc *nfkc,
									  char *out, size_t *out_len);
extern CdpVerdict cdp_core_fold_width(const char *value, size_t len, const CdpCoreNfkc *nfkc,
									  char *out, size_t *out_len);
extern CdpVerdict cdp_core_fold_kana(const char *value, size_t len, const CdpCoreNfkc *nfkc,
									 char *out, size_t *out_len);

/* email.c */
extern CdpVerdict cdp_core_fold_email(const char *value, size_t len, const CdpCoreNfkc *nfkc,
									  char *out, size_t *out_len);
extern bool cdp_core_punycode(const char *label, size_t len, char *out, size_t size,
							  size_t *out_len);

#endif /* CDP_CORE_FOLD_H */
