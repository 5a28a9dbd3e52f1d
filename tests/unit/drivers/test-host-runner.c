/* The runner against a driver whose calls hang until the test releases them. Nothing sleeps: threads
 * meet at a condition variable, time is a manual clock. */
#include "base/error.h"
#include "drivers/host-runner.h"

#include <string.h>

#define PATIENCE_US (20 * G_USEC_PER_SEC)

/* ---- a driver in the test's hands ------------------------------------------------------------- */

typedef struct {
    BerthHost base;
    BerthHostWatch watch;
    gpointer user_data;
    GMutex lock;
    GCond changed;
    gboolean hold; /* calls wait until release() */
    gboolean hold_connect;
    gboolean fail_connect;
    GHashTable *inside; /* uuid ("" host-level) -> count of calls inside perform() */
    guint inside_count, most_inside, performed, connects, abandons, frees;
} FakeHost;

static FakeHost fake;

static gboolean
fake_connect(BerthHost *host, GError **error)
{
    g_mutex_lock(&fake.lock);
    fake.connects++;
    g_main_context_wakeup(NULL);
    while (fake.hold_connect) {
        g_cond_wait(&fake.changed, &fake.lock);
    }
    gboolean fail = fake.fail_connect;
    g_mutex_unlock(&fake.lock);
    if (fail) {
        berth_error_set(error, BERTH_ERROR_UNAVAILABLE, "nobody there");
    }
    return !fail;
}

static void
count_inside(const char *uuid, int step)
{
    guint count = GPOINTER_TO_UINT(g_hash_table_lookup(fake.inside, uuid)) + (guint)step;
    g_hash_table_replace(fake.inside, g_strdup(uuid), GUINT_TO_POINTER(count));
    fake.inside_count += (guint)step;
    fake.most_inside = MAX(fake.most_inside, fake.inside_count);
    g_cond_broadcast(&fake.changed);
}

static gboolean
fake_perform(BerthHost *host, const BerthHostCall *call, BerthHostReply *reply, GError **error)
{
    const char *uuid = call->uuid != NULL ? call->uuid : "";
    g_mutex_lock(&fake.lock);
    count_inside(uuid, 1);
    while (fake.hold) {
        g_cond_wait(&fake.changed, &fake.lock);
    }
    count_inside(uuid, -1);
    fake.performed++;
    g_mutex_unlock(&fake.lock);
    if (call->progress != NULL) {
        call->progress(1, 2, call->progress_data);
    }
    reply->text = g_strdup(uuid);
    return TRUE;
}

static BerthChannel *
fake_channel_open(BerthHost *host, const char *uuid, const char *port, gboolean force,
                  const BerthChannelWatch *watch, gpointer user_data)
{
    return NULL;
}

static void
fake_abandon(BerthHost *host)
{
    fake.abandons++;
}

static void
fake_free(BerthHost *host)
{
    fake.frees++;
}

static BerthHost *
fake_new(const BerthHostOptions *options, const BerthHostWatch *watch, gpointer user_data,
         GError **error)
{
    static const BerthHostOps ops = {fake_connect, fake_perform, fake_channel_open, fake_abandon,
                                     fake_free};
    fake.base.ops = &ops;
    fake.watch = *watch;
    fake.user_data = user_data;
    return &fake.base;
}

static void
set_hold(gboolean hold)
{
    g_mutex_lock(&fake.lock);
    fake.hold = hold;
    g_cond_broadcast(&fake.changed);
    g_mutex_unlock(&fake.lock);
}

static void
wait_inside(guint count)
{
    gint64 until_us = g_get_monotonic_time() + PATIENCE_US;
    g_mutex_lock(&fake.lock);
    while (fake.inside_count != count) {
        g_assert_true(g_cond_wait_until(&fake.changed, &fake.lock, until_us));
    }
    g_mutex_unlock(&fake.lock);
}

static guint
count_connects(void)
{
    g_mutex_lock(&fake.lock);
    guint count = fake.connects;
    g_mutex_unlock(&fake.lock);
    return count;
}

/* ---- a listener that writes down -------------------------------------------------------------- */

typedef struct {
    BerthManualClock clock;
    BerthHostRunner *runner;
    GString *told; /* states and stuck notices */
    guint connected;
} Fixture;

static void
on_state(BerthHostState state, const char *why, gpointer data)
{
    Fixture *fixture = data;
    g_string_append(fixture->told, state == BERTH_HOST_CONNECTED ? "up " : "down ");
    fixture->connected += state == BERTH_HOST_CONNECTED;
    g_assert_true((why == NULL) == (state == BERTH_HOST_CONNECTED));
}

