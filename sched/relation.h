/* Where the workloads are that a relation or a spread of a request speaks of. */
#pragma once

#include "sched/rules.h"

G_BEGIN_DECLS

guint64 berth_relation_place(const BerthSnapshot *snapshot, guint32 host, BerthScope scope);
gboolean berth_relation_is_near(const BerthAsk *ask, guint relation, guint32 host);
gboolean berth_relation_has_members(const BerthAsk *ask, guint relation);
guint berth_relation_count(const BerthAsk *ask, guint spread, guint32 host);
gpointer berth_relation_key(const BerthSnapshot *snapshot, guint32 host, BerthScope scope);
GHashTable *berth_relation_list_labelled(const BerthAsk *ask, guint relation);
gboolean berth_relation_must_be_near(const BerthAsk *ask, guint relation);
gboolean berth_relation_is_sought(const BerthAsk *ask, const BerthCharge *charge);
gboolean berth_relation_is_itself(const BerthAsk *ask, const BerthCharge *charge);

G_END_DECLS
