/* Preparing a host: Berth's pool, the guest OS in it, and the proof of acceleration by a boot.
 *
 * A table of steps, each of which may be repeated; the state lives for one run and is made anew by the
 * next. The probe is a small pod domain whose guest has to answer on the link: with KVM within seconds,
 * else with TCG. /dev/kvm can exist where no guest boots on it (docs/architecture.md). Main loop only. */
#include "daemon/control.h"

#include "base/error.h"
#include "drivers/guest-link.h"
#include "model/object.h"

#include <string.h>

#define KVM_PROOF_S 10
#define TCG_PROOF_S 90
#define CALL_S 60
#define PROBE_MIB 128
#define CONNECT_S 20

typedef struct {
    BerthControl *control;
    char *host;
    BerthPrepareStep step;
    BerthPrepareDone done;
    gpointer user_data;
    gboolean kvm;      /* what is being tried */
    char *kvm_problem; /* why KVM is not used; NULL: it was not claimed or is proved */
    char *uuid;        /* of the probe */
    BerthLink *link;
    guint timer;
    gboolean answered, is_off; /* the probe */
    gint64 deadline_us;        /* for the first connection */
} Prepare;

static void next_after_pool(Prepare *prepare);
static void start_probe(Prepare *prepare);

/** Returns: (nullable): the UUID of the domain that proves acceleration now, borrowed. */
const char *
berth_host_prepare_probe(gconstpointer prepare)
{
    return ((const Prepare *)prepare)->uuid;
}

/** Ends a preparation without a word; only with the controller and its connections. */
void
berth_host_prepare_free(gpointer data)
{
    Prepare *prepare = data;
    if (prepare->timer != 0) {
        g_source_remove(prepare->timer);
    }
    g_clear_pointer(&prepare->link, berth_link_free);
    g_free(prepare->host);
    g_free(prepare->kvm_problem);
    g_free(prepare->uuid);
    g_free(prepare);
}

static void
finish(Prepare *prepare, const GError *error)
{
    prepare->done(error, prepare->user_data);
    g_ptr_array_remove_fast(berth_host_controller_preparations(prepare->control->hosts), prepare);
}

/* The host, while it can be asked; ends the preparation otherwise. */
static BerthFleetHost *
find_host(Prepare *prepare)
{
    BerthFleetHost *host = berth_fleet_get(prepare->control->fleet, prepare->host);
    if (host != NULL && host->connected && host->inventory != NULL) {
        return host;
    }
    g_autoptr(GError) error = NULL;
    berth_error_set_at(&error, BERTH_ERROR_UNAVAILABLE, NULL, "berth host list",
                       "host '%s' is not connected: %s", prepare->host,
                       host != NULL && host->why != NULL ? host->why : "no answer yet");
    finish(prepare, error);
    return NULL;
}

/* ---- the end ----------------------------------------------------------------------------------- */

static void
on_recorded(gint64 revision, const GPtrArray *changes, int failed_op, const GError *error,
            gpointer data)
{
    finish(data, error);
}

static void
record_result(Prepare *prepare)
{
    json_t *proof = json_pack("{s:b, s:s, s:s*, s:s}", "prepared", TRUE, "acceleration",
                              prepare->kvm ? "kvm" : "tcg", "acceleration_reason",
                              prepare->kvm ? "a guest booted with KVM" : prepare->kvm_problem,
                              "guest_os", prepare->control->guest_os->version);
    berth_host_controller_proved(prepare->control->hosts, prepare->host, proof, on_recorded,
                                 prepare);
}

/* ---- the probe --------------------------------------------------------------------------------- */

static void
after_probe(Prepare *prepare)
{
    if (prepare->answered) {
        record_result(prepare);
    } else if (prepare->kvm) {
        prepare->kvm = FALSE;
        start_probe(prepare);
    } else {
        g_autoptr(GError) error = NULL;
        if (prepare->is_off) {
            berth_error_set(&error, BERTH_ERROR_UNAVAILABLE,
                            "the guest that proves host '%s' went off before it answered",
                            prepare->host);
        } else {
            berth_error_set(&error, BERTH_ERROR_TIMEOUT,
                            "the guest OS did not boot on host '%s' within %d s", prepare->host,
                            TCG_PROOF_S);
        }
        finish(prepare, error);
    }
}

static void
on_probe_undefined(BerthHostReply *reply, const GError *error, gpointer data)
{
    after_probe(data);
}

