/* The domain of a workload: record and host become a typed plan, which the driver turns into XML. Main
 * loop only. */
#include "daemon/workload-run.h"

#include "base/json.h"
#include "daemon/addresses.h"

#include <string.h>

/* ---- define ------------------------------------------------------------------------------------ */

/* A domain plan and the strings that it points to. */
typedef struct {
    BerthDomainPlan plan;
    BerthDomainMark mark;
    GPtrArray *strings; /* owned */
    GArray *disks, *nics;
} Build;

static void
clear_build(Build *build)
{
    g_ptr_array_unref(build->strings);
    g_array_unref(build->disks);
    g_array_unref(build->nics);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Build, clear_build)

static const char *
keep(Build *build, char *text)
{
    g_ptr_array_add(build->strings, text);
    return text;
}

static void
add_disk(Build *build, BerthControl *control, const char *volume, const char *serial,
         const char *format, gboolean read_only, gboolean cdrom)
{
    BerthDiskPlan disk = {.pool = berth_fleet_pool(control->fleet),
                          .volume = volume,
                          .serial = serial,
                          .format = format,
                          .read_only = read_only,
                          .cdrom = cdrom};
    g_array_append_val(build->disks, disk);
}

/* What the guest finds an image's disk by: QEMU keeps 20 characters of a serial. */
char *
berth_workload_image_serial(const char *disk_digest)
{
    return g_strndup(berth_digest_hex(disk_digest), 20);
}

static void
add_image_disks(Build *build, BerthControl *control, BerthFleetHost *host, BerthObject *object)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    g_auto(GStrv) references = berth_workload_images(object);
    for (guint i = 0; references[i] != NULL; i++) {
        const BerthImageStatus *image = berth_workload_image(control, references[i]);
        if (image != NULL && g_hash_table_add(seen, image->disk_digest)) {
            add_disk(build, control, berth_stage_find(host, berth_digest_hex(image->disk_digest)),
                     keep(build, berth_workload_image_serial(image->disk_digest)), "raw", TRUE,
                     FALSE);
        }
    }
}

static void
add_vm_disks(Build *build, BerthControl *control, BerthFleetHost *host, BerthObject *object)
{
    const BerthVmSpec *spec = object->spec_data;
    for (guint i = 0; spec->disks != NULL && i < spec->disks->len; i++) {
        const BerthDiskSpec *disk = spec->disks->pdata[i];
        add_disk(build, control,
                 disk->volume != NULL ? disk->volume
                                      : keep(build, berth_workload_disk_volume(object, disk)),
                 disk->name, "qcow2", disk->read_only, FALSE);
    }
    if (berth_workload_wants_seed(object)) {
        add_disk(build, control, berth_stage_find(host, berth_workload_seed_digest(object)), "seed",
                 "raw", TRUE, spec->workload.profile == BERTH_PROFILE_Q35);
    }
}

static void
add_nics(Build *build, BerthControl *control, BerthObject *object)
{
    const GPtrArray *cards = berth_workload_status_of(object)->networks;
    for (guint i = 0; cards != NULL && i < cards->len; i++) {
        const BerthNicStatus *card = cards->pdata[i];
        const BerthNetworkSpec *network =
            berth_addresses_network(control->catalog, object->project, card->network);
        BerthNicPlan nic = {.network = network != NULL ? network->libvirt : card->network,
                            .bridge = network != NULL ? network->bridge : NULL,
                            .mac = card->mac};
        g_array_append_val(build->nics, nic);
    }
}

static void
add_pod_boot(Build *build, BerthControl *control, BerthFleetHost *host, BerthObject *object)
{
    BerthDomainPlan *plan = &build->plan;
    const BerthGuestOs *os = control->guest_os;
    plan->kernel_pool = berth_fleet_pool(control->fleet);
    plan->kernel_volume = berth_stage_find(host, os->kernel.sha256);
    plan->initrd_volume = berth_stage_find(host, os->initramfs.sha256);
    plan->cmdline = os->cmdline;
    /* Without it microvm under TCG can't tell its clock's speed on a busy host (docs/architecture.md). */
    if (!plan->kvm && plan->profile == BERTH_PROFILE_MICROVM && host->inventory != NULL &&
        host->inventory->tsc_khz > 0) {
        plan->cmdline = keep(build, g_strdup_printf("%s tsc_early_khz=%" G_GUINT64_FORMAT,
                                                    os->cmdline, host->inventory->tsc_khz));
    }
    plan->link = TRUE;
}

static void
fill_mark(Build *build, BerthControl *control, BerthObject *object)
{
    build->mark = (BerthDomainMark){
        .fleet = (char *)berth_fleet_id(control->fleet),
        .uid = object->uid,
        .kind = (char *)object->kind->name,
        .project = object->project,
        .name = object->name,
        .generation = object->generation,
        .spec = (char *)keep(build, berth_json_format(object->spec)),
        .labels = (char *)keep(build, berth_json_format(object->labels)),
        .format = 1,
    };
    build->plan.mark = &build->mark;
}

