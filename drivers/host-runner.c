/* The asynchronous face of a host: calls wait for a slot, run on threads, and their answers come back to
 * the main loop.
 *
 * Rules (a libvirt call cannot be cancelled):
 * - at most CONTROL_SLOTS calls are in flight, at most one of a domain; one slot is never taken by a
 *   domain's call, so the host itself can always be asked, and one never by a host-level call;
 *   uploads have slots of their own;
 * - a deadline abandons the result, not the thread: the caller is told TIMEOUT, the call keeps its slot
 *   until it returns, and its domain counts as stuck;
 * - when no waiting call can get a slot because stuck ones hold them, the connections are replaced and
 *   the stuck calls become old threads, of which OLD_MAX are tolerated;
 * - an answer belongs to its operation: one that comes late is dropped.
 *
 * Invariant: every submitted call is answered exactly once, unless the runner is freed before; all state
 * is the main loop's. Calls themselves are in host-operation.c. Start at schedule(). */
#include "drivers/host-runner-private.h"

#include "base/error.h"
#include "base/random.h"

#include <string.h>

#define CONTROL_SLOTS 4
#define BULK_SLOTS 2
#define OLD_MAX 8
#define CONNECT_DEADLINE_US (30 * G_USEC_PER_SEC)
#define BACKOFF_FIRST_US (1 * G_USEC_PER_SEC)
#define BACKOFF_MAX_US (30 * G_USEC_PER_SEC)
/* A connection that held this long was a good one: the next failure starts at the first back-off. */
#define STEADY_US (30 * G_USEC_PER_SEC)

static void arm_alarm(BerthHostRunner *runner);

/* ---- state ----------------------------------------------------------------------------------- */

static void
set_state(BerthHostRunner *runner, BerthHostState state, const char *why)
{
    g_autofree char *copy = g_strdup(why);
    runner->state = state;
    g_free(runner->why);
    runner->why = g_strdup(copy);
    if (!runner->is_freed && runner->listener.state != NULL) {
        runner->listener.state(state, copy, runner->user_data);
    }
}

/* Half of the back-off is fixed, half is random, so that a fleet does not come back in step. */
static void
plan_reconnect(BerthHostRunner *runner)
{
    gint64 half_us = runner->backoff_us / 2;
    gint64 jitter_us = (gint64)berth_random_below(berth_random_system(), (guint64)half_us + 1);
    runner->reconnect_us = now_us(runner) + half_us + jitter_us;
    runner->backoff_us = MIN(runner->backoff_us * 2, BACKOFF_MAX_US);
}

static void
disconnected(BerthHostRunner *runner, const char *why)
{
    if (runner->state == BERTH_HOST_CONNECTED &&
        now_us(runner) - runner->connected_us >= STEADY_US) {
        runner->backoff_us = BACKOFF_FIRST_US;
    }
    plan_reconnect(runner);
    berth_host_runner_refuse_all(runner, why);
    set_state(runner, BERTH_HOST_DISCONNECTED, why);
    arm_alarm(runner);
}

static void
on_closed(const char *why, gpointer data)
{
    BerthHostRunner *runner = data;
    runner->refs++;
    if (!runner->is_freed && runner->state == BERTH_HOST_CONNECTED) {
        disconnected(runner, why);
    }
    runner->closed_early = TRUE;
    berth_host_runner_unref(runner);
}

static void
on_domain_event(const char *uuid, BerthDomainEvent event, BerthStopReason reason, gpointer data)
{
    BerthHostRunner *runner = data;
    if (!runner->is_freed && runner->listener.domain_event != NULL) {
        runner->listener.domain_event(uuid, event, reason, runner->user_data);
    }
}

static void
on_inventory_event(gpointer data)
{
    BerthHostRunner *runner = data;
    if (!runner->is_freed && runner->listener.inventory_event != NULL) {
        runner->listener.inventory_event(runner->user_data);
    }
}

static const char *
domain_of(const Operation *operation)
{
    const BerthHostCall *call = operation->call;
    return call->uuid != NULL ? call->uuid : call->plan != NULL ? call->plan->uuid : NULL;
}

static void
tell_stuck(Operation *operation, gboolean is_stuck)
{
    BerthHostRunner *runner = operation->runner;
    operation->is_stuck = is_stuck;
    if (!runner->is_freed && runner->listener.stuck != NULL) {
        runner->listener.stuck(domain_of(operation), is_stuck, runner->user_data);
    }
}

/* ---- connecting ------------------------------------------------------------------------------ */

static void
start_connecting(BerthHostRunner *runner)
{
    if (runner->is_freed) {
        return;
    }
    runner->reconnect_us = 0;
    runner->closed_early = FALSE;
    if (runner->old->len >= OLD_MAX) {
        plan_reconnect(runner);
        arm_alarm(runner);
        return;
    }
    Operation *operation =
        berth_host_operation_new(runner, CLASS_CONNECT, now_us(runner) + CONNECT_DEADLINE_US);
    runner->connecting = operation;
    berth_host_operation_start(operation);
    arm_alarm(runner);
}

