/*
 * src/ingest/row_message.c
 *		The message of a row: values put into a shape.
 *
 * jsonb_build_object() would look up each argument's type for each row, and an
 * object in an object would be built twice.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "cdp.h"
#include "compat.h"

/* The message itself, its context, the list of identifiers, one of them; a few to spare. */
#define MAX_DEPTH 8

PG_FUNCTION_INFO_V1(cdp_row_message);

typedef enum NodeKind
{
	NODE_TEXT, /* as it stands */
	NODE_VALUE, /* an argument */
	NODE_ID, /* a text, and arguments as a list in JSON behind it */
	NODE_OBJECT,
	NODE_LIST
} NodeKind;

typedef struct Part
{
	NodeKind kind;
	char *text;
	int argument; /* from 0 */
	int n;
	char **keys; /* of an object */
	struct Part *children;
} Part;

typedef struct Shape
{
	Part root;
	int nargs;
	Oid *types;
	FmgrInfo *convert; /* for types without a way of their own here */
} Shape;

static void
bad_shape(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("this is not the shape of a message"),
			 errhint("cdp.attach() makes shapes.")));
}

static void read_node(Shape *shape, Part *node, const JsonbValue *value, int depth);

static int
read_argument(const Shape *shape, const JsonbValue *value)
{
	int i;

	if (value->type != jbvNumeric)
		bad_shape();
	i = DatumGetInt32(DirectFunctionCall1(numeric_int4, NumericGetDatum(value->val.numeric)));
	if (i < 1 || i > shape->nargs)
		bad_shape();
	return i - 1;
}

/* {"": ["prefix", 1, 2]} */
static void
read_id(Shape *shape, Part *node, const JsonbValue *value)
{
	JsonbContainer *list = value->type == jbvBinary ? value->val.binary.data : NULL;
	int n = list && JsonContainerIsArray(list) ? (int) JsonContainerSize(list) : 0;
	JsonbValue *prefix;

	if (n < 1)
		bad_shape();
	prefix = getIthJsonbValueFromContainer(list, 0);
	if (prefix->type != jbvString)
		bad_shape();
	node->kind = NODE_ID;
	node->text = pnstrdup(prefix->val.string.val, prefix->val.string.len);
	node->n = n - 1;
	node->children = palloc0(sizeof(Part) * Max(node->n, 1));
	for (int i = 0; i < node->n; i++)
	{
		node->children[i].kind = NODE_VALUE;
		node->children[i].argument =
			read_argument(shape, getIthJsonbValueFromContainer(list, i + 1));
	}
}

static void
read_container(Shape *shape, Part *node, JsonbContainer *container, int depth)
{
	JsonbIterator *it = JsonbIteratorInit(container);
	JsonbIteratorToken token;
	JsonbValue v;
	int i = 0;

	token = JsonbIteratorNext(&it, &v, true);
	node->kind = token == WJB_BEGIN_OBJECT ? NODE_OBJECT : NODE_LIST;
	node->n = (int) JsonContainerSize(container);
	node->keys = palloc0(sizeof(char *) * Max(node->n, 1));
	node->children = palloc0(sizeof(Part) * Max(node->n, 1));
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_END_OBJECT && token != WJB_END_ARRAY)
	{
		if (token == WJB_KEY)
		{
			node->keys[i] = pnstrdup(v.val.string.val, v.val.string.len);
			(void) JsonbIteratorNext(&it, &v, true);
		}
		if (node->keys[i] && node->keys[i][0] == '\0' && v.type == jbvBinary)
		{
			read_id(shape, node, &v);
			return;
		}
		read_node(shape, &node->children[i++], &v, depth + 1);
	}
}

static void
read_node(Shape *shape, Part *node, const JsonbValue *value, int depth)
{
	if (depth > MAX_DEPTH)
		bad_shape();
	switch (value->type)
	{
		case jbvString:
			node->kind = NODE_TEXT;
			node->text = pnstrdup(value->val.string.val, value->val.string.len);
			break;
		case jbvNumeric:
			node->kind = NODE_VALUE;
			node->argument = read_argument(shape, value);
			break;
		case jbvBinary:
			read_container(shape, node, value->val.binary.data, depth);
			break;
		default:
			bad_shape();
	}
}

/* Reads the shape once per query; the types of the arguments do not change in it. */
static Shape *
read_shape(FunctionCallInfo fcinfo)
{
	MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	Shape *shape = palloc0(sizeof(Shape));
	Jsonb *document = PG_GETARG_JSONB_P_COPY(0);
	JsonbValue root = {.type = jbvBinary};

	shape->nargs = PG_NARGS() - 1;
	shape->types = palloc0(sizeof(Oid) * Max(shape->nargs, 1));
	shape->convert = palloc0(sizeof(FmgrInfo) * Max(shape->nargs, 1));
	for (int i = 0; i < shape->nargs; i++)
		shape->types[i] = get_fn_expr_argtype(fcinfo->flinfo, i + 1);
	root.val.binary.data = &document->root;
	if (!JB_ROOT_IS_OBJECT(document))
		bad_shape();
	read_node(shape, &shape->root, &root, 1);
	MemoryContextSwitchTo(old);
	fcinfo->flinfo->fn_extra = shape;
	return shape;
}

