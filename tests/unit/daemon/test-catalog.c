/* The catalog follows the store, and nothing else; watches miss nothing and repeat nothing. */
#include "base/error.h"
#include "base/json.h"
#include "daemon/catalog.h"
#include "daemon/watch.h"
#include "drivers/store-memory.h"

#include <string.h>

#define POD_SPEC "{\"containers\":[{\"name\":\"c\",\"image\":\"busybox\"}]}"

typedef struct {
    BerthManualClock clock;
    BerthSeededRandom random;
    BerthStore *store;
    BerthCatalog *catalog;
    BerthWatchHub *hub;
} Fixture;

static void
open_all(Fixture *f)
{
    g_autoptr(GError) error = NULL;
    f->catalog = berth_catalog_new(f->store, &f->clock.base, &f->random.base, &error);
    g_assert_no_error(error);
    f->hub = berth_watch_hub_new(f->catalog);
}

static void
set_up(Fixture *f, gconstpointer data)
{
    berth_manual_clock_init(&f->clock, (gint64)1800000000 * G_USEC_PER_SEC);
    berth_seeded_random_init(&f->random, 7);
    f->store = berth_store_memory_new();
    open_all(f);
}

/* Lets everything that waits happen: idle sources and commits, until nothing is left. */
static void
settle(Fixture *f)
{
    do {
        while (g_main_context_iteration(NULL, FALSE)) {
        }
    } while (berth_store_memory_dispatch(f->store) > 0 || g_main_context_pending(NULL));
}

static void
close_all(Fixture *f)
{
    settle(f);
    berth_watch_hub_free(f->hub);
    berth_catalog_free(f->catalog);
}

static void
tear_down(Fixture *f, gconstpointer data)
{
    close_all(f);
    berth_store_free(f->store);
}

static BerthObject *
make_pod(const char *name)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) spec = json_loads(POD_SPEC, 0, NULL);
    BerthObject *pod =
        berth_object_make(&berth_kind_pod, "default", name, spec, "2026-11-24T00:00:00Z", &error);
    g_assert_no_error(error);
    return pod;
}

static BerthObject *
store_pod(Fixture *f, const char *name)
{
    g_autoptr(BerthObject) pod = make_pod(name);
    berth_catalog_put_body(f->catalog, pod, BERTH_STORE_ABSENT, NULL, NULL);
    settle(f);
    return berth_catalog_get(f->catalog, &berth_kind_pod, "default", name);
}

static void
keep_code(gint64 revision, const GPtrArray *changes, int failed_op, const GError *error,
          gpointer data)
{
    *(int *)data = error != NULL ? error->code : -1;
}

static void
test_shows_only_what_is_committed(Fixture *f, gconstpointer data)
{
    g_autoptr(BerthObject) pod = make_pod("a");
    berth_catalog_put_body(f->catalog, pod, BERTH_STORE_ABSENT, NULL, NULL);
    g_assert_null(berth_catalog_get(f->catalog, &berth_kind_pod, "default", "a"));
    settle(f);
    g_assert_nonnull(berth_catalog_get(f->catalog, &berth_kind_pod, "default", "a"));
    g_assert_true(berth_catalog_get_uid(f->catalog, pod->uid) ==
                  berth_catalog_get_workload(f->catalog, "default", "a"));
    g_assert_cmpint(berth_catalog_revision(f->catalog), ==, 1);
}

static void
test_loads_what_was_stored(Fixture *f, gconstpointer data)
{
    store_pod(f, "b");
    store_pod(f, "a");
    close_all(f);
    open_all(f);
    g_autoptr(GPtrArray) pods = berth_catalog_list(f->catalog, &berth_kind_pod, "default");
    g_assert_cmpuint(pods->len, ==, 2);
    g_assert_cmpstr(((BerthObject *)pods->pdata[0])->name, ==, "a");
    g_assert_cmpint(berth_catalog_revision(f->catalog), ==, 2);
}

static void
test_status_of_one_turn_is_one_write(Fixture *f, gconstpointer data)
{
    BerthObject *pod = store_pod(f, "a");
    gint64 before = berth_catalog_revision(f->catalog);
    int first = 99, second = 99, third = 99;
    g_autoptr(json_t) starting = json_pack("{s:s}", "phase", "Starting");
    g_autoptr(json_t) running = json_pack("{s:s}", "phase", "Running");
    berth_catalog_put_status(f->catalog, pod, starting, keep_code, &first);
    berth_catalog_put_status(f->catalog, pod, running, keep_code, &second);
    settle(f);
    g_assert_cmpint(first, ==, -1);
    g_assert_cmpint(second, ==, -1);
    g_assert_cmpint(berth_catalog_revision(f->catalog), ==, before + 1);
    pod = berth_catalog_get(f->catalog, &berth_kind_pod, "default", "a");
    g_assert_cmpint(berth_workload_status_of(pod)->phase, ==, BERTH_PHASE_RUNNING);
    berth_catalog_put_status(f->catalog, pod, running, keep_code, &third);
    g_assert_cmpint(third, ==, 99); /* never before it returned */
    settle(f);
    g_assert_cmpint(third, ==, -1);
    g_assert_cmpint(berth_catalog_revision(f->catalog), ==, before + 1);
}

