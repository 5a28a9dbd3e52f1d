/* Room: the free state of a host, how many of each typical kind fit in it, and what that is worth.
 * The counting is the inner loop of every decision. It runs over arrays in fixed groups of lanes, so
 * that it has the same result on every machine, whatever width its vectors are.
 * Start at berth_room_costs. */
#include "sched/mix-typical.h"

#include <math.h>

#include "sched/wide.h"

/* Vectors are passed between functions that are all inlined, so no ABI is concerned. */
#pragma GCC diagnostic ignored "-Wpsabi"
#define INLINE static inline __attribute__((always_inline))

/* A group of lanes, anywhere in an array. */
typedef double Lanes
    __attribute__((vector_size(BERTH_MIX_LANES * sizeof(double)), aligned(8), may_alias));
typedef gint64 Mask
    __attribute__((vector_size(BERTH_MIX_LANES * sizeof(gint64)), aligned(8), may_alias));

INLINE void
read_amounts(BerthRoom *room, const BerthSnapshot *s, guint32 host)
{
    const BerthCell *cells = berth_cells(s, host);
    room->cpu = s->cpu_free[host];
    room->mem = s->mem_free[host];
    room->n_cells = s->n_cells[host];
    for (guint i = 0; i < room->n_cells; i++) {
        room->cell_cpu[i] = cells[i].cpu_free;
        room->cell_mem[i] = cells[i].mem_free;
    }
}

/* Returns how many groups the free slots of @host fall into, at most BERTH_DEVICES_MAX. */
static guint
group_slots(const BerthSlot *slots, guint n, BerthSlotGroup *groups)
{
    guint n_groups = 0;
    for (guint i = 0; i < n; i++) {
        gint16 left = 1000 - slots[i].used;
        guint k = 0;
        while (k < n_groups && (groups[k].free != left || groups[k].family != slots[i].family)) {
            k++;
        }
        if (k == BERTH_DEVICES_MAX || left <= 0) {
            continue;
        }
        if (k == n_groups) {
            groups[n_groups++] = (BerthSlotGroup){left, slots[i].family, 0};
        }
        groups[k].same++;
    }
    return n_groups;
}

INLINE void
add_group(BerthRoom *room, BerthSlotGroup group)
{
    room->free[room->n_slots] = group.free;
    room->family[room->n_slots] = 1u << group.family;
    room->same[room->n_slots++] = group.same;
}

/**
 * berth_room_read:
 * @room: (out): the free state of @host
 */
void
berth_room_read(BerthRoom *room, const BerthSnapshot *s, guint32 host)
{
    BerthSlotGroup groups[BERTH_DEVICES_MAX];
    guint n = group_slots(berth_slots(s, host), s->n_slots[host], groups);
    read_amounts(room, s, host);
    room->n_slots = 0;
    for (guint k = 0; k < n; k++) {
        add_group(room, groups[k]);
    }
}

/* Keeps the groups of @host's slots beside them; a group of none is the end. */
static void
keep_groups(const BerthSnapshot *s, guint32 host)
{
    BerthSlotGroup groups[BERTH_DEVICES_MAX];
    BerthSlot *slots = berth_slots(s, host);
    guint n = group_slots(slots, s->n_slots[host], groups);
    for (guint k = 0; k < s->n_slots[host]; k++) {
        slots[k].group = k < n ? groups[k] : (BerthSlotGroup){0};
    }
}

/* As berth_room_read, from the groups that were kept. */
INLINE void
read_kept(BerthRoom *room, const BerthSnapshot *s, guint32 host)
{
    const BerthSlot *slots = berth_slots(s, host);
    read_amounts(room, s, host);
    room->n_slots = 0;
    for (guint k = 0; k < s->n_slots[host] && slots[k].group.same > 0; k++) {
        add_group(room, slots[k].group);
    }
}

INLINE void
take_slot(BerthRoom *room, double left, guint32 family, double millis)
{
#pragma GCC unroll 1
    for (guint k = 0; k < room->n_slots; k++) {
        if (room->free[k] == left && room->family[k] == family) {
            room->same[k] -= 1;
            break;
        }
    }
    if (left - millis > 0 && room->n_slots < BERTH_DEVICES_MAX) {
        room->free[room->n_slots] = left - millis;
        room->family[room->n_slots] = family;
        room->same[room->n_slots++] = 1;
    }
}

