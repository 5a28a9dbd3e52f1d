/* Host: a machine that runs libvirtd, and what Berth may use of it. */
#include "base/error.h"
#include "model/cpu-set.h"
#include "model/host-uri.h"
#include "model/kinds.h"
#include "model/pci.h"
#include "model/ssh-key.h"

#define CAPACITY_MAX (1LL << 40) /* sums of a million of them stay far below 2^63 */

/* @least: 0 for what people write; what is left of a host may be negative. */
#define CAPACITY_FIELDS(least)                                                                     \
    BERTH_FIELD(BerthCapacity, vcpus, INT, .minimum = (least), .maximum = CAPACITY_MAX,            \
                .doc = "Virtual CPUs."),                                                           \
        BERTH_FIELD(BerthCapacity, memory_mib, INT, .minimum = (least), .maximum = CAPACITY_MAX,   \
                    .unit = "MiB", .doc = "Memory."),                                              \
        BERTH_FIELD(BerthCapacity, disk_mib, INT, .minimum = (least), .maximum = CAPACITY_MAX,     \
                    .unit = "MiB", .doc = "Disk space in Berth's pool.")

static const BerthField capacity_fields[] = {CAPACITY_FIELDS(0)};
static const BerthSchema capacity_schema =
    BERTH_SCHEMA("Capacity", BerthCapacity, capacity_fields, "An amount of each resource.");

static const BerthField balance_fields[] = {CAPACITY_FIELDS(-CAPACITY_MAX)};
static const BerthSchema balance_schema =
    BERTH_SCHEMA("Balance", BerthCapacity, balance_fields,
                 "An amount of each resource; negative where more is used than there is.");

static const char *const effect_names[] = {"NoSchedule", "PreferNoSchedule", NULL};

static const BerthField taint_fields[] = {
    BERTH_FIELD(BerthTaintSpec, key, STRING, .required = TRUE, .minimum = 1, .maximum = 317,
                .doc = "Key that tolerations name."),
    BERTH_FIELD(BerthTaintSpec, value, STRING, .doc = "Value that tolerations may name."),
    BERTH_FIELD(BerthTaintSpec, effect, STRING, .choices = effect_names,
                .fallback_text = "NoSchedule",
                .doc = "NoSchedule keeps workloads away that don't tolerate it, PreferNoSchedule "
                       "only while another host has room."),
};
static const BerthSchema taint_schema =
    BERTH_SCHEMA("Taint", BerthTaintSpec, taint_fields, "Keeps workloads away from the host.");

static const BerthField offer_fields[] = {
    BERTH_FIELD(BerthOfferSpec, class, STRING, .required = TRUE, .format = BERTH_FORMAT_NAME,
                .doc = "Name that Pods and VMs ask for them by."),
    BERTH_FIELD(BerthOfferSpec, pci, STRINGS, .format = BERTH_FORMAT_LINE, .maximum = 64,
                .doc = "Their addresses: 0000:41:00.0, for example."),
    BERTH_FIELD(BerthOfferSpec, ids, STRINGS, .format = BERTH_FORMAT_LINE, .maximum = 64,
                .doc = "Vendor and product, 10de:20b0, for example: every device of that kind."),
};
static const BerthSchema offer_schema = BERTH_SCHEMA(
    "DeviceOffer", BerthOfferSpec, offer_fields, "PCI devices of the host that guests may have.");

static const char *const acceleration_names[] = {"auto", "kvm", "tcg", NULL};

#define HOST(member, kind, ...) BERTH_FIELD(BerthHostSpec, member, kind, __VA_ARGS__)

