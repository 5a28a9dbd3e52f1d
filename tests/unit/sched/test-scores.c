/* Each score prefers what it says it prefers. */
#include <math.h>

#include "fixture.h"
#include "sched/fleet.h"
#include "sched/forecast.h"
#include "sched/mix.h"

static guint32
add_plain(BerthSnapshot *s, const char *name, gint64 vcpus, gint64 gib)
{
    BerthHost host = {.name = name,
                      .cpu_millis = vcpus * 1000,
                      .memory_mib = gib * 1024,
                      .state = BERTH_HOST_READY};
    guint32 index = BERTH_HOST_NONE;
    berth_snapshot_put_host(s, &host, &index, NULL);
    return index;
}

static guint32
pick_with(BerthSnapshot *s, const BerthRequest *r, const char *policy)
{
    BerthDecision decision;
    g_assert_true(berth_pick(s, r, berth_policy_find(policy), &decision));
    return decision.placement.host;
}

static void
test_room_keeps_the_big_hole_whole(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    guint32 big = add_plain(s, "big", 16, 32), small = add_plain(s, "small", 10, 20);
    BerthRequest large = {.cpu_millis = 16000, .memory_mib = 32768, .numa = BERTH_NUMA_ONE};
    BerthRequest tiny = {.cpu_millis = 2000, .memory_mib = 4096, .numa = BERTH_NUMA_ONE};
    for (guint i = 0; i < 10; i++) {
        berth_snapshot_observe(s, &large);
        berth_snapshot_observe(s, &tiny);
    }
    g_assert_cmpuint(big, <, small); /* so that first fit would take the big one */
    g_assert_cmpuint(pick_with(s, &tiny, "default"), ==, small);
    g_assert_cmpuint(pick_with(s, &tiny, "first-fit"), ==, big);
}

/* Hosts of so many devices of one model. */
static guint32
add_with_devices(BerthSnapshot *s, const char *name, gint64 vcpus, const char *model, guint n)
{
    BerthHostDevice devices[8];
    for (guint i = 0; i < n; i++) {
        devices[i] = (BerthHostDevice){.kind = "gpu",
                                       .model = model,
                                       .cell = BERTH_CELL_NONE,
                                       .iommu_group = -1,
                                       .shareable = TRUE};
    }
    BerthHost host = {.name = name,
                      .cpu_millis = vcpus * 1000,
                      .memory_mib = 1024 * 1024,
                      .devices = devices,
                      .n_devices = n,
                      .state = BERTH_HOST_READY};
    guint32 index = BERTH_HOST_NONE;
    g_assert_true(berth_snapshot_put_host(s, &host, &index, NULL));
    return index;
}

static BerthRequest
device_request(const BerthDeviceNeed *need, gint64 vcpus)
{
    return (BerthRequest){
        .cpu_millis = vcpus * 1000, .memory_mib = 1024, .devices = need, .n_devices = 1};
}

/* What is lost with all the CPU of @host: what it and its devices are worth. */
static double
worth_of(BerthSnapshot *s, guint32 host)
{
    BerthRequest all = {.cpu_millis = s->cpu_free[host]};
    BerthPlacement way = {.host = host, .cells = {BERTH_CELL_NONE, BERTH_CELL_NONE}};
    double cost;
    g_auto(BerthAsk) ask = {0};
    berth_ask_init(&ask, s, &all);
    berth_room_costs(&ask, host, &way, 1, &cost);
    return cost;
}

static void
test_room_is_worth_what_can_be_used_of_it(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    guint32 few = add_with_devices(s, "few", 8, "A", 1);
    guint32 one = add_with_devices(s, "one", 12, "A", 1);
    guint32 two = add_with_devices(s, "two", 24, "A", 2);
    BerthDeviceNeed half = {"gpu", NULL, 0, 1, 500};
    BerthRequest little = device_request(&half, 4), much = device_request(&half, 12);
    for (guint i = 0; i < 10; i++) {
        berth_snapshot_observe(s, &little);
        berth_snapshot_observe(s, &much);
    }
    g_assert_true(berth_mix_refresh(s->mix, s));
    g_assert_cmpfloat(worth_of(s, few), >, 0);
    g_assert_cmpfloat(worth_of(s, one), >, worth_of(s, few));
    /* as many of each fit in "two" as in two of "one", but only together they can hold 4 + 12 */
    g_assert_cmpfloat(worth_of(s, two), >, 2 * worth_of(s, one));
}

