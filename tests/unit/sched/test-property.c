/* Properties over random fleets (random-fleet.h): no capacity or hard rule is ever broken, the index answers as a scan
 * does, releases restore, a plan equals the apply, an explanation agrees with the pick, the fix helps, capacity
 * equals what is placed, a group is placed whole or not at all, nobody is displaced in vain, and moves break no rule and
 * are enough. BERTH_FLEETS sets how many fleets, BERTH_SEED the seed of the first; the seed of a fleet that
 * fails is printed. */
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fixture.h"
#include "sched/evaluate.h"
#include "sched/fleet.h"
#include "sched/forecast.h"
#include "sched/group.h"
#include "sched/mix.h"
#include "sched/rebalance.h"
#include "sched/room-bound.h"
#include "tests/unit/sched/random-fleet.h"

/* For who reads a failure: how to have the same fleet again. */
static guint64 seed_now;

static void
tell_seed(int signal_number)
{
    char text[64];
    int size = g_snprintf(text, sizeof text, "# BERTH_SEED=%" G_GUINT64_FORMAT " BERTH_FLEETS=1\n",
                          seed_now);
    if (write(STDOUT_FILENO, text, (gsize)size) < 0) {
        _exit(1);
    }
    signal(SIGABRT, SIG_DFL);
    signal(SIGTRAP, SIG_DFL);
    raise(signal_number);
}

/* ---- the change that is named ------------------------------------------------------------------ */

static gboolean
is_sought(const BerthRequest *r, const BerthRequest *other)
{
    for (guint i = 0; i < r->n_relations; i++) {
        const BerthRelation *seeks = &r->relations[i];
        gboolean labelled =
            seeks->label.key != NULL && other->n_labels > 0 &&
            g_str_equal(other->labels[0].key, seeks->label.key) &&
            (seeks->label.value == NULL || g_str_equal(other->labels[0].value, seeks->label.value));
        if (seeks->kind == BERTH_RELATION_TOGETHER && seeks->weight == 0 &&
            (seeks->group != NULL ? g_strcmp0(other->group, seeks->group) == 0 : labelled)) {
            return TRUE;
        }
    }
    return FALSE;
}

/* Frees the amounts by releasing workloads of the host whole, but none that @r must be near; they may free more than was
 * said. Pools, counts and pages are not looked at one by one: for them everything goes. */
static void
free_amounts(BerthSnapshot *s, const World *w, const BerthRequest *r, const BerthFix *fix)
{
    gint64 cpu = 0, mem = 0;
    BerthUsage before, after;
    berth_snapshot_host_usage(s, fix->host, &before);
    for (guint i = 0; i < fix->n_amounts; i++) {
        const BerthFixAmount *a = &fix->amounts[i];
        gboolean is_cpu = g_str_equal(a->code, "vcpu"), is_mem = g_str_equal(a->code, "memory");
        g_assert_cmpint(a->amount, >, 0);
        cpu = is_cpu ? a->amount : is_mem ? cpu : G_MAXINT64;
        mem = is_mem ? a->amount : mem;
    }
    for (guint i = 0; i < w->live->len; i++) {
        const Live *live = &g_array_index(w->live, Live, i);
        berth_snapshot_host_usage(s, fix->host, &after);
        if (before.cpu_used_millis - after.cpu_used_millis >= cpu &&
            before.memory_used_mib - after.memory_used_mib >= mem) {
            break;
        }
        if (berth_snapshot_charge_host(s, live->charge) == fix->host &&
            !is_sought(r, &live->wish->request)) {
            berth_snapshot_release_charge(s, live->charge);
        }
    }
}

static guint
find_live(const World *w, guint32 charge)
{
    guint i = 0;
    while (g_array_index(w->live, Live, i).charge != charge) {
        i++;
    }
    return i;
}

/* The same where the loss of a host must be survived, which first fit may manage with more on the hosts and not with
 * less: so in the order that is promised, the newest first, until the host has room. */
