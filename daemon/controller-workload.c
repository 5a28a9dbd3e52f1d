/* VMs and pods: observe, plan, record, act; one step at a time for each workload.
 *
 * look() is the loop's body. It gathers a sight, asks berth_plan_workload() for the step, records phase
 * and reason first (intent before action), and carries the step out only when the record already says
 * it. Invariant: while `busy`, neither a second action nor a second record is started, so every
 * record is made from the newest one. Main loop only. */
#include "daemon/workload-run.h"

#include "base/error.h"

#include <string.h>

#define REMOVE_AFTER_US (1 * G_USEC_PER_SEC)

/* ---- runs -------------------------------------------------------------------------------------- */

static void
free_run(gpointer data)
{
    BerthWorkloadRun *run = data;
    g_clear_handle_id(&run->finish, g_source_remove);
    g_clear_pointer(&run->pod, berth_pod_run_free);
    g_clear_pointer(&run->console, berth_console_free);
    g_ptr_array_unref(run->log_wakers);
    g_free(run->problem_code);
    g_free(run->problem);
    g_free(run->problem_hint);
    g_free(run->uid);
    g_free(run);
}

/** Returns: the run of the workload @uid, made when there is none; borrowed. */
BerthWorkloadRun *
berth_workload_run_get(BerthWorkloadController *controller, const char *uid)
{
    BerthWorkloadRun *run = g_hash_table_lookup(controller->runs, uid);
    if (run == NULL) {
        run = g_new0(BerthWorkloadRun, 1);
        run->controller = controller;
        run->uid = g_strdup(uid);
        run->log_wakers = g_ptr_array_new();
        g_hash_table_insert(controller->runs, run->uid, run);
    }
    return run;
}

/** Returns: (nullable): the record behind @run, borrowed. */
BerthObject *
berth_workload_run_object(BerthWorkloadRun *run)
{
    return berth_catalog_get_uid(run->controller->control->catalog, run->uid);
}

/** Returns: the UUID of the vessel: what the record says, else the uid. */
const char *
berth_workload_domain_uuid(const BerthObject *object)
{
    const BerthWorkloadStatus *status = berth_workload_status_of(object);
    return status->domain.uuid != NULL ? status->domain.uuid : object->uid;
}

/** Returns: (nullable): the host that the record says, when it can be asked now. */
BerthFleetHost *
berth_workload_run_host(BerthWorkloadRun *run, BerthObject *object)
{
    return berth_fleet_get(run->controller->control->fleet, berth_workload_status_of(object)->host);
}

static void
set_problem(BerthWorkloadRun *run, const GError *error)
{
    g_clear_pointer(&run->problem_code, g_free);
    g_clear_pointer(&run->problem, g_free);
    g_clear_pointer(&run->problem_hint, g_free);
    if (error != NULL) {
        run->problem_code = g_strdup(berth_error_code_name(berth_error_code_of(error)));
        run->problem = g_strdup(error->message);
        run->problem_hint = g_strdup(berth_error_hint(error));
    }
}

/** Ends the action under way: looks again at once, or after a back-off when it failed. */
void
berth_workload_run_done(BerthWorkloadRun *run, const GError *error)
{
    BerthWorkloadController *controller = run->controller;
    run->busy = FALSE;
    set_problem(run, error);
    if (error == NULL) {
        run->failed = BERTH_DO_NOTHING;
        berth_queue_forget(controller->queue, run->uid);
        berth_queue_add(controller->queue, run->uid);
        return;
    }
    BerthObject *object = berth_workload_run_object(run);
    if (object != NULL) {
        BerthFleetHost *host = berth_workload_run_host(run, object);
        if (host != NULL && host->connected) {
            berth_fleet_doubt_domain(host, berth_workload_domain_uuid(object));
        }
    }
    run->failed = run->doing;
    run->again_us = berth_clock_monotonic_us(controller->control->clock) +
                    berth_queue_retry(controller->queue, run->uid);
}

/* ---- the record -------------------------------------------------------------------------------- */

static void
on_recorded(gint64 revision, const GPtrArray *changes, int failed_op, const GError *error,
            gpointer user_data)
{
    g_autofree char *uid = NULL;
    struct {
        BerthWorkloadController *controller;
        char *uid;
    } *note = user_data;
    BerthWorkloadController *controller = note->controller;
    uid = note->uid;
    g_free(note);
    BerthWorkloadRun *run = g_hash_table_lookup(controller->runs, uid);
    if (run == NULL) {
        return;
    }
    run->busy = FALSE;
    if (error != NULL) {
        berth_queue_retry(controller->queue, uid);
        return;
    }
    berth_queue_add(controller->queue, uid);
}