static void
on_probe_destroyed(BerthHostReply *reply, const GError *error, gpointer data)
{
    Prepare *prepare = data;
    BerthFleetHost *host = find_host(prepare);
    if (host != NULL) {
        BerthHostCall call = {.verb = BERTH_HOST_DOMAIN_UNDEFINE, .uuid = prepare->uuid};
        berth_host_runner_submit(host->runner, &call, CALL_S, on_probe_undefined, prepare);
    }
}

static gboolean
end_probe(gpointer data)
{
    Prepare *prepare = data;
    prepare->timer = 0;
    g_clear_pointer(&prepare->link, berth_link_free);
    BerthFleetHost *host = find_host(prepare);
    if (host != NULL) {
        BerthHostCall call = {.verb = BERTH_HOST_DOMAIN_DESTROY, .uuid = prepare->uuid};
        berth_host_runner_submit(host->runner, &call, CALL_S, on_probe_destroyed, prepare);
    }
    return G_SOURCE_REMOVE;
}

static gboolean
give_up_probe(gpointer data)
{
    Prepare *prepare = data;
    if (prepare->kvm) {
        g_free(prepare->kvm_problem);
        prepare->kvm_problem =
            prepare->is_off
                ? g_strdup("the host claims KVM, but a guest went off before it answered")
                : g_strdup_printf("the host claims KVM, but a guest did not boot on it within %d s",
                                  KVM_PROOF_S);
    }
    return end_probe(prepare);
}

static void
stop_waiting(Prepare *prepare)
{
    if (prepare->timer != 0) {
        g_source_remove(prepare->timer);
    }
    /* Not from inside the link's callback's caller chain that still uses it. */
    prepare->timer = g_idle_add(end_probe, prepare);
}

/** The domain of the probe was looked at: one that is off will not answer any more. */
void
berth_host_prepare_look(gpointer data)
{
    Prepare *prepare = data;
    BerthFleetHost *host = berth_fleet_get(prepare->control->fleet, prepare->host);
    if (prepare->link == NULL || prepare->answered || prepare->is_off || host == NULL ||
        !host->connected || !host->listed || berth_fleet_is_domain_doubtful(host, prepare->uuid)) {
        return;
    }
    const BerthDomain *domain = berth_fleet_domain(host, prepare->uuid);
    if (domain == NULL || domain->state == BERTH_DOMAIN_SHUTOFF ||
        domain->state == BERTH_DOMAIN_CRASHED) {
        prepare->is_off = TRUE;
        g_source_remove(prepare->timer);
        prepare->timer = g_idle_add(give_up_probe, prepare);
    }
}

static void
on_ready(const BerthLinkHello *hello, gpointer data)
{
    Prepare *prepare = data;
    prepare->answered = TRUE;
    stop_waiting(prepare);
}

static void
on_broken(const GError *error, gpointer data)
{
}

static void
on_closed(const GError *error, gpointer data)
{
}

static BerthChannel *
open_channel(gboolean force, const BerthChannelWatch *watch, gpointer watch_data, gpointer data)
{
    Prepare *prepare = data;
    BerthFleetHost *host = berth_fleet_get(prepare->control->fleet, prepare->host);
    return host == NULL || !host->connected
               ? NULL
               : berth_host_runner_channel_open(host->runner, prepare->uuid, BERTH_LINK_PORT, force,
                                                watch, watch_data);
}

static void
on_probe_started(BerthHostReply *reply, const GError *error, gpointer data)
{
    static const BerthLinkWatch watch = {
        .ready = on_ready, .broken = on_broken, .closed = on_closed};
    Prepare *prepare = data;
    if (error != NULL) {
        if (prepare->kvm) {
            g_free(prepare->kvm_problem);
            prepare->kvm_problem = g_strdup_printf("no guest starts with KVM: %s", error->message);
        }
        if (!prepare->kvm) {
            finish(prepare, error);
            return;
        }
        end_probe(prepare);
        return;
    }
    BerthFleetHost *host = berth_fleet_get(prepare->control->fleet, prepare->host);
    if (host != NULL) { /* what was seen before the start is not its end */
        berth_fleet_doubt_domain(host, prepare->uuid);
    }
    BerthLinkOptions options = {.open = open_channel,
                                .open_data = prepare,
                                .clock = prepare->control->clock,
                                .random = prepare->control->random};
    prepare->link = berth_link_new(&options, &watch, prepare);
    berth_link_attach(prepare->link);
    prepare->timer =
        g_timeout_add_seconds(prepare->kvm ? KVM_PROOF_S : TCG_PROOF_S, give_up_probe, prepare);
}

