/*
 * src/ingest/config.h
 *		What ingest reads from its configuration tables.
 */
#ifndef CDP_INGEST_CONFIG_H
#define CDP_INGEST_CONFIG_H

#include "utils/timestamp.h"

/* One place of a message where an identifier may be. */
typedef struct CdpIdentifierPath
{
	const char *path; /* "context.device.id" */
	char **parts;
	int nparts;
	const char *ns;
	char **types; /* message types; none: all */
	int ntypes;
} CdpIdentifierPath;

/* [from, to) of one partition of events. */
typedef struct CdpRange
{
	TimestampTz from;
	TimestampTz to;
	Oid relid;
} CdpRange;

struct CdpTrackingPlan;

typedef struct CdpIngestConfig
{
	uint64 generation;
	MemoryContext context;
	CdpIdentifierPath *paths;
	int npaths;
	CdpRange *partitions; /* ascending */
	int npartitions;
	struct CdpTrackingPlan *plan; /* NULL: there is none */
	TimestampTz seen_since; /* of messages before it ids may be forgotten */
} CdpIngestConfig;

extern const CdpIngestConfig *cdp_ingest_config(void);
extern bool cdp_partition_exists(TimestampTz ts);
extern Oid cdp_partition_of(TimestampTz ts); /* InvalidOid: none */
extern int cdp_partition_ensure(TimestampTz from, TimestampTz to);

#endif /* CDP_INGEST_CONFIG_H */
