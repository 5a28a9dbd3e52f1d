/*
 * The reassignment search against the checker, which shares no code with it: on the subject's own
 * example, on random instances, and on the challenge's instances when their data is there.
 */
#include <glib/gstdio.h>

#include "base/error.h"
#include "base/random.h"
#include "sched/reassign-search.h"
#include "sched/reassign.h"
#include "sched/sim/reassign-check.h"
#include "sched/sim/reassign-file.h"

/* The example of the subject, section 2.1. */
static const char example[] = "2 1 100 0 10 4 "
                              "0 0 30 400 16 80 0 1 4 5 "
                              "0 0 10 240 8 160 1 0 3 4 "
                              "1 1 15 100 12 80 4 3 0 2 "
                              "1 2 10 100 8 80 5 4 2 0 "
                              "2 2 0 1 1 0 "
                              "3 0 12 10 1000 0 10 20 100 1 6 200 1 "
                              "1 0 1 20 10 1 10 100";
static const guint32 example_home[] = {0, 3, 0};

static char *
write_file(const char *text)
{
    char *path = NULL;
    gint fd = g_file_open_tmp("berth-reassign-XXXXXX", &path, NULL);
    g_assert_cmpint(fd, >=, 0);
    g_close(fd, NULL);
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
    return path;
}

static BerthReassignModel *
read_text(const char *text, GError **error)
{
    g_autofree char *path = write_file(text);
    BerthReassignModel *model = berth_reassign_file_read_model(path, error);
    g_unlink(path);
    return model;
}

static BerthReassignModel *
read_example(void)
{
    g_autoptr(GError) error = NULL;
    BerthReassignModel *model = read_text(example, &error);
    g_assert_no_error(error);
    return model;
}

static gint64
check(const BerthReassignModel *model, const guint32 *home, const guint32 *at)
{
    g_autoptr(GError) error = NULL;
    gint64 cost = -1;
    berth_reassign_check(model, home, at, &cost, &error);
    g_assert_no_error(error);
    return cost;
}

static void
test_example_costs(void)
{
    g_autoptr(BerthReassignModel) model = read_example();
    g_assert_cmpint(check(model, example_home, example_home), ==, 4200);
    g_assert_cmpint(check(model, example_home, (guint32[]){0, 2, 0}), ==, 3510);
    g_assert_cmpint(check(model, example_home, (guint32[]){0, 2, 1}), ==, 2411);
}

static void
test_example_solved(void)
{
    g_autoptr(BerthReassignModel) model = read_example();
    g_autoptr(BerthReassign) search = berth_reassign_new(model, example_home, 1);
    g_assert_cmpint(berth_reassign_cost(search), ==, 4200);
    berth_reassign_run(search, 100000);
    g_assert_cmpint(berth_reassign_cost(search), ==, 2411);
    g_assert_cmpint(check(model, example_home, berth_reassign_best(search)), ==, 2411);
}

static void
assert_refused(const BerthReassignModel *model, const guint32 *at, const char *what)
{
    g_autoptr(GError) error = NULL;
    gint64 cost;
    g_assert_false(berth_reassign_check(model, example_home, at, &cost, &error));
    g_assert_nonnull(strstr(error->message, what));
}

static void
test_checker_refuses(void)
{
    g_autoptr(BerthReassignModel) model = read_example();
    assert_refused(model, (guint32[]){1, 3, 0}, "machine 1 takes 12 of resource 0");
    assert_refused(model, (guint32[]){0, 0, 0}, "service 0 is twice on machine 0");
    assert_refused(model, (guint32[]){0, 1, 0}, "service 0 is in 1 locations");
    assert_refused(model, (guint32[]){0, 3, 9}, "process 2 is on no machine");
    model->requirement[5] = 60;
    assert_refused(model, (guint32[]){2, 3, 0}, "misses service 0");
    /* 12 units stay taken at home while process 0 is away, and 20 more would not fit in 30. */
    model->requirement[4] = 20;
    model->dependency_first[2] = 0;
    assert_refused(model, (guint32[]){2, 3, 0}, "machine 0 takes 32 of resource 0");
}

