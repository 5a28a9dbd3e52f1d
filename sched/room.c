/* Room: the free state of a host, how many of each typical kind fit in it, and what that is worth.
 * The counting is the inner loop of every decision. It runs over arrays in fixed groups of lanes, so
 * that it has the same result on every machine, whatever width its vectors are.
 * Start at berth_room_value. */
#include "sched/mix-typical.h"

#include <string.h>

#include "sched/wide.h"

#define INLINE static inline __attribute__((always_inline))

/* A group of lanes, anywhere in an array. */
typedef double Lanes
    __attribute__((vector_size(BERTH_MIX_LANES * sizeof(double)), aligned(8), may_alias));
typedef gint64 Mask
    __attribute__((vector_size(BERTH_MIX_LANES * sizeof(gint64)), aligned(8), may_alias));

/**
 * berth_room_read:
 * @room: (out): the free state of @host
 */
void
berth_room_read(BerthRoom *room, const BerthSnapshot *s, guint32 host)
{
    room->cpu = s->cpu_free[host];
    room->mem = s->mem_free[host];
    room->n_cells = s->n_cells[host];
    room->n_slots = 0;
    const BerthCell *cells = berth_cells(s, host);
    for (guint i = 0; i < room->n_cells; i++) {
        room->cell_cpu[i] = cells[i].cpu_free;
        room->cell_mem[i] = cells[i].mem_free;
    }
    const BerthSlot *slots = berth_slots(s, host);
    for (guint i = 0; i < s->n_slots[host]; i++) {
        double left = 1000 - slots[i].used;
        guint32 family = 1u << slots[i].family;
        guint k = 0;
        while (k < room->n_slots && (room->free[k] != left || room->family[k] != family)) {
            k++;
        }
        if (k == BERTH_DEVICES_MAX || left <= 0) {
            continue;
        }
        if (k == room->n_slots) {
            room->free[k] = left;
            room->family[k] = family;
            room->same[room->n_slots++] = 0;
        }
        room->same[k] += 1;
    }
}

