/* What is written about a Host into its status: inventory, capacity, phase and conditions. Reads
 * the fleet, the ledger and the catalog; changes nothing. Start at berth_host_status_write().
 * Main loop only. */
#include "daemon/host-trust.h"

#include "base/json.h"
#include "daemon/unmanaged.h"

#include <string.h>

/* ---- what a host has, as JSON ---------------------------------------------------------------- */

static json_t *
write_cells(const BerthInventory *inventory)
{
    json_t *list = json_array();
    for (guint i = 0; inventory->cells != NULL && i < inventory->cells->len; i++) {
        const BerthCell *cell = inventory->cells->pdata[i];
        json_t *pages = json_array();
        for (guint k = 0; k < cell->huge_page_kinds; k++) {
            json_array_append_new(pages, json_pack("{s:I, s:I}", "size_kib",
                                                   (json_int_t)cell->huge_pages[k].size_kib,
                                                   "count", (json_int_t)cell->huge_pages[k].count));
        }
        BerthCpuSet cpus = {{0}};
        for (guint k = 0; k < cell->cpu_count; k++) {
            berth_cpu_set_add(&cpus, cell->cpus[k]);
        }
        g_autofree char *cpu_set = berth_cpu_set_format(&cpus);
        json_array_append_new(list, json_pack("{s:i, s:I, s:i, s:s, s:o}", "id", (int)cell->id,
                                              "memory_mib", (json_int_t)(cell->memory_kib / 1024),
                                              "cpus", (int)cell->cpu_count, "cpu_set", cpu_set,
                                              "huge_pages", pages));
    }
    return list;
}

static json_t *
write_networks(const BerthInventory *inventory)
{
    json_t *list = json_array();
    for (guint i = 0; inventory->networks != NULL && i < inventory->networks->len; i++) {
        const BerthHostNetwork *network = inventory->networks->pdata[i];
        json_array_append_new(list,
                              json_pack("{s:s, s:s*, s:s*, s:s*, s:b}", "name", network->name,
                                        "bridge", network->bridge, "forward", network->forward,
                                        "cidr", network->cidr, "active", network->active));
    }
    return list;
}

static json_t *
write_devices(const BerthInventory *inventory)
{
    json_t *list = json_array();
    for (guint i = 0; inventory->devices != NULL && i < inventory->devices->len; i++) {
        const BerthPciDevice *device = inventory->devices->pdata[i];
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:s, s:s, s:s*, s:i, s:i}", "address", device->address,
                            "vendor_id", device->vendor_id, "product_id", device->product_id,
                            "class", device->class_id, "product", device->product, "iommu_group",
                            device->iommu_group, "numa_cell", device->numa_cell));
    }
    return list;
}

static json_t *
write_strings(char **strings)
{
    json_t *list = json_array();
    for (guint i = 0; strings != NULL && strings[i] != NULL; i++) {
        json_array_append_new(list, json_string(strings[i]));
    }
    return list;
}

/* What guests can be given, by how they run: {"kvm": {"models", "features"}, "tcg": …}. */
static json_t *
write_guest_cpus(const BerthInventory *has)
{
    const struct {
        const char *acceleration;
        char **models, **features;
    } kinds[] = {{"kvm", has->kvm_models, has->kvm_features},
                 {"tcg", has->tcg_models, has->tcg_features}};
    json_t *json = json_object();
    for (guint i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if (kinds[i].models != NULL) {
            json_object_set_new(json, kinds[i].acceleration,
                                json_pack("{s:o, s:o}", "models", write_strings(kinds[i].models),
                                          "features", write_strings(kinds[i].features)));
        }
    }
    return json;
}

static const BerthHostPool *
find_pool(const BerthInventory *inventory, const char *name)
{
    for (guint i = 0; inventory->pools != NULL && i < inventory->pools->len; i++) {
        const BerthHostPool *pool = inventory->pools->pdata[i];
        if (g_strcmp0(pool->name, name) == 0) {
            return pool;
        }
    }
    return NULL;
}

