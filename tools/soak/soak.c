/*
 * tools/soak/soak.c
 *		A million random operations on who is whom, against a naive oracle.
 *
 * See README.md.  Exit status 0: no difference was found.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server.h"

typedef struct Options
{
	const char *conninfo;
	const char *invariants;
	uint64_t seed;
	long operations;
	long world; /* only this one, or -1 */
	const char *rules;
	int every; /* the complete state is compared after so many operations */
	bool bearers;
	bool changes;
	int failures; /* gives up after so many */
	bool keep; /* does not shrink */
	const char *dump;
} Options;

static Options options = {.world = -1, .every = 40, .failures = 1, .operations = 1000};
static Model model;

static char last_sql[8192];
static long done[OP_KINDS];
static long messages;
static long failed; /* operations that were to fail, and did */
static long splits, returns, merges, refusals;

void
die(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(2);
}

static double
seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

/* One operation on both sides; false and a complaint if they differ. */
static bool
step(const World *w, const Op *op, bool complete, bool count)
{
	const char *sql = op_sql(w, &model, op);
	const Answer *answer;

	if (sql == NULL)
		return true;
	snprintf(last_sql, sizeof(last_sql), "%s", sql);
	answer = op->kind == CHANGE ? server_change(w, op->now, sql) : server_do(w, op->now, sql);
	if (count)
	{
		done[op->kind]++;
		messages += op->kind <= BULK ? op->n : 0;
		failed += answer->sqlstate[0] != '\0';
	}
	if (!server_alive())
		return complain("the server went away: %s", answer->error);
	if (!model_apply(&model, op, answer))
		return false;
	return !complete || server_compare(&model);
}

/* What a difference must begin with to be the same one. */
static char kind[16];

static bool
is_same_kind(void)
{
	return strncmp(kind, complaint, strlen(kind)) == 0;
}

/* Plays operations from the beginning; returns how many were good. */
static int
replay(const World *w, const Op *ops, int n)
{
	/* partitions are compared without asking for the complete state */
	bool complete = strcmp(kind, "partition:") != 0;
	int i;

	server_reset(w);
	model_init(&model, w);
	for (i = 0; i < n; i++)
		if (!step(w, &ops[i], complete, false))
			return is_same_kind() ? i : n;
	if (n > 0 && complete && !server_check_invariants())
		return is_same_kind() ? n - 1 : n;
	return n;
}

/* -- shrinking -- */

static int
without(const Op *ops, int n, int from, int count, Op *out)
{
	memcpy(out, ops, sizeof(Op) * (size_t) from);
	memcpy(out + from, ops + from + count, sizeof(Op) * (size_t) (n - from - count));
	return n - count;
}

/* Takes operations away while something still differs. */
static int
drop_operations(const World *w, Op *ops, int n, Op *work)
{
	for (int size = n / 2; size > 0; size /= 2)
		for (int from = n - size; from >= 0; from -= size)
		{
			int m;
			int good;

			if (from + size > n)
				continue;
			m = without(ops, n, from, size, work);
			good = replay(w, work, m);
			if (good == m)
				continue;
			memcpy(ops, work, sizeof(Op) * (size_t) m);
			n = good + 1;
		}
	return n;
}

/* Takes away message k, its identifier i, or makes what it says plain (i = -1). */
static bool
smaller(const Op *op, int k, int i, Op *out)
{
	Message *msg = &out->message[k];

	*out = *op;
	if (k >= op->n)
		return false;
	if (i == -2)
	{
		if (op->n < 2)
			return false;
		memmove(msg, msg + 1, sizeof(Message) * (size_t) (op->n - k - 1));
		out->n--;
		if (out->n == 1 && out->kind == BATCH)
			out->kind = SAY;
		return true;
	}
	if (i == -1)
	{
		if (op->kind > BULK || msg->kind == TRACK || msg->about)
			return false;
		msg->kind = TRACK;
		memset(msg->trait, 0, sizeof(msg->trait));
		return true;
	}
	if (i >= msg->n || msg->n < 2 || msg->about ||
		(op->kind > BULK && (op->kind != MERGE || msg->n < 3)))
		return false;
	memmove(&msg->who[i], &msg->who[i + 1], sizeof(Ident) * (size_t) (msg->n - i - 1));
	msg->n--;
	return true;
}

static int
simplify_operations(const World *w, Op *ops, int n, Op *work)
{
	for (int o = 0; o < n; o++)
		for (int k = ops[o].n - 1; k >= 0; k--)
			for (int i = -2; i < MAX_NAMED; i++)
			{
				Op op;
				int good;

				if (o >= n || !smaller(&ops[o], k, i, &op))
					continue;
				memcpy(work, ops, sizeof(Op) * (size_t) n);
				work[o] = op;
				good = replay(w, work, n);
				if (good == n)
					continue;
				ops[o] = op;
				n = good + 1;
				i--;
				if (i < -2)
					i = -3;
				if (k >= ops[o].n)
					break;
			}
	return n;
}

static void
print_history(const World *w, const Op *ops, int n)
{
	printf("-- rules\n%s-- operations\n", rules_sql(&w->rules));
	server_reset(w);
	model_init(&model, w);
	for (int i = 0; i < n; i++)
	{
		const char *sql = op_sql(w, &model, &ops[i]);

		if (sql)
			printf("SET cdp.clock = '%s';\n%s;\n", time_text(ops[i].now), sql);
		if (!step(w, &ops[i], true, false))
			break;
	}
}

