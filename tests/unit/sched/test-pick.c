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
    return g_test_run();
}
