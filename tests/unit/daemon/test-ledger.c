/* The ledger wakes those who wait by what happens to it, and nothing else does. */
#include "base/json.h"
#include "daemon/ledger.h"

typedef struct {
    BerthManualClock clock;
    BerthFleetLedger *ledger;
    guint woken;
} Fixture;

static void
on_woken(gpointer data)
{
    ((Fixture *)data)->woken++;
}

static BerthObject *
make(const BerthKind *kind, const char *name, const char *spec, const char *status)
{
    g_autoptr(GError) error = NULL;
    const char *project = kind->scope == BERTH_SCOPE_PROJECT ? "default" : "";
    g_autoptr(json_t) spec_json = json_loads(spec, 0, NULL);
    g_autoptr(BerthObject) object =
        berth_object_make(kind, project, name, spec_json, "2026-01-01T00:00:00Z", &error);
    g_assert_no_error(error);
    if (status == NULL) {
        return g_steal_pointer(&object);
    }
    g_autoptr(json_t) status_json = json_loads(status, 0, NULL);
    BerthObject *whole = berth_object_with_status(object, status_json, &error);
    g_assert_no_error(error);
    return whole;
}

#define HOST "{\"uri\": \"qemu+ssh://%s/system\"%s}"

static void
put_host(Fixture *f, const char *name, int memory_mib, const char *more, gboolean ready)
{
    g_autofree char *spec = g_strdup_printf(HOST, name, more);
    g_autofree char *status =
        g_strdup_printf("{\"inventory\": {\"cpus\": 4, \"memory_mib\": %d, \"arch\": \"x86_64\", "
                        "\"machine_types\": [\"q35\", \"microvm\"], \"pool_mib\": 1000}}",
                        memory_mib);
    g_autoptr(BerthObject) host = make(&berth_kind_host, name, spec, status);
    g_autoptr(GError) error = NULL;
    g_assert_true(berth_ledger_put_host(f->ledger, host, ready, NULL, &error));
    g_assert_no_error(error);
}

static BerthObject *
make_pod(const char *name, int memory_mib, int priority)
{
    g_autofree char *spec =
        g_strdup_printf("{\"memory_mib\": %d, \"priority\": %d, \"containers\": [{\"name\": "
                        "\"main\", \"image\": \"hello\"}]}",
                        memory_mib, priority);
    return make(&berth_kind_pod, name, spec, NULL);
}

static void
set_up(Fixture *f, gconstpointer unused)
{
    berth_manual_clock_init(&f->clock, 0);
    f->ledger = berth_ledger_new(&f->clock.base);
    BerthSettingsSpec settings = {.overcommit_cpu_percent = 100, .overcommit_memory_percent = 100};
    berth_ledger_set_settings(f->ledger, &settings);
    berth_ledger_follow_line(f->ledger, on_woken, f);
}

static void
tear_down(Fixture *f, gconstpointer unused)
{
    berth_ledger_free(f->ledger);
}

/* The next one's turn: whether it found a place. */
static gboolean
try(Fixture *f, BerthObject *pod)
{
    BerthNeeds needs = {0};
    g_autofree char *host = NULL;
    g_autoptr(json_t) why = NULL;
    g_autoptr(GError) error = NULL;
    g_assert_cmpstr(berth_ledger_next(f->ledger), ==, pod->uid);
    gboolean placed = berth_ledger_place(f->ledger, pod, &needs, NULL, &host, &why, &error);
    if (placed) {
        berth_ledger_leave(f->ledger, pod->uid);
    }
    return placed;
}

static void
let_backoff_pass(Fixture *f)
{
    berth_manual_clock_advance(&f->clock, 60 * G_USEC_PER_SEC);
}

/* One that waits for memory, its back-off over, and nobody told. */
static void
park(Fixture *f, BerthObject *pod)
{
    berth_ledger_join(f->ledger, pod);
    g_assert_false(try(f, pod));
    let_backoff_pass(f);
    g_assert_null(berth_ledger_next(f->ledger));
    f->woken = 0;
}

static void
test_released_capacity_wakes(Fixture *f, gconstpointer unused)
{
    g_autoptr(BerthObject) first = make_pod("first", 600, 0), second = make_pod("second", 600, 0);
    put_host(f, "h1", 1000, "", TRUE);
    berth_ledger_join(f->ledger, first);
    g_assert_true(try(f, first));
    park(f, second);
    put_host(f, "h1", 1000, "", TRUE);
    g_assert_cmpuint(f->woken, ==, 0); /* the same again helps nobody */
    g_assert_true(berth_ledger_release(f->ledger, first->uid));
    g_assert_cmpuint(f->woken, ==, 1);
    g_assert_true(try(f, second));
    g_assert_cmpuint(berth_ledger_waiting(f->ledger), ==, 0);
}

