/*
 * src/segment/expr.h
 *		Boolean expressions of segments: 'vip & !churned'.
 */
#ifndef CDP_SEGMENT_EXPR_H
#define CDP_SEGMENT_EXPR_H

#include "core/segexpr.h"

typedef struct CdpSegmentExpr
{
	size_t n; /* steps; none: it holds of everybody */
	CdpCoreSegexprStep *steps;
	const char **names; /* by step, of names */
	int32 *ids; /* the same, once they are looked up */
} CdpSegmentExpr;

/* Malformed: raises 42601, or returns NULL. */
extern CdpSegmentExpr *cdp_segment_expr_parse(const char *text, bool raise);

/*
 * Looks the names up under the active snapshot; whoever the current role is.
 * One that names no segment: raises 42704, or returns false.
 */
extern bool cdp_segment_expr_resolve(CdpSegmentExpr *expr, bool raise);

/* Does it hold of whom is_in says this of?  NULL: of who is in no segment. */
extern bool cdp_segment_expr_holds(const CdpSegmentExpr *expr,
								   bool (*is_in)(const char *name, void *arg), void *arg);

/* A name as it is written in an expression. */
extern char *cdp_segment_expr_quote(const char *name);

/* Number of the segment of this name under the active snapshot, or -1. */
extern int32 cdp_segment_find(const char *name);

/* Name of the segment of this number under the active snapshot, or NULL. */
extern char *cdp_segment_name(int32 id);

#endif /* CDP_SEGMENT_EXPR_H */
