/* Image: what containers and disks start as. */
#include "base/error.h"
#include "model/kinds.h"

#include <string.h>

static const char *const type_names[] = {"oci", "disk", NULL};
static const char *const source_names[] = {"registry", "load", "upload", NULL};
static const char *const format_names[] = {"qcow2", "raw", NULL};

#define IMAGE(member, kind, ...) BERTH_FIELD(BerthImageSpec, member, kind, __VA_ARGS__)

static const BerthField spec_fields[] = {
    IMAGE(type, STRING, .required = TRUE, .choices = type_names, .mutability = BERTH_MUTABLE_NEVER,
          .doc = "oci for containers, disk for VMs."),
    IMAGE(reference, STRING, .format = BERTH_FORMAT_IMAGE, .mutability = BERTH_MUTABLE_NEVER,
          .doc = "What to pull (oci); a label of it (disk)."),
    IMAGE(source, STRING, .choices = source_names, .mutability = BERTH_MUTABLE_NEVER,
          .doc = "Where it comes from; without it registry (oci) or upload (disk)."),
    IMAGE(format, STRING, .choices = format_names, .mutability = BERTH_MUTABLE_NEVER,
          .doc = "Format of a disk's file; always said, never guessed."),
};
static const BerthSchema spec_schema =
    BERTH_SCHEMA("ImageSpec", BerthImageSpec, spec_fields, "Which image it is.");

#define STATUS(member, kind, ...) BERTH_FIELD(BerthImageStatus, member, kind, __VA_ARGS__)

static const BerthField status_fields[] = {
    STATUS(phase, STRING, .doc = "Pulling, Ready or Failed."),
    STATUS(reason, OBJECT, .schema = &berth_reason_schema, .doc = "Why it is in this phase."),
    STATUS(digest, STRING, .doc = "Digest of the manifest (oci) or of the content (disk)."),
    STATUS(disk_digest, STRING, .doc = "Digest of the file that guests get as a disk."),
    STATUS(size, INT, .unit = "bytes", .doc = "Size of that file."),
    STATUS(virtual_size, INT, .unit = "bytes", .doc = "Size of the disk that the guest sees."),
    STATUS(config, JSON,
           .doc = "What the image says of its process: entrypoint, cmd, env, user and so on."),
    STATUS(layers, JSON, .doc = "The layers, lowest first."),
    STATUS(path, STRING, .doc = "The file in the daemon's state folder."),
};
static const BerthSchema status_schema =
    BERTH_SCHEMA("ImageStatus", BerthImageStatus, status_fields, "What is there of the image.");

static gboolean
fail(GError **error, const char *place, const char *message)
{
    berth_error_set_at(error, BERTH_ERROR_INVALID, place, NULL, "%s", message);
    return FALSE;
}

static gboolean
validate(const BerthObject *object, GError **error)
{
    const BerthImageSpec *image = object->spec_data;
    const char *source = image->source != NULL ? image->source : "";
    if (strcmp(image->type, "oci") == 0) {
        if (image->reference == NULL && strcmp(source, "load") != 0) {
            return fail(error, "/spec/reference", "an oci image needs a reference to pull");
        }
        if (strcmp(source, "upload") == 0) {
            return fail(error, "/spec/source", "an oci image comes from registry or load");
        }
        return image->format == NULL || fail(error, "/spec/format", "only disks have a format");
    }
    if (strcmp(source, "") != 0 && strcmp(source, "upload") != 0) {
        return fail(error, "/spec/source", "a disk comes by upload");
    }
    return image->format != NULL ||
           fail(error, "/spec/format", "the format of a disk must be said: qcow2 or raw");
}

static const BerthColumn columns[] = {
    {"Name", "/metadata/name"},
    {"Type", "/spec/type"},
    {"Reference", "/spec/reference"},
    {"State", "/status/phase"},
    {"Size", "/status/size"},
    {"Age", "/metadata/created"},
    {"Digest", "/status/digest", TRUE},
    {"Virtual size", "/status/virtual_size", TRUE},
    {"Reason", "/status/reason/message", TRUE},
    {NULL},
};

const BerthKind berth_kind_image = {
    .name = "Image",
    .plural = "images",
    .short_name = "img",
    .scope = BERTH_SCOPE_FLEET,
    .spec = &spec_schema,
    .status = &status_schema,
    .columns = columns,
    .validate = validate,
    .doc = "What containers (oci) and disks (disk) start as.",
};
