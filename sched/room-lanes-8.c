/* Bounds of costs, eight lanes together, as AVX2 has them. */
#include "sched/room-bound.h"
#include "sched/room-count.h"

#ifdef __x86_64__
#pragma GCC target("avx2,fma")
#pragma GCC optimize("O3")
#define WIDTH 8
#include "sched/room-lanes.h"

void
berth_room_least_costs_8(const BerthAsk *ask, const guint32 *hosts, guint n_groups, float *costs)
{
    least_costs(ask, hosts, n_groups, costs);
}
#endif
