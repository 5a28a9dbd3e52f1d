/*
 * The machine reassignment problem: processes on machines, each with a place today, and what it
 * costs to leave them so or to move them. The shape is that of the ROADEF/EURO challenge 2012
 * (subject by Google), which is general enough for a fleet: capacities per resource, double use
 * during a move, conflicts, spread over locations, dependencies between groups.
 */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/**
 * BerthReassignBalance: wants `target` free units of @second for each free unit of @first;
 * every unit of @second that is missing on a machine costs @weight.
 */
typedef struct {
    guint32 first, second; /* resources */
    guint32 target;
    guint32 weight;
} BerthReassignBalance;

/**
 * BerthReassignModel: an instance. Arrays are owned; matrices are row by row.
 */
typedef struct {
    guint32 resources, machines, services, processes, balances;
    guint32 neighbourhoods, locations; /* ids below are dense: 0 .. count - 1 */

    gboolean *transient;    /* [resources] used on both ends while a process moves */
    guint32 *load_weight;   /* [resources] cost of a unit above the safety capacity */
    guint32 *neighbourhood; /* [machines] */
    guint32 *location;      /* [machines] */
    guint32 *capacity;      /* [machines][resources] hard limit */
    guint32 *safety;        /* [machines][resources] soft limit */
    guint32 *machine_move;  /* [machines][machines] cost of a move from, to */

    guint32 *spread_min;       /* [services] least number of distinct locations */
    guint32 *dependency_first; /* [services + 1] where a service's list starts in @dependency */
    guint32 *dependency;       /* services that must be present in the same neighbourhood */

    guint32 *service;      /* [processes] no two of one service share a machine */
    guint32 *requirement;  /* [processes][resources] */
    guint32 *process_move; /* [processes] cost of moving it at all */

    BerthReassignBalance *balance; /* [balances] */
    guint32 process_move_weight, service_move_weight, machine_move_weight;
} BerthReassignModel;

BerthReassignModel *berth_reassign_model_new(guint32 resources, guint32 machines, guint32 services,
                                             guint32 dependencies, guint32 processes,
                                             guint32 balances);
void berth_reassign_model_free(BerthReassignModel *model);
gboolean berth_reassign_model_validate(const BerthReassignModel *model, const guint32 *home,
                                       GError **error);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthReassignModel, berth_reassign_model_free)

G_END_DECLS
