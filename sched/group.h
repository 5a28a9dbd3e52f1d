/* Several workloads at once: all or none, batches, and room made by stopping lesser ones. */
#pragma once

#include <jansson.h>

#include "sched/pick.h"

G_BEGIN_DECLS

guint *berth_group_order(const BerthSnapshot *snapshot, const BerthRequest *requests, guint n);
gboolean berth_group_place(BerthSnapshot *snapshot, const BerthRequest *requests, guint n,
                           const BerthPolicy *policy, BerthDecision *decisions, guint32 *charges);
gboolean berth_group_split(const BerthSnapshot *snapshot, const BerthRequest *requests, guint n,
                           const guint *order, const BerthPolicy *policy, BerthDecision *decisions);
gboolean berth_pick_group(BerthSnapshot *snapshot, const BerthRequest *requests, guint n,
                          const BerthPolicy *policy, BerthDecision *decisions);
guint berth_pick_batch(BerthSnapshot *snapshot, const BerthRequest *requests, guint n,
                       const BerthPolicy *policy, BerthDecision *decisions);

/**
 * BerthPreemption:
 * @placements: of each request, where it goes once the victims are stopped; owned
 * @n_victims: at least 1 when room was found
 * @victims: charges to be stopped; owned
 * @askers: of each victim, which of the requests it is stopped for: one that is more than it, on its host; owned
 * @rests: list of what each request needs beside what the victims hold, see berth_holding_rest(); owned
 */
typedef struct {
    BerthPlacement *placements;
    guint n_victims;
    guint32 *victims;
    guint *askers;
    json_t *rests;
} BerthPreemption;

gboolean berth_preempt_plan(const BerthSnapshot *snapshot, const BerthRequest *requests, guint n,
                            const BerthPolicy *policy, BerthPreemption *preemption);
void berth_preemption_clear(BerthPreemption *preemption);

G_END_DECLS