static void
put_on(Fixture *f, const char *name, const char *host, const char *displacing_on)
{
    g_autoptr(json_t) status = json_pack("{s:s, s:s*, s:{s:s*}}", "phase", "Running", "host", host,
                                         "preempting", "host", displacing_on);
    BerthObject *pod = berth_catalog_get(f->catalog, &berth_kind_pod, "default", name);
    berth_catalog_put_status(f->catalog, pod, status, NULL, NULL);
    settle(f);
}

/* Returns: (transfer full): the names of those that name @host, and after a slash how many are on it. */
static char *
naming(Fixture *f, const char *host)
{
    g_autoptr(GPtrArray) list = berth_catalog_list_naming(f->catalog, host);
    GString *text = g_string_new(NULL);
    for (guint i = 0; i < list->len; i++) {
        g_string_append(text, ((BerthObject *)list->pdata[i])->name);
    }
    g_string_append_printf(text, "/%u", berth_catalog_count_on(f->catalog, NULL, host));
    return g_string_free(text, FALSE);
}

static void
assert_naming(Fixture *f, const char *host, const char *wanted)
{
    g_autofree char *names = naming(f, host);
    g_assert_cmpstr(names, ==, wanted);
}

static void
test_knows_who_names_a_host(Fixture *f, gconstpointer data)
{
    store_pod(f, "b");
    store_pod(f, "a");
    store_pod(f, "c");
    assert_naming(f, "h1", "/0");
    put_on(f, "b", "h1", NULL);
    put_on(f, "a", "h1", "h1");
    put_on(f, "c", NULL, "h1");
    assert_naming(f, "h1", "abc/2");
    close_all(f);
    open_all(f);
    assert_naming(f, "h1", "abc/2");
    put_on(f, "b", "h2", "h1");
    put_on(f, "c", "h2", NULL);
    assert_naming(f, "h1", "ab/1");
    assert_naming(f, "h2", "bc/2");
    g_assert_cmpuint(berth_catalog_count_on(f->catalog, &berth_kind_pod, "h2"), ==, 2);
    g_assert_cmpuint(berth_catalog_count_on(f->catalog, &berth_kind_vm, "h2"), ==, 0);
    berth_catalog_delete(f->catalog, berth_catalog_get(f->catalog, &berth_kind_pod, "default", "a"),
                         NULL, NULL);
    settle(f);
    assert_naming(f, "h1", "b/0");
}

static void
test_status_is_fenced_by_uid(Fixture *f, gconstpointer data)
{
    g_autoptr(BerthObject) old = berth_object_ref(store_pod(f, "a"));
    berth_catalog_delete(f->catalog, old, NULL, NULL);
    settle(f);
    store_pod(f, "a");
    int code = 99;
    g_autoptr(json_t) running = json_pack("{s:s}", "phase", "Running");
    berth_catalog_put_status(f->catalog, old, running, keep_code, &code);
    settle(f);
    g_assert_cmpint(code, ==, BERTH_ERROR_NOT_FOUND);
    const BerthObject *fresh = berth_catalog_get(f->catalog, &berth_kind_pod, "default", "a");
    g_assert_null(fresh->status);
}

typedef struct {
    guint made, changed, gone;
} Tally;

static void
count_change(const BerthObject *before, BerthObject *after, gpointer data)
{
    Tally *tally = data;
    tally->made += before == NULL;
    tally->changed += before != NULL && after != NULL;
    tally->gone += after == NULL;
}

static void
test_subscribers_see_before_and_after(Fixture *f, gconstpointer data)
{
    Tally tally = {0};
    guint id = berth_catalog_subscribe(f->catalog, count_change, &tally);
    BerthObject *pod = store_pod(f, "a");
    berth_catalog_set_power(f->catalog, pod, BERTH_POWER_ON, NULL, NULL);
    settle(f);
    pod = berth_catalog_get(f->catalog, &berth_kind_pod, "default", "a");
    g_assert_cmpint(pod->power, ==, BERTH_POWER_ON);
    berth_catalog_delete(f->catalog, pod, NULL, NULL);
    settle(f);
    berth_catalog_unsubscribe(f->catalog, id);
    store_pod(f, "b");
    g_assert_cmpuint(tally.made, ==, 1);
    g_assert_cmpuint(tally.changed, ==, 1);
    g_assert_cmpuint(tally.gone, ==, 1);
}

