/*
 * src/segment/audience.h
 *		Type cdp.audience: a set of profile ids as a value.
 *
 * The bytes behind the varlena header are those of core/audience.h.
 */
#ifndef CDP_SEGMENT_AUDIENCE_H
#define CDP_SEGMENT_AUDIENCE_H

#include "compat.h"
#include "core/audience.h"
#include "fmgr.h"
#include "lib/stringinfo.h"

/* Writes an audience from ids or bitmaps in ascending order. */
typedef struct CdpAudienceWriter
{
	StringInfoData directory;
	StringInfoData data;
	uint32 n; /* bitmaps written */
	bool open; /* bitmap holds what belongs to key */
	uint64 key;
	CdpCoreBitmap bitmap;
} CdpAudienceWriter;

extern void cdp_audience_start(CdpAudienceWriter *w);

/* Ids from first to last; first is not below any key written before. */
extern void cdp_audience_put_range(CdpAudienceWriter *w, int64 first, int64 last);

/* A bitmap under a key above all others; nothing if it is empty. */
extern void cdp_audience_put_bitmap(CdpAudienceWriter *w, uint64 key, CdpCoreBitmap *bitmap);

/* The same from bytes that are a bitmap already. */
extern void cdp_audience_put_bytes(CdpAudienceWriter *w, uint64 key, const uint8 *bytes,
								   size_t len);
extern struct varlena *cdp_audience_finish(CdpAudienceWriter *w);

/* Reads a detoasted value; raises if it is damaged. */
extern void cdp_audience_open(CdpCoreAudience *a, const struct varlena *value);

/* Bitmap i of an audience; raises if it is damaged. */
extern void cdp_audience_load(const CdpCoreAudience *a, uint32 i, CdpCoreBitmap *bitmap);

typedef enum CdpAudienceOp
{
	CDP_AUDIENCE_AND,
	CDP_AUDIENCE_OR,
	CDP_AUDIENCE_MINUS,
	CDP_AUDIENCE_XOR
} CdpAudienceOp;

extern struct varlena *cdp_audience_combine(const CdpCoreAudience *a, const CdpCoreAudience *b,
											CdpAudienceOp op);

/* Sorts the ids and makes a value of them; all must be 0 or more. */
extern struct varlena *cdp_audience_from_ids(int64 *ids, size_t n);

/* Raises if an id cannot be a member: 0 or more. */
extern void cdp_audience_check_id(int64 id);

#endif /* CDP_SEGMENT_AUDIENCE_H */