static void
test_file_refuses(void)
{
    static const char *const bad[] = {
        "",
        "2 1 100 0",
        "65",
        "1 0 10 1 0 0 5 5 0 1 0 0 x",
        "99999999999999999999",
        "-1",
        "1 0 1 1 0 0 5 5 0 1 0 1 7 0 0 0 0 0",
        "1 0 1 1 0 0 5 5 0 1 0 0 0 0 0 0 0 4",
    };
    for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_null(read_text(bad[i], &error));
        g_assert_error(error, BERTH_ERROR, BERTH_ERROR_INVALID);
    }
    g_autoptr(GError) error = NULL;
    g_assert_null(berth_reassign_file_read_model("/dev/zero", &error));
    g_assert_error(error, BERTH_ERROR, BERTH_ERROR_INVALID);
}

static guint32
dice(BerthRandom *random, guint32 low, guint32 high)
{
    return low + (guint32)berth_random_below(random, high - low + 1);
}

static void
fill_machines(BerthReassignModel *m, BerthRandom *random)
{
    m->neighbourhoods = dice(random, 1, 3);
    m->locations = dice(random, 1, 4);
    for (guint32 i = 0; i < m->machines; i++) {
        m->neighbourhood[i] = i % m->neighbourhoods;
        m->location[i] = i % m->locations;
        for (guint32 k = 0; k < m->machines; k++) {
            m->machine_move[i * m->machines + k] = i == k ? 0 : dice(random, 0, 3);
        }
        for (guint32 r = 0; r < m->resources; r++) {
            m->capacity[i * m->resources + r] = dice(random, 80, 200);
            m->safety[i * m->resources + r] = dice(random, 0, 120);
        }
    }
}

/* A random instance around a random assignment that fits: capacities grow where they must. */
static BerthReassignModel *
random_instance(BerthRandom *random, guint32 **home)
{
    guint32 services = dice(random, 3, 12), processes = dice(random, 5, 60);
    BerthReassignModel *m = berth_reassign_model_new(dice(random, 1, 5), dice(random, 2, 9),
                                                     services, services, processes, 2);
    fill_machines(m, random);
    for (guint32 r = 0; r < m->resources; r++) {
        m->transient[r] = dice(random, 0, 1) != 0;
        m->load_weight[r] = dice(random, 0, 10);
    }
    for (guint32 b = 0; b < m->balances; b++) {
        m->balance[b] = (BerthReassignBalance){dice(random, 0, m->resources - 1),
                                               dice(random, 0, m->resources - 1),
                                               dice(random, 0, 3), dice(random, 0, 9)};
    }
    m->process_move_weight = 1;
    m->service_move_weight = 10;
    m->machine_move_weight = 5;
    *home = g_new0(guint32, processes);
    g_autoptr(GHashTable) taken = g_hash_table_new(NULL, NULL);
    for (guint32 p = 0; p < processes; p++) {
        do {
            m->service[p] = dice(random, 0, services - 1);
            (*home)[p] = dice(random, 0, m->machines - 1);
        } while (!g_hash_table_add(taken, GUINT_TO_POINTER(m->service[p] * 16 + (*home)[p] + 1)) &&
                 g_hash_table_size(taken) < services * m->machines);
        if (g_hash_table_size(taken) == services * m->machines) {
            m->processes = p + 1;
        }
        m->process_move[p] = dice(random, 0, 20);
        for (guint32 r = 0; r < m->resources; r++) {
            guint32 need = dice(random, 0, 3) == 0 ? dice(random, 0, 60) : dice(random, 0, 8);
            m->requirement[p * m->resources + r] = need;
            m->capacity[(*home)[p] * m->resources + r] += need > 8 ? need : 0;
        }
        if (p + 1 >= m->processes) {
            break;
        }
    }
    return m;
}

/* Spreads as they are today, less one; dependencies that hold today. */
static void
add_relations(BerthReassignModel *m, BerthRandom *random, const guint32 *home)
{
    guint32 used = 0;
    for (guint32 s = 0; s < m->services; s++) {
        guint32 locations = 0, areas = 0;
        for (guint32 p = 0; p < m->processes; p++) {
            locations |= m->service[p] == s ? 1u << m->location[home[p]] : 0;
            areas |= m->service[p] == s ? 1u << m->neighbourhood[home[p]] : 0;
        }
        guint32 distinct = (guint32)__builtin_popcount(locations);
        m->spread_min[s] = distinct > 1 ? distinct - dice(random, 0, 1) : 0;
        m->dependency_first[s] = used;
        guint32 other = dice(random, 0, m->services - 1), others = 0;
        for (guint32 p = 0; p < m->processes; p++) {
            others |= m->service[p] == other ? 1u << m->neighbourhood[home[p]] : 0;
        }
        if (other != s && (areas & ~others) == 0) {
            m->dependency[used++] = other;
        }
    }
    m->dependency_first[m->services] = used;
}

