/* Prefers the host, and on it the cells and devices, left fullest: the sum of free shares after
 * placing is least. Stands in for "room" until enough requests were seen to know what is typical. */
#include "sched/mix.h"
#include "sched/rules.h"

static gboolean
asked(const BerthAsk *ask)
{
    return !berth_mix_is_known(ask->snapshot->mix);
}

static gint64
share(gint64 part, gint64 whole)
{
    return whole <= 0 ? 0 : CLAMP(part * BERTH_SCORE_MAX / whole, 0, BERTH_SCORE_MAX);
}

static gint64
cells_left(const BerthAsk *ask, guint32 host, const BerthPlacement *placement)
{
    const BerthCell *cell = &berth_cells(ask->snapshot, host)[placement->cells[0]];
    return (share(cell->cpu_free, cell->cpu_cap) + share(cell->mem_free, cell->mem_cap)) / 2;
}

static gint64
score(const BerthAsk *ask, guint32 host, const BerthPlacement *placement)
{
    const BerthSnapshot *s = ask->snapshot;
    gint64 left = (share(s->cpu_free[host] - ask->cpu_millis, s->cpu_cap[host]) +
                   share(s->mem_free[host] - ask->memory_mib, s->mem_cap[host])) /
                  2;
    if (placement->cells[0] != BERTH_CELL_NONE) {
        left = (15 * left + cells_left(ask, host, placement)) / 16;
    }
    if (placement->n_devices > 0) {
        gint64 spare = 1000 - berth_slots(s, host)[placement->devices[0]].used;
        left = (15 * left + share(spare, 1000)) / 16;
    }
    return BERTH_SCORE_MAX - left;
}

const BerthRule berth_rule_pack = {
    .code = "pack",
    .doc = "Fuller hosts are preferred, until the request mix is known.",
    .reach = BERTH_REACH_LOAD,
    .asked = asked,
    .score = score,
};
