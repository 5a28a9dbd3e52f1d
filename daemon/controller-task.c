/* Tasks on workloads, hosts and images: each verb is a row of the table at the end.
 *
 * A Task is begun once per life of the daemon (begin may be repeated after a restart: every verb only
 * wants a state), and ended when its target shows what was wanted. Main loop only. */
#include "daemon/control.h"

#include "base/error.h"
#include "base/json.h"

#include <string.h>

/* Changes of the target wake its Tasks; what a target does not record is seen at this pace. */
#define LOOK_AGAIN_US (10 * G_USEC_PER_SEC)

typedef enum { TASK_GOES_ON, TASK_DONE, TASK_FAILED } Verdict;

struct BerthTaskController {
    BerthControl *control;
    BerthQueue *queue;   /* names of Tasks */
    GHashTable *begun;   /* set of Task uid */
    GHashTable *targets; /* name of each unfinished Task -> uid of its target */
    GHashTable *endings; /* name of each Task whose end is not stored yet -> its last status */
    guint subscription;
};

typedef struct {
    const char *verb;
    void (*begin)(BerthTaskController *controller, BerthObject *task, BerthObject *target);
    /* NULL: begin ends the Task itself. @why: (out): borrowed, for TASK_FAILED */
    Verdict (*judge)(BerthTaskController *controller, BerthObject *target, const char **why);
} Verb;

static const Verb *find_verb(const char *name);

/* ---- records ----------------------------------------------------------------------------------- */

static gboolean
is_finished(const BerthObject *task)
{
    const BerthTaskStatus *status = task->status_data;
    return g_strcmp0(status->phase, "Succeeded") == 0 || g_strcmp0(status->phase, "Failed") == 0 ||
           g_strcmp0(status->phase, "Cancelled") == 0;
}

static void
put_step(BerthTaskController *controller, BerthObject *task, const char *step, int percent)
{
    json_t *status = berth_status_copy(task);
    berth_status_set_text(status, "phase", "Running");
    berth_status_set_text(status, "step", step);
    json_object_set_new(status, "percent", json_integer(percent));
    if (json_object_get(status, "started") == NULL) {
        g_autofree char *now = berth_control_now(controller->control);
        berth_status_set_text(status, "started", now);
    }
    berth_catalog_put_status(controller->control->catalog, task, status, NULL, NULL);
    json_decref(status);
}

typedef struct {
    BerthTaskController *controller;
    char *task; /* owned */
} Ending;

static void
on_ended(gint64 revision, const GPtrArray *changes, int failed_op, const GError *error,
         gpointer data)
{
    g_autofree Ending *ending = data;
    g_autofree char *name = ending->task;
    if (error == NULL || g_error_matches(error, BERTH_ERROR, BERTH_ERROR_NOT_FOUND)) {
        g_hash_table_remove(ending->controller->endings, name);
        berth_queue_forget(ending->controller->queue, name);
    } else {
        berth_queue_retry(ending->controller->queue, name);
    }
}

/* What was found out may not be found out again (how a preparation ended): it is kept until it is stored. */
static void
put_ending(BerthTaskController *controller, BerthObject *task)
{
    Ending *ending = g_new(Ending, 1);
    *ending = (Ending){controller, g_strdup(task->name)};
    berth_catalog_put_status(controller->control->catalog, task,
                             g_hash_table_lookup(controller->endings, task->name), on_ended,
                             ending);
}

static void
finish(BerthTaskController *controller, BerthObject *task, const char *phase, const char *code,
       const char *message, const char *hint)
{
    g_autofree char *now = berth_control_now(controller->control);
    json_t *status = berth_status_copy(task);
    berth_status_set_text(status, "phase", phase);
    berth_status_set_text(status, "finished", now);
    const BerthTaskSpec *spec = task->spec_data;
    berth_status_set_reason(status, spec->target_name, code, message, hint);
    if (code == NULL) {
        json_object_set_new(status, "percent", json_integer(100));
    }
    g_hash_table_remove(controller->targets, task->name);
    g_hash_table_replace(controller->endings, g_strdup(task->name), status);
    put_ending(controller, task);
}

