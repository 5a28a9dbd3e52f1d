/* Preemption: who has to stop so that a more important workload fits, or several that are placed together. Only
 * workloads marked preemptible, of lower priority and not of the same group are ever named; nothing is
 * stopped here.
 *
 * One request: on each host the lesser ones are taken away, lowest priority and largest first, until it
 * fits; then each that turns out not to be needed is put back, the most important first. The host
 * where least is lost wins: lowest top priority, then the sum of priorities, then fewest, then the
 * lowest index.
 *
 * Several: one after the other in the order of a group, each where there is room, else as one request. When that
 * leads nowhere, all that could stop is taken away at once and the group is placed in what is free then. Either
 * way, who is not needed in the end is put back. So each victim is needed; that they are the least of all, and that a
 * way is found whenever there is one, is not promised for more than one request, as for groups at all. */
#include <stdlib.h>
#include <string.h>

#include "sched/evaluate.h"
#include "sched/forecast.h"
#include "sched/holding.h"

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

/* Appends who could be stopped on @host for @request, or, at @priority, for all of its group. */
static void
add_lesser(const BerthSnapshot *s, guint32 host, const BerthRequest *request, gint priority,
           GArray *victims)
{
    gpointer group =
        request->group == NULL ? NULL : g_hash_table_lookup(s->symbols.ids, request->group);
    for (guint32 c = s->charge_head[host]; c != BERTH_CHARGE_NONE; c = berth_charge(s, c)->next) {
        const BerthCharge *charge = berth_charge(s, c);
        gboolean fellow = group != NULL && charge->group == GPOINTER_TO_UINT(group);
        if (charge->preemptible && charge->priority < priority && !fellow) {
            Victim v = {.charge = c,
                        .priority = charge->priority,
                        .size = (gint64)charge->cpu_millis + charge->memory_mib};
            g_array_append_val(victims, v);
        }
    }
}