static void
test_what_is_taken_back_wakes_nobody(Fixture *f, gconstpointer unused)
{
    g_autoptr(BerthObject) first = make_pod("first", 600, 0), second = make_pod("second", 2000, 0);
    put_host(f, "h1", 1000, "", TRUE);
    park(f, second);
    berth_ledger_join(f->ledger, first);
    g_assert_true(try(f, first));
    f->woken = 0;
    berth_ledger_unplace(f->ledger, first->uid);
    g_assert_cmpuint(f->woken, ==, 0);
}

static void
test_hosts_wake(Fixture *f, gconstpointer unused)
{
    g_autoptr(BerthObject) pod = make_pod("pod", 600, 0);
    put_host(f, "h1", 1000, ", \"cordoned\": true", TRUE);
    park(f, pod);
    put_host(f, "h1", 1000, "", TRUE);
    g_assert_cmpuint(f->woken, ==, 1);
    g_assert_true(try(f, pod));
    berth_ledger_release(f->ledger, pod->uid);
    put_host(f, "h1", 500, "", TRUE);
    park(f, pod);
    put_host(f, "h2", 1000, "", FALSE);
    let_backoff_pass(f);
    g_assert_false(try(f, pod)); /* it has more memory, but is not ready */
    let_backoff_pass(f);
    put_host(f, "h2", 1000, "", TRUE);
    g_assert_true(try(f, pod));
}

static void
test_a_raised_quota_wakes(Fixture *f, gconstpointer unused)
{
    g_autoptr(BerthObject) pod = make_pod("pod", 600, 0);
    g_autoptr(BerthObject) low =
        make(&berth_kind_project, "default", "{\"quota_memory_mib\": 500}", NULL);
    g_autoptr(BerthObject) high =
        make(&berth_kind_project, "default", "{\"quota_memory_mib\": 5000}", NULL);
    put_host(f, "h1", 1000, "", TRUE);
    berth_ledger_set_project(f->ledger, low);
    park(f, pod);
    put_host(f, "h1", 1000, ", \"zone\": \"z\"", TRUE);
    g_assert_cmpuint(f->woken, ==, 0); /* another zone is no quota */
    berth_ledger_set_project(f->ledger, high);
    g_assert_cmpuint(f->woken, ==, 1);
    g_assert_true(try(f, pod));
}

static void
test_what_is_no_longer_reserved_wakes(Fixture *f, gconstpointer unused)
{
    static const char *const less[] = {"{\"reserved_memory_mib\": 300}", NULL};
    for (guint i = 0; i < G_N_ELEMENTS(less); i++) {
        g_autoptr(BerthObject) pod = make_pod("pod", 600, 0);
        g_autoptr(BerthObject) small = make_pod("small", 100, 0);
        g_autoptr(BerthObject) other =
            make(&berth_kind_project, "other", "{\"reserved_memory_mib\": 500}", NULL);
        put_host(f, "h1", 1000, "", TRUE);
        berth_ledger_set_project(f->ledger, other);
        park(f, pod);
        berth_ledger_join(f->ledger, small);
        f->woken = 0;
        g_assert_true(try(f, small));
        g_assert_cmpuint(f->woken, ==, 0); /* one more that is placed helps nobody */
        berth_ledger_unplace(f->ledger, small->uid);
        if (less[i] != NULL) {
            g_autoptr(BerthObject) lower = make(&berth_kind_project, "other", less[i], NULL);
            berth_ledger_set_project(f->ledger, lower);
        } else {
            berth_ledger_remove_project(f->ledger, "other");
        }
        g_assert_cmpuint(f->woken, ==, 1);
        g_assert_true(try(f, pod));
        berth_ledger_release(f->ledger, pod->uid);
    }
}

static void
test_priority_goes_first(Fixture *f, gconstpointer unused)
{
    g_autoptr(BerthObject) low = make_pod("low", 600, 0), high = make_pod("high", 600, 7);
    put_host(f, "h1", 1000, "", TRUE);
    berth_ledger_join(f->ledger, low);
    berth_ledger_join(f->ledger, high);
    g_assert_true(try(f, high));
    g_assert_false(try(f, low));
}

