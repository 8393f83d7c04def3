/*
 * src/column.h
 *		What is known of a person besides her stored columns.  Floor 0.
 *
 * A metric, a sequence, a session: a value that is computed of her when it is
 * asked for, and that may change without an event.  Rules of segments see all
 * of them as columns, through this interface; whoever computes one registers a
 * source.  A column of that name and type must be in cdp_data.profile_rule
 * (cdp.profile_columns()).
 */
#ifndef CDP_COLUMN_H
#define CDP_COLUMN_H

#include "utils/timestamp.h"

typedef struct CdpColumnSource
{
	/*
	 * Is there one of this name?  Then its number, and whether the passing of
	 * time alone may change it.  Inside cdp_store_enter().
	 */
	bool (*find)(const char *name, int32 *definition, bool *timed);

	/*
	 * The person's value at "now", under the active snapshot, in the current
	 * memory context.  due: the earliest instant after now at which it may be
	 * another one without an event, DT_NOEND if there is none; an instant that
	 * turns out too early does no harm.  Inside cdp_store_enter().
	 */
	Datum (*value)(int64 profile_id, int32 definition, TimestampTz now, bool *isnull,
				   TimestampTz *due);

	/* May an event of this type and name (NULL: none) change it? */
	bool (*concerns)(int32 definition, const char *type, const char *name);
} CdpColumnSource;

extern void cdp_column_register(const CdpColumnSource *source);
extern const CdpColumnSource *cdp_column_find(const char *name, int32 *definition, bool *timed);

/* Registers the sources of the library; profile/column.c. */
extern void cdp_column_register_all(void);

#endif /* CDP_COLUMN_H */