static void
free_newest(BerthSnapshot *s, const World *w, const BerthRequest *r, guint32 host)
{
    BerthRequest pinned = *r;
    g_autoptr(BerthSnapshot) careless = berth_snapshot_copy(s);
    berth_snapshot_set_survivable(careless, FALSE);
    pinned.host = berth_snapshot_host_name(s, host);
    for (guint32 c = s->charge_head[host], next; !fits(careless, &pinned); c = next) {
        g_assert_cmpuint(c, !=, BERTH_CHARGE_NONE);
        next = berth_charge(s, c)->next;
        if (!is_sought(r, &g_array_index(w->live, Live, find_live(w, c)).wish->request)) {
            berth_snapshot_release_charge(s, c);
            berth_snapshot_release_charge(careless, c);
        }
    }
}

static void
drop_rule(BerthRequest *r, const char *code)
{
    static const BerthToleration any = {NULL, NULL};
    if (g_str_equal(code, "numa")) {
        r->numa = BERTH_NUMA_ANY;
    } else if (g_str_equal(code, "device")) {
        r->n_devices = 0;
    } else if (g_str_equal(code, "selector")) {
        r->n_selectors = 0;
    } else if (g_str_equal(code, "spread")) {
        r->n_spreads = 0;
    } else if (g_str_equal(code, "network")) {
        r->n_networks = 0;
    } else if (g_str_equal(code, "machine")) {
        r->machine = NULL;
    } else if (g_str_equal(code, "pinned")) {
        r->host = NULL;
        r->fixed = FALSE;
    } else if (g_str_equal(code, "cpu-type")) {
        r->cpu_model = r->arch = NULL;
        r->n_cpu_features = 0;
    } else if (g_str_equal(code, "taint")) {
        r->tolerations = &any;
        r->n_tolerations = 1;
    } else {
        g_assert_true(g_str_equal(code, "affinity") || g_str_equal(code, "anti-affinity"));
        r->n_relations = 0;
    }
}

static void
raise_quota(BerthSnapshot *s, const World *w, const BerthFix *fix)
{
    Quota q = w->quota;
    for (guint i = 0; i < fix->n_amounts; i++) {
        const BerthFixAmount *a = &fix->amounts[i];
        g_assert_cmpint(a->amount, >, 0);
        q.cpu_millis += g_str_equal(a->dimension, "cpu_millis") * a->amount;
        q.memory_mib += g_str_equal(a->dimension, "memory_mib") * a->amount;
        q.device_millis += g_str_equal(a->dimension, "device_millis") * a->amount;
        q.workloads += g_str_equal(a->dimension, "workloads") * a->amount;
    }
    berth_snapshot_set_quota(s, "p0", q.cpu_millis, q.memory_mib, q.device_millis, q.workloads);
}

/* When no change is named, none of the simple ones is enough. */
static void
assert_nothing_helps(World *w, const BerthRequest *r)
{
    for (guint32 h = 0; h < w->sites->len; h++) {
        const Site *site = w->sites->pdata[h];
        if (site == NULL) {
            continue;
        }
        g_autoptr(BerthSnapshot) copy = berth_snapshot_copy(w->snapshot);
        g_autoptr(BerthSnapshot) more = berth_snapshot_copy(w->snapshot);
        if (site->host.state & BERTH_HOST_READY) {
            berth_snapshot_set_state(copy, h, BERTH_HOST_READY);
        }
        berth_forecast_add_like(more, h, "added");
        g_assert_false(fits(copy, r));
        g_assert_false(fits(more, r));
    }
}

