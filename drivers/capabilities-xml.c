/* Reads libvirt's documents about a host: capabilities, SMBIOS, PCI devices, networks, pools.
 *
 * Invariant: numbers are clamped and lists bounded, since a host may tell anything. Memory here is what
 * libvirt read when it started; the driver corrects it by virNodeGetMemoryStats. Any thread.
 * Start at berth_capabilities_read(). */
#include "drivers/capabilities-xml.h"

#include "base/error.h"
#include "drivers/xml.h"

#include <gio/gio.h>
#include <string.h>

/* No machine has more; a host that claims so is cut short. */
#define CELLS_MAX 1024
#define CPUS_MAX 16384
/* Models, or features, of a CPU. */
#define NAMES_MAX 1024

/** Returns: (transfer full): libvirt's version number as "major.minor.release". */
char *
berth_version_format(gulong version)
{
    return g_strdup_printf("%lu.%lu.%lu", version / 1000000, version / 1000 % 1000, version % 1000);
}

/* ---- capabilities ---------------------------------------------------------------------------- */

static void
read_cpus(BerthCell *cell, const xmlNode *cpus)
{
    g_autoptr(GArray) numbers = g_array_new(FALSE, FALSE, sizeof(guint));
    const xmlNode *cpu = berth_xml_child(cpus, "cpu");
    for (; cpu != NULL && numbers->len < CPUS_MAX; cpu = berth_xml_next(cpu, "cpu")) {
        guint number = (guint)MIN(berth_xml_number(cpu, "id", 0), G_MAXINT);
        g_array_append_val(numbers, number);
    }
    cell->cpu_count = numbers->len;
    cell->cpus = (guint *)(gpointer)g_array_free(g_steal_pointer(&numbers), FALSE);
}

/* The first page size is the common one; huge pages are the others. */
static void
read_huge_pages(BerthCell *cell, const xmlNode *node)
{
    const xmlNode *pages = berth_xml_child(node, "pages");
    for (; pages != NULL; pages = berth_xml_next(pages, "pages")) {
        guint64 size_kib = berth_xml_number(pages, "size", 0);
        if (size_kib > 64 && size_kib <= G_MAXUINT &&
            cell->huge_page_kinds < G_N_ELEMENTS(cell->huge_pages)) {
            cell->huge_pages[cell->huge_page_kinds].size_kib = (guint)size_kib;
            cell->huge_pages[cell->huge_page_kinds].count = berth_xml_number(pages, NULL, 0);
            cell->huge_page_kinds++;
        }
    }
}

static void
read_cells(BerthInventory *inventory, const xmlNode *host)
{
    const xmlNode *node = berth_xml_child(berth_xml_find(host, "topology/cells"), "cell");
    for (; node != NULL && inventory->cells->len < CELLS_MAX; node = berth_xml_next(node, "cell")) {
        BerthCell *cell = g_new0(BerthCell, 1);
        cell->id = (guint)MIN(berth_xml_number(node, "id", 0), G_MAXINT);
        cell->memory_kib = berth_xml_number(berth_xml_child(node, "memory"), NULL, 0);
        read_cpus(cell, berth_xml_child(node, "cpus"));
        read_huge_pages(cell, node);
        g_ptr_array_add(inventory->cells, cell);
        inventory->cpus += cell->cpu_count;
        inventory->memory_kib += MIN(cell->memory_kib, G_MAXUINT64 - inventory->memory_kib);
    }
}

static void
read_processor(BerthInventory *inventory, const xmlNode *cpu)
{
    inventory->arch = berth_xml_text(berth_xml_child(cpu, "arch"));
    inventory->cpu_model = berth_xml_text(berth_xml_child(cpu, "model"));
    inventory->cpu_vendor = berth_xml_text(berth_xml_child(cpu, "vendor"));
    const xmlNode *counter = berth_xml_child(cpu, "counter");
    for (; counter != NULL; counter = berth_xml_next(counter, "counter")) {
        if (berth_xml_attribute_is(counter, "name", "tsc")) {
            inventory->tsc_khz = berth_xml_number(counter, "frequency", 0) / 1000;
        }
    }
}

