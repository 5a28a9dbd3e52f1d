/* The plan of a domain as XML. The only place where Berth makes domain XML: no raw XML is taken from
 * anybody, and every string is put into the tree as data.
 *
 * Invariant: a q35 machine's addresses depend on nothing but the index of each disk and card, so that a
 * machine that was hot-plugged and one that was started cold look alike, and both can migrate. In a
 * microvm every virtio device has a virtio-mmio address, which libvirt wants and does not say.
 * Any thread. Start at berth_domain_xml_format(). */
#include "drivers/domain-xml.h"

#include "base/error.h"
#include "drivers/xml.h"
#include "model/pci.h"

#include <string.h>

/* Returns: (transfer full): the parts of "a,b", none of NULL */
static char **
split_list(const char *text)
{
    return g_strsplit(text != NULL ? text : "", ",", -1);
}

/* ---- checks ---------------------------------------------------------------------------------- */

static gboolean
check_text(const char *what, const char *text, gboolean wanted, GError **error)
{
    if (text == NULL || *text == '\0') {
        if (wanted) {
            berth_error_set(error, BERTH_ERROR_INVALID, "domain plan without %s", what);
        }
        return !wanted;
    }
    if (!berth_xml_can_hold(text)) {
        g_autofree char *shown = g_strescape(text, NULL);
        berth_error_set(error, BERTH_ERROR_INVALID, "%s '%.80s' has characters that XML can't hold",
                        what, shown);
        return FALSE;
    }
    return TRUE;
}

static gboolean
check_disk(const BerthDomainPlan *plan, const BerthDiskPlan *disk, GError **error)
{
    if (g_strcmp0(disk->format, "raw") != 0 && g_strcmp0(disk->format, "qcow2") != 0) {
        berth_error_set(error, BERTH_ERROR_INVALID, "disk format '%s' is not raw or qcow2",
                        disk->format != NULL ? disk->format : "");
        return FALSE;
    }
    if (disk->serial != NULL && strlen(disk->serial) > BERTH_PLAN_SERIAL_MAX) {
        berth_error_set(error, BERTH_ERROR_INVALID, "disk serial '%s' has more than %d characters",
                        disk->serial, BERTH_PLAN_SERIAL_MAX);
        return FALSE;
    }
    if (disk->cdrom && plan->profile == BERTH_PROFILE_MICROVM) {
        berth_error_set(error, BERTH_ERROR_INVALID,
                        "a microvm has no CD-ROM drive: use the profile q35 or a read-only disk");
        return FALSE;
    }
    return check_text("disk pool", disk->pool, TRUE, error) &&
           check_text("disk volume", disk->volume, TRUE, error) &&
           check_text("disk serial", disk->serial, FALSE, error);
}

static gboolean
check_nic(const BerthNicPlan *nic, GError **error)
{
    if ((nic->network == NULL) == (nic->bridge == NULL)) {
        berth_error_set(error, BERTH_ERROR_INVALID,
                        "network card '%s' needs either a network or a bridge",
                        nic->mac != NULL ? nic->mac : "");
        return FALSE;
    }
    return check_text("network card's address", nic->mac, TRUE, error) &&
           check_text("network", nic->network, FALSE, error) &&
           check_text("bridge", nic->bridge, FALSE, error);
}

static gboolean
check_host_devices(const BerthDomainPlan *plan, GError **error)
{
    g_auto(GStrv) list = split_list(plan->host_devices);
    BerthPciAddress address;
    for (guint i = 0; list[i] != NULL; i++) {
        if (!berth_pci_address_parse(list[i], &address)) {
            berth_error_set(error, BERTH_ERROR_INVALID, "'%s' is not the address of a PCI device",
                            list[i]);
            return FALSE;
        }
    }
    if (list[0] != NULL && plan->profile == BERTH_PROFILE_MICROVM) {
        berth_error_set(error, BERTH_ERROR_INVALID,
                        "a microvm has no PCI slots for devices: use the profile q35");
        return FALSE;
    }
    if (g_strv_length(list) > BERTH_PLAN_DEVICES_MAX) {
        berth_error_set(error, BERTH_ERROR_INVALID, "%u devices of the host: at most %d fit",
                        g_strv_length(list), BERTH_PLAN_DEVICES_MAX);
        return FALSE;
    }
    return TRUE;
}