static const BerthField spec_fields[] = {
    HOST(uri, STRING, .required = TRUE, .format = BERTH_FORMAT_LINE, .minimum = 1, .maximum = 1024,
         .doc =
             "Where its libvirt is: qemu:///system or qemu+ssh://USER@HOST/system, for example."),
    HOST(host_keys, STRINGS, .format = BERTH_FORMAT_LINE, .maximum = 8,
         .doc = "SSH keys it may show with qemu+ssh, \"ssh-ed25519 AAAA…\"; without one it is not "
                "used."),
    HOST(uuid, STRING, .format = BERTH_FORMAT_UUID,
         .doc = "UUID its libvirt must have; without it the one that was seen first."),
    HOST(hostname, STRING, .format = BERTH_FORMAT_LINE, .maximum = 253,
         .doc = "Host name it should have; without it the one that was seen first."),
    HOST(cordoned, BOOL, .doc = "Places nothing new on it."),
    HOST(taints, OBJECTS, .schema = &taint_schema, .maximum = 16,
         .doc = "Keep workloads away that don't tolerate them."),
    HOST(zone, STRING, .format = BERTH_FORMAT_NAME, .doc = "Failure domain of several racks."),
    HOST(rack, STRING, .format = BERTH_FORMAT_NAME, .doc = "Failure domain of several hosts."),
    HOST(reserve, OBJECT, .schema = &capacity_schema,
         .doc = "What is kept for the host itself; without it what Settings say."),
    HOST(limit, OBJECT, .schema = &capacity_schema, .doc = "What Berth may use at most; 0: all."),
    HOST(overcommit_cpu_percent, INT, .minimum = 0, .maximum = 1600, .unit = "%",
         .doc = "Virtual CPUs per 100 CPUs; 0: what Settings say."),
    HOST(overcommit_memory_percent, INT, .minimum = 0, .maximum = 1000, .unit = "%",
         .doc = "Guest memory per 100 MiB of memory; 0: what Settings say."),
    HOST(dedicated_cpus, STRING, .format = BERTH_FORMAT_LINE, .minimum = 1, .maximum = 1024,
         .doc = "CPUs for guests with dedicated_cpus, and for no others: 4-15,^8, for example; "
                "without it the host takes none of them."),
    HOST(devices, OBJECTS, .schema = &offer_schema, .maximum = 64,
         .doc = "PCI devices that guests may be given whole, by class; without it none."),
    HOST(resources, COUNTS, .minimum = 0, .maximum = BERTH_RESOURCE_MAX,
         .doc = "What else it has a number of, by name: licences, tape drives; workloads ask for "
                "them by that name."),
    HOST(acceleration, STRING, .choices = acceleration_names, .fallback_text = "auto",
         .doc = "How guests run: auto proves KVM by booting a guest and falls back to TCG."),
};
static const BerthSchema spec_schema =
    BERTH_SCHEMA("HostSpec", BerthHostSpec, spec_fields, "What the admin wants of the host.");

static const BerthField foreign_fields[] = {
    BERTH_FIELD(BerthForeignDomain, uuid, STRING, .doc = "UUID in libvirt."),
    BERTH_FIELD(BerthForeignDomain, name, STRING, .doc = "Name in libvirt."),
    BERTH_FIELD(BerthForeignDomain, state, STRING, .doc = "State in libvirt."),
    BERTH_FIELD(BerthForeignDomain, vcpus, INT, .doc = "Most virtual CPUs it can have."),
    BERTH_FIELD(BerthForeignDomain, memory_mib, INT, .unit = "MiB",
                .doc = "Most memory it can have."),
};
static const BerthSchema foreign_schema =
    BERTH_SCHEMA("ForeignDomain", BerthForeignDomain, foreign_fields,
                 "A domain that Berth did not make and never changes.");

#define STATUS(member, kind, ...) BERTH_FIELD(BerthHostStatus, member, kind, __VA_ARGS__)

static const BerthField status_fields[] = {
    STATUS(phase, STRING, .doc = "Connecting, Ready, Unprepared, Unreachable or Refused."),
    STATUS(reason, OBJECT, .schema = &berth_reason_schema, .doc = "Why it is in this phase."),
    STATUS(observed_generation, INT, .doc = "Generation of the spec that the rest speaks of."),
    STATUS(seen, JSON,
           .doc = "Who answers there, when it is not who was expected: host_keys, uuid, hostname."),
    STATUS(first_hostname, STRING, .doc = "Host name that was seen first."),
    STATUS(inventory, JSON, .doc = "What the host has, as read from it."),
    STATUS(capacity, OBJECT, .schema = &balance_schema,
           .doc = "What can be placed: after reserve, limit and over-commit."),
    STATUS(used, OBJECT, .schema = &balance_schema,
           .doc = "What workloads and foreign domains are charged."),
    STATUS(free, OBJECT, .schema = &balance_schema, .doc = "What is left."),
    STATUS(cells, JSON,
           .doc =
               "Its NUMA cells: what can be bound to each and what of it is free; absent: one cell "
               "without huge pages."),
    STATUS(dedicated_cpus, JSON,
           .doc = "Those of spec.dedicated_cpus that it has, and which of them are free."),
    STATUS(devices, JSON,
           .doc =
               "Those of spec.devices: where each is, and whether it is free, or why it can't be "
               "given to a guest."),
    STATUS(resources, JSON,
           .doc = "Those of spec.resources: name, capacity, and how many are used and free."),
    STATUS(acceleration, STRING, .doc = "How guests run: kvm or tcg; absent: not proved yet."),
    STATUS(acceleration_reason, STRING, .maximum = 65536, .doc = "How that was found out."),
    STATUS(guest_os, STRING, .doc = "Digest of the guest OS that was uploaded."),
    STATUS(guest_os_volumes, JSON, .doc = "Volumes of the guest OS: kernel and initrd."),
    STATUS(prepared, BOOL, .doc = "Whether pool, guest OS and acceleration are ready for pods."),
    STATUS(pods, INT, .doc = "Pods placed on it."),
    STATUS(vms, INT, .doc = "VMs placed on it."),
    STATUS(foreign, OBJECTS, .schema = &foreign_schema, .maximum = 16384,
           .doc = "Domains that Berth did not make."),
    STATUS(conditions, OBJECTS, .schema = &berth_condition_schema, .doc = "Claims about it."),
    STATUS(images, JSON, .doc = "Images in the host's pool: digest and volume."),
};
static const BerthSchema status_schema =
    BERTH_SCHEMA("HostStatus", BerthHostStatus, status_fields, "What was seen of the host.");