INLINE void
take_devices(BerthRoom *room, const BerthAsk *ask, const BerthPlacement *way)
{
    const BerthSlot *slots = berth_slots(ask->snapshot, way->host);
    guint at = 0;
    for (guint need = 0; need < ask->request->n_devices; need++) {
        const BerthDeviceNeed *wanted = &ask->request->devices[need];
        for (guint k = 0; k < wanted->count && at < way->n_devices; k++, at++) {
            const BerthSlot *slot = &slots[way->devices[at]];
            take_slot(room, 1000 - slot->used, 1u << slot->family, wanted->millis);
        }
    }
}

INLINE void
take_cells(BerthRoom *room, const BerthPlacement *way, double cpu, double mem)
{
    double parts = way->cells[1] == BERTH_CELL_NONE ? 1 : 2;
    for (guint i = 0; i < 2 && way->cells[i] != BERTH_CELL_NONE; i++) {
        room->cell_cpu[way->cells[i]] -= cpu / parts;
        room->cell_mem[way->cells[i]] -= mem / parts;
    }
}

/**
 * berth_room_place:
 *
 * Takes what the request would take there out of @room.
 */
void
berth_room_place(BerthRoom *room, const BerthAsk *ask, const BerthPlacement *way)
{
    double cpu = berth_ask_cpu_on(ask, way->host), mem = ask->memory_mib;
    room->cpu -= cpu;
    room->mem -= mem;
    take_cells(room, way, cpu, mem);
    take_devices(room, ask, way);
}

INLINE Lanes
choose(Mask which, Lanes yes, Lanes no)
{
    return (Lanes)(((Mask)yes & which) | ((Mask)no & ~which));
}

INLINE Lanes
lesser(Lanes a, Lanes b)
{
    return choose(a < b, a, b);
}

INLINE Lanes
greater(Lanes a, Lanes b)
{
    return choose(a > b, a, b);
}

/* Whole ones: in something as small as a cell the last fraction is no use to anybody. Rounds by adding
 * a number so large that fractions don't fit beside it. */
INLINE Lanes
whole(Lanes n)
{
    const double large = (double)((gint64)1 << 52);
    Lanes near = (n + large) - large;
    Mask above = (Mask)(near > n);
    return near + (Lanes)((Mask)(Lanes){-1, -1, -1, -1} & above);
}

INLINE double
not_below_zero(double amount)
{
    return amount > 0 ? amount : 0;
}

/* How many of the kinds at @t so much CPU and memory is enough for. */
INLINE Lanes
count_amounts(const BerthMix *mix, guint t, double cpu, double mem)
{
    return lesser(cpu * *(const Lanes *)&mix->per_cpu[t], mem * *(const Lanes *)&mix->per_mem[t]);
}

/* How many fit in single cells, or halves in pairs of different cells. */
INLINE Lanes
count_in_cells(const BerthMix *mix, const BerthRoom *room, guint t, guint n_cells,
               gboolean in_pairs)
{
    Lanes sum = {0}, most = {0};
    for (guint c = 0; c < n_cells; c++) {
        Lanes n = whole(count_amounts(mix, t, not_below_zero(room->cell_cpu[c]),
                                      not_below_zero(room->cell_mem[c])) +
                        1e-6);
        sum += n;
        most = in_pairs ? greater(n, most) : most;
    }
    return in_pairs ? lesser(sum - most, whole(sum / 2)) : sum;
}

/* How near a kind is to fitting whose half fits @halves times in the second freest cell: 1 when it
 * fits, else the eighth power. */
INLINE Lanes
nearness(Lanes halves)
{
    Lanes near = lesser(halves, (Lanes){1, 1, 1, 1});
    Lanes fourth = near * near * near * near;
    return fourth * fourth;
}

/* The same with any number of cells. */
INLINE Lanes
nearness_in_pairs(const BerthMix *mix, const BerthRoom *room, guint t, guint n_cells)
{
    Lanes most = {0}, second = {0};
    for (guint c = 0; c < n_cells; c++) {
        Lanes n = count_amounts(mix, t, not_below_zero(room->cell_cpu[c]),
                                not_below_zero(room->cell_mem[c]));
        second = greater(second, lesser(n, most));
        most = greater(most, n);
    }
    return nearness(second);
}

