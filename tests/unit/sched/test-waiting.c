/* The line of those without a place: no head-of-line blocking, fairness, back-off that lets nobody overtake, and
 * waking by the event that helps. */
#include "fixture.h"
#include "sched/waiting.h"

/* 100 vCPUs and 100,000 MiB. */
static BerthSnapshot *
make_fleet(void)
{
    BerthSnapshot *s = berth_snapshot_new();
    BerthHost host = {
        .name = "h1", .cpu_millis = 100000, .memory_mib = 100000, .state = BERTH_HOST_READY};
    g_assert_true(berth_snapshot_put_host(s, &host, NULL, NULL));
    return s;
}

static void
charge(BerthSnapshot *s, const char *project, gint64 cpu_millis, gint64 memory_mib)
{
    BerthRequest r = {.project = project, .cpu_millis = cpu_millis, .memory_mib = memory_mib};
    berth_snapshot_charge_on(s, &r, 0);
}

static void
add(BerthWaiting *w, const char *uid, const char *project, gint priority)
{
    berth_waiting_add(w, uid, project, priority, uid, 0);
}

static void
test_refused_head_steps_aside(void)
{
    g_autoptr(BerthSnapshot) s = make_fleet();
    g_autoptr(BerthWaiting) w = berth_waiting_new(1000, 8000);
    add(w, "1-big", "p", 0);
    add(w, "2-small", "p", 0);
    g_assert_cmpstr(berth_waiting_next(w, s, 0), ==, "1-big");
    berth_waiting_refused(w, "1-big", BERTH_WAKE_CAPACITY, 0);
    g_assert_cmpstr(berth_waiting_next(w, s, 0), ==, "2-small");
    berth_waiting_remove(w, "2-small");
    g_assert_null(berth_waiting_next(w, s, 1000000));
    g_assert_cmpuint(berth_waiting_length(w), ==, 1);
}

static void
test_wakes_by_the_event_that_helps(void)
{
    g_autoptr(BerthSnapshot) s = make_fleet();
    g_autoptr(BerthWaiting) w = berth_waiting_new(1000, 8000);
    add(w, "a", "p", 0);
    berth_waiting_refused(w, "a", BERTH_WAKE_CAPACITY, 0);
    g_assert_cmpint(berth_waiting_due(w), ==, G_MAXINT64);
    g_assert_cmpuint(berth_waiting_wake(w, BERTH_WAKE_QUOTA | BERTH_WAKE_FACTS), ==, 0);
    g_assert_null(berth_waiting_next(w, s, 5000));
    g_assert_cmpuint(berth_waiting_wake(w, BERTH_WAKE_CAPACITY), ==, 1);
    g_assert_null(berth_waiting_next(w, s, 999));
    g_assert_cmpint(berth_waiting_due(w), ==, 1000);
    g_assert_cmpstr(berth_waiting_next(w, s, 1000), ==, "a");
}

static void
test_backoff_doubles_up_to_its_limit(void)
{
    g_autoptr(BerthWaiting) w = berth_waiting_new(1000, 3000);
    const gint64 waits[] = {1000, 2000, 3000, 3000};
    add(w, "a", NULL, 0);
    for (guint i = 0; i < G_N_ELEMENTS(waits); i++) {
        berth_waiting_refused(w, "a", BERTH_WAKE_HOST, 0);
        berth_waiting_wake(w, BERTH_WAKE_HOST);
        g_assert_cmpint(berth_waiting_due(w), ==, waits[i]);
    }
    berth_waiting_call(w, "a", 7);
    g_assert_cmpint(berth_waiting_due(w), ==, 7);
}

/* What was freed while the first backs off is not taken by the second. */
static void
test_backoff_lets_nobody_overtake(void)
{
    g_autoptr(BerthSnapshot) s = make_fleet();
    g_autoptr(BerthWaiting) w = berth_waiting_new(1000, 8000);
    add(w, "first", "p", 5);
    berth_waiting_refused(w, "first", BERTH_WAKE_CAPACITY, 0);
    berth_waiting_wake(w, BERTH_WAKE_CAPACITY);
    add(w, "second", "p", 0);
    g_assert_cmpstr(berth_waiting_next(w, s, 10), ==, "first");
    berth_waiting_refused(w, "first", BERTH_WAKE_CAPACITY, 10);
    g_assert_cmpstr(berth_waiting_next(w, s, 10), ==, "second");
}

