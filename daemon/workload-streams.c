/* Logs, attach, exec and console of workloads, as the HTTP side asks for them (workload-ops.h).
 *
 * Output of containers is always read from the log, at the reader's pace: that is why nothing is lost
 * or doubled, and why a slow reader holds nobody up. Input and execs go through the pod's link. A viewer
 * may come before the pod runs: it is woken by each change. Main loop only. */
#include "daemon/workload-run.h"

#include "base/error.h"
#include "base/json.h"
#include "daemon/console.h"
#include "drivers/pod-config.h"

#include <signal.h>
#include <string.h>

#define CHUNK_MAX (64 * 1024)

/* Somebody who reads a container's log: a log reader or an attached stream. */
typedef struct Viewer Viewer;
struct Viewer {
    BerthWorkloadController *controller;
    char *uid, *container;
    guint index;
    void (*wake)(Viewer *viewer);
};

/* ---- viewers ----------------------------------------------------------------------------------- */

static BerthWorkloadRun *
run_of(const Viewer *viewer)
{
    return g_hash_table_lookup(viewer->controller->runs, viewer->uid);
}

static void
viewer_init(Viewer *viewer, BerthWorkloadController *controller, BerthObject *object,
            const char *container, guint index, void (*wake)(Viewer *viewer))
{
    BerthWorkloadRun *run = berth_workload_run_get(controller, object->uid);
    viewer->controller = controller;
    viewer->uid = g_strdup(object->uid);
    viewer->container = g_strdup(container);
    viewer->index = index;
    viewer->wake = wake;
    run->readers++;
    g_ptr_array_add(run->log_wakers, viewer);
}

static void
viewer_clear(Viewer *viewer)
{
    BerthWorkloadRun *run = run_of(viewer);
    if (run != NULL && g_ptr_array_remove(run->log_wakers, viewer)) {
        run->readers--;
    }
    g_free(viewer->uid);
    g_free(viewer->container);
}

/** Something that viewers of @run may want to see happened. */
void
berth_workload_wake_logs(BerthWorkloadRun *run)
{
    g_autoptr(GPtrArray) all = g_ptr_array_copy(run->log_wakers, NULL, NULL);
    for (guint i = 0; i < all->len; i++) {
        if (g_ptr_array_find(run->log_wakers, all->pdata[i], NULL)) {
            ((Viewer *)all->pdata[i])->wake(all->pdata[i]);
        }
    }
}

/** The pod of @run has a link now: viewers that waited for it attach. */
void
berth_workload_logs_opened(BerthWorkloadRun *run)
{
    berth_workload_wake_logs(run);
}

static const BerthContainerSpec *
find_container(BerthObject *object, const char *name, guint *index, GError **error)
{
    if (object->kind != &berth_kind_pod) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, NULL, "berth console NAME",
                           "'%s' is a VM: it has no containers", object->name);
        return NULL;
    }
    const GPtrArray *containers = ((BerthPodSpec *)object->spec_data)->containers;
    for (guint i = 0; i < containers->len; i++) {
        BerthContainerSpec *container = containers->pdata[i];
        if (name == NULL || g_str_equal(container->name, name)) {
            *index = i;
            return container;
        }
    }
    berth_error_set(error, BERTH_ERROR_NOT_FOUND, "pod '%s' has no container '%s'", object->name,
                    name);
    return NULL;
}

static BerthObject *
object_of(const Viewer *viewer)
{
    return berth_catalog_get_uid(viewer->controller->control->catalog, viewer->uid);
}