static void
test_room_spares_devices_that_are_asked_for_by_name(void)
{
    static const char *const names[] = {"A"};
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    for (guint i = 0; i < 40; i++) { /* of little CPU: where little requests would fit best */
        g_autofree char *name = g_strdup_printf("h%u", i);
        add_with_devices(s, name, i < 4 ? 8 : 64, i < 4 ? "A" : "B", 4);
    }
    BerthDeviceNeed any = {"gpu", NULL, 0, 1, 1000}, named = {"gpu", names, 1, 1, 1000};
    BerthRequest little = device_request(&any, 2), much = device_request(&any, 16);
    BerthRequest bound = device_request(&named, 2);
    for (guint i = 0; i < 100; i++) {
        berth_snapshot_observe(s, i % 8 == 0 ? &bound : i % 2 == 0 ? &little : &much);
    }
    g_assert_cmpuint(pick_with(s, &little, "default"), >=, 4);
}

static guint32
add_with_cells(BerthSnapshot *s, const char *name, gint64 first_vcpus, gint64 second_vcpus)
{
    BerthHostCell cells[2] = {{.cpu_millis = first_vcpus * 1000, .memory_mib = 64 * 1024},
                              {.cpu_millis = second_vcpus * 1000, .memory_mib = 64 * 1024}};
    BerthHost host = {.name = name,
                      .cpu_millis = (first_vcpus + second_vcpus) * 1000,
                      .memory_mib = 128 * 1024,
                      .cells = cells,
                      .n_cells = 2,
                      .state = BERTH_HOST_READY};
    guint32 index = BERTH_HOST_NONE;
    g_assert_true(berth_snapshot_put_host(s, &host, &index, NULL));
    return index;
}

/* What a request of 4 vCPUs in one cell costs there at least, and what it does in the first cell. */
static double
cost_in_first_cell(BerthSnapshot *s, guint32 host, float *least)
{
    BerthRequest four = {.cpu_millis = 4000, .memory_mib = 1024, .numa = BERTH_NUMA_ONE};
    BerthPlacement way = {.host = host, .cells = {0, BERTH_CELL_NONE}};
    double cost;
    g_auto(BerthAsk) ask = {0};
    berth_ask_init(&ask, s, &four);
    berth_room_costs(&ask, host, &way, 1, &cost);
    berth_room_least_costs(&ask, &host, 1, least);
    return cost;
}

/* No host has room for the large kind, which takes 16 vCPUs of each of two cells; the nearer one comes to
 * it, the more room lost there costs, by the eighth power of the second cell's share. */
static void
test_room_of_a_host_that_nearly_fits_two_cells_costs_more(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    guint32 near = add_with_cells(s, "near", 15, 30), far = add_with_cells(s, "far", 10, 30);
    guint32 none = add_with_cells(s, "none", 6, 30);
    BerthRequest large = {.cpu_millis = 32000, .memory_mib = 4096, .numa = BERTH_NUMA_TWO};
    for (guint i = 0; i < 20; i++) {
        berth_snapshot_observe(s, &large);
    }
    g_assert_true(berth_mix_refresh(s->mix, s));
    float least[3];
    double of_near = cost_in_first_cell(s, near, &least[0]);
    double of_far = cost_in_first_cell(s, far, &least[1]);
    double of_none = cost_in_first_cell(s, none, &least[2]);
    double near_share = pow(15 / 16.0, 8) - pow(11 / 16.0, 8);
    double far_share = pow(10 / 16.0, 8) - pow(6 / 16.0, 8);
    g_assert_cmpfloat(of_near, >, of_far);
    g_assert_cmpfloat(of_far, >, of_none);
    g_assert_cmpfloat_with_epsilon(of_near * far_share, of_far * near_share, 1e-6 * of_near);
    /* what is said without looking at the ways is never more: here the second cell costs nothing */
    for (guint i = 0; i < 3; i++) {
        g_assert_cmpfloat(least[i], <=, 0);
        g_assert_cmpfloat(least[i], >, -1e-2);
    }
    /* nobody waits for them once many others have room */
    for (guint i = 0; i < 101; i++) {
        g_autofree char *name = g_strdup_printf("roomy%u", i);
        add_with_cells(s, name, 16, 16);
    }
    g_assert_true(berth_mix_refresh(s->mix, s));
    g_assert_cmpfloat(cost_in_first_cell(s, near, &least[0]), ==, 0);
}

