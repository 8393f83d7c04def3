/*
 * src/core/time.h
 *		Parsers of times and of the other scalar types a trait may have.
 *
 * Pure C, independent of locale and of server settings, so that the same
 * message gives the same value on every machine.  Times are microseconds
 * since 2000-01-01 00:00 UTC and dates are days since 2000-01-01, the
 * server's own epochs, within the years 1 to 9999.
 */
#ifndef CDP_CORE_TIME_H
#define CDP_CORE_TIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 0001-01-01 00:00:00 and 9999-12-31 23:59:59.999999, UTC */
#define CDP_MIN_TIMESTAMP (-INT64_C(63082281600) * 1000000)
#define CDP_MAX_TIMESTAMP (INT64_C(252455616000) * 1000000 - 1)

extern bool cdp_core_parse_timestamp(const char *s, size_t len,
									 int64_t *usec_since_2000_utc,
									 const char **reason);
extern bool cdp_core_parse_date(const char *s, size_t len,
								int32_t *days_since_2000,
								const char **reason);
extern bool cdp_core_epoch_to_timestamp(double v,
										int64_t *usec_since_2000_utc);

extern bool cdp_core_parse_int64(const char *s, size_t len, int64_t *v);
extern bool cdp_core_parse_float8(const char *s, size_t len, double *v);
extern bool cdp_core_parse_bool(const char *s, size_t len, bool *v);
extern bool cdp_core_parse_uuid(const char *s, size_t len, uint8_t *v);

#endif /* CDP_CORE_TIME_H */
