/* What a VM and a Pod share: resources, placement, power, network cards, and the status of a domain.
 * The scheduler, quotas and controllers know workloads only. */
#pragma once

#include "model/object.h"

G_BEGIN_DECLS

typedef enum { BERTH_RUN_ALWAYS, BERTH_RUN_MANUAL, BERTH_RUN_ONCE } BerthRun;
typedef enum { BERTH_RESTART_ALWAYS, BERTH_RESTART_ON_FAILURE, BERTH_RESTART_NEVER } BerthRestart;

typedef struct {
    char *key, *value, *effect; /* effect: "NoSchedule" or "PreferNoSchedule" */
} BerthTaintSpec;

typedef struct {
    char *key, *value; /* value NULL: any */
} BerthTolerationSpec;

typedef struct {
    char *kind;    /* "together" or "apart" */
    char *to;      /* a workload's name, or "group=<name>" */
    char *within;  /* "host", "rack" or "zone" */
    gint64 weight; /* 0: must hold */
} BerthRelationSpec;

typedef struct {
    char *key, *operator;
    char **values;
    gint64 weight; /* 0: must hold */
} BerthHostRuleSpec;

typedef struct {
    char *host;          /* pinned to this host */
    json_t *host_labels; /* labels the host must have */
    GPtrArray *tolerations;
    char **affinity;      /* names of workloads of the project to share a host with */
    char **anti_affinity; /* names, or "group=<label value>", to stay apart from */
    char *group;          /* what spread, anti_affinity and relations can name */
    gint64 group_size; /* so many members are placed together or not at all; 0: each for itself */
    char *spread;      /* spread members of the group over "host", "rack" or "zone" */
    gint64 max_skew;   /* by how many a place may exceed the emptiest */
    gint64 spread_weight;  /* 0: must hold */
    GPtrArray *relations;  /* of BerthRelationSpec */
    GPtrArray *host_rules; /* of BerthHostRuleSpec */
} BerthPlacementSpec;

typedef struct {
    char *network; /* a Network's name */
    char *ip;      /* fixed address; NULL: assigned */
    char *mac;     /* fixed; NULL: made from the uid */
} BerthNic;

typedef struct {
    char *class; /* as Hosts offer it */
    gint64 count;
} BerthDeviceSpec;

typedef struct {
    gint64 vcpus, memory_mib;
    int profile;             /* BerthProfile's order: q35, microvm */
    int numa;                /* BerthNumaPolicy's order: any, one, two, prefer-one */
    gint64 huge_pages_kib;   /* 0: ordinary pages */
    char *cpu_model;         /* that the guest sees; NULL: the most that its host can show */
    char **cpu_features;     /* that its CPU must have; NULL: none in particular */
    gboolean dedicated_cpus; /* a host CPU of its own for each vCPU */
    int run;                 /* BerthRun */
    int restart;             /* BerthRestart */
    gint64 priority;
    gboolean preemptible; /* may be stopped for one of higher priority */
    gint64 boot_timeout_s, stop_timeout_s;
    BerthPlacementSpec placement;
    GPtrArray *devices;  /* of BerthDeviceSpec */
    json_t *resources;   /* name -> how many; NULL: none */
    GPtrArray *networks; /* of BerthNic; NULL: the Network "default" when there is one */
} BerthWorkload;

typedef enum {
    BERTH_PHASE_PENDING,   /* not placed (yet): status.reason says why */
    BERTH_PHASE_PREPARING, /* placed; image, disks and domain are being made */
    BERTH_PHASE_STARTING,  /* domain started, no answer from inside yet */
    BERTH_PHASE_RUNNING,
    BERTH_PHASE_STOPPING,
    BERTH_PHASE_STOPPED,   /* power is off */
    BERTH_PHASE_SUCCEEDED, /* every container ended with 0 and is not to be restarted */
    BERTH_PHASE_FAILED,
    BERTH_PHASE_UNKNOWN, /* its host can't be asked */
    BERTH_PHASE_DELETING,
} BerthPhase;

const char *berth_phase_name(BerthPhase phase);

typedef struct {
    char *type; /* "Ready", "Stuck", "Prepared", … */
    gboolean value;
    char *reason; /* stable code */
    char *message;
    char *since; /* RFC 3339 */
} BerthCondition;

typedef struct {
    char *code, *message, *hint;
} BerthReason;

typedef struct {
    char *host, *uuid, *name;
    gint64 incarnation; /* counts starts of a vessel for this workload */
} BerthVessel;

typedef struct {
    char *name, *image, *digest;
    char *state; /* "Waiting", "Running", "Exited" */
    gint64 exit_code, restarts;
    gboolean oom;
    char *started, *finished;
} BerthContainerStatus;

typedef struct {
    char *network, *mac, *ip;
} BerthNicStatus;

/* A workload that is stopped to make room for another one. */
typedef struct {
    char *kind, *project, *name, *uid;
    gint64 vcpus, memory_mib; /* as charged to its host */
    json_t *holding;          /* all that it holds there, see sched/holding.h */
} BerthVictim;