static void
test_room_fills_devices_before_it_breaks_a_whole_one(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    fixture_add(s, "h1");
    guint32 h2 = fixture_add(s, "h2");
    BerthDeviceNeed slice = {"gpu", NULL, 0, 1, 500}, whole = {"gpu", NULL, 0, 1, 1000};
    BerthRequest part = fixture_request(), all = fixture_request();
    part.devices = &slice;
    part.n_devices = 1;
    all.devices = &whole;
    all.n_devices = 1;
    for (guint i = 0; i < 10; i++) {
        berth_snapshot_observe(s, &part);
        berth_snapshot_observe(s, &all);
    }
    berth_snapshot_charge_on(s, &part, h2);
    BerthDecision decision;
    g_assert_true(berth_pick(s, &part, NULL, &decision));
    g_assert_cmpuint(decision.placement.host, ==, h2);
    g_assert_cmpuint(decision.placement.devices[0], ==, 0);
}

static void
test_image_prefers_hosts_that_have_it(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    add_plain(s, "h1", 8, 16);
    guint32 h2 = add_plain(s, "h2", 8, 16);
    BerthRequest r = fixture_request();
    r.image = "sha256:1";
    berth_snapshot_set_image(s, h2, "sha256:1", TRUE);
    g_assert_cmpuint(pick_with(s, &r, "default"), ==, h2);
    berth_snapshot_set_image(s, h2, "sha256:1", FALSE);
    g_assert_cmpuint(pick_with(s, &r, "default"), ==, 0);
}

static void
test_avoid_prefers_hosts_without_the_taint(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    BerthTaint taint = {"old", NULL, BERTH_TAINT_AVOID};
    BerthHost host = fixture_host("h1");
    host.taints = &taint;
    host.n_taints = 1;
    berth_snapshot_put_host(s, &host, NULL, NULL);
    guint32 h2 = fixture_add(s, "h2");
    BerthRequest r = fixture_request();
    g_assert_cmpuint(pick_with(s, &r, "default"), ==, h2);
}

static void
test_wish_prefers_what_is_wanted(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    add_plain(s, "h1", 8, 16);
    BerthHost host = fixture_host("h2");
    guint32 h2 = BERTH_HOST_NONE;
    berth_snapshot_put_host(s, &host, &h2, NULL);
    BerthExpression wanted = {"disk", BERTH_OPERATOR_EXISTS, NULL, 0, 10};
    BerthRequest r = fixture_request();
    r.selectors = &wanted;
    r.n_selectors = 1;
    g_assert_cmpuint(pick_with(s, &r, "default"), ==, h2);
    BerthRelation near = {.kind = BERTH_RELATION_TOGETHER, .group = "db", .weight = 100};
    BerthRequest db = fixture_request();
    db.group = "db";
    berth_snapshot_charge_on(s, &db, 0);
    r.relations = &near;
    r.n_relations = 1;
    g_assert_cmpuint(pick_with(s, &r, "default"), ==, 0);
}

static void
test_best_fit_fills_the_fullest(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    add_plain(s, "h1", 8, 16);
    guint32 h2 = add_plain(s, "h2", 8, 16);
    BerthRequest r = fixture_request();
    berth_snapshot_charge_on(s, &r, h2);
    g_assert_cmpuint(pick_with(s, &r, "best-fit"), ==, h2);
}

