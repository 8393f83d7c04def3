/*
 * src/ingest/message.h
 *		A message on its way in, and the batch it is part of.
 */
#ifndef CDP_INGEST_MESSAGE_H
#define CDP_INGEST_MESSAGE_H

#include "identity/graph.h"
#include "identity/who.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"

typedef enum CdpStatus
{
	CDP_ACCEPTED,
	CDP_DUPLICATE,
	CDP_REJECTED
} CdpStatus;

/*
 * Messages, consents, captured rows and merges have ids of their own each: nobody who
 * may send the one can use up the ids of the other.
 */
#define CDP_SPACE_MESSAGE 'm'
#define CDP_SPACE_CONSENT 'c'
#define CDP_SPACE_ROW 'r'
#define CDP_SPACE_MERGE 'g'

typedef struct CdpMessage
{
	/* from the message */
	const char *type; /* identify, track, page ...; consent is ours */
	const char *name; /* event or page name, may be NULL */
	const char *source;
	const char *message_id; /* given or made up */
	bool id_is_given;
	bool unique; /* no other message has its id: it was made here, and is not remembered */
	TimestampTz ts;
	TimestampTz received_at; /* as it says, or when it arrived */
	TimestampTz arrived_at; /* 0: now */
	Jsonb *properties; /* each may be NULL */
	Jsonb *traits;
	Jsonb *context;
	Jsonb *extra;
	Jsonb *payload; /* the whole message, for refusals */
	uint64 content; /* hash of what must not differ in a retry */
	CdpMention *mentions;
	int nmentions;
	int mention_room; /* entries allocated */
	char space; /* of its id: see cdp_message_key() */
	int64 about; /* profile id instead of mentions, or 0 */
	bool by_id; /* the mentions are those of profile ids: their present bearers are meant */
	struct CdpPlanVerdict *plan; /* what it did wrong by the tracking plan, or NULL */
	List *blocked; /* identifiers left out: namespace:value */
	const char *rule; /* of the link: NULL is message */
	const char *merge_reason; /* of a deliberate merge */
	const char *actor; /* who merged deliberately */

	/* consent only */
	int32 purpose_id;
	const char *state;
	TimestampTz valid_until;
	const struct CdpConsentTerms *terms; /* NULL: plain */

	/* outcome */
	CdpStatus status;
	const char *reason; /* of a refusal: a fixed word */
	const char *detail; /* a sentence without personal data */
	int64 profile_id;
	const char *refusal; /* word, if its identifiers are not all one person */
	uint8 key[16];
	const char *misfit; /* a trait whose value was refused, NULL if none */
	bool conflicts; /* duplicate of a message with other content */
	bool claimed; /* its row in message_seen is ours */
	bool secret; /* refused, and nothing of it is kept */
	int first; /* of a duplicate: earlier message of the batch, or -1 */
	int link; /* index in the graph, -1 without */
} CdpMessage;

extern void cdp_message_reject(CdpMessage *m, const char *reason,
							   const char *detail);
extern char *cdp_message_detail(const CdpMessage *m);
extern void cdp_message_mention(CdpMessage *m, const char *ns, int nslen,
								const char *value, int valuelen,
								const char *place);
extern void cdp_message_mention_traits(CdpMessage *m, Jsonb *traits);
extern void cdp_message_make_id(CdpMessage *m);
extern void cdp_message_key(CdpMessage *m);
extern void cdp_message_parse(CdpMessage *m, JsonbValue *value, JsonbValue *batch_sent_at,
							  const char *source, char space, TimestampTz now);
extern CdpMessage *cdp_message_parse_payload(Jsonb *payload, const char *source,
											 TimestampTz now, int *n);

#endif /* CDP_INGEST_MESSAGE_H */
