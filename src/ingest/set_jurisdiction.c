/*
 * src/ingest/set_jurisdiction.c
 *		cdp.set_jurisdiction(): whose law it is.
 *
 * It is said of identifiers as a consent is, in a record of its own, of no
 * purpose: late, merged and taken apart like every other.  What it changes is
 * what holds where nobody was asked.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/timestamp.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "cdp.h"
#include "compat.h"
#include "consent/consent.h"
#include "ingest/ingest.h"
#include "ingest/ingest_sql.h"
#include "store.h"

/* cdp.set_jurisdiction(who, jurisdiction, at, source, message_id) */
CDP_WHO_OVERLOADS(cdp_set_jurisdiction)
{
	CdpConsentTerms terms = {.channel = CDP_ALL_CHANNELS, .valid_from = DT_NOBEGIN};
	CdpWho who;
	CdpStore store;
	CdpMessage m;
	char *source = cdp_name_argument(fcinfo, 3, "source", CDP_MAX_SOURCE);

	terms.jurisdiction = cdp_name_argument(fcinfo, 1, "jurisdiction", CDP_MAX_NAME);
	cdp_who_read(fcinfo, 0, kind, &who);
	cdp_store_enter(&store);
	cdp_message_start(&m, "consent", &who, fcinfo, 2, 4, source);
	m.state = CDP_CONSENT_STATED;
	m.terms = &terms;
	/* as of any consent: a wrong clock must not make it outlast what is said today */
	m.ts = Min(m.ts, m.received_at);
	m.content = cdp_message_content(&m, NULL);
	cdp_ingest_batch(&m, 1, store.caller, 0);
	cdp_message_require(&m);
	if (m.conflicts)
		ereport(ERROR,
				(errcode(ERRCODE_UNIQUE_VIOLATION),
				 errmsg("the message id was used for another consent"),
				 errdetail("What was recorded under it stays; this was not recorded."),
				 errhint("Give each a message_id of its own, or none.")));
	cdp_store_leave(&store);
	PG_RETURN_INT64(m.profile_id);
}