/* What was decided so that a workload gets a place: it is there until the workload has it. */
typedef struct {
    char *host;         /* NULL: nothing */
    GPtrArray *victims; /* of BerthVictim */
    char **with;        /* uids of all that get their places together; NULL: it is alone */
    json_t *rest;       /* what is kept beside what they hold, see berth_holding_rest() */
} BerthPreempting;

/* Status of a Pod and of a VM alike; containers only for pods. */
typedef struct {
    int phase; /* BerthPhase */
    char *host;
    BerthVessel domain;
    BerthReason reason; /* of the phase; code NULL: nothing to say */
    BerthPreempting preempting;
    char *actor; /* who last changed the power: "user", "guest", "external", … */
    gint64 restarts;
    gint64 observed_generation;
    char *started;          /* when it last came to Running */
    gint64 used_memory_mib; /* charged: guest memory and overhead */
    GPtrArray *networks;    /* of BerthNicStatus */
    GPtrArray *containers;  /* of BerthContainerStatus */
    GPtrArray *conditions;  /* of BerthCondition */
    json_t *disks;          /* volumes made for it: [{"pool","volume","role"}] */
    json_t *placement;      /* why this host: score parts */
    json_t *timing;         /* milliseconds by phase of the last start */
} BerthWorkloadStatus;

extern const BerthSchema berth_workload_status_schema;
extern const BerthSchema berth_preempting_schema;
extern const BerthSchema berth_condition_schema;
extern const BerthSchema berth_reason_schema;
extern const char *const berth_profile_names[],
    *const berth_numa_names[], *const berth_run_names[], *const berth_restart_names[],
                                                             *const berth_phase_names[];
extern const BerthSchema berth_placement_schema, berth_nic_schema, berth_device_schema;

/* The most devices of one workload: of one class and of all. */
#define BERTH_WORKLOAD_DEVICES_MAX 16
/* The most there may be of one of a host's resources. */
#define BERTH_RESOURCE_MAX 1000000000

/* The fields that every workload's spec table starts with; @owner has a BerthWorkload called
 * `workload`; @default_run: 0 Always, 1 Manual; memory default in MiB. */
