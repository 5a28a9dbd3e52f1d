/* Explanations name the rule, the shortage and the smallest change. */
#include <string.h>

#include "base/json.h"
#include "fixture.h"
#include "sched/forecast.h"

static void
test_groups_hosts_by_reason(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    for (guint i = 0; i < 3; i++) {
        g_autofree char *name = g_strdup_printf("h%u", i);
        fixture_add(s, name);
    }
    berth_snapshot_set_state(s, 2, BERTH_HOST_READY | BERTH_HOST_CORDONED);
    BerthRequest filler = {.cpu_millis = 1000, .memory_mib = 10000};
    berth_snapshot_charge_on(s, &filler, 0);
    filler.memory_mib = 12000;
    berth_snapshot_charge_on(s, &filler, 1);
    BerthRequest r = {.cpu_millis = 1000, .memory_mib = 8000};
    g_autoptr(BerthExplanation) e = berth_explain(s, &r, NULL);
    g_assert_false(e->fits);
    const BerthRefusalGroup *memory = &g_array_index(e->groups, BerthRefusalGroup, 0);
    g_assert_cmpstr(memory->code, ==, "memory");
    g_assert_cmpuint(memory->hosts, ==, 2);
    g_assert_cmpint(memory->least_short_by, ==, 8000 - (16384 - 10000));
    g_assert_cmpuint(memory->nearest, ==, 0);
    g_assert_cmpint(e->fix.kind, ==, BERTH_FIX_UNCORDON);
    g_assert_cmpuint(e->fix.host, ==, 2);
    g_autofree char *text = berth_explanation_summary(s, e);
    g_assert_nonnull(strstr(text, "2 hosts: memory short by at least 1.6 GiB"));
    g_assert_nonnull(strstr(text, "fits if h2 is uncordoned"));
}

static void
test_names_what_to_free(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    fixture_add(s, "h1");
    BerthRequest r = {.cpu_millis = 6000, .memory_mib = 1024};
    berth_snapshot_charge_on(s, &r, 0);
    g_autoptr(BerthExplanation) e = berth_explain(s, &r, NULL);
    g_assert_cmpint(e->fix.kind, ==, BERTH_FIX_FREE);
    g_assert_cmpuint(e->fix.n_amounts, ==, 1);
    g_assert_cmpstr(e->fix.amounts[0].dimension, ==, "cpu_millis");
    g_assert_cmpint(e->fix.amounts[0].amount, ==, 4000);
}

/* All that is short of one rule, not only the first, and not what another rule counts under the same name. */
static void
test_names_all_that_is_short(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    BerthHost host = fixture_host("h1");
    const BerthAmount counts[] = {{"licence", 2}, {"port", 4}, {"local", 1}};
    host.counts = counts;
    host.n_counts = 3;
    g_assert_true(berth_snapshot_put_host(s, &host, NULL, NULL));
    BerthRequest r = fixture_request();
    BerthAmount wanted[] = {{"licence", 2}, {"port", 3}};
    r.counts = wanted;
    r.n_counts = 2;
    berth_snapshot_charge_on(s, &r, 0);
    g_autoptr(BerthExplanation) e = berth_explain(s, &r, NULL);
    g_autofree char *fix = berth_explanation_fix(s, e);
    g_assert_cmpstr(fix, ==, "fits on h1 if 2 licence and 2 port were freed");
    wanted[1] = (BerthAmount){"local", 5}; /* the pool of that name has much more */
    g_autoptr(BerthExplanation) never = berth_explain(s, &r, NULL);
    g_assert_cmpint(never->fix.kind, ==, BERTH_FIX_NONE);
}

static void
test_names_all_of_a_quota(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    fixture_add(s, "h1");
    berth_snapshot_set_quota(s, "p", 500, 768, 1000, 1);
    BerthDeviceNeed gpus = {.kind = "gpu", .count = 2, .millis = 1000};
    BerthRequest r = fixture_request();
    r.devices = &gpus;
    r.n_devices = 1;
    r.project = "p";
    g_autoptr(BerthExplanation) e = berth_explain(s, &r, NULL);
    g_autofree char *fix = berth_explanation_fix(s, e);
    g_assert_cmpstr(
        fix, ==,
        "fits if the project's quota had 0.5 vCPUs and 256 MiB of memory and 1 device more");
}

static void
test_names_what_the_host_lacks(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    fixture_add(s, "h1");
    BerthRequest r = fixture_request();
    const char *const networks[] = {"dmz"};
    r.networks = networks;
    r.n_networks = 1;
    g_autoptr(BerthExplanation) e = berth_explain(s, &r, NULL);
    g_autofree char *fix = berth_explanation_fix(s, e);
    g_assert_cmpstr(fix, ==, "fits on h1 if it had network dmz");
}

