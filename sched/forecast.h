/* What would be: copies of the fleet to try things on, and how many more of a kind fit. */
#pragma once

#include "sched/pick.h"

G_BEGIN_DECLS

BerthSnapshot *berth_snapshot_copy(const BerthSnapshot *snapshot);
guint32 berth_forecast_add_like(BerthSnapshot *snapshot, guint32 host, const char *name);
void berth_forecast_lose(BerthSnapshot *snapshot, guint32 host);
guint berth_forecast_fill(BerthSnapshot *snapshot, const BerthRequest *request,
                          const BerthPolicy *policy, guint limit, guint *per_host);
guint berth_capacity_like(const BerthSnapshot *snapshot, const BerthRequest *request,
                          const BerthPolicy *policy, guint limit);

/**
 * BerthChange: what a plan assumes to be different from the fleet as it is
 * @without: hosts that are thought away, workloads and all
 * @add_like: an empty host like each of these is added
 */
typedef struct {
    const guint32 *without;
    guint n_without;
    const guint32 *add_like;
    guint n_add_like;
} BerthChange;

BerthSnapshot *berth_forecast(const BerthSnapshot *snapshot, const BerthChange *change,
                              BerthDecision *decisions, const BerthRequest *requests,
                              guint n_requests, const BerthPolicy *policy);

G_END_DECLS