static void
on_stuck(const char *uuid, gboolean stuck, gpointer data)
{
    Fixture *fixture = data;
    g_string_append_printf(fixture->told, "%s:%s ", stuck ? "stuck" : "loose",
                           uuid != NULL ? uuid : "host");
}

/* What became of one call. */
typedef struct {
    guint count;
    int code; /* of BERTH_ERROR; -1: it went well */
    char text[32];
    guint progress;
} Outcome;

static void
on_done(BerthHostReply *reply, const GError *error, gpointer data)
{
    Outcome *outcome = data;
    outcome->count++;
    outcome->code = error != NULL ? error->code : -1;
    g_assert_true((reply == NULL) == (error != NULL));
    if (reply != NULL) {
        g_strlcpy(outcome->text, reply->text, sizeof outcome->text);
    }
}

static gboolean
wake(gpointer data)
{
    *(gboolean *)data = TRUE;
    return G_SOURCE_REMOVE;
}

/* Runs the main loop until @condition holds. */
#define RUN_UNTIL(condition)                                                                       \
    G_STMT_START {                                                                                 \
        gboolean is_late = FALSE;                                                                  \
        guint patience = g_timeout_add_seconds(20, wake, &is_late);                                \
        while (!(condition)) {                                                                     \
            g_main_context_iteration(NULL, TRUE);                                                  \
            g_assert_false(is_late);                                                               \
        }                                                                                          \
        g_source_remove(patience);                                                                 \
    }                                                                                              \
    G_STMT_END

static void
run_what_is_ready(void)
{
    while (g_main_context_iteration(NULL, FALSE)) {
    }
}

static void
setup(Fixture *fixture)
{
    memset(&fake, 0, sizeof fake);
    g_mutex_init(&fake.lock);
    g_cond_init(&fake.changed);
    fake.inside = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    *fixture = (Fixture){.told = g_string_new(NULL)};
    berth_manual_clock_init(&fixture->clock, 0);
    static const BerthHostListener listener = {.state = on_state, .stuck = on_stuck};
    fixture->runner = berth_host_runner_new(fake_new, &(BerthHostOptions){.uri = "fake:"},
                                            &fixture->clock.base, &listener, fixture, NULL);
}

static void
setup_connected(Fixture *fixture)
{
    setup(fixture);
    RUN_UNTIL(fixture->connected == 1);
}

static void
teardown(Fixture *fixture)
{
    set_hold(FALSE);
    g_clear_pointer(&fixture->runner, berth_host_runner_free);
    RUN_UNTIL(fake.frees == 1);
    g_string_free(fixture->told, TRUE);
    g_hash_table_unref(fake.inside);
}

static void
submit(Fixture *fixture, BerthHostVerb verb, const char *uuid, guint deadline_s, Outcome *outcome)
{
    *outcome = (Outcome){.code = -2};
    berth_host_runner_submit(fixture->runner, &(BerthHostCall){.verb = verb, .uuid = uuid},
                             deadline_s, on_done, outcome);
    g_assert_cmpuint(outcome->count, ==, 0);
}

static void
advance(Fixture *fixture, guint seconds)
{
    berth_manual_clock_advance(&fixture->clock, (gint64)seconds * G_USEC_PER_SEC);
    berth_host_runner_tick(fixture->runner);
    run_what_is_ready();
}

/* ---- tests ------------------------------------------------------------------------------------ */

static void
test_answers_on_the_main_loop(void)
{
    Fixture fixture;
    setup_connected(&fixture);
    Outcome outcome;
    submit(&fixture, BERTH_HOST_DOMAIN_START, "a", 10, &outcome);
    RUN_UNTIL(outcome.count == 1);
    g_assert_cmpint(outcome.code, ==, -1);
    g_assert_cmpstr(outcome.text, ==, "a");
    teardown(&fixture);
}

static void
test_before_connecting_calls_are_unavailable(void)
{
    Fixture fixture;
    setup(&fixture);
    Outcome outcome;
    submit(&fixture, BERTH_HOST_DOMAIN_START, "a", 10, &outcome);
    RUN_UNTIL(outcome.count == 1);
    g_assert_cmpint(outcome.code, ==, BERTH_ERROR_UNAVAILABLE);
    teardown(&fixture);
}

