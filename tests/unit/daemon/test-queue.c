/* The work queue: each key once, in due order, with back-off, on a manual clock. */
#include "daemon/queue.h"

typedef struct {
    BerthManualClock clock;
    BerthQueue *queue;
    GString *seen;
    const char *again; /* key that adds itself while it is looked at */
} Fixture;

static void
look(const char *key, gpointer user_data)
{
    Fixture *f = user_data;
    g_string_append_printf(f->seen, "%s ", key);
    if (g_strcmp0(f->again, key) == 0) {
        berth_queue_add(f->queue, key);
    }
}

static void
set_up(Fixture *f, gconstpointer unused)
{
    berth_manual_clock_init(&f->clock, 0);
    f->queue = berth_queue_new(&f->clock.base, look, f);
    f->seen = g_string_new(NULL);
}

static void
tear_down(Fixture *f, gconstpointer unused)
{
    berth_queue_free(f->queue);
    g_string_free(f->seen, TRUE);
}

static void
test_looks_once_however_often_added(Fixture *f, gconstpointer unused)
{
    berth_queue_add(f->queue, "b");
    berth_queue_add(f->queue, "a");
    berth_queue_add(f->queue, "b");
    g_assert_cmpuint(berth_queue_run(f->queue), ==, 2);
    g_assert_cmpstr(f->seen->str, ==, "b a ");
    g_assert_cmpuint(berth_queue_run(f->queue), ==, 0);
}

static void
test_earlier_wish_wins_over_later(Fixture *f, gconstpointer unused)
{
    berth_queue_add_after(f->queue, "late", 10);
    berth_queue_add_after(f->queue, "late", 1000);
    berth_queue_add_after(f->queue, "soon", 20);
    berth_queue_add_after(f->queue, "soon", 5);
    berth_manual_clock_advance(&f->clock, 5);
    berth_queue_run(f->queue);
    g_assert_cmpstr(f->seen->str, ==, "soon ");
    berth_manual_clock_advance(&f->clock, 5);
    berth_queue_run(f->queue);
    g_assert_cmpstr(f->seen->str, ==, "soon late ");
    g_assert_cmpint(berth_queue_due_us(f->queue), ==, G_MAXINT64);
}

static void
test_key_that_adds_itself_does_not_keep_the_loop(Fixture *f, gconstpointer unused)
{
    f->again = "x";
    berth_queue_add(f->queue, "x");
    g_assert_cmpuint(berth_queue_run(f->queue), ==, 1);
    g_assert_cmpuint(berth_queue_length(f->queue), ==, 1);
}

static void
test_back_off_doubles_to_half_a_minute_until_forgotten(Fixture *f, gconstpointer unused)
{
    gint64 last = 0;
    for (guint i = 0; i < 12; i++) {
        gint64 delay = berth_queue_retry(f->queue, "x");
        g_assert_cmpint(delay, >=, last);
        last = delay;
        berth_manual_clock_advance(&f->clock, delay);
        g_assert_cmpuint(berth_queue_run(f->queue), ==, 1);
    }
    g_assert_cmpint(last, ==, 30 * G_USEC_PER_SEC);
    berth_queue_forget(f->queue, "x");
    g_assert_cmpint(berth_queue_retry(f->queue, "x"), ==, G_USEC_PER_SEC / 2);
}

#define ADD(path, test) g_test_add("/daemon/queue/" path, Fixture, NULL, set_up, test, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    ADD("looks-once-however-often-added", test_looks_once_however_often_added);
    ADD("earlier-wish-wins-over-later", test_earlier_wish_wins_over_later);
    ADD("key-that-adds-itself-does-not-keep-the-loop",
        test_key_that_adds_itself_does_not_keep_the_loop);
    ADD("back-off-doubles-to-half-a-minute-until-forgotten",
        test_back_off_doubles_to_half_a_minute_until_forgotten);
    return g_test_run();
}