static gboolean
check_json(const char *what, const char *text, GError **error)
{
    if (text != NULL && !g_utf8_validate(text, -1, NULL)) {
        berth_error_set(error, BERTH_ERROR_INVALID, "%s are not UTF-8", what);
        return FALSE;
    }
    return TRUE;
}

static gboolean
check_mark(const BerthDomainMark *mark, GError **error)
{
    if (mark == NULL) {
        berth_error_set(error, BERTH_ERROR_INVALID, "domain plan without an ownership mark");
        return FALSE;
    }
    return check_text("mark's fleet", mark->fleet, TRUE, error) &&
           check_text("mark's uid", mark->uid, TRUE, error) &&
           check_text("mark's kind", mark->kind, TRUE, error) &&
           check_text("mark's project", mark->project, TRUE, error) &&
           check_text("mark's name", mark->name, TRUE, error) &&
           check_json("mark's labels", mark->labels, error) &&
           check_json("mark's spec", mark->spec, error);
}

static gboolean
check_machine(const BerthDomainPlan *plan, GError **error)
{
    gboolean microvm = plan->profile == BERTH_PROFILE_MICROVM;
    if (plan->vcpus == 0 || plan->memory_mib == 0) {
        berth_error_set(error, BERTH_ERROR_INVALID,
                        "a domain needs vCPUs and memory, not %u and %" G_GUINT64_FORMAT " MiB",
                        plan->vcpus, plan->memory_mib);
        return FALSE;
    }
    if (plan->disk_count > BERTH_PLAN_DISKS_MAX || plan->nic_count > BERTH_PLAN_NICS_MAX) {
        berth_error_set(error, BERTH_ERROR_INVALID,
                        "%" G_GSIZE_FORMAT " disks and %" G_GSIZE_FORMAT
                        " network cards: at most %d and %d fit",
                        plan->disk_count, plan->nic_count, BERTH_PLAN_DISKS_MAX,
                        BERTH_PLAN_NICS_MAX);
        return FALSE;
    }
    /* 24 slots, of which the serial controller and the random source take two. */
    if (microvm && plan->disk_count + plan->nic_count > 22) {
        berth_error_set(error, BERTH_ERROR_INVALID,
                        "a microvm has room for 22 disks and network cards, not %" G_GSIZE_FORMAT,
                        plan->disk_count + plan->nic_count);
        return FALSE;
    }
    if (microvm && plan->kernel_volume == NULL) {
        berth_error_set(error, BERTH_ERROR_INVALID,
                        "a microvm boots a given kernel only: use the profile q35");
        return FALSE;
    }
    return TRUE;
}

static gboolean
check_plan(const BerthDomainPlan *plan, const char *kernel, const char *initrd, GError **error)
{
    if (!check_text("uuid", plan->uuid, TRUE, error) ||
        !check_text("name", plan->name, TRUE, error) ||
        !check_text("CPU model", plan->cpu_model, FALSE, error) ||
        !check_text("CPU features", plan->cpu_features, FALSE, error) ||
        !check_text("CPU set", plan->cpuset, FALSE, error) ||
        !check_text("pins", plan->pins, FALSE, error) ||
        !check_text("emulator's CPU set", plan->emulator_cpuset, FALSE, error) ||
        !check_text("node set", plan->nodeset, FALSE, error) ||
        !check_text("kernel command line", plan->cmdline, FALSE, error) ||
        !check_text("kernel path", kernel, plan->kernel_volume != NULL, error) ||
        !check_text("initrd path", initrd, plan->initrd_volume != NULL, error) ||
        !check_machine(plan, error) || !check_host_devices(plan, error) ||
        !check_mark(plan->mark, error)) {
        return FALSE;
    }
    for (gsize i = 0; i < plan->disk_count; i++) {
        if (!check_disk(plan, &plan->disks[i], error)) {
            return FALSE;
        }
    }
    for (gsize i = 0; i < plan->nic_count; i++) {
        if (!check_nic(&plan->nics[i], error)) {
            return FALSE;
        }
    }
    return TRUE;
}

