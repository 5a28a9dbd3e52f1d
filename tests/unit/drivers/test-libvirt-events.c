/* Berth's event loop as libvirt sees it: timers that repeat until told otherwise, descriptors told for what is
 * wanted, and nothing freed under a callback. */
#include "drivers/libvirt-events.h"

#include <libvirt/libvirt.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct {
    int number, told, events, next_ms;
    gboolean removes, is_freed;
} Told;

static void
mark_freed(void *opaque)
{
    ((Told *)opaque)->is_freed = TRUE;
}

static void
on_timeout(int number, void *opaque)
{
    Told *told = opaque;
    g_assert_cmpint(number, ==, told->number);
    told->told++;
    if (told->removes) {
        g_assert_cmpint(virEventRemoveTimeout(number), ==, 0);
    } else if (told->told == 2) {
        virEventUpdateTimeout(number, told->next_ms);
    }
}

static void
on_handle(int number, int fd, int events, void *opaque)
{
    Told *told = opaque;
    g_assert_cmpint(number, ==, told->number);
    told->told++;
    told->events = events;
}

static void
turn(void)
{
    g_main_context_iteration(NULL, FALSE);
}

static void
settle(void)
{
    while (g_main_context_iteration(NULL, FALSE)) {
    }
}

static void
test_timer_repeats_until_it_is_told_otherwise(void)
{
    Told told = {.next_ms = -1};
    told.number = virEventAddTimeout(5, on_timeout, &told, mark_freed);
    gint64 began = g_get_monotonic_time();
    while (told.told < 2) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_assert_cmpint(g_get_monotonic_time() - began, >=, 10000);
    turn(); /* it set itself off */
    g_assert_false(g_main_context_pending(NULL));
    virEventUpdateTimeout(told.number, 0);
    turn();
    turn();
    g_assert_cmpint(told.told, ==, 4);
    g_assert_cmpint(virEventRemoveTimeout(told.number), ==, 0);
    g_assert_cmpint(virEventRemoveTimeout(told.number), ==, -1);
    g_assert_false(told.is_freed);
    settle();
    g_assert_true(told.is_freed);
    g_assert_cmpint(told.told, ==, 4);
}

static void
test_timer_that_removes_itself_is_freed_afterwards(void)
{
    Told told = {.removes = TRUE};
    told.number = virEventAddTimeout(0, on_timeout, &told, mark_freed);
    settle();
    g_assert_cmpint(told.told, ==, 1);
    g_assert_true(told.is_freed);
}

static void
test_descriptor_is_told_for_what_is_wanted(void)
{
    int fds[2];
    Told told = {0};
    g_assert_no_errno(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds));
    told.number =
        virEventAddHandle(fds[0], VIR_EVENT_HANDLE_READABLE, on_handle, &told, mark_freed);
    turn();
    g_assert_cmpint(told.told, ==, 0);
    g_assert_cmpint(write(fds[1], "x", 1), ==, 1);
    turn();
    g_assert_cmpint(told.events, ==, VIR_EVENT_HANDLE_READABLE);
    g_assert_no_errno(shutdown(fds[1], SHUT_RDWR));
    virEventUpdateHandle(told.number, VIR_EVENT_HANDLE_WRITABLE | VIR_EVENT_HANDLE_HANGUP);
    turn();
    g_assert_cmpint(told.events, ==, VIR_EVENT_HANDLE_WRITABLE | VIR_EVENT_HANDLE_HANGUP);
    virEventUpdateHandle(told.number, 0); /* a thread of libvirt's reads itself: nothing is told, */
    turn();                               /* not even that the other side is gone */
    g_assert_cmpint(told.told, ==, 2);
    virEventUpdateHandle(told.number, VIR_EVENT_HANDLE_READABLE);
    turn();
    g_assert_cmpint(told.events, ==, VIR_EVENT_HANDLE_READABLE);
    g_assert_cmpint(virEventRemoveHandle(told.number), ==, 0);
    Told again = {0}; /* the descriptor is free for another at once */
    again.number = virEventAddHandle(fds[0], VIR_EVENT_HANDLE_READABLE, on_handle, &again, NULL);
    g_assert_cmpint(virEventRemoveHandle(again.number), ==, 0);
    close(fds[0]);
    g_assert_false(told.is_freed);
    settle();
    g_assert_true(told.is_freed);
    g_assert_cmpint(told.told, ==, 3);
    close(fds[1]);
}

static guint
next_source_id(void)
{
    g_autoptr(GSource) source = g_idle_source_new();
    guint id = g_source_attach(source, NULL);
    g_source_destroy(source);
    return id;
}

static void
test_a_thousand_timers_are_no_sources_of_their_own(void)
{
    Told told = {0};
    int numbers[1000];
    numbers[0] = virEventAddTimeout(5000, on_timeout, &told, NULL);
    guint before = next_source_id();
    for (guint i = 1; i < G_N_ELEMENTS(numbers); i++) {
        numbers[i] = virEventAddTimeout(5000, on_timeout, &told, NULL);
    }
    g_assert_cmpuint(next_source_id(), ==, before + 1);
    for (guint i = 0; i < G_N_ELEMENTS(numbers); i++) {
        g_assert_cmpint(virEventRemoveTimeout(numbers[i]), ==, 0);
    }
    settle();
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    berth_libvirt_events_register();
    g_test_add_func("/drivers/libvirt-events/timer-repeats-until-it-is-told-otherwise",
                    test_timer_repeats_until_it_is_told_otherwise);
    g_test_add_func("/drivers/libvirt-events/timer-that-removes-itself-is-freed-afterwards",
                    test_timer_that_removes_itself_is_freed_afterwards);
    g_test_add_func("/drivers/libvirt-events/descriptor-is-told-for-what-is-wanted",
                    test_descriptor_is_told_for_what_is_wanted);
    g_test_add_func("/drivers/libvirt-events/a-thousand-timers-are-no-sources-of-their-own",
                    test_a_thousand_timers_are_no_sources_of_their_own);
    return g_test_run();
}