/* What is counted of a host is charged, told, and may be made less than is used. */
static void
test_resources_are_counted(Fixture *f, gconstpointer unused)
{
    static const char text[] = "{\"memory_mib\": 64, \"resources\": {\"tape\": 2}, \"containers\": "
                               "[{\"name\": \"main\", \"image\": \"hello\"}]}";
    g_autoptr(BerthObject) first = make(&berth_kind_pod, "first", text, NULL);
    g_autoptr(BerthObject) second = make(&berth_kind_pod, "second", text, NULL);
    g_autoptr(BerthObject) host =
        make(&berth_kind_host, "h1", "{\"uri\": \"qemu:///system\", \"resources\": {\"tape\": 1}}",
             NULL);
    put_host(f, "h1", 1000, ", \"resources\": {\"tape\": 3, \"none\": 0}", TRUE);
    berth_ledger_join(f->ledger, first);
    g_assert_true(try(f, first));
    park(f, second);
    put_host(f, "h1", 1000, ", \"resources\": {\"tape\": 4}", TRUE);
    g_assert_cmpuint(f->woken, ==, 1);
    g_assert_true(try(f, second));
    put_host(f, "h1", 1000, ", \"resources\": {\"tape\": 1}", TRUE);
    g_autoptr(json_t) told = berth_ledger_resources(f->ledger, host);
    g_autofree char *line = berth_json_format(told);
    g_assert_cmpstr(line, ==, "[{\"name\":\"tape\",\"capacity\":1,\"used\":4,\"free\":0}]");
}

/* Two cells of 2 threads and 4,096 MiB, with 512 pages of 2 MiB in the first. */
#define INVENTORY                                                                                  \
    "{\"cpus\": 4, \"machine_types\": [\"q35\"], \"memory_mib\": 8192, \"guest_cpus\": {"          \
    "\"kvm\": {\"models\": [\"EPYC\"], \"features\": [\"avx2\"]}, "                                \
    "\"tcg\": {\"models\": [\"Nehalem\"]}}, "                                                      \
    "\"cells\": ["                                                                                 \
    "{\"id\": 0, \"cpus\": 2, \"cpu_set\": \"0-1\", \"memory_mib\": 4096, \"huge_pages\": "        \
    "[{\"size_kib\": 2048, \"count\": 512}, {\"size_kib\": 1048576, \"count\": 0}]},"              \
    "{\"id\": 1, \"cpus\": 2, \"cpu_set\": \"2-3\", \"memory_mib\": 4096, \"huge_pages\": []}]}"

/* @more: of the Host's spec. */
static json_t *
put_cells(Fixture *f, const char *more)
{
    g_autofree char *spec = g_strdup_printf(HOST, "h1", more);
    g_autoptr(BerthObject) host =
        make(&berth_kind_host, "h1", spec, "{\"inventory\": " INVENTORY "}");
    g_autoptr(GError) error = NULL;
    g_assert_true(berth_ledger_put_host(f->ledger, host, TRUE, NULL, &error));
    g_autoptr(json_t) file = berth_ledger_export(f->ledger);
    return json_incref(json_array_get(json_object_get(file, "hosts"), 0));
}

static void
test_cells_and_huge_pages_are_counted(Fixture *f, gconstpointer unused)
{
    g_autoptr(json_t) whole = put_cells(f, "");
    const json_t *cells = json_object_get(whole, "cells");
    BerthCapacity capacity, used;
    g_assert_cmpuint(json_array_size(cells), ==, 2);
    const json_t *first = json_array_get(cells, 0);
    g_assert_cmpint(berth_json_integer(first, "cpu_millis", 0), ==, 2000);
    g_assert_cmpint(berth_json_integer(first, "memory_mib", 0), ==, 4096);
    g_autofree char *pages = berth_json_format(json_object_get(first, "hugepages"));
    g_assert_cmpstr(pages, ==, "[{\"key\":\"2048\",\"amount\":512}]");
    /* What is set aside for huge pages is no ordinary memory. */
    g_assert_true(berth_ledger_usage(f->ledger, "h1", &capacity, &used));
    g_assert_cmpint(capacity.memory_mib, ==, 8192 - 1024);
    g_autoptr(json_t) half = put_cells(f, ", \"limit\": {\"vcpus\": 2, \"memory_mib\": 4096}");
    const json_t *last = json_array_get(json_object_get(half, "cells"), 1);
    g_assert_cmpint(berth_json_integer(last, "cpu_millis", 0), ==, 1000);
    g_assert_cmpint(berth_json_integer(last, "memory_mib", 0), ==, 2048);
}