static void
list_lesser(const BerthSnapshot *s, guint32 host, const BerthRequest *request, GArray *victims)
{
    g_array_set_size(victims, 0);
    add_lesser(s, host, request, request->priority, victims);
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

/* The least of one host whose stop lets @request fit; FALSE: there is none. @s is changed and comes out as it was. */
static gboolean
find_least(BerthSnapshot *s, const BerthRequest *request, const BerthPolicy *policy, GArray *least,
           BerthPlacement *placement)
{
    Harm best = {.n = G_MAXUINT, .top = G_MAXINT32, .sum = G_MAXINT64};
    g_autoptr(GArray) victims = g_array_new(FALSE, TRUE, sizeof(Victim));
    g_array_set_size(least, 0);
    for (guint32 host = 0; host < s->end; host++) {
        BerthPlacement there;
        if (s->name[host] == 0) {
            continue;
        }
        list_lesser(s, host, request, victims);
        if (!hold_enough(s, request, host, victims)) {
            continue;
        }
        reduce(s, request, policy, host, victims, &there);
        Harm harm = harm_of(victims, host);
        if (victims->len > 0 && is_worse(&best, &harm)) {
            best = harm;
            *placement = there;
            g_array_set_size(least, 0);
            g_array_append_vals(least, victims->data, victims->len);
        }
    }
    return least->len > 0;
}

/* ---- several together -------------------------------------------------------------------------- */

/* A copy of the fleet on which victims are left out of account and requests are charged. */
typedef struct {
    BerthSnapshot *fleet; /* owned */
    const BerthRequest *requests;
    guint n;
    const guint *order; /* whose turn it is */
    const BerthPolicy *policy;
    BerthPlacement *placements; /* borrowed */
    guint32 *charges;           /* borrowed; of the requests on the copy */
    GArray *victims;            /* borrowed; of Victim */
} Trial;

static void
begin(Trial *trial, const BerthSnapshot *s)
{
    g_clear_pointer(&trial->fleet, berth_snapshot_free);
    trial->fleet = berth_snapshot_copy(s);
    berth_snapshot_stop_learning(trial->fleet); /* what is tried is no arrival */
    g_array_set_size(trial->victims, 0);
    for (guint i = 0; i < trial->n; i++) {
        trial->charges[i] = BERTH_CHARGE_NONE;
    }
}

static gboolean
place_free(Trial *trial, guint at)
{
    BerthDecision decision;
    gboolean placed = berth_pick_and_charge(trial->fleet, &trial->requests[at], trial->policy,
                                            &decision, &trial->charges[at]);
    trial->placements[at] = decision.placement;
    return placed;
}

static gboolean
place_in_turn(Trial *trial)
{
    g_autoptr(GArray) least = g_array_new(FALSE, TRUE, sizeof(Victim));
    for (guint i = 0; i < trial->n; i++) {
        guint at = trial->order[i];
        /* One that is alone was refused before. */
        if (trial->n > 1 && place_free(trial, at)) {
            continue;
        }
        if (!find_least(trial->fleet, &trial->requests[at], trial->policy, least,
                        &trial->placements[at])) {
            return FALSE;
        }
        for (guint v = 0; v < least->len; v++) {
            berth_snapshot_detach(trial->fleet, charge_of(least, v));
        }
        g_array_append_vals(trial->victims, least->data, least->len);
        trial->charges[at] =
            berth_snapshot_charge(trial->fleet, &trial->requests[at], &trial->placements[at]);
    }
    return TRUE;
}

static void
withdraw(Trial *trial)
{
    for (guint i = 0; i < trial->n; i++) {
        if (trial->charges[i] != BERTH_CHARGE_NONE) {
            berth_snapshot_release_charge(trial->fleet, trial->charges[i]);
            trial->charges[i] = BERTH_CHARGE_NONE;
        }
    }
}

/* Charges each anew on the host that it has. FALSE: one doesn't fit any more, and none is charged. */
static gboolean
place_again(Trial *trial)
{
    g_autofree BerthPlacement *placements = g_new(BerthPlacement, trial->n);
    withdraw(trial);
    for (guint i = 0; i < trial->n; i++) {
        guint at = trial->order[i];
        if (!fits(trial->fleet, &trial->requests[at], trial->policy, trial->placements[at].host,
                  &placements[at])) {
            withdraw(trial);
            return FALSE;
        }
        trial->charges[at] =
            berth_snapshot_charge(trial->fleet, &trial->requests[at], &placements[at]);
    }
    memcpy(trial->placements, placements, trial->n * sizeof(*placements));
    return TRUE;
}

static gboolean
takes_one(const Trial *trial, guint32 host)
{
    for (guint i = 0; i < trial->n; i++) {
        if (trial->placements[i].host == host) {
            return TRUE;
        }
    }
    return FALSE;
}

/* Leaves out whom all may displace, the least of them included, and places the group in what is free then. */
static gboolean
place_at_once(Trial *trial)
{
    const BerthRequest *last = &trial->requests[trial->order[trial->n - 1]];
    for (guint32 host = 0; host < trial->fleet->end; host++) {
        if (trial->fleet->name[host] != 0) {
            add_lesser(trial->fleet, host, last, last->priority, trial->victims);
        }
    }
    for (guint v = 0; v < trial->victims->len; v++) {
        berth_snapshot_detach(trial->fleet, charge_of(trial->victims, v));
    }
    g_autofree BerthDecision *decisions = g_new(BerthDecision, trial->n);
    if (!berth_group_place(trial->fleet, trial->requests, trial->n, trial->policy, decisions,
                           trial->charges)) {
        return FALSE;
    }
    for (guint i = 0; i < trial->n; i++) {
        trial->placements[i] = decisions[i].placement;
    }
    for (guint v = trial->victims->len; v > 0; v--) {
        guint32 charge = charge_of(trial->victims, v - 1);
        if (!takes_one(trial, berth_charge(trial->fleet, charge)->host)) {
            berth_snapshot_attach(trial->fleet, charge);
            g_array_remove_index(trial->victims, v - 1);
        }
    }
    return place_again(trial);
}

/* Who is not needed, now that all have their place, stays. */
static void
put_back(Trial *trial)
{
    g_array_sort(trial->victims, compare_victims);
    for (guint v = trial->victims->len; v > 0; v--) {
        guint32 charge = charge_of(trial->victims, v - 1);
        berth_snapshot_attach(trial->fleet, charge);
        if (place_again(trial)) {
            g_array_remove_index(trial->victims, v - 1);
            continue;
        }
        berth_snapshot_detach(trial->fleet, charge);
        for (guint i = 0; i < trial->n; i++) {
            trial->charges[i] =
                berth_snapshot_charge(trial->fleet, &trial->requests[i], &trial->placements[i]);
        }
    }
}

/* The first in turn on its host is the most important one there, so it is more than the victim, too. */
static guint
find_asker(const Trial *trial, guint32 host)
{
    guint i = 0;
    while (trial->placements[trial->order[i]].host != host) {
        i++;
    }
    return trial->order[i];
}

static void
keep(BerthPreemption *preemption, const Trial *trial)
{
    preemption->n_victims = trial->victims->len;
    preemption->victims = g_new(guint32, trial->victims->len);
    preemption->askers = g_new(guint, trial->victims->len);
    for (guint i = 0; i < trial->victims->len; i++) {
        guint32 charge = charge_of(trial->victims, i);
        preemption->victims[i] = charge;
        preemption->askers[i] = find_asker(trial, berth_charge(trial->fleet, charge)->host);
    }
    preemption->rests = berth_holding_rest(trial->fleet, trial->charges, trial->n,
                                           preemption->victims, preemption->n_victims);
}

/* Whether anybody's stop could help one of them at all: without a copy of the fleet. */
static gboolean
could_help(const BerthSnapshot *s, const BerthRequest *requests, guint n)
{
    g_autoptr(GArray) victims = g_array_new(FALSE, TRUE, sizeof(Victim));
    for (guint32 host = 0; host < s->end; host++) {
        for (guint i = 0; s->name[host] != 0 && i < n; i++) {
            list_lesser(s, host, &requests[i], victims);
            if (hold_enough(s, &requests[i], host, victims)) {
                return TRUE;
            }
        }
    }
    return FALSE;
}

/**
 * berth_preempt_plan:
 * @requests: (array length=n): one that berth_pick() refused, or several that berth_pick_group() did
 * @preemption: (out): victims and placements when there is a way; cleared by the caller
 *
 * Cost: one copy of the fleet, when anybody can be stopped at all; then the workloads of the hosts where that could be
 * enough, for each request; and as many tries of all of them as there are victims.
 *
 * Returns: whether stopping lesser workloads makes room for all of them
 */
gboolean
berth_preempt_plan(const BerthSnapshot *s, const BerthRequest *requests, guint n,
                   const BerthPolicy *policy, BerthPreemption *preemption)
{
    memset(preemption, 0, sizeof(*preemption));
    if (!could_help(s, requests, n)) {
        return FALSE;
    }
    g_autofree guint *order = berth_group_order(s, requests, n);
    g_autofree guint32 *charges = g_new(guint32, n);
    g_autoptr(GArray) victims = g_array_new(FALSE, TRUE, sizeof(Victim));
    preemption->placements = g_new0(BerthPlacement, n);
    Trial trial = {.requests = requests,
                   .n = n,
                   .order = order,
                   .policy = policy == NULL ? berth_policy_default() : policy,
                   .placements = preemption->placements,
                   .charges = charges,
                   .victims = victims};
    begin(&trial, s);
    gboolean found = place_in_turn(&trial);
    if (!found && n > 1) {
        begin(&trial, s);
        found = place_at_once(&trial);
    }
    if (found) {
        put_back(&trial);
        keep(preemption, &trial);
    }
    berth_snapshot_free(trial.fleet);
    return found && preemption->n_victims > 0;
}

void
berth_preemption_clear(BerthPreemption *preemption)
{
    g_clear_pointer(&preemption->victims, g_free);
    g_clear_pointer(&preemption->askers, g_free);
    g_clear_pointer(&preemption->placements, g_free);
    g_clear_pointer(&preemption->rests, json_decref);
    preemption->n_victims = 0;
}
