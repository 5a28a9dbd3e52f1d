/* Whether a request tolerates one taint; shared by the hard and the soft rule. */
#pragma once

#include "sched/rules.h"

G_BEGIN_DECLS

gboolean berth_taint_is_tolerated(const BerthAsk *ask, const BerthFact *taint);

G_END_DECLS