static json_t *
write_inventory(const BerthInventory *has, const char *pool_name)
{
    const BerthHostPool *pool = find_pool(has, pool_name);
    json_t *json = json_pack(
        "{s:s*, s:s*, s:s*, s:s*, s:s*, s:s*, s:i, s:i, s:i, s:i, s:i, s:I, s:b}", "hostname",
        has->hostname, "uuid", has->uuid, "arch", has->arch, "cpu_model", has->cpu_model,
        "libvirt_version", has->libvirt_version, "hypervisor_version", has->hypervisor_version,
        "cpus", (int)has->cpus, "sockets", (int)has->sockets, "cores", (int)has->cores, "threads",
        (int)has->threads, "mhz", (int)has->mhz, "memory_mib", (json_int_t)(has->memory_kib / 1024),
        "claims_kvm", has->claims_kvm);
    json_object_set_new(json, "tsc_khz", json_integer((json_int_t)has->tsc_khz));
    json_object_set_new(json, "cells", write_cells(has));
    json_object_set_new(json, "networks", write_networks(has));
    json_object_set_new(json, "devices", write_devices(has));
    json_object_set_new(json, "guest_cpus", write_guest_cpus(has));
    json_object_set_new(json, "machine_types", write_strings(has->machine_types));
    if (pool != NULL) {
        json_object_set_new(json, "pool_mib",
                            json_integer((json_int_t)(pool->capacity_bytes >> 20)));
    }
    return json;
}

static json_t *
write_capacity(const BerthCapacity *capacity)
{
    return json_pack("{s:I, s:I, s:I}", "vcpus", (json_int_t)capacity->vcpus, "memory_mib",
                     (json_int_t)capacity->memory_mib, "disk_mib", (json_int_t)capacity->disk_mib);
}

static void
count_workloads(BerthControl *control, const char *host, json_t *status)
{
    static const BerthKind *const kinds[] = {&berth_kind_pod, &berth_kind_vm};
    for (guint i = 0; i < G_N_ELEMENTS(kinds); i++) {
        json_int_t count = berth_catalog_count_on(control->catalog, kinds[i], host);
        json_object_set_new(status, kinds[i]->plural, json_integer(count));
    }
}

/* @value: (transfer full) (nullable) */
static void
write_or_drop(json_t *status, const char *member, json_t *value)
{
    if (value != NULL) {
        json_object_set_new(status, member, value);
    } else {
        json_object_del(status, member);
    }
}

static void
write_usage(BerthControl *control, const BerthObject *host, json_t *status)
{
    const char *name = host->name;
    BerthCapacity capacity, used;
    if (berth_ledger_usage(control->ledger, name, &capacity, &used)) {
        BerthCapacity left = {MAX(0, capacity.vcpus - used.vcpus),
                              MAX(0, capacity.memory_mib - used.memory_mib),
                              MAX(0, capacity.disk_mib - used.disk_mib)};
        json_object_set_new(status, "capacity", write_capacity(&capacity));
        json_object_set_new(status, "used", write_capacity(&used));
        json_object_set_new(status, "free", write_capacity(&left));
    }
    const json_t *inventory = ((const BerthHostStatus *)host->status_data)->inventory;
    write_or_drop(status, "cells", berth_ledger_cells(control->ledger, name, inventory));
    write_or_drop(status, "dedicated_cpus", berth_ledger_dedicated(control->ledger, name));
    write_or_drop(status, "resources", berth_ledger_resources(control->ledger, host));
    write_or_drop(status, "devices", berth_ledger_devices(control->ledger, host));
}

/* ---- phase and conditions ------------------------------------------------------------------- */

/* What can be done, by the way to the host and what was said of it, by libvirt, ssh or our driver. */
static const struct {
    const char *transport, *said, *hint;
} remedies[] = {
    {"+ssh:", "Permission denied", "let Berth's key in there, for that user: berth host key"},
    {"+tls:", "its certificate is from another CA",
     "give it a certificate of that CA (cert_file in its libvirtd.conf), or put its CA into that "
     "file"},
    {"+tls:", "its certificate has expired",
     "give it a new one (cert_file in its libvirtd.conf) and restart its libvirtd"},
    {"+tls:", "its certificate is not valid before", "set the clocks right, there and here"},
    {"+tls:", "its certificate is for",
     "use a name of its certificate in the URI, or give it a certificate for this one "
     "(subjectAltName)"},
    {"+tls:", "Cannot read CA certificate",
     "put cacert.pem, clientcert.pem and clientkey.pem into the folder, or name another one: "
     "[hosts] tls_folder in berthd.conf"},
    {"+tls:", "Our own certificate",
     "clientcert.pem is not from the CA in cacert.pem: exchange the one that is wrong"},
    {"+tls:", "The client certificate", "renew clientcert.pem; berthd need not be restarted"},
    {"+tls:", "Unable to read TLS confirmation",
     "the host refuses Berth's certificate: clientcert.pem and clientkey.pem have to be there and "
     "of the "
     "CA in ca_file of its libvirtd.conf"},
};

