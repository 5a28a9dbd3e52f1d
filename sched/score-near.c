/* Devices are reached fastest from their own NUMA cell: of a workload that is bound to cells, the share of its devices
 * that are of these. One whose cell nobody knows counts as near. */
#include "sched/place.h"
#include "sched/rules.h"

static gboolean
asked(const BerthAsk *ask)
{
    return ask->request->n_devices > 0 && berth_place_is_bound(ask);
}

static gint64
score(const BerthAsk *ask, guint32 host, const BerthPlacement *way)
{
    const BerthSlot *slots = berth_slots(ask->snapshot, host);
    gint64 near = 0;
    for (guint i = 0; i < way->n_devices && way->cells[0] != BERTH_CELL_NONE; i++) {
        guint8 cell = slots[way->devices[i]].cell;
        near += cell == BERTH_CELL_NONE || cell == way->cells[0] || cell == way->cells[1];
    }
    return way->n_devices == 0 ? 0 : near * BERTH_SCORE_MAX / way->n_devices;
}

const BerthRule berth_rule_near = {
    .code = "near",
    .doc = "Devices that are in the NUMA cells of the workload.",
    .reach = BERTH_REACH_LOAD,
    .asked = asked,
    .score = score,
};
