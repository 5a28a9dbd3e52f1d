/* One call to a host, or one attempt to connect: its thread, its answer, its end.
 *
 * Invariants: it is answered at most once; the thread sees its operation and the host only. Threads come
 * from a shared pool that lets idle ones end. Start at berth_host_operation_start(). */
#include "drivers/host-runner-private.h"

#include "base/error.h"

/* Frees the runner with its last reference, and the driver with it. */
void
berth_host_runner_unref(BerthHostRunner *runner)
{
    if (--runner->refs > 0) {
        return;
    }
    runner->host->ops->free(runner->host);
    g_ptr_array_unref(runner->running);
    g_ptr_array_unref(runner->old);
    g_ptr_array_unref(runner->unanswered);
    g_free(runner->why);
    g_free(runner);
}

/* Returns: (transfer full): an operation that holds a reference to @runner and was not started. */
Operation *
berth_host_operation_new(BerthHostRunner *runner, OperationClass class, gint64 deadline_us)
{
    Operation *operation = g_new0(Operation, 1);
    runner->refs++;
    operation->runner = runner;
    operation->class = class;
    operation->deadline_us = deadline_us;
    g_mutex_init(&operation->lock);
    return operation;
}

/* Frees an operation that is on no thread and in no list. */
void
berth_host_operation_free(Operation *operation)
{
    g_clear_pointer(&operation->call, berth_host_call_free);
    berth_host_reply_clear(&operation->reply);
    g_clear_error(&operation->error);
    g_mutex_clear(&operation->lock);
    berth_host_runner_unref(operation->runner);
    g_free(operation);
}

/* ---- threads --------------------------------------------------------------------------------- */

static gboolean
tell_returned(gpointer data)
{
    berth_host_operation_returned(data);
    return G_SOURCE_REMOVE;
}

static void
run_operation(gpointer data, gpointer unused)
{
    Operation *operation = data;
    BerthHost *host = operation->runner->host;
    operation->ok =
        operation->class == CLASS_CONNECT
            ? host->ops->connect(host, &operation->error)
            : host->ops->perform(host, operation->call, &operation->reply, &operation->error);
    g_idle_add_full(G_PRIORITY_DEFAULT, tell_returned, operation, NULL);
}

/* Threads of all hosts: how many there can be is bounded by each runner's slots. */
static GThreadPool *
threads(void)
{
    static GThreadPool *pool;
    static gsize once;
    if (g_once_init_enter(&once)) {
        pool = g_thread_pool_new(run_operation, NULL, -1, FALSE, NULL);
        g_once_init_leave(&once, 1);
    }
    return pool;
}

static void
take_answer(gboolean done, gpointer data)
{
    Operation *operation = data;
    operation->ok = done;
    berth_host_operation_returned(operation);
}

/* Runs it on a thread, or as the driver does; berth_host_operation_returned() is called on the main loop. */
void
berth_host_operation_start(Operation *operation)
{
    BerthHost *host = operation->runner->host;
    g_ptr_array_add(operation->runner->running, operation);
    if (host->ops->begin != NULL) {
        host->ops->begin(host, operation->call, &operation->reply, &operation->error, take_answer,
                         operation);
    } else {
        g_thread_pool_push(threads(), operation, NULL);
    }
}

/* ---- answers --------------------------------------------------------------------------------- */

/* The caller's progress data may go with its answer: none is told afterwards. */
void
berth_host_operation_abandon(Operation *operation)
{
    g_mutex_lock(&operation->lock);
    operation->is_abandoned = TRUE;
    g_mutex_unlock(&operation->lock);
}

/* Called on the thread. */
void
berth_host_operation_pass_progress(guint64 done, guint64 total, gpointer data)
{
    Operation *operation = data;
    g_mutex_lock(&operation->lock);
    if (!operation->is_abandoned) {
        operation->progress(done, total, operation->progress_data);
    }
    g_mutex_unlock(&operation->lock);
}

/* Tells whoever submitted it; once. */
void
berth_host_operation_answer(Operation *operation, BerthHostReply *reply, const GError *error)
{
    berth_host_operation_abandon(operation);
    if (operation->done != NULL && !operation->runner->is_freed) {
        operation->done(reply, error, operation->user_data);
    }
}

static gboolean
flush_unanswered(gpointer data)
{
    BerthHostRunner *runner = data;
    runner->flush = 0;
    runner->refs++;
    while (runner->unanswered->len > 0) {
        Operation *operation = g_ptr_array_steal_index(runner->unanswered, 0);
        berth_host_operation_answer(operation, NULL, operation->error);
        berth_host_operation_free(operation);
    }
    berth_host_runner_unref(runner);
    return G_SOURCE_REMOVE;
}

/* Answers a call that never ran; later, since this may be inside submit. */
void
berth_host_operation_refuse(Operation *operation, BerthErrorCode code, const char *why)
{
    BerthHostRunner *runner = operation->runner;
    berth_error_set(&operation->error, code, "%s", why);
    g_ptr_array_add(runner->unanswered, operation);
    if (runner->flush == 0) {
        runner->flush = g_idle_add_full(G_PRIORITY_DEFAULT, flush_unanswered, runner, NULL);
    }
}

/* Refuses all that wait for a slot. */
void
berth_host_runner_refuse_all(BerthHostRunner *runner, const char *why)
{
    Operation *operation;
    while ((operation = g_queue_pop_head(&runner->waiting)) != NULL) {
        berth_host_operation_refuse(operation, BERTH_ERROR_UNAVAILABLE, why);
    }
}
