/* What the host is and has. Reads only. Workers only; may block. Start at berth_virt_inventory(). */
#include "drivers/host-libvirt-private.h"

#include "drivers/capabilities-xml.h"

#include <stdlib.h>
#include <string.h>

/* Takes a string of libvirt's. Returns: (transfer full) (nullable): as GLib's. */
static char *
take(char *text)
{
    char *copy = g_strdup(text);
    free(text);
    return copy;
}

/* Returns: the memory of @cell (or VIR_NODE_MEMORY_STATS_ALL_CELLS) in KiB; 0 unknown. */
static guint64
read_memory_kib(virConnectPtr connection, int cell)
{
    int count = 0;
    if (virNodeGetMemoryStats(connection, cell, NULL, &count, 0) < 0 || count <= 0) {
        return 0;
    }
    g_autofree virNodeMemoryStats *stats = g_new0(virNodeMemoryStats, (gsize)count);
    if (virNodeGetMemoryStats(connection, cell, stats, &count, 0) < 0) {
        return 0;
    }
    for (int i = 0; i < count; i++) {
        if (strcmp(stats[i].field, VIR_NODE_MEMORY_STATS_TOTAL) == 0) {
            return stats[i].value;
        }
    }
    return 0;
}

/* Capabilities hold what libvirt saw at its start, which was seen to be a fifth of the truth. */
static void
correct_memory(BerthInventory *inventory, virConnectPtr connection)
{
    guint64 total = read_memory_kib(connection, VIR_NODE_MEMORY_STATS_ALL_CELLS);
    if (total != 0) {
        inventory->memory_kib = total;
    }
    for (guint i = 0; i < inventory->cells->len; i++) {
        BerthCell *cell = inventory->cells->pdata[i];
        guint64 here = read_memory_kib(connection, (int)cell->id);
        if (here != 0) {
            cell->memory_kib = here;
        }
    }
    if (inventory->cells->len == 1 && total != 0) {
        ((BerthCell *)inventory->cells->pdata[0])->memory_kib = total;
    }
}

static gboolean
read_node(BerthInventory *inventory, virConnectPtr connection, GError **error)
{
    virNodeInfo node;
    unsigned long library = 0, hypervisor = 0;
    if (virNodeGetInfo(connection, &node) < 0) {
        berth_virt_error(error, "can't read the host's size");
        return FALSE;
    }
    inventory->cpus = node.cpus;
    inventory->sockets = node.sockets;
    inventory->cores = node.cores;
    inventory->threads = node.threads;
    inventory->mhz = node.mhz;
    inventory->hostname = take(virConnectGetHostname(connection));
    if (virConnectGetLibVersion(connection, &library) == 0) {
        inventory->libvirt_version = berth_version_format(library);
    }
    if (virConnectGetVersion(connection, &hypervisor) == 0 && hypervisor != 0) {
        inventory->hypervisor_version = berth_version_format(hypervisor);
    }
    return TRUE;
}

static gboolean
read_documents(BerthInventory *inventory, virConnectPtr connection, GError **error)
{
    g_autofree char *capabilities = take(virConnectGetCapabilities(connection));
    if (capabilities == NULL) {
        berth_virt_error(error, "can't read the host's capabilities");
        return FALSE;
    }
    if (!berth_capabilities_read(inventory, capabilities, error)) {
        return FALSE;
    }
    g_autofree char *sysinfo = take(virConnectGetSysinfo(connection, 0));
    if (sysinfo != NULL) {
        berth_sysinfo_read(inventory, sysinfo, NULL); /* a nicety; hosts without SMBIOS are fine */
    }
    return TRUE;
}

