/* The values that travel between controllers and host drivers: freeing, copying, naming. No I/O, any
 * thread. Start at berth_host_call_copy(). */
#include "drivers/host.h"

/* Indexed by BerthHostVerb; the names are used in fault scripts, logs and the simulated host's wire. */
static const char *const verb_names[BERTH_HOST_VERBS] = {
    [BERTH_HOST_INVENTORY] = "inventory",
    [BERTH_HOST_DOMAIN_LIST] = "domain-list",
    [BERTH_HOST_DOMAIN_GET] = "domain-get",
    [BERTH_HOST_DOMAIN_DEFINE] = "define",
    [BERTH_HOST_DOMAIN_START] = "start",
    [BERTH_HOST_DOMAIN_SHUTDOWN] = "shutdown",
    [BERTH_HOST_DOMAIN_REBOOT] = "reboot",
    [BERTH_HOST_DOMAIN_RESET] = "reset",
    [BERTH_HOST_DOMAIN_DESTROY] = "destroy",
    [BERTH_HOST_DOMAIN_SUSPEND] = "suspend",
    [BERTH_HOST_DOMAIN_RESUME] = "resume",
    [BERTH_HOST_DOMAIN_UNDEFINE] = "undefine",
    [BERTH_HOST_DOMAIN_XML] = "domain-xml",
    [BERTH_HOST_POOL_ENSURE] = "pool-ensure",
    [BERTH_HOST_VOLUME_LIST] = "volume-list",
    [BERTH_HOST_VOLUME_CREATE] = "volume-create",
    [BERTH_HOST_VOLUME_UPLOAD] = "volume-upload",
    [BERTH_HOST_VOLUME_DELETE] = "volume-delete",
    [BERTH_HOST_NETWORK_ENSURE] = "network-ensure",
    [BERTH_HOST_DHCP_RESERVE] = "dhcp-reserve",
    [BERTH_HOST_DHCP_RELEASE] = "dhcp-release",
};

/** Returns: the stable name of @verb ("define", "volume-upload"); static; "?" for a wrong number. */
const char *
berth_host_verb_name(BerthHostVerb verb)
{
    return (guint)verb < BERTH_HOST_VERBS ? verb_names[verb] : "?";
}

/* ---- inventory ------------------------------------------------------------------------------- */

void
berth_cell_free(BerthCell *cell)
{
    g_free(cell->cpus);
    g_free(cell);
}

void
berth_pci_device_free(BerthPciDevice *device)
{
    g_free(device->vendor);
    g_free(device->product);
    g_free(device);
}

void
berth_host_network_free(BerthHostNetwork *network)
{
    g_free(network->name);
    g_free(network->bridge);
    g_free(network->forward);
    g_free(network->cidr);
    g_free(network->dhcp_start);
    g_free(network->dhcp_end);
    g_free(network);
}

void
berth_host_pool_free(BerthHostPool *pool)
{
    g_free(pool->name);
    g_free(pool->target);
    g_free(pool);
}

/** Returns: (transfer full): an inventory whose lists are empty and own what is put into them. */
BerthInventory *
berth_inventory_new(void)
{
    BerthInventory *inventory = g_new0(BerthInventory, 1);
    inventory->cells = g_ptr_array_new_with_free_func((GDestroyNotify)berth_cell_free);
    inventory->devices = g_ptr_array_new_with_free_func((GDestroyNotify)berth_pci_device_free);
    inventory->networks = g_ptr_array_new_with_free_func((GDestroyNotify)berth_host_network_free);
    inventory->pools = g_ptr_array_new_with_free_func((GDestroyNotify)berth_host_pool_free);
    return inventory;
}

