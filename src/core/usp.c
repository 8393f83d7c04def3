/*
 * src/core/usp.c
 *		US Privacy strings: the version and three letters.
 *
 * Source: IAB Tech Lab, "US Privacy String", version 1.  Letters are capitals;
 * small ones, which some pages write, are refused: what the string means is
 * then a guess, and a guess must not become a consent.
 */
#include "core/usp.h"

/*
 * Decodes text[start .. start + len); false, and why, if it is not of the form
 * 1[YN-][YN-][YN-].
 */
bool
cdp_core_usp_decode(const char *text, size_t len, size_t start, CdpUsp *usp,
					CdpSignalError *error)
{
	const char *s = text + start;

	error->part = "letters";
	error->at = start + 1;
	if (len > 0 && s[0] != '1')
	{
		error->reason = "version is not one that is read";
		return false;
	}
	for (size_t i = 1; i < len && i < 4; i++)
	{
		error->at = start + i + 1;
		if (s[i] != 'Y' && s[i] != 'N' && s[i] != '-')
		{
			error->reason = "character is not Y, N or -";
			return false;
		}
	}
	if (len != 4)
	{
		error->at = start + (len < 4 ? len : 4) + 1;
		error->reason = len < 4 ? "string ends early" : "string goes on after its end";
		return false;
	}
	usp->version = 1;
	usp->notice = s[1];
	usp->opt_out_sale = s[2];
	usp->lspa_covered = s[3];
	return true;
}
