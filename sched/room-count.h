/* How many typical kinds fit in a free state, and what that is worth: the inner loops of every decision,
 * all inlined. They run over arrays in fixed groups of lanes, so that they have the same result on every
 * machine, whatever width its vectors are. Bounds count the same in their own way: what changes here changes
 * in room-lanes.h too. For room*.[ch] only. */
#pragma once

#include <math.h>

#include "sched/mix-typical.h"
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
add_group(BerthRoom *room, BerthSlotGroup group)
{
    room->free[room->n_slots] = group & 1023;
    room->family[room->n_slots] = 1u << (group >> 10 & 31);
    room->same[room->n_slots++] = group >> 15;
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

/* Whole ones: in something as small as a cell the last fraction is no use to anybody, but for a millionth
 * that may be missing. Rounds by adding a number so large that fractions don't fit beside it. */
INLINE Lanes
whole(Lanes n)
{
    const double large = (double)((gint64)3 << 51);
    return ((n - (0.5 - 1e-6)) + large) - large;
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
                                      not_below_zero(room->cell_mem[c])));
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
        take_counts(mix, t, count_in_cells(mix, room, t, n_cells, TRUE), counts, worth);
        if (counts == NULL && mix->sketch.near) {
            *worth +=
                nearness_in_pairs(mix, room, t, n_cells) * *(const Lanes *)&mix->near_value[t];
        }
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
        Lanes n = whole(count_amounts(mix, t, a.cpu, a.mem));
        n += whole(count_amounts(mix, t, b.cpu, b.mem));
        worth += n * *(const Lanes *)&mix->value[t];
    }
    Amounts least = {MIN(a.cpu, b.cpu), MIN(a.mem, b.mem)};
    for (guint t = mix->first_two; t < mix->n_plain; t += BERTH_MIX_LANES) {
        Lanes halves = count_amounts(mix, t, least.cpu, least.mem);
        worth += whole(halves) * *(const Lanes *)&mix->value[t];
        if (mix->sketch.near) { /* seldom in a large fleet */
            worth += nearness(halves) * *(const Lanes *)&mix->near_value[t];
        }
    }
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

INLINE const BerthWorth *
get_worth(const BerthSnapshot *s, guint32 host)
{
    if (isnan(s->worth[host].bound)) {
        berth_room_set_worth(s, host);
    }
    return &s->worth[host];
}
