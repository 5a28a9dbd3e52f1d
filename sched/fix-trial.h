/* Whether a change does help; see fix-trial.c. */
#pragma once

#include "sched/evaluate.h"

G_BEGIN_DECLS

gboolean berth_fix_is_certain(const BerthAsk *ask, const BerthFix *fix);
gboolean berth_fix_helps(const BerthSnapshot *snapshot, const BerthRequest *request,
                         const BerthFix *fix);

G_END_DECLS