/* How many of the kinds with devices fit: by devices, CPU and memory together; less than one is none. */
INLINE Lanes
count_devices(const BerthMix *mix, const BerthRoom *room, guint t, double cpu, double mem)
{
    Lanes slots = {0}, host = count_amounts(mix, t, cpu, mem);
    Mask refused = {0};
    guint32 family = 0;
#pragma GCC unroll 1 /* most hosts have few groups: what is hoisted for the others costs more */
    for (guint k = 0; k < room->n_slots; k++) {
        double left = room->free[k];
        Lanes n = (left * *(const Lanes *)&mix->slices[t] + *(const Lanes *)&mix->whole[t]) *
                  room->same[k];
        Mask enough = *(const Lanes *)&mix->millis[t] <= left;
        if (room->family[k] != family) { /* once in most hosts: they have one model */
            family = room->family[k];
            refused = (*(const Mask *)&mix->families[t] & (gint64)family) == 0;
        }
        slots += (Lanes)((Mask)n & enough & ~refused);
    }
    return (Lanes)((Mask)lesser(slots, host) & (slots >= 0.9999) & (host >= 1.0));
}

/* What is done with the counts of a group of lanes: they are kept, or what they are worth added up. */
INLINE void
take_counts(const BerthMix *mix, guint t, Lanes n, double *counts, Lanes *worth)
{
    if (counts != NULL) {
        *(Lanes *)&counts[t] = n;
    } else {
        *worth += n * *(const Lanes *)&mix->value[t];
    }
}

/* Of the kinds that are bound to cells. One of @counts and @worth is wanted. */
INLINE void
count_bound(const BerthMix *mix, const BerthRoom *room, guint n_cells, double *counts, Lanes *worth)
{
    for (guint t = mix->first_one; t < mix->first_two; t += BERTH_MIX_LANES) {
        take_counts(mix, t, count_in_cells(mix, room, t, n_cells, FALSE), counts, worth);
    }
    for (guint t = mix->first_two; t < mix->n_plain; t += BERTH_MIX_LANES) {
        Lanes n = count_in_cells(mix, room, t, n_cells, TRUE);
        n += counts == NULL ? nearness_in_pairs(mix, room, t, n_cells) : (Lanes){0};
        take_counts(mix, t, n, counts, worth);
    }
}

/* Of the kinds without devices that look at the host as a whole. */
INLINE void
count_unbound(const BerthMix *mix, const BerthRoom *room, double *counts, Lanes *worth)
{
    double cpu = not_below_zero(room->cpu), mem = not_below_zero(room->mem);
    for (guint t = 0; t < mix->first_one; t += BERTH_MIX_LANES) {
        take_counts(mix, t, count_amounts(mix, t, cpu, mem), counts, worth);
    }
}

/* Of the kinds with devices. */
INLINE void
count_with_devices(const BerthMix *mix, const BerthRoom *room, double *counts, Lanes *worth)
{
    double cpu = not_below_zero(room->cpu), mem = not_below_zero(room->mem);
    if (room->n_slots == 0 && counts == NULL) {
        return;
    }
    for (guint t = mix->n_plain; t < mix->n; t += BERTH_MIX_LANES) {
        take_counts(mix, t, count_devices(mix, room, t, cpu, mem), counts, worth);
    }
}

/**
 * berth_mix_count_room:
 * @counts: (out): how many of each typical kind fit
 */
BERTH_WIDE void
berth_mix_count_room(const BerthMix *mix, const BerthRoom *room, double *counts)
{
    count_bound(mix, room, room->n_cells, counts, NULL);
    count_unbound(mix, room, counts, NULL);
    count_with_devices(mix, room, counts, NULL);
}

/* V between two steps. */
INLINE double
slice_worth(const float *worth, double steps)
{
    steps = MIN(steps, BERTH_MIX_BESIDE_STEPS - 0.001);
    guint at = (guint)steps;
    return worth[at] + (steps - at) * (worth[at + 1] - worth[at]);
}

/* What is beside devices: steps of CPU and memory in all, and one by all free thousandths. */
typedef struct {
    double cpu, mem, share;
} Beside;

INLINE Beside
set_beside(const BerthMix *mix, double cpu, double mem, double all)
{
    return (Beside){not_below_zero(cpu) * mix->beside_steps[0],
                    not_below_zero(mem) * mix->beside_steps[1], 1 / MAX(1, all)};
}

/* What a device with @left thousandths is worth, but for its price. It has its share of what is
 * beside; in a host of many free devices as much again, for one's surplus serves the other. */
