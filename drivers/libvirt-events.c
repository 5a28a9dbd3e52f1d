/* virEventRegisterImpl() over base/alarm and base/fd-watch.
 *
 * libvirt calls in from any thread, from within its callbacks, and for what it has just removed. Invariant:
 * a source is found by its number until it is removed; it, and what libvirt gave with it, are freed later
 * and on the main loop, so never under a callback that runs there. */
#include "drivers/libvirt-events.h"

#include "base/alarm.h"
#include "base/fd-watch.h"

#include <libvirt/libvirt.h>

/* A descriptor or a timer of libvirt's. */
typedef struct {
    int number;
    int fd;       /* -1: a timer */
    int events;   /* guarded by lock; VIR_EVENT_HANDLE_*, 0 for none and once it is removed */
    int every_ms; /* guarded by lock; -1: off, and once it is removed */
    union {
        virEventHandleCallback handle;
        virEventTimeoutCallback timeout;
    } callback;
    void *opaque;
    virFreeCallback free_opaque;
    BerthFdWatch *watch; /* owned; NULL for a timer */
    BerthAlarm *alarm;   /* owned; NULL for a descriptor */
} Source;

static GMutex lock;
static GHashTable *sources; /* number -> Source*, guarded by lock */
static int last_number;     /* guarded by lock */

static const struct {
    int event;
    GIOCondition condition;
} names[] = {
    {VIR_EVENT_HANDLE_READABLE, G_IO_IN},
    {VIR_EVENT_HANDLE_WRITABLE, G_IO_OUT},
    {VIR_EVENT_HANDLE_ERROR, G_IO_ERR},
    {VIR_EVENT_HANDLE_HANGUP, G_IO_HUP},
};

static GIOCondition
to_condition(int events)
{
    GIOCondition condition = 0;
    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        condition |= events & names[i].event ? names[i].condition : 0;
    }
    return condition;
}

static int
to_events(GIOCondition condition)
{
    int events = 0;
    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        events |= condition & names[i].condition ? names[i].event : 0;
    }
    return events;
}

static gint64
due_us(int every_ms)
{
    return every_ms < 0 ? G_MAXINT64 : g_get_monotonic_time() + (gint64)every_ms * 1000;
}

/* ---- what happens, on the main loop ------------------------------------------------------------ */

/* A thread of libvirt's may have turned it off since the kernel was asked. */
static void
on_ready(GIOCondition ready, gpointer data)
{
    Source *source = data;
    g_mutex_lock(&lock);
    int events = to_events(ready) & source->events;
    g_mutex_unlock(&lock);
    if (events != 0) {
        source->callback.handle(source->number, source->fd, events, source->opaque);
    }
}

/* It goes on at its interval, unless the callback says otherwise. */
static void
on_due(gpointer data)
{
    Source *source = data;
    g_mutex_lock(&lock);
    gboolean is_on = source->every_ms >= 0;
    berth_alarm_set(source->alarm, due_us(source->every_ms));
    g_mutex_unlock(&lock);
    if (is_on) {
        source->callback.timeout(source->number, source->opaque);
    }
}

static gboolean
free_source(gpointer data)
{
    Source *source = data;
    g_clear_pointer(&source->watch, berth_fd_watch_free);
    g_clear_pointer(&source->alarm, berth_alarm_free);
    if (source->free_opaque != NULL) {
        source->free_opaque(source->opaque);
    }
    g_free(source);
    return G_SOURCE_REMOVE;
}

/* ---- what libvirt asks for, on any thread ------------------------------------------------------ */

/* Under the lock. */
static Source *
add_source(int fd, void *opaque, virFreeCallback free_opaque)
{
    Source *source = g_new0(Source, 1);
    source->number = ++last_number;
    source->fd = fd;
    source->every_ms = -1;
    source->opaque = opaque;
    source->free_opaque = free_opaque;
    g_hash_table_insert(sources, GINT_TO_POINTER(source->number), source);
    return source;
}

/* Under the lock. */
static Source *
find_source(int number, gboolean is_timer)
{
    Source *source = g_hash_table_lookup(sources, GINT_TO_POINTER(number));
    return source != NULL && (source->alarm != NULL) == is_timer ? source : NULL;
}

static void
set_handle(Source *source, int events)
{
    source->events = events;
    berth_fd_watch_set(source->watch, to_condition(events));
}

static void
set_timeout(Source *source, int every_ms)
{
    source->every_ms = every_ms;
    berth_alarm_set(source->alarm, due_us(every_ms));
}

static int
add_handle(int fd, int events, virEventHandleCallback callback, void *opaque,
           virFreeCallback free_opaque)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&lock);
    Source *source = add_source(fd, opaque, free_opaque);
    source->callback.handle = callback;
    source->watch = berth_fd_watch_new(fd, 0, on_ready, source);
    set_handle(source, events);
    return source->number;
}

static void
update_handle(int number, int events)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&lock);
    Source *source = find_source(number, FALSE);
    if (source != NULL) {
        set_handle(source, events);
    }
}

static int
add_timeout(int every_ms, virEventTimeoutCallback callback, void *opaque,
            virFreeCallback free_opaque)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&lock);
    Source *source = add_source(-1, opaque, free_opaque);
    source->callback.timeout = callback;
    source->alarm = berth_alarm_new(on_due, source);
    set_timeout(source, every_ms);
    return source->number;
}

static void
update_timeout(int number, int every_ms)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&lock);
    Source *source = find_source(number, TRUE);
    if (source != NULL) {
        set_timeout(source, every_ms);
    }
}

static int
remove_source(int number, gboolean is_timer)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&lock);
    Source *source = find_source(number, is_timer);
    if (source == NULL) {
        return -1;
    }
    g_hash_table_remove(sources, GINT_TO_POINTER(number));
    if (is_timer) {
        set_timeout(source, -1);
    } else {
        set_handle(source, 0); /* at once: libvirt closes the descriptor now */
    }
    g_idle_add_full(G_PRIORITY_DEFAULT, free_source, source, NULL);
    return 0;
}

static int
remove_handle(int number)
{
    return remove_source(number, FALSE);
}

static int
remove_timeout(int number)
{
    return remove_source(number, TRUE);
}

/** See the header. */
void
berth_libvirt_events_register(void)
{
    sources = g_hash_table_new(NULL, NULL);
    virEventRegisterImpl(add_handle, update_handle, remove_handle, add_timeout, update_timeout,
                         remove_timeout);
}