static void
finish_with(BerthTaskController *controller, BerthObject *task, const GError *error)
{
    if (error == NULL) {
        finish(controller, task, "Succeeded", NULL, NULL, NULL);
    } else {
        finish(controller, task, "Failed", berth_error_code_name(berth_error_code_of(error)),
               error->message, berth_error_hint(error));
    }
}

/* ---- verbs of workloads ------------------------------------------------------------------------ */

static void
begin_nothing(BerthTaskController *controller, BerthObject *task, BerthObject *target)
{
}

static Verdict
judge_start(BerthTaskController *controller, BerthObject *target, const char **why)
{
    const BerthWorkloadStatus *status = berth_workload_status_of(target);
    if (target->power == BERTH_POWER_OFF) {
        *why = "its power was switched off meanwhile";
        return status->phase == BERTH_PHASE_SUCCEEDED ? TASK_DONE : TASK_FAILED;
    }
    if (status->phase == BERTH_PHASE_RUNNING) {
        return TASK_DONE;
    }
    gboolean refused = g_strcmp0(status->reason.code, "no-capacity") == 0 ||
                       g_strcmp0(status->reason.code, "group-incomplete") == 0 ||
                       g_strcmp0(status->reason.code, "image-failed") == 0;
    if (status->phase == BERTH_PHASE_PENDING && refused) {
        *why = status->reason.message;
        return TASK_FAILED;
    }
    return TASK_GOES_ON;
}

static Verdict
judge_stop(BerthTaskController *controller, BerthObject *target, const char **why)
{
    const BerthWorkloadStatus *status = berth_workload_status_of(target);
    if (target->power == BERTH_POWER_ON) {
        *why = "its power was switched on meanwhile";
        return TASK_FAILED;
    }
    return status->phase == BERTH_PHASE_STOPPED || status->phase == BERTH_PHASE_SUCCEEDED ||
                   status->phase == BERTH_PHASE_FAILED
               ? TASK_DONE
               : TASK_GOES_ON;
}

static gboolean
wants_force(BerthObject *task)
{
    return json_is_true(json_object_get(((BerthTaskSpec *)task->spec_data)->arguments, "force"));
}

static void
begin_destroy(BerthTaskController *controller, BerthObject *task, BerthObject *target)
{
    berth_workload_controller_force(controller->control->workloads, target->uid);
}

static void
begin_reboot(BerthTaskController *controller, BerthObject *task, BerthObject *target)
{
    berth_workload_controller_power_cycle(controller->control->workloads, target->uid,
                                          wants_force(task));
}

static void
begin_reset(BerthTaskController *controller, BerthObject *task, BerthObject *target)
{
    berth_workload_controller_power_cycle(controller->control->workloads, target->uid, TRUE);
}

static Verdict
judge_reboot(BerthTaskController *controller, BerthObject *target, const char **why)
{
    if (berth_workload_controller_is_cycling(controller->control->workloads, target->uid)) {
        return TASK_GOES_ON;
    }
    return judge_start(controller, target, why);
}

/* A call to the host under way for a Task. */
typedef struct {
    BerthTaskController *controller;
    char *task, *host, *uuid;
} Call;

static void
on_called(BerthHostReply *reply, const GError *error, gpointer data)
{
    Call *call = data;
    BerthControl *control = call->controller->control;
    BerthObject *task = berth_catalog_get(control->catalog, &berth_kind_task, NULL, call->task);
    BerthFleetHost *host = berth_fleet_get(control->fleet, call->host);
    if (host != NULL) {
        berth_fleet_look_at(host, call->uuid);
    }
    if (task != NULL && !is_finished(task)) {
        finish_with(call->controller, task, error);
    }
    g_free(call->task);
    g_free(call->host);
    g_free(call->uuid);
    g_free(call);
}