static void
test_events_count_instead_of_piling_up(Fixture *f, gconstpointer data)
{
    BerthObject *pod = store_pod(f, "a");
    gint64 before = berth_catalog_revision(f->catalog);
    for (guint i = 0; i < 1000; i++) {
        pod = berth_catalog_get(f->catalog, &berth_kind_pod, "default", "a");
        berth_catalog_record_event(f->catalog, pod, "warning", "BootTimeout", NULL, "try %u", i);
    }
    settle(f);
    g_assert_cmpuint(berth_catalog_count(f->catalog, &berth_kind_event), ==, 1);
    g_assert_cmpint(berth_catalog_revision(f->catalog), <=, before + 2);
    berth_manual_clock_advance(&f->clock, 2 * G_USEC_PER_SEC);
    berth_catalog_record_event(f->catalog, pod, "warning", "BootTimeout", NULL, "the last");
    settle(f);
    g_autoptr(GPtrArray) events = berth_catalog_list(f->catalog, &berth_kind_event, NULL);
    g_assert_cmpuint(events->len, ==, 1);
    const BerthEventSpec *event = ((BerthObject *)events->pdata[0])->spec_data;
    g_assert_cmpint(event->count, ==, 1001);
    g_assert_cmpstr(event->message, ==, "the last");
    g_assert_cmpstr(event->object_uid, ==, pod->uid);
}

static void
test_keeps_tasks_within_their_limits(Fixture *f, gconstpointer data)
{
    BerthObject *pod = store_pod(f, "a");
    for (guint i = 0; i < 3; i++) {
        g_autoptr(BerthObject) task =
            berth_catalog_make_task(f->catalog, "reboot", pod, NULL, "root", "r1");
        berth_catalog_put_body(f->catalog, task, BERTH_STORE_ABSENT, NULL, NULL);
        settle(f);
        g_assert_true(berth_catalog_active_task(f->catalog, pod->uid) != NULL);
        g_autofree char *now = berth_time_format(f->clock.wall_us);
        g_autoptr(json_t) done = json_pack("{s:s, s:s}", "phase", "Succeeded", "finished", now);
        berth_catalog_put_status(f->catalog, task, done, NULL, NULL);
        settle(f);
        g_assert_null(berth_catalog_active_task(f->catalog, pod->uid));
        berth_manual_clock_advance(&f->clock, (gint64)3 * 24 * 3600 * G_USEC_PER_SEC);
    }
    berth_catalog_retain(f->catalog); /* ended 9, 6 and 3 days ago; 7 are kept */
    settle(f);
    g_assert_cmpuint(berth_catalog_count(f->catalog, &berth_kind_task), ==, 2);
}

/* ---- watches ---- */

static void
note_wake(gpointer data)
{
    *(gboolean *)data = TRUE;
}

static char *
next_line(BerthWatch *watch)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) bytes = berth_watch_next(watch, &error);
    g_assert_no_error(error);
    return bytes != NULL ? g_strndup(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes)) : NULL;
}

static void
test_a_watch_never_splits_a_revision(Fixture *f, gconstpointer data)
{
    gboolean woken = FALSE;
    BerthWatchQuery query = {.kinds = "pods", .since = 0};
    g_autoptr(BerthWatch) watch = berth_watch_new(f->hub, &query, note_wake, &woken, NULL);
    g_assert_null(next_line(watch));
    g_autoptr(BerthObject) one = make_pod("one");
    g_autoptr(BerthObject) two = make_pod("two");
    BerthTransaction *both = berth_transaction_new();
    berth_catalog_add_body(both, one, BERTH_STORE_ABSENT);
    berth_catalog_add_body(both, two, BERTH_STORE_ABSENT);
    berth_catalog_submit(f->catalog, both, NULL, NULL);
    settle(f);
    g_assert_true(woken);
    g_autofree char *first = next_line(watch), *second = next_line(watch);
    g_assert_nonnull(strstr(first, "\"name\":\"one\""));
    g_assert_false(g_str_has_suffix(first, "\"revision\":1}\n"));
    g_assert_true(g_str_has_suffix(second, "\"revision\":1}\n"));
    g_assert_null(next_line(watch));
}

static void
test_a_watch_is_woken_only_for_what_it_selects(Fixture *f, gconstpointer data)
{
    gboolean woken = FALSE;
    BerthWatchQuery query = {.kinds = "pods", .name = "mine", .since = 0};
    g_autoptr(BerthWatch) watch = berth_watch_new(f->hub, &query, note_wake, &woken, NULL);
    g_assert_null(next_line(watch));
    store_pod(f, "other");
    g_assert_false(woken);
    g_autoptr(GBytes) bookmark = berth_watch_bookmark(watch);
    g_assert_nonnull(strstr(g_bytes_get_data(bookmark, NULL), "\"revision\":1"));
    store_pod(f, "mine");
    g_assert_true(woken);
}

