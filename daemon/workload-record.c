/* What is recorded of a workload's step: phase, reason, containers, timing, restarts, and its events.
 * Start at berth_workload_write_status(). Main loop only. */
#include "daemon/workload-run.h"

#include "base/json.h"

#define STABLE_US (60 * G_USEC_PER_SEC)

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
    {"displaced", "was stopped for one of higher priority", "berth events"},
    {"preempting", NULL, NULL},
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
    g_autofree char *told = NULL;
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
    if (g_str_equal(step->reason, "displaced")) {
        told = berth_preemption_displaced_by(run->controller, object);
    } else if (g_str_equal(step->reason, "preempting")) {
        told = berth_preemption_text(json_object_get(status, "preempting"));
    }
    berth_status_set_reason(status, object->name, step->reason, told != NULL ? told : message,
                            hint);
}

static void
write_containers(BerthWorkloadRun *run, BerthObject *object, const BerthWorkloadStep *step,
                 json_t *status)
{
    if (run->pod == NULL) {
        /* Stopped for another one, it did not end: it is as if it had not been started. */
        if (step->phase == BERTH_PHASE_PENDING && g_strcmp0(step->reason, "displaced") == 0) {
            json_object_del(status, "containers");
        }
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

/** Returns: (transfer full): the status of @object once @step is recorded; counts a restart that is in it. */
json_t *
berth_workload_write_status(BerthWorkloadRun *run, BerthObject *object,
                            const BerthWorkloadSight *sight, const BerthWorkloadStep *step)
{
    BerthControl *control = run->controller->control;
    json_t *status = berth_status_copy(object);
    BerthPhase before = (BerthPhase)berth_workload_status_of(object)->phase;
    berth_status_set_text(status, "phase", berth_phase_name(step->phase));
    write_reason(run, object, step, status);
    write_containers(run, object, step, status);
    json_object_set_new(status, "observed_generation", json_integer(object->generation));
    if (step->action != BERTH_DO_PLACE && g_strcmp0(step->reason, "preempting") != 0) {
        json_object_del(status, "preempting");
    }
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

/** Records the events that @step means for @object, whose record is still the one before it. */
void
berth_workload_tell_event(BerthControl *control, BerthObject *object, const BerthWorkloadStep *step)
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