/** Frees @inventory and all it holds; NULL is fine. */
void
berth_inventory_free(BerthInventory *inventory)
{
    if (inventory == NULL) {
        return;
    }
    g_free(inventory->hostname);
    g_free(inventory->uuid);
    g_free(inventory->arch);
    g_free(inventory->cpu_model);
    g_free(inventory->cpu_vendor);
    g_free(inventory->libvirt_version);
    g_free(inventory->hypervisor_version);
    g_strfreev(inventory->machine_types);
    g_strfreev(inventory->kvm_models);
    g_strfreev(inventory->kvm_features);
    g_strfreev(inventory->tcg_models);
    g_strfreev(inventory->tcg_features);
    g_clear_pointer(&inventory->cells, g_ptr_array_unref);
    g_clear_pointer(&inventory->devices, g_ptr_array_unref);
    g_clear_pointer(&inventory->networks, g_ptr_array_unref);
    g_clear_pointer(&inventory->pools, g_ptr_array_unref);
    g_free(inventory);
}

/* ---- domains --------------------------------------------------------------------------------- */

/** Frees @mark; NULL is fine. */
void
berth_domain_mark_free(BerthDomainMark *mark)
{
    if (mark == NULL) {
        return;
    }
    g_free(mark->fleet);
    g_free(mark->uid);
    g_free(mark->kind);
    g_free(mark->project);
    g_free(mark->name);
    g_free(mark->spec);
    g_free(mark->labels);
    g_free(mark);
}

/** Returns: (transfer full) (nullable): a copy of @mark; NULL for NULL. */
BerthDomainMark *
berth_domain_mark_copy(const BerthDomainMark *mark)
{
    if (mark == NULL) {
        return NULL;
    }
    BerthDomainMark *copy = g_new(BerthDomainMark, 1);
    *copy = (BerthDomainMark){
        .fleet = g_strdup(mark->fleet),
        .uid = g_strdup(mark->uid),
        .kind = g_strdup(mark->kind),
        .project = g_strdup(mark->project),
        .name = g_strdup(mark->name),
        .generation = mark->generation,
        .spec = g_strdup(mark->spec),
        .labels = g_strdup(mark->labels),
        .format = mark->format,
    };
    return copy;
}

/** Frees @domain; NULL is fine. */
void
berth_domain_free(BerthDomain *domain)
{
    if (domain == NULL) {
        return;
    }
    g_free(domain->uuid);
    g_free(domain->name);
    g_free(domain->title);
    g_free(domain->machine);
    berth_domain_mark_free(domain->mark);
    g_free(domain);
}

/** Frees @volume. */
void
berth_volume_free(BerthVolume *volume)
{
    g_free(volume->name);
    g_free(volume);
}

/** Frees what @reply holds and makes it empty again. */
void
berth_host_reply_clear(BerthHostReply *reply)
{
    g_clear_pointer(&reply->inventory, berth_inventory_free);
    g_clear_pointer(&reply->domains, g_ptr_array_unref);
    g_clear_pointer(&reply->volumes, g_ptr_array_unref);
    g_clear_pointer(&reply->text, g_free);
}

/* ---- copies of calls ------------------------------------------------------------------------- */

/* A call whose strings live in one chunk of memory that goes with it. */
typedef struct {
    BerthHostCall call; /* first: the copy is handed out as a BerthHostCall* */
    BerthDomainPlan plan;
    BerthDomainMark mark;
    BerthDiskPlan *disks;
    BerthNicPlan *nics;
    GStringChunk *strings;
} OwnedCall;

static const char *
keep(OwnedCall *owned, const char *text)
{
    return text != NULL ? g_string_chunk_insert_const(owned->strings, text) : NULL;
}

static void
keep_mark(OwnedCall *owned, const BerthDomainMark *mark)
{
    owned->mark = *mark;
    owned->mark.fleet = (char *)keep(owned, mark->fleet);
    owned->mark.uid = (char *)keep(owned, mark->uid);
    owned->mark.kind = (char *)keep(owned, mark->kind);
    owned->mark.project = (char *)keep(owned, mark->project);
    owned->mark.name = (char *)keep(owned, mark->name);
    owned->mark.spec = (char *)keep(owned, mark->spec);
    owned->mark.labels = (char *)keep(owned, mark->labels);
    owned->plan.mark = &owned->mark;
}

