/* A running pod as the daemon knows it. Start reading at the link's callbacks.
 *
 * Invariants: a log record is acknowledged only after it was written, so a full disk holds the
 * container back instead of losing output; run numbers only rise within a boot, so a repeated start is
 * one start. */
#include "daemon/pod.h"

#include "base/error.h"
#include "daemon/log.h"

#include <string.h>

#define LOG_RETRY_MS 500

/* One container in the present boot. */
typedef struct {
    char *name;
    BerthContainerState state;
    guint32 run; /* the highest number asked for */
    int exit_code;
    gboolean oom;
    gint64 started_wall_us, ended_wall_us, ended_us;
    char *text; /* owned; why it failed */
} Container;

/* A log record that could not be written yet. */
typedef struct {
    guint container;
    BerthLogRecord record;
    GBytes *bytes;
} Held;

struct BerthPodRun {
    BerthPodRunOptions options;
    char *uid;
    GArray *containers; /* of Container */
    BerthLink *link;
    gboolean configured, lost;
    char *failure; /* owned; why the guest could not be configured or ended */
    GQueue held;   /* of Held*, in order */
    guint held_timer;
    BerthPodSessions *sessions;
    gint64 created_us, ready_us, configured_us, first_byte_us;
    guint64 kernel_us; /* guest's own: from kernel start to PID 1 */
};

static void
clear_container(gpointer data)
{
    Container *container = data;
    g_free(container->name);
    g_free(container->text);
}

static Container *
container_at(BerthPodRun *run, guint index)
{
    return index < run->containers->len ? &g_array_index(run->containers, Container, index) : NULL;
}

static void
tell(BerthPodRun *run)
{
    run->options.changed(run->options.user_data);
}

/* ---- logs -------------------------------------------------------------------------------------- */

static void
free_held(gpointer data)
{
    Held *held = data;
    g_bytes_unref(held->bytes);
    g_free(held);
}

static gboolean
write_record(BerthPodRun *run, guint index, const BerthLogRecord *record)
{
    g_autoptr(GError) error = NULL;
    Container *container = container_at(run, index);
    if (!berth_logs_append(run->options.logs, run->uid, container->name, record, &error)) {
        g_warning("log of %s/%s not written, the container is held back: %s", run->uid,
                  container->name, error->message);
        return FALSE;
    }
    if (run->first_byte_us == 0) {
        run->first_byte_us = berth_clock_monotonic_us(run->options.clock);
        tell(run);
    }
    berth_link_log_ack(run->link, index, record->sequence);
    if (record->size > 0) {
        berth_pod_sessions_output(run->sessions, (BerthPodProcess){index, TRUE}, record->stream,
                                  record->data, record->size);
    }
    run->options.logged(run->options.user_data);
    return TRUE;
}

static gboolean
retry_held(gpointer data)
{
    BerthPodRun *run = data;
    while (!g_queue_is_empty(&run->held)) {
        Held *held = g_queue_peek_head(&run->held);
        if (!write_record(run, held->container, &held->record)) {
            return G_SOURCE_CONTINUE;
        }
        free_held(g_queue_pop_head(&run->held));
    }
    run->held_timer = 0;
    return G_SOURCE_REMOVE;
}

static void
hold_record(BerthPodRun *run, guint index, const BerthLogRecord *record)
{
    /* Bounded: the guest's credit ends long before this queue is large, since nothing is acknowledged. */
    Held *held = g_new0(Held, 1);
    held->container = index;
    held->bytes = g_bytes_new(record->data, record->size);
    held->record = *record;
    held->record.data = g_bytes_get_data(held->bytes, NULL);
    g_queue_push_tail(&run->held, held);
    if (run->held_timer == 0) {
        run->held_timer = g_timeout_add(LOG_RETRY_MS, retry_held, run);
    }
}

static void
on_log(guint index, guint64 sequence, gint64 wall_us, BerthLinkStream stream, const guint8 *data,
       gsize size, gpointer user_data)
{
    BerthPodRun *run = user_data;
    if (container_at(run, index) == NULL) {
        return;
    }
    gboolean gap = stream == BERTH_STREAM_GAP;
    BerthLogRecord record = {.sequence = sequence,
                             .wall_us = wall_us,
                             .stream = (guint8)stream,
                             .gap = gap ? size : 0,
                             .data = gap ? NULL : data,
                             .size = gap ? 0 : size};
    if (!g_queue_is_empty(&run->held) || !write_record(run, index, &record)) {
        hold_record(run, index, &record);
    }
}