/* What to_jsonb() makes of a value. */
static void
set_converted(Shape *shape, int i, MemoryContext context, Datum datum, JsonbValue *value)
{
	FmgrInfo *convert = &shape->convert[i];
	Jsonb *document;

	if (!OidIsValid(convert->fn_oid))
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		Const *null = makeNullConst(shape->types[i], -1, InvalidOid);

		fmgr_info_cxt(F_TO_JSONB, convert, context);
		fmgr_info_set_expr((Node *) makeFuncExpr(F_TO_JSONB, JSONBOID, list_make1(null), InvalidOid,
												 InvalidOid, COERCE_EXPLICIT_CALL),
						   convert);
		MemoryContextSwitchTo(old);
	}
	document = DatumGetJsonbP(FunctionCall1(convert, datum));
	if (JB_ROOT_IS_SCALAR(document))
	{
		(void) JsonbExtractScalar(&document->root, value);
		return;
	}
	value->type = jbvBinary;
	value->val.binary.data = &document->root;
	value->val.binary.len = (int) VARSIZE(document) - VARHDRSZ;
}

static void
set_value(FunctionCallInfo fcinfo, Shape *shape, int i, JsonbValue *value)
{
	Datum datum = PG_GETARG_DATUM(i + 1);

	value->type = jbvNull;
	if (PG_ARGISNULL(i + 1))
		return;
	switch (shape->types[i])
	{
		case BOOLOID:
			value->type = jbvBool;
			value->val.boolean = DatumGetBool(datum);
			return;
		case INT2OID:
			value->type = jbvNumeric;
			value->val.numeric = int64_to_numeric(DatumGetInt16(datum));
			return;
		case INT4OID:
			value->type = jbvNumeric;
			value->val.numeric = int64_to_numeric(DatumGetInt32(datum));
			return;
		case INT8OID:
			value->type = jbvNumeric;
			value->val.numeric = int64_to_numeric(DatumGetInt64(datum));
			return;
		case TEXTOID:
		case VARCHAROID:
		{
			text *t = DatumGetTextPP(datum);

			value->type = jbvString;
			value->val.string.val = VARDATA_ANY(t);
			value->val.string.len = (int) VARSIZE_ANY_EXHDR(t);
			return;
		}
		default:
			set_converted(shape, i, fcinfo->flinfo->fn_mcxt, datum, value);
	}
}

static void
set_text(JsonbValue *value, char *text)
{
	value->type = jbvString;
	value->val.string.val = text;
	value->val.string.len = (int) strlen(text);
}

static char *
id_text(FunctionCallInfo fcinfo, Shape *shape, const Part *node)
{
	JsonbParseState *state = NULL;
	JsonbValue value;
	Jsonb *list;

	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < node->n; i++)
	{
		set_value(fcinfo, shape, node->children[i].argument, &value);
		pushJsonbValue(&state, WJB_ELEM, &value);
	}
	list = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL));
	return psprintf("%s%s", node->text, JsonbToCString(NULL, &list->root, VARSIZE(list)));
}

/* Pushes a node; token: as a value of an object or an element of a list. */
static JsonbValue *
push_node(FunctionCallInfo fcinfo, Shape *shape, const Part *node, JsonbParseState **state,
		  JsonbIteratorToken token)
{
	JsonbValue value;

	check_stack_depth();
	switch (node->kind)
	{
		case NODE_TEXT:
			set_text(&value, node->text);
			return pushJsonbValue(state, token, &value);
		case NODE_VALUE:
			set_value(fcinfo, shape, node->argument, &value);
			return pushJsonbValue(state, token, &value);
		case NODE_ID:
			set_text(&value, id_text(fcinfo, shape, node));
			return pushJsonbValue(state, token, &value);
		case NODE_LIST:
			pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
			for (int i = 0; i < node->n; i++)
				push_node(fcinfo, shape, &node->children[i], state, WJB_ELEM);
			return pushJsonbValue(state, WJB_END_ARRAY, NULL);
		default:
			pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
			for (int i = 0; i < node->n; i++)
			{
				set_text(&value, node->keys[i]);
				pushJsonbValue(state, WJB_KEY, &value);
				push_node(fcinfo, shape, &node->children[i], state, WJB_VALUE);
			}
			return pushJsonbValue(state, WJB_END_OBJECT, NULL);
	}
}

/*
 * cdp.row_message(shape, VARIADIC arguments): the shape, in which numbers stand
 * for arguments, from 1, and {"": ["prefix", 1, 2]} for a text: the prefix and
 * a list of arguments in JSON.  Values become what to_jsonb() makes of them.
 */
Datum
cdp_row_message(PG_FUNCTION_ARGS)
{
	Shape *shape = fcinfo->flinfo->fn_extra;
	JsonbParseState *state = NULL;

	if (PG_ARGISNULL(0) || get_fn_expr_variadic(fcinfo->flinfo))
		bad_shape();
	if (shape == NULL)
		shape = read_shape(fcinfo);
	PG_RETURN_POINTER(
		JsonbValueToJsonb(push_node(fcinfo, shape, &shape->root, &state, WJB_VALUE)));
}
