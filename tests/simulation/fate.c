/* See fate.h. The functions below stand before libc's and libuuid's, since the program's own definitions
 * come first when symbols are bound. The main context waits through poll_virtually(), which moves the time
 * instead of waiting. Main thread, but for the clocks. */
#include "tests/simulation/fate.h"

#include "base/random.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include <uuid/uuid.h>

#define UPTIME_US (1000 * G_USEC_PER_SEC)
#define TURNS_MAX 50000
#define EPOCH_US (G_GINT64_CONSTANT(1800000000) * G_USEC_PER_SEC)

static _Atomic gint64 elapsed_us;
static BerthSeededRandom bytes, chance;
static gboolean faults, verbose;
static guint64 hash = G_GUINT64_CONSTANT(0xcbf29ce484222325);

/* ---- what libraries call ----------------------------------------------------------------------- */

int
clock_gettime(clockid_t id, struct timespec *time)
{
    gint64 base_us;
    switch (id) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
        base_us = EPOCH_US;
        break;
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_BOOTTIME:
        base_us = UPTIME_US;
        break;
    default:
        return (int)syscall(SYS_clock_gettime, id, time);
    }
    gint64 now_us = base_us + elapsed_us;
    time->tv_sec = now_us / G_USEC_PER_SEC;
    time->tv_nsec = (long)(now_us % G_USEC_PER_SEC) * 1000;
    return 0;
}

int
gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    *now = (struct timeval){time.tv_sec, time.tv_nsec / 1000};
    return 0;
}

time_t
time(time_t *result)
{
    time_t now = (EPOCH_US + elapsed_us) / G_USEC_PER_SEC;
    if (result != NULL) {
        *result = now;
    }
    return now;
}

ssize_t
getrandom(void *buffer, size_t size, unsigned flags)
{
    if (bytes.base.fill == NULL) {
        berth_seeded_random_init(&bytes, 0); /* a library's constructor, before fate_begin() */
    }
    bytes.base.fill(&bytes.base, buffer, size);
    return (ssize_t)size;
}

/* libuuid stirs the process id in. */
void
uuid_generate_random(uuid_t out)
{
    getrandom(out, sizeof(uuid_t), 0);
    out[6] = (unsigned char)((out[6] & 0x0f) | 0x40);
    out[8] = (unsigned char)((out[8] & 0x3f) | 0x80);
}

/* ---- time -------------------------------------------------------------------------------------- */

static gint
poll_virtually(GPollFD *fds, guint count, gint timeout_ms)
{
    G_STATIC_ASSERT(sizeof(GPollFD) == sizeof(struct pollfd));
    int ready = poll((struct pollfd *)fds, count, 0);
    if (ready == 0 && timeout_ms != 0) {
        if (timeout_ms < 0) {
            g_error("nothing will ever happen again");
        }
        elapsed_us += (gint64)timeout_ms * 1000;
    }
    return ready;
}

/**
 * fate_begin:
 * @seed: names the run
 * @is_verbose: print what fate_note() is told
 */
void
fate_begin(guint64 seed, gboolean is_verbose)
{
    /* GLib shifts second-timers by a hash of these, to spread wake-ups over a session. */
    g_unsetenv("DBUS_SESSION_BUS_ADDRESS");
    g_unsetenv("HOSTNAME");
    berth_seeded_random_init(&bytes, seed);
    berth_seeded_random_init(&chance, seed * G_GUINT64_CONSTANT(0x9e3779b97f4a7c15) + 1);
    verbose = is_verbose;
    setvbuf(stdout, NULL, _IOLBF, 0);
    g_main_context_set_poll_func(NULL, poll_virtually);
}

static gboolean
set_flag(gpointer data)
{
    *(gboolean *)data = TRUE;
    return G_SOURCE_REMOVE;
}

void
fate_run_us(gint64 us)
{
    fate_run_until(NULL, NULL, us);
}

gboolean
fate_run_until(gboolean (*condition)(gpointer data), gpointer data, gint64 limit_us)
{
    gboolean is_over = FALSE, holds = FALSE;
    gint64 last_us = elapsed_us;
    guint turns = 0; /* of the main loop without a moment passing */
    guint timer = g_timeout_add((guint)(limit_us / 1000), set_flag, &is_over);
    while (!is_over && !(holds = condition != NULL && condition(data))) {
        g_main_context_iteration(NULL, TRUE);
        turns = elapsed_us == last_us ? turns + 1 : 0;
        last_us = elapsed_us;
        if (turns > TURNS_MAX) {
            g_error("the daemon is busy for ever at %.3f s", (double)last_us / G_USEC_PER_SEC);
        }
    }
    if (!is_over) {
        g_source_remove(timer);
    }
    return holds;
}

/* ---- chance ------------------------------------------------------------------------------------ */

guint64
fate_below(guint64 bound)
{
    return berth_random_below(&chance.base, bound);
}

gboolean
fate_chance(guint percent)
{
    return fate_below(100) < percent;
}

void
fate_set_faults(gboolean are_on)
{
    faults = are_on;
}

gboolean
fate_strikes(guint percent)
{
    return faults && fate_chance(percent);
}

/* ---- the record -------------------------------------------------------------------------------- */

/* FNV-1a. */
void
fate_note(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    g_autofree char *line =
        g_strdup_printf("%10.3f %s\n", (double)elapsed_us / G_USEC_PER_SEC, text);
    for (const char *at = line; *at != '\0'; at++) {
        hash = (hash ^ (guint8)*at) * G_GUINT64_CONSTANT(0x100000001b3);
    }
    if (verbose) {
        fputs(line, stdout);
    }
}

guint64
fate_hash(void)
{
    return hash;
}
