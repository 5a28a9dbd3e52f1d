/* A workload bound to one cell fits in one; one bound to two fits in halves in two. */
#include "sched/place.h"
#include "sched/rules.h"

/* Cells of dedicated CPUs are "dedicated". */
static gboolean
asked(const BerthAsk *ask)
{
    return berth_ask_cells(ask) > 0 && ask->cpus == 0;
}

static gboolean
admits(const BerthAsk *ask, guint32 host, BerthRefusal *refusal)
{
    guint parts = berth_ask_cells(ask), fitting = 0;
    for (guint c = 0; c < ask->snapshot->n_cells[host] && fitting < parts; c++) {
        fitting += berth_place_cell_admits(ask, host, c, parts);
    }
    return fitting == parts || berth_place_refuse_cells(ask, host, parts, refusal);
}

const BerthRule berth_rule_numa = {
    .code = "numa",
    .doc = "The NUMA cells the request is bound to have room.",
    .reach = BERTH_REACH_LOAD,
    .remedy = BERTH_REMEDY_DROP,
    .asked = asked,
    .admits = admits,
    .placed = TRUE,
};