static void
on_probe_defined(BerthHostReply *reply, const GError *error, gpointer data)
{
    Prepare *prepare = data;
    if (error != NULL) {
        finish(prepare, error);
        return;
    }
    BerthFleetHost *host = find_host(prepare);
    if (host != NULL) {
        BerthHostCall call = {.verb = BERTH_HOST_DOMAIN_START, .uuid = prepare->uuid};
        berth_host_runner_submit(host->runner, &call, CALL_S, on_probe_started, prepare);
    }
}

static void
start_probe(Prepare *prepare)
{
    BerthFleetHost *host = find_host(prepare);
    if (host == NULL) {
        return;
    }
    const BerthGuestOs *os = prepare->control->guest_os;
    const char *kernel = berth_stage_find(host, os->kernel.sha256);
    const char *initramfs = berth_stage_find(host, os->initramfs.sha256);
    if (kernel == NULL || initramfs == NULL) { /* without them it boots into nothing */
        g_autoptr(GError) error = NULL;
        berth_error_set_at(&error, BERTH_ERROR_UNAVAILABLE, NULL, "berth host prepare NAME",
                           "the pool of host '%s' is being read anew", prepare->host);
        finish(prepare, error);
        return;
    }
    prepare->step(prepare->kvm ? "prove-kvm" : "prove-tcg", prepare->kvm ? 60 : 75,
                  prepare->user_data);
    prepare->is_off = FALSE;
    g_free(prepare->uuid);
    prepare->uuid = berth_uid_new();
    g_autofree char *name = g_strdup_printf("berth-probe-%.8s", prepare->uuid);
    BerthDomainMark mark = {.fleet = (char *)berth_fleet_id(prepare->control->fleet),
                            .uid = prepare->uuid,
                            .kind = (char *)"Probe",
                            .project = (char *)"fleet",
                            .name = (char *)"probe",
                            .spec = (char *)"{}",
                            .labels = (char *)"{}",
                            .format = 1};
    BerthCpuSet shared;
    g_autofree char *cpus = berth_workload_shared_cpus(prepare->control, host, &shared)
                                ? berth_cpu_set_format(&shared)
                                : NULL;
    BerthDomainPlan plan = {
        .uuid = prepare->uuid,
        .name = name,
        .title = "berth: proof of acceleration",
        .profile = BERTH_PROFILE_Q35,
        .kvm = prepare->kvm,
        .vcpus = 1,
        .memory_mib = PROBE_MIB,
        .cpuset = cpus,
        .kernel_pool = berth_fleet_pool(prepare->control->fleet),
        .kernel_volume = kernel,
        .initrd_volume = initramfs,
        .cmdline = os->cmdline,
        .link = TRUE,
        .mark = &mark,
    };
    BerthHostCall call = {.verb = BERTH_HOST_DOMAIN_DEFINE, .plan = &plan};
    berth_host_runner_submit(host->runner, &call, CALL_S, on_probe_defined, prepare);
}

/* ---- pool and guest OS ------------------------------------------------------------------------- */

static void
on_initramfs(const GError *error, gpointer data)
{
    Prepare *prepare = data;
    BerthFleetHost *host = error == NULL ? find_host(prepare) : NULL;
    if (error != NULL) {
        finish(prepare, error);
        return;
    }
    if (host == NULL) {
        return;
    }
    BerthObject *object =
        berth_catalog_get(prepare->control->catalog, &berth_kind_host, NULL, prepare->host);
    const char *wish = object != NULL ? ((BerthHostSpec *)object->spec_data)->acceleration : NULL;
    prepare->kvm = host->inventory->claims_kvm && g_strcmp0(wish, "tcg") != 0;
    if (!prepare->kvm) {
        prepare->kvm_problem =
            g_strdup(g_strcmp0(wish, "tcg") == 0 ? "the host's spec asks for tcg"
                                                 : "the host does not offer KVM");
    }
    start_probe(prepare);
}

static void
on_kernel(const GError *error, gpointer data)
{
    Prepare *prepare = data;
    const BerthGuestFile *file = &prepare->control->guest_os->initramfs;
    if (error != NULL) {
        finish(prepare, error);
        return;
    }
    prepare->step("upload-initramfs", 40, prepare->user_data);
    berth_stage_bring(prepare->control->stage, prepare->host, file->sha256, file->path, file->size,
                      on_initramfs, prepare);
}

