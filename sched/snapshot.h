/* The fleet as the scheduler sees it: what each host has, and what is charged to it. */
#pragma once

#include "sched/request.h"

G_BEGIN_DECLS

/* No host, no charge, no cell. */
#define BERTH_HOST_NONE G_MAXUINT32
#define BERTH_CHARGE_NONE G_MAXUINT32
#define BERTH_CELL_NONE G_MAXUINT8

/* The most NUMA cells of one host, and the most devices. */
#define BERTH_CELLS_MAX 16
#define BERTH_HOST_DEVICES_MAX 256

/**
 * BerthHostCell:
 * @cpu_millis: 1000 per hardware thread of the cell
 * @memory_mib: all memory of the cell, huge pages included
 * @hugepages: pages per size; the key is the size in KiB as text, such as "2048"
 * @dedicated_cpus: hardware threads beside those of @cpu_millis, each for one vCPU of a request that
 *   asks for dedicated ones, and for nobody else
 */
typedef struct {
    gint64 cpu_millis;
    gint64 memory_mib;
    const BerthAmount *hugepages;
    guint n_hugepages;
    gint64 dedicated_cpus;
} BerthHostCell;

/**
 * BerthHostDevice:
 * @kind: class that requests name, such as "gpu"
 * @model: model within the class, or NULL
 * @cell: its NUMA cell, or BERTH_CELL_NONE
 * @iommu_group: devices of one group go to one guest only; -1 = none
 * @shareable: parts of it (thousandths) may go to several guests
 */
typedef struct {
    const char *kind;
    const char *model;
    guint8 cell;
    gint iommu_group;
    gboolean shareable;
} BerthHostDevice;

typedef enum {
    BERTH_TAINT_REFUSE, /* no new workload without a toleration */
    BERTH_TAINT_AVOID,  /* only when nothing else has room */
} BerthTaintEffect;

typedef struct {
    const char *key;
    const char *value; /* may be NULL */
    BerthTaintEffect effect;
} BerthTaint;

typedef enum {
    BERTH_HOST_READY = 1 << 0,    /* answers, and may get workloads */
    BERTH_HOST_CORDONED = 1 << 1, /* somebody asked that nothing new comes here */
    BERTH_HOST_DRAINING = 1 << 2, /* what is here is being moved away */
} BerthHostState;

/**
 * BerthHost: what a host is, as handed in. All pointers are borrowed and copied by the call.
 */
typedef struct {
    const char *name;
    gint64 cpu_millis;         /* 1000 per hardware thread */
    gint64 cpu_reserve_millis; /* kept for the host itself */
    guint cpu_overcommit_pct;  /* 100 = none, 400 = four vCPUs a thread; 0 means 100 */
    gint64 memory_mib;         /* all memory, huge pages included */
    gint64 memory_reserve_mib;
    guint memory_overcommit_pct;
    const BerthHostCell *cells; /* none: the host is one cell, without huge pages */
    guint n_cells;
    const BerthAmount *pools; /* MiB of disk per pool */
    guint n_pools;
    const BerthAmount *counts;
    guint n_counts;
    const BerthHostDevice *devices;
    guint n_devices;

    const char *arch;
    const char *const *cpu_models; /* models its hypervisor can run here */
    guint n_cpu_models;
    const char *const *cpu_features;
    guint n_cpu_features;
    const char *const *machines;
    guint n_machines;
    const char *const *networks;
    guint n_networks;
    const char *const *images; /* digests of images already here */
    guint n_images;
    const BerthLabel *labels;
    guint n_labels;
    const char *zone;
    const char *rack;
    const BerthTaint *taints;
    guint n_taints;
    BerthHostState state;
} BerthHost;

/**
 * BerthPlacement:
 * @host: index of the host
 * @cells: first and second NUMA cell, BERTH_CELL_NONE when not bound
 * @devices: slots of the host, in the order of the request's needs
 */
typedef struct {
    guint32 host;
    guint8 cells[2];
    guint8 n_devices;
    guint8 devices[BERTH_DEVICES_MAX];
} BerthPlacement;

/**
 * BerthUsage: the ledger of one host; capacity is after reserve and over-commit
 */