static gboolean
check_host_keys(char **keys, const BerthHostUri *uri, GError **error)
{
    for (guint i = 0; keys != NULL && keys[i] != NULL; i++) {
        g_autoptr(GError) problem = NULL;
        g_autofree char *key = berth_ssh_key_parse(keys[i], &problem);
        g_autofree char *pointer = g_strdup_printf("/spec/host_keys/%u", i);
        if (key == NULL) {
            berth_error_set_at(error, BERTH_ERROR_INVALID, pointer, berth_error_hint(problem), "%s",
                               problem->message);
            return FALSE;
        }
        if (uri->transport != BERTH_TRANSPORT_SSH) {
            berth_error_set_at(error, BERTH_ERROR_INVALID, pointer, NULL,
                               "host keys are for qemu+ssh alone");
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean
check_dedicated_cpus(const char *text, GError **error)
{
    BerthCpuSet set;
    g_autoptr(GError) problem = NULL;
    if (text == NULL || berth_cpu_set_parse(text, &set, &problem)) {
        return TRUE;
    }
    berth_error_set_at(error, BERTH_ERROR_INVALID, "/spec/dedicated_cpus",
                       berth_error_hint(problem), "%s", problem->message);
    return FALSE;
}

/* Whether all of @texts are addresses (@ids: vendors and products) that are not in @seen yet. */
static gboolean
check_device_names(char **texts, gboolean ids, guint offer, GHashTable *seen, GError **error)
{
    for (guint i = 0; texts != NULL && texts[i] != NULL; i++) {
        BerthPciAddress address;
        gboolean fine =
            ids ? berth_pci_id_check(texts[i]) : berth_pci_address_parse(texts[i], &address);
        if (!fine || !g_hash_table_add(seen, g_ascii_strdown(texts[i], -1))) {
            g_autofree char *quoted = berth_quote(texts[i]);
            g_autofree char *pointer =
                g_strdup_printf("/spec/devices/%u/%s/%u", offer, ids ? "ids" : "pci", i);
            berth_error_set_at(error, BERTH_ERROR_INVALID, pointer,
                               ids ? "write 10de:20b0, as lspci -n does"
                                   : "write 0000:41:00.0, as lspci -D does",
                               "%s %s", quoted,
                               fine  ? "is there twice"
                               : ids ? "is not vendor and product of a PCI device"
                                     : "is not the address of a PCI device");
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean
check_devices(const GPtrArray *offers, GError **error)
{
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    for (guint i = 0; offers != NULL && i < offers->len; i++) {
        const BerthOfferSpec *offer = offers->pdata[i];
        if (!check_device_names(offer->pci, FALSE, i, seen, error) ||
            !check_device_names(offer->ids, TRUE, i, seen, error)) {
            return FALSE;
        }
        if (offer->pci == NULL && offer->ids == NULL) {
            g_autofree char *pointer = g_strdup_printf("/spec/devices/%u", i);
            berth_error_set_at(error, BERTH_ERROR_INVALID, pointer, "set pci or ids",
                               "the class names no devices");
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean
validate(const BerthObject *object, GError **error)
{
    const BerthHostSpec *host = object->spec_data;
    g_autoptr(GError) problem = NULL;
    g_autoptr(BerthHostUri) uri = berth_host_uri_parse(host->uri, &problem);
    if (uri == NULL) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, "/spec/uri", berth_error_hint(problem), "%s",
                           problem->message);
        return FALSE;
    }
    return check_host_keys(host->host_keys, uri, error) &&
           check_dedicated_cpus(host->dedicated_cpus, error) && check_devices(host->devices, error);
}

static const BerthColumn columns[] = {
    {"Name", "/metadata/name"},
    {"State", "/status/phase"},
    {"Open", "/status/conditions/Schedulable/value"},
    {"vCPUs used", "/status/used/vcpus"},
    {"free", "/status/free/vcpus"},
    {"Memory used", "/status/used/memory_mib"},
    {"free", "/status/free/memory_mib"},
    {"Pods", "/status/pods"},
    {"VMs", "/status/vms"},
    {"Accel", "/status/acceleration", TRUE},
    {"Age", "/metadata/created", TRUE},
    {"URI", "/spec/uri", TRUE},
    {"Disk free", "/status/free/disk_mib", TRUE},
    {"Zone", "/spec/zone", TRUE},
    {"Rack", "/spec/rack", TRUE},
    {"Reason", "/status/reason/message|/status/conditions/Schedulable/message", TRUE},
    {NULL},
};

const BerthKind berth_kind_host = {
    .name = "Host",
    .plural = "hosts",
    .short_name = "ho",
    .scope = BERTH_SCOPE_FLEET,
    .spec = &spec_schema,
    .status = &status_schema,
    .columns = columns,
    .validate = validate,
    .doc = "A machine with libvirt that guests run on.",
};
