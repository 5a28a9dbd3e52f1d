/* Alarms ring in order, once, and not after they were freed; none of them is a source of its own. */
#include "base/alarm.h"

typedef struct {
    GString *rung;
    BerthAlarm *alarms[3];
    gboolean frees_next, again;
} Bell;

static void
ring(Bell *bell, guint i)
{
    g_string_append_c(bell->rung, (char)('a' + i));
    if (bell->frees_next && i == 0) {
        g_clear_pointer(&bell->alarms[1], berth_alarm_free);
    }
    if (bell->again) {
        berth_alarm_set(bell->alarms[i], 1);
    }
}

static void
ring_a(gpointer data)
{
    ring(data, 0);
}

static void
ring_b(gpointer data)
{
    ring(data, 1);
}

static void
ring_c(gpointer data)
{
    ring(data, 2);
}

static void
bell_init(Bell *bell)
{
    *bell = (Bell){.rung = g_string_new(NULL),
                   .alarms = {berth_alarm_new(ring_a, bell), berth_alarm_new(ring_b, bell),
                              berth_alarm_new(ring_c, bell)}};
}

static void
bell_clear(Bell *bell)
{
    for (guint i = 0; i < G_N_ELEMENTS(bell->alarms); i++) {
        g_clear_pointer(&bell->alarms[i], berth_alarm_free);
    }
    g_string_free(bell->rung, TRUE);
}

static void
test_ring_in_order_of_their_times(void)
{
    Bell bell;
    bell_init(&bell);
    gint64 now = g_get_monotonic_time();
    berth_alarm_set(bell.alarms[0], now + 20000);
    berth_alarm_set(bell.alarms[1], now + 10000);
    berth_alarm_set(bell.alarms[2], now - 1);
    berth_alarm_set(bell.alarms[2], now + 15000); /* later than it was */
    while (bell.rung->len < 3) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_assert_cmpstr(bell.rung->str, ==, "bca");
    g_assert_cmpint(g_get_monotonic_time(), >=, now + 20000);
    g_assert_false(g_main_context_iteration(NULL, FALSE));
    bell_clear(&bell);
}

static void
test_one_that_is_freed_or_unset_does_not_ring(void)
{
    Bell bell;
    bell_init(&bell);
    bell.frees_next = TRUE;
    for (guint i = 0; i < G_N_ELEMENTS(bell.alarms); i++) {
        berth_alarm_set(bell.alarms[i], 1 + i);
    }
    berth_alarm_set(bell.alarms[2], G_MAXINT64);
    while (g_main_context_iteration(NULL, FALSE)) {
    }
    g_assert_cmpstr(bell.rung->str, ==, "a");
    bell_clear(&bell);
}

/* One turn rings each once, though all are due again at once: others have their turn between. */
static void
test_one_that_is_always_due_does_not_keep_the_loop(void)
{
    Bell bell;
    bell_init(&bell);
    bell.again = TRUE;
    for (guint i = 0; i < G_N_ELEMENTS(bell.alarms); i++) {
        berth_alarm_set(bell.alarms[i], 1);
    }
    g_assert_true(g_main_context_iteration(NULL, FALSE));
    g_assert_cmpstr(bell.rung->str, ==, "abc");
    g_assert_true(g_main_context_iteration(NULL, FALSE));
    g_assert_cmpstr(bell.rung->str, ==, "abcabc");
    bell_clear(&bell);
}

static guint
next_source_id(void)
{
    g_autoptr(GSource) source = g_idle_source_new();
    guint id = g_source_attach(source, NULL);
    g_source_destroy(source);
    return id;
}

/* GLib walks all its sources in each turn: what is behind them must not be one each. */
static void
test_a_thousand_are_no_more_sources_than_one(void)
{
    Bell bell;
    bell_init(&bell);
    berth_alarm_set(bell.alarms[0], G_MAXINT64 - 1);
    BerthAlarm *many[1000];
    guint before = next_source_id();
    for (guint i = 0; i < G_N_ELEMENTS(many); i++) {
        many[i] = berth_alarm_new(ring_b, &bell);
        berth_alarm_set(many[i], G_MAXINT64 - 2 - i);
    }
    g_assert_cmpuint(next_source_id(), ==, before + 1);
    g_assert_false(g_main_context_iteration(NULL, FALSE));
    for (guint i = 0; i < G_N_ELEMENTS(many); i++) {
        berth_alarm_free(many[i]);
    }
    bell_clear(&bell);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/base/alarm/ring-in-order-of-their-times", test_ring_in_order_of_their_times);
    g_test_add_func("/base/alarm/one-that-is-freed-or-unset-does-not-ring",
                    test_one_that_is_freed_or_unset_does_not_ring);
    g_test_add_func("/base/alarm/one-that-is-always-due-does-not-keep-the-loop",
                    test_one_that_is_always_due_does_not_keep_the_loop);
    g_test_add_func("/base/alarm/a-thousand-are-no-more-sources-than-one",
                    test_a_thousand_are_no_more_sources_than_one);
    return g_test_run();
}
