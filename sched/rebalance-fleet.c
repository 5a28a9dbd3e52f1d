/*
 * Trial moves on the caller's snapshot, and the three things a plan is judged by: rules, load with
 * balance, and the time that copying takes. Pure. Start at berth_rebalance_fleet_init.
 *
 * The costs are those of the machine reassignment challenge (see reassign.h): what is above a safe
 * share of capacity, and free vCPUs without the memory to go with them or the other way round. They
 * are squared shares, so that the fullest host comes first, and count a host by its capacity.
 */
#include "sched/rebalance-fleet.h"

#include <math.h>

#include "sched/evaluate.h"
#include "sched/index.h"
#include "sched/mix.h"

static gint64
or_default(gint64 value, gint64 fallback)
{
    return value > 0 ? value : fallback;
}

static void
fill_goal(BerthRebalanceFleet *f, const BerthRebalanceGoal *goal)
{
    f->goal = *goal;
    f->goal.moves_max = (guint)or_default(goal->moves_max, G_MAXUINT32);
    f->goal.link_mib_s = or_default(goal->link_mib_s, 1000);
    f->goal.safe_pct = (guint)or_default(goal->safe_pct, 80);
    f->goal.load_worth_s = or_default(goal->load_worth_s, 20000);
    f->goal.balance_worth_s = or_default(goal->balance_worth_s, 500);
    f->goal.gain_min_s = or_default(goal->gain_min_s, 5);
}

static void
read_placement(const BerthSnapshot *s, guint32 index, BerthPlacement *placement)
{
    const BerthCharge *charge = berth_charge(s, index);
    *placement = (BerthPlacement){.host = charge->host, .n_devices = charge->n_slots};
    memcpy(placement->cells, charge->cells, sizeof placement->cells);
    for (guint i = 0; i < charge->n_slots; i++) {
        placement->devices[i] = charge->slots[i].slot;
    }
}

static gboolean
looks_at_others(const BerthRequest *request)
{
    for (guint i = 0; i < request->n_relations; i++) {
        if (request->relations[i].weight == 0) {
            return TRUE;
        }
    }
    for (guint i = 0; i < request->n_spreads; i++) {
        if (request->spreads[i].weight == 0) {
            return TRUE;
        }
    }
    return FALSE;
}

static void
fill_workloads(BerthRebalanceFleet *f)
{
    f->placement = g_new0(BerthPlacement, f->n_workloads);
    f->known = g_new0(gboolean, f->n_workloads);
    f->crew = g_new0(GArray *, f->hosts);
    f->related = g_array_new(FALSE, FALSE, sizeof(guint));
    for (guint32 h = 0; h < f->hosts; h++) {
        f->crew[h] = g_array_new(FALSE, FALSE, sizeof(guint));
    }
    for (guint w = 0; w < f->n_workloads; w++) {
        const BerthRequest *request = f->workloads[w].request;
        guint32 charge = berth_snapshot_find_charge(f->snapshot, request->uid);
        f->known[w] = charge != BERTH_CHARGE_NONE;
        if (f->known[w]) {
            read_placement(f->snapshot, charge, &f->placement[w]);
            g_array_append_val(f->crew[f->placement[w].host], w);
        }
        if (f->known[w] && looks_at_others(request)) {
            g_array_append_val(f->related, w);
        }
    }
    f->origin = g_memdup2(f->placement, f->n_workloads * sizeof *f->placement);
}

static void
forbid_hosts(BerthRebalanceFleet *f)
{
    BerthSnapshot *s = f->snapshot;
    f->state = g_memdup2(s->state, f->hosts);
    for (guint i = 0; i < f->goal.n_forbidden; i++) {
        guint32 host = f->goal.forbidden[i];
        if (berth_snapshot_host_exists(s, host)) {
            berth_snapshot_set_state(s, host, s->state[host] | BERTH_HOST_DRAINING);
        }
    }
}

static void
measure_hosts(BerthRebalanceFleet *f)
{
    const BerthSnapshot *s = f->snapshot;
    guint hosts = 0;
    for (guint32 h = 0; h < f->hosts; h++) {
        if (berth_host_is_schedulable(s, h)) {
            hosts++;
            f->mean_cpu += s->cpu_cap[h];
            f->mean_mem += s->mem_cap[h];
        }
    }
    f->mean_cpu = MAX(1, f->mean_cpu / MAX(1, hosts));
    f->mean_mem = MAX(1, f->mean_mem / MAX(1, hosts));
    f->cost = g_new0(double, f->hosts);
    for (guint32 h = 0; h < f->hosts; h++) {
        f->cost[h] = berth_rebalance_fleet_cost_with(f, h, 0, 0);
    }
}

