/* What a workload's step is decided by: its record, its images, its host and its guest as they are now.
 * Start at berth_workload_see(). Main loop only. */
#include "daemon/workload-run.h"

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

/** Returns: whether the vessel is seen to be on. */
gboolean
berth_workload_sight_is_on(const BerthWorkloadSight *sight)
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
    if (berth_workload_sight_is_on(sight)) {
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
    gboolean may_be_on =
        sight->placed &&
        (sight->host != BERTH_HOST_SIGHT_CLEAR || berth_workload_sight_is_on(sight) ||
         sight->phase == BERTH_PHASE_RUNNING || sight->phase == BERTH_PHASE_STARTING ||
         sight->phase == BERTH_PHASE_UNKNOWN);
    if (!may_be_on || !sight->power) {
        run->power_cycle = FALSE;
    }
}

/** Gathers what is known of @object now into @sight: records, ledger, images, host, guest. */
void
berth_workload_see(BerthWorkloadRun *run, BerthObject *object, BerthWorkloadSight *sight)
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
        .displaced = berth_preemption_is_displaced(run->controller, object),
        .preempting = berth_preemption_waits(control, object),
        .images = see_images(control, object),
    };
    if (sight->placed) {
        see_host(control, object, sight);
    }
    /* A VM stays defined while it is off; at its next start CPUs, cells and the spec may be others. */
    sight->stale = sight->vm && (run->defined_us == 0 || run->defined_us < run->placed_us);
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
