/* Copies, plans, capacity, and the fleet file. */
#include "base/error.h"
#include "base/json.h"
#include "fixture.h"
#include "sched/fleet-json.h"
#include "sched/forecast.h"

static void
test_copy_decides_alike_and_stands_alone(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    fixture_add(s, "h1");
    BerthRequest r = {.uid = "a", .cpu_millis = 5000, .memory_mib = 1024};
    berth_snapshot_charge_on(s, &r, 0);
    g_autoptr(BerthSnapshot) copy = berth_snapshot_copy(s);
    r.uid = "b";
    g_assert_false(fits(copy, &r));
    g_assert_true(berth_snapshot_release(copy, "a"));
    g_assert_true(fits(copy, &r));
    g_assert_false(fits(s, &r));
}

static void
test_plan_without_a_host_and_with_one_like_it(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    guint32 h1 = fixture_add(s, "h1");
    BerthRequest r = {.cpu_millis = 8000, .memory_mib = 1024};
    BerthRequest two[] = {r, r};
    BerthDecision decisions[2];
    g_autoptr(BerthSnapshot) none =
        berth_forecast(s, &(BerthChange){.without = &h1, .n_without = 1}, decisions, two, 2, NULL);
    g_assert_false(decisions[0].placed || decisions[1].placed);
    g_autoptr(BerthSnapshot) more = berth_forecast(
        s, &(BerthChange){.add_like = &h1, .n_add_like = 1}, decisions, two, 2, NULL);
    g_assert_true(decisions[0].placed && decisions[1].placed);
    g_assert_cmpuint(berth_snapshot_host_count(s), ==, 1);
    g_assert_cmpuint(berth_capacity_like(s, &r, NULL, 10), ==, 1);
    g_assert_cmpuint(berth_capacity_like(more, &r, NULL, 10), ==, 0);
}

static void
test_fleet_file_keeps_hosts_and_requests(void)
{
    BerthHost host = fixture_host("h1");
    BerthRelation apart = {.kind = BERTH_RELATION_APART, .group = "db", .label = {"a", "b"}};
    BerthRequest r = {
        .uid = "u", .cpu_millis = 1000, .memory_mib = 5, .relations = &apart, .n_relations = 1};
    g_autoptr(json_t) json =
        berth_fleet_to_json(json_pack("[o]", berth_fleet_host_to_json(&host)),
                            json_pack("[o]", berth_fleet_request_to_json(&r, "h1")));
    g_autoptr(BerthFleetFile) file = berth_fleet_from_json(json, NULL);
    g_assert_nonnull(file);
    g_assert_cmpstr(file->placed_on[0], ==, "h1");
    g_assert_cmpstr(file->requests[0].relations[0].label.value, ==, "b");
    g_autoptr(json_t) again = berth_fleet_to_json(
        json_pack("[o]", berth_fleet_host_to_json(&file->hosts[0])),
        json_pack("[o]", berth_fleet_request_to_json(&file->requests[0], "h1")));
    g_assert_true(json_equal(json, again));
}

static void
test_fleet_file_refuses_wrong_types(void)
{
    static const char *const bad[] = {
        "{}",
        "{\"format\":\"berth-fleet-2\"}",
        "{\"format\":\"berth-fleet-1\",\"hosts\":[3],\"workloads\":[]}",
        "{\"format\":\"berth-fleet-1\",\"hosts\":[{\"name\":1}],\"workloads\":[]}",
        "{\"format\":\"berth-fleet-1\",\"hosts\":[{\"networks\":[1]}],\"workloads\":[]}",
        "{\"format\":\"berth-fleet-1\",\"hosts\":[{\"state\":4294967296}],\"workloads\":[]}"};
    for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(json_t) json = berth_json_parse(bad[i], strlen(bad[i]), NULL);
        g_assert_null(berth_fleet_from_json(json, &error));
        g_assert_error(error, BERTH_ERROR, BERTH_ERROR_INVALID);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/sched/forecast/copy-decides-alike-and-stands-alone",
                    test_copy_decides_alike_and_stands_alone);
    g_test_add_func("/sched/forecast/plan-without-a-host-and-with-one-like-it",
                    test_plan_without_a_host_and_with_one_like_it);
    g_test_add_func("/sched/fleet-file/keeps-hosts-and-requests",
                    test_fleet_file_keeps_hosts_and_requests);
    g_test_add_func("/sched/fleet-file/refuses-wrong-types", test_fleet_file_refuses_wrong_types);
    return g_test_run();
}
