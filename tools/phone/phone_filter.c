/*
 * tools/phone/phone_filter.c
 *		Lines "REGION <tab> number" in, "verdict <tab> result" out.
 *
 * For comparing src/core/phone.c with something else; "-" is no region.
 *		With the argument "regions" it lists these, with "table" the plans as
 *		they stand in docs/normalise.md.
 */
#include "core/phone.h"

#include <stdio.h>
#include <string.h>

static void
print_table(void)
{
	puts("| regions | code | trunk | exit | bare from | leading digits: length |");
	puts("|---|---|---|---|---|---|");
	for (int i = 0; i < CDP_CORE_PHONE_REGIONS; i++)
	{
		const CdpCorePhonePlan *plan = cdp_core_phone_regions[i].plan;
		bool first = true;

		for (int j = 0; j < i; j++)
			first = first && cdp_core_phone_regions[j].plan != plan;
		if (!first)
			continue;
		printf("|");
		for (int j = i; j < CDP_CORE_PHONE_REGIONS; j++)
		{
			if (cdp_core_phone_regions[j].plan == plan)
				printf(" %s", cdp_core_phone_regions[j].region);
		}
		printf(" | +%s | %s | %s | ", plan->code, plan->trunk, plan->exit);
		if (plan->bare == CDP_CORE_PHONE_NO_BARE)
			printf("never |");
		else if (plan->trunk[0] == '\0' || plan->trunk[0] == '+')
			printf("any |");
		else
			printf("%d |", plan->bare);
		for (int k = 0; k < plan->n_range; k++)
		{
			const CdpCorePhoneRange *range = &plan->range[k];

			printf("%s %s: %d", k > 0 ? ";" : "", range->pattern, range->min);
			if (range->max > range->min)
				printf("–%d", range->max);
		}
		puts(" |");
	}
}

int
main(int argc, char **argv)
{
	static const char *const names[] = {"unknown", "plausible", "valid"};
	char line[1024];

	if (argc > 1 && strcmp(argv[1], "regions") == 0)
	{
		for (int i = 0; i < CDP_CORE_PHONE_REGIONS; i++)
			puts(cdp_core_phone_regions[i].region);
		return 0;
	}
	if (argc > 1 && strcmp(argv[1], "table") == 0)
	{
		print_table();
		return 0;
	}

	while (fgets(line, sizeof(line), stdin) != NULL)
	{
		size_t len = strcspn(line, "\n");
		char *tab = memchr(line, '\t', len);
		const CdpCorePhoneRegion *region;
		CdpVerdict verdict;
		char out[CDP_MAX_PHONE_BYTES];
		size_t out_len = 0;

		if (tab == NULL)
			return 1;
		region = cdp_core_phone_region(line, (size_t) (tab - line));
		if (region == NULL && line[0] != '-')
			return 1;
		tab++;
		verdict = cdp_core_phone_normalise(region, tab, len - (size_t) (tab - line), true,
										   out, &out_len);
		printf("%s\t%.*s\n", names[verdict], (int) out_len, out);
	}
	return 0;
}