static void
test_three_domains_at_once_and_a_slot_for_the_host(void)
{
    Fixture fixture;
    setup_connected(&fixture);
    set_hold(TRUE);
    Outcome outcomes[6];
    const char *uuids[] = {"a", "b", "c", "d", "e"};
    for (guint i = 0; i < 5; i++) {
        submit(&fixture, BERTH_HOST_DOMAIN_START, uuids[i], 10, &outcomes[i]);
    }
    wait_inside(3);
    submit(&fixture, BERTH_HOST_DOMAIN_LIST, NULL, 10, &outcomes[5]);
    wait_inside(4);
    set_hold(FALSE);
    for (guint i = 0; i < 6; i++) {
        RUN_UNTIL(outcomes[i].count == 1);
        g_assert_cmpint(outcomes[i].code, ==, -1);
    }
    g_assert_cmpuint(fake.most_inside, ==, 4);
    teardown(&fixture);
}

static void
test_one_call_of_a_domain_at_a_time_lets_others_pass(void)
{
    Fixture fixture;
    setup_connected(&fixture);
    set_hold(TRUE);
    Outcome first, second, other;
    submit(&fixture, BERTH_HOST_DOMAIN_START, "a", 10, &first);
    submit(&fixture, BERTH_HOST_DOMAIN_DESTROY, "a", 10, &second);
    submit(&fixture, BERTH_HOST_DOMAIN_START, "b", 10, &other);
    wait_inside(2);
    g_assert_cmpuint(GPOINTER_TO_UINT(g_hash_table_lookup(fake.inside, "a")), ==, 1);
    g_assert_cmpuint(GPOINTER_TO_UINT(g_hash_table_lookup(fake.inside, "b")), ==, 1);
    set_hold(FALSE);
    RUN_UNTIL(first.count == 1 && second.count == 1 && other.count == 1);
    teardown(&fixture);
}

static void
test_deadline_answers_and_keeps_the_slot(void)
{
    Fixture fixture;
    setup_connected(&fixture);
    set_hold(TRUE);
    Outcome first, second;
    submit(&fixture, BERTH_HOST_DOMAIN_START, "a", 10, &first);
    wait_inside(1);
    advance(&fixture, 9);
    g_assert_cmpuint(first.count, ==, 0);
    advance(&fixture, 2);
    g_assert_cmpuint(first.count, ==, 1);
    g_assert_cmpint(first.code, ==, BERTH_ERROR_TIMEOUT);
    g_assert_cmpuint(berth_host_runner_stuck_calls(fixture.runner), ==, 1);
    submit(&fixture, BERTH_HOST_DOMAIN_DESTROY, "a", 10, &second);
    run_what_is_ready();
    g_assert_cmpuint(fake.inside_count, ==, 1);
    set_hold(FALSE);
    RUN_UNTIL(second.count == 1);
    g_assert_cmpint(second.code, ==, -1);
    g_assert_cmpuint(first.count, ==, 1); /* what came late was dropped */
    g_assert_cmpstr(fixture.told->str, ==, "up stuck:a loose:a ");
    g_assert_cmpuint(berth_host_runner_stuck_calls(fixture.runner), ==, 0);
    teardown(&fixture);
}

static void
test_waiting_behind_a_stuck_call_ends_at_the_deadline(void)
{
    Fixture fixture;
    setup_connected(&fixture);
    set_hold(TRUE);
    Outcome first, second;
    submit(&fixture, BERTH_HOST_DOMAIN_START, "a", 10, &first);
    submit(&fixture, BERTH_HOST_DOMAIN_DESTROY, "a", 20, &second);
    advance(&fixture, 21);
    g_assert_cmpint(first.code, ==, BERTH_ERROR_TIMEOUT);
    g_assert_cmpint(second.code, ==, BERTH_ERROR_TIMEOUT);
    set_hold(FALSE);
    RUN_UNTIL(berth_host_runner_stuck_calls(fixture.runner) == 0);
    g_assert_cmpuint(fake.performed, ==, 1); /* the second never ran */
    teardown(&fixture);
}

/* Three domains hang for good, a fourth wants something. */
static void
hang_three(Fixture *fixture, const char *const *uuids, Outcome *outcomes)
{
    set_hold(TRUE);
    guint before = fake.inside_count;
    for (guint i = 0; i < 3; i++) {
        submit(fixture, BERTH_HOST_DOMAIN_START, uuids[i], 10, &outcomes[i]);
    }
    wait_inside(before + 3);
    advance(fixture, 11);
    for (guint i = 0; i < 3; i++) {
        g_assert_cmpint(outcomes[i].code, ==, BERTH_ERROR_TIMEOUT);
    }
}

