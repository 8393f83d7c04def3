/*
 * bench/affinity.c
 *		Events for bench/affinity.sh, and how fast a C program with all of them
 *		in memory finds everybody's five best values in three dimensions.
 *
 *	affinity generate EVENTS PEOPLE		CSV: profile, category, brand, colour, weight, time
 *	affinity limit EVENTS PEOPLE		rows, sum of their scores, milliseconds of CPU
 *
 * The same arguments give the same events.  Half-life 10 days, read on
 * 2025-04-01; values are numbers here, so that not even text is compared.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TOP 5
#define HALF_LIFE (10 * 86400.0)
#define START 1735689600 /* 2025-01-01 */
#define SPAN (90 * 86400)

typedef struct Event
{
	uint32_t person;
	uint16_t value[3];
	uint16_t kind;
	uint32_t at; /* seconds after START */
} Event;

static const double weights[] = {1, 0.5, 3, 5, 10};
static const char *const names[] = {"category", "brand", "colour"};
static const int sizes[] = {200, 1000, 20};

static uint64_t state = 1;

static double
unit(void)
{
	uint64_t z = state += UINT64_C(0x9E3779B97F4A7C15);

	z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
	return (double) ((z ^ (z >> 31)) >> 11) / 9007199254740992.0;
}

/*
 * Some people do more than others, but none has more than 96 values, so that
 * answers are exact; some values are much more frequent.
 */
static Event
next_event(uint32_t people, size_t i, size_t n)
{
	Event e;

	e.person = (uint32_t) (people * pow(unit(), 1.15));
	for (int d = 0; d < 3; d++)
		e.value[d] = (uint16_t) (sizes[d] * pow(unit(), 2));
	e.kind = (uint16_t) (5 * pow(unit(), 2));
	e.at = (uint32_t) ((double) i / (double) n * SPAN);
	return e;
}

static double
cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double) t.tv_sec * 1e3 + (double) t.tv_nsec * 1e-6;
}

static void
generate(size_t n, uint32_t people)
{
	for (size_t i = 0; i < n; i++)
	{
		Event e = next_event(people, i, n);

		printf("%u", e.person);
		for (int d = 0; d < 3; d++)
			printf(",%s %u", names[d], e.value[d]);
		printf(",%g,%u\n", weights[e.kind], START + e.at);
	}
}

/* sums by person and value in a hash table, then the best of each person */
static size_t
best_of(const Event *events, size_t n, uint32_t people, int dimension, double *total)
{
	size_t size = 1;
	uint64_t *key;
	double *sum;
	double *best = calloc((size_t) people * TOP, sizeof(double));
	uint8_t *found = calloc(people, 1);
	size_t rows = 0;

	while (size < 2 * n)
		size *= 2;
	key = malloc(size * sizeof(uint64_t));
	sum = malloc(size * sizeof(double));
	memset(key, 0xFF, size * sizeof(uint64_t));
	for (size_t i = 0; i < n; i++)
	{
		uint64_t k = (uint64_t) events[i].person << 16 | events[i].value[dimension];
		size_t h = (k * UINT64_C(0x9E3779B97F4A7C15)) >> 20 & (size - 1);
		double w = weights[events[i].kind] * exp2(((double) events[i].at - SPAN) / HALF_LIFE);

		while (key[h] != k && key[h] != UINT64_MAX)
			h = (h + 1) & (size - 1);
		sum[h] = key[h] == k ? sum[h] + w : w;
		key[h] = k;
	}
	for (size_t h = 0; h < size; h++)
	{
		double *b = &best[(key[h] >> 16) * TOP];
		int i;

		if (key[h] == UINT64_MAX)
			continue;
		i = found[key[h] >> 16];
		if (i == TOP && b[TOP - 1] >= sum[h])
			continue;
		if (i == TOP)
			i--;
		else
			found[key[h] >> 16]++;
		for (; i > 0 && b[i - 1] < sum[h]; i--)
			b[i] = b[i - 1];
		b[i] = sum[h];
	}
	for (size_t p = 0; p < people; p++)
	{
		for (int i = 0; i < found[p]; i++)
			*total += best[p * TOP + (size_t) i];
		rows += found[p];
	}
	free(key);
	free(sum);
	free(best);
	free(found);
	return rows;
}

int
main(int argc, char **argv)
{
	size_t n = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
	uint32_t people = argc > 3 ? (uint32_t) strtoul(argv[3], NULL, 10) : 0;
	Event *events;
	size_t rows = 0;
	double total = 0;
	double began;

	if (n == 0 || people == 0)
		return 2;
	if (strcmp(argv[1], "generate") == 0)
	{
		generate(n, people);
		return 0;
	}
	events = malloc(n * sizeof(Event));
	for (size_t i = 0; i < n; i++)
		events[i] = next_event(people, i, n);
	began = cpu_ms();
	for (int d = 0; d < 3; d++)
		rows += best_of(events, n, people, d, &total);
	printf("%zu %.0f %.0f\n", rows, total, cpu_ms() - began);
	free(events);
	return 0;
}