static const char *
hint_for(const BerthFleetHost *host)
{
    for (guint i = 0; host->why != NULL && i < G_N_ELEMENTS(remedies); i++) {
        if (strstr(host->uri, remedies[i].transport) != NULL &&
            strstr(host->why, remedies[i].said) != NULL) {
            return remedies[i].hint;
        }
    }
    return "check that libvirtd runs there and that the URI is right";
}

/* Who was never read is still being connected to. */
static void
write_unreachable(const char *name, const char *why, const char *hint, json_t *status)
{
    gboolean before = json_object_get(status, "inventory") != NULL;
    berth_status_set_text(status, "phase", before ? "Unreachable" : "Connecting");
    berth_status_set_reason(status, name, "unreachable", why, hint);
}

/* Phase and reason, when the host is not used. Returns FALSE when it is. */
static gboolean
write_why_not(const char *name, const BerthFleetHost *host, const BerthHostProblem *problem,
              json_t *status)
{
    if (problem != NULL && strcmp(problem->code, "unreachable") == 0) {
        write_unreachable(name, problem->message, problem->hint, status);
    } else if (problem != NULL) {
        berth_status_set_text(status, "phase", "Refused");
        berth_status_set_reason(status, name, problem->code, problem->message, problem->hint);
    } else if (host == NULL || (!host->connected && host->why == NULL)) {
        berth_status_set_text(status, "phase", "Connecting");
        berth_status_set_reason(status, name, NULL, NULL, NULL);
    } else if (!host->connected) {
        write_unreachable(name, host->why, hint_for(host), status);
    } else {
        return FALSE;
    }
    return TRUE;
}

/* What was read of a new host is counted once it is stored: until then it is still being connected to. */
static void
write_phase(const char *name, const BerthHostSight *sight, json_t *status)
{
    gboolean counted = json_object_get(status, "capacity") != NULL || sight->uncountable != NULL;
    if (write_why_not(name, sight->host, sight->problem, status)) {
        return;
    }
    if (!counted) {
        berth_status_set_text(status, "phase", "Connecting");
        berth_status_set_reason(status, name, NULL, NULL, NULL);
        return;
    }
    gboolean prepared = json_is_true(json_object_get(status, "prepared"));
    berth_status_set_text(status, "phase", prepared ? "Ready" : "Unprepared");
    berth_status_set_reason(status, name, prepared ? NULL : "unprepared",
                            "the host has no guest OS and pool of Berth yet",
                            "berth host prepare NAME");
}

static void
write_answers(const BerthFleetHost *host, json_t *status, const char *now)
{
    guint stuck = host != NULL ? berth_host_runner_stuck_calls(host->runner) : 0;
    if (host == NULL) {
        berth_status_drop_condition(status, "Answers");
    } else if (!host->reached && host->why == NULL) {
        berth_status_set_condition(status, "Answers", FALSE, "connecting",
                                   "it was not reached yet since berthd started or was told of it; "
                                   "inventory and counts are as they were",
                                   now);
    } else if (!host->reached) {
        berth_status_set_condition(status, "Answers", FALSE, "unreachable", host->why, now);
    } else if (stuck > 0) {
        g_autofree char *message =
            g_strdup_printf("%u calls to its libvirtd are overdue; guests go on", stuck);
        berth_status_set_condition(status, "Answers", FALSE, "stuck", message, now);
    } else {
        berth_status_set_condition(status, "Answers", TRUE, NULL, NULL, now);
    }
}

static void
write_trust(const BerthFleetHost *host, const BerthHostProblem *problem, json_t *status,
            const char *now)
{
    json_object_del(status, "seen");
    if (problem != NULL) {
        berth_status_set_condition(status, "Trusted", FALSE, problem->code, problem->message, now);
        json_object_set_new(status, "seen", json_deep_copy(problem->seen));
    } else if (host != NULL && host->connected) {
        berth_status_set_condition(status, "Trusted", TRUE, NULL, NULL, now);
    } else {
        berth_status_drop_condition(status, "Trusted");
    }
}

