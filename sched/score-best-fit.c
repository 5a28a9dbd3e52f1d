/* Baseline: least free share before placing, of the bound cells or of the host. For devices: least
 * CPU and devices of the host after placing, each against the largest host of the fleet, as the openb
 * study has it. */
#include "sched/cell-share.h"

static gint64
device_fit(const BerthAsk *ask, guint32 host, const BerthPlacement *placement)
{
    const BerthSnapshot *s = ask->snapshot;
    const BerthSlot *slots = berth_slots(s, host);
    gint64 left = 0;
    for (guint i = 0; i < s->n_slots[host]; i++) {
        left += 1000 - slots[i].used;
    }
    for (guint i = 0; i < ask->request->n_devices; i++) {
        left -= (gint64)ask->request->devices[i].count * ask->request->devices[i].millis;
    }
    double share = (double)(s->cpu_free[host] - ask->cpu_millis) / MAX(1, s->largest_cpu) +
                   (double)left / (1000.0 * MAX(1, s->largest_slots));
    gint64 own = placement->n_devices == 0 ? 0 : 1000 - slots[placement->devices[0]].used;
    return BERTH_SCORE_MAX * 4096LL - (gint64)(share * BERTH_SCORE_MAX) * 1024 - own;
}

static gint64
score(const BerthAsk *ask, guint32 host, const BerthPlacement *placement)
{
    const BerthSnapshot *s = ask->snapshot;
    if (s->n_slots[host] > 0) {
        return device_fit(ask, host, placement);
    }
    double share = 0;
    if (placement->cells[0] == BERTH_CELL_NONE) {
        share = berth_host_share(s, host);
    }
    for (guint i = 0; i < 2 && placement->cells[i] != BERTH_CELL_NONE; i++) {
        share += berth_cell_share(s, host, placement->cells[i]);
    }
    return (gint64)((4.0 - share) * BERTH_DOUBLE_SCALE);
}

const BerthRule berth_rule_best_fit = {
    .code = "best-fit",
    .doc = "Baseline: the least free share is filled first.",
    .reach = BERTH_REACH_LOAD,
    .score = score,
};
