/*
 * src/ingest/suppressed.c
 *		Messages that name somebody who was erased: refused, and nothing of them
 *		is kept but that there was one.
 *
 * Looked at when the identifiers are in their normal form, before anything of
 * the message is written; until somebody is erased it costs a comparison.  An
 * erasure may come between this and the locks.  Then the message finds her gone
 * and would make her anew, so identifiers that nobody had are looked at once
 * more when all is locked: whoever erased her let go of them at his commit.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#include "compat.h"
#include "consent/suppress.h"
#include "identity/rules.h"
#include "ingest/batch.h"
#include "ingest/config.h"
#include "ingest/refusal.h"
#include "store.h"

/* Of a refused payload, so many texts of so many bytes are looked at. */
#define MAX_TEXTS 2000
#define MAX_TEXT 600

static CdpPlan count_plan = {
	"INSERT INTO cdp_data.refused_return (source, at, times) VALUES ($1, $2, $3)",
	3,
	{TEXTOID, TIMESTAMPTZOID, INT8OID},
	NULL};

static void
refuse(CdpMessage *m)
{
	m->secret = true;
	m->status = CDP_REJECTED;
	m->reason = "erased";
	m->detail = "it names somebody who was erased; nothing of it is kept";
}

/* Probes on their way. */
typedef struct Probes
{
	CdpSuppressProbe *list;
	int *message; /* whose it is */
	int n;
	int room;
} Probes;

static void
add_probe(Probes *p, const CdpMention *mention, const CdpMessage *m, int message)
{
	if (p->n == p->room)
	{
		p->room = Max(p->room * 2, 32);
		p->list = p->list ? repalloc_huge(p->list, sizeof(CdpSuppressProbe) * p->room) :
							palloc(sizeof(CdpSuppressProbe) * p->room);
		p->message = p->message ? repalloc_huge(p->message, sizeof(int) * p->room) :
								  palloc(sizeof(int) * p->room);
	}
	p->list[p->n] = (CdpSuppressProbe){mention->ns, mention->value, m->ts, false};
	p->message[p->n++] = message;
}

/* A text of a payload as each kind of identifier that messages name. */
static void
add_text(Probes *p, const CdpMessage *m, int message, const char *text, int len)
{
	const CdpIngestConfig *config = cdp_ingest_config();
	CdpMessage scratch = {.status = CDP_ACCEPTED, .source = m->source};
	const char *colon = memchr(text, ':', len);

	for (int i = 0; i < config->npaths; i++)
	{
		bool again = false;

		for (int k = 0; k < i && !again; k++)
			again = strcmp(config->paths[k].ns, config->paths[i].ns) == 0;
		if (!again)
			cdp_message_mention(&scratch, config->paths[i].ns, (int) strlen(config->paths[i].ns),
								text, len, "payload");
		scratch.status = CDP_ACCEPTED;
	}
	if (colon && colon > text)
		cdp_message_mention(&scratch, text, (int) (colon - text), colon + 1,
							len - (int) (colon + 1 - text), "payload");
	for (int k = 0; k < scratch.nmentions; k++)
	{
		cdp_rules_normalise(&scratch.mentions[k]);
		add_probe(p, &scratch.mentions[k], m, message);
	}
}

/*
 * All texts and numbers of a payload.  A message that was refused while it was
 * read has no identifiers, and its payload would be kept.
 */
static void
add_payload(Probes *p, const CdpMessage *m, int message)
{
	JsonbIterator *it = JsonbIteratorInit(&m->payload->root);
	JsonbValue v;
	JsonbIteratorToken token;
	int seen = 0;

	while ((token = JsonbIteratorNext(&it, &v, false)) != WJB_DONE)
	{
		if (token != WJB_VALUE && token != WJB_ELEM)
			continue;
		if (++seen > MAX_TEXTS)
			return;
		if (v.type == jbvString && v.val.string.len > 0 && v.val.string.len <= MAX_TEXT)
			add_text(p, m, message, v.val.string.val, v.val.string.len);
		else if (v.type == jbvNumeric)
		{
			char *digits = DatumGetCString(
				DirectFunctionCall1(numeric_out, NumericGetDatum(v.val.numeric)));

			add_text(p, m, message, digits, (int) strlen(digits));
		}
	}
}

/* Refuses messages about erased people, whatever else may be wrong with them. */
void
cdp_batch_suppress(CdpBatch *batch)
{
	Probes p = {0};

	if (!cdp_suppress_any())
		return;
	for (int i = 0; i < batch->n; i++)
	{
		CdpMessage *m = &batch->messages[i];

		for (int k = 0; k < m->nmentions; k++)
			add_probe(&p, &m->mentions[k], m, i);
		if (m->status == CDP_REJECTED && m->payload)
			add_payload(&p, m, i);
		if (m->about != 0 && cdp_suppress_profile(m->about))
			refuse(m);
	}
	if (cdp_suppress_find(p.list, p.n))
		for (int k = 0; k < p.n; k++)
			if (p.list[k].hit)
				refuse(&batch->messages[p.message[k]]);
}

/*
 * Is somebody made whose value is an erased person's?  Then she was erased
 * while this call waited for her, and it has to be asked again.
 */
void
cdp_batch_recheck_erased(const CdpGraph *graph)
{
	CdpSuppressProbe *probes = NULL;
	int n = 0;

	for (int i = 0; i < graph->nidents; i++)
	{
		const CdpIdent *ident = &graph->idents[i];

		if (!ident->fresh)
			continue;
		if (probes == NULL)
		{
			/* what we waited for may have changed it */
			AcceptInvalidationMessages();
			if (!cdp_suppress_any())
				return;
			probes = palloc(sizeof(CdpSuppressProbe) * graph->nidents);
		}
		probes[n++] = (CdpSuppressProbe){ident->ns, ident->value, ident->first_seen, false};
	}
	if (cdp_suppress_find(probes, n))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("somebody whom the message names was erased meanwhile"),
				 errhint("Retry the transaction: the message will be refused.")));
}

/* Counts what was refused, by an appended row: nobody waits for anybody. */
void
cdp_count_erased(const char *source, int64 times)
{
	Datum args[3];

	if (times == 0)
		return;
	args[0] = CStringGetTextDatum(source);
	args[1] = TimestampTzGetDatum(cdp_now());
	args[2] = Int64GetDatum(times);
	cdp_store_run(&count_plan, args, NULL, false, 1);
}

/* The same of a batch. */
void
cdp_batch_count_erased(const CdpBatch *batch)
{
	int64 times = 0;

	for (int i = 0; i < batch->n; i++)
		times += batch->messages[i].secret;
	cdp_count_erased(batch->messages[0].source, times);
}
