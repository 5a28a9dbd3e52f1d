/* Room: the free state of one host, what it is worth to the typical kinds, and what a way of placing
 * takes of that. What is worth how much is in room-count.h. Start at berth_room_costs. */
#include <math.h>

#include "sched/room-count.h"

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

/* Groups the free slots of @host; of too many groups the last are left out. */
static void
read_slots(BerthRoom *room, const BerthSnapshot *s, guint32 host)
{
    const BerthSlot *slots = berth_slots(s, host);
    guint n = 0;
    for (guint i = 0; i < s->n_slots[host]; i++) {
        double left = 1000 - slots[i].used;
        guint32 family = 1u << slots[i].family;
        guint k = 0;
        while (k < n && (room->free[k] != left || room->family[k] != family)) {
            k++;
        }
        if (k == BERTH_DEVICES_MAX || left <= 0) {
            continue;
        }
        if (k == n) {
            room->free[n] = left;
            room->family[n] = family;
            room->same[n++] = 0;
        }
        room->same[k]++;
    }
    room->n_slots = n;
}

/**
 * berth_room_read:
 * @room: (out): the free state of @host
 */
void
berth_room_read(BerthRoom *room, const BerthSnapshot *s, guint32 host)
{
    read_amounts(room, s, host);
    read_slots(room, s, host);
}

/* As berth_room_read, for a host whose worth is known. */
INLINE void
read_kept(BerthRoom *room, const BerthSnapshot *s, guint32 host)
{
    const BerthWorth *worth = &s->worth[host];
    if (worth->n_groups > BERTH_WORTH_GROUPS) {
        berth_room_read(room, s, host);
        return;
    }
    read_amounts(room, s, host);
    room->n_slots = 0;
    for (guint k = 0; k < worth->n_groups; k++) {
        add_group(room, worth->groups[k]);
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
    double cpu = ask->cpu_millis, mem = ask->memory_mib;
    room->cpu -= cpu;
    room->mem -= mem;
    take_cells(room, way, cpu, mem);
    take_devices(room, ask, way);
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

INLINE double
worth_unbound(const BerthMix *mix, const BerthRoom *room, double slices)
{
    Lanes worth = {0};
    count_unbound(mix, room, NULL, &worth);
    count_with_devices(mix, room, NULL, &worth);
    return sum_lanes(worth) + slices;
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
    return worth_unbound(mix, &after, value_slices(mix, &after));
}

/* In single precision, but not less. */
static float
not_less(double amount)
{
    float single = (float)amount;
    return single < amount ? nextafterf(single, INFINITY) : single;
}

static void
keep_amounts(BerthWorth *worth, const BerthRoom *room)
{
    worth->cpu = not_less(room->cpu);
    worth->mem = not_less(room->mem);
    worth->n_cells = (guint8)room->n_cells;
    worth->n_groups = (guint8)MIN(room->n_slots, BERTH_WORTH_GROUPS + 1);
    for (guint c = 0; c < room->n_cells && room->n_cells <= 2; c++) {
        worth->cells[c].cpu = not_less(room->cell_cpu[c]);
        worth->cells[c].mem = not_less(room->cell_mem[c]);
    }
    for (guint k = 0; k < MIN(room->n_slots, BERTH_WORTH_GROUPS); k++) {
        worth->groups[k] = BERTH_SLOT_GROUP((guint32)room->free[k], berth_room_family(room, k),
                                            (guint32)room->same[k]);
    }
}

BERTH_WIDE static void
set_worth(const BerthSnapshot *s, guint32 host)
{
    BerthRoom room;
    BerthWorth *worth = &s->worth[host];
    berth_room_read(&room, s, host);
    double slices = value_slices(s->mix, &room);
    *worth = (BerthWorth){.bound = worth_bound(s->mix, &room),
                          .unbound = worth_unbound(s->mix, &room, slices)};
    worth->single_bound = (float)worth->bound;
    worth->single_unbound = (float)worth->unbound;
    worth->single_loose = (float)(worth_plain(s->mix, &room) + slices);
    keep_amounts(worth, &room);
}

/**
 * berth_room_set_worth:
 *
 * Works out what the free state of @host is worth, for all that ask until it changes.
 */
void
berth_room_set_worth(const BerthSnapshot *s, guint32 host)
{
    set_worth(s, host);
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
    double cpu = ask->cpu_millis, mem = ask->memory_mib;
    room.cpu -= cpu;
    room.mem -= mem;
    double unbound =
        ways[0].n_devices > 0 ? 0 : worth_unbound(mix, &room, value_slices(mix, &room));
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
