/* Hosts: keeps a connection per Host object, records what each has and runs, and feeds the scheduler.
 *
 * A host is schedulable when it is connected, listed, and prepared. Foreign domains are charged from the
 * first listing on. Start reading at record(): everything ends there. Main loop only. */
#include "daemon/control.h"

#include "base/error.h"
#include "base/json.h"

#include <string.h>

struct BerthHostController {
    BerthControl *control;
    BerthQueue *queue; /* host names whose status is to be recorded */
    guint subscription;
    GHashTable *foreign; /* "foreign/<host>/<uuid>" charged now */
    GHashTable *refused; /* host name -> why the scheduler can't count it */
    /* Host name -> json_t*, what a preparation proved. Every record made in this life of the daemon holds
     * it, so a record that was begun before the proof was stored cannot take it back. */
    GHashTable *proofs;
    GPtrArray *preparations; /* under way; owned */
};

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
        json_array_append_new(list, json_pack("{s:i, s:I, s:i, s:o}", "id", (int)cell->id,
                                              "memory_mib", (json_int_t)(cell->memory_kib / 1024),
                                              "cpus", (int)cell->cpu_count, "huge_pages", pages));
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
    json_object_set_new(json, "machine_types", write_strings(has->machine_types));
    if (pool != NULL) {
        json_object_set_new(json, "pool_mib",
                            json_integer((json_int_t)(pool->capacity_bytes >> 20)));
    }
    return json;
}

static const char *
domain_state_name(BerthDomainState state)
{
    static const char *const names[] = {"shut off", "running",     "paused",   "in shutdown",
                                        "crashed",  "pmsuspended", "migrating"};
    return names[state];
}

static json_t *
write_foreign(BerthFleet *fleet, BerthFleetHost *host)
{
    json_t *list = json_array();
    g_autoptr(GList) uuids =
        g_list_sort(g_hash_table_get_keys(host->domains), (GCompareFunc)strcmp);
    for (GList *next = uuids; next != NULL; next = next->next) {
        const BerthDomain *domain = berth_fleet_domain(host, next->data);
        if (!berth_fleet_is_ours(fleet, domain)) {
            json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:I, s:I}", "uuid", domain->uuid,
                                                  "name", domain->name, "state",
                                                  domain_state_name(domain->state), "vcpus",
                                                  (json_int_t)domain->vcpus_max, "memory_mib",
                                                  (json_int_t)(domain->memory_max_kib / 1024)));
        }
    }
    return list;
}

/* ---- the record ------------------------------------------------------------------------------ */

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
        json_int_t count = 0;
        BerthCatalogIter iter;
        berth_catalog_iter_init(&iter, control->catalog, kinds[i], NULL);
        for (BerthObject *object; (object = berth_catalog_iter_next(&iter)) != NULL;) {
            count += g_strcmp0(berth_workload_status_of(object)->host, host) == 0;
        }
        json_object_set_new(status, kinds[i]->plural, json_integer(count));
    }
}

static void
write_phase(BerthFleetHost *host, gboolean prepared, gboolean seen, json_t *status)
{
    if (!host->connected) {
        gboolean before = host->inventory != NULL || seen;
        berth_status_set_text(status, "phase", before ? "Unreachable" : "Connecting");
        berth_status_set_reason(status, host->name, "unreachable",
                                host->why != NULL ? host->why : "not connected yet",
                                "check that libvirtd runs there and that the URI is right");
        return;
    }
    berth_status_set_text(status, "phase", prepared ? "Ready" : "Unprepared");
    berth_status_set_reason(status, host->name, prepared ? NULL : "unprepared",
                            "the host has no guest OS and pool of Berth yet",
                            "berth host prepare NAME");
}

static void
write_usage(BerthControl *control, const char *name, json_t *status)
{
    BerthCapacity capacity, used;
    if (berth_ledger_usage(control->ledger, name, &capacity, &used)) {
        BerthCapacity left = {MAX(0, capacity.vcpus - used.vcpus),
                              MAX(0, capacity.memory_mib - used.memory_mib), capacity.disk_mib};
        json_object_set_new(status, "capacity", write_capacity(&capacity));
        json_object_set_new(status, "used", write_capacity(&used));
        json_object_set_new(status, "free", write_capacity(&left));
    }
}