static void
test_balance_fit_evens_out_cells(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    fixture_add(s, "h1");
    guint32 h2 = fixture_add(s, "h2");
    BerthRequest r = fixture_request();
    r.numa = BERTH_NUMA_ONE;
    berth_snapshot_charge_on(s, &r, h2);
    BerthDecision decision;
    g_assert_true(berth_pick(s, &r, berth_policy_find("balance-fit"), &decision));
    g_assert_cmpuint(decision.placement.host, ==, h2);
    g_assert_cmpuint(decision.placement.cells[0], ==, 1);
}

static void
test_dot_product_spares_what_points_the_same_way(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    guint32 h1 = add_plain(s, "h1", 8, 16), h2 = add_plain(s, "h2", 8, 16);
    BerthRequest cpu = {.cpu_millis = 4000, .memory_mib = 1024};
    berth_snapshot_charge_on(s, &cpu, h2);
    g_assert_cmpuint(pick_with(s, &cpu, "dot-product"), ==, h2);
    g_assert_cmpuint(h1, <, h2);
}

static void
test_fgd_leaves_devices_usable(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    fixture_add(s, "h1");
    guint32 h2 = fixture_add(s, "h2");
    BerthDeviceNeed slice = {"gpu", NULL, 0, 1, 500}, whole = {"gpu", NULL, 0, 1, 1000};
    BerthRequest part = fixture_request(), all = fixture_request();
    part.devices = &slice;
    all.devices = &whole;
    part.n_devices = all.n_devices = 1;
    for (guint i = 0; i < 10; i++) {
        berth_snapshot_observe(s, &part);
        berth_snapshot_observe(s, &all);
    }
    berth_snapshot_charge_on(s, &part, h2);
    g_assert_cmpuint(pick_with(s, &part, "fgd"), ==, h2);
}

/* Two cells; the first GPU is of the second one, the next of the first, and so on. */
static guint32
add_celled(BerthSnapshot *s, const char *name, guint gpus)
{
    static const BerthHostCell cells[2] = {{.cpu_millis = 8000, .memory_mib = 32768},
                                           {.cpu_millis = 8000, .memory_mib = 32768}};
    BerthHostDevice devices[8];
    for (guint i = 0; i < gpus; i++) {
        devices[i] = (BerthHostDevice){
            .kind = "gpu", .cell = (guint8)(1 - i % 2), .iommu_group = -1, .shareable = TRUE};
    }
    BerthHost host = {.name = name,
                      .cpu_millis = 16000,
                      .memory_mib = 65536,
                      .cells = cells,
                      .n_cells = 2,
                      .devices = devices,
                      .n_devices = gpus,
                      .state = BERTH_HOST_READY};
    guint32 index = BERTH_HOST_NONE;
    g_assert_true(berth_snapshot_put_host(s, &host, &index, NULL));
    return index;
}

static void
test_near_binds_to_the_cells_of_devices(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    guint32 h1 = add_celled(s, "h1", 4);
    BerthDeviceNeed gpu = {.kind = "gpu", .count = 1, .millis = 1000};
    BerthRequest r = {.cpu_millis = 6000,
                      .memory_mib = 1024,
                      .numa = BERTH_NUMA_ONE,
                      .devices = &gpu,
                      .n_devices = 1};
    BerthRequest plain = {.cpu_millis = 6000, .memory_mib = 1024, .numa = BERTH_NUMA_ONE};
    BerthDecision decision;
    /* Only the second cell has room, and the second GPU is of the first one. */
    BerthPlacement first = {.host = h1, .cells = {0, BERTH_CELL_NONE}};
    berth_snapshot_charge(s, &plain, &first);
    g_assert_true(berth_pick_and_charge(s, &r, NULL, &decision, NULL));
    g_assert_cmpuint(decision.placement.cells[0], ==, 1);
    g_assert_cmpuint(decision.placement.devices[0], ==, 0);
    /* Nothing is near on the host that has room; it is taken all the same, but not where another host is better. */
    r.cpu_millis = 2000;
    gpu.count = 2;
    g_assert_true(berth_pick(s, &r, NULL, &decision));
    g_assert_cmpuint(decision.placement.cells[0], ==, 0);
    g_assert_cmpuint(decision.placement.devices[0], ==, 1);
    g_assert_cmpuint(decision.placement.devices[1], ==, 3);
    gpu.count = 3;
    g_assert_true(berth_pick(s, &r, NULL, &decision));
    guint32 h2 = add_celled(s, "h2", 8);
    g_assert_true(berth_pick(s, &r, NULL, &decision));
    g_assert_cmpuint(decision.placement.host, ==, h2);
}