INLINE double
value_slice(const BerthMix *mix, const Beside *beside, double left)
{
    guint slice = (guint)left / BERTH_MIX_SLICE_STEP;
    double part = MIN(1, left * beside->share);
    double many = part * (2 - part);
    double by_cpu = slice_worth(mix->slice_worth[0][slice], beside->cpu * many);
    double by_mem = slice_worth(mix->slice_worth[1][slice], beside->mem * many);
    return MIN(by_cpu, by_mem);
}

/* What is left of the devices, with the CPU and memory beside it. */
INLINE double
value_slices(const BerthMix *mix, const BerthRoom *room)
{
    double sum = 0, all = 0;
#pragma GCC unroll 1
    for (guint k = 0; k < room->n_slots; k++) {
        all += room->free[k] * room->same[k];
    }
    Beside beside = set_beside(mix, room->cpu, room->mem, all);
#pragma GCC unroll 1
    for (guint k = 0; k < room->n_slots; k++) {
        double price = mix->price[berth_room_family(room, k)];
        sum += price * room->same[k] * value_slice(mix, &beside, room->free[k]);
    }
    return sum;
}

INLINE double
sum_lanes(Lanes worth)
{
    return (worth[0] + worth[1]) + (worth[2] + worth[3]);
}

typedef struct {
    double cpu, mem;
} Amounts;

INLINE Amounts
amounts_left(double cpu, double mem)
{
    return (Amounts){not_below_zero(cpu), not_below_zero(mem)};
}

/* What the cells of a host of two, as most have, are worth to kinds bound to cells. Of halves the
 * lesser amounts alone say how many fit. */
INLINE double
worth_in_two(const BerthMix *mix, Amounts a, Amounts b)
{
    Lanes worth = {0};
    for (guint t = mix->first_one; t < mix->first_two; t += BERTH_MIX_LANES) {
        Lanes n = whole(count_amounts(mix, t, a.cpu, a.mem) + 1e-6);
        n += whole(count_amounts(mix, t, b.cpu, b.mem) + 1e-6);
        worth += n * *(const Lanes *)&mix->value[t];
    }
    Amounts least = {MIN(a.cpu, b.cpu), MIN(a.mem, b.mem)};
    for (guint t = mix->first_two; t < mix->n_plain; t += BERTH_MIX_LANES) {
        Lanes halves = count_amounts(mix, t, least.cpu, least.mem);
        Lanes n = whole(halves + 1e-6) + nearness(halves);
        worth += n * *(const Lanes *)&mix->value[t];
    }
    return sum_lanes(worth);
}

INLINE double
worth_bound(const BerthMix *mix, const BerthRoom *room)
{
    if (room->n_cells == 2) {
        return worth_in_two(mix, amounts_left(room->cell_cpu[0], room->cell_mem[0]),
                            amounts_left(room->cell_cpu[1], room->cell_mem[1]));
    }
    Lanes worth = {0};
    count_bound(mix, room, room->n_cells, NULL, &worth);
    return sum_lanes(worth);
}

/* To those without devices. */
INLINE double
worth_plain(const BerthMix *mix, const BerthRoom *room)
{
    Lanes worth = {0};
    count_unbound(mix, room, NULL, &worth);
    return sum_lanes(worth);
}

INLINE double
worth_unbound(const BerthMix *mix, const BerthRoom *room)
{
    Lanes worth = {0};
    count_unbound(mix, room, NULL, &worth);
    count_with_devices(mix, room, NULL, &worth);
    return sum_lanes(worth) + (room->n_slots > 0 ? value_slices(mix, room) : 0);
}

/* What is left of the worth of kinds bound to cells; @room is as before afterwards. */
INLINE double
worth_without_cells(const BerthMix *mix, BerthRoom *room, const BerthPlacement *way, double cpu,
                    double mem)
{
    guint a = way->cells[0], b = way->cells[1] == BERTH_CELL_NONE ? a : way->cells[1];
    double before[4] = {room->cell_cpu[a], room->cell_mem[a], room->cell_cpu[b], room->cell_mem[b]};
    take_cells(room, way, cpu, mem);
    double worth = worth_bound(mix, room);
    room->cell_cpu[a] = before[0];
    room->cell_mem[a] = before[1];
    room->cell_cpu[b] = before[2];
    room->cell_mem[b] = before[3];
    return worth;
}

