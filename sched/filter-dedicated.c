/* The host has a free CPU of its own for each vCPU, in one cell or in halves in two, with the memory
 * beside them. */
#include "sched/place.h"
#include "sched/rules.h"

static gboolean
asked(const BerthAsk *ask)
{
    return ask->cpus > 0;
}

static gboolean
admits(const BerthAsk *ask, guint32 host, BerthRefusal *refusal)
{
    BerthCellPair pairs[BERTH_PLACE_CELLS_MAX];
    gint64 have = berth_place_cpus_free(ask, host, BERTH_CELL_NONE);
    if (ask->cpus > have) {
        return berth_refuse(refusal, "dedicated_cpus", ask->cpus, have);
    }
    return berth_place_cells(ask, host, pairs) > 0 ||
           berth_place_refuse_cells(ask, host, MAX(1, berth_ask_cells(ask)), refusal);
}

const BerthRule berth_rule_dedicated = {
    .code = "dedicated",
    .doc = "The host has a free dedicated CPU for each vCPU, in one NUMA cell or two.",
    .reach = BERTH_REACH_LOAD,
    .remedy = BERTH_REMEDY_FREE,
    .asked = asked,
    .admits = admits,
    .placed = TRUE,
};
