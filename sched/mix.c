/* The request mix and the worth of room.
 *
 * The worth of a host's free state is the sum over typical requests of how many still fit there, in
 * fractions, times the value of one more: its frequency, times its size as a share of the fleet,
 * times its scarcity. Placing costs worth; the host where it costs least is best. This generalises
 * the fragmentation of FGD (Weng et al., USENIX ATC 2023), which asks only whether a typical request
 * fits, to counting, to all dimensions, and to NUMA cells. Scarcity is close to zero while many fit in
 * the fleet and goes to one when the last few are at stake, so a small fleet guards its last big holes.
 *
 * What is left of a device is worth what later requests will use of it; see mix-slice.c.
 *
 * Invariant: typical kinds, values and V change only in berth_mix_refresh, so scores between two
 * refreshes can be kept. Start at berth_room_costs. */
#include "sched/mix-typical.h"

#include <math.h>

/* Typical kinds cover this share of what all requests seen asked for, so that rare big ones count;
 * FGD's cover this share of their number. */
#define COVER 0.995
#define COVER_FRAGMENT 0.95
/* Value that one more fitting request has while there is plenty of room for its kind. */
#define PLENTY 0.01
/* So many still fitting is scarce; for kinds with devices also as many as are expected before the
 * fleet is full. */
#define SCARCE 4.0
/* When so many of a kind still fit in the fleet, hosts that only nearly fit one are of no use to it. */
#define MANY 100
/* A fleet of so many hosts keeps its values while none drifts by more than this share: working out
 * every kept rank anew is dear there, and its mix is steady. */
#define LARGE_FLEET 2048
#define LARGE_FLEET_DRIFT 0.25
#define LARGE_FLEET_TYPICAL 32

BerthMix *
berth_mix_new(void)
{
    return g_new0(BerthMix, 1);
}

BerthMix *
berth_mix_copy(const BerthMix *mix)
{
    return g_memdup2(mix, sizeof(*mix));
}

void
berth_mix_free(BerthMix *mix)
{
    g_free(mix);
}

/**
 * berth_mix_is_known:
 *
 * Returns: whether enough was seen to say what is typical
 */
gboolean
berth_mix_is_known(const BerthMix *mix)
{
    return mix->n > 0;
}

/**
 * berth_mix_freeze:
 *
 * Learns nothing more; for baselines that are given the mix beforehand.
 */
void
berth_mix_freeze(BerthMix *mix)
{
    mix->frozen = TRUE;
}

static guint32
allowed_families(const BerthAsk *ask)
{
    const BerthDeviceNeed *need = &ask->request->devices[0];
    guint32 families = 0;
    for (guint i = 0; i < MAX(1, need->n_models); i++) {
        families |= berth_family_mask(ask->snapshot, ask->devices[0],
                                      need->n_models == 0 ? 0 : ask->models[i]);
    }
    return families;
}

/* Memory is rounded up to eight steps an octave: kinds that differ less are one. */
static gint64
rounded(gint64 amount)
{
    gint64 step = 1;
    while (amount / step >= 16) {
        step *= 2;
    }
    return (amount + step - 1) / step * step;
}

/**
 * berth_mix_observe:
 *
 * Counts one arrival. Cost: kinds seen so far, compared as integers.
 */
void
berth_mix_observe(BerthMix *mix, const BerthAsk *ask)
{
    if (mix->frozen) {
        return;
    }
    BerthMixKind kind = {
        .cpu = ask->cpu_millis, .mem = rounded(ask->memory_mib), .cells = berth_ask_cells(ask)};
    if (ask->request->n_devices > 0 && ask->request->devices[0].millis > 0) {
        kind.count = ask->request->devices[0].count;
        kind.millis = ask->request->devices[0].millis;
        kind.families = allowed_families(ask);
        kind.confined = ask->request->devices[0].n_models > 0;
    }
    mix->seen++;
    for (guint i = 0; i < mix->n_kinds; i++) {
        BerthMixKind *known = &mix->kinds[i];
        if (known->cpu == kind.cpu && known->mem == kind.mem && known->cells == kind.cells &&
            known->count == kind.count && known->millis == kind.millis &&
            known->families == kind.families) {
            known->seen++;
            if (i > 0 && mix->kinds[i - 1].seen < known->seen) {
                kind = mix->kinds[i - 1];
                mix->kinds[i - 1] = *known;
                *known = kind;
            }
            return;
        }
    }
    guint at = mix->n_kinds < BERTH_MIX_KINDS_MAX ? mix->n_kinds++ : BERTH_MIX_KINDS_MAX - 1;
    kind.seen = 1;
    mix->kinds[at] = kind;
}