static void
report(World *w, bool known)
{
	Op *ops = malloc(sizeof(Op) * (size_t) (w->nops + 1));
	Op *work = malloc(sizeof(Op) * (size_t) (w->nops + 1));
	int n = w->nops;
	int good;

	if (ops == NULL || work == NULL)
		die("out of memory");
	printf("DIFFERENCE in world %lu of seed %lu (rules: %s), operation %d: %s\n",
		   (unsigned long) w->number, (unsigned long) w->seed, w->rules.name, w->nops, complaint);
	printf("%s\n", last_sql);
	fflush(stdout);
	snprintf(kind, sizeof(kind), "%.*s", (int) strcspn(complaint, " "), complaint);
	memcpy(ops, w->op, sizeof(Op) * (size_t) n);
	good = known || options.keep ? n : replay(w, ops, n);
	if (good == n)
		printf("-- %s\n",
			   options.keep ? "not shrunk" : "it is not there when the history is repeated");
	else
	{
		int before;

		n = good + 1;
		do
		{
			before = n;
			n = drop_operations(w, ops, n, work);
			n = simplify_operations(w, ops, n, work);
		} while (n < before);
		replay(w, ops, n);
		printf("shrunk to %d operations: %s\n", n, complaint);
		print_history(w, ops, n);
	}
	fflush(stdout);
	free(ops);
	free(work);
}

/* -- the run -- */

/* One history; false if something differed. */
static bool
play(World *w, long *left)
{
	Random r = {w->seed * UINT64_C(7919) + w->number * UINT64_C(104729)};
	bool good = true;

	server_reset(w);
	model_init(&model, w);
	while (good && w->nops < w->length && w->nops < MAX_OPS)
	{
		Op *op = &w->op[w->nops];

		world_next(w, &model, &r, op);
		w->nops++;
		*left -= op->kind == BATCH || op->kind == BULK ? op->n : 1;
		good = step(w, op, w->nops % options.every == 0 || w->nops == w->length, true);
	}
	good = good && server_check_invariants();
	splits += model.splits;
	returns += model.returns;
	merges += model.nmerges;
	refusals += model.refused;
	for (int k = 0; k < model.nlinks; k++)
		for (int i = 1; i < model.link[k].n; i++)
			refusals += model.link[k].verdict[i] != JOINED;
	return good;
}

static long
number(const char *text)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (*end != '\0')
		die("not a number: %s", text);
	return n;
}

static void
read_options(int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "d:i:s:n:w:r:e:f:bckx")) != -1)
		switch (c)
		{
			case 'd':
				options.conninfo = optarg;
				break;
			case 'i':
				options.invariants = optarg;
				break;
			case 's':
				options.seed = (uint64_t) number(optarg);
				break;
			case 'n':
				options.operations = number(optarg);
				break;
			case 'w':
				options.world = number(optarg);
				break;
			case 'r':
				options.rules = optarg;
				break;
			case 'e':
				options.every = (int) number(optarg);
				break;
			case 'f':
				options.failures = (int) number(optarg);
				break;
			case 'b':
				options.bearers = true;
				break;
			case 'c':
				options.changes = true;
				break;
			case 'x':
				compare_words = true;
				break;
			case 'k':
				options.keep = true;
				break;
			default:
				die("usage: soak -d CONNINFO -i INVARIANTS [-s SEED] [-n OPERATIONS] [-w WORLD] "
					"[-r RULES] [-e EVERY] [-f FAILURES] [-b] [-c] [-k] [-x]");
		}
	if (options.conninfo == NULL || options.invariants == NULL || options.every < 1)
		die("-d and -i are needed, and -e is at least 1");
}

int
main(int argc, char **argv)
{
	static World w;
	long left;
	int failures = 0;
	long worlds = 0;
	long calls = 0;
	double began;
	double took;

	read_options(argc, argv);
	w.op = malloc(sizeof(Op) * MAX_OPS);
	if (w.op == NULL)
		die("out of memory");
	server_open(options.conninfo, options.invariants);
	left = options.operations;
	began = seconds();
	for (uint64_t i = options.world >= 0 ? (uint64_t) options.world : 0; left > 0; i++)
	{
		world_invent(&w, options.seed, i, options.rules, options.bearers, options.changes);
		worlds++;
		if (!play(&w, &left))
		{
			failures++;
			report(&w, false);
			if (failures == options.failures)
				break;
		}
		if (options.world >= 0)
			break;
	}
	took = seconds() - began;
	for (int k = 0; k < OP_KINDS; k++)
		calls += done[k];
	calls += messages - done[SAY] - done[BATCH] - done[BULK];
	printf("seed %lu: %ld operations in %ld histories, %.0f s, %.0f a second: %ld messages (in %ld "
		   "batches, %ld bulk loads), %ld merges by name, %ld by id, %ld unmerges, %ld unlinks, "
		   "%ld removals, %ld changes of rules; %ld refused calls; %ld people merged, %ld parted, "
		   "%ld ids came back, %ld refused links; %d differences\n",
		   (unsigned long) options.seed, calls, worlds, took, (double) calls / took, messages,
		   done[BATCH], done[BULK], done[MERGE], done[MERGE_IDS], done[UNMERGE], done[UNLINK],
		   done[REMOVE], done[CHANGE], failed, merges, splits, returns, refusals, failures);
	return failures > 0;
}