/* The claim "Schedulable": false with the reason why it gets nothing new. */
static void
write_condition(BerthHostController *controller, const BerthObject *host, json_t *status)
{
    const char *refused = g_hash_table_lookup(controller->refused, host->name);
    const char *reason = "ready", *message = NULL;
    if (refused != NULL) {
        reason = "not-countable";
        message = refused;
    } else if (((const BerthHostSpec *)host->spec_data)->cordoned) {
        reason = "cordoned";
        message = "its spec says that nothing new is placed on it";
    } else if (!berth_host_controller_is_ready(controller->control, host)) {
        reason = "not-ready";
        message = "it is not connected or not prepared";
    }
    const json_t *before = json_array_get(json_object_get(status, "conditions"), 0);
    g_autofree char *now = berth_control_now(controller->control);
    gboolean same = g_strcmp0(berth_json_string(before, "reason"), reason) == 0;
    json_object_set_new(status, "conditions",
                        json_pack("[{s:s, s:b, s:s, s:s*, s:s}]", "type", "Schedulable", "value",
                                  message == NULL, "reason", reason, "message", message, "since",
                                  same ? berth_json_string(before, "since") : now));
    if (refused != NULL) {
        berth_status_set_reason(status, host->name, reason, message, "berth host show NAME");
    }
}

/* What waits for the record to be stored. */
typedef struct {
    BerthHostController *controller;
    char *name;          /* owned */
    BerthStoreDone done; /* NULL: nobody else */
    gpointer user_data;
} Recording;

static void
on_recorded(gint64 revision, const GPtrArray *changes, int failed_op, const GError *error,
            gpointer data)
{
    g_autofree Recording *recording = data;
    g_autofree char *name = recording->name;
    if (error != NULL) {
        berth_queue_retry(recording->controller->queue, name);
    } else {
        berth_queue_forget(recording->controller->queue, name);
    }
    if (recording->done != NULL) {
        recording->done(revision, changes, failed_op, error, recording->user_data);
    }
}

static gboolean
put_record(BerthHostController *controller, const char *name, BerthStoreDone done,
           gpointer user_data)
{
    BerthControl *control = controller->control;
    BerthObject *object = berth_catalog_get(control->catalog, &berth_kind_host, NULL, name);
    BerthFleetHost *host = berth_fleet_get(control->fleet, name);
    if (object == NULL || host == NULL) {
        return FALSE;
    }
    json_t *status = berth_status_copy(object);
    json_t *proof = g_hash_table_lookup(controller->proofs, name);
    if (proof != NULL) {
        json_object_update(status, proof);
    }
    write_phase(host, json_is_true(json_object_get(status, "prepared")),
                json_object_get(status, "inventory") != NULL, status);
    if (host->inventory != NULL) {
        json_object_set_new(status, "inventory",
                            write_inventory(host->inventory, berth_fleet_pool(control->fleet)));
    }
    if (host->listed) {
        json_object_set_new(status, "foreign", write_foreign(control->fleet, host));
    }
    write_usage(control, name, status);
    write_condition(controller, object, status);
    count_workloads(control, name, status);
    Recording *recording = g_new(Recording, 1);
    *recording = (Recording){controller, g_strdup(name), done, user_data};
    berth_catalog_put_status(control->catalog, object, status, on_recorded, recording);
    json_decref(status);
    return TRUE;
}

static void
record(const char *name, gpointer user_data)
{
    put_record(user_data, name, NULL, NULL);
}

/**
 * berth_host_controller_proved:
 * @proof: (transfer full): members of the Host's status: prepared, acceleration, …
 * @done: told when they are stored; NOT_FOUND when the host was removed
 *
 * Records what a preparation found out.
 */
