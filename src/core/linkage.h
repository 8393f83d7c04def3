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
 *		over, the others join; a link marked override joins whatever limit it
 *		breaks.
 *
 * A limit counts values of a namespace within one person.  It is broken only
 * by a link that adds to a person beyond it: who was let beyond it on purpose
 * still gets other identifiers.
 *
 * Without newest_wins a link counts where it was first seen, for repeating it
 * changes nothing: people only grow.  With newest_wins in the rules it counts
 * again where it was last seen.
 *
 * People may enter as seeds, one node for all she is (cdp_core_linkage_run()
 * with seeded set).  That is exact for what is newer than all that made the
 * people it touches: it is the last in order.  It is exact for what is older
 * and not refused, too, as long as nobody is beyond a limit and, with rules
 * that look at time, nothing was refused to them: whatever the order, all of
 * them fit.  Otherwise the answer is CDP_LINKAGE_REPLAY, and the caller comes
 * back with all nodes and links of the components.
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
	const char *name; /* of two with one rank the first by name is more important */
	int32_t rank; /* lower is more important */
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
	bool contested; /* of a seed: a link of hers was refused or dropped */
	bool beyond; /* of a seed: she has more of something than its limit */
	int64_t last_seen;
	int32_t size; /* of a seed: nodes */
	const int32_t *counts; /* of a seed: values by rule */
	CdpCorePos newest; /* of a seed: place of the newest link that made her */
	/* out */
	bool replay; /* of a seed: what she is part of must be replayed */
} CdpCoreNode;

typedef struct CdpCoreLink
{
	int32_t n;
	const int32_t *nodes; /* most important first, no node twice */
	CdpCorePos first;
	CdpCorePos last; /* looked at with newest_wins only */
	bool override; /* overrules limits */
	/* out */
	uint8_t *verdict; /* n of CdpTieVerdict; the first is CDP_JOINED or CDP_BARRED */
	bool decided; /* not all of its nodes were one person already */
	int32_t rule; /* CDP_OVER_LIMIT: whose limit */
	int32_t by; /* CDP_NEWER_LINK: index of the newer link */
	CdpCorePos now; /* internal */
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
	bool seeded; /* some nodes are seeds */
	bool as_it_comes; /* seeded: decide what would need a replay as it comes */
	bool repeats; /* some rule, of whatever namespace, is newest_wins */
	bool timed; /* some rule counts by time */
	void *(*alloc)(size_t size);
	bool (*interrupted)(void); /* called now and then; may leave by longjmp; may be NULL */
	/* out */
	int32_t *group; /* per node: representative of its person */
	CdpCorePos *newest; /* per representative: place of the newest link that made it */
	bool *contested; /* per representative: a link of theirs was not kept whole */
	bool *beyond; /* per representative: was let beyond a limit; see cdp_core_linkage_beyond() */

	/* internal */
	int32_t *next;
	int32_t *tail;
	int32_t *size;
	int32_t *counts;
	int64_t *joined;
	int32_t *tag_start;
	int32_t *tags;
	int32_t *mark;
	int32_t stamp;
} CdpLinkage;

extern int cdp_core_pos_compare(const CdpCorePos *a, const CdpCorePos *b);
extern CdpLinkageAnswer cdp_core_linkage_run(CdpLinkage *l);
extern bool cdp_core_linkage_beyond(const CdpLinkage *l, int32_t group);

#endif /* CDP_CORE_LINKAGE_H */
