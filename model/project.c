/* Project: whom things belong to, how much they may be, and how much is kept for them. */
#include "base/error.h"
#include "model/kinds.h"

#define PROJECT(member, kind, ...) BERTH_FIELD(BerthProjectSpec, member, kind, __VA_ARGS__)
#define QUOTA_MAX (1LL << 40)

static const BerthField spec_fields[] = {
    PROJECT(description, STRING, .doc = "What it is for."),
    PROJECT(quota_vcpus, INT, .minimum = 0, .maximum = QUOTA_MAX,
            .doc = "Virtual CPUs its workloads may have in sum; 0: no limit."),
    PROJECT(quota_memory_mib, INT, .minimum = 0, .maximum = QUOTA_MAX, .unit = "MiB",
            .doc = "Memory its workloads may have in sum; 0: no limit."),
    PROJECT(quota_devices, INT, .minimum = 0, .maximum = QUOTA_MAX / 1000,
            .doc = "Devices of hosts its workloads may have in sum, of all classes; 0: no limit."),
    PROJECT(quota_workloads, INT, .minimum = 0, .maximum = QUOTA_MAX,
            .doc = "Workloads it may have; 0: no limit."),
    PROJECT(reserved_vcpus, INT, .minimum = 0, .maximum = QUOTA_MAX,
            .doc = "Virtual CPUs of the fleet, in sum, that other projects leave free until its "
                   "workloads have them; 0: none."),
    PROJECT(reserved_memory_mib, INT, .minimum = 0, .maximum = QUOTA_MAX, .unit = "MiB",
            .doc = "Memory of the fleet, in sum, that other projects leave free until its "
                   "workloads have it; 0: none."),
    PROJECT(weight, INT, .fallback = 1, .minimum = 1, .maximum = 1000,
            .doc =
                "Of projects whose workloads wait for room, the one with the smallest share of the "
                "fleet for its weight comes first."),
};
static const BerthSchema spec_schema =
    BERTH_SCHEMA("ProjectSpec", BerthProjectSpec, spec_fields, "What the project may use.");

static gboolean
check_reserved(const char *pointer, gint64 reserved, gint64 quota, GError **error)
{
    if (quota == 0 || reserved <= quota) {
        return TRUE;
    }
    berth_error_set_at(error, BERTH_ERROR_INVALID, pointer, "raise the quota, too",
                       "more is reserved than the project may have: %" G_GINT64_FORMAT
                       " of %" G_GINT64_FORMAT,
                       reserved, quota);
    return FALSE;
}

static gboolean
validate(const BerthObject *object, GError **error)
{
    const BerthProjectSpec *spec = object->spec_data;
    return check_reserved("/spec/reserved_vcpus", spec->reserved_vcpus, spec->quota_vcpus, error) &&
           check_reserved("/spec/reserved_memory_mib", spec->reserved_memory_mib,
                          spec->quota_memory_mib, error);
}

static const BerthColumn columns[] = {
    {"Name", "/metadata/name"},
    {"Description", "/spec/description"},
    {"Age", "/metadata/created"},
    {"vCPU quota", "/spec/quota_vcpus", TRUE},
    {"Memory quota", "/spec/quota_memory_mib", TRUE},
    {"Device quota", "/spec/quota_devices", TRUE},
    {"Workload quota", "/spec/quota_workloads", TRUE},
    {"vCPUs reserved", "/spec/reserved_vcpus", TRUE},
    {"Memory reserved", "/spec/reserved_memory_mib", TRUE},
    {"Weight", "/spec/weight", TRUE},
    {NULL},
};

const BerthKind berth_kind_project = {
    .name = "Project",
    .plural = "projects",
    .short_name = "proj",
    .scope = BERTH_SCOPE_FLEET,
    .spec = &spec_schema,
    .columns = columns,
    .validate = validate,
    .doc = "A name space for workloads, with quotas and reservations.",
};