void
berth_host_controller_proved(BerthHostController *controller, const char *name, json_t *proof,
                             BerthStoreDone done, gpointer user_data)
{
    g_hash_table_replace(controller->proofs, g_strdup(name), proof);
    if (!put_record(controller, name, done, user_data)) {
        g_autoptr(GError) error = NULL;
        berth_error_set(&error, BERTH_ERROR_NOT_FOUND, "host '%s' was removed", name);
        done(0, NULL, -1, error, user_data);
    }
}

/** Wants the status of the host @name to be recorded soon; changes within 50 ms are one record. */
void
berth_host_controller_touch(BerthHostController *controller, const char *name)
{
    berth_queue_add_after(controller->queue, name, 50 * 1000);
}

/* ---- the scheduler's side -------------------------------------------------------------------- */

gboolean
berth_host_controller_is_ready(BerthControl *control, const BerthObject *object)
{
    BerthFleetHost *host = berth_fleet_get(control->fleet, object->name);
    const BerthHostStatus *status = object->status_data;
    return host != NULL && host->connected && host->listed && host->volumes != NULL &&
           status->prepared && object->deleting == NULL;
}

static void
charge_foreign(BerthHostController *controller, BerthFleetHost *host)
{
    BerthControl *control = controller->control;
    g_autofree char *prefix = g_strdup_printf("foreign/%s/", host->name);
    GHashTableIter iter;
    gpointer key, value;
    g_hash_table_iter_init(&iter, controller->foreign);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        const char *uuid = (const char *)key + strlen(prefix);
        if (g_str_has_prefix(key, prefix) && berth_fleet_domain(host, uuid) == NULL) {
            berth_ledger_release(control->ledger, key);
            g_hash_table_iter_remove(&iter);
        }
    }
    g_hash_table_iter_init(&iter, host->domains);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        const BerthDomain *domain = value;
        if (!berth_fleet_is_ours(control->fleet, domain)) {
            berth_ledger_charge_foreign(control->ledger, host->name, domain->uuid,
                                        domain->vcpus_max, (gint64)(domain->memory_max_kib / 1024));
            g_hash_table_add(controller->foreign, g_strconcat(prefix, domain->uuid, NULL));
        }
    }
}

/* Charges what the records place on @host; a VM that is off holds no capacity. */
static void
charge_recorded(BerthControl *control, const char *host)
{
    static const BerthKind *const kinds[] = {&berth_kind_pod, &berth_kind_vm};
    for (guint i = 0; i < G_N_ELEMENTS(kinds); i++) {
        BerthCatalogIter iter;
        berth_catalog_iter_init(&iter, control->catalog, kinds[i], NULL);
        for (BerthObject *object; (object = berth_catalog_iter_next(&iter)) != NULL;) {
            const BerthWorkloadStatus *status = berth_workload_status_of(object);
            gboolean resting = object->kind == &berth_kind_vm && object->power == BERTH_POWER_OFF &&
                               status->phase == BERTH_PHASE_STOPPED;
            if (g_strcmp0(status->host, host) == 0 && !resting &&
                berth_ledger_host_of(control->ledger, object->uid) == NULL) {
                g_auto(BerthNeeds) needs = {0};
                berth_workload_needs_init(&needs, control, object);
                berth_ledger_charge(control->ledger, object, &needs, host);
            }
        }
    }
}

static void
feed_ledger(BerthHostController *controller, const char *name)
{
    BerthControl *control = controller->control;
    BerthObject *object = berth_catalog_get(control->catalog, &berth_kind_host, NULL, name);
    BerthFleetHost *host = berth_fleet_get(control->fleet, name);
    g_autoptr(GError) error = NULL;
    if (object == NULL || host == NULL ||
        ((const BerthHostStatus *)object->status_data)->inventory == NULL) {
        return;
    }
    berth_host_controller_touch(controller, name);
    if (!berth_ledger_put_host(control->ledger, object,
                               berth_host_controller_is_ready(control, object), &error)) {
        g_hash_table_replace(controller->refused, g_strdup(name), g_strdup(error->message));
        return;
    }
    g_hash_table_remove(controller->refused, name);
    charge_recorded(control, name);
    if (host->listed) {
        charge_foreign(controller, host);
    }
    berth_workload_controller_capacity(control->workloads);
}

