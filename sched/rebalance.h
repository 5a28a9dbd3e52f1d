/*
 * Planning live migrations: from where workloads are to where they are better, as an ordered list of
 * moves of which none breaks a rule. Draining a host is the same with that host forbidden. Pure.
 */
#pragma once

#include "sched/snapshot.h"

G_BEGIN_DECLS

/**
 * BerthMovable: a workload the planner knows of
 * @request: what it asked for; its uid is set and charged in the snapshot; borrowed
 * @dirty_mib_s: memory it rewrites in a second, which migration has to send again
 * @local_disk_mib: disk that is on the host only and has to be copied
 * @fixed: why it can't be moved live ("microvm machine", "host device"), or NULL; borrowed
 */
typedef struct {
    const BerthRequest *request;
    gint64 dirty_mib_s;
    gint64 local_disk_mib;
    const char *fixed;
} BerthMovable;

/**
 * BerthRebalanceGoal: zeroes mean the values in brackets
 * @forbidden: hosts to be emptied, besides those that are draining
 * @repair_only: empty hosts and mend broken rules, but do not balance
 * @moves_max: most moves in the plan [no limit]; a plan that was cut is not calm
 * @link_mib_s: speed of one migration [1000]
 * @safe_pct: share of vCPUs and memory above which a host counts as overloaded [80]
 * @load_worth_s: seconds of copying that it is worth to take a host from full to safe [20000]
 * @balance_worth_s: the same for vCPUs and memory free in equal shares instead of only one of them
 *     free [500]
 * @gain_min_s: least gain, over its cost, of a move made for balance only [5]
 */
typedef struct {
    const guint32 *forbidden;
    guint n_forbidden;
    gboolean repair_only;
    guint moves_max;
    gint64 link_mib_s;
    guint safe_pct;
    gint64 load_worth_s;
    gint64 balance_worth_s;
    gint64 gain_min_s;
} BerthRebalanceGoal;

typedef enum {
    BERTH_MOVE_DRAIN,     /* its host is to be emptied */
    BERTH_MOVE_RULE,      /* it breaks a rule where it is */
    BERTH_MOVE_MAKE_ROOM, /* another workload of the plan needs its place */
    BERTH_MOVE_BALANCE,
} BerthMoveReason;

/**
 * BerthMove: one live migration
 * @workload: index in the workloads given
 * @placement: host, cells and devices at the destination
 * @copy_s: how long the copy takes, estimated
 */
typedef struct {
    guint workload;
    guint32 from;
    BerthPlacement placement;
    BerthMoveReason reason;
    double copy_s;
} BerthMove;

/**
 * BerthStuck: a workload that should leave and can't
 * @why: one line for people; owned by the plan
 */
typedef struct {
    guint workload;
    guint32 host;
    char *why;
} BerthStuck;

/**
 * BerthRebalance:
 * @moves: BerthMove, to be done one after the other in this order
 * @stuck: BerthStuck, by workload
 * @cost_before: overload and lopsidedness of the fleet in seconds of copying worth mending
 * @cost_after: the same after the moves, which cost @copy_s to make
 */
typedef struct {
    GArray *moves;
    GArray *stuck;
    double cost_before, cost_after, copy_s;
} BerthRebalance;

BerthRebalance *berth_rebalance_plan(BerthSnapshot *snapshot, const BerthMovable *workloads,
                                     guint n_workloads, const BerthRebalanceGoal *goal);
void berth_rebalance_free(BerthRebalance *plan);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthRebalance, berth_rebalance_free)

const char *berth_move_reason_name(BerthMoveReason reason);

G_END_DECLS
