/*
 * src/activation/activation.h
 *		Segments to channels: the outbox.
 */
#ifndef CDP_ACTIVATION_ACTIVATION_H
#define CDP_ACTIVATION_ACTIVATION_H

#include "segment/segment.h"

extern void cdp_activation_enqueue(const CdpEntry *entries, int n);
extern void cdp_activation_join(const CdpGraph *graph);
extern void cdp_activation_part(const CdpGraph *graph);

#endif /* CDP_ACTIVATION_ACTIVATION_H */
