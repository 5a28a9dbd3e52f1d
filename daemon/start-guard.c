/* The main thread may hang in the state file's disk before it listens, where nobody can ask it. So another
 * thread counts the time: it logs what is waited for, tells systemd, and at the limit ends the process. That is safe
 * at any point, and the only way out: neither a call to a disk nor its thread can be cancelled.
 *
 * Invariant: once berth_start_guard_free() has returned, nothing is told and nobody is ended. */
#include "daemon/start-guard.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "daemon/log.h"

struct BerthStartGuard {
    char *place; /* owned */
    guint limit_s;
    GThread *thread;
    GMutex mutex; /* guards the next two */
    GCond wake;
    const char *what; /* static */
    gboolean over;
};

/* What 'systemctl status' shows (sd_notify(3)); nothing when systemd did not start us. */
static void
notify_status(const char *status)
{
    const char *path = g_getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (path == NULL || strlen(path) >= sizeof address.sun_path) {
        return;
    }
    memcpy(address.sun_path, path, strlen(path));
    if (*path == '@') {
        address.sun_path[0] = '\0';
    }
    g_auto(BerthFd) fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (fd >= 0) {
        g_autofree char *text = g_strconcat("STATUS=", status, NULL);
        sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&address, length);
    }
}

static void
tell(const BerthStartGuard *guard, guint seconds)
{
    g_autofree char *waited = g_strdup_printf("%u", seconds);
    g_autofree char *status =
        g_strdup_printf("Waiting for %u s: %s in %s", seconds, guard->what, guard->place);
    berth_log(BERTH_LOG_WARNING, "still starting", "waits", guard->what, "in", guard->place,
              "seconds", waited, NULL);
    notify_status(status);
}

static void
give_up(const BerthStartGuard *guard)
{
    g_autoptr(GError) error = NULL;
    berth_error_set_at(&error, BERTH_ERROR_TIMEOUT, NULL,
                       "see whether its disk answers (dmesg) and what else has the file open "
                       "(fuser); [state] start_limit_s in berthd.conf is the time",
                       "'%s' does not answer: %s, and that for %u s", guard->place, guard->what,
                       guard->limit_s);
    berth_log_error(BERTH_LOG_ERROR, error, "can't start", NULL);
    notify_status(error->message);
    _exit(1);
}

static gpointer
watch(gpointer data)
{
    BerthStartGuard *guard = data;
    const guint every_s = CLAMP(guard->limit_s / 4, 1, 10);
    const gint64 began_us = g_get_monotonic_time();
    g_mutex_lock(&guard->mutex);
    for (guint seconds = 0; !guard->over;) {
        guint next = MIN(seconds + every_s, guard->limit_s);
        if (g_cond_wait_until(&guard->wake, &guard->mutex, began_us + next * G_USEC_PER_SEC)) {
            continue;
        }
        seconds = next;
        if (seconds >= guard->limit_s) {
            give_up(guard);
        }
        tell(guard, seconds);
    }
    g_mutex_unlock(&guard->mutex);
    return NULL;
}

/**
 * berth_start_guard_new:
 * @place: what is named in what it tells: the state file's path
 * @limit_s: after so many seconds the process ends with exit code 1
 *
 * Begins to count.
 */
BerthStartGuard *
berth_start_guard_new(const char *place, guint limit_s)
{
    BerthStartGuard *guard = g_new0(BerthStartGuard, 1);
    guard->place = g_strdup(place);
    guard->limit_s = limit_s;
    guard->what = "the start";
    g_mutex_init(&guard->mutex);
    g_cond_init(&guard->wake);
    guard->thread = g_thread_new("start-guard", watch, guard);
    return guard;
}

/** @what: static, what is begun now, as in "the state file is opened"; its time is part of the whole. */
void
berth_start_guard_step(BerthStartGuard *guard, const char *what)
{
    g_mutex_lock(&guard->mutex);
    guard->what = what;
    g_mutex_unlock(&guard->mutex);
}

/** The start is over, well or not. */
void
berth_start_guard_free(BerthStartGuard *guard)
{
    g_mutex_lock(&guard->mutex);
    guard->over = TRUE;
    g_cond_signal(&guard->wake);
    g_mutex_unlock(&guard->mutex);
    g_thread_join(guard->thread);
    g_mutex_clear(&guard->mutex);
    g_cond_clear(&guard->wake);
    g_free(guard->place);
    g_free(guard);
}