/* What guests can have there is what the way in which they run can give. */
static void
test_cpus_follow_the_acceleration(Fixture *f, gconstpointer unused)
{
    static const struct {
        const char *status, *model, *feature;
    } cases[] = {{"", "Nehalem", NULL},
                 {", \"acceleration\": \"tcg\"", "Nehalem", NULL},
                 {", \"acceleration\": \"kvm\"", "EPYC", "avx2"}};
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *status =
            g_strconcat("{\"inventory\": " INVENTORY, cases[i].status, "}", NULL);
        g_autoptr(BerthObject) host =
            make(&berth_kind_host, "h1", "{\"uri\": \"qemu:///system\"}", status);
        g_assert_true(berth_ledger_put_host(f->ledger, host, TRUE, NULL, NULL));
        g_autoptr(json_t) file = berth_ledger_export(f->ledger);
        const json_t *told = json_array_get(json_object_get(file, "hosts"), 0);
        const json_t *models = json_object_get(told, "cpu_models");
        const json_t *features = json_object_get(told, "cpu_features");
        g_assert_cmpuint(json_array_size(models), ==, 1);
        g_assert_cmpstr(json_string_value(json_array_get(models, 0)), ==, cases[i].model);
        g_assert_cmpstr(json_string_value(json_array_get(features, 0)), ==, cases[i].feature);
    }
}

static void
put_processor(Fixture *f, const char *name, const char *features)
{
    g_autofree char *spec = g_strdup_printf(HOST, name, "");
    g_autofree char *status = g_strdup_printf(
        "{\"acceleration\": \"kvm\", \"inventory\": {\"cpus\": 4, \"memory_mib\": 4096, "
        "\"machine_types\": [\"q35\"], \"guest_cpus\": {\"kvm\": {\"models\": [\"Nehalem\"], "
        "\"features\": [%s]}}}}",
        features);
    g_autoptr(BerthObject) host = make(&berth_kind_host, name, spec, status);
    g_assert_true(berth_ledger_put_host(f->ledger, host, TRUE, NULL, NULL));
}

/* How many leave @host when it is to be emptied of a pod whose spec has @more. */
static guint
count_leaving(Fixture *f, const char *host, const char *more)
{
    g_autofree char *spec =
        g_strdup_printf("{\"containers\": [{\"name\": \"main\", \"image\": \"hello\"}]%s}", more);
    g_autoptr(BerthObject) pod = make(&berth_kind_pod, "pod", spec, "{}");
    g_autoptr(BerthFleetLedger) copy = NULL;
    char *empty[] = {(char *)host, NULL};
    BerthRebalanceQuestion question = {
        .empty_hosts = empty, .repair_only = TRUE, .moves_max = 10, .link_mib_s = 1000};
    BerthLedgerMovable movable = {.object = pod};
    berth_ledger_charge(f->ledger, pod, &movable.needs, host);
    copy = berth_ledger_copy(f->ledger);
    g_autoptr(json_t) plan = berth_ledger_rebalance(copy, &movable, 1, &question);
    berth_ledger_release(f->ledger, pod->uid);
    return (guint)json_array_size(json_object_get(plan, "moves"));
}

/* A guest that sees all of its host's CPU moves to where all of that is, one with a model to where that is. */
static void
test_who_moves_finds_its_cpu(Fixture *f, gconstpointer unused)
{
    put_processor(f, "new", "\"aes\", \"avx2\"");
    put_processor(f, "old", "\"aes\"");
    g_assert_cmpuint(count_leaving(f, "old", ""), ==, 1);
    g_assert_cmpuint(count_leaving(f, "new", ""), ==, 0);
    g_assert_cmpuint(count_leaving(f, "new", ", \"cpu_features\": [\"aes\"]"), ==, 0);
    g_assert_cmpuint(count_leaving(f, "new", ", \"cpu_model\": \"Nehalem\""), ==, 1);
    put_processor(f, "newer", "\"aes\", \"avx2\", \"vaes\"");
    g_assert_cmpuint(count_leaving(f, "new", ""), ==, 1);
}

static BerthObject *
make_bound(const char *name, const char *placement)
{
    g_autofree char *status = g_strdup_printf("{\"host\": \"h1\"%s}", placement);
    return make(
        &berth_kind_pod, name,
        "{\"vcpus\": 2, \"memory_mib\": 512, \"numa\": \"one\", \"containers\": [{\"name\": "
        "\"main\", \"image\": \"hello\"}]}",
        status);
}

