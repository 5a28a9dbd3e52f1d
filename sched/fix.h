/* The smallest change after which a refused request fits. */
#pragma once

#include "sched/evaluate.h"

G_BEGIN_DECLS

void berth_fix_find(BerthFix *fix, BerthSnapshot *snapshot, const BerthAsk *ask,
                    const BerthPlan *plan);

G_END_DECLS
