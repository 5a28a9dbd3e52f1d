/* Project: whom things belong to, and how much they may be. */
#include "model/kinds.h"

#define PROJECT(member, kind, ...) BERTH_FIELD(BerthProjectSpec, member, kind, __VA_ARGS__)
#define QUOTA_MAX (1LL << 40)

static const BerthField spec_fields[] = {
    PROJECT(description, STRING, .doc = "What it is for."),
    PROJECT(quota_vcpus, INT, .minimum = 0, .maximum = QUOTA_MAX,
            .doc = "Virtual CPUs its workloads may have in sum; 0: no limit."),
    PROJECT(quota_memory_mib, INT, .minimum = 0, .maximum = QUOTA_MAX, .unit = "MiB",
            .doc = "Memory its workloads may have in sum; 0: no limit."),
    PROJECT(quota_workloads, INT, .minimum = 0, .maximum = QUOTA_MAX,
            .doc = "Workloads it may have; 0: no limit."),
    PROJECT(weight, INT, .fallback = 1, .minimum = 1, .maximum = 1000,
            .doc =
                "Of projects whose workloads wait for room, the one with the smallest share of the "
                "fleet for its weight comes first."),
};
static const BerthSchema spec_schema =
    BERTH_SCHEMA("ProjectSpec", BerthProjectSpec, spec_fields, "What the project may use.");

static const BerthColumn columns[] = {
    {"Name", "/metadata/name"},
    {"Description", "/spec/description"},
    {"Age", "/metadata/created"},
    {"vCPU quota", "/spec/quota_vcpus", TRUE},
    {"Memory quota", "/spec/quota_memory_mib", TRUE},
    {"Workload quota", "/spec/quota_workloads", TRUE},
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
    .doc = "A name space for workloads, with quotas.",
};
