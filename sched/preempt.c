/* Preemption: who has to stop so that a more important workload fits. Only workloads marked preemptible
 * and of lower priority are ever named; nothing is stopped here.
 * On each host the lesser ones are taken away, lowest priority and largest first, until the request
 * fits; then each that turns out not to be needed is put back, the most important first. The host
 * where least is lost wins: lowest top priority, then the sum of priorities, then fewest, then the
 * lowest index. */
#include <stdlib.h>
#include <string.h>

#include "sched/evaluate.h"
#include "sched/forecast.h"
#include "sched/group.h"

typedef struct {
    guint32 charge;
    gint32 priority;
    gint64 size;
} Victim;

typedef struct {
    guint n;
    gint32 top;
    gint64 sum;
    guint32 host;
} Harm;

static int
compare_victims(gconstpointer a, gconstpointer b)
{
    const Victim *x = a, *y = b;
    if (x->priority != y->priority) {
        return x->priority < y->priority ? -1 : 1;
    }
    if (x->size != y->size) {
        return x->size > y->size ? -1 : 1;
    }
    return x->charge < y->charge ? -1 : 1;
}

static void
list_lesser(const BerthSnapshot *s, guint32 host, gint priority, GArray *victims)
{
    g_array_set_size(victims, 0);
    for (guint32 c = s->charge_head[host]; c != BERTH_CHARGE_NONE; c = berth_charge(s, c)->next) {
        const BerthCharge *charge = berth_charge(s, c);
        if (charge->preemptible && charge->priority < priority) {
            Victim v = {.charge = c,
                        .priority = charge->priority,
                        .size = (gint64)charge->cpu_millis + charge->memory_mib};
            g_array_append_val(victims, v);
        }
    }
    g_array_sort(victims, compare_victims);
}

/* A look that costs nothing: whether all of @victims together hold what is missing. */
static gboolean
hold_enough(const BerthSnapshot *s, const BerthRequest *request, guint32 host,
            const GArray *victims)
{
    gint64 cpu = s->cpu_free[host], memory = s->mem_free[host];
    for (guint i = 0; i < victims->len; i++) {
        const BerthCharge *charge = berth_charge(s, g_array_index(victims, Victim, i).charge);
        cpu += charge->cpu_millis;
        memory += charge->memory_mib;
    }
    gint64 wanted = request->overhead_mib + (request->hugepage_kib == 0 ? request->memory_mib : 0);
    return victims->len > 0 && (request->dedicated || cpu >= request->cpu_millis) &&
           memory >= wanted;
}

static gboolean
is_worse(const Harm *a, const Harm *b)
{
    if (a->top != b->top) {
        return a->top > b->top;
    }
    if (a->sum != b->sum) {
        return a->sum > b->sum;
    }
    return a->n > b->n;
}

static Harm
harm_of(const GArray *victims, guint32 host)
{
    Harm harm = {.n = victims->len, .top = G_MININT32, .host = host};
    for (guint i = 0; i < victims->len; i++) {
        const Victim *v = &g_array_index(victims, Victim, i);
        harm.top = MAX(harm.top, v->priority);
        harm.sum += (gint64)v->priority - G_MININT32;
    }
    return harm;
}

static gboolean
fits(BerthSnapshot *s, const BerthRequest *request, const BerthPolicy *policy, guint32 host,
     BerthPlacement *placement)
{
    g_auto(BerthAsk) ask = {0};
    BerthPlan plan;
    berth_ask_init(&ask, s, request);
    berth_plan_init(&plan, &ask, policy);
    return berth_evaluate(&ask, &plan, host, placement) > 0;
}

static guint32
charge_of(const GArray *victims, guint i)
{
    return g_array_index(victims, Victim, i).charge;
}

/* The fewest and least of @victims that must go; empty when even all of them are not enough. @s is changed and
 * comes out as it was. */
static void
reduce(BerthSnapshot *s, const BerthRequest *request, const BerthPolicy *policy, guint32 host,
       GArray *victims, BerthPlacement *placement)
{
    for (guint i = 0; i < victims->len; i++) {
        berth_snapshot_detach(s, charge_of(victims, i));
    }
    gboolean enough = fits(s, request, policy, host, placement);
    for (guint i = victims->len; i > 0; i--) {
        BerthPlacement smaller;
        berth_snapshot_attach(s, charge_of(victims, i - 1));
        if (enough && fits(s, request, policy, host, &smaller)) {
            *placement = smaller;
            g_array_remove_index(victims, i - 1);
        } else if (enough) {
            berth_snapshot_detach(s, charge_of(victims, i - 1));
        }
    }
    for (guint i = 0; enough && i < victims->len; i++) {
        berth_snapshot_attach(s, charge_of(victims, i));
    }
    if (!enough) {
        g_array_set_size(victims, 0);
    }
}

static void
keep(BerthPreemption *preemption, const GArray *victims, const BerthPlacement *placement)
{
    g_free(preemption->victims);
    preemption->n_victims = victims->len;
    preemption->victims = g_new(guint32, victims->len);
    for (guint i = 0; i < victims->len; i++) {
        preemption->victims[i] = g_array_index(victims, Victim, i).charge;
    }
    preemption->decision = (BerthDecision){.placed = TRUE, .placement = *placement, .score = 1};
}

/**
 * berth_preempt_plan:
 * @preemption: (out): victims and placement when there is a way; cleared by the caller
 *
 * For a request that berth_pick refused. Cost: one copy of the fleet, when anybody can be stopped at all; then
 * the workloads of the hosts where that could be enough.
 *
 * Returns: whether stopping lesser workloads of one host makes room
 */
gboolean
berth_preempt_plan(const BerthSnapshot *s, const BerthRequest *request, const BerthPolicy *policy,
                   BerthPreemption *preemption)
{
    Harm best = {.n = G_MAXUINT, .top = G_MAXINT32, .sum = G_MAXINT64};
    g_autoptr(BerthSnapshot) copy = NULL;
    g_autoptr(GArray) victims = g_array_new(FALSE, TRUE, sizeof(Victim));
    memset(preemption, 0, sizeof(*preemption));
    policy = policy == NULL ? berth_policy_default() : policy;
    for (guint32 host = 0; host < s->end; host++) {
        BerthPlacement placement;
        if (s->name[host] == 0) {
            continue;
        }
        list_lesser(s, host, request->priority, victims);
        if (!hold_enough(s, request, host, victims)) {
            continue;
        }
        if (copy == NULL) {
            copy = berth_snapshot_copy(s);
        }
        reduce(copy, request, policy, host, victims, &placement);
        Harm harm = harm_of(victims, host);
        if (victims->len > 0 && is_worse(&best, &harm)) {
            best = harm;
            keep(preemption, victims, &placement);
        }
    }
    return preemption->n_victims > 0;
}

void
berth_preemption_clear(BerthPreemption *preemption)
{
    g_clear_pointer(&preemption->victims, g_free);
    preemption->n_victims = 0;
}