static const xmlNode *
find_guest_arch(const xmlNode *root, const char *arch)
{
    const xmlNode *guest = berth_xml_child(root, "guest");
    for (; guest != NULL; guest = berth_xml_next(guest, "guest")) {
        const xmlNode *node = berth_xml_child(guest, "arch");
        g_autofree char *type = berth_xml_text(berth_xml_child(guest, "os_type"));
        if (berth_xml_attribute_is(node, "name", arch) && g_strcmp0(type, "hvm") == 0) {
            return node;
        }
    }
    return NULL;
}

static void
read_guest(BerthInventory *inventory, const xmlNode *arch)
{
    g_autoptr(GStrvBuilder) machines = g_strv_builder_new();
    const xmlNode *machine = berth_xml_child(arch, "machine");
    for (; machine != NULL; machine = berth_xml_next(machine, "machine")) {
        g_autofree char *name = berth_xml_text(machine);
        if (name != NULL) {
            g_strv_builder_add(machines, name);
        }
    }
    inventory->machine_types = g_strv_builder_end(machines);
    const xmlNode *domain = berth_xml_child(arch, "domain");
    for (; domain != NULL; domain = berth_xml_next(domain, "domain")) {
        inventory->claims_kvm =
            inventory->claims_kvm || berth_xml_attribute_is(domain, "type", "kvm");
    }
}

/**
 * berth_capabilities_read:
 * @inventory: fresh from berth_inventory_new(); gets uuid, processor, cells, machine types, claims_kvm
 * @xml: what virConnectGetCapabilities gave
 *
 * Returns: FALSE with INVALID when it is no such document
 */
gboolean
berth_capabilities_read(BerthInventory *inventory, const char *xml, GError **error)
{
    g_autoptr(BerthXml) document = berth_xml_parse(xml, "capabilities", error);
    if (document == NULL) {
        return FALSE;
    }
    const xmlNode *root = xmlDocGetRootElement(document);
    const xmlNode *host = berth_xml_child(root, "host");
    inventory->uuid = berth_xml_text(berth_xml_child(host, "uuid"));
    read_processor(inventory, berth_xml_child(host, "cpu"));
    if (inventory->uuid == NULL || inventory->arch == NULL) {
        berth_error_set(error, BERTH_ERROR_INVALID,
                        "capabilities without the host's UUID and architecture");
        return FALSE;
    }
    read_cells(inventory, host);
    read_guest(inventory, find_guest_arch(root, inventory->arch));
    return TRUE;
}

/**
 * berth_sysinfo_read:
 * @inventory: its cpu_model becomes the processor's name as its maker writes it, when that is known
 * @xml: what virConnectGetSysinfo gave; virtual machines have none
 */
gboolean
berth_sysinfo_read(BerthInventory *inventory, const char *xml, GError **error)
{
    g_autoptr(BerthXml) document = berth_xml_parse(xml, "sysinfo", error);
    if (document == NULL) {
        return FALSE;
    }
    const xmlNode *processor = berth_xml_child(xmlDocGetRootElement(document), "processor");
    const xmlNode *entry = berth_xml_child(processor, "entry");
    for (; entry != NULL; entry = berth_xml_next(entry, "entry")) {
        g_autofree char *text = berth_xml_text(entry);
        if (text != NULL && berth_xml_attribute_is(entry, "name", "version")) {
            g_free(inventory->cpu_model);
            inventory->cpu_model = g_strdup(g_strstrip(text));
        }
    }
    return TRUE;
}

/* ---- CPUs of guests --------------------------------------------------------------------------- */

/* The children of @mode as a "cpu" document of their own. */
static char *
format_cpu(const xmlNode *mode)
{
    g_autoptr(BerthXml) document = xmlNewDoc((const xmlChar *)"1.0");
    xmlNode *cpu = xmlNewDocNode(document, NULL, (const xmlChar *)"cpu", NULL);
    xmlDocSetRootElement(document, cpu);
    xmlAddChildList(cpu, xmlDocCopyNodeList(document, mode->children));
    return berth_xml_format(cpu);
}

/**
 * berth_cpu_models_read:
 * @xml: what virConnectGetDomainCapabilities gave
 * @fullest: (out) (transfer full) (nullable): the CPU with the most that a guest can have there, as XML; NULL: not known
 *
 * Returns: (transfer full) (nullable): models that can be had there; INVALID when it is no such document
 */
