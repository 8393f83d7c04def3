/*
 * tools/soak/settle.h
 *		Who was whom before, and who is now.
 */
#ifndef SETTLE_H
#define SETTLE_H

#include "model.h"

/* After resolve(): takes the server's ids; false, and a complaint, if they must be others. */
extern bool settle(Model *m, const Answer *answer);

#endif /* SETTLE_H */