static int
compare_frequency(gconstpointer a, gconstpointer b)
{
    const BerthMixKind *x = a, *y = b;
    if (x->seen != y->seen) {
        return x->seen < y->seen ? 1 : -1;
    }
    return memcmp(x, y, G_STRUCT_OFFSET(BerthMixKind, seen));
}

static int
compare_weight(gconstpointer a, gconstpointer b)
{
    const BerthMixKind *x = a, *y = b;
    return x->weight != y->weight ? (x->weight < y->weight ? 1 : -1) : compare_frequency(a, b);
}

/* Sorts the kinds by what they ask for in all, and marks those that FGD looks at. */
static void
weigh_kinds(BerthMix *mix)
{
    double cpu = 0, mem = 0, slots = 0;
    guint64 covered = 0;
    for (guint i = 0; i < mix->n_kinds; i++) {
        const BerthMixKind *kind = &mix->kinds[i];
        cpu += (double)kind->seen * kind->cpu;
        mem += (double)kind->seen * kind->mem;
        slots += (double)kind->seen * kind->count * kind->millis;
    }
    qsort(mix->kinds, mix->n_kinds, sizeof(BerthMixKind), compare_frequency);
    for (guint i = 0; i < mix->n_kinds; i++) {
        BerthMixKind *kind = &mix->kinds[i];
        double asked = kind->cpu / MAX(1, cpu) + kind->mem / MAX(1, mem) +
                       (double)kind->count * kind->millis / MAX(1, slots);
        kind->weight = kind->seen * asked / (slots > 0 ? 3 : 2);
        kind->frequent = covered < COVER_FRAGMENT * mix->seen;
        covered += kind->seen;
    }
    qsort(mix->kinds, mix->n_kinds, sizeof(BerthMixKind), compare_weight);
}

static guint
section_of(const BerthMixKind *kind)
{
    return kind->families != 0 ? 3 : kind->cells;
}

static void
set_typical(BerthMix *mix, guint at, const BerthMixKind *kind)
{
    guint parts = MAX(1, kind->cells);
    mix->per_cpu[at] = kind->cpu <= 0 ? 1e6 : (double)parts / kind->cpu;
    mix->per_mem[at] = kind->mem <= 0 ? 1e6 : (double)parts / kind->mem;
    mix->families[at] = kind->families;
    mix->millis[at] = kind->millis;
    mix->slices[at] = kind->millis > 0 && kind->millis < 1000 ? 1.0 / kind->millis : 0;
    mix->whole[at] = kind->millis >= 1000 ? 1.0 / kind->count : 0;
}

/* A kind that is worth nothing and never fits, to fill up a section. */
static void
set_nothing(BerthMix *mix, guint at)
{
    BerthMixKind nothing = {0};
    set_typical(mix, at, &nothing);
    mix->per_cpu[at] = mix->per_mem[at] = 0;
    mix->typical[at] = nothing;
    mix->share[at] = 0;
    mix->value[at] = mix->near_value[at] = 0;
}

/* Chooses the commonest kinds, without devices first, so that sums run over plain stretches. */
static void
choose_typical(BerthMix *mix, gboolean large)
{
    guint most = large ? LARGE_FLEET_TYPICAL : BERTH_MIX_TYPICAL_MAX - 4 * BERTH_MIX_LANES;
    double weight = 0;
    guint64 covered = 0;
    guint chosen = 0;
    weigh_kinds(mix);
    while (chosen < mix->n_kinds && chosen < most && weight < COVER) {
        weight += mix->kinds[chosen].weight;
        covered += mix->kinds[chosen++].seen;
    }
    mix->n = 0;
    for (guint section = 0; section < 4; section++) {
        mix->first_one = section == 1 ? mix->n : mix->first_one;
        mix->first_two = section == 2 ? mix->n : mix->first_two;
        mix->n_plain = section == 3 ? mix->n : mix->n_plain;
        for (guint i = 0; i < chosen; i++) {
            if (section_of(&mix->kinds[i]) == section) {
                set_typical(mix, mix->n, &mix->kinds[i]);
                mix->share[mix->n] = (double)mix->kinds[i].seen / covered;
                mix->typical[mix->n++] = mix->kinds[i];
            }
        }
        while (mix->n % BERTH_MIX_LANES != 0) {
            set_nothing(mix, mix->n++);
        }
    }
}

