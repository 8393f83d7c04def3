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
	int32 *ids; /* sets of members in force, once they are looked up */
	const char *building; /* then: one whose members are not all found yet, or NULL */
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

/*
 * The set in force of the segment of this name under the active snapshot, or -1.
 * building: there is none before its members are found, and it is empty.
 */
extern int32 cdp_segment_find(const char *name, bool *building);
extern void cdp_segment_raise_building(const char *name);

/* Name of the segment whose set in force this is under the active snapshot, or NULL. */
extern char *cdp_segment_name(int32 set_id);

#endif /* CDP_SEGMENT_EXPR_H */
