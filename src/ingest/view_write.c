/*
 * src/ingest/view_write.c
 *		UPDATE cdp.profiles, cdp.upsert_profile(): what ORMs write.
 *
 * An update of a row of the view is a message of type identify about that
 * person, with the columns that changed as its traits: one message, whatever
 * their number, in the event's table like any other, so that replay gives the
 * same person.  Whom the role cannot see it does not update: the row comes
 * from the view, under its policies.
 *
 * Who writes expects to read it.  A value that is there may be from a message
 * with a time yet to come (clocks are wrong, a day is tolerated), or of the
 * same statement; so the message is dated after all values it replaces.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "cdp.h"
#include "compat.h"
#include "identity/rules.h"
#include "ingest/ingest.h"
#include "profile/trait.h"
#include "store.h"

#define VIEW_SOURCE "view"

/* The column of the traits that are not declared. */
#define UNDECLARED "traits"

PG_FUNCTION_INFO_V1(cdp_update_profile);

/* The latest mark (profile/mark.c); where only the events tell, it is one of them. */
static CdpPlan marks_plan = {
	"SELECT max(CASE WHEN jsonb_typeof(m.value) = 'string' "
	"    THEN split_part(m.value #>> '{}', ' ', 1)::bigint "
	"  WHEN m.value ? 'values' THEN (SELECT max(split_part(v.value, ' ', 2)::bigint) "
	"    FROM jsonb_each_text(m.value -> 'values') v) "
	"  ELSE (extract(epoch FROM s.last_seen - timestamptz '2000-01-01 00:00:00+00') * 1000000) "
	"    ::bigint END) "
	"FROM cdp_data.profile p JOIN cdp_data.profile_state s ON s.profile_id = p.profile_id, "
	"  jsonb_each(p.trait_meta) m WHERE p.profile_id = ANY ($1) AND m.key = ANY ($2)",
	2,
	{INT8ARRAYOID, TEXTARRAYOID},
	NULL};

static CdpPlan bearer_plan = {
	"SELECT n.profile_id FROM cdp_data.identifier i JOIN cdp_data.node n "
	"ON n.node_id = i.node_id WHERE i.namespace = $1 AND i.key = $2",
	2,
	{TEXTOID, UUIDOID},
	NULL};

/* -- the message -- */

static void
push_key(JsonbParseState **state, const char *key, int len)
{
	JsonbValue v;

	v.type = jbvString;
	v.val.string.val = unconstify(char *, key);
	v.val.string.len = len;
	pushJsonbValue(state, WJB_KEY, &v);
}

/* People a message is about, as far as they are known; returns how many. */
static int
people_of(const CdpMessage *m, int64 *people)
{
	uint64 seed = cdp_store_installation()->seed;
	int n = 0;

	if (m->about != 0)
		people[n++] = cdp_graph_canonical(m->about, false);
	for (int i = 0; i < m->nmentions; i++)
	{
		uint8 key[16];
		Datum args[2];

		cdp_rules_normalise(&m->mentions[i]);
		cdp_graph_key(seed, m->mentions[i].ns, m->mentions[i].value, key);
		args[0] = CStringGetTextDatum(m->mentions[i].ns);
		args[1] = PointerGetDatum(key);
		if (cdp_store_run(&bearer_plan, args, NULL, false, -1) == 1)
			people[n++] = cdp_store_int64(0, 1);
	}
	return n;
}

/* Dates the message after the values that it replaces; see the head of the file. */
static void
date_after(CdpMessage *m)
{
	int64 *people = palloc(sizeof(int64) * (m->nmentions + 1));
	const char **names = palloc(sizeof(char *) * JsonContainerSize(&m->traits->root));
	JsonbIterator *it = JsonbIteratorInit(&m->traits->root);
	JsonbValue key;
	JsonbValue value;
	Datum args[2];
	bool isnull;
	Datum newest;
	int n = 0;

	(void) JsonbIteratorNext(&it, &key, true);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		(void) JsonbIteratorNext(&it, &value, true);
		names[n++] = pnstrdup(key.val.string.val, key.val.string.len);
	}
	args[1] = cdp_array_text(names, n);
	args[0] = cdp_array_int64(people, people_of(m, people));
	cdp_store_run(&marks_plan, args, NULL, false, 1);
	newest = cdp_store_value(0, 1, &isnull);
	if (!isnull && DatumGetInt64(newest) >= m->ts)
		m->ts = DatumGetInt64(newest) + 1;
}