static void
set_means(BerthMix *mix)
{
    mix->mean_cpu = mix->mean_mem = mix->mean_millis = 0;
    for (guint t = 0; t < mix->n; t++) {
        const BerthMixKind *kind = &mix->typical[t];
        mix->mean_cpu += mix->share[t] * kind->cpu;
        mix->mean_mem += mix->share[t] * kind->mem;
        mix->mean_millis += (double)mix->share[t] * kind->count * kind->millis;
    }
}

/**
 * berth_mix_scale:
 *
 * Returns: worth of about as much room as the request takes, so that costs of requests of any size
 * fall on one scale
 */
double
berth_mix_scale(const BerthMix *mix, const BerthAsk *ask)
{
    double millis = 0;
    for (guint i = 0; i < ask->request->n_devices; i++) {
        millis += (double)ask->request->devices[i].count * ask->request->devices[i].millis;
    }
    double size =
        MAX(ask->cpu_millis / MAX(1, mix->mean_cpu), ask->memory_mib / MAX(1, mix->mean_mem));
    size = MAX(size, mix->mean_millis <= 0 ? 0 : millis / mix->mean_millis);
    return 1000 * MAX(1, size);
}

typedef struct {
    double cpu_cap, mem_cap, slot_cap;
    double cpu_free, slot_free;
    double counts[BERTH_MIX_TYPICAL_MAX];
    double family_free[BERTH_FAMILIES_MAX]; /* thousandths */
} Fleet;

static void
sum_fleet(const BerthMix *mix, const BerthSnapshot *s, Fleet *fleet)
{
    memset(fleet, 0, sizeof(*fleet));
    for (guint32 host = 0; host < s->end; host++) {
        if (s->name[host] == 0) {
            continue;
        }
        BerthRoom room;
        double counts[BERTH_MIX_TYPICAL_MAX];
        berth_room_read(&room, s, host);
        berth_mix_count_room(mix, &room, counts);
        for (guint t = 0; t < mix->n; t++) {
            fleet->counts[t] += counts[t];
        }
        fleet->cpu_cap += s->cpu_cap[host];
        fleet->mem_cap += s->mem_cap[host];
        fleet->slot_cap += 1000.0 * s->n_slots[host];
        fleet->cpu_free += MAX(0, s->cpu_free[host]);
        for (guint k = 0; k < room.n_slots; k++) {
            double left = room.free[k] * room.same[k];
            fleet->slot_free += left;
            fleet->family_free[berth_room_family(&room, k)] += left;
        }
    }
}

/* Requests still expected before the fleet is full: by CPU or by devices, whichever ends first. */
static double
expected_requests(const BerthMix *mix, const Fleet *fleet)
{
    double cpu = 0, slots = 0;
    for (guint t = 0; t < mix->n; t++) {
        const BerthMixKind *kind = &mix->typical[t];
        cpu += mix->share[t] * kind->cpu;
        slots += (double)mix->share[t] * kind->count * kind->millis;
    }
    double by_cpu = cpu <= 0 ? 1e9 : fleet->cpu_free / cpu;
    double by_slots = slots <= 0 || fleet->slot_cap <= 0 ? 1e9 : fleet->slot_free / slots;
    return MIN(by_cpu, by_slots);
}

static double
size_of(const BerthMixKind *kind, const Fleet *fleet)
{
    double cpu = fleet->cpu_cap <= 0 ? 0 : kind->cpu / fleet->cpu_cap;
    double mem = fleet->mem_cap <= 0 ? 0 : kind->mem / fleet->mem_cap;
    double slots = fleet->slot_cap <= 0 ? 0 : (double)kind->count * kind->millis / fleet->slot_cap;
    return MAX(cpu, mem) + slots;
}

