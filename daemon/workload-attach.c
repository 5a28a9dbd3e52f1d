/* Attached streams: output is read from the log, input goes through the pod's link. One may come before the
 * pod runs: it is woken by each change. Start at pump(). Main loop only. */
#include "daemon/workload-viewer.h"

#include "base/error.h"

typedef struct {
    BerthStreamHandle base;
    BerthViewer viewer;
    BerthLogCursor *cursor;
    BerthStreamPeer *peer; /* NULL once finished */
    BerthPodSession *session;
    gsize granted, offset; /* offset: bytes of `pending` passed on */
    GBytes *pending;
    guint8 pending_stream;
    GByteArray *input; /* what the process does not take yet */
    gsize input_size;  /* granted again when taken */
    gboolean input_ended, eof_passed, exited;
    int exit_code;
    GError *error; /* owned; what is wrong with how it ended */
    guint columns, rows;
    guint pump_id;
} Attach;

static void schedule_pump(Attach *attach);

static void
on_attach_output(BerthLinkStream stream, const guint8 *data, gsize size, gpointer user_data)
{
    schedule_pump(user_data);
}

static void pump_input(Attach *attach);

static void
on_attach_room(gpointer user_data)
{
    pump_input(user_data);
}

static void
on_attach_exited(int exit_code, const GError *error, gpointer user_data)
{
    Attach *attach = user_data;
    if (error == NULL || g_error_matches(error, BERTH_ERROR, BERTH_ERROR_CORRUPT)) {
        attach->exited = TRUE;
        attach->exit_code = exit_code;
        g_clear_error(&attach->error);
        attach->error = error != NULL ? g_error_copy(error) : NULL;
    } else {
        g_clear_pointer(&attach->session, berth_pod_session_free);
    }
    schedule_pump(attach);
}

static void
attach_to_pod(Attach *attach)
{
    static const BerthPodSessionWatch watch = {on_attach_output, on_attach_room, on_attach_exited};
    BerthWorkloadRun *run = berth_viewer_run(&attach->viewer);
    if (attach->session == NULL && run != NULL && run->pod != NULL && !attach->exited) {
        attach->session = berth_pod_run_attach(run->pod, attach->viewer.index, &watch, attach);
        if (attach->columns > 0) {
            berth_pod_session_resize(attach->session, attach->rows, attach->columns);
        }
        pump_input(attach);
    }
}

static void
pump_input(Attach *attach)
{
    if (attach->session == NULL) {
        return;
    }
    gsize taken = berth_pod_session_stdin(attach->session, attach->input->data, attach->input->len);
    if (taken > 0) {
        g_byte_array_remove_range(attach->input, 0, (guint)taken);
        if (attach->peer != NULL) {
            attach->peer->ops->grant_input(attach->peer, taken);
        }
    }
    if (attach->input->len == 0 && attach->input_ended && !attach->eof_passed) {
        attach->eof_passed = TRUE;
        berth_pod_session_stdin_eof(attach->session);
    }
}

/* Takes the next record into `pending`. FALSE: nothing there now. */
static gboolean
fetch_record(Attach *attach)
{
    BerthLogRecord record;
    while (attach->pending == NULL) {
        if (!berth_log_cursor_next(attach->cursor, &record)) {
            return FALSE;
        }
        if (record.size > 0) {
            attach->pending = g_bytes_new(record.data, record.size);
            attach->pending_stream = record.stream;
            attach->offset = 0;
        }
    }
    return TRUE;
}

static void
finish_attach(Attach *attach, int exit_code)
{
    BerthStreamPeer *peer = g_steal_pointer(&attach->peer);
    peer->ops->finished(peer, exit_code, attach->error);
}

static void
pump_output(Attach *attach)
{
    while (attach->peer != NULL && attach->granted > 0 && fetch_record(attach)) {
        gsize size;
        const guint8 *data = g_bytes_get_data(attach->pending, &size);
        gsize part = MIN(size - attach->offset, attach->granted);
        attach->granted -= part;
        const guint8 *from = data + attach->offset;
        attach->offset += part;
        attach->peer->ops->output(attach->peer, attach->pending_stream, from, part);
        if (attach->offset == size) {
            g_clear_pointer(&attach->pending, g_bytes_unref);
        }
    }
}