static void
test_names_the_wish_to_drop(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    fixture_add(s, "h1");
    BerthRequest db = fixture_request(), r = fixture_request();
    BerthRelation apart = {.kind = BERTH_RELATION_APART, .group = "db"};
    db.group = "db";
    berth_snapshot_charge_on(s, &db, 0);
    r.relations = &apart;
    r.n_relations = 1;
    g_autoptr(BerthExplanation) e = berth_explain(s, &r, NULL);
    g_assert_cmpint(e->fix.kind, ==, BERTH_FIX_DROP_RULE);
    g_assert_cmpstr(e->fix.code, ==, "anti-affinity");
}

static void
test_asks_for_a_host_when_nothing_less_helps(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    fixture_add(s, "h1");
    BerthRelation apart = {.kind = BERTH_RELATION_APART, .group = "db"};
    BerthRequest r = {.cpu_millis = 6000, .memory_mib = 1024, .group = "db"};
    r.relations = &apart;
    r.n_relations = 1;
    berth_snapshot_charge_on(s, &r, 0);
    g_autoptr(BerthExplanation) e = berth_explain(s, &r, NULL);
    g_assert_cmpint(e->fix.kind, ==, BERTH_FIX_ADD_HOST);
    g_assert_cmpuint(berth_snapshot_host_count(s), ==, 1);
    berth_forecast_add_like(s, e->fix.host, "h2");
    g_assert_true(fits(s, &r));
}

/* Whoever left would be the one to be near: more room without it is of no use. */
static void
test_frees_none_of_those_to_be_near(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    fixture_add(s, "h1");
    fixture_add(s, "h2");
    BerthRelation near = {.kind = BERTH_RELATION_TOGETHER, .group = "db"};
    BerthRequest db = {.cpu_millis = 6000, .memory_mib = 1024, .group = "db"};
    BerthRequest small = {.cpu_millis = 1000, .memory_mib = 1024};
    BerthRequest r = {.cpu_millis = 4000, .memory_mib = 1024, .relations = &near, .n_relations = 1};
    berth_snapshot_charge_on(s, &db, 0);
    berth_snapshot_charge_on(s, &small, 0);
    g_autoptr(BerthExplanation) e = berth_explain(s, &r, NULL);
    g_assert_cmpint(e->fix.kind, ==, BERTH_FIX_DROP_RULE);
    g_assert_cmpstr(e->fix.code, ==, "affinity");
    r.cpu_millis = 2000;
    g_autoptr(BerthExplanation) less = berth_explain(s, &r, NULL);
    g_assert_cmpint(less->fix.kind, ==, BERTH_FIX_FREE);
    g_assert_cmpint(less->fix.amounts[0].amount, ==, 1000);
}

/* Room for the request alone is not enough; a host that comes back gives room to those of a lost one. */
static void
test_minds_the_loss_of_a_host(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    fixture_add(s, "h1");
    fixture_add(s, "h2");
    fixture_add(s, "h3");
    BerthRequest big = {.cpu_millis = 6000, .memory_mib = 1024, .host = "h1", .fixed = TRUE};
    BerthRequest half = {.cpu_millis = 4000, .memory_mib = 1024};
    berth_snapshot_charge_on(s, &big, 0);
    berth_snapshot_charge_on(s, &half, 1);
    berth_snapshot_set_state(s, 2, BERTH_HOST_READY | BERTH_HOST_CORDONED);
    berth_snapshot_set_survivable(s, TRUE);
    g_autoptr(BerthExplanation) e = berth_explain(s, &half, NULL);
    g_assert_cmpint(e->fix.kind, ==, BERTH_FIX_UNCORDON);
    g_assert_cmpuint(e->fix.host, ==, 2);
    g_assert_cmpuint(berth_snapshot_host_count(s), ==, 3);
    berth_snapshot_set_state(s, 2, BERTH_HOST_READY);
    g_assert_true(fits(s, &half));
}