INLINE double
worth_without_devices(const BerthMix *mix, const BerthRoom *room, const BerthAsk *ask,
                      const BerthPlacement *way)
{
    BerthRoom after;
    after.cpu = room->cpu;
    after.mem = room->mem;
    after.n_slots = room->n_slots;
#pragma GCC unroll 1
    for (guint k = 0; k < room->n_slots; k++) {
        after.free[k] = room->free[k];
        after.family[k] = room->family[k];
        after.same[k] = room->same[k];
    }
    take_devices(&after, ask, way);
    return worth_unbound(mix, &after);
}

/* Works out what the free state of @host is worth. */
BERTH_WIDE static void
set_worth(const BerthSnapshot *s, guint32 host)
{
    BerthRoom room;
    keep_groups(s, host);
    read_kept(&room, s, host);
    s->worth[host] = (BerthWorth){.bound = worth_bound(s->mix, &room),
                                  .unbound = worth_unbound(s->mix, &room),
                                  .plain = worth_plain(s->mix, &room),
                                  .slices = value_slices(s->mix, &room)};
}

INLINE const BerthWorth *
get_worth(const BerthSnapshot *s, guint32 host)
{
    if (isnan(s->worth[host].bound)) {
        set_worth(s, host);
    }
    return &s->worth[host];
}

/**
 * berth_room_costs:
 * @ways: ways to place the request on @host, at least one
 * @costs: (out): what the free state of the host would be worth less; for each way
 *
 * Reads the host once, and counts only what differs from one way to the next.
 */
BERTH_WIDE void
berth_room_costs(const BerthAsk *ask, guint32 host, const BerthPlacement *ways, guint n,
                 double *costs)
{
    const BerthMix *mix = ask->snapshot->mix;
    BerthRoom room;
    const BerthWorth *now = get_worth(ask->snapshot, host);
    read_kept(&room, ask->snapshot, host);
    double cpu = berth_ask_cpu_on(ask, host), mem = ask->memory_mib;
    room.cpu -= cpu;
    room.mem -= mem;
    double unbound = ways[0].n_devices > 0 ? 0 : worth_unbound(mix, &room);
    for (guint i = 0; i < n; i++) {
        double bound = now->bound;
        if (ways[i].cells[0] != BERTH_CELL_NONE) {
            bound = worth_without_cells(mix, &room, &ways[i], cpu, mem);
        }
        if (ways[i].n_devices > 0) {
            unbound = worth_without_devices(mix, &room, ask, &ways[i]);
        }
        costs[i] = (now->bound - bound) + (now->unbound - unbound);
    }
}

/* The most that kinds bound to cells can be left with, -INFINITY when no cell has room. Only hosts of
 * two cells are looked at; the others lose nothing. */
INLINE double
most_bound_left(const BerthAsk *ask, guint32 host, double now, double cpu, double mem)
{
    const BerthMix *mix = ask->snapshot->mix;
    const BerthCell *a = berth_cells(ask->snapshot, host), *b = a + 1;
    if (ask->snapshot->n_cells[host] != 2) {
        return now;
    }
    if (ask->request->numa == BERTH_NUMA_TWO) {
        return worth_in_two(mix, amounts_left(a->cpu_free - cpu / 2, a->mem_free - mem / 2),
                            amounts_left(b->cpu_free - cpu / 2, b->mem_free - mem / 2));
    }
    if (ask->request->numa != BERTH_NUMA_ONE) {
        return now;
    }
    double most = -INFINITY;
    for (guint c = 0; c < 2; c++) {
        if (a->cpu_free >= cpu && a->mem_free >= mem) {
            double left = worth_in_two(mix, amounts_left(a->cpu_free - cpu, a->mem_free - mem),
                                       amounts_left(b->cpu_free, b->mem_free));
            most = MAX(most, left);
        }
        const BerthCell *next = b;
        b = a;
        a = next;
    }
    return most;
}

/* The groups of free devices of @host, with @cpu and @mem beside them. */
INLINE void
read_groups(BerthRoom *room, const BerthSnapshot *s, guint32 host, double cpu, double mem)
{
    const BerthSlot *slots = berth_slots(s, host);
    room->cpu = cpu;
    room->mem = mem;
    room->n_slots = 0;
    for (guint k = 0; k < s->n_slots[host] && slots[k].group.same > 0; k++) {
        add_group(room, slots[k].group);
    }
}

/* The most that devices and the kinds that want them can be left with when one device gives @millis,
 * of whatever group; -INFINITY when none can. */
