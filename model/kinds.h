/* The structs of every kind but the workload's shared part; their tables are in <kind>.c. */
#pragma once

#include "model/workload.h"

G_BEGIN_DECLS

/* ---- Pod ---- */
typedef struct {
    char *name, *image;
    char **command, **args; /* command replaces the entrypoint, args the cmd */
    char **env;             /* NAME=value */
    char *workdir, *user, *stop_signal;
    gboolean tty, stdin_open, read_only;
    gint64 memory_mib; /* limit within the pod; 0: the pod's */
    gint64 pids_max;
} BerthContainerSpec;

typedef struct {
    BerthWorkload workload;    /* first: shared with BerthVmSpec */
    char *hostname;            /* NULL: the pod's name */
    GPtrArray *containers;     /* of BerthContainerSpec; 1 to 16 */
    gboolean remove_when_done; /* docker's --rm: deleted after it ended */
    gboolean exec_denied;
} BerthPodSpec;

/* ---- VM ---- */
typedef struct {
    char *name;      /* unique in the VM: "root" */
    char *image;     /* an Image of type disk that is cloned; or */
    char *volume;    /* an existing Volume; or */
    gint64 size_mib; /* an empty disk; with image: grown to this */
    gboolean read_only;
} BerthDiskSpec;

typedef struct {
    char *user_data; /* as cloud-init takes it */
    char *hostname;
    char *network_config;
} BerthCloudInit;

typedef struct {
    BerthWorkload workload; /* first */
    GPtrArray *disks;       /* of BerthDiskSpec; the first one boots */
    BerthCloudInit cloud_init;
    gboolean guest_agent;
} BerthVmSpec;

/* ---- Host ---- */
typedef struct {
    gint64 vcpus, memory_mib, disk_mib;
} BerthCapacity;

/* PCI devices of a host that guests may have. */
typedef struct {
    char *class;
    char **pci; /* addresses, "0000:41:00.0" */
    char **ids; /* vendor and product, "10de:20b0" */
} BerthOfferSpec;

typedef struct {
    char *uri;
    char **host_keys; /* SSH public keys that the host may show; NULL: none yet */
    char *uuid;       /* of the machine that is meant; NULL: the one seen first */
    char *hostname;   /* of that machine; NULL: the one seen first */
    gboolean cordoned;
    GPtrArray *taints; /* of BerthTaintSpec */
    char *zone, *rack;
    BerthCapacity reserve; /* kept for the host itself */
    BerthCapacity limit;   /* use no more than this of it; 0: all */
    gint64 overcommit_cpu_percent, overcommit_memory_percent; /* 0: Settings' */
    char *dedicated_cpus; /* BerthCpuSet as text: for guests that ask for them; NULL: none */
    GPtrArray *devices;   /* of BerthOfferSpec; the first that names a device holds */
    json_t *resources;    /* name -> how many */
    char *acceleration;   /* "auto", "kvm", "tcg" */
} BerthHostSpec;

typedef struct {
    char *uuid, *name, *state;
    gint64 vcpus, memory_mib;
} BerthForeignDomain;

typedef struct {
    char *phase; /* "Connecting", "Ready", "Unprepared", "Unreachable", "Refused" */
    BerthReason reason;
    gint64 observed_generation;
    json_t *seen;                       /* who answers there when it is not who was expected */
    char *first_hostname;               /* as it was called when it was seen first */
    json_t *inventory;                  /* what the host has, as read */
    BerthCapacity capacity, used, free; /* after reserve, limit and over-commit */
    json_t *cells;          /* [{"capacity", "free", "huge_pages"}]: what may be bound to each */
    json_t *dedicated_cpus; /* {"cpus", "free"}: sets as text */
    json_t *devices;   /* [{"class", "address", "iommu_group", "numa_cell", "free" or "problem"}] */
    json_t *resources; /* [{"name", "capacity", "used", "free"}] */
    char *acceleration; /* "kvm", "tcg", NULL: not proved yet */
    char *acceleration_reason;
    char *guest_os;           /* digest that was uploaded */
    json_t *guest_os_volumes; /* {"kernel","initrd"} volume names */
    gboolean prepared;
    gint64 pods, vms;
    GPtrArray *foreign; /* of BerthForeignDomain */
    GPtrArray *conditions;
    json_t *images; /* digest -> volume name in the host's pool */
} BerthHostStatus;

/* ---- Image ---- */
typedef struct {
    char *type;      /* "oci", "disk" */
    char *reference; /* oci: what to pull; disk: label only */
    char *source;    /* disk: "upload"; oci: "registry" or "load" */
    char *format;    /* disk: "qcow2", "raw" */
} BerthImageSpec;

typedef struct {
    char *phase; /* "Pulling", "Ready", "Failed" */
    BerthReason reason;
    char *digest;              /* manifest (oci) or content (disk) */
    char *disk_digest;         /* sha256 of the squashfs or disk file */
    gint64 size, virtual_size; /* bytes of that file; of the disk the guest sees */
    json_t *config;            /* entrypoint, cmd, env, user, workdir, stop_signal */
    json_t *layers;
    char *path; /* in the daemon's state folder */
} BerthImageStatus;