/* Where a record says which cell it has, that one is taken. */
static void
test_recorded_cells_are_charged(Fixture *f, gconstpointer unused)
{
    g_autoptr(BerthObject) placed =
        make_bound("placed", ", \"placement\": {\"cells\": [1], \"decision\": 4}");
    g_autoptr(BerthObject) next = make_bound("next", ""), last = make_bound("last", "");
    BerthNeeds needs = {0};
    g_autoptr(json_t) host = put_cells(f, ", \"limit\": {\"vcpus\": 4}");
    berth_ledger_charge(f->ledger, placed, &needs, "h1");
    g_autofree char *name = NULL, *none = NULL;
    g_autoptr(json_t) why = NULL, refusal = NULL;
    g_assert_true(berth_ledger_place(f->ledger, next, &needs, NULL, &name, &why, NULL));
    g_autofree char *cells = berth_json_format(json_object_get(why, "cells"));
    g_assert_cmpstr(cells, ==, "[0]");
    g_assert_false(berth_ledger_place(f->ledger, last, &needs, NULL, &none, &refusal, NULL));
}

static char *
cells_of(Fixture *f)
{
    g_autoptr(json_t) inventory = berth_json_parse(INVENTORY, strlen(INVENTORY), NULL);
    g_autoptr(json_t) cells = berth_ledger_cells(f->ledger, "h1", inventory);
    return cells != NULL ? berth_json_format(cells) : g_strdup("-");
}

/* A host's record says what is free in each cell, without what huge pages take of its memory. */
static void
test_cells_tell_what_is_free(Fixture *f, gconstpointer unused)
{
    g_autofree char *unknown = cells_of(f);
    g_assert_cmpstr(unknown, ==, "-");
    g_autoptr(json_t) host = put_cells(f, "");
    g_autofree char *empty = cells_of(f);
    g_assert_nonnull(strstr(empty,
                            "{\"capacity\":{\"vcpus\":2,\"memory_mib\":3072},\"free\":{\"vcpus\":"
                            "2,\"memory_mib\":3072},"));
    g_assert_nonnull(
        strstr(empty, "\"huge_pages\":[{\"size_kib\":2048,\"count\":512,\"free\":512}]"));
    g_autoptr(BerthObject) pod =
        make(&berth_kind_pod, "paged",
             "{\"vcpus\": 1, \"memory_mib\": 64, \"numa\": \"one\", \"huge_pages_kib\": 2048, "
             "\"containers\": [{\"name\": \"main\", \"image\": \"hello\"}]}",
             "{}");
    BerthNeeds needs = {0};
    g_autofree char *name = NULL;
    g_autoptr(json_t) why = NULL;
    g_assert_true(berth_ledger_place(f->ledger, pod, &needs, NULL, &name, &why, NULL));
    g_autofree char *taken = cells_of(f);
    g_assert_nonnull(strstr(taken, "\"free\":{\"vcpus\":1,"));
    g_assert_nonnull(strstr(taken, "{\"size_kib\":2048,\"count\":512,\"free\":480}"));
    g_assert_nonnull(strstr(taken, "\"free\":{\"vcpus\":2,\"memory_mib\":4096},\"huge_pages\":[]"));
}

/* What found no room in a cell when it was placed is not bound to one by a restart. */
static void
test_recorded_without_cells_is_not_bound(Fixture *f, gconstpointer unused)
{
    g_autoptr(BerthObject) placed =
        make(&berth_kind_pod, "placed",
             "{\"memory_mib\": 512, \"numa\": \"prefer-one\", \"containers\": [{\"name\": "
             "\"main\", \"image\": \"hello\"}]}",
             "{\"host\": \"h1\", \"placement\": {\"host\": \"h1\", \"decision\": 4}}");
    BerthNeeds needs = {0};
    g_autoptr(json_t) host = put_cells(f, "");
    berth_ledger_charge(f->ledger, placed, &needs, "h1");
    g_autoptr(json_t) holding = berth_ledger_holding(f->ledger, placed->uid);
    g_assert_cmpint(berth_json_integer(holding, "memory_mib", 0), ==, 512);
    g_assert_null(json_object_get(holding, "cells"));
}

static BerthObject *
make_dedicated(const char *name, int vcpus, const char *placement)
{
    g_autofree char *spec =
        g_strdup_printf("{\"vcpus\": %d, \"memory_mib\": 512, \"dedicated_cpus\": true, "
                        "\"containers\": [{\"name\": \"main\", \"image\": \"hello\"}]}",
                        vcpus);
    g_autofree char *status = g_strdup_printf("{\"host\": \"h1\"%s}", placement);
    return make(&berth_kind_pod, name, spec, status);
}

/* The numbers that were given out; "-" when it was refused. */
static char *
place_dedicated(Fixture *f, const BerthObject *pod)
{
    BerthNeeds needs = {0};
    g_autofree char *host = NULL;
    g_autoptr(json_t) why = NULL;
    return berth_ledger_place(f->ledger, pod, &needs, NULL, &host, &why, NULL)
               ? berth_json_format(json_object_get(why, "cpus"))
               : g_strdup("-");
}

