/* Properties over random fleets: no capacity or hard rule is ever broken, the index answers as a scan
 * does, releases restore, a plan equals the apply, an explanation agrees with the pick, the fix helps, capacity
 * equals what is placed. BERTH_FLEETS sets how many fleets, BERTH_SEED the seed of the first; the
 * seed of a fleet that fails is printed. */
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/random.h"
#include "fixture.h"
#include "sched/evaluate.h"
#include "sched/forecast.h"
#include "sched/mix.h"
#include "sched/room-bound.h"
#include "sched/sim/verify.h"

typedef struct {
    BerthSeededRandom random;
    BerthSnapshot *snapshot;
    SimVerifier *verifier;
    guint hosts;
    gint64 quota_millis; /* of project p0; 0: none */
    GArray *live;        /* Live */
} World;

typedef struct {
    guint32 charge;
    guint token;
} Live;

/* A request and what it points to; not to be copied. */
typedef struct {
    BerthRequest request;
    BerthDeviceNeed need;
    BerthRelation relation;
    BerthSpread spread;
    BerthAmount disk, count;
    BerthExpression selector;
    BerthToleration toleration;
    const char *network;
    char group[8];
} Wish;

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

static guint
below(World *w, guint n)
{
    return berth_random_below(&w->random.base, n);
}

static void
add_random_host(World *w, guint i)
{
    static const char *const zones[] = {"z1", "z2", "z3"}, *const racks[] = {"r1", "r2", "r3",
                                                                             "r4"};
    static const char *const models[] = {"A", "B"};
    guint cpu = 2 << below(w, 4), gib = 4 << below(w, 4);
    BerthHostCell cells[2];
    BerthAmount pages = {"2048", 100 + below(w, 400)};
    guint n_cells = below(w, 3);
    for (guint c = 0; c < n_cells; c++) {
        cells[c] = (BerthHostCell){.cpu_millis = cpu * 1000 / n_cells,
                                   .memory_mib = gib * 1024 / n_cells,
                                   .hugepages = &pages,
                                   .n_hugepages = i % 3 == 0,
                                   .dedicated_cpus = below(w, 6)};
    }
    BerthHostDevice devices[8];
    guint n_devices = below(w, 2) ? below(w, 9) : 0;
    const char *model = models[below(w, 2)];
    for (guint d = 0; d < n_devices; d++) {
        devices[d] = (BerthHostDevice){"gpu", model, BERTH_CELL_NONE, -1, TRUE};
    }
    BerthAmount pool = {"local", 50 + below(w, 200)};
    BerthAmount count = {"licence", 1 + below(w, 4)};
    BerthLabel label = {"disk", below(w, 2) ? "ssd" : "hdd"};
    BerthTaint taint = {"special", NULL, below(w, 2) ? BERTH_TAINT_REFUSE : BERTH_TAINT_AVOID};
    static const char *const machines[] = {"q35", "microvm"};
    static const char *const networks[] = {"default", "storage"};
    static const char *const cpus[] = {"v2", "v3"};
    char name[16];
    g_snprintf(name, sizeof(name), "h%u", i);
    BerthHost host = {.name = name,
                      .cpu_millis = cpu * 1000,
                      .memory_mib = gib * 1024,
                      .memory_reserve_mib = below(w, 3) * 256,
                      .cpu_overcommit_pct = below(w, 2) * 200,
                      .cells = cells,
                      .n_cells = n_cells,
                      .pools = &pool,
                      .n_pools = 1,
                      .counts = &count,
                      .n_counts = below(w, 2),
                      .cpu_models = cpus,
                      .n_cpu_models = 1 + below(w, 2),
                      .machines = machines,
                      .n_machines = 1 + below(w, 2),
                      .networks = networks,
                      .n_networks = 1 + below(w, 2),
                      .taints = &taint,
                      .n_taints = below(w, 8) == 0,
                      .devices = devices,
                      .n_devices = n_devices,
                      .labels = &label,
                      .n_labels = 1,
                      .zone = zones[below(w, 3)],
                      .rack = racks[below(w, 4)],
                      .state = BERTH_HOST_READY | (below(w, 12) == 0 ? BERTH_HOST_CORDONED : 0)};
    guint32 index = BERTH_HOST_NONE;
    g_assert_true(berth_snapshot_put_host(w->snapshot, &host, &index, NULL));
    sim_verifier_add_host(w->verifier, index, &host);
}