char **
berth_cpu_models_read(const char *xml, char **fullest, GError **error)
{
    g_autoptr(BerthXml) document = berth_xml_parse(xml, "domainCapabilities", error);
    if (document == NULL) {
        return NULL;
    }
    g_autoptr(GStrvBuilder) names = g_strv_builder_new();
    guint count = 0;
    const xmlNode *cpu = berth_xml_child(xmlDocGetRootElement(document), "cpu");
    const xmlNode *mode = berth_xml_child(cpu, "mode");
    *fullest = NULL;
    for (; mode != NULL; mode = berth_xml_next(mode, "mode")) {
        gboolean supported = berth_xml_attribute_is(mode, "supported", "yes");
        if (supported && *fullest == NULL && berth_xml_attribute_is(mode, "name", "host-model")) {
            *fullest = format_cpu(mode);
        }
        if (!supported || !berth_xml_attribute_is(mode, "name", "custom")) {
            continue;
        }
        const xmlNode *model = berth_xml_child(mode, "model");
        for (; model != NULL && count < NAMES_MAX; model = berth_xml_next(model, "model")) {
            g_autofree char *name = berth_xml_text(model);
            if (name != NULL && berth_xml_attribute_is(model, "usable", "yes")) {
                g_strv_builder_add(names, name);
                count++;
            }
        }
    }
    return g_strv_builder_end(names);
}

/**
 * berth_cpu_features_read:
 * @xml: a CPU with all its features, as virConnectBaselineHypervisorCPU writes it
 *
 * Returns: (transfer full) (nullable): features that it has; INVALID when it is no such document
 */
char **
berth_cpu_features_read(const char *xml, GError **error)
{
    g_autoptr(BerthXml) document = berth_xml_parse(xml, "cpu", error);
    if (document == NULL) {
        return NULL;
    }
    g_autoptr(GStrvBuilder) names = g_strv_builder_new();
    guint count = 0;
    const xmlNode *feature = berth_xml_child(xmlDocGetRootElement(document), "feature");
    for (; feature != NULL && count < NAMES_MAX; feature = berth_xml_next(feature, "feature")) {
        g_autofree char *name = berth_xml_attribute(feature, "name");
        if (name != NULL && berth_xml_attribute_is(feature, "policy", "require")) {
            g_strv_builder_add(names, name);
            count++;
        }
    }
    return g_strv_builder_end(names);
}

/* ---- devices --------------------------------------------------------------------------------- */

static void
copy_id(char *to, gsize size, const xmlNode *node, const char *attribute)
{
    g_autofree char *id =
        attribute != NULL ? berth_xml_attribute(node, attribute) : berth_xml_text(node);
    g_strlcpy(to, id != NULL ? id : "", size);
}

static int
small_number(const xmlNode *node, const char *attribute)
{
    guint64 number = berth_xml_number(node, attribute, G_MAXUINT64);
    return number <= G_MAXINT ? (int)number : -1;
}

/**
 * berth_pci_device_parse:
 * @xml: what virNodeDeviceGetXMLDesc gave for a device with the capability "pci"
 *
 * Returns: (transfer full) (nullable): the device; INVALID when it is none
 */
BerthPciDevice *
berth_pci_device_parse(const char *xml, GError **error)
{
    g_autoptr(BerthXml) document = berth_xml_parse(xml, "device", error);
    if (document == NULL) {
        return NULL;
    }
    const xmlNode *pci = berth_xml_child(xmlDocGetRootElement(document), "capability");
    if (!berth_xml_attribute_is(pci, "type", "pci")) {
        berth_error_set(error, BERTH_ERROR_INVALID, "device XML without a PCI capability");
        return NULL;
    }
    BerthPciDevice *device = g_new0(BerthPciDevice, 1);
    g_snprintf(device->address, sizeof device->address, "%04x:%02x:%02x.%x",
               (guint)berth_xml_number(berth_xml_child(pci, "domain"), NULL, 0) & 0xFFFF,
               (guint)berth_xml_number(berth_xml_child(pci, "bus"), NULL, 0) & 0xFF,
               (guint)berth_xml_number(berth_xml_child(pci, "slot"), NULL, 0) & 0x1F,
               (guint)berth_xml_number(berth_xml_child(pci, "function"), NULL, 0) & 0x7);
    copy_id(device->vendor_id, sizeof device->vendor_id, berth_xml_child(pci, "vendor"), "id");
    copy_id(device->product_id, sizeof device->product_id, berth_xml_child(pci, "product"), "id");
    copy_id(device->class_id, sizeof device->class_id, berth_xml_child(pci, "class"), NULL);
    device->vendor = berth_xml_text(berth_xml_child(pci, "vendor"));
    device->product = berth_xml_text(berth_xml_child(pci, "product"));
    device->iommu_group = small_number(berth_xml_child(pci, "iommuGroup"), "number");
    device->numa_cell = small_number(berth_xml_child(pci, "numa"), "node");
    return device;
}