static gpointer
note_for(BerthWorkloadRun *run)
{
    struct {
        BerthWorkloadController *controller;
        char *uid;
    } *note = g_malloc(sizeof *note);
    note->controller = run->controller;
    note->uid = g_strdup(run->uid);
    return note;
}

/* Records status, and the power when the step says that it went off by itself, in one transaction. */
static void
record(BerthWorkloadRun *run, BerthObject *object, const BerthWorkloadStep *step, json_t *status)
{
    BerthCatalog *catalog = run->controller->control->catalog;
    run->busy = TRUE;
    berth_workload_tell_event(run->controller->control, object, step);
    if (step->power_off_by == NULL || object->power == BERTH_POWER_OFF) {
        berth_catalog_put_status(catalog, object, status, on_recorded, note_for(run));
        return;
    }
    g_autoptr(BerthObject) off = berth_object_with_power(object, BERTH_POWER_OFF);
    BerthTransaction *transaction = berth_transaction_new();
    berth_catalog_add_body(transaction, off, object->revision);
    berth_catalog_add_status(transaction, object, status);
    berth_catalog_submit(catalog, transaction, on_recorded, note_for(run));
}

/* ---- the loop ---------------------------------------------------------------------------------- */

static gboolean
is_finished_for_removal(BerthWorkloadRun *run, BerthObject *object)
{
    const BerthWorkloadStatus *status = berth_workload_status_of(object);
    return object->kind == &berth_kind_pod &&
           ((BerthPodSpec *)object->spec_data)->remove_when_done &&
           object->power == BERTH_POWER_OFF && object->deleting == NULL &&
           (status->phase == BERTH_PHASE_SUCCEEDED || status->phase == BERTH_PHASE_FAILED ||
            status->phase == BERTH_PHASE_STOPPED);
}

/* docker's --rm: gone after its end, but not before those who watch it have read all. */
static void
remove_finished(BerthWorkloadRun *run, BerthObject *object, gint64 now_us)
{
    BerthWorkloadController *controller = run->controller;
    if (run->ended_us == 0) {
        run->ended_us = now_us;
    }
    if (run->readers == 0 && now_us >= run->ended_us + REMOVE_AFTER_US) {
        berth_catalog_mark_deleting(controller->control->catalog, object, NULL, NULL);
        return;
    }
    berth_queue_add_after(controller->queue, run->uid, REMOVE_AFTER_US);
}

static void
forget_workload(BerthWorkloadController *controller, const char *uid)
{
    BerthWorkloadRun *run = g_hash_table_lookup(controller->runs, uid);
    if (run != NULL) {
        berth_workload_wake_logs(run);
    }
    g_hash_table_remove(controller->runs, uid);
    berth_ledger_leave(controller->control->ledger, uid);
    berth_ledger_release(controller->control->ledger, uid);
}

static void
release_resting_capacity(BerthWorkloadController *controller, BerthObject *object,
                         const BerthWorkloadSight *sight)
{
    if (!sight->placed && !sight->power && sight->charged) {
        /* Reserved with its group, and switched off before it took its place. */
        berth_ledger_release(controller->control->ledger, object->uid);
        return;
    }
    if (sight->vm && !sight->power && sight->phase == BERTH_PHASE_STOPPED && sight->charged &&
        !berth_workload_sight_is_on(sight)) {
        berth_ledger_release(controller->control->ledger, object->uid);
        berth_host_controller_touch(controller->control->hosts,
                                    berth_workload_status_of(object)->host);
    }
}