static void
keep_devices(OwnedCall *owned, const BerthDomainPlan *plan)
{
    owned->disks = g_new0(BerthDiskPlan, plan->disk_count);
    for (gsize i = 0; i < plan->disk_count; i++) {
        owned->disks[i] = plan->disks[i];
        owned->disks[i].pool = keep(owned, plan->disks[i].pool);
        owned->disks[i].volume = keep(owned, plan->disks[i].volume);
        owned->disks[i].serial = keep(owned, plan->disks[i].serial);
        owned->disks[i].format = keep(owned, plan->disks[i].format);
    }
    owned->nics = g_new0(BerthNicPlan, plan->nic_count);
    for (gsize i = 0; i < plan->nic_count; i++) {
        owned->nics[i] = (BerthNicPlan){
            .network = keep(owned, plan->nics[i].network),
            .bridge = keep(owned, plan->nics[i].bridge),
            .mac = keep(owned, plan->nics[i].mac),
        };
    }
    owned->plan.disks = owned->disks;
    owned->plan.nics = owned->nics;
}

static void
keep_plan(OwnedCall *owned, const BerthDomainPlan *plan)
{
    owned->plan = *plan;
    owned->plan.uuid = keep(owned, plan->uuid);
    owned->plan.name = keep(owned, plan->name);
    owned->plan.title = keep(owned, plan->title);
    owned->plan.cpuset = keep(owned, plan->cpuset);
    owned->plan.pins = keep(owned, plan->pins);
    owned->plan.cpu_model = keep(owned, plan->cpu_model);
    owned->plan.cpu_features = keep(owned, plan->cpu_features);
    owned->plan.emulator_cpuset = keep(owned, plan->emulator_cpuset);
    owned->plan.nodeset = keep(owned, plan->nodeset);
    owned->plan.host_devices = keep(owned, plan->host_devices);
    owned->plan.kernel_pool = keep(owned, plan->kernel_pool);
    owned->plan.kernel_volume = keep(owned, plan->kernel_volume);
    owned->plan.initrd_volume = keep(owned, plan->initrd_volume);
    owned->plan.cmdline = keep(owned, plan->cmdline);
    keep_devices(owned, plan);
    if (plan->mark != NULL) {
        keep_mark(owned, plan->mark);
    }
    owned->call.plan = &owned->plan;
}

/**
 * berth_host_call_copy:
 * @call: copied with all it points to; progress_data is copied as a pointer
 *
 * Returns: (transfer full): to be freed with berth_host_call_free()
 */
BerthHostCall *
berth_host_call_copy(const BerthHostCall *call)
{
    OwnedCall *owned = g_new0(OwnedCall, 1);
    owned->strings = g_string_chunk_new(512);
    owned->call = *call;
    owned->call.uuid = keep(owned, call->uuid);
    owned->call.pool = keep(owned, call->pool);
    owned->call.volume = keep(owned, call->volume);
    owned->call.path = keep(owned, call->path);
    owned->call.format = keep(owned, call->format);
    owned->call.backing = keep(owned, call->backing);
    owned->call.backing_format = keep(owned, call->backing_format);
    owned->call.network = keep(owned, call->network);
    owned->call.mac = keep(owned, call->mac);
    owned->call.ip = keep(owned, call->ip);
    owned->call.name = keep(owned, call->name);
    if (call->plan != NULL) {
        keep_plan(owned, call->plan);
    }
    return &owned->call;
}

/** Frees a call that berth_host_call_copy() made; NULL is fine. */
void
berth_host_call_free(BerthHostCall *call)
{
    if (call == NULL) {
        return;
    }
    OwnedCall *owned = (OwnedCall *)call;
    g_string_chunk_free(owned->strings);
    g_free(owned->disks);
    g_free(owned->nics);
    g_free(owned);
}
