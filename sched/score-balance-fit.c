/* Baseline: one-cell workloads go to the host whose two cells differ most, on its freer cell; others
 * by first fit. */
#include "sched/cell-share.h"
#include "sched/place.h"

static gint64
score(const BerthAsk *ask, guint32 host, const BerthPlacement *placement)
{
    if (ask->snapshot->n_cells[host] != 2 || placement->cells[0] == BERTH_CELL_NONE ||
        placement->cells[1] != BERTH_CELL_NONE) {
        return 0;
    }
    double share[2] = {berth_cell_share(ask->snapshot, host, 0),
                       berth_cell_share(ask->snapshot, host, 1)};
    double difference = ABS(share[0] - share[1]);
    guint freer = share[1] > share[0] ? 1 : 0;
    /* one of its cells has the bit in every host, so that it never decides between hosts */
    gboolean preferred =
        placement->cells[0] == freer || !berth_place_cell_admits(ask, host, freer, 1);
    return (gint64)(difference * BERTH_DOUBLE_SCALE) * 2 + preferred;
}

const BerthRule berth_rule_balance_fit = {
    .code = "balance-fit",
    .doc = "Baseline: the host whose cells differ most is evened out.",
    .reach = BERTH_REACH_LOAD,
    .score = score,
};