/* ---- what is told ---------------------------------------------------------------------------- */

static void
add_wanted_digest(GHashTable *wanted, const char *digest)
{
    if (digest != NULL) {
        const char *hex = g_str_has_prefix(digest, "sha256:") ? digest + strlen("sha256:") : digest;
        g_hash_table_add(wanted, g_strdup(hex));
    }
}

static void
add_wanted_seeds(BerthControl *control, GHashTable *wanted)
{
    BerthCatalogIter iter;
    berth_catalog_iter_init(&iter, control->catalog, &berth_kind_vm, NULL);
    for (BerthObject *vm; (vm = berth_catalog_iter_next(&iter)) != NULL;) {
        size_t i;
        json_t *disk;
        json_array_foreach (berth_workload_status_of(vm)->disks, i, disk) {
            add_wanted_digest(wanted, berth_json_string(disk, "sha256"));
        }
    }
}

/* Files that no image, guest OS or VM needs any more, and uploads that a death cut short. */
static void
clean_volumes(BerthControl *control, BerthFleetHost *host)
{
    g_autoptr(GHashTable) wanted = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    BerthCatalogIter iter;
    berth_catalog_iter_init(&iter, control->catalog, &berth_kind_image, NULL);
    for (BerthObject *image; (image = berth_catalog_iter_next(&iter)) != NULL;) {
        add_wanted_digest(wanted, ((const BerthImageStatus *)image->status_data)->disk_digest);
    }
    if (control->guest_os != NULL) {
        add_wanted_digest(wanted, control->guest_os->kernel.sha256);
        add_wanted_digest(wanted, control->guest_os->initramfs.sha256);
    }
    add_wanted_seeds(control, wanted);
    berth_stage_clean(control->stage, host, wanted);
}

static gboolean
is_probe(const BerthDomain *domain)
{
    return g_strcmp0(domain->mark->kind, "Probe") == 0;
}

static void
on_probe_gone(BerthHostReply *reply, const GError *error, gpointer unused)
{
}

/* A probe that a death or a failed call left behind: it belongs to nobody. */
static void
remove_left_probe(BerthFleetHost *host, const BerthDomain *domain)
{
    BerthHostCall destroy = {.verb = BERTH_HOST_DOMAIN_DESTROY, .uuid = domain->uuid};
    BerthHostCall undefine = {.verb = BERTH_HOST_DOMAIN_UNDEFINE, .uuid = domain->uuid};
    berth_host_runner_submit(host->runner, &destroy, 30, on_probe_gone, NULL);
    berth_host_runner_submit(host->runner, &undefine, 30, on_probe_gone, NULL);
}

static void
check_unknown_domains(BerthControl *control, BerthFleetHost *host)
{
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, host->domains);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const BerthDomain *domain = value;
        if (!berth_fleet_is_ours(control->fleet, domain) || is_probe(domain) ||
            berth_catalog_get_uid(control->catalog, domain->mark->uid) != NULL) {
            continue;
        }
        /* From a time that the store does not know: shown, never deleted (I5). */
        BerthObject *object =
            berth_catalog_get(control->catalog, &berth_kind_host, NULL, host->name);
        berth_catalog_record_event(control->catalog, object, "warning", "UnknownWorkload", NULL,
                                   "domain '%s' carries this fleet's mark, but no record has "
                                   "its uid %s; it is left alone",
                                   domain->name, domain->mark->uid);
    }
}

static gboolean
is_probing(BerthHostController *controller, const char *uuid)
{
    for (guint i = 0; i < controller->preparations->len; i++) {
        if (g_strcmp0(berth_host_prepare_probe(controller->preparations->pdata[i]), uuid) == 0) {
            return TRUE;
        }
    }
    return FALSE;
}

/** All domains of @host were listed, again. */
void
berth_host_controller_listed(BerthHostController *controller, BerthFleetHost *host)
{
    GHashTableIter iter;
    gpointer uuid, value;
    g_hash_table_iter_init(&iter, host->domains);
    while (g_hash_table_iter_next(&iter, &uuid, &value)) {
        const BerthDomain *domain = value;
        if (berth_fleet_is_ours(controller->control->fleet, domain) && is_probe(domain) &&
            !is_probing(controller, uuid)) {
            remove_left_probe(host, domain);
        }
    }
}