static char *
dedicated_left(Fixture *f)
{
    g_autoptr(json_t) json = berth_ledger_dedicated(f->ledger, "h1");
    return g_strdup(berth_json_string(json, "free"));
}

/* The host has CPUs 0 to 3; of those it offers 5 is not one. */
static void
test_dedicated_cpus_get_numbers(Fixture *f, gconstpointer unused)
{
    g_autoptr(BerthObject) one = make_dedicated("one", 1, ""), two = make_dedicated("two", 2, "");
    g_autoptr(BerthObject) next = make_dedicated("next", 1, "");
    g_autoptr(json_t) host = put_cells(f, ", \"dedicated_cpus\": \"1-3,5\"");
    BerthCapacity capacity, used;
    g_assert_true(berth_ledger_usage(f->ledger, "h1", &capacity, &used));
    g_assert_cmpint(capacity.vcpus, ==, 1);
    g_autofree char *pair = place_dedicated(f, two), *single = place_dedicated(f, one);
    g_autofree char *none = place_dedicated(f, next), *left = dedicated_left(f);
    g_assert_cmpstr(pair, ==, "[2,3]");
    g_assert_cmpstr(single, ==, "[1]");
    g_assert_cmpstr(none, ==, "-");
    g_assert_cmpstr(left, ==, "");
    g_assert_true(berth_ledger_usage(f->ledger, "h1", &capacity, &used));
    g_assert_cmpint(used.vcpus, ==, 0);
    berth_ledger_release(f->ledger, two->uid);
    g_autofree char *again = place_dedicated(f, next);
    g_assert_cmpstr(again, ==, "[2]");
}

/* A copy gives out the same ones, and takes none from the original. */
static void
test_dedicated_cpus_of_a_plan(Fixture *f, gconstpointer unused)
{
    g_autoptr(BerthObject) one = make_dedicated("one", 1, ""), two = make_dedicated("two", 1, "");
    g_autoptr(json_t) host = put_cells(f, ", \"dedicated_cpus\": \"2-3\"");
    g_autofree char *first = place_dedicated(f, one);
    Fixture copy = {.ledger = berth_ledger_copy(f->ledger)};
    g_autofree char *planned = place_dedicated(&copy, two), *left = dedicated_left(f);
    g_assert_cmpstr(left, ==, "3");
    g_autofree char *applied = place_dedicated(f, two);
    g_assert_cmpstr(planned, ==, "[3]");
    g_assert_cmpstr(applied, ==, planned);
    berth_ledger_free(copy.ledger);
}

/* Also when the spec wants more by now: those that the record names run. */
static void
test_recorded_cpus_are_charged(Fixture *f, gconstpointer unused)
{
    g_autoptr(BerthObject) placed = make_dedicated(
        "placed", 2, ", \"placement\": {\"cells\": [1], \"cpus\": [2], \"decision\": 4}");
    g_autoptr(BerthObject) next = make_dedicated("next", 1, "");
    BerthNeeds needs = {0};
    g_autoptr(json_t) host = put_cells(f, ", \"dedicated_cpus\": \"2-3\"");
    berth_ledger_charge(f->ledger, placed, &needs, "h1");
    g_autofree char *given = place_dedicated(f, next), *left = dedicated_left(f);
    g_assert_cmpstr(given, ==, "[3]");
    g_assert_cmpstr(left, ==, "");
}

/* @devices: as an inventory lists them; the host offers all of one kind as "gpu". */
static void
put_devices(Fixture *f, const char *devices)
{
    g_autofree char *spec = g_strdup_printf(
        HOST, "h1", ", \"devices\": [{\"class\": \"gpu\", \"ids\": [\"10de:20b0\"]}]");
    g_autofree char *status =
        g_strdup_printf("{\"inventory\": {\"cpus\": 8, \"memory_mib\": 8192, \"machine_types\": "
                        "[\"q35\"], \"devices\": [%s]}}",
                        devices);
    g_autoptr(BerthObject) host = make(&berth_kind_host, "h1", spec, status);
    g_assert_true(berth_ledger_put_host(f->ledger, host, TRUE, NULL, NULL));
}

#define GPU(bus, group)                                                                            \
    "{\"address\": \"0000:" bus ":00.0\", \"vendor_id\": \"0x10de\", \"product_id\": "             \
    "\"0x20b0\", \"iommu_group\": " group ", \"numa_cell\": 0}"

static BerthObject *
make_gpu_pod(const char *name, const char *placement)
{
    g_autofree char *status = g_strdup_printf("{\"host\": \"h1\"%s}", placement);
    return make(&berth_kind_pod, name,
                "{\"devices\": [{\"class\": \"gpu\"}], "
                "\"containers\": [{\"name\": \"main\", \"image\": \"hello\"}]}",
                status);
}

