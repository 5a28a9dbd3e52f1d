/* Rules across fields that Pod and VM share; for model/ alone. */
#pragma once

#include "model/object.h"

G_BEGIN_DECLS

gboolean berth_workload_check(const BerthObject *object, GError **error);
gboolean berth_workload_check_unique(const GPtrArray *items, const char *pointer, GError **error);

G_END_DECLS