/* Whether a host may keep what it has is no matter of its state, of the fleet's reserve or of what is the same for
 * every host, such as a quota: no single move mends these, and draining is asked about apart. */
static guint64
waived_rules(void)
{
    static const char *const codes[] = {"state", "reserve"};
    guint64 waived = 0;
    for (guint rule = 0; rule < berth_rules_count(); rule++) {
        gboolean is_waived = berth_rules[rule]->everywhere;
        for (guint i = 0; i < G_N_ELEMENTS(codes); i++) {
            is_waived = is_waived || g_str_equal(berth_rules[rule]->code, codes[i]);
        }
        waived |= is_waived ? G_GUINT64_CONSTANT(1) << rule : 0;
    }
    return waived;
}

/* Takes @snapshot for trials until berth_rebalance_fleet_clear puts it back. */
void
berth_rebalance_fleet_init(BerthRebalanceFleet *f, BerthSnapshot *snapshot,
                           const BerthMovable *workloads, guint n_workloads,
                           const BerthRebalanceGoal *goal)
{
    *f = (BerthRebalanceFleet){.snapshot = snapshot,
                               .workloads = workloads,
                               .n_workloads = n_workloads,
                               .hosts = snapshot->end};
    f->mix = snapshot->mix;
    snapshot->mix = berth_mix_copy(f->mix);
    fill_goal(f, goal);
    fill_workloads(f);
    forbid_hosts(f);
    measure_hosts(f);
    f->waived = waived_rules();
}

static gboolean
same_placement(const BerthPlacement *a, const BerthPlacement *b)
{
    return a->host == b->host && memcmp(a->cells, b->cells, sizeof a->cells) == 0 &&
           a->n_devices == b->n_devices && memcmp(a->devices, b->devices, a->n_devices) == 0;
}

/* Puts the snapshot back as it was and frees what @f owns. */
void
berth_rebalance_fleet_clear(BerthRebalanceFleet *f)
{
    for (guint w = 0; w < f->n_workloads; w++) {
        if (f->known[w] && !same_placement(&f->origin[w], &f->placement[w])) {
            berth_snapshot_charge(f->snapshot, f->workloads[w].request, &f->origin[w]);
        }
    }
    for (guint32 h = 0; h < f->hosts; h++) {
        if (f->snapshot->name[h] != 0 && f->snapshot->state[h] != f->state[h]) {
            berth_snapshot_set_state(f->snapshot, h, f->state[h]);
        }
        g_array_unref(f->crew[h]);
    }
    berth_mix_free(f->snapshot->mix);
    f->snapshot->mix = f->mix;
    /* What was worked out by the values of the mix of the trials, which an explanation may have brought up to date. */
    for (guint32 h = 0; h < f->snapshot->end; h++) {
        f->snapshot->worth[h].bound = NAN;
    }
    berth_index_forget(f->snapshot->index);
    g_free(f->placement);
    g_free(f->origin);
    g_free(f->known);
    g_free(f->crew);
    g_free(f->state);
    g_array_unref(f->related);
    g_free(f->cost);
}

/* Takes @workload out of the ledger, so that rules do not see it; _put must follow. */
void
berth_rebalance_fleet_lift(BerthRebalanceFleet *f, guint workload)
{
    berth_snapshot_release(f->snapshot, f->workloads[workload].request->uid);
}

void
berth_rebalance_fleet_put(BerthRebalanceFleet *f, guint workload, const BerthPlacement *placement)
{
    guint32 from = f->placement[workload].host, to = placement->host;
    berth_snapshot_charge(f->snapshot, f->workloads[workload].request, placement);
    f->placement[workload] = *placement;
    if (from != to) {
        GArray *crew = f->crew[from];
        guint at = 0;
        while (g_array_index(crew, guint, at) != workload) {
            at++;
        }
        g_array_remove_index(crew, at);
        g_array_append_val(f->crew[to], workload);
        f->cost[from] = berth_rebalance_fleet_cost_with(f, from, 0, 0);
        f->cost[to] = berth_rebalance_fleet_cost_with(f, to, 0, 0);
    }
}

void
berth_rebalance_fleet_move(BerthRebalanceFleet *f, guint workload, const BerthPlacement *placement)
{
    berth_rebalance_fleet_lift(f, workload);
    berth_rebalance_fleet_put(f, workload, placement);
}

/* Whether the host it is on is to be emptied. */
gboolean
berth_rebalance_fleet_must_leave(const BerthRebalanceFleet *f, guint workload)
{
    return f->known[workload] &&
           (f->snapshot->state[f->placement[workload].host] & BERTH_HOST_DRAINING);
}

