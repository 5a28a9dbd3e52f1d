/* Verbs and Tasks. Invariant: an object has at most one unfinished Task, but for destroy, which must always
 * get through. Main loop. */
#include "daemon/routes-private.h"

#include "base/json.h"

#include <string.h>

static const Verb *
find_verb(const Call *call)
{
    for (guint i = 0; i < call->routes->verbs->len; i++) {
        const Verb *verb = &g_array_index(call->routes->verbs, Verb, i);
        if (verb->kind == call->kind && strcmp(verb->verb, call->verb) == 0) {
            return verb;
        }
    }
    g_assert_not_reached();
}

/* Whether no other Task is at work on @object; holds its place until this one is stored. */
static gboolean
reserve(Call *call, const BerthObject *object)
{
    const BerthObject *task = berth_catalog_active_task(call->routes->catalog, object->uid);
    if (strcmp(call->verb, "destroy") == 0) {
        return TRUE;
    }
    gboolean ours = call->reserved != NULL;
    if (task != NULL || (!ours && g_hash_table_contains(call->routes->reserved, object->uid))) {
        g_autofree char *hint =
            task != NULL ? g_strdup_printf("wait for it, or: berth task cancel %s", task->name)
                         : NULL;
        call_refuse(call, 409, BERTH_ERROR_CONFLICT, hint, "%s '%s' is busy with another task",
                    object->kind->name, object->name);
        return FALSE;
    }
    if (!ours) {
        call->reserved = g_strdup(object->uid);
        g_hash_table_add(call->routes->reserved, g_strdup(object->uid));
    }
    return TRUE;
}

/* start, shutdown and destroy set the power in the same transaction that makes the Task. */
static void
add_power(const Call *call, const BerthObject *object, BerthTransaction *transaction)
{
    gboolean start = strcmp(call->verb, "start") == 0;
    gboolean stop = strcmp(call->verb, "shutdown") == 0 || strcmp(call->verb, "destroy") == 0;
    BerthPower power = start ? BERTH_POWER_ON : BERTH_POWER_OFF;
    if (object->kind->workload && (start || stop) && object->power != power) {
        g_autoptr(BerthObject) changed = berth_object_with_power(object, power);
        berth_catalog_add_body(transaction, changed, object->revision);
    }
}

static gboolean
check_verb(Call *call, BerthObject *object)
{
    g_autoptr(GError) error = NULL;
    const Verb *verb = find_verb(call);
    if (call->document != NULL && !json_is_object(call->document)) {
        call_refuse(call, 400, BERTH_ERROR_INVALID, NULL, "the arguments must be a JSON object");
        return FALSE;
    }
    if (object->deleting != NULL) {
        call_refuse(call, 409, BERTH_ERROR_CONFLICT, NULL, "%s '%s' is being deleted",
                    object->kind->name, object->name);
        return FALSE;
    }
    if (verb->check != NULL &&
        !verb->check(call->routes->catalog, object, call->document, &error)) {
        call_fail(call, 0, error);
        return FALSE;
    }
    return TRUE;
}

static void
verb_once(Call *call)
{
    BerthObject *object = call_find(call);
    if (object == NULL || !call_check_key(call) || !check_verb(call, object) ||
        !reserve(call, object)) {
        return;
    }
    g_autoptr(BerthObject) task = berth_catalog_make_task(
        call->routes->catalog, call->verb, object, call->document,
        berth_request_actor(call->request)->name, berth_request_id(call->request));
    if (call->dry_run) {
        call_answer_object(call, 202, task);
        return;
    }
    g_autoptr(BerthTransaction) transaction = berth_transaction_new();
    berth_catalog_add_body(transaction, task, BERTH_STORE_ABSENT);
    add_power(call, object, transaction);
    if (call_use_key(call, transaction, task)) {
        call_submit(call, g_steal_pointer(&transaction), task, 202, verb_once);
    }
}

void
handle_verb(Call *call)
{
    if (call_read_document(call, FALSE)) {
        verb_once(call);
    }
}

static void
cancel_once(Call *call)
{
    BerthObject *task = call_find(call);
    if (task == NULL) {
        return;
    }
    const BerthTaskSpec *spec = task->spec_data;
    const BerthTaskStatus *status = task->status_data;
    static const char *const ended[] = {"Succeeded", "Failed", "Cancelled", NULL};
    if (status->phase != NULL && g_strv_contains(ended, status->phase)) {
        call_refuse(call, 409, BERTH_ERROR_CONFLICT, NULL, "task '%s' has ended: %s", task->name,
                    status->phase);
        return;
    }
    if (spec->cancel) {
        call_wait(call, 202, task, WAIT_SETTLED);
        return;
    }
    g_autoptr(json_t) changed = json_deep_copy(task->spec);
    json_object_set_new(changed, "cancel", json_true());
    g_autoptr(GError) error = NULL;
    g_autoptr(BerthObject) cancelled =
        berth_object_make(&berth_kind_task, "", task->name, changed, task->created, &error);
    if (cancelled == NULL) {
        call_fail(call, 0, error);
        return;
    }
    berth_object_set_identity(cancelled, task->uid, task->created);
    BerthTransaction *transaction = berth_transaction_new();
    berth_catalog_add_body(transaction, cancelled, task->revision);
    call_submit(call, transaction, cancelled, 202, cancel_once);
}

void
handle_cancel(Call *call)
{
    cancel_once(call);
}