/** Returns: the preparations under way, borrowed; they take themselves out at their end. */
GPtrArray *
berth_host_controller_preparations(BerthHostController *controller)
{
    return controller->preparations;
}

/** The connection, inventory or volumes of @host changed. */
void
berth_host_controller_host_seen(BerthHostController *controller, BerthFleetHost *host)
{
    BerthControl *control = controller->control;
    berth_host_controller_touch(controller, host->name);
    feed_ledger(controller, host->name);
    if (host->connected && host->listed && host->volumes != NULL) {
        clean_volumes(control, host);
    }
    berth_workload_controller_look_at_host(control->workloads, host->name);
}

/** A domain (NULL: all) of @host changed, came or went. */
void
berth_host_controller_domain_seen(BerthHostController *controller, BerthFleetHost *host,
                                  const char *uuid)
{
    BerthControl *control = controller->control;
    if (uuid == NULL) {
        feed_ledger(controller, host->name);
        if (host->listed) {
            check_unknown_domains(control, host);
        }
        berth_workload_controller_look_at_host(control->workloads, host->name);
        return;
    }
    const BerthDomain *domain = berth_fleet_domain(host, uuid);
    if (domain == NULL || !berth_fleet_is_ours(control->fleet, domain)) {
        charge_foreign(controller, host);
        berth_host_controller_touch(controller, host->name);
        berth_workload_controller_capacity(control->workloads);
    }
    berth_workload_controller_look(control->workloads, uuid);
}

static void
take_host(BerthHostController *controller, BerthObject *object)
{
    BerthControl *control = controller->control;
    const BerthHostSpec *spec = object->spec_data;
    g_autoptr(GError) error = NULL;
    if (!berth_fleet_put(control->fleet, object->name, spec->uri, &error)) {
        json_t *status = berth_status_copy(object);
        berth_status_set_text(status, "phase", "Unreachable");
        berth_status_set_reason(status, object->name, "invalid-uri", error->message,
                                berth_error_hint(error));
        berth_catalog_put_status(control->catalog, object, status, NULL, NULL);
        json_decref(status);
        return;
    }
    feed_ledger(controller, object->name);
}

static guint
workloads_on(BerthControl *control, const char *host)
{
    guint count = 0;
    static const BerthKind *const kinds[] = {&berth_kind_pod, &berth_kind_vm};
    for (guint i = 0; i < G_N_ELEMENTS(kinds); i++) {
        BerthCatalogIter iter;
        berth_catalog_iter_init(&iter, control->catalog, kinds[i], NULL);
        for (BerthObject *object; (object = berth_catalog_iter_next(&iter)) != NULL;) {
            count += g_strcmp0(berth_workload_status_of(object)->host, host) == 0;
        }
    }
    return count;
}

/* A host whose removal was asked for goes once nothing of ours is recorded there. */
static void
drop_host(BerthHostController *controller, BerthObject *object)
{
    BerthControl *control = controller->control;
    guint count = workloads_on(control, object->name);
    if (count > 0) {
        json_t *status = berth_status_copy(object);
        g_autofree char *message =
            g_strdup_printf("%u workloads are still on it; they go first", count);
        berth_status_set_reason(status, object->name, "in-use", message,
                                "berth list --all --host NAME");
        berth_catalog_put_status(control->catalog, object, status, NULL, NULL);
        json_decref(status);
        return;
    }
    berth_catalog_delete(control->catalog, object, NULL, NULL);
}

static void
forget_host(BerthHostController *controller, const char *name)
{
    g_autofree char *prefix = g_strdup_printf("foreign/%s/", name);
    GHashTableIter iter;
    gpointer key;
    g_hash_table_iter_init(&iter, controller->foreign);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        if (g_str_has_prefix(key, prefix)) {
            berth_ledger_release(controller->control->ledger, key);
            g_hash_table_iter_remove(&iter);
        }
    }
    g_hash_table_remove(controller->proofs, name);
    g_hash_table_remove(controller->refused, name);
    berth_fleet_remove(controller->control->fleet, name);
    berth_ledger_remove_host(controller->control->ledger, name);
}

