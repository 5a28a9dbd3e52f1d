/* What a workload asks of the fleet: amounts, facts a host must have, and relations to others. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* The most devices one workload may have. */
#define BERTH_DEVICES_MAX 16

/**
 * BerthAmount:
 * @key: what is counted: a pool's name, a named resource, a huge page size; borrowed
 * @amount: how much of it: MiB for pools, pieces for the others
 */
typedef struct {
    const char *key;
    gint64 amount;
} BerthAmount;

/**
 * BerthLabel: one label; both strings borrowed
 */
typedef struct {
    const char *key;
    const char *value;
} BerthLabel;

/**
 * BerthNumaPolicy:
 * @BERTH_NUMA_ANY: cells are not looked at
 * @BERTH_NUMA_ONE: all vCPUs and memory in one cell, or no place
 * @BERTH_NUMA_TWO: half in each of two cells of one host, or no place
 * @BERTH_NUMA_PREFER_ONE: one cell when one has room, else two, else any
 */
typedef enum {
    BERTH_NUMA_ANY,
    BERTH_NUMA_ONE,
    BERTH_NUMA_TWO,
    BERTH_NUMA_PREFER_ONE,
} BerthNumaPolicy;

/**
 * BerthDeviceNeed:
 * @kind: device class, such as "gpu" or "8086:1572"; borrowed
 * @models: models allowed, or NULL for every one; borrowed
 * @n_models: length of @models
 * @count: devices of this class, each a different one
 * @millis: thousandths of each; 1000 takes whole devices, which nobody else may hold a part of
 */
typedef struct {
    const char *kind;
    const char *const *models;
    guint n_models;
    guint count;
    guint millis;
} BerthDeviceNeed;

typedef enum {
    BERTH_OPERATOR_IN,
    BERTH_OPERATOR_NOT_IN,
    BERTH_OPERATOR_EXISTS,
    BERTH_OPERATOR_ABSENT,
    BERTH_OPERATOR_GREATER,
    BERTH_OPERATOR_LESS,
} BerthOperator;

/**
 * BerthExpression:
 * @key: label key
 * @values: IN and NOT_IN: any number; GREATER and LESS: one integer; else none
 * @weight: 0 = the host must match; 1..100 = wanted, that much
 */
typedef struct {
    const char *key;
    BerthOperator operator;
    const char *const *values;
    guint n_values;
    guint weight;
} BerthExpression;

typedef enum {
    BERTH_SCOPE_HOST,
    BERTH_SCOPE_RACK,
    BERTH_SCOPE_ZONE,
} BerthScope;

typedef enum {
    BERTH_RELATION_TOGETHER, /* affinity: where a matching workload is */
    BERTH_RELATION_APART,    /* anti-affinity: where no matching workload is */
} BerthRelationKind;

/**
 * BerthRelation:
 * @kind: together or apart
 * @scope: what counts as one place
 * @group: members of this group match; NULL to match by label
 * @label: workloads with this label match, when @group is NULL
 * @weight: 0 = must hold; 1..100 = wanted, that much
 *
 * TOGETHER with nobody there yet admits every place: the first one founds it.
 */
typedef struct {
    BerthRelationKind kind;
    BerthScope scope;
    const char *group;
    BerthLabel label;
    guint weight;
} BerthRelation;

/**
 * BerthSpread:
 * @scope: what counts as one place
 * @group: whose members are counted
 * @max_skew: the most by which a place may exceed the emptiest place that is schedulable, at least 1
 * @weight: 0 = must hold; 1..100 = wanted, that much
 */
typedef struct {
    BerthScope scope;
    const char *group;
    guint max_skew;
    guint weight;
} BerthSpread;

/**
 * BerthToleration:
 * @key: taint key, or NULL for every taint
 * @value: taint value, or NULL for every value
 */
typedef struct {
    const char *key;
    const char *value;
} BerthToleration;

/**
 * BerthRequest:
 *
 * All pointers are borrowed from the caller and nothing is kept after the call that gets it. Zeroes
 * and NULLs mean "not asked for", so `BerthRequest request = {.cpu_millis = 1000, …}` is complete.
 */
typedef struct {
    const char *uid; /* names the workload in the ledger; NULL when it is never released by name */
    const char *project; /* whose quota and fair share is charged, or NULL */
    const char *group;   /* the group it is a member of, or NULL */

    gint64 cpu_millis;   /* 1000 per vCPU */
    gint64 memory_mib;   /* what the guest sees */
    gint64 overhead_mib; /* what QEMU and the helpers of this kind need on top; never huge pages */

    const BerthAmount *disks; /* MiB per pool; the pool must be on the host */
    guint n_disks;
    const BerthAmount *counts; /* named resources */
    guint n_counts;

    BerthNumaPolicy numa;
    guint hugepage_kib; /* the guest's memory comes from pages of this size; 0 = ordinary pages */
    gboolean dedicated; /* a host CPU that nobody shares for each vCPU, in one cell or two */
    const BerthDeviceNeed *devices;
    guint n_devices;

    const char *arch;      /* "x86_64", or NULL */
    const char *cpu_model; /* a model the host must be able to run, or NULL */
    const char *const *cpu_features;
    guint n_cpu_features;
    const char *machine; /* machine type, or NULL */
    const char *const *networks;
    guint n_networks;
    const char *host; /* this host and no other, or NULL */
    gboolean fixed;   /* should its host be lost, it goes nowhere: N+1 keeps no room for it */

    const BerthLabel *labels; /* the workload's own labels, which relations of others match */
    guint n_labels;
    const BerthExpression *selectors;
    guint n_selectors;
    const BerthRelation *relations;
    guint n_relations;
    const BerthSpread *spreads;
    guint n_spreads;
    const BerthToleration *tolerations;
    guint n_tolerations;

    gint priority;        /* higher goes first */
    gboolean preemptible; /* may be stopped for one of higher priority */
    const char *image;    /* digest of the image, for the score of hosts that have it */
} BerthRequest;

G_END_DECLS