/*
 * Takes traits of a person: about, or by mentions.  Returns the profile.
 * Inside cdp_store_enter().
 */
static int64
take_traits(const CdpWho *who, Jsonb *traits, Oid caller)
{
	CdpMessage m = {0};

	if (traits && JB_ROOT_COUNT(traits) > CDP_MAX_TRAITS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a message has at most %d traits", CDP_MAX_TRAITS)));
	if (who->n > CDP_MAX_MENTIONS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a message names at most %d identifiers", CDP_MAX_MENTIONS)));
	m.type = "identify";
	m.source = VIEW_SOURCE;
	m.space = CDP_SPACE_MESSAGE;
	m.link = -1;
	m.valid_until = DT_NOEND;
	m.ts = m.received_at = cdp_now();
	m.traits = traits;
	m.about = who->profile_id;
	m.mentions = who->mentions;
	m.nmentions = m.mention_room = who->n;
	cdp_message_make_id(&m);
	cdp_message_key(&m);
	m.content = traits ? XXH3_64bits(VARDATA(traits), VARSIZE(traits) - VARHDRSZ) : 0;
	if (traits)
	{
		cdp_message_mention_traits(&m, traits);
		date_after(&m);
	}
	if (m.status != CDP_REJECTED)
		cdp_ingest_batch(&m, 1, caller, 0);
	if (m.status == CDP_REJECTED)
		ereport(ERROR,
				(errcode(strcmp(m.reason, "unknown_profile") == 0 ?
							 ERRCODE_NO_DATA_FOUND :
							 ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the change was refused: %s", m.reason),
				 errdetail("%s", cdp_message_detail(&m))));
	if (m.misfit)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the value of trait \"%s\" does not fit it", m.misfit),
				 errdetail("It has another type, or is text of more than %d bytes for an "
						   "indexed trait.",
						   CDP_MAX_INDEXED_TRAIT)));
	return m.profile_id;
}

/* -- cdp.upsert_profile(who, traits) -- */

CDP_WHO_OVERLOADS(cdp_upsert_profile)
{
	CdpWho who;
	CdpStore store;
	Jsonb *traits = PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1);
	int64 id;

	if (traits && !JB_ROOT_IS_OBJECT(traits))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("traits must be a JSON object")));
	if (traits && JB_ROOT_COUNT(traits) == 0)
		traits = NULL;
	cdp_who_read(fcinfo, 0, kind, &who);
	cdp_store_enter(&store);
	id = take_traits(&who, traits, store.caller);
	cdp_store_leave(&store);
	PG_RETURN_INT64(id);
}

/* -- UPDATE cdp.profiles -- */

static void push_list(JsonbParseState **state, Datum value, Oid element);

