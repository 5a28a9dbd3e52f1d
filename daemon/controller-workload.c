/* VMs and pods: observe, plan, record, act; one step at a time for each workload.
 *
 * look() is the loop's body. It gathers a sight, asks berth_plan_workload() for the step, records phase
 * and reason first (intent before action), and carries the step out only when the record already says
 * it. Invariant: while `busy`, neither a second action nor a second record is started, so every
 * record is made from the newest one. Main loop only. */
#include "daemon/workload-run.h"

#include "base/error.h"
#include "base/json.h"

#include <string.h>

#define STABLE_US (60 * G_USEC_PER_SEC)
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
    berth_queue_retry(controller->queue, run->uid);
}

/* ---- the sight --------------------------------------------------------------------------------- */

static BerthImagesSight
see_images(BerthControl *control, BerthObject *object)
{
    g_auto(GStrv) references = berth_workload_images(object);
    BerthImagesSight sight = BERTH_IMAGES_READY;
    for (guint i = 0; references[i] != NULL; i++) {
        BerthObject *image = berth_image_find(control, references[i]);
        const BerthImageStatus *status = image != NULL ? image->status_data : NULL;
        BerthImagesSight one = BERTH_IMAGES_WORKING;
        if (image == NULL) {
            one = BERTH_IMAGES_MISSING;
        } else if (g_strcmp0(status->phase, "Ready") == 0) {
            one = BERTH_IMAGES_READY;
        } else if (g_strcmp0(status->phase, "Failed") == 0) {
            one = BERTH_IMAGES_FAILED;
        }
        sight = MIN(sight, one);
    }
    return sight;
}

static gboolean
is_staged(BerthControl *control, BerthFleetHost *host, BerthObject *object)
{
    g_autoptr(GPtrArray) files = berth_workload_files(control, object);
    for (guint i = 0; i < files->len; i++) {
        if (berth_stage_find(host, files->pdata[i]) == NULL) {
            return FALSE;
        }
    }
    /* Without a guest OS, staging says what is wrong. A VM of empty disks needs no file at all. */
    return object->kind != &berth_kind_pod || control->guest_os != NULL;
}

static void
see_host(BerthControl *control, BerthObject *object, BerthWorkloadSight *sight)
{
    const char *name = berth_workload_status_of(object)->host;
    BerthFleetHost *host = berth_fleet_get(control->fleet, name);
    if (host == NULL) {
        sight->host = berth_catalog_get(control->catalog, &berth_kind_host, NULL, name) != NULL
                          ? BERTH_HOST_SIGHT_BLIND
                          : BERTH_HOST_SIGHT_GONE;
        return;
    }
    if (!host->connected || !host->listed || host->volumes == NULL) {
        sight->host = BERTH_HOST_SIGHT_BLIND;
        return;
    }
    sight->host = BERTH_HOST_SIGHT_CLEAR;
    sight->doubtful = berth_fleet_is_domain_doubtful(host, berth_workload_domain_uuid(object)) ||
                      (sight->vm && berth_fleet_is_doubtful(host));
    sight->staged = is_staged(control, host, object);
    sight->disks = berth_workload_disks_present(control, host, object);
    sight->volumes = berth_workload_has_volumes(host, object);
    const BerthDomain *domain = berth_fleet_domain(host, berth_workload_domain_uuid(object));
    if (domain != NULL) {
        sight->defined = TRUE;
        sight->state = domain->state;
        sight->stop_reason = domain->stop_reason;
    }
}

static gboolean
is_on(const BerthWorkloadSight *sight)
{
    return sight->defined && sight->state != BERTH_DOMAIN_SHUTOFF &&
           sight->state != BERTH_DOMAIN_CRASHED;
}