static void
next_after_pool(Prepare *prepare)
{
    const BerthGuestFile *file = &prepare->control->guest_os->kernel;
    prepare->step("upload-kernel", 20, prepare->user_data);
    berth_stage_bring(prepare->control->stage, prepare->host, file->sha256, file->path, file->size,
                      on_kernel, prepare);
}

static void
on_volumes(BerthHostReply *reply, const GError *error, gpointer data)
{
    Prepare *prepare = data;
    if (error != NULL) {
        finish(prepare, error);
        return;
    }
    BerthFleetHost *host = find_host(prepare);
    if (host == NULL) {
        return;
    }
    for (guint i = 0; i < reply->volumes->len; i++) {
        BerthVolume *volume = reply->volumes->pdata[i];
        berth_fleet_note_volume(host, volume->name, (gint64)volume->capacity);
    }
    next_after_pool(prepare);
}

static void
on_inventory(BerthHostReply *reply, const GError *error, gpointer data)
{
    /* Only so that the pool's size is known to the scheduler; the fleet reads it again by itself. */
    Prepare *prepare = data;
    BerthFleetHost *host = find_host(prepare);
    if (host == NULL) {
        return;
    }
    if (error == NULL) {
        BerthInventory *fresh = g_steal_pointer(&reply->inventory);
        g_clear_pointer(&host->inventory, berth_inventory_free);
        host->inventory = fresh;
        berth_host_controller_touch(prepare->control->hosts, prepare->host);
    }
    BerthHostCall call = {.verb = BERTH_HOST_VOLUME_LIST,
                          .pool = berth_fleet_pool(prepare->control->fleet)};
    berth_host_runner_submit(host->runner, &call, CALL_S, on_volumes, prepare);
}

static void
on_pool(BerthHostReply *reply, const GError *error, gpointer data)
{
    Prepare *prepare = data;
    if (error != NULL) {
        finish(prepare, error);
        return;
    }
    BerthFleetHost *host = find_host(prepare);
    if (host != NULL) {
        berth_host_runner_submit(host->runner, &(BerthHostCall){.verb = BERTH_HOST_INVENTORY},
                                 CALL_S, on_inventory, prepare);
    }
}

static gboolean
begin(gpointer data)
{
    Prepare *prepare = data;
    BerthControl *control = prepare->control;
    BerthFleetHost *host = berth_fleet_get(control->fleet, prepare->host);
    prepare->timer = 0;
    /* A host that was only just added is still being connected to and read. */
    if (host != NULL && (!host->connected || host->inventory == NULL || host->volumes == NULL) &&
        berth_clock_monotonic_us(control->clock) < prepare->deadline_us) {
        prepare->timer = g_timeout_add(100, begin, prepare);
        return G_SOURCE_REMOVE;
    }
    host = find_host(prepare);
    if (host == NULL) {
        return G_SOURCE_REMOVE;
    }

    const BerthSettingsSpec *settings = berth_catalog_settings(control->catalog);
    g_autofree char *target =
        g_strdup_printf("%s/%s", settings->pool_target, berth_fleet_pool(control->fleet));
    BerthHostCall call = {
        .verb = BERTH_HOST_POOL_ENSURE, .pool = berth_fleet_pool(control->fleet), .path = target};
    prepare->step("pool", 5, prepare->user_data);
    berth_host_runner_submit(host->runner, &call, CALL_S, on_pool, prepare);
    return G_SOURCE_REMOVE;
}

/**
 * berth_host_prepare:
 * @name: a connected host
 * @step: told at each step
 * @done: told once; the host's status says prepared then
 *
 * Errors: UNAVAILABLE (not connected, no guest OS), EXHAUSTED (pool full), TIMEOUT (nothing boots there).
 */
void
berth_host_prepare(BerthControl *control, const char *name, BerthPrepareStep step,
                   BerthPrepareDone done, gpointer user_data)
{
    Prepare *prepare = g_new0(Prepare, 1);
    prepare->control = control;
    prepare->host = g_strdup(name);
    prepare->step = step;
    prepare->done = done;
    prepare->user_data = user_data;
    g_ptr_array_add(berth_host_controller_preparations(control->hosts), prepare);
    if (control->guest_os == NULL) {
        g_autoptr(GError) error = NULL;
        berth_error_set_at(&error, BERTH_ERROR_UNAVAILABLE, NULL, "make guest-os",
                           "no guest OS to prepare hosts with: %s", control->guest_os_problem);
        finish(prepare, error);
        return;
    }
    prepare->deadline_us = berth_clock_monotonic_us(control->clock) + CONNECT_S * G_USEC_PER_SEC;
    begin(prepare);
}