static void
world_init(World *w, guint64 seed)
{
    memset(w, 0, sizeof(*w));
    berth_seeded_random_init(&w->random, seed);
    w->snapshot = berth_snapshot_new();
    w->verifier = sim_verifier_new();
    w->live = g_array_new(FALSE, FALSE, sizeof(Live));
    w->hosts = 1 + below(w, below(w, 4) == 0 ? 80 : 12);
    for (guint i = 0; i < w->hosts; i++) {
        add_random_host(w, i);
    }
    if (below(w, 4) == 0) {
        w->quota_millis = 1000 * (4 + below(w, 40));
        berth_snapshot_set_quota(w->snapshot, "p0", w->quota_millis, -1, -1, -1);
        sim_verifier_set_quota(w->verifier, "p0", w->quota_millis);
    }
}

static void
world_clear(World *w)
{
    berth_snapshot_free(w->snapshot);
    sim_verifier_free(w->verifier);
    g_array_unref(w->live);
}

static void
draw_rules(World *w, Wish *wish)
{
    BerthRequest *r = &wish->request;
    if (below(w, 3) == 0) {
        g_snprintf(wish->group, sizeof(wish->group), "g%u", below(w, 4));
        r->group = wish->group;
        wish->relation =
            (BerthRelation){.kind = below(w, 2) ? BERTH_RELATION_APART : BERTH_RELATION_TOGETHER,
                            .scope = below(w, 3),
                            .group = wish->group,
                            .weight = below(w, 4) == 0 ? 50 : 0};
        r->relations = &wish->relation;
        r->n_relations = 1;
    }
    if (r->group != NULL && below(w, 3) == 0) {
        wish->spread = (BerthSpread){
            .scope = BERTH_SCOPE_ZONE, .group = wish->group, .max_skew = 1 + below(w, 2)};
        r->spreads = &wish->spread;
        r->n_spreads = 1;
    }
    if (below(w, 5) == 0) {
        static const char *const ssd[] = {"ssd"};
        wish->selector = (BerthExpression){"disk", BERTH_OPERATOR_IN, ssd, 1, below(w, 2) * 30};
        r->selectors = &wish->selector;
        r->n_selectors = 1;
    }
}

/* What a host must have or be: each seldom, so that most requests have a place. */
static void
draw_facts(World *w, Wish *wish)
{
    BerthRequest *r = &wish->request;
    static const char *const projects[] = {"p0", "p1"};
    r->project = projects[below(w, 2)];
    r->machine = below(w, 6) == 0 ? "microvm" : NULL;
    r->cpu_model = below(w, 6) == 0 ? "v3" : NULL;
    r->dedicated = below(w, 12) == 0;
    r->hugepage_kib = below(w, 10) == 0 ? 2048 : 0;
    wish->network = below(w, 2) ? "storage" : "default";
    r->networks = &wish->network;
    r->n_networks = below(w, 4) == 0;
    wish->toleration = (BerthToleration){below(w, 2) ? "special" : NULL, NULL};
    r->tolerations = &wish->toleration;
    r->n_tolerations = below(w, 4) == 0;
    wish->count = (BerthAmount){"licence", 1 + below(w, 2)};
    r->counts = &wish->count;
    r->n_counts = below(w, 10) == 0;
}

static void
draw(World *w, Wish *wish)
{
    memset(wish, 0, sizeof(*wish));
    BerthRequest *r = &wish->request;
    r->cpu_millis = 500 << below(w, 5);
    r->memory_mib = 512 << below(w, 5);
    r->overhead_mib = below(w, 2) * 64;
    r->numa = below(w, 3) == 0 ? below(w, 4) : BERTH_NUMA_ANY;
    if (below(w, 3) == 0) {
        wish->disk = (BerthAmount){"local", 1 + below(w, 60)};
        r->disks = &wish->disk;
        r->n_disks = 1;
    }
    if (below(w, 4) == 0) {
        static const char *const a[] = {"A"};
        wish->need =
            (BerthDeviceNeed){.kind = "gpu", .count = 1, .millis = 100 * (1 + below(w, 10))};
        if (below(w, 2)) {
            wish->need.count = 1 + below(w, 3);
            wish->need.millis = 1000;
        }
        wish->need.models = a;
        wish->need.n_models = below(w, 2);
        r->devices = &wish->need;
        r->n_devices = 1;
    }
    draw_facts(w, wish);
    draw_rules(w, wish);
}