/* Random requests: the index, which has bounds for all ways of placing, answers as a scan. */
static void
test_near_is_the_same_by_index_and_scan(void)
{
    g_autoptr(GRand) dice = g_rand_new_with_seed(17);
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    guint placed = 0, all_near = 0;
    for (guint h = 0; h < 70; h++) {
        g_autofree char *name = g_strdup_printf("h%u", h);
        add_celled(s, name, (guint)g_rand_int_range(dice, 1, 9));
    }
    for (guint i = 0; i < 400; i++) {
        gboolean slice = g_rand_boolean(dice);
        BerthDeviceNeed gpu = {.kind = "gpu",
                               .count = slice ? 1 : (guint)g_rand_int_range(dice, 1, 3),
                               .millis = slice ? 300 : 1000};
        BerthRequest r = {.cpu_millis = 1000 * g_rand_int_range(dice, 1, 4),
                          .memory_mib = 4096,
                          .numa = (BerthNumaPolicy)g_rand_int_range(dice, 1, 4),
                          .devices = &gpu,
                          .n_devices = 1};
        BerthDecision scanned, indexed;
        gboolean found = berth_pick_naive(s, &r, NULL, &scanned);
        g_assert_cmpint(berth_pick(s, &r, NULL, &indexed), ==, found);
        g_assert_cmpmem(&scanned, sizeof(scanned), &indexed, sizeof(indexed));
        if (found) {
            const BerthPlacement *way = &indexed.placement;
            guint8 cell = berth_slots(s, way->host)[way->devices[0]].cell;
            all_near += cell == way->cells[0] || cell == way->cells[1];
            placed++;
            berth_snapshot_charge(s, &r, way);
        }
    }
    g_assert_cmpuint(placed, >, 200);
    g_assert_cmpuint(all_near * 10, >, placed * 9);
}

static void
test_every_policy_has_a_name_and_decides(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    fixture_add(s, "h1");
    BerthRequest r = fixture_request();
    for (guint i = 0; berth_policy_names()[i] != NULL; i++) {
        g_assert_cmpuint(pick_with(s, &r, berth_policy_names()[i]), ==, 0);
    }
    g_assert_null(berth_policy_find("best"));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, function) g_test_add_func("/sched/score/" path, function)
    ADD("room/keeps-the-big-hole-whole", test_room_keeps_the_big_hole_whole);
    ADD("room/is-worth-what-can-be-used-of-it", test_room_is_worth_what_can_be_used_of_it);
    ADD("room/spares-devices-that-are-asked-for-by-name",
        test_room_spares_devices_that_are_asked_for_by_name);
    ADD("room/of-a-host-that-nearly-fits-two-cells-costs-more",
        test_room_of_a_host_that_nearly_fits_two_cells_costs_more);
    ADD("room/fills-a-device-before-it-breaks-a-whole-one",
        test_room_fills_devices_before_it_breaks_a_whole_one);
    ADD("image/prefers-hosts-that-have-it", test_image_prefers_hosts_that_have_it);
    ADD("avoid/prefers-hosts-without-the-taint", test_avoid_prefers_hosts_without_the_taint);
    ADD("wish/prefers-what-is-wanted", test_wish_prefers_what_is_wanted);
    ADD("near/binds-to-the-cells-of-devices", test_near_binds_to_the_cells_of_devices);
    ADD("near/is-the-same-by-index-and-scan", test_near_is_the_same_by_index_and_scan);
    ADD("best-fit/fills-the-fullest", test_best_fit_fills_the_fullest);
    ADD("balance-fit/evens-out-cells", test_balance_fit_evens_out_cells);
    ADD("dot-product/spares-what-points-the-same-way",
        test_dot_product_spares_what_points_the_same_way);
    ADD("fgd/leaves-devices-usable", test_fgd_leaves_devices_usable);
    ADD("policy/every-one-has-a-name-and-decides", test_every_policy_has_a_name_and_decides);
    return g_test_run();
}