/* ---- Network ---- */
typedef struct {
    char *libvirt;                 /* a libvirt network of this name on each host; or */
    char *bridge;                  /* an existing bridge of this name on each host */
    char *cidr;                    /* range owner: "192.168.122.0/24" */
    char *range_start, *range_end; /* what Berth may assign, outside any DHCP range */
    char *gateway;
    char **dns;
    gboolean dhcp; /* addresses come from somebody's DHCP server */
} BerthNetworkSpec;

typedef struct {
    gint64 assigned, free_addresses;
    GPtrArray *conditions;
} BerthNetworkStatus;

/* ---- Volume ---- */
typedef struct {
    gint64 size_mib;
    char *format, *host, *image;
} BerthVolumeSpec;

typedef struct {
    char *phase, *host, *pool, *volume, *used_by;
    BerthReason reason;
} BerthVolumeStatus;

/* ---- Project ---- */
typedef struct {
    char *description;
    gint64 quota_vcpus, quota_memory_mib, quota_devices, quota_workloads; /* 0: none */
    gint64 reserved_vcpus, reserved_memory_mib; /* of the fleet; 0: none */
    gint64 weight;                              /* among projects that wait */
} BerthProjectSpec;

/* ---- Task ---- */
typedef struct {
    char *verb; /* "pull", "prepare", "reboot", … */
    char *target_kind, *target_project, *target_name, *target_uid;
    json_t *arguments;
    char *actor, *request_id;
    gboolean cancel;
} BerthTaskSpec;

typedef struct {
    char *phase; /* "Waiting", "Running", "Succeeded", "Failed", "Cancelled" */
    char *step;
    gint64 percent;
    char *message;
    BerthReason reason;
    json_t *result;
    char *started, *finished;
} BerthTaskStatus;

/* ---- Event ---- */
typedef struct {
    char *object_kind, *object_project, *object_name, *object_uid;
    char *reason; /* stable code */
    char *message;
    char *severity; /* "info", "warning", "error" */
    char *actor, *origin, *request_id;
    gint64 count;
    char *first, *last;
} BerthEventSpec;

/* ---- Settings: one object of the fleet, called "fleet" ---- */
typedef struct {
    gint64 overcommit_cpu_percent, overcommit_memory_percent;
    BerthCapacity host_reserve;
    gboolean survive_host_loss;
    char *pool_name, *pool_target;
    gint64 pool_reserve_mib;
    char **insecure_registries;
    gint64 task_retention_count, task_retention_days, event_retention_count, event_retention_days;
    gint64 revision_retention; /* how many revisions a watch may be behind */
    gint64 log_segment_mib, log_segments;
    gint64 pod_overhead_mib, vm_overhead_mib; /* of QEMU, charged with each guest */
} BerthSettingsSpec;

/* ---- questions about placement and their answers; no kinds: nothing is stored ---- */
typedef struct {
    json_t *documents;
    char *project;
    char **without_hosts, **add_hosts_like;
} BerthPlanQuestion;

typedef struct {
    gboolean fits;
    gint64 revision;
    json_t *steps, *hosts;
} BerthPlanAnswer;

typedef struct {
    json_t *like;
    gint64 limit;
    char **without_hosts, **add_hosts_like;
} BerthCapacityQuestion;

typedef struct {
    gint64 total;
    gboolean limited;
    json_t *hosts, *ends;
} BerthCapacityAnswer;

typedef struct {
    gint64 hosts, open_hosts;
    json_t *resources, *sizes, *projects;
} BerthCapacityOverview;

typedef struct {
    char **empty_hosts, **add_hosts_like;
    gboolean repair_only;
    gint64 moves_max, link_mib_s;
} BerthRebalanceQuestion;

typedef struct {
    gint64 revision;
    gboolean limited;
    json_t *moves, *stuck;
    gint64 cost_before_s, cost_after_s, copy_s;
} BerthRebalanceAnswer;

extern const BerthSchema berth_plan_question_schema, berth_plan_schema,
    berth_capacity_question_schema, berth_capacity_answer_schema, berth_capacity_overview_schema,
    berth_rebalance_question_schema, berth_rebalance_answer_schema;

/* ---- RequestKey: hidden; name is a hash of actor, collection and key ---- */
typedef struct {
    char *fingerprint, *target_uid, *target_path;
} BerthRequestKeySpec;

/* ---- FleetMark: hidden; its one object is called "fleet" ---- */
typedef struct {
    char *made_by;
} BerthFleetMarkSpec;

/* ---- Address: hidden; name is "<network>.<ip with - for . and :>" ---- */
typedef struct {
    char *network, *ip, *mac, *owner_uid;
} BerthAddressSpec;

G_END_DECLS