INLINE double
most_devices_left(const BerthMix *mix, BerthRoom *room, double millis)
{
    double worth[BERTH_DEVICES_MAX], all = -millis, sum = 0, most = -INFINITY;
    guint n = room->n_slots;
#pragma GCC unroll 1
    for (guint k = 0; k < n; k++) {
        all += room->free[k] * room->same[k];
    }
    Beside beside = set_beside(mix, room->cpu, room->mem, all);
#pragma GCC unroll 1
    for (guint k = 0; k < n; k++) {
        worth[k] =
            mix->price[berth_room_family(room, k)] * value_slice(mix, &beside, room->free[k]);
        sum += room->same[k] * worth[k];
    }
#pragma GCC unroll 1
    for (guint k = 0; k < n; k++) {
        double left = room->free[k] - millis;
        if (left < 0) {
            continue;
        }
        Lanes kinds = {0};
        double rest = mix->price[berth_room_family(room, k)] * value_slice(mix, &beside, left);
        take_slot(room, room->free[k], room->family[k], millis);
        count_with_devices(mix, room, NULL, &kinds);
        most = MAX(most, sum_lanes(kinds) + sum - worth[k] + rest);
        room->same[k] += 1;
        room->n_slots = n;
    }
    return most;
}

/* A sum of parts may differ from the same sum in another order by less than this share of it. */
#define ROUNDING 1e-9

/**
 * berth_room_least_cost:
 *
 * Works from the host's amounts, without filters and ways. For a request without devices it leaves
 * out the kinds with devices, which take most of the time: with less room none is worth more.
 *
 * Returns: what no way of placing the request on @host costs less than; INFINITY when there is no
 * way, -INFINITY when that can't be told
 */
BERTH_WIDE double
berth_room_least_cost(const BerthAsk *ask, guint32 host)
{
    const BerthSnapshot *s = ask->snapshot;
    const BerthRequest *r = ask->request;
    const BerthWorth *now = get_worth(s, host);
    double cpu = berth_ask_cpu_on(ask, host), mem = ask->memory_mib;
    if (r->n_devices > 1 || (r->n_devices == 1 && r->devices[0].count != 1)) {
        return -INFINITY;
    }
    BerthRoom room;
    read_groups(&room, s, host, s->cpu_free[host] - cpu, s->mem_free[host] - mem);
    if (room.n_slots == BERTH_DEVICES_MAX) { /* there may be more groups than are kept */
        return -INFINITY;
    }
    double cost = now->bound - most_bound_left(ask, host, now->bound, cpu, mem) + now->plain -
                  worth_plain(s->mix, &room) - ROUNDING * (now->bound + now->unbound);
    if (r->n_devices == 0) {
        return cost + now->slices - (room.n_slots > 0 ? value_slices(s->mix, &room) : 0);
    }
    return cost + now->unbound - now->plain -
           most_devices_left(s->mix, &room, r->devices[0].millis);
}

/* Families that any typical kind uses: other devices are not what the measure is about. */
static gint64
wanted_families(const BerthMix *mix)
{
    gint64 families = 0;
    for (guint t = mix->n_plain; t < mix->n; t++) {
        families |= mix->families[t];
    }
    return families;
}

/**
 * berth_room_fragmented:
 *
 * Returns: thousandths of devices that a typical request, on average, could not use there (FGD)
 */
double
berth_room_fragmented(const BerthMix *mix, const BerthRoom *room)
{
    double fragmented = 0, covered = 0, total = 0;
    gint64 wanted = wanted_families(mix);
    for (guint k = 0; k < room->n_slots; k++) {
        total += (wanted & room->family[k]) != 0 ? room->free[k] * room->same[k] : 0;
    }
    for (guint t = 0; t < mix->n; t++) {
        double usable = 0, n = 0;
        if (!mix->typical[t].frequent) {
            continue;
        }
        for (guint k = 0; k < room->n_slots; k++) {
            if ((mix->families[t] & room->family[k]) != 0 && room->free[k] >= mix->millis[t]) {
                n += room->same[k];
                usable += room->free[k] * room->same[k];
            }
        }
        gboolean fits =
            n >= MAX(1, mix->typical[t].count) && room->cpu * mix->per_cpu[t] >= 0.99999;
        fragmented += mix->share[t] * (fits ? total - usable : total);
        covered += mix->share[t];
    }
    return covered <= 0 ? 0 : fragmented / covered;
}