/* A column's value as JSON; output functions under the settings we pin. */
static void
push_value(JsonbParseState **state, JsonbIteratorToken token, Datum value, Oid type)
{
	JsonbValue v;
	char *text;
	Oid output;
	bool varlena;

	if (OidIsValid(get_element_type(type)))
	{
		push_list(state, value, get_element_type(type));
		return;
	}
	v.type = jbvString;
	switch (type)
	{
		case BOOLOID:
			v.type = jbvBool;
			v.val.boolean = DatumGetBool(value);
			break;
		case INT4OID:
		case INT8OID:
			v.type = jbvNumeric;
			v.val.numeric = int64_to_numeric(type == INT4OID ? DatumGetInt32(value) :
															   DatumGetInt64(value));
			break;
		default:
			getTypeOutputInfo(type, &output, &varlena);
			if (type == DATEOID || type == TIMESTAMPTZOID)
				text = JsonEncodeDateTime(NULL, value, type, NULL);
			else
				text = OidOutputFunctionCall(output, value);
			if (type == FLOAT8OID && strpbrk(text, "nN") == NULL)
			{
				v.type = jbvNumeric;
				v.val.numeric = DatumGetNumeric(
					DirectFunctionCall3(numeric_in, CStringGetDatum(text),
										ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
				break;
			}
			v.val.string.val = text;
			v.val.string.len = (int) strlen(text);
	}
	pushJsonbValue(state, token, &v);
}

/* The same of a union: a list. */
static void
push_list(JsonbParseState **state, Datum value, Oid element)
{
	JsonbValue null = {.type = jbvNull};
	Datum *values;
	bool *nulls;
	int n;
	int16 len;
	bool byval;
	char align;

	get_typlenbyvalalign(element, &len, &byval, &align);
	deconstruct_array(DatumGetArrayTypeP(value), element, len, byval, align, &values, &nulls, &n);
	pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			pushJsonbValue(state, WJB_ELEM, &null);
		else
			push_value(state, WJB_ELEM, values[i], element);
	}
	pushJsonbValue(state, WJB_END_ARRAY, NULL);
}

static bool
same_value(JsonbValue *a, JsonbValue *b)
{
	Jsonb *x = JsonbValueToJsonb(a);
	Jsonb *y = JsonbValueToJsonb(b);

	return compareJsonbContainers(&x->root, &y->root) == 0;
}

/*
 * Pushes the pairs of one object that the other has not, or not so; with
 * unset those that the other has not at all, as null.
 */
static void
push_differences(JsonbParseState **state, Jsonb *from, Jsonb *other, bool unset)
{
	JsonbIterator *it = JsonbIteratorInit(&from->root);
	JsonbValue key;
	JsonbValue value;

	(void) JsonbIteratorNext(&it, &key, true);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		JsonbValue *there = other ? getKeyJsonValueFromContainer(&other->root, key.val.string.val,
																 key.val.string.len, NULL) :
									NULL;

		(void) JsonbIteratorNext(&it, &value, true);
		if (there != NULL && (unset || same_value(&value, there)))
			continue;
		if (unset)
			value.type = jbvNull;
		push_key(state, key.val.string.val, key.val.string.len);
		pushJsonbValue(state, WJB_VALUE, &value);
	}
}

/* The undeclared traits that an update of their column changes. */
static void
push_undeclared(JsonbParseState **state, Jsonb *old, Jsonb *new)
{
	if (new != NULL && !JB_ROOT_IS_OBJECT(new))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column \"%s\" of cdp.profiles must be a JSON object", UNDECLARED)));
	if (old != NULL)
		push_differences(state, old, new, true);
	if (new != NULL)
		push_differences(state, new, old, false);
}

typedef struct Change
{
	TupleDesc desc;
	Datum *old;
	bool *old_null;
	Datum *new;
	bool *new_null;
} Change;

static bool
differs(const Change *c, int i)
{
	Form_pg_attribute a = TupleDescAttr(c->desc, i);

	if (c->old_null[i] || c->new_null[i])
		return c->old_null[i] != c->new_null[i];
	return !datum_image_eq(c->old[i], c->new[i], a->attbyval, a->attlen);
}

