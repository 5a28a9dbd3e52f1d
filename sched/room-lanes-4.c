/* Bounds of costs, four lanes together, as every processor has them. */
#include "sched/room-bound.h"
#include "sched/room-count.h"

#pragma GCC optimize("O3")
#define WIDTH 4
#include "sched/room-lanes.h"

void
berth_room_least_costs_4(const BerthAsk *ask, const guint32 *hosts, guint n_groups, float *costs)
{
    least_costs(ask, hosts, n_groups, costs);
}
