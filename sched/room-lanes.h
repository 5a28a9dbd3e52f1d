/* The kernel of room-bound.c: WIDTH hosts are looked at together, a lane of single precision each. It is
 * compiled once a width, by room-lanes-4.c and room-lanes-8.c. Invariant: what is left after a placing is
 * rounded up, so a bound may be too low, never too high. Start at least_costs. */
#pragma once

#include <math.h>

#include "sched/room-bound.h"
#include "sched/room-count.h"

typedef float Floats __attribute__((vector_size(WIDTH * sizeof(float))));
typedef gint32 Ints __attribute__((vector_size(WIDTH * sizeof(gint32))));

/* The one instruction there is for it, which compilers don't find in large functions. */
#if WIDTH == 8 && defined(__AVX2__)
#define LEAST_OF __builtin_ia32_minps256
#define MOST_OF __builtin_ia32_maxps256
#elif WIDTH == 4 && defined(__SSE2__)
#define LEAST_OF __builtin_ia32_minps
#define MOST_OF __builtin_ia32_maxps
#endif

INLINE Floats
least_of(Floats a, Floats b)
{
#ifdef LEAST_OF
    return LEAST_OF(a, b);
#else
    for (guint i = 0; i < WIDTH; i++) {
        a[i] = a[i] < b[i] ? a[i] : b[i];
    }
    return a;
#endif
}

INLINE Floats
most_of(Floats a, Floats b)
{
#ifdef MOST_OF
    return MOST_OF(a, b);
#else
    for (guint i = 0; i < WIDTH; i++) {
        a[i] = a[i] > b[i] ? a[i] : b[i];
    }
    return a;
#endif
}

INLINE Floats
all_lanes(float value)
{
    return (Floats){0} + value;
}

INLINE Floats
when(Ints which, Floats yes)
{
    return (Floats)((Ints)yes & which);
}

INLINE Floats
when_else(Ints which, Floats yes, Floats no)
{
    return (Floats)(((Ints)yes & which) | ((Ints)no & ~which));
}

INLINE Floats
above_zero(Floats amount)
{
    return most_of(amount, all_lanes(0));
}

/* The hosts of all lanes; @rest is what is left of host and cells when the request is there. */
typedef struct {
    const BerthWorth *worth[WIDTH];
    Floats cpu, mem; /* what the request takes */
    Floats rest_cpu, rest_mem;
    Floats cell_cpu[2], cell_mem[2];
} Hosts;

/* A field of each lane's record. */
#define READ(lanes, hosts, field)                                                                  \
    for (guint lane = 0; lane < WIDTH; lane++) {                                                   \
        (lanes)[lane] = (hosts)->worth[lane]->field;                                               \
    }

/* How often the kind fits. */
INLINE Floats
fit(const BerthSketchKind *kind, Floats cpu, Floats mem)
{
    return least_of(cpu * kind->per_cpu, mem * kind->per_mem);
}

/* As whole() of room-count.h. */
INLINE Floats
whole_ones(Floats n)
{
    const float large = 3 << 22;
    return ((n - (0.5f - 2e-6f)) + large) - large;
}

/* To kinds without devices that look at the host as a whole. */
INLINE Floats
worth_to_plain(const BerthSketch *sketch, Floats cpu, Floats mem)
{
    Floats worth = {0};
    for (guint t = 0; t < sketch->first_one; t++) {
        worth += sketch->kinds[t].value * fit(&sketch->kinds[t], cpu, mem);
    }
    return worth;
}

/* What a cell is worth to kinds bound to one. */
INLINE Floats
worth_of_cell(const BerthSketch *sketch, Floats cpu, Floats mem)
{
    Floats worth = {0};
    cpu = above_zero(cpu);
    mem = above_zero(mem);
    for (guint t = sketch->first_one; t < sketch->first_two; t++) {
        worth += sketch->kinds[t].value * whole_ones(fit(&sketch->kinds[t], cpu, mem));
    }
    return worth;
}

/* What two cells, of which the lesser amounts are given, are worth to kinds bound to two. */
INLINE Floats
worth_of_pair(const BerthSketch *sketch, Floats cpu, Floats mem)
{
    Floats worth = {0};
    cpu = above_zero(cpu);
    mem = above_zero(mem);
    for (guint t = sketch->first_two; t < sketch->n_plain; t++) {
        worth += sketch->kinds[t].value * whole_ones(fit(&sketch->kinds[t], cpu, mem));
    }
    for (guint t = sketch->first_two; t < sketch->n_plain && sketch->near; t++) {
        Floats near = least_of(fit(&sketch->kinds[t], cpu, mem), all_lanes(1));
        Floats fourth = near * near * near * near;
        worth += sketch->kinds[t].near_value * (fourth * fourth);
    }
    return worth;
}

