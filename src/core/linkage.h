/*
 * src/core/linkage.h
 *		Which identifiers are one person, by evidence and rules.
 *
 * Evidence is a set of links; a link says that its nodes are one person.  The
 * outcome is defined as what comes out when the links are taken one after the
 * other in the order of (time, key), whatever order they arrived in:
 *
 *	  - a link whose nodes may all be one person joins them;
 *	  - otherwise the most important namespace whose limit would be broken says
 *		what happens: demote takes the nodes by rank and stops at the first
 *		that does not fit; reject joins none; newest_wins takes the link and
 *		drops older ones of the people it touches: they are built anew from
 *		this link first, then from the others by rank of their ends, newest
 *		first;
 *	  - a separation is never overruled: the nodes it keeps apart are passed
 *		over, the others join;
 *	  - a link marked override comes before all others, whatever its time, and
 *		joins whatever limit it breaks;
 *	  - where only the number of nodes would be too large, the link is taken as
 *		with demote.
 *
 * A limit counts values of a namespace within one person, with a period those
 * that were first joined with others within this time before the link.  It is
 * broken only by a link that adds to a person beyond it: who was let beyond it
 * on purpose still gets other identifiers.
 *
 * Where every limit is a demote for all time a link counts where it was first
 * seen, for repeating it changes nothing: people only grow.  Otherwise
 * ("repeats") it counts again where it was last seen: by then the period may
 * be over, or another namespace be the one that decides.
 *
 * People may enter as seeds, one node for all she is (cdp_core_linkage_run()
 * with seeded set).  That is exact as long as nothing is refused, or what is
 * refused is newer than all that made the people it would have joined: then
 * it is the last in order.  See needs_replay() for what else it takes.
 * Otherwise the answer is CDP_LINKAGE_REPLAY, and the caller comes back with
 * all nodes and links of the components.
 *
 * Pure C.  Memory comes from the caller's allocator and is the caller's to
 * free as a whole.
 */
#ifndef CDP_CORE_LINKAGE_H
#define CDP_CORE_LINKAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum CdpPolicy
{
	CDP_POLICY_DEMOTE,
	CDP_POLICY_NEWEST_WINS,
	CDP_POLICY_REJECT
} CdpPolicy;

/* How a node of a link is tied to the link's first one. */
typedef enum CdpTieVerdict
{
	CDP_JOINED,
	CDP_OVER_LIMIT, /* a namespace's limit */
	CDP_TOO_LARGE, /* nodes of one person */
	CDP_SEPARATED, /* somebody said that they are not one person */
	CDP_NEWER_LINK, /* was joined, until a newer link took one end */
	CDP_BARRED, /* the value is blocked */
	CDP_ISOLATED /* anonymous, and the person was known already */
} CdpTieVerdict;

typedef enum CdpLinkageAnswer
{
	CDP_LINKAGE_DONE,
	CDP_LINKAGE_REPLAY /* seeds do not suffice; see CdpCorePerson.replay */
} CdpLinkageAnswer;

/* Place in the order: time in microseconds, then key. */
typedef struct CdpCorePos
{
	int64_t ts;
	uint8_t key[16];
} CdpCorePos;

/* Rule of a namespace. */
typedef struct CdpCoreRule
{
	int32_t rank; /* lower is more important; of two alike the first in the list is */
	int32_t limit; /* values a person; 0: no limit */
	int64_t period; /* count those of this time before the link, us; 0: all */
	int64_t ttl; /* values not seen for this time do not count, us; 0: all do */
	CdpPolicy policy;
} CdpCoreRule;

typedef struct CdpCoreNode
{
	int32_t rule; /* index of its namespace's; not looked at for a seed */
	bool seed; /* stands for a person with many nodes */
	bool barred; /* takes part in no link */
	bool uncounted; /* its identifier is no more */
	bool separated; /* of a seed: separations touch her */
	bool contested; /* of a seed: as CdpLinkage.contested was */
	int64_t last_seen;
	int32_t size; /* of a seed: nodes */
	const int32_t *counts; /* of a seed: values by rule */
	CdpCorePos newest; /* of a seed: as CdpLinkage.newest was */
	/* out */
	bool replay; /* of a seed: what she is part of must be replayed */
} CdpCoreNode;

typedef struct CdpCoreLink
{
	int32_t n;
	const int32_t *nodes; /* most important first, no node twice */
	CdpCorePos first;
	CdpCorePos last; /* looked at with "repeats" only */
	bool override; /* overrules limits */
	bool mention; /* seeded: of one node; it says when that was seen */
	bool revives; /* seeded: a value of it that seemed to be over was not */
	/* out */
	uint8_t *verdict; /* n of CdpTieVerdict; the first is CDP_JOINED or CDP_BARRED */
	bool decided; /* not all of its nodes were one person already */
	int32_t rule; /* CDP_OVER_LIMIT: whose limit */
	int32_t by; /* CDP_NEWER_LINK: index of the newer link */
	/* internal */
	int32_t hub; /* index of the first that is not barred, -1: all are */
	CdpCorePos now;
} CdpCoreLink;

/* Nodes of one side must not be one person with nodes of the other. */
typedef struct CdpCoreSeparation
{
	int32_t n[2];
	const int32_t *nodes[2];
} CdpCoreSeparation;

typedef struct CdpLinkage
{
	/* in */
	int32_t nrules;
	const CdpCoreRule *rules;
	int32_t nnodes;
	CdpCoreNode *nodes;
	int32_t nlinks;
	CdpCoreLink *links;
	int32_t nseparations;
	const CdpCoreSeparation *separations;
	int32_t max_nodes; /* of one person; 0: any number */
	bool repeats; /* see cdp_core_rule_repeats() */
	bool seeded; /* some nodes are seeds */
	bool as_it_comes; /* seeded: decide what would need a replay as it comes */
	void *(*alloc)(size_t size);
	bool (*interrupted)(void); /* called now and then; may leave by longjmp; may be NULL */
	/* out */
	int32_t *group; /* per node: representative of its person */
	/* per representative: place of the newest link that made it; with repeats, that touched it */
	CdpCorePos *newest;
	/* per representative: a link was not kept whole, or only because of times */
	bool *contested;

	/* internal */
	int32_t *next;
	int32_t *tail;
	int32_t *size;
	int32_t *counts;
	int64_t *joined;
	int32_t *tag_start; /* sides of separations by node */
	int32_t *tags;
	int32_t *tag_next; /* per representative, through those of her nodes: each side once */
	int32_t *tag_head;
	int32_t *mark; /* by side */
	int32_t stamp;
	bool *apart; /* of seeds, per representative: separations touch her */
	bool *again; /* of seeds, per representative: to be replayed */
	int32_t *hub_start; /* links by hub */
	int32_t *hub_links;
	int32_t *scratch; /* as many as nodes */
	void *ties;
	int32_t tie_room;
} CdpLinkage;

extern bool cdp_core_rule_repeats(const CdpCoreRule *rule);
extern int cdp_core_pos_compare(const CdpCorePos *a, const CdpCorePos *b);
extern CdpLinkageAnswer cdp_core_linkage_run(CdpLinkage *l);

#endif /* CDP_CORE_LINKAGE_H */
