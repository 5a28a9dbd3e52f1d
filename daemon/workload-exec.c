/* Processes that somebody starts in a running container; all their streams go through the pod's link.
 * Start at berth_workload_exec_open(). Main loop only. */
#include "daemon/workload-viewer.h"

#include "base/error.h"

typedef struct {
    BerthStreamHandle base;
    BerthStreamPeer *peer; /* NULL once finished */
    BerthPodSession *session;
    gsize granted;
    struct {
        GByteArray *bytes; /* came, not passed on yet; bounded by the link's credit */
    } out[3];
    GByteArray *input;
    gboolean input_ended, eof_passed, exited;
    int exit_code;
    GError *error;
} Exec;

static void
pump_exec(Exec *exec)
{
    for (guint stream = 1; stream <= 2; stream++) {
        GByteArray *bytes = exec->out[stream].bytes;
        gsize part = MIN((gsize)bytes->len, exec->granted);
        if (part == 0 || exec->peer == NULL) {
            continue;
        }
        exec->granted -= part;
        exec->peer->ops->output(exec->peer, stream, bytes->data, part);
        g_byte_array_remove_range(bytes, 0, (guint)part);
        if (exec->session != NULL) {
            berth_pod_session_ack(exec->session, (BerthLinkStream)stream, part);
        }
    }
    if (exec->exited && exec->peer != NULL && exec->out[1].bytes->len == 0 &&
        exec->out[2].bytes->len == 0) {
        BerthStreamPeer *peer = g_steal_pointer(&exec->peer);
        peer->ops->finished(peer, exec->exit_code, exec->error);
    }
}

static void
on_exec_output(BerthLinkStream stream, const guint8 *data, gsize size, gpointer user_data)
{
    Exec *exec = user_data;
    if (stream == BERTH_STREAM_STDOUT || stream == BERTH_STREAM_STDERR) {
        g_byte_array_append(exec->out[stream].bytes, data, (guint)size);
        pump_exec(exec);
    }
}

static void
pump_exec_input(Exec *exec)
{
    if (exec->session == NULL) {
        return;
    }
    gsize taken = berth_pod_session_stdin(exec->session, exec->input->data, exec->input->len);
    if (taken > 0) {
        g_byte_array_remove_range(exec->input, 0, (guint)taken);
        if (exec->peer != NULL) {
            exec->peer->ops->grant_input(exec->peer, taken);
        }
    }
    if (exec->input->len == 0 && exec->input_ended && !exec->eof_passed) {
        exec->eof_passed = TRUE;
        berth_pod_session_stdin_eof(exec->session);
    }
}

static void
on_exec_room(gpointer user_data)
{
    pump_exec_input(user_data);
}

static void
on_exec_exited(int exit_code, const GError *error, gpointer user_data)
{
    Exec *exec = user_data;
    if (exec->exited) {
        return;
    }
    exec->exited = TRUE;
    exec->exit_code = exit_code;
    exec->error = error != NULL ? g_error_copy(error) : NULL;
    pump_exec(exec);
}

static void
exec_input(BerthStreamHandle *handle, const void *data, gsize size)
{
    Exec *exec = (Exec *)handle;
    g_byte_array_append(exec->input, data, (guint)size);
    pump_exec_input(exec);
}

static void
exec_input_eof(BerthStreamHandle *handle)
{
    Exec *exec = (Exec *)handle;
    exec->input_ended = TRUE;
    pump_exec_input(exec);
}

static void
exec_grant(BerthStreamHandle *handle, gsize size)
{
    Exec *exec = (Exec *)handle;
    exec->granted += size;
    pump_exec(exec);
}

static void
exec_resize(BerthStreamHandle *handle, guint columns, guint rows)
{
    Exec *exec = (Exec *)handle;
    if (exec->session != NULL) {
        berth_pod_session_resize(exec->session, rows, columns);
    }
}

static void
exec_signal(BerthStreamHandle *handle, const char *name)
{
    Exec *exec = (Exec *)handle;
    int signum = berth_signal_parse(name);
    if (exec->session != NULL && signum > 0) {
        berth_pod_session_signal(exec->session, signum);
    }
}

static void
exec_close(BerthStreamHandle *handle, gboolean lost)
{
    Exec *exec = (Exec *)handle;
    g_clear_pointer(&exec->session, berth_pod_session_free);
    g_byte_array_unref(exec->out[1].bytes);
    g_byte_array_unref(exec->out[2].bytes);
    g_byte_array_unref(exec->input);
    g_clear_error(&exec->error);
    g_free(exec);
}

static BerthPodSession *
start_exec(BerthWorkloadRun *run, BerthObject *object, const BerthContainerSpec *container,
           guint index, const BerthStreamQuery *query, Exec *exec, GError **error)
{
    static const BerthPodSessionWatch watch = {on_exec_output, on_exec_room, on_exec_exited};
    g_autoptr(GPtrArray) owned = g_ptr_array_new_with_free_func(g_free);
    BerthImageConfig config =
        berth_workload_image_config(run->controller->control, container->image, owned);
    BerthContainerWish wish = berth_workload_wish(container);
    g_autofree char *process =
        berth_exec_setup(&config, &wish, (const char *const *)query->argv,
                         (const char *const *)query->env, query->workdir, query->tty, error);
    if (process == NULL) {
        return NULL;
    }
    BerthLinkExec wanted = {.container = index,
                            .process = process,
                            .user = query->user != NULL ? query->user : "",
                            .tty = query->tty,
                            .stdin_open = query->want_stdin,
                            .rows = query->rows,
                            .columns = query->columns};
    return berth_pod_run_exec(run->pod, &wanted, &watch, exec, error);
}

/** Starts a process in a container, as BerthWorkloadOps.exec_open says. */
BerthStreamHandle *
berth_workload_exec_open(gpointer data, BerthObject *object, const BerthStreamQuery *query,
                         BerthStreamPeer *peer, GError **error)
{
    static const BerthStreamHandleOps ops = {exec_input,  exec_input_eof, exec_grant,
                                             exec_resize, exec_signal,    exec_close};
    BerthWorkloadController *controller = data;
    BerthWorkloadRun *run = berth_workload_run_get(controller, object->uid);
    guint index;
    const BerthContainerSpec *container =
        berth_workload_find_container(object, query->container, &index, error);
    if (container == NULL) {
        return NULL;
    }
    if (run->pod == NULL || berth_workload_status_of(object)->phase != BERTH_PHASE_RUNNING) {
        berth_error_set_at(error, BERTH_ERROR_UNAVAILABLE, NULL, "berth start NAME",
                           "pod '%s' is not running", object->name);
        return NULL;
    }
    Exec *exec = g_new0(Exec, 1);
    exec->base.ops = &ops;
    exec->peer = peer;
    exec->input = g_byte_array_new();
    exec->out[1].bytes = g_byte_array_new();
    exec->out[2].bytes = g_byte_array_new();
    exec->session = start_exec(run, object, container, index, query, exec, error);
    if (exec->session == NULL) {
        exec->peer = NULL;
        exec_close(&exec->base, FALSE);
        return NULL;
    }
    return &exec->base;
}