static gboolean
is_kvm(BerthControl *control, const char *host)
{
    BerthObject *object = berth_catalog_get(control->catalog, &berth_kind_host, NULL, host);
    return object != NULL &&
           g_strcmp0(((BerthHostStatus *)object->status_data)->acceleration, "kvm") == 0;
}

static void
add_number(GString *list, guint number)
{
    g_string_append_printf(list, "%s%u", list->len > 0 ? "," : "", number);
}

static BerthCpuSet
cpus_of(const BerthCell *cell)
{
    BerthCpuSet set = {{0}};
    for (guint i = 0; i < cell->cpu_count; i++) {
        berth_cpu_set_add(&set, cell->cpus[i]);
    }
    return set;
}

static const BerthCell *
find_cell(const GPtrArray *cells, const json_t *place)
{
    json_int_t index = json_integer_value(place);
    gboolean known = cells != NULL && index >= 0 && index < cells->len;
    return known ? cells->pdata[index] : NULL; /* NULL: the machine is another one than it was */
}

/**
 * berth_workload_shared_cpus:
 * @set: (out): all CPUs of @host but those that are for guests with dedicated ones
 *
 * Returns: whether some are for such guests.
 */
gboolean
berth_workload_shared_cpus(BerthControl *control, const BerthFleetHost *host, BerthCpuSet *set)
{
    const BerthObject *object =
        berth_catalog_get(control->catalog, &berth_kind_host, NULL, host->name);
    const char *dedicated =
        object != NULL ? ((const BerthHostSpec *)object->spec_data)->dedicated_cpus : NULL;
    const GPtrArray *cells = host->inventory != NULL ? host->inventory->cells : NULL;
    BerthCpuSet apart;
    *set = (BerthCpuSet){{0}};
    for (guint i = 0; cells != NULL && i < cells->len; i++) {
        BerthCpuSet here = cpus_of(cells->pdata[i]);
        berth_cpu_set_join(set, &here);
    }
    if (dedicated == NULL || !berth_cpu_set_parse(dedicated, &apart, NULL)) {
        return FALSE;
    }
    berth_cpu_set_take_out(set, &apart);
    return TRUE;
}

/* A CPU for each vCPU, as recorded, and the others for what QEMU does besides. */
static void
add_pins(Build *build, const json_t *cpus, const BerthCpuSet *shared)
{
    GString *pins = g_string_new(NULL);
    BerthCpuSet own = {{0}};
    for (size_t i = 0; i < json_array_size(cpus); i++) {
        guint cpu = (guint)json_integer_value(json_array_get(cpus, i));
        add_number(pins, cpu);
        berth_cpu_set_add(&own, cpu);
    }
    build->plan.vcpus = (guint)json_array_size(cpus);
    build->plan.pins = keep(build, g_string_free(pins, FALSE));
    build->plan.cpuset = keep(build, berth_cpu_set_format(&own));
    if (berth_cpu_set_count(shared) > 0) {
        build->plan.emulator_cpuset = keep(build, berth_cpu_set_format(shared));
    }
}

/* CPUs and memory that the scheduler chose: cells, which the record names by their place, and CPUs. */
static void
add_cpus(Build *build, BerthControl *control, BerthFleetHost *host, BerthObject *object)
{
    const json_t *record = berth_workload_status_of(object)->placement;
    const json_t *chosen = json_object_get(record, "cells"),
                 *cpus = json_object_get(record, "cpus");
    const GPtrArray *cells = host->inventory != NULL ? host->inventory->cells : NULL;
    BerthCpuSet shared, near = {{0}};
    gboolean apart = berth_workload_shared_cpus(control, host, &shared);
    GString *nodes = g_string_new(NULL);
    for (size_t i = 0; i < json_array_size(chosen); i++) {
        const BerthCell *cell = find_cell(cells, json_array_get(chosen, i));
        if (cell != NULL) {
            BerthCpuSet here = cpus_of(cell);
            add_number(nodes, cell->id);
            berth_cpu_set_join(&near, &here);
        }
    }
    berth_cpu_set_keep(&near, &shared);
    const char *nodeset = keep(build, g_string_free(nodes, FALSE));
    build->plan.nodeset = *nodeset != '\0' ? nodeset : NULL;
    build->plan.interleave = strchr(nodeset, ',') != NULL;
    if (cpus != NULL) {
        add_pins(build, cpus, &shared);
    } else if (berth_cpu_set_count(&near) > 0) {
        build->plan.cpuset = keep(build, berth_cpu_set_format(&near));
    } else if (apart && berth_cpu_set_count(&shared) > 0) {
        build->plan.cpuset = keep(build, berth_cpu_set_format(&shared));
    }
}

/* PCI devices of the host, as recorded. */
static void
add_host_devices(Build *build, BerthObject *object)
{
    const json_t *devices = json_object_get(berth_workload_status_of(object)->placement, "devices");
    GString *list = g_string_new(NULL);
    for (size_t i = 0; i < json_array_size(devices); i++) {
        const char *address = json_string_value(json_array_get(devices, i));
        g_string_append_printf(list, "%s%s", i > 0 ? "," : "", address != NULL ? address : "");
    }
    const char *text = keep(build, g_string_free(list, FALSE));
    build->plan.host_devices = *text != '\0' ? text : NULL;
}

