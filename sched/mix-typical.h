/* The inside of a mix: typical kinds as arrays that sums run over. For mix*.c and room*.c only. */
#pragma once

#include "sched/mix.h"

G_BEGIN_DECLS

/* Slices of devices are told apart in steps of so many thousandths. */
#define BERTH_MIX_SLICE_STEP 10
/* CPU and memory beside a device, in steps of an eighth of what a request of one device asks for. */
#define BERTH_MIX_BESIDE_STEPS 32
#define BERTH_MIX_BESIDE_STEPS_OF_MEAN 8
/* Sections of the typical arrays begin at multiples of this; kinds of no value fill the gaps. */
#define BERTH_MIX_LANES 4

typedef struct {
    gint64 cpu, mem;
    guint32 cells;
    guint32 count, millis;
    guint32 families; /* bits of the device families allowed, 0 = no device */
    gboolean confined;
    guint64 seen;
    gboolean frequent; /* one of FGD's */
    double weight;     /* share of all that was asked for */
} BerthMixKind;

/* A typical kind, and what several kinds want of devices, as bounds of costs look at them. */
typedef struct {
    float per_cpu, per_mem, value, near_value;
} BerthSketchKind;

typedef struct {
    float slices, whole, millis;
    guint32 families;
    guint end; /* of its kinds, which begin where those of the shape before end */
} BerthSketchShape;

typedef struct {
    guint n, n_plain, first_one, first_two; /* as in the mix */
    BerthSketchKind kinds[BERTH_MIX_TYPICAL_MAX];
    guint n_shapes;
    BerthSketchShape shapes[BERTH_MIX_TYPICAL_MAX];
    gboolean near; /* whether nearly fitting has a value */
    gboolean dear; /* whether prices differ from 1 */
    float price[BERTH_FAMILIES_MAX];
    float slack; /* the share by which a worth of it may be too low */
} BerthSketch;

struct BerthMix {
    guint64 seen;
    guint64 learned_at; /* seen when the typical kinds were chosen */
    guint64 weighed_at; /* version of the snapshot when they were weighed */
    gboolean frozen;
    guint n_kinds;
    BerthMixKind kinds[BERTH_MIX_KINDS_MAX];
    guint n, n_plain;           /* typical kinds: those without device come first */
    guint first_one, first_two; /* within the plain ones: host-wide, one cell, two cells */
    BerthMixKind typical[BERTH_MIX_TYPICAL_MAX]; /* as they were when chosen */
    double share[BERTH_MIX_TYPICAL_MAX];         /* frequency, sums to 1 */
    double value[BERTH_MIX_TYPICAL_MAX];
    double near_value[BERTH_MIX_TYPICAL_MAX]; /* of nearly fitting: the same, or 0 while many fit */
    double per_cpu[BERTH_MIX_TYPICAL_MAX], per_mem[BERTH_MIX_TYPICAL_MAX];
    double millis[BERTH_MIX_TYPICAL_MAX];
    double slices[BERTH_MIX_TYPICAL_MAX], whole[BERTH_MIX_TYPICAL_MAX];
    gint64 families[BERTH_MIX_TYPICAL_MAX];
    double beside_steps[2]; /* steps to a unit of CPU and of memory beside a device */
    float slice_worth[2][1000 / BERTH_MIX_SLICE_STEP + 1][BERTH_MIX_BESIDE_STEPS + 1];
    double price[BERTH_FAMILIES_MAX];
    double mean_cpu, mean_mem, mean_millis;
    BerthSketch sketch; /* of the above, for bounds; see mix-sketch.c */
};

void berth_room_set_worth(const BerthSnapshot *snapshot, guint32 host);
void berth_mix_count_room(const BerthMix *mix, const BerthRoom *room, double *counts);
void berth_mix_set_slice_worth(BerthMix *mix);
void berth_mix_sketch(BerthMix *mix);
gboolean berth_mix_set_prices(BerthMix *mix, const double *family_free, double expected,
                              double tolerance);

G_END_DECLS