static void
test_stuck_slots_replace_the_connections(void)
{
    Fixture fixture;
    setup_connected(&fixture);
    static const char *const uuids[] = {"a", "b", "c"};
    Outcome hung[3], refused, next;
    hang_three(&fixture, uuids, hung);
    g_assert_cmpuint(fake.abandons, ==, 0);
    submit(&fixture, BERTH_HOST_DOMAIN_START, "d", 10, &refused);
    RUN_UNTIL(fixture.connected == 2);
    g_assert_cmpuint(fake.abandons, ==, 1);
    RUN_UNTIL(refused.count == 1);
    g_assert_cmpint(refused.code, ==, BERTH_ERROR_UNAVAILABLE);
    /* A domain whose old call still hangs can be asked over the new connections. */
    submit(&fixture, BERTH_HOST_DOMAIN_DESTROY, "a", 10, &next);
    wait_inside(4);
    g_assert_cmpuint(berth_host_runner_stuck_calls(fixture.runner), ==, 3);
    set_hold(FALSE);
    RUN_UNTIL(next.count == 1 && berth_host_runner_stuck_calls(fixture.runner) == 0);
    g_assert_cmpint(next.code, ==, -1);
    g_assert_nonnull(strstr(fixture.told->str, "down up"));
    teardown(&fixture);
}

static void
test_old_threads_are_capped(void)
{
    Fixture fixture;
    setup_connected(&fixture);
    static const char *const uuids[] = {"a", "b", "c"};
    Outcome hung[9], refused;
    for (guint round = 0; round < 3; round++) {
        hang_three(&fixture, uuids, &hung[round * 3]);
        submit(&fixture, BERTH_HOST_DOMAIN_START, "d", 10, &refused);
        RUN_UNTIL(refused.count == 1);
        if (round < 2) {
            RUN_UNTIL(fixture.connected == round + 2);
        }
    }
    g_assert_cmpuint(berth_host_runner_stuck_calls(fixture.runner), ==, 9);
    guint connects = fake.connects;
    for (guint i = 0; i < 10; i++) {
        advance(&fixture, 40);
    }
    g_assert_cmpuint(fake.connects, ==, connects);
    g_assert_cmpint(berth_host_runner_state(fixture.runner, NULL), ==, BERTH_HOST_DISCONNECTED);
    set_hold(FALSE);
    RUN_UNTIL(berth_host_runner_stuck_calls(fixture.runner) == 0);
    advance(&fixture, 40);
    RUN_UNTIL(fixture.connected == 4);
    teardown(&fixture);
}

static void
test_reconnects_with_growing_back_off(void)
{
    Fixture fixture;
    setup_connected(&fixture);
    fake.fail_connect = TRUE;
    fake.watch.closed("cut", fake.user_data);
    const char *why = NULL;
    g_assert_cmpint(berth_host_runner_state(fixture.runner, &why), ==, BERTH_HOST_DISCONNECTED);
    g_assert_cmpstr(why, ==, "cut");
    g_assert_cmpuint(fake.connects, ==, 1);
    guint longest_s = 0;
    for (guint attempt = 2; attempt < 10; attempt++) {
        guint waited_s = 0;
        gsize told = fixture.told->len;
        while (waited_s < 31 && count_connects() < attempt) {
            advance(&fixture, 1);
            waited_s++;
        }
        RUN_UNTIL(count_connects() == attempt && fixture.told->len > told);
        longest_s = MAX(longest_s, waited_s);
    }
    g_assert_cmpuint(longest_s, >=, 15);
    fake.fail_connect = FALSE;
    advance(&fixture, 31);
    RUN_UNTIL(fixture.connected == 2);
    teardown(&fixture);
}

static void
test_closing_refuses_what_waits(void)
{
    Fixture fixture;
    setup_connected(&fixture);
    set_hold(TRUE);
    Outcome running, waiting;
    submit(&fixture, BERTH_HOST_DOMAIN_START, "a", 10, &running);
    submit(&fixture, BERTH_HOST_DOMAIN_DESTROY, "a", 10, &waiting);
    wait_inside(1);
    fake.watch.closed("cut", fake.user_data);
    RUN_UNTIL(waiting.count == 1);
    g_assert_cmpint(waiting.code, ==, BERTH_ERROR_UNAVAILABLE);
    g_assert_cmpuint(running.count, ==, 0);
    set_hold(FALSE);
    RUN_UNTIL(running.count == 1);
    teardown(&fixture);
}

static void
test_a_connection_that_breaks_at_once_is_none(void)
{
    Fixture fixture;
    setup(&fixture);
    fake.hold_connect = TRUE;
    RUN_UNTIL(count_connects() == 1);
    fake.watch.closed("broke at once", fake.user_data);
    g_mutex_lock(&fake.lock);
    fake.hold_connect = FALSE;
    g_cond_broadcast(&fake.changed);
    g_mutex_unlock(&fake.lock);
    RUN_UNTIL(fixture.told->len > 0);
    g_assert_cmpstr(fixture.told->str, ==, "down ");
    advance(&fixture, 2);
    RUN_UNTIL(fixture.connected == 1);
    teardown(&fixture);
}