/* What kinds bound to cells are left with when cell @c takes the request; -INFINITY where it has no room. */
INLINE Floats
left_in_one(const BerthSketch *sketch, const Hosts *h, guint c)
{
    Floats cpu = h->cell_cpu[c] - h->cpu, mem = h->cell_mem[c] - h->mem;
    Floats other_cpu = h->cell_cpu[!c], other_mem = h->cell_mem[!c];
    Floats worth = worth_of_cell(sketch, cpu, mem) + worth_of_cell(sketch, other_cpu, other_mem) +
                   worth_of_pair(sketch, least_of(cpu, other_cpu), least_of(mem, other_mem));
    return when_else((cpu >= 0) & (mem >= 0), worth, all_lanes(-INFINITY));
}

INLINE Floats
left_in_two(const BerthSketch *sketch, const Hosts *h)
{
    Floats cpu[2], mem[2];
    for (guint c = 0; c < 2; c++) {
        cpu[c] = h->cell_cpu[c] - h->cpu * 0.5f;
        mem[c] = h->cell_mem[c] - h->mem * 0.5f;
    }
    return worth_of_cell(sketch, cpu[0], mem[0]) + worth_of_cell(sketch, cpu[1], mem[1]) +
           worth_of_pair(sketch, least_of(cpu[0], cpu[1]), least_of(mem[0], mem[1]));
}

/* The most that kinds bound to cells can be left with. Hosts of more than two cells lose nothing. */
INLINE Floats
most_left_in_cells(const BerthSketch *sketch, Hosts *h, gboolean two, Floats now)
{
    Ints n_cells;
    READ(n_cells, h, n_cells);
    for (guint c = 0; c < 2; c++) {
        READ(h->cell_cpu[c], h, cells[c].cpu);
        READ(h->cell_mem[c], h, cells[c].mem);
    }
    Floats most = two ? left_in_two(sketch, h)
                      : most_of(left_in_one(sketch, h, 0), left_in_one(sketch, h, 1));
    return when_else(n_cells > 2, now, most);
}

/* A group of device slots in each lane. */
typedef struct {
    Floats free, same, price;
    Ints family; /* its bit */
} Group;

INLINE void
read_group(Group *group, const BerthSketch *sketch, const Hosts *h, guint k)
{
    Ints words;
    READ(words, h, groups[k]);
    Ints family = words >> 10 & 31;
    group->free = __builtin_convertvector(words & 1023, Floats);
    group->same = __builtin_convertvector(words >> 15, Floats);
    group->family = ((Ints){0} + 1) << family;
    group->price = all_lanes(1);
    for (guint i = 0; i < WIDTH && sketch->dear; i++) {
        group->price[i] = sketch->price[family[i]];
    }
}

/* As Beside of room-count.h. */
typedef struct {
    Floats steps[2], share;
} LanesBeside;

INLINE LanesBeside
lanes_beside(const BerthMix *mix, const Hosts *h, Floats all)
{
    return (LanesBeside){
        {h->rest_cpu * (float)mix->beside_steps[0], h->rest_mem * (float)mix->beside_steps[1]},
        1 / most_of(all, all_lanes(1))};
}

/* V between two steps; @row is where that of each lane begins. */
INLINE Floats
slice_between(const float *worth, Ints row, Floats steps)
{
    Floats low, high;
    steps = least_of(steps, all_lanes(BERTH_MIX_BESIDE_STEPS - 0.001f));
    Ints at = __builtin_convertvector(steps, Ints);
    Floats part = steps - __builtin_convertvector(at, Floats);
    at += row;
    for (guint i = 0; i < WIDTH; i++) {
        low[i] = worth[at[i]];
        high[i] = worth[at[i] + 1];
    }
    return low + part * (high - low);
}

/* What a device with @left thousandths is worth, but for its price, as value_slice. */
INLINE Floats
value_of_slice(const BerthMix *mix, const LanesBeside *beside, Floats left)
{
    Ints row = (__builtin_convertvector(left, Ints) * 6554 >> 16) * (BERTH_MIX_BESIDE_STEPS + 1);
    Floats part = least_of(left * beside->share, all_lanes(1));
    Floats many = part * (2 - part);
    return least_of(slice_between(&mix->slice_worth[0][0][0], row, beside->steps[0] * many),
                    slice_between(&mix->slice_worth[1][0][0], row, beside->steps[1] * many));
}

INLINE Floats
sum_free(const Group *groups, guint n)
{
    Floats sum = {0};
    for (guint k = 0; k < n; k++) {
        sum += groups[k].free * groups[k].same;
    }
    return sum;
}

/* What all devices are worth with what is left beside them. */
INLINE Floats
worth_of_devices(const BerthMix *mix, const Hosts *h, const Group *groups, guint n)
{
    LanesBeside beside = lanes_beside(mix, h, sum_free(groups, n));
    Floats sum = {0};
    for (guint k = 0; k < n; k++) {
        sum += groups[k].price * groups[k].same * value_of_slice(mix, &beside, groups[k].free);
    }
    return sum;
}

/* How many of a shape a device with @left thousandths is enough for. */
INLINE Floats
serve(const BerthSketchShape *shape, const Group *group, Floats left)
{
    Ints allowed = (group->family & (gint32)shape->families) != 0;
    return when(allowed & (left >= shape->millis), left * shape->slices + shape->whole);
}