static void
call_host(BerthTaskController *controller, BerthObject *task, BerthObject *target,
          BerthHostVerb verb)
{
    BerthControl *control = controller->control;
    const BerthWorkloadStatus *status = berth_workload_status_of(target);
    BerthFleetHost *host = berth_fleet_get(control->fleet, status->host);
    if (host == NULL || !host->connected) {
        finish(controller, task, "Failed", "unavailable", "its host can't be asked now",
               "berth host list");
        return;
    }
    Call *call = g_new0(Call, 1);
    call->controller = controller;
    call->task = g_strdup(task->name);
    call->host = g_strdup(status->host);
    call->uuid = g_strdup(status->domain.uuid);
    berth_host_runner_submit(host->runner, &(BerthHostCall){.verb = verb, .uuid = call->uuid}, 30,
                             on_called, call);
}

static void
begin_suspend(BerthTaskController *controller, BerthObject *task, BerthObject *target)
{
    call_host(controller, task, target, BERTH_HOST_DOMAIN_SUSPEND);
}

static void
begin_resume(BerthTaskController *controller, BerthObject *task, BerthObject *target)
{
    call_host(controller, task, target, BERTH_HOST_DOMAIN_RESUME);
}

/* ---- verbs of hosts and images ----------------------------------------------------------------- */

typedef struct {
    BerthTaskController *controller;
    char *task;
} Prepare;

static void
on_prepare_step(const char *step, int percent, gpointer data)
{
    Prepare *prepare = data;
    BerthObject *task = berth_catalog_get(prepare->controller->control->catalog, &berth_kind_task,
                                          NULL, prepare->task);
    if (task != NULL) {
        put_step(prepare->controller, task, step, percent);
    }
}

static void
on_prepared(const GError *error, gpointer data)
{
    Prepare *prepare = data;
    BerthObject *task = berth_catalog_get(prepare->controller->control->catalog, &berth_kind_task,
                                          NULL, prepare->task);
    if (task != NULL) {
        finish_with(prepare->controller, task, error);
    }
    g_free(prepare->task);
    g_free(prepare);
}

static void
begin_prepare(BerthTaskController *controller, BerthObject *task, BerthObject *target)
{
    Prepare *prepare = g_new0(Prepare, 1);
    prepare->controller = controller;
    prepare->task = g_strdup(task->name);
    berth_host_prepare(controller->control, target->name, on_prepare_step, on_prepared, prepare);
}

static void
begin_pull(BerthTaskController *controller, BerthObject *task, BerthObject *target)
{
    berth_image_retry(controller->control->images, target->name);
}

static Verdict
judge_pull(BerthTaskController *controller, BerthObject *target, const char **why)
{
    const BerthImageStatus *status = target->status_data;
    if (g_strcmp0(status->phase, "Failed") == 0) {
        *why = status->reason.message;
        return TASK_FAILED;
    }
    return g_strcmp0(status->phase, "Ready") == 0 ? TASK_DONE : TASK_GOES_ON;
}

static const Verb verbs[] = {
    {"start", begin_nothing, judge_start},  {"shutdown", begin_nothing, judge_stop},
    {"destroy", begin_destroy, judge_stop}, {"reboot", begin_reboot, judge_reboot},
    {"reset", begin_reset, judge_reboot},   {"suspend", begin_suspend, NULL},
    {"resume", begin_resume, NULL},         {"prepare", begin_prepare, NULL},
    {"pull", begin_pull, judge_pull},
};

static const Verb *
find_verb(const char *name)
{
    for (guint i = 0; i < G_N_ELEMENTS(verbs); i++) {
        if (g_strcmp0(verbs[i].verb, name) == 0) {
            return &verbs[i];
        }
    }
    return NULL;
}

/* ---- the loop ---------------------------------------------------------------------------------- */

