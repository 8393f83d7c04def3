/*
 * tools/soak/soak.h
 *		What the parts of the soak of identity share (see README.md).
 *
 * A world is a set of rules and a history of operations.  The model says what
 * must come out, from all that was said so far and nothing else; the server
 * does it; after every operation both are compared.
 */
#ifndef SOAK_H
#define SOAK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAX_RULES 8
#define MAX_VALUES 100 /* of a namespace; the last one is blocked */
#define BLOCKED_VALUE (MAX_VALUES - 1)
#define MAX_NODES 4096
#define MAX_NAMED 12 /* identifiers of a message */
#define MAX_BATCH 12
#define MAX_OPS 4000
#define TRAITS 3

/* Microseconds since 1970. */
typedef int64_t Time;
#define NEVER INT64_MAX
#define ALWAYS INT64_MIN

typedef enum Policy
{
	DEMOTE,
	NEWEST_WINS,
	REJECT
} Policy;

typedef struct Rule
{
	const char *ns;
	bool own; /* has a row; otherwise that of '*' holds */
	int rank;
	int limit; /* 0: none */
	Policy policy;
	Time period;
	Time ttl;
} Rule;

typedef struct Rules
{
	const char *name;
	int n;
	Rule rule[MAX_RULES];
	Rule common; /* '*' */
	int max_nodes; /* identifiers of one person; 0: any number */
} Rules;

/* An identifier: namespace * MAX_VALUES + number of the value. */
typedef int Ident;

typedef enum MessageKind
{
	TRACK,
	IDENTIFY,
	CONSENT
} MessageKind;

typedef struct Message
{
	MessageKind kind;
	int id; /* several messages of one id are the same: duplicates */
	Time at;
	int n;
	Ident who[MAX_NAMED];
	bool about; /* of a profile id: one of the present or former ids of who[0] */
	int trait[TRAITS]; /* 0: not named, 1: null, others: a value */
	bool granted;
} Message;

typedef enum OpKind
{
	SAY, /* one message by its function */
	BATCH, /* several by cdp.ingest() */
	BULK, /* pairs by cdp.ingest_edges() */
	MERGE,
	MERGE_IDS,
	UNMERGE,
	UNLINK,
	REMOVE,
	CHANGE /* of the rules, and cdp.apply_rules() */
} OpKind;
#define OP_KINDS (CHANGE + 1)

/*
 * An operation says whom it is about by identifiers, so that it still means
 * something when those before it are taken away.
 */
typedef struct Op
{
	OpKind kind;
	Time now;
	int n;
	Message message[MAX_BATCH];
	bool override;
	uint64_t seed; /* CHANGE: of the new rules */
	bool ttls; /* CHANGE: some may expire */
	int pick; /* UNMERGE: which of the merges that moved message[0].who[0]; ids: which one */
} Op;

typedef struct World
{
	uint64_t seed;
	uint64_t number;
	Rules rules; /* at the beginning */
	/* what the generator does */
	int people;
	int values; /* of a namespace and person */
	int strangers; /* per mille: an identifier is somebody else's */
	int late;
	int early;
	int weight[OP_KINDS];
	int length;
	Time step;
	bool bearers; /* removed and expired values are named again */
	int nops;
	Op *op;
} World;

/* -- rules.c -- */
typedef struct Random
{
	uint64_t state;
} Random;

extern uint64_t random_next(Random *r);
extern int random_below(Random *r, int n);
extern bool random_chance(Random *r, int per_mille);

extern int ident_ns(Ident x);
extern const char *ident_text(const Rules *rules, Ident x);
extern Ident ident_read(const Rules *rules, const char *text);
extern const char *time_text(Time t);
extern const char *const trait_names[TRAITS];
extern const char *trait_value(int trait, int value);

/* Text that grows. */
typedef struct Text
{
	char *data;
	size_t len;
	size_t room;
} Text;

extern void add(Text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

extern const char *rules_sql(const Rules *rules);
extern void rules_invent(Rules *rules, uint64_t seed, const char *only, bool ttls);
extern void rules_change(Rules *rules, uint64_t seed, bool ttls);

/* -- world.c -- */
struct Model;
extern void world_invent(World *w, uint64_t seed, uint64_t number, const char *only, bool bearers,
						 bool changes);
extern void world_next(World *w, const struct Model *m, Random *r, Op *op);
extern const char *op_sql(const World *w, const struct Model *m, const Op *op);

extern void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

#endif /* SOAK_H */
