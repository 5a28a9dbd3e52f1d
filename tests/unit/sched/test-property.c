/* Properties over random fleets: no capacity or hard rule is ever broken, the index answers as a scan
 * does, releases restore, a plan equals the apply, the fix helps, capacity equals what is placed.
 * BERTH_FLEETS sets how many fleets (2000; the full run is 10000). The seed is printed on failure. */
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "fixture.h"
#include "sched/forecast.h"
#include "sched/sim/verify.h"

typedef struct {
    BerthSeededRandom random;
    BerthSnapshot *snapshot;
    SimVerifier *verifier;
    guint hosts;
    GArray *live; /* Live */
} World;

typedef struct {
    guint32 charge;
    guint token;
} Live;

/* A request and what it points to. */
typedef struct {
    BerthRequest request;
    BerthDeviceNeed need;
    BerthRelation relation;
    BerthSpread spread;
    BerthAmount disk;
    BerthExpression selector;
    char group[8];
} Wish;

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
    guint n_cells = below(w, 3);
    for (guint c = 0; c < n_cells; c++) {
        cells[c] =
            (BerthHostCell){.cpu_millis = cpu * 1000 / n_cells, .memory_mib = gib * 1024 / n_cells};
    }
    BerthHostDevice devices[8];
    guint n_devices = below(w, 2) ? below(w, 9) : 0;
    const char *model = models[below(w, 2)];
    for (guint d = 0; d < n_devices; d++) {
        devices[d] = (BerthHostDevice){"gpu", model, BERTH_CELL_NONE, -1, TRUE};
    }
    BerthAmount pool = {"local", 50 + below(w, 200)};
    BerthLabel label = {"disk", below(w, 2) ? "ssd" : "hdd"};
    char name[16];
    g_snprintf(name, sizeof(name), "h%u", i);
    BerthHost host = {.name = name,
                      .cpu_millis = cpu * 1000,
                      .memory_mib = gib * 1024,
                      .cells = cells,
                      .n_cells = n_cells,
                      .pools = &pool,
                      .n_pools = 1,
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

static void
make_change(World *w, const BerthExplanation *e)
{
    const BerthFix *fix = &e->fix;
    if (fix->kind == BERTH_FIX_UNCORDON) {
        berth_snapshot_set_state(w->snapshot, fix->host, BERTH_HOST_READY);
    } else if (fix->kind == BERTH_FIX_ADD_HOST) {
        berth_forecast_add_like(w->snapshot, fix->host, "added");
    }
}

/* Frees the amounts by releasing workloads of the host whole; they may free more than was said. */
static gboolean
free_amounts(BerthSnapshot *s, const World *w, const BerthFix *fix)
{
    gint64 cpu = 0, mem = 0;
    BerthUsage before, after;
    berth_snapshot_host_usage(s, fix->host, &before);
    for (guint i = 0; i < fix->n_amounts; i++) {
        cpu += g_str_equal(fix->amounts[i].code, "vcpu") ? fix->amounts[i].amount : 0;
        mem += g_str_equal(fix->amounts[i].code, "memory") ? fix->amounts[i].amount : 0;
        if (g_str_equal(fix->amounts[i].code, "disk")) {
            return FALSE;
        }
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
    return TRUE;
}

/* Whether a request without relations that is refused gets in by the change that was named. */
static void
check_fix(World *w, const Wish *wish)
{
    Wish changed = *wish;
    BerthRequest *r = &changed.request;
    g_autoptr(BerthExplanation) e = berth_explain(w->snapshot, r, NULL);
    g_assert_false(e->fits);
    g_autoptr(BerthSnapshot) copy = berth_snapshot_copy(w->snapshot);
    World there = *w;
    there.snapshot = copy;
    switch (e->fix.kind) {
    case BERTH_FIX_UNCORDON:
    case BERTH_FIX_ADD_HOST:
        make_change(&there, e);
        break;
    case BERTH_FIX_FREE:
        if (r->n_relations > 0 || !free_amounts(copy, w, &e->fix)) {
            return;
        }
        break;
    case BERTH_FIX_DROP_RULE:
        if (g_str_equal(e->fix.code, "numa")) {
            r->numa = BERTH_NUMA_ANY;
        } else if (g_str_equal(e->fix.code, "device")) {
            r->n_devices = 0;
        } else if (g_str_equal(e->fix.code, "selector")) {
            r->n_selectors = 0;
        } else if (g_str_equal(e->fix.code, "spread")) {
            r->n_spreads = 0;
        } else {
            r->n_relations = 0;
        }
        break;
    case BERTH_FIX_RAISE_QUOTA:
    case BERTH_FIX_NONE:
        return;
    }
    if (!fits(copy, r)) {
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

static void
step(World *w)
{
    Wish wish;
    BerthDecision decision, scanned;
    draw(w, &wish);
    berth_pick_naive(w->snapshot, &wish.request, NULL, &scanned);
    gboolean placed = berth_pick(w->snapshot, &wish.request, NULL, &decision);
    assert_same(&decision, &scanned);
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
        berth_snapshot_set_state(w->snapshot, host,
                                 BERTH_HOST_READY | (below(w, 2) ? BERTH_HOST_CORDONED : 0));
    }
}

static void
check_plan_equals_apply(World *w)
{
    Wish wishes[6];
    BerthRequest requests[6];
    BerthDecision planned[6], applied;
    for (guint i = 0; i < G_N_ELEMENTS(wishes); i++) {
        draw(w, &wishes[i]);
        requests[i] = wishes[i].request;
    }
    for (guint i = 0; i < G_N_ELEMENTS(wishes); i++) {
        /* the structs were filled in place, so their pointers are good */
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

static void
test_random_fleets(void)
{
    const char *text = g_getenv("BERTH_FLEETS");
    guint fleets = text == NULL ? 2000 : (guint)g_ascii_strtoull(text, NULL, 10);
    for (guint64 seed = 1; seed <= fleets; seed++) {
        World w;
        g_test_message("seed %" G_GUINT64_FORMAT, seed);
        world_init(&w, seed);
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

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/sched/property/random-fleets-break-no-rule", test_random_fleets);
    return g_test_run();
}