/* ---- addresses ------------------------------------------------------------------------------- */

/* Slots of q35's own bus. Root ports are the functions of slots from 0x10 on. */
enum { SLOT_SERIAL = 0x02, SLOT_RANDOM = 0x03, SLOT_BALLOON = 0x04, SLOT_PORTS = 0x10 };

static gsize
above(gsize count, gsize limit)
{
    return count > limit ? count - limit : 0;
}

/* What does not fit into the common ports gets more of them: disks first, then cards. */
static guint
count_virtio_ports(const BerthDomainPlan *plan)
{
    gsize more =
        above(plan->disk_count, BERTH_Q35_PORT_DISKS) + above(plan->nic_count, BERTH_Q35_PORT_NICS);
    return BERTH_Q35_PORTS + (guint)((more + 7) / 8 * 8);
}

/* Devices of the host come behind all others: such a guest is neither migrated nor hot-plugged. */
static guint
count_ports(const BerthDomainPlan *plan)
{
    g_auto(GStrv) devices = split_list(plan->host_devices);
    return count_virtio_ports(plan) + (g_strv_length(devices) + 7) / 8 * 8;
}

static guint
port_of_nic(const BerthDomainPlan *plan, gsize index)
{
    if (index < BERTH_Q35_PORT_NICS) {
        return (guint)(1 + index);
    }
    gsize more_disks = above(plan->disk_count, BERTH_Q35_PORT_DISKS);
    return (guint)(BERTH_Q35_PORTS + 1 + more_disks + index - BERTH_Q35_PORT_NICS);
}

static guint
port_of_disk(gsize index)
{
    return (guint)(index < BERTH_Q35_PORT_DISKS
                       ? 1 + BERTH_Q35_PORT_NICS + index
                       : BERTH_Q35_PORTS + 1 + index - BERTH_Q35_PORT_DISKS);
}

static void
add_pci_address(xmlNode *device, guint bus, guint slot, guint function, gboolean shared)
{
    xmlNode *address = berth_xml_add(device, "address", NULL);
    berth_xml_set(address, "type", "pci");
    berth_xml_set(address, "domain", "0x0000");
    berth_xml_set_format(address, "bus", "0x%02x", bus);
    berth_xml_set_format(address, "slot", "0x%02x", slot);
    berth_xml_set_format(address, "function", "0x%x", function);
    if (shared) {
        berth_xml_set(address, "multifunction", "on");
    }
}

static void
add_virtio_address(const BerthDomainPlan *plan, xmlNode *device, guint bus, guint slot)
{
    if (plan->profile == BERTH_PROFILE_MICROVM) {
        berth_xml_set(berth_xml_add(device, "address", NULL), "type", "virtio-mmio");
    } else {
        add_pci_address(device, bus, slot, 0, FALSE);
    }
}

/* ---- devices --------------------------------------------------------------------------------- */

static xmlNode *
add_controller(xmlNode *devices, const char *type, const char *model, int index)
{
    xmlNode *controller = berth_xml_add(devices, "controller", NULL);
    berth_xml_set(controller, "type", type);
    berth_xml_set_format(controller, "index", "%d", index);
    if (model != NULL) {
        berth_xml_set(controller, "model", model);
    }
    return controller;
}

static void
add_controllers(const BerthDomainPlan *plan, xmlNode *devices)
{
    add_controller(devices, "usb", "none", 0);
    if (plan->profile == BERTH_PROFILE_Q35) {
        add_controller(devices, "pci", "pcie-root", 0);
        for (guint port = 1; port <= count_ports(plan); port++) {
            xmlNode *controller = add_controller(devices, "pci", "pcie-root-port", (int)port);
            guint number = port - 1;
            add_pci_address(controller, 0, SLOT_PORTS + number / 8, number % 8, number % 8 == 0);
        }
    }
    add_virtio_address(plan, add_controller(devices, "virtio-serial", NULL, 0), 0, SLOT_SERIAL);
}