/* ---- what the link tells ----------------------------------------------------------------------- */

static void
forget_boot(BerthPodRun *run)
{
    for (guint i = 0; i < run->containers->len; i++) {
        Container *container = container_at(run, i);
        container->state = BERTH_CONTAINER_WAITING;
        container->run = 0;
    }
}

static void
on_ready(const BerthLinkHello *hello, gpointer user_data)
{
    BerthPodRun *run = user_data;
    g_autoptr(GError) error = NULL;
    if (run->ready_us == 0) {
        run->ready_us = berth_clock_monotonic_us(run->options.clock);
        run->kernel_us = hello->init_us;
    }
    if (hello->config_id != 0) {
        run->configured = TRUE;
    } else {
        run->configured = FALSE;
        forget_boot(run);
        if (!run->options.configure(run->link, run->options.user_data, &error)) {
            g_free(run->failure);
            run->failure = g_strdup(error->message);
            run->lost = TRUE;
        } else {
            /* Starts follow the configuration on the same ordered link: no need to wait for its end. */
            run->configured = TRUE;
        }
    }
    tell(run);
}

static void
on_configured(const GError *error, gpointer user_data)
{
    BerthPodRun *run = user_data;
    if (error != NULL) {
        g_free(run->failure);
        run->failure = g_strdup(error->message);
        run->lost = TRUE;
        tell(run);
    } else if (run->configured_us == 0) {
        run->configured_us = berth_clock_monotonic_us(run->options.clock);
    }
}

static void
on_container(guint index, const BerthLinkContainer *state, gpointer user_data)
{
    BerthPodRun *run = user_data;
    Container *container = container_at(run, index);
    if (container == NULL || state->run < container->run) {
        return;
    }
    gboolean ended =
        state->state == BERTH_CONTAINER_EXITED || state->state == BERTH_CONTAINER_FAILED;
    gboolean ended_before =
        container->state == BERTH_CONTAINER_EXITED || container->state == BERTH_CONTAINER_FAILED;
    gboolean news = !ended_before || container->run != state->run;
    container->state = state->state;
    container->run = state->run;
    container->exit_code = state->exit_code;
    container->oom = state->oom;
    g_free(container->text);
    container->text = g_strdup(state->text);
    if (state->state == BERTH_CONTAINER_RUNNING) {
        container->started_wall_us = state->wall_us;
    }
    if (ended && news) {
        g_autoptr(GError) error = NULL;
        if (state->is_cut_short) {
            berth_error_set(&error, BERTH_ERROR_CORRUPT, "%s", state->text);
        }
        container->ended_wall_us = state->wall_us;
        container->ended_us = berth_clock_monotonic_us(run->options.clock);
        berth_pod_sessions_exited(run->sessions, (BerthPodProcess){index, TRUE}, state->exit_code,
                                  error);
    }
    tell(run);
}

static void
on_output(BerthProcessId exec, BerthLinkStream stream, const guint8 *data, gsize size,
          gpointer user_data)
{
    BerthPodRun *run = user_data;
    berth_pod_sessions_output(run->sessions, (BerthPodProcess){exec, FALSE}, stream, data, size);
}

static void
on_exec_started(BerthProcessId exec, gpointer user_data)
{
}

static void
on_exec_exited(BerthProcessId exec, int exit_code, const GError *error, gpointer user_data)
{
    BerthPodRun *run = user_data;
    berth_pod_sessions_exited(run->sessions, (BerthPodProcess){exec, FALSE}, exit_code, error);
}

static void
on_stdin_room(BerthProcessId process, gpointer user_data)
{
    BerthPodRun *run = user_data;
    gboolean is_main = process < BERTH_LINK_CONTAINERS_MAX;
    berth_pod_sessions_room(run->sessions, (BerthPodProcess){process, is_main});
}

static void
on_stats(const BerthLinkUsage *usage, gsize count, gpointer user_data)
{
}

/* The link's back-off bounds how often a hostile guest makes us say this. */
static void
on_broken(const GError *error, gpointer user_data)
{
    BerthPodRun *run = user_data;
    gboolean hostile = g_error_matches(error, BERTH_ERROR, BERTH_ERROR_CORRUPT);
    berth_log_error(hostile ? BERTH_LOG_WARNING : BERTH_LOG_INFO, error,
                    "a guest's link was cut off and is opened again", "workload", run->uid, NULL);
    tell(user_data);
}

static void
on_closed(const GError *error, gpointer user_data)
{
    BerthPodRun *run = user_data;
    run->lost = TRUE;
    if (error != NULL && run->failure == NULL) {
        run->failure = g_strdup(error->message);
    }
    berth_pod_sessions_end(run->sessions, error);
    tell(run);
}