/* Whether the container can't write any more, and with what it ended. */
static gboolean
has_ended(const Viewer *viewer, int *exit_code)
{
    BerthObject *object = object_of(viewer);
    *exit_code = 137;
    if (object == NULL) {
        return TRUE;
    }
    const BerthWorkloadStatus *status = berth_workload_status_of(object);
    gboolean over = status->phase == BERTH_PHASE_SUCCEEDED || status->phase == BERTH_PHASE_FAILED ||
                    status->phase == BERTH_PHASE_STOPPED;
    /* Recorded as over while the power is on again: that is the end of an earlier life. */
    if (!over || object->power == BERTH_POWER_ON) {
        return FALSE;
    }
    if (status->containers != NULL && viewer->index < status->containers->len) {
        const BerthContainerStatus *container = status->containers->pdata[viewer->index];
        if (g_strcmp0(container->state, "Exited") == 0 ||
            g_strcmp0(container->state, "Failed") == 0) {
            *exit_code = (int)container->exit_code;
        }
    }
    return TRUE;
}

/* ---- logs -------------------------------------------------------------------------------------- */

typedef struct {
    BerthLogReader base;
    Viewer viewer;
    BerthLogCursor *cursor;
    BerthLogQuery query;
    void (*wake)(gpointer user_data);
    gpointer user_data;
} Reader;

static const char *
stream_name(guint8 stream)
{
    return stream == BERTH_STREAM_STDOUT   ? "stdout"
           : stream == BERTH_STREAM_STDERR ? "stderr"
                                           : "gap";
}

static char *
format_time(gint64 wall_us)
{
    g_autoptr(GDateTime) seconds = g_date_time_new_from_unix_utc(wall_us / G_USEC_PER_SEC);
    g_autofree char *text = seconds != NULL ? g_date_time_format(seconds, "%Y-%m-%dT%H:%M:%S")
                                            : g_strdup("1970-01-01T00:00:00");
    return g_strdup_printf("%s.%06dZ", text, (int)(wall_us % G_USEC_PER_SEC));
}

static void
append_record(GString *text, const BerthLogRecord *record)
{
    g_autofree char *time = format_time(record->wall_us);
    json_t *line = json_pack("{s:I, s:s, s:s}", "sequence", (json_int_t)record->sequence, "time",
                             time, "stream", stream_name(record->stream));
    if (record->stream == BERTH_STREAM_GAP) {
        json_object_set_new(line, "bytes", json_integer((json_int_t)record->gap));
    } else {
        json_t *data = json_stringn((const char *)record->data, record->size);
        if (data != NULL) {
            json_object_set_new(line, "data", data);
        } else {
            g_autofree char *base64 = g_base64_encode(record->data, record->size);
            json_object_set_new(line, "data64", json_string(base64));
        }
    }
    g_autofree char *formatted = berth_json_format(line);
    json_decref(line);
    g_string_append(text, formatted);
    g_string_append_c(text, '\n');
}

static GBytes *
next_logs(BerthLogReader *base, gboolean *end, GError **error)
{
    Reader *reader = (Reader *)base;
    g_autoptr(GString) text = g_string_new(NULL);
    BerthLogRecord record;
    while (text->len < CHUNK_MAX / 2 && berth_log_cursor_next(reader->cursor, &record)) {
        if (record.wall_us >= reader->query.since_us) {
            append_record(text, &record);
        }
    }
    int unused;
    *end = FALSE;
    if (text->len > 0) {
        return g_string_free_to_bytes(g_steal_pointer(&text));
    }
    *end = !reader->query.follow || has_ended(&reader->viewer, &unused);
    return NULL;
}

static void
free_logs(BerthLogReader *base)
{
    Reader *reader = (Reader *)base;
    viewer_clear(&reader->viewer);
    berth_log_cursor_free(reader->cursor);
    g_free(reader);
}

static void
wake_reader(Viewer *viewer)
{
    Reader *reader = (Reader *)((char *)viewer - offsetof(Reader, viewer));
    if (reader->wake != NULL) {
        reader->wake(reader->user_data);
    }
}

