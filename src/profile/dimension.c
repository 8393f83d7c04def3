/*
 * src/profile/dimension.c
 *		What an event credits in a dimension of affinity.
 *
 *		event --- action ---> weight
 *		      --- item paths ---> items, each with the object that names it
 *		item  --- dimension's path ---> values: of the catalogue, else of that object
 *		value --- hierarchy ---> itself, and less for each level above
 *
 * Paths of items are tried in their order; those that find an item are the
 * first that does.  Where none does, the properties as a whole stand for an
 * item without an id.
 *
 * Several dimensions look at the same event one after the other: what it names
 * is kept for the next of them.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#include "affinity/affinity.h"
#include "compat.h"
#include "profile/dimension.h"
#include "profile/metric.h"
#include "store.h"

typedef struct Action
{
	const char *event;
	double weight;
	char **path; /* of the number that it is multiplied with */
	int npath; /* 0: none */
	double middle; /* which is subtracted from that */
	double most; /* of the number then, either way */
} Action;

typedef struct ItemPath
{
	char **list; /* to an array of objects */
	int nlist; /* 0: none, the path starts at the properties */
	char **path;
	int npath;
} ItemPath;

struct CdpDimensions
{
	int nactions;
	Action *actions; /* by event, as strcmp() has it */
	int npaths;
	ItemPath *paths;
	int n;
	CdpDimension *dimensions;
};

/* An item that an event names. */
typedef struct Ref
{
	const char *id; /* NULL: none */
	JsonbContainer *object; /* that names it */
	bool known;
	CdpItem item;
} Ref;

/* What the event that was looked at last names. */
static struct
{
	bool valid;
	bool kept;
	bool read_only;
	TimestampTz ts;
	uint8 key[16];
	MemoryContext context;
	Jsonb *properties; /* a copy: the objects are in it */
	int n;
	Ref *refs;
} last;

/* -- configuration -- */

/* Runs a statement and stays in the current context, for what is read goes there. */
static int
ask(const char *sql)
{
	MemoryContext context = CurrentMemoryContext;
	int n = cdp_store_run_latest(sql);

	MemoryContextSwitchTo(context);
	return n;
}