/* Adds to @worth of each group what the kinds with devices are worth when one of it gives @millis. */
INLINE void
add_kinds(const BerthSketch *sketch, const Hosts *h, const Group *groups, guint n, float millis,
          Floats *worth)
{
    guint t = sketch->n_plain;
    for (guint i = 0; i < sketch->n_shapes; i++) {
        const BerthSketchShape *shape = &sketch->shapes[i];
        Floats all = {0}, slots[BERTH_WORTH_GROUPS];
        for (guint k = 0; k < n; k++) {
            slots[k] = serve(shape, &groups[k], groups[k].free);
            all += slots[k] * groups[k].same;
        }
        for (guint k = 0; k < n; k++) {
            slots[k] = all - slots[k] + serve(shape, &groups[k], groups[k].free - millis);
            slots[k] = when(slots[k] >= 0.999f, slots[k]);
        }
        for (; t < shape->end; t++) {
            Floats host = fit(&sketch->kinds[t], h->rest_cpu, h->rest_mem);
            host = when(host >= 1, host);
            for (guint k = 0; k < n; k++) {
                worth[k] += sketch->kinds[t].value * least_of(slots[k], host);
            }
        }
    }
}

/* The most that devices and the kinds that want them can be left with when one device gives @millis, of
 * whatever group; -INFINITY when none can. */
INLINE Floats
most_left_of_devices(const BerthMix *mix, const Hosts *h, const Group *groups, guint n,
                     float millis)
{
    LanesBeside beside = lanes_beside(mix, h, sum_free(groups, n) - millis);
    Floats sum = {0}, most = all_lanes(-INFINITY), worth[BERTH_WORTH_GROUPS];
    for (guint k = 0; k < n; k++) {
        Floats one = value_of_slice(mix, &beside, groups[k].free);
        Floats then = value_of_slice(mix, &beside, above_zero(groups[k].free - millis));
        sum += groups[k].price * groups[k].same * one;
        worth[k] = groups[k].price * (then - one);
    }
    add_kinds(&mix->sketch, h, groups, n, millis, worth);
    for (guint k = 0; k < n; k++) {
        most = when_else(groups[k].free >= millis, most_of(most, worth[k]), most);
    }
    return sum + most;
}

INLINE Floats
most_left_of_groups(const BerthAsk *ask, const Hosts *h, guint n)
{
    const BerthMix *mix = ask->snapshot->mix;
    const BerthRequest *r = ask->request;
    Group groups[BERTH_WORTH_GROUPS];
    for (guint k = 0; k < n; k++) {
        read_group(&groups[k], &mix->sketch, h, k);
    }
    return r->n_devices == 0 ? worth_of_devices(mix, h, groups, n)
                             : most_left_of_devices(mix, h, groups, n, r->devices[0].millis);
}

/* With a known number of groups, and few hosts have many, all about them stays in registers. */
INLINE Floats
most_left_unbound(const BerthAsk *ask, const Hosts *h, guint n)
{
    switch (n) {
    case 0:
        return most_left_of_groups(ask, h, 0);
    case 1:
        return most_left_of_groups(ask, h, 1);
    case 2:
        return most_left_of_groups(ask, h, 2);
    case 3:
        return most_left_of_groups(ask, h, 3);
    default:
        return most_left_of_groups(ask, h, n);
    }
}

/* See room-bound.h. */
INLINE void
least_costs(const BerthAsk *ask, const guint32 *hosts, guint n_groups, float *costs)
{
    const BerthRequest *r = ask->request;
    const BerthSketch *sketch = &ask->snapshot->mix->sketch;
    Hosts h;
    Floats cpu, mem, now;
    for (guint i = 0; i < WIDTH; i++) {
        h.worth[i] = &ask->snapshot->worth[hosts[i]];
    }
    h.cpu = all_lanes((float)ask->cpu_millis);
    h.mem = all_lanes((float)ask->memory_mib);
    READ(cpu, &h, cpu);
    READ(mem, &h, mem);
    h.rest_cpu = above_zero(cpu - h.cpu);
    h.rest_mem = above_zero(mem - h.mem);
    if (r->n_devices == 0) {
        READ(now, &h, single_loose);
    } else {
        READ(now, &h, single_unbound);
    }
    Floats left = worth_to_plain(sketch, h.rest_cpu, h.rest_mem);
    left += most_left_unbound(ask, &h, n_groups);
    if (r->numa == BERTH_NUMA_ONE || r->numa == BERTH_NUMA_TWO) {
        Floats bound;
        READ(bound, &h, single_bound);
        now += bound;
        left += most_left_in_cells(sketch, &h, r->numa == BERTH_NUMA_TWO, bound);
    }
    Floats cost = now - left - sketch->slack * (now + left);
    Ints refused = ((h.cpu > cpu) & (h.cpu > 0)) | ((h.mem > mem) & (h.mem > 0));
    cost = when_else(refused, all_lanes(INFINITY), cost);
    memcpy(costs, &cost, sizeof(cost));
}
