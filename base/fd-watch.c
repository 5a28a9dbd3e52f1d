/* All watched descriptors of the process in one epoll, which is one source of the default main context.
 *
 * Invariant: the kernel's answer names a watch by a number that never comes again, so one that was freed
 * since is not found and not told. Any thread makes and sets; the main loop tells and frees. */
#include "base/fd-watch.h"

#include <errno.h>
#include <glib-unix.h>
#include <sys/epoll.h>

/* Told in one turn; who is left over is first in the next: the kernel goes round. */
#define TURN_MAX 64

struct BerthFdWatch {
    guint64 number;
    int fd; /* borrowed */
    GIOCondition wanted;
    BerthFdReady ready;
    gpointer user_data;
};

static GMutex lock;
static int epoll = -1;      /* guarded by lock, as all below */
static GHashTable *watches; /* &number -> BerthFdWatch*, borrowed */
static guint64 last_number;

static guint32
to_events(GIOCondition wanted)
{
    return (wanted & G_IO_IN ? EPOLLIN : 0) | (wanted & G_IO_OUT ? EPOLLOUT : 0);
}

static GIOCondition
from_events(guint32 events)
{
    return (events & EPOLLIN ? G_IO_IN : 0) | (events & EPOLLOUT ? G_IO_OUT : 0) |
           (events & EPOLLERR ? G_IO_ERR : 0) | (events & EPOLLHUP ? G_IO_HUP : 0);
}

static BerthFdWatch *
find_watch(guint64 number)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&lock);
    return g_hash_table_lookup(watches, &number);
}

static gboolean
tell_ready(int fd, GIOCondition condition, gpointer unused)
{
    struct epoll_event events[TURN_MAX];
    int count = epoll_wait(fd, events, TURN_MAX, 0);
    for (int i = 0; i < count; i++) {
        BerthFdWatch *watch = find_watch(events[i].data.u64);
        if (watch != NULL) {
            watch->ready(from_events(events[i].events), watch->user_data);
        }
    }
    return G_SOURCE_CONTINUE;
}

static void
open_epoll(void)
{
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0) {
        g_error("can't make an epoll: %s", g_strerror(errno));
    }
    watches = g_hash_table_new(g_int64_hash, g_int64_equal);
    g_autoptr(GSource) source = g_unix_fd_source_new(epoll, G_IO_IN);
    g_source_set_callback(source, G_SOURCE_FUNC(tell_ready), NULL, NULL);
    g_source_set_static_name(source, "file descriptors");
    g_source_attach(source, NULL);
}

/* Under the lock. What nothing is wanted of is taken out: the kernel would tell hang-ups all the same. */
static void
set_wanted(BerthFdWatch *watch, GIOCondition wanted)
{
    int operation = wanted == 0          ? EPOLL_CTL_DEL
                    : watch->wanted == 0 ? EPOLL_CTL_ADD
                                         : EPOLL_CTL_MOD;
    struct epoll_event event = {.events = to_events(wanted), .data.u64 = watch->number};
    if (watch->wanted != wanted && epoll_ctl(epoll, operation, watch->fd, &event) != 0 &&
        operation == EPOLL_CTL_ADD) {
        g_error("can't watch file descriptor %d: %s", watch->fd, g_strerror(errno));
    }
    watch->wanted = wanted;
}

/**
 * berth_fd_watch_new:
 * @fd: a socket, pipe or the like that no other watch wants anything of; stays open while this one does
 * @wanted: of G_IO_IN and G_IO_OUT; errors and hang-ups are told besides. 0: nothing is told
 *
 * Any thread. Returns: (transfer full).
 */
BerthFdWatch *
berth_fd_watch_new(int fd, GIOCondition wanted, BerthFdReady ready, gpointer user_data)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&lock);
    if (epoll < 0) {
        open_epoll();
    }
    BerthFdWatch *watch = g_new(BerthFdWatch, 1);
    *watch = (BerthFdWatch){++last_number, fd, 0, ready, user_data};
    g_hash_table_insert(watches, &watch->number, watch);
    set_wanted(watch, wanted);
    return watch;
}

/** Any thread. */
void
berth_fd_watch_set(BerthFdWatch *watch, GIOCondition wanted)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&lock);
    set_wanted(watch, wanted);
}

/** Nothing is told any more. Main loop; before the descriptor is closed, unless nothing is wanted of it. */
void
berth_fd_watch_free(BerthFdWatch *watch)
{
    g_mutex_lock(&lock);
    set_wanted(watch, 0);
    g_hash_table_remove(watches, &watch->number);
    g_mutex_unlock(&lock);
    g_free(watch);
}