/* Whether the scheduler has to hear of the change of status from @a to @b. */
static gboolean
is_seen_anew(const BerthHostStatus *a, const BerthHostStatus *b)
{
    return a->prepared != b->prepared || (a->inventory == NULL) != (b->inventory == NULL) ||
           (a->inventory != NULL && !json_equal(a->inventory, b->inventory));
}

/* The last workload of a host that is to be removed may have gone. */
static void
on_workload_changed(BerthHostController *controller, const BerthObject *before)
{
    BerthObject *left = before == NULL || berth_workload_status_of(before)->host == NULL
                            ? NULL
                            : berth_catalog_get(controller->control->catalog, &berth_kind_host,
                                                NULL, berth_workload_status_of(before)->host);
    if (left != NULL && left->deleting != NULL) {
        drop_host(controller, left);
    }
}

/* Over-commit and reserves hold for every host. */
static void
take_settings(BerthHostController *controller)
{
    BerthControl *control = controller->control;
    berth_ledger_set_settings(control->ledger, berth_catalog_settings(control->catalog));
    g_autoptr(GPtrArray) hosts = berth_catalog_list(control->catalog, &berth_kind_host, NULL);
    for (guint i = 0; i < hosts->len; i++) {
        feed_ledger(controller, ((BerthObject *)hosts->pdata[i])->name);
    }
}

static void
on_changed(const BerthObject *before, BerthObject *after, gpointer user_data)
{
    BerthHostController *controller = user_data;
    const BerthObject *object = after != NULL ? after : before;
    if (object->kind->workload) {
        on_workload_changed(controller, before);
    } else if (object->kind == &berth_kind_settings) {
        take_settings(controller);
    } else if (object->kind == &berth_kind_project && after != NULL) {
        berth_ledger_set_quota(controller->control->ledger, after);
        berth_workload_controller_capacity(controller->control->workloads);
    }
    if (object->kind != &berth_kind_host) {
        return;
    }
    if (after == NULL) {
        forget_host(controller, before->name);
    } else if (after->deleting != NULL) {
        drop_host(controller, after);
    } else if (before == NULL || before->body_revision != after->body_revision ||
               is_seen_anew(before->status_data, after->status_data)) {
        take_host(controller, after);
    }
}

/** Connects to every recorded host and follows Host objects from now on. */
BerthHostController *
berth_host_controller_new(BerthControl *control)
{
    BerthHostController *controller = g_new0(BerthHostController, 1);
    controller->control = control;
    controller->queue = berth_queue_new(control->clock, record, controller);
    berth_queue_attach(controller->queue);
    controller->foreign = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    controller->proofs =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)json_decref);
    controller->preparations = g_ptr_array_new_with_free_func(berth_host_prepare_free);
    controller->subscription = berth_catalog_subscribe(control->catalog, on_changed, controller);
    controller->refused = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    control->hosts = controller;
    take_settings(controller);
    g_autoptr(GPtrArray) projects = berth_catalog_list(control->catalog, &berth_kind_project, NULL);
    for (guint i = 0; i < projects->len; i++) {
        berth_ledger_set_quota(control->ledger, projects->pdata[i]);
    }
    g_autoptr(GPtrArray) hosts = berth_catalog_list(control->catalog, &berth_kind_host, NULL);
    for (guint i = 0; i < hosts->len; i++) {
        take_host(controller, hosts->pdata[i]);
    }
    return controller;
}

void
berth_host_controller_free(BerthHostController *controller)
{
    berth_catalog_unsubscribe(controller->control->catalog, controller->subscription);
    berth_queue_free(controller->queue);
    g_hash_table_destroy(controller->foreign);
    g_hash_table_destroy(controller->proofs);
    g_ptr_array_unref(controller->preparations);
    g_hash_table_destroy(controller->refused);
    g_free(controller);
}
