/* Settings: the one object, called "fleet", with what holds for all hosts. */
#include "base/error.h"
#include "model/kinds.h"

#include <string.h>

static const BerthField reserve_fields[] = {
    BERTH_FIELD(BerthCapacity, vcpus, INT, .minimum = 0, .maximum = 65536, .doc = "Virtual CPUs."),
    BERTH_FIELD(BerthCapacity, memory_mib, INT, .fallback = 512, .minimum = 0, .maximum = 1LL << 40,
                .unit = "MiB", .doc = "Memory."),
    BERTH_FIELD(BerthCapacity, disk_mib, INT, .minimum = 0, .maximum = 1LL << 40, .unit = "MiB",
                .doc = "Disk space in Berth's pool."),
};
static const BerthSchema reserve_schema =
    BERTH_SCHEMA("HostReserve", BerthCapacity, reserve_fields, "What each host keeps for itself.");

#define SETTINGS(member, kind, ...) BERTH_FIELD(BerthSettingsSpec, member, kind, __VA_ARGS__)

static const BerthField spec_fields[] = {
    SETTINGS(overcommit_cpu_percent, INT, .fallback = 400, .minimum = 10, .maximum = 1600,
             .unit = "%", .doc = "Virtual CPUs per 100 CPUs of a host."),
    SETTINGS(overcommit_memory_percent, INT, .fallback = 100, .minimum = 10, .maximum = 1000,
             .unit = "%", .doc = "Guest memory per 100 MiB of a host's memory."),
    SETTINGS(host_reserve, OBJECT, .schema = &reserve_schema,
             .doc = "What each host keeps for itself."),
    SETTINGS(survive_host_loss, BOOL,
             .doc = "Refuses workloads that would not all find a host when any one host is lost."),
    SETTINGS(pool_name, STRING, .format = BERTH_FORMAT_LIBVIRT, .fallback_text = "berth",
             .doc = "Name of Berth's storage pool on each host."),
    SETTINGS(pool_target, STRING, .format = BERTH_FORMAT_LINE,
             .fallback_text = "/var/lib/libvirt/images/berth", .minimum = 2, .maximum = 1024,
             .doc = "Folder of that pool on each host; an absolute path."),
    SETTINGS(pool_reserve_mib, INT, .fallback = 1024, .minimum = 0, .maximum = 1LL << 40,
             .unit = "MiB", .doc = "Disk space that is left free in the pool's file system."),
    SETTINGS(insecure_registries, STRINGS, .format = BERTH_FORMAT_LINE,
             .doc = "Registries (HOST or HOST:PORT) that may be spoken to without TLS."),
    SETTINGS(task_retention_count, INT, .fallback = 10000, .minimum = 0, .maximum = 1000000,
             .doc = "Finished Tasks that are kept."),
    SETTINGS(task_retention_days, INT, .fallback = 7, .minimum = 0, .maximum = 36500,
             .unit = "days", .doc = "How long they are kept."),
    SETTINGS(event_retention_count, INT, .fallback = 10000, .minimum = 0, .maximum = 1000000,
             .doc = "Events that are kept."),
    SETTINGS(event_retention_days, INT, .fallback = 7, .minimum = 0, .maximum = 36500,
             .unit = "days", .doc = "How long they are kept."),
    SETTINGS(revision_retention, INT, .fallback = 10000, .minimum = 100, .maximum = 10000000,
             .doc = "How many revisions a watch may be behind before it must list again."),
    SETTINGS(log_segment_mib, INT, .fallback = 16, .minimum = 1, .maximum = 1024, .unit = "MiB",
             .doc = "Size of one segment of a container's log."),
    SETTINGS(log_segments, INT, .fallback = 8, .minimum = 2, .maximum = 1024,
             .doc = "Segments that are kept of a container's log."),
    SETTINGS(pod_overhead_mib, INT, .fallback = 96, .minimum = 0, .maximum = 65536, .unit = "MiB",
             .doc = "Memory charged for QEMU with each pod."),
    SETTINGS(vm_overhead_mib, INT, .fallback = 160, .minimum = 0, .maximum = 65536, .unit = "MiB",
             .doc = "Memory charged for QEMU with each VM."),
};
static const BerthSchema spec_schema =
    BERTH_SCHEMA("SettingsSpec", BerthSettingsSpec, spec_fields, "What holds for the whole fleet.");

static gboolean
validate(const BerthObject *object, GError **error)
{
    const BerthSettingsSpec *settings = object->spec_data;
    if (strcmp(object->name, "fleet") != 0) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, "/metadata/name", NULL,
                           "there is one object of this kind, called \"fleet\"");
        return FALSE;
    }
    if (settings->pool_target[0] != '/' || strstr(settings->pool_target, "/..") != NULL) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, "/spec/pool_target", NULL,
                           "must be an absolute path without \"..\"");
        return FALSE;
    }
    return TRUE;
}

static const BerthColumn columns[] = {
    {"Name", "/metadata/name"},
    {"Generation", "/metadata/generation"},
    {"Age", "/metadata/created"},
    {NULL},
};

const BerthKind berth_kind_settings = {
    .name = "Settings",
    .plural = "settings",
    .scope = BERTH_SCOPE_FLEET,
    .spec = &spec_schema,
    .columns = columns,
    .validate = validate,
    .doc = "What holds for the whole fleet.",
};
