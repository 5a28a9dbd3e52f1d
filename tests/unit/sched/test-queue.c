/* The queue: no head-of-line blocking, fairness, back-off, and waking by the event that helps. */
#include "fixture.h"
#include "sched/queue.h"

static void
test_refused_head_steps_aside(void)
{
    g_autoptr(BerthQueue) q = berth_queue_new(1000, 8000);
    berth_queue_add(q, "big", "p", 0, 0);
    berth_queue_add(q, "small", "p", 0, 0);
    g_assert_cmpstr(berth_queue_next(q, 0), ==, "big");
    berth_queue_refused(q, "big", BERTH_WAKE_CAPACITY, 0);
    g_assert_cmpstr(berth_queue_next(q, 0), ==, "small");
    berth_queue_remove(q, "small");
    g_assert_null(berth_queue_next(q, 1000000));
    g_assert_cmpuint(berth_queue_length(q), ==, 1);
}

static void
test_wakes_by_the_event_that_helps(void)
{
    g_autoptr(BerthQueue) q = berth_queue_new(1000, 8000);
    berth_queue_add(q, "a", "p", 0, 0);
    berth_queue_refused(q, "a", BERTH_WAKE_CAPACITY, 0);
    g_assert_cmpint(berth_queue_due(q, 0), ==, G_MAXINT64);
    g_assert_cmpuint(berth_queue_wake(q, BERTH_WAKE_QUOTA | BERTH_WAKE_FACTS), ==, 0);
    g_assert_null(berth_queue_next(q, 5000));
    g_assert_cmpuint(berth_queue_wake(q, BERTH_WAKE_CAPACITY), ==, 1);
    g_assert_null(berth_queue_next(q, 999));
    g_assert_cmpint(berth_queue_due(q, 999), ==, 1000);
    g_assert_cmpstr(berth_queue_next(q, 1000), ==, "a");
}

static void
test_backoff_doubles_up_to_its_limit(void)
{
    g_autoptr(BerthQueue) q = berth_queue_new(1000, 3000);
    const gint64 waits[] = {1000, 2000, 3000, 3000};
    berth_queue_add(q, "a", NULL, 0, 0);
    for (guint i = 0; i < G_N_ELEMENTS(waits); i++) {
        berth_queue_refused(q, "a", 0, 0);
        g_assert_cmpint(berth_queue_due(q, 0), ==, waits[i]);
    }
}

static void
test_priority_then_dominant_share_then_age(void)
{
    g_autoptr(BerthQueue) q = berth_queue_new(1000, 8000);
    berth_queue_set_total(q, 100000, 100000, 0);
    berth_queue_charge(q, "rich", 1000, 50000, 0); /* dominant: half of the memory */
    berth_queue_charge(q, "poor", 30000, 1000, 0);
    berth_queue_add(q, "r1", "rich", 0, 0);
    berth_queue_add(q, "p1", "poor", 0, 0);
    berth_queue_add(q, "p2", "poor", 0, 0);
    berth_queue_add(q, "urgent", "rich", 5, 0);
    const char *const order[] = {"urgent", "p1", "p2", "r1"};
    for (guint i = 0; i < G_N_ELEMENTS(order); i++) {
        g_assert_cmpstr(berth_queue_next(q, 0), ==, order[i]);
        berth_queue_remove(q, order[i]);
    }
}

static void
test_weight_divides_the_share(void)
{
    g_autoptr(BerthQueue) q = berth_queue_new(1000, 8000);
    berth_queue_set_total(q, 100000, 100000, 0);
    berth_queue_charge(q, "a", 40000, 0, 0);
    berth_queue_charge(q, "b", 30000, 0, 0);
    berth_queue_add(q, "a1", "a", 0, 0);
    berth_queue_add(q, "b1", "b", 0, 0);
    g_assert_cmpstr(berth_queue_next(q, 0), ==, "b1");
    berth_queue_set_weight(q, "a", 2);
    g_assert_cmpstr(berth_queue_next(q, 0), ==, "a1");
}

static void
test_wakes_follow_from_the_explanation(void)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_new();
    fixture_add(s, "h1");
    BerthRequest r = {.cpu_millis = 1000, .memory_mib = 99999};
    g_autoptr(BerthExplanation) memory = berth_explain(s, &r, NULL);
    g_assert_cmpuint(berth_queue_wakes_of(memory), ==, BERTH_WAKE_HOST | BERTH_WAKE_CAPACITY);
    const char *const dmz[] = {"dmz"};
    r = (BerthRequest){.cpu_millis = 1000, .networks = dmz, .n_networks = 1};
    g_autoptr(BerthExplanation) network = berth_explain(s, &r, NULL);
    g_assert_cmpuint(berth_queue_wakes_of(network), ==, BERTH_WAKE_HOST | BERTH_WAKE_FACTS);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, function) g_test_add_func("/sched/queue/" path, function)
    ADD("refused-head-steps-aside", test_refused_head_steps_aside);
    ADD("wakes-by-the-event-that-helps", test_wakes_by_the_event_that_helps);
    ADD("backoff-doubles-up-to-its-limit", test_backoff_doubles_up_to_its_limit);
    ADD("priority-then-dominant-share-then-age", test_priority_then_dominant_share_then_age);
    ADD("weight-divides-the-share", test_weight_divides_the_share);
    ADD("wakes-follow-from-the-explanation", test_wakes_follow_from_the_explanation);
    return g_test_run();
}
