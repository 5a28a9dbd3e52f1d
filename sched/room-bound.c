/* What no way of placing a request on a host can cost less than, told several times faster than the cost
 * of a way: most hosts that changed are passed over by it. Start at berth_room_least_costs. */
#include <math.h>

#include "sched/room-count.h"

/* The most that kinds bound to cells can be left with, -INFINITY when no cell has room. Only requests
 * bound to cells and hosts of two are looked at; the others lose nothing. */
INLINE double
most_bound_left(const BerthAsk *ask, const BerthWorth *now, double cpu, double mem)
{
    const BerthMix *mix = ask->snapshot->mix;
    BerthNumaPolicy numa = ask->request->numa;
    if ((numa != BERTH_NUMA_ONE && numa != BERTH_NUMA_TWO) || now->n_cells != 2) {
        return now->bound;
    }
    Amounts a = {now->cells[0].cpu, now->cells[0].mem};
    Amounts b = {now->cells[1].cpu, now->cells[1].mem};
    if (numa == BERTH_NUMA_TWO) {
        return worth_in_two(mix, amounts_left(a.cpu - cpu / 2, a.mem - mem / 2),
                            amounts_left(b.cpu - cpu / 2, b.mem - mem / 2));
    }
    double most = -INFINITY;
    for (guint c = 0; c < 2; c++) {
        if (a.cpu >= cpu && a.mem >= mem) {
            double left = worth_in_two(mix, amounts_left(a.cpu - cpu, a.mem - mem),
                                       amounts_left(b.cpu, b.mem));
            most = MAX(most, left);
        }
        Amounts next = b;
        b = a;
        a = next;
    }
    return most;
}

/* The groups of free devices, with @cpu and @mem beside them. */
INLINE void
read_groups(BerthRoom *room, const BerthWorth *now, double cpu, double mem)
{
    room->cpu = cpu;
    room->mem = mem;
    room->n_slots = 0;
    for (guint k = 0; k < now->n_groups; k++) {
        add_group(room, now->groups[k]);
    }
}

/* What devices of each group are worth with @beside, and those of all groups together. */
INLINE double
value_groups(const BerthMix *mix, const BerthRoom *room, const Beside *beside, double *worth)
{
    double sum = 0;
#pragma GCC unroll 1
    for (guint k = 0; k < room->n_slots; k++) {
        worth[k] = mix->price[berth_room_family(room, k)] * value_slice(mix, beside, room->free[k]);
        sum += room->same[k] * worth[k];
    }
    return sum;
}

/* What the kinds that want devices are worth when a device of group @k gives @millis. */
INLINE double
worth_with_less(const BerthMix *mix, BerthRoom *room, guint k, double millis)
{
    guint n = room->n_slots;
    Lanes kinds = {0};
    room->same[k] -= 1;
    if (room->free[k] > millis) {
        room->free[n] = room->free[k] - millis;
        room->family[n] = room->family[k];
        room->same[n] = 1;
        room->n_slots++;
    }
    count_with_devices(mix, room, NULL, &kinds);
    room->same[k] += 1;
    room->n_slots = n;
    return sum_lanes(kinds);
}

/* The least that devices and the kinds that want them lose when one device gives @millis, of whatever
 * group; INFINITY when none can. */
INLINE double
least_lost_by_devices(const BerthMix *mix, const BerthWorth *now, BerthRoom *room, double millis)
{
    double worth[BERTH_DEVICES_MAX], all = -millis;
    gboolean any = FALSE;
#pragma GCC unroll 1
    for (guint k = 0; k < room->n_slots; k++) {
        all += room->free[k] * room->same[k];
        any |= room->free[k] >= millis;
    }
    if (!any) {
        return INFINITY;
    }
    Beside beside = set_beside(mix, room->cpu, room->mem, all);
    double most = -INFINITY, sum = value_groups(mix, room, &beside, worth);
#pragma GCC unroll 1
    for (guint k = 0; k < room->n_slots; k++) {
        double left = room->free[k] - millis;
        if (left >= 0) {
            double price = mix->price[berth_room_family(room, k)];
            double slices = sum - worth[k] + price * value_slice(mix, &beside, left);
            double kinds = worth_with_less(mix, room, k, millis);
            most = MAX(most, slices + kinds);
        }
    }
    return now->unbound - now->plain - most;
}

/* A sum of parts may differ from the same sum in another order by less than this share of it. */
#define ROUNDING 1e-9

INLINE double
least_cost(const BerthAsk *ask, guint32 host)
{
    const BerthSnapshot *s = ask->snapshot;
    const BerthRequest *r = ask->request;
    const BerthWorth *now = get_worth(s, host);
    double cpu = ask->cpu_millis, mem = ask->memory_mib;
    BerthRoom room;
    if ((cpu > now->cpu && cpu > 0) || (mem > now->mem && mem > 0)) {
        return INFINITY;
    }
    if (now->n_groups > BERTH_WORTH_GROUPS) {
        return -INFINITY;
    }
    read_groups(&room, now, now->cpu - cpu, now->mem - mem);
    double cost = -ROUNDING * (now->bound + now->unbound);
    if (r->n_devices > 0) {
        cost += least_lost_by_devices(s->mix, now, &room, r->devices[0].millis);
    } else if (room.n_slots > 0) {
        cost += now->slices - value_slices(s->mix, &room);
    }
    if (cost == INFINITY) {
        return cost;
    }
    cost += now->plain - worth_plain(s->mix, &room);
    return cost + now->bound - most_bound_left(ask, now, cpu, mem);
}

/**
 * berth_room_least_costs:
 * @costs: (out): for each of @hosts what no way of placing the request there costs less than; INFINITY
 *   when there is no way, -INFINITY when that can't be told
 *
 * Works from the host's amounts, without filters and ways. For a request without devices it leaves
 * out the kinds with devices, which take most of the time: with less room none is worth more.
 */
BERTH_WIDE void
berth_room_least_costs(const BerthAsk *ask, const guint32 *hosts, guint n, double *costs)
{
    const BerthRequest *r = ask->request;
    gboolean can_tell = r->n_devices == 0 || (r->n_devices == 1 && r->devices[0].count == 1);
    for (guint i = 0; i < n; i++) {
        costs[i] = can_tell ? least_cost(ask, hosts[i]) : -INFINITY;
    }
}