static gboolean
pump(gpointer data)
{
    Attach *attach = data;
    attach->pump_id = 0;
    attach_to_pod(attach);
    pump_output(attach);
    if (attach->peer == NULL || attach->pending != NULL || fetch_record(attach)) {
        return G_SOURCE_REMOVE;
    }
    int exit_code;
    if (attach->exited) {
        finish_attach(attach, attach->exit_code);
    } else if (berth_viewer_has_ended(&attach->viewer, &exit_code)) {
        finish_attach(attach, exit_code);
    }
    return G_SOURCE_REMOVE;
}

static void
schedule_pump(Attach *attach)
{
    if (attach->pump_id == 0) {
        attach->pump_id = g_idle_add_full(G_PRIORITY_DEFAULT, pump, attach, NULL);
    }
}

static void
wake_attach(BerthViewer *viewer)
{
    schedule_pump((Attach *)((char *)viewer - offsetof(Attach, viewer)));
}

static void
attach_input(BerthStreamHandle *handle, const void *data, gsize size)
{
    Attach *attach = (Attach *)handle;
    g_byte_array_append(attach->input, data, (guint)size);
    pump_input(attach);
}

static void
attach_input_eof(BerthStreamHandle *handle)
{
    Attach *attach = (Attach *)handle;
    attach->input_ended = TRUE;
    pump_input(attach);
}

static void
attach_grant(BerthStreamHandle *handle, gsize size)
{
    Attach *attach = (Attach *)handle;
    attach->granted += size;
    schedule_pump(attach);
}

static void
attach_resize(BerthStreamHandle *handle, guint columns, guint rows)
{
    Attach *attach = (Attach *)handle;
    attach->columns = columns;
    attach->rows = rows;
    if (attach->session != NULL) {
        berth_pod_session_resize(attach->session, rows, columns);
    }
}

static void
attach_signal(BerthStreamHandle *handle, const char *name)
{
    Attach *attach = (Attach *)handle;
    int signum = berth_signal_parse(name);
    if (attach->session != NULL && signum > 0) {
        berth_pod_session_signal(attach->session, signum);
    }
}

static void
attach_close(BerthStreamHandle *handle, gboolean lost)
{
    Attach *attach = (Attach *)handle;
    if (attach->pump_id != 0) {
        g_source_remove(attach->pump_id);
    }
    g_clear_pointer(&attach->session, berth_pod_session_free);
    g_clear_pointer(&attach->pending, g_bytes_unref);
    berth_viewer_clear(&attach->viewer);
    berth_log_cursor_free(attach->cursor);
    g_byte_array_unref(attach->input);
    g_clear_error(&attach->error);
    g_free(attach);
}

/** Attaches to a container, as BerthWorkloadOps.attach_open says. */
BerthStreamHandle *
berth_workload_attach_open(gpointer data, BerthObject *object, const BerthStreamQuery *query,
                           BerthStreamPeer *peer, GError **error)
{
    static const BerthStreamHandleOps ops = {attach_input,  attach_input_eof, attach_grant,
                                             attach_resize, attach_signal,    attach_close};
    BerthWorkloadController *controller = data;
    guint index;
    const BerthContainerSpec *container =
        berth_workload_find_container(object, query->container, &index, error);
    if (container == NULL) {
        return NULL;
    }
    Attach *attach = g_new0(Attach, 1);
    attach->base.ops = &ops;
    attach->peer = peer;
    attach->input = g_byte_array_new();
    attach->columns = query->columns;
    attach->rows = query->rows;
    attach->cursor = berth_log_cursor_new(controller->control->logs, object->uid, container->name);
    if (query->history == 0) {
        berth_log_cursor_skip_to_tail(attach->cursor, 0);
    }
    berth_viewer_init(&attach->viewer, controller, object, container->name, index, wake_attach);
    schedule_pump(attach);
    return &attach->base;
}