static void
add_disk(const BerthDomainPlan *plan, xmlNode *devices, gsize index, guint *cdroms, guint *boot)
{
    const BerthDiskPlan *disk = &plan->disks[index];
    xmlNode *node = berth_xml_add(devices, "disk", NULL);
    berth_xml_set(node, "type", "volume");
    berth_xml_set(node, "device", disk->cdrom ? "cdrom" : "disk");
    xmlNode *driver = berth_xml_add(node, "driver", NULL);
    berth_xml_set(driver, "name", "qemu");
    berth_xml_set(driver, "type", disk->format);
    if (!disk->read_only && !disk->cdrom) {
        berth_xml_set(driver, "discard", "unmap");
    }
    xmlNode *source = berth_xml_add(node, "source", NULL);
    berth_xml_set(source, "pool", disk->pool);
    berth_xml_set(source, "volume", disk->volume);
    xmlNode *target = berth_xml_add(node, "target", NULL);
    if (disk->cdrom) {
        berth_xml_set_format(target, "dev", "sd%c", 'a' + (int)(*cdroms)++);
    } else if (index < 26) {
        berth_xml_set_format(target, "dev", "vd%c", 'a' + (int)index);
    } else {
        berth_xml_set_format(target, "dev", "vda%c", 'a' + (int)index - 26);
    }
    berth_xml_set(target, "bus", disk->cdrom ? "sata" : "virtio");
    if (disk->read_only || disk->cdrom) {
        berth_xml_add(node, "readonly", NULL);
    }
    if (disk->serial != NULL) {
        berth_xml_add(node, "serial", disk->serial);
    }
    if (plan->kernel_volume == NULL && (index == 0 || disk->cdrom)) {
        berth_xml_set_format(berth_xml_add(node, "boot", NULL), "order", "%u", ++*boot);
    }
    if (!disk->cdrom) {
        add_virtio_address(plan, node, port_of_disk(index), 0);
    }
}

static void
add_nic(const BerthDomainPlan *plan, xmlNode *devices, gsize index)
{
    const BerthNicPlan *nic = &plan->nics[index];
    xmlNode *node = berth_xml_add(devices, "interface", NULL);
    berth_xml_set(node, "type", nic->network != NULL ? "network" : "bridge");
    berth_xml_set(berth_xml_add(node, "mac", NULL), "address", nic->mac);
    berth_xml_set(berth_xml_add(node, "source", NULL), nic->network != NULL ? "network" : "bridge",
                  nic->network != NULL ? nic->network : nic->bridge);
    berth_xml_set(berth_xml_add(node, "model", NULL), "type", "virtio");
    if (plan->profile == BERTH_PROFILE_Q35) {
        /* The network boot ROM would run on every start, for nothing. */
        berth_xml_set(berth_xml_add(node, "rom", NULL), "enabled", "no");
    }
    add_virtio_address(plan, node, port_of_nic(plan, index), 0);
}

/* The host's devices as they are: libvirt takes each from its driver at the start and gives it back at the end. */
static void
add_host_devices(const BerthDomainPlan *plan, xmlNode *devices)
{
    g_auto(GStrv) list = split_list(plan->host_devices);
    BerthPciAddress at;
    for (guint i = 0; list[i] != NULL && berth_pci_address_parse(list[i], &at); i++) {
        xmlNode *node = berth_xml_add(devices, "hostdev", NULL);
        berth_xml_set(node, "mode", "subsystem");
        berth_xml_set(node, "type", "pci");
        berth_xml_set(node, "managed", "yes");
        xmlNode *address = berth_xml_add(berth_xml_add(node, "source", NULL), "address", NULL);
        berth_xml_set_format(address, "domain", "0x%04x", at.domain);
        berth_xml_set_format(address, "bus", "0x%02x", at.bus);
        berth_xml_set_format(address, "slot", "0x%02x", at.slot);
        berth_xml_set_format(address, "function", "0x%x", at.function);
        add_pci_address(node, count_virtio_ports(plan) + 1 + i, 0, 0, FALSE);
    }
}

static void
add_serial_console(xmlNode *devices)
{
    xmlNode *serial = berth_xml_add(devices, "serial", NULL);
    berth_xml_set(serial, "type", "pty");
    berth_xml_set(berth_xml_add(serial, "target", NULL), "port", "0");
    xmlNode *console = berth_xml_add(devices, "console", NULL);
    berth_xml_set(console, "type", "pty");
    xmlNode *target = berth_xml_add(console, "target", NULL);
    berth_xml_set(target, "type", "serial");
    berth_xml_set(target, "port", "0");
}