/* What is reserved for others stays free in sum, wherever: a host of any size helps, an empty one beside an empty one, too. */
static void
test_adds_to_what_is_reserved(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    BerthHost large = {.name = "h1", .cpu_millis = 8000, .memory_mib = 8192};
    large.state = BERTH_HOST_READY;
    berth_snapshot_put_host(s, &large, NULL, NULL);
    BerthRequest r = {.cpu_millis = 1000, .memory_mib = 1024, .project = "b"};
    berth_snapshot_set_reserved(s, "a", 8000, 0);
    g_autoptr(BerthExplanation) e = berth_explain(s, &r, NULL);
    g_assert_cmpint(e->fix.kind, ==, BERTH_FIX_ADD_HOST);
    BerthHost small = {.name = "h2", .cpu_millis = 1000, .memory_mib = 512};
    small.state = BERTH_HOST_READY | BERTH_HOST_CORDONED;
    berth_snapshot_put_host(s, &small, NULL, NULL);
    g_autoptr(BerthExplanation) uncordon = berth_explain(s, &r, NULL);
    g_assert_cmpint(uncordon->fix.kind, ==, BERTH_FIX_UNCORDON);
    g_assert_cmpuint(uncordon->fix.host, ==, 1);
    berth_snapshot_set_state(s, 1, BERTH_HOST_READY);
    g_assert_true(fits(s, &r));
    r.cpu_millis = 2000;
    g_assert_false(fits(s, &r));
}

static void
test_says_nothing_helps_when_nothing_helps(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    fixture_add(s, "h1");
    fixture_add(s, "h2");
    BerthRequest r = {.cpu_millis = 64000, .memory_mib = 1024};
    g_autoptr(BerthExplanation) e = berth_explain(s, &r, NULL);
    g_assert_cmpint(e->fix.kind, ==, BERTH_FIX_NONE);
    g_autofree char *text = berth_explanation_fix(s, e);
    g_assert_cmpstr(text, ==, "needs more vCPUs than any host has: at most 8 vCPUs");
    r.host = "h3"; /* not its size alone keeps it away */
    r.cpu_millis = 1000;
    g_autoptr(BerthExplanation) nowhere = berth_explain(s, &r, NULL);
    g_autofree char *none = berth_explanation_fix(s, nowhere);
    g_assert_true(none == NULL || strstr(none, "needs more") == NULL);
}

static void
test_shows_winner_and_runner_up(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    fixture_add(s, "h1");
    fixture_add(s, "h2");
    BerthRequest r = fixture_request();
    r.image = "sha256:1";
    berth_snapshot_set_image(s, 1, "sha256:1", TRUE);
    g_autoptr(BerthExplanation) e = berth_explain(s, &r, NULL);
    g_assert_cmpuint(e->winner.host, ==, 1);
    g_assert_cmpuint(e->runner_up.host, ==, 0);
    g_assert_cmpstr(e->winner.parts[0].code, ==, "image");
    g_assert_cmpint(e->winner.parts[0].score, ==, 1000);
    g_assert_cmpint(e->runner_up.parts[0].score, ==, 0);
    g_autoptr(json_t) json = berth_explain_to_json(s, e, 1);
    g_assert_cmpstr(json_string_value(json_object_get(json_object_get(json, "winner"), "host")), ==,
                    "h2");
}

static void
test_json_has_every_host_and_the_fix(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    fixture_add(s, "h1");
    BerthRequest r = {.cpu_millis = 1000, .memory_mib = 16385};
    g_autoptr(BerthExplanation) e = berth_explain(s, &r, NULL);
    g_autoptr(json_t) json = berth_explain_to_json(s, e, 1);
    g_assert_true(json_is_false(json_object_get(json, "fits")));
    const json_t *first = json_array_get(json_object_get(json, "refusals"), 0);
    g_assert_cmpstr(json_string_value(json_object_get(first, "host")), ==, "h1");
    g_assert_cmpint(json_integer_value(json_object_get(first, "short_by")), ==, 1);
    g_assert_nonnull(json_object_get(json_object_get(json, "fix"), "kind"));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, function) g_test_add_func("/sched/explain/" path, function)
    ADD("groups-hosts-by-reason", test_groups_hosts_by_reason);
    ADD("names-what-to-free", test_names_what_to_free);
    ADD("names-all-that-is-short", test_names_all_that_is_short);
    ADD("names-all-of-a-quota", test_names_all_of_a_quota);
    ADD("names-what-the-host-lacks", test_names_what_the_host_lacks);
    ADD("names-the-wish-to-drop", test_names_the_wish_to_drop);
    ADD("asks-for-a-host-when-nothing-less-helps", test_asks_for_a_host_when_nothing_less_helps);
    ADD("frees-none-of-those-to-be-near", test_frees_none_of_those_to_be_near);
    ADD("minds-the-loss-of-a-host", test_minds_the_loss_of_a_host);
    ADD("adds-to-what-is-reserved", test_adds_to_what_is_reserved);
    ADD("says-nothing-helps-when-nothing-helps", test_says_nothing_helps_when_nothing_helps);
    ADD("shows-winner-and-runner-up", test_shows_winner_and_runner_up);
    ADD("json-has-every-host-and-the-fix", test_json_has_every_host_and_the_fix);
    return g_test_run();
}