/* A request that is refused gets in by the change that was named. */
static void
check_fix(World *w, const Wish *wish)
{
    BerthRequest r = wish->request;
    g_autoptr(BerthExplanation) e = berth_explain(w->snapshot, &r, NULL);
    g_autoptr(BerthSnapshot) copy = berth_snapshot_copy(w->snapshot);
    const BerthFix *fix = &e->fix;
    g_assert_false(e->fits);
    switch (fix->kind) {
    case BERTH_FIX_UNCORDON:
        berth_snapshot_set_state(copy, fix->host, BERTH_HOST_READY);
        break;
    case BERTH_FIX_ADD_HOST:
        berth_forecast_add_like(copy, fix->host, "added");
        break;
    case BERTH_FIX_FREE:
        if (w->survivable) {
            free_newest(copy, w, &r, fix->host);
        } else {
            free_amounts(copy, w, &r, fix);
        }
        break;
    case BERTH_FIX_DROP_RULE:
        drop_rule(&r, fix->code);
        break;
    case BERTH_FIX_RAISE_QUOTA:
        raise_quota(copy, w, fix);
        break;
    case BERTH_FIX_NONE:
        assert_nothing_helps(w, &r);
        return;
    }
    if (!fits(copy, &r)) {
        g_autofree char *text = berth_explanation_summary(w->snapshot, e);
        g_error("the change does not help: %s", text);
    }
}

/* ---- one decision ------------------------------------------------------------------------------ */

static void
assert_same(const BerthDecision *a, const BerthDecision *b)
{
    g_assert_cmpint(a->placed, ==, b->placed);
    if (a->placed) {
        g_assert_cmpmem(&a->placement, sizeof(a->placement), &b->placement, sizeof(b->placement));
    }
}

static void
assert_ledger(const BerthSnapshot *s, const char *expected, gboolean by_cell)
{
    g_autofree char *ledger = world_ledger(s, by_cell);
    g_assert_cmpstr(ledger, ==, expected);
}

/* An explanation names the host that is picked, or refuses on every host when none is. */
static void
check_explanation(World *w, const BerthRequest *r, const BerthDecision *decision)
{
    g_autofree char *ledger = world_ledger(w->snapshot, TRUE);
    g_autoptr(BerthExplanation) e = berth_explain(w->snapshot, r, NULL);
    g_assert_cmpint(e->fits, ==, decision->placed);
    if (e->fits) {
        g_assert_cmpuint(e->winner.host, ==, decision->placement.host);
    } else {
        g_assert_cmpuint(e->refusals->len, ==, berth_snapshot_host_count(w->snapshot));
    }
    assert_ledger(w->snapshot, ledger, TRUE);
}

/* Both kernels say the same of a host, but for roundings, whatever this machine uses. */
static void
check_kernels(const BerthAsk *ask, guint32 host)
{
    const BerthSnapshot *s = ask->snapshot;
    float least, four[4];
    guint32 hosts[4] = {host, host, host, host};
    berth_room_least_costs(ask, &host, 1, &least);
    if (least == -INFINITY) {
        return;
    }
    berth_room_least_costs_4(ask, hosts, s->worth[host].n_groups, four);
    for (guint i = 0; i < G_N_ELEMENTS(four); i++) {
        double worth = s->worth[host].bound + s->worth[host].unbound;
        double most = MAX(worth, fabs((double)least));
        g_assert_true(four[i] == least || fabs((double)four[i] - least) <= 1e-5 * most);
    }
}

/* What a host is passed over by is never less than what it would get. */
static void
check_bounds(World *w, const BerthRequest *r)
{
    BerthPlan plan;
    g_auto(BerthAsk) ask = {0};
    berth_ask_init(&ask, w->snapshot, r);
    berth_plan_init(&plan, &ask, berth_policy_default());
    for (guint32 host = 0; host < berth_snapshot_host_end(w->snapshot); host++) {
        guint16 bound;
        if (!berth_snapshot_host_exists(w->snapshot, host)) {
            continue;
        }
        berth_evaluate_ranks(&ask, &plan, &host, 1, G_MAXUINT16, &bound);
        g_assert_cmpuint(bound, >=, berth_evaluate_rank(&ask, &plan, host, NULL));
        if (berth_mix_is_known(w->snapshot->mix)) {
            check_kernels(&ask, host);
        }
    }
}