/* Values in steps of a quarter octave, so that a small drift of the fleet changes nothing and kept
 * scores stay good. */
static double
in_steps(double value)
{
    return value <= 0 ? 0 : (double)exp2(floor(log2(value) * 64 + 0.5) / 64);
}

static gboolean
set_values(BerthMix *mix, const BerthSnapshot *s, gboolean learned)
{
    Fleet fleet;
    double weighed = 0;
    double raw[BERTH_MIX_TYPICAL_MAX], near[BERTH_MIX_TYPICAL_MAX];
    sum_fleet(mix, s, &fleet);
    double expected = expected_requests(mix, &fleet);
    double tolerance = s->hosts > LARGE_FLEET ? LARGE_FLEET_DRIFT : 0;
    gboolean changed = berth_mix_set_prices(mix, fleet.family_free, expected, tolerance);
    for (guint t = 0; t < mix->n; t++) {
        const BerthMixKind *kind = &mix->typical[t];
        double scarce = SCARCE + (kind->families != 0 ? mix->share[t] * expected : 0);
        double worth = mix->share[t] * size_of(kind, &fleet);
        raw[t] = worth * (PLENTY + exp(-fleet.counts[t] / scarce));
        /* to keep a hole nearly whole costs others, for nothing while nobody waits for it */
        near[t] = fleet.counts[t] < MANY ? 1 : 0;
        weighed += raw[t];
    }
    /* sums to 1000 whatever the fleet, so that slices keep their weight against it */
    for (guint t = 0; t < mix->n && weighed > 0; t++) {
        raw[t] = in_steps(1000 * raw[t] / weighed);
        near[t] *= raw[t];
        changed |= fabs(raw[t] - mix->value[t]) > tolerance * mix->value[t];
        changed |= fabs(near[t] - mix->near_value[t]) > tolerance * mix->near_value[t];
    }
    for (guint t = 0; t < mix->n && (changed || learned) && weighed > 0; t++) {
        mix->value[t] = raw[t];
        mix->near_value[t] = near[t];
    }
    return changed || learned;
}

static gboolean
is_due(const BerthMix *mix, const BerthSnapshot *s)
{
    guint64 step = MAX(1, mix->learned_at);
    step = s->hosts > LARGE_FLEET ? step : MIN(step, 8192);
    return mix->seen >= 16 && mix->seen - mix->learned_at >= step;
}

static void
forget_worth(const BerthSnapshot *s)
{
    for (guint32 host = 0; host < s->end; host++) {
        s->worth[host].bound = NAN;
    }
}

/**
 * berth_mix_refresh:
 *
 * Brings typical kinds and values up to date when enough has come or changed: kinds at every doubling
 * of what was seen, values after a quarter of the fleet changed (four times a fleet of thousands).
 * Cost when due: hosts times typical kinds.
 *
 * Returns: whether values changed, so that scores kept from before are stale
 */
gboolean
berth_mix_refresh(BerthMix *mix, const BerthSnapshot *s)
{
    guint64 wait = s->hosts <= LARGE_FLEET ? s->hosts / 4 : 4 * (guint64)s->hosts;
    gboolean learn = is_due(mix, s) && !(mix->frozen && mix->learned_at > 0);
    if (!learn && (mix->n == 0 || s->version - mix->weighed_at < MAX(1, wait))) {
        return FALSE;
    }
    mix->weighed_at = s->version;
    if (learn) {
        mix->learned_at = mix->seen;
        choose_typical(mix, s->hosts > LARGE_FLEET);
        set_means(mix);
        berth_mix_set_slice_worth(mix);
    }
    gboolean changed = set_values(mix, s, learn);
    if (changed) {
        berth_mix_sketch(mix);
    }
    if (changed) {
        forget_worth(s);
    }
    return changed;
}

/**
 * berth_mix_restore:
 * @before: from berth_mix_copy()
 *
 * Forgets what was learned since.
 *
 * Returns: whether values changed, so that scores kept from then on are stale
 */
gboolean
berth_mix_restore(BerthMix *mix, const BerthMix *before, const BerthSnapshot *s)
{
    gboolean changed =
        mix->weighed_at != before->weighed_at || mix->learned_at != before->learned_at;
    *mix = *before;
    if (changed) {
        forget_worth(s);
    }
    return changed;
}
