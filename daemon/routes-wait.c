/* Prefer: wait=N. Invariant: a waiting call is in routes->waiting until it is answered or its client left; its
 * answer is the object as it is then. Main loop. */
#include "daemon/routes-private.h"

#include <string.h>

static gboolean
is_one_of(const char *text, const char *words)
{
    g_auto(GStrv) list = g_strsplit(words, " ", -1);
    return text != NULL && g_strv_contains((const char *const *)list, text);
}

static gboolean
workload_is_settled(const BerthObject *object)
{
    const BerthWorkloadStatus *status = berth_workload_status_of(object);
    gboolean on = object->power == BERTH_POWER_ON;
    if (object->status == NULL ||
        (status->observed_generation != 0 && status->observed_generation < object->generation)) {
        return FALSE;
    }
    switch (status->phase) {
    case BERTH_PHASE_RUNNING:
        return on;
    case BERTH_PHASE_STOPPED:
        return !on;
    case BERTH_PHASE_SUCCEEDED:
    case BERTH_PHASE_FAILED:
        return TRUE;
    case BERTH_PHASE_PENDING:
        return status->reason.code != NULL && status->preempting.host == NULL;
    default:
        return FALSE;
    }
}

/* Whether nothing more is to be expected of @object soon. */
static gboolean
is_settled(const BerthObject *object)
{
    if (object->kind->workload) {
        return workload_is_settled(object);
    }
    if (object->kind == &berth_kind_task) {
        const BerthTaskStatus *status = object->status_data;
        return is_one_of(status->phase, "Succeeded Failed Cancelled");
    }
    if (object->kind == &berth_kind_image) {
        const BerthImageStatus *status = object->status_data;
        return is_one_of(status->phase, "Ready Failed");
    }
    if (object->kind == &berth_kind_host) {
        const BerthHostStatus *status = object->status_data;
        return status->observed_generation >= object->generation &&
               is_one_of(status->phase, "Ready Unprepared Unreachable");
    }
    if (object->kind == &berth_kind_volume) {
        const BerthVolumeStatus *status = object->status_data;
        return is_one_of(status->phase, "Ready Failed");
    }
    return TRUE;
}

void
routes_wait_stop(Call *call)
{
    if (call->wait == WAIT_NONE) {
        return;
    }
    call->wait = WAIT_NONE;
    g_hash_table_remove(call->routes->waiting, call);
    if (call->wait_timeout != NULL) {
        g_source_destroy(call->wait_timeout);
        g_clear_pointer(&call->wait_timeout, g_source_unref);
    }
    g_clear_pointer(&call->wait_uid, g_free);
}

/* Status of an answer whose object turned out to be done: an accepted one is OK then. */
static void
finish_wait(Call *call, gboolean done, const BerthObject *object)
{
    guint status = done && call->answer_status == 202 ? 200 : call->answer_status;
    routes_wait_stop(call);
    call_answer_object(call, status, object);
}

static gboolean
give_up(gpointer data)
{
    Call *call = data;
    BerthObject *newest = berth_catalog_get_uid(call->routes->catalog, call->wait_uid);
    finish_wait(call, FALSE, newest != NULL ? newest : call->object);
    return G_SOURCE_REMOVE;
}

static void
keep(Call *call, BerthObject *object)
{
    berth_object_ref(object);
    berth_object_unref(call->object);
    call->object = object;
}

/** See routes-private.h. */
void
call_wait(Call *call, guint status, BerthObject *object, WaitFor wait)
{
    keep(call, object);
    g_clear_pointer(&call->document, json_decref);
    call->answer_status = status;
    gboolean done = wait == WAIT_SETTLED && is_settled(object);
    if (call->request == NULL || call->wait_s == 0 || done) {
        call_answer_object(call, done && call->wait_s > 0 && status == 202 ? 200 : status, object);
        return;
    }
    berth_request_drop_body(call->request);
    call->wait = wait;
    call->wait_uid = g_strdup(object->uid);
    g_hash_table_add(call->routes->waiting, call);
    call->wait_timeout = g_timeout_source_new((guint)call->wait_s * 1000);
    g_source_set_callback(call->wait_timeout, give_up, call, NULL);
    g_source_attach(call->wait_timeout, g_main_context_get_thread_default());
}

void
routes_wait_changed(BerthRoutes *routes, const BerthObject *before, BerthObject *after)
{
    const char *uid = (after != NULL ? after : before)->uid;
    g_autoptr(GPtrArray) concerned = g_ptr_array_new();
    GHashTableIter iter;
    gpointer key;
    g_hash_table_iter_init(&iter, routes->waiting);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        if (strcmp(((Call *)key)->wait_uid, uid) == 0) {
            g_ptr_array_add(concerned, key);
        }
    }
    for (guint i = 0; i < concerned->len; i++) {
        Call *call = concerned->pdata[i];
        if (after == NULL) {
            /* The last state is the answer, also for who waited for it to settle. */
            finish_wait(call, TRUE, before);
        } else if (call->wait == WAIT_SETTLED && is_settled(after)) {
            finish_wait(call, TRUE, after);
        }
    }
}