static void
connect_returned(BerthHostRunner *runner, Operation *operation)
{
    if (runner->connecting != operation) {
        return; /* it took too long, and somebody else tries by now */
    }
    runner->connecting = NULL;
    if (!operation->ok || runner->closed_early) {
        disconnected(runner,
                     operation->ok ? "the connection broke at once" : operation->error->message);
        return;
    }
    runner->connected_us = now_us(runner);
    set_state(runner, BERTH_HOST_CONNECTED, NULL);
}

static void
connect_timed_out(BerthHostRunner *runner, Operation *operation)
{
    runner->connecting = NULL;
    operation->is_old = TRUE;
    g_ptr_array_remove_fast(runner->running, operation);
    g_ptr_array_add(runner->old, operation);
    runner->host->ops->abandon(runner->host);
    disconnected(runner, "the host does not answer");
}

/* ---- slots ----------------------------------------------------------------------------------- */

static OperationClass
class_of(const BerthHostCall *call)
{
    if (call->verb == BERTH_HOST_VOLUME_UPLOAD) {
        return CLASS_BULK;
    }
    return call->uuid != NULL || call->plan != NULL ? CLASS_DOMAIN : CLASS_HOST;
}

/* @only_stuck: count stuck calls, otherwise all. */
static guint
count_running(const BerthHostRunner *runner, OperationClass class, gboolean only_stuck)
{
    guint count = 0;
    for (guint i = 0; i < runner->running->len; i++) {
        const Operation *operation = runner->running->pdata[i];
        count += operation->class == class && (operation->is_stuck || !only_stuck);
    }
    return count;
}

