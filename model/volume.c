/* Volume: a disk with a life of its own. */
#include "base/error.h"
#include "model/kinds.h"

static const char *const format_names[] = {"qcow2", "raw", NULL};

#define VOLUME(member, kind, ...) BERTH_FIELD(BerthVolumeSpec, member, kind, __VA_ARGS__)

static const BerthField spec_fields[] = {
    VOLUME(size_mib, INT, .minimum = 0, .maximum = 64LL * 1024 * 1024, .unit = "MiB",
           .mutability = BERTH_MUTABLE_NEXT_BOOT, .doc = "Size; with image, 0: the image's."),
    VOLUME(format, STRING, .choices = format_names, .fallback_text = "qcow2",
           .mutability = BERTH_MUTABLE_NEVER, .doc = "Format of the file."),
    VOLUME(host, STRING, .format = BERTH_FORMAT_NAME, .mutability = BERTH_MUTABLE_NEVER,
           .doc = "Host it is on; without it where its first user is placed."),
    VOLUME(image, STRING, .format = BERTH_FORMAT_NAME, .mutability = BERTH_MUTABLE_NEVER,
           .doc = "Image of type disk that it starts as a copy of."),
};
static const BerthSchema spec_schema =
    BERTH_SCHEMA("VolumeSpec", BerthVolumeSpec, spec_fields, "What the user wants of the volume.");

static const BerthField status_fields[] = {
    BERTH_FIELD(BerthVolumeStatus, phase, STRING, .doc = "Pending, Ready or Failed."),
    BERTH_FIELD(BerthVolumeStatus, host, STRING, .doc = "Host it is on."),
    BERTH_FIELD(BerthVolumeStatus, pool, STRING, .doc = "Pool in libvirt."),
    BERTH_FIELD(BerthVolumeStatus, volume, STRING, .doc = "Name in that pool."),
    BERTH_FIELD(BerthVolumeStatus, used_by, STRING, .doc = "Workload that has it as a disk."),
    BERTH_FIELD(BerthVolumeStatus, reason, OBJECT, .schema = &berth_reason_schema,
                .doc = "Why it is in this phase."),
};
static const BerthSchema status_schema =
    BERTH_SCHEMA("VolumeStatus", BerthVolumeStatus, status_fields, "What is there of it.");

static gboolean
validate(const BerthObject *object, GError **error)
{
    const BerthVolumeSpec *volume = object->spec_data;
    if (volume->size_mib == 0 && volume->image == NULL) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, "/spec/size_mib", NULL,
                           "a volume needs a size_mib or an image");
        return FALSE;
    }
    return TRUE;
}

static const BerthColumn columns[] = {
    {"Name", "/metadata/name"},
    {"State", "/status/phase"},
    {"Size", "/spec/size_mib"},
    {"Host", "/status/host|/spec/host"},
    {"Used by", "/status/used_by"},
    {"Age", "/metadata/created"},
    {"Format", "/spec/format", TRUE},
    {"Image", "/spec/image", TRUE},
    {"Pool", "/status/pool", TRUE},
    {"Volume", "/status/volume", TRUE},
    {NULL},
};

const BerthKind berth_kind_volume = {
    .name = "Volume",
    .plural = "volumes",
    .short_name = "vol",
    .scope = BERTH_SCOPE_PROJECT,
    .spec = &spec_schema,
    .status = &status_schema,
    .columns = columns,
    .validate = validate,
    .doc = "A disk that outlives the VM that uses it.",
};
