/* Several workloads at once: all or none, batches, and room made by stopping lesser ones. */
#pragma once

#include "sched/pick.h"

G_BEGIN_DECLS

gboolean berth_pick_group(BerthSnapshot *snapshot, const BerthRequest *requests, guint n,
                          const BerthPolicy *policy, BerthDecision *decisions);
guint berth_pick_batch(BerthSnapshot *snapshot, const BerthRequest *requests, guint n,
                       const BerthPolicy *policy, BerthDecision *decisions);

/**
 * BerthPreemption:
 * @decision: where the workload goes once the victims are stopped
 * @n_victims: at least 1 when room was found
 * @victims: charges to be stopped; owned
 */
typedef struct {
    BerthDecision decision;
    guint n_victims;
    guint32 *victims;
} BerthPreemption;

gboolean berth_preempt_plan(const BerthSnapshot *snapshot, const BerthRequest *request,
                            const BerthPolicy *policy, BerthPreemption *preemption);
void berth_preemption_clear(BerthPreemption *preemption);

G_END_DECLS