/* A host that does not tell offers none to ask for; guests have what it gives them. */
static void
read_guest_cpus(virConnectPtr connection, const char *arch, const char *type, char ***models,
                char ***features)
{
    g_autofree char *xml =
        take(virConnectGetDomainCapabilities(connection, NULL, arch, NULL, type, 0));
    g_autofree char *fullest = NULL;
    *models = xml != NULL ? berth_cpu_models_read(xml, &fullest, NULL) : NULL;
    if (fullest == NULL) {
        return;
    }
    const char *cpus[] = {fullest};
    g_autofree char *expanded = take(virConnectBaselineHypervisorCPU(
        connection, NULL, arch, NULL, type, cpus, 1, VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES));
    *features = expanded != NULL ? berth_cpu_features_read(expanded, NULL) : NULL;
}

/* Hosts without these drivers have none of these; that is no error. */
static void
read_devices(BerthInventory *inventory, virConnectPtr connection)
{
    virNodeDevicePtr *devices = NULL;
    int count = virConnectListAllNodeDevices(connection, &devices,
                                             VIR_CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV);
    for (int i = 0; i < count; i++) {
        g_autofree char *xml = take(virNodeDeviceGetXMLDesc(devices[i], 0));
        BerthPciDevice *device = xml != NULL ? berth_pci_device_parse(xml, NULL) : NULL;
        if (device != NULL) {
            g_ptr_array_add(inventory->devices, device);
        }
        virNodeDeviceFree(devices[i]);
    }
    free(devices);
}

static void
read_networks(BerthInventory *inventory, virConnectPtr connection)
{
    virNetworkPtr *networks = NULL;
    int count = virConnectListAllNetworks(connection, &networks, 0);
    for (int i = 0; i < count; i++) {
        g_autofree char *xml = take(virNetworkGetXMLDesc(networks[i], 0));
        BerthHostNetwork *network = xml != NULL ? berth_host_network_parse(xml, NULL) : NULL;
        if (network != NULL) {
            network->active = virNetworkIsActive(networks[i]) == 1;
            g_ptr_array_add(inventory->networks, network);
        }
        virNetworkFree(networks[i]);
    }
    free(networks);
}

static void
read_pool(BerthInventory *inventory, virStoragePoolPtr found)
{
    virStoragePoolInfo info;
    if (virStoragePoolGetInfo(found, &info) < 0) {
        return;
    }
    g_autofree char *xml = take(virStoragePoolGetXMLDesc(found, 0));
    BerthHostPool *pool = g_new(BerthHostPool, 1);
    *pool = (BerthHostPool){
        .name = g_strdup(virStoragePoolGetName(found)),
        .target = xml != NULL ? berth_host_pool_parse_target(xml, NULL) : NULL,
        .active = info.state == VIR_STORAGE_POOL_RUNNING,
        .capacity_bytes = info.capacity,
        .available_bytes = info.available,
    };
    g_ptr_array_add(inventory->pools, pool);
}

static void
read_pools(BerthInventory *inventory, virConnectPtr connection)
{
    virStoragePoolPtr *pools = NULL;
    int count = virConnectListAllStoragePools(connection, &pools, 0);
    for (int i = 0; i < count; i++) {
        read_pool(inventory, pools[i]);
        virStoragePoolFree(pools[i]);
    }
    free(pools);
}

gboolean
berth_virt_inventory(BerthVirtLine *line, const BerthHostCall *call, BerthHostReply *reply,
                     GError **error)
{
    g_autoptr(BerthInventory) inventory = berth_inventory_new();
    if (!read_documents(inventory, line->connection, error) ||
        !read_node(inventory, line->connection, error)) {
        return FALSE;
    }
    correct_memory(inventory, line->connection);
    read_guest_cpus(line->connection, inventory->arch, "qemu", &inventory->tcg_models,
                    &inventory->tcg_features);
    if (inventory->claims_kvm) {
        read_guest_cpus(line->connection, inventory->arch, "kvm", &inventory->kvm_models,
                        &inventory->kvm_features);
    }
    read_devices(inventory, line->connection);
    read_networks(inventory, line->connection);
    read_pools(inventory, line->connection);
    reply->inventory = g_steal_pointer(&inventory);
    return TRUE;
}