/* ---- the run ----------------------------------------------------------------------------------- */

/** Opens the link to a pod whose domain is on; logs go on where they stopped. */
BerthPodRun *
berth_pod_run_new(const BerthPodRunOptions *options)
{
    static const BerthLinkWatch watch = {
        .ready = on_ready,
        .configured = on_configured,
        .log = on_log,
        .container = on_container,
        .output = on_output,
        .exec_started = on_exec_started,
        .exec_exited = on_exec_exited,
        .stdin_room = on_stdin_room,
        .stats = on_stats,
        .broken = on_broken,
        .closed = on_closed,
    };
    BerthPodRun *run = g_new0(BerthPodRun, 1);
    run->options = *options;
    run->uid = g_strdup(options->uid);
    run->containers = g_array_new(FALSE, TRUE, sizeof(Container));
    g_array_set_clear_func(run->containers, clear_container);
    run->created_us = berth_clock_monotonic_us(options->clock);
    BerthLinkResume resume[BERTH_LINK_CONTAINERS_MAX];
    gsize count = 0;
    for (; options->containers[count] != NULL && count < BERTH_LINK_CONTAINERS_MAX; count++) {
        Container container = {.name = g_strdup(options->containers[count])};
        g_array_append_val(run->containers, container);
        resume[count] = (BerthLinkResume){
            container.name, berth_logs_last_sequence(options->logs, run->uid, container.name)};
    }
    BerthLinkOptions link_options = {
        .open = options->open,
        .open_data = options->open_data,
        .clock = options->clock,
        .random = options->random,
        .resume = resume,
        .resume_count = count,
    };
    run->link = berth_link_new(&link_options, &watch, run);
    run->sessions = berth_pod_sessions_new(run->link);
    berth_link_attach(run->link);
    return run;
}

/** Closes the link; the guest goes on. Sessions are told that it is over. */
void
berth_pod_run_free(BerthPodRun *run)
{
    g_autoptr(GError) over = NULL;
    berth_error_set(&over, BERTH_ERROR_UNAVAILABLE, "the pod is not running any more");
    berth_pod_sessions_free(run->sessions, over);
    if (run->held_timer != 0) {
        g_source_remove(run->held_timer);
    }
    berth_link_free(run->link);
    g_queue_clear_full(&run->held, free_held);
    berth_logs_close(run->options.logs, run->uid);
    g_array_unref(run->containers);
    if (run->options.open_free != NULL) {
        run->options.open_free(run->options.open_data);
    }
    if (run->options.user_free != NULL) {
        run->options.user_free(run->options.user_data);
    }
    g_free(run->failure);
    g_free(run->uid);
    g_free(run);
}

static BerthContainerPlan
plan_container(BerthPodRun *run, const Container *container, gint64 *wake_us)
{
    gboolean ended =
        container->state == BERTH_CONTAINER_EXITED || container->state == BERTH_CONTAINER_FAILED;
    return berth_plan_container(run->options.restart, container->run > 0, ended,
                                container->exit_code, container->run > 0 ? container->run - 1 : 0,
                                container->ended_us, berth_clock_monotonic_us(run->options.clock),
                                wake_us);
}

static BerthGuestSight
see_guest(const BerthPodRun *run)
{
    if (run->lost) {
        return BERTH_GUEST_LOST;
    }
    return run->configured && berth_link_state(run->link) == BERTH_LINK_READY ? BERTH_GUEST_READY
                                                                              : BERTH_GUEST_CALLED;
}

/** The host can be asked again: a link that waits to be reopened waits no longer. */
void
berth_pod_run_hurry(BerthPodRun *run)
{
    berth_link_hurry(run->link);
}

/** Fills in the guest's and the containers' part of @sight. */
void
berth_pod_run_see(BerthPodRun *run, BerthWorkloadSight *sight)
{
    sight->guest = see_guest(run);
    for (guint i = 0; i < run->containers->len; i++) {
        const Container *container = container_at(run, i);
        gint64 wake_us = 0;
        BerthContainerPlan plan = plan_container(run, container, &wake_us);
        sight->containers_due += plan == BERTH_CONTAINER_START;
        sight->containers_done += plan == BERTH_CONTAINER_DONE;
        sight->containers_failed += plan == BERTH_CONTAINER_DONE && container->exit_code != 0;
        sight->containers_started +=
            container->run > 0 && container->state != BERTH_CONTAINER_STARTING;
        if (wake_us != 0 && (sight->container_wake_us == 0 || wake_us < sight->container_wake_us)) {
            sight->container_wake_us = wake_us;
        }
    }
}

