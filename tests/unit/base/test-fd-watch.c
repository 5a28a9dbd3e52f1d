/* Watched descriptors: told while they are ready, for what is wanted, not after the watch was freed; the
 * loop polls one descriptor however many there are. */
#include "base/fd-watch.h"

#include <sys/socket.h>
#include <unistd.h>

typedef struct {
    int fds[2];
    BerthFdWatch *watch;
    guint told;
    GIOCondition ready;
    BerthFdWatch **victim; /* freed when this one is told */
} End;

static void
on_ready(GIOCondition ready, gpointer data)
{
    End *end = data;
    end->told++;
    end->ready = ready;
    if (end->victim != NULL) {
        g_clear_pointer(end->victim, berth_fd_watch_free);
    }
}

static void
end_init(End *end)
{
    *end = (End){.told = 0};
    g_assert_no_errno(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, end->fds));
    end->watch = berth_fd_watch_new(end->fds[0], G_IO_IN, on_ready, end);
}

static void
end_clear(End *end)
{
    g_clear_pointer(&end->watch, berth_fd_watch_free);
    for (guint i = 0; i < G_N_ELEMENTS(end->fds); i++) {
        close(end->fds[i]);
    }
}

static void
turn(void)
{
    g_main_context_iteration(NULL, FALSE);
}

static void
test_tells_what_is_wanted_while_it_is_so(void)
{
    End end;
    char byte = 'x';
    end_init(&end);
    turn();
    g_assert_cmpuint(end.told, ==, 0);
    g_assert_cmpint(write(end.fds[1], &byte, 1), ==, 1);
    turn();
    turn();
    g_assert_cmpuint(end.told, ==, 2);
    g_assert_cmpint(end.ready, ==, G_IO_IN);
    g_assert_cmpint(read(end.fds[0], &byte, 1), ==, 1);
    turn();
    g_assert_cmpuint(end.told, ==, 2);
    berth_fd_watch_set(end.watch, G_IO_IN | G_IO_OUT);
    turn();
    g_assert_cmpint(end.ready, ==, G_IO_OUT);
    berth_fd_watch_set(end.watch, 0);
    g_assert_no_errno(shutdown(end.fds[1], SHUT_RDWR));
    turn();
    g_assert_cmpuint(end.told, ==, 3);
    berth_fd_watch_set(end.watch, G_IO_IN);
    turn();
    g_assert_cmpuint(end.told, ==, 4);
    g_assert_true((end.ready & G_IO_HUP) != 0);
    end_clear(&end);
}

/* Both are ready in the same turn; whoever is told first frees the other. */
static void
test_one_that_is_freed_meanwhile_is_not_told(void)
{
    End one, other;
    end_init(&one);
    end_init(&other);
    one.victim = &other.watch;
    other.victim = &one.watch;
    g_assert_cmpint(write(one.fds[1], "x", 1), ==, 1);
    g_assert_cmpint(write(other.fds[1], "x", 1), ==, 1);
    turn();
    g_assert_cmpuint(one.told + other.told, ==, 1);
    End *freed = one.watch == NULL ? &one : &other; /* its descriptor is free for another watch */
    one.victim = other.victim = NULL;
    freed->watch = berth_fd_watch_new(freed->fds[0], G_IO_IN, on_ready, freed);
    turn();
    g_assert_cmpuint(freed->told, ==, 1);
    end_clear(&one);
    end_clear(&other);
}

static gint
count_polled(void)
{
    GMainContext *context = g_main_context_default();
    GPollFD fds[16];
    gint priority, timeout;
    g_assert_true(g_main_context_acquire(context));
    g_main_context_prepare(context, &priority);
    gint count = g_main_context_query(context, priority, &timeout, fds, G_N_ELEMENTS(fds));
    g_main_context_check(context, priority, fds, 0);
    g_main_context_release(context);
    return count;
}

static void
test_a_hundred_are_polled_as_one(void)
{
    End ends[100];
    end_init(&ends[0]);
    gint before = count_polled();
    for (guint i = 1; i < G_N_ELEMENTS(ends); i++) {
        end_init(&ends[i]);
    }
    g_assert_cmpint(count_polled(), ==, before);
    for (guint i = 0; i < G_N_ELEMENTS(ends); i++) {
        g_assert_cmpint(write(ends[i].fds[1], "x", 1), ==, 1);
    }
    turn();
    turn(); /* more than one turn tells: but all have theirs before anybody has a third */
    for (guint i = 0; i < G_N_ELEMENTS(ends); i++) {
        g_assert_cmpuint(ends[i].told, >=, 1);
        g_assert_cmpuint(ends[i].told, <=, 2);
        end_clear(&ends[i]);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/base/fd-watch/tells-what-is-wanted-while-it-is-so",
                    test_tells_what_is_wanted_while_it_is_so);
    g_test_add_func("/base/fd-watch/one-that-is-freed-meanwhile-is-not-told",
                    test_one_that_is_freed_meanwhile_is_not_told);
    g_test_add_func("/base/fd-watch/a-hundred-are-polled-as-one", test_a_hundred_are_polled_as_one);
    return g_test_run();
}
