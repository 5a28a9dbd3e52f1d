/*
 * Finding a cheaper assignment of processes to machines by local search. Pure: no I/O, no clock, no
 * randomness of its own; the caller gives a seed and decides by steps when it is enough.
 */
#pragma once

#include "sched/reassign-model.h"

G_BEGIN_DECLS

typedef struct BerthReassign BerthReassign;

BerthReassign *berth_reassign_new(const BerthReassignModel *model, const guint32 *home,
                                  guint64 seed);
void berth_reassign_free(BerthReassign *search);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthReassign, berth_reassign_free)

void berth_reassign_run(BerthReassign *search, guint64 steps);
gint64 berth_reassign_cost(const BerthReassign *search);
const guint32 *berth_reassign_best(const BerthReassign *search);

G_END_DECLS