static gboolean
home_is_allowed(const BerthReassignModel *m, const guint32 *home)
{
    gint64 cost;
    return berth_reassign_check(m, home, home, &cost, NULL);
}

static void
test_random_instances(void)
{
    BerthSeededRandom seeded;
    berth_seeded_random_init(&seeded, 20121);
    guint tried = 0, improved = 0;
    for (guint round = 0; round < 400; round++) {
        g_autofree guint32 *home = NULL;
        g_autoptr(BerthReassignModel) m = random_instance(&seeded.base, &home);
        add_relations(m, &seeded.base, home);
        if (!home_is_allowed(m, home)) {
            continue;
        }
        g_assert_true(berth_reassign_model_validate(m, home, NULL));
        g_autoptr(BerthReassign) search = berth_reassign_new(m, home, round);
        gint64 before = check(m, home, home);
        g_assert_cmpint(berth_reassign_cost(search), ==, before);
        for (guint helping = 0; helping < 4; helping++) {
            berth_reassign_run(search, 5000);
            g_assert_cmpint(check(m, home, berth_reassign_best(search)), ==,
                            berth_reassign_cost(search));
        }
        tried++;
        improved += berth_reassign_cost(search) < before;
    }
    g_test_message("%u instances, %u made cheaper", tried, improved);
    g_assert_cmpuint(tried, >, 100);
    g_assert_cmpuint(improved, >, tried / 2);
}

/* Whether the checker, too, says that capacity forbids what @draw proposes. */
static gboolean
lacks_room(const BerthReassign *search, const guint32 *home, const BerthReassignDraw *draw)
{
    const BerthReassignModel *m = search->model;
    g_autofree guint32 *at = g_memdup2(search->state->at, m->processes * sizeof *at);
    guint32 to = draw->kind == BERTH_REASSIGN_SWAP ? at[draw->other] : draw->other;
    if (draw->kind == BERTH_REASSIGN_SWAP) {
        at[draw->other] = at[draw->process];
    }
    at[draw->process] = to;
    g_autoptr(GError) error = NULL;
    gint64 cost;
    berth_reassign_check(m, home, at, &cost, &error);
    return g_error_matches(error, BERTH_ERROR, BERTH_ERROR_EXHAUSTED);
}

static gboolean
stays(const BerthReassign *search, const BerthReassignDraw *draw)
{
    const guint32 *at = search->state->at;
    guint32 to = draw->kind == BERTH_REASSIGN_SWAP ? at[draw->other] : draw->other;
    return to == at[draw->process];
}

static void
test_glance(void)
{
    BerthSeededRandom seeded;
    berth_seeded_random_init(&seeded, 3);
    guint open[2] = {0}, closed[2] = {0};
    for (guint round = 0; round < 200; round++) {
        g_autofree guint32 *home = NULL;
        g_autoptr(BerthReassignModel) m = random_instance(&seeded.base, &home);
        if (!home_is_allowed(m, home)) {
            continue;
        }
        g_autoptr(BerthReassign) search = berth_reassign_new(m, home, round);
        berth_reassign_run(search, 2000);
        for (guint i = 0; i < BERTH_REASSIGN_AHEAD; i++) {
            search->draws[i].kind = i % 2 == 0 ? BERTH_REASSIGN_SHIFT : BERTH_REASSIGN_SWAP;
            berth_reassign_draw(search, &search->draws[i]);
        }
        berth_reassign_glance(search, 0);
        for (guint i = 0; i < BERTH_REASSIGN_AHEAD; i++) {
            const BerthReassignDraw *draw = &search->draws[i];
            gboolean possible = !stays(search, draw) && !lacks_room(search, home, draw);
            g_assert_cmpint(search->open >> i & 1, ==, possible);
            open[i % 2] += possible;
            closed[i % 2] += !possible && !stays(search, draw);
        }
    }
    g_test_message("open %u and %u, without room %u and %u", open[0], open[1], closed[0],
                   closed[1]);
    g_assert_cmpuint(MIN(open[0], open[1]), >, 100);
    g_assert_cmpuint(MIN(closed[0], closed[1]), >, 100);
}

