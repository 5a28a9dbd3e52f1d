/* Room: the free state of a host, how many of each typical kind fit in it, and what that is worth.
 * The counting is the inner loop of every decision. It runs over arrays in fixed groups of lanes, so
 * that it has the same result on every machine, whatever width its vectors are.
 * Start at berth_room_value. */
#include "sched/mix-typical.h"

#include <string.h>

#include "sched/wide.h"

/* Vectors are passed between functions that are all inlined, so no ABI is concerned. */
#pragma GCC diagnostic ignored "-Wpsabi"
#define INLINE static inline __attribute__((always_inline))

/* A group of lanes, anywhere in an array. */
typedef double Lanes
    __attribute__((vector_size(BERTH_MIX_LANES * sizeof(double)), aligned(8), may_alias));
typedef gint64 Mask
    __attribute__((vector_size(BERTH_MIX_LANES * sizeof(gint64)), aligned(8), may_alias));
typedef gint32 Whole __attribute__((vector_size(BERTH_MIX_LANES * sizeof(gint32))));

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

INLINE Lanes
lesser(Lanes a, Lanes b)
{
    Mask less = a < b;
    return (Lanes)(((Mask)a & less) | ((Mask)b & ~less));
}

INLINE Lanes
greater(Lanes a, Lanes b)
{
    Mask more = a > b;
    return (Lanes)(((Mask)a & more) | ((Mask)b & ~more));
}

/* Whole ones: in something as small as a cell the last fraction is no use to anybody. */
INLINE Lanes
whole(Lanes n)
{
    return __builtin_convertvector(__builtin_convertvector(n, Whole), Lanes);
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
        Lanes n = whole(
            count_amounts(mix, t, MAX(0, room->cell_cpu[c]), MAX(0, room->cell_mem[c])) + 1e-6);
        sum += n;
        most = in_pairs ? greater(n, most) : most;
    }
    return in_pairs ? lesser(sum - most, whole(sum / 2)) : sum;
}

/* How many of the kinds with devices fit: by devices, CPU and memory together; less than one is none. */
INLINE Lanes
count_devices(const BerthMix *mix, const BerthRoom *room, guint t, double cpu, double mem)
{
    Lanes slots = {0}, host = count_amounts(mix, t, cpu, mem);
    for (guint k = 0; k < room->n_slots; k++) {
        double left = room->free[k];
        Lanes n = (left * *(const Lanes *)&mix->slices[t] + *(const Lanes *)&mix->whole[t]) *
                  room->same[k];
        Mask enough = *(const Lanes *)&mix->millis[t] <= left;
        Mask refused = (*(const Mask *)&mix->families[t] & (gint64)room->family[k]) == 0;
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

INLINE void
count_all_in_cells(const BerthMix *mix, const BerthRoom *room, guint n_cells, double *counts,
                   Lanes *worth)
{
    for (guint t = mix->first_one; t < mix->first_two; t += BERTH_MIX_LANES) {
        take_counts(mix, t, count_in_cells(mix, room, t, n_cells, FALSE), counts, worth);
    }
    for (guint t = mix->first_two; t < mix->n_plain; t += BERTH_MIX_LANES) {
        take_counts(mix, t, count_in_cells(mix, room, t, n_cells, TRUE), counts, worth);
    }
}

/* Goes over the typical kinds by sections. One of @counts and @worth is wanted. */
INLINE void
count_room(const BerthMix *mix, const BerthRoom *room, double *counts, Lanes *worth)
{
    double cpu = MAX(0, room->cpu), mem = MAX(0, room->mem);
    for (guint t = 0; t < mix->first_one; t += BERTH_MIX_LANES) {
        take_counts(mix, t, count_amounts(mix, t, cpu, mem), counts, worth);
    }
    if (room->n_cells == 2) { /* the usual number, unrolled */
        count_all_in_cells(mix, room, 2, counts, worth);
    } else {
        count_all_in_cells(mix, room, room->n_cells, counts, worth);
    }
    for (guint t = mix->n_plain; t < mix->n; t += BERTH_MIX_LANES) {
        Lanes n = {0};
        n = room->n_slots > 0 ? count_devices(mix, room, t, cpu, mem) : n;
        take_counts(mix, t, n, counts, worth);
    }
}

/**
 * berth_mix_count_room:
 * @counts: (out): how many of each typical kind fit
 */
BERTH_WIDE void
berth_mix_count_room(const BerthMix *mix, const BerthRoom *room, double *counts)
{
    count_room(mix, room, counts, NULL);
}

/**
 * berth_room_value:
 *
 * Returns: what the free state is worth to the mix
 */
BERTH_WIDE double
berth_room_value(const BerthMix *mix, const BerthRoom *room)
{
    Lanes worth = {0};
    count_room(mix, room, NULL, &worth);
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
