/* What no way of placing a request on a host can cost less than, told many times faster than the cost of a
 * way: most hosts that changed are passed over by it. Hosts with about as many groups of devices are looked
 * at together, several in lanes (room-lanes.h). Start at berth_room_least_costs. */
#include "sched/room-bound.h"

#include <math.h>

#include "sched/room-count.h"
#include "sched/rules.h"

#define MOST_LANES 8

/* Hosts ordered by their groups of devices; those with too many come last. */
typedef struct {
    guint32 hosts[BERTH_PORTION + MOST_LANES];
    guint8 places[BERTH_PORTION + MOST_LANES]; /* where they were */
    guint ends[BERTH_WORTH_GROUPS + 2];        /* of those with so many groups */
} Order;

static void
order_by_groups(Order *order, const BerthSnapshot *s, const guint32 *hosts, guint n)
{
    guint8 of_host[BERTH_PORTION];
    guint next[BERTH_WORTH_GROUPS + 2] = {0};
    for (guint i = 0; i < n; i++) {
        of_host[i] = get_worth(s, hosts[i])->n_groups;
        next[of_host[i]]++;
    }
    for (guint k = 0, at = 0; k < G_N_ELEMENTS(next); k++) {
        order->ends[k] = at + next[k];
        next[k] = at;
        at = order->ends[k];
    }
    for (guint i = 0; i < n; i++) {
        guint at = next[of_host[i]]++;
        order->hosts[at] = hosts[i];
        order->places[at] = (guint8)i;
    }
}

static gboolean
is_wide(void)
{
#ifdef __x86_64__
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return FALSE;
#endif
}

static void
look_at(const BerthAsk *ask, const guint32 *hosts, guint n_groups, gboolean wide, float *costs)
{
#ifdef __x86_64__
    if (wide) {
        berth_room_least_costs_8(ask, hosts, n_groups, costs);
        return;
    }
#endif
    berth_room_least_costs_4(ask, hosts, n_groups, costs);
}

/**
 * berth_room_least_costs:
 * @n: at most BERTH_PORTION
 * @costs: (out): for each of @hosts what no way of placing the request there costs less than; INFINITY
 *   when there is no way, -INFINITY when that can't be told
 *
 * Works from the host's amounts, without filters and ways. For a request without devices it leaves
 * out the kinds with devices, which take most of the time: with less room none is worth more.
 */
void
berth_room_least_costs(const BerthAsk *ask, const guint32 *hosts, guint n, float *costs)
{
    const BerthRequest *r = ask->request;
    gboolean can_tell = r->n_devices == 0 || (r->n_devices == 1 && r->devices[0].count == 1);
    Order order;
    order_by_groups(&order, ask->snapshot, hosts, n);
    guint end = can_tell ? order.ends[BERTH_WORTH_GROUPS] : 0, groups = 0;
    gboolean wide = is_wide();
    guint lanes = wide ? MOST_LANES : MOST_LANES / 2;
    for (guint i = end; i < n; i++) {
        costs[order.places[i]] = -INFINITY;
    }
    for (guint i = end; i < end + MOST_LANES && end > 0; i++) {
        order.hosts[i] = order.hosts[end - 1]; /* for lanes that are left over */
    }
    for (guint first = 0; first < end; first += lanes) {
        float least[MOST_LANES];
        while (order.ends[groups] < MIN(first + lanes, end)) {
            groups++;
        }
        look_at(ask, order.hosts + first, groups, wide, least);
        for (guint i = 0; i < lanes && first + i < end; i++) {
            costs[order.places[first + i]] = least[i];
        }
    }
}