static gboolean
is_domain_busy(const BerthHostRunner *runner, const char *uuid)
{
    for (guint i = 0; i < runner->running->len; i++) {
        const Operation *operation = runner->running->pdata[i];
        if (operation->class == CLASS_DOMAIN && g_strcmp0(domain_of(operation), uuid) == 0) {
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean
has_slot(const BerthHostRunner *runner, OperationClass class, gboolean only_stuck)
{
    if (class == CLASS_BULK) {
        return count_running(runner, CLASS_BULK, only_stuck) < BULK_SLOTS;
    }
    guint domains = count_running(runner, CLASS_DOMAIN, only_stuck);
    guint hosts = count_running(runner, CLASS_HOST, only_stuck);
    guint own = class == CLASS_DOMAIN ? domains : hosts;
    return own < CONTROL_SLOTS - 1 && domains + hosts < CONTROL_SLOTS;
}

/* Stuck calls hold everything that @class could use: only other connections help. */
static void
replace_connections(BerthHostRunner *runner)
{
    for (guint i = runner->running->len; i > 0; i--) {
        Operation *operation = runner->running->pdata[i - 1];
        if (operation->is_stuck) {
            operation->is_old = TRUE;
            g_ptr_array_remove_index_fast(runner->running, i - 1);
            g_ptr_array_add(runner->old, operation);
        }
    }
    runner->host->ops->abandon(runner->host);
    const char *why = "calls to the host hang: its connections are replaced";
    berth_host_runner_refuse_all(runner, why);
    set_state(runner, BERTH_HOST_DISCONNECTED, why);
    start_connecting(runner);
}

static gboolean
is_blocked_by_stuck_calls(const BerthHostRunner *runner)
{
    for (const GList *item = runner->waiting.head; item != NULL; item = item->next) {
        const Operation *operation = item->data;
        if (!has_slot(runner, operation->class, TRUE)) {
            return TRUE;
        }
    }
    return FALSE;
}

/* Starts what can start, in order; a call whose domain is busy lets others pass. */
static void
start_waiting(BerthHostRunner *runner)
{
    for (GList *item = runner->waiting.head; item != NULL;) {
        GList *next = item->next;
        Operation *operation = item->data;
        if (has_slot(runner, operation->class, FALSE) &&
            (operation->class != CLASS_DOMAIN || !is_domain_busy(runner, domain_of(operation)))) {
            g_queue_delete_link(&runner->waiting, item);
            berth_host_operation_start(operation);
        }
        item = next;
    }
}

static void
schedule(BerthHostRunner *runner)
{
    if (runner->is_freed || runner->state != BERTH_HOST_CONNECTED) {
        return;
    }
    start_waiting(runner);
    if (is_blocked_by_stuck_calls(runner)) {
        replace_connections(runner);
    }
}

/* ---- returns and deadlines ------------------------------------------------------------------- */

/* An operation came back from its thread. */
void
berth_host_operation_returned(Operation *operation)
{
    BerthHostRunner *runner = operation->runner;
    runner->refs++;
    if (!g_ptr_array_remove_fast(runner->running, operation)) {
        g_ptr_array_remove_fast(runner->old, operation);
    }
    if (operation->class == CLASS_CONNECT) {
        connect_returned(runner, operation);
    } else if (operation->is_stuck) {
        tell_stuck(operation, FALSE); /* the answer itself was given, and this one is dropped */
    } else {
        berth_host_operation_answer(operation, operation->ok ? &operation->reply : NULL,
                                    operation->error);
    }
    berth_host_operation_free(operation);
    schedule(runner);
    arm_alarm(runner);
    berth_host_runner_unref(runner);
}

static void
call_timed_out(Operation *operation)
{
    g_autoptr(GError) error = NULL;
    berth_error_set(&error, BERTH_ERROR_TIMEOUT,
                    "the host did not answer '%s' in time: its effect is unknown",
                    berth_host_verb_name(operation->call->verb));
    operation->is_stuck = TRUE;
    berth_host_operation_answer(operation, NULL, error);
    tell_stuck(operation, TRUE);
}

static void
expire_running(BerthHostRunner *runner, gint64 now)
{
    g_autoptr(GPtrArray) expired = g_ptr_array_new();
    for (guint i = 0; i < runner->running->len; i++) {
        Operation *operation = runner->running->pdata[i];
        if (!operation->is_stuck && operation->deadline_us <= now) {
            g_ptr_array_add(expired, operation);
        }
    }
    for (guint i = 0; i < expired->len && !runner->is_freed; i++) {
        Operation *operation = expired->pdata[i];
        if (operation == runner->connecting) {
            connect_timed_out(runner, operation);
        } else {
            call_timed_out(operation);
        }
    }
}

static void
expire_waiting(BerthHostRunner *runner, gint64 now)
{
    for (GList *item = runner->waiting.head; item != NULL;) {
        GList *next = item->next;
        Operation *operation = item->data;
        if (operation->deadline_us <= now) {
            g_queue_delete_link(&runner->waiting, item);
            berth_host_operation_refuse(operation, BERTH_ERROR_TIMEOUT,
                                        "the host was busy until the deadline: nothing was done");
        }
        item = next;
    }
}

/**
 * berth_host_runner_tick:
 *
 * Does what is due by the clock. Runs by itself; tests with a clock of their own call it.
 */
void
berth_host_runner_tick(BerthHostRunner *runner)
{
    runner->refs++;
    gint64 now = now_us(runner);
    expire_running(runner, now);
    expire_waiting(runner, now);
    if (runner->reconnect_us != 0 && runner->reconnect_us <= now) {
        start_connecting(runner);
    }
    schedule(runner);
    arm_alarm(runner);
    berth_host_runner_unref(runner);
}

static void
on_alarm(gpointer data)
{
    BerthHostRunner *runner = data;
    runner->alarm_due_us = 0;
    berth_host_runner_tick(runner);
}

static gint64
earlier(gint64 a, gint64 b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

static gint64
next_due_us(const BerthHostRunner *runner)
{
    gint64 due_us = runner->reconnect_us;
    for (guint i = 0; i < runner->running->len; i++) {
        const Operation *operation = runner->running->pdata[i];
        due_us = operation->is_stuck ? due_us : earlier(due_us, operation->deadline_us);
    }
    for (const GList *item = runner->waiting.head; item != NULL; item = item->next) {
        due_us = earlier(due_us, ((const Operation *)item->data)->deadline_us);
    }
    return due_us;
}

static void
arm_alarm(BerthHostRunner *runner)
{
    if (runner->is_freed) {
        return;
    }
    gint64 due_us = next_due_us(runner);
    if (due_us == runner->alarm_due_us) {
        return;
    }
    runner->alarm_due_us = due_us;
    gint64 wait_us = MAX(due_us - now_us(runner), 0);
    berth_alarm_set(runner->alarm, due_us == 0 ? G_MAXINT64 : g_get_monotonic_time() + wait_us);
}

/* ---- the face -------------------------------------------------------------------------------- */

/**
 * berth_host_runner_new:
 * @factory: makes the driver
 * @options: copied
 * @clock: borrowed, outlives the runner
 * @listener: copied; told nothing from inside this function
 *
 * Returns: (transfer full) (nullable): a runner that begins to connect when the main loop runs; NULL
 *     with the factory's error
 */
BerthHostRunner *
berth_host_runner_new(BerthHostFactory factory, const BerthHostOptions *options, BerthClock *clock,
                      const BerthHostListener *listener, gpointer user_data, GError **error)
{
    static const BerthHostWatch watch = {on_closed, on_domain_event, on_inventory_event};
    BerthHostRunner *runner = g_new0(BerthHostRunner, 1);
    BerthHost *host = factory(options, &watch, runner, error);
    if (host == NULL) {
        g_free(runner);
        return NULL;
    }
    runner->refs = 1;
    runner->host = host;
    runner->clock = clock;
    runner->listener = *listener;
    runner->user_data = user_data;
    runner->state = BERTH_HOST_CONNECTING;
    runner->why = g_strdup("connecting");
    runner->backoff_us = BACKOFF_FIRST_US;
    runner->running = g_ptr_array_new();
    runner->old = g_ptr_array_new();
    runner->unanswered = g_ptr_array_new();
    g_queue_init(&runner->waiting);
    runner->alarm = berth_alarm_new(on_alarm, runner);
    runner->reconnect_us = now_us(runner);
    arm_alarm(runner);
    return runner;
}

/**
 * berth_host_runner_free:
 *
 * Calls that were not answered yet never are. Threads that hang keep the little they need until they
 * return; the driver is freed with the last of them.
 */
void
berth_host_runner_free(BerthHostRunner *runner)
{
    if (runner == NULL) {
        return;
    }
    runner->is_freed = TRUE;
    g_clear_pointer(&runner->alarm, berth_alarm_free);
    g_clear_handle_id(&runner->flush, g_source_remove);
    g_clear_handle_id(&runner->kick, g_source_remove);
    Operation *operation;
    while ((operation = g_queue_pop_head(&runner->waiting)) != NULL) {
        berth_host_operation_free(operation);
    }
    while (runner->unanswered->len > 0) {
        berth_host_operation_free(g_ptr_array_steal_index(runner->unanswered, 0));
    }
    for (guint i = 0; i < runner->running->len; i++) {
        berth_host_operation_abandon(runner->running->pdata[i]);
    }
    runner->host->ops->abandon(runner->host);
    berth_host_runner_unref(runner);
}

/* New connections are not told of from inside submit. */
static gboolean
on_kick(gpointer data)
{
    BerthHostRunner *runner = data;
    runner->kick = 0;
    berth_host_runner_tick(runner);
    return G_SOURCE_REMOVE;
}

/**
 * berth_host_runner_submit:
 * @call: copied with all it points to; its progress is told on a thread until the answer is given
 * @deadline_s: seconds from now; waiting for a slot counts
 * @done: (nullable): told once. UNAVAILABLE when not connected, TIMEOUT at the deadline
 */
void
berth_host_runner_submit(BerthHostRunner *runner, const BerthHostCall *call, guint deadline_s,
                         BerthHostDone done, gpointer user_data)
{
    gint64 deadline_us = now_us(runner) + (gint64)deadline_s * G_USEC_PER_SEC;
    Operation *operation = berth_host_operation_new(runner, class_of(call), deadline_us);
    operation->call = berth_host_call_copy(call);
    operation->done = done;
    operation->user_data = user_data;
    if (call->progress != NULL) {
        operation->progress = call->progress;
        operation->progress_data = call->progress_data;
        operation->call->progress = berth_host_operation_pass_progress;
        operation->call->progress_data = operation;
    }
    if (runner->state != BERTH_HOST_CONNECTED) {
        g_autofree char *why = g_strdup_printf("the host is not connected: %s", runner->why);
        berth_host_operation_refuse(operation, BERTH_ERROR_UNAVAILABLE, why);
        return;
    }
    g_queue_push_tail(&runner->waiting, operation);
    start_waiting(runner);
    if (runner->kick == 0 && is_blocked_by_stuck_calls(runner)) {
        runner->kick = g_idle_add_full(G_PRIORITY_DEFAULT, on_kick, runner, NULL);
    }
    arm_alarm(runner);
}

/**
 * berth_host_runner_channel_open:
 *
 * As BerthHostOps.channel_open. Returns: (nullable): NULL while the host is not connected
 */
BerthChannel *
berth_host_runner_channel_open(BerthHostRunner *runner, const char *uuid, const char *port,
                               gboolean force, const BerthChannelWatch *watch, gpointer user_data)
{
    if (runner->state != BERTH_HOST_CONNECTED) {
        return NULL;
    }
    return runner->host->ops->channel_open(runner->host, uuid, port, force, watch, user_data);
}

/**
 * berth_host_runner_state:
 * @why: (nullable) (out): why it is not connected, borrowed; NULL when connected
 */
BerthHostState
berth_host_runner_state(const BerthHostRunner *runner, const char **why)
{
    if (why != NULL) {
        *why = runner->why;
    }
    return runner->state;
}

/** Returns: how many calls outlived their deadline and have not returned. */
guint
berth_host_runner_stuck_calls(const BerthHostRunner *runner)
{
    return runner->old->len + count_running(runner, CLASS_DOMAIN, TRUE) +
           count_running(runner, CLASS_HOST, TRUE) + count_running(runner, CLASS_BULK, TRUE);
}