/* The link has port 1 and the agent port 2 whether or not the other is there. */
static void
add_port(xmlNode *devices, const char *name, const char *number)
{
    xmlNode *channel = berth_xml_add(devices, "channel", NULL);
    berth_xml_set(channel, "type", "unix");
    xmlNode *target = berth_xml_add(channel, "target", NULL);
    berth_xml_set(target, "type", "virtio");
    berth_xml_set(target, "name", name);
    xmlNode *address = berth_xml_add(channel, "address", NULL);
    berth_xml_set(address, "type", "virtio-serial");
    berth_xml_set(address, "controller", "0");
    berth_xml_set(address, "bus", "0");
    berth_xml_set(address, "port", number);
}

static void
add_balloon_and_random(const BerthDomainPlan *plan, xmlNode *devices)
{
    xmlNode *balloon = berth_xml_add(devices, "memballoon", NULL);
    if (plan->profile == BERTH_PROFILE_MICROVM) {
        berth_xml_set(balloon, "model", "none");
    } else {
        berth_xml_set(balloon, "model", "virtio");
        berth_xml_set(balloon, "freePageReporting", "on");
        add_pci_address(balloon, 0, SLOT_BALLOON, 0, FALSE);
    }
    xmlNode *random = berth_xml_add(devices, "rng", NULL);
    berth_xml_set(random, "model", "virtio");
    berth_xml_set(berth_xml_add(random, "backend", "/dev/urandom"), "model", "random");
    add_virtio_address(plan, random, 0, SLOT_RANDOM);
}

static void
add_devices(const BerthDomainPlan *plan, xmlNode *domain)
{
    xmlNode *devices = berth_xml_add(domain, "devices", NULL);
    guint cdroms = 0, boot = 0;
    for (gsize i = 0; i < plan->disk_count; i++) {
        add_disk(plan, devices, i, &cdroms, &boot);
    }
    add_controllers(plan, devices);
    for (gsize i = 0; i < plan->nic_count; i++) {
        add_nic(plan, devices, i);
    }
    add_host_devices(plan, devices);
    add_serial_console(devices);
    if (plan->link) {
        add_port(devices, BERTH_LINK_PORT, "1");
    }
    if (plan->agent) {
        add_port(devices, "org.qemu.guest_agent.0", "2");
    }
    add_balloon_and_random(plan, devices);
}

/* ---- the domain ------------------------------------------------------------------------------ */

static gboolean
xml_has(gunichar character)
{
    return character >= 0x20 ? character != 0xFFFE && character != 0xFFFF
                             : character == '\t' || character == '\n' || character == '\r';
}

/* A title is for people's eyes: what libvirt or XML would refuse in it becomes a replacement sign. */
static void
add_title(const BerthDomainPlan *plan, xmlNode *domain)
{
    if (plan->title == NULL) {
        return;
    }
    g_autofree char *valid = g_utf8_make_valid(plan->title, -1);
    g_autoptr(GString) title = g_string_new(NULL);
    for (const char *at = valid; *at != '\0'; at = g_utf8_next_char(at)) {
        gunichar character = g_utf8_get_char(at);
        gboolean is_fine = xml_has(character) && character >= 0x20;
        g_string_append_unichar(title, is_fine ? character : 0xFFFD);
    }
    berth_xml_add(domain, "title", title->str);
}

/* JSON may hold characters that XML has not, in its strings only: there an escape says the same. */
static void
add_json(xmlNode *parent, const char *name, const char *json)
{
    g_autoptr(GString) text = g_string_new(NULL);
    for (const char *at = json != NULL ? json : ""; *at != '\0'; at = g_utf8_next_char(at)) {
        gunichar character = g_utf8_get_char(at);
        if (xml_has(character)) {
            g_string_append_unichar(text, character);
        } else {
            g_string_append_printf(text, "\\u%04x", character);
        }
    }
    berth_xml_add(parent, name, text->str);
}

