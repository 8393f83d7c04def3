/*
 * src/profile/dimension.h
 *		Dimensions of affinity: what events say of what people like.
 *
 * An action ("Product Viewed") has a weight.  The event names items, and the
 * catalogue, or the event itself, says their category, brand, colour: each value
 * is credited with the action's weight at the event's time.  A dimension is kept
 * like a metric (metric.h), as a state of the node in the row of all metrics:
 * an event writes no further row, and merges, their undoing, retention,
 * rebuilding and checking are those of metrics.
 *
 * An event is credited by the catalogue as it was when it was received, so that
 * the same events give the same affinities whenever they are folded.  An item
 * that nobody knew then counts as it was described first.
 */
#ifndef CDP_PROFILE_DIMENSION_H
#define CDP_PROFILE_DIMENSION_H

#include "utils/jsonb.h"
#include "utils/timestamp.h"

/* What a dimension keeps of a person, each with its own half-life. */
typedef enum CdpHorizon
{
	CDP_HORIZON_LONG,
	CDP_HORIZON_SHORT,
	CDP_HORIZON_DECLARED,
	CDP_HORIZONS
} CdpHorizon;

/* Items of one event that are looked at, and values of one event in one dimension. */
#define CDP_DIMENSION_ITEMS 200
#define CDP_DIMENSION_CREDITS 1000

/* Levels of a hierarchy; those below are not told apart. */
#define CDP_DIMENSION_LEVELS 10

/* The event by which a person states what she likes. */
#define CDP_PREFERENCE "Preference Stated"

typedef struct CdpDimension
{
	int32 id;
	const char *name;
	char **path; /* in the item's attributes, or the event's properties */
	int npath;
	int64 half_life[CDP_HORIZONS]; /* microseconds */
	int slots;
	int top; /* values of its column in cdp.profiles */
	double climb; /* factor from a level to the one above; 0: no hierarchy */
} CdpDimension;

/* One value that an event credits. */
typedef struct CdpCredit
{
	const char *value; /* not terminated */
	int len;
	double weight;
	bool declared;
	const char *item; /* NULL: none was named */
} CdpCredit;

struct CdpMetricEvent;
typedef struct CdpDimensions CdpDimensions;

/* The configuration, in the current context; inside cdp_store_enter(). */
extern CdpDimensions *cdp_dimensions_load(void);
extern const CdpDimension *cdp_dimension_find(const CdpDimensions *dimensions, int32 id);

/*
 * Before events are credited: the catalogue may have changed since.  kept: what
 * they are credited is kept, so items that nobody knows are noted as wanted;
 * read_only: as the calling query sees it.
 */
extern void cdp_dimension_start(bool kept, bool read_only);

/* May events of this type and name (NULL: none) credit anything? */
extern bool cdp_dimensions_concern(const CdpDimensions *dimensions, const char *type,
								   const char *name);

/* What an event credits; allocated in the current context. */
extern int cdp_dimension_credits(const CdpDimensions *dimensions, const CdpDimension *dimension,
								 const struct CdpMetricEvent *event, CdpCredit **credits);

/* dimension_base.c: some nodes of a round of maintenance; false: it is not time */
extern bool cdp_dimension_base_step(void);

/* item.c: attributes of an item when it was this time, in the current context, or NULL */
typedef struct CdpItem
{
	const char *type; /* or NULL */
	Jsonb *attributes;
} CdpItem;

extern bool cdp_item_find(const char *id, TimestampTz at, bool kept, bool read_only,
						  CdpItem *item);

#endif /* CDP_PROFILE_DIMENSION_H */