static BerthLogReader *
logs_open(gpointer data, BerthObject *object, const BerthLogQuery *query,
          void (*wake)(gpointer user_data), gpointer user_data, GError **error)
{
    static const BerthLogReaderOps ops = {next_logs, free_logs};
    BerthWorkloadController *controller = data;
    guint index;
    const BerthContainerSpec *container = find_container(object, query->container, &index, error);
    if (container == NULL) {
        return NULL;
    }
    if (query->container == NULL && ((BerthPodSpec *)object->spec_data)->containers->len > 1) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, "/container", "berth logs -c CONTAINER NAME",
                           "pod '%s' has several containers; say which", object->name);
        return NULL;
    }
    Reader *reader = g_new0(Reader, 1);
    reader->base.ops = &ops;
    reader->query = *query;
    reader->query.container = NULL;
    reader->wake = wake;
    reader->user_data = user_data;
    reader->cursor = berth_log_cursor_new(controller->control->logs, object->uid, container->name);
    if (query->tail >= 0) {
        berth_log_cursor_skip_to_tail(reader->cursor, (guint)MIN(query->tail, G_MAXINT));
    }
    viewer_init(&reader->viewer, controller, object, container->name, index, wake_reader);
    return &reader->base;
}

/* ---- attach ------------------------------------------------------------------------------------ */

typedef struct {
    BerthStreamHandle base;
    Viewer viewer;
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
    if (error == NULL) {
        attach->exited = TRUE;
        attach->exit_code = exit_code;
    } else {
        g_clear_pointer(&attach->session, berth_pod_session_free);
    }
    schedule_pump(attach);
}

static void
attach_to_pod(Attach *attach)
{
    static const BerthPodSessionWatch watch = {on_attach_output, on_attach_room, on_attach_exited};
    BerthWorkloadRun *run = run_of(&attach->viewer);
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
    peer->ops->finished(peer, exit_code, NULL);
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
    } else if (has_ended(&attach->viewer, &exit_code)) {
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
wake_attach(Viewer *viewer)
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
    viewer_clear(&attach->viewer);
    berth_log_cursor_free(attach->cursor);
    g_byte_array_unref(attach->input);
    g_free(attach);
}

static BerthStreamHandle *
attach_open(gpointer data, BerthObject *object, const BerthStreamQuery *query,
            BerthStreamPeer *peer, GError **error)
{
    static const BerthStreamHandleOps ops = {attach_input,  attach_input_eof, attach_grant,
                                             attach_resize, attach_signal,    attach_close};
    BerthWorkloadController *controller = data;
    guint index;
    const BerthContainerSpec *container = find_container(object, query->container, &index, error);
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
    viewer_init(&attach->viewer, controller, object, container->name, index, wake_attach);
    schedule_pump(attach);
    return &attach->base;
}

/* ---- exec -------------------------------------------------------------------------------------- */

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

