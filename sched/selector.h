/* Matching of one label expression against a host; shared by the hard and the soft rule. */
#pragma once

#include "sched/rules.h"

G_BEGIN_DECLS

gboolean berth_selector_matches(const BerthAsk *ask, guint32 host, guint expression);

G_END_DECLS
