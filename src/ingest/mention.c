/*
 * src/ingest/mention.c
 *		Whom the messages of a batch name: identifiers in their normal form, as
 *		a graph.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"

#include "cdp.h"
#include "compat.h"
#include "identity/rules.h"
#include "ingest/batch.h"
#include "store.h"

static CdpPlan about_plan = {
	"SELECT i.namespace, i.value FROM cdp_data.node n "
	"JOIN cdp_data.identifier i ON i.node_id = n.node_id "
	"LEFT JOIN cdp_data.namespace r ON r.name = i.namespace "
	"LEFT JOIN cdp_data.namespace d ON d.name = '*' "
	"WHERE n.profile_id = $1 AND i.ended IS NULL "
	"ORDER BY coalesce(r.rank, d.rank, 100), i.namespace, i.node_id LIMIT 1",
	1,
	{INT8OID},
	NULL};

static CdpPlan all_plan = {
	"SELECT i.namespace, i.value FROM cdp_data.node n "
	"JOIN cdp_data.identifier i ON i.node_id = n.node_id "
	"WHERE n.profile_id = $1 AND i.ended IS NULL ORDER BY i.namespace, i.node_id",
	1,
	{INT8OID},
	NULL};

/*
 * Messages about a profile id get an identifier of that person: the highest-
 * ranking one; a consent covers all she has.
 */
void
cdp_batch_resolve_about(CdpBatch *batch)
{
	int64 *about = palloc(sizeof(int64) * Max(batch->n, 1));
	int n = 0;

	for (int i = 0; i < batch->n; i++)
	{
		CdpMessage *m = &batch->messages[i];
		int64 id;
		Datum args[1];
		int rows;
		bool all;

		if (m->about == 0 || m->status != CDP_ACCEPTED)
			continue;
		m->by_id = true;
		id = cdp_graph_canonical(m->about, false);
		if (id == 0)
		{
			cdp_message_reject(m, "unknown_profile", "there is no profile with this id");
			continue;
		}
		args[0] = Int64GetDatum(id);
		all = cdp_message_is_consent(m);
		rows = cdp_store_run(all ? &all_plan : &about_plan, args, NULL, false, -1);
		if (all)
			about[n++] = id;
		else if (rows == 0)
		{
			cdp_message_reject(m, "unknown_profile", "the profile has no identifier");
			continue;
		}
		m->mention_room = m->nmentions + rows;
		m->mentions = m->mentions ?
						  repalloc(m->mentions, sizeof(CdpMention) * m->mention_room) :
						  palloc(sizeof(CdpMention) * m->mention_room);
		for (int r = 0; r < rows; r++)
		{
			CdpMention *mention = &m->mentions[m->nmentions];
			bool known = false;

			mention->ns = cdp_store_text(r, 1);
			mention->value = cdp_store_text(r, 2);
			for (int k = 0; k < m->nmentions && !known; k++)
				known = strcmp(m->mentions[k].ns, mention->ns) == 0 &&
						strcmp(m->mentions[k].value, mention->value) == 0;
			if (!known)
				m->nmentions++;
		}
	}
	batch->graph.about = about;
	batch->graph.nabout = n;
	/* such a message comes alone */
	batch->graph.by_id = batch->n == 1 && batch->messages[0].by_id;
}

/*
 * Brings identifiers to the form their namespaces ask for, and leaves out
 * those that are nobody's (blocked values).  The event keeps
 * what was left out, for the rules may change.
 */
void
cdp_batch_screen(CdpBatch *batch)
{
	for (int i = 0; i < batch->n; i++)
	{
		CdpMessage *m = &batch->messages[i];
		List *blocked = NIL;
		int n = 0;

		if (m->status != CDP_ACCEPTED || m->about != 0)
			continue;
		for (int k = 0; k < m->nmentions; k++)
		{
			cdp_rules_normalise(&m->mentions[k]);
			if (cdp_rules_blocked(m->mentions[k].ns, m->mentions[k].value))
				blocked = lappend(blocked,
								  psprintf("%s:%s", m->mentions[k].ns, m->mentions[k].value));
			else
				m->mentions[n++] = m->mentions[k];
		}
		m->nmentions = n;
		if (blocked == NIL)
			continue;
		m->blocked = blocked;
		if (n == 0)
			cdp_message_reject(m, "blocked_identifier",
							   "every identifier of the message has a blocked value");
	}
}

/* Entries of the batch's hash of identifiers. */
typedef struct IdentKey
{
	uint8 key[16];
	int index; /* into graph->idents */
} IdentKey;

