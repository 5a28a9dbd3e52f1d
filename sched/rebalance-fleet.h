/*
 * The fleet as the rebalancing planner plays with it: workloads moved for trial on the caller's own
 * snapshot, which is put back as it was at the end. Internal to rebalance.c.
 *
 * Invariant: outside a call every workload is charged exactly once, at `placement`.
 */
#pragma once

#include "sched/rebalance.h"
#include "sched/rules.h"

G_BEGIN_DECLS

typedef struct {
    BerthSnapshot *snapshot;       /* borrowed; changed and put back */
    const BerthMovable *workloads; /* borrowed */
    guint n_workloads;
    guint32 hosts;           /* indexes below this; explaining may add and remove one beyond */
    BerthRebalanceGoal goal; /* with the defaults filled in */

    BerthPlacement *placement; /* [workloads] where each is now */
    BerthPlacement *origin;    /* [workloads] where each was at first */
    gboolean *known;           /* [workloads] charged in the snapshot at all */
    GArray **crew;             /* [hosts] indexes of workloads */
    guint8 *state;             /* [hosts] as it was; forbidden ones are draining meanwhile */
    GArray *related;           /* workloads whose hard rules look at others */
    guint64 waived;            /* rules that do not count for where a workload is already */
    double mean_cpu, mean_mem; /* capacity of the mean host */
    double *cost;              /* [hosts] */
    struct BerthMix *mix;      /* the snapshot's own; trials are not arrivals */
} BerthRebalanceFleet;

void berth_rebalance_fleet_init(BerthRebalanceFleet *fleet, BerthSnapshot *snapshot,
                                const BerthMovable *workloads, guint n_workloads,
                                const BerthRebalanceGoal *goal);
void berth_rebalance_fleet_clear(BerthRebalanceFleet *fleet);

void berth_rebalance_fleet_lift(BerthRebalanceFleet *fleet, guint workload);
void berth_rebalance_fleet_put(BerthRebalanceFleet *fleet, guint workload,
                               const BerthPlacement *placement);
void berth_rebalance_fleet_move(BerthRebalanceFleet *fleet, guint workload,
                                const BerthPlacement *placement);

gboolean berth_rebalance_fleet_must_leave(const BerthRebalanceFleet *fleet, guint workload);
gboolean berth_rebalance_fleet_is_broken(BerthRebalanceFleet *fleet, guint workload);
GArray *berth_rebalance_fleet_list_watchers(const BerthRebalanceFleet *fleet, guint workload);
gboolean berth_rebalance_fleet_is_fixed(const BerthRebalanceFleet *fleet, guint workload);
double berth_rebalance_fleet_copy_s(const BerthRebalanceFleet *fleet, guint workload);
double berth_rebalance_fleet_cost_with(const BerthRebalanceFleet *fleet, guint32 host,
                                       gint64 cpu_millis, gint64 memory_mib);

G_END_DECLS