static void
look(const char *uid, gpointer user_data)
{
    BerthWorkloadController *controller = user_data;
    BerthObject *object = berth_catalog_get_uid(controller->control->catalog, uid);
    if (object == NULL || !object->kind->workload) {
        forget_workload(controller, uid);
        return;
    }
    BerthWorkloadRun *run = berth_workload_run_get(controller, uid);
    if (run->busy) {
        return;
    }
    BerthWorkloadSight sight;
    berth_workload_see(run, object, &sight);
    BerthWorkloadStep step = berth_plan_workload(&sight);
    if (run->asked_us == 0 && sight.power) {
        run->asked_us = sight.now_us;
    }
    gboolean turn = run->turn;
    run->turn = FALSE;
    if (step.action != BERTH_DO_PLACE) {
        berth_ledger_leave(controller->control->ledger, uid);
    } else if (!turn && berth_workload_status_of(object)->preempting.host == NULL) {
        /* What waits for room keeps the reason that the placement gave. */
        berth_ledger_join(controller->control->ledger, object);
        return;
    }
    json_t *status = berth_workload_write_status(run, object, &sight, &step);
    gboolean same = object->status != NULL && json_equal(status, object->status) &&
                    (step.power_off_by == NULL || object->power == BERTH_POWER_OFF);
    /* Placing writes host and phase at once: one commit less on the way of every start. */
    if (!same && step.action != BERTH_DO_PLACE) {
        record(run, object, &step, status);
        json_decref(status);
        return;
    }
    json_decref(status);
    if (step.wake_us > 0) {
        berth_queue_add_after(controller->queue, uid, MAX(0, step.wake_us - sight.now_us));
    }
    /* The look at what the failure left wakes us at once. Whose turn it is in line takes it, or keeps others off. */
    if (step.action == run->failed && step.action != BERTH_DO_PLACE &&
        step.action != BERTH_DO_NOTHING && sight.now_us < run->again_us) {
        berth_queue_add_after(controller->queue, uid, run->again_us - sight.now_us);
        return;
    }
    if (step.action != BERTH_DO_NOTHING) {
        run->doing = step.action;
        run->busy = TRUE;
        berth_workload_act(run, object, &step);
        return;
    }
    set_problem(run, NULL);
    berth_queue_forget(controller->queue, uid);
    if (sight.vm && berth_workload_sight_is_on(&sight) && run->console == NULL) {
        const char *host = berth_workload_status_of(object)->host;
        run->console =
            berth_console_new(controller->control, uid, host, berth_workload_domain_uuid(object));
    }
    release_resting_capacity(controller, object, &sight);
    if (is_finished_for_removal(run, object)) {
        remove_finished(run, object, sight.now_us);
    }
}

/** Wants the workload @uid to be looked at; an unknown uid is harmless. */
void
berth_workload_controller_look(BerthWorkloadController *controller, const char *uid)
{
    if (controller != NULL) {
        berth_queue_add(controller->queue, uid);
    }
}

static void
each_workload(BerthWorkloadController *controller,
              void (*visit)(BerthWorkloadController *controller, BerthObject *object,
                            gconstpointer data),
              gconstpointer data)
{
    static const BerthKind *const kinds[] = {&berth_kind_pod, &berth_kind_vm};
    for (guint i = 0; i < G_N_ELEMENTS(kinds); i++) {
        BerthCatalogIter iter;
        berth_catalog_iter_init(&iter, controller->control->catalog, kinds[i], NULL);
        for (BerthObject *object; (object = berth_catalog_iter_next(&iter)) != NULL;) {
            visit(controller, object, data);
        }
    }
}

/** Wants every workload of @host to be looked at. */
void
berth_workload_controller_look_at_host(BerthWorkloadController *controller, const char *host)
{
    if (controller == NULL) {
        return;
    }
    g_autoptr(GPtrArray) workloads = berth_catalog_list_naming(controller->control->catalog, host);
    for (guint i = 0; i < workloads->len; i++) {
        const BerthObject *object = workloads->pdata[i];
        BerthWorkloadRun *run = g_hash_table_lookup(controller->runs, object->uid);
        if (run != NULL && run->pod != NULL) {
            berth_pod_run_hurry(run->pod);
        }
        berth_queue_add(controller->queue, object->uid);
    }
}

/* Somebody in line may be tried, now or once a back-off is over. */
static void
follow_line(gpointer user_data)
{
    BerthWorkloadController *controller = user_data;
    gint64 due_us = berth_ledger_due(controller->control->ledger);
    if (due_us < G_MAXINT64) {
        gint64 now_us = berth_clock_monotonic_us(controller->control->clock);
        berth_queue_add_after(controller->turns, "next", MAX(0, due_us - now_us));
    }
}

/* Who is first in line is looked at with the right to a place, then the next one. */
static void
give_turn(const char *key, gpointer user_data)
{
    BerthWorkloadController *controller = user_data;
    BerthFleetLedger *ledger = controller->control->ledger;
    const char *next = berth_ledger_next(ledger);
    if (next != NULL) {
        g_autofree char *uid = g_strdup(next);
        BerthWorkloadRun *run = berth_workload_run_get(controller, uid);
        if (run->busy) {
            /* Its refusal is being stored. Nobody overtakes it: the look after that goes on here. */
            return;
        }
        run->turn = TRUE;
        look(uid, controller);
    }
    follow_line(controller);
}

static void
look_when_pending(BerthWorkloadController *controller, BerthObject *object, gconstpointer unused)
{
    if (berth_workload_status_of(object)->host == NULL) {
        berth_queue_add(controller->queue, object->uid);
    }
}

