/*
 * tools/fuzz/fuzz_linkage.c
 *		libFuzzer target for src/core/linkage.c.
 *
 * The input is what the history's choices are made of; people and verdicts
 * must be the oracle's (tools/unit/linkage_model.h), all at once and as the
 * messages arrive.
 */
#include "../unit/linkage_chance.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Input
{
	const uint8_t *data;
	size_t left;
} Input;

/* All choices are 0 once the input is used up. */
static unsigned
choose(void *arg, unsigned n)
{
	Input *in = arg;

	if (in->left == 0 || n < 2)
		return 0;
	in->left--;
	return *in->data++ % n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	ModelHistory h;
	ModelFacts f;
	Keeper k;
	Input in = {data, size};
	unsigned bits = choose(&in, 256);
	ModelKind kind = {
		.policies = 1 + (int) choose(&in, 7),
		.period = bits & 1,
		.ttl = bits & 2,
		.overrides = bits & 4,
		.separations = bits & 8,
		.max_nodes = bits & 16,
		.repeats = bits & 32,
		.oddities = bits & 64,
		.barred = bits & 128};
	bool arrival = false;

	model_invent(&h, &kind, choose, &in);
	model_facts(&h, &f);
	if (model_check_full(&h, &f))
	{
		arrival = true;
		if (kind.barred || model_check_arrival(&h, &k) < 0)
			return 0;
	}
	model_shrink(&h, arrival);
	model_print(&h, arrival);
	abort();
}
