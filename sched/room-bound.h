/* The kernels of room-bound.c, one a width. For room-*.c only. */
#pragma once

#include "sched/mix.h"

G_BEGIN_DECLS

/**
 * berth_room_least_costs_4, berth_room_least_costs_8:
 * @hosts: as many as the name says; their worth is set and they have at most BERTH_WORTH_GROUPS groups
 * @n_groups: the most that one of them has
 * @costs: (out): as of berth_room_least_costs
 */
void berth_room_least_costs_4(const BerthAsk *ask, const guint32 *hosts, guint n_groups,
                              float *costs);
#ifdef __x86_64__
/* For processors that have AVX2 and FMA. */
void berth_room_least_costs_8(const BerthAsk *ask, const guint32 *hosts, guint n_groups,
                              float *costs);
#endif

G_END_DECLS