/* What the run remembers follows from what is seen: a vessel that is off has no start and no link. */
static void
follow_power(BerthWorkloadRun *run, BerthWorkloadSight *sight)
{
    if (sight->host != BERTH_HOST_SIGHT_CLEAR) {
        return;
    }
    if (is_on(sight)) {
        if (run->started_us == 0 && sight->phase != BERTH_PHASE_PREPARING) {
            run->started_us = sight->now_us;
        }
        return;
    }
    g_clear_pointer(&run->pod, berth_pod_run_free);
    g_clear_pointer(&run->console, berth_console_free);
    run->stop_asked_us = 0;
    run->force = FALSE;
    if (sight->phase != BERTH_PHASE_STARTING && sight->phase != BERTH_PHASE_RUNNING) {
        run->started_us = 0;
    }
}

/* A reboot is half done once the vessel is off and recorded as such; one that is off anyway has none. */
static void
follow_power_cycle(BerthWorkloadRun *run, const BerthWorkloadSight *sight)
{
    gboolean may_be_on = sight->placed && (sight->host != BERTH_HOST_SIGHT_CLEAR || is_on(sight) ||
                                           sight->phase == BERTH_PHASE_RUNNING ||
                                           sight->phase == BERTH_PHASE_STARTING ||
                                           sight->phase == BERTH_PHASE_UNKNOWN);
    if (!may_be_on || !sight->power) {
        run->power_cycle = FALSE;
    }
}

static void
see(BerthWorkloadRun *run, BerthObject *object, BerthWorkloadSight *sight)
{
    BerthControl *control = run->controller->control;
    const BerthWorkload *workload = berth_workload_of(object);
    const BerthWorkloadStatus *status = berth_workload_status_of(object);
    *sight = (BerthWorkloadSight){
        .now_us = berth_clock_monotonic_us(control->clock),
        .vm = object->kind == &berth_kind_vm,
        .power = object->power == BERTH_POWER_ON,
        .deleting = object->deleting != NULL,
        .restart = (BerthRestart)workload->restart,
        .boot_timeout_us = workload->boot_timeout_s * G_USEC_PER_SEC,
        .stop_timeout_us = workload->stop_timeout_s * G_USEC_PER_SEC,
        .phase = (BerthPhase)status->phase,
        .placed = status->host != NULL,
        .charged = berth_ledger_host_of(control->ledger, object->uid) != NULL,
        .images = see_images(control, object),
    };
    if (sight->placed) {
        see_host(control, object, sight);
    }
    follow_power(run, sight);
    follow_power_cycle(run, sight);
    sight->force = run->force;
    sight->power_cycle = run->power_cycle;
    sight->started_us = run->started_us;
    sight->stop_asked_us = run->stop_asked_us;
    sight->retry_us = run->retry_us;
    if (!sight->vm) {
        const BerthPodSpec *spec = object->spec_data;
        sight->containers = spec->containers->len;
        if (run->pod != NULL) {
            berth_pod_run_see(run->pod, sight);
        }
    }
}

/* ---- the record -------------------------------------------------------------------------------- */

static const struct {
    const char *code, *message, *hint;
} reasons[] = {
    {"image-pulling", "its image is being pulled", "berth tasks"},
    {"image-failed", "its image can't be had", "berth images"},
    {"host-unreachable", "its host can't be asked now", "berth host list"},
    {"host-in-doubt", "what became of a call to its host is not known yet", "berth host list"},
    {"host-removed", "its host was removed from the fleet", "berth host add"},
    {"guest-ended", "the guest ended by itself", "berth logs NAME"},
    {"guest-silent", "the guest does not answer now", "berth console NAME"},
    {"boot-timeout", "the guest did not answer in time after power-on", "berth console NAME"},
    {"stop-timeout", "the guest did not stop in time; its power is cut", NULL},
    {"container-failed", "a container ended with an error", "berth logs NAME"},
    {"back-off", "waits before the next start", "berth events"},
    {"paused", "its vCPUs are paused", "berth resume NAME"},
    {"migrating", "it is being migrated", NULL},
};

static const char *
image_failure(BerthControl *control, BerthObject *object)
{
    g_auto(GStrv) references = berth_workload_images(object);
    for (guint i = 0; references[i] != NULL; i++) {
        BerthObject *image = berth_image_find(control, references[i]);
        const BerthImageStatus *status = image != NULL ? image->status_data : NULL;
        if (status != NULL && g_strcmp0(status->phase, "Failed") == 0) {
            return status->reason.message;
        }
    }
    return NULL;
}