static void
test_same_seed(void)
{
    BerthSeededRandom seeded;
    berth_seeded_random_init(&seeded, 7);
    g_autofree guint32 *home = NULL;
    g_autoptr(BerthReassignModel) m = random_instance(&seeded.base, &home);
    g_autoptr(BerthReassign) whole = berth_reassign_new(m, home, 42);
    g_autoptr(BerthReassign) parts = berth_reassign_new(m, home, 42);
    berth_reassign_run(whole, 60000);
    for (guint i = 0; i < 60; i++) {
        berth_reassign_run(parts, 1000);
    }
    g_assert_cmpint(berth_reassign_cost(whole), ==, berth_reassign_cost(parts));
    g_assert_cmpmem(berth_reassign_best(whole), m->processes * sizeof *home,
                    berth_reassign_best(parts), m->processes * sizeof *home);
}

/* Small instances have short rounds: this comes by hot ones, given up or not, and by warm ones. */
static void
test_many_rounds(void)
{
    BerthSeededRandom seeded;
    berth_seeded_random_init(&seeded, 11);
    for (guint instance = 0; instance < 3; instance++) {
        g_autofree guint32 *home = NULL;
        g_autoptr(BerthReassignModel) m = random_instance(&seeded.base, &home);
        g_autoptr(BerthReassign) search = berth_reassign_new(m, home, instance);
        gint64 before = berth_reassign_cost(search);
        for (guint helping = 0; helping < 50; helping++) {
            berth_reassign_run(search, 200000);
            g_assert_cmpint(berth_reassign_cost(search), <=, before);
            before = berth_reassign_cost(search);
            g_assert_cmpint(check(m, home, berth_reassign_best(search)), ==, before);
        }
    }
}

/* Large enough to be cooled window by window, with few processes on a machine: two in three are empty. */
static BerthReassignModel *
large_instance(BerthRandom *random, guint32 **home)
{
    guint32 machines = 1100, used = machines / 3, processes = 25100, services = processes / 50;
    BerthReassignModel *m = berth_reassign_model_new(2, machines, services, services, processes, 0);
    fill_machines(m, random);
    m->transient[1] = TRUE;
    m->load_weight[0] = m->load_weight[1] = 1;
    m->process_move_weight = 1;
    for (guint32 i = 0; i < m->machines * m->resources; i++) {
        m->capacity[i] += 4000;
    }
    *home = g_new0(guint32, processes);
    for (guint32 p = 0; p < processes; p++) {
        /* Fewer of a service than machines in use, so each has one of its own. */
        m->service[p] = p % services;
        (*home)[p] = (p / services + p % services) % used;
        m->requirement[2 * p] = dice(random, 1, 20);
        m->requirement[2 * p + 1] = dice(random, 1, 10);
    }
    return m;
}

static void
test_windows(void)
{
    BerthSeededRandom seeded;
    berth_seeded_random_init(&seeded, 5);
    g_autofree guint32 *home = NULL;
    g_autoptr(BerthReassignModel) m = large_instance(&seeded.base, &home);
    add_relations(m, &seeded.base, home);
    g_assert_true(home_is_allowed(m, home));
    g_autoptr(BerthReassign) search = berth_reassign_new(m, home, 3);
    gint64 first = berth_reassign_cost(search), before = first;
    for (guint helping = 0; helping < 6; helping++) {
        berth_reassign_run(search, 4000000);
        g_assert_cmpint(berth_reassign_cost(search), <=, before);
        before = berth_reassign_cost(search);
        g_assert_cmpint(check(m, home, berth_reassign_best(search)), ==, before);
    }
    g_test_message("cost %" G_GINT64_FORMAT " of %" G_GINT64_FORMAT, before, first);
    g_assert_cmpint(before, <, first - first / 20);
}

static void
test_validate(void)
{
    g_autoptr(BerthReassignModel) m = read_example();
    g_autoptr(GError) error = NULL;
    g_assert_true(berth_reassign_model_validate(m, example_home, &error));
    g_assert_false(berth_reassign_model_validate(m, (guint32[]){0, 4, 0}, &error));
    g_assert_error(error, BERTH_ERROR, BERTH_ERROR_INVALID);
    g_clear_error(&error);
    m->load_weight[0] = G_MAXUINT32;
    m->capacity[0] = (1u << 30) - 1;
    g_assert_false(berth_reassign_model_validate(m, example_home, &error));
    g_assert_nonnull(strstr(error->message, "not exact; use larger units"));
    g_clear_error(&error);
    m->capacity[0] = 1u << 30;
    g_assert_false(berth_reassign_model_validate(m, example_home, &error));
    g_assert_nonnull(strstr(error->message, "capacities 1073741824; use larger units"));
    g_clear_error(&error);
    m->capacity[0] = 30;
    m->load_weight[0] = 1;
    g_assert_true(berth_reassign_model_validate(m, example_home, &error));
    m->balance[0].target = G_MAXUINT32 / 100;
    g_assert_false(berth_reassign_model_validate(m, example_home, &error));
    g_assert_nonnull(strstr(error->message, "requirements reach"));
}