/* ---- several together -------------------------------------------------------------------------- */

/* All of them, charged where the decisions say, or the ledger is as it was. */
static void
check_group(World *w)
{
    Wish *wishes[4];
    BerthRequest requests[4];
    BerthDecision decisions[4];
    guint n = 1 + world_below(w, G_N_ELEMENTS(wishes));
    gboolean all = world_below(w, 2);
    g_autofree char *ledger = world_ledger(w->snapshot, TRUE);
    for (guint i = 0; i < n; i++) {
        wishes[i] = world_draw(w);
        requests[i] = wishes[i]->request;
    }
    g_autofree guint *order = berth_group_order(w->snapshot, requests, n);
    guint placed = all ? n * berth_pick_group(w->snapshot, requests, n, NULL, decisions)
                       : berth_pick_batch(w->snapshot, requests, n, NULL, decisions);
    if (placed == 0) {
        assert_ledger(w->snapshot, ledger, TRUE);
    }
    for (guint i = 0; i < n; i++) {
        guint at = order[i];
        placed -= decisions[at].placed;
        if (decisions[at].placed) {
            world_adopt(w, wishes[at], &decisions[at].placement);
        } else {
            g_free(wishes[at]);
        }
    }
    g_assert_cmpuint(placed, ==, 0);
}

/* Whether @r fits on @host when all that could be stopped there for it are gone. */
static gboolean
could_displace(const World *w, const BerthRequest *r, guint32 host)
{
    BerthRequest pinned = *r;
    g_autoptr(BerthSnapshot) copy = berth_snapshot_copy(w->snapshot);
    for (guint i = 0; i < w->live->len; i++) {
        const Live *live = &g_array_index(w->live, Live, i);
        const BerthRequest *other = &live->wish->request;
        if (berth_snapshot_charge_host(w->snapshot, live->charge) == host && other->preemptible &&
            other->priority < r->priority &&
            (r->group == NULL || g_strcmp0(r->group, other->group) != 0)) {
            berth_snapshot_release_charge(copy, live->charge);
        }
    }
    pinned.host = berth_snapshot_host_name(w->snapshot, host);
    return (r->host == NULL || g_str_equal(r->host, pinned.host)) && fits(copy, &pinned);
}

/* With all victims gone it fits where it was said, with any of them back it doesn't. */
static void
assert_needed(const World *w, const BerthRequest *r, const BerthPreemption *p)
{
    BerthRequest pinned = *r;
    pinned.host = berth_snapshot_host_name(w->snapshot, p->placements[0].host);
    for (guint back = 0; back <= p->n_victims; back++) {
        g_autoptr(BerthSnapshot) copy = berth_snapshot_copy(w->snapshot);
        for (guint v = 0; v < p->n_victims; v++) {
            const BerthRequest *victim =
                &g_array_index(w->live, Live, find_live(w, p->victims[v])).wish->request;
            g_assert_true(victim->preemptible && victim->priority < r->priority);
            g_assert_true(r->group == NULL || g_strcmp0(r->group, victim->group) != 0);
            if (v != back) {
                berth_snapshot_release_charge(copy, p->victims[v]);
            }
        }
        g_assert_cmpint(fits(copy, &pinned), ==, back == p->n_victims);
    }
}

/* Room is made if stopping others makes some, no one is stopped in vain, and the place is one. Takes @wish. */
static void
check_preemption(World *w, Wish *wish)
{
    const BerthRequest *r = &wish->request;
    BerthPreemption p;
    g_autofree char *ledger = world_ledger(w->snapshot, TRUE);
    gboolean found = berth_preempt_plan(w->snapshot, r, 1, NULL, &p);
    assert_ledger(w->snapshot, ledger, TRUE);
    if (!found) {
        for (guint32 h = 0; h < w->sites->len; h++) {
            g_assert_false(w->sites->pdata[h] != NULL && could_displace(w, r, h));
        }
        g_free(wish);
    } else {
        assert_needed(w, r, &p);
        for (guint v = 0; v < p.n_victims; v++) {
            world_release(w, find_live(w, p.victims[v]));
        }
        world_place(w, wish, &p.placements[0]);
    }
    berth_preemption_clear(&p);
}

