/*
 * tools/phone/phone_filter.c
 *		Lines "REGION <tab> number" in, "verdict <tab> result" out.
 *
 * For comparing src/core/phone.c with something else; "-" is no region.
 *		With the argument "regions", lists these.
 */
#include "core/phone.h"

#include <stdio.h>
#include <string.h>

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