/** An image came, failed or went: workloads without a host look again. */
void
berth_workload_controller_images(BerthWorkloadController *controller)
{
    if (controller != NULL) {
        each_workload(controller, look_when_pending, NULL);
    }
}

/** Wants the power of @uid to be cut without asking the guest, once its power is off or it is deleted. */
void
berth_workload_controller_force(BerthWorkloadController *controller, const char *uid)
{
    berth_workload_run_get(controller, uid)->force = TRUE;
    berth_queue_add(controller->queue, uid);
}

/** Wants @uid to be stopped and started again. */
void
berth_workload_controller_power_cycle(BerthWorkloadController *controller, const char *uid,
                                      gboolean force)
{
    BerthWorkloadRun *run = berth_workload_run_get(controller, uid);
    run->power_cycle = TRUE;
    run->force = force;
    berth_queue_add(controller->queue, uid);
}

/** Returns: whether a reboot of @uid has not switched it off yet. */
gboolean
berth_workload_controller_is_cycling(BerthWorkloadController *controller, const char *uid)
{
    BerthWorkloadRun *run = g_hash_table_lookup(controller->runs, uid);
    return run != NULL && run->power_cycle;
}

/** Returns: how many workloads wait to be looked at. */
guint
berth_workload_controller_queue_length(BerthWorkloadController *controller)
{
    return berth_queue_length(controller->queue);
}

static void
on_changed(const BerthObject *before, BerthObject *after, gpointer user_data)
{
    BerthWorkloadController *controller = user_data;
    const BerthObject *object = after != NULL ? after : before;
    if (object->kind == &berth_kind_network &&
        (before == NULL || after == NULL || before->body_revision != after->body_revision)) {
        berth_ledger_network_changed(controller->control->ledger);
    }
    if (object->kind == &berth_kind_settings) {
        const BerthSettingsSpec *settings = berth_catalog_settings(controller->control->catalog);
        berth_logs_set_bounds(controller->control->logs, (gsize)settings->log_segment_mib << 20,
                              (guint)settings->log_segments);
    }
    if (!object->kind->workload) {
        return;
    }
    if (after != NULL && (before == NULL || before->power != after->power)) {
        BerthWorkloadRun *run = berth_workload_run_get(controller, after->uid);
        run->asked_us = 0;
        run->retry_us = 0;
        run->failures = 0;
        run->failed = BERTH_DO_NOTHING;
        run->ended_us = 0;
    }
    if (after == NULL || before == NULL || before->body_revision != after->body_revision) {
        /* What it asks for may be something else now: it joins again. */
        berth_ledger_leave(controller->control->ledger, object->uid);
    }
    if (after != NULL && before != NULL && before->body_revision != after->body_revision) {
        berth_ledger_rerank(controller->control->ledger, after);
    }
    berth_preemption_follow(controller, before, after);
    berth_queue_add(controller->queue, object->uid);
    BerthWorkloadRun *run = g_hash_table_lookup(controller->runs, object->uid);
    if (run != NULL) {
        berth_workload_wake_logs(run);
    }
}

static void
look_at_start(BerthWorkloadController *controller, BerthObject *object, gconstpointer live)
{
    g_hash_table_add((GHashTable *)live, g_strdup(object->uid));
    berth_preemption_resume(controller, object);
    berth_queue_add(controller->queue, object->uid);
}

/** Looks at every workload once and follows VMs and pods from now on. */
BerthWorkloadController *
berth_workload_controller_new(BerthControl *control)
{
    BerthWorkloadController *controller = g_new0(BerthWorkloadController, 1);
    controller->control = control;
    controller->queue = berth_queue_new(control->clock, look, controller);
    berth_queue_attach(controller->queue);
    controller->runs = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, free_run);
    controller->displaced = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    controller->turns = berth_queue_new(control->clock, give_turn, controller);
    berth_queue_attach(controller->turns);
    berth_ledger_follow_line(control->ledger, follow_line, controller);
    controller->subscription = berth_catalog_subscribe(control->catalog, on_changed, controller);
    control->workloads = controller;
    g_autoptr(GHashTable) live = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    each_workload(controller, look_at_start, live);
    berth_logs_prune(control->logs, live);
    return controller;
}

void
berth_workload_controller_free(BerthWorkloadController *controller)
{
    berth_catalog_unsubscribe(controller->control->catalog, controller->subscription);
    berth_ledger_follow_line(controller->control->ledger, NULL, NULL);
    berth_queue_free(controller->queue);
    g_hash_table_destroy(controller->runs);
    berth_queue_free(controller->turns);
    g_hash_table_destroy(controller->displaced);
    g_free(controller);
}