/* ---- moves ------------------------------------------------------------------------------------- */

static void
apply_move(World *w, const BerthMove *move, guint at)
{
    Live *live = &g_array_index(w->live, Live, at);
    g_assert_cmpuint(move->from, ==, berth_snapshot_charge_host(w->snapshot, live->charge));
    g_assert_cmpuint(move->from, !=, move->placement.host);
    live->token =
        sim_verifier_move(w->verifier, live->token, &live->wish->request, &move->placement);
    live->charge = berth_snapshot_charge(w->snapshot, &live->wish->request, &move->placement);
    live->placement = move->placement;
    world_assert_clean(w);
}

/* In the order of the moves no step breaks a rule, what can't leave is named, and a second plan has no moves. */
static void
check_rebalance(World *w)
{
    guint32 host = world_below(w, w->sites->len);
    BerthRebalanceGoal goal = {.forbidden = &host,
                               .n_forbidden = w->sites->pdata[host] != NULL && world_below(w, 2),
                               .repair_only = world_below(w, 2)};
    g_autofree BerthMovable *movables = g_new0(BerthMovable, w->live->len);
    for (guint i = 0; i < w->live->len; i++) {
        movables[i] = (BerthMovable){.request = &g_array_index(w->live, Live, i).wish->request,
                                     .dirty_mib_s = world_below(w, 1200),
                                     .local_disk_mib = world_below(w, 4) ? 0 : 1000,
                                     .fixed = world_below(w, 12) ? NULL : "a reason"};
    }
    g_autofree char *ledger = world_ledger(w->snapshot, FALSE);
    g_autoptr(BerthRebalance) plan =
        berth_rebalance_plan(w->snapshot, movables, w->live->len, &goal);
    assert_ledger(w->snapshot, ledger, FALSE);
    if (goal.n_forbidden > 0) { /* nobody new is wanted there meanwhile */
        sim_verifier_set_state(w->verifier, host, BERTH_HOST_READY | BERTH_HOST_DRAINING);
    }
    for (guint i = 0; i < plan->moves->len; i++) {
        const BerthMove *move = &g_array_index(plan->moves, BerthMove, i);
        g_assert_null(movables[move->workload].fixed);
        g_assert_true(goal.n_forbidden == 0 || move->placement.host != host);
        apply_move(w, move, move->workload);
    }
    for (guint i = 0; i < w->live->len && goal.n_forbidden > 0; i++) {
        gboolean named = FALSE;
        for (guint k = 0; k < plan->stuck->len; k++) {
            named |= g_array_index(plan->stuck, BerthStuck, k).workload == i;
        }
        g_assert_true(named || berth_snapshot_charge_host(
                                   w->snapshot, g_array_index(w->live, Live, i).charge) != host);
    }
    g_autoptr(BerthRebalance) again =
        berth_rebalance_plan(w->snapshot, movables, w->live->len, &goal);
    g_assert_cmpuint(again->moves->len, ==, 0);
    if (goal.n_forbidden > 0) {
        const Site *site = w->sites->pdata[host];
        sim_verifier_set_state(w->verifier, host, site->host.state);
    }
}

/* ---- a fleet's life ---------------------------------------------------------------------------- */