static void
test_hanging_connect_is_abandoned_and_tried_again(void)
{
    Fixture fixture;
    setup(&fixture);
    fake.hold_connect = TRUE;
    RUN_UNTIL(count_connects() == 1);
    advance(&fixture, 31);
    g_assert_cmpuint(fake.abandons, ==, 1);
    g_assert_cmpstr(fixture.told->str, ==, "down ");
    advance(&fixture, 2);
    RUN_UNTIL(count_connects() == 2);
    g_mutex_lock(&fake.lock);
    fake.hold_connect = FALSE;
    g_cond_broadcast(&fake.changed);
    g_mutex_unlock(&fake.lock);
    RUN_UNTIL(fixture.connected == 1);
    teardown(&fixture);
    g_assert_cmpuint(fixture.connected, ==, 1); /* the first attempt's success was dropped */
}

static void
test_freeing_while_a_call_hangs_tells_nobody(void)
{
    Fixture fixture;
    setup_connected(&fixture);
    set_hold(TRUE);
    Outcome running, waiting;
    submit(&fixture, BERTH_HOST_DOMAIN_START, "a", 10, &running);
    submit(&fixture, BERTH_HOST_DOMAIN_START, "a", 10, &waiting);
    wait_inside(1);
    g_clear_pointer(&fixture.runner, berth_host_runner_free);
    g_assert_cmpuint(fake.frees, ==, 0);
    teardown(&fixture);
    g_assert_cmpuint(running.count + waiting.count, ==, 0);
}

static void
on_progress(guint64 done, guint64 total, gpointer data)
{
    ((Outcome *)data)->progress++;
}

static void
submit_upload(Fixture *fixture, Outcome *outcome)
{
    *outcome = (Outcome){.code = -2};
    const BerthHostCall call = {
        .verb = BERTH_HOST_VOLUME_UPLOAD, .progress = on_progress, .progress_data = outcome};
    berth_host_runner_submit(fixture->runner, &call, 10, on_done, outcome);
}

static void
test_progress_ends_with_the_answer(void)
{
    Fixture fixture;
    setup_connected(&fixture);
    Outcome good, late;
    submit_upload(&fixture, &good);
    RUN_UNTIL(good.count == 1);
    g_assert_cmpuint(good.progress, ==, 1);
    set_hold(TRUE);
    submit_upload(&fixture, &late);
    wait_inside(1);
    advance(&fixture, 11);
    g_assert_cmpint(late.code, ==, BERTH_ERROR_TIMEOUT);
    set_hold(FALSE);
    RUN_UNTIL(berth_host_runner_stuck_calls(fixture.runner) == 0);
    g_assert_cmpuint(late.progress, ==, 0);
    teardown(&fixture);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, test) g_test_add_func("/drivers/host-runner/" path, test)
    ADD("answers-on-the-main-loop", test_answers_on_the_main_loop);
    ADD("before-connecting-calls-are-unavailable", test_before_connecting_calls_are_unavailable);
    ADD("three-domains-at-once-and-a-slot-for-the-host",
        test_three_domains_at_once_and_a_slot_for_the_host);
    ADD("one-call-of-a-domain-at-a-time-lets-others-pass",
        test_one_call_of_a_domain_at_a_time_lets_others_pass);
    ADD("deadline-answers-and-keeps-the-slot", test_deadline_answers_and_keeps_the_slot);
    ADD("waiting-behind-a-stuck-call-ends-at-the-deadline",
        test_waiting_behind_a_stuck_call_ends_at_the_deadline);
    ADD("stuck-slots-replace-the-connections", test_stuck_slots_replace_the_connections);
    ADD("old-threads-are-capped", test_old_threads_are_capped);
    ADD("reconnects-with-growing-back-off", test_reconnects_with_growing_back_off);
    ADD("closing-refuses-what-waits", test_closing_refuses_what_waits);
    ADD("a-connection-that-breaks-at-once-is-none", test_a_connection_that_breaks_at_once_is_none);
    ADD("hanging-connect-is-abandoned-and-tried-again",
        test_hanging_connect_is_abandoned_and_tried_again);
    ADD("freeing-while-a-call-hangs-tells-nobody", test_freeing_while_a_call_hangs_tells_nobody);
    ADD("progress-ends-with-the-answer", test_progress_ends_with_the_answer);
    return g_test_run();
}
