/*
 * src/core/verdict.h
 *		How far a value was understood when it was brought to its normal form.
 */
#ifndef CDP_CORE_VERDICT_H
#define CDP_CORE_VERDICT_H

typedef enum CdpVerdict
{
	CDP_VERDICT_UNKNOWN, /* not understood: kept as it was, but for blanks at its ends */
	CDP_VERDICT_PLAUSIBLE, /* has the shape; whether it can exist is not known here */
	CDP_VERDICT_VALID /* fits the rules and tables of this version */
} CdpVerdict;

#endif /* CDP_CORE_VERDICT_H */