static void
step(World *w)
{
    BerthDecision decision, scanned;
    Wish *wish = world_draw(w);
    berth_pick_naive(w->snapshot, &wish->request, NULL, &scanned);
    gboolean placed = berth_pick(w->snapshot, &wish->request, NULL, &decision);
    assert_same(&decision, &scanned);
    if (world_below(w, 8) == 0) {
        check_explanation(w, &wish->request, &decision);
        check_bounds(w, &wish->request);
    }
    if (!placed && world_below(w, 4) == 0) {
        check_fix(w, wish);
    }
    if (placed) {
        world_place(w, wish, &decision.placement);
    } else if (world_below(w, 8) == 0) {
        check_preemption(w, wish);
    } else {
        g_free(wish);
    }
    if (world_below(w, 16) == 0) {
        check_group(w);
    }
    if (world_below(w, 3) == 0 && w->live->len > 0) {
        world_release(w, world_below(w, w->live->len));
    }
    if (world_below(w, 20) == 0) {
        world_change(w);
    }
}

/* The ledger is the sum of who is there. */
static void
check_ledger(const World *w)
{
    g_autofree char *counted = world_count(w);
    assert_ledger(w->snapshot, counted, FALSE);
}

static void
check_plan_equals_apply(World *w)
{
    Wish *wishes[6];
    BerthRequest requests[6]; /* point into wishes */
    BerthDecision planned[6], applied;
    for (guint i = 0; i < G_N_ELEMENTS(wishes); i++) {
        wishes[i] = world_draw(w);
        requests[i] = wishes[i]->request;
    }
    g_autoptr(BerthSnapshot) then =
        berth_forecast(w->snapshot, NULL, planned, requests, G_N_ELEMENTS(requests), NULL);
    for (guint i = 0; i < G_N_ELEMENTS(requests); i++) {
        berth_pick(w->snapshot, &requests[i], NULL, &applied);
        assert_same(&planned[i], &applied);
        if (applied.placed) {
            world_place(w, wishes[i], &applied.placement);
        } else {
            g_free(wishes[i]);
        }
    }
    g_autofree char *forecast = world_ledger(then, TRUE);
    assert_ledger(w->snapshot, forecast, TRUE);
}

static void
check_capacity_equals_placed(World *w)
{
    g_autofree Wish *wish = world_draw(w);
    BerthRequest *like = &wish->request;
    guint said = berth_capacity_like(w->snapshot, like, NULL, 500), placed = 0;
    BerthDecision decision;
    while (placed < 500 && berth_pick(w->snapshot, like, NULL, &decision)) {
        Wish *one = g_memdup2(wish, sizeof *wish);
        g_snprintf(one->uid, sizeof one->uid, "c%u", placed++);
        one->request.uid = one->uid;
        world_place(w, one, &decision.placement);
        one->request = (BerthRequest){.uid = one->uid}; /* the rest pointed into @wish */
    }
    g_assert_cmpuint(said, ==, placed);
}

static void
check_releases_restore(World *w)
{
    g_autoptr(BerthSnapshot) fresh = berth_snapshot_new();
    for (guint i = 0; i < w->sites->len; i++) {
        const Site *site = w->sites->pdata[i];
        const BerthHost gone = {.name = "gone"};
        guint32 index;
        g_assert_true(
            berth_snapshot_put_host(fresh, site == NULL ? &gone : &site->host, &index, NULL));
        if (site == NULL) {
            g_assert_true(berth_snapshot_remove_host(fresh, index, NULL));
        }
    }
    while (w->live->len > 0) {
        world_release(w, world_below(w, w->live->len));
    }
    world_assert_clean(w);
    g_autofree char *nothing = world_ledger(fresh, TRUE);
    assert_ledger(w->snapshot, nothing, TRUE);
}

static guint64
number_of(const char *variable, guint64 fallback)
{
    const char *text = g_getenv(variable);
    return text == NULL ? fallback : g_ascii_strtoull(text, NULL, 10);
}

static void
try_fleet(guint64 seed)
{
    World w;
    world_init(&w, seed);
    guint steps = 10 + world_below(&w, 120);
    for (guint i = 0; i < steps; i++) {
        step(&w);
    }
    if (world_below(&w, 4) == 0) {
        check_rebalance(&w);
    }
    check_ledger(&w);
    check_plan_equals_apply(&w);
    check_capacity_equals_placed(&w);
    check_releases_restore(&w);
    world_clear(&w);
}

