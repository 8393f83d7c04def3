/*
 * tools/fuzz/fuzz_affinity.c
 *		libFuzzer target for src/core/affinity*.c.
 *
 * The first byte picks what the rest is: a stored form, a text form, or a
 * history.  What is taken must be usable: it is its own stored and text form,
 * adds to itself, ranks, and no score is NaN or infinite.
 */
#include "core/affinity.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void *blocks[1000];
static int n_blocks = 0;

static void
must(bool condition)
{
	if (!condition)
		abort();
}

static void *
resize(void *arg, void *block, size_t bytes)
{
	void *grown = realloc(block, bytes);
	int i = 0;

	(void) arg;
	while (i < n_blocks && (block == NULL || blocks[i] != block))
		i++;
	must(i < 1000);
	blocks[i] = grown;
	n_blocks += i == n_blocks;
	return grown;
}

static const CdpAffinityHost host = {resize, NULL};

static void
use(CdpAffinityView *view)
{
	size_t size = cdp_core_affinity_size(view);
	char *bytes = malloc(size);
	char *text = malloc(cdp_core_affinity_print_size(view));
	CdpAffinityView back;
	CdpAffinity sum;
	const char *reason = NULL;
	uint8_t order[CDP_AFFINITY_MAX_SLOTS];
	size_t len;
	char *scratch;
	double distance;

	cdp_core_affinity_write(view, bytes);
	must(cdp_core_affinity_open(&back, bytes, size, &reason));
	len = cdp_core_affinity_print(view, text);
	must(len <= cdp_core_affinity_print_size(view));
	scratch = malloc(len);
	must(cdp_core_affinity_parse(&back, text, len, scratch, &reason));
	must(cdp_core_affinity_size(&back) == size);
	cdp_core_affinity_write(&back, bytes);
	must(cdp_core_affinity_open(view, bytes, size, &reason));

	must(cdp_core_affinity_rank(view, 1000, order) == view->count);
	for (int i = 0; i < view->count; i++)
	{
		must(isfinite(cdp_core_affinity_at(view, view->item[i].net, 0)));
		must(isfinite(cdp_core_affinity_at(view, view->item[i].net, INT64_MIN + 1)));
		must(isfinite(cdp_core_affinity_at(view, view->item[i].net, INT64_MAX - 1)));
	}
	distance = cdp_core_affinity_distance(view, view);
	must(distance == 0 || distance == 1);

	cdp_core_affinity_init(&sum, &host, view->half_life, view->slots);
	must(cdp_core_affinity_merge(&sum, view) == CDP_AFFINITY_DONE);
	cdp_core_affinity_view(&sum, &back);
	cdp_core_affinity_sort(&back);
	must(cdp_core_affinity_size(&back) == size);
	if (cdp_core_affinity_merge(&sum, view) == CDP_AFFINITY_DONE)
	{
		cdp_core_affinity_view(&sum, &back);
		cdp_core_affinity_sort(&back);
		must(cdp_core_affinity_check(&back, &reason));
	}
	free(scratch);
	free(text);
	free(bytes);
}

/* seven bytes an event */
static void
history(const uint8_t *data, size_t size)
{
	int64_t half_life = CDP_AFFINITY_MIN_HALF_LIFE << data[0] % 31;
	int slots = 1 + data[1] % CDP_AFFINITY_MAX_SLOTS;
	CdpAffinity a;
	CdpAffinityView view;
	const char *reason = NULL;

	cdp_core_affinity_init(&a, &host, half_life, slots);
	for (data += 2, size -= 2; size >= 7; data += 7, size -= 7)
	{
		char value[CDP_AFFINITY_MAX_VALUE];
		size_t len = data[1] < 200 ? data[1] % 8 : data[1];
		double weight = (data[2] - 100) * exp2(data[3] < 250 ? data[3] % 8 : data[3] - 128);
		uint32_t at;

		memset(value, 'a' + data[0] % 64, sizeof(value));
		memcpy(&at, data + 3, sizeof(at));
		must(cdp_core_affinity_add(&a, value, len, weight, (int64_t) at * 1000000) ==
			 CDP_AFFINITY_DONE);
	}
	cdp_core_affinity_view(&a, &view);
	cdp_core_affinity_sort(&view);
	must(cdp_core_affinity_check(&view, &reason));
	use(&view);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CdpAffinityView view;
	const char *reason = NULL;
	char *copy;
	char *scratch;

	if (size < 3)
		return 0;
	/* blocks of the exact size, for the sanitizer */
	copy = malloc(size - 1);
	scratch = malloc(size - 1);
	memcpy(copy, data + 1, size - 1);
	switch (data[0] % 3)
	{
		case 0:
			if (cdp_core_affinity_open(&view, copy, size - 1, &reason))
				use(&view);
			else
				must(reason != NULL);
			break;
		case 1:
			if (cdp_core_affinity_parse(&view, copy, size - 1, scratch, &reason))
				use(&view);
			else
				must(reason != NULL);
			break;
		default:
			history((const uint8_t *) copy, size - 1);
	}
	free(scratch);
	free(copy);
	while (n_blocks > 0)
		free(blocks[--n_blocks]);
	return 0;
}
