/* One request in, one host out, with the reason. */
#pragma once

#include "sched/snapshot.h"

G_BEGIN_DECLS

/**
 * BerthPolicy: which scores count and how much. Hard rules are the same under every policy.
 */
typedef struct BerthPolicy BerthPolicy;

const BerthPolicy *berth_policy_default(void);
const BerthPolicy *berth_policy_find(const char *name);
const char *const *berth_policy_names(void);

/**
 * BerthDecision:
 * @placed: whether a host was found; the rest is set only then
 * @placement: host, NUMA cells and devices
 * @score: rank of the host under the policy; higher is better, at least 1
 * @led: a place was chosen for it and its fellows: by itself it would have gone elsewhere
 */
typedef struct {
    gboolean placed;
    BerthPlacement placement;
    guint32 score;
    gboolean led;
} BerthDecision;

gboolean berth_pick(BerthSnapshot *snapshot, const BerthRequest *request, const BerthPolicy *policy,
                    BerthDecision *decision);

gboolean berth_pick_naive(BerthSnapshot *snapshot, const BerthRequest *request,
                          const BerthPolicy *policy, BerthDecision *decision);

gboolean berth_pick_and_charge(BerthSnapshot *snapshot, const BerthRequest *request,
                               const BerthPolicy *policy, BerthDecision *decision, guint32 *charge);

gboolean berth_pick_in_place(BerthSnapshot *snapshot, const BerthRequest *request,
                             const BerthPolicy *policy, BerthScope scope, guint64 place,
                             BerthDecision *decision, guint32 *charge);

G_END_DECLS