static void
test_random_fleets(void)
{
    guint64 fleets = number_of("BERTH_FLEETS", 10000), first = number_of("BERTH_SEED", 1);
    g_test_message("%" G_GUINT64_FORMAT " fleets from BERTH_SEED=%" G_GUINT64_FORMAT, fleets,
                   first);
    signal(SIGABRT, tell_seed);
    signal(SIGTRAP, tell_seed);
    for (seed_now = first; seed_now < first + fleets; seed_now++) {
        try_fleet(seed_now);
    }
}

typedef struct {
    BerthRequest request;
    guint32 host;
} Tenant;

static int
compare_tenants(gconstpointer a, gconstpointer b)
{
    const BerthRequest *x = &((const Tenant *)a)->request, *y = &((const Tenant *)b)->request;
    gint64 d = y->memory_mib != x->memory_mib ? y->memory_mib - x->memory_mib
                                              : y->cpu_millis - x->cpu_millis;
    return d < 0 ? -1 : d > 0;
}

/* Whether all who were on @lost find another host, largest first. */
static gboolean
survives(const BerthSnapshot *snapshot, const GArray *tenants, guint32 lost)
{
    g_autoptr(BerthSnapshot) copy = berth_snapshot_copy(snapshot);
    berth_snapshot_set_survivable(copy, FALSE);
    berth_forecast_lose(copy, lost);
    for (guint i = 0; i < tenants->len; i++) {
        const Tenant *tenant = &g_array_index(tenants, Tenant, i);
        BerthDecision decision;
        if (tenant->host == lost &&
            !berth_pick_and_charge(copy, &tenant->request, berth_policy_find("first-fit"),
                                   &decision, NULL)) {
            return FALSE;
        }
    }
    return TRUE;
}

static void
try_survival(guint64 seed, guint *refused)
{
    BerthSeededRandom random;
    berth_seeded_random_init(&random, seed);
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    g_autoptr(GArray) tenants = g_array_new(FALSE, FALSE, sizeof(Tenant));
    guint hosts = 1 + (guint)berth_random_below(&random.base, 8);
    for (guint i = 0; i < hosts; i++) {
        g_autofree char *name = g_strdup_printf("h%u", i);
        BerthHost host = {.name = name,
                          .cpu_millis = 4000 << berth_random_below(&random.base, 3),
                          .memory_mib = 4096 << berth_random_below(&random.base, 3),
                          .state = BERTH_HOST_READY};
        g_assert_true(berth_snapshot_put_host(s, &host, &(guint32){0}, NULL));
    }
    berth_snapshot_set_survivable(s, TRUE);
    for (guint i = 0; i < 40; i++) {
        Tenant tenant = {.request = {.cpu_millis = 500 << berth_random_below(&random.base, 4),
                                     .memory_mib = 256 << berth_random_below(&random.base, 5)}};
        BerthDecision decision;
        if (!berth_pick_and_charge(s, &tenant.request, NULL, &decision, NULL)) {
            ++*refused;
            continue;
        }
        tenant.host = decision.placement.host;
        g_array_append_val(tenants, tenant);
        g_array_sort(tenants, compare_tenants);
        for (guint32 lost = 0; lost < hosts; lost++) {
            g_assert_true(survives(s, tenants, lost));
        }
    }
}

static void
test_loss_of_any_host_is_survived(void)
{
    guint64 first = number_of("BERTH_SEED", 1);
    guint refused = 0;
    for (seed_now = first; seed_now < first + 200; seed_now++) {
        try_survival(seed_now, &refused);
    }
    g_assert_cmpuint(refused, >, 1000);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/sched/property/random-fleets-break-no-rule", test_random_fleets);
    g_test_add_func("/sched/property/the-loss-of-any-host-is-survived",
                    test_loss_of_any_host_is_survived);
    return g_test_run();
}