/* The address that it was given; "-" when it was refused. */
static char *
place_gpu_pod(Fixture *f, const BerthObject *pod)
{
    BerthNeeds needs = {0};
    g_autofree char *host = NULL;
    g_autoptr(json_t) why = NULL;
    return berth_ledger_place(f->ledger, pod, &needs, NULL, &host, &why, NULL)
               ? g_strdup(json_string_value(json_array_get(json_object_get(why, "devices"), 0)))
               : g_strdup("-");
}

/* A host may list its devices in another order the next time, and others before them. */
static void
test_devices_stay_who_they_are(Fixture *f, gconstpointer unused)
{
    g_autoptr(BerthObject) one = make_gpu_pod("one", ""), two = make_gpu_pod("two", "");
    g_autoptr(BerthObject) three = make_gpu_pod("three", ""), four = make_gpu_pod("four", "");
    put_devices(f, GPU("41", "1") "," GPU("42", "2") "," GPU("40", "-1"));
    g_autofree char *first = place_gpu_pod(f, one);
    g_assert_cmpstr(first, ==, "0000:41:00.0");
    put_devices(f, GPU("30", "3") "," GPU("42", "2") "," GPU("41", "1"));
    g_autofree char *second = place_gpu_pod(f, two), *third = place_gpu_pod(f, three);
    g_autofree char *none = place_gpu_pod(f, four);
    g_assert_cmpstr(second, ==, "0000:42:00.0");
    g_assert_cmpstr(third, ==, "0000:30:00.0");
    g_assert_cmpstr(none, ==, "-");
    put_devices(f, GPU("42", "2")); /* the others are gone: back when they are */
    berth_ledger_release(f->ledger, one->uid);
    g_autofree char *gone = place_gpu_pod(f, four);
    g_assert_cmpstr(gone, ==, "-");
    put_devices(f, GPU("42", "2") "," GPU("41", "1"));
    g_autofree char *again = place_gpu_pod(f, four);
    g_assert_cmpstr(again, ==, "0000:41:00.0");
}

/* What is recorded is charged, with all of its IOMMU group; devices without a group are not offered. */
static void
test_recorded_devices_are_charged(Fixture *f, gconstpointer unused)
{
    g_autoptr(BerthObject) placed =
        make_gpu_pod("placed", ", \"placement\": {\"devices\": [\"0000:42:00.0\"]}");
    g_autoptr(BerthObject) next = make_gpu_pod("next", ""), last = make_gpu_pod("last", "");
    BerthNeeds needs = {0};
    put_devices(f, GPU("40", "-1") "," GPU("41", "7") "," GPU("42", "7") "," GPU("43", "8"));
    berth_ledger_charge(f->ledger, placed, &needs, "h1");
    g_autofree char *given = place_gpu_pod(f, next), *none = place_gpu_pod(f, last);
    g_assert_cmpstr(given, ==, "0000:43:00.0");
    g_assert_cmpstr(none, ==, "-");
    berth_ledger_release(f->ledger, placed->uid);
    g_autofree char *freed = place_gpu_pod(f, last);
    g_assert_cmpstr(freed, ==, "0000:41:00.0");
}

/* What is not offered after all says why. */
static void
test_offered_devices_are_told(Fixture *f, gconstpointer unused)
{
    g_autofree char *spec = g_strdup_printf(
        HOST, "h1",
        ", \"devices\": [{\"class\": \"nic\", \"pci\": [\"0000:99:00.0\", \"0000:41:00.0\"]}, "
        "{\"class\": \"gpu\", \"ids\": [\"10de:20b0\"]}]");
    g_autoptr(BerthObject) host =
        make(&berth_kind_host, "h1", spec,
             "{\"inventory\": {\"cpus\": 8, \"memory_mib\": 8192, \"machine_types\": [\"q35\"], "
             "\"devices\": [" GPU("40", "-1") "," GPU("41", "7") "," GPU("42", "7") "]}}");
    g_autoptr(BerthObject) pod = make_gpu_pod("pod", "");
    g_assert_true(berth_ledger_put_host(f->ledger, host, TRUE, NULL, NULL));
    g_autoptr(json_t) list = berth_ledger_devices(f->ledger, host);
    g_autofree char *told = berth_json_format(list);
    g_assert_cmpstr(told, ==,
                    "[{\"class\":\"nic\",\"address\":\"0000:41:00.0\",\"iommu_group\":7,"
                    "\"numa_cell\":0,\"free\":true},"
                    "{\"class\":\"gpu\",\"address\":\"0000:42:00.0\",\"iommu_group\":7,"
                    "\"numa_cell\":0,\"free\":true},"
                    "{\"class\":\"nic\",\"address\":\"0000:99:00.0\",\"problem\":"
                    "\"its libvirtd lists no such device\"},"
                    "{\"class\":\"gpu\",\"address\":\"0000:40:00.0\",\"problem\":"
                    "\"it has no IOMMU group: switch the IOMMU on, in firmware and kernel\"}]");
    g_autofree char *given = place_gpu_pod(f, pod);
    g_assert_cmpstr(given, ==, "0000:42:00.0");
    g_autoptr(json_t) then = berth_ledger_devices(f->ledger, host);
    g_assert_true(json_is_false(json_object_get(json_array_get(then, 0), "free")));
}

