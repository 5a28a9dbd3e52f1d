/* The serial console of a VM (or of a pod's microVM): one opener, any number of viewers.
 *
 * History is a file of at most HISTORY_MAX bytes (the older half is dropped when it is full), so a flood
 * from the guest costs neither memory nor disk. A viewer that takes nothing loses its oldest bytes, not
 * the others'. When somebody else (virsh console --force) takes the console, it is tried again later.
 * Main loop only. */
#include "daemon/console.h"

#include "base/error.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define HISTORY_MAX (1024 * 1024)
#define VIEWER_MAX (128 * 1024)
#define REOPEN_S 3

typedef struct {
    BerthStreamHandle base;
    BerthConsole *console; /* NULL once it is gone */
    BerthStreamPeer *peer; /* NULL once finished */
    GByteArray *pending;
    gsize granted;
    guint pump_id;
} ConsoleViewer;

struct BerthConsole {
    BerthControl *control;
    char *uid, *host, *uuid;
    BerthChannel *channel;
    BerthFd history;
    gsize size;
    guint reopen_timer;
    GPtrArray *viewers; /* of ConsoleViewer*, borrowed */
};

static gboolean open_console(gpointer data);

/* ---- history ----------------------------------------------------------------------------------- */

static void
drop_older_half(BerthConsole *console)
{
    g_autofree char *kept = g_malloc(HISTORY_MAX / 2);
    gssize got =
        pread(console->history, kept, HISTORY_MAX / 2, (off_t)(console->size - HISTORY_MAX / 2));
    if (got < 0 || ftruncate(console->history, 0) != 0) {
        return;
    }
    console->size = 0;
    if (pwrite(console->history, kept, (gsize)got, 0) == got) {
        console->size = (gsize)got;
    }
}

static void
keep_history(BerthConsole *console, const guint8 *data, gsize size)
{
    if (console->history < 0) {
        return;
    }
    if (console->size + size > HISTORY_MAX && console->size > HISTORY_MAX / 2) {
        drop_older_half(console);
    }
    gssize written = pwrite(console->history, data, size, (off_t)console->size);
    if (written > 0) {
        console->size += (gsize)written;
    }
}

/* ---- viewers ----------------------------------------------------------------------------------- */

static gboolean
pump_viewer(gpointer data)
{
    ConsoleViewer *viewer = data;
    viewer->pump_id = 0;
    gsize part = MIN((gsize)viewer->pending->len, viewer->granted);
    if (viewer->peer != NULL && part > 0) {
        viewer->granted -= part;
        viewer->peer->ops->output(viewer->peer, 1, viewer->pending->data, part);
        g_byte_array_remove_range(viewer->pending, 0, (guint)part);
    }
    return G_SOURCE_REMOVE;
}

static void
show(ConsoleViewer *viewer, const guint8 *data, gsize size)
{
    g_byte_array_append(viewer->pending, data, (guint)size);
    if (viewer->pending->len > VIEWER_MAX) {
        g_byte_array_remove_range(viewer->pending, 0, viewer->pending->len - VIEWER_MAX);
    }
    if (viewer->pump_id == 0) {
        viewer->pump_id = g_idle_add_full(G_PRIORITY_DEFAULT, pump_viewer, viewer, NULL);
    }
}

static void
viewer_input(BerthStreamHandle *handle, const void *data, gsize size)
{
    ConsoleViewer *viewer = (ConsoleViewer *)handle;
    if (viewer->console != NULL && viewer->console->channel != NULL) {
        g_autoptr(GBytes) bytes = g_bytes_new(data, size);
        berth_channel_send(viewer->console->channel, bytes);
    }
    if (viewer->peer != NULL) {
        viewer->peer->ops->grant_input(viewer->peer, size);
    }
}

static void
viewer_input_eof(BerthStreamHandle *handle)
{
}

static void
viewer_grant(BerthStreamHandle *handle, gsize size)
{
    ConsoleViewer *viewer = (ConsoleViewer *)handle;
    viewer->granted += size;
    if (viewer->pump_id == 0 && viewer->pending->len > 0) {
        viewer->pump_id = g_idle_add_full(G_PRIORITY_DEFAULT, pump_viewer, viewer, NULL);
    }
}

static void
viewer_resize(BerthStreamHandle *handle, guint columns, guint rows)
{
}

static void
viewer_signal(BerthStreamHandle *handle, const char *name)
{
}