static void
write_reason(BerthWorkloadRun *run, BerthObject *object, const BerthWorkloadStep *step,
             json_t *status)
{
    if (run->problem_code != NULL) {
        berth_status_set_reason(status, object->name, run->problem_code, run->problem,
                                run->problem_hint);
        return;
    }
    if (step->reason == NULL) {
        berth_status_set_reason(status, object->name, NULL, NULL, NULL);
        return;
    }
    const char *message = NULL, *hint = NULL;
    for (guint i = 0; i < G_N_ELEMENTS(reasons); i++) {
        if (g_str_equal(reasons[i].code, step->reason)) {
            message = reasons[i].message;
            hint = reasons[i].hint;
        }
    }
    if (g_str_equal(step->reason, "image-failed")) {
        const char *why = image_failure(run->controller->control, object);
        message = why != NULL ? why : message;
    }
    if (g_str_equal(step->reason, "container-failed") && run->pod != NULL &&
        berth_pod_run_failure(run->pod) != NULL) {
        message = berth_pod_run_failure(run->pod);
    }
    berth_status_set_reason(status, object->name, step->reason, message, hint);
}

static void
write_containers(BerthWorkloadRun *run, BerthObject *object, json_t *status)
{
    if (run->pod == NULL) {
        return;
    }
    const BerthPodSpec *spec = object->spec_data;
    json_t *list = berth_pod_run_containers(run->pod);
    size_t i;
    json_t *entry;
    json_array_foreach (list, i, entry) {
        const BerthContainerSpec *container = spec->containers->pdata[i];
        BerthObject *image = berth_image_find(run->controller->control, container->image);
        json_object_set_new(entry, "image", json_string(container->image));
        if (image != NULL && ((BerthImageStatus *)image->status_data)->digest != NULL) {
            json_object_set_new(entry, "digest",
                                json_string(((BerthImageStatus *)image->status_data)->digest));
        }
    }
    json_object_set_new(status, "containers", list);
}

static void
set_ms(json_t *timing, const char *key, gint64 from_us, gint64 to_us)
{
    if (from_us > 0 && to_us >= from_us) {
        json_object_set_new(timing, key, json_real((double)((to_us - from_us) / 10) / 100.0));
    }
}

static void
write_timing(BerthWorkloadRun *run, json_t *status)
{
    if (run->asked_us == 0 || run->pod == NULL) {
        return;
    }
    gint64 ready_us = berth_pod_run_ready_us(run->pod);
    gint64 configured_us = berth_pod_run_configured_us(run->pod);
    gint64 byte_us = berth_pod_run_first_byte_us(run->pod);
    json_t *timing = json_object();
    set_ms(timing, "place", run->asked_us, run->placed_us);
    set_ms(timing, "image", run->placed_us, run->define_began_us);
    set_ms(timing, "define", run->define_began_us, run->defined_us);
    set_ms(timing, "libvirt_start", run->start_began_us, run->domain_started_us);
    set_ms(timing, "boot", run->domain_started_us, ready_us);
    set_ms(timing, "link", ready_us, configured_us);
    set_ms(timing, "crun", configured_us, byte_us);
    set_ms(timing, "total", run->asked_us, byte_us);
    json_object_set_new(status, "timing", timing);
}

static void
count_restart(BerthWorkloadRun *run, const BerthWorkloadSight *sight, json_t *status)
{
    if (sight->phase == BERTH_PHASE_PREPARING) {
        return;
    }
    gboolean lasted = run->started_us > 0 && sight->now_us - run->started_us > STABLE_US;
    run->failures = lasted ? 1 : run->failures + 1;
    /* At once, then after 1, 2, 4, … 60 s while it doesn't last a minute. */
    gint64 delay_s = run->failures <= 1 ? 0 : MIN(60, (gint64)1 << MIN(run->failures - 2, 6u));
    run->retry_us = sight->now_us + delay_s * G_USEC_PER_SEC;
    json_int_t restarts = berth_json_integer(status, "restarts", 0);
    json_object_set_new(status, "restarts", json_integer(restarts + 1));
}

