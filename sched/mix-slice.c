/* What is left of devices, and what that is worth.
 *
 * A device with r thousandths left and c of CPU beside it is worth V(r, c): what later requests will
 * use of it when they come by the mix, each that fits takes its part of both, and hope fades. So a
 * device whose host has no CPU left is worth nothing, and a request of little CPU goes where CPU is
 * short. The same for memory; the lesser of the two counts.
 *
 * Devices of some models are asked for by name more than others; that is their price, a factor.
 * Start at berth_mix_set_slice_worth. */
#include <math.h>

#include "sched/mix-typical.h"

/* Worth of devices against that of whole requests (1000 in all), and the rate at which hope fades for
 * a request that fits. */
#define SLICE_WORTH 3.0
#define SLICE_HOPE 0.005
/* A model whose devices will all be asked for by name costs so much more. */
#define SOUGHT_PRICE 2.0

#define SLICES (1000 / BERTH_MIX_SLICE_STEP)

/* A kind of one device or part of it, in steps. */
typedef struct {
    guint slice, beside;
    double rate;
} Kind;

static double
amount_of(const BerthMixKind *kind, guint resource)
{
    return resource == 0 ? kind->cpu : kind->mem;
}

static double
find_steps(const BerthMix *mix, guint resource)
{
    double sum = 0, rate = 1e-9;
    for (guint t = mix->n_plain; t < mix->n; t++) {
        if (mix->typical[t].count == 1) {
            sum += mix->share[t] * amount_of(&mix->typical[t], resource);
            rate += mix->share[t];
        }
    }
    return BERTH_MIX_BESIDE_STEPS_OF_MEAN / MAX(1, sum / rate);
}

static guint
collect_kinds(const BerthMix *mix, guint resource, Kind *kinds)
{
    guint n = 0;
    for (guint t = mix->n_plain; t < mix->n; t++) {
        const BerthMixKind *kind = &mix->typical[t];
        if (kind->count != 1) {
            continue;
        }
        double beside = ceil(amount_of(kind, resource) * mix->beside_steps[resource] - 1e-9);
        guint slice = (kind->millis + BERTH_MIX_SLICE_STEP - 1) / BERTH_MIX_SLICE_STEP;
        kinds[n++] = (Kind){.slice = MIN(slice, SLICES),
                            .beside = (guint)MIN(beside, BERTH_MIX_BESIDE_STEPS),
                            .rate = mix->share[t]};
    }
    return n;
}

/* V(r, c) from V of what each kind that fits would leave. */
static float
expect_use(const BerthMix *mix, guint resource, guint r, guint c, const Kind *kinds, guint n)
{
    double worth = 0, rate = 0;
    for (guint i = 0; i < n; i++) {
        const Kind *k = &kinds[i];
        if (k->slice <= r && k->beside <= c) {
            double used = SLICE_WORTH * k->slice * BERTH_MIX_SLICE_STEP;
            double then = (double)mix->slice_worth[resource][r - k->slice][c - k->beside];
            worth += k->rate * (used + then);
            rate += k->rate;
        }
    }
    return rate <= 0 ? 0 : (float)(worth / (rate + SLICE_HOPE));
}

/**
 * berth_mix_set_slice_worth:
 *
 * Works out V for the typical kinds. Cost: steps of both amounts times kinds of one device.
 */
void
berth_mix_set_slice_worth(BerthMix *mix)
{
    Kind kinds[BERTH_MIX_TYPICAL_MAX];
    for (guint resource = 0; resource < 2; resource++) {
        mix->beside_steps[resource] = find_steps(mix, resource);
        guint n = collect_kinds(mix, resource, kinds);
        for (guint r = 0; r <= SLICES; r++) {
            for (guint c = 0; c <= BERTH_MIX_BESIDE_STEPS; c++) {
                mix->slice_worth[resource][r][c] = expect_use(mix, resource, r, c, kinds, n);
            }
        }
    }
}

/**
 * berth_mix_set_prices:
 * @family_free: free thousandths of each family in the fleet
 * @expected: requests expected before the fleet is full
 * @tolerance: share by which a price may be wrong
 *
 * A family's price grows with the cube of the share of it that will be asked for by name: nearly 1
 * until it gets short. In steps, so that a small drift changes nothing.
 *
 * Returns: whether any changed
 */
gboolean
berth_mix_set_prices(BerthMix *mix, const double *family_free, double expected, double tolerance)
{
    double sought[BERTH_FAMILIES_MAX] = {0};
    gboolean changed = FALSE;
    for (guint t = mix->n_plain; t < mix->n; t++) {
        const BerthMixKind *kind = &mix->typical[t];
        double allowed = 0;
        for (guint f = 0; f < BERTH_FAMILIES_MAX && kind->confined; f++) {
            allowed += kind->families >> f & 1 ? family_free[f] : 0;
        }
        for (guint f = 0; f < BERTH_FAMILIES_MAX && allowed > 0; f++) {
            double millis = mix->share[t] * expected * kind->count * kind->millis;
            sought[f] += kind->families >> f & 1 ? millis / allowed : 0;
        }
    }
    for (guint f = 0; f < BERTH_FAMILIES_MAX; f++) {
        double share = MIN(1, sought[f]);
        double price = floor(16 * (1 + SOUGHT_PRICE * share * share * share)) / 16;
        if (fabs(price - mix->price[f]) > tolerance * mix->price[f]) {
            mix->price[f] = price;
            changed = TRUE;
        }
    }
    return changed;
}
