/*
 * src/ingest/config.h
 *		What ingest reads from its configuration tables.
 */
#ifndef CDP_INGEST_CONFIG_H
#define CDP_INGEST_CONFIG_H

#include "utils/timestamp.h"

/* Rank of namespaces that cdp_data.namespace does not list. */
#define CDP_DEFAULT_RANK 100

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

typedef struct CdpRank
{
	const char *ns;
	int rank;
} CdpRank;

/* [from, to) of one partition of events. */
typedef struct CdpRange
{
	TimestampTz from;
	TimestampTz to;
} CdpRange;

typedef struct CdpIngestConfig
{
	uint64 generation;
	MemoryContext context;
	MemoryContext previous; /* the one before, still alive */
	CdpIdentifierPath *paths;
	int npaths;
	CdpRank *ranks;
	int nranks;
	CdpRange *partitions; /* ascending */
	int npartitions;
} CdpIngestConfig;

extern const CdpIngestConfig *cdp_ingest_config(void);
extern int cdp_ingest_rank(const char *ns);
extern bool cdp_partition_exists(TimestampTz ts);
extern int cdp_partition_ensure(TimestampTz from, TimestampTz to);

#endif /* CDP_INGEST_CONFIG_H */
