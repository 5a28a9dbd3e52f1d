/* Facts of hosts that many hosts share, stored once. */
#pragma once

#include "sched/fleet.h"

G_BEGIN_DECLS

guint32 berth_profile_get(BerthSnapshot *snapshot, const BerthHost *host);
void berth_profile_put(BerthSnapshot *snapshot, guint32 profile);
void berth_profile_free(BerthProfile *profile);

G_END_DECLS