static void
add_mark(const BerthDomainMark *mark, xmlNode *domain)
{
    g_autofree char *generation = g_strdup_printf("%" G_GINT64_FORMAT, mark->generation);
    xmlNode *node = berth_xml_add(berth_xml_add(domain, "metadata", NULL), "domain", NULL);
    xmlSetNs(node, xmlNewNs(node, (const xmlChar *)BERTH_METADATA_URI, (const xmlChar *)"berth"));
    berth_xml_set_format(node, "format", "%u", mark->format != 0 ? mark->format : 1);
    berth_xml_add(node, "fleet", mark->fleet);
    berth_xml_add(node, "uid", mark->uid);
    berth_xml_add(node, "kind", mark->kind);
    berth_xml_add(node, "project", mark->project);
    berth_xml_add(node, "name", mark->name);
    berth_xml_add(node, "generation", generation);
    add_json(node, "labels", mark->labels);
    add_json(node, "spec", mark->spec);
}

/* Which of the host's memory it gets, and of what pages. */
static void
add_memory_source(const BerthDomainPlan *plan, xmlNode *domain)
{
    if (plan->huge_pages_kib > 0) {
        xmlNode *backing = berth_xml_add(domain, "memoryBacking", NULL);
        xmlNode *page = berth_xml_add(berth_xml_add(backing, "hugepages", NULL), "page", NULL);
        berth_xml_set_format(page, "size", "%u", plan->huge_pages_kib);
        berth_xml_set(page, "unit", "KiB");
    }
    if (plan->nodeset != NULL) {
        xmlNode *memory = berth_xml_add(berth_xml_add(domain, "numatune", NULL), "memory", NULL);
        berth_xml_set(memory, "mode", plan->interleave ? "interleave" : "strict");
        berth_xml_set(memory, "nodeset", plan->nodeset);
    }
}

/* Each vCPU on a host CPU of its own, and what else QEMU does away from them. */
static void
add_pins(const BerthDomainPlan *plan, xmlNode *domain)
{
    if (plan->pins == NULL) {
        return;
    }
    xmlNode *tune = berth_xml_add(domain, "cputune", NULL);
    g_auto(GStrv) cpus = g_strsplit(plan->pins, ",", -1);
    for (guint i = 0; cpus[i] != NULL; i++) {
        xmlNode *pin = berth_xml_add(tune, "vcpupin", NULL);
        berth_xml_set_format(pin, "vcpu", "%u", i);
        berth_xml_set(pin, "cpuset", cpus[i]);
    }
    if (plan->emulator_cpuset != NULL) {
        berth_xml_set(berth_xml_add(tune, "emulatorpin", NULL), "cpuset", plan->emulator_cpuset);
    }
}

static void
add_size(const BerthDomainPlan *plan, xmlNode *domain)
{
    g_autofree char *memory = g_strdup_printf("%" G_GUINT64_FORMAT, plan->memory_mib);
    berth_xml_set(berth_xml_add(domain, "memory", memory), "unit", "MiB");
    gboolean fixed = plan->profile == BERTH_PROFILE_MICROVM;
    g_autofree char *most =
        g_strdup_printf("%u", fixed ? plan->vcpus : MAX(plan->vcpus, BERTH_Q35_VCPUS_MAX));
    xmlNode *vcpu = berth_xml_add(domain, "vcpu", most);
    berth_xml_set(vcpu, "placement", "static");
    if (plan->cpuset != NULL) {
        berth_xml_set(vcpu, "cpuset", plan->cpuset);
    }
    berth_xml_set_format(vcpu, "current", "%u", plan->vcpus);
    add_pins(plan, domain);
    add_memory_source(plan, domain);
}

static void
add_boot(const BerthDomainPlan *plan, const char *kernel, const char *initrd, xmlNode *domain)
{
    xmlNode *os = berth_xml_add(domain, "os", NULL);
    xmlNode *type = berth_xml_add(os, "type", "hvm");
    berth_xml_set(type, "arch", "x86_64");
    berth_xml_set(type, "machine", plan->profile == BERTH_PROFILE_MICROVM ? "microvm" : "q35");
    if (plan->kernel_volume != NULL) {
        berth_xml_add(os, "kernel", kernel);
        if (plan->initrd_volume != NULL) {
            berth_xml_add(os, "initrd", initrd);
        }
        if (plan->cmdline != NULL) {
            berth_xml_add(os, "cmdline", plan->cmdline);
        }
    }
}

