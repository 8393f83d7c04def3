/*
 * src/profile/trait.h
 *		Traits: which are declared, and what a value becomes in its column.
 */
#ifndef CDP_PROFILE_TRAIT_H
#define CDP_PROFILE_TRAIT_H

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

/* A declared trait; an undeclared one survives as "latest". */
typedef struct CdpTrait
{
	const char *name;
	const char *type_name; /* as SQL spells it */
	CdpTraitType type;
	bool indexed;
	bool oldest; /* survivorship "oldest" instead of "latest" */
} CdpTrait;

typedef struct CdpTraitConfig
{
	uint64 generation;
	MemoryContext context;
	MemoryContext previous; /* the one before, still alive */
	int n;
	CdpTrait *traits; /* by name, bytewise */
} CdpTraitConfig;

extern const CdpTraitConfig *cdp_trait_config(void);
extern const CdpTrait *cdp_trait_find(const char *name, int len);
extern bool cdp_trait_canonical(const CdpTrait *trait, JsonbValue *value,
								char **text);

#endif /* CDP_PROFILE_TRAIT_H */