/* Whether a hard rule refuses @workload the host it is on. */
gboolean
berth_rebalance_fleet_is_broken(BerthRebalanceFleet *f, guint workload)
{
    if (!f->known[workload]) {
        return FALSE;
    }
    BerthPlacement here = f->placement[workload];
    berth_rebalance_fleet_lift(f, workload);
    g_auto(BerthAsk) ask = {0};
    BerthPlan plan;
    berth_ask_init(&ask, f->snapshot, f->workloads[workload].request);
    ask.waived = f->waived;
    berth_plan_init(&plan, &ask, berth_policy_default());
    gboolean broken = berth_evaluate_filters(&ask, &plan, here.host, NULL) >= 0;
    berth_rebalance_fleet_put(f, workload, &here);
    return broken;
}

static gboolean
has_label(const BerthRequest *request, const BerthLabel *label)
{
    for (guint i = 0; i < request->n_labels; i++) {
        if (g_strcmp0(request->labels[i].key, label->key) == 0 &&
            (label->value == NULL || g_strcmp0(request->labels[i].value, label->value) == 0)) {
            return TRUE;
        }
    }
    return FALSE;
}

/* Whether a hard relation or spread of @watcher speaks of @seen. */
static gboolean
watches(const BerthRequest *watcher, const BerthRequest *seen)
{
    for (guint i = 0; i < watcher->n_relations; i++) {
        const BerthRelation *r = &watcher->relations[i];
        if (r->weight == 0 && (r->group != NULL ? g_strcmp0(r->group, seen->group) == 0
                                                : has_label(seen, &r->label))) {
            return TRUE;
        }
    }
    for (guint i = 0; i < watcher->n_spreads; i++) {
        if (watcher->spreads[i].weight == 0 &&
            g_strcmp0(watcher->spreads[i].group, seen->group) == 0) {
            return TRUE;
        }
    }
    return FALSE;
}

/* Returns: (transfer full): indexes of the other workloads whose hard rules look at @workload. */
GArray *
berth_rebalance_fleet_list_watchers(const BerthRebalanceFleet *f, guint workload)
{
    GArray *watchers = g_array_new(FALSE, FALSE, sizeof(guint));
    const BerthRequest *seen = f->workloads[workload].request;
    for (guint i = 0; i < f->related->len; i++) {
        guint w = g_array_index(f->related, guint, i);
        if (w != workload && watches(f->workloads[w].request, seen)) {
            g_array_append_val(watchers, w);
        }
    }
    return watchers;
}

/* Whether @workload can't be migrated: for its own sake, or because its host does not answer. */
gboolean
berth_rebalance_fleet_is_fixed(const BerthRebalanceFleet *f, guint workload)
{
    return !f->known[workload] || f->workloads[workload].fixed != NULL ||
           !(f->snapshot->state[f->placement[workload].host] & BERTH_HOST_READY);
}

/* How long copying @workload takes: rounds that each send what was rewritten during the one before,
 * at most ten times the memory, when it is slowed down instead. */
double
berth_rebalance_fleet_copy_s(const BerthRebalanceFleet *f, guint workload)
{
    const BerthMovable *m = &f->workloads[workload];
    double link = f->goal.link_mib_s;
    double rewritten = MIN((double)MAX(0, m->dirty_mib_s) / link, 0.9);
    return (m->request->memory_mib / (1 - rewritten) + MAX(0, m->local_disk_mib)) / link;
}

static double
excess(double share, double safe)
{
    double over = MAX(0, share - safe) / MAX(0.01, 1 - safe);
    return over * over;
}

/* Overload and lopsidedness of @host in seconds, were so much more (or less) charged to it. */
double
berth_rebalance_fleet_cost_with(const BerthRebalanceFleet *f, guint32 host, gint64 cpu_millis,
                                gint64 memory_mib)
{
    const BerthSnapshot *s = f->snapshot;
    if (s->name[host] == 0 || s->cpu_cap[host] <= 0 || s->mem_cap[host] <= 0) {
        return 0;
    }
    double cpu = 1 - (double)(s->cpu_free[host] - cpu_millis) / s->cpu_cap[host];
    double mem = 1 - (double)(s->mem_free[host] - memory_mib) / s->mem_cap[host];
    double safe = f->goal.safe_pct / 100.0;
    double of_cpu = s->cpu_cap[host] / f->mean_cpu, of_mem = s->mem_cap[host] / f->mean_mem;
    double load = of_cpu * excess(cpu, safe) + of_mem * excess(mem, safe);
    double lopsided = (of_cpu + of_mem) / 2 * (cpu - mem) * (cpu - mem);
    return (double)f->goal.load_worth_s * load + (double)f->goal.balance_worth_s * lopsided;
}