static void
test_priority_then_dominant_share_then_age(void)
{
    g_autoptr(BerthSnapshot) s = make_fleet();
    g_autoptr(BerthWaiting) w = berth_waiting_new(1000, 8000);
    charge(s, "rich", 1000, 50000); /* dominant: half of the memory */
    charge(s, "poor", 30000, 1000);
    add(w, "1-rich", "rich", 0);
    add(w, "3-poor", "poor", 0);
    add(w, "2-poor", "poor", 0);
    add(w, "9-urgent", "rich", 5);
    const char *const order[] = {"9-urgent", "2-poor", "3-poor", "1-rich"};
    for (guint i = 0; i < G_N_ELEMENTS(order); i++) {
        g_assert_cmpstr(berth_waiting_next(w, s, 0), ==, order[i]);
        berth_waiting_remove(w, order[i]);
    }
    g_assert_cmpuint(berth_waiting_length(w), ==, 0);
}

static void
test_weight_divides_the_share(void)
{
    g_autoptr(BerthSnapshot) s = make_fleet();
    g_autoptr(BerthWaiting) w = berth_waiting_new(1000, 8000);
    charge(s, "a", 40000, 0);
    charge(s, "b", 30000, 0);
    add(w, "a1", "a", 0);
    add(w, "b1", "b", 0);
    g_assert_cmpstr(berth_waiting_next(w, s, 0), ==, "b1");
    berth_waiting_set_weight(w, "a", 2);
    g_assert_cmpstr(berth_waiting_next(w, s, 0), ==, "a1");
    g_autoptr(BerthWaiting) copy = berth_waiting_copy_rules(w);
    add(copy, "a1", "a", 0);
    add(copy, "b1", "b", 0);
    g_assert_cmpstr(berth_waiting_next(copy, s, 0), ==, "a1");
}

/* Who got something comes after those who had as much. */
static void
test_turns_follow_what_was_charged(void)
{
    g_autoptr(BerthSnapshot) s = make_fleet();
    g_autoptr(BerthWaiting) w = berth_waiting_new(1000, 8000);
    const char *const uids[] = {"1a", "2a", "3a", "4b", "5b"};
    const char *const order[] = {"1a", "4b", "2a", "5b", "3a"};
    for (guint i = 0; i < G_N_ELEMENTS(uids); i++) {
        add(w, uids[i], uids[i] + 1, 0);
    }
    for (guint i = 0; i < G_N_ELEMENTS(order); i++) {
        g_assert_cmpstr(berth_waiting_next(w, s, 0), ==, order[i]);
        berth_waiting_remove(w, order[i]);
        charge(s, order[i] + 1, 1000, 100);
    }
}

static void
test_wakes_follow_from_the_explanation(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    fixture_add(s, "h1");
    BerthRequest r = {.cpu_millis = 1000, .memory_mib = 99999};
    g_autoptr(BerthExplanation) memory = berth_explain(s, &r, NULL);
    g_assert_cmpuint(berth_wakes_of(memory), ==, BERTH_WAKE_HOST | BERTH_WAKE_CAPACITY);
    const char *const dmz[] = {"dmz"};
    r = (BerthRequest){.cpu_millis = 1000, .networks = dmz, .n_networks = 1};
    g_autoptr(BerthExplanation) network = berth_explain(s, &r, NULL);
    g_assert_cmpuint(berth_wakes_of(network), ==, BERTH_WAKE_HOST | BERTH_WAKE_FACTS);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, function) g_test_add_func("/sched/waiting/" path, function)
    ADD("refused-head-steps-aside", test_refused_head_steps_aside);
    ADD("wakes-by-the-event-that-helps", test_wakes_by_the_event_that_helps);
    ADD("backoff-doubles-up-to-its-limit", test_backoff_doubles_up_to_its_limit);
    ADD("backoff-lets-nobody-overtake", test_backoff_lets_nobody_overtake);
    ADD("priority-then-dominant-share-then-age", test_priority_then_dominant_share_then_age);
    ADD("weight-divides-the-share", test_weight_divides_the_share);
    ADD("turns-follow-what-was-charged", test_turns_follow_what_was_charged);
    ADD("wakes-follow-from-the-explanation", test_wakes_follow_from_the_explanation);
    return g_test_run();
}
