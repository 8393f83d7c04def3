/*
 * src/stamp.h
 *		Whether what was read before is what a snapshot would show.  Floor 0.
 *
 * A snapshot's numbers alone do not tell: what a subtransaction wrote and read
 * is gone when it is rolled back, and where another session took a number in
 * between, the next snapshot has the same ones as before.
 */
#ifndef CDP_STAMP_H
#define CDP_STAMP_H

#include "access/xact.h"
#include "storage/proc.h"
#include "utils/snapshot.h"

#include "compat.h"

typedef struct CdpStamp
{
	LocalTransactionId transaction;
	SubTransactionId subtransaction;
	TransactionId xmin;
	TransactionId xmax;
	uint32 xcnt;
	int32 subxcnt;
	CommandId curcid;
} CdpStamp;

static inline void
cdp_stamp_set(CdpStamp *stamp, Snapshot snapshot)
{
	*stamp = (CdpStamp){
		.transaction = cdp_my_lxid(),
		.subtransaction = GetCurrentSubTransactionId(),
		.xmin = snapshot->xmin,
		.xmax = snapshot->xmax,
		.xcnt = snapshot->xcnt,
		.subxcnt = snapshot->subxcnt,
		.curcid = snapshot->curcid,
	};
}

static inline bool
cdp_stamp_is(const CdpStamp *stamp, Snapshot snapshot)
{
	return stamp->curcid == snapshot->curcid && stamp->xmin == snapshot->xmin &&
		   stamp->xmax == snapshot->xmax && stamp->xcnt == snapshot->xcnt &&
		   stamp->subxcnt == snapshot->subxcnt &&
		   stamp->subtransaction == GetCurrentSubTransactionId() &&
		   stamp->transaction == cdp_my_lxid();
}

#endif /* CDP_STAMP_H */