static void
viewer_close(BerthStreamHandle *handle, gboolean lost)
{
    ConsoleViewer *viewer = (ConsoleViewer *)handle;
    if (viewer->pump_id != 0) {
        g_source_remove(viewer->pump_id);
    }
    if (viewer->console != NULL) {
        g_ptr_array_remove(viewer->console->viewers, viewer);
    }
    g_byte_array_unref(viewer->pending);
    g_free(viewer);
}

/**
 * berth_console_attach:
 * @history: bytes of history to send first; -1: all there is
 *
 * Returns: the new viewer's handle.
 */
BerthStreamHandle *
berth_console_attach(BerthConsole *console, gint64 history, BerthStreamPeer *peer)
{
    static const BerthStreamHandleOps ops = {viewer_input,  viewer_input_eof, viewer_grant,
                                             viewer_resize, viewer_signal,    viewer_close};
    ConsoleViewer *viewer = g_new0(ConsoleViewer, 1);
    viewer->base.ops = &ops;
    viewer->console = console;
    viewer->peer = peer;
    viewer->pending = g_byte_array_new();
    gsize wanted = history < 0 ? console->size : MIN((gsize)history, console->size);
    wanted = MIN(wanted, VIEWER_MAX);
    if (wanted > 0) {
        g_autofree guint8 *data = g_malloc(wanted);
        gssize got = pread(console->history, data, wanted, (off_t)(console->size - wanted));
        if (got > 0) {
            show(viewer, data, (gsize)got);
        }
    }
    g_ptr_array_add(console->viewers, viewer);
    return &viewer->base;
}

/* ---- the channel ------------------------------------------------------------------------------- */

static void
on_received(const guint8 *data, gsize size, gpointer user_data)
{
    BerthConsole *console = user_data;
    keep_history(console, data, size);
    for (guint i = 0; i < console->viewers->len; i++) {
        show(console->viewers->pdata[i], data, size);
    }
}

static void
reopen_later(BerthConsole *console)
{
    if (console->reopen_timer == 0) {
        console->reopen_timer = g_timeout_add_seconds(REOPEN_S, open_console, console);
    }
}

static void
on_closed(const GError *error, gpointer user_data)
{
    BerthConsole *console = user_data;
    g_clear_pointer(&console->channel, berth_channel_close);
    reopen_later(console);
}

static gboolean
open_console(gpointer data)
{
    static const BerthChannelWatch watch = {on_received, on_closed};
    BerthConsole *console = data;
    console->reopen_timer = 0;
    BerthFleetHost *host = berth_fleet_get(console->control->fleet, console->host);
    if (host != NULL && host->connected) {
        console->channel = berth_host_runner_channel_open(host->runner, console->uuid, NULL, FALSE,
                                                          &watch, console);
    }
    if (console->channel == NULL) {
        reopen_later(console);
    }
    return G_SOURCE_REMOVE;
}

/** Opens the console of the domain @uuid on @host and keeps it open. */
BerthConsole *
berth_console_new(BerthControl *control, const char *uid, const char *host, const char *uuid)
{
    BerthConsole *console = g_new0(BerthConsole, 1);
    console->control = control;
    console->uid = g_strdup(uid);
    console->host = g_strdup(host);
    console->uuid = g_strdup(uuid);
    console->viewers = g_ptr_array_new();
    g_autofree char *folder = g_build_filename(control->state, "console", NULL);
    g_autofree char *path = g_build_filename(folder, uid, NULL);
    g_mkdir_with_parents(folder, 0700);
    console->history = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    struct stat st;
    if (console->history >= 0 && fstat(console->history, &st) == 0) {
        console->size = (gsize)st.st_size;
    }
    open_console(console);
    return console;
}

/** Closes the console; viewers are told that it ended. History stays. */
void
berth_console_free(BerthConsole *console)
{
    for (guint i = 0; i < console->viewers->len; i++) {
        ConsoleViewer *viewer = console->viewers->pdata[i];
        viewer->console = NULL;
        if (viewer->peer != NULL) {
            BerthStreamPeer *peer = g_steal_pointer(&viewer->peer);
            peer->ops->finished(peer, 0, NULL);
        }
    }
    if (console->reopen_timer != 0) {
        g_source_remove(console->reopen_timer);
    }
    g_clear_pointer(&console->channel, berth_channel_close);
    berth_fd_clear(&console->history);
    g_ptr_array_unref(console->viewers);
    g_free(console->uid);
    g_free(console->host);
    g_free(console->uuid);
    g_free(console);
}
