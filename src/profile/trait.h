/*
 * src/profile/trait.h
 *		Traits: which are declared, and what a value becomes in its column.
 */
#ifndef CDP_PROFILE_TRAIT_H
#define CDP_PROFILE_TRAIT_H

#include "nodes/pg_list.h"
#include "utils/jsonb.h"

typedef enum CdpTraitType
{
	CDP_TRAIT_TEXT,
	CDP_TRAIT_INT,
	CDP_TRAIT_BIGINT,
	CDP_TRAIT_FLOAT8,
	CDP_TRAIT_BOOL,
	CDP_TRAIT_DATE,
	CDP_TRAIT_TIMESTAMPTZ,
	CDP_TRAIT_UUID
} CdpTraitType;

/* Which value survives; see survive.h.  The last four are of values that are there. */
typedef enum CdpSurvival
{
	CDP_SURVIVE_LATEST,
	CDP_SURVIVE_OLDEST,
	CDP_SURVIVE_SOURCE,
	CDP_SURVIVE_FREQUENT,
	CDP_SURVIVE_MAX,
	CDP_SURVIVE_MIN,
	CDP_SURVIVE_UNION
} CdpSurvival;

/* A declared trait; an undeclared one survives as "latest". */
typedef struct CdpTrait
{
	const char *name;
	const char *type_name; /* of the column, as SQL spells it: a union's is an array */
	CdpTraitType type; /* of one value */
	bool indexed;
	CdpSurvival survival;
	const char **sources; /* of source_priority, the most trusted first */
	int nsources;
	bool ignore_empty;
} CdpTrait;

typedef struct CdpTraitConfig
{
	uint64 generation;
	MemoryContext context;
	int n;
	CdpTrait *traits; /* by name, bytewise */
} CdpTraitConfig;

extern const CdpTraitConfig *cdp_trait_config(void);
extern const CdpTrait *cdp_trait_find(const char *name, int len);
extern bool cdp_trait_texts(const CdpTrait *trait, JsonbValue *value, List **texts);
extern bool cdp_trait_canonical(const CdpTrait *trait, JsonbValue *value,
								char **text);

#endif /* CDP_PROFILE_TRAIT_H */