/* A host that calls itself otherwise is used as before: it is the same machine by its UUID. */
static void
write_name(const BerthFleetHost *host, const BerthHostSpec *spec, json_t *status, const char *now)
{
    const char *name = host != NULL && host->connected ? host->inventory->hostname : NULL;
    if (name == NULL) {
        return;
    }
    if (json_object_get(status, "first_hostname") == NULL) {
        berth_status_set_text(status, "first_hostname", name);
    }
    const char *expected =
        spec->hostname != NULL ? spec->hostname : berth_json_string(status, "first_hostname");
    if (g_strcmp0(expected, name) == 0) {
        berth_status_drop_condition(status, "Renamed");
        return;
    }
    g_autofree char *message = g_strdup_printf(
        "it was called '%s' and calls itself '%s' now; if that is meant: berth host trust %s",
        expected, name, host->name);
    berth_status_set_condition(status, "Renamed", TRUE, "renamed", message, now);
    json_object_set_new(status, "seen", json_pack("{s:s}", "hostname", name));
}

/* What was proved of one machine is not so of another that takes its place. */
static void
forget_other_machine(const BerthFleetHost *host, json_t *status)
{
    static const char *const proofs[] = {
        "prepared",       "guest_os", "guest_os_volumes", "acceleration", "acceleration_reason",
        "first_hostname", NULL};
    const char *before = berth_json_string(json_object_get(status, "inventory"), "uuid");
    if (before == NULL || host->inventory->uuid == NULL ||
        strcmp(before, host->inventory->uuid) == 0) {
        return;
    }
    for (guint i = 0; proofs[i] != NULL; i++) {
        json_object_del(status, proofs[i]);
    }
}

/* The claim "Schedulable": false with the reason why it gets nothing new. */
static void
write_schedulable(BerthControl *control, const BerthObject *object, const char *uncountable,
                  json_t *status, const char *now)
{
    const char *reason = "ready", *message = NULL;
    if (uncountable != NULL) {
        reason = "not-countable";
        message = uncountable;
    } else if (object->deleting != NULL) {
        reason = "being-removed";
        message = "its removal was asked for";
    } else if (((const BerthHostSpec *)object->spec_data)->cordoned) {
        reason = "cordoned";
        message = "its spec says that nothing new is placed on it";
    } else if (!berth_host_controller_is_seen(control, object) ||
               !json_is_true(json_object_get(status, "prepared"))) {
        reason = "not-ready";
        message = "it is not connected or not prepared";
    }
    berth_status_set_condition(status, "Schedulable", message == NULL, reason, message, now);
    if (uncountable != NULL) {
        berth_status_set_reason(status, object->name, reason, message, "berth host show NAME");
    }
}

/* A host whose removal was asked for says what it still waits for. */
static void
write_removal(const BerthObject *object, json_t *status)
{
    gint64 count = berth_json_integer(status, "pods", 0) + berth_json_integer(status, "vms", 0);
    if (object->deleting != NULL && count > 0) {
        g_autofree char *message =
            g_strdup_printf("%" G_GINT64_FORMAT " workloads are still on it; they go first", count);
        berth_status_set_reason(status, object->name, "in-use", message,
                                "berth list --all --host NAME");
    }
}

/** Returns: (transfer full): the status of the Host @object as it is now. */
json_t *
berth_host_status_write(BerthControl *control, const BerthObject *object,
                        const BerthHostSight *sight)
{
    BerthFleetHost *host = sight->host;
    json_t *status = berth_status_copy(object);
    g_autofree char *now = berth_control_now(control);
    if (host != NULL && host->connected) {
        forget_other_machine(host, status);
        json_object_set_new(status, "inventory",
                            write_inventory(host->inventory, berth_fleet_pool(control->fleet)));
    }
    if (sight->proof != NULL) {
        json_object_update(status, sight->proof);
    }
    if (host != NULL && host->listed) {
        json_object_set_new(status, "foreign", berth_unmanaged_list(control, host));
    }
    json_object_set_new(status, "observed_generation", json_integer(object->generation));
    write_trust(host, sight->problem, status, now);
    write_answers(host, status, now);
    write_name(host, object->spec_data, status, now);
    write_usage(control, object, status);
    write_phase(object->name, sight, status);
    write_schedulable(control, object, sight->uncountable, status, now);
    count_workloads(control, object->name, status);
    write_removal(object, status);
    return status;
}