static void
test_what_leaves_a_selection_is_told(Fixture *f, gconstpointer data)
{
    g_autoptr(json_t) labels = json_pack("{s:s}", "tier", "front");
    g_autoptr(BerthObject) labelled = berth_object_with_labels(store_pod(f, "a"), labels);
    BerthWatchQuery query = {
        .kinds = "pods", .labels = "tier=front", .since = berth_catalog_revision(f->catalog)};
    gboolean woken = FALSE;
    g_autoptr(BerthWatch) watch = berth_watch_new(f->hub, &query, note_wake, &woken, NULL);
    berth_catalog_put_body(f->catalog, labelled, BERTH_STORE_ANY, NULL, NULL);
    settle(f);
    g_autofree char *came = next_line(watch);
    g_assert_true(g_str_has_prefix(came, "{\"type\":\"put\""));
    g_autoptr(json_t) none = json_object();
    g_autoptr(BerthObject) bare = berth_object_with_labels(labelled, none);
    berth_catalog_put_body(f->catalog, bare, BERTH_STORE_ANY, NULL, NULL);
    settle(f);
    g_autofree char *left = next_line(watch);
    g_assert_true(g_str_has_prefix(left, "{\"type\":\"deleted\""));
}

static void
test_a_watch_behind_the_compaction_is_gone(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    for (guint i = 0; i < 600; i++) {
        g_autofree char *name = g_strdup_printf("p%u", i);
        store_pod(f, name);
    }
    gboolean woken = FALSE;
    BerthWatchQuery query = {.since = 10};
    g_autoptr(BerthWatch) slow = berth_watch_new(f->hub, &query, note_wake, &woken, &error);
    g_assert_no_error(error);
    f->store->ops->compact(f->store, 300);
    settle(f);
    g_assert_null(berth_watch_next(slow, &error));
    g_assert_error(error, BERTH_ERROR, BERTH_ERROR_GONE);
    g_clear_error(&error);
    g_assert_null(berth_watch_new(f->hub, &query, note_wake, &woken, &error));
    g_assert_error(error, BERTH_ERROR, BERTH_ERROR_GONE);
}

static void
test_a_watch_without_since_begins_with_all_there_is(Fixture *f, gconstpointer data)
{
    store_pod(f, "a");
    store_pod(f, "b");
    gboolean woken = FALSE;
    BerthWatchQuery query = {.kinds = "pods", .since = -1};
    g_autoptr(BerthWatch) watch = berth_watch_new(f->hub, &query, note_wake, &woken, NULL);
    store_pod(f, "c");
    g_autofree char *a = next_line(watch), *b = next_line(watch), *mark = next_line(watch),
                    *c = next_line(watch);
    g_assert_nonnull(strstr(a, "\"name\":\"a\""));
    g_assert_nonnull(strstr(b, "\"name\":\"b\""));
    g_assert_cmpstr(mark, ==, "{\"type\":\"bookmark\",\"revision\":2}\n");
    g_assert_nonnull(strstr(c, "\"name\":\"c\""));
    g_assert_null(next_line(watch));
}

#define ADD(path, function)                                                                        \
    g_test_add("/daemon/catalog/" path, Fixture, NULL, set_up, function, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("shows-only-what-is-committed", test_shows_only_what_is_committed);
    ADD("loads-what-was-stored", test_loads_what_was_stored);
    ADD("status-of-one-turn-is-one-write", test_status_of_one_turn_is_one_write);
    ADD("knows-who-names-a-host", test_knows_who_names_a_host);
    ADD("status-is-fenced-by-uid", test_status_is_fenced_by_uid);
    ADD("subscribers-see-before-and-after", test_subscribers_see_before_and_after);
    ADD("events-count-instead-of-piling-up", test_events_count_instead_of_piling_up);
    ADD("keeps-tasks-within-their-limits", test_keeps_tasks_within_their_limits);
    ADD("a-watch-never-splits-a-revision", test_a_watch_never_splits_a_revision);
    ADD("a-watch-is-woken-only-for-what-it-selects",
        test_a_watch_is_woken_only_for_what_it_selects);
    ADD("what-leaves-a-selection-is-told", test_what_leaves_a_selection_is_told);
    ADD("a-watch-behind-the-compaction-is-gone", test_a_watch_behind_the_compaction_is_gone);
    ADD("a-watch-without-since-begins-with-all-there-is",
        test_a_watch_without_since_begins_with_all_there_is);
    return g_test_run();
}