static BerthStreamHandle *
exec_open(gpointer data, BerthObject *object, const BerthStreamQuery *query, BerthStreamPeer *peer,
          GError **error)
{
    static const BerthStreamHandleOps ops = {exec_input,  exec_input_eof, exec_grant,
                                             exec_resize, exec_signal,    exec_close};
    BerthWorkloadController *controller = data;
    BerthWorkloadRun *run = berth_workload_run_get(controller, object->uid);
    guint index;
    const BerthContainerSpec *container = find_container(object, query->container, &index, error);
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

/* ---- why and xml ------------------------------------------------------------------------------- */

static void
answer_why(gpointer data, BerthObject *object, BerthAnswer answer, gpointer user_data)
{
    BerthWorkloadController *controller = data;
    BerthControl *control = controller->control;
    const BerthWorkloadStatus *status = berth_workload_status_of(object);
    json_t *why = json_pack("{s:s, s:s, s:s*}", "kind", object->kind->name, "name", object->name,
                            "host", status->host);
    json_object_set_new(why, "phase", json_string(berth_phase_name((BerthPhase)status->phase)));
    if (status->host == NULL) {
        g_auto(BerthNeeds) needs = {0};
        berth_workload_needs_init(&needs, control, object);
        json_object_set_new(why, "placement",
                            berth_ledger_explain(control->ledger, object, &needs));
    } else if (status->placement != NULL) {
        json_object_set(why, "placement", status->placement);
    }
    if (status->reason.code != NULL) {
        json_object_set_new(why, "reason",
                            json_pack("{s:s, s:s*, s:s*}", "code", status->reason.code, "message",
                                      status->reason.message, "hint", status->reason.hint));
    }
    g_autofree char *text = berth_json_format(why);
    json_decref(why);
    answer(text, NULL, user_data);
}

typedef struct {
    BerthAnswer answer;
    gpointer user_data;
} Question;

static void
on_xml(BerthHostReply *reply, const GError *error, gpointer data)
{
    Question *question = data;
    question->answer(error == NULL ? reply->text : NULL, error, question->user_data);
    g_free(question);
}

static void
answer_xml(gpointer data, BerthObject *object, BerthAnswer answer, gpointer user_data)
{
    BerthWorkloadController *controller = data;
    const BerthWorkloadStatus *status = berth_workload_status_of(object);
    BerthFleetHost *host = berth_fleet_get(controller->control->fleet, status->host);
    if (host == NULL || !host->connected) {
        g_autoptr(GError) error = NULL;
        berth_error_set_at(&error, BERTH_ERROR_UNAVAILABLE, NULL, "berth start NAME",
                           "'%s' has no domain that can be asked for now", object->name);
        answer(NULL, error, user_data);
        return;
    }
    Question *question = g_new0(Question, 1);
    *question = (Question){answer, user_data};
    BerthHostCall call = {.verb = BERTH_HOST_DOMAIN_XML, .uuid = status->domain.uuid};
    berth_host_runner_submit(host->runner, &call, 30, on_xml, question);
}

/* ---- figures ----------------------------------------------------------------------------------- */

static void
write_metrics(gpointer data, GString *text)
{
    BerthWorkloadController *controller = data;
    g_string_append_printf(text,
                           "# TYPE berth_queue_length gauge\n"
                           "berth_queue_length{queue=\"workloads\"} %u\n"
                           "# TYPE berth_workloads_waiting gauge\n"
                           "berth_workloads_waiting %u\n",
                           berth_queue_length(controller->queue),
                           g_hash_table_size(controller->waiting));
    GHashTableIter iter;
    gpointer value;
    g_string_append(text, "# TYPE berth_host_connected gauge\n"
                          "# TYPE berth_host_stuck_calls gauge\n");
    g_hash_table_iter_init(&iter, berth_fleet_hosts(controller->control->fleet));
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const BerthFleetHost *host = value;
        g_string_append_printf(text,
                               "berth_host_connected{host=\"%s\"} %d\n"
                               "berth_host_stuck_calls{host=\"%s\"} %u\n",
                               host->name, host->connected, host->name,
                               berth_host_runner_stuck_calls(host->runner));
    }
}

static BerthStreamHandle *
console_open(gpointer data, BerthObject *object, const BerthStreamQuery *query,
             BerthStreamPeer *peer, GError **error)
{
    BerthWorkloadController *controller = data;
    BerthWorkloadRun *run = berth_workload_run_get(controller, object->uid);
    const BerthWorkloadStatus *status = berth_workload_status_of(object);
    if (run->console == NULL && status->host != NULL) {
        run->console = berth_console_new(controller->control, object->uid, status->host,
                                         berth_workload_domain_uuid(object));
    }
    if (run->console == NULL) {
        berth_error_set_at(error, BERTH_ERROR_UNAVAILABLE, NULL, "berth start NAME",
                           "'%s' has no console: it is not on a host", object->name);
        return NULL;
    }
    return berth_console_attach(run->console, query->history, peer);
}

/** Fills in the ops that @controller answers. */
void
berth_workload_controller_fill_ops(BerthWorkloadController *controller, BerthWorkloadOps *ops)
{
    ops->data = controller;
    ops->why = answer_why;
    ops->xml = answer_xml;
    ops->logs_open = logs_open;
    ops->attach_open = attach_open;
    ops->exec_open = exec_open;
    ops->console_open = console_open;
    ops->metrics = write_metrics;
}