/** Starts every container whose time has come. */
void
berth_pod_run_start_due(BerthPodRun *run)
{
    for (guint i = 0; i < run->containers->len; i++) {
        Container *container = container_at(run, i);
        gint64 wake_us = 0;
        if (plan_container(run, container, &wake_us) == BERTH_CONTAINER_START) {
            container->run++;
            container->state = BERTH_CONTAINER_STARTING;
            berth_link_start(run->link, i, container->run);
        }
    }
}

/** Stops all containers (stop signal, after @timeout_ms SIGKILL), then powers the guest off. */
void
berth_pod_run_stop(BerthPodRun *run, guint timeout_ms)
{
    berth_link_shutdown(run->link, timeout_ms);
}

/** Sends @signum to a container's main process. */
void
berth_pod_run_signal(BerthPodRun *run, guint container, int signum)
{
    berth_link_signal(run->link, container, signum);
}

static const char *
state_name(BerthContainerState state)
{
    switch (state) {
    case BERTH_CONTAINER_RUNNING:
        return "Running";
    case BERTH_CONTAINER_EXITED:
        return "Exited";
    case BERTH_CONTAINER_FAILED:
        return "Failed";
    case BERTH_CONTAINER_STARTING:
        return "Starting";
    default:
        return "Waiting";
    }
}

static void
set_time(json_t *object, const char *key, gint64 wall_us)
{
    if (wall_us > 0) {
        g_autofree char *text = berth_time_format(wall_us);
        json_object_set_new(object, key, json_string(text));
    }
}

/** Returns: (transfer full): the containers' states as status.containers has them, by index. */
json_t *
berth_pod_run_containers(BerthPodRun *run)
{
    json_t *list = json_array();
    for (guint i = 0; i < run->containers->len; i++) {
        const Container *container = container_at(run, i);
        json_t *entry = json_pack("{s:s, s:s, s:I}", "name", container->name, "state",
                                  state_name(container->state), "restarts",
                                  (json_int_t)(container->run > 0 ? container->run - 1 : 0));
        if (container->state == BERTH_CONTAINER_EXITED ||
            container->state == BERTH_CONTAINER_FAILED) {
            json_object_set_new(entry, "exit_code", json_integer(container->exit_code));
            set_time(entry, "finished", container->ended_wall_us);
        }
        if (container->oom) {
            json_object_set_new(entry, "oom", json_true());
        }
        set_time(entry, "started", container->started_wall_us);
        json_array_append_new(list, entry);
    }
    return list;
}

/** Returns: (nullable): why the guest or one of its containers failed; borrowed. */
const char *
berth_pod_run_failure(BerthPodRun *run)
{
    if (run->failure != NULL) {
        return run->failure;
    }
    for (guint i = 0; i < run->containers->len; i++) {
        const Container *container = container_at(run, i);
        if (container->state == BERTH_CONTAINER_FAILED) {
            return container->text;
        }
    }
    return NULL;
}

/** Returns: monotonic time of the guest's first answer; 0: none yet. */
gint64
berth_pod_run_ready_us(const BerthPodRun *run)
{
    return run->ready_us;
}

/** When the guest first took its configuration; monotonic, 0: not yet, or by an earlier daemon. */
gint64
berth_pod_run_configured_us(const BerthPodRun *run)
{
    return run->configured_us;
}

/** Returns: monotonic time of the first byte that this daemon got from a container; 0: none yet. */
gint64
berth_pod_run_first_byte_us(const BerthPodRun *run)
{
    return run->first_byte_us;
}

/** Starts a process beside a container's main one. Errors: as berth_link_exec(). */
BerthPodSession *
berth_pod_run_exec(BerthPodRun *run, const BerthLinkExec *exec, const BerthPodSessionWatch *watch,
                   gpointer user_data, GError **error)
{
    BerthProcessId process = berth_link_exec(run->link, exec, error);
    return process == 0 ? NULL
                        : berth_pod_session_new(run->sessions, (BerthPodProcess){process, FALSE},
                                                watch, user_data);
}

/** Follows a container's main process: output from now on, input, and its end. */
BerthPodSession *
berth_pod_run_attach(BerthPodRun *run, guint container, const BerthPodSessionWatch *watch,
                     gpointer user_data)
{
    return berth_pod_session_new(run->sessions, (BerthPodProcess){container, TRUE}, watch,
                                 user_data);
}
