/*
 * src/cdp.h
 *		Constants every floor shares.
 */
#ifndef CDP_H
#define CDP_H

/* Given by the Makefile, which reads it from cdp.control. */
#ifndef CDP_VERSION
#define CDP_VERSION "unknown"
#endif

/*
 * Version of the tables that cdp.init() makes.  The steps recorded in
 * cdp_data.schema_step must reach it, or C code refuses to work.
 */
#define CDP_DATA_VERSION 1

#define CDP_SCHEMA "cdp"
#define CDP_DATA_SCHEMA "cdp_data"
#define CDP_OWNER "cdp_owner"

/* Limits, each checked where the value enters. */
#define CDP_MAX_NAME 63 /* bytes of a trait, purpose, channel */
#define CDP_MAX_SOURCE 127 /* bytes of a source: schema.table fits */
#define CDP_MAX_EVENT_NAME 512 /* bytes of an event name */
#define CDP_MAX_MESSAGE_ID 512 /* bytes of a message id */
#define CDP_MAX_MENTIONS 100 /* identifiers in one message */
#define CDP_MAX_INDEXED_TRAIT 2000 /* bytes of a text trait that is indexed */
#define CDP_MAX_BATCH 100000 /* messages in one payload */
#define CDP_MAX_TRAITS 1000 /* traits in one message */

/*
 * An event may claim to come from the future by this much before its time is
 * replaced by the time it was received: clocks are wrong, and an event must
 * not win every survivorship contest for years.  One day, in microseconds.
 */
#define CDP_FUTURE_TOLERANCE ((int64) 86400 * 1000000)

/* Events before 1970 are refused: they are clocks that were never set. */
#define CDP_MIN_EVENT_TIME (INT64CONST(-10957) * 86400 * 1000000)

#endif /* CDP_H */