static void
judge(BerthTaskController *controller, BerthObject *task, BerthObject *target, const Verb *verb)
{
    const char *why = NULL;
    Verdict verdict = verb->judge != NULL ? verb->judge(controller, target, &why) : TASK_GOES_ON;
    if (verdict == TASK_DONE) {
        finish(controller, task, "Succeeded", NULL, NULL, NULL);
    } else if (verdict == TASK_FAILED) {
        g_autofree char *reason = g_strdup(why);
        finish(controller, task, "Failed", "refused", reason,
               target->kind->workload ? "berth why NAME" : "berth describe image NAME");
    }
}

static void
look(const char *name, gpointer data)
{
    BerthTaskController *controller = data;
    BerthCatalog *catalog = controller->control->catalog;
    BerthObject *task = berth_catalog_get(catalog, &berth_kind_task, NULL, name);
    if (task == NULL || is_finished(task)) {
        return;
    }
    if (g_hash_table_contains(controller->endings, name)) {
        put_ending(controller, task);
        return;
    }
    const BerthTaskSpec *spec = task->spec_data;
    const Verb *verb = find_verb(spec->verb);
    BerthObject *target =
        spec->target_uid != NULL ? berth_catalog_get_uid(catalog, spec->target_uid) : NULL;
    if (verb == NULL || target == NULL) {
        finish(controller, task, "Failed", "not-found",
               verb == NULL ? "nobody knows this verb" : "what it was about is gone", NULL);
        return;
    }
    if (spec->cancel) {
        finish(controller, task, "Cancelled", "cancelled", "cancelled on request", NULL);
        return;
    }
    g_hash_table_replace(controller->targets, g_strdup(name), g_strdup(target->uid));
    if (g_hash_table_add(controller->begun, g_strdup(task->uid))) {
        put_step(controller, task, spec->verb, 0);
        verb->begin(controller, task, target);
        berth_queue_add_after(controller->queue, name, LOOK_AGAIN_US);
        return;
    }
    judge(controller, task, target, verb);
}

static void
on_changed(const BerthObject *before, BerthObject *after, gpointer data)
{
    BerthTaskController *controller = data;
    const BerthObject *object = after != NULL ? after : before;
    if (object->kind == &berth_kind_task) {
        if (after == NULL || is_finished(after)) {
            g_hash_table_remove(controller->begun, object->uid);
            g_hash_table_remove(controller->targets, object->name);
        } else {
            berth_queue_add(controller->queue, after->name);
        }
        return;
    }
    GHashTableIter iter;
    gpointer task, target;
    g_hash_table_iter_init(&iter, controller->targets);
    while (g_hash_table_iter_next(&iter, &task, &target)) {
        if (g_str_equal(target, object->uid)) {
            berth_queue_add(controller->queue, task);
        }
    }
}

/** Goes on with every unfinished Task and follows Tasks from now on. */
BerthTaskController *
berth_task_controller_new(BerthControl *control)
{
    BerthTaskController *controller = g_new0(BerthTaskController, 1);
    controller->control = control;
    controller->queue = berth_queue_new(control->clock, look, controller);
    berth_queue_attach(controller->queue);
    controller->begun = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    controller->targets = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    controller->endings =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)json_decref);
    controller->subscription = berth_catalog_subscribe(control->catalog, on_changed, controller);
    control->tasks = controller;
    g_autoptr(GPtrArray) tasks = berth_catalog_list(control->catalog, &berth_kind_task, NULL);
    for (guint i = 0; i < tasks->len; i++) {
        if (!is_finished(tasks->pdata[i])) {
            berth_queue_add(controller->queue, ((BerthObject *)tasks->pdata[i])->name);
        }
    }
    return controller;
}

void
berth_task_controller_free(BerthTaskController *controller)
{
    berth_catalog_unsubscribe(controller->control->catalog, controller->subscription);
    berth_queue_free(controller->queue);
    g_hash_table_destroy(controller->begun);
    g_hash_table_destroy(controller->targets);
    g_hash_table_destroy(controller->endings);
    g_free(controller);
}