static void
assert_clean(const World *w)
{
    if (!sim_verifier_is_clean(w->verifier)) {
        g_error("%s", sim_verifier_complaint(w->verifier));
    }
}

static void
place(World *w, const BerthRequest *r, const BerthDecision *decision)
{
    Live live = {berth_snapshot_charge(w->snapshot, r, &decision->placement),
                 sim_verifier_place(w->verifier, r, &decision->placement)};
    g_array_append_val(w->live, live);
    assert_clean(w);
}

static void
release_one(World *w)
{
    if (w->live->len > 0) {
        guint at = below(w, w->live->len);
        Live live = g_array_index(w->live, Live, at);
        berth_snapshot_release_charge(w->snapshot, live.charge);
        sim_verifier_release(w->verifier, live.token);
        g_array_remove_index_fast(w->live, at);
    }
}

/* Frees the amounts by releasing workloads of the host whole; they may free more than was said. Pools, counts and
 * pages are not looked at one by one: for them everything goes. */
static void
free_amounts(BerthSnapshot *s, const World *w, const BerthFix *fix)
{
    gint64 cpu = 0, mem = 0;
    BerthUsage before, after;
    berth_snapshot_host_usage(s, fix->host, &before);
    for (guint i = 0; i < fix->n_amounts; i++) {
        const BerthFixAmount *a = &fix->amounts[i];
        gboolean is_cpu = g_str_equal(a->code, "vcpu"), is_mem = g_str_equal(a->code, "memory");
        cpu = is_cpu ? a->amount : is_mem ? cpu : G_MAXINT64;
        mem = is_mem ? a->amount : mem;
    }
    for (guint i = 0; i < w->live->len; i++) {
        guint32 charge = g_array_index(w->live, Live, i).charge;
        berth_snapshot_host_usage(s, fix->host, &after);
        if (before.cpu_used_millis - after.cpu_used_millis >= cpu &&
            before.memory_used_mib - after.memory_used_mib >= mem) {
            break;
        }
        if (berth_snapshot_charge_host(s, charge) == fix->host) {
            berth_snapshot_release_charge(s, charge);
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
    } else if (g_str_equal(code, "cpu-type")) {
        r->cpu_model = NULL;
    } else if (g_str_equal(code, "taint")) {
        r->tolerations = &any;
        r->n_tolerations = 1;
    } else {
        g_assert_true(g_str_equal(code, "affinity") || g_str_equal(code, "anti-affinity"));
        r->n_relations = 0;
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
        if (r.n_relations > 0 || r.n_spreads > 0) {
            return; /* who is released may be one that it must be near */
        }
        free_amounts(copy, w, fix);
        break;
    case BERTH_FIX_DROP_RULE:
        drop_rule(&r, fix->code);
        break;
    case BERTH_FIX_RAISE_QUOTA:
        berth_snapshot_set_quota(copy, "p0", w->quota_millis + fix->amounts[0].amount, -1, -1, -1);
        break;
    case BERTH_FIX_NONE:
        return;
    }
    if (!fits(copy, &r)) {
        g_autofree char *text = berth_explanation_summary(w->snapshot, e);
        g_error("the change does not help: %s", text);
    }
}

static void
assert_same(const BerthDecision *a, const BerthDecision *b)
{
    g_assert_cmpint(a->placed, ==, b->placed);
    if (a->placed) {
        g_assert_cmpmem(&a->placement, sizeof(a->placement), &b->placement, sizeof(b->placement));
    }
}

/* An explanation names the host that is picked, or refuses on every host when none is. */
static void
check_explanation(World *w, const BerthRequest *r, const BerthDecision *decision)
{
    g_autoptr(BerthExplanation) e = berth_explain(w->snapshot, r, NULL);
    g_assert_cmpint(e->fits, ==, decision->placed);
    if (e->fits) {
        g_assert_cmpuint(e->winner.host, ==, decision->placement.host);
    } else {
        g_assert_cmpuint(e->refusals->len, ==, berth_snapshot_host_count(w->snapshot));
    }
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
        g_assert_true(four[i] == least || fabs((double)four[i] - least) <= 1e-5 * worth);
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
    for (guint32 host = 0; host < w->hosts; host++) {
        guint16 bound;
        berth_evaluate_ranks(&ask, &plan, &host, 1, G_MAXUINT16, &bound);
        g_assert_cmpuint(bound, >=, berth_evaluate_rank(&ask, &plan, host, NULL));
        if (berth_mix_is_known(w->snapshot->mix)) {
            check_kernels(&ask, host);
        }
    }
}

static void
step(World *w)
{
    Wish wish;
    BerthDecision decision, scanned;
    draw(w, &wish);
    berth_pick_naive(w->snapshot, &wish.request, NULL, &scanned);
    gboolean placed = berth_pick(w->snapshot, &wish.request, NULL, &decision);
    assert_same(&decision, &scanned);
    if (below(w, 8) == 0) {
        check_explanation(w, &wish.request, &decision);
        check_bounds(w, &wish.request);
    }
    if (placed) {
        place(w, &wish.request, &decision);
    } else if (below(w, 4) == 0) {
        check_fix(w, &wish);
    }
    if (below(w, 3) == 0) {
        release_one(w);
    }
    if (below(w, 20) == 0) {
        guint32 host = below(w, w->hosts);
        BerthHostState state = BERTH_HOST_READY | (below(w, 2) ? BERTH_HOST_CORDONED : 0);
        berth_snapshot_set_state(w->snapshot, host, state);
        sim_verifier_set_state(w->verifier, host, state);
    }
}

static void
check_plan_equals_apply(World *w)
{
    Wish wishes[6];
    BerthRequest requests[6]; /* point into wishes */
    BerthDecision planned[6], applied;
    for (guint i = 0; i < G_N_ELEMENTS(wishes); i++) {
        draw(w, &wishes[i]);
        requests[i] = wishes[i].request;
    }
    g_autoptr(BerthSnapshot) then =
        berth_forecast(w->snapshot, NULL, planned, requests, G_N_ELEMENTS(requests), NULL);
    for (guint i = 0; i < G_N_ELEMENTS(requests); i++) {
        berth_pick(w->snapshot, &requests[i], NULL, &applied);
        assert_same(&planned[i], &applied);
        if (applied.placed) {
            place(w, &requests[i], &applied);
        }
    }
}

static void
check_capacity_equals_placed(World *w)
{
    Wish wish;
    draw(w, &wish);
    guint said = berth_capacity_like(w->snapshot, &wish.request, NULL, 500), placed = 0;
    BerthDecision decision;
    while (placed < 500 && berth_pick(w->snapshot, &wish.request, NULL, &decision)) {
        place(w, &wish.request, &decision);
        placed++;
    }
    g_assert_cmpuint(said, ==, placed);
}

static void
check_releases_restore(World *w)
{
    while (w->live->len > 0) {
        release_one(w);
    }
    assert_clean(w);
    for (guint32 h = 0; h < berth_snapshot_host_end(w->snapshot); h++) {
        BerthUsage usage;
        if (!berth_snapshot_host_exists(w->snapshot, h)) {
            continue;
        }
        berth_snapshot_host_usage(w->snapshot, h, &usage);
        g_assert_cmpint(usage.cpu_used_millis, ==, 0);
        g_assert_cmpint(usage.memory_used_mib, ==, 0);
        g_assert_cmpint(usage.device_used_millis, ==, 0);
        g_assert_cmpuint(usage.workloads, ==, 0);
    }
}

static guint64
number_of(const char *variable, guint64 fallback)
{
    const char *text = g_getenv(variable);
    return text == NULL ? fallback : g_ascii_strtoull(text, NULL, 10);
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
        World w;
        world_init(&w, seed_now);
        guint steps = 10 + below(&w, 120);
        for (guint i = 0; i < steps; i++) {
            step(&w);
        }
        check_plan_equals_apply(&w);
        check_capacity_equals_placed(&w);
        check_releases_restore(&w);
        world_clear(&w);
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
