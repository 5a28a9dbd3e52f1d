/* Whether an assignment of the ROADEF/EURO challenge 2012 is allowed, and what it costs. */
#pragma once

#include "sched/reassign-model.h"

G_BEGIN_DECLS

gboolean berth_reassign_check(const BerthReassignModel *model, const guint32 *home,
                              const guint32 *at, gint64 *cost, GError **error);
guint32 berth_reassign_count_moves(const BerthReassignModel *model, const guint32 *home,
                                   const guint32 *at);

G_END_DECLS