#define BERTH_WORKLOAD_FIELDS(owner, default_run, default_memory)                                  \
    {.name = "vcpus",                                                                              \
     .type = BERTH_FIELD_INT,                                                                      \
     .offset = offsetof(owner, workload.vcpus),                                                    \
     .fallback = 1,                                                                                \
     .minimum = 1,                                                                                 \
     .maximum = 512,                                                                               \
     .mutability = BERTH_MUTABLE_NEXT_BOOT,                                                        \
     .doc = "Virtual CPUs of the guest."},                                                         \
        {.name = "memory_mib",                                                                     \
         .type = BERTH_FIELD_INT,                                                                  \
         .offset = offsetof(owner, workload.memory_mib),                                           \
         .fallback = (default_memory),                                                             \
         .minimum = 64,                                                                            \
         .maximum = 16 * 1024 * 1024,                                                              \
         .unit = "MiB",                                                                            \
         .mutability = BERTH_MUTABLE_NEXT_BOOT,                                                    \
         .doc = "Memory of the guest."},                                                           \
        {.name = "profile",                                                                        \
         .type = BERTH_FIELD_ENUM,                                                                 \
         .offset = offsetof(owner, workload.profile),                                              \
         .choices = berth_profile_names,                                                           \
         .mutability = BERTH_MUTABLE_NEVER,                                                        \
         .doc = "Machine profile: q35 can be migrated and hot-plugged, microvm starts fastest."},  \
        {.name = "numa",                                                                           \
         .type = BERTH_FIELD_ENUM,                                                                 \
         .offset = offsetof(owner, workload.numa),                                                 \
         .choices = berth_numa_names,                                                              \
         .mutability = BERTH_MUTABLE_NEVER,                                                        \
         .doc =                                                                                    \
             "NUMA cells of its host that vCPUs and memory are bound to; prefer-one: one, else "   \
             "two, else any."},                                                                    \
        {.name = "huge_pages_kib",                                                                 \
         .type = BERTH_FIELD_INT,                                                                  \
         .offset = offsetof(owner, workload.huge_pages_kib),                                       \
         .minimum = 0,                                                                             \
         .maximum = 16 * 1024 * 1024,                                                              \
         .unit = "KiB",                                                                            \
         .mutability = BERTH_MUTABLE_NEVER,                                                        \
         .doc = "Size of the huge pages, set aside on its host, that its memory is made of; 0: "   \
                "ordinary pages."},                                                                \
        {.name = "cpu_model",                                                                      \
         .type = BERTH_FIELD_STRING,                                                               \
         .offset = offsetof(owner, workload.cpu_model),                                            \
         .format = BERTH_FORMAT_LIBVIRT,                                                           \
         .mutability = BERTH_MUTABLE_NEXT_BOOT,                                                    \
         .doc = "CPU model that it sees, as libvirt names them; without it the most that its "     \
                "host can give."},                                                                 \
        {.name = "cpu_features",                                                                   \
         .type = BERTH_FIELD_STRINGS,                                                              \
         .offset = offsetof(owner, workload.cpu_features),                                         \
         .format = BERTH_FORMAT_LIBVIRT,                                                           \
         .maximum = 64,                                                                            \
         .mutability = BERTH_MUTABLE_NEXT_BOOT,                                                    \
         .doc = "Features that its CPU must have, as libvirt names them."},                        \
        {.name = "dedicated_cpus",                                                                 \
         .type = BERTH_FIELD_BOOL,                                                                 \
         .offset = offsetof(owner, workload.dedicated_cpus),                                       \
         .mutability = BERTH_MUTABLE_NEVER,                                                        \
         .doc = "Pins each vCPU to a host CPU that no other guest of Berth uses, of one NUMA "     \
                "cell or, when none has room, half and half of two."},                             \
        {.name = "devices",                                                                        \
         .type = BERTH_FIELD_OBJECTS,                                                              \
         .offset = offsetof(owner, workload.devices),                                              \
         .schema = &berth_device_schema,                                                           \
         .maximum = BERTH_WORKLOAD_DEVICES_MAX,                                                    \
         .mutability = BERTH_MUTABLE_NEVER,                                                        \
         .doc = "PCI devices of its host that it is given whole, by class."},                      \
        {.name = "resources",                                                                      \
         .type = BERTH_FIELD_COUNTS,                                                               \
         .offset = offsetof(owner, workload.resources),                                            \
         .minimum = 1,                                                                             \
         .maximum = BERTH_RESOURCE_MAX,                                                            \
         .mutability = BERTH_MUTABLE_NEXT_BOOT,                                                    \
         .doc =                                                                                    \
             "What else it takes of its host, by the names of the Host's spec.resources; these "   \
             "are counted, no more."},                                                             \
        {.name = "run",                                                                            \
         .type = BERTH_FIELD_ENUM,                                                                 \
         .offset = offsetof(owner, workload.run),                                                  \
         .choices = berth_run_names,                                                               \
         .fallback = (default_run),                                                                \
         .doc = "Power it is created with: Always and Once start it, Manual waits for a start."},  \
        {.name = "restart",                                                                        \
         .type = BERTH_FIELD_ENUM,                                                                 \
         .offset = offsetof(owner, workload.restart),                                              \
         .choices = berth_restart_names,                                                           \
         .doc = "Whether it is started again after a container of it ended or it crashed."},       \
        {.name = "priority",                                                                       \
         .type = BERTH_FIELD_INT,                                                                  \
         .offset = offsetof(owner, workload.priority),                                             \
         .minimum = -1000,                                                                         \
         .maximum = 1000,                                                                          \
         .doc = "Higher is placed first."},                                                        \
        {.name = "preemptible",                                                                    \
         .type = BERTH_FIELD_BOOL,                                                                 \
         .offset = offsetof(owner, workload.preemptible),                                          \
         .doc = "Lets it be stopped, to wait again, when one of higher priority has no room."},    \
        {.name = "boot_timeout_s",                                                                 \
         .type = BERTH_FIELD_INT,                                                                  \
         .offset = offsetof(owner, workload.boot_timeout_s),                                       \
         .fallback = 60,                                                                           \
         .minimum = 5,                                                                             \
         .maximum = 3600,                                                                          \
         .unit = "s",                                                                              \
         .doc = "Time a guest has to answer after power-on before it is started again."},          \
        {.name = "stop_timeout_s",                                                                 \
         .type = BERTH_FIELD_INT,                                                                  \
         .offset = offsetof(owner, workload.stop_timeout_s),                                       \
         .fallback = 30,                                                                           \
         .minimum = 0,                                                                             \
         .maximum = 3600,                                                                          \
         .unit = "s",                                                                              \
         .doc = "Time a graceful stop may take before the power is cut."},                         \
        {.name = "placement",                                                                      \
         .type = BERTH_FIELD_OBJECT,                                                               \
         .offset = offsetof(owner, workload.placement),                                            \
         .schema = &berth_placement_schema,                                                        \
         .doc = "Rules for the choice of a host."},                                                \
    {                                                                                              \
        .name = "networks", .type = BERTH_FIELD_OBJECTS,                                           \
        .offset = offsetof(owner, workload.networks), .schema = &berth_nic_schema, .maximum = 8,   \
        .mutability = BERTH_MUTABLE_NEVER,                                                         \
        .doc = "Network cards; without it one card in the Network 'default' when there is one."    \
    }

/* The shared part of a Pod's or VM's spec, and its status; @object->kind->workload must hold. */
const BerthWorkload *berth_workload_of(const BerthObject *object);
const BerthWorkloadStatus *berth_workload_status_of(const BerthObject *object);

G_END_DECLS
