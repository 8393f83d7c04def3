/*
 * src/task.h
 *		How far work for cdp.maintain() is: rows of cdp_data.task.  Floor 0.
 *
 * For tasks whose position is an id: that of the last one they looked at.  Whose
 * position is something else has a statement of its own.
 */
#ifndef CDP_TASK_H
#define CDP_TASK_H

/* After a step: it is at this position, and did so many more.  Inside cdp_store_enter(). */
extern void cdp_task_advance(int32 task_id, bool through, int64 position, int64 more);

#endif /* CDP_TASK_H */
