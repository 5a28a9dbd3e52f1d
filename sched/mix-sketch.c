/* The sketch of a mix: what bounds of costs need of the typical kinds (room-bound.c), in single precision
 * and in the order they want it. Invariant: with it no kind fits less often, and nothing is worth less, than
 * by the mix itself, but for what berth_mix_sketch calls slack. Start at berth_mix_sketch. */
#include <float.h>

#include "sched/mix-typical.h"

/* Rounds what is counted up by more than the few roundings after it take away. */
#define UP (1 + 4e-7)

/* The shape of the kind at @t, made when no kind before has the same. */
static BerthSketchShape *
get_shape(BerthSketch *sketch, const BerthMix *mix, guint t)
{
    BerthSketchShape shape = {.slices = (float)(mix->slices[t] * UP),
                              .whole = (float)(mix->whole[t] * UP),
                              .millis = (float)mix->millis[t],
                              .families = (guint32)mix->families[t]};
    for (guint i = 0; i < sketch->n_shapes; i++) {
        BerthSketchShape *known = &sketch->shapes[i];
        if (known->slices == shape.slices && known->whole == shape.whole &&
            known->millis == shape.millis && known->families == shape.families) {
            return known;
        }
    }
    sketch->shapes[sketch->n_shapes] = shape;
    return &sketch->shapes[sketch->n_shapes++];
}

static void
add_kind(BerthSketch *sketch, const BerthMix *mix, guint t)
{
    sketch->kinds[sketch->n++] = (BerthSketchKind){.per_cpu = (float)(mix->per_cpu[t] * UP),
                                                   .per_mem = (float)(mix->per_mem[t] * UP),
                                                   .value = (float)mix->value[t],
                                                   .near_value = (float)mix->near_value[t]};
    sketch->near |= mix->near_value[t] > 0 && t >= mix->first_two && t < mix->n_plain;
}

/* Those of no value only fill gaps. */
static void
add_section(BerthSketch *sketch, const BerthMix *mix, guint first, guint end)
{
    for (guint t = first; t < end; t++) {
        if (mix->value[t] > 0) {
            add_kind(sketch, mix, t);
        }
    }
}

/* Kinds with devices stand together by what they want of them. */
static void
add_with_devices(BerthSketch *sketch, const BerthMix *mix)
{
    const BerthSketchShape *shape_of[BERTH_MIX_TYPICAL_MAX];
    for (guint t = mix->n_plain; t < mix->n; t++) {
        shape_of[t] = mix->value[t] > 0 ? get_shape(sketch, mix, t) : NULL;
    }
    for (guint i = 0; i < sketch->n_shapes; i++) {
        for (guint t = mix->n_plain; t < mix->n; t++) {
            if (shape_of[t] == &sketch->shapes[i]) {
                add_kind(sketch, mix, t);
            }
        }
        sketch->shapes[i].end = sketch->n;
    }
}

/**
 * berth_mix_sketch:
 *
 * Brings the sketch up to date with the values of @mix.
 */
void
berth_mix_sketch(BerthMix *mix)
{
    BerthSketch *sketch = &mix->sketch;
    *sketch = (BerthSketch){0};
    add_section(sketch, mix, 0, mix->first_one);
    sketch->first_one = sketch->n;
    add_section(sketch, mix, mix->first_one, mix->first_two);
    sketch->first_two = sketch->n;
    add_section(sketch, mix, mix->first_two, mix->n_plain);
    sketch->n_plain = sketch->n;
    add_with_devices(sketch, mix);
    /* each sum may lose half a unit of the last place with each kind */
    sketch->slack = (float)(sketch->n + 16) * (FLT_EPSILON / 2);
    for (guint f = 0; f < BERTH_FAMILIES_MAX; f++) {
        sketch->price[f] = (float)mix->price[f];
        sketch->dear |= sketch->price[f] != 1;
    }
}