static void
fill_build(Build *build, BerthControl *control, BerthFleetHost *host, BerthObject *object)
{
    const BerthWorkload *workload = berth_workload_of(object);
    gboolean pod = object->kind == &berth_kind_pod;
    build->strings = g_ptr_array_new_with_free_func(g_free);
    build->disks = g_array_new(FALSE, FALSE, sizeof(BerthDiskPlan));
    build->nics = g_array_new(FALSE, FALSE, sizeof(BerthNicPlan));
    build->plan = (BerthDomainPlan){
        .uuid = object->uid,
        .name = keep(build, berth_workload_domain_name(object)),
        .title = keep(
            build, g_strdup_printf("%s %s/%s", pod ? "pod" : "vm", object->project, object->name)),
        .profile = (BerthProfile)workload->profile,
        .kvm = is_kvm(control, host->name),
        .vcpus = (guint)workload->vcpus,
        .cpu_model = workload->cpu_model,
        .cpu_features = workload->cpu_features != NULL
                            ? keep(build, g_strjoinv(",", workload->cpu_features))
                            : NULL,
        .memory_mib = (guint64)workload->memory_mib,
        .huge_pages_kib = (guint)workload->huge_pages_kib,
        .agent = !pod && ((BerthVmSpec *)object->spec_data)->guest_agent,
    };
    if (pod) {
        add_image_disks(build, control, host, object);
        add_pod_boot(build, control, host, object);
    } else {
        add_vm_disks(build, control, host, object);
    }
    add_cpus(build, control, host, object);
    add_host_devices(build, object);
    add_nics(build, control, object);
    fill_mark(build, control, object);
    build->plan.disks = (const BerthDiskPlan *)build->disks->data;
    build->plan.disk_count = build->disks->len;
    build->plan.nics = (const BerthNicPlan *)build->nics->data;
    build->plan.nic_count = build->nics->len;
}

/* ---- addresses of VMs ---- */

static void
on_reserved(BerthHostReply *reply, const GError *error, gpointer data)
{
    g_autoptr(BerthPending) pending = data;
    if (error != NULL) {
        g_warning("DHCP reservation of %s (%s): %s", pending->text, pending->uid, error->message);
    }
}

/**
 * berth_workload_reserve:
 * @verb: BERTH_HOST_DHCP_RESERVE or _RELEASE
 *
 * Tells libvirt's DHCP servers which address a VM's cards have (or had). A VM without one gets another
 * address and runs all the same, so a failure is logged and not waited for.
 */
void
berth_workload_reserve(BerthWorkloadRun *run, BerthObject *object, BerthHostVerb verb)
{
    const GPtrArray *cards = berth_workload_status_of(object)->networks;
    BerthFleetHost *host = berth_workload_run_host(run, object);
    if (object->kind != &berth_kind_vm || host == NULL || !host->connected) {
        return;
    }
    for (guint i = 0; cards != NULL && i < cards->len; i++) {
        const BerthNicStatus *card = cards->pdata[i];
        const BerthNetworkSpec *network = berth_addresses_network(run->controller->control->catalog,
                                                                  object->project, card->network);
        if (card->ip == NULL || network == NULL || network->libvirt == NULL) {
            continue;
        }
        BerthHostCall call = {.verb = verb,
                              .network = network->libvirt,
                              .mac = card->mac,
                              .ip = card->ip,
                              .name = object->name};
        berth_workload_submit(run, object, &call, on_reserved, card->ip);
    }
}

static void
on_defined(BerthHostReply *reply, const GError *error, gpointer data)
{
    g_autoptr(BerthPending) pending = data;
    BerthFleetHost *host = berth_pending_host(pending);
    BerthWorkloadRun *run = berth_pending_run(pending);
    if (error == NULL && host != NULL) {
        berth_fleet_note_domain(host, pending->uuid, BERTH_DOMAIN_SHUTOFF, BERTH_STOP_UNKNOWN);
    }
    if (run != NULL && error == NULL) {
        run->defined_us = berth_clock_monotonic_us(pending->controller->control->clock);
    }
    if (run != NULL) {
        berth_workload_run_done(run, error);
    }
}

/** Defines the domain; the same again changes nothing. */
void
berth_workload_act_define(BerthWorkloadRun *run, BerthObject *object)
{
    BerthControl *control = run->controller->control;
    g_auto(Build) build = {0};
    fill_build(&build, control, berth_workload_run_host(run, object), object);
    berth_workload_reserve(run, object, BERTH_HOST_DHCP_RESERVE);
    run->define_began_us = berth_clock_monotonic_us(control->clock);
    BerthHostCall call = {.verb = BERTH_HOST_DOMAIN_DEFINE, .plan = &build.plan};
    berth_workload_submit(run, object, &call, on_defined, NULL);
}
