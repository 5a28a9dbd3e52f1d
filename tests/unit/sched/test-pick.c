/* Picking: fits where there is room, prefers the fuller host, answers the same every time. */
#include "sched/pick.h"

static guint32
add_host(BerthSnapshot *snapshot, const char *name, gint64 vcpus, gint64 memory_mib)
{
    BerthHost host = {.name = name,
                      .cpu_millis = vcpus * 1000,
                      .memory_mib = memory_mib,
                      .state = BERTH_HOST_READY};
    guint32 index = BERTH_HOST_NONE;
    g_assert_true(berth_snapshot_put_host(snapshot, &host, &index, NULL));
    return index;
}

static void
test_prefers_fuller_host_when_packing(void)
{
    g_autoptr(BerthSnapshot) snapshot = berth_snapshot_new();
    add_host(snapshot, "h1", 8, 16384);
    guint32 h2 = add_host(snapshot, "h2", 8, 16384);
    BerthRequest first = {.uid = "a", .cpu_millis = 2000, .memory_mib = 4096, .host = "h2"};
    BerthRequest second = {.uid = "b", .cpu_millis = 1000, .memory_mib = 1024};
    BerthDecision decision;
    g_assert_true(berth_pick_and_charge(snapshot, &first, NULL, &decision, NULL));
    g_assert_cmpuint(decision.placement.host, ==, h2);
    g_assert_true(berth_pick(snapshot, &second, NULL, &decision));
    g_assert_cmpuint(decision.placement.host, ==, h2);
}

static void
test_refuses_when_nothing_has_room(void)
{
    g_autoptr(BerthSnapshot) snapshot = berth_snapshot_new();
    add_host(snapshot, "h1", 2, 2048);
    BerthRequest big = {.cpu_millis = 1000, .memory_mib = 2000, .overhead_mib = 100};
    BerthDecision decision;
    g_assert_false(berth_pick(snapshot, &big, NULL, &decision));
    big.overhead_mib = 48;
    g_assert_true(berth_pick(snapshot, &big, NULL, &decision));
}

static void
test_release_gives_back_what_was_charged(void)
{
    g_autoptr(BerthSnapshot) snapshot = berth_snapshot_new();
    guint32 h1 = add_host(snapshot, "h1", 4, 4096);
    BerthUsage before, after;
    berth_snapshot_host_usage(snapshot, h1, &before);
    BerthRequest request = {.uid = "a", .cpu_millis = 3000, .memory_mib = 4000};
    BerthDecision decision;
    g_assert_true(berth_pick_and_charge(snapshot, &request, NULL, &decision, NULL));
    request.uid = "b";
    g_assert_false(berth_pick(snapshot, &request, NULL, &decision));
    g_assert_true(berth_snapshot_release(snapshot, "a"));
    g_assert_false(berth_snapshot_release(snapshot, "a"));
    berth_snapshot_host_usage(snapshot, h1, &after);
    g_assert_cmpmem(&before, sizeof(before), &after, sizeof(after));
    g_assert_true(berth_pick(snapshot, &request, NULL, &decision));
}

/* With the first avoiding taint one more score counts, for the hosts that did not change too. */
static void
test_avoids_a_taint_that_comes_later(void)
{
    g_autoptr(BerthSnapshot) snapshot = berth_snapshot_new();
    char name[16];
    for (guint i = 0; i < 64; i++) {
        g_snprintf(name, sizeof(name), "h%u", i);
        add_host(snapshot, name, 8, 16384);
    }
    BerthRequest most = {.uid = "a", .cpu_millis = 7000, .memory_mib = 14336, .host = "h9"};
    BerthRequest small = {.uid = "b", .cpu_millis = 1000, .memory_mib = 1024};
    BerthDecision decision;
    g_assert_true(berth_pick_and_charge(snapshot, &most, NULL, &decision, NULL));
    g_assert_true(berth_pick(snapshot, &small, NULL, &decision));
    g_assert_cmpuint(decision.placement.host, ==, 9);
    BerthTaint taint = {"worn", NULL, BERTH_TAINT_AVOID};
    BerthHost tainted = {.name = "h9",
                         .cpu_millis = 8000,
                         .memory_mib = 16384,
                         .taints = &taint,
                         .n_taints = 1,
                         .state = BERTH_HOST_READY};
    g_assert_true(berth_snapshot_put_host(snapshot, &tainted, NULL, NULL));
    g_assert_true(berth_pick(snapshot, &small, NULL, &decision));
    g_assert_cmpuint(decision.placement.host, ==, 0);
    tainted.n_taints = 0;
    g_assert_true(berth_snapshot_put_host(snapshot, &tainted, NULL, NULL));
    g_assert_true(berth_pick(snapshot, &small, NULL, &decision));
    g_assert_cmpuint(decision.placement.host, ==, 9);
}

/* Many hosts, so that they are ranked together, one with facts of its own that is gone. */
static void
test_hosts_that_were_removed_have_no_rank(void)
{
    g_autoptr(BerthSnapshot) snapshot = berth_snapshot_new();
    BerthTaint avoid = {"old", NULL, BERTH_TAINT_AVOID};
    guint32 last = BERTH_HOST_NONE, gone = BERTH_HOST_NONE;
    for (guint i = 0; i < 200; i++) {
        g_autofree char *name = g_strdup_printf("h%u", i);
        last = add_host(snapshot, name, 4, 4096);
    }
    BerthLabel label = {"only", "here"}, kept = {"berth/project", "p"};
    BerthHost host = {.name = "gone",
                      .cpu_millis = 64000,
                      .memory_mib = 65536,
                      .labels = &label,
                      .n_labels = 1,
                      .state = BERTH_HOST_READY};
    g_assert_true(berth_snapshot_put_host(snapshot, &host, &gone, NULL));
    g_assert_true(berth_snapshot_remove_host(snapshot, gone, NULL));
    host = (BerthHost){.name = "h0",
                       .cpu_millis = 4000,
                       .memory_mib = 4096,
                       .taints = &avoid,
                       .n_taints = 1,
                       .state = BERTH_HOST_READY};
    g_assert_true(berth_snapshot_put_host(snapshot, &host, NULL, NULL));
    BerthRequest request = {.cpu_millis = 4000, .memory_mib = 1024};
    BerthDecision decision;
    host = (BerthHost){.name = "h1", .labels = &kept, .n_labels = 1, .state = BERTH_HOST_READY};
    g_assert_true(berth_snapshot_put_host(snapshot, &host, NULL, NULL));
    for (guint i = 0; i < 199; i++) {
        g_assert_true(berth_pick_and_charge(snapshot, &request, NULL, &decision, NULL));
        g_assert_cmpuint(decision.placement.host, <=, last);
    }
    g_assert_false(berth_pick(snapshot, &request, NULL, &decision));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/sched/pick/prefers-fuller-host-when-packing",
                    test_prefers_fuller_host_when_packing);
    g_test_add_func("/sched/pick/refuses-when-nothing-has-room",
                    test_refuses_when_nothing_has_room);
    g_test_add_func("/sched/pick/release-gives-back-what-was-charged",
                    test_release_gives_back_what_was_charged);
    g_test_add_func("/sched/pick/avoids-a-taint-that-comes-later",
                    test_avoids_a_taint_that_comes_later);
    g_test_add_func("/sched/pick/hosts-that-were-removed-have-no-rank",
                    test_hosts_that_were_removed_have_no_rank);
    return g_test_run();
}
