/*
 * src/ingest/schema.h
 *		A subset of JSON Schema: what the properties of an event should be.
 */
#ifndef CDP_INGEST_SCHEMA_H
#define CDP_INGEST_SCHEMA_H

#include "nodes/pg_list.h"
#include "utils/jsonb.h"

typedef struct CdpSchema CdpSchema;

/*
 * Where a document breaks which keyword.  The path is of the schema, never of
 * the document: a key that is not in the schema may be personal data.
 */
typedef struct CdpSchemaFault
{
	const char *path; /* "products[].price"; "$" is the document itself */
	const char *rule; /* "minimum" */
} CdpSchemaFault;

/*
 * Compiles a schema into the current memory context.  Raises
 * invalid_parameter_value, with the place, on what is beyond the subset.
 */
extern CdpSchema *cdp_schema_compile(const Jsonb *schema);

/*
 * The faults of a document, each once.  converted, if not NULL, asks for values
 * of another type to be converted where that loses nothing, and gets the
 * document with them, or NULL if there were none.
 */
extern List *cdp_schema_check(const CdpSchema *schema, Jsonb *document, Jsonb **converted);

#endif /* CDP_INGEST_SCHEMA_H */