/* ---- networks and pools ---------------------------------------------------------------------- */

/* "255.255.255.0" -> 24; libvirt writes either a netmask or a prefix. */
static guint
read_prefix(const xmlNode *ip)
{
    g_autofree char *mask = berth_xml_attribute(ip, "netmask");
    g_autoptr(GInetAddress) address = mask != NULL ? g_inet_address_new_from_string(mask) : NULL;
    if (address == NULL) {
        return (guint)MIN(berth_xml_number(ip, "prefix", 24), 128);
    }
    guint bits = 0;
    const guint8 *bytes = g_inet_address_to_bytes(address);
    for (gsize i = 0; i < g_inet_address_get_native_size(address); i++) {
        bits += (guint)__builtin_popcount(bytes[i]);
    }
    return bits;
}

static const xmlNode *
find_ipv4(const xmlNode *network)
{
    const xmlNode *ip = berth_xml_child(network, "ip");
    while (ip != NULL && berth_xml_attribute_is(ip, "family", "ipv6")) {
        ip = berth_xml_next(ip, "ip");
    }
    return ip;
}

/**
 * berth_host_network_parse:
 * @xml: what virNetworkGetXMLDesc gave
 *
 * Returns: (transfer full) (nullable): the network, `active` left FALSE; INVALID without a name
 */
BerthHostNetwork *
berth_host_network_parse(const char *xml, GError **error)
{
    g_autoptr(BerthXml) document = berth_xml_parse(xml, "network", error);
    if (document == NULL) {
        return NULL;
    }
    const xmlNode *root = xmlDocGetRootElement(document);
    g_autoptr(BerthHostNetwork) network = g_new0(BerthHostNetwork, 1);
    network->name = berth_xml_text(berth_xml_child(root, "name"));
    if (network->name == NULL) {
        berth_error_set(error, BERTH_ERROR_INVALID, "network XML without a name");
        return NULL;
    }
    network->bridge = berth_xml_attribute(berth_xml_child(root, "bridge"), "name");
    const xmlNode *forward = berth_xml_child(root, "forward");
    if (forward != NULL) {
        network->forward = berth_xml_attribute(forward, "mode");
        if (network->forward == NULL) {
            network->forward = g_strdup("nat"); /* libvirt's default when the element is there */
        }
    }
    const xmlNode *ip = find_ipv4(root);
    g_autofree char *address = berth_xml_attribute(ip, "address");
    if (address != NULL) {
        network->cidr = g_strdup_printf("%s/%u", address, read_prefix(ip));
    }
    const xmlNode *range = berth_xml_find(ip, "dhcp/range");
    network->dhcp_start = berth_xml_attribute(range, "start");
    network->dhcp_end = berth_xml_attribute(range, "end");
    return g_steal_pointer(&network);
}

/** Returns: (transfer full) (nullable): the folder of a dir pool; INVALID for pools of other types. */
char *
berth_host_pool_parse_target(const char *xml, GError **error)
{
    g_autoptr(BerthXml) document = berth_xml_parse(xml, "pool", error);
    if (document == NULL) {
        return NULL;
    }
    const xmlNode *root = xmlDocGetRootElement(document);
    char *target = berth_xml_text(berth_xml_find(root, "target/path"));
    if (!berth_xml_attribute_is(root, "type", "dir") || target == NULL) {
        g_autofree char *type = berth_xml_attribute(root, "type");
        berth_error_set(error, BERTH_ERROR_INVALID, "pool of type '%s' is not a folder",
                        type != NULL ? type : "");
        g_clear_pointer(&target, g_free);
    }
    return target;
}
