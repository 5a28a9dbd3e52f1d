/*
 * The planner of live migrations: cases by hand, and random fleets on which a ledger of the test's own
 * follows every move. Fleets are loaded without asking the rules, so some break them from the start.
 */
#include "base/random.h"
#include "sched/pick.h"
#include "sched/rebalance.h"

#define HOSTS_MAX 16
#define WORKLOADS_MAX 80

typedef struct {
    BerthSnapshot *snapshot; /* owned */
    guint hosts, workloads;
    gint64 cpu[HOSTS_MAX], memory[HOSTS_MAX];
    BerthRequest request[WORKLOADS_MAX];
    BerthRelation apart[WORKLOADS_MAX];
    BerthMovable movable[WORKLOADS_MAX];
    guint at[WORKLOADS_MAX]; /* the test's own idea of who is where */
} Fleet;

static const char *const groups[] = {"a", "b", "c", "d", "e"};

static void
add_host(Fleet *f, gint64 vcpus, gint64 memory_mib)
{
    g_autofree char *name = g_strdup_printf("h%u", f->hosts);
    BerthHost host = {.name = name,
                      .cpu_millis = vcpus * 1000,
                      .memory_mib = memory_mib,
                      .state = BERTH_HOST_READY};
    guint32 index;
    g_autoptr(GError) error = NULL;
    berth_snapshot_put_host(f->snapshot, &host, &index, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(index, ==, f->hosts);
    f->cpu[f->hosts] = vcpus * 1000;
    f->memory[f->hosts++] = memory_mib;
}

/* A workload that must be on a host without others of its group, when it has one. */
static guint
add_workload(Fleet *f, guint host, gint64 vcpus, gint64 memory_mib, const char *group)
{
    guint w = f->workloads++;
    f->request[w] = (BerthRequest){.uid = g_strdup_printf("w%u", w),
                                   .cpu_millis = vcpus * 1000,
                                   .memory_mib = memory_mib,
                                   .group = group};
    if (group != NULL) {
        f->apart[w] = (BerthRelation){
            .kind = BERTH_RELATION_APART, .scope = BERTH_SCOPE_HOST, .group = group};
        f->request[w].relations = &f->apart[w];
        f->request[w].n_relations = 1;
    }
    f->movable[w] = (BerthMovable){.request = &f->request[w], .dirty_mib_s = 50};
    f->at[w] = host;
    berth_snapshot_charge_on(f->snapshot, &f->request[w], host);
    return w;
}

static Fleet *
new_fleet(void)
{
    Fleet *f = g_new0(Fleet, 1);
    f->snapshot = berth_snapshot_new();
    return f;
}

static void
free_fleet(Fleet *f)
{
    for (guint w = 0; w < f->workloads; w++) {
        g_free((gpointer)f->request[w].uid);
    }
    berth_snapshot_free(f->snapshot);
    g_free(f);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Fleet, free_fleet)

static BerthRebalance *
plan_fleet(Fleet *f, const BerthRebalanceGoal *goal)
{
    return berth_rebalance_plan(f->snapshot, f->movable, f->workloads, goal);
}

static const BerthMove *
move_at(const BerthRebalance *plan, guint index)
{
    return &g_array_index(plan->moves, BerthMove, index);
}

static const BerthStuck *
stuck_at(const BerthRebalance *plan, guint index)
{
    return &g_array_index(plan->stuck, BerthStuck, index);
}

static gboolean
has_rival(const Fleet *f, guint workload, guint host)
{
    for (guint w = 0; w < f->workloads; w++) {
        if (w != workload && f->at[w] == host && f->request[workload].group != NULL &&
            g_strcmp0(f->request[w].group, f->request[workload].group) == 0) {
            return TRUE;
        }
    }
    return FALSE;
}

/* The destination holds everything on it and the newcomer, which is charged at its old place too. */
static void
assert_step_is_allowed(const Fleet *f, const BerthMove *move)
{
    guint to = move->placement.host;
    gint64 cpu = f->request[move->workload].cpu_millis;
    gint64 memory = f->request[move->workload].memory_mib;
    g_assert_cmpuint(move->from, ==, f->at[move->workload]);
    g_assert_cmpuint(move->from, !=, to);
    for (guint w = 0; w < f->workloads; w++) {
        cpu += f->at[w] == to ? f->request[w].cpu_millis : 0;
        memory += f->at[w] == to ? f->request[w].memory_mib : 0;
    }
    g_assert_cmpint(cpu, <=, f->cpu[to]);
    g_assert_cmpint(memory, <=, f->memory[to]);
    g_assert_false(has_rival(f, move->workload, to));
    g_assert_null(f->movable[move->workload].fixed);
}

static void
apply(Fleet *f, const BerthRebalance *plan)
{
    for (guint i = 0; i < plan->moves->len; i++) {
        const BerthMove *move = move_at(plan, i);
        assert_step_is_allowed(f, move);
        f->at[move->workload] = move->placement.host;
        berth_snapshot_charge(f->snapshot, &f->request[move->workload], &move->placement);
    }
}

static void
assert_calm(Fleet *f, const BerthRebalanceGoal *goal)
{
    g_autoptr(BerthRebalance) again = plan_fleet(f, goal);
    g_assert_cmpuint(again->moves->len, ==, 0);
}

static void
test_drain(void)
{
    g_autoptr(Fleet) f = new_fleet();
    for (guint i = 0; i < 3; i++) {
        add_host(f, 16, 16384);
    }
    for (guint i = 0; i < 6; i++) {
        add_workload(f, i % 2, 2, 2048, NULL);
    }
    guint32 host = 0;
    BerthRebalanceGoal goal = {.forbidden = &host, .n_forbidden = 1, .repair_only = TRUE};
    g_autoptr(BerthRebalance) plan = plan_fleet(f, &goal);
    g_assert_cmpuint(plan->moves->len, ==, 3);
    g_assert_cmpuint(plan->stuck->len, ==, 0);
    g_assert_cmpstr(berth_move_reason_name(move_at(plan, 0)->reason), ==, "drain");
    apply(f, plan);
    BerthUsage usage;
    berth_snapshot_host_usage(f->snapshot, 0, &usage);
    g_assert_cmpuint(usage.workloads, ==, 0);
    assert_calm(f, &goal);
}

static void
test_stuck(void)
{
    g_autoptr(Fleet) f = new_fleet();
    add_host(f, 16, 16384);
    add_host(f, 16, 4096);
    guint big = add_workload(f, 0, 2, 8192, NULL);
    guint fixed = add_workload(f, 0, 1, 512, NULL);
    add_workload(f, 0, 1, 512, NULL);
    f->movable[fixed].fixed = "machine type microvm";
    guint32 host = 0;
    BerthRebalanceGoal goal = {.forbidden = &host, .n_forbidden = 1};
    g_autoptr(BerthRebalance) plan = plan_fleet(f, &goal);
    g_assert_cmpuint(plan->moves->len, ==, 1);
    g_assert_cmpuint(plan->stuck->len, ==, 2);
    g_assert_cmpuint(stuck_at(plan, 0)->workload, ==, big);
    g_assert_nonnull(strstr(stuck_at(plan, 0)->why, "memory"));
    g_assert_cmpuint(stuck_at(plan, 1)->workload, ==, fixed);
    g_assert_nonnull(strstr(stuck_at(plan, 1)->why, "microvm"));
}

static void
test_make_room(void)
{
    g_autoptr(Fleet) f = new_fleet();
    add_host(f, 16, 16384);
    add_host(f, 16, 16384);
    add_host(f, 16, 4096);
    add_workload(f, 0, 2, 14000, NULL);
    guint small = add_workload(f, 1, 1, 3000, NULL);
    guint32 host = 0;
    BerthRebalanceGoal goal = {.forbidden = &host, .n_forbidden = 1, .repair_only = TRUE};
    g_autoptr(BerthRebalance) plan = plan_fleet(f, &goal);
    g_assert_cmpuint(plan->moves->len, ==, 2);
    g_assert_cmpuint(move_at(plan, 0)->workload, ==, small);
    g_assert_cmpstr(berth_move_reason_name(move_at(plan, 0)->reason), ==, "make-room");
    g_assert_cmpuint(plan->stuck->len, ==, 0);
    apply(f, plan);
    g_assert_cmpuint(f->at[0], ==, 1);
    assert_calm(f, &goal);
}

static void
test_mends_rules(void)
{
    g_autoptr(Fleet) f = new_fleet();
    add_host(f, 16, 16384);
    add_host(f, 16, 16384);
    add_workload(f, 0, 2, 2048, "db");
    add_workload(f, 0, 2, 2048, "db");
    BerthRebalanceGoal goal = {.repair_only = TRUE};
    g_autoptr(BerthRebalance) plan = plan_fleet(f, &goal);
    g_assert_cmpuint(plan->moves->len, ==, 1);
    g_assert_cmpstr(berth_move_reason_name(move_at(plan, 0)->reason), ==, "rule");
    apply(f, plan);
    g_assert_false(has_rival(f, 0, f->at[0]));
    assert_calm(f, &goal);
}

/* The one that is quick to copy goes, though both would help. */
static void
test_prefers_cheap_copies(void)
{
    g_autoptr(Fleet) f = new_fleet();
    add_host(f, 16, 65536);
    add_host(f, 16, 65536);
    guint busy = add_workload(f, 0, 4, 32000, NULL);
    guint idle = add_workload(f, 0, 4, 32000, NULL);
    f->movable[busy].dirty_mib_s = 800;
    BerthRebalanceGoal goal = {0};
    g_autoptr(BerthRebalance) plan = plan_fleet(f, &goal);
    g_assert_cmpuint(plan->moves->len, ==, 1);
    g_assert_cmpuint(move_at(plan, 0)->workload, ==, idle);
    g_assert_cmpfloat(plan->cost_after + plan->copy_s, <, plan->cost_before);
    g_assert_cmpfloat(ABS(move_at(plan, 0)->copy_s - 32.0 / 0.95), <, 0.1);
}

static void
test_moves_max(void)
{
    g_autoptr(Fleet) f = new_fleet();
    add_host(f, 16, 16384);
    add_host(f, 16, 16384);
    for (guint i = 0; i < 5; i++) {
        add_workload(f, 0, 1, 1024, NULL);
    }
    guint32 host = 0;
    BerthRebalanceGoal goal = {.forbidden = &host, .n_forbidden = 1, .moves_max = 2};
    g_autoptr(BerthRebalance) plan = plan_fleet(f, &goal);
    g_assert_cmpuint(plan->moves->len, ==, 2);
    g_assert_cmpuint(plan->stuck->len, ==, 3);
}

static guint
below(BerthRandom *random, guint bound)
{
    return (guint)berth_random_below(random, bound);
}

static Fleet *
random_fleet(BerthRandom *random)
{
    Fleet *f = new_fleet();
    guint hosts = 2 + below(random, 9), workloads = below(random, WORKLOADS_MAX);
    for (guint i = 0; i < hosts; i++) {
        add_host(f, 8 << below(random, 3), (gint64)16384 << below(random, 3));
    }
    for (guint i = 0; i < workloads; i++) {
        guint group = below(random, 12);
        guint w = add_workload(f, below(random, hosts), 1 + below(random, 8),
                               512 << below(random, 6), group < 5 ? groups[group] : NULL);
        f->movable[w].fixed = below(random, 20) == 0 ? "a reason" : NULL;
        f->movable[w].dirty_mib_s = below(random, 1200);
        f->movable[w].local_disk_mib = below(random, 4) == 0 ? below(random, 50000) : 0;
    }
    return f;
}

static guint
count_rivals(const Fleet *f)
{
    guint rivals = 0;
    for (guint w = 0; w < f->workloads; w++) {
        rivals += has_rival(f, w, f->at[w]);
    }
    return rivals;
}

static void
assert_same_usage(const Fleet *f, const BerthUsage *before)
{
    for (guint h = 0; h < f->hosts; h++) {
        BerthUsage now;
        berth_snapshot_host_usage(f->snapshot, h, &now);
        g_assert_cmpmem(&now, sizeof now, &before[h], sizeof now);
    }
}

/* Who is still on a host to be emptied is named with a reason. */
static void
assert_drained_or_stuck(const Fleet *f, const BerthRebalance *plan, guint host)
{
    for (guint w = 0; w < f->workloads; w++) {
        gboolean named = FALSE;
        for (guint i = 0; i < plan->stuck->len; i++) {
            named |= stuck_at(plan, i)->workload == w && *stuck_at(plan, i)->why != '\0';
        }
        g_assert_true(f->at[w] != host || named);
    }
}

static guint
try_random_fleet(BerthRandom *random)
{
    g_autoptr(Fleet) f = random_fleet(random);
    guint32 host = below(random, f->hosts);
    BerthRebalanceGoal goal = {
        .forbidden = &host, .n_forbidden = below(random, 2), .repair_only = below(random, 3) == 0};
    BerthUsage before[HOSTS_MAX];
    for (guint h = 0; h < f->hosts; h++) {
        berth_snapshot_host_usage(f->snapshot, h, &before[h]);
    }
    guint rivals = count_rivals(f);
    g_autoptr(BerthRebalance) plan = plan_fleet(f, &goal);
    assert_same_usage(f, before);
    apply(f, plan);
    g_assert_cmpuint(count_rivals(f), <=, rivals);
    if (goal.n_forbidden > 0) {
        assert_drained_or_stuck(f, plan, host);
    }
    assert_calm(f, &goal);
    return plan->moves->len;
}

static guint64
number_of(const char *variable, guint64 fallback)
{
    const char *text = g_getenv(variable);
    return text == NULL ? fallback : g_ascii_strtoull(text, NULL, 10);
}

/* BERTH_REBALANCE_FLEETS and BERTH_SEED choose another run. */
static void
test_random_fleets(void)
{
    guint64 fleets = number_of("BERTH_REBALANCE_FLEETS", 150), first = number_of("BERTH_SEED", 1);
    guint moves = 0;
    for (guint64 seed = first; seed < first + fleets; seed++) {
        BerthSeededRandom seeded;
        berth_seeded_random_init(&seeded, seed);
        g_test_message("BERTH_SEED=%" G_GUINT64_FORMAT, seed);
        moves += try_random_fleet(&seeded.base);
    }
    g_test_message("%u moves", moves);
    g_assert_true(fleets < 100 || moves > 2 * fleets);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/sched/rebalance/drain-empties-the-host", test_drain);
    g_test_add_func("/sched/rebalance/drain-says-who-cannot-move-and-why", test_stuck);
    g_test_add_func("/sched/rebalance/makes-room-when-nothing-else-helps", test_make_room);
    g_test_add_func("/sched/rebalance/mends-a-broken-rule", test_mends_rules);
    g_test_add_func("/sched/rebalance/prefers-what-is-quick-to-copy", test_prefers_cheap_copies);
    g_test_add_func("/sched/rebalance/keeps-to-the-most-moves", test_moves_max);
    g_test_add_func("/sched/rebalance/every-step-is-allowed-and-the-second-run-proposes-nothing",
                    test_random_fleets);
    return g_test_run();
}