static void
add_feature(xmlNode *cpu, const char *name, const char *policy)
{
    xmlNode *feature = berth_xml_add(cpu, "feature", NULL);
    berth_xml_set(feature, "policy", policy);
    berth_xml_set(feature, "name", name);
}

static void
add_cpu(const BerthDomainPlan *plan, xmlNode *domain)
{
    xmlNode *cpu = berth_xml_add(domain, "cpu", NULL);
    g_auto(GStrv) wanted = split_list(plan->cpu_features);
    if (plan->cpu_model != NULL) {
        berth_xml_set(cpu, "mode", "custom");
        berth_xml_set(cpu, "match", "exact");
        berth_xml_set(cpu, "check", "partial");
        berth_xml_set(berth_xml_add(cpu, "model", plan->cpu_model), "fallback", "forbid");
    } else if (!plan->kvm) {
        berth_xml_set(cpu, "mode", "maximum");
    } else if (plan->profile == BERTH_PROFILE_MICROVM) {
        berth_xml_set(cpu, "mode", "host-passthrough");
    } else {
        berth_xml_set(cpu, "mode", "host-model");
        berth_xml_set(cpu, "check", "partial");
    }
    /* QEMU emulates "rep movsb" a byte at a time; a guest that does not hear of fast string
     * operations copies eight. */
    if (!plan->kvm && !g_strv_contains((const char *const *)wanted, "erms")) {
        add_feature(cpu, "erms", "disable");
    }
    for (guint i = 0; wanted[i] != NULL; i++) {
        add_feature(cpu, wanted[i], "require");
    }
}

static void
add_processor(const BerthDomainPlan *plan, xmlNode *domain)
{
    xmlNode *features = berth_xml_add(domain, "features", NULL);
    berth_xml_add(features, "acpi", NULL); /* microvm: 24 virtio-mmio slots instead of 8 */
    if (!plan->kvm) {
        /* The translation cache is most of what a small guest costs under TCG: 32 MiB boot as fast as
         * the default and save 15 MiB a guest. */
        xmlNode *cache = berth_xml_add(berth_xml_add(features, "tcg", NULL), "tb-cache", "32");
        berth_xml_set(cache, "unit", "MiB");
    }
    add_cpu(plan, domain);
    berth_xml_set(berth_xml_add(domain, "clock", NULL), "offset", "utc");
}

/**
 * berth_domain_xml_format:
 * @plan: what is wanted; its text may hold anything, names and paths only what XML can hold
 * @kernel_path: the host's path of @plan's kernel volume; NULL when it has none
 * @initrd_path: likewise
 *
 * Returns: (transfer full) (nullable): XML for virDomainDefineXML; INVALID names what is wrong
 */
char *
berth_domain_xml_format(const BerthDomainPlan *plan, const char *kernel_path,
                        const char *initrd_path, GError **error)
{
    if (!check_plan(plan, kernel_path, initrd_path, error)) {
        return NULL;
    }
    g_autoptr(BerthXml) document = xmlNewDoc((const xmlChar *)"1.0");
    xmlNode *domain = xmlNewDocNode(document, NULL, (const xmlChar *)"domain", NULL);
    xmlDocSetRootElement(document, domain);
    berth_xml_set(domain, "type", plan->kvm ? "kvm" : "qemu");
    berth_xml_add(domain, "name", plan->name);
    berth_xml_add(domain, "uuid", plan->uuid);
    add_title(plan, domain);
    add_mark(plan->mark, domain);
    add_size(plan, domain);
    add_boot(plan, kernel_path, initrd_path, domain);
    add_processor(plan, domain);
    berth_xml_add(domain, "on_poweroff", "destroy");
    berth_xml_add(domain, "on_reboot", "restart");
    berth_xml_add(domain, "on_crash", "destroy");
    add_devices(plan, domain);
    return berth_xml_format(domain);
}