/* The traits that an update changes, NULL if none; inside cdp_store_enter(). */
static Jsonb *
changed_traits(const Change *c)
{
	JsonbParseState *state = NULL;
	JsonbValue unset = {.type = jbvNull};
	Jsonb *traits;
	int level = cdp_store_pin_settings();

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int declared = 0; declared < 2; declared++)
		for (int i = 0; i < c->desc->natts; i++)
		{
			const char *name = NameStr(TupleDescAttr(c->desc, i)->attname);
			bool is_undeclared = strcmp(name, UNDECLARED) == 0;

			/* first the object, so that a column of its own says the last word */
			if (TupleDescAttr(c->desc, i)->attisdropped || is_undeclared == (declared == 1) ||
				!differs(c, i))
				continue;
			if (is_undeclared)
			{
				push_undeclared(&state, c->old_null[i] ? NULL : DatumGetJsonbP(c->old[i]),
								c->new_null[i] ? NULL : DatumGetJsonbP(c->new[i]));
				continue;
			}
			if (cdp_trait_find(name, (int) strlen(name)) == NULL)
				ereport(ERROR,
						(errcode(ERRCODE_GENERATED_ALWAYS),
						 errmsg("column \"%s\" of cdp.profiles cannot be written", name),
						 errdetail("It follows from what is known of the person; only traits "
								   "can be set."),
						 errhint("Traits are the columns declared with cdp.define_trait() and "
								 "the column traits.")));
			push_key(&state, name, (int) strlen(name));
			if (c->new_null[i])
				pushJsonbValue(&state, WJB_VALUE, &unset);
			else
				push_value(&state, WJB_VALUE, c->new[i],
						   TupleDescAttr(c->desc, i)->atttypid);
		}
	traits = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
	AtEOXact_GUC(false, level);
	return JB_ROOT_COUNT(traits) > 0 ? traits : NULL;
}

/*
 * The row as it is now, for RETURNING: what survived may be another value than
 * the one that was set.  Read as the caller; the given tuple if he may not
 * read it all, or cannot see the person any more.
 */
static HeapTuple
present_row(HeapTuple given, Relation view, int64 id)
{
	static SPIPlanPtr plan = NULL;
	Oid types[1] = {INT8OID};
	Datum args[1] = {Int64GetDatum(id)};
	HeapTuple tuple = given;

	if (pg_class_aclcheck(RelationGetRelid(view), GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		return given;
	SPI_connect();
	if (plan == NULL)
	{
		plan = SPI_prepare("SELECT p.* FROM cdp.profiles p "
						   "WHERE p.profile_id OPERATOR(pg_catalog.=) $1",
						   1, types);
		if (plan == NULL || SPI_keepplan(plan) != 0)
			elog(ERROR, "cdp: could not prepare the query of a profile");
	}
	if (SPI_execute_plan(plan, args, NULL, false, 1) == SPI_OK_SELECT && SPI_processed == 1 &&
		SPI_tuptable->tupdesc->natts == RelationGetDescr(view)->natts)
		tuple = SPI_copytuple(SPI_tuptable->vals[0]);
	SPI_finish();
	return tuple;
}

/* cdp.update_profile(): INSTEAD OF UPDATE ON cdp.profiles */
Datum
cdp_update_profile(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	Change c;
	CdpWho who = {0};
	CdpStore store;
	Jsonb *traits;
	int natts;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ||
		!TRIGGER_FIRED_INSTEAD(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ||
		SPI_fnumber(RelationGetDescr(trigger->tg_relation), "profile_id") != 1)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("cdp.update_profile() is the trigger of cdp.profiles alone")));
	c.desc = RelationGetDescr(trigger->tg_relation);
	natts = c.desc->natts;
	c.old = palloc(sizeof(Datum) * natts);
	c.new = palloc(sizeof(Datum) * natts);
	c.old_null = palloc(sizeof(bool) * natts);
	c.new_null = palloc(sizeof(bool) * natts);
	heap_deform_tuple(trigger->tg_trigtuple, c.desc, c.old, c.old_null);
	heap_deform_tuple(trigger->tg_newtuple, c.desc, c.new, c.new_null);
	who.profile_id = DatumGetInt64(c.old[0]);

	cdp_store_enter(&store);
	traits = changed_traits(&c);
	if (traits != NULL)
		who.profile_id = take_traits(&who, traits, store.caller);
	cdp_store_leave(&store);
	return PointerGetDatum(traits == NULL ? trigger->tg_trigtuple :
											present_row(trigger->tg_newtuple, trigger->tg_relation,
														who.profile_id));
}
