/* VM: a full virtual machine that boots from its first disk. */
#include "base/error.h"
#include "model/kinds.h"
#include "model/workload-check.h"

#include <string.h>

#define PROFILE_MICROVM 1 /* index into berth_profile_names */

#define DISK(member, kind, ...) BERTH_FIELD(BerthDiskSpec, member, kind, __VA_ARGS__)

static const BerthField disk_fields[] = {
    DISK(name, STRING, .required = TRUE, .format = BERTH_FORMAT_NAME,
         .mutability = BERTH_MUTABLE_NEVER, .doc = "Name, unique in the VM."),
    DISK(image, STRING, .format = BERTH_FORMAT_NAME, .mutability = BERTH_MUTABLE_NEVER,
         .doc = "Image of type disk that the disk starts as a copy of."),
    DISK(volume, STRING, .format = BERTH_FORMAT_NAME, .mutability = BERTH_MUTABLE_NEVER,
         .doc = "Volume that is the disk."),
    DISK(size_mib, INT, .minimum = 0, .maximum = 64LL * 1024 * 1024, .unit = "MiB",
         .mutability = BERTH_MUTABLE_NEXT_BOOT,
         .doc = "Size of an empty disk; with image, what the copy is grown to; 0: the image's."),
    DISK(read_only, BOOL, .mutability = BERTH_MUTABLE_NEXT_BOOT,
         .doc = "Lets the guest read the disk only."),
};
static const BerthSchema disk_schema = BERTH_SCHEMA(
    "DiskSpec", BerthDiskSpec, disk_fields, "A disk: a copy of an image, a Volume, or empty.");

#define CLOUD_INIT(member, kind, ...) BERTH_FIELD(BerthCloudInit, member, kind, __VA_ARGS__)

static const BerthField cloud_init_fields[] = {
    CLOUD_INIT(user_data, STRING, .maximum = 256 * 1024, .mutability = BERTH_MUTABLE_NEXT_BOOT,
               .doc = "The user-data document, handed over byte for byte."),
    CLOUD_INIT(hostname, STRING, .format = BERTH_FORMAT_NAME, .mutability = BERTH_MUTABLE_NEXT_BOOT,
               .doc = "Host name; without it the VM's name."),
    CLOUD_INIT(network_config, STRING, .maximum = 64 * 1024, .mutability = BERTH_MUTABLE_NEXT_BOOT,
               .doc = "The network-config document, handed over byte for byte."),
};
static const BerthSchema cloud_init_schema =
    BERTH_SCHEMA("CloudInit", BerthCloudInit, cloud_init_fields,
                 "What cloud-init in the guest is given, on a small disk.");

#define VM(member, kind, ...) BERTH_FIELD(BerthVmSpec, member, kind, __VA_ARGS__)

static const BerthField vm_fields[] = {
    BERTH_WORKLOAD_FIELDS(BerthVmSpec, BERTH_RUN_MANUAL, 1024),
    VM(disks, OBJECTS, .required = TRUE, .schema = &disk_schema, .minimum = 1, .maximum = 16,
       .mutability = BERTH_MUTABLE_NEXT_BOOT, .doc = "The disks; the first one boots."),
    VM(cloud_init, OBJECT, .schema = &cloud_init_schema, .mutability = BERTH_MUTABLE_NEXT_BOOT,
       .doc = "What cloud-init in the guest is given."),
    VM(guest_agent, BOOL, .mutability = BERTH_MUTABLE_NEXT_BOOT,
       .doc = "Gives the guest the port of QEMU's guest agent."),
};
static const BerthSchema vm_schema =
    BERTH_SCHEMA("VmSpec", BerthVmSpec, vm_fields, "What the user wants of the VM.");

static gboolean
check_disk(const BerthDiskSpec *disk, guint index, GError **error)
{
    const char *problem = NULL;
    if (disk->image != NULL && disk->volume != NULL) {
        problem = "a disk has an image or a volume, not both";
    } else if (disk->volume != NULL && disk->size_mib != 0) {
        problem = "the size of a volume is its own; leave out size_mib";
    } else if (disk->image == NULL && disk->volume == NULL && disk->size_mib == 0) {
        problem = "a disk needs an image, a volume or a size_mib";
    }
    if (problem == NULL) {
        return TRUE;
    }
    g_autofree char *place = g_strdup_printf("/spec/disks/%u", index);
    berth_error_set_at(error, BERTH_ERROR_INVALID, place, NULL, "%s", problem);
    return FALSE;
}

static gboolean
validate(const BerthObject *object, GError **error)
{
    const BerthVmSpec *vm = object->spec_data;
    if (vm->workload.profile == PROFILE_MICROVM) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, "/spec/profile", "leave it out",
                           "a VM boots by firmware from a disk, which microvm can't; use q35");
        return FALSE;
    }
    for (guint i = 0; i < vm->disks->len; i++) {
        if (!check_disk(vm->disks->pdata[i], i, error)) {
            return FALSE;
        }
    }
    return berth_workload_check_unique(vm->disks, "/spec/disks", error) &&
           berth_workload_check(object, error);
}

static const BerthColumn columns[] = {
    {"Name", "/metadata/name"},
    {"State", "/status/phase"},
    {"Host", "/status/host"},
    {"IP", "/status/networks/0/ip"},
    {"vCPUs", "/spec/vcpus"},
    {"Memory", "/spec/memory_mib"},
    {"Age", "/metadata/created"},
    {"Project", "/metadata/project", TRUE},
    {"Power", "/power", TRUE},
    {"Image", "/spec/disks/0/image|/spec/disks/0/volume", TRUE},
    {"Reason", "/status/reason/message", TRUE},
    {"UID", "/metadata/uid", TRUE},
    {NULL},
};

const BerthKind berth_kind_vm = {
    .name = "VM",
    .plural = "vms",
    .scope = BERTH_SCOPE_PROJECT,
    .workload = TRUE,
    .spec = &vm_schema,
    .status = &berth_workload_status_schema,
    .columns = columns,
    .validate = validate,
    .doc = "A full virtual machine with disks of its own.",
};