static Action *
load_actions(int *n)
{
	Action *actions;

	*n = ask("SELECT a.event, a.weight, a.property, a.middle, a.most "
			 "FROM cdp_data.action a ORDER BY a.event COLLATE \"C\"");
	actions = palloc0(sizeof(Action) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
	{
		bool isnull;
		char *path = cdp_store_text(i, 3);

		actions[i].event = cdp_store_text(i, 1);
		actions[i].weight = DatumGetFloat8(cdp_store_value(i, 2, &isnull));
		if (path)
			actions[i].path = cdp_metric_path(path, &actions[i].npath);
		actions[i].middle = DatumGetFloat8(cdp_store_value(i, 4, &isnull));
		actions[i].most = DatumGetFloat8(cdp_store_value(i, 5, &isnull));
	}
	return actions;
}

static ItemPath *
load_paths(int *n)
{
	ItemPath *paths;

	*n = ask("SELECT p.path FROM cdp_data.item_path p ORDER BY p.position");
	paths = palloc0(sizeof(ItemPath) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
	{
		char *path = cdp_store_text(i, 1);
		char *brackets = strstr(path, "[].");

		if (brackets)
		{
			*brackets = '\0';
			paths[i].list = cdp_metric_path(path, &paths[i].nlist);
			path = brackets + 3;
		}
		paths[i].path = cdp_metric_path(path, &paths[i].npath);
	}
	return paths;
}

static CdpDimension *
load_dimensions(int *n)
{
	CdpDimension *dimensions;

	*n = ask("SELECT d.dimension_id, d.name, d.path, d.half_life, "
			 "  d.short_half_life, d.declared_half_life, d.slots, "
			 "  coalesce(d.hierarchy_factor, 0), d.top FROM cdp_data.dimension d "
			 "ORDER BY d.dimension_id");
	dimensions = palloc0(sizeof(CdpDimension) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
	{
		CdpDimension *d = &dimensions[i];
		bool isnull;

		d->id = (int32) cdp_store_int64(i, 1);
		d->name = cdp_store_text(i, 2);
		d->path = cdp_metric_path(cdp_store_text(i, 3), &d->npath);
		for (int h = 0; h < CDP_HORIZONS; h++)
			d->half_life[h] = cdp_affinity_half_life(
				DatumGetIntervalP(cdp_store_value(i, 4 + h, &isnull)));
		d->slots = (int) cdp_store_int64(i, 7);
		d->climb = DatumGetFloat8(cdp_store_value(i, 8, &isnull));
		d->top = (int) cdp_store_int64(i, 9);
	}
	return dimensions;
}

/* The dimensions; NULL without any, see dimension.h. */
CdpDimensions *
cdp_dimensions_load(void)
{
	CdpDimensions *d = palloc0(sizeof(CdpDimensions));

	d->dimensions = load_dimensions(&d->n);
	if (d->n == 0)
		return NULL;
	d->actions = load_actions(&d->nactions);
	d->paths = load_paths(&d->npaths);
	return d;
}

const CdpDimension *
cdp_dimension_find(const CdpDimensions *dimensions, int32 id)
{
	for (int i = 0; dimensions && i < dimensions->n; i++)
		if (dimensions->dimensions[i].id == id)
			return &dimensions->dimensions[i];
	return NULL;
}

void
cdp_dimension_start(bool kept, bool read_only)
{
	last.valid = false;
	last.kept = kept;
	last.read_only = read_only;
}

/* -- the event -- */

static int
compare_action(const void *word, const void *action)
{
	return strcmp(word, ((const Action *) action)->event);
}

static const Action *
action_of(const CdpDimensions *d, const char *type, const char *name)
{
	const char *word = strcmp(type, "track") == 0 ? name : type;

	if (word == NULL)
		return NULL;
	return bsearch(word, d->actions, d->nactions, sizeof(Action), compare_action);
}

static bool
is_preference(const char *type, const char *name)
{
	return strcmp(type, "track") == 0 && name && strcmp(name, CDP_PREFERENCE) == 0;
}

bool
cdp_dimensions_concern(const CdpDimensions *dimensions, const char *type, const char *name)
{
	return is_preference(type, name) || action_of(dimensions, type, name) != NULL;
}

/* What is at this path of an object; NULL: nothing.  object: that which holds it. */
static JsonbValue *
walk(JsonbContainer *container, char **path, int n, JsonbContainer **object)
{
	JsonbValue *found = NULL;

	for (int i = 0; i < n; i++)
	{
		if (container == NULL || !JsonContainerIsObject(container))
			return NULL;
		if (object)
			*object = container;
		found = getKeyJsonValueFromContainer(container, path[i], (int) strlen(path[i]), NULL);
		container = found && found->type == jbvBinary ? found->val.binary.data : NULL;
	}
	return found;
}

/* Text of a scalar, clipped to what a summary keeps; NULL: it has none. */
static char *
scalar_text(const JsonbValue *value)
{
	CdpMetricInput in;
	int len;

	if (value == NULL || value->type == jbvNull || !cdp_metric_scalar(value, &in) || in.len == 0)
		return NULL;
	len = in.len > CDP_AFFINITY_MAX_VALUE ?
			  pg_mbcliplen(in.text, in.len, CDP_AFFINITY_MAX_VALUE) :
			  in.len;
	return pnstrdup(in.text, len);
}

static void
add_ref(const char *id, JsonbContainer *object)
{
	Ref *ref;

	if (last.n == CDP_DIMENSION_ITEMS)
		return;
	if (last.refs == NULL)
		last.refs = palloc(sizeof(Ref) * CDP_DIMENSION_ITEMS);
	ref = &last.refs[last.n++];
	memset(ref, 0, sizeof(*ref));
	ref->id = id;
	ref->object = object;
}

static void
add_item(const ItemPath *path, JsonbContainer *from)
{
	JsonbContainer *object = NULL;
	char *id = scalar_text(walk(from, path->path, path->npath, &object));

	if (id)
		add_ref(id, object);
}

/* The items that one path finds. */
static void
find_items(const ItemPath *path, JsonbContainer *properties)
{
	JsonbValue *list;
	JsonbIterator *it;
	JsonbValue element;
	JsonbIteratorToken token;

	if (path->nlist == 0)
	{
		add_item(path, properties);
		return;
	}
	list = walk(properties, path->list, path->nlist, NULL);
	if (list == NULL || list->type != jbvBinary || !JsonContainerIsArray(list->val.binary.data))
		return;
	it = JsonbIteratorInit(list->val.binary.data);
	(void) JsonbIteratorNext(&it, &element, true);
	while ((token = JsonbIteratorNext(&it, &element, true)) == WJB_ELEM)
		if (element.type == jbvBinary && JsonContainerIsObject(element.val.binary.data))
			add_item(path, element.val.binary.data);
}

/* Finds what the event names, unless it was looked at just now. */
static void
look_at(const CdpDimensions *d, const CdpMetricEvent *event)
{
	MemoryContext old;

	if (last.valid && last.ts == event->ts && memcmp(last.key, event->key, 16) == 0)
		return;
	last.valid = false;
	if (last.context == NULL)
		last.context = AllocSetContextCreate(CacheMemoryContext, "cdp items of an event",
											 ALLOCSET_DEFAULT_SIZES);
	MemoryContextReset(last.context);
	old = MemoryContextSwitchTo(last.context);
	last.n = 0;
	last.refs = NULL;
	last.properties = palloc(VARSIZE(event->properties));
	memcpy(last.properties, event->properties, VARSIZE(event->properties));
	for (int i = 0; i < d->npaths && last.n == 0; i++)
		find_items(&d->paths[i], &last.properties->root);
	if (last.n == 0)
		add_ref(NULL, &last.properties->root);
	for (int i = 0; i < last.n; i++)
		if (last.refs[i].id)
			last.refs[i].known = cdp_item_find(last.refs[i].id, event->received_at, last.kept,
											   last.read_only, &last.refs[i].item);
	MemoryContextSwitchTo(old);
	last.ts = event->ts;
	memcpy(last.key, event->key, 16);
	last.valid = true;
}

/* -- credits -- */

typedef struct Credits
{
	CdpCredit *credits;
	int n;
	int room;
} Credits;

static void
add_credit(Credits *to, const char *value, int len, double weight, const Ref *ref)
{
	if (to->n == CDP_DIMENSION_CREDITS || len == 0 || weight == 0)
		return;
	if (to->n == to->room)
	{
		to->room = Max(4, to->room * 2);
		to->credits = to->credits ? repalloc(to->credits, sizeof(CdpCredit) * to->room) :
									palloc(sizeof(CdpCredit) * to->room);
	}
	to->credits[to->n++] =
		(CdpCredit){value, len, weight, false, ref->id ? pstrdup(ref->id) : NULL};
}

/*
 * "Women > Shoes / Boots" becomes Women/Shoes/Boots in place; the ends of its
 * levels are noted.
 */
static int
levels_of(char *value, int *ends)
{
	char *to = value;
	int n = 0;
	const char *p = value;

	while (*p != '\0' && n < CDP_DIMENSION_LEVELS)
	{
		const char *start;
		const char *end;

		while (*p == ' ' || *p == '/' || *p == '>')
			p++;
		start = p;
		while (*p != '\0' && *p != '/' && *p != '>')
			p++;
		end = p;
		while (end > start && end[-1] == ' ')
			end--;
		if (end == start)
			continue;
		if (n > 0)
			*to++ = '/';
		memmove(to, start, end - start);
		to += end - start;
		ends[n++] = (int) (to - value);
	}
	return n;
}

static void
credit_text(const CdpDimension *d, char *value, double weight, const Ref *ref, Credits *to)
{
	int ends[CDP_DIMENSION_LEVELS];
	int n;

	if (d->climb == 0)
	{
		add_credit(to, value, (int) strlen(value), weight, ref);
		return;
	}
	n = levels_of(value, ends);
	for (int i = n - 1; i >= 0; i--, weight *= d->climb)
		add_credit(to, value, ends[i], weight, ref);
}

/* Each scalar of an array is a value; true: there was one. */
static bool
credit_values(const CdpDimension *d, JsonbValue *found, double weight, const Ref *ref, Credits *to)
{
	JsonbIterator *it;
	JsonbValue element;
	JsonbIteratorToken token;
	int before = to->n;
	char *text;

	if (found == NULL)
		return false;
	if (found->type != jbvBinary)
	{
		text = scalar_text(found);
		if (text)
			credit_text(d, text, weight, ref, to);
		return text != NULL;
	}
	if (!JsonContainerIsArray(found->val.binary.data))
		return false;
	it = JsonbIteratorInit(found->val.binary.data);
	(void) JsonbIteratorNext(&it, &element, true);
	while ((token = JsonbIteratorNext(&it, &element, true)) == WJB_ELEM)
	{
		text = element.type == jbvBinary ? NULL : scalar_text(&element);
		if (text)
			credit_text(d, text, weight, ref, to);
	}
	return to->n > before;
}

static void
credit_item(const CdpDimension *d, const Ref *ref, double weight, Credits *to)
{
	if (d->npath == 1 && strcmp(d->path[0], "$item") == 0)
	{
		if (ref->id)
			add_credit(to, pstrdup(ref->id), (int) strlen(ref->id), weight, ref);
		return;
	}
	if (d->npath == 1 && strcmp(d->path[0], "$type") == 0)
	{
		if (ref->known && ref->item.type)
			credit_text(d, pstrdup(ref->item.type), weight, ref, to);
		return;
	}
	if (ref->known &&
		credit_values(d, walk(&ref->item.attributes->root, d->path, d->npath, NULL), weight, ref,
					  to))
		return;
	(void) credit_values(d, walk(ref->object, d->path, d->npath, NULL), weight, ref, to);
}

/* The number at a path; false: there is none. */
static bool
number_at(Jsonb *properties, char **path, int n, double *number)
{
	JsonbValue *value = cdp_metric_property(path, n, properties);

	if (value == NULL || value->type != jbvNumeric)
		return false;
	*number = DatumGetFloat8(
		DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value->val.numeric)));
	return !isnan(*number);
}

/* What a person says she likes: {"dimension", "value", "weight"}. */
static void
credit_preference(const CdpDimension *d, const CdpMetricEvent *event, Credits *to)
{
	static char *dimension_path[] = {"dimension"};
	static char *value_path[] = {"value"};
	static char *weight_path[] = {"weight"};
	char *name = scalar_text(cdp_metric_property(dimension_path, 1, event->properties));
	Ref ref = {0};
	double weight = 1;

	if (name == NULL || strcmp(name, d->name) != 0)
		return;
	if (number_at(event->properties, weight_path, 1, &weight))
		weight = Max(Min(weight, 1000), -1000);
	(void) credit_values(d, cdp_metric_property(value_path, 1, event->properties), weight, &ref,
						 to);
	for (int i = 0; i < to->n; i++)
		to->credits[i].declared = true;
}

/* What an event credits; see dimension.h. */
int
cdp_dimension_credits(const CdpDimensions *dimensions, const CdpDimension *dimension,
					  const CdpMetricEvent *event, CdpCredit **credits)
{
	Credits to = {0};
	const Action *action;
	double weight;

	if (event->properties == NULL)
		return 0;
	if (is_preference(event->type, event->name))
		credit_preference(dimension, event, &to);
	else if ((action = action_of(dimensions, event->type, event->name)) != NULL)
	{
		weight = action->weight;
		if (action->npath > 0)
		{
			double number;

			if (!number_at(event->properties, action->path, action->npath, &number))
				return 0;
			number -= action->middle;
			weight *= Max(Min(number, action->most), -action->most);
		}
		look_at(dimensions, event);
		for (int i = 0; i < last.n; i++)
			credit_item(dimension, &last.refs[i], weight, &to);
	}
	*credits = to.credits;
	return to.n;
}