static void
put_files(Fixture *f, const char *name, const char *file)
{
    g_autofree char *spec = g_strdup_printf(HOST, name, "");
    g_autoptr(BerthObject) host = make(&berth_kind_host, name, spec,
                                       "{\"inventory\": {\"cpus\": 4, \"memory_mib\": 4096, "
                                       "\"machine_types\": [\"q35\"]}}");
    g_autoptr(GPtrArray) files = g_ptr_array_new();
    if (file != NULL) {
        g_ptr_array_add(files, (gpointer)file);
    }
    g_assert_true(berth_ledger_put_host(f->ledger, host, TRUE, files, NULL));
}

/* Of equal hosts, the one that has the image; a workload brings its own. */
static void
test_images_on_hosts_decide_among_equals(Fixture *f, gconstpointer unused)
{
    g_autoptr(BerthObject) pod = make_pod("pod", 128, 0), other = make_pod("other", 128, 0);
    BerthNeeds needs = {.image = "2222"};
    put_files(f, "h1", "1111");
    put_files(f, "h2", "2222");
    for (guint i = 0; i < 2; i++) {
        g_autofree char *host = NULL;
        g_autoptr(json_t) why = NULL;
        g_assert_true(berth_ledger_place(f->ledger, pod, &needs, NULL, &host, &why, NULL));
        g_assert_cmpstr(host, ==, needs.image[0] == '1' ? "h1" : "h2");
        berth_ledger_release(f->ledger, pod->uid);
        needs.image = "1111";
    }
    needs.image = "3333";
    berth_ledger_charge(f->ledger, other, &needs, "h2");
    put_files(f, "h2", "2222"); /* told before it is there */
    berth_ledger_release(f->ledger, other->uid);
    g_autofree char *host = NULL;
    g_autoptr(json_t) why = NULL;
    g_assert_true(berth_ledger_place(f->ledger, pod, &needs, NULL, &host, &why, NULL));
    g_assert_cmpstr(host, ==, "h2");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, function)                                                                        \
    g_test_add("/daemon/ledger/" path, Fixture, NULL, set_up, function, tear_down)
    ADD("released-capacity-wakes", test_released_capacity_wakes);
    ADD("what-is-taken-back-wakes-nobody", test_what_is_taken_back_wakes_nobody);
    ADD("hosts-wake", test_hosts_wake);
    ADD("a-raised-quota-wakes", test_a_raised_quota_wakes);
    ADD("what-is-no-longer-reserved-wakes", test_what_is_no_longer_reserved_wakes);
    ADD("priority-goes-first", test_priority_goes_first);
    ADD("resources-are-counted", test_resources_are_counted);
    ADD("cells-and-huge-pages-are-counted", test_cells_and_huge_pages_are_counted);
    ADD("cpus-follow-the-acceleration", test_cpus_follow_the_acceleration);
    ADD("who-moves-finds-its-cpu", test_who_moves_finds_its_cpu);
    ADD("images-on-hosts-decide-among-equals", test_images_on_hosts_decide_among_equals);
    ADD("recorded-cells-are-charged", test_recorded_cells_are_charged);
    ADD("cells-tell-what-is-free", test_cells_tell_what_is_free);
    ADD("recorded-without-cells-is-not-bound", test_recorded_without_cells_is_not_bound);
    ADD("dedicated-cpus-get-numbers", test_dedicated_cpus_get_numbers);
    ADD("dedicated-cpus-of-a-plan", test_dedicated_cpus_of_a_plan);
    ADD("recorded-cpus-are-charged", test_recorded_cpus_are_charged);
    ADD("devices-stay-who-they-are", test_devices_stay_who_they_are);
    ADD("offered-devices-are-told", test_offered_devices_are_told);
    ADD("recorded-devices-are-charged", test_recorded_devices_are_charged);
    return g_test_run();
}