static json_t *
write_status(BerthWorkloadRun *run, BerthObject *object, const BerthWorkloadSight *sight,
             const BerthWorkloadStep *step)
{
    BerthControl *control = run->controller->control;
    json_t *status = berth_status_copy(object);
    BerthPhase before = (BerthPhase)berth_workload_status_of(object)->phase;
    berth_status_set_text(status, "phase", berth_phase_name(step->phase));
    write_reason(run, object, step, status);
    write_containers(run, object, status);
    json_object_set_new(status, "observed_generation", json_integer(object->generation));
    if (step->phase == BERTH_PHASE_RUNNING && before != BERTH_PHASE_RUNNING &&
        before != BERTH_PHASE_UNKNOWN) {
        g_autofree char *now = berth_control_now(control);
        berth_status_set_text(status, "started", now);
    }
    if (step->phase == BERTH_PHASE_RUNNING || step->phase == BERTH_PHASE_SUCCEEDED) {
        write_timing(run, status);
    }
    if (step->action == BERTH_DO_START && before != BERTH_PHASE_STARTING) {
        json_t *domain = json_object_get(status, "domain");
        json_object_set_new(domain, "incarnation",
                            json_integer(berth_json_integer(domain, "incarnation", 0) + 1));
    }
    if (step->count_restart) {
        count_restart(run, sight, status);
    }
    if (step->power_off_by != NULL) {
        berth_status_set_text(status, "actor", step->power_off_by);
    }
    return status;
}

static const struct {
    BerthPhase phase;
    const char *severity, *reason, *text;
} phase_events[] = {
    {BERTH_PHASE_RUNNING, "info", "Running", "is running on"},
    {BERTH_PHASE_STOPPED, "info", "Stopped", "is off:"},
    {BERTH_PHASE_SUCCEEDED, "info", "Succeeded", "ended with success on"},
    {BERTH_PHASE_FAILED, "error", "Failed", "failed on"},
    {BERTH_PHASE_UNKNOWN, "warning", "Unknown", "can't be seen, no answer from"},
};

static void
tell_event(BerthControl *control, BerthObject *object, const BerthWorkloadStep *step)
{
    const BerthWorkloadStatus *status = berth_workload_status_of(object);
    const char *host = status->host != NULL ? status->host : "no host";
    if (step->count_restart && status->phase != BERTH_PHASE_PREPARING) {
        berth_catalog_record_event(control->catalog, object, "warning", "Restarting", NULL,
                                   "%s '%s' ended unasked on %s and is started again (%s)",
                                   object->kind->name, object->name, host, step->reason);
    }
    if ((BerthPhase)status->phase == step->phase) {
        return;
    }
    for (guint i = 0; i < G_N_ELEMENTS(phase_events); i++) {
        if (phase_events[i].phase == step->phase) {
            gboolean off = step->phase == BERTH_PHASE_STOPPED && step->power_off_by != NULL;
            berth_catalog_record_event(control->catalog, object, phase_events[i].severity,
                                       phase_events[i].reason, step->power_off_by, "%s '%s' %s %s",
                                       object->kind->name, object->name, phase_events[i].text,
                                       off ? step->power_off_by : host);
        }
    }
}

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
    tell_event(run->controller->control, object, step);
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
    g_hash_table_remove(controller->waiting, uid);
    g_hash_table_remove(controller->runs, uid);
    if (berth_ledger_release(controller->control->ledger, uid)) {
        berth_workload_controller_capacity(controller);
    }
}

