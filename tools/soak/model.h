/*
 * tools/soak/model.h
 *		The naive oracle of identity.
 */
#ifndef MODEL_H
#define MODEL_H

#include "soak.h"

#define MAX_LINKS 6000
#define MAX_EVENTS 12000
#define MAX_MERGES 4000
#define MAX_SEPARATIONS 2000
#define MAX_MESSAGES 40000

typedef struct Bits
{
	uint64_t w[MAX_NODES / 64];
} Bits;

/* One bearer of an identifier. */
typedef struct Node
{
	Ident ident;
	int64_t id; /* the server's number, 0 until it was told */
	int64_t person;
	Time first;
	Time last;
	Time born; /* ALWAYS: the first bearer */
	Time ended; /* NEVER: still called so */
	bool removed; /* counts for no limit; what expired does as long as it lived */
	Time consent_at;
	int consent; /* 0: none, 1: granted, 2: refused */
} Node;

typedef enum Manner
{
	BY_MESSAGE,
	BY_BULK,
	BY_MERGE,
	BY_OVERRIDE
} Manner;

typedef enum Verdict
{
	JOINED,
	LIMIT,
	TOO_MANY,
	SEPARATED,
	NEWER
} Verdict;

typedef struct Link
{
	int n;
	int node[MAX_NAMED]; /* most important first */
	Manner manner;
	Time first;
	Time last; /* if it was noted: some rule asked for it */
	bool has_last;
	/* outcome */
	Verdict verdict[MAX_NAMED];
	int ns; /* whose limit, or -1 */
	Time counted; /* when it was last taken */
	bool taken;
} Link;

typedef struct Separation
{
	bool revoked;
	Bits side[2];
} Separation;

typedef struct Merge
{
	int64_t id;
	int64_t winner;
	int64_t loser;
	Bits moved;
	Bits had; /* of the winner, at that moment */
	bool undone;
} Merge;

/* An id that was merged away. */
typedef struct Former
{
	int64_t id;
	int64_t person;
	Bits brought;
} Former;

typedef struct Event
{
	int node;
	Time at;
	int trait[TRAITS];
} Event;

typedef struct Model
{
	Rules rules;
	bool changed; /* the rules were others once */
	int nnodes;
	Node node[MAX_NODES];
	int nlinks;
	Link link[MAX_LINKS];
	int nseparations;
	Separation separation[MAX_SEPARATIONS];
	int nmerges;
	Merge merge[MAX_MERGES];
	int nformers;
	Former former[MAX_MERGES];
	int nevents;
	Event event[MAX_EVENTS];
	bool seen[MAX_MESSAGES];
	int64_t newest_person;
	/* of the latest resolution */
	int of[MAX_NODES];
	Time since[MAX_NODES];
	/* what happened, for the report */
	long refused;
	long splits;
	long returns;
} Model;

/* A node as the server has it. */
typedef struct NodeRow
{
	int64_t id;
	int64_t person;
	Ident ident;
} NodeRow;

typedef struct MergeRow
{
	int64_t id;
	int64_t winner;
	int64_t loser;
	int nmoved;
	int64_t *moved;
} MergeRow;

typedef struct ValueRow
{
	char status[16]; /* of cdp.ingest() */
	bool null;
	int64_t value;
} ValueRow;

/* What the server answered to an operation, and what changed by it. */
typedef struct Answer
{
	char sqlstate[8]; /* empty: it succeeded */
	char error[1024];
	int nvalues;
	ValueRow value[MAX_BATCH];
	int nnodes;
	NodeRow *node;
	int nmerges;
	MergeRow *merge;
} Answer;

extern char complaint[4096];
extern bool complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

extern void model_init(Model *m, const World *w);
extern void model_copy(Model *to, const Model *from);

/* operations.c */
extern bool model_apply(Model *m, const Op *op, const Answer *answer);

/* model.c: looking up */
extern int model_present(const Model *m, Ident x);
extern int model_find_merge(const Model *m, Ident x, int pick);
extern int64_t model_id_of(const Model *m, Ident x, int pick);
extern int model_name_of(const Model *m, int64_t id);
extern int64_t model_canonical(const Model *m, int64_t id);
extern int model_mentions(const Model *m, const Message *msg, Ident *who);
extern void sort_nodes(const Model *m, int *nodes, int n);
extern bool bits_has(const Bits *b, int i);
extern void bits_add(Bits *b, int i);
extern int node_by_id(const Model *m, int64_t id);
extern int bearer_at(const Model *m, Ident x, Time at);

/* model.c: adding what was said */
extern int add_mentions(Model *m, const Ident *who, int n, Manner manner, Time at, bool by_id,
						int *nodes, int *count);
extern int add_message(Model *m, const Message *msg, const Ident *who, int n);

#endif /* MODEL_H */
