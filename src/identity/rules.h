/*
 * src/identity/rules.h
 *		Rules of namespaces, from cdp_data.namespace.
 */
#ifndef CDP_IDENTITY_RULES_H
#define CDP_IDENTITY_RULES_H

#include "core/linkage.h"
#include "identity/normalise.h"
#include "identity/who.h"

typedef struct CdpNamespace
{
	const char *name;
	CdpCoreRule rule;
	bool isolate; /* its values lead an unknown person to nobody */
	char **literals; /* blocked values, lower case */
	int nliterals;
	struct varlena *pattern; /* blocked values, one expression, or NULL */
	const CdpNormaliser *normaliser; /* or NULL */
} CdpNamespace;

typedef struct CdpRules
{
	uint64 generation;
	MemoryContext context;
	CdpNamespace *namespaces; /* the default first */
	int n;
	int max_nodes; /* identifiers of one person */
	int max_component; /* identifiers that may be resolved again at once */
	bool repeats; /* links count again; see cdp_core_rule_repeats() */
	bool expires; /* some namespace has a time to live */
	bool isolates; /* some namespace is isolate */
} CdpRules;

extern const CdpRules *cdp_rules(void);
extern void cdp_rules_suppose(const char *changes);
extern const CdpNamespace *cdp_rules_namespace(const char *ns);
extern int cdp_rules_rank(const char *ns);
extern void cdp_rules_order(CdpCoreRule *rules, const char *const *names, int n);
extern void cdp_rules_linkage(CdpLinkage *l);
extern void cdp_rules_normalise(CdpMention *mention);
extern bool cdp_rules_blocked(const char *ns, const char *value);
extern const char *cdp_rules_refusal(CdpTieVerdict verdict, const char *ns);

#endif /* CDP_IDENTITY_RULES_H */