static void
release_resting_capacity(BerthWorkloadController *controller, BerthObject *object,
                         const BerthWorkloadSight *sight)
{
    if (!sight->placed && !sight->power && sight->charged) {
        /* Reserved with its group, and switched off before it took its place. */
        berth_ledger_release(controller->control->ledger, object->uid);
        berth_workload_controller_capacity(controller);
        return;
    }
    if (sight->vm && !sight->power && sight->phase == BERTH_PHASE_STOPPED && sight->charged &&
        !is_on(sight)) {
        berth_ledger_release(controller->control->ledger, object->uid);
        berth_host_controller_touch(controller->control->hosts,
                                    berth_workload_status_of(object)->host);
        berth_workload_controller_capacity(controller);
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
    see(run, object, &sight);
    BerthWorkloadStep step = berth_plan_workload(&sight);
    if (run->asked_us == 0 && sight.power) {
        run->asked_us = sight.now_us;
    }
    /* What waits for room keeps the reason that the placement gave. */
    gboolean parked = g_hash_table_contains(controller->waiting, uid);
    if (step.action == BERTH_DO_PLACE && parked) {
        return;
    }
    if (step.action != BERTH_DO_PLACE) {
        g_hash_table_remove(controller->waiting, uid);
    }
    json_t *status = write_status(run, object, &sight, &step);
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
    if (step.action != BERTH_DO_NOTHING) {
        run->busy = TRUE;
        berth_workload_act(run, object, &step);
        return;
    }
    set_problem(run, NULL);
    berth_queue_forget(controller->queue, uid);
    if (sight.vm && is_on(&sight) && run->console == NULL) {
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

static void
look_when_on(BerthWorkloadController *controller, BerthObject *object, gconstpointer host)
{
    if (g_strcmp0(berth_workload_status_of(object)->host, host) == 0) {
        BerthWorkloadRun *run = g_hash_table_lookup(controller->runs, object->uid);
        if (run != NULL && run->pod != NULL) {
            berth_pod_run_hurry(run->pod);
        }
        berth_queue_add(controller->queue, object->uid);
    }
}

/** Wants every workload of @host to be looked at. */
void
berth_workload_controller_look_at_host(BerthWorkloadController *controller, const char *host)
{
    if (controller != NULL) {
        each_workload(controller, look_when_on, host);
    }
}

/** For g_ptr_array_sort() of objects: who is placed first; higher priority, then older. */
int
berth_workload_compare_urgency(gconstpointer a, gconstpointer b)
{
    BerthObject *left = *(BerthObject *const *)a, *right = *(BerthObject *const *)b;
    gint64 difference = berth_workload_of(right)->priority - berth_workload_of(left)->priority;
    if (difference != 0) {
        return difference < 0 ? -1 : 1;
    }
    int by_time = g_strcmp0(left->created, right->created);
    return by_time != 0 ? by_time : strcmp(left->uid, right->uid);
}

/** Something was freed or added: all that wait for room try again, highest priority first. */
void
berth_workload_controller_capacity(BerthWorkloadController *controller)
{
    if (controller == NULL || g_hash_table_size(controller->waiting) == 0) {
        return;
    }
    g_autoptr(GPtrArray) objects = g_ptr_array_new();
    GHashTableIter iter;
    gpointer uid;
    g_hash_table_iter_init(&iter, controller->waiting);
    while (g_hash_table_iter_next(&iter, &uid, NULL)) {
        BerthObject *object = berth_catalog_get_uid(controller->control->catalog, uid);
        if (object != NULL) {
            g_ptr_array_add(objects, object);
        }
    }
    g_hash_table_remove_all(controller->waiting);
    g_ptr_array_sort(objects, berth_workload_compare_urgency);
    for (guint i = 0; i < objects->len; i++) {
        berth_queue_add(controller->queue, ((BerthObject *)objects->pdata[i])->uid);
    }
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
    if (!object->kind->workload) {
        return;
    }
    if (after != NULL && (before == NULL || before->power != after->power)) {
        BerthWorkloadRun *run = berth_workload_run_get(controller, after->uid);
        run->asked_us = 0;
        run->retry_us = 0;
        run->failures = 0;
        run->ended_us = 0;
        g_hash_table_remove(controller->waiting, after->uid);
    }
    if (after == NULL || before == NULL || before->body_revision != after->body_revision) {
        g_hash_table_remove(controller->waiting, object->uid);
    }
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
    controller->waiting = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
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
    berth_queue_free(controller->queue);
    g_hash_table_destroy(controller->runs);
    g_hash_table_destroy(controller->waiting);
    g_free(controller);
}