typedef struct {
    gint64 cpu_millis, cpu_used_millis;
    gint64 memory_mib, memory_used_mib;
    gint64 device_millis, device_used_millis;
    gint64 disk_mib, disk_used_mib; /* of all pools */
    guint workloads;
} BerthUsage;

/**
 * BerthCellUsage: the ledger of one NUMA cell, of what may be bound to it; huge pages and dedicated CPUs apart
 */
typedef struct {
    gint64 cpu_millis, cpu_used_millis;
    gint64 memory_mib, memory_used_mib;
} BerthCellUsage;

typedef struct BerthSnapshot BerthSnapshot;

BerthSnapshot *berth_snapshot_new(void);
void berth_snapshot_free(BerthSnapshot *snapshot);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthSnapshot, berth_snapshot_free)

gboolean berth_snapshot_put_host(BerthSnapshot *snapshot, const BerthHost *host, guint32 *index,
                                 GError **error);
gboolean berth_snapshot_remove_host(BerthSnapshot *snapshot, guint32 index, GError **error);
void berth_snapshot_set_state(BerthSnapshot *snapshot, guint32 index, BerthHostState state);
void berth_snapshot_set_image(BerthSnapshot *snapshot, guint32 index, const char *digest,
                              gboolean present);
guint32 berth_snapshot_find_host(const BerthSnapshot *snapshot, const char *name);
const char *berth_snapshot_host_name(const BerthSnapshot *snapshot, guint32 index);
guint berth_snapshot_host_count(const BerthSnapshot *snapshot);
guint32 berth_snapshot_host_end(const BerthSnapshot *snapshot);
gboolean berth_snapshot_host_exists(const BerthSnapshot *snapshot, guint32 index);
void berth_snapshot_host_usage(const BerthSnapshot *snapshot, guint32 index, BerthUsage *usage);
gboolean berth_snapshot_cell_usage(const BerthSnapshot *snapshot, guint32 index, guint cell,
                                   BerthCellUsage *usage);
gint64 berth_snapshot_free_pages(const BerthSnapshot *snapshot, guint32 index, guint cell,
                                 gint64 page_kib);
GHashTable *berth_snapshot_count_features(const BerthSnapshot *snapshot);
GPtrArray *berth_snapshot_cpu_features(const BerthSnapshot *snapshot, guint32 index);
gint64 berth_snapshot_free_count(const BerthSnapshot *snapshot, guint32 index, const char *name);

guint32 berth_snapshot_charge(BerthSnapshot *snapshot, const BerthRequest *request,
                              const BerthPlacement *placement);
guint32 berth_snapshot_charge_on(BerthSnapshot *snapshot, const BerthRequest *request,
                                 guint32 host);
gboolean berth_snapshot_release(BerthSnapshot *snapshot, const char *uid);
void berth_snapshot_release_charge(BerthSnapshot *snapshot, guint32 charge);
guint32 berth_snapshot_find_charge(const BerthSnapshot *snapshot, const char *uid);
guint32 berth_snapshot_charge_host(const BerthSnapshot *snapshot, guint32 charge);
const char *berth_snapshot_charge_uid(const BerthSnapshot *snapshot, guint32 charge);
void berth_snapshot_set_rank(BerthSnapshot *snapshot, const char *uid, gint priority,
                             gboolean preemptible);

void berth_snapshot_observe(BerthSnapshot *snapshot, const BerthRequest *request);
void berth_snapshot_stop_learning(BerthSnapshot *snapshot);
void berth_snapshot_set_survivable(BerthSnapshot *snapshot, gboolean survivable);
void berth_snapshot_set_quota(BerthSnapshot *snapshot, const char *project, gint64 cpu_millis,
                              gint64 memory_mib, gint64 device_millis, gint64 workloads);
void berth_snapshot_set_reserved(BerthSnapshot *snapshot, const char *project, gint64 cpu_millis,
                                 gint64 memory_mib);
void berth_snapshot_claim(BerthSnapshot *snapshot, const char *project, gint64 cpu_millis,
                          gint64 memory_mib, gint64 device_millis, gint64 workloads);
gsize berth_snapshot_bytes(const BerthSnapshot *snapshot);

G_END_DECLS