static int
compare_mentions(const void *a, const void *b, void *arg)
{
	CdpIdent *idents = arg;
	const CdpIdent *x = &idents[*(const int *) a];
	const CdpIdent *y = &idents[*(const int *) b];
	int cmp;

	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	cmp = strcmp(x->ns, y->ns);
	return cmp != 0 ? cmp : strcmp(x->value, y->value);
}

/* Up to so many mentions are looked through; more are hashed. */
#define FEW_MENTIONS 16

/* The identifier of a key among those met so far, or the next one; *found says which. */
static int
ident_of(CdpGraph *graph, HTAB *known, const uint8 *key, bool *found)
{
	IdentKey *entry;

	if (known == NULL)
	{
		int i = 0;

		while (i < graph->nidents && memcmp(graph->idents[i].key, key, 16) != 0)
			i++;
		*found = i < graph->nidents;
		return i;
	}
	entry = hash_search(known, key, HASH_ENTER, found);
	if (!*found)
		entry->index = graph->nidents;
	return entry->index;
}

/*
 * Collects the distinct identifiers and one link per message.  Duplicates get
 * a link too, a dead one, so that their person can be told; their
 * identifiers are looked up and never created.
 */
void
cdp_batch_build_graph(CdpBatch *batch)
{
	CdpGraph *graph = &batch->graph;
	uint64 seed = cdp_store_installation()->seed;
	HASHCTL ctl = {0};
	HTAB *known = NULL;
	int room = 0;

	for (int i = 0; i < batch->n; i++)
		if (batch->messages[i].status != CDP_REJECTED)
			room += batch->messages[i].nmentions;
	graph->idents = palloc0(sizeof(CdpIdent) * Max(room, 1));
	graph->links = palloc0(sizeof(CdpLink) * batch->n);
	ctl.keysize = 16;
	ctl.entrysize = sizeof(IdentKey);
	ctl.hcxt = CurrentMemoryContext;
	if (room > FEW_MENTIONS)
		known = hash_create("cdp identifiers of a batch", room, &ctl,
							HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	for (int i = 0; i < batch->n; i++)
	{
		CdpMessage *m = &batch->messages[i];
		CdpLink *link;

		m->link = -1;
		if (m->status == CDP_REJECTED)
			continue;
		m->link = graph->nlinks;
		link = &graph->links[graph->nlinks++];
		link->idents = palloc(sizeof(int) * Max(m->nmentions, 1));
		link->dead = m->status == CDP_DUPLICATE;
		link->ts = m->ts;
		memcpy(link->message_key, m->key, 16);
		link->source = m->source;
		link->message_id = m->message_id;
		link->rule = m->rule ? m->rule : "message";
		link->reason = m->merge_reason;
		link->actor = m->actor;
		link->keeps_all = cdp_message_is_consent(m);
		for (int k = 0; k < m->nmentions; k++)
		{
			uint8 key[16];
			CdpIdent *ident;
			int index;
			bool found;
			bool twice = false;

			cdp_graph_key(seed, m->mentions[k].ns, m->mentions[k].value, key);
			index = ident_of(graph, known, key, &found);
			ident = &graph->idents[index];
			if (!found)
			{
				graph->nidents++;
				ident->ns = m->mentions[k].ns;
				ident->value = m->mentions[k].value;
				memcpy(ident->key, key, 16);
				ident->rank = cdp_rules_rank(ident->ns);
				ident->first_seen = DT_NOEND;
				ident->last_seen = DT_NOBEGIN;
			}
			if (strcmp(ident->ns, m->mentions[k].ns) != 0 ||
				strcmp(ident->value, m->mentions[k].value) != 0)
			{
				cdp_message_reject(m, "key_collision",
								   "an identifier has the key of another one; nothing is "
								   "merged by it");
				link->dead = true;
				break;
			}
			/* spelt in two ways, it may be named twice */
			for (int j = 0; j < link->n && !twice; j++)
				twice = link->idents[j] == index;
			if (!twice)
				link->idents[link->n++] = index;
		}
		qsort_arg(link->idents, link->n, sizeof(int), compare_mentions, graph->idents);
	}
}

/* When the identifiers of messages that are taken were mentioned. */
void
cdp_batch_date_mentions(CdpBatch *batch)
{
	for (int i = 0; i < batch->n; i++)
	{
		CdpMessage *m = &batch->messages[i];
		CdpLink *link;

		if (m->status != CDP_ACCEPTED)
			continue;
		link = &batch->graph.links[m->link];
		for (int k = 0; k < link->n; k++)
		{
			CdpIdent *ident = &batch->graph.idents[link->idents[k]];

			ident->first_seen = Min(ident->first_seen, m->ts);
			ident->last_seen = Max(ident->last_seen, m->ts);
		}
	}
}