static char *
data_path(const char *name)
{
    const char *given = g_getenv("BERTH_DATA"), *top = g_getenv("TOP_SRCDIR");
    if (given != NULL) {
        return g_build_filename(given, "roadef2012", name, NULL);
    }
    return g_build_filename(top != NULL ? top : ".", "..", "shared", "data", "roadef2012", name,
                            NULL);
}

static gboolean
unpack(const char *archive, const char *folder)
{
    const char *argv[] = {"tar", "-xf", archive, "-C", folder, NULL};
    gint status = -1;
    return g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL,
                        &status, NULL) &&
           g_spawn_check_wait_status(status, NULL);
}

/* The search's and the checker's cost of one given assignment. */
static void
assert_initial_cost(const char *folder, const char *instance, gint64 expected)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *model_name = g_strdup_printf("model_%s.txt", instance);
    g_autofree char *home_name = g_strdup_printf("assignment_%s.txt", instance);
    g_autofree char *model_path = g_build_filename(folder, model_name, NULL);
    g_autofree char *home_path = g_build_filename(folder, home_name, NULL);
    g_autoptr(BerthReassignModel) model = berth_reassign_file_read_model(model_path, &error);
    g_assert_no_error(error);
    g_autofree guint32 *home = berth_reassign_file_read_assignment(home_path, model, &error);
    g_assert_no_error(error);
    g_assert_true(berth_reassign_model_validate(model, home, &error));
    g_assert_cmpint(check(model, home, home), ==, expected);
    g_autoptr(BerthReassign) search = berth_reassign_new(model, home, 1);
    g_assert_cmpint(berth_reassign_cost(search), ==, expected);
    berth_reassign_run(search, 100000);
    g_assert_cmpint(check(model, home, berth_reassign_best(search)), ==,
                    berth_reassign_cost(search));
    g_unlink(model_path);
    g_unlink(home_path);
}

static void
test_initial_costs(void)
{
    g_autofree char *archive = data_path("instances.tar.xz"), *csv = data_path("best_known.csv");
    g_autofree char *text = NULL, *folder = g_dir_make_tmp("berth-roadef-XXXXXX", NULL);
    if (!g_file_get_contents(csv, &text, NULL, NULL) || !unpack(archive, folder)) {
        g_rmdir(folder);
        g_test_skip("no roadef2012 data; set BERTH_DATA to a folder that has it");
        return;
    }
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    guint instances = 0;
    for (char **line = lines + 1; *line != NULL && **line != '\0'; line++) {
        g_auto(GStrv) fields = g_strsplit(*line, ",", -1);
        assert_initial_cost(folder, fields[0], g_ascii_strtoll(fields[1], NULL, 10));
        instances++;
    }
    g_assert_cmpuint(instances, ==, 16);
    g_assert_cmpint(g_rmdir(folder), ==, 0);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/sched/reassign/checker-gives-the-subjects-costs", test_example_costs);
    g_test_add_func("/sched/reassign/finds-the-optimum-of-the-subjects-example",
                    test_example_solved);
    g_test_add_func("/sched/reassign/checker-refuses-each-broken-constraint", test_checker_refuses);
    g_test_add_func("/sched/reassign/files-with-nonsense-are-refused", test_file_refuses);
    g_test_add_func("/sched/reassign/validate-refuses-bad-indexes-and-inexact-costs",
                    test_validate);
    g_test_add_func("/sched/reassign/best-is-always-allowed-and-priced-right",
                    test_random_instances);
    g_test_add_func("/sched/reassign/a-glance-closes-just-the-draws-that-lack-room", test_glance);
    g_test_add_func("/sched/reassign/best-stays-allowed-and-priced-right-over-many-rounds",
                    test_many_rounds);
    g_test_add_func("/sched/reassign/best-is-allowed-and-priced-right-window-by-window",
                    test_windows);
    g_test_add_func("/sched/reassign/same-seed-same-moves-however-it-is-cut", test_same_seed);
    g_test_add_func("/sched/reassign/initial-costs-equal-the-published-ones", test_initial_costs);
    return g_test_run();
}