static void
place_slot(BerthRoom *room, double left, guint32 family, double millis)
{
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

/**
 * berth_room_copy:
 *
 * Copies the part that is in use.
 */
void
berth_room_copy(BerthRoom *to, const BerthRoom *from)
{
    to->cpu = from->cpu;
    to->mem = from->mem;
    to->n_cells = from->n_cells;
    to->n_slots = from->n_slots;
    for (guint i = 0; i < from->n_cells; i++) {
        to->cell_cpu[i] = from->cell_cpu[i];
        to->cell_mem[i] = from->cell_mem[i];
    }
    for (guint i = 0; i < from->n_slots; i++) {
        to->free[i] = from->free[i];
        to->family[i] = from->family[i];
        to->same[i] = from->same[i];
    }
}

/**
 * berth_room_place:
 *
 * Takes what the request would take there out of @room.
 */
void
berth_room_place(BerthRoom *room, const BerthAsk *ask, const BerthPlacement *placement)
{
    double cpu = berth_ask_cpu_on(ask, placement->host), mem = ask->memory_mib;
    double parts = placement->cells[1] == BERTH_CELL_NONE ? 1 : 2;
    room->cpu -= cpu;
    room->mem -= mem;
    for (guint i = 0; i < 2 && placement->cells[i] != BERTH_CELL_NONE; i++) {
        room->cell_cpu[placement->cells[i]] -= cpu / parts;
        room->cell_mem[placement->cells[i]] -= mem / parts;
    }
    guint at = 0;
    for (guint need = 0; need < ask->request->n_devices; need++) {
        for (guint k = 0; k < ask->request->devices[need].count && at < placement->n_devices;
             k++, at++) {
            const BerthSlot *slot =
                &berth_slots(ask->snapshot, placement->host)[placement->devices[at]];
            place_slot(room, 1000 - slot->used, 1u << slot->family,
                       ask->request->devices[need].millis);
        }
    }
}

/* How many of each kind fit in the host as a whole. */
INLINE void
count_hostwide(const BerthMix *mix, const BerthRoom *room, guint first, guint end, double *counts)
{
    double cpu = MAX(0, room->cpu), mem = MAX(0, room->mem);
    for (guint t = first; t < end; t++) {
        double by_cpu = cpu * mix->per_cpu[t], by_mem = mem * mix->per_mem[t];
        counts[t] = by_cpu < by_mem ? by_cpu : by_mem;
    }
}

/* How many of each kind fit in single cells, or halves in pairs of different cells. Whole ones: in
 * something as small as a cell the last fraction is no use to anybody. */
INLINE void
count_in_cells(const BerthMix *mix, const BerthRoom *room, double *counts)
{
    guint first = mix->first_one, end = mix->n_plain;
    double most[BERTH_MIX_TYPICAL_MAX];
    for (guint t = first; t < end; t++) {
        counts[t] = most[t] = 0;
    }
    for (guint c = 0; c < room->n_cells; c++) {
        double cpu = MAX(0, room->cell_cpu[c]), mem = MAX(0, room->cell_mem[c]);
        for (guint t = first; t < end; t++) {
            double by_cpu = cpu * mix->per_cpu[t], by_mem = mem * mix->per_mem[t];
            double n = (double)(gint32)((by_cpu < by_mem ? by_cpu : by_mem) + 1e-6);
            counts[t] += n;
            most[t] = n > most[t] ? n : most[t];
        }
    }
    for (guint t = mix->first_two; t < end; t++) {
        double others = counts[t] - most[t], half = (double)(gint32)(counts[t] / 2);
        counts[t] = others < half ? others : half;
    }
}

/* How many of each kind with devices fit: by devices, CPU and memory together; less than one is none. */
INLINE void
count_devices(const BerthMix *mix, const BerthRoom *room, double *counts)
{
    double slots[BERTH_MIX_TYPICAL_MAX];
    guint first = mix->n_plain, end = mix->n;
    for (guint t = first; t < end; t++) {
        slots[t] = 0;
    }
    for (guint k = 0; k < room->n_slots; k++) {
        double left = room->free[k], same = room->same[k];
        gint64 family = room->family[k];
        for (guint t = first; t < end; t += BERTH_MIX_LANES) {
            Lanes n =
                (left * *(const Lanes *)&mix->slices[t] + *(const Lanes *)&mix->whole[t]) * same;
            Mask enough = *(const Lanes *)&mix->millis[t] <= left;
            Mask allowed = (*(const Mask *)&mix->families[t] & family) != 0;
            *(Lanes *)&slots[t] += (Lanes)((Mask)n & enough & allowed);
        }
    }
    count_hostwide(mix, room, first, end, counts);
    for (guint t = first; t < end; t++) {
        double n = slots[t] < counts[t] ? slots[t] : counts[t];
        n = slots[t] >= 0.9999 ? n : 0.0;
        counts[t] = counts[t] >= 1.0 ? n : 0.0;
    }
}

INLINE void
count_room(const BerthMix *mix, const BerthRoom *room, double *counts)
{
    count_hostwide(mix, room, 0, mix->first_one, counts);
    count_in_cells(mix, room, counts);
    if (room->n_slots > 0) {
        count_devices(mix, room, counts);
    } else {
        memset(counts + mix->n_plain, 0, (mix->n - mix->n_plain) * sizeof(double));
    }
}

/**
 * berth_mix_count_room:
 * @counts: (out): how many of each typical kind fit
 */
BERTH_WIDE void
berth_mix_count_room(const BerthMix *mix, const BerthRoom *room, double *counts)
{
    count_room(mix, room, counts);
}

/**
 * berth_room_value:
 *
 * Returns: what the free state is worth to the mix
 */
BERTH_WIDE double
berth_room_value(const BerthMix *mix, const BerthRoom *room)
{
    double counts[BERTH_MIX_TYPICAL_MAX];
    double worth[BERTH_MIX_LANES] = {0};
    count_room(mix, room, counts);
    for (guint t = 0; t < mix->n; t += BERTH_MIX_LANES) {
        for (guint lane = 0; lane < BERTH_MIX_LANES; lane++) {
            worth[lane] += counts[t + lane] * mix->value[t + lane];
        }
    }
    double slices = 0;
    for (guint k = 0; k < room->n_slots; k++) {
        slices += room->same[k] * mix->slice_worth[(guint)room->free[k] / BERTH_MIX_SLICE_STEP];
    }
    return (worth[0] + worth[1]) + (worth[2] + worth[3]) + slices;
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
